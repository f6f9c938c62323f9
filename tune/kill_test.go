//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"quicktune/internal/stream"
	"quicktune/tune/report"
	"quicktune/tune/session"
)

// A process that is killed leaves a run that goes on by the same command, and
// the clock never counts a second twice.
func TestARunThatIsKilledTenTimesEndsWithAValidResult(t *testing.T) {
	data, out := folder(t, 20, "a", "b", "c"), filepath.Join(t.TempDir(), "run")
	const budget = 6.0
	args := []string{"--data", data, "--out", out, "--budget", fmt.Sprint(budget, "s"), "--method", "asha", "--models", "plain_xs,separable_xs,mixer_xs",
		"--candidates", "3000", "--workers", "2"}
	rng := stream.New("tune/test/kills", 1)
	var alive time.Duration
	process := func(limit time.Duration) (stderr string, err error) {
		c := exec.Command(os.Args[0], args...)
		c.Env = append(os.Environ(), asTune+"=1")
		var log bytes.Buffer
		c.Stderr = &log
		began := time.Now()
		defer func() { alive += time.Since(began) }()
		must(t, c.Start())
		if limit > 0 {
			time.AfterFunc(limit, func() { _ = c.Process.Kill() })
		}
		err = c.Wait()
		return log.String(), err
	}
	kills := 0
	for kills < 10 {
		log, err := process(time.Duration(100+rng.IntN(500)) * time.Millisecond)
		if err == nil {
			break // a machine so slow to kill that the run is over
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("after %d kills: %v\n%s", kills, err, log)
		}
		kills++
	}
	if log, err := process(0); err != nil {
		t.Fatalf("after %d kills: %v\n%s", kills, err, log)
	}
	in, err := report.ReadIncumbent(filepath.Join(out, report.IncumbentFile))
	must(t, err)
	// An epoch in flight and the start of a process that finds its budget used up
	// are what may come on top.
	if in.Used < budget-1e-6 || in.Used > budget+2 {
		t.Errorf("%g s of %g were used", in.Used, budget)
	}
	if in.Used > alive.Seconds() {
		t.Errorf("%g s were counted, but the processes lived for %g", in.Used, alive.Seconds())
	}
	rows, err := parquet.ReadFile[report.Row](filepath.Join(out, report.HistoryFile))
	must(t, err)
	epochs := make(map[string]bool)
	for _, r := range rows {
		key := fmt.Sprint(r.Trial, " ", r.Epoch)
		if epochs[key] || r.Clock > in.Used {
			t.Errorf("epoch %d of trial %d at %g s", r.Epoch, r.Trial, r.Clock)
		}
		epochs[key] = true
	}
	again := filepath.Join(t.TempDir(), "again")
	_, _, err = tune(t, "train", "--from", filepath.Join(out, report.IncumbentFile), "--out", again)
	must(t, err)
	first, err := os.ReadFile(filepath.Join(out, session.ModelFile))
	must(t, err)
	second, err := os.ReadFile(filepath.Join(again, session.ModelFile))
	must(t, err)
	if !bytes.Equal(first, second) {
		t.Error("the network is not the one that its pipeline gives")
	}
}

func TestAnInterruptTellsHowToGoOn(t *testing.T) {
	data, out := folder(t, 20, "a", "b"), filepath.Join(t.TempDir(), "run")
	c := exec.Command(os.Args[0], "--data", data, "--out", out, "--budget", "10m", "--method", "asha", "--models", "plain_xs", "--candidates", "5", "--workers", "1")
	c.Env = append(os.Environ(), asTune+"=1")
	var log bytes.Buffer
	c.Stderr = &log
	must(t, c.Start())
	for range 600 {
		if exists(filepath.Join(out, report.IncumbentFile)) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	must(t, c.Process.Signal(os.Interrupt))
	err := c.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("the process ended with %v", err)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "tune: interrupted after ") || !strings.HasSuffix(last, "go run ./tune --resume "+out) {
		t.Errorf("the last line is %q", last)
	}
}

func TestADamagedCheckpointTellsHowToGetTheNetwork(t *testing.T) {
	data, out := folder(t, 20, "a", "b"), filepath.Join(t.TempDir(), "run")
	_, _, err := tune(t, "--data", data, "--out", out, "--budget", "100ms", "--clock", "counted", "--method", "asha", "--models", "plain_xs", "--candidates", "3")
	must(t, err)
	want, err := os.ReadFile(filepath.Join(out, session.ModelFile))
	must(t, err)
	in, err := report.ReadIncumbent(filepath.Join(out, report.IncumbentFile))
	must(t, err)
	checkpoint := filepath.Join(out, in.Checkpoint, "checkpoint.bin")
	info, err := os.Stat(checkpoint)
	must(t, err)
	must(t, os.Truncate(checkpoint, info.Size()/2))
	_, _, err = tune(t, "--resume", out)
	if err == nil {
		t.Fatal("half a checkpoint is no damage")
	}
	again := filepath.Join(t.TempDir(), "again")
	_, command, _ := strings.Cut(err.Error(), "can be repeated: go run ./tune ")
	_, _, err = tune(t, strings.Fields(strings.Replace(command, "--out again", "--out "+again, 1))...)
	must(t, err)
	got, err := os.ReadFile(filepath.Join(again, session.ModelFile))
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the network is not the one that was found")
	}
}
