package blas

import (
	"fmt"
	"math"
	"slices"
	"testing"

	gblas "gonum.org/v1/gonum/blas"
	"pgregory.net/rapid"

	"quicktune/internal/stream"
)

// A grid is a matrix with its surroundings: the elements between the columns
// and the leading dimension, and some before and after, hold a canary.
type grid[T Float] struct {
	rows, cols, ld int
	whole          []T // margin, matrix, margin
}

const margin = 70

// canary is a value no computation here produces.
const canary = -12345.678

func newGrid[T Float](rows, cols, ld int, seed uint64) grid[T] {
	g := grid[T]{rows, cols, ld, make([]T, 2*margin+max(0, (rows-1)*ld+cols))}
	for i := range g.whole {
		g.whole[i] = T(canary)
	}
	rng := stream.New("blas grid", seed, uint64(rows), uint64(cols))
	for i := range rows {
		for j := range cols {
			g.set(i, j, T(rng.Float64()-0.5))
		}
	}
	return g
}

func (g grid[T]) data() []T {
	return g.whole[margin : len(g.whole)-margin : len(g.whole)-margin]
}
func (g grid[T]) at(i, j int) T     { return g.data()[i*g.ld+j] }
func (g grid[T]) set(i, j int, x T) { g.data()[i*g.ld+j] = x }

func (g grid[T]) clone() grid[T] {
	g.whole = slices.Clone(g.whole)
	return g
}

// op returns element (i, j) of op(g).
func (g grid[T]) op(trans bool, i, j int) T {
	if trans {
		i, j = j, i
	}
	return g.at(i, j)
}

// intact reports a canary that died.
func (g grid[T]) intact() error {
	inside := func(k int) bool {
		k -= margin
		return k >= 0 && k < len(g.whole)-2*margin && k%g.ld < g.cols
	}
	for k, x := range g.whole {
		if !inside(k) && x != T(canary) {
			return fmt.Errorf("element %d outside a %d x %d matrix of leading dimension %d was overwritten with %v",
				k-margin, g.rows, g.cols, g.ld, x)
		}
	}
	return nil
}

// sameBits reports the first difference between two grids; any NaN equals any
// other.
func sameBits[T Float](a, b grid[T]) error {
	for k := range a.whole {
		x, y := float64(a.whole[k]), float64(b.whole[k])
		if math.Float64bits(x) != math.Float64bits(y) && !(math.IsNaN(x) && math.IsNaN(y)) {
			return fmt.Errorf("element %d is %v against %v", k-margin, x, y)
		}
	}
	return nil
}

// exactPaths returns the paths that promise the same bits.
func exactPaths() []Path {
	return slices.DeleteFunc(Available(), func(p Path) bool { return p == Gonum })
}

// gemmProblem is one call of Gemm.
type gemmProblem[T Float] struct {
	transA, transB bool
	m, n, k        int
	alpha, beta    T
	a, b, c        grid[T]
}

func newGemmProblem[T Float](transA, transB bool, m, n, k int, alpha, beta T, pad int, seed uint64) gemmProblem[T] {
	ra, ca, rb, cb := m, k, k, n
	if transA {
		ra, ca = k, m
	}
	if transB {
		rb, cb = n, k
	}
	return gemmProblem[T]{transA, transB, m, n, k, alpha, beta,
		newGrid[T](ra, ca, max(1, ca+pad), seed), newGrid[T](rb, cb, max(1, cb+2*pad), seed+1), newGrid[T](m, n, max(1, n+3*pad), seed+2)}
}

func (p gemmProblem[T]) run() grid[T] {
	c := p.c.clone()
	Gemm(p.transA, p.transB, p.m, p.n, p.k, p.alpha, p.a.data(), p.a.ld, p.b.data(), p.b.ld, p.beta, c.data(), c.ld)
	return c
}

// chain is the definition of Gemm: what each element has to be, to the bit.
func (p gemmProblem[T]) chain() grid[T] {
	c := p.c.clone()
	for i := range p.m {
		for j := range p.n {
			x := T(0)
			if p.beta != 0 {
				x = p.beta * c.at(i, j)
			}
			if p.alpha != 0 {
				for from := 0; from < p.k; from += blockK {
					s := T(0)
					for l := from; l < min(p.k, from+blockK); l++ {
						s = fma(p.a.op(p.transA, i, l), p.b.op(p.transB, l, j), s)
					}
					x = fma(p.alpha, s, x)
				}
			}
			c.set(i, j, x)
		}
	}
	return c
}

