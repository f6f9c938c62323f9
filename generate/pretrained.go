package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"quicktune/generate/hub"
	"quicktune/internal/atomicfile"
	"quicktune/internal/cli"
	"quicktune/internal/vision"
)

// weightsDir is where the program takes the weights from when it is compiled.
const weightsDir = "generate/hub/weights"

func newPretrain(stdout, stderr io.Writer) *cobra.Command {
	var models, out string
	var workers int
	c := &cobra.Command{
		Use:   "pretrain",
		Short: "make the weights of the pretrained networks again",
		Long: `Pretrain trains the networks that come with the program on their sources, by
their recipes, and writes one safetensors file each. The same recipe gives the
same file. Files that are there are left alone: to make one again, remove it.`,
		Example: "  go run ./generate pretrain --models mixer_xs --out results/runs/weights",
		Args:    cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if workers < 0 {
				return cli.Inputf("--workers %d is negative", workers)
			}
			return runPretrain(c.Context(), models, out, workerCount(workers), stdout, stderr)
		},
	}
	c.Flags().StringVar(&models, "models", "", "networks, such as vit_s,residual_s (default: all)")
	c.Flags().StringVar(&out, "out", weightsDir, "directory of the weights")
	c.Flags().IntVar(&workers, "workers", 0, "networks that are trained at the same time (default: one for each CPU)")
	return c
}

func runPretrain(ctx context.Context, models, out string, workers int, stdout, stderr io.Writer) error {
	recipes := hub.Recipes
	if models != "" {
		recipes = nil
		for _, m := range splitList(models) {
			r, err := hub.Find(m)
			if err != nil {
				return cli.Inputf("--models: %w", err)
			}
			recipes = append(recipes, r)
		}
	}
	if err := os.MkdirAll(out, 0o777); err != nil {
		return cli.Inputf("--out: %w", err)
	}
	weights := make([]*vision.Weights, len(recipes))
	bytes := make([]int, len(recipes))
	bar := cli.NewProgress(stderr, cli.Logger(stderr), "pretraining", int64(len(recipes)), false)
	defer bar.Finish()
	var mu sync.Mutex
	done := 0
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for i, r := range recipes {
		g.Go(func() error {
			path := filepath.Join(out, hub.FileName(r.Model))
			data, err := os.ReadFile(path)
			switch {
			case err == nil:
				weights[i], err = vision.DecodeWeights(data)
			case errors.Is(err, fs.ErrNotExist):
				weights[i], err = hub.Pretrain(ctx, r, nil)
				if err == nil {
					data, err = weights[i].Encode()
				}
				if err == nil {
					err = atomicfile.WriteFile(path, data)
				}
			}
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			bytes[i] = len(data)
			mu.Lock()
			defer mu.Unlock()
			done++
			bar.Set(int64(done), 0)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		if errors.Is(err, context.Canceled) {
			return cli.Interruptedf("interrupted; the networks that are done are kept in %s; go on by the same command", out)
		}
		return err
	}
	return printHub(stdout, weights, bytes)
}

// printHub prints the table of the hub.
func printHub(stdout io.Writer, weights []*vision.Weights, bytes []int) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NETWORK\tPARAMETERS\tMEGA-MACS\tSOURCE\tSOURCE ACCURACY\tKILOBYTES")
	total := 0
	for i, x := range weights {
		n, err := vision.New[float32](x.Model, x.Classes)
		if err != nil {
			return err
		}
		total += bytes[i]
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%s\t%.3f\t%d\n", x.Model, n.Size(), float64(n.MACs())/1e6, x.Source, x.SourceAccuracy, bytes[i]/1000)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "%d networks, %.1f MB\n", len(weights), float64(total)/1e6)
	return err
}
