//go:build unix

// Command compare_gpytorch is our side of compare.py, which starts it: it writes
// the weights and curves that both sides work on, and times decisions and
// meta-training. It refuses to compare anything itself.
//
// Times are processor time of the whole process, garbage collection included.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"

	"quicktune/benchmark/crossval"
	"quicktune/internal/stream"
	"quicktune/metadataset"
	"quicktune/predictor"
)

// tasks are the data sets as plain numbers, for both sides.
type tasks struct {
	Train, Validation []predictor.Task
	// History and Candidates are rows of DOG as a search gathers them.
	History, Candidates []row
	Targets             []float64
}

type row struct {
	Config []float64
	Meta   []float64
	Epoch  int
	Curve  []float64
}

// result is what one timing gives.
type result struct {
	Seconds float64 // of processor time: for a decision, or for the training
	Loss    float64 `json:",omitempty"` // negative log marginal likelihood per row after the fit
	Error   float64 `json:",omitempty"` // lowest mean squared validation error
	// Iterations that the training took.
	Iterations int `json:",omitempty"`
}

func main() {
	mode := flag.String("mode", "", "export, decide or train")
	data := flag.String("data", "", "meta-dataset, for export")
	dir := flag.String("dir", "", "folder that both sides share")
	rows := flag.Int("rows", 50, "observations of a decision")
	fit := flag.String("fit", "published", "published or default")
	repeat := flag.Int("repeat", 3, "decisions")
	iterations := flag.Int("iterations", 500, "of the training")
	until := flag.Float64("until", 0, "validation error at which the training stops")
	flag.Parse()
	var err error
	var r any
	switch *mode {
	case "export":
		r, err = export(*data, *dir)
	case "decide":
		r, err = decide(*dir, *rows, *fit, *repeat)
	case "train":
		r, err = train(*dir, *fit, *iterations, *until)
	default:
		err = fmt.Errorf("-mode %q: want export, decide or train", *mode)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare_gpytorch:", err)
		os.Exit(1)
	}
}

const tested = "DOG"

// export writes the tasks of the round that tests DOG and the weights of a short
// published meta-training on them.
func export(data, dir string) (any, error) {
	s, err := metadataset.Open(data)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range s.Datasets {
		names = append(names, d.Name)
	}
	splits, err := predictor.Splits(names, crossval.DefaultShuffle)
	if err != nil {
		return nil, err
	}
	var x tasks
	for _, split := range splits {
		for _, name := range split.Test {
			if name != tested {
				continue
			}
			meta, err := crossval.MetaData(s, split)
			if err != nil {
				return nil, err
			}
			o := predictor.ReferenceMetaTrain()
			o.Iterations, o.CostIterations = 3000, 0
			m, err := predictor.Learn(context.Background(), meta, predictor.LearnOptions{Training: &o})
			if err != nil {
				return nil, err
			}
			if err := m.Save(filepath.Join(dir, "weights.safetensors")); err != nil {
				return nil, err
			}
			if x.Train, err = predictor.Tasks(meta.Train, m.Info.Encoder, m.Info.Unit); err != nil {
				return nil, err
			}
			if x.Validation, err = predictor.Tasks(meta.Validation, m.Info.Encoder, m.Info.Unit); err != nil {
				return nil, err
			}
			target, err := crossval.MetaData(s, predictor.Split{Train: []string{tested}})
			if err != nil {
				return nil, err
			}
			search, err := predictor.Tasks(target.Train, m.Info.Encoder, m.Info.Unit)
			if err != nil {
				return nil, err
			}
			x.gather(search[0])
		}
	}
	if x.Train == nil {
		return nil, fmt.Errorf("%s has no data set %s", data, tested)
	}
	text, err := json.Marshal(x)
	if err != nil {
		return nil, err
	}
	return result{}, os.WriteFile(filepath.Join(dir, "tasks.json"), text, 0o644)
}

// gather makes 800 rows of configurations in random order, each trained for one
// to twelve epochs, and 200 candidates.
func (x *tasks) gather(t predictor.Task) {
	rng := stream.New("compare_gpytorch", 1)
	meta := predictor.ScaleMeta(t.Meta, predictor.MetaScaleSearch)
	for len(x.History) < 800 {
		for _, c := range rng.Perm(len(t.Scores)) {
			for e := range min(len(t.Scores[c]), 1+rng.IntN(12)) {
				x.History = append(x.History, row{t.Config[c], meta, e + 1, t.Scores[c][:e]})
				x.Targets = append(x.Targets, t.Scores[c][e])
			}
		}
	}
	x.History, x.Targets = x.History[:800], x.Targets[:800]
	for i := range 200 {
		c := i % len(t.Scores)
		e := rng.IntN(len(t.Scores[c]))
		x.Candidates = append(x.Candidates, row{t.Config[c], meta, e + 1, t.Scores[c][:e]})
	}
}

func load(dir string) (x tasks, m *predictor.Model, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "tasks.json"))
	if err != nil {
		return x, nil, err
	}
	if err := json.Unmarshal(text, &x); err != nil {
		return x, nil, err
	}
	m, err = predictor.Load(filepath.Join(dir, "weights.safetensors"))
	return x, m, err
}

func batch(rows []row) (*predictor.Batch, error) {
	b := predictor.NewBatch(predictor.Reference())
	for _, r := range rows {
		if err := b.Append(predictor.Row{Config: r.Config, Meta: r.Meta, Epoch: r.Epoch, Curve: r.Curve}); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// decide times a fit and the posterior of the candidates.
func decide(dir string, rows int, fit string, repeat int) (any, error) {
	x, m, err := load(dir)
	if err != nil {
		return nil, err
	}
	known, err := batch(x.History[:rows])
	if err != nil {
		return nil, err
	}
	pool, err := batch(x.Candidates)
	if err != nil {
		return nil, err
	}
	o := predictor.ReferenceFit(false)
	if fit == "default" {
		o = predictor.DefaultFit()
	}
	y := x.Targets[:rows]
	mean, std := make([]float64, pool.Len()), make([]float64, pool.Len())
	k := m.Performance.Clone()
	r := result{Seconds: math.Inf(1)}
	for range repeat {
		k.CopyWeights(m.Performance)
		start := processorTime()
		if _, err := k.Fit(context.Background(), known, y, o); err != nil {
			return nil, err
		}
		if err := k.Condition(known, y); err != nil {
			return nil, err
		}
		if err := k.Predict(mean, std, pool, true); err != nil {
			return nil, err
		}
		r.Seconds = min(r.Seconds, processorTime()-start)
	}
	r.Loss, err = k.Loss(known, y, nil)
	return r, err
}

// train times a meta-training, which stops early at a validation error.
func train(dir, fit string, iterations int, until float64) (any, error) {
	x, _, err := load(dir)
	if err != nil {
		return nil, err
	}
	o := predictor.ReferenceMetaTrain()
	if fit == "default" {
		o = predictor.DefaultMetaTrain()
	}
	o.CostIterations = 0
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var r result
	start := processorTime()
	o.Progress = func(p predictor.Progress) {
		r.Seconds, r.Error, r.Iterations = processorTime()-start, p.Best, p.Iteration
		if p.Iteration >= iterations || p.Best <= until {
			stop()
		}
	}
	if _, err := predictor.MetaTrain(ctx, predictor.Reference(), x.Train, x.Validation, o); err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	return r, nil
}

// processorTime is that of this process, in seconds.
func processorTime() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return math.NaN()
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
