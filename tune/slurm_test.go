//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"quicktune/generate/dispatch/slurm/slurmtest"
	"quicktune/internal/cli"
	"quicktune/tune/report"
)

// queue lists the jobs of the cluster, by node.
func queue(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("squeue", "--noheader", "--states=RUNNING,PENDING", "--format=%N").Output()
	must(t, err)
	return strings.Fields(string(out))
}

// emptied waits until no job is left.
func emptied(t *testing.T, after string) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if left = queue(t); len(left) == 0 {
			return
		}
	}
	t.Errorf("%s: jobs are left on %v", after, left)
}

// Two jobs on three nodes search. A node dies, the search is killed, goes on, is
// interrupted and goes on: no job is left behind, no epoch counts twice, and the
// budget holds.
func TestASearchOnSlurmSurvivesEveryDeath(t *testing.T) {
	python := timmPython(t)
	testbed := slurmtest.Start(t, 3, 1)
	data, out := folder(t, 30, "a", "b", "c"), filepath.Join(t.TempDir(), "run")
	const budget = 120.0
	first, log := process(t, tiny(python, data, out, "--dispatch", "slurm", "--workers", "2", "--job-cpus", "1", "--budget", fmt.Sprint(budget, "s"))...)
	untilBest(t, first, out)
	nodes := queue(t)
	if len(nodes) == 0 {
		t.Fatal("the queue is empty")
	}
	testbed("kill-node", nodes[0])
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		// Another node takes the place of the dead one.
		if now := queue(t); len(now) == 2 && !slices.Contains(now, nodes[0]) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a minute after the death of %s jobs run on %v", nodes[0], queue(t))
		}
	}
	must(t, first.Process.Kill())
	_ = first.Wait()
	if !strings.Contains(log.String(), "waiting for the first of 2 jobs") || !strings.Contains(log.String(), "Node failure on "+nodes[0]) {
		t.Errorf("the search did not tell of its jobs:\n%s", log)
	}
	emptied(t, "killed")

	before := len(read(t, filepath.Join(out, "journal.log")))
	second, _ := process(t, "--resume", out)
	for len(read(t, filepath.Join(out, "journal.log"))) < before+1000 {
		time.Sleep(50 * time.Millisecond)
	}
	must(t, second.Process.Signal(os.Interrupt))
	_ = second.Wait()
	if code := second.ProcessState.ExitCode(); code != cli.ExitInterrupted {
		t.Errorf("interrupted, it ends with %d", code)
	}
	if left := queue(t); len(left) > 0 {
		t.Errorf("interrupted, it leaves jobs on %v", left)
	}

	_, stderr, err := tune(t, "--resume", out)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	emptied(t, "over")
	in, err := report.ReadIncumbent(filepath.Join(out, report.IncumbentFile))
	must(t, err)
	if in.Used < budget-1e-6 || in.Used > budget+20 || in.Test == nil {
		t.Errorf("%+v", in)
	}
	rows, err := parquet.ReadFile[report.Row](filepath.Join(out, report.HistoryFile))
	must(t, err)
	seen := make(map[string]bool)
	for _, r := range rows {
		key := fmt.Sprint(r.Trial, " ", r.Epoch)
		if seen[key] || r.End == "failed" {
			t.Errorf("epoch %d of trial %d, %s: %s", r.Epoch, r.Trial, r.End, r.Reason)
		}
		seen[key] = true
	}
}

func TestJobsThatTheClusterRefusesAreOneLine(t *testing.T) {
	python := timmPython(t)
	slurmtest.Start(t, 1, 1)
	data := folder(t, 12, "a", "b")
	_, _, err := tune(t, tiny(python, data, filepath.Join(t.TempDir(), "run"), "--dispatch", "slurm", "--partition", "nowhere", "--workers", "1", "--budget", "1m")...)
	if cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), "Invalid partition name") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}
