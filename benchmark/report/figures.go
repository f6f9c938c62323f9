package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot/vg"

	"quicktune/benchmark/replay"
	"quicktune/benchmark/stats"
	"quicktune/internal/cli"
	"quicktune/internal/figure"
	"quicktune/metadataset"
)

// timeName names the axis of time.
func (r *Report) timeName() string {
	switch {
	case r.Data.Unit == cli.Epochs:
		return "training epochs"
	case r.Clock == replay.Decision:
		return "training and decision time"
	}
	return "training time"
}

// timeAxis is the axis of the curves, logarithmic from the first time to the last.
func (r *Report) timeAxis() figure.Axis {
	times := r.Rows[0].Curve.Times
	a := figure.Axis{Label: r.timeName() + " (logarithmic)", Min: times[0], Max: times[len(times)-1], Log: true}
	if len(times) == 1 {
		a.Min /= 10
	}
	a.Ticks = timeTicks(r.Data.Unit, a.Min, a.Max, r.Budgets)
	return a
}

// caption says what the lines and bands are.
func (r *Report) caption() string {
	s := fmt.Sprintf("%s, %s each, %s", plural(len(r.Datasets), "data set"), plural(r.Seeds, "seed"), plural(r.Workers, "worker"))
	if len(r.Datasets) > 1 {
		s += "; bands: " + intervalTitle(r.Bootstrap) + " bootstrap over data sets"
	}
	return s
}

// overTime is a chart of a number of every method as time goes on.
func (r *Report) overTime(y figure.Axis, curve func(Row) stats.Curve) figure.Chart {
	ch := figure.Chart{Title: r.caption(), X: r.timeAxis(), Y: y, Marks: r.Budgets}
	for _, row := range r.Rows {
		c := curve(row)
		s := figure.Series{Label: row.Method.Title, Style: styleOf(row.Method.Name), X: c.Times}
		for _, p := range c.Points {
			s.Y, s.Low, s.High = append(s.Y, p.Mean), append(s.Low, p.Low), append(s.High, p.High)
		}
		ch.Series = append(ch.Series, s)
	}
	return ch
}

// chartHeight is that of a chart of so many lines.
func chartHeight(lines int) func(vg.Length) vg.Length {
	return func(width vg.Length) vg.Length {
		return max(min(300, max(230, 0.62*width)), 60+10.5*vg.Length(lines))
	}
}

// Regret is the figure of regret over time.
func (r *Report) Regret() figure.Figure {
	ch := r.overTime(figure.Axis{Label: "mean normalised regret", Max: r.highest()}, func(row Row) stats.Curve { return row.Curve })
	ch.Y.Ticks = figure.LinearTicks(0, ch.Y.Max, 4, nil)
	return figure.Figure{
		Name: "regret", Title: "Regret over time", Alt: r.altText(),
		Caption: "Mean normalised regret, lower is better; the budgets are marked.",
		Height:  chartHeight(len(r.Rows)), Draw: ch.Draw,
	}
}

// highest is the upper end of the axis of regret.
func (r *Report) highest() float64 {
	top := 0.0
	for _, row := range r.Rows {
		for _, p := range row.Curve.Points {
			top = max(top, p.Mean)
			if !math.IsNaN(p.High) {
				top = max(top, p.High)
			}
		}
	}
	if top <= 0 || top > 0.8 {
		return max(top, 1)
	}
	return top
}

// RankOverTime is the figure of ranks over time.
func (r *Report) RankOverTime() figure.Figure {
	k := float64(len(r.Rows))
	ch := r.overTime(figure.Axis{Label: "mean rank", Min: 1, Max: k, Ticks: figure.LinearTicks(1, k, min(5, len(r.Rows)-1), nil)}, func(row Row) stats.Curve { return row.Ranks })
	return figure.Figure{
		Name: "rank", Title: "Rank over time",
		Alt:     fmt.Sprintf("Mean rank of %s over %s; at the end: %s", plural(len(r.Rows), "method"), r.timeName(), r.lastRanks()),
		Caption: "Mean over data sets of the rank of the mean regret, 1 is the best; ties share their mean rank.",
		Height:  chartHeight(len(r.Rows)), Draw: ch.Draw,
	}
}

func (r *Report) lastRanks() string {
	var parts []string
	for _, row := range r.Rows {
		parts = append(parts, row.Method.Title+" "+number(row.Cells[len(row.Cells)-1].Rank.Mean, 2))
	}
	return strings.Join(parts, ", ")
}

