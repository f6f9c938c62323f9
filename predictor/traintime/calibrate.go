package traintime

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"quicktune/internal/blas"
)

// An Observation is a measured run beside its prediction.
type Observation struct {
	// Group is the data set. Errors are judged on groups left out of the fit,
	// since runs on one data set err together.
	Group string
	// Loss, Kind of criterion and Optimizer choose the calibration; an empty
	// optimiser is "sgd".
	Loss      Loss
	Kind      Kind
	Optimizer string
	// Predicted and Actual are steps, positive and finite.
	Predicted, Actual float64
	// Depth is [Prediction.Depth].
	Depth float64
}

// CalibrationOptions say how a calibration is fitted. The zero value of a
// field is its default.
type CalibrationOptions struct {
	// Coverage is the part of runs that an interval is to hold (default 0.9).
	Coverage float64
	// Fewest is the number of observations below which a correction is only a
	// factor (default 8).
	Fewest int
}

// A Calibration corrects predicted times by what measured runs taught: for
// each loss, kind of criterion and optimiser
//
//	log actual = Intercept + Slope * log predicted + DepthSlope * depth.
//
// The depth matters because networks learn features: the further the loss
// falls, the earlier they arrive. It is plain data and can be stored as JSON.
type Calibration struct {
	Coverage float64
	Fits     []Fit
}

// A Fit is the correction for one loss, kind of criterion and optimiser.
type Fit struct {
	// Loss, Kind and Optimizer say for what; an empty optimiser is any.
	Loss      Loss
	Kind      Kind
	Optimizer string
	// Intercept, Slope and DepthSlope give the natural logarithm of steps.
	Intercept, Slope, DepthSlope float64
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

// FitCalibration learns a calibration. Every loss, kind of criterion and
// optimiser seen gets a correction, and so does every loss and kind over all
// optimisers, which serves optimisers not seen.
//
// A correction is fitted to logarithms by least absolute deviations, so that
// single wild runs do not bend it, with a little ridge towards a mere factor;
// where there are few runs it is a factor. The interval comes from the
// residuals of groups left out one at a time, as quantiles with the correction
// for their number of split conformal prediction (Vovk, Gammerman and Shafer,
// "Algorithmic Learning in a Random World", Springer 2005): too few residuals
// for the coverage give the largest ones. The interval always holds the
// corrected time. With one group alone its own residuals serve.
func FitCalibration(observations []Observation, o CalibrationOptions) (*Calibration, error) {
	o.Coverage = cmp.Or(o.Coverage, 0.9)
	o.Fewest = cmp.Or(o.Fewest, 8)
	if !(o.Coverage > 0 && o.Coverage < 1) || o.Fewest < 1 {
		return nil, fmt.Errorf("traintime: a calibration with the coverage %v and at least %d runs, want a part of 1 and a positive number", o.Coverage, o.Fewest)
	}
	if len(observations) == 0 {
		return nil, errors.New("traintime: a calibration needs measured runs, got none")
	}
	type key struct {
		loss      Loss
		kind      Kind
		optimizer string
	}
	sets := map[key][]Observation{}
	for i, x := range observations {
		if x.Loss != MSE && x.Loss != CrossEntropy || x.Kind < WithinFinal || x.Kind > StaysBelow {
			return nil, fmt.Errorf("traintime: run %d (%s): unknown %v or kind of criterion %d", i, x.Group, x.Loss, x.Kind)
		}
		if math.IsNaN(x.Depth) || math.IsInf(x.Depth, 0) {
			return nil, fmt.Errorf("traintime: run %d (%s): depth %v, want a finite number", i, x.Group, x.Depth)
		}
		for _, steps := range []float64{x.Predicted, x.Actual} {
			if !(steps > 0) || math.IsInf(steps, 0) {
				return nil, fmt.Errorf("traintime: run %d (%s): predicted %v and actual %v steps, want positive finite numbers", i, x.Group, x.Predicted, x.Actual)
			}
		}
		name := Setting{Optimizer: strings.ToLower(x.Optimizer)}.optimizer()
		for _, k := range []key{{x.Loss, x.Kind, name}, {x.Loss, x.Kind, ""}} {
			sets[k] = append(sets[k], x)
		}
	}
	c := &Calibration{Coverage: o.Coverage}
	for k, set := range sets {
		fit := fitLine(set, o.Fewest)
		fit.Loss, fit.Kind, fit.Optimizer = k.loss, k.kind, k.optimizer
		fit.Low, fit.High, fit.Groups = leaveOut(set, o)
		c.Fits = append(c.Fits, fit)
	}
	slices.SortFunc(c.Fits, func(a, b Fit) int {
		return cmp.Or(cmp.Compare(a.Loss, b.Loss), cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Optimizer, b.Optimizer))
	})
	return c, nil
}

