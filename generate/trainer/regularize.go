package trainer

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"quicktune/internal/nn/vec"
)

// Each regulariser adds its gradient to that of the loss and returns its share
// of the loss.

// l2sp is weight·Σ(θ-θ0)² over all elements: Li, Grandvalet and Davoine,
// "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
// ICML 2018.
func l2sp(weight float64, value, start, grad []float32) float64 {
	var s [2]float64
	w := float32(2 * weight)
	for i, v := range value {
		d := v - start[i]
		s[i&1] += float64(d) * float64(d)
		grad[i] += float32(w * d)
	}
	return weight * (s[0] + s[1])
}

// delta is weight·mean over the images of ‖f-f0‖², the features of the network
// and those of the pretrained one: Li et al., "DELTA", ICLR 2019, on the last
// layer and without attention.
func delta(weight float64, features, start, grad []float32, images int) float64 {
	sum := 0.0
	w := float32(2 * weight / float64(images))
	for i, v := range features {
		d := v - start[i]
		sum += float64(d) * float64(d)
		grad[i] += float32(w * d)
	}
	return weight * sum / float64(images)
}

// bss is weight·σ², σ being the smallest singular value of the batch's feature
// matrix [images, n]: Chen et al., "Catastrophic Forgetting Meets Negative
// Transfer: Batch Spectral Shrinkage", NeurIPS 2019, with k = 1. σ² is the least
// eigenvalue of the smaller of the two Gram matrices, with eigenvector u the
// gradient is 2·u·uᵀF.
func bss(weight float64, features, grad []float32, images int) float64 {
	n := len(features) / images
	rows, cols, rowStride, colStride := images, n, n, 1
	if n < images {
		rows, cols, rowStride, colStride = n, images, 1, n
	}
	gram := mat.NewSymDense(rows, nil)
	for i := range rows {
		for j := i; j < rows; j++ {
			s := 0.0
			for k := range cols {
				s += float64(features[i*rowStride+k*colStride]) * float64(features[j*rowStride+k*colStride])
			}
			gram.SetSym(i, j, s)
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(gram, true) {
		return math.NaN() // only of features that are not finite
	}
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	for k := range cols {
		along := 0.0
		for i := range rows {
			along += vectors.At(i, 0) * float64(features[i*rowStride+k*colStride])
		}
		for i := range rows {
			grad[i*rowStride+k*colStride] += float32(2 * weight * vectors.At(i, 0) * along)
		}
	}
	return weight * max(eigen.Values(nil)[0], 0)
}

// relationship is what co-tuning knows of the classes: row y is the mean of the
// source head's probabilities over the training images of class y, the direct
// way of You et al., "Co-Tuning for Transfer Learning", NeurIPS 2020. A class
// without images gets equal probabilities.
type relationship struct {
	source int // classes of the source
	p      []float32
}

// newRelationship sums the source probabilities of the images by class.
func newRelationship(probabilities []float32, labels []int, classes int) relationship {
	source := len(probabilities) / max(len(labels), 1)
	r := relationship{source: source, p: make([]float32, classes*source)}
	counts := make([]int, classes)
	for i, y := range labels {
		counts[y]++
		vec.Add(r.p[y*source:(y+1)*source], probabilities[i*source:(i+1)*source])
	}
	for y, n := range counts {
		row := r.p[y*source : (y+1)*source]
		if n == 0 {
			for j := range row {
				row[j] = 1 / float32(source)
			}
			continue
		}
		vec.Scale(row, 1/float32(n))
	}
	return r
}

// targets writes for each row of targets [images, classes] the mixture of the
// classes' source probabilities.
func (r relationship) targets(to, targets []float32, images int) {
	classes := len(targets) / images
	clear(to)
	for i := range images {
		for y, share := range targets[i*classes : (i+1)*classes] {
			if share != 0 {
				vec.Axpy(share, r.p[y*r.source:(y+1)*r.source], to[i*r.source:(i+1)*r.source])
			}
		}
	}
}
