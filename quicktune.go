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
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"quicktune/internal/stream"
	"quicktune/predictor"
	"quicktune/search"
)

// Options are the choices of the published method and its ablations. The zero
// value, with a Model, is the method as the released experiments run it.
type Options struct {
	// Model holds the meta-learned predictors (+M). Without one, the method
	// runs without meta-learning and without costs (-M -C).
	Model *predictor.Model
	// Scratch gives the performance predictor random weights and no
	// descriptors of the data set (-M). The cost predictor of the Model stays:
	// the released method never trains it during a search.
	Scratch bool
	// IgnoreCost divides the expected improvement by nothing (-C).
	IgnoreCost bool
	// WholeCurves trains every chosen configuration to its last epoch and
	// learns from last epochs only (-G).
	WholeCurves bool
	// Freeze keeps the weights of the feature extractor as they were
	// meta-learned and fits the four parameters of the Gaussian process alone.
	Freeze bool

	// Models names the pretrained models to choose from; empty means all.
	Models []string
	// HubSize, if not 0, draws that many of them at random.
	HubSize int
	// Initial lists the candidates to train first, in order, for one epoch
	// each. If it is empty, InitialRandom candidates are drawn, by default 1.
	Initial       []int
	InitialRandom int

	// MetaScale divides the descriptors for the performance predictor. The
	// default is predictor.MetaScaleSearch, a defect of the public
	// implementation; Model.Info.MetaScale is what the weights were trained
	// with.
	MetaScale float64
	// InitialFits is the number of fits that restart from the meta-learned
	// weights; default 10.
	InitialFits int
	// RestartSteps and RefineSteps are the gradient steps of a fit that
	// restarts and of one that goes on; defaults 1,000 and 50.
	RestartSteps, RefineSteps int
	// LearningRate is Adam's; default 1e-4.
	LearningRate float64

	// The public implementation fits to all epochs after every epoch, so that
	// a search takes time in proportion to the fourth power of its epochs: its
	// decisions last longer than cheap epochs do. These bound that. Up to
	// ExactRows epochs every fit is as published. Beyond, the Gaussian process
	// is conditioned on each new epoch, but its weights are refitted only when
	// its rows have grown by the fraction RefitGrowth, and then to the latest
	// MaxRows epochs. Defaults 150, 0.1 and 300. math.MaxInt for ExactRows
	// and MaxRows gives the published schedule at any length.
	ExactRows   int
	RefitGrowth float64
	MaxRows     int
}

// The constants of the public implementation.
const (
	defaultInitial      = 1
	defaultInitialFits  = 10
	defaultRestartSteps = 1000
	defaultRefineSteps  = 50
	defaultLearningRate = 1e-4
	defaultExactRows    = 150
	defaultRefitGrowth  = 0.1
	defaultMaxRows      = 300
	// stagnation times the longest curve is the number of epochs without a new
	// best after which the next fit restarts.
	stagnation = 1.2
	// zeroCost replaces a predicted cost of 0, in units of predictor.CostUnit.
	zeroCost = 1e-4
)

func (o Options) withDefaults() Options {
	o.MetaScale = cmp.Or(o.MetaScale, predictor.MetaScaleSearch)
	o.InitialRandom = cmp.Or(o.InitialRandom, defaultInitial)
	o.InitialFits = cmp.Or(o.InitialFits, defaultInitialFits)
	o.RestartSteps = cmp.Or(o.RestartSteps, defaultRestartSteps)
	o.RefineSteps = cmp.Or(o.RefineSteps, defaultRefineSteps)
	o.LearningRate = cmp.Or(o.LearningRate, defaultLearningRate)
	o.ExactRows = cmp.Or(o.ExactRows, defaultExactRows)
	o.RefitGrowth = cmp.Or(o.RefitGrowth, defaultRefitGrowth)
	o.MaxRows = cmp.Or(o.MaxRows, defaultMaxRows)
	o.IgnoreCost = o.IgnoreCost || o.Model == nil
	o.Scratch = o.Scratch || o.Model == nil
	return o
}

