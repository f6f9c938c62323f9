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
	// values are the eigenvalues in ascending order, those that rounding
	// explains set to 0.
	values []float64
	// noisy are the same without that.
	noisy []float64
	// target is, by class, the indicator (n) or its product with F (d), turned.
	target [][]float64
	counts []int
}

// eigen returns the spectrum of the features.
func (p *Probe) eigen() (*spectrum, error) {
	return p.spectrum.get(func() (*spectrum, error) {
		g := p.moments()
		m, classes := g.order, p.classes
		s := &spectrum{n: p.n, d: g.d, primal: g.primal, counts: p.counts}
		z := make([]float64, m*classes)
		if g.primal {
			sums := g.classSums(p)
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
		s.noisy = append([]float64(nil), s.diagonal...)
		if m > 1 {
			off := append([]float64(nil), s.below...)
			// Dsterf of gonum 0.17 panics where it has to scale a block by
			// itself. A power of two rounds nothing, and without elements far
			// below the precision no block of two is tiny.
			largest := max(floats.Norm(s.noisy, math.Inf(1)), floats.Norm(off, math.Inf(1)))
			_, exponent := math.Frexp(largest)
			floats.Scale(math.Ldexp(1, -exponent), s.noisy)
			for i, v := range off {
				if off[i] = math.Ldexp(v, -exponent); math.Abs(off[i]) < 1e-50 {
					off[i] = 0
				}
			}
			if !(lapack.Implementation{}).Dsterf(m, s.noisy, off) {
				return nil, errNotConverged
			}
			floats.Scale(math.Ldexp(1, exponent), s.noisy)
		}
		s.values = append([]float64(nil), s.noisy...)
		cut := float64(max(s.n, s.d)) * 0x1p-52 * s.values[m-1]
		for i, v := range s.values {
			if v <= cut {
				s.values[i] = 0
			}
		}
		return s, nil
	})
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
	floor := 4 * float64(len(z)) * 0x1p-52 * s.values[len(s.values)-1]
	solveShifted(s.diagonal, s.below, max(t, floor), z, w.x, w.pivots, w.multipliers)
	xx, xz := dot(w.x, w.x), dot(w.x, z)
	if s.primal {
		length := float64(s.counts[class])
		return xx, max(length-xz-t*xx, 0), max(length-xz, 0) / t
	}
	return max(xz-t*xx, 0), t * t * xx, xz
}

// effective returns the effective number of weights, Σ σ/(σ+t).
func effective(values []float64, t float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v / (v + t)
	}
	return sum
}

// logSum returns Σ log(a + b*σ).
func logSum(values []float64, a, b float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += math.Log(a + b*v)
	}
	return sum
}
