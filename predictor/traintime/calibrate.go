package traintime

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// An Observation is a measured run beside its prediction.
type Observation struct {
	// Group is the data set. Errors are judged on groups left out of the fit,
	// since runs on one data set err together.
	Group string
	// Loss and Optimizer choose the calibration; an empty optimiser is "sgd".
	Loss      Loss
	Optimizer string
	// Predicted and Actual are steps, positive and finite.
	Predicted, Actual float64
}

// CalibrationOptions say how a calibration is fitted. The zero value of a
// field is its default.
type CalibrationOptions struct {
	// Coverage is the part of runs that an interval is to hold (default 0.9).
	Coverage float64
	// Fewest is the number of observations below which a loss and optimiser
	// get only a factor, no exponent (default 12).
	Fewest int
}

// A Calibration corrects predicted times by what measured runs taught: for
// each loss and optimiser log actual = Intercept + Slope * log predicted. It
// is plain data and can be stored as JSON.
type Calibration struct {
	Coverage float64
	Fits     []Fit
}

// A Fit is the correction for one loss and optimiser.
type Fit struct {
	// Loss and Optimizer say for what; an empty optimiser is any.
	Loss      Loss
	Optimizer string
	// Intercept and Slope correct the natural logarithm of steps.
	Intercept, Slope float64
	// Low and High bound log actual less its correction, on data sets left out
	// of the fit.
	Low, High float64
	// Observations and Groups are how many runs and data sets it rests on.
	Observations, Groups int
}

// An Interval is a calibrated time in the unit of the prediction.
type Interval struct {
	Steps, Low, High float64
	// Exact says that the correction is that of the very loss and optimiser
	// asked for, not of the loss alone.
	Exact bool
}

// FitCalibration learns a calibration. Every loss and optimiser seen gets a
// correction, and so does every loss over all its optimisers, which serves
// optimisers not seen.
//
// A correction is a line through the logarithms by least absolute deviations,
// so that single wild runs do not bend it, with slope 1 where there are few
// runs. The interval comes from the residuals of groups left out one at a
// time, as quantiles with the correction for their number of split conformal
// prediction (Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random
// World", Springer 2005): too few residuals for the coverage give the largest
// ones. The interval always holds the corrected time. With one group alone its
// own residuals serve.
func FitCalibration(observations []Observation, o CalibrationOptions) (*Calibration, error) {
	if o.Coverage == 0 {
		o.Coverage = 0.9
	}
	if o.Fewest == 0 {
		o.Fewest = 12
	}
	if !(o.Coverage > 0 && o.Coverage < 1) || o.Fewest < 1 {
		return nil, fmt.Errorf("traintime: a calibration with the coverage %v and at least %d runs, want a part of 1 and a positive number", o.Coverage, o.Fewest)
	}
	if len(observations) == 0 {
		return nil, errors.New("traintime: a calibration needs measured runs, got none")
	}
	type key struct {
		loss      Loss
		optimizer string
	}
	sets := map[key][]Observation{}
	for i, x := range observations {
		if x.Loss != MSE && x.Loss != CrossEntropy {
			return nil, fmt.Errorf("traintime: run %d: unknown %v", i, x.Loss)
		}
		for _, steps := range []float64{x.Predicted, x.Actual} {
			if !(steps > 0) || math.IsInf(steps, 0) {
				return nil, fmt.Errorf("traintime: run %d (%s): predicted %v and actual %v steps, want positive finite numbers", i, x.Group, x.Predicted, x.Actual)
			}
		}
		name := Setting{Optimizer: strings.ToLower(x.Optimizer)}.optimizer()
		for _, k := range []key{{x.Loss, name}, {x.Loss, ""}} {
			sets[k] = append(sets[k], x)
		}
	}
	c := &Calibration{Coverage: o.Coverage}
	for k, set := range sets {
		fit := fitLine(set, o.Fewest)
		fit.Loss, fit.Optimizer = k.loss, k.optimizer
		fit.Low, fit.High, fit.Groups = leaveOut(set, o)
		c.Fits = append(c.Fits, fit)
	}
	slices.SortFunc(c.Fits, func(a, b Fit) int {
		if a.Loss != b.Loss {
			return int(a.Loss - b.Loss)
		}
		return strings.Compare(a.Optimizer, b.Optimizer)
	})
	return c, nil
}

