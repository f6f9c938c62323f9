//go:build !amd64

package vec

import "quicktune/internal/blas"

// tables holds the kernels of the paths that have any: none here.
var tables [blas.AVX512 + 1]*table
