//go:build unix

package timm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"quicktune/generate/dispatch"
	"quicktune/generate/sweep/sweeptest"
	"quicktune/generate/trainer"
	"quicktune/metadataset"
	"quicktune/space"
)

// The test binary is its own worker: with this variable it speaks the protocol,
// and misbehaves as the name of the trial says.
const fakeWorker = "QUICKTUNE_FAKE_WORKER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(fakeWorker); mode != "" {
		fake(mode)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// over are the kinds of trials that misbehave by ending early.
var over = map[string]bool{"stopped": true, "memory": true, "errs": true}

func fake(mode string) {
	switch mode {
	case "unfit":
		fmt.Println(`{"type":"unfit","reason":"timm not installed: python -m pip install timm"}`)
		os.Exit(1)
	case "stillborn":
		fmt.Fprintln(os.Stderr, "ImportError: libcudart.so.11")
		os.Exit(1)
	case "mute":
		time.Sleep(time.Hour)
	}
	enc := trainer.NewEncoder(os.Stdout)
	say := func(text string) { fmt.Println(text) }
	say(`{"type":"hello","protocol":1}`)
	requests, cancelled := make(chan trainer.Request), make(chan string, 8)
	go func() {
		s := bufio.NewScanner(os.Stdin)
		for s.Scan() {
			var m struct{ Type, Trial string }
			_ = json.Unmarshal(s.Bytes(), &m)
			if m.Type == "cancel" {
				cancelled <- m.Trial
				continue
			}
			r, err := trainer.DecodeRequest(s.Bytes())
			if err != nil {
				panic(err)
			}
			requests <- r
		}
		close(requests)
	}()
	for r := range requests {
		first := remember(mode, r.Trial)
		kind, _, _ := strings.Cut(r.Trial, "-")
		if kind == "once" && !first {
			kind = "good"
		}
		for e := 1; e <= r.Epochs; e++ {
			if e == 2 {
				misbehave(kind, r.Trial, say, cancelled)
			}
			if over[kind] && e == 2 {
				break
			}
			_ = enc.Record(sweeptest.Curve(r, e))
		}
		if !over[kind] {
			_ = enc.End(trainer.End{Trial: r.Trial, End: metadataset.EndCompleted})
		}
	}
}

// remember notes that a trial came, and reports whether it was the first time.
func remember(dir, trial string) bool {
	f, err := os.OpenFile(filepath.Join(dir, trial), os.O_CREATE|os.O_EXCL, 0o666)
	if err == nil {
		f.Close()
	}
	return err == nil
}

func misbehave(kind, trial string, say func(string), cancelled chan string) {
	switch kind {
	case "crash", "once":
		fmt.Fprintln(os.Stderr, "Traceback (most recent call last):\nRuntimeError: CUDA error: device-side assert triggered")
		os.Exit(7)
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		time.Sleep(time.Hour)
	case "hang":
		time.Sleep(time.Hour)
	case "garbage":
		say("Epoch 2: 100%|####| 12/12")
	case "endless":
		fmt.Print(strings.Repeat("x", 2*maxLine))
		time.Sleep(time.Hour)
	case "stranger":
		say(`{"type":"record","trial":"another","epoch":2,"train_seconds":1,"eval_seconds":1}`)
	case "gap":
		say(fmt.Sprintf(`{"type":"record","trial":%q,"epoch":5,"train_seconds":1,"eval_seconds":1}`, trial))
	case "impossible":
		say(fmt.Sprintf(`{"type":"record","trial":%q,"epoch":2,"val_accuracy":1.5}`, trial))
	case "memory":
		say(fmt.Sprintf(`{"type":"end","trial":%q,"end":"out-of-memory","reason":"CUDA out of memory","memory_peak":11000000000}`, trial))
	case "errs":
		say(fmt.Sprintf(`{"type":"error","trial":%q,"reason":"no weights of dla46x_c"}`, trial))
	case "beats":
		for range 20 {
			say(fmt.Sprintf(`{"type":"heartbeat","trial":%q,"doing":"epoch 2, batch 1 of 9"}`, trial))
			time.Sleep(30 * time.Millisecond)
		}
	case "child":
		c := exec.Command("sleep", "1000")
		if err := c.Start(); err != nil {
			panic(err)
		}
		_ = os.WriteFile(os.Getenv("CHILD_PID"), []byte(strconv.Itoa(c.Process.Pid)), 0o666)
		time.Sleep(time.Hour)
	case "stopped":
		for t := range cancelled {
			if t == trial {
				say(fmt.Sprintf(`{"type":"error","trial":%q,"reason":"stopped: cancelled"}`, trial))
				return
			}
		}
	case "deaf":
		time.Sleep(time.Hour)
	}
}

