package traintime

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCriteriaOnCurvesByHand(t *testing.T) {
	inf := math.Inf(1)
	bumpy := []float64{4, 1, 3, 2, 1.5, 2, 2}
	cases := []struct {
		name  string
		curve []float64
		c     Criterion
		want  int
		ok    bool
	}{
		{"within of the end", bumpy, Criterion{Kind: WithinFinal, Value: 1.5}, 1, true},
		{"strictly within", bumpy, Criterion{Kind: WithinFinal, Value: 1}, 3, true},
		{"within a part of the drop", bumpy, Criterion{Kind: WithinFinal, Value: 0.6, Relative: true}, 1, true},
		{"flat from the start", []float64{2, 2, 2}, Criterion{Kind: WithinFinal, Value: 0.1, Relative: true}, 0, true},
		{"no end to be near to", []float64{2, 1, inf}, Criterion{Kind: WithinFinal, Value: 0.1}, 0, false},
		{"first below", bumpy, Criterion{Kind: FirstBelow, Value: 1}, 1, true},
		{"first below a part of the start", bumpy, Criterion{Kind: FirstBelow, Value: 0.25, Relative: true}, 1, true},
		{"never below", bumpy, Criterion{Kind: FirstBelow, Value: 0.5}, 0, false},
		{"stays below", bumpy, Criterion{Kind: StaysBelow, Value: 2}, 3, true},
		{"always below", bumpy, Criterion{Kind: StaysBelow, Value: 9}, 0, true},
		{"does not stay", []float64{3, 1, 3}, Criterion{Kind: StaysBelow, Value: 2}, 3, false},
		{"diverges later", []float64{3, 1, inf}, Criterion{Kind: StaysBelow, Value: 2}, 3, false},
		{"below before it diverges", []float64{3, 1, inf}, Criterion{Kind: FirstBelow, Value: 2}, 1, true},
		{"no curve", nil, Criterion{Kind: FirstBelow, Value: 2}, 0, false},
	}
	for _, c := range cases {
		if got, ok := c.c.First(c.curve); got != c.want || ok != c.ok {
			t.Errorf("%s: %d %t, want %d %t", c.name, got, ok, c.want, c.ok)
		}
	}
}

func TestCriteriaAreOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		curve := rapid.SliceOfN(rapid.Float64Range(0, 5), 1, 40).Draw(t, "curve")
		value := rapid.Float64Range(0, 5).Draw(t, "value")
		larger := value + rapid.Float64Range(0, 2).Draw(t, "more")
		relative := rapid.Bool().Draw(t, "relative")
		at := func(k Kind, v float64) int {
			if i, ok := (Criterion{Kind: k, Value: v, Relative: relative}).First(curve); ok {
				return i
			}
			return len(curve)
		}
		if at(FirstBelow, value) > at(StaysBelow, value) {
			t.Fatal("stays below before it is below")
		}
		for _, k := range []Kind{WithinFinal, FirstBelow, StaysBelow} {
			if at(k, value) < at(k, larger) {
				t.Fatalf("kind %d: a looser criterion is met later", k)
			}
		}
		if at(WithinFinal, value) == len(curve) {
			t.Fatal("a curve is not near its own end")
		}
	})
}

func TestTimesAreMediansOverDraws(t *testing.T) {
	c := &Curve{Every: 10, band: 0.5, losses: [][]float64{{5, 1, 1, 1}, {5, 5, 1, 1}, {5, 5, 5, 1}, {5, 5, 5, 5}, {5, 1, 1, 1}}}
	c.summarise()
	got := c.TimeTo(Criterion{Kind: FirstBelow, Value: 2})
	if want := (Time{Steps: 20, Low: 10, High: 30, Reached: 0.8}); got.Steps != want.Steps || got.Low != want.Low || got.High != want.High || math.Abs(got.Reached-want.Reached) > 1e-12 {
		t.Errorf("%+v, want %+v", got, want)
	}
	if seconds := got.Scale(0.5); seconds.Steps != 10 || seconds.High != 15 {
		t.Errorf("%+v seconds", seconds)
	}
	if math.Abs(c.Loss[1]-3.4) > 1e-12 || c.Low[1] != 1 || c.High[1] != 5 || c.Draws() != 5 || c.Horizon() != 30 {
		t.Errorf("mean %v, band %v to %v", c.Loss[1], c.Low[1], c.High[1])
	}
	never := c.TimeTo(Criterion{Kind: FirstBelow, Value: 0.5})
	if !math.IsInf(never.Steps, 1) || !math.IsInf(never.Low, 1) || never.Reached != 0 {
		t.Errorf("%+v, want never", never)
	}
	if blind := c.TimeTo(Criterion{Kind: FirstBelow, Value: 0.5, Accuracy: true}); !math.IsInf(blind.Steps, 1) {
		t.Errorf("%+v without accuracies", blind)
	}
}

