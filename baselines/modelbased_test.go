package baselines

import (
	"math"
	"slices"
	"testing"

	"quicktune/search"
	"quicktune/space"
)

// formulaTable is the table of scripts/oracles/model_based.py: rows of a Weyl
// sequence in four dimensions, whose value has one broad and one high peak.
func formulaTable(t *testing.T) (search.Problem, []float64) {
	t.Helper()
	var params []space.Hyperparameter
	for _, name := range []string{"x0", "x1", "x2", "x3"} {
		params = append(params, space.Hyperparameter{Name: name, Type: space.Real, Lower: 0, Upper: 1})
	}
	s, err := space.New("formula", params, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := search.Problem{Space: s, MaxEpochs: 1, Workers: 1, Metric: search.Metric{Name: "value"}}
	var values []float64
	weight := []float64{3, 2, 1, 0.2}
	for i := range 200 {
		var c space.Config
		broad, high := 0.0, 0.0
		for j, prime := range []float64{2, 3, 5, 7} {
			_, x := math.Modf(float64(i+1) * math.Sqrt(prime))
			c = append(c, space.Float(x))
			broad += weight[j] * (x - 0.35) * (x - 0.35)
			high += weight[j] * (x - 0.7) * (x - 0.7)
		}
		p.Candidates = append(p.Candidates, c)
		values = append(values, 0.6*math.Exp(-broad)+0.4*math.Exp(-8*high))
	}
	return p, values
}

// Thirty runs here find what thirty of the public implementation's model find:
// no difference that a rank-sum test sees, and means within a margin of a
// twentieth of the values' range.
func TestFinalScoresAreThoseOfThePublicImplementations(t *testing.T) {
	var golden struct {
		Trials  int
		Values  []float64
		Largest float64
		SMAC    []float64
		GPBO    []float64 `json:"gp-bo"`
	}
	readGolden(t, "model_based_regret.json", &golden)
	p, values := formulaTable(t)
	agreeAll(t, "table", values[:len(golden.Values)], golden.Values, 1e-12)
	if !agree(slices.Max(values), golden.Largest, 1e-12) {
		t.Fatalf("largest value %v; want %v", slices.Max(values), golden.Largest)
	}
	for _, c := range []struct {
		name   string
		public []float64
		make   func(search.Problem) (search.Optimizer, error)
	}{
		{"smac", golden.SMAC, func(p search.Problem) (search.Optimizer, error) { return NewSMAC(p, SMAC{Trials: golden.Trials}) }},
		{"gp-bo", golden.GPBO, func(p search.Problem) (search.Optimizer, error) { return NewGPBO(p, GPBO{Jitter: 0.01}) }},
	} {
		var own []float64
		for seed := range c.public {
			p.Seed = uint64(seed)
			o, err := c.make(p)
			if err != nil {
				t.Fatal(err)
			}
			best := 0.0
			for range golden.Trials {
				q := ask(t, o)
				o.Tell(told(q, values[q.Candidate]))
				best = max(best, values[q.Candidate])
			}
			own = append(own, best)
		}
		difference := average(own) - average(c.public)
		if chance := mannWhitney(own, c.public); chance < 0.01 || math.Abs(difference) > 0.05*(golden.Largest-slices.Min(values)) {
			t.Errorf("%s: mean %.4f here and %.4f there, Mann-Whitney p %.4f", c.name, average(own), average(c.public), chance)
		} else {
			t.Logf("%s: mean %.4f here and %.4f there, Mann-Whitney p %.4f", c.name, average(own), average(c.public), chance)
		}
	}
}
