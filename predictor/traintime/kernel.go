package traintime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/blas"
	"quicktune/internal/stream"
	"quicktune/predictor/traintime/symeig"
)

// A Kernel is the empirical neural tangent kernel J Jᵀ of a network with C
// outputs on N samples. It is one of two kinds: full, an N*C x N*C matrix, or
// shared by the outputs, an N x N matrix K that stands for its Kronecker
// product with the identity of order C. The latter is exact for a network whose
// last layer alone is trained, and C times smaller and faster.
//
// A kernel does not change and may be used by several goroutines.
type Kernel struct {
	samples, outputs int
	shared           bool
	matrix           []float64
	relativeError    float64

	decompose       sync.Once
	values, vectors []float64
	failure         error
}

// NewKernel returns the full kernel of theta, the N*C x N*C matrix J Jᵀ with
// row i*C+c for output c of sample i. Theta must be finite and symmetric; its
// lower triangle is what is used.
func NewKernel(theta []float64, samples, outputs int) (*Kernel, error) {
	return newKernel(theta, samples, outputs, false)
}

// NewSharedKernel returns the kernel k ⊗ I, where k is N x N, finite and
// symmetric.
func NewSharedKernel(k []float64, samples, outputs int) (*Kernel, error) {
	return newKernel(k, samples, outputs, true)
}

func newKernel(m []float64, samples, outputs int, shared bool) (*Kernel, error) {
	if samples < 1 || outputs < 1 {
		return nil, fmt.Errorf("traintime: a kernel of %d samples and %d outputs: at least one of each is needed", samples, outputs)
	}
	k := &Kernel{samples: samples, outputs: outputs, shared: shared}
	n := k.rows()
	if len(m) != n*n {
		return nil, fmt.Errorf("traintime: the kernel of %d samples and %d outputs is %d x %d, not %d elements", samples, outputs, n, n, len(m))
	}
	largest := 0.0
	for i, x := range m {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("traintime: kernel element (%d, %d) is %v: are the network's outputs finite?", i/n, i%n, x)
		}
		largest = max(largest, math.Abs(x))
	}
	k.matrix = make([]float64, n*n)
	for i := range n {
		if m[i*n+i] < 0 {
			return nil, fmt.Errorf("traintime: kernel element (%d, %d) is %.3g: a squared length is not negative", i, i, m[i*n+i])
		}
		for j := range i + 1 {
			low, high := m[i*n+j], m[j*n+i]
			if math.Abs(low-high) > 1e-8*largest {
				return nil, fmt.Errorf("traintime: the kernel is not symmetric: element (%d, %d) is %v, its mirror image %v", i, j, low, high)
			}
			if bound := math.Sqrt(m[i*n+i]) * math.Sqrt(m[j*n+j]); math.Abs(low) > bound+1e-6*largest {
				return nil, fmt.Errorf("traintime: kernel element (%d, %d) is %.3g, larger than its diagonal allows: no J Jᵀ has it", i, j, low)
			}
			k.matrix[i*n+j], k.matrix[j*n+i] = low, low
		}
	}
	return k, nil
}

// rows is the order of the stored matrix, columns how many vectors of that
// length make up the outputs.
func (k *Kernel) rows() int {
	if k.shared {
		return k.samples
	}
	return k.samples * k.outputs
}

func (k *Kernel) columns() int {
	if k.shared {
		return k.outputs
	}
	return 1
}

// Samples returns N.
func (k *Kernel) Samples() int { return k.samples }

// Outputs returns C.
func (k *Kernel) Outputs() int { return k.outputs }

// Shared reports whether the kernel is a Kronecker product with the identity.
func (k *Kernel) Shared() bool { return k.shared }

// RelativeError is the estimated error |estimate - kernel| / |kernel| in the
// Frobenius norm of a kernel made by random projections, 0 for others.
func (k *Kernel) RelativeError() float64 { return k.relativeError }

