package selection

import (
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mathext"
)

// Prior is the prior of PACTran over the parameters of the new head.
type Prior uint8

// The priors.
const (
	Dirichlet Prior = iota
	Gamma
)

// PACTran is minus a PAC-Bayesian bound on the error of a new head on top of the
// source probabilities, after ten rounds of variational inference: Ding et al.,
// "PACTran: PAC-Bayesian Metrics for Estimating the Transferability of
// Pretrained Models to Classification Tasks", ECCV 2022. The bound is divided by
// N times C, as in the public implementation, whose sign is the bound's own.
type PACTran struct {
	Prior Prior
	// Alpha is the strength of the prior; 0 means 1.
	Alpha float64
}

// Name returns "pactran-dirichlet" or "pactran-gamma".
func (s PACTran) Name() string {
	if s.Prior == Gamma {
		return "pactran-gamma"
	}
	return "pactran-dirichlet"
}

// Needs returns NeedsSource.
func (PACTran) Needs() Needs { return NeedsSource }

// Score returns minus the bound.
func (s PACTran) Score(p *Probe) (float64, error) {
	if err := check(s, p); err != nil {
		return 0, err
	}
	alpha := s.Alpha
	if alpha == 0 {
		alpha = 1
	}
	if !(alpha > 0) {
		return 0, undefined(s, "the strength %v of the prior is not positive", alpha)
	}
	const tiny = 1e-10
	n, classes, sources := p.n, p.classes, p.data.SourceClasses
	source := p.data.Source
	logSource := make([]float64, len(source))
	for i, v := range source {
		logSource[i] = math.Log(v + tiny)
	}
	q, logQ := append([]float64(nil), source...), make([]float64, len(source))
	prior := make([]float64, classes)
	for c, size := range p.counts {
		prior[c] = alpha*float64(size)/float64(n) + tiny
	}
	posterior := make([]float64, classes*sources)
	digamma := make([]float64, classes*sources)
	columns := make([]float64, sources)
	for range 10 {
		for c := range classes {
			for z := range sources {
				posterior[c*sources+z] = prior[c]
			}
		}
		for i, c := range p.labels {
			floats.Add(posterior[c*sources:(c+1)*sources], q[i*sources:(i+1)*sources])
		}
		clear(columns)
		for i, v := range posterior {
			columns[i%sources] += v
			digamma[i] = mathext.Digamma(v)
		}
		if s.Prior == Dirichlet {
			for i := range digamma {
				digamma[i] -= mathext.Digamma(columns[i%sources])
			}
		}
		for i, c := range p.labels {
			row, logRow := q[i*sources:(i+1)*sources], logQ[i*sources:(i+1)*sources]
			floats.AddTo(logRow, logSource[i*sources:(i+1)*sources], digamma[c*sources:(c+1)*sources])
			floats.AddConst(-floats.LogSumExp(logRow), logRow)
			for z, v := range logRow {
				row[z] = math.Exp(v)
			}
		}
	}
	divergence := 0.0
	for i, v := range q {
		divergence += v * (logQ[i] - logSource[i])
	}
	bound := divergence
	if s.Prior == Dirichlet {
		constant := lgamma(floats.Sum(prior))
		for _, a := range prior {
			constant -= lgamma(a)
		}
		for z := range sources {
			bound += lgamma(columns[z]) - constant
		}
		for _, a := range posterior {
			bound -= lgamma(a)
		}
	} else {
		for i, a := range posterior {
			bound += lgamma(prior[i/sources]) - lgamma(a)
		}
		for i := range n {
			bound += math.Log(dot(source[i*sources:(i+1)*sources], columns)) - 1
		}
	}
	bound /= float64(n * classes)
	if s.Prior == Gamma {
		bound++
	}
	return finite(s, -bound)
}

func lgamma(x float64) float64 {
	v, _ := math.Lgamma(x)
	return v
}
