package trees

import (
	"cmp"
	"math"
	"slices"
)

// A feature is a column of the table that takes at least two values.
type feature struct {
	column     int       // index in the table
	thresholds []float64 // ascending; value x falls in bin i if thresholds[i-1] < x <= thresholds[i]
	missing    bool      // NaN occurs: its bin is len(thresholds)+1
	bins       []uint8   // of each row
	bundle     int       // that it belongs to
	offset     int       // of its bins in the bundle's part of a histogram
}

// size is the number of bins, that of missing values included.
func (f *feature) size() int {
	if f.missing {
		return len(f.thresholds) + 2
	}
	return len(f.thresholds) + 1
}

// binFeatures sorts the values of every column into at most maxBins bins,
// besides one of missing values. Columns that take a single value are left
// out. Rows of weight 0 have no say in the thresholds.
func binFeatures(x []float64, rows, cols int, weights []float64, maxBins int) []*feature {
	var features []*feature
	values := make([]float64, rows)
	thresholds := newBinner(rows, maxBins)
	for c := range cols {
		for r := range values {
			values[r] = x[r*cols+c]
		}
		f := &feature{column: c, thresholds: thresholds.find(values, weights)}
		if f.fill(values) {
			features = append(features, f)
		}
	}
	return features
}

// fill sets the bin of each row and reports whether two bins are in use.
func (f *feature) fill(values []float64) bool {
	f.bins = make([]uint8, len(values))
	nan := uint8(len(f.thresholds) + 1)
	varies := false
	for r, v := range values {
		b := nan
		if v == v {
			b = uint8(lowerBound(f.thresholds, v))
		} else {
			f.missing = true
		}
		f.bins[r] = b
		varies = varies || b != f.bins[0]
	}
	return varies
}

// lowerBound returns the number of thresholds below v.
func lowerBound(thresholds []float64, v float64) int {
	at := 0
	for n := len(thresholds); n > 0; {
		half := (n + 1) / 2
		if thresholds[at+half-1] < v {
			at += half
		}
		n -= half
	}
	return at
}

// binner finds thresholds, keeping its buffers from column to column.
type binner struct {
	maxBins  int
	values   []float64
	order    []int
	distinct []float64
	table    [1024]uint64 // open addressing, keys are bit patterns plus one
}

func newBinner(rows, maxBins int) *binner {
	return &binner{maxBins: maxBins, values: make([]float64, 0, rows)}
}

// find returns the thresholds between bins of the values. With at most maxBins
// distinct values they lie halfway between neighbours, else at the quantiles
// k/maxBins of the values, those of a step function averaged at its steps.
func (b *binner) find(values, weights []float64) []float64 {
	var thresholds []float64
	if b.few(values, weights) {
		thresholds = midpoints(b.distinct)
	} else if weights == nil {
		b.values = b.values[:0]
		for _, v := range values {
			if v == v {
				b.values = append(b.values, v)
			}
		}
		slices.Sort(b.values)
		thresholds = b.quantiles()
	} else {
		thresholds = b.weightedQuantiles(values, weights)
	}
	for i, t := range thresholds {
		// Only a split between missing and present values has an infinite
		// threshold. Adding 0 makes 0 of -0.
		thresholds[i] = min(t, math.MaxFloat64) + 0
	}
	return slices.Compact(thresholds)
}

// few collects the distinct values in ascending order and reports whether
// there are at most maxBins.
func (b *binner) few(values, weights []float64) bool {
	b.distinct = b.distinct[:0]
	clear(b.table[:])
	for r, v := range values {
		if v != v || weights != nil && weights[r] == 0 {
			continue
		}
		key := math.Float64bits(v+0) + 1 // -0 becomes 0
		slot := (key * 0x9e3779b97f4a7c15) >> 54
		for b.table[slot] != 0 && b.table[slot] != key {
			slot = (slot + 1) & 1023
		}
		if b.table[slot] == key {
			continue
		}
		if len(b.distinct) == b.maxBins {
			return false
		}
		b.table[slot] = key
		b.distinct = append(b.distinct, v)
	}
	slices.Sort(b.distinct)
	return true
}

// midpoints returns the means of neighbours, or the lower of two where their
// mean in float64 does not lie between them.
func midpoints(sorted []float64) []float64 {
	if len(sorted) < 2 {
		return nil
	}
	thresholds := make([]float64, 0, len(sorted)-1)
	for i, hi := range sorted[1:] {
		lo := sorted[i]
		t := min((lo+hi)/2, math.MaxFloat64)
		if !(lo <= t && t < hi) {
			t = lo
		}
		thresholds = append(thresholds, t)
	}
	return thresholds
}

// quantiles returns the inner quantiles of b.values, which are sorted.
func (b *binner) quantiles() []float64 {
	thresholds := make([]float64, 0, b.maxBins-1)
	step := 100 / float64(b.maxBins)
	n := float64(len(b.values))
	for k := 1; k < b.maxBins; k++ {
		at := float64(n*(float64(float64(k)*step)/100)) - 1
		i := int(math.Floor(at))
		hi := b.values[min(max(i+1, 0), len(b.values)-1)]
		t := hi
		if lo := b.values[max(i, 0)]; at == math.Floor(at) && lo != hi {
			t = hi - (hi-lo)*0.5
			if !(lo <= t && t < hi) {
				t = lo
			}
		}
		thresholds = append(thresholds, t)
	}
	return thresholds
}

// weightedQuantiles is quantiles of the values with weight above 0.
func (b *binner) weightedQuantiles(values, weights []float64) []float64 {
	b.order = b.order[:0]
	for r, v := range values {
		if v == v && weights[r] != 0 {
			b.order = append(b.order, r)
		}
	}
	slices.SortFunc(b.order, func(i, j int) int {
		return cmp.Or(cmp.Compare(values[i], values[j]), cmp.Compare(weights[i], weights[j]))
	})
	cumulative := make([]float64, len(b.order))
	total := 0.0
	for i, r := range b.order {
		total += weights[r]
		cumulative[i] = total
	}
	thresholds := make([]float64, 0, b.maxBins-1)
	step := 100 / float64(b.maxBins)
	for k := 1; k < b.maxBins; k++ {
		want := float64(float64(k)*step) / 100 * total
		i, _ := slices.BinarySearch(cumulative, want)
		i = min(i, len(b.order)-1)
		t := values[b.order[i]]
		if next := values[b.order[min(i+1, len(b.order)-1)]]; cumulative[i]-want <= 0x1p-52 && next != t {
			lo := t
			t = (lo + next) / 2
			if !(lo <= t && t < next) {
				t = lo
			}
		}
		thresholds = append(thresholds, t)
	}
	return thresholds
}
