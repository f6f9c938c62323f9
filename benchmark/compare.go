package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"quicktune/benchmark/replay"
	"quicktune/benchmark/report"
	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/search"
)

// saveEvery is how long finished runs may stay unsaved.
const saveEvery = 30 * time.Second

// The most seeds and simulated workers that a comparison takes: all finished
// runs are held in memory, some 5 kB each.
const (
	maxSeeds   = 100_000
	maxWorkers = 10_000
)

// compareFlags are the flags of the comparison.
type compareFlags struct {
	data     string
	budget   string
	methods  methodFlags
	learn    learnFlags
	seeds    int
	workers  int
	parallel int
	datasets string
	exclude  string
	clock    string
	against  string
	out      string
	json     bool
	watch    bool
}

func newCompare(stdout, stderr io.Writer) *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:   "benchmark",
		Short: "replay learning curves to compare search methods",
		Long: `Benchmark replays the learning curves of a meta-dataset to search methods under
a simulated clock and compares what they find within each budget: the mean
normalised regret and the mean rank over data sets, with bootstrap intervals, and
every method against one of them, pair by pair over the data sets.

An epoch costs the seconds that were recorded for it. With --clock training,
nothing else counts, and the same command gives the same traces to the last bit
on any machine; --clock decision adds the real time of each decision.

Methods that learn from other data sets do so by themselves before the replay,
by cross-validation over the data sets of --data: none is tested on what it
learnt from. What they learnt is kept in a cache under a hash of the data.

With --out, traces and a report (one HTML file, Markdown, figures, tables) are kept
in a directory. An interrupted comparison is continued by the same command.`,
		Example: `  go run ./benchmark
  go run ./benchmark --data results/extended --budget 1h,4h,16h --methods random,asha,hyperband --seeds 10
  go run ./benchmark --data results/extended --methods asha,hyperband --set hyperband.eta=4 --workers 8 --out results/runs/eta4
  go run ./benchmark --data results/extended --budget 1h --methods quicktune,random --seeds 1
  go run ./benchmark --data results/extended --methods asha,hyperband,random --against random --out results/runs/first
  go run ./benchmark --data results/extended --exclude linear-probing --datasets BCT,DOG --json`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return runCompare(c.Context(), f, stdout, stderr)
		},
	}
	p := c.Flags()
	p.StringVar(&f.data, "data", "", "meta-dataset to replay (default: "+shippedData+")")
	p.StringVar(&f.budget, "budget", "", "budgets of the search, such as 1h,4h,16h, or epochs such as 500,2000 for data without times (default: those of the meta-dataset)")
	p.StringVar(&f.methods.list, "methods", "", "methods to compare, or all; \"benchmark methods\" lists them (default: "+plainMethods+"; without --data, "+shippedMethods+")")
	p.StringArrayVar(&f.methods.set, "set", nil, "change a setting of a method: METHOD.SETTING=VALUE; may be given several times")
	p.StringVar(&f.methods.compat, "compat", "", "reference: quicktune stands for quicktune-reference, the published method with the choices of its public implementation")
	p.StringVar(&f.methods.model, "model", "", "model that \"benchmark meta-train\" made, for its method to use instead of learning")
	f.learn.add(p)
	p.IntVar(&f.seeds, "seeds", 10, "repetitions of every method on every data set")
	p.IntVar(&f.workers, "workers", 1, "simulated workers that train at the same time")
	p.IntVar(&f.parallel, "parallel", 0, "replays that run at the same time; changes no result (default: one for each CPU)")
	p.StringVar(&f.datasets, "datasets", "", "data sets to replay, such as BCT,DOG (default: all)")
	p.StringVar(&f.exclude, "exclude", "", "curves that no method may choose: linear-probing, short")
	p.StringVar(&f.clock, "clock", string(replay.Training), "training, or decision to add the real time of decisions")
	p.StringVar(&f.against, "against", "", "method that all others are compared with, pair by pair (default: the first of --methods)")
	p.StringVar(&f.out, "out", "", "directory for traces and report")
	p.BoolVar(&f.json, "json", false, "print JSON for a program to read")
	p.BoolVar(&f.watch, "watch", false, "draw a table of what is finished so far while it runs, on a terminal")
	return c
}

