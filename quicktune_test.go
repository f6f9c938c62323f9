package quicktune_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"quicktune"
	"quicktune/benchmark/crossval"
	"quicktune/benchmark/crossval/crossvaltest"
	"quicktune/benchmark/replay"
	"quicktune/internal/blas"
	"quicktune/internal/stream"
	"quicktune/metadataset"
	"quicktune/metadataset/synthetic"
	"quicktune/predictor"
	"quicktune/search"
	"quicktune/search/searchtest"
	"quicktune/space"
)

// shortFits makes fits so short that a whole suite of searches takes seconds.
// The schedule keeps all its parts: restarts, refinements, epochs without a fit
// and a window that moves.
func shortFits(o quicktune.Options) quicktune.Options {
	o.InitialFits, o.RestartSteps, o.RefineSteps = 3, 3, 1
	o.ExactRows, o.MaxRows = 8, 16
	return o
}

// syntheticStore holds five small data sets; three of them are tables too.
var syntheticStore = sync.OnceValues(func() (*metadataset.Store, []*replay.Table) {
	in := synthetic.Generate(synthetic.Options{Datasets: 5, Curves: 30, Epochs: 12, Seed: 1})
	dir, err := os.MkdirTemp("", "quicktune-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "store")
	if err := metadataset.Write(path, in); err != nil {
		panic(err)
	}
	s, err := metadataset.Open(path)
	if err != nil {
		panic(err)
	}
	var tables []*replay.Table
	for d := range 3 {
		t, err := replay.FromStore(s, d, nil)
		if err != nil {
			panic(err)
		}
		tables = append(tables, t)
	}
	return s, tables
})

// synthetics are the tables and a model meta-trained on the other data sets.
var synthetics = sync.OnceValues(func() ([]*replay.Table, *predictor.Model) {
	s, tables := syntheticStore()
	split := predictor.Split{Train: []string{s.Datasets[3].Name}, Validation: []string{s.Datasets[4].Name}}
	data, err := crossval.MetaData(s, split)
	if err != nil {
		panic(err)
	}
	data.MaxEpochs = 50 // the suite has longer curves than these
	o := predictor.ReferenceMetaTrain()
	o.Iterations, o.CostIterations = 300, 300
	m, err := predictor.Learn(context.Background(), data, predictor.LearnOptions{Training: &o})
	if err != nil {
		panic(err)
	}
	return tables, m
})

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// contractTables are the suite's own curves on configurations of Quick-Tune,
// and a synthetic data set.
func contractTables() []searchtest.Table {
	tables := searchtest.Tables()
	for i := range tables {
		t := &tables[i]
		rng := stream.New("test/quicktune/contract", uint64(i))
		t.Space = space.QuickTune()
		for c := range t.Candidates {
			t.Candidates[c] = t.Space.Sample(rng)
		}
	}
	replayed, _ := synthetics()
	r := replayed[0]
	t := searchtest.Table{Name: "synthetic", Space: r.Space, Candidates: r.Candidates, Task: r.Task, MaxEpochs: r.MaxEpochs, Metric: r.Metric}
	for c := range r.Candidates {
		t.Curves = append(t.Curves, searchtest.Curve{Scores: widen(r.Scores[c]), Seconds: widen(r.Seconds[c]), End: r.Ends[c]})
	}
	return append(tables, t)
}

// Both forms of Quick-Tune search on the released and on the shipped curves, by
// accuracies and losses, after learning from two other data sets.
func TestContractOnRealCurves(t *testing.T) {
	training := predictor.ReferenceMetaTrain()
	training.Iterations, training.CostIterations = 100, 100
	methods := []search.Method{quicktune.PlannerMethod(nil), quicktune.ReferenceMethod(shortFits(quicktune.Options{}), predictor.LearnOptions{Training: &training})}
	for _, c := range crossvaltest.Cases {
		t.Run(c.Name, func(t *testing.T) {
			on := c.Load(t)
			for _, m := range methods {
				t.Run(m.Name, func(t *testing.T) {
					var err error
					if m.New, err = m.Learn(context.Background(), on.Meta); err != nil {
						t.Fatal(err)
					}
					searchtest.Run(t, m, searchtest.Options{Tables: []searchtest.Table{on.Table}, Seeds: []uint64{1}, Proposals: 20})
				})
			}
		})
	}
}

// ablations lists ±M ±C ±G.
func ablations() []quicktune.Options {
	var out []quicktune.Options
	for i := range 8 {
		out = append(out, quicktune.Options{Scratch: i&1 != 0, IgnoreCost: i&2 != 0, WholeCurves: i&4 != 0})
	}
	return out
}

func TestContract(t *testing.T) {
	_, m := synthetics()
	tables := contractTables()
	for _, o := range ablations() {
		o.Model = m
		method := quicktune.ReferenceMethod(shortFits(o), predictor.LearnOptions{})
		t.Run(method.Name, func(t *testing.T) {
			options := searchtest.Options{Tables: tables, Seeds: []uint64{1}, Proposals: 15}
			searchtest.Run(t, method, options)
		})
	}
}

// Small tables are searched to the end, where Wait and Done matter.
func TestContractUntilDone(t *testing.T) {
	_, m := synthetics()
	var tables []searchtest.Table
	for _, table := range contractTables() {
		if len(table.Candidates) <= 12 {
			tables = append(tables, table)
		}
	}
	for _, o := range []quicktune.Options{{}, {WholeCurves: true}, {Freeze: true, Initial: []int{3, 0, 3, 99, -1}}} {
		o.Model = m
		method := quicktune.ReferenceMethod(shortFits(o), predictor.LearnOptions{})
		searchtest.Run(t, method, searchtest.Options{Tables: tables, Seeds: []uint64{1}, AnySeed: o.Initial != nil})
	}
}

func TestExpectedImprovement(t *testing.T) {
	for _, c := range []struct{ mean, std, target, want float64 }{
		// (mean-target) Φ(z) + std φ(z), from tables of the normal distribution.
		{0.6, 0.2, 0.5, 0.1*0.6914624612740131 + 0.2*0.3520653267642995},
		{0.5, 0.2, 0.6, -0.1*0.3085375387259869 + 0.2*0.3520653267642995},
		{0.5, 0.1, 0.5, 0.1 * 0.3989422804014327},
		{0.9, 0, 0.5, 0}, // as in the public implementation
		{0, 0.01, 1, 0},
		{1, 1e-9, 0, 1},
	} {
		if got := quicktune.ExpectedImprovement(c.mean, c.std, c.target); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("EI(%v, %v, %v) = %v, want %v", c.mean, c.std, c.target, got, c.want)
		}
	}
}

