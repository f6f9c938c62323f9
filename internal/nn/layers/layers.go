// Package layers holds what small image networks are made of, with backward
// passes written by hand: convolutions, depthwise convolutions, batch and layer
// norm, attention, GELU and ReLU, pooling, dropout, stochastic depth and the
// cross-entropy of soft targets.
//
// Everything is generic: networks train in float32, gradients are checked in
// float64. Activations lie by image, row, column and channel (NHWC), so that a
// pixel, or a token, is a row of channels. Layers keep their results and draw
// gradients from a [Context], so that a pass of a size seen before allocates
// nothing. Everything runs on the caller's goroutine and is deterministic for
// the Context's random numbers.
//
// The package refuses to be an automatic-differentiation framework: a layer
// knows its own backward pass and a [Sequence] calls them in reverse order.
package layers

import (
	"fmt"
	"math"
	"math/rand/v2"

	"quicktune/internal/nn/vec"
)

// Float is the element type.
type Float = vec.Float

// Batch is N images of H x W pixels with C channels, NHWC; for tokens H*W is
// their number.
type Batch[T Float] struct {
	N, H, W, C int
	Data       []T
}

// Rows is the number of pixels of the whole batch.
func (b Batch[T]) Rows() int { return b.N * b.H * b.W }

// Len is the number of elements.
func (b Batch[T]) Len() int { return b.Rows() * b.C }

// IsZero tells the zero Batch, which stands for "no gradient wanted".
func (b Batch[T]) IsZero() bool { return b.Data == nil }

// with returns a batch like b of other data and channels.
func (b Batch[T]) with(data []T, c int) Batch[T] {
	b.C = c
	b.Data = data[:b.Len()]
	return b
}

// Param is one named array of a network.
type Param[T Float] struct {
	Name  string
	Shape []int
	Value []T
	Grad  []T
	// Fan is the number of inputs that meet in one output: initial values are
	// normal with variance Gain/Fan. With Fan 0 they are all Gain.
	Fan  int
	Gain float64
	// Fixed marks what no gradient changes: running statistics.
	Fixed bool
	// OutputFirst tells that the first axis of a matrix, not the last, counts
	// the outputs.
	OutputFirst bool
}

func newParam[T Float](name string, fan int, gain float64, shape ...int) *Param[T] {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return &Param[T]{Name: name, Shape: shape, Value: make([]T, n), Grad: make([]T, n), Fan: fan, Gain: gain}
}

// Init fills the parameter with its initial values.
func (p *Param[T]) Init(rng *rand.Rand) {
	if p.Fan == 0 {
		for i := range p.Value {
			p.Value[i] = T(p.Gain)
		}
		return
	}
	std := math.Sqrt(p.Gain / float64(p.Fan))
	for i := range p.Value {
		p.Value[i] = T(std * rng.NormFloat64())
	}
}

// Context is what passes share: the mode, random numbers and scratch.
type Context[T Float] struct {
	// Train tells training from evaluation.
	Train bool
	// Rng gives the numbers of dropout, stochastic depth and stochastic norm;
	// it is not read in evaluation.
	Rng *rand.Rand

	free [][]T
}

// Get lends n elements with unknown contents.
func (c *Context[T]) Get(n int) []T {
	best := -1
	for i, b := range c.free {
		if cap(b) >= n && (best < 0 || cap(b) < cap(c.free[best])) {
			best = i
		}
	}
	if best < 0 {
		return make([]T, n)
	}
	b := c.free[best]
	last := len(c.free) - 1
	c.free[best] = c.free[last]
	c.free = c.free[:last]
	return b[:n]
}

// Put takes back what Get lent.
func (c *Context[T]) Put(b []T) {
	if cap(b) > 0 {
		c.free = append(c.free, b)
	}
}

