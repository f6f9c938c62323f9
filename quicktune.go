// Package quicktune is the Quick-Tune optimiser: it chooses which pretrained
// model to fine-tune on a data set and with which hyperparameters, by training
// many configurations a little and few of them long.
//
// The method is that of Arango, Ferreira, Kadra, Hutter and Grabocka,
// "Quick-Tune: Quickly Learning Which Pretrained Model to Finetune and How",
// ICLR 2024 (arXiv:2306.03828). This file is its Algorithm 1 as published and
// as the authors' public implementation runs it; package predictor holds the
// two predictors that it queries. The package refuses to train networks, to keep
// a clock and to look at any curve before it is told.
package quicktune

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"quicktune/internal/stream"
	"quicktune/predictor"
	"quicktune/search"
)

// Options are the choices of the published method and its ablations. The zero
// value, with a Model, is the method as the released experiments run it.
type Options struct {
	// Model holds the meta-learned predictors (+M). Without one (-M), the
	// weights start at random and descriptors of the data set are left out.
	Model *predictor.Model
	// Encoder makes inputs from configurations where there is no Model. nil
	// fits one to the candidates.
	Encoder *predictor.Encoder
	// IgnoreCost divides the expected improvement by nothing (-C). The cost
	// predictor is part of the Model, so -M implies it.
	IgnoreCost bool
	// WholeCurves trains every chosen configuration to its last epoch (-G).
	WholeCurves bool
	// Freeze keeps the weights of the feature extractor as they were
	// meta-learned and only conditions the Gaussian process on the history.
	Freeze bool
	// Initial lists the candidates to train first, in order, for one epoch
	// each. Empty: one candidate at random.
	Initial []int

	// InitialFits is the number of fits that restart from the meta-learned
	// weights; default 10.
	InitialFits int
	// RestartSteps and RefineSteps are the gradient steps of a fit that
	// restarts and of one that goes on; defaults 1,000 and 50.
	RestartSteps, RefineSteps int
	// LearningRate is Adam's; default 1e-4.
	LearningRate float64
	// MaxRows bounds the epochs that the Gaussian process is conditioned on;
	// the latest are kept. The reference knows no bound, and no search of more
	// than some hundred epochs either: its decisions take longer than its
	// epochs by then. Default 400.
	MaxRows int
}

// The constants of the public implementation.
const (
	defaultInitialFits  = 10
	defaultRestartSteps = 1000
	defaultRefineSteps  = 50
	defaultLearningRate = 1e-4
	defaultMaxRows      = 400
	// stagnation times the longest curve is the number of epochs without a new
	// best after which the next fit restarts.
	stagnation = 1.2
	// zeroCost replaces a predicted cost of 0, in units of predictor.CostUnit.
	zeroCost = 1e-4
)

func (o Options) withDefaults() Options {
	if o.InitialFits == 0 {
		o.InitialFits = defaultInitialFits
	}
	if o.RestartSteps == 0 {
		o.RestartSteps = defaultRestartSteps
	}
	if o.RefineSteps == 0 {
		o.RefineSteps = defaultRefineSteps
	}
	if o.LearningRate == 0 {
		o.LearningRate = defaultLearningRate
	}
	if o.MaxRows == 0 {
		o.MaxRows = defaultMaxRows
	}
	return o
}

// Optimizer is one search. It implements search.Optimizer.
type Optimizer struct {
	opt     Options
	problem search.Problem
	rng     *rand.Rand
	arch    predictor.Architecture
	inputs  [][]float64 // encoded candidates
	meta    []float64   // descriptors, scaled for the performance predictor
	metaC   []float64   // descriptors, scaled for the cost predictor

	start    *predictor.DeepKernel // weights that a restart returns to
	surface  *predictor.DeepKernel // the performance predictor in use
	cost     *predictor.Cost
	curves   []curve
	history  []observation
	bestAt   []float64 // best score at exactly that many epochs, NaN if none
	best     float64
	stale    int  // epochs since the best score
	revived  bool // restarted since then
	fits     int
	changed  bool // history grew since the last fit
	initials int  // candidates of the initial design that were proposed
	trials   int  // started
	busy     int  // outstanding proposals

	pool    []int // candidates that can be trained further
	rows    *predictor.Batch
	targets []float64
	queries *predictor.Batch
	mean    []float64
	std     []float64
	costs   *predictor.Batch
	seconds []float64
}

// curve is what is known of one candidate.
type curve struct {
	scores []float64
	trial  int // -1 before the first proposal
	busy   bool
	over   bool
}

// observation is one finished epoch.
type observation struct{ candidate, epoch int }

// New returns an optimiser for p. It works on candidates of the search space
// of Quick-Tune, or of any space that o.Model was trained on.
func New(p search.Problem, o Options) (*Optimizer, error) {
	o = o.withDefaults()
	q := &Optimizer{
		opt: o, problem: p, rng: stream.New("quicktune", p.Seed),
		curves: make([]curve, len(p.Candidates)),
		bestAt: make([]float64, p.MaxEpochs+1),
		best:   math.Inf(-1),
	}
	for i := range q.curves {
		q.curves[i].trial = -1
	}
	for i := range q.bestAt {
		q.bestAt[i] = math.NaN()
	}
	if err := q.prepare(); err != nil {
		return nil, fmt.Errorf("quicktune: %w", err)
	}
	n := len(p.Candidates)
	q.rows, q.queries, q.costs = predictor.NewBatch(q.arch), predictor.NewBatch(q.arch), predictor.NewBatch(q.arch)
	q.mean, q.std, q.seconds = make([]float64, n), make([]float64, n), make([]float64, n)
	return q, nil
}

