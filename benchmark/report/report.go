// Package report turns the traces of a comparison into what people read: a
// table for the terminal, a Markdown page, a figure, and JSON.
//
// The same input gives the same bytes: nothing of the clock, the machine or the
// order of goroutines gets into a report. The package refuses to run anything
// and to say which method is the best; it orders rows by a number it names and
// prints what the numbers must be read with as footnotes.
package report

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"quicktune/benchmark/replay"
	"quicktune/benchmark/stats"
	"quicktune/internal/cli"
	"quicktune/search"
)

// Input is what a report is made from.
type Input struct {
	Title   string
	Data    Data
	Methods []search.Method
	Traces  []*replay.Trace
	Budgets []float64 // ascending, in Data.Unit
	Workers int
	Clock   replay.Clock
	// Learning lists what methods learnt before they searched.
	Learning []Learning
	// Command makes the same traces again.
	Command   string
	Bootstrap stats.Bootstrap
}

// Learning is what a method learnt from other data sets, in one round of the
// cross-validation.
type Learning struct {
	Method     string   `json:"method"`
	Test       []string `json:"test"` // the data sets it was used on
	Train      []string `json:"train"`
	Validation []string `json:"validation"`
	Key        string   `json:"cache_key"` // names what was learnt from
	// Seconds is what it took on the machine that did it, 0 if not known.
	Seconds float64 `json:"seconds"`
}

// Data describes the meta-dataset that was replayed.
type Data struct {
	Name     string // as the reader knows it, such as its directory
	Hash     string
	Datasets int
	Curves   int
	Epochs   int
	Time     float64      // of all epochs together, in Unit
	Unit     cli.TimeUnit // of Time, budgets and traces
	Exclude  string       // what no method could choose, "" if nothing
	Notes    []string     // known defects
}

// Report holds the numbers of a comparison.
type Report struct {
	Title     string
	Data      Data
	Budgets   []float64
	Datasets  []string // compared
	Seeds     int      // the largest number of runs of a method on a data set
	Workers   int
	Clock     replay.Clock
	Rows      []Row // one a method, the lowest regret at the last budget first
	Learning  []Learning
	TraceHash string
	Command   string
	Bootstrap stats.Bootstrap
	// Warnings concern the whole comparison; others are with their cells.
	Warnings []error
}

// Row holds the numbers of one method.
type Row struct {
	Method   search.Method
	Cells    []Cell // one a budget
	Curve    stats.Curve
	Spent    Spent
	PerSet   []float64 // mean regret on each data set at the last budget
	Warnings []error
}

// Cell holds what a method reached by one budget.
type Cell struct {
	Regret stats.Summary // mean normalised regret
	Rank   stats.Summary // mean rank of the mean regrets, 1 is best
}

// Spent is what a run at the largest budget spends, on average.
type Spent struct {
	Epochs    float64
	Trials    float64
	Decisions float64
	Idle      float64 // share of the workers' time
}

// curvePoints is the number of times at which the curves are computed.
const curvePoints = 121

// New computes the numbers of a report.
func New(in Input) (*Report, error) {
	switch {
	case len(in.Traces) == 0:
		return nil, errors.New("no finished run to report")
	case len(in.Methods) == 0:
		return nil, errors.New("no method to report")
	case len(in.Budgets) == 0:
		return nil, errors.New("no budget to report")
	case !slices.IsSorted(in.Budgets) || in.Budgets[0] <= 0:
		return nil, fmt.Errorf("budgets %v, want positive ones in ascending order", in.Budgets)
	}
	r := &Report{
		Title: in.Title, Data: in.Data, Budgets: in.Budgets, Workers: max(in.Workers, 1), Clock: in.Clock,
		Learning: in.Learning, TraceHash: replay.Hash(in.Traces), Command: in.Command, Bootstrap: in.Bootstrap,
		Rows: make([]Row, len(in.Methods)),
	}
	names := make([]string, len(in.Methods))
	for i, m := range in.Methods {
		names[i] = m.Name
		r.Rows[i].Method = m
	}
	runs := make([]*runs, len(in.Budgets))
	for b, budget := range in.Budgets {
		runs[b] = collect(in.Traces, names, budget)
	}
	last := runs[len(runs)-1]
	complete := last.regrets(in.Budgets[len(in.Budgets)-1]).Means()
	whole, warnings := complete.Complete()
	if len(whole.Datasets) == 0 {
		return nil, errors.New("no data set has a finished run of every method")
	}
	r.Datasets, r.Warnings = whole.Datasets, warnings
	r.countSeeds(last)

	for b, budget := range in.Budgets {
		m := runs[b].only(whole.Datasets).regrets(budget).Means()
		if b+1 == len(in.Budgets) {
			for i := range r.Rows {
				r.Rows[i].PerSet = m.Values[i]
			}
		}
		ranks := m.Ranks()
		resampler := in.Bootstrap.Resampler(len(m.Datasets))
		for i := range r.Rows {
			r.Rows[i].Cells = append(r.Rows[i].Cells, Cell{
				Regret: resampler.Mean(m.Values[i]),
				Rank:   resampler.Mean(ranks.Values[i]),
			})
		}
	}
	last = last.only(whole.Datasets)
	for i, curve := range stats.Anytime(last.grid(in.Budgets[len(in.Budgets)-1]), in.Bootstrap, func(at float64) *stats.Matrix {
		return last.regrets(at).Means()
	}) {
		row := &r.Rows[i]
		row.Curve = curve
		row.Spent = last.spent(i)
		if row.Method.Uses.Budget && len(in.Budgets) > 1 {
			row.Warnings = append(row.Warnings, fmt.Errorf(
				"knows the budget: each column is from runs of its own, and the curve over time is that of the runs to %s",
				cli.FormatBudget(in.Budgets[len(in.Budgets)-1], in.Data.Unit)))
		}
	}
	slices.SortStableFunc(r.Rows, func(a, b Row) int {
		for i := len(in.Budgets) - 1; i >= 0; i-- {
			if c := cmp.Compare(a.Cells[i].Regret.Mean, b.Cells[i].Regret.Mean); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.Method.Name, b.Method.Name)
	})
	return r, nil
}

