package layers

import (
	"quicktune/internal/blas"
	"quicktune/internal/nn/vec"
)

// Linear maps the channels of each pixel, or token, y = x W + b, with W of shape
// [in, out]: a convolution of width 1.
type Linear[T Float] struct {
	In, Out int
	W, B    *Param[T] // B is nil without a bias
	x       Batch[T]
	y, ones []T
}

// NewLinear makes a layer with parameters name.weight and, with bias, name.bias.
func NewLinear[T Float](name string, in, out int, bias bool) *Linear[T] {
	l := &Linear[T]{In: in, Out: out, W: newParam[T](name+".weight", in, 1, in, out)}
	if bias {
		l.B = newParam[T](name+".bias", 0, 0, out)
	}
	return l
}

// Forward implements [Layer].
func (l *Linear[T]) Forward(_ *Context[T], x Batch[T]) Batch[T] {
	if x.C != l.In {
		shapeError(l.W.Name, x.C, "as many channels as the weights have rows")
	}
	l.x = x
	rows := x.Rows()
	y := grow(&l.y, rows*l.Out)
	blas.Gemm(false, false, rows, l.Out, l.In, 1, x.Data, l.In, l.W.Value, l.Out, 0, y, l.Out)
	if l.B != nil {
		vec.ColAffine(y, y, one(&l.ones, l.Out), l.B.Value, rows)
	}
	return x.with(y, l.Out)
}

// one returns n times 1.
func one[T Float](s *[]T, n int) []T {
	if len(*s) < n {
		*s = make([]T, n)
		for i := range *s {
			(*s)[i] = 1
		}
	}
	return (*s)[:n]
}

// Backward implements [Layer].
func (l *Linear[T]) Backward(c *Context[T], dy Batch[T], want bool) Batch[T] {
	defer c.Put(dy.Data)
	rows := dy.Rows()
	blas.Gemm(true, false, l.In, l.Out, rows, 1, l.x.Data, l.In, dy.Data, l.Out, 1, l.W.Grad, l.Out)
	if l.B != nil {
		vec.ColSums(l.B.Grad, dy.Data, rows)
	}
	if !want {
		return Batch[T]{}
	}
	dx := dy.with(c.Get(rows*l.In), l.In)
	blas.Gemm(false, true, rows, l.In, l.Out, 1, dy.Data, l.Out, l.W.Value, l.Out, 0, dx.Data, l.In)
	return dx
}

// Params implements [Layer].
func (l *Linear[T]) Params() []*Param[T] {
	if l.B == nil {
		return []*Param[T]{l.W}
	}
	return []*Param[T]{l.W, l.B}
}

// MACs implements [Layer].
func (l *Linear[T]) MACs() int { return l.x.H * l.x.W * l.In * l.Out }

// TokenLinear maps the tokens of an image, channel by channel: Y = W X + b, with
// W of shape [out, in] and one b a token.
type TokenLinear[T Float] struct {
	In, Out int
	W, B    *Param[T]
	x       Batch[T]
	y, ones []T
}

// NewTokenLinear makes a layer with parameters name.weight and name.bias.
func NewTokenLinear[T Float](name string, in, out int) *TokenLinear[T] {
	l := &TokenLinear[T]{In: in, Out: out, W: newParam[T](name+".weight", in, 1, out, in), B: newParam[T](name+".bias", 0, 0, out)}
	l.W.OutputFirst = true
	return l
}

// Forward implements [Layer].
func (l *TokenLinear[T]) Forward(_ *Context[T], x Batch[T]) Batch[T] {
	if x.H*x.W != l.In {
		shapeError(l.W.Name, x.H*x.W, "as many tokens as the weights have columns")
	}
	l.x = x
	y := Batch[T]{N: x.N, H: l.Out, W: 1, C: x.C}
	y.Data = grow(&l.y, y.Len())
	in, out := l.In*x.C, l.Out*x.C
	for i := range x.N {
		to := y.Data[i*out : (i+1)*out]
		for t, b := range l.B.Value {
			row := to[t*x.C : (t+1)*x.C]
			for j := range row {
				row[j] = b
			}
		}
		blas.Gemm(false, false, l.Out, x.C, l.In, 1, l.W.Value, l.In, x.Data[i*in:(i+1)*in], x.C, 1, to, x.C)
	}
	return y
}

// Backward implements [Layer].
func (l *TokenLinear[T]) Backward(c *Context[T], dy Batch[T], want bool) Batch[T] {
	defer c.Put(dy.Data)
	x := l.x
	in, out := l.In*x.C, l.Out*x.C
	ones := one(&l.ones, x.C)
	var dx Batch[T]
	if want {
		dx = x.with(c.Get(x.Len()), x.C)
	}
	for i := range x.N {
		g := dy.Data[i*out : (i+1)*out]
		blas.Gemm(false, true, l.Out, l.In, x.C, 1, g, x.C, x.Data[i*in:(i+1)*in], x.C, 1, l.W.Grad, l.In)
		blas.Gemv(false, l.Out, x.C, 1, g, x.C, ones, 1, l.B.Grad)
		if want {
			blas.Gemm(true, false, l.In, x.C, l.Out, 1, l.W.Value, l.In, g, x.C, 0, dx.Data[i*in:(i+1)*in], x.C)
		}
	}
	return dx
}

