package baselines

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"quicktune/search"
	"quicktune/space"
)

func TestAPortfolioIsChosenGreedily(t *testing.T) {
	regrets := [][]float64{
		{0.5, 0.5, 0.5}, // best on average: first
		{0.0, 0.9, 1.0}, // gains .5 on the first data set
		{0.9, 0.1, 0.9}, // gains .4 on the second
		{0.6, 0.6, 0.6}, // gains nothing
		{0.4, 1.0, 0.4}, // gains .1 and .1, but after candidate 1 only .1
		{0.5, 0.5, 0.5}, // as good as the first, and behind it
	}
	for _, c := range []struct {
		size int
		want []int
	}{
		{6, []int{0, 1, 2, 4, 5, 3}},
		{2, []int{0, 1, 5, 3, 4, 2}},
	} {
		if got := greedyPortfolio(regrets, c.size); !slices.Equal(got, c.want) {
			t.Errorf("size %d: %v; want %v", c.size, got, c.want)
		}
	}
	if got := greedyPortfolio(nil, 3); got != nil {
		t.Errorf("no candidates: %v", got)
	}
}

func TestThePortfolioKnowsWhatWasTrained(t *testing.T) {
	// Candidates that were trained on the only other data set come in the
	// order of their regrets there.
	meta := metaData(search.Metric{Name: "val_accuracy", Bounded: true}, 27)
	meta.Validation = nil
	f, err := LearnPortfolio(context.Background(), meta, Portfolio{})
	if err != nil {
		t.Fatal(err)
	}
	p := encodedProblem(0, 27)
	p.Candidates = meta.Train[0].Configs
	o, err := f(p)
	if err != nil {
		t.Fatal(err)
	}
	regrets := bestRegrets(meta.Train[0].Scores)
	last := -1.0
	for range p.Candidates {
		proposal := ask(t, o)
		if r := regrets[proposal.Candidate]; r < last {
			t.Fatalf("regret %g after %g", r, last)
		} else {
			last = r
		}
	}
}

func TestRegretsOfCurves(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	got := bestRegrets([][]float32{{0.2, 0.6}, {0.4, nan}, {1, 0.8}, {nan}, {}, {inf, 0.5}})
	want := []float64{0.5, 0.75, 0, 1, 1, 0.625}
	for c := range want {
		if !near(got[c], want[c], 1e-6) {
			t.Errorf("curve %d: regret %g; want %g", c, got[c], want[c])
		}
	}
	if got := bestRegrets([][]float32{{0.5}, {0.5, 0.5}}); got[0] != 0 || got[1] != 0 {
		t.Errorf("equal curves: %v", got)
	}
}

func TestTheDefaultModel(t *testing.T) {
	p := encodedProblem(60, 9)
	index := p.Space.Index("model")
	meta := metaData(p.Metric, 9)
	// "wide" is best by far on the other data sets.
	for _, set := range slices.Concat(meta.Train, meta.Validation) {
		for c, config := range set.Configs {
			for e := range set.Scores[c] {
				set.Scores[c][e] = 0.3
				if config[index].Text() == "wide" {
					set.Scores[c][e] = 0.9
				}
			}
		}
	}
	hub := []search.Model{
		{Name: "small", SourceAccuracy: 0.7},
		{Name: "wide", SourceAccuracy: math.NaN()},
		{Name: "deep", SourceAccuracy: 0.8},
	}
	for _, c := range []struct {
		name     string
		settings string
		hub      []search.Model
		without  string // model that the pool lacks
		want     string
	}{
		{"the hub tells", "by=source-accuracy", hub, "", "deep"},
		{"the pool has none of it", "by=source-accuracy tuner=random", hub, "deep", "small"},
		{"no hub", "by=source-accuracy", nil, "", "wide"},
		{"by regret", "", hub, "", "wide"},
	} {
		m, err := New("default-model", parseSettings(c.settings))
		if err != nil {
			t.Fatal(err)
		}
		meta.Hub = c.hub
		f, err := m.Learn(context.Background(), meta)
		if err != nil {
			t.Fatal(err)
		}
		pool := p
		pool.Candidates = slices.DeleteFunc(slices.Clone(p.Candidates), func(x space.Config) bool { return x[index].Text() == c.without })
		o, err := f(pool)
		if err != nil {
			t.Fatal(err)
		}
		proposed := make(map[int]bool)
		for _, proposal := range curves(func(c, e int) float64 { return float64(c) }).run(t, o, 9) {
			proposed[proposal.Candidate] = true
		}
		for i, x := range pool.Candidates {
			if proposed[i] != (x[index].Text() == c.want) {
				t.Errorf("%s: candidate %d of model %s: proposed %v", c.name, i, x[index].Text(), proposed[i])
			}
		}
	}
}

func TestLearnersRefuseOtherSpaces(t *testing.T) {
	p := encodedProblem(5, 9)
	other := p
	other.Space = oracleSpace(t)
	for _, name := range []string{"meta-trees", "portfolio", "default-model"} {
		m, err := New(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, err := m.Learn(context.Background(), metaData(p.Metric, 9))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f(other); err == nil || !strings.Contains(err.Error(), "not of the search space") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
