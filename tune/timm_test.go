//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"quicktune/internal/cli"
	"quicktune/tune/report"
	"quicktune/tune/session"
)

// timmPython is an interpreter with torch and timm. Without one the test is
// skipped, or fails where CI=true says that every test must run.
func timmPython(t *testing.T) string {
	t.Helper()
	const name = "QUICKTUNE_TIMM_PYTHON"
	python := os.Getenv(name)
	if python == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(name + " names no Python with torch and timm")
		}
		t.Skip(name + " names no Python with torch and timm")
	}
	return python
}

// tiny are the flags of a search over two small models that the forecasts of the
// released curves know, from random weights and on the CPU.
func tiny(python, data, out string, more ...string) []string {
	return append([]string{
		"--trainer", "timm", "--python", python, "--data", data, "--out", out, "--models", "mobilevit_xxs,edgenext_xx_small",
		"--scratch", "--image-size", "32", "--gpus", "none", "--loader-workers", "0", "--candidates", "40",
	}, more...)
}

// untilBest waits until a process has found its first network.
func untilBest(t *testing.T, c *exec.Cmd, out string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if exists(filepath.Join(out, report.IncumbentFile)) {
			return
		}
	}
	_ = c.Process.Kill()
	t.Fatalf("no network was found in 5 minutes")
}

// process is the command as a process of its own.
func process(t *testing.T, args ...string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	c, log := exec.Command(os.Args[0], args...), &strings.Builder{}
	c.Env = append(os.Environ(), asTune+"=1")
	c.Stderr = log
	must(t, c.Start())
	t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		if t.Failed() {
			t.Logf("%v wrote\n%s", args, log)
		}
	})
	return c, log
}

// reload reads each exported file as a stranger would, with what is written in
// it alone, and prints the probabilities that it gives pictures.
const reload = `
import json, sys
import onnxruntime, timm, torch
from PIL import Image
from safetensors import safe_open
from timm.data import create_transform

stem, pictures = sys.argv[1], sys.argv[2:]
pth = torch.load(stem + ".pth", weights_only=True)
with safe_open(stem + ".safetensors", "pt") as f:
    weights, texts = {k: f.get_tensor(k) for k in f.keys()}, f.metadata()
session = onnxruntime.InferenceSession(stem + ".onnx", providers=["CPUExecutionProvider"])
found = {}
for kind, facts in (("pth", pth), ("safetensors", texts), ("onnx", session.get_modelmeta().custom_metadata_map)):
    known = {k: json.loads(facts[k]) for k in ("classes", "input_size", "mean", "std", "crop_pct")}
    classes = known.pop("classes")
    transform = create_transform(is_training=False, interpolation=facts["interpolation"], **known)
    x = torch.stack([transform(Image.open(p).convert("RGB")) for p in pictures])
    if kind == "onnx":
        logits = torch.from_numpy(session.run(None, {"pictures": x.numpy()})[0])
    else:
        place = {"checkpoint_path": stem + ".pth"} if kind == "pth" else {}
        model = timm.create_model(facts["model"], num_classes=len(classes), **place)
        if kind == "safetensors":
            model.load_state_dict(weights)
        with torch.no_grad():
            logits = model.eval()(x)
    found[kind] = [dict(zip(classes, p)) for p in torch.softmax(logits, dim=1).tolist()]
print(json.dumps(found))
`

// A live search over timm models with the forecasts that come with the program,
// killed once; the network is exported, read again and gives the same
// predictions.
func TestASearchWithTimm(t *testing.T) {
	python := timmPython(t)
	classes := []string{"a b", "kėdė", "c"}
	data, out := folder(t, 30, classes...), filepath.Join(t.TempDir(), "run")
	const budget = 150.0
	args := tiny(python, data, out, "--workers", "2", "--budget", fmt.Sprint(budget, "s"))
	first, _ := process(t, args...)
	untilBest(t, first, out)
	must(t, first.Process.Kill())
	_ = first.Wait()
	stdout, stderr, err := tune(t, "--resume", out)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	in, err := report.ReadIncumbent(filepath.Join(out, report.IncumbentFile))
	must(t, err)
	if in.Trainer != session.Timm || in.Validation == nil || in.Test == nil || in.Used < budget-1e-6 || in.Used > budget+20 {
		t.Errorf("%+v", in)
	}
	for _, want := range []string{"weights   " + filepath.Join(out, in.Checkpoint), "go run ./tune predict --model " + out} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
	rows, err := parquet.ReadFile[report.Row](filepath.Join(out, report.HistoryFile))
	must(t, err)
	best := 0.0
	for _, r := range rows {
		if r.Best {
			best = *r.ValAccuracy
		}
	}
	if len(rows) < in.Trained || best != in.Validation.Value {
		t.Errorf("%d rows, the best %g: %+v", len(rows), best, in)
	}

	stem := filepath.Join(t.TempDir(), "network")
	for _, format := range []string{"onnx", "pth", "safetensors"} {
		said, _, err := tune(t, "export", out, "--format", format, "--out", stem+"."+format)
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if !strings.Contains(said, "for 3 classes and pictures of 32 x 32") || format == "onnx" && !strings.Contains(said, "differs from torch by at most") {
			t.Errorf("%s: %s", format, said)
		}
	}
	var pictures []string
	for _, c := range classes {
		pictures = append(pictures, filepath.Join(data, c, "0.png"), filepath.Join(data, c, "7.png"))
	}
	said, _, err := tune(t, append([]string{"predict", "--model", out, "--json", "--top", "3"}, pictures...)...)
	must(t, err)
	text, err := exec.Command(python, append([]string{"-c", reload, stem}, pictures...)...).Output()
	must(t, err)
	var reloaded map[string][]map[string]float64
	must(t, json.Unmarshal(text, &reloaded))
	lines := strings.Split(strings.TrimSpace(said), "\n")
	if len(lines) != len(pictures) || len(reloaded) != 3 {
		t.Fatalf("%d lines, %d formats", len(lines), len(reloaded))
	}
	for i, line := range lines {
		var answer struct{ Predictions []prediction }
		must(t, json.Unmarshal([]byte(line), &answer))
		for _, p := range answer.Predictions {
			for format, found := range reloaded {
				if got, ok := found[i][p.Class]; !ok || math.Abs(got-float64(p.Probability)) > 1e-4 {
					t.Errorf("%s of %s: %s gives %g, the run %g", p.Class, pictures[i], format, got, p.Probability)
				}
			}
		}
	}
	again := filepath.Join(t.TempDir(), "again")
	said, stderr, err = tune(t, "train", "--from", filepath.Join(out, report.IncumbentFile), "--out", again)
	if err != nil || !strings.Contains(said, fmt.Sprintf("%s, epoch %d: validation accuracy", in.Model, in.Epoch)) {
		t.Errorf("again: %v\n%s%s", err, said, stderr)
	}
	said, _, err = tune(t, "predict", "--model", again, "--json", pictures[0])
	if err != nil || !strings.Contains(said, `"probability"`) {
		t.Errorf("the network that was trained again: %v\n%s", err, said)
	}
	bad := filepath.Join(data, "letter.txt")
	must(t, os.WriteFile(bad, []byte("dear"), 0o666))
	_, stderr, err = tune(t, "predict", "--model", out, bad)
	if cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(stderr, "letter.txt: not a picture that can be read") {
		t.Errorf("a letter: %v\n%s", err, stderr)
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
