// Package plan decides what a sweep trains before anything is trained: which
// configurations on which data sets, for how many epochs, with which seeds.
//
// A plan depends on its [Options] alone. It is one file, JSON lines: a header
// and then one line a trial, so that it can be read, counted and compared with
// the tools of a shell. Whoever runs it, wherever and in whatever order, trains
// the same trials.
//
// A plan with more configurations of the same seed begins, on each data set,
// with those of the smaller one, and a data set's trials do not depend on which
// others there are.
//
// The package refuses to run anything and to look at a picture or a clock.
package plan

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"quicktune/internal/stream"
	"quicktune/metadataset"
	"quicktune/space"
)

// Mode is the rule by which configurations are chosen.
type Mode string

const (
	// Uniform draws every hyperparameter, the model included, uniformly from
	// its values, as in Quick-Tune's meta-datasets.
	Uniform Mode = "uniform"
	// Stratified draws like Uniform, but gives each model the same number of
	// configurations on a data set, or one more.
	Stratified Mode = "stratified"
	// Whole takes every configuration of the space once. It is for spaces that
	// were narrowed by Options.Only.
	Whole Mode = "whole"
)

// Modes lists every Mode.
var Modes = []Mode{Uniform, Stratified, Whole}

// The clocks of a plan.
const (
	Counted  = "counted"  // seconds follow from the plan
	Measured = "measured" // the trainer measures seconds
)

// MaxTrials bounds a plan, far above what anybody trains.
const MaxTrials = 1_000_000

// Dataset is what a plan says of a data set. The numbers are those of the
// split.
type Dataset struct {
	Name string `json:"name"`
	// Path is where the pictures are; "" for a data set that is built in.
	Path string `json:"path,omitempty"`
	// Hash identifies the pictures, as images.Set.Hash gives it.
	Hash         string    `json:"hash"`
	Train        int       `json:"train"`
	Validation   int       `json:"validation"`
	Test         int       `json:"test"`
	Classes      int       `json:"classes"`
	Width        int       `json:"width"`
	Channels     int       `json:"channels"`
	MetaFeatures []float64 `json:"meta_features"`
	Warnings     []string  `json:"warnings,omitempty"`
}

// Options describe a sweep.
type Options struct {
	Space      *space.Space
	ModelParam string // the hyperparameter that names the model
	// Only narrows hyperparameters to some of their values, the model among
	// them.
	Only     map[string][]space.Value
	Mode     Mode
	Configs  int // on each data set; of no account to Whole
	Epochs   int
	CurveCap float64 // seconds of one curve, 0 for no limit
	Seed     uint64
	Datasets []Dataset
	Models   []metadataset.Model
	// MetaFeatures names Dataset.MetaFeatures.
	MetaFeatures []string
	// Trainer says who trains, Clock whether seconds are Counted or Measured.
	Trainer string
	Clock   string
}

// Trial is one curve to be made.
type Trial struct {
	ID      string                 `json:"id"`
	Dataset string                 `json:"dataset"`
	Model   string                 `json:"model"`
	Config  map[string]space.Value `json:"config"`
	Seed    uint64                 `json:"seed"`
}

// Plan is what a sweep trains.
type Plan struct {
	Header
	Space  *space.Space
	Trials []Trial
	// Hash is the SHA-256 of the file, in lower-case hexadecimal.
	Hash string
}

// Check finds what is wrong with the options, whatever the data sets are. [New]
// finds it too; this is for before data sets are loaded.
func (o *Options) Check() error {
	_, err := o.check()
	return err
}

// New makes a plan.
func New(o Options) (*Plan, error) {
	d, err := o.check()
	if err == nil {
		err = o.checkDatasets()
	}
	if err != nil {
		return nil, err
	}
	p := &Plan{Header: header(o), Space: o.Space}
	for _, set := range o.Datasets {
		configs, err := o.choose(d, set.Name)
		if err != nil {
			return nil, fmt.Errorf("data set %q: %w", set.Name, err)
		}
		if len(p.Trials)+len(configs) > MaxTrials {
			return nil, fmt.Errorf("more than %d trials: narrow the space or draw fewer configurations", MaxTrials)
		}
		for i, c := range configs {
			t := Trial{
				ID: fmt.Sprintf("%s-%04d", set.Name, i), Dataset: set.Name, Config: o.Space.Map(c),
				Seed: stream.New("plan/trial", o.Seed, nameHash(set.Name), uint64(i)).Uint64(),
			}
			t.Model = t.Config[o.ModelParam].String()
			p.Trials = append(p.Trials, t)
		}
	}
	data, err := p.encode()
	if err != nil {
		return nil, err
	}
	p.Hash = hash(data)
	return p, nil
}

