//go:build unix

package sweep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quicktune/generate/dispatch"
	"quicktune/generate/journal"
	"quicktune/generate/plan"
	"quicktune/generate/sweep/sweeptest"
	"quicktune/generate/trainer"
	"quicktune/metadataset"
	"quicktune/space"
)

// The test binary is its own victim: run with this variable it works through a
// sweep in the directory that the variable names.
const victim = "QUICKTUNE_SWEEP_VICTIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(victim); dir != "" {
		if _, err := work(context.Background(), dir, thePlan(), 300*time.Microsecond); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func thePlan() *plan.Plan {
	p, err := plan.New(plan.Options{
		Space: sweeptest.Space(), ModelParam: sweeptest.ModelParam, Models: sweeptest.Hub(),
		Mode: plan.Stratified, Configs: 30, Epochs: 10, CurveCap: 40, Seed: 1, Trainer: "fake", Clock: "measured",
		MetaFeatures: []string{"x"},
		Datasets: []plan.Dataset{
			{Name: "one", Hash: "a", Train: 6, Validation: 2, Test: 2, Classes: 2, Width: 32, Channels: 3, MetaFeatures: []float64{0.5}, Warnings: []string{"a broken picture"}},
			{Name: "two", Hash: "b", Train: 12, Validation: 4, Test: 4, Classes: 3, Width: 64, Channels: 1, MetaFeatures: []float64{1}},
		},
	})
	if err != nil {
		panic(err)
	}
	return p
}

// fake is the trainer of these tests: some of its trials diverge.
func fake(epoch time.Duration) *sweeptest.Trainer {
	return &sweeptest.Trainer{Epoch: epoch, Ends: func(r trainer.Request, epoch int) metadataset.End {
		if r.Seed%7 == 0 && epoch == 4 {
			return metadataset.EndDiverged
		}
		return ""
	}}
}

func work(ctx context.Context, dir string, p *plan.Plan, epoch time.Duration) (Result, error) {
	return workWith(ctx, dir, p, fake(epoch))
}

func workWith(ctx context.Context, dir string, p *plan.Plan, f trainer.Trainer) (Result, error) {
	if err := Claim(dir, p); err != nil {
		return Result{}, err
	}
	return Run(ctx, Options{
		Dir: dir, Plan: p, Generator: "test",
		Dispatcher: &dispatch.Local{Pause: time.Microsecond, Workers: []dispatch.Worker{{Name: "0", Trainer: f}, {Name: "1", Trainer: f}, {Name: "2", Trainer: f}}},
	})
}

