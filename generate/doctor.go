package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"quicktune/generate/timm"
	"quicktune/internal/cli"
)

func newDoctor(stdout io.Writer) *cobra.Command {
	var python, model, weightsDir string
	var imageSize int
	var scratch, slurm, asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "check that this machine can train timm models",
		Long: `Doctor checks what --trainer timm needs: the interpreter and its packages, the
GPU, the weights of a model and one batch through it; with --slurm, the commands
of a cluster too. It says what to do about what is missing, and exits with 1 if
anything is.`,
		Example: "  go run ./generate doctor --python /opt/venv/bin/python --model tf_efficientnet_lite0 --weights-dir weights",
		Args:    cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := diagnose(c.Context(), python, doctorArguments(model, weightsDir, imageSize, scratch))
			if err != nil {
				return err
			}
			if slurm {
				list = append(list, slurmFindings(c.Context())...)
			}
			return printFindings(stdout, list, asJSON)
		},
	}
	f := c.Flags()
	f.StringVar(&python, "python", "python3", "interpreter with torch and timm")
	f.StringVar(&model, "model", "dla46x_c", "model to try")
	f.StringVar(&weightsDir, "weights-dir", "", "folder or file of pretrained weights instead of the hub")
	f.IntVar(&imageSize, "image-size", 0, "side of the pictures, in pixels (default: that of the model)")
	f.BoolVar(&scratch, "scratch", false, "try random weights")
	f.BoolVar(&slurm, "slurm", false, "check the commands of Slurm too")
	f.BoolVar(&asJSON, "json", false, "print JSON for a program to read")
	return c
}

func doctorArguments(model, weightsDir string, imageSize int, scratch bool) []string {
	args := []string{"--model", model, "--image-size", strconv.Itoa(imageSize)}
	if weightsDir != "" {
		args = append(args, "--weights-dir", weightsDir)
	}
	if scratch {
		args = append(args, "--scratch")
	}
	return args
}

// diagnose asks an interpreter.
func diagnose(ctx context.Context, python string, args []string) ([]timm.Finding, error) {
	root, err := os.MkdirTemp("", "quicktune-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(root)
	sources, err := timm.Install(root)
	if err != nil {
		return nil, err
	}
	list, err := timm.Python{Interpreter: python, Root: sources}.Examine(ctx, args...)
	if err != nil {
		return nil, cli.Inputf("--python: %w", err)
	}
	return list, nil
}

// slurmFindings looks for the commands of Slurm and asks it for its partitions.
func slurmFindings(ctx context.Context) []timm.Finding {
	var list []timm.Finding
	for _, name := range []string{"sbatch", "squeue", "scancel"} {
		path, err := exec.LookPath(name)
		f := timm.Finding{Check: name, OK: err == nil, Detail: path}
		if err != nil {
			f.Detail = "not found: run this on a login node of the cluster"
		}
		list = append(list, f)
	}
	out, err := exec.CommandContext(ctx, "sinfo", "--noheader", "--format", "%P %D nodes %G %l").CombinedOutput()
	detail := strings.Join(strings.Fields(strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "; ")), " ")
	if err != nil && detail == "" {
		detail = err.Error()
	}
	return append(list, timm.Finding{Check: "partitions", OK: err == nil, Detail: detail})
}

func printFindings(stdout io.Writer, list []timm.Finding, asJSON bool) error {
	bad := 0
	for _, f := range list {
		if !f.OK {
			bad++
		}
	}
	if asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(list); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
		for _, f := range list {
			word := "ok"
			if !f.OK {
				word = "FAILS"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", word, f.Check, f.Detail)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if bad > 0 {
		return errors.New("not ready: see the lines that fail")
	}
	return nil
}
