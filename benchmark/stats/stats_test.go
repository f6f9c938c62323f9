package stats

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestMeansAverageTheRunsOfADataSet(t *testing.T) {
	s := &Sample{
		Methods:  []string{"a", "b"},
		Datasets: []string{"X", "Y", "Z"},
		Values: [][][]float64{
			{{1, 2, 3}, {4}, {5, 7}},
			{{0.5}, {}, {0, 1}},
		},
	}
	m := s.Means()
	if !slices.Equal(m.Values[0], []float64{2, 4, 6}) || m.Values[1][0] != 0.5 || m.Values[1][2] != 0.5 {
		t.Errorf("means %v", m.Values)
	}
	if !math.IsNaN(m.Values[1][1]) {
		t.Errorf("mean of no run %v, want NaN", m.Values[1][1])
	}
	whole, warnings := m.Complete()
	want := &Matrix{Methods: s.Methods, Datasets: []string{"X", "Z"}, Values: [][]float64{{2, 6}, {0.5, 0.5}}}
	if diff := cmp.Diff(want, whole); diff != "" {
		t.Errorf("complete part (-want +got):\n%s", diff)
	}
	if len(warnings) != 1 || warnings[0].Error() != "left out for want of runs of every method: Y" {
		t.Errorf("warnings %v", warnings)
	}
	if _, warnings := whole.Complete(); warnings != nil {
		t.Errorf("warnings %v of a complete matrix", warnings)
	}
}

func TestMeanDoesNotDependOnTheOrderOfRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 1), 1, 60).Draw(t, "values")
		other := rapid.Permutation(values).Draw(t, "permutation")
		if mean(values) != mean(other) {
			t.Fatalf("%v and %v", mean(values), mean(other))
		}
	})
}

func TestRanksAreThoseOfSciPy(t *testing.T) {
	// scipy.stats.rankdata(values, axis=0) of SciPy 1.17.
	m := &Matrix{
		Methods:  []string{"a", "b", "c", "d"},
		Datasets: []string{"1", "2", "3", "4", "5", "6"},
		Values: [][]float64{
			{1, 0, 0, 0.25, 0, 1}, {1, 0.5, 0, 0, 0.25, 0.5}, {0.75, 0.5, 0.25, 0, 0.75, 0.75}, {0, 0, 0.5, 0.25, 1, 0.5},
		},
	}
	want := [][]float64{
		{3.5, 1.5, 1.5, 3.5, 1, 4}, {3.5, 3.5, 1.5, 1.5, 2, 1.5}, {2, 3.5, 3, 1.5, 3, 3}, {1, 1.5, 4, 3.5, 4, 1.5},
	}
	if diff := cmp.Diff(want, m.Ranks().Values); diff != "" {
		t.Errorf("ranks (-want +got):\n%s", diff)
	}
	if got := Ranks(nil, []float64{7, 7, 7}); !slices.Equal(got, []float64{2, 2, 2}) {
		t.Errorf("ranks of ties %v, want 2 2 2", got)
	}
}

func TestRanksProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 5), func(i int) float64 { return float64(i) }), 1, 12).Draw(t, "values")
		ranks := Ranks(nil, values)
		var sum float64
		for i, r := range ranks {
			sum += r
			below, equal := 0, 0
			for _, v := range values {
				if v < values[i] {
					below++
				} else if v == values[i] {
					equal++
				}
			}
			if want := float64(below) + float64(equal+1)/2; r != want {
				t.Fatalf("rank of %v among %v is %v, want %v", values[i], values, r, want)
			}
		}
		if n := float64(len(values)); sum != n*(n+1)/2 {
			t.Fatalf("ranks %v sum to %v", ranks, sum)
		}
	})
}

// regrets20 is the mean regret of random search on 20 data sets.
var regrets20 = []float64{
	0.479, 0.095, 0.323, 0.229, 0.287, 0.44, 0.15, 0.184, 0.046, 0.364,
	0.121, 0.115, 0.195, 0.315, 0.286, 0.103, 0.482, 0.003, 0.272, 0.028,
}

func TestBootstrapAgreesWithSciPy(t *testing.T) {
	// scipy.stats.bootstrap((v,), numpy.mean, n_resamples=200000,
	// method="percentile"): 95 % [.1643, .2892], 80 % [.1850, .2669], each
	// within .0002 over seeds. With 10,000 resamples the ends of the 95 %
	// interval have a standard error of .0009.
	for _, c := range []struct{ level, low, high float64 }{{0.95, 0.1643, 0.2892}, {0.8, 0.1850, 0.2669}} {
		s := Bootstrap{Level: c.level}.Resampler(20).Mean(regrets20)
		if math.Abs(s.Mean-0.22585) > 1e-12 || s.N != 20 || s.Level != c.level || s.Warnings != nil {
			t.Errorf("%+v", s)
		}
		if math.Abs(s.Low-c.low) > 0.003 || math.Abs(s.High-c.high) > 0.003 {
			t.Errorf("level %v: [%.4f, %.4f], want [%.4f, %.4f]", c.level, s.Low, s.High, c.low, c.high)
		}
	}
}

