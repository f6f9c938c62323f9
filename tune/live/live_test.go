package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"quicktune/baselines"
	"quicktune/generate/trainer"
	"quicktune/internal/eventlog"
	"quicktune/internal/stream"
	"quicktune/metadataset"
	"quicktune/search"
	"quicktune/space"
)

// pretend is a trainer that sleeps. It keeps the epoch that it reached in its
// checkpoint, and complains if it is asked to train one again.
type pretend struct {
	t       testing.TB
	each    time.Duration
	mu      sync.Mutex
	trained map[string]int // times that an epoch of a trial was trained
	fails   func(r trainer.Request) (trainer.End, error)
}

func (p *pretend) Train(ctx context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
	if p.fails != nil {
		if end, err := p.fails(r); err != nil || end.End != "" {
			return end, err
		}
	}
	if err := os.MkdirAll(r.Checkpoint, 0o777); err != nil {
		return trainer.End{}, err
	}
	file := filepath.Join(r.Checkpoint, "epoch")
	known := 0
	if data, err := os.ReadFile(file); err == nil {
		known, _ = strconv.Atoi(string(data))
	}
	for epoch := 1; epoch <= r.Until; epoch++ {
		if epoch > known {
			select {
			case <-time.After(p.each):
			case <-ctx.Done():
				return trainer.End{}, ctx.Err()
			}
			p.mu.Lock()
			p.trained[fmt.Sprint(r.Trial, " ", epoch)]++
			p.mu.Unlock()
			if err := os.WriteFile(file, []byte(strconv.Itoa(epoch)), 0o666); err != nil {
				return trainer.End{}, err
			}
		}
		if err := emit(trainer.Record{Trial: r.Trial, Epoch: epoch, ValAccuracy: accuracy(r.Seed, epoch)}); err != nil {
			return trainer.End{}, err
		}
	}
	return trainer.End{Trial: r.Trial, End: metadataset.EndCompleted}, nil
}

// accuracy is the curve of a candidate.
func accuracy(candidate uint64, epoch int) float64 {
	top := stream.New("live/test", candidate).Float64()
	return top * (1 - math.Exp(-float64(epoch)/3))
}

const maxEpochs = 9

func options(t testing.TB, dir string, tr trainer.Trainer, method string) Options {
	t.Helper()
	s, err := space.New("test", []space.Hyperparameter{{Name: "lr", Type: space.Real, Lower: 0, Upper: 1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := search.Problem{
		Space: s, Task: search.Task{Name: "test"}, MaxEpochs: maxEpochs, Budget: 60, Workers: 1,
		Metric: search.Metric{Name: "val_accuracy", Bounded: true}, Seed: 1,
	}
	for i := range 40 {
		p.Candidates = append(p.Candidates, space.Config{space.Float(float64(i) / 40)})
	}
	m, err := baselines.New(method, nil)
	if err != nil {
		t.Fatal(err)
	}
	opt, err := m.New(p)
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Dir: dir, Run: "test", Problem: p, Optimizer: opt, Trainer: tr, Budget: p.Budget, Workers: 1,
		Request: func(_, candidate int) trainer.Request {
			return trainer.Request{Model: "m", Dataset: "d", Epochs: maxEpochs, Seed: uint64(candidate)}
		},
		Score: func(r trainer.Record) float64 { return r.ValAccuracy },
	}
}

func sleeper(t testing.TB) *pretend {
	return &pretend{t: t, each: time.Second, trained: make(map[string]int)}
}

func TestTheBudgetIsWallClock(t *testing.T) {
	for _, workers := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			tr := sleeper(t)
			o := options(t, t.TempDir(), tr, "random-distinct")
			o.Workers, o.Began = workers, time.Now().Add(-10*time.Second) // reading pictures took 10 s
			began := time.Now()
			s, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began).Seconds(); took < 49.5 || took > 50.5 {
				t.Errorf("the search took %g s of the 50 that were left", took)
			}
			if s.Over != OverBudget || math.Abs(s.Clock-60) > 1e-9 {
				t.Errorf("over because %q at %g s", s.Over, s.Clock)
			}
			if got := s.Epochs; got < 49*workers || got > 50*workers {
				t.Errorf("%d epochs of a second each with %d workers in 50 s", got, workers)
			}
		})
	}
}

func TestTheBestEpochIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, err := Run(t.Context(), options(t, dir, sleeper(t), "random"))
		if err != nil {
			t.Fatal(err)
		}
		want := Best{}
		for i, trial := range s.Trials {
			for _, e := range trial.Epochs {
				if e.ValAccuracy > want.Score {
					want = Best{i, e.Epoch, e.ValAccuracy, e.Clock}
				}
			}
		}
		if s.Best != want {
			t.Errorf("best %+v, want %+v", s.Best, want)
		}
		kept, err := os.ReadFile(filepath.Join(BestDir(dir, s.Best), "epoch"))
		if err != nil || string(kept) != strconv.Itoa(want.Epoch) {
			t.Errorf("the checkpoint of epoch %s is kept (%v), want %d", kept, err, want.Epoch)
		}
		if dirs, _ := filepath.Glob(filepath.Join(dir, bestPrefix+"*")); len(dirs) != 1 {
			t.Errorf("kept %v", dirs)
		}
	})
}

// An interrupt stops as a kill does, except that it marks the clock.
func TestAnInterruptedRunGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole, err := Run(t.Context(), options(t, t.TempDir(), sleeper(t), "hyperband"))
		if err != nil {
			t.Fatal(err)
		}
		dir, tr := t.TempDir(), sleeper(t)
		rng := stream.New("live/test/interrupts", 1)
		var s *State
		runs, lost := 0, 0.0
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration((2+10*rng.Float64())*float64(time.Second)))
			o := options(t, dir, tr, "hyperband")
			s, err = Run(ctx, o)
			cancel()
			runs++
			if err == nil {
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			lost += 1 // at most an epoch is begun again
		}
		if runs < 5 {
			t.Fatalf("only %d runs", runs)
		}
		if math.Abs(s.Clock-60) > 1e-9 || s.Over != OverBudget {
			t.Errorf("over because %q at %g s", s.Over, s.Clock)
		}
		if float64(s.Epochs) < float64(whole.Epochs)-lost-1 {
			t.Errorf("%d epochs with %d interrupts, %d without", s.Epochs, runs-1, whole.Epochs)
		}
		for name, n := range tr.trained {
			if n > 1 {
				t.Errorf("epoch %s was trained %d times", name, n)
			}
		}
		// What both have seen is the same.
		for i := range s.Trials {
			for k, e := range s.Trials[i].Epochs {
				if w := whole.Trials[i].Epochs[k]; e.ValAccuracy != w.ValAccuracy || s.Trials[i].Candidate != whole.Trials[i].Candidate {
					t.Fatalf("trial %d, epoch %d: %+v, want %+v", i, k+1, e, w)
				}
			}
		}
	})
}

// A kill leaves the journal cut anywhere, and the checkpoints as they were.
func TestAKilledRunGoesOnFromAnyByteOfItsJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := options(t, dir, sleeper(t), "asha")
		o.Budget, o.Problem.Budget = 12, 12
		want, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		journal, err := os.ReadFile(filepath.Join(dir, JournalFile))
		if err != nil {
			t.Fatal(err)
		}
		rng := stream.New("live/test/kills", 1)
		for range 20 {
			at := rng.IntN(len(journal))
			again := t.TempDir()
			if err := os.WriteFile(filepath.Join(again, JournalFile), journal[:at], 0o666); err != nil {
				t.Fatal(err)
			}
			o := options(t, again, sleeper(t), "asha")
			o.Budget, o.Problem.Budget = 12, 12
			began := time.Now()
			s, err := Run(t.Context(), o)
			if err != nil {
				t.Fatalf("cut at byte %d: %v", at, err)
			}
			if math.Abs(s.Clock-12) > 1e-9 || s.Best.Epoch == 0 || s.Best.Score > want.Best.Score {
				t.Errorf("cut at byte %d: over at %g s with %+v", at, s.Clock, s.Best)
			}
			if took := time.Since(began).Seconds(); took > 12.001 {
				t.Errorf("cut at byte %d: %g s more", at, took)
			}
		}
	})
}

func TestTheCountedClockGivesTheSameRunAgain(t *testing.T) {
	run := func(cut int) *State {
		dir := t.TempDir()
		var journal []byte
		for range 2 {
			tr := sleeper(t)
			tr.each = 0
			o := options(t, dir, tr, "asha")
			o.Seconds = func(candidate int) float64 { return 0.5 + float64(candidate)/40 }
			s, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if s.Clock > 60 || s.Clock < 58 {
				t.Errorf("over at %g s", s.Clock)
			}
			if cut == 0 || journal != nil {
				for i := range s.Trials {
					for k := range s.Trials[i].Epochs {
						s.Trials[i].Epochs[k].Trial = ""
					}
				}
				s.Deciding, s.score = 0, nil
				return s
			}
			path := filepath.Join(dir, JournalFile)
			if journal, err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, journal[:len(journal)*cut/10], 0o666); err != nil {
				t.Fatal(err)
			}
		}
		return nil
	}
	want := run(0)
	for cut := 1; cut < 10; cut += 2 {
		if got := run(cut); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("cut at %d/10:\n%+v\nwant\n%+v", cut, got, want)
		}
	}
}

