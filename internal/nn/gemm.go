package nn

import "quicktune/internal/blas"

// Gemm computes c = alpha*op(a)*op(b) + beta*c, where op transposes if told.
func Gemm(transA, transB bool, alpha float64, a, b Matrix, beta float64, c Matrix) {
	m, k := a.Rows, a.Cols
	if transA {
		m, k = k, m
	}
	n := b.Cols
	if transB {
		n = b.Rows
	}
	if m == 0 || n == 0 {
		return
	}
	if k == 0 {
		if beta == 0 {
			c.Clear()
		}
		return
	}
	blas.Gemm(transA, transB, m, n, k, alpha, a.Data, a.Stride, b.Data, b.Stride, beta, c.Data, c.Stride)
}
