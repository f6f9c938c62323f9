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
	return &tpe{settings: s, pool: newPool(p), points: x, epochs: p.MaxEpochs, rng: stream.New("baselines/tpe", p.Seed)}, nil
}

type tpe struct {
	ledger
	settings TPE
	pool     pool
	points   *points
	epochs   int
	rng      *rand.Rand
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
	score := func(i int) float64 {
		if t.trials[i].progress != ended {
			return worst
		}
		return t.trials[i].score
	}
	var finished, all []int
	for i, x := range t.trials {
		failed := x.progress == ended && x.score == worst
		if t.settings.Rules == OptunaTPE && failed {
			continue
		}
		all = append(all, i)
		if t.settings.Rules == HyperoptTPE || x.progress == ended {
			finished = append(finished, i)
		}
	}
	n := len(finished)
	count := int(math.Ceil(0.1 * float64(n)))
	if t.settings.Rules == HyperoptTPE {
		count = int(math.Ceil(0.25 * math.Sqrt(float64(n))))
	}
	count = min(count, maxGood)
	slices.SortStableFunc(finished, func(a, b int) int { return cmp.Compare(score(b), score(a)) })
	for _, i := range all {
		if slices.Contains(finished[:count], i) {
			good = append(good, t.trials[i].candidate)
		} else {
			bad = append(bad, t.trials[i].candidate)
		}
	}
	return good, bad
}

