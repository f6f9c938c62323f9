package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"quicktune/benchmark/stats"
	"quicktune/internal/cli"
)

// Text writes the table for the terminal: a line of settings, one row a method
// and the footnotes.
func (r *Report) Text(w io.Writer) error {
	var notes footnotes
	head := []string{"", ""}
	under := []string{"", "method"}
	for _, b := range r.Budgets {
		head = append(head, cli.FormatBudget(b, r.Data.Unit), "", "")
		under = append(under, "regret", intervalTitle(r.Bootstrap), "rank")
	}
	t := table{head[1:], under[1:]}
	for _, row := range r.Rows {
		cells := []string{row.Method.Name + superscript(notes.mark(row.Warnings))}
		for _, c := range row.Cells {
			cells = append(cells, number(c.Regret.Mean, 3), interval(c.Regret, 3)+superscript(notes.mark(c.Regret.Warnings)), number(c.Rank.Mean, 2))
		}
		t = append(t, cells)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "mean normalised regret and mean rank over %s, %s each, %s, %s clock\n\n",
		plural(len(r.Datasets), "data set"), plural(r.Seeds, "seed"), plural(r.Workers, "worker"), r.Clock)
	t.write(&b)
	if r.Against != "" {
		r.pairedText(&b, &notes)
	}
	if len(notes.texts)+len(r.Warnings) > 0 {
		b.WriteByte('\n')
	}
	for i, text := range notes.texts {
		fmt.Fprintf(&b, "%s %s\n", superscript([]int{i + 1}), text)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(&b, "note: %s\n", warning)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// pairedText writes the comparison of all methods with one.
func (r *Report) pairedText(b *strings.Builder, notes *footnotes) {
	head, under := []string{""}, []string{"method"}
	for _, budget := range r.Budgets {
		head = append(head, cli.FormatBudget(budget, r.Data.Unit), "", "")
		under = append(under, "difference", "+/=/-", "p")
	}
	t := table{head, under}
	for _, row := range r.Rows {
		if row.Method.Name == r.Against {
			continue
		}
		cells := []string{row.Method.Name}
		for _, c := range row.Cells {
			p := c.Paired
			cells = append(cells, number(p.Difference.Mean, 3), fmt.Sprintf("%d/%d/%d", p.Better, p.Equal, p.Worse), probability(p.Holm)+superscript(notes.mark(p.Test.Warnings)))
		}
		t = append(t, cells)
	}
	adjusted := ""
	if len(r.Rows) > 2 {
		adjusted = ", adjusted by Holm for " + plural(len(r.Rows)-1, "comparison")
	}
	fmt.Fprintf(b, "\nagainst %s: difference of regrets, data sets on which better/equal/worse,\np of Wilcoxon's signed-rank test%s\n\n", r.Against, adjusted)
	t.write(b)
}

// table is rows of cells of equal number. The first column is aligned to the
// left, all others to the right.
type table [][]string

func (t table) write(b *strings.Builder) {
	widths := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			switch {
			case i == 0:
				line.WriteString(cell + pad)
			default:
				line.WriteString("  " + pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// intervalTitle heads the columns of intervals: 95 %
func intervalTitle(b stats.Bootstrap) string {
	level := b.Level
	if level == 0 {
		level = 0.95
	}
	return strconv.FormatFloat(100*level, 'g', -1, 64) + " %"
}

// number writes v with some decimals, and an unknown v as a dash.
func number(v float64, decimals int) string {
	if math.IsNaN(v) {
		return "-"
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// interval writes the interval of s: [0.164, 0.289]
func interval(s stats.Summary, decimals int) string {
	if math.IsNaN(s.Low) || math.IsNaN(s.High) {
		return "-"
	}
	return "[" + number(s.Low, decimals) + ", " + number(s.High, decimals) + "]"
}

// plural writes a number of things: 1 seed, 20 data sets.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return thousands(n) + " " + thing + "s"
}

// thousands separates groups of three digits: 106,180
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