func (o Options) validate() error {
	switch {
	case !(o.MetaScale > 0) || math.IsInf(o.MetaScale, 0) || !(o.LearningRate > 0) || math.IsInf(o.LearningRate, 0):
		return fmt.Errorf("scale of descriptors %v and learning rate %v; both must be positive", o.MetaScale, o.LearningRate)
	case o.InitialRandom < 0:
		return fmt.Errorf("%d random candidates at first; want at least 1", o.InitialRandom)
	case o.InitialFits < 0 || o.RestartSteps < 0 || o.RefineSteps < 0:
		return fmt.Errorf("%d initial fits, %d and %d steps; none may be negative", o.InitialFits, o.RestartSteps, o.RefineSteps)
	case o.ExactRows < 0 || o.MaxRows < 2 || !(o.RefitGrowth >= 0):
		return fmt.Errorf("exact up to %d rows, at most %d rows, refits by growth of %v; want at least 0, 2 and 0", o.ExactRows, o.MaxRows, o.RefitGrowth)
	case o.HubSize < 0:
		return fmt.Errorf("a hub of %d models; want at least 1, or 0 for all", o.HubSize)
	}
	return nil
}

// Optimizer is one search. It implements search.Optimizer.
type Optimizer struct {
	opt     Options
	problem search.Problem
	rng     *rand.Rand
	unit    search.UnitScale
	encoder *predictor.Encoder // nil without candidates
	inputs  [][]float64        // encoded candidates
	hub     []int              // candidates of the hub
	meta    []float64          // descriptors, scaled for the performance predictor
	metaC   []float64          // descriptors, scaled for the cost predictor

	start   *predictor.DeepKernel // weights that a restart returns to
	surface *predictor.DeepKernel // the performance predictor in use
	cost    *predictor.Cost       // nil if costs are ignored

	curves   []curve
	history  []observation
	learned  int       // epochs of the history that surface has seen
	fitted   int       // rows of the last fit
	fits     int       // made so far
	bestAt   []float64 // best score at exactly that many epochs, NaN if none
	best     float64
	stale    int  // epochs since the best score
	revived  bool // restarted since then
	initials int  // candidates of the initial design that were looked at
	randoms  int  // candidates drawn for it
	trials   int  // started
	busy     int  // outstanding proposals

	// Memory that rounds share.
	pool               []int // candidates that can be trained further
	rows               *predictor.Batch
	targets            []float64
	queries, costs     *predictor.Batch
	mean, std, seconds []float64
}

// curve is what is known of one candidate.
type curve struct {
	scores []float64
	trial  int // -1 before the first proposal
	busy   bool
	over   bool
}

// observation is one finished epoch that gave a score.
type observation struct{ candidate, epoch int }

// New returns an optimiser for p. With a model, the search space must be the one
// that it was trained on.
func New(p search.Problem, o Options) (*Optimizer, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("quicktune: %w", err)
	}
	if p.Space == nil {
		return nil, errors.New("quicktune: the candidates are of no search space")
	}
	n := len(p.Candidates)
	q := &Optimizer{
		opt: o, problem: p, rng: stream.New("quicktune", p.Seed),
		curves: make([]curve, n), bestAt: make([]float64, p.MaxEpochs+1), best: math.Inf(-1),
		mean: make([]float64, n), std: make([]float64, n), seconds: make([]float64, n),
	}
	for c := range q.curves {
		q.curves[c].trial = -1
	}
	for e := range q.bestAt {
		q.bestAt[e] = math.NaN()
	}
	err := q.encode()
	if err == nil {
		err = q.loadPredictors()
	}
	if err == nil {
		err = q.chooseHub()
	}
	if err != nil {
		return nil, fmt.Errorf("quicktune: %w", err)
	}
	return q, nil
}

// loadPredictors takes the predictors of the model, or makes one with random
// weights, and scales the descriptors of the data set for them.
func (q *Optimizer) loadPredictors() error {
	m, d := q.opt.Model, predictor.Descriptors(q.problem.Task)
	arch := predictor.Reference()
	if q.encoder != nil {
		arch.Groups = q.encoder.Groups()
	}
	arch.MaxEpochs = max(arch.MaxEpochs, q.problem.MaxEpochs)
	if m != nil {
		arch = m.Performance.Architecture()
	}
	if q.opt.Scratch {
		arch.Meta = 0
		var err error
		if q.start, err = predictor.NewDeepKernel(arch, stream.New("quicktune/weights", q.problem.Seed)); err != nil {
			return err
		}
	} else {
		q.start = m.Performance.Clone()
		q.meta = predictor.ScaleMeta(d, q.opt.MetaScale)
	}
	if err := q.suits(q.start.Architecture()); err != nil {
		return err
	}
	q.surface = q.start.Clone()
	q.rows, q.queries = predictor.NewBatch(arch), predictor.NewBatch(arch)
	if !q.opt.IgnoreCost {
		q.cost = m.Cost.Clone()
		q.costs = predictor.NewBatch(q.cost.Architecture())
		q.metaC = predictor.ScaleMeta(d, cmp.Or(m.Info.CostMetaScale, predictor.MetaScaleSearch))
		return q.suits(q.cost.Architecture())
	}
	return nil
}

