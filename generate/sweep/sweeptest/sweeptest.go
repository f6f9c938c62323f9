// Package sweeptest is a trainer that trains nothing, for tests of everything
// around training.
//
// Its curves are smooth, depend on the request alone and cost no time but what
// the test asks for. It keeps checkpoints as a real trainer does, and can be
// told to go wrong in every way that a real one does. It refuses to be used for
// results.
package sweeptest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"quicktune/generate/trainer"
	"quicktune/internal/stream"
	"quicktune/metadataset"
	"quicktune/space"
)

// ModelParam is the hyperparameter of Space that names the model.
const ModelParam = "model"

// Space is a small search space with a condition.
func Space() *space.Space {
	s, err := space.New("fake", []space.Hyperparameter{
		{Name: ModelParam, Type: space.Categorical, Choices: []space.Value{space.String("small"), space.String("middle"), space.String("large")}},
		{Name: "lr", Type: space.Ordinal, Log: true, Choices: []space.Value{space.Float(1e-4), space.Float(1e-3), space.Float(1e-2), space.Float(0.1)}},
		{Name: "opt", Type: space.Categorical, Choices: []space.Value{space.String("sgd"), space.String("momentum")}},
		{Name: "momentum", Type: space.Ordinal, Choices: []space.Value{space.Float(0.5), space.Float(0.9)}},
		{Name: "drop", Type: space.Ordinal, Choices: []space.Value{space.Float(0), space.Float(0.1), space.Float(0.2)}},
	}, []space.Condition{{Child: "momentum", AnyOf: [][]space.Clause{{{Parent: "opt", Op: space.In, Values: []space.Value{space.String("momentum")}}}}}})
	if err != nil {
		panic(err)
	}
	return s
}

// Hub are the models of Space.
func Hub() []metadataset.Model {
	return []metadataset.Model{
		{Name: "small", Params: 0.01, SourceAccuracy: 0.6, Pixels: 32, GMACs: 0.001},
		{Name: "middle", Params: 0.1, SourceAccuracy: 0.7, Pixels: 32, GMACs: 0.01},
		{Name: "large", Params: 0.4, SourceAccuracy: math.NaN(), Pixels: 32, GMACs: 0.04},
	}
}

// Trainer is the fake. The zero value works without a pause.
type Trainer struct {
	// Epoch is the time that an epoch takes.
	Epoch time.Duration
	// Before, if not nil, is called before each epoch; an error ends the work.
	Before func(r trainer.Request, epoch int) error
	// Ends, if not nil, may end a trial before an epoch.
	Ends func(r trainer.Request, epoch int) metadataset.End
}

// Seconds is what the fake claims that an epoch takes.
func Seconds(r trainer.Request) (train, eval float64) {
	for i, m := range Hub() {
		if m.Name == r.Model {
			return float64(1+2*i) + float64(r.Seed%100)/100, 0.25
		}
	}
	return 1, 0.25
}

// Curve returns epoch e, from 1, of the curve of a request.
func Curve(r trainer.Request, e int) trainer.Record {
	rng := stream.New("sweeptest", r.Seed)
	top, rate := 0.2+0.7*rng.Float64(), 0.05+0.5*rng.Float64()
	noise := stream.New("sweeptest/noise", r.Seed, uint64(e)).Float64()
	accuracy := top * (1 - math.Exp(-rate*float64(e))) * (0.95 + 0.05*noise)
	train, eval := Seconds(r)
	return trainer.Record{
		Trial: r.Trial, Epoch: e, TrainLoss: 2 * (1 - accuracy), ValLoss: 2.2 * (1 - accuracy),
		ValAccuracy: accuracy, TestAccuracy: accuracy * 0.98, LearningRate: r.Config["lr"].Num(),
		TrainSeconds: train, EvalSeconds: eval,
	}
}

// Train makes up the epochs of a request. The checkpoint holds the number of
// epochs that are done.
func (f *Trainer) Train(ctx context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
	done, err := f.restore(r)
	if err != nil {
		return trainer.End{}, err
	}
	until := r.Until
	if until == 0 {
		until = r.Epochs
	}
	var spent float64
	for e := 1; e <= until; e++ {
		if err := ctx.Err(); err != nil {
			return trainer.End{}, err
		}
		if e > done {
			if f.Ends != nil {
				if end := f.Ends(r, e); end != "" {
					return trainer.End{Trial: r.Trial, End: end, Reason: fmt.Sprintf("before epoch %d", e)}, nil
				}
			}
			if f.Before != nil {
				if err := f.Before(r, e); err != nil {
					return trainer.End{}, err
				}
			}
			if f.Epoch > 0 {
				select {
				case <-time.After(f.Epoch):
				case <-ctx.Done():
					return trainer.End{}, ctx.Err()
				}
			}
		}
		rec := Curve(r, e)
		spent += rec.TrainSeconds + rec.EvalSeconds
		if r.CurveCap > 0 && spent >= r.CurveCap && e > 1 {
			return trainer.End{Trial: r.Trial, End: metadataset.EndTimeCapped}, nil
		}
		if e > done {
			if err := f.save(r, e); err != nil {
				return trainer.End{}, err
			}
		}
		if err := emit(rec); err != nil {
			return trainer.End{}, err
		}
		if r.CurveCap > 0 && spent >= r.CurveCap {
			return trainer.End{Trial: r.Trial, End: metadataset.EndTimeCapped}, nil
		}
	}
	return trainer.End{Trial: r.Trial, End: metadataset.EndCompleted}, nil
}

const checkpointFile = "epochs.json"

func (f *Trainer) restore(r trainer.Request) (int, error) {
	if r.Checkpoint == "" {
		return 0, nil
	}
	data, err := os.ReadFile(filepath.Join(r.Checkpoint, checkpointFile))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var done int
	return done, json.Unmarshal(data, &done)
}

func (f *Trainer) save(r trainer.Request, epochs int) error {
	if r.Checkpoint == "" {
		return nil
	}
	if err := os.MkdirAll(r.Checkpoint, 0o777); err != nil {
		return err
	}
	path := filepath.Join(r.Checkpoint, checkpointFile)
	if err := os.WriteFile(path+".tmp", fmt.Appendln(nil, epochs), 0o666); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
