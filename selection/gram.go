package selection

import (
	"errors"
	"math"
	"sync"

	gblas "gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/floats"

	"quicktune/internal/blas"
)

// gram holds second moments of the rows of an n x d matrix. Of the two matrices
// with the same spectrum, FᵀF (d x d) and FFᵀ (n x n), it keeps the smaller, of
// the centred rows; what belongs to the rows as they were is added back, so that
// a large mean costs no digits.
type gram struct {
	n, d int
	rows []float64 // as they were, n x d
	mean []float64 // d
	// primal tells that matrix is the d x d one.
	primal bool
	order  int       // min(n, d)
	matrix []float64 // order x order, lower triangle, of the centred rows
	// sums are those of the centred rows of each class, classes x d; lean is the
	// product of each centred row with the mean, and lengths its squared length.
	sums, lean, lengths []float64

	whole lazy[[]float64]
}

// centredBlock is how many rows are centred at a time where not all are needed
// at once. It is the number of products that blas chains, so that the sums
// round as those over all rows.
const centredBlock = 288

// newGram takes the rows of x (n x d) for the images of p.
func newGram(x []float64, d int, p *Probe) *gram {
	n := p.n
	g := &gram{n: n, d: d, rows: x, primal: n > d, order: min(n, d)}
	g.sums, g.mean = make([]float64, p.classes*d), make([]float64, d)
	for i, c := range p.labels {
		floats.Add(g.sums[c*d:(c+1)*d], x[i*d:(i+1)*d])
	}
	for c := range p.classes {
		floats.Add(g.mean, g.sums[c*d:(c+1)*d])
	}
	for j := range g.mean {
		g.mean[j] /= float64(n)
	}
	for c, size := range p.counts {
		for j, m := range g.mean {
			g.sums[c*d+j] -= float64(size) * m
		}
	}
	g.matrix = make([]float64, g.order*g.order)
	g.lean, g.lengths = make([]float64, n), make([]float64, n)
	g.blocks(func(first, count int, rows []float64) {
		if g.primal {
			blas.Syrk(gblas.Lower, true, d, count, 1, rows, d, 1, g.matrix, d)
		}
		blas.Gemv(false, count, d, 1, rows, d, g.mean, 0, g.lean[first:first+count])
		for i := range count {
			row := rows[i*d : (i+1)*d]
			g.lengths[first+i] = dot(row, row)
		}
	})
	if !g.primal {
		blas.Syrk(gblas.Lower, false, n, d, 1, g.centred(), d, 0, g.matrix, n)
	}
	return g
}

// centred returns all centred rows, n x d, for reading only.
func (g *gram) centred() []float64 {
	all, _ := g.whole.get(func() ([]float64, error) {
		all := make([]float64, g.n*g.d)
		g.centre(0, g.n, all)
		return all, nil
	})
	return all
}

// centre writes the centred rows from first on to dst.
func (g *gram) centre(first, count int, dst []float64) {
	for i := range count {
		floats.SubTo(dst[i*g.d:(i+1)*g.d], g.rows[(first+i)*g.d:(first+i+1)*g.d], g.mean)
	}
}

// blocks passes the centred rows to use, some at a time, valid for the call.
func (g *gram) blocks(use func(first, count int, rows []float64)) {
	buffer := workspace(min(centredBlock, g.n) * g.d)
	defer release(buffer)
	for first := 0; first < g.n; first += centredBlock {
		count := min(centredBlock, g.n-first)
		g.centre(first, count, buffer)
		use(first, count, buffer[:count*g.d])
	}
}

func columnMeans(x []float64, n, d int) []float64 {
	mean := make([]float64, d)
	for i := range n {
		for j, v := range x[i*d : (i+1)*d] {
			mean[j] += v
		}
	}
	for j := range mean {
		mean[j] /= float64(n)
	}
	return mean
}

