package stats

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// demsar is table 6 of Demšar (2006) as it is printed, AUC of four variants of
// C4.5 on 14 data sets, turned so that lower is better.
func demsar() *Matrix {
	printed := [][]float64{
		{.763, .599, .954, .628, .882, .936, .661, .583, .775, 1, .940, .619, .972, .957},
		{.768, .591, .971, .661, .888, .931, .668, .583, .838, 1, .962, .666, .981, .978},
		{.771, .590, .968, .654, .886, .916, .609, .563, .866, 1, .965, .614, .975, .946},
		{.798, .569, .967, .657, .898, .931, .685, .625, .875, 1, .962, .669, .975, .970},
	}
	m := &Matrix{Methods: []string{"C4.5", "+m", "+cf", "+m+cf"}, Datasets: make([]string, 14)}
	for _, row := range printed {
		var values []float64
		for _, auc := range row {
			values = append(values, -auc)
		}
		m.Values = append(m.Values, values)
	}
	return m
}

// close3 compares with a number that is known to so many decimals.
func printedAs(v, want float64, decimals int) bool {
	return math.Abs(v-want) <= 0.5*math.Pow(10, -float64(decimals))+1e-12
}

func TestDemsarsExampleFromItsPrintedTable(t *testing.T) {
	m := demsar()
	f := m.Friedman(IgnoreTies)
	for i, want := range []float64{3.143, 2.000, 2.929, 1.929} {
		if !printedAs(f.MeanRanks[i], want, 3) {
			t.Errorf("mean rank of %s: %v, want %v", m.Methods[i], f.MeanRanks[i], want)
		}
	}
	if !printedAs(f.ChiSquare, 9.857, 3) || !printedAs(f.F, 3.987, 3) || !printedAs(f.PF, .0144, 4) {
		t.Errorf("without correction %+v, want 9.857, F 3.987, p .0144", f)
	}
	if f := m.Friedman(CorrectTies); !printedAs(f.ChiSquare, 10.9524, 4) || !printedAs(f.P, .011986, 6) {
		t.Errorf("with correction %+v, want 10.9524, p .011986", f)
	}
	n := m.Nemenyi(0.05)
	for _, c := range []struct {
		i, j int
		p    float64
	}{{0, 1, .0887}, {0, 2, .9717}, {0, 3, .0617}, {1, 2, .2267}, {1, 3, .9989}, {2, 3, .1701}} {
		if !printedAs(n.P[c.i][c.j], c.p, 4) || n.P[c.j][c.i] != n.P[c.i][c.j] {
			t.Errorf("Nemenyi (%d,%d): %v, want %v", c.i+1, c.j+1, n.P[c.i][c.j], c.p)
		}
	}
	if want := [][2]int{{0, 3}}; !slices.Equal(n.Cliques, want) || !slices.Equal(n.Order, []int{3, 1, 2, 0}) {
		t.Errorf("cliques %v of order %v", n.Cliques, n.Order)
	}
}

func TestCriticalValuesOfNemenyi(t *testing.T) {
	// SciPy 1.17: studentized_range.ppf(1-level, k, inf)/sqrt(2).
	for level, want := range map[float64][]float64{
		0.05: {1.960, 2.344, 2.569, 2.728, 2.850, 2.948, 3.031, 3.102, 3.164, 3.219, 3.268},
		0.10: {1.645, 2.052, 2.291, 2.460, 2.589, 2.693, 2.780, 2.855, 2.920, 2.978, 3.030},
	} {
		for i, q := range want {
			if got := CriticalQ(i+2, level); !printedAs(got, q, 3) {
				t.Errorf("q for %d methods at %v: %v, want %v", i+2, level, got, q)
			}
		}
	}
	for _, c := range []struct {
		k, n int
		cd   float64
	}{{4, 14, 1.2536}, {9, 30, 2.1933}, {9, 10, 3.7988}, {11, 30, 2.7563}, {12, 87, 1.7865}} {
		m := &Matrix{Methods: make([]string, c.k), Datasets: make([]string, c.n)}
		for range c.k {
			m.Values = append(m.Values, make([]float64, c.n))
		}
		if got := m.Nemenyi(0.05).Difference; !printedAs(got, c.cd, 4) {
			t.Errorf("critical difference of %d methods on %d data sets: %v, want %v", c.k, c.n, got, c.cd)
		}
	}
}

