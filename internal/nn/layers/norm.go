package layers

import (
	"math"

	"quicktune/internal/blas"
	"quicktune/internal/nn/vec"
)

// BatchNorm normalises each channel over the batch and scales it: Ioffe and
// Szegedy, "Batch Normalization", ICML 2015, with the constants of torch:
// epsilon 1e-5, running statistics that move by a tenth, their variance the
// unbiased one. In evaluation the running statistics take the place of the
// batch's.
type BatchNorm[T Float] struct {
	Gamma, Beta, Mean, Var *Param[T] // the last two are running statistics
	// ReLU applies a rectifier to the result.
	ReLU bool
	// Stochastic is the probability with which a channel is normalised by its
	// running statistics in training too: Kou et al., "Stochastic
	// Normalization", NeurIPS 2020. 0 is batch norm, which a gradient then
	// flows through; running statistics pass it on as a constant scale.
	Stochastic float64
	// Frozen makes training use the running statistics and leave them alone.
	Frozen bool

	x               Batch[T]
	y               []T
	mean, rstd      []T    // used for normalisation
	batch           []bool // whether they are the batch's
	a, b, c, s1, s2 []T
	sum1, sum2      []float64
}

const (
	normEpsilon   = 1e-5
	batchMomentum = 0.1
	// momentBlock is how many rows are summed in T before the sums go on in
	// float64.
	momentBlock = 256
)

// NewBatchNorm makes a layer with parameters name.weight, name.bias,
// name.running_mean and name.running_var.
func NewBatchNorm[T Float](name string, channels int, relu bool) *BatchNorm[T] {
	l := &BatchNorm[T]{
		Gamma: newParam[T](name+".weight", 0, 1, channels),
		Beta:  newParam[T](name+".bias", 0, 0, channels),
		Mean:  newParam[T](name+".running_mean", 0, 0, channels),
		Var:   newParam[T](name+".running_var", 0, 1, channels),
		ReLU:  relu,
	}
	l.Mean.Fixed, l.Var.Fixed = true, true
	for _, s := range []*[]T{&l.mean, &l.rstd, &l.a, &l.b, &l.c, &l.s1, &l.s2} {
		*s = make([]T, channels)
	}
	l.batch = make([]bool, channels)
	l.sum1, l.sum2 = make([]float64, channels), make([]float64, channels)
	return l
}

// fold calls f for blocks of rows and adds what it leaves in s1 and s2 up.
func (l *BatchNorm[T]) fold(rows, c int, f func(s1, s2 []T, lo, hi, rows int)) {
	clear(l.sum1)
	clear(l.sum2)
	for r := 0; r < rows; r += momentBlock {
		e := min(r+momentBlock, rows)
		clear(l.s1)
		clear(l.s2)
		f(l.s1, l.s2, r*c, e*c, e-r)
		for j := range l.sum1 {
			l.sum1[j] += float64(l.s1[j])
			l.sum2[j] += float64(l.s2[j])
		}
	}
}

// Forward implements [Layer].
func (l *BatchNorm[T]) Forward(c *Context[T], x Batch[T]) Batch[T] {
	n := len(l.mean)
	if x.C != n {
		shapeError(l.Gamma.Name, x.C, "as many channels as parameters")
	}
	l.x = x
	rows := x.Rows()
	if c.Train && !l.Frozen {
		l.statistics(c, rows)
	} else {
		for j := range l.mean {
			l.batch[j] = false
			l.mean[j], l.rstd[j] = l.Mean.Value[j], T(1/math.Sqrt(float64(l.Var.Value[j])+normEpsilon))
		}
	}
	for j := range l.mean {
		l.a[j] = l.Gamma.Value[j] * l.rstd[j]
		l.b[j] = blas.FMA(-l.mean[j], l.a[j], l.Beta.Value[j])
	}
	y := grow(&l.y, x.Len())
	if l.ReLU {
		vec.ColAffineReLU(y, x.Data, l.a, l.b, rows)
	} else {
		vec.ColAffine(y, x.Data, l.a, l.b, rows)
	}
	return x.with(y, n)
}

