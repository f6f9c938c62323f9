// Package forecast predicts where learning curves go with trees that were
// meta-learned on other data sets: what a configuration will have reached by an
// epoch before it is trained at all, how a curve goes on after some epochs, and
// what an epoch costs.
//
// Three models share the rows of Features:
//
//   - the prior predicts the best score by an epoch from configuration and data
//     set, relative to a centre of the data set that the search estimates as it
//     goes;
//   - the continuation predicts the gain from the best score so far, given the
//     curve so far, and how wrong it is likely to be;
//   - the cost predicts the seconds of an epoch and training sample.
//
// Scores are accuracies in [0, 1] and are modelled as shifted log odds, in
// which a gain from .98 to .99 counts as much as one from .5 to .67. Spreads are
// learnt from data sets that the model in question has not seen (an inner
// cross-validation over data sets), since in-sample residuals of boosted trees
// say little. The package refuses to choose what to train; see package
// quicktune.
package forecast

import "math"

// logitShift keeps log odds finite at accuracies of 0 and 1, and stops rewarding
// precision beyond what a validation split can tell.
const logitShift = 0.01

// ToLogit maps an accuracy in [0, 1] to shifted log odds, about -4.6 to 4.6.
func ToLogit(accuracy float64) float64 {
	return math.Log((accuracy + logitShift) / (1 + logitShift - accuracy))
}

// FromLogit is the inverse of ToLogit, cut to [0, 1].
func FromLogit(z float64) float64 {
	// (1+s)e^z - s over 1 + e^z, written so that it does not overflow.
	p := 1 / (1 + math.Exp(-z))
	return min(max((1+2*logitShift)*p-logitShift, 0), 1)
}

// Horizons are the numbers of further epochs that continuations are predicted
// for, ascending.
var Horizons = []int{1, 2, 3, 5, 8, 12, 18, 27, 38, 49}

// priorEpochs are the epochs that the prior is learnt at; between them it is
// interpolated in the logarithm of the epoch.
var priorEpochs = []int{1, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 50}

// prefixes are the lengths of the curves that continuations are learnt from.
var prefixes = []int{1, 2, 3, 4, 5, 7, 10, 14, 20, 28, 38}

// Task is one data set with its curves.
type Task struct {
	Name        string
	Descriptors Descriptors
	Rows        [][]float64 // of Features, one a configuration
	Scores      [][]float32 // accuracies, one an epoch; NaN for a diverged epoch
	Seconds     [][]float32 // one an epoch; nil if no times are known
	// Skip marks curves that are no training and must not be learnt from.
	Skip []bool
}

// curve is a learning curve in shifted log odds.
type curve struct {
	z    []float64 // of each epoch; diverged ones repeat the one before
	best []float64 // running maximum
}

func newCurve(scores []float32) curve {
	c := curve{z: make([]float64, len(scores)), best: make([]float64, len(scores))}
	last, top := ToLogit(0), math.Inf(-1)
	for e, s := range scores {
		if !math.IsNaN(float64(s)) {
			last = ToLogit(float64(s))
		}
		top = max(top, last)
		c.z[e], c.best[e] = last, top
	}
	return c
}