func TestCliquesAreTheLongestRunsThatDoNotDiffer(t *testing.T) {
	// Ranks 1 to 6 on each of 20 data sets, with some neighbours swapped on
	// half of them: (a b) (c d) tied in the mean, e and f apart by 1 each. The
	// critical difference is 2.850 sqrt(6*7/(6*20)) = 1.686.
	m := &Matrix{Methods: []string{"a", "b", "c", "d", "e", "f"}, Datasets: make([]string, 20)}
	for i := range m.Methods {
		var row []float64
		for d := range m.Datasets {
			r := float64(i)
			if d%2 == 1 && i < 4 {
				r = float64(i ^ 1)
			}
			row = append(row, r)
		}
		m.Values = append(m.Values, row)
	}
	n := m.Nemenyi(0.05)
	// Mean ranks 1.5 1.5 3.5 3.5 5 6: 3.5 and 5 join, 1.5 and 3.5 do not.
	if want := [][2]int{{0, 1}, {2, 4}, {4, 5}}; !slices.Equal(n.Cliques, want) {
		t.Errorf("cliques %v, want %v", n.Cliques, want)
	}
	for i := range m.Methods {
		for d := range m.Datasets {
			m.Values[i][d] = 10 * float64(i)
		}
	}
	m.Datasets = make([]string, 400)
	for i := range m.Values {
		m.Values[i] = slices.Repeat([]float64{float64(i)}, 400)
	}
	if n := m.Nemenyi(0.05); n.Cliques != nil {
		t.Errorf("cliques %v of methods that all differ", n.Cliques)
	}
}

func TestFriedmanWhereItSaysNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		values [][]float64
		f      float64
		p      float64
		warns  string
	}{
		{"all equal", [][]float64{{1, 2}, {1, 2}, {1, 2}}, 0, 1, "equal on every data set"},
		{"one data set", [][]float64{{1}, {2}}, 0, 1, "at least two"},
		{"one method", [][]float64{{1, 2, 3}}, 0, 1, "at least two"},
		{"the same order everywhere", [][]float64{{1, 1, 1, 1, 1, 1}, {2, 2, 2, 2, 2, 2}, {3, 3, 3, 3, 3, 3}}, math.Inf(1), 0, ""},
		{"few data sets", [][]float64{{1, 1, 1}, {2, 2, 2}, {3, 3, 3}}, math.Inf(1), 0, "too few"},
	} {
		m := &Matrix{Methods: make([]string, len(c.values)), Datasets: make([]string, len(c.values[0])), Values: c.values}
		f := m.Friedman(CorrectTies)
		if f.F != c.f || f.PF != c.p || (c.warns == "") != (f.Warnings == nil) || c.warns != "" && !strings.Contains(f.Warnings[0].Error(), c.warns) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// By definition: the share of all 2^n assignments of signs that are at least as
// extreme.
func TestSignedRankCountsAllSigns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 10).Draw(t, "n")
		differences := rapid.SliceOfN(rapid.Map(rapid.IntRange(-4, 4), func(i int) float64 { return float64(i) }), n, n).Draw(t, "differences")
		var sizes []float64
		observed, total := 0.0, 0.0
		for _, d := range differences {
			if d != 0 {
				sizes = append(sizes, math.Abs(d))
			}
		}
		ranks := Ranks(nil, sizes)
		i := 0
		for _, d := range differences {
			if d != 0 {
				total += ranks[i]
				if d > 0 {
					observed += ranks[i]
				}
				i++
			}
		}
		low := min(observed, total-observed)
		count := 0
		for signs := range 1 << len(sizes) {
			sum := 0.0
			for i, r := range ranks {
				if signs>>i&1 == 1 {
					sum += r
				}
			}
			if sum <= low {
				count++
			}
		}
		want := min(1, 2*float64(count)/float64(int(1)<<len(sizes)))
		if got := SignedRank(differences); math.Abs(got.P-want) > 1e-12 || got.Statistic != low {
			t.Fatalf("%v: %+v, want statistic %v, p %v", differences, got, low, want)
		}
	})
}

func TestHolmLeavesOutWhatWasNotTested(t *testing.T) {
	got := Holm([]float64{0.01, math.NaN(), 0.04, 0.03, 0.5})
	want := []float64{0.04, math.NaN(), 0.09, 0.09, 0.5}
	if !slices.EqualFunc(got, want, func(a, b float64) bool { return math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) < 1e-15 }) {
		t.Errorf("adjusted %v, want %v", got, want)
	}
}

func TestAgainstAMethod(t *testing.T) {
	m := &Matrix{
		Methods: []string{"worse", "reference", "same"}, Datasets: make([]string, 8),
		Values: [][]float64{
			{0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.125},
			{0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.5, 0.25},
			{0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.5, 0.25},
		},
	}
	out := m.Against(1, Bootstrap{Resamples: 500}.Resampler(8))
	w := out[0]
	// Six differences of .25 and one of -.125: W = 1, and 2 of 128 assignments
	// have a sum of at most 1 at either end.
	if w.Better != 1 || w.Equal != 1 || w.Worse != 6 || w.Test.Statistic != 1 || !near(w.Test.P, 4.0/128) || !near(w.Holm, 8.0/128) {
		t.Errorf("worse: %+v", w)
	}
	if want := (6*0.25 - 0.125) / 8; !near(w.Difference.Mean, want) || !(w.Difference.Low > 0) {
		t.Errorf("difference %+v, want %v", w.Difference, want)
	}
	if s := out[2]; s.Equal != 8 || s.Test.P != 1 || s.Holm != 1 {
		t.Errorf("same: %+v", s)
	}
	if out[1].Test.P != 0 || out[1].Better+out[1].Equal+out[1].Worse != 0 {
		t.Errorf("reference: %+v", out[1])
	}
}
