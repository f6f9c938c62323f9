package quicktune

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"slices"

	"quicktune/predictor/forecast"
	"quicktune/search"
	"quicktune/space"
)

// PlannerMethod is [Planner] as an entry of the table of methods: with the given
// forecasts or, if m is nil, with forecasts learnt from other data sets.
func PlannerMethod(m *forecast.Model) search.Method {
	method := search.Method{
		Name: "quicktune", Title: "Quick-Tune",
		Source:  "this project; after Arango et al., Quick-Tune, ICLR 2024",
		Details: "boosted-tree forecasts of curves and costs, expected improvement within the budget",
		Uses:    search.Uses{Fidelity: true, Cost: true, MetaData: true, Budget: true, Seedless: true},
	}
	plan := func(m *forecast.Model) search.Factory {
		return func(p search.Problem) (search.Optimizer, error) { return NewPlanner(p, m) }
	}
	if m != nil {
		method.New = plan(m)
		return method
	}
	method.Learn = func(ctx context.Context, meta search.MetaData) (search.Factory, error) {
		m, err := LearnForecasts(ctx, meta)
		if err != nil {
			return nil, err
		}
		return plan(m), nil
	}
	return method
}

// LearnForecasts meta-learns the forecasts of [Planner] on training and
// validation data sets alike, since nothing is chosen on the latter. It keeps
// the model in the cache.
func LearnForecasts(ctx context.Context, meta search.MetaData) (*forecast.Model, error) {
	return learnForecasts(ctx, meta, nil)
}

// looks are what a look at data sets told of configurations, as columns of the
// forecasts.
type looks interface {
	// names lists the columns.
	names() []string
	// columns returns their values for configurations on a data set, NaN for
	// what is not known.
	columns([]space.Config, search.Task) ([][]float64, error)
}

// columnsOf are those of configurations on a data set, none without a look.
func columnsOf(seen looks, configs []space.Config, task search.Task) ([][]float64, error) {
	if seen == nil {
		return make([][]float64, len(configs)), nil
	}
	columns, err := seen.columns(configs, task)
	if err != nil {
		return nil, fmt.Errorf("quicktune: %w", err)
	}
	return columns, nil
}

// keyOf tells apart what was learnt with other columns, "" without a look.
func keyOf(seen looks, meta search.MetaData) (string, error) {
	if seen == nil {
		return "", nil
	}
	h := fnv.New64a()
	fmt.Fprintln(h, seen.names())
	for _, c := range slices.Concat(meta.Train, meta.Validation) {
		columns, err := columnsOf(seen, c.Configs, c.Task)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, c.Task.Name, columns)
	}
	return fmt.Sprintf("-%016x", h.Sum64()), nil
}

// learnForecasts is LearnForecasts with further columns, unless seen is nil.
func learnForecasts(ctx context.Context, meta search.MetaData, seen looks) (*forecast.Model, error) {
	path := ""
	if meta.Cache != "" {
		key, err := keyOf(seen, meta)
		if err != nil {
			return nil, err
		}
		path = filepath.Join(meta.Cache, fmt.Sprintf("forecasts-%d%s.zip", forecast.Version, key))
		m, err := forecast.Load(path)
		if err == nil {
			return m, nil
		}
		// A damaged file is made again.
		if !errors.Is(err, os.ErrNotExist) {
			if err := os.Remove(path); err != nil {
				return nil, err
			}
		}
	}
	hub := make(forecast.Hub)
	for _, m := range meta.Hub {
		hub[m.Name] = forecast.ModelFacts{Params: m.Params, SourceAccuracy: m.SourceAccuracy, Pixels: m.Pixels, GMACs: m.GMACs}
	}
	var names []string
	if seen != nil {
		names = seen.names()
	}
	f := forecast.NewFeatures(meta.Space, meta.ModelParam, hub, names...)
	unit := meta.UnitScale()
	var tasks []forecast.Task
	for _, part := range [][]search.Curves{meta.Train, meta.Validation} {
		for _, c := range part {
			t := forecast.Task{
				Name: c.Task.Name, Descriptors: forecast.Descriptors{Samples: c.Task.TrainSamples, Classes: c.Task.Classes},
				Scores: unitScores(unit, c.Scores), Seconds: c.Seconds, Skip: c.Untrained,
			}
			columns, err := columnsOf(seen, c.Configs, c.Task)
			if err != nil {
				return nil, err
			}
			for i, config := range c.Configs {
				row, err := f.Row(config, t.Descriptors, columns[i]...)
				if err != nil {
					return nil, fmt.Errorf("quicktune: data set %q, configuration %d: %w", t.Name, i, err)
				}
				t.Rows = append(t.Rows, row)
			}
			tasks = append(tasks, t)
		}
	}
	m, err := forecast.Train(ctx, f, meta.MaxEpochs, tasks, forecast.Options{Parallel: meta.Parallel, Progress: meta.Progress})
	if err != nil {
		return nil, err
	}
	m.Unit = unit
	m.Info.Metric = meta.Metric.Name
	for _, t := range tasks {
		m.Info.Datasets = append(m.Info.Datasets, t.Name)
	}
	slices.Sort(m.Info.Datasets)
	if path == "" {
		return m, nil
	}
	return m, m.Save(path)
}

