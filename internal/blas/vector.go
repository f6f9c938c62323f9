package blas

import (
	gblas "gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// Gemv computes y = alpha*A*x + beta*y, or alpha*Aᵀ*x + beta*y with trans, for
// the m x n matrix A. With beta zero y is written without being read. y must
// not overlap A or x.
func Gemv[T Float](trans bool, m, n int, alpha T, a []T, lda int, x []T, beta T, y []T) {
	lx, ly := n, m
	if trans {
		lx, ly = m, n
	}
	checkSize("Gemv", "m", m)
	checkSize("Gemv", "n", n)
	checkMatrix("Gemv", "A", m, n, lda, len(a))
	checkVector("Gemv", "x", lx, len(x))
	checkVector("Gemv", "y", ly, len(y))
	if ly == 0 {
		return
	}
	p := Active()
	switch {
	case p == Gonum:
		gonumGemv(trans, m, n, alpha, a, lda, x, beta, y)
	case lx == 0 || alpha == 0:
		scale(1, ly, beta, view[T]{y, 0, ly, 1})
	case trans:
		gemm(p, 1, n, m, alpha, view[T]{x, 0, 0, 1}, view[T]{a, 0, lda, 1}, beta, view[T]{y, 0, n, 1})
	default:
		gemvRows(p, m, n, alpha, a, lda, x, beta, y)
	}
}

func gonumGemv[T Float](trans bool, m, n int, alpha T, a []T, lda int, x []T, beta T, y []T) {
	var impl gonum.Implementation
	if m == 0 || n == 0 { // gonum leaves y alone
		scale(1, max(m, n), beta, view[T]{y, 0, max(m, n), 1})
		return
	}
	switch a := any(a).(type) {
	case []float64:
		impl.Dgemv(transFlag(trans), m, n, float64(alpha), a, lda, any(x).([]float64), 1, float64(beta), any(y).([]float64), 1)
	case []float32:
		impl.Sgemv(transFlag(trans), m, n, float32(alpha), a, lda, any(x).([]float32), 1, float32(beta), any(y).([]float32), 1)
	}
}

// gemvRows is Gemv by dot products with the rows of a.
func gemvRows[T Float](p Path, m, n int, alpha T, a []T, lda int, x []T, beta T, y []T) {
	var dots [64]T
	for i := 0; i < m; i += len(dots) {
		h := min(len(dots), m-i)
		dotRows(p, h, n, a[i*lda:], lda, x, dots[:h])
		for r, s := range dots[:h] {
			var old T
			if beta != 0 {
				old = beta * y[i+r]
			}
			y[i+r] = fma(alpha, s, old)
		}
	}
}

// Trsv solves op(A)*x = b for one right-hand side, which x replaces. A is the
// triangular n x n matrix of [Trsm]. It reads A once, row by row, where Trsm
// with one column would spend most of its time on columns that are not there.
func Trsv[T Float](uplo gblas.Uplo, trans bool, diag gblas.Diag, n int, a []T, lda int, x []T) {
	checkSize("Trsv", "n", n)
	checkUplo("Trsv", uplo)
	checkDiag("Trsv", diag)
	checkMatrix("Trsv", "A", n, n, lda, len(a))
	checkVector("Trsv", "x", n, len(x))
	if n == 0 {
		return
	}
	p := Active()
	if p == Gonum {
		var impl gonum.Implementation
		switch a := any(a).(type) {
		case []float64:
			impl.Dtrsv(uplo, transFlag(trans), diag, n, a, lda, any(x).([]float64), 1)
		case []float32:
			impl.Strsv(uplo, transFlag(trans), diag, n, a, lda, any(x).([]float32), 1)
		}
		return
	}
	const block = 16
	lower := uplo == gblas.Lower
	t := operand(trans, a, lda)
	for done := 0; done < n; done += block {
		h := min(block, n-done)
		i, solved, rest := done, 0, done+h // forward: rows before i are solved
		if lower == trans {
			i, solved, rest = n-done-h, n-done, 0
		}
		b := x[i : i+h]
		if !trans && done > 0 {
			gemvRows(p, h, done, -1, a[i*lda+solved:], lda, x[solved:], 1, b)
		}
		trsvBlock(lower == trans, diag == gblas.Unit, t.at(i, i), b)
		if left := n - done - h; trans && left > 0 {
			gemm(p, 1, left, h, -1, view[T]{b, 0, 0, 1}, view[T]{a, i*lda + rest, lda, 1}, 1, view[T]{x, rest, left, 1})
		}
	}
}

// trsvBlock solves the triangle t for x by substitution, from the last row up
// if backward.
func trsvBlock[T Float](backward, unit bool, t view[T], x []T) {
	step, off, n := 1, 0, len(x)
	if backward {
		t, step, off = t.reversed(n, n), -1, n-1
	}
	for i := range n {
		s := x[off+i*step]
		for k := range i {
			s = fma(-t.data[t.off+i*t.rs+k*t.cs], x[off+k*step], s)
		}
		if !unit {
			s /= t.data[t.off+i*(t.rs+t.cs)]
		}
		x[off+i*step] = s
	}
}
