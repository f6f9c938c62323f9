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

// BOHB is Hyperband whose brackets are filled by a model: kernel densities of
// the good and of the bad trials at the largest rung with enough of them, of
// which the ratio is maximised over samples near good trials.
//
// Samples are rows: instead of a point near a good trial, an unseen candidate
// is drawn with a probability proportional to the kernel around that trial.
//
// Source: Falkner, Klein and Hutter: BOHB: Robust and Efficient Hyperparameter
// Optimization at Scale, ICML 2018; rules and defaults of HpBandSter 0.7.4,
// optimizers/config_generators/bohb.py. It differs in one thing: the bandwidth
// of a category is at most (c-1)/c for c of them, as the kernel demands.
// HpBandSter lets it exceed 1, where densities become negative.
type BOHB struct {
	Hyperband // its brackets; HpBandSter's are those of BOHB
	// MinPoints is how many results at a rung the model needs for each of its
	// two densities; 0 means the number of hyperparameters and 1, which is also
	// the least.
	MinPoints int
	// TopPercent of the results are good. 0 means 15.
	TopPercent int
	// Samples are compared for a proposal. 0 means 64.
	Samples int
	// RandomFraction of the candidates is drawn uniformly. 0 means 1/3.
	RandomFraction float64
	// BandwidthFactor widens the kernels that samples are drawn from. 0 means 3.
	BandwidthFactor float64
	// MinBandwidth is the least bandwidth. 0 means 0.001.
	MinBandwidth float64
	// Nearest draws points between the rows, as HpBandSter does, and trains
	// the row nearest to the best of them, again from its first epoch if it was
	// trained before. That is how the released Quick-Tune comparison runs
	// methods of a continuous space.
	Nearest bool
}

func (s BOHB) withDefaults() BOHB {
	s.TopPercent = cmp.Or(s.TopPercent, 15)
	s.Samples = cmp.Or(s.Samples, 64)
	s.RandomFraction = cmp.Or(s.RandomFraction, 1.0/3)
	s.BandwidthFactor = cmp.Or(s.BandwidthFactor, 3)
	s.MinBandwidth = cmp.Or(s.MinBandwidth, 1e-3)
	return s
}

// NewBOHB returns the optimiser of s. The problem must have a space.
func NewBOHB(p search.Problem, s BOHB) (search.Optimizer, error) {
	s = s.withDefaults()
	o, err := NewHyperband(p, s.Hyperband)
	if err != nil {
		return nil, err
	}
	x, err := pointsOf(p)
	if err != nil {
		return nil, err
	}
	b := &bohb{
		synchronous: o.(*synchronous),
		settings:    s,
		axes:        x.axes,
		rows:        x.unitRows(),
		points:      x,
		rng:         stream.New("baselines/bohb", p.Seed),
		model:       newKDEModel(x.axes, s),
	}
	b.synchronous.draw = b.choose
	b.synchronous.result = b.learn
	return b, nil
}

type bohb struct {
	*synchronous
	settings BOHB
	axes     []axis
	rows     [][]float64 // by candidate, in the unit cube
	points   *points
	rng      *rand.Rand
	model    kdeModel
}

// learn enters the result of a trial at a rung.
func (b *bohb) learn(number, epoch int) {
	t := b.trials[number]
	b.model.add(epoch, b.rows[t.candidate], t.score, b.rng)
}

func (b *bohb) Tell(r search.Report) {
	b.synchronous.Tell(r)
	if b.settings.Nearest && r.End != search.NotEnded && r.Epoch == 0 && slices.Contains(b.pool.left, int32(r.Candidate)) {
		b.pool.take(r.Candidate)
	}
}

