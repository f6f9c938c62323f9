package selection

import (
	"math"

	"quicktune/internal/blas"
)

// Sizes of the blocks of tridiagonalise; they steer speed alone.
const (
	bandWidth   = 40  // of the band between the two stages
	updateBlock = 256 // columns of the trailing matrix worked on at a time
	sweepGroup  = 24  // sweeps whose reflections are applied together
)

// tridiagonalise reduces a symmetric n x n matrix A, given by its lower triangle
// and overwritten, to the tridiagonal T = QᵀAQ, of which it returns the diagonal
// and the n-1 elements below. The n x m matrix z becomes Qᵀz.
//
// It goes through a band matrix, so that nearly all work is matrix products:
// Bischof, Lang and Sun, "A framework for symmetric band reduction", ACM
// Transactions on Mathematical Software 26, 2000. Q is never formed.
func tridiagonalise(n int, a []float64, m int, z []float64) (diagonal, below []float64) {
	b := max(1, min(bandWidth, n-1))
	reduceToBand(n, b, a, m, z)
	s := newBand(n, b, a)
	return s.chase(m, z)
}

// householder overwrites x with the vector v, v[0] = 1, of a reflection
// I - tau*v*vᵀ that maps x to (beta, 0, ..., 0).
func householder(x []float64) (beta, tau float64) {
	largest := 0.0
	for _, v := range x[1:] {
		largest = max(largest, math.Abs(v))
	}
	if largest == 0 {
		beta = x[0]
		x[0] = 1
		return beta, 0
	}
	largest = max(largest, math.Abs(x[0]))
	norm := 0.0
	for _, v := range x {
		v /= largest
		norm += v * v
	}
	beta = -math.Copysign(largest*math.Sqrt(norm), x[0])
	tau = (beta - x[0]) / beta
	scale := 1 / (x[0] - beta)
	for i := range x[1:] {
		x[i+1] *= scale
	}
	x[0] = 1
	return beta, tau
}

// blockReflector returns the upper triangular k x k matrix T for which the
// product of the reflections with the k columns of V (h x k) and factors tau,
// in that order, is I - V*T*Vᵀ.
func blockReflector(h, k int, v []float64, tau, t, inner []float64) {
	blas.Gemm(true, false, k, k, h, 1, v, k, v, k, 0, inner, k)
	for c := range k {
		for r := range c {
			s := 0.0
			for q := r; q < c; q++ {
				s += t[r*k+q] * inner[q*k+c]
			}
			t[r*k+c] = -tau[c] * s
		}
		t[c*k+c] = tau[c]
		clear(t[c*k : c*k+c])
	}
}

// reflect replaces the h x m matrix z by (I - V*Tᵀ*Vᵀ)z. work holds 2*k*m.
func reflect(h, k int, v, t []float64, m int, z, work []float64) {
	if m == 0 {
		return
	}
	x, y := work[:k*m], work[k*m:2*k*m]
	blas.Gemm(true, false, k, m, h, 1, v, k, z, m, 0, x, m)
	blas.Gemm(true, false, k, m, k, 1, t, k, x, m, 0, y, m)
	blas.Gemm(false, false, h, m, k, -1, v, k, y, m, 1, z, m)
}

