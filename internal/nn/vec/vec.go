// Package vec holds the loops of neural networks that are no matrix products:
// activations, sums by column, normalisation, softmax, depthwise convolution and
// the step of Adam, on row-major float32 and float64.
//
// In float32 on amd64 they run on AVX-512 or AVX2 kernels, chosen with the path
// of package blas, elsewhere in Go. All paths give the same bits for every input
// that is finite: a sum by column is one chain of additions down the rows, a sum
// along a row has 16 partial sums that are added in halves, and products are
// fused. float64 is always in Go and exists for gradient checks.
//
// The package refuses to allocate, to use several goroutines and to check more
// than lengths; a wrong length is a programming error and panics.
package vec

import (
	"math"
	"unsafe"

	"quicktune/internal/blas"
)

// Float is the element type.
type Float = blas.Float

// lanes is the number of elements that the kernels take at a time.
const lanes = 16

// table lists the kernels of one path. Pointers lead to the first elements,
// groups counts 16 elements each.
type table struct {
	add, mul       func(groups int, y, x *float32)
	scale          func(groups int, y *float32, a float32)
	axpy           func(groups int, y, x *float32, a float32)
	relu, reluGrad func(groups int, y, x *float32)
	gelu, geluGrad func(groups int, y, x *float32)
	adam           func(groups int, p, m, v, g *float32, beta1, rest1, beta2, rest2, step, eps float32)
	colSums        func(rows, groups int, s, x *float32)
	colMoments     func(rows, groups int, s1, s2, x, shift *float32)
	colDots        func(rows, groups int, s1, s2, dy, x, shift *float32)
	colAffine      func(rows, groups int, y, x, a, b *float32)
	colAffineReLU  func(rows, groups int, y, x, a, b *float32)
	colCombine     func(rows, groups int, dy, x, a, b, c *float32)
	rowNorm        func(rows, groups int, y, rstd, x *float32, inverse, eps float32)
	rowNormGrad    func(rows, groups int, dy, xhat, rstd, gamma *float32, inverse float32)
	softmax        func(rows, groups int, x *float32)
	softmaxGrad    func(rows, groups int, dy, y *float32)
	depthwise      func(pixels, groups, taps int, y, x, w *float32, offsets *int)
	depthwiseGrad3 func(pixels, groups int, dw, x, dy *float32)
	depthwiseGrad5 func(pixels, groups int, dw, x, dy *float32)
	maxPool        func(pixels, groups int, y, top, low *float32)
	maxPoolGrad    func(pixels, groups int, dtop, dlow, top, low, y, dy *float32)
}

func is64[T Float]() bool {
	var x T
	return unsafe.Sizeof(x) == 8
}

// kernels returns the kernels for T, nil if there are none.
func kernels[T Float]() *table {
	if is64[T]() {
		return nil
	}
	return tables[blas.Active()]
}

func ptr[T Float](s []T) *float32 { return (*float32)(unsafe.Pointer(unsafe.SliceData(s))) }

// Add computes y += x.
func Add[T Float](y, x []T) {
	x = x[:len(y)]
	i := 0
	if k := kernels[T](); k != nil {
		i = len(y) &^ (lanes - 1)
		k.add(i/lanes, ptr(y), ptr(x))
	}
	for ; i < len(y); i++ {
		y[i] += x[i]
	}
}

// Mul computes y *= x.
func Mul[T Float](y, x []T) {
	x = x[:len(y)]
	i := 0
	if k := kernels[T](); k != nil {
		i = len(y) &^ (lanes - 1)
		k.mul(i/lanes, ptr(y), ptr(x))
	}
	for ; i < len(y); i++ {
		y[i] *= x[i]
	}
}

// Scale computes y *= a.
func Scale[T Float](y []T, a T) {
	i := 0
	if k := kernels[T](); k != nil {
		i = len(y) &^ (lanes - 1)
		k.scale(i/lanes, ptr(y), float32(a))
	}
	for ; i < len(y); i++ {
		y[i] *= a
	}
}

// Axpy computes y += a*x, fused.
func Axpy[T Float](a T, x, y []T) {
	x = x[:len(y)]
	i := 0
	if k := kernels[T](); k != nil {
		i = len(y) &^ (lanes - 1)
		k.axpy(i/lanes, ptr(y), ptr(x), float32(a))
	}
	for ; i < len(y); i++ {
		y[i] = blas.FMA(x[i], a, y[i])
	}
}

