// Package live runs a search for real: it asks an optimiser what to train, has
// it trained, tells what came of it, and stops when the budget is used up.
//
// A run is a directory:
//
//	journal.log     every question, answer and epoch, in order; only grows
//	checkpoints/    one directory for each trial that can be continued
//	best-tN-eM/     a copy of the checkpoint of the best epoch M of trial N
//
// The budget is time on the clock, decisions included. It ends an epoch that is
// being trained, so it is overrun by no more than a batch takes. A run can be
// stopped at any moment, by any means, and called again: the optimiser is asked
// and told again what the journal holds, which brings it to where it was, and
// the clock goes on from the last mark, at most a second before the stop. An
// epoch in the journal is never trained again.
//
// The package refuses to choose what is trained and to read pictures or weights.
package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"quicktune/generate/trainer"
	"quicktune/internal/eventlog"
	"quicktune/metadataset"
	"quicktune/search"
)

// The parts of the directory of a run.
const (
	JournalFile    = "journal.log"
	CheckpointsDir = "checkpoints"
)

const (
	// markEvery is the time between two marks of the clock in the journal.
	markEvery = time.Second
	// attempts is how often an epoch is begun before its trial has failed.
	attempts = 2
	// hopeless is the number of trials that fail one after the other, before any
	// epoch of any trial is finished, at which a run gives up.
	hopeless = 5
)

// Options describe a run.
type Options struct {
	Dir string // exists
	// Run identifies what is run: a journal of another one is refused.
	Run string
	// Problem is what Optimizer was made for. Its Budget may be in other seconds,
	// see Speed.
	Problem   search.Problem
	Optimizer search.Optimizer
	// Trainer trains the trials. If it is a [Pool], a worker of it is asked for
	// first, and the wait is no cost of an epoch.
	Trainer trainer.Trainer
	// Request returns what a trial asks of the trainer. Its Trial, Until and
	// Checkpoint are set by the package.
	Request func(trial, candidate int) trainer.Request
	// Score is what the optimiser is told of an epoch, NaN if there is none.
	Score func(trainer.Record) float64
	// Budget is the time that there is, in seconds.
	Budget float64
	// Workers is how many trials are trained at the same time.
	Workers int
	// Speed, if not 0, divides the seconds that the optimiser is told: 2 if this
	// machine is half as fast as the one that its forecasts are of.
	Speed float64
	// Seconds, if not nil, tells what an epoch of a candidate costs, in place of
	// the clock. There is one worker then, decisions cost nothing, and the same
	// options give the same run.
	Seconds func(candidate int) float64
	// Began is when the clock of this process began to run; zero for now. Spent
	// is the budget that was used before that.
	Began time.Time
	Spent float64
	// Watch, if not nil, is called whenever something happened, and about twice
	// a second, with a state that it must neither change nor keep.
	Watch func(*State)
	// Log is told of attempts that broke off; nil for none.
	Log func(trial string, err error)
}

// Pool is a trainer of several workers.
type Pool interface {
	// Acquire waits for a worker that can begin at once. It is given back by
	// calling release.
	Acquire(ctx context.Context) (worker trainer.Trainer, release func(), err error)
}

// ErrNothing tells that a run ended without a single finished epoch.
var ErrNothing = errors.New("no epoch was finished")

// Run runs a search, or goes on with one. It returns when the budget is used up
// or the optimiser has nothing more to propose; the error wraps [ErrNothing] if
// there is no result. If ctx is done or something fails that would hit any other
// trial too, what is known stays in the journal, and the state is returned with
// the error.
func Run(ctx context.Context, o Options) (*State, error) {
	if o.Seconds != nil {
		o.Workers = 1
	}
	if o.Speed == 0 {
		o.Speed = 1
	}
	if o.Began.IsZero() {
		o.Began = time.Now()
	}
	if o.Watch == nil {
		o.Watch = func(*State) {}
	}
	if o.Log == nil {
		o.Log = func(string, error) {}
	}
	dir, err := filepath.Abs(o.Dir) // trainers may have another working directory
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	path := filepath.Join(o.Dir, JournalFile)
	events, l, err := openLog(path, o.Run)
	if err != nil {
		return nil, err
	}
	r := &run{Options: o, journal: path, log: l, happened: make(chan happening)}
	r.state = newState(r.score)
	err = r.replay(events)
	if err == nil {
		err = r.work(ctx)
	}
	if closed := l.Close(); err == nil {
		err = closed
	}
	if err == nil && r.state.Best.Epoch == 0 {
		err = ErrNothing
		if r.last.Reason != "" {
			err = fmt.Errorf("%w; trial %s ended with: %s", err, r.last.Trial, r.last.Reason)
		}
	}
	return r.state, err
}

