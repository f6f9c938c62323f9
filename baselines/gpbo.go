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

// GPBO is Bayesian optimisation of whole curves: it trains the candidate with
// the largest expected improvement under a Gaussian process with a Matern-5/2
// kernel and one length scale a column. The value of a curve is its best score.
//
// Everything about the process is syne-tune 0.13's
// (searchers/gp_searcher_factory.py, bayesopt/gpautograd): standardised values;
// L-BFGS from the default parameters and from random ones on the likelihood with
// the priors Gamma(mean 0.1, shape 0.1) of the noise variance, LogNormal(0, 1) of
// the scale, Normal(0, 1) of the mean and none of the inverse length scales,
// within their bounds; three random candidates first; candidates in training
// count with values drawn from the posterior; at most 500 values, the best
// quarter among them. As syne-tune does for a finite pool, all candidates are
// compared, without a local search.
//
// Source: Snoek, Larochelle and Adams: Practical Bayesian Optimization of
// Machine Learning Algorithms, NeurIPS 2012.
type GPBO struct {
	// Acquisition is what is maximised. The default is the logarithm of the
	// expected improvement: the same choice, also where that underflows.
	Acquisition Acquisition
	// Jitter is subtracted from improvements, in deviations of the values;
	// syne-tune's is 0.01.
	Jitter float64
	// Initial is the number of random candidates before the first model; 0
	// means 3.
	Initial int
	// Fantasies is the number of draws of values for candidates in training;
	// 0 means 20.
	Fantasies int
	// Iterations bounds the evaluations of the likelihood of each start, and
	// Starts is how many there are; 0 means 50 and 2.
	Iterations, Starts int
	// Up to ExactRows values, the parameters are fitted anew for each; beyond,
	// when the values have grown by a tenth, from those of the fit before. 0
	// means 50; syne-tune fits anew for each of the first 150.
	ExactRows int
}

// Acquisition says what a method that proposes by a model maximises.
type Acquisition uint8

// The acquisitions.
const (
	LogEI Acquisition = iota
	EI
)

// NewGPBO returns the optimiser of s, or an error if a setting is out of its
// range or the candidates are of no space.
func NewGPBO(p search.Problem, s GPBO) (search.Optimizer, error) {
	s.Initial = cmp.Or(s.Initial, 3)
	s.Fantasies = cmp.Or(s.Fantasies, 20)
	s.Iterations, s.Starts = cmp.Or(s.Iterations, 50), cmp.Or(s.Starts, 2)
	s.ExactRows = cmp.Or(s.ExactRows, 50)
	if err := cmp.Or(
		checkRange("acquisition", int(s.Acquisition), int(LogEI), int(EI)),
		checkRange("initial", s.Initial, 1, math.MaxInt),
		checkRange("fantasies", s.Fantasies, 1, math.MaxInt),
		checkRange("iterations", s.Iterations, 1, math.MaxInt),
		checkRange("starts", s.Starts, 1, math.MaxInt),
		checkRange("exact-rows", s.ExactRows, 1, math.MaxInt),
	); err != nil {
		return nil, err
	}
	if !(s.Jitter >= 0) {
		return nil, fmt.Errorf("jitter %v; want at least 0", s.Jitter)
	}
	x, err := unitVectors(p)
	if err != nil {
		return nil, err
	}
	return &gpbo{
		wholeCurves: newWholeCurves(p), settings: s, x: x,
		draws: stream.New("baselines/gp-bo/fantasies", p.Seed),
		model: maternModel{rng: stream.New("baselines/gp-bo/starts", p.Seed), iterations: s.Iterations, starts: s.Starts, exact: s.ExactRows},
	}, nil
}

// gpbo is the optimiser of GPBO.
type gpbo struct {
	wholeCurves
	settings GPBO
	x        nn.Matrix
	draws    *rand.Rand
	model    maternModel
}

func (g *gpbo) Ask() (search.Proposal, search.Status) {
	if len(g.left) == 0 {
		return g.idle()
	}
	if g.trials < g.settings.Initial {
		return g.start(g.draw()), search.Ready
	}
	c, ok := g.choose()
	if !ok {
		c = g.draw()
	}
	return g.start(c), search.Ready
}

