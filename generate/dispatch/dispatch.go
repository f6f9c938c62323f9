// Package dispatch brings trials to those who train them.
//
// A [Dispatcher] gets a list of tasks and tells a [Sink] what becomes of them.
// It knows where trials run: [Local] on workers of this machine. One that hands
// trials to a batch system fits the same interface: it submits tasks, reads what
// their jobs wrote, and calls the sink; since the sink counts every epoch once,
// a job may run twice, and its results may be read again after a restart.
//
// The package refuses to store anything, to choose what is trained, and to
// judge a result.
package dispatch

import (
	"context"
	"errors"

	"quicktune/generate/trainer"
)

// Task is a trial that has not ended.
type Task struct {
	Request trainer.Request
	// Known is the number of epochs that the sink knows already.
	Known int
}

// Sink takes what becomes of tasks. Its methods may be called by several
// goroutines, also for the same epoch again.
type Sink interface {
	// Start tells that a worker begins a trial, or goes on with it.
	Start(trial, worker string) error
	// Record tells of an epoch. ErrEnded asks to stop the trial, whose end the
	// sink knows already. Another error is about this record if it is a
	// *[BadRecord], and otherwise about the sink itself: then everything stops.
	Record(trainer.Record) error
	// End tells how a trial ended.
	End(trainer.End) error
}

// ErrEnded is what a sink answers to a record of a trial that needs no more.
var ErrEnded = errors.New("the trial has ended")

// BadRecord is a record that cannot be true.
type BadRecord struct{ Err error }

// Error tells what is wrong with the record.
func (b *BadRecord) Error() string { return "bad record: " + b.Err.Error() }

// Unwrap returns the reason.
func (b *BadRecord) Unwrap() error { return b.Err }

// A Dispatcher trains tasks somewhere.
type Dispatcher interface {
	// Run returns when each task has ended and the sink was told, when ctx is
	// done, or when going on makes no sense; then tasks without an end can be
	// run again. All that it started has stopped when it returns.
	Run(ctx context.Context, tasks []Task, sink Sink) error
}

// TrialError is the error of a training that broke off by what the trial did: it
// killed its worker, hung, or wrote what nobody can read. It is repeated like
// any other; then the trial has failed, and the sweep goes on.
type TrialError struct{ Err error }

// Error tells what happened.
func (e *TrialError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *TrialError) Unwrap() error { return e.Err }

// WorkerError is the error of a worker that cannot work any more. Its trial is
// not to blame and goes to another worker.
type WorkerError struct{ Err error }

// Error tells what happened.
func (e *WorkerError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *WorkerError) Unwrap() error { return e.Err }
