package baselines

import (
	"context"
	"math"
	"strings"
	"testing"

	"quicktune/internal/stream"
	"quicktune/search"
	"quicktune/search/searchtest"
	"quicktune/space"
)

func TestEveryMethodKeepsTheContract(t *testing.T) {
	for _, m := range Methods() {
		t.Run(m.Name, func(t *testing.T) {
			m, err := New(m.Name, parseSettings(contractSettings[m.Name]))
			if err != nil {
				t.Fatal(err)
			}
			searchtest.Run(t, learned(m), contractOptions[m.Name])
		})
	}
}

// contractOptions adapts the suite to methods by name.
var contractOptions = map[string]searchtest.Options{
	"bohb:nearest": {Proposals: 50},
	"lce-stopping": {Proposals: 60},
	"tpe":          {Proposals: 40},
	"dyhpo":        {Proposals: 25},
	"freeze-thaw":  {Proposals: 25},
	"fsbo":         {Proposals: 25},
	"mobster":      {Proposals: 40},
	"gp-bo":        {Proposals: 25},
}

// contractSettings makes methods that think long think less in the suite.
var contractSettings = map[string]string{
	"dyhpo":       "initial-fits=2 restart-steps=3 refine-steps=1 exact-rows=5 max-rows=30",
	"gp-bo":       "iterations=3",
	"smac":        "trials=20 retrain-after=3",
	"smac-mf":     "trials=20 retrain-after=3",
	"mobster":     "iterations=3 exact-rows=10 max-rows=40",
	"freeze-thaw": "iterations=3 exact-rows=3 samples=10 fantasies=2",
	"fsbo":        "copies=2 iterations=5 steps=2 context=10",
}

// learned returns m such that New works if m learns from other data sets: it
// learns from the suite's own tables, under other names, for each metric and
// length of curves once.
func learned(m search.Method) search.Method {
	if m.Learn == nil {
		return m
	}
	type kind struct {
		metric search.Metric
		epochs int
	}
	factories := make(map[kind]search.Factory)
	m.New = func(p search.Problem) (search.Optimizer, error) {
		k := kind{p.Metric, p.MaxEpochs}
		if factories[k] == nil {
			f, err := m.Learn(context.Background(), metaData(p.Metric, p.MaxEpochs))
			if err != nil {
				return nil, err
			}
			factories[k] = f
		}
		return factories[k](p)
	}
	return m
}

// metaData makes data sets to learn from out of the suite's tables. Curves are
// cut at maxEpochs.
func metaData(metric search.Metric, maxEpochs int) search.MetaData {
	meta := search.MetaData{Metric: metric, MaxEpochs: maxEpochs, ModelParam: "model", Parallel: 1}
	for _, table := range searchtest.Tables() {
		if len(table.Candidates) < 10 || table.Metric.Bounded != metric.Bounded {
			continue
		}
		meta.Space = table.Space
		task := table.Task
		task.Name = "other " + task.Name
		c := search.Curves{Task: task, Configs: table.Candidates, Untrained: make([]bool, len(table.Candidates))}
		for _, curve := range table.Curves {
			n := min(len(curve.Scores), maxEpochs)
			scores, seconds := make([]float32, n), make([]float32, n)
			for e := range n {
				scores[e], seconds[e] = float32(curve.Scores[e]), float32(curve.Seconds[e])
			}
			c.Scores = append(c.Scores, scores)
			c.Seconds = append(c.Seconds, seconds)
		}
		if len(meta.Train) == 0 {
			meta.Train = append(meta.Train, c)
		} else {
			meta.Validation = append(meta.Validation, c)
		}
	}
	return meta
}

