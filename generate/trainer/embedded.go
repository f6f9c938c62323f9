package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"quicktune/internal/nn/layers"
	"quicktune/internal/nn/vec"
	"quicktune/internal/stream"
	"quicktune/internal/vision"
	"quicktune/metadataset"
)

// Embedded trains the networks of the embedded hub on one core, in float32 and
// bit for bit the same for a seed, whether interrupted or not.
//
// An epoch goes once through the training images in a new order. Blocks, counted
// from the input as i of L, are frozen unless i/L > pct_to_freeze: their weights
// and their running statistics stay as they are. The head is new and always
// trained. Learning rates follow timm: sgd means Nesterov's with momentum 0.9,
// weight decay spares vectors, layer_decay multiplies the rate once a block from
// the head down.
type Embedded struct {
	// Images finds a data set by its name. It is called for each request, so it
	// should keep what it loaded.
	Images func(name string) (*Images, error)
	// Weights finds the pretrained weights of a network.
	Weights func(model string) (*vision.Weights, error)
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Images are normalised with one mean and deviation, whatever the data set.
const (
	pixelMean = 0.5
	pixelStd  = 0.25
)

var normalized = func() (t [256]float32) {
	for i := range t {
		t[i] = float32((float64(i)/255 - pixelMean) / pixelStd)
	}
	return t
}()

// Normalize writes the values that networks are given for pixels to as many
// elements of to.
func Normalize(to []float32, pixels []uint8) {
	for i, v := range pixels {
		to[i] = normalized[v]
	}
}

// checkpointEvery is how long training goes on before the next checkpoint.
const checkpointEvery = 2 * time.Second

// evalBatch is the number of images evaluated at a time.
const evalBatch = 64

// Train implements [Trainer].
func (e *Embedded) Train(ctx context.Context, r Request, emit func(Record) error) (End, error) {
	if err := r.check(); err != nil {
		return End{}, err
	}
	end := func(why metadataset.End, reason string) (End, error) {
		return End{Trial: r.Trial, End: why, Reason: reason}, nil
	}
	fail := func(err error) (End, error) { return End{}, fmt.Errorf("trial %s: %w", r.Trial, err) }
	images, err := e.Images(r.Dataset)
	if err != nil {
		return fail(err)
	}
	if err := images.check(); err != nil {
		return fail(err)
	}
	spec, err := vision.Lookup(r.Model)
	if err != nil {
		return fail(err)
	}
	weights, err := e.Weights(r.Model)
	if err != nil {
		return fail(err)
	}
	s, err := parse(spec, r.Config, r.Epochs)
	if err != nil {
		return end(metadataset.EndFailed, err.Error())
	}
	t, err := newTrial(s, images, weights, r.Seed)
	if err != nil {
		return fail(err)
	}
	identity, err := r.identity()
	if err != nil {
		return fail(err)
	}
	var state checkpointHeader
	if r.Checkpoint != "" {
		if err := os.MkdirAll(r.Checkpoint, 0o755); err != nil {
			return fail(err)
		}
		state, err = readCheckpoint(r.Checkpoint, identity, t.arrays())
		if err != nil && !errors.Is(err, errNoCheckpoint) {
			return fail(err)
		}
		if err != nil {
			state = checkpointHeader{}
		}
	}
	state.Request = identity
	t.opt.steps = state.Steps
	t.schedule.best, t.schedule.bad, t.schedule.cuts = state.Best, state.Bad, state.Cuts
	now := e.Now
	if now == nil {
		now = time.Now
	}
	spent := 0.0
	until := r.Until
	if until == 0 {
		until = r.Epochs
	}
	for _, rec := range state.Records {
		spent += rec.TrainSeconds + rec.EvalSeconds
		if r.CurveCap > 0 && spent >= r.CurveCap && rec.Epoch > 1 {
			return end(metadataset.EndTimeCapped, "")
		}
		if rec.Epoch > until {
			return end(metadataset.EndCompleted, "")
		}
		rec.Trial = r.Trial
		if err := emit(rec); err != nil {
			return End{}, err
		}
	}
	saved := now()
	for epoch := state.Epoch + 1; epoch <= until; epoch++ {
		if r.CurveCap > 0 && spent >= r.CurveCap {
			return end(metadataset.EndTimeCapped, "")
		}
		start := now()
		rate := t.schedule.at(epoch)
		loss, err := t.epoch(ctx, epoch, rate)
		if err != nil {
			return fail(err)
		}
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return end(metadataset.EndDiverged, fmt.Sprintf("the training loss of epoch %d is not finite", epoch))
		}
		middle := now()
		valLoss, valAccuracy, err := t.evaluate(ctx, images.Validation)
		if err != nil {
			return fail(err)
		}
		_, testAccuracy, err := t.evaluate(ctx, images.Test)
		if err != nil {
			return fail(err)
		}
		if math.IsNaN(valLoss) || math.IsInf(valLoss, 0) {
			return end(metadataset.EndDiverged, fmt.Sprintf("the validation loss of epoch %d is not finite", epoch))
		}
		stop := now()
		t.schedule.tell(valAccuracy)
		rec := Record{
			Trial: r.Trial, Epoch: epoch, TrainLoss: loss, ValLoss: valLoss, ValAccuracy: valAccuracy, TestAccuracy: testAccuracy,
			LearningRate: rate, TrainSeconds: middle.Sub(start).Seconds(), EvalSeconds: stop.Sub(middle).Seconds(),
		}
		spent += rec.TrainSeconds + rec.EvalSeconds
		if r.CurveCap > 0 && spent >= r.CurveCap && epoch > 1 {
			return end(metadataset.EndTimeCapped, "")
		}
		state.Records = append(state.Records, rec)
		if r.Checkpoint != "" && (epoch == until || stop.Sub(saved) >= checkpointEvery) {
			state.Epoch, state.Steps = epoch, t.opt.steps
			state.Best, state.Bad, state.Cuts = t.schedule.best, t.schedule.bad, t.schedule.cuts
			if err := writeCheckpoint(r.Checkpoint, state, t.arrays()); err != nil {
				return fail(err)
			}
			saved = stop
		}
		if err := emit(rec); err != nil {
			return End{}, err
		}
	}
	return end(metadataset.EndCompleted, "")
}

