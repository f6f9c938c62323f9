package baselines

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"quicktune/search"
	"quicktune/search/searchtest"
)

// fixedRanking gives the same values for every data set.
type fixedRanking struct {
	values map[string]float64
	err    error
}

func (fixedRanking) Name() string { return "fixed" }

func (r fixedRanking) Rank(search.MetaData, string) (map[string]float64, float64, error) {
	return r.values, 2.5, r.err
}

func TestTwoStagesTrainThePickedModelsAlone(t *testing.T) {
	p := encodedProblem(60, 9)
	index := p.Space.Index("model")
	for _, c := range []struct {
		top   int
		tuner DefaultModelTuner
		want  []string
	}{
		{0, TuneByHyperband, []string{"deep"}},
		{2, TuneByRandomSearch, []string{"deep", "small"}},
		{9, TuneByRandomSearch, []string{"deep", "small", "wide"}},
	} {
		m := TwoStageMethod(TwoStage{Ranking: fixedRanking{values: map[string]float64{"wide": -1, "small": 0.2, "deep": 0.7, "absent": 9}}, Top: c.top, Tuner: c.tuner})
		f, err := m.Learn(context.Background(), metaData(p.Metric, 9))
		if err != nil {
			t.Fatal(err)
		}
		o, err := f(p)
		if err != nil {
			t.Fatal(err)
		}
		if s := o.(search.Prepared).Preparation(); s != 2.5 {
			t.Errorf("the ranking takes %v s, charged %v", 2.5, s)
		}
		trained := map[string]bool{}
		for _, proposal := range curves(func(c, e int) float64 { return float64(c) }).run(t, o, 9) {
			trained[p.Candidates[proposal.Candidate][index].Text()] = true
		}
		want := map[string]bool{}
		for _, name := range c.want {
			want[name] = true
		}
		if !maps.Equal(trained, want) {
			t.Errorf("top %d: %v were trained, want %v", c.top, trained, c.want)
		}
	}
}

func TestTwoStagesKeepTheContract(t *testing.T) {
	p := encodedProblem(5, 9)
	m := TwoStageMethod(TwoStage{Ranking: fixedRanking{values: map[string]float64{"small": 1, "wide": 2, "deep": 3}}})
	f, err := m.Learn(context.Background(), metaData(p.Metric, 50))
	if err != nil {
		t.Fatal(err)
	}
	m.New = f
	var tables []searchtest.Table
	for _, table := range searchtest.Tables() {
		if len(table.Candidates) != 1 { // whose one model may be none of these
			tables = append(tables, table)
		}
	}
	searchtest.Run(t, m, searchtest.Options{Tables: tables, Seeds: []uint64{1}, AnySeed: true})
}

func TestTwoStagesSayWhatIsMissing(t *testing.T) {
	p := encodedProblem(5, 9)
	ranking := fixedRanking{values: map[string]float64{"small": 1, "wide": 2, "deep": 3}}
	nameless := metaData(p.Metric, 9)
	nameless.ModelParam = "net"
	for name, c := range map[string]struct {
		two  TwoStage
		meta search.MetaData
		want string
	}{
		"no ranking":      {TwoStage{}, metaData(p.Metric, 9), "no ranking"},
		"too many":        {TwoStage{Ranking: ranking, Top: -1}, metaData(p.Metric, 9), "top"},
		"no models":       {TwoStage{Ranking: ranking}, nameless, `no hyperparameter "net"`},
		"unknown models":  {TwoStage{Ranking: fixedRanking{values: map[string]float64{"x": 1}}}, metaData(p.Metric, 9), "knows none"},
		"a ranking fails": {TwoStage{Ranking: fixedRanking{err: errors.New("no scores")}}, metaData(p.Metric, 9), "no scores"},
	} {
		f, err := TwoStageMethod(c.two).Learn(context.Background(), c.meta)
		if err == nil {
			_, err = f(p)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}
