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
		blas.Gemm(false, false, g.n, k, g.d, 1, g.centred, g.d, vectors.data, vectors.cols, 0, scores, k)
		orient(scores, g.n, k, vectors)
		return scores, values, nil
	}
	for i := range g.n {
		for j, v := range values {
			scores[i*k+j] = vectors.data[i*vectors.cols+j] * math.Sqrt(v)
		}
	}
	loadings := columns{k, make([]float64, g.d*k)}
	blas.Gemm(true, false, g.d, k, g.n, 1, g.centred, g.d, scores, k, 0, loadings.data, k)
	orient(scores, g.n, k, loadings)
	return scores, values, nil
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
	for range powerRounds {
		symmetricTimes(m, 0, q, a, v, next)
		if err := orthonormalise(m, q, next); err != nil {
			return nil, columns{}, err
		}
		v, next = next, v
	}
	// The eigenvectors of the matrix within the subspace.
	symmetricTimes(m, 0, q, a, v, next)
	inner := make([]float64, q*q)
	blas.Gemm(true, false, q, q, m, 1, v, q, next, q, 0, inner, q)
	values, turn, err := symmetricEigen(q, inner, k)
	if err != nil {
		return nil, columns{}, err
	}
	blas.Gemm(false, false, m, k, q, 1, v, q, turn.data, turn.cols, 0, next, q)
	return values, columns{q, next}, nil
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
