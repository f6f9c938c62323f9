package gp

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"pgregory.net/rapid"

	"quicktune/internal/nn"
	"quicktune/internal/stream"
)

// maternCase is a case of scripts/oracles/gaussian_process.py.
type maternCase struct {
	X, Z           [][]float64
	Y              []float64
	Parameters     []float64 // mean, noise, scale, inverse length scales
	Likelihood     float64
	Gradient       []float64
	Mean, Variance []float64
}

func (c maternCase) parameters() MaternParameters {
	p := c.Parameters
	return MaternParameters{Mean: p[0], Noise: p[1], Scale: p[2], Inverse: p[3:]}
}

func matrix(rows [][]float64) nn.Matrix {
	m := nn.NewMatrix(len(rows), len(rows[0]))
	for i, r := range rows {
		copy(m.Row(i), r)
	}
	return m
}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance*max(1, math.Abs(b)) }

// The values come from syne-tune 0.13's Gaussian process.
func TestMaternIsThatOfSyneTune(t *testing.T) {
	data, err := os.ReadFile("testdata/matern.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []maternCase
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) == 0 {
		t.Fatal(len(cases), err)
	}
	for k, c := range cases {
		var g Matern
		var grad MaternGradient
		h, x := c.parameters(), matrix(c.X)
		loss, err := g.Marginal(&grad, x, c.Y, nil, h)
		if err != nil {
			t.Fatal(err)
		}
		if !near(loss, c.Likelihood, 1e-9) {
			t.Errorf("case %d: likelihood %v; want %v", k, loss, c.Likelihood)
		}
		for i, v := range append([]float64{grad.Mean, grad.Noise, grad.Scale}, grad.Inverse...) {
			if !near(v, c.Gradient[i], 1e-7) {
				t.Errorf("case %d: derivative %d is %v; want %v", k, i, v, c.Gradient[i])
			}
		}
		// Rows are added in two parts: the posterior must not depend on it.
		g.Reset(h, matrix(c.Z))
		first := len(c.X) / 3
		for _, part := range [][2]int{{0, first}, {first, len(c.X)}} {
			if part[0] == part[1] {
				continue
			}
			if err := g.Extend(matrix(c.X[part[0]:part[1]]), c.Y[part[0]:part[1]], nil); err != nil {
				t.Fatal(err)
			}
		}
		mean, std := make([]float64, len(c.Z)), make([]float64, len(c.Z))
		g.Predict(mean, std)
		for i := range mean {
			if !near(mean[i], c.Mean[i], 1e-8) || !near(std[i]*std[i], c.Variance[i], 1e-8) {
				t.Errorf("case %d, candidate %d: mean %v, variance %v; want %v, %v", k, i, mean[i], std[i]*std[i], c.Mean[i], c.Variance[i])
			}
		}
	}
}

