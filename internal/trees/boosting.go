package trees

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// MaxRows is the most rows that a fit takes: beyond them the integers that
// gradients are summed in get coarse.
const MaxRows = 1<<21 - 1

// maxTarget bounds the size of targets and of their products with weights, so
// that no difference of two overflows.
const maxTarget = 1e300

// Boosting holds the settings of gradient boosting over histograms. The zero
// value is ready to use; its defaults are those of scikit-learn's
// HistGradientBoostingRegressor with early stopping off.
//
// Trees grow leaf by leaf, the split of largest gain first (of equals the one
// whose leaf is older), with Newton steps as in Chen and Guestrin, XGBoost: A
// scalable tree boosting system, KDD 2016, and histograms as in Ke et al.,
// LightGBM: A highly efficient gradient boosting decision tree, NeurIPS 2017.
type Boosting struct {
	Iterations      int     // trees; 0 means 100
	LearningRate    float64 // factor of every leaf, above 0; 0 means 0.1
	L2              float64 // added to the sum of second derivatives of a leaf, at least 0
	MaxLeaves       int     // of a tree, at least 2; 0 means 31, -1 no limit
	MinSamplesLeaf  int     // rows; 0 means 20
	MaxBins         int     // of a feature, 2 to 255, besides that of missing values; 0 means 255
	MaxDepth        int     // edges from the root to a leaf; 0 means no limit
	FeatureFraction float64 // of the features, drawn for each split, in (0, 1]; 0 means 1
	RowFraction     float64 // of the rows, drawn for each tree, in (0, 1]; 0 means 1
	Seed            uint64  // of those two draws; nothing else is random
	Loss            Loss
	Quantile        float64 // of the loss Quantile, in (0, 1); 0 means 0.5
}

// withDefaults returns the settings with zeros replaced, or an error about the
// first that is out of range.
func (b Boosting) withDefaults() (Boosting, error) {
	b.Iterations = cmp.Or(b.Iterations, 100)
	b.LearningRate = cmp.Or(b.LearningRate, 0.1)
	b.MaxLeaves = cmp.Or(b.MaxLeaves, 31)
	b.MinSamplesLeaf = cmp.Or(b.MinSamplesLeaf, 20)
	b.MaxBins = cmp.Or(b.MaxBins, 255)
	b.FeatureFraction = cmp.Or(b.FeatureFraction, 1)
	b.RowFraction = cmp.Or(b.RowFraction, 1)
	b.Quantile = cmp.Or(b.Quantile, 0.5)
	switch {
	case b.Iterations < 0:
		return b, fmt.Errorf("boosting: %d iterations; at least 1 is needed", b.Iterations)
	case !(b.LearningRate > 0 && b.LearningRate <= 1e6):
		return b, fmt.Errorf("boosting: learning rate %g is not in (0, 1e6]", b.LearningRate)
	case !(b.L2 >= 0 && b.L2 <= maxTarget):
		return b, fmt.Errorf("boosting: L2 %g is not a finite number of at least 0", b.L2)
	case b.MaxLeaves < 2 && b.MaxLeaves != -1:
		return b, fmt.Errorf("boosting: %d leaves; at least 2, or -1 for no limit", b.MaxLeaves)
	case b.MinSamplesLeaf < 1:
		return b, fmt.Errorf("boosting: %d samples a leaf; at least 1 is needed", b.MinSamplesLeaf)
	case b.MaxBins < 2 || b.MaxBins > 255:
		return b, fmt.Errorf("boosting: %d bins; 2 to 255 are possible", b.MaxBins)
	case b.MaxDepth < 0:
		return b, fmt.Errorf("boosting: depth %d is negative", b.MaxDepth)
	case !(b.FeatureFraction > 0 && b.FeatureFraction <= 1):
		return b, fmt.Errorf("boosting: feature fraction %g is not in (0, 1]", b.FeatureFraction)
	case !(b.RowFraction > 0 && b.RowFraction <= 1):
		return b, fmt.Errorf("boosting: row fraction %g is not in (0, 1]", b.RowFraction)
	case b.Loss < Squared || b.Loss > Logistic:
		return b, fmt.Errorf("boosting: unknown loss %v", b.Loss)
	case !(b.Quantile > 0 && b.Quantile < 1):
		return b, fmt.Errorf("boosting: quantile %g is not in (0, 1)", b.Quantile)
	}
	return b, nil
}

