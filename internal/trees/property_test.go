package trees

import (
	"bytes"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawTable draws a table with missing, infinite and repeated values.
func drawTable(t *rapid.T) (x []float64, cols int, y []float64) {
	rows := rapid.IntRange(1, 60).Draw(t, "rows")
	cols = rapid.IntRange(0, 5).Draw(t, "cols")
	value := rapid.OneOf(
		rapid.Float64Range(-1, 1),
		rapid.SampledFrom([]float64{0, 1, 2, math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)}),
		rapid.Float64(),
	)
	x = rapid.SliceOfN(value, rows*cols, rows*cols).Draw(t, "x")
	target := rapid.OneOf(rapid.Float64Range(-1, 1), rapid.SampledFrom([]float64{0, 1, -7}), rapid.Float64Range(-1e300, 1e300))
	y = rapid.SliceOfN(target, rows, rows).Draw(t, "y")
	return x, cols, y
}

// drawBoosting draws settings under which small tables are split.
func drawBoosting(t *rapid.T) Boosting {
	return Boosting{
		Iterations:      rapid.IntRange(1, 5).Draw(t, "iterations"),
		LearningRate:    rapid.Float64Range(0.01, 1).Draw(t, "learning rate"),
		L2:              rapid.SampledFrom([]float64{0, 1, 100}).Draw(t, "l2"),
		MaxLeaves:       rapid.SampledFrom([]int{-1, 2, 5}).Draw(t, "leaves"),
		MinSamplesLeaf:  rapid.IntRange(1, 4).Draw(t, "samples"),
		MaxBins:         rapid.SampledFrom([]int{2, 5, 255}).Draw(t, "bins"),
		MaxDepth:        rapid.IntRange(0, 3).Draw(t, "depth"),
		FeatureFraction: rapid.SampledFrom([]float64{0.4, 1}).Draw(t, "features"),
		RowFraction:     rapid.SampledFrom([]float64{0.5, 1}).Draw(t, "rows fraction"),
		Seed:            rapid.Uint64().Draw(t, "seed"),
		Loss:            rapid.SampledFrom([]Loss{Squared, Absolute, Quantile}).Draw(t, "loss"),
	}
}

func drawWeights(t *rapid.T, rows int) []float64 {
	if rapid.Bool().Draw(t, "unweighted") {
		return nil
	}
	w := rapid.SliceOfN(rapid.SampledFrom([]float64{0, 0.5, 1, 3}), rows, rows).Draw(t, "weights")
	w[0] = 1
	return w
}

func mustFit(t testing.TB, b Boosting, x []float64, cols int, y, weights []float64) *Ensemble {
	t.Helper()
	m, err := b.Fit(x, cols, y, weights)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPredictionsAreFinite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, cols, y := drawTable(t)
		b := drawBoosting(t)
		w := drawWeights(t, len(y))
		m, err := b.Fit(x, cols, y, w)
		if err != nil {
			if strings.Contains(err.Error(), "overflow") {
				return
			}
			t.Fatal(err)
		}
		if err := m.check(); err != nil {
			t.Fatal(err)
		}
		row := rapid.SliceOfN(rapid.SampledFrom([]float64{0, 0.5, -1e308, 1e308, math.NaN(), math.Inf(1), math.Inf(-1)}), cols, cols).Draw(t, "row")
		if p := m.Predict(row); math.IsNaN(p) || math.IsInf(p, 0) {
			t.Fatalf("prediction %g", p)
		}
		f, err := Forest{Trees: 3, Bootstrap: true, RandomSplits: rapid.Bool().Draw(t, "random splits"), Seed: b.Seed}.Fit(x, cols, y, w)
		if err != nil {
			t.Fatal(err)
		}
		mean, variance := f.Predict(row)
		if math.IsNaN(mean) || math.IsInf(mean, 0) || math.IsNaN(variance) || variance < 0 {
			t.Fatalf("forest predicts %g, variance %g", mean, variance)
		}
	})
}

