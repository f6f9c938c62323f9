package sweep

import (
	"fmt"
	"math"
	"os"
	"path/filepath"

	"quicktune/generate/journal"
	"quicktune/generate/plan"
	"quicktune/metadataset"
)

// finish writes the meta-dataset. Every curve has ended.
func (s *sink) finish() (Result, error) {
	var in metadataset.Input
	var err error
	s.journal.View(func(state *journal.State) { in, err = Input(s.options.Plan, state) })
	if err != nil {
		return Result{}, err
	}
	in.Generator = s.options.Generator
	in.Notes = append(in.Notes, s.options.Notes...)
	dir := filepath.Join(s.options.Dir, MetadatasetDir)
	if err := metadataset.Write(dir, in); err != nil {
		return Result{}, err
	}
	// Only checkpoints of trials that have ended could be left, and an empty
	// directory says that nothing is to be resumed.
	if err := s.journal.Sync(); err != nil {
		return Result{}, err
	}
	if err := os.RemoveAll(filepath.Join(s.options.Dir, CheckpointsDir)); err != nil {
		return Result{}, err
	}
	store, err := metadataset.Open(dir)
	if err != nil {
		return Result{}, err
	}
	r := Result{
		Dir: dir, Curves: store.NumCurves(), Epochs: store.NumEpochs(),
		Ends: make(map[metadataset.End]int), Hash: store.Manifest.Hash,
	}
	for _, end := range store.Ends {
		r.Ends[end]++
	}
	return r, nil
}

// Input turns a plan and what is known of it into a meta-dataset. Every trial of
// the plan must have ended.
func Input(p *plan.Plan, state *journal.State) (metadataset.Input, error) {
	in := metadataset.Input{
		Space:        p.Space,
		Metric:       metadataset.Metric{Column: metadataset.ValAccuracy, Goal: metadataset.Maximize},
		MaxEpochs:    p.Epochs,
		ModelParam:   p.ModelParam,
		TimeUnit:     metadataset.TimeSeconds,
		CurveCap:     p.CurveCap,
		MetaFeatures: p.MetaFeatures,
		Models:       p.Hub(),
	}
	for _, d := range p.Datasets {
		in.Datasets = append(in.Datasets, metadataset.Dataset{
			Name: d.Name, TrainSamples: d.Train, Classes: d.Classes, Pixels: d.Width, Channels: d.Channels, MetaFeatures: d.MetaFeatures,
		})
		for _, w := range d.Warnings {
			in.Notes = append(in.Notes, fmt.Sprintf("data set %s: %s", d.Name, oneLine(w)))
		}
	}
	for _, t := range p.Trials {
		now := state.Trials[t.ID]
		if !now.Ended() {
			return in, fmt.Errorf("trial %q has not ended", t.ID)
		}
		c, err := p.Space.ConfigFromMap(t.Config)
		if err != nil {
			return in, err
		}
		curve := metadataset.InputCurve{
			ID: t.ID, Dataset: t.Dataset, Config: c, End: now.End.End, Reason: now.End.Reason,
			Values: make(map[metadataset.Column][]float32, len(metadataset.Columns)),
		}
		for _, r := range now.Records {
			for col, v := range map[metadataset.Column]float64{
				metadataset.TrainLoss:    r.TrainLoss,
				metadataset.ValLoss:      r.ValLoss,
				metadataset.ValAccuracy:  r.ValAccuracy,
				metadataset.TestAccuracy: r.TestAccuracy,
				metadataset.LearningRate: r.LearningRate,
				metadataset.Seconds:      seconds(r),
				metadataset.EvalSeconds:  r.EvalSeconds,
			} {
				curve.Values[col] = append(curve.Values[col], narrow(v))
			}
		}
		in.Curves = append(in.Curves, curve)
	}
	in.Budgets = budgets(in.Curves, len(in.Datasets))
	return in, nil
}

// budgets are what a search on one data set is usually compared at: a 64th, a
// 16th and a quarter of the time that all curves of a data set take, rounded.
func budgets(curves []metadataset.InputCurve, datasets int) []float64 {
	total := 0.0
	for _, c := range curves {
		for _, s := range c.Values[metadataset.Seconds] {
			if s > 0 { // not for NaN
				total += float64(s)
			}
		}
	}
	var out []float64
	for _, part := range []float64{64, 16, 4} {
		if b := roundTime(total / float64(datasets) / part); b > 0 && (len(out) == 0 || b > out[len(out)-1]) {
			out = append(out, b)
		}
	}
	return out
}

// roundTime rounds to 1, 2 or 5 times a power of ten, or 0 if x is no positive
// number.
func roundTime(x float64) float64 {
	if !(x > 0) || math.IsInf(x, 1) {
		return 0
	}
	power := math.Pow(10, math.Floor(math.Log10(x)))
	best := power
	for _, digit := range []float64{2, 5, 10} {
		if math.Abs(math.Log(digit*power/x)) < math.Abs(math.Log(best/x)) {
			best = digit * power
		}
	}
	return best
}

// narrow rounds to float32; a number beyond its range is unknown.
func narrow(v float64) float32 {
	f := float32(v)
	if f-f != 0 { // infinite or NaN
		return nan32
	}
	return f
}