func TestAccuracyIsThatOfTheOutputs(t *testing.T) {
	p := newLinear(40, 3, 300, 9).problem(t, CrossEntropy)
	for _, dynamics := range []Dynamics{Exact, Published} {
		predictions, err := p.Predict(t.Context(), []Setting{{LearningRate: 3}}, Criterion{Kind: StaysBelow, Value: 0.02, Accuracy: true}, nil, Options{Steps: 400, Dynamics: dynamics})
		if err != nil {
			t.Fatal(err)
		}
		c, time := predictions[0].Curve, predictions[0].Time
		right := 0
		for i := range 40 {
			best := 0
			for o := range 3 {
				if p.Outputs[i*3+o] > p.Outputs[i*3+best] {
					best = o
				}
			}
			if p.Targets[i*3+best] == 1 {
				right++
			}
		}
		if c.Accuracy[0] != float64(right)/40 {
			t.Errorf("accuracy %v at the start, want %d of 40", c.Accuracy[0], right)
		}
		if c.Accuracy[400] != 1 || !(time.Steps > 0 && time.Steps < 400) || c.Accuracy[int(time.Steps)] < 0.98 {
			t.Errorf("dynamics %d: accuracy %v at the end, time %+v", dynamics, c.Accuracy[400], time)
		}
	}
}

func TestDoubtsHaveReasons(t *testing.T) {
	mse, ce := newLinear(10, 3, 60, 7).problem(t, MSE), newLinear(10, 3, 60, 7).problem(t, CrossEntropy)
	edge := 2 * 10 / mse.Kernel.Largest()
	rough, err := ProjectForward(t.Context(), &newLinear(10, 3, 60, 7).Matrix, Full, 20, 1)
	if err != nil {
		t.Fatal(err)
	}
	projected := *mse
	projected.Kernel = rough
	within := Criterion{Kind: WithinFinal, Value: 0.1, Relative: true}
	cases := []struct {
		name string
		p    *Problem
		s    Setting
		c    Criterion
		want []Doubt
	}{
		{"none", mse, Setting{LearningRate: 0.9 * edge}, within, nil},
		{"rate", mse, Setting{LearningRate: 1.1 * edge}, within, []Doubt{OutsideStability}},
		{"momentum", mse, Setting{LearningRate: 0.2 * edge, Momentum: 0.9}, within, []Doubt{OutsideStability}},
		{"peak of the schedule", mse, Setting{LearningRate: 0.9 * edge, Schedule: func(t int) float64 { return 1 + float64(t)/50 }}, within, []Doubt{OutsideStability}},
		{"Adam", mse, Setting{LearningRate: 0.1 * edge, Optimizer: "AdamW"}, within, []Doubt{AdaptiveOptimizer}},
		{"SGD by name", mse, Setting{LearningRate: 0.1 * edge, Optimizer: "SGD"}, within, nil},
		{"batch norm and mixup", mse, Setting{LearningRate: 0.1 * edge, BatchNorm: true, Augmentation: []string{"mixup"}}, within, []Doubt{BatchNormalisation, HeavyAugmentation}},
		{"deep", ce, Setting{LearningRate: 0.1 * edge}, Criterion{Kind: FirstBelow, Value: 0.3, Relative: true}, []Doubt{DeepCrossEntropy}},
		{"deep in nats", ce, Setting{LearningRate: 0.1 * edge}, Criterion{Kind: StaysBelow, Value: 0.1}, []Doubt{DeepCrossEntropy}},
		{"shallow", ce, Setting{LearningRate: 0.1 * edge}, Criterion{Kind: FirstBelow, Value: 0.8, Relative: true}, nil},
		{"published criterion", ce, Setting{LearningRate: 0.1 * edge}, within, nil},
		{"projections", &projected, Setting{LearningRate: 0.01 * edge}, within, []Doubt{RoughKernel}},
	}
	for _, c := range cases {
		warnings, err := c.p.Trust(c.s, c.c, 100)
		if err != nil {
			t.Fatal(err)
		}
		var got []Doubt
		for _, w := range warnings {
			got = append(got, w.Doubt)
			if !strings.HasPrefix(w.String(), w.Doubt.String()+": ") || len(w.Reason) < 20 || strings.Contains(w.Reason, "\n") {
				t.Errorf("%s: %q", c.name, w)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, warnings, c.want)
		}
	}
}

