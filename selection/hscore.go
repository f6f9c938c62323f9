package selection

import (
	gblas "gonum.org/v1/gonum/blas"
	lapack "gonum.org/v1/gonum/lapack/gonum"

	"quicktune/internal/blas"
)

// HScore is tr(cov(F)⁺ cov(E[F|y])), the part of the features' variance, each
// direction weighted alike, that lies between classes: Bao et al., "An
// Information-Theoretic Approach to Transferability in Task Transfer Learning",
// ICIP 2019. It lies in [0, min(C-1, D)]. With no more images than features it
// is C-1 for nearly any features and says nothing; RegularisedHScore does.
//
// The pseudo-inverse drops the directions that rounding explains. (Public
// implementations keep most of them, and then their values are noise.)
type HScore struct{}

// Name returns "h-score".
func (HScore) Name() string { return "h-score" }

// Needs returns nothing.
func (HScore) Needs() Needs { return 0 }

// Score returns the between-class share.
func (s HScore) Score(p *Probe) (float64, error) {
	g := p.moments()
	if g.primal {
		return s.primal(p, g)
	}
	// The squared lengths of the projections of the classes' unit indicators on
	// the column space of F, which a pivoted factor of FFᵀ spans.
	n := g.n
	a := g.copied()
	defer release(a)
	pivots, rank := pivotedCholesky(n, a)
	if rank == 0 {
		return 0, undefined(s, "the features do not vary")
	}
	l := make([]float64, n*rank)
	for i := range n {
		copy(l[pivots[i]*rank:(pivots[i]+1)*rank], a[i*n:i*n+min(i+1, rank)])
	}
	inner := make([]float64, rank*rank)
	blas.Syrk(gblas.Lower, true, rank, n, 1, l, rank, 0, inner, rank)
	if err := blas.Cholesky(inner, rank, rank); err != nil {
		return 0, undefined(s, "%v", errNotPositive)
	}
	sums := make([]float64, rank*p.classes)
	for i, c := range p.labels {
		for j, v := range l[i*rank : (i+1)*rank] {
			sums[j*p.classes+c] += v
		}
	}
	return finite(s, s.share(p, inner, sums, rank, 1))
}

// primal needs the column means of each class alone, and the spectrum that other
// scores need too unless features nearly depend on others.
func (s HScore) primal(p *Probe, g *gram) (float64, error) {
	e, err := p.eigen()
	if err != nil {
		return 0, err
	}
	if c, ok := e.centred(0); ok {
		return finite(s, c.between())
	}
	d := g.d
	sums := transposed(p.classes, d, g.sums)
	a := g.copied()
	defer release(a)
	largest := 0.0
	for i := range d {
		largest = max(largest, a[i*d+i])
	}
	cut := pivotTolerance * float64(g.n) * 0x1p-52 * largest
	if blas.Cholesky(a, d, d) == nil {
		smallest := largest
		for i := range d {
			smallest = min(smallest, a[i*d+i]*a[i*d+i])
		}
		if smallest > cut {
			return finite(s, s.share(p, a, sums, d, 1))
		}
	}
	// Features that depend on others are left out: the rest spans the same.
	copy(a, g.matrix)
	pivots, rank := pivotedCholesky(d, a)
	if rank == 0 {
		return 0, undefined(s, "the features do not vary")
	}
	factor, chosen := make([]float64, rank*rank), make([]float64, rank*p.classes)
	for i := range rank {
		copy(factor[i*rank:i*rank+i+1], a[i*d:i*d+i+1])
		copy(chosen[i*p.classes:(i+1)*p.classes], sums[pivots[i]*p.classes:(pivots[i]+1)*p.classes])
	}
	return finite(s, s.share(p, factor, chosen, rank, 1))
}

// share returns Σ |L⁻¹ s|²/n over the classes' sums s, with n images each; it
// overwrites sums (order x classes).
func (HScore) share(p *Probe, l, sums []float64, order int, scale float64) float64 {
	blas.SolveLower(false, order, p.classes, l, order, sums, p.classes)
	total := make([]float64, p.classes)
	for i := range order {
		for c, v := range sums[i*p.classes : (i+1)*p.classes] {
			total[c] += v * v
		}
	}
	share := 0.0
	for c, v := range total {
		share += v / float64(p.counts[c])
	}
	return scale * share
}

// pivotTolerance times the order, the precision and the largest diagonal element
// is what rounding may leave of a pivot that is 0.
const pivotTolerance = 16

// pivotedCholesky overwrites the lower triangle of a positive semidefinite n x n
// matrix with a factor L of its permuted rows and columns, and returns the
// permutation and the rank.
func pivotedCholesky(n int, a []float64) (pivots []int, rank int) {
	largest := 0.0
	for i := range n {
		largest = max(largest, a[i*n+i])
	}
	pivots = make([]int, n)
	rank, _ = (lapack.Implementation{}).Dpstrf(gblas.Lower, n, a, n, pivots, pivotTolerance*float64(n)*0x1p-52*largest, make([]float64, 2*n))
	return pivots, rank
}
