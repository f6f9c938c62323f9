package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quicktune/generate/journal"
	"quicktune/generate/plan"
	"quicktune/generate/sweep"
	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/space"
)

// small is a sweep of seconds: the smallest networks, one data set, random
// weights.
func small(dir string, more ...string) []string {
	return append([]string{
		"--scratch", "--models", "mixer_xs,convmixer_xs", "--datasets", "typefaces", "--configs", "2", "--epochs", "2",
		"--set", "batch_size=64,128", "--set", "data_augmentation=None", "--out", dir,
	}, more...)
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(t, args...)
	if err != nil {
		t.Fatalf("generate %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func hashOf(t *testing.T, dir string) string {
	t.Helper()
	s, err := metadataset.Open(filepath.Join(dir, sweep.MetadatasetDir))
	if err != nil {
		t.Fatal(err)
	}
	return s.Manifest.Hash
}

// A sweep is made, looked at, repeated and reported, and the same command in
// another directory, with another number of workers and an interrupt, gives the
// same meta-dataset.
func TestASweepFromTheCommandLine(t *testing.T) {
	tmp := t.TempDir()
	one, two := filepath.Join(tmp, "one"), filepath.Join(tmp, "two")
	if out := mustRun(t, small(one, "--dry-run")...); !strings.Contains(out, "2 trials of up to 2 epochs: 2 networks on 1 data sets") {
		t.Errorf("dry run prints %q", out)
	}
	if _, err := os.Stat(one); err == nil {
		t.Error("a dry run made the directory")
	}
	out := mustRun(t, small(one)...)
	for _, want := range []string{"2 curves, 4 epochs of 2 networks on 1 data sets (2 completed)", "hash ", "go run ./benchmark --data"} {
		if !strings.Contains(out, want) {
			t.Errorf("prints %q, want %q", out, want)
		}
	}
	if again := mustRun(t, small(one)...); again != out {
		t.Errorf("repeated it prints %q, first %q", again, out)
	}

	// Stopped as soon as an epoch is known.
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if s, err := journal.Read(filepath.Join(two, sweep.JournalFile)); err == nil {
				for id := range s.Trials {
					if s.Epochs(id) > 0 {
						cancel()
					}
				}
			}
			time.Sleep(time.Millisecond)
		}
	}()
	var buf, log bytes.Buffer
	err := run(ctx, small(two, "--workers", "1"), &buf, &log)
	cancel()
	if cli.ExitCode(err) != cli.ExitInterrupted || !strings.Contains(err.Error(), "are kept in "+two) {
		t.Fatalf("error %v", err)
	}
	if out := mustRun(t, "status", two); !strings.Contains(out, "of 2 curves have ended") || !strings.Contains(out, "worker 0: typefaces-000") {
		t.Errorf("status prints %q", out)
	}
	if _, err := command(t, "report", two); err == nil || !strings.Contains(err.Error(), "is not finished") {
		t.Errorf("a report of an unfinished sweep gives %v", err)
	}
	mustRun(t, "resume", two)
	if hashOf(t, one) != hashOf(t, two) {
		t.Error("an interrupted sweep gives another meta-dataset")
	}
	var status statusJSON
	if err := json.Unmarshal([]byte(mustRun(t, "status", "--json", two)), &status); err != nil || !status.Finished || status.Ended != 2 || status.Share != 1 {
		t.Errorf("%+v, %v", status, err)
	}

	out = mustRun(t, "report", one)
	if !strings.Contains(out, "2 networks on 1 data sets") {
		t.Errorf("report prints %q", out)
	}
	mustRun(t, "report", one) // over its own
	mustRun(t, "report", one, "--scratch", two, "--out", filepath.Join(tmp, "compared"))
	for _, f := range []string{"ranks.svg", "ranks.png", "report.md"} {
		if info, err := os.Stat(filepath.Join(one, reportDir, f)); err != nil || info.Size() < 300 {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// pictures writes two classes of flat pictures.
func pictures(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "my flowers")
	for i := range n {
		class := filepath.Join(dir, []string{"rot", "grün"}[i%2])
		if err := os.MkdirAll(class, 0o777); err != nil {
			t.Fatal(err)
		}
		m := image.NewRGBA(image.Rect(0, 0, 8, 8))
		for k := range 64 {
			m.Set(k%8, k/8, color.RGBA{uint8(200 * (1 - i%2)), uint8(200 * (i % 2)), uint8(k + i), 255})
		}
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(class, fmt.Sprintf("%d.png", i)), b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestYourOwnPictures(t *testing.T) {
	data, out := pictures(t, 60), filepath.Join(t.TempDir(), "sweep")
	args := []string{"--scratch", "--data", data, "--models", "mixer_xs", "--configs", "1", "--epochs", "1", "--out", out, "--clock", "measured", "--curve-cap", "0"}
	mustRun(t, args...)
	s, err := metadataset.Open(filepath.Join(out, sweep.MetadatasetDir))
	if err != nil {
		t.Fatal(err)
	}
	if d := s.Datasets[0]; d.Name != "my flowers" || d.TrainSamples != 36 || d.Classes != 2 || d.Pixels != 8 || d.Channels != 3 || len(d.MetaFeatures) == 0 {
		t.Errorf("%+v", d)
	}
	if notes := strings.Join(s.Manifest.Notes, " "); !strings.Contains(notes, "Seconds were measured on") {
		t.Errorf("notes %q", notes)
	}

	// The pictures change under a sweep that is not finished.
	out = filepath.Join(t.TempDir(), "sweep")
	args[8] = "2"
	args[10] = out
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, args, &bytes.Buffer{}, &bytes.Buffer{}); cli.ExitCode(err) != cli.ExitInterrupted {
		t.Fatalf("error %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Fatal("an interrupt while pictures are loaded made the directory")
	}
	args[8] = "1"
	planOnly(t, args, out)
	if err := os.Remove(filepath.Join(data, "rot", "0.png")); err != nil {
		t.Fatal(err)
	}
	if _, err := command(t, "resume", out); err == nil || !strings.Contains(err.Error(), "is not what it was when the sweep was planned") {
		t.Errorf("resume with other pictures gives %v", err)
	}
	if _, err := command(t, args...); err == nil || !strings.Contains(err.Error(), "other pictures in data set my flowers") {
		t.Errorf("repetition with other pictures gives %v", err)
	}
}

// planOnly leaves the directory of a sweep that was planned and never begun.
func planOnly(t *testing.T, args []string, out string) {
	t.Helper()
	mustRun(t, args...)
	for _, name := range []string{sweep.JournalFile, sweep.MetadatasetDir} {
		if err := os.RemoveAll(filepath.Join(out, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := command(t, "status", out); err == nil || !strings.Contains(err.Error(), "nobody began to work on it") {
		t.Errorf("status gives %v", err)
	}
}

func TestWhatIsWrongWithASweepIsToldInOneLine(t *testing.T) {
	tmp := t.TempDir()
	other := filepath.Join(tmp, "other")
	if err := os.MkdirAll(other, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "thesis.tex"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(other, "thesis.tex")
	out := filepath.Join(tmp, "out")
	for _, c := range []struct {
		args []string
		want string
	}{
		{small(out, "--datasets", "nonsense"), `there is no data set "nonsense"; use one of digits`},
		{small(out, "--datasets", "source-letters"), "is a source of the pretrained networks"},
		{small(out, "--models", "resnet50"), `hyperparameter "model" cannot be resnet50: use one of plain_xs`},
		{small(out, "--data", filepath.Join(tmp, "nowhere")), "nowhere: no such file"},
		{small(out, "--data", file), "not a zip archive"},
		{small(out, "--data", pictures(t, 4)), "it takes at least 5"},
		{small(out, "--set", "lr"), "--set lr: want NAME=VALUE"},
		{small(out, "--set", "lr=7"), `hyperparameter "lr" cannot be 7`},
		{small(out, "--set", "rate=7"), `no hyperparameter "rate"`},
		{small(out, "--set", "lr=0.001", "--set", "lr=0.01"), "--set names lr twice"},
		{small(out, "--set", "model=vit_s"), "exclude each other"},
		{small(out, "--mode", "all"), "--mode all"},
		{small(out, "--clock", "wall"), "--clock wall"},
		{small(out, "--epochs", "0"), "--epochs 0"},
		{small(out, "--configs", "0"), "--configs 0"},
		{small(out, "--workers", "-1"), "--workers -1"},
		{small(out, "--curve-cap", "-1s"), "--curve-cap -1s"},
		{small(out, "--curve-cap", "1"), "invalid argument"},
		{small(other), "holds files that are no sweep, such as thesis.tex"},
		{small(file), "not a directory"},
		{small(filepath.Join(file, "below")), "not a directory"},
		{[]string{"status", other}, "is not the directory of a sweep"},
		{[]string{"resume", filepath.Join(tmp, "nowhere")}, "is not the directory of a sweep"},
		{[]string{"report", other}, "manifest.json"},
		{[]string{"status"}, "accepts 1 arg"},
		{[]string{"pretrain", "--models", "resnet50"}, "resnet50"},
	} {
		_, err := command(t, c.args...)
		if cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("generate %s: error %v, want %q", strings.Join(c.args, " "), err, c.want)
		}
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("bad input made a directory: %v", err)
	}
}

func TestAnotherPlanInTheSameDirectoryIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sweep")
	mustRun(t, small(dir, "--epochs", "1")...)
	_, err := command(t, small(dir)...)
	if cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), "holds a sweep of another plan (epochs 1, not 2)") {
		t.Errorf("error %v", err)
	}
}

func TestListOfDatasets(t *testing.T) {
	out := mustRun(t, "datasets")
	if n := strings.Count(out, "\n"); n < 13 || !strings.Contains(out, "digits") || strings.Contains(out, "source-") {
		t.Errorf("%d lines: %s", n, out)
	}
}

func TestADataSetIsWrittenToAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pictures", "fashion")
	if out := mustRun(t, "datasets", "--save", "fashion", "--out", dir); out != "1200 pictures of 10 classes written to "+dir+"\n" {
		t.Errorf("it prints %q", out)
	}
	for _, c := range []struct{ args, want string }{
		{"--save fashion --out " + dir, "there is something already"},
		{"--save fashion", "--out DIR"},
		{"--out " + dir, "--save NAME"},
		{"--save fashon --out " + dir + "2", "fashon"},
	} {
		if _, err := command(t, append([]string{"datasets"}, strings.Fields(c.args)...)...); cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
}

// The examples of the help are command lines that are understood: run as dry
// runs where they would train for long.
func TestExamplesOfTheHelpAreUnderstood(t *testing.T) {
	for line := range strings.SplitSeq(strings.TrimSpace(newSweep(nil, nil).Example), "\n") {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "go run ./generate")
		if !ok {
			t.Fatalf("the example %q does not run the command", line)
		}
		args := append(strings.Fields(rest), "--dry-run", "--scratch")
		if strings.Contains(rest, "all") {
			args = append(args, "--datasets", "digits") // all of them take their time to draw
		}
		if out := mustRun(t, args...); !strings.Contains(out, "trials of up to") {
			t.Errorf("%s prints %q", line, out)
		}
	}
}

// The counted clock is part of every meta-dataset that it made.
func TestCountedSeconds(t *testing.T) {
	f := sweepFlags{mode: "uniform", clock: "counted", configs: 1, epochs: 1, scratch: true}
	o, b, err := f.options()
	if err != nil {
		t.Fatal(err)
	}
	p := planOf(t, o)
	seconds := b.seconds(p)
	for _, c := range []struct {
		set  string
		want float64
	}{
		{"pct_to_freeze=0", 600*500e-6*2.6 + 1e-4},
		{"pct_to_freeze=0.6", 600*500e-6*(1+1.6*0.4) + 1e-4},
		{"pct_to_freeze=1", 600*500e-6 + 1e-4},
		{"linear_probing=true", 600*500e-6 + 1e-4},
		{"delta_reg=0.1", 600*500e-6*3.6 + 1e-4},
	} {
		name, value, _ := strings.Cut(c.set, "=")
		trial := p.Trials[0]
		trial.Model, trial.Config = "x", map[string]space.Value{name: parseValue(value)}
		train, eval := seconds(trial)
		if diff := train - c.want; diff > 1e-9 || diff < -1e-9 || eval != 400*500e-6 {
			t.Errorf("%s: %g and %g seconds, want %g and %g", c.set, train, eval, c.want, 400*500e-6)
		}
	}
}

// planOf is a plan with one more network, "x" of ten million multiply-adds, on a
// data set of 1,000 pictures.
func planOf(t *testing.T, o plan.Options) *plan.Plan {
	t.Helper()
	o.Models = append(o.Models, metadataset.Model{Name: "x", GMACs: 0.01})
	o.Datasets = []plan.Dataset{{Name: "d", Train: 600, Validation: 200, Test: 200}}
	p, err := plan.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
