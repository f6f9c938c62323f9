package baselines

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"quicktune/internal/stream"
	"quicktune/search"
	"quicktune/space"
)

// DEHB is Hyperband whose candidates come from differential evolution: one
// population a rung, mutants of the best of the rung below.
//
// Evolution needs points between the rows. Each offspring is therefore trained
// as the nearest row that was not trained as far as its rung, and lives on as
// that row. A row that was trained less is trained on.
//
// Source: Awad, Mallik and Hutter: DEHB: Evolutionary Hyperband for Scalable,
// Robust and Efficient Hyperparameter Optimization, IJCAI 2021; rules and
// defaults of DEHB 0.1.2, optimizers/dehb.py and de.py: strategy rand1_bin,
// violated bounds drawn anew.
type DEHB struct {
	Eta            int     // reduction factor; 0 means 3
	MinEpochs      int     // 0 means 1
	MutationFactor float64 // F; 0 means 0.5
	CrossoverProb  float64 // 0 means 0.5
	// Nearest trains the row nearest to the offspring, whether it was trained
	// before or not, from its first epoch, and lets the offspring live on as it
	// is. That is how the released Quick-Tune comparison runs methods of a
	// continuous space.
	Nearest bool
}

func (s DEHB) withDefaults() DEHB {
	s.Eta = cmp.Or(s.Eta, defaultEta)
	s.MinEpochs = cmp.Or(s.MinEpochs, 1)
	s.MutationFactor = cmp.Or(s.MutationFactor, 0.5)
	s.CrossoverProb = cmp.Or(s.CrossoverProb, 0.5)
	return s
}

// NewDEHB returns the optimiser of s. The problem must have a space.
func NewDEHB(p search.Problem, s DEHB) (search.Optimizer, error) {
	s = s.withDefaults()
	if err := checkRungSettings(p, s.Eta, s.MinEpochs); err != nil {
		return nil, err
	}
	x, err := pointsOf(p)
	if err != nil {
		return nil, err
	}
	d := &dehb{settings: s, points: x, space: p.Space, rows: x.unitRows(), epochs: p.MaxEpochs}
	table := HpBandSterBrackets.Brackets(p.MaxEpochs, s.MinEpochs, s.Eta)
	draws := deStream{stream.New("baselines/dehb", p.Seed)}
	d.evolution = newEvolution(table, len(x.axes), s, draws)
	d.evolution.populate()
	for c := range p.Candidates {
		d.alive = append(d.alive, int32(c))
	}
	d.trialOf = make([]int, len(p.Candidates))
	for c := range d.trialOf {
		d.trialOf[c] = -1
	}
	return d, nil
}

// dehb trains what the evolution wants.
type dehb struct {
	ledger
	settings  DEHB
	points    *points
	space     *space.Space
	rows      [][]float64
	epochs    int
	evolution *evolution
	alive     []int32     // candidates worth training
	trialOf   []int       // the latest trial of a candidate, -1 if none
	scores    [][]float64 // by trial and epoch - 1
	jobs      []deJob     // by trial: what it is trained for
}

func (d *dehb) Ask() (search.Proposal, search.Status) {
	for len(d.trainable(d.epochs)) > 0 {
		job := d.evolution.next()
		if proposal, ok := d.propose(job); ok {
			return proposal, search.Ready
		}
	}
	return d.idle()
}

// trainable lists the candidates that can be trained to an epoch: those that
// have no trial, or, unless rows may be repeated, one that waits below it.
func (d *dehb) trainable(epoch int) []int32 {
	if d.settings.Nearest {
		return d.alive
	}
	var out []int32
	for _, c := range d.alive {
		if n := d.trialOf[c]; n < 0 || d.trials[n].progress == paused && d.trials[n].epoch < epoch {
			out = append(out, c)
		}
	}
	return out
}

// propose trains the individual of a job; false if there is nothing to train.
func (d *dehb) propose(job deJob) (search.Proposal, bool) {
	epoch := job.epoch()
	number := job.member.id
	if number < 0 {
		among := d.trainable(epoch)
		if len(among) == 0 {
			d.evolution.skip(job)
			return search.Proposal{}, false
		}
		c := nearest(d.rows, d.points.axes, among, d.decode(job.member.vector))
		if !d.settings.Nearest {
			job.member.vector = d.encode(c, job.member.vector)
			number = d.trialOf[c]
		}
		if number < 0 {
			proposal := d.start(c, epoch)
			d.trialOf[c] = proposal.Trial
			d.scores = append(d.scores, nil)
			job.member.id = proposal.Trial
			d.jobs = append(d.jobs, job)
			return proposal, true
		}
		job.member.id = number
	}
	t := &d.trials[number]
	switch {
	case t.progress == running:
		d.evolution.skip(job)
		return search.Proposal{}, false
	case t.progress == ended || t.epoch >= epoch:
		// Its score at the rung is known: that of the epoch, or of the last one
		// if the curve ended before.
		job.member.fitness = math.Inf(1)
		if s := d.scores[number]; len(s) > 0 && t.score > worst {
			job.member.fitness = fitness(s[min(epoch, len(s))-1])
		}
		d.evolution.tell(job)
		return search.Proposal{}, false
	}
	d.jobs[number] = job
	return d.resume(number, epoch), true
}

