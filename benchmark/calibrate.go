package main

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"

	"quicktune"
	"quicktune/benchmark/crossval"
	"quicktune/benchmark/report"
	"quicktune/metadataset"
	"quicktune/predictor"
	"quicktune/predictor/forecast"
	"quicktune/search"
)

// seenEpochs are how much of a curve is known when its end is forecast.
var seenEpochs = []int{1, 3, 10}

// calibrate holds the forecasts of Quick-Tune against the stored curves of data
// sets that they were not learnt from: the best score by the end of a curve,
// given its first epochs. It returns nil where the method did not learn, or from
// scores without bounds.
func calibrate(ctx context.Context, s *metadataset.Store, datasets []string, learned []report.Learning, cache string) (*report.Calibration, error) {
	out := &report.Calibration{Method: plannerName, What: "the best score by the end of a curve"}
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		cache = filepath.Join(dir, "quicktune", "models")
	}
	for _, round := range learned {
		if round.Method != plannerName {
			continue
		}
		meta, err := crossval.MetaData(s, predictor.Split{Train: round.Train, Validation: round.Validation, Test: round.Test})
		if err != nil {
			return nil, err
		}
		meta.Cache = filepath.Join(cache, round.Key)
		m, err := quicktune.LearnForecasts(ctx, meta)
		if err != nil {
			return nil, err
		}
		if m.Unit != (search.UnitScale{}) {
			return nil, nil
		}
		for _, name := range round.Test {
			if d, ok := s.DatasetIndex(name); ok && slices.Contains(datasets, name) {
				if err := forecastCurves(out, m, s, d); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(out.Forecasts) == 0 {
		return nil, nil
	}
	return out, nil
}

// forecastCurves adds the forecasts of all curves of a data set.
func forecastCurves(out *report.Calibration, m *forecast.Model, s *metadataset.Store, d int) error {
	set := s.Datasets[d]
	descriptors := forecast.Descriptors{Samples: set.TrainSamples, Classes: set.Classes}
	gain, spread := make([]float64, len(forecast.Horizons)), make([]float64, len(forecast.Horizons))
	for c := range s.Curves(d) {
		if s.Ends[c] == metadataset.EndMemoryTest || s.Len(c) <= seenEpochs[0] {
			continue
		}
		row, err := m.Features().Row(s.Config(c), descriptors)
		if err != nil {
			return err
		}
		prior := m.Priors([][]float64{row}, descriptors)[0]
		scores := make([]float64, 0, s.Len(c))
		for _, v := range s.Score(c) {
			if math.IsNaN(float64(v)) {
				break
			}
			scores = append(scores, float64(v))
		}
		for _, seen := range seenEpochs {
			n := 0
			if seen < len(scores) {
				n = m.Continuation(gain, spread, row, &prior, scores[:seen])
			}
			for n > 0 && seen+forecast.Horizons[n-1] > len(scores) {
				n--
			}
			if n == 0 || !(spread[n-1] > 0) {
				continue
			}
			median := forecast.ToLogit(slices.Max(scores[:seen])) + gain[n-1]
			best := slices.Max(scores[:seen+forecast.Horizons[n-1]])
			out.Forecasts = append(out.Forecasts, report.Forecast{
				Dataset: set.Name, Seen: seen, Predicted: forecast.FromLogit(median), Observed: best,
				Level: math.Erfc((median-forecast.ToLogit(best))/spread[n-1]/math.Sqrt2) / 2,
			})
		}
	}
	return nil
}
