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
// its factor L, a = L*Lᵀ. What lies above the diagonal does not matter and
// stays as it is. The error is nil or a [*NotPositiveDefiniteError].
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
	ld := spread(min(n, blockT))
	buf := getBuffer[float64](blockT * ld)
	defer putBuffer(buf)
	// l is the matrix with the factor's rows as rows, however it is stored.
	l := operand(!lower, a, lda)
	lt := view[float64]{a, 0, l.cs, l.rs}
	u := view[float64]{*buf, 0, ld, 1}
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

// spread returns a leading dimension for n columns of scratch, whole cache
// lines, but not such that the rows share few cache sets.
func spread(n int) int {
	ld := (n + 7) &^ 7
	if ld%64 == 0 {
		ld += 8
	}
	return ld
}

// loadTriangle copies the stored triangle of the n x n matrix a to the upper
// triangle of u.
func loadTriangle(p Path, lower bool, n int, a []float64, lda int, u view[float64]) {
	const strip = 16
	for i := 0; i < n; i += strip {
		h := min(strip, n-i)
		if lower { // and a little of what lies above the diagonal, to no effect
			transpose(p, h, i+h, a, i*lda, lda, u.data, i, u.rs)
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
		const strip = 16
		for i := known; i < n; i += strip {
			h := min(strip, n-i)
			transpose(p, i, h, u.data, i, u.rs, a, i*lda, lda)
			for r := i; r < i+h; r++ {
				row := a[r*lda+i : r*lda+r+1]
				for c := range row {
					row[c] = u.data[(i+c)*u.rs+r]
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
		switch {
		case known >= r+h:
		case known <= r:
			next = min(r+width, n)
			if i := factorPanel(p, r, h, next-r, u, dinv[:n]); i >= 0 {
				return r + i, u.data[(r+i)*(u.rs+1)]
			}
		default:
			if i := factorSquare(p, r, known-r, h, u, dinv[:n]); i >= 0 {
				return r + i, u.data[(r+i)*(u.rs+1)]
			}
		}
		for c := next; c < n; c += width {
			trsmPanel(p, r, r+h, min(width, n-c), u.data, 0, 1, u.rs, dinv[:n], u.data, c, u.rs)
		}
	}
	return -1, 0
}

// factorPanelPortable brings rows r to r+h of the upper triangle u, h at most
// 4, up to date with the finished rows above and factors them, for n columns
// from r on. It returns -1, or the index from r of the first pivot that is not
// positive, which is left in its place.
func factorPanelPortable(r, h, n int, u view[float64], dinv []float64) int {
	if i := factorSquare(Portable, r, 0, h, u, dinv); i >= 0 {
		return i
	}
	trsmPanelPortable(r, r+h, n-h, u.data, 0, 1, u.rs, dinv, u.data, r+h, u.rs)
	return -1
}

// factorSquare does the same to the square of order n on the diagonal alone,
// given its first known columns and the reciprocals of their diagonal.
func factorSquare(p Path, r, known, n int, u view[float64], dinv []float64) int {
	square := u.at(r, r)
	if r > 0 {
		gemmPanel(p, n, n-known, r, -1, u.data, r, 1, u.rs, u.data, r+known, u.rs, square.data, square.off+known, u.rs, true)
	}
	var x [4][4]float64
	for i := range n {
		copy(x[i][i:n], u.data[square.off+i*u.rs+i:])
	}
	for i := range n {
		if i >= known {
			d := x[i][i]
			if !(d > 0) {
				u.data[square.off+i*(u.rs+1)] = d
				return i
			}
			d = math.Sqrt(d)
			x[i][i], dinv[r+i] = d, 1/d
		}
		for c := max(i+1, known); c < n; c++ {
			x[i][c] *= dinv[r+i]
		}
		for q := i + 1; q < n; q++ {
			for c := max(q, known); c < n; c++ {
				x[q][c] = math.FMA(-x[i][q], x[i][c], x[q][c])
			}
		}
	}
	for i := range n {
		copy(u.data[square.off+i*u.rs+i:square.off+i*u.rs+n], x[i][i:])
	}
	return -1
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
	p := Active()
	if p != Gonum {
		choleskyInverse(p, n, operand(false, l, ldl), view[float64]{dst, 0, ldd, 1})
	} else {
		for i := range n {
			copy(dst[i*ldd:i*ldd+i+1], l[i*ldl:])
		}
		lapack.Implementation{}.Dpotri(gblas.Lower, n, dst, ldd)
	}
	const strip = 16
	for i := 0; i < n; i += strip {
		h := min(strip, n-i)
		transpose(p, h, i, dst, i*ldd, ldd, dst, i, ldd)
		for r := i; r < i+h; r++ {
			for c := i; c < r; c++ {
				dst[c*ldd+r] = dst[r*ldd+c]
			}
		}
	}
}

// choleskyInverse writes the lower triangle of the inverse of l*lᵀ to dst. It
// inverts l block row by block row, then multiplies the inverse V from the
// left by its transpose. Both are skipped where V is known to be zero, to the
// grain of blockT columns off the diagonal and of grain columns on it.
func choleskyInverse(p Path, n int, l, dst view[float64]) {
	const grain = 24
	ld := spread(n)
	buf := getBuffer[float64](n * ld)
	defer putBuffer(buf)
	v := view[float64]{*buf, 0, ld, 1}
	for i := 0; i < n; i += blockT {
		h := min(blockT, n-i)
		for j := 0; j < i; j += blockT {
			gemm(p, h, blockT, i-j, -1, l.at(i, j), v.at(j, j), 0, v.at(i, j))
		}
		trsmLeaf(p, false, h, i, l.at(i, i), v.at(i, 0))
		for r := i; r < i+h; r++ {
			row := v.data[r*ld+i : r*ld+i+h]
			clear(row)
			row[r-i] = 1
		}
		for c := i; c < i+h; c += grain {
			trsmLeaf(p, false, i+h-c, min(grain, i+h-c), l.at(c, c), v.at(c, c))
		}
	}
	vt := view[float64]{*buf, 0, 1, ld}
	for i := 0; i < n; i += blockT {
		h := min(blockT, n-i)
		gemm(p, h, i, n-i, 1, vt.at(i, i), v.at(i, 0), 0, dst.at(i, 0))
		for r := i; r < i+h; r += grain {
			w := min(grain, i+h-r)
			gemm(p, w, r-i+w, n-r, 1, vt.at(r, r), v.at(r, i), 0, dst.at(r, i))
		}
	}
}
