package baselines

import (
	"math"
	"slices"
	"testing"

	"quicktune/internal/stream"
	"quicktune/search"
)

type curveGolden struct {
	Families []struct {
		Name             string
		P, Q             float64
		Constant, Factor float64
		Curve            []float64
	}
	Posteriors []struct {
		Asymptote                           bool
		Shape, Y                            []float64
		Noise, At, Evidence, Mean, Variance float64
	}
}

func TestCurvesAreThoseOfTheSource(t *testing.T) {
	var golden curveGolden
	readGolden(t, "curve_families.json", &golden)
	families := curveFamilies()
	if len(golden.Families) != len(families) || len(families) != 11 {
		t.Fatalf("%d families, %d golden ones; want 11", len(families), len(golden.Families))
	}
	for _, c := range golden.Families {
		i := slices.IndexFunc(families, func(f curveFamily) bool { return f.name == c.Name })
		if i < 0 {
			t.Fatalf("no family is called %s", c.Name)
		}
		f := families[i]
		if !f.asymptote && c.Constant != 0 {
			t.Errorf("%s has no asymptote, but the source has %g", c.Name, c.Constant)
		}
		for e, want := range c.Curve {
			x := float64(e + 1)
			got := c.Constant + c.Factor*f.shape(x, c.P, c.Q)
			if f.offset != nil {
				got += f.offset(x, c.P, c.Q)
			}
			if !near(got, want, 1e-12) {
				t.Errorf("%s at %g: %.15g; want %.15g", c.Name, x, got, want)
			}
		}
	}
}

func TestLinearParametersAreIntegrated(t *testing.T) {
	var golden curveGolden
	readGolden(t, "curve_families.json", &golden)
	for i, c := range golden.Posteriors {
		var s curveSums
		for k, w := range recencyWeights(len(c.Y)) {
			s.add(w, c.Shape[k], c.Y[k])
		}
		evidence, mean, variance := s.posterior(c.Asymptote, c.Noise, c.At)
		if !near(evidence, c.Evidence, 1e-5) || !near(mean, c.Mean, 1e-5) || math.Abs(variance/c.Variance-1) > 1e-4 {
			t.Errorf("case %d: evidence %.8g, mean %.8g, variance %.8g; want %.8g, %.8g, %.8g", i, evidence, mean, variance, c.Evidence, c.Mean, c.Variance)
		}
	}
}

// TestForecastsAreCalibrated extrapolates noisy curves of three families that
// the posterior does not know the parameters of. A forecast of probability p
// that the last epoch exceeds a level should come true about as often; these
// curves are flatter than the prior has them, so it is somewhat less often.
func TestForecastsAreCalibrated(t *testing.T) {
	rng := stream.New("baselines/test/lce", 0)
	m := newCurveModel()
	const n = 400
	expected, happened := 0.0, 0.0
	var low, lowHappened int
	for i := range n {
		top, rate := 0.3+0.6*rng.Float64(), 0.05+0.4*rng.Float64()
		curve := func(x float64) float64 {
			switch i % 3 {
			case 0:
				return top * (1 - math.Exp(-rate*x))
			case 1:
				return top - 0.5*top*math.Pow(x, -3*rate)
			}
			return top * x / (x + 1/rate)
		}
		y := make([]float64, 12)
		for k := range y {
			y[k] = curve(float64(k+1)) + 0.01*rng.NormFloat64()
		}
		level := y[len(y)-1] + 0.2*rng.Float64()
		p := m.predict(y, 50).above(level)
		truth := curve(50) > level
		expected += p
		if truth {
			happened++
		}
		if p < 0.05 {
			low++
			if truth {
				lowHappened++
			}
		}
	}
	if math.Abs(expected-happened) > 0.15*n {
		t.Errorf("%g of %d come true; %.1f were expected", happened, n, expected)
	}
	// At most 5% of those below the threshold, with room for chance.
	if low < 40 || float64(lowHappened) > 0.05*float64(low)+3 {
		t.Errorf("%d forecasts are below 0.05, of which %d come true", low, lowHappened)
	}
}

func TestHopelessCurvesAreStopped(t *testing.T) {
	p := problem(30, 50)
	p.Metric.Bounded = true
	o, err := NewCurveExtrapolation(p, CurveExtrapolation{})
	if err != nil {
		t.Fatal(err)
	}
	// Trial 0 reaches .75, trial 1 saturates at .3, trial 2 rises slowly to .97.
	trial := []func(x float64) float64{
		func(x float64) float64 { return 0.75 * (1 - math.Exp(-x/5)) },
		func(x float64) float64 { return 0.3 * (1 - math.Exp(-x/3)) },
		func(x float64) float64 { return 0.97 * (1 - math.Exp(-x/12)) },
	}
	reached := make([]int, len(trial))
	for {
		proposal := ask(t, o)
		if proposal.Trial == len(trial) {
			break
		}
		for e := reached[proposal.Trial] + 1; e <= proposal.Epoch; e++ {
			r := search.Report{Trial: proposal.Trial, Candidate: proposal.Candidate, Epoch: e, Score: trial[proposal.Trial](float64(e)), Proposed: e == proposal.Epoch}
			if e == 50 {
				r.End = search.Completed
			}
			o.Tell(r)
		}
		reached[proposal.Trial] = proposal.Epoch
	}
	if reached[0] != 50 || reached[1] > 15 || reached[2] != 50 {
		t.Errorf("trained %v epochs; want 50, at most 15, 50", reached)
	}
}

func TestTheFlatBeginningIsCut(t *testing.T) {
	flat := []float64{0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.12, 0.4, 0.6, 0.7}
	if got := cutBeginning(flat); len(got) != 8 {
		t.Errorf("%v is left", got)
	}
	for _, y := range [][]float64{{0.1, 0.2, 0.3}, {0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1}, {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6}} {
		if got := cutBeginning(y); len(got) != len(y) {
			t.Errorf("of %v, %v is left", y, got)
		}
	}
}
