package traintime

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"quicktune/internal/blas"
	"quicktune/internal/stream"
)

// oracle is testdata/dynamics.json: a linear model trained in the space of its
// weights by scripts/oracles/traintime.py.
type oracle struct {
	Samples, Outputs, Weights int
	Labels                    []int
	Jacobian, W0, F0          []float64
	Cases                     []struct {
		Name, Loss, Dynamics string
		Rate, Momentum       float64
		Decay                float64
		Nesterov, Cosine     bool
		Losses               []float64
	}
	Noise map[string][]float64
}

var lossNames = map[string]Loss{"mse": MSE, "ce": CrossEntropy}

func readOracle(t *testing.T) (*oracle, *Problem) {
	t.Helper()
	data, err := os.ReadFile("testdata/dynamics.json")
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{}
	if err := json.Unmarshal(data, o); err != nil {
		t.Fatal(err)
	}
	net := &Matrix{N: o.Samples, C: o.Outputs, P: o.Weights, J: o.Jacobian, F0: o.F0}
	kernel, err := FromRows(t.Context(), net, Full, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := OneHot(o.Labels, o.Outputs)
	if err != nil {
		t.Fatal(err)
	}
	initial := make([]float64, len(targets))
	if err := net.Multiply(initial, o.W0); err != nil {
		t.Fatal(err)
	}
	return o, &Problem{Kernel: kernel, Outputs: o.F0, Targets: targets, Initial: initial}
}

func TestTrainingInFunctionSpaceIsTrainingOfTheWeights(t *testing.T) {
	o, p := readOracle(t)
	for _, c := range o.Cases {
		p.Loss = lossNames[c.Loss]
		s := Setting{LearningRate: c.Rate, Momentum: c.Momentum, Nesterov: c.Nesterov, WeightDecay: c.Decay}
		steps := len(c.Losses) - 1
		if c.Cosine {
			s.Schedule = Cosine(steps)
		}
		tolerance, dynamics := 1e-12, Exact
		if c.Dynamics == "flow" {
			tolerance, dynamics = 1e-9, Published
		}
		for _, accuracy := range []bool{false, true} {
			curves, err := p.Simulate(t.Context(), []Setting{s}, Options{Steps: steps, Dynamics: dynamics, Accuracy: accuracy})
			if err != nil {
				t.Fatal(err)
			}
			near(t, fmt.Sprintf("%s %s, decay %v", c.Loss, c.Name, c.Decay), curves[0].Loss, c.Losses, tolerance)
		}
	}
	for name, want := range o.Noise {
		p.Loss = lossNames[name]
		got, err := p.NoiseCovariance(p.Outputs)
		if err != nil {
			t.Fatal(err)
		}
		near(t, name+" noise", got, want, 1e-12)
	}
}

// linear is a random linear model.
type linear struct {
	Matrix
	w0      []float64
	targets []float64
}

func newLinear(n, c, p int, seed uint64) *linear {
	rng := stream.New("traintime test model", seed)
	normals := func(n int, scale float64) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = scale * rng.NormFloat64()
		}
		return x
	}
	m := &linear{Matrix: Matrix{N: n, C: c, P: p, J: normals(n*c*p, 1/math.Sqrt(float64(p))), F0: normals(n*c, 0.5)}, w0: normals(p, 1)}
	labels := make([]int, n)
	for i := range labels {
		labels[i] = rng.IntN(c)
	}
	m.targets, _ = OneHot(labels, c)
	return m
}

type fatal interface {
	Helper()
	Fatal(...any)
}