// suits reports why a predictor cannot be used.
func (q *Optimizer) suits(a predictor.Architecture) error {
	switch {
	case a.MaxEpochs < q.problem.MaxEpochs:
		return fmt.Errorf("curves of up to %d epochs, but the predictor knows %d", q.problem.MaxEpochs, a.MaxEpochs)
	case q.encoder != nil && a.Config() != len(q.encoder.Columns):
		return fmt.Errorf("a predictor of %d columns; configurations are encoded in %d", a.Config(), len(q.encoder.Columns))
	case a.Meta != 0 && a.Meta != len(predictor.Descriptors(search.Task{})):
		return fmt.Errorf("a predictor of %d descriptors of the data set; the method has %d", a.Meta, len(predictor.Descriptors(search.Task{})))
	}
	return nil
}

// usualModelParam is the hyperparameter that names the pretrained model, unless a
// model file says otherwise.
const usualModelParam = "model"

// encode makes inputs of the candidates, standardised as in meta-training or,
// without it, by the candidates themselves.
func (q *Optimizer) encode() error {
	if m := q.opt.Model; m != nil {
		q.encoder, q.unit = m.Info.Encoder, m.Info.Unit
		if h := m.Info.SpaceHash; h != "" && q.problem.Space.Hash() != h {
			return errors.New("the predictors were trained on another search space")
		}
	}
	if q.encoder == nil && len(q.problem.Candidates) > 0 {
		var err error
		if q.encoder, err = predictor.NewEncoder(q.problem.Space, usualModelParam, q.problem.Candidates); err != nil {
			return err
		}
	}
	q.inputs = make([][]float64, len(q.problem.Candidates))
	for c, config := range q.problem.Candidates {
		var err error
		if q.inputs[c], err = q.encoder.Encode(nil, config); err != nil {
			return fmt.Errorf("candidate %d: %w", c, err)
		}
	}
	return nil
}

// chooseHub lists the candidates whose pretrained model may be chosen.
func (q *Optimizer) chooseHub() error {
	param := usualModelParam
	if q.encoder != nil {
		param = cmp.Or(q.encoder.ModelParam, param)
	}
	model := q.problem.Space.Index(param)
	if model < 0 {
		if q.opt.HubSize > 0 || len(q.opt.Models) > 0 {
			return errors.New("a hub was chosen, but no hyperparameter names a pretrained model")
		}
		for c := range q.problem.Candidates {
			q.hub = append(q.hub, c)
		}
		return nil
	}
	var names []string // of the candidates' models that are allowed
	for _, config := range q.problem.Candidates {
		name := config[model].Text()
		if !slices.Contains(names, name) && (len(q.opt.Models) == 0 || slices.Contains(q.opt.Models, name)) {
			names = append(names, name)
		}
	}
	if len(names) == 0 && len(q.problem.Candidates) > 0 {
		return fmt.Errorf("no candidate has one of the models %q", q.opt.Models)
	}
	slices.Sort(names)
	if n := q.opt.HubSize; n > 0 && n < len(names) {
		rng := stream.New("quicktune/hub", q.problem.Seed)
		rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		names = names[:n]
	}
	for c, config := range q.problem.Candidates {
		if slices.Contains(names, config[model].Text()) {
			q.hub = append(q.hub, c)
		}
	}
	return nil
}

// Ask is one round of Algorithm 1: refit the predictor to the history, choose
// the candidate with the largest expected improvement at its next epoch per
// second, train it for one more epoch.
func (q *Optimizer) Ask() (search.Proposal, search.Status) {
	if c, ok := q.initial(); ok {
		return q.propose(c), search.Ready
	}
	q.open()
	switch {
	case len(q.pool) > 0:
		q.learn()
		return q.propose(q.choose()), search.Ready
	case q.busy > 0:
		return search.Proposal{}, search.Wait
	}
	return search.Proposal{}, search.Done
}

// initial is the next candidate of the initial design or, where it is random or
// nothing is known yet, one at random that has not been tried.
func (q *Optimizer) initial() (c int, ok bool) {
	for q.initials < len(q.opt.Initial) {
		c := q.opt.Initial[q.initials]
		q.initials++
		if slices.Contains(q.hub, c) && q.curves[c].trial < 0 {
			return c, true
		}
	}
	if len(q.history) > 0 && (len(q.opt.Initial) > 0 || q.randoms >= q.opt.InitialRandom) {
		return 0, false
	}
	q.pool = q.pool[:0]
	for _, c := range q.hub {
		if q.curves[c].trial < 0 {
			q.pool = append(q.pool, c)
		}
	}
	if len(q.pool) == 0 {
		return 0, false
	}
	q.randoms++
	return q.pool[q.rng.IntN(len(q.pool))], true
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
	for _, c := range q.hub {
		if k := &q.curves[c]; !k.busy && !k.over && len(k.scores) < last {
			q.pool = append(q.pool, c)
		}
	}
}

