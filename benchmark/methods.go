package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"quicktune"
	"quicktune/baselines"
	"quicktune/benchmark/replay"
	"quicktune/internal/cli"
	"quicktune/predictor"
	"quicktune/search"
)

// The names of the methods that this command adds to the baselines.
const (
	plannerName   = "quicktune"
	referenceName = "quicktune-reference"
)

// compatReference is the value of --compat.
const compatReference = "reference"

func newMethods(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     "methods",
		Short:   "list the search methods with source, settings and what they use",
		Example: "  go run ./benchmark methods",
		Args:    cli.Arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			for _, name := range methodNames() {
				m, err := newMethod(name, nil, nil, nil)
				if err != nil {
					return err
				}
				fmt.Fprintf(stdout, "%s: %s\n  source    %s\n  settings  %s\n  uses      %s\n", m.Name, m.Title, m.Source, m.Details, uses(m.Uses))
				settings, err := settingsOf(name)
				if err != nil {
					return err
				}
				for _, s := range settings {
					fmt.Fprintf(stdout, "  --set %s.%s=%s  %s: %s\n", m.Name, s.name, s.byDefault, s.about, s.allowed)
				}
			}
			return nil
		},
	}
}

// uses says in words what a method looks at.
func uses(u search.Uses) string {
	words := []string{"scores"}
	for _, w := range []struct {
		does bool
		word string
	}{
		{u.Fidelity, "partial curves"},
		{u.Cost, "costs"},
		{u.MetaData, "curves of other data sets"},
		{u.Budget, "the budget"},
	} {
		if w.does {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ", ")
}

// methodNames lists all methods: ours, then the baselines, and last the bound
// that none can pass.
func methodNames() []string {
	names := []string{plannerName, referenceName}
	for _, m := range baselines.Methods() {
		names = append(names, m.Name)
	}
	return append(names, twoStageName, replay.OracleName)
}

// newMethod builds a method with some settings changed. A model replaces what
// its method would learn; the oracle reads the tables.
func newMethod(name string, settings map[string]string, model *modelFile, tables []*replay.Table) (search.Method, error) {
	switch name {
	case replay.OracleName:
		for key := range settings {
			return search.Method{}, fmt.Errorf("method %q has no setting %q; it has none", name, key)
		}
		return replay.Oracle(tables), nil
	case plannerName:
		return newPlanner(settings, model)
	case twoStageName:
		return newTwoStage(settings)
	case referenceName:
		return newReference(settings, model)
	}
	m, err := baselines.New(name, settings)
	if err != nil && !slices.Contains(methodNames(), name) {
		return m, fmt.Errorf("no method is called %q; the methods are %s", name, strings.Join(methodNames(), ", "))
	}
	return m, err
}

// setting is a setting of a method as it is listed.
type setting struct{ name, byDefault, allowed, about string }

func settingsOf(name string) ([]setting, error) {
	var out []setting
	switch name {
	case replay.OracleName:
	case plannerName:
		for _, s := range plannerSettings {
			out = append(out, s.setting)
		}
	case twoStageName:
		for _, s := range twoStageSettings {
			out = append(out, s.setting)
		}
	case referenceName:
		for _, s := range referenceSettings {
			out = append(out, s.setting)
		}
	default:
		list, err := baselines.Settings(name)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			out = append(out, setting{s.Name, s.Default, s.Range, s.About})
		}
	}
	return out, nil
}

// reference is what can be set of the published method.
type reference struct {
	quicktune.Options
	trainingChoice
}

// trainingChoice names a meta-training.
type trainingChoice struct {
	training   string // published or ours, "" for published
	iterations int    // 0 for those of the training
}

// The names of trainings.
const (
	published = "published"
	ours      = "default"
)

// options returns the meta-training, and how it differs from the published one.
func (c trainingChoice) options() (o predictor.LearnOptions, details string) {
	t := predictor.ReferenceMetaTrain()
	if c.training == ours {
		t = predictor.DefaultMetaTrain()
		details += ", training=" + ours
	}
	if c.iterations > 0 {
		t.Iterations, t.CostIterations = c.iterations, c.iterations
		details += fmt.Sprintf(", iterations=%d", c.iterations)
	}
	o.Training = &t
	return o, details
}