// statistics takes those of the batch, and moves the running ones.
func (l *BatchNorm[T]) statistics(c *Context[T], rows int) {
	n := len(l.mean)
	data := l.x.Data
	// The first row as a shift keeps the difference of squares exact enough.
	shift := l.b
	copy(shift, data[:n])
	l.fold(rows, n, func(s1, s2 []T, lo, hi, rows int) { vec.ColMoments(s1, s2, data[lo:hi], shift, rows) })
	for j := range l.mean {
		m := l.sum1[j] / float64(rows)
		mean := float64(shift[j]) + m
		variance := max(l.sum2[j]/float64(rows)-m*m, 0)
		l.batch[j] = l.Stochastic == 0 || c.Rng.Float64() >= l.Stochastic
		if l.batch[j] {
			l.mean[j], l.rstd[j] = T(mean), T(1/math.Sqrt(variance+normEpsilon))
		} else {
			l.mean[j], l.rstd[j] = l.Mean.Value[j], T(1/math.Sqrt(float64(l.Var.Value[j])+normEpsilon))
		}
		unbiased := variance * float64(rows) / float64(max(rows-1, 1))
		l.Mean.Value[j] += T(batchMomentum * (mean - float64(l.Mean.Value[j])))
		l.Var.Value[j] += T(batchMomentum * (unbiased - float64(l.Var.Value[j])))
	}
}

// Backward implements [Layer].
func (l *BatchNorm[T]) Backward(c *Context[T], dy Batch[T], want bool) Batch[T] {
	rows, n := dy.Rows(), dy.C
	if l.ReLU {
		vec.ReLUGrad(dy.Data, l.y)
	}
	l.fold(rows, n, func(s1, s2 []T, lo, hi, rows int) {
		vec.ColDots(s1, s2, dy.Data[lo:hi], l.x.Data[lo:hi], l.mean, rows)
	})
	for j := range l.mean {
		g1, g2, rstd := l.sum1[j], l.sum2[j], float64(l.rstd[j])
		l.Gamma.Grad[j] += T(g2 * rstd)
		l.Beta.Grad[j] += T(g1)
		l.b[j], l.c[j] = 0, 0
		if l.batch[j] {
			a := float64(l.a[j])
			b := -a * rstd * rstd * g2 / float64(rows)
			l.b[j], l.c[j] = T(b), T(-a*g1/float64(rows)-b*float64(l.mean[j]))
		}
	}
	if !want {
		c.Put(dy.Data)
		return Batch[T]{}
	}
	vec.ColCombine(dy.Data, l.x.Data, l.a, l.b, l.c, rows)
	return dy
}

// Params implements [Layer].
func (l *BatchNorm[T]) Params() []*Param[T] { return []*Param[T]{l.Gamma, l.Beta, l.Mean, l.Var} }

// MACs implements [Layer].
func (l *BatchNorm[T]) MACs() int { return 0 }

// LayerNorm normalises the channels of each pixel, or token: Ba, Kiros and
// Hinton, "Layer Normalization", arXiv:1607.06450.
type LayerNorm[T Float] struct {
	Gamma, Beta *Param[T]
	xhat, y     []T
	rstd, zero  []T
}

// NewLayerNorm makes a layer with parameters name.weight and name.bias.
func NewLayerNorm[T Float](name string, channels int) *LayerNorm[T] {
	return &LayerNorm[T]{
		Gamma: newParam[T](name+".weight", 0, 1, channels),
		Beta:  newParam[T](name+".bias", 0, 0, channels),
		zero:  make([]T, channels),
	}
}

// Forward implements [Layer].
func (l *LayerNorm[T]) Forward(_ *Context[T], x Batch[T]) Batch[T] {
	if x.C != len(l.zero) {
		shapeError(l.Gamma.Name, x.C, "as many channels as parameters")
	}
	rows := x.Rows()
	xhat, y := grow(&l.xhat, x.Len()), grow(&l.y, x.Len())
	vec.RowNorm(xhat, grow(&l.rstd, rows), x.Data, normEpsilon)
	vec.ColAffine(y, xhat, l.Gamma.Value, l.Beta.Value, rows)
	return x.with(y, x.C)
}

// Backward implements [Layer].
func (l *LayerNorm[T]) Backward(_ *Context[T], dy Batch[T], _ bool) Batch[T] {
	vec.ColDots(l.Beta.Grad, l.Gamma.Grad, dy.Data, l.xhat, l.zero, dy.Rows())
	vec.RowNormGrad(dy.Data, l.xhat, l.rstd, l.Gamma.Value)
	return dy
}

// Params implements [Layer].
func (l *LayerNorm[T]) Params() []*Param[T] { return []*Param[T]{l.Gamma, l.Beta} }