// choose returns a candidate for the first rung of a bracket.
func (b *bohb) choose() (candidate int, ok bool) {
	if len(b.pool.left) == 0 {
		return 0, false
	}
	if !b.model.ready() || b.rng.Float64() < b.settings.RandomFraction {
		if b.settings.Nearest {
			return int(b.pool.left[b.rng.IntN(len(b.pool.left))]), true
		}
		return b.pool.draw()
	}
	if b.settings.Nearest {
		return nearest(b.rows, b.axes, b.pool.left, b.samplePoint()), true
	}
	c := b.sampleRow()
	b.pool.take(c)
	return c, true
}

// sampleRow draws unseen rows around good trials and returns the best.
func (b *bohb) sampleRow() int {
	good := b.model.good
	draws := make([]*weightedDraw, len(good.data))
	best, least := -1, math.Inf(1)
	for range b.settings.Samples {
		i := b.rng.IntN(len(good.data))
		if draws[i] == nil {
			d := newWeightedDraw(b.nearness(good.data[i]))
			draws[i] = &d
		}
		c := int(b.pool.left[draws[i].next(b.rng)])
		if v := b.model.ratio(b.rows[c]); best < 0 || v < least {
			best, least = c, v
		}
	}
	return best
}

// nearness is the log density, up to a constant, of the sampling kernel around
// a good trial at every unseen row. It is the same for rows that differ only in
// what does not apply to them.
func (b *bohb) nearness(around []float64) []float64 {
	// By axis and level, since rows share them.
	logs := make([][]float64, len(b.axes))
	for k, a := range b.axes {
		h := max(b.model.good.bandwidth[k], b.settings.MinBandwidth)
		logs[k] = make([]float64, len(b.points.levels[k]))
		for i, level := range b.points.levels[k] {
			if a.choices > 0 {
				p := h / float64(a.choices)
				if level == around[k] {
					p += 1 - h
				}
				logs[k][i] = math.Log(p)
				continue
			}
			z := (a.unit(level) - around[k]) / (h * b.settings.BandwidthFactor)
			logs[k][i] = -z * z / 2
		}
	}
	out := make([]float64, len(b.pool.left))
	for i, c := range b.pool.left {
		for k, at := range b.points.at[c] {
			if at >= 0 {
				out[i] += logs[k][at]
			}
		}
	}
	return out
}

// samplePoint draws points around good trials and returns the best.
func (b *bohb) samplePoint() []float64 {
	good := b.model.good
	var best []float64
	least := math.Inf(1)
	for range b.settings.Samples {
		around := good.data[b.rng.IntN(len(good.data))]
		point := make([]float64, len(around))
		for k, a := range b.axes {
			h := max(good.bandwidth[k], b.settings.MinBandwidth)
			switch {
			case a.choices == 0:
				point[k] = truncatedNormal(around[k], h*b.settings.BandwidthFactor, b.rng)
			case b.rng.Float64() < 1-h:
				point[k] = around[k]
			default:
				point[k] = float64(b.rng.IntN(a.choices))
			}
		}
		if v := b.model.ratio(point); best == nil || v < least {
			best, least = point, v
		}
	}
	return best
}

// truncatedNormal draws from a normal distribution truncated to [0, 1], whose
// mean lies in it.
func truncatedNormal(mean, deviation float64, rng *rand.Rand) float64 {
	for {
		// The mean is inside, so a draw is accepted at least about every
		// second time for a small deviation; a large one is nearly uniform.
		if deviation > 1 {
			x := rng.Float64()
			z := (x - mean) / deviation
			if rng.Float64() < math.Exp(-z*z/2) {
				return x
			}
			continue
		}
		if x := mean + deviation*rng.NormFloat64(); x >= 0 && x <= 1 {
			return x
		}
	}
}

// nearest returns the candidate whose row is nearest to a point: squared
// distances of numbers, 2 for different categories (that of their indicators),
// and 1 where a hyperparameter applies to only one of the two.
func nearest(rows [][]float64, axes []axis, among []int32, point []float64) int {
	best, least := -1, math.Inf(1)
	for _, c := range among {
		sum := 0.0
		for k, v := range rows[c] {
			w := point[k]
			switch {
			case math.IsNaN(v) && math.IsNaN(w):
			case math.IsNaN(v) || math.IsNaN(w):
				sum++
			case axes[k].choices == 0:
				sum += (v - w) * (v - w)
			case v != w:
				sum += 2
			}
		}
		if sum < least {
			best, least = int(c), sum
		}
	}
	return best
}

