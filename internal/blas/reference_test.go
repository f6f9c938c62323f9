package blas

import (
	"testing"

	"gonum.org/v1/gonum/blas/testblas"
	"gonum.org/v1/gonum/lapack/testlapack"
)

// Gonum's own conformance suites, which know nothing of this package.

func TestImplementationPassesGonumsSuite(t *testing.T) {
	for _, p := range exactPaths() {
		t.Run(p.String(), func(t *testing.T) {
			use(t, p)
			testblas.TestDgemm(t, Implementation{})
			testblas.DsyrkTest(t, Implementation{})
			testblas.DtrsmTest(t, Implementation{})
			testblas.DgemvTest(t, Implementation{})
			testblas.DtrsvTest(t, Implementation{})
			testlapack.DpotrfTest(t, Lapack{})
		})
	}
}

func use(t interface {
	Helper()
	Fatal(...any)
	Cleanup(func())
}, p Path) {
	t.Helper()
	before := Active()
	if err := Select(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Select(before); err != nil {
			t.Fatal(err)
		}
	})
}
