package quicktune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"quicktune/predictor/forecast"
	"quicktune/search"
)

// RankedOptions say how a [Planner] uses a ranking of the pretrained models.
type RankedOptions struct {
	// Weight is that of the standardised ranking beside the standardised
	// forecasts: what is forecast of a candidate before it is trained moves by
	// Weight standard deviations, among models, for each deviation of its
	// model's value. 0 means none.
	Weight float64
	// WarmStart is how many models are tried for an epoch each before anything
	// else: that which forecasts put first, then those of the highest weighted
	// sums, as in the hybrid policy of Renggli et al., "Which Model to
	// Transfer? Finding the Needle in the Growing Haystack", CVPR 2022.
	WarmStart int
}

// RankedPlannerMethod is [PlannerMethod] with a ranking of the models, whose time
// is part of the search.
func RankedPlannerMethod(r search.ModelRanking, o RankedOptions) search.Method {
	m := PlannerMethod(nil)
	m.Title += " with " + r.Name()
	m.Details += fmt.Sprintf("; models by %s, weight=%g, warm-start=%d", r.Name(), o.Weight, o.WarmStart)
	m.Learn = func(ctx context.Context, meta search.MetaData) (search.Factory, error) {
		forecasts, err := LearnForecasts(ctx, meta)
		if err != nil {
			return nil, err
		}
		return func(p search.Problem) (search.Optimizer, error) {
			return newRankedPlanner(p, forecasts, meta, r, o)
		}, nil
	}
	return m
}

// rankedPlanner is a planner that has looked at the data set.
type rankedPlanner struct {
	*Planner
	seconds float64
}

// Preparation implements [search.Prepared].
func (q *rankedPlanner) Preparation() float64 { return q.seconds }

func newRankedPlanner(p search.Problem, m *forecast.Model, meta search.MetaData, r search.ModelRanking, o RankedOptions) (search.Optimizer, error) {
	if !(math.Abs(o.Weight) <= 100) || o.WarmStart < 0 {
		return nil, fmt.Errorf("quicktune: a ranking with the weight %v and a warm start of %d models: want a weight of at most 100 and models from 0", o.Weight, o.WarmStart)
	}
	q, err := NewPlanner(p, m)
	if err != nil {
		return nil, err
	}
	if meta.ModelParam == "" || p.Space.Index(meta.ModelParam) < 0 {
		return nil, errors.New("quicktune: no hyperparameter names the pretrained model, so models cannot be ranked")
	}
	values, seconds, err := r.Rank(meta, p.Task.Name)
	if err != nil {
		return nil, fmt.Errorf("quicktune: %w", err)
	}
	index := p.Space.Index(meta.ModelParam)
	models := make([]string, len(p.Candidates))
	for i, c := range p.Candidates {
		models[i] = c[index].Text()
	}
	q.clock = seconds
	q.favour(models, values, o)
	return &rankedPlanner{Planner: q, seconds: seconds}, nil
}

// favour moves the forecasts of candidates by the values of their models, and
// sets the warm start.
func (q *Planner) favour(models []string, values map[string]float64, o RankedOptions) {
	// The standing of a model is the mean forecast of the end of its curves.
	standing, counts := map[string]float64{}, map[string]float64{}
	var names []string
	for c, name := range models {
		if _, known := values[name]; !known || q.plans[c].never {
			continue
		}
		if counts[name]++; counts[name] == 1 {
			names = append(names, name)
		}
		median := q.priors[c].Median
		standing[name] += median[len(median)-1]
	}
	if len(names) == 0 {
		return
	}
	var forecasts, ranked []float64
	for _, name := range names {
		standing[name] /= counts[name]
		forecasts, ranked = append(forecasts, standing[name]), append(ranked, values[name])
	}
	_, spread := moments(forecasts)
	mean, deviation := moments(ranked)
	shift := map[string]float64{}
	for _, name := range names {
		if deviation > 0 {
			shift[name] = o.Weight * spread * (values[name] - mean) / deviation
		}
	}
	for c, name := range models {
		q.plans[c].shift = shift[name]
	}
	if o.WarmStart == 0 {
		return
	}
	first := slices.MaxFunc(names, func(a, b string) int { return cmp.Compare(standing[a], standing[b]) })
	order := slices.Clone(names)
	slices.SortStableFunc(order, func(a, b string) int {
		return cmp.Or(-cmp.Compare(isTrue(a == first), isTrue(b == first)), cmp.Compare(standing[b]+shift[b], standing[a]+shift[a]))
	})
	for _, name := range order[:min(o.WarmStart, len(order))] {
		choice, most := -1, 0.0
		for c := range models {
			if models[c] == name && !q.plans[c].never {
				if value := q.promise(c); value > most {
					choice, most = c, value
				}
			}
		}
		if choice >= 0 {
			q.opening = append(q.opening, choice)
		}
	}
}

func isTrue(b bool) int {
	if b {
		return 1
	}
	return 0
}

// moments returns mean and standard deviation.
func moments(x []float64) (mean, deviation float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		deviation += (v - mean) * (v - mean) / float64(len(x))
	}
	return mean, math.Sqrt(deviation)
}
