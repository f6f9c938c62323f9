package quicktune

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"quicktune/predictor/traintime"
	"quicktune/search"
	"quicktune/search/searchtest"
)

// fixedTimes gives the same heads for every data set.
type fixedTimes struct {
	heads map[string]traintime.Head
	err   error
}

func (fixedTimes) Name() string { return "fixed" }

func (f fixedTimes) Heads(string) (map[string]traintime.Head, float64, error) {
	return f.heads, 3, f.err
}

// timedMeta is what can be learnt from two of the suite's tables.
func timedMeta() search.MetaData {
	meta := SuiteMetaData()
	meta.ModelParam = "model"
	return meta
}

var evenHeads = map[string]traintime.Head{"small": {HalfTime: 1, Gradient: 0.1}, "wide": {HalfTime: 3, Gradient: 0.1}, "deep": {HalfTime: 9, Gradient: 0.1}}

func TestThePlannerWithTrainingTimesKeepsTheContract(t *testing.T) {
	m := TimedPlannerMethod(fixedTimes{heads: evenHeads}, TimedOptions{Feature: true, Filter: true})
	meta := timedMeta()
	meta.Cache = t.TempDir()
	KeepsContractOnAccuracies(t, m, meta)

	// What was learnt with other times is another model.
	other := map[string]traintime.Head{"small": {HalfTime: 5, Gradient: 0.1}}
	if _, err := TimedPlannerMethod(fixedTimes{heads: other}, TimedOptions{Feature: true}).Learn(context.Background(), meta); err != nil {
		t.Fatal(err)
	}
	if kept, err := filepath.Glob(filepath.Join(meta.Cache, "forecasts-*.zip")); err != nil || len(kept) != 2 {
		t.Errorf("the cache holds %q, %v", kept, err)
	}
}

func TestPredictedEpochsFollowTheConfiguration(t *testing.T) {
	meta := timedMeta()
	x, err := newTiming(fixedTimes{heads: evenHeads}, meta)
	if err != nil {
		t.Fatal(err)
	}
	task := meta.Train[0].Task
	perEpoch := math.Ceil(float64(task.TrainSamples) / usualBatch)
	configs := meta.Train[0].Configs
	got, err := x.epochs(configs, task)
	if err != nil {
		t.Fatal(err)
	}
	adaptive := 0
	for i, c := range configs {
		values := meta.Space.Map(c)
		half := evenHeads[values["model"].Text()].HalfTime
		want := half * (1 - nesterov) / values["lr"].Num() / perEpoch
		if values["opt"].Text() == "adamw" {
			adaptive++
			want = half * 0.1 / values["lr"].Num() / perEpoch
		}
		if math.Abs(got[i]/want-1) > 1e-12 {
			t.Errorf("configuration %d: %v epochs, want %v", i, got[i], want)
		}
	}
	if adaptive == 0 || adaptive == len(configs) {
		t.Errorf("%d of %d configurations are adaptive", adaptive, len(configs))
	}
	none, err := newTiming(fixedTimes{}, meta)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := none.epochs(configs[:1], task); err != nil || !math.IsNaN(got[0]) {
		t.Errorf("a model that nobody looked at takes %v, %v", got, err)
	}
}

