package traintime

import (
	"math"
	"testing"

	"quicktune/internal/stream"
)

// wide is a network with one hidden layer of tanh units, f = V tanh(U x), with
// its derivatives by hand.
type wide struct {
	n, inputs, hidden, outputs int
	x                          []float64
	u, v                       []float64 // hidden x inputs, outputs x hidden
}

func (w *wide) Shape() (samples, outputs, weights int) {
	return w.n, w.outputs, w.hidden * (w.inputs + w.outputs)
}

// activations returns the hidden units of sample i.
func (w *wide) activations(i int) []float64 {
	a := make([]float64, w.hidden)
	for h := range a {
		a[h] = math.Tanh(dot(w.u[h*w.inputs:(h+1)*w.inputs], w.x[i*w.inputs:(i+1)*w.inputs]))
	}
	return a
}

func (w *wide) Outputs(dst []float64) error {
	for i := range w.n {
		a := w.activations(i)
		for c := range w.outputs {
			dst[i*w.outputs+c] = dot(w.v[c*w.hidden:(c+1)*w.hidden], a)
		}
	}
	return nil
}

func (w *wide) Rows(dst []float64, lo, hi int) error {
	clear(dst)
	p := w.hidden * (w.inputs + w.outputs)
	for i := lo; i < hi; i++ {
		a := w.activations(i)
		for c := range w.outputs {
			row := dst[((i-lo)*w.outputs+c)*p:]
			for h, x := range a {
				for j := range w.inputs {
					row[h*w.inputs+j] = w.v[c*w.hidden+h] * (1 - x*x) * w.x[i*w.inputs+j]
				}
			}
			copy(row[w.hidden*w.inputs+c*w.hidden:], a)
		}
	}
	return nil
}

func (w *wide) Multiply(dst, direction []float64) error {
	p := w.hidden * (w.inputs + w.outputs)
	rows := make([]float64, w.outputs*p)
	for i := range w.n {
		if err := w.Rows(rows, i, i+1); err != nil {
			return err
		}
		for c := range w.outputs {
			dst[i*w.outputs+c] = dot(rows[c*p:(c+1)*p], direction)
		}
	}
	return nil
}

func newWide(n, inputs, hidden, outputs int, seed uint64) (*wide, []float64) {
	rng := stream.New("traintime test network", seed)
	w := &wide{n: n, inputs: inputs, hidden: hidden, outputs: outputs}
	labels := make([]int, n)
	for i := range n {
		labels[i] = i % outputs
		for j := range inputs {
			x := rng.NormFloat64()
			if j == labels[i] {
				x += 1.5
			}
			w.x = append(w.x, x)
		}
	}
	for range hidden * inputs {
		w.u = append(w.u, rng.NormFloat64()/math.Sqrt(float64(inputs)))
	}
	for range hidden * outputs {
		w.v = append(w.v, rng.NormFloat64()/math.Sqrt(float64(hidden)))
	}
	targets, _ := OneHot(labels, outputs)
	return w, targets
}

// train runs SGD with momentum on all samples, for real, and returns the losses.
func (w *wide) train(p *Problem, s Setting, steps int) []float64 {
	net := *w
	net.u, net.v = append([]float64(nil), w.u...), append([]float64(nil), w.v...)
	weights := net.hidden * (net.inputs + net.outputs)
	f, residual := make([]float64, w.n*w.outputs), make([]float64, w.n*w.outputs)
	rows, velocity := make([]float64, w.n*w.outputs*weights), make([]float64, weights)
	var losses []float64
	for t := 0; ; t++ {
		_ = net.Outputs(f)
		losses = append(losses, p.evaluate(p.layout(1), f, 0, residual))
		if t == steps {
			return losses
		}
		_ = net.Rows(rows, 0, w.n)
		for j := range velocity {
			velocity[j] *= s.Momentum
		}
		for i, r := range residual {
			for j, x := range rows[i*weights : (i+1)*weights] {
				velocity[j] += r * x / float64(w.n)
			}
		}
		for j, x := range velocity {
			if j < len(net.u) {
				net.u[j] -= s.LearningRate * x
			} else {
				net.v[j-len(net.u)] -= s.LearningRate * x
			}
		}
	}
}

