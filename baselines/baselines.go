// Package baselines holds the methods that Quick-Tune is compared with, one
// file each, with every default beside the citation it comes from.
//
// All of them search the finite pool of a [search.Problem] through the ask/tell
// contract and see nothing but what they are told. The package refuses to
// measure, to keep a clock and to look into a table of curves.
//
// # What all methods do alike
//
// Candidates are drawn uniformly without replacement until none is left,
// unless a method says otherwise. Methods that get the same seed draw them in
// the same order, so that comparisons on one seed are paired.
//
// Methods that compare trials at a rung compare the score of the rung's epoch,
// not the best score so far. Equal scores keep the order in which they arrived.
// A curve that completes before the rung counts there, and at every later rung
// that it is promoted to, with the score of its last epoch, as if it stayed
// flat; it keeps its place and costs nothing more. A failed trial, and one
// whose score at the rung is NaN, counts as worse than any number and is never
// continued, even where that leaves a place unused.
//
// Resources are epochs. Where a definition gives fractions of an epoch, they
// are rounded to the nearest whole one, halves up.
package baselines

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"quicktune/search"
)

// Setting is one setting of a method that can be given by name, as in
// --set hyperband.eta=4.
type Setting struct {
	Name    string // "eta"
	Default string // "3"
	Range   string // "whole number from 2 to 1000"
	About   string // "reduction factor"

	set func(string) error
}

// definition is a method whose settings can still be changed.
type definition struct {
	method   search.Method // Details, New and Learn are filled in from the below
	settings []Setting
	details  func() string
	// One of the two is not nil.
	factory func() search.Factory
	learn   func() search.Learn // of a method that learns from other data sets
}

// definitions lists the methods in the order in which they are presented. Each
// call makes fresh settings.
var definitions = []func() definition{
	random,
	randomDistinct,
	successiveHalving,
	hyperbandPaper,
	hyperbandHpBandSter,
	hyperbandSyneTune,
	asha,
	ashaStopping,
	ashaSyneTunePromotion,
	ashaSyneTuneStopping,
	bohbRows,
	bohbNearest,
	dehbRows,
	dehbNearest,
	tpeOptuna,
	tpeHyperopt,
	medianStopping,
	percentileStopping,
	curveExtrapolation,
	portfolio,
	defaultModel,
	metaTrees,
	dyhpoMethod,
	gpBO,
	smacMethod,
	smacMultiFidelity,
	mobsterMethod,
	freezeThawMethod,
	fsboMethod,
}

// Methods returns all methods with their default settings, in the order in
// which they are presented.
func Methods() []search.Method {
	methods := make([]search.Method, len(definitions))
	for i, define := range definitions {
		methods[i] = define().build()
	}
	return methods
}

// New returns the named method with some of its settings changed, for example
// New("hyperband", map[string]string{"eta": "4"}). The error names the methods,
// the settings or the values that are allowed.
func New(name string, settings map[string]string) (search.Method, error) {
	d, err := lookUp(name)
	if err != nil {
		return search.Method{}, err
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		i := slices.IndexFunc(d.settings, func(s Setting) bool { return s.Name == key })
		if i < 0 {
			return search.Method{}, fmt.Errorf("method %q has no setting %q; %s", name, key, d.settingNames())
		}
		if err := d.settings[i].set(settings[key]); err != nil {
			return search.Method{}, fmt.Errorf("method %q: setting %s=%s: %w", name, key, settings[key], err)
		}
	}
	return d.build(), nil
}

// Settings lists what can be set of the named method, in the order of its
// documentation.
func Settings(name string) ([]Setting, error) {
	d, err := lookUp(name)
	return d.settings, err
}

func lookUp(name string) (definition, error) {
	var known []string
	for _, define := range definitions {
		d := define()
		if d.method.Name == name {
			return d, nil
		}
		known = append(known, d.method.Name)
	}
	return definition{}, fmt.Errorf("no method is called %q; the methods are %s", name, strings.Join(known, ", "))
}

func (d definition) build() search.Method {
	m := d.method
	m.Details = d.details()
	if d.learn != nil {
		m.Learn = d.learn()
	} else {
		m.New = d.factory()
	}
	return m
}

func (d definition) settingNames() string {
	if len(d.settings) == 0 {
		return "it has none"
	}
	names := make([]string, len(d.settings))
	for i, s := range d.settings {
		names[i] = s.Name
	}
	return "it has " + strings.Join(names, ", ")
}

// intSetting makes a whole-number setting of *dst, which it sets to its
// default.
func intSetting(dst *int, name string, def, lowest, highest int, about string) Setting {
	*dst = def
	s := Setting{
		Name:    name,
		Default: strconv.Itoa(def),
		Range:   fmt.Sprintf("whole number from %d to %d", lowest, highest),
		About:   about,
	}
	s.set = func(text string) error {
		v, err := strconv.Atoi(text)
		if err != nil || v < lowest || v > highest {
			return fmt.Errorf("want a %s", s.Range)
		}
		*dst = v
		return nil
	}
	return s
}

// floatSetting makes a setting of *dst that is a number, which it sets to its
// default.
func floatSetting(dst *float64, name string, def, lowest, highest float64, about string) Setting {
	*dst = def
	s := Setting{
		Name:    name,
		Default: strconv.FormatFloat(def, 'g', -1, 64),
		Range:   fmt.Sprintf("number from %g to %g", lowest, highest),
		About:   about,
	}
	s.set = func(text string) error {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !(v >= lowest && v <= highest) {
			return fmt.Errorf("want a %s", s.Range)
		}
		*dst = v
		return nil
	}
	return s
}

// choiceSetting makes a setting of *dst that is one of the choices by name and
// its default the first of them.
func choiceSetting[T any](dst *T, name string, choices []string, values []T, about string) Setting {
	*dst = values[0]
	s := Setting{Name: name, Default: choices[0], Range: strings.Join(choices, " or "), About: about}
	s.set = func(text string) error {
		i := slices.Index(choices, text)
		if i < 0 {
			return fmt.Errorf("want %s", s.Range)
		}
		*dst = values[i]
		return nil
	}
	return s
}

// checkRange refuses a setting outside [lowest, highest].
func checkRange(name string, v, lowest, highest int) error {
	if v < lowest || v > highest {
		return fmt.Errorf("%s is %d; want %d to %d", name, v, lowest, highest)
	}
	return nil
}