func TestProblemsAndSettingsThatAreNoneAreRefused(t *testing.T) {
	good := func() *Problem { return newLinear(3, 2, 5, 1).problem(t, CrossEntropy) }
	nan := math.NaN()
	problems := map[string]struct {
		change func(*Problem)
		want   string
	}{
		"no kernel":        {func(p *Problem) { p.Kernel = nil }, "without a kernel"},
		"outputs":          {func(p *Problem) { p.Outputs = p.Outputs[1:] }, "5 outputs, want 6"},
		"targets":          {func(p *Problem) { p.Targets = nil }, "0 targets, want 6"},
		"initial":          {func(p *Problem) { p.Initial = p.Initial[:2] }, "2 initial outputs J w0, want 6"},
		"NaN outputs":      {func(p *Problem) { p.Outputs = []float64{0, 0, 0, nan, 0, 0} }, "outputs: sample 1, output 1 is NaN"},
		"size":             {func(p *Problem) { p.Size = 2 }, "3 samples cannot stand for a data set of 2"},
		"loss":             {func(p *Problem) { p.Loss = 7 }, "unknown loss 7"},
		"no distribution":  {func(p *Problem) { p.Targets = []float64{1, 0, 1, 0, 1, 1} }, "targets of sample 2 sum to 2"},
		"negative targets": {func(p *Problem) { p.Targets = []float64{1, 0, 2, -1, 1, 0} }, "sample 1 has the negative target -1"},
	}
	for name, c := range problems {
		p := good()
		c.change(p)
		_, err := p.Simulate(t.Context(), []Setting{{LearningRate: 1}}, Options{Steps: 1})
		oneLine(t, name, err, c.want)
	}
	single := newLinear(2, 1, 3, 1).problem(t, CrossEntropy)
	oneLine(t, "one output", single.Validate(), "single output is always 0")

	settings := map[string]struct {
		s    Setting
		want string
	}{
		"no rate":         {Setting{}, "learning rate 0"},
		"NaN rate":        {Setting{LearningRate: nan}, "learning rate NaN"},
		"momentum":        {Setting{LearningRate: 1, Momentum: 1}, "momentum 1, want one in [0, 1)"},
		"NaN momentum":    {Setting{LearningRate: 1, Momentum: nan}, "momentum NaN"},
		"Nesterov":        {Setting{LearningRate: 1, Nesterov: true}, "Nesterov"},
		"negative decay":  {Setting{LearningRate: 1, WeightDecay: -1}, "weight decay -1"},
		"decay of what":   {Setting{LearningRate: 1, WeightDecay: 1}, "needs the problem's initial outputs"},
		"batch":           {Setting{LearningRate: 1, Batch: -1}, "batch of -1"},
		"bad schedule":    {Setting{LearningRate: 1, Schedule: func(int) float64 { return nan }}, "factor at step 0 is NaN"},
		"rising negative": {Setting{LearningRate: 1, Schedule: func(t int) float64 { return 1 - float64(t) }}, "factor at step 2 is -1"},
	}
	for name, c := range settings {
		p := good()
		p.Initial = nil
		_, err := p.Simulate(t.Context(), []Setting{{LearningRate: 1}, c.s}, Options{Steps: 5})
		oneLine(t, name, err, c.want)
		oneLine(t, name, err, "setting 1")
		_, err = p.Trust(c.s, Criterion{Kind: WithinFinal, Value: 1}, 5)
		oneLine(t, name, err, c.want)
	}

	options := map[string]struct {
		o    Options
		want string
	}{
		"no horizon": {Options{}, "horizon of 0 steps"},
		"every":      {Options{Steps: 10, Every: 3}, "every 3 steps do not divide the horizon of 10"},
		"dynamics":   {Options{Steps: 1, Dynamics: 9}, "unknown dynamics 9"},
		"draws":      {Options{Steps: 1, Draws: -1}, "-1 draws"},
		"band":       {Options{Steps: 1, Band: 1}, "band of 1"},
	}
	for name, c := range options {
		_, err := good().Simulate(t.Context(), nil, c.o)
		oneLine(t, name, err, c.want)
	}
	for name, c := range map[string]Criterion{"zero": {}, "negative": {Kind: FirstBelow, Value: -1}, "NaN": {Kind: StaysBelow, Value: nan}, "kind": {Kind: 5, Value: 1}} {
		_, err := good().Predict(t.Context(), nil, c, nil, Options{Steps: 1})
		oneLine(t, name, err, "criterion")
	}
	_, err := OneHot([]int{0, 3}, 3)
	oneLine(t, "label", err, "sample 1 has the label 3, want 0 to 2")
	_, err = good().NoiseCovariance(nil)
	oneLine(t, "covariance", err, "0 outputs, want 6")
	_, err = good().Subset([]int{5})
	oneLine(t, "subset", err, "sample 5 of a kernel of 3")

	stiff := good()
	stiff.Targets = []float64{0.5, 0.5, 0.5, 0.5, 0.5, 0.5}
	_, err = stiff.Simulate(t.Context(), []Setting{{LearningRate: 1e12}}, Options{Steps: 100, Dynamics: Published})
	oneLine(t, "stiff", err, "too stiff")
}

