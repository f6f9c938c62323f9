package selection

import "quicktune/internal/stream"

// NLEEP is LEEP with the components of a Gaussian mixture of the features in
// place of source classes, which also serves models without a classifier: Li et
// al., "Ranking Neural Checkpoints", CVPR 2021. The features are reduced to the
// principal components that hold 80 % of their variance. The mixture starts from
// random means, so two seeds give two values.
type NLEEP struct {
	// Seed draws the start of the mixture.
	Seed uint64
	// PerClass is the number of mixture components a class; 0 means 5, the
	// public choice, which uses 1 for data sets of many images. There are
	// never more components than half the images.
	PerClass int
	// Diagonal fits diagonal covariances, far cheaper for many components.
	Diagonal bool
}

// Name returns "nleep".
func (NLEEP) Name() string { return "nleep" }

// Needs returns nothing.
func (NLEEP) Needs() Needs { return 0 }

const nleepVariance = 0.8

// Score returns the mean log probability, at most 0.
func (s NLEEP) Score(p *Probe) (float64, error) {
	g := p.moments()
	var scores, values []float64
	total := g.trace()
	kept, dim := 0.0, 0
	for k := min(32, g.order); ; k = min(2*k, g.order) {
		var err error
		if scores, values, err = g.principal(k); err != nil {
			return 0, undefined(s, "%v", err)
		}
		kept, dim = 0, 0
		for dim < len(values) && kept < nleepVariance*total {
			kept += values[dim]
			dim++
		}
		if kept >= nleepVariance*total || len(values) < k || k == g.order {
			break
		}
	}
	x := make([]float64, p.n*dim)
	for i := range p.n {
		copy(x[i*dim:(i+1)*dim], scores[i*len(values):])
	}
	perClass := s.PerClass
	if perClass <= 0 {
		perClass = 5
	}
	components := max(1, min(perClass*p.classes, p.n/2))
	posterior, err := gaussianMixture(x, p.n, dim, components, s.Diagonal, stream.New("selection/nleep", s.Seed))
	if err != nil {
		return 0, undefined(s, "%v", err)
	}
	return finite(s, expectedPrediction(p, posterior, components))
}
