package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"quicktune/generate/timm"
	"quicktune/internal/cli"
	"quicktune/tune/session"
)

func newExport(stdout io.Writer) *cobra.Command {
	var out, format, python string
	c := &cobra.Command{
		Use:   "export DIR --out FILE",
		Short: "write the network that was found as one file",
		Long: `Export writes the best network of a run as a safetensors file: its weights by
name, with the network, the classes and what it was trained on in the metadata.
"tune predict" uses that of an embedded network without the run.

Networks of --trainer timm are also written as .pth, which timm.create_model reads,
and as ONNX, for any runtime. All formats carry the classes and how pictures are
made ready. An ONNX file is run beside torch before it is kept, if onnxruntime is
installed.`,
		Example: `  go run ./tune export results/runs/tune-photos --out photos.safetensors
  go run ./tune export results/runs/timm-photos --format onnx --out photos.onnx`,
		Args: cli.Arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(timm.Formats, format) {
				return cli.Inputf("--format %s: want one of %s", format, strings.Join(timm.Formats, ", "))
			}
			if out == "" {
				out = filepath.Base(filepath.Clean(args[0])) + "." + format
			}
			if exists(out) {
				return cli.Inputf("--out %s is there already: remove it or name another file", out)
			}
			line, err := export(c.Context(), args[0], format, out, python)
			if err != nil {
				return cli.Input(err)
			}
			fmt.Fprintf(stdout, "%s: %s\n", out, line)
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "file to write (default: the name of the run and the format)")
	c.Flags().StringVar(&format, "format", "safetensors", "safetensors, or, of networks of timm, pth or onnx")
	c.Flags().StringVar(&python, "python", "", "for networks of timm: interpreter with torch and timm (default: that of the run)")
	return c
}

// export writes a network and says what it is.
func export(ctx context.Context, from, format, out, python string) (string, error) {
	n, err := session.OpenTimm(from, python)
	if errors.Is(err, session.ErrNotTimm) {
		m, err := loadModel(from)
		if err != nil {
			return "", err
		}
		if format != "safetensors" {
			return "", fmt.Errorf("--format %s: %s is one of the embedded networks, which are written as safetensors alone", format, m.Weights.Model)
		}
		return fmt.Sprintf("%s for %d classes", m.Weights.Model, len(m.Classes)), m.Save(out)
	}
	if err != nil {
		return "", err
	}
	defer n.Close()
	full, err := filepath.Abs(out)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Dir(full)); err != nil {
		return "", fmt.Errorf("--out: %w", err)
	}
	e, err := n.Export(ctx, n.Trained, format, full)
	if err != nil {
		return "", err
	}
	line := fmt.Sprintf("%s for %d classes and pictures of %d x %d", e.Model, len(n.Classes), e.Input[2], e.Input[1])
	if e.Note != "" {
		line += "; " + e.Note
	}
	return line, nil
}
