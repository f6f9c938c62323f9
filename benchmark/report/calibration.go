package report

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"

	"quicktune/benchmark/stats"
	"quicktune/internal/figure"
)

// Forecast is one prediction of a score and what became of it, on a data set that
// the predictor had not learnt from.
type Forecast struct {
	Dataset   string
	Seen      int     // epochs of the curve that the predictor knew
	Predicted float64 // the median, in the unit of the score
	Observed  float64
	// Level is the quantile of Observed in the forecast's distribution, in [0, 1].
	Level float64
}

// Calibration holds forecasts of a method.
type Calibration struct {
	Method    string
	What      string // what is forecast, in a few words
	Forecasts []Forecast
}

// calibrationLevels are where the coverage is read.
var calibrationLevels = []float64{0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95}

// groups are the numbers of epochs seen that are shown apart.
func (c *Calibration) groups() []int {
	var out []int
	for _, f := range c.Forecasts {
		if !slices.Contains(out, f.Seen) {
			out = append(out, f.Seen)
		}
	}
	slices.Sort(out)
	return out
}

// coverage is, for each level, the share of forecasts whose observation lies below
// the quantile of that level: the mean over data sets.
func (c *Calibration) coverage(seen int, levels []float64) []float64 {
	byDataset := make(map[string][]float64)
	var order []string
	for _, f := range c.Forecasts {
		if f.Seen != seen {
			continue
		}
		if byDataset[f.Dataset] == nil {
			order = append(order, f.Dataset)
		}
		byDataset[f.Dataset] = append(byDataset[f.Dataset], f.Level)
	}
	values := make([][]float64, len(order))
	for i, name := range order {
		values[i] = byDataset[name]
	}
	return stats.ReachedBy(values, levels)
}

// MeanError is the mean absolute error of the medians, over data sets.
func (c *Calibration) MeanError(seen int) float64 {
	sums := make(map[string][2]float64)
	var order []string
	for _, f := range c.Forecasts {
		if f.Seen != seen {
			continue
		}
		s, ok := sums[f.Dataset]
		if !ok {
			order = append(order, f.Dataset)
		}
		sums[f.Dataset] = [2]float64{s[0] + math.Abs(f.Predicted-f.Observed), s[1] + 1}
	}
	var total float64
	for _, name := range order {
		total += sums[name][0] / sums[name][1]
	}
	return total / float64(len(order))
}

// seenLabel says how much of a curve was known.
func seenLabel(n int) string {
	if n == 0 {
		return "before training"
	}
	return "after " + plural(n, "epoch")
}

// seenStyles are the lines of the groups, from light to dark: an order.
func seenStyle(i, n int) figure.Line {
	share := 1.0
	if n > 1 {
		share = 0.35 + 0.65*float64(i)/float64(n-1)
	}
	return figure.Line{Color: figure.Between(figure.Paper, figure.Blue, share), Dashes: dashes[(n-1-i)%len(dashes)]}
}

// Figures returns the calibration of the quantiles, and the predictions against
// what was seen.
func (c *Calibration) Figures() []figure.Figure {
	groups := c.groups()
	shares := figure.Axis{Max: 1, Ticks: figure.LinearTicks(0, 1, 4, figure.Percent)}
	nominal, observed := shares, shares
	nominal.Label, observed.Label = "quantile of the forecast", "observations below it"
	coverage := figure.Chart{X: nominal, Y: observed, Diagonal: true}
	alt := ""
	for i, seen := range groups {
		y := c.coverage(seen, calibrationLevels)
		coverage.Series = append(coverage.Series, figure.Series{Label: seenLabel(seen), Style: seenStyle(i, len(groups)), X: calibrationLevels, Y: y, Dots: true})
		alt += fmt.Sprintf("; %s %.0f %% lie below the 90 %% quantile", seenLabel(seen), 100*y[slices.Index(calibrationLevels, 0.9)])
	}
	square := func(width vg.Length) vg.Length { return min(330, max(250, 0.6*width)) }
	list := []figure.Figure{{
		Name: "calibration", Title: "Calibration of the forecasts",
		Alt:     fmt.Sprintf("Observed against nominal quantiles of %s forecasts of %s%s", thousands(len(c.Forecasts)), c.What, alt),
		Caption: fmt.Sprintf("Forecasts of %s by %s, on data sets that it had not learnt from: the share of observations below each quantile, mean over data sets. On the dashed line a forecast is right about its own uncertainty; above it, it is too high.", c.What, c.Method),
		Height:  square, Draw: coverage.Draw,
	}}
	seen := figure.Chart{X: shares, Y: shares, Diagonal: true}
	seen.X.Label, seen.Y.Label = "predicted median", "observed median"
	alt = ""
	for i, n := range groups {
		s := figure.Series{Label: seenLabel(n), Style: seenStyle(i, len(groups)), Dots: true}
		s.X, s.Y = c.binned(n)
		seen.Series = append(seen.Series, s)
		alt += fmt.Sprintf("; the mean error %s is %.3f", seenLabel(n), c.MeanError(n))
	}
	return append(list, figure.Figure{
		Name: "predicted", Title: "Predicted against seen",
		Alt:     fmt.Sprintf("Median observation against the predicted median of %s%s", c.What, alt),
		Caption: fmt.Sprintf("The forecasts in ten groups of equal size, by what was predicted: the medians of both. On the dashed line the forecast is right on average; a flat line tells nothing%s.", alt),
		Height:  square, Draw: seen.Draw,
	})
}

// binned returns the medians of ten groups of forecasts, by their prediction.
func (c *Calibration) binned(seen int) (x, y []float64) {
	var list []Forecast
	for _, f := range c.Forecasts {
		if f.Seen == seen {
			list = append(list, f)
		}
	}
	slices.SortStableFunc(list, func(a, b Forecast) int {
		switch {
		case a.Predicted < b.Predicted:
			return -1
		case a.Predicted > b.Predicted:
			return 1
		}
		return 0
	})
	const bins = 10
	for b := range bins {
		part := list[b*len(list)/bins : (b+1)*len(list)/bins]
		if len(part) == 0 {
			continue
		}
		var p, o []float64
		for _, f := range part {
			p, o = append(p, f.Predicted), append(o, f.Observed)
		}
		x, y = append(x, stats.Median(p)), append(y, stats.Median(o))
	}
	return x, y
}
