package traintime

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"quicktune/internal/blas"
	"quicktune/internal/stream"
)

// This file is Algorithm 1 of Zancato et al., "Predicting Training Time Without
// Training", NeurIPS 2020, in the order of the paper.

// Algorithm1 predicts the training time of a network as published.
type Algorithm1 struct {
	// Steps is the number T of steps to simulate.
	Steps int
	// Epsilon is the distance from the final loss at which training counts as
	// finished, in units of the loss.
	Epsilon float64
	// Projections is the number of random directions that estimate the kernel.
	Projections int
	// Seed makes the directions and the noise.
	Seed uint64
}

// Predict returns the predicted number of steps with the simulated curve. The
// targets are N x C. One draw of the noise is simulated.
func (a Algorithm1) Predict(ctx context.Context, net Network, targets []float64, loss Loss, s Setting) (Time, *Curve, error) {
	n, c, _, err := shape(net)
	if err != nil {
		return Time{}, nil, err
	}

	// 1. The outputs f0 at the initial weights.
	outputs := make([]float64, n*c)
	if err := net.Outputs(outputs); err != nil {
		return Time{}, nil, fmt.Errorf("traintime: outputs: %w", err)
	}

	// 2. The kernel Theta, by random projections of the gradients.
	kernel, err := ProjectForward(ctx, net, Full, a.Projections, a.Seed)
	if err != nil {
		return Time{}, nil, err
	}

	// 3. to 5. The effective learning rate replaces learning rate and momentum;
	// the ODE is solved if a batch is all samples, else the SDE; the solution
	// gives the loss curve.
	p := &Problem{Kernel: kernel, Outputs: outputs, Targets: targets, Loss: loss}
	curves, err := p.Simulate(ctx, []Setting{s}, Options{Steps: a.Steps, Dynamics: Published, Draws: 1, Seed: a.Seed})
	if err != nil {
		return Time{}, nil, err
	}

	// 6. The predicted time is min{t : |L_t - L_T| < epsilon}.
	return curves[0].TimeTo(Criterion{Kind: WithinFinal, Value: a.Epsilon}), curves[0], nil
}

// published returns the independent parts of a simulation by Algorithm 1.
func (r *run) published() []func(context.Context) error {
	var units []func(context.Context) error

	// Step 3: the effective learning rate at each step.
	effective := make([][]float64, len(r.settings))
	for i, s := range r.settings {
		effective[i] = make([]float64, r.Steps)
		for t, eta := range r.rates[i] {
			effective[i][t] = eta / (1 - s.Momentum)
		}
	}

	// Step 4, a batch of all samples: the ODE
	//
	//	df = -eta' Theta grad_f L dt.
	flows := map[float64][]int{}
	var decays []float64
	for i, s := range r.settings {
		if r.batch(s) > 0 {
			continue
		}
		if flows[s.WeightDecay] == nil {
			decays = append(decays, s.WeightDecay)
		}
		flows[s.WeightDecay] = append(flows[s.WeightDecay], i)
	}
	for _, decay := range decays {
		units = append(units, func(ctx context.Context) error { return r.ode(ctx, flows[decay], decay, effective) })
	}

	// Step 4, mini-batches: the SDE
	//
	//	df = -eta' Theta grad_f L dt + eta'/sqrt(B) J Sigma^(1/2) dn,
	//
	// by the method of Euler and Maruyama with time steps of dt.
	top := 0.0
	if slices.ContainsFunc(r.settings, func(s Setting) bool { return r.batch(s) > 0 }) {
		top = r.Kernel.Largest() / float64(r.Kernel.samples)
	}
	type interval struct {
		dt   float64
		draw int
	}
	var lanes lanesBy[interval]
	for i, s := range r.settings {
		if r.batch(s) == 0 {
			continue
		}
		dt := r.interval(effective[i], top+s.WeightDecay)
		for draw := range r.Draws {
			lanes.add(interval{dt, draw}, lane{i, draw})
		}
	}
	for of, part := range lanes.parts(r) {
		units = append(units, func(ctx context.Context) error { return r.sde(ctx, part, of.dt, effective) })
	}
	return units
}

// ode records gradient flows that differ in their effective learning rates.
func (r *run) ode(ctx context.Context, settings []int, decay float64, effective [][]float64) error {
	taus := make([][]float64, len(settings))
	end := 0.0
	for i, setting := range settings {
		tau := 0.0
		for t := 0; t <= r.Steps; t++ {
			if t%r.Every == 0 {
				taus[i] = append(taus[i], tau)
			}
			if t < r.Steps {
				tau += effective[setting][t]
			}
		}
		end = max(end, tau)
	}
	var path *path
	if r.Loss != MSE || r.Accuracy {
		largest := r.Kernel.Largest()
		for i, setting := range settings {
			if r.stiff(largest, decay, taus[i][len(taus[i])-1]) {
				return fmt.Errorf("traintime: setting %d: %w", setting, errStiff)
			}
		}
		var err error
		if path, err = r.follow(ctx, decay, end, r.Accuracy); err != nil {
			return err
		}
	}
	for i, setting := range settings {
		var losses, accuracies []float64
		if path != nil {
			losses, accuracies = path.at(taus[i])
		}
		if r.Loss == MSE {
			var err error
			if losses, err = r.flowModes(decay, taus[i]); err != nil {
				return err
			}
		}
		for j, loss := range losses {
			accuracy := 0.0
			if accuracies != nil {
				accuracy = accuracies[j]
			}
			if !r.record(lane{setting, 0}, j*r.Every, loss, accuracy) {
				break
			}
		}
	}
	return nil
}

