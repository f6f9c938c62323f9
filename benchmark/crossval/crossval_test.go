package crossval

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"quicktune/metadataset"
	"quicktune/metadataset/synthetic"
	"quicktune/predictor"
	"quicktune/search"
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

// plain is a method that does not learn.
var plain = search.Method{Name: "plain", Details: "no settings", New: func(search.Problem) (search.Optimizer, error) { return nil, errPlain }}

var errPlain = errors.New("plain")

// spy is a method that remembers what it was given. Its optimisers are none: the
// error of its factory tells what it learnt from.
type spy struct {
	name  string
	mu    sync.Mutex
	given []search.MetaData
}

func (s *spy) method() search.Method {
	return search.Method{Name: s.name, Details: "spying", Uses: search.Uses{MetaData: true}, Learn: func(ctx context.Context, m search.MetaData) (search.Factory, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.given = append(s.given, m)
		m.Progress(1, 2)
		known := strings.Join(slices.Concat(tasks(m.Train), tasks(m.Validation)), " ")
		return func(search.Problem) (search.Optimizer, error) { return nil, errors.New(known) }, nil
	}}
}

func tasks(sets []search.Curves) []string {
	var out []string
	for _, c := range sets {
		out = append(out, c.Task.Name)
	}
	return out
}

// knows returns the data sets that a learnt method knows when it searches on one.
func knows(m search.Method, name string) []string {
	_, err := m.New(search.Problem{Task: search.Task{Name: name}})
	return strings.Fields(err.Error())
}

