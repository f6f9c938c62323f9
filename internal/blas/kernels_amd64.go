package blas

func supported(p Path) bool        { return p == Gonum || p == Portable }
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