// run is one call of Run.
type run struct {
	Options
	journal string // its path
	log     *eventlog.Log
	state   *State
	base    float64     // of the clock, when this process began
	last    trainer.End // that was no good
	tried   int         // trials that failed in a row
	cut     bool        // the budget does not allow the next epoch of a trial

	happened chan happening
	workers  sync.WaitGroup
}

// TrialName names a trial in requests, logs and directories.
func TrialName(trial int) string { return fmt.Sprintf("t%d", trial) }

func (r *run) checkpoint(trial int) string {
	return filepath.Join(r.Dir, CheckpointsDir, TrialName(trial))
}

// clock is the budget that is used by now.
func (r *run) clock() float64 {
	if r.Seconds != nil {
		return max(r.base, r.state.Clock)
	}
	return max(r.state.Clock, r.base+time.Since(r.Began).Seconds())
}

// replay brings the optimiser and the state to where the journal ends.
func (r *run) replay(events []event) error {
	for i, e := range events {
		fail := func(format string, args ...any) error {
			return fmt.Errorf("%s, line %d: %s: it was begun by another version of this program", r.journal, i+2, fmt.Sprintf(format, args...))
		}
		if e.Kind == kindAsk {
			p, status := r.Optimizer.Ask()
			if got := statusNames[status]; got != e.Status {
				return fail("the search answered %s and now answers %s", e.Status, got)
			}
			if status == search.Ready && (p.Trial != e.Trial || p.Candidate != e.Candidate || p.Epoch != e.Epoch) {
				return fail("the search proposed epoch %d of trial %d and now proposes epoch %d of trial %d", e.Epoch, e.Trial, p.Epoch, p.Trial)
			}
		}
		if err := r.state.apply(e); err != nil {
			return fmt.Errorf("%s, line %d: %w", r.journal, i+2, err)
		}
		r.tell(e)
	}
	r.base = max(r.state.Clock, r.Spent)
	if r.state.Best.Epoch > 0 {
		return r.keep()
	}
	return nil
}

// note adds an event to the journal, the state and what the optimiser knows.
func (r *run) note(e event) error {
	if err := r.log.Append(e); err != nil {
		return err
	}
	if err := r.state.apply(e); err != nil {
		return err
	}
	r.tell(e)
	r.Watch(r.state)
	return nil
}

// tell passes an event on to the optimiser, if it is one for it.
func (r *run) tell(e event) {
	report := search.Report{
		Trial: e.Trial, Candidate: e.Candidate, Epoch: e.Epoch, Score: math.NaN(),
		Seconds: e.Seconds / r.Speed, Clock: e.Clock / r.Speed, Proposed: e.Proposed,
	}
	switch e.Kind {
	case kindEpoch:
		report.Score = r.score(*e.Record)
		if e.End != "" {
			report.End = search.Completed
		}
	case kindEnd:
		report.End = search.Failed
		if e.End == metadataset.EndCompleted || e.End == metadataset.EndTimeCapped {
			report.End = search.Completed
		}
	default:
		return
	}
	r.Optimizer.Tell(report)
}

// score is that of an epoch, NaN where it breaks the promise of the metric.
func (r *run) score(rec trainer.Record) float64 {
	s := r.Score(rec)
	if math.IsInf(s, 0) || r.Problem.Metric.Bounded && (s < 0 || s > 1) {
		return math.NaN()
	}
	return s
}

// work runs the search to its end.
func (r *run) work(ctx context.Context) error {
	if r.state.Over != "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(r.Dir, CheckpointsDir), 0o777); err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	defer r.workers.Wait()
	defer cancel()
	var deadline <-chan time.Time
	if r.Seconds == nil {
		timer := time.NewTimer(time.Duration((r.Budget - r.clock()) * float64(time.Second)))
		defer timer.Stop()
		deadline = timer.C
	}
	tick := time.NewTicker(markEvery / 2)
	defer tick.Stop()
	marked := time.Now()
	for _, j := range r.state.Working {
		r.start(inner, j)
	}
	for {
		over, err := r.employ(inner)
		if err != nil {
			return err
		}
		if len(r.state.Working) == 0 || over == OverBudget {
			return r.finish(over)
		}
		select {
		case h := <-r.happened:
			if err := r.handle(h); err != nil {
				return err
			}
			if r.cut {
				return r.finish(OverBudget)
			}
		case <-tick.C:
			r.Watch(r.state)
			if r.Seconds == nil && time.Since(marked) >= markEvery {
				marked = time.Now()
				if err := r.mark(); err != nil {
					return err
				}
			}
		case <-deadline:
			cancel()
			r.workers.Wait()
			return r.finish(OverBudget)
		case <-ctx.Done():
			cancel()
			r.workers.Wait()
			return errors.Join(ctx.Err(), r.mark())
		}
	}
}

