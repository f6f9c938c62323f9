package baselines

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"quicktune/internal/stream"
	"quicktune/search"
)

// TPE is the tree-structured Parzen estimator: trials are split into a few good
// ones and the rest, a density of either is estimated, and of Candidates drawn
// from that of the good ones the one with the largest ratio of the two is
// trained, always to the end of its curve.
//
// Draws are rows: an unseen candidate is drawn with a probability proportional
// to the density of the good ones at it. A trial is worth the score of its last
// epoch.
//
// Source: Bergstra, Bardenet, Bengio and Kégl: Algorithms for Hyper-Parameter
// Optimization, NeurIPS 2011; the rules are those of the public implementations.
type TPE struct {
	// Rules says whose estimators and defaults are used; Optuna's by default.
	Rules TPERules
	// Startup is how many candidates are drawn uniformly at first. 0 means
	// Optuna's n_startup_trials, 10, or hyperopt's n_startup_jobs, 20.
	Startup int
	// Candidates is how many are drawn and compared. 0 means 24, the
	// n_ei_candidates of either.
	Candidates int
}

// TPERules names one of the definitions in use.
type TPERules uint8

// The definitions.
const (
	// OptunaTPE is that of Optuna 5.0 (samplers/_tpe): min(ceil(0.1 n), 25) of
	// n finished trials are good; kernels are products over the
	// hyperparameters that all trials have, the others are estimated one by
	// one from the trials that have them; running trials count as bad and
	// failed ones not at all; kernels are truncated one by one; the prior is a
	// kernel of weight 1.
	OptunaTPE TPERules = iota
	// HyperoptTPE is that of hyperopt 0.3.0 (tpe.py): min(ceil(0.25 sqrt n),
	// 25) of n trials are good; every hyperparameter is estimated alone;
	// running and failed trials are bad; mixtures are truncated as a whole;
	// the widths of kernels count the prior as a neighbour. hyperopt draws and
	// compares each hyperparameter alone, which rows do not allow: here the
	// sum of their log-ratios is compared.
	HyperoptTPE
)

const (
	maxGood    = 25 // good trials, and recent ones of full weight, in both definitions
	tpeDefault = 24
)

// NewTPE returns the optimiser of s. The problem must have a space.
func NewTPE(p search.Problem, s TPE) (search.Optimizer, error) {
	if err := checkRange("rules", int(s.Rules), int(OptunaTPE), int(HyperoptTPE)); err != nil {
		return nil, err
	}
	s.Startup = cmp.Or(s.Startup, []int{10, 20}[s.Rules])
	s.Candidates = cmp.Or(s.Candidates, tpeDefault)
	x, err := pointsOf(p)
	if err != nil {
		return nil, err
	}
	return &tpe{
		settings: s, pool: newPool(p), points: x, epochs: p.MaxEpochs, rng: stream.New("baselines/tpe", p.Seed),
		forms: [2][]forms{newForms(x), newForms(x)}, logs: make([]float64, len(x.rows)),
	}, nil
}

type tpe struct {
	ledger
	settings TPE
	pool     pool
	points   *points
	epochs   int
	rng      *rand.Rand
	forms    [2][]forms // of the kernels of good and of other trials

	// The log density of the good trials at all unseen candidates, which stays
	// as long as the good trials and the joint axes do.
	good  []int
	joint []bool
	logs  []float64
}

func (t *tpe) Ask() (search.Proposal, search.Status) {
	if len(t.pool.left) == 0 {
		return t.idle()
	}
	if t.known() < t.settings.Startup {
		c, _ := t.pool.draw()
		return t.start(c, t.epochs), search.Ready
	}
	c := t.choose()
	t.pool.take(c)
	return t.start(c, t.epochs), search.Ready
}

func (t *tpe) Tell(r search.Report) { t.tell(r) }

// known is how many trials count towards the start.
func (t *tpe) known() int {
	if t.settings.Rules == HyperoptTPE {
		return len(t.trials)
	}
	n := 0
	for _, x := range t.trials {
		if x.progress == ended && x.score > worst {
			n++
		}
	}
	return n
}

