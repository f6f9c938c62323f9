package traintime

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"

	"quicktune/benchmark/selection"
	"quicktune/generate/trainer"
	"quicktune/internal/atomicfile"
	"quicktune/internal/cli"
	"quicktune/internal/cputime"
	"quicktune/internal/stream"
	"quicktune/internal/vision/tangent"
	"quicktune/metadataset"
	"quicktune/predictor/traintime"
)

// headImages is how many training images a head is told from.
const headImages = 96

// HeadRow is what is known of training the head of a network on a data set.
type HeadRow struct {
	Dataset  string  `parquet:"dataset,dict,zstd"`
	Model    string  `parquet:"model,dict,zstd"`
	HalfTime float64 `parquet:"half_time,split,zstd"` // learning rate times steps
	Gradient float64 `parquet:"gradient,split,zstd"`  // root mean square of its elements
	// Seconds of processor time are those of the passes and all that follows.
	Seconds float64 `parquet:"seconds,split,zstd"`
	Images  int32   `parquet:"images,dict,zstd"`
	Hash    string  `parquet:"weights_hash,dict,zstd"` // of the pretrained weights
}

// HeadsPath is where the heads of a meta-dataset lie by default.
func HeadsPath(dir string) string { return filepath.Clean(dir) + "-times.parquet" }

// probeHeads adds the data sets of a meta-dataset that the file lacks, and saves
// after each.
func probeHeads(ctx context.Context, f flags, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	s, err := metadataset.Open(f.data)
	if err != nil {
		return cli.Input(err)
	}
	path := f.times
	if path == "" {
		path = HeadsPath(f.data)
	}
	rows, err := loadHeads(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return cli.Input(err)
	}
	started := time.Now()
	for i, d := range s.Datasets {
		if slices.ContainsFunc(rows, func(r HeadRow) bool { return r.Dataset == d.Name }) {
			continue
		}
		if f.limit > 0 && time.Since(started) > f.limit {
			log.Info("time is up; the same command goes on", "data sets done", i, "of", len(s.Datasets))
			return nil
		}
		set, err := selection.LoadImages(ctx, d.Name, f.images)
		if err != nil {
			return cli.Input(err)
		}
		if set.Train.Len() != d.TrainSamples || set.Classes != d.Classes {
			return cli.Inputf("data set %s has %d training images of %d classes, but the curves are of %d and %d: these are other images",
				d.Name, set.Train.Len(), set.Classes, d.TrainSamples, d.Classes)
		}
		for _, m := range s.Models {
			if ctx.Err() != nil {
				return cli.Interruptedf("interrupted; the heads on %d data sets are in %s, the same command goes on", i, path)
			}
			row, err := newHead(set, m.Name)
			if err != nil {
				return fmt.Errorf("%s on %s: %w", m.Name, d.Name, err)
			}
			rows = append(rows, row)
		}
		if err := atomicfile.Write(path, func(w io.Writer) error { return parquet.Write(w, rows) }); err != nil {
			return err
		}
		log.Info("looked at", "data set", d.Name, "models", len(s.Models))
	}
	return nil
}

// newHead looks at a data set through a network.
func newHead(set *trainer.Images, model string) (HeadRow, error) {
	net, hash, err := network(model, set.Classes)
	if err != nil {
		return HeadRow{}, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	n := min(headImages, set.Train.Len())
	pixels, labels := make([]float32, n*tangent.Pixels), make([]int, n)
	for k, i := range stream.New("benchmark/traintime/"+set.Name, seed).Perm(set.Train.Len())[:n] {
		trainer.Normalize(pixels[k*tangent.Pixels:(k+1)*tangent.Pixels], set.Train.Pixels[i*tangent.Pixels:(i+1)*tangent.Pixels])
		labels[k] = set.Train.Labels[i]
	}
	start := cputime.Thread()
	m, err := tangent.New(net, pixels, tangent.Head)
	if err != nil {
		return HeadRow{}, err
	}
	features := make([]float64, n*net.Features())
	m.Features(features, nil)
	h, err := traintime.NewHead(features, net.Features(), labels, set.Classes)
	if err != nil {
		return HeadRow{}, err
	}
	return HeadRow{
		Dataset: set.Name, Model: model, HalfTime: h.HalfTime, Gradient: h.Gradient,
		Seconds: (cputime.Thread() - start).Seconds(), Images: int32(n), Hash: hash,
	}, nil
}

func loadHeads(path string) ([]HeadRow, error) {
	rows, err := read[HeadRow](path)
	if err != nil {
		return nil, err
	}
	for i, r := range rows {
		positive := func(v float64) bool { return v > 0 && !math.IsInf(v, 0) }
		if r.Dataset == "" || r.Model == "" || !positive(r.HalfTime) || !positive(r.Gradient) || !(r.Seconds >= 0) {
			return nil, fmt.Errorf("%s: row %d is no head of a model on a data set", path, i)
		}
	}
	return rows, nil
}

// Heads are the training times of a file. It implements quicktune.TrainingTimes.
type Heads struct {
	name    string
	heads   map[string]map[string]traintime.Head // data set, model
	seconds map[string]float64                   // data set
}

// NewHeads reads what the command wrote.
func NewHeads(path string) (*Heads, error) {
	rows, err := loadHeads(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w; \"benchmark traintime --probe --data DIR\" makes it", err)
	}
	if err != nil {
		return nil, err
	}
	h := &Heads{name: "the last layer", heads: map[string]map[string]traintime.Head{}, seconds: map[string]float64{}}
	for _, r := range rows {
		if h.heads[r.Dataset] == nil {
			h.heads[r.Dataset] = map[string]traintime.Head{}
		}
		h.heads[r.Dataset][r.Model] = traintime.Head{HalfTime: r.HalfTime, Gradient: r.Gradient}
		h.seconds[r.Dataset] += r.Seconds
	}
	return h, nil
}

// Name says what the times are told from.
func (h *Heads) Name() string { return h.name }

// Heads implements quicktune.TrainingTimes.
func (h *Heads) Heads(dataset string) (map[string]traintime.Head, float64, error) {
	heads := h.heads[dataset]
	if heads == nil {
		return nil, 0, fmt.Errorf("no training times of the models on data set %q are stored", dataset)
	}
	return heads, h.seconds[dataset], nil
}

// Shuffled returns times that mean nothing: on each data set, those of every
// model are another's. What a search with them gains or loses is chance.
func (h *Heads) Shuffled() *Heads {
	out := &Heads{name: "chance", heads: map[string]map[string]traintime.Head{}, seconds: h.seconds}
	for dataset, heads := range h.heads {
		models := slices.Sorted(maps.Keys(heads))
		name := fnv.New64a()
		name.Write([]byte(dataset))
		other := stream.New("benchmark/traintime/shuffled", name.Sum64()).Perm(len(models))
		out.heads[dataset] = map[string]traintime.Head{}
		for i, m := range models {
			out.heads[dataset][m] = heads[models[other[i]]]
		}
	}
	return out
}
