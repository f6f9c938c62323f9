// Package symeig decomposes a dense symmetric matrix into its eigenvalues and
// an orthonormal basis of eigenvectors, all of them, in double precision.
//
// The matrix is reduced to a tridiagonal one by Householder reflections in
// panels (Dongarra, Sorensen and Hammarling, "Block reduction of matrices to
// condensed forms for eigenvalue computations", J. Comput. Appl. Math. 27,
// 1989), which is torn apart and put together again (Cuppen, "A divide and
// conquer method for the symmetric tridiagonal eigenproblem", Numer. Math. 36,
// 1981) with the eigenvectors of Gu and Eisenstat, "A divide-and-conquer
// algorithm for the symmetric tridiagonal eigenproblem", SIAM J. Matrix Anal.
// Appl. 16, 1995. Nearly all work is matrix products of internal/blas, which
// is what it is for: 2,000 rows take seconds on one core where the QR
// iteration of gonum takes more than a minute.
//
// The package refuses matrices that hold NaN or infinities, and it does not
// look at the upper triangle: whoever has an unsymmetric matrix must say what
// its symmetric part is meant to be.
package symeig

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"quicktune/internal/blas"
)

// panel is the number of Householder reflections applied together.
const panel = 32

// Decompose returns the eigenvalues of the symmetric n x n matrix a in
// ascending order, and the eigenvectors as the rows of an n x n matrix: row k
// belongs to eigenvalue k, so a = vectorsᵀ * diag(values) * vectors. The matrix
// is row-major with n columns; only its lower triangle is read and it is not
// changed. An error says that the shape is wrong or an element is not finite.
func Decompose(a []float64, n int) (values, vectors []float64, err error) {
	if n < 1 || len(a) != n*n {
		return nil, nil, fmt.Errorf("symeig: %d elements are no %d x %d matrix", len(a), n, n)
	}
	full := make([]float64, n*n)
	scale := 0.0
	for i := range n {
		for j := range i + 1 {
			x := a[i*n+j]
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, nil, fmt.Errorf("symeig: element (%d, %d) is %v", i, j, x)
			}
			full[i*n+j], full[j*n+i] = x, x
			scale = max(scale, math.Abs(x))
		}
	}
	if scale == 0 {
		scale = 1
	}
	for i := range full {
		full[i] /= scale
	}

	r := tridiagonalise(full, n)
	t := newTree(r.diagonal, r.below)
	if err := t.solve(0, n); err != nil {
		return nil, nil, err
	}
	vectors = full
	values = make([]float64, n)
	for k, row := range t.order {
		values[k] = t.d[row] * scale
		copy(vectors[k*n:(k+1)*n], t.q[row*n:(row+1)*n])
	}
	r.apply(vectors, t.work)
	return values, vectors, nil
}

// A reduction is A = H T Hᵀ with T tridiagonal and H the product of n-2
// reflections I - tau v vᵀ.
type reduction struct {
	n               int
	diagonal, below []float64
	v               []float64 // row j: vector j, zero up to column j
	tau             []float64
}

