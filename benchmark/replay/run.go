package replay

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"quicktune/search"
)

// Clock says what the simulated time counts.
type Clock string

const (
	// Training counts the stored seconds of the epochs alone. It is
	// deterministic and the headline of every comparison.
	Training Clock = "training"
	// Decision adds the measured real time of Ask and Tell. One optimiser
	// serves all workers, so calls queue: a worker's training starts once its
	// Ask has returned and goes on once its Tell has.
	Decision Clock = "decision"
)

// ParseClock reads the name of a clock.
func ParseClock(s string) (Clock, error) {
	if c := Clock(s); c == Training || c == Decision {
		return c, nil
	}
	return "", fmt.Errorf("unknown clock %q: want %s or %s", s, Training, Decision)
}

// Options sets up one run.
type Options struct {
	// Budget in simulated seconds, greater than 0. Epochs that finish after it
	// do not count. +Inf lets the method run until it is done, which a method
	// that draws with replacement never is.
	Budget float64
	// Workers train at the same time. 0 means 1.
	Workers int
	// Clock defaults to Training.
	Clock Clock
	// Seed, together with the name of the data set, gives Problem.Seed.
	Seed uint64
}

// PanicError reports an optimiser that panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("the method panicked: %v; this is a defect of the method", e.Value)
}

// Run replays t to the method m. It is deterministic on the training clock. The
// workers of a [search.Prepared] optimiser idle while it prepares.
//
// A method is told the budget only if m.Uses.Budget says that it looks at it,
// so that every other run may be read at any smaller budget. A proposal that
// breaks the contract of search.Optimizer is an error that names the method,
// the data set, the seed and the proposal. A cancelled context ends the run
// with its error.
func Run(ctx context.Context, m search.Method, t *Table, o Options) (*Trace, error) {
	if o.Workers == 0 {
		o.Workers = 1
	}
	if o.Clock == "" {
		o.Clock = Training
	}
	start := time.Now()
	return run(ctx, m, t, o, func() time.Duration { return time.Since(start) })
}

// run is Run with a real clock of the caller's choice.
func run(ctx context.Context, m search.Method, t *Table, o Options, now func() time.Duration) (trace *Trace, err error) {
	defer func() {
		if v := recover(); v != nil {
			trace, err = nil, &PanicError{Value: v, Stack: debug.Stack()}
		}
		if err != nil && !errors.Is(err, context.Cause(ctx)) {
			err = fmt.Errorf("method %q on data set %q, seed %d: %w", m.Name, t.Task.Name, o.Seed, err)
		}
	}()
	if !t.checked {
		return nil, errors.New("the table was not made by NewTable or FromStore")
	}
	if !(o.Budget > 0) {
		return nil, fmt.Errorf("budget of %v seconds, want more than 0", o.Budget)
	}
	if o.Workers < 1 {
		return nil, fmt.Errorf("%d workers, want at least 1", o.Workers)
	}
	if _, err := ParseClock(string(o.Clock)); err != nil {
		return nil, err
	}
	problem := search.Problem{
		Space:      t.Space,
		Candidates: t.Candidates,
		Task:       t.Task,
		MaxEpochs:  t.MaxEpochs,
		Workers:    o.Workers,
		Metric:     t.Metric,
		Seed:       problemSeed(o.Seed, t.Task.Name),
	}
	if m.Uses.Budget && !math.IsInf(o.Budget, 1) {
		problem.Budget = o.Budget
	}
	optimizer, err := m.New(problem)
	if err != nil {
		return nil, err
	}
	s := &simulation{
		table:     t,
		options:   o,
		optimizer: optimizer,
		now:       now,
		queue:     make(queue, 0, o.Workers),
		workers:   make([]worker, o.Workers),
		spent:     make([]int32, len(t.Candidates)),
		best:      math.Inf(-1),
		points:    make([]Point, 0, 32),
	}
	began := 0.0
	if p, ok := optimizer.(search.Prepared); ok {
		if began = p.Preparation(); !(began >= 0) {
			return nil, fmt.Errorf("a preparation of %v seconds, want at least 0", began)
		}
		s.totals.IdleSeconds = min(began, o.Budget) * float64(o.Workers)
	}
	for w := range s.workers {
		s.queue.push(event{time: began, kind: askEvent, worker: int32(w)})
	}
	if err := s.loop(ctx); err != nil {
		return nil, err
	}
	s.finish()
	return &Trace{
		Key: Key{
			Dataset: t.Task.Name,
			Method:  m.Name,
			Details: m.Details,
			Seed:    o.Seed,
			Budget:  o.Budget,
			Workers: o.Workers,
			Clock:   o.Clock,
		},
		Scale:    t.Scale,
		Points:   slices.Clone(s.points),
		Totals:   s.totals,
		Spent:    s.spentList(),
		Measured: Measured{DecisionSeconds: s.decided.Seconds()},
	}, nil
}