// CriticalDifferences is the diagram of Demšar (2006), a method a row.
func (r *Report) CriticalDifferences() figure.Figure {
	k := len(r.Rows)
	rows := figure.Rows{
		X:      figure.Axis{Label: "mean rank at " + r.lastBudget() + ", 1 is best", Min: 1, Max: float64(k), Ticks: figure.LinearTicks(1, float64(k), min(5, k-1), nil)},
		Groups: r.Nemenyi.Cliques, Ruler: r.Nemenyi.Difference, RulerName: "critical difference",
	}
	for _, i := range r.Nemenyi.Order {
		row := r.Rows[i]
		rows.Rows = append(rows.Rows, figure.Row{
			Label: row.Method.Name, Value: r.Friedman.MeanRanks[i], Low: math.NaN(), High: math.NaN(),
			Text: number(r.Friedman.MeanRanks[i], 2), Style: styleOf(row.Method.Name),
		})
	}
	return figure.Figure{
		Name: "critical-differences", Title: "Which methods differ",
		Alt:     fmt.Sprintf("Critical-difference diagram at %s: %s; the critical difference is %.2f ranks", r.lastBudget(), r.lastRanks(), r.Nemenyi.Difference),
		Caption: fmt.Sprintf("Bars join methods whose mean ranks do not differ by the test of Nemenyi at %g %% (critical difference %.2f ranks for %s on %s). %s", 100*significance, r.Nemenyi.Difference, plural(k, "method"), plural(len(r.Datasets), "data set"), r.friedmanText()),
		Height:  rows.Height, Draw: rows.Draw,
	}
}

// friedmanText tells the outcome of Friedman's test.
func (r *Report) friedmanText() string {
	f := r.Friedman
	if math.IsInf(f.F, 1) {
		return "Friedman's test: the methods have the same order on every data set."
	}
	s := fmt.Sprintf("Friedman's test: chi-square %.2f, p %s; F of Iman and Davenport %.2f, p %s.", f.ChiSquare, equals(f.P), f.F, equals(f.PF))
	if f.PF > significance {
		s += " It does not tell any methods apart, so neither does the diagram."
	}
	return s
}

// equals writes a p value after its name: = 0.012, < 0.0001
func equals(p float64) string {
	if s := probability(p); s[0] == '<' {
		return "< " + s[1:]
	}
	return "= " + probability(p)
}

// probability writes a p value with two significant digits or more, down to
// 0.0001.
func probability(p float64) string {
	switch {
	case math.IsNaN(p):
		return "-"
	case p < 0.00005:
		return "<0.0001"
	case p < 0.01:
		return strconv.FormatFloat(p, 'f', 4, 64)
	}
	return strconv.FormatFloat(p, 'f', 3, 64)
}

func (r *Report) lastBudget() string {
	return cli.FormatBudget(r.Budgets[len(r.Budgets)-1], r.Data.Unit)
}

// key is the lines of all methods, for figures of several panels.
func (r *Report) key() []figure.Series {
	var out []figure.Series
	for _, row := range r.Rows {
		out = append(out, figure.Series{Label: row.Method.Name, Style: styleOf(row.Method.Name)})
	}
	return out
}

// everyDataset is a panel of regret over time for each data set.
func (r *Report) everyDataset() figure.Figure {
	times := thin(r.Rows[0].Curve.Times, 2)
	values := make([]*stats.Matrix, len(times))
	for i, t := range times {
		values[i] = r.last.regrets(t).Means()
	}
	x := r.timeAxis()
	x.Label = ""
	x.Ticks = nil
	for _, b := range r.Budgets {
		if b >= x.Min {
			x.Ticks = append(x.Ticks, figure.Tick{Value: b, Label: timeLabel(r.Data.Unit, b)})
		}
	}
	p := figure.Panels{Key: r.key(), High: 84, Least: 116}
	for d, name := range r.Datasets {
		ch := figure.Chart{Title: name, X: x, Y: figure.Axis{Max: 1, Ticks: []figure.Tick{{Value: 0, Label: "0"}, {Value: 0.5, Label: "0.5"}, {Value: 1, Label: "1"}}}, Marks: r.Budgets, Labels: figure.Nowhere}
		for _, row := range r.Rows {
			s := figure.Series{Style: styleOf(row.Method.Name), X: times}
			for i := range times {
				s.Y = append(s.Y, values[i].Values[row.index][d])
			}
			ch.Series = append(ch.Series, s)
		}
		p.Charts = append(p.Charts, ch)
	}
	return figure.Figure{
		Name: "datasets", Title: "Each data set",
		Alt:     fmt.Sprintf("Mean normalised regret over %s on each of %s; the table of data sets has the numbers at %s", r.timeName(), plural(len(r.Datasets), "data set"), r.lastBudget()),
		Caption: "Mean normalised regret over the seeds on each data set, from 0 (best) to 1, over " + r.timeName() + " (logarithmic, the budgets are marked).",
		Height:  p.Height, Draw: p.Draw,
	}
}

