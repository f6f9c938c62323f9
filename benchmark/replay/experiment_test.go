package replay

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"quicktune/internal/stream"
	"quicktune/search"
)

const goldenTraceHash = "bf54072c754c0c45dbefc4218c5a642aecadde74bdbbb3999f376917c89ca117"

// withReplacement draws candidates at random and trains them to their end,
// repeated ones as trials of their own.
type withReplacement struct {
	search.Problem
	rng   *rand.Rand
	trial int
}

func (w *withReplacement) Ask() (search.Proposal, search.Status) {
	w.trial++
	return search.Proposal{Trial: w.trial - 1, Candidate: w.rng.IntN(len(w.Candidates)), Epoch: w.MaxEpochs}, search.Ready
}

func (*withReplacement) Tell(search.Report) {}

var withReplacementMethod = search.Method{
	Name: "random", Title: "Random search", Details: "with replacement", Uses: search.Uses{Repeats: true},
	New: func(p search.Problem) (search.Optimizer, error) {
		return &withReplacement{Problem: p, rng: stream.New("test/random", p.Seed)}, nil
	},
}

// halfBudgetMethod refuses to work without a budget.
var halfBudgetMethod = search.Method{
	Name: "half", Details: "looks at the budget", Uses: search.Uses{Budget: true},
	New: func(p search.Problem) (search.Optimizer, error) {
		if p.Budget == 0 {
			return nil, errors.New("it needs the budget")
		}
		return newWholeCurves(p)
	},
}

func testGrid() Experiment {
	rng := rand.New(rand.NewPCG(7, 7))
	return Experiment{
		Tables: []*Table{
			randomTable(rng, "ZEBRA", 20, 10), randomTable(rng, "APE", 30, 12), randomTable(rng, "LYNX", 10, 5),
		},
		Methods: []search.Method{withReplacementMethod, halfBudgetMethod},
		Seeds:   []uint64{3, 1, 2},
		Budgets: []float64{500, 1000, 4000},
	}
}

func TestExperimentIsTheSameHoweverItIsScheduled(t *testing.T) {
	x := testGrid()
	x.Parallel = 1
	want, err := x.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	// 3 data sets x 3 seeds x (1 run of random search + 3 of half).
	if len(want) != 36 {
		t.Fatalf("%d runs, want 36", len(want))
	}
	keys := func(traces []*Trace) (k []Key) {
		for _, t := range traces {
			k = append(k, t.Key)
		}
		return k
	}
	first := []Key{
		{"ZEBRA", "random", "with replacement", 3, 4000, 1, Training},
		{"ZEBRA", "random", "with replacement", 1, 4000, 1, Training},
		{"ZEBRA", "random", "with replacement", 2, 4000, 1, Training},
		{"ZEBRA", "half", "looks at the budget", 3, 500, 1, Training},
		{"ZEBRA", "half", "looks at the budget", 3, 1000, 1, Training},
	}
	if diff := cmp.Diff(first, keys(want)[:5]); diff != "" {
		t.Errorf("order of the grid (-want +got):\n%s", diff)
	}
	for _, procs := range []int{1, 2, 4} {
		for _, parallel := range []int{0, 2, 7} {
			func() {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				x := testGrid()
				x.Parallel = parallel
				got, err := x.Run(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(Measured{})); diff != "" {
					t.Errorf("GOMAXPROCS=%d, parallel %d (-want +got):\n%s", procs, parallel, diff)
				}
				if Hash(got) != Hash(want) {
					t.Errorf("GOMAXPROCS=%d, parallel %d: hash %s, want %s", procs, parallel, Hash(got), Hash(want))
				}
			}()
		}
	}
}

func TestHashDependsOnContentAlone(t *testing.T) {
	x := testGrid()
	traces, err := x.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := Hash(traces)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(traces), func(i, j int) { traces[i], traces[j] = traces[j], traces[i] })
	if got := Hash(traces); got != want {
		t.Errorf("hash %s in another order, want %s", got, want)
	}
	traces[0].Measured.DecisionSeconds++
	if got := Hash(traces); got != want {
		t.Error("measured time changes the hash")
	}
	for i, change := range []func(*Trace){
		func(t *Trace) { t.Points[0].Score += 1e-15 },
		func(t *Trace) { t.Points[0].Seconds += 1e-12 },
		func(t *Trace) { t.Points[0].ID += "x" },
		func(t *Trace) { t.Points = t.Points[1:] },
		func(t *Trace) { t.Seed++ },
		func(t *Trace) { t.Details += "." },
	} {
		changed := append([]*Trace(nil), traces...)
		c := *traces[5]
		c.Points = append([]Point(nil), c.Points...)
		change(&c)
		changed[5] = &c
		if Hash(changed) == want {
			t.Errorf("change %d leaves the hash as it was", i)
		}
	}
	// SHA-256 of the canonical form as documented, written out in Python with
	// struct.pack; see the comment of Hash.
	one := &Trace{
		Key:    Key{Dataset: "D", Method: "m", Details: "x=1", Seed: 2, Budget: 3.5, Workers: 4, Clock: Training},
		Points: []Point{{Seconds: 0.5, Epochs: 6, Candidate: 7, ID: "id", Epoch: 8, Score: 0.25}},
	}
	if got := one.Hash(); got != goldenTraceHash {
		t.Errorf("hash %s, want %s", got, goldenTraceHash)
	}
}