func runCompare(ctx context.Context, f compareFlags, stdout, stderr io.Writer) error {
	log := cli.Logger(stderr)
	s, err := openData(f.data)
	if err != nil {
		return err
	}
	switch {
	case f.methods.list != "":
	case f.data == "":
		f.methods.list = shippedMethods
	default:
		f.methods.list = plainMethods
	}
	if !f.json {
		fmt.Fprintln(stdout, summary(s))
	}
	r, err := compareOn(ctx, f, s, stderr, log)
	if err != nil {
		return err
	}
	if f.json {
		return r.JSON(stdout)
	}
	if err := r.Text(stdout); err != nil {
		return err
	}
	if f.out != "" {
		fmt.Fprintf(stdout, "\nreport, figures and traces are in %s\n", f.out)
	}
	return nil
}

// compareOn runs a comparison on a meta-dataset and, with --out, writes all that
// is kept of it.
func compareOn(ctx context.Context, f compareFlags, s *metadataset.Store, stderr io.Writer, log *slog.Logger) (*report.Report, error) {
	x, warnings, err := experiment(f, s)
	if err != nil {
		return nil, err
	}
	against, err := f.reference(x.Methods)
	if err != nil {
		return nil, err
	}
	from := replay.Provenance{Data: s.Manifest.Hash, Exclude: f.exclude}
	var out *outDir
	if f.out != "" {
		if out, err = claim(f.out, from); err != nil {
			return nil, err
		}
	}
	var learned []report.Learning
	if x.Methods, learned, err = learn(ctx, s, x.Methods, f.learn.options(tested(x.Tables), f.parallel), stderr, log); err != nil {
		return nil, err
	}

	traces, finished, err := replayGrid(ctx, x, out, func() display {
		return newDisplay(x, f.watch, cli.TimeUnit(s.Manifest.TimeUnit), "replay", stderr, log)
	}, log)
	if err != nil {
		return nil, err
	}
	var calibration *report.Calibration
	if out != nil {
		if calibration, err = calibrate(ctx, s, tested(x.Tables), learned, f.learn.cache); err != nil {
			return nil, err
		}
	}
	r, err := report.New(report.Input{
		Title:   "Comparison of search methods",
		Data:    reportData(f.data, f.exclude, s),
		Methods: x.Methods,
		Traces:  traces,
		Budgets: x.Budgets,
		Workers: x.Workers,
		Clock:   x.Clock,
		Command: f.command(), Learning: learned,
		Against: against, Store: s, Tables: x.Tables, Calibration: calibration,
	})
	if err != nil {
		return nil, err
	}
	r.Warnings = append(r.Warnings, warnings...)
	if out != nil {
		if err := out.publish(r, x, f.settings(), traces, finished); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// reference is the method that --against names.
func (f compareFlags) reference(methods []search.Method) (string, error) {
	name := f.against
	if f.methods.compat != "" && name == plannerName {
		name = referenceName
	}
	if name == "" || slices.ContainsFunc(methods, func(m search.Method) bool { return m.Name == name }) {
		return name, nil
	}
	return "", cli.Inputf("--against %s: it is not among --methods %s", f.against, f.methods.list)
}

// replayGrid runs an experiment with a display and saves to out, which may be
// nil, what is finished as it goes. Besides the traces of the grid it returns all
// that out is to hold.
func replayGrid(ctx context.Context, x *replay.Experiment, out *outDir, begin func() display, log *slog.Logger) (traces, finished []*replay.Trace, err error) {
	if out != nil {
		x.Previous = out.previous
	}
	finished = slices.Clone(x.Previous)
	var view display
	saved := time.Now()
	x.Progress = func(p replay.Progress) {
		if view == nil {
			view = begin()
			if p.Taken > 0 {
				log.Info("continuing", "finished runs", p.Taken, "of", p.Total)
			}
		}
		view.show(p)
		if p.Last == nil || out == nil {
			return
		}
		finished = append(finished, p.Last)
		if time.Since(saved) > saveEvery {
			if err := out.save(finished); err != nil {
				log.Warn("could not save the runs finished so far", "error", err)
			}
			saved = time.Now()
		}
	}
	started := time.Now()
	traces, err = x.Run(ctx)
	if view != nil {
		view.finish()
	}
	if err != nil {
		return nil, nil, keep(err, out, finished)
	}
	log.Info("replayed", "runs", len(traces), "in", time.Since(started).Round(time.Millisecond))
	return traces, finished, nil
}

// reportData describes the meta-dataset to the report.
func reportData(name, exclude string, s *metadataset.Store) report.Data {
	info := describe(s)
	if name == "" {
		name = shippedData
	}
	return report.Data{
		Name: filepath.ToSlash(name), Hash: info.Hash,
		Datasets: info.Counts.Datasets, Curves: info.Counts.Curves, Epochs: info.Counts.Epochs,
		Time: info.Time, Unit: cli.TimeUnit(info.TimeUnit), Exclude: exclude, Notes: info.Notes,
	}
}

// command is the command line that makes the same traces again: every flag that
// changes them.
func (f compareFlags) command() string {
	words := []string{"go run ./benchmark"}
	add := func(flag, value, byDefault string) {
		if value != byDefault {
			words = append(words, "--"+flag, value)
		}
	}
	add("data", filepath.ToSlash(f.data), "")
	add("budget", f.budget, "")
	add("methods", f.methods.list, "")
	for _, s := range f.methods.set {
		add("set", s, "")
	}
	add("compat", f.methods.compat, "")
	add("model", filepath.ToSlash(f.methods.model), "")
	words = append(words, f.learn.words()...)
	add("seeds", strconv.Itoa(f.seeds), "")
	add("workers", strconv.Itoa(f.workers), "1")
	add("datasets", f.datasets, "")
	add("exclude", f.exclude, "")
	add("clock", f.clock, string(replay.Training))
	add("against", f.against, "")
	return strings.Join(words, " ")
}

// keep saves the finished runs of a comparison that ended early and says so.
func keep(err error, out *outDir, finished []*replay.Trace) error {
	if out == nil {
		return err
	}
	if saveErr := out.save(finished); saveErr != nil {
		return errors.Join(err, saveErr)
	}
	if errors.Is(err, context.Canceled) {
		return cli.Interruptedf("interrupted; %s kept in %s, the same command continues", count(len(finished), "finished run"), out.dir)
	}
	return err
}

// What is compared where --methods is not given: what Quick-Tune learns from the
// shipped curves comes with them.
const (
	plainMethods   = "random,asha,hyperband"
	shippedMethods = "quicktune,asha,hyperband,random"
)

// shippedData is the meta-dataset that is part of the repository.
const shippedData = "results/embedded"

// openData opens the meta-dataset in dir, or the shipped one.
func openData(dir string) (*metadataset.Store, error) {
	if dir == "" {
		var err error
		if dir, err = findShipped(); err != nil {
			return nil, err
		}
	}
	s, err := metadataset.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cli.Inputf("%w; \"benchmark import --from PATH --out DIR\" makes one", err)
	}
	return s, cli.Input(err)
}

// findShipped looks for the shipped meta-dataset.
func findShipped() (string, error) {
	dir, err := inRepository(shippedData)
	if err == nil && dir == "" {
		err = cli.Inputf("%s, the meta-dataset of the repository, is not here: run the command in the repository, or name another with --data DIR", shippedData)
	}
	return dir, err
}

// inRepository looks for a directory of the repository from the working directory
// upwards. It returns "" if there is none.
func inRepository(name string) (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		dir := filepath.Join(at, filepath.FromSlash(name))
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir, nil
		}
		up := filepath.Dir(at)
		if up == at {
			return "", nil
		}
		at = up
	}
}

