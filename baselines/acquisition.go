package baselines

import "math"

// ExpectedImprovement is E[max(y-best, 0)] for y normal with the given mean and
// standard deviation, for scores that are better when higher. Where the
// deviation is not positive it is max(mean-best, 0).
//
// Source: Jones, Schonlau and Welch: Efficient Global Optimization of Expensive
// Black-Box Functions, Journal of Global Optimization 13, 1998.
func ExpectedImprovement(mean, std, best float64) float64 {
	if !(std > 0) {
		return max(mean-best, 0)
	}
	z := (mean - best) / std
	return max(std*(z*math.Erfc(-z/math.Sqrt2)/2+math.Exp(-z*z/2)/math.Sqrt(2*math.Pi)), 0)
}

// LogExpectedImprovement is the logarithm of [ExpectedImprovement], to nearly
// full precision even where that underflows. Where the deviation is not
// positive it is log(max(mean-best, 0)).
//
// With z = (mean-best)/std and t = -z, E[improvement]/std = phi(t) - t Q(t),
// where Q is the upper tail of the normal distribution. In the tail Q is
// written by its continued fraction phi(t)/(t + 1/(t + 2/(t + ...))), from which
// the difference follows without cancellation.
//
// Source: Ament, Daulton, Eriksson, Balandat and Bakshy: Unexpected
// Improvements to Expected Improvement for Bayesian Optimization, NeurIPS 2023.
func LogExpectedImprovement(mean, std, best float64) float64 {
	if !(std > 0) {
		return math.Log(max(mean-best, 0))
	}
	z := (mean - best) / std
	if z > -tailBegins {
		return math.Log(std) + math.Log(z*math.Erfc(-z/math.Sqrt2)/2+math.Exp(-z*z/2)/math.Sqrt(2*math.Pi))
	}
	t := -z
	// 1 - t/(t + r) = r/(t + r) with r = 1/(t + 2/(t + 3/(t + ...))).
	r := 0.0
	for k := tailTerms; k >= 1; k-- {
		r = float64(k) / (t + r)
	}
	return math.Log(std) - t*t/2 - math.Log(2*math.Pi)/2 + math.Log(r/(t+r))
}

// Beyond tailBegins deviations the closed form has lost three digits to
// cancellation, and tailTerms terms of the fraction are exact.
const (
	tailBegins = 4
	tailTerms  = 60
)