// thin keeps every n-th value and the last.
func thin(values []float64, n int) []float64 {
	var out []float64
	for i := 0; i < len(values)-1; i += n {
		out = append(out, values[i])
	}
	return append(out, values[len(values)-1])
}

// timesToTargets is the empirical distribution of the times to regrets.
func (r *Report) timesToTargets() figure.Figure {
	all := targets()
	ch := figure.Chart{Title: plural(len(all), "target") + " on each data set", X: r.timeAxis(), Y: figure.Axis{Label: "targets reached", Max: 1, Ticks: figure.LinearTicks(0, 1, 4, figure.Percent)}, Marks: r.Budgets}
	var parts []string
	for _, row := range r.Rows {
		ch.Series = append(ch.Series, figure.Series{Label: row.Method.Title, Style: styleOf(row.Method.Name), X: row.Curve.Times, Y: row.Reached})
		parts = append(parts, fmt.Sprintf("%s %.0f %%", row.Method.Title, 100*row.Reached[len(row.Reached)-1]))
	}
	return figure.Figure{
		Name: "targets", Title: "Targets reached over time",
		Alt:     fmt.Sprintf("Share of targets reached over %s; by %s: %s", r.timeName(), r.lastBudget(), strings.Join(parts, ", ")),
		Caption: fmt.Sprintf("Share of the regrets from %g to %g (equal ratios) that were reached, over all runs, each data set counting the same; higher is better.", all[len(all)-1], all[0]),
		Height:  chartHeight(len(r.Rows)), Draw: ch.Draw,
	}
}

// profiles shows how often each method stays below a regret.
func (r *Report) profiles() figure.Figure {
	top := 0.0
	for _, row := range r.Rows {
		top = max(top, slices.Max(row.PerSet))
	}
	if top <= 0 {
		top = 1
	}
	thresholds := make([]float64, 201)
	for i := range thresholds {
		thresholds[i] = top * float64(i) / float64(len(thresholds)-1)
	}
	x := figure.Axis{Label: "normalised regret at " + r.lastBudget(), Max: top, Ticks: figure.LinearTicks(0, top, 4, nil)}
	ch := figure.Chart{X: x, Y: figure.Axis{Label: "data sets", Max: 1, Ticks: figure.LinearTicks(0, 1, 4, figure.Percent)}}
	for _, row := range r.Rows {
		ch.Series = append(ch.Series, figure.Series{Label: row.Method.Title, Style: styleOf(row.Method.Name), X: thresholds, Y: stats.Profile(row.PerSet, thresholds), Steps: true})
	}
	ch.Labels = figure.InKey // all lines end at the top
	return figure.Figure{
		Name: "profiles", Title: "Performance profiles",
		Alt:     fmt.Sprintf("Share of data sets on which the regret at %s is at most a threshold, from 0 to %.2f, for %s", r.lastBudget(), top, plural(len(r.Rows), "method")),
		Caption: "Share of data sets on which the mean regret is at most the threshold; the higher the line, the better.",
		Height: func(width vg.Length) vg.Length {
			return max(220, 0.5*width) + figure.KeyHeight(ch.Series, width-10)
		}, Draw: ch.Draw,
	}
}

// epochsPerModel shows which networks a method trains.
func (r *Report) epochsPerModel() (figure.Figure, bool) {
	if r.pool == nil || len(r.pool.models) == 0 {
		return figure.Figure{}, false
	}
	h := figure.HeatMap{Rows: r.pool.models}
	most := 0.0
	for _, row := range r.Rows {
		for _, share := range row.Spent.Models {
			most = max(most, share)
		}
	}
	if most == 0 {
		return figure.Figure{}, false
	}
	for _, row := range r.Rows {
		h.Columns = append(h.Columns, row.Method.Name)
	}
	for m := range r.pool.models {
		cells := make([]figure.Cell, len(r.Rows))
		for i, row := range r.Rows {
			cells[i].Share = math.NaN()
			if row.Spent.Models != nil && row.Spent.Models[m] > 0 {
				share := row.Spent.Models[m]
				cells[i] = figure.Cell{Share: share / most, Label: number(100*share, 0)}
			}
		}
		h.Cells = append(h.Cells, cells)
	}
	return figure.Figure{
		Name: "models", Title: "What the epochs were spent on",
		Alt:     fmt.Sprintf("Heat map of the share of epochs that %s spent on each of %s", plural(len(r.Rows), "method"), plural(len(r.pool.models), "network")),
		Caption: "Share of the epochs of all runs to " + r.lastBudget() + ", in per cent, that each method spent on a network. An empty cell: none.",
		Height:  h.Height, Draw: h.Draw,
	}, true
}

