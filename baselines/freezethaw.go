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

// FreezeThaw trains, one epoch at a time, the candidate whose next score is
// expected to tell most about which of a basket of candidates has the best
// asymptote.
//
// A curve is its asymptote plus a process whose covariance at epochs t and u is
// scale beta^alpha/(t+u+beta)^alpha, a mixture of exponential decays, plus noise.
// Asymptotes are a Gaussian process over configurations with a Matern-5/2 kernel
// and one length scale a column; given them, curves are independent, which makes
// the likelihood cheap. The basket holds the candidates with the largest expected
// improvement of the asymptote over the best posterior mean: Old among those
// begun and New among the others.
//
// Where the paper samples parameters by slices, they are fitted here by L-BFGS:
// those of the asymptotes with the priors of [GPBO], alpha, beta and the scale of
// the decay with a LogNormal(0, 1) and the noise variance with a Gamma(mean 0.1,
// shape 0.1) prior, on standardised scores. Unbounded scores are mapped to about
// [0, 1] before.
//
// Source: Swersky, Snoek and Adams: Freeze-Thaw Bayesian Optimization,
// arXiv:1406.3896, 2014.
type FreezeThaw struct {
	// Old and New are the candidates in the basket; 0 means 10 and 3.
	Old, New int
	// Initial is the number of random candidates begun before the first model;
	// 0 means 3.
	Initial int
	// Fantasies is the number of next scores drawn for each of the basket, and
	// Samples that of draws of the asymptotes; 0 means 5 and 200.
	Fantasies, Samples int
	// Iterations bounds the evaluations of the likelihood in a fit; 0 means
	// 30. Parameters are fitted after every score up to ExactRows of them, and
	// beyond that, when they have grown by RefitGrowth, from those of the fit
	// before; 0 means 20 and 0.2.
	Iterations, ExactRows int
	RefitGrowth           float64
}

// NewFreezeThaw returns the optimiser of s, or an error if a setting is out of
// its range or the candidates are of no space.
func NewFreezeThaw(p search.Problem, s FreezeThaw) (search.Optimizer, error) {
	s.Old, s.New, s.Initial = cmp.Or(s.Old, 10), cmp.Or(s.New, 3), cmp.Or(s.Initial, 3)
	s.Fantasies, s.Samples = cmp.Or(s.Fantasies, 5), cmp.Or(s.Samples, 200)
	s.Iterations, s.ExactRows, s.RefitGrowth = cmp.Or(s.Iterations, 30), cmp.Or(s.ExactRows, 20), cmp.Or(s.RefitGrowth, 0.2)
	if err := cmp.Or(
		checkRange("old", s.Old, 1, 1000),
		checkRange("new", s.New, 1, 1000),
		checkRange("initial", s.Initial, 1, math.MaxInt),
		checkRange("fantasies", s.Fantasies, 1, 1000),
		checkRange("samples", s.Samples, 1, 1<<20),
		checkRange("iterations", s.Iterations, 1, math.MaxInt),
		checkRange("exact-rows", s.ExactRows, 1, math.MaxInt),
	); err != nil {
		return nil, err
	}
	if !(s.RefitGrowth > 0) {
		return nil, fmt.Errorf("refit growth %v; want a positive number", s.RefitGrowth)
	}
	x, err := unitVectors(p)
	if err != nil {
		return nil, err
	}
	return &freezeThaw{
		curveBook: newCurveBook(p), settings: s, metric: p.Metric, x: x, pool: newPool(p),
		rng: stream.New("baselines/freeze-thaw", p.Seed),
	}, nil
}

// freezeThaw is the optimiser of FreezeThaw.
type freezeThaw struct {
	curveBook
	settings FreezeThaw
	metric   search.Metric
	x        nn.Matrix
	pool     pool // candidates not begun
	rng      *rand.Rand
	scored   int // scores so far
	fitted   int // scores at the last fit
	model    freezeThawModel
	begun    []int // candidates that the model knows, in ascending order
}

