// Package evaluate measures how well scores rank pretrained models: correlations
// between scores and accuracies, and what is lost or gained by fine-tuning the
// models that a score puts first.
//
// Where a measure does not exist, as a correlation with scores that are all
// equal, it is an error and never NaN. The package computes no score and reads
// no file.
package evaluate

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

var errConstant = errors.New("evaluate: all values are equal, so that there is no order to compare")

// checkPair fails unless x and y are finite, equally long and at least 2 long.
func checkPair(x, y []float64) error {
	if len(x) != len(y) {
		return fmt.Errorf("evaluate: %d values against %d", len(x), len(y))
	}
	if len(x) < 2 {
		return fmt.Errorf("evaluate: %d values; at least 2 are needed", len(x))
	}
	for _, v := range [][]float64{x, y} {
		for i, f := range v {
			if f-f != 0 {
				return fmt.Errorf("evaluate: value %d is %v", i, f)
			}
		}
	}
	return nil
}

// Ranks returns the rank of each value, 1 for the smallest; equal values share
// the mean of their ranks.
func Ranks(x []float64) []float64 {
	order := ascending(x)
	out := make([]float64, len(x))
	for i := 0; i < len(x); {
		j := i
		for j < len(x) && x[order[j]] == x[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			out[k] = float64(i+j+1) / 2
		}
		i = j
	}
	return out
}

// ascending returns the positions of x by value, equal ones by position.
func ascending(x []float64) []int {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case x[a] < x[b]:
			return -1
		case x[a] > x[b]:
			return 1
		}
		return 0
	})
	return order
}

// Pearson returns the correlation of x and y, in [-1, 1].
func Pearson(x, y []float64) (float64, error) {
	if err := checkPair(x, y); err != nil {
		return 0, err
	}
	return weightedPearson(x, y, func(int) float64 { return 1 })
}

// WeightedPearson is Pearson with the weights n, ..., 1 from the largest to the
// smallest accuracy y, ties by position.
func WeightedPearson(x, y []float64) (float64, error) {
	if err := checkPair(x, y); err != nil {
		return 0, err
	}
	weight := make([]float64, len(y))
	for rank, i := range ascending(y) {
		weight[i] = float64(rank + 1)
	}
	return weightedPearson(x, y, func(i int) float64 { return weight[i] })
}

func weightedPearson(x, y []float64, weight func(int) float64) (float64, error) {
	var total, mx, my, xx, yy, xy float64
	for i := range x {
		total += weight(i)
	}
	for i, v := range x {
		w := weight(i) / total
		mx += w * v
		my += w * y[i]
	}
	for i, v := range x {
		w := weight(i) / total
		xx += w * (v - mx) * (v - mx)
		yy += w * (y[i] - my) * (y[i] - my)
		xy += w * (v - mx) * (y[i] - my)
	}
	if slices.Min(x) == slices.Max(x) || slices.Min(y) == slices.Max(y) || !(xx > 0 && yy > 0) {
		return 0, errConstant
	}
	return max(-1, min(xy/math.Sqrt(xx)/math.Sqrt(yy), 1)), nil
}

// Spearman returns the correlation of the ranks of x and y, in [-1, 1].
func Spearman(x, y []float64) (float64, error) {
	if err := checkPair(x, y); err != nil {
		return 0, err
	}
	return Pearson(Ranks(x), Ranks(y))
}

// Kendall returns Kendall's tau-b, in [-1, 1]: the pairs ordered alike less those
// ordered differently, corrected for ties.
func Kendall(x, y []float64) (float64, error) {
	if err := checkPair(x, y); err != nil {
		return 0, err
	}
	return weightedKendall(x, y, func(int) float64 { return 0.5 })
}

// Convention is what the weights of WeightedKendall depend on. Published values
// differ by it; a table without it cannot be repeated.
type Convention uint8

// The conventions.
const (
	// Both averages the weights by the ranks of either argument: the default of
	// SciPy's weightedtau, and what most published tables use.
	Both Convention = iota
	// ByFirst takes the weights from the ranks of the first argument alone:
	// SciPy's rank=None. Model-Spider's tables have the accuracies first.
	ByFirst
)

// WeightedKendall returns Vigna's tau with hyperbolic weights: a pair of models
// counts 1/(r+1) + 1/(s+1) for ranks r and s from 0, so that the order among the
// best matters most (Vigna, "A Weighted Correlation Index for Rankings with
// Ties", WWW 2015). It lies in [-1, 1].
//
// With Both the result is the mean of the tau by the decreasing ranks of x, ties
// broken by y, and of that by the ranks of y, ties broken by x. With ByFirst it is
// the first of the two.
func WeightedKendall(x, y []float64, c Convention) (float64, error) {
	if err := checkPair(x, y); err != nil {
		return 0, err
	}
	first, err := weightedKendall(x, y, hyperbolic(x, y))
	if err != nil || c == ByFirst {
		return first, err
	}
	second, err := weightedKendall(x, y, hyperbolic(y, x))
	return (first + second) / 2, err
}

// hyperbolic returns the weight of each position by its rank in decreasing order
// of x, ties by y. Models with both equal are alike, whatever their order.
func hyperbolic(x, y []float64) func(int) float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		for _, v := range [][]float64{x, y} {
			switch {
			case v[a] > v[b]:
				return -1
			case v[a] < v[b]:
				return 1
			}
		}
		return 0
	})
	weight := make([]float64, len(x))
	for rank, i := range order {
		weight[i] = 1 / float64(rank+1)
	}
	return func(i int) float64 { return weight[i] }
}

// weightedKendall is tau-b with the sum of two weights a pair.
func weightedKendall(x, y []float64, weight func(int) float64) (float64, error) {
	var agree, untiedX, untiedY float64
	for i := range x {
		for j := range i {
			w := weight(i) + weight(j)
			dx, dy := sign(x[i]-x[j]), sign(y[i]-y[j])
			agree += w * dx * dy
			untiedX += w * dx * dx
			untiedY += w * dy * dy
		}
	}
	if untiedX == 0 || untiedY == 0 {
		return 0, errConstant
	}
	return max(-1, min(agree/math.Sqrt(untiedX)/math.Sqrt(untiedY), 1)), nil
}

func sign(v float64) float64 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}