// countSeeds sets Seeds and warns of data sets with fewer runs.
func (r *Report) countSeeds(all *runs) {
	for _, rows := range all.traces {
		for _, t := range rows {
			r.Seeds = max(r.Seeds, len(t))
		}
	}
	for i := range r.Rows {
		var short []string
		for d, name := range all.datasets {
			if n := len(all.traces[i][d]); n < r.Seeds && slices.Contains(r.Datasets, name) {
				short = append(short, fmt.Sprintf("%s (%d)", name, n))
			}
		}
		if len(short) > 0 {
			r.Rows[i].Warnings = append(r.Rows[i].Warnings,
				fmt.Errorf("fewer than %d runs on: %s", r.Seeds, strings.Join(short, ", ")))
		}
	}
}

// runs holds the traces that tell what methods reach by a budget.
type runs struct {
	methods  []string
	datasets []string
	traces   [][][]*replay.Trace // by method, data set; one a seed
}

// collect picks, for each method, data set and seed, the run with the smallest
// budget that is not below budget: the run to that very budget where the method
// looks at it. Data sets come in the order of the traces.
func collect(traces []*replay.Trace, methods []string, budget float64) *runs {
	r := &runs{methods: methods}
	type place struct {
		method, dataset string
		seed            uint64
	}
	best := make(map[place]*replay.Trace)
	var order []place
	for _, t := range traces {
		if !slices.Contains(r.datasets, t.Dataset) {
			r.datasets = append(r.datasets, t.Dataset)
		}
		if t.Budget < budget {
			continue
		}
		at := place{t.Method, t.Dataset, t.Seed}
		old := best[at]
		if old == nil {
			order = append(order, at)
		}
		if old == nil || t.Budget < old.Budget {
			best[at] = t
		}
	}
	r.traces = make([][][]*replay.Trace, len(methods))
	for i := range r.traces {
		r.traces[i] = make([][]*replay.Trace, len(r.datasets))
	}
	for _, at := range order {
		if i := slices.Index(methods, at.method); i >= 0 {
			d := slices.Index(r.datasets, at.dataset)
			r.traces[i][d] = append(r.traces[i][d], best[at])
		}
	}
	return r
}

// only keeps some data sets.
func (r *runs) only(datasets []string) *runs {
	part := &runs{methods: r.methods, datasets: datasets, traces: make([][][]*replay.Trace, len(r.methods))}
	for i := range r.methods {
		for _, name := range datasets {
			part.traces[i] = append(part.traces[i], r.traces[i][slices.Index(r.datasets, name)])
		}
	}
	return part
}

// regrets reads the regret of every run at a time.
func (r *runs) regrets(at float64) *stats.Sample {
	s := &stats.Sample{Methods: r.methods, Datasets: r.datasets, Values: make([][][]float64, len(r.methods))}
	for i, rows := range r.traces {
		s.Values[i] = make([][]float64, len(rows))
		for d, traces := range rows {
			values := make([]float64, len(traces))
			for k, t := range traces {
				values[k] = t.RegretAt(at)
			}
			s.Values[i][d] = values
		}
	}
	return s
}

// grid returns the times of the curves: from the first epoch that any run
// finished, but at most three decades, to end.
func (r *runs) grid(end float64) []float64 {
	first := end
	for _, rows := range r.traces {
		for _, traces := range rows {
			for _, t := range traces {
				if len(t.Points) > 0 {
					first = min(first, t.Points[0].Seconds)
				}
			}
		}
	}
	if first >= end {
		return []float64{end}
	}
	return stats.LogGrid(max(first, end/1000), end, curvePoints)
}

// spent averages what the runs of method i spent.
func (r *runs) spent(i int) Spent {
	var s Spent
	n := 0.0
	for _, traces := range r.traces[i] {
		for _, t := range traces {
			s.Epochs += float64(t.Epochs)
			s.Trials += float64(t.Trials)
			s.Decisions += float64(t.Decisions)
			if t.End > 0 {
				s.Idle += t.IdleSeconds / (float64(t.Workers) * t.End)
			}
			n++
		}
	}
	s.Epochs /= n
	s.Trials /= n
	s.Decisions /= n
	s.Idle /= n
	return s
}
