package traintime

import (
	"errors"
	"fmt"
	"math"

	"quicktune/internal/blas"
)

// A Run describes a training run to the baselines, which know nothing of the
// network but its size. All numbers are positive.
type Run struct {
	// EffectiveRate is the learning rate over 1 - momentum.
	EffectiveRate float64
	// Batch, Samples, Outputs and Weights are the sizes of the mini-batch, the
	// training set, the number of classes and the network.
	Batch, Samples, Outputs, Weights float64
	// Steps is what was measured; predictions do not read it.
	Steps float64
}

// A Baseline predicts steps from a description of the run alone, by a law for
// their logarithm fitted to other runs. Errors are relative ones, so the laws
// are fitted to logarithms: the constant is the geometric mean.
type Baseline struct {
	// Name is "constant", "inverse rate" or "log-linear".
	Name string
	// Coefficients belong to 1 and the logarithms of EffectiveRate, Batch,
	// Samples, Outputs and Weights.
	Coefficients [6]float64
}

// FitConstant predicts the same steps for every run.
func FitConstant(runs []Run) (*Baseline, error) {
	b := &Baseline{Name: "constant"}
	return b, b.center(runs)
}

// FitInverseRate predicts a / effective rate.
func FitInverseRate(runs []Run) (*Baseline, error) {
	b := &Baseline{Name: "inverse rate"}
	b.Coefficients[1] = -1
	return b, b.center(runs)
}

// FitLogLinear predicts a product of powers of all that describes a run, by
// least squares. What does not vary among the runs gets the power 0.
func FitLogLinear(runs []Run) (*Baseline, error) {
	b := &Baseline{Name: "log-linear"}
	if err := checkRuns(runs); err != nil {
		return nil, err
	}
	const features = 5
	n := float64(len(runs))
	var mean, variance [features]float64
	target := 0.0
	for _, r := range runs {
		target += math.Log(r.Steps) / n
		x := r.logarithms()
		for i := range mean {
			mean[i] += x[i+1] / n
		}
	}
	for _, r := range runs {
		x := r.logarithms()
		for i := range mean {
			variance[i] += (x[i+1] - mean[i]) * (x[i+1] - mean[i]) / n
		}
	}
	// A trace of ridge keeps features apart that vary together.
	const ridge = 1e-6
	gram, right := make([]float64, features*features), make([]float64, features)
	for _, r := range runs {
		x := r.logarithms()
		for i := range features {
			zi := standard(x[i+1], mean[i], variance[i])
			right[i] += zi * (math.Log(r.Steps) - target)
			for j := range features {
				gram[i*features+j] += zi * standard(x[j+1], mean[j], variance[j])
			}
		}
	}
	for i := range features {
		gram[i*features+i] += ridge * n
	}
	if err := blas.Cholesky(gram, features, features); err != nil {
		return nil, fmt.Errorf("traintime: log-linear regression: %w", err)
	}
	blas.CholeskySolve(features, 1, gram, features, right, 1)
	b.Coefficients[0] = target
	for i, w := range right {
		if variance[i] > flatVariance {
			b.Coefficients[i+1] = w / math.Sqrt(variance[i])
			b.Coefficients[0] -= b.Coefficients[i+1] * mean[i]
		}
	}
	return b, nil
}

// flatVariance is the variance of a logarithm below which it does not vary.
const flatVariance = 1e-12

func standard(x, mean, variance float64) float64 {
	if variance <= flatVariance {
		return 0
	}
	return (x - mean) / math.Sqrt(variance)
}

// center sets the intercept to the mean residual.
func (b *Baseline) center(runs []Run) error {
	if err := checkRuns(runs); err != nil {
		return err
	}
	sum := 0.0
	for _, r := range runs {
		sum += math.Log(r.Steps) - b.logarithm(r)
	}
	b.Coefficients[0] = sum / float64(len(runs))
	return nil
}

func (b *Baseline) logarithm(r Run) float64 {
	sum := 0.0
	for i, x := range r.logarithms() {
		sum += b.Coefficients[i] * x
	}
	return sum
}

// Steps returns the predicted steps of a run.
func (b *Baseline) Steps(r Run) (float64, error) {
	r.Steps = 1
	if err := r.check(); err != nil {
		return 0, fmt.Errorf("traintime: %w", err)
	}
	return math.Exp(b.logarithm(r)), nil
}

