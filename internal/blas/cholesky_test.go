package blas

import (
	"errors"
	"fmt"
	"math"
	"testing"

	gblas "gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/mat"
	"pgregory.net/rapid"

	"quicktune/internal/stream"
)

// newPositiveDefinite returns a matrix with eigenvalues between about 0.1 and
// 2, NaN above its diagonal.
func newPositiveDefinite(n, pad int, seed uint64) grid[float64] {
	g := newGrid[float64](n, n, max(1, n+pad), seed)
	root := newGrid[float64](n, n, max(1, n), seed+1)
	s := make([]float64, n*n)
	if n > 0 {
		gonumGemm(false, true, n, n, n, 4/float64(n), root.data(), n, root.data(), n, 0, s, n)
	}
	for i := range n {
		for j := range n {
			switch {
			case j < i:
				g.set(i, j, s[i*n+j])
			case j == i:
				g.set(i, j, s[i*n+j]+0.1)
			default:
				g.set(i, j, math.NaN())
			}
		}
	}
	return g
}

func factor(t interface {
	Helper()
	Fatal(...any)
}, a grid[float64], done int) grid[float64] {
	t.Helper()
	l := a.clone()
	if err := ExtendCholesky(l.data(), done, a.rows, a.ld); err != nil {
		t.Fatal(err)
	}
	return l
}

// reconstruction returns the largest element of L*Lᵀ - A in the lower triangle.
func reconstruction(l, a grid[float64]) float64 {
	worst := 0.0
	for i := range a.rows {
		for j := range i + 1 {
			s := -a.at(i, j)
			for k := range j + 1 {
				s += l.at(i, k) * l.at(j, k)
			}
			worst = max(worst, math.Abs(s))
		}
	}
	return worst
}

func TestCholeskyFactorsAlikeOnEveryPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(41, 2*blockT+blockK/2)).Draw(t, "n")
		a := newPositiveDefinite(n, rapid.IntRange(0, 3).Draw(t, "pad"), rapid.Uint64Range(0, 1<<40).Draw(t, "seed"))
		use(t, Portable)
		want := factor(t, a, 0)
		if r := reconstruction(want, a); !(r <= 1e-14) {
			t.Fatalf("L*Lᵀ is off by %g", r)
		}
		for _, path := range exactPaths() {
			use(t, path)
			if err := sameBits(factor(t, a, 0), want); err != nil { // the NaN above the diagonal and all canaries among it
				t.Fatalf("%v: %v", path, err)
			}
			if n == 0 {
				continue
			}
			// The upper factor is the transpose of the lower one.
			u := newGrid[float64](n, n, a.ld, 0)
			for i := range n {
				for j := range n {
					u.set(i, j, a.at(j, i))
				}
			}
			if !(Lapack{}).Dpotrf(gblas.Upper, n, u.data(), u.ld) {
				t.Fatalf("%v: no upper factor", path)
			}
			for i := range n {
				for j := range n {
					if x, y := u.at(j, i), want.at(i, j); x != y && !(math.IsNaN(x) && math.IsNaN(y)) {
						t.Fatalf("%v: U[%d][%d] is %v, L[%d][%d] is %v", path, j, i, x, i, j, y)
					}
				}
			}
		}
	})
}

func TestExtendedFactorEqualsTheFreshOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 2*blockT+blockK/2).Draw(t, "n")
		a := newPositiveDefinite(n, rapid.IntRange(0, 2).Draw(t, "pad"), rapid.Uint64Range(0, 1<<40).Draw(t, "seed"))
		cuts := rapid.SliceOfN(rapid.IntRange(0, n), 1, 3).Draw(t, "cuts")
		for _, path := range exactPaths() {
			use(t, path)
			want := factor(t, a, 0)
			for _, cut := range cuts {
				grown := a.clone()
				if err := Cholesky(grown.data()[:max(0, (cut-1)*a.ld+cut)], cut, a.ld); err != nil {
					t.Fatal(err)
				}
				if err := ExtendCholesky(grown.data(), cut, n, a.ld); err != nil {
					t.Fatal(err)
				}
				if err := sameBits(grown, want); err != nil {
					t.Fatalf("%v, %d rows and then the rest: %v", path, cut, err)
				}
			}
		}
	})
}

