package blas

import "fmt"

// FMA returns x*y+z rounded once, on every path.
func FMA[T Float](x, y, z T) T { return fma(x, y, z) }

// GemmStrided computes C = A*B, plus C if add, for the m x k matrix A whose
// element (i, p) lies at a[i*ars+p*acs], whatever the strides from 0 up: rows of
// A may overlap, as the windows of a convolution do, and be columns of memory.
// B is k x n and C is m x n, row-major; C must not overlap A or B. Nothing is
// packed, so it suits a B that stays in the nearest caches.
func GemmStrided[T Float](m, n, k int, a []T, ars, acs int, b []T, ldb int, c []T, ldc int, add bool) {
	checkSize("GemmStrided", "m", m)
	checkSize("GemmStrided", "n", n)
	checkSize("GemmStrided", "k", k)
	checkMatrix("GemmStrided", "B", k, n, ldb, len(b))
	checkMatrix("GemmStrided", "C", m, n, ldc, len(c))
	if m == 0 || n == 0 {
		return
	}
	if k == 0 {
		if !add {
			scale(m, n, 0, view[T]{c, 0, ldc, 1})
		}
		return
	}
	if ars < 0 || acs < 0 || (m-1)*ars+(k-1)*acs >= len(a) {
		panic(fmt.Sprintf("blas: GemmStrided: A has %d elements, %d x %d with strides %d and %d is not among them", len(a), m, k, ars, acs))
	}
	p := Active()
	if p == Gonum {
		p = Portable
	}
	width := panelWidth[T](p)
	for pc := 0; pc < k; pc += blockK {
		kb := min(blockK, k-pc)
		for j := 0; j < n; j += width {
			gemmPanel(p, m, min(width, n-j), kb, 1, a, pc*acs, ars, acs, b, pc*ldb+j, ldb, c, j, ldc, add || pc > 0)
		}
	}
}
