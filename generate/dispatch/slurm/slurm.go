// Package slurm trains trials as jobs of a Slurm cluster.
//
// It needs a folder that the nodes share, and the commands sbatch, squeue and
// scancel; no accounting. Trials that have not ended are packed into array jobs.
// A job learns what to do from a file and writes what it finds to files, one for
// each try of each trial; a coordinator reads them as they grow. All that it
// knows of its jobs is in the folder and in the queue, so it can be killed and
// started again, on another login node too, and goes on with the jobs that are
// there. A task that ran twice, as after the death of a node, counts once: its
// sink knows every epoch that came before.
//
//	batches/0001/tasks.jsonl   a line an array task: its trials
//	batches/0001/job.sh        what was submitted
//	batches/0001/job           its number
//	results/STEM.TRY.jsonl     the messages of one try of one trial
//	logs/JOB_TASK.log          what a job wrote for people
//
// The package refuses to look at the clock of a node, to trust that a job which
// is gone did its work, and to read anything but the files above.
package slurm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"quicktune/generate/dispatch"
	"quicktune/generate/trainer"
	"quicktune/internal/atomicfile"
)

// The defaults of Dispatcher.
const (
	DefaultPoll      = 10 * time.Second
	DefaultSettle    = 30 * time.Second
	DefaultSilence   = 20 * time.Minute
	DefaultAttempts  = 3
	DefaultPause     = 30 * time.Second
	DefaultTolerance = 10
	DefaultMaxArray  = 1000 // of MaxArraySize 1001, Slurm's default
	DefaultWarning   = 2 * time.Minute
	// submissions is how often sbatch may fail in a row while nothing runs.
	submissions = 5
	// farewell is how long cancelled jobs may take to leave the queue.
	farewell = 45 * time.Second
)

// Dispatcher trains trials as jobs.
type Dispatcher struct {
	Dir     string   // shared with the nodes, absolute
	Name    string   // of the jobs; nobody else's jobs may begin with it
	Command []string // of the worker; --tasks, --index and --results are added
	Env     []string // of the worker, NAME=VALUE

	Resources
	MaxJobs      int // that run at a time; 0 for no limit
	MaxArray     int // tasks of one array job; 0 means DefaultMaxArray
	TrialsPerJob int // 0 means 1

	// Attempts is how often a trial is tried before it has failed, Pause the time
	// before it is tried again, doubled each time. Until something has gone well,
	// Tolerance failures stop everything. A job that is silent for Silence is
	// cancelled. Settle is how long results may take to be seen by the coordinator
	// when a job is gone. Warning is how long before its time limit a job is told.
	// 0 means the default.
	Attempts, Tolerance                   int
	Pause, Silence, Settle, Warning, Poll time.Duration

	// Log, if not nil, is told what people may want to know.
	Log func(message string, args ...any)
	// Exec runs a command and returns its output; nil means os/exec.
	Exec func(ctx context.Context, name string, args ...string) (string, error)
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// task is a line of tasks.jsonl.
type task struct {
	Trials []item `json:"trials"`
}

type item struct {
	Request trainer.Request `json:"request"`
	Result  string          `json:"result"` // stem of the files with results
}

// batch is an array job.
type batch struct {
	number   int
	job      string // number, "" if it is not known
	tasks    []*arrayTask
	throttle int
}

// arrayTask is one task of a batch.
type arrayTask struct {
	batch  *batch
	index  int
	trials []*trial
	active bool      // in the queue when it was last looked at
	gone   time.Time // since when it was not
	judged bool
	heard  time.Time // when its files last grew, or it began to run
	state  string
}

// trial is what is known of a trial.
type trial struct {
	request  trainer.Request
	stem     string
	files    map[string]*file
	epochs   int // known to the sink
	ended    bool
	task     *arrayTask // that has it now; nil for none
	attempts int        // that failed
	notYet   time.Time  // before which it is not submitted again
	reached  int        // epochs when its last task was over
}

// file is a result.
type file struct {
	job         string
	index       int
	offset      int64
	curve       trainer.Curve
	said        bool   // that somebody works on it
	problem     string // why it is not read any more, or what the worker says
	broken      bool   // it is not read any more
	interrupted bool
}

// run is one call of Run.
type run struct {
	*Dispatcher
	sink     dispatch.Sink
	trials   []*trial
	byStem   map[string]*trial
	batches  []*batch
	suspects []trainer.End
	went     bool
	refused  int       // submissions in a row
	notYet   time.Time // before which nothing is submitted
}

// stem is the name of a trial in files: readable, and nobody else's.
func stem(id string) string {
	sum := sha256.Sum256([]byte(id))
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, id)
	if len(clean) > 60 {
		clean = clean[:60]
	}
	return clean + "-" + hex.EncodeToString(sum[:4])
}

