package nn

import (
	"math"
	"math/rand/v2"
)

// Adam is the optimiser of Kingma and Ba, "Adam: A Method for Stochastic
// Optimization", ICLR 2015, in the form and with the defaults of torch.optim:
// betas 0.9 and 0.999, epsilon 1e-8 added after the bias correction of the
// second moment. The zero value is ready to use.
type Adam struct {
	// Decay is the decoupled weight decay of Loshchilov and Hutter,
	// "Decoupled Weight Decay Regularization", ICLR 2019 (AdamW); 0 is plain
	// Adam.
	Decay float64
	// Steps counts the steps taken; M and V are the moments. They are public
	// so that training can be stored and continued.
	Steps int
	M, V  []float64
}

const (
	adamBeta1   = 0.9
	adamBeta2   = 0.999
	adamEpsilon = 1e-8
)

// Reset forgets the moments.
func (a *Adam) Reset() {
	a.Steps = 0
	clear(a.M)
	clear(a.V)
}

// Step moves value against grad with the learning rate lr. Both slices must
// keep their length from step to step.
func (a *Adam) Step(value, grad []float64, lr float64) {
	if len(a.M) != len(value) {
		a.Steps = 0
		a.M, a.V = make([]float64, len(value)), make([]float64, len(value))
	}
	a.Steps++
	c1 := 1 - math.Pow(adamBeta1, float64(a.Steps))
	c2 := math.Sqrt(1 - math.Pow(adamBeta2, float64(a.Steps)))
	step, eps := lr/c1*c2, adamEpsilon*c2 // both sides of the fraction times c2
	if a.Decay != 0 {
		keep := 1 - lr*a.Decay
		for i := range value {
			value[i] *= keep
		}
	}
	m, v := a.M[:len(value)], a.V[:len(value)]
	grad = grad[:len(value)]
	for i, g := range grad {
		m[i] = float64(adamBeta1*m[i]) + float64((1-adamBeta1)*g)
		v[i] = float64(adamBeta2*v[i]) + float64((1-adamBeta2)*g*g)
		value[i] -= float64(step * m[i] / (math.Sqrt(v[i]) + eps))
	}
}

// Cosine is the learning rate of step t (from 0) of total, annealed from hi to
// lo along half a cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, without
// restarts.
func Cosine(t, total int, hi, lo float64) float64 {
	if total <= 0 {
		return hi
	}
	return lo + (hi-lo)*(1+math.Cos(math.Pi*float64(t)/float64(total)))/2
}

// Init fills the weights and biases of every layer as torch does by default:
// uniform in ±1/sqrt(fan-in), which for weights is Kaiming-uniform with
// a = sqrt(5) (He et al., "Delving Deep into Rectifiers", ICCV 2015). Tensors
// come in pairs of weight and bias, in the order in which layers declared them.
func Init(tensors []*Tensor, rng *rand.Rand) {
	bound := 0.0
	for _, t := range tensors {
		if len(t.Shape) > 1 {
			fanIn := size(t.Shape[1:])
			bound = 0
			if fanIn > 0 {
				bound = 1 / math.Sqrt(float64(fanIn))
			}
		}
		for i := range t.Value {
			t.Value[i] = bound * (2*rng.Float64() - 1)
		}
	}
}
