package predictor

import (
	"fmt"
	"math"
	"math/rand/v2"

	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/blas"
	"quicktune/internal/nn"
)

// This file is the performance predictor from its inputs to its likelihood, in
// the order of the paper: encoders, curve network, descriptors of the data set,
// budget, embedding, mean, kernel, noise. Each step has its backward pass, in
// reverse order, below it. What the exact Gaussian process needs of linear
// algebra is in cholesky.go.

const leakySlope = 0.01

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

	// The free parameters of the process; noise variance, output scale and
	// length scale are softplus(raw), the noise above a floor.
	rawNoise, mean, rawScale, rawLength *nn.Tensor
	noiseFloor                          float64

	gp gaussianProcess
	dz nn.Workspace

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
	k := &DeepKernel{arch: a, params: p, noiseFloor: NoiseFloor}
	k.features = newFeatures(p, "feature_extractor.", a, true)
	k.rawNoise = p.Add("likelihood.noise_covar.raw_noise", 1)
	k.mean = p.Add("mean_module.raw_constant")
	k.rawScale = p.Add("covar_module.raw_outputscale")
	k.rawLength = p.Add("covar_module.base_kernel.raw_lengthscale", 1, 1)
	p.Pack()
	return k
}

// Clone returns an independent predictor with the same weights, conditioned on
// nothing.
func (k *DeepKernel) Clone() *DeepKernel {
	c := newDeepKernel(k.arch)
	c.noiseFloor = k.noiseFloor
	copy(c.params.Value, k.params.Value)
	return c
}

// CopyWeights takes over the weights of src, which must have the same
// architecture, and forgets the data that k was conditioned on.
func (k *DeepKernel) CopyWeights(src *DeepKernel) {
	copy(k.params.Value, src.params.Value)
	k.noiseFloor = src.noiseFloor
	k.gp.reset()
}

// Architecture returns the shape of the predictor.
func (k *DeepKernel) Architecture() Architecture { return k.arch }

// Hyperparameters are the parameters of the Gaussian process.
type Hyperparameters struct {
	Mean        float64
	Noise       float64 // variance
	OutputScale float64 // variance
	LengthScale float64
}

// Hyperparameters returns the current ones.
func (k *DeepKernel) Hyperparameters() Hyperparameters {
	return Hyperparameters{
		Mean:        k.mean.Value[0],
		Noise:       k.noiseFloor + nn.Softplus(k.rawNoise.Value[0]),
		OutputScale: nn.Softplus(k.rawScale.Value[0]),
		LengthScale: nn.Softplus(k.rawLength.Value[0]),
	}
}

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
	loss, dh, err := k.gp.marginal(dz, z, y, k.Hyperparameters())
	if err != nil {
		return 0, err
	}
	k.params.ZeroGrad()
	k.mean.Grad[0] = dh.Mean
	k.rawNoise.Grad[0] = dh.Noise * nn.Sigmoid(k.rawNoise.Value[0])
	k.rawScale.Grad[0] = dh.OutputScale * nn.Sigmoid(k.rawScale.Value[0])
	k.rawLength.Grad[0] = dh.LengthScale * nn.Sigmoid(k.rawLength.Value[0])
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
	k.gp.reset()
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
	return k.gp.extend(k.features.forward(b, nil), y, k.Hyperparameters())
}

// Observed is the number of rows that the process is conditioned on.
func (k *DeepKernel) Observed() int { return k.gp.n }

// Predict writes the posterior mean and standard deviation of each row of b.
// With noise, the deviation is that of an observation, else that of the latent
// function. Without any conditioning it returns [ErrNotConditioned].
func (k *DeepKernel) Predict(mean, std []float64, b *Batch, noise bool) error {
	if k.gp.n == 0 {
		return ErrNotConditioned
	}
	if err := b.fits(k.arch); err != nil {
		return err
	}
	if len(mean) != b.Len() || len(std) != b.Len() {
		return fmt.Errorf("predictor: room for %d means and %d deviations, but %d rows", len(mean), len(std), b.Len())
	}
	k.gp.predict(mean, std, k.features.forward(b, nil), noise)
	if !nn.Finite(mean) || !nn.Finite(std) {
		return errNotFinite
	}
	return nil
}

// gaussianProcess is the exact process over embeddings z [n, d].
type gaussianProcess struct {
	// What it is conditioned on.
	n     int
	h     Hyperparameters
	z     []float64 // n x d
	y     []float64
	shift []float64 // subtracted from embeddings before distances are taken
	chol  lower     // factor of the covariance
	alpha []float64 // covariance⁻¹ (y - mean)

	fit lower // factor of the last marginal likelihood
	ws  nn.Workspace
}

