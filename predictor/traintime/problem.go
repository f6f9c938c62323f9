package traintime

import (
	"errors"
	"fmt"
	"math"
)

// Loss is what training minimises.
type Loss int

const (
	// MSE is half the squared distance of outputs and targets, summed over the
	// outputs and averaged over the samples.
	MSE Loss = iota
	// CrossEntropy is the cross-entropy of the targets with the softmax of the
	// outputs, averaged over the samples.
	CrossEntropy
)

// String returns "MSE" or "cross-entropy".
func (l Loss) String() string {
	switch l {
	case MSE:
		return "MSE"
	case CrossEntropy:
		return "cross-entropy"
	}
	return fmt.Sprintf("loss %d", int(l))
}

// A Problem is one network on one data set, at the initial weights.
type Problem struct {
	// Kernel is the tangent kernel on N samples with C outputs.
	Kernel *Kernel
	// Outputs are those of the network, N x C.
	Outputs []float64
	// Targets are N x C; for the cross-entropy each row is a distribution.
	Targets []float64
	// Initial is J w0, the Jacobian times the initial weights, N x C. Weight
	// decay needs it; without weight decay it may be nil.
	Initial []float64
	// Loss is what training minimises.
	Loss Loss
	// Size is the number of training samples that the N stand for; 0 means N.
	// With more than N, mini-batches are drawn with replacement.
	Size int

	// diagonal stands in for kernel, outputs and targets in a problem made
	// from a spectrum.
	diagonal *modal
}

// OneHot returns targets that are 1 at the label of each sample and 0
// elsewhere.
func OneHot(labels []int, outputs int) ([]float64, error) {
	targets := make([]float64, len(labels)*outputs)
	for i, label := range labels {
		if label < 0 || label >= outputs {
			return nil, fmt.Errorf("traintime: sample %d has the label %d, want 0 to %d", i, label, outputs-1)
		}
		targets[i*outputs+label] = 1
	}
	return targets, nil
}

func (p *Problem) size() int {
	if p.Size == 0 {
		return p.Kernel.samples
	}
	return p.Size
}

// Validate reports what makes a problem unusable.
func (p *Problem) Validate() error {
	if p.Kernel == nil {
		return errors.New("traintime: a problem without a kernel")
	}
	n, c := p.Kernel.samples, p.Kernel.outputs
	for _, part := range []struct {
		name     string
		x        []float64
		optional bool
	}{{"outputs", p.Outputs, false}, {"targets", p.Targets, false}, {"initial outputs J w0", p.Initial, true}} {
		if part.x == nil && part.optional {
			continue
		}
		if len(part.x) != n*c {
			return fmt.Errorf("traintime: %d %s, want %d for %d samples of %d", len(part.x), part.name, n*c, n, c)
		}
		for i, v := range part.x {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("traintime: %s: sample %d, output %d is %v", part.name, i/c, i%c, v)
			}
		}
	}
	if p.Size != 0 && p.Size < n {
		return fmt.Errorf("traintime: %d samples cannot stand for a data set of %d", n, p.Size)
	}
	switch p.Loss {
	case MSE:
	case CrossEntropy:
		if c < 2 {
			return errors.New("traintime: the cross-entropy of a single output is always 0: use two outputs or MSE")
		}
		for i := range n {
			sum := 0.0
			for _, y := range p.Targets[i*c : (i+1)*c] {
				if y < 0 {
					return fmt.Errorf("traintime: sample %d has the negative target %v, which no distribution has", i, y)
				}
				sum += y
			}
			if math.Abs(sum-1) > 1e-6 {
				return fmt.Errorf("traintime: the targets of sample %d sum to %v, want 1 for the cross-entropy", i, sum)
			}
		}
	default:
		return fmt.Errorf("traintime: unknown %v", p.Loss)
	}
	return nil
}

