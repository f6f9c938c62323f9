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
	"quicktune/internal/figure"
	"quicktune/metadataset/networks"
)

// Markdown writes the whole report. dir is the address of the folder with its
// figures, "" to leave them out.
func (r *Report) Markdown(w io.Writer, dir string) error { return r.Page().Markdown(w, dir) }

// HTML writes the whole report as one file.
func (r *Report) HTML(w io.Writer) error { return r.Page().HTML(w) }

// Page is the whole report.
func (r *Report) Page() *Page {
	p := &Page{Title: r.Title}
	var notes footnotes
	p.Text(fmt.Sprintf("%s on %s, %s each. Rows are in order of the regret at %s.",
		plural(len(r.Rows), "method"), plural(len(r.Datasets), "data set"), plural(r.Seeds, "seed"), r.lastBudget()))

	p.Heading(2, "Normalised regret")
	p.Figure(r.Regret())
	p.Text(fmt.Sprintf("Mean over data sets [%s interval], lower is better.", intervalTitle(r.Bootstrap)))
	p.Table(r.cellTable(&notes, func(c Cell) stats.Summary { return c.Regret }, 3))
	p.Text(fmt.Sprintf("At %s: the mean with an interval over data sets and the seeds within, interquartile mean and median over data sets, and the mean regret over the logarithm of time.", r.lastBudget()))
	p.Table(r.aggregates())

	p.Heading(2, "Rank")
	if len(r.Rows) > 1 {
		p.Figure(r.RankOverTime())
	}
	p.Text(fmt.Sprintf("Mean over data sets [%s interval], 1 is best.", intervalTitle(r.Bootstrap)))
	p.Table(r.cellTable(&notes, func(c Cell) stats.Summary { return c.Rank }, 2))

	if r.Against != "" {
		r.tests(p, &notes)
	}

	p.Heading(2, "Targets and profiles")
	p.Figure(r.timesToTargets())
	p.Figure(r.profiles())

	p.Heading(2, "Each data set")
	p.Figure(r.everyDataset())
	p.Text(fmt.Sprintf("Mean normalised regret at %s.", r.lastBudget()))
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
	p.Table(t)

	p.Heading(2, "What a run to "+r.lastBudget()+" spends")
	p.Text("Means over all runs.")
	t = table{{"method", "trials", "epochs", "epochs a trial", "decisions", "idle"}}
	for _, row := range r.Rows {
		s := row.Spent
		t = append(t, []string{
			row.Method.Name, number(s.Trials, 1), number(s.Epochs, 1), number(s.Epochs/s.Trials, 1), number(s.Decisions, 1),
			number(100*s.Idle, 1) + " %",
		})
	}
	p.Table(t)
	for _, draw := range []func() (figure.Figure, bool){r.stoppedEarly, r.epochsPerModel, r.decisionTimes} {
		if f, ok := draw(); ok {
			p.Heading(3, f.Title)
			p.Figure(f)
		}
	}
	if f, ok := r.chosenCurves(); ok {
		p.Heading(2, f.Title)
		p.Figure(f)
	}
	if r.Calibration != nil && len(r.Calibration.Forecasts) > 0 {
		p.Heading(2, "Forecasts")
		for _, f := range r.Calibration.Figures() {
			p.Heading(3, f.Title)
			p.Figure(f)
		}
	}
	r.hub(p)

	p.Heading(2, "Methods")
	methods := slices.Clone(r.Rows)
	slices.SortFunc(methods, func(a, b Row) int { return cmp.Compare(a.Method.Name, b.Method.Name) })
	var items []string
	for _, row := range methods {
		item := fmt.Sprintf("**%s** (`%s`)", row.Method.Title, row.Method.Name)
		for _, text := range []string{row.Method.Details, row.Method.Source} {
			if text != "" {
				item += "; " + text
			}
		}
		items = append(items, item)
	}
	p.List(items...)
	r.learning(p)

	p.Heading(2, "How to read the numbers")
	items = []string{
		"Normalised regret: (best - incumbent)/(best - worst), with the best and the worst score over all epochs of all curves of the data set. " +
			"The incumbent is the best score among the epochs finished by then; before the first, it is 0 for accuracies, so that a regret may exceed 1, and the worst score for losses.",
		fmt.Sprintf("Means are over data sets; seeds are averaged within a data set first, so N = %d.", len(r.Datasets)),
		fmt.Sprintf("Intervals: %s.", r.Bootstrap),
		"Ranks are those of the mean regrets on a data set: 1 is the lowest, ties get their mean rank.",
	}
	if r.Against != "" {
		items = append(items,
			"Tests: Friedman with ties corrected; Nemenyi by the studentised range; Wilcoxon's signed-rank test of the mean regrets, two-sided, without the zeros, exact up to 50 data sets; Holm's adjustment over the comparisons of one table and budget.")
	}
	items = append(items, r.timeRule())
	for _, warning := range r.Warnings {
		items = append(items, upperFirst(warning.Error())+".")
	}
	p.List(items...)

	p.Heading(2, "Data")
	d := r.Data
	items = []string{fmt.Sprintf("%s: %s, %s, %s, %s", d.Name, plural(d.Datasets, "data set"), plural(d.Curves, "curve"), plural(d.Epochs, "epoch"), totalTime(d))}
	if d.Exclude != "" {
		items = append(items, "Excluded from the choice: "+d.Exclude)
	}
	for _, note := range d.Notes {
		items = append(items, upperFirst(note))
	}
	p.List(append(items, fmt.Sprintf("SHA-256: `%s`", d.Hash))...)

	p.Heading(2, "Reproduce")
	p.Code(r.Command)
	hash := fmt.Sprintf("SHA-256 of the traces: `%s`", r.TraceHash)
	if r.Clock == replay.Decision {
		hash = fmt.Sprintf("SHA-256 of the traces, which differs from run to run on this clock: `%s`", r.TraceHash)
	}
	p.List(fmt.Sprintf("%s, %s clock", plural(r.Workers, "simulated worker"), r.Clock), hash)
	for _, text := range notes.texts {
		p.Notes = append(p.Notes, upperFirst(text)+".")
	}
	return p
}

