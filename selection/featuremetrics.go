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
	return -p.activity().active, nil
}

// activity is what the feature metrics count.
type activity struct {
	active float64 // share of features that are not 0
	peaks  float64 // mean ratio of features near the largest to those that are 0
}

// activity counts both while a row is at hand.
func (p *Probe) activity() activity {
	a, _ := p.counted.get(func() (activity, error) {
		var a activity
		for i := range p.n {
			row := p.data.Features[i*p.data.Dim : (i+1)*p.data.Dim]
			zeros := len(row) - nonzeros(row)
			least, high := row[argmax(row)]-1, 0
			for _, v := range row {
				if v >= least {
					high++
				}
			}
			a.active += 1 - float64(zeros)/float64(len(row))
			a.peaks += float64(high) / float64(max(zeros, 1))
		}
		a.active /= float64(p.n)
		a.peaks /= float64(p.n)
		return a, nil
	})
	return a
}

// nonzeros counts the elements that are not 0, without a branch, which rectified
// features would mislead, and in four parts, which do not wait for each other.
func nonzeros(x []float64) int {
	var n0, n1, n2, n3 uint64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		q := x[i : i+4 : i+4]
		// The highest bit of b|-b tells that b is not 0.
		b0, b1 := math.Float64bits(q[0])<<1, math.Float64bits(q[1])<<1
		b2, b3 := math.Float64bits(q[2])<<1, math.Float64bits(q[3])<<1
		n0 += (b0 | -b0) >> 63
		n1 += (b1 | -b1) >> 63
		n2 += (b2 | -b2) >> 63
		n3 += (b3 | -b3) >> 63
	}
	for ; i < len(x); i++ {
		b := math.Float64bits(x[i]) << 1
		n0 += (b | -b) >> 63
	}
	return int(n0 + n1 + n2 + n3)
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
	return -p.activity().peaks, nil
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