// split returns the candidates of the good and of the other trials, both in the
// order of trials.
func (t *tpe) split() (good, bad []int) {
	counts := func(x *trial) bool { return t.settings.Rules == HyperoptTPE || x.progress == ended }
	n := 0
	for i := range t.trials {
		if x := &t.trials[i]; counts(x) && !t.ignored(x) {
			n++
		}
	}
	count := int(math.Ceil(0.1 * float64(n)))
	if t.settings.Rules == HyperoptTPE {
		count = int(math.Ceil(0.25 * math.Sqrt(float64(n))))
	}
	count = min(count, maxGood)

	score := func(i int) float64 {
		if t.trials[i].progress != ended {
			return worst
		}
		return t.trials[i].score
	}
	var best []int // the first count by descending score, of equals the earlier
	for i := range t.trials {
		if x := &t.trials[i]; !counts(x) || t.ignored(x) {
			continue
		}
		if len(best) == count {
			if count == 0 || score(i) <= score(best[count-1]) {
				continue
			}
			best = best[:count-1]
		}
		at := len(best)
		for at > 0 && score(i) > score(best[at-1]) {
			at--
		}
		best = slices.Insert(best, at, i)
	}
	chosen := make([]bool, len(t.trials))
	for _, i := range best {
		chosen[i] = true
	}
	for i := range t.trials {
		switch x := &t.trials[i]; {
		case chosen[i]:
			good = append(good, x.candidate)
		case !t.ignored(x):
			bad = append(bad, x.candidate)
		}
	}
	return good, bad
}

// ignored says that a trial has failed and counts as neither good nor bad.
func (t *tpe) ignored(x *trial) bool {
	return t.settings.Rules == OptunaTPE && x.progress == ended && x.score == worst
}

// choose returns the unseen candidate with the largest ratio of the densities
// among those drawn.
func (t *tpe) choose() int {
	good, bad := t.split()
	joint := t.settings.Rules.joint(t.points, good, bad)
	if t.joint == nil || !slices.Equal(good, t.good) || !slices.Equal(joint, t.joint) {
		t.good, t.joint = good, joint
		l := newParzen(t.points, t.settings.Rules, joint, good, t.forms[0])
		for _, c := range t.pool.left {
			t.logs[c] = l.at(int(c))
		}
	}
	g := newParzen(t.points, t.settings.Rules, joint, bad, t.forms[1])
	logs := make([]float64, len(t.pool.left))
	for i, c := range t.pool.left {
		logs[i] = t.logs[c]
	}
	draw := newWeightedDraw(logs)
	best, most := -1, math.Inf(-1)
	tried := make([]bool, len(logs))
	for range t.settings.Candidates {
		i := draw.next(t.rng)
		if tried[i] {
			continue
		}
		tried[i] = true
		c := int(t.pool.left[i])
		if ratio := logs[i] - g.at(c); best < 0 || ratio > most {
			best, most = c, ratio
		}
	}
	return best
}

// weightedDraw draws positions with probabilities given by their logarithms up
// to a constant.
type weightedDraw struct {
	upTo []float64 // cumulated
}

func newWeightedDraw(logs []float64) weightedDraw {
	top := math.Inf(-1)
	for _, v := range logs {
		top = max(top, v)
	}
	d := weightedDraw{upTo: make([]float64, len(logs))}
	sum := 0.0
	for i, v := range logs {
		if top > math.Inf(-1) {
			sum += math.Exp(v - top)
		} else {
			sum++ // none has any weight: all are equal
		}
		d.upTo[i] = sum
	}
	return d
}

func (d weightedDraw) next(rng *rand.Rand) int {
	u := rng.Float64() * d.upTo[len(d.upTo)-1]
	i, exact := slices.BinarySearch(d.upTo, u)
	for exact && i+1 < len(d.upTo) && d.upTo[i] <= u {
		i++
	}
	return min(i, len(d.upTo)-1)
}

// joint marks the axes that kernels are products over.
func (r TPERules) joint(x *points, good, bad []int) []bool {
	joint := make([]bool, len(x.axes))
	if r == OptunaTPE {
		for k := range joint {
			lacks := func(c int) bool { return x.at[c][k] < 0 }
			joint[k] = !slices.ContainsFunc(good, lacks) && !slices.ContainsFunc(bad, lacks)
		}
	}
	return joint
}

// parzen is a density over candidates: a mixture of products over the joint
// axes, times a mixture over each other axis that a candidate has. What is
// computed for one candidate is kept for the others at the same levels.
type parzen struct {
	points  *points
	weights []float64   // log, of the joint kernels; the last is the prior
	joint   []*kernels  // on each joint axis
	alone   []aloneAxis // the other axes
	terms   []float64   // as long as weights
}

