package blas

import (
	gblas "gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/blas/gonum"
	lapack "gonum.org/v1/gonum/lapack/gonum"
	"gonum.org/v1/gonum/lapack/lapack64"
)

// register makes gonum use the routines of this package.
func register() {
	blas64.Use(Implementation{})
	blas32.Use(Implementation{})
	lapack64.Use(Lapack{})
}

// Implementation is gonum's BLAS with the routines of this package in place of
// its own. It is registered when the package is imported.
type Implementation struct{ gonum.Implementation }

// Dgemm is [Gemm] in float64.
func (Implementation) Dgemm(tA, tB gblas.Transpose, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	Gemm(isTrans(tA), isTrans(tB), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// Sgemm is [Gemm] in float32.
func (Implementation) Sgemm(tA, tB gblas.Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	Gemm(isTrans(tA), isTrans(tB), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// Dsyrk is [Syrk] in float64.
func (Implementation) Dsyrk(uplo gblas.Uplo, t gblas.Transpose, n, k int, alpha float64, a []float64, lda int, beta float64, c []float64, ldc int) {
	Syrk(uplo, isTrans(t), n, k, alpha, a, lda, beta, c, ldc)
}

// Ssyrk is [Syrk] in float32.
func (Implementation) Ssyrk(uplo gblas.Uplo, t gblas.Transpose, n, k int, alpha float32, a []float32, lda int, beta float32, c []float32, ldc int) {
	Syrk(uplo, isTrans(t), n, k, alpha, a, lda, beta, c, ldc)
}

// Dtrsm is [Trsm] in float64.
func (Implementation) Dtrsm(s gblas.Side, uplo gblas.Uplo, t gblas.Transpose, d gblas.Diag, m, n int, alpha float64, a []float64, lda int, b []float64, ldb int) {
	Trsm(s, uplo, isTrans(t), d, m, n, alpha, a, lda, b, ldb)
}

// Strsm is [Trsm] in float32.
func (Implementation) Strsm(s gblas.Side, uplo gblas.Uplo, t gblas.Transpose, d gblas.Diag, m, n int, alpha float32, a []float32, lda int, b []float32, ldb int) {
	Trsm(s, uplo, isTrans(t), d, m, n, alpha, a, lda, b, ldb)
}

// Lapack is gonum's LAPACK with the Cholesky routines of this package in place
// of its own. It is registered when the package is imported.
type Lapack struct{ lapack.Implementation }

// Dpotrf overwrites a triangle of the positive definite matrix a with its
// Cholesky factor and reports whether there is one.
func (impl Lapack) Dpotrf(uplo gblas.Uplo, n int, a []float64, lda int) (ok bool) {
	p := Active()
	if p == Gonum {
		return impl.Implementation.Dpotrf(uplo, n, a, lda)
	}
	checkUplo("Dpotrf", uplo)
	checkSize("Dpotrf", "n", n)
	checkMatrix("Dpotrf", "a", n, n, lda, len(a))
	return cholesky(p, uplo, 0, n, a, lda) == nil
}

func isTrans(t gblas.Transpose) bool {
	switch t {
	case gblas.NoTrans:
		return false
	case gblas.Trans, gblas.ConjTrans:
		return true
	}
	panic("blas: transpose flag is none of NoTrans, Trans and ConjTrans")
}

// Dgemv is [Gemv] in float64 where both increments are 1.
func (impl Implementation) Dgemv(t gblas.Transpose, m, n int, alpha float64, a []float64, lda int, x []float64, incX int, beta float64, y []float64, incY int) {
	if incX != 1 || incY != 1 || m == 0 || n == 0 {
		impl.Implementation.Dgemv(t, m, n, alpha, a, lda, x, incX, beta, y, incY)
		return
	}
	Gemv(isTrans(t), m, n, alpha, a, lda, x, beta, y)
}

// Sgemv is [Gemv] in float32 where both increments are 1.
func (impl Implementation) Sgemv(t gblas.Transpose, m, n int, alpha float32, a []float32, lda int, x []float32, incX int, beta float32, y []float32, incY int) {
	if incX != 1 || incY != 1 || m == 0 || n == 0 {
		impl.Implementation.Sgemv(t, m, n, alpha, a, lda, x, incX, beta, y, incY)
		return
	}
	Gemv(isTrans(t), m, n, alpha, a, lda, x, beta, y)
}

// Dtrsv is [Trsv] in float64 where the increment is 1.
func (impl Implementation) Dtrsv(uplo gblas.Uplo, t gblas.Transpose, d gblas.Diag, n int, a []float64, lda int, x []float64, incX int) {
	if incX != 1 {
		impl.Implementation.Dtrsv(uplo, t, d, n, a, lda, x, incX)
		return
	}
	Trsv(uplo, isTrans(t), d, n, a, lda, x)
}

// Strsv is [Trsv] in float32 where the increment is 1.
func (impl Implementation) Strsv(uplo gblas.Uplo, t gblas.Transpose, d gblas.Diag, n int, a []float32, lda int, x []float32, incX int) {
	if incX != 1 {
		impl.Implementation.Strsv(uplo, t, d, n, a, lda, x, incX)
		return
	}
	Trsv(uplo, isTrans(t), d, n, a, lda, x)
}
