package selection

import (
	"errors"
	"fmt"
	"math"

	"quicktune/selection/evaluate"
)

// StaticPrior ranks models by how they did on other data sets, without a look at
// the one at hand. It is what every score has to beat: a ranking by the past
// does better than most published scores on their own benchmarks.
type StaticPrior struct {
	// Values is higher for a model that did better in the past.
	Values map[string]float64
}

// Name returns "static-prior".
func (StaticPrior) Name() string { return "static-prior" }

// Needs returns NeedsModel.
func (StaticPrior) Needs() Needs { return NeedsModel }

// Score looks the model up.
func (s StaticPrior) Score(p *Probe) (float64, error) {
	if err := check(s, p); err != nil {
		return 0, err
	}
	v, ok := s.Values[p.data.Model]
	if !ok {
		return 0, fmt.Errorf("selection: the static prior knows nothing of the model %q", p.data.Model)
	}
	return finite(s, v)
}

// Past is how a static prior sums up other data sets.
type Past uint8

// The summaries.
const (
	MeanRank      Past = iota // the mean relative rank of the model
	MeanDeviation             // the mean of the standardised accuracy of the model
)

// NewStaticPrior summarises how models did on data sets. accuracies[d][m] is that
// of model m on data set d, NaN where unknown; a model without any is left out.
func NewStaticPrior(models []string, accuracies [][]float64, by Past) (StaticPrior, error) {
	sums, counts := make([]float64, len(models)), make([]float64, len(models))
	for d, row := range accuracies {
		if len(row) != len(models) {
			return StaticPrior{}, fmt.Errorf("selection: data set %d has %d accuracies for %d models", d, len(row), len(models))
		}
		var known []int
		var values []float64
		for m, v := range row {
			if !math.IsNaN(v) {
				known, values = append(known, m), append(values, v)
			}
		}
		standing := Standardised(values)
		if by == MeanRank {
			// Relative, since data sets may know different numbers of models.
			for i, rank := range evaluate.Ranks(values) {
				standing[i] = (rank - 0.5) / float64(len(values))
			}
		}
		for i, m := range known {
			sums[m] += standing[i]
			counts[m]++
		}
	}
	const steps = 1 << 40
	s := StaticPrior{Values: map[string]float64{}}
	for m, name := range models {
		if counts[m] > 0 {
			// To 40 bits: models that did equally well must tie.
			s.Values[name] = math.Round(steps*sums[m]/counts[m]) / steps
		}
	}
	if len(s.Values) == 0 {
		return StaticPrior{}, errors.New("selection: a static prior needs the accuracy of a model on a data set")
	}
	return s, nil
}

// Combine returns z(prior) + weight*z(score) for the models of a pool on one
// data set, where z subtracts the mean and divides by the standard deviation; a
// part that is the same for all models adds nothing. Bolya, Mittapalli and
// Hoffman, NeurIPS 2021, introduce such a sum.
func Combine(prior, score []float64, weight float64) ([]float64, error) {
	if len(prior) != len(score) {
		return nil, fmt.Errorf("selection: a prior of %d models and scores of %d", len(prior), len(score))
	}
	if i := firstNotFinite(prior); i >= 0 {
		return nil, fmt.Errorf("selection: the prior of model %d is %v", i, prior[i])
	}
	if i := firstNotFinite(score); i >= 0 {
		return nil, fmt.Errorf("selection: the score of model %d is %v", i, score[i])
	}
	out := Standardised(prior)
	for i, z := range Standardised(score) {
		out[i] += weight * z
	}
	return out, nil
}

// Standardised returns (x - mean)/standard deviation, zeros if x does not vary.
func Standardised(x []float64) []float64 {
	mean, variance, out := 0.0, 0.0, make([]float64, len(x))
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	// Rounding of the mean is no variance.
	if variance <= 1e-30*mean*mean || variance == 0 {
		return out
	}
	for i, v := range x {
		out[i] = (v - mean) / math.Sqrt(variance)
	}
	return out
}

// PriorPlus adds a score to a prior over a pool of models, see [Combine].
type PriorPlus struct {
	Prior, Add Scorer
	// Weight is that of the added score; 0 means 0.5.
	Weight float64
}

// Name returns the names of both.
func (s PriorPlus) Name() string { return s.Prior.Name() + "+" + s.Add.Name() }

// Needs returns those of both and NeedsPool.
func (s PriorPlus) Needs() Needs { return s.Prior.Needs() | s.Add.Needs() | NeedsPool }

// Score fails: one model alone has no scale.
func (s PriorPlus) Score(*Probe) (float64, error) {
	return 0, fmt.Errorf("selection: %s compares the models of a pool; call ScorePool", s.Name())
}

// ScorePool returns the sums.
func (s PriorPlus) ScorePool(probes []*Probe) ([]float64, error) {
	weight := s.Weight
	if weight == 0 {
		weight = 0.5
	}
	prior, err := ScorePool(s.Prior, probes)
	if err != nil {
		return nil, err
	}
	score, err := ScorePool(s.Add, probes)
	if err != nil {
		return nil, err
	}
	return Combine(prior, score, weight)
}