func TestLogisticPredictionsAreFinite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, cols, y := drawTable(t)
		b := drawBoosting(t)
		b.Loss = Logistic
		for r := range y {
			y[r] = float64(rapid.IntRange(0, 1).Draw(t, "label"))
		}
		m, err := b.Fit(x, cols, y, drawWeights(t, len(y)))
		if err != nil {
			t.Fatal(err)
		}
		for r := range y {
			if p := m.Predict(x[r*cols : (r+1)*cols]); math.IsNaN(p) || math.IsInf(p, 0) {
				t.Fatalf("prediction %g", p)
			}
		}
	})
}

func TestOneTreePredictsWithinTheTargets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, cols, y := drawTable(t)
		w := drawWeights(t, len(y))
		for r := range y {
			y[r] = math.Mod(y[r], 100)
		}
		lo, hi := slices.Min(y), slices.Max(y)
		slack := 1e-9 * max(math.Abs(lo), math.Abs(hi))
		m, err := Boosting{Iterations: 1, LearningRate: 1, MinSamplesLeaf: 1}.Fit(x, cols, y, w)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Forest{Trees: 2, Bootstrap: true}.Fit(x, cols, y, w)
		if err != nil {
			t.Fatal(err)
		}
		for r := range y {
			row := x[r*cols : (r+1)*cols]
			if p := m.Predict(row); p < lo-slack || p > hi+slack {
				t.Fatalf("row %d: %g outside [%g, %g]", r, p, lo, hi)
			}
			for k, p := range f.PredictTrees(nil, row) {
				if p < lo || p > hi {
					t.Fatalf("row %d: tree %d predicts %g outside [%g, %g]", r, k, p, lo, hi)
				}
				if leaf := f.LeafTargets(k, row); w == nil && math.Abs(exactMean(leaf, nil)-p) > slack {
					t.Fatalf("row %d: tree %d predicts %g with %v in the leaf", r, k, p, leaf)
				}
			}
		}
	})
}

func TestPredictionsOfTrainingRowsSurviveMonotoneTransforms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, cols, y := drawTable(t)
		b := drawBoosting(t)
		b.MaxBins = 255
		w := drawWeights(t, len(y))
		for r := range w {
			w[r] = max(w[r], 0.1) // rows of weight 0 do not set thresholds
		}
		column := rapid.IntRange(0, max(0, cols-1)).Draw(t, "column")
		changed := slices.Clone(x)
		for at := column; at < len(x); at += max(1, cols) {
			v := math.Max(-1e300, math.Min(1e300, x[at]))
			x[at] = v
			changed[at] = math.Cbrt(v) // spreads neighbours, never joins them
		}
		if !slices.IsSortedFunc(ranksOf(x, cols, column), func(a, b [2]float64) int { return compareRank(a, b, changed, cols, column) }) {
			t.Skip("the transform joins values")
		}
		before, err := b.Fit(x, cols, y, w)
		if err != nil {
			t.Skip(err)
		}
		after := mustFitRapid(t, b, changed, cols, y, w)
		for r := range y {
			a, b := before.Predict(x[r*cols:(r+1)*cols]), after.Predict(changed[r*cols:(r+1)*cols])
			if a != b {
				t.Fatalf("row %d: %g, transformed %g", r, a, b)
			}
		}
	})
}

// ranksOf pairs the values of a column with their rows, sorted by value.
func ranksOf(x []float64, cols, column int) [][2]float64 {
	var pairs [][2]float64
	for at := column; at < len(x); at += max(1, cols) {
		if x[at] == x[at] {
			pairs = append(pairs, [2]float64{x[at], float64(at / max(1, cols))})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]float64) int { return compareMissingLast(a[0], b[0]) })
	return pairs
}

// compareRank reports whether b, after a by the old values, stays so.
func compareRank(a, b [2]float64, changed []float64, cols, column int) int {
	u, v := changed[int(a[1])*cols+column], changed[int(b[1])*cols+column]
	if a[0] != b[0] && u == v {
		return 1
	}
	return compareMissingLast(u, v)
}