func (o *Options) check() (*domain, error) {
	if err := o.checkNumbers(); err != nil {
		return nil, err
	}
	return newDomain(o.Space, o.Only)
}

func (o *Options) checkNumbers() error {
	switch {
	case o.Space == nil:
		return errors.New("no search space")
	case o.Space.Index(o.ModelParam) < 0:
		return fmt.Errorf("the space has no hyperparameter %q that names the model", o.ModelParam)
	case !slices.Contains(Modes, o.Mode):
		return fmt.Errorf("unknown mode %q: use one of %q", o.Mode, Modes)
	case o.Mode != Whole && o.Configs < 1:
		return fmt.Errorf("%d configurations a data set are too few", o.Configs)
	case o.Epochs < 1:
		return fmt.Errorf("%d epochs are too few", o.Epochs)
	case !(o.CurveCap >= 0) || math.IsInf(o.CurveCap, 0):
		return fmt.Errorf("a curve cap of %g seconds is no time", o.CurveCap)
	case o.Clock != Counted && o.Clock != Measured:
		return fmt.Errorf("unknown clock %q: use %s or %s", o.Clock, Counted, Measured)
	}
	return nil
}

func (o *Options) checkDatasets() error {
	if len(o.Datasets) == 0 {
		return errors.New("no data set")
	}
	seen := make(map[string]bool)
	for _, d := range o.Datasets {
		if d.Name == "" || strings.ContainsAny(d.Name, "/\\\n") {
			return fmt.Errorf("%q is no name for a data set", d.Name)
		}
		if seen[d.Name] {
			return fmt.Errorf("two data sets are called %q: rename one", d.Name)
		}
		seen[d.Name] = true
	}
	return nil
}

// nameHash makes a number of a name, for streams.
func nameHash(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.LittleEndian.Uint64(sum[:])
}

// redraws bounds how often a configuration that was drawn before is drawn anew.
const redraws = 1000

// choose returns the configurations of a data set, all different.
func (o *Options) choose(d *domain, dataset string) ([]space.Config, error) {
	if o.Mode == Whole {
		var all []space.Config
		err := d.all(func(c space.Config) error {
			if len(all) == MaxTrials {
				return fmt.Errorf("the space has more than %d configurations: narrow it, or use mode %s", MaxTrials, Stratified)
			}
			all = append(all, c)
			return nil
		})
		return all, err
	}
	name := nameHash(dataset)
	model := d.space.Index(o.ModelParam)
	models := d.choices[model]
	var round []int
	list := make([]space.Config, 0, o.Configs)
	seen := make(map[string]bool, o.Configs)
	for i := range o.Configs {
		rng := stream.New("plan/configuration", o.Seed, name, uint64(i))
		fixed := space.Inactive
		if o.Mode == Stratified {
			k := i % len(models)
			if k == 0 {
				round = stream.New("plan/models", o.Seed, name, uint64(i/len(models))).Perm(len(models))
			}
			fixed = models[round[k]]
		}
		for tries := 0; ; tries++ {
			if tries == redraws {
				return nil, fmt.Errorf("no configuration left to draw after %d: ask for fewer, or narrow the space less", len(list))
			}
			c := d.sample(rng, model, fixed)
			if key := d.space.Format(c); !seen[key] {
				seen[key] = true
				list = append(list, c)
				break
			}
		}
	}
	return list, nil
}

// domain is a space narrowed to some values of some hyperparameters. Its
// configurations are configurations of the space.
type domain struct {
	space   *space.Space
	order   []int           // parents before children
	choices [][]space.Value // by hyperparameter; nil for a range
}