func TestFinishedRunsAreNotRunAgain(t *testing.T) {
	x := testGrid()
	all, err := x.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := Hash(all)

	// Stop after 10 runs, go on with what is there.
	x = testGrid()
	ctx, cancel := context.WithCancel(context.Background())
	x.Parallel = 2
	x.Progress = func(p Progress) {
		if p.Finished == 10 {
			cancel()
		}
	}
	part, err := x.Run(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
	if len(part) < 10 || len(part) > 12 {
		t.Fatalf("%d runs kept, want 10 to 12", len(part))
	}
	x = testGrid()
	x.Previous = part
	fresh, last := 0, Progress{}
	x.Progress = func(p Progress) {
		if p.Last != nil {
			fresh++
		}
		last = p
	}
	rest, err := x.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if fresh != 36-len(part) || last.Finished != 36 || last.Taken != len(part) || last.Total != 36 {
		t.Errorf("%d fresh runs, progress %+v; want %d, 36 finished of 36", fresh, last, 36-len(part))
	}
	if got := Hash(rest); got != want {
		t.Errorf("hash after going on %s, want %s", got, want)
	}

	// Other settings of a method are another run.
	x = testGrid()
	x.Previous = all
	x.Methods[0].Details = "changed"
	fresh = 0
	x.Progress = func(p Progress) {
		if p.Last != nil {
			fresh++
		}
	}
	if _, err := x.Run(context.Background()); err != nil || fresh != 9 {
		t.Errorf("%d fresh runs (error %v) after a change of settings, want 9", fresh, err)
	}
}

// One run of a method that draws no random numbers stands for all seeds, but
// where decisions cost the time that they take.
func TestARunWithoutRandomNumbersIsMadeOnce(t *testing.T) {
	for _, c := range []struct {
		clock Clock
		made  int32
	}{{Training, 3 * 3}, {Decision, 3 * 3 * 3}} {
		x := testGrid()
		x.Clock = c.clock
		m := &x.Methods[1]
		if !m.Uses.Budget {
			t.Fatal("the second method is to look at the budget")
		}
		inner := m.New
		var made atomic.Int32
		m.Uses.Seedless = true
		m.New = func(p search.Problem) (search.Optimizer, error) {
			made.Add(1)
			p.Seed = 0
			return inner(p)
		}
		traces, err := x.Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if len(traces) != 36 || made.Load() != c.made {
			t.Errorf("clock %s: %d runs, %d of them made; want 36 and %d", c.clock, len(traces), made.Load(), c.made)
		}
		if c.clock == Decision {
			continue
		}
		for _, u := range traces {
			again, err := Run(context.Background(), x.Methods[slices.IndexFunc(x.Methods, func(m search.Method) bool { return m.Name == u.Method })],
				x.Tables[slices.IndexFunc(x.Tables, func(t *Table) bool { return t.Task.Name == u.Dataset })], Options{Budget: u.Budget, Seed: u.Seed})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(again, u, cmpopts.IgnoreTypes(Measured{})); diff != "" {
				t.Errorf("%v (-alone +in the grid):\n%s", u.Key, diff)
			}
		}
	}
}

func TestFailureKeepsWhatIsFinished(t *testing.T) {
	x := testGrid()
	x.Parallel = 1
	bad := search.Method{Name: "bad", New: func(p search.Problem) (search.Optimizer, error) {
		return nil, errors.New("it cannot work here")
	}}
	x.Methods = append(x.Methods[:1:1], bad)
	traces, err := x.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), `method "bad" on data set "ZEBRA", seed 3: it cannot work here`) {
		t.Errorf("error %v", err)
	}
	if len(traces) != 3 {
		t.Errorf("%d traces kept, want the 3 of random search", len(traces))
	}
}

func TestExperimentRefusesBadGrids(t *testing.T) {
	for want, change := range map[string]func(*Experiment){
		"no data set to run on":                func(x *Experiment) { x.Tables = nil },
		"no method to run":                     func(x *Experiment) { x.Methods = nil },
		"no seed to run with":                  func(x *Experiment) { x.Seeds = nil },
		"no budget to run to":                  func(x *Experiment) { x.Budgets = nil },
		"-2 workers, want at least 1":          func(x *Experiment) { x.Workers = -2 },
		`data set "APE" is given twice`:        func(x *Experiment) { x.Tables = append(x.Tables, x.Tables[1]) },
		`method "half" is given twice`:         func(x *Experiment) { x.Methods = append(x.Methods, x.Methods[1]) },
		"seed 1 is given twice":                func(x *Experiment) { x.Seeds = append(x.Seeds, 1) },
		"budget of 500 seconds is given twice": func(x *Experiment) { x.Budgets = append(x.Budgets, 500) },
	} {
		x := testGrid()
		change(&x)
		if _, err := x.Run(context.Background()); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
