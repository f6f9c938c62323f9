package blas

import (
	"math"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/stream"
)

// fenced returns n random elements with an unreadable page right behind them
// (or right before), so that a kernel that reads or writes past the end dies.
func fenced[T Float](t *testing.T, n int, behind bool, seed uint64) []T {
	t.Helper()
	var zero T
	size, page := n*int(unsafe.Sizeof(zero)), unix.Getpagesize()
	room := (size + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, room+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	for _, fence := range [][]byte{m[:page], m[page+room:]} {
		if err := unix.Mprotect(fence, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	from := page
	if behind {
		from = page + room - size
	}
	x := unsafe.Slice((*T)(unsafe.Pointer(&m[from])), n)
	rng := stream.New("blas fence", seed)
	for i := range x {
		x[i] = T(rng.Float64() - 0.5)
	}
	return x
}

func testKernelsStayInside[T Float](t *testing.T) {
	sizes := []int{1, 2, 3, 5, 7, 9, 12, 17, 25, 31, 49, 100}
	for _, behind := range []bool{true, false} {
		for _, path := range exactPaths() {
			use(t, path)
			for _, m := range sizes {
				for _, n := range sizes {
					for flags := range 4 {
						k := 1 + (m*7+n*3+flags)%40
						a, b, c := fenced[T](t, m*k, behind, 1), fenced[T](t, k*n, behind, 2), fenced[T](t, m*n, behind, 3)
						lda, ldb := k, n
						if flags&1 == 1 {
							lda = m
						}
						if flags&2 == 2 {
							ldb = k
						}
						Gemm(flags&1 == 1, flags&2 == 2, m, n, k, 1, a, lda, b, ldb, 0.5, c, n)
						l := fenced[T](t, m*m, behind, 4)
						for i := range m {
							l[i*m+i] = 2
						}
						uplo := gblas.Lower
						if flags&2 == 2 {
							uplo = gblas.Upper
						}
						Trsm(gblas.Left, uplo, flags&1 == 1, gblas.NonUnit, m, n, 1, l, m, c, n)
						Trsm(gblas.Right, uplo, flags&1 == 1, gblas.NonUnit, n, m, 1, l, m, c, m)
						Trsv(uplo, flags&1 == 1, gblas.NonUnit, m, l, m, fenced[T](t, m, behind, 5))
						if x, y := fenced[T](t, m, behind, 6), fenced[T](t, n, behind, 7); flags&1 == 1 {
							Gemv(true, m, n, 1, c, n, x, 0, y)
						} else {
							Gemv(false, m, n, 1, c, n, y, 0, x)
						}
					}
				}
			}
		}
	}
}

func TestKernelsStayInsideTheirSlices(t *testing.T) {
	t.Run("float64", testKernelsStayInside[float64])
	t.Run("float32", testKernelsStayInside[float32])
	for _, behind := range []bool{true, false} {
		for _, path := range exactPaths() {
			use(t, path)
			for n := 1; n <= 130; n++ {
				a := fenced[float64](t, n*n, behind, uint64(n))
				for i := range n {
					a[i*n+i] = float64(n)
				}
				if err := Cholesky(a, n, n); err != nil {
					t.Fatal(err)
				}
				CholeskyInverse(n, a, n, fenced[float64](t, n*n, behind, 5), n)
				if math.IsNaN(a[0]) {
					t.Fatal("NaN from a positive definite matrix")
				}
			}
		}
	}
}
