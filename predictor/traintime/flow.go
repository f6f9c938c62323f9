package traintime

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// Gradient flow is followed in tau, the integral of the learning rate over the
// steps. A path in tau depends on the weight decay only, so one path serves all
// learning rates, momenta and schedules.

// flowModes returns the losses of a gradient flow of the squared loss at
// ascending tau, in closed form: each coordinate x of the error approaches its
// rest exponentially.
func (p *Problem) flowModes(decay float64, taus []float64) ([]float64, error) {
	m, err := p.modal()
	if err != nil {
		return nil, err
	}
	losses := make([]float64, len(taus))
	for i, rate := range m.rate {
		rate += decay
		rest := 0.0
		if decay > 0 {
			rest = -decay * m.pull[i] / rate
		}
		away := m.error[i] - rest
		for t, tau := range taus {
			x := rest + away*math.Exp(-rate*tau)
			losses[t] += x * x / float64(2*p.Kernel.samples)
		}
	}
	return losses, nil
}

// A node is a point of a path with what is needed to interpolate the loss: its
// first and second derivative by tau.
type node struct {
	tau, loss, slope, curvature, accuracy float64
}

// A path is a gradient flow by an adaptive Runge-Kutta method.
type path struct {
	nodes []node
	f     []float64 // outputs at the last node
}

// tolerance is the local error the integrator allows, relative to outputs of
// order 1.
const tolerance = 1e-11

// mostSteps is the number of steps of the integrator at which a path counts as
// too stiff: with thousands of training steps, the learning rate is then far
// beyond what gradient descent survives. leastStep is the part of the path that
// a step may be.
const (
	mostSteps = 50_000
	leastStep = 1e-13
)

// stiff reports whether a flow up to tau = end cannot stay within mostSteps: an
// explicit method of order 5 is stable up to steps of about 3 over the largest
// rate, which under cross-entropy is at most half the kernel's.
func (p *Problem) stiff(largest, decay, end float64) bool {
	curvature := largest / float64(p.Kernel.samples)
	if p.Loss == CrossEntropy {
		curvature /= 2
	}
	return end*(curvature+decay)/3 > mostSteps
}

var errStiff = errors.New("the gradient flow is too stiff to follow; use a lower learning rate, a shorter horizon or exact dynamics")

// follow integrates the gradient flow up to tau = end by the pair of orders 5
// and 4 of Dormand and Prince, "A family of embedded Runge-Kutta formulae", J.
// Comput. Appl. Math. 6, 1980.
func (p *Problem) follow(ctx context.Context, decay, end float64, accuracy bool) (*path, error) {
	l := p.layout(1)
	n := len(p.Outputs)
	f, residual := append([]float64(nil), p.Outputs...), make([]float64, n)
	velocity := func(dst, f []float64) float64 {
		loss := p.evaluate(l, f, 0, residual)
		p.Kernel.Apply(dst, residual)
		for i := range dst {
			dst[i] /= -float64(p.Kernel.samples)
			if decay > 0 {
				dst[i] -= decay * (p.Initial[i] + f[i] - p.Outputs[i])
			}
		}
		return loss
	}
	var k [7][]float64
	for i := range k {
		k[i] = make([]float64, n)
	}
	trial := make([]float64, n)
	loss := velocity(k[0], f)
	path := &path{f: f}
	visit := func(tau, loss float64) {
		slope, curvature := p.derivatives(f, residual, k[0], decay)
		at := node{tau: tau, loss: loss, slope: slope, curvature: curvature}
		if accuracy {
			at.accuracy = p.accuracy(l, f, 0)
		}
		path.nodes = append(path.nodes, at)
	}
	visit(0, loss)
	h := end
	if speed := norm(k[0]) / math.Sqrt(float64(n)); speed > 0 {
		h = min(h, 1e-3/speed)
	}
	for tau, tries := 0.0, 0; tau < end; tries++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if tries == mostSteps || h < leastStep*end {
			return nil, fmt.Errorf("traintime: %w", errStiff)
		}
		h = min(h, end-tau)
		for stage := 1; stage < 7; stage++ {
			for i := range trial {
				sum := 0.0
				for s, a := range pair[stage-1][:stage] {
					sum += a * k[s][i]
				}
				trial[i] = f[i] + h*sum
			}
			loss = velocity(k[stage], trial)
		}
		worst := 0.0
		for i := range trial {
			e := 0.0
			for s, b := range difference {
				e += b * k[s][i]
			}
			worst = max(worst, math.Abs(h*e)/(1+math.Abs(trial[i])))
		}
		if !(worst <= tolerance) {
			shrink := 0.2
			if worst > 0 && !math.IsInf(worst, 0) {
				shrink = max(shrink, 0.9*math.Pow(tolerance/worst, 0.2))
			}
			h *= shrink
			continue
		}
		// The last stage is the first of the next step.
		tau += h
		if end-tau < 1e-12*end {
			tau = end
		}
		copy(f, trial)
		k[0], k[6] = k[6], k[0]
		visit(tau, loss)
		h *= min(5, 0.9*math.Pow(tolerance/max(worst, 1e-3*tolerance), 0.2))
	}
	return path, nil
}

