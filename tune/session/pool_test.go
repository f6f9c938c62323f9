//go:build unix

package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quicktune/generate/dispatch"
	"quicktune/generate/timm"
	"quicktune/generate/trainer"
	"quicktune/metadataset"
)

// speaks is a worker in sh that finishes one epoch of whatever it is asked for.
const speaks = `echo '{"type":"hello"}'; while read -r r; do
	t=$(printf '%s' "$r" | sed 's/.*"trial":"\([^"]*\)".*/\1/')
	echo "{\"type\":\"record\",\"trial\":\"$t\",\"epoch\":1,\"val_accuracy\":0.5}"
	echo "{\"type\":\"end\",\"trial\":\"$t\",\"end\":\"completed\"}"
	MORE
done`

func sh(more string) *timm.Worker {
	return &timm.Worker{
		Command: []string{"sh", "-c", strings.Replace(speaks, "MORE", more, 1)}, Starts: 1, Grace: time.Second, Pause: time.Millisecond,
	}
}

func unable() *timm.Worker {
	return &timm.Worker{Command: []string{"sh", "-c", "echo no such device >&2; exit 1"}, Starts: 1}
}

func begun(t *testing.T, workers ...*timm.Worker) *pool {
	t.Helper()
	p := newPool(workers)
	p.begin(t.Context())
	t.Cleanup(p.close)
	return p
}

func train(ctx context.Context, tr trainer.Trainer, trial string) error {
	end, err := tr.Train(ctx, trainer.Request{Trial: trial, Model: "m", Dataset: "d", Epochs: 1}, func(trainer.Record) error { return nil })
	if err == nil && end.End != metadataset.EndCompleted {
		err = fmt.Errorf("end %v", end)
	}
	return err
}

func TestWorkersThatAreLostLeaveTheOthers(t *testing.T) {
	p := begun(t, unable(), sh(":"), unable(), sh(":"))
	if err := p.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			w, release, err := p.Acquire(t.Context())
			defer release()
			if err == nil {
				err = train(t.Context(), w, fmt.Sprint("t", i))
			}
			if err != nil {
				t.Errorf("trial %d: %v", i, err)
			}
		})
	}
	all.Wait()
}

func TestATrialGoesOnWithAnotherWorkerWhenItsOwnIsLost(t *testing.T) {
	p := begun(t, sh(":"), sh(":"))
	w, release, err := p.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := w.(*loan)
	// Its process is gone, and no other one can be started.
	l.worker.Close()
	l.worker.Command = unable().Command
	first := l.worker
	if err := train(t.Context(), w, "t1"); err != nil {
		t.Error(err)
	}
	if l.worker == first {
		t.Error("the lost worker is still used")
	}
	release()
	second, release, err := p.Acquire(t.Context())
	if err != nil || second.(*loan).worker == first {
		t.Errorf("the lost worker is lent again: %v", err)
	}
	release()
}

func TestWithoutAnyWorkerTheReasonIsTold(t *testing.T) {
	p := begun(t, unable(), unable())
	for _, err := range []error{p.wait(t.Context()), train(t.Context(), p, "t1")} {
		if !errors.As(err, new(*dispatch.WorkerError)) || !strings.Contains(err.Error(), "no such device") {
			t.Errorf("%v", err)
		}
	}
	w, release, err := p.Acquire(t.Context())
	release()
	if w != nil || err == nil {
		t.Errorf("%v, %v", w, err)
	}
}

func TestNobodyWaitsForAWorkerLongerThanItsContext(t *testing.T) {
	p := begun(t, &timm.Worker{Command: []string{"sleep", "1000"}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := train(ctx, p, "t1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := p.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestEachGPUHasAWorkerOfItsOwn(t *testing.T) {
	s := Settings{GPUs: "0, 2,5", Workers: 3}
	workers, err := s.processes(t.Context(), []string{"python"})
	if err != nil {
		t.Fatal(err)
	}
	for i, gpu := range []string{"0", "2", "5"} {
		w := workers[i]
		if !slices.Equal(w.Command, []string{"python", "--device", "cuda"}) || !slices.Contains(w.Env, "CUDA_VISIBLE_DEVICES="+gpu) {
			t.Errorf("worker %d: %q with %q", i, w.Command, w.Env)
		}
	}
	s = Settings{GPUs: "none", Workers: 2}
	workers, err = s.processes(t.Context(), []string{"python"})
	if err != nil || len(workers) != 2 || workers[1].Command[2] != "cpu" || len(workers[1].Env) != 0 {
		t.Errorf("%+v, %v", workers, err)
	}
	for _, bad := range []string{"", "zero", "0,,1", "-1"} {
		s.GPUs = bad
		if _, err := s.processes(t.Context(), nil); err == nil {
			t.Errorf("--gpus %q is taken", bad)
		}
	}
}
