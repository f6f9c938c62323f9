package stats

import (
	"errors"
	"math"
	"slices"
)

// exactUpTo is the largest number of differences for which Wilcoxon's test
// counts all assignments of signs.
const exactUpTo = 50

// Wilcoxon is the outcome of Wilcoxon's signed-rank test.
type Wilcoxon struct {
	// Statistic is the smaller of the sums of the ranks of positive and of
	// negative differences.
	Statistic float64
	P         float64 // two-sided
	N         int     // differences that are not 0
	Exact     bool    // else the normal approximation
	Warnings  []error
}

// SignedRank tests whether differences, one a data set, are symmetric around 0.
//
// Zeros are dropped, as Wilcoxon did and as scipy.stats.wilcoxon does by
// default; differences of equal size share the mean of their ranks. Up to 50
// differences the probability is exact: the share of all assignments of signs to
// these very ranks, ties included, with a statistic at least as extreme. Above
// that it is the normal approximation with the variance corrected for ties and
// without correction for continuity. SciPy 1.17 has the same numbers but for 14
// to 50 differences with ties or zeros, where it falls back to the approximation.
//
// Without any difference but 0 the probability is 1.
//
// Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1
// (1945).
func SignedRank(differences []float64) Wilcoxon {
	out := signedRank(differences, exactUpTo)
	if out.N > 0 && out.N < minDatasets {
		out.Warnings = append(out.Warnings, errors.New("fewer than 6 differences cannot be significant at 5 %"))
	}
	return out
}

func signedRank(differences []float64, exact int) Wilcoxon {
	var sizes []float64
	var positive []bool
	for _, d := range differences {
		if d != 0 {
			sizes = append(sizes, math.Abs(d))
			positive = append(positive, d > 0)
		}
	}
	n := len(sizes)
	out := Wilcoxon{N: n, P: 1, Exact: n <= exact}
	if n == 0 {
		return out
	}
	// Twice the ranks are whole numbers.
	twice := make([]int, n)
	total, plus := 0, 0
	for i, r := range Ranks(nil, sizes) {
		twice[i] = int(2 * r)
		total += twice[i]
		if positive[i] {
			plus += twice[i]
		}
	}
	smaller := min(plus, total-plus)
	out.Statistic = float64(smaller) / 2
	if out.Exact {
		out.P = min(1, 2*signsAtMost(twice, total, smaller))
		return out
	}
	nf := float64(n)
	variance := nf * (nf + 1) * (2*nf + 1) / 24
	slices.Sort(twice)
	for lo := 0; lo < n; {
		hi := lo
		for hi < n && twice[hi] == twice[lo] {
			hi++
		}
		t := float64(hi - lo)
		variance -= (t*t*t - t) / 48
		lo = hi
	}
	z := (out.Statistic - nf*(nf+1)/4) / math.Sqrt(variance)
	out.P = min(1, 2*normalBelow(z))
	return out
}

// signsAtMost is the share of all assignments of signs to ranks, which sum to
// total, whose positive ranks sum to at most limit.
func signsAtMost(ranks []int, total, limit int) float64 {
	share := make([]float64, total+1) // of assignments so far, by sum
	share[0] = 1
	reached := 0
	for _, r := range ranks {
		for sum := reached; sum >= 0; sum-- {
			share[sum] /= 2
			share[sum+r] += share[sum]
		}
		reached += r
	}
	var below float64
	for _, s := range share[:limit+1] {
		below += s
	}
	return below
}

// Holm adjusts the probabilities of several tests so that the chance of any
// false rejection among them stays below the level that each is compared with.
// The result has the order of p. NaN, a test that was not made, stays NaN and
// does not count.
//
// Holm, A simple sequentially rejective multiple test procedure, Scandinavian
// Journal of Statistics 6 (1979).
func Holm(p []float64) []float64 {
	adjusted := slices.Repeat([]float64{math.NaN()}, len(p))
	var known []int
	for _, i := range order(p) {
		if !math.IsNaN(p[i]) {
			known = append(known, i)
		}
	}
	least := 0.0
	for place, i := range known {
		least = max(least, min(1, float64(len(known)-place)*p[i]))
		adjusted[i] = least
	}
	return adjusted
}

// Paired compares two methods over data sets.
type Paired struct {
	// Difference is the mean over data sets of the first method's number minus
	// the second's: below 0, the first is better.
	Difference           Summary
	Better, Equal, Worse int // data sets, from the first method's view
	Test                 Wilcoxon
	Holm                 float64 // Test.P adjusted for the number of comparisons
	// Improvement is the probability that a run of the first is better than one
	// of the second, see [ProbabilityOfImprovement]; NaN if only means are known.
	Improvement Summary
}

// Against compares every method of a complete matrix with method reference: the
// result has the order of m.Methods, with a zero Paired at reference. Holm
// adjusts for all of them together.
func (m *Matrix) Against(reference int, r *Resampler) []Paired {
	out := make([]Paired, len(m.Methods))
	p := make([]float64, len(m.Methods))
	difference := make([]float64, len(m.Datasets))
	for i, row := range m.Values {
		if i == reference {
			p[i] = math.NaN()
			continue
		}
		for d, v := range row {
			difference[d] = v - m.Values[reference][d]
			switch {
			case difference[d] < 0:
				out[i].Better++
			case difference[d] > 0:
				out[i].Worse++
			default:
				out[i].Equal++
			}
		}
		out[i].Difference = r.Mean(difference)
		out[i].Test = SignedRank(difference)
		out[i].Improvement = Summary{Mean: math.NaN(), Low: math.NaN(), High: math.NaN()}
		p[i] = out[i].Test.P
	}
	for i, adjusted := range Holm(p) {
		if i != reference {
			out[i].Holm = adjusted
		}
	}
	return out
}

// Pairwise tests all pairs of methods: p by Wilcoxon's test, and adjusted by
// Holm for all pairs together. Both are symmetric with 1 on the diagonal.
func (m *Matrix) Pairwise() (p, adjusted [][]float64) {
	k := len(m.Methods)
	p, adjusted = make([][]float64, k), make([][]float64, k)
	for i := range k {
		p[i], adjusted[i] = slices.Repeat([]float64{1}, k), slices.Repeat([]float64{1}, k)
	}
	var list []float64
	difference := make([]float64, len(m.Datasets))
	for i := range k {
		for j := range i {
			for d := range difference {
				difference[d] = m.Values[i][d] - m.Values[j][d]
			}
			p[i][j] = SignedRank(difference).P
			p[j][i] = p[i][j]
			list = append(list, p[i][j])
		}
	}
	list = Holm(list)
	for i := range k {
		for j := range i {
			adjusted[i][j], list = list[0], list[1:]
			adjusted[j][i] = adjusted[i][j]
		}
	}
	return p, adjusted
}