// Dense returns the kernel as a new N*C x N*C matrix.
func (k *Kernel) Dense() []float64 {
	if !k.shared {
		return append([]float64(nil), k.matrix...)
	}
	n, c := k.samples, k.outputs
	dense := make([]float64, n*c*n*c)
	for i := range n {
		for j := range n {
			for o := range c {
				dense[(i*c+o)*n*c+j*c+o] = k.matrix[i*n+j]
			}
		}
	}
	return dense
}

// Apply writes the product of the kernel with x, N*C numbers, to dst.
func (k *Kernel) Apply(dst, x []float64) {
	n, c := k.rows(), k.columns()
	blas.Gemm(false, false, n, c, n, 1, k.matrix, n, x, c, 0, dst, c)
}

// Eigen returns the eigenvalues of the stored matrix in ascending order, none
// negative, and the eigenvectors as rows. For a shared kernel that is the N x N
// matrix: each value belongs to C eigenvectors of the whole. The first call
// computes them, O(rows³); the slices must not be changed. A matrix with an
// eigenvalue below zero by more than rounding is an error.
func (k *Kernel) Eigen() (values, vectors []float64, err error) {
	k.decompose.Do(func() {
		n := k.rows()
		values, vectors, err := symeig.Decompose(k.matrix, n)
		if err != nil {
			k.failure = fmt.Errorf("traintime: kernel: %w", err)
			return
		}
		if least := values[0]; least < -1e-7*values[n-1] || values[n-1] < 0 {
			k.failure = fmt.Errorf("traintime: the kernel has the eigenvalue %.3g beside the largest %.3g, which no J Jᵀ has: check how it was made", least, values[n-1])
			return
		}
		for i := range values {
			values[i] = max(0, values[i])
		}
		k.values, k.vectors = values, vectors
	})
	return k.values, k.vectors, k.failure
}

// Largest returns the largest eigenvalue to about 1e-6 relative without
// decomposing the kernel: by the method of Lanczos, "An iteration method for
// the solution of the eigenvalue problem of linear differential and integral
// operators", J. Res. Natl. Bur. Stand. 45, 1950, with all vectors kept
// orthogonal.
func (k *Kernel) Largest() float64 {
	n := k.rows()
	const most = 60
	m := min(n, most)
	basis, projected := make([]float64, m*n), make([]float64, m*m)
	rng := stream.New("traintime/largest", 0)
	x := basis[:n]
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	w, overlap := make([]float64, n), make([]float64, m)
	length, size := norm(x), 0
	for scale := k.trace(); size < m && (size == 0 || length > 1e-14*scale); size++ {
		x = basis[size*n : (size+1)*n]
		for i := range x {
			x[i] /= length
		}
		blas.Gemv(false, n, n, 1, k.matrix, n, x, 0, w)
		used := size + 1
		for range 2 { // once is not enough in floating point
			blas.Gemv(false, used, n, 1, basis, n, w, 0, overlap)
			blas.Gemv(true, used, n, -1, basis, n, overlap[:used], 1, w)
			projected[size*m+size] += overlap[size]
		}
		length = norm(w)
		if used < m {
			projected[used*m+size] = length
			copy(basis[used*n:], w)
		}
	}
	small := make([]float64, size*size)
	for i := range size {
		copy(small[i*size:(i+1)*size], projected[i*m:i*m+size])
	}
	values, _, err := symeig.Decompose(small, size)
	if err != nil {
		// Squares overflow only where the kernel is beyond all use.
		return math.Inf(1)
	}
	return max(0, values[size-1])
}

func (k *Kernel) trace() float64 {
	n, sum := k.rows(), 0.0
	for i := range n {
		sum += k.matrix[i*n+i]
	}
	return sum
}