func mustFitRapid(t *rapid.T, b Boosting, x []float64, cols int, y, weights []float64) *Ensemble {
	m, err := b.Fit(x, cols, y, weights)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRowOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, cols, y := drawTable(t)
		b := drawBoosting(t)
		b.RowFraction = 1
		w := drawWeights(t, len(y))
		order := rapid.Permutation(func() []int {
			rows := make([]int, len(y))
			for r := range rows {
				rows[r] = r
			}
			return rows
		}()).Draw(t, "order")
		var px, py, pw []float64
		for _, r := range order {
			px = append(px, x[r*cols:(r+1)*cols]...)
			py = append(py, y[r])
			if w != nil {
				pw = append(pw, w[r])
			}
		}
		m, err := b.Fit(x, cols, y, w)
		if err != nil {
			t.Skip(err)
		}
		want, _ := m.MarshalBinary()
		got, _ := mustFitRapid(t, b, px, cols, py, pw).MarshalBinary()
		if !bytes.Equal(got, want) {
			t.Fatal("the fit depends on the order of rows")
		}
	})
}

func TestBundlesDoNotChangeHistograms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows, cols := rapid.IntRange(2, 80).Draw(t, "rows"), rapid.IntRange(1, 20).Draw(t, "cols")
		value := rapid.SampledFrom([]float64{0, 0, 0, 0, 0, 1, 2, math.NaN()})
		x := rapid.SliceOfN(value, rows*cols, rows*cols).Draw(t, "x")
		features := binFeatures(x, rows, cols, nil, 255)
		bundles := bundleFeatures(features, rows)
		words := make([]int64, rows)
		total := int64(0)
		all := make([]int32, rows)
		for r := range words {
			all[r] = int32(r)
			words[r] = rapid.Int64Range(-1000, 1000).Draw(t, "word")
			total += words[r]
		}
		histogram := make([][slots]int64, len(bundles))
		for i, g := range groupBundles(bundles, rows) {
			g.accumulate(histogram[8*i:][:g.width], words, all)
		}
		addDefaults(bundles, histogram, total)
		for _, f := range features {
			want := make([]int64, f.size())
			for r, b := range f.bins {
				want[b] += words[r]
			}
			if got := f.of(&histogram[f.bundle]); !slices.Equal(got, want) {
				t.Fatalf("column %d: %v, want %v; %d bundles", f.column, got, want, len(bundles))
			}
		}
	})
}

func TestOneHotColumnsShareABundle(t *testing.T) {
	const rows, cols = 100, 7
	x := make([]float64, rows*cols)
	for r := range rows {
		x[r*cols+r%cols] = 1
	}
	features := binFeatures(x, rows, cols, nil, 255)
	if bundles := bundleFeatures(features, rows); len(bundles) != 1 || bundles[0].used != 2*cols+1 {
		t.Errorf("%d bundles, the first of %d slots", len(bundles), bundles[0].used)
	}
}

func TestThresholdsSeparateNeighbours(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{1, math.Nextafter(1, 2), 5e-324, 0, math.MaxFloat64, math.Inf(1), math.Inf(-1)}))
		values := rapid.SliceOfN(value, 1, 100).Draw(t, "values")
		f := &feature{thresholds: newBinner(len(values), 255).find(values, nil)}
		f.fill(values)
		for i, a := range values {
			for j, b := range values {
				if a < b && f.bins[i] >= f.bins[j] {
					t.Fatalf("%g in bin %d, %g in bin %d", a, f.bins[i], b, f.bins[j])
				}
			}
		}
	})
}

func TestLowerBoundCountsThresholdsBelow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		thresholds := rapid.SliceOf(rapid.Float64Range(0, 20)).Draw(t, "thresholds")
		slices.Sort(thresholds)
		v := rapid.Float64Range(-1, 21).Draw(t, "value")
		if len(thresholds) > 0 && rapid.Bool().Draw(t, "on a threshold") {
			v = thresholds[rapid.IntRange(0, len(thresholds)-1).Draw(t, "which")]
		}
		want := 0
		for _, s := range thresholds {
			if s < v {
				want++
			}
		}
		if got := lowerBound(thresholds, v); got != want {
			t.Fatalf("%d of %v below %g, want %d", got, thresholds, v, want)
		}
	})
}