// choose maximises the acquisition over the candidates left; of equals the first
// wins. It reports false if the model has no answer.
func (g *gpbo) choose() (candidate int, ok bool) {
	known, values := g.observations(modelRows)
	if len(known) == 0 {
		return 0, false
	}
	scale, err := g.model.update(known, values, len(g.known), func(c []int) nn.Matrix { return rowsOf(g.x, c) }, g.x)
	if err != nil {
		return 0, false
	}
	pending := rowsOf(g.x, g.running)
	draws := 1
	if pending.Rows > 0 {
		draws = g.settings.Fantasies
	}
	means, normals := make([][]float64, draws), make([][]float64, draws)
	for s := range means {
		means[s], normals[s] = make([]float64, g.x.Rows), make([]float64, pending.Rows)
		for i := range normals[s] {
			normals[s][i] = g.draws.NormFloat64()
		}
	}
	std := make([]float64, g.x.Rows)
	if pending.Rows == 0 {
		g.model.gp.Predict(means[0], std)
	} else if err := g.model.gp.Pending(means, std, pending, normals); err != nil {
		return 0, false
	}
	best := scale.apply(slices.Max(values)) + g.settings.Jitter
	most := math.Inf(-1)
	for _, c := range g.left {
		v := 0.0
		if g.settings.Acquisition == EI || draws > 1 {
			for _, m := range means {
				v += ExpectedImprovement(m[c], std[c], best)
			}
		}
		if g.settings.Acquisition == LogEI {
			v = logOfMean(v, means, std[c], int(c), best)
		}
		if v > most || !ok {
			candidate, most, ok = int(c), v, true
		}
	}
	return candidate, ok
}

// logOfMean is the logarithm of the sum over draws of the expected improvement,
// given that sum, from the largest logarithm where the sum is too small.
func logOfMean(sum float64, means [][]float64, std float64, c int, best float64) float64 {
	if sum > 1e-200 {
		return math.Log(sum)
	}
	most := math.Inf(-1)
	for _, m := range means {
		most = max(most, LogExpectedImprovement(m[c], std, best))
	}
	return most
}

// rowsOf collects the inputs of candidates.
func rowsOf(x nn.Matrix, candidates []int) nn.Matrix {
	m := nn.NewMatrix(len(candidates), x.Cols)
	for i, c := range candidates {
		copy(m.Row(i), x.Row(c))
	}
	return m
}

// modelRows bounds what a model is fitted to; syne-tune's max_size_data_for_model.
const modelRows = 500

// standard maps values to mean 0 and deviation 1.
type standard struct{ mean, std float64 }

func (s standard) apply(v float64) float64 { return (v - s.mean) / s.std }

// standardise returns the standardised values.
func standardise(values []float64) ([]float64, standard) {
	s := standard{std: 1}
	n := float64(len(values))
	for _, v := range values {
		s.mean += v / n
	}
	variance := 0.0
	for _, v := range values {
		variance += (v - s.mean) * (v - s.mean) / n
	}
	if sd := math.Sqrt(variance); sd > 1e-9*math.Abs(s.mean) && finite(sd) {
		s.std = sd
	}
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = s.apply(v)
	}
	return out, s
}

// maternModel fits a Matern process and keeps its posterior at all candidates.
type maternModel struct {
	gp         gp.Matern
	rng        *rand.Rand
	iterations int
	starts     int
	exact      int // rows up to which every value leads to a fit

	parameters gp.MaternParameters
	fitted     int   // values in total at the last fit
	known      []int // candidates that the process is conditioned on
	lbfgs      nn.LBFGS
	grad       gp.MaternGradient
}

// The bounds of the parameters, and their initial values: syne-tune's.
const (
	leastNoise, mostNoise     = 1e-9, 1e6
	leastScale, mostScale     = 1e-3, 1e3
	leastInverse, mostInverse = 1e-4, 100
	firstNoise                = 1e-3
)

// update fits the parameters where that is due, given how many values there are
// in total, conditions the process on the values of known rows, whose inputs rows
// gives, and returns how values were standardised. Other candidates than before must come with a call of forget.
func (m *maternModel) update(known []int, values []float64, total int, rows func([]int) nn.Matrix, candidates nn.Matrix) (standard, error) {
	y, scale := standardise(values)
	n, old := len(known), len(m.known)
	due := m.fitted == 0 || total <= m.exact || float64(total) >= growth*float64(m.fitted)
	if due {
		m.forget()
		if err := m.fit(rows(known), y); err != nil {
			m.fitted = 0
			return scale, err
		}
		m.fitted = total
	}
	if due || old == 0 || old > n || !slices.Equal(m.known, known[:old]) {
		m.gp.Reset(m.parameters, candidates)
		old = 0
	}
	m.known = append(m.known[:0], known...)
	if err := m.gp.Extend(rows(known[old:]), y[old:], nil); err != nil {
		m.forget()
		return scale, err
	}
	m.gp.SetTargets(y)
	return scale, nil
}

// growth of the rows beyond maternModel.exact leads to a fit.
const growth = 1.1

// forget makes the next update condition the process from scratch.
func (m *maternModel) forget() { m.known = m.known[:0] }

