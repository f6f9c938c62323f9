package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strconv"

	"quicktune/generate/dispatch"
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
	anyModel   bool // models are named by the user, not chosen among those of the space
	space      func(epochs int) (*space.Space, error)
	models     func() ([]metadataset.Model, error)
	// dispatcher prepares the work on a plan in a directory.
	dispatcher func(ctx context.Context, dir string, p *plan.Plan, workers int, log *slog.Logger) (*dispatching, error)
	// seconds estimates what an epoch of a trial takes on the reference, such as
	// one core.
	reference string
	seconds   func(p *plan.Plan) func(plan.Trial) (train, eval float64)
}

// dispatching is who works on a plan.
type dispatching struct {
	dispatch.Dispatcher
	notes []string // on how seconds were measured
	stop  func()   // ends what was started; nil for nothing
}

const (
	embeddedName = "embedded"
	scratchName  = "embedded, from scratch"
)

// findBackend returns the trainer that a plan in a directory names.
func findBackend(name, dir string) (*backend, error) {
	switch name {
	case embeddedName:
		return embedded(name, hub.Weights), nil
	case scratchName:
		return embedded(name, scratch), nil
	}
	if _, _, ok := parseTimmTrainer(name); ok {
		o, err := readTimmOptions(dir)
		if err != nil {
			return nil, err
		}
		return timmBackend(name, nil, o)
	}
	return nil, fmt.Errorf("unknown trainer %q", name)
}

func embedded(name string, weights func(model string) (*vision.Weights, error)) *backend {
	return &backend{
		name: name, modelParam: "model",
		space:     trainer.Space,
		models:    func() ([]metadataset.Model, error) { return embeddedHub(weights) },
		reference: "one core", seconds: embeddedSeconds,
		dispatcher: func(ctx context.Context, _ string, p *plan.Plan, workers int, log *slog.Logger) (*dispatching, error) {
			n := workerCount(workers)
			t := &trainer.Embedded{Images: provide(ctx, p, n+1), Weights: weights}
			local := &dispatch.Local{Log: func(trial string, err error) {
				log.Warn("training broke off", "trial", trial, "err", err)
			}}
			for i := range n {
				local.Workers = append(local.Workers, dispatch.Worker{Name: strconv.Itoa(i), Trainer: t})
			}
			note := fmt.Sprintf("Seconds were measured on %d cores (%s/%s, %s) with %d trials at a time.", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), n)
			return &dispatching{Dispatcher: local, notes: []string{note}}, nil
		},
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
