package blas

import (
	"math"
	"unsafe"
)

// Float is the element type of a matrix.
type Float interface{ float32 | float64 }

// is64 tells float64 from float32; it costs nothing once instantiated.
func is64[T Float]() bool {
	var x T
	return unsafe.Sizeof(x) == 8
}

// fma returns x*y+z rounded once.
func fma[T Float](x, y, z T) T {
	if is64[T]() {
		return T(math.FMA(float64(x), float64(y), float64(z)))
	}
	return T(fma32(float32(x), float32(y), float32(z)))
}

// fma32 returns x*y+z rounded once to float32. The product is exact in
// float64; the sum is rounded to odd there, which makes the second rounding
// right (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums:
// proved algorithms using rounding to odd", IEEE Trans. Computers 57(4), 2008).
func fma32(x, y, z float32) float32 {
	p, c := float64(x)*float64(y), float64(z)
	s := p + c
	bits := math.Float64bits(s)
	if bits&1 == 1 || math.IsInf(s, 0) || math.IsNaN(s) {
		return float32(s)
	}
	t := s - p
	rest := (p - (s - t)) + (c - t)
	switch {
	case rest == 0:
	case (rest > 0) == (s > 0):
		bits++
	default:
		bits--
	}
	return float32(math.Float64frombits(bits))
}

// gemmPanelPortable computes C = alpha*A*B, plus C if load, for the m x n
// block C at c[co], A m x k with strides ars and acs, B k x n with row stride
// brs. Each element is alpha times the chain of fused multiply-adds over k
// from zero, added to C (or zero) by one more.
func gemmPanelPortable[T Float](m, n, k int, alpha T, a []T, ao, ars, acs int, b []T, bo, brs int, c []T, co, ldc int, load bool) {
	for i := 0; i < m; i += 2 {
		i1 := min(i+1, m-1)
		for j := 0; j < n; j += 4 {
			j1, j2, j3 := min(j+1, n-1), min(j+2, n-1), min(j+3, n-1)
			var s00, s01, s02, s03, s10, s11, s12, s13 T
			pa, pb := ao, bo
			for range k {
				x0, x1 := a[pa+i*ars], a[pa+i1*ars]
				y0, y1, y2, y3 := b[pb+j], b[pb+j1], b[pb+j2], b[pb+j3]
				s00, s01, s02, s03 = fma(x0, y0, s00), fma(x0, y1, s01), fma(x0, y2, s02), fma(x0, y3, s03)
				s10, s11, s12, s13 = fma(x1, y0, s10), fma(x1, y1, s11), fma(x1, y2, s12), fma(x1, y3, s13)
				pa += acs
				pb += brs
			}
			s := [2][4]T{{s00, s01, s02, s03}, {s10, s11, s12, s13}}
			for r := range min(2, m-i) {
				row := c[co+(i+r)*ldc+j : co+(i+r)*ldc+min(j+4, n)]
				for q := range row {
					var old T
					if load {
						old = row[q]
					}
					row[q] = fma(alpha, s[r][q], old)
				}
			}
		}
	}
}

// trsmPanelPortable solves L*X = B in place for rows r0 (a multiple of 4) to m
// of the n columns at b[bo], given rows before r0 solved. L has strides ars
// and acs; dinv holds the reciprocals of its diagonal. Rows go by fours: the
// chain over the rows before the block from zero, one subtraction, then one
// fused step per row of the block, then the reciprocal.
func trsmPanelPortable[T Float](r0, m, n int, a []T, ao, ars, acs int, dinv []T, b []T, bo, brs int) {
	for r := r0; r < m; r += 4 {
		h := min(4, m-r)
		for j := range n {
			var x [4]T
			for i := range h {
				var s T
				pa, pb := ao+(r+i)*ars, bo+j
				for range r {
					s = fma(a[pa], b[pb], s)
					pa += acs
					pb += brs
				}
				x[i] = b[bo+(r+i)*brs+j] - s
			}
			for i := range h {
				for q := range i {
					x[i] = fma(-a[ao+(r+i)*ars+(r+q)*acs], x[q], x[i])
				}
				x[i] *= dinv[r+i]
				b[bo+(r+i)*brs+j] = x[i]
			}
		}
	}
}

// dotLanes is the number of partial sums of a dot product, by element type:
// element i goes to lane i modulo the number, and the lanes are added in a
// tree that halves their number each time.
const (
	dotLanes64 = 16
	dotLanes32 = 32
)

// dotRowsPortable sets y[i] to the dot product of row i of a with x[:n].
func dotRowsPortable[T Float](m, n int, a []T, lda int, x, y []T) {
	lanes := dotLanes32
	if is64[T]() {
		lanes = dotLanes64
	}
	for i := range m {
		var s [dotLanes32]T
		row := a[i*lda : i*lda+n]
		for j, v := range row {
			s[j&(lanes-1)] = fma(v, x[j], s[j&(lanes-1)])
		}
		for w := lanes / 2; w > 0; w /= 2 {
			for q := range w {
				s[q] += s[q+w]
			}
		}
		y[i] = s[0]
	}
}

// transposePortable writes the transpose of the rows x cols matrix at src[so]
// to dst[do].
func transposePortable[T Float](rows, cols int, src []T, so, lds int, dst []T, do, ldd int) {
	for r := range rows {
		row := src[so+r*lds : so+r*lds+cols]
		for c, v := range row {
			dst[do+c*ldd+r] = v
		}
	}
}
