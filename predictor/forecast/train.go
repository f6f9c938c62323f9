package forecast

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"sync"

	"golang.org/x/sync/errgroup"

	"quicktune/internal/stream"
	"quicktune/internal/trees"
	"quicktune/search"
)

// Options set up the meta-training. The zero value is what results are
// reported with.
type Options struct {
	Seed uint64
	// Parallel is how many trees are grown at the same time; 0 means 1. It
	// changes no result.
	Parallel int
	// Progress, if not nil, is told how many of the ensembles are grown, from
	// one goroutine at a time.
	Progress func(done, total int64)
}

// The sizes of the models. They were chosen on inner folds of the Extended
// curves; the results are flat around them.
const (
	innerFolds  = 4   // of the cross-validation that gives honest residuals
	repetitions = 2   // models with different seeds that are averaged
	keepRows    = 0.5 // share of (prefix, horizon) pairs that continuations are learnt from
)

func priorTrees(seed uint64) trees.Boosting {
	return trees.Boosting{Iterations: 600, LearningRate: 0.03, L2: 1, MaxLeaves: 15, MinSamplesLeaf: 20, RowFraction: 0.7, FeatureFraction: 0.4, Seed: seed}
}

func gainTrees(seed uint64) trees.Boosting {
	return trees.Boosting{Iterations: 300, LearningRate: 0.05, L2: 1, MaxLeaves: 20, MinSamplesLeaf: 30, RowFraction: 0.7, FeatureFraction: 0.5, Seed: seed}
}

func spreadTrees(seed uint64) trees.Boosting {
	return trees.Boosting{Iterations: 150, LearningRate: 0.05, L2: 1, MaxLeaves: 10, MinSamplesLeaf: 100, RowFraction: 0.7, FeatureFraction: 0.5, Seed: seed}
}

func costTrees(seed uint64) trees.Boosting {
	return trees.Boosting{Iterations: 400, LearningRate: 0.05, MaxLeaves: 15, MinSamplesLeaf: 10, RowFraction: 0.7, FeatureFraction: 0.5, Seed: seed}
}

// Model forecasts curves of any data set with the same search space. It is
// read-only and may be shared by goroutines.
type Model struct {
	Info Info
	// Unit made the accuracies of what was learnt from, and makes those that
	// the model is told; nothing has to be done if it is zero.
	Unit      search.UnitScale
	f         *Features
	maxEpochs int
	epochs    []int // that the prior is predicted at

	prior  [targets][]*trees.Ensemble
	centre [targets]moments // of the targets in training

	calibration calibration
	offset      moments // of the centres of data sets

	gain   []*trees.Ensemble // nil if all curves were of one epoch
	spread *trees.Ensemble
	cost   []*trees.Ensemble // nil if no times were known

	noTraining []mark
}

// moments are a mean and a standard deviation.
type moments struct{ Mean, Std float64 }

// The prior is the mean of three predictions of the same quality on different
// scales, each brought to the scale of the first: log odds relative to the
// centre of the data set, the negative logarithm of the regret, and that of the
// rank. Each alone ranks worse than the mean.
const (
	targetLogit = iota
	targetRegret
	targetRank
	targets
)

// Train meta-learns on the curves of at least two data sets. The rows of the
// tasks must come from f. It returns ctx.Err() soon after ctx is cancelled.
func Train(ctx context.Context, f *Features, maxEpochs int, tasks []Task, o Options) (*Model, error) {
	if len(tasks) < 2 {
		return nil, fmt.Errorf("forecast: %d data sets to learn from, want at least 2", len(tasks))
	}
	m := &Model{f: f, maxEpochs: maxEpochs}
	for _, e := range priorEpochs {
		if e < maxEpochs {
			m.epochs = append(m.epochs, e)
		}
	}
	m.epochs = append(m.epochs, maxEpochs)
	t := &training{Model: m, o: o, ctx: ctx}
	for i := range tasks {
		s, err := newSet(f, maxEpochs, &tasks[i])
		if err != nil {
			return nil, fmt.Errorf("forecast: data set %q: %w", tasks[i].Name, err)
		}
		t.sets = append(t.sets, s)
	}
	order := stream.New("forecast/folds", o.Seed).Perm(len(t.sets))
	for i, d := range order {
		t.sets[d].fold = i % innerFolds
	}
	m.noTraining = findMarks(tasks)
	for _, step := range []func() error{t.fitPrior, t.fitGain, t.fitCost} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("forecast: %w", err)
		}
	}
	return m, nil
}

// mark is a value of a column that tells curves that are no training.
type mark struct {
	Column int
	Value  float64
}

// leastMarked is how many curves must bear a mark for it to count.
const leastMarked = 20