// problemSeed mixes the seed of a run with the data set. Were the seeds equal,
// a method would draw the same numbers on every data set of a grid, and data
// sets that hold the same configurations would not be independent samples.
func problemSeed(seed uint64, dataset string) uint64 {
	buf := binary.LittleEndian.AppendUint64([]byte("replay"), seed)
	sum := sha256.Sum256(append(buf, dataset...))
	return binary.LittleEndian.Uint64(sum[:8])
}

// worker is a simulated machine. It either trains (an epochEvent is queued),
// is about to ask (an askEvent is queued), or is idle (nothing is queued).
type worker struct {
	trial     int
	candidate int32
	epoch     int32 // in training
	target    int32 // last epoch of the proposal that is stored
	idle      bool
	since     float64 // when the epoch in training, or the idling, began
}

// trial is a training run as far as it has come.
type trial struct {
	candidate int32
	epoch     int32
	busy      bool
	ended     bool
}

type simulation struct {
	table     *Table
	options   Options
	optimizer search.Optimizer
	now       func() time.Duration

	queue       queue
	workers     []worker
	trials      []trial // by number
	outstanding int
	done        bool
	waiting     bool // since Wait was answered, until a proposal ends

	clock  float64
	served float64 // until when the optimiser is busy, on the decision clock
	free   int     // proposals in a row that cost nothing

	totals  Totals
	decided time.Duration
	spent   []int32
	best    float64
	points  []Point
}

func (s *simulation) loop(ctx context.Context) error {
	cancelled := ctx.Done()
	for len(s.queue) > 0 && s.queue[0].time <= s.options.Budget {
		e := s.queue[0]
		s.clock = e.time
		w := &s.workers[e.worker]
		if e.kind == epochEvent {
			s.endEpoch(w, e)
			continue
		}
		select {
		case <-cancelled:
			return context.Cause(ctx)
		default:
		}
		if s.done || s.waiting || e.time >= s.options.Budget {
			s.rest(w, e.time)
			continue
		}
		if err := s.ask(w, e); err != nil {
			return err
		}
	}
	return nil
}

// rest takes the next event away and leaves its worker without work.
func (s *simulation) rest(w *worker, at float64) {
	s.queue.pop()
	w.idle, w.since = true, at
}

// charge adds a measured call to the totals and returns when it is over.
func (s *simulation) charge(from float64, took time.Duration) float64 {
	s.decided += took
	if s.options.Clock == Training {
		return from
	}
	s.served = max(s.served, from) + took.Seconds()
	return s.served
}

// ask gets work for the worker of the next event.
func (s *simulation) ask(w *worker, e event) error {
	began := s.now()
	p, status := s.optimizer.Ask()
	at := s.charge(e.time, s.now()-began)
	s.totals.Decisions++
	switch status {
	case search.Ready:
	case search.Done:
		s.done = true
		s.rest(w, at)
		return nil
	case search.Wait:
		if s.outstanding == 0 {
			return fmt.Errorf("decision %d: it waits though nothing is outstanding", s.totals.Decisions)
		}
		s.waiting = true
		s.rest(w, at)
		return nil
	default:
		return fmt.Errorf("decision %d: unknown status %d", s.totals.Decisions, status)
	}
	if err := s.admit(p); err != nil {
		return fmt.Errorf("decision %d, proposal of trial %d, candidate %d, epoch %d: %w",
			s.totals.Decisions, p.Trial, p.Candidate, p.Epoch, err)
	}
	stored := len(s.table.Scores[p.Candidate])
	if stored == 0 {
		return s.failAtOnce(p, at)
	}
	s.free = 0
	s.outstanding++
	run := &s.trials[p.Trial]
	run.busy = true
	*w = worker{
		trial:     p.Trial,
		candidate: int32(p.Candidate),
		epoch:     run.epoch + 1,
		target:    int32(min(p.Epoch, stored)),
		since:     at,
	}
	seconds := float64(s.table.Seconds[p.Candidate][run.epoch])
	s.queue.replace(event{time: at + seconds, kind: epochEvent, worker: e.worker})
	return nil
}

