package look

import (
	"math"
	"strings"
	"testing"

	"quicktune/generate/hub"
	"quicktune/generate/images/builtin"
	"quicktune/generate/trainer"
	"quicktune/space"
)

func digits(t *testing.T) *trainer.Images {
	t.Helper()
	set, err := builtin.Load(t.Context(), "digits")
	if err != nil {
		t.Fatal(err)
	}
	d, err := set.Split()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestALookScoresEveryNetworkTheSameEveryTime(t *testing.T) {
	d := digits(t)
	names := []string{"plain_xs", "residual_xs", "separable_xs"}
	first, err := Networks(t.Context(), d, names, hub.Weights, 100, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Networks(t.Context(), d, names, hub.Weights, 100, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[float64]bool)
	for i, n := range first {
		if n.Name != names[i] || math.IsNaN(n.Score) || !(n.Forward > 0) {
			t.Errorf("%s: score %g, %g s", n.Name, n.Score, n.Forward)
		}
		if n.Score != second[i].Score {
			t.Errorf("%s: score %g, and %g the second time", n.Name, n.Score, second[i].Score)
		}
		if seen[n.Score] {
			t.Errorf("%s has the score of another network", n.Name)
		}
		seen[n.Score] = true
	}
}

func TestASampleHoldsEveryClassAlike(t *testing.T) {
	d := &trainer.Images{Classes: 500}
	for i := range 5000 {
		d.Train.Labels = append(d.Train.Labels, i%500)
	}
	for _, n := range []int{64, 256, 2000} {
		rows := sample(d, n, 1)
		count := make(map[int]int)
		for _, i := range rows {
			count[d.Train.Labels[i]]++
		}
		want := max(2, n/500)
		for y, c := range count {
			if c != want {
				t.Fatalf("%d pictures: class %d occurs %d times, want %d", n, y, c, want)
			}
		}
		if len(rows) > n || len(rows) < n*9/10 {
			t.Errorf("%d pictures asked for, %d drawn", n, len(rows))
		}
	}
}

func TestPicturesAreBoundedByTheBudget(t *testing.T) {
	for _, c := range []struct {
		budget float64
		want   int
	}{{1, 0}, {30, 100}, {3600, MaxPictures}} {
		if got := Pictures(0.006, c.budget); got != c.want {
			t.Errorf("%g s: %d pictures, want %d", c.budget, got, c.want)
		}
	}
}

// What is called hopeless is trained, and gets nowhere; what is not called so
// may.
func TestHopelessConfigurationsGetNowhere(t *testing.T) {
	d := digits(t)
	networks, err := Networks(t.Context(), d, []string{"residual_xs"}, hub.Weights, 200, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	n := &networks[0]
	config := func(lr float64) map[string]space.Value {
		return map[string]space.Value{
			"linear_probing": space.Bool(true), "opt": space.String("sgd"), "lr": space.Float(lr), "batch_size": space.Int(128), "sched": space.String("none"),
		}
	}
	steps := 3 * (d.Train.Len() / 128)
	reason, err := n.Hopeless(t.Context(), config(1e-5), steps)
	if err != nil || !strings.Contains(reason, "its head would take the loss down by") {
		t.Errorf("a rate of 1e-5: %q, %v", reason, err)
	}
	tr := &trainer.Embedded{Images: func(string) (*trainer.Images, error) { return d, nil }, Weights: hub.Weights}
	var losses []float64
	_, err = tr.Train(t.Context(), trainer.Request{Trial: "t", Model: n.Name, Dataset: d.Name, Epochs: 3, Seed: 1, Config: config(1e-5)}, func(r trainer.Record) error {
		losses = append(losses, r.TrainLoss)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if first, last := losses[0], losses[len(losses)-1]; last < 0.9*first {
		t.Errorf("a hopeless configuration takes the loss from %g to %g", first, last)
	}
	for name, c := range map[string]map[string]space.Value{
		"a rate of 0.01": config(0.01),
		"another optimiser": {
			"linear_probing": space.Bool(true), "opt": space.String("adam"), "lr": space.Float(1e-5),
		},
		"a body that is trained": {
			"linear_probing": space.Bool(false), "pct_to_freeze": space.Float(0.5), "opt": space.String("sgd"), "lr": space.Float(1e-5),
		},
	} {
		if reason, err := n.Hopeless(t.Context(), c, steps); err != nil || reason != "" {
			t.Errorf("%s: %q, %v", name, reason, err)
		}
	}
	if reason, err := n.Hopeless(t.Context(), config(1e-5), maxSteps+1); err != nil || reason != "" {
		t.Errorf("more steps than are simulated: %q, %v", reason, err)
	}
}
