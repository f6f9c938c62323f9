package selection

import "math"

// NCE is minus the conditional entropy of the label given the most probable
// source class, in natural units and at most 0: Tran, Nguyen and Hassner,
// "Transferability and Hardness of Supervised Classification Tasks", ICCV 2019.
type NCE struct{}

// Name returns "nce".
func (NCE) Name() string { return "nce" }

// Needs returns NeedsSource.
func (NCE) Needs() Needs { return NeedsSource }

// Score returns minus the entropy.
func (s NCE) Score(p *Probe) (float64, error) {
	if err := check(s, p); err != nil {
		return 0, err
	}
	sources := p.data.SourceClasses
	joint, marginal := make([]float64, p.classes*sources), make([]float64, sources)
	for i, c := range p.labels {
		z := argmax(p.data.Source[i*sources : (i+1)*sources])
		joint[c*sources+z]++
		marginal[z]++
	}
	sum := 0.0
	for c := range p.classes {
		for z, m := range marginal {
			if k := joint[c*sources+z]; k > 0 {
				sum += k * math.Log(k/m)
			}
		}
	}
	return finite(s, sum/float64(p.n))
}

// argmax returns the index of the first largest value.
func argmax(x []float64) int {
	best, largest := 0, x[0]
	for i, v := range x {
		if v > largest {
			best, largest = i, v
		}
	}
	return best
}
