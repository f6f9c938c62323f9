package baselines

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"quicktune/internal/nn"
	"quicktune/internal/stream"
	"quicktune/internal/trees"
	"quicktune/search"
	"quicktune/space"
)

// SMAC is Bayesian optimisation of whole curves with a random forest. The value
// of a curve is its best score.
//
// It is the hyperparameter-optimisation facade of SMAC3 2.4.1: ten bootstrapped
// trees on all features, grown until leaves hold one value, whose leaves average
// before the logarithm is taken; costs scaled to (0, 1] and their logarithm;
// expected improvement of the cost itself over the smallest predicted one; a new
// forest for every eight candidates; one candidate in five at random. In place of
// a Sobol design over a box and of a local search there are random candidates and
// the comparison of all that are left.
//
// Source: Hutter, Hoos and Leyton-Brown: Sequential Model-Based Optimization for
// General Algorithm Configuration, LION 2011; Lindauer et al.: SMAC3, JMLR
// 23(54), 2022.
type SMAC struct {
	// Trials is how many curves the search is expected to train: a quarter of
	// them, at most ten a hyperparameter, is the initial design. 0 means 100,
	// SMAC's default (scenario.py).
	Trials int
	// RetrainAfter is how many candidates are chosen by one forest; 0 means 8.
	RetrainAfter int
	// Random is the probability that a candidate is drawn at random; 0 means
	// 0.2, a negative number none.
	Random float64
}

func (s SMAC) withDefaults() (SMAC, error) {
	s.Trials = cmp.Or(s.Trials, 100)
	s.RetrainAfter = cmp.Or(s.RetrainAfter, 8)
	s.Random = max(cmp.Or(s.Random, 0.2), 0)
	if !(s.Random <= 1) {
		return s, fmt.Errorf("random is %v; want a probability", s.Random)
	}
	return s, cmp.Or(
		checkRange("trials", s.Trials, 1, math.MaxInt),
		checkRange("retrain-after", s.RetrainAfter, 1, math.MaxInt),
	)
}

// The settings of the facade's forest (facade/hyperparameter_optimization_facade.py).
const (
	smacTrees       = 10
	smacPerDim      = 10
	smacDesignShare = 4 // the initial design is at most this part of the trials
)

// NewSMAC returns the optimiser of s, or an error if a setting is out of its
// range or the candidates are of no space.
func NewSMAC(p search.Problem, s SMAC) (search.Optimizer, error) {
	s, err := s.withDefaults()
	if err != nil {
		return nil, err
	}
	chooser, err := newForestChooser(p, s)
	if err != nil {
		return nil, err
	}
	return &smac{wholeCurves: newWholeCurves(p), forestChooser: chooser}, nil
}

// smac is the optimiser of SMAC.
type smac struct {
	wholeCurves
	forestChooser
}

func (s *smac) Ask() (search.Proposal, search.Status) {
	if len(s.left) == 0 {
		return s.idle()
	}
	known, values := s.observations(math.MaxInt)
	return s.start(s.choose(&s.pool, s.trials, known, values)), search.Ready
}

// forestChooser chooses candidates by SMAC's model.
type forestChooser struct {
	settings SMAC
	initial  int
	x        nn.Matrix
	rng      *rand.Rand
	fits     uint64
	seed     uint64

	forest  *logForest
	eta     float64 // smallest predicted cost
	learned int     // values of the forest
	since   int     // candidates chosen by the forest
}

func newForestChooser(p search.Problem, s SMAC) (forestChooser, error) {
	x, err := forestVectors(p)
	if err != nil {
		return forestChooser{}, err
	}
	return forestChooser{
		settings: s, x: x, initial: min(smacPerDim*x.Cols, s.Trials/smacDesignShare),
		rng: stream.New("baselines/smac/interleaving", p.Seed), seed: p.Seed,
	}, nil
}

// choose takes a candidate out of the pool, which must not be empty, given how
// many were taken and the values of those that are known.
func (f *forestChooser) choose(left *pool, taken int, known []int, values []float64) int {
	random := f.rng.Float64() < f.settings.Random
	if taken < f.initial || len(known) == 0 || random {
		c, _ := left.draw()
		f.since++
		return c
	}
	if f.forest == nil || f.since >= f.settings.RetrainAfter {
		if len(values) != f.learned || f.forest == nil {
			f.fit(known, values)
		}
		f.since = 0
	}
	f.since++
	if f.forest == nil {
		c, _ := left.draw()
		return c
	}
	// Of equals one is taken at random, as SMAC sorts challengers.
	choice, most, equals := -1, math.Inf(-1), 0
	for i, c := range left.left {
		mean, variance := f.forest.predict(f.x.Row(int(c)))
		v := LogCostEI(mean, math.Sqrt(variance), f.eta)
		switch {
		case v > most:
			choice, most, equals = i, v, 1
		case v == most:
			if equals++; f.rng.IntN(equals) == 0 {
				choice = i
			}
		}
	}
	c := left.left[choice]
	left.left = slices.Delete(left.left, choice, choice+1)
	return int(c)
}

// fit grows a forest on the costs.
func (f *forestChooser) fit(known []int, values []float64) {
	costs := make([]float64, len(values))
	for i, v := range values {
		costs[i] = -v
	}
	y := logScaled(costs)
	x := rowsOf(f.x, known)
	f.fits++
	forest, err := newLogForest(x, y, true, stream.New("baselines/smac/forest", f.seed, f.fits).Uint64())
	if err != nil {
		return
	}
	f.forest, f.learned, f.eta = forest, len(values), math.Inf(1)
	for i := range known {
		mean, _ := forest.predict(x.Row(i))
		f.eta = min(f.eta, mean)
	}
}

