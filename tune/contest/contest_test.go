package contest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"quicktune/tune/session"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 {
		t.Errorf("%s is %g, want %g", what, got, want)
	}
}

// Two sets, three seeds, by hand: the mean over sets comes first.
func TestATableComparesRunByRun(t *testing.T) {
	var outcomes []Outcome
	for s, v := range [][4]float64{{0.9, 0.5, 0.8, 0.6}, {0.8, 0.6, 0.7, 0.5}, {0.7, 0.4, 0.8, 0.3}} {
		seed := uint64(s + 1)
		outcomes = append(outcomes,
			Outcome{Dataset: "x", Method: "a", Seed: seed, Test: v[0], Validation: v[0] + 0.1, Epochs: 10},
			Outcome{Dataset: "y", Method: "a", Seed: seed, Test: v[1]},
			Outcome{Dataset: "x", Method: "b", Seed: seed, Test: v[2]},
			Outcome{Dataset: "y", Method: "b", Seed: seed, Test: v[3]})
	}
	datasets, lines := Table(outcomes, []string{"a", "b"})
	if !reflect.DeepEqual(datasets, []string{"x", "y"}) || len(lines) != 2 {
		t.Fatalf("%v, %d lines", datasets, len(lines))
	}
	a, b := lines[0], lines[1]
	near(t, "mean of a", a.Test.Mean, (0.7+0.7+0.55)/3)
	near(t, "mean of b", b.Test.Mean, (0.7+0.6+0.55)/3)
	near(t, "epochs of a", a.Epochs, 5)
	// Differences of the seeds are 0, 0.1 and 0: deviation 0.1/sqrt(3), and 4.302653
	// is the quantile of Student's distribution with two degrees of freedom.
	near(t, "lead of a", b.Behind.Mean, 0.1/3)
	if half := 4.302652729749464 * 0.1 / 3; math.Abs(b.Behind.High-(0.1/3+half)) > 1e-7 || math.Abs(b.Behind.Low-(0.1/3-half)) > 1e-7 {
		t.Errorf("interval [%g, %g], want %g on either side", b.Behind.Low, b.Behind.High, half)
	}
	if b.Wins != 2 { // .8 against .7667 on x, .5 against .4667 on y
		t.Errorf("a is ahead on %d sets, want 2", b.Wins)
	}
	near(t, "a on y", a.ByDataset[1], 0.5)
}

func TestASingleSeedHasNoInterval(t *testing.T) {
	_, lines := Table([]Outcome{{Dataset: "x", Method: "a", Seed: 1, Test: 0.5}}, []string{"a"})
	if !math.IsNaN(lines[0].Test.Low) || lines[0].Test.Mean != 0.5 {
		t.Errorf("%+v", lines[0].Test)
	}
}

func pictures(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	for c, class := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(dir, class), 0o777); err != nil {
			t.Fatal(err)
		}
		for i := range 12 {
			img := image.NewGray(image.Rect(0, 0, 8, 8))
			for p := range 64 {
				img.Set(p%8, p/8, color.Gray{uint8(100*c + (p*7+i*13)%100)})
			}
			var b bytes.Buffer
			if err := png.Encode(&b, img); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, class, fmt.Sprint(i, ".png")), b.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func options(t *testing.T, dir string, data ...string) Options {
	return Options{
		Dir: dir, Data: data, Methods: []string{"asha", "random"}, Seeds: 2, Parallel: 2,
		Settings: session.Settings{
			Budget: 0.05, Workers: 1, Candidates: 6, Models: []string{"separable_xs"}, Trainer: session.Embedded,
			Metric: session.ValAccuracy, Clock: session.Counted,
		},
	}
}

func TestAContestThatIsStoppedGoesOn(t *testing.T) {
	data := []string{pictures(t, "one"), pictures(t, "two")}
	want, err := Run(t.Context(), options(t, t.TempDir(), data...))
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 8 || want[0].Dataset != "one" || want[0].Method != "asha" || want[1].Seed != 2 || want[0].Test == 0 {
		t.Fatalf("%+v", want)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	o := options(t, dir, data...)
	o.Parallel = 1
	o.Progress = func(done, _ int) {
		if done == 3 {
			cancel()
		}
	}
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped: %v", err)
	}
	var again int
	o.Progress = func(int, int) { again++ }
	got, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i].Deciding, want[i].Deciding = 0, 0
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	left, err := os.ReadDir(filepath.Join(dir, "one"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if !strings.HasSuffix(e.Name(), ".json") {
			t.Errorf("%s is left", e.Name())
		}
	}
	o.Settings.Budget = 0.06
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "other settings") {
		t.Errorf("another budget: %v", err)
	}
}
