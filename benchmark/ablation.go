package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"quicktune/benchmark/replay"
	"quicktune/benchmark/report"
	"quicktune/benchmark/stats"
	"quicktune/internal/atomicfile"
	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/search"
)

// The files of an ablation, beside one directory of results for each pool.
const (
	ablationText     = "ablation.md"
	ablationPage     = "ablation.html"
	ablationJSONFile = "ablation.json"
)

// ablationFlags are the flags of ablation.
type ablationFlags struct {
	data     string
	budget   string
	set      []string
	hubs     string
	hubPools string
	seeds    int
	parallel int
	datasets string
	learn    learnFlags
	out      string
	json     bool
	markdown bool
}

func newAblation(stdout, stderr io.Writer) *cobra.Command {
	var f ablationFlags
	c := &cobra.Command{
		Use:   "ablation --data DIR",
		Short: "take the published method apart: meta-learning, costs, partial curves, hub size",
		Long: `Ablation replays the published method with each of its parts switched on and off:
M, meta-learned weights and descriptors of the data set; C, improvement per
predicted second; G, epoch by epoch instead of whole curves. It does so among all
configurations and among those without linear probing, which in the released
curves are no training but a memory test of a few seconds. A second table has the
whole method with hubs of fewer pretrained models, drawn at random for each seed.

With --out, tables and all runs are kept in a directory. An interrupted ablation
is continued by the same command.`,
		Example: `  go run ./benchmark ablation --data results/extended --budget 30m --seeds 1 --hubs 1,24 --set restart-steps=20 --set refine-steps=2 --set iterations=200
  go run ./benchmark ablation --data results/extended --budget 10m,30m --seeds 1 --hubs 2 --datasets DOG --set restart-steps=20 --set iterations=200 --out results/runs/ablation`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.data == "" {
				return cli.Inputf("ablation needs --data DIR")
			}
			return runAblation(c.Context(), f, stdout, stderr)
		},
	}
	p := c.Flags()
	p.StringVar(&f.data, "data", "", "meta-dataset to replay")
	p.StringVar(&f.budget, "budget", "", "budgets of the search, such as 1h,4h,16h (default; epochs for data without times)")
	p.StringArrayVar(&f.set, "set", nil, "change a setting of the published method in all its forms: SETTING=VALUE; may be given several times")
	p.StringVar(&f.hubs, "hubs", "1,2,4,8,12,16,20,24", "sizes of hubs, \"\" for none")
	p.StringVar(&f.hubPools, "hub-pools", "all", "where hubs are varied: all configurations, or both for also without linear probing")
	p.IntVar(&f.seeds, "seeds", 5, "repetitions of every form on every data set")
	p.IntVar(&f.parallel, "parallel", 0, "replays that run at the same time; changes no result (default: one for each CPU)")
	p.StringVar(&f.datasets, "datasets", "", "data sets to replay, such as BCT,DOG (default: all)")
	f.learn.add(p)
	p.StringVar(&f.out, "out", "", "directory for tables and runs")
	p.BoolVar(&f.json, "json", false, "print JSON for a program to read")
	p.BoolVar(&f.markdown, "markdown", false, "print Markdown")
	return c
}

// form is one form of the published method.
type form struct {
	Name   string `json:"name"`
	Hub    int    `json:"hub,omitempty"` // 0 in the table of parts
	method search.Method
}

// forms builds the eight combinations of parts.
func (f ablationFlags) forms() ([]form, error) {
	var out []form
	for i := range 8 {
		settings, err := f.settings()
		if err != nil {
			return nil, err
		}
		name := ""
		for bit, part := range []string{"M", "C", "G"} {
			settings[part] = "on"
			sign := "+"
			if i>>bit&1 == 1 {
				settings[part], sign = "off", "-"
			}
			name = strings.TrimSpace(name + " " + sign + part)
		}
		m, err := newReference(settings, nil)
		if err != nil {
			return nil, cli.Input(err)
		}
		out = append(out, form{Name: name, method: m})
	}
	return out, nil
}

