package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"quicktune/benchmark/stats"
	"quicktune/internal/figure"
)

// Ablation is what the forms of a method reach, for a page.
type Ablation struct {
	Title   string
	Data    string // of the meta-dataset, its name
	Hash    string // SHA-256 of it
	Command string
	Seeds   int
	Tables  []AblationTable
}

// AblationTable compares some forms among one pool of configurations.
type AblationTable struct {
	Name      string // of its figure, without spaces
	Title     string
	Head      string // of the column of names
	Datasets  int
	Intervals string
	TraceHash string
	Budgets   []string
	Rows      []AblationRow
}

// AblationRow is one form.
type AblationRow struct {
	Name           string
	Hub            int             // number of models; 0 in a table of parts
	Regret         []stats.Summary // one a budget
	Epochs, Trials float64         // of a run to the last budget
}

// Page is the ablation as a document.
func (a *Ablation) Page() *Page {
	p := &Page{Title: a.Title}
	a.Add(p, 2)
	p.Heading(2, "Reproduce")
	p.Code(a.Command)
	items := []string{fmt.Sprintf("%s, SHA-256: `%s`", a.Data, a.Hash)}
	for _, t := range a.Tables {
		item := fmt.Sprintf("SHA-256 of the traces (%s): `%s`", t.Title, t.TraceHash)
		items = append(items, item)
	}
	p.List(items...)
	return p
}

// Add adds the tables and their figures to a page, under headings of that level.
func (a *Ablation) Add(p *Page, level int) {
	for _, t := range a.Tables {
		p.Heading(level, t.Title)
		p.Figure(t.figure())
		p.Text(fmt.Sprintf("Mean normalised regret over %s, %s each [%s]; epochs and trials of a run to %s.",
			plural(t.Datasets, "data set"), plural(a.Seeds, "seed"), t.Intervals, t.Budgets[len(t.Budgets)-1]))
		rows := table{append(append([]string{t.Head}, t.Budgets...), "epochs", "trials")}
		for _, r := range t.Rows {
			line := []string{r.Name}
			for _, s := range r.Regret {
				cell := number(s.Mean, 3)
				if !math.IsNaN(s.Low) {
					cell += " " + interval(s, 3)
				}
				line = append(line, cell)
			}
			rows = append(rows, append(line, number(r.Epochs, 1), number(r.Trials, 1)))
		}
		p.Table(rows)
	}
}

// budgetStyle tells budgets apart: shades from light, the smallest, to dark.
func budgetStyle(i, n int) figure.Line { return seenStyle(i, n) }

func (t AblationTable) figure() figure.Figure {
	if t.Rows[0].Hub > 0 {
		return t.hubCurve()
	}
	return t.parts()
}

// parts shows each form in each budget as a dot with its interval.
func (t AblationTable) parts() figure.Figure {
	top := t.highest()
	axis := figure.Axis{Label: "mean normalised regret", Max: top, Ticks: figure.LinearTicks(0, top, 4, nil)}
	var drawn []figure.Rows
	for b, budget := range t.Budgets {
		rows := figure.Rows{X: axis}
		rows.X.Label = "mean normalised regret at " + budget
		for _, r := range t.Rows {
			s := r.Regret[b]
			rows.Rows = append(rows.Rows, figure.Row{Label: r.Name, Value: s.Mean, Low: s.Low, High: s.High, Text: number(s.Mean, 3), Style: budgetStyle(b, len(t.Budgets))})
		}
		drawn = append(drawn, rows)
	}
	stack := figure.Stack{Rows: drawn, Least: 235}
	return figure.Figure{
		Name: t.Name, Title: t.Title,
		Alt:     fmt.Sprintf("Mean normalised regret at %s: %s", t.Budgets[len(t.Budgets)-1], t.summary()),
		Caption: "M: meta-learned weights and descriptors of the data set; C: improvement per predicted second; G: epoch by epoch, not whole curves. With intervals over data sets.",
		Height:  stack.Height, Draw: stack.Draw,
	}
}

// hubCurve shows the regret over the number of models.
func (t AblationTable) hubCurve() figure.Figure {
	most := 1
	for _, r := range t.Rows {
		most = max(most, r.Hub)
	}
	top := t.highest()
	ch := figure.Chart{
		X: figure.Axis{Label: "models in the hub (logarithmic)", Min: 1, Max: float64(max(2, most)), Log: true},
		Y: figure.Axis{Label: "mean normalised regret", Max: top, Ticks: figure.LinearTicks(0, top, 4, nil)},
	}
	for _, r := range t.Rows {
		ch.X.Ticks = append(ch.X.Ticks, figure.Tick{Value: float64(r.Hub), Label: strconv.Itoa(r.Hub)})
	}
	for b, budget := range t.Budgets {
		s := figure.Series{Label: budget, Style: budgetStyle(b, len(t.Budgets)), Dots: true}
		for _, r := range t.Rows {
			s.X, s.Y = append(s.X, float64(r.Hub)), append(s.Y, r.Regret[b].Mean)
			s.Low, s.High = append(s.Low, r.Regret[b].Low), append(s.High, r.Regret[b].High)
		}
		ch.Series = append(ch.Series, s)
	}
	return figure.Figure{
		Name: t.Name, Title: t.Title,
		Alt:     fmt.Sprintf("Mean normalised regret at %s against the number of models: %s", t.Budgets[len(t.Budgets)-1], t.summary()),
		Caption: "The whole method with hubs of fewer models, drawn at random for each seed; bands are intervals over data sets.",
		Height:  chartHeight(len(t.Budgets)), Draw: ch.Draw,
	}
}

func (t AblationTable) highest() float64 {
	top := 0.0
	for _, r := range t.Rows {
		for _, s := range r.Regret {
			top = max(top, s.Mean)
			if !math.IsNaN(s.High) {
				top = max(top, s.High)
			}
		}
	}
	if top == 0 {
		return 1
	}
	return top
}

func (t AblationTable) summary() string {
	var parts []string
	for _, r := range t.Rows {
		parts = append(parts, r.Name+" "+number(r.Regret[len(r.Regret)-1].Mean, 3))
	}
	return strings.Join(parts, ", ")
}
