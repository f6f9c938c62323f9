package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"quicktune"
	"quicktune/baselines"
	"quicktune/benchmark/crossval"
	"quicktune/benchmark/replay"
	"quicktune/benchmark/selection"
	"quicktune/benchmark/stats"
	"quicktune/internal/cli"
	"quicktune/search"
)

// rankingFlags are the flags of rankings.
type rankingFlags struct {
	data, scores, list, budget, datasets string
	seeds, parallel, warm                int
	weight                               float64
	learn                                learnFlags
}

func newRankings(stdout, stderr io.Writer) *cobra.Command {
	var f rankingFlags
	c := &cobra.Command{
		Use:   "rankings --data DIR",
		Short: "take rankings of the models away from a search, and put others in",
		Long: `Rankings replays searches that begin with a ranking of the pretrained models to
the curves of a meta-dataset: Quick-Tune whose forecasts move with the ranking,
Quick-Tune that tries the best models of the ranking first, Quick-Tune whose
forecasts have it as an input and learn from other data sets what it is worth, and
the two stages of picking one model, or three, and tuning it. Each stands beside the same search
without a ranking, with the static prior, which looks at no image, and with a
ranking at random. The time of scoring all models is charged to the budget.`,
		Example: "  go run ./benchmark rankings --data results/extended --rankings static-prior --budget 1h --seeds 1",
		Args:    cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return runRankings(c.Context(), f, stdout, stderr)
		},
	}
	p := c.Flags()
	p.StringVar(&f.data, "data", "", "meta-dataset to replay")
	p.StringVar(&f.scores, "scores", "", "file of scores (default: the directory's name with -scores.parquet)")
	p.StringVar(&f.list, "rankings", "static-prior,random,logme,leep,lfc,knn,static-prior+logme,static-prior+leep,static-prior+lfc", "rankings to compare: "+rankings)
	p.StringVar(&f.budget, "budget", "", "budgets of the search, such as 1m,5m")
	p.StringVar(&f.datasets, "datasets", "", "data sets to replay (default: all)")
	p.IntVar(&f.seeds, "seeds", 5, "repetitions of every method on every data set")
	p.Float64Var(&f.weight, "weight", 0.5, "of the standardised ranking beside Quick-Tune's forecasts")
	p.IntVar(&f.warm, "warm-start", 3, "models that Quick-Tune with a warm start tries first")
	p.IntVar(&f.parallel, "parallel", 0, "replays that run at the same time; changes no result (default: one for each CPU)")
	f.learn.add(p)
	return c
}

// variants lists the methods to compare. Those of Quick-Tune come first.
func (f rankingFlags) variants() ([]search.Method, error) {
	file := f.scores
	if file == "" {
		file = strings.TrimRight(f.data, "/") + "-scores.parquet"
	}
	methods := []search.Method{quicktune.PlannerMethod(nil)}
	var stages []search.Method
	for by := range strings.SplitSeq(f.list, ",") {
		by = strings.TrimSpace(by)
		r, err := selection.NewRanking(by, file)
		if err != nil {
			return nil, err
		}
		moved := quicktune.RankedPlannerMethod(r, quicktune.RankedOptions{Weight: f.weight})
		moved.Name = "quicktune, moved by " + by
		warm := quicktune.RankedPlannerMethod(r, quicktune.RankedOptions{Weight: f.weight, WarmStart: f.warm})
		warm.Name = "quicktune, warm start by " + by
		input := quicktune.ScoredPlannerMethod(r)
		input.Name = "quicktune, forecasts from " + by
		methods = append(methods, moved, warm, input)
		for _, top := range []int{1, 3} {
			m := baselines.TwoStageMethod(baselines.TwoStage{Ranking: r, Top: top})
			m.Name = fmt.Sprintf("two-stage, top %d by %s", top, by)
			stages = append(stages, m)
		}
	}
	plain, err := baselines.New("hyperband", nil)
	if err != nil {
		return nil, err
	}
	return append(append(methods, plain), stages...), nil
}

func runRankings(ctx context.Context, f rankingFlags, stdout, stderr io.Writer) error {
	if f.seeds < 1 || f.seeds > maxSeeds {
		return cli.Inputf("--seeds %d: want 1 to %d", f.seeds, maxSeeds)
	}
	if f.data == "" {
		return cli.Inputf("rankings needs a meta-dataset: --data DIR")
	}
	methods, err := f.variants()
	if err != nil {
		return cli.Input(err)
	}
	return replayVariants(ctx, f, methods, stderr, func(r *replayed) error {
		return r.write(stdout, "without a ranking", "The time of scoring all models is part of the search; a static prior and a random ranking take none.")
	})
}