// Subset returns the problem of some of the samples, numbers in [0, N), which
// stand for the same data set as before.
func (p *Problem) Subset(samples []int) (*Problem, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	kernel, err := p.Kernel.Subset(samples)
	if err != nil {
		return nil, err
	}
	c := p.Kernel.outputs
	take := func(x []float64) []float64 {
		if x == nil {
			return nil
		}
		y := make([]float64, 0, len(samples)*c)
		for _, i := range samples {
			y = append(y, x[i*c:(i+1)*c]...)
		}
		return y
	}
	return &Problem{
		Kernel: kernel, Outputs: take(p.Outputs), Targets: take(p.Targets), Initial: take(p.Initial),
		Loss: p.Loss, Size: max(p.size(), len(samples)),
	}, nil
}

// A Schedule gives the factor on the learning rate at a step, from 0.
type Schedule func(step int) float64

// Cosine anneals the factor from 1 to 0 along half a cosine over the given
// number of steps and keeps it there: Loshchilov and Hutter, "SGDR", ICLR 2017,
// without restarts.
func Cosine(steps int) Schedule {
	return func(step int) float64 {
		if step >= steps {
			return 0
		}
		return (1 + math.Cos(math.Pi*float64(step)/float64(steps))) / 2
	}
}

// Staircase multiplies the factor by decay at each of the given steps.
func Staircase(decay float64, at ...int) Schedule {
	return func(step int) float64 {
		factor := 1.0
		for _, a := range at {
			if step >= a {
				factor *= decay
			}
		}
		return factor
	}
}

// A Setting is how a network would be trained.
type Setting struct {
	// LearningRate is positive; Schedule, if any, multiplies it.
	LearningRate float64
	Schedule     Schedule
	// Momentum is in [0, 1). Nesterov needs one above 0.
	Momentum float64
	Nesterov bool
	// WeightDecay, not negative, is that of every weight the kernel counts.
	WeightDecay float64
	// Batch is the number of samples a step; 0 or the size of the data set
	// means all.
	Batch int

	// Optimizer names the update rule for [Problem.Trust] and calibration;
	// empty means "sgd". The simulation is always that of SGD.
	Optimizer string
	// BatchNorm says that batch normalisation uses batch statistics in
	// training.
	BatchNorm bool
	// Augmentation names the augmentations that change samples beyond
	// flips and crops.
	Augmentation []string
}

// EffectiveRate is the learning rate over 1 - momentum, by which the published
// algorithm replaces the two.
func (s Setting) EffectiveRate() float64 { return s.LearningRate / (1 - s.Momentum) }

func (s Setting) optimizer() string {
	if s.Optimizer == "" {
		return "sgd"
	}
	return s.Optimizer
}

func (p *Problem) validate(s Setting) error {
	switch {
	case !(s.LearningRate > 0) || math.IsInf(s.LearningRate, 0):
		return fmt.Errorf("learning rate %v, want a positive number", s.LearningRate)
	case !(s.Momentum >= 0 && s.Momentum < 1):
		return fmt.Errorf("momentum %v, want one in [0, 1)", s.Momentum)
	case s.Nesterov && s.Momentum == 0:
		return errors.New("momentum 0, want one above 0 for the Nesterov rule")
	case !(s.WeightDecay >= 0) || math.IsInf(s.WeightDecay, 0):
		return fmt.Errorf("weight decay %v, want 0 or a positive number", s.WeightDecay)
	case s.WeightDecay > 0 && p.Initial == nil:
		return fmt.Errorf("weight decay %v needs the problem's initial outputs J w0", s.WeightDecay)
	case s.Batch < 0:
		return fmt.Errorf("batch of %d samples", s.Batch)
	}
	return nil
}

// batch returns the samples a step, 0 if all.
func (p *Problem) batch(s Setting) int {
	if s.Batch >= p.size() {
		return 0
	}
	return s.Batch
}

// rates returns the learning rate of each step.
func rates(s Setting, steps int) ([]float64, error) {
	rates := make([]float64, steps)
	for t := range rates {
		rates[t] = s.LearningRate
		if s.Schedule == nil {
			continue
		}
		factor := s.Schedule(t)
		if !(factor >= 0) || math.IsInf(factor, 0) {
			return nil, fmt.Errorf("the schedule's factor at step %d is %v, want 0 or a positive number", t, factor)
		}
		rates[t] *= factor
	}
	return rates, nil
}

