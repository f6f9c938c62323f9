package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/metadataset/importers"
)

func newImport(stdout, stderr io.Writer) *cobra.Command {
	var (
		from, out, format string
		opts              importers.Options
		replace           bool
	)
	c := &cobra.Command{
		Use:   "import --from PATH|URL --out DIR",
		Short: "turn learning curves of a foreign layout into a meta-dataset",
		Long: `Import reads learning curves from a folder, a zip file or an http(s) URL and
writes them as a meta-dataset of Parquet files.

It knows four layouts and finds out which one it has: the compact Quick-Tune
layout (perf.json, cost.json, table.csv, descriptors.json), the layout that the
authors of Quick-Tune released (eval_top1.json, eval_time.json, ...), the CSV
files of QTT (config.csv, meta.csv, curve.csv, cost.csv), and TaskSet JSON.

An interrupted download is continued by the same command. A meta-dataset that
holds something else is replaced only with --replace.`,
		Example: `  go run ./benchmark import --from ../shared/data/quicktune/extended --out results/extended
  go run ./benchmark import --from extended.zip --out results/extended --sha256 SUM`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if from == "" || out == "" {
				return cli.Inputf("import needs --from PATH|URL and --out DIR")
			}
			opts.Format = importers.Format(format)
			return runImport(c.Context(), from, out, opts, replace, stdout, stderr)
		},
	}
	f := c.Flags()
	f.StringVar(&from, "from", "", "folder, zip file, JSON file or http(s) URL to read")
	f.StringVar(&out, "out", "", "directory to write, such as results/extended")
	f.StringVar(&format, "format", "", "compact, released, qtt or taskset (default: find out)")
	f.StringVar(&opts.Version, "version", "", "micro, mini or extended (default: find out)")
	f.Float64Var(&opts.CurveCap, "curve-cap", 0, "seconds after which the source cut a curve (default: that of the version)")
	f.StringVar(&opts.SHA256, "sha256", "", "expected SHA-256 of a file or download")
	f.BoolVar(&opts.Hessians, "hessians", false, "keep the 7,680 Hessian meta-features of the released layout")
	f.BoolVar(&opts.TrimPadding, "trim-padding", false, "drop trailing repetitions from QTT curves")
	f.BoolVar(&replace, "replace", false, "replace another meta-dataset in --out")
	return c
}

func runImport(ctx context.Context, from, out string, opts importers.Options, replace bool, stdout, stderr io.Writer) error {
	log := cli.Logger(stderr)
	if opts.CacheDir == "" {
		if cache, err := os.UserCacheDir(); err == nil {
			opts.CacheDir = filepath.Join(cache, "quicktune")
		}
	}
	var bar *cli.Progress
	phase := ""
	opts.Progress = func(p importers.Progress) {
		if p.Phase != phase {
			if bar != nil {
				bar.Finish()
			}
			phase, bar = p.Phase, cli.NewProgress(stderr, log, p.Phase, p.Total, true)
		}
		bar.Set(p.Done, p.Total)
	}
	in, report, err := importers.Import(ctx, from, opts)
	if bar != nil {
		bar.Finish()
	}
	if err != nil {
		return cli.Input(err)
	}
	for _, w := range report.Warnings {
		log.Warn(w.String())
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var how []metadataset.WriteOption
	if replace {
		how = append(how, metadataset.Replace)
	}
	if err := metadataset.Write(out, in, how...); err != nil {
		return cli.Input(err)
	}
	s, err := metadataset.Open(out)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s layout: %s\n", report.Format, summary(s))
	fmt.Fprintf(stdout, "written to %s\n", out)
	return nil
}