// tests adds what the tests over data sets say.
func (r *Report) tests(p *Page, notes *footnotes) {
	p.Heading(2, "Differences between methods")
	p.Figure(r.CriticalDifferences())
	if refs := references(notes.mark(r.Friedman.Warnings)); refs != "" {
		p.Text("The tests of Friedman and Nemenyi are to be read with a note." + refs)
	}
	p.Heading(3, "Against "+r.Against)
	p.Text(fmt.Sprintf("Difference of the mean regrets [%s interval], below 0 where the method is better than `%s`; on how many data sets it is better, equal, worse; "+
		"p of Wilcoxon's signed-rank test and its adjustment by Holm; the probability that a run is better.", intervalTitle(r.Bootstrap), r.Against))
	p.Table(r.pairedTable(notes))
	if len(r.Rows) > 2 {
		p.Heading(3, "All pairs at "+r.lastBudget())
		p.Text("p of Wilcoxon's signed-rank test, adjusted by Holm for all pairs.")
		head := []string{"method"}
		for _, row := range r.Rows {
			head = append(head, row.Method.Name)
		}
		t := table{head}
		for i, row := range r.Rows {
			line := []string{row.Method.Name}
			for j := range r.Rows {
				if i == j {
					line = append(line, "")
				} else {
					line = append(line, probability(r.Holm[i][j]))
				}
			}
			t = append(t, line)
		}
		p.Table(t)
	}
}

// PairedTable compares all methods with that of Against, in each budget.
func (r *Report) PairedTable() [][]string { return r.pairedTable(&footnotes{}) }

func (r *Report) pairedTable(notes *footnotes) table {
	t := table{{"method", "budget", "difference", "better", "equal", "worse", "p", "p (Holm)", "P(better)"}}
	for b, budget := range r.Budgets {
		for _, row := range r.Rows {
			if row.Method.Name == r.Against {
				continue
			}
			c := row.Cells[b].Paired
			difference := number(c.Difference.Mean, 3)
			if !math.IsNaN(c.Difference.Low) {
				difference += " " + interval(c.Difference, 3)
			}
			t = append(t, []string{
				row.Method.Name + references(notes.mark(c.Test.Warnings)), cli.FormatBudget(budget, r.Data.Unit), difference,
				fmt.Sprint(c.Better), fmt.Sprint(c.Equal), fmt.Sprint(c.Worse), probability(c.Test.P), probability(c.Holm), number(c.Improvement.Mean, 2),
			})
		}
	}
	return t
}

// aggregates is a table of further means at the last budget.
func (r *Report) aggregates() table {
	t := table{{"method", "mean [with seeds]", "interquartile mean", "median", "over log time"}}
	for _, row := range r.Rows {
		c := row.Cells[len(row.Cells)-1]
		t = append(t, []string{row.Method.Title, withInterval(c.Nested), number(c.IQM, 3), number(c.Median, 3), withInterval(row.Area)})
	}
	return t
}

// withInterval is a mean and, if it is known, its interval.
func withInterval(s stats.Summary) string {
	text := number(s.Mean, 3)
	if !math.IsNaN(s.Low) {
		text += " " + interval(s, 3)
	}
	return text
}

// hub adds which networks are best where.
func (r *Report) hub(p *Page) {
	if r.pool == nil {
		return
	}
	ranking, err := networks.Rank(r.pool.store)
	if err != nil {
		return // no networks to rank
	}
	p.Heading(2, "The networks to choose from")
	f := ranking.HeatMap()
	p.Heading(3, f.Title)
	p.Figure(f)
	if f, ok := ranking.Pareto(); ok {
		p.Heading(3, f.Title)
		p.Figure(f)
	}
}

// cellTable has one row a method and one column a budget.
func (r *Report) cellTable(notes *footnotes, of func(Cell) stats.Summary, decimals int) table {
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
	return t
}

// learning says what methods learnt from before they searched.
func (r *Report) learning(p *Page) {
	if len(r.Learning) == 0 {
		return
	}
	p.Heading(2, "What was learnt from other data sets")
	p.Text("No method learns from a data set that it is tested on. The key names all that was learnt from, in the cache of models.")
	t := table{{"method", "tested on", "learnt from", "validated on", "seconds", "key"}}
	for _, l := range r.Learning {
		t = append(t, []string{
			l.Method, strings.Join(l.Test, " "), strings.Join(l.Train, " "), strings.Join(l.Validation, " "),
			number(l.Seconds, 1), "`" + l.Key + "`",
		})
	}
	p.Table(t)
}

// altText says in one sentence what the figure of regret shows.
func (r *Report) altText() string {
	var parts []string
	for _, row := range r.Rows {
		c := row.Cells[len(row.Cells)-1]
		parts = append(parts, row.Method.Title+" "+number(c.Regret.Mean, 3))
	}
	return fmt.Sprintf("Mean normalised regret over %s on a logarithmic axis; at %s: %s", r.timeName(), r.lastBudget(), strings.Join(parts, ", "))
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