func learned(t *testing.T, s *metadataset.Store, o Options, methods ...search.Method) []search.Method {
	t.Helper()
	if o.Cache == "" {
		o.Cache = t.TempDir()
	}
	out, err := Learn(context.Background(), s, methods, o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNoMethodSeesItsTestDataSets(t *testing.T) {
	for n := 2; n <= 11; n++ {
		s := store(t, n, nil)
		var spies [2]spy
		spies[0].name, spies[1].name = "a", "b"
		out := learned(t, s, Options{}, spies[0].method(), plain, spies[1].method())
		rounds := predictor.Folds
		if n < predictor.Folds {
			rounds = n
		}
		for i, m := range []search.Method{out[0], out[2]} {
			if m.Learn != nil || len(spies[i].given) != rounds {
				t.Errorf("%d data sets: %s learnt %d times, want %d", n, m.Name, len(spies[i].given), rounds)
			}
			for _, d := range s.Datasets {
				known := knows(m, d.Name)
				if slices.Contains(known, d.Name) {
					t.Errorf("%d data sets: %s is tested on %s and learnt from %v", n, m.Name, d.Name, known)
				}
				// All but its fold are known, and each once.
				slices.Sort(known)
				if fold := (n + rounds - 1) / rounds; len(known) < n-fold || len(slices.Compact(known)) != len(known) {
					t.Errorf("%d data sets: tested on %s, %s knows %v", n, d.Name, m.Name, known)
				}
			}
			for _, given := range spies[i].given {
				if len(given.Train) == 0 || (len(given.Validation) == 0) != (n == 2) {
					t.Errorf("%d data sets: %d to learn from and %d for validation", n, len(given.Train), len(given.Validation))
				}
			}
		}
		if _, err := out[1].New(search.Problem{}); err != errPlain || out[1].Details != plain.Details {
			t.Error("a method that does not learn was changed")
		}
	}
}

func TestMetaDataAreThoseOfTheStore(t *testing.T) {
	s := store(t, 3, func(in *metadataset.Input) {
		in.Models[0].Params = 0
		in.Models[1].GMACs = math.NaN()
		in.Curves[5].End = metadataset.EndMemoryTest
	})
	split := predictor.Split{Train: []string{s.Datasets[2].Name, s.Datasets[0].Name}, Validation: []string{s.Datasets[1].Name}}
	m, err := MetaData(s, split)
	if err != nil {
		t.Fatal(err)
	}
	if m.Space.Hash() != s.Space.Hash() || m.MaxEpochs != 10 || m.ModelParam != "model" || m.Metric != (search.Metric{Name: "val_accuracy", Bounded: true}) {
		t.Errorf("space %q, %d epochs, model in %q, metric %+v", m.Space.Name(), m.MaxEpochs, m.ModelParam, m.Metric)
	}
	if len(m.Hub) != len(s.Models) || !math.IsNaN(m.Hub[0].Params) || !math.IsNaN(m.Hub[1].GMACs) {
		t.Errorf("unknown numbers of models must be NaN: %+v", m.Hub[:2])
	}
	if got := tasks(m.Train); !slices.Equal(got, split.Train) {
		t.Errorf("to learn from: %v, want %v", got, split.Train)
	}
	untrained := 0
	for _, set := range slices.Concat(m.Train, m.Validation) {
		d, _ := s.DatasetIndex(set.Task.Name)
		if set.Task.TrainSamples != s.Datasets[d].TrainSamples || set.Task.Classes != s.Datasets[d].Classes {
			t.Errorf("%+v describes %+v", set.Task, s.Datasets[d])
		}
		i := 0
		for c := range s.Curves(d) {
			if !slices.Equal(set.Configs[i], s.Config(c)) || !slices.Equal(set.Scores[i], s.Score(c)) || !slices.Equal(set.Seconds[i], s.Seconds(c)) {
				t.Fatalf("%s, curve %d differs from the store", set.Task.Name, i)
			}
			if set.Untrained[i] != (s.Ends[c] == metadataset.EndMemoryTest) {
				t.Errorf("%s, curve %d: ends %q, untrained %v", set.Task.Name, i, s.Ends[c], set.Untrained[i])
			}
			if set.Untrained[i] {
				untrained++
			}
			i++
		}
		if i != len(set.Configs) {
			t.Errorf("%s: %d configurations, want %d", set.Task.Name, len(set.Configs), i)
		}
	}
	if untrained != 1 {
		t.Errorf("%d memory tests, want 1", untrained)
	}
	if _, err := MetaData(s, predictor.Split{Train: []string{"CIFAR"}}); err == nil || !strings.Contains(err.Error(), `no data set "CIFAR"`) {
		t.Errorf("a data set that is not there: %v", err)
	}
}

// Whatever differs in what a round knows has another directory, and methods
// never get one that does not exist.
func TestDirectoriesOfTheCache(t *testing.T) {
	cache := t.TempDir()
	dirs := map[string][]string{}
	six := store(t, 6, nil)
	shuffle := uint32(7)
	for what, learn := range map[string]func(*spy){
		"6 data sets":      func(p *spy) { learned(t, six, Options{Cache: cache}, p.method()) },
		"7 data sets":      func(p *spy) { learned(t, store(t, 7, nil), Options{Cache: cache}, p.method()) },
		"shuffle 7":        func(p *spy) { learned(t, six, Options{Cache: cache, Shuffle: &shuffle}, p.method()) },
		"one held out":     func(p *spy) { learned(t, six, Options{Cache: cache, HoldOut: []string{"SYN_0001"}}, p.method()) },
		"the whole of six": func(p *spy) { all(t, six, Options{Cache: cache}, p.method()) },
		"a changed number": func(p *spy) {
			changed := store(t, 6, func(in *metadataset.Input) { in.Curves[0].Values[metadataset.Seconds][0] *= 2 })
			learned(t, changed, Options{Cache: cache}, p.method())
		},
	} {
		var p spy
		learn(&p)
		for _, m := range p.given {
			if info, err := os.Stat(m.Cache); err != nil || !info.IsDir() {
				t.Errorf("%s: no directory %s (%v)", what, m.Cache, err)
			}
			dirs[m.Cache] = append(dirs[m.Cache], what)
		}
	}
	for dir, of := range dirs {
		if len(of) > 1 {
			t.Errorf("%s is that of %v", dir, of)
		}
	}
	var again spy
	learned(t, six, Options{Cache: cache}, again.method())
	for _, m := range again.given {
		if len(dirs[m.Cache]) == 0 {
			t.Errorf("the second time there is another directory %s", m.Cache)
		}
	}
}

func all(t *testing.T, s *metadataset.Store, o Options, m search.Method) search.Factory {
	t.Helper()
	f, err := All(context.Background(), s, m, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestLearningFromAllDataSets(t *testing.T) {
	for n, validation := range map[int]int{1: 0, 2: 1, 3: 1, 5: 1, 11: 2} {
		s := store(t, n, nil)
		var p spy
		all(t, s, Options{Cache: t.TempDir()}, p.method())
		m := p.given[0]
		if len(p.given) != 1 || len(m.Validation) != validation || len(m.Train) != n-validation {
			t.Errorf("%d data sets: %d to learn from and %d for validation, %d times", n, len(m.Train), len(m.Validation), len(p.given))
		}
		known := slices.Sorted(slices.Values(slices.Concat(tasks(m.Train), tasks(m.Validation))))
		if !slices.Equal(known, names(s)) {
			t.Errorf("%d data sets: learnt from %v", n, known)
		}
	}
	f := all(t, store(t, 2, nil), Options{Cache: t.TempDir()}, plain)
	if _, err := f(search.Problem{}); err != errPlain {
		t.Error("the factory of a method that does not learn is not its own")
	}
}

func TestHeldOutDataSetsAreTestedWithAllOthers(t *testing.T) {
	s := store(t, 12, nil)
	held := []string{"SYN_0003", "SYN_0007"}
	var p spy
	out := learned(t, s, Options{HoldOut: held}, p.method())
	if len(p.given) != 1 || len(p.given[0].Train) != 8 || len(p.given[0].Validation) != 2 {
		t.Fatalf("%d rounds with %v and %v", len(p.given), tasks(p.given[0].Train), tasks(p.given[0].Validation))
	}
	for _, name := range held {
		if known := knows(out[0], name); len(known) != 10 || slices.Contains(known, held[0]) || slices.Contains(known, held[1]) {
			t.Errorf("on %s it knows %v", name, known)
		}
	}
	if _, err := out[0].New(search.Problem{Task: search.Task{Name: "SYN_0001"}}); err == nil || !strings.Contains(err.Error(), `nothing was learnt for data set "SYN_0001"; it was for SYN_0003, SYN_0007`) {
		t.Errorf("on a data set that was learnt from: %v", err)
	}
	if want := "spying, learnt from all data sets but SYN_0003 SYN_0007 (shuffle 42)"; out[0].Details != want {
		t.Errorf("details %q, want %q", out[0].Details, want)
	}
}

func TestOnlyWantedRoundsAreLearnt(t *testing.T) {
	s := store(t, 10, nil)
	var every, some spy
	whole := learned(t, s, Options{}, every.method())[0]
	m := learned(t, s, Options{Test: []string{"SYN_0004"}}, some.method())[0]
	if len(every.given) != 5 || len(some.given) != 1 {
		t.Errorf("%d and %d rounds, want 5 and 1", len(every.given), len(some.given))
	}
	if a, b := knows(whole, "SYN_0004"), knows(m, "SYN_0004"); !slices.Equal(a, b) {
		t.Errorf("what is known depends on what is wanted: %v and %v", a, b)
	}
	if whole.Details != m.Details || m.Details != "spying, 5 folds over data sets (shuffle 42)" {
		t.Errorf("details %q and %q", whole.Details, m.Details)
	}
}

func TestProgressTellsOfEveryMethodAndRound(t *testing.T) {
	s := store(t, 6, nil)
	a, b := spy{name: "a"}, spy{name: "b"}
	o := Options{Cache: t.TempDir()}
	finished := map[string]Progress{}
	o.Progress = func(p Progress) {
		if p.Finished {
			finished[fmt.Sprint(p.Method, p.Round)] = p
		}
	}
	learned(t, s, o, a.method(), b.method())
	if got := slices.Sorted(maps.Keys(finished)); !slices.Equal(got, []string{"a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "b4", "b5"}) {
		t.Fatalf("finished %v", got)
	}
	for what, p := range finished {
		if p.Cached || p.Done != 2 || p.Total != 2 || p.Rounds != 5 || len(p.Key) != 32 || len(p.Split.Test) == 0 || !(p.Seconds > 0) {
			t.Errorf("%s: %+v", what, p)
		}
	}
}

// short learns a real model in a fraction of a second.
func short() search.Method {
	o := predictor.ReferenceMetaTrain()
	o.Iterations, o.CostIterations, o.ValidateEvery, o.ValidationRounds = 200, 200, 10, 3
	return search.Method{Name: "predictor", Uses: search.Uses{MetaData: true}, Learn: func(ctx context.Context, m search.MetaData) (search.Factory, error) {
		model, err := predictor.Learn(ctx, m, predictor.LearnOptions{Training: &o})
		if err != nil {
			return nil, err
		}
		return func(search.Problem) (search.Optimizer, error) { return nil, given{model} }, nil
	}}
}

// given carries a model out of a factory.
type given struct{ model *predictor.Model }

func (given) Error() string { return "a model" }

// bits is what the model that is used on a data set saves.
func bits(t *testing.T, m search.Method, name string) string {
	t.Helper()
	_, err := m.New(search.Problem{Task: search.Task{Name: name}})
	var g given
	if !errors.As(err, &g) {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model")
	if err := g.model.Save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Whatever stands in the curves, configurations and descriptors of a data set,
// the model that is tested on it is the same.
func TestTestDataHaveNoInfluence(t *testing.T) {
	const name = "SYN_0003"
	s := store(t, 6, nil)
	other := store(t, 6, func(in *metadataset.Input) {
		for i := range in.Datasets {
			if in.Datasets[i].Name == name {
				in.Datasets[i].TrainSamples *= 3
			}
		}
		for i := range in.Curves {
			c := &in.Curves[i]
			if c.Dataset != name {
				continue
			}
			c.Config[space.QuickTune().Index("smoothing")] = space.QuickTune().Param(space.QuickTune().Index("smoothing")).Choices[2]
			for e := range c.Values[metadataset.ValAccuracy] {
				c.Values[metadataset.ValAccuracy][e] /= 2
				c.Values[metadataset.Seconds][e] *= 3
			}
		}
	})
	a, b := learned(t, s, Options{}, short())[0], learned(t, other, Options{}, short())[0]
	same := 0
	for _, d := range s.Datasets {
		if bits(t, a, d.Name) == bits(t, b, d.Name) {
			same++
		} else if d.Name == name {
			t.Error("the data that a model is tested on changed it")
		}
	}
	// Its fold holds one or two of the six data sets.
	if same == 0 || same > 2 {
		t.Errorf("%d of 6 models are the same: the test shows nothing", same)
	}
}

func TestEverythingIsLearntOnce(t *testing.T) {
	s := store(t, 5, nil)
	o := Options{Cache: t.TempDir()}
	cached, worked, seconds := 0, 0, 0.0
	o.Progress = func(p Progress) {
		if p.Finished && p.Cached {
			cached++
		} else if p.Finished {
			worked++
		}
		if p.Finished {
			seconds += p.Seconds
		}
	}
	count := func(want [2]int) (took float64) {
		t.Helper()
		if cached != want[0] || worked != want[1] {
			t.Errorf("%d cached and %d learnt, want %v", cached, worked, want)
		}
		took, cached, worked, seconds = seconds, 0, 0, 0
		return took
	}
	first := learned(t, s, o, short())[0]
	took := count([2]int{0, 5})
	second := learned(t, s, o, short())[0]
	// Rounds are told in any order, and so are summed in any.
	if again := count([2]int{5, 0}); math.Abs(again-took) > 1e-9*took {
		t.Errorf("learning took %v seconds, as is told later %v", took, again)
	}
	for _, d := range s.Datasets {
		if bits(t, first, d.Name) != bits(t, second, d.Name) {
			t.Errorf("the cached model for %s differs", d.Name)
		}
	}
	// A cache that comes with the program fills one that is empty.
	empty := o
	empty.Cache, empty.Shipped = t.TempDir(), o.Cache
	shipped := learned(t, s, empty, short())[0]
	count([2]int{5, 0})
	for _, d := range s.Datasets {
		if bits(t, first, d.Name) != bits(t, shipped, d.Name) {
			t.Errorf("the shipped model for %s differs", d.Name)
		}
	}
	files, err := filepath.Glob(filepath.Join(o.Cache, "*", "*"))
	if err != nil || len(files) != 10 {
		t.Fatalf("the cache holds %v (%v), want a model and a record for each of 5 rounds", files, err)
	}

	// A damaged model is made again, the others are not.
	models, err := filepath.Glob(filepath.Join(o.Cache, "*", "predictor-*"))
	if err != nil || len(models) != 5 {
		t.Fatal(models, err)
	}
	if err := os.Truncate(models[0], 100); err != nil {
		t.Fatal(err)
	}
	third := learned(t, s, o, short())[0]
	count([2]int{4, 1})
	for _, d := range s.Datasets {
		if bits(t, first, d.Name) != bits(t, third, d.Name) {
			t.Errorf("the model for %s that was made again differs", d.Name)
		}
	}
}

func TestInterruptedLearningGoesOn(t *testing.T) {
	s := store(t, 5, nil)
	// told counts the reports of the first round, which come every so many
	// iterations.
	told := func(n *int) func(Progress) {
		return func(p Progress) {
			if p.Round == 1 && p.Done > 0 && !p.Finished {
				*n++
			}
		}
	}
	var whole, rest int
	want := learned(t, s, Options{Progress: told(&whole)}, short())[0]

	o := Options{Cache: t.TempDir(), Parallel: 1}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.Progress = func(p Progress) {
		if p.Done >= 100 {
			cancel()
		}
	}
	if _, err := Learn(ctx, s, []search.Method{short()}, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want a cancelled context", err)
	}
	states, err := filepath.Glob(filepath.Join(o.Cache, "*", "*.state.*"))
	if err != nil || len(states) == 0 {
		t.Fatalf("no state of an interrupted training (%v)", err)
	}
	o.Progress = told(&rest)
	got := learned(t, s, o, short())[0]
	if rest == 0 || rest >= whole {
		t.Errorf("%d reports after the interruption, %d of a training from the start", rest, whole)
	}
	for _, d := range s.Datasets {
		if bits(t, want, d.Name) != bits(t, got, d.Name) {
			t.Errorf("the model for %s depends on the interruption", d.Name)
		}
	}
	if states, _ := filepath.Glob(filepath.Join(o.Cache, "*", "*.state.*")); len(states) > 0 {
		t.Errorf("states are left: %v", states)
	}
}

func TestWhatCannotBeLearntIsOneLine(t *testing.T) {
	two := store(t, 2, nil)
	for _, c := range []struct {
		want string
		s    *metadataset.Store
		o    Options
	}{
		{"1 data sets; a method that learns from other data sets needs at least 2", store(t, 1, nil), Options{}},
		{`there is no data set "CIFAR"`, two, Options{Test: []string{"CIFAR"}}},
		{`there is no data set "CIFAR"`, two, Options{HoldOut: []string{"CIFAR"}}},
		{"no data set is left to learn from", two, Options{HoldOut: names(two)}},
	} {
		c.o.Cache = t.TempDir()
		_, err := Learn(context.Background(), c.s, []search.Method{short()}, c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want one line with %q", err, c.want)
		}
		// Methods that do not learn need no other data set.
		if _, err := Learn(context.Background(), c.s, []search.Method{plain}, c.o); err != nil {
			t.Error(err)
		}
	}
}
