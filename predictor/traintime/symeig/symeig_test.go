package symeig_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"

	"quicktune/internal/blas"
	"quicktune/internal/stream"
	"quicktune/predictor/traintime/symeig"
)

// check holds a decomposition to its definition: a = VᵀΛV, VVᵀ = I, ascending.
func check(t interface {
	Helper()
	Fatalf(string, ...any)
}, a []float64, n int) (values, vectors []float64) {
	t.Helper()
	values, vectors, err := symeig.Decompose(a, n)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if !slices.IsSorted(values) {
		t.Fatalf("eigenvalues are not ascending")
	}
	largest := 0.0
	for i := range n {
		for j := range i + 1 {
			largest = max(largest, math.Abs(a[i*n+j]))
		}
	}
	scaled := make([]float64, n*n)
	for k := range n {
		for j := range n {
			scaled[k*n+j] = values[k] * vectors[k*n+j]
		}
	}
	product, gram := make([]float64, n*n), make([]float64, n*n)
	blas.Gemm(true, false, n, n, n, 1, vectors, n, scaled, n, 0, product, n)
	blas.Gemm(false, true, n, n, n, 1, vectors, n, vectors, n, 0, gram, n)
	tolerance := 40 * float64(n) * 0x1p-52
	for i := range n {
		for j := range i + 1 {
			if d := math.Abs(product[i*n+j] - a[i*n+j]); !(d <= tolerance*largest) {
				t.Fatalf("n %d: element (%d, %d) off by %g of %g", n, i, j, d, largest)
			}
			want := 0.0
			if i == j {
				want = 1
			}
			if d := math.Abs(gram[i*n+j] - want); !(d <= tolerance) {
				t.Fatalf("n %d: eigenvectors %d and %d: product off by %g", n, i, j, d)
			}
		}
	}
	return values, vectors
}

func random(n, rank int, seed uint64) []float64 {
	rng := stream.New("symeig test", seed)
	x, a := make([]float64, n*rank), make([]float64, n*n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	blas.Gemm(false, true, n, n, rank, 1, x, rank, x, rank, 0, a, n)
	return a
}

func TestDecompositionsOfHardMatrices(t *testing.T) {
	const n = 150
	diagonal := func(f func(i int) float64) []float64 {
		a := make([]float64, n*n)
		for i := range n {
			a[i*n+i] = f(i)
		}
		return a
	}
	tridiagonal := func(d, e func(i int) float64) []float64 {
		a := diagonal(d)
		for i := 1; i < n; i++ {
			a[i*n+i-1], a[(i-1)*n+i] = e(i), e(i)
		}
		return a
	}
	one := func(int) float64 { return 1 }
	cases := map[string][]float64{
		"zero":               make([]float64, n*n),
		"identity":           diagonal(one),
		"diagonal":           diagonal(func(i int) float64 { return float64((i*37)%n) - 50 }),
		"all ones":           slices.Repeat([]float64{1}, n*n),
		"rank 3":             random(n, 3, 1),
		"full rank":          random(n, n, 2),
		"second differences": tridiagonal(func(int) float64 { return 2 }, func(int) float64 { return -1 }),
		"Wilkinson":          tridiagonal(func(i int) float64 { return math.Abs(float64(i) - (n-1)/2.0) }, one),
		"glued":              tridiagonal(func(i int) float64 { return float64(i % 10) }, func(i int) float64 { return map[bool]float64{true: 1e-9, false: 1}[i%10 == 0] }),
		"graded":             tridiagonal(func(i int) float64 { return math.Pow(10, -float64(i)/8) }, func(i int) float64 { return math.Pow(10, -float64(i)/8) / 2 }),
		"tiny":               diagonal(func(i int) float64 { return 1e-300 * float64(i) }),
		"huge":               diagonal(func(i int) float64 { return 1e300 * float64(i%7) }),
	}
	for name, a := range cases {
		t.Run(name, func(t *testing.T) { check(t, a, n) })
	}
	t.Run("squares that underflow", func(t *testing.T) {
		for _, x := range []float64{1e-150, 1e-157, 1e-161, 1e-200, 1e-290, 1e-310} {
			check(t, []float64{1, x, 2 * x, x, 0.5, 3 * x, 2 * x, 3 * x, 0.25}, 3)
			check(t, []float64{1, 0, x, 0, 1, 2 * x, x, 2 * x, 1}, 3)
		}
	})
	// An update that reaches eigenvectors of one half only.
	t.Run("rank 5 of 400", func(t *testing.T) { check(t, random(400, 5, 3), 400) })
	t.Run("second differences have known eigenvalues", func(t *testing.T) {
		values, _ := check(t, cases["second differences"], n)
		for k, v := range values {
			want := 4 * math.Pow(math.Sin(math.Pi*float64(k+1)/(2*(n+1))), 2)
			if math.Abs(v-want) > 1e-14 {
				t.Errorf("eigenvalue %d is %v, want %v", k, v, want)
			}
		}
	})
}

func TestEigenvaluesAreGonums(t *testing.T) {
	for n := 1; n <= 130; n += 3 {
		a := random(n, max(1, n-n/3), uint64(n))
		values, _ := check(t, a, n)
		var e mat.EigenSym
		if !e.Factorize(mat.NewSymDense(n, a), false) {
			t.Fatal("gonum fails")
		}
		want := e.Values(nil)
		for k, v := range values {
			if math.Abs(v-want[k]) > 1e-13*float64(n)*want[n-1] {
				t.Fatalf("n %d: eigenvalue %d is %v, gonum says %v", n, k, v, want[k])
			}
		}
	}
}

func TestAnySymmetricMatrixIsDecomposed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 70).Draw(t, "n")
		// Few distinct values make clusters, which the method deflates.
		element := rapid.OneOf(rapid.Just(0.0), rapid.Just(1.0), rapid.Float64Range(-1, 1), rapid.Float64Range(-1e-14, 1e-14))
		a := make([]float64, n*n)
		band := rapid.IntRange(0, n).Draw(t, "band")
		for i := range n {
			for j := max(0, i-band); j <= i; j++ {
				x := element.Draw(t, "element")
				a[i*n+j], a[j*n+i] = x, x
			}
		}
		check(t, a, n)
	})
}

func TestMatricesThatAreNoneAreRefused(t *testing.T) {
	cases := []struct {
		a    []float64
		n    int
		want string
	}{
		{nil, 0, "0 elements"},
		{make([]float64, 3), 2, "3 elements are no 2 x 2"},
		{[]float64{1, 0, math.NaN(), 1}, 2, "element (1, 0) is NaN"},
		{[]float64{math.Inf(1)}, 1, "element (0, 0) is +Inf"},
	}
	for _, c := range cases {
		_, _, err := symeig.Decompose(c.a, c.n)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func BenchmarkDecompose(b *testing.B) {
	for _, n := range []int{150, 500, 1500, 2000} {
		a := random(n, n, 1)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := symeig.Decompose(a, n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
