package searchtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"quicktune/internal/stream"
	"quicktune/search"
)

// repeatedProposals bounds the runs of methods that may never say Done.
const repeatedProposals = 200

// flight is an outstanding proposal.
type flight struct {
	trial, candidate int
	reached, target  int // epochs
}

// driver runs one optimiser on one table and watches what it answers.
type driver struct {
	setting
	optimizer   search.Optimizer
	rng         *rand.Rand
	trace       trace
	outstanding []flight
	trials      []flight // all, by number; target is not used
	ended       []bool   // by trial
	tried       []bool   // by candidate
	ready       int      // proposals so far
	fruitless   int      // proposals since an epoch finished
	clock       float64
	done        bool
}

// drive runs the optimiser of the setting until it is Done or the bound on
// proposals is reached, and returns the first promise that it broke. Which
// worker makes progress next is drawn at random, always in the same way for a
// setting: it depends on nothing but the answers and reports so far.
func (s setting) drive() (t trace, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panics: %v", r)
		}
	}()
	if s.options.observe != nil {
		s.options.observe(s.table)
	}
	problem := s.problem()
	optimizer, err := s.method.New(problem)
	if err != nil {
		if len(s.table.Candidates) == 0 {
			return trace{}, nil // a fair answer to an empty pool
		}
		return trace{}, fmt.Errorf("its factory refuses the problem: %w", err)
	}
	d := driver{
		setting:   s,
		optimizer: optimizer,
		rng:       stream.New("searchtest/"+s.table.Name, s.seed, uint64(s.workers)),
		trace:     trace{seen: map[int]sight{}},
		tried:     make([]bool, len(s.table.Candidates)),
	}
	if err := d.run(); err != nil {
		return d.trace, err
	}
	return d.trace, s.unchanged(problem)
}

func (s setting) problem() search.Problem {
	p := search.Problem{
		Space:     s.table.Space,
		Task:      s.table.Task,
		MaxEpochs: s.table.MaxEpochs,
		Budget:    s.budget,
		Workers:   s.workers,
		Metric:    s.table.Metric,
		Seed:      s.seed + s.other,
	}
	for _, c := range s.table.Candidates {
		p.Candidates = append(p.Candidates, slices.Clone(c))
	}
	p.Task.MetaFeatures = slices.Clone(p.Task.MetaFeatures)
	return p
}

// unchanged tells what the optimiser changed in its problem.
func (s setting) unchanged(p search.Problem) error {
	for i, c := range s.table.Candidates {
		if !slices.Equal(p.Candidates[i], c) {
			return fmt.Errorf("it changed Problem.Candidates[%d]", i)
		}
	}
	sameBits := func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }
	if !slices.EqualFunc(p.Task.MetaFeatures, s.table.Task.MetaFeatures, sameBits) {
		return fmt.Errorf("it changed Problem.Task.MetaFeatures")
	}
	return nil
}

func (d *driver) run() error {
	bound := d.options.Proposals
	if d.method.Uses.Repeats && (bound == 0 || bound > repeatedProposals) {
		bound = repeatedProposals
	}
	for {
		for free := true; free && len(d.outstanding) < d.workers; {
			if bound > 0 && d.ready == bound {
				return nil
			}
			var err error
			if free, err = d.ask(); err != nil {
				return err
			}
		}
		if len(d.outstanding) == 0 {
			return d.staysDone()
		}
		// Several proposals may end before the next Ask.
		for again := true; again && len(d.outstanding) > 0; {
			finished := d.advance()
			again = !finished || d.rng.IntN(4) == 0
		}
	}
}

// ask asks once and tells whether there may be more.
func (d *driver) ask() (more bool, err error) {
	p, status := d.optimizer.Ask()
	if status != search.Ready {
		p = search.Proposal{}
	}
	a := answer{proposal: p, status: status}
	d.trace.answers = append(d.trace.answers, a)
	if d.done && status != search.Done {
		return false, fmt.Errorf("after Done it answers %v", a)
	}
	switch status {
	case search.Ready:
		return true, d.accept(p)
	case search.Done:
		if len(d.table.Candidates) > 0 && d.ready == 0 {
			return false, fmt.Errorf("it is Done before it proposed anything, with %d candidates to try", len(d.table.Candidates))
		}
		d.done = true
		return false, nil
	case search.Wait:
		if len(d.outstanding) == 0 {
			return false, fmt.Errorf("it answers Wait while nothing is outstanding")
		}
		if _, status := d.optimizer.Ask(); status != search.Wait {
			return false, fmt.Errorf("it answers Wait and then, though nothing was told in between, %v", answer{status: status})
		}
		return false, nil
	}
	return false, fmt.Errorf("it answers %v", a)
}

func (d *driver) staysDone() error {
	for range 3 {
		if _, err := d.ask(); err != nil {
			return err
		}
	}
	return nil
}

