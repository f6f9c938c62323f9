package traintime

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"quicktune/internal/blas"
)

// product is J Jᵀ by definition.
func product(m *Matrix) []float64 {
	rows := m.N * m.C
	theta := make([]float64, rows*rows)
	for i := range rows {
		for j := range rows {
			theta[i*rows+j] = dot(m.J[i*m.P:(i+1)*m.P], m.J[j*m.P:(j+1)*m.P])
		}
	}
	return theta
}

func TestBatchesOfRowsGiveTheWholeKernel(t *testing.T) {
	m := &newLinear(11, 3, 17, 1).Matrix
	want := product(m)
	mean := make([]float64, 11*11)
	for i := range 11 {
		for j := range 11 {
			for c := range 3 {
				mean[i*11+j] += want[(i*3+c)*33+j*3+c] / 3
			}
		}
	}
	sample := 8 * 3 * 17 // bytes of the rows of one sample
	for _, bytes := range []int{0, 2 * sample, 5 * sample, 8 * sample, 1 << 20} {
		full, err := FromRows(t.Context(), m, Full, bytes)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "full kernel", full.Dense(), want, 1e-12)
		shared, err := FromRows(t.Context(), m, ClassMean, bytes)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "class mean", shared.matrix, mean, 1e-12)
	}
}

func TestTheLastLayersKernelIsThatOfItsJacobian(t *testing.T) {
	const n, d, c = 6, 4, 3
	features := newLinear(n, 1, d, 2).J
	for _, bias := range []bool{false, true} {
		width := d
		if bias {
			width++
		}
		// Output o of sample i depends on row o of the weights by the features.
		m := &Matrix{N: n, C: c, P: c * width, J: make([]float64, n*c*c*width)}
		for i := range n {
			for o := range c {
				row := m.J[(i*c+o)*m.P+o*width:]
				copy(row, features[i*d:(i+1)*d])
				if bias {
					row[d] = 1
				}
			}
		}
		kernel, err := LastLayer(features, n, d, c, bias)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "kernel", kernel.Dense(), product(m), 1e-12)
		x := newLinear(n, c, 1, 3).F0
		got, want := make([]float64, n*c), make([]float64, n*c)
		kernel.Apply(got, x)
		blas.Gemv(false, n*c, n*c, 1, product(m), n*c, x, 0, want)
		near(t, "product", got, want, 1e-12)
	}
}

