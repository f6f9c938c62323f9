package baselines

import (
	"math"
	"testing"
)

// The closed form is syne-tune's, the logarithm that of exact arithmetic:
// scripts/oracles/gaussian_process.py.
func TestExpectedImprovementAndItsLogarithm(t *testing.T) {
	var golden []struct{ Mean, Std, Best, Value, Log float64 }
	readGolden(t, "expected_improvement.json", &golden)
	if len(golden) == 0 {
		t.Fatal("no case")
	}
	for _, c := range golden {
		if got := ExpectedImprovement(c.Mean, c.Std, c.Best); math.Abs(got-c.Value) > 1e-12*c.Std {
			t.Errorf("EI(%v, %v, %v) is %v; want %v", c.Mean, c.Std, c.Best, got, c.Value)
		}
		if got := LogExpectedImprovement(c.Mean, c.Std, c.Best); math.Abs(got-c.Log) > 1e-9*math.Abs(c.Log) {
			t.Errorf("log EI(%v, %v, %v) is %v; want %v", c.Mean, c.Std, c.Best, got, c.Log)
		}
	}
}

func TestExpectedImprovementWithoutUncertainty(t *testing.T) {
	for _, c := range []struct{ mean, best, want float64 }{{2, 1, 1}, {1, 1, 0}, {0, 1, 0}} {
		if got := ExpectedImprovement(c.mean, 0, c.best); got != c.want {
			t.Errorf("EI(%v, 0, %v) is %v; want %v", c.mean, c.best, got, c.want)
		}
		if got := LogExpectedImprovement(c.mean, 0, c.best); got != math.Log(c.want) {
			t.Errorf("log EI(%v, 0, %v) is %v; want %v", c.mean, c.best, got, math.Log(c.want))
		}
	}
}
