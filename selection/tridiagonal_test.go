package selection

import (
	"fmt"
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"

	"quicktune/internal/stream"
)

// symmetric returns a random symmetric matrix of given rank, all of it.
func symmetric(n, rank int, seed uint64) []float64 {
	rng := stream.New("selection/test/symmetric", seed, uint64(n))
	x := make([]float64, n*rank)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	a := make([]float64, n*n)
	for i := range n {
		for j := range n {
			a[i*n+j] = dot(x[i*rank:(i+1)*rank], x[j*rank:(j+1)*rank])
		}
	}
	return a
}

// The tridiagonal form has the eigenvalues of the matrix, and a quadratic form of
// a function of it, here of the inverse of A + I, does not feel the turn.
func TestTridiagonalFormKeepsTheSpectrumAndQuadraticForms(t *testing.T) {
	const columns = 3
	for _, n := range []int{1, 2, 3, 5, 31, 32, 33, 34, 63, 64, 65, 66, 96, 97, 100, 150, 260, 300} {
		for _, rank := range []int{n, (n + 2) / 3} {
			t.Run(fmt.Sprintf("n=%d rank=%d", n, rank), func(t *testing.T) {
				a := symmetric(n, rank, 1)
				rng := stream.New("selection/test/columns", 0, uint64(n))
				z := make([]float64, n*columns)
				for i := range z {
					z[i] = rng.NormFloat64()
				}
				shifted := mat.NewSymDense(n, append([]float64(nil), a...))
				for i := range n {
					shifted.SetSym(i, i, shifted.At(i, i)+1)
				}
				var e mat.EigenSym
				if !e.Factorize(mat.NewSymDense(n, append([]float64(nil), a...)), false) {
					t.Fatal("no eigenvalues")
				}
				var solved mat.Dense
				if err := solved.Solve(shifted, mat.NewDense(n, columns, append([]float64(nil), z...))); err != nil {
					t.Fatal(err)
				}
				want := make([]float64, columns)
				for c := range columns {
					for i := range n {
						want[c] += z[i*columns+c] * solved.At(i, c)
					}
				}
				for i := range n { // the upper triangle is not to be read
					for j := i + 1; j < n; j++ {
						a[i*n+j] = math.NaN()
					}
				}
				diagonal, below := tridiagonalise(n, a, columns, z)
				tri := mat.NewSymDense(n, nil)
				for i := range n {
					tri.SetSym(i, i, diagonal[i])
					if i > 0 {
						tri.SetSym(i, i-1, below[i-1])
					}
				}
				var f mat.EigenSym
				if !f.Factorize(tri, false) {
					t.Fatal("no eigenvalues of the tridiagonal form")
				}
				got, expected := f.Values(nil), e.Values(nil)
				for i, v := range expected {
					if math.Abs(got[i]-v) > 1e-12*float64(n)*expected[n-1] {
						t.Fatalf("eigenvalue %d: got %v, want %v", i, got[i], v)
					}
				}
				x, pivots, multipliers := make([]float64, n), make([]float64, n), make([]float64, n)
				for c := range columns {
					y := make([]float64, n)
					for i := range y {
						y[i] = z[i*columns+c]
					}
					solveShifted(diagonal, below, 1, y, x, pivots, multipliers)
					if got := dot(x, y); math.Abs(got-want[c]) > 1e-10*math.Abs(want[c]) {
						t.Fatalf("quadratic form %d: got %v, want %v", c, got, want[c])
					}
				}
			})
		}
	}
}

