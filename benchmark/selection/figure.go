package selection

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"quicktune/internal/atomicfile"
	"quicktune/internal/figure"
	"quicktune/selection/published"
)

// drawnSums are the scores whose sums with the prior are drawn.
var drawnSums = []string{"lfc", "logme", "leep", "knn"}

// figureOf shows the mean correlations of rankings in the headline setting, the
// highest first, of the whole hub and of the experts of one domain.
func figureOf(r *HubReport) figure.Figure {
	stack := figure.Stack{Least: 230}
	var facts []string
	for _, t := range r.Tables {
		if t.Setting != Headline || !t.points() || t.Pool == PoolMixed {
			continue
		}
		low, high := 0.0, 0.0
		var rows []figure.Row
		for _, row := range t.Rows {
			if score, sum := strings.CutPrefix(row.Name, sumPrefix); sum && !slices.Contains(drawnSums, score) {
				continue
			}
			v := figure.Row{Label: row.Name, Value: row.Tau.Mean, Low: math.NaN(), High: math.NaN(), Text: fmt.Sprintf("%.2f", row.Tau.Mean), Style: figure.Line{Color: toneOf(row.Name)}}
			low, high = min(low, v.Value), max(high, v.Value)
			if row.Tau.Low != nil {
				v.Low, v.High = *row.Tau.Low, *row.Tau.High
				low, high = min(low, v.Low), max(high, v.High)
			}
			rows = append(rows, v)
			if row.Name == priorName {
				facts = append(facts, fmt.Sprintf("%s (%d): %s %.2f", t.Pool, t.Models, row.Name, row.Tau.Mean))
			}
		}
		slices.SortStableFunc(rows, func(a, b figure.Row) int { return cmp.Compare(b.Value, a.Value) })
		low, high = math.Floor(low*10)/10, math.Ceil(high*10)/10
		stack.Rows = append(stack.Rows, figure.Rows{
			X:    figure.Axis{Label: "tau_w, " + t.Pool, Min: low, Max: high, Ticks: figure.LinearTicks(low, high, 4, nil)},
			Rows: rows,
		})
	}
	return figure.Figure{
		Name:    "rankings",
		Title:   "How well scores without fine-tuning rank the networks",
		Alt:     "Mean weighted Kendall correlation of each ranking with fine-tuned accuracy, with intervals. " + strings.Join(facts, "; ") + ".",
		Caption: "Black: static priors, which look at no image. Blue: scores. Green: both. " + r.Intervals + ".",
		Height:  stack.Height,
		Draw:    stack.Draw,
	}
}

// sumPrefix begins the names of sums of the prior and a score.
const sumPrefix = "prior + 0.5 "

// points tells whether accuracies are compared, not adjusted ones.
func (t *HubTable) points() bool { return t.Expert != "" }

// toneOf tells priors, scores and sums of both apart.
func toneOf(name string) color.NRGBA {
	switch {
	case name == published.Random:
		return figure.Grey
	case strings.HasPrefix(name, "static prior"):
		return figure.Black
	case strings.HasPrefix(name, sumPrefix):
		return figure.Green
	}
	return figure.Blue
}

// writeFigure writes the figure as SVG.
func writeFigure(path string, r *HubReport) error {
	var svg bytes.Buffer
	if err := figureOf(r).SVG(&svg); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, svg.Bytes())
}
