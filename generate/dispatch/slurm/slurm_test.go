package slurm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quicktune/generate/dispatch"
	"quicktune/generate/sweep/sweeptest"
	"quicktune/generate/trainer"
	"quicktune/metadataset"
)

// cluster is a Slurm that lives in the test. Jobs write their results as the
// worker does, and misbehave as the names of their trials say.
type cluster struct {
	t  *testing.T
	mu sync.Mutex
	// slots is how many tasks may run at a time.
	slots   int
	next    int
	tasks   []*fakeTask
	scripts []string
	most    int // tasks that ran at the same time
	refuse  int // submissions to refuse
	silent  int // calls of squeue that give no answer
	tries   map[string]int
}

type fakeTask struct {
	job, index int
	name       string
	work       task
	results    string
	state      string
	cancel     chan struct{}
	cancelled  bool
}

var (
	namePattern  = regexp.MustCompile(`--job-name=(\S+)`)
	filesPattern = regexp.MustCompile(`--tasks '(\S+)' --index .* --results '(\S+)'`)
)

func (c *cluster) exec(_ context.Context, name string, args ...string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch name {
	case "sbatch":
		if c.refuse > 0 {
			c.refuse--
			return "", errors.New("sbatch: error: Slurm temporarily unable to accept job")
		}
		script, err := os.ReadFile(args[len(args)-1])
		if err != nil {
			c.t.Error(err)
		}
		c.scripts = append(c.scripts, string(script))
		files := filesPattern.FindSubmatch(script)
		lines, err := os.ReadFile(string(files[1]))
		if err != nil {
			c.t.Error(err)
		}
		c.next++
		for i, line := range strings.Split(strings.TrimSpace(string(lines)), "\n") {
			f := &fakeTask{job: c.next, index: i, name: string(namePattern.FindSubmatch(script)[1]), results: string(files[2]), state: "PENDING", cancel: make(chan struct{})}
			if err := json.Unmarshal([]byte(line), &f.work); err != nil {
				c.t.Error(err)
			}
			c.tasks = append(c.tasks, f)
		}
		c.schedule()
		return fmt.Sprintf("%d\n", c.next), nil
	case "squeue":
		if c.silent > 0 {
			c.silent--
			return "", errors.New("squeue: error: Unable to contact slurm controller")
		}
		var out strings.Builder
		for _, f := range c.tasks {
			if f.state != "" {
				fmt.Fprintf(&out, "%d|%d|%s|%s|None\n", f.job, f.index, f.state, f.name)
			}
		}
		return out.String(), nil
	case "scancel":
		for _, f := range c.tasks {
			if slices.Contains(args, fmt.Sprint(f.job)) || slices.Contains(args, fmt.Sprintf("%d_%d", f.job, f.index)) {
				if !f.cancelled && f.state != "" {
					f.cancelled = true
					close(f.cancel)
					if f.state == "PENDING" {
						f.state = ""
					}
				}
			}
		}
		return "", nil
	}
	return "", fmt.Errorf("unknown command %s", name)
}

// schedule starts what there is room for; c.mu is held.
func (c *cluster) schedule() {
	running := 0
	for _, f := range c.tasks {
		if f.state == "RUNNING" {
			running++
		}
	}
	for _, f := range c.tasks {
		if f.state == "PENDING" && running < c.slots {
			running++
			f.state = "RUNNING"
			go c.run(f)
		}
	}
	c.most = max(c.most, running)
}

