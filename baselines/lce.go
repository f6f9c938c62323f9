package baselines

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"quicktune/search"
)

// CurveExtrapolation is random search that gives up a trial whose learning
// curve, extrapolated to the last epoch, is unlikely to exceed the best score
// of all trials.
//
// The curve is one of eleven parametric families. Domhan et al. sample their
// parameters and the weights of a linear combination with emcee, which takes
// minutes. Here the posterior is a sum: in each family all parameters but two
// enter linearly and are integrated in closed form, those two and the noise run
// over a grid, and families are weighted by their evidence. Predictions count
// only as far as they lie in [0, 1].
//
// Scores without bounds, such as negated losses, are mapped such that the worst
// seen becomes 0 and the best 0.8, which leaves room for a better one.
//
// Source: Domhan, Springenberg and Hutter: Speeding Up Automatic Hyperparameter
// Optimization of Deep Neural Networks by Extrapolation of Learning Curves,
// IJCAI 2015; criteria and constants of pylearningcurvepredictor
// (pylrpredictor/terminationcriterion.py).
type CurveExtrapolation struct {
	// Threshold is the probability of exceeding the best score below which a
	// trial is given up. 0 means 0.05.
	Threshold float64
	// Certainty, if not 0, also ends a trial of which the score at the last
	// epoch is known this well, in standard deviations: the optimistic
	// criterion, with 0.005 in the source.
	Certainty float64
	// Interval is how many epochs lie between checks. 0 means a tenth of the
	// longest curve, rounded up, as in the paper's experiments (30 of 285).
	Interval int
}

// NewCurveExtrapolation returns the optimiser of s.
func NewCurveExtrapolation(p search.Problem, s CurveExtrapolation) (search.Optimizer, error) {
	if s.Threshold == 0 {
		s.Threshold = 0.05
	}
	if !(s.Threshold > 0 && s.Threshold < 1) || s.Certainty < 0 {
		return nil, fmt.Errorf("threshold %g, certainty %g; want a threshold between 0 and 1 and a certainty of at least 0", s.Threshold, s.Certainty)
	}
	s.Interval = cmp.Or(s.Interval, (p.MaxEpochs+9)/10)
	rule := &extrapolationRule{settings: s, last: p.MaxEpochs, bounded: p.Metric.Bounded, best: worst, lowest: math.Inf(1), curves: newCurveModel()}
	return &extrapolating{stopping: newStopping(p, rule, s.Interval, s.Interval), rule: rule}, nil
}

// extrapolating shows every score to the rule.
type extrapolating struct {
	*stopping
	rule *extrapolationRule
}

func (e *extrapolating) Tell(r search.Report) {
	if finite(r.Score) {
		e.rule.best = max(e.rule.best, r.Score)
		e.rule.lowest = min(e.rule.lowest, r.Score)
	}
	e.stopping.Tell(r)
}

type extrapolationRule struct {
	settings CurveExtrapolation
	last     int
	bounded  bool
	best     float64 // of all trials
	lowest   float64
	curves   *curveModel
}

func (r *extrapolationRule) completed([]float64) {}

func (r *extrapolationRule) stops(scores []float64) bool {
	y := make([]float64, 0, len(scores))
	own := worst
	for _, s := range scores {
		if !finite(s) {
			// An epoch without a number repeats the one before.
			if len(y) > 0 {
				y = append(y, y[len(y)-1])
			}
			continue
		}
		own = max(own, s)
		y = append(y, r.scale(s))
	}
	if own >= r.best && own > worst || len(y) < leastCurve {
		return false
	}
	y = cutBeginning(y)
	f := r.curves.predict(y, len(y)+r.last-len(scores))
	if f.above(r.scale(r.best)) < r.settings.Threshold {
		return true
	}
	return r.settings.Certainty > 0 && f.deviation() < r.settings.Certainty
}

// headroom is where the best score without bounds is mapped to.
const headroom = 0.8

func (r *extrapolationRule) scale(score float64) float64 {
	if r.bounded {
		return score
	}
	if !(r.best > r.lowest) {
		return headroom
	}
	return headroom * (score - r.lowest) / (r.best - r.lowest)
}

