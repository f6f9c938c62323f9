package traintime

import (
	"context"
	"fmt"
	"math"
)

// A Prediction is what is known of one setting without training.
type Prediction struct {
	// Time is when the criterion is met, in steps.
	Time Time
	// Depth is the natural logarithm of the initial loss over the simulated
	// loss at that time; 0 where the criterion is not met.
	Depth float64
	// Calibrated is the time corrected by measured runs; nil without a
	// calibration, or where the criterion is not met.
	Calibrated *Interval
	// Curve is the simulated course.
	Curve *Curve
	// Warnings are the reasons not to trust it.
	Warnings []Warning
}

// Predict returns a prediction for each setting. The calibration may be nil.
func (p *Problem) Predict(ctx context.Context, settings []Setting, c Criterion, calibration *Calibration, o Options) ([]Prediction, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Accuracy {
		o.Accuracy = true
	}
	curves, err := p.Simulate(ctx, settings, o)
	if err != nil {
		return nil, err
	}
	largest := p.Kernel.Largest()
	predictions := make([]Prediction, len(settings))
	for i, s := range settings {
		warnings, err := p.trust(s, c, o.Steps, largest)
		if err != nil {
			return nil, fmt.Errorf("setting %d: %w", i, err)
		}
		at := &predictions[i]
		*at = Prediction{Time: curves[i].TimeTo(c), Curve: curves[i], Warnings: warnings}
		at.Depth = at.Curve.depth(at.Time.Steps)
		if calibration == nil {
			continue
		}
		if interval, err := calibration.Apply(p.Loss, c.Kind, s.optimizer(), at.Time.Steps, at.Depth); err == nil {
			at.Calibrated = &interval
		}
	}
	return predictions, nil
}

// depth returns the logarithm of how far the loss has fallen at a step.
func (c *Curve) depth(steps float64) float64 {
	if math.IsInf(steps, 0) {
		return 0
	}
	first, then := c.Loss[0], c.Loss[int(steps)/c.Every]
	if !(first > 0 && then > 0) || math.IsInf(then, 0) {
		return 0
	}
	return math.Log(first / then)
}