// unitScores maps curves to [0, 1].
func unitScores(unit search.UnitScale, curves [][]float32) [][]float32 {
	if unit == (search.UnitScale{}) {
		return curves
	}
	out := make([][]float32, len(curves))
	for i, scores := range curves {
		out[i] = make([]float32, len(scores))
		for e, s := range scores {
			out[i][e] = float32(unit.Apply(float64(s)))
		}
	}
	return out
}

// Planner is Quick-Tune with forecasts in place of the deep kernel and a plan to
// the end of the budget in place of a look at the next epoch. It is the default
// method of this project.
//
// Like Algorithm 1 it trains one candidate at a time for one more epoch and
// decides anew after every epoch. It differs in what it asks of a candidate.
// Algorithm 1 asks how much the next epoch is expected to improve, per second,
// and so undervalues whatever starts slowly (warm-up, large models) and loves
// what is cheap. The planner asks what is the best that a candidate could reach
// in any number of further epochs that still fit into the budget:
//
//	max over h of  E[max(accuracy after h epochs - incumbent, 0)] x P(h epochs fit)
//
// and goes on with the candidate that could reach most. Epochs are not free,
// but a budget that is not spent is worth nothing. A loss counts as the accuracy
// that search.UnitScale makes of it.
//
// For a candidate that was never trained, the forecast is the meta-learned
// prior, moved by what the trained candidates tell of the data set: their
// deviations from their own priors are normal around the centre of the data
// set, whose distribution is known from other data sets. For a curve that has
// begun it is the meta-learned continuation.
type Planner struct {
	model     *forecast.Model
	maxEpochs int
	budget    float64
	rows      [][]float64
	priors    []forecast.Prior
	plans     []plan

	opening   []int // candidates of a warm start that are still to be tried
	clock     float64
	incumbent float64
	trials    int
	busy      int

	// The posterior of the centre of the data set.
	precision float64
	weighted  float64
}

// plan is what is known of one candidate.
type plan struct {
	scores []float64
	trial  int // -1 before the first proposal
	busy   bool
	over   bool
	never  bool // is no training, by what other data sets tell

	shift float64 // of the prior's median, by a ranking of the models
	least float64 // epochs below which training gets nowhere, by linearised dynamics

	level   float64 // best score so far, in shifted log odds
	offset  float64 // deviation of level from the prior's median
	seconds float64 // of an epoch: predicted, then the mean of what was paid
	paid    float64
	ahead   int // of the below that are known
	gain    [maxHorizons]float64
	spread  [maxHorizons]float64
}

const maxHorizons = 16

// The constants of the planner. Each is a spread of something that was measured
// on training data sets, but for the last.
const (
	// offsetSpread is the spread of a candidate's deviation from its prior
	// around the centre of the data set.
	offsetSpread = 1.3
	// costSpread is the spread of the logarithm of a predicted cost.
	costSpread = 0.3
	// leastSpread is the least spread of a continuation: forecasts of curves
	// that hardly move are more certain than they should be.
	leastSpread = 0.1
	// overrun is how far a predicted cost may exceed the time left for a
	// candidate to be considered at all.
	overrun = 2
)

