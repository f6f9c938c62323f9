// Package crossvaltest holds searches on real curves for the tests of methods.
// It refuses to run them: that is what searchtest does.
package crossvaltest

import (
	"context"
	"path/filepath"
	"testing"

	"quicktune/benchmark/crossval"
	"quicktune/benchmark/replay"
	"quicktune/internal/realdata"
	"quicktune/metadataset"
	"quicktune/metadataset/importers"
	"quicktune/predictor"
	"quicktune/search"
	"quicktune/search/searchtest"
)

// candidates is how many curves of a data set are taken, the first.
const candidates = 60

// Case is a search on one data set, and two others to learn from.
type Case struct {
	Table searchtest.Table
	Meta  search.MetaData
}

// Cases are searches on three kinds of meta-datasets:
//
//   - "extended": the released curves, which are no part of the repository; a
//     test without them is skipped, or fails in CI;
//   - "embedded": the shipped curves, with pretrained models and costs;
//   - "losses": the shipped validation losses, without costs and with nothing
//     known of the models.
var Cases = []struct {
	Name string
	Load func(testing.TB) Case
}{
	{"embedded", func(t testing.TB) Case { return newCase(t, embedded(t)) }},
	{"losses", func(t testing.TB) Case { return newCase(t, losses(t, embedded(t))) }},
	{"extended", func(t testing.TB) Case { return newCase(t, extended(t)) }},
}

func extended(t testing.TB) *metadataset.Store {
	t.Helper()
	in, _, err := importers.Import(context.Background(), realdata.Path(t, "quicktune", "extended"), importers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return stored(t, in)
}

func embedded(t testing.TB) *metadataset.Store {
	t.Helper()
	s, err := metadataset.Open(filepath.Join(realdata.Root(t), "results", "embedded"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// losses is s without all that some meta-datasets lack.
func losses(t testing.TB, s *metadataset.Store) *metadataset.Store {
	t.Helper()
	in := metadataset.Input{
		Space: s.Space, Metric: metadataset.Metric{Column: metadataset.ValLoss, Goal: metadataset.Minimize},
		MaxEpochs: s.Manifest.MaxEpochs, TimeUnit: metadataset.TimeEpochs, Generator: "a test",
	}
	for d := range 3 {
		in.Datasets = append(in.Datasets, metadataset.Dataset{Name: s.Datasets[d].Name})
		for c := range s.Curves(d) {
			in.Curves = append(in.Curves, metadataset.InputCurve{
				ID: s.IDs[c], Dataset: s.Datasets[d].Name, Config: s.Config(c), End: s.Ends[c],
				Values: map[metadataset.Column][]float32{metadataset.ValLoss: s.Values(c, metadataset.ValLoss)},
			})
		}
	}
	return stored(t, in)
}

func stored(t testing.TB, in metadataset.Input) *metadataset.Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if err := metadataset.Write(dir, in); err != nil {
		t.Fatal(err)
	}
	s, err := metadataset.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newCase searches on the first data set and learns from the next two.
func newCase(t testing.TB, s *metadataset.Store) Case {
	t.Helper()
	meta, err := crossval.MetaData(s, predictor.Split{Train: []string{s.Datasets[1].Name}, Validation: []string{s.Datasets[2].Name}})
	if err != nil {
		t.Fatal(err)
	}
	meta.Parallel = 1
	for _, part := range [][]search.Curves{meta.Train, meta.Validation} {
		for i := range part {
			c := &part[i]
			n := min(len(c.Configs), candidates)
			c.Configs, c.Scores, c.Seconds, c.Untrained = c.Configs[:n], c.Scores[:n], c.Seconds[:n], c.Untrained[:n]
		}
	}
	r, err := replay.FromStore(s, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	table := searchtest.Table{Name: r.Task.Name, Space: r.Space, Task: r.Task, MaxEpochs: r.MaxEpochs, Metric: r.Metric}
	for c := range min(len(r.Candidates), candidates) {
		table.Candidates = append(table.Candidates, r.Candidates[c])
		table.Curves = append(table.Curves, searchtest.Curve{Scores: widen(r.Scores[c]), Seconds: widen(r.Seconds[c]), End: r.Ends[c]})
	}
	return Case{Table: table, Meta: meta}
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