// hubForms builds the whole method with hubs of some sizes. A hub of all models
// is the whole method itself.
func (f ablationFlags) hubForms(whole form, models int) ([]form, error) {
	if f.hubs == "" {
		return nil, nil
	}
	var out []form
	for word := range strings.SplitSeq(f.hubs, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 {
			return nil, cli.Inputf("--hubs %s: want whole numbers from 1 upwards, such as 1,2,4", f.hubs)
		}
		m := whole.method
		if n < models {
			settings, err := f.settings()
			if err != nil {
				return nil, err
			}
			settings["hub"] = strconv.Itoa(n)
			if m, err = newReference(settings, nil); err != nil {
				return nil, cli.Input(err)
			}
			m.Name += ":hub=" + strconv.Itoa(n)
		}
		out = append(out, form{Name: strconv.Itoa(n), Hub: n, method: m})
	}
	return out, nil
}

func (f ablationFlags) settings() (map[string]string, error) {
	out := make(map[string]string)
	for _, s := range f.set {
		key, value, ok := strings.Cut(s, "=")
		if !ok || slices.Contains([]string{"M", "C", "G", "hub"}, key) {
			return nil, cli.Inputf("--set %s: want SETTING=VALUE, such as exact-rows=50, of a setting other than M, C, G and hub", s)
		}
		out[key] = value
	}
	return out, nil
}

// pool is the set of configurations that may be chosen.
type pool struct {
	name, exclude, dir string
	forms, hubs        []form
}

// pools lists where the forms are compared.
func (f ablationFlags) pools(s *metadataset.Store) ([]pool, error) {
	if f.hubPools != "all" && f.hubPools != "both" {
		return nil, cli.Inputf("--hub-pools %s: want all or both", f.hubPools)
	}
	forms, err := f.forms()
	if err != nil {
		return nil, err
	}
	hubs, err := f.hubForms(forms[0], len(s.Models))
	if err != nil {
		return nil, err
	}
	out := []pool{{name: "all configurations", dir: "all", forms: forms, hubs: hubs}}
	if s.Space.Index("linear_probing") >= 0 {
		without := pool{name: "without linear probing", exclude: replay.ExcludeLinearProbing, dir: "without-linear-probing", forms: forms}
		if f.hubPools == "both" {
			without.hubs = hubs
		}
		out = append(out, without)
	}
	return out, nil
}

// methods lists the methods of forms without repetitions.
func methodsOf(forms []form) []search.Method {
	var out []search.Method
	for _, f := range forms {
		if !slices.ContainsFunc(out, func(m search.Method) bool { return m.Name == f.method.Name }) {
			out = append(out, f.method)
		}
	}
	return out
}

func runAblation(ctx context.Context, f ablationFlags, stdout, stderr io.Writer) error {
	log := cli.Logger(stderr)
	s, err := metadataset.Open(f.data)
	if err != nil {
		return cli.Input(err)
	}
	if f.seeds < 1 || f.seeds > maxSeeds {
		return cli.Inputf("--seeds %d: want 1 to %d", f.seeds, maxSeeds)
	}
	budgets, err := budgetsFor(f.budget, s)
	if err != nil {
		return err
	}
	pools, err := f.pools(s)
	if err != nil {
		return err
	}
	if f.learn.holdOut != "" && f.datasets != "" {
		return cli.Inputf("--hold-out already names the data sets to replay: leave --datasets out")
	}
	datasets := f.datasets + strings.Join(f.learn.held(), ",")
	if err := f.checkOut(pools); err != nil {
		return err
	}
	if !f.json && !f.markdown {
		fmt.Fprintln(stdout, summary(s))
	}
	result := ablation{
		Data: filepath.ToSlash(f.data), DataHash: s.Manifest.Hash, Seeds: f.seeds, Command: f.command(), unit: cli.TimeUnit(s.Manifest.TimeUnit),
	}
	for _, b := range budgets {
		result.Budgets = append(result.Budgets, cli.FormatBudget(b, result.unit))
	}
	for _, p := range pools {
		tables, err := chooseTables(datasets, p.exclude, s)
		if err != nil {
			return err
		}
		methods, learned, err := learn(ctx, s, methodsOf(slices.Concat(p.forms, p.hubs)), f.learn.options(tested(tables), f.parallel), stderr, log)
		if err != nil {
			return err
		}
		var out *outDir
		if f.out != "" {
			if out, err = claim(filepath.Join(f.out, p.dir), replay.Provenance{Data: s.Manifest.Hash, Exclude: p.exclude}); err != nil {
				return err
			}
		}
		x := &replay.Experiment{Tables: tables, Methods: methods, Budgets: budgets, Seeds: seeds(f.seeds), Workers: 1, Clock: replay.Training, Parallel: f.parallel}
		traces, finished, err := replayGrid(ctx, x, out, func() display { return &bar{stderr: stderr, log: log, label: "replay, " + p.name} }, log)
		if err != nil {
			return err
		}
		r, err := report.New(report.Input{
			Title: "Ablation of the published method, " + p.name, Data: reportData(f.data, p.exclude, s), Methods: methods, Traces: traces,
			Budgets: budgets, Workers: 1, Clock: x.Clock, Command: result.Command, Learning: learned,
			Store: s, Tables: tables,
		})
		if err != nil {
			return err
		}
		if out != nil {
			if err := out.publish(r, x, nil, traces, finished); err != nil {
				return err
			}
		}
		result.add(p, r)
	}
	if f.out != "" {
		if err := result.publish(f.out); err != nil {
			return err
		}
	}
	switch {
	case f.json:
		return result.json(stdout)
	case f.markdown:
		folder := figuresDir
		if f.out == "" {
			folder = "" // there are none
		}
		return result.page().Markdown(stdout, folder)
	}
	if err := result.text(stdout); err != nil {
		return err
	}
	if f.out != "" {
		fmt.Fprintf(stdout, "\ntables and runs are in %s\n", f.out)
	}
	return nil
}

