package predictor

import (
	"fmt"
	"math"
)

// Weights are the tensors of a predictor by name, each flattened row-major, in
// the layout of torch: weights of a fully connected layer are [out, in], of a
// convolution [out, in, 3].
type Weights map[string][]float64

// SetReference takes over weights of the public implementation: those of the
// feature extractor under their own names ("encoders.0.input_layer.weight",
// ..., "fc3.bias"), and those of the Gaussian process as gpytorch names them
// ("likelihood.noise_covar.raw_noise", ...). The layer fc2, which the
// implementation never uses, is ignored. The noise bound is taken over where it
// is given.
func (k *DeepKernel) SetReference(extractor, process Weights) error {
	all := make(Weights, len(extractor)+len(process))
	for name, v := range extractor {
		if name != "fc2.weight" && name != "fc2.bias" {
			all["feature_extractor."+name] = v
		}
	}
	floor := NoiseFloor
	for name, v := range process {
		switch name {
		case "likelihood.noise_covar.raw_noise_constraint.lower_bound":
			if len(v) != 1 || !(v[0] >= 0) || math.IsInf(v[0], 1) {
				return fmt.Errorf("predictor: %s must be one number of at least 0", name)
			}
			floor = v[0]
		case "likelihood.noise_covar.raw_noise_constraint.upper_bound",
			"covar_module.raw_outputscale_constraint.lower_bound",
			"covar_module.raw_outputscale_constraint.upper_bound",
			"covar_module.base_kernel.raw_lengthscale_constraint.lower_bound",
			"covar_module.base_kernel.raw_lengthscale_constraint.upper_bound":
		default:
			all[name] = v
		}
	}
	if err := setWeights(k.params, all); err != nil {
		return err
	}
	k.raw.NoiseFloor = floor
	k.gp.Reset()
	return nil
}