// findMarks finds the values of columns that occur in skipped curves only, such
// as linear probing in the Extended curves, whose trainer failed with it.
func findMarks(tasks []Task) []mark {
	skipped, used := make(map[mark]int), make(map[mark]bool)
	for _, t := range tasks {
		for c, row := range t.Rows {
			skip := t.Skip != nil && t.Skip[c]
			for col, v := range row {
				if math.IsNaN(v) {
					continue
				}
				if k := (mark{col, v}); skip {
					skipped[k]++
				} else {
					used[k] = true
				}
			}
		}
	}
	var marks []mark
	for k, n := range skipped {
		if n >= leastMarked && !used[k] {
			marks = append(marks, k)
		}
	}
	slices.SortFunc(marks, func(a, b mark) int {
		return cmp.Or(cmp.Compare(a.Column, b.Column), cmp.Compare(a.Value, b.Value))
	})
	return marks
}

// training is a model in the making.
type training struct {
	*Model
	o    Options
	ctx  context.Context
	sets []*set

	mu   sync.Mutex
	done int64
}

// allEnsembles is how many a whole training grows at most.
const allEnsembles = (targets+1)*(repetitions+innerFolds) + 1 + repetitions

// set is a data set in training.
type set struct {
	task   *Task
	fold   int
	curves []curve
	use    []int // curves to learn from
	centre float64
	best   float64 // score over all curves
	worst  float64
	finals []float64 // best score of each used curve, ascending
	// prior holds, for each curve, the prediction at each epoch by a model
	// that has not seen this data set.
	prior [][]float64
}

// centreCurves is how many of the best curves define the centre of a data set.
const centreCurves = 10

func newSet(f *Features, maxEpochs int, t *Task) (*set, error) {
	s := &set{task: t, best: math.Inf(-1), worst: math.Inf(1)}
	if len(t.Rows) != len(t.Scores) || t.Seconds != nil && len(t.Seconds) != len(t.Rows) || t.Skip != nil && len(t.Skip) != len(t.Rows) {
		return nil, fmt.Errorf("%d rows, %d curves, %d costs, %d marks", len(t.Rows), len(t.Scores), len(t.Seconds), len(t.Skip))
	}
	for c, scores := range t.Scores {
		if len(t.Rows[c]) != f.Width() {
			return nil, fmt.Errorf("row %d has %d columns, want %d", c, len(t.Rows[c]), f.Width())
		}
		if len(scores) > maxEpochs {
			return nil, fmt.Errorf("curve %d has %d epochs, more than %d", c, len(scores), maxEpochs)
		}
		for _, v := range scores {
			a := float64(v)
			if math.IsNaN(a) {
				continue
			}
			if a < 0 || a > 1 {
				return nil, fmt.Errorf("curve %d holds the score %v, which is no accuracy in [0, 1]", c, a)
			}
			s.best, s.worst = max(s.best, a), min(s.worst, a)
		}
		s.curves = append(s.curves, newCurve(scores))
		if len(scores) > 0 && (t.Skip == nil || !t.Skip[c]) {
			s.use = append(s.use, c)
		}
	}
	if len(s.use) == 0 {
		return nil, errors.New("no curve to learn from")
	}
	var finals []float64
	for _, c := range s.use {
		z := s.curves[c].best
		finals = append(finals, z[len(z)-1])
	}
	slices.Sort(finals)
	top := finals[max(0, len(finals)-centreCurves):]
	s.centre = momentsOf(top).Mean
	for _, z := range finals {
		s.finals = append(s.finals, FromLogit(z))
	}
	return s, nil
}

// target is what the prior learns of a curve at an epoch.
func (s *set) target(c, epoch int) [targets]float64 {
	z := s.curves[c].best[epoch-1]
	a := FromLogit(z)
	regret := 0.0
	if s.best > s.worst {
		regret = min(max((s.best-a)/(s.best-s.worst), 0), 1)
	}
	above := 1 - float64(sort.SearchFloat64s(s.finals, a))/float64(len(s.finals))
	return [targets]float64{z - s.centre, -math.Log(regret + 0.01), -math.Log(above + 0.03)}
}

// priorRow is a row of the prior: the configuration's, and the epoch alone and
// as samples and steps seen by then.
func (m *Model) priorRow(dst, row []float64, epoch int) []float64 {
	e := math.Log(float64(epoch))
	dst = append(dst, row...)
	return append(dst, e, row[m.f.derived+colSamples]+e, row[m.f.derived+colSteps]+e)
}

func (m *Model) priorWidth() int { return m.f.Width() + 3 }

