package replay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func gridTraces(t testing.TB) []*Trace {
	t.Helper()
	x := testGrid()
	traces, err := x.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return traces
}

func TestSaveAndLoadRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	from := Provenance{Data: "abc", Exclude: "linear-probing"}
	for name, traces := range map[string][]*Trace{"none": {}, "one": gridTraces(t)[:1], "all": gridTraces(t)} {
		t.Run(name, func(t *testing.T) {
			if err := Save(dir, from, traces); err != nil {
				t.Fatal(err)
			}
			gotFrom, got, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			if gotFrom != from {
				t.Errorf("provenance %+v, want %+v", gotFrom, from)
			}
			if diff := cmp.Diff(traces, got); diff != "" {
				t.Errorf("traces (-want +got):\n%s", diff)
			}
			if Hash(got) != Hash(traces) {
				t.Error("the hash changed")
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 4 {
				t.Errorf("the folder holds %v (%v), want four files", entries, err)
			}
		})
	}
}

func TestSameTracesGiveTheSameBytes(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		// Two independent experiments: their measured times differ.
		if err := Save(dir, Provenance{Data: "abc"}, gridTraces(t)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{TracesFile, RunsFile} {
		one, err := os.ReadFile(filepath.Join(a, name))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(b, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, two) {
			t.Errorf("%s differs between two runs of the same experiment", name)
		}
	}
}

func TestLoadOfAnEmptyFolderIsNotExist(t *testing.T) {
	if _, _, err := Load(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want one that is fs.ErrNotExist", err)
	}
}

func TestLoadFindsChangedFiles(t *testing.T) {
	dir := t.TempDir()
	if err := Save(dir, Provenance{}, gridTraces(t)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{TracesFile, RunsFile, DecisionsFile, SumsFile} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			defer os.WriteFile(path, good, 0o644)
			flipped := bytes.Clone(good)
			flipped[len(flipped)/2] ^= 1
			for what, bad := range map[string][]byte{"flipped": flipped, "truncated": good[:len(good)/2], "empty": {}} {
				if err := os.WriteFile(path, bad, 0o644); err != nil {
					t.Fatal(err)
				}
				if _, _, err := Load(dir); err == nil || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s %s: error %v, want one line", what, name, err)
				}
			}
		})
	}
}

// encode gives the three files of some traces, in memory.
func encode(t testing.TB, from Provenance, traces []*Trace) (files [3][]byte) {
	t.Helper()
	for i, write := range []func(io.Writer, Provenance, []*Trace) error{writeTraceRows, writeRunRows, writeDecisionRows} {
		var buf bytes.Buffer
		if err := write(&buf, from, traces); err != nil {
			t.Fatal(err)
		}
		files[i] = buf.Bytes()
	}
	return files
}

func TestDecodeNamesTheFileAndTheRow(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *Trace)
		want   string
	}{
		{"time goes back", func(t *Trace) { t.Points[1].Seconds = t.Points[0].Seconds / 2 }, TracesFile + ": row 2: time "},
		{"after the end", func(t *Trace) { t.Points[len(t.Points)-1].Seconds = t.End + 1 }, "in a run that ends at"},
		{"worse incumbent", func(t *Trace) { t.Points[1].Score = t.Points[0].Score }, TracesFile + ": row 2: incumbent "},
		{"better than the best", func(t *Trace) { t.Points[0].Score = t.Scale.Best + 1 }, TracesFile + ": row 1: incumbent "},
		{"epochs", func(t *Trace) { t.Points[0].Epochs = 0 }, TracesFile + ": row 1: 0 epochs after 0"},
		{"candidate", func(t *Trace) { t.Points[0].Candidate = -1 }, TracesFile + ": row 1: candidate -1"},
		{"clock", func(t *Trace) { t.Clock = "wall" }, RunsFile + `: row 1: unknown clock "wall"`},
		{"method", func(t *Trace) { t.Method = "" }, RunsFile + ": row 1: no data set or no method"},
		{"budget", func(t *Trace) { t.Budget = -1 }, RunsFile + ": row 1: budget -1"},
		{"workers", func(t *Trace) { t.Workers = 0 }, RunsFile + ": row 1: 0 workers"},
		{"scale", func(t *Trace) { t.Scale.Best = t.Scale.Worst - 1 }, RunsFile + ": row 1: best score"},
		{"totals", func(t *Trace) { t.End = t.Budget + 1 }, RunsFile + ": row 1: "},
		{"decisions", func(t *Trace) { t.Decisions = t.Trials - 1 }, RunsFile + ": row 1: "},
		{"spent", func(t *Trace) { t.Spent[0].Epochs++ }, "but those of the candidates sum to"},
		{"spent twice", func(t *Trace) { t.Spent = append(t.Spent, t.Spent[0]) }, RunsFile + ": row 1: candidate "},
		{"decision time", func(t *Trace) { t.Measured.DecisionSeconds = -1 }, DecisionsFile + ": row 1: run 0 with -1 seconds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			traces := gridTraces(t)[:2]
			c.change(traces[0])
			files := encode(t, Provenance{}, traces)
			_, _, err := decode(files[0], files[1], files[2])
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	traces := gridTraces(t)
	one, two, other := encode(t, Provenance{}, traces[:1]), encode(t, Provenance{}, traces[:2]), encode(t, Provenance{Data: "x"}, traces[:2])
	for _, c := range []struct {
		traces, runs, decisions []byte
		want                    string
	}{
		{two[0], one[1], one[2], "is out of order or not among the 1 runs"},
		{one[0], two[1], two[2], "points, but " + TracesFile + " has 0"},
		{two[0], two[1], one[2], DecisionsFile + ": 1 rows, but " + RunsFile + " has 2"},
		{two[0], two[1], other[2], "made from different data"},
		{two[1], two[1], two[2], TracesFile + ": its columns are not those"},
		{[]byte("PAR1 nothing"), two[1], two[2], TracesFile + ": "},
	} {
		_, _, err := decode(c.traces, c.runs, c.decisions)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestSaveReportsAFolderThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Save(filepath.Join(file, "out"), Provenance{}, nil); err == nil {
		t.Error("no error")
	}
}

func FuzzReadSums(f *testing.F) {
	f.Add([]byte(strings.Repeat("0", 64) + "  runs.parquet\n"))
	f.Add([]byte("x"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, SumsFile)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		sums, err := readSums(path)
		if err != nil {
			return
		}
		for name, sum := range sums {
			if len(sum) != 64 || strings.Contains(name, "\n") {
				t.Errorf("%q has sum %q", name, sum)
			}
		}
	})
}

func BenchmarkSave(b *testing.B) {
	var traces []*Trace
	for len(traces) < 6000 {
		traces = append(traces, gridTraces(b)...)
	}
	dir := b.TempDir()
	b.ReportAllocs()
	for b.Loop() {
		if err := Save(dir, Provenance{}, traces); err != nil {
			b.Fatal(err)
		}
	}
}
