package baselines

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"quicktune/internal/gp"
	"quicktune/internal/nn"
	"quicktune/internal/stream"
	"quicktune/search"
)

// DyHPO trains, one epoch at a time, the candidate whose next epoch has the
// largest expected improvement over the best score at that epoch, according to a
// Gaussian process whose kernel is a network that reads the configuration, the
// epoch and the curve so far. It learns from the data set at hand alone.
//
// Source: Wistuba, Kadra and Grabocka: Supervising the Multi-Fidelity Race of
// Hyperparameter Configurations, NeurIPS 2022, with the network, the schedule
// and the defaults of its public implementation (hpo_method.py,
// surrogate_models/dyhpo.py). Different from it are:
//
//   - The implementation counts the epochs of what it learns from 0, and those
//     of its candidates from 1, and it withholds a candidate's latest score.
//     Here both are rows as in the paper: the epoch, and all scores before it.
//   - A trial that ended is not proposed again, nor one that is being trained;
//     an epoch without a number is not learned from.
//   - The time of a decision is bounded, see ExactRows.
//   - Unbounded scores are mapped to about [0, 1] anew at each fit.
type DyHPO struct {
	// InitialFits is the number of fits that start from new random weights;
	// 0 means 10.
	InitialFits int
	// RestartSteps and RefineSteps are Adam's steps in a fit that starts
	// anew and in one that goes on from the weights of the one before; 0
	// means 1000 and 50.
	RestartSteps, RefineSteps int
	// LearningRate is Adam's; 0 means 1e-3.
	LearningRate float64
	// The public implementation fits to all epochs after every epoch, in time
	// that grows with their third power. Here it does so up to ExactRows
	// epochs. After that a new epoch is added to the process, but the weights
	// are fitted again only when its rows have grown by RefitGrowth, to at
	// most MaxRows epochs: the last one of every curve, and the latest others.
	// 0 means 40, 0.15 and 200. Large numbers give the published schedule.
	ExactRows   int
	RefitGrowth float64
	MaxRows     int
}

// The shape of DyHPO's network.
const (
	dyhpoHidden   = 64
	dyhpoFeatures = 128
	dyhpoChannels = 4
	dyhpoKernel   = 3
	dyhpoSlope    = 0.01 // of the leaky rectifiers
	dyhpoNoise    = 1e-4 // lower bound of the noise variance
)

// NewDyHPO returns the optimiser of s, or an error if a setting is out of its
// range or the candidates are of no space.
func NewDyHPO(p search.Problem, s DyHPO) (search.Optimizer, error) {
	s.InitialFits = cmp.Or(s.InitialFits, 10)
	s.RestartSteps = cmp.Or(s.RestartSteps, 1000)
	s.RefineSteps = cmp.Or(s.RefineSteps, 50)
	s.LearningRate = cmp.Or(s.LearningRate, 1e-3)
	s.ExactRows = cmp.Or(s.ExactRows, 40)
	s.RefitGrowth = cmp.Or(s.RefitGrowth, 0.15)
	s.MaxRows = cmp.Or(s.MaxRows, 200)
	if err := cmp.Or(
		checkRange("initial-fits", s.InitialFits, 1, math.MaxInt),
		checkRange("restart-steps", s.RestartSteps, 1, math.MaxInt),
		checkRange("refine-steps", s.RefineSteps, 1, math.MaxInt),
		checkRange("exact-rows", s.ExactRows, 1, math.MaxInt),
		checkRange("max-rows", s.MaxRows, 2, math.MaxInt),
	); err != nil {
		return nil, err
	}
	if !(s.LearningRate > 0) || !(s.RefitGrowth > 0) {
		return nil, fmt.Errorf("learning rate %v and refit growth %v; both must be positive", s.LearningRate, s.RefitGrowth)
	}
	x, err := unitVectors(p)
	if err != nil {
		return nil, err
	}
	d := &dyhpo{
		curveBook: newCurveBook(p), settings: s, metric: p.Metric, x: x,
		random: stream.New("baselines/dyhpo/first", p.Seed), weights: stream.New("baselines/dyhpo/weights", p.Seed),
		bestAt: make([]float64, p.MaxEpochs+1), restart: true,
	}
	for e := range d.bestAt {
		d.bestAt[e] = worst
	}
	d.surrogate.init(x.Cols, d.weights)
	return d, nil
}

