package nn

import (
	"math"
	"math/rand/v2"
	"testing"

	"quicktune/internal/stream"
)

func random(rng *rand.Rand, rows, cols int) Matrix {
	m := NewMatrix(rows, cols)
	for i := range m.Data {
		m.Data[i] = rng.NormFloat64()
	}
	return m
}

// inner is the loss of every gradient check: the inner product of a layer's
// output with fixed random numbers, whose gradient by the output is those
// numbers.
func inner(a, b Matrix) float64 {
	s := 0.0
	for i := range a.Rows {
		s += dot(a.Row(i), b.Row(i))
	}
	return s
}

const gradientTolerance = 1e-6

func check(t *testing.T, what string, loss func() float64, value, grad []float64) {
	t.Helper()
	if largest(grad) == 0 {
		t.Fatalf("%s: the gradient is 0 throughout, the check would say nothing", what)
	}
	if e := CheckGradient(loss, value, grad, 0); !(e <= gradientTolerance) {
		t.Errorf("%s: relative error %.1e", what, e)
	}
}

func TestLinearGradient(t *testing.T) {
	rng := stream.New("test/linear", 1)
	var p Params
	l := NewLinear(&p, "l", 7, 5)
	p.Pack()
	Init(p.Tensors, rng)
	// Input and output are columns of wider matrices, as in a concatenation.
	wide, x := random(rng, 6, 12), random(rng, 6, 9).Slice(1, 8)
	y, dy, dx := wide.Slice(3, 8), random(rng, 6, 5), NewMatrix(6, 7)
	loss := func() float64 { l.Forward(y, x); return inner(y, dy) }
	loss()
	l.Backward(dx, dy)
	check(t, "weights", loss, p.Value, p.Grad)
	flat := NewMatrix(6, 7)
	flat.Copy(x)
	x = flat
	check(t, "input", loss, x.Data, dx.Data)
}

func TestLeakyReLUGradient(t *testing.T) {
	rng := stream.New("test/relu", 1)
	for _, slope := range []float64{0, 0.01} {
		x, dy := random(rng, 5, 8), random(rng, 5, 8)
		y := NewMatrix(5, 8)
		loss := func() float64 { y.Copy(x); LeakyReLU(y, slope); return inner(y, dy) }
		loss()
		dx := NewMatrix(5, 8)
		dx.Copy(dy)
		LeakyReLUBackward(dx, y, slope)
		check(t, "input", loss, x.Data, dx.Data)
	}
}

// stack is the curve network up to its fully connected layer.
type stack struct {
	p      Params
	c1, c2 *Conv1d
	pool   MaxPool1d
	drop   Dropout1d
	s      Signals
	ws     Workspace
	a, b   Matrix
}

func newStack(rng *rand.Rand, channels, length int) *stack {
	k := &stack{pool: MaxPool1d{Channels: channels, Length: length}, drop: Dropout1d{Channels: channels, P: 0.25}}
	k.c1, k.c2 = NewConv1d(&k.p, "c1", 1, channels), NewConv1d(&k.p, "c2", channels, channels)
	k.p.Pack()
	Init(k.p.Tensors, rng)
	return k
}

func (k *stack) forward(x Matrix) Matrix {
	k.ws.Reset()
	s := k.s.SetSignals(x, &k.ws)
	k.a, k.b = NewMatrix(k.c1.Out, k.s.Cols()), NewMatrix(k.c1.Out, k.s.Cols())
	k.c1.Forward(k.a, s, &k.s)
	ReLU(k.a)
	k.c2.Forward(k.b, k.a, &k.s)
	y := NewMatrix(x.Rows, k.pool.Width())
	k.pool.Forward(y, k.b, &k.s)
	k.drop.Forward(y, stream.New("test/drop", 1))
	return y
}

// backward returns the gradient of the input, in the batch's layout.
func (k *stack) backward(dy Matrix) Matrix {
	g := NewMatrix(dy.Rows, dy.Cols)
	g.Copy(dy)
	k.drop.Backward(g)
	db, da, ds := NewMatrix(k.c1.Out, k.s.Cols()), NewMatrix(k.c1.Out, k.s.Cols()), NewMatrix(1, k.s.Cols())
	k.pool.Backward(db, g)
	k.c2.Backward(da, db)
	ReLUBackward(da, k.a)
	k.c1.Backward(ds, da)
	return ds
}

