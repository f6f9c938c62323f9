// Package replay drives an optimiser over stored learning curves with a
// simulated clock and records what it had found by when.
//
// A replay never trains, never interpolates and never distorts: an epoch costs
// the seconds that are stored for it and returns the score that is stored for
// it, for every method alike. The package knows optimisers only through
// package search and shows them nothing that has not been paid for. It refuses
// to judge: statistics over many replays are the business of benchmark/stats.
package replay

import (
	"errors"
	"fmt"
	"math"

	"quicktune/search"
	"quicktune/space"
)

// Table holds the curves of one data set as a replay needs them. Make it with
// [NewTable] or [FromStore]; afterwards it is read-only and may be shared by
// any number of goroutines.
type Table struct {
	// Task describes the data set; Task.Name identifies it in traces.
	Task search.Task
	// Space may be nil if the candidates are known by number only.
	Space *space.Space
	// Candidates is the pool. Every other slice has its length.
	Candidates []space.Config
	// IDs names the candidates in traces.
	IDs []string
	// Scores holds one number an epoch, higher is better. A number that is not
	// finite means that the epoch gave none.
	Scores [][]float32
	// Seconds holds what each epoch alone cost, greater than 0.
	Seconds [][]float32
	// Ends tells how each curve ends, Completed or Failed, once its stored
	// epochs are used up. A curve without epochs counts as Failed.
	Ends []search.End
	// MaxEpochs is the largest number of epochs of any candidate.
	MaxEpochs int
	Metric    search.Metric
	// Scale normalises regrets. NewTable fills in a zero Scale from the scores
	// of this table; set it where the table is only a part of the data set.
	Scale Scale

	checked bool
}

// Scale maps the scores of a data set to normalised regrets.
type Scale struct {
	// Best and Worst are the extremes over all epochs of all curves of the
	// data set, whichever part of them may be proposed.
	Best, Worst float64
	// Start is the score of the incumbent before the first epoch ends: 0 for
	// bounded metrics, as in the released Quick-Tune code, so that a regret
	// may exceed 1; Worst for unbounded ones.
	Start float64
}

// Regret is (Best - score)/(Best - Worst): 0 at the best score, 1 at the worst.
// On a data set whose scores are all equal it is 0 at that score and 1 below.
func (s Scale) Regret(score float64) float64 {
	if s.Best > s.Worst {
		return (s.Best - score) / (s.Best - s.Worst)
	}
	if score >= s.Best {
		return 0
	}
	return 1
}

// extend widens s by the finite scores of a curve.
func (s *Scale) extend(scores []float32) {
	for _, x := range scores {
		if v := float64(x); finite(v) {
			s.Best = max(s.Best, v)
			s.Worst = min(s.Worst, v)
		}
	}
}

// emptyScale is the scale of no score at all, to be extended.
func emptyScale() Scale { return Scale{Best: math.Inf(-1), Worst: math.Inf(1)} }

// start sets Start by the rule of the metric.
func (s *Scale) start(m search.Metric) {
	s.Start = s.Worst
	if m.Bounded {
		s.Start = 0
	}
}

func finite(v float64) bool { return v-v == 0 }

// NewTable checks in and returns it with its scale. The error names the data
// set, the curve and the epoch.
func NewTable(in Table) (*Table, error) {
	t := &in
	name := t.Task.Name
	fail := func(format string, args ...any) (*Table, error) {
		return nil, fmt.Errorf("data set %q: %w", name, fmt.Errorf(format, args...))
	}
	n := len(t.Candidates)
	switch {
	case name == "":
		return nil, errors.New("replay: a table needs the name of its data set")
	case n == 0:
		return fail("no candidate to choose from")
	case len(t.IDs) != n || len(t.Scores) != n || len(t.Seconds) != n || len(t.Ends) != n:
		return fail("%d candidates but %d ids, %d scores, %d costs, %d ends",
			n, len(t.IDs), len(t.Scores), len(t.Seconds), len(t.Ends))
	case t.MaxEpochs < 1:
		return fail("largest number of epochs %d, want at least 1", t.MaxEpochs)
	}
	scale, epochs := emptyScale(), 0
	for c, scores := range t.Scores {
		if len(scores) != len(t.Seconds[c]) {
			return fail("curve %q: %d scores but %d costs", t.IDs[c], len(scores), len(t.Seconds[c]))
		}
		if len(scores) > t.MaxEpochs {
			return fail("curve %q: %d epochs, more than the largest number %d", t.IDs[c], len(scores), t.MaxEpochs)
		}
		if t.Ends[c] != search.Completed && t.Ends[c] != search.Failed {
			return fail("curve %q: end %d, want Completed or Failed", t.IDs[c], t.Ends[c])
		}
		for e, s := range t.Seconds[c] {
			if !(s > 0) || !finite(float64(s)) {
				return fail("curve %q, epoch %d: cost of %v seconds, want a finite number above 0", t.IDs[c], e+1, s)
			}
			if v := scores[e]; t.Metric.Bounded && (v < 0 || v > 1) {
				return fail("curve %q, epoch %d: score %v outside [0, 1]", t.IDs[c], e+1, v)
			}
		}
		epochs += len(scores)
		scale.extend(scores)
	}
	if epochs == 0 {
		return fail("no curve has an epoch")
	}
	if t.Scale == (Scale{}) {
		t.Scale = scale
		t.Scale.start(t.Metric)
	}
	if !(t.Scale.Best >= t.Scale.Worst) {
		return fail("no epoch has a score")
	}
	t.checked = true
	return t, nil
}