// mark brings the clock to the journal and the journal to the disk.
func (r *run) mark() error {
	if err := r.note(event{Kind: kindMark, Clock: r.clock()}); err != nil {
		return err
	}
	return r.log.Sync()
}

func (r *run) finish(why string) error {
	return r.note(event{Kind: kindOver, Clock: r.clock(), Status: why})
}

// employ gives work to idle workers. It tells why there is nothing to do, if
// that is for good.
func (r *run) employ(ctx context.Context) (over string, err error) {
	for len(r.state.Working) < r.Workers {
		if r.clock() >= r.Budget {
			return OverBudget, nil
		}
		began := time.Now()
		p, status := r.Optimizer.Ask()
		e := event{Kind: kindAsk, Clock: r.clock(), Status: statusNames[status], Decided: time.Since(began).Seconds()}
		if status == search.Ready {
			if err := r.check(p); err != nil {
				return "", err
			}
			e.Trial, e.Candidate, e.Epoch = p.Trial, p.Candidate, p.Epoch
			if r.Seconds != nil && r.clock()+r.Seconds(p.Candidate) > r.Budget {
				return OverBudget, nil
			}
		}
		if err := r.note(e); err != nil {
			return "", err
		}
		if status != search.Ready {
			if status == search.Wait && len(r.state.Working) == 0 {
				return "", errors.New("the search waits although nothing is being trained")
			}
			return OverExhausted, nil
		}
		r.start(ctx, r.state.Working[len(r.state.Working)-1])
	}
	return "", nil
}

// check refuses a proposal that breaks the contract.
func (r *run) check(p search.Proposal) error {
	known := 0
	if p.Trial < len(r.state.Trials) && p.Trial >= 0 {
		known = len(r.state.Trials[p.Trial].Epochs)
	} else if p.Trial != len(r.state.Trials) {
		return fmt.Errorf("the search proposed trial %d after %d trials", p.Trial, len(r.state.Trials))
	}
	if p.Candidate < 0 || p.Candidate >= len(r.Problem.Candidates) || p.Epoch <= known || p.Epoch > r.Problem.MaxEpochs {
		return fmt.Errorf("the search proposed epoch %d of candidate %d, of which %d epochs are known", p.Epoch, p.Candidate, known)
	}
	return nil
}

// handle notes what a worker tells and lets it go on.
func (r *run) handle(h happening) error {
	if h.fatal != nil {
		return h.fatal
	}
	e := event{Clock: r.clock(), Trial: h.job.Trial, Candidate: h.job.Candidate, Seconds: h.seconds, Reason: h.end.Reason}
	known := len(r.state.Trials[h.job.Trial].Epochs)
	if h.record != nil {
		e.Kind, e.Epoch, e.Record = kindEpoch, known+1, h.record
		e.Proposed = e.Epoch == h.job.To
		if e.Epoch == r.Problem.MaxEpochs {
			e.End = metadataset.EndCompleted
		}
		if r.Seconds != nil {
			e.Seconds = r.Seconds(h.job.Candidate)
			e.Clock += e.Seconds
		}
		r.tried = 0
	} else {
		e.Kind, e.Epoch, e.End, e.Proposed = kindEnd, known, h.end.End, true
		if e.End != metadataset.EndCompleted && e.End != metadataset.EndTimeCapped {
			r.last = trainer.End{Trial: TrialName(e.Trial), End: e.End, Reason: e.Reason}
			r.tried++
		}
	}
	best := r.state.Best
	if err := r.note(e); err != nil {
		return err
	}
	if r.state.Best != best {
		if err := r.keep(); err != nil {
			return err
		}
	}
	if r.state.Best.Epoch == 0 && r.tried >= hopeless {
		return fmt.Errorf("the first %d trials all failed, trial %s with: %s", r.tried, r.last.Trial, r.last.Reason)
	}
	if t := &r.state.Trials[e.Trial]; t.Ended() {
		if err := os.RemoveAll(r.checkpoint(e.Trial)); err != nil {
			return err
		}
	}
	r.cut = !e.Proposed && (r.clock() >= r.Budget || r.Seconds != nil && r.clock()+r.Seconds(h.job.Candidate) > r.Budget)
	h.goOn <- !e.Proposed && !r.cut
	return nil
}
