package blas

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate go -C gen run . -out ../kernels_amd64.s -stubs ../kernels_asm_amd64.go -pkg blas

func supported(p Path) bool {
	x := cpu.X86
	switch p {
	case AVX2:
		return x.HasAVX2 && x.HasFMA
	case AVX512:
		return x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512VL && x.HasBMI2 && supported(AVX2)
	}
	return true
}

// panelWidth is the number of columns a kernel takes at a time: three vectors.
func panelWidth[T Float](p Path) int {
	width := 16
	switch p {
	case AVX512:
		width = 24
	case AVX2:
		width = 12
	}
	if !is64[T]() {
		width *= 2
	}
	return width
}

func ptr64[T Float](s []T, i int) *float64 { return (*float64)(unsafe.Pointer(&s[i])) }
func ptr32[T Float](s []T, i int) *float32 { return (*float32)(unsafe.Pointer(&s[i])) }

func gemmPanel[T Float](p Path, m, n, k int, alpha T, a []T, ao, ars, acs int, b []T, bo, brs int, c []T, co, ldc int, load bool) {
	switch p {
	case AVX512:
		if is64[T]() {
			dgemm512(m, n, k, float64(alpha), ptr64(a, ao), ars, acs, ptr64(b, bo), brs, ptr64(c, co), ldc, load)
		} else {
			sgemm512(m, n, k, float32(alpha), ptr32(a, ao), ars, acs, ptr32(b, bo), brs, ptr32(c, co), ldc, load)
		}
	case AVX2:
		if is64[T]() {
			dgemm256(m, n, k, float64(alpha), ptr64(a, ao), ars, acs, ptr64(b, bo), brs, ptr64(c, co), ldc, load)
		} else {
			sgemm256(m, n, k, float32(alpha), ptr32(a, ao), ars, acs, ptr32(b, bo), brs, ptr32(c, co), ldc, load)
		}
	default:
		gemmPanelPortable(m, n, k, alpha, a, ao, ars, acs, b, bo, brs, c, co, ldc, load)
	}
}

func trsmPanel[T Float](p Path, r0, m, n int, a []T, ao, ars, acs int, dinv []T, b []T, bo, brs int) {
	switch p {
	case AVX512:
		if is64[T]() {
			dtrsm512(r0, m, n, ptr64(a, ao), ars, acs, ptr64(dinv, 0), ptr64(b, bo), brs)
		} else {
			strsm512(r0, m, n, ptr32(a, ao), ars, acs, ptr32(dinv, 0), ptr32(b, bo), brs)
		}
	case AVX2:
		if is64[T]() {
			dtrsm256(r0, m, n, ptr64(a, ao), ars, acs, ptr64(dinv, 0), ptr64(b, bo), brs)
		} else {
			strsm256(r0, m, n, ptr32(a, ao), ars, acs, ptr32(dinv, 0), ptr32(b, bo), brs)
		}
	default:
		trsmPanelPortable(r0, m, n, a, ao, ars, acs, dinv, b, bo, brs)
	}
}

// transpose moves whole blocks in vectors and the edges one by one.
func transpose[T Float](p Path, rows, cols int, src []T, so, lds int, dst []T, do, ldd int) {
	block := 8
	if is64[T]() {
		block = 4
	}
	r, c := rows&^(block-1), cols&^(block-1)
	if p == Portable || r == 0 || c == 0 {
		transposePortable(rows, cols, src, so, lds, dst, do, ldd)
		return
	}
	if is64[T]() {
		dtranspose256(r, c, ptr64(src, so), lds, ptr64(dst, do), ldd)
	} else {
		stranspose256(r, c, ptr32(src, so), lds, ptr32(dst, do), ldd)
	}
	transposePortable(r, cols-c, src, so+c, lds, dst, do+c*ldd, ldd)
	transposePortable(rows-r, cols, src, so+r*lds, lds, dst, do+r, ldd)
}

func dotRows[T Float](p Path, m, n int, a []T, lda int, x, y []T) {
	switch p {
	case AVX512:
		if is64[T]() {
			ddot512(m, n, ptr64(a, 0), lda, ptr64(x, 0), ptr64(y, 0))
		} else {
			sdot512(m, n, ptr32(a, 0), lda, ptr32(x, 0), ptr32(y, 0))
		}
	case AVX2:
		if is64[T]() {
			ddot256(m, n, ptr64(a, 0), lda, ptr64(x, 0), ptr64(y, 0))
		} else {
			sdot256(m, n, ptr32(a, 0), lda, ptr32(x, 0), ptr32(y, 0))
		}
	default:
		dotRowsPortable(m, n, a, lda, x, y)
	}
}

func factorPanel(p Path, r, h, n int, u view[float64], dinv []float64) int {
	switch p {
	case AVX512:
		return dfactor512(r, h, n, ptr64(u.data, u.off), u.rs, ptr64(dinv, 0))
	case AVX2:
		return dfactor256(r, h, n, ptr64(u.data, u.off), u.rs, ptr64(dinv, 0))
	}
	return factorPanelPortable(r, h, n, u, dinv)
}

// packRows copies a panel of B, at most the panel width wide, to dst, whose
// rows have room for whole vectors.
func packRows[T Float](p Path, rows, n int, src []T, so, lds int, dst []T, ldd int) {
	switch p {
	case AVX512:
		if is64[T]() {
			dpack512(rows, n, ptr64(src, so), lds, ptr64(dst, 0), ldd)
		} else {
			spack512(rows, n, ptr32(src, so), lds, ptr32(dst, 0), ldd)
		}
	case AVX2:
		if is64[T]() {
			dpack256(rows, n, ptr64(src, so), lds, ptr64(dst, 0), ldd)
		} else {
			spack256(rows, n, ptr32(src, so), lds, ptr32(dst, 0), ldd)
		}
	default:
		packRowsPortable(rows, n, src, so, lds, dst, ldd)
	}
}
