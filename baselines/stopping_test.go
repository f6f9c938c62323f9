package baselines

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"quicktune/search"
)

// readGolden reads a file of testdata, which scripts/oracles wrote.
func readGolden(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTrialsAreStoppedWhereOptunaPrunesThem trains the curves of
// scripts/oracles/optuna_methods.py in the same order.
func TestTrialsAreStoppedWhereOptunaPrunesThem(t *testing.T) {
	var golden struct {
		Curves [][]*float64
		Cases  []struct {
			Percentile                float64
			Startup, Warmup, Interval int
			MinTrials                 int `json:"min_trials"`
			Epochs                    []int
		}
	}
	readGolden(t, "optuna_pruners.json", &golden)
	if len(golden.Cases) == 0 {
		t.Fatal("no case")
	}
	for _, c := range golden.Cases {
		p := problem(len(golden.Curves), len(golden.Curves[0]))
		o, err := NewPercentileStopping(p, PercentileStopping{
			Percentile: c.Percentile, Startup: c.Startup, Warmup: c.Warmup, Interval: c.Interval, MinTrials: c.MinTrials,
		})
		if err != nil {
			t.Fatal(err)
		}
		// Trials, not candidates, follow the order of the file.
		epochs := make([]int, len(golden.Curves))
		for {
			p, status := o.Ask()
			if status == search.Done {
				break
			}
			curve := golden.Curves[p.Trial]
			for e := epochs[p.Trial] + 1; e <= p.Epoch; e++ {
				r := search.Report{Trial: p.Trial, Candidate: p.Candidate, Epoch: e, Score: math.NaN(), Proposed: e == p.Epoch}
				if s := curve[e-1]; s != nil {
					r.Score = *s
				}
				if e == len(curve) {
					r.End = search.Completed
				}
				o.Tell(r)
			}
			epochs[p.Trial] = p.Epoch
		}
		if !slices.Equal(epochs, c.Epochs) {
			t.Errorf("percentile %g, startup %d, warmup %d, interval %d, min-trials %d:\ntrained %v\nwant    %v",
				c.Percentile, c.Startup, c.Warmup, c.Interval, c.MinTrials, epochs, c.Epochs)
		}
	}
}

func TestQuantilesAreInterpolated(t *testing.T) {
	for _, c := range []struct {
		sorted  []float64
		q, want float64
	}{
		{[]float64{1}, 0.5, 1},
		{[]float64{1, 3}, 0.5, 2},
		{[]float64{1, 3}, 0.25, 1.5},
		{[]float64{1, 2, 4, 8}, 0.75, 5},
		{[]float64{1, 2, 4, 8}, 1, 8},
		{[]float64{math.Inf(-1), 2}, 0.5, math.Inf(-1)},
	} {
		if got := quantileOf(c.sorted, c.q); got != c.want {
			t.Errorf("quantile %g of %v is %g; want %g", c.q, c.sorted, got, c.want)
		}
	}
}
