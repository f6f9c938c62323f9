package baselines

import (
	"cmp"
	"fmt"

	"quicktune/search"
)

// SMACMultiFidelity is Hyperband whose candidates are chosen by [SMAC]'s model,
// fitted to the scores at the largest rung that has any. It is the
// multi-fidelity facade of SMAC3 2.4.1, whose intensifier is Hyperband with the
// paper's brackets.
//
// Source: Lindauer et al.: SMAC3: A Versatile Bayesian Optimization Package for
// Hyperparameter Optimization, JMLR 23(54), 2022.
type SMACMultiFidelity struct {
	SMAC
	// Eta and MinEpochs are as in [Hyperband].
	Eta, MinEpochs int
	// MinTrials is how many scores a rung needs to be learned from; 0 means
	// 1, SMAC's default (main/config_selector.py).
	MinTrials int
}

// NewSMACMultiFidelity returns the optimiser of s, or an error if a setting is
// out of its range or the candidates are of no space.
func NewSMACMultiFidelity(p search.Problem, s SMACMultiFidelity) (search.Optimizer, error) {
	s.Eta, s.MinEpochs, s.MinTrials = cmp.Or(s.Eta, defaultEta), cmp.Or(s.MinEpochs, 1), cmp.Or(s.MinTrials, 1)
	var err error
	if s.SMAC, err = s.SMAC.withDefaults(); err != nil {
		return nil, err
	}
	if err := cmp.Or(checkRungSettings(p, s.Eta, s.MinEpochs), checkRange("min-trials", s.MinTrials, 1, maxCandidates)); err != nil {
		return nil, err
	}
	chooser, err := newForestChooser(p, s.SMAC)
	if err != nil {
		return nil, err
	}
	m := &smacMF{synchronous: newSynchronous(p, PaperBrackets.Brackets(p.MaxEpochs, s.MinEpochs, s.Eta), bestFirst), chooser: chooser, minTrials: s.MinTrials}
	m.draw = m.choose
	m.result = m.enter
	return m, nil
}

// smacMF is the optimiser of SMACMultiFidelity.
type smacMF struct {
	*synchronous
	chooser   forestChooser
	minTrials int
	rungs     []rungScores // shortest first
}

// rungScores holds the scores at one epoch.
type rungScores struct {
	epoch  int
	known  []int // candidates
	values []float64
}

// enter keeps a trial's score at a rung.
func (m *smacMF) enter(trial, epoch int) {
	at := 0
	for at < len(m.rungs) && m.rungs[at].epoch < epoch {
		at++
	}
	if at == len(m.rungs) || m.rungs[at].epoch != epoch {
		m.rungs = append(m.rungs[:at], append([]rungScores{{epoch: epoch}}, m.rungs[at:]...)...)
	}
	t, r := m.trials[trial], &m.rungs[at]
	r.known, r.values = append(r.known, t.candidate), append(r.values, t.score)
}

// choose takes the next candidate of a bracket out of the pool.
func (m *smacMF) choose() (candidate int, ok bool) {
	if len(m.pool.left) == 0 {
		return 0, false
	}
	var known []int
	var values []float64
	for i := len(m.rungs) - 1; i >= 0 && len(known) == 0; i-- {
		if r := m.rungs[i]; len(r.known) >= m.minTrials {
			known, values = finiteValues(r.known, r.values)
		}
	}
	return m.chooser.choose(&m.pool, len(m.trials), known, values), true
}

func smacMultiFidelity() definition {
	s := new(SMACMultiFidelity)
	return definition{
		method: search.Method{
			Name:   "smac-mf",
			Title:  "SMAC (multi-fidelity)",
			Source: "Lindauer et al., JMLR 23(54), 2022; SMAC3 2.4.1, multi-fidelity facade",
			Uses:   search.Uses{Fidelity: true},
		},
		settings: append(s.SMAC.settings(), etaSetting(&s.Eta), minEpochsSetting(&s.MinEpochs),
			intSetting(&s.MinTrials, "min-trials", 1, 1, maxCandidates, "scores that a rung needs to be learned from")),
		details: func() string {
			return fmt.Sprintf("eta=%d, at least %d epochs, brackets of Algorithm 1; %d trees, log EI, %d trials expected, retrain after %d, random=%g",
				s.Eta, s.MinEpochs, smacTrees, s.Trials, s.RetrainAfter, s.Random)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewSMACMultiFidelity(p, settings) }
		},
	}
}