// TestUnusualSettingsKeepTheContract runs every method with settings far from
// its defaults.
func TestUnusualSettingsKeepTheContract(t *testing.T) {
	var tables []searchtest.Table
	for _, table := range searchtest.Tables() {
		if table.MaxEpochs >= 9 {
			tables = append(tables, table)
		}
	}
	for _, c := range []struct{ method, settings string }{
		{"successive-halving", "candidates=5"},
		{"successive-halving", "eta=2 min-epochs=2 candidates=100"},
		{"hyperband", "eta=2"},
		{"hyperband", "eta=1000"},
		{"hyperband-hpbandster", "eta=4 min-epochs=3"},
		{"hyperband-synetune", "eta=2 min-epochs=9"},
		{"asha", "eta=2 brackets=64"},
		{"asha", "max-epochs=5"},
		{"asha-stopping", "eta=4 brackets=2 max-epochs=8"},
		{"asha-synetune-promotion", "eta=2 brackets=3"},
		{"asha-synetune-stopping", "eta=1000 min-epochs=9"},
		{"tpe", "startup=1 candidates=1"},
		{"tpe-hyperopt", "startup=2 candidates=100"},
		{"bohb", "eta=4 top-percent=50 samples=3 random-fraction=0.001 bandwidth-factor=0.1 min-bandwidth=0.5"},
		{"bohb:nearest", "samples=2 min-epochs=2 min-points=9 random-fraction=0.001"},
		{"dehb", "eta=2 min-epochs=3 mutation-factor=2 crossover-prob=0.9"},
		{"dehb:nearest", "eta=4 min-epochs=2 mutation-factor=0.1 crossover-prob=0.1"},
		{"median-stopping", "startup=1 warmup=3 interval=4 min-trials=3"},
		{"percentile-stopping", "percentile=90 startup=2"},
		{"lce-stopping", "threshold=0.5 certainty=0.005 interval=4"},
		{"portfolio", "size=2"},
		{"default-model", "by=source-accuracy tuner=asha"},
		{"default-model", "tuner=hyperband"},
		{"dyhpo", "initial-fits=1 restart-steps=1 refine-steps=1 exact-rows=1 max-rows=2"},
		{"gp-bo", "acquisition=ei initial=1 starts=1 iterations=1 fantasies=1 exact-rows=1"},
		{"smac", "trials=1 retrain-after=1 random=0.001"},
		{"smac-mf", "eta=2 min-trials=5 trials=1 retrain-after=1"},
		{"mobster", "eta=2 threshold=1 initial=1 iterations=1 starts=1 exact-rows=1 max-rows=2"},
		{"freeze-thaw", "old=1 new=1 initial=1 iterations=1 samples=1 fantasies=1 exact-rows=1"},
		{"fsbo", "copies=1 iterations=1 initial=1 context=1 steps=1"},
		{"meta-trees", "horizon=50 share=0.01 margin=2 patience=1"},
	} {
		t.Run(c.method+" "+c.settings, func(t *testing.T) {
			m, err := New(c.method, parseSettings(c.settings))
			if err != nil {
				t.Fatal(err)
			}
			o := contractOptions[m.Name]
			o.Tables, o.Seeds = tables, []uint64{3}
			searchtest.Run(t, learned(m), o)
		})
	}
}

// parseSettings reads "eta=2 brackets=3".
func parseSettings(text string) map[string]string {
	settings := map[string]string{}
	for _, pair := range strings.Fields(text) {
		name, value, _ := strings.Cut(pair, "=")
		settings[name] = value
	}
	return settings
}

func TestMethodsAreDescribed(t *testing.T) {
	want := map[string]string{
		"random":                  "whole curves, with replacement; a redrawn candidate is trained anew",
		"random-distinct":         "whole curves, without replacement",
		"successive-halving":      "eta=3, from epoch 1, as many candidates as leave one",
		"hyperband":               "eta=3, at least 1 epochs, brackets of Algorithm 1",
		"hyperband-hpbandster":    "eta=3, at least 1 epochs, HpBandSter's brackets",
		"hyperband-synetune":      "eta=3, at least 1 epochs, syne-tune's brackets",
		"asha":                    "eta=3, promotion, floor(n/eta), from epoch 1, brackets=1",
		"asha-stopping":           "eta=3, stopping, max(1, floor(n/eta)), from epoch 1, brackets=1",
		"asha-synetune-promotion": "eta=3, promotion, quantile, from epoch 1, brackets=1",
		"asha-synetune-stopping":  "eta=3, stopping, quantile, from epoch 1, brackets=1",
		"tpe":                     "startup=10, candidates=24, good: min(ceil(0.1 n), 25)",
		"tpe-hyperopt":            "startup=20, candidates=24, good: min(ceil(0.25 sqrt(n)), 25)",
		"bohb":                    "eta=3, at least 1 epochs, top 15%, 64 samples, 0.333 random, among unseen rows",
		"bohb:nearest":            "eta=3, at least 1 epochs, top 15%, 64 samples, 0.333 random, row nearest to a sample",
		"dehb":                    "eta=3, at least 1 epochs, F=0.5, crossover=0.5, rand1_bin, among rows not trained as far",
		"dehb:nearest":            "eta=3, at least 1 epochs, F=0.5, crossover=0.5, rand1_bin, any nearest row",
		"median-stopping":         "percentile=50, startup=5, warmup=0, interval=1, min-trials=1",
		"percentile-stopping":     "percentile=25, startup=5, warmup=0, interval=1, min-trials=1",
		"lce-stopping":            "threshold=0.05, conservative, every a tenth of the longest curve, 11 families, closed-form posterior",
		"portfolio":               "32 configurations chosen greedily, regrets by 300 trees, whole curves",
		"default-model":           "model by regret, tuned by hyperband",
		"meta-trees":              "300 trees, 8 epochs within 0.5 of the budget, margin=0.05, patience=6",
		"dyhpo":                   "10 fits of 1000 steps, then 50 steps, learning rate 0.001; beyond 40 epochs a fit a growth of 0.15, to at most 200",
		"gp-bo":                   "Matern-5/2 ARD, log EI, jitter=0.01, 3 random first, 20 fantasies, L-BFGS 2x50",
		"smac":                    "10 trees, log EI, 100 trials expected, retrain after 8, random=0.2",
		"smac-mf":                 "eta=3, at least 1 epochs, brackets of Algorithm 1; 10 trees, log EI, 100 trials expected, retrain after 8, random=0.2",
		"mobster":                 "eta=3, promotion, floor(n/eta), from epoch 1; Matern-5/2 ARD of configuration and epoch, EI at the largest rung of 3 scores, 3 random first, 20 fantasies; a fit a score up to 40, at most 300",
		"freeze-thaw":             "basket of 10 old and 3 new, 3 random first, entropy search of 5 fantasies and 200 samples; a fit a score up to 20, then a growth of 0.2",
		"fsbo":                    "deep kernel of the configuration, 3000 steps of meta-training on 16 scales of each data set, 3 first by 256 of their curves, then fits of 50 steps, learning rate 0.001",
	}
	methods := Methods()
	if len(methods) != len(want) {
		t.Errorf("%d methods; want %d", len(methods), len(want))
	}
	for _, m := range methods {
		if m.Details != want[m.Name] {
			t.Errorf("%s: details %q; want %q", m.Name, m.Details, want[m.Name])
		}
		if m.Title == "" || m.Source == "" {
			t.Errorf("%s: title %q, source %q", m.Name, m.Title, m.Source)
		}
		if m.Uses.Repeats != (m.Name == "random" || strings.HasSuffix(m.Name, ":nearest")) {
			t.Errorf("%s: Uses.Repeats is %v", m.Name, m.Uses.Repeats)
		}
	}
}