// Layer is one step of a network.
type Layer[T Float] interface {
	// Forward returns the layer's output. x must stay as it is until Backward;
	// the output belongs to the layer and lasts until the next Forward.
	Forward(c *Context[T], x Batch[T]) Batch[T]
	// Backward adds the gradients of the parameters and returns that of the
	// input, or the zero Batch if want is false. It consumes dy, which came
	// from c, and what it returns is the caller's to consume.
	Backward(c *Context[T], dy Batch[T], want bool) Batch[T]
	// Params lists the parameters in the order of the input's way.
	Params() []*Param[T]
	// MACs is the number of multiply-accumulate operations of one image of the
	// size of the last Forward.
	MACs() int
}

func grow[T Float](s *[]T, n int) []T {
	if cap(*s) < n {
		*s = make([]T, n)
	}
	*s = (*s)[:n]
	return *s
}

func shapeError(layer string, x any, want string) {
	panic(fmt.Sprintf("layers: %s: input %v, want %s", layer, x, want))
}

// Sequence is layers one after the other.
type Sequence[T Float] []Layer[T]

// Forward implements [Layer].
func (s Sequence[T]) Forward(c *Context[T], x Batch[T]) Batch[T] {
	for _, l := range s {
		x = l.Forward(c, x)
	}
	return x
}

// Backward implements [Layer].
func (s Sequence[T]) Backward(c *Context[T], dy Batch[T], want bool) Batch[T] {
	for i := len(s) - 1; i >= 0; i-- {
		dy = s[i].Backward(c, dy, want || i > 0)
	}
	return dy
}

// Params implements [Layer].
func (s Sequence[T]) Params() []*Param[T] {
	var ps []*Param[T]
	for _, l := range s {
		ps = append(ps, l.Params()...)
	}
	return ps
}

// MACs implements [Layer].
func (s Sequence[T]) MACs() int {
	n := 0
	for _, l := range s {
		n += l.MACs()
	}
	return n
}

// Visit calls f for every layer in l, also inside sequences and residuals.
func Visit[T Float](l Layer[T], f func(Layer[T])) {
	f(l)
	switch l := l.(type) {
	case Sequence[T]:
		for _, m := range l {
			Visit(m, f)
		}
	case *Residual[T]:
		Visit(l.Branch, f)
	}
}

// Residual adds its input to what the branch makes of it: y = x + branch(x).
// With Drop > 0 training leaves out the branch of an image with that probability
// and scales the others by 1/(1-Drop): stochastic depth, Huang et al., "Deep
// Networks with Stochastic Depth", ECCV 2016.
type Residual[T Float] struct {
	Branch Layer[T]
	Drop   float64
	y      []T
	scale  []T // one a image; empty: nothing dropped
}

// Forward implements [Layer].
func (l *Residual[T]) Forward(c *Context[T], x Batch[T]) Batch[T] {
	b := l.Branch.Forward(c, x)
	if b.Len() != x.Len() {
		shapeError("residual", b.C, "the shape of the branch's input")
	}
	y := grow(&l.y, x.Len())
	l.scale = l.scale[:0]
	if c.Train && l.Drop > 0 {
		for range x.N {
			s := T(1 / (1 - l.Drop))
			if c.Rng.Float64() < l.Drop {
				s = 0
			}
			l.scale = append(l.scale, s)
		}
	}
	copy(y, x.Data)
	if len(l.scale) == 0 {
		vec.Add(y, b.Data)
	} else {
		n := len(y) / x.N
		for i, s := range l.scale {
			vec.Axpy(s, b.Data[i*n:(i+1)*n], y[i*n:(i+1)*n])
		}
	}
	return x.with(y, x.C)
}

// Backward implements [Layer].
func (l *Residual[T]) Backward(c *Context[T], dy Batch[T], want bool) Batch[T] {
	db := dy.with(c.Get(dy.Len()), dy.C)
	copy(db.Data, dy.Data)
	if len(l.scale) > 0 {
		n := len(db.Data) / dy.N
		for i, s := range l.scale {
			vec.Scale(db.Data[i*n:(i+1)*n], s)
		}
	}
	dx := l.Branch.Backward(c, db, want)
	if !want {
		c.Put(dy.Data)
		return Batch[T]{}
	}
	vec.Add(dx.Data, dy.Data)
	c.Put(dy.Data)
	return dx
}