// dyhpo is the optimiser of DyHPO.
type dyhpo struct {
	curveBook
	settings        DyHPO
	metric          search.Metric
	x               nn.Matrix // inputs of the candidates
	random, weights *rand.Rand
	surrogate       dyhpoSurrogate
	scale           scoreScale

	history []epochRow // epochs that gave a score
	learned int        // of the history
	fitted  int        // rows of the last fit
	fits    int
	restart bool // the next fit starts from new weights
	stale   int  // epochs since the best score
	bestAt  []float64

	pool      []int
	rows      dyhpoBatch
	targets   []float64
	mean, std []float64
}

// epochRow names one finished epoch of a candidate.
type epochRow struct{ candidate, epoch int }

func (d *dyhpo) Ask() (search.Proposal, search.Status) {
	if len(d.history) == 0 {
		if d.pool = d.untried(d.pool[:0]); len(d.pool) > 0 {
			return d.propose(d.pool[d.random.IntN(len(d.pool))], 1), search.Ready
		}
	}
	if d.pool = d.open(d.pool[:0]); len(d.pool) == 0 {
		return d.idle()
	}
	c := d.pool[0]
	if len(d.history) > 0 {
		d.learn()
		c = d.choose()
	}
	return d.propose(c, len(d.curves[c].scores)+1), search.Ready
}

func (d *dyhpo) Tell(r search.Report) {
	best := d.best
	known := len(d.curves[r.Candidate].scores)
	if scored, _ := d.tell(r); scored {
		d.history = append(d.history, epochRow{r.Candidate, r.Epoch})
		d.bestAt[r.Epoch] = max(d.bestAt[r.Epoch], r.Score)
	}
	if r.Epoch == known {
		return
	}
	if d.stale++; d.best > best {
		d.stale = 0
	}
	// An equality, so that it happens once in a row of epochs without a better
	// score.
	if d.stale == d.maxEpochs+d.maxEpochs/5 {
		d.restart = true
	}
}

// learn takes the new epochs of the history in.
func (d *dyhpo) learn() {
	if d.learned == len(d.history) {
		return
	}
	var err error
	if n := d.surrogate.gp.Len() + len(d.history) - d.learned; d.surrogate.gp.Len() == 0 || d.restart ||
		len(d.history) <= d.settings.ExactRows || float64(n) >= float64(d.fitted)*(1+d.settings.RefitGrowth) {
		err = d.fit()
	} else {
		d.collect(d.history[d.learned:])
		err = d.surrogate.extend(&d.rows, d.targets)
	}
	d.learned = len(d.history)
	if err != nil {
		// As in the public implementation, the next fit starts anew.
		d.restart = true
		d.surrogate.gp.Reset()
	}
}

// fit fits the weights and conditions the process.
func (d *dyhpo) fit() error {
	known := d.chooseRows()
	scores := make([]float64, len(known))
	for i, o := range known {
		scores[i] = d.curves[o.candidate].scores[o.epoch-1]
	}
	d.scale = newScoreScale(d.metric, scores)
	d.collect(known)
	d.fitted = len(known)
	d.fits++
	steps := d.settings.RefineSteps
	if d.restart {
		d.surrogate.init(d.x.Cols, d.weights)
		steps = d.settings.RestartSteps
		d.restart = d.fits < d.settings.InitialFits
	}
	// Batch normalisation needs two rows.
	if d.rows.n > 1 {
		if err := d.surrogate.train(&d.rows, d.targets, steps, d.settings.LearningRate); err != nil {
			return err
		}
	}
	d.surrogate.gp.Reset()
	return d.surrogate.extend(&d.rows, d.targets)
}