func worker(t *testing.T) *Worker {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &Worker{
		Command: []string{self}, Env: []string{fakeWorker + "=" + t.TempDir()},
		Silence: 3 * time.Second, Grace: 150 * time.Millisecond, Startup: 20 * time.Second, Pause: time.Millisecond,
	}
	t.Cleanup(w.Close)
	return w
}

func request(trial string) trainer.Request {
	return trainer.Request{Trial: trial, Model: "small", Dataset: "d", Epochs: 3, Seed: 4, Config: map[string]space.Value{"lr": space.Float(0.01)}}
}

func TestAWorkerTrainsOneTrialAfterTheOther(t *testing.T) {
	w := worker(t)
	for _, name := range []string{"good-1", "beats-1", "good-2"} {
		var got []trainer.Record
		end, err := w.Train(t.Context(), request(name), func(r trainer.Record) error {
			got = append(got, r)
			return nil
		})
		if err != nil || end.End != metadataset.EndCompleted || len(got) != 3 || got[2] != sweeptest.Curve(request(name), 3) {
			t.Errorf("%s: %v, %v, %d records", name, end, err, len(got))
		}
	}
}

func TestWhatATrialDoesToItsWorkerIsAnErrorOfTheTrial(t *testing.T) {
	for kind, want := range map[string]string{
		"crash":      "died after epoch 1: exit status 7: Traceback (most recent call last): RuntimeError: CUDA error: device-side assert triggered",
		"killed":     "died after epoch 1: signal: killed",
		"hang":       "silent for 300ms",
		"garbage":    "not a message",
		"endless":    "not a message",
		"stranger":   `message of trial "another" instead of "stranger-1"`,
		"gap":        "epoch 5 after epoch 1",
		"impossible": "val_accuracy is 1.5, beyond its range",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := worker(t)
			if kind == "hang" {
				w.Silence = 300 * time.Millisecond
			}
			_, err := w.Train(t.Context(), request(kind+"-1"), func(trainer.Record) error { return nil })
			if !errors.As(err, new(*dispatch.TrialError)) || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want a TrialError with %q", err, want)
			}
			w.Silence = 0
			end, err := w.Train(t.Context(), request("good-1"), func(trainer.Record) error { return nil })
			if err != nil || end.End != metadataset.EndCompleted {
				t.Errorf("the next trial: %v, %v", end, err)
			}
		})
	}
}

func TestEndsOfTheWorkerAreEndsOfTheTrial(t *testing.T) {
	w := worker(t)
	end, err := w.Train(t.Context(), request("memory-1"), func(trainer.Record) error { return nil })
	if err != nil || end.End != metadataset.EndOutOfMemory || end.Reason != "CUDA out of memory" {
		t.Errorf("%v, %v", end, err)
	}
	w = worker(t)
	_, err = w.Train(t.Context(), request("errs-1"), func(trainer.Record) error { return nil })
	if err == nil || errors.As(err, new(*dispatch.TrialError)) || err.Error() != "no weights of dla46x_c" {
		t.Errorf("%v", err)
	}
}

