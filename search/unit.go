package search

import (
	"math"
	"slices"
)

// UnitScale maps scores to [0, 1], higher being better, for models that were
// made for accuracies. Its zero value leaves accuracies as they are.
//
// A loss of Loss becomes 1/2, and log odds of the result are its logarithm with
// the sign changed: 1 / (1 + loss/Loss). What a data set adds to all losses as a
// factor is thus a shift of log odds, as a hard data set is for accuracies.
type UnitScale struct {
	// Loss is a usual loss, 0 for accuracies.
	Loss float64 `json:"loss,omitempty"`
	// Signed says that losses may be negative. The logarithm is then the
	// inverse hyperbolic sine, which is about linear for losses below Loss.
	Signed bool `json:"signed,omitempty"`
}

// UnitScale is the scale for the scores of m: Loss is the median over all curves
// of the lowest loss.
func (m MetaData) UnitScale() UnitScale {
	if m.Metric.Bounded {
		return UnitScale{}
	}
	var u UnitScale
	var lowest []float64
	for _, part := range [][]Curves{m.Train, m.Validation} {
		for _, c := range part {
			for _, scores := range c.Scores {
				best := math.Inf(-1)
				for _, s := range scores {
					if s := float64(s); !math.IsInf(s, 0) && s > best { // not for NaN
						best = s
					}
				}
				if !math.IsInf(best, 0) {
					lowest = append(lowest, math.Abs(best))
					u.Signed = u.Signed || best > 0
				}
			}
		}
	}
	if len(lowest) > 0 {
		slices.Sort(lowest)
		u.Loss = lowest[len(lowest)/2]
	}
	if u.Loss == 0 {
		u.Loss = 1
	}
	return u
}

// Apply maps a score, which is an accuracy or a negated loss. NaN stays NaN.
func (u UnitScale) Apply(score float64) float64 {
	switch {
	case u.Loss == 0 || math.IsNaN(score):
		return score
	case u.Signed:
		return 1 / (1 + math.Exp(math.Asinh(-score/u.Loss)))
	}
	return 1 / (1 + max(-score, 0)/u.Loss)
}