// chooseRows returns the epochs to fit to, oldest first.
func (d *dyhpo) chooseRows() []epochRow {
	most := d.settings.MaxRows
	if len(d.history) <= most {
		return d.history
	}
	var rows []epochRow
	for _, last := range []bool{true, false} {
		for i := len(d.history) - 1; i >= 0 && len(rows) < most; i-- {
			o := d.history[i]
			if (o.epoch == len(d.curves[o.candidate].scores)) == last {
				rows = append(rows, o)
			}
		}
	}
	slices.Reverse(rows)
	return rows
}

// collect makes rows of the given epochs.
func (d *dyhpo) collect(known []epochRow) {
	d.rows.reset()
	d.targets = d.targets[:0]
	for _, o := range known {
		d.append(o.candidate, o.epoch)
		d.targets = append(d.targets, d.scale.apply(d.curves[o.candidate].scores[o.epoch-1]))
	}
}

func (d *dyhpo) append(candidate, epoch int) {
	curve := d.rows.append(d.x.Row(candidate), float64(epoch)/float64(d.maxEpochs), epoch-1)
	for i, s := range d.curves[candidate].scores[:epoch-1] {
		curve[i] = 0
		if finite(s) {
			curve[i] = d.scale.apply(s)
		}
	}
}

// choose maximises the expected improvement over the pool; the first of equals
// wins. Where the process has no answer the choice is random.
func (d *dyhpo) choose() int {
	d.rows.reset()
	for _, c := range d.pool {
		d.append(c, len(d.curves[c].scores)+1)
	}
	d.mean, d.std = slices.Grow(d.mean[:0], len(d.pool))[:len(d.pool)], slices.Grow(d.std[:0], len(d.pool))[:len(d.pool)]
	if !d.surrogate.predict(d.mean, d.std, &d.rows) {
		return d.pool[d.random.IntN(len(d.pool))]
	}
	choice, most := d.pool[0], math.Inf(-1)
	for i, c := range d.pool {
		best := d.bestAt[len(d.curves[c].scores)+1]
		if best == worst {
			best = d.best
		}
		if v := ExpectedImprovement(d.mean[i], d.std[i], d.scale.apply(best)); v > most {
			choice, most = c, v
		}
	}
	return choice
}

// dyhpoBatch is a list of rows in the layout of the network. The curve of row i
// is curves[at[i]:at[i+1]].
type dyhpoBatch struct {
	n       int
	inputs  []float64 // configuration and budget, n rows
	curves  []float64
	at      []int
	longest int
}

func (b *dyhpoBatch) reset() {
	b.n, b.longest = 0, 0
	b.inputs, b.curves, b.at = b.inputs[:0], b.curves[:0], append(b.at[:0], 0)
}

// append adds a row and returns its curve, of the given length, to be filled.
func (b *dyhpoBatch) append(x []float64, budget float64, length int) []float64 {
	b.n++
	b.inputs = append(append(b.inputs, x...), budget)
	from := len(b.curves)
	b.curves = append(b.curves, make([]float64, length)...)
	b.at = append(b.at, len(b.curves))
	b.longest = max(b.longest, length)
	return b.curves[from:]
}

// dyhpoSurrogate is DyHPO's deep kernel: Linear(d+1, 64), batch normalisation,
// leaky rectifier; beside that the curve, padded with zeros to the longest of the
// batch, through a convolution of 4 channels and width 3 without padding, of
// which the largest value of each channel is taken; Linear(68, 128) and a leaky
// rectifier of both.
type dyhpoSurrogate struct {
	params   nn.Params
	fc1, fc2 *nn.Linear
	norm     batchNorm
	cw, cb   *nn.Tensor // weights [4, 1, 3] and biases of the convolution

	raw    gp.Raw
	gp     gp.Process
	adam   nn.Adam
	ws     nn.Workspace
	joined nn.Matrix // [n, 64+4], after the first rectifier
	out    nn.Matrix // [n, 128]
	peak   []int     // of each row and channel, in batch.curves; -1: in the padding
}

