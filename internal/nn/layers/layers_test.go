package layers

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"quicktune/internal/nn"
	"quicktune/internal/stream"
)

func normal(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

const tolerance = 1e-6

// check compares the gradients of a layer, by its input and by each parameter,
// with central differences of the inner product of its output with fixed
// numbers. Random numbers are drawn anew, and equal, in every pass.
func check(t *testing.T, l Layer[float64], n, h, w, c int) {
	t.Helper()
	rng := stream.New("test/layers", 1)
	x := Batch[float64]{N: n, H: h, W: w, C: c, Data: normal(rng, n*h*w*c)}
	type state struct{ p, v []float64 }
	var fixed []state
	for _, p := range l.Params() {
		if p.Fixed {
			for i := range p.Value {
				p.Value[i] = 0.5 + rng.Float64()
			}
			fixed = append(fixed, state{p.Value, slices.Clone(p.Value)})
			continue
		}
		copy(p.Value, normal(rng, len(p.Value)))
	}
	ctx := &Context[float64]{Train: true}
	forward := func() Batch[float64] {
		for _, s := range fixed {
			copy(s.p, s.v)
		}
		ctx.Rng = stream.New("test/layers/pass", 2)
		return l.Forward(ctx, x)
	}
	y := forward()
	dy := normal(rng, y.Len())
	loss := func() float64 {
		s := 0.0
		for i, v := range forward().Data {
			s += v * dy[i]
		}
		return s
	}
	g := y
	g.Data = ctx.Get(len(dy))
	copy(g.Data, dy)
	dx := slices.Clone(l.Backward(ctx, g, true).Data)
	if e := nn.CheckGradient(loss, x.Data, dx, 60); !(e <= tolerance) {
		t.Errorf("input: relative error %.1e", e)
	}
	for _, p := range l.Params() {
		if p.Fixed {
			continue
		}
		if e := nn.CheckGradient(loss, p.Value, slices.Clone(p.Grad), 60); !(e <= tolerance) {
			t.Errorf("%s: relative error %.1e", p.Name, e)
		}
		most := 0.0
		for _, v := range p.Grad {
			most = max(most, math.Abs(v))
		}
		if most == 0 {
			t.Errorf("%s: the gradient is 0 throughout, the check would say nothing", p.Name)
		}
	}
}

func TestGradients(t *testing.T) {
	type L = Layer[float64]
	stochastic := NewBatchNorm[float64]("norm", 5, true)
	stochastic.Stochastic = 0.5
	frozen := NewBatchNorm[float64]("norm", 5, false)
	frozen.Frozen = true
	for _, c := range []struct {
		name       string
		l          L
		n, h, w, c int
	}{
		{"linear", NewLinear[float64]("l", 5, 7, true), 2, 3, 2, 5},
		{"linear without bias", NewLinear[float64]("l", 5, 7, false), 2, 3, 2, 5},
		{"token linear", NewTokenLinear[float64]("l", 6, 4), 3, 3, 2, 5},
		{"patches", NewPatchConv[float64]("l", 2, 3, 5, true), 2, 4, 6, 3},
		{"convolution of width 3", NewConv2d[float64]("l", 3, 3, 5), 3, 5, 4, 3},
		{"convolution of width 5", NewConv2d[float64]("l", 5, 2, 3), 2, 5, 4, 2},
		{"convolution of one row of images", NewConv2d[float64]("l", 3, 2, 3), 40, 4, 4, 2},
		{"depthwise of width 3", NewDepthwise[float64]("l", 3, 4), 3, 5, 4, 4},
		{"depthwise of width 5", NewDepthwise[float64]("l", 5, 3), 2, 5, 6, 3},
		{"depthwise of width 7", NewDepthwise[float64]("l", 7, 3), 2, 5, 6, 3},
		{"batch norm", NewBatchNorm[float64]("norm", 5, false), 3, 4, 2, 5},
		{"batch norm of many rows", NewBatchNorm[float64]("norm", 2, false), 9, 8, 8, 2},
		{"batch norm with a rectifier", NewBatchNorm[float64]("norm", 5, true), 3, 4, 2, 5},
		{"stochastic norm", stochastic, 3, 4, 2, 5},
		{"frozen batch norm", frozen, 3, 4, 2, 5},
		{"layer norm", NewLayerNorm[float64]("norm", 6), 3, 2, 2, 6},
		{"attention", NewAttention[float64]("a", 6, 2), 2, 2, 3, 6},
		{"position", NewPosition[float64]("p", 4, 3), 2, 2, 2, 3},
		{"GELU", &GELU[float64]{}, 2, 3, 3, 2},
		{"ReLU", &ReLU[float64]{}, 2, 3, 3, 2},
		{"global pool", &GlobalPool[float64]{}, 2, 3, 3, 2},
		{"average pool", &AvgPool[float64]{}, 2, 4, 6, 2},
		{"max pool", &MaxPool[float64]{}, 2, 4, 6, 2},
		{"dropout", &Dropout[float64]{P: 0.4}, 2, 4, 6, 2},
		{"residual", &Residual[float64]{Branch: NewLinear[float64]("l", 5, 5, true)}, 4, 2, 2, 5},
		{"stochastic depth", &Residual[float64]{Branch: NewLinear[float64]("l", 5, 5, true), Drop: 0.5}, 6, 2, 2, 5},
		{"a sequence", Sequence[float64]{
			NewConv2d[float64]("c", 3, 2, 4), NewBatchNorm[float64]("n", 4, false),
			&Residual[float64]{Branch: Sequence[float64]{NewDepthwise[float64]("d", 3, 4), &GELU[float64]{}}},
			&GlobalPool[float64]{}, NewLinear[float64]("h", 4, 3, true),
		}, 3, 4, 4, 2},
	} {
		t.Run(c.name, func(t *testing.T) { check(t, c.l, c.n, c.h, c.w, c.c) })
	}
}

func TestCrossEntropyGradient(t *testing.T) {
	rng := stream.New("test/loss", 1)
	z := normal(rng, 4*5)
	targets := make([]float64, 4*5)
	Smooth(targets, []int{0, 4, 2, 2}, 5, 0.1)
	for i := range 5 { // a mixture
		targets[i] = 0.3*targets[i] + 0.7*targets[5+i]
	}
	work := make([]float64, len(z))
	loss := func() float64 { copy(work, z); return CrossEntropy(work, targets, 4, 1) }
	loss()
	if e := nn.CheckGradient(loss, z, slices.Clone(work), 0); !(e <= tolerance) {
		t.Errorf("relative error %.1e", e)
	}
}

// By hand: logits (0, ln 3), so probabilities (1/4, 3/4); smoothing 0.2 over two
// classes makes targets (0.1, 0.9) for label 1.
func TestCrossEntropyByHand(t *testing.T) {
	z, p := []float64{0, math.Log(3)}, make([]float64, 2)
	Smooth(p, []int{1}, 2, 0.2)
	if math.Abs(p[0]-0.1) > 1e-15 || math.Abs(p[1]-0.9) > 1e-15 {
		t.Fatalf("targets %v", p)
	}
	want := 0.1*math.Log(4) + 0.9*math.Log(4.0/3)
	if got := CrossEntropy(z, p, 1, 1); math.Abs(got-want) > 1e-14 {
		t.Errorf("loss %v, want %v", got, want)
	}
	if math.Abs(z[0]-0.15) > 1e-14 || math.Abs(z[1]+0.15) > 1e-14 {
		t.Errorf("gradient %v, want 0.15, -0.15", z)
	}
	loss, right := Evaluate([]float64{0, math.Log(3), 1, 1}, []int{1, 1})
	if right != 1 || math.Abs(loss-(math.Log(4.0/3)+math.Log(2))) > 1e-14 {
		t.Errorf("loss %v, %d right", loss, right)
	}
}

// A convolution by its definition.
func TestConvolutionAgainstItsDefinition(t *testing.T) {
	rng := stream.New("test/conv", 1)
	const n, h, w, in, out, k = 2, 5, 7, 3, 4, 3
	l := NewConv2d[float64]("c", k, in, out)
	copy(l.W.Value, normal(rng, len(l.W.Value)))
	x := Batch[float64]{N: n, H: h, W: w, C: in, Data: normal(rng, n*h*w*in)}
	y := l.Forward(&Context[float64]{}, x)
	for i := range n {
		for r := range h {
			for c := range w {
				for o := range out {
					want := 0.0
					for ky := range k {
						for kx := range k {
							rr, cc := r+ky-1, c+kx-1
							if rr < 0 || rr >= h || cc < 0 || cc >= w {
								continue
							}
							for q := range in {
								want += x.Data[((i*h+rr)*w+cc)*in+q] * l.W.Value[((ky*k+kx)*in+q)*out+o]
							}
						}
					}
					if got := y.Data[((i*h+r)*w+c)*out+o]; math.Abs(got-want) > 1e-12 {
						t.Fatalf("image %d, pixel (%d, %d), channel %d: %g instead of %g", i, r, c, o, got, want)
					}
				}
			}
		}
	}
}

// A smaller batch after a larger one must not see what the larger left behind.
func TestABatchDoesNotDependOnTheOneBefore(t *testing.T) {
	rng := stream.New("test/conv", 2)
	l := NewConv2d[float64]("c", 3, 2, 3)
	copy(l.W.Value, normal(rng, len(l.W.Value)))
	ctx := &Context[float64]{Train: true}
	pass := func(x Batch[float64]) ([]float64, []float64) {
		clear(l.W.Grad)
		y := l.Forward(ctx, x)
		out := slices.Clone(y.Data)
		g := y
		g.Data = ctx.Get(y.Len())
		copy(g.Data, y.Data)
		l.Backward(ctx, g, true)
		return out, slices.Clone(l.W.Grad)
	}
	small := Batch[float64]{N: 1, H: 4, W: 4, C: 2, Data: normal(rng, 32)}
	y1, g1 := pass(small)
	pass(Batch[float64]{N: 5, H: 4, W: 4, C: 2, Data: normal(rng, 160)})
	y2, g2 := pass(small)
	if !slices.Equal(y1, y2) || !slices.Equal(g1, g2) {
		t.Error("results differ")
	}
}

// Two images, two channels: mean and variance by hand, and torch's running
// statistics.
func TestBatchNormByHand(t *testing.T) {
	l := NewBatchNorm[float64]("n", 1, false)
	l.Gamma.Value[0], l.Beta.Value[0], l.Var.Value[0] = 2, 1, 1
	y := l.Forward(&Context[float64]{Train: true}, Batch[float64]{N: 2, H: 1, W: 2, C: 1, Data: []float64{1, 2, 3, 6}})
	sd := math.Sqrt(3.5 + normEpsilon)
	for i, x := range []float64{1, 2, 3, 6} {
		if want := 2*(x-3)/sd + 1; math.Abs(y.Data[i]-want) > 1e-12 {
			t.Errorf("element %d: %g instead of %g", i, y.Data[i], want)
		}
	}
	if math.Abs(l.Mean.Value[0]-0.3) > 1e-12 || math.Abs(l.Var.Value[0]-(0.9+0.1*14/3)) > 1e-12 {
		t.Errorf("running statistics %g, %g", l.Mean.Value[0], l.Var.Value[0])
	}
	l.Frozen = true
	mean, variance := l.Mean.Value[0], l.Var.Value[0]
	y = l.Forward(&Context[float64]{Train: true}, Batch[float64]{N: 1, H: 1, W: 1, C: 1, Data: []float64{4}})
	if want := 2*(4-mean)/math.Sqrt(variance+normEpsilon) + 1; math.Abs(y.Data[0]-want) > 1e-12 {
		t.Errorf("frozen: %g instead of %g", y.Data[0], want)
	}
	if l.Mean.Value[0] != mean || l.Var.Value[0] != variance {
		t.Error("a frozen norm moved its statistics")
	}
}

// With probability 1 every channel takes the running statistics, with 0 none.
func TestStochasticNormChoosesChannelsByItsProbability(t *testing.T) {
	rng := stream.New("test/stochnorm", 1)
	l := NewBatchNorm[float64]("n", 400, false)
	for i := range l.Gamma.Value {
		l.Gamma.Value[i], l.Var.Value[i] = 1, 4
	}
	l.Stochastic = 0.5
	x := Batch[float64]{N: 4, H: 1, W: 1, C: 400, Data: normal(rng, 1600)}
	y := l.Forward(&Context[float64]{Train: true, Rng: rng}, x)
	moving := 0
	for j := range 400 {
		if math.Abs(y.Data[j]-x.Data[j]/math.Sqrt(4+normEpsilon)) < 1e-12 {
			moving++
		}
	}
	if moving < 150 || moving > 250 {
		t.Errorf("%d of 400 channels took the running statistics", moving)
	}
}

func TestStochasticDepthKeepsTheMean(t *testing.T) {
	rng := stream.New("test/depth", 1)
	branch := NewLinear[float64]("l", 1, 1, false)
	branch.W.Value[0] = 1
	l := &Residual[float64]{Branch: branch, Drop: 0.25}
	x := Batch[float64]{N: 4000, H: 1, W: 1, C: 1, Data: make([]float64, 4000)}
	for i := range x.Data {
		x.Data[i] = 3
	}
	sum, kept := 0.0, 0
	for _, v := range l.Forward(&Context[float64]{Train: true, Rng: rng}, x).Data {
		sum += v
		if v != 3 {
			kept++
			if math.Abs(v-7) > 1e-12 {
				t.Fatalf("%g is neither 3 nor 3 + 3/0.75", v)
			}
		}
	}
	if math.Abs(sum/4000-6) > 0.1 || kept < 2850 || kept > 3150 {
		t.Errorf("mean %g, %d kept", sum/4000, kept)
	}
	if y := l.Forward(&Context[float64]{}, x).Data[0]; y != 6 {
		t.Errorf("evaluation gives %g", y)
	}
}

// raced tells that the race detector is on, which throws away some of what pools
// are given.
var raced bool

func TestAWarmPassAllocatesNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector throws away some of what pools are given")
	}
	rng := stream.New("test/alloc", 1)
	l := Sequence[float32]{
		NewConv2d[float32]("c", 3, 3, 16), NewBatchNorm[float32]("n", 16, true), &MaxPool[float32]{},
		&Residual[float32]{Branch: Sequence[float32]{NewDepthwise[float32]("d", 3, 16), NewLayerNorm[float32]("m", 16), &GELU[float32]{}}, Drop: 0.1},
		NewAttention[float32]("a", 16, 2), &Dropout[float32]{P: 0.1}, &AvgPool[float32]{},
		NewTokenLinear[float32]("t", 16, 16), &GlobalPool[float32]{}, NewLinear[float32]("h", 16, 4, true),
	}
	for _, p := range l.Params() {
		p.Init(rng)
	}
	x := Batch[float32]{N: 4, H: 16, W: 16, C: 3, Data: make([]float32, 4*16*16*3)}
	for i := range x.Data {
		x.Data[i] = float32(rng.NormFloat64())
	}
	ctx := &Context[float32]{Train: true, Rng: rng}
	targets := make([]float32, 16)
	pass := func() {
		Smooth(targets, []int{0, 1, 2, 3}, 4, 0.1)
		y := l.Forward(ctx, x)
		g := y
		g.Data = ctx.Get(y.Len())
		copy(g.Data, y.Data)
		CrossEntropy(g.Data, targets, 4, 1)
		l.Backward(ctx, g, false)
	}
	pass()
	pass()
	if n := testing.AllocsPerRun(5, pass); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