// NewPlanner returns the planner for p. Scores must be accuracies or losses, and
// configurations of the space, as the model was trained on.
func NewPlanner(p search.Problem, m *forecast.Model) (*Planner, error) {
	return newPlanner(p, m, nil)
}

// newPlanner is NewPlanner for forecasts with further columns, unless seen is nil.
func newPlanner(p search.Problem, m *forecast.Model, seen looks) (*Planner, error) {
	switch {
	case p.Metric.Bounded != (m.Unit == search.UnitScale{}):
		return nil, fmt.Errorf("quicktune: the forecasts are of %s; the metric %q is another kind", kindOf(m.Unit), p.Metric.Name)
	case p.MaxEpochs > m.MaxEpochs():
		return nil, fmt.Errorf("quicktune: curves of up to %d epochs, but the forecasts end at %d", p.MaxEpochs, m.MaxEpochs())
	case len(forecast.Horizons) > maxHorizons:
		return nil, errors.New("quicktune: more horizons than a plan holds")
	}
	if p.Space == nil || p.Space.Hash() != m.Features().Space().Hash() {
		return nil, errors.New("quicktune: the forecasts were learnt on another search space")
	}
	q := &Planner{model: m, maxEpochs: p.MaxEpochs, budget: p.Budget, plans: make([]plan, len(p.Candidates))}
	if q.budget <= 0 {
		q.budget = math.Inf(1)
	}
	d := forecast.Descriptors{Samples: p.Task.TrainSamples, Classes: p.Task.Classes}
	columns, err := columnsOf(seen, p.Candidates, p.Task)
	if err != nil {
		return nil, err
	}
	for i, c := range p.Candidates {
		row, err := m.Features().Row(c, d, columns[i]...)
		if err != nil {
			return nil, fmt.Errorf("quicktune: candidate %d: %w", i, err)
		}
		q.rows = append(q.rows, row)
	}
	q.priors = m.Priors(q.rows, d)
	for i := range q.plans {
		q.plans[i] = plan{trial: -1, seconds: q.priors[i].SecondsPerEpoch, never: m.NoTraining(q.rows[i])}
	}
	mean, std := m.Centre()
	q.precision = 1 / (std * std)
	q.weighted = mean * q.precision
	return q, nil
}

// Forecast tells what is expected of a candidate before anything is trained: the
// best score of its whole curve, mapped to [0, 1] where scores are losses, and
// the seconds of an epoch.
func (q *Planner) Forecast(candidate int) (score, secondsPerEpoch float64) {
	p := &q.priors[candidate]
	mean, _ := q.model.Centre()
	return forecast.FromLogit(p.Median[q.maxEpochs-1] + q.plans[candidate].shift + mean), p.SecondsPerEpoch
}

func kindOf(unit search.UnitScale) string {
	if unit.Loss > 0 {
		return "losses"
	}
	return "accuracies in [0, 1]"
}

// Ask proposes one more epoch of the candidate that could reach most.
func (q *Planner) Ask() (search.Proposal, search.Status) {
	choice := q.choose()
	if choice < 0 {
		if q.busy > 0 {
			return search.Proposal{}, search.Wait
		}
		return search.Proposal{}, search.Done
	}
	k := &q.plans[choice]
	if k.trial < 0 {
		k.trial = q.trials
		q.trials++
	}
	k.busy = true
	q.busy++
	return search.Proposal{Trial: k.trial, Candidate: choice, Epoch: len(k.scores) + 1}, search.Ready
}

// choose returns the candidate to train next: what is left of a warm start, then
// the one that could reach most, then the leftover; -1 if there is none.
func (q *Planner) choose() int {
	if len(q.opening) > 0 {
		c := q.opening[0]
		q.opening = q.opening[1:]
		return c
	}
	choice, most := -1, 0.0
	for c := range q.plans {
		if k := &q.plans[c]; k.busy || k.over || k.never {
			continue
		}
		if value := q.promise(c); value > most {
			choice, most = c, value
		}
	}
	if choice < 0 {
		return q.leftover()
	}
	return choice
}