func (m *linear) problem(t fatal, loss Loss) *Problem {
	t.Helper()
	kernel, err := FromRows(context.Background(), m, Full, 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	initial := make([]float64, m.N*m.C)
	if err := m.Multiply(initial, m.w0); err != nil {
		t.Fatal(err)
	}
	return &Problem{Kernel: kernel, Outputs: m.F0, Targets: m.targets, Initial: initial, Loss: loss}
}

// train runs torch's SGD on the weights with the package's mini-batches.
func (m *linear) train(p *Problem, s Setting, o Options, draw int) []float64 {
	w, u := slices.Clone(m.w0), make([]float64, m.P)
	f, difference := make([]float64, m.N*m.C), make([]float64, m.P)
	residual := make([]float64, m.N*m.C)
	all := make([]int, m.N)
	for i := range all {
		all[i] = i
	}
	next := func() []int { return all }
	if b := p.batch(s); b > 0 {
		next = newSampler(m.N, p.size(), b, o.Seed, draw).next
	}
	var losses []float64
	for t := 0; ; t++ {
		for i := range w {
			difference[i] = w[i] - m.w0[i]
		}
		copy(f, m.F0)
		blas.Gemv(false, m.N*m.C, m.P, 1, m.J, m.P, difference, 1, f)
		losses = append(losses, p.evaluate(p.layout(1), f, 0, residual))
		if t == o.Steps {
			return losses
		}
		batch := next()
		gradient := make([]float64, m.P)
		for _, i := range batch {
			for row := i * m.C; row < (i+1)*m.C; row++ {
				for j := range gradient {
					gradient[j] += m.J[row*m.P+j] * residual[row] / float64(len(batch))
				}
			}
		}
		eta := s.LearningRate
		if s.Schedule != nil {
			eta *= s.Schedule(t)
		}
		for j, d := range gradient {
			d += s.WeightDecay * w[j]
			u[j] = s.Momentum*u[j] + d
			step := u[j]
			if s.Nesterov {
				step = d + s.Momentum*u[j]
			}
			w[j] -= eta * step
		}
	}
}

func TestMiniBatchesInFunctionSpaceAreMiniBatchesOfWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, c := rapid.IntRange(1, 9).Draw(t, "samples"), rapid.IntRange(2, 4).Draw(t, "outputs")
		m := newLinear(n, c, rapid.IntRange(1, 30).Draw(t, "weights"), rapid.Uint64().Draw(t, "model"))
		p := m.problem(t, rapid.SampledFrom([]Loss{MSE, CrossEntropy}).Draw(t, "loss"))
		p.Size = rapid.SampledFrom([]int{0, 50}).Draw(t, "size")
		var settings []Setting
		for range rapid.IntRange(1, 4).Draw(t, "settings") {
			s := Setting{
				LearningRate: rapid.Float64Range(0.01, 0.5).Draw(t, "rate"),
				Momentum:     rapid.SampledFrom([]float64{0, 0.5, 0.9}).Draw(t, "momentum"),
				WeightDecay:  rapid.SampledFrom([]float64{0, 0.1}).Draw(t, "decay"),
				Batch:        rapid.IntRange(0, n+2).Draw(t, "batch"),
			}
			s.Nesterov = s.Momentum > 0 && rapid.Bool().Draw(t, "Nesterov")
			if rapid.Bool().Draw(t, "schedule") {
				s.Schedule = Staircase(0.3, 4, 9)
			}
			settings = append(settings, s)
		}
		o := Options{Steps: 15, Draws: 2, Seed: rapid.Uint64().Draw(t, "seed"), Accuracy: rapid.Bool().Draw(t, "accuracy")}
		curves, err := p.Simulate(context.Background(), settings, o)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range settings {
			for draw, got := range curves[i].losses {
				weights := m.train(p, s, o, draw)
				for step, want := range weights {
					if math.IsInf(got[step], 1) && want > runaway*weights[0] {
						break // diverged in both
					}
					if math.Abs(got[step]-want) > 1e-10*(1+want) {
						t.Fatalf("setting %d, draw %d, step %d: loss %v, weights give %v", i, draw, step, got[step], want)
					}
				}
			}
		}
	})
}

// lastLayer is a problem with a shared kernel, and the same with it written out.
func lastLayer(t *testing.T, loss Loss) (shared, full *Problem) {
	t.Helper()
	const n, d, c = 12, 5, 3
	m := newLinear(n, c, d, 8)
	features := m.J[:n*d]
	kernel, err := LastLayer(features, n, d, c, true)
	if err != nil {
		t.Fatal(err)
	}
	dense, err := NewKernel(kernel.Dense(), n, c)
	if err != nil {
		t.Fatal(err)
	}
	shared = &Problem{Kernel: kernel, Outputs: m.F0, Targets: m.targets, Initial: m.F0, Loss: loss}
	copied := *shared
	copied.Kernel = dense
	return shared, &copied
}