const (
	leastCurve   = 4    // epochs, the number of parameters of the largest families
	flatLookout  = 5    // epochs
	flatDistance = 0.05 // of scores that count as equal
)

// cutBeginning drops the epochs before a curve begins to move.
func cutBeginning(y []float64) []float64 {
	cut := 0
	for cut+flatLookout < len(y) && math.Abs(y[cut]-y[cut+flatLookout]) < flatDistance {
		cut++
	}
	if cut+flatLookout >= len(y) {
		return y // it never moves
	}
	return y[cut:]
}

// curveFamily is one of the families as offset(x) + a + b shape(x), for each
// pair of the parameters that do not enter linearly; a is the asymptote and
// absent where the family has none.
type curveFamily struct {
	name      string
	asymptote bool
	first     []float64 // grid of the two parameters
	second    []float64
	shape     func(x, p, q float64) float64
	offset    func(x, p, q float64) float64 // nil for 0
}

// grid is n numbers from lo to hi, evenly on a logarithmic scale.
func grid(lo, hi float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = lo * math.Pow(hi/lo, float64(i)/float64(n-1))
	}
	return out
}

// curveFamilies are the families of the source by their names there. Weibull,
// Janoschek and exp4 are the same functions with different parameters, and so
// with different priors.
func curveFamilies() []curveFamily {
	one := []float64{0}
	negative := func(g []float64) []float64 {
		for i := range g {
			g[i] = -g[i]
		}
		return g
	}
	return []curveFamily{
		// c - a x^-alpha
		{name: "pow3", asymptote: true, first: grid(0.05, 4, 16), second: one,
			shape: func(x, p, _ float64) float64 { return math.Pow(x, -p) }},
		// c - (a x + b)^-alpha, with the ratio b/a
		{name: "pow4", asymptote: true, first: grid(0.05, 4, 8), second: grid(0.1, 100, 8),
			shape: func(x, p, q float64) float64 { return math.Pow((x+q)/(1+q), -p) }},
		// log(a log(x) + b) = log(a) + log(log(x) + b/a)
		{name: "loglog_linear", first: grid(0.05, 50, 16), second: one,
			shape:  func(float64, float64, float64) float64 { return 1 },
			offset: func(x, p, _ float64) float64 { return math.Log(math.Log(x) + p) }},
		// theta x^eta / (kappa^eta + x^eta)
		{name: "dr_hill_zero_background", first: grid(0.1, 100, 8), second: grid(0.2, 4, 8),
			shape: func(x, p, q float64) float64 { return 1 / (1 + math.Pow(p/x, q)) }},
		// a / (1 + (x/exp(b))^c)
		{name: "log_power", first: grid(0.1, 100, 8), second: negative(grid(0.2, 4, 8)),
			shape: func(x, p, q float64) float64 { return 1 / (1 + math.Pow(x/p, q)) }},
		// alpha - (alpha - beta) / (1 + (kappa x)^delta)
		{name: "mmf", asymptote: true, first: grid(0.01, 10, 8), second: grid(0.2, 4, 8),
			shape: func(x, p, q float64) float64 { return 1 / (1 + math.Pow(p*x, q)) }},
		// c - exp(-a x^alpha + b)
		{name: "exp4", asymptote: true, first: grid(0.01, 3, 8), second: grid(0.2, 2, 8),
			shape: func(x, p, q float64) float64 { return math.Exp(-p * math.Pow(x, q)) }},
		// alpha - (alpha - beta) exp(-kappa x^delta)
		{name: "janoschek", asymptote: true, first: grid(0.01, 3, 8), second: grid(0.2, 2, 8),
			shape: func(x, p, q float64) float64 { return math.Exp(-p * math.Pow(x, q)) }},
		// alpha - (alpha - beta) exp(-(kappa x)^delta)
		{name: "weibull", asymptote: true, first: grid(0.01, 3, 8), second: grid(0.2, 2, 8),
			shape: func(x, p, q float64) float64 { return math.Exp(-math.Pow(p*x, q)) }},
		// c - a / log(1 + x)
		{name: "ilog2", asymptote: true, first: one, second: one,
			shape: func(x, _, _ float64) float64 { return 1 / math.Log(1+x) }},
		// exp(a + b/x + c log(x))
		{name: "vap", first: negative(grid(0.05, 10, 8)), second: grid(0.01, 1, 8),
			shape: func(x, p, q float64) float64 { return math.Exp(p/x) * math.Pow(x, q) }},
	}
}

