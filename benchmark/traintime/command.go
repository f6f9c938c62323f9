// Package traintime measures how well the number of training steps is predicted
// without training, for the command benchmark: pretrained networks of the
// embedded hub are trained on data sets that come with the program, over a grid
// of learning rates, momenta, batch sizes and losses, and every run is predicted
// from one tangent kernel of its (network, data set) and by baselines.
//
// All weights are trained by plain SGD with the running statistics of batch
// normalisation and without augmentation, the setting that the prediction is
// for. The package refuses to predict with what was learnt on the same data set.
package traintime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"quicktune/generate/images/builtin"
	"quicktune/internal/cli"
)

// The networks, one an architecture, and the data sets measured by default.
const (
	defaultNetworks = "plain_xs,residual_xs,separable_xs,mixer_xs,convmixer_xs,vit_xs"
	defaultDatasets = "digits,fashion,cells,counting,loops,numerals,relations,solids"
)

type flags struct {
	dir, networks, datasets, figure string
	data, times, images             string
	measure, subsets, probe, json   bool
	limit                           time.Duration
}

// New returns the command that prints the report to stdout.
func New(stdout, stderr io.Writer) *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "traintime",
		Short: "compare predicted with measured training times",
		Long: `Traintime predicts after how many steps pretrained networks are trained, from
their linearised dynamics and without training them, and compares that with real
training on the embedded networks: the relative errors by regime, the baselines
beside them, what it costs. Corrections and baselines are learnt on other data
sets than they are judged on.

With --measure, the pairs of a network and a data set that the folder does not
hold yet are trained and added to it, for as long as --for allows; the same
command goes on. Without, the runs in the folder are reported. --subsets checks
instead how well times on many images are told from a few. --probe looks at the
data sets of a meta-dataset through its networks, and keeps how fast their heads
are trained in DIR-times.parquet, which searches use (benchmark times).`,
		Example: `  go run ./benchmark traintime
  go run ./benchmark traintime --measure --networks separable_xs --datasets loops --dir results/runs/traintime`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := cli.Conditions(c.Flags()); err != nil {
				return err
			}
			if f.probe && (f.subsets || f.measure) || f.subsets && f.measure {
				return cli.Inputf("--measure, --subsets and --probe exclude each other")
			}
			if f.figure != "" && (f.probe || f.subsets) {
				return cli.Inputf("--figure draws measured runs: leave out --probe and --subsets")
			}
			return run(c.Context(), f, stdout, stderr)
		},
	}
	p := c.Flags()
	p.StringVar(&f.dir, "dir", "results/traintime", "folder of the runs")
	p.BoolVar(&f.measure, "measure", false, "train what the folder does not hold yet")
	p.DurationVar(&f.limit, "for", 0, "with --measure or --probe: begin nothing further after this time, such as 4m (default: no limit)")
	p.StringVar(&f.networks, "networks", defaultNetworks, "with --measure or --subsets: networks to train")
	p.StringVar(&f.datasets, "datasets", defaultDatasets, "with --measure or --subsets: data sets to train on, of those that come with the program")
	p.BoolVar(&f.subsets, "subsets", false, "instead, predict times on 2,000 images of the drawn data sets from subsets of 150")
	p.BoolVar(&f.probe, "probe", false, "instead, look at data sets of --data that DIR-times.parquet does not hold yet")
	p.StringVar(&f.data, "data", "", "with --probe: meta-dataset to look at")
	p.StringVar(&f.times, "times", "", "with --probe: file to keep it in (default: the directory's name with -times.parquet)")
	p.StringVar(&f.images, "images", "", "with --probe: directory of the images, folders or zip archives, that do not come with the program")
	p.StringVar(&f.figure, "figure", "", "SVG file to draw predicted against measured steps into")
	p.BoolVar(&f.json, "json", false, "print JSON for a program to read")
	return c
}

func run(ctx context.Context, f flags, stdout, stderr io.Writer) error {
	if f.probe {
		if f.data == "" {
			return cli.Inputf("--probe needs a meta-dataset: --data DIR")
		}
		return probeHeads(ctx, f, stderr)
	}
	if f.subsets {
		return runSubsets(ctx, f, stdout)
	}
	rows, err := load(f.dir)
	if err != nil && !(errors.Is(err, errNothing) && f.measure) {
		if errors.Is(err, errNothing) {
			return cli.Inputf("%w; --measure makes some", err)
		}
		return err
	}
	if f.measure {
		if rows, err = measureAll(ctx, f, rows, stderr); err != nil {
			return err
		}
	}
	r, err := newReport(rows)
	if err != nil {
		return err
	}
	if f.figure != "" {
		var svg bytes.Buffer
		if err := writeScatter(&svg, rows); err != nil {
			return err
		}
		if err := os.WriteFile(f.figure, svg.Bytes(), 0o666); err != nil {
			return err
		}
	}
	if f.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.WriteText(stdout)
}

// runSubsets checks predictions from a part of the images. Real data sets have
// too few and are left out.
func runSubsets(ctx context.Context, f flags, stdout io.Writer) error {
	var rows []*Subset
	for _, dataset := range strings.Split(f.datasets, ",") {
		if slices.ContainsFunc(builtin.Targets(), func(d builtin.Info) bool { return d.Name == dataset && d.Real }) {
			continue
		}
		for _, network := range strings.Split(f.networks, ",") {
			r, err := checkSubset(ctx, network, dataset)
			if errors.Is(err, context.Canceled) {
				return cli.Interruptedf("interrupted; nothing is kept of --subsets")
			}
			if err != nil {
				return cli.Input(err)
			}
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return cli.Inputf("--subsets draws %d images, which of %s cannot be: name drawn data sets with --datasets", manySamples, f.datasets)
	}
	if f.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(rows)
	}
	return writeSubsets(stdout, rows)
}

// measureAll adds the pairs that are missing, and saves after each.
func measureAll(ctx context.Context, f flags, rows []Row, stderr io.Writer) ([]Row, error) {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	started := time.Now()
	networks, datasets := strings.Split(f.networks, ","), strings.Split(f.datasets, ",")
	bar := cli.NewProgress(stderr, log, "training", int64(len(networks)*len(datasets)), false)
	defer bar.Finish()
	done := int64(0)
	for _, dataset := range datasets {
		for _, network := range networks {
			if f.limit > 0 && time.Since(started) > f.limit {
				log.Info("time is up; the same command goes on", "pairs done", done, "of", len(networks)*len(datasets))
				return rows, nil
			}
			known := slices.ContainsFunc(rows, func(r Row) bool { return r.Network == network && r.Dataset == dataset })
			if !known {
				more, err := measurePair(ctx, network, dataset)
				if errors.Is(err, context.Canceled) {
					return nil, cli.Interruptedf("interrupted; the runs of %d pairs are in %s, the same command goes on", len(rows)/len(criteria)/gridSize(), f.dir)
				}
				if err != nil {
					return nil, cli.Input(err)
				}
				rows = append(rows, more...)
				if err := save(f.dir, rows); err != nil {
					return nil, fmt.Errorf("keeping the runs of %s on %s: %w", network, dataset, err)
				}
			}
			done++
			bar.Set(done, 0)
		}
	}
	return rows, nil
}