// A real network, trained for real, takes about the predicted number of steps.
// The paper reports errors within 20 %.
func TestARealNetworkTakesThePredictedSteps(t *testing.T) {
	net, targets := newWide(30, 6, 128, 2, 1)
	const steps = 250
	for _, c := range []struct {
		loss    Loss
		allowed float64
	}{{MSE, 0.1}, {CrossEntropy, 0.2}} {
		exact, err := FromRows(t.Context(), net, Full, 1<<24)
		if err != nil {
			t.Fatal(err)
		}
		p := &Problem{Kernel: exact, Outputs: make([]float64, len(targets)), Targets: targets, Loss: c.loss}
		if err := net.Outputs(p.Outputs); err != nil {
			t.Fatal(err)
		}
		edge := 30 / exact.Largest()
		settings := []Setting{{LearningRate: 0.5 * edge}, {LearningRate: 0.05 * edge, Momentum: 0.9}}
		within := Criterion{Kind: WithinFinal, Value: 0.1, Relative: true}
		predictions, err := p.Predict(t.Context(), settings, within, nil, Options{Steps: steps})
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range settings {
			losses := net.train(p, s, steps)
			at, ok := within.First(losses)
			predicted := predictions[i].Time.Steps
			t.Logf("%v, setting %d: %d steps, predicted %v; final loss %.4f, predicted %.4f", c.loss, i, at, predicted, losses[steps], predictions[i].Curve.Loss[steps])
			if !ok || math.Abs(predicted/float64(at)-1) > c.allowed || len(predictions[i].Warnings) > 0 {
				t.Errorf("%v, setting %d: %d steps, predicted %v, warnings %v", c.loss, i, at, predicted, predictions[i].Warnings)
			}
			drop := losses[0] - losses[steps]
			published, _, err := Algorithm1{Steps: steps, Epsilon: 0.1 * drop, Projections: 500, Seed: 1}.Predict(t.Context(), net, targets, c.loss, s)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v, setting %d: published algorithm %v", c.loss, i, published.Steps)
			if math.Abs(published.Steps/float64(at)-1) > 2*c.allowed {
				t.Errorf("%v, setting %d: %d steps, published algorithm says %v", c.loss, i, at, published.Steps)
			}
		}
	}
}

func TestThePublishedAlgorithmIsThePublishedDynamics(t *testing.T) {
	net, targets := newWide(12, 4, 20, 3, 2)
	a := Algorithm1{Steps: 50, Epsilon: 0.05, Projections: 64, Seed: 9}
	kernel, err := ProjectForward(t.Context(), net, Full, a.Projections, a.Seed)
	if err != nil {
		t.Fatal(err)
	}
	p := &Problem{Kernel: kernel, Outputs: make([]float64, len(targets)), Targets: targets, Loss: CrossEntropy}
	if err := net.Outputs(p.Outputs); err != nil {
		t.Fatal(err)
	}
	for _, batch := range []int{0, 4} {
		s := Setting{LearningRate: 0.02, Momentum: 0.8, Batch: batch}
		time, curve, err := a.Predict(t.Context(), net, targets, CrossEntropy, s)
		if err != nil {
			t.Fatal(err)
		}
		// Momentum acts by the effective rate alone.
		want, err := p.Simulate(t.Context(), []Setting{{LearningRate: s.EffectiveRate(), Batch: batch}}, Options{Steps: 50, Dynamics: Published, Draws: 1, Seed: 9})
		if err != nil {
			t.Fatal(err)
		}
		near(t, "curve", curve.Loss, want[0].Loss, 1e-9)
		first := 0
		for math.Abs(curve.Loss[first]-curve.Loss[50]) >= 0.05 {
			first++
		}
		if time.Steps != float64(first) {
			t.Errorf("%v steps, want %d", time.Steps, first)
		}
	}
	_, _, err = Algorithm1{Projections: 4}.Predict(t.Context(), net, targets, MSE, Setting{LearningRate: 1})
	oneLine(t, "horizon", err, "horizon of 0 steps")
	_, _, err = Algorithm1{Steps: 1, Projections: 1}.Predict(t.Context(), net, targets, MSE, Setting{LearningRate: 1})
	oneLine(t, "projections", err, "1 random directions")
	_, _, err = Algorithm1{Steps: 1, Projections: 4}.Predict(t.Context(), net, targets[1:], MSE, Setting{LearningRate: 1})
	oneLine(t, "targets", err, "35 targets, want 36")
}
