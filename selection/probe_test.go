package selection

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestBadProbesAreRefusedInOneLine(t *testing.T) {
	for _, c := range []struct {
		name, says string
		change     func(*Data)
	}{
		{"one class", "all 12 images are of class 7", func(d *Data) {
			for i := range d.Labels {
				d.Labels[i] = 7
			}
		}},
		{"one image", "1 images; at least 2", func(d *Data) { d.Labels = d.Labels[:1] }},
		{"no dimensions", "shape [12 0]", func(d *Data) { d.Dim = 0 }},
		{"wrong shape", "60 features do not make a matrix of shape [12 6]", func(d *Data) { d.Dim = 6 }},
		{"overflowing shape", "shape", func(d *Data) { d.Outputs, d.Weights = math.MaxInt, math.MaxInt }},
		{"NaN", "feature 3 of row 1 is NaN", func(d *Data) { d.Features[8] = math.NaN() }},
		{"infinite gradient", "gradient 1 of row 0 is +Inf", func(d *Data) { d.Gradients[1] = math.Inf(1) }},
		{"constant features", "the same for every image", func(d *Data) {
			for i := range d.Features {
				d.Features[i] = float64(i % d.Dim)
			}
		}},
		{"huge features", "scale them", func(d *Data) { d.Features[0] = 1e200 }},
		{"tiny features", "scale them", func(d *Data) {
			for i := range d.Features {
				d.Features[i] *= 1e-200
			}
		}},
		{"negative probability", "source probability 0 of row 2 is -0.5", func(d *Data) { d.Source[8] = -0.5 }},
		{"logits", "source probabilities of row 0 sum to", func(d *Data) { d.Source[0] += 3 }},
		{"no weight", "source class 1 has the weight 0", func(d *Data) { d.SourceWeights[1] = 0 }},
		{"missing weights", "source means", func(d *Data) { d.SourceWeights = nil }},
	} {
		d := planted(12, 5, 2, 0.5, 1)
		c.change(&d)
		_, err := NewProbe(d)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
}

func TestWhatAScoreNeedsIsNamed(t *testing.T) {
	full := planted(12, 5, 2, 0.5, 1)
	bare := mustProbe(t, Data{Labels: full.Labels, Features: full.Features, Dim: full.Dim})
	needy := 0
	for _, s := range everything() {
		_, err := s.Score(bare)
		if s.Needs() == 0 {
			if err != nil {
				t.Errorf("%s: %v", s.Name(), err)
			}
			continue
		}
		needy++
		if err == nil || !strings.Contains(err.Error(), s.Needs().String()) {
			t.Errorf("%s: got %v, want %q", s.Name(), err, s.Needs())
		}
	}
	if needy < 8 {
		t.Errorf("only %d scores need something", needy)
	}
	if got := len(Available(All(), bare)); got != len(All())-needyOf(All()) {
		t.Errorf("%d scores are available for features alone", got)
	}
	if got := len(Available(All(), mustProbe(t, full))); got != len(All()) {
		t.Errorf("%d of %d scores are available for a full probe", got, len(All()))
	}
}

func needyOf(list []Scorer) int {
	n := 0
	for _, s := range list {
		if s.Needs()&^NeedsPool != 0 {
			n++
		}
	}
	return n
}

func TestSamplesTakeAtMostSoManyImagesOfEachClass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(rapid.IntRange(-2, 3), 0, 80).Draw(t, "labels")
		per, seed := rapid.IntRange(0, 20).Draw(t, "per"), rapid.Uint64().Draw(t, "seed")
		rows := Sample(labels, per, seed)
		if !slices.Equal(rows, Sample(labels, per, seed)) {
			t.Fatal("two draws with one seed differ")
		}
		if !slices.IsSorted(rows) || len(slices.Compact(slices.Clone(rows))) != len(rows) {
			t.Fatalf("rows %v", rows)
		}
		have, got := map[int]int{}, map[int]int{}
		for _, y := range labels {
			have[y]++
		}
		for _, r := range rows {
			got[labels[r]]++
		}
		for y, n := range have {
			if got[y] != min(n, per) {
				t.Fatalf("%d of %d images of class %d", got[y], n, y)
			}
		}
	})
}

