package report

import (
	"encoding/csv"
	"io"
	"math"
	"strconv"

	"quicktune/internal/cli"
)

// CSV is a table of a report for other programs, with every digit. Unknown
// numbers are empty.
type CSV struct {
	Name string // of its file, without extension
	rows [][]string
}

// Write writes the table, its head first.
func (t CSV) Write(w io.Writer) error { return csv.NewWriter(w).WriteAll(t.rows) }

// Tables returns the numbers of the report.
func (r *Report) Tables() []CSV {
	methods := CSV{"methods", [][]string{{
		"method", "budget", "regret", "regret_low", "regret_high", "rank", "rank_low", "rank_high", "regret_iqm", "regret_median", "data_sets", "regret_nested_low", "regret_nested_high",
	}}}
	paired := CSV{"paired", [][]string{{
		"method", "against", "budget", "difference", "difference_low", "difference_high", "better", "equal", "worse",
		"wilcoxon", "p", "p_holm", "probability_of_improvement",
	}}}
	for b, budget := range r.Budgets {
		label := cli.FormatBudget(budget, r.Data.Unit)
		for _, row := range r.Rows {
			c := row.Cells[b]
			methods.rows = append(methods.rows, append([]string{row.Method.Name, label}, exact(
				c.Regret.Mean, c.Regret.Low, c.Regret.High, c.Rank.Mean, c.Rank.Low, c.Rank.High, c.IQM, c.Median, float64(c.Regret.N), c.Nested.Low, c.Nested.High)...))
			if row.Method.Name == r.Against || r.Against == "" {
				continue
			}
			p := c.Paired
			paired.rows = append(paired.rows, append([]string{row.Method.Name, r.Against, label}, exact(
				p.Difference.Mean, p.Difference.Low, p.Difference.High, float64(p.Better), float64(p.Equal), float64(p.Worse),
				p.Test.Statistic, p.Test.P, p.Holm, p.Improvement.Mean)...))
		}
	}
	pairs := CSV{"pairs", [][]string{{"method", "other", "wilcoxon_p", "holm_p", "nemenyi_p"}}}
	datasets := CSV{"datasets", [][]string{{"data_set", "method", "budget", "regret"}}}
	curves := CSV{"curves", [][]string{{
		"method", "time", "regret", "regret_low", "regret_high", "rank", "rank_low", "rank_high", "targets_reached",
	}}}
	spent := CSV{"spent", [][]string{{"method", "trials", "epochs", "decisions", "idle_share", "stopped_share", "decision_seconds"}}}
	for i, row := range r.Rows {
		for j := range i {
			pairs.rows = append(pairs.rows, append([]string{row.Method.Name, r.Rows[j].Method.Name}, exact(r.Wilcoxon[i][j], r.Holm[i][j], r.Nemenyi.P[i][j])...))
		}
		for d, name := range r.Datasets {
			datasets.rows = append(datasets.rows, append([]string{name, row.Method.Name, r.lastBudget()}, exact(row.PerSet[d])...))
		}
		for k, at := range row.Curve.Times {
			g, n := row.Curve.Points[k], row.Ranks.Points[k]
			curves.rows = append(curves.rows, append([]string{row.Method.Name}, exact(at, g.Mean, g.Low, g.High, n.Mean, n.Low, n.High, row.Reached[k])...))
		}
		s := row.Spent
		spent.rows = append(spent.rows, append([]string{row.Method.Name}, exact(s.Trials, s.Epochs, s.Decisions, s.Idle, s.Stopped, s.DecisionSeconds)...))
	}
	list := []CSV{methods, datasets, curves, spent}
	if r.Against != "" {
		list = append(list, paired, pairs)
	}
	return list
}

func exact(values ...float64) []string {
	out := make([]string, len(values))
	for i, v := range values {
		if !math.IsNaN(v) {
			out[i] = strconv.FormatFloat(v, 'g', -1, 64)
		}
	}
	return out
}
