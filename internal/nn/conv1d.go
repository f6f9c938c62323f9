package nn

import (
	"fmt"
	"math/rand/v2"
)

// A batch of n signals of length L with C channels is a matrix [C, n*(L+2)]:
// one row a channel; signal i occupies the columns i*(L+2)+1 up to and
// including i*(L+2)+L and has a column of zeros on either side, the padding of
// a convolution of width 3. So a convolution over the whole batch is one
// product of the weights with shifted rows.

// SignalCols is the number of columns of a batch of n signals of that length.
func SignalCols(n, length int) int { return n * (length + 2) }

// SetSignals writes x [n, length] as a batch of one channel to y.
func SetSignals(y, x Matrix) {
	length := x.Cols
	y.check("signals", y, 1, SignalCols(x.Rows, length))
	d := y.Row(0)
	for i := range x.Rows {
		s := d[i*(length+2) : (i+1)*(length+2)]
		s[0], s[length+1] = 0, 0
		copy(s[1:], x.Row(i))
	}
}

// clearBorders zeroes the padding columns.
func clearBorders(x Matrix, length int) {
	for c := range x.Rows {
		r := x.Row(c)
		for j := 0; j < len(r); j += length + 2 {
			r[j], r[j+length+1] = 0, 0
		}
	}
}

// convBlock is how many columns are gathered at a time: few enough that 24 rows
// of them stay in the second-level cache.
const convBlock = 512

// Conv1d is a convolution of width 3 with zero padding, so that signals keep
// their length. Weights have shape [out, in, 3].
type Conv1d struct {
	In, Out, Length int
	W, B            *Tensor
	x               Matrix
	cols            [2]Matrix
}

// NewConv1d declares the layer's tensors, name.weight and name.bias, in p.
func NewConv1d(p *Params, name string, in, out, length int) *Conv1d {
	return &Conv1d{In: in, Out: out, Length: length, W: p.Add(name+".weight", out, in, 3), B: p.Add(name+".bias", out)}
}

// gather fills cols [3*In, w] so that row 3c+k holds channel c shifted by k-1,
// for the columns from j on.
func (l *Conv1d) gather(j, w int) Matrix {
	if l.cols[0].Data == nil {
		l.cols[0], l.cols[1] = NewMatrix(3*l.In, convBlock), NewMatrix(3*l.In, convBlock)
	}
	cols := l.cols[0].Slice(0, w)
	for c := range l.In {
		src := l.x.Row(c)
		for k := range 3 {
			copy(cols.Row(3*c+k), src[j+k-1:j+k-1+w])
		}
	}
	return cols
}

// Forward writes the convolution of the batch x [In, n*(Length+2)] to y
// [Out, n*(Length+2)], borders set to 0.
func (l *Conv1d) Forward(y, x Matrix) {
	x.check("input of Conv1d "+l.W.Name, x, l.In, x.Cols)
	x.check("output of Conv1d "+l.W.Name, y, l.Out, x.Cols)
	if x.Cols%(l.Length+2) != 0 {
		panic(fmt.Sprintf("nn: Conv1d %s: %d columns are no batch of signals of length %d", l.W.Name, x.Cols, l.Length))
	}
	l.x = x
	for c := range l.Out {
		r, b := y.Row(c), l.B.Value[c]
		for j := range r {
			r[j] = b
		}
	}
	w := l.W.matrix(l.W.Value)
	for j := 1; j < x.Cols-1; j += convBlock {
		e := min(j+convBlock, x.Cols-1)
		Gemm(false, false, 1, w, l.gather(j, e-j), 1, y.Slice(j, e))
	}
	clearBorders(y, l.Length)
}