// fitness is lower for better ones.
func fitness(score float64) float64 {
	if math.IsNaN(score) {
		return math.Inf(1)
	}
	return -score
}

func (d *dehb) Tell(r search.Report) {
	if scores := &d.scores[r.Trial]; r.Epoch > len(*scores) {
		*scores = append(*scores, r.Score)
	}
	if r.End != search.NotEnded && (r.Epoch == 0 || !d.settings.Nearest) {
		d.alive = slices.DeleteFunc(d.alive, func(c int32) bool { return int(c) == r.Candidate })
	}
	if !d.tell(r) {
		return
	}
	job := d.jobs[r.Trial]
	job.member.fitness = fitness(d.trials[r.Trial].score)
	d.evolution.tell(job)
}

// decode turns a point of the unit cube into coordinates: categories by equal
// bins, and NaN for what does not apply.
func (d *dehb) decode(point []float64) []float64 {
	out := slices.Clone(point)
	c := make(space.Config, d.space.Len())
	for i := range c {
		if h := d.space.Param(i); len(h.Choices) > 0 {
			c[i] = h.Choices[0]
		}
	}
	for k, a := range d.points.axes {
		h := d.space.Param(a.param)
		switch {
		case a.choices > 0:
			out[k] = float64(bin(point[k], a.choices))
			c[a.param] = h.Choices[int(out[k])]
		case h.Type == space.Ordinal:
			c[a.param] = h.Choices[bin(point[k], len(h.Choices))]
		default:
			x := a.low() + point[k]*(a.high()-a.low())
			if a.log {
				x = math.Exp(x)
			}
			c[a.param] = space.Float(x)
			if h.Type == space.Integer {
				c[a.param] = space.Int(int64(min(max(math.Round(x), h.Lower), h.Upper)))
			}
		}
	}
	// Taking away a value may take away others' conditions.
	for again := true; again; {
		again = false
		for i := range c {
			if !c[i].IsInactive() && !d.space.Active(c, i) {
				c[i], again = space.Inactive, true
			}
		}
	}
	for k, a := range d.points.axes {
		if c[a.param].IsInactive() {
			out[k] = inactive
		}
	}
	return out
}

// encode is the row of a candidate as a point of the unit cube. Where something
// does not apply to it, the given point is kept.
func (d *dehb) encode(candidate int, point []float64) []float64 {
	out := slices.Clone(point)
	for k, v := range d.rows[candidate] {
		switch n := d.points.axes[k].choices; {
		case math.IsNaN(v):
		case n > 0:
			out[k] = (v + 0.5) / float64(n)
		default:
			out[k] = v
		}
	}
	return out
}

// bin is which of n equal parts of [0, 1] holds x.
func bin(x float64, n int) int { return min(max(int(x*float64(n)), 0), n-1) }

// evolution is DEHB on the unit cube, without anything that is trained.
type evolution struct {
	settings    DEHB
	table       []Bracket
	dimensions  int
	draws       deDraws
	epochs      []int // of the levels, ascending
	populations [][]deMember
	parents     []int        // by level: whose turn it is
	promotions  [][]deMember // by level: waiting to be promoted to it
	begun       int          // brackets
	open        []*deBracket
}

// deMember is an individual. Fitness is lower for better ones, +Inf before it
// is known; id is the owner's, -1 for one that never was trained.
type deMember struct {
	vector  []float64
	fitness float64
	id      int
}

// deBracket counts the jobs of a bracket, by rung.
type deBracket struct {
	levels  []int
	epochs  []int
	sizes   []int
	pending []int // not begun
	done    []int
	rung    int
}

// deJob is one individual to be trained for a rung.
type deJob struct {
	bracket *deBracket
	rung    int
	parent  int // the place in the population that it competes for
	member  deMember
}

func (j deJob) epoch() int { return j.bracket.epochs[j.rung] }
func (j deJob) level() int { return j.bracket.levels[j.rung] }

// deDraws is where the random numbers of an evolution come from.
type deDraws interface {
	uniform() float64
	index(n int) int         // in [0, n)
	distinct(n, k int) []int // k different ones in [0, n)
}

