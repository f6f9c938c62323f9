package quicktune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"

	"quicktune/predictor/traintime"
	"quicktune/search"
	"quicktune/space"
)

// TrainingTimes tells how fast the heads of pretrained networks are trained on a
// data set, from one pass of each over a few images.
type TrainingTimes interface {
	// Name says how.
	Name() string
	// Heads returns one for each model that was looked at, and the seconds that
	// looking at the data set takes, for all of them together.
	Heads(dataset string) (heads map[string]traintime.Head, seconds float64, err error)
}

// TimedOptions say what a [Planner] does with predicted training times.
type TimedOptions struct {
	// Feature makes the logarithm of the predicted epochs a column of the
	// forecasts of scores and costs.
	Feature bool
	// Filter leaves out candidates that cannot finish in the time that is left:
	// of which even the lower end of an interval of the predicted time, that
	// holds nine of ten curves, is longer. The interval comes from what the
	// curves of other data sets took to come within 5 % of their best accuracy.
	Filter bool
}

// TimedPlannerMethod is [PlannerMethod] with training times that are predicted
// without training. The time of looking at the data set is part of the search.
func TimedPlannerMethod(t TrainingTimes, o TimedOptions) search.Method {
	m := PlannerMethod(nil)
	m.Title += " with training times"
	m.Details += fmt.Sprintf("; training times by %s, feature=%t, filter=%t", t.Name(), o.Feature, o.Filter)
	m.Learn = func(ctx context.Context, meta search.MetaData) (search.Factory, error) {
		x, err := newTiming(t, meta)
		if err != nil {
			return nil, fmt.Errorf("quicktune: %w", err)
		}
		var calibration *traintime.Calibration
		if o.Filter {
			if calibration, err = x.calibrate(meta); err != nil {
				return nil, fmt.Errorf("quicktune: %w", err)
			}
		}
		var column *timing
		if o.Feature {
			column = x
		}
		forecasts, err := learnForecasts(ctx, meta, column)
		if err != nil {
			return nil, err
		}
		return func(p search.Problem) (search.Optimizer, error) {
			q, err := newPlanner(p, forecasts, column)
			if err != nil {
				return nil, err
			}
			_, seconds, err := t.Heads(p.Task.Name)
			if err != nil {
				return nil, fmt.Errorf("quicktune: %w", err)
			}
			if calibration != nil {
				if err := q.require(x, calibration, p); err != nil {
					return nil, err
				}
			}
			q.clock = seconds
			return &rankedPlanner{Planner: q, seconds: seconds}, nil
		}, nil
	}
	return m
}

// require sets how many epochs candidates take at least.
func (q *Planner) require(t *timing, c *traintime.Calibration, p search.Problem) error {
	epochs, err := t.epochs(p.Candidates, p.Task)
	if err != nil {
		return fmt.Errorf("quicktune: %w", err)
	}
	for i, predicted := range epochs {
		if !(predicted > 0) || math.IsInf(predicted, 0) {
			continue
		}
		interval, err := c.Apply(traintime.CrossEntropy, traintime.WithinFinal, t.optimizer(p.Candidates[i]), predicted, 0)
		if err != nil {
			return fmt.Errorf("quicktune: %w", err)
		}
		q.plans[i].least = interval.Low
	}
	return nil
}

// timing predicts the training times of configurations.
type timing struct {
	times                             TrainingTimes
	space                             *space.Space
	model, rate, batch, opt, momentum int
}

// nesterov is the momentum that training with the optimiser "sgd" has.
const nesterov = 0.9

func newTiming(t TrainingTimes, meta search.MetaData) (*timing, error) {
	if meta.Space == nil || meta.ModelParam == "" || meta.Space.Index(meta.ModelParam) < 0 {
		return nil, errors.New("no hyperparameter names the pretrained model, so its training time is not known")
	}
	x := &timing{
		times: t, space: meta.Space, model: meta.Space.Index(meta.ModelParam),
		rate: meta.Space.Index("lr"), batch: meta.Space.Index("batch_size"), opt: meta.Space.Index("opt"), momentum: meta.Space.Index("momentum"),
	}
	if x.rate < 0 || x.batch < 0 {
		return nil, errors.New("training times need the hyperparameters lr and batch_size")
	}
	return x, nil
}