// referenceSettings are the settings of the published method.
var referenceSettings = []struct {
	setting
	set func(*reference, string) error
}{
	{setting{"M", "on", "on or off", "meta-learned weights and descriptors of the data set"}, func(r *reference, v string) error { return off(&r.Scratch, v) }},
	{setting{"C", "on", "on or off", "improvement per predicted second"}, func(r *reference, v string) error { return off(&r.IgnoreCost, v) }},
	{setting{"G", "on", "on or off", "epoch by epoch, not whole curves"}, func(r *reference, v string) error { return off(&r.WholeCurves, v) }},
	{setting{"hub", "0", "whole number from 1 to 1000, or 0 for all", "pretrained models to choose from, drawn at random for each seed"}, func(r *reference, v string) error { return whole(&r.HubSize, v, 0, 1000) }},
	{setting{"models", "", "names with + between them", "pretrained models to choose from"}, func(r *reference, v string) error { r.Models = strings.Split(v, "+"); return nil }},
	{setting{"freeze", "off", "on or off", "fit the parameters of the Gaussian process alone"}, func(r *reference, v string) (err error) { r.Freeze, err = onOff(v); return err }},
	{setting{"initial", "1", "whole number from 1 to 1000", "candidates drawn at random before the first fit"}, func(r *reference, v string) error { return whole(&r.InitialRandom, v, 1, 1000) }},
	{setting{"initial-fits", "10", "whole number from 1 to 100000", "fits that start from the meta-learned weights"}, func(r *reference, v string) error { return whole(&r.InitialFits, v, 1, 100000) }},
	{setting{"restart-steps", "1000", "whole number from 1 to 100000", "gradient steps of such a fit"}, func(r *reference, v string) error { return whole(&r.RestartSteps, v, 1, 100000) }},
	{setting{"refine-steps", "50", "whole number from 1 to 100000", "gradient steps of any other fit"}, func(r *reference, v string) error { return whole(&r.RefineSteps, v, 1, 100000) }},
	{setting{"exact-rows", "150", "whole number from 0 to 100000", "epochs up to which every epoch is followed by a fit, as published"}, func(r *reference, v string) error { return whole(&r.ExactRows, v, 0, 100000) }},
	{setting{"max-rows", "300", "whole number from 2 to 100000", "epochs that a fit beyond those looks at, the latest"}, func(r *reference, v string) error { return whole(&r.MaxRows, v, 2, 100000) }},
	{setting{"refit-growth", "0.1", "number from 0 to 10", "share of new epochs that calls for a fit beyond those"}, func(r *reference, v string) error { return number(&r.RefitGrowth, v, 0, 10) }},
	{setting{"training", "published", "published or default", "meta-training: that of the paper, or this project's"}, func(r *reference, v string) error { return oneOf(&r.training, v, published, ours) }},
	{setting{"iterations", "0", "whole number from 1 to 10000000, or 0 for those of the training", "of the meta-training, for each of its two networks"}, func(r *reference, v string) error { return whole(&r.iterations, v, 0, 10_000_000) }},
}

func newReference(settings map[string]string, model *modelFile) (search.Method, error) {
	var r reference
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		known, value := false, settings[key]
		for _, s := range referenceSettings {
			if s.name != key {
				continue
			}
			known = true
			if err := s.set(&r, value); err != nil {
				return search.Method{}, fmt.Errorf("method %q: setting %s=%s: %w", referenceName, key, value, err)
			}
		}
		if !known {
			var names []string
			for _, s := range referenceSettings {
				names = append(names, s.name)
			}
			return search.Method{}, fmt.Errorf("method %q has no setting %q; it has %s", referenceName, key, strings.Join(names, ", "))
		}
	}
	if model != nil {
		r.Model = model.published
	}
	learning, details := r.trainingChoice.options()
	m := quicktune.ReferenceMethod(r.Options, learning)
	switch {
	case m.Learn != nil:
		m.Details += details
	case r.Model != nil:
		m.Details += ", model=" + model.name
	}
	return m, nil
}

func oneOf(dst *string, v string, allowed ...string) error {
	if !slices.Contains(allowed, v) {
		return fmt.Errorf("want %s", strings.Join(allowed, " or "))
	}
	*dst = v
	return nil
}

func onOff(v string) (bool, error) {
	if v != "on" && v != "off" {
		return false, fmt.Errorf("want on or off")
	}
	return v == "on", nil
}

// off sets dst to true if v is off.
func off(dst *bool, v string) error {
	on, err := onOff(v)
	*dst = !on
	return err
}

func whole(dst *int, v string, lowest, highest int) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < lowest || n > highest {
		return fmt.Errorf("want a whole number from %d to %d", lowest, highest)
	}
	*dst = n
	return nil
}

func number(dst *float64, v string, lowest, highest float64) error {
	x, err := strconv.ParseFloat(v, 64)
	if err != nil || !(x >= lowest && x <= highest) {
		return fmt.Errorf("want a number from %v to %v", lowest, highest)
	}
	*dst = x
	return nil
}

// methodFlags choose the methods of a comparison.
type methodFlags struct {
	list   string
	set    []string
	compat string
	model  string
}

// choose builds the methods of a comma-separated list, or all of them, with
// settings such as hyperband.eta=4.
func (f methodFlags) choose(model *modelFile, tables []*replay.Table) ([]search.Method, error) {
	names := strings.Split(f.list, ",")
	if f.list == "all" {
		names = methodNames()
		// A bound is no competitor: it would be first in every rank.
		names = slices.DeleteFunc(names, func(n string) bool { return n == replay.OracleName })
	}
	switch f.compat {
	case "":
	case compatReference:
		if f.list == "all" { // which has both
			names = slices.DeleteFunc(names, func(n string) bool { return n == plannerName })
		}
		for i := range names {
			if strings.TrimSpace(names[i]) == plannerName {
				names[i] = referenceName
			}
		}
	default:
		return nil, cli.Inputf("--compat %s: want %s", f.compat, compatReference)
	}
	changed := make(map[string]map[string]string)
	for _, s := range f.set {
		key, value, ok := strings.Cut(s, "=")
		method, setting, dotted := strings.Cut(key, ".")
		if !ok || !dotted {
			return nil, cli.Inputf("--set %s: want METHOD.SETTING=VALUE, such as hyperband.eta=4", s)
		}
		if !slices.Contains(names, method) {
			return nil, cli.Inputf("--set %s: method %q is not among --methods %s", s, method, f.list)
		}
		if changed[method] == nil {
			changed[method] = make(map[string]string)
		}
		changed[method][setting] = value
	}
	var methods []search.Method
	for i, name := range names {
		name = strings.TrimSpace(name)
		if slices.Contains(names[:i], name) {
			return nil, cli.Inputf("--methods: %s is given twice", name)
		}
		m, err := newMethod(name, changed[name], model, tables)
		if err != nil {
			return nil, cli.Input(err)
		}
		methods = append(methods, m)
	}
	if model != nil && !slices.Contains(names, model.method()) {
		return nil, cli.Inputf("--model: none of --methods %s uses such a file; %s does", f.list, model.method())
	}
	return methods, nil
}