// Subset returns the kernel of some of the samples, numbers in [0, N).
func (k *Kernel) Subset(samples []int) (*Kernel, error) {
	per := k.rows() / k.samples
	n, m := k.rows(), len(samples)*per
	matrix := make([]float64, m*m)
	for a, i := range samples {
		if i < 0 || i >= k.samples {
			return nil, fmt.Errorf("traintime: sample %d of a kernel of %d", i, k.samples)
		}
		for b, j := range samples[:a+1] {
			for p := range per {
				for q := range per {
					x := k.matrix[(i*per+p)*n+j*per+q]
					matrix[(a*per+p)*m+b*per+q], matrix[(b*per+q)*m+a*per+p] = x, x
				}
			}
		}
	}
	return newKernel(matrix, len(samples), k.outputs, k.shared)
}

// LastLayer returns the kernel of a network of which only the last, linear
// layer is trained. Features is N x D, the input of that layer; with bias it
// has a bias. The kernel F Fᵀ (+ 1) is shared by the outputs and exact.
func LastLayer(features []float64, samples, width, outputs int, bias bool) (*Kernel, error) {
	if samples < 1 || width < 1 || len(features) != samples*width {
		return nil, fmt.Errorf("traintime: %d features are no %d samples of %d", len(features), samples, width)
	}
	k := make([]float64, samples*samples)
	if bias {
		for i := range k {
			k[i] = 1
		}
	}
	gram(k, features, samples, width, 1)
	return newKernel(k, samples, outputs, true)
}

// gram adds scale * x xᵀ to the symmetric matrix k; x is n x width.
func gram(k, x []float64, n, width int, scale float64) {
	blas.Syrk(gblas.Lower, false, n, width, scale, x, width, 1, k, n)
	for i := range n {
		for j := range i {
			k[j*n+i] = k[i*n+j]
		}
	}
}

// A Jacobian gives the derivatives of a network's outputs by its weights, at
// the initial weights, on a fixed sample. Which weights count (the last layer,
// the last block, all) is the provider's choice.
type Jacobian interface {
	// Shape returns the numbers of samples N, outputs C and weights P.
	Shape() (samples, outputs, weights int)
	// Rows writes the Jacobian of samples lo to hi-1 to dst, (hi-lo)*C x P.
	Rows(dst []float64, lo, hi int) error
}

// A Network is what the published algorithm needs of a network at its initial
// weights, on a fixed sample: its outputs and directional derivatives, which
// forward-mode differentiation gives without a backward pass.
type Network interface {
	// Shape returns the numbers of samples N, outputs C and weights P.
	Shape() (samples, outputs, weights int)
	// Outputs writes the outputs f0, N x C, to dst.
	Outputs(dst []float64) error
	// Multiply writes J times the direction, P weights, to dst, N x C.
	Multiply(dst, direction []float64) error
}

// Form says how much of a kernel is kept.
type Form int

const (
	// Full keeps the N*C x N*C matrix.
	Full Form = iota
	// ClassMean keeps the N x N mean of the kernels of the single outputs and
	// leaves out what couples outputs: exact for a last layer and for networks
	// of infinite width, an approximation for others.
	ClassMean
)

// FromRows returns the kernel of a Jacobian, which is read in batches of
// samples: two batches at a time take at most the given number of bytes (but
// always hold a sample each). With ceil(N/b) batches of b samples, a batch is
// read up to that many times.
func FromRows(ctx context.Context, j Jacobian, form Form, bytes int) (*Kernel, error) {
	n, c, p, err := shape(j)
	if err != nil {
		return nil, err
	}
	batch := min(n, max(1, bytes/2/8/(c*p)))
	per := c // rows of the kernel a sample
	width, scale := p, 1.0
	if form == ClassMean {
		// The mean over outputs of products of rows is one product of all rows
		// of a sample laid end to end.
		per, width, scale = 1, c*p, 1/float64(c)
	}
	order := n * per
	k := make([]float64, order*order)
	left, right := make([]float64, batch*c*p), make([]float64, batch*c*p)
	for lo := 0; lo < n; lo += batch {
		hi := min(lo+batch, n)
		if err := j.Rows(left[:(hi-lo)*c*p], lo, hi); err != nil {
			return nil, fmt.Errorf("traintime: Jacobian of samples %d to %d: %w", lo, hi-1, err)
		}
		for from := 0; from <= lo; from += batch {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			to := min(from+batch, n)
			other := left
			if from != lo {
				other = right
				if err := j.Rows(right[:(to-from)*c*p], from, to); err != nil {
					return nil, fmt.Errorf("traintime: Jacobian of samples %d to %d: %w", from, to-1, err)
				}
			}
			blas.Gemm(false, true, (hi-lo)*per, (to-from)*per, width, scale, left, width, other, width, 0, k[lo*per*order+from*per:], order)
		}
	}
	for i := range order {
		for j := range i {
			k[j*order+i] = k[i*order+j]
		}
	}
	return newKernel(k, n, c, form == ClassMean)
}