type deStream struct{ rng *rand.Rand }

func (s deStream) uniform() float64        { return s.rng.Float64() }
func (s deStream) index(n int) int         { return s.rng.IntN(n) }
func (s deStream) distinct(n, k int) []int { return s.rng.Perm(n)[:k] }

// newEvolution returns an evolution with empty populations, one a level, each
// as large as the largest rung of the level.
func newEvolution(table []Bracket, dimensions int, s DEHB, draws deDraws) *evolution {
	e := &evolution{settings: s.withDefaults(), table: table, dimensions: dimensions, draws: draws}
	for _, r := range table[0].Rungs {
		e.epochs = append(e.epochs, r.Epoch)
	}
	n := len(e.epochs)
	e.populations = make([][]deMember, n)
	e.parents = make([]int, n)
	e.promotions = make([][]deMember, n)
	for _, b := range table {
		for i, r := range b.Rungs {
			level := n - len(b.Rungs) + i
			for len(e.populations[level]) < r.N {
				e.populations[level] = append(e.populations[level], deMember{fitness: math.Inf(1), id: -1})
			}
		}
	}
	return e
}

// populate draws the populations uniformly.
func (e *evolution) populate() {
	for _, population := range e.populations {
		for i := range population {
			population[i].vector = e.point()
		}
	}
}

func (e *evolution) point() []float64 {
	v := make([]float64, e.dimensions)
	for k := range v {
		v[k] = e.draws.uniform()
	}
	return v
}

// next begins a job: of the oldest bracket that does not wait for a rung to be
// complete, or of a new one.
func (e *evolution) next() deJob {
	e.open = slices.DeleteFunc(e.open, (*deBracket).over)
	at := slices.IndexFunc(e.open, func(b *deBracket) bool { return b.hasWork() })
	if at < 0 {
		at = len(e.open)
		e.open = append(e.open, e.newBracket())
	}
	b := e.open[at]
	job := deJob{bracket: b, rung: b.rung}
	b.pending[b.rung]--
	if b.pending[b.rung] == 0 {
		b.rung = (b.rung + 1) % len(b.levels)
	}
	level := job.level()
	job.parent = e.parents[level]
	e.parents[level] = (job.parent + 1) % len(e.populations[level])
	if job.rung > 0 && e.begun <= len(e.table) {
		if m, ok := e.promote(job); ok {
			job.member = m
			return job
		}
	}
	job.member = deMember{vector: e.offspring(job), fitness: math.Inf(1), id: -1}
	return job
}

func (e *evolution) newBracket() *deBracket {
	rungs := e.table[e.begun%len(e.table)].Rungs
	e.begun++
	b := &deBracket{done: make([]int, len(rungs))}
	for i, r := range rungs {
		b.levels = append(b.levels, len(e.epochs)-len(rungs)+i)
		b.epochs = append(b.epochs, r.Epoch)
		b.sizes = append(b.sizes, r.N)
		b.pending = append(b.pending, r.N)
	}
	return b
}

// hasWork tells whether a job can begin: one is pending and no earlier rung is
// still being trained.
func (b *deBracket) hasWork() bool {
	for rung := range b.rung {
		if b.pending[rung] == 0 && b.done[rung] < b.sizes[rung] {
			return false
		}
	}
	return slices.ContainsFunc(b.pending, func(n int) bool { return n > 0 })
}

func (b *deBracket) over() bool {
	return slices.Equal(b.done, b.sizes)
}

// promote takes the next of the best of the rung below that are not in the
// rung's population. The list is made anew when it is used up.
func (e *evolution) promote(j deJob) (deMember, bool) {
	level := j.level()
	below := e.ranked(j.bracket.levels[j.rung-1])
	below = slices.DeleteFunc(below, func(m deMember) bool { return math.IsInf(m.fitness, 1) })
	if len(below) == 0 {
		return deMember{}, false
	}
	if len(e.promotions[level]) == 0 {
		for _, m := range below {
			if !slices.ContainsFunc(e.populations[level], func(o deMember) bool { return slices.Equal(o.vector, m.vector) }) {
				e.promotions[level] = append(e.promotions[level], m)
			}
		}
		n := min(j.bracket.sizes[j.rung], len(e.promotions[level]))
		e.promotions[level] = e.promotions[level][:n]
	}
	if len(e.promotions[level]) == 0 {
		return below[0], true
	}
	m := e.promotions[level][0]
	e.promotions[level] = e.promotions[level][1:]
	return m, true
}

// ranked is a population, best first.
func (e *evolution) ranked(level int) []deMember {
	out := slices.Clone(e.populations[level])
	slices.SortStableFunc(out, func(a, b deMember) int { return cmp.Compare(a.fitness, b.fitness) })
	return out
}