// accept checks a proposal and begins to train it.
func (d *driver) accept(p search.Proposal) error {
	describe := answer{proposal: p}
	switch {
	case p.Candidate < 0 || p.Candidate >= len(d.table.Candidates):
		return fmt.Errorf("it proposes %v, but the pool has %d candidates", describe, len(d.table.Candidates))
	case p.Trial < 0 || p.Trial > len(d.trials):
		return fmt.Errorf("it proposes %v, but the next new trial is number %d", describe, len(d.trials))
	case p.Epoch > d.table.MaxEpochs:
		return fmt.Errorf("it proposes %v, but MaxEpochs is %d", describe, d.table.MaxEpochs)
	}
	if p.Trial == len(d.trials) {
		if d.tried[p.Candidate] && !d.method.Uses.Repeats {
			return fmt.Errorf("it proposes %v, but that candidate has a trial already and the method does not claim to repeat", describe)
		}
		d.tried[p.Candidate] = true
		d.trials = append(d.trials, flight{trial: p.Trial, candidate: p.Candidate})
		d.ended = append(d.ended, false)
	}
	f := d.trials[p.Trial]
	switch {
	case f.candidate != p.Candidate:
		return fmt.Errorf("it proposes %v, but that trial is of candidate %d", describe, f.candidate)
	case d.ended[p.Trial]:
		return fmt.Errorf("it proposes %v, but that trial has ended", describe)
	case slices.ContainsFunc(d.outstanding, func(o flight) bool { return o.trial == p.Trial }):
		return fmt.Errorf("it proposes %v, but that trial is outstanding", describe)
	case p.Epoch <= f.reached:
		return fmt.Errorf("it proposes %v, but that trial has reached epoch %d", describe, f.reached)
	}
	f.target = p.Epoch
	d.outstanding = append(d.outstanding, f)
	d.ready++
	d.fruitless++
	// Each candidate may be outstanding on all workers before it shows that it
	// gives nothing.
	if limit := len(d.table.Candidates) * d.workers; d.fruitless > limit {
		return fmt.Errorf("no epoch was finished in its last %d proposals, more than one a candidate and worker; such a search never ends", d.fruitless)
	}
	return nil
}

// advance lets a random worker report its next event and tells whether that
// finished its proposal.
func (d *driver) advance() (finished bool) {
	i := d.rng.IntN(len(d.outstanding))
	endTogether := d.rng.IntN(2) == 0
	f := &d.outstanding[i]
	curve := d.table.Curves[f.candidate]
	r := search.Report{Trial: f.trial, Candidate: f.candidate}
	if f.reached == len(curve.Scores) {
		r.Score = math.NaN()
		r.End = curve.End
	} else {
		r.Score = curve.Scores[f.reached]
		r.Seconds = curve.Seconds[f.reached]
		if d.seconds != 0 && (f.reached+f.candidate)%2 == 0 {
			r.Seconds *= d.seconds
		}
		f.reached++
		d.fruitless = 0
		if f.reached == d.table.MaxEpochs || f.reached == len(curve.Scores) && endTogether {
			r.End = curve.End
		}
	}
	d.clock += r.Seconds / float64(d.workers)
	r.Epoch = f.reached
	r.Clock = d.clock
	r.Proposed = f.reached == f.target || r.End != search.NotEnded

	d.trials[f.trial].reached = f.reached
	d.ended[f.trial] = r.End != search.NotEnded
	seen := d.trace.seen[f.candidate]
	d.trace.seen[f.candidate] = sight{max(seen.epochs, f.reached), seen.ended || r.End != search.NotEnded}
	if r.Proposed {
		d.outstanding = slices.Delete(d.outstanding, i, i+1)
	}
	d.optimizer.Tell(r)
	return r.Proposed
}

// rewriteUnseen returns the table with other scores, seconds and lengths
// wherever the run that saw so much of it could not know.
func (t Table) rewriteUnseen(seen map[int]sight) Table {
	rng := stream.New("searchtest/unseen", 0)
	curves := slices.Clone(t.Curves)
	for c, curve := range curves {
		s := seen[c]
		if s.ended {
			continue
		}
		length := t.MaxEpochs
		if s.epochs < t.MaxEpochs {
			length = s.epochs + 1 + rng.IntN(t.MaxEpochs-s.epochs)
		}
		other := Curve{
			Scores:  slices.Clone(curve.Scores[:s.epochs]),
			Seconds: slices.Clone(curve.Seconds[:s.epochs]),
			End:     search.Completed,
		}
		for len(other.Scores) < length {
			other.Scores = append(other.Scores, rng.Float64())
			other.Seconds = append(other.Seconds, 1+rng.Float64())
		}
		curves[c] = other
	}
	t.Curves = curves
	return t
}
