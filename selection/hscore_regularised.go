package selection

import "quicktune/internal/blas"

// RegularisedHScore is HScore with the covariance of the features shrunk
// towards a multiple of the identity: Ibrahim, Ponomareva and Mazumder, "Newer
// is not always better: Rethinking transferability metrics, their peculiarities,
// stability and performance", ECML 2022, with the amount of Ledoit and Wolf, "A
// well-conditioned estimator for large-dimensional covariance matrices", Journal
// of Multivariate Analysis 88, 2004.
type RegularisedHScore struct{}

// Name returns "h-score-regularised".
func (RegularisedHScore) Name() string { return "h-score-regularised" }

// Needs returns nothing.
func (RegularisedHScore) Needs() Needs { return 0 }

// Score returns a number in [0, C-1]; the between-class covariance is divided by
// N-1 and that of the features by N, as in the public implementation.
func (s RegularisedHScore) Score(p *Probe) (float64, error) {
	g := p.moments()
	n, d := float64(g.n), float64(g.d)
	alpha, mean := ledoitWolf(g)
	if alpha >= 1 {
		return 0, nil
	}
	factor := (1 - alpha) / (n - 1)
	if g.primal {
		e, err := p.eigen()
		if err != nil {
			return 0, err
		}
		// S = (1-alpha)/n (C + shift*I).
		if c, ok := e.centred(alpha * mean * n / (1 - alpha)); ok {
			return finite(s, factor*n/(1-alpha)*c.between())
		}
	}
	order := g.order
	a := workspace(order * order)
	defer release(a)
	for i := range order {
		for j, v := range g.matrix[i*order : i*order+i+1] {
			a[i*order+j] = (1 - alpha) / n * v
		}
		a[i*order+i] += alpha * mean
	}
	if err := blas.Cholesky(a, order, order); err != nil {
		return 0, undefined(s, "%v", errNotPositive)
	}
	if g.primal {
		sums := transposed(p.classes, int(d), g.sums)
		return finite(s, HScore{}.share(p, a, sums, order, factor))
	}
	// With S = (1-alpha)/n K + alpha*mean*I for the kernel K of the images,
	// Fᵀ-side inverses become K S⁻¹ = n/(1-alpha) (I - alpha*mean S⁻¹).
	indicators := make([]float64, order*p.classes)
	for i, c := range p.labels {
		indicators[i*p.classes+c] = 1
	}
	inverse := HScore{}.share(p, a, indicators, order, 1)
	return finite(s, factor*n/(1-alpha)*(float64(p.classes)-alpha*mean*inverse))
}

// ledoitWolf returns the weight of the identity in the shrunk covariance of the
// rows and its factor, the mean variance.
func ledoitWolf(g *gram) (alpha, mean float64) {
	n, d := float64(g.n), float64(g.d)
	mean = g.trace() / n / d
	fourth := 0.0
	for _, q := range g.lengths {
		fourth += q * q
	}
	square := squares(g.order, g.matrix) / n / n
	noise := (fourth/n - square) / (d * n)
	spread := (square - d*mean*mean) / d
	noise = min(noise, spread)
	if !(noise > 0) {
		return 0, mean
	}
	return noise / spread, mean
}
