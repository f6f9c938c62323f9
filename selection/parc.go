package selection

import (
	"fmt"
	"math"
	"slices"

	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/blas"
)

// PARC is 100 times the Spearman correlation, over pairs of images, between one
// minus the correlation of their features and one minus the correlation of their
// one-hot labels: Bolya, Mittapalli and Hoffman, "Scalable Diverse Model
// Selection for Accessible Transfer Learning", NeurIPS 2021. It sorts all pairs,
// so it is meant for samples of a few thousand images.
type PARC struct {
	// Components is how many principal components the features are reduced
	// to; 0 means 32 and a negative number none.
	Components int
}

// Name returns "parc".
func (PARC) Name() string { return "parc" }

// Needs returns nothing.
func (PARC) Needs() Needs { return 0 }

// Score returns a number in [-100, 100].
func (s PARC) Score(p *Probe) (float64, error) {
	g := p.moments()
	x, d, err := g.reduced(s.Components, 32)
	if err != nil {
		return 0, undefined(s, "%v", err)
	}
	correlation, err := rowCorrelations(x, p.n, d)
	if err != nil {
		return 0, undefined(s, "%v", err)
	}
	// Labels are equally far wherever they differ, so ranks of the pairs of
	// one class among all are enough.
	var within, between []float64
	for i := range p.n {
		for j, r := range correlation[i*p.n : i*p.n+i] {
			if p.labels[i] == p.labels[j] {
				within = append(within, 1-r)
			} else {
				between = append(between, 1-r)
			}
		}
	}
	if len(within) == 0 {
		return 0, undefined(s, "no two images are of one class")
	}
	slices.Sort(within)
	slices.Sort(between)
	n, m := float64(len(within)+len(between)), float64(len(between))
	var ranks, ties float64 // of the pairs between classes
	i, j, before := 0, 0, 0.0
	for i < len(within) || j < len(between) {
		v := math.Inf(1)
		if i < len(within) {
			v = within[i]
		}
		if j < len(between) {
			v = min(v, between[j])
		}
		i0, j0 := i, j
		for i < len(within) && within[i] == v {
			i++
		}
		for j < len(between) && between[j] == v {
			j++
		}
		t := float64(i - i0 + j - j0)
		ranks += float64(j-j0) * (before + (t+1)/2)
		ties += t * (t*t - 1)
		before += t
	}
	variance := (n*n-1)/12 - ties/12/n
	if !(variance > 0) {
		return 0, undefined(s, "all pairs of images are equally similar")
	}
	share := m / n
	covariance := ranks/n - share*(n+1)/2
	return finite(s, 100*covariance/math.Sqrt(variance*share*(1-share)))
}

// rowCorrelations standardises the columns of x (n x d) and returns the
// correlations of its rows to 40 bits, of which those below the diagonal are
// filled.
func rowCorrelations(x []float64, n, d int) ([]float64, error) {
	mean, spread := columnMeans(x, n, d), make([]float64, d)
	for i := range n {
		for j, v := range x[i*d : (i+1)*d] {
			spread[j] += (v - mean[j]) * (v - mean[j]) / float64(n)
		}
	}
	for j, v := range spread {
		spread[j] = 1
		// Rounding of the mean leaves a constant column a little variance.
		if v > 1e-30*mean[j]*mean[j] && v > 0 {
			spread[j] = math.Sqrt(v)
		}
	}
	z := make([]float64, n*d)
	for i := range n {
		row, sum := z[i*d:(i+1)*d], 0.0
		for j, v := range x[i*d : (i+1)*d] {
			row[j] = (v - mean[j]) / spread[j]
			sum += row[j]
		}
		length := 0.0
		for j := range row {
			row[j] -= sum / float64(d)
			length += row[j] * row[j]
		}
		if !(length > 0) {
			return nil, fmt.Errorf("the standardised features of image %d are all equal", i)
		}
		length = math.Sqrt(length)
		for j := range row {
			row[j] /= length
		}
	}
	out := make([]float64, n*n)
	blas.Syrk(gblas.Lower, false, n, d, 1, z, d, 0, out, n)
	// Correlations are ranked, and with few features many are equal but for
	// rounding.
	const steps = 1 << 40
	for i := range n {
		row := out[i*n : i*n+i]
		for j, r := range row {
			row[j] = math.Round(steps*r) / steps
		}
	}
	return out, nil
}
