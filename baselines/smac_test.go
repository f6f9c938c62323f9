package baselines

import (
	"math"
	"testing"

	"quicktune/internal/nn"
	"quicktune/search"
	"quicktune/space"
)

// smacGolden is what scripts/oracles/model_based.py takes from SMAC3 2.4.1.
type smacGolden struct {
	Responses    []struct{ Costs, Responses []float64 }
	Improvements []struct{ Mean, Std, Best, Value float64 }
	Forest       struct {
		X                 [][]float64
		Y, Mean, Variance []float64
	}
	Leaves struct {
		Targets        [][][]float64
		Mean, Variance []float64
	}
}

func TestResponsesAndImprovementsAreThoseOfSMAC(t *testing.T) {
	var golden smacGolden
	readGolden(t, "smac.json", &golden)
	if len(golden.Responses) == 0 || len(golden.Improvements) == 0 {
		t.Fatal("no case")
	}
	for _, c := range golden.Responses {
		agreeAll(t, "responses", logScaled(c.Costs), c.Responses, 1e-5)
	}
	for _, c := range golden.Improvements {
		if got := LogCostEI(c.Mean, c.Std, c.Best); math.Abs(got-c.Value) > 1e-13 {
			t.Errorf("improvement at %v: %v; want %v", c, got, c.Value)
		}
	}
}

func TestForestIsThatOfSMAC(t *testing.T) {
	var golden smacGolden
	readGolden(t, "smac.json", &golden)
	x := nn.NewMatrix(len(golden.Forest.X), len(golden.Forest.X[0]))
	for i, r := range golden.Forest.X {
		copy(x.Row(i), r)
	}
	// Without bootstrap all trees are the same, whoever grows them.
	f, err := newLogForest(x, golden.Forest.Y, false, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range x.Rows {
		mean, variance := f.predict(x.Row(i))
		if !agree(mean, golden.Forest.Mean[i], 1e-12) || !agree(variance, golden.Forest.Variance[i], 1e-12) {
			t.Errorf("row %d: mean %v, variance %v; want %v, %v", i, mean, variance, golden.Forest.Mean[i], golden.Forest.Variance[i])
		}
	}
	// The leaves of SMAC's bootstrapped trees.
	for i, perTree := range golden.Leaves.Targets {
		var leaf []float64
		for _, targets := range perTree {
			leaf = append(leaf, logOfLeaf(targets))
		}
		mean, variance := moments(leaf)
		if !agree(mean, golden.Leaves.Mean[i], 1e-12) || !agree(variance, golden.Leaves.Variance[i], 1e-12) {
			t.Errorf("query %d: mean %v, variance %v; want %v, %v", i, mean, variance, golden.Leaves.Mean[i], golden.Leaves.Variance[i])
		}
	}
}

func TestForestInputsAreOneColumnAHyperparameter(t *testing.T) {
	p := encodedProblem(0, 1)
	config := func(values map[string]space.Value) space.Config {
		c, err := p.Space.ConfigFromMap(values)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	p.Candidates = []space.Config{
		config(map[string]space.Value{"model": space.String("wide"), "lr": space.Float(1e-3), "opt": space.String("sgd"), "momentum": space.Float(0.99), "warmup": space.Int(5), "clip": space.None, "amp": space.Bool(true)}),
		config(map[string]space.Value{"model": space.String("deep"), "lr": space.Float(1e-1), "opt": space.String("adamw"), "warmup": space.Int(0), "clip": space.Float(10), "amp": space.Bool(true)}),
	}
	x, err := forestVectors(p)
	if err != nil {
		t.Fatal(err)
	}
	agreeAll(t, "first", x.Row(0), []float64{1, 0.5, 0, 2, 0.5, 0}, 1e-12)
	agreeAll(t, "second", x.Row(1), []float64{2, 1, 1, 3, 0, 2}, 1e-12)
}

func TestSMACFindsAPeak(t *testing.T) {
	p := encodedProblem(300, 9)
	for name, make := range map[string]func() (search.Optimizer, error){
		"smac": func() (search.Optimizer, error) { return NewSMAC(p, SMAC{Trials: 40, RetrainAfter: 1}) },
		"smac-mf": func() (search.Optimizer, error) {
			return NewSMACMultiFidelity(p, SMACMultiFidelity{SMAC: SMAC{Trials: 40, RetrainAfter: 1}})
		},
	} {
		o, err := make()
		if err != nil {
			t.Fatal(err)
		}
		if best, all := bestAfter(t, o, p, 40); best < 0.98*all {
			t.Errorf("%s: the best of 40 proposals is %.4f; the best of all %.4f", name, best, all)
		}
	}
}

// The multi-fidelity facade learns from the largest rung that has a score.
func TestTheLargestRungIsLearnedFrom(t *testing.T) {
	p := encodedProblem(60, 9)
	o, err := NewSMACMultiFidelity(p, SMACMultiFidelity{})
	if err != nil {
		t.Fatal(err)
	}
	m := o.(*smacMF)
	score := peaked(p)
	reached := map[int]int{}
	for range 13 { // 9 at epoch 1, 3 at 3, 1 at 9
		q := ask(t, o)
		score.reply(o, q, reached[q.Trial], p.MaxEpochs)
		reached[q.Trial] = q.Epoch
	}
	var got [][2]int
	for _, r := range m.rungs {
		got = append(got, [2]int{r.epoch, len(r.known)})
	}
	want := [][2]int{{1, 9}, {3, 3}, {9, 1}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("scores by rung %v; want %v", got, want)
	}
}

func BenchmarkSMACDecision(b *testing.B) {
	benchmarkDecision(b, func(p search.Problem) (search.Optimizer, error) { return NewSMAC(p, SMAC{Trials: 4, Random: -1}) })
}
