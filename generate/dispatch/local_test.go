package dispatch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"quicktune/generate/sweep/sweeptest"
	"quicktune/generate/trainer"
	"quicktune/metadataset"
)

// notebook is a sink that remembers.
type notebook struct {
	mu     sync.Mutex
	starts map[string]int
	epochs map[string]int
	ends   map[string]trainer.End
	// refuse, if not nil, answers records.
	refuse func(trainer.Record) error
}

func newNotebook() *notebook {
	return &notebook{starts: make(map[string]int), epochs: make(map[string]int), ends: make(map[string]trainer.End)}
}

func (n *notebook) Start(trial, _ string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.starts[trial]++
	return nil
}

func (n *notebook) Record(r trainer.Record) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		if err := n.refuse(r); err != nil {
			return err
		}
	}
	n.epochs[r.Trial] = max(n.epochs[r.Trial], r.Epoch)
	return nil
}

func (n *notebook) End(e trainer.End) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, ok := n.ends[e.Trial]; ok {
		return fmt.Errorf("trial %s ended as %v and %v", e.Trial, old, e)
	}
	n.ends[e.Trial] = e
	return nil
}

func tasks(n int) []Task {
	list := make([]Task, n)
	for i := range list {
		list[i].Request = trainer.Request{Trial: fmt.Sprintf("t%02d", i), Model: "small", Dataset: "d", Epochs: 3, Seed: uint64(i)}
	}
	return list
}

func local(workers int, f *sweeptest.Trainer) *Local {
	l := &Local{Pause: time.Microsecond}
	for i := range workers {
		l.Workers = append(l.Workers, Worker{fmt.Sprint(i), f})
	}
	return l
}

func TestEveryTaskEndsOnce(t *testing.T) {
	n := newNotebook()
	if err := local(4, &sweeptest.Trainer{}).Run(t.Context(), tasks(50), n); err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks(50) {
		id := task.Request.Trial
		if n.epochs[id] != 3 || n.ends[id].End != metadataset.EndCompleted || n.starts[id] != 1 {
			t.Errorf("%s: %d epochs, %v, %d starts", id, n.epochs[id], n.ends[id], n.starts[id])
		}
	}
}

func TestATrialThatBreaksOffIsTriedAgain(t *testing.T) {
	n := newNotebook()
	var mu sync.Mutex
	seen := make(map[string]bool)
	f := &sweeptest.Trainer{Before: func(r trainer.Request, epoch int) error {
		mu.Lock()
		defer mu.Unlock()
		if first := !seen[r.Trial]; epoch == 2 && first {
			seen[r.Trial] = true
			return errors.New("a hiccup")
		}
		return nil
	}}
	var logged int
	l := local(1, f)
	l.Log = func(string, error) { logged++ }
	if err := l.Run(t.Context(), tasks(5), n); err != nil {
		t.Fatal(err)
	}
	for id, end := range n.ends {
		if end.End != metadataset.EndCompleted || n.starts[id] != 2 {
			t.Errorf("%s: %v after %d starts", id, end, n.starts[id])
		}
	}
	if len(n.ends) != 5 || logged != 5 {
		t.Errorf("%d ends, %d lines of log", len(n.ends), logged)
	}
}

// What the trainer does wrong in one trial is a failure of that trial, with the
// reason.
func TestWhatGoesWrongWithOneTrialIsItsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		before func(r trainer.Request, epoch int) error
		refuse func(trainer.Record) error
		want   string
	}{
		"error": {before: func(r trainer.Request, epoch int) error {
			if r.Trial == "t03" && epoch == 2 {
				return errors.New("no gradient")
			}
			return nil
		}, want: "no gradient"},
		"panic": {before: func(r trainer.Request, epoch int) error {
			if r.Trial == "t03" && epoch == 2 {
				var none []int
				none[epoch]++
			}
			return nil
		}, want: "the trainer panicked: runtime error: index out of range [2]"},
		"bad record": {refuse: func(r trainer.Record) error {
			if r.Trial == "t03" && r.Epoch == 2 {
				return &BadRecord{errors.New("accuracy 7")}
			}
			return nil
		}, want: "bad record: accuracy 7"},
	} {
		n := newNotebook()
		n.refuse = c.refuse
		if err := local(2, &sweeptest.Trainer{Before: c.before}).Run(t.Context(), tasks(6), n); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for id, end := range n.ends {
			want := metadataset.EndCompleted
			if id == "t03" {
				want = metadataset.EndFailed
				if !strings.Contains(end.Reason, c.want) {
					t.Errorf("%s: reason %q, want %q", name, end.Reason, c.want)
				}
			}
			if end.End != want {
				t.Errorf("%s: %s ended %v", name, id, end)
			}
		}
		if len(n.ends) != 6 || n.epochs["t03"] != 1 {
			t.Errorf("%s: %d ends, %d epochs", name, len(n.ends), n.epochs["t03"])
		}
	}
}

