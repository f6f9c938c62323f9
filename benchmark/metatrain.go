package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

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
	training trainingChoice
	learn    learnFlags
	replace  bool
}

func newMetaTrain(stdout, stderr io.Writer) *cobra.Command {
	var f metaTrainFlags
	c := &cobra.Command{
		Use:   "meta-train --data DIR --out FILE",
		Short: "train the published predictor on a meta-dataset, for use on new data sets",
		Long: `Meta-train trains the predictor of quicktune-reference, a deep-kernel Gaussian
process over partial learning curves and a network for costs, on all data sets of
a meta-dataset but those of --hold-out. A fifth of them chooses the best weights.

FILE is a safetensors file whose header says what the weights are for: the search
space, the metric, the constants that inputs are standardised with, the data sets
they were trained on. "benchmark --model FILE" uses it, and refuses to test it on
a data set that it was trained on.

An interrupted training is continued by the same command. A FILE that this
command did not make is never overwritten; a model of other data or options is
replaced only with --replace.`,
		Example: `  go run ./benchmark meta-train --data results/extended --training default --iterations 1000 --out results/runs/extended.safetensors
  go run ./benchmark meta-train --data results/extended --hold-out DOG --iterations 1000 --out results/runs/no-dog.safetensors
  go run ./benchmark --data results/extended --methods quicktune-reference --model results/runs/no-dog.safetensors --datasets DOG --budget 10m --seeds 1`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.data == "" || f.out == "" {
				return cli.Inputf("meta-train needs --data DIR and --out FILE")
			}
			return runMetaTrain(c.Context(), f, stdout, stderr)
		},
	}
	p := c.Flags()
	p.StringVar(&f.data, "data", "", "meta-dataset to train on")
	p.StringVar(&f.out, "out", "", "file to write, such as model.safetensors")
	p.StringVar(&f.training.training, "training", published, "published, or default for the settings of this project")
	p.IntVar(&f.training.iterations, "iterations", 0, "iterations for each of the two networks (default: those of the training)")
	p.StringVar(&f.learn.holdOut, "hold-out", "", "data sets to leave out, such as PNU,DOG")
	p.Uint32Var(&f.learn.shuffle, "folds-seed", crossval.DefaultShuffle, "seed of the shuffle that chooses the data sets for validation")
	p.StringVar(&f.learn.cache, "cache", "", "directory that keeps the states of trainings (default: quicktune/models in the user's cache)")
	p.BoolVar(&f.replace, "replace", false, "replace another model in --out")
	return c
}

func runMetaTrain(ctx context.Context, f metaTrainFlags, stdout, stderr io.Writer) error {
	log := logger(stderr)
	if err := oneOf(&f.training.training, f.training.training, published, ours); err != nil {
		return cli.Inputf("--training %s: %w", f.training.training, err)
	}
	if f.training.iterations < 0 {
		return cli.Inputf("--iterations %d: want at least 1, or 0 for those of the training", f.training.iterations)
	}
	options, details := f.training.options()
	s, err := metadataset.Open(f.data)
	if err != nil {
		return cli.Input(err)
	}
	if info, err := os.Stat(filepath.Dir(f.out)); err == nil && !info.IsDir() {
		return cli.Inputf("--out %s: %s is no directory", f.out, filepath.Dir(f.out))
	}
	before, err := predictor.Load(f.out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cli.Inputf("--out %s is there and no model that this command made (%w); choose another file", f.out, err)
	}

	// The method hands out what it learnt, which is all that is wanted of it.
	var model *predictor.Model
	method := search.Method{Name: referenceName, Details: details, Learn: func(ctx context.Context, m search.MetaData) (search.Factory, error) {
		var err error
		model, err = predictor.Learn(ctx, m, options)
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
	model.Info.DataHash = s.Manifest.Hash
	if before != nil && !f.replace && !sameTraining(before.Info, model.Info) {
		return cli.Inputf("--out %s holds a model of other data or options; --replace replaces it", f.out)
	}
	if err := os.MkdirAll(filepath.Dir(f.out), 0o777); err != nil {
		return cli.Inputf("--out: %w", err)
	}
	if err := model.Save(f.out); err != nil {
		return err
	}
	t := model.Info.Training
	fmt.Fprintf(stdout, "trained on %s: %s\n", count(len(t.Train), "data set"), strings.Join(t.Train, " "))
	if t.Error != nil {
		fmt.Fprintf(stdout, "weights of iteration %d of %d, mean squared error %.5f on %s\n", t.Best, t.Iterations, *t.Error, strings.Join(t.Validation, " "))
	} else {
		fmt.Fprintf(stdout, "weights of iteration %d of %d, without validation\n", t.Best, t.Iterations)
	}
	fmt.Fprintf(stdout, "written to %s\n", f.out)
	return nil
}

// sameTraining says whether two models come from the same data and options.
func sameTraining(a, b predictor.Info) bool {
	x, y := a.Training, b.Training
	return a.DataHash == b.DataHash && a.MetaScale == b.MetaScale && a.CostMetaScale == b.CostMetaScale && x != nil && y != nil &&
		x.Seed == y.Seed && x.Iterations == y.Iterations && slices.Equal(x.Train, y.Train) && slices.Equal(x.Validation, y.Validation)
}