func TestBootstrapOfThreeIsExact(t *testing.T) {
	// The 27 equally likely resamples of {0, 1, 10} have these means, lowest
	// first: 0 (1), 1/3 (3), 2/3 (3), 1 (1), 10/3 (3), 11/3 (6), 4 (3),
	// 20/3 (3), 7 (3), 10 (1). So 10 % of them end within 1/3 and 90 % within
	// 7; 2.5 % end within 0 and 97.5 % within 10.
	for _, c := range []struct{ level, low, high float64 }{{0.8, 1.0 / 3, 7}, {0.95, 0, 10}} {
		s := Bootstrap{Level: c.level}.Resampler(3).Mean([]float64{0, 1, 10})
		if s.Low != c.low || s.High != c.high {
			t.Errorf("level %v: [%v, %v], want [%v, %v]", c.level, s.Low, s.High, c.low, c.high)
		}
		if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0].Error(), "3 data sets are too few") {
			t.Errorf("warnings %v", s.Warnings)
		}
	}
}

func TestBootstrapIsDeterministic(t *testing.T) {
	a, b := Bootstrap{}.Resampler(20).Mean(regrets20), Bootstrap{Resamples: 10000, Level: 0.95}.Resampler(20).Mean(regrets20)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("same settings:\n%s", diff)
	}
	// What this program gives since its first version.
	if golden := [2]float64{0.16509750000000004, 0.28980124999999995}; a.Low != golden[0] || a.High != golden[1] {
		t.Errorf("interval [%v, %v], want %v", a.Low, a.High, golden)
	}
	if c := (Bootstrap{Seed: 1}).Resampler(20).Mean(regrets20); c.Low == a.Low && c.High == a.High {
		t.Error("another seed gives the same interval")
	}
	r := Bootstrap{}.Resampler(20)
	r.Mean(slices.Repeat([]float64{1}, 20))
	if again := r.Mean(regrets20); again.Low != a.Low || again.High != a.High {
		t.Error("the interval depends on what was summarised before")
	}
}

func TestBootstrapOfFewDataSets(t *testing.T) {
	for n, want := range map[int]string{
		0: "no data set, so no mean",
		1: "one data set, so no interval",
		5: "5 data sets are too few for an interval to be trusted, need at least 6",
	} {
		s := Bootstrap{Resamples: 100}.Resampler(n).Mean(make([]float64, n))
		if len(s.Warnings) != 1 || s.Warnings[0].Error() != want {
			t.Errorf("%d data sets: warnings %v, want %q", n, s.Warnings, want)
		}
		if hasInterval := !math.IsNaN(s.Low) && !math.IsNaN(s.High); hasInterval != (n > 1) {
			t.Errorf("%d data sets: %+v", n, s)
		}
	}
}

func TestQuantileIsThatOfNumpy(t *testing.T) {
	// numpy.quantile(values, q) of numpy 2.4.
	values := []float64{-0.281, -0.668, -1.055, -0.391, 0.482, -0.239, 0.958, -0.2, 0.024, 1.546, 0.545}
	for _, c := range []struct{ q, want float64 }{
		{0, -1.055}, {0.025, -0.95825}, {0.3, -0.281}, {0.5, -0.2}, {0.975, 1.399}, {1, 1.546},
	} {
		if got := quantile(slices.Clone(values), c.q); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("quantile %v is %v, want %v", c.q, got, c.want)
		}
	}
}

func TestSelectNth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-3, 3), 1, 50).Draw(t, "values")
		if rapid.Bool().Draw(t, "ties") {
			for i := range values {
				values[i] = math.Round(values[i])
			}
		}
		k := rapid.IntRange(0, len(values)-1).Draw(t, "k")
		sorted := slices.Sorted(slices.Values(values))
		if got := selectNth(values, k); got != sorted[k] {
			t.Fatalf("element %d is %v, want %v", k, got, sorted[k])
		}
		for i, v := range values {
			if i < k && v > values[k] || i > k && v < values[k] {
				t.Fatalf("%v is not split at %d", values, k)
			}
		}
	})
}

func TestAnytime(t *testing.T) {
	at := func(time float64) *Matrix {
		return &Matrix{
			Methods:  []string{"a", "b"},
			Datasets: []string{"X", "Y"},
			Values:   [][]float64{{1 / time, 3 / time}, {time, time}},
		}
	}
	times := []float64{1, 2, 4}
	curves := Anytime(times, Bootstrap{Resamples: 200}, at)
	if len(curves) != 2 || curves[0].Method != "a" || curves[1].Method != "b" || len(curves[0].Points) != 3 {
		t.Fatalf("curves %+v", curves)
	}
	for i, time := range times {
		p := curves[0].Points[i]
		// Two data sets: the interval of 95 % spans both.
		if p.Mean != 2/time || p.Low != 1/time || p.High != 3/time {
			t.Errorf("at %v: %+v", time, p)
		}
		if q := curves[1].Points[i]; q.Mean != time || q.Low != time || q.High != time {
			t.Errorf("at %v: %+v", time, q)
		}
	}
}

func TestLogGrid(t *testing.T) {
	grid := LogGrid(60, 57600, 9)
	if grid[0] != 60 || grid[8] != 57600 || len(grid) != 9 {
		t.Errorf("grid %v", grid)
	}
	for i := 1; i < len(grid); i++ {
		if ratio := grid[i] / grid[i-1]; math.Abs(ratio-math.Pow(960, 1.0/8)) > 1e-9 {
			t.Errorf("ratio %v at %d", ratio, i)
		}
	}
}

func BenchmarkBootstrap(b *testing.B) {
	r := Bootstrap{}.Resampler(20)
	for b.Loop() {
		r.Mean(regrets20)
	}
}