// A layout places the outputs of several lanes, simulations side by side, in
// one matrix that has the rows of the kernel: with a full kernel each lane is a
// column, with a shared one each output of each lane.
type layout struct {
	outputs, lanes int
	shared         bool
}

func (p *Problem) layout(lanes int) layout {
	return layout{p.Kernel.outputs, lanes, p.Kernel.shared}
}

// width is the number of columns of the matrix.
func (l layout) width() int {
	if l.shared {
		return l.lanes * l.outputs
	}
	return l.lanes
}

// per is the number of rows a sample takes.
func (l layout) per() int {
	if l.shared {
		return 1
	}
	return l.outputs
}

// at returns the place of output 0 of a sample and the distance to the next.
func (l layout) at(sample, lane int) (base, stride int) {
	if l.shared {
		return sample*l.lanes*l.outputs + lane*l.outputs, 1
	}
	return sample*l.outputs*l.lanes + lane, l.lanes
}

// spread copies N x C numbers to every lane of a new matrix.
func (l layout) spread(x []float64) []float64 {
	m := make([]float64, len(x)*l.lanes)
	for lane := range l.lanes {
		l.set(m, lane, x)
	}
	return m
}

// set copies N x C numbers to one lane.
func (l layout) set(m []float64, lane int, x []float64) {
	for i := range len(x) / l.outputs {
		base, stride := l.at(i, lane)
		for c := range l.outputs {
			m[base+c*stride] = x[i*l.outputs+c]
		}
	}
}

// clear zeroes one lane of a matrix of n samples.
func (l layout) clear(m []float64, lane, n int) {
	for i := range n {
		base, stride := l.at(i, lane)
		for c := range l.outputs {
			m[base+c*stride] = 0
		}
	}
}

// evaluate returns the loss of one lane of f, and writes the derivative of each
// sample's own loss by its outputs to r unless that is nil: row i of the same
// layout belongs to sample i.
func (p *Problem) evaluate(l layout, f []float64, lane int, r []float64) float64 {
	sum := 0.0
	n := p.Kernel.samples
	for i := range n {
		sum += p.sampleLoss(l, f, lane, i, r, i)
	}
	return sum / float64(n)
}

// sampleLoss returns the loss of a sample and writes its derivative as sample
// `to` of r.
func (p *Problem) sampleLoss(l layout, f []float64, lane, sample int, r []float64, to int) float64 {
	base, stride := l.at(sample, lane)
	target := p.Targets[sample*l.outputs : (sample+1)*l.outputs]
	out, _ := l.at(to, lane)
	loss := 0.0
	if p.Loss == MSE {
		for c, y := range target {
			d := f[base+c*stride] - y
			loss += d * d
			if r != nil {
				r[out+c*stride] = d
			}
		}
		return loss / 2
	}
	top := math.Inf(-1)
	for c := range target {
		top = max(top, f[base+c*stride])
	}
	sum := 0.0
	for c, y := range target {
		x := f[base+c*stride] - top
		e := math.Exp(x)
		sum += e
		loss -= y * x
		if r != nil {
			r[out+c*stride] = e
		}
	}
	if r != nil {
		for c, y := range target {
			r[out+c*stride] = r[out+c*stride]/sum - y
		}
	}
	return loss + math.Log(sum)
}

// accuracy returns the fraction of samples whose largest output is at the
// largest target, the first of several.
func (p *Problem) accuracy(l layout, f []float64, lane int) float64 {
	right := 0
	for i := range p.Kernel.samples {
		base, stride := l.at(i, lane)
		best, want := 0, 0
		target := p.Targets[i*l.outputs : (i+1)*l.outputs]
		for c, y := range target {
			if f[base+c*stride] > f[base+best*stride] {
				best = c
			}
			if y > target[want] {
				want = c
			}
		}
		if best == want {
			right++
		}
	}
	return float64(right) / float64(p.Kernel.samples)
}
