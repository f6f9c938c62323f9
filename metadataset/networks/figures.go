package networks

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"

	"quicktune/internal/figure"
)

// HeatMap shows the rank of each network on each data set.
func (r *Ranking) HeatMap() figure.Figure {
	h := figure.HeatMap{Columns: r.Datasets, Beside: "mean"}
	rows := len(r.Networks)
	for _, n := range r.Networks {
		h.Rows = append(h.Rows, n.Name)
		h.Words = append(h.Words, fmt.Sprintf("%.1f", n.MeanRank))
		cells := make([]figure.Cell, len(n.Rank))
		for d, rank := range n.Rank {
			cells[d].Share = math.NaN()
			if !math.IsNaN(rank) {
				cells[d] = figure.Cell{Share: 1 - (rank-1)/max(1, float64(rows-1)), Label: fmt.Sprintf("%.0f", rank)}
			}
		}
		h.Cells = append(h.Cells, cells)
	}
	return figure.Figure{
		Name:  "ranks",
		Title: "Which network is best on which data set",
		Alt: fmt.Sprintf("Heat map of the ranks of %d networks on %d data sets; %d networks are best somewhere, the best mean rank is %.1f, that of %s",
			rows, len(r.Datasets), r.Winners, r.Networks[0].MeanRank, r.Networks[0].Name),
		Caption: "Rank of each network by its best validation accuracy over all configurations, 1 (dark) is the best; the mean over data sets at the right. An empty cell: not trained.",
		Height:  h.Height, Draw: h.Draw,
	}
}

// Pareto shows source accuracy against the number of parameters. It reports false
// where the source accuracies are not known.
func (r *Ranking) Pareto() (figure.Figure, bool) {
	var front, others []figure.Point
	lo, hi, least, most := math.Inf(1), 0.0, math.Inf(1), 0.0
	for _, n := range r.Networks {
		if math.IsNaN(n.Params) || n.Params <= 0 || math.IsNaN(n.SourceAccuracy) {
			continue
		}
		p := figure.Point{X: n.Params * 1e6, Y: n.SourceAccuracy, Label: n.Name, Color: figure.Grey}
		lo, hi = min(lo, p.X), max(hi, p.X)
		least, most = min(least, p.Y), max(most, p.Y)
		if n.Front {
			p.Color, p.Large = figure.Blue, true
			front = append(front, p)
		} else {
			others = append(others, p)
		}
	}
	if len(front) == 0 {
		return figure.Figure{}, false
	}
	slices.SortFunc(front, func(a, b figure.Point) int { return cmp.Compare(a.X, b.X) })
	line := figure.Series{Style: figure.Line{Color: figure.Blue}, Steps: true}
	for _, p := range front {
		line.X, line.Y = append(line.X, p.X), append(line.Y, p.Y)
	}
	room := max(0.02, (most-least)*0.1)
	x := figure.Axis{Label: "parameters (logarithmic)", Min: lo / 1.6, Max: hi * 1.8, Log: true}
	x.Ticks = figure.CountTicks(x.Min, x.Max, short)
	y := figure.Axis{Label: "accuracy on the source", Min: max(0, least-room), Max: min(1, most+room)}
	y.Ticks = figure.LinearTicks(y.Min, y.Max, 4, figure.Percent)
	s := figure.Scatter{Chart: figure.Chart{X: x, Y: y, Series: []figure.Series{line}}, Points: slices.Concat(front, others)}
	return figure.Figure{
		Name: "pareto", Title: "Accuracy on the source against size",
		Alt: fmt.Sprintf("Accuracy on the source against the number of parameters of %d networks, %d of them on the Pareto front, from %s to %s",
			len(front)+len(others), len(front), front[0].Label, front[len(front)-1].Label),
		Caption: "Blue and joined: networks that no smaller one equals. Names are left out where they would overlap.",
		Height:  func(width vg.Length) vg.Length { return max(220, width*0.62) }, Draw: s.Draw,
	}, true
}

func short(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%g M", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%g k", n/1e3)
	}
	return fmt.Sprint(n)
}
