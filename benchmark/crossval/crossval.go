// Package crossval lets methods learn from the curves of a meta-dataset such
// that none ever sees the data set it is tested on: the data sets are dealt to
// five folds, and each round learns from three of them, may choose by a fourth
// and is tested on the fifth.
//
// What was learnt is kept in a cache, in one directory for all that a round
// depends on, so it is learnt once on a machine. The package refuses to judge
// methods and to choose their settings: it never looks at a curve of a test data
// set.
package crossval

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"quicktune/benchmark/replay"
	"quicktune/internal/atomicfile"
	"quicktune/metadataset"
	"quicktune/predictor"
	"quicktune/search"
)

// Version is part of every key in the cache. It is raised whenever the same
// meta-dataset and split would give other [search.MetaData] than before.
const Version = 2

// DefaultShuffle is the seed of the shuffle that deals data sets to folds in the
// released experiments.
const DefaultShuffle = 42

// Options say which rounds there are and where what was learnt is kept.
type Options struct {
	// Shuffle is the seed of predictor.Splits, which deals the data sets to
	// folds; nil: DefaultShuffle.
	Shuffle *uint32
	// Test names the data sets that methods are wanted for; nil means all.
	// Rounds that test none of them are left out.
	Test []string
	// HoldOut, if not empty, replaces the folds by a single round, which is
	// tested on these data sets and learns from all others, as [All] does.
	// Test has no effect then.
	HoldOut []string

	// Cache is the directory that everything learnt is kept in. It defaults to
	// quicktune/models in os.UserCacheDir.
	Cache string
	// Shipped, if not "", is a directory like the cache that is only read: what
	// it holds of a round is copied to the cache, unless that is there.
	Shipped string
	// Parallel is how many processors to use; default all. It changes no
	// result.
	Parallel int
	// Progress, if not nil, is told how the learning advances, from one
	// goroutine at a time.
	Progress func(Progress)
}

// Progress tells of one method in one round.
type Progress struct {
	Method        string
	Round, Rounds int // Round counts from 1
	Split         predictor.Split
	Key           string // of the round, the name of its directory in the cache
	// Done and Total count as the method does; Total is 0 until it tells.
	Done, Total int64
	// Finished marks the last report of a method in a round. Cached is true
	// if nothing had to be learnt. Seconds is what learning took, those of
	// interrupted attempts included, on the machine that did it.
	Finished, Cached bool
	Seconds          float64
}

// Learn calls Learn of every method that has it once a round, and returns the
// methods with a New that picks what was learnt by the data set to be searched
// on. Methods without Learn are returned as they are. The split is added to the
// Details of a method that learnt.
//
// A meta-dataset of fewer than five data sets is left-one-out instead: each data
// set is tested with what was learnt from the others, one of which is for
// validation if there are at least two. With a single data set there is nothing
// to learn from, which is an error.
func Learn(ctx context.Context, s *metadataset.Store, methods []search.Method, o Options) ([]search.Method, error) {
	if !slices.ContainsFunc(methods, learns) {
		return slices.Clone(methods), nil
	}
	rounds, err := o.rounds(s)
	if err != nil {
		return nil, fmt.Errorf("cross-validation: %w", err)
	}
	factories, err := learn(ctx, s, methods, rounds, o)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(methods)
	for i := range out {
		m := &out[i]
		if !learns(*m) {
			continue
		}
		byTest := make(map[string]search.Factory)
		for r, split := range rounds {
			for _, name := range split.Test {
				byTest[name] = factories[i][r]
			}
		}
		m.Details = strings.TrimPrefix(m.Details+", "+o.describe(len(s.Datasets)), ", ")
		m.Learn = nil
		m.New = func(p search.Problem) (search.Optimizer, error) {
			factory := byTest[p.Task.Name]
			if factory == nil {
				return nil, fmt.Errorf("%s: nothing was learnt for data set %q; it was for %s",
					m.Name, p.Task.Name, strings.Join(tested(rounds), ", "))
			}
			return factory(p)
		}
	}
	return out, nil
}

func learns(m search.Method) bool { return m.Learn != nil }

// All lets a method learn from all data sets, for use on a new one. A fifth of
// them, at least one, is for validation; a single data set is learnt from
// without. Test and HoldOut have no effect. The factory of a method without
// Learn is its New.
func All(ctx context.Context, s *metadataset.Store, method search.Method, o Options) (search.Factory, error) {
	if !learns(method) {
		return method.New, nil
	}
	split, err := o.single(names(s), nil)
	if err != nil {
		return nil, err
	}
	factories, err := learn(ctx, s, []search.Method{method}, []predictor.Split{split}, o)
	if err != nil {
		return nil, err
	}
	return factories[0][0], nil
}