// Fit fits an ensemble to rows x, row-major with cols values a row, and their
// targets y. Values may be NaN (missing) or infinite, targets are finite.
// Weights, nil for all 1, are finite and not negative. There is at least one
// row and at most MaxRows. Without columns, or where none tells rows apart,
// the ensemble is a constant.
func (b Boosting) Fit(x []float64, cols int, y, weights []float64) (*Ensemble, error) {
	b, err := b.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkTable(x, cols, y, weights); err != nil {
		return nil, fmt.Errorf("boosting: %w", err)
	}
	if b.Loss == Logistic {
		for r, v := range y {
			if v != 0 && v != 1 {
				return nil, fmt.Errorf("boosting: row %d: target %g under the logistic loss; 0 or 1 is needed", r, v)
			}
		}
	}
	o := &objective{loss: b.Loss, quantile: b.Quantile, y: y, weights: weights}
	model := &Ensemble{cols: cols, base: o.baseline()}
	features := binFeatures(x, len(y), cols, weights, b.MaxBins)
	g := newGrower(b, features, len(y), o.constantHessian())
	predictions := make([]float64, len(y))
	for r := range predictions {
		predictions[r] = model.base
	}
	gradients := make([]float64, len(y))
	var hessians []float64
	if !o.constantHessian() {
		hessians = make([]float64, len(y))
	}
	for t := range b.Iterations {
		o.derivatives(predictions, gradients, hessians)
		g.grow(t, gradients, hessians)
		g.settle(o, predictions)
		if len(g.nodes) > math.MaxInt32-len(model.nodes) {
			return nil, fmt.Errorf("boosting: more than %d nodes after %d of %d trees", math.MaxInt32, t, b.Iterations)
		}
		model.append(g.nodes)
	}
	return model, nil
}

// checkTable refuses a table that does not fit together or holds numbers that
// cannot be fitted.
func checkTable(x []float64, cols int, y, weights []float64) error {
	rows := len(y)
	switch {
	case rows == 0:
		return errors.New("no rows to fit")
	case rows > MaxRows:
		return fmt.Errorf("%d rows; at most %d can be fitted", rows, MaxRows)
	case cols < 0 || cols > math.MaxInt32:
		return fmt.Errorf("%d columns", cols)
	case len(x) != rows*cols:
		return fmt.Errorf("%d values for %d rows of %d columns", len(x), rows, cols)
	case weights != nil && len(weights) != rows:
		return fmt.Errorf("%d weights for %d rows", len(weights), rows)
	}
	largest, heaviest, total := 0.0, 1.0, 0.0
	for r, v := range y {
		if !(math.Abs(v) <= maxTarget) {
			return fmt.Errorf("row %d: target %g is not finite, or beyond %g", r, v, float64(maxTarget))
		}
		largest = max(largest, math.Abs(v))
	}
	for r, w := range weights {
		if !(w >= 0 && w <= maxTarget) {
			return fmt.Errorf("row %d: weight %g is not a finite number of at least 0", r, w)
		}
		heaviest = max(heaviest, w)
		total += w
	}
	if weights != nil && total == 0 {
		return errors.New("all weights are 0")
	}
	if !(largest*heaviest <= maxTarget) {
		return fmt.Errorf("targets up to %g times weights up to %g overflow", largest, heaviest)
	}
	return nil
}

func bitLength(n int) int { return bits.Len(uint(n)) }
