package baselines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"quicktune/search"
	"quicktune/space"
)

// DefaultModel tunes the hyperparameters of one pretrained model, chosen before
// the search, and never looks at another: what most people do.
//
// It ends when the candidates with that model are used up. Where the pool has
// none with the first choice, the next one is taken. Without a hyperparameter
// that names the model, all candidates count as of one model.
//
// Source: the comparison of Quick-Tune with single models: Arango, Ferreira,
// Kadra, Hutter and Grabocka: Quick-Tune, ICLR 2024, section 5.
type DefaultModel struct {
	// By says which model is the default.
	By DefaultModelRule
	// Tuner searches its candidates, Hyperband by default. ASHA leaves
	// candidates of a small pool unfinished: it ends when none is among the
	// best third of its rung.
	Tuner DefaultModelTuner
}

// DefaultModelRule says which of the models is the default one.
type DefaultModelRule uint8

// The rules.
const (
	// ByRegret takes the model whose best configuration has the lowest mean
	// regret on the other data sets: the stronger choice.
	ByRegret DefaultModelRule = iota
	// BySourceAccuracy takes the model that is best on the data that it was
	// pretrained on, and of equal or unknown ones the best by ByRegret.
	BySourceAccuracy
)

// DefaultModelTuner names the method that tunes.
type DefaultModelTuner uint8

// The tuners, each with its defaults.
const (
	TuneByHyperband    DefaultModelTuner = iota
	TuneByRandomSearch                   // without replacement
	TuneByASHA
)

// LearnDefaultModel ranks the models of m.
func LearnDefaultModel(m search.MetaData, s DefaultModel) (search.Factory, error) {
	err := cmp.Or(
		checkRange("by", int(s.By), int(ByRegret), int(BySourceAccuracy)),
		checkRange("tuner", int(s.Tuner), int(TuneByHyperband), int(TuneByASHA)),
	)
	if err != nil {
		return nil, fmt.Errorf("default-model: %w", err)
	}
	if m.ModelParam == "" {
		return s.tune, nil
	}
	if m.Space == nil || m.Space.Index(m.ModelParam) < 0 {
		return nil, fmt.Errorf("default-model: the search space has no hyperparameter %q", m.ModelParam)
	}
	index := m.Space.Index(m.ModelParam)
	models := rankModels(m, index, s.By)
	return func(p search.Problem) (search.Optimizer, error) {
		if p.Space == nil || p.Space.Hash() != m.Space.Hash() {
			return nil, errors.New("default-model: the candidates are not of the search space that was learnt from")
		}
		rank := math.MaxInt
		for _, c := range p.Candidates {
			if r := slices.Index(models, c[index]); r >= 0 {
				rank = min(rank, r)
			}
		}
		if rank == math.MaxInt {
			return s.tune(p) // an empty pool, or none that names its model
		}
		var subset []int
		for i, c := range p.Candidates {
			if c[index] == models[rank] {
				subset = append(subset, i)
			}
		}
		return newRestricted(p, subset, s.tune)
	}, nil
}

func (s DefaultModel) tune(p search.Problem) (search.Optimizer, error) {
	switch s.Tuner {
	case TuneByRandomSearch:
		return NewRandomSearch(p, RandomSearch{})
	case TuneByASHA:
		return NewASHA(p, ASHA{})
	}
	return NewHyperband(p, Hyperband{})
}

// rankModels orders the choices of a hyperparameter, the default first.
func rankModels(m search.MetaData, index int, by DefaultModelRule) []space.Value {
	accuracy := make(map[string]float64)
	for _, h := range m.Hub {
		if !math.IsNaN(h.SourceAccuracy) {
			accuracy[h.Name] = h.SourceAccuracy
		}
	}
	// A model without a curve on a data set counts with regret 1 there.
	regret := make(map[space.Value]float64)
	for _, set := range slices.Concat(m.Train, m.Validation) {
		best := make(map[space.Value]float64)
		for c, r := range bestRegrets(set.Scores) {
			v := set.Configs[c][index]
			if old, ok := best[v]; !ok || r < old {
				best[v] = r
			}
		}
		for v, r := range best {
			regret[v] += r - 1
		}
	}
	models := slices.Clone(m.Space.Param(index).Choices)
	slices.SortStableFunc(models, func(a, b space.Value) int {
		known := 0
		if by == BySourceAccuracy {
			known = cmp.Compare(accuracy[b.Text()], accuracy[a.Text()])
		}
		return cmp.Or(known, cmp.Compare(regret[a], regret[b]))
	})
	return models
}

// restricted shows a method a part of the candidates.
type restricted struct {
	search.Optimizer
	subset []int
}

func newRestricted(p search.Problem, subset []int, factory search.Factory) (search.Optimizer, error) {
	part := p
	part.Candidates = nil
	for _, c := range subset {
		part.Candidates = append(part.Candidates, p.Candidates[c])
	}
	o, err := factory(part)
	if err != nil {
		return nil, err
	}
	return &restricted{Optimizer: o, subset: subset}, nil
}

func (r *restricted) Ask() (search.Proposal, search.Status) {
	p, status := r.Optimizer.Ask()
	if status == search.Ready {
		p.Candidate = r.subset[p.Candidate]
	}
	return p, status
}

func (r *restricted) Tell(report search.Report) {
	report.Candidate, _ = slices.BinarySearch(r.subset, report.Candidate)
	r.Optimizer.Tell(report)
}

func defaultModel() definition {
	s := new(DefaultModel)
	by := []string{"regret", "source-accuracy"}
	tuners := []string{"hyperband", "random", "asha"}
	return definition{
		method: search.Method{
			Name:   "default-model",
			Title:  "Single default model, tuned",
			Source: "comparison with single models of Arango et al., Quick-Tune, ICLR 2024",
			Uses:   search.Uses{Fidelity: true, MetaData: true},
		},
		settings: []Setting{
			choiceSetting(&s.By, "by", by, []DefaultModelRule{ByRegret, BySourceAccuracy}, "which model is the default one"),
			choiceSetting(&s.Tuner, "tuner", tuners, []DefaultModelTuner{TuneByHyperband, TuneByRandomSearch, TuneByASHA}, "method that tunes its hyperparameters"),
		},
		details: func() string { return fmt.Sprintf("model by %s, tuned by %s", by[s.By], tuners[s.Tuner]) },
		learn: func() search.Learn {
			settings := *s
			return func(_ context.Context, m search.MetaData) (search.Factory, error) {
				return LearnDefaultModel(m, settings)
			}
		},
	}
}
