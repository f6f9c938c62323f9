//go:build !amd64

package blas

func supported(p Path) bool { return p == Gonum || p == Portable }

// panelWidth is the number of columns a kernel takes at a time.
func panelWidth[T Float](Path) int { return 16 }

func gemmPanel[T Float](_ Path, m, n, k int, alpha T, a []T, ao, ars, acs int, b []T, bo, brs int, c []T, co, ldc int, load bool) {
	gemmPanelPortable(m, n, k, alpha, a, ao, ars, acs, b, bo, brs, c, co, ldc, load)
}

func trsmPanel[T Float](_ Path, r0, m, n int, a []T, ao, ars, acs int, dinv []T, b []T, bo, brs int) {
	trsmPanelPortable(r0, m, n, a, ao, ars, acs, dinv, b, bo, brs)
}

func dotRows[T Float](_ Path, m, n int, a []T, lda int, x, y []T) {
	dotRowsPortable(m, n, a, lda, x, y)
}

func transpose[T Float](_ Path, rows, cols int, src []T, so, lds int, dst []T, do, ldd int) {
	transposePortable(rows, cols, src, so, lds, dst, do, ldd)
}

func factorPanel(_ Path, r, h, n int, u view[float64], dinv []float64) int {
	return factorPanelPortable(r, h, n, u, dinv)
}

func packRows[T Float](_ Path, rows, n int, src []T, so, lds int, dst []T, ldd int) {
	packRowsPortable(rows, n, src, so, lds, dst, ldd)
}
