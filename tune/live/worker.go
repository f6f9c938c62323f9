package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"quicktune/generate/dispatch"
	"quicktune/generate/trainer"
	"quicktune/metadataset"
)

// Job is what a worker does: it trains a trial to an epoch.
type Job struct {
	Trial, Candidate int
	To               int // epoch
}

// happening is what a worker tells: an epoch, an end, or what makes going on
// senseless.
type happening struct {
	job     Job
	record  *trainer.Record
	end     trainer.End
	seconds float64 // of the epoch, or lost with the end
	fatal   error
	goOn    chan bool
}

// start lets a worker train a trial, epoch by epoch, so that there is a
// checkpoint of every epoch that may turn out to be the best.
func (r *run) start(ctx context.Context, j Job) {
	known := len(r.state.Trials[j.Trial].Epochs)
	r.workers.Go(func() {
		goOn := make(chan bool, 1)
		worker, release, err := r.acquire(ctx)
		defer release()
		for epoch := known + 1; epoch <= j.To; epoch++ {
			began := time.Now()
			h := happening{fatal: err}
			if err == nil {
				h = r.epoch(ctx, worker, j, epoch)
			}
			if ctx.Err() != nil {
				return
			}
			h.job, h.seconds, h.goOn = j, time.Since(began).Seconds(), goOn
			select {
			case r.happened <- h:
			case <-ctx.Done():
				return
			}
			select {
			case more := <-goOn:
				if !more {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
}

// acquire finds somebody who trains.
func (r *run) acquire(ctx context.Context) (worker trainer.Trainer, release func(), err error) {
	if p, ok := r.Trainer.(Pool); ok {
		return p.Acquire(ctx)
	}
	return r.Trainer, func() {}, nil
}

// epoch trains one epoch.
func (r *run) epoch(ctx context.Context, worker trainer.Trainer, j Job, epoch int) (h happening) {
	q := r.Request(j.Trial, j.Candidate)
	q.Trial, q.Until, q.Checkpoint = TrialName(j.Trial), epoch, r.checkpoint(j.Trial)
	for attempt := 1; ; attempt++ {
		end, rec, err := r.attempt(ctx, worker, q)
		switch {
		case err == nil && rec != nil:
			return happening{record: rec}
		case err == nil:
			return happening{end: end}
		case ctx.Err() != nil:
			return happening{}
		case ofMachine(err) || errors.As(err, new(*dispatch.WorkerError)):
			return happening{fatal: err}
		}
		r.Log(q.Trial, err)
		if attempt == attempts {
			return happening{end: trainer.End{Trial: q.Trial, End: metadataset.EndFailed, Reason: oneLine(err.Error())}}
		}
	}
}

// attempt trains an epoch once. A trainer that panics has failed.
func (r *run) attempt(ctx context.Context, worker trainer.Trainer, q trainer.Request) (end trainer.End, rec *trainer.Record, err error) {
	defer func() {
		if p := recover(); p != nil {
			stack := string(debug.Stack())
			if i := strings.Index(stack, "panic("); i >= 0 {
				stack = stack[i:]
			}
			err = fmt.Errorf("the trainer panicked: %v at %.300s", p, strings.Join(strings.Fields(stack), " "))
		}
	}()
	end, err = worker.Train(ctx, q, func(got trainer.Record) error {
		if got.Trial != q.Trial {
			return fmt.Errorf("a record of trial %q instead of %q", got.Trial, q.Trial)
		}
		if got.Epoch == q.Until {
			rec = &got
		}
		return nil
	})
	if err == nil && end.End == "" {
		err = errors.New("the trainer stopped without an end")
	}
	end.Reason = oneLine(end.Reason)
	return end, rec, err
}

// ofMachine reports whether an error would hit any other trial too.
func ofMachine(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE, fs.ErrPermission} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// oneLine makes a reason fit for a table.
func oneLine(text string) string {
	const most = 500
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