func TestConvolutionPoolingAndDropoutGradient(t *testing.T) {
	for _, length := range []int{2, 7, 50} {
		rng := stream.New("test/conv", uint64(length))
		// 23 signals of length 50 need more than two blocks of columns.
		const n = 23
		k := newStack(rng, 4, length)
		x, dy := random(rng, n, length), random(rng, n, k.pool.Width())
		loss := func() float64 { return inner(k.forward(x), dy) }
		loss()
		ds := k.backward(dy)
		check(t, "weights", loss, k.p.Value, k.p.Grad)
		dx := NewMatrix(n, length)
		for i := range n {
			copy(dx.Row(i), ds.Data[k.s.at[i]:])
		}
		check(t, "input", loss, x.Data, dx.Data)
	}
}

// Signals that end in zeros are stored short. Everything must be as if they were
// not: the values, here compared with signals whose last element is too small to
// matter but not zero, and the gradients.
func TestTailsOfZerosChangeNothing(t *testing.T) {
	const ghost = 1e-300
	for _, length := range []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 50, 51} {
		rng := stream.New("test/tails", uint64(length))
		k, whole := newStack(rng, 3, length), newStack(stream.New("test/tails", uint64(length)), 3, length)
		n := length + 1
		x, w := random(rng, n, length), NewMatrix(n, length)
		for i := range n {
			clear(x.Row(i)[i:])
			copy(w.Row(i), x.Row(i))
			w.Row(i)[length-1] += ghost
		}
		y, want := k.forward(x), whole.forward(w)
		if k.s.Cols() >= whole.s.Cols() && length > tail {
			t.Fatalf("length %d: %d columns instead of less than %d", length, k.s.Cols(), whole.s.Cols())
		}
		for i, v := range y.Data {
			if v != want.Data[i] {
				t.Fatalf("length %d: element %d is %v instead of %v", length, i, v, want.Data[i])
			}
		}
		dy := random(rng, n, k.pool.Width())
		k.backward(dy)
		whole.backward(dy)
		for i, g := range k.p.Grad {
			if math.Abs(g-whole.p.Grad[i]) > 1e-12 {
				t.Fatalf("length %d: gradient %d is %v instead of %v", length, i, g, whole.p.Grad[i])
			}
		}
	}
}

// The convolution is compared with its definition.
func TestConv1dIsAConvolution(t *testing.T) {
	rng := stream.New("test/definition", 1)
	const n, in, out, length = 3, 2, 5, 6
	var p Params
	c := NewConv1d(&p, "c", in, out)
	p.Pack()
	Init(p.Tensors, rng)
	var s Signals
	s.SetSignals(random(rng, n, length), &Workspace{})
	x, y := random(rng, in, s.Cols()), NewMatrix(out, s.Cols())
	s.clearBorders(x)
	c.Forward(y, x, &s)
	for o := range out {
		for i := range n {
			for q := -1; q <= length; q++ {
				want := 0.0
				if q >= 0 && q < length {
					want = c.B.Value[o]
					for ch := range in {
						for k := range 3 {
							want += c.W.Value[(o*in+ch)*3+k] * x.Row(ch)[s.at[i]+q+k-1]
						}
					}
				}
				if got := y.Row(o)[s.at[i]+q]; math.Abs(got-want) > 1e-14 {
					t.Fatalf("channel %d, signal %d, position %d: %v instead of %v", o, i, q, got, want)
				}
			}
		}
	}
}

func TestDropoutKeepsTheMeanAndDropsWholeChannels(t *testing.T) {
	const n, ch, w = 4000, 3, 5
	d := Dropout1d{Channels: ch, P: 0.25}
	x := NewMatrix(n, ch*w)
	for i := range x.Data {
		x.Data[i] = 1
	}
	d.Forward(x, stream.New("test/dropout", 1))
	dropped := 0
	for i := 0; i < len(x.Data); i += w {
		for _, v := range x.Data[i : i+w] {
			if v != x.Data[i] || v != 0 && math.Abs(v-4.0/3) > 1e-15 {
				t.Fatalf("channel %v is neither dropped nor scaled by 4/3", x.Data[i:i+w])
			}
		}
		if x.Data[i] == 0 {
			dropped++
		}
	}
	// Five standard deviations of a binomial proportion of 12,000.
	if f := float64(dropped) / (n * ch); math.Abs(f-0.25) > 0.02 {
		t.Errorf("%.3f of the channels were dropped", f)
	}
}

