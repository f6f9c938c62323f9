package quicktune_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"quicktune"
	"quicktune/search"
	"quicktune/search/searchtest"
	"quicktune/space"
)

// lossMetaData is the suite's table of losses.
func lossMetaData() search.MetaData {
	meta := quicktune.SuiteMetaData()
	meta.Metric, meta.Train = search.Metric{Name: "val_loss"}, nil
	for _, table := range searchtest.Tables() {
		if table.Name != "loss" {
			continue
		}
		for part := range 2 { // two data sets, half of the curves each
			c := search.Curves{Task: table.Task}
			c.Task.Name = fmt.Sprint("loss ", part)
			for i, curve := range table.Curves {
				if i%2 != part {
					continue
				}
				var scores, seconds []float32
				for e := range curve.Scores {
					scores, seconds = append(scores, float32(curve.Scores[e])), append(seconds, float32(curve.Seconds[e]))
				}
				c.Configs, c.Scores, c.Seconds = append(c.Configs, table.Candidates[i]), append(c.Scores, scores), append(c.Seconds, seconds)
			}
			meta.Train = append(meta.Train, c)
		}
	}
	return meta
}

func learnPlanner(t testing.TB, meta search.MetaData) search.Factory {
	t.Helper()
	factory, err := quicktune.PlannerMethod(nil).Learn(context.Background(), meta)
	if err != nil {
		t.Fatal(err)
	}
	return factory
}

func TestPlannerKeepsTheContract(t *testing.T) {
	accuracies, losses := suiteFactory(), learnPlanner(t, lossMetaData())
	method := quicktune.PlannerMethod(nil)
	method.New = func(p search.Problem) (search.Optimizer, error) {
		if p.Metric.Bounded {
			return accuracies(p)
		}
		return losses(p)
	}
	searchtest.Run(t, method, searchtest.Options{Seeds: []uint64{1}})
}

func TestPlannerRefusesWhatItCannotForecast(t *testing.T) {
	meta, factory := quicktune.SuiteMetaData(), suiteFactory()
	table := searchtest.Tables()[0]
	good := search.Problem{
		Space: table.Space, Candidates: table.Candidates, Task: table.Task, MaxEpochs: table.MaxEpochs, Metric: table.Metric, Workers: 1,
	}
	if _, err := factory(good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*search.Problem)
		want   string
	}{
		"loss":          {func(p *search.Problem) { p.Metric = search.Metric{Name: "val_loss"} }, `the forecasts are of accuracies in [0, 1]; the metric "val_loss" is another kind`},
		"longer curves": {func(p *search.Problem) { p.MaxEpochs = 51 }, "up to 51 epochs"},
		"no space":      {func(p *search.Problem) { p.Space = nil }, "another search space"},
		"another space": {func(p *search.Problem) { p.Space = space.QuickTune() }, "another search space"},
		"invalid candidate": {func(p *search.Problem) {
			p.Candidates = append([]space.Config{{}}, p.Candidates...)
		}, "candidate 0"},
	} {
		p := good
		c.change(&p)
		if _, err := factory(p); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", name, err, c.want)
		}
	}
	if _, err := learnPlanner(t, lossMetaData())(good); err == nil || !strings.Contains(err.Error(), "the forecasts are of losses") {
		t.Errorf("forecasts of losses for accuracies: error %v", err)
	}
	meta.Train = nil
	if _, err := quicktune.PlannerMethod(nil).Learn(context.Background(), meta); err == nil || !strings.Contains(err.Error(), "0 data sets") {
		t.Errorf("learning: error %v, want one with %q", err, "0 data sets")
	}
}