// Params implements [Layer].
func (l *Residual[T]) Params() []*Param[T] { return l.Branch.Params() }

// MACs implements [Layer].
func (l *Residual[T]) MACs() int { return l.Branch.MACs() }

// noParams is for layers without any.
type noParams[T Float] struct{}

// Params implements [Layer].
func (noParams[T]) Params() []*Param[T] { return nil }

// MACs implements [Layer]: operations outside of products are not counted.
func (noParams[T]) MACs() int { return 0 }

// ReLU replaces negative elements by 0.
type ReLU[T Float] struct {
	noParams[T]
	y []T
}

// Forward implements [Layer].
func (l *ReLU[T]) Forward(_ *Context[T], x Batch[T]) Batch[T] {
	vec.ReLU(grow(&l.y, x.Len()), x.Data)
	return x.with(l.y, x.C)
}

// Backward implements [Layer].
func (l *ReLU[T]) Backward(_ *Context[T], dy Batch[T], _ bool) Batch[T] {
	vec.ReLUGrad(dy.Data, l.y)
	return dy
}

// GELU is the Gaussian error linear unit, see [vec.GELU].
type GELU[T Float] struct {
	noParams[T]
	x, y []T
}

// Forward implements [Layer].
func (l *GELU[T]) Forward(_ *Context[T], x Batch[T]) Batch[T] {
	l.x = x.Data
	vec.GELU(grow(&l.y, x.Len()), x.Data)
	return x.with(l.y, x.C)
}

// Backward implements [Layer].
func (l *GELU[T]) Backward(_ *Context[T], dy Batch[T], _ bool) Batch[T] {
	vec.GELUGrad(dy.Data, l.x)
	return dy
}

// Dropout zeroes elements with probability P in training and divides the others
// by 1-P: Srivastava et al., "Dropout", JMLR 15, 2014.
type Dropout[T Float] struct {
	noParams[T]
	P    float64
	mask []T // empty: nothing dropped
	y    []T
}

// Forward implements [Layer].
func (l *Dropout[T]) Forward(c *Context[T], x Batch[T]) Batch[T] {
	l.mask = l.mask[:0]
	if !c.Train || l.P == 0 {
		return x
	}
	mask := grow(&l.mask, x.Len())
	for i := range mask {
		mask[i] = T(1 / (1 - l.P))
		if c.Rng.Float64() < l.P {
			mask[i] = 0
		}
	}
	y := grow(&l.y, x.Len())
	copy(y, x.Data)
	vec.Mul(y, mask)
	return x.with(y, x.C)
}

// Backward implements [Layer].
func (l *Dropout[T]) Backward(_ *Context[T], dy Batch[T], _ bool) Batch[T] {
	if len(l.mask) > 0 {
		vec.Mul(dy.Data, l.mask)
	}
	return dy
}

// GlobalPool averages each channel over an image: [N,H,W,C] to [N,1,1,C].
type GlobalPool[T Float] struct {
	noParams[T]
	h, w int
	y    []T
}

// Forward implements [Layer].
func (l *GlobalPool[T]) Forward(_ *Context[T], x Batch[T]) Batch[T] {
	l.h, l.w = x.H, x.W
	y := grow(&l.y, x.N*x.C)
	clear(y)
	n := x.H * x.W
	for i := range x.N {
		vec.ColSums(y[i*x.C:(i+1)*x.C], x.Data[i*n*x.C:(i+1)*n*x.C], n)
	}
	vec.Scale(y, 1/T(n))
	return Batch[T]{N: x.N, H: 1, W: 1, C: x.C, Data: y}
}

// Backward implements [Layer].
func (l *GlobalPool[T]) Backward(c *Context[T], dy Batch[T], want bool) Batch[T] {
	defer c.Put(dy.Data)
	if !want {
		return Batch[T]{}
	}
	n := l.h * l.w
	vec.Scale(dy.Data, 1/T(n))
	dx := Batch[T]{N: dy.N, H: l.h, W: l.w, C: dy.C, Data: c.Get(dy.N * n * dy.C)}
	for i := range dy.N {
		g := dy.Data[i*dy.C : (i+1)*dy.C]
		for p := range n {
			copy(dx.Data[(i*n+p)*dy.C:], g)
		}
	}
	return dx
}