// interval chooses the time step of the SDE, in optimisation steps, for a drift
// whose fastest rate at an effective learning rate of 1 is top: 1/q where the
// explicit method needs smaller steps to be stable, a divisor of the recording
// interval where larger ones change nothing, else 1.
func (r *run) interval(effective []float64, top float64) float64 {
	const unstable, slow, finest = 0.5, 0.05, 1000
	rate := 0.0
	for _, eta := range effective {
		rate = max(rate, eta*top)
	}
	if rate > unstable {
		return 1 / min(finest, math.Ceil(rate/unstable))
	}
	for m := r.Every; m > 1; m-- {
		if r.Every%m == 0 && rate*float64(m) <= slow {
			return float64(m)
		}
	}
	return 1
}

// sde simulates lanes of one draw with a common time step.
//
// The noise needs no weights and no square root of a matrix: with G_i =
// Theta[:,i] r_i, what sample i does to all outputs, J Sigma Jᵀ is the
// covariance of the G_i over the samples, so that
//
//	1/sqrt(N) sum_i z_i (G_i - mean G),   z_i ~ N(0, 1),
//
// is a draw of it. Drift and noise together are one product of Theta with
// weighted derivatives r_i.
func (r *run) sde(ctx context.Context, lanes []lane, dt float64, effective [][]float64) error {
	k, l := r.Kernel, r.layout(len(lanes))
	n, width, samples := k.rows(), l.width(), float64(k.samples)
	f := l.spread(r.Outputs)
	weighted, change := make([]float64, n*width), make([]float64, n*width)
	z := make([]float64, k.samples)
	noise := stream.New("traintime/noise", r.Seed, uint64(lanes[0].draw))
	alive := make([]bool, len(lanes))
	for i := range alive {
		alive[i] = true
	}
	inner, outer := 1, 1 // time steps an optimisation step, or the reverse
	if dt < 1 {
		inner = int(math.Round(1 / dt))
	} else {
		outer = int(dt)
	}
	for t := 0; ; t += outer {
		recorded := t%r.Every == 0
		if recorded {
			if err := ctx.Err(); err != nil {
				return err
			}
			for i, a := range lanes {
				if !alive[i] {
					continue
				}
				accuracy := 0.0
				if r.Accuracy {
					accuracy = r.accuracy(l, f, i)
				}
				if !r.record(a, t, r.evaluate(l, f, i, weighted), accuracy) {
					alive[i] = false
					l.clear(f, i, k.samples)
					l.clear(weighted, i, k.samples)
				}
			}
		}
		if t >= r.Steps {
			return nil
		}
		for sub := range inner {
			mean := standardNormals(noise, z)
			for i, a := range lanes {
				if !alive[i] {
					continue
				}
				s := &r.settings[a.setting]
				if sub > 0 || !recorded {
					r.evaluate(l, f, i, weighted)
				}
				// The mean rate over the steps of a long interval.
				eta := 0.0
				for _, rate := range effective[a.setting][t : t+outer] {
					eta += rate / float64(outer)
				}
				drift := -eta * dt / samples
				diffusion := eta * math.Sqrt(dt/(float64(s.Batch)*samples))
				for sample, zi := range z {
					w := drift + diffusion*(zi-mean)
					base, stride := l.at(sample, i)
					for c := range l.outputs {
						weighted[base+c*stride] *= w
					}
				}
				if s.WeightDecay > 0 {
					r.decay(l, f, i, eta*dt*s.WeightDecay)
				}
			}
			blas.Gemm(false, false, n, width, n, 1, k.matrix, n, weighted, width, 0, change, width)
			for i, x := range change {
				f[i] += x
			}
		}
	}
}

// decay moves the outputs of a lane as shrinking the weights by a factor does.
func (p *Problem) decay(l layout, f []float64, lane int, factor float64) {
	for sample := range p.Kernel.samples {
		base, stride := l.at(sample, lane)
		for c := range l.outputs {
			x := sample*l.outputs + c
			f[base+c*stride] -= factor * (p.Initial[x] + f[base+c*stride] - p.Outputs[x])
		}
	}
}

// standardNormals fills z and returns its mean.
func standardNormals(rng *rand.Rand, z []float64) (mean float64) {
	for i := range z {
		z[i] = rng.NormFloat64()
		mean += z[i] / float64(len(z))
	}
	return mean
}

// NoiseCovariance returns the covariance, over the samples, of what a single
// sample's gradient does to all outputs f (N x C): J Sigma Jᵀ, N*C x N*C, with
// Sigma the covariance of the samples' weight gradients. A mini-batch of B
// samples drawn with replacement has 1/B of it.
func (p *Problem) NoiseCovariance(f []float64) ([]float64, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	n, c := p.Kernel.samples, p.Kernel.outputs
	m := n * c
	if len(f) != m {
		return nil, fmt.Errorf("traintime: %d outputs, want %d", len(f), m)
	}
	residual := make([]float64, m)
	p.evaluate(p.layout(1), f, 0, residual)
	theta := p.Kernel.Dense()
	g := make([]float64, n*m) // row i: G_i
	mean := make([]float64, m)
	for i := range n {
		row := g[i*m : (i+1)*m]
		for o := range c {
			for j, x := range theta[(i*c+o)*m : (i*c+o+1)*m] {
				row[j] += x * residual[i*c+o]
			}
		}
		for j, x := range row {
			mean[j] += x / float64(n)
		}
	}
	for i := range n {
		for j := range m {
			g[i*m+j] -= mean[j]
		}
	}
	covariance := make([]float64, m*m)
	blas.Gemm(true, false, m, m, n, 1/float64(n), g, m, g, m, 0, covariance, m)
	return covariance, nil
}