// pair holds the coefficients of the stages, the last of which is the solution
// of order 5; difference are its weights less those of order 4.
var (
	pair = [6][6]float64{
		{1.0 / 5},
		{3.0 / 40, 9.0 / 40},
		{44.0 / 45, -56.0 / 15, 32.0 / 9},
		{19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
		{9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
		{35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84},
	}
	difference = [7]float64{71.0 / 57600, 0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40}
)

// derivatives returns the first and second derivative of the loss by tau where
// the outputs f move with the given velocity. With g the gradient of the loss
// by the outputs, H its Hessian and v the velocity -Theta g - decay (...), the
// first is g·v and the second v·Hv + g·v', where g·v' = -g·Theta H v - decay g·v
// and -Theta g = v + decay (...).
func (p *Problem) derivatives(f, residual, velocity []float64, decay float64) (slope, curvature float64) {
	n, c := p.Kernel.samples, p.Kernel.outputs
	hv := make([]float64, c)
	for i := range n {
		g, v := residual[i*c:(i+1)*c], velocity[i*c:(i+1)*c]
		if p.Loss == MSE {
			copy(hv, v)
		} else {
			mean := 0.0
			for o := range c {
				mean += (g[o] + p.Targets[i*c+o]) * v[o]
			}
			for o := range c {
				hv[o] = (g[o] + p.Targets[i*c+o]) * (v[o] - mean)
			}
		}
		for o := range c {
			slope += g[o] * v[o]
			drift := v[o] // -Theta g
			if decay > 0 {
				drift += decay * (p.Initial[i*c+o] + f[i*c+o] - p.Outputs[i*c+o])
			}
			curvature += (v[o] + drift) * hv[o]
			curvature -= decay * g[o] * v[o]
		}
	}
	return slope / float64(n), curvature / float64(n)
}

// at returns the loss at ascending tau by Hermite interpolation of order 5, and
// the accuracy of the last node before.
func (p *path) at(taus []float64) (losses, accuracies []float64) {
	losses, accuracies = make([]float64, len(taus)), make([]float64, len(taus))
	i := 0
	for t, tau := range taus {
		for i+1 < len(p.nodes) && p.nodes[i+1].tau <= tau {
			i++
		}
		a := p.nodes[i]
		accuracies[t] = a.accuracy
		if i+1 == len(p.nodes) {
			losses[t] = a.loss
			continue
		}
		b := p.nodes[i+1]
		h := b.tau - a.tau
		x := (tau - a.tau) / h
		// In powers of x from a, corrected by what is missing at b.
		v, s, c := a.loss, a.slope*h, a.curvature*h*h/2
		dv, ds, dc := b.loss-v-s-c, b.slope*h-s-2*c, b.curvature*h*h/2-c
		p3 := 10*dv - 4*ds + dc
		p4 := -15*dv + 7*ds - 2*dc
		p5 := 6*dv - 3*ds + dc
		losses[t] = v + x*(s+x*(c+x*(p3+x*(p4+x*p5))))
	}
	return losses, accuracies
}