func TestASharedKernelIsItsKroneckerProduct(t *testing.T) {
	settings := []Setting{
		{LearningRate: 0.5},
		{LearningRate: 0.1, Momentum: 0.9, WeightDecay: 0.01},
		{LearningRate: 0.1, Momentum: 0.9, Nesterov: true, Batch: 4},
		{LearningRate: 0.3, Batch: 5, WeightDecay: 0.02},
		{LearningRate: 3, Batch: 5},
	}
	for _, loss := range []Loss{MSE, CrossEntropy} {
		shared, full := lastLayer(t, loss)
		for _, dynamics := range []Dynamics{Exact, Published} {
			o := Options{Steps: 20, Dynamics: dynamics, Draws: 2}
			for range 2 {
				a, err := shared.Simulate(t.Context(), settings, o)
				if err != nil {
					t.Fatal(err)
				}
				b, err := full.Simulate(t.Context(), settings, o)
				if err != nil {
					t.Fatal(err)
				}
				for i := range settings {
					near(t, fmt.Sprintf("%v, dynamics %d, setting %d", loss, dynamics, i), a[i].Loss, b[i].Loss, 1e-9)
					near(t, "accuracy", a[i].Accuracy, b[i].Accuracy, 0)
				}
				o.Accuracy = true
			}
		}
	}
}

func TestCurvesDoNotDependOnCompanyOrThreads(t *testing.T) {
	p := newLinear(10, 3, 40, 3).problem(t, CrossEntropy)
	settings := []Setting{{LearningRate: 0.2}, {LearningRate: 0.1, Batch: 3}, {LearningRate: 0.3, Batch: 3, Momentum: 0.5}, {LearningRate: 0.1, Batch: 7}}
	for _, dynamics := range []Dynamics{Exact, Published} {
		o := Options{Steps: 30, Dynamics: dynamics, Parallel: 1, Seed: 4}
		alone := make([]*Curve, len(settings))
		for i := range settings {
			curves, err := p.Simulate(t.Context(), settings[i:i+1], o)
			if err != nil {
				t.Fatal(err)
			}
			alone[i] = curves[0]
		}
		o.Parallel = 4
		together, err := p.Simulate(t.Context(), settings, o)
		if err != nil {
			t.Fatal(err)
		}
		o.Seed++
		other, err := p.Simulate(t.Context(), settings, o)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range settings {
			near(t, fmt.Sprint("setting ", i), together[i].Loss, alone[i].Loss, 1e-12)
			if same := slices.Equal(together[i].Loss, other[i].Loss); same != (s.Batch == 0) {
				t.Errorf("setting %d: another seed gives the same curve: %t", i, same)
			}
		}
	}
}

