package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"quicktune/internal/stream"
	"quicktune/search"
	"quicktune/space"
)

// goldenProblemSeed is the head of SHA-256("replay" + uint64(1) + "A"), from
// Python: int.from_bytes(hashlib.sha256(b"replay" + (1).to_bytes(8, "little") +
// b"A").digest()[:8], "little").
const goldenProblemSeed = 5470291760459814849

// script is an optimiser whose moves are fixed and that keeps what it is told.
type script struct {
	moves   []func() (search.Proposal, search.Status)
	reports []search.Report
}

func (s *script) Ask() (search.Proposal, search.Status) {
	if len(s.moves) == 0 {
		return search.Proposal{}, search.Done
	}
	move := s.moves[0]
	s.moves = s.moves[1:]
	return move()
}

func (s *script) Tell(r search.Report) { s.reports = append(s.reports, r) }

func train(trial, candidate, epoch int) func() (search.Proposal, search.Status) {
	return func() (search.Proposal, search.Status) {
		return search.Proposal{Trial: trial, Candidate: candidate, Epoch: epoch}, search.Ready
	}
}

func wait() (search.Proposal, search.Status) { return search.Proposal{}, search.Wait }

func (s *script) method() search.Method {
	return search.Method{Name: "script", New: func(search.Problem) (search.Optimizer, error) { return s, nil }}
}

// wholeCurves trains every candidate to its end, in a random order.
type wholeCurves struct {
	search.Problem
	order []int
	next  int
}

func newWholeCurves(p search.Problem) (search.Optimizer, error) {
	return &wholeCurves{Problem: p, order: stream.New("test/whole", p.Seed).Perm(len(p.Candidates))}, nil
}

func (w *wholeCurves) Ask() (search.Proposal, search.Status) {
	if w.next == len(w.order) {
		return search.Proposal{}, search.Done
	}
	w.next++
	return search.Proposal{Trial: w.next - 1, Candidate: w.order[w.next-1], Epoch: w.MaxEpochs}, search.Ready
}

func (*wholeCurves) Tell(search.Report) {}

var wholeCurvesMethod = search.Method{Name: "whole", Title: "Whole curves", New: newWholeCurves}

// restless continues, restarts and starts trials at random, and checks the
// promises that replay makes to an optimiser.
type restless struct {
	search.Problem
	t           *testing.T
	rng         *rand.Rand
	trials      []restlessTrial
	outstanding int
	clock       float64
	reports     []search.Report
	limit       int // proposals
}

type restlessTrial struct {
	candidate, epoch int
	busy, ended      bool
}

func (r *restless) Ask() (search.Proposal, search.Status) {
	if r.limit == 0 {
		return search.Proposal{}, search.Done
	}
	if r.outstanding > 0 && r.rng.IntN(8) == 0 {
		return search.Proposal{}, search.Wait
	}
	r.limit--
	r.outstanding++
	trial := -1
	if len(r.trials) > 0 && r.rng.IntN(2) == 0 {
		if i := r.rng.IntN(len(r.trials)); !r.trials[i].busy && !r.trials[i].ended {
			trial = i
		}
	}
	if trial < 0 {
		trial = len(r.trials)
		r.trials = append(r.trials, restlessTrial{candidate: r.rng.IntN(len(r.Candidates))})
	}
	tr := &r.trials[trial]
	tr.busy = true
	return search.Proposal{
		Trial: trial, Candidate: tr.candidate, Epoch: tr.epoch + 1 + r.rng.IntN(r.MaxEpochs-tr.epoch),
	}, search.Ready
}

func (r *restless) Tell(rep search.Report) {
	tr := &r.trials[rep.Trial]
	if !tr.busy || tr.ended || tr.candidate != rep.Candidate {
		r.t.Fatalf("report %+v of trial %+v", rep, *tr)
	}
	if rep.Clock < r.clock {
		r.t.Fatalf("clock went back from %v to %v", r.clock, rep.Clock)
	}
	r.clock = rep.Clock
	if rep.Epoch > 0 && rep.Epoch != tr.epoch+1 {
		r.t.Fatalf("epoch %d after epoch %d", rep.Epoch, tr.epoch)
	}
	tr.epoch = rep.Epoch
	tr.ended = rep.End != search.NotEnded
	if rep.Proposed {
		tr.busy = false
		r.outstanding--
	} else if tr.ended {
		r.t.Fatalf("trial ended but its proposal did not: %+v", rep)
	}
	r.reports = append(r.reports, rep)
}