// reduceToBand reduces the matrix to one of band width b, below whose band of
// the lower triangle it leaves rubbish.
func reduceToBand(n, b int, a []float64, m int, z []float64) {
	wholeBlocks(n, a)
	panel := make([]float64, b*n)
	v := make([]float64, n*b)
	x := make([]float64, n*b)
	left, right := make([]float64, 2*n*b), make([]float64, 2*n*b)
	tau, t, inner := make([]float64, b), make([]float64, b*b), make([]float64, b*b)
	work := make([]float64, 2*b*max(m, b))
	dots := make([]float64, b)
	for j := 0; j+b < n; j += b {
		r := j + b
		h := n - r
		k := min(b, h-1)
		if k == 0 {
			break
		}
		// The QR decomposition of the panel, stored by columns.
		for i := range h {
			for c, value := range a[(r+i)*n+j : (r+i)*n+r] {
				panel[c*h+i] = value
			}
		}
		for c := range k {
			column := panel[c*h+c : (c+1)*h]
			var beta float64
			beta, tau[c] = householder(column)
			if rest := b - c - 1; rest > 0 && tau[c] != 0 {
				blas.Gemv(false, rest, h-c, tau[c], panel[(c+1)*h+c:], h, column, 0, dots[:rest])
				blas.Gemm(false, false, rest, h-c, 1, -1, dots, 1, column, h-c, 1, panel[(c+1)*h+c:], h)
			}
			for i := range c {
				v[i*k+c] = 0
			}
			for i, value := range column {
				v[(c+i)*k+c] = value
			}
			column[0] = beta
		}
		for i := range min(b, h) {
			for c := range b {
				value := 0.0
				if c >= i {
					value = panel[c*h+i]
				}
				a[(r+i)*n+j+c] = value
			}
		}
		v := v[:h*k]
		blockReflector(h, k, v, tau[:k], t, inner)
		reflect(h, k, v, t, m, z[r*m:], work)

		// S = AVT - V(Tᵀ VᵀAVT)/2, and A loses SVᵀ + VSᵀ.
		x, s := x[:h*k], left
		symmetricTimes(n, r, k, a, v, x)
		blas.Gemm(false, false, h, k, k, 1, x, k, t, k, 0, s, 2*k)
		blas.Gemm(true, false, k, k, h, 1, v, k, s, 2*k, 0, inner, k)
		blas.Gemm(true, false, k, k, k, 1, t, k, inner, k, 0, work, k)
		blas.Gemm(false, false, h, k, k, -0.5, v, k, work, k, 1, s, 2*k)
		for i := range h {
			copy(left[i*2*k+k:(i+1)*2*k], v[i*k:(i+1)*k])
			copy(right[i*2*k:i*2*k+k], v[i*k:(i+1)*k])
			copy(right[i*2*k+k:(i+1)*2*k], left[i*2*k:i*2*k+k])
		}
		for c := r; c < n; {
			end := min(c/updateBlock*updateBlock+updateBlock, n)
			blas.Gemm(false, true, n-c, end-c, 2*k, -1, left[(c-r)*2*k:], 2*k, right[(c-r)*2*k:], 2*k, 1, a[c*n+c:], n)
			c = end
		}
	}
}

// wholeBlocks fills the upper triangles of the blocks of updateBlock on the
// diagonal. Only they are kept whole, all else in the lower triangle alone.
func wholeBlocks(n int, a []float64) {
	for j := 0; j < n; j += updateBlock {
		for r := j; r < min(j+updateBlock, n); r++ {
			for c := j; c < r; c++ {
				a[c*n+r] = a[r*n+c]
			}
		}
	}
}

// symmetricTimes computes x = A*v for the part from row and column r on of a
// matrix with wholeBlocks; v and x have k columns.
func symmetricTimes(n, r, k int, a, v, x []float64) {
	clear(x)
	for c := r; c < n; {
		end := min(c/updateBlock*updateBlock+updateBlock, n)
		w := end - c
		blas.Gemm(false, false, n-c, k, w, 1, a[c*n+c:], n, v[(c-r)*k:], k, 1, x[(c-r)*k:], k)
		if end < n {
			blas.Gemm(true, false, w, k, n-end, 1, a[end*n+c:], n, v[(end-r)*k:], k, 1, x[(c-r)*k:], k)
		}
		c = end
	}
}

// band is a symmetric matrix of band width b with room for b more diagonals
// below: element (i, j) at data[i*stride+j+2b] for j-i in [-2b, b]. Within b of
// the diagonal both triangles are stored.
type band struct {
	n, b, stride int
	data         []float64
}

func newBand(n, b int, a []float64) *band {
	s := &band{n: n, b: b, stride: 3 * b}
	s.data = make([]float64, n*s.stride+n+3*b)
	for i := range n {
		for j := max(0, i-b); j <= i; j++ {
			s.data[s.at(i, j)] = a[i*n+j]
			s.data[s.at(j, i)] = a[i*n+j]
		}
	}
	return s
}

func (s *band) at(i, j int) int { return i*s.stride + j + 2*s.b }