func TestPrincipalComponentsOfALargeGramMatrix(t *testing.T) {
	const n, d, k = 700, 300, 10
	rng := stream.New("selection/test/principal", 0)
	// Variances fall by a third from one column to the next.
	decaying := func(n, d int) *gram {
		x := make([]float64, n*d)
		for i := range x {
			x[i] = rng.NormFloat64() * math.Pow(1.5, -float64(i%d)/2)
		}
		return newGram(x, d, &Probe{n: n, classes: 1, labels: make([]int, n), counts: []int{n}})
	}
	// Three variances in a space of many: there are no more components.
	thin := make([]float64, n*d)
	for i := range n {
		for j := range 3 {
			x := rng.NormFloat64()
			for c := j; c < d; c += 3 {
				thin[i*d+c] = x
			}
		}
	}
	g := newGram(thin, d, &Probe{n: n, classes: 1, labels: make([]int, n), counts: []int{n}})
	if _, values, err := g.principal(k); err != nil || len(values) != 3 || math.Abs((values[0]+values[1]+values[2])/g.trace()-1) > 1e-12 {
		t.Errorf("features of three dimensions have the variances %v, %v", values, err)
	}
	for name, g := range map[string]*gram{"primal": decaying(n, d), "dual": decaying(d, n)} {
		if g.order <= exactOrder || k+oversample >= g.order/2 {
			t.Fatal("the test is meant for the iterated subspace")
		}
		full := append([]float64(nil), g.matrix...)
		mirror(g.order, full)
		want, _, err := symmetricEigen(g.order, full, k)
		if err != nil {
			t.Fatal(err)
		}
		scores, values, err := g.principal(k)
		if err != nil || len(values) != k {
			t.Fatalf("%s: %d components, %v", name, len(values), err)
		}
		for j, v := range values {
			length := 0.0
			for i := range g.n {
				length += scores[i*k+j] * scores[i*k+j]
			}
			if math.Abs(v/want[j]-1) > 1e-8 || math.Abs(length/v-1) > 1e-9 {
				t.Errorf("%s, component %d: variance %v, squared length %v, want %v", name, j, v, length, want[j])
			}
		}
	}
}

func TestSumsOverADefiniteSpectrumNeedNoEigenvalues(t *testing.T) {
	for _, c := range []struct {
		n, d int
	}{{40, 1}, {40, 2}, {60, 20}, {20, 15}, {15, 40}} {
		e, err := mustProbe(t, planted(c.n, c.d, 3, 0.3, 2)).eigen()
		if err != nil {
			t.Fatal(err)
		}
		all, err := e.eigenvalues()
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.sums()
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := got.(*twisted); !twice || !e.definite {
			t.Fatalf("%d x %d is not taken for definite; eigenvalues %v", c.n, c.d, all.noisy)
		}
		largest := all.noisy[len(all.noisy)-1]
		if e.bound < largest {
			t.Errorf("%d x %d: bound %v below the eigenvalue %v", c.n, c.d, e.bound, largest)
		}
		for _, t0 := range []float64{1e-12, 1e-3, 1, 1e6, 1e14} {
			shift := t0 * largest
			if a, b := got.effective(shift), all.proper.effective(shift); math.Abs(a-b) > 1e-10*b {
				t.Errorf("%d x %d, shift %g: %v weights, want %v", c.n, c.d, shift, a, b)
			}
			if a, b := got.logSum(shift, 2), all.proper.logSum(shift, 2); math.Abs(a-b) > 1e-10*math.Abs(b)+1e-10 {
				t.Errorf("%d x %d, shift %g: sum of logarithms %v, want %v", c.n, c.d, shift, a, b)
			}
		}
	}
}

func TestDependentFeaturesAreNotDefinite(t *testing.T) {
	data := planted(60, 10, 3, 0.3, 2)
	for i := range 60 {
		data.Features[i*10+9] = data.Features[i*10] + data.Features[i*10+1]
	}
	e, err := mustProbe(t, data).eigen()
	if err != nil {
		t.Fatal(err)
	}
	all, err := e.eigenvalues()
	if err != nil || e.definite || all.proper[0] != 0 {
		t.Errorf("definite %v, eigenvalues %v, %v", e.definite, all.proper, err)
	}
}