// TestFactorGrownRowByRow is how a search uses it.
func TestFactorGrownRowByRow(t *testing.T) {
	const n = 230
	a := newPositiveDefinite(n, 0, 3)
	for _, path := range exactPaths() {
		use(t, path)
		want, grown := factor(t, a, 0), a.clone()
		for i := range n {
			if err := ExtendCholesky(grown.data()[:i*n+i+1], i, i+1, n); err != nil {
				t.Fatal(err)
			}
		}
		if err := sameBits(grown, want); err != nil {
			t.Errorf("%v: %v", path, err)
		}
	}
}

func TestCholeskyAgreesWithGonum(t *testing.T) {
	for _, n := range []int{1, 5, 97, 300} {
		a := newPositiveDefinite(n, 1, 17)
		for i := range n { // gonum's matrix routines read both triangles
			for j := range i {
				a.set(j, i, a.at(i, j))
			}
		}
		use(t, Gonum)
		want := factor(t, a, 0)
		half := factor(t, factor(t, a, 0), n)
		if err := sameBits(half, want); err != nil {
			t.Errorf("order %d, nothing left to extend: %v", n, err)
		}
		for _, path := range Available() {
			use(t, path)
			got := factor(t, a, 0)
			for i := range got.whole {
				if d := math.Abs(got.whole[i] - want.whole[i]); !(d <= 1e-13) {
					t.Fatalf("%v, order %d: element %d differs by %g", path, n, i, d)
				}
			}
			inverse, x, b := newGrid[float64](n, n, n+2, 0), newGrid[float64](n, 3, 4, 0), newGrid[float64](n, 3, 4, 0)
			CholeskyInverse(n, got.data(), got.ld, inverse.data(), inverse.ld)
			CholeskySolve(n, 3, got.data(), got.ld, x.data(), x.ld)
			if err := errors.Join(inverse.intact(), x.intact()); err != nil {
				t.Fatalf("%v, order %d: %v", path, n, err)
			}
			for i := range n {
				for j := range n {
					s := 0.0
					for k := range n {
						s += a.at(i, k) * inverse.at(k, j)
					}
					if i == j {
						s--
					}
					if !(math.Abs(s) <= 1e-12) || inverse.at(i, j) != inverse.at(j, i) {
						t.Fatalf("%v, order %d: A*inverse(A) at (%d, %d) is off by %g, symmetric partner %v and %v", path, n, i, j, s, inverse.at(i, j), inverse.at(j, i))
					}
				}
				for j := range 3 {
					s := -b.at(i, j)
					for k := range n {
						s += a.at(i, k) * x.at(k, j)
					}
					if !(math.Abs(s) <= 1e-12) {
						t.Fatalf("%v, order %d: residual of the solution at (%d, %d) is %g", path, n, i, j, s)
					}
				}
			}
		}
	}
}

func TestCholeskyInverseAgreesOnEveryPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(41, 2*blockT+blockK)).Draw(t, "n")
		a := newPositiveDefinite(n, rapid.IntRange(0, 3).Draw(t, "pad"), rapid.Uint64Range(0, 1<<40).Draw(t, "seed"))
		use(t, Portable)
		l := factor(t, a, 0)
		invert := func() grid[float64] {
			g := newGrid[float64](n, n, max(1, n), 0)
			CholeskyInverse(n, l.data(), l.ld, g.data(), g.ld)
			return g
		}
		want := invert()
		for _, path := range exactPaths() {
			use(t, path)
			if err := sameBits(invert(), want); err != nil {
				t.Fatalf("%v: %v", path, err)
			}
			inPlace := l.clone()
			CholeskyInverse(n, inPlace.data(), l.ld, inPlace.data(), l.ld)
			if err := inPlace.intact(); err != nil {
				t.Fatalf("%v: %v", path, err)
			}
			for i := range n {
				for j := range n {
					if inPlace.at(i, j) != want.at(i, j) {
						t.Fatalf("%v: in place, element (%d, %d) is %v, want %v", path, i, j, inPlace.at(i, j), want.at(i, j))
					}
				}
			}
		}
	})
}

