package blas

import (
	gblas "gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// blockK is how many products are chained before the sum joins C. It decides
// how results round, so it is the same everywhere, whatever the cache sizes.
const blockK = 288

// Sizes of the packed blocks; they steer speed alone.
const (
	blockM = 96  // rows of A packed at a time, a multiple of the tallest tile
	blockN = 768 // columns of B packed at a time, a multiple of every panel width
)

// view is a matrix inside a slice: element (i, j) at data[off+i*rs+j*cs].
type view[T Float] struct {
	data        []T
	off, rs, cs int
}

func (v view[T]) at(i, j int) view[T] {
	v.off += i*v.rs + j*v.cs
	return v
}

// operand returns op(A) of a row-major matrix.
func operand[T Float](trans bool, a []T, lda int) view[T] {
	if trans {
		return view[T]{a, 0, 1, lda}
	}
	return view[T]{a, 0, lda, 1}
}

// Gemm computes C = alpha*op(A)*op(B) + beta*C, where op(X) is X or its
// transpose, op(A) is m x k, op(B) is k x n and C is m x n. With beta zero C is
// written without being read, so it may hold NaN; with alpha or k zero A and B
// are not read. C must not overlap A or B.
func Gemm[T Float](transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	ra, ca, rb, cb := m, k, k, n
	if transA {
		ra, ca = k, m
	}
	if transB {
		rb, cb = n, k
	}
	checkSize("Gemm", "m", m)
	checkSize("Gemm", "n", n)
	checkSize("Gemm", "k", k)
	checkMatrix("Gemm", "A", ra, ca, lda, len(a))
	checkMatrix("Gemm", "B", rb, cb, ldb, len(b))
	checkMatrix("Gemm", "C", m, n, ldc, len(c))
	if m == 0 || n == 0 {
		return
	}
	p := Active()
	if p == Gonum {
		gonumGemm(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
		return
	}
	gemm(p, m, n, k, alpha, operand(transA, a, lda), operand(transB, b, ldb), beta, view[T]{c, 0, ldc, 1})
}

func gonumGemm[T Float](transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	var impl gonum.Implementation
	tA, tB := transFlag(transA), transFlag(transB)
	switch a := any(a).(type) {
	case []float64:
		impl.Dgemm(tA, tB, m, n, k, float64(alpha), a, lda, any(b).([]float64), ldb, float64(beta), any(c).([]float64), ldc)
	case []float32:
		impl.Sgemm(tA, tB, m, n, k, float32(alpha), a, lda, any(b).([]float32), ldb, float32(beta), any(c).([]float32), ldc)
	}
}

func transFlag(trans bool) gblas.Transpose {
	if trans {
		return gblas.Trans
	}
	return gblas.NoTrans
}

// gemm is Gemm on views. C has unit column stride and B a unit stride one way;
// strides may be negative.
func gemm[T Float](p Path, m, n, k int, alpha T, a, b view[T], beta T, c view[T]) {
	if k == 0 || alpha == 0 {
		scale(m, n, beta, c)
		return
	}
	if beta != 0 && beta != 1 {
		scale(m, n, beta, c)
		beta = 1
	}
	width := panelWidth[T](p)
	for pc := 0; pc < k; pc += blockK {
		kb := min(blockK, k-pc)
		load := beta == 1 || pc > 0
		if b.cs == 1 && !worthPackingB(m, n, kb) {
			ab := a.at(0, pc)
			for j := 0; j < n; j += width {
				bj, cj := b.at(pc, j), c.at(0, j)
				gemmPanel(p, m, min(width, n-j), kb, alpha, ab.data, ab.off, ab.rs, ab.cs, bj.data, bj.off, bj.rs, cj.data, cj.off, cj.rs, load)
			}
			continue
		}
		gemmPacked(p, width, m, n, kb, alpha, a.at(0, pc), b.at(pc, 0), c, load)
	}
}

// worthPackingB tells whether copying a row-major B into panels pays for
// itself: it is read once for every few rows of A.
func worthPackingB(m, n, k int) bool { return m >= 64 && n*k > 64*256 }

// worthPackingA tells the same of A, which is read once for every panel of B:
// if it overflows the second-level cache, or, stored by columns, the pages at
// hand.
func worthPackingA[T Float](m, n, k int, a view[T]) bool {
	switch {
	case n < 192 || a.rs < 0 || a.cs < 0:
		return false
	case a.cs == 1:
		return m*k > 120<<10
	}
	return k*a.cs > 64<<10
}

// gemmPacked multiplies from packed copies: of panels of B, and of blocks of A
// where those are used often enough. Without the latter a panel is used as soon
// as it is packed, while it lies in the nearest cache.
func gemmPacked[T Float](p Path, width, m, n, k int, alpha T, a, b, c view[T], load bool) {
	if !worthPackingA(m, n, k, a) {
		buf := getBuffer[T](width * k)
		for j := 0; j < n; j += width {
			w := min(width, n-j)
			packB(p, k, w, b.at(0, j), *buf, width)
			cj := c.at(0, j)
			gemmPanel(p, m, w, k, alpha, a.data, a.off, a.rs, a.cs, *buf, 0, width, cj.data, cj.off, cj.rs, load)
		}
		putBuffer(buf)
		return
	}
	abuf := getBuffer[T](blockM * k)
	for jc := 0; jc < n; jc += blockN {
		nb := min(blockN, n-jc)
		panels := (nb + width - 1) / width
		buf := getBuffer[T](panels * width * k)
		for q := range panels {
			j := jc + q*width
			packB(p, k, min(width, n-j), b.at(0, j), (*buf)[q*width*k:], width)
		}
		for ic := 0; ic < m; ic += blockM {
			h := min(blockM, m-ic)
			packA(p, h, k, a.at(ic, 0), *abuf)
			for q := range panels {
				j := jc + q*width
				cj := c.at(ic, j)
				gemmPanel(p, h, min(width, n-j), k, alpha, *abuf, 0, 1, blockM, *buf, q*width*k, width, cj.data, cj.off, cj.rs, load)
			}
		}
		putBuffer(buf)
	}
	putBuffer(abuf)
}

// packB copies the k x n panel b to rows of the given width.
func packB[T Float](p Path, k, n int, b view[T], dst []T, width int) {
	if b.cs == 1 {
		packRows(p, k, n, b.data, b.off, b.rs, dst, width)
		return
	}
	transpose(p, n, k, b.data, b.off, b.cs, dst, 0, width)
}

// packA copies the m x k block a, column by column, to columns of blockM.
func packA[T Float](p Path, m, k int, a view[T], dst []T) {
	if a.cs == 1 {
		transpose(p, m, k, a.data, a.off, a.rs, dst, 0, blockM)
		return
	}
	for i := range k {
		copy(dst[i*blockM:i*blockM+m], a.data[a.off+i*a.cs:])
	}
}

// scale computes C = beta*C; with beta zero C is not read.
func scale[T Float](m, n int, beta T, c view[T]) {
	if beta == 1 {
		return
	}
	for i := range m {
		row := c.data[c.off+i*c.rs : c.off+i*c.rs+n]
		if beta == 0 {
			clear(row)
			continue
		}
		for j := range row {
			row[j] *= beta
		}
	}
}
