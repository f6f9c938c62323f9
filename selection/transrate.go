package selection

import (
	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/blas"
)

// TransRate is the coding rate of all features less the mean coding rate of the
// features of a class: Huang et al., "Frustratingly Easy Transferability
// Estimation", ICML 2022. The rate of n centred rows Z is
// ½ log det(I + ZᵀZ/(n ε)); classes count alike whatever their size, and their
// rows are centred on the mean of all, as in the public implementation.
type TransRate struct {
	// Epsilon is the distortion; 0 means 1e-4.
	Epsilon float64
}

// Name returns "transrate".
func (TransRate) Name() string { return "transrate" }

// Needs returns nothing.
func (TransRate) Needs() Needs { return 0 }

// Score returns the difference of rates.
func (s TransRate) Score(p *Probe) (float64, error) {
	epsilon := s.Epsilon
	if epsilon == 0 {
		epsilon = 1e-4
	}
	if !(epsilon > 0) {
		return 0, undefined(s, "the distortion %v is not positive", epsilon)
	}
	g := p.moments()
	work := make([]float64, g.order*g.order)
	scaled(work, g.matrix, 1/(float64(g.n)*epsilon))
	rate, err := codingRate(g.order, work)
	if err != nil {
		return 0, undefined(s, "%v", err)
	}
	ordered, starts := g.byClass(p)
	classes := 0.0
	for c, size := range p.counts {
		order := min(size, g.d)
		rows := ordered[starts[c]*g.d : (starts[c]+size)*g.d]
		work := work[:order*order]
		blas.Syrk(gblas.Lower, size > g.d, order, max(size, g.d), 1/(float64(size)*epsilon), rows, g.d, 0, work, order)
		r, err := codingRate(order, work)
		if err != nil {
			return 0, undefined(s, "%v", err)
		}
		classes += r
	}
	return finite(s, rate-classes/float64(p.classes))
}

// codingRate returns half the logarithm of det(I + A), overwriting A.
func codingRate(n int, a []float64) (float64, error) {
	for i := range n {
		a[i*n+i]++
	}
	log, err := logDeterminant(n, a)
	return log / 2, err
}

func scaled(dst, src []float64, factor float64) {
	for i, v := range src {
		dst[i] = factor * v
	}
}

// byClass returns the centred rows sorted by class, in their order within each,
// and the first row of each class.
func (g *gram) byClass(p *Probe) (rows []float64, starts []int) {
	starts = make([]int, p.classes)
	for c := 1; c < p.classes; c++ {
		starts[c] = starts[c-1] + p.counts[c-1]
	}
	next := append([]int(nil), starts...)
	rows = make([]float64, g.n*g.d)
	for i, c := range p.labels {
		copy(rows[next[c]*g.d:(next[c]+1)*g.d], g.centred[i*g.d:(i+1)*g.d])
		next[c]++
	}
	return rows, starts
}