// stoppedEarly shows how many curves a method leaves unfinished.
func (r *Report) stoppedEarly() (figure.Figure, bool) {
	rows := figure.Rows{X: figure.Axis{Label: "candidates left before their last epoch", Max: 1, Ticks: figure.LinearTicks(0, 1, 4, figure.Percent)}, Bars: true}
	var parts []string
	for _, row := range r.Rows {
		if math.IsNaN(row.Spent.Stopped) {
			return figure.Figure{}, false
		}
		text := fmt.Sprintf("%.0f %% of %.1f", 100*row.Spent.Stopped, row.Spent.Trials)
		rows.Rows = append(rows.Rows, figure.Row{Label: row.Method.Name, Value: row.Spent.Stopped, Text: text, Style: styleOf(row.Method.Name)})
		parts = append(parts, row.Method.Title+" "+text)
	}
	return figure.Figure{
		Name: "stopped", Title: "Curves stopped early",
		Alt:     "Share of the curves started that were left before their last stored epoch, of those a run starts: " + strings.Join(parts, ", "),
		Caption: "Share of the candidates started that were left before their last stored epoch, by choice or by the end of the budget; beside it, how many a run to " + r.lastBudget() + " starts.",
		Height:  rows.Height, Draw: rows.Draw,
	}, true
}

// decisionTimes shows what a decision takes.
func (r *Report) decisionTimes() (figure.Figure, bool) {
	rows := figure.Rows{X: figure.Axis{Label: "time of a decision (logarithmic)", Log: true}}
	lo, hi := math.Inf(1), 0.0
	var parts []string
	for _, row := range r.Rows {
		s := row.Spent.DecisionSeconds
		if !(s > 0) {
			continue
		}
		lo, hi = min(lo, s), max(hi, s)
		rows.Rows = append(rows.Rows, figure.Row{Label: row.Method.Name, Value: s, Low: math.NaN(), High: math.NaN(), Text: duration(s), Style: styleOf(row.Method.Name)})
		parts = append(parts, row.Method.Title+" "+duration(s))
	}
	if len(rows.Rows) == 0 {
		return figure.Figure{}, false
	}
	rows.X.Min, rows.X.Max = math.Pow(10, math.Floor(math.Log10(lo))), math.Pow(10, math.Ceil(math.Log10(hi)))
	if rows.X.Min == rows.X.Max {
		rows.X.Max *= 10
	}
	for v := rows.X.Min; v <= rows.X.Max*1.001; v *= 10 {
		rows.X.Ticks = append(rows.X.Ticks, figure.Tick{Value: v, Label: duration(v)})
	}
	return figure.Figure{
		Name: "decisions", Title: "Decision times",
		Alt:     "Real time of a decision: " + strings.Join(parts, ", "),
		Caption: "Real time of a decision, all calls of the method divided by its decisions, as measured while the traces were made: it depends on that machine and on what else ran on it.",
		Height:  rows.Height, Draw: rows.Draw,
	}, true
}

// duration writes a short time: 3 µs, 1.5 ms, 20 s.
func duration(seconds float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}} {
		if seconds >= 0.9995*u.size {
			return strconv.FormatFloat(seconds/u.size, 'g', 3, 64) + " " + u.name
		}
	}
	return strconv.FormatFloat(seconds/1e-9, 'g', 3, 64) + " ns"
}

