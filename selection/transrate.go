package selection

import (
	"math"
	"slices"

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
	rate, err := s.wholeRate(p, g, epsilon)
	if err != nil {
		return 0, err
	}
	most := 0
	for _, size := range p.counts {
		most = max(most, min(size, g.d))
	}
	all := workspace(most * most)
	defer release(all)
	members := make([][]int, p.classes)
	for i, c := range p.labels {
		members[c] = append(members[c], i)
	}
	rows := workspace(slices.Max(p.counts) * g.d)
	defer release(rows)
	classes := 0.0
	for c, size := range p.counts {
		for k, i := range members[c] {
			g.centre(i, 1, rows[k*g.d:])
		}
		order := min(size, g.d)
		work := all[:order*order]
		blas.Syrk(gblas.Lower, size > g.d, order, max(size, g.d), 1/(float64(size)*epsilon), rows, g.d, 0, work, order)
		r, err := codingRate(order, work)
		if err != nil {
			return 0, undefined(s, "%v", err)
		}
		classes += r
	}
	return finite(s, rate-classes/float64(p.classes))
}

// wholeRate is the coding rate of all features.
func (s TransRate) wholeRate(p *Probe, g *gram, epsilon float64) (float64, error) {
	scale := float64(g.n) * epsilon
	if g.primal {
		e, err := p.eigen()
		if err != nil {
			return 0, err
		}
		if c, ok := e.centred(scale); ok {
			return (c.logDeterminant() - float64(g.order)*math.Log(scale)) / 2, nil
		}
	}
	all := g.copied()
	defer release(all)
	for i, v := range all {
		all[i] = v / scale
	}
	rate, err := codingRate(g.order, all)
	if err != nil {
		return 0, undefined(s, "%v", err)
	}
	return rate, nil
}

// codingRate returns half the logarithm of det(I + A), overwriting A.
func codingRate(n int, a []float64) (float64, error) {
	for i := range n {
		a[i*n+i]++
	}
	log, err := logDeterminant(n, a)
	return log / 2, err
}
