package main

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"quicktune/benchmark/replay"
	"quicktune/benchmark/report"
	"quicktune/benchmark/stats"
	"quicktune/internal/cli"
	"quicktune/search"
)

func newCompareRuns(stdout io.Writer) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "put two directories of results side by side, with tests",
		Long: `Compare reads two directories that this command wrote with --out, on the same
meta-dataset. It says in what they differ, which methods have the same runs in
both, and compares the others pair by pair over the data sets that both have, at
the budgets that both have.`,
		Example: "  go run ./benchmark compare results/runs/first results/runs/eta4",
		Args:    cli.Arguments(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, args []string) error {
			return runCompareRuns(args[0], args[1], asJSON, stdout)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON for a program to read")
	return c
}

// side is one of two directories of results.
type side struct {
	dir string
	manifest
	traces []*replay.Trace // of the comparison, in the order of the file
}

func readSide(dir string) (side, error) {
	m, err := readManifest(dir)
	if err != nil {
		return side{}, cli.Input(err)
	}
	if !m.Finished {
		return side{}, cli.Inputf("%s is not finished; the command that began it goes on", dir)
	}
	_, traces, err := replay.Load(dir)
	if err != nil {
		return side{}, cli.Input(err)
	}
	if len(traces) < m.Runs {
		return side{}, cli.Inputf("%s: %s lie beside the manifest, which has %d", dir, count(len(traces), "run"), m.Runs)
	}
	return side{dir: dir, manifest: m, traces: traces[:m.Runs]}, nil
}

// of returns the runs of a method.
func (s *side) of(method string) []*replay.Trace {
	var out []*replay.Trace
	for _, t := range s.traces {
		if t.Method == method {
			out = append(out, t)
		}
	}
	return out
}

// names lists the methods in the order of the runs.
func (s *side) names() []string {
	var out []string
	for _, t := range s.traces {
		if !slices.Contains(out, t.Method) {
			out = append(out, t.Method)
		}
	}
	return out
}

// keep drops runs on data sets and with seeds that other has not.
func (s *side) keep(other side) {
	s.traces = slices.DeleteFunc(slices.Clone(s.traces), func(t *replay.Trace) bool {
		return !slices.Contains(other.Datasets, t.Dataset) || !slices.Contains(other.Seeds, t.Seed)
	})
}

func runCompareRuns(first, second string, asJSON bool, stdout io.Writer) error {
	a, err := readSide(first)
	if err != nil {
		return err
	}
	b, err := readSide(second)
	if err != nil {
		return err
	}
	if a.Data != b.Data {
		return cli.Inputf("%s is on other data (%.12s) than %s (%.12s): regrets on different data cannot be compared", second, b.Data, first, a.Data)
	}
	unit := cli.Seconds
	if strings.HasSuffix(a.Budgets[0], string(cli.Epochs)) {
		unit = cli.Epochs
	}
	var budgets []float64
	for _, label := range a.Budgets {
		if slices.Contains(b.Budgets, label) {
			shared, err := cli.ParseBudgets(strings.ReplaceAll(label, " ", ""), unit)
			if err != nil {
				return cli.Inputf("%s: %w", first, err)
			}
			budgets = append(budgets, shared...)
		}
	}
	if len(budgets) == 0 {
		return cli.Inputf("%s has the budgets %s, %s has %s: none in common", first, strings.Join(a.Budgets, ", "), second, strings.Join(b.Budgets, ", "))
	}
	all := a
	a.keep(b)
	b.keep(all)
	if len(a.traces) == 0 || len(b.traces) == 0 {
		return cli.Inputf("%s and %s have no data set and seed in common", first, second)
	}
	in := report.Input{
		Title: "Two directories of results", Budgets: budgets, Workers: a.Workers, Clock: replay.Clock(a.Clock),
		Data: report.Data{Unit: unit, Hash: a.Data},
	}
	var same, differ []string
	for _, name := range a.names() {
		switch {
		case !slices.Contains(b.names(), name):
			add(&in, name, a.of(name))
		case replay.Hash(a.of(name)) == replay.Hash(b.of(name)):
			same = append(same, name)
			add(&in, name, a.of(name))
		default:
			differ = append(differ, name)
			add(&in, name+" (A)", a.of(name))
			add(&in, name+" (B)", b.of(name))
		}
	}
	for _, name := range b.names() {
		if !slices.Contains(a.names(), name) {
			add(&in, name, b.of(name))
		}
	}
	r, err := report.New(in)
	if err != nil {
		return cli.Input(err)
	}
	if asJSON {
		return r.JSON(stdout)
	}
	fmt.Fprintf(stdout, "A %s\nB %s\n", filepath.ToSlash(first), filepath.ToSlash(second))
	for _, d := range a.differences(b.manifest) {
		fmt.Fprintln(stdout, d)
	}
	if len(same) > 0 {
		fmt.Fprintf(stdout, "the same runs in both: %s\n", strings.Join(same, ", "))
	}
	fmt.Fprintln(stdout)
	if err := r.Text(stdout); err != nil {
		return err
	}
	return pairsText(stdout, in, differ)
}

