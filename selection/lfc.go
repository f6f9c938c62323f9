package selection

import "math"

// Variant selects how LFC compares features and labels.
type Variant uint8

// The variants of LFC. Published is that of the paper; the others remove the
// mean of the features, which rectified features have plenty of and which
// flattens the score.
const (
	// Published correlates the entries of FFᵀ with those of the label kernel.
	Published Variant = iota
	// Centred subtracts the mean feature first.
	Centred
	// OffDiagonal leaves out the diagonal of both kernels.
	OffDiagonal
	// CKA centres both kernels by rows and columns: the linear centred kernel
	// alignment of Kornblith et al., "Similarity of Neural Network
	// Representations Revisited", ICML 2019. It is Centred where all classes
	// have the same number of images.
	CKA
	// Cosine divides every feature vector by its length first.
	Cosine
)

var variantNames = [...]string{"lfc", "lfc-centred", "lfc-offdiag", "cka", "lfc-cosine"}

// LFC is the label-feature correlation of Deshpande et al., "A linearized
// framework and a new benchmark for model selection for fine-tuning",
// arXiv:2102.00084: the Pearson correlation, over all N² entries, between the
// Gram matrix of the features and the kernel that is 1 for images of one class
// and -1 otherwise. It lies in [-1, 1].
//
// It is computed without the N x N kernel from sums over classes and one Gram
// matrix of the smaller side.
type LFC struct{ Variant Variant }

// Name returns the name of the variant.
func (s LFC) Name() string { return variantNames[s.Variant] }

// Needs returns nothing.
func (LFC) Needs() Needs { return 0 }

// Score returns the correlation. It is not defined where no two images share a
// class.
func (s LFC) Score(p *Probe) (float64, error) {
	if s.Variant == Cosine {
		x := make([]float64, len(p.data.Features))
		for i := range p.n {
			row := p.data.Features[i*p.data.Dim : (i+1)*p.data.Dim]
			length := math.Sqrt(dot(row, row))
			if length == 0 {
				return 0, undefined(s, "the features of image %d are all 0", i)
			}
			for j, v := range row {
				x[i*p.data.Dim+j] = v / length
			}
		}
		return alignment(s, Published, newGram(x, p.data.Dim, p), p)
	}
	return alignment(s, s.Variant, p.moments(), p)
}

// alignment correlates the kernel whose moments are g with the labels of p. With
// K the kernel of the centred rows and a the product of each with the mean, the
// kernel of the rows is K + a1ᵀ + 1aᵀ up to a constant, K and a sum to 0, and
// so all sums over N² entries are sums over classes.
func alignment(s Scorer, v Variant, g *gram, p *Probe) (float64, error) {
	n := float64(p.n)
	sums := g.sums
	within := dot(sums, sums)
	var pairs, cubes float64
	for _, size := range p.counts {
		k := float64(size)
		pairs += k * k
		cubes += k * k * k
	}
	kernel := squares(g.order, g.matrix)
	labels := pairs - pairs*pairs/(n*n)
	switch v {
	case Centred:
	case CKA:
		labels = pairs - 2*cubes/n + pairs*pairs/(n*n)
	default:
		a := g.lean
		kernel += 2 * n * dot(a, a)
		for i, x := range a {
			within += 2 * x * float64(p.counts[p.labels[i]])
		}
		if v == OffDiagonal {
			var trace, diagonal float64
			for i, length := range g.lengths {
				x := length + 2*a[i]
				trace += x
				diagonal += x * x
			}
			entries, same := n*(n-1), pairs-n
			within += -trace + trace*same/entries
			kernel -= diagonal + trace*trace/entries
			labels = same - same*same/entries
		}
	}
	if !(labels > 0) {
		return 0, undefined(s, "no two images are of one class")
	}
	if !(kernel > 0) {
		return 0, undefined(s, "all pairs of images are equally similar")
	}
	return finite(s, max(-1, min(within/math.Sqrt(kernel)/math.Sqrt(labels), 1)))
}
