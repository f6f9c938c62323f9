package tangent

import (
	"context"
	"math"
	"testing"

	"quicktune/internal/stream"
	"quicktune/internal/vision"
	"quicktune/predictor/traintime"
)

// random returns a network with weights and running statistics at random, on
// random images.
func random(t *testing.T, name string, classes, images int, scope Scope) *Model[float64] {
	t.Helper()
	net, err := vision.New[float64](name, classes)
	if err != nil {
		t.Fatal(err)
	}
	net.Init(3)
	rng := stream.New("test/tangent", 1)
	for _, p := range net.Params() {
		if p.Fixed {
			for i := range p.Value {
				p.Value[i] = 0.5 + rng.Float64()
			}
		}
	}
	x := make([]float64, images*Pixels)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	m, err := New(net, x, scope)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func jacobian(t *testing.T, m *Model[float64]) []float64 {
	t.Helper()
	n, c, p := m.Shape()
	j := make([]float64, n*c*p)
	if err := m.Rows(j, 0, n); err != nil {
		t.Fatal(err)
	}
	return j
}

func TestTheRowsAreTheDerivativesOfEveryArchitecture(t *testing.T) {
	for _, name := range []string{"plain_xs", "residual_xs", "separable_xs", "mixer_xs", "convmixer_xs", "vit_xs"} {
		for _, scope := range []Scope{Head, LastBlock, All, LastMatrix} {
			m := random(t, name, 3, 2, scope)
			n, c, p := m.Shape()
			j := jacobian(t, m)
			rng := stream.New("test/tangent/direction", 2)
			direction := make([]float64, p)
			for i := range direction {
				direction[i] = rng.NormFloat64()
			}
			before := make([]float64, p)
			m.Weights(before)
			product := make([]float64, n*c)
			if err := m.Multiply(product, direction); err != nil {
				t.Fatal(err)
			}
			after := make([]float64, p)
			m.Weights(after)
			for i := range after {
				if after[i] != before[i] {
					t.Fatalf("%s, %v: weight %d was not put back", name, scope, i)
				}
			}
			scale := 0.0
			for r := range product {
				sum := 0.0
				for i, d := range direction {
					sum += j[r*p+i] * d
				}
				scale = max(scale, math.Abs(sum))
				// Rectifiers near their kink cost a difference its digits.
				if math.Abs(sum-product[r]) > 1e-4*(scale+math.Abs(sum)) {
					t.Errorf("%s, %v: row %d times the direction is %v, the difference quotient %v", name, scope, r, sum, product[r])
				}
			}
		}
	}
}

func TestTheKernelOfTheLastLayerIsThatOfItsFeatures(t *testing.T) {
	m := random(t, "separable_xs", 3, 5, Head)
	n, c, p := m.Shape()
	rows, err := traintime.FromRows(context.Background(), &traintime.Matrix{N: n, C: c, P: p, J: jacobian(t, m)}, traintime.Full, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	features := make([]float64, n*m.net.Features())
	m.Features(features, nil)
	direct, err := traintime.LastLayer(features, n, m.net.Features(), c, true)
	if err != nil {
		t.Fatal(err)
	}
	want := direct.Dense()
	for i, v := range rows.Dense() {
		if math.Abs(v-want[i]) > 1e-10*(1+math.Abs(want[i])) {
			t.Fatalf("element %d: %v from rows, %v from features", i, v, want[i])
		}
	}
}

func TestAScopeHoldsThoseOutsideOfIt(t *testing.T) {
	// The last block's columns are the last columns of the whole Jacobian.
	all, block := random(t, "residual_xs", 2, 2, All), random(t, "residual_xs", 2, 2, LastBlock)
	whole, part := jacobian(t, all), jacobian(t, block)
	for r := range 4 {
		for i := range block.weights {
			a, b := whole[r*all.weights+all.weights-block.weights+i], part[r*block.weights+i]
			if a != b {
				t.Fatalf("row %d, weight %d: %v in the network, %v in its last block", r, i, a, b)
			}
		}
	}
}

func TestProjectionsOfARealNetworkErrAsTheFormulaSays(t *testing.T) {
	m := random(t, "residual_xs", 2, 12, All)
	exact, err := traintime.FromRows(context.Background(), m, traintime.Full, 1<<26)
	if err != nil {
		t.Fatal(err)
	}
	const directions = 400
	rough, err := traintime.Project(context.Background(), m, traintime.Full, directions, 1, 1<<26)
	if err != nil {
		t.Fatal(err)
	}
	var square, wrong float64
	e, r := exact.Dense(), rough.Dense()
	for i := range e {
		square += e[i] * e[i]
		wrong += (e[i] - r[i]) * (e[i] - r[i])
	}
	formula, err := traintime.ProjectionError(exact, directions)
	if err != nil {
		t.Fatal(err)
	}
	if actual := math.Sqrt(wrong / square); actual > 2*formula || actual < formula/2 {
		t.Errorf("the projected kernel errs by %.3f, the formula says %.3f", actual, formula)
	}
}

func TestNewRefusesWhatIsNoImage(t *testing.T) {
	net, err := vision.New[float64]("plain_xs", 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, Pixels + 1} {
		if _, err := New(net, make([]float64, n), All); err == nil {
			t.Errorf("%d values pass for images", n)
		}
	}
	if _, err := New(net, make([]float64, Pixels), Scope(9)); err == nil {
		t.Error("an unknown scope passes")
	}
}
