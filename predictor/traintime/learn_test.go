package traintime

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"quicktune/internal/stream"
)

func TestACalibrationFindsThePlantedError(t *testing.T) {
	rng := stream.New("traintime test calibration", 1)
	observe := func(group string, loss Loss, optimizer string, factor, power, noise float64) Observation {
		predicted := math.Exp(3 + 4*rng.Float64())
		depth := 2 * rng.Float64()
		actual := factor * math.Pow(predicted, power) * math.Exp(noise*rng.NormFloat64())
		if loss == CrossEntropy {
			actual *= math.Exp(-0.4 * depth)
		}
		return Observation{Group: group, Loss: loss, Kind: FirstBelow, Optimizer: optimizer, Predicted: predicted, Actual: actual, Depth: depth}
	}
	var runs []Observation
	for g := range 6 {
		for range 40 {
			group := fmt.Sprint("set ", g)
			runs = append(runs,
				observe(group, MSE, "", 1.05, 1, 0.02),
				observe(group, CrossEntropy, "SGD", 0.8, 0.9, 0.1),
				observe(group, CrossEntropy, "adamw", 0.3, 1, 0.3))
		}
	}
	for range 3 {
		runs = append(runs, observe("set 0", MSE, "lion", 2, 1, 0.01))
	}
	runs = append(runs, Observation{Group: "set 1", Kind: FirstBelow, Predicted: 100, Actual: 1e6}) // one wild run
	c, err := FitCalibration(runs, CalibrationOptions{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	stored := &Calibration{}
	if err := json.Unmarshal(data, stored); err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		loss                   Loss
		optimizer              string
		predicted, want, close float64
		exact                  bool
	}{
		{MSE, "sgd", 200, 210, 0.01, true},
		{MSE, "", 200, 210, 0.01, true},
		{CrossEntropy, "SGD", 500, 0.8 * math.Pow(500, 0.9), 0.05, true},
		{CrossEntropy, "AdamW", 500, 150, 0.12, true},
		{MSE, "Lion", 500, 1000, 0.05, true},
		{MSE, "rmsprop", 200, 210, 0.01, false},
	} {
		got, err := stored.Apply(k.loss, FirstBelow, k.optimizer, k.predicted, 1.5)
		if err != nil {
			t.Fatal(err)
		}
		if k.loss == CrossEntropy {
			k.want *= math.Exp(-0.4 * 1.5)
		}
		if math.Abs(got.Steps/k.want-1) > k.close || got.Exact != k.exact || !(got.Low <= got.Steps && got.Steps <= got.High) {
			t.Errorf("%v %s: %+v, want %.1f", k.loss, k.optimizer, got, k.want)
		}
	}
	// Fresh runs fall into the interval as often as it promises.
	inside, fresh := 0, 1000
	for range fresh {
		x := observe("new", CrossEntropy, "adamw", 0.3, 1, 0.3)
		i, err := c.Apply(x.Loss, x.Kind, x.Optimizer, x.Predicted, x.Depth)
		if err != nil {
			t.Fatal(err)
		}
		if i.Low <= x.Actual && x.Actual <= i.High {
			inside++
		}
	}
	if inside < 850 || inside > 950 {
		t.Errorf("%d of %d fresh runs in intervals of 90 %%", inside, fresh)
	}
}

func TestIntervalsReckonWithDataSetsThatDiffer(t *testing.T) {
	// Within a data set all runs err alike; between data sets errors differ.
	var runs []Observation
	for g := range 10 {
		factor := math.Exp(0.5 * math.Cos(float64(g)))
		for i := range 20 {
			runs = append(runs, Observation{Group: fmt.Sprint(g), Loss: CrossEntropy, Predicted: float64(100 + i), Actual: factor * float64(100+i)})
		}
	}
	c, err := FitCalibration(runs, CalibrationOptions{Coverage: 0.8})
	if err != nil {
		t.Fatal(err)
	}
	i, err := c.Apply(CrossEntropy, WithinFinal, "", 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	if i.High/i.Low < 2 {
		t.Errorf("interval %+v, but data sets differ by a factor of %.1f", i, math.E)
	}
}

func TestCalibrationsThatCannotBeFittedAreRefused(t *testing.T) {
	good := Observation{Group: "a", Predicted: 1, Actual: 2}
	for name, c := range map[string]struct {
		runs []Observation
		o    CalibrationOptions
		want string
	}{
		"no runs":  {nil, CalibrationOptions{}, "got none"},
		"zero":     {[]Observation{good, {Group: "b", Actual: 2}}, CalibrationOptions{}, "run 1 (b): predicted 0"},
		"infinite": {[]Observation{{Group: "b", Predicted: 1, Actual: math.Inf(1)}}, CalibrationOptions{}, "actual +Inf"},
		"loss":     {[]Observation{{Group: "b", Loss: 4, Predicted: 1, Actual: 1}}, CalibrationOptions{}, "unknown loss 4"},
		"kind":     {[]Observation{{Kind: 4, Predicted: 1, Actual: 1}}, CalibrationOptions{}, "criterion 4"},
		"depth":    {[]Observation{{Depth: math.NaN(), Predicted: 1, Actual: 1}}, CalibrationOptions{}, "depth NaN"},
		"coverage": {[]Observation{good}, CalibrationOptions{Coverage: 1}, "coverage 1"},
		"too few":  {[]Observation{good}, CalibrationOptions{Fewest: -1}, "at least -1 runs"},
	} {
		_, err := FitCalibration(c.runs, c.o)
		oneLine(t, name, err, c.want)
	}
	c, err := FitCalibration([]Observation{good}, CalibrationOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Apply(CrossEntropy, WithinFinal, "", 1, 0)
	oneLine(t, "unseen loss", err, "no measured run with cross-entropy")
	_, err = c.Apply(MSE, FirstBelow, "", 1, 0)
	oneLine(t, "unseen criterion", err, "criterion 1 to calibrate by")
	_, err = c.Apply(MSE, WithinFinal, "", math.Inf(1), 0)
	oneLine(t, "never", err, "no calibration of +Inf steps")
	one, err := c.Apply(MSE, WithinFinal, "", 10, 0)
	if err != nil || math.Abs(one.Steps-20) > 1e-9 {
		t.Errorf("one run of twice the prediction gives %+v, %v", one, err)
	}
}

func TestPredictionsCarryTheCalibration(t *testing.T) {
	p := newLinear(10, 3, 60, 7).problem(t, MSE)
	c, err := FitCalibration([]Observation{{Group: "a", Predicted: 10, Actual: 5}}, CalibrationOptions{})
	if err != nil {
		t.Fatal(err)
	}
	within := Criterion{Kind: WithinFinal, Value: 0.05, Relative: true}
	got, err := p.Predict(t.Context(), []Setting{{LearningRate: 1}, {LearningRate: 1e6}}, within, c, Options{Steps: 200})
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Calibrated == nil || math.Abs(got[0].Calibrated.Steps-got[0].Time.Steps/2) > 1e-9 || len(got[0].Warnings) != 0 {
		t.Errorf("%+v: calibrated %+v", got[0].Time, got[0].Calibrated)
	}
	if got[1].Calibrated != nil || got[1].Curve.Diverged != 1 || len(got[1].Warnings) != 1 {
		t.Errorf("a divergent setting gives %+v", got[1])
	}
}

func TestBaselinesFindTheirLaws(t *testing.T) {
	rng := stream.New("traintime test baselines", 1)
	power := func(r Run) float64 {
		return 7 * math.Pow(r.EffectiveRate, -0.8) * math.Pow(r.Batch, -0.3) * math.Pow(r.Outputs, 0.5)
	}
	inverse := func(r Run) float64 { return 3 / r.EffectiveRate }
	draw := func(law func(Run) float64) Run {
		r := Run{
			EffectiveRate: math.Exp(-5 * rng.Float64()), Batch: float64(1 + rng.IntN(100)), Samples: 1000,
			Outputs: float64(2 + rng.IntN(50)), Weights: math.Exp(10 + 3*rng.Float64()),
		}
		r.Steps = law(r)
		return r
	}
	for _, c := range []struct {
		name string
		fit  func([]Run) (*Baseline, error)
		law  func(Run) float64
	}{
		{"constant", FitConstant, func(Run) float64 { return 42 }},
		{"inverse rate", FitInverseRate, inverse},
		{"log-linear", FitLogLinear, power},
		{"log-linear", FitLogLinear, inverse},
	} {
		var runs []Run
		for range 60 {
			runs = append(runs, draw(c.law))
		}
		b, err := c.fit(runs)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			r := draw(c.law)
			want := r.Steps
			r.Steps = math.NaN()
			if got, err := b.Steps(r); err != nil || math.Abs(got/want-1) > 1e-4 || b.Name != c.name {
				t.Errorf("%s: %v steps, want %v (%v)", b.Name, got, want, err)
			}
		}
	}
	mixed, err := FitConstant([]Run{{1, 1, 1, 1, 1, 10}, {1, 1, 1, 1, 1, 1000}})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := mixed.Steps(Run{1, 1, 1, 1, 1, 0}); math.Abs(got-100) > 1e-9 {
		t.Errorf("the constant of 10 and 1000 is %v", got)
	}
	if b, err := FitLogLinear([]Run{{1, 2, 3, 4, 5, 6}}); err != nil || math.Abs(b.Coefficients[0]-math.Log(6)) > 1e-12 {
		t.Errorf("one run: %+v %v", b, err)
	}
	for name, fit := range map[string]func([]Run) (*Baseline, error){"constant": FitConstant, "inverse": FitInverseRate, "linear": FitLogLinear} {
		_, err := fit(nil)
		oneLine(t, name, err, "got none")
		_, err = fit([]Run{{1, 1, 1, 1, 1, 1}, {0, 1, 1, 1, 1, 1}})
		oneLine(t, name, err, "run 1:")
	}
	_, err = mixed.Steps(Run{EffectiveRate: 1})
	oneLine(t, "run", err, "want positive finite numbers")
}

func TestPrefixesAreContinued(t *testing.T) {
	for name, curve := range map[string]func(t float64) float64{
		"exponential":    func(t float64) float64 { return 0.3 + 2*math.Exp(-t/40) },
		"power law":      func(t float64) float64 { return 0.1 + 1.5/math.Sqrt(1+t/10) },
		"down to zero":   func(t float64) float64 { return 2 * math.Exp(-t/100) },
		"nothing learnt": func(float64) float64 { return 1 },
		"rising":         func(t float64) float64 { return 1 + t/1000 },
	} {
		prefix := make([]float64, 61)
		for i := range prefix {
			prefix[i] = curve(float64(2 * i))
		}
		all, err := Extrapolate(prefix, 2, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != 501 {
			t.Fatalf("%s: %d losses", name, len(all))
		}
		near(t, name, all[:61], prefix, 0)
		want := curve(1000)
		if name == "rising" {
			want = 1.06 // a rise is taken for noise about a constant
		}
		if math.Abs(all[500]-want) > 0.02*(want+0.1) {
			t.Errorf("%s: %v at the horizon, want %v", name, all[500], want)
		}
	}
	good := []float64{4, 3, 2, 1}
	for name, c := range map[string]struct {
		losses         []float64
		every, horizon int
		want           string
	}{
		"short":   {good[:3], 1, 10, "at least 4"},
		"every":   {good, 0, 10, "every 0 steps"},
		"divides": {good, 3, 10, "do not fit a horizon of 10"},
		"beyond":  {good, 1, 2, "do not fit a horizon of 2"},
		"NaN":     {[]float64{1, 2, math.NaN(), 1}, 1, 10, "loss 2 is NaN"},
	} {
		_, err := Extrapolate(c.losses, c.every, c.horizon)
		oneLine(t, name, err, c.want)
	}
}

func TestContinuedPrefixesFallAndStayFinite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		losses := rapid.SliceOfN(rapid.Float64Range(0, 100), 4, 20).Draw(t, "losses")
		all, err := Extrapolate(losses, 1, 200)
		if err != nil {
			t.Fatal(err)
		}
		for i := len(losses); i < len(all); i++ {
			if !(all[i] >= 0 && all[i] <= 1000) || i > len(losses) && all[i] > all[i-1]*(1+1e-12) {
				t.Fatalf("loss %v after %v", all[i], all[i-1])
			}
		}
	})
}