// experiment builds the grid that the flags ask for, and warns of what a report
// on it must say.
func experiment(f compareFlags, s *metadataset.Store) (x *replay.Experiment, warnings []error, err error) {
	if f.seeds < 1 || f.seeds > maxSeeds {
		return nil, nil, cli.Inputf("--seeds %d: want 1 to %d", f.seeds, maxSeeds)
	}
	if f.workers < 1 || f.workers > maxWorkers {
		return nil, nil, cli.Inputf("--workers %d: want 1 to %d", f.workers, maxWorkers)
	}
	clock, err := replay.ParseClock(f.clock)
	if err != nil {
		return nil, nil, cli.Inputf("--clock: %w", err)
	}
	budgets, err := budgetsFor(f.budget, s)
	if err != nil {
		return nil, nil, err
	}
	datasets := f.datasets
	if held := f.learn.held(); held != nil {
		if datasets != "" {
			return nil, nil, cli.Inputf("--hold-out already names the data sets to replay: leave --datasets out")
		}
		datasets = strings.Join(held, ",")
	}
	tables, err := chooseTables(datasets, f.exclude, s)
	if err != nil {
		return nil, nil, err
	}
	var model *modelFile
	if f.methods.model != "" {
		if model, err = loadModel(f.methods.model, s); err != nil {
			return nil, nil, err
		}
		warning, err := model.mayBeTestedOn(tested(tables))
		if err != nil {
			return nil, nil, err
		}
		if warning != nil {
			warnings = append(warnings, warning)
		}
	}
	methods, err := f.methods.choose(model, tables)
	if err != nil {
		return nil, nil, err
	}
	x = &replay.Experiment{
		Tables: tables, Methods: methods, Budgets: budgets, Seeds: seeds(f.seeds),
		Workers: f.workers, Clock: clock, Parallel: f.parallel,
	}
	return x, warnings, nil
}

