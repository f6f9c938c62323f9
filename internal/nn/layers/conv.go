package layers

import (
	"quicktune/internal/blas"
	"quicktune/internal/nn/vec"
)

// padded is a batch with zeros around each image. Images share them: a row is
// followed by pad zeros, an image by pad rows of zeros, and the first image is
// preceded by as many. So every place of a window that leaves an image falls on
// a zero, and a step to the next pixel, row or window is one fixed stride.
type padded[T Float] struct {
	pad         int
	h, w, c     int
	data        []T
	rowStride   int // in pixels
	imageStride int
}

// first is the place, in pixels, of the first pixel of the first image.
func (p *padded[T]) first() int { return p.pad*p.rowStride + p.pad }

// at is the place, in pixels, of the first pixel of row y of image n.
func (p *padded[T]) at(n, y int) int { return p.first() + n*p.imageStride + y*p.rowStride }

// set copies x.
func (p *padded[T]) set(x Batch[T], pad int) {
	need := (x.N*(x.H+pad)*(x.W+pad) + 2*(pad*(x.W+pad)+pad)) * x.C
	if p.pad != pad || p.h != x.H || p.w != x.W || p.c != x.C || len(p.data) < need {
		*p = padded[T]{pad: pad, h: x.H, w: x.W, c: x.C, data: make([]T, need), rowStride: x.W + pad}
		p.imageStride = (x.H + pad) * p.rowStride
	}
	line := x.W * x.C
	for n := range x.N {
		for y := range x.H {
			copy(p.data[p.at(n, y)*x.C:], x.Data[(n*x.H+y)*line:(n*x.H+y+1)*line])
		}
	}
}

// window returns the data from the top left corner of the window, of which row
// ky is wanted, around the first pixel of row y of image n.
func (p *padded[T]) window(n, y, ky int) []T {
	return p.data[(p.at(n, y)+(ky-p.pad)*p.rowStride-p.pad)*p.c:]
}

// Conv2d is a convolution of odd width with stride 1 and zero padding, so that
// images keep their size. It has no bias: a norm follows. Weights have shape
// [width, width, in, out].
//
// Neither pass gathers windows: to the matrix product they are rows that
// overlap.
type Conv2d[T Float] struct {
	Width, In, Out int
	W              *Param[T]
	x, dy          padded[T]
	n              int
	y, flipped     []T
}

// NewConv2d makes a layer with the parameter name.weight.
func NewConv2d[T Float](name string, width, in, out int) *Conv2d[T] {
	return &Conv2d[T]{Width: width, In: in, Out: out, W: newParam[T](name+".weight", width*width*in, 2, width, width, in, out)}
}

// Forward implements [Layer].
func (l *Conv2d[T]) Forward(_ *Context[T], x Batch[T]) Batch[T] {
	if x.C != l.In {
		shapeError(l.W.Name, x.C, "as many channels as the weights")
	}
	l.n = x.N
	l.x.set(x, l.Width/2)
	y := x.with(grow(&l.y, x.Rows()*l.Out), l.Out)
	convolve(y, &l.x, l.W.Value, l.Width)
	return y
}

// convolve writes the convolution of x with w [width, width, x.c, y.C] to y.
func convolve[T Float](y Batch[T], x *padded[T], w []T, width int) {
	line := y.W * y.C
	k := width * x.c
	for n := range y.N {
		for ky := range width {
			rows := w[ky*k*y.C : (ky+1)*k*y.C]
			for r := range y.H {
				blas.GemmStrided(y.W, y.C, k, x.window(n, r, ky), x.c, 1, rows, y.C, y.Data[(n*y.H+r)*line:], y.C, ky > 0)
			}
		}
	}
}

// gradBlock is the number of pixels whose products are summed at a time for the
// gradient of weights: two rows of them stay in the nearer caches.
const gradBlock = 288

