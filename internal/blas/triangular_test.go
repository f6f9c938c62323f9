package blas

import (
	"fmt"
	"math"
	"testing"

	gblas "gonum.org/v1/gonum/blas"
	"pgregory.net/rapid"
)

// trsmProblem is one call of Trsm.
type trsmProblem[T Float] struct {
	side  gblas.Side
	uplo  gblas.Uplo
	trans bool
	diag  gblas.Diag
	m, n  int
	alpha T
	a, b  grid[T]
}

// newTrsmProblem makes a triangle whose solution grows little: off the diagonal
// below 1/order, on it near 1. What Trsm must not read is NaN.
func newTrsmProblem[T Float](side gblas.Side, uplo gblas.Uplo, trans bool, diag gblas.Diag, m, n int, alpha T, pad int, seed uint64) trsmProblem[T] {
	order := m
	if side == gblas.Right {
		order = n
	}
	p := trsmProblem[T]{side, uplo, trans, diag, m, n, alpha,
		newGrid[T](order, order, max(1, order+pad), seed), newGrid[T](m, n, max(1, n+2*pad), seed+1)}
	for i := range order {
		for j := range order {
			switch {
			case i == j && diag == gblas.NonUnit:
				p.a.set(i, j, 1+p.a.at(i, j))
			case i == j, (j < i) != (uplo == gblas.Lower):
				p.a.set(i, j, T(math.NaN()))
			default:
				p.a.set(i, j, 2*p.a.at(i, j)/T(order))
			}
		}
	}
	return p
}

func (p trsmProblem[T]) run() grid[T] {
	x := p.b.clone()
	Trsm(p.side, p.uplo, p.trans, p.diag, p.m, p.n, p.alpha, p.a.data(), p.a.ld, x.data(), x.ld)
	return x
}

// entry returns element (i, j) of op(A), zeros and unit diagonal included.
func (p trsmProblem[T]) entry(i, j int) float64 {
	if p.trans {
		i, j = j, i
	}
	switch {
	case i == j && p.diag == gblas.Unit:
		return 1
	case i != j && (j < i) != (p.uplo == gblas.Lower):
		return 0
	}
	return float64(p.a.at(i, j))
}

// residual returns the largest element of op(A)*X - alpha*B or X*op(A) - alpha*B.
func (p trsmProblem[T]) residual(x grid[T]) float64 {
	worst := 0.0
	for i := range p.m {
		for j := range p.n {
			s := -float64(p.alpha) * float64(p.b.at(i, j))
			if p.side == gblas.Left {
				for k := range p.m {
					s += p.entry(i, k) * float64(x.at(k, j))
				}
			} else {
				for k := range p.n {
					s += float64(x.at(i, k)) * p.entry(k, j)
				}
			}
			worst = max(worst, math.Abs(s))
		}
	}
	return worst
}

func testTrsm[T Float](t *testing.T, tolerance float64) {
	rapid.Check(t, func(t *rapid.T) {
		side := rapid.SampledFrom([]gblas.Side{gblas.Left, gblas.Right}).Draw(t, "side")
		uplo := rapid.SampledFrom([]gblas.Uplo{gblas.Lower, gblas.Upper}).Draw(t, "uplo")
		diag := rapid.SampledFrom([]gblas.Diag{gblas.Unit, gblas.NonUnit}).Draw(t, "diag")
		size := rapid.OneOf(rapid.IntRange(0, 30), rapid.IntRange(31, 2*blockT+9))
		p := newTrsmProblem(side, uplo, rapid.Bool().Draw(t, "trans"), diag, size.Draw(t, "m"), size.Draw(t, "n"),
			rapid.SampledFrom([]T{1, 0, -0.5}).Draw(t, "alpha"), rapid.IntRange(0, 3).Draw(t, "pad"), rapid.Uint64Range(0, 1<<40).Draw(t, "seed"))
		use(t, Portable)
		want := p.run()
		if r := p.residual(want); !(r <= tolerance) {
			t.Fatalf("residual %g", r)
		}
		for _, path := range exactPaths() {
			use(t, path)
			got := p.run()
			if err := got.intact(); err != nil {
				t.Fatalf("%v: %v", path, err)
			}
			if err := sameBits(got, want); err != nil {
				t.Fatalf("%v: %v", path, err)
			}
		}
	})
}

func TestTrsmSolvesAlikeOnEveryPath(t *testing.T) {
	t.Run("float64", func(t *testing.T) { testTrsm[float64](t, 1e-13) })
	t.Run("float32", func(t *testing.T) { testTrsm[float32](t, 1e-5) })
}

