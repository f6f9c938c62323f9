package quicktune

import (
	"fmt"
	"math"
)

// Favour moves what is expected of candidates before they are trained by what a
// look at the data set tells of their models: values, higher for a better model,
// of those models that were looked at. models names the model of each candidate.
// It must come before the first Ask.
func (q *Planner) Favour(models []string, values map[string]float64, o RankedOptions) error {
	switch {
	case len(models) != len(q.plans):
		return fmt.Errorf("quicktune: %d models for %d candidates", len(models), len(q.plans))
	case q.trials > 0:
		return fmt.Errorf("quicktune: the search has begun with %d trials", q.trials)
	case !(math.Abs(o.Weight) <= 100) || o.WarmStart < 0:
		return fmt.Errorf("quicktune: a ranking with the weight %v and a warm start of %d models: want a weight of at most 100 and models from 0", o.Weight, o.WarmStart)
	}
	for name, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("quicktune: model %s has the value %g", name, v)
		}
	}
	q.favour(models, values, o)
	return nil
}
