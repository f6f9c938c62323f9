package report

import (
	"encoding/json"
	"io"
	"math"

	"quicktune/benchmark/stats"
	"quicktune/internal/cli"
)

// JSON writes the numbers of the report for a program to read. An unknown
// number is null.
func (r *Report) JSON(w io.Writer) error {
	out := jsonReport{
		Title: r.Title, TraceHash: r.TraceHash, Command: r.Command, Unit: string(r.Data.Unit),
		Against: r.Against, Datasets: r.Datasets, Seeds: r.Seeds, Workers: r.Workers, Clock: string(r.Clock), Intervals: r.Bootstrap.String(),
		Warnings: messages(r.Warnings), Learning: r.Learning,
		Data: jsonData{
			Name: r.Data.Name, Hash: r.Data.Hash, Datasets: r.Data.Datasets, Curves: r.Data.Curves, Epochs: r.Data.Epochs,
			Time: r.Data.Time, Exclude: r.Data.Exclude, Notes: r.Data.Notes,
		},
	}
	if f := r.Friedman; r.Against != "" {
		out.Friedman = &jsonTest{ChiSquare: f.ChiSquare, P: f.P, F: known(f.F), PF: f.PF, Difference: r.Nemenyi.Difference, Warnings: messages(f.Warnings)}
	}
	for _, row := range r.Rows {
		m := jsonMethod{
			Name: row.Method.Name, Title: row.Method.Title, Details: row.Method.Details, Source: row.Method.Source,
			Spent: jsonSpent{
				Trials: row.Spent.Trials, Epochs: row.Spent.Epochs, Decisions: row.Spent.Decisions, Idle: row.Spent.Idle,
			},
			Regrets:  make(map[string]float64, len(r.Datasets)),
			Warnings: messages(row.Warnings),
		}
		for i, c := range row.Cells {
			cell := jsonCell{
				Budget: r.Budgets[i], Label: cli.FormatBudget(r.Budgets[i], r.Data.Unit),
				Regret: summarize(c.Regret), Rank: summarize(c.Rank), IQM: c.IQM, Median: c.Median, NestedLow: known(c.Nested.Low), NestedHigh: known(c.Nested.High),
			}
			if r.Against != "" && row.Method.Name != r.Against {
				p := c.Paired
				cell.Paired = &jsonPaired{
					Difference: summarize(p.Difference), Better: p.Better, Equal: p.Equal, Worse: p.Worse,
					P: p.Test.P, Holm: p.Holm, Improvement: summarize(p.Improvement), Warnings: messages(p.Test.Warnings),
				}
			}
			m.Budgets = append(m.Budgets, cell)
		}
		for d, name := range r.Datasets {
			m.Regrets[name] = row.PerSet[d]
		}
		out.Methods = append(out.Methods, m)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

type jsonReport struct {
	Title     string       `json:"title"`
	Data      jsonData     `json:"data"`
	Unit      string       `json:"time_unit"`
	Datasets  []string     `json:"datasets"`
	Seeds     int          `json:"seeds"`
	Workers   int          `json:"workers"`
	Clock     string       `json:"clock"`
	Intervals string       `json:"intervals"`
	Against   string       `json:"against,omitempty"` // whom Paired compares with
	Friedman  *jsonTest    `json:"friedman,omitempty"`
	Methods   []jsonMethod `json:"methods"`
	Learning  []Learning   `json:"learning,omitempty"`
	TraceHash string       `json:"trace_hash"`
	Command   string       `json:"command"`
	Warnings  []string     `json:"warnings,omitempty"`
}

type jsonData struct {
	Name     string   `json:"name"`
	Hash     string   `json:"hash"`
	Datasets int      `json:"datasets"`
	Curves   int      `json:"curves"`
	Epochs   int      `json:"epochs"`
	Time     float64  `json:"time"`
	Exclude  string   `json:"exclude,omitempty"`
	Notes    []string `json:"notes,omitempty"`
}

type jsonMethod struct {
	Name     string             `json:"name"`
	Title    string             `json:"title"`
	Details  string             `json:"details,omitempty"`
	Source   string             `json:"source,omitempty"`
	Budgets  []jsonCell         `json:"budgets"`
	Regrets  map[string]float64 `json:"dataset_regret"` // at the last budget
	Spent    jsonSpent          `json:"spent"`
	Warnings []string           `json:"warnings,omitempty"`
}

type jsonCell struct {
	Budget float64     `json:"budget"`
	Label  string      `json:"label"`
	Regret jsonSummary `json:"regret"`
	Rank   jsonSummary `json:"rank"`
	IQM    float64     `json:"regret_iqm"`
	Median float64     `json:"regret_median"`
	// The interval of the regret over data sets and seeds.
	NestedLow  *float64    `json:"regret_nested_low"`
	NestedHigh *float64    `json:"regret_nested_high"`
	Paired     *jsonPaired `json:"paired,omitempty"`
}

// jsonPaired compares with the method of Against: differences below 0 and
// probabilities of improvement above one half are in favour of this one.
type jsonPaired struct {
	Difference  jsonSummary `json:"difference"`
	Better      int         `json:"better"`
	Equal       int         `json:"equal"`
	Worse       int         `json:"worse"`
	P           float64     `json:"p"`
	Holm        float64     `json:"p_holm"`
	Improvement jsonSummary `json:"probability_of_improvement"`
	Warnings    []string    `json:"warnings,omitempty"`
}

// jsonTest is Friedman's test at the last budget.
type jsonTest struct {
	ChiSquare  float64  `json:"chi_square"`
	P          float64  `json:"p"`
	F          *float64 `json:"f"` // null where it is infinite
	PF         float64  `json:"p_f"`
	Difference float64  `json:"critical_difference"`
	Warnings   []string `json:"warnings,omitempty"`
}

type jsonSummary struct {
	Mean     *float64 `json:"mean"`
	Low      *float64 `json:"low"`
	High     *float64 `json:"high"`
	N        int      `json:"n"`
	Warnings []string `json:"warnings,omitempty"`
}

type jsonSpent struct {
	Trials    float64 `json:"trials"`
	Epochs    float64 `json:"epochs"`
	Decisions float64 `json:"decisions"`
	Idle      float64 `json:"idle"`
}

func summarize(s stats.Summary) jsonSummary {
	return jsonSummary{Mean: known(s.Mean), Low: known(s.Low), High: known(s.High), N: s.N, Warnings: messages(s.Warnings)}
}

func known(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func messages(warnings []error) []string {
	var texts []string
	for _, w := range warnings {
		texts = append(texts, w.Error())
	}
	return texts
}