// squares returns the sum of the squares of a symmetric matrix stored in its
// lower triangle.
func squares(n int, lower []float64) float64 {
	var diagonal, below float64
	for i := range n {
		row := lower[i*n : i*n+i]
		s := 0.0
		for _, v := range row {
			s += v * v
		}
		below += s
		diagonal += lower[i*n+i] * lower[i*n+i]
	}
	return diagonal + 2*below
}

// trace returns the sum of the squares of the centred features.
func (g *gram) trace() float64 {
	s := 0.0
	for i := range g.order {
		s += g.matrix[i*g.order+i]
	}
	return s
}

// covariance returns the lower triangle of FᵀF of the centred rows, d x d, in a
// workspace.
func (g *gram) covariance() []float64 {
	if g.primal {
		return g.copied()
	}
	out := workspace(g.d * g.d)
	blas.Syrk(gblas.Lower, true, g.d, g.n, 1, g.centred(), g.d, 0, out, g.d)
	return out
}

// raw returns the matrix of the rows as they were, lower triangle, in a
// workspace.
func (g *gram) raw() []float64 {
	m := g.order
	out := workspace(m * m)
	if g.primal {
		n := float64(g.n)
		for i := range m {
			mi := n * g.mean[i]
			src, dst := g.matrix[i*m:i*m+i+1], out[i*m:i*m+i+1]
			for j, v := range src {
				dst[j] = v + mi*g.mean[j]
			}
		}
		return out
	}
	a, length := g.lean, dot(g.mean, g.mean)
	for i := range m {
		src, dst := g.matrix[i*m:i*m+i+1], out[i*m:i*m+i+1]
		for j, v := range src {
			dst[j] = v + a[i] + a[j] + length
		}
	}
	return out
}

// copied returns the matrix, lower triangle, in a workspace.
func (g *gram) copied() []float64 {
	m := g.order
	out := workspace(m * m)
	for i := range m {
		copy(out[i*m:i*m+i+1], g.matrix[i*m:i*m+i+1])
	}
	return out
}

// workspaces keeps large matrices from one score for the next, since fresh memory
// costs as much as many of the operations on it.
var workspaces sync.Pool

// workspace returns n numbers of any value. release takes them back.
func workspace(n int) []float64 {
	if w, ok := workspaces.Get().(*[]float64); ok && cap(*w) >= n {
		return (*w)[:n]
	}
	return make([]float64, n)
}

func release(w []float64) { workspaces.Put(&w) }

// moments returns the second moments of the features.
func (p *Probe) moments() *gram {
	g, _ := p.features.get(func() (*gram, error) { return newGram(p.data.Features, p.data.Dim, p), nil })
	return g
}

// dot keeps four sums, which do not wait for each other.
func dot(a, b []float64) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// mirror copies the lower triangle of an n x n matrix to the upper one.
func mirror(n int, a []float64) {
	const block = 32
	for i0 := 0; i0 < n; i0 += block {
		i1 := min(i0+block, n)
		for j0 := 0; j0 <= i0; j0 += block {
			for i := i0; i < i1; i++ {
				for j := j0; j < min(j0+block, i); j++ {
					a[j*n+i] = a[i*n+j]
				}
			}
		}
	}
}

// transposed returns the n x m transpose of an m x n matrix.
func transposed(m, n int, a []float64) []float64 {
	out := make([]float64, m*n)
	for i := range m {
		for j, v := range a[i*n : (i+1)*n] {
			out[j*m+i] = v
		}
	}
	return out
}

var (
	errNotPositive  = errors.New("the matrix is not positive definite")
	errNotConverged = errors.New("selection: the eigenvalues of the features did not converge")
)

// logDeterminant overwrites the lower triangle of a positive definite matrix
// with its Cholesky factor and returns the logarithm of its determinant.
func logDeterminant(n int, a []float64) (float64, error) {
	if err := blas.Cholesky(a, n, n); err != nil {
		return 0, errNotPositive
	}
	s := 0.0
	for i := range n {
		s += math.Log(a[i*n+i])
	}
	return 2 * s, nil
}