// ReLU computes y = max(0, x); what is no number stays so. y may be x.
func ReLU[T Float](y, x []T) {
	x = x[:len(y)]
	i := 0
	if k := kernels[T](); k != nil {
		i = len(y) &^ (lanes - 1)
		k.relu(i/lanes, ptr(y), ptr(x))
	}
	for ; i < len(y); i++ {
		y[i] = rectify(x[i])
	}
}

func rectify[T Float](v T) T {
	if 0 > v {
		return 0
	}
	return v
}

// ReLUGrad turns the gradient dy of the output y of [ReLU] into that of its
// input, in place. The derivative at 0 is 0.
func ReLUGrad[T Float](dy, y []T) {
	y = y[:len(dy)]
	i := 0
	if k := kernels[T](); k != nil {
		i = len(dy) &^ (lanes - 1)
		k.reluGrad(i/lanes, ptr(dy), ptr(y))
	}
	for ; i < len(dy); i++ {
		if !(y[i] > 0) {
			dy[i] = 0
		}
	}
}

const (
	gelu1 = 2 * 0.79788456080286535587989211986876 // 2*sqrt(2/pi)
	gelu3 = gelu1 * 0.044715
)

// triple is 3*x rounded to T, as the table of the kernels has it.
func triple[T Float](x T) T { return 3 * x }

// GELU computes y = x*Phi(x), Phi being the normal distribution in the
// approximation by a hyperbolic tangent of Hendrycks and Gimpel, "Gaussian Error
// Linear Units", arXiv:1606.08415. y may be x.
func GELU[T Float](y, x []T) {
	x = x[:len(y)]
	i := 0
	if k := kernels[T](); k != nil {
		i = len(y) &^ (lanes - 1)
		k.gelu(i/lanes, ptr(y), ptr(x))
	}
	for ; i < len(y); i++ {
		v := x[i]
		u := blas.FMA(v*v, T(gelu3), T(gelu1))
		y[i] = v * sigmoid(u*v)
	}
}

// GELUGrad turns the gradient dy of the output of [GELU] at x into that of its
// input, in place.
func GELUGrad[T Float](dy, x []T) {
	x = x[:len(dy)]
	i := 0
	if k := kernels[T](); k != nil {
		i = len(dy) &^ (lanes - 1)
		k.geluGrad(i/lanes, ptr(dy), ptr(x))
	}
	for ; i < len(dy); i++ {
		v := x[i]
		square := T(v * v)
		s := sigmoid(blas.FMA(square, T(gelu3), T(gelu1)) * v)
		slope := blas.FMA(square, triple(T(gelu3)), T(gelu1))
		rest := T(T(T(s*T(1-s))*v) * slope)
		dy[i] *= T(s + rest)
	}
}

func sigmoid[T Float](x T) T { return 1 / T(1+exp(-x)) }

// exp is the exponential, in float32 that of the kernels: Cephes' expf.
func exp[T Float](x T) T {
	if is64[T]() {
		return T(math.Exp(float64(x)))
	}
	v := float32(x)
	if !(-87 > v) {
		v = max(v, -87)
	} else {
		v = -87
	}
	v = min(v, 88)
	n := float32(math.RoundToEven(float64(float32(v * 1.44269504088896341))))
	v = blas.FMA(-n, 0.693359375, v)
	v = blas.FMA(-n, -2.12194440e-4, v)
	p := float32(1.9875691500e-4)
	for _, c := range [...]float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		p = blas.FMA(p, v, c)
	}
	p = blas.FMA(p, float32(v*v), v) + 1
	return T(p * math.Float32frombits(uint32(int32(n)<<23)+math.Float32bits(1)))
}

// AdamStep is what [Adam] needs to know of one step.
type AdamStep struct {
	Beta1, Beta2 float64
	// Step is the learning rate over the bias correction of the first moment,
	// times the root of that of the second; Eps is epsilon times that root.
	Step, Eps float64
}

