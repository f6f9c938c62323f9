package predictor

import (
	"context"
	"slices"
	"strings"
	"testing"

	"quicktune/internal/stream"
	"quicktune/search"
	"quicktune/space"
)

// Everything that the weights depend on beside the data has a part in the name
// that a model is kept under, and nothing else has.
func TestNamesInTheCache(t *testing.T) {
	paths := map[string]string{}
	add := func(what string, a Architecture, o MetaTrainOptions) string {
		t.Helper()
		p, err := cachePath("dir", a, o)
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := paths[p]; twice {
			t.Errorf("%s has the name of %s", what, other)
		}
		paths[p] = what
		return p
	}
	base := add("the base", Reference(), ReferenceMetaTrain())
	for what, change := range map[string]func(*MetaTrainOptions){
		"another seed":       func(m *MetaTrainOptions) { m.Seed = 1 },
		"another rate":       func(m *MetaTrainOptions) { m.LearningRate *= 1.0000001 },
		"another scale":      func(m *MetaTrainOptions) { m.MetaScale = m.CostMetaScale },
		"another cost":       func(m *MetaTrainOptions) { m.Cost.Log = true },
		"another validation": func(m *MetaTrainOptions) { m.ValidationRounds++ },
		"other iterations":   func(m *MetaTrainOptions) { m.CostIterations++ },
	} {
		o := ReferenceMetaTrain()
		change(&o)
		add(what, Reference(), o)
	}
	a := Reference()
	a.MaxEpochs = 10
	add("another architecture", a, ReferenceMetaTrain())
	if p, err := cachePath("", a, ReferenceMetaTrain()); p != "" || err != nil {
		t.Errorf("without a cache the model is kept in %q (%v)", p, err)
	}

	// What the caller of Learn sets of its own is of no importance.
	o := ReferenceMetaTrain()
	o.Progress = func(Progress) {}
	if p, err := cachePath("dir", Reference(), o); p != base || err != nil {
		t.Errorf("progress changes the name (%v)", err)
	}
}

func TestLearnFromLossesOnAnotherSpace(t *testing.T) {
	if _, err := Learn(context.Background(), search.MetaData{MaxEpochs: 5}, LearnOptions{}); err == nil || !strings.Contains(err.Error(), "without a search space") {
		t.Errorf("without a space: error %v", err)
	}
	s, err := space.Parse([]byte(`{
		"format": "quicktune-space", "version": 1, "name": "other",
		"hyperparameters": [
			{"name": "net", "type": "categorical", "choices": ["b", "a", "c"]},
			{"name": "rate", "type": "real", "lower": 0.001, "upper": 1, "log": true}
		]
	}`))
	if err != nil {
		t.Fatal(err)
	}
	m := search.MetaData{Space: s, Metric: search.Metric{Name: "val_loss"}, MaxEpochs: 4, ModelParam: "net", Cache: t.TempDir(), Parallel: 1}
	for part := range uint64(3) {
		rng := stream.New("test/losses", part)
		c := search.Curves{Task: search.Task{Name: string(rune('x' + part)), TrainSamples: 100, Classes: 2}}
		for range 8 {
			c.Configs = append(c.Configs, s.Sample(rng))
			level := 1 + 9*rng.Float32()
			c.Scores = append(c.Scores, []float32{-level, -level / 2, -level / 3})
			c.Seconds = append(c.Seconds, []float32{1, 1, 1})
		}
		if part < 2 {
			m.Train = append(m.Train, c)
		} else {
			m.Validation = append(m.Validation, c)
		}
	}
	o := ReferenceMetaTrain()
	o.Iterations, o.CostIterations = 30, 30
	model, err := Learn(context.Background(), m, LearnOptions{Training: &o})
	if err != nil {
		t.Fatal(err)
	}
	if got := model.Performance.Architecture(); !slices.Equal(got.Groups, []int{3, 1}) || got.MaxEpochs != 4 {
		t.Errorf("architecture %+v", got)
	}
	if model.Info.Unit != m.UnitScale() || model.Info.SpaceHash != s.Hash() || model.Info.Encoder.ModelParam != "net" {
		t.Errorf("header %+v", model.Info)
	}
	tasks, err := Tasks(m.Train, model.Info.Encoder, model.Info.Unit)
	if err != nil {
		t.Fatal(err)
	}
	for _, curve := range tasks[0].Scores {
		for _, score := range curve {
			if !(score > 0 && score < 1) {
				t.Fatalf("a loss becomes %v", score)
			}
		}
	}
	// The second time it is read, encoder and all.
	again, err := Learn(context.Background(), m, LearnOptions{Training: &o})
	if err != nil || !slices.Equal(weightsOf(again), weightsOf(model)) || !slices.Equal(again.Info.Encoder.Columns, model.Info.Encoder.Columns) {
		t.Errorf("the model in the cache is another (%v)", err)
	}
}
