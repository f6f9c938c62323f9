package selection

import (
	"math"

	"gonum.org/v1/gonum/floats"
	lapack "gonum.org/v1/gonum/lapack/gonum"
)

// spectrum is the kernel FFᵀ of the features as they are, or with more images
// than features FᵀF, in tridiagonal form, with the indicator of each class
// turned along. It answers, for any shift t and in time linear in the order,
// what ridge regression of the classes on the features would answer with a
// singular value decomposition.
type spectrum struct {
	n, d            int
	primal          bool
	diagonal, below []float64
	// definite tells that every eigenvalue is far above what rounding explains,
	// so that sums over them are as exact from the tridiagonal form.
	definite bool
	// bound is no less than the largest eigenvalue.
	bound float64
	// target is, by class, the indicator (n) or its product with F (d), turned.
	target [][]float64
	counts []int

	values lazy[*eigenvalues]
}

// eigenvalues are those of a spectrum in ascending order.
type eigenvalues struct {
	noisy  []float64
	proper summed // with those that rounding explains set to 0
}

// eigen returns the spectrum of the features.
func (p *Probe) eigen() (*spectrum, error) {
	return p.spectrum.get(func() (*spectrum, error) {
		g := p.moments()
		m, classes := g.order, p.classes
		s := &spectrum{n: p.n, d: g.d, primal: g.primal, counts: p.counts}
		z := make([]float64, m*classes)
		if g.primal {
			sums := g.sums
			for c := range classes {
				for j, v := range sums[c*g.d : (c+1)*g.d] {
					z[j*classes+c] = v + float64(p.counts[c])*g.mean[j]
				}
			}
		} else {
			for i, c := range p.labels {
				z[i*classes+c] = 1
			}
		}
		matrix := g.raw()
		s.diagonal, s.below = tridiagonalise(m, matrix, classes, z)
		release(matrix)
		turned := transposed(m, classes, z)
		for c := range classes {
			s.target = append(s.target, turned[c*m:(c+1)*m])
		}
		s.bound, s.definite = extent(s.diagonal, s.below)
		return s, nil
	})
}

// leastEigenvalue is the least part of the largest eigenvalue that every one of a
// definite spectrum exceeds.
const leastEigenvalue = 1e-8

// extent returns an upper bound on the eigenvalues of a tridiagonal matrix and
// whether all of them exceed leastEigenvalue of it, which they do if the shifted
// matrix has a Cholesky factor.
func extent(diagonal, below []float64) (bound float64, definite bool) {
	for i, v := range diagonal {
		if i > 0 {
			v += math.Abs(below[i-1])
		}
		if i < len(below) {
			v += math.Abs(below[i])
		}
		bound = max(bound, v)
	}
	least := leastEigenvalue * bound
	pivot := diagonal[0] - least
	for i, b := range below {
		if !(pivot > 0) {
			return bound, false
		}
		pivot = diagonal[i+1] - least - b*b/pivot
	}
	return bound, pivot > 0
}

// eigenvalues returns the eigenvalues, for reading only.
func (s *spectrum) eigenvalues() (*eigenvalues, error) {
	return s.values.get(func() (*eigenvalues, error) {
		m := len(s.diagonal)
		noisy := append([]float64(nil), s.diagonal...)
		if m > 1 {
			off := append([]float64(nil), s.below...)
			// Dsterf of gonum 0.17 panics where it has to scale a block by
			// itself. A power of two rounds nothing, and without elements far
			// below the precision no block of two is tiny.
			largest := max(floats.Norm(noisy, math.Inf(1)), floats.Norm(off, math.Inf(1)))
			_, exponent := math.Frexp(largest)
			floats.Scale(math.Ldexp(1, -exponent), noisy)
			for i, v := range off {
				if off[i] = math.Ldexp(v, -exponent); math.Abs(off[i]) < 1e-50 {
					off[i] = 0
				}
			}
			if !(lapack.Implementation{}).Dsterf(m, noisy, off) {
				return nil, errNotConverged
			}
			floats.Scale(math.Ldexp(1, exponent), noisy)
		}
		proper := append(summed(nil), noisy...)
		cut := float64(max(s.n, s.d)) * 0x1p-52 * noisy[m-1]
		for i, v := range proper {
			if v <= cut {
				proper[i] = 0
			}
		}
		return &eigenvalues{noisy, proper}, nil
	})
}

