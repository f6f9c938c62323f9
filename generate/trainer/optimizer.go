package trainer

import (
	"math"

	"quicktune/internal/nn/layers"
	"quicktune/internal/nn/vec"
)

type param = layers.Param[float32]

// slot is one trained parameter with what the optimiser remembers of it.
type slot struct {
	*param
	scale float64 // of the learning rate: layer decay
	decay bool    // whether weight decay applies: matrices only
	m, v  []float32
}

// optimizer moves the parameters of its slots.
type optimizer struct {
	name         string // sgd, momentum, adam, adamw or adamp
	momentum     float64
	beta1, beta2 float64
	weightDecay  float64
	steps        int
	slots        []*slot
	buffer       []float32
	sums         [3]sums
}

const adamEpsilon = 1e-8

// add makes the optimiser train p.
func (o *optimizer) add(p *param, scale float64) {
	s := &slot{param: p, scale: scale, decay: len(p.Shape) > 1, m: make([]float32, len(p.Value))}
	if o.adaptive() {
		s.v = make([]float32, len(p.Value))
	}
	o.slots = append(o.slots, s)
}

func (o *optimizer) adaptive() bool { return o.name != "sgd" && o.name != "momentum" }

// clip scales all gradients so that their joint norm is at most limit.
func (o *optimizer) clip(limit float64) {
	sum := 0.0
	for _, s := range o.slots {
		sum += squares(s.Grad)
	}
	// The small number is torch's.
	if f := limit / (math.Sqrt(sum) + 1e-6); f < 1 {
		for _, s := range o.slots {
			vec.Scale(s.Grad, float32(f))
		}
	}
}

// squares is the sum of squares.
func squares(x []float32) float64 {
	var s [4]float64
	for ; len(x) >= 4; x = x[4:] {
		s[0] += float64(x[0]) * float64(x[0])
		s[1] += float64(x[1]) * float64(x[1])
		s[2] += float64(x[2]) * float64(x[2])
		s[3] += float64(x[3]) * float64(x[3])
	}
	for _, v := range x {
		s[0] += float64(v) * float64(v)
	}
	return s[0] + s[1] + s[2] + s[3]
}

// step moves every parameter against its gradient, which may be overwritten.
func (o *optimizer) step(rate float64) {
	o.steps++
	for _, s := range o.slots {
		lr := rate * s.scale
		wd := 0.0
		if s.decay {
			wd = o.weightDecay
		}
		switch o.name {
		case "sgd", "momentum":
			o.descend(s, lr, wd)
		case "adam", "adamw":
			if o.name == "adam" {
				if wd != 0 {
					vec.Axpy(float32(wd), s.Value, s.Grad)
				}
			} else if wd != 0 {
				vec.Scale(s.Value, float32(1-lr*wd))
			}
			vec.Adam(o.adamStep(lr), s.Value, s.m, s.v, s.Grad)
		case "adamp":
			o.project(s, lr, wd)
		}
	}
}

// descend is stochastic gradient descent with a momentum, "sgd" in Nesterov's
// form, both as in torch.optim: the decay is part of the gradient.
func (o *optimizer) descend(s *slot, lr, wd float64) {
	if wd != 0 {
		vec.Axpy(float32(wd), s.Value, s.Grad)
	}
	mu := float32(o.momentum)
	if o.steps == 1 {
		copy(s.m, s.Grad)
	} else {
		vec.Scale(s.m, mu)
		vec.Add(s.m, s.Grad)
	}
	if o.name == "momentum" {
		vec.Axpy(float32(-lr), s.m, s.Value)
		return
	}
	vec.Axpy(mu, s.m, s.Grad)
	vec.Axpy(float32(-lr), s.Grad, s.Value)
}

// adamStep is the step of Kingma and Ba, "Adam", ICLR 2015, with decoupled decay
// that of Loshchilov and Hutter, ICLR 2019, both sides of the fraction times the
// root of the second bias correction.
func (o *optimizer) adamStep(lr float64) vec.AdamStep {
	c1 := 1 - math.Pow(o.beta1, float64(o.steps))
	c2 := math.Sqrt(1 - math.Pow(o.beta2, float64(o.steps)))
	return vec.AdamStep{Beta1: o.beta1, Beta2: o.beta2, Step: lr / c1 * c2, Eps: adamEpsilon * c2}
}

// The constants of AdamP.
const (
	adampDelta = 0.1
	adampRatio = 0.1
)

// project is the step of Heo et al., "AdamP", ICLR 2021: where a gradient is
// nearly at right angles to the weights, as it is before a norm, the part of the
// step along the weights is left out and the decay a tenth.
func (o *optimizer) project(s *slot, lr, wd float64) {
	if cap(o.buffer) < len(s.Value) {
		o.buffer = make([]float32, len(s.Value))
	}
	old := o.buffer[:len(s.Value)]
	copy(old, s.Value)
	vec.Adam(o.adamStep(lr), s.Value, s.m, s.v, s.Grad)
	if len(s.Shape) > 1 {
		// What Adam did to the weights is -step; take back its part along them.
		step := s.Value
		vec.Axpy(-1, old, step)
		if o.projected(s.param, old, step) {
			wd *= adampRatio
		}
		vec.Add(step, old)
	}
	if wd != 0 {
		vec.Axpy(float32(-lr*wd), old, s.Value)
	}
}