func (q *Optimizer) propose(c int) search.Proposal {
	k := &q.curves[c]
	if k.trial < 0 {
		k.trial = q.trials
		q.trials++
	}
	k.busy = true
	q.busy++
	return search.Proposal{Trial: k.trial, Candidate: c, Epoch: q.next(c)}
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
	if r.Epoch > 0 {
		r.Score = q.unitScore(r.Score)
	}
	k := &q.curves[r.Candidate]
	if r.Epoch > len(k.scores) {
		k.scores = append(k.scores, r.Score)
		q.improve(r)
		if !q.opt.WholeCurves && finite(r.Score) {
			q.history = append(q.history, observation{r.Candidate, r.Epoch})
		}
	}
	if r.Proposed {
		k.busy = false
		q.busy--
		if e := len(k.scores); q.opt.WholeCurves && e > 0 && finite(k.scores[e-1]) {
			q.history = append(q.history, observation{r.Candidate, e})
		}
	}
	if r.End != search.NotEnded {
		k.over = true
	}
}

// unitScore maps a score to [0, 1]. Where nobody has told what a usual loss is,
// the first one of the search is.
func (q *Optimizer) unitScore(score float64) float64 {
	if !q.problem.Metric.Bounded && q.unit.Loss == 0 {
		if !finite(score) {
			return math.NaN()
		}
		q.unit = search.UnitScale{Loss: cmp.Or(math.Abs(score), 1), Signed: score > 0}
	}
	return q.unit.Apply(score)
}

