// Package sweep works through a plan: it hands the trials to a dispatcher,
// keeps what becomes of them in a journal, and writes a meta-dataset when every
// curve has ended.
//
// A sweep is a directory:
//
//	plan.jsonl     what is trained; written before anything else, never changed
//	journal.log    what is known so far; only grows
//	checkpoints/   one directory for each trial that has begun and not ended
//	metadataset/   the result, once every curve has ended
//
// Run can be stopped at any moment, by any means, and called again: it goes on
// where it stood. An epoch that the journal knows is never replaced, so the
// result of an interrupted sweep has the same curves as that of an undisturbed
// one, and the same bytes wherever the trainer's seconds are the same.
//
// The package refuses to choose what is trained and to work on a directory that
// it did not make.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"quicktune/generate/dispatch"
	"quicktune/generate/journal"
	"quicktune/generate/plan"
	"quicktune/generate/trainer"
	"quicktune/metadataset"
)

// The parts of the directory of a sweep.
const (
	PlanFile       = "plan.jsonl"
	JournalFile    = "journal.log"
	CheckpointsDir = "checkpoints"
	MetadatasetDir = "metadataset"
)

// Options say how a plan is worked through.
type Options struct {
	Dir        string
	Plan       *plan.Plan
	Dispatcher dispatch.Dispatcher
	// Seconds, if not nil, tells what an epoch of a trial costs in training and
	// in evaluation, in place of what the trainer measures. A curve's length
	// under a cap then depends on the plan alone.
	Seconds func(plan.Trial) (train, eval float64)
	// Generator and Notes go into the manifest of the meta-dataset.
	Generator string
	Notes     []string
	// Watch, if not nil, is called with the journal before the first trial.
	Watch func(*journal.Journal)
}

// Result is what a sweep has made.
type Result struct {
	Dir    string // of the meta-dataset
	Curves int
	Epochs int
	Ends   map[metadataset.End]int
	// Hash is that of the meta-dataset.
	Hash string
}

// MismatchError tells that a directory holds a sweep of another plan.
type MismatchError struct{ Dir, Difference string }

// Error says what differs and what to do.
func (m *MismatchError) Error() string {
	return fmt.Sprintf("%s holds a sweep of another plan (%s): choose another directory, or go on with that one by: generate resume %s", m.Dir, m.Difference, m.Dir)
}

