package stats

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mathext"
)

// TieRule says what ties within a data set do to Friedman's statistic. Either
// way tied methods share the mean of the ranks they span.
type TieRule int

const (
	// CorrectTies divides the statistic by the share of the ranks' variance
	// that ties leave, as scipy.stats.friedmanchisquare does.
	CorrectTies TieRule = iota
	// IgnoreTies leaves the statistic as it is printed by Demšar (2006), which
	// is smaller where there are ties.
	IgnoreTies
)

// Friedman is the outcome of Friedman's test of whether any method differs from
// the others, over data sets.
type Friedman struct {
	// MeanRanks has one number a method: 1 is best.
	MeanRanks []float64
	// ChiSquare has k-1 degrees of freedom for k methods; P is the probability
	// of a value at least as large if no method differs.
	ChiSquare, P float64
	// F is the less conservative statistic of Iman and Davenport with k-1 and
	// (k-1)(N-1) degrees of freedom, PF its probability.
	F, PF    float64
	N        int // data sets
	Warnings []error
}

// Friedman tests a complete matrix of at least two methods on at least two data
// sets; of fewer, and where all methods are tied on every data set, all
// probabilities are 1 and a warning says so.
//
// Friedman, Journal of the American Statistical Association 32 (1937); Iman and
// Davenport, Communications in Statistics A 9 (1980); Demšar, Statistical
// Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006).
func (m *Matrix) Friedman(ties TieRule) Friedman {
	k, n := len(m.Methods), len(m.Datasets)
	ranks := m.Ranks()
	out := Friedman{MeanRanks: make([]float64, k), P: 1, PF: 1, N: n}
	var squares float64
	for i, row := range ranks.Values {
		out.MeanRanks[i] = mean(row)
		squares += out.MeanRanks[i] * out.MeanRanks[i]
	}
	if k < 2 || n < 2 {
		out.Warnings = []error{errors.New("the test of Friedman needs at least two methods and two data sets")}
		return out
	}
	kf, nf := float64(k), float64(n)
	out.ChiSquare = 12*nf/(kf*(kf+1))*squares - 3*nf*(kf+1)
	if ties == CorrectTies {
		left := 1 - ranks.tied()/(nf*kf*(kf*kf-1))
		if left <= 0 {
			out.ChiSquare = 0
			out.Warnings = []error{errors.New("all methods are equal on every data set, so Friedman's test says nothing")}
			return out
		}
		out.ChiSquare /= left
	}
	out.ChiSquare = max(out.ChiSquare, 0)
	out.P = chiSquareAbove(out.ChiSquare, kf-1)
	rest := nf*(kf-1) - out.ChiSquare
	if rest <= 1e-12*nf*kf { // the same order on every data set
		out.F, out.PF = math.Inf(1), 0
	} else {
		out.F = (nf - 1) * out.ChiSquare / rest
		out.PF = fAbove(out.F, kf-1, (kf-1)*(nf-1))
	}
	if k > 2 && n < minDatasets {
		out.Warnings = append(out.Warnings, fmt.Errorf("%d data sets are too few for the distributions of Friedman's test to hold, need at least %d", n, minDatasets))
	}
	return out
}

// tied sums t³-t over all groups of t equal ranks on a data set.
func (m *Matrix) tied() float64 {
	var sum float64
	for d := range m.Datasets {
		count := make(map[float64]int)
		for _, row := range m.Values {
			count[row[d]]++
		}
		for _, t := range count { // whole numbers: the order changes nothing
			sum += float64(t*t*t - t)
		}
	}
	return sum
}

// Nemenyi compares all methods with each other by their mean ranks.
type Nemenyi struct {
	// Difference is the least difference of two mean ranks that is significant
	// at Level: q_Level sqrt(k(k+1)/(6N)).
	Difference, Level float64
	// P is symmetric, by method and method, with 1 on the diagonal.
	P [][]float64
	// Order lists the methods by mean rank, the best first.
	Order []int
	// Cliques are the longest runs [from, to] of Order, both included, whose
	// ends do not differ. Methods that differ from both neighbours are in none.
	Cliques [][2]int
}