// aloneAxis is a density on one axis.
type aloneAxis struct {
	axis int
	logs []float64 // by level, NaN before it is needed
	log  func(level int) float64
}

// newParzen estimates the density of candidates that were observed, oldest first.
// It is valid until the next that is made with the same forms.
func newParzen(x *points, rules TPERules, joint []bool, observed []int, shared []forms) *parzen {
	e := &parzen{points: x}
	e.weights = logWeights(len(observed))
	e.terms = make([]float64, len(e.weights))
	for k, a := range x.axes {
		at := make([]int32, 0, len(observed))
		for _, c := range observed {
			if level := x.at[c][k]; level >= 0 {
				at = append(at, level)
			}
		}
		if joint[k] {
			e.joint = append(e.joint, optunaKernels(x, k, at, &shared[k]))
			continue
		}
		alone := aloneAxis{axis: k, logs: unknown(len(x.levels[k]))}
		if rules == HyperoptTPE {
			values := make([]float64, len(at))
			for i, level := range at {
				values[i] = x.levels[k][level]
			}
			density := hyperoptDensity(a, values, byLevel(at, len(x.levels[k])))
			alone.log = func(level int) float64 { return density(x.levels[k][level]) }
		} else {
			kernels := optunaKernels(x, k, at, &shared[k])
			weights := logWeights(len(at))
			terms := make([]float64, len(weights))
			alone.log = func(level int) float64 {
				copy(terms, weights)
				kernels.addTo(terms, level)
				return logSumExp(terms)
			}
		}
		e.alone = append(e.alone, alone)
	}
	return e
}

// byLevel lists positions by ascending level; equal levels keep their order.
func byLevel(at []int32, levels int) []int {
	next := make([]int, levels+1)
	for _, level := range at {
		next[level+1]++
	}
	for level := range levels {
		next[level+1] += next[level]
	}
	order := make([]int, len(at))
	for i, level := range at {
		order[next[level]] = i
		next[level]++
	}
	return order
}

// unknown is n times NaN.
func unknown(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	return out
}

// at returns the log density at a candidate.
func (e *parzen) at(c int) float64 {
	at := e.points.at[c]
	sum := 0.0
	for i := range e.alone {
		a := &e.alone[i]
		level := at[a.axis]
		if level < 0 {
			continue
		}
		if math.IsNaN(a.logs[level]) {
			a.logs[level] = a.log(int(level))
		}
		sum += a.logs[level]
	}
	if len(e.joint) == 0 {
		return sum
	}
	copy(e.terms, e.weights)
	for _, k := range e.joint {
		if level := at[k.index]; level >= 0 {
			k.addTo(e.terms, int(level))
		}
	}
	return sum + logSumExp(e.terms)
}

// kernels are those of observations on an axis, and that of the prior. Many are
// equal on an axis of few levels, since observations are: kernel i is form of[i],
// and used lists each form once.
type kernels struct {
	index  int
	axis   axis
	levels []float64
	scaled []float64 // levels on the axis' scale
	of     []int32
	used   []int32
	forms  *forms
}

// forms are the forms of the kernels on an axis, of earlier proposals too: most
// trials are the same from one proposal to the next, and so are their kernels.
type forms struct {
	list   []kernelForm
	level  []int32   // of each; the prior has the one beyond the last
	older  []int32   // the form before it at its level, -1 for none
	latest []int32   // by level, -1 for none
	user   []int     // that has counted it last
	users  int       // so far
	column []float64 // memory of addTo
}

// newForms is empty for each axis.
func newForms(x *points) []forms {
	out := make([]forms, len(x.axes))
	for k := range out {
		out[k].latest = make([]int32, len(x.levels[k])+1)
		out[k].forget()
	}
	return out
}

func (s *forms) forget() {
	s.list, s.level, s.older, s.user = s.list[:0], s.level[:0], s.older[:0], s.user[:0]
	for i := range s.latest {
		s.latest[i] = -1
	}
}