// tinyTable has three candidates: a full curve, a short one that diverges, and
// one without epochs.
func tinyTable(t testing.TB) *Table {
	t.Helper()
	table, err := NewTable(Table{
		Task:       search.Task{Name: "TINY"},
		Candidates: make([]space.Config, 3),
		IDs:        []string{"a", "b", "c"},
		Scores:     [][]float32{{0.25, 0.5, 0.375, 0.75}, {0.625, float32(math.NaN())}, {}},
		Seconds:    [][]float32{{10, 20, 30, 40}, {5, 7}, {}},
		Ends:       []search.End{search.Completed, search.Failed, search.Completed},
		MaxEpochs:  4,
		Metric:     search.Metric{Name: "val_accuracy", Bounded: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// randomTable draws curves of random lengths, costs and scores.
func randomTable(rng *rand.Rand, name string, n, maxEpochs int) *Table {
	in := Table{
		Task:       search.Task{Name: name},
		Candidates: make([]space.Config, n),
		MaxEpochs:  maxEpochs,
		Metric:     search.Metric{Name: "val_accuracy", Bounded: true},
	}
	for c := range n {
		length := 1 + rng.IntN(maxEpochs)
		if rng.IntN(10) == 0 && c > 0 {
			length = 0
		}
		scores, seconds := make([]float32, length), make([]float32, length)
		for e := range length {
			scores[e], seconds[e] = rng.Float32(), 1+99*rng.Float32()
			if rng.IntN(20) == 0 && e+c > 0 {
				scores[e] = float32(math.NaN())
			}
		}
		in.IDs = append(in.IDs, fmt.Sprintf("c%03d", c))
		in.Scores = append(in.Scores, scores)
		in.Seconds = append(in.Seconds, seconds)
		in.Ends = append(in.Ends, search.Completed+search.End(rng.IntN(2)))
	}
	t, err := NewTable(in)
	if err != nil {
		panic(err)
	}
	return t
}

func mustRun(t testing.TB, m search.Method, table *Table, o Options) *Trace {
	t.Helper()
	trace, err := Run(context.Background(), m, table, o)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

func TestRunReportsEachEpochWithItsOwnCost(t *testing.T) {
	// Trial 0 trains candidate 0 to epoch 2, trial 1 candidate 1 to its early
	// end, trial 0 goes on, trial 2 has no epoch, trial 3 repeats candidate 0
	// from scratch and is cut at the budget of 160 s:
	//   10, 30 | 35, 42 | 72, 112 | free | 122, 142, (172)
	s := &script{moves: []func() (search.Proposal, search.Status){
		train(0, 0, 2), train(1, 1, 4), train(0, 0, 4), train(2, 2, 4), train(3, 0, 4),
	}}
	trace := mustRun(t, s.method(), tinyTable(t), Options{Budget: 160})
	nan := math.NaN()
	want := []search.Report{
		{Trial: 0, Candidate: 0, Epoch: 1, Score: 0.25, Seconds: 10, Clock: 10},
		{Trial: 0, Candidate: 0, Epoch: 2, Score: 0.5, Seconds: 20, Clock: 30, Proposed: true},
		{Trial: 1, Candidate: 1, Epoch: 1, Score: 0.625, Seconds: 5, Clock: 35},
		{Trial: 1, Candidate: 1, Epoch: 2, Score: nan, Seconds: 7, Clock: 42, End: search.Failed, Proposed: true},
		{Trial: 0, Candidate: 0, Epoch: 3, Score: 0.375, Seconds: 30, Clock: 72},
		{Trial: 0, Candidate: 0, Epoch: 4, Score: 0.75, Seconds: 40, Clock: 112, End: search.Completed, Proposed: true},
		{Trial: 2, Candidate: 2, Epoch: 0, Score: nan, Clock: 112, End: search.Failed, Proposed: true},
		{Trial: 3, Candidate: 0, Epoch: 1, Score: 0.25, Seconds: 10, Clock: 122},
		{Trial: 3, Candidate: 0, Epoch: 2, Score: 0.5, Seconds: 20, Clock: 142},
	}
	equateNaN := cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })
	if diff := cmp.Diff(want, s.reports, equateNaN); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	trace.Measured = Measured{}
	wantTrace := &Trace{
		Key:   Key{Dataset: "TINY", Method: "script", Budget: 160, Workers: 1, Clock: Training},
		Scale: Scale{Best: 0.75, Worst: 0.25, Start: 0},
		Points: []Point{
			{Seconds: 10, Epochs: 1, Candidate: 0, ID: "a", Epoch: 1, Score: 0.25},
			{Seconds: 30, Epochs: 2, Candidate: 0, ID: "a", Epoch: 2, Score: 0.5},
			{Seconds: 35, Epochs: 3, Candidate: 1, ID: "b", Epoch: 1, Score: 0.625},
			{Seconds: 112, Epochs: 6, Candidate: 0, ID: "a", Epoch: 4, Score: 0.75},
		},
		Totals: Totals{Epochs: 8, Trials: 4, Decisions: 5, TrainSeconds: 142, CutSeconds: 18, End: 160},
		Spent:  []Spent{{Candidate: 0, Epochs: 6}, {Candidate: 1, Epochs: 2}},
	}
	if diff := cmp.Diff(wantTrace, trace); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
	// (0.75 - incumbent)/0.5, with incumbent 0 before the first epoch ends.
	for _, step := range []struct{ at, want float64 }{
		{0, 1.5}, {9.999, 1.5}, {10, 1}, {29, 1}, {30, 0.5}, {35, 0.25}, {111, 0.25}, {112, 0}, {1e9, 0},
	} {
		if got := trace.RegretAt(step.at); got != step.want {
			t.Errorf("RegretAt(%v) = %v, want %v", step.at, got, step.want)
		}
	}
}

// ready is an optimiser that looked at the data set first.
type ready struct {
	search.Optimizer
	seconds float64
}

func (r ready) Preparation() float64 { return r.seconds }

func TestPreparationIsPartOfTheSearch(t *testing.T) {
	for _, c := range []struct {
		seconds, budget float64
		reports         int
		want            Totals
	}{
		{0, 30, 2, Totals{Epochs: 2, Trials: 1, Decisions: 1, TrainSeconds: 30, End: 30}},
		{7, 36, 1, Totals{Epochs: 1, Trials: 1, Decisions: 1, TrainSeconds: 10, CutSeconds: 19, IdleSeconds: 7, End: 36}},
		{40, 36, 0, Totals{IdleSeconds: 36, End: 36}},
	} {
		s := &script{moves: []func() (search.Proposal, search.Status){train(0, 0, 2)}}
		m := search.Method{Name: "ready", New: func(search.Problem) (search.Optimizer, error) { return ready{s, c.seconds}, nil }}
		trace := mustRun(t, m, tinyTable(t), Options{Budget: c.budget})
		if diff := cmp.Diff(c.want, trace.Totals); diff != "" {
			t.Errorf("%v s of %v (-want +got):\n%s", c.seconds, c.budget, diff)
		}
		if len(s.reports) != c.reports || len(s.reports) > 0 && s.reports[0].Clock != c.seconds+10 {
			t.Errorf("%v s of %v: reports %+v", c.seconds, c.budget, s.reports)
		}
	}
	bad := search.Method{Name: "ready", New: func(search.Problem) (search.Optimizer, error) { return ready{&script{}, math.NaN()}, nil }}
	if _, err := Run(context.Background(), bad, tinyTable(t), Options{Budget: 1}); err == nil || !strings.Contains(err.Error(), "preparation of NaN") {
		t.Errorf("a preparation of NaN seconds: %v", err)
	}
}

func TestEpochThatFinishesAtTheBudgetCounts(t *testing.T) {
	for _, c := range []struct {
		budget float64
		epochs int
		cut    float64
	}{{30, 2, 0}, {math.Nextafter(30, 0), 1, math.Nextafter(30, 0) - 10}} {
		s := &script{moves: []func() (search.Proposal, search.Status){train(0, 0, 4)}}
		trace := mustRun(t, s.method(), tinyTable(t), Options{Budget: c.budget})
		if trace.Epochs != c.epochs || trace.CutSeconds != c.cut || trace.End != c.budget {
			t.Errorf("budget %v: %+v, want %d epochs and %v s cut", c.budget, trace.Totals, c.epochs, c.cut)
		}
	}
}

func TestWorkersShareTheOptimiserInOrderOfTime(t *testing.T) {
	// Workers 0 and 1 get candidates 0 (10 + 20 s) and 1 (5 + 7 s), worker 2
	// waits until the first proposal ends at 12 s. Then workers 1 and 2 are
	// free: worker 1 takes candidate 0 anew, worker 2 finds nothing to do.
	s := &script{moves: []func() (search.Proposal, search.Status){
		train(0, 0, 2), train(1, 1, 4), wait, train(2, 0, 1), wait,
	}}
	trace := mustRun(t, s.method(), tinyTable(t), Options{Budget: 100, Workers: 3})
	var got []string
	for _, r := range s.reports {
		got = append(got, fmt.Sprintf("%v:%d/%d", r.Clock, r.Trial, r.Epoch))
	}
	want := []string{"5:1/1", "10:0/1", "12:1/2", "22:2/1", "30:0/2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	// Worker 2 idles 30 s in all, worker 1 from 22 to 30. After the five moves
	// one more Ask, at 22 s, is answered Done; nobody asks again.
	if trace.IdleSeconds != 38 || trace.End != 30 || trace.Decisions != 6 {
		t.Errorf("totals %+v, want 38 s idle, end at 30 s, 6 decisions", trace.Totals)
	}
}

func TestEpochsOfOneInstantAreReportedBeforeAnyoneAsks(t *testing.T) {
	table, err := NewTable(Table{
		Task: search.Task{Name: "UNITS"}, Candidates: make([]space.Config, 2), IDs: []string{"a", "b"},
		Scores: [][]float32{{-3, -2}, {-4, -1}}, Seconds: [][]float32{{1, 1}, {1, 1}},
		Ends: []search.End{search.Completed, search.Completed}, MaxEpochs: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &script{}
	var told []int
	ask := func(trial, epoch int) func() (search.Proposal, search.Status) {
		return func() (search.Proposal, search.Status) {
			told = append(told, len(s.reports))
			return search.Proposal{Trial: trial, Candidate: trial, Epoch: epoch}, search.Ready
		}
	}
	s.moves = []func() (search.Proposal, search.Status){ask(0, 1), ask(1, 1), ask(1, 2), ask(0, 2)}
	trace := mustRun(t, s.method(), table, Options{Budget: 10, Workers: 2})
	if want := []int{0, 0, 2, 2}; !slices.Equal(told, want) {
		t.Errorf("reports known at each Ask %v, want %v", told, want)
	}
	// An unbounded metric starts at the worst score, so at regret 1.
	if trace.RegretAt(0) != 1 || trace.RegretAt(1) != 2.0/3 || trace.RegretAt(2) != 0 {
		t.Errorf("regrets %v %v %v, want 1, 2/3, 0", trace.RegretAt(0), trace.RegretAt(1), trace.RegretAt(2))
	}
}

func TestDecisionClockChargesTheAskingWorker(t *testing.T) {
	// Every look at the real clock finds it 250 ms on, so each Ask and each
	// Tell takes 0.25 s.
	now := func() func() time.Duration {
		var d time.Duration
		return func() time.Duration { d += 250 * time.Millisecond; return d }
	}
	clocks := func(workers int, clock Clock) (*Trace, []float64) {
		s := &script{moves: []func() (search.Proposal, search.Status){train(0, 0, 2), train(1, 1, 4)}}
		trace, err := run(context.Background(), s.method(), tinyTable(t),
			Options{Budget: 100, Workers: workers, Clock: clock}, now())
		if err != nil {
			t.Fatal(err)
		}
		var at []float64
		for _, r := range s.reports {
			at = append(at, r.Clock)
		}
		return trace, at
	}
	// One worker: ask .25, +10 tell .25, +20 tell .25, ask .25, +5 ...
	trace, at := clocks(1, Decision)
	if want := []float64{10.25, 30.5, 36, 43.25}; !slices.Equal(at, want) {
		t.Errorf("one worker: reports at %v, want %v", at, want)
	}
	// 3 Asks and 4 Tells.
	if trace.Measured.DecisionSeconds != 1.75 || trace.End != 43.5 {
		t.Errorf("%v s of decisions, end %v, want 1.75 and 43.5", trace.Measured.DecisionSeconds, trace.End)
	}
	// Two workers: the second Ask waits for the first, so that candidate 1
	// starts at .5: 5.5, tell until 5.75, 12.75; candidate 0: 10.25, 30.5.
	if _, at = clocks(2, Decision); !slices.Equal(at, []float64{5.5, 10.25, 12.75, 30.5}) {
		t.Errorf("two workers: reports at %v", at)
	}
	trace, at = clocks(1, Training)
	if want := []float64{10, 30, 35, 42}; !slices.Equal(at, want) || trace.Measured.DecisionSeconds != 1.75 {
		t.Errorf("training clock: reports at %v, %v s of decisions", at, trace.Measured.DecisionSeconds)
	}
}

func TestMisbehavingOptimisersAreErrors(t *testing.T) {
	panics := func() (search.Proposal, search.Status) { panic("index out of range") }
	odd := func() (search.Proposal, search.Status) { return search.Proposal{}, 7 }
	for _, c := range []struct {
		name    string
		moves   []func() (search.Proposal, search.Status)
		workers int
		want    string
	}{
		{"candidate below", []func() (search.Proposal, search.Status){train(0, -1, 1)}, 1,
			"decision 1, proposal of trial 0, candidate -1, epoch 1: there are candidates 0 to 2"},
		{"candidate above", []func() (search.Proposal, search.Status){train(0, 3, 1)}, 1,
			"decision 1, proposal of trial 0, candidate 3, epoch 1: there are candidates 0 to 2"},
		{"epoch zero", []func() (search.Proposal, search.Status){train(0, 0, 0)}, 1,
			"decision 1, proposal of trial 0, candidate 0, epoch 0: there are epochs 1 to 4"},
		{"epoch above", []func() (search.Proposal, search.Status){train(0, 1, 5)}, 1,
			"decision 1, proposal of trial 0, candidate 1, epoch 5: there are epochs 1 to 4"},
		{"epoch not increasing", []func() (search.Proposal, search.Status){train(0, 0, 2), train(0, 0, 2)}, 1,
			"decision 2, proposal of trial 0, candidate 0, epoch 2: the trial has reached epoch 2 already"},
		{"trial skipped", []func() (search.Proposal, search.Status){train(0, 0, 2), train(2, 1, 2)}, 1,
			"decision 2, proposal of trial 2, candidate 1, epoch 2: the next new trial is number 1"},
		{"negative trial", []func() (search.Proposal, search.Status){train(-1, 0, 2)}, 1,
			"decision 1, proposal of trial -1, candidate 0, epoch 2: the next new trial is number 0"},
		{"trial changes candidate", []func() (search.Proposal, search.Status){train(0, 0, 2), train(0, 1, 3)}, 1,
			"decision 2, proposal of trial 0, candidate 1, epoch 3: the trial trains candidate 0"},
		{"finished", []func() (search.Proposal, search.Status){train(0, 0, 4), train(0, 0, 4)}, 1,
			"decision 2, proposal of trial 0, candidate 0, epoch 4: the trial has ended"},
		{"failed", []func() (search.Proposal, search.Status){train(0, 1, 3), train(0, 1, 4)}, 1,
			"decision 2, proposal of trial 0, candidate 1, epoch 4: the trial has ended"},
		{"no epochs", []func() (search.Proposal, search.Status){train(0, 2, 3), train(0, 2, 4)}, 1,
			"decision 2, proposal of trial 0, candidate 2, epoch 4: the trial has ended"},
		{"outstanding", []func() (search.Proposal, search.Status){train(0, 0, 2), train(0, 0, 3)}, 2,
			"decision 2, proposal of trial 0, candidate 0, epoch 3: the trial is outstanding"},
		{"waits alone", []func() (search.Proposal, search.Status){train(0, 0, 1), wait}, 1,
			"decision 2: it waits though nothing is outstanding"},
		{"odd status", []func() (search.Proposal, search.Status){odd}, 1, "decision 1: unknown status 7"},
		{"panic", []func() (search.Proposal, search.Status){panics}, 1,
			"the method panicked: index out of range; this is a defect of the method"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{moves: c.moves}
			_, err := Run(context.Background(), s.method(), tinyTable(t), Options{Budget: 1000, Workers: c.workers, Seed: 5})
			want := `method "script" on data set "TINY", seed 5: ` + c.want
			if err == nil || err.Error() != want {
				t.Errorf("error %v\nwant  %s", err, want)
			}
		})
	}
}

func TestMethodThatOnlyProposesEmptyCurvesIsStopped(t *testing.T) {
	trial := 0
	s := &script{}
	var again func() (search.Proposal, search.Status)
	again = func() (search.Proposal, search.Status) {
		s.moves = append(s.moves, again)
		trial++
		return search.Proposal{Trial: trial - 1, Candidate: 2, Epoch: 1}, search.Ready
	}
	s.moves = append(s.moves, again)
	_, err := Run(context.Background(), s.method(), tinyTable(t), Options{Budget: 10})
	if err == nil || !strings.Contains(err.Error(), "1301 proposals in a row of curves without epochs") {
		t.Errorf("error %v", err)
	}
}

func TestRunRefusesBadOptions(t *testing.T) {
	factory := errors.New("it needs meta-features")
	broken := search.Method{Name: "broken", New: func(search.Problem) (search.Optimizer, error) { return nil, factory }}
	tiny := tinyTable(t)
	for _, c := range []struct {
		m     search.Method
		table *Table
		o     Options
		want  string
	}{
		{wholeCurvesMethod, tiny, Options{}, "budget of 0 seconds"},
		{wholeCurvesMethod, tiny, Options{Budget: math.NaN()}, "budget of NaN seconds"},
		{wholeCurvesMethod, tiny, Options{Budget: 1, Workers: -1}, "-1 workers"},
		{wholeCurvesMethod, tiny, Options{Budget: 1, Clock: "wall"}, `unknown clock "wall"`},
		{wholeCurvesMethod, &Table{}, Options{Budget: 1}, "not made by NewTable"},
		{broken, tiny, Options{Budget: 1}, `method "broken" on data set "TINY", seed 0: it needs meta-features`},
	} {
		_, err := Run(context.Background(), c.m, c.table, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.o, err, c.want)
		}
	}
}

func TestOnlyMethodsThatUseTheBudgetAreToldIt(t *testing.T) {
	for _, uses := range []bool{false, true} {
		var got float64
		m := search.Method{Name: "m", Uses: search.Uses{Budget: uses}, New: func(p search.Problem) (search.Optimizer, error) {
			got = p.Budget
			return newWholeCurves(p)
		}}
		mustRun(t, m, tinyTable(t), Options{Budget: 50})
		if want := map[bool]float64{false: 0, true: 50}[uses]; got != want {
			t.Errorf("Uses.Budget %v: told %v, want %v", uses, got, want)
		}
	}
}

func TestSeedsDifferBetweenDataSets(t *testing.T) {
	if problemSeed(1, "A") == problemSeed(1, "B") || problemSeed(1, "A") == problemSeed(2, "A") {
		t.Error("seeds of different runs are equal")
	}
	if got := problemSeed(1, "A"); got != goldenProblemSeed {
		t.Errorf("problemSeed(1, A) = %d, want %d", got, uint64(goldenProblemSeed))
	}
}

func TestPropertiesOfRuns(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "table"), 0))
		table := randomTable(rng, "RANDOM", rapid.IntRange(1, 12).Draw(rt, "candidates"), rapid.IntRange(1, 9).Draw(rt, "epochs"))
		workers := rapid.IntRange(1, 5).Draw(rt, "workers")
		budget := rapid.Float64Range(1, 3000).Draw(rt, "budget")
		proposals := rapid.IntRange(0, 60).Draw(rt, "proposals")
		seed := rapid.Uint64().Draw(rt, "seed")
		var opt *restless
		m := search.Method{Name: "restless", New: func(p search.Problem) (search.Optimizer, error) {
			opt = &restless{Problem: p, t: t, rng: rand.New(rand.NewPCG(p.Seed, 1)), limit: proposals}
			return opt, nil
		}}
		trace := mustRun(t, m, table, Options{Budget: budget, Workers: workers, Seed: seed})
		first := opt.reports

		// A resumed trial pays for new epochs only, a new trial for all: what
		// is charged is the sum over distinct (trial, epoch).
		type epoch struct{ trial, epoch int }
		charged := map[epoch]float64{}
		var sum float64
		spent := map[int32]int32{}
		for _, r := range first {
			if r.Epoch == 0 {
				continue
			}
			want := float64(table.Seconds[r.Candidate][r.Epoch-1])
			if r.Seconds != want {
				rt.Fatalf("report %+v cost %v, stored %v", r, r.Seconds, want)
			}
			if _, twice := charged[epoch{r.Trial, r.Epoch}]; twice {
				rt.Fatalf("epoch %d of trial %d was charged twice", r.Epoch, r.Trial)
			}
			charged[epoch{r.Trial, r.Epoch}] = want
			sum += want
			spent[int32(r.Candidate)]++
			if r.Clock > budget {
				rt.Fatalf("report %+v after the budget %v", r, budget)
			}
		}
		if math.Abs(trace.TrainSeconds-sum) > 1e-9*(1+sum) || trace.Epochs != len(charged) {
			rt.Fatalf("charged %v s for %d epochs, want %v s for %d", trace.TrainSeconds, trace.Epochs, sum, len(charged))
		}
		for _, s := range trace.Spent {
			if spent[s.Candidate] != s.Epochs {
				rt.Fatalf("candidate %d got %d epochs, want %d", s.Candidate, s.Epochs, spent[s.Candidate])
			}
			delete(spent, s.Candidate)
		}
		if len(spent) > 0 {
			rt.Fatalf("missing from Spent: %v", spent)
		}

		// Time is conserved.
		got := trace.TrainSeconds + trace.CutSeconds + trace.IdleSeconds
		if want := float64(workers) * trace.End; math.Abs(got-want) > 1e-9*(1+want) {
			rt.Fatalf("%+v: trained, cut and idle make %v s, want %d x %v s", trace.Totals, got, workers, trace.End)
		}

		// The incumbent is the best finite score so far.
		best, points := math.Inf(-1), trace.Points
		for _, r := range first {
			if r.Score > best {
				best = r.Score
				if len(points) == 0 || points[0].Score != best || points[0].Seconds != r.Clock ||
					points[0].Candidate != r.Candidate || points[0].Epoch != r.Epoch || points[0].ID != table.IDs[r.Candidate] {
					rt.Fatalf("report %+v changes the incumbent, next points %+v", r, points)
				}
				points = points[1:]
			}
		}
		if len(points) > 0 {
			rt.Fatalf("points without a report: %+v", points)
		}

		// A smaller budget gives the same run, cut.
		half := mustRun(t, m, table, Options{Budget: budget / 2, Workers: workers, Seed: seed})
		for i, r := range opt.reports {
			if fmt.Sprint(r) != fmt.Sprint(first[i]) {
				rt.Fatalf("report %d at half the budget %+v, want %+v", i, r, first[i])
			}
		}
		for _, at := range []float64{0, budget / 4, budget / 2} {
			if half.RegretAt(at) != trace.RegretAt(at) {
				rt.Fatalf("regret at %v: %v with half the budget, %v with all", at, half.RegretAt(at), trace.RegretAt(at))
			}
		}

		// The same seed gives the same trace.
		if again := mustRun(t, m, table, Options{Budget: budget, Workers: workers, Seed: seed}); again.Hash() != trace.Hash() {
			rt.Fatal("the same run gave another trace")
		}
	})
}