// Backward implements [Layer].
func (l *Conv2d[T]) Backward(c *Context[T], dy Batch[T], want bool) Batch[T] {
	defer c.Put(dy.Data)
	l.dy.set(dy, l.Width/2)
	k := l.Width * l.In
	// The gradient is zero in the padding, so all places can be summed as one
	// run, padding included.
	images := max(1, gradBlock/l.dy.imageStride)
	for n := 0; n < dy.N; n += images {
		from, to := l.dy.at(n, 0), l.dy.at(min(n+images, dy.N)-1, dy.H-1)+dy.W
		g := l.dy.data[from*l.Out : to*l.Out]
		for ky := range l.Width {
			blas.GemmStrided(k, l.Out, to-from, l.x.window(n, 0, ky), 1, l.In, g, l.Out, l.W.Grad[ky*k*l.Out:], l.Out, true)
		}
	}
	if !want {
		return Batch[T]{}
	}
	w := grow(&l.flipped, len(l.W.Value))
	taps := l.Width * l.Width
	for t := range taps {
		src, dst := l.W.Value[(taps-1-t)*l.In*l.Out:], w[t*l.In*l.Out:]
		for i := range l.In {
			for o, v := range src[i*l.Out : (i+1)*l.Out] {
				dst[o*l.In+i] = v
			}
		}
	}
	dx := dy.with(c.Get(dy.Rows()*l.In), l.In)
	convolve(dx, &l.dy, w, l.Width)
	return dx
}

// Params implements [Layer].
func (l *Conv2d[T]) Params() []*Param[T] { return []*Param[T]{l.W} }

// MACs implements [Layer].
func (l *Conv2d[T]) MACs() int { return l.x.h * l.x.w * l.Width * l.Width * l.In * l.Out }

// Depthwise convolves each channel by itself, with odd width, stride 1 and zero
// padding. Weights have shape [width, width, channels].
type Depthwise[T Float] struct {
	Width, Channels int
	W               *Param[T]
	x, dy           padded[T]
	y, flipped      []T
	offsets         []int
}

// NewDepthwise makes a layer with the parameter name.weight.
func NewDepthwise[T Float](name string, width, channels int) *Depthwise[T] {
	return &Depthwise[T]{Width: width, Channels: channels, W: newParam[T](name+".weight", width*width, 2, width, width, channels)}
}

// Forward implements [Layer].
func (l *Depthwise[T]) Forward(_ *Context[T], x Batch[T]) Batch[T] {
	if x.C != l.Channels {
		shapeError(l.W.Name, x.C, "as many channels as the weights")
	}
	l.x.set(x, l.Width/2)
	y := x.with(grow(&l.y, x.Len()), x.C)
	l.convolve(y, &l.x, l.W.Value)
	return y
}

func (l *Depthwise[T]) convolve(y Batch[T], x *padded[T], w []T) {
	l.offsets = l.offsets[:0]
	for ky := range l.Width {
		for kx := range l.Width {
			l.offsets = append(l.offsets, (ky*x.rowStride+kx)*x.c)
		}
	}
	line := y.W * y.C
	for n := range y.N {
		for r := range y.H {
			vec.Depthwise(y.Data[(n*y.H+r)*line:(n*y.H+r+1)*line], x.window(n, r, 0), w, l.offsets, y.W)
		}
	}
}

// Backward implements [Layer].
func (l *Depthwise[T]) Backward(c *Context[T], dy Batch[T], want bool) Batch[T] {
	defer c.Put(dy.Data)
	l.dy.set(dy, l.Width/2)
	k := l.Width * l.Channels
	for n := range dy.N {
		from, to := l.dy.at(n, 0), l.dy.at(n, dy.H-1)+dy.W
		g := l.dy.data[from*dy.C : to*dy.C]
		for ky := range l.Width {
			vec.DepthwiseGrad(l.W.Grad[ky*k:(ky+1)*k], l.x.window(n, 0, ky), g, l.Width, to-from)
		}
	}
	if !want {
		return Batch[T]{}
	}
	w := grow(&l.flipped, len(l.W.Value))
	taps := l.Width * l.Width
	for t := range taps {
		copy(w[t*l.Channels:(t+1)*l.Channels], l.W.Value[(taps-1-t)*l.Channels:])
	}
	dx := dy.with(c.Get(dy.Len()), dy.C)
	l.convolve(dx, &l.dy, w)
	return dx
}

// Params implements [Layer].
func (l *Depthwise[T]) Params() []*Param[T] { return []*Param[T]{l.W} }

// MACs implements [Layer].
func (l *Depthwise[T]) MACs() int { return l.x.h * l.x.w * l.Width * l.Width * l.Channels }