func (f *freezeThaw) Ask() (search.Proposal, search.Status) {
	if f.trials < f.settings.Initial || f.scored == 0 {
		if c, ok := f.pool.draw(); ok {
			return f.propose(c, 1), search.Ready
		}
	}
	open := f.open(nil)
	if len(open) == 0 {
		return f.idle()
	}
	c := open[0]
	if f.scored > 0 {
		c = f.choose(open)
	}
	if i := slices.Index(f.pool.left, int32(c)); i >= 0 {
		f.pool.left = slices.Delete(f.pool.left, i, i+1)
	}
	return f.propose(c, len(f.curves[c].scores)+1), search.Ready
}

func (f *freezeThaw) Tell(r search.Report) {
	if scored, _ := f.tell(r); scored {
		f.scored++
	}
}

// learn gives the model all curves, and fits its parameters where that is due.
func (f *freezeThaw) learn() error {
	var scores []float64
	f.begun = f.begun[:0]
	for c := range f.curves {
		known := len(scores)
		for _, v := range f.curves[c].scores {
			if finite(v) {
				scores = append(scores, v)
			}
		}
		if len(scores) > known {
			f.begun = append(f.begun, c)
		}
	}
	mapped := newScoreScale(f.metric, slices.Clone(scores))
	for i, v := range scores {
		scores[i] = mapped.apply(v)
	}
	_, scale := standardise(scores)
	data := make([]observedCurve, len(f.begun))
	for i, c := range f.begun {
		for e, v := range f.curves[c].scores {
			if finite(v) {
				data[i].epochs = append(data[i].epochs, float64(e+1))
				data[i].scores = append(data[i].scores, scale.apply(mapped.apply(v)))
			}
		}
	}
	if f.fitted == 0 || f.scored <= f.settings.ExactRows || float64(f.scored) >= float64(f.fitted)*(1+f.settings.RefitGrowth) {
		if err := f.model.fit(rowsOf(f.x, f.begun), data, f.settings.Iterations, f.scored > f.settings.ExactRows); err != nil {
			f.fitted = 0
			return err
		}
		f.fitted = f.scored
	}
	return f.model.condition(rowsOf(f.x, f.begun), data, f.x)
}

// choose takes the candidate of the basket whose next score reduces the entropy
// of the place of the best asymptote most.
func (f *freezeThaw) choose(open []int) int {
	if err := f.learn(); err != nil {
		return open[f.rng.IntN(len(open))]
	}
	basket := f.basket(open)
	n := len(basket)
	mean, cov := make([]float64, n), nn.NewMatrix(n, n)
	all, std := make([]float64, f.x.Rows), make([]float64, f.x.Rows)
	f.model.asymptotes.Predict(all, std)
	for i, c := range basket {
		mean[i] = all[c]
	}
	f.model.asymptotes.Joint(cov, basket)

	normals := nn.NewMatrix(f.settings.Samples, n)
	for i := range normals.Data {
		normals.Data[i] = f.rng.NormFloat64()
	}
	scores := make([]float64, f.settings.Fantasies)
	for i := range scores {
		scores[i] = f.rng.NormFloat64()
	}
	choice, least := basket[0], math.Inf(1)
	after, shifted := nn.NewMatrix(n, n), make([]float64, n)
	for k, c := range basket {
		slope, variance := f.model.next(slices.Index(f.begun, c), float64(len(f.curves[c].scores)+1))
		total := float64(slope*slope*cov.Row(k)[k]) + variance
		for i := range n {
			gain := cov.Row(i)[k] * slope / total
			for j := range n {
				after.Row(i)[j] = cov.Row(i)[j] - float64(gain*slope*cov.Row(k)[j])
			}
		}
		draws, ok := correlated(after, normals)
		if !ok {
			continue
		}
		entropy := 0.0
		for _, e := range scores {
			for i := range shifted {
				shifted[i] = mean[i] + float64(cov.Row(i)[k]*slope/math.Sqrt(total)*e)
			}
			entropy += entropyOfBest(shifted, draws)
		}
		if entropy < least {
			choice, least = c, entropy
		}
	}
	return choice
}

