package selection

import "math"

// Rule selects how LogME iterates and what it adds up.
type Rule uint8

// The rules of LogME.
const (
	// Corrected iterates the fixed point of the extended paper to the end and
	// gives every one of the D weights its term in the determinant, also those
	// for which the features have no singular value (fewer images than
	// features, or dependent features).
	Corrected Rule = iota
	// ICML is the first public implementation: it stops earlier, and a
	// regulariser appears in the evidence.
	ICML
	// FixedPoint is the present public implementation, which drops the weights
	// without a singular value from the determinant. With fewer images than
	// features its values are too high, the more so the more features.
	FixedPoint
)

// LogME is the logarithm of the maximum evidence of Bayesian linear regression
// of each class's indicator on the features, a number an image, averaged over
// classes: You, Liu, Wang and Long, "LogME: Practical Assessment of Pre-trained
// Models for Transfer Learning", ICML 2021, with the fixed point of You et al.,
// "Ranking and Tuning Pre-trained Models", Journal of Machine Learning Research
// 23, 2022.
type LogME struct{ Rule Rule }

// Name returns the name of the rule.
func (s LogME) Name() string {
	return [...]string{"logme", "logme-icml", "logme-fixed-point"}[s.Rule]
}

// Needs returns nothing.
func (LogME) Needs() Needs { return 0 }

const (
	logmeEpsilon = 1e-5 // keeps the two precisions finite
	logmeRounds  = 11   // of the public implementations
	logmeLimit   = 200  // of the corrected one
	zeroSingular = 1e-10
)

// Score returns the mean log evidence.
func (s LogME) Score(p *Probe) (float64, error) {
	e, err := p.eigen()
	if err != nil {
		return 0, err
	}
	over, err := e.sums()
	if err != nil {
		return 0, err
	}
	zeros := e.d - len(e.diagonal)
	rounds := logmeLimit
	switch s.Rule {
	case ICML:
		rounds = logmeRounds
	case FixedPoint:
		rounds, zeros = logmeRounds, 0
		if e.primal {
			all, err := e.eigenvalues()
			if err != nil {
				return 0, err
			}
			var kept summed
			for _, v := range all.noisy {
				if math.Sqrt(v) > zeroSingular {
					kept = append(kept, v)
				}
			}
			over = kept
		}
	}
	w, sum := e.scratch(), 0.0
	for c := range p.classes {
		sum += s.evidence(e, over, zeros, c, rounds, w)
	}
	return finite(s, sum/float64(p.classes))
}

// evidence returns the log evidence of one class divided by the number of
// images.
func (s LogME) evidence(e *spectrum, over sums, zeros, class, rounds int, w *scratch) float64 {
	n, d := float64(e.n), float64(e.d)
	alpha, beta := 1.0, 1.0
	var weights, residual float64
	for range rounds {
		t := alpha / beta
		gamma := over.effective(t)
		weights, residual, _ = e.ridge(class, t, w)
		alpha = gamma / (weights + logmeEpsilon)
		beta = (n - gamma) / (residual + logmeEpsilon)
		change := math.Abs(alpha/beta-t) / t
		if s.Rule == ICML && change < 1e-2 || s.Rule != ICML && change <= 1e-3 {
			break
		}
	}
	if s.Rule == ICML {
		weights, residual = weights+logmeEpsilon, residual+logmeEpsilon
	}
	evidence := d*math.Log(alpha) + n*math.Log(beta) - n*math.Log(2*math.Pi) - beta*residual - alpha*weights
	evidence -= over.logSum(alpha, beta) + float64(zeros)*math.Log(alpha)
	return evidence / 2 / n
}
