package baselines

import (
	"math/rand/v2"

	"quicktune/internal/stream"
	"quicktune/search"
)

// RandomSearch trains candidates drawn uniformly to the end of their curves.
//
// Source: Bergstra and Bengio: Random Search for Hyper-Parameter Optimization,
// JMLR 13, 2012.
type RandomSearch struct {
	// Replacement draws every candidate from the whole pool. A candidate that
	// is drawn again is a new trial, trained and paid for from its first
	// epoch, as in the random search of the released Quick-Tune code
	// (hpo/optimizers/random_search.py), which is the one that the published
	// comparison shows. It never ends on its own. The default draws each
	// candidate once.
	//
	// A candidate that failed before its first epoch ended is not drawn
	// again: it costs no time, and a pool of such candidates would be drawn
	// from for ever.
	Replacement bool
}

// NewRandomSearch returns the optimiser of s. It works on every problem.
func NewRandomSearch(p search.Problem, s RandomSearch) (search.Optimizer, error) {
	if s.Replacement {
		r := &replacing{epochs: p.MaxEpochs, rng: stream.New("baselines/redraws", p.Seed)}
		r.alive = newPool(p).left
		return r, nil
	}
	return &drawing{pool: newPool(p), epochs: p.MaxEpochs}, nil
}

// drawing is random search without replacement. What it is told does not
// matter to it.
type drawing struct {
	pool   pool
	epochs int
	trials int
}

func (d *drawing) Ask() (search.Proposal, search.Status) {
	c, ok := d.pool.draw()
	if !ok {
		return search.Proposal{}, search.Done
	}
	d.trials++
	return search.Proposal{Trial: d.trials - 1, Candidate: c, Epoch: d.epochs}, search.Ready
}

func (d *drawing) Tell(search.Report) {}

// replacing is random search with replacement.
type replacing struct {
	alive  []int32 // candidates worth drawing, ascending
	rng    *rand.Rand
	epochs int
	trials int
}

func (r *replacing) Ask() (search.Proposal, search.Status) {
	if len(r.alive) == 0 {
		return search.Proposal{}, search.Done
	}
	c := int(r.alive[r.rng.IntN(len(r.alive))])
	r.trials++
	return search.Proposal{Trial: r.trials - 1, Candidate: c, Epoch: r.epochs}, search.Ready
}

func (r *replacing) Tell(report search.Report) {
	if report.End == search.NotEnded || report.Epoch > 0 {
		return
	}
	for i, c := range r.alive {
		if int(c) == report.Candidate {
			r.alive = append(r.alive[:i], r.alive[i+1:]...)
			return
		}
	}
}

// random is the random search of the published comparison, which draws with
// replacement.
func random() definition {
	s := RandomSearch{Replacement: true}
	return definition{
		method: search.Method{
			Name:   "random",
			Title:  "Random search",
			Source: "Bergstra and Bengio, JMLR 13, 2012; as in Quick-Tune's released code, hpo/optimizers/random_search.py",
			Uses:   search.Uses{Repeats: true},
		},
		details: func() string { return "whole curves, with replacement; a redrawn candidate is trained anew" },
		factory: s.factory,
	}
}

func randomDistinct() definition {
	var s RandomSearch
	return definition{
		method: search.Method{
			Name:   "random-distinct",
			Title:  "Random search (without replacement)",
			Source: "Bergstra and Bengio, JMLR 13, 2012",
		},
		details: func() string { return "whole curves, without replacement" },
		factory: s.factory,
	}
}

func (s RandomSearch) factory() search.Factory {
	return func(p search.Problem) (search.Optimizer, error) { return NewRandomSearch(p, s) }
}
