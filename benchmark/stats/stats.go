// Package stats compares methods over data sets.
//
// The unit of evidence is the data set: runs that differ by their seed alone
// are averaged within a data set first, and N is the number of data sets, never
// data sets times seeds. Lower numbers are better everywhere. The package
// refuses to choose what is compared and to draw anything, and it never drops a
// data set in silence: what a result must be read with is a warning that the
// result carries.
package stats

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Sample holds numbers of several methods on several data sets, one for each
// run. Lower is better.
type Sample struct {
	Methods  []string
	Datasets []string
	// Values is indexed by method, data set and run. The number of runs may
	// differ and may be 0.
	Values [][][]float64
}

// Means averages the runs of each method on each data set. The mean of no run
// is NaN.
func (s *Sample) Means() *Matrix {
	m := &Matrix{Methods: s.Methods, Datasets: s.Datasets, Values: make([][]float64, len(s.Methods))}
	for i, rows := range s.Values {
		m.Values[i] = make([]float64, len(s.Datasets))
		for d, runs := range rows {
			m.Values[i][d] = mean(runs)
		}
	}
	return m
}

// mean adds in ascending order, so that it does not depend on the order of the
// values and equal collections have equal means.
func mean(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	var sum float64
	for _, v := range sorted {
		sum += v
	}
	return sum / float64(len(sorted))
}

// Matrix holds one number for each method on each data set. Lower is better.
type Matrix struct {
	Methods  []string
	Datasets []string
	Values   [][]float64 // by method, then data set; NaN where there is none
}

// Complete returns the part of m with a number for every method, and one
// warning that names the data sets left out, if any.
func (m *Matrix) Complete() (*Matrix, []error) {
	whole := &Matrix{Methods: m.Methods, Values: make([][]float64, len(m.Methods))}
	var out []string
	for d, name := range m.Datasets {
		if slices.ContainsFunc(m.Values, func(row []float64) bool { return math.IsNaN(row[d]) }) {
			out = append(out, name)
			continue
		}
		whole.Datasets = append(whole.Datasets, name)
		for i, row := range m.Values {
			whole.Values[i] = append(whole.Values[i], row[d])
		}
	}
	if len(out) == 0 {
		return whole, nil
	}
	return whole, []error{fmt.Errorf("left out for want of runs of every method: %s", strings.Join(out, ", "))}
}

// Ranks ranks the methods on each data set: 1 is the lowest number, ties get
// the mean of the ranks they span. m must be complete.
func (m *Matrix) Ranks() *Matrix {
	ranks := &Matrix{Methods: m.Methods, Datasets: m.Datasets, Values: make([][]float64, len(m.Methods))}
	for i := range ranks.Values {
		ranks.Values[i] = make([]float64, len(m.Datasets))
	}
	column, ranked := make([]float64, len(m.Methods)), make([]float64, len(m.Methods))
	for d := range m.Datasets {
		for i, row := range m.Values {
			column[i] = row[d]
		}
		for i, r := range Ranks(ranked, column) {
			ranks.Values[i][d] = r
		}
	}
	return ranks
}

// Ranks writes the rank of each value to dst, which may be nil, and returns it:
// 1 for the lowest, ties averaged, as scipy.stats.rankdata does.
func Ranks(dst, values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case values[a] < values[b]:
			return -1
		case values[a] > values[b]:
			return 1
		}
		return 0
	})
	if cap(dst) < len(values) {
		dst = make([]float64, len(values))
	}
	dst = dst[:len(values)]
	for lo := 0; lo < len(order); {
		hi := lo + 1
		for hi < len(order) && values[order[hi]] == values[order[lo]] {
			hi++
		}
		for _, i := range order[lo:hi] {
			dst[i] = float64(lo+1+hi) / 2
		}
		lo = hi
	}
	return dst
}