// replayed are variants of searches with what became of them.
type replayed struct {
	hash    string // of the meta-dataset
	tables  []*replay.Table
	methods []search.Method
	budgets []float64
	traces  []*replay.Trace
	unit    cli.TimeUnit
}

// replayVariants learns and replays methods, and hands them to write.
func replayVariants(ctx context.Context, f rankingFlags, methods []search.Method, stderr io.Writer, write func(*replayed) error) error {
	log := cli.Logger(stderr)
	s, err := openData(f.data)
	if err != nil {
		return err
	}
	budgets, err := budgetsFor(f.budget, s)
	if err != nil {
		return err
	}
	tables, err := chooseTables(f.datasets, "", s)
	if err != nil {
		return err
	}
	if methods, err = crossval.Learn(ctx, s, methods, f.learn.options(tested(tables), f.parallel)); err != nil {
		return cli.Input(err)
	}
	var bar *cli.Progress
	x := &replay.Experiment{Tables: tables, Methods: methods, Budgets: budgets, Seeds: seeds(f.seeds), Parallel: f.parallel}
	x.Progress = func(p replay.Progress) {
		if bar == nil {
			bar = cli.NewProgress(stderr, log, "replay", int64(p.Total), false)
		}
		bar.Set(int64(p.Finished), 0)
	}
	traces, err := x.Run(ctx)
	if bar != nil {
		bar.Finish()
	}
	if errors.Is(err, context.Canceled) {
		return cli.Interruptedf("interrupted; what methods learnt from other data sets is kept")
	}
	if err != nil {
		return err
	}
	return write(&replayed{s.Manifest.Hash, tables, methods, budgets, traces, cli.TimeUnit(s.Manifest.TimeUnit)})
}

// write prints mean normalised regrets and paired differences to the same search
// without what is taken away, which is the first method or Hyperband.
func (r *replayed) write(out io.Writer, without, note string) error {
	tables, methods, budgets := r.tables, r.methods, r.budgets
	dataset := map[string]int{}
	for d, t := range tables {
		dataset[t.Task.Name] = d
	}
	// regrets[method][budget][data set], means over seeds.
	regrets := map[string][][]float64{}
	counts := map[string][][]float64{}
	for _, m := range methods {
		for range budgets {
			regrets[m.Name] = append(regrets[m.Name], make([]float64, len(tables)))
			counts[m.Name] = append(counts[m.Name], make([]float64, len(tables)))
		}
	}
	for _, t := range r.traces {
		for b, budget := range budgets {
			// A run that was told another budget says nothing of this one.
			if t.Budget != budget && usesBudget(methods, t.Method) {
				continue
			}
			d := dataset[t.Dataset]
			regrets[t.Method][b][d] += t.RegretAt(budget)
			counts[t.Method][b][d]++
		}
	}
	for name := range regrets {
		for b := range budgets {
			for d := range tables {
				regrets[name][b][d] /= counts[name][b][d]
			}
		}
	}
	resampler := stats.Bootstrap{}.Resampler(len(tables))
	var text bytes.Buffer
	fmt.Fprintf(&text, "mean normalised regret on %d data sets (%.12s), and the difference to the same search %s\n", len(tables), r.hash, without)
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "  method")
	for _, b := range budgets {
		at := cli.FormatBudget(b, r.unit)
		fmt.Fprintf(w, "\t%s\tdifference", at)
	}
	fmt.Fprintln(w)
	plain := methods[0].Name
	for _, m := range methods {
		if m.Name == "hyperband" {
			plain = m.Name
		}
		fmt.Fprintf(w, "  %s", m.Name)
		for b := range budgets {
			difference := less(regrets[m.Name][b], regrets[plain][b])
			fmt.Fprintf(w, "\t%.4f\t%s", resampler.Mean(regrets[m.Name][b]).Mean, interval(resampler.Mean(difference), m.Name == plain))
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&text, "Differences: below 0 is better than %s; %s. %s\n", without, stats.Bootstrap{}, note)
	_, err := out.Write(text.Bytes())
	return err
}

// interval formats a difference.
func interval(s stats.Summary, itself bool) string {
	switch {
	case itself:
		return "-"
	case math.IsNaN(s.Low):
		return fmt.Sprintf("%+.4f", s.Mean)
	}
	return fmt.Sprintf("%+.4f [%+.4f, %+.4f]", s.Mean, s.Low, s.High)
}

func usesBudget(methods []search.Method, name string) bool {
	for _, m := range methods {
		if m.Name == name {
			return m.Uses.Budget
		}
	}
	return false
}