// Losses are accuracies in disguise: where a loss is made from each accuracy such
// that the scale gives the accuracy back, the search is the same.
func TestPlannerTreatsLossesAsItTreatsAccuracies(t *testing.T) {
	const loss = 4.0
	disguise := func(accuracy float64) float64 { return -loss * (1/accuracy - 1) }
	meta := quicktune.SuiteMetaData()
	for i := range meta.Train {
		for _, scores := range meta.Train[i].Scores {
			for e := range scores {
				scores[e] = float32(max(float64(scores[e]), 0.02))
			}
		}
	}
	disguised := meta
	disguised.Metric = search.Metric{Name: "val_loss"}
	disguised.Train = slices.Clone(meta.Train)
	for i := range disguised.Train {
		c := &disguised.Train[i]
		c.Scores = slices.Clone(c.Scores)
		for j, scores := range c.Scores {
			c.Scores[j] = nil
			for _, s := range scores {
				c.Scores[j] = append(c.Scores[j], float32(disguise(float64(s))))
			}
		}
	}
	usual := disguised.UnitScale().Loss // not loss, which only shifts log odds
	if usual == loss {
		t.Fatal("the scales are the same by chance; choose another")
	}
	table := searchtest.Tables()[0]
	p := search.Problem{Space: table.Space, Candidates: table.Candidates, Task: table.Task, MaxEpochs: table.MaxEpochs, Metric: table.Metric, Workers: 1, Budget: 300}
	lossy := p
	lossy.Metric = disguised.Metric
	a, err := learnPlanner(t, meta)(p)
	if err != nil {
		t.Fatal(err)
	}
	b, err := learnPlanner(t, disguised)(lossy)
	if err != nil {
		t.Fatal(err)
	}
	// Log odds shifted by a constant are cut differently at accuracies near 0
	// and 1 and give other expected improvements, so choices may differ; what
	// is reached with equal epochs may hardly.
	reached := func(q search.Optimizer, score func(float64) float64) float64 {
		best, clock := 0.0, 0.0
		for range 40 {
			choice, status := q.Ask()
			if status != search.Ready {
				break
			}
			curve := table.Curves[choice.Candidate]
			accuracy := max(curve.Scores[choice.Epoch-1], 0.02)
			best, clock = max(best, accuracy), clock+curve.Seconds[choice.Epoch-1]
			r := search.Report{
				Trial: choice.Trial, Candidate: choice.Candidate, Epoch: choice.Epoch, Score: score(accuracy),
				Seconds: curve.Seconds[choice.Epoch-1], Clock: clock, Proposed: true,
			}
			if choice.Epoch == len(curve.Scores) {
				r.End = curve.End
			}
			q.Tell(r)
		}
		return best
	}
	plain, disguisedBest := reached(a, func(s float64) float64 { return s }), reached(b, disguise)
	if !(math.Abs(plain-disguisedBest) < 0.05) || plain < 0.5 {
		t.Errorf("40 epochs reach %.3f by accuracies and %.3f by losses", plain, disguisedBest)
	}
}

// A cached model is used, a damaged one replaced.
func TestPlannerLearnsOnceAndMendsItsCache(t *testing.T) {
	meta := quicktune.SuiteMetaData()
	meta.Cache = t.TempDir()
	ensembles := 0
	meta.Progress = func(done, total int64) {
		ensembles++
		if done > total {
			t.Errorf("%d of %d done", done, total)
		}
	}
	learnPlanner(t, meta)
	if ensembles == 0 {
		t.Fatal("no progress was told")
	}
	ensembles = 0
	learnPlanner(t, meta)
	if ensembles != 0 {
		t.Errorf("%d ensembles were grown though the model was kept", ensembles)
	}
	files, err := filepath.Glob(filepath.Join(meta.Cache, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, error %v; want one", files, err)
	}
	if err := os.WriteFile(files[0], []byte("PK"), 0o644); err != nil {
		t.Fatal(err)
	}
	learnPlanner(t, meta)
	if ensembles == 0 {
		t.Error("a damaged model was used")
	}
}

// A search that plans to the end of the budget uses nearly all of it.
func TestPlannerUsesTheBudget(t *testing.T) {
	factory := suiteFactory()
	table := searchtest.Tables()[0]
	for _, budget := range []float64{50, 200, 1000} {
		q, err := factory(search.Problem{
			Space: table.Space, Candidates: table.Candidates, Task: table.Task, MaxEpochs: table.MaxEpochs, Metric: table.Metric, Workers: 1,
			Budget: budget,
		})
		if err != nil {
			t.Fatal(err)
		}
		clock := 0.0
		for {
			proposal, status := q.Ask()
			if status != search.Ready {
				break
			}
			curve := table.Curves[proposal.Candidate]
			seconds := curve.Seconds[proposal.Epoch-1]
			if clock+seconds > budget {
				break
			}
			clock += seconds
			r := search.Report{
				Trial: proposal.Trial, Candidate: proposal.Candidate, Epoch: proposal.Epoch, Clock: clock, Seconds: seconds,
				Score: curve.Scores[proposal.Epoch-1], Proposed: true,
			}
			if proposal.Epoch == len(curve.Scores) {
				r.End = curve.End
			}
			q.Tell(r)
		}
		if clock < .8*budget {
			t.Errorf("stopped at %v s of %v", clock, budget)
		}
	}
}

// suiteFactory is a planner that has learnt from the suite's tables.
var suiteFactory = sync.OnceValue(func() search.Factory {
	factory, err := quicktune.PlannerMethod(nil).Learn(context.Background(), quicktune.SuiteMetaData())
	if err != nil {
		panic(err)
	}
	return factory
})
