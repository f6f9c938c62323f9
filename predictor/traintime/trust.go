package traintime

import (
	"fmt"
	"math"
	"strings"
)

// A Doubt is one reason not to trust a prediction.
type Doubt int

const (
	// OutsideStability: the effective learning rate times the largest
	// eigenvalue over N is above 2, where the linearised network is at or
	// beyond divergence and real ones leave the linear regime.
	OutsideStability Doubt = iota
	// AdaptiveOptimizer: the update rule is not SGD.
	AdaptiveOptimizer
	// BatchNormalisation: outputs depend on the other samples of a batch.
	BatchNormalisation
	// HeavyAugmentation: the network is not trained on the samples the kernel
	// was computed on.
	HeavyAugmentation
	// DeepCrossEntropy: the target is half of the initial cross-entropy or
	// less, which real networks reach sooner because they learn features.
	DeepCrossEntropy
	// RoughKernel: the projected kernel has an error above a fifth.
	RoughKernel
)

var doubtNames = [...]string{"outside stability", "adaptive optimiser", "batch normalisation", "heavy augmentation", "deep cross-entropy target", "rough kernel"}

// String returns a name of a few words.
func (d Doubt) String() string {
	if d < 0 || int(d) >= len(doubtNames) {
		return fmt.Sprintf("doubt %d", int(d))
	}
	return doubtNames[d]
}

// A Warning is a doubt with its reason in one line.
type Warning struct {
	Doubt  Doubt
	Reason string
}

// String returns the reason after the name of the doubt.
func (w Warning) String() string { return w.Doubt.String() + ": " + w.Reason }

// edge is the largest product of effective learning rate and curvature that
// counts as inside the linear regime; deep the part of the initial
// cross-entropy from which on a target counts as deep; rough the kernel error
// that counts as large.
const (
	edge  = 2.0
	deep  = 0.5
	rough = 0.2
)

// Trust returns the reasons not to trust the prediction of a setting over a
// horizon of steps, none if there are none.
func (p *Problem) Trust(s Setting, c Criterion, steps int) ([]Warning, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return p.trust(s, c, steps, p.Kernel.Largest())
}

// trust is Trust with the largest eigenvalue at hand.
func (p *Problem) trust(s Setting, c Criterion, steps int, largest float64) ([]Warning, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	err := p.validate(s)
	var all []float64
	if err == nil {
		all, err = rates(s, steps)
	}
	if err != nil {
		return nil, fmt.Errorf("traintime: %w", err)
	}
	var warnings []Warning
	warn := func(d Doubt, format string, a ...any) {
		warnings = append(warnings, Warning{d, fmt.Sprintf(format, a...)})
	}
	peak := 0.0
	for _, eta := range all {
		peak = max(peak, eta/(1-s.Momentum))
	}
	if product := peak * largest / float64(p.Kernel.samples); product > edge {
		warn(OutsideStability, "effective learning rate %.3g times the largest eigenvalue over N is %.3g, above %g", peak, product, edge)
	}
	if name := strings.ToLower(s.optimizer()); name != "sgd" {
		warn(AdaptiveOptimizer, "%s is simulated as SGD, which it is not", name)
	}
	if s.BatchNorm {
		warn(BatchNormalisation, "with batch statistics in training an output depends on the other samples of its batch")
	}
	if len(s.Augmentation) > 0 {
		warn(HeavyAugmentation, "the kernel does not know samples changed by %s", strings.Join(s.Augmentation, ", "))
	}
	if p.Loss == CrossEntropy && c.Kind != WithinFinal && !c.Accuracy {
		first := p.evaluate(p.layout(1), p.Outputs, 0, nil)
		part := c.Value
		if !c.Relative {
			part /= first
		}
		if part <= deep {
			warn(DeepCrossEntropy, "the target is %.3g of the initial cross-entropy; real networks learn features and arrive earlier than predicted", part)
		}
	}
	if e := p.Kernel.relativeError; e > rough {
		reason := fmt.Sprintf("random projections leave an error of %.0f%%; use more directions", 100*e)
		if math.IsInf(e, 1) {
			reason = "random projections leave an error as large as the kernel; use more directions"
		}
		warn(RoughKernel, "%s", reason)
	}
	return warnings, nil
}
