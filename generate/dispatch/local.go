package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"quicktune/generate/trainer"
)

// Worker trains one trial at a time.
type Worker struct {
	Name    string
	Trainer trainer.Trainer
}

// The defaults of Local.
const (
	DefaultAttempts  = 2
	DefaultPause     = time.Second
	DefaultTolerance = 3
)

// Local trains on workers of this process, each in its own goroutine. A worker
// may stand for a core, or for another process that has a GPU.
//
// A trial whose training breaks off with an error is tried again after a pause;
// after the last attempt it has failed, and the error is the reason. That is
// told only once another trial has gone well, for an error that hits one trial
// after the other is no fault of theirs: after Tolerance of them in a row Run
// gives up, and none of these has an end. A *[TrialError] is told at once if any
// trial has gone well before. An error of the machine, such as a full disk, ends
// Run at once. A worker that answers with a *[WorkerError] gets no more trials;
// Run gives up when none is left.
type Local struct {
	Workers   []Worker
	Attempts  int           // for each trial; 0 means DefaultAttempts
	Pause     time.Duration // before the second attempt, doubled for each further one; 0 means DefaultPause
	Tolerance int           // 0 means DefaultTolerance
	// Log is told of attempts that broke off; nil for none.
	Log func(trial string, err error)
}

// run is one call of Local.Run.
type run struct {
	*Local
	sink   Sink
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	tasks    []Task
	suspects []trainer.End // failed in a row, not told yet
	went     bool          // some trial went well
	lost     map[int]error // workers that cannot work any more
}

// Run trains the tasks in their order.
func (l *Local) Run(ctx context.Context, tasks []Task, sink Sink) error {
	if len(l.Workers) == 0 {
		return errors.New("no workers to train on")
	}
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{Local: l, sink: sink, cancel: cancel, tasks: tasks, lost: make(map[int]error)}
	// A worker that is lost gives its trial back, perhaps when the others have
	// gone home already: they come again.
	for {
		var wg sync.WaitGroup
		for _, i := range r.left() {
			wg.Go(func() { r.work(inner, i, l.Workers[i]) })
		}
		wg.Wait()
		if err := context.Cause(inner); err != nil {
			return err
		}
		if len(r.tasks) == 0 {
			return r.finish()
		}
		if len(r.lost) == len(l.Workers) {
			return fmt.Errorf("no worker is left; the last words of worker %s: %w", l.Workers[0].Name, r.lost[0])
		}
	}
}

func (r *run) next() (Task, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.tasks) == 0 {
		return Task{}, false
	}
	t := r.tasks[0]
	r.tasks = r.tasks[1:]
	return t, true
}

// work trains one task after the other.
func (r *run) work(ctx context.Context, number int, w Worker) {
	for ctx.Err() == nil {
		t, ok := r.next()
		if !ok {
			return
		}
		end, err := r.train(ctx, w, t)
		if ctx.Err() != nil {
			return
		}
		if fatal := (*fatalError)(nil); errors.As(err, &fatal) {
			r.cancel(fatal.err)
			return
		}
		if lost := (*WorkerError)(nil); errors.As(err, &lost) {
			r.lose(number, t, lost)
			return
		}
		if err := r.tell(t, end, err); err != nil {
			r.cancel(err)
			return
		}
	}
}

// left are the workers that can work.
func (r *run) left() []int {
	var list []int
	for i := range r.Workers {
		if r.lost[i] == nil {
			list = append(list, i)
		}
	}
	return list
}

// lose takes a worker out and its task back.
func (r *run) lose(number int, t Task, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost[number] = err
	r.tasks = append([]Task{t}, r.tasks...)
}

// fatalError ends a run.
type fatalError struct{ err error }

func (f *fatalError) Error() string { return f.err.Error() }

