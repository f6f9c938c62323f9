package stats

import (
	"cmp"
	"math"
	"slices"
)

// order returns the indices of values in ascending order; equal ones, and NaN
// before all, keep theirs.
func order(values []float64) []int {
	out := make([]int, len(values))
	for i := range out {
		out[i] = i
	}
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	return out
}

// IQM is the mean of the middle half of values, which outliers do not move: a
// quarter of them, rounded down, is left out at either end, as scipy.stats.trim_mean
// and rliable do. It is NaN for no value.
//
// Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical
// Precipice, NeurIPS 2021.
func IQM(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	cut := len(sorted) / 4
	return mean(sorted[cut : len(sorted)-cut])
}

// Median is the middle of values, the mean of the middle two of an even number,
// and NaN for no value.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Profile is the performance profile of a method: for each threshold, the share
// of data sets whose number is at most that, in [0, 1].
//
// Dolan and Moré, Benchmarking optimization software with performance profiles,
// Mathematical Programming 91 (2002), in the form of Agarwal et al. (2021).
func Profile(values, thresholds []float64) []float64 {
	sorted := slices.Sorted(slices.Values(values))
	out := make([]float64, len(thresholds))
	for i, t := range thresholds {
		at, _ := slices.BinarySearchFunc(sorted, t, func(v, t float64) int {
			if v <= t {
				return -1
			}
			return 1
		})
		out[i] = float64(at) / float64(len(sorted))
	}
	return out
}

// ProbabilityOfImprovement is the probability that a run of method first is
// better than a run of method second on the same data set, ties counting one
// half: the Mann-Whitney statistic divided by the number of pairs, on each data
// set; the mean over data sets with its interval. Data sets on which either has
// no run must have been left out.
//
// Agarwal et al. (2021), who call it P(X > Y).
func (s *Sample) ProbabilityOfImprovement(first, second int, r *Resampler) Summary {
	share := make([]float64, len(s.Datasets))
	for d := range share {
		share[d] = improvement(s.Values[first][d], s.Values[second][d])
	}
	return r.Mean(share)
}

// improvement is the share of pairs in which the number of a is below that of b.
func improvement(a, b []float64) float64 {
	wins := 0 // twice
	for _, x := range a {
		for _, y := range b {
			switch {
			case x < y:
				wins += 2
			case x == y:
				wins++
			}
		}
	}
	return float64(wins) / 2 / float64(len(a)*len(b))
}

// ReachedBy is the empirical distribution of times to targets, as COCO draws it:
// the share of all targets that were reached by each of times, which ascend.
// reached holds, for each data set, the times of its runs and targets, +Inf for
// never; every data set counts the same.
//
// Hansen et al., COCO: a platform for comparing continuous optimizers in a
// black-box setting, Optimization Methods and Software 36 (2021).
func ReachedBy(reached [][]float64, times []float64) []float64 {
	out := make([]float64, len(times))
	shares := make([][]float64, len(reached))
	for d, hits := range reached {
		shares[d] = Profile(hits, times)
	}
	column := make([]float64, len(reached))
	for i := range times {
		for d := range shares {
			column[d] = shares[d][i]
		}
		out[i] = mean(column)
	}
	return out
}

// Step is one step of a curve that is constant between steps.
type Step struct{ At, Value float64 }

// Area is the mean height of a step curve between from and to: the area under
// the curve divided by its width. The curve has the value before until the
// first step; steps ascend. With logarithmic, which needs from > 0, every
// doubling of time counts the same, else every second.
func Area(before float64, steps []Step, from, to float64, logarithmic bool) float64 {
	scale := func(t float64) float64 { return t }
	if logarithmic {
		scale = math.Log
	}
	var area float64
	value, since := before, from
	for _, s := range steps {
		if s.At >= to {
			break
		}
		if s.At > since {
			area += value * (scale(s.At) - scale(since))
			since = s.At
		}
		value = s.Value
	}
	area += value * (scale(to) - scale(since))
	return area / (scale(to) - scale(from))
}