// Run submits what has not ended and returns when everything has. If ctx is done
// it cancels the jobs; a coordinator that dies without a word leaves them alone.
func (d *Dispatcher) Run(ctx context.Context, tasks []dispatch.Task, sink dispatch.Sink) error {
	r := &run{Dispatcher: d, sink: sink, byStem: make(map[string]*trial)}
	for _, t := range tasks {
		one := &trial{request: t.Request, stem: stem(t.Request.Trial), files: make(map[string]*file), epochs: t.Known, reached: t.Known}
		r.trials = append(r.trials, one)
		r.byStem[one.stem] = one
		r.went = r.went || t.Known > 0
	}
	for _, sub := range []string{"batches", "results", "logs"} {
		if err := os.MkdirAll(filepath.Join(d.Dir, sub), 0o777); err != nil {
			return err
		}
	}
	if err := r.remember(); err != nil {
		return err
	}
	err := r.loop(ctx)
	if err != nil {
		r.cancelAll(context.WithoutCancel(ctx))
	}
	return err
}

func (r *run) loop(ctx context.Context) error {
	for {
		// The queue is looked at before the results: a job that is gone then has
		// written everything that is read afterwards, but for the file system.
		known := r.look(ctx)
		if err := r.read(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if known {
			if err := r.judge(); err != nil {
				return err
			}
		}
		if r.allEnded() {
			return r.finish()
		}
		if known {
			if err := r.submit(ctx); err != nil {
				return err
			}
		}
		select {
		case <-time.After(or(r.Poll, DefaultPoll)):
		case <-ctx.Done():
		}
	}
}

func (r *run) allEnded() bool {
	return !slices.ContainsFunc(r.trials, func(t *trial) bool { return !t.ended })
}

// remember reads the batches that were submitted before.
func (r *run) remember() error {
	entries, err := os.ReadDir(filepath.Join(r.Dir, "batches"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		number, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b := &batch{number: number}
		data, err := os.ReadFile(filepath.Join(r.folder(b), "tasks.jsonl"))
		if errors.Is(err, fs.ErrNotExist) {
			r.batches = append(r.batches, b) // its number is taken
			continue
		}
		if err != nil {
			return err
		}
		for line := range bytes.Lines(data) {
			var t task
			if err := json.Unmarshal(line, &t); err != nil {
				return fmt.Errorf("%s: task %d: %w", r.folder(b), len(b.tasks), err)
			}
			a := &arrayTask{batch: b, index: len(b.tasks)}
			for _, i := range t.Trials {
				if one := r.byStem[i.Result]; one != nil {
					a.trials = append(a.trials, one)
					one.task = a
				}
			}
			b.tasks = append(b.tasks, a)
		}
		b.throttle = len(b.tasks)
		if r.MaxJobs > 0 {
			b.throttle = min(b.throttle, r.MaxJobs)
		}
		job, err := os.ReadFile(filepath.Join(r.folder(b), "job"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		b.job = strings.TrimSpace(string(job))
		r.batches = append(r.batches, b)
	}
	return nil
}

func (r *run) folder(b *batch) string {
	return filepath.Join(r.Dir, "batches", fmt.Sprintf("%04d", b.number))
}

func (r *run) jobName(b *batch) string { return fmt.Sprintf("%s-%04d", r.Name, b.number) }

func (r *run) log(message string, args ...any) {
	if r.Log != nil {
		r.Log(message, args...)
	}
}

// command runs one of Slurm's.
func (r *run) command(ctx context.Context, name string, args ...string) (string, error) {
	if r.Exec != nil {
		return r.Exec(ctx, name, args...)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var words bytes.Buffer
	cmd.Stderr = &words
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", name, err, strings.Join(strings.Fields(words.String()), " "))
	}
	return string(out), err
}

// over are the states in which a job does nothing any more.
var over = map[string]bool{
	"COMPLETED": true, "FAILED": true, "CANCELLED": true, "TIMEOUT": true, "NODE_FAIL": true, "PREEMPTED": true,
	"BOOT_FAIL": true, "DEADLINE": true, "OUT_OF_MEMORY": true, "REVOKED": true,
}

// look asks the queue which tasks are there. Where the queue gives no answer
// nothing is known, and nothing is concluded.
func (r *run) look(ctx context.Context) bool {
	if !slices.ContainsFunc(r.batches, func(b *batch) bool { return len(b.tasks) > 0 }) {
		return true
	}
	out, err := r.command(ctx, "squeue", "--noheader", "--array", "--user", strconv.Itoa(os.Getuid()), "--format", "%F|%K|%T|%j|%r")
	if err != nil {
		if ctx.Err() == nil {
			r.log("the queue gives no answer", "err", err)
		}
		return false
	}
	type place struct {
		name  string
		index int
	}
	states := make(map[place][2]string)
	jobs := make(map[string]string)
	for line := range strings.Lines(out) {
		f := strings.SplitN(strings.TrimSpace(line), "|", 5)
		if len(f) < 5 {
			continue
		}
		index, err := strconv.Atoi(f[1])
		if err != nil || over[f[2]] {
			continue
		}
		states[place{f[3], index}] = [2]string{f[2], f[4]}
		jobs[f[3]] = f[0]
	}
	now := time.Now()
	for _, b := range r.batches {
		if job := jobs[r.jobName(b)]; job != "" && b.job == "" {
			b.job = job
			r.writeJob(b)
		}
		for _, a := range b.tasks {
			s, there := states[place{r.jobName(b), a.index}]
			switch {
			case there && (!a.active || a.state != s[0]):
				a.heard = now
			case !there && (a.active || a.gone.IsZero()):
				a.gone = now
			}
			a.active, a.state = there, s[0]
			if !there {
				continue
			}
			a.gone, a.judged = time.Time{}, false
			why := ""
			switch {
			case strings.Contains(s[1], "launch failed"): // and held for ever
				why = "Slurm holds it: " + s[1]
			case s[0] == "RUNNING" && now.Sub(a.heard) > or(r.Silence, DefaultSilence):
				why = fmt.Sprintf("silent for %s", or(r.Silence, DefaultSilence))
			}
			if why != "" {
				r.log("a job is cancelled", "job", fmt.Sprintf("%s_%d", b.job, a.index), "reason", why)
				for _, t := range a.trials {
					for _, f := range t.files {
						if f.job == b.job && f.index == a.index && f.problem == "" {
							f.problem = why
						}
					}
				}
				if _, err := r.command(ctx, "scancel", fmt.Sprintf("%s_%d", b.job, a.index)); err != nil {
					r.log("scancel failed", "err", err)
				}
			}
		}
	}
	return true
}

func (r *run) writeJob(b *batch) {
	err := atomicfile.Write(filepath.Join(r.folder(b), "job"), func(w io.Writer) error {
		_, err := fmt.Fprintln(w, b.job)
		return err
	})
	if err != nil {
		r.log("the number of a job could not be noted; the queue knows it", "job", b.job, "err", err)
	}
}

// read takes in what the results have grown by.
func (r *run) read() error {
	entries, err := os.ReadDir(filepath.Join(r.Dir, "results"))
	if err != nil {
		r.log("the results cannot be listed", "err", err)
		return nil
	}
	for _, e := range entries {
		name := e.Name()
		head, rest, ok := strings.Cut(name, ".")
		try, isResult := strings.CutSuffix(rest, ".jsonl")
		t := r.byStem[head]
		if !ok || !isResult || t == nil || t.ended {
			continue
		}
		f := t.files[name]
		if f == nil {
			words := strings.SplitN(try, "-", 3)
			if len(words) < 3 {
				continue
			}
			index, err := strconv.Atoi(words[1])
			if err != nil {
				continue
			}
			f = &file{job: words[0], index: index, curve: trainer.Curve{Trial: t.request.Trial}}
			t.files[name] = f
		}
		if f.broken {
			continue
		}
		if err := r.readFile(t, f, name); err != nil {
			return err
		}
	}
	return nil
}

// readFile takes in whole lines that came since it was read last.
func (r *run) readFile(t *trial, f *file, name string) error {
	data, err := readFrom(filepath.Join(r.Dir, "results", name), f.offset)
	if err != nil {
		r.log("a result cannot be read", "file", name, "err", err)
		return nil
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole == 0 {
		return nil
	}
	f.offset += int64(whole)
	if t.task != nil && t.task.batch.job == f.job && t.task.index == f.index {
		t.task.heard = time.Now()
	}
	for line := range bytes.Lines(data[:whole]) {
		if err := r.take(t, f, bytes.TrimSpace(line)); err != nil {
			var bad *dispatch.BadRecord
			if errors.As(err, &bad) {
				f.broken, f.problem = true, fmt.Sprintf("%s: %v", name, bad.Err)
				r.log("a result is wrong and is left aside", "trial", t.request.Trial, "err", f.problem)
				return nil
			}
			return err
		}
		if t.ended {
			return nil
		}
	}
	return nil
}

// maxRead bounds what is read of a file at once.
const maxRead = 16 << 20

func readFrom(path string, offset int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxRead))
}

// take takes in one message. A *[dispatch.BadRecord] is about the file.
func (r *run) take(t *trial, f *file, line []byte) error {
	m, err := trainer.ParseMessage(line)
	if err == nil {
		err = f.curve.Next(m)
	}
	if err != nil {
		return &dispatch.BadRecord{Err: err}
	}
	if !f.said {
		f.said = true
		if err := r.sink.Start(t.request.Trial, fmt.Sprintf("%s_%d", f.job, f.index)); err != nil {
			return err
		}
	}
	switch m.Type {
	case trainer.TypeRecord:
		err := r.sink.Record(m.Record)
		if errors.Is(err, dispatch.ErrEnded) {
			t.ended = true
			return r.well()
		}
		if err != nil {
			return err
		}
		t.epochs = max(t.epochs, m.Record.Epoch)
	case trainer.TypeEnd:
		t.ended = true
		if err := r.well(); err != nil {
			return err
		}
		return r.sink.End(m.End)
	case trainer.TypeError:
		f.problem = m.Reason
	case trainer.TypeInterrupted:
		f.problem, f.interrupted = m.Reason, true
	}
	return nil
}

// well notes that something has gone well, and tells of the failures before it.
func (r *run) well() error {
	r.went = true
	for _, end := range r.suspects {
		if err := r.sink.End(end); err != nil {
			return err
		}
	}
	r.suspects = nil
	return nil
}

// judge looks at tasks that are gone, and decides about their trials.
func (r *run) judge() error {
	now := time.Now()
	for _, b := range r.batches {
		for _, a := range b.tasks {
			if a.active || a.judged || now.Sub(a.gone) < or(r.Settle, DefaultSettle) {
				continue
			}
			a.judged = true
			if err := r.judgeTask(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// judgeTask blames each trial that was begun and has no end. A trial that was
// not begun is to blame if nothing else is: then the job could not even start.
func (r *run) judgeTask(a *arrayTask) error {
	blamed := false
	var idle []*trial
	for _, t := range a.trials {
		if t.task != a {
			continue
		}
		t.task = nil
		if t.ended {
			continue
		}
		f := t.of(a)
		switch {
		case f == nil:
			idle = append(idle, t)
		case f.interrupted && t.epochs > t.reached:
			r.log("a trial was interrupted and is submitted again", "trial", t.request.Trial, "epoch", t.epochs, "reason", f.problem)
			blamed = true
		default:
			blamed = true
			reason := f.problem
			if f.interrupted {
				reason += "; no epoch ended in the time of a job"
			}
			if err := r.blame(t, a, reason); err != nil {
				return err
			}
		}
		t.reached = t.epochs
	}
	if len(idle) > 0 && !blamed && a.batch.job != "" {
		return r.blame(idle[0], a, "")
	}
	return nil
}

// of returns the last result of a task.
func (t *trial) of(a *arrayTask) *file {
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(t.files))) {
		if f := t.files[name]; f.job == a.batch.job && f.index == a.index {
			return f
		}
	}
	return nil
}

// blame counts a failed attempt of a trial.
func (r *run) blame(t *trial, a *arrayTask, reason string) error {
	if reason == "" {
		reason = "the job ended without a result"
		if words := r.lastWords(a); words != "" {
			reason += ": " + words
		}
	}
	t.attempts++
	r.log("training broke off", "trial", t.request.Trial, "attempt", t.attempts, "reason", reason)
	if t.attempts < or(r.Attempts, DefaultAttempts) {
		t.notYet = time.Now().Add(or(r.Pause, DefaultPause) << (t.attempts - 1))
		return nil
	}
	t.ended = true
	end := trainer.Failed(t.request.Trial, fmt.Sprintf("%d attempts; the last: %s", t.attempts, reason))
	if r.went {
		return r.sink.End(end)
	}
	r.suspects = append(r.suspects, end)
	if len(r.suspects) >= or(r.Tolerance, DefaultTolerance) {
		return fmt.Errorf("%d trials failed and none went well; the last: %s", len(r.suspects), reason)
	}
	return nil
}

// lastWords is the end of a job's log.
func (r *run) lastWords(a *arrayTask) string {
	data, err := os.ReadFile(filepath.Join(r.Dir, "logs", fmt.Sprintf("%s_%d.log", a.batch.job, a.index)))
	if err != nil {
		return ""
	}
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(data[max(0, len(data)-1500):]), "?")), " ")
	return strings.ToValidUTF8(text[max(0, len(text)-500):], "")
}

// finish tells of failures that were kept, unless nothing went well at all.
func (r *run) finish() error {
	if len(r.suspects) > 0 && !r.went {
		return fmt.Errorf("no trial went well; %q failed with: %s", r.suspects[0].Trial, r.suspects[0].Reason)
	}
	return r.well()
}

// free is how many more jobs may run.
func (r *run) free() int {
	if r.MaxJobs == 0 {
		return or(r.MaxArray, DefaultMaxArray)
	}
	n := r.MaxJobs
	for _, b := range r.batches {
		active := 0
		for _, a := range b.tasks {
			// A task that is gone for a moment only holds its place.
			if a.active || !a.judged && len(a.trials) > 0 {
				active++
			}
		}
		n -= min(active, b.throttle)
	}
	return n
}

// submit submits trials that no task has.
func (r *run) submit(ctx context.Context) error {
	now := time.Now()
	if now.Before(r.notYet) {
		return nil
	}
	for {
		var waiting []*trial
		for _, t := range r.trials {
			if !t.ended && t.task == nil && !now.Before(t.notYet) {
				waiting = append(waiting, t)
			}
		}
		free := r.free()
		if len(waiting) == 0 || free <= 0 {
			return nil
		}
		per := or(r.TrialsPerJob, 1)
		waiting = waiting[:min(len(waiting), per*or(r.MaxArray, DefaultMaxArray))]
		b := &batch{number: 1, throttle: free}
		if n := len(r.batches); n > 0 {
			b.number = r.batches[n-1].number + 1
		}
		for group := range slices.Chunk(waiting, per) {
			b.tasks = append(b.tasks, &arrayTask{batch: b, index: len(b.tasks), trials: group, active: true, heard: now})
		}
		if err := r.write(b); err != nil {
			return err
		}
		out, err := r.command(ctx, "sbatch", "--parsable", filepath.Join(r.folder(b), "job.sh"))
		if err != nil {
			return r.refuse(ctx, b, err)
		}
		r.refused = 0
		b.job, _, _ = strings.Cut(strings.TrimSpace(out), ";")
		r.writeJob(b)
		r.batches = append(r.batches, b)
		for _, a := range b.tasks {
			for _, t := range a.trials {
				t.task = a
			}
		}
		r.log("submitted", "job", b.job, "tasks", len(b.tasks), "trials", len(waiting))
	}
}

// refuse deals with a batch that was not taken: it is tried again, but not for
// ever if nothing else runs.
func (r *run) refuse(ctx context.Context, b *batch, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// sbatch may have failed after the controller had the job. The batch keeps
	// its number, and its trials wait until the queue has settled.
	r.batches = append(r.batches, b)
	for _, a := range b.tasks {
		a.active = false
		for _, t := range a.trials {
			t.task = a
		}
	}
	r.refused++
	r.notYet = time.Now().Add(or(r.Pause, DefaultPause) << min(r.refused-1, 6))
	r.log("sbatch failed", "err", err, "time", r.refused)
	busy := slices.ContainsFunc(r.batches, func(b *batch) bool {
		return slices.ContainsFunc(b.tasks, func(a *arrayTask) bool { return a.active })
	})
	if r.refused >= submissions && !busy {
		return fmt.Errorf("%d submissions failed: %w", r.refused, err)
	}
	return nil
}

// write writes what a batch is made of.
func (r *run) write(b *batch) error {
	if err := os.MkdirAll(r.folder(b), 0o777); err != nil {
		return err
	}
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, a := range b.tasks {
		var t task
		for _, one := range a.trials {
			t.Trials = append(t.Trials, item{one.request, one.stem})
		}
		if err := enc.Encode(t); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"tasks.jsonl": lines.String(), "job.sh": r.script(b)} {
		err := atomicfile.Write(filepath.Join(r.folder(b), name), func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// quote makes one word of the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// script is what is submitted.
func (r *run) script(b *batch) string {
	var s strings.Builder
	option := func(format string, args ...any) { fmt.Fprintf(&s, "#SBATCH "+format+"\n", args...) }
	s.WriteString("#!/bin/bash\n")
	option("--job-name=%s", r.jobName(b))
	array := fmt.Sprintf("0-%d", len(b.tasks)-1)
	if r.MaxJobs > 0 {
		array += fmt.Sprintf("%%%d", b.throttle)
	}
	option("--array=%s", array)
	option("--output=%s", filepath.Join(r.Dir, "logs", "%A_%a.log"))
	option("--open-mode=append")
	option("--requeue")
	option("--nodes=1")
	option("--ntasks=1")
	for _, o := range r.options("B:USR1", or(r.Warning, DefaultWarning)) {
		option("%s", o)
	}
	s.WriteString("\n")
	for _, e := range r.Env {
		name, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&s, "export %s=%s\n", name, quote(value))
	}
	s.WriteString(`# A signal is passed on: the worker keeps what it has, and leaves.
trap 'kill -USR1 "$worker" 2>/dev/null' USR1
trap 'kill -TERM "$worker" 2>/dev/null' TERM
`)
	for _, c := range r.Command {
		s.WriteString(quote(c) + " ")
	}
	fmt.Fprintf(&s, "--tasks %s --index \"$SLURM_ARRAY_TASK_ID\" --results %s &\n", quote(filepath.Join(r.folder(b), "tasks.jsonl")), quote(filepath.Join(r.Dir, "results")))
	s.WriteString(`worker=$!
# wait also returns when a signal comes.
while wait "$worker" 2>/dev/null; status=$?; [ "$status" -gt 128 ] && kill -0 "$worker" 2>/dev/null; do :; done
[ "$status" = 0 ] || echo "the worker ended with status $status" >&2
exit "$status"
`)
	return s.String()
}

// cancelAll cancels every job that may be there, and waits until they are gone.
func (r *run) cancelAll(ctx context.Context) {
	r.look(ctx)
	args := make([]string, 0, len(r.batches))
	for _, b := range r.batches {
		if b.job != "" && slices.ContainsFunc(b.tasks, func(a *arrayTask) bool { return a.active }) {
			args = append(args, b.job)
		}
	}
	if len(args) == 0 {
		return
	}
	r.log("jobs are cancelled", "jobs", strings.Join(args, " "))
	if _, err := r.command(ctx, "scancel", args...); err != nil {
		r.log("scancel failed", "err", err)
		return
	}
	pause := min(or(r.Poll, DefaultPoll), time.Second)
	for deadline := time.Now().Add(farewell); time.Now().Before(deadline); time.Sleep(pause) {
		known := r.look(ctx)
		if known && !slices.ContainsFunc(r.batches, func(b *batch) bool {
			return slices.ContainsFunc(b.tasks, func(a *arrayTask) bool { return a.active })
		}) {
			break
		}
	}
	if err := r.read(); err != nil {
		r.log("the last results could not be kept", "err", err)
	}
}
