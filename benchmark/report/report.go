// Package report turns the traces of a comparison into what people read: a
// table for the terminal, a page as Markdown and as HTML with its figures, CSV
// tables and JSON.
//
// The same input gives the same bytes: nothing of the clock or the order of
// goroutines gets into a report, and nothing of the machine but the decision
// times that the traces hold. The package refuses to run anything
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
	"quicktune/metadataset"
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
	// Against names the method that all others are compared with, pair by pair;
	// "" means the first of Methods.
	Against string
	// Store and Tables, if known, are what was replayed: they tell which models
	// and curves the candidates of the traces are.
	Store  *metadataset.Store
	Tables []*replay.Table
	// Calibration tells how good the forecasts of a method were; nil if no
	// method has any.
	Calibration *Calibration
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
	// Against is the method that all others are paired with; "" if there is
	// none other.
	Against string
	// The tests of all methods at the last budget, in the order of Rows.
	Friedman stats.Friedman
	Nemenyi  stats.Nemenyi
	// Wilcoxon and Holm are the pairwise tests and their adjustment for all
	// pairs.
	Wilcoxon, Holm [][]float64
	Calibration    *Calibration
	// Warnings concern the whole comparison; others are with their cells.
	Warnings []error

	last *runs // to the last budget
	pool *pool // nil if not known
}

// Row holds the numbers of one method.
type Row struct {
	Method   search.Method
	Cells    []Cell      // one a budget
	Curve    stats.Curve // of the regret
	Ranks    stats.Curve // of the rank
	Spent    Spent
	PerSet   []float64 // mean regret on each data set at the last budget
	Reached  []float64 // share of targets reached at the times of Curve
	Warnings []error
	// Area is the mean regret over the logarithm of time, from the first time of
	// Curve to the last.
	Area stats.Summary

	index int // in the runs
}

// Cell holds what a method reached by one budget.
type Cell struct {
	Regret      stats.Summary // mean normalised regret
	Rank        stats.Summary // mean rank of the mean regrets, 1 is best
	IQM, Median float64       // of the regret over data sets
	// Nested is Regret with an interval that allows for the chance of the seeds
	// too.
	Nested stats.Summary
	// Paired compares with the method of Report.Against; zero for that itself.
	Paired stats.Paired
}

// Spent is what a run at the largest budget spends, on average.
type Spent struct {
	Epochs    float64
	Trials    float64
	Decisions float64
	Idle      float64 // share of the workers' time
	// Stopped is the share of the candidates trained that were left before their
	// last stored epoch, NaN if that is not known.
	Stopped float64
	// Models is how the epochs are shared among the models of the hub, nil if
	// that is not known.
	Models []float64
	// DecisionSeconds is the real time of a decision on the machine that ran it.
	DecisionSeconds float64
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
		Calibration: in.Calibration, Rows: make([]Row, len(in.Methods)), pool: newPool(in.Store, in.Tables),
	}
	names := make([]string, len(in.Methods))
	for i, m := range in.Methods {
		names[i] = m.Name
		r.Rows[i].Method, r.Rows[i].index = m, i
	}
	reference := 0
	if in.Against != "" {
		if reference = slices.Index(names, in.Against); reference < 0 {
			return nil, fmt.Errorf("no method %q to compare with; there are %s", in.Against, strings.Join(names, ", "))
		}
	}
	if len(names) > 1 {
		r.Against = names[reference]
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
		sample := runs[b].only(whole.Datasets).regrets(budget)
		m := sample.Means()
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
				IQM:    stats.IQM(m.Values[i]), Median: stats.Median(m.Values[i]),
				Nested: resampler.Nested(sample.Values[i]),
			})
		}
		for i, p := range m.Against(reference, resampler) {
			if i != reference {
				p.Improvement = sample.ProbabilityOfImprovement(i, reference, resampler)
				r.Rows[i].Cells[b].Paired = p
			}
		}
	}
	last = last.only(whole.Datasets)
	r.last = last
	end := in.Budgets[len(in.Budgets)-1]
	times := last.grid(end)
	// The regrets at each time serve both curves.
	means := make(map[float64]*stats.Matrix, len(times))
	for _, t := range times {
		means[t] = last.regrets(t).Means()
	}
	regrets := stats.Anytime(times, in.Bootstrap, func(at float64) *stats.Matrix { return means[at] })
	ranks := stats.Anytime(times, in.Bootstrap, func(at float64) *stats.Matrix { return means[at].Ranks() })
	resampler := in.Bootstrap.Resampler(len(whole.Datasets))
	for i := range r.Rows {
		row := &r.Rows[i]
		row.Curve, row.Ranks = regrets[i], ranks[i]
		row.Spent = last.spent(i, r.pool)
		row.Area = resampler.Mean(last.areas(i, times[0], end))
		row.Reached = stats.ReachedBy(last.hits(i), times)
		if row.Method.Uses.Budget && len(in.Budgets) > 1 {
			row.Warnings = append(row.Warnings, fmt.Errorf(
				"knows the budget: each column is from runs of its own, and the curve over time is that of the runs to %s",
				cli.FormatBudget(end, in.Data.Unit)))
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
	final := &stats.Matrix{Datasets: r.Datasets}
	for _, row := range r.Rows {
		final.Methods = append(final.Methods, row.Method.Name)
		final.Values = append(final.Values, row.PerSet)
	}
	r.Friedman, r.Nemenyi = final.Friedman(stats.CorrectTies), final.Nemenyi(significance)
	r.Wilcoxon, r.Holm = final.Pairwise()
	return r, nil
}

// significance is the level of the tests that need one.
const significance = 0.05

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
