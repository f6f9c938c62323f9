package nn

import "math/rand/v2"

// Signals is the layout of a batch of signals of one length, many of which end
// in zeros, as curves do whose later epochs are still to come. A batch with C
// channels is a matrix [C, Cols]: one row a channel, the signals one after the
// other, each with a column of zeros on either side, the padding of a
// convolution of width 3. So a convolution over the whole batch is one product
// of the weights with shifted rows.
//
// Of a tail of zeros only four elements are kept. After two convolutions of
// width 3 the first two of them still feel the signal before the tail, the third
// stands for all that feel nothing, whose values are equal, and the fourth feels
// the end. That is exact, forward and backward, as long as the gradients of
// equal elements are added up, which [MaxPool1d] does; and it is much less work.
type Signals struct {
	Length int
	at     []int // column of the first element of each signal; one more at the end
	cols   int
}

// tail is how many zeros are kept of those that a signal ends with.
const tail = 4

// SetSignals lays out the rows of x [n, Length] in s and returns the batch of
// one channel, drawn from ws.
func (s *Signals) SetSignals(x Matrix, ws *Workspace) Matrix {
	s.Length = x.Cols
	s.at, s.cols = s.at[:0], 0
	for i := range x.Rows {
		r := x.Row(i)
		n := len(r)
		for n > 0 && r[n-1] == 0 {
			n--
		}
		s.at = append(s.at, s.cols+1)
		s.cols += min(n+tail, s.Length) + 2
	}
	s.at = append(s.at, s.cols+1)
	y := ws.Get(1, s.cols)
	for i := range x.Rows {
		copy(y.Data[s.at[i]:], x.Row(i)[:s.kept(i)])
	}
	s.clearBorders(y)
	return y
}

// Len is the number of signals, Cols that of columns.
func (s *Signals) Len() int { return len(s.at) - 1 }

// Cols is the number of columns of a batch.
func (s *Signals) Cols() int { return s.cols }

// kept is the number of elements of signal i that the batch holds.
func (s *Signals) kept(i int) int { return s.at[i+1] - s.at[i] - 2 }

// clearBorders zeroes the padding columns.
func (s *Signals) clearBorders(x Matrix) {
	for c := range x.Rows {
		r := x.Row(c)
		for i := range s.Len() {
			r[s.at[i]-1], r[s.at[i+1]-2] = 0, 0
		}
	}
}

// convBlock is how many columns are gathered at a time: few enough that 24 rows
// of them stay in the second-level cache.
const convBlock = 512

// Conv1d is a convolution of width 3 with zero padding, so that signals keep
// their length. Weights have shape [out, in, 3].
type Conv1d struct {
	In, Out int
	W, B    *Tensor
	x       Matrix
	layout  *Signals
	cols    [2]Matrix
}

// NewConv1d declares the layer's tensors, name.weight and name.bias, in p.
func NewConv1d(p *Params, name string, in, out int) *Conv1d {
	return &Conv1d{In: in, Out: out, W: p.Add(name+".weight", out, in, 3), B: p.Add(name+".bias", out)}
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

// Forward writes the convolution of the batch x [In, s.Cols] to y [Out, s.Cols],
// borders set to 0. At most two layers may follow each other, see [Signals].
func (l *Conv1d) Forward(y, x Matrix, s *Signals) {
	checkShape("input", l.W.Name, x, l.In, s.cols)
	checkShape("output", l.W.Name, y, l.Out, s.cols)
	l.x, l.layout = x, s
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
	s.clearBorders(y)
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
		l.layout.clearBorders(dx)
	}
}

// MaxPool1d halves signals by taking the larger of two neighbours; of an odd
// length the last element is dropped. Its output is no batch of signals but
// one row a sample, [n, C*(Length/2)], channel by channel, as a fully connected
// layer wants it.
type MaxPool1d struct {
	Channels, Length int
	layout           *Signals
	right            []bool // whether the second of a pair is the larger
}

// Width is the length of an output row.
func (l *MaxPool1d) Width() int { return l.Channels * (l.Length / 2) }

// pairs tells how many pairs of signal i lie in its kept elements one to one;
// those after them, but for the last of an even length, are pairs of the
// element same, and that last one is same and the element after it.
func (l *MaxPool1d) pairs(i int) (direct, same int) {
	n := l.layout.kept(i)
	if n == l.Length {
		return l.Length / 2, 0
	}
	same = n - 2
	return (same + 1) / 2, same
}

// Forward pools the batch x to y.
func (l *MaxPool1d) Forward(y, x Matrix, s *Signals) {
	n := s.Len()
	checkShape("input", "MaxPool1d", x, l.Channels, s.cols)
	checkShape("output", "MaxPool1d", y, n, l.Width())
	l.layout = s
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
			src := row[s.at[i] : s.at[i]+s.kept(i)]
			dst := y.Row(i)[c*half : (c+1)*half]
			right := l.right[i*l.Width()+c*half:]
			right = right[:len(dst)]
			direct, same := l.pairs(i)
			for p := range direct {
				a, b := src[2*p], src[2*p+1]
				right[p] = b > a
				dst[p] = max(a, b)
			}
			if direct == half {
				continue
			}
			v := src[same]
			for p := direct; p < half; p++ {
				dst[p], right[p] = v, false
			}
			if l.Length%2 == 0 {
				last := src[same+1]
				dst[half-1], right[half-1] = max(v, last), last > v
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
			dst := row[l.layout.at[i]:]
			g := dy.Row(i)[c*half : (c+1)*half]
			right := l.right[i*l.Width()+c*half:]
			right = right[:len(g)]
			direct, same := l.pairs(i)
			for p := range direct {
				k := 2 * p
				if right[p] {
					k++
				}
				dst[k] = g[p]
			}
			for p := direct; p < half; p++ {
				k := same
				if right[p] {
					k++
				}
				dst[k] += g[p]
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
