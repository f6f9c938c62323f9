package stats

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"quicktune/internal/stream"
)

// Summary is a mean over data sets with an interval.
type Summary struct {
	Mean float64
	// Low and High bound the interval; NaN if there is none.
	Low, High float64
	Level     float64 // of the interval, 0.95 for 95 %
	N         int     // data sets
	Warnings  []error
}

// Bootstrap sets up percentile intervals of a mean over data sets (Efron and
// Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): data sets
// are drawn with replacement, as many as there are, and the interval spans the
// middle part of the means of many such draws.
type Bootstrap struct {
	Resamples int     // 0 means 10,000
	Level     float64 // 0 means 0.95
	Seed      uint64
}

func (b Bootstrap) withDefaults() Bootstrap {
	b.Resamples = cmp.Or(b.Resamples, 10000)
	b.Level = cmp.Or(b.Level, 0.95)
	return b
}

// String describes the intervals in a few words.
func (b Bootstrap) String() string {
	b = b.withDefaults()
	return fmt.Sprintf("%g %% percentile bootstrap over data sets (%d resamples, seed %d)", 100*b.Level, b.Resamples, b.Seed)
}

// Fewer than this many data sets give too few distinct resamples for an
// interval at the usual levels: 6 give 462, 5 give 126.
const minDatasets = 6

// Resampler draws the resamples once and applies them to any number of
// columns, so that the intervals of several methods or times rest on the same
// draws. It is for one goroutine.
type Resampler struct {
	settings Bootstrap
	n        int
	draws    []uint32 // resample by resample
	means    []float64
}

// Resampler makes a resampler for n data sets.
func (b Bootstrap) Resampler(n int) *Resampler {
	r := &Resampler{settings: b.withDefaults(), n: n}
	if n < 2 {
		return r
	}
	rng := stream.New("stats/bootstrap", b.Seed, uint64(n))
	r.draws = make([]uint32, n*r.settings.Resamples)
	for i := range r.draws {
		r.draws[i] = rng.Uint32N(uint32(n))
	}
	r.means = make([]float64, r.settings.Resamples)
	return r
}

// Mean summarises one number for each data set. It panics if there are not as
// many as the resampler was made for.
func (r *Resampler) Mean(values []float64) Summary {
	if len(values) != r.n {
		panic(fmt.Sprintf("stats: %d values for a resampler of %d data sets", len(values), r.n))
	}
	s := Summary{Mean: mean(values), Low: math.NaN(), High: math.NaN(), Level: r.settings.Level, N: r.n}
	switch {
	case r.n == 0:
		s.Warnings = []error{errors.New("no data set, so no mean")}
		return s
	case r.n == 1:
		s.Warnings = []error{errors.New("one data set, so no interval")}
		return s
	case r.n < minDatasets:
		s.Warnings = []error{fmt.Errorf("%d data sets are too few for an interval to be trusted, need at least %d", r.n, minDatasets)}
	}
	for i := range r.means {
		var sum float64
		for _, d := range r.draws[i*r.n : (i+1)*r.n] {
			sum += values[d]
		}
		r.means[i] = sum / float64(r.n)
	}
	tail := (1 - r.settings.Level) / 2
	s.Low, s.High = quantile(r.means, tail), quantile(r.means, 1-tail)
	return s
}

// Nested summarises runs, by data set, with an interval that allows for the
// chance of the runs too: data sets are drawn with replacement and, within each
// one drawn, as many of its runs as there are. The mean is that of the means of
// the data sets, as with [Resampler.Mean], and so is N.
//
// It panics if there are not as many data sets as the resampler was made for,
// and if one of them has no run.
func (r *Resampler) Nested(runs [][]float64) Summary {
	means := make([]float64, len(runs))
	sorted := make([][]float64, len(runs)) // so that the order of runs changes nothing
	for d, values := range runs {
		if len(values) == 0 {
			panic(fmt.Sprintf("stats: no run on data set %d", d))
		}
		means[d] = mean(values)
		sorted[d] = slices.Sorted(slices.Values(values))
	}
	s := r.Mean(means)
	if r.n < 2 {
		return s
	}
	rng := stream.New("stats/bootstrap/runs", r.settings.Seed, uint64(r.n))
	for i := range r.means {
		var sum float64
		for _, d := range r.draws[i*r.n : (i+1)*r.n] {
			values := sorted[d]
			var part float64
			for range values {
				part += values[rng.IntN(len(values))]
			}
			sum += part / float64(len(values))
		}
		r.means[i] = sum / float64(r.n)
	}
	tail := (1 - r.settings.Level) / 2
	s.Low, s.High = quantile(r.means, tail), quantile(r.means, 1-tail)
	return s
}

// quantile interpolates linearly between order statistics, as numpy.quantile
// does by default. It reorders values.
func quantile(values []float64, q float64) float64 {
	h := q * float64(len(values)-1)
	k := int(h)
	low := selectNth(values, k)
	if k+1 == len(values) {
		return low
	}
	high := slices.Min(values[k+1:])
	return low + (h-float64(k))*(high-low)
}

// selectNth reorders values such that element k is the one that sorting would
// put there, nothing before it is greater and nothing after it smaller, and
// returns it (Hoare's selection).
func selectNth(values []float64, k int) float64 {
	lo, hi := 0, len(values)-1
	for lo < hi {
		pivot := median3(values[lo], values[lo+(hi-lo)/2], values[hi])
		i, j := lo, hi
		for i <= j {
			for values[i] < pivot {
				i++
			}
			for values[j] > pivot {
				j--
			}
			if i <= j {
				values[i], values[j] = values[j], values[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return values[k]
		}
	}
	return values[k]
}

func median3(a, b, c float64) float64 {
	return max(min(a, b), min(max(a, b), c))
}