func TestFitDoesNotDependOnProcessors(t *testing.T) {
	x, y := table(5, 500, 12)
	fit := func() ([]byte, []float64) {
		b := Boosting{Iterations: 10, FeatureFraction: 0.5, RowFraction: 0.5, Seed: 3}
		data, _ := mustFit(t, b, x, 12, y, nil).MarshalBinary()
		f, err := Forest{Trees: 4, Bootstrap: true, MaxFeatures: 0.8, Seed: 3}.Fit(x, 12, y, nil)
		if err != nil {
			t.Fatal(err)
		}
		return data, f.PredictTrees(nil, x[:12])
	}
	data, trees := fit()
	old := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(old)
	again, treesAgain := fit()
	if !bytes.Equal(data, again) || !slices.Equal(trees, treesAgain) {
		t.Error("a fit depends on the number of processors")
	}
}

func TestEdgesOfTables(t *testing.T) {
	nan := math.NaN()
	long := make([]float64, 50)
	for _, c := range []struct {
		name string
		x    []float64
		cols int
		y    []float64
		want float64 // of the row of zeros
	}{
		{"single row", []float64{1, 2}, 2, []float64{7}, 7},
		{"no columns", nil, 0, []float64{1, 2, 6}, 3},
		{"constant target", rampOf(50), 1, slices.Repeat([]float64{0.1}, 50), 0.1},
		{"column of missing values", slices.Repeat([]float64{nan}, 50), 1, rampOf(50), 24.5},
		{"constant column", long, 1, rampOf(50), 24.5},
		{"few rows", rampOf(10), 1, rampOf(10), 4.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			row := make([]float64, c.cols)
			if got := mustFit(t, Boosting{}, c.x, c.cols, c.y, nil).Predict(row); got != c.want {
				t.Errorf("boosting predicts %g, want %g", got, c.want)
			}
			f, err := Forest{Trees: 3, MinSamplesLeaf: 20}.Fit(c.x, c.cols, c.y, nil)
			if err != nil {
				t.Fatal(err)
			}
			if mean, variance := f.Predict(row); mean != c.want || variance != 0 {
				t.Errorf("forest predicts %g, variance %g, want %g", mean, variance, c.want)
			}
		})
	}
}

func rampOf(n int) []float64 {
	ramp := make([]float64, n)
	for i := range ramp {
		ramp[i] = float64(i)
	}
	return ramp
}

