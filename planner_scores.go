package quicktune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"quicktune/search"
	"quicktune/space"
)

// ScoredPlannerMethod is [PlannerMethod] whose forecasts see a ranking of the
// pretrained models: the value of a configuration's model, standardised among the
// models on the data set, is a column from which scores and costs are forecast.
// What it is worth is learnt on other data sets, where it is ranked without the
// curves of the data set itself. Ranking the models of the data set at hand is
// part of the search.
func ScoredPlannerMethod(r search.ModelRanking) search.Method {
	m := PlannerMethod(nil)
	m.Title += " with forecasts from " + r.Name()
	m.Details += "; models by " + r.Name() + " as an input of the forecasts"
	m.Learn = func(ctx context.Context, meta search.MetaData) (search.Factory, error) {
		s, err := newStandings(meta, r)
		if err != nil {
			return nil, fmt.Errorf("quicktune: %w", err)
		}
		forecasts, err := learnForecasts(ctx, meta, s)
		if err != nil {
			return nil, err
		}
		return func(p search.Problem) (search.Optimizer, error) {
			q, err := newPlanner(p, forecasts, s)
			if err != nil {
				return nil, err
			}
			_, seconds, err := s.of(p.Task.Name)
			if err != nil {
				return nil, fmt.Errorf("quicktune: %w", err)
			}
			q.clock = seconds
			return &rankedPlanner{Planner: q, seconds: seconds}, nil
		}, nil
	}
	return m
}

// standings are the standardised values of models by data set. It implements
// looks.
type standings struct {
	meta    search.MetaData
	ranking search.ModelRanking
	model   int // index of the hyperparameter
}

func newStandings(meta search.MetaData, r search.ModelRanking) (*standings, error) {
	if meta.Space == nil || meta.ModelParam == "" || meta.Space.Index(meta.ModelParam) < 0 {
		return nil, errors.New("no hyperparameter names the pretrained model, so models cannot be ranked")
	}
	return &standings{meta: meta, ranking: r, model: meta.Space.Index(meta.ModelParam)}, nil
}

// of ranks the models of a data set by what is known without its curves.
func (s *standings) of(dataset string) (standing map[string]float64, seconds float64, err error) {
	others := s.meta
	own := func(c search.Curves) bool { return c.Task.Name == dataset }
	others.Train = slices.DeleteFunc(slices.Clone(others.Train), own)
	others.Validation = slices.DeleteFunc(slices.Clone(others.Validation), own)
	values, seconds, err := s.ranking.Rank(others, dataset)
	if err != nil {
		return nil, 0, err
	}
	ranked := make([]float64, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		ranked = append(ranked, values[name])
	}
	mean, deviation := moments(ranked)
	standing = make(map[string]float64, len(values))
	for name, v := range values {
		if deviation > 0 {
			standing[name] = (v - mean) / deviation
		}
	}
	return standing, seconds, nil
}

func (s *standings) names() []string { return []string{"model by " + s.ranking.Name()} }

func (s *standings) columns(configs []space.Config, task search.Task) ([][]float64, error) {
	standing, _, err := s.of(task.Name)
	if err != nil {
		return nil, err
	}
	out := make([][]float64, len(configs))
	for i, c := range configs {
		v, known := standing[c[s.model].Text()]
		if !known {
			v = math.NaN()
		}
		out[i] = []float64{v}
	}
	return out, nil
}