func TestCumulativeTimeIsTheSumOfEpochs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		table := randomTable(rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "table"), 0)), "SUM", 8, 30)
		trace := mustRun(t, wholeCurvesMethod, table, Options{Budget: math.Inf(1)})
		var sum float64
		for _, seconds := range table.Seconds {
			for _, s := range seconds {
				sum += float64(s)
			}
		}
		if math.Abs(trace.End-sum) > 1e-9*sum || trace.IdleSeconds != 0 || trace.CutSeconds != 0 {
			rt.Fatalf("one worker ends at %v (%+v), the epochs cost %v", trace.End, trace.Totals, sum)
		}
	})
}

func TestEightWorkersNeverFinishLaterThanOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "candidates")
		table := randomTable(rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "table"), 0)), "WORK", n, 20)
		seed := rapid.Uint64().Draw(rt, "seed")
		one := mustRun(t, wholeCurvesMethod, table, Options{Budget: math.Inf(1), Seed: seed})
		eight := mustRun(t, wholeCurvesMethod, table, Options{Budget: math.Inf(1), Seed: seed, Workers: 8})
		if eight.End > one.End*(1+1e-12) {
			rt.Fatalf("8 workers end at %v, 1 at %v", eight.End, one.End)
		}
		// List scheduling: no worker idles before the last curve starts.
		var longest float64
		for _, seconds := range table.Seconds {
			var sum float64
			for _, s := range seconds {
				sum += float64(s)
			}
			longest = max(longest, sum)
		}
		if bound := one.End/8 + longest; eight.End > bound*(1+1e-12) {
			rt.Fatalf("8 workers end at %v, list scheduling promises %v", eight.End, bound)
		}
		if one.Epochs != eight.Epochs {
			rt.Fatalf("%d epochs with 8 workers, %d with 1", eight.Epochs, one.Epochs)
		}
	})
}

