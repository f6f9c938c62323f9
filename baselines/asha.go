package baselines

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"quicktune/internal/stream"
	"quicktune/search"
)

// ASHA is successive halving without waiting: a trial is compared with those
// that reached its rung before it, whenever a worker is free.
//
// The rungs are MinEpochs times the powers of Eta below the last epoch, and the
// last epoch. The paper assumes that the last epoch is itself such a power;
// where it is not, leaving it out would train no curve to its end.
//
// Source: Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht and
// Talwalkar: A System for Massively Parallel Hyperparameter Tuning, MLSys 2020,
// Algorithm 2.
type ASHA struct {
	// Type says whether trials wait at a rung to be promoted or go on at
	// once. The default is the paper's, Promotion.
	Type ASHAType
	// Rule says which trials of a rung are good enough. The default is the
	// paper's, TopFraction.
	Rule ASHARule
	// Eta is the reduction factor, 2 to 1000. 0 means 3, syne-tune's; the
	// paper's experiments use 4.
	Eta int
	// MinEpochs is the first rung, at most the last epoch. 0 means 1.
	MinEpochs int
	// MaxEpochs is the last epoch that a trial is trained to, at most
	// Problem.MaxEpochs, which is what 0 means.
	MaxEpochs int
	// Brackets is how many different first rungs new trials have. A trial of
	// bracket s passes over the first s rungs. The bracket is drawn with a
	// probability proportional to L/((L-s) r_s), where L is the number of
	// rungs and r_s the epoch of rung s, so that brackets hold as many trials
	// as in Hyperband; the rungs are shared between brackets. Both as in
	// syne-tune 0.13 (searchers/bracket_distribution.py, schedulers/hyperband.py).
	// At most as many brackets as there are rungs are used. 0 means 1.
	Brackets int
}

// ASHAType says when a trial goes beyond a rung.
type ASHAType uint8

// The types.
const (
	// Promotion pauses every trial at its rung. A free worker takes the best
	// trial that is good enough and not yet promoted, from the highest rung
	// downwards, and starts a new trial at the first rung where there is none.
	Promotion ASHAType = iota
	// Stopping lets a trial that is good enough among those that reached the
	// rung so far, itself included, go on at once, and ends every other for
	// good.
	Stopping
)

// ASHARule says which trials of a rung are good enough.
type ASHARule uint8

// The rules, for a rung that n trials have reached.
const (
	// TopFraction takes the best floor(n/Eta), as the paper does. With
	// Stopping it takes at least the best one, and those that equal the last
	// one taken, as Optuna's SuccessiveHalvingPruner does; otherwise the
	// first Eta-1 trials would all end at the first rung.
	TopFraction ASHARule = iota
	// Quantile takes scores that reach the linearly interpolated quantile
	// above which lies the share r_j/r_(j+1) of a rung at epoch r_j, if the
	// next one is at r_(j+1). It promotes none of fewer than two trials and
	// never stops a first one. That is syne-tune 0.13
	// (schedulers/hyperband_promotion.py, hyperband_stopping.py). The share
	// is 1/Eta but for the last rung: 27/50 with Eta 3 and 50 epochs. The
	// position is exact here; syne-tune's, for scores that are maximised, is
	// subject to rounding where it should fall exactly on a trial's score.
	Quantile
)

// NewASHA returns the optimiser of s, or an error if a setting is out of its
// range for the problem.
func NewASHA(p search.Problem, s ASHA) (search.Optimizer, error) {
	a, err := newAsynchronous(p, s)
	if err != nil {
		return nil, err
	}
	return a, nil
}

func newAsynchronous(p search.Problem, s ASHA) (*asynchronous, error) {
	s.Eta = cmp.Or(s.Eta, defaultEta)
	s.MinEpochs = cmp.Or(s.MinEpochs, 1)
	s.MaxEpochs = cmp.Or(s.MaxEpochs, p.MaxEpochs)
	s.Brackets = cmp.Or(s.Brackets, 1)
	err := cmp.Or(
		checkRange("type", int(s.Type), int(Promotion), int(Stopping)),
		checkRange("rule", int(s.Rule), int(TopFraction), int(Quantile)),
		checkRange("max-epochs", s.MaxEpochs, 1, p.MaxEpochs),
		checkRange("brackets", s.Brackets, 1, maxBrackets),
	)
	if err != nil {
		return nil, err
	}
	p.MaxEpochs = s.MaxEpochs
	if err := checkRungSettings(p, s.Eta, s.MinEpochs); err != nil {
		return nil, err
	}

	levels := rungLevels(s.MaxEpochs, s.MinEpochs, s.Eta)
	a := &asynchronous{
		settings: s,
		pool:     newPool(p),
		brackets: stream.New("baselines/asha/brackets", p.Seed),
		last:     s.MaxEpochs,
	}
	a.draw = a.pool.draw
	for i, epoch := range levels[:len(levels)-1] {
		a.rungs = append(a.rungs, rung{epoch: epoch, following: levels[i+1]})
	}
	total := 0.0
	for i, epoch := range levels[:min(s.Brackets, len(levels))] {
		total += float64(len(levels)) / float64((len(levels)-i)*epoch)
		a.shares = append(a.shares, total)
	}
	return a, nil
}