// train trains one task, with several attempts. It returns an error that is
// fatal, or the last attempt's.
func (r *run) train(ctx context.Context, w Worker, t Task) (end trainer.End, err error) {
	attempts, pause := cmp.Or(r.Attempts, DefaultAttempts), cmp.Or(r.Pause, DefaultPause)
	for attempt := 1; ; attempt++ {
		if err := r.sink.Start(t.Request.Trial, w.Name); err != nil {
			return end, &fatalError{err}
		}
		end, err = r.attempt(ctx, w, t)
		if err == nil || ctx.Err() != nil || errors.As(err, new(*fatalError)) {
			return end, err
		}
		if errors.As(err, new(*WorkerError)) {
			if r.Log != nil {
				r.Log(t.Request.Trial, fmt.Errorf("worker %s gets no more trials: %w", w.Name, err))
			}
			return end, err
		}
		if ofMachine(err) {
			return end, &fatalError{fmt.Errorf("trial %q: %w", t.Request.Trial, err)}
		}
		if r.Log != nil {
			r.Log(t.Request.Trial, err)
		}
		if attempt == attempts {
			return end, err
		}
		select {
		case <-time.After(pause << (attempt - 1)):
		case <-ctx.Done():
			return end, ctx.Err()
		}
	}
}

// attempt trains one task once. A trainer that panics has failed.
func (r *run) attempt(ctx context.Context, w Worker, t Task) (end trainer.End, err error) {
	defer func() {
		if p := recover(); p != nil {
			stack := string(debug.Stack())
			if i := strings.Index(stack, "panic("); i >= 0 {
				stack = stack[i:]
			}
			err = fmt.Errorf("the trainer panicked: %v at %.300s", p, strings.Join(strings.Fields(stack), " "))
		}
	}()
	var told error // by the sink
	end, err = w.Trainer.Train(ctx, t.Request, func(rec trainer.Record) error {
		if told != nil {
			return told
		}
		if rec.Trial != t.Request.Trial {
			told = &BadRecord{fmt.Errorf("it is of trial %q, not %q", rec.Trial, t.Request.Trial)}
			return told
		}
		told = r.sink.Record(rec)
		return told
	})
	switch {
	case errors.Is(told, ErrEnded):
		return trainer.End{}, nil
	case told != nil && !errors.As(told, new(*BadRecord)):
		return end, &fatalError{told}
	case told != nil:
		return end, told
	case err == nil && end.End == "":
		return end, errors.New("the trainer stopped without an end")
	}
	end.Trial = t.Request.Trial
	return end, err
}

// ofMachine reports whether an error would hit any other trial too.
func ofMachine(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EFBIG, syscall.EIO, syscall.EMFILE, syscall.ENFILE, fs.ErrPermission} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// tell passes on how a task ended, or keeps a failure until it is clear whose
// fault it was.
func (r *run) tell(t Task, end trainer.End, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		tolerance := cmp.Or(r.Tolerance, DefaultTolerance)
		failed := trainer.Failed(t.Request.Trial, err.Error())
		if r.went && errors.As(err, new(*TrialError)) {
			return r.sink.End(failed)
		}
		r.suspects = append(r.suspects, failed)
		if len(r.suspects) == tolerance {
			return fmt.Errorf("%d trials failed one after the other, the last, %q, with: %w", tolerance, t.Request.Trial, err)
		}
		return nil
	}
	r.went = true
	if err := r.confirm(); err != nil {
		return err
	}
	if end.End == "" {
		return nil
	}
	return r.sink.End(end)
}

// confirm tells of the failures that were kept; r.mu is held.
func (r *run) confirm() error {
	for _, end := range r.suspects {
		if err := r.sink.End(end); err != nil {
			return err
		}
	}
	r.suspects = nil
	return nil
}

// finish tells of the failures among the last tasks. Where nothing went well,
// they stay open.
func (r *run) finish() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.suspects) > 0 && !r.went {
		last := r.suspects[len(r.suspects)-1]
		return fmt.Errorf("no trial went well; %q failed with: %s", last.Trial, last.Reason)
	}
	return r.confirm()
}
