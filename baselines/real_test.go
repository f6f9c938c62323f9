package baselines

import (
	"context"
	"slices"
	"testing"

	"quicktune/internal/realdata"
	"quicktune/metadataset"
	"quicktune/metadataset/importers"
	"quicktune/search"
	"quicktune/search/searchtest"
)

// TestEveryMethodKeepsTheContractOnRealCurves runs on 60 configurations of one
// data set of Extended after learning, where a method learns, from two others.
func TestEveryMethodKeepsTheContractOnRealCurves(t *testing.T) {
	in, _, err := importers.Import(context.Background(), realdata.Path(t, "quicktune", "extended"), importers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	metric := search.Metric{Name: string(in.Metric.Column), Bounded: true}
	meta := search.MetaData{Space: in.Space, Metric: metric, MaxEpochs: in.MaxEpochs, ModelParam: in.ModelParam, Parallel: 1}
	for _, m := range in.Models {
		meta.Hub = append(meta.Hub, search.Model(m))
	}
	meta.Train = []search.Curves{realCurves(in, 1)}
	meta.Validation = []search.Curves{realCurves(in, 2)}
	table := realTable(in, metric)
	for _, listed := range Methods() {
		t.Run(listed.Name, func(t *testing.T) {
			m, err := New(listed.Name, parseSettings(contractSettings[listed.Name]))
			if err != nil {
				t.Fatal(err)
			}
			if m.Learn != nil {
				if m.New, err = m.Learn(context.Background(), meta); err != nil {
					t.Fatal(err)
				}
			}
			o := contractOptions[m.Name]
			o.Tables, o.Seeds, o.Proposals = []searchtest.Table{table}, []uint64{1}, 14
			searchtest.Run(t, m, o)
		})
	}
}

const realCandidates = 60

// curvesOf lists the first curves of a data set by its index.
func curvesOf(in metadataset.Input, dataset int) []metadataset.InputCurve {
	var out []metadataset.InputCurve
	for _, c := range in.Curves {
		if c.Dataset == in.Datasets[dataset].Name && len(out) < realCandidates {
			out = append(out, c)
		}
	}
	return out
}

func realTask(in metadataset.Input, dataset int) search.Task {
	d := in.Datasets[dataset]
	return search.Task{Name: d.Name, TrainSamples: d.TrainSamples, Classes: d.Classes, Pixels: d.Pixels, Channels: d.Channels, MetaFeatures: slices.Clone(d.MetaFeatures)}
}

func realCurves(in metadataset.Input, dataset int) search.Curves {
	out := search.Curves{Task: realTask(in, dataset)}
	for _, c := range curvesOf(in, dataset) {
		out.Configs = append(out.Configs, c.Config)
		out.Scores = append(out.Scores, c.Values[in.Metric.Column])
		out.Seconds = append(out.Seconds, c.Values[metadataset.Seconds])
		out.Untrained = append(out.Untrained, c.End == metadataset.EndMemoryTest)
	}
	return out
}

func realTable(in metadataset.Input, metric search.Metric) searchtest.Table {
	out := searchtest.Table{Name: in.Datasets[0].Name, Space: in.Space, Task: realTask(in, 0), MaxEpochs: in.MaxEpochs, Metric: metric}
	for _, c := range curvesOf(in, 0) {
		curve := searchtest.Curve{End: search.Completed}
		for e, v := range c.Values[in.Metric.Column] {
			curve.Scores = append(curve.Scores, float64(v))
			curve.Seconds = append(curve.Seconds, float64(c.Values[metadataset.Seconds][e]))
		}
		out.Candidates = append(out.Candidates, c.Config)
		out.Curves = append(out.Curves, curve)
	}
	return out
}