// maxBrackets is more than any curve has rungs.
const maxBrackets = 64

// asynchronous is the optimiser of ASHA.
type asynchronous struct {
	ledger
	settings ASHA
	pool     pool
	brackets *rand.Rand
	shares   []float64 // of the brackets, cumulated
	rungs    []rung    // at which trials are compared, shortest first
	last     int       // the last epoch, at which nothing is decided
	heading  []int32   // by trial: the rung it is trained to, len(rungs) for the last epoch
	survived []int     // Stopping: trials to go on at once, in order of arrival

	// For methods that choose candidates by a model: it takes one out of the
	// pool.
	draw func() (candidate int, ok bool)
}

// rung holds the trials that reached an epoch.
type rung struct {
	epoch     int
	following int     // the epoch of the next rung, or the last one
	reached   []place // best first, equal scores in order of arrival
	first     int     // the first of reached that is not promoted
}

type place struct {
	score    float64
	trial    int
	promoted bool
}

func (a *asynchronous) Ask() (search.Proposal, search.Status) {
	if len(a.survived) > 0 {
		number := a.survived[0]
		a.survived = slices.Delete(a.survived, 0, 1)
		return a.resume(number, a.epochOf(a.heading[number])), search.Ready
	}
	if a.settings.Type == Promotion {
		if number, ok := a.promote(); ok {
			return a.resume(number, a.epochOf(a.heading[number])), search.Ready
		}
	}
	c, ok := a.draw()
	if !ok {
		return a.idle()
	}
	level := a.drawBracket()
	a.heading = append(a.heading, level)
	return a.start(c, a.epochOf(level)), search.Ready
}

func (a *asynchronous) Tell(r search.Report) {
	if !a.tell(r) {
		return
	}
	if a.settings.Type == Promotion {
		a.enter(r.Trial)
		return
	}
	a.stopOrGoOn(r.Trial)
}

// epochOf returns the epoch of a level.
func (a *asynchronous) epochOf(level int32) int {
	if int(level) == len(a.rungs) {
		return a.last
	}
	return a.rungs[level].epoch
}

// drawBracket returns the level of a new trial's first comparison.
func (a *asynchronous) drawBracket() int32 {
	if len(a.shares) == 1 {
		return 0
	}
	u := a.brackets.Float64() * a.shares[len(a.shares)-1]
	for s, upTo := range a.shares {
		if u < upTo {
			return int32(s)
		}
	}
	return int32(len(a.shares) - 1)
}

// enter puts a trial into the rung that it heads for; nil if that is the last
// epoch.
func (a *asynchronous) enter(number int) *rung {
	level := int(a.heading[number])
	if level == len(a.rungs) {
		return nil
	}
	r := &a.rungs[level]
	r.insert(a.trials[number].score, number)
	return r
}

// promote takes the trial that a free worker should train further, from the
// highest rung downwards. A curve that has ended moves up without a worker.
func (a *asynchronous) promote() (number int, ok bool) {
	for level := len(a.rungs) - 1; level >= 0; {
		number, ok := a.rungs[level].promote(a.settings.Rule, a.settings.Eta)
		if !ok {
			level--
			continue
		}
		a.heading[number] = int32(level + 1)
		if a.trials[number].progress == paused {
			return number, true
		}
		if a.enter(number) != nil {
			level++
		}
	}
	return 0, false
}

// stopOrGoOn compares a trial that reached its rung. A curve that has ended is
// compared at all the rungs that it would have reached.
func (a *asynchronous) stopOrGoOn(number int) {
	t := &a.trials[number]
	for {
		r := a.enter(number)
		if r == nil || !r.keeps(t.score, a.settings.Rule, a.settings.Eta) {
			return
		}
		a.heading[number]++
		if t.progress == paused {
			a.survived = append(a.survived, number)
			return
		}
	}
}