func TestRowsPicksFromEveryMatrix(t *testing.T) {
	d := planted(12, 5, 2, 0.5, 1)
	got, err := d.Rows([]int{3, 0})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Labels, []int{d.Labels[3], d.Labels[0]}) || got.Features[0] != d.Features[15] || got.Source[4] != d.Source[0] ||
		got.Gradients[0] != d.Gradients[30] || got.Reference[7] != d.Reference[3] || len(got.Gradients) != 20 {
		t.Errorf("got %+v", got)
	}
	all, err := d.Rows([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	if err != nil || !slices.Equal(all.Gradients, d.Gradients) || !slices.Equal(all.Labels, d.Labels) {
		t.Errorf("all rows are not the data: %v", err)
	}
	if _, err := d.Rows([]int{12}); err == nil {
		t.Error("no error for a row that is not there")
	}
	d.Dim = 7
	if _, err := d.Rows([]int{0}); err == nil {
		t.Error("no error for a wrong shape")
	}
}

func TestFeatureMetricsCompareAPool(t *testing.T) {
	// Sparsity -1/2, -1, -3/4 and peaks -1, -2, -2 are scaled to 1, -1, 0 and
	// 1, -1, -1.
	pool := []*Probe{
		mustProbe(t, Data{Labels: []int{0, 1}, Dim: 2, Features: []float64{0, 1, 5, 0}}),
		mustProbe(t, Data{Labels: []int{0, 1}, Dim: 2, Features: []float64{1, 1.5, 5, 5.5}}),
		mustProbe(t, Data{Labels: []int{0, 1}, Dim: 2, Features: []float64{0, 0.5, 5, 5.5}}),
	}
	got, err := ScorePool(FeatureMetrics{}, pool)
	for i, want := range []float64{1, -1, -0.574} {
		if err != nil || math.Abs(got[i]-want) > 1e-12 {
			t.Fatalf("got %v (%v)", got, err)
		}
	}
	if _, err := (FeatureMetrics{}).Score(pool[0]); err == nil {
		t.Error("no error for one model alone")
	}
	same, err := ScorePool(FeatureMetrics{}, []*Probe{pool[0], pool[0]})
	if err != nil || same[0] != 0 || same[1] != 0 {
		t.Errorf("a pool of equals: %v, %v", same, err)
	}
}

func TestStaticPriorIsTheMeanRank(t *testing.T) {
	nan := math.NaN()
	p, err := NewStaticPrior([]string{"a", "b", "c", "unknown"}, [][]float64{{0.1, 0.5, 0.3, nan}, {nan, 0.2, 0.4, nan}}, MeanRank)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"a": 0.5 / 3, "b": (2.5/3 + 0.25) / 2, "c": (0.5 + 0.75) / 2}
	if len(p.Values) != len(want) {
		t.Fatalf("got %v", p.Values)
	}
	for m, v := range want {
		if math.Abs(p.Values[m]-v) > 1e-12 {
			t.Errorf("%s: got %v, want %v", m, p.Values[m], v)
		}
	}
	z := math.Sqrt(1.5)
	q, err := NewStaticPrior([]string{"a", "b", "c"}, [][]float64{{0.1, 0.5, 0.3}, {nan, 0.2, 0.4}}, MeanDeviation)
	for m, v := range map[string]float64{"a": -z, "b": (z - 1) / 2, "c": 0.5} {
		if err != nil || math.Abs(q.Values[m]-v) > 1e-12 {
			t.Errorf("by deviation, %s: got %v (%v), want %v", m, q.Values[m], err, v)
		}
	}
	d := planted(6, 2, 2, 1, 1)
	d.Model = "unknown"
	if _, err := p.Score(mustProbe(t, d)); err == nil || !strings.Contains(err.Error(), `"unknown"`) {
		t.Errorf("got %v for a model without a past", err)
	}
	if _, err := NewStaticPrior([]string{"a"}, [][]float64{{nan}}, MeanRank); err == nil {
		t.Error("no error without any accuracy")
	}
	if _, err := NewStaticPrior([]string{"a"}, [][]float64{{1, 2}}, MeanRank); err == nil {
		t.Error("no error for a table of another width")
	}
}

