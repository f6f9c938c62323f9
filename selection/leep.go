package selection

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// LEEP is the log expected empirical prediction, the mean log probability that
// the source classes of an image predict its label with, in natural units and at
// most 0: Nguyen et al., "LEEP: A New Measure to Evaluate Transferability of
// Learned Representations", ICML 2020.
type LEEP struct{}

// Name returns "leep".
func (LEEP) Name() string { return "leep" }

// Needs returns NeedsSource.
func (LEEP) Needs() Needs { return NeedsSource }

// Score returns the mean log probability.
func (s LEEP) Score(p *Probe) (float64, error) {
	if err := check(s, p); err != nil {
		return 0, err
	}
	return finite(s, expectedPrediction(p, p.data.Source, p.data.SourceClasses))
}

// expectedPrediction returns the mean over images of
// log Σ_z p(y|z) p(z|x), given p(z|x) as n x sources.
func expectedPrediction(p *Probe, source []float64, sources int) float64 {
	joint, marginal := make([]float64, p.classes*sources), make([]float64, sources)
	for i, c := range p.labels {
		row := joint[c*sources : (c+1)*sources]
		floats.Add(row, source[i*sources:(i+1)*sources])
	}
	for c := range p.classes {
		floats.Add(marginal, joint[c*sources:(c+1)*sources])
	}
	for c := range p.classes {
		for z, m := range marginal {
			if m > 0 {
				joint[c*sources+z] /= m
			}
		}
	}
	sum := 0.0
	for i, c := range p.labels {
		sum += math.Log(dot(joint[c*sources:(c+1)*sources], source[i*sources:(i+1)*sources]))
	}
	return sum / float64(p.n)
}
