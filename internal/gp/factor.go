package gp

import (
	"fmt"
	"math"

	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/blas"
	"quicktune/internal/nn"
)

// The jitter that is added to a diagonal when a covariance cannot be factored:
// none first, then from jitterFirst to jitterLast by factors of ten.
const (
	jitterFirst = 1e-8
	jitterLast  = 1e-2
)

var jitters = func() []float64 {
	out := []float64{0}
	for j := jitterFirst; j < 2*jitterLast; j *= 10 {
		out = append(out, j)
	}
	return out
}()

// Factor is a Cholesky factor L of a covariance, which grows by rows. The zero
// value has none.
type Factor struct {
	n    int
	step int       // distance of rows in data, at least n
	data []float64 // step x step
}

// Len is the number of rows.
func (l *Factor) Len() int { return l.n }

// LogDet is the logarithm of the determinant of L Lᵀ.
func (l *Factor) LogDet() float64 {
	s := 0.0
	for i := range l.n {
		s += 2 * math.Log(l.data[i*l.step+i])
	}
	return s
}

// Reset removes all rows and keeps the memory.
func (l *Factor) Reset() { l.n = 0 }

// Extend adds rows whose covariances with the rows so far are cross [m, n] and
// with each other the lower triangle of own [m, m], to whose diagonal noise is
// added. The result is that of factoring the whole matrix at once. On an error
// the factor is as it was.
func (l *Factor) Extend(cross, own nn.Matrix, noise float64) error {
	n, m := l.n, own.Rows
	l.grow(n + m)
	for _, jitter := range jitters {
		for i := range m {
			row := l.data[(n+i)*l.step:]
			copy(row[:n], cross.Row(i))
			copy(row[n:n+i+1], own.Row(i))
			row[n+i] += noise + jitter
		}
		if blas.ExtendCholesky(l.data, n, n+m, l.step) == nil && l.finite(n, n+m) {
			l.n += m
			return nil
		}
	}
	return fmt.Errorf("gp: the covariance of %d rows is not positive definite even with a jitter of %g: the weights or the data are not usable", n+m, jitterLast)
}

// finite reports whether the rows lo to hi of the factor are.
func (l *Factor) finite(lo, hi int) bool {
	for i := lo; i < hi; i++ {
		if !nn.Finite(l.data[i*l.step : i*l.step+i+1]) {
			return false
		}
	}
	return true
}

func (l *Factor) grow(n int) {
	if n <= l.step {
		return
	}
	step := max(n, 3*l.step/2, 32)
	data := make([]float64, step*step)
	for i := range l.n {
		copy(data[i*step:i*step+i+1], l.data[i*l.step:i*l.step+i+1])
	}
	l.data, l.step = data, step
}

// Solve overwrites x with the solution of L Lᵀ x = b given in it, and returns
// |L⁻¹ b|², which is bᵀ x.
func (l *Factor) Solve(x []float64) float64 {
	blas.Trsv(gblas.Lower, false, gblas.NonUnit, l.n, l.data, l.step, x)
	s := 0.0
	for _, v := range x {
		s += float64(v * v)
	}
	blas.Trsv(gblas.Lower, true, gblas.NonUnit, l.n, l.data, l.step, x)
	return s
}

// HalfSolve overwrites the columns of b [n, m] with L⁻¹ b.
func (l *Factor) HalfSolve(b nn.Matrix) {
	blas.SolveLower(false, l.n, b.Cols, l.data, l.step, b.Data, b.Stride)
}

// Inverse writes the inverse of L Lᵀ to dst.
func (l *Factor) Inverse(dst nn.Matrix) {
	blas.CholeskyInverse(l.n, l.data, l.step, dst.Data, dst.Stride)
}

// Mirror copies the lower triangle of a to the upper one, by blocks that fit
// the cache together with their image.
func Mirror(a nn.Matrix) {
	const block = 32
	for i0 := 0; i0 < a.Rows; i0 += block {
		for j0 := 0; j0 <= i0; j0 += block {
			for i := i0; i < min(i0+block, a.Rows); i++ {
				for j, v := range a.Row(i)[j0:min(j0+block, i)] {
					a.Data[(j0+j)*a.Stride+i] = v
				}
			}
		}
	}
}

// Truncate removes all rows but the first n, of which there must be as many.
func (l *Factor) Truncate(n int) { l.n = min(l.n, n) }

// HalfSolveRest overwrites the columns of b [n, m] with L⁻¹ b, where the first
// done rows of b already hold those of the solution.
func (l *Factor) HalfSolveRest(b nn.Matrix, done int) {
	rest := l.n - done
	if rest == 0 || b.Cols == 0 {
		return
	}
	below := b.Data[done*b.Stride:]
	if done > 0 {
		blas.Gemm(false, false, rest, b.Cols, done, -1, l.data[done*l.step:], l.step, b.Data, b.Stride, 1, below, b.Stride)
	}
	blas.SolveLower(false, rest, b.Cols, l.data[done*l.step+done:], l.step, below, b.Stride)
}

// Times writes L times each row of x, as a column, to that row of dst.
func (l *Factor) Times(dst, x nn.Matrix) {
	for s := range x.Rows {
		d, r := dst.Row(s), x.Row(s)
		for i := range l.n {
			v := 0.0
			for j, a := range l.data[i*l.step : i*l.step+i+1] {
				v += float64(a * r[j])
			}
			d[i] = v
		}
	}
}
