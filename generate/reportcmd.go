package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"quicktune/generate/report"
	"quicktune/generate/sweep"
	"quicktune/internal/atomicfile"
	"quicktune/internal/cli"
	"quicktune/metadataset"
)

const (
	reportDir  = "report"
	reportFile = "report.md"
)

func newReport(stdout io.Writer) *cobra.Command {
	var out, scratch string
	c := &cobra.Command{
		Use:   "report DIR",
		Short: "draw which network is best on which data set, and the Pareto front",
		Long: `Report ranks the networks of a meta-dataset on each data set by their best
validation accuracy, draws the ranks as a heat map and the accuracy on the source
against the number of parameters, and writes both with a table. DIR is the
directory of a sweep or a meta-dataset.

With --scratch, it compares with a sweep of the same plan that was made by
"generate --scratch": does fine-tuning beat training from random weights?`,
		Example: `  go run ./generate report results/runs/sweep
  go run ./generate report results/embedded --out results/runs/embedded-report`,
		Args: cli.Arguments(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			return runReport(stdout, args[0], scratch, out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "directory for the report (default: report in the directory of the sweep)")
	c.Flags().StringVar(&scratch, "scratch", "", "directory of a sweep of the same plan that began with random weights")
	return c
}

// openResult opens the meta-dataset of a sweep, or a meta-dataset.
func openResult(dir string) (s *metadataset.Store, isSweep bool, err error) {
	_, err = os.Stat(filepath.Join(dir, sweep.PlanFile))
	isSweep = err == nil
	if isSweep {
		inner := filepath.Join(dir, sweep.MetadatasetDir)
		if _, err := os.Stat(inner); errors.Is(err, fs.ErrNotExist) {
			return nil, true, fmt.Errorf("the sweep in %s is not finished: go run ./generate resume %s", dir, dir)
		}
		dir = inner
	}
	s, err = metadataset.Open(dir)
	return s, isSweep, err
}

func runReport(stdout io.Writer, dir, scratch, out string) error {
	s, isSweep, err := openResult(dir)
	if err != nil {
		return cli.Input(err)
	}
	r, err := report.New(s)
	if err != nil {
		return cli.Inputf("%s: %w", dir, err)
	}
	if scratch != "" {
		other, _, err := openResult(scratch)
		if err != nil {
			return cli.Inputf("--scratch: %w", err)
		}
		if err := r.Compare(s, other); err != nil {
			return cli.Inputf("--scratch: %w", err)
		}
	}
	if out == "" {
		if !isSweep {
			return cli.Inputf("%s is a meta-dataset, to which nothing is added: say by --out where the report goes", dir)
		}
		out = filepath.Join(dir, reportDir)
	}
	if err := claimReport(out, r); err != nil {
		return cli.Input(err)
	}
	for _, f := range r.Figures() {
		for ext, write := range map[string]func(io.Writer) error{".svg": f.SVG, ".png": f.PNG} {
			if err := atomicfile.Write(filepath.Join(out, f.Name+ext), write); err != nil {
				return err
			}
		}
	}
	if err := atomicfile.Write(filepath.Join(out, reportFile), r.Markdown); err != nil {
		return err
	}
	for _, line := range r.Summary() {
		fmt.Fprintln(stdout, line)
	}
	fmt.Fprintf(stdout, "written to %s\n", out)
	return nil
}

// claimReport makes a directory for a report. It refuses one that holds anything
// else than an earlier report.
func claimReport(out string, r *report.Report) error {
	ours := map[string]bool{reportFile: true}
	for _, f := range r.Figures() {
		ours[f.Name+".svg"], ours[f.Name+".png"] = true, true
	}
	ours["pareto.svg"], ours["pareto.png"] = true, true // an earlier report may have had it
	entries, err := os.ReadDir(out)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(out, 0o777)
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !ours[e.Name()] {
			return fmt.Errorf("--out %s holds %s, which is no part of a report: choose another directory", out, e.Name())
		}
	}
	return nil
}