func TestAWorkerThatCannotStartIsLost(t *testing.T) {
	for mode, want := range map[string]string{
		"unfit":     "timm not installed: python -m pip install timm",
		"stillborn": "the worker ended before it was ready: exit status 1: ImportError: libcudart.so.11",
		"mute":      "was not ready after 300ms",
	} {
		w := worker(t)
		w.Env = []string{fakeWorker + "=" + mode}
		if mode == "mute" {
			w.Startup = 300 * time.Millisecond
		}
		w.Starts = 2
		_, err := w.Train(t.Context(), request("good-1"), nil)
		if !errors.As(err, new(*dispatch.WorkerError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", mode, err)
		}
	}
	w := worker(t)
	w.Command = []string{"/nowhere/python"}
	if _, err := w.Train(t.Context(), request("good-1"), nil); !errors.As(err, new(*dispatch.WorkerError)) {
		t.Errorf("%v", err)
	}
}

func TestACancelledTrialStopsWithinTheGracePeriod(t *testing.T) {
	for _, kind := range []string{"stopped", "deaf"} {
		w := worker(t)
		w.Silence = time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		_, err := w.Train(ctx, request(kind+"-1"), func(trainer.Record) error { cancel(); return nil })
		if !errors.Is(err, context.Canceled) || time.Since(start) > 10*time.Second {
			t.Errorf("%s: %v after %s", kind, err, time.Since(start))
		}
		if alive := w.process != nil; alive != (kind == "stopped") {
			t.Errorf("%s: the process is there: %v", kind, alive)
		}
		if end, err := w.Train(t.Context(), request("good-1"), func(trainer.Record) error { return nil }); err != nil || end.End != metadataset.EndCompleted {
			t.Errorf("%s: the next trial: %v, %v", kind, end, err)
		}
	}
}

func TestARefusedRecordStopsTheTrial(t *testing.T) {
	w := worker(t)
	w.Silence = time.Hour
	refusal := errors.New("known already")
	if _, err := w.Train(t.Context(), request("stopped-1"), func(trainer.Record) error { return refusal }); !errors.Is(err, refusal) {
		t.Errorf("%v", err)
	}
}

func TestWhatAWorkerStartedDiesWithIt(t *testing.T) {
	w := worker(t)
	file := filepath.Join(t.TempDir(), "pid")
	w.Env = append(w.Env, "CHILD_PID="+file)
	_, _ = w.Train(t.Context(), request("child-1"), func(trainer.Record) error { return nil })
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(string(data))
	for range 200 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d lives", pid)
}

// book is a sink that remembers.
type book struct {
	mu     sync.Mutex
	epochs map[string]int
	ends   map[string]trainer.End
	starts map[string]int
}

func (b *book) Start(trial, _ string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.starts[trial]++
	return nil
}

func (b *book) Record(r trainer.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.epochs[r.Trial] = max(b.epochs[r.Trial], r.Epoch)
	return nil
}

func (b *book) End(e trainer.End) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends[e.Trial] = e
	return nil
}

func TestNoFailureStopsTheSweep(t *testing.T) {
	b := &book{epochs: make(map[string]int), ends: make(map[string]trainer.End), starts: make(map[string]int)}
	// Which trials come to their end first is chance: bad ones may fail one after
	// the other before a good one has ended.
	l := &dispatch.Local{Pause: time.Millisecond, Tolerance: 100, Log: func(trial string, err error) { t.Logf("%s: %.80v", trial, err) }}
	for i := range 2 {
		l.Workers = append(l.Workers, dispatch.Worker{Name: fmt.Sprint(i), Trainer: worker(t)})
	}
	// The third of the workers never begins.
	bad := worker(t)
	bad.Env = []string{fakeWorker + "=unfit"}
	l.Workers = append(l.Workers, dispatch.Worker{Name: "2", Trainer: bad})
	var tasks []dispatch.Task
	kinds := []string{"good", "crash", "hang", "garbage", "stranger", "gap", "impossible", "memory", "once", "good", "crash", "crash", "crash", "crash", "crash", "good"}
	for i, k := range kinds {
		tasks = append(tasks, dispatch.Task{Request: request(fmt.Sprintf("%s-%d", k, i))})
	}
	if err := l.Run(t.Context(), tasks, b); err != nil {
		t.Fatal(err)
	}
	for i, k := range kinds {
		id := fmt.Sprintf("%s-%d", k, i)
		end, starts := b.ends[id], b.starts[id]
		switch {
		case k == "good" && (end.End != metadataset.EndCompleted || b.epochs[id] != 3):
			t.Errorf("%s: %v after %d epochs", id, end, b.epochs[id])
		case k == "once" && end.End != metadataset.EndCompleted:
			t.Errorf("%s: %v", id, end)
		case k == "memory" && end.End != metadataset.EndOutOfMemory:
			t.Errorf("%s: %v", id, end)
		case k != "good" && k != "once" && k != "memory" && (end.End != metadataset.EndFailed || end.Reason == "" || b.epochs[id] != 1):
			t.Errorf("%s: %v after %d epochs", id, end, b.epochs[id])
		case starts > 1+dispatch.DefaultAttempts: // one more if a lost worker had it
			t.Errorf("%s: %d starts", id, starts)
		}
	}
}