// find returns the form at a level with a width, which is made where it is new.
func (s *forms) find(level int, width float64, form func() kernelForm) int32 {
	for f := s.latest[level]; f >= 0; f = s.older[f] {
		if s.list[f].width == width {
			return f
		}
	}
	f := int32(len(s.list))
	s.list, s.level = append(s.list, form()), append(s.level, int32(level))
	s.older, s.user = append(s.older, s.latest[level]), append(s.user, 0)
	s.latest[level] = f
	return f
}

// kernelForm is a normal distribution, truncated, or one over categories.
type kernelForm struct {
	mean, width float64   // the category, -1 for the prior; for a category the width is the number of kernels
	constant    float64   // taken from the logarithm
	other       float64   // log probability of each other category
	logs        []float64 // by level, NaN before it is needed; nil where there are many levels
}

// manyLevels is from how many levels on those of a continuous axis are not kept.
const manyLevels = 256

// addTo adds the log densities at a level to those of a product so far.
func (k *kernels) addTo(terms []float64, level int) {
	column := k.forms.column
	for _, f := range k.used {
		form := &k.forms.list[f]
		switch {
		case form.logs == nil:
			z := (k.scaled[level] - form.mean) / form.width
			column[f] = -z*z/2 - form.constant
		case math.IsNaN(form.logs[level]):
			form.logs[level] = k.axis.kernelLog(form, k.levels[level])
			fallthrough
		default:
			column[f] = form.logs[level]
		}
	}
	for i, f := range k.of {
		terms[i] += column[f]
	}
}

// kernelLog is the log density of a kernel at a number; of an axis with steps
// its mass between half a step below and above. Means and deviations are on the
// axis' scale, and so is the density but for the Jacobian of a logarithm, which
// is the same for all.
func (a axis) kernelLog(f *kernelForm, x float64) float64 {
	switch {
	case a.choices > 0 && x == f.mean:
		return -f.constant
	case a.choices > 0:
		return f.other
	case a.step > 0:
		from, to := a.scaled(x-a.step/2), a.scaled(x+a.step/2)
		return logNormalMass((from-f.mean)/f.width, (to-f.mean)/f.width) - f.constant
	}
	z := (a.scaled(x) - f.mean) / f.width
	return -z*z/2 - f.constant
}

// logWeights are the weights of n observations, oldest first, and of the prior
// behind them: 1 for the latest 25, a ramp from 1/n to 1 before, normalised.
func logWeights(n int) []float64 {
	w := append(forgetting(n), 1)
	total := 0.0
	for _, v := range w {
		total += v
	}
	for i := range w {
		w[i] = math.Log(w[i] / total)
	}
	return w
}

// forgetting is linear forgetting of all but the latest 25 observations.
func forgetting(n int) []float64 {
	w := make([]float64, n)
	ramp := n - maxGood
	for i := range w {
		w[i] = 1
		if i < ramp {
			w[i] = 1 / float64(n)
			if ramp > 1 {
				w[i] += (1 - 1/float64(n)) * float64(i) / float64(ramp-1)
			}
		}
	}
	return w
}

// optunaKernels are the kernels of parzen_estimator.py for observations at some
// levels.
func optunaKernels(x *points, index int, at []int32, shared *forms) *kernels {
	n := len(at) + 1
	a, levels, scaled := x.axes[index], x.levels[index], x.scaled[index]
	if len(shared.list) > 8*(n+len(levels)) { // of proposals long ago
		shared.forget()
	}
	shared.users++
	out := &kernels{index: index, axis: a, levels: levels, scaled: scaled, of: make([]int32, 0, n), forms: shared}
	add := func(level int, width float64, form func() kernelForm) {
		f := shared.find(level, width, func() kernelForm {
			made := form()
			if a.choices > 0 || a.step > 0 || len(levels) < manyLevels {
				made.logs = unknown(len(levels))
			}
			return made
		})
		if shared.user[f] != shared.users {
			shared.user[f] = shared.users
			out.used = append(out.used, f)
		}
		out.of = append(out.of, f)
	}
	prior := len(levels)
	if a.choices > 0 {
		other := 1 / float64(n)
		total := 1 + float64(a.choices)*other
		for _, level := range at {
			add(int(level), float64(n), func() kernelForm {
				return kernelForm{mean: levels[level], width: float64(n), constant: -math.Log((1 + other) / total), other: math.Log(other / total)}
			})
		}
		add(prior, float64(n), func() kernelForm {
			return kernelForm{mean: -1, width: float64(n), other: -math.Log(float64(a.choices))}
		})
	} else {
		low, high := a.low(), a.high()
		normal := func(level int, mean, width float64) {
			add(level, width, func() kernelForm {
				constant := logNormalMass((low-mean)/width, (high-mean)/width)
				if a.step == 0 {
					constant += math.Log(width * math.Sqrt(2*math.Pi))
				}
				return kernelForm{mean: mean, width: width, constant: constant}
			})
		}
		least := (high - low) / math.Min(100, 1+float64(n))
		for i, w := range neighbourWidths(at, scaled, low, high) {
			normal(int(at[i]), scaled[at[i]], min(max(w, least), high-low))
		}
		normal(prior, (low+high)/2, high-low)
	}
	if len(shared.column) < len(shared.list) {
		shared.column = make([]float64, 2*len(shared.list))
	}
	return out
}

