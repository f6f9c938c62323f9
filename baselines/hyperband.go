package baselines

import (
	"cmp"
	"fmt"
	"math"

	"quicktune/search"
)

// Hyperband runs brackets of successive halving that trade the number of
// candidates against the epochs each of them gets at first, from many for a
// short time to a few for whole curves, and starts over with candidates not
// tried yet until none is left. See [SuccessiveHalving] for how a bracket
// serves several workers and what it does when the pool runs empty.
//
// Source: Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar: Hyperband: A Novel
// Bandit-Based Approach to Hyperparameter Optimization, JMLR 18(185), 2018,
// Algorithm 1.
type Hyperband struct {
	// Eta is the reduction factor, 2 to 1000. 0 means 3, as in the paper's
	// experiments.
	Eta int
	// MinEpochs is the smallest resource that a trial may get, the paper's
	// unit of resource, at most Problem.MaxEpochs. 0 means 1.
	MinEpochs int
	// Variant is whose table of brackets is run. The default is the paper's.
	Variant HyperbandVariant
}

// HyperbandVariant names one of the definitions of Hyperband's brackets that
// are in use. They differ in how many candidates a bracket holds and at which
// epochs its rungs lie.
type HyperbandVariant uint8

// The variants. With R = MaxEpochs, r = MinEpochs and s from s_max down to 0:
const (
	// PaperBrackets is Algorithm 1, also SMAC's: s_max = floor(log_eta(R/r)),
	// n = ceil((s_max+1)/(s+1) eta^s), rung i holds floor(n/eta^i) trials at
	// resource R eta^(i-s).
	PaperBrackets HyperbandVariant = iota
	// HpBandSterBrackets is that of HpBandSter 0.7.4
	// (optimizers/hyperband.py) and DEHB: n = floor((s_max+1)/(s+1)) eta^s,
	// otherwise as the paper's. Survivors are trained on in the order in
	// which they were drawn. Unlike HpBandSter, places of failed trials are
	// not given to new candidates.
	HpBandSterBrackets
	// SyneTuneBrackets is that of syne-tune 0.13
	// (schedulers/synchronous/hyperband_rung_system.py): the rungs are the
	// whole epochs r eta^j below R, and R, so that s_max rounds up; rung i of
	// bracket s holds ceil((s_max+1)/(s+1) eta^(s-i)) trials. Unlike
	// syne-tune, places for which too few trials gave a number stay empty.
	SyneTuneBrackets
)

// Bracket is one run of successive halving: its rungs, shortest first.
type Bracket struct {
	Rungs []Rung
}

// Rung is one comparison of a bracket.
type Rung struct {
	N        int     // trials that are trained to the rung
	Resource float64 // epochs as the definition has them, perhaps a fraction
	Epoch    int     // Resource rounded to the nearest epoch, halves up
}

// Brackets returns the table of the variant in the order in which its brackets
// run, for curves of maxEpochs in [1, 2^30], a smallest resource of minEpochs in
// [1, maxEpochs], and eta of at least 2. It is computed in whole numbers: the
// quotient of logarithms is not, and log(243)/log(3) comes out below 5.
func (v HyperbandVariant) Brackets(maxEpochs, minEpochs, eta int) []Bracket {
	if v == SyneTuneBrackets {
		return syneTuneBrackets(maxEpochs, minEpochs, eta)
	}
	smax := 0
	for power(eta, smax+1) <= maxEpochs/minEpochs {
		smax++
	}
	var table []Bracket
	for s := smax; s >= 0; s-- {
		n := (smax + 1) / (s + 1) * power(eta, s)
		if v == PaperBrackets {
			n = ceilDiv((smax+1)*power(eta, s), s+1)
		}
		var b Bracket
		for i := 0; i <= s; i++ {
			r := float64(maxEpochs) / float64(power(eta, s-i))
			b.Rungs = append(b.Rungs, Rung{N: n / power(eta, i), Resource: r, Epoch: int(math.Round(r))})
		}
		table = append(table, b)
	}
	return table
}

func syneTuneBrackets(maxEpochs, minEpochs, eta int) []Bracket {
	levels := rungLevels(maxEpochs, minEpochs, eta)
	smax := len(levels) - 1
	var table []Bracket
	for s := smax; s >= 0; s-- {
		var b Bracket
		for i, epoch := range levels[smax-s:] {
			n := ceilDiv((smax+1)*power(eta, s-i), s+1)
			b.Rungs = append(b.Rungs, Rung{N: n, Resource: float64(epoch), Epoch: epoch})
		}
		table = append(table, b)
	}
	return table
}

// ceilDiv returns a/b rounded up, for a >= 0 and b > 0.
func ceilDiv(a, b int) int { return (a + b - 1) / b }

// NewHyperband returns the optimiser of s, or an error if a setting is out of
// its range for the problem.
func NewHyperband(p search.Problem, s Hyperband) (search.Optimizer, error) {
	s.Eta = cmp.Or(s.Eta, defaultEta)
	s.MinEpochs = cmp.Or(s.MinEpochs, 1)
	if err := checkRungSettings(p, s.Eta, s.MinEpochs); err != nil {
		return nil, err
	}
	if err := checkRange("variant", int(s.Variant), int(PaperBrackets), int(SyneTuneBrackets)); err != nil {
		return nil, err
	}
	order := bestFirst
	if s.Variant == HpBandSterBrackets {
		order = asDrawn
	}
	return newSynchronous(p, s.Variant.Brackets(p.MaxEpochs, s.MinEpochs, s.Eta), order), nil
}

func hyperbandPaper() definition {
	return hyperband(PaperBrackets, "brackets of Algorithm 1", search.Method{
		Name:   "hyperband",
		Title:  "Hyperband",
		Source: "Li et al., JMLR 18(185), 2018, Algorithm 1",
	})
}

func hyperbandHpBandSter() definition {
	return hyperband(HpBandSterBrackets, "HpBandSter's brackets", search.Method{
		Name:   "hyperband-hpbandster",
		Title:  "Hyperband (HpBandSter)",
		Source: "HpBandSter 0.7.4, optimizers/hyperband.py",
	})
}

func hyperbandSyneTune() definition {
	return hyperband(SyneTuneBrackets, "syne-tune's brackets", search.Method{
		Name:   "hyperband-synetune",
		Title:  "Hyperband (syne-tune)",
		Source: "syne-tune 0.13, schedulers/synchronous",
	})
}

func hyperband(variant HyperbandVariant, brackets string, method search.Method) definition {
	s := &Hyperband{Variant: variant}
	method.Uses = search.Uses{Fidelity: true}
	return definition{
		method: method,
		settings: []Setting{
			etaSetting(&s.Eta),
			minEpochsSetting(&s.MinEpochs),
		},
		details: func() string {
			return fmt.Sprintf("eta=%d, at least %d epochs, %s", s.Eta, s.MinEpochs, brackets)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewHyperband(p, settings) }
		},
	}
}