// kdeModel is BOHB's pair of densities.
type kdeModel struct {
	axes     []axis
	settings BOHB
	results  map[int]*rungResults
	epoch    int // of the rung that the model is made of
	good     *kde
	bad      *kde
}

type rungResults struct {
	points [][]float64
	scores []float64
}

func newKDEModel(axes []axis, s BOHB) kdeModel {
	s = s.withDefaults()
	s.MinPoints = max(s.MinPoints, len(axes)+1)
	return kdeModel{axes: axes, settings: s, results: make(map[int]*rungResults)}
}

func (m *kdeModel) ready() bool { return m.good != nil }

// add enters a result and makes the model anew where there are enough. A result
// at a smaller rung than that of the model is not even kept.
func (m *kdeModel) add(epoch int, point []float64, score float64, rng *rand.Rand) {
	if m.ready() && epoch < m.epoch {
		return
	}
	r := m.results[epoch]
	if r == nil {
		r = new(rungResults)
		m.results[epoch] = r
	}
	r.points = append(r.points, point)
	r.scores = append(r.scores, score)
	n, least := len(r.points), m.settings.MinPoints
	if n < least {
		return
	}
	goods := max(least, m.settings.TopPercent*n/100)
	bads := max(least, (100-m.settings.TopPercent)*n/100)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(r.scores[b], r.scores[a]) })
	pick := func(from, to int) [][]float64 {
		var rows [][]float64
		for _, i := range order[min(from, n):min(to, n)] {
			rows = append(rows, r.points[i])
		}
		return m.impute(rows, rng)
	}
	good, bad := pick(0, goods), pick(goods, goods+bads)
	if len(good) <= len(m.axes) || len(bad) <= len(m.axes) {
		return
	}
	m.epoch = epoch
	m.good = newKDE(m.axes, good, m.settings.MinBandwidth)
	m.bad = newKDE(m.axes, bad, m.settings.MinBandwidth)
}

// impute fills in what does not apply: with all such values of one random row
// that has the first of them, until none is left.
func (m *kdeModel) impute(rows [][]float64, rng *rand.Rand) [][]float64 {
	out := make([][]float64, len(rows))
	for i, row := range rows {
		out[i] = slices.Clone(row)
		for {
			missing := slices.IndexFunc(out[i], math.IsNaN)
			if missing < 0 {
				break
			}
			var donors [][]float64
			for _, other := range rows {
				if !math.IsNaN(other[missing]) {
					donors = append(donors, other)
				}
			}
			if len(donors) > 0 {
				donor := donors[rng.IntN(len(donors))]
				for k, v := range out[i] {
					if math.IsNaN(v) {
						out[i][k] = donor[k]
					}
				}
				continue
			}
			if n := m.axes[missing].choices; n > 0 {
				out[i][missing] = float64(rng.IntN(n))
			} else {
				out[i][missing] = rng.Float64()
			}
		}
	}
	return out
}

// leastDensity bounds both densities away from 0.
const leastDensity = 1e-32

// ratio is what is minimised: the bad density over the good one. What does not
// apply to a point counts in neither.
func (m *kdeModel) ratio(point []float64) float64 {
	return max(m.bad.density(point), leastDensity) / max(m.good.density(point), leastDensity)
}

// kde is a kernel density estimate, that of statsmodels' KDEMultivariate: a
// Gaussian kernel for numbers, that of Aitchison and Aitken for categories.
type kde struct {
	axes      []axis
	data      [][]float64
	bandwidth []float64
	present   []int // categories in the data, by axis
}

