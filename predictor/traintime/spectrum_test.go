package traintime

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/blas"
	"quicktune/internal/stream"
)

// powerLaw is a problem of n random samples with features of variance k^-s and
// targets whose part along feature k has the variance k^-q, ten outputs.
func powerLaw(t testing.TB, n int, s, q float64, seed uint64) *Problem {
	t.Helper()
	const width, outputs = 2500, 10
	rng := stream.New("traintime test power law", seed)
	features := make([]float64, n*width)
	for i := range features {
		features[i] = rng.NormFloat64()
	}
	directions := make([]float64, width*outputs)
	for i := range directions {
		directions[i] = math.Pow(float64(i/outputs+1), -q/2) * rng.NormFloat64()
	}
	targets := make([]float64, n*outputs)
	blas.Gemm(false, false, n, outputs, width, 1, features, width, directions, outputs, 0, targets, outputs)
	for i := range features {
		features[i] *= math.Pow(float64(i%width+1), -s/2)
	}
	kernel, err := LastLayer(features, n, width, outputs, false)
	if err != nil {
		t.Fatal(err)
	}
	return &Problem{Kernel: kernel, Outputs: make([]float64, n*outputs), Targets: targets}
}

// subsets returns the spectra of disjoint subsets.
func subsets(t testing.TB, p *Problem, size, count int) []*Spectrum {
	t.Helper()
	var all []*Spectrum
	for g := range count {
		pick := make([]int, size)
		for i := range pick {
			pick[i] = g*size + i
		}
		part, err := p.Subset(pick)
		if err != nil {
			t.Fatal(err)
		}
		s, err := part.Spectrum()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func TestASpectrumHasTheCurveOfItsProblem(t *testing.T) {
	p := newLinear(12, 3, 20, 4).problem(t, MSE) // 36 rows of rank 20
	shared, _ := lastLayer(t, MSE)
	for _, p := range []*Problem{p, shared} {
		s, err := p.Spectrum()
		if err != nil {
			t.Fatal(err)
		}
		settings := []Setting{{LearningRate: 0.7}, {LearningRate: 0.1, Momentum: 0.9, Nesterov: true, Schedule: Cosine(80)}}
		for _, dynamics := range []Dynamics{Exact, Published} {
			o := Options{Steps: 80, Dynamics: dynamics}
			want, err := p.Simulate(t.Context(), settings, o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Simulate(t.Context(), settings, o)
			if err != nil {
				t.Fatal(err)
			}
			for i := range settings {
				near(t, fmt.Sprint("setting ", i), got[i].Loss, want[i].Loss, 1e-10)
			}
		}
	}
}

func TestThePowerLawOfASpectrumIsFound(t *testing.T) {
	s := &Spectrum{Samples: 200, Order: 200}
	for k := 1; k <= 200; k++ {
		s.Values = append(s.Values, 3*math.Pow(float64(k), -1.7))
		s.Energy = append(s.Energy, 1)
	}
	law, err := s.PowerLaw(2, 150)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(law.Exponent-1.7) > 1e-9 || math.Abs(law.Scale-3) > 1e-9 || law.Residual > 1e-7 {
		t.Errorf("%+v", law)
	}
	if v := law.Value(10); math.Abs(v-s.Values[9]) > 1e-9 {
		t.Errorf("value %v at 10, want %v", v, s.Values[9])
	}
	got := subsets(t, powerLaw(t, 300, 2, 1, 1), 300, 1)[0]
	if law, err = got.PowerLaw(3, 100); err != nil || math.Abs(law.Exponent-2) > 0.2 {
		t.Errorf("sampled law %+v, want the exponent 2 (%v)", law, err)
	}
	s.Values[199] = 0
	for _, c := range []struct {
		first, last int
		want        string
	}{{0, 5, "0 to 5 of 200"}, {5, 5, "at least two"}, {5, 201, "5 to 201"}, {5, 200, "eigenvalue 200 is 0"}} {
		_, err := s.PowerLaw(c.first, c.last)
		oneLine(t, "power law", err, c.want)
	}
}

// The published way: both laws are continued, and no error is lost.
func TestThePowerLawsOfASubsetAreContinued(t *testing.T) {
	const part, whole = 60, 400
	s := &Spectrum{Samples: part, Order: part}
	total := 0.0
	for k := 1; k <= part; k++ {
		s.Values = append(s.Values, 3*math.Pow(float64(k), -1.7))
		s.Energy = append(s.Energy, 5*math.Pow(float64(k), -0.8))
		total += s.Energy[k-1]
	}
	long, err := s.Extend(whole)
	if err != nil {
		t.Fatal(err)
	}
	if err := long.validate(); err != nil || long.Samples != whole || long.Order != whole || len(long.Values) != whole {
		t.Fatalf("%d values of order %d for %d samples, %v", len(long.Values), long.Order, long.Samples, err)
	}
	sum := 0.0
	for k := 1; k <= whole; k++ {
		if v, want := long.Values[k-1], 3*math.Pow(float64(k), -1.7); math.Abs(v/want-1) > 1e-9 {
			t.Errorf("eigenvalue %d is %v, want %v", k, v, want)
		}
		if k > part/3+1 {
			if r := long.Energy[k-1] / long.Energy[k-2] / math.Pow(float64(k)/float64(k-1), -0.8); math.Abs(r-1) > 1e-9 {
				t.Errorf("energy %d falls by another law: %v", k, r)
			}
		}
		sum += long.Energy[k-1]
	}
	if math.Abs(sum/total-1) > 1e-12 {
		t.Errorf("the energies sum to %v, want %v", sum, total)
	}
	// A rise behind the subset's own would be no spectrum.
	s.Values[part/3-1] /= 1.5
	for k := part / 3; k < part; k++ {
		s.Values[k] /= 10
	}
	if long, err = s.Extend(whole); err != nil || long.validate() != nil {
		t.Errorf("%v, %v", err, long.validate())
	}
	for want, change := range map[string]func(*Spectrum){
		"squared projection 5 is 0": func(s *Spectrum) { s.Energy[4] = 0 },
		"want more":                 nil,
		"at least two":              func(s *Spectrum) { s.Values, s.Energy = s.Values[:9], s.Energy[:9] },
	} {
		bad, n := *s, whole
		bad.Energy = slices.Clone(s.Energy)
		if change == nil {
			n = part
		} else {
			change(&bad)
		}
		_, err := bad.Extend(n)
		oneLine(t, want, err, want)
	}
}

func TestTheTimeOfGradientFlow(t *testing.T) {
	one := &Spectrum{Samples: 3, Order: 3, Values: []float64{2, 0, 0}, Energy: []float64{7, 4, 4}}
	// What the kernel cannot reach does not count.
	if got, err := one.FlowTime(0.5); err != nil || math.Abs(got-math.Log(2)/4) > 1e-12 {
		t.Errorf("one direction takes %v, want %v (%v)", got, math.Log(2)/4, err)
	}
	p := newLinear(12, 3, 20, 4).problem(t, MSE) // 36 rows of rank 20
	s, err := p.Spectrum()
	if err != nil {
		t.Fatal(err)
	}
	first, floor := 0.0, 0.0
	for k, e := range s.Energy {
		first += e / 2
		if s.Values[k] < 1e-9*s.Values[0] {
			floor += e / 2
		}
	}
	before := 0.0
	for _, part := range []float64{0.1, 0.5, 0.9} {
		time, err := s.FlowTime(part)
		if err != nil {
			t.Fatal(err)
		}
		const steps = 4000
		curves, err := s.Simulate(t.Context(), []Setting{{LearningRate: time / steps}}, Options{Steps: steps, Every: steps})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := curves[0].Loss[1], floor+(1-part)*(first-floor); math.Abs(got/want-1) > 2e-3 {
			t.Errorf("at the time of %v the loss is %v, want %v", part, got, want)
		}
		if time <= before {
			t.Errorf("%v of the loss takes %v, no longer than less of it", part, time)
		}
		before = time
	}
	for want, call := range map[string]func() (float64, error){
		"a part between 0 and 1": func() (float64, error) { return s.FlowTime(1) },
		"0 values":               func() (float64, error) { return new(Spectrum).FlowTime(0.5) },
	} {
		_, err := call()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if time, err := (&Spectrum{Samples: 1, Order: 1, Values: []float64{0}, Energy: []float64{1}}).FlowTime(0.5); time != 0 || err != nil {
		t.Errorf("nothing to learn takes %v, %v", time, err)
	}
}

// A subset of 150 samples tells the curve of 2,000. The error of one subset is
// mostly chance (its 150 errors are not the mean of 2,000); four subsets halve
// it.
func TestASmallSubsetTellsTheCurveOfTheWhole(t *testing.T) {
	const whole, part = 2000, 150
	p := powerLaw(t, whole, 1.5, 1.5, 1)
	full := subsets(t, p, whole, 1)[0]
	parts := subsets(t, p, part, 4)
	settings := []Setting{{LearningRate: 0.5 / full.Values[0]}}
	o := Options{Steps: 4000}
	curve := func(s *Spectrum) *Curve {
		curves, err := s.Simulate(t.Context(), settings, o)
		if err != nil {
			t.Fatal(err)
		}
		return curves[0]
	}
	long, err := parts[0].Extend(whole)
	if err != nil {
		t.Fatal(err)
	}
	want, naive, published := curve(full), curve(parts[0]), curve(long)
	for count, allowed := range map[int]float64{1: 0.12, 4: 0.05} {
		predicted, err := PredictSpectrum(whole, parts[:count]...)
		if err != nil {
			t.Fatal(err)
		}
		got := curve(predicted)
		for _, step := range []int{10, 100, 1000, 4000} {
			truth := want.Loss[step] / want.Loss[0]
			e, plain := got.Loss[step]/got.Loss[0]/truth-1, naive.Loss[step]/naive.Loss[0]/truth-1
			t.Logf("%d subsets, step %d: loss %.4f of the first, predicted %+.1f%%, subset as it is %+.1f%%", count, step, truth, 100*e, 100*plain)
			if math.Abs(e) > allowed {
				t.Errorf("%d subsets, step %d: off by %.1f%%", count, step, 100*e)
			}
			if step >= 100 && math.Abs(e) > math.Abs(plain)/3 {
				t.Errorf("%d subsets, step %d: hardly better than the subset as it is", count, step)
			}
		}
		for _, eps := range []float64{0.05, 0.02} {
			c := Criterion{Kind: WithinFinal, Value: eps, Relative: true}
			truth, steps, plain := want.TimeTo(c).Steps, got.TimeTo(c).Steps, naive.TimeTo(c).Steps
			t.Logf("%d subsets, within %.2f: %v steps, predicted %v, by the power laws %v, subset as it is %v", count, eps, truth, steps, published.TimeTo(c).Steps, plain)
			if math.Abs(steps/truth-1) > 2*allowed {
				t.Errorf("%d subsets: %v steps, want %v", count, steps, truth)
			}
		}
	}
}

func TestASpectrumOfLowRankIsPredicted(t *testing.T) {
	// Five features whatever the number of samples: a subset resolves all.
	const n, width = 400, 5
	rng := stream.New("traintime test rank", 1)
	features := make([]float64, n*width)
	for i := range features {
		features[i] = rng.NormFloat64() * math.Pow(0.5, float64(i%width))
	}
	k := make([]float64, n*n)
	blas.Syrk(gblas.Lower, false, n, width, 1, features, width, 0, k, n)
	for i := range n {
		for j := range i {
			k[j*n+i] = k[i*n+j]
		}
	}
	kernel, err := NewSharedKernel(k, n, 1)
	if err != nil {
		t.Fatal(err)
	}
	targets := make([]float64, n)
	for i := range targets {
		for j := range width {
			targets[i] += features[i*width+j]
		}
	}
	p := &Problem{Kernel: kernel, Outputs: make([]float64, n), Targets: targets}
	full, part := subsets(t, p, n, 1)[0], subsets(t, p, 100, 3)
	predicted, err := PredictSpectrum(n, part...)
	if err != nil {
		t.Fatal(err)
	}
	settings := []Setting{{LearningRate: 0.5 / full.Values[0]}}
	want, err := full.Simulate(t.Context(), settings, Options{Steps: 20})
	if err != nil {
		t.Fatal(err)
	}
	got, err := predicted.Simulate(t.Context(), settings, Options{Steps: 20})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range want[0].Loss {
		if r := got[0].Loss[i] / got[0].Loss[0] / (x / want[0].Loss[0]); math.Abs(r-1) > 0.15 {
			t.Errorf("step %d: loss off by %.0f%%", i, 100*(r-1))
		}
	}
}

func TestSpectraThatAreNoneAreRefused(t *testing.T) {
	ce := newLinear(4, 2, 8, 1).problem(t, CrossEntropy)
	_, err := ce.Spectrum()
	oneLine(t, "cross-entropy", err, "under cross-entropy directions are not learnt independently")
	good := func() *Spectrum {
		return &Spectrum{Samples: 2, Order: 2, Values: []float64{2, 1}, Energy: []float64{1, 1}}
	}
	zero := good()
	zero.Values = []float64{0, 0}
	bad := map[string]struct {
		s    *Spectrum
		want string
	}{
		"empty":   {&Spectrum{Samples: 1, Order: 1}, "0 values"},
		"lengths": {&Spectrum{Samples: 2, Order: 2, Values: []float64{1}, Energy: nil}, "1 values and 0 energies"},
		"NaN":     {&Spectrum{Samples: 2, Order: 2, Values: []float64{math.NaN()}, Energy: []float64{1}}, "value 0 is NaN"},
		"order":   {&Spectrum{Samples: 2, Order: 2, Values: []float64{1, 2}, Energy: []float64{1, 1}}, "value 1 is larger"},
		"zero":    {zero, "do not depend on its weights"},
	}
	for name, c := range bad {
		_, err := PredictSpectrum(10, c.s)
		oneLine(t, name, err, c.want)
	}
	_, err = PredictSpectrum(10)
	oneLine(t, "none", err, "no subset")
	_, err = PredictSpectrum(2, good())
	oneLine(t, "no more", err, "want more")
	other := good()
	other.Samples = 1
	_, err = PredictSpectrum(10, good(), other)
	oneLine(t, "mixed", err, "subsets of 2 and of 1 samples")
	for name, s := range map[string]Setting{"decay": {LearningRate: 1, WeightDecay: 1}, "batch": {LearningRate: 1, Batch: 1}} {
		_, err := good().Simulate(t.Context(), []Setting{s}, Options{Steps: 1})
		oneLine(t, name, err, "tells nothing of mini-batches")
	}
	_, err = good().Simulate(t.Context(), []Setting{{}}, Options{Steps: 1})
	oneLine(t, "rate", err, "learning rate 0")
}