// check refuses a data set that no network can be trained on.
func (d *Images) check() error {
	if d.Classes < 2 {
		return fmt.Errorf("data set %s has %d classes: at least 2 are needed", d.Name, d.Classes)
	}
	for _, p := range []struct {
		name string
		s    Split
	}{{"training", d.Train}, {"validation", d.Validation}, {"test", d.Test}} {
		if p.s.Len() == 0 {
			return fmt.Errorf("data set %s has no %s images", d.Name, p.name)
		}
		if len(p.s.Pixels) != p.s.Len()*Pixels {
			return fmt.Errorf("data set %s: %d %s images have %d bytes instead of %d", d.Name, p.s.Len(), p.name, len(p.s.Pixels), p.s.Len()*Pixels)
		}
		for i, y := range p.s.Labels {
			if y < 0 || y >= d.Classes {
				return fmt.Errorf("data set %s: the label %d of %s image %d is not one of %d classes", d.Name, y, p.name, i, d.Classes)
			}
		}
	}
	return nil
}

// trial is the state of one training run.
type trial struct {
	settings
	images *Images
	seed   uint64

	net   *vision.Network[float32]
	first int // block from which on blocks are trained
	opt   *optimizer
	ctx   layers.Context[float32]

	// The body as pretrained, for DELTA, and a copy of the trained weights'
	// beginnings, for L2-SP.
	pretrained *vision.Network[float32]
	frozen     layers.Context[float32]
	start      [][]float32

	// The head of the source with the relationship of classes, for co-tuning.
	sourceHead    *layers.Linear[float32]
	relation      relationship
	sourceTargets []float32

	augment augmenter
	input   []float32
	targets []float32
	pixels  [Pixels]uint8
	order   []int
}