func TestSparseRecordsAreRecordsOfAllSteps(t *testing.T) {
	p := newLinear(10, 3, 40, 3).problem(t, CrossEntropy)
	settings := []Setting{{LearningRate: 0.2, Momentum: 0.9}, {LearningRate: 0.1, Batch: 3}}
	all, err := p.Simulate(t.Context(), settings, Options{Steps: 60, Accuracy: true})
	if err != nil {
		t.Fatal(err)
	}
	some, err := p.Simulate(t.Context(), settings, Options{Steps: 60, Every: 12, Accuracy: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range settings {
		if len(some[i].Loss) != 6 || some[i].Horizon() != 60 {
			t.Fatalf("%d records up to %d", len(some[i].Loss), some[i].Horizon())
		}
		for j, loss := range some[i].Loss {
			if loss != all[i].Loss[12*j] || some[i].Accuracy[j] != all[i].Accuracy[12*j] {
				t.Errorf("setting %d: record %d differs", i, j)
			}
		}
	}
}

// The stochastic equation has the mean and the covariance of one step of SGD
// with replacement: under the squared loss the mean loss after it is the loss
// after the mean step plus tr(covariance) eta²/(2NB).
func TestOneStepOfNoiseHasItsCovariance(t *testing.T) {
	p := newLinear(8, 3, 40, 5).problem(t, MSE)
	p.Size = 1000
	const eta, batch, draws = 0.8, 2, 20000
	s := Setting{LearningRate: eta, Batch: batch}
	covariance, err := p.NoiseCovariance(p.Outputs)
	if err != nil {
		t.Fatal(err)
	}
	trace := 0.0
	for i := range 24 {
		trace += covariance[i*24+i]
	}
	mean, err := p.Simulate(t.Context(), []Setting{{LearningRate: eta}}, Options{Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := mean[0].Loss[1] + trace*eta*eta/(2*8*batch)
	for _, dynamics := range []Dynamics{Exact, Published} {
		curves, err := p.Simulate(t.Context(), []Setting{s}, Options{Steps: 1, Draws: draws, Dynamics: dynamics})
		if err != nil {
			t.Fatal(err)
		}
		square := 0.0
		for _, draw := range curves[0].losses {
			square += math.Pow(draw[1]-curves[0].Loss[1], 2)
		}
		deviation := math.Sqrt(square) / draws
		if d := curves[0].Loss[1] - want; math.Abs(d) > 4*deviation || want-mean[0].Loss[1] < 20*deviation {
			t.Errorf("dynamics %d: mean loss %v, want %v: %.1f standard errors", dynamics, curves[0].Loss[1], want, d/deviation)
		}
	}
}

func TestTheMeanOfTheSDETendsToTheODE(t *testing.T) {
	for _, loss := range []Loss{MSE, CrossEntropy} {
		p := newLinear(10, 3, 60, 6).problem(t, loss)
		p.Size = 1_000_000
		far := func(a, b *Curve) float64 {
			d := 0.0
			for j, x := range b.Loss {
				d = max(d, math.Abs(a.Loss[j]/x-1))
			}
			return d
		}
		simulate := func(rate float64, steps, draws int, batches ...int) []*Curve {
			var settings []Setting
			for _, b := range batches {
				settings = append(settings, Setting{LearningRate: rate, Batch: b})
			}
			curves, err := p.Simulate(t.Context(), settings, Options{Steps: steps, Draws: draws, Dynamics: Published})
			if err != nil {
				t.Fatal(err)
			}
			return curves
		}
		// The noise adds to the mean loss in proportion to 1/B ...
		batches := []int{4, 32, 256, 500_000}
		noisy := simulate(1.5, 60, 200, batches...)
		last := math.Inf(1)
		for i, c := range noisy[:3] {
			d := far(c, noisy[3])
			t.Logf("%v: batch %d is up to %.4f from batch %d", loss, batches[i], d, batches[3])
			if d > last/2 {
				t.Errorf("%v: batch %d is %v from no noise, batch %d %v", loss, batches[i], d, batches[i-1], last)
			}
			last = d
		}
		// ... and without it Euler's method is left, which tends to the flow
		// with smaller steps.
		last = math.Inf(1)
		for _, parts := range []int{1, 4, 16} {
			curves := simulate(0.08/float64(parts), 300*parts, 5, 0, 500_000)
			d := far(curves[1], curves[0])
			t.Logf("%v: rate %.3f: the largest batch is up to %.5f from the flow", loss, 0.08/float64(parts), d)
			if d > 0.01 || d > last/2 {
				t.Errorf("%v: rate 0.08/%d is %v from the flow, a quarter of it %v", loss, parts, d, last)
			}
			last = d
		}
	}
}

func TestSmallStepsFollowTheFlow(t *testing.T) {
	for _, loss := range []Loss{MSE, CrossEntropy} {
		p := newLinear(10, 3, 60, 7).problem(t, loss)
		flow, err := p.Simulate(t.Context(), []Setting{{LearningRate: 0.1}}, Options{Steps: 100, Dynamics: Published})
		if err != nil {
			t.Fatal(err)
		}
		last := math.Inf(1)
		for _, parts := range []int{1, 10, 100} {
			steps, err := p.Simulate(t.Context(), []Setting{{LearningRate: 0.1 / float64(parts)}}, Options{Steps: 100 * parts, Every: parts})
			if err != nil {
				t.Fatal(err)
			}
			far := 0.0
			for i, x := range flow[0].Loss {
				far = max(far, math.Abs(steps[0].Loss[i]-x))
			}
			if far > last/8 {
				t.Errorf("%v: %d parts are %v from the flow, a tenth of them %v", loss, parts, far, last)
			}
			last = far
		}
	}
}

func TestMomentumTendsToTheEffectiveRate(t *testing.T) {
	p := newLinear(10, 3, 60, 7).problem(t, MSE)
	s := []Setting{{LearningRate: 0.001, Momentum: 0.9}}
	exact, err := p.Simulate(t.Context(), s, Options{Steps: 2000})
	if err != nil {
		t.Fatal(err)
	}
	published, err := p.Simulate(t.Context(), s, Options{Steps: 2000, Dynamics: Published})
	if err != nil {
		t.Fatal(err)
	}
	// Late, the momentum lags by a constant number of steps; early, it has not
	// built up.
	if a, b := exact[0].Loss[2000], published[0].Loss[2000]; math.Abs(a/b-1) > 0.01 {
		t.Errorf("after 2000 steps: exact %v, effective rate %v", a, b)
	}
	drop := func(c *Curve) float64 { return c.Loss[0] - c.Loss[1] }
	if r := drop(exact[0]) / drop(published[0]); math.Abs(r-0.1) > 0.01 {
		t.Errorf("the first step of momentum 0.9 gains %v of one at the effective rate, want a tenth", r)
	}
}

func TestDivergenceIsReportedNotCutOff(t *testing.T) {
	p := newLinear(10, 3, 60, 7).problem(t, MSE)
	edge := 2 * 10 / p.Kernel.Largest()
	settings := []Setting{
		{LearningRate: 1.1 * edge}, {LearningRate: 0.95 * edge}, {LearningRate: 100 * edge, Batch: 3}, {LearningRate: 1e300},
		{LearningRate: 1.85 * edge, Momentum: 0.9}, {LearningRate: 1.95 * edge, Momentum: 0.9},
	}
	for _, accuracy := range []bool{false, true} {
		curves, err := p.Simulate(t.Context(), settings, Options{Steps: 3000, Accuracy: accuracy})
		if err != nil {
			t.Fatal(err)
		}
		for i, diverges := range []bool{true, false, true, true, false, true} {
			c, last := curves[i], curves[i].Loss[3000]
			if diverges != math.IsInf(last, 1) || diverges != (c.Diverged == 1) {
				t.Errorf("setting %d ends at %v, %v diverged", i, last, c.Diverged)
			}
			for j, x := range c.Loss {
				if math.IsNaN(x) {
					t.Fatalf("setting %d: NaN at record %d", i, j)
				}
			}
			if time := c.TimeTo(Criterion{Kind: WithinFinal, Value: 0.01}); diverges != math.IsInf(time.Steps, 1) {
				t.Errorf("setting %d: %+v", i, time)
			}
		}
	}
	// A diverging neighbour leaves the others alone.
	alone, err := p.Simulate(t.Context(), settings[1:2], Options{Steps: 3000, Accuracy: true})
	if err != nil {
		t.Fatal(err)
	}
	all, err := p.Simulate(t.Context(), settings, Options{Steps: 3000, Accuracy: true})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "neighbour", all[1].Loss, alone[0].Loss, 1e-12)
}

func TestTheRateOfFirstProgressBoundsTheMeanTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newLinear(rapid.IntRange(1, 8).Draw(t, "samples"), 2, 40, rapid.Uint64().Draw(t, "model"))
		s, err := m.problem(t, MSE).Spectrum()
		if err != nil {
			t.Fatal(err)
		}
		// Jensen: 1 / mean rate <= mean of 1 / rate, weighted by energy.
		rate, inverse, total := 0.0, 0.0, 0.0
		for k, e := range s.Energy {
			rate += e * s.Values[k]
			inverse += e / s.Values[k]
			total += e
		}
		if total/rate > inverse/total*(1+1e-9) {
			t.Fatalf("1/mean %v > mean of inverses %v", total/rate, inverse/total)
		}
	})
}