// Adam moves the moments m and v and the parameters p by one step.
func Adam[T Float](s AdamStep, p, m, v, g []T) {
	m, v, g = m[:len(p)], v[:len(p)], g[:len(p)]
	b1, r1, b2, r2 := T(s.Beta1), T(1-s.Beta1), T(s.Beta2), T(1-s.Beta2)
	step, eps := T(s.Step), T(s.Eps)
	i := 0
	if k := kernels[T](); k != nil {
		i = len(p) &^ (lanes - 1)
		k.adam(i/lanes, ptr(p), ptr(m), ptr(v), ptr(g), float32(b1), float32(r1), float32(b2), float32(r2), float32(step), float32(eps))
	}
	for ; i < len(p); i++ {
		m[i] = blas.FMA(g[i], r1, T(m[i]*b1))
		v[i] = blas.FMA(T(g[i]*r2), g[i], T(v[i]*b2))
		p[i] = blas.FMA(-step, m[i]/T(T(math.Sqrt(float64(v[i])))+eps), p[i])
	}
}

// shape returns the number of columns of x, which has so many rows, and the
// kernels if they can be used on it.
func shape[T Float](x []T, rows int) (columns int, k *table) {
	if rows == 0 {
		return 0, nil
	}
	columns = len(x) / rows
	if columns*rows != len(x) {
		panic("vec: a matrix is not made of whole rows")
	}
	if columns%lanes == 0 && columns > 0 {
		k = kernels[T]()
	}
	return columns, k
}

// ColSums adds the sum of each column of x [rows, len(s)] to s.
func ColSums[T Float](s, x []T, rows int) {
	c, k := shape(x, rows)
	s = s[:c]
	if k != nil {
		k.colSums(rows, c/lanes, ptr(s), ptr(x))
		return
	}
	for r := range rows {
		for j, v := range x[r*c : r*c+c] {
			s[j] += v
		}
	}
}

// ColMoments adds the column sums of x-shift to s1 and those of its square to
// s2.
func ColMoments[T Float](s1, s2, x, shift []T, rows int) {
	c, k := shape(x, rows)
	s1, s2, shift = s1[:c], s2[:c], shift[:c]
	if k != nil {
		k.colMoments(rows, c/lanes, ptr(s1), ptr(s2), ptr(x), ptr(shift))
		return
	}
	for r := range rows {
		for j, v := range x[r*c : r*c+c] {
			d := v - shift[j]
			s1[j] += d
			s2[j] = blas.FMA(d, d, s2[j])
		}
	}
}

// ColDots adds the column sums of dy to s1 and those of dy*(x-shift) to s2.
func ColDots[T Float](s1, s2, dy, x, shift []T, rows int) {
	c, k := shape(x, rows)
	s1, s2, shift, dy = s1[:c], s2[:c], shift[:c], dy[:len(x)]
	if k != nil {
		k.colDots(rows, c/lanes, ptr(s1), ptr(s2), ptr(dy), ptr(x), ptr(shift))
		return
	}
	for r := range rows {
		g := dy[r*c : r*c+c]
		for j, v := range x[r*c : r*c+c] {
			s1[j] += g[j]
			s2[j] = blas.FMA(T(v-shift[j]), g[j], s2[j])
		}
	}
}

// ColAffine computes y = x*a + b with one a and b a column. y may be x.
func ColAffine[T Float](y, x, a, b []T, rows int) {
	c, k := shape(x, rows)
	a, b, y = a[:c], b[:c], y[:len(x)]
	if k != nil {
		k.colAffine(rows, c/lanes, ptr(y), ptr(x), ptr(a), ptr(b))
		return
	}
	for r := range rows {
		out := y[r*c : r*c+c]
		for j, v := range x[r*c : r*c+c] {
			out[j] = blas.FMA(v, a[j], b[j])
		}
	}
}

// ColAffineReLU is [ColAffine] followed by [ReLU].
func ColAffineReLU[T Float](y, x, a, b []T, rows int) {
	c, k := shape(x, rows)
	a, b, y = a[:c], b[:c], y[:len(x)]
	if k != nil {
		k.colAffineReLU(rows, c/lanes, ptr(y), ptr(x), ptr(a), ptr(b))
		return
	}
	for r := range rows {
		out := y[r*c : r*c+c]
		for j, v := range x[r*c : r*c+c] {
			out[j] = rectify(blas.FMA(v, a[j], b[j]))
		}
	}
}

