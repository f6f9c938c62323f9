package selection

import (
	"errors"
	"math"
)

// Sparsity is minus the mean fraction of features that are not 0: metric S5 of
// Ueno and Kondo, "A Base Model Selection Methodology for Efficient Fine-Tuning",
// 2020, by which the models with sparser features transfer better.
type Sparsity struct{}

// Name returns "sparsity".
func (Sparsity) Name() string { return "sparsity" }

// Needs returns nothing.
func (Sparsity) Needs() Needs { return 0 }

// Score returns a number in [-1, 0].
func (s Sparsity) Score(p *Probe) (float64, error) {
	active := 0
	for _, v := range p.data.Features {
		if v != 0 {
			active++
		}
	}
	return -float64(active) / float64(len(p.data.Features)), nil
}

// Peaks is minus the mean, over images, of the number of features within 1 of
// the image's largest divided by the number that are 0 (at least 1): metric S6 of
// Ueno and Kondo.
type Peaks struct{}

// Name returns "peaks".
func (Peaks) Name() string { return "peaks" }

// Needs returns nothing.
func (Peaks) Needs() Needs { return 0 }

// Score returns a number in [-D, 0].
func (s Peaks) Score(p *Probe) (float64, error) {
	sum, d := 0.0, p.data.Dim
	for i := range p.n {
		row := p.data.Features[i*d : (i+1)*d]
		largest, high, zeros := row[argmax(row)], 0, 0
		for _, v := range row {
			if v >= largest-1 {
				high++
			}
			if v == 0 {
				zeros++
			}
		}
		sum += float64(high) / float64(max(zeros, 1))
	}
	return -sum / float64(p.n), nil
}

// FeatureMetrics is the combination 0.426 S5 + 0.574 S6 of Ueno and Kondo, each
// scaled to [-1, 1] over the pool of models, with the sign of Sparsity and Peaks.
type FeatureMetrics struct{}

// Name returns "feature-metrics".
func (FeatureMetrics) Name() string { return "feature-metrics" }

// Needs returns NeedsPool.
func (FeatureMetrics) Needs() Needs { return NeedsPool }

// Score fails: one model alone has no scale.
func (FeatureMetrics) Score(*Probe) (float64, error) {
	return 0, errors.New("selection: feature-metrics compares the models of a pool; call ScorePool")
}

// ScorePool returns numbers in [-1, 1]. A metric that is the same for all models
// counts as 0.
func (FeatureMetrics) ScorePool(probes []*Probe) ([]float64, error) {
	out := make([]float64, len(probes))
	for _, part := range []struct {
		scorer Scorer
		weight float64
	}{{Sparsity{}, 0.426}, {Peaks{}, 0.574}} {
		values, err := ScorePool(part.scorer, probes)
		if err != nil {
			return nil, err
		}
		low, high := math.Inf(1), math.Inf(-1)
		for _, v := range values {
			low, high = min(low, v), max(high, v)
		}
		if high > low {
			for i, v := range values {
				out[i] += part.weight * (2*(v-low)/(high-low) - 1)
			}
		}
	}
	return out, nil
}