func TestPriorPlusScore(t *testing.T) {
	got, err := Combine([]float64{1, 2, 3}, []float64{10, 10, 40}, 0.5)
	z := math.Sqrt(1.5)
	for i, want := range []float64{-z - 0.5/math.Sqrt2, -0.5 / math.Sqrt2, z + 1/math.Sqrt2} {
		if err != nil || math.Abs(got[i]-want) > 1e-12 {
			t.Fatalf("got %v (%v)", got, err)
		}
	}
	if got, err := Combine([]float64{1, 2}, []float64{0.1, 0.1}, 1); err != nil || got[0] != -1 || got[1] != 1 {
		t.Errorf("a score without differences: %v, %v", got, err)
	}
	for _, bad := range [][2][]float64{{{1}, {1, 2}}, {{1, math.NaN()}, {1, 2}}, {{1, 2}, {1, math.Inf(1)}}} {
		if _, err := Combine(bad[0], bad[1], 1); err == nil {
			t.Errorf("no error for %v", bad)
		}
	}
	var pool []*Probe
	prior := StaticPrior{map[string]float64{}}
	for i, model := range []string{"a", "b", "c"} {
		d := planted(30, 4, 3, float64(i)/3, uint64(i))
		d.Model = model
		pool = append(pool, mustProbe(t, d))
		prior.Values[model] = float64(i)
	}
	scores, err := ScorePool(LogME{}, pool)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Combine([]float64{0, 1, 2}, scores, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	both := PriorPlus{Prior: prior, Add: LogME{}}
	if got, err := ScorePool(both, pool); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
	if both.Name() != "static-prior+logme" || both.Needs() != NeedsModel|NeedsPool {
		t.Errorf("%s needs %s", both.Name(), both.Needs())
	}
}

func TestRandomIsAFunctionOfSeedAndModel(t *testing.T) {
	d := planted(6, 2, 2, 1, 1)
	a, _ := Random{1}.Score(mustProbe(t, d))
	again, _ := Random{1}.Score(mustProbe(t, planted(8, 3, 2, 1, 2)))
	other, _ := Random{2}.Score(mustProbe(t, d))
	d.Model = "another"
	model, _ := Random{1}.Score(mustProbe(t, d))
	if a != again || a == other || a == model {
		t.Errorf("%v, %v, %v, %v", a, again, other, model)
	}
}

// With as many sources as targets, all as heavy, the least cost is that of the
// best assignment.
func TestEarthMoverFindsTheBestAssignment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "n")
		costs := rapid.SliceOfN(rapid.Float64Range(0, 10), n*n, n*n).Draw(t, "costs")
		equal := make([]float64, n)
		for i := range equal {
			equal[i] = 1 / float64(n)
		}
		var best func(row int, used int) float64
		best = func(row int, used int) float64 {
			if row == n {
				return 0
			}
			least := math.Inf(1)
			for j := range n {
				if used&(1<<j) == 0 {
					least = min(least, costs[row*n+j]+best(row+1, used|1<<j))
				}
			}
			return least
		}
		if got, want := earthMover(costs, equal, equal), best(0, 0)/float64(n); math.Abs(got-want) > 1e-9 {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestLogisticSeparatesWhatIsSeparable(t *testing.T) {
	got, err := Logistic{}.Score(mustProbe(t, planted(120, 10, 3, 3, 1)))
	if err != nil || got < 0.95 {
		t.Errorf("well separated classes: %v (%v)", got, err)
	}
	chance, err := Logistic{}.Score(mustProbe(t, planted(600, 3, 3, 0, 1)))
	if err != nil || chance > 0.45 {
		t.Errorf("features without classes: %v (%v), want about 1/3", chance, err)
	}
}

// FuzzScores feeds any numbers and labels through every score: a probe is refused
// or each score is a finite number or an error.
func FuzzScores(f *testing.F) {
	add := func(dim byte, values ...float64) {
		var raw []byte
		for _, v := range values {
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(v))
		}
		f.Add(dim, []byte{0, 1, 0, 2, 1}, raw)
	}
	add(2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	add(3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1e30, -1e30, 1e-30)
	add(1, 1e9, 1e9+1, 1e9, 1e9, 1e9)
	add(2, math.NaN(), math.Inf(1), 0, math.SmallestNonzeroFloat64, math.MaxFloat64)
	f.Fuzz(func(t *testing.T, dim byte, labels, raw []byte) {
		d := Data{Model: "fuzzed", Dim: int(dim%8) + 1, Outputs: 1, SourceClasses: 2, ReferenceDim: int(dim%8) + 1}
		n := min(len(raw)/8/d.Dim, len(labels), 24)
		for i := range n * d.Dim {
			d.Features = append(d.Features, math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:])))
		}
		for _, y := range labels[:n] {
			d.Labels = append(d.Labels, int(y%5))
			d.Source = append(d.Source, float64(y)/255, 1-float64(y)/255)
		}
		d.Gradients, d.Weights, d.Reference = d.Features, d.Dim, d.Features
		if n >= 3 {
			d.SourceMeans, d.SourceWeights = d.Features[:2*d.Dim], []float64{1, 3}
		}
		p, err := NewProbe(d)
		if err != nil {
			return
		}
		for _, s := range append(All(), HScore{}, LogME{Rule: FixedPoint}, NLEEP{Diagonal: true}, PARC{Components: 2}, GBC{Components: 2}) {
			v, err := s.Score(p)
			if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
				t.Errorf("%s: %v of %v with labels %v", s.Name(), v, d.Features, d.Labels)
			}
		}
	})
}
