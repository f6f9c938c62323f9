// Package crossval meta-learns the predictors of Quick-Tune on the curves of a
// meta-dataset such that no method ever sees the data set it is tested on: the
// data sets are split into five folds, and each round trains on three of them,
// picks the best weights on a fourth and is tested on the fifth.
//
// Models are kept in a cache under a key made of all that they depend on, so
// each is trained once on a machine; a training that was interrupted goes on
// where it stopped. The package refuses to judge models and to choose settings:
// it never looks at a curve of a test data set.
package crossval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"quicktune/metadataset"
	"quicktune/predictor"
	"quicktune/space"
)

// Version is part of every key in the cache. It is raised whenever the same
// data and options would give other weights than before.
const Version = 1

// DefaultShuffle is the seed of the shuffle that deals data sets to folds in the
// released experiments.
const DefaultShuffle = 42

// stateEvery is the number of iterations after which an interrupted training
// goes on at the latest.
const stateEvery = 1000

// Options say what is trained, on what and where models are kept. The zero value
// is the published meta-training, but for EncodeAll.
type Options struct {
	// Training defaults to predictor.ReferenceMetaTrain. Its states and
	// progress are set here; those that it brings are ignored.
	Training *predictor.MetaTrainOptions
	// Architecture defaults to predictor.Reference with the curve length of
	// the meta-dataset.
	Architecture *predictor.Architecture
	// EncodeAll standardises configurations by those of all data sets, the
	// tested ones included, as the public implementation does. By default
	// only the training data sets count.
	EncodeAll bool

	// Splits are the rounds; nil deals the data sets to five folds by
	// predictor.Splits with the seed Shuffle (nil: DefaultShuffle).
	Splits  []predictor.Split
	Shuffle *uint32
	// Test names the data sets that models are wanted for; nil means all.
	// Rounds that test none of them are left out.
	Test []string

	// Cache is the directory that models are kept in. It defaults to
	// quicktune/models in os.UserCacheDir.
	Cache string
	// Parallel is how many models are trained at once, each on up to two
	// processors; default one for each processor. It changes no result.
	Parallel int
	// Progress, if not nil, is told how the rounds advance, from one goroutine
	// at a time.
	Progress func(Progress)
}

// Progress tells of one round.
type Progress struct {
	Round, Rounds int // Round counts from 1
	Split         predictor.Split
	// Cached is true, in the only report of its round, if the model was
	// trained before.
	Cached bool
	predictor.Progress
}