// neighbourWidths is the larger distance of each observation to its neighbours;
// the outermost of two or more count only the inner one, a single one its
// distances to the bounds. Observations at the same level keep their order.
func neighbourWidths(at []int32, scaled []float64, low, high float64) []float64 {
	n := len(at)
	order := byLevel(at, len(scaled))
	value := func(rank int) float64 { return scaled[at[order[rank]]] }
	widths := make([]float64, n)
	for rank, i := range order {
		below, above := low, high
		if rank > 0 {
			below = value(rank - 1)
		}
		if rank < n-1 {
			above = value(rank + 1)
		}
		v := value(rank)
		switch {
		case n > 1 && rank == 0:
			widths[i] = above - v
		case n > 1 && rank == n-1:
			widths[i] = v - below
		default:
			widths[i] = max(v-below, above-v)
		}
	}
	return widths
}

// hyperoptDensity is the log density by hyperopt's adaptive_parzen_normal and
// GMM1_lpdf, and by its categorical pseudo-counts. Order lists the values by size,
// of equal ones the older first.
func hyperoptDensity(a axis, values []float64, order []int) func(x float64) float64 {
	if a.choices > 0 {
		counts := make([]float64, a.choices)
		total := 0.0
		for j, w := range forgetting(len(values)) {
			counts[int(values[j])] += w
			total += w
		}
		return func(x float64) float64 { return math.Log((counts[int(x)] + 1) / (total + float64(a.choices))) }
	}
	low, high := a.low(), a.high()
	means := make([]float64, len(values))
	for i, v := range values {
		means[i] = a.scaled(v)
	}
	m := hyperoptMixture(means, order, (low+high)/2, high-low)
	if a.step > 0 {
		m = m.merged()
	}
	inside := m.mass(low, high)
	// hyperopt truncates the continuous log-normal mixture to no bounds.
	if a.log && a.step == 0 {
		inside = 1
	}
	if a.step > 0 {
		return func(x float64) float64 {
			mass := m.mass(max(a.scaled(x-a.step/2), low), min(a.scaled(x+a.step/2), high))
			return math.Log(max(mass, math.SmallestNonzeroFloat64)) - math.Log(inside)
		}
	}
	terms := make([]float64, len(m.means))
	heights := make([]float64, len(m.means))
	for i, w := range m.weights {
		heights[i] = math.Log(w / math.Sqrt(2*math.Pi) / m.widths[i] / inside)
	}
	return func(x float64) float64 {
		x = a.scaled(x)
		for i := range terms {
			z := (x - m.means[i]) / m.widths[i]
			terms[i] = heights[i] - z*z/2
		}
		return logSumExp(terms)
	}
}

// merged adds up the weights of equal neighbours.
func (m mixture) merged() mixture {
	var out mixture
	for i, w := range m.weights {
		if last := len(out.means) - 1; last >= 0 && out.means[last] == m.means[i] && out.widths[last] == m.widths[i] {
			out.weights[last] += w
			continue
		}
		out.weights, out.means, out.widths = append(out.weights, w), append(out.means, m.means[i]), append(out.widths, m.widths[i])
	}
	return out
}

// mass is that between two numbers.
func (m mixture) mass(from, to float64) float64 {
	sum := 0.0
	for i, w := range m.weights {
		sum += w * (normalCDF((to-m.means[i])/m.widths[i]) - normalCDF((from-m.means[i])/m.widths[i]))
	}
	return sum
}

// mixture is one of normal distributions, ascending in the mean.
type mixture struct{ weights, means, widths []float64 }

