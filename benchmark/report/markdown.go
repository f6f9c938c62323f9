package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"quicktune/benchmark/replay"
	"quicktune/benchmark/stats"
	"quicktune/internal/cli"
)

// Markdown writes the whole report. figure is the address of the figure beside
// it, "" to leave it out.
func (r *Report) Markdown(w io.Writer, figure string) error {
	var b strings.Builder
	var notes footnotes
	last := cli.FormatBudget(r.Budgets[len(r.Budgets)-1], r.Data.Unit)

	fmt.Fprintf(&b, "# %s\n\n", r.Title)
	fmt.Fprintf(&b, "%s on %s, %s each. Rows are in order of the regret at %s.\n\n",
		plural(len(r.Rows), "method"), plural(len(r.Datasets), "data set"), plural(r.Seeds, "seed"), last)
	if figure != "" {
		fmt.Fprintf(&b, "![%s](%s)\n\n", r.altText(), figure)
	}

	fmt.Fprintf(&b, "## Normalised regret\n\nMean over data sets [%s interval], lower is better.\n\n", intervalTitle(r.Bootstrap))
	r.cellTable(&b, &notes, func(c Cell) stats.Summary { return c.Regret }, 3)
	fmt.Fprintf(&b, "## Rank\n\nMean over data sets [%s interval], 1 is best.\n\n", intervalTitle(r.Bootstrap))
	r.cellTable(&b, &notes, func(c Cell) stats.Summary { return c.Rank }, 2)

	fmt.Fprintf(&b, "## Each data set at %s\n\nMean normalised regret.\n\n", last)
	head := []string{"data set"}
	for _, row := range r.Rows {
		head = append(head, row.Method.Name)
	}
	t := table{head}
	for d, name := range r.Datasets {
		line := []string{name}
		for _, row := range r.Rows {
			line = append(line, number(row.PerSet[d], 3))
		}
		t = append(t, line)
	}
	t.markdown(&b)

	fmt.Fprintf(&b, "## What a run to %s spends\n\nMeans over all runs.\n\n", last)
	t = table{{"method", "trials", "epochs", "epochs a trial", "decisions", "idle"}}
	for _, row := range r.Rows {
		s := row.Spent
		t = append(t, []string{
			row.Method.Name, number(s.Trials, 1), number(s.Epochs, 1), number(s.Epochs/s.Trials, 1), number(s.Decisions, 1),
			number(100*s.Idle, 1) + " %",
		})
	}
	t.markdown(&b)

	b.WriteString("## Methods\n\n")
	methods := slices.Clone(r.Rows)
	slices.SortFunc(methods, func(a, b Row) int { return cmp.Compare(a.Method.Name, b.Method.Name) })
	for _, row := range methods {
		m := row.Method
		fmt.Fprintf(&b, "- **%s** (`%s`)", m.Title, m.Name)
		for _, text := range []string{m.Details, m.Source} {
			if text != "" {
				fmt.Fprintf(&b, "; %s", text)
			}
		}
		b.WriteString("\n")
	}

	r.learningTable(&b)
	b.WriteString("\n## How to read the numbers\n\n")
	b.WriteString("- Normalised regret: (best - incumbent)/(best - worst), with the best and the worst score over all epochs of all curves of the data set. ")
	b.WriteString("The incumbent is the best score among the epochs finished by then; before the first, it is 0 for accuracies, so that a regret may exceed 1, and the worst score for losses.\n")
	fmt.Fprintf(&b, "- Means are over data sets; seeds are averaged within a data set first, so N = %d.\n", len(r.Datasets))
	fmt.Fprintf(&b, "- Intervals: %s.\n", r.Bootstrap)
	b.WriteString("- Ranks are those of the mean regrets on a data set: 1 is the lowest, ties get their mean rank.\n")
	b.WriteString("- " + r.timeRule() + "\n")
	for _, warning := range r.Warnings {
		fmt.Fprintf(&b, "- %s.\n", upperFirst(warning.Error()))
	}

	b.WriteString("\n## Data\n\n")
	d := r.Data
	fmt.Fprintf(&b, "- %s: %s, %s, %s, %s\n", d.Name, plural(d.Datasets, "data set"), plural(d.Curves, "curve"), plural(d.Epochs, "epoch"), totalTime(d))
	if d.Exclude != "" {
		fmt.Fprintf(&b, "- Excluded from the choice: %s\n", d.Exclude)
	}
	for _, note := range d.Notes {
		fmt.Fprintf(&b, "- %s\n", upperFirst(note))
	}
	fmt.Fprintf(&b, "- SHA-256: `%s`\n", d.Hash)

	b.WriteString("\n## Reproduce\n\n")
	fmt.Fprintf(&b, "```\n%s\n```\n\n", r.Command)
	fmt.Fprintf(&b, "- %s, %s clock\n", plural(r.Workers, "simulated worker"), r.Clock)
	if r.Clock == replay.Decision {
		fmt.Fprintf(&b, "- SHA-256 of the traces, which differs from run to run on this clock: `%s`\n", r.TraceHash)
	} else {
		fmt.Fprintf(&b, "- SHA-256 of the traces: `%s`\n", r.TraceHash)
	}
	for i, text := range notes.texts {
		fmt.Fprintf(&b, "\n[^%d]: %s\n", i+1, upperFirst(text)+".")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cellTable writes one row a method and one column a budget.
func (r *Report) cellTable(b *strings.Builder, notes *footnotes, of func(Cell) stats.Summary, decimals int) {
	head := []string{"method"}
	for _, budget := range r.Budgets {
		head = append(head, cli.FormatBudget(budget, r.Data.Unit))
	}
	t := table{head}
	for _, row := range r.Rows {
		line := []string{row.Method.Title + references(notes.mark(row.Warnings))}
		for _, c := range row.Cells {
			s := of(c)
			text := number(s.Mean, decimals)
			if !math.IsNaN(s.Low) {
				text += " " + interval(s, decimals)
			}
			line = append(line, text+references(notes.mark(s.Warnings)))
		}
		t = append(t, line)
	}
	t.markdown(b)
}

// learningTable says what methods learnt from before they searched.
func (r *Report) learningTable(b *strings.Builder) {
	if len(r.Learning) == 0 {
		return
	}
	b.WriteString("\n## What was learnt from other data sets\n\n")
	b.WriteString("No method learns from a data set that it is tested on. The key names all that was learnt from, in the cache of models.\n\n")
	t := table{{"method", "tested on", "learnt from", "validated on", "seconds", "key"}}
	for _, l := range r.Learning {
		t = append(t, []string{
			l.Method, strings.Join(l.Test, " "), strings.Join(l.Train, " "), strings.Join(l.Validation, " "),
			number(l.Seconds, 1), "`" + l.Key + "`",
		})
	}
	t.markdown(b)
}

// markdown writes t with its first row as the head.
func (t table) markdown(b *strings.Builder) {
	line := func(cells []string) {
		b.WriteString("|")
		for _, cell := range cells {
			b.WriteString(" " + strings.ReplaceAll(cell, "|", `\|`) + " |")
		}
		b.WriteString("\n")
	}
	line(t[0])
	b.WriteString("|---|" + strings.Repeat("---:|", len(t[0])-1) + "\n")
	for _, row := range t[1:] {
		line(row)
	}
	b.WriteString("\n")
}

// altText says in one sentence what the figure shows.
func (r *Report) altText() string {
	var parts []string
	for _, row := range r.Rows {
		c := row.Cells[len(row.Cells)-1]
		parts = append(parts, row.Method.Title+" "+number(c.Regret.Mean, 3))
	}
	return fmt.Sprintf("Mean normalised regret over %s on a logarithmic axis; at %s: %s",
		timeName(r), cli.FormatBudget(r.Budgets[len(r.Budgets)-1], r.Data.Unit), strings.Join(parts, ", "))
}

// timeRule says what time counts.
func (r *Report) timeRule() string {
	epochs := "the recorded time of the epochs"
	if r.Data.Unit == cli.Epochs {
		epochs = "the number of epochs, each counting 1"
	}
	if r.Clock == replay.Decision {
		return "Time is " + epochs + ", plus the measured seconds of the decisions, so it depends on the machine."
	}
	return "Time is " + epochs + "; decisions are free."
}

// totalTime writes the time of all epochs together.
func totalTime(d Data) string {
	if d.Unit == cli.Epochs {
		return "no times: each epoch counts 1"
	}
	return groupDecimal(number(d.Time/3600, 1)) + " hours"
}

// groupDecimal separates the thousands of a number with one decimal.
func groupDecimal(s string) string {
	whole, fraction, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return whole + "." + fraction
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