// fit minimises the likelihood with the priors from the initial parameters and
// from random ones, and keeps the best. Beyond exact rows it goes on from the
// parameters of the fit before instead.
func (m *maternModel) fit(x nn.Matrix, y []float64) error {
	d := x.Cols
	value, grad := make([]float64, 3+d), make([]float64, 3+d)
	least, found := math.Inf(1), false
	var failure error
	starts := m.starts
	goOn := m.fitted > m.exact
	if goOn {
		starts = 1
	}
	for start := range starts {
		clear(value)
		value[1] = math.Log(firstNoise)
		if goOn {
			h := m.parameters
			value[0], value[1], value[2] = h.Mean, math.Log(h.Noise), math.Log(h.Scale)
			for j, v := range h.Inverse {
				value[3+j] = math.Log(v)
			}
		}
		if start > 0 {
			// Half an order of magnitude around the initial values, in either
			// direction.
			for i := 1; i < len(value); i++ {
				value[i] += m.rng.Float64()*2.3 - 1.15
			}
		}
		m.lbfgs.Reset()
		loss, err := m.lbfgs.Minimize(value, grad, 0.5, m.iterations, func() (float64, error) { return m.loss(grad, x, y, value) })
		if err != nil {
			failure = err
			continue
		}
		if loss < least {
			least, found = loss, true
			m.parameters = parametersOf(value)
		}
	}
	if !found {
		return failure
	}
	return nil
}

// parametersOf reads mean, log noise, log scale and log inverse length scales.
func parametersOf(value []float64) gp.MaternParameters {
	h := gp.MaternParameters{
		Mean:    value[0],
		Noise:   min(max(math.Exp(value[1]), leastNoise), mostNoise),
		Scale:   min(max(math.Exp(value[2]), leastScale), mostScale),
		Inverse: make([]float64, len(value)-3),
	}
	for j := range h.Inverse {
		h.Inverse[j] = min(max(math.Exp(value[3+j]), leastInverse), mostInverse)
	}
	return h
}

// loss is the negative log likelihood minus the log density of the priors, with
// its gradient by the logarithms. Beyond a bound it does not change.
func (m *maternModel) loss(grad []float64, x nn.Matrix, y, value []float64) (float64, error) {
	h := parametersOf(value)
	loss, err := m.gp.Marginal(&m.grad, x, y, nil, h)
	if err != nil {
		return 0, err
	}
	prior, slope := priorOf(h)
	grad[0] = m.grad.Mean + slope.Mean
	grad[1] = (m.grad.Noise + slope.Noise) * inside(h.Noise, leastNoise, mostNoise)
	grad[2] = (m.grad.Scale + slope.Scale) * inside(h.Scale, leastScale, mostScale)
	for j, v := range m.grad.Inverse {
		grad[3+j] = v * inside(h.Inverse[j], leastInverse, mostInverse)
	}
	return loss + prior, nil
}

// inside is the derivative of a bounded number by its logarithm.
func inside(v, least, most float64) float64 {
	if v <= least || v >= most {
		return 0
	}
	return v
}

// priorOf returns the negative log density of the priors, up to constants for
// those of the mean and the length scales as syne-tune has it, and its
// derivatives.
func priorOf(h gp.MaternParameters) (float64, gp.MaternParameters) {
	const shape, rate = 0.1, 1.0 // of the noise variance, whose mean is their quotient
	constant, _ := math.Lgamma(shape)
	constant -= shape * math.Log(rate)
	logScale := math.Log(h.Scale)
	loss := (1-shape)*math.Log(h.Noise) + rate*h.Noise + constant
	loss += logScale + logScale*logScale/2
	loss += h.Mean * h.Mean / 2
	return loss, gp.MaternParameters{
		Mean:  h.Mean,
		Noise: (1-shape)/h.Noise + rate,
		Scale: (1 + logScale) / h.Scale,
	}
}

func gpBO() definition {
	s := new(GPBO)
	return definition{
		method: search.Method{
			Name:   "gp-bo",
			Title:  "GP-BO",
			Source: "Snoek, Larochelle and Adams, NeurIPS 2012; process and defaults of syne-tune 0.13",
		},
		settings: []Setting{
			choiceSetting(&s.Acquisition, "acquisition", []string{"log-ei", "ei"}, []Acquisition{LogEI, EI}, "what is maximised"),
			floatSetting(&s.Jitter, "jitter", 0.01, 0, 10, "subtracted from improvements, in deviations"),
			intSetting(&s.Initial, "initial", 3, 1, 1<<20, "random candidates first"),
			intSetting(&s.Fantasies, "fantasies", 20, 1, 1<<20, "draws of values for candidates in training"),
			intSetting(&s.Iterations, "iterations", 50, 1, 1<<20, "evaluations of the likelihood of each start"),
			intSetting(&s.Starts, "starts", 2, 1, 1<<10, "starts of L-BFGS"),
			intSetting(&s.ExactRows, "exact-rows", 50, 1, 1<<20, "values up to which every one leads to a fit"),
		},
		details: func() string {
			acquisition := "log EI"
			if s.Acquisition == EI {
				acquisition = "EI"
			}
			return fmt.Sprintf("Matern-5/2 ARD, %s, jitter=%g, %d random first, %d fantasies, L-BFGS %dx%d", acquisition, s.Jitter, s.Initial, s.Fantasies, s.Starts, s.Iterations)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewGPBO(p, settings) }
		},
	}
}
