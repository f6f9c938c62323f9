package baselines

import (
	"math"
	"slices"
	"testing"

	"quicktune/internal/stream"
	"quicktune/search"
)

// TestBOHBHasHpBandStersModel tells the model results in the order of
// scripts/oracles/hpbandster_bohb.py and compares when it is made, of which
// budget, its bandwidths and its densities.
func TestBOHBHasHpBandStersModel(t *testing.T) {
	var golden struct {
		Probes [][]float64
		Steps  []struct {
			Budget int
			Point  []float64
			Loss   *float64
			Model  *struct {
				Budget    int
				Good, Bad []float64
				AtGood    []*float64 `json:"at_good"`
				AtBad     []*float64 `json:"at_bad"`
			}
		}
	}
	readGolden(t, "hpbandster_bohb.json", &golden)
	axes := []axis{{choices: 3}, {upper: 1}, {upper: 1}}
	m := newKDEModel(axes, BOHB{})
	compared := 0
	for i, s := range golden.Steps {
		score := worst
		if s.Loss != nil {
			score = -*s.Loss
		}
		m.add(s.Budget, s.Point, score, nil)
		if m.ready() != (s.Model != nil) {
			t.Fatalf("result %d: model made: %v; want %v", i, m.ready(), s.Model != nil)
		}
		if s.Model == nil {
			continue
		}
		if m.epoch != s.Model.Budget {
			t.Fatalf("result %d: model of budget %d; want %d", i, m.epoch, s.Model.Budget)
		}
		for _, d := range []struct {
			name      string
			kde       *kde
			bandwidth []float64
			at        []*float64
		}{{"good", m.good, s.Model.Good, s.Model.AtGood}, {"bad", m.bad, s.Model.Bad, s.Model.AtBad}} {
			want := slices.Clone(d.bandwidth)
			c := float64(d.kde.present[0])
			capped := c > 1 && want[0] > (c-1)/c
			if capped {
				want[0] = (c - 1) / c
			}
			for k, h := range d.kde.bandwidth {
				if !near(h, want[k], 1e-12) {
					t.Errorf("result %d, %s, axis %d: bandwidth %.15g; want %.15g", i, d.name, k, h, want[k])
				}
			}
			for j, p := range golden.Probes {
				if capped || d.at[j] == nil {
					continue
				}
				compared++
				if got := d.kde.density(p); !near(got, *d.at[j], 1e-9) {
					t.Errorf("result %d, %s, point %d: density %.12g; want %.12g", i, d.name, j, got, *d.at[j])
				}
			}
		}
	}
	if compared < 300 {
		t.Errorf("%d densities compared; want at least 300", compared)
	}
}

func TestImputationLeavesNothingOpen(t *testing.T) {
	m := newKDEModel([]axis{{choices: 3}, {upper: 1}, {upper: 1}}, BOHB{})
	rng := stream.New("baselines/test/impute", 0)
	rows := [][]float64{{1, inactive, 0.5}, {2, 0.25, inactive}, {0, inactive, inactive}}
	out := m.impute(rows, rng)
	// Only one row has axis 1 and only one has axis 2, so nothing is left to chance.
	want := [][]float64{{1, 0.25, 0.5}, {2, 0.25, 0.5}, {0, 0.25, 0.5}}
	for i := range want {
		if !slices.Equal(out[i], want[i]) {
			t.Errorf("row %d is %v; want %v", i, out[i], want[i])
		}
	}
	out = m.impute([][]float64{{inactive, inactive, 0.5}}, rng)
	if v := out[0]; v[0] != math.Trunc(v[0]) || v[0] < 0 || v[0] > 2 || !(v[1] >= 0 && v[1] < 1) {
		t.Errorf("no donor: %v", v)
	}
}

func TestTheNearestRowCountsCategoriesAndWhatIsInactive(t *testing.T) {
	axes := []axis{{choices: 3}, {upper: 1}}
	rows := [][]float64{{0, 0.5}, {1, 0.5}, {1, inactive}, {1, 0.9}}
	all := []int32{0, 1, 2, 3}
	for _, c := range []struct {
		point []float64
		want  int
	}{
		{[]float64{1, 0.6}, 1},
		{[]float64{1, 0.8}, 3},
		{[]float64{1, inactive}, 2},
		{[]float64{0, inactive}, 0}, // 1 away, the others at least 2
	} {
		if got := nearest(rows, axes, all, c.point); got != c.want {
			t.Errorf("nearest to %v is row %d; want %d", c.point, got, c.want)
		}
	}
	if got := nearest(rows, axes, []int32{0, 2}, []float64{1, 0.6}); got != 2 {
		t.Errorf("among rows 0 and 2: %d", got)
	}
}

func TestTruncatedNormalsStayInside(t *testing.T) {
	rng := stream.New("baselines/test/truncated", 0)
	for _, c := range []struct{ mean, deviation float64 }{{0, 0.003}, {1, 0.003}, {0.5, 0.2}, {0, 10}, {1, 1}} {
		for range 100 {
			if x := truncatedNormal(c.mean, c.deviation, rng); !(x >= 0 && x <= 1) {
				t.Fatalf("mean %g, deviation %g: %g", c.mean, c.deviation, x)
			}
		}
	}
}

// TestBOHBFillsBracketsByItsModel needs both densities made before the pool of
// 600 candidates with few axes is empty.
func TestBOHBFillsBracketsByItsModel(t *testing.T) {
	for _, name := range []string{"bohb", "bohb:nearest"} {
		p := encodedProblem(600, 9)
		rate := p.Space.Index("lr")
		score := func(c, _ int) float64 { return -math.Abs(math.Log10(p.Candidates[c][rate].Num()) + 3) }
		m, err := New(name, parseSettings("random-fraction=0.01"))
		if err != nil {
			t.Fatal(err)
		}
		o, err := m.New(p)
		if err != nil {
			t.Fatal(err)
		}
		reached := make(map[int]int)
		var drawn []float64
		for len(drawn) < 150 {
			proposal := ask(t, o)
			if reached[proposal.Trial] == 0 {
				drawn = append(drawn, score(proposal.Candidate, 0))
			}
			curves(score).reply(o, proposal, reached[proposal.Trial], 9)
			reached[proposal.Trial] = proposal.Epoch
		}
		first, later := 0.0, 0.0
		for i := range 12 {
			first += drawn[i] / 12
		}
		for _, v := range drawn[90:] {
			later += v / 60
		}
		if !(later > 0.7*first) {
			t.Errorf("%s: mean distance to the optimum %.3f at random and %.3f later", name, -first, -later)
		}
	}
}

func TestBOHBRefusesAPoolWithoutSpace(t *testing.T) {
	for _, name := range []string{"bohb", "tpe", "tpe-hyperopt"} {
		m, err := New(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.New(search.Problem{MaxEpochs: 9, Candidates: problem(3, 9).Candidates}); err != errNoAxes {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