// Project returns the kernel of a Jacobian's rows estimated from their
// products with random directions: with P the weights x directions matrix of
// independent standard normal numbers, J P Pᵀ Jᵀ / directions, whose mean is
// J Jᵀ. Rows are read once, in batches of samples of at most the given number
// of bytes. The error of the estimate is in [Kernel.RelativeError].
//
// The directions are those of [ProjectForward] for the same seed.
func Project(ctx context.Context, j Jacobian, form Form, directions int, seed uint64, bytes int) (*Kernel, error) {
	n, c, p, err := shape(j)
	if err != nil {
		return nil, err
	}
	if directions < 2 {
		return nil, errDirections(directions)
	}
	batch := min(n, max(1, bytes/8/(c*p)))
	rows := make([]float64, batch*c*p)
	products := make([]float64, n*c*directions) // row i*C+c
	const chunk = 1024
	part := make([]float64, directions*min(chunk, p))
	for lo := 0; lo < n; lo += batch {
		hi := min(lo+batch, n)
		if err := j.Rows(rows[:(hi-lo)*c*p], lo, hi); err != nil {
			return nil, fmt.Errorf("traintime: Jacobian of samples %d to %d: %w", lo, hi-1, err)
		}
		sources := make([]*rand.Rand, directions)
		for d := range sources {
			sources[d] = direction(seed, d)
		}
		for from := 0; from < p; from += chunk {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			width := min(chunk, p-from)
			for d, source := range sources {
				for w := range width {
					part[d*width+w] = source.NormFloat64()
				}
			}
			blas.Gemm(false, true, (hi-lo)*c, directions, width, 1, rows[from:], p, part, width, 1, products[lo*c*directions:], directions)
		}
	}
	return fromProducts(products, n, c, directions, form)
}

// ProjectForward is [Project] by directional derivatives of the network: one
// for each direction, and no rows.
func ProjectForward(ctx context.Context, net Network, form Form, directions int, seed uint64) (*Kernel, error) {
	n, c, p, err := shape(net)
	if err != nil {
		return nil, err
	}
	if directions < 2 {
		return nil, errDirections(directions)
	}
	products, column, vector := make([]float64, n*c*directions), make([]float64, n*c), make([]float64, p)
	for d := range directions {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		source := direction(seed, d)
		for i := range vector {
			vector[i] = source.NormFloat64()
		}
		if err := net.Multiply(column, vector); err != nil {
			return nil, fmt.Errorf("traintime: derivative along direction %d: %w", d, err)
		}
		for i, x := range column {
			products[i*directions+d] = x
		}
	}
	return fromProducts(products, n, c, directions, form)
}

// direction is the generator of random direction d.
func direction(seed uint64, d int) *rand.Rand {
	return stream.New("traintime/projection", seed, uint64(d))
}

func errDirections(d int) error {
	return fmt.Errorf("traintime: %d random directions: at least 2 are needed to know the error", d)
}

func shape(s interface{ Shape() (int, int, int) }) (samples, outputs, weights int, err error) {
	n, c, p := s.Shape()
	if n < 1 || c < 1 || p < 1 {
		return 0, 0, 0, fmt.Errorf("traintime: a network with %d samples, %d outputs and %d weights: at least one of each is needed", n, c, p)
	}
	return n, c, p, nil
}