// newTrial puts a trial at its beginning.
func newTrial(s settings, images *Images, weights *vision.Weights, seed uint64) (*trial, error) {
	t := &trial{settings: s, images: images, seed: seed}
	var err error
	if t.net, err = vision.New[float32](weights.Model, images.Classes); err != nil {
		return nil, err
	}
	t.net.Init(seed)
	if err := t.net.SetBody(weights); err != nil {
		return nil, err
	}
	t.net.Drop.P = s.drop
	blocks := len(t.net.Blocks)
	t.first = blocks
	for i := blocks; i >= 1 && float64(i)/float64(blocks) > s.freeze; i-- {
		t.first = i - 1
	}
	o := s.optimizer
	t.opt = &o
	for i, b := range t.net.Blocks {
		layers.Visit(b.Layer, func(l layers.Layer[float32]) {
			if n, ok := l.(*layers.BatchNorm[float32]); ok {
				n.Frozen = i < t.first
				if s.stochNorm && !n.Frozen {
					n.Stochastic = stochasticNorm
				}
			}
		})
		if i < t.first {
			continue
		}
		for _, p := range b.Layer.Params() {
			if !p.Fixed {
				t.opt.add(p, math.Pow(s.layerDecay, float64(blocks-i)))
				t.start = append(t.start, append([]float32(nil), p.Value...))
			}
		}
	}
	for _, p := range t.net.Head.Params() {
		t.opt.add(p, 1)
	}
	if t.first == blocks {
		return t, nil // nothing below acts on a head alone
	}
	if s.delta > 0 {
		if t.pretrained, err = vision.New[float32](weights.Model, 1); err != nil {
			return nil, err
		}
		if err := t.pretrained.SetBody(weights); err != nil {
			return nil, err
		}
	}
	if s.cotuning > 0 {
		source, err := vision.New[float32](weights.Model, weights.Classes)
		if err != nil {
			return nil, err
		}
		if err := source.SetHead(weights); err != nil {
			return nil, err
		}
		t.sourceHead = source.Head
		for _, p := range t.sourceHead.Params() {
			t.opt.add(p, 1)
		}
		t.relation = t.relate()
	}
	return t, nil
}

// relate estimates the relationship of classes with the pretrained network, on
// the training images as they are.
func (t *trial) relate() relationship {
	d := t.images.Train
	source := t.sourceHead.Out
	p := make([]float32, d.Len()*source)
	for i := 0; i < d.Len(); i += evalBatch {
		n := min(evalBatch, d.Len()-i)
		logits := t.sourceHead.Forward(&t.ctx, t.net.Body(&t.ctx, t.plain(d, i, n)))
		copy(p[i*source:], logits.Data)
	}
	vec.Softmax(p, d.Len())
	return newRelationship(p, d.Labels, t.images.Classes)
}

// arrays lists everything that a checkpoint holds.
func (t *trial) arrays() [][]float32 {
	var out [][]float32
	for _, p := range t.net.Params() {
		out = append(out, p.Value)
	}
	if t.sourceHead != nil {
		for _, p := range t.sourceHead.Params() {
			out = append(out, p.Value)
		}
	}
	for _, s := range t.opt.slots {
		out = append(out, s.m)
		if s.v != nil {
			out = append(out, s.v)
		}
	}
	return out
}

func batch(data []float32, n int) layers.Batch[float32] {
	return layers.Batch[float32]{N: n, H: Side, W: Side, C: Channels, Data: data[:n*Pixels]}
}

func extend(s *[]float32, n int) []float32 {
	if cap(*s) < n {
		*s = make([]float32, n)
	}
	return (*s)[:n]
}

// plain returns images i to i+n of a split, normalised.
func (t *trial) plain(d Split, i, n int) layers.Batch[float32] {
	x := extend(&t.input, n*Pixels)
	Normalize(x, d.Pixels[i*Pixels:(i+n)*Pixels])
	return batch(x, n)
}

// augmented returns training images, changed at random.
func (t *trial) augmented(which []int) layers.Batch[float32] {
	x := extend(&t.input, len(which)*Pixels)
	for k, i := range which {
		copy(t.pixels[:], t.images.Train.Pixels[i*Pixels:])
		t.augment.image = t.pixels[:]
		t.augment.base(t.images.Symmetric)
		switch t.augmentation {
		case "trivial_augment":
			t.augment.trivial()
		case "random_augment":
			t.augment.random(t.raOperations, t.raMagnitude)
		case "auto_augment":
			t.augment.auto(t.policy)
		}
		Normalize(x[k*Pixels:], t.pixels[:])
	}
	return batch(x, len(which))
}