// oneCurve trains candidate after candidate without allocating.
type oneCurve struct{ trial, candidates, epochs int }

func (o *oneCurve) Ask() (search.Proposal, search.Status) {
	o.trial++
	return search.Proposal{Trial: o.trial - 1, Candidate: o.trial % o.candidates, Epoch: o.epochs}, search.Ready
}

func (*oneCurve) Tell(search.Report) {}

// longTable has curves of constant score and unit cost.
func longTable(candidates, epochs int) *Table {
	in := Table{
		Task: search.Task{Name: "LONG"}, Candidates: make([]space.Config, candidates),
		MaxEpochs: epochs, Metric: search.Metric{Name: "val_accuracy", Bounded: true},
	}
	for c := range candidates {
		in.IDs = append(in.IDs, fmt.Sprint(c))
		in.Ends = append(in.Ends, search.Completed)
		scores, seconds := make([]float32, epochs), make([]float32, epochs)
		for e := range epochs {
			scores[e], seconds[e] = 0.5, 1
		}
		in.Scores, in.Seconds = append(in.Scores, scores), append(in.Seconds, seconds)
	}
	t, err := NewTable(in)
	if err != nil {
		panic(err)
	}
	return t
}

func oneCurveMethod(t *Table) search.Method {
	return search.Method{Name: "one", New: func(search.Problem) (search.Optimizer, error) {
		return &oneCurve{candidates: len(t.Candidates), epochs: t.MaxEpochs}, nil
	}}
}

func TestEpochsAllocateNothing(t *testing.T) {
	table := longTable(1, 20000)
	m := oneCurveMethod(table)
	allocs := func(budget float64) float64 {
		return testing.AllocsPerRun(5, func() { mustRun(t, m, table, Options{Budget: budget}) })
	}
	if short, long := allocs(100), allocs(20000); long > short {
		t.Errorf("%v allocations for 100 epochs but %v for 20,000", short, long)
	}
}

func BenchmarkEpoch(b *testing.B) {
	for _, workers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			table := longTable(64, 50)
			m := oneCurveMethod(table)
			const epochs = 50000
			for b.Loop() {
				if trace := mustRun(b, m, table, Options{Budget: float64(epochs / workers), Workers: workers}); trace.Epochs < epochs-workers {
					b.Fatal(trace.Totals)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/epochs, "ns/epoch")
		})
	}
}

func BenchmarkRun(b *testing.B) {
	table := randomTable(rand.New(rand.NewPCG(1, 2)), "BENCH", 178, 50)
	b.ReportAllocs()
	for b.Loop() {
		mustRun(b, wholeCurvesMethod, table, Options{Budget: 5000})
	}
	runtime.KeepAlive(table)
}
