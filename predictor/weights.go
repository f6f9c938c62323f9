package predictor

import (
	"fmt"
	"maps"
	"slices"

	"quicktune/internal/nn"
)

// setWeights copies w to p. Every tensor must be there with the right number
// of finite values, and nothing else; on an error p is unchanged.
func setWeights(p *nn.Params, w Weights) error {
	for _, t := range p.Tensors {
		v, ok := w[t.Name]
		if !ok {
			return fmt.Errorf("predictor: tensor %s is missing", t.Name)
		}
		if len(v) != len(t.Value) {
			return fmt.Errorf("predictor: tensor %s has %d values, the architecture needs %d (shape %v)", t.Name, len(v), len(t.Value), t.Shape)
		}
		if !nn.Finite(v) {
			return fmt.Errorf("predictor: tensor %s holds a number that is not finite", t.Name)
		}
	}
	if len(w) > len(p.Tensors) {
		for _, name := range slices.Sorted(maps.Keys(w)) {
			if p.Lookup(name) == nil {
				return fmt.Errorf("predictor: tensor %s is not part of the architecture", name)
			}
		}
	}
	for _, t := range p.Tensors {
		copy(t.Value, w[t.Name])
	}
	return nil
}
