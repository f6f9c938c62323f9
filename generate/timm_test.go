package main

import (
	"archive/zip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"quicktune/internal/cli"
	"quicktune/internal/realdata"
	"quicktune/metadataset"
)

// timmPython is an interpreter with torch and timm. Without one the test is
// skipped, or fails where CI=true says that every test must run.
func timmPython(t *testing.T) string {
	t.Helper()
	const name = "QUICKTUNE_TIMM_PYTHON"
	python := os.Getenv(name)
	if python == "" {
		unable(t, name+" names no Python with torch and timm")
	}
	return python
}

// unable skips a test that cannot run here, or fails it in CI.
func unable(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// signs is an archive with a few real pictures of each of ten hand signs.
func signs(t *testing.T, each int) string {
	t.Helper()
	from, err := zip.OpenReader(realdata.Path(t, "images", "sign_digits.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	path := filepath.Join(t.TempDir(), "signs.zip")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	to := zip.NewWriter(file)
	count := make(map[string]int)
	for _, f := range from.File {
		class, name, ok := strings.Cut(f.Name, "/")
		if !ok || name == "" || count[class] == each {
			continue
		}
		count[class]++
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		w, err := to.Create(f.Name)
		if err == nil {
			_, err = io.Copy(w, r)
		}
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTimmSweepIsPlannedWithoutPython(t *testing.T) {
	out := mustRun(t, "--trainer", "timm", "--python", "/nowhere/python", "--datasets", "digits", "--configs", "24", "--dry-run")
	for _, want := range []string{"24 trials of up to 50 epochs: 24 networks on 1 data sets, trained by timm", "of one RTX 2080 Ti", "beit_large_patch16_512", "305670000   362240.00", "dla46x_c"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestBadTimmFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--trainer jax", "use embedded or timm"},
		{"--trainer timm --clock counted", "measures its seconds"},
		{"--trainer timm --gpus zero", "want numbers such as 0,1"},
		{"--trainer timm --dispatch ray", "use local or slurm"},
		{"--trainer timm --dispatch slurm --time soon", "want a duration"},
		{"--trainer timm --dispatch slurm --trials-per-job 0", "at least 1"},
		{"--trainer timm --partition gpu", "only with --dispatch slurm"},
		{"--gpus 0", "only with --trainer timm"},
		{"--trainer timm --image-size -1", "is negative"},
		{"--trainer timm --python /nowhere/python --models resnet18", "/nowhere/python"},
		{"--trainer timm --python /nowhere/python --out " + filepath.Join(t.TempDir(), "x"), "/nowhere/python is no Python that the worker runs on"},
		{"doctor --python /nowhere/python", "is no Python that the worker runs on"},
	} {
		_, err := command(t, append(strings.Fields(c.args), pick(c.args, "--datasets", "digits", "--configs", "1")...)...)
		if cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
}

// pick returns what is added to a command line that begins a sweep.
func pick(args string, more ...string) []string {
	if strings.HasPrefix(args, "doctor") {
		return nil
	}
	return more
}

func TestNamesOfTimmTrainers(t *testing.T) {
	for _, size := range []int{0, 64} {
		for _, scratch := range []bool{false, true} {
			gotSize, gotScratch, ok := parseTimmTrainer(timmTrainer(size, scratch))
			if !ok || gotSize != size || gotScratch != scratch {
				t.Errorf("%q: %d, %v, %v", timmTrainer(size, scratch), gotSize, gotScratch, ok)
			}
		}
	}
	for _, bad := range []string{"", "timm, ", "timm, x pixels", "timm, 64 pixels and more", "embedded, from scratch"} {
		if _, _, ok := parseTimmTrainer(bad); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestPythonWithoutTorchIsToldWhatToInstall(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		unable(t, "no python3")
	}
	// -S leaves out every installed package.
	script := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+python+" -S \"$@\"\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "doctor", "--python", script)
	if cli.ExitCode(err) != cli.ExitFailed || !strings.Contains(out, "FAILS  timm") || !strings.Contains(out, "pip install 'timm>=0.9'") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestASweepWithTimm(t *testing.T) {
	python := timmPython(t)
	out := filepath.Join(t.TempDir(), "sweep")
	args := []string{
		"--trainer", "timm", "--python", python, "--data", signs(t, 6), "--models", "tf_efficientnet_lite0,vit_tiny_patch16_224",
		"--scratch", "--image-size", "32", "--gpus", "none", "--loader-workers", "0", "--configs", "4", "--epochs", "2",
		"--set", "batch_size=8", "--set", "amp=false", "--out", out,
	}
	text := mustRun(t, args...)
	if !strings.Contains(text, "4 curves, 8 epochs of 2 networks on 1 data sets (4 completed)") {
		t.Errorf("printed\n%s", text)
	}
	s, err := metadataset.Open(filepath.Join(out, "metadataset"))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Models) != 2 || s.Models[0].Params <= 0 || s.Models[0].Pixels != 32 || s.Models[0].SourceAccuracy != 0.7483 {
		t.Errorf("models %+v", s.Models)
	}
	if notes := strings.Join(s.Manifest.Notes, " "); !strings.Contains(notes, "Trained with torch ") || !strings.Contains(notes, " and timm ") {
		t.Errorf("notes %q", notes)
	}
	again := mustRun(t, "resume", out)
	if again != text {
		t.Errorf("resumed, it prints\n%s", again)
	}
	var missing *os.PathError
	if _, err := os.Stat(filepath.Join(out, "checkpoints")); !errors.As(err, &missing) {
		t.Errorf("checkpoints are left: %v", err)
	}
}
