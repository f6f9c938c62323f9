package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quicktune/internal/cli"
	"quicktune/tune/report"
	"quicktune/tune/session"
)

// A live search over timm models, on the CPU and from random weights.
func TestASearchWithTimm(t *testing.T) {
	const name = "QUICKTUNE_TIMM_PYTHON"
	python := os.Getenv(name)
	if python == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(name + " names no Python with torch and timm")
		}
		t.Skip(name + " names no Python with torch and timm")
	}
	data, out := folder(t, 10, "a", "b"), filepath.Join(t.TempDir(), "run")
	// The budget bounds what the machine's other work may cost; the candidates end
	// the search before.
	stdout, stderr, err := tune(t, "--trainer", "timm", "--python", python, "--data", data, "--models", "mobilevit_xxs,edgenext_xx_small",
		"--scratch", "--image-size", "32", "--gpus", "none", "--loader-workers", "0", "--workers", "1", "--method", "asha",
		"--candidates", "3", "--budget", "8m", "--out", out)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	in, err := report.ReadIncumbent(filepath.Join(out, report.IncumbentFile))
	must(t, err)
	files, err := os.ReadDir(filepath.Join(out, in.Checkpoint))
	must(t, err)
	if in.Trainer != session.Timm || in.Validation == nil || in.Test == nil || len(files) == 0 {
		t.Errorf("%+v with %d files", in, len(files))
	}
	if !strings.Contains(stdout, "weights   "+filepath.Join(out, in.Checkpoint)) {
		t.Errorf("printed\n%s", stdout)
	}
	_, _, err = tune(t, "predict", "--model", out, filepath.Join(data, "a", "0.png"))
	if cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), in.Checkpoint) {
		t.Errorf("predict: %v", err)
	}
}

func TestAPythonWithoutTimmIsOneLine(t *testing.T) {
	data := folder(t, 12, "a", "b")
	_, _, err := tune(t, "--trainer", "timm", "--python", filepath.Join(t.TempDir(), "python"), "--data", data, "--method", "asha",
		"--budget", "1m", "--out", filepath.Join(t.TempDir(), "run"))
	if cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), "--python") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}