func TestTheErrorOfProjectionsIsWhatTheFormulaSays(t *testing.T) {
	m := &newLinear(20, 3, 300, 4).Matrix
	full, err := FromRows(t.Context(), m, Full, 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	mean, err := FromRows(t.Context(), m, ClassMean, 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	distance := func(a, b *Kernel) float64 {
		difference := make([]float64, len(a.matrix))
		for i, x := range a.matrix {
			difference[i] = x - b.matrix[i]
		}
		return norm(difference) / norm(b.matrix)
	}
	last := math.Inf(1)
	for _, directions := range []int{100, 500, 1000, 4000} {
		formula, err := ProjectionError(full, directions)
		if err != nil {
			t.Fatal(err)
		}
		for form, exact := range []*Kernel{full, mean} {
			k, err := Project(t.Context(), m, Form(form), directions, 7, 1)
			if err != nil {
				t.Fatal(err)
			}
			actual := distance(k, exact)
			t.Logf("%d directions, form %d: error %.4f, formula %.4f, estimate %.4f", directions, form, actual, formula, k.RelativeError())
			if form == 0 && (actual > 2*formula || actual < formula/2) {
				t.Errorf("%d directions: error %v, formula %v", directions, actual, formula)
			}
			if e := k.RelativeError(); actual > 2*e || actual < e/2 {
				t.Errorf("%d directions, form %d: error %v, estimate %v", directions, form, actual, e)
			}
			if form == 0 && actual > last {
				t.Errorf("%d directions are worse than fewer", directions)
			}
			if form == 0 {
				last = actual
			}
		}
	}
}

func TestProjectionsForwardAndByRowsAreTheSame(t *testing.T) {
	m := &newLinear(5, 2, 1500, 5).Matrix // more weights than a chunk
	for _, form := range []Form{Full, ClassMean} {
		forward, err := ProjectForward(t.Context(), m, form, 20, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, bytes := range []int{1, 1 << 24} {
			rows, err := Project(t.Context(), m, form, 20, 3, bytes)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "kernel", rows.matrix, forward.matrix, 1e-10)
			near(t, "error", []float64{rows.RelativeError()}, []float64{forward.RelativeError()}, 1e-10)
		}
		other, err := ProjectForward(t.Context(), m, form, 20, 4)
		if err != nil {
			t.Fatal(err)
		}
		if other.matrix[0] == forward.matrix[0] {
			t.Error("another seed gives the same directions")
		}
	}
}

func TestASubsetOfAProblemIsTheProblemOfTheSubset(t *testing.T) {
	m := newLinear(9, 2, 12, 6)
	p := m.problem(t, MSE)
	pick := []int{7, 2, 4}
	part, err := p.Subset(pick)
	if err != nil {
		t.Fatal(err)
	}
	small := &linear{Matrix: Matrix{N: 3, C: 2, P: 12}, w0: m.w0}
	for _, i := range pick {
		small.J = append(small.J, m.J[i*24:(i+1)*24]...)
		small.F0 = append(small.F0, m.F0[i*2:(i+1)*2]...)
		small.targets = append(small.targets, m.targets[i*2:(i+1)*2]...)
	}
	want := small.problem(t, MSE)
	near(t, "kernel", part.Kernel.Dense(), want.Kernel.Dense(), 1e-12)
	near(t, "outputs", part.Outputs, want.Outputs, 0)
	near(t, "targets", part.Targets, want.Targets, 0)
	near(t, "initial", part.Initial, want.Initial, 1e-12)
	if part.Size != 9 {
		t.Errorf("the subset stands for %d samples, want 9", part.Size)
	}
}

// broken is a network that fails or lies about its shape.
type broken struct {
	Matrix
	err error
}

func (b *broken) Rows([]float64, int, int) error      { return b.err }
func (b *broken) Multiply([]float64, []float64) error { return b.err }
func (b *broken) Outputs([]float64) error             { return b.err }

func TestKernelsThatAreNoneAreRefused(t *testing.T) {
	nan, fails := math.NaN(), &broken{Matrix{N: 2, C: 1, P: 3}, errors.New("out of order")}
	good := &newLinear(2, 1, 3, 1).Matrix
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	cases := map[string]struct {
		make func() (*Kernel, error)
		want string
	}{
		"no samples":          {func() (*Kernel, error) { return NewKernel(nil, 0, 2) }, "at least one of each"},
		"no outputs":          {func() (*Kernel, error) { return NewSharedKernel(nil, 2, 0) }, "at least one of each"},
		"wrong length":        {func() (*Kernel, error) { return NewKernel([]float64{1}, 1, 2) }, "is 2 x 2, not 1 elements"},
		"NaN":                 {func() (*Kernel, error) { return NewKernel([]float64{1, nan, nan, 1}, 2, 1) }, "element (0, 1) is NaN"},
		"unsymmetric":         {func() (*Kernel, error) { return NewKernel([]float64{1, 0, 0.5, 1}, 2, 1) }, "not symmetric: element (1, 0) is 0.5"},
		"negative length":     {func() (*Kernel, error) { return NewKernel([]float64{1, 0, 0, -1}, 2, 1) }, "element (1, 1) is -1: a squared length"},
		"long product":        {func() (*Kernel, error) { return NewKernel([]float64{1, 2, 2, 1}, 2, 1) }, "element (1, 0) is 2, larger than its diagonal allows"},
		"features":            {func() (*Kernel, error) { return LastLayer([]float64{1, 2, 3}, 2, 2, 2, true) }, "3 features are no 2 samples of 2"},
		"no weights":          {func() (*Kernel, error) { return FromRows(t.Context(), &Matrix{N: 1, C: 1}, Full, 1) }, "0 weights"},
		"rows fail":           {func() (*Kernel, error) { return FromRows(t.Context(), fails, Full, 1) }, "samples 0 to 0: out of order"},
		"projected rows fail": {func() (*Kernel, error) { return Project(t.Context(), fails, Full, 2, 1, 1) }, "samples 0 to 0: out of order"},
		"derivatives fail":    {func() (*Kernel, error) { return ProjectForward(t.Context(), fails, Full, 2, 1) }, "direction 0: out of order"},
		"one direction":       {func() (*Kernel, error) { return ProjectForward(t.Context(), good, Full, 1, 1) }, "at least 2"},
		"one direction, rows": {func() (*Kernel, error) { return Project(t.Context(), good, Full, 1, 1, 1) }, "at least 2"},
		"short Jacobian":      {func() (*Kernel, error) { return FromRows(t.Context(), &Matrix{N: 1, C: 1, P: 1}, Full, 1) }, "0 numbers of the Jacobian, want 1"},
		"cancelled":           {func() (*Kernel, error) { return FromRows(cancelled, good, Full, 1) }, "context canceled"},
		"cancelled project":   {func() (*Kernel, error) { return Project(cancelled, good, Full, 2, 1, 1) }, "context canceled"},
		"cancelled forward":   {func() (*Kernel, error) { return ProjectForward(cancelled, good, Full, 2, 1) }, "context canceled"},
		"negative": {func() (*Kernel, error) {
			k, err := NewKernel([]float64{1, -0.9, -0.9, -0.9, 1, -0.9, -0.9, -0.9, 1}, 3, 1)
			if err == nil {
				_, _, err = k.Eigen()
			}
			return nil, err
		}, "eigenvalue -0.8 beside the largest 1.9"},
		"subset": {func() (*Kernel, error) {
			k, err := NewSharedKernel([]float64{1}, 1, 1)
			if err != nil {
				return nil, err
			}
			return k.Subset([]int{0, 1})
		}, "sample 1 of a kernel of 1"},
	}
	for name, c := range cases {
		_, err := c.make()
		oneLine(t, name, err, c.want)
	}
	if _, _, err := (Algorithm1{Steps: 1, Epsilon: 1, Projections: 2}).Predict(t.Context(), fails, []float64{1, 1}, MSE, Setting{LearningRate: 1}); err == nil {
		t.Error("a network whose outputs fail is predicted")
	}
}

// oneLine holds an error to what it must say, in one line.
func oneLine(t *testing.T, name string, err error, want string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: no error, want %q", name, want)
	case !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n"):
		t.Errorf("%s: error %q, want %q in one line", name, err, want)
	}
}

func TestTheLargestEigenvalueIsThatOfTheDecomposition(t *testing.T) {
	for seed, shape := range [][3]int{{1, 1, 1}, {3, 2, 4}, {40, 3, 10}, {60, 4, 2000}} {
		k := newLinear(shape[0], shape[1], shape[2], uint64(seed)).problem(t, MSE).Kernel
		values, _, err := k.Eigen()
		if err != nil {
			t.Fatal(err)
		}
		near(t, "largest", []float64{k.Largest() / values[len(values)-1]}, []float64{1}, 1e-6)
	}
	huge, err := NewSharedKernel([]float64{1e100, 0, 0, 3e100}, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "huge", []float64{huge.Largest() / 3e100}, []float64{1}, 1e-6)
	nothing, err := NewSharedKernel(make([]float64, 9), 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := nothing.Largest(); got != 0 {
		t.Errorf("%v of a kernel of zeros", got)
	}
}
