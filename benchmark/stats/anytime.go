package stats

import "math"

// Curve is the mean over data sets of one method as time goes on.
type Curve struct {
	Method string
	Times  []float64
	Points []Summary // one a time
}

// Anytime summarises each method at each time. at gives the numbers at a time;
// its data sets and methods must not change with time, and all numbers must be
// known.
func Anytime(times []float64, b Bootstrap, at func(time float64) *Matrix) []Curve {
	var curves []Curve
	var r *Resampler
	for _, t := range times {
		m := at(t)
		if r == nil {
			r = b.Resampler(len(m.Datasets))
			for _, method := range m.Methods {
				curves = append(curves, Curve{Method: method, Times: times, Points: make([]Summary, 0, len(times))})
			}
		}
		for i := range curves {
			curves[i].Points = append(curves[i].Points, r.Mean(m.Values[i]))
		}
	}
	return curves
}

// LogGrid returns n >= 2 times from lo > 0 to hi > lo, both included, with
// equal ratios between neighbours.
func LogGrid(lo, hi float64, n int) []float64 {
	grid := make([]float64, n)
	step := math.Log(hi/lo) / float64(n-1)
	for i := range grid {
		grid[i] = lo * math.Exp(float64(i)*step)
	}
	grid[0], grid[n-1] = lo, hi
	return grid
}
