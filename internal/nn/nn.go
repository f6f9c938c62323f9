// Package nn holds the few neural-network layers that the predictors need,
// with backward passes written by hand: fully connected, 1-D convolution of
// width 3, max-pooling, dropout of whole channels, (leaky) rectifiers, Adam and
// the initialisation of torch.
//
// Everything is float64, batched and single-threaded: the caller parallelises
// over data sets, seeds and candidates, never inside a layer. Layers write into
// matrices that the caller gives, so a network that draws them from a
// [Workspace] allocates nothing after its first pass. The package refuses to be
// an automatic-differentiation framework: the network that uses the layers
// calls their backward passes in reverse order itself.
package nn

import (
	"fmt"
	"math"
)

// Matrix is a row-major view of float64 numbers: element (i, j) is
// Data[i*Stride+j]. Several matrices may share memory; that is how layers
// write straight into their columns of a concatenation.
type Matrix struct {
	Rows, Cols, Stride int
	Data               []float64
}

// NewMatrix allocates a zero matrix.
func NewMatrix(rows, cols int) Matrix {
	return Matrix{Rows: rows, Cols: cols, Stride: cols, Data: make([]float64, rows*cols)}
}

// Row returns row i as a slice of length Cols.
func (m Matrix) Row(i int) []float64 {
	if m.Cols == 0 {
		return nil
	}
	return m.Data[i*m.Stride : i*m.Stride+m.Cols]
}

// Slice returns the view of columns lo to hi, hi excluded.
func (m Matrix) Slice(lo, hi int) Matrix {
	if m.Rows == 0 || lo == hi {
		return Matrix{Rows: m.Rows, Stride: m.Stride, Cols: hi - lo}
	}
	return Matrix{Rows: m.Rows, Cols: hi - lo, Stride: m.Stride, Data: m.Data[lo:]}
}

// Top returns the view of the first rows.
func (m Matrix) Top(rows int) Matrix {
	m.Rows = rows
	return m
}

// IsZero reports whether m is the zero Matrix, which stands for "no matrix":
// backward passes given one as their result skip that part of the work.
func (m Matrix) IsZero() bool { return m.Data == nil && m.Rows == 0 && m.Cols == 0 }

// Clear sets every element to 0.
func (m Matrix) Clear() {
	for i := range m.Rows {
		clear(m.Row(i))
	}
}

// Copy copies src, which must have the shape of m.
func (m Matrix) Copy(src Matrix) {
	checkShape("source", "Copy", src, m.Rows, m.Cols)
	for i := range m.Rows {
		copy(m.Row(i), src.Row(i))
	}
}

// checkShape panics unless x has the shape rows x cols: a wrong shape is a defect
// of the calling network, not of its data.
func checkShape(what, layer string, x Matrix, rows, cols int) {
	if x.Rows != rows || x.Cols != cols {
		panic(fmt.Sprintf("nn: %s of %s is %dx%d instead of %dx%d", what, layer, x.Rows, x.Cols, rows, cols))
	}
}

// Finite reports whether every element is neither NaN nor infinite.
func Finite(x []float64) bool {
	// x-x is 0 for finite numbers and NaN for all others. Four sums run side
	// by side, as an addition waits for the one before.
	var s [4]float64
	for ; len(x) >= 4; x = x[4:] {
		s[0] += x[0] - x[0]
		s[1] += x[1] - x[1]
		s[2] += x[2] - x[2]
		s[3] += x[3] - x[3]
	}
	for _, v := range x {
		s[0] += v - v
	}
	return s[0]+s[1]+s[2]+s[3] == 0
}

// Workspace lends matrices for the length of one pass. After the first pass of
// a given size it allocates nothing.
type Workspace struct {
	slab []float64
	used int
	need int
}

// Reset takes back every matrix lent so far.
func (w *Workspace) Reset() {
	if w.need > len(w.slab) {
		w.slab = make([]float64, w.need+w.need/4)
	}
	w.used, w.need = 0, 0
}

// Get lends a matrix whose contents are undefined.
func (w *Workspace) Get(rows, cols int) Matrix {
	n := rows * cols
	w.need += n
	if w.used+n > len(w.slab) {
		return NewMatrix(rows, cols)
	}
	d := w.slab[w.used : w.used+n : w.used+n]
	w.used += n
	return Matrix{Rows: rows, Cols: cols, Stride: cols, Data: d}
}

// Vec lends a slice whose contents are undefined.
func (w *Workspace) Vec(n int) []float64 { return w.Get(1, n).Data }

// Tensor is one named parameter with its gradient. Value and Grad are views
// into the [Params] that it belongs to.
type Tensor struct {
	Name  string
	Shape []int
	Value []float64
	Grad  []float64
}

// matrix views a tensor as out x (everything else), the layout of torch.
func (t *Tensor) matrix(data []float64) Matrix {
	rows := t.Shape[0]
	cols := len(data) / max(rows, 1)
	return Matrix{Rows: rows, Cols: cols, Stride: cols, Data: data}
}

// Params is a list of tensors that lie in one flat slice, so that an optimiser,
// a clone or a checkpoint is one loop.
type Params struct {
	Value   []float64
	Grad    []float64
	Tensors []*Tensor
}

// Add declares a tensor. It has no memory until Pack.
func (p *Params) Add(name string, shape ...int) *Tensor {
	t := &Tensor{Name: name, Shape: shape}
	p.Tensors = append(p.Tensors, t)
	return t
}

// Pack allocates all declared tensors, filled with 0.
func (p *Params) Pack() {
	n := 0
	for _, t := range p.Tensors {
		n += size(t.Shape)
	}
	p.Value, p.Grad = make([]float64, n), make([]float64, n)
	n = 0
	for _, t := range p.Tensors {
		e := n + size(t.Shape)
		t.Value, t.Grad = p.Value[n:e:e], p.Grad[n:e:e]
		n = e
	}
}

// Lookup returns the tensor of that name, or nil.
func (p *Params) Lookup(name string) *Tensor {
	for _, t := range p.Tensors {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// ZeroGrad sets every gradient to 0.
func (p *Params) ZeroGrad() { clear(p.Grad) }

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Softplus is log(1+exp(x)), computed without overflow.
func Softplus(x float64) float64 {
	if x > 0 {
		return x + math.Log1p(math.Exp(-x))
	}
	return math.Log1p(math.Exp(x))
}

// Sigmoid is the derivative of [Softplus].
func Sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}
