package blas

import (
	"fmt"
	"math"

	gblas "gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
	lapack "gonum.org/v1/gonum/lapack/gonum"
)

// NotPositiveDefiniteError reports that a Cholesky factorisation met a pivot
// that is not positive (or is NaN): the leading minor of order Row+1 is not
// positive definite to working precision. The matrix has been partly
// overwritten.
type NotPositiveDefiniteError struct {
	Row   int     // index of the row, from 0
	Order int     // order of the whole matrix
	Pivot float64 // what should have been positive; NaN if not known
}

func (e *NotPositiveDefiniteError) Error() string {
	return fmt.Sprintf("blas: matrix of order %d is not positive definite: pivot %d is %g", e.Order, e.Row, e.Pivot)
}

// Cholesky overwrites the lower triangle of the symmetric n x n matrix a with
// its factor L, a = L*Lᵀ. The strict upper triangle is neither read nor
// written. The error is nil or a [*NotPositiveDefiniteError].
func Cholesky(a []float64, n, lda int) error { return ExtendCholesky(a, 0, n, lda) }

// ExtendCholesky factors the lower triangle of the symmetric matrix a of order
// n whose first done rows already hold those of its factor, and whose other
// rows still hold the matrix. The factor equals, bit for bit, the one
// [Cholesky] computes afresh, at the price of the new rows alone: O(n²) for
// each.
func ExtendCholesky(a []float64, done, n, lda int) error {
	checkSize("Cholesky", "done", done)
	checkSize("Cholesky", "n", n-done)
	checkMatrix("Cholesky", "a", n, n, lda, len(a))
	if p := Active(); p != Gonum {
		return cholesky(p, gblas.Lower, done, n, a, lda)
	}
	if done == n {
		return nil
	}
	var impl gonum.Implementation
	k := n - done
	rows, square := a[done*lda:], a[done*lda+done:]
	if done > 0 {
		impl.Dtrsm(gblas.Right, gblas.Lower, gblas.Trans, gblas.NonUnit, k, done, 1, a, lda, rows, lda)
		impl.Dsyrk(gblas.Lower, gblas.NoTrans, k, done, -1, rows, lda, 1, square, lda)
	}
	if !(lapack.Implementation{}).Dpotrf(gblas.Lower, k, square, lda) {
		return &NotPositiveDefiniteError{Row: done, Order: n, Pivot: math.NaN()}
	}
	return nil
}

// cholesky factors either triangle, a = L*Lᵀ or Uᵀ*U, given done rows of L (or
// columns of U). It goes left to right by blocks of blockT columns of L: a
// product with all the columns before brings the block up to date, a leaf
// factors the square on the diagonal, a triangular solve finishes the rest.
// Which operations make an element depends on its position alone.
func cholesky(p Path, uplo gblas.Uplo, done, n int, a []float64, lda int) error {
	lower := uplo == gblas.Lower
	buf := getBuffer[float64](blockT * blockT)
	defer putBuffer(buf)
	// l is the matrix with the factor's rows as rows, however it is stored.
	l := operand(!lower, a, lda)
	lt := view[float64]{a, 0, l.cs, l.rs}
	u := view[float64]{*buf, 0, blockT, 1}
	for j := 0; j < n; j += blockT {
		w := min(blockT, n-j)
		if known := min(max(done-j, 0), w); known < w {
			loadTriangle(p, lower, w, a[j*lda+j:], lda, u)
			gemm(p, w, w-known, j, -1, l.at(j, 0), lt.at(0, j+known), 1, u.at(0, known))
			if i, pivot := factorLeaf(p, known, w, u); i >= 0 {
				return &NotPositiveDefiniteError{Row: j + i, Order: n, Pivot: pivot}
			}
			storeTriangle(p, lower, known, w, u, a[j*lda+j:], lda)
		}
		i := max(j+w, done)
		switch {
		case i == n:
		case lower:
			gemm(p, n-i, w, j, -1, l.at(i, 0), lt.at(0, j), 1, l.at(i, j))
			trsmRightLeaf(p, false, false, n-i, w, l.at(j, j), l.at(i, j))
		default:
			gemm(p, w, n-i, j, -1, l.at(j, 0), lt.at(0, i), 1, lt.at(j, i))
			trsmLeaf(p, false, w, n-i, l.at(j, j), lt.at(j, i))
		}
	}
	return nil
}

// loadTriangle copies the stored triangle of the n x n matrix a to the upper
// triangle of u.
func loadTriangle(p Path, lower bool, n int, a []float64, lda int, u view[float64]) {
	for i := 0; i < n; i += 4 {
		h := min(4, n-i)
		if lower {
			transpose(p, h, i, a, i*lda, lda, u.data, i, u.rs)
			transposePortable(h, h, a, i*lda+i, lda, u.data, i*u.rs+i, u.rs)
			continue
		}
		for r := i; r < i+h; r++ {
			copy(u.data[r*u.rs+r:r*u.rs+n], a[r*lda+r:])
		}
	}
}

// storeTriangle copies the columns of the upper triangle of u from known on
// back to the stored triangle of a.
func storeTriangle(p Path, lower bool, known, n int, u view[float64], a []float64, lda int) {
	if lower {
		for i := known; i < n; i += 4 {
			h := min(4, n-i)
			transpose(p, i, h, u.data, i, u.rs, a, i*lda, lda)
			for r := i; r < i+h; r++ {
				for c := i; c <= r; c++ {
					a[r*lda+c] = u.data[c*u.rs+r]
				}
			}
		}
		return
	}
	for r := range n {
		c := max(r, known)
		copy(a[r*lda+c:r*lda+n], u.data[r*u.rs+c:])
	}
}