// epoch trains once on every training image and returns the mean loss.
func (t *trial) epoch(ctx context.Context, epoch int, rate float64) (float64, error) {
	rng := func(purpose string) *rand.Rand { return stream.New("trainer/"+purpose, t.seed, uint64(epoch)) }
	n := t.images.Train.Len()
	t.order = t.order[:0]
	for i := range n {
		t.order = append(t.order, i)
	}
	rng("order").Shuffle(n, func(i, j int) { t.order[i], t.order[j] = t.order[j], t.order[i] })
	t.augment.rng = rng("augmentation")
	mixer := rng("mixing")
	t.ctx.Rng = rng("network")
	total := 0.0
	for i := 0; i < n; i += t.batch {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		which := t.order[i:min(i+t.batch, n)]
		loss := t.step(which, mixer, rate)
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return loss, nil
		}
		total += loss * float64(len(which))
	}
	return total / float64(n), nil
}

// step trains on one batch and returns its loss.
func (t *trial) step(which []int, mixer *rand.Rand, rate float64) float64 {
	loss := t.gradient(which, mixer)
	if t.clip > 0 {
		t.opt.clip(t.clip)
	}
	t.opt.step(rate)
	for _, s := range t.opt.slots {
		clear(s.Grad)
	}
	return loss
}

// gradient returns the loss of a batch and adds its gradient to the parameters.
func (t *trial) gradient(which []int, mixer *rand.Rand) float64 {
	n, classes := len(which), t.images.Classes
	x := t.augmented(which)
	targets := extend(&t.targets, n*classes)
	clear(targets)
	for k, i := range which {
		row := targets[k*classes : (k+1)*classes]
		for j := range row {
			row[j] = float32(t.smoothing / float64(classes))
		}
		row[t.images.Train.Labels[i]] += float32(1 - t.smoothing)
	}
	t.mixing.mix(mixer, x.Data, targets, n)

	c := &t.ctx
	body := t.first < len(t.net.Blocks)
	c.Train = true
	features := t.net.Body(c, x)
	logits := t.net.Classify(c, features)
	g := lend(c, logits)
	loss := layers.CrossEntropy(g.Data, targets, n, 1)
	df := t.net.ClassifyBack(c, g, body)
	if body {
		loss += t.regularizeFeatures(x, features, df, targets)
		t.net.BodyBack(c, df, t.first)
		if t.sp > 0 {
			for i, start := range t.start {
				p := t.opt.slots[i]
				loss += l2sp(t.sp, p.Value, start, p.Grad)
			}
		}
	}
	return loss
}

// lend copies a batch into one that a backward pass may consume.
func lend(c *layers.Context[float32], x layers.Batch[float32]) layers.Batch[float32] {
	g := x
	g.Data = c.Get(x.Len())
	copy(g.Data, x.Data)
	return g
}

// regularizeFeatures adds the gradients of what acts on features to df.
func (t *trial) regularizeFeatures(x, features, df layers.Batch[float32], targets []float32) float64 {
	loss := 0.0
	if t.delta > 0 {
		loss += delta(t.delta, features.Data, t.pretrained.Body(&t.frozen, x).Data, df.Data, x.N)
	}
	if t.bss > 0 {
		loss += bss(t.bss, features.Data, df.Data, x.N)
	}
	if t.cotuning > 0 {
		c := &t.ctx
		g := lend(c, t.sourceHead.Forward(c, features))
		to := extend(&t.sourceTargets, x.N*t.relation.source)
		t.relation.targets(to, targets, x.N)
		loss += t.cotuning * layers.CrossEntropy(g.Data, to, x.N, t.cotuning)
		ds := t.sourceHead.Backward(c, g, true)
		vec.Add(df.Data, ds.Data)
		c.Put(ds.Data)
	}
	return loss
}

// evaluate returns the mean cross-entropy and the accuracy on a split.
func (t *trial) evaluate(ctx context.Context, d Split) (loss, accuracy float64, err error) {
	t.ctx.Train = false
	right := 0
	for i := 0; i < d.Len(); i += evalBatch {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		n := min(evalBatch, d.Len()-i)
		logits := t.net.Classify(&t.ctx, t.net.Body(&t.ctx, t.plain(d, i, n)))
		l, r := layers.Evaluate(logits.Data, d.Labels[i:i+n])
		loss += l
		right += r
	}
	return loss / float64(d.Len()), float64(right) / float64(d.Len()), nil
}