// choose returns the unseen candidate with the largest ratio of the densities
// among those drawn.
func (t *tpe) choose() int {
	good, bad := t.split()
	l, g := t.settings.Rules.densities(t.points, good, bad)
	logs := make([]float64, len(t.pool.left))
	for i, c := range t.pool.left {
		logs[i] = l.at(int(c))
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

// densities estimates the density of two sets of candidates.
func (r TPERules) densities(x *points, good, bad []int) (l, g *parzen) {
	joint := make([]bool, len(x.axes))
	if r == OptunaTPE {
		for k := range joint {
			has := func(c int) bool { return x.at[c][k] >= 0 }
			joint[k] = !slices.ContainsFunc(good, func(c int) bool { return !has(c) }) &&
				!slices.ContainsFunc(bad, func(c int) bool { return !has(c) })
		}
	}
	return newParzen(x, r, joint, good), newParzen(x, r, joint, bad)
}

// parzen is a density over candidates: a mixture of products over the joint
// axes, times a mixture over each other axis that a candidate has.
type parzen struct {
	points  *points
	weights []float64   // log, of the joint kernels; the last is the prior
	joint   []kernelLog // by joint axis
	alone   [][]float64 // by axis and level: log density; nil for a joint axis
}

// kernelLog holds the log density of kernels on an axis. Many kernels are
// equal, since observations are: kernel i is form[i].
type kernelLog struct {
	axis int
	form []int32
	logs [][]float64 // by form and level
}

func newParzen(x *points, rules TPERules, joint []bool, observed []int) *parzen {
	e := &parzen{points: x, alone: make([][]float64, len(x.axes))}
	e.weights = logWeights(len(observed))
	for k, a := range x.axes {
		if joint[k] {
			values := make([]float64, len(observed))
			for i, c := range observed {
				values[i] = x.rows[c][k]
			}
			e.joint = append(e.joint, optunaKernels(k, a, x.levels[k], values))
			continue
		}
		var values []float64
		for _, c := range observed {
			if v := x.rows[c][k]; !math.IsNaN(v) {
				values = append(values, v)
			}
		}
		if rules == HyperoptTPE {
			e.alone[k] = hyperoptDensity(a, x.levels[k], values)
			continue
		}
		kernels := optunaKernels(k, a, x.levels[k], values)
		weights := logWeights(len(values))
		e.alone[k] = make([]float64, len(x.levels[k]))
		terms := make([]float64, len(weights))
		for level := range e.alone[k] {
			for i := range terms {
				terms[i] = weights[i] + kernels.logs[kernels.form[i]][level]
			}
			e.alone[k][level] = logSumExp(terms)
		}
	}
	return e
}

// at returns the log density at a candidate.
func (e *parzen) at(c int) float64 {
	at := e.points.at[c]
	sum := 0.0
	for k, logs := range e.alone {
		if logs != nil && at[k] >= 0 {
			sum += logs[at[k]]
		}
	}
	if len(e.joint) == 0 {
		return sum
	}
	terms := slices.Clone(e.weights)
	for j := range e.joint {
		k := &e.joint[j]
		level := at[k.axis]
		if level < 0 {
			continue
		}
		// One number a form first: there are fewer forms than kernels.
		column := make([]float64, len(k.logs))
		for f, logs := range k.logs {
			column[f] = logs[level]
		}
		for i, f := range k.form {
			terms[i] += column[f]
		}
	}
	return sum + logSumExp(terms)
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

// optunaKernels are the kernels of observations on an axis, and that of the
// prior (parzen_estimator.py).
func optunaKernels(index int, a axis, levels, values []float64) kernelLog {
	n := len(values) + 1
	out := kernelLog{axis: index}
	known := make(map[[2]float64]int32)
	add := func(mean, width float64, logs func(level float64) float64) {
		key := [2]float64{mean, width}
		form, ok := known[key]
		if !ok {
			form = int32(len(out.logs))
			known[key] = form
			row := make([]float64, len(levels))
			for i, v := range levels {
				row[i] = logs(v)
			}
			out.logs = append(out.logs, row)
		}
		out.form = append(out.form, form)
	}
	if a.choices > 0 {
		other := 1 / float64(n)
		total := 1 + float64(a.choices)*other
		for _, v := range values {
			add(v, 0, func(level float64) float64 {
				if level == v {
					return math.Log((1 + other) / total)
				}
				return math.Log(other / total)
			})
		}
		add(-1, 0, func(float64) float64 { return -math.Log(float64(a.choices)) })
		return out
	}
	means := make([]float64, len(values))
	for i, v := range values {
		means[i] = a.scaled(v)
	}
	low, high := a.low(), a.high()
	widths := neighbourWidths(means, low, high)
	least := (high - low) / math.Min(100, 1+float64(n))
	for i, m := range means {
		s := min(max(widths[i], least), high-low)
		add(m, s, func(level float64) float64 { return a.truncatedLog(level, m, s) })
	}
	middle := (low + high) / 2
	add(middle, high-low, func(level float64) float64 { return a.truncatedLog(level, middle, high-low) })
	return out
}

// neighbourWidths is the larger distance of each number to its neighbours; the
// outermost of two or more count only the inner one, a single number its
// distances to the bounds. Equal numbers keep their order.
func neighbourWidths(values []float64, low, high float64) []float64 {
	n := len(values)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	widths := make([]float64, n)
	for rank, i := range order {
		below, above := low, high
		if rank > 0 {
			below = values[order[rank-1]]
		}
		if rank < n-1 {
			above = values[order[rank+1]]
		}
		switch {
		case n > 1 && rank == 0:
			widths[i] = above - values[i]
		case n > 1 && rank == n-1:
			widths[i] = values[i] - below
		default:
			widths[i] = max(values[i]-below, above-values[i])
		}
	}
	return widths
}

// truncatedLog is the log density at a number of a normal distribution that is
// truncated to the bounds; of an axis with steps its mass between half a step
// below and above. Mean and deviation are on the axis' scale, and so is the
// density but for the Jacobian of a logarithm, which is the same for all.
func (a axis) truncatedLog(x, mean, deviation float64) float64 {
	inside := logNormalMass((a.low()-mean)/deviation, (a.high()-mean)/deviation)
	if a.step > 0 {
		from, to := a.scaled(x-a.step/2), a.scaled(x+a.step/2)
		return logNormalMass((from-mean)/deviation, (to-mean)/deviation) - inside
	}
	z := (a.scaled(x) - mean) / deviation
	return -z*z/2 - math.Log(deviation*math.Sqrt(2*math.Pi)) - inside
}

// hyperoptDensity is the log density at levels by hyperopt's
// adaptive_parzen_normal and GMM1_lpdf, and by its categorical pseudo-counts.
func hyperoptDensity(a axis, levels, values []float64) []float64 {
	logs := make([]float64, len(levels))
	recent := forgetting(len(values))
	if a.choices > 0 {
		total := float64(a.choices)
		for _, w := range recent {
			total += w
		}
		for i, level := range levels {
			count := 1.0
			for j, v := range values {
				if v == level {
					count += recent[j]
				}
			}
			logs[i] = math.Log(count / total)
		}
		return logs
	}
	low, high := a.low(), a.high()
	means := make([]float64, len(values))
	for i, v := range values {
		means[i] = a.scaled(v)
	}
	m := hyperoptMixture(means, (low+high)/2, high-low)
	inside := 0.0
	for i := range m.means {
		inside += m.weights[i] * (normalCDF((high-m.means[i])/m.widths[i]) - normalCDF((low-m.means[i])/m.widths[i]))
	}
	// hyperopt truncates the continuous log-normal mixture to no bounds.
	if a.log && a.step == 0 {
		inside = 1
	}
	terms := make([]float64, len(m.means))
	for j, level := range levels {
		if a.step > 0 {
			mass := 0.0
			from := max(a.scaled(level-a.step/2), low)
			to := min(a.scaled(level+a.step/2), high)
			for i := range m.means {
				mass += m.weights[i] * (normalCDF((to-m.means[i])/m.widths[i]) - normalCDF((from-m.means[i])/m.widths[i]))
			}
			logs[j] = math.Log(max(mass, math.SmallestNonzeroFloat64)) - math.Log(inside)
			continue
		}
		x := a.scaled(level)
		for i := range terms {
			z := (x - m.means[i]) / m.widths[i]
			terms[i] = -z*z/2 + math.Log(m.weights[i]/math.Sqrt(2*math.Pi)/m.widths[i]/inside)
		}
		logs[j] = logSumExp(terms)
	}
	return logs
}

// mixture is one of normal distributions, ascending in the mean.
type mixture struct{ weights, means, widths []float64 }

// hyperoptMixture is adaptive_parzen_normal: the prior is sorted in among the
// observations.
func hyperoptMixture(values []float64, priorMean, priorWidth float64) mixture {
	n := len(values)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
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
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}

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
