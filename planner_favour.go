package quicktune

import (
	"fmt"
	"math"
	"slices"
)

// Favour moves what is expected of each candidate before it is trained by so
// many shifted log odds, up or down: what a look at the data set tells beyond the
// meta-learned prior, such as scores of package selection. It must come before
// the first Ask.
func (q *Planner) Favour(shift []float64) error {
	if len(shift) != len(q.priors) {
		return fmt.Errorf("quicktune: %d shifts for %d candidates", len(shift), len(q.priors))
	}
	if q.trials > 0 {
		return fmt.Errorf("quicktune: the search has begun with %d trials", q.trials)
	}
	for i, s := range shift {
		if math.IsNaN(s) || math.IsInf(s, 0) {
			return fmt.Errorf("quicktune: candidate %d is shifted by %g", i, s)
		}
	}
	for i, s := range shift {
		median := slices.Clone(q.priors[i].Median)
		for e := range median {
			median[e] += s
		}
		q.priors[i].Median = median
	}
	return nil
}
