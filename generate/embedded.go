package main

import (
	"fmt"
	"math"

	"quicktune/generate/hub"
	"quicktune/generate/plan"
	"quicktune/generate/trainer"
	"quicktune/internal/vision"
	"quicktune/metadataset"
	"quicktune/space"
)

// backend is somebody who trains, with what a plan has to know.
type backend struct {
	name       string // in the plan
	modelParam string
	space      func(epochs int) (*space.Space, error)
	models     func() ([]metadataset.Model, error)
	trainer    func(data func(name string) (*trainer.Images, error)) trainer.Trainer
	// seconds estimates what an epoch of a trial takes on one core.
	seconds func(p *plan.Plan) func(plan.Trial) (train, eval float64)
}

const (
	embeddedName = "embedded"
	scratchName  = "embedded, from scratch"
)

// findBackend returns the trainer that a plan names.
func findBackend(name string) (*backend, error) {
	switch name {
	case embeddedName:
		return embedded(name, hub.Weights), nil
	case scratchName:
		return embedded(name, scratch), nil
	}
	return nil, fmt.Errorf("unknown trainer %q", name)
}

func embedded(name string, weights func(model string) (*vision.Weights, error)) *backend {
	return &backend{
		name: name, modelParam: "model",
		space:  trainer.Space,
		models: func() ([]metadataset.Model, error) { return embeddedHub(weights) },
		trainer: func(data func(string) (*trainer.Images, error)) trainer.Trainer {
			return &trainer.Embedded{Images: data, Weights: weights}
		},
		seconds: embeddedSeconds,
	}
}

// embeddedHub describes the networks.
func embeddedHub(weights func(model string) (*vision.Weights, error)) ([]metadataset.Model, error) {
	var list []metadataset.Model
	for _, s := range vision.Specs {
		w, err := weights(s.Name)
		if err != nil {
			return nil, err
		}
		n, err := vision.New[float32](s.Name, w.Classes)
		if err != nil {
			return nil, err
		}
		list = append(list, metadataset.Model{
			Name: s.Name, Params: float64(n.Size()) / 1e6, SourceAccuracy: w.SourceAccuracy,
			Pixels: trainer.Side, GMACs: float64(n.MACs()) / 1e9,
		})
	}
	return list, nil
}

// scratch gives random weights, the same for a network every time.
func scratch(model string) (*vision.Weights, error) {
	n, err := vision.New[float32](model, 2)
	if err != nil {
		return nil, err
	}
	n.Init(1)
	w := n.Weights()
	w.Source, w.SourceAccuracy = "nothing", math.NaN()
	return w, nil
}