// init draws torch's initial weights.
func (s *dyhpoSurrogate) init(inputs int, rng *rand.Rand) {
	s.params = nn.Params{}
	p := &s.params
	s.fc1 = nn.NewLinear(p, "fc1", inputs+1, dyhpoHidden)
	s.fc2 = nn.NewLinear(p, "fc2", dyhpoHidden+dyhpoChannels, dyhpoFeatures)
	s.cw, s.cb = p.Add("cnn.0.weight", dyhpoChannels, 1, dyhpoKernel), p.Add("cnn.0.bias", dyhpoChannels)
	layers := len(p.Tensors)
	s.norm = newBatchNorm(p, "bn1", dyhpoHidden)
	s.raw = gp.Raw{
		Noise: p.Add("raw_noise", 1), Mean: p.Add("raw_constant"),
		OutputScale: p.Add("raw_outputscale"), LengthScale: p.Add("raw_lengthscale", 1, 1),
		NoiseFloor: dyhpoNoise,
	}
	p.Pack()
	nn.Init(p.Tensors[:layers], rng)
	s.norm.init()
	s.adam.Reset()
	s.gp.Reset()
}

// forward returns the features of a batch, valid until the next call.
func (s *dyhpoSurrogate) forward(b *dyhpoBatch, training bool) nn.Matrix {
	s.ws.Reset()
	s.joined = s.ws.Get(b.n, dyhpoHidden+dyhpoChannels)
	left := s.joined.Slice(0, dyhpoHidden)
	s.fc1.Forward(left, nn.Matrix{Rows: b.n, Cols: s.fc1.In, Stride: s.fc1.In, Data: b.inputs})
	s.norm.forward(left, training, &s.ws)
	nn.LeakyReLU(left, dyhpoSlope)
	s.convolve(b)
	s.out = s.ws.Get(b.n, dyhpoFeatures)
	s.fc2.Forward(s.out, s.joined)
	nn.LeakyReLU(s.out, dyhpoSlope)
	return s.out
}

// convolve writes the largest value of each channel over all windows of the
// padded curve.
func (s *dyhpoSurrogate) convolve(b *dyhpoBatch) {
	windows := max(b.longest, dyhpoKernel) - dyhpoKernel + 1
	s.peak = slices.Grow(s.peak[:0], b.n*dyhpoChannels)[:b.n*dyhpoChannels]
	for i := range b.n {
		curve := b.curves[b.at[i]:b.at[i+1]]
		top := s.joined.Row(i)[dyhpoHidden:]
		for ch := range dyhpoChannels {
			w := s.cw.Value[ch*dyhpoKernel : (ch+1)*dyhpoKernel]
			best, at := math.Inf(-1), -1
			for j := range min(windows, len(curve)) {
				v := 0.0
				for k := range min(dyhpoKernel, len(curve)-j) {
					v += float64(w[k] * curve[j+k])
				}
				if v > best {
					best, at = v, b.at[i]+j
				}
			}
			if len(curve) < windows && !(best > 0) {
				best, at = 0, -1
			}
			top[ch], s.peak[i*dyhpoChannels+ch] = best+s.cb.Value[ch], at
		}
	}
}