// published is Algorithm 1 a second time, from the paper's words and as plainly
// as possible: everything is computed anew from the whole history in each round.
type published struct {
	table   *replay.Table
	model   *predictor.Model
	options quicktune.Options
	surface *predictor.DeepKernel
	fits    int
	revived float64 // the best score at the last restart for want of a better one
}

func (p *published) row(meta float64, c, epoch int) predictor.Row {
	task := p.table.Task
	d := []float64{float64(task.TrainSamples), float64(task.Classes), float64(task.Pixels), float64(task.Channels)}
	x, err := p.model.Info.Encoder.Encode(nil, p.table.Candidates[c])
	if err != nil {
		panic(err)
	}
	return predictor.Row{Config: x, Meta: predictor.ScaleMeta(d, meta), Epoch: epoch, Curve: widen(p.table.Scores[c])[:epoch-1]}
}

// choose returns the candidate to train next, given the epochs of each that were
// trained so far, in order.
func (p *published) choose(t *testing.T, history []search.Proposal, ended map[int]bool) int {
	t.Helper()
	rows, targets := predictor.NewBatch(p.surface.Architecture()), []float64(nil)
	reached := make([]int, len(p.table.Candidates))
	best, bestAt := math.Inf(-1), map[int]float64{}
	stale := 0
	for _, h := range history {
		y := float64(p.table.Scores[h.Candidate][h.Epoch-1])
		if err := rows.Append(p.row(10000, h.Candidate, h.Epoch)); err != nil {
			t.Fatal(err)
		}
		targets = append(targets, y)
		reached[h.Candidate] = h.Epoch
		if stale++; y > best {
			best, stale = y, 0
		}
		if v, ok := bestAt[h.Epoch]; !ok || y > v {
			bestAt[h.Epoch] = y
		}
	}
	if len(history) > 1 {
		steps := p.options.RefineSteps
		stagnates := float64(stale) >= 1.2*float64(p.table.MaxEpochs) && p.revived != best
		if stagnates {
			p.revived = best
		}
		if p.fits < p.options.InitialFits || stagnates {
			p.surface, steps = p.model.Performance.Clone(), p.options.RestartSteps
		}
		p.fits++
		if _, err := p.surface.Fit(context.Background(), rows, targets, predictor.FitOptions{Steps: steps, LearningRate: 1e-4}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.surface.Condition(rows, targets); err != nil {
		t.Fatal(err)
	}
	choice, most := -1, 0.0
	for c := range p.table.Candidates {
		next := reached[c] + 1
		if ended[c] || next == p.table.MaxEpochs {
			continue
		}
		q := predictor.NewBatch(p.surface.Architecture())
		if err := q.Append(p.row(10000, c, next)); err != nil {
			t.Fatal(err)
		}
		var mean, std, seconds [1]float64
		if err := p.surface.Predict(mean[:], std[:], q, true); err != nil {
			t.Fatal(err)
		}
		if err := p.model.Cost.Predict(seconds[:], q); err != nil {
			t.Fatal(err)
		}
		target, known := bestAt[next]
		if !known {
			target = best
		}
		value := quicktune.ExpectedImprovement(mean[0], std[0], target) / max(seconds[0], 0.01)
		if choice < 0 || value > most*(1+1e-9) {
			choice, most = c, value
		}
	}
	return choice
}

func TestEveryChoiceIsThePublishedOne(t *testing.T) {
	tables, m := synthetics()
	for _, table := range tables[:2] {
		o := quicktune.Options{Model: m, InitialFits: 4, RestartSteps: 20, RefineSteps: 5}
		q, err := quicktune.New(search.Problem{
			Space: table.Space, Candidates: table.Candidates, Task: table.Task, MaxEpochs: table.MaxEpochs, Workers: 1, Metric: table.Metric, Seed: 5,
		}, o)
		if err != nil {
			t.Fatal(err)
		}
		oracle := published{table: table, model: m, options: o, surface: m.Performance.Clone()}
		var history []search.Proposal
		ended := map[int]bool{}
		tried := map[int]bool{}
		for round := range 40 {
			p, status := q.Ask()
			if status != search.Ready {
				t.Fatalf("%s, round %d: status %v", table.Task.Name, round, status)
			}
			if round > 0 {
				if want := oracle.choose(t, history, ended); p.Candidate != want {
					t.Fatalf("%s, round %d: candidate %d, the published algorithm chooses %d", table.Task.Name, round, p.Candidate, want)
				}
			}
			tried[p.Candidate] = true
			scores := table.Scores[p.Candidate]
			r := search.Report{Trial: p.Trial, Candidate: p.Candidate, Epoch: p.Epoch, Score: float64(scores[p.Epoch-1]), Seconds: float64(table.Seconds[p.Candidate][p.Epoch-1]), Proposed: true}
			if p.Epoch == len(scores) {
				r.End, ended[p.Candidate] = table.Ends[p.Candidate], true
			}
			q.Tell(r)
			history = append(history, p)
		}
		if len(tried) < 2 || len(tried) == 40 {
			t.Errorf("%s: %d candidates in 40 epochs: the test shows too little", table.Task.Name, len(tried))
		}
	}
}

// The bound on long histories changes when fits happen and nothing else: with
// frozen weights and no steps worth mentioning, conditioning row by row gives the
// choices that conditioning on everything gives.
func TestConditioningBetweenFitsIsExact(t *testing.T) {
	tables, m := synthetics()
	base := quicktune.Options{Model: m, Freeze: true, InitialFits: 1, RestartSteps: 1, RefineSteps: 1, LearningRate: 1e-300}
	every, seldom := base, base
	every.ExactRows, every.MaxRows = math.MaxInt, math.MaxInt
	seldom.ExactRows, seldom.MaxRows, seldom.RefitGrowth = 2, math.MaxInt, 1000
	run := func(o quicktune.Options) *replay.Trace {
		tr, err := replay.Run(context.Background(), search.Method{Name: "q", Uses: search.Uses{Fidelity: true, Cost: true}, New: func(p search.Problem) (search.Optimizer, error) {
			return quicktune.New(p, o)
		}}, tables[0], replay.Options{Budget: 40000, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	a, b := run(every), run(seldom)
	if a.Epochs < 30 {
		t.Fatalf("%d epochs show too little", a.Epochs)
	}
	if a.Epochs != b.Epochs || !slices.Equal(a.Points, b.Points) || !slices.Equal(a.Spent, b.Spent) {
		t.Errorf("%d epochs with every fit, %d with few, or other choices", a.Epochs, b.Epochs)
	}
}

// Meta-training, fits and choices give the same trace, to the last bit, whatever
// instructions the processor has. gonum's own routines round differently and are
// no path of a release.
func TestTracesDoNotDependOnTheKernels(t *testing.T) {
	before := blas.Active()
	defer func() {
		if err := blas.Select(before); err != nil {
			t.Fatal(err)
		}
	}()
	s, tables := syntheticStore()
	data, err := crossval.MetaData(s, predictor.Split{Train: []string{s.Datasets[3].Name}, Validation: []string{s.Datasets[4].Name}})
	if err != nil {
		t.Fatal(err)
	}
	training := predictor.ReferenceMetaTrain()
	training.Iterations, training.CostIterations, training.ValidateEvery, training.ValidationRounds = 60, 60, 20, 3
	var want string
	for _, p := range blas.Available() {
		if p == blas.Gonum {
			continue
		}
		if err := blas.Select(p); err != nil {
			t.Fatal(err)
		}
		m := quicktune.ReferenceMethod(quicktune.Options{InitialFits: 4, RestartSteps: 20, RefineSteps: 5, ExactRows: 25}, predictor.LearnOptions{Training: &training})
		factory, err := m.Learn(context.Background(), data)
		if err != nil {
			t.Fatal(err)
		}
		m.New = factory
		var traces []*replay.Trace
		for _, table := range tables[:2] {
			tr, err := replay.Run(context.Background(), m, table, replay.Options{Budget: 30000, Seed: 3})
			if err != nil {
				t.Fatal(err)
			}
			if tr.Epochs < 30 {
				t.Fatalf("%d epochs show too little", tr.Epochs)
			}
			traces = append(traces, tr)
		}
		got := replay.Hash(traces)
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("path %v gives another trace than %v", p, blas.Available()[1])
		}
	}
}

func TestInitialDesignComesFirst(t *testing.T) {
	tables, m := synthetics()
	table := tables[0]
	q, err := quicktune.New(search.Problem{Space: table.Space, Candidates: table.Candidates, Task: table.Task, Metric: table.Metric, MaxEpochs: table.MaxEpochs, Workers: 1}, shortFits(quicktune.Options{Model: m, Initial: []int{7, 2, 7, 100, 4}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{7, 2, 4} {
		p, status := q.Ask()
		if status != search.Ready || p.Candidate != want || p.Epoch != 1 {
			t.Fatalf("got %+v (status %v), want epoch 1 of candidate %d", p, status, want)
		}
		q.Tell(search.Report{Trial: p.Trial, Candidate: p.Candidate, Epoch: 1, Score: 0.5, Seconds: 1, Proposed: true})
	}
}

func TestHub(t *testing.T) {
	tables, m := synthetics()
	table := tables[0]
	model := space.QuickTune().Index("model")
	used := func(o quicktune.Options) map[string]bool {
		t.Helper()
		o.Model = m
		q, err := quicktune.New(search.Problem{Space: table.Space, Candidates: table.Candidates, Task: table.Task, Metric: table.Metric, MaxEpochs: table.MaxEpochs, Workers: 1, Seed: 3}, shortFits(o))
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for range 60 {
			p, status := q.Ask()
			if status != search.Ready {
				break
			}
			names[table.Candidates[p.Candidate][model].Text()] = true
			r := search.Report{Trial: p.Trial, Candidate: p.Candidate, Epoch: p.Epoch, Score: 0.1, Seconds: 1, Proposed: true}
			if p.Epoch == 1 {
				r.End = search.Completed // so that all of the hub is tried
			}
			q.Tell(r)
		}
		return names
	}
	all := used(quicktune.Options{})
	if len(all) < 5 {
		t.Fatalf("only %d models in the pool", len(all))
	}
	for _, n := range []int{1, 3, len(all), 24} {
		if got := used(quicktune.Options{HubSize: n}); len(got) != min(n, len(all)) {
			t.Errorf("a hub of %d: %d models were used", n, len(got))
		}
	}
	for name := range all {
		if got := used(quicktune.Options{Models: []string{name}}); len(got) != 1 || !got[name] {
			t.Errorf("only %s was allowed, used were %v", name, got)
		}
	}
}

func TestProblemsThatCannotBeSearched(t *testing.T) {
	tables, m := synthetics()
	p := search.Problem{Space: tables[0].Space, Metric: tables[0].Metric, Candidates: tables[0].Candidates, Task: tables[0].Task, MaxEpochs: 12, Workers: 1}
	long := p
	long.MaxEpochs = 51
	foreign := p
	foreign.Candidates = searchtest.Tables()[0].Candidates
	for _, c := range []struct {
		problem search.Problem
		options quicktune.Options
		want    string
	}{
		{long, quicktune.Options{Model: m}, "curves of up to 51 epochs, but the predictor knows 50"},
		{foreign, quicktune.Options{Model: m}, "candidate 0: "},
		{foreign, quicktune.Options{}, "configuration 0: "},
		{p, quicktune.Options{Model: m, Models: []string{"resnet50"}}, `no candidate has one of the models ["resnet50"]`},
		{p, quicktune.Options{Model: m, HubSize: -1}, "a hub of -1 models"},
		{p, quicktune.Options{Model: m, LearningRate: math.NaN()}, "learning rate NaN"},
		{p, quicktune.Options{Model: m, RefineSteps: -1}, "none may be negative"},
		{p, quicktune.Options{Model: m, MaxRows: 1}, "at most 1 rows"},
	} {
		_, err := quicktune.New(c.problem, c.options)
		if err == nil || !strings.HasPrefix(err.Error(), "quicktune: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

func TestMethodNames(t *testing.T) {
	for _, c := range []struct {
		o             quicktune.Options
		name, details string
		uses          search.Uses
	}{
		{quicktune.Options{}, "quicktune-reference", "+M +C +G", search.Uses{Fidelity: true, Cost: true, MetaData: true}},
		{quicktune.Options{Scratch: true, IgnoreCost: true}, "quicktune-reference:-M-C", "-M -C +G", search.Uses{Fidelity: true}},
		{quicktune.Options{Scratch: true, WholeCurves: true, HubSize: 3}, "quicktune-reference:-M-G", "-M +C -G, hub=3", search.Uses{Cost: true, MetaData: true}},
	} {
		m := quicktune.ReferenceMethod(c.o, predictor.LearnOptions{})
		if m.Name != c.name || m.Details != c.details || m.Uses != c.uses {
			t.Errorf("%+v: %q, %q, %+v", c.o, m.Name, m.Details, m.Uses)
		}
		if learns := m.Learn != nil; learns == (m.New != nil) || learns != c.uses.MetaData {
			t.Errorf("%s learns: %v, searches at once: %v", m.Name, learns, m.New != nil)
		}
	}
}
