package selection

import (
	"math"

	"gonum.org/v1/gonum/mat"

	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/blas"
	"quicktune/internal/stream"
)

const (
	exactOrder  = 256 // of a Gram matrix that is decomposed as a whole
	oversample  = 8   // columns of the iterated subspace beyond those asked for
	powerRounds = 4
)

// principal returns the first k principal components of the rows, n x k, and
// their variances times n, in descending order. k is cut to the rank. The largest
// loading of a component is positive.
//
// Small Gram matrices are decomposed; of large ones the leading subspace is
// iterated from a random start (Halko, Martinsson and Tropp, "Finding structure
// with randomness", SIAM Review 53, 2011), the same for every model of a width.
func (g *gram) principal(k int) (scores, values []float64, err error) {
	k = min(k, g.order)
	values, vectors, err := g.leading(k)
	if err != nil {
		return nil, nil, err
	}
	cut := float64(max(g.n, g.d)) * 0x1p-52 * values[0]
	for k > 0 && !(values[k-1] > cut) {
		k--
	}
	values = values[:k]
	scores = make([]float64, g.n*k)
	if g.primal {
		g.blocks(func(first, count int, rows []float64) {
			blas.Gemm(false, false, count, k, g.d, 1, rows, g.d, vectors.data, vectors.cols, 0, scores[first*k:], k)
		})
		orient(scores, g.n, k, vectors)
		return scores, values, nil
	}
	for i := range g.n {
		for j, v := range values {
			scores[i*k+j] = vectors.data[i*vectors.cols+j] * math.Sqrt(v)
		}
	}
	loadings := columns{k, make([]float64, g.d*k)}
	blas.Gemm(true, false, g.d, k, g.n, 1, g.centred(), g.d, scores, k, 0, loadings.data, k)
	orient(scores, g.n, k, loadings)
	return scores, values, nil
}

// reduced returns the first k principal components of the rows, of which there
// are usual if k is 0, and their number: all columns as they are, centred, if k
// is negative or there are no more.
func (g *gram) reduced(k, usual int) (x []float64, columns int, err error) {
	if k == 0 {
		k = usual
	}
	if k < 0 || k >= g.d {
		return g.centred(), g.d, nil
	}
	scores, values, err := g.principal(k)
	return scores, len(values), err
}

// orient gives each component the sign that makes its largest loading positive,
// since the correlations of PARC depend on signs. It is scikit-learn's choice.
func orient(scores []float64, n, k int, loadings columns) {
	for j := range k {
		largest := 0.0
		for i := j; i < len(loadings.data); i += loadings.cols {
			if v := loadings.data[i]; math.Abs(v) > math.Abs(largest) {
				largest = v
			}
		}
		if largest < 0 {
			for i := range n {
				scores[i*k+j] = -scores[i*k+j]
			}
		}
	}
}

// columns is a row-major matrix whose columns are vectors.
type columns struct {
	cols int
	data []float64
}

// leading returns the k largest eigenvalues of the matrix and their vectors in
// the first k columns.
func (g *gram) leading(k int) ([]float64, columns, error) {
	m := g.order
	if m <= exactOrder || k+oversample >= m/2 {
		full := append([]float64(nil), g.matrix...)
		mirror(m, full)
		return symmetricEigen(m, full, k)
	}
	q := k + oversample
	a := g.copied()
	defer release(a)
	wholeBlocks(m, a)
	v, next := make([]float64, m*q), make([]float64, m*q)
	rng := stream.New("selection/principal", 0, uint64(m), uint64(q))
	for i := range v {
		v[i] = rng.NormFloat64()
	}
	// A shift keeps products with A independent where its rank is below q, and
	// VᵀAV positive definite.
	shift := float64(m) * 0x1p-52 * g.trace()
	for i := range m {
		a[i*m+i] += shift
	}
	for range powerRounds - 1 {
		symmetricTimes(m, 0, q, a, v, next)
		if err := orthonormalise(m, q, next); err != nil {
			return nil, columns{}, err
		}
		v, next = next, v
	}
	// The last product also gives the eigenvectors within the subspace that it
	// spans, those of the approximation AV(VᵀAV)⁻¹(AV)ᵀ of A, which is exact on
	// V: with the Cholesky factor L of VᵀAV it is BBᵀ for B = AVL⁻ᵀ.
	// (Tropp, Yurtsever, Udell and Cevher, "Fixed-rank approximation of a
	// positive-semidefinite matrix from streaming data", NIPS 2017).
	symmetricTimes(m, 0, q, a, v, next)
	inner := make([]float64, q*q)
	blas.Gemm(true, false, q, q, m, 1, v, q, next, q, 0, inner, q)
	if err := blas.Cholesky(inner, q, q); err != nil {
		return nil, columns{}, errNotPositive
	}
	blas.Trsm(gblas.Right, gblas.Lower, true, gblas.NonUnit, m, q, 1, inner, q, next, q)
	blas.Gemm(true, false, q, q, m, 1, next, q, next, q, 0, inner, q)
	values, turn, err := symmetricEigen(q, inner, k)
	if err != nil {
		return nil, columns{}, err
	}
	for j, value := range values {
		values[j] = max(value-shift, 0)
		if value == 0 {
			continue
		}
		for i := j; i < len(turn.data); i += turn.cols {
			turn.data[i] /= math.Sqrt(value)
		}
	}
	blas.Gemm(false, false, m, k, q, 1, next, q, turn.data, turn.cols, 0, v, q)
	return values, columns{q, v}, nil
}

// symmetricEigen returns the k largest eigenvalues of the n x n matrix a and
// their vectors.
func symmetricEigen(n int, a []float64, k int) ([]float64, columns, error) {
	var e mat.EigenSym
	if !e.Factorize(mat.NewSymDense(n, a), true) {
		return nil, columns{}, errNotConverged
	}
	ascending := e.Values(nil)
	var vectors mat.Dense
	e.VectorsTo(&vectors)
	values, out := make([]float64, k), columns{k, make([]float64, n*k)}
	for j := range k {
		values[j] = max(ascending[n-1-j], 0)
		for i := range n {
			out.data[i*k+j] = vectors.At(i, n-1-j)
		}
	}
	return values, out, nil
}

// orthonormalise replaces the columns of the m x q matrix by an orthonormal
// basis of their span, by three rounds of Cholesky factors, the first of them
// shifted: Fukaya et al., "Shifted Cholesky QR for computing the QR
// factorization of ill-conditioned matrices", SIAM Journal on Scientific
// Computing 42, 2020.
func orthonormalise(m, q int, x []float64) error {
	inner := make([]float64, q*q)
	for round := range 3 {
		blas.Syrk(gblas.Lower, true, q, m, 1, x, q, 0, inner, q)
		if round == 0 {
			trace := 0.0
			for i := range q {
				trace += inner[i*q+i]
			}
			for i := range q {
				inner[i*q+i] += 11 * float64(m+q) * 0x1p-53 * trace
			}
		}
		if err := blas.Cholesky(inner, q, q); err != nil {
			return errNotPositive
		}
		blas.Trsm(gblas.Right, gblas.Lower, true, gblas.NonUnit, m, q, 1, inner, q, x, q)
	}
	return nil
}