// seeds are 0, 1, ..., n-1.
func seeds(n int) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		out[i] = uint64(i)
	}
	return out
}

// tested lists the data sets of tables.
func tested(tables []*replay.Table) []string {
	var names []string
	for _, t := range tables {
		names = append(names, t.Task.Name)
	}
	return names
}

// budgetsFor reads --budget, whose default depends on the unit of time.
func budgetsFor(list string, s *metadataset.Store) ([]float64, error) {
	unit := cli.TimeUnit(s.Manifest.TimeUnit)
	if list == "" {
		if len(s.Manifest.Budgets) > 0 {
			return slices.Clone(s.Manifest.Budgets), nil
		}
		list = "1h,4h,16h"
		if unit == cli.Epochs {
			e := s.Manifest.MaxEpochs
			list = fmt.Sprintf("%d,%d,%d", 2*e, 8*e, 32*e)
		}
	}
	budgets, err := cli.ParseBudgets(list, unit)
	if err != nil {
		return nil, cli.Inputf("--budget: %w", err)
	}
	return budgets, nil
}

// chooseTables makes the tables of the data sets in a comma-separated list.
func chooseTables(list, exclude string, s *metadataset.Store) ([]*replay.Table, error) {
	keep, err := replay.ParseExclude(exclude, s.Space)
	if err != nil {
		return nil, cli.Inputf("--exclude: %w", err)
	}
	var chosen []int
	if list == "" {
		for d := range s.Datasets {
			chosen = append(chosen, d)
		}
	} else {
		for name := range strings.SplitSeq(list, ",") {
			d, ok := s.DatasetIndex(strings.TrimSpace(name))
			if !ok {
				var names []string
				for _, ds := range s.Datasets {
					names = append(names, ds.Name)
				}
				return nil, cli.Inputf("--datasets: no data set %q; there are %s", name, strings.Join(names, ", "))
			}
			chosen = append(chosen, d)
		}
		slices.Sort(chosen)
		chosen = slices.Compact(chosen)
	}
	var tables []*replay.Table
	for _, d := range chosen {
		t, err := replay.FromStore(s, d, keep)
		if err != nil {
			return nil, cli.Input(err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}
