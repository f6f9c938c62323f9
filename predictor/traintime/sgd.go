package traintime

import (
	"context"
	"slices"

	"quicktune/internal/blas"
	"quicktune/internal/stream"
)

// SGD on the linearised network needs no weights. With r the derivatives of the
// samples' losses by their outputs, the update of the weights w by torch's rule
//
//	d = Jᵀ r / B + wd w,   u = m u + d,   w -= eta u   (Nesterov: eta (d + m u))
//
// becomes, multiplied by J from the left and with f = f0 + J (w - w0),
//
//	d = Theta r / B + wd (J w0 + f - f0),   u = m u + d,   f -= eta u,
//
// where r is zero outside the mini-batch of B samples. This holds for any loss
// and any learning rate at each step.

// exact returns the independent parts of a simulation by discrete steps.
func (r *run) exact() []func(context.Context) error {
	var units []func(context.Context) error
	// Lanes with the same mini-batches go together: one draw of the batches
	// then serves all their settings.
	type batches struct{ size, draw int }
	var lanes lanesBy[batches]
	for i, s := range r.settings {
		b := r.batch(s)
		if b == 0 && r.Loss == MSE && !r.Accuracy {
			units = append(units, func(ctx context.Context) error { return r.modes(ctx, i) })
			continue
		}
		for draw := range r.curves[i].losses {
			lanes.add(batches{b, draw}, lane{i, draw})
		}
	}
	for of, part := range lanes.parts(r) {
		units = append(units, func(ctx context.Context) error { return r.steps(ctx, part, of.size, of.draw) })
	}
	return units
}

// steps simulates lanes that share their mini-batches of size samples, or take
// all samples each step if size is 0.
func (r *run) steps(ctx context.Context, lanes []lane, size, draw int) error {
	k, l := r.Kernel, r.layout(len(lanes))
	n, width, per := k.rows(), l.width(), l.per()
	f := l.spread(r.Outputs)
	u, d := make([]float64, n*width), make([]float64, n*width)
	used := size
	if size == 0 {
		used = k.samples
	}
	residual := make([]float64, used*per*width)
	var sampler *sampler
	var rows []float64 // of the kernel, those of the mini-batch
	if size > 0 {
		sampler = newSampler(k.samples, r.size(), size, r.Seed, draw)
		rows = make([]float64, size*per*n)
	}
	decays := false
	for _, a := range lanes {
		decays = decays || r.settings[a.setting].WeightDecay > 0
	}
	var initial, start []float64
	if decays {
		initial, start = r.Initial, r.Outputs
	}
	alive := make([]bool, len(lanes))
	for i := range alive {
		alive[i] = true
	}
	for t := 0; ; t++ {
		recorded := t%r.Every == 0
		if recorded {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		for i, a := range lanes {
			if !alive[i] {
				continue
			}
			if recorded {
				var derivatives []float64
				if size == 0 {
					derivatives = residual
				}
				loss, accuracy := r.evaluate(l, f, i, derivatives), 0.0
				if r.Accuracy {
					accuracy = r.accuracy(l, f, i)
				}
				if !r.record(a, t, loss, accuracy) {
					alive[i] = false
					l.clear(f, i, k.samples)
					l.clear(u, i, k.samples)
					l.clear(residual, i, used)
				}
			} else if size == 0 {
				r.evaluate(l, f, i, residual)
			}
		}
		if t == r.Steps {
			return nil
		}
		if size == 0 {
			blas.Gemm(false, false, n, width, n, 1/float64(used), k.matrix, n, residual, width, 0, d, width)
		} else {
			for b, sample := range sampler.next() {
				copy(rows[b*per*n:(b+1)*per*n], k.matrix[sample*per*n:(sample+1)*per*n])
				for i := range lanes {
					if alive[i] {
						r.sampleLoss(l, f, i, sample, residual, b)
					}
				}
			}
			blas.Gemm(true, false, n, width, size*per, 1/float64(used), rows, n, residual, width, 0, d, width)
		}
		for i, a := range lanes {
			if !alive[i] {
				continue
			}
			s, eta := &r.settings[a.setting], r.rates[a.setting][t]
			wd := s.WeightDecay
			for sample := range k.samples {
				base, stride := l.at(sample, i)
				for c := range l.outputs {
					at := base + c*stride
					step := d[at]
					if wd > 0 {
						x := sample*l.outputs + c
						step += wd * (initial[x] + f[at] - start[x])
					}
					u[at] = s.Momentum*u[at] + step
					if s.Nesterov {
						step += s.Momentum * u[at]
					} else {
						step = u[at]
					}
					f[at] -= eta * step
				}
			}
		}
	}
}

// modes simulates the squared loss on all samples: in the basis of the
// kernel's eigenvectors every coordinate x of the error f - y goes its own way,
// and a step costs no matrix product.
func (r *run) modes(ctx context.Context, setting int) error {
	m, err := r.modal()
	if err != nil {
		return err
	}
	s := r.settings[setting]
	x, u := slices.Clone(m.error), make([]float64, len(m.error))
	for t := 0; ; t++ {
		if t%r.Every == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !r.record(lane{setting, 0}, t, dot(x, x)/float64(2*r.Kernel.samples), 0) {
				return nil
			}
		}
		if t == r.Steps {
			return nil
		}
		eta := r.rates[setting][t]
		for i, rate := range m.rate {
			d := (rate+s.WeightDecay)*x[i] + s.WeightDecay*m.pull[i]
			u[i] = s.Momentum*u[i] + d
			if s.Nesterov {
				d += s.Momentum * u[i]
			} else {
				d = u[i]
			}
			x[i] -= eta * d
		}
	}
}