// fitPrior learns the prior, and with models that leave out a fold, what it
// predicts on data sets that it has not seen.
func (t *training) fitPrior() error {
	type sample struct {
		x []float64
		y [targets][]float64
	}
	collect := func(use func(*set) bool) sample {
		var s sample
		for _, d := range t.sets {
			if !use(d) {
				continue
			}
			for _, c := range d.use {
				for _, e := range t.epochs {
					if e > len(d.curves[c].z) {
						break
					}
					s.x = t.priorRow(s.x, d.task.Rows[c], e)
					for k, y := range d.target(c, e) {
						s.y[k] = append(s.y[k], y)
					}
				}
			}
		}
		return s
	}
	all := collect(func(*set) bool { return true })
	for k := range targets {
		t.centre[k] = momentsOf(all.y[k])
		t.prior[k] = make([]*trees.Ensemble, repetitions)
	}
	var inner [innerFolds][targets][]*trees.Ensemble
	var innerCentre [innerFolds][targets]moments
	g := t.group()
	for k := range targets {
		for r := range repetitions {
			g.Go(func() error {
				return t.fit(&t.prior[k][r], priorTrees(t.seed("prior", k, r)), all.x, t.priorWidth(), all.y[k])
			})
		}
	}
	for fold := range innerFolds {
		part := collect(func(d *set) bool { return d.fold != fold })
		if len(part.x) == 0 {
			continue
		}
		for k := range targets {
			innerCentre[fold][k] = momentsOf(part.y[k])
			inner[fold][k] = make([]*trees.Ensemble, 1)
			g.Go(func() error {
				return t.fit(&inner[fold][k][0], priorTrees(t.seed("prior", k, 0)), part.x, t.priorWidth(), part.y[k])
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var u, z, centres []float64
	for _, d := range t.sets {
		d.prior = t.predictPrior(d.task.Rows, inner[d.fold], innerCentre[d.fold])
		centres = append(centres, d.centre)
		for _, c := range d.use {
			for _, e := range calibrationEpochs {
				if e <= len(d.curves[c].z) {
					u = append(u, d.prior[c][e-1])
					z = append(z, d.curves[c].best[e-1]-d.centre)
				}
			}
		}
	}
	t.calibration = newCalibration(u, z)
	t.offset = momentsOf(centres)
	return nil
}

// predictPrior returns the uncalibrated prior of each row at every epoch from
// 1, which never falls.
func (m *Model) predictPrior(rows [][]float64, models [targets][]*trees.Ensemble, centre [targets]moments) [][]float64 {
	const together = 64 // configurations
	n := len(m.epochs)
	out := make([][]float64, 0, len(rows))
	var x []float64
	at := make([]float64, min(together, len(rows))*n)
	for some := range slices.Chunk(rows, together) {
		x = x[:0]
		for _, row := range some {
			for _, e := range m.epochs {
				x = m.priorRow(x, row, e)
			}
		}
		at = at[:len(some)*n]
		clear(at)
		for k := range targets {
			for i, p := range means(models[k], x) {
				at[i] += ((p-centre[k].Mean)/centre[k].Std*centre[targetLogit].Std + centre[targetLogit].Mean) / targets
			}
		}
		for i := range some {
			one := at[i*n : (i+1)*n]
			for j := 1; j < n; j++ {
				one[j] = max(one[j], one[j-1])
			}
			out = append(out, interpolate(m.epochs, one, m.maxEpochs))
		}
	}
	return out
}

// interpolate spreads values at some epochs to all, linearly in the logarithm.
func interpolate(epochs []int, values []float64, n int) []float64 {
	out := make([]float64, n)
	j := 0
	for e := 1; e <= n; e++ {
		for j+1 < len(epochs) && epochs[j+1] < e {
			j++
		}
		if j+1 == len(epochs) || e <= epochs[j] {
			out[e-1] = values[j]
			continue
		}
		lo, hi := math.Log(float64(epochs[j])), math.Log(float64(epochs[j+1]))
		w := (math.Log(float64(e)) - lo) / (hi - lo)
		out[e-1] = values[j] + w*(values[j+1]-values[j])
	}
	return out
}

// fitGain learns how curves go on and how wrong that is on unseen data sets.
func (t *training) fitGain() error {
	type sample struct{ x, y []float64 }
	parts := make([]sample, len(t.sets))
	for i, d := range t.sets {
		rng := stream.New("forecast/pairs", t.o.Seed, uint64(i))
		for _, c := range d.use {
			k := &d.curves[c]
			for _, n := range prefixes {
				if n >= len(k.z) {
					break
				}
				for _, h := range Horizons {
					if n+h > len(k.z) || rng.Float64() >= keepRows {
						continue
					}
					parts[i].x = t.gainRow(parts[i].x, d.task.Rows[c], k, d.prior[c], n, h)
					parts[i].y = append(parts[i].y, slices.Max(k.z[n:n+h])-k.best[n-1])
				}
			}
		}
	}
	collect := func(use func(*set) bool) (s sample) {
		for i, d := range t.sets {
			if use(d) {
				s.x, s.y = append(s.x, parts[i].x...), append(s.y, parts[i].y...)
			}
		}
		return s
	}
	all := collect(func(*set) bool { return true })
	if len(all.y) == 0 {
		return nil // curves of one epoch only: nothing goes on
	}
	t.gain = make([]*trees.Ensemble, repetitions)
	inner := make([]*trees.Ensemble, innerFolds)
	g := t.group()
	for r := range repetitions {
		g.Go(func() error {
			return t.fit(&t.gain[r], gainTrees(t.seed("gain", r)), all.x, t.gainWidth(), all.y)
		})
	}
	for fold := range innerFolds {
		part := collect(func(d *set) bool { return d.fold != fold })
		if len(part.y) > 0 {
			g.Go(func() error {
				return t.fit(&inner[fold], gainTrees(t.seed("gain", 0)), part.x, t.gainWidth(), part.y)
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	// The mean absolute error on data sets that were left out is what the spread
	// learns. Errors upwards alone, which are what a search hopes for, are too
	// few to learn from and made worse decisions at long budgets.
	var off sample
	for i, d := range t.sets {
		if inner[d.fold] == nil {
			continue
		}
		w := t.gainWidth()
		for j, y := range parts[i].y {
			x := parts[i].x[j*w : (j+1)*w]
			off.x, off.y = append(off.x, x...), append(off.y, math.Abs(y-inner[d.fold].Predict(x)))
		}
	}
	if len(off.y) == 0 {
		off = sample{all.x, make([]float64, len(all.y))}
	}
	return t.fit(&t.spread, spreadTrees(t.seed("spread")), off.x, t.gainWidth(), off.y)
}

// fitCost learns the seconds of an epoch and training sample.
func (t *training) fitCost() error {
	var x, y []float64
	for _, d := range t.sets {
		if d.task.Seconds == nil || d.task.Descriptors.Samples <= 0 {
			continue
		}
		for _, c := range d.use {
			var sum float64
			for _, s := range d.task.Seconds[c] {
				sum += float64(s)
			}
			perEpoch := sum / float64(len(d.task.Seconds[c]))
			if !(perEpoch > 0) || math.IsInf(perEpoch, 0) {
				continue
			}
			x = append(x, d.task.Rows[c]...)
			y = append(y, math.Log(perEpoch/float64(d.task.Descriptors.Samples)))
		}
	}
	if len(y) == 0 {
		return nil
	}
	t.cost = make([]*trees.Ensemble, repetitions)
	g := t.group()
	for r := range repetitions {
		g.Go(func() error { return t.fit(&t.cost[r], costTrees(t.seed("cost", r)), x, t.f.Width(), y) })
	}
	return g.Wait()
}

func (t *training) group() *errgroup.Group {
	var g errgroup.Group
	g.SetLimit(max(t.o.Parallel, 1))
	return &g
}

// seed names the stream of one ensemble.
func (t *training) seed(purpose string, indices ...int) uint64 {
	at := make([]uint64, len(indices))
	for i, v := range indices {
		at[i] = uint64(v)
	}
	return stream.New("forecast/"+purpose, t.o.Seed, at...).Uint64()
}

func (t *training) fit(dst **trees.Ensemble, b trees.Boosting, x []float64, cols int, y []float64) error {
	if err := t.ctx.Err(); err != nil {
		return err
	}
	e, err := b.Fit(x, cols, y, nil)
	*dst = e
	if err == nil && t.o.Progress != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.done++
		t.o.Progress(t.done, allEnsembles)
	}
	return err
}

// means averages the predictions of several ensembles for each row of x.
func means(models []*trees.Ensemble, x []float64) []float64 {
	var sums, one []float64
	for _, m := range models {
		one = m.PredictBatch(one[:0], x)
		if sums == nil {
			sums = make([]float64, len(one))
		}
		for i, p := range one {
			sums[i] += p
		}
	}
	for i := range sums {
		sums[i] /= float64(len(models))
	}
	return sums
}

// momentsOf returns mean and standard deviation; the deviation of equal
// numbers is 1, so that one can divide by it.
func momentsOf(v []float64) moments {
	var m moments
	for _, x := range v {
		m.Mean += x / float64(len(v))
	}
	for _, x := range v {
		m.Std += (x - m.Mean) * (x - m.Mean) / float64(len(v))
	}
	if m.Std = math.Sqrt(m.Std); m.Std < 1e-9 {
		m.Std = 1
	}
	return m
}
