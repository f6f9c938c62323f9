package quicktune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	// Filter leaves out candidates that cannot get far in the time that is left:
	// of the curves of other data sets with the same optimiser and a predicted
	// time as long or longer, at most one in twenty was by then half as far
	// above chance as the best curve of its data set.
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
		var before past
		if o.Filter {
			if before, err = x.past(meta); err != nil {
				return nil, fmt.Errorf("quicktune: %w", err)
			}
		}
		var column looks
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
			if o.Filter {
				epochs, err := x.epochs(p.Candidates, p.Task)
				if err != nil {
					return nil, fmt.Errorf("quicktune: %w", err)
				}
				for i, c := range p.Candidates {
					if !math.IsNaN(epochs[i]) {
						q.plans[i].least = before.least(x.optimizer(c), epochs[i])
					}
				}
			}
			q.clock = seconds
			return &rankedPlanner{Planner: q, seconds: seconds}, nil
		}, nil
	}
	return m
}

// timing predicts the training times of configurations.
type timing struct {
	times                             TrainingTimes
	model, rate, batch, opt, momentum int
}

const (
	// nesterov is the momentum that training with the optimiser "sgd" has.
	nesterov = 0.9
	// usualBatch is the size of batches where the space has none.
	usualBatch = 32
)

func newTiming(t TrainingTimes, meta search.MetaData) (*timing, error) {
	if meta.Space == nil || meta.ModelParam == "" || meta.Space.Index(meta.ModelParam) < 0 {
		return nil, errors.New("no hyperparameter names the pretrained model, so its training time is not known")
	}
	x := &timing{
		times: t, model: meta.Space.Index(meta.ModelParam),
		rate: meta.Space.Index("lr"), batch: meta.Space.Index("batch_size"), opt: meta.Space.Index("opt"), momentum: meta.Space.Index("momentum"),
	}
	if x.rate < 0 {
		return nil, errors.New("training times need the hyperparameter lr")
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
		batch := float64(usualBatch)
		if t.batch >= 0 {
			batch = c[t.batch].Num()
		}
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
	epochs, err := t.epochs(configs, task)
	for i, e := range epochs {
		out[i] = []float64{math.Log(e)}
	}
	return out, err
}

func (t *timing) names() []string { return []string{"log predicted epochs"} }

const (
	// halfway is the part of the rise above chance, to the best accuracy of any
	// curve of the data set, that a curve is timed at, as the prediction is at
	// half of what a head can learn.
	halfway = 0.5
	// hasty is the part of past curves that are allowed to have been faster than
	// what candidates take at least.
	hasty = 0.05
	// fewestPast is how many past curves tell a time.
	fewestPast = 20
)

// pastTime is the time of a curve of another data set, in epochs; taken is +Inf
// for one that never got halfway.
type pastTime struct{ predicted, taken float64 }

// past are the times of other data sets by optimiser, the longest predictions
// first.
type past map[string][]pastTime

// past collects times. Unlike a calibration of the curves that got halfway it
// knows of those that did not.
func (t *timing) past(meta search.MetaData) (past, error) {
	if !meta.Metric.Bounded {
		return nil, fmt.Errorf("the metric %q is no accuracy: how much of it is chance is not known", meta.Metric.Name)
	}
	out := past{}
	for _, set := range slices.Concat(meta.Train, meta.Validation) {
		epochs, err := t.epochs(set.Configs, set.Task)
		if err != nil {
			return nil, err
		}
		reached := halves(set.Scores, set.Task.Classes)
		for i, predicted := range epochs {
			if math.IsNaN(predicted) || set.Untrained != nil && set.Untrained[i] {
				continue
			}
			seen := pastTime{predicted, math.Inf(1)}
			if reached[i] > 0 {
				seen.taken = float64(reached[i])
			}
			name := t.optimizer(set.Configs[i])
			out[name] = append(out[name], seen)
		}
	}
	for _, times := range out {
		slices.SortStableFunc(times, func(a, b pastTime) int { return cmp.Compare(b.predicted, a.predicted) })
	}
	return out, nil
}

// least returns how many epochs all but few took of the curves whose predicted
// time was as long or longer; 0 if there are too few to tell.
func (p past) least(optimizer string, predicted float64) float64 {
	times := p[optimizer]
	n := 0
	for n < len(times) && times[n].predicted >= predicted {
		n++
	}
	if n = max(n, fewestPast); n > len(times) {
		return 0
	}
	taken := make([]float64, n)
	for i, x := range times[:n] {
		taken[i] = x.taken
	}
	slices.Sort(taken)
	return taken[int(hasty*float64(n))]
}

// halves returns the epochs at which curves of accuracies are half of the rise
// above chance, 0 for those that never are.
func halves(curves [][]float32, classes int) []int {
	best := 0.0
	for _, scores := range curves {
		for _, s := range scores {
			if float64(s) > best { // false for NaN
				best = float64(s)
			}
		}
	}
	chance := 1 / float64(max(classes, 2))
	half := chance + halfway*(best-chance)
	out := make([]int, len(curves))
	for i, scores := range curves {
		out[i] = 1 + slices.IndexFunc(scores, func(s float32) bool { return float64(s) >= half })
	}
	return out
}