// Apply corrects a predicted time of a run with the given loss, kind of
// criterion, optimiser and depth. It fails where no run with the loss and kind
// has been seen or the time is not positive and finite.
func (c *Calibration) Apply(loss Loss, kind Kind, optimizer string, predicted, depth float64) (Interval, error) {
	if !(predicted > 0) || math.IsInf(predicted, 0) || math.IsNaN(depth) || math.IsInf(depth, 0) {
		return Interval{}, fmt.Errorf("traintime: no calibration of %v steps at the depth %v", predicted, depth)
	}
	name := Setting{Optimizer: strings.ToLower(optimizer)}.optimizer()
	for _, want := range []string{name, ""} {
		for _, f := range c.Fits {
			if f.Loss != loss || f.Kind != kind || f.Optimizer != want {
				continue
			}
			center := f.at(predicted, depth)
			return Interval{
				Steps: math.Exp(center), Low: math.Exp(center + f.Low), High: math.Exp(center + f.High), Exact: want != "",
			}, nil
		}
	}
	return Interval{}, fmt.Errorf("traintime: no measured run with %v and criterion %d to calibrate by", loss, kind)
}

// at returns the corrected logarithm.
func (f Fit) at(predicted, depth float64) float64 {
	return f.Intercept + f.Slope*math.Log(predicted) + f.DepthSlope*depth
}

// fitLine fits a correction by iteratively reweighted least squares, which
// approaches least absolute deviations.
func fitLine(set []Observation, fewest int) Fit {
	fit := Fit{Slope: 1, Observations: len(set)}
	n := float64(len(set))
	ratios := make([]float64, len(set)) // log actual - log predicted
	features := make([][2]float64, len(set))
	var mean, variance [2]float64
	for i, o := range set {
		features[i] = [2]float64{math.Log(o.Predicted), o.Depth}
		ratios[i] = math.Log(o.Actual) - features[i][0]
		for j, x := range features[i] {
			mean[j] += x / n
		}
	}
	for i := range features {
		for j, x := range features[i] {
			variance[j] += (x - mean[j]) * (x - mean[j]) / n
		}
	}
	sorted := slices.Sorted(slices.Values(ratios))
	fit.Intercept = quantile(sorted, 0.5)
	if len(set) < fewest {
		return fit
	}
	const rounds, floor, ridge = 100, 1e-6, 1e-3
	solution := []float64{fit.Intercept, 0, 0}
	for range rounds {
		gram, right := make([]float64, 9), make([]float64, 3)
		total := 0.0
		for i := range set {
			z := [3]float64{1, standard(features[i][0], mean[0], variance[0]), standard(features[i][1], mean[1], variance[1])}
			w := 1 / max(math.Abs(ratios[i]-solution[0]-solution[1]*z[1]-solution[2]*z[2]), floor)
			total += w
			for a := range 3 {
				right[a] += w * z[a] * ratios[i]
				for b := range 3 {
					gram[a*3+b] += w * z[a] * z[b]
				}
			}
		}
		gram[4] += ridge * total
		gram[8] += ridge * total
		if blas.Cholesky(gram, 3, 3) != nil {
			break
		}
		blas.CholeskySolve(3, 1, gram, 3, right, 1)
		solution = right
	}
	var slopes [2]float64
	for j := range slopes {
		if variance[j] > flatVariance {
			slopes[j] = solution[j+1] / math.Sqrt(variance[j])
		}
	}
	fit.Slope, fit.DepthSlope = 1+slopes[0], slopes[1]
	fit.Intercept = solution[0] - slopes[0]*mean[0] - slopes[1]*mean[1]
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
			residuals = append(residuals, math.Log(x.Actual)-fit.at(x.Predicted, x.Depth))
		}
	}
	slices.Sort(residuals)
	n := len(residuals)
	tail := int(float64(n+1) * (1 - o.Coverage) / 2)
	return min(residuals[max(tail-1, 0)], 0), max(residuals[min(n-tail, n-1)], 0), len(names)
}
