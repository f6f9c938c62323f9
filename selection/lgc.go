package selection

import (
	"fmt"
	"math"

	"quicktune/internal/blas"
	"quicktune/internal/stream"
)

// ProjectedWeights is the number of dimensions to which the published LGC
// projects the gradients of the last convolution.
const ProjectedWeights = 10000

// Kernel selects how LGC reduces the gradients of several outputs to one
// number a pair of images; the paper leaves it open.
type Kernel uint8

// The kernels of LGC.
const (
	// TraceKernel adds the products of the gradients of each output.
	TraceKernel Kernel = iota
	// SummedKernel multiplies the gradients of the sum of the outputs.
	SummedKernel
)

// LGC is the label-gradient correlation of Deshpande et al., arXiv:2102.00084:
// LFC with the neural tangent kernel, of one layer, in place of the Gram matrix
// of the features. With the gradients of the last linear layer and the trace
// kernel it equals LFC.
type LGC struct{ Kernel Kernel }

// Name returns "lgc", or "lgc-summed".
func (s LGC) Name() string {
	if s.Kernel == SummedKernel {
		return "lgc-summed"
	}
	return "lgc"
}

// Needs returns NeedsGradients.
func (LGC) Needs() Needs { return NeedsGradients }

// Score returns the correlation, in [-1, 1].
func (s LGC) Score(p *Probe) (float64, error) {
	if err := check(s, p); err != nil {
		return 0, err
	}
	g, outputs, weights := p.data.Gradients, p.data.Outputs, p.data.Weights
	if s.Kernel == TraceKernel {
		trace, _ := p.gradients.get(func() (*gram, error) { return newGram(g, outputs*weights, p), nil })
		return alignment(s, Published, trace, p)
	}
	sum := make([]float64, p.n*weights)
	for i := range p.n {
		row := sum[i*weights : (i+1)*weights]
		for o := range outputs {
			for j, v := range g[(i*outputs+o)*weights : (i*outputs+o+1)*weights] {
				row[j] += v
			}
		}
	}
	return alignment(s, Published, newGram(sum, weights, p), p)
}

// RandomProjection multiplies the n x d matrix x by a d x target matrix of
// independent Gaussians with variance 1/target, drawn from seed, which keeps the
// products of rows in expectation: the squared error of the whole Gram matrix K
// is (|K|² + trace(K)²)/target in expectation. The models of a pool need not
// share a seed.
func RandomProjection(x []float64, n, d, target int, seed uint64) ([]float64, error) {
	if !shaped(len(x), []int{n, d}) {
		return nil, fmt.Errorf("selection: %d values do not make a matrix of shape %v", len(x), []int{n, d})
	}
	if target <= 0 {
		return nil, fmt.Errorf("selection: a projection to %d dimensions", target)
	}
	const rows = 64 // of the Gaussian matrix at a time
	out := make([]float64, n*target)
	block := make([]float64, min(rows, d)*target)
	scale := 1 / math.Sqrt(float64(target))
	for first := 0; first < d; first += rows {
		count := min(rows, d-first)
		rng := stream.New("selection/projection", seed, uint64(first))
		for i := range block[:count*target] {
			block[i] = scale * rng.NormFloat64()
		}
		blas.Gemm(false, false, n, target, count, 1, x[first:], d, block, target, 1, out, target)
	}
	return out, nil
}