// tridiagonalise reduces the symmetric matrix a (both triangles), which it
// destroys.
func tridiagonalise(a []float64, n int) *reduction {
	r := &reduction{n: n, diagonal: make([]float64, n), below: make([]float64, n), v: make([]float64, n*n), tau: make([]float64, n)}
	w := make([]float64, panel*n)
	inner, outer := make([]float64, panel), make([]float64, panel)
	for first := 0; first < n; first += panel {
		last := min(first+panel, n)
		for j := first; j < last; j++ {
			column := a[j*n+j : (j+1)*n]
			for p := first; p < j; p++ {
				vp, wp := r.v[p*n+j:(p+1)*n], w[(p-first)*n+j:(p-first+1)*n]
				v0, w0 := vp[0], wp[0]
				for i := range column {
					column[i] -= vp[i]*w0 + wp[i]*v0
				}
			}
			r.diagonal[j] = column[0]
			if j == n-1 {
				break
			}
			x, m := column[1:], n-1-j
			tau, beta := reflector(x)
			r.tau[j], r.below[j] = tau, beta
			v, wj := r.v[j*n+j+1:(j+1)*n], w[(j-first)*n+j+1:(j-first+1)*n]
			copy(v, x)
			clear(wj)
			if tau == 0 {
				continue
			}
			blas.Gemv(false, m, m, tau, a[(j+1)*n+j+1:], n, v, 0, wj)
			if done := j - first; done > 0 {
				vs, ws := r.v[first*n+j+1:], w[j+1:]
				blas.Gemv(false, done, m, 1, ws, n, v, 0, inner)
				blas.Gemv(false, done, m, 1, vs, n, v, 0, outer)
				blas.Gemv(true, done, m, -tau, vs, n, inner[:done], 1, wj)
				blas.Gemv(true, done, m, -tau, ws, n, outer[:done], 1, wj)
			}
			half := -tau / 2 * dot(wj, v)
			for i, x := range v {
				wj[i] += half * x
			}
		}
		if m := n - last; m > 0 {
			k, rest := last-first, a[last*n+last:]
			blas.Gemm(true, false, m, m, k, -1, r.v[first*n+last:], n, w[last:], n, 1, rest, n)
			blas.Gemm(true, false, m, m, k, -1, w[last:], n, r.v[first*n+last:], n, 1, rest, n)
		}
	}
	return r
}

// reflector overwrites x with the vector v, v[0] = 1, of the reflection
// I - tau v vᵀ that maps x to (beta, 0, ..., 0).
func reflector(x []float64) (tau, beta float64) {
	rest := norm(x[1:])
	alpha := x[0]
	x[0] = 1
	if rest < negligible {
		return 0, alpha
	}
	beta = -math.Copysign(math.Hypot(alpha, rest), alpha)
	for i := range x[1:] {
		x[1+i] /= alpha - beta
	}
	return (beta - alpha) / beta, beta
}

// apply turns the rows of q, eigenvectors of the tridiagonal matrix, into
// eigenvectors of the matrix that was reduced. Panels of reflections act in
// the form I - V S Vᵀ of Schreiber and Van Loan, "A storage-efficient WY
// representation for products of Householder transformations", SIAM J. Sci.
// Stat. Comput. 10, 1989.
func (r *reduction) apply(q, work []float64) {
	n := r.n
	s, overlap := make([]float64, panel*panel), make([]float64, panel*panel)
	qv, qvs := work[:n*panel], make([]float64, n*panel)
	for first := (n - 1) / panel * panel; first >= 0; first -= panel {
		k := min(panel, n-first)
		from := first + 1 // columns up to here are zero in every vector of the panel
		if from >= n {
			continue
		}
		m := n - from
		v := r.v[first*n+from:]
		blas.Gemm(false, true, k, k, m, 1, v, n, v, n, 0, overlap, k)
		clear(s)
		for j := range k {
			tau := r.tau[first+j]
			s[j*k+j] = tau
			for i := range j {
				sum := 0.0
				for p := i; p < j; p++ {
					sum += s[i*k+p] * overlap[p*k+j]
				}
				s[i*k+j] = -tau * sum
			}
		}
		blas.Gemm(false, true, n, k, m, 1, q[from:], n, v, n, 0, qv, k)
		blas.Gemm(false, true, n, k, k, 1, qv, k, s, k, 0, qvs, k)
		blas.Gemm(false, false, n, m, k, -1, qvs, k, v, n, 1, q[from:], n)
	}
}

// A tree holds the eigenvectors of the diagonal blocks of a tridiagonal matrix
// while they are put together.
type tree struct {
	n     int
	d     []float64 // diagonal, in the end eigenvalues: d[row] belongs to row of q
	e     []float64 // below the diagonal
	q     []float64 // eigenvectors as rows
	order []int     // order[k] is the row of the k-th smallest eigenvalue of its block
	work  []float64 // room for the eigenvectors of a block
	roots []float64 // room for those of a rank-one update
}

