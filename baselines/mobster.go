package baselines

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"quicktune/internal/nn"
	"quicktune/internal/stream"
	"quicktune/search"
)

// MOBSTER is [ASHA] with promotion whose new candidates are chosen by a Gaussian
// process over configurations and epochs together, which learns from the scores
// at rungs. Trials in training count with scores at their next rungs that are
// drawn from the posterior.
//
// The kernel is a Matern-5/2 with one length scale a column and one for the
// epoch, syne-tune 0.13's gp_resource_kernel=matern52; improvements are expected
// at the largest rung with at least Threshold scores, its resource_acq=bohb, over
// the best posterior mean there of the candidates that were tried. Priors and fits
// are those of [GPBO], where they are cited.
//
// Source: Klein, Tiao, Lienart, Archambeau and Seeger: Model-based Asynchronous
// Hyperparameter and Neural Architecture Search, arXiv:2003.10865, 2020.
type MOBSTER struct {
	// Eta and MinEpochs are as in ASHA.
	Eta, MinEpochs int
	// Threshold is how many scores a rung needs; 0 means 3.
	Threshold int
	// Initial, Fantasies, Iterations and Starts are as in GPBO.
	Initial, Fantasies, Iterations, Starts int
	// The parameters are fitted for each score up to ExactRows of them, and
	// beyond that, when they have grown by a tenth, from those of the fit
	// before. The process learns from at most MaxRows scores: those at the
	// highest rungs, and the latest of equally high ones. 0 means 40 and 300;
	// syne-tune has 150 and 500.
	ExactRows, MaxRows int
}

// NewMOBSTER returns the optimiser of s, or an error if a setting is out of its
// range or the candidates are of no space.
func NewMOBSTER(p search.Problem, s MOBSTER) (search.Optimizer, error) {
	s.Threshold = cmp.Or(s.Threshold, 3)
	s.Initial, s.Fantasies = cmp.Or(s.Initial, 3), cmp.Or(s.Fantasies, 20)
	s.Iterations, s.Starts = cmp.Or(s.Iterations, 50), cmp.Or(s.Starts, 2)
	s.ExactRows, s.MaxRows = cmp.Or(s.ExactRows, 40), cmp.Or(s.MaxRows, 300)
	if err := cmp.Or(
		checkRange("threshold", s.Threshold, 1, math.MaxInt),
		checkRange("initial", s.Initial, 1, math.MaxInt),
		checkRange("fantasies", s.Fantasies, 1, math.MaxInt),
		checkRange("iterations", s.Iterations, 1, math.MaxInt),
		checkRange("starts", s.Starts, 1, math.MaxInt),
		checkRange("exact-rows", s.ExactRows, 1, math.MaxInt),
		checkRange("max-rows", s.MaxRows, 2, math.MaxInt),
	); err != nil {
		return nil, err
	}
	a, err := newAsynchronous(p, ASHA{Eta: s.Eta, MinEpochs: s.MinEpochs})
	if err != nil {
		return nil, err
	}
	x, err := unitVectors(p)
	if err != nil {
		return nil, err
	}
	m := &mobster{
		asynchronous: a, settings: s, x: x, at: -1,
		draws: stream.New("baselines/mobster/fantasies", p.Seed),
		model: maternModel{rng: stream.New("baselines/mobster/starts", p.Seed), iterations: s.Iterations, starts: s.Starts, exact: s.ExactRows},
	}
	for _, r := range a.rungs {
		m.levels = append(m.levels, r.epoch)
	}
	m.levels = append(m.levels, a.last)
	m.counts = make([]int, len(m.levels))
	m.draw = m.choose
	return m, nil
}

// mobster is the optimiser of MOBSTER.
type mobster struct {
	*asynchronous
	settings MOBSTER
	x        nn.Matrix
	draws    *rand.Rand
	model    maternModel

	levels     []int // epochs of the rungs, the last one included
	counts     []int // scores by level
	rows       []int // candidate and level of each score, see row
	values     []float64
	at         int       // level of the improvements; -1 at first
	candidates nn.Matrix // all of them at that level
}

// row numbers the score of a candidate at a level.
func (m *mobster) row(candidate, level int) int { return candidate*len(m.levels) + level }

// inputs are the vectors of rows.
func (m *mobster) inputs(rows []int) nn.Matrix {
	x := nn.NewMatrix(len(rows), m.x.Cols+1)
	for i, r := range rows {
		candidate, level := r/len(m.levels), r%len(m.levels)
		copy(x.Row(i), m.x.Row(candidate))
		x.Row(i)[m.x.Cols] = (float64(m.levels[level]) - 0.5) / float64(m.last)
	}
	return x
}

func (m *mobster) Tell(r search.Report) {
	number := r.Trial
	finished := r.Proposed || r.End != search.NotEnded
	level := int(m.heading[number])
	m.asynchronous.Tell(r)
	if finished {
		t := m.trials[number]
		m.counts[level]++
		m.rows = append(m.rows, m.row(t.candidate, level))
		m.values = append(m.values, t.score)
	}
}