// factorLeaf factors the upper triangle of u, of order n at most blockT, in
// place, given its first known columns; what lies below the diagonal is
// scratch. It returns -1, or the index and the value of the pivot that is not
// positive. Each element takes the steps of [trsmPanelPortable].
func factorLeaf(p Path, known, n int, u view[float64]) (int, float64) {
	var dinv [blockT]float64
	for i := range known {
		dinv[i] = 1 / u.data[i*u.rs+i]
	}
	width := panelWidth[float64](p)
	for r := 0; r < n; r += 4 {
		h := min(4, n-r)
		next := max(r+h, known)
		if known < r+h {
			c := max(r, known)
			if r > 0 {
				gemmPanel(p, h, r+h-c, r, -1, u.data, r, 1, u.rs, u.data, c, u.rs, u.data, r*u.rs+c, u.rs, true)
			}
			if i, pivot := factorSquare(c-r, h, u.at(r, r), dinv[r:]); i >= 0 {
				return r + i, pivot
			}
		}
		for c := next; c < n; c += width {
			trsmPanel(p, r, r+h, min(width, n-c), u.data, 0, 1, u.rs, dinv[:n], u.data, c, u.rs)
		}
	}
	return -1, 0
}

// factorSquare factors the upper triangle of u, of order n at most 4, in place,
// given its first known columns, and sets the reciprocals of the new diagonal.
func factorSquare(known, n int, u view[float64], dinv []float64) (int, float64) {
	var x [4][4]float64
	for r := range n {
		copy(x[r][r:n], u.data[u.off+r*u.rs+r:])
	}
	for i := range n {
		if i >= known {
			d := x[i][i]
			if !(d > 0) {
				return i, d
			}
			d = math.Sqrt(d)
			x[i][i] = d
			dinv[i] = 1 / d
		}
		for c := max(i+1, known); c < n; c++ {
			x[i][c] *= dinv[i]
		}
		for r := i + 1; r < n; r++ {
			for c := max(r, known); c < n; c++ {
				x[r][c] = math.FMA(-x[i][r], x[i][c], x[r][c])
			}
		}
	}
	for r := range n {
		copy(u.data[u.off+r*u.rs+r:u.off+r*u.rs+n], x[r][r:])
	}
	return -1, 0
}

// SolveLower solves L*X = B, or Lᵀ*X = B with trans, in place for the n x m
// matrix B, where L is the lower triangle of the n x n matrix l, a Cholesky
// factor.
func SolveLower(trans bool, n, m int, l []float64, ldl int, b []float64, ldb int) {
	Trsm(gblas.Left, gblas.Lower, trans, gblas.NonUnit, n, m, 1, l, ldl, b, ldb)
}

// CholeskySolve solves L*Lᵀ*X = B in place for the n x m matrix B.
func CholeskySolve(n, m int, l []float64, ldl int, b []float64, ldb int) {
	SolveLower(false, n, m, l, ldl, b, ldb)
	SolveLower(true, n, m, l, ldl, b, ldb)
}

// CholeskyInverse writes the inverse of L*Lᵀ, both triangles, to the n x n
// matrix dst, which may be l itself.
func CholeskyInverse(n int, l []float64, ldl int, dst []float64, ldd int) {
	checkSize("CholeskyInverse", "n", n)
	checkMatrix("CholeskyInverse", "l", n, n, ldl, len(l))
	checkMatrix("CholeskyInverse", "dst", n, n, ldd, len(dst))
	if p := Active(); p != Gonum {
		choleskyInverse(p, n, operand(false, l, ldl), view[float64]{dst, 0, ldd, 1})
	} else {
		for i := range n {
			copy(dst[i*ldd:i*ldd+i+1], l[i*ldl:])
		}
		lapack.Implementation{}.Dpotri(gblas.Lower, n, dst, ldd)
	}
	for i := range n {
		for j := range i {
			dst[j*ldd+i] = dst[i*ldd+j]
		}
	}
}

// choleskyInverse writes the lower triangle of the inverse of l*lᵀ to dst. It
// inverts l block row by block row, then multiplies the inverse V from the
// left by its transpose, and skips what is known to be zero in both.
func choleskyInverse(p Path, n int, l, dst view[float64]) {
	buf := getBuffer[float64](n * n)
	defer putBuffer(buf)
	v := view[float64]{*buf, 0, n, 1}
	for i := 0; i < n; i += blockT {
		h := min(blockT, n-i)
		for j := 0; j < i; j += blockT {
			gemm(p, h, blockT, i-j, -1, l.at(i, j), v.at(j, j), 0, v.at(i, j))
		}
		for r := i; r < i+h; r++ {
			row := v.data[r*n : r*n+n]
			clear(row[i:])
			row[r] = 1
		}
		trsmLeaf(p, false, h, i+h, l.at(i, i), v.at(i, 0))
	}
	vt := view[float64]{*buf, 0, 1, n}
	for i := 0; i < n; i += blockT {
		h := min(blockT, n-i)
		gemm(p, h, i+h, n-i, 1, vt.at(i, i), v.at(i, 0), 0, dst.at(i, 0))
	}
}
