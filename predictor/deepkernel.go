package predictor

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"quicktune/internal/gp"
	"quicktune/internal/nn"
)

// This file is the performance predictor from its inputs to its likelihood, in
// the order of the paper: encoders, curve network, descriptors of the data set,
// budget, embedding, mean, kernel, noise. Each step has its backward pass, in
// reverse order, below it. The exact Gaussian process is that of internal/gp.

const leakySlope = 0.01

var errNotFinite = errors.New("predictor: the weights or the data lead to numbers that are not finite; start again from the initial weights")

// features maps rows to embeddings. Without encoders the configuration enters
// as it is; that is the cost predictor's form.
type features struct {
	arch     Architecture
	encoders []encoder
	conv1    *nn.Conv1d
	conv2    *nn.Conv1d
	pool     nn.MaxPool1d
	dropout  nn.Dropout1d
	curve    *nn.Linear
	meta     *nn.Linear // nil if the architecture has no descriptors
	fc1, fc3 *nn.Linear // the reference declares an fc2 between them and never uses it

	ws     nn.Workspace
	joined nn.Matrix // [n, ...]: encoders | budget | descriptors | curve
	hidden nn.Matrix
	layout nn.Signals
	signal [2]nn.Matrix
	pooled nn.Matrix
}

// encoder is a perceptron with one hidden layer over a group of columns.
type encoder struct {
	in, out *nn.Linear
	hidden  nn.Matrix
}

func newFeatures(p *nn.Params, prefix string, a Architecture, encoders bool) *features {
	f := &features{arch: a}
	width := 0
	if encoders {
		for i, g := range a.Groups {
			if g == 0 {
				continue
			}
			name := fmt.Sprintf("%sencoders.%d.", prefix, i)
			f.encoders = append(f.encoders, encoder{
				in:  nn.NewLinear(p, name+"input_layer", g, a.Hidden),
				out: nn.NewLinear(p, name+"output_layer", a.Hidden, a.Hidden),
			})
			width += a.Hidden
		}
	} else {
		width = a.Config()
	}
	width += 1 + a.Meta + a.CurveOut
	f.fc1 = nn.NewLinear(p, prefix+"fc1", width, a.Hidden)
	f.fc3 = nn.NewLinear(p, prefix+"fc3", a.Hidden, a.Embedding)
	f.conv1 = nn.NewConv1d(p, prefix+"curve_embedder.conv1", 1, a.Channels)
	f.conv2 = nn.NewConv1d(p, prefix+"curve_embedder.conv2", a.Channels, a.Channels)
	f.pool = nn.MaxPool1d{Channels: a.Channels, Length: a.signal()}
	f.dropout = nn.Dropout1d{Channels: a.Channels, P: a.Dropout}
	f.curve = nn.NewLinear(p, prefix+"curve_embedder.fc1", f.pool.Width(), a.CurveOut)
	if a.Meta > 0 {
		f.meta = nn.NewLinear(p, prefix+"fc_metafeatures", a.Meta, a.Meta)
	}
	return f
}

// forward returns the embeddings [n, Embedding] of a batch. With a generator
// the curve network drops channels, as in training. The result is valid until
// the next call.
func (f *features) forward(b *Batch, rng *rand.Rand) nn.Matrix {
	a, n := f.arch, b.Len()
	f.ws.Reset()
	f.joined = f.ws.Get(n, f.fc1.In)
	at := 0

	// Encoders: Linear, ReLU, Linear over each group of configuration columns.
	config, left := b.matrix(b.config, a.Config()), 0
	for i := range f.encoders {
		e := &f.encoders[i]
		e.hidden = f.ws.Get(n, a.Hidden)
		e.in.Forward(e.hidden, config.Slice(left, left+e.in.In))
		nn.ReLU(e.hidden)
		e.out.Forward(f.joined.Slice(at, at+a.Hidden), e.hidden)
		left += e.in.In
		at += a.Hidden
	}
	if f.encoders == nil {
		f.joined.Slice(0, a.Config()).Copy(config)
		at = a.Config()
	}

	// Budget: the fraction of all epochs.
	for i, v := range b.budget {
		f.joined.Row(i)[at] = v
	}
	at++

	// Descriptors of the data set: Linear without activation.
	if f.meta != nil {
		f.meta.Forward(f.joined.Slice(at, at+a.Meta), b.matrix(b.meta, a.Meta))
		at += a.Meta
	}

	// Curve network: Conv, ReLU, Conv, MaxPool, Dropout, ReLU, Linear, ReLU.
	curve := f.layout.SetSignals(b.matrix(b.curves, a.signal()), &f.ws)
	f.signal[0], f.signal[1] = f.ws.Get(a.Channels, curve.Cols), f.ws.Get(a.Channels, curve.Cols)
	f.conv1.Forward(f.signal[0], curve, &f.layout)
	nn.ReLU(f.signal[0])
	f.conv2.Forward(f.signal[1], f.signal[0], &f.layout)
	f.pooled = f.ws.Get(n, f.pool.Width())
	f.pool.Forward(f.pooled, f.signal[1], &f.layout)
	f.dropout.Forward(f.pooled, rng)
	nn.ReLU(f.pooled)
	out := f.joined.Slice(at, at+a.CurveOut)
	f.curve.Forward(out, f.pooled)
	nn.ReLU(out)

	// Embedding: Linear, LeakyReLU, Linear.
	f.hidden = f.ws.Get(n, a.Hidden)
	f.fc1.Forward(f.hidden, f.joined)
	nn.LeakyReLU(f.hidden, leakySlope)
	z := f.ws.Get(n, a.Embedding)
	f.fc3.Forward(z, f.hidden)
	return z
}

