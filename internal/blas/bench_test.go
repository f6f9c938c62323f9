package blas

import (
	"fmt"
	"testing"

	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/stream"
)

func random[T Float](n int, name string) []T {
	rng := stream.New("blas test "+name, uint64(n))
	x := make([]T, n)
	for i := range x {
		x[i] = T(rng.Float64() - 0.5)
	}
	return x
}

// positiveDefinite returns a well-conditioned symmetric matrix of order n.
func positiveDefinite(n int) []float64 {
	a, s := random[float64](n*n, "spd"), make([]float64, n*n)
	gonumGemm(false, true, n, n, n, 1, a, n, a, n, 0, s, n)
	for i := range n {
		s[i*n+i] += 0.1 * float64(n)
	}
	return s
}

var benchSizes = []int{16, 24, 32, 64, 85, 128, 200, 256, 512, 1024}

// eachPath runs f as a sub-benchmark for every path and size and reports the
// rate of the given number of operations.
func eachPath(b *testing.B, sizes []int, flops func(n float64) float64, f func(b *testing.B, n int)) {
	for _, p := range Available() {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%v/%d", p, n), func(b *testing.B) {
				use(b, p)
				f(b, n)
				b.ReportMetric(flops(float64(n))*float64(b.N)/b.Elapsed().Seconds()/1e9, "GF/s")
			})
		}
	}
}

func cube(factor float64) func(float64) float64 {
	return func(n float64) float64 { return factor * n * n * n }
}

func benchmarkGemm[T Float](b *testing.B, transA, transB bool) {
	eachPath(b, benchSizes, cube(2), func(b *testing.B, n int) {
		x, y, z := random[T](n*n, "a"), random[T](n*n, "b"), make([]T, n*n)
		for b.Loop() {
			Gemm(transA, transB, n, n, n, 1, x, n, y, n, 0, z, n)
		}
	})
}

func BenchmarkDgemmNN(b *testing.B) { benchmarkGemm[float64](b, false, false) }
func BenchmarkDgemmNT(b *testing.B) { benchmarkGemm[float64](b, false, true) }
func BenchmarkDgemmTN(b *testing.B) { benchmarkGemm[float64](b, true, false) }
func BenchmarkSgemmNN(b *testing.B) { benchmarkGemm[float32](b, false, false) }
func BenchmarkSgemmNT(b *testing.B) { benchmarkGemm[float32](b, false, true) }
func BenchmarkSgemmTN(b *testing.B) { benchmarkGemm[float32](b, true, false) }

// BenchmarkLayer is what a layer of the predictor's networks costs: a batch of
// rows times a 32 x 85 weight matrix, forward (NT) and backward (NN, TN).
func BenchmarkLayer(b *testing.B) {
	const in, out = 85, 32
	rows := []int{32, 100, 256, 1000}
	flops := func(n float64) float64 { return 2 * n * in * out }
	w := random[float64](in*out, "w")
	run := func(name string, f func(n int, x, y, g []float64)) {
		b.Run(name, func(b *testing.B) {
			eachPath(b, rows, flops, func(b *testing.B, n int) {
				x, y, g := random[float64](n*in, "x"), random[float64](n*out, "y"), make([]float64, in*out)
				for b.Loop() {
					f(n, x, y, g)
				}
			})
		})
	}
	run("forward", func(n int, x, y, _ []float64) { Gemm(false, true, n, out, in, 1, x, in, w, in, 0, y, out) })
	run("inputs", func(n int, x, y, _ []float64) { Gemm(false, false, n, in, out, 1, y, out, w, in, 0, x, in) })
	run("weights", func(n int, x, y, g []float64) { Gemm(true, false, out, in, n, 1, y, out, x, in, 0, g, in) })
}

func BenchmarkDsyrk(b *testing.B) {
	eachPath(b, benchSizes, cube(1), func(b *testing.B, n int) {
		x, z := random[float64](n*n, "a"), make([]float64, n*n)
		for b.Loop() {
			Syrk(gblas.Lower, false, n, n, 1, x, n, 0, z, n)
		}
	})
}

func benchmarkTrsm(b *testing.B, side gblas.Side, trans bool) {
	eachPath(b, benchSizes, cube(1), func(b *testing.B, n int) {
		l, x := positiveDefinite(n), random[float64](n*n, "b")
		if err := Cholesky(l, n, n); err != nil {
			b.Fatal(err)
		}
		w := make([]float64, n*n)
		for b.Loop() {
			copy(w, x)
			Trsm(side, gblas.Lower, trans, gblas.NonUnit, n, n, 1, l, n, w, n)
		}
	})
}

func BenchmarkDtrsmLeft(b *testing.B)       { benchmarkTrsm(b, gblas.Left, false) }
func BenchmarkDtrsmLeftTrans(b *testing.B)  { benchmarkTrsm(b, gblas.Left, true) }
func BenchmarkDtrsmRight(b *testing.B)      { benchmarkTrsm(b, gblas.Right, false) }
func BenchmarkDtrsmRightTrans(b *testing.B) { benchmarkTrsm(b, gblas.Right, true) }

func BenchmarkCholesky(b *testing.B) {
	eachPath(b, benchSizes, cube(1./3), func(b *testing.B, n int) {
		s, w := positiveDefinite(n), make([]float64, n*n)
		for b.Loop() {
			copy(w, s)
			if err := Cholesky(w, n, n); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCholeskyInverse(b *testing.B) {
	eachPath(b, benchSizes, cube(2./3), func(b *testing.B, n int) {
		l, w := positiveDefinite(n), make([]float64, n*n)
		if err := Cholesky(l, n, n); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			CholeskyInverse(n, l, n, w, n)
		}
	})
}

// BenchmarkExtendCholesky adds one row to a factor of order n-1.
func BenchmarkExtendCholesky(b *testing.B) {
	eachPath(b, benchSizes, func(n float64) float64 { return n * n }, func(b *testing.B, n int) {
		l := positiveDefinite(n)
		row := append([]float64(nil), l[(n-1)*n:]...)
		if err := Cholesky(l, n, n); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			copy(l[(n-1)*n:], row)
			if err := ExtendCholesky(l, n-1, n, n); err != nil {
				b.Fatal(err)
			}
		}
	})
}