// AvgPool halves height and width, which must be even, by the mean of four.
type AvgPool[T Float] struct {
	noParams[T]
	y []T
}

// Forward implements [Layer].
func (l *AvgPool[T]) Forward(_ *Context[T], x Batch[T]) Batch[T] {
	if x.H%2+x.W%2 > 0 {
		shapeError("average pooling", [2]int{x.H, x.W}, "even height and width")
	}
	y := Batch[T]{N: x.N, H: x.H / 2, W: x.W / 2, C: x.C}
	y.Data = grow(&l.y, y.Len())
	clear(y.Data)
	line := x.W * x.C
	for r := range x.N * y.H {
		for _, row := range [2][]T{x.Data[2*r*line : (2*r+1)*line], x.Data[(2*r+1)*line : (2*r+2)*line]} {
			for p := range y.W {
				out := y.Data[(r*y.W+p)*x.C : (r*y.W+p+1)*x.C]
				vec.Add(out, row[2*p*x.C:(2*p+1)*x.C])
				vec.Add(out, row[(2*p+1)*x.C:(2*p+2)*x.C])
			}
		}
	}
	vec.Scale(y.Data, 0.25)
	return y
}

// Backward implements [Layer].
func (l *AvgPool[T]) Backward(c *Context[T], dy Batch[T], want bool) Batch[T] {
	defer c.Put(dy.Data)
	if !want {
		return Batch[T]{}
	}
	vec.Scale(dy.Data, 0.25)
	dx := Batch[T]{N: dy.N, H: 2 * dy.H, W: 2 * dy.W, C: dy.C}
	dx.Data = c.Get(dx.Len())
	line := dx.W * dx.C
	for r := range dy.N * dy.H {
		top := dx.Data[2*r*line : (2*r+1)*line]
		for p := range dy.W {
			g := dy.Data[(r*dy.W+p)*dy.C : (r*dy.W+p+1)*dy.C]
			copy(top[2*p*dy.C:], g)
			copy(top[(2*p+1)*dy.C:], g)
		}
		copy(dx.Data[(2*r+1)*line:(2*r+2)*line], top)
	}
	return dx
}

// MaxPool halves height and width, which must be even, by the largest of four;
// of equals the first one, by rows, gets the gradient.
type MaxPool[T Float] struct {
	noParams[T]
	x Batch[T]
	y []T
}

// Forward implements [Layer].
func (l *MaxPool[T]) Forward(_ *Context[T], x Batch[T]) Batch[T] {
	if x.H%2+x.W%2 > 0 {
		shapeError("max pooling", [2]int{x.H, x.W}, "even height and width")
	}
	l.x = x
	y := Batch[T]{N: x.N, H: x.H / 2, W: x.W / 2, C: x.C}
	y.Data = grow(&l.y, y.Len())
	in, out := x.W*x.C, y.W*y.C
	for r := range x.N * y.H {
		vec.MaxPool(y.Data[r*out:(r+1)*out], x.Data[2*r*in:], x.Data[(2*r+1)*in:], y.W)
	}
	return y
}

// Backward implements [Layer].
func (l *MaxPool[T]) Backward(c *Context[T], dy Batch[T], want bool) Batch[T] {
	defer c.Put(dy.Data)
	if !want {
		return Batch[T]{}
	}
	dx := l.x.with(c.Get(l.x.Len()), l.x.C)
	in, out := dx.W*dx.C, dy.W*dy.C
	for r := range dy.N * dy.H {
		vec.MaxPoolGrad(dx.Data[2*r*in:], dx.Data[(2*r+1)*in:], l.x.Data[2*r*in:], l.x.Data[(2*r+1)*in:],
			l.y[r*out:(r+1)*out], dy.Data[r*out:(r+1)*out], dy.W)
	}
	return dx
}