func TestMaternGradientIsThatOfItsLikelihood(t *testing.T) {
	rng := stream.New("test/matern", 1)
	const n, d = 9, 4
	x := nn.NewMatrix(n, d)
	for i := range x.Data {
		x.Data[i] = rng.Float64()
	}
	// All numbers that the likelihood depends on, in one slice: mean, noise,
	// scale, inverse length scales, targets, variances.
	value := []float64{0.1, 0.05, 1.3}
	for range d {
		value = append(value, 0.5+rng.Float64())
	}
	for range n {
		value = append(value, rng.NormFloat64())
	}
	for range n {
		value = append(value, 0.1+rng.Float64())
	}
	var g Matern
	var grad MaternGradient
	loss := func() float64 {
		v := value
		l, err := g.Marginal(&grad, x, v[3+d:3+d+n], v[3+d+n:], MaternParameters{Mean: v[0], Noise: v[1], Scale: v[2], Inverse: v[3 : 3+d]})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	loss()
	all := append([]float64{grad.Mean, grad.Noise, grad.Scale}, grad.Inverse...)
	all = append(append(all, grad.Targets...), grad.Variances...)
	if e := nn.CheckGradient(loss, value, all, 0); !(e <= 1e-6) {
		t.Errorf("relative error %.1e", e)
	}
}

// Three rows of one column, worked out from the definition.
func TestPosteriorOfThreePoints(t *testing.T) {
	k := func(d float64) float64 {
		b := math.Sqrt(5) * math.Abs(d)
		return (1 + b + b*b/3) * math.Exp(-b)
	}
	// Rows at 0 and 1 with noise 0.1 and targets 1 and -1, candidate at 0.
	a, c := 1.1, k(1)
	det := a*a - c*c
	w0, w1 := (a*1-c*-1)/det, (-c*1+a*-1)/det
	mean := k(0)*w0 + k(1)*w1
	variance := 1 - (a*1-2*c*c+a*c*c)/det
	var g Matern
	g.Reset(MaternParameters{Noise: 0.1, Scale: 1, Inverse: []float64{1}}, matrix([][]float64{{0}}))
	if err := g.Extend(matrix([][]float64{{0}, {1}}), []float64{1, -1}, nil); err != nil {
		t.Fatal(err)
	}
	m, s := []float64{0}, []float64{0}
	g.Predict(m, s)
	if !near(m[0], mean, 1e-8) || !near(s[0]*s[0], variance, 1e-8) {
		t.Errorf("mean %v, variance %v; want %v, %v", m[0], s[0]*s[0], mean, variance)
	}
}

// Pending rows whose targets turn out as drawn give what observing them gives,
// and leave no trace.
func TestPendingRowsAreAsIfObserved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := stream.New("test/pending", rapid.Uint64().Draw(t, "seed"))
		n, m, pending, d := rapid.IntRange(1, 6).Draw(t, "rows"), rapid.IntRange(1, 5).Draw(t, "candidates"), rapid.IntRange(1, 4).Draw(t, "pending"), rapid.IntRange(1, 3).Draw(t, "columns")
		draw := func(rows int) nn.Matrix {
			x := nn.NewMatrix(rows, d)
			for i := range x.Data {
				x.Data[i] = rng.Float64()
			}
			return x
		}
		h := MaternParameters{Mean: 0.2, Noise: 0.01, Scale: 1.5, Inverse: make([]float64, d)}
		for j := range h.Inverse {
			h.Inverse[j] = 0.5 + rng.Float64()
		}
		x, z, p := draw(n), draw(m), draw(pending)
		y, normals := make([]float64, n), make([]float64, pending)
		for i := range y {
			y[i] = rng.NormFloat64()
		}
		for i := range normals {
			normals[i] = rng.NormFloat64()
		}
		var g Matern
		g.Reset(h, z)
		if err := g.Extend(x, y, nil); err != nil {
			t.Fatal(err)
		}
		before, std := make([]float64, m), make([]float64, m)
		g.Predict(before, std)
		got, gotStd := make([]float64, m), make([]float64, m)
		if err := g.Pending([][]float64{got}, gotStd, p, [][]float64{normals}); err != nil {
			t.Fatal(err)
		}
		after := make([]float64, m)
		g.Predict(after, std)
		for i := range after {
			if after[i] != before[i] {
				t.Fatal("the process has changed")
			}
		}
		// Draw the same targets one by one from the posterior at the row.
		for i := range pending {
			row := nn.Matrix{Rows: 1, Cols: d, Stride: d, Data: p.Row(i)}
			var q Matern
			q.Reset(h, row)
			if err := q.Extend(x, y, nil); err != nil {
				t.Fatal(err)
			}
			for k := range i {
				if err := q.Extend(nn.Matrix{Rows: 1, Cols: d, Stride: d, Data: p.Row(k)}, y[n+k:n+k+1], nil); err != nil {
					t.Fatal(err)
				}
			}
			mu, s := []float64{0}, []float64{0}
			q.Predict(mu, s)
			target := mu[0] + normals[i]*math.Sqrt(s[0]*s[0]+h.Noise)
			y = append(y, target)
			if err := g.Extend(row, []float64{target}, nil); err != nil {
				t.Fatal(err)
			}
		}
		want, wantStd := make([]float64, m), make([]float64, m)
		g.Predict(want, wantStd)
		for i := range want {
			if !near(got[i], want[i], 1e-6) || !near(gotStd[i], wantStd[i], 1e-5) {
				t.Fatalf("candidate %d: %v ± %v; want %v ± %v", i, got[i], gotStd[i], want[i], wantStd[i])
			}
		}
	})
}