// ColCombine computes dy = dy*a + (x*b + c) with one a, b and c a column.
func ColCombine[T Float](dy, x, a, b, c []T, rows int) {
	n, k := shape(x, rows)
	a, b, c, dy = a[:n], b[:n], c[:n], dy[:len(x)]
	if k != nil {
		k.colCombine(rows, n/lanes, ptr(dy), ptr(x), ptr(a), ptr(b), ptr(c))
		return
	}
	for r := range rows {
		g := dy[r*n : r*n+n]
		for j, v := range x[r*n : r*n+n] {
			g[j] = blas.FMA(g[j], a[j], blas.FMA(v, b[j], c[j]))
		}
	}
}

// fold adds partial sums in halves.
func fold[T Float](s *[lanes]T) T {
	for w := lanes / 2; w > 0; w /= 2 {
		for q := range w {
			s[q] += s[q+w]
		}
	}
	return s[0]
}

// RowNorm writes (x-mean)*rstd to y, row by row, where rstd = 1/sqrt(variance +
// eps) goes to rstd [rows]. y may be x.
func RowNorm[T Float](y, rstd, x []T, eps T) {
	rows := len(rstd)
	c, k := shape(x, rows)
	y = y[:len(x)]
	inverse := 1 / T(max(c, 1))
	if k != nil {
		k.rowNorm(rows, c/lanes, ptr(y), ptr(rstd), ptr(x), float32(inverse), float32(eps))
		return
	}
	for r := range rows {
		in, out := x[r*c:r*c+c], y[r*c:r*c+c]
		var s [lanes]T
		for j, v := range in {
			s[j%lanes] += v
		}
		mean := fold(&s) * inverse
		s = [lanes]T{}
		for j, v := range in {
			d := v - mean
			s[j%lanes] = blas.FMA(d, d, s[j%lanes])
		}
		scale := 1 / T(math.Sqrt(float64(T(fold(&s)*inverse)+eps)))
		rstd[r] = scale
		for j, v := range in {
			out[j] = T(v-mean) * scale
		}
	}
}

// RowNormGrad turns the gradient dy of y = xhat*gamma + beta, where xhat and
// rstd are results of [RowNorm], into that of RowNorm's input, in place.
func RowNormGrad[T Float](dy, xhat, rstd, gamma []T) {
	rows := len(rstd)
	c, k := shape(xhat, rows)
	dy, gamma = dy[:len(xhat)], gamma[:c]
	inverse := 1 / T(max(c, 1))
	if k != nil {
		k.rowNormGrad(rows, c/lanes, ptr(dy), ptr(xhat), ptr(rstd), ptr(gamma), float32(inverse))
		return
	}
	for r := range rows {
		g, h := dy[r*c:r*c+c], xhat[r*c:r*c+c]
		var s1, s2 [lanes]T
		for j := range g {
			g[j] *= gamma[j]
			s1[j%lanes] += g[j]
			s2[j%lanes] = blas.FMA(h[j], g[j], s2[j%lanes])
		}
		m1, m2 := fold(&s1)*inverse, fold(&s2)*inverse
		for j := range g {
			g[j] = blas.FMA(-h[j], m2, T(g[j]-m1)) * rstd[r]
		}
	}
}

// Softmax replaces each row of x by its softmax.
func Softmax[T Float](x []T, rows int) {
	c, k := shape(x, rows)
	if k != nil {
		k.softmax(rows, c/lanes, ptr(x))
		return
	}
	for r := range rows {
		row := x[r*c : r*c+c]
		top := row[0]
		for _, v := range row {
			top = max(top, v)
		}
		var s [lanes]T
		for j, v := range row {
			row[j] = exp(v - top)
			s[j%lanes] += row[j]
		}
		share := 1 / fold(&s)
		for j := range row {
			row[j] *= share
		}
	}
}

// SoftmaxGrad turns the gradient dy of the result y of [Softmax] into that of
// its input, in place.
func SoftmaxGrad[T Float](dy, y []T, rows int) {
	c, k := shape(y, rows)
	dy = dy[:len(y)]
	if k != nil {
		k.softmaxGrad(rows, c/lanes, ptr(dy), ptr(y))
		return
	}
	for r := range rows {
		g, v := dy[r*c:r*c+c], y[r*c:r*c+c]
		var s [lanes]T
		for j := range g {
			s[j%lanes] = blas.FMA(v[j], g[j], s[j%lanes])
		}
		all := fold(&s)
		for j := range g {
			g[j] = T(g[j]-all) * v[j]
		}
	}
}