// Params implements [Layer].
func (l *TokenLinear[T]) Params() []*Param[T] { return []*Param[T]{l.W, l.B} }

// MACs implements [Layer].
func (l *TokenLinear[T]) MACs() int { return l.x.C * l.In * l.Out }

// PatchConv is a convolution whose stride is its width, so that patches do not
// overlap: [N,H,W,in] to [N,H/size,W/size,out]. Weights have shape [size, size,
// in, out].
type PatchConv[T Float] struct {
	Size, In, Out int
	W, B          *Param[T] // B is nil without a bias
	x             Batch[T]
	rows, y, ones []T
}

// NewPatchConv makes a layer with parameters name.weight and, with bias,
// name.bias.
func NewPatchConv[T Float](name string, size, in, out int, bias bool) *PatchConv[T] {
	l := &PatchConv[T]{Size: size, In: in, Out: out, W: newParam[T](name+".weight", size*size*in, 1, size, size, in, out)}
	if bias {
		l.B = newParam[T](name+".bias", 0, 0, out)
	}
	return l
}

// each calls f with the places in an image batch and in the rows of patches of
// every run of neighbouring elements.
func (l *PatchConv[T]) each(x Batch[T], f func(image, row, n int)) {
	s, run := l.Size, l.Size*x.C
	w := x.W / s
	for r := range x.N * x.H {
		patch := (r / s) * w
		for p := range w {
			f((r*x.W+p*s)*x.C, (patch+p)*s*run+(r%s)*run, run)
		}
	}
}

// Forward implements [Layer].
func (l *PatchConv[T]) Forward(_ *Context[T], x Batch[T]) Batch[T] {
	if x.C != l.In || x.H%l.Size+x.W%l.Size > 0 {
		shapeError(l.W.Name, [3]int{x.H, x.W, x.C}, "the weights' channels and whole patches")
	}
	l.x = x
	k := l.Size * l.Size * l.In
	rows := grow(&l.rows, x.Len())
	l.each(x, func(image, row, n int) { copy(rows[row:row+n], x.Data[image:image+n]) })
	y := Batch[T]{N: x.N, H: x.H / l.Size, W: x.W / l.Size, C: l.Out}
	y.Data = grow(&l.y, y.Len())
	blas.Gemm(false, false, y.Rows(), l.Out, k, 1, rows, k, l.W.Value, l.Out, 0, y.Data, l.Out)
	if l.B != nil {
		vec.ColAffine(y.Data, y.Data, one(&l.ones, l.Out), l.B.Value, y.Rows())
	}
	return y
}

// Backward implements [Layer].
func (l *PatchConv[T]) Backward(c *Context[T], dy Batch[T], want bool) Batch[T] {
	defer c.Put(dy.Data)
	k, m := l.Size*l.Size*l.In, dy.Rows()
	blas.Gemm(true, false, k, l.Out, m, 1, l.rows, k, dy.Data, l.Out, 1, l.W.Grad, l.Out)
	if l.B != nil {
		vec.ColSums(l.B.Grad, dy.Data, m)
	}
	if !want {
		return Batch[T]{}
	}
	drows := l.rows // no longer needed
	blas.Gemm(false, true, m, k, l.Out, 1, dy.Data, l.Out, l.W.Value, l.Out, 0, drows, k)
	dx := l.x.with(c.Get(l.x.Len()), l.In)
	l.each(dx, func(image, row, n int) { copy(dx.Data[image:image+n], drows[row:row+n]) })
	return dx
}

// Params implements [Layer].
func (l *PatchConv[T]) Params() []*Param[T] {
	if l.B == nil {
		return []*Param[T]{l.W}
	}
	return []*Param[T]{l.W, l.B}
}

// MACs implements [Layer].
func (l *PatchConv[T]) MACs() int { return l.x.H * l.x.W * l.In * l.Out }

// Position adds one learned vector a place to the tokens.
type Position[T Float] struct {
	P *Param[T]
	y []T
}

// NewPosition makes a layer with the parameter name.
func NewPosition[T Float](name string, tokens, channels int) *Position[T] {
	l := &Position[T]{P: newParam[T](name, 1, 0.02*0.02, tokens, channels)}
	l.P.OutputFirst = true
	return l
}

// Forward implements [Layer].
func (l *Position[T]) Forward(_ *Context[T], x Batch[T]) Batch[T] {
	n := len(l.P.Value)
	if x.H*x.W*x.C != n {
		shapeError(l.P.Name, x.H*x.W*x.C, "as many elements an image as there are in the parameter")
	}
	y := grow(&l.y, x.Len())
	copy(y, x.Data)
	for i := range x.N {
		vec.Add(y[i*n:(i+1)*n], l.P.Value)
	}
	return x.with(y, x.C)
}

// Backward implements [Layer].
func (l *Position[T]) Backward(_ *Context[T], dy Batch[T], _ bool) Batch[T] {
	n := len(l.P.Grad)
	for i := range dy.N {
		vec.Add(l.P.Grad, dy.Data[i*n:(i+1)*n])
	}
	return dy
}

// Params implements [Layer].
func (l *Position[T]) Params() []*Param[T] { return []*Param[T]{l.P} }

// MACs implements [Layer].
func (l *Position[T]) MACs() int { return 0 }
