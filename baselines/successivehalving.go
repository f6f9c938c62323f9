package baselines

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"quicktune/search"
)

// SuccessiveHalving trains a number of candidates for a few epochs, keeps the
// best 1/Eta of them, trains those Eta times as long, and so on until the
// longest curve is reached: one bracket. Then it starts over with candidates
// not tried yet, until none is left.
//
// The rungs are MinEpochs times the powers of Eta below the longest curve, and
// that curve; a rung holds floor(n/Eta) of the n before it, and at least one.
//
// A rung is synchronous: it is compared when all of it has been trained. A
// worker that finds nothing to do in the oldest bracket takes work of the next
// one, and where no open bracket has any it begins a new bracket, as in
// HpBandSter (core/master.py) and syne-tune
// (synchronous/hyperband_bracket_manager.py); so no worker waits before the
// pool is empty. A bracket that finds the pool empty closes its first rung with
// what it has, and shortens its later rungs in proportion, to at least one.
//
// Source: Jamieson and Talwalkar: Non-stochastic Best Arm Identification and
// Hyperparameter Optimization, AISTATS 2016, for a fixed maximum resource as
// in Hyperband's inner loop.
type SuccessiveHalving struct {
	// Eta is the reduction factor, 2 to 1000. 0 means 3, Hyperband's (Li et
	// al., JMLR 18(185), 2018, section 3.6, which recommends 3 or 4).
	Eta int
	// MinEpochs is the first rung, at most Problem.MaxEpochs. 0 means 1.
	MinEpochs int
	// Candidates is how many enter a bracket. 0 means as many as leave one at
	// the last rung: Eta to the power of the number of rungs less one.
	Candidates int
}

// NewSuccessiveHalving returns the optimiser of s, or an error if a setting is
// out of its range for the problem.
func NewSuccessiveHalving(p search.Problem, s SuccessiveHalving) (search.Optimizer, error) {
	s = s.withDefaults()
	if err := checkRungSettings(p, s.Eta, s.MinEpochs); err != nil {
		return nil, err
	}
	if err := checkRange("candidates", s.Candidates, 0, maxCandidates); err != nil {
		return nil, err
	}
	return newSynchronous(p, []Bracket{s.Bracket(p.MaxEpochs)}, bestFirst), nil
}

// Bracket returns the bracket that s repeats for curves of maxEpochs.
func (s SuccessiveHalving) Bracket(maxEpochs int) Bracket {
	s = s.withDefaults()
	levels := rungLevels(maxEpochs, s.MinEpochs, s.Eta)
	n := s.Candidates
	if n == 0 {
		n = power(s.Eta, len(levels)-1)
	}
	var b Bracket
	for _, epoch := range levels {
		b.Rungs = append(b.Rungs, Rung{N: n, Resource: float64(epoch), Epoch: epoch})
		n = max(n/s.Eta, 1)
	}
	return b
}

func (s SuccessiveHalving) withDefaults() SuccessiveHalving {
	return SuccessiveHalving{
		Eta:        cmp.Or(s.Eta, defaultEta),
		MinEpochs:  cmp.Or(s.MinEpochs, 1),
		Candidates: s.Candidates,
	}
}

const (
	defaultEta    = 3
	maxEta        = 1000
	maxCandidates = 1 << 20
	maxMinEpochs  = 1 << 20
	longestCurve  = 1 << 30 // epochs; keeps the sizes of brackets far from overflow
)

func etaSetting(eta *int) Setting {
	return intSetting(eta, "eta", defaultEta, 2, maxEta, "reduction factor")
}

func minEpochsSetting(epochs *int) Setting {
	return intSetting(epochs, "min-epochs", 1, 1, maxMinEpochs, "epochs at the first rung")
}

func checkRungSettings(p search.Problem, eta, minEpochs int) error {
	if err := checkRange("eta", eta, 2, maxEta); err != nil {
		return err
	}
	if err := checkRange("the number of epochs of the longest curve", p.MaxEpochs, 1, longestCurve); err != nil {
		return err
	}
	if minEpochs > p.MaxEpochs {
		return fmt.Errorf("min-epochs is %d, but the longest curve has %d epochs; set it to at most that", minEpochs, p.MaxEpochs)
	}
	return checkRange("min-epochs", minEpochs, 1, maxMinEpochs)
}

// rungLevels returns minEpochs*eta^j below maxEpochs, and maxEpochs.
func rungLevels(maxEpochs, minEpochs, eta int) []int {
	var levels []int
	for r := minEpochs; r < maxEpochs; r *= eta {
		levels = append(levels, r)
	}
	return append(levels, maxEpochs)
}

// power returns base to the given power, or the largest int32 if that is less.
func power(base, exponent int) int {
	v := 1
	for range exponent {
		v *= base
		if v > math.MaxInt32 {
			return math.MaxInt32
		}
	}
	return v
}