// backward adds the gradients of all weights, given that of the embeddings of
// the last forward pass.
func (f *features) backward(dz nn.Matrix) {
	a, n := f.arch, dz.Rows

	// Embedding.
	dhidden := f.ws.Get(n, a.Hidden)
	f.fc3.Backward(dhidden, dz)
	nn.LeakyReLUBackward(dhidden, f.hidden, leakySlope)
	djoined := f.ws.Get(n, f.fc1.In)
	f.fc1.Backward(djoined, dhidden)

	// Curve network.
	at := f.fc1.In - a.CurveOut
	dout := djoined.Slice(at, f.fc1.In)
	nn.ReLUBackward(dout, f.joined.Slice(at, f.fc1.In))
	dpooled := f.ws.Get(n, f.pool.Width())
	f.curve.Backward(dpooled, dout)
	nn.ReLUBackward(dpooled, f.pooled)
	f.dropout.Backward(dpooled)
	dsignal := f.signal[1] // its values are no longer needed
	f.pool.Backward(dsignal, dpooled)
	dfirst := f.ws.Get(a.Channels, dsignal.Cols)
	f.conv2.Backward(dfirst, dsignal)
	nn.ReLUBackward(dfirst, f.signal[0])
	f.conv1.Backward(nn.Matrix{}, dfirst)

	// Descriptors.
	if f.meta != nil {
		at -= a.Meta
		f.meta.Backward(nn.Matrix{}, djoined.Slice(at, at+a.Meta))
	}

	// Encoders.
	for i := range f.encoders {
		e := &f.encoders[i]
		de := f.ws.Get(n, a.Hidden)
		e.out.Backward(de, djoined.Slice(i*a.Hidden, (i+1)*a.Hidden))
		nn.ReLUBackward(de, e.hidden)
		e.in.Backward(nn.Matrix{}, de)
	}
}

// DeepKernel is the performance predictor: an exact Gaussian process with a
// constant mean, a scaled squared-exponential kernel with one length scale and
// Gaussian noise, whose inputs are the embeddings of a network that is trained
// with it. Scores are predicted as they are given; the reference gives
// accuracies in [0, 1].
type DeepKernel struct {
	arch     Architecture
	params   *nn.Params
	features *features

	raw gp.Raw
	gp  gp.Process
	dz  nn.Workspace

	adam   nn.Adam // of Fit
	lbfgs  nn.LBFGS
	before []float64 // weights from before a fit
}

// NoiseFloor is the lower bound of the noise variance.
const NoiseFloor = 1e-4

// NewDeepKernel returns a predictor with torch's initial weights, drawn from
// rng, and the raw parameters of the Gaussian process at 0.
func NewDeepKernel(a Architecture, rng *rand.Rand) (*DeepKernel, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	k := newDeepKernel(a)
	nn.Init(k.params.Tensors[:len(k.params.Tensors)-4], rng)
	return k, nil
}

func newDeepKernel(a Architecture) *DeepKernel {
	p := &nn.Params{}
	k := &DeepKernel{arch: a, params: p}
	k.features = newFeatures(p, "feature_extractor.", a, true)
	k.raw = gp.Raw{
		Noise:       p.Add("likelihood.noise_covar.raw_noise", 1),
		Mean:        p.Add("mean_module.raw_constant"),
		OutputScale: p.Add("covar_module.raw_outputscale"),
		LengthScale: p.Add("covar_module.base_kernel.raw_lengthscale", 1, 1),
		NoiseFloor:  NoiseFloor,
	}
	p.Pack()
	return k
}

// Clone returns an independent predictor with the same weights, conditioned on
// nothing.
func (k *DeepKernel) Clone() *DeepKernel {
	c := newDeepKernel(k.arch)
	c.raw.NoiseFloor = k.raw.NoiseFloor
	copy(c.params.Value, k.params.Value)
	return c
}