// Models meta-learns a model for every round and returns them by the data sets
// that each may be tested on. A model is shared by the data sets of its fold;
// it must not be changed.
//
// A meta-dataset of fewer than five data sets is left-one-out instead: each data
// set is tested with a model of the others, one of which validates if there are
// at least two. With a single data set there is nothing to train on, which is an
// error.
func Models(ctx context.Context, s *metadataset.Store, o Options) (map[string]*predictor.Model, error) {
	splits, err := o.rounds(s)
	if err != nil {
		return nil, fmt.Errorf("cross-validation: %w", err)
	}
	c, err := newCourse(s, o, len(splits))
	if err != nil {
		return nil, fmt.Errorf("cross-validation: %w", err)
	}
	models := make([]*predictor.Model, len(splits))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.parallel())
	for i, split := range splits {
		group.Go(func() error {
			var err error
			models[i], err = c.train(ctx, i, split)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("cross-validation: %w", err)
	}
	byTest := make(map[string]*predictor.Model)
	for i, split := range splits {
		for _, name := range split.Test {
			byTest[name] = models[i]
		}
	}
	return byTest, nil
}

// TrainOne meta-learns one model on all data sets, for use on a new one. A fifth
// of them, at least one, is left out of the training and picks the best weights;
// a single data set is trained on without validation. Test, Splits and EncodeAll
// have no effect.
func TrainOne(ctx context.Context, s *metadataset.Store, o Options) (*predictor.Model, error) {
	o.EncodeAll, o.Splits, o.Test = false, nil, nil
	all := names(s)
	split := predictor.Split{Train: all}
	if len(all) > 1 {
		splits, err := o.rounds(s)
		if err != nil {
			return nil, fmt.Errorf("meta-training: %w", err)
		}
		split = splits[0]
		split.Train = append(slices.Clone(split.Train), split.Test...)
		if len(split.Validation) == 0 {
			split.Validation = split.Test
			split.Train = split.Train[:len(split.Train)-len(split.Test)]
		}
		split.Test = nil
	}
	c, err := newCourse(s, o, 1)
	if err != nil {
		return nil, fmt.Errorf("meta-training: %w", err)
	}
	m, err := c.train(ctx, 0, split)
	if err != nil {
		return nil, fmt.Errorf("meta-training: %w", err)
	}
	return m, nil
}

func names(s *metadataset.Store) []string {
	var out []string
	for _, d := range s.Datasets {
		out = append(out, d.Name)
	}
	return out
}

// rounds returns the rounds that are wanted.
func (o Options) rounds(s *metadataset.Store) ([]predictor.Split, error) {
	splits := o.Splits
	if splits == nil {
		var err error
		if splits, err = deal(names(s), o.Shuffle); err != nil {
			return nil, err
		}
	}
	if err := check(splits, s); err != nil {
		return nil, err
	}
	if o.Test == nil {
		return splits, nil
	}
	for _, name := range o.Test {
		if !slices.ContainsFunc(splits, func(p predictor.Split) bool { return slices.Contains(p.Test, name) }) {
			return nil, fmt.Errorf("no round tests data set %q", name)
		}
	}
	return slices.DeleteFunc(slices.Clone(splits), func(p predictor.Split) bool {
		return !slices.ContainsFunc(p.Test, func(name string) bool { return slices.Contains(o.Test, name) })
	}), nil
}

// deal splits data sets by the published rule or, where folds would be empty,
// leaves one out at a time.
func deal(names []string, shuffle *uint32) ([]predictor.Split, error) {
	n := len(names)
	switch {
	case n < 2:
		return nil, fmt.Errorf("%d data sets; a method that learns from other data sets needs at least 2", n)
	case n < predictor.Folds:
		splits := make([]predictor.Split, n)
		for i := range splits {
			splits[i].Test = []string{names[i]}
			rest := append(slices.Clone(names[i+1:]), names[:i]...)
			if len(rest) > 1 {
				splits[i].Validation, rest = rest[:1], rest[1:]
			}
			splits[i].Train = rest
		}
		return splits, nil
	}
	seed := uint32(DefaultShuffle)
	if shuffle != nil {
		seed = *shuffle
	}
	splits, err := predictor.Splits(names, seed)
	return splits[:], err
}

// check holds that every round trains on something, that nothing it is tested on
// has a part in its training, and that no data set is tested twice.
func check(splits []predictor.Split, s *metadataset.Store) error {
	tested := make(map[string]int)
	for i, p := range splits {
		if len(p.Train) == 0 {
			return fmt.Errorf("round %d has no data set to train on", i+1)
		}
		part := make(map[string]string)
		for _, set := range []struct {
			name  string
			names []string
		}{{"train", p.Train}, {"validation", p.Validation}, {"test", p.Test}} {
			for _, name := range set.names {
				if _, ok := s.DatasetIndex(name); !ok {
					return fmt.Errorf("round %d: there is no data set %q in %s", i+1, name, s.Dir)
				}
				if other, twice := part[name]; twice {
					return fmt.Errorf("round %d: data set %q is listed for %s and for %s", i+1, name, other, set.name)
				}
				part[name] = set.name
			}
		}
		for _, name := range p.Test {
			if j, twice := tested[name]; twice {
				return fmt.Errorf("data set %q is tested in rounds %d and %d", name, j, i+1)
			}
			tested[name] = i + 1
		}
	}
	return nil
}

// course is all that the rounds share.
type course struct {
	store    *metadataset.Store
	opt      Options
	arch     predictor.Architecture
	training predictor.MetaTrainOptions
	rounds   int
	report   func(Progress)
}

func newCourse(s *metadataset.Store, o Options, rounds int) (*course, error) {
	if s.Space.Hash() != space.QuickTune().Hash() {
		return nil, fmt.Errorf("%s: the search space is %q; the published predictor knows that of Quick-Tune only", s.Dir, s.Space.Name())
	}
	c := &course{store: s, opt: o, rounds: rounds, report: func(Progress) {}}
	if o.Architecture != nil {
		c.arch = *o.Architecture
	} else {
		c.arch = predictor.Reference()
		c.arch.MaxEpochs = s.Manifest.MaxEpochs
	}
	if o.Training != nil {
		c.training = *o.Training
	} else {
		c.training = predictor.ReferenceMetaTrain()
	}
	c.training.State, c.training.StateEvery, c.training.Progress = "", stateEvery, nil
	if c.opt.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no place to keep models: %w", err)
		}
		c.opt.Cache = filepath.Join(dir, "quicktune", "models")
	}
	if err := os.MkdirAll(c.opt.Cache, 0o755); err != nil {
		return nil, fmt.Errorf("no place to keep models: %w", err)
	}
	if o.Progress != nil {
		var mu sync.Mutex
		c.report = func(p Progress) {
			mu.Lock()
			defer mu.Unlock()
			o.Progress(p)
		}
	}
	return c, nil
}

