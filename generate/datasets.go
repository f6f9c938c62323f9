package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"quicktune/generate/images"
	"quicktune/generate/images/builtin"
	"quicktune/generate/plan"
	"quicktune/generate/trainer"
	"quicktune/internal/cli"
)

// defaultDatasets are small, differ in kind and are told apart in a few epochs.
var defaultDatasets = []string{"digits", "fashion", "shapes", "textures"}

// chooseDatasets turns --datasets and --data into names and paths.
func chooseDatasets(list string, paths []string) ([]plan.Dataset, error) {
	names := defaultDatasets
	switch {
	case list == "all":
		names = nil
		for _, d := range builtin.Targets() {
			names = append(names, d.Name)
		}
	case list != "":
		names = splitList(list)
	case len(paths) > 0:
		names = nil
	}
	var chosen []plan.Dataset
	for _, n := range names {
		if !slices.ContainsFunc(builtin.Targets(), func(d builtin.Info) bool { return d.Name == n }) {
			if builtin.Has(n) {
				return nil, fmt.Errorf("--datasets: %q is a source of the pretrained networks, not a data set to fine-tune on", n)
			}
			_, err := builtin.Load(context.Background(), n)
			return nil, fmt.Errorf("--datasets: %w; --data takes directories and archives", err)
		}
		chosen = append(chosen, plan.Dataset{Name: n})
	}
	for _, p := range paths {
		full, err := filepath.Abs(p)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, plan.Dataset{Path: full})
	}
	return chosen, nil
}

func splitList(list string) []string {
	var words []string
	for w := range strings.SplitSeq(list, ",") {
		if w = strings.TrimSpace(w); w != "" {
			words = append(words, w)
		}
	}
	return words
}

// loadSet loads the pictures of a data set.
func loadSet(ctx context.Context, d plan.Dataset) (*images.Set, error) {
	if d.Path == "" {
		return builtin.Load(ctx, d.Name)
	}
	return images.Load(ctx, d.Path)
}

// describe loads data sets and fills in what a plan says of them.
func describe(ctx context.Context, chosen []plan.Dataset, log *slog.Logger) ([]plan.Dataset, error) {
	var list []plan.Dataset
	for _, d := range chosen {
		s, err := loadSet(ctx, d)
		if err != nil {
			return nil, cli.Input(err)
		}
		im, err := s.Split()
		if err != nil {
			return nil, cli.Input(err)
		}
		for _, w := range s.Warnings {
			log.Warn(w, "dataset", s.Name)
		}
		list = append(list, plan.Dataset{
			Name: s.Name, Path: d.Path, Hash: s.Hash(),
			Train: im.Train.Len(), Validation: im.Validation.Len(), Test: im.Test.Len(),
			Classes: im.Classes, Width: s.Width, Channels: s.Channels,
			MetaFeatures: images.Features(im), Warnings: s.Warnings,
		})
	}
	return list, nil
}

// loadPlanned loads a data set and checks that it is the one of the plan.
func loadPlanned(ctx context.Context, d plan.Dataset) (*images.Set, error) {
	s, err := loadSet(ctx, d)
	if err != nil {
		return nil, err
	}
	if s.Hash() != d.Hash {
		return nil, fmt.Errorf("data set %q is not what it was when the sweep was planned: put the old pictures back, or begin a new sweep", d.Name)
	}
	s.Name = d.Name
	return s, nil
}

// provide returns a function that loads the data sets of a plan, as they were
// when the plan was made, and keeps a few in memory.
func provide(ctx context.Context, p *plan.Plan, keep int) func(name string) (*trainer.Images, error) {
	c := images.NewCache(keep, func(ctx context.Context, name string) (*trainer.Images, error) {
		d, ok := p.Dataset(name)
		if !ok {
			return nil, fmt.Errorf("the plan has no data set %q", name)
		}
		s, err := loadPlanned(ctx, d)
		if err != nil {
			return nil, err
		}
		return s.Split()
	})
	return func(name string) (*trainer.Images, error) { return c.Get(ctx, name) }
}

func newDatasets(stdout io.Writer) *cobra.Command {
	var save, out string
	c := &cobra.Command{
		Use:   "datasets",
		Short: "list the data sets that need no file, or write one to a folder",
		Long: `Datasets lists the data sets that come with the program. With --save, one of them is
written as PNG files of 32 x 32 pixels, a folder for each class, which is what every
--data takes.`,
		Example: `  go run ./generate datasets
  go run ./generate datasets --save fashion --out pictures/fashion`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if save == "" && out == "" {
				return listDatasets(stdout)
			}
			return saveDataset(c.Context(), save, out, stdout)
		},
	}
	c.Flags().StringVar(&save, "save", "", "data set to write")
	c.Flags().StringVar(&out, "out", "", "folder to write it to, which must not exist")
	return c
}

func listDatasets(stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tCLASSES\tPICTURES\tWHAT IS TOLD APART\tLICENCE")
	for _, d := range builtin.Targets() {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\n", d.Name, d.Classes, d.Pictures, d.Title, d.Licence)
	}
	return w.Flush()
}

func saveDataset(ctx context.Context, name, dir string, stdout io.Writer) error {
	switch {
	case name == "":
		return cli.Inputf("--out %s: name the data set to write there: --save NAME", dir)
	case dir == "":
		return cli.Inputf("--save %s: name the folder to write it to: --out DIR", name)
	}
	s, err := builtin.Load(ctx, name)
	if err != nil {
		return cli.Inputf("--save: %w", err)
	}
	err = s.WriteFolder(ctx, dir)
	if errors.Is(err, fs.ErrExist) {
		return cli.Inputf("--out %s: there is something already: choose another folder", dir)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d pictures of %d classes written to %s\n", s.Len(), len(s.Classes), dir)
	return nil
}
