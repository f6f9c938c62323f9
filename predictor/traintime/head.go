package traintime

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// A Head is what the linearised dynamics of the last layer alone tell of
// training a pretrained network by the cross-entropy: two numbers that serve all
// settings, from nothing but the features of a few samples.
//
// It is for choosing among settings, not for exact times. Where all weights are
// trained, the last layer's kernel is a part of the whole one and the times are
// too long by a factor that depends on the network. From equal probabilities
// the cross-entropy is followed to second order, where its curvature is the
// inverse of the number of classes; noise, decay and schedules are left out.
type Head struct {
	// HalfTime is the learning rate times the number of steps of gradient
	// descent in which half of the loss is gone that the layer can take away.
	HalfTime float64
	// Gradient is the root mean square of the elements of the first gradient.
	Gradient float64
}

// NewHead looks at the features of samples, as many rows of the given width, and
// at their labels. It fails where they give no gradient.
func NewHead(features []float64, width int, labels []int, classes int) (*Head, error) {
	if classes < 2 {
		return nil, fmt.Errorf("traintime: a head of %d classes: at least 2 are needed", classes)
	}
	kernel, err := LastLayer(features, len(labels), width, classes, true)
	if err != nil {
		return nil, err
	}
	targets, err := OneHot(labels, classes)
	if err != nil {
		return nil, err
	}
	for i := range targets {
		targets[i] -= 1 / float64(classes)
	}
	p := Problem{Kernel: kernel, Outputs: make([]float64, len(targets)), Targets: targets}
	s, err := p.Spectrum()
	if err != nil {
		return nil, err
	}
	flow, err := s.FlowTime(0.5)
	if err != nil {
		return nil, err
	}
	square, most := 0.0, 0.0 // of the length of the gradient, and what it could be
	for k, v := range s.Values {
		square += v * s.Energy[k]
		most += s.Values[0] * s.Energy[k]
	}
	if !(square > 1e-20*most) {
		return nil, errors.New("traintime: the last layer can learn nothing from these samples: are their features all the same?")
	}
	return &Head{HalfTime: flow * float64(classes), Gradient: math.Sqrt(square / float64((width+1)*classes))}, nil
}

// Steps returns the number of steps until half of the loss is gone that the
// layer can take away, NaN for a setting without a positive learning rate. That
// of an optimiser whose name begins with "adam" is a rough guess: each weight is
// taken to move at the learning rate at first, as that of gradient descent does
// at the learning rate over the size of the gradient.
func (h Head) Steps(s Setting) float64 {
	rate := s.EffectiveRate()
	if strings.HasPrefix(strings.ToLower(s.optimizer()), "adam") {
		rate = s.LearningRate / h.Gradient
	}
	if !(rate > 0) {
		return math.NaN()
	}
	return h.HalfTime / rate
}
