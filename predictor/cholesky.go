package predictor

import (
	"errors"
	"fmt"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/lapack/lapack64"

	"quicktune/internal/nn"
)

// The jitter that is added to a diagonal when a covariance cannot be factored:
// none first, then from jitterFirst to jitterLast by factors of ten.
const (
	jitterFirst = 1e-8
	jitterLast  = 1e-2
)

var errNotFinite = errors.New("predictor: the weights or the data lead to numbers that are not finite; start again from the initial weights")

// factor writes the Cholesky factor of the symmetric matrix a, of which the
// lower triangle is given, plus noise on the diagonal, to the lower triangle of
// l. a is not changed. What lies above the diagonal of l is undefined.
func factor(l, a nn.Matrix, noise float64) error {
	n := a.Rows
	for _, jitter := range jitters {
		for i := range n {
			copy(l.Row(i)[:i+1], a.Row(i)[:i+1])
			l.Row(i)[i] += noise + jitter
		}
		if potrf(l) {
			return nil
		}
	}
	return fmt.Errorf("predictor: the covariance of %d rows is not positive definite even with a jitter of %g: the weights or the data are not usable", n, jitterLast)
}

var jitters = func() []float64 {
	out := []float64{0}
	for j := jitterFirst; j < 2*jitterLast; j *= 10 {
		out = append(out, j)
	}
	return out
}()

// potrf factors the lower triangle of a in place and reports whether it is
// positive definite and finite.
func potrf(a nn.Matrix) bool {
	if a.Rows == 0 {
		return true
	}
	_, ok := lapack64.Potrf(blas64.Symmetric{Uplo: blas.Lower, N: a.Rows, Stride: a.Stride, Data: a.Data})
	if !ok {
		return false
	}
	for i := range a.Rows {
		if !nn.Finite(a.Row(i)[:i+1]) {
			return false
		}
	}
	return true
}

func triangular(l nn.Matrix, diag blas.Diag) blas64.Triangular {
	return blas64.Triangular{Uplo: blas.Lower, Diag: diag, N: l.Rows, Stride: l.Stride, Data: l.Data}
}

// solveLower overwrites x with L⁻¹ x.
func solveLower(l nn.Matrix, x []float64) {
	blas64.Trsv(blas.NoTrans, triangular(l, blas.NonUnit), blas64.Vector{N: len(x), Inc: 1, Data: x})
}

// solveLowerTransposed overwrites x with L⁻ᵀ x.
func solveLowerTransposed(l nn.Matrix, x []float64) {
	blas64.Trsv(blas.Trans, triangular(l, blas.NonUnit), blas64.Vector{N: len(x), Inc: 1, Data: x})
}

// solveLowerMany overwrites the columns of b with L⁻¹ b.
func solveLowerMany(l, b nn.Matrix) {
	if b.Rows == 0 || b.Cols == 0 {
		return
	}
	blas64.Trsm(blas.Left, blas.NoTrans, 1, triangular(l, blas.NonUnit), blas64.General{Rows: b.Rows, Cols: b.Cols, Stride: b.Stride, Data: b.Data})
}

// invertFromFactor overwrites the lower triangle of l, a Cholesky factor of A,
// with that of A⁻¹.
func invertFromFactor(l nn.Matrix) {
	lapack64.Potri(blas64.Triangular{Uplo: blas.Lower, Diag: blas.NonUnit, N: l.Rows, Stride: l.Stride, Data: l.Data})
}

// lower is a Cholesky factor that grows by rows.
type lower struct {
	n    int
	data []float64 // stride x stride, stride >= n
	step int
}

func (l *lower) reset() { l.n = 0 }

func (l *lower) matrix() nn.Matrix {
	return nn.Matrix{Rows: l.n, Cols: l.n, Stride: l.step, Data: l.data}
}

// extend adds rows whose covariances with the rows so far are cross [m, n] and
// with each other the lower triangle of own [m, m], to whose diagonal noise is
// added. cross is overwritten. On an error the factor is as it was.
//
// With A = L Lᵀ the factor of the larger matrix has the rows
// [L 0; C L⁻ᵀ, chol(D - C L⁻ᵀ L⁻¹ Cᵀ)].
func (l *lower) extend(cross, own nn.Matrix, noise float64) error {
	m := own.Rows
	if l.n > 0 {
		blas64.Trsm(blas.Right, blas.Trans, 1, triangular(l.matrix(), blas.NonUnit), blas64.General{Rows: m, Cols: l.n, Stride: cross.Stride, Data: cross.Data})
		for i := range m {
			for j := range i + 1 {
				own.Row(i)[j] -= dot(cross.Row(i), cross.Row(j))
			}
		}
	}
	l.grow(l.n + m)
	corner := nn.Matrix{Rows: m, Cols: m, Stride: l.step, Data: l.data[l.n*l.step+l.n:]}
	if err := factor(corner, own, noise); err != nil {
		return err
	}
	for i := range m {
		copy(l.data[(l.n+i)*l.step:], cross.Row(i))
	}
	l.n += m
	return nil
}

func (l *lower) grow(n int) {
	if n <= l.step {
		return
	}
	step := max(n, 3*l.step/2, 64)
	data := make([]float64, step*step)
	for i := range l.n {
		copy(data[i*step:i*step+i+1], l.data[i*l.step:i*l.step+i+1])
	}
	l.data, l.step = data, step
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, v := range a {
		s += float64(v * b[i])
	}
	return s
}
