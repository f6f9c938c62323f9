package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"quicktune"
	"quicktune/benchmark/crossval"
	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/predictor"
	"quicktune/search"
)

// metaTrainFlags are the flags of meta-train.
type metaTrainFlags struct {
	data     string
	out      string
	method   string
	training trainingChoice
	learn    learnFlags
	replace  bool
}

func newMetaTrain(stdout, stderr io.Writer) *cobra.Command {
	var f metaTrainFlags
	c := &cobra.Command{
		Use:   "meta-train --data DIR --out FILE",
		Short: "learn from a meta-dataset what a search on new data sets needs",
		Long: `Meta-train lets a method learn from all data sets of a meta-dataset but those of
--hold-out, and writes what it learnt for use on new data sets:

  quicktune            forecasts of learning curves and costs, a zip archive of
                       trees
  quicktune-reference  the published predictor, a deep-kernel Gaussian process over
                       partial learning curves and a network for costs, a
                       safetensors file; a fifth of the data sets chooses the best
                       weights

The head of FILE says what it is for: the search space, the metric, the constants
that inputs are standardised with, the data sets learnt from.
"benchmark --model FILE" uses it, and refuses to test it on a data set that it
learnt from.

An interrupted training is continued by the same command. A FILE that this
command did not make is never overwritten; a model of other data or options is
replaced only with --replace.`,
		Example: `  go run ./benchmark meta-train --data results/extended --out results/runs/extended.zip
  go run ./benchmark meta-train --data results/extended --method quicktune-reference --training default --iterations 1000 --out results/runs/extended.safetensors
  go run ./benchmark meta-train --data results/extended --hold-out DOG --out results/runs/no-dog.zip
  go run ./benchmark --data results/extended --methods quicktune --model results/runs/no-dog.zip --datasets DOG --budget 10m --seeds 1`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.data == "" || f.out == "" {
				return cli.Inputf("meta-train needs --data DIR and --out FILE")
			}
			return runMetaTrain(c.Context(), f, stdout, stderr)
		},
	}
	p := c.Flags()
	p.StringVar(&f.data, "data", "", "meta-dataset to learn from")
	p.StringVar(&f.out, "out", "", "file to write, such as model.zip")
	p.StringVar(&f.method, "method", plannerName, "quicktune or quicktune-reference")
	p.StringVar(&f.training.training, "training", published, "of quicktune-reference: published, or default for the settings of this project")
	p.IntVar(&f.training.iterations, "iterations", 0, "of quicktune-reference, for each of the two networks (default: those of the training)")
	p.StringVar(&f.learn.holdOut, "hold-out", "", "data sets to leave out, such as PNU,DOG")
	p.Uint32Var(&f.learn.shuffle, "folds-seed", crossval.DefaultShuffle, "seed of the shuffle that chooses the data sets for validation")
	p.StringVar(&f.learn.cache, "cache", "", "directory that keeps the states of trainings (default: quicktune/models in the user's cache)")
	p.BoolVar(&f.replace, "replace", false, "replace another model in --out")
	return c
}

func runMetaTrain(ctx context.Context, f metaTrainFlags, stdout, stderr io.Writer) error {
	log := cli.Logger(stderr)
	if err := f.check(); err != nil {
		return err
	}
	s, err := metadataset.Open(f.data)
	if err != nil {
		return cli.Input(err)
	}
	if info, err := os.Stat(filepath.Dir(f.out)); err == nil && !info.IsDir() {
		return cli.Inputf("--out %s: %s is no directory", f.out, filepath.Dir(f.out))
	}
	before, err := readModel(f.out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cli.Inputf("--out %s is there and no model that this command made (%w); choose another file", f.out, err)
	}

	// The method hands out what it learnt, which is all that is wanted of it.
	model := new(modelFile)
	options, details := f.training.options()
	method := search.Method{Name: f.method, Details: details, Learn: func(ctx context.Context, m search.MetaData) (_ search.Factory, err error) {
		if f.method == plannerName {
			model.forecasts, err = quicktune.LearnForecasts(ctx, m)
		} else {
			model.published, err = predictor.Learn(ctx, m, options)
		}
		return nil, err
	}}
	fmt.Fprintln(stdout, summary(s))
	view := newLearning([]search.Method{method}, stderr, log)
	o := f.learn.options(nil, 0)
	o.Progress = view.tell
	if len(o.HoldOut) > 0 {
		_, err = crossval.Learn(ctx, s, []search.Method{method}, o)
	} else {
		_, err = crossval.All(ctx, s, method, o)
	}
	view.finish()
	if err != nil {
		return view.explain(err)
	}
	model.setDataHash(s.Manifest.Hash)
	if before != nil && !f.replace && !before.sameTraining(model) {
		return cli.Inputf("--out %s holds a model of other data or options; --replace replaces it", f.out)
	}
	if err := os.MkdirAll(filepath.Dir(f.out), 0o777); err != nil {
		return cli.Inputf("--out: %w", err)
	}
	if err := model.save(f.out); err != nil {
		return err
	}
	model.describe(stdout)
	fmt.Fprintf(stdout, "written to %s\n", f.out)
	return nil
}

func (f *metaTrainFlags) check() error {
	if f.method != plannerName && f.method != referenceName {
		return cli.Inputf("--method %s: want %s or %s", f.method, plannerName, referenceName)
	}
	if err := oneOf(&f.training.training, f.training.training, published, ours); err != nil {
		return cli.Inputf("--training %s: %w", f.training.training, err)
	}
	if f.training.iterations < 0 {
		return cli.Inputf("--iterations %d: want at least 1, or 0 for those of the training", f.training.iterations)
	}
	if f.method == plannerName && f.training != (trainingChoice{training: published}) {
		return cli.Inputf("--training and --iterations are settings of --method %s", referenceName)
	}
	return nil
}