// Depthwise computes y[p] = Σ_t w[t]*x[p+offsets[t]] for pixels p from 0, channel
// by channel. y is [pixels, c], w is [taps, c] and offsets count elements of x,
// not below 0; x must reach as far.
func Depthwise[T Float](y, x, w []T, offsets []int, pixels int) {
	c, k := shape(y, pixels)
	if len(offsets) == 0 || c == 0 {
		clear(y)
		return
	}
	w = w[:len(offsets)*c]
	for _, o := range offsets {
		_ = x[o : o+pixels*c]
	}
	if k != nil {
		k.depthwise(pixels, c/lanes, len(offsets), ptr(y), ptr(x), ptr(w), &offsets[0])
		return
	}
	clear(y)
	for p := range pixels {
		out := y[p*c : p*c+c]
		for t, o := range offsets {
			in, weight := x[o+p*c:o+p*c+c], w[t*c:t*c+c]
			for j := range out {
				out[j] = blas.FMA(in[j], weight[j], out[j])
			}
		}
	}
}

// DepthwiseGrad adds Σ_p x[p+t]*dy[p] to dw[t] for the neighbouring taps t of one
// row of a kernel, channel by channel. dw is [taps, c], dy [pixels, c] and x
// [pixels+taps-1, c] or longer.
func DepthwiseGrad[T Float](dw, x, dy []T, taps, pixels int) {
	c, k := shape(dy, pixels)
	dw, x = dw[:taps*c], x[:(pixels+taps-1)*c]
	if k != nil && taps == 3 {
		k.depthwiseGrad3(pixels, c/lanes, ptr(dw), ptr(x), ptr(dy))
		return
	}
	if k != nil && taps == 5 {
		k.depthwiseGrad5(pixels, c/lanes, ptr(dw), ptr(x), ptr(dy))
		return
	}
	for p := range pixels {
		g := dy[p*c : p*c+c]
		for t := range taps {
			in, d := x[(p+t)*c:(p+t)*c+c], dw[t*c:t*c+c]
			for j := range g {
				d[j] = blas.FMA(in[j], g[j], d[j])
			}
		}
	}
}

// MaxPool writes to each pixel p of the row y [pixels, c] the greatest of pixels
// 2p and 2p+1 of the rows top and low [2*pixels, c], channel by channel.
func MaxPool[T Float](y, top, low []T, pixels int) {
	c, k := shape(y, pixels)
	top, low = top[:2*len(y)], low[:2*len(y)]
	if k != nil {
		k.maxPool(pixels, c/lanes, ptr(y), ptr(top), ptr(low))
		return
	}
	for p := range pixels {
		at := 2 * p * c
		for j := range c {
			best := top[at+j]
			for _, v := range [3]T{top[at+c+j], low[at+j], low[at+c+j]} {
				if v > best {
					best = v
				}
			}
			y[p*c+j] = best
		}
	}
}

// MaxPoolGrad writes the gradient of the input of [MaxPool] to dtop and dlow: of
// the four, the first that is equal to y gets dy.
func MaxPoolGrad[T Float](dtop, dlow, top, low, y, dy []T, pixels int) {
	c, k := shape(y, pixels)
	n := 2 * len(y)
	dtop, dlow, top, low, dy = dtop[:n], dlow[:n], top[:n], low[:n], dy[:len(y)]
	if k != nil {
		k.maxPoolGrad(pixels, c/lanes, ptr(dtop), ptr(dlow), ptr(top), ptr(low), ptr(y), ptr(dy))
		return
	}
	for p := range pixels {
		at := 2 * p * c
		for j := range c {
			best, rest := y[p*c+j], dy[p*c+j]
			for _, q := range [4]struct{ from, to []T }{
				{top[at+j:], dtop[at+j:]}, {top[at+c+j:], dtop[at+c+j:]}, {low[at+j:], dlow[at+j:]}, {low[at+c+j:], dlow[at+c+j:]},
			} {
				q.to[0] = 0
				if q.from[0] == best {
					q.to[0], rest = rest, 0
				}
			}
		}
	}
}