func TestImpossibleFitsAreRefused(t *testing.T) {
	one := []float64{1}
	for _, c := range []struct {
		want    string
		b       Boosting
		x       []float64
		cols    int
		y, w    []float64
		forests bool // the forest refuses it as well
	}{
		{"no rows", Boosting{}, nil, 1, nil, nil, true},
		{"3 values for 1 rows of 1 columns", Boosting{}, rampOf(3), 1, one, nil, true},
		{"2 weights for 1 rows", Boosting{}, one, 1, one, rampOf(2), true},
		{"row 0: target NaN", Boosting{}, one, 1, []float64{math.NaN()}, nil, true},
		{"row 0: target +Inf", Boosting{}, one, 1, []float64{math.Inf(1)}, nil, true},
		{"row 0: weight -1", Boosting{}, one, 1, one, []float64{-1}, true},
		{"row 0: weight NaN", Boosting{}, one, 1, one, []float64{math.NaN()}, true},
		{"all weights are 0", Boosting{}, one, 1, one, []float64{0}, true},
		{"overflow", Boosting{}, one, 1, []float64{1e200}, []float64{1e200}, true},
		{"-1 columns", Boosting{}, one, -1, one, nil, true},
		{"target 2 under the logistic loss", Boosting{Loss: Logistic}, one, 1, []float64{2}, nil, false},
		{"unknown loss Loss(9)", Boosting{Loss: 9}, one, 1, one, nil, false},
		{"-3 iterations", Boosting{Iterations: -3}, one, 1, one, nil, false},
		{"learning rate -1", Boosting{LearningRate: -1}, one, 1, one, nil, false},
		{"learning rate NaN", Boosting{LearningRate: math.NaN()}, one, 1, one, nil, false},
		{"L2 -1", Boosting{L2: -1}, one, 1, one, nil, false},
		{"1 leaves", Boosting{MaxLeaves: 1}, one, 1, one, nil, false},
		{"-1 samples a leaf", Boosting{MinSamplesLeaf: -1}, one, 1, one, nil, false},
		{"256 bins", Boosting{MaxBins: 256}, one, 1, one, nil, false},
		{"depth -1", Boosting{MaxDepth: -1}, one, 1, one, nil, false},
		{"feature fraction 1.5", Boosting{FeatureFraction: 1.5}, one, 1, one, nil, false},
		{"row fraction -1", Boosting{RowFraction: -1}, one, 1, one, nil, false},
		{"quantile 1 ", Boosting{Quantile: 1}, one, 1, one, nil, false},
	} {
		if _, err := c.b.Fit(c.x, c.cols, c.y, c.w); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v", c.want, err)
		}
		if !c.forests {
			continue
		}
		if _, err := (Forest{}).Fit(c.x, c.cols, c.y, c.w); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error of the forest %v", c.want, err)
		}
	}
	for want, f := range map[string]Forest{
		"-1 trees":                 {Trees: -1},
		"part 2 of the features":   {MaxFeatures: 2},
		"1 samples to split":       {MinSamplesSplit: 1},
		"-1 samples a leaf":        {MinSamplesLeaf: -1},
		"depth -2":                 {MaxDepth: -2},
		"1073741824 trees of 1 ro": {Trees: 1 << 30},
	} {
		if _, err := f.Fit(one, 1, one, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
	}
}

func TestForestRecallsItsTrainingData(t *testing.T) {
	x, y := table(6, 300, 10)
	for _, randomSplits := range []bool{false, true} {
		f, err := Forest{Trees: 5, RandomSplits: randomSplits}.Fit(x, 10, y, nil)
		if err != nil {
			t.Fatal(err)
		}
		for r, want := range y {
			if mean, variance := f.Predict(x[r*10 : (r+1)*10]); mean != want || variance != 0 {
				t.Fatalf("row %d: %g, variance %g; want %g", r, mean, variance, want)
			}
		}
	}
}

func TestForestGeneralises(t *testing.T) {
	x, y := table(7, 1200, 10)
	for _, f := range []Forest{
		{Trees: 30, Bootstrap: true, MaxFeatures: 5.0 / 6},
		{Trees: 30, RandomSplits: true, MaxFeatures: 0.5},
	} {
		m, err := f.Fit(x[:8000], 10, y[:800], nil)
		if err != nil {
			t.Fatal(err)
		}
		mean, residual, total, spread := exactMean(y, nil), 0.0, 0.0, 0.0
		for r := 800; r < 1200; r++ {
			p, variance := m.Predict(x[r*10 : (r+1)*10])
			residual += (p - y[r]) * (p - y[r])
			total += (y[r] - mean) * (y[r] - mean)
			spread += variance
		}
		if residual > 0.5*total || spread == 0 {
			t.Errorf("%+v: residual %g of %g, spread %g", f, residual, total, spread)
		}
	}
}

func TestPredictDoesNotAllocate(t *testing.T) {
	x, y := table(8, 300, 10)
	m := mustFit(t, Boosting{Iterations: 5}, x, 10, y, nil)
	f, err := Forest{Trees: 3}.Fit(x, 10, y, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		m.Predict(x[:10])
		f.Predict(x[:10])
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func TestRandomSettingsDependOnTheSeed(t *testing.T) {
	x, y := table(9, 400, 10)
	for _, b := range []Boosting{{FeatureFraction: 0.3}, {RowFraction: 0.5}} {
		b.Iterations = 5
		first, _ := mustFit(t, b, x, 10, y, nil).MarshalBinary()
		b.Seed = 12345
		second, _ := mustFit(t, b, x, 10, y, nil).MarshalBinary()
		if bytes.Equal(first, second) {
			t.Errorf("%+v: the seed changes nothing", b)
		}
	}
}