func TestNewChangesSettings(t *testing.T) {
	for _, c := range []struct{ method, settings, details string }{
		{"hyperband", "eta=4", "eta=4, at least 1 epochs, brackets of Algorithm 1"},
		{"hyperband-synetune", "min-epochs=2 eta=2", "eta=2, at least 2 epochs, syne-tune's brackets"},
		{"successive-halving", "candidates=16", "eta=3, from epoch 1, 16 candidates a bracket"},
		{"asha-stopping", "eta=4 max-epochs=9 min-epochs=3 brackets=2", "eta=4, stopping, max(1, floor(n/eta)), from epoch 3 to 9, brackets=2"},
	} {
		m, err := New(c.method, parseSettings(c.settings))
		if err != nil {
			t.Fatal(err)
		}
		if m.Details != c.details {
			t.Errorf("New(%s, %s).Details = %q; want %q", c.method, c.settings, m.Details, c.details)
		}
	}
	// The settings of one call must not reach the next one.
	m, err := New("hyperband", nil)
	if want := "eta=3, at least 1 epochs, brackets of Algorithm 1"; err != nil || m.Details != want {
		t.Errorf("New(hyperband, nil).Details = %q, %v; want %q", m.Details, err, want)
	}
}

func methodNames() []string {
	var names []string
	for _, m := range Methods() {
		names = append(names, m.Name)
	}
	return names
}

func TestNewExplainsWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ method, settings, want string }{
		{"hyperbandd", "", `no method is called "hyperbandd"; the methods are ` + strings.Join(methodNames(), ", ")},
		{"hyperband", "etaa=3", `method "hyperband" has no setting "etaa"; it has eta, min-epochs`},
		{"random", "eta=3", `method "random" has no setting "eta"; it has none`},
		{"hyperband", "eta=1", `method "hyperband": setting eta=1: want a whole number from 2 to 1000`},
		{"asha", "eta=2.5", `method "asha": setting eta=2.5: want a whole number from 2 to 1000`},
		{"asha", "brackets=", `method "asha": setting brackets=: want a whole number from 1 to 64`},
		{"successive-halving", "candidates=-1", `method "successive-halving": setting candidates=-1: want a whole number from 0 to 1048576`},
	} {
		_, err := New(c.method, parseSettings(c.settings))
		if err == nil || err.Error() != c.want {
			t.Errorf("New(%s, %s): %v; want %s", c.method, c.settings, err, c.want)
		}
	}
}

func TestSettingsAreListed(t *testing.T) {
	settings, err := Settings("asha")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range settings {
		lines = append(lines, strings.Join([]string{s.Name, s.Default, s.Range, s.About}, " | "))
	}
	want := `eta | 3 | whole number from 2 to 1000 | reduction factor
min-epochs | 1 | whole number from 1 to 1048576 | epochs at the first rung
max-epochs | 0 | whole number from 0 to 1073741824 | last epoch of a trial; 0: the longest curve's
brackets | 1 | whole number from 1 to 64 | different first rungs`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("settings of asha:\n%s\nwant:\n%s", got, want)
	}
	if _, err := Settings("nothing"); err == nil {
		t.Error("Settings of an unknown method: no error")
	}
}