// promise is the largest expected improvement of the incumbent that a candidate
// could bring within the budget.
func (q *Planner) promise(c int) float64 {
	k, p := &q.plans[c], &q.priors[c]
	left := q.budget - q.clock
	most := 0.0
	if len(k.scores) == 0 {
		if k.least*k.seconds > left {
			return 0
		}
		centre, variance := q.weighted/q.precision, 1/q.precision
		for _, h := range forecast.Horizons {
			h = min(h, q.maxEpochs)
			cost := float64(h) * k.seconds
			if cost > overrun*left {
				break
			}
			above := p.Above[h-1]
			value := improvement(p.Median[h-1]+k.shift+centre, math.Sqrt(above*above+variance), q.incumbent)
			most = max(most, value*fits(cost, left))
		}
		return most
	}
	for i := range k.ahead {
		if float64(forecast.Horizons[i])*k.seconds > left {
			break
		}
		most = max(most, improvement(k.level+k.gain[i], max(k.spread[i], leastSpread), q.incumbent))
	}
	return most
}

// fits is the probability that an uncertain cost fits into the time left.
func fits(cost, left float64) float64 {
	if math.IsInf(left, 1) {
		return 1
	}
	return 1 / (1 + math.Exp(-1.7*math.Log(left/cost)/costSpread))
}

// leftover is a candidate for time that no plan has a use for: the one whose
// next epoch is cheapest, of those that are any training if there are such.
func (q *Planner) leftover() int {
	choice := -1
	for c := range q.plans {
		k := &q.plans[c]
		if k.busy || k.over || len(k.scores) >= q.maxEpochs {
			continue
		}
		if choice < 0 || before(k, &q.plans[choice]) {
			choice = c
		}
	}
	return choice
}

func before(a, b *plan) bool {
	if a.never != b.never {
		return b.never
	}
	return a.seconds < b.seconds
}

// Tell updates the forecasts of the candidate and the centre of the data set.
func (q *Planner) Tell(r search.Report) {
	k := &q.plans[r.Candidate]
	q.clock = max(q.clock, r.Clock)
	if r.Epoch > len(k.scores) {
		q.observe(r.Candidate, r)
	}
	if r.End != search.NotEnded {
		k.over = true
	}
	if r.Proposed {
		k.busy = false
		q.busy--
	}
}

func (q *Planner) observe(c int, r search.Report) {
	k, score := &q.plans[c], q.model.Unit.Apply(r.Score)
	k.scores = append(k.scores, score)
	k.paid += r.Seconds
	if k.paid > 0 {
		k.seconds = k.paid / float64(len(k.scores))
	}
	if !math.IsNaN(score) {
		q.incumbent = max(q.incumbent, score)
	}
	if k.never {
		return
	}
	best := 0.0
	for _, s := range k.scores {
		if s > best { // false for NaN
			best = s
		}
	}
	k.level = forecast.ToLogit(best)
	const precision = 1 / (offsetSpread * offsetSpread)
	if len(k.scores) == 1 {
		q.precision += precision
	}
	offset := k.level - q.priors[c].Median[len(k.scores)-1] - k.shift
	q.weighted += (offset - k.offset) * precision
	k.offset = offset
	k.ahead = q.model.Continuation(k.gain[:], k.spread[:], q.rows[c], &q.priors[c], k.scores)
}

// Nodes and weights of the Gauss-Hermite rule for a standard normal
// distribution with 8 points; the rule is symmetric.
var (
	hermiteNodes   = [4]float64{0.5390798113513751, 1.6365190424351082, 2.8024858612875416, 4.1445471861258945}
	hermiteWeights = [4]float64{0.3730122576790774, 0.11723990766175902, 0.009635220120788263, 0.00011261453837536777}
)

// improvement is E[max(a-incumbent, 0)] for an accuracy a whose shifted log odds
// are normal.
func improvement(mean, std, incumbent float64) float64 {
	var sum float64
	for i, x := range hermiteNodes {
		sum += hermiteWeights[i] * (max(forecast.FromLogit(mean+std*x)-incumbent, 0) + max(forecast.FromLogit(mean-std*x)-incumbent, 0))
	}
	return sum
}