// prepare sets up the predictors and encodes the candidates.
func (q *Optimizer) prepare() error {
	encoder := q.opt.Encoder
	if m := q.opt.Model; m != nil {
		q.arch = m.Performance.Architecture()
		q.start = m.Performance.Clone()
		q.cost = m.Cost.Clone()
		encoder = m.Info.Encoder
		descriptors := Descriptors(q.problem.Task)
		q.meta = predictor.ScaleMeta(descriptors, predictor.MetaScaleSearch)
		q.metaC = predictor.ScaleMeta(descriptors, m.Info.CostMetaScale)
	} else {
		q.arch = predictor.Reference()
		q.arch.Meta = 0
		var err error
		if q.start, err = predictor.NewDeepKernel(q.arch, stream.New("quicktune/weights", q.problem.Seed)); err != nil {
			return err
		}
		q.opt.IgnoreCost = true
	}
	if q.problem.MaxEpochs > q.arch.MaxEpochs {
		return fmt.Errorf("curves of up to %d epochs, but the predictor knows %d", q.problem.MaxEpochs, q.arch.MaxEpochs)
	}
	if encoder == nil {
		var err error
		if encoder, err = predictor.NewEncoder(q.problem.Candidates, predictor.EncoderOptions{}); err != nil {
			return err
		}
	}
	q.inputs = make([][]float64, len(q.problem.Candidates))
	for i, c := range q.problem.Candidates {
		var err error
		if q.inputs[i], err = encoder.Encode(nil, c); err != nil {
			return fmt.Errorf("candidate %d: %w", i, err)
		}
	}
	q.surface = q.start.Clone()
	return nil
}

// Descriptors are the four meta-features of the published method: training
// samples, classes, pixels, channels.
func Descriptors(t search.Task) []float64 {
	return []float64{float64(t.TrainSamples), float64(t.Classes), float64(t.Pixels), float64(t.Channels)}
}

// Ask is one round of Algorithm 1: refit the predictors to the history, choose
// the candidate with the largest expected improvement at its next epoch per
// second, train it for one more epoch.
func (q *Optimizer) Ask() (search.Proposal, search.Status) {
	if len(q.history) == 0 || q.initials < len(q.opt.Initial) {
		return q.propose(q.initial())
	}
	q.open()
	if len(q.pool) == 0 {
		return search.Proposal{}, q.nothing()
	}
	q.fit()
	return q.propose(q.choose())
}

func (q *Optimizer) nothing() search.Status {
	if q.busy > 0 {
		return search.Wait
	}
	return search.Done
}

// initial is the next candidate of the initial design or, where that is used up
// and nothing is known yet, a random one that has not been tried; -1 if there
// is none.
func (q *Optimizer) initial() int {
	for q.initials < len(q.opt.Initial) {
		c := q.opt.Initial[q.initials]
		q.initials++
		if c >= 0 && c < len(q.curves) && q.curves[c].trial < 0 {
			return c
		}
	}
	q.pool = q.pool[:0]
	for c := range q.curves {
		if q.curves[c].trial < 0 {
			q.pool = append(q.pool, c)
		}
	}
	if len(q.pool) == 0 {
		return -1
	}
	return q.pool[q.rng.IntN(len(q.pool))]
}

// open collects the candidates that can be trained further. As in the public
// implementation, no curve is trained to its last epoch, unless one epoch is all
// there is.
func (q *Optimizer) open() {
	last := max(q.problem.MaxEpochs-1, 1)
	if q.opt.WholeCurves {
		last = q.problem.MaxEpochs
	}
	q.pool = q.pool[:0]
	for c := range q.curves {
		if k := &q.curves[c]; !k.busy && !k.over && len(k.scores) < last {
			q.pool = append(q.pool, c)
		}
	}
}

func (q *Optimizer) propose(c int) (search.Proposal, search.Status) {
	if c < 0 {
		return search.Proposal{}, q.nothing()
	}
	k := &q.curves[c]
	if k.trial < 0 {
		k.trial = q.trials
		q.trials++
	}
	k.busy = true
	q.busy++
	return search.Proposal{Trial: k.trial, Candidate: c, Epoch: q.next(c)}, search.Ready
}

// next is the epoch tau(x) that a candidate would be trained to.
func (q *Optimizer) next(c int) int {
	if q.opt.WholeCurves {
		return q.problem.MaxEpochs
	}
	return len(q.curves[c].scores) + 1
}

// Tell adds what happened to the history.
func (q *Optimizer) Tell(r search.Report) {
	k := &q.curves[r.Candidate]
	if r.Epoch > len(k.scores) {
		q.observe(k, r)
	}
	if r.End != search.NotEnded {
		k.over = true
	}
	if r.Proposed {
		k.busy = false
		q.busy--
	}
}