// checkOut makes the directory of --out, or refuses one that holds anything but
// an ablation.
func (f ablationFlags) checkOut(pools []pool) error {
	if f.out == "" {
		return nil
	}
	entries, err := os.ReadDir(f.out)
	if err == nil {
		for _, e := range entries {
			known := slices.Contains([]string{ablationText, ablationPage, ablationJSONFile, figuresDir}, e.Name()) || slices.ContainsFunc(pools, func(p pool) bool { return p.dir == e.Name() })
			if !known {
				return cli.Inputf("--out %s holds %s, which this command did not make; choose another directory", f.out, e.Name())
			}
		}
	}
	if err := os.MkdirAll(f.out, 0o777); err != nil {
		return cli.Inputf("--out: %w", err)
	}
	return nil
}

func (f ablationFlags) command() string {
	words := []string{"go run ./benchmark ablation --data", filepath.ToSlash(f.data)}
	add := func(flag, value, byDefault string) {
		if value != byDefault {
			words = append(words, "--"+flag, value)
		}
	}
	add("budget", f.budget, "")
	for _, s := range f.set {
		add("set", s, "")
	}
	if f.hubs == "" {
		words = append(words, `--hubs ""`)
	} else {
		add("hubs", f.hubs, "1,2,4,8,12,16,20,24")
	}
	add("hub-pools", f.hubPools, "all")
	add("seeds", strconv.Itoa(f.seeds), "5")
	add("datasets", f.datasets, "")
	return strings.Join(append(words, f.learn.words()...), " ")
}

// ablation holds the tables.
type ablation struct {
	Data     string          `json:"data"`
	DataHash string          `json:"data_hash"`
	Command  string          `json:"command"`
	Seeds    int             `json:"seeds"`
	Budgets  []string        `json:"budgets"`
	Tables   []ablationTable `json:"tables"`

	unit cli.TimeUnit
}

type ablationTable struct {
	Title     string        `json:"title"`
	Pool      string        `json:"pool"`
	Exclude   string        `json:"exclude,omitempty"`
	Head      string        `json:"-"` // of the column of names
	Datasets  int           `json:"datasets"`
	Intervals string        `json:"intervals"`
	TraceHash string        `json:"trace_hash"` // of all runs on this pool
	Rows      []ablationRow `json:"rows"`
}

type ablationRow struct {
	form
	Details string         `json:"details"`
	Regret  []ablationCell `json:"regret"` // one a budget
	Epochs  float64        `json:"epochs"` // of a run to the last budget, on average
	Trials  float64        `json:"trials"`
}

type ablationCell struct {
	Mean float64  `json:"mean"`
	Low  *float64 `json:"low"`
	High *float64 `json:"high"`
}

