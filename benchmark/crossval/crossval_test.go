package crossval

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quicktune/metadataset"
	"quicktune/metadataset/synthetic"
	"quicktune/predictor"
	"quicktune/space"
)

// store makes a synthetic meta-dataset and lets change alter it before it is
// written.
func store(t testing.TB, datasets int, change func(*metadataset.Input)) *metadataset.Store {
	t.Helper()
	in := synthetic.Generate(synthetic.Options{Datasets: datasets, Curves: 8, Epochs: 10, Seed: 1})
	if change != nil {
		change(&in)
	}
	dir := filepath.Join(t.TempDir(), "store")
	if err := metadataset.Write(dir, in); err != nil {
		t.Fatal(err)
	}
	s, err := metadataset.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// short is a meta-training of a fraction of a second.
func short(t testing.TB) Options {
	o := predictor.ReferenceMetaTrain()
	o.Iterations, o.CostIterations, o.ValidateEvery, o.ValidationRounds = 30, 30, 10, 3
	return Options{Training: &o, Cache: t.TempDir()}
}

func models(t *testing.T, s *metadataset.Store, o Options) map[string]*predictor.Model {
	t.Helper()
	m, err := Models(context.Background(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// bits is what a model saves.
func bits(t *testing.T, m *predictor.Model) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestNoModelSeesItsTestDataSets(t *testing.T) {
	s := store(t, 7, nil)
	o := short(t)
	rounds := 0
	o.Progress = func(p Progress) { rounds = p.Rounds }
	m := models(t, s, o)
	if rounds != 5 || len(m) != 7 {
		t.Errorf("%d rounds and %d models for 7 data sets, want 5 and 7", rounds, len(m))
	}
	for name, m := range m {
		tr := m.Info.Training
		if known := append(slices.Clone(tr.Train), tr.Validation...); slices.Contains(known, name) || len(known) == 0 {
			t.Errorf("the model for %s was trained on %v and validated on %v", name, tr.Train, tr.Validation)
		}
		if m.Info.SpaceHash != s.Space.Hash() || m.Info.Metric != "val_accuracy" || m.Info.Encoder == nil {
			t.Errorf("the model for %s does not say how it is used: %+v", name, m.Info)
		}
	}
}

// Whatever stands in the curves, configurations and descriptors of a data set,
// the model that is tested on it is the same, and so is its encoder.
func TestTestDataHasNoInfluence(t *testing.T) {
	const tested = "SYN_0003"
	var names []string
	s := store(t, 6, nil)
	for _, d := range s.Datasets {
		names = append(names, d.Name)
	}
	if !slices.Contains(names, tested) {
		t.Fatalf("no data set %s among %v", tested, names)
	}
	other := store(t, 6, func(in *metadataset.Input) {
		for i := range in.Datasets {
			if in.Datasets[i].Name == tested {
				in.Datasets[i].TrainSamples *= 3
			}
		}
		for i := range in.Curves {
			c := &in.Curves[i]
			if c.Dataset != tested {
				continue
			}
			c.Config[space.QuickTune().Index("smoothing")] = space.QuickTune().Param(space.QuickTune().Index("smoothing")).Choices[2]
			for e := range c.Values[metadataset.ValAccuracy] {
				c.Values[metadataset.ValAccuracy][e] /= 2
				c.Values[metadataset.Seconds][e] *= 3
			}
		}
	})
	o := short(t)
	a, b := models(t, s, o), models(t, other, o)
	if bits(t, a[tested]) != bits(t, b[tested]) {
		t.Error("the data that a model is tested on changed it")
	}
	same := 0
	for _, name := range names {
		if bits(t, a[name]) == bits(t, b[name]) {
			same++
		}
	}
	// Its fold holds one or two of the six data sets.
	if same == 0 || same > 2 {
		t.Errorf("%d of 6 models are the same: the test shows nothing", same)
	}
	o.EncodeAll = true
	if a, b := models(t, s, o), models(t, other, o); bits(t, a[tested]) == bits(t, b[tested]) {
		t.Error("with EncodeAll, the tested configurations should have changed the encoder")
	}
}

func TestModelsAreTrainedOnce(t *testing.T) {
	s := store(t, 5, nil)
	o := short(t)
	var cached, trained int
	o.Progress = func(p Progress) {
		if p.Cached {
			cached++
		} else if p.Phase == "cost" && p.Iteration == p.Target {
			trained++
		}
	}
	first := models(t, s, o)
	if cached != 0 || trained != 5 {
		t.Errorf("at first %d cached and %d trained, want 0 and 5", cached, trained)
	}
	cached, trained = 0, 0
	second := models(t, s, o)
	if cached != 5 || trained != 0 {
		t.Errorf("then %d cached and %d trained, want 5 and 0", cached, trained)
	}
	for name := range first {
		if bits(t, first[name]) != bits(t, second[name]) {
			t.Errorf("the cached model for %s differs", name)
		}
	}
	entries, err := os.ReadDir(o.Cache)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".safetensors") {
			t.Errorf("the cache holds %s", e.Name())
		}
	}

	// A damaged file is made again, the others are not.
	path := filepath.Join(o.Cache, entries[0].Name())
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	cached, trained = 0, 0
	third := models(t, s, o)
	if cached != 4 || trained != 1 {
		t.Errorf("with a damaged file %d cached and %d trained, want 4 and 1", cached, trained)
	}
	for name := range first {
		if bits(t, first[name]) != bits(t, third[name]) {
			t.Errorf("the model for %s that was made again differs", name)
		}
	}
}

// Everything that the weights depend on has a part in the key.
func TestKey(t *testing.T) {
	s := store(t, 5, nil)
	split := predictor.Split{Train: []string{"a", "b"}, Validation: []string{"c"}, Test: []string{"d"}}
	keys := map[string]string{}
	add := func(what string, s *metadataset.Store, o Options, split predictor.Split) {
		t.Helper()
		c, err := newCourse(s, o, 1)
		if err != nil {
			t.Fatal(err)
		}
		k := c.key(split)
		if other, twice := keys[k]; twice {
			t.Errorf("%s has the key of %s", what, other)
		}
		keys[k] = what
	}
	o := short(t)
	add("the base", s, o, split)
	add("other data", store(t, 6, nil), o, split)
	add("another train set", s, o, predictor.Split{Train: []string{"b", "a"}, Validation: []string{"c"}})
	add("another validation set", s, o, predictor.Split{Train: []string{"a", "b"}, Validation: []string{"d"}})
	add("a name that looks like two", s, o, predictor.Split{Train: []string{`a" "b`}, Validation: []string{"c"}})
	all := o
	all.EncodeAll = true
	add("EncodeAll", s, all, split)
	for what, change := range map[string]func(*predictor.MetaTrainOptions){
		"another seed":       func(m *predictor.MetaTrainOptions) { m.Seed = 1 },
		"another rate":       func(m *predictor.MetaTrainOptions) { m.LearningRate *= 1.0000001 },
		"another scale":      func(m *predictor.MetaTrainOptions) { m.MetaScale = m.CostMetaScale },
		"another cost":       func(m *predictor.MetaTrainOptions) { m.Cost.Log = true },
		"another validation": func(m *predictor.MetaTrainOptions) { m.ValidationRounds++ },
	} {
		training := *o.Training
		change(&training)
		changed := o
		changed.Training = &training
		add(what, s, changed, split)
	}
	wide := o
	arch := predictor.Reference()
	arch.MaxEpochs, arch.Hidden = 10, 64
	wide.Architecture = &arch
	add("another architecture", s, wide, split)

	// What changes no weights changes no key.
	c, err := newCourse(s, o, 1)
	if err != nil {
		t.Fatal(err)
	}
	training := *o.Training
	training.State, training.StateEvery = "elsewhere", 7
	training.Progress = func(predictor.Progress) {}
	o.Training, o.Parallel, o.Cache = &training, 7, t.TempDir()
	d, err := newCourse(s, o, 3)
	if err != nil {
		t.Fatal(err)
	}
	if c.key(split) != d.key(split) {
		t.Error("states, progress, cache or parallelism change the key")
	}
}

func TestCancelledTrainingGoesOn(t *testing.T) {
	s := store(t, 5, nil)
	whole := short(t)
	whole.Training.Iterations, whole.Training.CostIterations = 200, 200
	want := models(t, s, whole)

	o := whole
	o.Cache = t.TempDir()
	o.Parallel = 1
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.Progress = func(p Progress) {
		if p.Phase == "performance" && p.Iteration >= 100 {
			cancel()
		}
	}
	if _, err := Models(ctx, s, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want a cancelled context", err)
	}
	states, err := filepath.Glob(filepath.Join(o.Cache, "*.performance"))
	if err != nil || len(states) == 0 {
		t.Fatalf("no state of an interrupted training (%v)", err)
	}
	earliest := math.MaxInt
	o.Progress = func(p Progress) {
		if p.Round == 1 && p.Phase == "performance" {
			earliest = min(earliest, p.Iteration)
		}
	}
	got := models(t, s, o)
	if earliest <= 100 {
		t.Errorf("the training started again: its first report is of iteration %d", earliest)
	}
	for name := range want {
		if bits(t, want[name]) != bits(t, got[name]) {
			t.Errorf("the model for %s depends on the interruption", name)
		}
	}
	if states, _ := filepath.Glob(filepath.Join(o.Cache, "*.state.*")); len(states) > 0 {
		t.Errorf("states are left: %v", states)
	}
}

func TestFewDataSetsAreLeftOneOut(t *testing.T) {
	for n := 2; n < 5; n++ {
		s := store(t, n, nil)
		m := models(t, s, short(t))
		if len(m) != n {
			t.Errorf("%d data sets: %d models", n, len(m))
		}
		for name, m := range m {
			tr := m.Info.Training
			if slices.Contains(append(slices.Clone(tr.Train), tr.Validation...), name) {
				t.Errorf("%d data sets: the model for %s saw it", n, name)
			}
			if got := len(tr.Train) + len(tr.Validation); got != n-1 {
				t.Errorf("%d data sets: the model for %s knows %d", n, name, got)
			}
			if (len(tr.Validation) == 0) != (n == 2) {
				t.Errorf("%d data sets: %d of them validate", n, len(tr.Validation))
			}
		}
	}
	_, err := Models(context.Background(), store(t, 1, nil), short(t))
	if err == nil || !strings.Contains(err.Error(), "needs at least 2") {
		t.Errorf("one data set: error %v", err)
	}
}

func TestOnlyWantedRoundsAreTrained(t *testing.T) {
	s := store(t, 10, nil)
	o := short(t)
	o.Test = []string{s.Datasets[4].Name}
	m := models(t, s, o)
	if len(m) != 2 || m[s.Datasets[4].Name] == nil {
		t.Errorf("%d models, want those of the two data sets of one fold", len(m))
	}
	all := short(t)
	all.Cache = o.Cache
	if every := models(t, s, all); bits(t, every[s.Datasets[4].Name]) != bits(t, m[s.Datasets[4].Name]) {
		t.Error("a model depends on which others are wanted")
	}
}

func TestSplitsCanBeGiven(t *testing.T) {
	s := store(t, 5, nil)
	var n []string
	for _, d := range s.Datasets {
		n = append(n, d.Name)
	}
	o := short(t)
	o.Splits = []predictor.Split{{Train: n[:2], Validation: n[2:3], Test: n[3:]}}
	m := models(t, s, o)
	if len(m) != 2 || m[n[3]] != m[n[4]] {
		t.Fatalf("%d models, want one of both test data sets", len(m))
	}
	if tr := m[n[3]].Info.Training; !cmp.Equal(tr.Train, n[:2]) || !cmp.Equal(tr.Validation, n[2:3]) {
		t.Errorf("trained on %v, validated on %v", tr.Train, tr.Validation)
	}
	for _, c := range []struct {
		want   string
		splits []predictor.Split
	}{
		{"is listed for train and for test", []predictor.Split{{Train: n[:2], Test: n[1:]}}},
		{"is listed for validation and for test", []predictor.Split{{Train: n[:2], Validation: n[2:], Test: n[4:]}}},
		{`there is no data set "CIFAR"`, []predictor.Split{{Train: []string{"CIFAR"}, Test: n[:1]}}},
		{"round 1 has no data set to train on", []predictor.Split{{Test: n[:1]}}},
		{"is tested in rounds 1 and 2", []predictor.Split{{Train: n[:2], Test: n[2:3]}, {Train: n[:2], Test: n[2:]}}},
	} {
		o.Splits = c.splits
		if _, err := Models(context.Background(), s, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
	o.Splits, o.Test = nil, []string{"CIFAR"}
	if _, err := Models(context.Background(), s, o); err == nil || !strings.Contains(err.Error(), `no round tests data set "CIFAR"`) {
		t.Errorf("a wanted data set that does not exist: %v", err)
	}
}

func TestTrainOne(t *testing.T) {
	for n, validation := range map[int]int{1: 0, 2: 1, 3: 1, 5: 1, 11: 2} {
		s := store(t, n, nil)
		m, err := TrainOne(context.Background(), s, short(t))
		if err != nil {
			t.Fatal(err)
		}
		tr := m.Info.Training
		if len(tr.Validation) != validation || len(tr.Train) != n-validation {
			t.Errorf("%d data sets: %d train and %d validate", n, len(tr.Train), len(tr.Validation))
		}
		known := append(slices.Clone(tr.Train), tr.Validation...)
		slices.Sort(known)
		if len(slices.Compact(known)) != n {
			t.Errorf("%d data sets: a data set is used twice: %v, %v", n, tr.Train, tr.Validation)
		}
	}
}

func TestForeignSpacesAreRefused(t *testing.T) {
	lr := space.Hyperparameter{Name: "lr", Type: space.Real, Lower: 1e-5, Upper: 1, Log: true}
	sp, err := space.New("plain", []space.Hyperparameter{lr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := store(t, 2, func(in *metadataset.Input) {
		in.Space, in.ModelParam, in.Models = sp, "", nil
		for i := range in.Curves {
			in.Curves[i].Config = space.Config{space.Float(0.001)}
		}
	})
	for _, err := range []error{
		second(Models(context.Background(), s, short(t))),
		second(TrainOne(context.Background(), s, short(t))),
	} {
		if err == nil || !strings.Contains(err.Error(), `the search space is "plain"`) {
			t.Errorf("error %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