// backward adds the gradients of the weights, given that of the features.
func (s *dyhpoSurrogate) backward(b *dyhpoBatch, dout nn.Matrix) {
	nn.LeakyReLUBackward(dout, s.out, dyhpoSlope)
	djoined := s.ws.Get(b.n, s.joined.Cols)
	s.fc2.Backward(djoined, dout)
	for i := range b.n {
		for ch, g := range djoined.Row(i)[dyhpoHidden:] {
			s.cb.Grad[ch] += g
			at := s.peak[i*dyhpoChannels+ch]
			if at < 0 {
				continue
			}
			window := b.curves[at:min(at+dyhpoKernel, b.at[i+1])]
			for k, v := range window {
				s.cw.Grad[ch*dyhpoKernel+k] += float64(g * v)
			}
		}
	}
	left := djoined.Slice(0, dyhpoHidden)
	nn.LeakyReLUBackward(left, s.joined.Slice(0, dyhpoHidden), dyhpoSlope)
	s.norm.backward(left)
	s.fc1.Backward(nn.Matrix{}, left)
}

// loss is the negative log marginal likelihood of the targets divided by their
// number. Its gradient is left in the parameters.
func (s *dyhpoSurrogate) loss(b *dyhpoBatch, y []float64) (float64, error) {
	z := s.forward(b, true)
	dz := s.ws.Get(z.Rows, z.Cols)
	v, dh, err := s.gp.Marginal(dz, z, y, s.raw.Hyperparameters())
	if err != nil {
		return 0, err
	}
	s.params.ZeroGrad()
	s.raw.SetGradient(dh)
	s.backward(b, dz)
	if !nn.Finite(s.params.Grad) {
		return 0, gp.ErrNotFinite
	}
	return v, nil
}

// train takes Adam's steps on the likelihood of all rows, with fresh moments. On
// an error the weights are those from before.
func (s *dyhpoSurrogate) train(b *dyhpoBatch, y []float64, steps int, rate float64) error {
	before, norm := slices.Clone(s.params.Value), s.norm.clone()
	s.adam.Reset()
	for range steps {
		if _, err := s.loss(b, y); err != nil {
			copy(s.params.Value, before)
			s.norm.restore(norm)
			return err
		}
		s.adam.Step(s.params.Value, s.params.Grad, rate)
	}
	return nil
}

// extend conditions the process on further rows.
func (s *dyhpoSurrogate) extend(b *dyhpoBatch, y []float64) error {
	return s.gp.Extend(s.forward(b, false), y, s.raw.Hyperparameters())
}

// predict writes the posterior mean and the deviation of an observation, and
// reports whether they are numbers.
func (s *dyhpoSurrogate) predict(mean, std []float64, b *dyhpoBatch) bool {
	if s.gp.Len() == 0 {
		return false
	}
	s.gp.Predict(mean, std, s.forward(b, false), true)
	return nn.Finite(mean) && nn.Finite(std)
}

// batchNorm normalises columns: Ioffe and Szegedy, Batch Normalization, ICML
// 2015, with torch's constants.
type batchNorm struct {
	gain, shift *nn.Tensor
	mean, vari  []float64 // running, for predictions

	normal nn.Matrix // normalised batch
	scale  []float64 // 1/deviation of the columns of the batch
}

const (
	batchNormEpsilon  = 1e-5
	batchNormMomentum = 0.1
)

func newBatchNorm(p *nn.Params, name string, columns int) batchNorm {
	return batchNorm{
		gain: p.Add(name+".weight", columns), shift: p.Add(name+".bias", columns),
		mean: make([]float64, columns), vari: make([]float64, columns),
	}
}

func (l *batchNorm) init() {
	for j := range l.mean {
		l.gain.Value[j], l.shift.Value[j] = 1, 0
		l.mean[j], l.vari[j] = 0, 1
	}
}

func (l *batchNorm) clone() [2][]float64 {
	return [2][]float64{slices.Clone(l.mean), slices.Clone(l.vari)}
}

func (l *batchNorm) restore(from [2][]float64) {
	copy(l.mean, from[0])
	copy(l.vari, from[1])
}