// Half of the predicted times are long; of their curves one in ten gets halfway,
// after 30 epochs, of the others all do, after 2.
func TestTheLeastTimeIsThatOfPastCurvesWithLongerPredictions(t *testing.T) {
	p := past{}
	for i := range 100 {
		long := pastTime{predicted: 1000, taken: math.Inf(1)}
		if i%10 == 0 {
			long.taken = 30
		}
		p["sgd"] = append(p["sgd"], long)
	}
	for range 100 {
		p["sgd"] = append(p["sgd"], pastTime{predicted: 1, taken: 2})
	}
	p["adam"] = p["sgd"][50:60]
	for _, c := range []struct {
		optimizer       string
		predicted, want float64
	}{{"sgd", 500, 30}, {"sgd", 0.5, 2}, {"sgd", 1e6, math.Inf(1)}, {"adam", 500, 0}, {"unknown", 500, 0}} {
		if c.predicted == 1e6 {
			// None was predicted to take that long: the twenty longest tell.
			p["sgd"][0].taken, p["sgd"][10].taken = math.Inf(1), math.Inf(1)
		}
		if got := p.least(c.optimizer, c.predicted); got != c.want {
			t.Errorf("%s with a predicted time of %v takes at least %v, want %v", c.optimizer, c.predicted, got, c.want)
		}
	}
	nan := float32(math.NaN())
	// Five classes: chance is .2, the best .8, half of the rise .5.
	got := halves([][]float32{{.2, .49, .51, .8}, {nan, .3}, {.6}, {}}, 5)
	for i, want := range []int{3, 0, 1, 0} {
		if got[i] != want {
			t.Errorf("curve %d is halfway at epoch %d, want %d", i, got[i], want)
		}
	}
}

func TestWhatCannotFinishIsNotTried(t *testing.T) {
	heads := map[string]traintime.Head{"small": {HalfTime: 1, Gradient: 0.1}, "wide": {HalfTime: 1, Gradient: 0.1}, "deep": {HalfTime: 1e9, Gradient: 0.1}}
	meta := timedMeta()
	index := meta.Space.Index("model")
	for d := range meta.Train { // no curve of the deep model has ever learnt anything
		for i, c := range meta.Train[d].Configs {
			if c[index].Text() == "deep" {
				for e := range meta.Train[d].Scores[i] {
					meta.Train[d].Scores[i][e] = 0.1
				}
			}
		}
	}
	f, err := TimedPlannerMethod(fixedTimes{heads: heads}, TimedOptions{Filter: true}).Learn(context.Background(), meta)
	if err != nil {
		t.Fatal(err)
	}
	table := searchtest.Tables()[0]
	o, err := f(search.Problem{
		Space: table.Space, Candidates: table.Candidates, Task: table.Task, MaxEpochs: table.MaxEpochs, Metric: table.Metric, Workers: 1, Budget: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := o.(search.Prepared).Preparation(); s != 3 {
		t.Errorf("a preparation of %v s, want 3", s)
	}
	q := o.(*rankedPlanner)
	i, others := -1, 0
	for c, config := range table.Candidates {
		k := &q.plans[c]
		never := math.IsInf(k.least, 1)
		if !never {
			i = c
			others++
			if config[index].Text() == "deep" {
				t.Errorf("candidate %d of the deep model takes at least %v epochs", c, k.least)
			}
		}
		if got := q.promise(c); never != (got == 0) {
			t.Errorf("candidate %d takes at least %v epochs and promises %v", c, k.least, got)
		}
	}
	// Of the others only the slowest learn as little as the deep ones.
	if others < len(table.Candidates)/3 {
		t.Fatalf("%d of %d candidates are left", others, len(table.Candidates))
	}
	// What cannot finish in the time left may in more.
	q.plans[i].least = (q.budget - q.clock) / q.plans[i].seconds * 0.9
	if q.promise(i) == 0 {
		t.Error("a candidate that fits promises nothing")
	}
	q.clock += 0.2 * (q.budget - q.clock)
	if q.promise(i) != 0 {
		t.Error("a candidate that does not fit any more promises something")
	}
}

func TestMissingTrainingTimesAreTold(t *testing.T) {
	losses := timedMeta()
	losses.Metric = search.Metric{Name: "val_loss"}
	unnamed := timedMeta()
	unnamed.ModelParam = ""
	for want, c := range map[string]struct {
		times fixedTimes
		meta  search.MetaData
	}{
		"no times of this data set": {fixedTimes{err: errors.New("no times of this data set")}, timedMeta()},
		"no hyperparameter names":   {fixedTimes{}, unnamed},
		"is no accuracy":            {fixedTimes{}, losses},
	} {
		_, err := TimedPlannerMethod(c.times, TimedOptions{Filter: true}).Learn(context.Background(), c.meta)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}
