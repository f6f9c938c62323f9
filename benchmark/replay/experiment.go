package replay

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"quicktune/search"
)

// Experiment is a grid of runs: data sets x methods x seeds, and budgets for
// the methods that look at them.
type Experiment struct {
	Tables  []*Table
	Methods []search.Method
	Seeds   []uint64
	// Budgets in seconds. A method whose Uses.Budget is set runs once for each;
	// any other runs once to the largest and is read at the smaller ones.
	Budgets []float64
	Workers int   // simulated, 0 means 1
	Clock   Clock // "" means Training
	// Parallel is how many runs go on at once, 0 means one for each CPU. It
	// does not change any result.
	Parallel int
	// Previous holds traces of an earlier, interrupted experiment on the same
	// tables. Runs with the same key are not run again.
	Previous []*Trace
	// Progress, if not nil, is called after every run, by one goroutine at a
	// time.
	Progress func(Progress)
}

// Progress tells how far an experiment is.
type Progress struct {
	Finished int // runs, those taken from Previous included
	Taken    int // from Previous
	Total    int
	Last     *Trace // the run that just finished, nil for the first call
}

// cell is one run of the grid.
type cell struct {
	table  *Table
	method search.Method
	seed   uint64
	budget float64
}

// Run runs the grid and returns the traces in the order of Tables, Methods,
// Seeds and Budgets, whichever finished first.
//
// If the context is cancelled or a run fails, no further run starts and the
// traces of all finished runs are returned together with the error.
func (x *Experiment) Run(ctx context.Context) ([]*Trace, error) {
	cells, err := x.cells()
	if err != nil {
		return nil, err
	}
	workers, clock := max(x.Workers, 1), x.Clock
	if clock == "" {
		clock = Training
	}
	previous := make(map[Key]*Trace, len(x.Previous))
	for _, t := range x.Previous {
		previous[t.Key] = t
	}
	traces := make([]*Trace, len(cells))
	// Runs to be made, and with each those of other seeds that are the same.
	missing := make(map[Key][]int)
	var order []Key
	taken := 0
	for i, c := range cells {
		key := Key{
			Dataset: c.table.Task.Name,
			Method:  c.method.Name,
			Details: c.method.Details,
			Seed:    c.seed,
			Budget:  c.budget,
			Workers: workers,
			Clock:   clock,
		}
		if traces[i] = previous[key]; traces[i] != nil {
			taken++
			continue
		}
		// Decisions that cost their real time are another matter each time.
		if c.method.Uses.Seedless && clock == Training {
			key.Seed = 0
		}
		if missing[key] == nil {
			order = append(order, key)
		}
		missing[key] = append(missing[key], i)
	}
	progress := Progress{Taken: taken, Finished: taken, Total: len(cells)}
	var mu sync.Mutex
	report := func(t *Trace) {
		if x.Progress == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if t != nil {
			progress.Finished++
		}
		progress.Last = t
		x.Progress(progress)
	}
	report(nil)

	parallel := x.Parallel
	if parallel <= 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, key := range order {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error {
			if err := groupCtx.Err(); err != nil {
				return err
			}
			same := missing[key]
			c := cells[same[0]]
			t, err := Run(groupCtx, c.method, c.table, Options{
				Budget: c.budget, Workers: workers, Clock: clock, Seed: c.seed,
			})
			if err != nil {
				return err
			}
			for _, i := range same {
				of := *t
				of.Seed = cells[i].seed
				traces[i] = &of
				report(&of)
			}
			return nil
		})
	}
	err = group.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return slices.DeleteFunc(traces, func(t *Trace) bool { return t == nil }), err
}

// cells lists the runs of the grid.
func (x *Experiment) cells() ([]cell, error) {
	switch {
	case len(x.Tables) == 0:
		return nil, errors.New("no data set to run on")
	case len(x.Methods) == 0:
		return nil, errors.New("no method to run")
	case len(x.Seeds) == 0:
		return nil, errors.New("no seed to run with")
	case len(x.Budgets) == 0:
		return nil, errors.New("no budget to run to")
	case x.Workers < 0:
		return nil, fmt.Errorf("%d workers, want at least 1", x.Workers)
	}
	if name, twice := repeated(x.Tables, func(t *Table) string { return t.Task.Name }); twice {
		return nil, fmt.Errorf("data set %q is given twice", name)
	}
	if name, twice := repeated(x.Methods, func(m search.Method) string { return m.Name }); twice {
		return nil, fmt.Errorf("method %q is given twice", name)
	}
	if seed, twice := repeated(x.Seeds, func(s uint64) uint64 { return s }); twice {
		return nil, fmt.Errorf("seed %d is given twice", seed)
	}
	if budget, twice := repeated(x.Budgets, func(b float64) float64 { return b }); twice {
		return nil, fmt.Errorf("budget of %v seconds is given twice", budget)
	}
	var cells []cell
	for _, t := range x.Tables {
		for _, m := range x.Methods {
			budgets := x.Budgets
			if !m.Uses.Budget {
				budgets = []float64{slices.Max(x.Budgets)}
			}
			for _, seed := range x.Seeds {
				for _, b := range budgets {
					cells = append(cells, cell{table: t, method: m, seed: seed, budget: b})
				}
			}
		}
	}
	return cells, nil
}

// repeated returns the first key that two items share.
func repeated[T any, K comparable](items []T, key func(T) K) (K, bool) {
	seen := make(map[K]bool, len(items))
	for _, item := range items {
		k := key(item)
		if seen[k] {
			return k, true
		}
		seen[k] = true
	}
	var none K
	return none, false
}