// The prior: the asymptote, or the factor of a family without one, is about a
// half, all other linear parameters about 0, and the noise one of three.
const (
	asymptoteMean   = 0.5
	asymptoteSpread = 0.5
	shapeSpread     = 1.0
)

var curveNoise = []float64{0.01, 0.03, 0.1}

// curveModel predicts curves. The values of the families at whole epochs are
// kept.
type curveModel struct {
	nodes []curveNode
}

// curveNode is a family with its nonlinear parameters fixed.
type curveNode struct {
	family *curveFamily
	p, q   float64
	prior  float64 // log
	shape  []float64
	offset []float64
}

func newCurveModel() *curveModel {
	m := new(curveModel)
	families := curveFamilies()
	for i := range families {
		f := &families[i]
		prior := -math.Log(float64(len(families) * len(f.first) * len(f.second) * len(curveNoise)))
		for _, p := range f.first {
			for _, q := range f.second {
				m.nodes = append(m.nodes, curveNode{family: f, p: p, q: q, prior: prior})
			}
		}
	}
	return m
}

// at returns the shape and the offset at an epoch, from 1.
func (n *curveNode) at(x int) (shape, offset float64) {
	if x <= len(n.shape) {
		return n.shape[x-1], n.offset[x-1]
	}
	shape = n.family.shape(float64(x), n.p, n.q)
	if n.family.offset != nil {
		offset = n.family.offset(float64(x), n.p, n.q)
	}
	return shape, offset
}

// upTo keeps the values of epochs 1 to x.
func (n *curveNode) upTo(x int) {
	for e := len(n.shape) + 1; e <= x; e++ {
		shape, offset := n.at(e)
		n.shape, n.offset = append(n.shape, shape), append(n.offset, offset)
	}
}

// forecastOf is a mixture of normal distributions.
type forecastOf struct {
	logs, means, deviations []float64
}

// recencyWeights let the last epoch count nearly ten times as much as the first;
// their mean is 1.
func recencyWeights(n int) []float64 {
	w := make([]float64, n)
	total := 0.0
	for k := range w {
		w[k] = math.Pow(10, float64(k)/float64(n))
		total += w[k]
	}
	for k := range w {
		w[k] *= float64(n) / total
	}
	return w
}

// predict is the posterior of the score at epoch last, given the scores of
// epochs 1 to len(y).
func (m *curveModel) predict(y []float64, last int) forecastOf {
	var f forecastOf
	w := recencyWeights(len(y))
	for i := range m.nodes {
		n := &m.nodes[i]
		n.upTo(len(y))
		var s curveSums
		for k, v := range y {
			s.add(w[k], n.shape[k], v-n.offset[k])
		}
		shape, offset := n.at(last)
		for _, noise := range curveNoise {
			evidence, mean, variance := s.posterior(n.family.asymptote, noise, shape)
			f.logs = append(f.logs, n.prior+evidence)
			f.means = append(f.means, offset+mean)
			f.deviations = append(f.deviations, math.Sqrt(variance))
		}
	}
	return f
}

// curveSums are weighted sums over epochs, enough for any linear regression on
// the constant and the shape.
type curveSums struct {
	n                               int
	w, shape, shape2, y, y2, shapeY float64
}

func (s *curveSums) add(w, shape, y float64) {
	s.n++
	s.w += w
	s.shape += w * shape
	s.shape2 += w * shape * shape
	s.y += w * y
	s.y2 += w * y * y
	s.shapeY += w * shape * y
}