// basket returns the open candidates that the asymptote of is most promising,
// begun ones first.
func (f *freezeThaw) basket(open []int) []int {
	mean, std := make([]float64, f.x.Rows), make([]float64, f.x.Rows)
	f.model.asymptotes.Predict(mean, std)
	best := math.Inf(-1)
	for _, c := range f.begun {
		best = max(best, mean[c])
	}
	value := make(map[int]float64, len(open))
	var old, fresh []int
	for _, c := range open {
		value[c] = LogExpectedImprovement(mean[c], std[c], best)
		if f.curves[c].trial >= 0 {
			old = append(old, c)
		} else {
			fresh = append(fresh, c)
		}
	}
	byValue := func(a, b int) int { return cmp.Compare(value[b], value[a]) }
	slices.SortStableFunc(old, byValue)
	slices.SortStableFunc(fresh, byValue)
	return append(old[:min(len(old), f.settings.Old)], fresh[:min(len(fresh), f.settings.New)]...)
}

// correlated returns draws with mean 0 and the given covariance, which it
// overwrites, one a row; false if there is no factor of it.
func correlated(cov, normals nn.Matrix) (nn.Matrix, bool) {
	var l gp.Factor
	if l.Extend(nn.Matrix{Rows: cov.Rows}, cov, 1e-9) != nil {
		return nn.Matrix{}, false
	}
	draws := nn.NewMatrix(normals.Rows, normals.Cols)
	l.Times(draws, normals)
	return draws, true
}

// entropyOfBest is the entropy of which of the means has the largest sum with a
// draw.
func entropyOfBest(mean []float64, draws nn.Matrix) float64 {
	wins := make([]float64, len(mean))
	for s := range draws.Rows {
		best, at := math.Inf(-1), 0
		for i, v := range draws.Row(s) {
			if v += mean[i]; v > best {
				best, at = v, i
			}
		}
		wins[at]++
	}
	h := 0.0
	for _, w := range wins {
		if w > 0 {
			p := w / float64(draws.Rows)
			h -= p * math.Log(p)
		}
	}
	return h
}

// observedCurve holds the scores of one curve and their epochs, ascending.
type observedCurve struct{ epochs, scores []float64 }

// decay are the parameters of the process of a curve.
type decay struct {
	alpha, beta, scale float64
	noise              float64 // variance
}

// covariance is the decay's at epochs t and u: the Laplace transform, at t+u, of
// a Gamma density of decay rates with shape alpha and rate beta, times the scale.
func (d decay) covariance(t, u float64) float64 {
	return d.scale * math.Exp(-d.alpha*math.Log1p((t+u)/d.beta))
}

// freezeThawModel is the joint process of all curves. Given its decay, a curve
// tells of its asymptote as much as one score would, with a variance of its own:
// the likelihood falls into that of those scores and a term for each curve.
type freezeThawModel struct {
	decay      decay
	parameters gp.MaternParameters // of the asymptotes; no noise
	asymptotes gp.Matern
	known      []curveSummary

	lbfgs nn.LBFGS
	grad  gp.MaternGradient
}

// curveSummary is what a curve tells of its asymptote.
type curveSummary struct {
	target, variance float64 // of the score that says as much
	rest             float64 // of the negative log likelihood

	factor gp.Factor // of the covariance of its scores
	ones   []float64 // L⁻¹ 1
	epochs []float64
}

// summarise reduces a curve. It fails if the covariance has no factor.
func (d decay) summarise(c observedCurve) (curveSummary, error) {
	n := len(c.epochs)
	s := curveSummary{epochs: c.epochs}
	cov := nn.NewMatrix(n, n)
	for i, t := range c.epochs {
		for j, u := range c.epochs[:i+1] {
			cov.Row(i)[j] = d.covariance(t, u)
		}
	}
	if err := s.factor.Extend(nn.Matrix{Rows: n}, cov, d.noise); err != nil {
		return s, err
	}
	s.reduce(c.scores)
	return s, nil
}

// reduce fills in what follows from the factor.
func (s *curveSummary) reduce(scores []float64) {
	n := len(scores)
	s.ones = make([]float64, n)
	for i := range s.ones {
		s.ones[i] = 1
	}
	w := slices.Clone(scores)
	s.factor.HalfSolveRest(nn.Matrix{Rows: n, Cols: 1, Stride: 1, Data: s.ones}, 0)
	s.factor.HalfSolveRest(nn.Matrix{Rows: n, Cols: 1, Stride: 1, Data: w}, 0)
	precision, along, square := 0.0, 0.0, 0.0
	for i, u := range s.ones {
		precision += float64(u * u)
		along += float64(u * w[i])
		square += float64(w[i] * w[i])
	}
	s.target, s.variance = along/precision, 1/precision
	s.rest = (square - along*s.target + s.factor.LogDet() + float64(n-1)*math.Log(2*math.Pi) + math.Log(precision)) / 2
}

