package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"quicktune/internal/figure"
)

// Figures returns the heat map of ranks and, where source accuracies are known,
// the Pareto plot.
func (r *Report) Figures() []figure.Figure {
	list := []figure.Figure{r.HeatMap()}
	if f, ok := r.Pareto(); ok {
		list = append(list, f)
	}
	return list
}

// Markdown writes the report as text with a table and links to the figures.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", r.Name)
	for _, line := range r.Summary() {
		fmt.Fprintf(&b, "%s\n", line)
	}
	for _, f := range r.Figures() {
		fmt.Fprintf(&b, "\n![%s](%s.svg)\n", f.Alt, f.Name)
	}
	b.WriteString("\nBest validation accuracy, in per cent:\n\n| network | parameters | source accuracy | mean rank | wins |")
	for _, d := range r.Datasets {
		fmt.Fprintf(&b, " %s |", strings.ReplaceAll(d, "|", `\|`))
	}
	b.WriteString("\n|---|---:|---:|---:|---:|" + strings.Repeat("---:|", len(r.Datasets)) + "\n")
	for _, n := range r.Networks {
		params, accuracy := "", ""
		if !math.IsNaN(n.Params) {
			params = fmt.Sprintf("%.0f", n.Params*1e6)
		}
		if !math.IsNaN(n.SourceAccuracy) {
			accuracy = fmt.Sprintf("%.1f", 100*n.SourceAccuracy)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %.1f | %s |", strings.ReplaceAll(n.Name, "|", `\|`), params, accuracy, n.MeanRank, number(n.Wins))
		for _, v := range n.Best {
			if math.IsNaN(v) {
				b.WriteString(" |")
			} else {
				fmt.Fprintf(&b, " %.1f |", 100*v)
			}
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
