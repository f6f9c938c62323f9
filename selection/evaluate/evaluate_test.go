package evaluate

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// Values of SciPy 1.17.
func TestWeightedKendallAgreesWithSciPy(t *testing.T) {
	for _, c := range []struct {
		x, y          []float64
		both, byFirst float64
	}{
		{[]float64{12, 2, 1, 12, 2}, []float64{1, 4, 7, 1, 0}, -0.5669496815368272, -0.4157652301037516},
		{[]float64{1, 4, 7, 1, 0}, []float64{12, 2, 1, 12, 2}, -0.5669496815368272, -0.7181341329699028},
		{[]float64{5, 5, 3, 1}, []float64{1, 2, 2, 9}, -0.7809941930933033, -0.7070016430131635},
	} {
		for convention, want := range map[Convention]float64{Both: c.both, ByFirst: c.byFirst} {
			got, err := WeightedKendall(c.x, c.y, convention)
			if err != nil || math.Abs(got-want) > 1e-12 {
				t.Errorf("convention %d of %v, %v: got %v (%v), want %v", convention, c.x, c.y, got, err, want)
			}
		}
	}
}

// Values of SciPy 1.17: spearmanr, kendalltau, pearsonr.
func TestCorrelationsAgreeWithSciPy(t *testing.T) {
	x, y := []float64{12, 2, 1, 12, 2, 5}, []float64{1, 4, 7, 1, 0, 2.5}
	for _, c := range []struct {
		name string
		f    func(x, y []float64) (float64, error)
		want float64
	}{
		{"Pearson", Pearson, pearsonXY},
		{"Spearman", Spearman, spearmanXY},
		{"Kendall", Kendall, kendallXY},
	} {
		got, err := c.f(x, y)
		if err != nil || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: got %v (%v), want %v", c.name, got, err, c.want)
		}
	}
}

const (
	pearsonXY  = -0.55440414413816963
	spearmanXY = -0.53737329062387884
	kendallXY  = -0.51887452166277093
)