// summaries reduces all curves. Curves without gaps share one factor: that of
// the longest one.
func (d decay) summaries(curves []observedCurve) ([]curveSummary, error) {
	var longest observedCurve
	for _, c := range curves {
		if n := len(c.epochs); n > len(longest.epochs) && c.epochs[n-1] == float64(n) {
			longest = c
		}
	}
	whole, err := d.summarise(longest)
	if err != nil {
		return nil, err
	}
	out := make([]curveSummary, len(curves))
	for i, c := range curves {
		if n := len(c.epochs); c.epochs[n-1] == float64(n) {
			out[i].factor, out[i].epochs = whole.factor, c.epochs
			out[i].factor.Truncate(n)
			out[i].reduce(c.scores)
		} else if out[i], err = d.summarise(c); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Of value in a fit, the first numbers are the logarithms of the decay's.
const decayParameters = 4

func decayOf(value []float64) decay {
	bounded := func(v, least, most float64) float64 { return min(max(math.Exp(v), least), most) }
	return decay{
		alpha: bounded(value[0], 1e-2, 1e2), beta: bounded(value[1], 1e-2, 1e3),
		scale: bounded(value[2], leastScale, mostScale), noise: bounded(value[3], 1e-6, mostNoise),
	}
}

// fit minimises the likelihood with the priors from the initial parameters, or
// from those that it has.
func (m *freezeThawModel) fit(x nn.Matrix, curves []observedCurve, iterations int, goOn bool) error {
	value := make([]float64, decayParameters+2+x.Cols)
	value[3] = math.Log(firstNoise)
	if goOn && m.parameters.Inverse != nil {
		d, h := m.decay, m.parameters
		for i, v := range append([]float64{d.alpha, d.beta, d.scale, d.noise}, append([]float64{1, h.Scale}, h.Inverse...)...) {
			value[i] = math.Log(v)
		}
		value[decayParameters] = h.Mean
	}
	grad := make([]float64, len(value))
	m.lbfgs.Reset()
	_, err := m.lbfgs.Minimize(value, grad, 0.5, iterations, func() (float64, error) { return m.loss(grad, x, curves, value) })
	if err != nil {
		return err
	}
	m.decay, m.parameters = decayOf(value), asymptoteParametersOf(value)
	return nil
}

// asymptoteParametersOf reads mean, log scale and log inverse length scales that
// follow the decay's.
func asymptoteParametersOf(value []float64) gp.MaternParameters {
	v := value[decayParameters:]
	h := gp.MaternParameters{Mean: v[0], Scale: min(max(math.Exp(v[1]), leastScale), mostScale), Inverse: make([]float64, len(v)-2)}
	for j := range h.Inverse {
		h.Inverse[j] = min(max(math.Exp(v[2+j]), leastInverse), mostInverse)
	}
	return h
}

// loss is the negative log likelihood minus the log density of the priors, with
// its gradient: by central differences for the four parameters of the decay,
// whose part is cheap.
func (m *freezeThawModel) loss(grad []float64, x nn.Matrix, curves []observedCurve, value []float64) (float64, error) {
	h := asymptoteParametersOf(value)
	known, err := decayOf(value).summaries(curves)
	if err != nil {
		return 0, err
	}
	targets, variances := make([]float64, len(known)), make([]float64, len(known))
	rest := 0.0
	for i, s := range known {
		targets[i], variances[i] = s.target, s.variance
		rest += s.rest
	}
	loss, err := m.asymptotes.Marginal(&m.grad, x, targets, variances, h)
	if err != nil {
		return 0, err
	}
	const step = 1e-5
	for i := range decayParameters {
		v := value[i]
		var side [2][]curveSummary
		for k, sign := range []float64{1, -1} {
			value[i] = v + sign*step
			if side[k], err = decayOf(value).summaries(curves); err != nil {
				value[i] = v
				return 0, err
			}
		}
		value[i] = v
		grad[i] = 0
		for n := range known {
			up, down := side[0][n], side[1][n]
			grad[i] += up.rest - down.rest + float64(m.grad.Targets[n]*(up.target-down.target)) + float64(m.grad.Variances[n]*(up.variance-down.variance))
		}
		grad[i] /= 2 * step
	}
	g := grad[decayParameters:]
	g[0] = m.grad.Mean + h.Mean
	logScale := math.Log(h.Scale)
	g[1] = (m.grad.Scale + (1+logScale)/h.Scale) * inside(h.Scale, leastScale, mostScale)
	for j, v := range m.grad.Inverse {
		g[2+j] = v * inside(h.Inverse[j], leastInverse, mostInverse)
	}
	prior := h.Mean*h.Mean/2 + logScale + logScale*logScale/2
	for i, v := range value[:3] {
		prior += v + v*v/2
		grad[i] += 1 + v
	}
	noise := math.Exp(value[3])
	prior += 0.9*value[3] + noise
	grad[3] += 0.9 + noise
	return loss + rest + prior, nil
}

// condition makes the posterior of the asymptotes of all candidates.
func (m *freezeThawModel) condition(x nn.Matrix, curves []observedCurve, candidates nn.Matrix) error {
	var err error
	if m.known, err = m.decay.summaries(curves); err != nil {
		return err
	}
	targets, variances := make([]float64, len(m.known)), make([]float64, len(m.known))
	for i, s := range m.known {
		targets[i], variances[i] = s.target, s.variance
	}
	m.asymptotes.Reset(m.parameters, candidates)
	return m.asymptotes.Extend(x, targets, variances)
}

// next tells how the score at an epoch depends on the asymptote, given the
// scores of the curve before it: its slope and the variance that remains. A
// curve of number -1 has no scores.
func (m *freezeThawModel) next(number int, epoch float64) (slope, variance float64) {
	slope, variance = 1, m.decay.covariance(epoch, epoch)+m.decay.noise
	if number < 0 {
		return slope, variance
	}
	s := &m.known[number]
	cross := make([]float64, len(s.epochs))
	for i, t := range s.epochs {
		cross[i] = m.decay.covariance(t, epoch)
	}
	s.factor.HalfSolveRest(nn.Matrix{Rows: len(cross), Cols: 1, Stride: 1, Data: cross}, 0)
	for i, v := range cross {
		slope -= float64(v * s.ones[i])
		variance -= float64(v * v)
	}
	return slope, max(variance, m.decay.noise)
}

func freezeThawMethod() definition {
	s := new(FreezeThaw)
	return definition{
		method: search.Method{
			Name:   "freeze-thaw",
			Title:  "Freeze-thaw",
			Source: "Swersky, Snoek and Adams, arXiv:1406.3896, 2014",
			Uses:   search.Uses{Fidelity: true},
		},
		settings: []Setting{
			intSetting(&s.Old, "old", 10, 1, 1000, "begun candidates in the basket"),
			intSetting(&s.New, "new", 3, 1, 1000, "new candidates in the basket"),
			intSetting(&s.Initial, "initial", 3, 1, maxCandidates, "random candidates first"),
			intSetting(&s.Fantasies, "fantasies", 5, 1, 1000, "next scores drawn for each candidate of the basket"),
			intSetting(&s.Samples, "samples", 200, 1, 1<<20, "draws of the asymptotes"),
			intSetting(&s.Iterations, "iterations", 30, 1, 1<<20, "evaluations of the likelihood in a fit"),
			intSetting(&s.ExactRows, "exact-rows", 20, 1, 1<<20, "scores up to which every one leads to a fit"),
			floatSetting(&s.RefitGrowth, "refit-growth", 0.2, 1e-9, 1e9, "growth of the scores after which they are fitted to beyond that"),
		},
		details: func() string {
			return fmt.Sprintf("basket of %d old and %d new, %d random first, entropy search of %d fantasies and %d samples; a fit a score up to %d, then a growth of %g",
				s.Old, s.New, s.Initial, s.Fantasies, s.Samples, s.ExactRows, s.RefitGrowth)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewFreezeThaw(p, settings) }
		},
	}
}