// fromProducts returns the kernel of projected rows, N*C x directions, with
// its error. The estimate is the mean of one matrix for each direction; the
// scatter of those matrices gives the variance of the mean, without bias.
func fromProducts(products []float64, n, c, directions int, form Form) (*Kernel, error) {
	per, width, scale := c, directions, 1/float64(directions)
	if form == ClassMean {
		per, width, scale = 1, c*directions, 1/float64(directions*c)
	}
	order := n * per
	k := make([]float64, order*order)
	gram(k, products, order, width, scale)
	kernel, err := newKernel(k, n, c, form == ClassMean)
	if err != nil {
		return nil, err
	}
	single := 0.0 // sum of the squared norms of the directions' matrices
	inner := make([]float64, c*c)
	for d := range directions {
		if form == Full {
			square := 0.0
			for i := range n * c {
				x := products[i*directions+d]
				square += x * x
			}
			single += square * square
			continue
		}
		clear(inner)
		for i := range n {
			for a := range c {
				x := products[(i*c+a)*directions+d]
				for b := range c {
					inner[a*c+b] += x * products[(i*c+b)*directions+d]
				}
			}
		}
		single += dot(inner, inner) / float64(c*c)
	}
	square, count := dot(k, k), float64(directions)
	variance := (single - count*square) / (count * (count - 1))
	if truth := square - variance; truth > 0 {
		kernel.relativeError = math.Sqrt(max(0, variance) / truth)
	} else {
		kernel.relativeError = math.Inf(1)
	}
	return kernel, nil
}

// ProjectionError returns the relative error, in the Frobenius norm, that
// projecting the rows of a full kernel on random directions is expected to
// make: sqrt((|Theta|² + tr(Theta)²) / directions) / |Theta|.
func ProjectionError(k *Kernel, directions int) (float64, error) {
	if k.shared {
		return 0, errors.New("traintime: the projection error has a formula for full kernels only")
	}
	trace := k.trace()
	square := dot(k.matrix, k.matrix)
	if directions < 1 || square == 0 {
		return 0, fmt.Errorf("traintime: no projection error of %d directions and a kernel of norm %g", directions, math.Sqrt(square))
	}
	return math.Sqrt((square + trace*trace) / float64(directions) / square), nil
}

// Matrix is a network given by its Jacobian and outputs as plain matrices: a
// linear model, or a small network whose Jacobian has been stored. It is both
// a [Jacobian] and a [Network].
type Matrix struct {
	N, C, P int
	J       []float64 // N*C x P
	F0      []float64 // N x C
}

// Shape returns the numbers of samples, outputs and weights.
func (m *Matrix) Shape() (samples, outputs, weights int) { return m.N, m.C, m.P }

// Rows copies rows of J.
func (m *Matrix) Rows(dst []float64, lo, hi int) error {
	if len(m.J) != m.N*m.C*m.P {
		return m.error("Jacobian", len(m.J), m.N*m.C*m.P)
	}
	copy(dst, m.J[lo*m.C*m.P:hi*m.C*m.P])
	return nil
}

// Outputs copies F0.
func (m *Matrix) Outputs(dst []float64) error {
	if len(m.F0) != m.N*m.C {
		return m.error("output", len(m.F0), m.N*m.C)
	}
	copy(dst, m.F0)
	return nil
}

// Multiply computes J times the direction.
func (m *Matrix) Multiply(dst, direction []float64) error {
	if len(m.J) != m.N*m.C*m.P {
		return m.error("Jacobian", len(m.J), m.N*m.C*m.P)
	}
	blas.Gemv(false, m.N*m.C, m.P, 1, m.J, m.P, direction, 0, dst)
	return nil
}

func (m *Matrix) error(what string, have, want int) error {
	return fmt.Errorf("%d numbers of the %s, want %d for %d samples, %d outputs and %d weights", have, what, want, m.N, m.C, m.P)
}

func dot(x, y []float64) float64 {
	sum := 0.0
	for i, a := range x {
		sum += a * y[i]
	}
	return sum
}

func norm(x []float64) float64 { return math.Sqrt(dot(x, x)) }