// leastPopulation is how many different individuals the mutation rand1 needs.
const leastPopulation = 3

// offspring mutates the best of the level below and crosses the mutant with the
// parent.
func (e *evolution) offspring(j deJob) []float64 {
	level := j.level()
	target := e.populations[level][j.parent].vector
	lower := j.bracket.levels[max(j.rung-1, 0)]
	pool := vectorsOf(e.ranked(lower))
	pool = pool[:min(j.bracket.sizes[j.rung], len(pool))]
	if len(pool) < leastPopulation {
		var all [][]float64
		for _, p := range e.populations {
			all = append(all, vectorsOf(p)...)
		}
		for range leastPopulation - len(pool) + 1 {
			pool = append(pool, e.mutant(all, target))
		}
	}
	return e.repair(e.crossover(target, e.mutant(pool, target)))
}

func vectorsOf(population []deMember) [][]float64 {
	out := make([][]float64, len(population))
	for i, m := range population {
		out[i] = m.vector
	}
	return out
}

// mutant is a + F (b - c) for three different individuals other than the
// target. Where there are too few, uniform ones are added.
func (e *evolution) mutant(pool [][]float64, target []float64) []float64 {
	if len(pool) > 1 {
		if i := slices.IndexFunc(pool, func(v []float64) bool { return slices.Equal(v, target) }); i >= 0 {
			pool = slices.Delete(slices.Clone(pool), i, i+1)
		}
	}
	if len(pool) < leastPopulation {
		pool = slices.Clone(pool)
		for len(pool) < leastPopulation {
			pool = append(pool, e.point())
		}
	}
	i := e.draws.distinct(len(pool), 3)
	a, b, c := pool[i[0]], pool[i[1]], pool[i[2]]
	out := make([]float64, len(a))
	for k := range out {
		out[k] = a[k] + e.settings.MutationFactor*(b[k]-c[k])
	}
	return out
}

// crossover takes each number from the mutant with the probability of
// crossover, one at least, and the others from the target.
func (e *evolution) crossover(target, mutant []float64) []float64 {
	out := slices.Clone(target)
	crossed := false
	for k := range out {
		if e.draws.uniform() < e.settings.CrossoverProb {
			out[k], crossed = mutant[k], true
		}
	}
	if !crossed && len(out) > 0 {
		k := e.draws.index(len(out))
		out[k] = mutant[k]
	}
	return out
}

// repair draws anew what lies outside the unit cube.
func (e *evolution) repair(v []float64) []float64 {
	for k := range v {
		if v[k] < 0 || v[k] > 1 {
			v[k] = e.draws.uniform()
		}
	}
	return v
}

// tell ends a job: its member takes the parent's place unless that is better.
func (e *evolution) tell(j deJob) {
	e.skip(j)
	parent := &e.populations[j.level()][j.parent]
	if j.member.fitness <= parent.fitness {
		*parent = j.member
	}
}

// skip ends a job that gave nothing.
func (e *evolution) skip(j deJob) { j.bracket.done[j.rung]++ }

func dehbRows() definition {
	return dehbDefinition(DEHB{}, search.Method{Name: "dehb", Title: "DEHB"})
}

func dehbNearest() definition {
	return dehbDefinition(DEHB{Nearest: true}, search.Method{
		Name: "dehb:nearest", Title: "DEHB (nearest row)", Uses: search.Uses{Repeats: true},
	})
}

func dehbDefinition(variant DEHB, method search.Method) definition {
	s := &variant
	d := s.withDefaults()
	method.Source = "Awad et al., IJCAI 2021; DEHB 0.1.2, optimizers/dehb.py"
	method.Uses.Fidelity = true
	return definition{
		method: method,
		settings: []Setting{
			etaSetting(&s.Eta),
			minEpochsSetting(&s.MinEpochs),
			floatSetting(&s.MutationFactor, "mutation-factor", d.MutationFactor, 1e-6, 2, "F of the mutation a + F (b - c)"),
			floatSetting(&s.CrossoverProb, "crossover-prob", d.CrossoverProb, 1e-9, 1, "share of an offspring that comes from the mutant"),
		},
		details: func() string {
			kind := "among rows not trained as far"
			if s.Nearest {
				kind = "any nearest row"
			}
			return fmt.Sprintf("eta=%d, at least %d epochs, F=%g, crossover=%g, rand1_bin, %s", s.Eta, s.MinEpochs, s.MutationFactor, s.CrossoverProb, kind)
		},
		factory: func() search.Factory {
			settings := *s
			return func(p search.Problem) (search.Optimizer, error) { return NewDEHB(p, settings) }
		},
	}
}