// Apply corrects a predicted time. It fails where no run with the loss has been
// seen or the time is not positive and finite.
func (c *Calibration) Apply(loss Loss, optimizer string, predicted float64) (Interval, error) {
	if !(predicted > 0) || math.IsInf(predicted, 0) {
		return Interval{}, fmt.Errorf("traintime: no calibration of %v steps", predicted)
	}
	name := Setting{Optimizer: strings.ToLower(optimizer)}.optimizer()
	for _, want := range []string{name, ""} {
		for _, f := range c.Fits {
			if f.Loss != loss || f.Optimizer != want {
				continue
			}
			center := f.at(predicted)
			return Interval{
				Steps: math.Exp(center), Low: math.Exp(center + f.Low), High: math.Exp(center + f.High), Exact: want != "",
			}, nil
		}
	}
	return Interval{}, fmt.Errorf("traintime: no measured run with %v to calibrate by", loss)
}

// at returns the corrected logarithm.
func (f Fit) at(predicted float64) float64 { return f.Intercept + f.Slope*math.Log(predicted) }

// fitLine fits a correction by iteratively reweighted least squares, which
// approaches least absolute deviations.
func fitLine(set []Observation, fewest int) Fit {
	fit := Fit{Slope: 1, Observations: len(set)}
	ratios := make([]float64, len(set))
	x, y := make([]float64, len(set)), make([]float64, len(set))
	low, high := math.Inf(1), math.Inf(-1)
	for i, o := range set {
		x[i], y[i] = math.Log(o.Predicted), math.Log(o.Actual)
		ratios[i] = y[i] - x[i]
		low, high = min(low, x[i]), max(high, x[i])
	}
	slices.Sort(ratios)
	fit.Intercept = quantile(ratios, 0.5)
	// A slope needs predictions that span a factor of two.
	if len(set) < fewest || high-low < math.Ln2 {
		return fit
	}
	const rounds, floor = 100, 1e-6
	for range rounds {
		var sw, sx, sy, sxx, sxy float64
		for i := range x {
			w := 1 / max(math.Abs(y[i]-fit.Intercept-fit.Slope*x[i]), floor)
			sw += w
			sx += w * x[i]
			sy += w * y[i]
			sxx += w * x[i] * x[i]
			sxy += w * x[i] * y[i]
		}
		determinant := sw*sxx - sx*sx
		if determinant <= 1e-12*sw*sxx {
			break
		}
		fit.Slope = (sw*sxy - sx*sy) / determinant
		fit.Intercept = (sy - fit.Slope*sx) / sw
	}
	return fit
}

// leaveOut returns the interval of the residuals on groups left out.
func leaveOut(set []Observation, o CalibrationOptions) (low, high float64, groups int) {
	var names []string
	for _, x := range set {
		names = append(names, x.Group)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	var residuals []float64
	for _, name := range names {
		var rest, out []Observation
		for _, x := range set {
			if x.Group == name {
				out = append(out, x)
			} else {
				rest = append(rest, x)
			}
		}
		if len(names) == 1 {
			rest = out
		}
		fit := fitLine(rest, o.Fewest)
		for _, x := range out {
			residuals = append(residuals, math.Log(x.Actual)-fit.at(x.Predicted))
		}
	}
	slices.Sort(residuals)
	n := len(residuals)
	tail := int(float64(n+1) * (1 - o.Coverage) / 2)
	return min(residuals[max(tail-1, 0)], 0), max(residuals[min(n-tail, n-1)], 0), len(names)
}
