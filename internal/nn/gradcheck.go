package nn

import "math"

// CheckGradient compares the gradient in grad with central differences of loss
// by the numbers in value, which loss reads and which are put back. It returns
// the largest error relative to the larger of the two derivatives, or to a
// thousandth of the largest derivative of all where both are smaller than that:
// differences say nothing about derivatives that are zero but for rounding.
//
// loss must be smooth within 1e-5 of value. At most limit numbers are checked,
// spread evenly; 0 means all.
func CheckGradient(loss func() float64, value, grad []float64, limit int) float64 {
	stride := 1
	if limit > 0 {
		stride = max(1, len(value)/limit)
	}
	want := append([]float64(nil), grad...)
	floor := 1e-3 * largest(want)
	worst := 0.0
	for i := 0; i < len(value); i += stride {
		v := value[i]
		h := 1e-5 * math.Max(1, math.Abs(v))
		at := func(x float64) float64 {
			value[i] = x
			return loss()
		}
		// Richardson's extrapolation of two central differences.
		coarse := (at(v+h) - at(v-h)) / (2 * h)
		fine := (at(v+h/2) - at(v-h/2)) / h
		value[i] = v
		num := (4*fine - coarse) / 3
		scale := math.Max(floor, math.Max(math.Abs(num), math.Abs(want[i])))
		if scale > 0 {
			worst = math.Max(worst, math.Abs(num-want[i])/scale)
		}
	}
	return worst
}
