package baselines

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"quicktune/search"
)

// PercentileStopping is random search that gives up a trial whose best score so
// far is below what the best Percentile percent of the completed trials had at
// the same epoch. With 50 it is the median stopping rule.
//
// Source: Optuna 5.0, pruners/_percentile.py and _median.py, in the place of
// the rule of Golovin et al.: Google Vizier: A Service for Black-Box
// Optimization, KDD 2017, section 3.1.1, which compares with the median of
// running averages instead of that of scores. Optuna counts steps from where
// the user does; here from epoch 1.
type PercentileStopping struct {
	// Percentile of the completed trials that a trial has to be among, above 0
	// and below 100. 0 means 50.
	Percentile float64
	// Startup is how many trials must have completed before any is stopped; 0
	// means 5, Optuna's n_startup_trials.
	Startup int
	// Warmup is how many epochs every trial is granted; Optuna's
	// n_warmup_steps, 0.
	Warmup int
	// Interval is how many epochs lie between two checks, counted from the end
	// of the warm-up; 0 means 1, Optuna's interval_steps.
	Interval int
	// MinTrials is how many completed trials must have a score at the epoch; 0
	// means 1, Optuna's n_min_trials.
	MinTrials int
}

func (s PercentileStopping) withDefaults() PercentileStopping {
	s.Percentile = cmp.Or(s.Percentile, 50)
	s.Startup = cmp.Or(s.Startup, 5)
	s.Interval = cmp.Or(s.Interval, 1)
	s.MinTrials = cmp.Or(s.MinTrials, 1)
	return s
}

// NewPercentileStopping returns the optimiser of s.
func NewPercentileStopping(p search.Problem, s PercentileStopping) (search.Optimizer, error) {
	s = s.withDefaults()
	if !(s.Percentile > 0 && s.Percentile < 100) {
		return nil, fmt.Errorf("percentile is %g; want above 0 and below 100", s.Percentile)
	}
	rule := &percentileRule{settings: s, reached: make([][]float64, p.MaxEpochs)}
	return newStopping(p, rule, s.Warmup+1, s.Interval), nil
}

// stoppingRule decides about trials from the scores of their epochs.
type stoppingRule interface {
	// stops tells whether to give up a trial with these scores, NaN for epochs
	// that gave none, and more epochs to come.
	stops(scores []float64) bool
	// completed tells the rule of a trial that was trained to its end.
	completed(scores []float64)
}

// stopping trains candidates in random order, each until it ends or the rule
// gives it up. A trial that was given up is not continued.
type stopping struct {
	ledger
	pool     pool
	rule     stoppingRule
	first    int // epoch of the first check
	interval int // epochs between checks
	epochs   int
	scores   [][]float64 // by trial
	going    []int       // trials to go on, in order of arrival
}

func newStopping(p search.Problem, rule stoppingRule, first, interval int) *stopping {
	return &stopping{pool: newPool(p), rule: rule, first: first, interval: interval, epochs: p.MaxEpochs}
}

func (s *stopping) Ask() (search.Proposal, search.Status) {
	if len(s.going) > 0 {
		number := s.going[0]
		s.going = slices.Delete(s.going, 0, 1)
		return s.resume(number, min(s.trials[number].epoch+s.interval, s.epochs)), search.Ready
	}
	c, ok := s.pool.draw()
	if !ok {
		return s.idle()
	}
	s.scores = append(s.scores, nil)
	return s.start(c, min(s.first, s.epochs)), search.Ready
}

func (s *stopping) Tell(r search.Report) {
	scores := &s.scores[r.Trial]
	if r.Epoch > len(*scores) {
		*scores = append(*scores, r.Score)
	}
	if !s.tell(r) {
		return
	}
	switch {
	case r.End == search.Completed:
		s.rule.completed(*scores)
	case r.End == search.NotEnded && !s.rule.stops(*scores):
		s.going = append(s.going, r.Trial)
	}
}

// percentileRule is Optuna's PercentilePruner.
type percentileRule struct {
	settings PercentileStopping
	trials   int         // completed
	reached  [][]float64 // by epoch - 1: scores of completed trials, ascending
}

func (r *percentileRule) completed(scores []float64) {
	r.trials++
	for e, s := range scores {
		if math.IsNaN(s) {
			continue
		}
		at, _ := slices.BinarySearch(r.reached[e], s)
		r.reached[e] = slices.Insert(r.reached[e], at, s)
	}
}

func (r *percentileRule) stops(scores []float64) bool {
	if r.trials < r.settings.Startup {
		return false
	}
	best := math.NaN()
	for _, s := range scores {
		if !(s <= best) && !math.IsNaN(s) {
			best = s
		}
	}
	if math.IsNaN(best) {
		return true
	}
	others := r.reached[len(scores)-1]
	if len(others) < r.settings.MinTrials {
		return false
	}
	return best < quantileOf(others, 1-r.settings.Percentile/100)
}

// quantileOf interpolates linearly between neighbours, as numpy does. The
// numbers are in ascending order.
func quantileOf(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.Inf(-1)
	}
	position := q * float64(len(sorted)-1)
	i := min(int(position), len(sorted)-1)
	share := position - float64(i)
	if share == 0 {
		return sorted[i]
	}
	low, high := sorted[i], sorted[i+1]
	if math.IsInf(low, -1) {
		return low
	}
	return low + (high-low)*share
}

func medianStopping() definition {
	return stoppingDefinition(50, search.Method{
		Name:   "median-stopping",
		Title:  "Median stopping",
		Source: "Golovin et al., KDD 2017; Optuna 5.0, pruners/_median.py",
	})
}

func percentileStopping() definition {
	// 25 is the value of the example in Optuna's documentation; the argument
	// has no default.
	return stoppingDefinition(25, search.Method{
		Name:   "percentile-stopping",
		Title:  "Percentile stopping",
		Source: "Optuna 5.0, pruners/_percentile.py",
	})
}

func stoppingDefinition(percentile float64, method search.Method) definition {
	s := new(PercentileStopping)
	method.Uses = search.Uses{Fidelity: true}
	d := s.withDefaults()
	return definition{
		method: method,
		settings: []Setting{
			floatSetting(&s.Percentile, "percentile", percentile, 0.01, 99.99, "share of completed trials, in percent, that a trial has to be among"),
			intSetting(&s.Startup, "startup", d.Startup, 1, maxCandidates, "completed trials before any is stopped"),
			intSetting(&s.Warmup, "warmup", 0, 0, maxMinEpochs, "epochs that every trial is granted"),
			intSetting(&s.Interval, "interval", d.Interval, 1, maxMinEpochs, "epochs between checks"),
			intSetting(&s.MinTrials, "min-trials", d.MinTrials, 1, maxCandidates, "completed trials that must have reached the epoch"),
		},
		details: func() string {
			return fmt.Sprintf("percentile=%g, startup=%d, warmup=%d, interval=%d, min-trials=%d", s.Percentile, s.Startup, s.Warmup, s.Interval, s.MinTrials)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewPercentileStopping(p, settings) }
		},
	}
}