// improve keeps the best scores and counts the epochs without a better one.
func (q *Optimizer) improve(r search.Report) {
	q.stale++
	if !finite(r.Score) {
		return
	}
	if at := &q.bestAt[r.Epoch]; math.IsNaN(*at) || r.Score > *at {
		*at = r.Score
	}
	if r.Score > q.best {
		q.best, q.stale, q.revived = r.Score, 0, false
	}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// learn takes the new epochs of the history in, by a fit where one is due and
// by conditioning where not: line 3 of Algorithm 1. If the numbers lead to no
// process at all, the weights return to their start and the next choice is
// random.
func (q *Optimizer) learn() {
	n := len(q.history)
	if n == q.learned {
		return
	}
	var err error
	if q.due() {
		q.collect(q.history[max(0, n-q.opt.MaxRows):])
		if q.rows.Len() > 1 {
			err = q.fit()
		}
		if err == nil {
			err = q.surface.Condition(q.rows, q.targets)
		}
		q.fitted = q.rows.Len()
	} else {
		q.collect(q.history[q.learned:])
		err = q.surface.Extend(q.rows, q.targets)
	}
	q.learned = n
	if err != nil {
		q.surface.CopyWeights(q.start)
	}
}

// due says whether the weights are fitted again.
func (q *Optimizer) due() bool {
	observed := q.surface.Observed()
	rows := observed + len(q.history) - q.learned
	return observed == 0 || len(q.history) <= q.opt.ExactRows || q.fits < q.opt.InitialFits ||
		float64(rows) >= float64(q.fitted)*(1+q.opt.RefitGrowth)
}

// fit starts from the meta-learned weights at first and when the search
// stagnates, else from those of the fit before.
func (q *Optimizer) fit() error {
	o := predictor.FitOptions{Steps: q.opt.RefineSteps, LearningRate: q.opt.LearningRate, Freeze: q.opt.Freeze}
	stagnates := float64(q.stale) >= stagnation*float64(q.problem.MaxEpochs) && !q.revived
	if q.fits < q.opt.InitialFits || stagnates {
		q.surface.CopyWeights(q.start)
		q.revived = stagnates
		o.Steps = q.opt.RestartSteps
	}
	q.fits++
	_, err := q.surface.Fit(context.Background(), q.rows, q.targets, o)
	return err
}

// collect makes a row of each of the given epochs.
func (q *Optimizer) collect(known []observation) {
	q.rows.Reset()
	q.targets = q.targets[:0]
	for _, o := range known {
		q.append(q.rows, q.meta, o.candidate, o.epoch)
		q.targets = append(q.targets, q.curves[o.candidate].scores[o.epoch-1])
	}
}

// append adds the row of a candidate's epoch to a batch. Nothing in it can be
// wrong: candidates and predictors were checked when the search began.
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
// The first of equals wins. Where the predictors have no answer, the choice is
// random.
func (q *Optimizer) choose() int {
	n := len(q.pool)
	mean, std, seconds := q.mean[:n], q.std[:n], q.seconds[:n]
	if q.predict(mean, std, seconds) != nil {
		return q.pool[q.rng.IntN(n)]
	}
	choice, most := q.pool[0], math.Inf(-1)
	for i, c := range q.pool {
		value := ExpectedImprovement(mean[i], std[i], q.target(q.next(c)))
		if q.cost != nil {
			value /= seconds[i]
		}
		if value > most {
			choice, most = c, value
		}
	}
	return choice
}

// predict gives the posterior score of the candidates in the pool at their next
// epochs and the seconds that it takes to get there.
func (q *Optimizer) predict(mean, std, seconds []float64) error {
	q.queries.Reset()
	for _, c := range q.pool {
		q.append(q.queries, q.meta, c, q.next(c))
	}
	if err := q.surface.Predict(mean, std, q.queries, true); err != nil || q.cost == nil {
		return err
	}
	q.costs.Reset()
	for _, c := range q.pool {
		q.append(q.costs, q.metaC, c, len(q.curves[c].scores)+1)
	}
	if err := q.cost.Predict(seconds, q.costs); err != nil {
		return err
	}
	for i, c := range q.pool {
		if seconds[i] == 0 {
			seconds[i] = zeroCost * predictor.CostUnit
		}
		seconds[i] *= float64(q.next(c) - len(q.curves[c].scores))
	}
	return nil
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

// ReferenceMethod is the published method with the choices of the public
// implementation, its defects included, as an entry of the table of methods.
// What o switches off is appended to the name: "quicktune-reference:-M-C".
//
// With o.Model, that model is used on every data set. Without, the method learns
// one from other data sets by predictor.Learn, unless both M and C are off.
func ReferenceMethod(o Options, l predictor.LearnOptions) search.Method {
	suffix, details := "", ""
	for _, part := range []struct {
		letter string
		off    bool
	}{{"M", o.Scratch}, {"C", o.IgnoreCost}, {"G", o.WholeCurves}} {
		if part.off {
			suffix += "-" + part.letter
			details += " -" + part.letter
		} else {
			details += " +" + part.letter
		}
	}
	name, title := "quicktune-reference", "Quick-Tune (published)"
	if suffix != "" {
		name += ":" + suffix
		title += details
	}
	needsModel := !o.Scratch || !o.IgnoreCost
	m := search.Method{
		Name: name, Title: title,
		Source:  "Arango et al., Quick-Tune, ICLR 2024, Algorithm 1, and its public implementation",
		Details: strings.TrimSpace(details) + o.changes(),
		Uses:    search.Uses{Fidelity: !o.WholeCurves, Cost: !o.IgnoreCost, MetaData: needsModel},
	}
	use := func(o Options) search.Factory {
		return func(p search.Problem) (search.Optimizer, error) { return New(p, o) }
	}
	if o.Model != nil || !needsModel {
		m.New = use(o)
		return m
	}
	m.Learn = func(ctx context.Context, data search.MetaData) (search.Factory, error) {
		o := o
		var err error
		if o.Model, err = predictor.Learn(ctx, data, l); err != nil {
			return nil, err
		}
		return use(o), nil
	}
	return m
}

// changes lists the options that differ from the published ones, beyond the
// ablations.
func (o Options) changes() string {
	var b strings.Builder
	o, d := o.withDefaults(), Options{}.withDefaults()
	add := func(name string, value, usual any) {
		if value != usual {
			fmt.Fprintf(&b, ", %s=%v", name, value)
		}
	}
	add("freeze", o.Freeze, false)
	add("models", strings.Join(o.Models, "|"), "")
	add("hub", o.HubSize, 0)
	add("initial-list", len(o.Initial), 0)
	add("initial", o.InitialRandom, d.InitialRandom)
	add("meta-scale", o.MetaScale, d.MetaScale)
	add("initial-fits", o.InitialFits, d.InitialFits)
	add("restart-steps", o.RestartSteps, d.RestartSteps)
	add("refine-steps", o.RefineSteps, d.RefineSteps)
	add("learning-rate", o.LearningRate, d.LearningRate)
	add("exact-rows", o.ExactRows, d.ExactRows)
	add("refit-growth", o.RefitGrowth, d.RefitGrowth)
	add("max-rows", o.MaxRows, d.MaxRows)
	return b.String()
}