// MACs implements [Layer].
func (l *LayerNorm[T]) MACs() int { return 0 }

// Attention is multi-head self-attention of the tokens of an image: Vaswani et
// al., "Attention Is All You Need", NeurIPS 2017. Queries, keys and values come
// from one linear map, heads side by side within each.
type Attention[T Float] struct {
	Channels, Heads int
	QKV, Out        *Linear[T]

	qkv, mixed Batch[T]
	weights, y []T // weights [image, head, token, token]
}

// NewAttention makes a layer with the parameters of name.qkv and name.proj.
func NewAttention[T Float](name string, channels, heads int) *Attention[T] {
	return &Attention[T]{
		Channels: channels, Heads: heads,
		QKV: NewLinear[T](name+".qkv", channels, 3*channels, true),
		Out: NewLinear[T](name+".proj", channels, channels, true),
	}
}

// each calls f for every image and head with the place of its channels among
// those of the image's tokens and the number of its weights before it.
func (l *Attention[T]) each(x Batch[T], f func(qkv, out, weights int)) {
	tokens, width := x.H*x.W, l.Channels/l.Heads
	for i := range x.N {
		for h := range l.Heads {
			f(i*tokens*3*l.Channels+h*width, i*tokens*l.Channels+h*width, (i*l.Heads+h)*tokens*tokens)
		}
	}
}

// Forward implements [Layer].
func (l *Attention[T]) Forward(c *Context[T], x Batch[T]) Batch[T] {
	l.qkv = l.QKV.Forward(c, x)
	tokens, d, w := x.H*x.W, l.Channels, l.Channels/l.Heads
	l.mixed = x.with(grow(&l.y, x.Len()), d)
	weights := grow(&l.weights, x.N*l.Heads*tokens*tokens)
	scale := T(1 / math.Sqrt(float64(w)))
	q := l.qkv.Data
	l.each(x, func(at, _, s int) {
		blas.Gemm(false, true, tokens, tokens, w, scale, q[at:], 3*d, q[at+d:], 3*d, 0, weights[s:], tokens)
	})
	vec.Softmax(weights, x.N*l.Heads*tokens)
	l.each(x, func(at, out, s int) {
		blas.Gemm(false, false, tokens, w, tokens, 1, weights[s:], tokens, q[at+2*d:], 3*d, 0, l.mixed.Data[out:], d)
	})
	return l.Out.Forward(c, l.mixed)
}

// Backward implements [Layer].
func (l *Attention[T]) Backward(c *Context[T], dy Batch[T], want bool) Batch[T] {
	dmixed := l.Out.Backward(c, dy, true)
	tokens, d, w := dmixed.H*dmixed.W, l.Channels, l.Channels/l.Heads
	scale := T(1 / math.Sqrt(float64(w)))
	q, g := l.qkv.Data, dmixed.Data
	dqkv := l.qkv.with(c.Get(l.qkv.Len()), 3*d)
	dq := dqkv.Data
	ds := c.Get(len(l.weights))
	l.each(dmixed, func(at, out, s int) {
		blas.Gemm(true, false, tokens, w, tokens, 1, l.weights[s:], tokens, g[out:], d, 0, dq[at+2*d:], 3*d)
		blas.Gemm(false, true, tokens, tokens, w, 1, g[out:], d, q[at+2*d:], 3*d, 0, ds[s:], tokens)
	})
	vec.SoftmaxGrad(ds, l.weights, dmixed.N*l.Heads*tokens)
	l.each(dmixed, func(at, _, s int) {
		blas.Gemm(false, false, tokens, w, tokens, scale, ds[s:], tokens, q[at+d:], 3*d, 0, dq[at:], 3*d)
		blas.Gemm(true, false, tokens, w, tokens, scale, ds[s:], tokens, q[at:], 3*d, 0, dq[at+d:], 3*d)
	})
	c.Put(ds)
	c.Put(dmixed.Data)
	return l.QKV.Backward(c, dqkv, want)
}

// Params implements [Layer].
func (l *Attention[T]) Params() []*Param[T] { return append(l.QKV.Params(), l.Out.Params()...) }

// MACs implements [Layer].
func (l *Attention[T]) MACs() int {
	tokens := l.mixed.H * l.mixed.W
	return l.QKV.MACs() + l.Out.MACs() + 2*tokens*tokens*l.Channels
}