// insert adds a trial behind those with an equal or better score.
func (r *rung) insert(score float64, number int) {
	at, _ := slices.BinarySearchFunc(r.reached, score, func(p place, score float64) int {
		if p.score >= score {
			return -1
		}
		return 1
	})
	r.reached = slices.Insert(r.reached, at, place{score: score, trial: number})
	r.first = min(r.first, at)
}

// promote takes the best trial that is good enough and not yet promoted.
func (r *rung) promote(rule ASHARule, eta int) (number int, ok bool) {
	for r.first < len(r.reached) && r.reached[r.first].promoted {
		r.first++
	}
	if r.first == len(r.reached) {
		return 0, false
	}
	best := &r.reached[r.first]
	switch {
	case best.score == worst:
		return 0, false
	case rule == TopFraction && r.first >= len(r.reached)/eta:
		return 0, false
	case rule == Quantile && (len(r.reached) < 2 || best.score < r.quantile()):
		return 0, false
	}
	best.promoted = true
	return best.trial, true
}

// keeps tells whether a trial that has just been inserted may go on.
func (r *rung) keeps(score float64, rule ASHARule, eta int) bool {
	if score == worst {
		return false
	}
	if rule == TopFraction {
		return score >= r.reached[max(len(r.reached)/eta, 1)-1].score
	}
	return len(r.reached) < 2 || score >= r.quantile()
}

// quantile returns the score above which the share epoch/following of the rung
// lies, interpolated linearly between neighbours. The position is computed in
// whole numbers, so that it is exact where it falls on a score. Below the last
// number there is no limit.
func (r *rung) quantile() float64 {
	position := (len(r.reached) - 1) * r.epoch
	i, rest := position/r.following, position%r.following
	above := r.reached[i].score
	if rest == 0 {
		return above
	}
	below := r.reached[i+1].score
	if below == worst {
		return worst
	}
	return above + (below-above)*float64(rest)/float64(r.following)
}

func asha() definition {
	return ashaDefinition(ASHA{}, search.Method{
		Name:   "asha",
		Title:  "ASHA",
		Source: "Li et al., MLSys 2020, Algorithm 2",
	})
}

func ashaStopping() definition {
	return ashaDefinition(ASHA{Type: Stopping}, search.Method{
		Name:   "asha-stopping",
		Title:  "ASHA (stopping)",
		Source: "stopping variant of Li et al., MLSys 2020, with the rule of Optuna's SuccessiveHalvingPruner",
	})
}

func ashaSyneTunePromotion() definition {
	return ashaDefinition(ASHA{Rule: Quantile}, search.Method{
		Name:   "asha-synetune-promotion",
		Title:  "ASHA (syne-tune, promotion)",
		Source: "syne-tune 0.13, schedulers/hyperband_promotion.py",
	})
}

func ashaSyneTuneStopping() definition {
	return ashaDefinition(ASHA{Type: Stopping, Rule: Quantile}, search.Method{
		Name:   "asha-synetune-stopping",
		Title:  "ASHA (syne-tune, stopping)",
		Source: "syne-tune 0.13, schedulers/hyperband_stopping.py",
	})
}

func ashaDefinition(variant ASHA, method search.Method) definition {
	s := &variant
	method.Uses = search.Uses{Fidelity: true}
	return definition{
		method: method,
		settings: []Setting{
			etaSetting(&s.Eta),
			minEpochsSetting(&s.MinEpochs),
			intSetting(&s.MaxEpochs, "max-epochs", 0, 0, longestCurve, "last epoch of a trial; 0: the longest curve's"),
			intSetting(&s.Brackets, "brackets", 1, 1, maxBrackets, "different first rungs"),
		},
		details: func() string {
			kind, rule := "promotion", "floor(n/eta)"
			if s.Type == Stopping {
				kind, rule = "stopping", "max(1, floor(n/eta))"
			}
			if s.Rule == Quantile {
				rule = "quantile"
			}
			upTo := ""
			if s.MaxEpochs > 0 {
				upTo = fmt.Sprintf(" to %d", s.MaxEpochs)
			}
			return fmt.Sprintf("eta=%d, %s, %s, from epoch %d%s, brackets=%d", s.Eta, kind, rule, s.MinEpochs, upTo, s.Brackets)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewASHA(p, settings) }
		},
	}
}
