package predictor

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"quicktune/internal/safetensors"
	"quicktune/internal/stream"
	"quicktune/search"
	"quicktune/space"
)

func sample(t testing.TB, n int) []space.Config {
	t.Helper()
	s, rng := space.QuickTune(), stream.New("test/configs", 1)
	var out []space.Config
	for range n {
		out = append(out, s.Sample(rng))
	}
	return out
}

func model(t testing.TB, a Architecture) *Model {
	t.Helper()
	c, err := NewCost(a, CostOptions{Log: true}, stream.New("test/cost", 1))
	if err != nil {
		t.Fatal(err)
	}
	e := 0.25
	return &Model{Performance: smallKernel(t, a), Cost: c, Info: Info{
		SpaceHash: "abc", Metric: "val_loss", Unit: search.UnitScale{Loss: 2, Signed: true}, MetaScale: 1000, CostMetaScale: 10000,
		Training: &TrainingInfo{Seed: 1 << 60, Iterations: 3, Train: []string{"a"}, Validation: []string{"b"}, Best: 2, Error: &e},
	}}
}

func TestWhatIsSavedIsLoaded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	for _, a := range []Architecture{small(), Reference()} {
		m := model(t, a)
		m.Performance.raw.NoiseFloor = 2e-4
		configs := sample(t, 50)
		if a.Config() == ReferenceInputs {
			var err error
			if m.Info.Encoder, err = NewEncoder(space.QuickTune(), "model", configs); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Save(path); err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Performance.arch, m.Performance.arch) || got.Performance.raw.NoiseFloor != 2e-4 || got.Cost.opt != m.Cost.opt {
			t.Errorf("loaded %+v", got.Performance.arch)
		}
		if !slices.Equal(weightsOf(got), weightsOf(m)) {
			t.Error("other weights")
		}
		if enc := m.Info.Encoder; enc != nil {
			want, err := enc.Encode(nil, configs[7])
			if err != nil {
				t.Fatal(err)
			}
			x, err := got.Info.Encoder.Encode(nil, configs[7])
			if err != nil || !slices.Equal(x, want) {
				t.Errorf("the loaded encoder gives %v (%v) instead of %v", x, err, want)
			}
		}
		m.Info.Encoder, got.Info.Encoder = nil, nil
		if !reflect.DeepEqual(got.Info, m.Info) {
			t.Errorf("loaded %+v instead of %+v", got.Info, m.Info)
		}
	}
}

func TestDamagedCheckpointsAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	if err := model(t, small()).Save(path); err != nil {
		t.Fatal(err)
	}
	type file = safetensors.File
	replace := func(old, new string) func(*file) {
		return func(f *file) {
			text := strings.Replace(f.Metadata[checkpointKind], old, new, 1)
			if text == f.Metadata[checkpointKind] {
				t.Fatalf("%q is not in %s", old, text)
			}
			f.Metadata[checkpointKind] = text
		}
	}
	for want, damage := range map[string]func(*file){
		"metadata lack":      func(f *file) { f.Metadata = nil },
		"header":             replace("{", "["),
		"version 2":          replace(`"version":1`, `"version":2`),
		"hidden is 0":        replace(`"hidden":6`, `"hidden":0`),
		"weights, the file":  replace(`"hidden":6`, `"hidden":60000`),
		"the architecture n": replace(`"hidden":6`, `"hidden":5`),
		"noise floor":        replace(`"noise_floor":0.0001`, `"noise_floor":-1`),
		"negative":           replace(`"meta_scale":1000`, `"meta_scale":-1`),
		"encoder with 0":     replace(`"meta_scale"`, `"encoder":{},"meta_scale"`),
		"missing":            func(f *file) { f.Tensors = f.Tensors[1:] },
		"neither predictor":  func(f *file) { f.Tensors[0].Name = "x" },
		"is not part":        func(f *file) { x := f.Tensors[0]; x.Name += "2"; f.Tensors = append(f.Tensors, x) },
		"not finite":         func(f *file) { f.Tensors[3].Data[0] = math.Inf(1) },
	} {
		f, err := safetensors.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		damage(f)
		bad := path + ".bad"
		if err := safetensors.WriteFile(bad, *f); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not tell of %q", err, want)
		}
	}
	if _, err := Load(path + ".none"); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	m := model(f, Architecture{Groups: []int{1}, MaxEpochs: 2, Hidden: 1, Embedding: 1, Channels: 1, CurveOut: 1})
	path := filepath.Join(f.TempDir(), "m.safetensors")
	if err := m.Save(path); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := safetensors.Decode(data)
		if err != nil {
			return
		}
		m, err := modelFrom(file)
		if err != nil {
			return
		}
		allFinite(t, "weights", weightsOf(m))
	})
}