// sums are sums over eigenvalues σ.
type sums interface {
	// effective returns the effective number of weights, Σ σ/(σ+t).
	effective(t float64) float64
	// logSum returns Σ log(a + b*σ).
	logSum(a, b float64) float64
}

// sums returns those of the spectrum, for one goroutine.
func (s *spectrum) sums() (sums, error) {
	if s.definite {
		m := len(s.diagonal)
		return &twisted{s.diagonal, s.below, make([]float64, m), make([]float64, m)}, nil
	}
	e, err := s.eigenvalues()
	if err != nil {
		return nil, err
	}
	return e.proper, nil
}

// summed are eigenvalues to be summed over one by one.
type summed []float64

func (values summed) effective(t float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v / (v + t)
	}
	return sum
}

func (values summed) logSum(a, b float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += math.Log(a + b*v)
	}
	return sum
}

// twisted sums over the eigenvalues of a positive definite tridiagonal T from
// the pivots of T + tI, top down and bottom up, without decomposing it: element
// i of the inverse's diagonal is one over the sum of both pivots less the
// diagonal's element (Parlett and Dhillon, "Fernando's solution to Wilkinson's
// problem", Linear Algebra and its Applications 267, 1997). Pivots are kept
// without t, so that a large one costs no digits.
type twisted struct {
	diagonal, below []float64
	down, up        []float64
}

func (w *twisted) effective(t float64) float64 {
	m := len(w.diagonal)
	w.down[0], w.up[m-1] = w.diagonal[0], w.diagonal[m-1]
	for i := 1; i < m; i++ {
		j := m - 1 - i
		w.down[i] = w.diagonal[i] - w.below[i-1]*w.below[i-1]/(w.down[i-1]+t)
		w.up[j] = w.diagonal[j] - w.below[j]*w.below[j]/(w.up[j+1]+t)
	}
	sum := 0.0
	for i, v := range w.down {
		v += w.up[i] - w.diagonal[i]
		sum += v / (v + t)
	}
	return sum
}

func (w *twisted) logSum(a, b float64) float64 {
	t := a / b
	pivot := w.diagonal[0]
	sum := math.Log(a + b*pivot)
	for i, v := range w.below {
		pivot = w.diagonal[i+1] - v*v/(pivot+t)
		sum += math.Log(a + b*pivot)
	}
	return sum
}

// scratch holds what ridge needs.
type scratch struct{ x, pivots, multipliers []float64 }

func (s *spectrum) scratch() *scratch {
	m := len(s.diagonal)
	return &scratch{make([]float64, m), make([]float64, m), make([]float64, m)}
}

// ridge returns, for the ridge regression of the indicator y of a class with the
// penalty t, the squared length of the weights and of the residual, and the
// product yᵀ(FFᵀ+tI)⁻¹y.
func (s *spectrum) ridge(class int, t float64, w *scratch) (weights, residual, inverse float64) {
	z := s.target[class]
	// Rounding may push eigenvalues that are 0 below it, which a shift as
	// small would not make up for.
	floor := 4 * float64(len(z)) * 0x1p-52 * s.bound
	solveShifted(s.diagonal, s.below, max(t, floor), z, w.x, w.pivots, w.multipliers)
	xx, xz := dot(w.x, w.x), dot(w.x, z)
	if s.primal {
		length := float64(s.counts[class])
		return xx, max(length-xz-t*xx, 0), max(length-xz, 0) / t
	}
	return max(xz-t*xx, 0), t * t * xx, xz
}