// chosenCurves shows the learning curves of the configurations that the methods
// ended with.
func (r *Report) chosenCurves() (figure.Figure, bool) {
	if r.pool == nil {
		return figure.Figure{}, false
	}
	s := r.pool.store
	longest := float64(max(2, s.Manifest.MaxEpochs))
	format := figure.Percent
	if s.Manifest.Metric.Goal != metadataset.Maximize {
		format = nil // a loss
	}
	p := figure.Panels{Key: r.key(), High: 84, Least: 116}
	for d, name := range r.Datasets {
		ch := figure.Chart{Title: name, Labels: figure.Nowhere, X: figure.Axis{Min: 1, Max: longest, Ticks: []figure.Tick{{Value: 1, Label: "1"}, {Value: longest, Label: "epoch " + fmt.Sprint(longest)}}}}
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, row := range r.Rows {
			traces := r.last.traces[row.index][d]
			if len(traces) == 0 {
				continue
			}
			first := slices.MinFunc(traces, func(a, b *replay.Trace) int { return int(a.Seed) - int(b.Seed) })
			if len(first.Points) == 0 {
				continue
			}
			chosen := first.Points[len(first.Points)-1]
			line := figure.Series{Style: styleOf(row.Method.Name)}
			mark := figure.Series{Style: line.Style, Dots: true}
			for e, v := range s.Score(r.pool.candidate(name, int32(chosen.Candidate)).curve) {
				y := float64(v)
				if math.IsNaN(y) || math.IsInf(y, 0) {
					continue
				}
				lo, hi = min(lo, y), max(hi, y)
				line.X, line.Y = append(line.X, float64(e+1)), append(line.Y, y)
				if e+1 == chosen.Epoch {
					mark.X, mark.Y = []float64{float64(e + 1)}, []float64{y}
				}
			}
			ch.Series = append(ch.Series, mark, line)
		}
		if math.IsInf(lo, 1) {
			continue
		}
		if lo == hi {
			lo, hi = lo-0.05, hi+0.05
		}
		ch.Y = figure.Axis{Min: lo, Max: hi, Ticks: figure.LinearTicks(lo, hi, 2, format)}
		p.Charts = append(p.Charts, ch)
	}
	if len(p.Charts) == 0 {
		return figure.Figure{}, false
	}
	metric := strings.Replace(strings.ReplaceAll(string(s.Manifest.Metric.Column), "_", " "), "val ", "validation ", 1)
	return figure.Figure{
		Name: "chosen", Title: "Learning curves of what was chosen",
		Alt:     fmt.Sprintf("Stored learning curves, %s over epochs, of the configurations that %s ended with on each data set", metric, plural(len(r.Rows), "method")),
		Caption: fmt.Sprintf("Whole stored curve (%s over epochs) of the configuration that the first seed of each method ended with; the dot is the epoch it had found by %s. Each panel has its own vertical axis.", metric, r.lastBudget()),
		Height:  p.Height, Draw: p.Draw,
	}, true
}

// timeTicks marks the budgets and, where there is room, round times between
// them.
func timeTicks(unit cli.TimeUnit, lo, hi float64, budgets []float64) []figure.Tick {
	values := make([]float64, 0, 16)
	for _, b := range budgets {
		if b >= lo && b <= hi {
			values = append(values, b)
		}
	}
	candidates := roundTimes
	if unit == cli.Epochs {
		candidates = nil
		for v := 1.0; v <= hi; v *= 10 {
			candidates = append(candidates, v, 3*v)
		}
	}
	for _, v := range candidates {
		near := slices.ContainsFunc(values, func(o float64) bool { return max(o/v, v/o) < 2 })
		if v >= lo && v <= hi && !near {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	ticks := make([]figure.Tick, len(values))
	for i, v := range values {
		ticks[i] = figure.Tick{Value: v, Label: timeLabel(unit, v)}
	}
	return ticks
}

// roundTimes are about a factor of 4 apart, in seconds.
var roundTimes = []float64{
	0.01, 0.04, 0.15, 0.5, 1, 4, 15, 60, 4 * 60, 15 * 60, 3600, 4 * 3600, 16 * 3600,
	3 * 86400, 10 * 86400, 30 * 86400, 120 * 86400, 480 * 86400,
}

// timeLabel writes a time with its unit: 15 min, 4 h, 300 epochs.
func timeLabel(unit cli.TimeUnit, v float64) string {
	if unit == cli.Epochs {
		return thousands(int(v))
	}
	for _, u := range []struct {
		seconds float64
		name    string
	}{{86400, "d"}, {3600, "h"}, {60, "min"}} {
		if n := v / u.seconds; n >= 1 && n == math.Trunc(n) && (u.name != "d" || n >= 2) {
			return strconv.FormatFloat(n, 'f', -1, 64) + " " + u.name
		}
	}
	if v >= 60 {
		return cli.FormatSeconds(v)
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + " s"
}