func TestFailedTrialsAreRecordedAndTheSearchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := sleeper(t)
		tr.fails = func(r trainer.Request) (trainer.End, error) {
			switch r.Seed % 4 {
			case 0:
				return trainer.End{}, errors.New("the cable\nwas pulled")
			case 1:
				return trainer.End{Trial: r.Trial, End: metadataset.EndDiverged, Reason: "loss is NaN"}, nil
			case 2:
				panic("out of range")
			}
			return trainer.End{}, nil
		}
		s, err := Run(t.Context(), options(t, t.TempDir(), tr, "random-distinct"))
		if err != nil {
			t.Fatal(err)
		}
		ends := make(map[metadataset.End]int)
		for _, trial := range s.Trials {
			ends[trial.End.End]++
			if trial.End.End == metadataset.EndFailed && !strings.Contains(trial.End.Reason, "the cable was pulled") && !strings.Contains(trial.End.Reason, "out of range") {
				t.Errorf("failed because of %q", trial.End.Reason)
			}
		}
		if ends[metadataset.EndFailed] == 0 || ends[metadataset.EndDiverged] == 0 || ends[metadataset.EndCompleted] == 0 {
			t.Errorf("ends %v", ends)
		}
		if s.Best.Epoch == 0 {
			t.Error("no result")
		}
	})
}

func TestWhatWouldHitEveryTrialEndsTheRun(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails func(r trainer.Request) (trainer.End, error)
		want  string
	}{
		{"full disk", func(trainer.Request) (trainer.End, error) {
			return trainer.End{}, &os.PathError{Op: "write", Path: "checkpoint.bin", Err: syscall.ENOSPC}
		}, "write checkpoint.bin: no space left on device"},
		{"no trial works", func(trainer.Request) (trainer.End, error) {
			return trainer.End{}, errors.New("python: command not found")
		}, "the first 5 trials all failed, trial t4 with: python: command not found"},
	} {
		tr := sleeper(t)
		tr.fails = c.fails
		_, err := Run(t.Context(), options(t, t.TempDir(), tr, "random-distinct"))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func TestARunWithoutAnEpochSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := sleeper(t)
		tr.each = time.Hour
		s, err := Run(t.Context(), options(t, t.TempDir(), tr, "random"))
		if !errors.Is(err, ErrNothing) || s.Clock != 60 {
			t.Errorf("%v after %g s", err, s.Clock)
		}
	})
}

func TestDamagedJournalsAreRefused(t *testing.T) {
	dir := t.TempDir()
	counted := func() Options {
		tr := sleeper(t)
		tr.each = 0
		o := options(t, dir, tr, "asha")
		o.Seconds = func(int) float64 { return 5 }
		return o
	}
	if _, err := Run(t.Context(), counted()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, JournalFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), good...)
	flipped[len(good)/2] ^= 4
	if err := os.WriteFile(path, flipped, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), counted()); err == nil || !strings.Contains(err.Error(), "the checksum does not fit") {
		t.Errorf("a flipped bit: %v", err)
	}
	if err := os.WriteFile(path, good, 0o666); err != nil {
		t.Fatal(err)
	}
	o := counted()
	o.Run = "other"
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "belongs to another run") {
		t.Errorf("another run: %v", err)
	}
	o = counted()
	other := options(t, dir, o.Trainer, "random")
	o.Optimizer = other.Optimizer
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("another search: %v", err)
	}
}

func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	tr := sleeper(f)
	tr.each = 0
	o := options(f, dir, tr, "asha")
	o.Seconds = func(int) float64 { return 20 }
	if _, err := Run(context.Background(), o); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, JournalFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-3])
	f.Fuzz(func(t *testing.T, data []byte) {
		texts, _, err := eventlog.Parse(data)
		if err != nil {
			return
		}
		events, err := decode(texts)
		if err != nil {
			return
		}
		s := newState(func(r trainer.Record) float64 { return r.ValAccuracy })
		for _, e := range events {
			if s.apply(e) != nil {
				return
			}
		}
	})
}
