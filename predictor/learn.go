package predictor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"quicktune/search"
	"quicktune/space"
)

// learnVersion is part of the name of every model in a cache. It is raised
// whenever the same data and options would give other weights than before.
const learnVersion = 1

// stateEvery is the number of iterations after which an interrupted training
// goes on at the latest.
const stateEvery = 1000

// LearnOptions say how [Learn] trains.
type LearnOptions struct {
	// Training defaults to ReferenceMetaTrain. Its states and progress are set
	// by Learn; those that it brings are ignored.
	Training *MetaTrainOptions
}

// Learn meta-trains both predictors, in the shape of [Reference] with the curve
// length of m, on m.Train, with the best weights on m.Validation. Configurations
// are standardised by those of m.Train. For another search space than Quick-Tune's
// the blocks of columns have other sizes, and losses are mapped to [0, 1].
//
// With m.Cache, the model is kept there and read the next time, and an
// interrupted training goes on where it stopped. A damaged model is made again.
func Learn(ctx context.Context, m search.MetaData, o LearnOptions) (*Model, error) {
	if m.Space == nil {
		return nil, errors.New("predictor: nothing can be learnt without a search space")
	}
	encoder, err := encoderOf(m)
	if err != nil {
		return nil, err
	}
	a := Reference()
	a.Groups = encoder.Groups()
	a.MaxEpochs = m.MaxEpochs
	training := ReferenceMetaTrain()
	if o.Training != nil {
		training = *o.Training
	}
	training.State, training.StateEvery, training.Progress = "", 0, nil
	path, err := cachePath(m.Cache, a, training)
	if err != nil {
		return nil, err
	}
	if path != "" {
		if model, err := Load(path); err == nil {
			return model, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			if err := os.Remove(path); err != nil {
				return nil, err
			}
		}
		training.State, training.StateEvery = path+".state", stateEvery
	}
	training.Progress = progress(m.Progress, training)

	unit := m.UnitScale()
	train, err := Tasks(m.Train, encoder, unit)
	if err != nil {
		return nil, err
	}
	validation, err := Tasks(m.Validation, encoder, unit)
	if err != nil {
		return nil, err
	}
	model, err := MetaTrain(ctx, a, train, validation, training)
	if err != nil {
		return nil, err
	}
	model.Info.SpaceHash = m.Space.Hash()
	model.Info.Metric = m.Metric.Name
	model.Info.Unit = unit
	model.Info.Encoder = encoder
	if path == "" {
		return model, nil
	}
	if err := model.Save(path); err != nil {
		return nil, err
	}
	for _, part := range []string{".performance", ".cost"} {
		if err := os.Remove(training.State + part); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return model, nil
}

// cachePath names the model by all that it depends on beside the data, which
// the directory stands for.
func cachePath(dir string, a Architecture, training MetaTrainOptions) (string, error) {
	if dir == "" {
		return "", nil
	}
	options, err := json.Marshal(struct {
		MetaTrainOptions
		Progress struct{} // hides the function
	}{MetaTrainOptions: training})
	if err != nil {
		return "", fmt.Errorf("predictor: options of meta-training: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d %d\n%+v\n%s\n", learnVersion, CheckpointVersion, a, options)
	return filepath.Join(dir, "predictor-"+hex.EncodeToString(h.Sum(nil))[:16]+".safetensors"), nil
}

// progress adds up the iterations of both predictors.
func progress(tell func(done, total int64), o MetaTrainOptions) func(Progress) {
	if tell == nil {
		return nil
	}
	done := make(map[string]int64)
	return func(p Progress) {
		done[p.Phase] = int64(p.Iteration)
		var sum int64
		for _, n := range done {
			sum += n
		}
		tell(sum, int64(o.Iterations+o.CostIterations))
	}
}

// encoderOf standardises by the configurations of the training data sets.
func encoderOf(m search.MetaData) (*Encoder, error) {
	var configs []space.Config
	for _, s := range m.Train {
		configs = append(configs, s.Configs...)
	}
	if len(configs) == 0 {
		return nil, errNoTasks
	}
	return NewEncoder(m.Space, m.ModelParam, configs)
}

// Tasks encodes data sets as MetaTrain takes them.
func Tasks(sets []search.Curves, encoder *Encoder, unit search.UnitScale) ([]Task, error) {
	var tasks []Task
	for _, s := range sets {
		t := Task{Name: s.Task.Name, Meta: Descriptors(s.Task)}
		for c, config := range s.Configs {
			x, err := encoder.Encode(nil, config)
			if err != nil {
				return nil, fmt.Errorf("data set %q, configuration %d: %w", s.Task.Name, c, err)
			}
			t.Config = append(t.Config, x)
			scores := widen(s.Scores[c])
			for e := range scores {
				scores[e] = unit.Apply(scores[e])
			}
			t.Scores = append(t.Scores, scores)
			t.Seconds = append(t.Seconds, widen(s.Seconds[c]))
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}

// Descriptors are the four descriptors of a data set that the published method
// knows: training samples, classes, pixels, channels.
func Descriptors(t search.Task) []float64 {
	return []float64{float64(t.TrainSamples), float64(t.Classes), float64(t.Pixels), float64(t.Channels)}
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
