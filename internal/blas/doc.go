// Package blas holds the dense linear algebra under the predictor: matrix
// products, triangular solves, Cholesky factors and what a Gaussian process
// needs from them, on row-major slices.
//
// # Paths
//
// Every routine exists on three paths: AVX-512 and AVX2 kernels in Go assembly
// (amd64) and a portable one on math.FMA (any machine). The three give
// bit-identical results for every input without NaN: each element of a result
// is one fixed chain of fused multiply-adds, whose order depends on the shape
// of the problem alone and never on the width of a vector. (Where a result is
// NaN it is NaN on all three; its payload is not part of the promise.) The
// fourth path, gonum, hands the work to gonum.org/v1/gonum and rounds
// differently; it is the independent reference of the tests.
//
// The fastest path the CPU supports is chosen when the program starts. The
// environment variable QUICKTUNE_BLAS=avx512|avx2|portable|gonum overrides the
// choice; where the CPU lacks what was asked for, or the name is unknown, the
// best path is used and a warning is logged. [Select] changes the path from
// within a program, for tests and benchmarks.
//
// # Gonum
//
// Importing the package registers it with blas64, blas32 and lapack64, so that
// gonum/mat becomes as fast as the functions here and rounds the same. Routines
// not implemented here keep gonum's own code.
//
// # Promises and limits
//
// Every call runs on the caller's goroutine and is deterministic. Parallelise
// over data sets, seeds and configurations, not inside a product. Functions may
// be called from several goroutines at once as long as their outputs do not
// overlap.
//
// Matrices are row-major: element (i, j) of a lies at a[i*lda+j], lda is at
// least the number of columns, and what lies between the columns and lda is
// never read or written. A slice too short for its shape is a programming
// error and panics before anything is written. The package does no pivoting,
// adds no jitter and has no general inverse: a matrix that is not positive
// definite is reported as a [NotPositiveDefiniteError] and what to do about it
// is the caller's decision.
package blas