// logScaled is SMAC's response: the logarithm of costs scaled to (0, 1], where 0
// lies below the smallest by as much as the fifth percentile lies above it
// (runhistory/encoder/log_scaled_encoder.py).
func logScaled(costs []float64) []float64 {
	sorted := slices.Clone(costs)
	slices.Sort(sorted)
	low, high := sorted[0], sorted[len(sorted)-1]
	position := 0.05 * float64(len(sorted)-1)
	i := int(position)
	percentile := sorted[i]
	if i+1 < len(sorted) {
		percentile += (position - float64(i)) * (sorted[i+1] - sorted[i])
	}
	zero := low - (percentile - low) - 1e-10
	if !(zero < high) {
		// Costs so large that 1e-10 is lost.
		zero = math.Nextafter(low, math.Inf(-1))
	}
	out := make([]float64, len(costs))
	for i, c := range costs {
		out[i] = math.Log((c - zero) / (high - zero))
	}
	return out
}

// LogCostEI is the expected improvement of a cost below exp(best), for a
// logarithm of the cost that is normal with the given mean and standard
// deviation; 0 where the deviation is 0, as in SMAC.
//
// Source: Hutter, Hoos, Leyton-Brown and Murphy: An Experimental Investigation of
// Model-Based Parameter Optimisation, GECCO 2009; SMAC3's
// acquisition/function/expected_improvement.py.
func LogCostEI(mean, std, best float64) float64 {
	if !(std > 0) {
		return 0
	}
	v := (best - mean) / std
	return max(math.Exp(best)*normalCDF(v)-math.Exp(std*std/2+mean)*normalCDF(v-std), 0)
}

// logForest is a random forest over logarithms whose leaves hold the logarithm
// of the mean of what they are the logarithms of (model/random_forest).
type logForest struct {
	forest *trees.RandomForest
}

func newLogForest(x nn.Matrix, y []float64, bootstrap bool, seed uint64) (*logForest, error) {
	f, err := trees.Forest{Trees: smacTrees, Bootstrap: bootstrap, Seed: seed}.Fit(x.Data, x.Cols, y, nil)
	return &logForest{f}, err
}

// predict returns mean and variance over the trees.
func (f *logForest) predict(row []float64) (mean, variance float64) {
	var leaf [smacTrees]float64
	for t := range leaf {
		leaf[t] = logOfLeaf(f.forest.LeafTargets(t, row))
	}
	return moments(leaf[:])
}

// logOfLeaf is the value of a leaf with the given logarithms.
func logOfLeaf(targets []float64) float64 {
	if len(targets) == 1 {
		return targets[0]
	}
	s := 0.0
	for _, v := range targets {
		s += math.Exp(v)
	}
	return math.Log(s / float64(len(targets)))
}

// moments returns the mean and the variance of x themselves.
func moments(x []float64) (mean, variance float64) {
	n := float64(len(x))
	for _, v := range x {
		mean += v / n
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / n
	}
	return mean, variance
}

// forestVectors encodes the candidates as SMAC's forest sees them, one column a
// hyperparameter that is no constant: the position of a choice, or the number,
// or its logarithm where declared, scaled to [0, 1] by its range. What does not
// apply is one position beyond the last choice, or -1
// (model/random_forest/abstract_random_forest.py).
func forestVectors(p search.Problem) (nn.Matrix, error) {
	if p.Space == nil {
		return nn.Matrix{}, errNoSpace
	}
	var columns []int
	for i := range p.Space.Len() {
		if p.Space.Param(i).Type != space.Constant {
			columns = append(columns, i)
		}
	}
	x := nn.NewMatrix(len(p.Candidates), max(len(columns), 1))
	for c, config := range p.Candidates {
		if err := p.Space.Validate(config); err != nil {
			return nn.Matrix{}, fmt.Errorf("candidate %d: %w", c, err)
		}
		row := x.Row(c)
		for j, i := range columns {
			h := p.Space.Param(i)
			v := config[i]
			switch {
			case h.Type == space.Categorical || h.Type == space.Ordinal:
				row[j] = float64(len(h.Choices))
				if at := slices.Index(h.Choices, v); at >= 0 {
					row[j] = float64(at)
				}
			case v.IsInactive():
				row[j] = -1
			case h.Log:
				row[j] = math.Log(v.Num()/h.Lower) / math.Log(h.Upper/h.Lower)
			default:
				row[j] = (v.Num() - h.Lower) / (h.Upper - h.Lower)
			}
		}
	}
	return x, nil
}

func (s *SMAC) settings() []Setting {
	return []Setting{
		intSetting(&s.Trials, "trials", 100, 1, 1<<30, "curves that the search is expected to train; a quarter are drawn at random first"),
		intSetting(&s.RetrainAfter, "retrain-after", 8, 1, 1<<30, "candidates chosen by one forest"),
		floatSetting(&s.Random, "random", 0.2, 1e-9, 1, "probability of a random candidate"),
	}
}

func smacMethod() definition {
	s := new(SMAC)
	return definition{
		method: search.Method{
			Name:   "smac",
			Title:  "SMAC",
			Source: "Hutter, Hoos and Leyton-Brown, LION 2011; SMAC3 2.4.1, hyperparameter-optimisation facade",
		},
		settings: s.settings(),
		details: func() string {
			return fmt.Sprintf("%d trees, log EI, %d trials expected, retrain after %d, random=%g", smacTrees, s.Trials, s.RetrainAfter, s.Random)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewSMAC(p, settings) }
		},
	}
}
