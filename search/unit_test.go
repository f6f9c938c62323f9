package search_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"quicktune/search"
)

func curvesOf(scores ...[]float32) search.MetaData {
	return search.MetaData{Train: []search.Curves{{Scores: scores}}}
}

func TestUnitScaleOfLosses(t *testing.T) {
	inf, nan := float32(math.Inf(-1)), float32(math.NaN())
	// Lowest losses 2, 4 and 8; the last curve has none.
	u := curvesOf([]float32{-9, nan, -4}, []float32{inf, -2}, []float32{-8, -16}, []float32{nan, inf}).UnitScale()
	if want := (search.UnitScale{Loss: 4}); u != want {
		t.Fatalf("scale %+v, want %+v", u, want)
	}
	for score, want := range map[float64]float64{0: 1, -4: 0.5, -12: 0.25, math.Inf(-1): 0, 3: 1} {
		if got := u.Apply(score); got != want {
			t.Errorf("score %v becomes %v, want %v", score, got, want)
		}
	}
	// Log odds of the result are the negated logarithm of the loss.
	p := u.Apply(-0.01)
	if got, want := math.Log(p/(1-p)), math.Log(4/0.01); math.Abs(got-want) > 1e-12 {
		t.Errorf("log odds %v, want %v", got, want)
	}
	if !math.IsNaN(u.Apply(math.NaN())) {
		t.Error("NaN becomes a number")
	}

	u = curvesOf([]float32{3, 1}, []float32{-1}).UnitScale()
	if want := (search.UnitScale{Loss: 3, Signed: true}); u != want {
		t.Errorf("scale of signed losses %+v, want %+v", u, want)
	}
	if u := curvesOf([]float32{0}, nil).UnitScale(); u.Loss != 1 {
		t.Errorf("scale of losses that are all 0: %+v", u)
	}
}

func TestUnitScaleLeavesAccuracies(t *testing.T) {
	m := curvesOf([]float32{0.3})
	m.Metric.Bounded = true
	if got := m.UnitScale().Apply(0.3); got != 0.3 {
		t.Errorf("an accuracy of .3 becomes %v", got)
	}
}

func TestUnitScaleKeepsTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := search.UnitScale{Loss: math.Exp(rapid.Float64Range(-9, 9).Draw(t, "log loss")), Signed: rapid.Bool().Draw(t, "signed")}
		a, b := rapid.Float64().Draw(t, "a"), rapid.Float64().Draw(t, "b")
		x, y := u.Apply(min(a, b)), u.Apply(max(a, b))
		if !(x >= 0 && y <= 1 && x <= y) {
			t.Fatalf("%v and %v become %v and %v", min(a, b), max(a, b), x, y)
		}
	})
}
