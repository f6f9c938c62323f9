package nn

import "math"

// Linear is a fully connected layer, y = x Wᵀ + b, with W of shape [out, in].
type Linear struct {
	In, Out int
	W, B    *Tensor
	x       Matrix
}

// NewLinear declares the layer's tensors, name.weight and name.bias, in p.
func NewLinear(p *Params, name string, in, out int) *Linear {
	return &Linear{In: in, Out: out, W: p.Add(name+".weight", out, in), B: p.Add(name+".bias", out)}
}

// Forward writes the layer's value for the batch x [n, In] to y [n, Out]. The
// layer keeps a view of x until Backward.
func (l *Linear) Forward(y, x Matrix) {
	checkShape("input", l.W.Name, x, x.Rows, l.In)
	checkShape("output", l.W.Name, y, x.Rows, l.Out)
	l.x = x
	for i := range y.Rows {
		copy(y.Row(i), l.B.Value)
	}
	Gemm(false, true, 1, x, l.W.matrix(l.W.Value), 1, y)
}

// Backward adds the gradients of the parameters and writes that of the input
// to dx, unless dx is the zero Matrix.
func (l *Linear) Backward(dx, dy Matrix) {
	Gemm(true, false, 1, dy, l.x, 1, l.W.matrix(l.W.Grad))
	for i := range dy.Rows {
		for j, v := range dy.Row(i) {
			l.B.Grad[j] += v
		}
	}
	if !dx.IsZero() {
		Gemm(false, false, 1, dy, l.W.matrix(l.W.Value), 0, dx)
	}
}

// ReLU replaces negative elements of x by 0; NaN stays NaN. Signs of activations
// are as good as random, so neither pass branches on them.
func ReLU(x Matrix) {
	for i := range x.Rows {
		r := x.Row(i)
		for j, v := range r {
			r[j] = (v + math.Abs(v)) / 2
		}
	}
}

// ReLUBackward turns the gradient dy of a rectifier's output y into that of
// its input, in place. The derivative at 0 is 0.
func ReLUBackward(dy, y Matrix) {
	for i := range dy.Rows {
		g, yr := dy.Row(i), y.Row(i)
		g = g[:len(yr)]
		for j, v := range yr {
			// All ones for a positive y, zero for y = 0.
			mask := uint64(-int64(math.Float64bits(v)) >> 63)
			g[j] = math.Float64frombits(math.Float64bits(g[j]) & mask)
		}
	}
}

// LeakyReLU multiplies the elements of x that are not positive by slope.
func LeakyReLU(x Matrix, slope float64) {
	for i := range x.Rows {
		r := x.Row(i)
		for j, v := range r {
			if v <= 0 {
				r[j] = v * slope
			}
		}
	}
}

// LeakyReLUBackward turns the gradient dy of the output y into that of the
// input, in place. slope must not be negative, so that y tells the sign of the
// input.
func LeakyReLUBackward(dy, y Matrix, slope float64) {
	for i := range dy.Rows {
		g := dy.Row(i)
		for j, v := range y.Row(i) {
			if v <= 0 {
				g[j] *= slope
			}
		}
	}
}
