package selection

import "math"

// centredSpectrum answers for the covariance C = FᵀF - s sᵀ/N of the centred
// features, with s the sum of the rows, what [spectrum] answers for FᵀF: it
// differs from the latter's tridiagonal form by the turned s alone, of which the
// targets of the classes are the parts.
type centredSpectrum struct {
	*spectrum
	sum     []float64 // s, turned
	shift   float64
	solved  []float64 // (FᵀF + shift)⁻¹ s
	rest    float64   // 1 - sᵀ(FᵀF + shift)⁻¹s/N
	scratch *scratch
}

// leastRest is the part of s, in the metric of the shifted matrix, that must be
// left beyond the mean's own: below it, rounding takes more than half of the
// digits and the covariance has to be decomposed by itself.
const leastRest = 1e-7

// centred returns C + shift*I, or false where it cannot be told from FᵀF, or is
// not safely positive definite.
func (s *spectrum) centred(shift float64) (*centredSpectrum, bool) {
	if !s.primal || !(shift > 0 || shift == 0 && s.definite) {
		return nil, false
	}
	c := &centredSpectrum{spectrum: s, shift: shift, scratch: s.scratch()}
	m := len(s.diagonal)
	c.sum, c.solved = make([]float64, m), make([]float64, m)
	for _, z := range s.target {
		for i, v := range z {
			c.sum[i] += v
		}
	}
	w := c.scratch
	solveShifted(s.diagonal, s.below, shift, c.sum, c.solved, w.pivots, w.multipliers)
	for _, p := range w.pivots {
		if !(p > 0) {
			return nil, false
		}
	}
	c.rest = 1 - dot(c.sum, c.solved)/float64(s.n)
	return c, c.rest > leastRest
}

// logDeterminant returns log det(C + shift*I).
func (c *centredSpectrum) logDeterminant() float64 {
	sum := math.Log(c.rest)
	for _, p := range c.scratch.pivots {
		sum += math.Log(p)
	}
	return sum
}

// between returns Σ uᵀ(C + shift)⁻¹u/n over the classes' sums u of the centred
// features, with n images each.
func (c *centredSpectrum) between() float64 {
	n := float64(c.n)
	u, x := make([]float64, len(c.sum)), make([]float64, len(c.sum))
	pivots, multipliers := make([]float64, len(c.sum)), make([]float64, len(c.sum))
	total := 0.0
	for class, z := range c.target {
		count := float64(c.counts[class])
		for i, v := range z {
			u[i] = v - count/n*c.sum[i]
		}
		solveShifted(c.diagonal, c.below, c.shift, u, x, pivots, multipliers)
		along := dot(c.solved, u)
		total += (dot(u, x) + along*along/(n*c.rest)) / count
	}
	return total
}