// Trainers that break the contract.
type rogue func(r trainer.Request, emit func(trainer.Record) error) (trainer.End, error)

func (f rogue) Train(_ context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
	return f(r, emit)
}

func TestATrainerThatBreaksTheContractFails(t *testing.T) {
	good := &sweeptest.Trainer{}
	for want, bad := range map[string]rogue{
		"stopped without an end": func(trainer.Request, func(trainer.Record) error) (trainer.End, error) { return trainer.End{}, nil },
		`of trial "other", not "t01"`: func(r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
			_ = emit(trainer.Record{Trial: "other", Epoch: 1})
			return trainer.End{End: metadataset.EndCompleted}, nil
		},
	} {
		n := newNotebook()
		l := &Local{Pause: time.Microsecond, Workers: []Worker{{"0", rogue(func(r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
			if r.Trial == "t01" {
				return bad(r, emit)
			}
			return good.Train(context.Background(), r, emit)
		})}}}
		if err := l.Run(t.Context(), tasks(3), n); err != nil {
			t.Fatal(err)
		}
		if end := n.ends["t01"]; end.End != metadataset.EndFailed || !strings.Contains(end.Reason, want) {
			t.Errorf("%v, want %q", end, want)
		}
		if n.epochs["other"] != 0 {
			t.Error("a record of another trial got through")
		}
	}
}

func TestASinkMayEndATrial(t *testing.T) {
	n := newNotebook()
	n.refuse = func(r trainer.Record) error {
		if r.Epoch == 2 {
			return ErrEnded
		}
		return nil
	}
	if err := local(2, &sweeptest.Trainer{}).Run(t.Context(), tasks(6), n); err != nil {
		t.Fatal(err)
	}
	if len(n.ends) != 0 || n.starts["t00"] != 1 {
		t.Errorf("ends %v, starts %v", n.ends, n.starts)
	}
}

// A full disk is no fault of a trial: nothing is told to have failed.
func TestErrorsOfTheMachineEndTheRun(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EROFS, syscall.EACCES} {
		n := newNotebook()
		f := &sweeptest.Trainer{Before: func(r trainer.Request, epoch int) error {
			if r.Trial == "t03" {
				return &os.PathError{Op: "write", Path: "checkpoint", Err: cause}
			}
			return nil
		}}
		err := local(1, f).Run(t.Context(), tasks(6), n)
		if !errors.Is(err, cause) || !strings.Contains(err.Error(), "t03") {
			t.Errorf("error %v, want %v", err, cause)
		}
		if len(n.ends) != 3 {
			t.Errorf("%d trials ended, want the three before it", len(n.ends))
		}
	}
	n := newNotebook()
	broken := errors.New("journal: no space")
	n.refuse = func(r trainer.Record) error {
		if r.Trial == "t03" {
			return broken
		}
		return nil
	}
	if err := local(1, &sweeptest.Trainer{}).Run(t.Context(), tasks(6), n); !errors.Is(err, broken) || len(n.ends) != 3 {
		t.Errorf("error %v after %d ends", err, len(n.ends))
	}
}