func drawGemm[T Float](t *rapid.T) gemmProblem[T] {
	small := rapid.IntRange(0, 60)
	depth := rapid.OneOf(small, rapid.IntRange(blockK-3, 2*blockK+5))
	wide := rapid.OneOf(small, rapid.IntRange(61, 250))
	factor := rapid.SampledFrom([]T{0, 1, -1, 0.75, -2.5})
	return newGemmProblem(rapid.Bool().Draw(t, "transA"), rapid.Bool().Draw(t, "transB"),
		wide.Draw(t, "m"), wide.Draw(t, "n"), depth.Draw(t, "k"),
		factor.Draw(t, "alpha"), factor.Draw(t, "beta"),
		rapid.IntRange(0, 3).Draw(t, "pad"), rapid.Uint64Range(0, 1<<40).Draw(t, "seed"))
}

func testGemmChain[T Float](t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawGemm[T](t)
		want := p.chain()
		for _, path := range exactPaths() {
			use(t, path)
			got := p.run()
			if err := sameBits(got, want); err != nil {
				t.Fatalf("%v: %v", path, err)
			}
		}
	})
}

func TestGemmIsItsChainOnEveryPath(t *testing.T) {
	t.Run("float64", testGemmChain[float64])
	t.Run("float32", testGemmChain[float32])
}

// TestGemmCrossesEveryBlock meets the limits of the packed blocks, which the
// random shapes stay below.
func TestGemmCrossesEveryBlock(t *testing.T) {
	for _, s := range [][3]int{{1, blockN + 5, 3}, {65, blockN + 25, 12}, {blockM + 5, 97, 700}} {
		for flags := range 4 {
			p := newGemmProblem(flags&1 == 1, flags&2 == 2, s[0], s[1], s[2], 1.5, 1, 1, 7)
			want := p.chain()
			for _, path := range exactPaths() {
				use(t, path)
				if err := sameBits(p.run(), want); err != nil {
					t.Errorf("%v, shape %v, flags %d: %v", path, s, flags, err)
				}
			}
		}
	}
}

// The chain itself is checked against gonum, which knows nothing of it. A sum
// of k products of numbers below 1/2 errs by less than k*k/4 rounding units.
func TestGemmAgreesWithGonum(t *testing.T) {
	for flags := range 4 {
		p := newGemmProblem(flags&1 == 1, flags&2 == 2, 47, 53, 400, 1.25, -0.5, 2, 11)
		use(t, Gonum)
		want := p.run()
		for _, path := range exactPaths() {
			use(t, path)
			got := p.run()
			for i := range got.whole {
				if d := math.Abs(got.whole[i] - want.whole[i]); d > 1e-12 {
					t.Fatalf("%v, flags %d: element %d differs by %g", path, flags, i, d)
				}
			}
		}
	}
}

func TestGemmWithBetaZeroIgnoresC(t *testing.T) {
	for _, path := range Available() {
		use(t, path)
		for _, k := range []int{0, 3, 300} {
			p := newGemmProblem[float64](false, true, 9, 30, k, 2, 0, 1, 3)
			want := p.run()
			for i := range p.m {
				for j := range p.n {
					p.c.set(i, j, math.NaN())
				}
			}
			if err := sameBits(p.run(), want); err != nil {
				t.Errorf("%v, k %d: %v", path, k, err)
			}
		}
	}
}

func TestGemmWithAlphaZeroIgnoresAAndB(t *testing.T) {
	for _, path := range exactPaths() {
		use(t, path)
		p := newGemmProblem[float64](false, false, 9, 30, 5, 0, 2, 1, 3)
		p.a.set(0, 0, math.NaN())
		p.b.set(0, 0, math.Inf(1))
		got := p.run()
		for i := range p.m {
			for j := range p.n {
				if got.at(i, j) != 2*p.c.at(i, j) {
					t.Fatalf("%v: element (%d, %d) is %v, want %v", path, i, j, got.at(i, j), 2*p.c.at(i, j))
				}
			}
		}
	}
}

func TestGemmPropagatesNaNAndInfinity(t *testing.T) {
	for _, path := range exactPaths() {
		use(t, path)
		p := newGemmProblem[float64](false, true, 13, 29, 40, 1, 0, 0, 3)
		p.a.set(4, 7, math.NaN())
		p.b.set(11, 3, math.Inf(1))
		got := p.run()
		for i := range p.m {
			for j := range p.n {
				x := got.at(i, j)
				switch {
				case i == 4 && !math.IsNaN(x), i != 4 && j == 11 && !math.IsInf(x, 0), i != 4 && j != 11 && (math.IsNaN(x) || math.IsInf(x, 0)):
					t.Fatalf("%v: element (%d, %d) is %v", path, i, j, x)
				}
			}
		}
	}
}

