package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"quicktune/internal/cli"
)

func newExport(stdout io.Writer) *cobra.Command {
	var out, format string
	c := &cobra.Command{
		Use:   "export DIR --out FILE",
		Short: "write the network that was found as one file",
		Long: `Export writes the best network of a run as a safetensors file: its weights by
name, with the network, the classes and what it was trained on in the metadata.
"tune predict" uses it without the run.`,
		Example: "  go run ./tune export results/runs/tune-photos --out photos.safetensors",
		Args:    cli.Arguments(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if format != "safetensors" {
				return cli.Inputf("--format %s: the embedded networks are written as safetensors", format)
			}
			m, err := loadModel(args[0])
			if err != nil {
				return cli.Input(err)
			}
			if out == "" {
				out = filepath.Base(filepath.Clean(args[0])) + ".safetensors"
			}
			if exists(out) {
				return cli.Inputf("--out %s is there already: remove it or name another file", out)
			}
			if err := m.Save(out); err != nil {
				return cli.Input(err)
			}
			fmt.Fprintf(stdout, "%s: %s for %d classes\n", out, m.Weights.Model, len(m.Classes))
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write (default: the name of the run, .safetensors)")
	c.Flags().StringVar(&format, "format", "safetensors", "safetensors")
	return c
}