// Nemenyi is the test to follow Friedman's where all methods are compared with
// all. level is such as 0.05. The statistic's distribution is the studentised
// range with infinite degrees of freedom, divided by the root of 2.
//
// Nemenyi, Distribution-free multiple comparisons (1963); Demšar (2006).
func (m *Matrix) Nemenyi(level float64) Nemenyi {
	ranks := m.Ranks()
	k := len(m.Methods)
	means := make([]float64, k)
	for i, row := range ranks.Values {
		means[i] = mean(row)
	}
	scale := math.Sqrt(float64(k*(k+1)) / (6 * float64(len(m.Datasets))))
	out := Nemenyi{Level: level, Difference: CriticalQ(k, level) * scale, P: make([][]float64, k), Order: order(means)}
	for i := range out.P {
		out.P[i] = make([]float64, k)
		out.P[i][i] = 1
		for j := range i {
			out.P[i][j] = rangeAbove(math.Sqrt2*math.Abs(means[i]-means[j])/scale, k)
			out.P[j][i] = out.P[i][j]
		}
	}
	for from := 0; from < k; from++ {
		to := from
		for to+1 < k && means[out.Order[to+1]]-means[out.Order[from]] < out.Difference {
			to++
		}
		covered := len(out.Cliques) > 0 && out.Cliques[len(out.Cliques)-1][1] >= to
		if to > from && !covered {
			out.Cliques = append(out.Cliques, [2]int{from, to})
		}
	}
	return out
}

// CriticalQ is q of Nemenyi's test for k >= 2 methods: the quantile of the
// studentised range with infinite degrees of freedom, divided by the root of 2.
func CriticalQ(k int, level float64) float64 {
	if k < 2 {
		return 0
	}
	lo, hi := 0.0, 1.0
	for rangeAbove(hi, k) > level {
		lo, hi = hi, 2*hi
	}
	// The rule of false position with halving (Illinois).
	above, below := rangeAbove(lo, k)-level, rangeAbove(hi, k)-level
	side := 0 // that moved last
	for hi-lo > 1e-13*hi && above != 0 && below != 0 {
		mid := hi - below*(hi-lo)/(below-above)
		if !(mid > lo && mid < hi) {
			break
		}
		if at := rangeAbove(mid, k) - level; at > 0 {
			if lo, above = mid, at; side > 0 {
				below /= 2
			}
			side = 1
		} else {
			if hi, below = mid, at; side < 0 {
				above /= 2
			}
			side = -1
		}
	}
	return hi / math.Sqrt2
}

// The nodes and weights of Gauss and Legendre on [-1, 1], 16 points; the
// negative half mirrors these.
var (
	legendreNodes = [8]float64{
		0.0950125098376374401853193, 0.2816035507792589132304605, 0.4580167776572273863424194, 0.6178762444026437484466718,
		0.7554044083550030338951012, 0.8656312023878317438804679, 0.9445750230732325760779884, 0.9894009349916499325961542,
	}
	legendreWeights = [8]float64{
		0.1894506104550684962853967, 0.1826034150449235888667637, 0.1691565193950025381893121, 0.1495959888165767320815017,
		0.1246289712555338720524763, 0.0951585116824927848099251, 0.0622535239386478928628438, 0.0271524594117540948517806,
	}
)

// rangeAbove is the probability that the range of k standard normal numbers
// exceeds q: 1 - k ∫ φ(z) (Φ(z) - Φ(z-q))^(k-1) dz, where z is the largest. It
// integrates the complement, k ∫ φ(z) (Φ(z)^(k-1) - (Φ(z)-Φ(z-q))^(k-1)) dz, which
// keeps small probabilities exact.
func rangeAbove(q float64, k int) float64 {
	if q <= 0 {
		return 1
	}
	const from, to, panels = -9.0, 12.0, 28
	half := (to - from) / panels / 2
	var sum float64
	for p := range panels {
		middle := from + half*float64(2*p+1)
		for i, node := range legendreNodes {
			sum += legendreWeights[i] * half * (rangeDensity(middle-half*node, q, k) + rangeDensity(middle+half*node, q, k))
		}
	}
	return min(max(float64(k)*sum, 0), 1)
}

func rangeDensity(z, q float64, k int) float64 {
	below, tail := normalBelow(z), normalBelow(z-q)
	if below == 0 || tail == 0 {
		return 0
	}
	// below^(k-1) (1 - (1 - tail/below)^(k-1))
	n := float64(k - 1)
	difference := -math.Expm1(n * math.Log1p(-min(tail/below, 1)))
	return math.Exp(-z*z/2) / math.Sqrt(2*math.Pi) * math.Pow(below, n) * difference
}

func normalBelow(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// chiSquareAbove is the probability that a chi-square variable exceeds x.
func chiSquareAbove(x, degrees float64) float64 { return mathext.GammaIncRegComp(degrees/2, x/2) }

// fAbove is the probability that an F variable exceeds x.
func fAbove(x, d1, d2 float64) float64 { return mathext.RegIncBeta(d2/2, d1/2, d2/(d2+d1*x)) }
