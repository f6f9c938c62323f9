package traintime

import (
	"fmt"
	"math"
	"slices"
)

// Kind says when training counts as finished.
type Kind int

const (
	// WithinFinal is the published criterion: the first step whose loss is
	// within Value of the loss at the horizon.
	WithinFinal Kind = iota
	// FirstBelow is the first step whose loss is at most Value.
	FirstBelow
	// StaysBelow is the first step from which on, up to the horizon, the loss
	// is at most Value.
	StaysBelow
)

// A Criterion says when training counts as finished.
type Criterion struct {
	Kind Kind
	// Value is a distance (WithinFinal) or a threshold, not negative.
	Value float64
	// Relative measures a distance in units of the whole drop |L_0 - L_T| and
	// a threshold in units of L_0.
	Relative bool
	// Accuracy applies the criterion to the error, 1 - accuracy, in place of
	// the loss.
	Accuracy bool
}

// Validate reports a criterion that means nothing.
func (c Criterion) Validate() error {
	if c.Kind < WithinFinal || c.Kind > StaysBelow {
		return fmt.Errorf("traintime: unknown kind of criterion %d", c.Kind)
	}
	if !(c.Value >= 0) || math.IsInf(c.Value, 0) || c.Kind == WithinFinal && c.Value == 0 {
		return fmt.Errorf("traintime: a criterion with the value %v, want a positive number", c.Value)
	}
	return nil
}

// First returns the index of the record of a curve at which the criterion is
// met first, and false if it never is. A curve that ends in an infinity or NaN
// has diverged and has no final loss to be near to.
func (c Criterion) First(curve []float64) (int, bool) {
	if len(curve) == 0 {
		return 0, false
	}
	first, last := curve[0], curve[len(curve)-1]
	limit := c.Value
	if c.Relative && c.Kind == WithinFinal {
		limit *= math.Abs(first - last)
	} else if c.Relative {
		limit *= first
	}
	switch c.Kind {
	case WithinFinal:
		for i, x := range curve {
			// A curve that is flat from the start has arrived.
			if math.Abs(x-last) < limit || x == last && !math.IsInf(last, 0) {
				return i, true
			}
		}
	case FirstBelow:
		for i, x := range curve {
			if x <= limit {
				return i, true
			}
		}
	case StaysBelow:
		i := len(curve)
		for i > 0 && curve[i-1] <= limit {
			i--
		}
		return i, i < len(curve)
	}
	return 0, false
}

// A Time is a predicted number of steps (or seconds); +Inf means not within
// the horizon.
type Time struct {
	// Steps is the median over the draws of the noise, Low and High enclose the
	// middle part of them.
	Steps, Low, High float64
	// Reached is the part of the draws that meet the criterion.
	Reached float64
}

// Scale returns the time in another unit: with the measured seconds a step the
// wall-clock time in seconds.
func (t Time) Scale(perStep float64) Time {
	t.Steps *= perStep
	t.Low *= perStep
	t.High *= perStep
	return t
}

// TimeTo returns when a curve meets a criterion. Each draw is judged by itself,
// as a real run would be, not the mean curve, which is smoother than any run.
// A criterion on the accuracy needs a curve with accuracies; without them the
// time is +Inf.
func (c *Curve) TimeTo(criterion Criterion) Time {
	draws := c.losses
	if criterion.Accuracy {
		draws = make([][]float64, len(c.accuracy))
		for d, accuracy := range c.accuracy {
			draws[d] = make([]float64, len(accuracy))
			for i, a := range accuracy {
				draws[d][i] = 1 - a
			}
		}
	}
	never := math.Inf(1)
	if len(draws) == 0 {
		return Time{Steps: never, Low: never, High: never}
	}
	var t Time
	times := make([]float64, len(draws))
	for d, draw := range draws {
		times[d] = never
		if i, ok := criterion.First(draw); ok {
			times[d] = float64(i * c.Every)
			t.Reached += 1 / float64(len(draws))
		}
	}
	slices.Sort(times)
	t.Steps, t.Low, t.High = quantile(times, 0.5), quantile(times, (1-c.band)/2), quantile(times, (1+c.band)/2)
	return t
}