// A modal problem is one in the eigenbasis: rate is the eigenvalue over N,
// error the coordinate of f0 - y, and pull that of J w0 - (f0 - y), towards
// whose negative weight decay draws the error.
type modal struct{ rate, error, pull []float64 }

func (p *Problem) modal() (*modal, error) {
	if p.diagonal != nil {
		return p.diagonal, nil
	}
	k := p.Kernel
	values, vectors, err := k.Eigen()
	if err != nil {
		return nil, err
	}
	n, columns := k.rows(), k.columns()
	m := &modal{rate: make([]float64, n*columns), error: make([]float64, n*columns), pull: make([]float64, n*columns)}
	for i := range m.rate {
		m.rate[i] = values[i/columns] / float64(k.samples)
	}
	difference := make([]float64, n*columns)
	for i, f := range p.Outputs {
		difference[i] = f - p.Targets[i]
	}
	blas.Gemm(false, false, n, columns, n, 1, vectors, n, difference, columns, 0, m.error, columns)
	if p.Initial != nil {
		for i, f := range p.Initial {
			difference[i] = f - difference[i]
		}
		blas.Gemm(false, false, n, columns, n, 1, vectors, n, difference, columns, 0, m.pull, columns)
	}
	return m, nil
}

// A sampler draws mini-batches. Where the samples are the whole data set they
// are shuffled every epoch and an incomplete last batch is left out; where they
// stand for more, each batch is drawn anew, with replacement.
type sampler struct {
	order []int
	next  func() []int
}

func newSampler(samples, size, batch int, seed uint64, draw int) *sampler {
	rng := stream.New("traintime/batches", seed, uint64(draw), uint64(batch))
	if size > samples {
		indices := make([]int, batch)
		return &sampler{next: func() []int {
			for i := range indices {
				indices[i] = rng.IntN(samples)
			}
			return indices
		}}
	}
	s := &sampler{order: make([]int, samples)}
	for i := range s.order {
		s.order[i] = i
	}
	at := samples
	s.next = func() []int {
		if at+batch > samples {
			rng.Shuffle(samples, func(i, j int) { s.order[i], s.order[j] = s.order[j], s.order[i] })
			at = 0
		}
		at += batch
		return s.order[at-batch : at]
	}
	return s
}
