// Package synthetic makes learning curves from a formula, on the search space
// of Quick-Tune.
//
// The curves serve where real ones are not at hand: the first run on a fresh
// machine, tests, and measurements of how time and memory grow with the number
// of data sets and configurations. They have the traits of real fine-tuning
// curves that matter to a search: most configurations are bad, larger models
// are better and slower, warm-up makes the first epochs misleading, expensive
// curves are cut by a time cap, some diverge. The package refuses to stand in
// for evidence: no conclusion about methods may rest on it, and its manifest
// says so.
package synthetic

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"quicktune/internal/stream"
	"quicktune/metadataset"
	"quicktune/space"
)

// Options say how much to make. A zero field takes its default.
type Options struct {
	Datasets int     // default 12
	Curves   int     // configurations of each data set, default 120
	Epochs   int     // longest curve, default 50
	CurveCap float64 // seconds after which a curve is cut, default 16 h
	Seed     uint64
}

// Defaults of Options.
const (
	defaultDatasets = 12
	defaultCurves   = 120
	defaultEpochs   = 50
	defaultCurveCap = 16 * 3600
)

// Generate makes a meta-dataset. The same options give the same curves.
func Generate(o Options) metadataset.Input {
	o.Datasets = cmp.Or(o.Datasets, defaultDatasets)
	o.Curves = cmp.Or(o.Curves, defaultCurves)
	o.Epochs = cmp.Or(o.Epochs, defaultEpochs)
	o.CurveCap = cmp.Or(o.CurveCap, defaultCurveCap)
	sp := space.QuickTune()
	in := metadataset.Input{
		Space:      sp,
		Metric:     metadataset.Metric{Column: metadataset.ValAccuracy, Goal: metadataset.Maximize},
		MaxEpochs:  o.Epochs,
		ModelParam: "model",
		TimeUnit:   "seconds",
		CurveCap:   o.CurveCap,
		Generator:  fmt.Sprintf("synthetic curves, seed %d", o.Seed),
		Notes:      []string{"synthetic: these curves come from a formula, not from training; they are no evidence about any method"},
	}
	hub := sp.Param(sp.Index("model")).Choices
	for _, m := range hub {
		in.Models = append(in.Models, metadataset.Model{
			Name: m.Text(), Params: math.NaN(), SourceAccuracy: math.NaN(), Pixels: math.NaN(), GMACs: math.NaN(),
		})
	}
	for d := range o.Datasets {
		rng := stream.New("synthetic/dataset", o.Seed, uint64(d))
		t := newTask(rng, len(hub))
		name := fmt.Sprintf("SYN_%04d", d)
		in.Datasets = append(in.Datasets, metadataset.Dataset{
			Name: name, TrainSamples: t.samples, Classes: t.classes, Pixels: 128, Channels: 3,
		})
		for i := range o.Curves {
			rng := stream.New("synthetic/curve", o.Seed, uint64(d), uint64(i))
			c := sp.Sample(rng)
			curve := t.curve(rng, sp, c, o)
			curve.ID = fmt.Sprintf("%s_%06d", name, i)
			curve.Dataset = name
			in.Curves = append(in.Curves, curve)
		}
	}
	return in
}

// task is the hidden truth about one data set.
type task struct {
	samples, classes int
	ceiling          float64   // best accuracy that any configuration approaches
	affinity         []float64 // how well each model of the hub suits the data, in standard deviations
	bestLogLR        float64   // log10 of the best learning rate of adaptive optimisers
}

func newTask(rng *rand.Rand, models int) task {
	t := task{
		samples:   int(math.Pow(10, 2.7+2.6*rng.Float64())),
		classes:   int(math.Pow(10, 1.2+1.2*rng.Float64())),
		ceiling:   0.6 + 0.39*rng.Float64(),
		affinity:  make([]float64, models),
		bestLogLR: -3.6 + 0.8*rng.Float64(),
	}
	for i := range t.affinity {
		t.affinity[i] = rng.NormFloat64()
	}
	return t
}

// curve trains configuration c on the task, by formula.
func (t task) curve(rng *rand.Rand, sp *space.Space, c space.Config, o Options) metadataset.InputCurve {
	num := func(name string) float64 { return c[sp.Index(name)].Num() }
	at := sp.Index("model")
	model := slices.Index(sp.Param(at).Choices, c[at])
	last := float64(len(t.affinity) - 1)
	size := 1 - float64(model)/last // the hub lists large models first

	lr := math.Log10(num("lr"))
	best := t.bestLogLR
	width := 0.9
	switch c[sp.Index("opt")].Text() {
	case "sgd", "momentum":
		best, width = best+1.2, 1.3
	}
	miss := (lr - best) / width
	quality := 2.2 + 0.8*size + 0.6*t.affinity[model] -
		1.6*miss*miss -
		0.18*math.Log2(num("batch_size")) -
		1.5*math.Pow(num("pct_to_freeze"), 4) -
		1.2*num("drop") - 0.4*num("stoch_norm") -
		0.1*num("cotuning_reg") + 0.3*rng.NormFloat64()
	chance := 1 / float64(t.classes)
	final := chance + (t.ceiling-chance)/(1+math.Exp(-2*quality))
	rate := 0.6 + rng.ExpFloat64()*2
	warmup := num("warmup_epochs")
	perImage := 0.0045 * math.Pow(262.5/4.5, size) // seconds, the range of the real hub
	cost := 1 + float64(t.samples)*perImage*(0.6+0.8*rng.Float64())/(1+0.5*num("pct_to_freeze"))

	diverges := o.Epochs + 1
	if lr >= -2.5 && c[sp.Index("clip_grad")] == space.None && rng.Float64() < 0.2 {
		diverges = 1 + rng.IntN(o.Epochs)
	}
	curve := metadataset.InputCurve{Config: c, End: metadataset.EndCompleted, Values: map[metadataset.Column][]float32{}}
	var accuracy, seconds []float32
	clock := 0.0
	for epoch := 1; epoch <= o.Epochs; epoch++ {
		spent := cost * (1 + 0.02*rng.NormFloat64())
		if clock += spent; clock > o.CurveCap {
			curve.End = metadataset.EndTimeCapped
			break
		}
		e := math.Max(0, float64(epoch)-0.7*warmup)
		value := chance + (final-chance)*(1-1/(1+e*rate/3)) + 0.006*rng.NormFloat64()
		seconds = append(seconds, float32(spent))
		if epoch == diverges {
			accuracy = append(accuracy, float32(math.NaN()))
			curve.End, curve.Reason = metadataset.EndDiverged, "loss is not finite"
			break
		}
		accuracy = append(accuracy, float32(min(max(value, 0), 1)))
	}
	curve.Values[metadataset.ValAccuracy] = accuracy
	curve.Values[metadataset.Seconds] = seconds
	return curve
}