func TestWeightedPearsonByHand(t *testing.T) {
	// Weights 3, 2, 1 for accuracies 9, 5, 1 at scores 1, 2, 0.
	got, err := WeightedPearson([]float64{1, 2, 0}, []float64{9, 5, 1})
	mx, my := 7.0/6, 38.0/6
	xx := 3*(1-mx)*(1-mx) + 2*(2-mx)*(2-mx) + mx*mx
	yy := 3*(9-my)*(9-my) + 2*(5-my)*(5-my) + (1-my)*(1-my)
	xy := 3*(1-mx)*(9-my) + 2*(2-mx)*(5-my) - mx*(1-my)
	if want := xy / math.Sqrt(xx*yy); err != nil || math.Abs(got-want) > 1e-12 {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}

func TestMeasuresThatDoNotExistAreErrors(t *testing.T) {
	tau := func(x, y []float64) (float64, error) { return WeightedKendall(x, y, Both) }
	byFirst := func(x, y []float64) (float64, error) { return WeightedKendall(x, y, ByFirst) }
	for name, f := range map[string]func(x, y []float64) (float64, error){
		"Pearson": Pearson, "WeightedPearson": WeightedPearson, "Spearman": Spearman, "Kendall": Kendall, "tau": tau, "tau by first": byFirst,
	} {
		for why, in := range map[string][2][]float64{
			"constant x":       {{3, 3, 3}, {1, 2, 3}},
			"constant y":       {{1, 2, 3}, {0.1, 0.1, 0.1}},
			"one value":        {{1}, {2}},
			"nothing":          {},
			"different length": {{1, 2}, {1, 2, 3}},
			"NaN":              {{1, math.NaN()}, {1, 2}},
			"infinity":         {{1, 2}, {1, math.Inf(1)}},
		} {
			if v, err := f(in[0], in[1]); err == nil {
				t.Errorf("%s, %s: got %v, want an error", name, why, v)
			}
		}
	}
	nan := []float64{1, math.NaN(), 2}
	ok := []float64{1, 2, 3}
	for name, f := range map[string]func() (float64, error){
		"k too large":    func() (float64, error) { return Regret(ok, ok, 4) },
		"k of 0":         func() (float64, error) { return Regret(ok, ok, 0) },
		"score NaN":      func() (float64, error) { return Recall(nan, ok, 1) },
		"accuracy NaN":   func() (float64, error) { return SelectionsToBest(ok, nan) },
		"no models":      func() (float64, error) { return SelectionsToBest(nil, nil) },
		"negative":       func() (float64, error) { return RelativeAccuracy(ok, []float64{-3, -2, -1}, 1) },
		"no such model":  func() (float64, error) { return Gain(ok, ok, 1, 3) },
		"above 1":        func() (float64, error) { return RelativeDelta(1.5, 0.5) },
		"one experiment": func() (float64, error) { return SetupStability([]Outcome{{"a", "v", "f", 1}, {"b", "v", "f", 2}}) },
		"missing score":  func() (float64, error) { return SetupStability([]Outcome{{"a", "v", "f", 1}, {"b", "w", "f", 2}}) },
		"given twice":    func() (float64, error) { return SetupStability([]Outcome{{"a", "v", "f", 1}, {"a", "v", "f", 2}}) },
		"equal in one of": func() (float64, error) {
			return SetupStability([]Outcome{{"a", "v", "f", 1}, {"b", "v", "f", 1}, {"a", "w", "f", 1}, {"b", "w", "f", 2}})
		},
	} {
		if v, err := f(); err == nil {
			t.Errorf("%s: got %v, want an error", name, v)
		}
	}
}

func TestTheBestOfTheChosenModels(t *testing.T) {
	scores, accuracies := []float64{0.3, 0.9, 0.5, 0.1}, []float64{70, 60, 80, 90}
	for _, c := range []struct {
		name string
		f    func() (float64, error)
		want float64
	}{
		{"regret of 1", func() (float64, error) { return Regret(scores, accuracies, 1) }, 30},
		{"regret of 2", func() (float64, error) { return Regret(scores, accuracies, 2) }, 10},
		{"regret of all", func() (float64, error) { return Regret(scores, accuracies, 4) }, 0},
		{"rel@3", func() (float64, error) { return RelativeAccuracy(scores, accuracies, 3) }, 80.0 / 90},
		{"recall@3", func() (float64, error) { return Recall(scores, accuracies, 3) }, 0},
		{"recall@4", func() (float64, error) { return Recall(scores, accuracies, 4) }, 1},
		{"gain over the first", func() (float64, error) { return Gain(scores, accuracies, 2, 0) }, 10},
		{"selections", func() (float64, error) { return SelectionsToBest(scores, accuracies) }, 4},
		{"selections with ties", func() (float64, error) { return SelectionsToBest([]float64{1, 1, 2, 1}, accuracies) }, 3},
		{"two best models", func() (float64, error) { return SelectionsToBest([]float64{1, 1, 1}, []float64{5, 5, 4}) }, 4.0 / 3},
		{"relative delta", func() (float64, error) { return RelativeDelta(0.9, 0.8) }, 0.5},
		{"relative loss", func() (float64, error) { return RelativeDelta(0.8, 0.9) }, -0.5},
		{"nothing to gain", func() (float64, error) { return RelativeDelta(1, 1) }, 0},
	} {
		if got, err := c.f(); err != nil || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: got %v (%v), want %v", c.name, got, err, c.want)
		}
	}
}

func TestRandomOrderFindsTheBestOfThirtyAfterHalf(t *testing.T) {
	accuracies := make([]float64, 30)
	for i := range accuracies {
		accuracies[i] = float64(i)
	}
	got, err := SelectionsToBest(make([]float64, 30), accuracies)
	if err != nil || got != 15.5 {
		t.Errorf("got %v (%v), want 15.5", got, err)
	}
}