func TestFailureAfterFailureEndsTheRunAndLeavesThemOpen(t *testing.T) {
	n := newNotebook()
	f := &sweeptest.Trainer{Before: func(r trainer.Request, _ int) error {
		if r.Trial >= "t02" {
			return errors.New("no weights")
		}
		return nil
	}}
	err := local(1, f).Run(t.Context(), tasks(20), n)
	if err == nil || !strings.Contains(err.Error(), `3 trials failed one after the other, the last, "t04", with: no weights`) {
		t.Errorf("error %v", err)
	}
	if len(n.ends) != 2 {
		t.Errorf("ends %v", n.ends)
	}
	n = newNotebook()
	err = local(1, f).Run(t.Context(), tasks(4)[2:], n)
	if err == nil || !strings.Contains(err.Error(), "no trial went well") || len(n.ends) != 0 {
		t.Errorf("error %v, ends %v", err, n.ends)
	}
}

func TestAnInterruptStopsAllWorkers(t *testing.T) {
	n := newNotebook()
	ctx, cancel := context.WithCancel(t.Context())
	f := &sweeptest.Trainer{Before: func(r trainer.Request, epoch int) error {
		if r.Trial == "t05" && epoch == 2 {
			cancel()
		}
		if r.Trial > "t08" { // the others do not run ahead while the sixth waits for a processor
			<-ctx.Done()
		}
		return nil
	}}
	if err := local(3, f).Run(ctx, tasks(30), n); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if len(n.ends) > 12 {
		t.Errorf("%d trials ended after the interrupt at the sixth", len(n.ends))
	}
	var failed []string
	for id, end := range n.ends {
		if end.End != metadataset.EndCompleted {
			failed = append(failed, id)
		}
	}
	if slices.Sort(failed); len(failed) > 0 {
		t.Errorf("%v failed by the interrupt", failed)
	}
	if err := (&Local{}).Run(t.Context(), tasks(1), n); err == nil {
		t.Error("no workers and no error")
	}
}

// What the machinery costs for an epoch, without journal.
func BenchmarkEpoch(b *testing.B) {
	n := newNotebook()
	list := tasks(1)
	list[0].Request.Epochs = b.N
	if err := local(1, &sweeptest.Trainer{}).Run(b.Context(), list, n); err != nil {
		b.Fatal(err)
	}
}

func TestTheTrialOfALostWorkerGoesToAnother(t *testing.T) {
	n := newNotebook()
	lost := &sweeptest.Trainer{Before: func(trainer.Request, int) error { return &WorkerError{errors.New("the GPU fell off the bus")} }}
	l := &Local{Pause: time.Microsecond, Workers: []Worker{{"bad", lost}, {"good", &sweeptest.Trainer{Epoch: time.Millisecond}}}}
	if err := l.Run(t.Context(), tasks(20), n); err != nil {
		t.Fatal(err)
	}
	if len(n.ends) != 20 {
		t.Errorf("%d of 20 trials ended", len(n.ends))
	}
	for id, end := range n.ends {
		if end.End != metadataset.EndCompleted {
			t.Errorf("%s: %v", id, end)
		}
	}
	l.Workers = l.Workers[:1]
	n = newNotebook()
	if err := l.Run(t.Context(), tasks(3), n); err == nil || !strings.Contains(err.Error(), "no worker is left") || !strings.Contains(err.Error(), "fell off the bus") || len(n.ends) > 0 {
		t.Errorf("%v, %d ends", err, len(n.ends))
	}
}

func TestATrialThatBreaksWorkersFailsAtOnceWhereOthersGoWell(t *testing.T) {
	n := newNotebook()
	f := &sweeptest.Trainer{Before: func(r trainer.Request, _ int) error {
		if r.Seed > 0 {
			return &TrialError{errors.New("segmentation fault")}
		}
		return nil
	}}
	if err := local(1, f).Run(t.Context(), tasks(12), n); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, end := range n.ends {
		if end.End == metadataset.EndFailed && end.Reason == "segmentation fault" {
			failed++
		}
	}
	if failed != 11 || n.ends["t00"].End != metadataset.EndCompleted {
		t.Errorf("%d of 11 failed; the first: %v", failed, n.ends["t00"])
	}
}
