package traintime

import (
	"math"
	"testing"

	"quicktune/internal/stream"
)

// headSample is samples around as many centres as there are classes.
func headSample(n, width, classes int) (features []float64, labels []int) {
	rng := stream.New("traintime test head", 1)
	centres := make([]float64, classes*width)
	for i := range centres {
		centres[i] = rng.NormFloat64()
	}
	for i := range n {
		y := i % classes
		labels = append(labels, y)
		for j := range width {
			features = append(features, centres[y*width+j]+rng.NormFloat64())
		}
	}
	return features, labels
}

// The loss of a head that starts at equal probabilities has a curvature of at
// most 1/C times the kernel's, so that gradient descent cannot be faster than
// that of its second order, and is as fast while little has been learnt.
func TestAHeadIsTrainedAsFastAsItsSecondOrder(t *testing.T) {
	const n, width, classes = 60, 30, 10
	features, labels := headSample(n, width, classes)
	h, err := NewHead(features, width, labels, classes)
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := LastLayer(features, n, width, classes, true)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := OneHot(labels, classes)
	if err != nil {
		t.Fatal(err)
	}
	p := &Problem{Kernel: kernel, Outputs: make([]float64, n*classes), Targets: targets, Loss: CrossEntropy}
	// Gradient: the loss falls at first by the squared length of the gradient
	// times the learning rate.
	rate := 1e-4 / kernel.Largest()
	curves, err := p.Simulate(t.Context(), []Setting{{LearningRate: rate}}, Options{Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	fall := curves[0].Loss[0] - curves[0].Loss[1]
	if want := rate * h.Gradient * h.Gradient * float64((width+1)*classes); math.Abs(fall/want-1) > 1e-2 {
		t.Errorf("the loss falls by %v in the first step, want %v", fall, want)
	}
	// The half time is that of the squared error with the kernel over C.
	for i := range kernel.matrix {
		kernel.matrix[i] /= classes
	}
	square := &Problem{Kernel: kernel, Outputs: p.Outputs, Targets: make([]float64, n*classes)}
	for i, y := range targets {
		square.Targets[i] = classes*y - 1
	}
	const steps = 2000
	slow := Setting{LearningRate: h.HalfTime / steps}
	c, err := square.Simulate(t.Context(), []Setting{slow}, Options{Steps: 100 * steps, Every: steps})
	if err != nil {
		t.Fatal(err)
	}
	s, err := square.Spectrum()
	if err != nil {
		t.Fatal(err)
	}
	floor := 0.0
	for k, v := range s.Values {
		if v < 1e-9*s.Values[0] {
			floor += s.Energy[k] / 2
		}
	}
	loss := c[0].Loss
	if half := (loss[1] - floor) / (loss[0] - floor); math.Abs(half-0.5) > 5e-3 {
		t.Errorf("%v of the loss is left after the half time", half)
	}
	if got := h.Steps(slow); math.Abs(got-steps) > 1e-6 {
		t.Errorf("%v steps, want %v", got, steps)
	}
}

func TestStepsOfAHeadFollowTheSetting(t *testing.T) {
	h := Head{HalfTime: 10, Gradient: 0.01}
	for name, c := range map[string]struct {
		s    Setting
		want float64
	}{
		"sgd":      {Setting{LearningRate: 0.1}, 100},
		"momentum": {Setting{LearningRate: 0.1, Momentum: 0.9, Optimizer: "momentum"}, 10},
		"adam":     {Setting{LearningRate: 0.1, Optimizer: "AdamW"}, 1},
		"none":     {Setting{}, math.NaN()},
	} {
		if got := h.Steps(c.s); math.Abs(got-c.want) > 1e-9 || math.IsNaN(got) != math.IsNaN(c.want) {
			t.Errorf("%s: %v steps, want %v", name, got, c.want)
		}
	}
}

func TestHeadsWithNothingToLearnAreRefused(t *testing.T) {
	features, labels := headSample(12, 4, 3)
	for want, call := range map[string]func() (*Head, error){
		"at least 2":         func() (*Head, error) { return NewHead(features, 4, labels, 1) },
		"no 12 samples of 5": func() (*Head, error) { return NewHead(features, 5, labels, 3) },
		"want 0 to 1":        func() (*Head, error) { return NewHead(features, 4, labels, 2) },
		"can learn nothing": func() (*Head, error) {
			return NewHead(make([]float64, 48), 4, []int{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2}, 3)
		},
	} {
		_, err := call()
		oneLine(t, want, err, want)
	}
}