func testSyrkEqualsGemm[T Float](t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lower, trans := rapid.Bool().Draw(t, "lower"), rapid.Bool().Draw(t, "trans")
		n, k := rapid.IntRange(0, 150).Draw(t, "n"), rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(250, 600)).Draw(t, "k")
		factor := rapid.SampledFrom([]T{0, 1, -1, 0.75})
		alpha, beta := factor.Draw(t, "alpha"), factor.Draw(t, "beta")
		pad, seed := rapid.IntRange(0, 3).Draw(t, "pad"), rapid.Uint64Range(0, 1<<40).Draw(t, "seed")
		p := newGemmProblem(trans, !trans, n, n, k, alpha, beta, pad, seed)
		p.b = p.a
		for _, path := range exactPaths() {
			use(t, path)
			want, got := p.run(), p.c.clone()
			uplo := gblas.Upper
			if lower {
				uplo = gblas.Lower
			}
			for i := range n {
				for j := range n {
					if i != j && (j < i) != lower {
						want.set(i, j, p.c.at(i, j))
					}
				}
			}
			Syrk(uplo, trans, n, k, alpha, p.a.data(), p.a.ld, beta, got.data(), got.ld)
			if err := sameBits(got, want); err != nil {
				t.Fatalf("%v: %v", path, err)
			}
		}
	})
}

func TestSyrkEqualsGemmInItsTriangle(t *testing.T) {
	t.Run("float64", testSyrkEqualsGemm[float64])
	t.Run("float32", testSyrkEqualsGemm[float32])
}

func TestShapesThatDoNotFitPanic(t *testing.T) {
	x := make([]float64, 100)
	for name, f := range map[string]func(){
		"negative m":          func() { Gemm(false, false, -1, 2, 2, 1, x, 2, x, 2, 0, x, 2) },
		"short a":             func() { Gemm(false, false, 10, 2, 11, 1, x, 11, x, 2, 0, x, 2) },
		"short b":             func() { Gemm(false, false, 2, 26, 4, 1, x, 4, x, 26, 0, x, 26) },
		"short c":             func() { Gemm(false, false, 20, 6, 1, 1, x, 1, x, 6, 0, x, 6) },
		"narrow lda":          func() { Gemm(true, false, 5, 2, 2, 1, x, 4, x, 2, 0, x, 2) },
		"short syrk c":        func() { Syrk(gblas.Lower, false, 11, 1, 1, x, 1, 0, x, 11) },
		"syrk uplo":           func() { Syrk('x', false, 3, 1, 1, x, 1, 0, x, 3) },
		"trsm side":           func() { Trsm('x', gblas.Lower, false, gblas.Unit, 2, 2, 1, x, 2, x, 2) },
		"trsm diag":           func() { Trsm(gblas.Left, gblas.Lower, false, 'x', 2, 2, 1, x, 2, x, 2) },
		"short trsm b":        func() { Trsm(gblas.Left, gblas.Lower, false, gblas.Unit, 3, 50, 1, x, 3, x, 50) },
		"short trsm a":        func() { Trsm(gblas.Right, gblas.Lower, false, gblas.Unit, 1, 11, 1, x, 11, x, 11) },
		"short cholesky":      func() { _ = Cholesky(x, 11, 11) },
		"more done than rows": func() { _ = ExtendCholesky(x, 4, 3, 3) },
		"short inverse":       func() { CholeskyInverse(10, x, 10, x[:99], 10) },
		"transpose flag":      func() { Implementation{}.Dgemm('x', gblas.Trans, 1, 1, 1, 1, x, 1, x, 1, 0, x, 1) },
	} {
		for _, path := range Available() {
			use(t, path)
			func() {
				defer func() {
					if r := recover(); r == nil {
						t.Errorf("%v: %s does not panic", path, name)
					} else if _, ok := r.(string); !ok {
						t.Errorf("%v: %s panics with %v, not with a message", path, name, r)
					}
				}()
				f()
			}()
		}
	}
}

// FuzzGemm looks for shapes on which a path leaves its chain.
func FuzzGemm(f *testing.F) {
	f.Add(uint16(8), uint16(24), uint16(3), uint8(0), uint64(1))
	f.Add(uint16(13), uint16(49), uint16(290), uint8(7), uint64(2))
	f.Fuzz(func(t *testing.T, m, n, k uint16, flags uint8, seed uint64) {
		p := newGemmProblem(flags&1 != 0, flags&2 != 0, int(m%300), int(n%300), int(k%600),
			float64(flags>>2&3)-1, float64(flags>>4&3)-1, int(flags>>6), seed>>1)
		want := p.chain()
		for _, path := range exactPaths() {
			use(t, path)
			if err := sameBits(p.run(), want); err != nil {
				t.Fatalf("%v: %v", path, err)
			}
		}
	})
}