func (q *Optimizer) observe(k *curve, r search.Report) {
	k.scores = append(k.scores, r.Score)
	q.stale++
	if math.IsNaN(r.Score) || math.IsInf(r.Score, 0) {
		return
	}
	q.history = append(q.history, observation{r.Candidate, r.Epoch})
	q.changed = true
	if at := &q.bestAt[r.Epoch]; math.IsNaN(*at) || r.Score > *at {
		*at = r.Score
	}
	if r.Score > q.best {
		q.best, q.stale, q.revived = r.Score, 0, false
	}
}

// fit refits the performance predictor to the history: line 3 of Algorithm 1.
// A fit that fails numerically leaves the weights as they were.
func (q *Optimizer) fit() {
	if !q.changed {
		return
	}
	q.changed = false
	q.collect()
	if q.rows.Len() >= 2 && !q.opt.Freeze {
		stagnates := float64(q.stale) >= stagnation*float64(q.problem.MaxEpochs) && !q.revived
		o := predictor.FitOptions{Steps: q.opt.RefineSteps, LearningRate: q.opt.LearningRate}
		if q.fits < q.opt.InitialFits || stagnates {
			q.surface.CopyWeights(q.start)
			q.revived = stagnates
			o.Steps = q.opt.RestartSteps
		}
		q.fits++
		if _, err := q.surface.Fit(context.Background(), q.rows, q.targets, o); err != nil {
			q.surface.CopyWeights(q.start)
		}
	}
	if err := q.surface.Condition(q.rows, q.targets); err != nil {
		q.surface.CopyWeights(q.start) // conditioned on nothing: choose at random
	}
}

// collect makes a row of every epoch in the history, the latest MaxRows of them.
// Without partial curves, the last epoch of each curve is its only row.
func (q *Optimizer) collect() {
	q.rows.Reset()
	q.targets = q.targets[:0]
	known := q.history
	if q.opt.WholeCurves {
		known = nil
		for _, o := range q.history {
			if o.epoch == len(q.curves[o.candidate].scores) {
				known = append(known, o)
			}
		}
	}
	for _, o := range known[max(0, len(known)-q.opt.MaxRows):] {
		q.append(q.rows, q.meta, o.candidate, o.epoch)
		q.targets = append(q.targets, q.curves[o.candidate].scores[o.epoch-1])
	}
}

// append adds the row of a candidate's epoch to a batch. Its numbers were
// checked when the candidate was encoded.
func (q *Optimizer) append(b *predictor.Batch, meta []float64, candidate, epoch int) {
	row := predictor.Row{Config: q.inputs[candidate], Meta: meta, Epoch: epoch}
	if !q.opt.WholeCurves {
		row.Curve = q.curves[candidate].scores[:epoch-1]
	}
	if err := b.Append(row); err != nil {
		panic("quicktune: " + err.Error())
	}
}

// choose maximises the acquisition over the pool: lines 4 and 5 of Algorithm 1.
// The first of equals wins.
func (q *Optimizer) choose() int {
	n := len(q.pool)
	q.queries.Reset()
	q.costs.Reset()
	for _, c := range q.pool {
		q.append(q.queries, q.meta, c, q.next(c))
		if !q.opt.IgnoreCost {
			q.append(q.costs, q.metaC, c, len(q.curves[c].scores)+1)
		}
	}
	mean, std, seconds := q.mean[:n], q.std[:n], q.seconds[:n]
	if err := q.surface.Predict(mean, std, q.queries, true); err != nil {
		return q.pool[q.rng.IntN(n)]
	}
	if !q.opt.IgnoreCost {
		if err := q.cost.Predict(seconds, q.costs); err != nil {
			return q.pool[q.rng.IntN(n)]
		}
	}
	choice, most := -1, math.Inf(-1)
	for i, c := range q.pool {
		value := ExpectedImprovement(mean[i], std[i], q.target(q.next(c)))
		if !q.opt.IgnoreCost {
			s := seconds[i]
			if s == 0 {
				s = zeroCost * predictor.CostUnit
			}
			value /= s * float64(q.next(c)-len(q.curves[c].scores))
		}
		if value > most {
			choice, most = c, value
		}
	}
	return choice
}

// target is the score to improve on at an epoch: the best that any candidate had
// at exactly that epoch or, if none was trained that far, at any.
func (q *Optimizer) target(epoch int) float64 {
	if at := q.bestAt[epoch]; !math.IsNaN(at) {
		return at
	}
	return q.best
}

// ExpectedImprovement is E[max(y-target, 0)] for y normal with the given mean
// and standard deviation; 0 where the deviation is 0, as in the public
// implementation.
func ExpectedImprovement(mean, std, target float64) float64 {
	if std <= 0 {
		return 0
	}
	z := (mean - target) / std
	density := math.Exp(-z*z/2) / math.Sqrt(2*math.Pi)
	below := math.Erfc(-z/math.Sqrt2) / 2
	return max((mean-target)*below+std*density, 0)
}
