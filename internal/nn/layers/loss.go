package layers

import (
	"math"

	"quicktune/internal/nn/vec"
)

// CrossEntropy returns the mean over the rows of logits [rows, classes] of
// -Σ target·log softmax(logits), and turns logits into its gradient, scaled by
// weight. The rows of targets [rows, classes] are distributions.
func CrossEntropy[T Float](logits, targets []T, rows int, weight float64) float64 {
	n := len(logits) / rows
	loss := 0.0
	for r := range rows {
		z, p := logits[r*n:(r+1)*n], targets[r*n:(r+1)*n]
		loss += rowLoss(z, p)
	}
	vec.Softmax(logits, rows)
	vec.Axpy(-1, targets, logits)
	vec.Scale(logits, T(weight/float64(rows)))
	return loss / float64(rows)
}

// rowLoss is -Σ p·log softmax(z) in float64.
func rowLoss[T Float](z, p []T) float64 {
	top := z[0]
	for _, v := range z {
		top = max(top, v)
	}
	sum, dot, mass := 0.0, 0.0, 0.0
	for j, v := range z {
		d := float64(v) - float64(top)
		sum += math.Exp(d)
		if p[j] != 0 {
			dot += float64(p[j]) * d
			mass += float64(p[j])
		}
	}
	return mass*math.Log(sum) - dot
}

// Smooth writes the target distribution of each label to a row of targets
// [rows, classes]: 1-smoothing on the label besides smoothing/classes on every
// class. Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016.
func Smooth[T Float](targets []T, labels []int, classes int, smoothing float64) {
	off := smoothing / float64(classes)
	for i := range targets[:len(labels)*classes] {
		targets[i] = T(off)
	}
	for r, y := range labels {
		targets[r*classes+y] = T(1 - smoothing + off)
	}
}

// Evaluate returns the sum of the cross-entropies of the labels and the number
// of rows of logits whose largest element, the first of equals, is the label.
// A row with an element that is no number is never right.
func Evaluate[T Float](logits []T, labels []int) (loss float64, right int) {
	n := len(logits) / max(len(labels), 1)
	for r, y := range labels {
		z := logits[r*n : (r+1)*n]
		best, top, sum := 0, float64(z[0]), 0.0
		for j, v := range z {
			if float64(v) > top {
				best, top = j, float64(v)
			}
		}
		for _, v := range z {
			sum += math.Exp(float64(v) - top)
		}
		l := math.Log(sum) + top - float64(z[y])
		loss += l
		if best == y && !math.IsNaN(l) {
			right++
		}
	}
	return loss, right
}
