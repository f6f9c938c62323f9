package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quicktune/generate/images/builtin"
	"quicktune/internal/cli"
	"quicktune/selection"
	"quicktune/selection/probes"
)

func TestEmbeddedNetworksAreProbedOnce(t *testing.T) {
	out := filepath.Join(t.TempDir(), "probes")
	args := []string{"probe", "--datasets", "loops", "--models", "vit_s,residual_s", "--per-class", "6", "--out", out}
	if text := mustRun(t, args...); !strings.Contains(text, "2 probes in "+out+", 2 of them new") {
		t.Errorf("printed %s", text)
	}
	set, err := builtin.Load(t.Context(), "loops")
	if err != nil {
		t.Fatal(err)
	}
	split, err := set.Split()
	if err != nil {
		t.Fatal(err)
	}
	var before [][]byte
	for _, m := range []string{"residual_s", "vit_s"} {
		path := probes.Path(out, "loops", m)
		p, err := probes.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := selection.Sample(split.Train.Labels, 6, 1); !slices.Equal(p.Rows, want) {
			t.Errorf("%s saw the images %v, want %v", m, p.Rows, want)
		}
		for i, r := range p.Rows {
			if p.Data.Labels[i] != split.Train.Labels[r] {
				t.Fatalf("%s: label %d of image %d", m, p.Data.Labels[i], r)
			}
		}
		if p.Model != m || p.Trainer != "embedded" || p.Images != set.Hash() || p.Outputs != 2 || p.Data.Weights != 2048 || len(p.Weights) != 16 || !slices.Equal(p.Classes, set.Classes) {
			t.Errorf("%s: %+v", m, p.Info)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, content)
	}
	if text := mustRun(t, args...); !strings.Contains(text, "2 probes in "+out+", 0 of them new") {
		t.Errorf("again, it prints %s", text)
	}
	// Without one of them, that one is made again, the same but for its seconds.
	path := probes.Path(out, "loops", "vit_s")
	old, err := probes.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if text := mustRun(t, args...); !strings.Contains(text, "1 of them new") {
		t.Errorf("again, it prints %s", text)
	}
	again, err := probes.Read(path)
	if err != nil || !slices.Equal(again.Data.Features, old.Data.Features) || !slices.Equal(again.Data.Gradients, old.Data.Gradients) {
		t.Errorf("another probe: %v", err)
	}
	if content, err := os.ReadFile(probes.Path(out, "loops", "residual_s")); err != nil || !slices.Equal(content, before[0]) {
		t.Errorf("the other was written again, %v", err)
	}
	_, err = command(t, append(args, "--seed", "2")...)
	if cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), "choose another --out") {
		t.Errorf("with another seed: %v", err)
	}
}

func TestBadProbeFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "--out DIR"},
		{"--out x --per-class 0", "at least 1"},
		{"--out x --trainer jax", "use embedded or timm"},
		{"--out x --models resnet18", "--models"},
		{"--trainer timm --out x --image-size -1", "cannot be negative"},
		{"--out x --trainer timm --models resnet18 --datasets loops --python /nowhere/python", "/nowhere/python"},
	} {
		_, err := command(t, append([]string{"probe"}, strings.Fields(c.args)...)...)
		if cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.args, err)
		}
	}
}

func TestTimmModelsAreProbed(t *testing.T) {
	python := timmPython(t)
	out := filepath.Join(t.TempDir(), "probes")
	args := []string{
		"probe", "--trainer", "timm", "--python", python, "--data", signs(t, 6), "--models", "tf_efficientnet_lite0,no_such_model",
		"--scratch", "--image-size", "32", "--device", "cpu", "--threads", "1", "--per-class", "2", "--out", out,
	}
	text, err := command(t, args...)
	if cli.ExitCode(err) != cli.ExitFailed || !strings.Contains(err.Error(), "1 probes could not be made") || !strings.Contains(text, "1 of them new") {
		t.Errorf("%v\n%s", err, text)
	}
	paths, err := probes.List(out)
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v, %v", paths, err)
	}
	p, err := probes.Read(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	d := p.Data
	if p.Trainer != "timm, 32 pixels, from scratch" || len(p.Rows) != 20 || d.Dim != 1280 || d.SourceClasses != 1000 || d.Outputs != 2 || d.Weights != 2048 {
		t.Errorf("%+v, %d images of %d features, %d source classes, %d x %d derivatives", p.Info, len(p.Rows), d.Dim, d.SourceClasses, d.Outputs, d.Weights)
	}
	probe, err := selection.NewProbe(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []selection.Scorer{selection.LFC{}, selection.LogME{}, selection.LEEP{}, selection.LGC{}} {
		if v, err := s.Score(probe); err != nil || math.IsNaN(v) {
			t.Errorf("%s: %v, %v", s.Name(), v, err)
		}
	}
}