// add takes the tables of a pool from its report.
func (a *ablation) add(p pool, r *report.Report) {
	for _, t := range []struct {
		title, head string
		forms       []form
	}{
		{"Parts of the published method", "form", p.forms},
		{"Size of the hub", "models", p.hubs},
	} {
		if len(t.forms) == 0 {
			continue
		}
		table := ablationTable{
			Title: t.title, Pool: p.name, Exclude: p.exclude, Head: t.head, Datasets: len(r.Datasets),
			Intervals: r.Bootstrap.String(), TraceHash: r.TraceHash,
		}
		for _, f := range t.forms {
			i := slices.IndexFunc(r.Rows, func(row report.Row) bool { return row.Method.Name == f.method.Name })
			row := ablationRow{form: f, Details: r.Rows[i].Method.Details, Epochs: r.Rows[i].Spent.Epochs, Trials: r.Rows[i].Spent.Trials}
			for _, c := range r.Rows[i].Cells {
				row.Regret = append(row.Regret, cellOf(c.Regret))
			}
			table.Rows = append(table.Rows, row)
		}
		a.Tables = append(a.Tables, table)
	}
}

func cellOf(s stats.Summary) ablationCell {
	c := ablationCell{Mean: s.Mean}
	if s.Low == s.Low && s.High == s.High { // not NaN
		c.Low, c.High = &s.Low, &s.High
	}
	return c
}

func (c ablationCell) String() string {
	text := strconv.FormatFloat(c.Mean, 'f', 3, 64)
	if c.Low != nil {
		text += fmt.Sprintf(" [%.3f, %.3f]", *c.Low, *c.High)
	}
	return text
}

func (a *ablation) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(a)
}

// caption says what the numbers of a table are.
func (a *ablation) caption(t ablationTable) string {
	return fmt.Sprintf("mean normalised regret over %s, %s each; epochs and trials of a run to %s",
		count(t.Datasets, "data set"), count(a.Seeds, "seed"), a.Budgets[len(a.Budgets)-1])
}

func (a *ablation) text(w io.Writer) error {
	for _, t := range a.Tables {
		fmt.Fprintf(w, "\n%s, %s\n%s\n\n", t.Title, t.Pool, a.caption(t))
		tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(tab, "%s\t%s\tepochs\ttrials\n", t.Head, strings.Join(a.Budgets, "\t"))
		for _, r := range t.Rows {
			fmt.Fprintln(tab, strings.Join(r.cells(), "\t"))
		}
		if err := tab.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (r ablationRow) cells() []string {
	out := []string{r.Name}
	for _, c := range r.Regret {
		out = append(out, c.String())
	}
	return append(out, strconv.FormatFloat(r.Epochs, 'f', 1, 64), strconv.FormatFloat(r.Trials, 'f', 1, 64))
}

// publish writes the tables, the page and its figures to a directory.
func (a *ablation) publish(dir string) error {
	page := a.page()
	figures := make(map[string]func(io.Writer) error)
	for _, f := range page.Figures() {
		figures[f.Name+".svg"], figures[f.Name+".png"] = f.SVG, f.PNG
	}
	if err := fillFolder(filepath.Join(dir, figuresDir), figures); err != nil {
		return err
	}
	for name, fill := range map[string]func(io.Writer) error{
		ablationText:     func(w io.Writer) error { return page.Markdown(w, figuresDir) },
		ablationPage:     page.HTML,
		ablationJSONFile: a.json,
	} {
		if err := atomicfile.Write(filepath.Join(dir, name), fill); err != nil {
			return err
		}
	}
	return nil
}

// page is the ablation as a document.
func (a *ablation) page() *report.Page { return a.document(a.Tables).Page() }

// document holds some of the tables for a page.
func (a *ablation) document(tables []ablationTable) *report.Ablation {
	out := &report.Ablation{Title: "Ablation of the published method", Data: a.Data, Hash: a.DataHash, Command: a.Command, Seeds: a.Seeds}
	for i, t := range tables {
		kind := "parts"
		if t.Rows[0].Hub > 0 {
			kind = "hub"
		}
		table := report.AblationTable{
			Name: fmt.Sprintf("%s-%d", kind, i+1), Title: t.Title + ", " + t.Pool, Head: t.Head, Datasets: t.Datasets,
			Intervals: t.Intervals, TraceHash: t.TraceHash, Budgets: a.Budgets,
		}
		for _, r := range t.Rows {
			row := report.AblationRow{Name: r.Name, Hub: r.Hub, Epochs: r.Epochs, Trials: r.Trials}
			for _, c := range r.Regret {
				s := stats.Summary{Mean: c.Mean, Low: math.NaN(), High: math.NaN()}
				if c.Low != nil && c.High != nil {
					s.Low, s.High = *c.Low, *c.High
				}
				row.Regret = append(row.Regret, s)
			}
			table.Rows = append(table.Rows, row)
		}
		out.Tables = append(out.Tables, table)
	}
	return out
}