func TestSetupStabilityAveragesWithinThenAcross(t *testing.T) {
	// With the pool p the data sets agree (tau 1); with the pool q they order
	// three scores as 1 2 3, 2 1 3 and 3 2 1: taus 1/3, -1 and -1/3.
	var all []Outcome
	add := func(fixed, varying string, values ...float64) {
		for i, v := range values {
			all = append(all, Outcome{string(rune('a' + i)), varying, fixed, v})
		}
	}
	add("p", "x", 1, 2, 3)
	add("p", "y", 10, 20, 30)
	add("q", "x", 1, 2, 3)
	add("q", "y", 2, 1, 3)
	add("q", "z", 3, 2, 1)
	got, err := SetupStability(all)
	if want := (1 + (1.0/3-1-1.0/3)/3) / 2; err != nil || math.Abs(got-want) > 1e-12 {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}

func TestRanksShareTies(t *testing.T) {
	got := Ranks([]float64{3, 1, 3, 2, 3})
	for i, want := range []float64{4, 1, 4, 2, 4} {
		if got[i] != want {
			t.Fatalf("got %v", got)
		}
	}
}

// pairs draws two vectors of one length that both vary, with many ties.
func pairs(t *rapid.T) (x, y []float64) {
	n := rapid.IntRange(2, 15).Draw(t, "n")
	value := rapid.Map(rapid.IntRange(-4, 4), func(i int) float64 { return float64(i) / 4 })
	x = rapid.SliceOfN(value, n, n).Draw(t, "x")
	y = rapid.SliceOfN(value, n, n).Draw(t, "y")
	x[0], x[1], y[0], y[1] = 2, 3, 3, 2
	return x, y
}

func TestCorrelationProperties(t *testing.T) {
	all := map[string]func(x, y []float64) (float64, error){
		"Pearson": Pearson, "Spearman": Spearman, "Kendall": Kendall,
		"tau": func(x, y []float64) (float64, error) { return WeightedKendall(x, y, Both) },
	}
	rapid.Check(t, func(t *rapid.T) {
		x, y := pairs(t)
		for name, f := range all {
			xy, err := f(x, y)
			if err != nil || xy < -1 || xy > 1 {
				t.Fatalf("%s: %v, %v", name, xy, err)
			}
			if yx, _ := f(y, x); math.Abs(xy-yx) > 1e-12 {
				t.Fatalf("%s: %v one way and %v the other", name, xy, yx)
			}
			if xx, _ := f(x, x); math.Abs(xx-1) > 1e-12 {
				t.Fatalf("%s with itself: %v", name, xx)
			}
			// Stretching an argument, evenly or, for ranks, in any way,
			// changes nothing.
			stretched := make([]float64, len(x))
			for i, v := range x {
				stretched[i] = 3*v + 7
				if name != "Pearson" {
					stretched[i] = math.Exp(v)
				}
			}
			if s, _ := f(stretched, y); math.Abs(s-xy) > 1e-12 {
				t.Fatalf("%s: %v, stretched %v", name, xy, s)
			}
			// Shuffling the models changes nothing.
			perm := rapid.Permutation(ascending(x)).Draw(t, "perm")
			px, py := make([]float64, len(x)), make([]float64, len(x))
			for i, k := range perm {
				px[i], py[i] = x[k], y[k]
			}
			if s, _ := f(px, py); math.Abs(s-xy) > 1e-12 {
				t.Fatalf("%s: %v, shuffled %v", name, xy, s)
			}
		}
	})
}

func TestRegretFallsWithEveryModelTried(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := pairs(t)
		last := math.Inf(1)
		for k := 1; k <= len(x); k++ {
			r, err := Regret(x, y, k)
			if err != nil || r < 0 || r > last {
				t.Fatalf("regret of %d: %v after %v (%v)", k, r, last, err)
			}
			last = r
		}
		if last != 0 {
			t.Fatalf("regret %v with all models tried", last)
		}
	})
}