// MetaData is what a round may know of a meta-dataset. Cache, Parallel and
// Progress are for the caller to set.
func MetaData(s *metadataset.Store, split predictor.Split) (search.MetaData, error) {
	m := search.MetaData{
		Space: s.Space, MaxEpochs: s.Manifest.MaxEpochs, ModelParam: s.Manifest.ModelParam,
		Parallel: 1,
	}
	for _, model := range s.Models {
		m.Hub = append(m.Hub, search.Model{
			Name: model.Name, Params: unknown(model.Params), SourceAccuracy: unknown(model.SourceAccuracy),
			Pixels: unknown(model.Pixels), GMACs: unknown(model.GMACs),
		})
	}
	for _, part := range []struct {
		names []string
		into  *[]search.Curves
	}{{split.Train, &m.Train}, {split.Validation, &m.Validation}} {
		for _, name := range part.names {
			d, ok := s.DatasetIndex(name)
			if !ok {
				return m, fmt.Errorf("there is no data set %q in %s", name, s.Dir)
			}
			t, err := replay.FromStore(s, d, nil)
			if err != nil {
				return m, err
			}
			c := search.Curves{Task: t.Task, Configs: t.Candidates, Scores: t.Scores, Seconds: t.Seconds}
			for curve := range s.Curves(d) {
				c.Untrained = append(c.Untrained, s.Ends[curve] == metadataset.EndMemoryTest)
			}
			*part.into = append(*part.into, c)
			m.Metric = t.Metric
		}
	}
	return m, nil
}

// unknown turns 0, which no model has, into NaN.
func unknown(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

// learn returns a factory for every method that learns, by method and round.
func learn(ctx context.Context, s *metadataset.Store, methods []search.Method, rounds []predictor.Split, o Options) ([][]search.Factory, error) {
	if o.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no place to keep what was learnt: %w", err)
		}
		o.Cache = filepath.Join(dir, "quicktune", "models")
	}
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	if tell := o.Progress; tell != nil {
		var mu sync.Mutex
		o.Progress = func(p Progress) {
			mu.Lock()
			defer mu.Unlock()
			tell(p)
		}
	} else {
		o.Progress = func(Progress) {}
	}
	factories := make([][]search.Factory, len(methods))
	for i := range factories {
		factories[i] = make([]search.Factory, len(rounds))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Parallel)
	for r, split := range rounds {
		group.Go(func() error {
			meta, err := MetaData(s, split)
			if err != nil {
				return err
			}
			meta.Parallel = max(1, o.Parallel/len(rounds))
			key := key(s, split)
			meta.Cache = filepath.Join(o.Cache, key)
			if err := os.MkdirAll(meta.Cache, 0o777); err != nil {
				return fmt.Errorf("no place to keep what was learnt: %w", err)
			}
			if o.Shipped != "" {
				if err := copyMissing(filepath.Join(o.Shipped, key), meta.Cache); err != nil {
					return fmt.Errorf("what comes learnt with the program: %w", err)
				}
			}
			// One after the other: methods may share what they keep.
			for i, m := range methods {
				if !learns(m) {
					continue
				}
				p := Progress{Method: m.Name, Round: r + 1, Rounds: len(rounds), Split: split, Key: key}
				if factories[i][r], err = learnOnce(ctx, m, meta, p, o.Progress); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return factories, group.Wait()
}

// copyMissing copies the files of a directory that another one lacks. A directory
// that is not there has none.
func copyMissing(from, to string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		target := filepath.Join(to, e.Name())
		if _, err := os.Lstat(target); err == nil || !e.Type().IsRegular() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		if err := atomicfile.WriteFile(target, data); err != nil {
			return err
		}
	}
	return err
}

// learnOnce calls a method and keeps how long it took.
func learnOnce(ctx context.Context, m search.Method, meta search.MetaData, p Progress, tell func(Progress)) (search.Factory, error) {
	path := filepath.Join(meta.Cache, recordName(m))
	before := readRecord(path)
	var worked bool
	meta.Progress = func(done, total int64) {
		worked = true
		p.Done, p.Total = done, total
		tell(p)
	}
	tell(p)
	start := time.Now()
	factory, err := m.Learn(ctx, meta)
	now := record{Method: m.Name, Details: m.Details, Train: p.Split.Train, Validation: p.Split.Validation, Finished: err == nil}
	now.Seconds = time.Since(start).Seconds()
	switch {
	case before.Finished && !worked && err == nil:
		now.Seconds, p.Cached = before.Seconds, true
	case !before.Finished:
		now.Seconds += before.Seconds
	}
	if !p.Cached {
		err = cmp.Or(err, writeRecord(path, now))
	}
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil, err
		}
		return nil, fmt.Errorf("%s, learning from %s: %w", m.Name, strings.Join(p.Split.Train, ", "), err)
	}
	p.Finished, p.Seconds = true, now.Seconds
	if !p.Cached && p.Total > 0 {
		p.Done = p.Total
	}
	tell(p)
	return factory, nil
}