// choose takes the next candidate out of the pool.
func (m *mobster) choose() (candidate int, ok bool) {
	left := &m.pool
	if len(left.left) == 0 || len(m.trials) < m.settings.Initial {
		return left.draw()
	}
	rows, values := m.observations()
	if len(rows) == 0 {
		return left.draw()
	}
	if level := m.level(); level != m.at {
		m.at = level
		all := make([]int, m.x.Rows)
		for c := range all {
			all[c] = m.row(c, level)
		}
		m.candidates = m.inputs(all)
		m.model.forget()
	}
	if _, err := m.model.update(rows, values, len(m.rows), m.inputs, m.candidates); err != nil {
		return left.draw()
	}
	means, std, ok := m.posterior()
	if !ok {
		return left.draw()
	}
	best := make([]float64, len(means))
	for s, mean := range means {
		best[s] = math.Inf(-1)
		for i := range m.trials {
			best[s] = max(best[s], mean[m.trials[i].candidate])
		}
	}
	choice, most := 0, math.Inf(-1)
	for i, c := range left.left {
		v := 0.0
		for s, mean := range means {
			v += ExpectedImprovement(mean[c], std[c], best[s])
		}
		if v > most {
			choice, most = i, v
		}
	}
	c := left.left[choice]
	left.left = slices.Delete(left.left, choice, choice+1)
	return int(c), true
}

// level is that of the largest rung with enough scores, or the first.
func (m *mobster) level() int {
	for level := len(m.counts) - 1; level > 0; level-- {
		if m.counts[level] >= m.settings.Threshold {
			return level
		}
	}
	return 0
}

// observations returns the scores to learn from.
func (m *mobster) observations() (rows []int, values []float64) {
	rows, values = finiteValues(m.rows, m.values)
	most := m.settings.MaxRows
	if len(rows) <= most {
		return rows, values
	}
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(rows[b]%len(m.levels), rows[a]%len(m.levels)), cmp.Compare(b, a))
	})
	order = order[:most]
	slices.Sort(order)
	chosen, kept := make([]int, most), make([]float64, most)
	for i, k := range order {
		chosen[i], kept[i] = rows[k], values[k]
	}
	return chosen, kept
}

// posterior returns one list of means for each draw of the scores of trials in
// training, and the deviations.
func (m *mobster) posterior() (means [][]float64, std []float64, ok bool) {
	var pending []int
	for number, t := range m.trials {
		if t.progress == running {
			pending = append(pending, m.row(t.candidate, int(m.heading[number])))
		}
	}
	draws := 1
	if len(pending) > 0 {
		draws = m.settings.Fantasies
	}
	means, std = make([][]float64, draws), make([]float64, m.x.Rows)
	normals := make([][]float64, draws)
	for s := range means {
		means[s], normals[s] = make([]float64, m.x.Rows), make([]float64, len(pending))
		for i := range normals[s] {
			normals[s][i] = m.draws.NormFloat64()
		}
	}
	if len(pending) == 0 {
		m.model.gp.Predict(means[0], std)
		return means, std, true
	}
	return means, std, m.model.gp.Pending(means, std, m.inputs(pending), normals) == nil
}

func mobsterMethod() definition {
	s := new(MOBSTER)
	return definition{
		method: search.Method{
			Name:   "mobster",
			Title:  "MOBSTER",
			Source: "Klein et al., arXiv:2003.10865, 2020; syne-tune 0.13, type=promotion, gp_resource_kernel=matern52",
			Uses:   search.Uses{Fidelity: true},
		},
		settings: []Setting{
			etaSetting(&s.Eta),
			minEpochsSetting(&s.MinEpochs),
			intSetting(&s.Threshold, "threshold", 3, 1, maxCandidates, "scores that a rung needs for improvements to be expected there"),
			intSetting(&s.Initial, "initial", 3, 1, maxCandidates, "random candidates first"),
			intSetting(&s.Fantasies, "fantasies", 20, 1, 1<<20, "draws of scores for trials in training"),
			intSetting(&s.Iterations, "iterations", 50, 1, 1<<20, "evaluations of the likelihood of each start"),
			intSetting(&s.Starts, "starts", 2, 1, 1<<10, "starts of L-BFGS"),
			intSetting(&s.ExactRows, "exact-rows", 40, 1, 1<<20, "scores up to which every one leads to a fit"),
			intSetting(&s.MaxRows, "max-rows", 300, 2, 1<<20, "scores that are learned from at most"),
		},
		details: func() string {
			return fmt.Sprintf("eta=%d, promotion, floor(n/eta), from epoch %d; Matern-5/2 ARD of configuration and epoch, EI at the largest rung of %d scores, %d random first, %d fantasies; a fit a score up to %d, at most %d",
				s.Eta, s.MinEpochs, s.Threshold, s.Initial, s.Fantasies, s.ExactRows, s.MaxRows)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewMOBSTER(p, settings) }
		},
	}
}