func TestAnInterruptStopsASimulation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := newLinear(10, 2, 5, 1).problem(t, CrossEntropy)
	for _, o := range []Options{{Steps: 1000}, {Steps: 1000, Dynamics: Published}} {
		for _, s := range []Setting{{LearningRate: 0.1}, {LearningRate: 0.1, Batch: 2}} {
			if _, err := p.Simulate(ctx, []Setting{s}, o); err != context.Canceled {
				t.Errorf("%+v: %v", o, err)
			}
		}
	}
}

// FuzzSimulate feeds arbitrary numbers: every problem is either refused with an
// error or gives curves without NaN and with times inside the horizon.
func FuzzSimulate(f *testing.F) {
	seed := func(x ...float64) {
		var b bytes.Buffer
		_ = binary.Write(&b, binary.LittleEndian, x)
		f.Add(b.Bytes(), byte(1), byte(2), false)
	}
	seed(1, 0.5, 0.5, 1, 0.1, -0.2, 1, 0, 0.3, 0.9, 0.01, 1)
	seed(1e300, 1e300, 1e300, 1e300, 1e200, -1e200, 1, 0, 1e10, 0.999, 0, 0)
	seed(math.Inf(1), 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1)
	seed(0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1)
	f.Fuzz(func(t *testing.T, data []byte, loss, batch byte, published bool) {
		x := make([]float64, 12)
		for i := range x {
			if len(data) >= 8*(i+1) {
				x[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
			}
		}
		kernel, err := NewSharedKernel(x[:4], 2, 2)
		if err != nil {
			return
		}
		p := &Problem{
			Kernel: kernel, Outputs: []float64{x[4], x[5], x[5], x[4]}, Targets: []float64{x[6], x[7], x[7], x[6]},
			Initial: []float64{x[11], x[4], 0, 1}, Loss: Loss(loss % 3), Size: int(batch % 7),
		}
		o := Options{Steps: 20, Draws: 2}
		if published {
			o.Dynamics = Published
		}
		s := Setting{LearningRate: x[8], Momentum: x[9], WeightDecay: x[10], Batch: int(batch % 5)}
		predictions, err := p.Predict(t.Context(), []Setting{s}, Criterion{Kind: WithinFinal, Value: 0.1, Relative: true}, nil, o)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("more than one line: %v", err)
			}
			return
		}
		for _, losses := range [][]float64{predictions[0].Curve.Loss, predictions[0].Curve.Low, predictions[0].Curve.High} {
			for i, l := range losses {
				if math.IsNaN(l) || l < 0 {
					t.Fatalf("loss %v at step %d", l, i)
				}
			}
		}
		if steps := predictions[0].Time.Steps; !(steps >= 0 && steps <= 20 || math.IsInf(steps, 1)) {
			t.Fatalf("time %v", steps)
		}
	})
}