func (g *gaussianProcess) reset() { g.n = 0 }

// kernel writes the covariances outputScale*exp(-|x-z|²/(2 lengthScale²)) of
// the rows of x and z to c.
func (g *gaussianProcess) kernel(c, x, z nn.Matrix, h Hyperparameters) {
	nn.Gemm(false, true, 1, x, z, 0, c)
	xx, zz := g.ws.Vec(x.Rows), g.ws.Vec(z.Rows)
	squaredNorms(xx, x)
	squaredNorms(zz, z)
	f := -1 / (2 * h.LengthScale * h.LengthScale)
	for i := range c.Rows {
		r := c.Row(i)
		for j, dot := range r {
			r[j] = h.OutputScale * math.Exp(f*squaredDistance(xx[i], zz[j], dot))
		}
	}
}

// ownKernel writes the squared distances of the rows of x from each other and
// their covariances to the lower triangles of d2 and c. The two may be the same
// matrix, which then holds the covariances.
func (g *gaussianProcess) ownKernel(d2, c, x nn.Matrix, h Hyperparameters) {
	blas.Syrk(gblas.Lower, false, x.Rows, x.Cols, 1, x.Data, x.Stride, 0, d2.Data, d2.Stride)
	xx := g.ws.Vec(x.Rows)
	for i := range xx {
		xx[i] = d2.Row(i)[i]
	}
	f := -1 / (2 * h.LengthScale * h.LengthScale)
	for i := range x.Rows {
		dr, cr := d2.Row(i)[:i+1], c.Row(i)[:i+1]
		for j, dot := range dr {
			d := squaredDistance(xx[i], xx[j], dot)
			dr[j] = d
			cr[j] = h.OutputScale * math.Exp(f*d)
		}
	}
}

// squaredDistance is |x|²+|z|²-2xz, at least 0. Callers centre the rows first:
// less is then lost to cancellation.
func squaredDistance(xx, zz, dot float64) float64 { return max(0, xx+zz-2*dot) }

func squaredNorms(dst []float64, x nn.Matrix) {
	for i := range x.Rows {
		s := 0.0
		for _, v := range x.Row(i) {
			s += float64(v * v)
		}
		dst[i] = s
	}
}

// centred copies z minus shift to the workspace.
func (g *gaussianProcess) centred(z nn.Matrix, shift []float64) nn.Matrix {
	out := g.ws.Get(z.Rows, z.Cols)
	for i := range z.Rows {
		o := out.Row(i)
		for j, v := range z.Row(i) {
			o[j] = v - shift[j]
		}
	}
	return out
}

func columnMeans(dst []float64, z nn.Matrix) {
	clear(dst)
	for i := range z.Rows {
		for j, v := range z.Row(i) {
			dst[j] += v
		}
	}
	for j := range dst {
		dst[j] /= float64(z.Rows)
	}
}