// record says what learning in a directory of the cache took.
type record struct {
	Method     string   `json:"method"`
	Details    string   `json:"details"`
	Train      []string `json:"train"`
	Validation []string `json:"validation"`
	Finished   bool     `json:"finished"`
	Seconds    float64  `json:"seconds"`
}

// recordName is the name of a method's record.
func recordName(m search.Method) string {
	sum := sha256.Sum256([]byte(m.Name + "\n" + m.Details))
	return "learnt-" + hex.EncodeToString(sum[:8]) + ".json"
}

// readRecord returns the zero record where there is no readable one: all that is
// lost is a duration.
func readRecord(path string) (r record) {
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &r) != nil {
		return record{}
	}
	return r
}

func writeRecord(path string, r record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(data, '\n'))
}

// key names what a round may know.
func key(s *metadataset.Store, split predictor.Split) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s\n%q\n%q\n", Version, s.Manifest.Hash, split.Train, split.Validation)
	return hex.EncodeToString(h.Sum(nil))[:32]
}

func names(s *metadataset.Store) []string {
	var out []string
	for _, d := range s.Datasets {
		out = append(out, d.Name)
	}
	return out
}

func tested(rounds []predictor.Split) []string {
	var out []string
	for _, r := range rounds {
		out = append(out, r.Test...)
	}
	slices.Sort(out)
	return out
}

func (o Options) seed() uint32 {
	if o.Shuffle == nil {
		return DefaultShuffle
	}
	return *o.Shuffle
}

// describe says in a few words how data sets are split.
func (o Options) describe(datasets int) string {
	switch {
	case len(o.HoldOut) > 0:
		held := slices.Sorted(slices.Values(o.HoldOut))
		return fmt.Sprintf("learnt from all data sets but %s (shuffle %d)", strings.Join(held, " "), o.seed())
	case datasets < predictor.Folds:
		return "leave-one-out over data sets"
	}
	return fmt.Sprintf("%d folds over data sets (shuffle %d)", predictor.Folds, o.seed())
}

// rounds returns the rounds that are wanted.
func (o Options) rounds(s *metadataset.Store) ([]predictor.Split, error) {
	all := names(s)
	for _, name := range slices.Concat(o.Test, o.HoldOut) {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("there is no data set %q in %s", name, s.Dir)
		}
	}
	if len(o.HoldOut) > 0 {
		rest := slices.DeleteFunc(all, func(name string) bool { return slices.Contains(o.HoldOut, name) })
		split, err := o.single(rest, o.HoldOut)
		return []predictor.Split{split}, err
	}
	splits, err := o.deal(all)
	if err != nil || o.Test == nil {
		return splits, err
	}
	return slices.DeleteFunc(splits, func(p predictor.Split) bool {
		return !slices.ContainsFunc(p.Test, func(name string) bool { return slices.Contains(o.Test, name) })
	}), nil
}

// single is a round that learns from all given data sets.
func (o Options) single(known, test []string) (predictor.Split, error) {
	switch n := len(known); {
	case n == 0:
		return predictor.Split{}, errors.New("no data set is left to learn from")
	case n == 1:
		return predictor.Split{Train: known, Test: test}, nil
	case n < predictor.Folds:
		return predictor.Split{Train: known[1:], Validation: known[:1], Test: test}, nil
	}
	splits, err := predictor.Splits(known, o.seed())
	if err != nil {
		return predictor.Split{}, err
	}
	first := splits[0]
	return predictor.Split{Train: slices.Concat(first.Train, first.Test), Validation: first.Validation, Test: test}, nil
}

// deal splits data sets by the published rule or, where folds would be empty,
// leaves one out at a time.
func (o Options) deal(names []string) ([]predictor.Split, error) {
	n := len(names)
	switch {
	case n < 2:
		return nil, fmt.Errorf("%d data sets; a method that learns from other data sets needs at least 2", n)
	case n < predictor.Folds:
		splits := make([]predictor.Split, n)
		for i := range splits {
			splits[i].Test = []string{names[i]}
			rest := slices.Concat(names[i+1:], names[:i])
			if len(rest) > 1 {
				splits[i].Validation, rest = rest[:1], rest[1:]
			}
			splits[i].Train = rest
		}
		return splits, nil
	}
	splits, err := predictor.Splits(names, o.seed())
	return splits[:], err
}