// chase reduces the band to three diagonals, one column after the other, each
// time chasing the bulge that this makes off the end of the band.
func (s *band) chase(m int, z []float64) (diagonal, below []float64) {
	n, b, ld := s.n, s.b, s.stride
	diagonal, below = make([]float64, n), make([]float64, max(n-1, 0))
	group := min(b, sweepGroup)
	vectors := make([]float64, group*n) // of the sweeps of a group, by row
	steps := (n-2)/b + 1
	taus := make([]float64, group*steps)
	w := make([]float64, 2*b)
	pair, flip := make([]float64, 2*b), make([]float64, 2*b)
	pending := newSweeps(n, b, group, m)
	for sweep := 0; sweep < n-2; sweep++ {
		q := sweep % group
		if q == 0 {
			clear(vectors)
			clear(taus)
		}
		r, h := sweep+1, min(b, n-sweep-1)
		v := vectors[q*n+r : q*n+r+h]
		for i := range h {
			v[i] = s.data[s.at(r+i, sweep)]
		}
		beta, tau := householder(v)
		s.data[s.at(r, sweep)] = beta
		for step := 0; ; step++ {
			taus[q*steps+step] = tau
			// The block on the diagonal, from both sides. Its last row was
			// beside it in the sweep before.
			last := r + h - 1
			for j := r; j < last; j++ {
				s.data[s.at(j, last)] = s.data[s.at(last, j)]
			}
			if tau != 0 {
				block := s.data[s.at(r, r):]
				// A row times the symmetric block: the kernels like rows.
				blas.GemmStrided(1, h, h, v, 0, 1, block, ld, w, h, false)
				half := -0.5 * tau * tau * dot(w[:h], v)
				for i := range h {
					w[i] = tau*w[i] + half*v[i]
					pair[2*i], pair[2*i+1] = -v[i], -w[i]
					flip[i], flip[h+i] = w[i], v[i]
				}
				blas.GemmStrided(h, h, 2, pair, 2, 1, flip, h, block, ld, true)
			}
			r2 := r + h
			if r2 >= n {
				break
			}
			h2 := min(b, n-r2)
			block := s.data[s.at(r2, r):]
			// The block beside it from the right by the old reflection, and
			// from the left by one that clears its first column: together
			// an update of rank two.
			blas.Gemv(false, h2, h, tau, block, ld, v, 0, w[:h2])
			next := vectors[q*n+r2 : q*n+r2+h2]
			for i := range h2 {
				next[i] = block[i*ld] - w[i]
				pair[2*i] = -w[i]
			}
			copy(flip[:h], v)
			beta, tau = householder(next)
			blas.GemmStrided(1, h, h2, next, 0, 1, block, ld, flip[h:], h, false)
			overlap := dot(next, w[:h2])
			for j := range h {
				flip[h+j] = tau * (flip[h+j] - overlap*v[j])
			}
			for i := range h2 {
				pair[2*i+1] = -next[i]
			}
			blas.GemmStrided(h2, h, 2, pair, 2, 1, flip, h, block, ld, true)
			block[0] = beta
			for i := 1; i < h2; i++ {
				block[i*ld] = 0
			}
			r, h, v = r2, h2, next
		}
		if q == group-1 || sweep == n-3 {
			pending.apply(sweep-q, q+1, steps, vectors, taus, z)
		}
	}
	for i := range n {
		diagonal[i] = s.data[s.at(i, i)]
		if i > 0 {
			below[i-1] = s.data[s.at(i, i-1)]
		}
	}
	return diagonal, below
}

// sweeps applies the reflections of a group of sweeps of the chase to z. Those
// of one step lie shifted by one row a sweep and are gathered into one block;
// a later step of an earlier sweep comes before an earlier step of a later one.
type sweeps struct {
	n, b, m           int
	v, t, inner, work []float64
	tau               []float64
}

func newSweeps(n, b, group, m int) *sweeps {
	if m == 0 {
		return &sweeps{}
	}
	return &sweeps{n: n, b: b, m: m,
		v: make([]float64, (b+group)*group), t: make([]float64, group*group), inner: make([]float64, group*group),
		work: make([]float64, 2*group*m), tau: make([]float64, group)}
}

func (s *sweeps) apply(first, count, steps int, vectors, taus, z []float64) {
	if s.m == 0 {
		return
	}
	for step := steps - 1; step >= 0; step-- {
		r := first + 1 + step*s.b
		h := min(s.b+count-1, s.n-r)
		if h <= 0 {
			continue
		}
		v := s.v[:h*count]
		clear(v)
		for q := range count {
			s.tau[q] = taus[q*steps+step]
			for i := q; i < min(q+s.b, h); i++ {
				v[i*count+q] = vectors[q*s.n+r+i]
			}
		}
		blockReflector(h, count, v, s.tau[:count], s.t, s.inner)
		reflect(h, count, v, s.t, s.m, z[r*s.m:], s.work)
	}
}

// solveShifted solves (T + shift*I)x = y for a tridiagonal T whose shifted
// matrix is positive definite. x may be y; pivots and multipliers hold n each.
func solveShifted(diagonal, below []float64, shift float64, y, x, pivots, multipliers []float64) {
	n := len(diagonal)
	pivots[0] = diagonal[0] + shift
	x[0] = y[0]
	for i := 1; i < n; i++ {
		l := below[i-1] / pivots[i-1]
		multipliers[i] = l
		pivots[i] = diagonal[i] + shift - l*below[i-1]
		x[i] = y[i] - l*x[i-1]
	}
	x[n-1] /= pivots[n-1]
	for i := n - 2; i >= 0; i-- {
		x[i] = x[i]/pivots[i] - multipliers[i+1]*x[i+1]
	}
}
