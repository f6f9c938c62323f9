package gp

import (
	"math"
	"testing"

	"quicktune/internal/nn"
	"quicktune/internal/stream"
)

func symmetric(n int, f func(i, j int) float64) nn.Matrix {
	m := nn.NewMatrix(n, n)
	for i := range n {
		for j := range n {
			m.Row(i)[j] = f(i, j)
		}
	}
	return m
}

func TestJitterGrowsUntilTheCovarianceCanBeFactored(t *testing.T) {
	one := func(i, j int) float64 { return 1 }
	for _, c := range []struct {
		name  string
		m     nn.Matrix
		noise float64
		ok    bool
	}{
		{"identity", symmetric(3, func(i, j int) float64 { return map[bool]float64{true: 1}[i == j] }), 0, true},
		{"rank one without noise", symmetric(100, one), 0, true},
		{"rank one, slightly indefinite", symmetric(100, one), -1e-4, true},
		{"indefinite by more than any jitter", symmetric(100, one), -0.5, false},
		{"NaN", symmetric(3, func(i, j int) float64 { return math.NaN() }), 1, false},
		{"infinite", symmetric(3, func(i, j int) float64 { return math.Inf(1) }), 1, false},
	} {
		var l Factor
		err := l.Extend(nn.Matrix{Rows: c.m.Rows}, c.m, c.noise)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			if l.n != 0 {
				t.Errorf("%s: a failed factor has %d rows", c.name, l.n)
			}
			continue
		}
		// L Lᵀ must be the matrix but for noise and jitter on the diagonal.
		for i := range l.n {
			for j := range i + 1 {
				s := 0.0
				for k := range j + 1 {
					s += l.data[i*l.step+k] * l.data[j*l.step+k]
				}
				d := s - c.m.Row(i)[j]
				if i == j {
					d -= c.noise
				}
				if i != j && math.Abs(d) > 1e-12 || i == j && !(d > -1e-12 && d < 2*jitterLast) {
					t.Fatalf("%s: element %d, %d is off by %v", c.name, i, j, d)
				}
			}
		}
	}
}

// A row that cannot be added leaves the factor usable.
func TestAFailedExtensionChangesNothing(t *testing.T) {
	var l Factor
	rng := stream.New("test/extension", 1)
	a := symmetric(5, func(i, j int) float64 { return math.Exp(-float64((i - j) * (i - j))) })
	if err := l.Extend(nn.Matrix{Rows: 5}, a, 0.1); err != nil {
		t.Fatal(err)
	}
	x := make([]float64, 5)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	want := append([]float64(nil), x...)
	l.Solve(want)
	bad := nn.Matrix{Rows: 1, Cols: 5, Stride: 5, Data: []float64{9, 9, 9, 9, 9}}
	if err := l.Extend(bad, symmetric(1, func(i, j int) float64 { return 1 }), 0.1); err == nil {
		t.Fatal("a covariance beyond the variances was accepted")
	}
	l.Solve(x)
	for i := range x {
		if x[i] != want[i] {
			t.Fatalf("the solution changed from %v to %v", want, x)
		}
	}
}
