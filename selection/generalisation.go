package selection

// Generalisation is minus the bound on the test error of the linearised model,
// YᵀΘ⁻¹Y/N averaged over classes, with the kernel Θ = FFᵀ of the last layer and
// labels of +1 and -1: Arora et al., "Fine-Grained Analysis of Optimization and
// Generalization for Overparameterized Two-Layer Neural Networks", ICML 2019, as
// section 3 of Deshpande et al., arXiv:2102.00084, uses it. A ridge stands in for
// the eigenvalues that are 0 when there are more images than features. The
// kernel is scaled to a mean diagonal of 1, which makes models comparable.
type Generalisation struct {
	// Ridge is added to the scaled kernel's diagonal; 0 means 1e-3.
	Ridge float64
}

// Name returns "generalisation".
func (Generalisation) Name() string { return "generalisation" }

// Needs returns nothing.
func (Generalisation) Needs() Needs { return 0 }

// Score returns a negative number.
func (s Generalisation) Score(p *Probe) (float64, error) {
	if s.Ridge < 0 {
		return 0, undefined(s, "the ridge %v is negative", s.Ridge)
	}
	ridge := s.Ridge
	if ridge == 0 {
		ridge = 1e-3
	}
	e, err := p.eigen()
	if err != nil {
		return 0, err
	}
	trace := 0.0
	for _, v := range e.diagonal {
		trace += v
	}
	scale := trace / float64(p.n)
	t := ridge * scale
	// The labels of class c are 2y-1: with K the inverse and 1 the sum of all
	// indicators, 4yᵀKy - 4yᵀK1 + 1ᵀK1.
	all := &spectrum{n: e.n, d: e.d, primal: e.primal, diagonal: e.diagonal, below: e.below, bound: e.bound, counts: []int{p.n}}
	sum := make([]float64, len(e.diagonal))
	for _, z := range e.target {
		for i, v := range z {
			sum[i] += v
		}
	}
	all.target = [][]float64{sum}
	w := e.scratch()
	_, _, ones := all.ridge(0, t, w)
	own := 0.0
	for c := range p.classes {
		_, _, inverse := e.ridge(c, t, w)
		own += inverse
	}
	classes := float64(p.classes)
	// Over all classes the cross terms add up to 1ᵀK1.
	total := 4*own - 4*ones + classes*ones
	return finite(s, -scale*total/classes/float64(p.n))
}
