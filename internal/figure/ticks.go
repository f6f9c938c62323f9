package figure

import (
	"math"
	"strconv"
)

// LinearTicks marks round values from lo to hi, at least about as many as want.
// format writes a value with the decimals that the step needs; nil writes the
// plain number.
func LinearTicks(lo, hi float64, want int, format func(v float64, decimals int) string) []Tick {
	if !(hi > lo) {
		return []Tick{{lo, number(lo, 2, format)}}
	}
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/float64(want))))
	for _, m := range []float64{5, 2} {
		if (hi-lo)/(step*m) >= float64(want)-1e-9 {
			step *= m
			break
		}
	}
	decimals := max(0, int(-math.Floor(math.Log10(step)+1e-9)))
	var ticks []Tick
	for k := math.Ceil(lo/step - 1e-9); k*step <= hi+step*1e-9; k++ {
		v := k*step + 0 // not -0
		ticks = append(ticks, Tick{v, number(v, decimals, format)})
	}
	return ticks
}

func number(v float64, decimals int, format func(float64, int) string) string {
	if format != nil {
		return format(v, decimals)
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// Percent writes shares as per cent, for [LinearTicks].
func Percent(v float64, decimals int) string {
	return strconv.FormatFloat(100*v, 'f', max(0, decimals-2), 64) + " %"
}

// CountTicks marks 1, 3, 10, 30 and so on between lo and hi, for a logarithmic
// axis of counts.
func CountTicks(lo, hi float64, format func(v float64) string) []Tick {
	var ticks []Tick
	for decade := math.Pow(10, math.Floor(math.Log10(lo))); decade <= hi; decade *= 10 {
		for _, m := range []float64{1, 3} {
			if v := decade * m; v >= lo && v <= hi {
				ticks = append(ticks, Tick{v, format(v)})
			}
		}
	}
	return ticks
}