func (c *cluster) run(f *fakeTask) {
	for _, i := range f.work.Trials {
		if !c.trial(f, i) {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f.state = ""
	c.schedule()
}

// trial works on a trial, and reports whether the job goes on.
func (c *cluster) trial(f *fakeTask, i item) bool {
	id := i.Request.Trial
	c.mu.Lock()
	c.tries[id]++
	try := c.tries[id]
	c.mu.Unlock()
	kind, _, _ := strings.Cut(id, "-")
	if kind == "unborn" || kind == "unbornonce" && try == 1 {
		return false
	}
	file, err := os.Create(filepath.Join(f.results, fmt.Sprintf("%s.%d-%d-0-n1-%d.jsonl", i.Result, f.job, f.index, try)))
	if err != nil {
		c.t.Error(err)
		return false
	}
	defer file.Close()
	enc := trainer.NewEncoder(file)
	fmt.Fprintf(file, `{"type":"hello","trial":%q}`+"\n", id)
	for e := 1; e <= i.Request.Epochs; e++ {
		select {
		case <-f.cancel:
			return false
		case <-time.After(time.Millisecond):
		}
		if e == 2 {
			switch {
			case kind == "crash", kind == "once" && try == 1:
				return false
			case kind == "hang":
				<-f.cancel
				return false
			case kind == "garbage":
				fmt.Fprintln(file, "slurmstepd: error: *** STEP CANCELLED ***")
			case kind == "stranger":
				fmt.Fprintln(file, `{"type":"record","trial":"other","epoch":2,"train_seconds":1,"eval_seconds":1}`)
			case kind == "torn":
				fmt.Fprint(file, `{"type":"record","trial":"`)
				return false
			case kind == "errs":
				_ = enc.Error(id, errors.New("OSError: [Errno 28] No space left on device"))
				return true
			case kind == "limit" && try == 1:
				fmt.Fprintf(file, `{"type":"interrupted","trial":%q,"reason":"the time limit is near"}`+"\n", id)
				return false
			case kind == "twice":
				// The node was lost, and the old copy runs on beside the new one.
				other, err := os.Create(filepath.Join(f.results, fmt.Sprintf("%s.%d-%d-1-n2-7.jsonl", i.Result, f.job, f.index)))
				if err != nil {
					c.t.Error(err)
				}
				again := trainer.NewEncoder(other)
				for e := 1; e <= i.Request.Epochs; e++ {
					rec := sweeptest.Curve(i.Request, e)
					rec.TrainSeconds *= 2
					_ = again.Record(rec)
				}
				_ = again.End(trainer.End{Trial: id, End: metadataset.EndCompleted})
				other.Close()
			}
		}
		if kind == "skew" {
			// The node's clock is years off, and is set in between.
			then := time.Now().AddDate(10-20*(e%2), 0, 0)
			if err := os.Chtimes(file.Name(), then, then); err != nil {
				c.t.Error(err)
			}
		}
		if kind == "short" && e == 1 {
			fmt.Fprintf(file, `{"type":"interrupted","trial":%q,"reason":"the time limit is near"}`+"\n", id)
			return false
		}
		_ = enc.Record(sweeptest.Curve(i.Request, e))
	}
	_ = enc.End(trainer.End{Trial: id, End: metadataset.EndCompleted})
	return true
}

// book is a sink that remembers, and refuses what comes twice.
type book struct {
	mu      sync.Mutex
	records map[string][]trainer.Record
	ends    map[string]trainer.End
}

func newBook() *book {
	return &book{records: make(map[string][]trainer.Record), ends: make(map[string]trainer.End)}
}

func (b *book) Start(string, string) error { return nil }

func (b *book) Record(r trainer.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ends[r.Trial].End != "" {
		return dispatch.ErrEnded
	}
	switch known := len(b.records[r.Trial]); {
	case r.Epoch == known+1:
		b.records[r.Trial] = append(b.records[r.Trial], r)
	case r.Epoch > known+1:
		return &dispatch.BadRecord{Err: fmt.Errorf("epoch %d after %d", r.Epoch, known)}
	}
	return nil
}

func (b *book) End(e trainer.End) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ends[e.Trial].End != "" {
		return fmt.Errorf("trial %s ended twice", e.Trial)
	}
	b.ends[e.Trial] = e
	return nil
}

func setup(t *testing.T) (*cluster, *Dispatcher) {
	c := &cluster{t: t, slots: 3, tries: make(map[string]int)}
	d := &Dispatcher{
		Dir: t.TempDir(), Name: "qt-test", Command: []string{"python", "-m", "timm_worker", "work"}, Env: []string{"PYTHONPATH=/some where/it's"},
		Resources: Resources{Gres: "gpu:1"}, TrialsPerJob: 2, Poll: 2 * time.Millisecond, Settle: 20 * time.Millisecond, Silence: 300 * time.Millisecond, Pause: time.Millisecond,
		Exec: c.exec, Log: func(m string, args ...any) { t.Log(append([]any{m}, args...)...) },
	}
	return c, d
}

func tasks(kinds ...string) []dispatch.Task {
	var list []dispatch.Task
	for i, k := range kinds {
		list = append(list, dispatch.Task{Request: trainer.Request{Trial: fmt.Sprintf("%s-%d", k, i), Model: "small", Dataset: "d", Epochs: 4, Seed: uint64(i)}})
	}
	return list
}

func TestNoFailureOnANodeStopsTheSweep(t *testing.T) {
	c, d := setup(t)
	c.refuse, c.silent = 2, 3
	kinds := []string{"good", "good", "crash", "good", "hang", "garbage", "stranger", "torn", "errs", "limit", "short", "unborn", "unbornonce", "once", "twice", "skew", "good"}
	b := newBook()
	if err := d.Run(t.Context(), tasks(kinds...), b); err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{
		"crash": "3 attempts; the last: the job ended without a result", "hang": "silent for 300ms", "garbage": "not a message",
		"stranger": `message of trial "other"`, "torn": "the job ended without a result", "errs": "No space left on device",
		"short": "the time limit is near; no epoch ended in the time of a job", "unborn": "the job ended without a result",
	}
	for i, k := range kinds {
		id := fmt.Sprintf("%s-%d", k, i)
		end, epochs := b.ends[id], len(b.records[id])
		if want, fails := reasons[k]; fails {
			most := DefaultAttempts
			if k == "unborn" {
				most++ // a job that does not start blames its first trial, which may be the other
			}
			if end.End != metadataset.EndFailed || !strings.Contains(end.Reason, want) || c.tries[id] > most {
				t.Errorf("%s: %v after %d tries", id, end, c.tries[id])
			}
			continue
		}
		if end.End != metadataset.EndCompleted || epochs != 4 {
			t.Errorf("%s: %v after %d epochs", id, end, epochs)
		}
	}
	if c.most > c.slots {
		t.Errorf("%d tasks ran at a time", c.most)
	}
}

func TestATrialThatRanTwiceCountsOnce(t *testing.T) {
	_, d := setup(t)
	b := newBook()
	if err := d.Run(t.Context(), tasks("twice", "twice"), b); err != nil {
		t.Fatal(err)
	}
	for id, records := range b.records {
		if len(records) != 4 || b.ends[id].End != metadataset.EndCompleted {
			t.Errorf("%s: %d records, %v", id, len(records), b.ends[id])
		}
	}
}

func TestACoordinatorThatDiedIsSucceeded(t *testing.T) {
	c, d := setup(t)
	c.slots = 1
	b := newBook()
	list := tasks("good", "good", "good", "good", "good", "good")
	// The first coordinator dies after an epoch: its sink says so, and its
	// scancel never arrives.
	died := errors.New("killed")
	exec := d.Exec
	d.Exec = func(ctx context.Context, name string, args ...string) (string, error) {
		if name == "scancel" {
			return "", errors.New("nobody there")
		}
		return exec(ctx, name, args...)
	}
	if err := d.Run(t.Context(), list, &dying{book: b, err: died}); !errors.Is(err, died) {
		t.Fatal(err)
	}
	submitted := len(c.scripts)
	d.Exec = exec
	var left []dispatch.Task
	for _, task := range list {
		if id := task.Request.Trial; b.ends[id].End == "" {
			task.Known = len(b.records[id])
			left = append(left, task)
		}
	}
	if err := d.Run(t.Context(), left, b); err != nil {
		t.Fatal(err)
	}
	if len(c.scripts) != submitted {
		t.Errorf("%d submissions after the first %d: the jobs were there", len(c.scripts), submitted)
	}
	for _, task := range list {
		if id := task.Request.Trial; len(b.records[id]) != 4 || b.ends[id].End != metadataset.EndCompleted || c.tries[id] != 1 {
			t.Errorf("%s: %d records, %v, %d tries", id, len(b.records[id]), b.ends[id], c.tries[id])
		}
	}
}

// dying stops its coordinator at the third epoch.
type dying struct {
	*book
	err error
	n   int
}

func (d *dying) Record(r trainer.Record) error {
	if d.n++; d.n == 3 {
		return d.err
	}
	return d.book.Record(r)
}

func TestAnInterruptCancelsTheJobs(t *testing.T) {
	c, d := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(30*time.Millisecond, cancel)
	if err := d.Run(ctx, tasks("hang", "hang", "hang", "hang"), newBook()); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.tasks {
		if f.state != "" {
			t.Errorf("task %d_%d is %s", f.job, f.index, f.state)
		}
	}
}

func TestWhereNothingGoesWellNothingIsRecorded(t *testing.T) {
	_, d := setup(t)
	d.TrialsPerJob = 1
	b := newBook()
	kinds := slices.Repeat([]string{"unborn"}, 12)
	if err := d.Run(t.Context(), tasks(kinds...), b); err == nil || !strings.Contains(err.Error(), "none went well") || len(b.ends) > 0 {
		t.Errorf("%v, %d ends", err, len(b.ends))
	}
	c, d := setup(t)
	c.refuse = 1000
	if err := d.Run(t.Context(), tasks("good"), b); err == nil || !strings.Contains(err.Error(), "unable to accept") {
		t.Errorf("%v", err)
	}
}

func TestTheLimitOfJobsHolds(t *testing.T) {
	c, d := setup(t)
	c.slots, d.MaxJobs, d.MaxArray, d.TrialsPerJob = 100, 2, 5, 1
	b := newBook()
	if err := d.Run(t.Context(), tasks(slices.Repeat([]string{"good", "once"}, 6)...), b); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.scripts {
		if !strings.Contains(s, "%2\n") && !strings.Contains(s, "%1\n") {
			t.Errorf("no throttle in\n%s", s)
		}
	}
	if len(b.ends) != 12 || len(slices.Collect(maps.Keys(c.tries))) != 12 {
		t.Errorf("%d ends", len(b.ends))
	}
}

// all asks for everything that there is.
var all = Resources{Partition: "gpu", Time: 90 * time.Minute, Gres: "gpu:1", CPUs: 4, Memory: "16G", Extra: []string{"--account=a"}}

func TestTheCommandOfAHeldJob(t *testing.T) {
	got := strings.Join(Held{"qt-1", all}.Command([]string{"python", "-m", "x y"}), "|")
	const want = "srun|--job-name=qt-1|--nodes=1|--ntasks=1|--export=ALL|--partition=gpu|--gres=gpu:1|--cpus-per-task=4|--mem=16G|--time=90|--signal=TERM@120|--account=a|python|-m|x y"
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := len(Held{Name: "qt-1"}.Command([]string{"python"})); got != 6 {
		t.Errorf("a job that asks for nothing has %d words", got)
	}
}

func TestTheScriptOfAJob(t *testing.T) {
	d := &Dispatcher{
		Dir: "/shared/sweep/slurm", Name: "qt-1", Command: []string{"/opt/py/bin/python", "-m", "timm_worker", "work", "--data", "/shared/my sweep/data"},
		Env: []string{"PYTHONPATH=/x"}, Resources: all, MaxJobs: 8,
	}
	r := &run{Dispatcher: d}
	got := r.script(&batch{number: 3, throttle: 8, tasks: make([]*arrayTask, 20)})
	want := `#!/bin/bash
#SBATCH --job-name=qt-1-0003
#SBATCH --array=0-19%8
#SBATCH --output=/shared/sweep/slurm/logs/%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --partition=gpu
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=90
#SBATCH --signal=B:USR1@120
#SBATCH --account=a

export PYTHONPATH='/x'
# A signal is passed on: the worker keeps what it has, and leaves.
trap 'kill -USR1 "$worker" 2>/dev/null' USR1
trap 'kill -TERM "$worker" 2>/dev/null' TERM
'/opt/py/bin/python' '-m' 'timm_worker' 'work' '--data' '/shared/my sweep/data' --tasks '/shared/sweep/slurm/batches/0003/tasks.jsonl' --index "$SLURM_ARRAY_TASK_ID" --results '/shared/sweep/slurm/results' &
worker=$!
# wait also returns when a signal comes.
while wait "$worker" 2>/dev/null; status=$?; [ "$status" -gt 128 ] && kill -0 "$worker" 2>/dev/null; do :; done
[ "$status" = 0 ] || echo "the worker ended with status $status" >&2
exit "$status"
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestStemsDiffer(t *testing.T) {
	a, b := stem("a b-0001"), stem("a_b-0001")
	if a == b || strings.ContainsAny(a, " ./") || len(stem(strings.Repeat("x", 500))) > 80 {
		t.Errorf("%s, %s", a, b)
	}
}