// view is a way to see a matrix as vectors: element i belongs to vector
// i/run%count.
type view struct{ run, count int }

// projected removes from step the part along the weights, output by output or
// for the whole matrix, if the cosines of gradient and weights are small enough,
// and tells whether it did.
func (o *optimizer) projected(p *param, weights, step []float32) bool {
	n := len(weights)
	outputs := view{1, p.Shape[len(p.Shape)-1]}
	if p.OutputFirst {
		outputs = view{n / p.Shape[0], p.Shape[0]}
	}
	for _, by := range [2]view{outputs, {n, 1}} {
		wg, ww, gg := o.sums[0].zeros(by.count), o.sums[1].zeros(by.count), o.sums[2].zeros(by.count)
		by.each(n, func(lo, hi, q int) {
			w, g := weights[lo:hi], p.Grad[lo:hi]
			if by.run == 1 {
				for i := range w {
					x, y := float64(w[i]), float64(g[i])
					wg[i], ww[i], gg[i] = wg[i]+x*y, ww[i]+x*x, gg[i]+y*y
				}
				return
			}
			for i := range w {
				x, y := float64(w[i]), float64(g[i])
				wg[q], ww[q], gg[q] = wg[q]+x*y, ww[q]+x*x, gg[q]+y*y
			}
		})
		largest := 0.0
		for q := range wg {
			largest = max(largest, math.Abs(wg[q])/(math.Sqrt(ww[q])+adamEpsilon)/(math.Sqrt(gg[q])+adamEpsilon))
		}
		if largest >= adampDelta/math.Sqrt(float64(n/by.count)) {
			continue
		}
		along := o.sums[0].zeros(by.count)
		by.each(n, func(lo, hi, q int) {
			w, s := weights[lo:hi], step[lo:hi]
			if by.run == 1 {
				for i := range w {
					along[i] += float64(w[i]) * float64(s[i])
				}
				return
			}
			for i := range w {
				along[q] += float64(w[i]) * float64(s[i])
			}
		})
		for q := range along {
			norm := math.Sqrt(ww[q]) + adamEpsilon
			along[q] /= norm * norm
		}
		by.each(n, func(lo, hi, q int) {
			w, s := weights[lo:hi], step[lo:hi]
			if by.run == 1 {
				for i := range w {
					s[i] -= float32(along[i] * float64(w[i]))
				}
				return
			}
			for i := range w {
				s[i] -= float32(along[q] * float64(w[i]))
			}
		})
		return true
	}
	return false
}

// each calls f for every run of elements of one vector q or, where runs are
// single elements, for every run of all vectors in turn.
func (v view) each(n int, f func(lo, hi, q int)) {
	if v.run == 1 {
		for lo := 0; lo < n; lo += v.count {
			f(lo, lo+v.count, 0)
		}
		return
	}
	for q := range v.count {
		f(q*v.run, (q+1)*v.run, q)
	}
}

// sums is scratch for one number a vector.
type sums []float64

// zeros returns n zeros.
func (s *sums) zeros(n int) []float64 {
	if cap(*s) < n {
		*s = make([]float64, n)
	}
	z := (*s)[:n]
	clear(z)
	return z
}

// schedule gives the learning rate of each epoch, in the way of timm: it changes
// between epochs only.
type schedule struct {
	name         string // cosine, step, multistep, plateau or none
	rate         float64
	epochs       int
	warmupEpochs int
	warmupRate   float64
	decayRate    float64
	decayEpochs  int
	patience     int

	// The state of plateau.
	best float64 // the best validation accuracy
	bad  int     // epochs since
	cuts int
}

// milestones of multistep, as parts of the planned epochs: 90, 180 and 270 of
// 300.
var milestones = [...]float64{0.3, 0.6, 0.9}

// plateauThreshold is the relative gain that counts as one.
const plateauThreshold = 1e-4

// at is the learning rate of an epoch, from 1.
func (s *schedule) at(epoch int) float64 {
	t := float64(epoch - 1)
	if epoch <= s.warmupEpochs {
		return s.warmupRate + t*(s.rate-s.warmupRate)/float64(s.warmupEpochs)
	}
	switch s.name {
	case "cosine":
		return s.rate * (1 + math.Cos(math.Pi*t/float64(s.epochs))) / 2
	case "step":
		return s.rate * math.Pow(s.decayRate, math.Floor(t/float64(s.decayEpochs)))
	case "multistep":
		reached := 0
		for _, m := range milestones {
			if t >= math.Round(m*float64(s.epochs)) {
				reached++
			}
		}
		return s.rate * math.Pow(s.decayRate, float64(reached))
	case "plateau":
		return s.rate * math.Pow(s.decayRate, float64(s.cuts))
	}
	return s.rate
}

// tell gives plateau the validation accuracy of an epoch: after more than so
// many epochs without a gain the rate is cut.
func (s *schedule) tell(accuracy float64) {
	if accuracy > s.best*(1+plateauThreshold) {
		s.best, s.bad = accuracy, 0
		return
	}
	s.bad++
	if s.bad > s.patience {
		s.cuts++
		s.bad = 0
	}
}