func (c *course) parallel() int {
	if c.opt.Parallel > 0 {
		return c.opt.Parallel
	}
	return runtime.GOMAXPROCS(0)
}

// train returns the model of a round from the cache, or trains it.
func (c *course) train(ctx context.Context, round int, split predictor.Split) (*predictor.Model, error) {
	progress := Progress{Round: round + 1, Rounds: c.rounds, Split: split}
	path := filepath.Join(c.opt.Cache, c.key(split)+".safetensors")
	// A damaged file is made again.
	if m, err := predictor.Load(path); err == nil {
		progress.Cached = true
		c.report(progress)
		return m, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	encoder, err := c.encoder(split)
	if err != nil {
		return nil, err
	}
	train, err := c.tasks(split.Train, encoder)
	if err != nil {
		return nil, err
	}
	validation, err := c.tasks(split.Validation, encoder)
	if err != nil {
		return nil, err
	}
	training := c.training
	training.State = strings.TrimSuffix(path, ".safetensors") + ".state"
	training.Progress = func(p predictor.Progress) {
		progress := progress
		progress.Progress = p
		c.report(progress)
	}
	m, err := predictor.MetaTrain(ctx, c.arch, train, validation, training)
	if err != nil {
		return nil, err
	}
	m.Info.SpaceHash = c.store.Space.Hash()
	m.Info.Metric = string(c.store.Manifest.Metric.Column)
	m.Info.Encoder = encoder
	if err := m.Save(path); err != nil {
		return nil, err
	}
	for _, part := range []string{".performance", ".cost"} {
		if err := os.Remove(training.State + part); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return m, nil
}

// key names the model of a round by all that it depends on.
func (c *course) key(split predictor.Split) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %s\n%+v\n%+v\n%t\n%q\n%q\n", Version, predictor.CheckpointVersion, c.store.Manifest.Hash,
		c.arch, c.training, c.opt.EncodeAll, split.Train, split.Validation)
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// encoder standardises by the configurations that a round may know.
func (c *course) encoder(split predictor.Split) (*predictor.Encoder, error) {
	known := split.Train
	if c.opt.EncodeAll {
		known = names(c.store)
	}
	var configs []space.Config
	for _, name := range known {
		d, _ := c.store.DatasetIndex(name)
		for curve := range c.store.Curves(d) {
			configs = append(configs, c.store.Config(curve))
		}
	}
	if len(configs) == 0 {
		return nil, fmt.Errorf("the training data sets %s have no curve", strings.Join(known, ", "))
	}
	return predictor.NewEncoder(configs)
}

// tasks reads data sets from the store.
func (c *course) tasks(names []string, encoder *predictor.Encoder) ([]predictor.Task, error) {
	var tasks []predictor.Task
	for _, name := range names {
		d, _ := c.store.DatasetIndex(name)
		set := c.store.Datasets[d]
		t := predictor.Task{
			Name: name,
			Meta: []float64{float64(set.TrainSamples), float64(set.Classes), float64(set.Pixels), float64(set.Channels)},
		}
		for curve := range c.store.Curves(d) {
			config, err := encoder.Encode(nil, c.store.Config(curve))
			if err != nil {
				return nil, fmt.Errorf("data set %q, curve %q: %w", name, c.store.IDs[curve], err)
			}
			t.Config = append(t.Config, config)
			t.Scores = append(t.Scores, widen(c.store.Score(curve)))
			t.Seconds = append(t.Seconds, widen(c.store.Seconds(curve)))
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
