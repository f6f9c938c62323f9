package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"quicktune"
	"quicktune/benchmark/replay"
	"quicktune/benchmark/stats"
	"quicktune/benchmark/traintime"
	"quicktune/internal/cli"
	"quicktune/search"
	"quicktune/selection/evaluate"
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
of looking at the data set is charged to the budget. A second table has what the
feature does for the forecasts themselves.`,
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
		if err := r.write(stdout, "without predicted times", "The time of looking at the data set through all models is part of the search."); err != nil {
			return err
		}
		return r.writeForecasts(stdout)
	})
}

// forecaster is a search that tells what it expects before it begins.
type forecaster interface {
	Forecast(candidate int) (score, secondsPerEpoch float64)
}

// writeForecasts prints how good the forecasts of the variants are before
// anything is trained: what a feature is there to make better.
func (r *replayed) writeForecasts(out io.Writer) error {
	resampler := stats.Bootstrap{}.Resampler(len(r.tables))
	var text bytes.Buffer
	fmt.Fprintln(&text, "\nforecasts before anything is trained")
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  method\trank correlation\tdifference\terror of an epoch's seconds\tdifference")
	var plain [2][]float64
	for i, m := range r.methods {
		var ranks, costs []float64
		for _, t := range r.tables {
			rank, cost, err := forecastErrors(m, t, r.budgets[0])
			if err != nil {
				return err
			}
			ranks, costs = append(ranks, rank), append(costs, cost)
		}
		if i == 0 {
			plain = [2][]float64{ranks, costs}
		}
		fmt.Fprintf(w, "  %s\t%.4f\t%s\t%.4f\t%s\n", m.Name,
			resampler.Mean(ranks).Mean, interval(resampler.Mean(less(ranks, plain[0])), i == 0),
			resampler.Mean(costs).Mean, interval(resampler.Mean(less(costs, plain[1])), i == 0))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(&text, "Spearman correlation of the forecast with the best score of each curve; mean absolute error of the logarithm of the seconds of an epoch.")
	_, err := out.Write(text.Bytes())
	return err
}

func less(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] - b[i]
	}
	return out
}

// forecastErrors compares what a method forecasts of a data set with its curves.
func forecastErrors(m search.Method, t *replay.Table, budget float64) (rank, cost float64, err error) {
	o, err := m.New(search.Problem{
		Space: t.Space, Candidates: t.Candidates, Task: t.Task, MaxEpochs: t.MaxEpochs, Metric: t.Metric, Workers: 1, Budget: budget,
	})
	if err != nil {
		return 0, 0, err
	}
	f, ok := o.(forecaster)
	if !ok {
		return 0, 0, fmt.Errorf("%s forecasts nothing", m.Name)
	}
	var forecasts, best []float64
	for c, scores := range t.Scores {
		top, seconds := math.Inf(-1), 0.0
		for e, s := range scores {
			if v := float64(s); v > top { // false for NaN
				top = v
			}
			seconds += float64(t.Seconds[c][e]) / float64(len(scores))
		}
		if math.IsInf(top, 0) {
			continue
		}
		score, perEpoch := f.Forecast(c)
		forecasts, best = append(forecasts, score), append(best, top)
		cost += math.Abs(math.Log(perEpoch / seconds))
	}
	if rank, err = evaluate.Spearman(forecasts, best); err != nil {
		return 0, 0, fmt.Errorf("data set %s: %w", t.Task.Name, err)
	}
	return rank, cost / float64(len(best)), nil
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