func newTree(d, e []float64) *tree {
	n := len(d)
	return &tree{
		n: n, d: d, e: e,
		q: make([]float64, n*n), order: make([]int, n),
		work: make([]float64, max(n*n, n*panel)), roots: make([]float64, n*n),
	}
}

// leaf is the largest block that is not torn apart.
const leaf = 24

// solve decomposes rows lo to hi-1.
func (t *tree) solve(lo, hi int) error {
	if hi-lo <= leaf {
		return t.iterate(lo, hi)
	}
	mid := (lo + hi) / 2
	rho := math.Abs(t.e[mid-1])
	t.d[mid-1] -= rho
	t.d[mid] -= rho
	if err := t.solve(lo, mid); err != nil {
		return err
	}
	if err := t.solve(mid, hi); err != nil {
		return err
	}
	t.merge(lo, mid, hi, rho, math.Copysign(1, t.e[mid-1]))
	return nil
}

// iterate decomposes a small block by QL iterations with implicit shifts:
// Bowdler, Martin, Reinsch and Wilkinson, "The QR and QL algorithms for
// symmetric matrices", Numer. Math. 11, 1968.
func (t *tree) iterate(lo, hi int) error {
	n, m := t.n, hi-lo
	d := t.d[lo:hi]
	e := append(slices.Clone(t.e[lo:hi-1]), 0)
	row := func(i int) []float64 { return t.q[(lo+i)*n+lo : (lo+i)*n+hi] }
	for i := range m {
		clear(row(i))
		row(i)[i] = 1
	}
	const most = 60
	for l := range m {
		for round := 0; ; round++ {
			end := l
			for end < m-1 && math.Abs(e[end]) > epsilon*(math.Abs(d[end])+math.Abs(d[end+1]))+negligible {
				end++
			}
			if end == l {
				break
			}
			if round == most {
				return errors.New("symeig: the QL iteration does not converge")
			}
			g := (d[l+1] - d[l]) / (2 * e[l])
			g = d[end] - d[l] + e[l]/(g+math.Copysign(math.Hypot(g, 1), g))
			s, c, p := 1.0, 1.0, 0.0
			i := end - 1
			for ; i >= l; i-- {
				f, b := s*e[i], c*e[i]
				h := math.Hypot(f, g)
				e[i+1] = h
				if h == 0 {
					d[i+1] -= p
					e[end] = 0
					break
				}
				s, c = f/h, g/h
				g = d[i+1] - p
				h = (d[i]-g)*s + 2*c*b
				p = s * h
				d[i+1] = g + p
				g = c*h - b
				rotate(row(i+1), row(i), c, s)
			}
			if i >= l {
				continue
			}
			d[l] -= p
			e[l] = g
			e[end] = 0
		}
	}
	t.sort(lo, hi)
	return nil
}

// sort sets the order of a block by its eigenvalues.
func (t *tree) sort(lo, hi int) {
	for i := lo; i < hi; i++ {
		t.order[i] = i
	}
	slices.SortStableFunc(t.order[lo:hi], func(i, j int) int {
		switch {
		case t.d[i] < t.d[j]:
			return -1
		case t.d[i] > t.d[j]:
			return 1
		}
		return i - j
	})
}

// rotate replaces (x, y) by (c x + s y, c y - s x).
func rotate(x, y []float64, c, s float64) {
	for i, a := range x {
		b := y[i]
		x[i] = c*a + s*b
		y[i] = c*b - s*a
	}
}

const epsilon = 0x1p-52

// negligible is the size, in a matrix whose largest element is 1, of what is left
// out: products of smaller numbers lose their digits to underflow.
const negligible = 0x1p-400

func dot(x, y []float64) float64 {
	sum := 0.0
	for i, a := range x {
		sum += a * y[i]
	}
	return sum
}

// norm returns the length of a vector, whose squares may underflow.
func norm(x []float64) float64 {
	largest := 0.0
	for _, a := range x {
		largest = max(largest, math.Abs(a))
	}
	if largest < negligible {
		return largest
	}
	sum := 0.0
	for _, a := range x {
		sum += (a / largest) * (a / largest)
	}
	return largest * math.Sqrt(sum)
}