// add adds the runs of a method under a name.
func add(in *report.Input, name string, traces []*replay.Trace) {
	plain, _, _ := strings.Cut(name, " ")
	m, err := newMethod(plain, nil, nil, nil)
	if err != nil {
		m = search.Method{Title: plain} // of another version of this program
	}
	m.Name, m.Title, m.Details = name, strings.Replace(name, plain, m.Title, 1), traces[0].Details
	in.Methods = append(in.Methods, m)
	for _, t := range traces {
		renamed := *t
		renamed.Method = name
		in.Traces = append(in.Traces, &renamed)
	}
}

// differences lists in what the settings of two runs differ.
func (m *manifest) differences(o manifest) []string {
	var out []string
	for _, d := range []struct{ what, a, b string }{
		{"methods", strings.Join(m.Methods, "; "), strings.Join(o.Methods, "; ")},
		{"data sets", strings.Join(m.Datasets, " "), strings.Join(o.Datasets, " ")},
		{"budgets", strings.Join(m.Budgets, " "), strings.Join(o.Budgets, " ")},
		{"seeds", fmt.Sprint(m.Seeds), fmt.Sprint(o.Seeds)},
		{"workers", fmt.Sprint(m.Workers), fmt.Sprint(o.Workers)},
		{"clock", m.Clock, o.Clock},
		{"excluded", cmp.Or(m.Exclude, "nothing"), cmp.Or(o.Exclude, "nothing")},
		{"Go", m.Go, o.Go},
	} {
		if d.a != d.b {
			out = append(out, fmt.Sprintf("%s\n  A %s\n  B %s", d.what, d.a, d.b))
		}
	}
	return out
}

// pairsText compares each method that differs with itself: the second directory
// with the first.
func pairsText(w io.Writer, in report.Input, methods []string) error {
	if len(methods) == 0 {
		return nil
	}
	fmt.Fprint(w, "\nB against A: difference of regrets, data sets on which B is better/equal/worse,\np of Wilcoxon's signed-rank test")
	if len(methods) > 1 {
		fmt.Fprintf(w, ", adjusted by Holm for %s", count(len(methods), "comparison"))
	}
	fmt.Fprint(w, "\n\n")
	cells := make([][]stats.Paired, len(in.Budgets))
	p := make([][]float64, len(in.Budgets))
	for _, name := range methods {
		one := in
		one.Methods = slices.DeleteFunc(slices.Clone(in.Methods), func(m search.Method) bool { return m.Name != name+" (A)" && m.Name != name+" (B)" })
		one.Against = name + " (A)"
		r, err := report.New(one)
		if err != nil {
			return cli.Input(err)
		}
		for _, row := range r.Rows {
			if row.Method.Name == one.Against {
				continue
			}
			for b, c := range row.Cells {
				cells[b] = append(cells[b], c.Paired)
				p[b] = append(p[b], c.Paired.Test.P)
			}
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "method\t")
	for _, b := range in.Budgets {
		fmt.Fprintf(t, "%s\t+/=/-\tp\t", cli.FormatBudget(b, in.Data.Unit))
	}
	fmt.Fprintln(t)
	for i, name := range methods {
		fmt.Fprintf(t, "%s\t", name)
		for b := range in.Budgets {
			c := cells[b][i]
			fmt.Fprintf(t, "%.3f\t%d/%d/%d\t%.3f\t", c.Difference.Mean, c.Better, c.Equal, c.Worse, stats.Holm(p[b])[i])
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
