package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"quicktune"
	"quicktune/baselines"
	"quicktune/benchmark/selection"
	"quicktune/search"
)

// twoStageName is the method that picks models by a ranking before it tunes.
const twoStageName = "two-stage"

// ranked is what can be set of methods that rank models before they search.
type ranked struct {
	by, file string
	quicktune.RankedOptions
	top   int
	tuner string
}

// rankedSetting is one of them.
type rankedSetting struct {
	setting
	set func(*ranked, string) error
}

// scoresFile is where the scores of the shipped meta-dataset lie.
const scoresFile = "results/embedded-scores.parquet"

const rankings = "static-prior, random, the name of a score such as logme, or static-prior+ and that name"

var (
	byText   = func(r *ranked, v string) error { r.by = v; return nil }
	fileText = func(r *ranked, v string) error { r.file = v; return nil }
)

// plannerSettings are those of Quick-Tune, which ranks nothing by default.
var plannerSettings = []rankedSetting{
	{setting{"score", "", rankings, "ranking of the pretrained models that moves the forecasts"}, byText},
	{setting{"weight", "0.5", "number from -100 to 100", "of the standardised ranking beside the forecasts"}, func(r *ranked, v string) error { return number(&r.Weight, v, -100, 100) }},
	{setting{"warm-start", "0", "whole number from 0 to 1000", "models tried for an epoch each before all else"}, func(r *ranked, v string) error { return whole(&r.WarmStart, v, 0, 1000) }},
	{setting{"scores", scoresFile, "file that \"benchmark selection --probe\" wrote", "where scores are taken from"}, fileText},
}

var twoStageSettings = []rankedSetting{
	{setting{"by", "static-prior", rankings, "what the models are picked by"}, byText},
	{setting{"top", "1", "whole number from 1 to 1000", "models picked"}, func(r *ranked, v string) error { return whole(&r.top, v, 1, 1000) }},
	{setting{"tuner", "hyperband", "hyperband, random or asha", "method that tunes their hyperparameters"}, func(r *ranked, v string) error { return oneOf(&r.tuner, v, "hyperband", "random", "asha") }},
	{setting{"scores", scoresFile, "file that \"benchmark selection --probe\" wrote", "where scores are taken from"}, fileText},
}

// rankedFrom reads the settings of a method.
func rankedFrom(method string, known []rankedSetting, settings map[string]string) (*ranked, error) {
	r := &ranked{}
	for _, s := range known {
		if err := s.set(r, s.byDefault); err != nil {
			return nil, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		i := slices.IndexFunc(known, func(s rankedSetting) bool { return s.name == key })
		if i < 0 {
			var names []string
			for _, s := range known {
				names = append(names, s.name)
			}
			return nil, fmt.Errorf("method %q has no setting %q; it has %s", method, key, strings.Join(names, ", "))
		}
		if err := known[i].set(r, settings[key]); err != nil {
			return nil, fmt.Errorf("method %q: setting %s=%s: %w", method, key, settings[key], err)
		}
	}
	return r, nil
}

// newPlanner returns Quick-Tune, with a ranking if one is set.
func newPlanner(settings map[string]string, model *modelFile) (search.Method, error) {
	r, err := rankedFrom(plannerName, plannerSettings, settings)
	if err != nil {
		return search.Method{}, err
	}
	if r.by != "" {
		if model != nil && model.forecasts != nil {
			return search.Method{}, fmt.Errorf("method %q: a ranking needs the curves that the forecasts are learnt from: leave --model out", plannerName)
		}
		ranking, err := selection.NewRanking(r.by, r.file)
		if err != nil {
			return search.Method{}, fmt.Errorf("method %q: %w", plannerName, err)
		}
		return quicktune.RankedPlannerMethod(ranking, r.RankedOptions), nil
	}
	if len(settings) > 0 {
		return search.Method{}, fmt.Errorf("method %q: without score=NAME no other setting does anything", plannerName)
	}
	if model == nil || model.forecasts == nil {
		return quicktune.PlannerMethod(nil), nil
	}
	m := quicktune.PlannerMethod(model.forecasts)
	m.Details += ", model=" + model.name
	return m, nil
}

// newTwoStage returns the method that picks models first.
func newTwoStage(settings map[string]string) (search.Method, error) {
	r, err := rankedFrom(twoStageName, twoStageSettings, settings)
	if err != nil {
		return search.Method{}, err
	}
	ranking, err := selection.NewRanking(r.by, r.file)
	if err != nil {
		return search.Method{}, fmt.Errorf("method %q: %w", twoStageName, err)
	}
	tuners := map[string]baselines.DefaultModelTuner{
		"hyperband": baselines.TuneByHyperband, "random": baselines.TuneByRandomSearch, "asha": baselines.TuneByASHA,
	}
	return baselines.TwoStageMethod(baselines.TwoStage{Ranking: ranking, Top: r.top, Tuner: tuners[r.tuner]}), nil
}
