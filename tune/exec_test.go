//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"quicktune/internal/cli"
	"quicktune/tune/report"
)

// blocks returns the fenced blocks of a language in a document.
func blocks(t *testing.T, path, language string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	var out []string
	for _, part := range strings.Split(string(text), "```"+language+"\n")[1:] {
		block, _, ok := strings.Cut(part, "```")
		if !ok {
			t.Fatalf("%s: a block that does not end", path)
		}
		out = append(out, block)
	}
	return out
}

// example writes the program and the space of docs/exec.md to a folder.
func example(t *testing.T) (program, space string) {
	t.Helper()
	if _, err := exec.LookPath("awk"); err != nil {
		t.Skipf("the example of docs/exec.md is in sh with awk: %v", err)
	}
	page := filepath.Join("..", "docs", "exec.md")
	programs, spaces := blocks(t, page, "bash"), blocks(t, page, "json")
	dir := t.TempDir()
	program, space = filepath.Join(dir, "train.sh"), filepath.Join(dir, "space.json")
	must(t, os.WriteFile(program, []byte(programs[0]), 0o777))
	must(t, os.WriteFile(space, []byte(spaces[0]), 0o666))
	if n := strings.Count(programs[0], "\n"); n > 20 {
		t.Errorf("the example has %d lines, more than the 20 that the page promises", n)
	}
	return program, space
}

func TestTheExampleOfAnotherProgramRuns(t *testing.T) {
	program, space := example(t)
	for _, method := range []string{"asha", "hyperband"} {
		out := filepath.Join(t.TempDir(), "run")
		stdout, stderr, err := tune(t, "--exec", "sh "+program, "--space", space, "--data", "some text", "--budget", "3s",
			"--method", method, "--candidates", "12", "--workers", "2", "--epochs", "9", "--out", out)
		if err != nil {
			t.Fatalf("%v\n%s", err, stderr)
		}
		in, err := report.ReadIncumbent(filepath.Join(out, report.IncumbentFile))
		must(t, err)
		// The best rate of the example is 0.1.
		lr := in.Config["lr"].Num()
		if in.Validation == nil || in.Validation.Value <= 0 || lr <= 0 || !strings.Contains(stdout, "weights   "+filepath.Join(out, in.Checkpoint)) {
			t.Errorf("%s: %+v\n%s", method, in, stdout)
		}
		saved, err := os.ReadFile(filepath.Join(out, in.Checkpoint, "epoch"))
		if err != nil || strings.TrimSpace(string(saved)) != fmt.Sprint(in.Epoch) {
			t.Errorf("%s: the checkpoint is of epoch %s, the best is %d: %v", method, saved, in.Epoch, err)
		}
	}
}

func TestAProgramThatFailsNowAndThenIsNoObstacle(t *testing.T) {
	program, space := example(t)
	text, err := os.ReadFile(program)
	must(t, err)
	// Every trial with an odd number fails.
	broken := strings.Replace(string(text), "while read -r request; do", `while read -r request; do
	case $request in *'"trial":"t'*[13579]'"'*) echo 'cannot allocate memory' >&2; exit 1;; esac`, 1)
	if broken == string(text) {
		t.Fatal("the example does not read its requests as this test expects")
	}
	must(t, os.WriteFile(program, []byte(broken), 0o777))
	out := filepath.Join(t.TempDir(), "run")
	_, stderr, err := tune(t, "--exec", "sh "+program, "--space", space, "--budget", "3s", "--method", "random-distinct", "--candidates", "8",
		"--workers", "1", "--epochs", "3", "--out", out)
	must(t, err)
	if !strings.Contains(stderr, "cannot allocate memory") {
		t.Errorf("nothing is said of the failures:\n%s", stderr)
	}
	rows, err := parquet.ReadFile[report.Row](filepath.Join(out, report.HistoryFile))
	must(t, err)
	ends := make(map[string]int)
	for _, r := range rows {
		ends[r.End]++
		if r.End == "failed" && !strings.Contains(r.Reason, "cannot allocate memory") {
			t.Errorf("trial %d failed because of %q", r.Trial, r.Reason)
		}
	}
	if ends["failed"] == 0 || ends["completed"] == 0 {
		t.Errorf("ends %v", ends)
	}
}

func TestAProgramThatCannotRunIsOneLine(t *testing.T) {
	_, space := example(t)
	_, _, err := tune(t, "--exec", "no-such-program --at all", "--space", space, "--budget", "20s", "--method", "asha", "--out", filepath.Join(t.TempDir(), "run"))
	if err == nil || cli.ExitCode(err) != cli.ExitFailed || !strings.Contains(err.Error(), "not found") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}

// What the documentation says of the shipped forecasts holds for other programs:
// they know another space.
func TestAProgramWithItsOwnSpaceNeedsAMethodWithoutForecasts(t *testing.T) {
	_, space := example(t)
	_, _, err := tune(t, "--exec", "true", "--space", space, "--budget", "5s", "--method", "quicktune", "--out", filepath.Join(t.TempDir(), "run"))
	if err == nil || cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), "--method asha") {
		t.Errorf("%v", err)
	}
}