// newKDE takes the bandwidths from the normal reference rule, 1.06 times the
// standard deviation times n^(-1/(4+d)), positions of categories included.
func newKDE(axes []axis, data [][]float64, least float64) *kde {
	e := &kde{axes: axes, data: data, bandwidth: make([]float64, len(axes)), present: make([]int, len(axes))}
	n := float64(len(data))
	for k, a := range axes {
		mean, squares := 0.0, 0.0
		seen := make(map[float64]bool)
		for _, row := range data {
			mean += row[k] / n
			seen[row[k]] = true
		}
		for _, row := range data {
			squares += (row[k] - mean) * (row[k] - mean) / n
		}
		h := max(1.06*math.Sqrt(squares)*math.Pow(n, -1/(4+float64(len(axes)))), least)
		if a.choices > 0 {
			e.present[k] = len(seen)
			if c := float64(len(seen)); c > 1 {
				h = min(h, (c-1)/c)
			}
		}
		e.bandwidth[k] = h
	}
	return e
}

func (e *kde) density(point []float64) float64 {
	scale := 1 / float64(len(e.data))
	for k, h := range e.bandwidth {
		if e.axes[k].choices == 0 && !math.IsNaN(point[k]) {
			scale /= h * math.Sqrt(2*math.Pi)
		}
	}
	sum := 0.0
	for _, row := range e.data {
		product, squares := 1.0, 0.0
		for k, v := range row {
			x, h := point[k], e.bandwidth[k]
			switch {
			case math.IsNaN(x):
			case e.axes[k].choices == 0:
				z := (x - v) / h
				squares += z * z
			case x == v:
				product *= 1 - h
			case e.present[k] > 1:
				product *= h / float64(e.present[k]-1)
			default:
				product = 0
			}
		}
		if product > 0 {
			sum += product * math.Exp(-squares/2)
		}
	}
	return sum * scale
}

func bohbRows() definition {
	return bohbDefinition(BOHB{}, search.Method{Name: "bohb", Title: "BOHB"})
}

func bohbNearest() definition {
	return bohbDefinition(BOHB{Nearest: true}, search.Method{
		Name: "bohb:nearest", Title: "BOHB (nearest row)", Uses: search.Uses{Repeats: true},
	})
}

func bohbDefinition(variant BOHB, method search.Method) definition {
	s := &variant
	s.Variant = HpBandSterBrackets
	d := s.withDefaults()
	method.Source = "Falkner et al., ICML 2018; HpBandSter 0.7.4, optimizers/config_generators/bohb.py"
	method.Uses.Fidelity = true
	return definition{
		method: method,
		settings: []Setting{
			etaSetting(&s.Eta),
			minEpochsSetting(&s.MinEpochs),
			intSetting(&s.MinPoints, "min-points", 0, 0, maxCandidates, "results that each density needs; 0: one more than hyperparameters"),
			intSetting(&s.TopPercent, "top-percent", d.TopPercent, 1, 99, "percent of the results that are good"),
			intSetting(&s.Samples, "samples", d.Samples, 1, maxCandidates, "samples compared for a proposal"),
			floatSetting(&s.RandomFraction, "random-fraction", d.RandomFraction, 1e-9, 1, "share of candidates drawn uniformly"),
			floatSetting(&s.BandwidthFactor, "bandwidth-factor", d.BandwidthFactor, 1e-3, 1e3, "widening of the kernels that samples are drawn from"),
			floatSetting(&s.MinBandwidth, "min-bandwidth", d.MinBandwidth, 1e-9, 1, "least bandwidth"),
		},
		details: func() string {
			kind := "among unseen rows"
			if s.Nearest {
				kind = "row nearest to a sample"
			}
			return fmt.Sprintf("eta=%d, at least %d epochs, top %d%%, %d samples, %.3g random, %s", s.Eta, s.MinEpochs, s.TopPercent, s.Samples, s.RandomFraction, kind)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewBOHB(p, settings) }
		},
	}
}
