package stats

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAreaUnderSteps(t *testing.T) {
	steps := []Step{{10, 0.5}, {100, 0.25}}
	for _, c := range []struct {
		from, to float64
		log      bool
		want     float64
	}{
		{0, 10, false, 1},
		{0, 20, false, 0.75},
		{0, 200, false, (10 + 45 + 25) / 200.0},
		{10, 100, false, 0.5},
		{1, 1000, true, (1 + 0.5 + 0.25) / 3},
		{50, 60, true, 0.5},
		{200, 300, false, 0.25},
	} {
		if got := Area(1, steps, c.from, c.to, c.log); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("area from %v to %v (logarithmic %v): %v, want %v", c.from, c.to, c.log, got, c.want)
		}
	}
}

func TestTimesToTargets(t *testing.T) {
	never := math.Inf(1)
	// Two data sets: on one, half of the targets are reached by 10 and all by
	// 100; on the other one of four by 50.
	got := ReachedBy([][]float64{{10, 100}, {50, never, never, never}}, []float64{1, 10, 60, 100, 1e9})
	if want := []float64{0, 0.25, (0.5 + 0.25) / 2, (1 + 0.25) / 2, (1 + 0.25) / 2}; !slices.Equal(got, want) {
		t.Errorf("shares %v, want %v", got, want)
	}
}

func TestImprovementCountsPairs(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		want float64
	}{
		{[]float64{1, 2}, []float64{3, 4}, 1},
		{[]float64{3, 4}, []float64{1, 2}, 0},
		{[]float64{1, 3}, []float64{2, 2}, 0.5},
		{[]float64{1, 2, 3}, []float64{2}, 0.5},
		{[]float64{1, 1, 2}, []float64{1, 2}, 3.5 / 6},
	} {
		if got := improvement(c.a, c.b); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("%v and %v: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	if got := []float64{Median([]float64{3, 1, 2}), Median([]float64{4, 1, 2, 3})}; !slices.Equal(got, []float64{2, 2.5}) {
		t.Errorf("medians %v", got)
	}
	if !math.IsNaN(Median(nil)) || !math.IsNaN(IQM(nil)) {
		t.Error("no value has a median or an interquartile mean")
	}
}

func TestNestedBootstrapAllowsForRuns(t *testing.T) {
	// With equal runs it is the plain one.
	var same, spread [][]float64
	for _, v := range regrets20 {
		same = append(same, []float64{v, v, v})
		spread = append(spread, []float64{v - 0.3, v, v + 0.3})
	}
	r := Bootstrap{}.Resampler(20)
	plain, nested, wide := r.Mean(regrets20), r.Nested(same), r.Nested(spread)
	if math.Abs(nested.Low-plain.Low) > 1e-12 || math.Abs(nested.High-plain.High) > 1e-12 || nested.N != 20 {
		t.Errorf("nested %+v, plain %+v", nested, plain)
	}
	// numpy with 200,000 resamples of both levels has the 95 % interval
	// [.1383, .3143].
	if math.Abs(wide.Low-0.1383) > 0.004 || math.Abs(wide.High-0.3143) > 0.004 || !(wide.Low < plain.Low && wide.High > plain.High) {
		t.Errorf("nested interval %+v around %v, plain %+v", wide, wide.Mean, plain)
	}
}

func TestProfilesGrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 1), 1, 30).Draw(t, "values")
		thresholds := slices.Sorted(slices.Values(rapid.SliceOfN(rapid.Float64Range(0, 1), 1, 10).Draw(t, "thresholds")))
		shares := Profile(values, thresholds)
		if !slices.IsSorted(shares) {
			t.Fatalf("shares %v", shares)
		}
		for i, at := range thresholds {
			n := 0
			for _, v := range values {
				if v <= at {
					n++
				}
			}
			if shares[i] != float64(n)/float64(len(values)) {
				t.Fatalf("share at %v: %v", at, shares[i])
			}
		}
	})
}
