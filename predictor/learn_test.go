package predictor

import (
	"context"
	"strings"
	"testing"

	"quicktune/search"
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

func TestCurvesOfAnotherSpaceAreNotLearntFrom(t *testing.T) {
	_, err := Learn(context.Background(), search.MetaData{MaxEpochs: 5}, LearnOptions{})
	if err == nil || !strings.Contains(err.Error(), "knows the search space of Quick-Tune only") {
		t.Errorf("error %v", err)
	}
}
