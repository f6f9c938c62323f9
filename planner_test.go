package quicktune_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"quicktune"
	"quicktune/search"
	"quicktune/search/searchtest"
	"quicktune/space"
)

// suiteMetaData is what can be learnt from the suite's own tables of accuracies.
func suiteMetaData() search.MetaData {
	meta := search.MetaData{Metric: search.Metric{Name: "val_accuracy", Bounded: true}, MaxEpochs: 50, Parallel: 2}
	for _, table := range searchtest.Tables() {
		if table.Name != "rising" && table.Name != "uneven" {
			continue
		}
		meta.Space = table.Space
		c := search.Curves{Task: table.Task, Configs: table.Candidates}
		c.Task.Name = table.Name
		for _, curve := range table.Curves {
			var scores, seconds []float32
			for e := range curve.Scores {
				scores, seconds = append(scores, float32(curve.Scores[e])), append(seconds, float32(curve.Seconds[e]))
			}
			c.Scores, c.Seconds = append(c.Scores, scores), append(c.Seconds, seconds)
		}
		meta.Train = append(meta.Train, c)
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
	method := quicktune.PlannerMethod(nil)
	method.New = suiteFactory()
	var tables []searchtest.Table
	for _, table := range searchtest.Tables() {
		if table.Metric.Bounded {
			tables = append(tables, table)
		}
	}
	searchtest.Run(t, method, searchtest.Options{Tables: tables, Seeds: []uint64{1}, Seedless: true})
}

func TestPlannerRefusesWhatItCannotForecast(t *testing.T) {
	meta, factory := suiteMetaData(), suiteFactory()
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
		"loss":          {func(p *search.Problem) { p.Metric.Bounded = false }, "no bounds"},
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
	loss, none := meta, meta
	loss.Metric.Bounded = false
	none.Train = nil
	for want, meta := range map[string]search.MetaData{"no bounds": loss, "0 data sets": none} {
		if _, err := quicktune.PlannerMethod(nil).Learn(context.Background(), meta); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("learning: error %v, want one with %q", err, want)
		}
	}
}

// A cached model is used, a damaged one replaced.
func TestPlannerLearnsOnceAndMendsItsCache(t *testing.T) {
	meta := suiteMetaData()
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
	factory, err := quicktune.PlannerMethod(nil).Learn(context.Background(), suiteMetaData())
	if err != nil {
		panic(err)
	}
	return factory
})
