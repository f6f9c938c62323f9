package evaluate

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Order returns the positions of scores from the best on; equal scores stay in
// their order.
func Order(scores []float64) []int {
	negative := make([]float64, len(scores))
	for i, v := range scores {
		negative[i] = -v
	}
	return ascending(negative)
}

func checkTop(scores, accuracies []float64, k int) error {
	if len(scores) != len(accuracies) {
		return fmt.Errorf("evaluate: %d scores against %d accuracies", len(scores), len(accuracies))
	}
	if len(scores) == 0 {
		return errors.New("evaluate: a pool without models")
	}
	if k < 1 || k > len(scores) {
		return fmt.Errorf("evaluate: the best %d of %d models", k, len(scores))
	}
	for i := range scores {
		if math.IsNaN(scores[i]) || math.IsNaN(accuracies[i]) {
			return fmt.Errorf("evaluate: model %d has the score %v and the accuracy %v", i, scores[i], accuracies[i])
		}
	}
	return nil
}

// top returns the best accuracy among the k models with the highest scores.
func top(scores, accuracies []float64, k int) float64 {
	best := math.Inf(-1)
	for _, i := range Order(scores)[:k] {
		best = max(best, accuracies[i])
	}
	return best
}

// RelativeAccuracy is Rel@k: the best accuracy among the k models with the
// highest scores divided by the best of all.
func RelativeAccuracy(scores, accuracies []float64, k int) (float64, error) {
	if err := checkTop(scores, accuracies, k); err != nil {
		return 0, err
	}
	best := slices.Max(accuracies)
	if best <= 0 {
		return 0, fmt.Errorf("evaluate: the best accuracy is %v; relative accuracy needs a positive one", best)
	}
	return top(scores, accuracies, k) / best, nil
}

// Recall is Recall@k: 1 if a model of the best accuracy is among the k with the
// highest scores, else 0.
func Recall(scores, accuracies []float64, k int) (float64, error) {
	if err := checkTop(scores, accuracies, k); err != nil {
		return 0, err
	}
	if top(scores, accuracies, k) == slices.Max(accuracies) {
		return 1, nil
	}
	return 0, nil
}

// Gain is the best accuracy among the k models with the highest scores less the
// accuracy of the model at the position reference, such as the ImageNet expert:
// the measure of figures 4 and 5 of Deshpande et al., arXiv:2102.00084, in the
// unit of the accuracies.
func Gain(scores, accuracies []float64, k, reference int) (float64, error) {
	if err := checkTop(scores, accuracies, k); err != nil {
		return 0, err
	}
	if reference < 0 || reference >= len(accuracies) {
		return 0, fmt.Errorf("evaluate: reference model %d of %d", reference, len(accuracies))
	}
	return top(scores, accuracies, k) - accuracies[reference], nil
}

// Regret is the best accuracy of all less the best among the k models with the
// highest scores, in the unit of the accuracies.
func Regret(scores, accuracies []float64, k int) (float64, error) {
	if err := checkTop(scores, accuracies, k); err != nil {
		return 0, err
	}
	return slices.Max(accuracies) - top(scores, accuracies, k), nil
}

// RelativeDelta is (a - b)/(1 - min(a, b)) of two accuracies in [0, 1]: what one
// choice gains over another relative to the errors there are to remove (Renggli
// et al., "Which Model to Transfer? Finding the Needle in the Growing Haystack",
// CVPR 2022). Of two accuracies of 1 it is 0.
func RelativeDelta(a, b float64) (float64, error) {
	if !(a >= 0 && a <= 1 && b >= 0 && b <= 1) {
		return 0, fmt.Errorf("evaluate: accuracies %v and %v are not in [0, 1]", a, b)
	}
	if a == b {
		return 0, nil
	}
	return (a - b) / (1 - min(a, b)), nil
}

// SelectionsToBest is how many models are tried, from the highest score on, until
// one has the best accuracy of all. Models of equal scores are tried in random
// order, of which this is the mean.
func SelectionsToBest(scores, accuracies []float64) (float64, error) {
	if err := checkTop(scores, accuracies, 1); err != nil {
		return 0, err
	}
	best := slices.Max(accuracies)
	order := Order(scores)
	for first := 0; first < len(order); {
		end, hits := first, 0.0
		for end < len(order) && scores[order[end]] == scores[order[first]] {
			if accuracies[order[end]] == best {
				hits++
			}
			end++
		}
		if hits > 0 {
			// The expected first of so many hits among equals.
			return float64(first) + float64(end-first+1)/(hits+1), nil
		}
		first = end
	}
	return 0, errors.New("evaluate: no model has the best accuracy")
}

// Outcome is how good one transferability score was in one experiment.
type Outcome struct {
	Score string // the transferability score judged
	// Varying and Fixed name the components of the experiment, such as its data
	// set, its pool of models or its measure.
	Varying, Fixed string
	Value          float64 // the measure
}

// SetupStability is the mean Kendall tau between the rankings of scores by two
// experiments that differ in Varying alone, first over the pairs of each Fixed,
// then over those: Agostinelli et al., "How stable are Transferability Metrics
// evaluations?", ECCV 2022. It lies in [-1, 1]; 1 means that the component never
// changes which score looks better. Pairs in which an experiment ranks all scores
// alike are left out.
func SetupStability(outcomes []Outcome) (float64, error) {
	type key struct{ fixed, varying string }
	values := map[key]map[string]float64{}
	var experiments []key
	var scores []string
	for _, o := range outcomes {
		k := key{o.Fixed, o.Varying}
		if values[k] == nil {
			values[k] = map[string]float64{}
			experiments = append(experiments, k)
		}
		if _, ok := values[k][o.Score]; ok {
			return 0, fmt.Errorf("evaluate: two values of %s for %s, %s", o.Score, o.Fixed, o.Varying)
		}
		values[k][o.Score] = o.Value
		if !slices.Contains(scores, o.Score) {
			scores = append(scores, o.Score)
		}
	}
	vector := func(k key) ([]float64, error) {
		var out []float64
		for _, s := range scores {
			v, ok := values[k][s]
			if !ok {
				return nil, fmt.Errorf("evaluate: no value of %s for %s, %s", s, k.fixed, k.varying)
			}
			out = append(out, v)
		}
		return out, nil
	}
	type mean struct{ sum, n float64 }
	var fixed []string
	means := map[string]mean{}
	for i, a := range experiments {
		for _, b := range experiments[:i] {
			if a.fixed != b.fixed {
				continue
			}
			x, err := vector(b)
			if err != nil {
				return 0, err
			}
			y, err := vector(a)
			if err != nil {
				return 0, err
			}
			tau, err := Kendall(x, y)
			if errors.Is(err, errConstant) {
				continue
			}
			if err != nil {
				return 0, err
			}
			if _, ok := means[a.fixed]; !ok {
				fixed = append(fixed, a.fixed)
			}
			m := means[a.fixed]
			means[a.fixed] = mean{m.sum + tau, m.n + 1}
		}
	}
	if len(fixed) == 0 {
		return 0, errors.New("evaluate: no two experiments differ in the varying component alone")
	}
	total := 0.0
	for _, f := range fixed {
		total += means[f].sum / means[f].n
	}
	return total / float64(len(fixed)), nil
}
