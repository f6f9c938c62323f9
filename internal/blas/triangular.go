package blas

import (
	gblas "gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// blockT is the order of the triangular blocks solved by the leaf kernels, a
// multiple of 4; between blocks the work is matrix products. Like blockK it
// decides how results round.
const blockT = 72

// Syrk computes C = alpha*A*Aᵀ + beta*C (or alpha*Aᵀ*A + beta*C with trans) in
// the lower or the upper triangle of the n x n matrix C; the other triangle is
// neither read nor written. A is n x k (k x n with trans). Every element is
// equal, bit for bit, to what [Gemm] computes.
func Syrk[T Float](uplo gblas.Uplo, trans bool, n, k int, alpha T, a []T, lda int, beta T, c []T, ldc int) {
	ra, ca := n, k
	if trans {
		ra, ca = k, n
	}
	checkSize("Syrk", "n", n)
	checkSize("Syrk", "k", k)
	checkUplo("Syrk", uplo)
	checkMatrix("Syrk", "A", ra, ca, lda, len(a))
	checkMatrix("Syrk", "C", n, n, ldc, len(c))
	if n == 0 {
		return
	}
	p := Active()
	if p == Gonum {
		var impl gonum.Implementation
		switch a := any(a).(type) {
		case []float64:
			impl.Dsyrk(uplo, transFlag(trans), n, k, float64(alpha), a, lda, float64(beta), any(c).([]float64), ldc)
		case []float32:
			impl.Ssyrk(uplo, transFlag(trans), n, k, float32(alpha), a, lda, float32(beta), any(c).([]float32), ldc)
		}
		return
	}
	syrk(p, uplo == gblas.Lower, n, k, alpha, operand(trans, a, lda), beta, view[T]{c, 0, ldc, 1})
}

// syrk is Syrk for the n x k view a: halves on the diagonal in turn, and the
// rectangle between them by a product. Small squares go through scratch.
func syrk[T Float](p Path, lower bool, n, k int, alpha T, a view[T], beta T, c view[T]) {
	const leaf = 48
	at := view[T]{a.data, a.off, a.cs, a.rs}
	if n > leaf {
		h := (n/2 + 23) / 24 * 24
		syrk(p, lower, h, k, alpha, a, beta, c)
		syrk(p, lower, n-h, k, alpha, a.at(h, 0), beta, c.at(h, h))
		if lower {
			gemm(p, n-h, h, k, alpha, a.at(h, 0), at, beta, c.at(h, 0))
		} else {
			gemm(p, h, n-h, k, alpha, a, at.at(0, h), beta, c.at(0, h))
		}
		return
	}
	buf := getBuffer[T](n * n)
	defer putBuffer(buf)
	d := view[T]{*buf, 0, n, 1}
	// columns returns those of row r that belong to the triangle.
	columns := func(r int) (from, to int) {
		if lower {
			return 0, r + 1
		}
		return r, n
	}
	for r := range n {
		from, to := columns(r)
		copy(d.data[r*n+from:r*n+to], c.data[c.off+r*c.rs+from:])
	}
	gemm(p, n, n, k, alpha, a, at, beta, d)
	for r := range n {
		from, to := columns(r)
		copy(c.data[c.off+r*c.rs+from:c.off+r*c.rs+to], d.data[r*n+from:])
	}
}

// Trsm solves op(A)*X = alpha*B (side Left, A m x m) or X*op(A) = alpha*B (side
// Right, A n x n) for the m x n matrix X, which replaces B. A is triangular;
// its other triangle is not read, nor with diag Unit its diagonal. A zero on
// the diagonal gives infinities or NaN, as a division would.
func Trsm[T Float](side gblas.Side, uplo gblas.Uplo, trans bool, diag gblas.Diag, m, n int, alpha T, a []T, lda int, b []T, ldb int) {
	order := m
	switch side {
	case gblas.Left:
	case gblas.Right:
		order = n
	default:
		panic("blas: Trsm: side is neither Left nor Right")
	}
	checkSize("Trsm", "m", m)
	checkSize("Trsm", "n", n)
	checkUplo("Trsm", uplo)
	checkDiag("Trsm", diag)
	checkMatrix("Trsm", "A", order, order, lda, len(a))
	checkMatrix("Trsm", "B", m, n, ldb, len(b))
	if m == 0 || n == 0 {
		return
	}
	p := Active()
	if p == Gonum {
		var impl gonum.Implementation
		switch a := any(a).(type) {
		case []float64:
			impl.Dtrsm(side, uplo, transFlag(trans), diag, m, n, float64(alpha), a, lda, any(b).([]float64), ldb)
		case []float32:
			impl.Strsm(side, uplo, transFlag(trans), diag, m, n, float32(alpha), a, lda, any(b).([]float32), ldb)
		}
		return
	}
	bv := view[T]{b, 0, ldb, 1}
	scale(m, n, alpha, bv)
	if alpha == 0 {
		return
	}
	t := operand(trans, a, lda)
	lower := (uplo == gblas.Lower) != trans
	if side == gblas.Left {
		trsmLeft(p, lower, diag == gblas.Unit, m, n, t, bv)
	} else {
		trsmRight(p, lower, diag == gblas.Unit, m, n, t, bv)
	}
}

// reciprocals fills dst with one over the diagonal of the triangle t.
func reciprocals[T Float](unit bool, t view[T], dst []T) {
	for i := range dst {
		dst[i] = 1
		if !unit {
			dst[i] /= t.data[t.off+i*(t.rs+t.cs)]
		}
	}
}

// reversed returns t with rows and columns in reverse order, which turns an
// upper triangle of order n into a lower one.
func (v view[T]) reversed(rows, cols int) view[T] {
	return view[T]{v.data, v.off + (rows-1)*v.rs + (cols-1)*v.cs, -v.rs, -v.cs}
}

// trsmLeft solves t*X = B in place, by forward substitution on blocks of rows.
// An upper triangle is solved as the lower one it is in reverse order.
func trsmLeft[T Float](p Path, lower, unit bool, m, n int, t, b view[T]) {
	if !lower {
		t = t.reversed(m, m)
		b = view[T]{b.data, b.off + (m-1)*b.rs, -b.rs, 1}
	}
	for i := 0; i < m; i += blockT {
		h := min(blockT, m-i)
		gemm(p, h, n, i, -1, t.at(i, 0), b, 1, b.at(i, 0))
		trsmLeaf(p, unit, h, n, t.at(i, i), b.at(i, 0))
	}
}

// trsmLeaf solves t*X = B for a lower triangle of order at most blockT.
func trsmLeaf[T Float](p Path, unit bool, m, n int, t, b view[T]) {
	var dinv [blockT]T
	reciprocals(unit, t, dinv[:m])
	width := panelWidth[T](p)
	for j := 0; j < n; j += width {
		bj := b.at(0, j)
		trsmPanel(p, 0, m, min(width, n-j), t.data, t.off, t.rs, t.cs, dinv[:m], bj.data, bj.off, bj.rs)
	}
}

// trsmRight solves X*t = B in place: the same substitution on the transposes,
// block of columns by block of columns.
func trsmRight[T Float](p Path, lower, unit bool, m, n int, t, b view[T]) {
	for done := 0; done < n; done += blockT {
		w := min(blockT, n-done)
		j, solved := done, 0
		if lower {
			j, solved = n-done-w, n-done
		}
		gemm(p, m, w, done, -1, b.at(0, solved), t.at(solved, j), 1, b.at(0, j))
		d := t.at(j, j)
		d.rs, d.cs = d.cs, d.rs
		trsmRightLeaf(p, lower, unit, m, w, d, b.at(0, j))
	}
}

// trsmRightLeaf solves t*Xᵀ = Bᵀ for a triangle of order n at most blockT (upper
// if reverse) and the m x n matrix B, through a transposed copy.
func trsmRightLeaf[T Float](p Path, reverse, unit bool, m, n int, t, b view[T]) {
	const chunk = 96
	buf := getBuffer[T](blockT * chunk)
	defer putBuffer(buf)
	x := view[T]{*buf, 0, chunk, 1}
	if reverse {
		t = t.reversed(n, n)
		x = view[T]{*buf, (n - 1) * chunk, -chunk, 1}
	}
	for i := 0; i < m; i += chunk {
		h := min(chunk, m-i)
		transpose(p, h, n, b.data, b.off+i*b.rs, b.rs, *buf, 0, chunk)
		trsmLeaf(p, unit, n, h, t, x)
		transpose(p, n, h, *buf, 0, chunk, b.data, b.off+i*b.rs, b.rs)
	}
}

func checkUplo(routine string, uplo gblas.Uplo) {
	if uplo != gblas.Lower && uplo != gblas.Upper {
		panic("blas: " + routine + ": uplo is neither Lower nor Upper")
	}
}

func checkDiag(routine string, diag gblas.Diag) {
	if diag != gblas.Unit && diag != gblas.NonUnit {
		panic("blas: " + routine + ": diag is neither Unit nor NonUnit")
	}
}
