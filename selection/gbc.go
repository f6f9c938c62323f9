package selection

import "math"

// Shape is the covariance of the Gaussians of GBC.
type Shape uint8

// The shapes.
const (
	Spherical Shape = iota // one variance a class
	Diagonal               // one variance a feature and class
)

// GBC is minus the sum of the Bhattacharyya coefficients of all ordered pairs of
// classes, each class a Gaussian in the space of the features: Pándy et al.,
// "Transferability Estimation using Bhattacharyya Class Separability", CVPR 2022.
// It lies in [-C(C-1), 0]. Variances are at least 1e-4. As in the public
// implementation the determinants of spherical Gaussians enter as if of one
// dimension.
type GBC struct {
	Shape Shape
	// Components is how many principal components the features are reduced
	// to; 0 means 64 and a negative number none.
	Components int
}

// Name returns "gbc", or "gbc-diagonal".
func (s GBC) Name() string {
	if s.Shape == Diagonal {
		return "gbc-diagonal"
	}
	return "gbc"
}

// Needs returns nothing.
func (GBC) Needs() Needs { return 0 }

const gbcVariance = 1e-4

// Score returns minus the overlap of the classes.
func (s GBC) Score(p *Probe) (float64, error) {
	g := p.moments()
	x, d, err := g.reduced(s.Components, 64)
	if err != nil {
		return 0, undefined(s, "%v", err)
	}
	means, variances := classMoments(x, d, p)
	logs := make([]float64, p.classes) // sums of the logarithms of variances
	spherical := make([]float64, p.classes)
	for c := range p.classes {
		v := variances[c*d : (c+1)*d]
		for j := range v {
			v[j] = max(v[j], gbcVariance)
			logs[c] += math.Log(v[j])
			spherical[c] += v[j] / float64(d)
		}
		if s.Shape == Spherical {
			logs[c] = math.Log(spherical[c])
		}
	}
	overlap := 0.0
	for a := range p.classes {
		for b := range a {
			ma, mb := means[a*d:(a+1)*d], means[b*d:(b+1)*d]
			var apart, logMean float64
			if s.Shape == Spherical {
				for j, v := range ma {
					apart += (v - mb[j]) * (v - mb[j])
				}
				mean := (spherical[a] + spherical[b]) / 2
				apart, logMean = apart/mean, math.Log(mean)
			} else {
				va, vb := variances[a*d:(a+1)*d], variances[b*d:(b+1)*d]
				for j, v := range ma {
					mean := (va[j] + vb[j]) / 2
					apart += (v - mb[j]) * (v - mb[j]) / mean
					logMean += math.Log(mean)
				}
			}
			overlap += 2 * math.Exp(-apart/8-(logMean-logs[a]/2-logs[b]/2)/2)
		}
	}
	return finite(s, -overlap)
}

// classMoments returns the mean and the variance (divided by n) of each class
// and column of x, classes x d.
func classMoments(x []float64, d int, p *Probe) (means, variances []float64) {
	means, variances = make([]float64, p.classes*d), make([]float64, p.classes*d)
	for i, c := range p.labels {
		for j, v := range x[i*d : (i+1)*d] {
			means[c*d+j] += v / float64(p.counts[c])
		}
	}
	for i, c := range p.labels {
		for j, v := range x[i*d : (i+1)*d] {
			apart := v - means[c*d+j]
			variances[c*d+j] += apart * apart / float64(p.counts[c])
		}
	}
	return means, variances
}