func TestTrsmAgreesWithGonum(t *testing.T) {
	for _, side := range []gblas.Side{gblas.Left, gblas.Right} {
		for _, uplo := range []gblas.Uplo{gblas.Lower, gblas.Upper} {
			for _, trans := range []bool{false, true} {
				for _, diag := range []gblas.Diag{gblas.Unit, gblas.NonUnit} {
					p := newTrsmProblem(side, uplo, trans, diag, 201, 117, 1.25, 2, 5)
					use(t, Gonum)
					want := p.run()
					for _, path := range exactPaths() {
						use(t, path)
						got := p.run()
						for i := range got.whole {
							if d := math.Abs(got.whole[i] - want.whole[i]); !(d <= 1e-13) {
								t.Fatalf("%v, %c %c trans %v %c: element %d differs by %g", path, side, uplo, trans, diag, i, d)
							}
						}
					}
				}
			}
		}
	}
}

// TestTrsmColumnsAreIndependent: a right-hand side is solved alike alone and
// among others, whatever panel it falls into.
func TestTrsmColumnsAreIndependent(t *testing.T) {
	for _, path := range exactPaths() {
		use(t, path)
		p := newTrsmProblem[float64](gblas.Left, gblas.Lower, false, gblas.NonUnit, 130, 40, 1, 0, 9)
		all := p.run()
		for _, j := range []int{0, 11, 12, 23, 24, 39} {
			one := newGrid[float64](p.m, 1, 1, 0)
			for i := range p.m {
				one.set(i, 0, p.b.at(i, j))
			}
			Trsm(p.side, p.uplo, p.trans, p.diag, p.m, 1, 1, p.a.data(), p.a.ld, one.data(), 1)
			for i := range p.m {
				if one.at(i, 0) != all.at(i, j) {
					t.Fatalf("%v: row %d of column %d is %v alone and %v among others", path, i, j, one.at(i, 0), all.at(i, j))
				}
			}
		}
	}
}

func testVectors[T Float](t *testing.T, tolerance float64) {
	rapid.Check(t, func(t *rapid.T) {
		trans := rapid.Bool().Draw(t, "trans")
		size := rapid.OneOf(rapid.IntRange(0, 70), rapid.IntRange(250, 400))
		m, n := size.Draw(t, "m"), size.Draw(t, "n")
		factor := rapid.SampledFrom([]T{0, 1, -1, 0.75})
		alpha, beta := factor.Draw(t, "alpha"), factor.Draw(t, "beta")
		pad, seed := rapid.IntRange(0, 3).Draw(t, "pad"), rapid.Uint64Range(0, 1<<40).Draw(t, "seed")
		a := newGrid[T](m, n, max(1, n+pad), seed)
		lx, ly := n, m
		if trans {
			lx, ly = m, n
		}
		x, y := newGrid[T](1, lx, max(1, lx), seed+1), newGrid[T](1, ly, max(1, ly), seed+2)
		gemv := func(path Path) grid[T] {
			use(t, path)
			y := y.clone()
			Gemv(trans, m, n, alpha, a.data(), a.ld, x.data(), beta, y.data())
			if err := y.intact(); err != nil {
				t.Fatalf("%v: %v", path, err)
			}
			return y
		}
		want := gemv(Portable)
		for i := range ly {
			s := float64(beta) * float64(y.at(0, i))
			for k := range lx {
				s += float64(alpha) * float64(a.op(trans, i, k)) * float64(x.at(0, k))
			}
			if d := math.Abs(s - float64(want.at(0, i))); d > tolerance {
				t.Fatalf("element %d is off by %g", i, d)
			}
		}
		p := newTrsmProblem(gblas.Left, rapid.SampledFrom([]gblas.Uplo{gblas.Lower, gblas.Upper}).Draw(t, "uplo"), trans,
			rapid.SampledFrom([]gblas.Diag{gblas.Unit, gblas.NonUnit}).Draw(t, "diag"), m, 1, T(1), pad, seed)
		p.b = newGrid[T](m, 1, 1, seed)
		trsv := func(path Path) grid[T] {
			use(t, path)
			x := p.b.clone()
			Trsv(p.uplo, p.trans, p.diag, m, p.a.data(), p.a.ld, x.data())
			if err := x.intact(); err != nil {
				t.Fatalf("%v: %v", path, err)
			}
			return x
		}
		solution := trsv(Portable)
		if r := p.residual(solution); !(r <= tolerance) {
			t.Fatalf("residual %g", r)
		}
		for _, path := range exactPaths() {
			if err := sameBits(gemv(path), want); err != nil {
				t.Fatalf("Gemv %v: %v", path, err)
			}
			if err := sameBits(trsv(path), solution); err != nil {
				t.Fatalf("Trsv %v: %v", path, err)
			}
		}
	})
}

func TestVectorRoutinesAgreeOnEveryPath(t *testing.T) {
	t.Run("float64", func(t *testing.T) { testVectors[float64](t, 1e-12) })
	t.Run("float32", func(t *testing.T) { testVectors[float32](t, 1e-4) })
}

func ExampleTrsm() {
	l := []float64{
		2, 0,
		1, 4,
	}
	b := []float64{2, 9}
	Trsm(gblas.Left, gblas.Lower, false, gblas.NonUnit, 2, 1, 1, l, 2, b, 1)
	fmt.Println(b)
	// Output: [1 2]
}
