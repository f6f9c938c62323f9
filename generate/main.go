// Command generate makes meta-datasets and hands them on.
//
//	go run ./generate
//	go run ./generate --datasets all --configs 48 --epochs 50 --curve-cap 2m --out results/runs/mine
//	go run ./generate --data my-photos.zip --dry-run
//	go run ./generate status results/runs/sweep
//	go run ./generate resume results/runs/sweep
//	go run ./generate report results/runs/sweep
//	go run ./generate export --data results/extended --format arrow --out extended-arrow
//
// It refuses to compare methods: that is what benchmark does, which in turn
// never has to compile what generate needs.
package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/metadataset/arrowipc"
)

func main() { cli.Main("generate", run) }

// run executes the command line args.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := newSweep(stdout, stderr)
	root.AddCommand(
		newResume(stdout, stderr),
		newStatus(stdout),
		newReport(stdout),
		newDatasets(stdout),
		newPretrain(stdout, stderr),
		newProbe(stdout, stderr),
		newDoctor(stdout),
		newExport(stdout),
	)
	return cli.Execute(ctx, root, args, stdout, stderr)
}

func newExport(stdout io.Writer) *cobra.Command {
	var data, format, out string
	c := &cobra.Command{
		Use:   "export --data DIR --out DIR",
		Short: "write a meta-dataset as Arrow IPC files",
		Long: `Export writes each table of a meta-dataset as an Arrow IPC file, which Python, R
and others map into memory. The Parquet files need no export: pyarrow, DuckDB
and polars read them as they are.`,
		Example: "  go run ./generate export --data results/extended --format arrow --out results/imported/extended-arrow",
		Args:    cli.Arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if data == "" || out == "" {
				return cli.Inputf("export needs --data DIR and --out DIR")
			}
			if format != "arrow" {
				return cli.Inputf("--format %s: only arrow is known", format)
			}
			s, err := metadataset.Open(data)
			if err != nil {
				return cli.Input(err)
			}
			if err := arrowipc.Export(s, out); err != nil {
				return cli.Input(err)
			}
			fmt.Fprintf(stdout, "%d curves, %d epochs written to %s\n", s.NumCurves(), s.NumEpochs(), out)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&data, "data", "", "meta-dataset to read")
	f.StringVar(&format, "format", "arrow", "arrow")
	f.StringVar(&out, "out", "", "directory to make")
	return c
}
