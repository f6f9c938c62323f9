package trees

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Loss is what boosting reduces.
type Loss int

// The losses. A prediction estimates the conditional mean under Squared, the
// median under Absolute, the quantile Boosting.Quantile under Quantile, and
// the log-odds of target 1 under Logistic, whose targets are 0 and 1.
const (
	Squared Loss = iota
	Absolute
	Quantile
	Logistic
)

// String returns the name of the loss.
func (l Loss) String() string {
	switch l {
	case Squared:
		return "squared"
	case Absolute:
		return "absolute"
	case Quantile:
		return "quantile"
	case Logistic:
		return "logistic"
	}
	return fmt.Sprintf("Loss(%d)", int(l))
}

// objective computes a loss over one training set.
type objective struct {
	loss     Loss
	quantile float64
	y        []float64
	weights  []float64 // nil: all 1
	buffer   []weighted
}

// A weighted value is never -0, which would sort as 0.
type weighted struct{ value, weight float64 }

// constantHessian reports whether every row has second derivative 1.
func (o *objective) constantHessian() bool { return o.weights == nil && o.loss != Logistic }

// refits reports whether leaves take the quantile of residuals in place of the
// Newton step.
func (o *objective) refits() bool { return o.loss == Absolute || o.loss == Quantile }

// baseline returns the best constant.
func (o *objective) baseline() float64 {
	if o.refits() {
		o.buffer = o.buffer[:0]
		for r, y := range o.y {
			o.buffer = append(o.buffer, weighted{y + 0, o.weight(r)})
		}
		return o.centre()
	}
	mean := exactMean(o.y, o.weights)
	if o.loss == Logistic {
		const edge = 10 * 0x1p-52
		mean = min(max(mean, edge), 1-edge)
		return math.Log(mean / (1 - mean))
	}
	return mean
}

func (o *objective) weight(r int) float64 {
	if o.weights == nil {
		return 1
	}
	return o.weights[r]
}

// derivatives sets the first and, unless constant, second derivatives of the
// loss at the predictions.
func (o *objective) derivatives(predictions, gradients, hessians []float64) {
	for r, p := range predictions {
		y := o.y[r]
		var g float64
		switch o.loss {
		case Squared:
			g = p - y
		case Absolute:
			g = -1
			if p > y {
				g = 1
			}
		case Quantile:
			g = -o.quantile
			if p > y {
				g = 1 - o.quantile
			}
		case Logistic:
			q := 1 / (1 + math.Exp(-p))
			g = q - y
			hessians[r] = q * (1 - q) * o.weight(r)
		}
		if o.weights != nil {
			g *= o.weights[r]
			if o.loss != Logistic {
				hessians[r] = o.weights[r]
			}
		}
		gradients[r] = g
	}
}

// leafValue returns the quantile of the residuals of the rows.
func (o *objective) leafValue(rows []int32, predictions []float64) float64 {
	o.buffer = o.buffer[:0]
	for _, r := range rows {
		o.buffer = append(o.buffer, weighted{o.y[r] - predictions[r] + 0, o.weight(int(r))})
	}
	return o.centre()
}

// centre returns the quantile of o.buffer: interpolated linearly where all
// weights are 1, else the lowest value with at least that part of the weight
// at or below it.
func (o *objective) centre() float64 {
	slices.SortFunc(o.buffer, func(a, b weighted) int {
		return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.weight, b.weight))
	})
	q := o.quantile
	if o.loss == Absolute {
		q = 0.5
	}
	last := len(o.buffer) - 1
	if o.weights == nil {
		at := q * float64(last)
		lo := int(at)
		a, b := o.buffer[lo].value, o.buffer[min(lo+1, last)].value
		return a + float64((b-a)*(at-float64(lo)))
	}
	total := 0.0
	for _, v := range o.buffer {
		total += v.weight
	}
	want, sum := q*total, 0.0
	for _, v := range o.buffer {
		if sum += v.weight; sum >= want && v.weight > 0 {
			return v.value
		}
	}
	return o.buffer[last].value
}

// exactMean returns the mean, the same for every order of the rows: products
// are summed in fixed point, twice, the second time about the first mean.
func exactMean(y, weights []float64) float64 {
	total := float64(len(y))
	if weights != nil {
		total = fixedSum(weights)
	}
	terms := make([]float64, len(y))
	mean := 0.0
	for range 2 {
		for r, v := range y {
			terms[r] = v - mean
			if weights != nil {
				terms[r] *= weights[r]
			}
		}
		mean += fixedSum(terms) / total
	}
	return min(max(mean, slices.Min(y)), slices.Max(y))
}

// fixedSum adds numbers rounded to 62 - log2(len) bits below the largest.
func fixedSum(values []float64) float64 {
	scale, unscale := fixedPoint(values, 62-bitLength(len(values)))
	var sum int64
	for _, v := range values {
		sum += int64(math.RoundToEven(v * scale))
	}
	return float64(sum) * unscale
}

// fixedPoint returns the power of two that takes every value to a size below
// 2^bits, and its inverse.
func fixedPoint(values []float64, bits int) (scale, unscale float64) {
	largest := 0.0
	for _, v := range values {
		largest = max(largest, math.Abs(v))
	}
	_, exponent := math.Frexp(largest)
	shift := min(max(bits-exponent, -1000), 1000)
	return math.Ldexp(1, shift), math.Ldexp(1, -shift)
}