// forward normalises x in place, by the batch, which needs two rows, if
// training and by the running moments if not.
func (l *batchNorm) forward(x nn.Matrix, training bool, ws *nn.Workspace) {
	mean, vari := l.mean, l.vari
	if training {
		n := float64(x.Rows)
		mean, vari = ws.Vec(x.Cols), ws.Vec(x.Cols)
		clear(mean)
		clear(vari)
		for i := range x.Rows {
			for j, v := range x.Row(i) {
				mean[j] += v / n
			}
		}
		for i := range x.Rows {
			for j, v := range x.Row(i) {
				vari[j] += float64((v - mean[j]) * (v - mean[j]) / n)
			}
		}
		for j := range mean {
			l.mean[j] += batchNormMomentum * (mean[j] - l.mean[j])
			l.vari[j] += batchNormMomentum * (vari[j]*n/(n-1) - l.vari[j])
		}
	}
	l.scale, l.normal = ws.Vec(x.Cols), ws.Get(x.Rows, x.Cols)
	for j, v := range vari {
		l.scale[j] = 1 / math.Sqrt(v+batchNormEpsilon)
	}
	for i := range x.Rows {
		r, nr := x.Row(i), l.normal.Row(i)
		for j, v := range r {
			nr[j] = (v - mean[j]) * l.scale[j]
			r[j] = float64(l.gain.Value[j]*nr[j]) + l.shift.Value[j]
		}
	}
}

// backward turns the gradient of the output of the last training pass into that
// of the input, in place, and adds those of the parameters.
func (l *batchNorm) backward(dy nn.Matrix) {
	n := float64(dy.Rows)
	sum, along := make([]float64, dy.Cols), make([]float64, dy.Cols)
	for i := range dy.Rows {
		nr := l.normal.Row(i)
		for j, g := range dy.Row(i) {
			sum[j] += g
			along[j] += float64(g * nr[j])
		}
	}
	for j := range sum {
		l.shift.Grad[j] += sum[j]
		l.gain.Grad[j] += along[j]
		sum[j] /= n
		along[j] /= n
	}
	for i := range dy.Rows {
		r, nr := dy.Row(i), l.normal.Row(i)
		for j, g := range r {
			r[j] = l.gain.Value[j] * l.scale[j] * (g - sum[j] - float64(nr[j]*along[j]))
		}
	}
}

func dyhpoMethod() definition {
	s := new(DyHPO)
	return definition{
		method: search.Method{
			Name:   "dyhpo",
			Title:  "DyHPO",
			Source: "Wistuba, Kadra and Grabocka, NeurIPS 2022, and its public implementation",
			Uses:   search.Uses{Fidelity: true},
		},
		settings: []Setting{
			intSetting(&s.InitialFits, "initial-fits", 10, 1, 1<<30, "fits from new random weights"),
			intSetting(&s.RestartSteps, "restart-steps", 1000, 1, 1<<30, "steps of a fit from new weights"),
			intSetting(&s.RefineSteps, "refine-steps", 50, 1, 1<<30, "steps of a fit that goes on"),
			floatSetting(&s.LearningRate, "learning-rate", 1e-3, 1e-9, 10, "of Adam"),
			intSetting(&s.ExactRows, "exact-rows", 40, 1, 1<<30, "epochs up to which every one is fitted to"),
			floatSetting(&s.RefitGrowth, "refit-growth", 0.15, 1e-9, 1e9, "growth of the rows after which they are fitted to beyond that"),
			intSetting(&s.MaxRows, "max-rows", 200, 2, 1<<30, "epochs that are fitted to at most"),
		},
		details: func() string {
			return fmt.Sprintf("%d fits of %d steps, then %d steps, learning rate %g; beyond %d epochs a fit a growth of %g, to at most %d",
				s.InitialFits, s.RestartSteps, s.RefineSteps, s.LearningRate, s.ExactRows, s.RefitGrowth, s.MaxRows)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewDyHPO(p, settings) }
		},
	}
}