func TestCholeskyNamesThePivotThatFails(t *testing.T) {
	for _, path := range exactPaths() {
		use(t, path)
		for _, n := range []int{1, 4, 7, 30, 97, 101, 200} {
			for _, row := range []int{0, n / 3, n - 1} {
				for _, bad := range []float64{-1, 0, math.NaN(), math.Inf(-1)} {
					a := newPositiveDefinite(n, 0, 5)
					for j := range row {
						a.set(row, j, 0)
					}
					a.set(row, row, bad)
					err := Cholesky(a.data(), n, n)
					var failure *NotPositiveDefiniteError
					if !errors.As(err, &failure) {
						t.Fatalf("%v, order %d, pivot %d = %v: error %v", path, n, row, bad, err)
					}
					if failure.Row != row || failure.Order != n || !(failure.Pivot == bad || math.IsNaN(bad) && math.IsNaN(failure.Pivot)) {
						t.Fatalf("%v, order %d, pivot %d = %v: reported %v", path, n, row, bad, failure)
					}
				}
			}
		}
	}
}

func TestGonumsCholeskyUsesThisPackage(t *testing.T) {
	const n = 120
	a := newPositiveDefinite(n, 0, 1)
	dense := mat.NewSymDense(n, nil)
	for i := range n {
		for j := range i + 1 {
			dense.SetSym(i, j, a.at(i, j))
		}
	}
	for _, path := range exactPaths() {
		use(t, path)
		want := factor(t, a, 0)
		var c mat.Cholesky
		if !c.Factorize(dense) {
			t.Fatal("mat.Cholesky finds no factor")
		}
		var l mat.TriDense
		c.LTo(&l)
		for i := range n {
			for j := range i + 1 {
				if l.At(i, j) != want.at(i, j) {
					t.Fatalf("%v: element (%d, %d) is %v in gonum, %v here", path, i, j, l.At(i, j), want.at(i, j))
				}
			}
		}
	}
}

// FuzzCholesky takes any bytes for a symmetric matrix: every path either
// factors it alike or names the same pivot.
func FuzzCholesky(f *testing.F) {
	f.Add([]byte{4, 1, 3})
	f.Add([]byte("a symmetric matrix, most likely indefinite"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := 0
		for (n+1)*(n+2)/2 <= len(data) && n < 120 {
			n++
		}
		if n == 0 {
			return
		}
		rng := stream.New("fuzz cholesky", uint64(data[0]))
		lift := float64(data[0]) * rng.Float64() * float64(n) / 8
		a, k := newGrid[float64](n, n, n, 0), 0
		for i := range n {
			for j := range i + 1 {
				x := float64(int8(data[k])) / 16
				if i == j {
					x += lift
				}
				a.set(i, j, x)
				k++
			}
		}
		use(t, Portable)
		want := a.clone()
		wantErr := Cholesky(want.data(), n, n)
		for _, path := range exactPaths() {
			use(t, path)
			got := a.clone()
			err := Cholesky(got.data(), n, n)
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%v: %v, portable: %v", path, err, wantErr)
			}
			if err == nil {
				if err := sameBits(got, want); err != nil {
					t.Fatalf("%v: %v", path, err)
				}
			}
		}
	})
}

func ExampleCholesky() {
	a := []float64{
		4, 0,
		2, 5,
	}
	fmt.Println(Cholesky(a, 2, 2), a)
	a = []float64{
		1, 0,
		2, 1,
	}
	fmt.Println(Cholesky(a, 2, 2))
	// Output:
	// <nil> [2 0 1 2]
	// blas: matrix of order 2 is not positive definite: pivot 1 is -3
}
