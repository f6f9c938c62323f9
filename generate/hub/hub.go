// Package hub holds the pretrained networks that come with the program: the 24
// of package vision, each trained from random weights on one of the sources of
// package builtin, which share no picture and no class with its targets. Two
// thirds are experts of one domain, one third saw all of them.
//
// The weights are files in this package; [Pretrain] makes them from their
// [Recipe]. The package refuses to load weights from anywhere else.
package hub

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"path"
	"strings"

	"quicktune/generate/images/builtin"
	"quicktune/generate/trainer"
	"quicktune/internal/vision"
)

//go:embed weights
var files embed.FS

// ErrNoWeights tells that a network of the hub was never pretrained.
var ErrNoWeights = errors.New("no weights come with this program")

// Weights returns the pretrained weights of a network.
func Weights(model string) (*vision.Weights, error) {
	if _, err := vision.Lookup(model); err != nil {
		return nil, err
	}
	data, err := files.ReadFile(path.Join("weights", FileName(model)))
	if err != nil {
		return nil, fmt.Errorf("network %s: %w: generate pretrain makes them", model, ErrNoWeights)
	}
	w, err := vision.DecodeWeights(data)
	if err != nil {
		return nil, fmt.Errorf("weights of %s: %w", model, err)
	}
	return w, nil
}

// FileName is the name of the file with the weights of a network.
func FileName(model string) string { return model + ".safetensors" }

// Recipe tells what a network is pretrained on and how long.
type Recipe struct {
	Model  string
	Source string // of [builtin.Sources]
	// Images is the number of pictures seen, repetitions included; epochs are
	// whole.
	Images int
	Rate   float64 // the highest learning rate
}

// Recipes lists those of all networks, in the order of [vision.Specs].
var Recipes = []Recipe{
	{"plain_xs", "source-letters", 600_000, 3e-3},
	{"plain_s", "source-shapes", 240_000, 3e-3},
	{"plain_m", "source-mixed", 160_000, 2e-3},
	{"plain_l", "source-textures", 24_000, 2e-3},
	{"residual_xs", "source-textures", 120_000, 3e-3},
	{"residual_s", "source-mixed", 80_000, 2e-3},
	{"residual_m", "source-letters", 200_000, 2e-3},
	{"residual_l", "source-mixed", 120_000, 2e-3},
	{"separable_xs", "source-signs", 60_000, 4e-3},
	{"separable_s", "source-fractals", 40_000, 3e-3},
	{"separable_m", "source-mixed", 120_000, 2e-3},
	{"separable_l", "source-shapes", 100_000, 2e-3},
	{"mixer_xs", "source-mixed", 240_000, 3e-3},
	{"mixer_s", "source-letters", 200_000, 2e-3},
	{"mixer_m", "source-textures", 120_000, 1e-3},
	{"mixer_l", "source-mixed", 100_000, 1e-3},
	{"convmixer_xs", "source-shapes", 240_000, 4e-3},
	{"convmixer_s", "source-mixed", 200_000, 3e-3},
	{"convmixer_m", "source-signs", 120_000, 3e-3},
	{"convmixer_l", "source-fractals", 100_000, 2e-3},
	{"vit_xs", "source-fractals", 960_000, 3e-3},
	{"vit_s", "source-textures", 40_000, 2e-3},
	{"vit_m", "source-mixed", 200_000, 1e-3},
	{"vit_l", "source-signs", 100_000, 1e-3},
}

// Find returns the recipe of a network.
func Find(model string) (Recipe, error) {
	for _, r := range Recipes {
		if r.Model == model {
			return r, nil
		}
	}
	_, err := vision.Lookup(model)
	if err == nil {
		err = fmt.Errorf("network %s has no recipe", model)
	}
	return Recipe{}, err
}

// Pretrain makes the weights of a recipe, whose accuracy is that on a fifth of
// the source's pictures, which are not trained on.
func Pretrain(ctx context.Context, r Recipe, progress func(epoch, epochs int, loss float64)) (*vision.Weights, error) {
	if !strings.HasPrefix(r.Source, "source-") {
		return nil, fmt.Errorf("network %s: %q is no source", r.Model, r.Source)
	}
	set, err := builtin.Load(ctx, r.Source)
	if err != nil {
		return nil, err
	}
	d, err := set.Split()
	if err != nil {
		return nil, err
	}
	d.Train.Pixels = append(d.Train.Pixels, d.Test.Pixels...)
	d.Train.Labels = append(d.Train.Labels, d.Test.Labels...)
	epochs := max(1, (r.Images+d.Train.Len()/2)/d.Train.Len())
	return trainer.Pretrain(ctx, trainer.Pretraining{Model: r.Model, Epochs: epochs, Rate: r.Rate, Seed: 1}, d, func(epoch int, loss float64) {
		if progress != nil {
			progress(epoch, epochs, loss)
		}
	})
}
