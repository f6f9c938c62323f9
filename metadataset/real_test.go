package metadataset

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"quicktune/internal/realdata"
	"quicktune/internal/stream"
	"quicktune/space"
)

// readRealInput reads the curves of the real Extended data. The configurations
// are drawn from the space of the paper: reading the real ones is the
// importer's work and makes no difference here.
func readRealInput(t testing.TB) Input {
	t.Helper()
	read := func(name string) map[string]map[string][]float64 {
		data, err := os.ReadFile(realdata.Path(t, "quicktune", "extended", name))
		if err != nil {
			t.Fatal(err)
		}
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(data, &raw); err != nil {
			t.Fatal(err)
		}
		delete(raw, "info")
		out := make(map[string]map[string][]float64, len(raw))
		for name, curves := range raw {
			var m map[string][]float64
			if err := json.Unmarshal(curves, &m); err != nil {
				t.Fatal(err)
			}
			out[name] = m
		}
		return out
	}
	accuracy, cost := read("perf.json"), read("cost.json")
	sp := space.QuickTune()
	rng := stream.New("real curves", 0)
	in := Input{
		Space: sp, Metric: Metric{ValAccuracy, Maximize}, MaxEpochs: 50,
		ModelParam: "model", TimeUnit: TimeSeconds, CurveCap: 57600, Generator: "a test",
	}
	for name, curves := range accuracy {
		in.Datasets = append(in.Datasets, Dataset{Name: name})
		for id, percent := range curves {
			c := InputCurve{ID: id, Dataset: name, Config: sp.Sample(rng), End: EndUnknown, Values: make(map[Column][]float32)}
			for e, v := range percent {
				c.Values[ValAccuracy] = append(c.Values[ValAccuracy], float32(v/100))
				c.Values[Seconds] = append(c.Values[Seconds], float32(cost[name][id][e]))
			}
			in.Curves = append(in.Curves, c)
			in.MaxEpochs = max(in.MaxEpochs, len(percent))
		}
	}
	slices.SortFunc(in.Datasets, func(a, b Dataset) int { return len(a.Name) - len(b.Name) })
	return in
}

func writeReal(t testing.TB) string {
	t.Helper()
	in := readRealInput(t)
	dir := filepath.Join(t.TempDir(), "extended")
	if err := Write(dir, in); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRealCurvesKeepTheirFigures compares what the store says of the real
// curves with figures counted from the JSON files by a public script.
func TestRealCurvesKeepTheirFigures(t *testing.T) {
	s, err := Open(writeReal(t))
	if err != nil {
		t.Fatal(err)
	}
	var sum DatasetStats
	for d := range s.Datasets {
		st := s.Stats(d)
		sum.Curves += st.Curves
		sum.Epochs += st.Epochs
		sum.Seconds += st.Seconds
		sum.SingleEpoch += st.SingleEpoch
	}
	if len(s.Datasets) != 20 || sum.Curves != 3555 || sum.Epochs != 106180 || sum.SingleEpoch != 1167 {
		t.Errorf("%d data sets, %d curves, %d epochs, %d of one epoch; want 20, 3555, 106180, 1167", len(s.Datasets), sum.Curves, sum.Epochs, sum.SingleEpoch)
	}
	if hours := sum.Seconds / 3600; hours < 12616.55 || hours > 12616.65 {
		t.Errorf("%.2f hours, want 12616.6", hours)
	}
	// Figures of three data sets as published in the data's fact table.
	for name, want := range map[string]struct {
		curves, full, epochs int
		best, worst          float64
	}{
		"DOG": {169, 115, 5988, 93.48, 0.22},
		"PLK": {152, 11, 1901, 89.61, 0.01},
		"TEX": {176, 105, 5400, 99.83, 0.00},
	} {
		d, ok := s.DatasetIndex(name)
		if !ok {
			t.Fatalf("no data set %q", name)
		}
		st := s.Stats(d)
		if st.Curves != want.curves || st.FullLength != want.full || st.Epochs != want.epochs ||
			st.Best*100 < want.best-.006 || st.Best*100 > want.best+.006 || st.Worst*100 < want.worst-.006 || st.Worst*100 > want.worst+.006 {
			t.Errorf("%s: %+v, want %+v", name, st, want)
		}
	}
}

func BenchmarkOpenExtended(b *testing.B) {
	dir := writeReal(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(dir); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteExtended(b *testing.B) {
	in := readRealInput(b)
	dir := b.TempDir()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		in.Notes = []string{"run " + string(rune('a'+i%26))}
		in.CurveCap++ // other data each time
		if err := Write(filepath.Join(dir, "x"), in, Replace); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInnerLoop(b *testing.B) {
	s, err := Open(writeReal(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var sum float32
	for b.Loop() {
		for c := range s.NumCurves() {
			score, seconds := s.Score(c), s.Seconds(c)
			for e := range score {
				sum += score[e] * seconds[e]
			}
		}
	}
	_ = sum
}

// BenchmarkOpenManyConfigurations opens 100,000 configurations of the paper's
// space with one epoch each; MB-kept is what the store holds on to.
func BenchmarkOpenManyConfigurations(b *testing.B) {
	sp := space.QuickTune()
	rng := stream.New("many configurations", 0)
	in := Input{
		Space: sp, Metric: Metric{ValAccuracy, Maximize}, MaxEpochs: 50, ModelParam: "model", TimeUnit: TimeEpochs,
		Datasets: []Dataset{{Name: "one"}},
	}
	for i := range 100_000 {
		in.Curves = append(in.Curves, InputCurve{
			ID: fmt.Sprintf("configuration-%d", i), Dataset: "one", Config: sp.Sample(rng),
			Values: map[Column][]float32{ValAccuracy: {rng.Float32()}}, End: EndTimeCapped,
		})
	}
	dir := filepath.Join(b.TempDir(), "many")
	if err := Write(dir, in); err != nil {
		b.Fatal(err)
	}
	in = Input{}
	b.ReportAllocs()
	var s *Store
	for b.Loop() {
		var err error
		if s, err = Open(dir); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	var with, without runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&with)
	runtime.KeepAlive(s)
	s = nil
	runtime.GC()
	runtime.ReadMemStats(&without)
	b.ReportMetric(float64(with.HeapAlloc-without.HeapAlloc)/1e6, "MB-kept")
}