func TestFactoriesRefuseSettingsThatDoNotFitTheProblem(t *testing.T) {
	five := problem(10, 5)
	for _, c := range []struct {
		name string
		make func() (search.Optimizer, error)
		want string
	}{
		{"hyperband", func() (search.Optimizer, error) { return NewHyperband(five, Hyperband{MinEpochs: 6}) },
			"min-epochs is 6, but the longest curve has 5 epochs; set it to at most that"},
		{"hyperband eta", func() (search.Optimizer, error) { return NewHyperband(five, Hyperband{Eta: 1}) },
			"eta is 1; want 2 to 1000"},
		{"hyperband variant", func() (search.Optimizer, error) { return NewHyperband(five, Hyperband{Variant: 3}) },
			"variant is 3; want 0 to 2"},
		{"halving", func() (search.Optimizer, error) {
			return NewSuccessiveHalving(five, SuccessiveHalving{Candidates: -1})
		}, "candidates is -1; want 0 to 1048576"},
		{"asha", func() (search.Optimizer, error) { return NewASHA(five, ASHA{MaxEpochs: 6}) },
			"max-epochs is 6; want 1 to 5"},
		{"asha min over max", func() (search.Optimizer, error) { return NewASHA(five, ASHA{MinEpochs: 4, MaxEpochs: 3}) },
			"min-epochs is 4, but the longest curve has 3 epochs; set it to at most that"},
		{"asha rule", func() (search.Optimizer, error) { return NewASHA(five, ASHA{Rule: 2}) },
			"rule is 2; want 0 to 1"},
		{"no epochs", func() (search.Optimizer, error) { return NewHyperband(problem(3, 0), Hyperband{}) },
			"the number of epochs of the longest curve is 0; want 1 to 1073741824"},
	} {
		o, err := c.make()
		if o != nil || err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, %v; want the error %q", c.name, o, err, c.want)
		}
	}
}

// problem has n candidates without a space.
func problem(n, maxEpochs int) search.Problem {
	return search.Problem{Candidates: make([]space.Config, n), MaxEpochs: maxEpochs, Workers: 1, Seed: 7}
}

// encodedProblem is problem with configurations of a space.
func encodedProblem(n, maxEpochs int) search.Problem {
	p := problem(n, maxEpochs)
	p.Space = searchtest.Tables()[0].Space
	p.Metric = search.Metric{Name: "val_accuracy", Bounded: true}
	p.Task = search.Task{Name: "encoded", TrainSamples: 5000, Classes: 10}
	rng := stream.New("baselines/test/configurations", 0)
	for i := range p.Candidates {
		p.Candidates[i] = p.Space.Sample(rng)
	}
	return p
}

// curves is a table of scores by candidate and epoch, for optimisers driven by
// hand.
type curves func(candidate, epoch int) float64

// reply trains what was proposed, ending at the last epoch of the problem.
func (c curves) reply(o search.Optimizer, p search.Proposal, from, maxEpochs int) {
	for e := from + 1; e <= p.Epoch; e++ {
		r := search.Report{Trial: p.Trial, Candidate: p.Candidate, Epoch: e, Score: c(p.Candidate, e), Seconds: 1, Proposed: e == p.Epoch}
		if e == maxEpochs {
			r.End = search.Completed
		}
		o.Tell(r)
	}
}

// run trains everything that o proposes, with one worker, until it is Done, and
// returns the proposals.
func (c curves) run(t *testing.T, o search.Optimizer, maxEpochs int) []search.Proposal {
	t.Helper()
	var all []search.Proposal
	reached := map[int]int{}
	for {
		p, status := o.Ask()
		if status == search.Done {
			return all
		}
		if status == search.Wait {
			t.Fatal("Wait with nothing outstanding")
		}
		all = append(all, p)
		c.reply(o, p, reached[p.Trial], maxEpochs)
		reached[p.Trial] = p.Epoch
	}
}

// ask wants the optimiser to have work.
func ask(t *testing.T, o search.Optimizer) search.Proposal {
	t.Helper()
	p, status := o.Ask()
	if status != search.Ready {
		t.Fatalf("status %d; want Ready", status)
	}
	return p
}

// told is the report of a proposal's last epoch.
func told(p search.Proposal, score float64) search.Report {
	return search.Report{Trial: p.Trial, Candidate: p.Candidate, Epoch: p.Epoch, Score: score, Proposed: true}
}

// failed is the report of a proposal that gave nothing.
func failed(p search.Proposal) search.Report {
	return search.Report{Trial: p.Trial, Candidate: p.Candidate, Score: math.NaN(), Proposed: true, End: search.Failed}
}
