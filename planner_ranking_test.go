package quicktune_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"quicktune"
	"quicktune/search"
	"quicktune/search/searchtest"
)

// ranking gives the same values for every data set.
type ranking struct {
	values map[string]float64
	err    error
}

func (ranking) Name() string { return "fixed" }

func (r ranking) Rank(search.MetaData, string) (map[string]float64, float64, error) {
	return r.values, 3, r.err
}

func rankedPlanner(t *testing.T, r ranking, o quicktune.RankedOptions) search.Optimizer {
	t.Helper()
	meta := quicktune.SuiteMetaData()
	meta.ModelParam = "model"
	f, err := quicktune.RankedPlannerMethod(r, o).Learn(context.Background(), meta)
	if err != nil {
		t.Fatal(err)
	}
	table := searchtest.Tables()[0]
	p, err := f(search.Problem{
		Space: table.Space, Candidates: table.Candidates, Task: table.Task, MaxEpochs: table.MaxEpochs, Metric: table.Metric, Workers: 1, Budget: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// opened lists the models of the first proposals.
func opened(t *testing.T, o search.Optimizer, n int) []string {
	t.Helper()
	table := searchtest.Tables()[0]
	index := table.Space.Index("model")
	var models []string
	clock := 3.0
	for range n {
		p, status := o.Ask()
		if status != search.Ready {
			t.Fatalf("status %v", status)
		}
		models = append(models, table.Candidates[p.Candidate][index].Text())
		clock++
		o.Tell(search.Report{Trial: p.Trial, Candidate: p.Candidate, Epoch: p.Epoch, Score: 0.1, Seconds: 1, Clock: clock, Proposed: true})
	}
	return models
}

func TestAStrongRankingDecidesWhichModelIsTriedFirst(t *testing.T) {
	for _, want := range []string{"small", "wide", "deep"} {
		values := map[string]float64{"small": 0, "wide": 0, "deep": 0}
		values[want] = 1
		o := rankedPlanner(t, ranking{values: values}, quicktune.RankedOptions{Weight: 20})
		if s := o.(search.Prepared).Preparation(); s != 3 {
			t.Errorf("a preparation of %v s, want 3", s)
		}
		if got := opened(t, o, 1)[0]; got != want {
			t.Errorf("the first model is %s, ranked first is %s", got, want)
		}
	}
}

func TestARankingOfNoWeightChangesNothing(t *testing.T) {
	plain := rankedPlanner(t, ranking{}, quicktune.RankedOptions{})
	ranked := rankedPlanner(t, ranking{values: map[string]float64{"small": 5, "wide": 1, "deep": -3}}, quicktune.RankedOptions{})
	for i := range 12 {
		a, _ := plain.Ask()
		b, _ := ranked.Ask()
		if a != b {
			t.Fatalf("proposal %d is %+v, without a ranking %+v", i, b, a)
		}
		r := search.Report{Trial: a.Trial, Candidate: a.Candidate, Epoch: a.Epoch, Score: 0.1 + 0.01*float64(i), Seconds: 1, Clock: 4 + float64(i), Proposed: true}
		plain.Tell(r)
		ranked.Tell(r)
	}
}

func TestAWarmStartTriesEachOfTheBestModelsOnce(t *testing.T) {
	o := rankedPlanner(t, ranking{values: map[string]float64{"small": 1, "wide": 2, "deep": 3}}, quicktune.RankedOptions{Weight: 0.5, WarmStart: 3})
	seen := map[string]bool{}
	for _, m := range opened(t, o, 3) {
		seen[m] = true
	}
	if len(seen) != 3 {
		t.Errorf("a warm start of three models tries %v", seen)
	}
}

func TestTheRankedPlannerKeepsTheContract(t *testing.T) {
	meta := quicktune.SuiteMetaData()
	meta.ModelParam = "model"
	m := quicktune.RankedPlannerMethod(ranking{values: map[string]float64{"small": 1, "wide": 2, "deep": 3}}, quicktune.RankedOptions{Weight: 0.5, WarmStart: 2})
	quicktune.KeepsContractOnAccuracies(t, m, meta)
}

func TestARankedPlannerSaysWhatIsMissing(t *testing.T) {
	table := searchtest.Tables()[0]
	for name, c := range map[string]struct {
		r     ranking
		o     quicktune.RankedOptions
		param string
		want  string
	}{
		"a ranking fails": {ranking{err: errors.New("no scores of this data set")}, quicktune.RankedOptions{}, "model", "no scores"},
		"no models":       {ranking{}, quicktune.RankedOptions{}, "", "no hyperparameter names"},
		"a wild weight":   {ranking{}, quicktune.RankedOptions{Weight: math.NaN()}, "model", "weight"},
	} {
		meta := quicktune.SuiteMetaData()
		meta.ModelParam = c.param
		f, err := quicktune.RankedPlannerMethod(c.r, c.o).Learn(context.Background(), meta)
		if err == nil {
			_, err = f(search.Problem{
				Space: table.Space, Candidates: table.Candidates, Task: table.Task, MaxEpochs: table.MaxEpochs, Metric: table.Metric, Workers: 1,
			})
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}

// blindRanking fails if it is shown the curves of the data set that it ranks for.
type blindRanking struct {
	asked map[string]bool
	value func(dataset, model string) float64
}

func (blindRanking) Name() string { return "blind" }

func (r blindRanking) Rank(past search.MetaData, dataset string) (map[string]float64, float64, error) {
	for _, part := range [][]search.Curves{past.Train, past.Validation} {
		for _, c := range part {
			if c.Task.Name == dataset {
				return nil, 0, errors.New("the curves of " + dataset + " are shown")
			}
		}
	}
	r.asked[dataset] = true
	values := map[string]float64{}
	for _, m := range []string{"small", "wide", "deep"} {
		values[m] = r.value(dataset, m)
	}
	return values, 3, nil
}

func TestForecastsLearnWhatARankingIsWorth(t *testing.T) {
	meta := quicktune.SuiteMetaData()
	meta.ModelParam = "model"
	table := searchtest.Tables()[0]
	index := table.Space.Index("model")
	models := []string{"small", "wide", "deep"}
	// On every past data set another model is the best.
	quality := func(dataset, model string) float64 {
		for d := range 9 {
			if dataset == fmt.Sprint("past ", d) {
				return float64((slices.Index(models, model) + d) % len(models))
			}
		}
		return math.NaN()
	}
	base := meta.Train[0]
	meta.Train = nil
	for d := range 9 {
		c := search.Curves{Task: base.Task, Configs: base.Configs, Seconds: base.Seconds}
		c.Task.Name = fmt.Sprint("past ", d)
		for i, config := range c.Configs {
			scores := make([]float32, len(base.Scores[i]))
			for e := range scores {
				scores[e] = float32(0.3 + 0.2*quality(c.Task.Name, config[index].Text()) + 0.002*float64(e+i%5))
			}
			c.Scores = append(c.Scores, scores)
		}
		meta.Train = append(meta.Train, c)
	}
	best := ""
	r := blindRanking{map[string]bool{}, func(dataset, model string) float64 {
		if q := quality(dataset, model); !math.IsNaN(q) {
			return 10 * q // standardised, its scale is no matter
		}
		if model == best {
			return 1
		}
		return 0
	}}
	f, err := quicktune.ScoredPlannerMethod(r).Learn(context.Background(), meta)
	if err != nil {
		t.Fatal(err)
	}
	task := table.Task
	task.Name = "new"
	for _, best = range models {
		o, err := f(search.Problem{
			Space: table.Space, Candidates: table.Candidates, Task: task, MaxEpochs: table.MaxEpochs, Metric: table.Metric, Workers: 1, Budget: 1000,
		})
		if err != nil {
			t.Fatal(err)
		}
		if s := o.(search.Prepared).Preparation(); s != 3 || len(r.asked) != 10 {
			t.Errorf("a preparation of %v s and %d data sets ranked, want 3 and 10", s, len(r.asked))
		}
		if got := opened(t, o, 1)[0]; got != best {
			t.Errorf("the first model is %s, ranked first is %s", got, best)
		}
	}
}

func TestThePlannerWithScoresKeepsTheContract(t *testing.T) {
	meta := quicktune.SuiteMetaData()
	meta.ModelParam = "model"
	m := quicktune.ScoredPlannerMethod(ranking{values: map[string]float64{"small": 1, "wide": 2}})
	quicktune.KeepsContractOnAccuracies(t, m, meta)
	meta.ModelParam = ""
	if _, err := quicktune.ScoredPlannerMethod(ranking{}).Learn(context.Background(), meta); err == nil || !strings.Contains(err.Error(), "no hyperparameter names") {
		t.Errorf("without models: %v", err)
	}
}