// CopyWeights takes over the weights of src, which must have the same
// architecture, and forgets the data that k was conditioned on.
func (k *DeepKernel) CopyWeights(src *DeepKernel) {
	copy(k.params.Value, src.params.Value)
	k.raw.NoiseFloor = src.raw.NoiseFloor
	k.gp.Reset()
}

// Architecture returns the shape of the predictor.
func (k *DeepKernel) Architecture() Architecture { return k.arch }

// Hyperparameters are the parameters of the Gaussian process.
type Hyperparameters = gp.Hyperparameters

// Hyperparameters returns the current ones.
func (k *DeepKernel) Hyperparameters() Hyperparameters { return k.raw.Hyperparameters() }

// Embed returns the embeddings of the rows of b, one row each, in a fresh
// matrix.
func (k *DeepKernel) Embed(b *Batch) (nn.Matrix, error) {
	if err := b.fits(k.arch); err != nil {
		return nn.Matrix{}, err
	}
	z := k.features.forward(b, nil)
	out := nn.NewMatrix(z.Rows, z.Cols)
	out.Copy(z)
	return out, nil
}

// Loss is the negative log marginal likelihood of the targets y, divided by
// their number. It leaves its gradient in the parameters, to be used by the
// next optimiser step. With a generator, channels are dropped.
//
// It fails if y holds a number that is not finite or if the covariance cannot
// be factored with a jitter of up to 1e-2; it never returns NaN.
func (k *DeepKernel) Loss(b *Batch, y []float64, rng *rand.Rand) (float64, error) {
	if err := b.fits(k.arch); err != nil {
		return 0, err
	}
	if err := checkTargets(b.Len(), y); err != nil {
		return 0, err
	}
	if b.Len() == 0 {
		return 0, ErrNotConditioned
	}
	z := k.features.forward(b, rng)
	k.dz.Reset()
	dz := k.dz.Get(z.Rows, z.Cols)
	loss, err := k.processLoss(dz, z, y)
	if err != nil {
		return 0, err
	}
	k.features.backward(dz)
	if !nn.Finite(k.params.Grad) {
		return 0, errNotFinite
	}
	return loss, nil
}

// processLoss is Loss at given embeddings z. It sets the gradient of the
// process' parameters, clears that of the network's and, unless dz is the zero
// Matrix, writes that of z to dz.
func (k *DeepKernel) processLoss(dz, z nn.Matrix, y []float64) (float64, error) {
	loss, dh, err := k.gp.Marginal(dz, z, y, k.Hyperparameters())
	if err != nil {
		return 0, err
	}
	k.params.ZeroGrad()
	k.raw.SetGradient(dh)
	return loss, nil
}

// process returns the values and gradients of the Gaussian process' parameters,
// the last four of all.
func (k *DeepKernel) process() (value, grad []float64) {
	n := len(k.params.Value) - 4
	return k.params.Value[n:], k.params.Grad[n:]
}

// Condition fits the process to rows and targets with the weights as they are.
func (k *DeepKernel) Condition(b *Batch, y []float64) error {
	k.gp.Reset()
	return k.Extend(b, y)
}

// Extend adds rows to those that the process is conditioned on. The factor of
// the covariance is extended, not computed again, so this is cheap, and exact
// as long as the weights are those that Condition saw: every method that
// changes weights also forgets the data.
func (k *DeepKernel) Extend(b *Batch, y []float64) error {
	if err := b.fits(k.arch); err != nil {
		return err
	}
	if err := checkTargets(b.Len(), y); err != nil {
		return err
	}
	if b.Len() == 0 {
		return nil
	}
	return k.gp.Extend(k.features.forward(b, nil), y, k.Hyperparameters())
}

// Observed is the number of rows that the process is conditioned on.
func (k *DeepKernel) Observed() int { return k.gp.Len() }

// Predict writes the posterior mean and standard deviation of each row of b.
// With noise, the deviation is that of an observation, else that of the latent
// function. Without any conditioning it returns [ErrNotConditioned].
func (k *DeepKernel) Predict(mean, std []float64, b *Batch, noise bool) error {
	if k.gp.Len() == 0 {
		return ErrNotConditioned
	}
	if err := b.fits(k.arch); err != nil {
		return err
	}
	if len(mean) != b.Len() || len(std) != b.Len() {
		return fmt.Errorf("predictor: room for %d means and %d deviations, but %d rows", len(mean), len(std), b.Len())
	}
	k.gp.Predict(mean, std, k.features.forward(b, nil), noise)
	if !nn.Finite(mean) || !nn.Finite(std) {
		return errNotFinite
	}
	return nil
}