// Claim makes dir the directory of a sweep of p, or finds that it is. It refuses
// a directory that holds anything else, and one with another plan by a
// *MismatchError.
func Claim(dir string, p *plan.Plan) error {
	old, err := plan.Read(filepath.Join(dir, PlanFile))
	switch {
	case err == nil && old.Hash == p.Hash:
		return nil
	case err == nil:
		return &MismatchError{dir, difference(old, p)}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		// A process that was killed while it wrote the plan leaves this.
		if !strings.HasPrefix(e.Name(), "."+PlanFile+".tmp-") {
			return fmt.Errorf("%s holds files that are no sweep, such as %s: choose another directory", dir, e.Name())
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return p.Write(filepath.Join(dir, PlanFile))
}

// difference names the first thing in which two plans differ.
func difference(old, p *plan.Plan) string {
	names := func(p *plan.Plan) string {
		var list []string
		for _, d := range p.Datasets {
			list = append(list, d.Name)
		}
		return strings.Join(list, ",")
	}
	for _, c := range []struct {
		what     string
		old, new any
	}{
		{"data sets", names(old), names(p)},
		{"trainer", old.Trainer, p.Trainer},
		{"clock", old.Clock, p.Clock},
		{"mode", old.Mode, p.Mode},
		{"seed", old.Seed, p.Seed},
		{"epochs", old.Epochs, p.Epochs},
		{"curve cap", old.CurveCap, p.CurveCap},
		{"trials", len(old.Trials), len(p.Trials)},
		{"space", old.Space.Hash(), p.Space.Hash()},
	} {
		if c.old != c.new {
			return fmt.Sprintf("%s %v, not %v", c.what, c.old, c.new)
		}
	}
	for i, d := range old.Datasets {
		if d.Hash != p.Datasets[i].Hash {
			return fmt.Sprintf("other pictures in data set %s", d.Name)
		}
	}
	return "other configurations"
}

// Run works through a plan in a directory that was claimed, and returns when the
// meta-dataset is written. If ctx is done or something fails, what is known
// stays in the journal.
func Run(ctx context.Context, o Options) (Result, error) {
	j, err := journal.Open(filepath.Join(o.Dir, JournalFile), o.Plan.Hash)
	if err != nil {
		return Result{}, err
	}
	r, err := run(ctx, o, j)
	return r, errors.Join(err, j.Close())
}

func run(ctx context.Context, o Options, j *journal.Journal) (Result, error) {
	if o.Watch != nil {
		o.Watch(j)
	}
	s := &sink{options: &o, journal: j, trials: make(map[string]plan.Trial, len(o.Plan.Trials))}
	var tasks []dispatch.Task
	var stale []string
	j.View(func(state *journal.State) {
		for _, t := range o.Plan.Trials {
			s.trials[t.ID] = t
			if state.Ended(t.ID) {
				stale = append(stale, t.ID)
				continue
			}
			tasks = append(tasks, dispatch.Task{Request: s.request(t), Known: state.Epochs(t.ID)})
		}
		for id := range state.Trials {
			if _, planned := s.trials[id]; !planned {
				s.strangers = append(s.strangers, id)
			}
		}
	})
	if len(s.strangers) > 0 {
		return Result{}, fmt.Errorf("%s knows trial %q, which is not in the plan", filepath.Join(o.Dir, JournalFile), s.strangers[0])
	}
	// Left by a process that died between the end of a curve and the removal.
	for _, id := range stale {
		if err := os.RemoveAll(s.checkpoint(id)); err != nil {
			return Result{}, err
		}
	}
	if len(tasks) > 0 {
		if err := o.Dispatcher.Run(ctx, tasks, s); err != nil {
			return Result{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if err := j.Sync(); err != nil {
		return Result{}, err
	}
	return s.finish()
}

// sink keeps what dispatchers tell in the journal.
type sink struct {
	options   *Options
	journal   *journal.Journal
	trials    map[string]plan.Trial
	strangers []string
}

func (s *sink) checkpoint(id string) string {
	return filepath.Join(s.options.Dir, CheckpointsDir, id)
}

// request is what a trainer is asked for.
func (s *sink) request(t plan.Trial) trainer.Request {
	p := s.options.Plan
	r := trainer.Request{
		Trial: t.ID, Model: t.Model, Config: t.Config, Dataset: t.Dataset,
		Epochs: p.Epochs, Seed: t.Seed, CurveCap: p.CurveCap, Checkpoint: s.checkpoint(t.ID),
	}
	if s.options.Seconds != nil {
		train, eval := s.options.Seconds(t)
		r.CurveCap, r.Until = 0, p.EpochsWithin(train+eval)
	}
	return r
}

// Start notes who works on a trial.
func (s *sink) Start(trial, worker string) error {
	if err := os.MkdirAll(filepath.Join(s.options.Dir, CheckpointsDir), 0o777); err != nil {
		return err
	}
	return s.journal.Start(trial, worker)
}

// Record checks an epoch and notes it. It ends a trial of which a repetition was
// faster than the epochs that are known, and so does not see that the curve cap
// is reached.
func (s *sink) Record(r trainer.Record) error {
	t, ok := s.trials[r.Trial]
	if !ok {
		return &dispatch.BadRecord{Err: fmt.Errorf("trial %q is not in the plan", r.Trial)}
	}
	if s.options.Seconds != nil {
		r.TrainSeconds, r.EvalSeconds = s.options.Seconds(t)
	}
	if err := check(r, s.options.Plan.Epochs); err != nil {
		return &dispatch.BadRecord{Err: err}
	}
	known, spent, ended := 0, 0.0, false
	limit := s.options.Plan.CurveCap
	s.journal.View(func(state *journal.State) {
		known, ended = state.Epochs(r.Trial), state.Ended(r.Trial)
		if limit > 0 && known > 0 {
			for _, e := range state.Trials[r.Trial].Records {
				spent += seconds(e)
			}
		}
	})
	switch {
	case ended:
		return dispatch.ErrEnded
	case r.Epoch > known+1:
		return &dispatch.BadRecord{Err: fmt.Errorf("epoch %d comes after epoch %d", r.Epoch, known)}
	case r.Epoch == known+1 && r.Epoch > 1 && limit > 0 && s.options.Seconds == nil && spent+seconds(r) >= limit:
		if err := s.End(trainer.End{Trial: r.Trial, End: metadataset.EndTimeCapped}); err != nil {
			return err
		}
		return dispatch.ErrEnded
	}
	_, err := s.journal.Record(r)
	return err
}

// seconds is what an epoch cost.
func seconds(r trainer.Record) float64 { return r.TrainSeconds + r.EvalSeconds }

// check refuses a record that a meta-dataset cannot hold.
func check(r trainer.Record, epochs int) error {
	switch {
	case r.Epoch < 1 || r.Epoch > epochs:
		return fmt.Errorf("epoch %d of %d", r.Epoch, epochs)
	case !(float32(seconds(r)) > 0) || math.IsInf(seconds(r), 0):
		return fmt.Errorf("epoch %d took %g + %g seconds", r.Epoch, r.TrainSeconds, r.EvalSeconds)
	case r.TrainSeconds < 0 || r.EvalSeconds < 0:
		return fmt.Errorf("epoch %d took a negative time", r.Epoch)
	case r.ValAccuracy < 0 || r.ValAccuracy > 1 || r.TestAccuracy < 0 || r.TestAccuracy > 1:
		return fmt.Errorf("epoch %d has the accuracies %g and %g", r.Epoch, r.ValAccuracy, r.TestAccuracy)
	case r.LearningRate < 0:
		return fmt.Errorf("epoch %d has the learning rate %g", r.Epoch, r.LearningRate)
	}
	return nil
}

// End notes how a curve ended, and has its checkpoint removed once that is safe.
// An end that does not fit the curve becomes a failure.
func (s *sink) End(e trainer.End) error {
	t := s.trials[e.Trial]
	known, nameless := 0, 0
	s.journal.View(func(state *journal.State) {
		known = state.Epochs(e.Trial)
		if now := state.Trials[e.Trial]; now != nil {
			for _, r := range now.Records {
				if math.IsNaN(r.ValAccuracy) {
					nameless++
				}
			}
		}
	})
	planned := s.options.Plan.Epochs
	if s.options.Seconds != nil && e.End == metadataset.EndCompleted {
		train, eval := s.options.Seconds(t)
		if until := s.options.Plan.EpochsWithin(train + eval); until < planned && known == until {
			e.End = metadataset.EndTimeCapped
		}
	}
	switch {
	case e.End == metadataset.EndCompleted && known < planned:
		e.End, e.Reason = metadataset.EndFailed, fmt.Sprintf("the trainer stopped after %d of %d epochs", known, planned)
	case nameless > 0 && e.End != metadataset.EndDiverged:
		e.Reason = strings.TrimSpace(fmt.Sprintf("%d epochs without an accuracy, then %s. %s", nameless, e.End, e.Reason))
		e.End = metadataset.EndDiverged
	}
	e.Reason = oneLine(e.Reason)
	if err := s.journal.End(e); err != nil {
		return err
	}
	dir := s.checkpoint(e.Trial)
	s.journal.OnDurable(func() {
		_ = os.RemoveAll(dir) // what is left is removed by the next run
	})
	return nil
}

// oneLine makes a reason fit for a table.
func oneLine(text string) string {
	const most = 2000
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
