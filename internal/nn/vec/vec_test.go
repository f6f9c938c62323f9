package vec

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"quicktune/internal/blas"
	"quicktune/internal/stream"
)

func random(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(2 * rng.NormFloat64())
	}
	return x
}

// results runs every function on one shape and returns all that was written.
func results(seed uint64, rows, c int) map[string][]float32 {
	rng := stream.New("test/vec", seed)
	out := map[string][]float32{}
	x, y, g := random(rng, rows*c), random(rng, rows*c), random(rng, rows*c)
	a, b, d := random(rng, c), random(rng, c), random(rng, c)
	run := func(name string, f func(y []float32)) {
		r := slices.Clone(y)
		f(r)
		out[name] = r
	}
	run("add", func(y []float32) { Add(y, x) })
	run("mul", func(y []float32) { Mul(y, x) })
	run("scale", func(y []float32) { Scale(y, 0.3) })
	run("axpy", func(y []float32) { Axpy(0.3, x, y) })
	run("relu", func(y []float32) { ReLU(y, x) })
	run("relu gradient", func(y []float32) { ReLUGrad(y, x) })
	run("gelu", func(y []float32) { GELU(y, x) })
	run("gelu gradient", func(y []float32) { GELUGrad(y, x) })
	m, v := slices.Clone(x), make([]float32, len(x))
	for i := range v {
		v[i] = x[i] * x[i]
	}
	run("adam", func(y []float32) { Adam(AdamStep{0.9, 0.99, 0.01, 1e-8}, y, m, v, g) })
	out["adam m"], out["adam v"] = m, v
	s1, s2 := slices.Clone(a), slices.Clone(b)
	ColSums(s1, x, rows)
	ColMoments(s1, s2, x, d, rows)
	ColDots(s1, s2, y, x, d, rows)
	out["column sums 1"], out["column sums 2"] = s1, s2
	run("affine", func(y []float32) { ColAffine(y, x, a, b, rows) })
	run("affine relu", func(y []float32) { ColAffineReLU(y, x, a, b, rows) })
	run("combine", func(y []float32) { ColCombine(y, x, a, b, d, rows) })
	rstd := make([]float32, rows)
	xhat := make([]float32, rows*c)
	RowNorm(xhat, rstd, x, 1e-5)
	out["row norm"], out["rstd"] = xhat, rstd
	run("row norm gradient", func(y []float32) { RowNormGrad(y, xhat, rstd, a) })
	soft := slices.Clone(x)
	Softmax(soft, rows)
	out["softmax"] = soft
	run("softmax gradient", func(y []float32) { SoftmaxGrad(y, soft, rows) })
	for _, taps := range []int{3, 5, 7} {
		w := random(rng, taps*c)
		offsets := make([]int, taps)
		for t := range offsets {
			offsets[t] = t * c
		}
		in := random(rng, (rows+taps-1)*c)
		run("depthwise", func(y []float32) { Depthwise(y, in, w, offsets, rows) })
		DepthwiseGrad(w, in, x, taps, rows)
		out["depthwise gradient"] = append(out["depthwise gradient"], w...)
	}
	top, low := random(rng, 2*rows*c), random(rng, 2*rows*c)
	for i := range top { // equals, of which the first counts
		if i%3 == 0 {
			low[i] = top[i]
		}
	}
	most, dtop, dlow := make([]float32, rows*c), make([]float32, 2*rows*c), make([]float32, 2*rows*c)
	MaxPool(most, top, low, rows)
	MaxPoolGrad(dtop, dlow, top, low, most, x, rows)
	out["max pool"], out["max pool gradient"] = most, append(dtop, dlow...)
	return out
}

func TestAllPathsGiveTheSameBits(t *testing.T) {
	before := blas.Active()
	defer func() { _ = blas.Select(before) }()
	for _, shape := range [][2]int{{1, 16}, {5, 48}, {7, 32}, {6, 80}, {3, 17}, {9, 5}, {64, 64}} {
		if err := blas.Select(blas.Portable); err != nil {
			t.Fatal(err)
		}
		want := results(1, shape[0], shape[1])
		for _, p := range blas.Available() {
			if err := blas.Select(p); err != nil {
				t.Fatal(err)
			}
			for name, got := range results(1, shape[0], shape[1]) {
				for i := range got {
					if math.Float32bits(got[i]) != math.Float32bits(want[name][i]) {
						t.Fatalf("%v, %s, %d x %d: element %d is %g instead of %g", p, name, shape[0], shape[1], i, got[i], want[name][i])
					}
				}
			}
		}
	}
}

// The kernels' exponential is checked through softmax against math.Exp.
func TestSoftmaxAndGELUAreAccurate(t *testing.T) {
	rng := stream.New("test/vec/accuracy", 1)
	x := random(rng, 16*40)
	soft, gelu := slices.Clone(x), slices.Clone(x)
	Softmax(soft, 40)
	GELU(gelu, x)
	for r := range 40 {
		sum := 0.0
		for _, v := range x[16*r : 16*r+16] {
			sum += math.Exp(float64(v))
		}
		for j, v := range x[16*r : 16*r+16] {
			want := math.Exp(float64(v)) / sum
			if got := float64(soft[16*r+j]); math.Abs(got-want) > 1e-6*want {
				t.Fatalf("softmax is %g instead of %g", got, want)
			}
			u := math.Sqrt(2/math.Pi) * (float64(v) + 0.044715*math.Pow(float64(v), 3))
			wantG := 0.5 * float64(v) * (1 + math.Tanh(u))
			if got := float64(gelu[16*r+j]); math.Abs(got-wantG) > 1e-6*(math.Abs(wantG)+1e-3) {
				t.Fatalf("gelu(%g) is %g instead of %g", v, got, wantG)
			}
		}
	}
}

func TestExtremesStayFinite(t *testing.T) {
	x := []float32{-1e30, 1e30, -200, 200, 0, -88, 88, 1, -1, 2, -2, 3, -3, 4, -4, 5}
	y := slices.Clone(x)
	GELU(y, x)
	for i, v := range x {
		if v > 10 && y[i] != v || v < -20 && math.Abs(float64(y[i])) > 1e-3 && v > -1e9 {
			t.Errorf("gelu(%g) = %g", v, y[i])
		}
	}
	Softmax(x, 1)
	if x[1] != 1 || x[0] != 0 && x[0] > 1e-30 {
		t.Errorf("softmax of extremes: %v", x)
	}
}

func TestNoPathAllocates(t *testing.T) {
	rng := stream.New("test/vec/alloc", 1)
	x, y := random(rng, 1024), random(rng, 1024)
	offsets := []int{0, 16, 32}
	if n := testing.AllocsPerRun(10, func() {
		Add(y, x)
		GELU(y, x)
		Softmax(y, 64)
		Depthwise(y[:512], x, y[512:560], offsets, 32)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func benchmark(b *testing.B, f func(y, x []float32)) {
	rng := stream.New("bench/vec", 1)
	x, y := random(rng, 1<<16), random(rng, 1<<16)
	b.SetBytes(4 << 16)
	for b.Loop() {
		f(y, x)
	}
}

func BenchmarkReLU(b *testing.B)     { benchmark(b, ReLU[float32]) }
func BenchmarkGELU(b *testing.B)     { benchmark(b, GELU[float32]) }
func BenchmarkGELUGrad(b *testing.B) { benchmark(b, GELUGrad[float32]) }
func BenchmarkSoftmax(b *testing.B) {
	benchmark(b, func(y, x []float32) { Softmax(y, 1024) })
}