// hyperoptMixture is adaptive_parzen_normal: the prior is sorted in among the
// observations.
func hyperoptMixture(values []float64, order []int, priorMean, priorWidth float64) mixture {
	n := len(values)
	// A single observation that equals the mean of the prior comes before it,
	// of several all that are less.
	at := 0
	for at < n && (values[order[at]] < priorMean || n == 1 && values[0] == priorMean) {
		at++
	}
	recent := forgetting(n)
	m := mixture{weights: make([]float64, n+1), means: make([]float64, n+1), widths: make([]float64, n+1)}
	for i, rank := 0, 0; i <= n; i++ {
		if i == at {
			m.means[i], m.weights[i] = priorMean, 1
			continue
		}
		m.means[i], m.weights[i] = values[order[rank]], recent[order[rank]]
		rank++
	}
	for i := range m.widths {
		switch {
		case n == 1:
			m.widths[i] = priorWidth / 2
		case i == 0 && n > 0:
			m.widths[i] = m.means[1] - m.means[0]
		case i == n && n > 0:
			m.widths[i] = m.means[n] - m.means[n-1]
		case n > 0:
			m.widths[i] = max(m.means[i]-m.means[i-1], m.means[i+1]-m.means[i])
		}
		m.widths[i] = min(max(m.widths[i], priorWidth/math.Min(100, 2+float64(n))), priorWidth)
	}
	m.widths[at] = priorWidth
	total := 0.0
	for _, w := range m.weights {
		total += w
	}
	for i := range m.weights {
		m.weights[i] /= total
	}
	return m
}

// logSumExp is log(sum(exp(x))) without overflow.
func logSumExp(x []float64) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, v)
	}
	if math.IsInf(top, 0) {
		return top
	}
	sum := 0.0
	for _, v := range x {
		if v > top-negligible {
			sum += math.Exp(v - top)
		}
	}
	return top + math.Log(sum)
}

// negligible is how far below the largest a term adds nothing: each less than a
// rounding error.
const negligible = 40

func normalCDF(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }

// logNormalMass is the logarithm of the mass of a standard normal distribution
// between a and b, a < b, exact in the tails.
func logNormalMass(a, b float64) float64 {
	switch {
	case a > 0:
		return logNormalMass(-b, -a)
	case b > 0:
		return math.Log1p(-normalCDF(a) - normalCDF(-b))
	}
	top := logNormalCDF(b)
	return top + math.Log(-math.Expm1(logNormalCDF(a)-top))
}

// logNormalCDF is exact in the lower tail, where the distribution underflows.
func logNormalCDF(x float64) float64 {
	if x > -30 {
		return math.Log(normalCDF(x))
	}
	y := 1 / (x * x)
	return -x*x/2 - math.Log(-x) - math.Log(2*math.Pi)/2 + math.Log1p(-y*(1-3*y*(1-5*y*(1-7*y))))
}

func tpeOptuna() definition {
	return tpeDefinition(TPE{Rules: OptunaTPE}, 10, search.Method{
		Name:   "tpe",
		Title:  "TPE (Optuna)",
		Source: "Bergstra et al., NeurIPS 2011; Optuna 5.0, samplers/_tpe",
	})
}

func tpeHyperopt() definition {
	return tpeDefinition(TPE{Rules: HyperoptTPE}, 20, search.Method{
		Name:   "tpe-hyperopt",
		Title:  "TPE (hyperopt)",
		Source: "Bergstra et al., NeurIPS 2011; hyperopt 0.3.0, tpe.py",
	})
}

func tpeDefinition(variant TPE, startup int, method search.Method) definition {
	s := &variant
	return definition{
		method: method,
		settings: []Setting{
			intSetting(&s.Startup, "startup", startup, 1, maxCandidates, "candidates drawn uniformly at first"),
			intSetting(&s.Candidates, "candidates", tpeDefault, 1, maxCandidates, "rows drawn and compared for a proposal"),
		},
		details: func() string {
			good := "good: min(ceil(0.1 n), 25)"
			if s.Rules == HyperoptTPE {
				good = "good: min(ceil(0.25 sqrt(n)), 25)"
			}
			return fmt.Sprintf("startup=%d, candidates=%d, %s", s.Startup, s.Candidates, good)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewTPE(p, settings) }
		},
	}
}