// Backward adds the gradients of the parameters and writes that of the input
// to dx, unless dx is the zero Matrix. dy must have zero borders.
func (l *Conv1d) Backward(dx, dy Matrix) {
	for c := range l.Out {
		s := 0.0
		for _, v := range dy.Row(c) {
			s += v
		}
		l.B.Grad[c] += s
	}
	if !dx.IsZero() {
		dx.Clear()
	}
	w, dw := l.W.matrix(l.W.Value), l.W.matrix(l.W.Grad)
	for j := 1; j < dy.Cols-1; j += convBlock {
		e := min(j+convBlock, dy.Cols-1)
		g := dy.Slice(j, e)
		Gemm(false, true, 1, g, l.gather(j, e-j), 1, dw)
		if dx.IsZero() {
			continue
		}
		dcols := l.cols[1].Slice(0, e-j)
		Gemm(true, false, 1, w, g, 0, dcols)
		for c := range l.In {
			d := dx.Row(c)
			for k := range 3 {
				t := d[j+k-1:]
				for q, v := range dcols.Row(3*c + k) {
					t[q] += v
				}
			}
		}
	}
	if !dx.IsZero() {
		clearBorders(dx, l.Length)
	}
}

// MaxPool1d halves signals by taking the larger of two neighbours; of an odd
// length the last element is dropped. Its output is no batch of signals but
// one row a sample, [n, C*(Length/2)], channel by channel, as a fully connected
// layer wants it.
type MaxPool1d struct {
	Channels, Length int
	right            []bool // whether the second of a pair is the larger
}

// Width is the length of an output row.
func (l *MaxPool1d) Width() int { return l.Channels * (l.Length / 2) }

// Forward pools the batch x to y.
func (l *MaxPool1d) Forward(y, x Matrix) {
	n := y.Rows
	x.check("input of MaxPool1d", x, l.Channels, SignalCols(n, l.Length))
	x.check("output of MaxPool1d", y, n, l.Width())
	if cap(l.right) < n*l.Width() {
		l.right = make([]bool, n*l.Width())
	}
	l.right = l.right[:n*l.Width()]
	half := l.Length / 2
	if half == 0 {
		return
	}
	for c := range l.Channels {
		row := x.Row(c)
		for i := range n {
			src := row[i*(l.Length+2)+1:]
			dst := y.Row(i)[c*half : (c+1)*half]
			r := l.right[i*l.Width()+c*half:]
			r = r[:len(dst)]
			src = src[:2*len(dst)]
			for p := range dst {
				a, b := src[2*p], src[2*p+1]
				r[p] = b > a
				dst[p] = max(a, b)
			}
		}
	}
}

// Backward writes the gradient of the input to dx, borders included.
func (l *MaxPool1d) Backward(dx, dy Matrix) {
	half := l.Length / 2
	for c := range l.Channels {
		row := dx.Row(c)
		clear(row)
		if half == 0 {
			continue
		}
		for i := range dy.Rows {
			dst := row[i*(l.Length+2)+1:]
			g := dy.Row(i)[c*half : (c+1)*half]
			r := l.right[i*l.Width()+c*half:]
			for p, v := range g {
				k := 2 * p
				if r[p] {
					k++
				}
				dst[k] = v
			}
		}
	}
}

// Dropout1d zeroes whole channels of a row [C*w] with probability P and
// divides the others by 1-P.
type Dropout1d struct {
	Channels int
	P        float64
	scale    []float64 // one factor a sample and channel; empty: nothing dropped
}

// Forward drops channels of x in place with numbers from rng. A nil rng means
// evaluation: nothing is dropped.
func (l *Dropout1d) Forward(x Matrix, rng *rand.Rand) {
	l.scale = l.scale[:0]
	if rng == nil || l.P == 0 {
		return
	}
	keep := 1 / (1 - l.P)
	for range x.Rows * l.Channels {
		s := keep
		if rng.Float64() < l.P {
			s = 0
		}
		l.scale = append(l.scale, s)
	}
	l.apply(x)
}

// Backward turns the gradient of the output into that of the input in place.
func (l *Dropout1d) Backward(dx Matrix) {
	if len(l.scale) > 0 {
		l.apply(dx)
	}
}

func (l *Dropout1d) apply(x Matrix) {
	w := x.Cols / l.Channels
	for i := range x.Rows {
		r := x.Row(i)
		for c := range l.Channels {
			s := l.scale[i*l.Channels+c]
			ch := r[c*w : (c+1)*w]
			for j := range ch {
				ch[j] *= s
			}
		}
	}
}