func (r Run) logarithms() [6]float64 {
	return [6]float64{1, math.Log(r.EffectiveRate), math.Log(r.Batch), math.Log(r.Samples), math.Log(r.Outputs), math.Log(r.Weights)}
}

func (r Run) check() error {
	for _, x := range []float64{r.EffectiveRate, r.Batch, r.Samples, r.Outputs, r.Weights, r.Steps} {
		if !(x > 0) || math.IsInf(x, 0) {
			return fmt.Errorf("%+v: want positive finite numbers", r)
		}
	}
	return nil
}

func checkRuns(runs []Run) error {
	if len(runs) == 0 {
		return errors.New("traintime: a baseline needs measured runs, got none")
	}
	for i, r := range runs {
		if err := r.check(); err != nil {
			return fmt.Errorf("traintime: run %d: %w", i, err)
		}
	}
	return nil
}

// Extrapolate continues the measured losses of the first real steps up to a
// horizon: record i of the losses is step i*every, and so is that of the
// result, which begins with the losses themselves. The continuation is
//
//	c + a (1 + t/tau)^-g   or   c + a exp(-t/tau)   with a, c >= 0
//
// whichever has the least squared error on them.
func Extrapolate(losses []float64, every, horizon int) ([]float64, error) {
	if len(losses) < 4 {
		return nil, fmt.Errorf("traintime: %d losses to extrapolate: want at least 4", len(losses))
	}
	if every < 1 || horizon%every != 0 || horizon/every < len(losses)-1 {
		return nil, fmt.Errorf("traintime: losses every %d steps up to %d do not fit a horizon of %d", every, every*(len(losses)-1), horizon)
	}
	for i, x := range losses {
		if math.IsNaN(x) || math.IsInf(x, 0) || x < 0 {
			return nil, fmt.Errorf("traintime: loss %d is %v, want a finite number from 0", i, x)
		}
	}
	shape := make([]float64, len(losses))
	fit := func(tau, g float64) (square, c, a float64) {
		for i := range shape {
			shape[i] = decline(float64(i), tau, g)
		}
		c, a = nonNegativeLine(shape, losses)
		for i, x := range shape {
			d := c + a*x - losses[i]
			square += d * d
		}
		return square, c, a
	}
	// For each shape a grid of scales, then finer ones about the best.
	best := math.Inf(1)
	var c, a, tau, power float64
	span := float64(len(losses) - 1)
	const points, refinements = 40, 6
	for _, g := range []float64{0.25, 0.5, 0.75, 1, 1.5, 2, 3, math.Inf(1)} {
		low, high := math.Log(span*1e-2), math.Log(span*1e3)
		for range refinements {
			least, at := math.Inf(1), low
			for i := range points {
				x := low + (high-low)*float64(i)/(points-1)
				square, floor, height := fit(math.Exp(x), g)
				if square < least {
					least, at = square, x
				}
				if square < best {
					best, c, a, tau, power = square, floor, height, math.Exp(x), g
				}
			}
			step := (high - low) / (points - 1)
			low, high = at-step, at+step
		}
	}
	all := make([]float64, horizon/every+1)
	copy(all, losses)
	for i := len(losses); i < len(all); i++ {
		all[i] = c + a*decline(float64(i), tau, power)
	}
	return all, nil
}

// decline is (1 + t/tau)^-g, or exp(-t/tau) for an infinite g.
func decline(t, tau, g float64) float64 {
	if math.IsInf(g, 1) {
		return math.Exp(-t / tau)
	}
	return math.Pow(1+t/tau, -g)
}

// nonNegativeLine minimises |c + a x - y|² over c, a >= 0 for y >= 0.
func nonNegativeLine(x, y []float64) (c, a float64) {
	var sx, sy, sxx, sxy float64
	n := float64(len(x))
	for i := range x {
		sx += x[i]
		sy += y[i]
		sxx += x[i] * x[i]
		sxy += x[i] * y[i]
	}
	if determinant := n*sxx - sx*sx; determinant > 1e-12*n*sxx {
		a = (n*sxy - sx*sy) / determinant
		c = (sy - a*sx) / n
	}
	if a <= 0 {
		return sy / n, 0
	}
	if c < 0 {
		return 0, sxy / sxx
	}
	return c, a
}
