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

// tile returns the chains of fused multiply-adds over k, from zero, for rows i0
// and i1 (offsets into a) and columns j0 to j3 (offsets into b).
func tile[T Float](k int, a []T, i0, i1, acs int, b []T, j0, j1, j2, j3, brs int) (s [2][4]T) {
	if is64[T]() {
		s64 := tile64(k, any(a).([]float64), i0, i1, acs, any(b).([]float64), j0, j1, j2, j3, brs)
		for i := range s {
			for j := range s[i] {
				s[i][j] = T(s64[i][j])
			}
		}
		return s
	}
	var s00, s01, s02, s03, s10, s11, s12, s13 T
	for range k {
		x0, x1, y0, y1, y2, y3 := a[i0], a[i1], b[j0], b[j1], b[j2], b[j3]
		s00, s01, s02, s03 = fma(x0, y0, s00), fma(x0, y1, s01), fma(x0, y2, s02), fma(x0, y3, s03)
		s10, s11, s12, s13 = fma(x1, y0, s10), fma(x1, y1, s11), fma(x1, y2, s12), fma(x1, y3, s13)
		i0, i1 = i0+acs, i1+acs
		j0, j1, j2, j3 = j0+brs, j1+brs, j2+brs, j3+brs
	}
	return [2][4]T{{s00, s01, s02, s03}, {s10, s11, s12, s13}}
}

// tile64 is tile in float64, where math.FMA becomes one instruction; inside
// generic code it would be a call.
func tile64(k int, a []float64, i0, i1, acs int, b []float64, j0, j1, j2, j3, brs int) [2][4]float64 {
	var s00, s01, s02, s03, s10, s11, s12, s13 float64
	for range k {
		x0, x1, y0, y1, y2, y3 := a[i0], a[i1], b[j0], b[j1], b[j2], b[j3]
		s00, s01, s02, s03 = math.FMA(x0, y0, s00), math.FMA(x0, y1, s01), math.FMA(x0, y2, s02), math.FMA(x0, y3, s03)
		s10, s11, s12, s13 = math.FMA(x1, y0, s10), math.FMA(x1, y1, s11), math.FMA(x1, y2, s12), math.FMA(x1, y3, s13)
		i0, i1 = i0+acs, i1+acs
		j0, j1, j2, j3 = j0+brs, j1+brs, j2+brs, j3+brs
	}
	return [2][4]float64{{s00, s01, s02, s03}, {s10, s11, s12, s13}}
}

// gemmPanelPortable computes C = alpha*A*B, plus C if load, for the m x n
// block C at c[co], A m x k with strides ars and acs, B k x n with row stride
// brs. Each element is alpha times the chain of fused multiply-adds over k
// from zero, added to C (or zero) by one more.
func gemmPanelPortable[T Float](m, n, k int, alpha T, a []T, ao, ars, acs int, b []T, bo, brs int, c []T, co, ldc int, load bool) {
	for i := 0; i < m; i += 2 {
		for j := 0; j < n; j += 4 {
			s := tile(k, a, ao+i*ars, ao+min(i+1, m-1)*ars, acs, b, bo+j, bo+min(j+1, n-1), bo+min(j+2, n-1), bo+min(j+3, n-1), brs)
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
// chain over the rows before the four from zero, one subtraction, then one
// fused step per row of the four, then the reciprocal.
func trsmPanelPortable[T Float](r0, m, n int, a []T, ao, ars, acs int, dinv []T, b []T, bo, brs int) {
	for r := r0; r < m; r += 4 {
		h := min(4, m-r)
		for j := 0; j < n; j += 4 {
			var x [4][4]T
			for i := 0; i < h; i += 2 {
				s := tile(r, a, ao+(r+i)*ars, ao+(r+min(i+1, h-1))*ars, acs, b, bo+j, bo+min(j+1, n-1), bo+min(j+2, n-1), bo+min(j+3, n-1), brs)
				x[i], x[i+1] = s[0], s[1]
			}
			for i := range h {
				row := b[bo+(r+i)*brs+j : bo+(r+i)*brs+min(j+4, n)]
				for c := range row {
					v := row[c] - x[i][c]
					for q := range i {
						v = fma(-a[ao+(r+i)*ars+(r+q)*acs], x[q][c], v)
					}
					v *= dinv[r+i]
					x[i][c], row[c] = v, v
				}
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
	for i := range m {
		row := a[i*lda : i*lda+n]
		var s [dotLanes32]T
		lanes := dotLanes32
		if is64[T]() {
			lanes = dotLanes64
			for q, v := range lanes64(any(row).([]float64), any(x).([]float64)) {
				s[q] = T(v)
			}
		} else {
			for j, v := range row {
				s[j%dotLanes32] = fma(v, x[j], s[j%dotLanes32])
			}
		}
		for w := lanes / 2; w > 0; w /= 2 {
			for q := range w {
				s[q] += s[q+w]
			}
		}
		y[i] = s[0]
	}
}

// lanes64 returns the partial sums of a dot product.
func lanes64(a, x []float64) (s [dotLanes64]float64) {
	x = x[:len(a)]
	for j, v := range a {
		s[j%dotLanes64] = math.FMA(v, x[j], s[j%dotLanes64])
	}
	return s
}

// packRowsPortable copies a rows x n matrix at src[so] to dst.
func packRowsPortable[T Float](rows, n int, src []T, so, lds int, dst []T, ldd int) {
	for i := range rows {
		copy(dst[i*ldd:i*ldd+n], src[so+i*lds:])
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
