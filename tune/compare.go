package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/tune/contest"
	"quicktune/tune/session"
)

type compareFlags struct {
	data       []string
	methods    string
	budget     time.Duration
	seeds      int
	meta       string
	related    []string
	clock      string
	candidates int
	parallel   int
	scores     bool
	filter     bool
	out        string
}

func newCompare(stdout, stderr io.Writer) *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:   "compare --data DIR... --budget 3m",
		Short: "let methods search on your pictures with equal budgets",
		Long: `Compare runs several methods on several sets of pictures, with the same budget and
several seeds, and prints the test accuracy of what they find. What methods learn
from other data sets never comes from a set that is judged on, nor from those that
--related names.

With the counted clock an epoch costs what its arithmetic takes on a reference
machine, so the table is the same everywhere, however busy the machine is;
decisions are not charged, but shown. An interrupted comparison is continued by the
same command.`,
		Example: `  go run ./tune compare --data photos --data birds.zip --budget 1m --seeds 3
  go run ./tune compare --data photos --budget 30s --methods quicktune,random,single --clock measured`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return compare(c.Context(), f, stdout, stderr) },
	}
	p := c.Flags()
	p.StringSliceVar(&f.data, "data", nil, "folders or zip archives of pictures")
	p.StringVar(&f.methods, "methods", strings.Join([]string{session.QuickTune, "random", session.Default, session.Single}, ","), "methods, the first of which is compared with all others")
	p.DurationVar(&f.budget, "budget", 3*time.Minute, "time that each search has")
	p.IntVar(&f.seeds, "seeds", 5, "runs of each method on each set")
	p.StringVar(&f.meta, "meta", session.DefaultMeta, "meta-dataset that methods learn from")
	p.StringArrayVar(&f.related, "related", []string{"fashion_mnist=fashion"}, "NAME=OTHER,...: data sets with the same pictures, which are not learnt from either")
	p.StringVar(&f.clock, "clock", session.Counted, "counted, or measured for the seconds of this machine")
	p.IntVar(&f.candidates, "candidates", session.DefaultCandidates, "configurations to choose from")
	p.IntVar(&f.parallel, "parallel", 0, "runs at the same time (default: one for each CPU, or 1 on the measured clock)")
	p.BoolVar(&f.scores, "scores", true, "look at the networks before training")
	p.BoolVar(&f.filter, "time-filter", true, "leave out configurations that cannot get anywhere within the budget")
	p.StringVar(&f.out, "out", "results/runs/tune-compare", "directory of the comparison")
	return c
}

func compare(ctx context.Context, f compareFlags, stdout, stderr io.Writer) error {
	log := cli.Logger(stderr)
	o := contest.Options{Dir: f.out, Seeds: f.seeds, Parallel: f.parallel, Related: make(map[string][]string), Warn: func(text string) { log.Warn(text) }}
	for _, d := range f.data {
		full, err := filepath.Abs(d)
		if err != nil {
			return cli.Input(err)
		}
		if slices.ContainsFunc(o.Data, func(other string) bool { return contest.Name(other) == contest.Name(full) }) {
			return cli.Inputf("--data: two sets are called %s: rename one", contest.Name(full))
		}
		o.Data = append(o.Data, full)
	}
	for m := range strings.SplitSeq(f.methods, ",") {
		m = strings.TrimSpace(m)
		if !slices.Contains(session.Methods(), m) {
			return cli.Inputf("--methods %s: want some of %s", m, strings.Join(session.Methods(), ", "))
		}
		o.Methods = append(o.Methods, m)
	}
	for _, r := range f.related {
		name, others, ok := strings.Cut(r, "=")
		if !ok {
			return cli.Inputf("--related %s: want NAME=OTHER,...", r)
		}
		o.Related[name] = append(o.Related[name], strings.Split(others, ",")...)
	}
	switch {
	case len(o.Data) == 0:
		return cli.Inputf("--data: name at least one folder or zip archive of pictures")
	case f.seeds < 1:
		return cli.Inputf("--seeds %d: at least 1 is needed", f.seeds)
	case f.parallel < 0:
		return cli.Inputf("--parallel %d is negative", f.parallel)
	}
	if _, err := metadataset.Open(f.meta); err != nil {
		return cli.Inputf("--meta: %w", err)
	}
	if o.Parallel == 0 {
		o.Parallel = 1
		if f.clock == session.Counted {
			o.Parallel = runtime.GOMAXPROCS(0)
		}
	}
	o.Settings = session.Settings{
		Budget: f.budget.Seconds(), Workers: 1, Candidates: f.candidates, Meta: f.meta, Trainer: session.Embedded,
		Metric: session.ValAccuracy, Clock: f.clock, NoScores: !f.scores, NoTimeFilter: !f.filter,
	}
	if err := os.MkdirAll(f.out, 0o777); err != nil {
		return cli.Input(err)
	}
	total := int64(len(o.Data) * len(o.Methods) * o.Seeds)
	bar := cli.NewProgress(stderr, log, "compare", total, false)
	o.Progress = func(done, total int) { bar.Set(int64(done), int64(total)) }
	outcomes, err := contest.Run(ctx, o)
	bar.Finish()
	if errors.Is(err, context.Canceled) {
		return cli.Interruptedf("interrupted; finished runs are kept in %s, the same command continues", f.out)
	}
	if err != nil {
		return err
	}
	printContest(stdout, outcomes, o)
	return nil
}

func printContest(w io.Writer, outcomes []contest.Outcome, o contest.Options) {
	datasets, lines := contest.Table(outcomes, o.Methods)
	s := &o.Settings
	fmt.Fprintf(w, "%d sets of pictures, %d seeds, %s each, %s clock; means over the sets with 95 %% intervals over seeds\n\n", len(datasets), o.Seeds, cli.FormatSeconds(s.Budget), s.Clock)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "method\ttest accuracy\t95 %%\tvalidation\t%s ahead by\t95 %%\tsets\tepochs\tdeciding\n", o.Methods[0])
	for i, l := range lines {
		behind, interval, wins := "", "", ""
		if i > 0 {
			behind, interval, wins = fmt.Sprintf("%+.4f", l.Behind.Mean), between(l.Behind), fmt.Sprintf("%d of %d", l.Wins, len(datasets))
		}
		fmt.Fprintf(t, "%s\t%.4f\t%s\t%.4f\t%s\t%s\t%s\t%.0f\t%.2f s\n", l.Method, l.Test.Mean, between(l.Test), l.Validation.Mean, behind, interval, wins, l.Epochs, l.Deciding)
	}
	t.Flush()
	fmt.Fprint(w, "\ntest accuracy by set\n")
	for i, d := range datasets {
		fmt.Fprintf(t, "%s", d)
		for _, l := range lines {
			fmt.Fprintf(t, "\t%s %.3f", l.Method, l.ByDataset[i])
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}

func between(e contest.Estimate) string {
	if math.IsNaN(e.Low) {
		return "-"
	}
	return fmt.Sprintf("[%.4f, %.4f]", e.Low, e.High)
}