// marginal returns the negative log marginal likelihood per row and its
// derivatives: by the embeddings, in dz unless that is the zero Matrix, and by
// the hyperparameters.
//
// With A = K + noise I, r = y - mean, a = A⁻¹ r and G = (A⁻¹ - a aᵀ)/(2n) the
// loss is (rᵀa + log|A| + n log 2π)/(2n), its derivative by the covariance is
// G, and every other one follows by the chain rule. With W = G∘K:
//
//	dnoise = tr G        dscale  = ΣW / scale        dmean = -Σa / n
//	dlength = Σ W∘D² / length³
//	dz_i = -2/length² Σ_j W_ij (z_i - z_j)
func (g *gaussianProcess) marginal(dz, z nn.Matrix, y []float64, h Hyperparameters) (float64, Hyperparameters, error) {
	n := z.Rows
	g.ws.Reset()
	shift := g.ws.Vec(z.Cols)
	columnMeans(shift, z)
	x := g.centred(z, shift)
	d2, cov := g.ws.Get(n, n), g.ws.Get(n, n)
	g.ownKernel(d2, cov, x, h)

	g.fit.reset()
	if err := g.fit.extend(nn.Matrix{Rows: n}, cov, h.Noise); err != nil {
		return 0, Hyperparameters{}, err
	}
	logDet := 0.0
	for i := range n {
		logDet += 2 * math.Log(g.fit.data[i*g.fit.step+i])
	}
	alpha := g.ws.Vec(n)
	for i, v := range y {
		alpha[i] = v - h.Mean
	}
	quad := g.fit.solve(alpha)
	loss := (quad + logDet + float64(n)*math.Log(2*math.Pi)) / float64(2*n)
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, Hyperparameters{}, errNotFinite
	}
	inv := g.ws.Get(n, n)
	g.fit.inverse(inv)

	var dh Hyperparameters
	c := 1 / float64(2*n)
	for _, v := range alpha {
		dh.Mean -= v / float64(n)
	}
	w, sumW, sumWD := cov, 0.0, 0.0 // W overwrites the covariance
	sums := g.ws.Vec(n)             // of the rows of W
	clear(sums)
	for i := range n {
		wr, ar, dr, ai := w.Row(i)[:i+1], inv.Row(i)[:i+1], d2.Row(i)[:i+1], alpha[i]
		rowSum, rowWD := 0.0, 0.0
		for j, a := range ar[:i] {
			v := c * (a - float64(ai*alpha[j])) * wr[j]
			wr[j] = v
			rowSum += v
			sums[j] += v
			rowWD += float64(v * dr[j])
		}
		gii := c * (ar[i] - float64(ai*ai))
		dh.Noise += gii
		sums[i] += rowSum
		sumW += 2*rowSum + float64(gii*h.OutputScale)
		sumWD += 2 * rowWD
		wr[i] = 0 // a row's distance to itself is 0 whatever moves
	}
	dh.OutputScale = sumW / h.OutputScale
	dh.LengthScale = sumWD / (h.LengthScale * h.LengthScale * h.LengthScale)

	if dz.IsZero() {
		return loss, dh, nil
	}
	mirror(w)
	f := 2 / (h.LengthScale * h.LengthScale)
	nn.Gemm(false, false, f, w, x, 0, dz)
	for i := range n {
		d, s := dz.Row(i), f*sums[i]
		for j, v := range x.Row(i) {
			d[j] -= float64(s * v)
		}
	}
	return loss, dh, nil
}

// extend adds observations. All numbers are checked before anything changes.
func (g *gaussianProcess) extend(z nn.Matrix, y []float64, h Hyperparameters) error {
	d, m := z.Cols, z.Rows
	if g.n == 0 {
		g.h = h
		g.z, g.y = g.z[:0], g.y[:0]
		g.chol.reset()
		if len(g.shift) != d {
			g.shift = make([]float64, d)
		}
		columnMeans(g.shift, z)
	}
	g.ws.Reset()
	x := g.centred(z, g.shift)
	cross := g.ws.Get(m, g.n)
	if g.n > 0 {
		g.kernel(cross, x, nn.Matrix{Rows: g.n, Cols: d, Stride: d, Data: g.z}, g.h)
	}
	own := g.ws.Get(m, m)
	g.ownKernel(own, own, x, g.h)
	if err := g.chol.extend(cross, own, g.h.Noise); err != nil {
		return err
	}
	for i := range m {
		g.z = append(g.z, x.Row(i)...)
	}
	g.y = append(g.y, y...)
	g.n += m
	g.alpha = g.alpha[:0]
	for _, v := range g.y {
		g.alpha = append(g.alpha, v-g.h.Mean)
	}
	g.chol.solve(g.alpha)
	return nil
}

// predictBlock is how many candidates are handled at a time, to bound memory.
const predictBlock = 256

// predict writes the posterior at z, the mean only if std is nil.
func (g *gaussianProcess) predict(mean, std []float64, z nn.Matrix, noise bool) {
	d := z.Cols
	for lo := 0; lo < z.Rows; lo += predictBlock {
		hi := min(lo+predictBlock, z.Rows)
		g.ws.Reset()
		x := g.centred(nn.Matrix{Rows: hi - lo, Cols: d, Stride: z.Stride, Data: z.Data[lo*z.Stride:]}, g.shift)
		// Candidates in columns, so that the triangular solve works on rows
		// of many numbers.
		c := g.ws.Get(g.n, hi-lo)
		g.kernel(c, nn.Matrix{Rows: g.n, Cols: d, Stride: d, Data: g.z}, x, g.h)
		mu := mean[lo:hi]
		for j := range mu {
			mu[j] = g.h.Mean
		}
		for i, a := range g.alpha {
			for j, k := range c.Row(i) {
				mu[j] += float64(a * k)
			}
		}
		if std == nil {
			continue
		}
		v := std[lo:hi]
		for j := range v {
			v[j] = g.h.OutputScale
			if noise {
				v[j] += g.h.Noise
			}
		}
		g.chol.halfSolve(c)
		for i := range g.n {
			for j, k := range c.Row(i) {
				v[j] -= float64(k * k)
			}
		}
		for j := range v {
			v[j] = math.Sqrt(max(0, v[j]))
		}
	}
}