// The published update rule, written out: torch adds epsilon after the bias
// correction, and AdamW shrinks the weights before the step.
func TestAdamFollowsTheRule(t *testing.T) {
	for _, decay := range []float64{0, 0.5} {
		a := Adam{Decay: decay}
		x := []float64{0.3}
		m, v, want := 0.0, 0.0, 0.3
		for i, g := range []float64{1, -2, 0.5} {
			a.Step(x, []float64{g}, 0.1)
			want -= 0.1 * decay * want
			m, v = 0.9*m+0.1*g, 0.999*v+0.001*g*g
			mh, vh := m/(1-math.Pow(0.9, float64(i+1))), v/(1-math.Pow(0.999, float64(i+1)))
			want -= 0.1 * mh / (math.Sqrt(vh) + 1e-8)
			if math.Abs(x[0]-want) > 1e-12 {
				t.Errorf("decay %v, step %d: %v instead of %v", decay, i, x[0], want)
			}
		}
	}
}

func TestCosineFallsFromTheFirstRateToTheLast(t *testing.T) {
	for _, c := range []struct {
		t    int
		want float64
	}{{0, 1}, {50, 0.505}, {100, 0.01}} {
		if got := Cosine(c.t, 100, 1, 0.01); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("step %d: %v instead of %v", c.t, got, c.want)
		}
	}
}

// Rosenbrock's function is the classic on which plain descent fails.
func TestLBFGSFindsTheMinimumOfRosenbrock(t *testing.T) {
	x, g := []float64{-1.2, 1}, make([]float64, 2)
	evaluations := 0
	f := func() (float64, error) {
		evaluations++
		a, b := 1-x[0], x[1]-x[0]*x[0]
		g[0], g[1] = -2*a-400*x[0]*b, 200*b
		return a*a + 100*b*b, nil
	}
	var l LBFGS
	loss, err := l.Minimize(x, g, 0.1, 200, f)
	if err != nil || !(loss < 1e-10) || evaluations > 200 {
		t.Errorf("loss %v after %d evaluations at %v (%v)", loss, evaluations, x, err)
	}
}

func TestInitIsTorchs(t *testing.T) {
	var p Params
	l := NewLinear(&p, "l", 100, 50)
	p.Pack()
	Init(p.Tensors, stream.New("test/init", 1))
	sum := 0.0
	for _, v := range l.W.Value {
		sum += v * v
	}
	// A uniform variable in ±0.1 has the variance 0.01/3.
	if v := sum / 5000; math.Abs(v-0.01/3) > 2e-4 || largest(p.Value) > 0.1 || largest(l.B.Value) < 0.08 {
		t.Errorf("variance %v, largest %v, bias %v", v, largest(p.Value), largest(l.B.Value))
	}
}

func TestSoftplusDoesNotOverflow(t *testing.T) {
	for _, x := range []float64{-800, -1, 0, 1, 800} {
		s, d := Softplus(x), Sigmoid(x)
		if !Finite([]float64{s, d}) || s < math.Max(x, 0) || d < 0 || d > 1 {
			t.Errorf("at %v: %v, derivative %v", x, s, d)
		}
	}
}

func TestFiniteSeesEveryElement(t *testing.T) {
	for n := range 10 {
		x := make([]float64, n)
		if !Finite(x) {
			t.Errorf("%d zeros are not finite", n)
		}
		for i := range x {
			for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				x[i] = v
				if Finite(x) {
					t.Errorf("%v at %d of %d was overlooked", v, i, n)
				}
				x[i] = math.MaxFloat64
			}
		}
	}
}

func TestWorkspaceAllocatesNothingOnceWarm(t *testing.T) {
	var w Workspace
	pass := func() {
		w.Reset()
		for range 5 {
			w.Get(10, 20)
			w.Vec(30)
		}
	}
	pass()
	pass()
	if n := testing.AllocsPerRun(10, pass); n > 0 {
		t.Errorf("%v allocations a pass", n)
	}
}
