package predictor

import (
	"fmt"
	"math"
	"math/rand/v2"

	"quicktune/internal/nn"
)

// CostUnit is the unit of the cost network's output, in seconds.
const CostUnit = 100

// CostOptions choose between the published cost predictor and a sound one.
type CostOptions struct {
	// Log makes the network predict the logarithm of the seconds. The
	// reference (Log false) predicts the seconds behind a rectifier, which
	// may be dead: it then says 0 for every configuration and learns nothing
	// more.
	Log bool `json:"log"`
}

// Cost predicts what the next epoch of a curve costs. It is a network of its
// own: the features of the performance predictor without encoders, a rectifier
// and a fully connected layer to one number.
type Cost struct {
	arch     Architecture
	opt      CostOptions
	params   *nn.Params
	features *features
	head     *nn.Linear
	z, out   nn.Matrix
	ws       nn.Workspace
}

// NewCost returns a cost predictor with torch's initial weights, drawn from
// rng.
func NewCost(a Architecture, opt CostOptions, rng *rand.Rand) (*Cost, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	c := newCost(a, opt)
	nn.Init(c.params.Tensors, rng)
	return c, nil
}

func newCost(a Architecture, opt CostOptions) *Cost {
	p := &nn.Params{}
	c := &Cost{arch: a, opt: opt, params: p}
	c.features = newFeatures(p, "feature_extractor.", a, false)
	c.head = nn.NewLinear(p, "fc1", a.Embedding, 1)
	p.Pack()
	return c
}

// Clone returns an independent predictor with the same weights.
func (c *Cost) Clone() *Cost {
	d := newCost(c.arch, c.opt)
	copy(d.params.Value, c.params.Value)
	return d
}

// Architecture returns the shape of the predictor.
func (c *Cost) Architecture() Architecture { return c.arch }

// Options returns the form of the predictor.
func (c *Cost) Options() CostOptions { return c.opt }

// SetReference takes over weights of the public implementation under their own
// names ("feature_extractor.fc1.weight", ..., "fc1.bias"). The layer fc2 of the
// feature extractor, which it never uses, is ignored.
func (c *Cost) SetReference(w Weights) error {
	all := make(Weights, len(w))
	for name, v := range w {
		if name != "feature_extractor.fc2.weight" && name != "feature_extractor.fc2.bias" {
			all[name] = v
		}
	}
	return setWeights(c.params, all)
}

// forward leaves the raw output of the network in c.out [n, 1].
func (c *Cost) forward(b *Batch, rng *rand.Rand) {
	c.z = c.features.forward(b, rng)
	nn.ReLU(c.z)
	c.ws.Reset()
	c.out = c.ws.Get(b.Len(), 1)
	c.head.Forward(c.out, c.z)
	if !c.opt.Log {
		nn.ReLU(c.out)
	}
}

// Predict writes the seconds that the epoch of each row of b will cost to dst,
// at least 0. The reference's form may answer exactly 0.
func (c *Cost) Predict(dst []float64, b *Batch) error {
	if err := b.fits(c.arch); err != nil {
		return err
	}
	if len(dst) != b.Len() {
		return fmt.Errorf("predictor: room for %d costs, but %d rows", len(dst), b.Len())
	}
	c.forward(b, nil)
	for i := range dst {
		v := c.out.Row(i)[0]
		if c.opt.Log {
			v = math.Exp(min(v, 30))
		}
		dst[i] = CostUnit * v
	}
	if !nn.Finite(dst) {
		return errNotFinite
	}
	return nil
}

// Loss is the mean squared error of the network's output for the given
// seconds, in units of CostUnit or, in the logarithmic form, of log seconds. It
// leaves its gradient in the parameters. Seconds must be positive and finite.
func (c *Cost) Loss(b *Batch, seconds []float64, rng *rand.Rand) (float64, error) {
	if err := b.fits(c.arch); err != nil {
		return 0, err
	}
	if err := checkTargets(b.Len(), seconds); err != nil {
		return 0, err
	}
	if b.Len() == 0 {
		return 0, fmt.Errorf("predictor: no row to learn costs from")
	}
	c.forward(b, rng)
	n := float64(b.Len())
	loss := 0.0
	dout := c.ws.Get(b.Len(), 1)
	for i, s := range seconds {
		if s < 0 || s == 0 && c.opt.Log {
			return 0, fmt.Errorf("predictor: an epoch of row %d cost %v seconds; costs must be positive", i, s)
		}
		s /= CostUnit
		if c.opt.Log {
			s = math.Log(s)
		}
		e := c.out.Row(i)[0] - s
		loss += float64(e*e) / n
		dout.Row(i)[0] = 2 * e / n
	}
	c.params.ZeroGrad()
	if !c.opt.Log {
		nn.ReLUBackward(dout, c.out)
	}
	dz := c.ws.Get(c.z.Rows, c.z.Cols)
	c.head.Backward(dz, dout)
	nn.ReLUBackward(dz, c.z)
	c.features.backward(dz)
	if !nn.Finite(c.params.Grad) || math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, errNotFinite
	}
	return loss, nil
}
