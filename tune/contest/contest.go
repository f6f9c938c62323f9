// Package contest lets methods search on the same pictures with the same budget,
// several seeds each, and tells which finds the better network.
//
// What a method learns from other data sets never comes from any that is judged on,
// nor from those that hold the same pictures. What is finished is
// kept, one file a run, so a contest can be stopped at any moment and called
// again. The package refuses to choose by test accuracy.
package contest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"gonum.org/v1/gonum/stat/distuv"

	"quicktune/internal/atomicfile"
	"quicktune/tune/live"
	"quicktune/tune/session"
)

// Options describe a contest.
type Options struct {
	Dir     string // exists
	Data    []string
	Methods []string
	Seeds   int // 1, 2, ...
	// Settings are those of every run but for what differs: data, method, seed.
	Settings session.Settings
	// Related names, for a data set, others that hold the same pictures.
	Related map[string][]string
	Cache   string
	// Parallel is how many runs go on at the same time.
	Parallel int
	Progress func(done, total int)
	Warn     func(string)
}

// Outcome is what one run found.
type Outcome struct {
	Dataset    string  `json:"data_set"`
	Method     string  `json:"method"`
	Seed       uint64  `json:"seed"`
	Validation float64 `json:"validation"` // accuracy
	Test       float64 `json:"test"`       // accuracy
	Model      string  `json:"model"`
	Epoch      int     `json:"epoch"`
	Trials     int     `json:"trials"`
	Epochs     int     `json:"epochs"`
	Used       float64 `json:"used_seconds"`
	Deciding   float64 `json:"deciding_seconds"` // not of the budget on a counted clock
	Learnt     int     `json:"learnt_from"`      // data sets
	// Settings are those of the run, so that one with others is not taken for it.
	Settings session.Settings `json:"settings"`
}

// Name is that of a data set in a folder or archive.
func Name(data string) string { return strings.TrimSuffix(filepath.Base(data), ".zip") }