func newDomain(s *space.Space, only map[string][]space.Value) (*domain, error) {
	d := &domain{space: s, choices: make([][]space.Value, s.Len())}
	parents := make(map[string][]string)
	for _, c := range s.Conditions() {
		for _, all := range c.AnyOf {
			for _, clause := range all {
				parents[c.Child] = append(parents[c.Child], clause.Parent)
			}
		}
	}
	placed := make(map[string]bool)
	for len(d.order) < s.Len() {
		for i := range s.Len() {
			h := s.Param(i)
			if placed[h.Name] || slices.ContainsFunc(parents[h.Name], func(p string) bool { return !placed[p] }) {
				continue
			}
			placed[h.Name] = true
			d.order = append(d.order, i)
		}
	}
	for i := range s.Len() {
		if h := s.Param(i); h.Type != space.Real && h.Type != space.Integer {
			d.choices[i] = h.Choices
		}
	}
	for name, values := range only {
		i := s.Index(name)
		if i < 0 {
			return nil, fmt.Errorf("the space has no hyperparameter %q", name)
		}
		if len(values) == 0 {
			return nil, fmt.Errorf("hyperparameter %q is narrowed to no value", name)
		}
		narrowed := make([]space.Value, 0, len(values))
		for _, v := range values {
			v, err := match(s.Param(i), v)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(narrowed, v) {
				narrowed = append(narrowed, v)
			}
		}
		d.choices[i] = narrowed
	}
	return d, nil
}

// match finds the value of a hyperparameter that is meant by v, which may be a
// number or a text that prints alike.
func match(h space.Hyperparameter, v space.Value) (space.Value, error) {
	switch h.Type {
	case space.Real, space.Integer:
		x := v.Num()
		if !(x >= h.Lower && x <= h.Upper) || h.Type == space.Integer && x != math.Trunc(x) {
			return v, fmt.Errorf("hyperparameter %q cannot be %s: use a number from %g to %g", h.Name, v, h.Lower, h.Upper)
		}
		if h.Type == space.Integer {
			return space.Int(int64(x)), nil
		}
		return space.Float(x), nil
	}
	words := make([]string, len(h.Choices))
	for i, c := range h.Choices {
		if c == v || c.String() == v.String() || c.Num() == v.Num() && c.Kind() != space.KindBool && v.Kind() != space.KindBool {
			return c, nil
		}
		words[i] = c.String()
	}
	return v, fmt.Errorf("hyperparameter %q cannot be %s: use one of %s", h.Name, v, strings.Join(words, ", "))
}

// sample draws a configuration, with hyperparameter model set to fixed unless
// that is inactive.
func (d *domain) sample(rng *rand.Rand, model int, fixed space.Value) space.Config {
	c := make(space.Config, d.space.Len())
	for _, i := range d.order {
		if !d.space.Active(c, i) {
			continue
		}
		switch choices := d.choices[i]; {
		case i == model && !fixed.IsInactive():
			c[i] = fixed
		case choices != nil:
			c[i] = choices[rng.IntN(len(choices))]
		default:
			c[i] = draw(d.space.Param(i), rng)
		}
	}
	return c
}

// draw draws from a range.
func draw(h space.Hyperparameter, rng *rand.Rand) space.Value {
	lo, hi := h.Lower, h.Upper
	if h.Type == space.Integer {
		lo, hi = lo-0.5, hi+0.5 // each number stands for an interval around it
	}
	x := lo + rng.Float64()*(hi-lo)
	if h.Log {
		x = math.Exp(math.Log(lo) + rng.Float64()*(math.Log(hi)-math.Log(lo)))
	}
	if h.Type == space.Integer {
		return space.Int(int64(min(max(math.Round(x), h.Lower), h.Upper)))
	}
	return space.Float(min(max(x, h.Lower), h.Upper))
}

// all visits every configuration, the last hyperparameter fastest.
func (d *domain) all(visit func(space.Config) error) error {
	for i, choices := range d.choices {
		if h := d.space.Param(i); choices == nil {
			return fmt.Errorf("hyperparameter %q is a range: narrow it to some values for mode %s", h.Name, Whole)
		}
	}
	c := make(space.Config, d.space.Len())
	var step func(depth int) error
	step = func(depth int) error {
		if depth == len(d.order) {
			return visit(slices.Clone(c))
		}
		i := d.order[depth]
		defer func() { c[i] = space.Inactive }()
		if !d.space.Active(c, i) {
			return step(depth + 1)
		}
		for _, v := range d.choices[i] {
			c[i] = v
			if err := step(depth + 1); err != nil {
				return err
			}
		}
		return nil
	}
	return step(0)
}
