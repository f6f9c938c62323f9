package baselines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"quicktune/search"
	"quicktune/space"
)

// TwoStage picks pretrained models by a ranking before anything is trained and
// then tunes the hyperparameters of those alone: the way in which scores of
// models are used without Quick-Tune. The time of the ranking is part of the
// search.
//
// It ends when the candidates with these models are used up. Models that the
// pool does not have are passed over, and a pool without any that the ranking
// knows is an error. Without a hyperparameter that names the model, all
// candidates count as of one model.
//
// Source: the second stage of Deshpande et al., arXiv:2102.00084, section 5.
type TwoStage struct {
	Ranking search.ModelRanking
	Top     int // models picked; 0 means 1
	// Tuner searches their candidates, Hyperband by default.
	Tuner DefaultModelTuner
}

// TwoStageMethod returns the method; it is no entry of [Methods], since it needs
// a ranking.
func TwoStageMethod(s TwoStage) search.Method {
	if s.Top == 0 {
		s.Top = 1
	}
	name := "no ranking"
	if s.Ranking != nil {
		name = s.Ranking.Name()
	}
	return search.Method{
		Name:    "two-stage",
		Title:   "Models picked by " + name + ", then tuned",
		Source:  "Deshpande et al., A linearized framework and a new benchmark for model selection for fine-tuning, arXiv:2102.00084",
		Details: fmt.Sprintf("top %d by %s, tuned by %s", s.Top, name, [...]string{"hyperband", "random", "asha"}[s.Tuner]),
		Uses:    search.Uses{Fidelity: true, MetaData: true},
		Learn: func(_ context.Context, m search.MetaData) (search.Factory, error) {
			return learnTwoStage(m, s)
		},
	}
}

func learnTwoStage(m search.MetaData, s TwoStage) (search.Factory, error) {
	err := cmp.Or(
		checkRange("top", s.Top, 1, 1000),
		checkRange("tuner", int(s.Tuner), int(TuneByHyperband), int(TuneByASHA)),
	)
	switch {
	case err != nil:
		return nil, fmt.Errorf("two-stage: %w", err)
	case s.Ranking == nil:
		return nil, errors.New("two-stage: there is no ranking of the models to pick by")
	}
	tuner := DefaultModel{Tuner: s.Tuner}
	if m.ModelParam == "" {
		return tuner.tune, nil
	}
	if m.Space == nil || m.Space.Index(m.ModelParam) < 0 {
		return nil, fmt.Errorf("two-stage: the search space has no hyperparameter %q", m.ModelParam)
	}
	index := m.Space.Index(m.ModelParam)
	return func(p search.Problem) (search.Optimizer, error) {
		if p.Space == nil || p.Space.Hash() != m.Space.Hash() {
			return nil, errors.New("two-stage: the candidates are not of the search space that was learnt from")
		}
		values, seconds, err := s.Ranking.Rank(m, p.Task.Name)
		if err != nil {
			return nil, fmt.Errorf("two-stage: %w", err)
		}
		picked := pickModels(p.Candidates, index, values, s.Top)
		var subset []int
		for i, c := range p.Candidates {
			if slices.Contains(picked, c[index]) {
				subset = append(subset, i)
			}
		}
		if len(subset) == 0 && len(p.Candidates) > 0 {
			return nil, fmt.Errorf("two-stage: %s knows none of the models of the %d candidates", s.Ranking.Name(), len(p.Candidates))
		}
		o, err := newRestricted(p, subset, tuner.tune)
		if err != nil {
			return nil, err
		}
		return &prepared{Optimizer: o, seconds: seconds}, nil
	}, nil
}

// pickModels returns the models of candidates with the highest values, at most
// top; of equal ones that which comes first among the candidates.
func pickModels(candidates []space.Config, index int, values map[string]float64, top int) []space.Value {
	var models []space.Value
	for _, c := range candidates {
		if _, known := values[c[index].Text()]; known && !slices.Contains(models, c[index]) {
			models = append(models, c[index])
		}
	}
	slices.SortStableFunc(models, func(a, b space.Value) int { return cmp.Compare(values[b.Text()], values[a.Text()]) })
	return models[:min(top, len(models))]
}

// prepared is an optimiser that has spent time before it starts.
type prepared struct {
	search.Optimizer
	seconds float64
}

// Preparation implements [search.Prepared].
func (p *prepared) Preparation() float64 { return p.seconds }