// admit checks a proposal and notes its trial if it is new.
func (s *simulation) admit(p search.Proposal) error {
	switch {
	case p.Candidate < 0 || p.Candidate >= len(s.table.Candidates):
		return fmt.Errorf("there are candidates 0 to %d", len(s.table.Candidates)-1)
	case p.Epoch < 1 || p.Epoch > s.table.MaxEpochs:
		return fmt.Errorf("there are epochs 1 to %d", s.table.MaxEpochs)
	case p.Trial < 0 || p.Trial > len(s.trials):
		return fmt.Errorf("the next new trial is number %d", len(s.trials))
	case p.Trial == len(s.trials):
		s.trials = append(s.trials, trial{candidate: int32(p.Candidate)})
		return nil
	}
	switch run := s.trials[p.Trial]; {
	case run.ended:
		return errors.New("the trial has ended")
	case run.busy:
		return errors.New("the trial is outstanding")
	case int(run.candidate) != p.Candidate:
		return fmt.Errorf("the trial trains candidate %d", run.candidate)
	case p.Epoch <= int(run.epoch):
		return fmt.Errorf("the trial has reached epoch %d already", run.epoch)
	}
	return nil
}

// failAtOnce reports a curve without epochs, which costs nothing. A method
// that proposes nothing else would never end, so there is a limit.
func (s *simulation) failAtOnce(p search.Proposal, at float64) error {
	s.trials[p.Trial].ended = true
	began := s.now()
	s.optimizer.Tell(search.Report{
		Trial:     p.Trial,
		Candidate: p.Candidate,
		Score:     math.NaN(),
		Clock:     at,
		End:       search.Failed,
		Proposed:  true,
	})
	at = s.charge(at, s.now()-began)
	e := s.queue[0]
	e.time = at
	s.queue.replace(e)
	s.free++
	if limit := 1000 + 100*len(s.table.Candidates); s.free > limit {
		return fmt.Errorf("decision %d: %d proposals in a row of curves without epochs", s.totals.Decisions, s.free)
	}
	return nil
}

// endEpoch reports the epoch that e finishes and lets its worker go on.
func (s *simulation) endEpoch(w *worker, e event) {
	scores, seconds := s.table.Scores[w.candidate], s.table.Seconds[w.candidate]
	score, cost := float64(scores[w.epoch-1]), float64(seconds[w.epoch-1])
	if !finite(score) {
		score = math.NaN()
	}
	run := &s.trials[w.trial]
	run.epoch = w.epoch
	s.spent[w.candidate]++
	s.totals.Epochs++
	s.totals.TrainSeconds += cost
	if score > s.best {
		s.best = score
		s.points = append(s.points, Point{
			Seconds:   e.time,
			Epochs:    s.totals.Epochs,
			Candidate: int(w.candidate),
			ID:        s.table.IDs[w.candidate],
			Epoch:     int(w.epoch),
			Score:     score,
		})
	}
	report := search.Report{
		Trial:     w.trial,
		Candidate: int(w.candidate),
		Epoch:     int(w.epoch),
		Score:     score,
		Seconds:   cost,
		Clock:     e.time,
		Proposed:  w.epoch == w.target,
	}
	switch {
	case int(w.epoch) == s.table.MaxEpochs:
		report.End = search.Completed
	case int(w.epoch) == len(scores):
		report.End = s.table.Ends[w.candidate]
	}
	began := s.now()
	s.optimizer.Tell(report)
	at := s.charge(e.time, s.now()-began)
	if w.epoch < w.target {
		w.epoch++
		w.since = at
		e.time = at + float64(seconds[w.epoch-1])
		s.queue.replace(e)
		return
	}
	run.busy = false
	run.ended = report.End != search.NotEnded
	s.outstanding--
	s.queue.replace(event{time: at, kind: askEvent, worker: e.worker})
	s.wake(at)
}

// wake lets the workers that wait ask again.
func (s *simulation) wake(at float64) {
	if !s.waiting {
		return
	}
	s.waiting = false
	for i := range s.workers {
		w := &s.workers[i]
		if !w.idle {
			continue
		}
		w.idle = false
		s.totals.IdleSeconds += max(0, at-w.since)
		s.queue.push(event{time: max(at, w.since), kind: askEvent, worker: int32(i)})
	}
}

// finish settles what is under way when nothing more happens by the budget.
func (s *simulation) finish() {
	s.totals.Trials = len(s.trials)
	s.totals.End = s.clock
	if len(s.queue) > 0 {
		s.totals.End = s.options.Budget
	}
	training := make([]bool, len(s.workers))
	for _, e := range s.queue {
		training[e.worker] = e.kind == epochEvent
	}
	for i, w := range s.workers {
		left := max(0, s.totals.End-w.since)
		switch {
		case training[i]:
			s.totals.CutSeconds += left
		case w.idle:
			s.totals.IdleSeconds += left
		}
	}
}

func (s *simulation) spentList() []Spent {
	var list []Spent
	for c, n := range s.spent {
		if n > 0 {
			list = append(list, Spent{Candidate: int32(c), Epochs: n})
		}
	}
	return slices.Clip(list)
}
