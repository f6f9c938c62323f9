package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/predictor"
	"quicktune/predictor/forecast"
)

// modelFile is what a method learnt: one of the models is there.
type modelFile struct {
	forecasts *forecast.Model  // of quicktune
	published *predictor.Model // of quicktune-reference

	name string // for details: the file's name and the head of its hash
	path string
}

// method is the method that the model is for.
func (f *modelFile) method() string {
	if f.forecasts != nil {
		return plannerName
	}
	return referenceName
}

// readModel reads a file that meta-train wrote, in either format.
func readModel(path string) (*modelFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	f := &modelFile{path: path, name: filepath.Base(path) + " " + hex.EncodeToString(sum[:6])}
	if strings.HasPrefix(string(data), "PK") { // a zip archive
		f.forecasts, err = forecast.Load(path)
	} else {
		f.published, err = predictor.Load(path)
	}
	return f, err
}

// loadModel reads a model and checks that it fits the meta-dataset.
func loadModel(path string, s *metadataset.Store) (*modelFile, error) {
	f, err := readModel(path)
	if err != nil {
		return nil, cli.Inputf("--model: %w", err)
	}
	var hash string
	switch {
	case f.forecasts != nil:
		hash = f.forecasts.Features().Space().Hash()
	case f.published.Info.Encoder == nil:
		return nil, cli.Inputf("--model %s: the file does not say how configurations are encoded", path)
	default:
		hash = f.published.Info.SpaceHash
	}
	if want := s.Space.Hash(); hash != want {
		return nil, cli.Inputf("--model %s was trained on another search space (%.12s) than that of %s (%.12s)", path, hash, s.Dir, want)
	}
	return f, nil
}

// learntFrom lists the data sets that the model has seen; nil if it does not
// tell.
func (f *modelFile) learntFrom() []string {
	switch {
	case f.forecasts != nil:
		return f.forecasts.Info.Datasets
	case f.published.Info.Training == nil:
		return nil
	}
	t := f.published.Info.Training
	return slices.Concat(t.Train, t.Validation)
}

// mayBeTestedOn refuses data sets that the model was trained on. Where the file
// does not tell what those were, it returns a warning for the report.
func (f *modelFile) mayBeTestedOn(names []string) (warning, err error) {
	known := f.learntFrom()
	if known == nil {
		return fmt.Errorf("the model %s does not say what it was trained on: the data sets compared may be among that", f.path), nil
	}
	seen := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(known, n) })
	if len(seen) > 0 {
		return nil, cli.Inputf("--model %s was trained on %s; test it on other data sets (--datasets), or leave --model out for cross-validation", f.path, strings.Join(seen, ", "))
	}
	return nil, nil
}

func (f *modelFile) setDataHash(hash string) {
	if f.forecasts != nil {
		f.forecasts.Info.DataHash = hash
	} else {
		f.published.Info.DataHash = hash
	}
}

func (f *modelFile) save(path string) error {
	if f.forecasts != nil {
		return f.forecasts.Save(path)
	}
	return f.published.Save(path)
}

// sameTraining says whether two models come from the same data and options.
func (f *modelFile) sameTraining(g *modelFile) bool {
	switch {
	case f.method() != g.method():
		return false
	case f.forecasts != nil:
		a, b := f.forecasts.Info, g.forecasts.Info
		return a.DataHash == b.DataHash && a.Metric == b.Metric && slices.Equal(a.Datasets, b.Datasets)
	}
	a, b := f.published.Info, g.published.Info
	x, y := a.Training, b.Training
	return a.DataHash == b.DataHash && a.MetaScale == b.MetaScale && a.CostMetaScale == b.CostMetaScale && x != nil && y != nil &&
		x.Seed == y.Seed && x.Iterations == y.Iterations && slices.Equal(x.Train, y.Train) && slices.Equal(x.Validation, y.Validation)
}

// describe tells what a training came to.
func (f *modelFile) describe(w io.Writer) {
	if f.forecasts != nil {
		names := f.forecasts.Info.Datasets
		fmt.Fprintf(w, "learnt from %s: %s\n", count(len(names), "data set"), strings.Join(names, " "))
		return
	}
	t := f.published.Info.Training
	fmt.Fprintf(w, "trained on %s: %s\n", count(len(t.Train), "data set"), strings.Join(t.Train, " "))
	if t.Error != nil {
		fmt.Fprintf(w, "weights of iteration %d of %d, mean squared error %.5f on %s\n", t.Best, t.Iterations, *t.Error, strings.Join(t.Validation, " "))
	} else {
		fmt.Fprintf(w, "weights of iteration %d of %d, without validation\n", t.Best, t.Iterations)
	}
}