func undisturbed(t testing.TB) Result {
	t.Helper()
	r, err := work(t.Context(), filepath.Join(t.TempDir(), "sweep"), thePlan(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestASweepBecomesAMetadataset(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sweep")
	p := thePlan()
	r, err := work(t.Context(), dir, p, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := metadataset.Open(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.NumCurves() != 60 || r.Curves != 60 || r.Epochs != s.NumEpochs() || len(s.Models) != 3 || s.Manifest.CurveCap != 40 || s.Manifest.Hash != r.Hash {
		t.Errorf("%+v", r)
	}
	if r.Ends[metadataset.EndDiverged] == 0 || r.Ends[metadataset.EndTimeCapped] == 0 || r.Ends[metadataset.EndCompleted] == 0 {
		t.Errorf("ends %v: the fake was to give several kinds", r.Ends)
	}
	if got := s.Manifest.Notes; len(got) != 1 || got[0] != "data set one: a broken picture" {
		t.Errorf("notes %q", got)
	}
	for _, trial := range p.Trials {
		c, ok := s.Lookup(trial.Dataset, trial.ID)
		if !ok {
			t.Fatalf("trial %s is missing", trial.ID)
		}
		req := trainer.Request{Trial: trial.ID, Model: trial.Model, Config: trial.Config, Seed: trial.Seed}
		for e := 1; e <= s.Len(c); e++ {
			want := sweeptest.Curve(req, e)
			if got := s.Values(c, metadataset.ValAccuracy)[e-1]; got != float32(want.ValAccuracy) {
				t.Errorf("%s, epoch %d: accuracy %v, want %v", trial.ID, e, got, want.ValAccuracy)
			}
			if got := s.Seconds(c)[e-1]; got != float32(want.TrainSeconds+want.EvalSeconds) {
				t.Errorf("%s, epoch %d: %v seconds", trial.ID, e, got)
			}
		}
		if s.Space.Format(s.Config(c)) != s.Space.Format(mustConfig(t, p, trial)) {
			t.Errorf("%s has another configuration", trial.ID)
		}
	}
	if d := s.Datasets[1]; d.TrainSamples != 12 || d.Classes != 3 || d.Pixels != 64 || d.Channels != 1 || d.MetaFeatures[0] != 1 {
		t.Errorf("%+v", d)
	}
	if _, err := os.Stat(filepath.Join(dir, CheckpointsDir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("checkpoints are left: %v", err)
	}
	again, err := work(t.Context(), dir, p, 0)
	if err != nil || again.Hash != r.Hash {
		t.Errorf("repeating a finished sweep gives %v, %v", again, err)
	}
}

func mustConfig(t testing.TB, p *plan.Plan, trial plan.Trial) space.Config {
	t.Helper()
	c, err := p.Space.ConfigFromMap(trial.Config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The sweep is killed at 20 random moments, by the signal that nobody can catch,
// and gives the same bytes in the end.
func TestAKilledSweepGivesTheSameMetadataset(t *testing.T) {
	want := undisturbed(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "sweep")
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)) // the moments are random, the result is not
	kills, longest := 0, 60*time.Millisecond
	for kills < 20 {
		c := exec.Command(self)
		c.Env = append(os.Environ(), victim+"="+dir)
		var log strings.Builder
		c.Stderr = &log
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.Int64N(int64(longest))))
		_ = c.Process.Kill() // it may have ended
		err := c.Wait()
		var exit *exec.ExitError
		switch {
		case err == nil: // done too soon for 20 kills: begin again, quicker
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			longest = longest * 3 / 4
		case errors.As(err, &exit) && exit.ExitCode() < 0:
			kills++
		default:
			t.Fatalf("%v: %s", err, log.String())
		}
	}
	state, err := journal.Read(filepath.Join(dir, JournalFile))
	if err == nil {
		t.Logf("after %d kills %d of 60 trials are known", kills, len(state.Trials))
	}
	got, err := work(t.Context(), dir, thePlan(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash != want.Hash || got.Curves != want.Curves || got.Epochs != want.Epochs {
		t.Errorf("after %d kills %+v, undisturbed %+v", kills, got, want)
	}
}

// An interrupt, a lost checkpoint and a repetition with other seconds leave what
// was known.
func TestWhatIsKnownIsNeverTrainedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sweep")
	p := thePlan()
	ctx, cancel := context.WithCancel(t.Context())
	f := fake(0)
	count := 0
	f.Before = func(trainer.Request, int) error {
		if count++; count == 100 {
			cancel()
		}
		return nil
	}
	if err := Claim(dir, p); err != nil {
		t.Fatal(err)
	}
	one := func(f trainer.Trainer) Options {
		return Options{Dir: dir, Plan: p, Generator: "test", Dispatcher: &dispatch.Local{Workers: []dispatch.Worker{{Name: "0", Trainer: f}}}}
	}
	if _, err := Run(ctx, one(f)); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, CheckpointsDir)); err != nil {
		t.Fatal(err)
	}
	before, err := journal.Read(filepath.Join(dir, JournalFile))
	if err != nil {
		t.Fatal(err)
	}
	slow := slower{fake(0)}
	if _, err := Run(t.Context(), one(slow)); err != nil {
		t.Fatal(err)
	}
	after, err := journal.Read(filepath.Join(dir, JournalFile))
	if err != nil {
		t.Fatal(err)
	}
	for id, trial := range before.Trials {
		for i, r := range trial.Records {
			if now := after.Trials[id].Records[i]; now.TrainSeconds != r.TrainSeconds {
				t.Errorf("%s, epoch %d took %g seconds and now %g", id, i+1, r.TrainSeconds, now.TrainSeconds)
			}
		}
	}
	// No curve is longer than the cap allows, whichever seconds count.
	for id, trial := range after.Trials {
		var spent float64
		for i, r := range trial.Records {
			if spent += seconds(r); spent >= p.CurveCap && i > 0 {
				t.Errorf("%s has %d epochs of %g seconds", id, len(trial.Records), spent)
			}
		}
	}
}

// slower takes half the time for everything.
type slower struct{ *sweeptest.Trainer }

func (s slower) Train(ctx context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
	r.CurveCap *= 2
	return s.Trainer.Train(ctx, r, func(rec trainer.Record) error {
		rec.TrainSeconds /= 2
		rec.EvalSeconds /= 2
		return emit(rec)
	})
}

func TestCountedSecondsDoNotDependOnTheTrainer(t *testing.T) {
	var hashes []string
	for _, f := range []trainer.Trainer{fake(0), slower{fake(0)}} {
		dir := filepath.Join(t.TempDir(), "sweep")
		p := thePlan()
		if err := Claim(dir, p); err != nil {
			t.Fatal(err)
		}
		r, err := Run(t.Context(), Options{
			Dir: dir, Plan: p, Generator: "test",
			Dispatcher: &dispatch.Local{Workers: []dispatch.Worker{{Name: "0", Trainer: f}}},
			Seconds:    func(t plan.Trial) (train, eval float64) { return 6 + float64(len(t.Model)), 0.5 },
		})
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, r.Hash)
		s, err := metadataset.Open(r.Dir)
		if err != nil {
			t.Fatal(err)
		}
		for c := range s.NumCurves() {
			// 6 + 5 + 0.5 seconds: three epochs end before 40 s. large alike; middle 12.5.
			if s.Ends[c] == metadataset.EndTimeCapped && s.Len(c) != 3 {
				t.Errorf("%s is capped after %d epochs", s.IDs[c], s.Len(c))
			}
		}
		if r.Ends[metadataset.EndTimeCapped] == 0 || r.Ends[metadataset.EndFailed] > 0 {
			t.Errorf("ends %v", r.Ends)
		}
	}
	if hashes[0] != hashes[1] {
		t.Errorf("hashes %v", hashes)
	}
}

// Whatever a trainer says, the result can be stored and says what happened.
func TestEndsThatDoNotFitBecomeFailures(t *testing.T) {
	p := thePlan()
	short := trainerFunc(func(ctx context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
		rec := sweeptest.Curve(r, 1)
		rec.Trial = r.Trial
		switch r.Trial {
		case "one-0000": // completed too early
			return trainer.End{End: metadataset.EndCompleted}, emit(rec)
		case "one-0001": // no accuracy, yet no divergence
			rec.ValAccuracy = math.NaN()
			return trainer.End{End: metadataset.EndOutOfMemory, Reason: "no\nmemory"}, emit(rec)
		case "one-0002": // no time
			rec.TrainSeconds, rec.EvalSeconds = 0, 0
			return trainer.End{End: metadataset.EndCompleted}, emit(rec)
		case "one-0003": // a gap
			rec.Epoch = 2
			return trainer.End{End: metadataset.EndCompleted}, emit(rec)
		case "one-0004": // infinite loss
			rec.TrainLoss, rec.ValLoss = math.Inf(1), 1e300
			return trainer.End{End: metadataset.EndDiverged, Reason: "the loss is infinite"}, emit(rec)
		}
		return fake(0).Train(ctx, r, emit)
	})
	r, err := workWith(t.Context(), filepath.Join(t.TempDir(), "sweep"), p, short)
	if err != nil {
		t.Fatal(err)
	}
	s, err := metadataset.Open(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		"one-0000": "failed 1 the trainer stopped after 1 of 10 epochs",
		"one-0001": "diverged 1 1 epochs without an accuracy, then out-of-memory. no memory",
		"one-0002": "failed 0 bad record: epoch 1 took 0 + 0 seconds",
		"one-0003": "failed 0 bad record: epoch 2 comes after epoch 0",
		"one-0004": "diverged 1 the loss is infinite",
	} {
		c, _ := s.Lookup("one", id)
		if got := fmt.Sprint(s.Ends[c], " ", s.Len(c), " ", s.Reasons[c]); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}

type trainerFunc func(ctx context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error)

func (f trainerFunc) Train(ctx context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
	return f(ctx, r, emit)
}

func TestDirectoriesThatAreNoSweepAreRefused(t *testing.T) {
	p := thePlan()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Claim(dir, p); err == nil || !strings.Contains(err.Error(), "thesis.tex") {
		t.Errorf("error %v", err)
	}
	dir = filepath.Join(t.TempDir(), "sweep")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	// What a process leaves that is killed while it writes the plan.
	if err := os.WriteFile(filepath.Join(dir, ".plan.jsonl.tmp-123"), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Claim(dir, p); err != nil {
		t.Fatal(err)
	}
	if err := Claim(dir, p); err != nil {
		t.Errorf("the same plan again gives %v", err)
	}
	other := thePlan()
	other.Epochs, other.Hash = 20, "x"
	var mismatch *MismatchError
	if err := Claim(dir, other); !errors.As(err, &mismatch) || !strings.Contains(err.Error(), "epochs 10, not 20") {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, PlanFile), []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Claim(dir, p); err == nil || !strings.Contains(err.Error(), "plan.jsonl: format") {
		t.Errorf("error %v", err)
	}
}

func TestAFolderThatCannotBeWrittenIsToldBeforeAnyTraining(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("nothing is forbidden to root")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if err := Claim(dir, thePlan()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v", err)
	}
}

// A limit on the size of files stands for a full disk: the write fails in the
// middle of a line. Nothing known is lost, and the sweep goes on afterwards.
func TestAFullDiskLosesNothing(t *testing.T) {
	if os.Getenv("QUICKTUNE_SWEEP_LIMIT") == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command(self, "-test.run=^TestAFullDiskLosesNothing$", "-test.v")
		c.Env = append(os.Environ(), "QUICKTUNE_SWEEP_LIMIT=1")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	want := undisturbed(t)
	dir := filepath.Join(t.TempDir(), "sweep")
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 40_000, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	_, err := work(t.Context(), dir, thePlan(), 0)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, unix.EFBIG) {
		t.Fatalf("error %v, want that a file is too large", err)
	}
	state, readErr := journal.Read(filepath.Join(dir, JournalFile))
	if readErr != nil || state.Torn != 0 || len(state.Trials) < 5 {
		t.Fatalf("%d trials are known, %v", len(state.Trials), readErr)
	}
	got, err := work(t.Context(), dir, thePlan(), 0)
	if err != nil || got.Hash != want.Hash {
		t.Errorf("afterwards %+v, %v, undisturbed %+v", got, err, want)
	}
}

func TestStatusTellsWhatWorkersDo(t *testing.T) {
	p := thePlan()
	each := func(t plan.Trial) float64 { return map[string]float64{"small": 1, "middle": 2, "large": 3}[t.Model] }
	start := time.Unix(1_700_000_000, 0)
	state := &journal.State{Trials: make(map[string]*journal.Trial)}
	s := Summarise(p, state, each, start)
	if s.Ended != 0 || s.Share != 0 || s.SecondsLeft != p.Estimate(each, nil).Seconds || len(s.Workers) != 0 {
		t.Errorf("%+v", s)
	}
	records := func(id string, n int) []trainer.Record {
		list := make([]trainer.Record, n)
		for i := range list {
			list[i] = trainer.Record{Trial: id, Epoch: i + 1, TrainSeconds: 2, EvalSeconds: 0.5}
		}
		return list
	}
	first, second := p.Trials[0].ID, p.Trials[1].ID
	state.Trials[first] = &journal.Trial{
		Records: records(first, 10), End: trainer.End{End: metadataset.EndFailed, Reason: "why"}, Worker: "0", Started: start, Last: start.Add(time.Minute),
	}
	state.Trials[second] = &journal.Trial{Records: records(second, 6), Worker: "0", Base: 2, Started: start.Add(time.Minute), Last: start.Add(68 * time.Second)}
	s = Summarise(p, state, each, start.Add(70*time.Second))
	if s.Ended != 1 || s.Begun != 1 || s.Epochs != 16 || s.Seconds != 40 || s.Reasons["why"] != 1 || s.Ends[metadataset.EndFailed] != 1 {
		t.Errorf("%+v", s)
	}
	if len(s.Workers) != 1 {
		t.Fatalf("%+v", s.Workers)
	}
	// 4 epochs in 8 s; 4 of 10 are left.
	w := s.Workers[0]
	if w.Trial.ID != second || w.Epoch != 6 || w.PerEpoch != 2*time.Second || w.Left != 8*time.Second || w.Silent != 2*time.Second {
		t.Errorf("%+v", w)
	}
}

// What a sweep costs for an epoch, journal included, with a trainer that takes
// no time.
func BenchmarkEpoch(b *testing.B) {
	p := thePlan()
	p.Epochs, p.CurveCap = b.N, 0
	p.Trials = p.Trials[:1]
	dir := filepath.Join(b.TempDir(), "sweep")
	if err := Claim(dir, p); err != nil {
		b.Fatal(err)
	}
	plain := trainerFunc(func(_ context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
		rec := sweeptest.Curve(r, 1)
		for e := 1; e <= r.Epochs; e++ {
			rec.Epoch = e
			if err := emit(rec); err != nil {
				return trainer.End{}, err
			}
		}
		return trainer.End{End: metadataset.EndCompleted}, nil
	})
	b.ResetTimer()
	if _, err := Run(b.Context(), Options{
		Dir: dir, Plan: p, Dispatcher: &dispatch.Local{Workers: []dispatch.Worker{{Name: "0", Trainer: plain}}},
	}); err != nil {
		b.Fatal(err)
	}
}