// posterior integrates the linear parameters: it returns the logarithm of the
// evidence, and mean and variance, noise included, of the score where the shape
// has the given value.
func (s *curveSums) posterior(asymptote bool, noise, shape float64) (evidence, mean, variance float64) {
	precision := 1 / (noise * noise)
	evidence = -float64(s.n)*math.Log(noise*math.Sqrt(2*math.Pi)) - precision*s.y2/2
	const a0 = 1 / (asymptoteSpread * asymptoteSpread)
	if !asymptote {
		// One parameter, the factor of the shape.
		a := a0 + precision*s.shape2
		b := a0*asymptoteMean + precision*s.shapeY
		evidence += b*b/a/2 - a0*asymptoteMean*asymptoteMean/2 + math.Log(a0/a)/2
		return evidence, shape * b / a, shape*shape/a + noise*noise
	}
	const s0 = 1 / (shapeSpread * shapeSpread)
	a11, a12, a22 := a0+precision*s.w, precision*s.shape, s0+precision*s.shape2
	b1, b2 := a0*asymptoteMean+precision*s.y, precision*s.shapeY
	determinant := a11*a22 - a12*a12
	x1, x2 := (a22*b1-a12*b2)/determinant, (a11*b2-a12*b1)/determinant
	evidence += (b1*x1+b2*x2)/2 - a0*asymptoteMean*asymptoteMean/2 + math.Log(a0*s0/determinant)/2
	mean = x1 + shape*x2
	variance = (a22-2*a12*shape+a11*shape*shape)/determinant + noise*noise
	return evidence, mean, variance
}

// above is the probability that the score exceeds y, given that it is in [0, 1].
func (f forecastOf) above(y float64) float64 {
	top := slices.Max(f.logs)
	inside, over := 0.0, 0.0
	for i, l := range f.logs {
		w := math.Exp(l - top)
		if w < 1e-12 {
			continue
		}
		at := func(v float64) float64 { return normalCDF((v - f.means[i]) / f.deviations[i]) }
		inside += w * (at(1) - at(0))
		over += w * max(at(1)-at(min(y, 1)), 0)
	}
	if inside <= 0 {
		return 0
	}
	return over / inside
}

// deviation is the standard deviation of the mixture.
func (f forecastOf) deviation() float64 {
	top := slices.Max(f.logs)
	total, mean, squares := 0.0, 0.0, 0.0
	for i, l := range f.logs {
		w := math.Exp(l - top)
		total += w
		mean += w * f.means[i]
		squares += w * (f.means[i]*f.means[i] + f.deviations[i]*f.deviations[i])
	}
	mean /= total
	return math.Sqrt(max(squares/total-mean*mean, 0))
}

func curveExtrapolation() definition {
	s := new(CurveExtrapolation)
	return definition{
		method: search.Method{
			Name:   "lce-stopping",
			Title:  "Learning-curve extrapolation",
			Source: "Domhan, Springenberg and Hutter, IJCAI 2015",
			Uses:   search.Uses{Fidelity: true},
		},
		settings: []Setting{
			floatSetting(&s.Threshold, "threshold", 0.05, 1e-6, 0.999999, "probability of exceeding the best score below which a trial is given up"),
			floatSetting(&s.Certainty, "certainty", 0, 0, 1, "standard deviation of the forecast below which a trial is given up; 0: never, 0.005: the optimistic criterion"),
			intSetting(&s.Interval, "interval", 0, 0, longestCurve, "epochs between checks; 0: a tenth of the longest curve"),
		},
		details: func() string {
			every := "a tenth of the longest curve"
			if s.Interval > 0 {
				every = fmt.Sprintf("%d epochs", s.Interval)
			}
			criterion := "conservative"
			if s.Certainty > 0 {
				criterion = fmt.Sprintf("optimistic %g", s.Certainty)
			}
			return fmt.Sprintf("threshold=%g, %s, every %s, 11 families, closed-form posterior", s.Threshold, criterion, every)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewCurveExtrapolation(p, settings) }
		},
	}
}
