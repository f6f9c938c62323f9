package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"quicktune"
	"quicktune/benchmark/traintime"
	"quicktune/internal/cli"
	"quicktune/search"
)

func newTimes(stdout, stderr io.Writer) *cobra.Command {
	var f rankingFlags
	c := &cobra.Command{
		Use:   "times --data DIR",
		Short: "take predicted training times away from a search, and put them in",
		Long: `Times replays Quick-Tune to the curves of a meta-dataset with training times that
are predicted without training (benchmark traintime --probe): as a feature of its
forecasts of scores and costs, as a filter that leaves out what cannot finish in
the time that is left, and as both. Beside them stand the same search without, and
one whose feature is that of other networks, which shows what is chance. The time
of looking at the data set is charged to the budget.`,
		Example: "  go run ./benchmark times --data results/embedded --budget 15s --datasets digits",
		Args:    cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return runTimes(c.Context(), f, stdout, stderr)
		},
	}
	p := c.Flags()
	p.StringVar(&f.data, "data", "", "meta-dataset to replay")
	p.StringVar(&f.scores, "times", "", "file of training times (default: the directory's name with -times.parquet)")
	p.StringVar(&f.budget, "budget", "", "budgets of the search, such as 1m,5m")
	p.StringVar(&f.datasets, "datasets", "", "data sets to replay (default: all)")
	p.IntVar(&f.parallel, "parallel", 0, "replays that run at the same time; changes no result (default: one for each CPU)")
	f.learn.add(p)
	return c
}

func runTimes(ctx context.Context, f rankingFlags, stdout, stderr io.Writer) error {
	if f.data == "" {
		return cli.Inputf("times needs a meta-dataset: --data DIR")
	}
	f.seeds = 1 // Quick-Tune draws no random numbers
	path := f.scores
	if path == "" {
		path = traintime.HeadsPath(f.data)
	}
	heads, err := traintime.NewHeads(path)
	if err != nil {
		return cli.Input(err)
	}
	return replayVariants(ctx, f, timeVariants(heads), stderr, func(r *replayed) error {
		return r.write(stdout, "without predicted times", "The time of looking at the data set through all models is part of the search.")
	})
}

// timeVariants lists the searches to compare, the one without times first.
func timeVariants(heads *traintime.Heads) []search.Method {
	methods := []search.Method{quicktune.PlannerMethod(nil)}
	for _, v := range []struct {
		name  string
		times quicktune.TrainingTimes
		quicktune.TimedOptions
	}{
		{"quicktune, times as a feature", heads, quicktune.TimedOptions{Feature: true}},
		{"quicktune, times as a filter", heads, quicktune.TimedOptions{Filter: true}},
		{"quicktune, times as both", heads, quicktune.TimedOptions{Feature: true, Filter: true}},
		{"quicktune, times of other networks as a feature", heads.Shuffled(), quicktune.TimedOptions{Feature: true}},
	} {
		m := quicktune.TimedPlannerMethod(v.times, v.TimedOptions)
		m.Name = v.name
		methods = append(methods, m)
	}
	return methods
}