// Run lets every method search on every data set with every seed, and returns
// the outcomes by data set, method and seed in the order of the options.
func Run(ctx context.Context, o Options) ([]Outcome, error) {
	type run struct {
		data, method string
		seed         uint64
	}
	var runs []run
	for _, data := range o.Data {
		for seed := range o.Seeds {
			for _, m := range o.Methods {
				runs = append(runs, run{data, m, uint64(seed) + 1})
			}
		}
	}
	outcomes := make([]Outcome, len(runs))
	var mu sync.Mutex
	done := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, o.Parallel))
	for i, r := range runs {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			s := o.Settings
			s.Data, s.Method, s.Seed = r.data, r.method, r.seed
			if s.Method == session.QuickTune && s.Predictor != "" {
				return errors.New("a contest learns its forecasts itself, from other data sets than those judged")
			}
			out, err := o.one(ctx, s)
			if err != nil {
				return fmt.Errorf("%s, %s, seed %d: %w", Name(s.Data), s.Method, s.Seed, err)
			}
			outcomes[i] = out
			mu.Lock()
			defer mu.Unlock()
			done++
			if o.Progress != nil {
				o.Progress(done, len(runs))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(outcomes, func(a, b Outcome) int {
		at := func(x Outcome) int {
			return slices.IndexFunc(o.Data, func(d string) bool { return Name(d) == x.Dataset })
		}
		return cmp.Or(cmp.Compare(at(a), at(b)), cmp.Compare(slices.Index(o.Methods, a.Method), slices.Index(o.Methods, b.Method)), cmp.Compare(a.Seed, b.Seed))
	})
	return outcomes, nil
}

// one does one run, unless it is done.
func (o *Options) one(ctx context.Context, s session.Settings) (Outcome, error) {
	name := Name(s.Data)
	base := filepath.Join(o.Dir, name, fmt.Sprintf("%s-%d", strings.ReplaceAll(s.Method, ":", "_"), s.Seed))
	file := base + ".json"
	known, err := read(file)
	if err == nil {
		if !same(known.Settings, s) {
			return known, fmt.Errorf("%s is of a run with other settings: choose another --out", file)
		}
		return known, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return known, err
	}
	options := session.Options{HoldOut: o.judged(), Cache: o.Cache, Parallel: 1, Warn: func(text string) {
		if o.Warn != nil {
			o.Warn(name + ": " + text)
		}
	}}
	if err := os.MkdirAll(filepath.Dir(base), 0o777); err != nil {
		return known, err
	}
	begun, err := session.Claim(base, s)
	if err != nil {
		return known, err
	}
	var x *session.Session
	if begun {
		x, err = session.Open(ctx, base, options)
	} else {
		x, err = session.Prepare(ctx, base, s, options)
	}
	if err != nil {
		return known, err
	}
	if slices.Contains(x.Plan.Learnt.Datasets, name) {
		return known, errors.New("the method learnt from the data set that it is judged on")
	}
	out := Outcome{Dataset: name, Method: s.Method, Seed: s.Seed, Learnt: len(x.Plan.Learnt.Datasets), Settings: s}
	r, err := x.Run(ctx)
	if err != nil && !errors.Is(err, live.ErrNothing) {
		return out, err
	}
	out.Trials, out.Epochs, out.Used, out.Deciding = len(r.State.Trials), r.State.Epochs, r.State.Clock, r.State.Deciding
	if err == nil {
		in := r.Incumbent
		out.Model, out.Epoch, out.Validation, out.Test = in.Model, in.Epoch, in.Validation.Value, in.Test.Value
	}
	data, err := json.Marshal(out)
	if err != nil {
		return out, err
	}
	if err := atomicfile.WriteFile(file, append(data, '\n')); err != nil {
		return out, err
	}
	return out, os.RemoveAll(base)
}

// judged lists the data sets of the contest and those with the same pictures.
// None of them is learnt from for any.
func (o *Options) judged() []string {
	var names []string
	for _, data := range o.Data {
		names = append(names, Name(data))
		names = append(names, o.Related[Name(data)]...)
	}
	return names
}

func same(a, b session.Settings) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func read(path string) (Outcome, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Outcome{}, err
	}
	var out Outcome
	if err := json.Unmarshal(data, &out); err != nil {
		return out, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// Estimate is a mean with a 95 % interval.
type Estimate struct{ Mean, Low, High float64 }

// Line sums up a method.
type Line struct {
	Method           string
	Test, Validation Estimate
	// Behind is how much the first method is ahead in test accuracy, run by run.
	Behind Estimate
	// Wins is the number of data sets on which the first method has the higher
	// mean test accuracy.
	Wins int
	// ByDataset are mean test accuracies.
	ByDataset []float64
	Deciding  float64 // seconds a run
	Epochs    float64 // a run
}

// Table sums up outcomes: accuracies are averaged over the data sets for each
// seed first, so the intervals are of t distributions over seeds. The first
// method is compared with all others.
func Table(outcomes []Outcome, methods []string) (datasets []string, lines []Line) {
	type key struct {
		dataset, method string
		seed            uint64
	}
	by := make(map[key]Outcome)
	var seeds []uint64
	for _, o := range outcomes {
		by[key{o.Dataset, o.Method, o.Seed}] = o
		if !slices.Contains(datasets, o.Dataset) {
			datasets = append(datasets, o.Dataset)
		}
		if !slices.Contains(seeds, o.Seed) {
			seeds = append(seeds, o.Seed)
		}
	}
	over := func(value func(dataset string, seed uint64) float64) Estimate {
		means := make([]float64, len(seeds))
		for i, seed := range seeds {
			for _, d := range datasets {
				means[i] += value(d, seed) / float64(len(datasets))
			}
		}
		return estimate(means)
	}
	for _, m := range methods {
		l := Line{Method: m}
		l.Test = over(func(d string, s uint64) float64 { return by[key{d, m, s}].Test })
		l.Validation = over(func(d string, s uint64) float64 { return by[key{d, m, s}].Validation })
		l.Behind = over(func(d string, s uint64) float64 { return by[key{d, methods[0], s}].Test - by[key{d, m, s}].Test })
		for _, d := range datasets {
			mean, first := 0.0, 0.0
			for _, s := range seeds {
				o := by[key{d, m, s}]
				mean += o.Test / float64(len(seeds))
				first += by[key{d, methods[0], s}].Test / float64(len(seeds))
				l.Deciding += o.Deciding / float64(len(seeds)*len(datasets))
				l.Epochs += float64(o.Epochs) / float64(len(seeds)*len(datasets))
			}
			l.ByDataset = append(l.ByDataset, mean)
			if first > mean {
				l.Wins++
			}
		}
		lines = append(lines, l)
	}
	return datasets, lines
}

// estimate is the mean of independent values with Student's interval, which is
// not a number for a single one.
func estimate(values []float64) Estimate {
	n := float64(len(values))
	mean, square := 0.0, 0.0
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		square += (v - mean) * (v - mean)
	}
	if n < 2 {
		return Estimate{mean, math.NaN(), math.NaN()}
	}
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.975) * math.Sqrt(square/(n-1)/n)
	return Estimate{mean, mean - half, mean + half}
}