func (t *timing) optimizer(c space.Config) string {
	if t.opt < 0 {
		return ""
	}
	return c[t.opt].Text()
}

// epochs returns the predicted epochs of configurations, NaN for models that
// nobody looked at. Warm-up and schedules, which could only slow training down,
// are left out.
func (t *timing) epochs(configs []space.Config, task search.Task) ([]float64, error) {
	heads, _, err := t.times.Heads(task.Name)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(configs))
	for i, c := range configs {
		out[i] = math.NaN()
		head, known := heads[c[t.model].Text()]
		batch := c[t.batch].Num()
		if !known || !(batch >= 1) || task.TrainSamples < 1 {
			continue
		}
		s := traintime.Setting{LearningRate: c[t.rate].Num(), Optimizer: t.optimizer(c)}
		if s.Optimizer == "sgd" {
			s.Momentum = nesterov
		} else if t.momentum >= 0 && c[t.momentum].Num() > 0 {
			s.Momentum = c[t.momentum].Num()
		}
		out[i] = head.Steps(s) / math.Ceil(float64(task.TrainSamples)/batch)
	}
	return out, nil
}

// columns returns what the forecasts see of configurations: the logarithm of the
// epochs.
func (t *timing) columns(configs []space.Config, task search.Task) ([][]float64, error) {
	out := make([][]float64, len(configs))
	if t == nil {
		return out, nil
	}
	epochs, err := t.epochs(configs, task)
	for i, e := range epochs {
		out[i] = []float64{math.Log(e)}
	}
	return out, err
}

// names lists the columns.
func (t *timing) names() []string {
	if t == nil {
		return nil
	}
	return []string{"log predicted epochs"}
}

// key tells apart what was learnt with different times, "" without any.
func (t *timing) key(meta search.MetaData) (string, error) {
	if t == nil {
		return "", nil
	}
	h := fnv.New64a()
	for _, c := range slices.Concat(meta.Train, meta.Validation) {
		columns, err := t.columns(c.Configs, c.Task)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, c.Task.Name, columns)
	}
	return fmt.Sprintf("-%016x", h.Sum64()), nil
}

const (
	// near is how close to its best accuracy a curve has to be, in units of its
	// rise above chance, to count as trained.
	near = 0.05
	// leastRise is the rise below which a curve learnt nothing and tells nothing
	// of the time that takes.
	leastRise = 0.05
)

// calibrate learns what predicted times mean from the curves of other data sets.
func (t *timing) calibrate(meta search.MetaData) (*traintime.Calibration, error) {
	if !meta.Metric.Bounded {
		return nil, fmt.Errorf("the metric %q is no accuracy: when a curve is near its best is not known", meta.Metric.Name)
	}
	var seen []traintime.Observation
	for _, set := range slices.Concat(meta.Train, meta.Validation) {
		epochs, err := t.epochs(set.Configs, set.Task)
		if err != nil {
			return nil, err
		}
		for i, predicted := range epochs {
			actual, learnt := trained(set.Scores[i], set.Task.Classes)
			if !learnt || !(predicted > 0) || math.IsInf(predicted, 0) || set.Untrained != nil && set.Untrained[i] {
				continue
			}
			seen = append(seen, traintime.Observation{
				Group: set.Task.Name, Loss: traintime.CrossEntropy, Kind: traintime.WithinFinal,
				Optimizer: t.optimizer(set.Configs[i]), Predicted: predicted, Actual: float64(actual),
			})
		}
	}
	return traintime.FitCalibration(seen, traintime.CalibrationOptions{})
}

// trained returns the first epoch at which a curve of accuracies is near its
// best, and whether it learnt anything.
func trained(scores []float32, classes int) (epoch int, learnt bool) {
	best := 0.0
	for _, s := range scores {
		if float64(s) > best { // false for NaN
			best = float64(s)
		}
	}
	rise := best - 1/float64(cmp.Or(classes, math.MaxInt))
	if rise < leastRise {
		return 0, false
	}
	for e, s := range scores {
		if float64(s) >= best-near*rise {
			return e + 1, true
		}
	}
	return 0, false
}
