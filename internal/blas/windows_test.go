package blas

import (
	"math"
	"testing"

	"quicktune/internal/stream"
)

// Overlapping rows, columns of memory and a chain longer than one block: every
// path gives the same bits, and those of the plain sums within rounding.
func TestGemmStridedMultipliesAnyView(t *testing.T) {
	before := Active()
	defer func() { _ = Select(before) }()
	rng := stream.New("blas/strided", 1)
	for _, s := range []struct{ m, n, k, ars, acs, ldb, ldc int }{
		{8, 16, 27, 3, 1, 16, 16}, {5, 50, 96, 32, 1, 50, 61}, {48, 20, 700, 1, 16, 20, 20}, {1, 1, 1, 1, 1, 1, 1}, {7, 3, 0, 1, 1, 3, 3}, {4, 5, 6, 0, 2, 5, 5},
	} {
		a := make([]float32, (s.m-1)*s.ars+max(s.k-1, 0)*s.acs+1)
		b, c0 := make([]float32, max(s.k, 1)*s.ldb), make([]float32, s.m*s.ldc)
		for _, x := range [][]float32{a, b, c0} {
			for i := range x {
				x[i] = float32(rng.NormFloat64())
			}
		}
		for _, add := range []bool{false, true} {
			var want []float32
			for _, p := range Available() {
				if err := Select(p); err != nil {
					t.Fatal(err)
				}
				c := append([]float32(nil), c0...)
				GemmStrided(s.m, s.n, s.k, a, s.ars, s.acs, b, s.ldb, c, s.ldc, add)
				for i := range s.m {
					for j := range s.ldc {
						sum := float64(c0[i*s.ldc+j])
						if j < s.n {
							if !add {
								sum = 0
							}
							for q := range s.k {
								sum += float64(a[i*s.ars+q*s.acs]) * float64(b[q*s.ldb+j])
							}
						}
						if got := c[i*s.ldc+j]; math.Abs(float64(got)-sum) > 1e-4*(1+math.Abs(sum)) {
							t.Fatalf("%v, %+v, add %v: element (%d, %d) is %g instead of %g", p, s, add, i, j, got, sum)
						}
					}
				}
				if want == nil {
					want = c
				}
				for i := range c {
					if math.Float32bits(c[i]) != math.Float32bits(want[i]) {
						t.Fatalf("%v, %+v: element %d differs from another path", p, s, i)
					}
				}
			}
		}
	}
}

func TestGemmStridedRefusesShortSlices(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	GemmStrided(2, 1, 3, make([]float32, 4), 2, 1, make([]float32, 3), 1, make([]float32, 2), 1, false)
}