// continuation is the order in which the survivors of a rung are trained on.
type continuation uint8

const (
	bestFirst continuation = iota // syne-tune's get_top_list
	asDrawn                       // HpBandSter's get_next_run
)

// synchronous runs brackets of successive halving one after the other, over
// and over, opening the next one early for workers that would have to wait.
type synchronous struct {
	ledger
	pool  pool
	table []Bracket
	order continuation
	begun int        // brackets begun so far
	open  []*bracket // oldest first
	in    []*bracket // by trial

	// For methods that choose candidates by a model. draw chooses a
	// candidate, out of the pool unless it may be trained again; result is told
	// of every trial that has its score at the epoch of a rung.
	draw   func() (candidate int, ok bool)
	result func(trial, epoch int)
}

// bracket is the state of one bracket.
type bracket struct {
	rungs     []Rung
	level     int
	trials    []int // on this rung, in the order in which they are proposed
	next      int   // trials[next:] are to be proposed
	running   int
	drawn     int // trials of the first rung
	allDrawn  bool
	completed bool
}

func newSynchronous(p search.Problem, table []Bracket, order continuation) *synchronous {
	s := &synchronous{pool: newPool(p), table: table, order: order, result: func(int, int) {}}
	s.draw = s.pool.draw
	return s
}

func (s *synchronous) Ask() (search.Proposal, search.Status) {
	for _, b := range s.open {
		if proposal, ok := s.propose(b); ok {
			return proposal, search.Ready
		}
	}
	s.open = slices.DeleteFunc(s.open, func(b *bracket) bool { return b.completed })
	if len(s.pool.left) == 0 {
		return s.idle()
	}
	b := &bracket{rungs: s.table[s.begun%len(s.table)].Rungs}
	s.begun++
	s.open = append(s.open, b)
	proposal, _ := s.propose(b)
	return proposal, search.Ready
}

func (s *synchronous) Tell(r search.Report) {
	if s.tell(r) {
		b := s.in[r.Trial]
		b.running--
		s.result(r.Trial, b.rungs[b.level].Epoch)
	}
}

// propose returns the next work of the bracket; false if it has to wait or is
// complete.
func (s *synchronous) propose(b *bracket) (search.Proposal, bool) {
	for !b.completed {
		epoch := b.rungs[b.level].Epoch
		if !b.allDrawn {
			if c, ok := s.drawFor(b); ok {
				proposal := s.start(c, epoch)
				b.trials = append(b.trials, proposal.Trial)
				b.next++
				b.running++
				s.in = append(s.in, b)
				return proposal, true
			}
			b.allDrawn = true
			b.drawn = len(b.trials)
		}
		for b.next < len(b.trials) {
			number := b.trials[b.next]
			b.next++
			if s.trials[number].progress == paused {
				b.running++
				return s.resume(number, epoch), true
			}
			s.result(number, epoch)
		}
		if b.running > 0 {
			return search.Proposal{}, false
		}
		s.promote(b)
	}
	return search.Proposal{}, false
}

func (s *synchronous) drawFor(b *bracket) (candidate int, ok bool) {
	if len(b.trials) == b.rungs[0].N {
		return 0, false
	}
	return s.draw()
}

// promote closes the rung of b, all of which has been trained, and moves its
// best trials to the next rung.
func (s *synchronous) promote(b *bracket) {
	b.level++
	b.next = 0
	if b.level == len(b.rungs) {
		b.completed = true
		return
	}
	places := max(b.drawn*b.rungs[b.level].N/b.rungs[0].N, 1)
	b.trials = slices.DeleteFunc(b.trials, func(n int) bool { return s.trials[n].score == worst })
	slices.SortStableFunc(b.trials, func(x, y int) int {
		return cmp.Compare(s.trials[y].score, s.trials[x].score)
	})
	b.trials = b.trials[:min(places, len(b.trials))]
	if s.order == asDrawn {
		slices.Sort(b.trials)
	}
	b.completed = len(b.trials) == 0
}

func successiveHalving() definition {
	s := new(SuccessiveHalving)
	return definition{
		method: search.Method{
			Name:   "successive-halving",
			Title:  "Successive halving",
			Source: "Jamieson and Talwalkar, AISTATS 2016",
			Uses:   search.Uses{Fidelity: true},
		},
		settings: []Setting{
			etaSetting(&s.Eta),
			minEpochsSetting(&s.MinEpochs),
			intSetting(&s.Candidates, "candidates", 0, 0, maxCandidates, "candidates of a bracket; 0: as many as leave one at the last rung"),
		},
		details: func() string {
			n := "as many candidates as leave one"
			if s.Candidates > 0 {
				n = fmt.Sprintf("%d candidates a bracket", s.Candidates)
			}
			return fmt.Sprintf("eta=%d, from epoch %d, %s", s.Eta, s.MinEpochs, n)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewSuccessiveHalving(p, settings) }
		},
	}
}
