package selection

import (
	"math"

	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/blas"
)

// SFDA is the mean probability of the right class under a regularised Fisher
// discriminant, fitted a second time to features that were moved towards the
// means of other classes the less certain the first fit was of them: Shao et
// al., "Not All Models Are Equal: Predicting Model Transferability in a
// Self-challenging Fisher Space", ECCV 2022. It lies in (0, 1] and saturates at 1
// with fewer images than features.
//
// The discriminant uses all directions, so that the generalised eigenvectors W
// of the published form only appear as WWᵀ, the inverse of the within-class
// covariance: a Cholesky factor replaces the eigenvalue problem.
type SFDA struct{}

// Name returns "sfda".
func (SFDA) Name() string { return "sfda" }

// Needs returns nothing.
func (SFDA) Needs() Needs { return 0 }

// Score returns the mean probability.
func (s SFDA) Score(p *Probe) (float64, error) {
	g := p.moments()
	scatter := g.covariance()
	defer release(scatter)
	first, err := s.fit(p, g.centred(), g.d, scatter, -1)
	if err != nil {
		return 0, err
	}
	n, d := p.n, g.d
	// The second softmax and the mixture of each image with the others' mean.
	mixed := make([]float64, n*d)
	sum := make([]float64, d)
	for c := range p.classes {
		for j, v := range first.means[c*d : (c+1)*d] {
			sum[j] += v
		}
	}
	for i, c := range p.labels {
		probability := first.probabilities[i*p.classes : (i+1)*p.classes]
		total := 0.0
		for _, q := range probability {
			total += math.Exp(q)
		}
		certain := math.Exp(probability[c]) / total
		other := (1 - certain) / float64(p.classes-1)
		own, out := first.means[c*d:(c+1)*d], mixed[i*d:(i+1)*d]
		for j, v := range g.centred()[i*d : (i+1)*d] {
			out[j] = certain*v + other*(sum[j]-own[j])
		}
	}
	mean := columnMeans(mixed, n, d)
	for i := range n {
		row := mixed[i*d : (i+1)*d]
		for j := range row {
			row[j] -= mean[j]
		}
	}
	blas.Syrk(gblas.Lower, true, d, n, 1, mixed, d, 0, scatter, d)
	second, err := s.fit(p, mixed, d, scatter, first.shrinkage)
	if err != nil {
		return 0, err
	}
	right := 0.0
	for i, c := range p.labels {
		right += second.probabilities[i*p.classes+c]
	}
	return finite(s, right/float64(n))
}

// fisher is a fitted discriminant.
type fisher struct {
	shrinkage     float64
	means         []float64 // classes x d
	probabilities []float64 // n x classes
}

// fit fits the discriminant to centred rows, given the lower triangle of their
// scatter, which it overwrites. A negative shrinkage is chosen from the largest
// eigenvalue of the within-class covariance.
func (s SFDA) fit(p *Probe, x []float64, d int, scatter []float64, shrinkage float64) (*fisher, error) {
	n, classes := p.n, p.classes
	f := &fisher{shrinkage: shrinkage}
	f.means, _ = classMoments(x, d, p)
	between := make([]float64, classes*d)
	for c, size := range p.counts {
		root := math.Sqrt(float64(size))
		for j, v := range f.means[c*d : (c+1)*d] {
			between[c*d+j] = root * v
		}
	}
	within := scatter
	blas.Syrk(gblas.Lower, true, d, classes, -1, between, d, 1, within, d)
	trace := 0.0
	for i := range d {
		row := within[i*d : i*d+i+1]
		for j := range row {
			row[j] /= float64(n)
		}
		trace += row[i]
	}
	if !(trace > 0) {
		return nil, undefined(s, "the features do not vary within any class")
	}
	if f.shrinkage < 0 {
		mirror(d, within)
		f.shrinkage = max(math.Exp(-5*largestEigenvalue(d, within)), 1e-10)
	}
	for i := range d {
		row := within[i*d : i*d+i+1]
		for j := range row {
			row[j] *= 1 - f.shrinkage
		}
		row[i] += f.shrinkage * trace / float64(d)
	}
	if err := blas.Cholesky(within, d, d); err != nil {
		return nil, undefined(s, "the within-class covariance is singular")
	}
	coefficients := transposed(classes, d, f.means)
	blas.CholeskySolve(d, classes, within, d, coefficients, classes)
	f.probabilities = make([]float64, n*classes)
	blas.Gemm(false, false, n, classes, d, 1, x, d, coefficients, classes, 0, f.probabilities, classes)
	offset := make([]float64, classes)
	for c, size := range p.counts {
		for j, v := range f.means[c*d : (c+1)*d] {
			offset[c] -= v * coefficients[j*classes+c] / 2
		}
		offset[c] += math.Log(float64(size) / float64(n))
	}
	for i := range n {
		row := f.probabilities[i*classes : (i+1)*classes]
		for c := range row {
			row[c] += offset[c]
		}
		softmax(row)
	}
	return f, nil
}

// largestEigenvalue estimates that of a symmetric matrix by three rounds of the
// public implementation's power iteration.
func largestEigenvalue(d int, a []float64) float64 {
	x, y, t := make([]float64, d), make([]float64, d), make([]float64, d)
	for i := range d {
		for _, v := range a[i*d : (i+1)*d] {
			x[i] += v
		}
	}
	for range 3 {
		blas.Gemv(false, d, d, 1, a, d, x, 0, t)
		normalised(t, y)
		blas.Gemv(false, d, d, 1, a, d, y, 0, t)
		normalised(t, x)
	}
	blas.Gemv(false, d, d, 1, a, d, y, 0, t)
	return dot(x, t)
}

// normalised sets y to x of length 1; 0 stays 0.
func normalised(x, y []float64) {
	length := math.Sqrt(dot(x, x))
	if length == 0 {
		length = 1
	}
	for i, v := range x {
		y[i] = v / length
	}
}

// softmax replaces a row by its softmax.
func softmax(row []float64) {
	largest, sum := row[argmax(row)], 0.0
	for c, v := range row {
		row[c] = math.Exp(v - largest)
		sum += row[c]
	}
	for c := range row {
		row[c] /= sum
	}
}
