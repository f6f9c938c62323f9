package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"slices"

	_ "image/gif" // formats of pictures
	_ "image/jpeg"
	_ "image/png"

	"github.com/spf13/cobra"

	"quicktune/generate/images"
	"quicktune/internal/cli"
	"quicktune/tune/classify"
	"quicktune/tune/report"
	"quicktune/tune/session"
)

func newPredict(stdout, stderr io.Writer) *cobra.Command {
	var model, python string
	var top int
	var asJSON bool
	c := &cobra.Command{
		Use:   "predict --model DIR IMAGE...",
		Short: "classify new pictures with the network that was found",
		Long: `Predict prints, for each picture, its most probable classes with their
probabilities. DIR is the directory of a run, finished or not, or a file that
"tune export" or "tune train" wrote. Networks of timm need their run and Python.`,
		Example: `  go run ./tune predict --model results/runs/tune-photos new.jpg
  go run ./tune predict --model photos.safetensors --top 3 --json *.jpg`,
		Args: cli.Arguments(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if model == "" {
				return cli.Inputf("--model: name the directory of a run or a file with weights")
			}
			if top < 1 {
				return cli.Inputf("--top %d: at least 1 is needed", top)
			}
			bad := 0
			tell := func(path string, classes []string, p []float32, err error) error {
				if err != nil {
					bad++
					cli.PrintError(stderr, "tune", err)
					return nil
				}
				return printPrediction(stdout, path, classes, p, top, asJSON)
			}
			if err := predict(c.Context(), model, python, args, tell); err != nil {
				return err
			}
			if bad > 0 {
				return cli.Inputf("%d of %d pictures could not be read", bad, len(args))
			}
			return nil
		},
	}
	c.Flags().StringVar(&model, "model", "", "directory of a run, or a file with weights")
	c.Flags().StringVar(&python, "python", "", "for networks of timm: interpreter with torch and timm (default: that of the run)")
	c.Flags().IntVar(&top, "top", 1, "classes to print for each picture")
	c.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each picture")
	return c
}

// predict classifies pictures and tells of each.
func predict(ctx context.Context, model, python string, paths []string, tell func(path string, classes []string, p []float32, err error) error) error {
	n, err := session.OpenTimm(model, python)
	if err == nil {
		defer n.Close()
		return cli.Input(n.Predict(ctx, n.Trained, paths, func(i int, p []float32, unreadable error) error {
			return tell(paths[i], n.Classes, p, unreadable)
		}))
	}
	if !errors.Is(err, session.ErrNotTimm) {
		return cli.Inputf("--model: %w", err)
	}
	m, err := loadModel(model)
	if err != nil {
		return cli.Inputf("--model: %w", err)
	}
	for _, path := range paths {
		pixels, err := picture(path)
		if err != nil {
			if err := tell(path, nil, nil, err); err != nil {
				return err
			}
			continue
		}
		p, err := m.Probabilities(ctx, pixels)
		if err != nil {
			return err
		}
		if err := tell(path, m.Classes, p[0], nil); err != nil {
			return err
		}
	}
	return nil
}

// picture reads a picture as training saw its like.
func picture(path string) ([]uint8, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	img, _, err := image.Decode(bufio.NewReader(bytes.NewReader(data)))
	if err != nil {
		return nil, fmt.Errorf("%s: not a picture that can be read: %w", path, err)
	}
	return images.Fit(img), nil
}

type prediction struct {
	Class       string  `json:"class"`
	Probability float32 `json:"probability"`
}

func printPrediction(w io.Writer, path string, classes []string, p []float32, top int, asJSON bool) error {
	list := make([]prediction, len(p))
	for i := range p {
		list[i] = prediction{classes[i], p[i]}
	}
	slices.SortStableFunc(list, func(a, b prediction) int { return cmp.Compare(b.Probability, a.Probability) })
	list = list[:min(top, len(list))]
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			Image       string       `json:"image"`
			Predictions []prediction `json:"predictions"`
		}{path, list})
	}
	fmt.Fprint(w, path)
	for _, k := range list {
		fmt.Fprintf(w, "\t%s %.3f", k.Class, k.Probability)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// loadModel reads a network from the directory of a run or from a file.
func loadModel(path string) (*classify.Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return classify.Load(path)
	}
	if file := filepath.Join(path, session.ModelFile); exists(file) {
		return classify.Load(file)
	}
	in, err := report.ReadIncumbent(filepath.Join(path, report.IncumbentFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no network yet", path)
	}
	if err != nil {
		return nil, err
	}
	if in.Trainer != session.Embedded {
		return nil, fmt.Errorf("%s was not trained by the embedded trainer: its weights are in %s", path, filepath.Join(path, in.Checkpoint))
	}
	return session.Trained(path, in)
}
