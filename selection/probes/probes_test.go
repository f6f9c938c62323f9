package probes

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"quicktune/internal/stream"
	"quicktune/selection"
)

// small is a probe whose numbers single precision holds.
func small(gradients bool) *Probe {
	const n, d, sources, outputs, width = 7, 5, 3, 2, 4
	rng := stream.New("selection/probes/test", 1)
	p := &Probe{Info: Info{
		Dataset: "bugs, and/or birds", Images: "abc", Model: "net.a1", Trainer: "embedded", Weights: "12", Classes: []string{"a", "b", "c"},
		PerClass: 3, Seed: 4, Seconds: 1.5,
	}}
	random := func(n int) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = float64(float32(rng.NormFloat64()))
		}
		return x
	}
	p.Data = selection.Data{Model: p.Model, Dim: d, Features: random(n * d), SourceClasses: sources}
	for i := range n {
		p.Rows, p.Data.Labels = append(p.Rows, 3*i+1), append(p.Data.Labels, i%3)
		p.Data.Source = append(p.Data.Source, 0.5, 0.25, 0.25)
	}
	if gradients {
		p.Data.Gradients, p.Data.Outputs, p.Data.Weights = random(n*outputs*width), outputs, width
	}
	return p
}

func TestAProbeIsReadAsItWasWritten(t *testing.T) {
	for _, gradients := range []bool{false, true} {
		dir, p := t.TempDir(), small(gradients)
		path := Path(dir, p.Dataset, p.Model)
		if err := Write(path, p); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		want := *p
		want.Format, want.Version, want.Outputs = format, version, p.Data.Outputs
		if d := cmp.Diff(&want, got); d != "" {
			t.Errorf("gradients %v: %s", gradients, d)
		}
		list, err := List(dir)
		if err != nil || len(list) != 1 || list[0] != path {
			t.Errorf("listed %v, %v", list, err)
		}
	}
}

func TestNoProbeIsWrittenThatCannotBeScored(t *testing.T) {
	p := small(false)
	p.Data.Features[3] = math.NaN()
	path := filepath.Join(t.TempDir(), "x.parquet")
	if err := Write(path, p); err == nil || !strings.Contains(err.Error(), "net.a1 on bugs, and/or birds: selection: feature 3 of row 0 is NaN") {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("there is a file")
	}
}

func TestDamagedProbesAreRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.parquet")
	for name, c := range map[string]struct {
		change func(rows []row, info string) ([]row, string)
		want   string
	}{
		"other format": {func(r []row, i string) ([]row, string) { return r, strings.Replace(i, format, "curves", 1) }, `format "curves"`},
		"later version": {func(r []row, i string) ([]row, string) {
			return r, strings.Replace(i, `"version":1`, `"version":2`, 1)
		}, "version 2; this program reads 1"},
		"no JSON":       {func(r []row, _ string) ([]row, string) { return r, "{" }, "metadata quicktune.probe"},
		"no model":      {func(r []row, i string) ([]row, string) { return r, strings.Replace(i, "net.a1", "", 1) }, "names no data set or no model"},
		"no images":     {func(_ []row, i string) ([]row, string) { return nil, i }, "no images"},
		"ragged":        {func(r []row, i string) ([]row, string) { r[2].Features = r[2].Features[1:]; return r, i }, "row 2: 4 features"},
		"unknown label": {func(r []row, i string) ([]row, string) { r[1].Label = 3; return r, i }, "row 1: label 3 of 3 classes"},
		"twice":         {func(r []row, i string) ([]row, string) { r[1].Image = r[0].Image; return r, i }, "row 1: image 1; images must ascend"},
		"odd derivatives": {func(r []row, i string) ([]row, string) {
			for k := range r {
				r[k].Gradients = r[k].Gradients[1:]
			}
			return r, i
		}, "7 derivatives of 2 outputs"},
		"not finite": {func(r []row, i string) ([]row, string) {
			r[4].Source[0] = float32(math.Inf(1))
			return r, i
		}, "source probability 0 of row 4 is +Inf"},
	} {
		if err := Write(path, small(true)); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := parquet.Read[row](bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		file, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		info, _ := file.Lookup(infoKey)
		rows, info = c.change(rows, info)
		var out bytes.Buffer
		if err := parquet.Write(&out, rows, parquet.KeyValueMetadata(infoKey, info)); err != nil {
			t.Fatal(err)
		}
		if _, err := decode(out.Bytes()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := os.WriteFile(path, []byte("PAR1 and no more"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
		t.Error(err)
	}
	var out bytes.Buffer
	if err := parquet.Write(&out, []row{{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := decode(out.Bytes()); err == nil || !strings.Contains(err.Error(), "not a probe") {
		t.Error(err)
	}
}

func TestNamesOfFilesStayInTheDirectory(t *testing.T) {
	for _, name := range []string{"..", ".hidden", "a/b", "c d", "ü", `a\b`} {
		path := Path("dir", name, name)
		if parts := strings.Split(filepath.ToSlash(path), "/"); len(parts) != 3 || strings.HasPrefix(parts[1], ".") {
			t.Errorf("%q lies at %s", name, path)
		}
	}
}

// FuzzRead expects that no content makes the program end.
func FuzzRead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "x.parquet")
	if err := Write(path, small(true)); err != nil {
		f.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add(content[:len(content)/2])
	f.Fuzz(func(t *testing.T, content []byte) {
		if p, err := decode(content); err == nil && len(p.Rows) != len(p.Data.Labels) {
			t.Errorf("%d rows with %d labels", len(p.Rows), len(p.Data.Labels))
		}
	})
}
