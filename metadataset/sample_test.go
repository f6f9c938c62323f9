package metadataset

import (
	"fmt"
	"math"
	"testing"

	"quicktune/internal/stream"
	"quicktune/space"
)

var nan32 = float32(math.NaN())

// tinySpace has a column of every type, conditions, and None as a choice both
// of a parent and of a child.
func tinySpace(t testing.TB) *space.Space {
	t.Helper()
	s, err := space.New("tiny", []space.Hyperparameter{
		{Name: "momentum", Type: space.Ordinal, Choices: []space.Value{space.None, space.Float(0.5), space.Float(0.9)}},
		{Name: "model", Type: space.Categorical, Choices: []space.Value{space.String("vit"), space.String("resnet"), space.String("dla")}},
		{Name: "lr", Type: space.Real, Lower: 1e-5, Upper: 1, Log: true},
		{Name: "layers", Type: space.Integer, Lower: -3, Upper: 12},
		{Name: "batch_size", Type: space.Ordinal, Choices: []space.Value{space.Int(2), space.Int(64)}},
		{Name: "opt", Type: space.Categorical, Choices: []space.Value{space.String("sgd"), space.String("adam"), space.None}},
		{Name: "amp", Type: space.Categorical, Choices: []space.Value{space.Bool(false), space.Bool(true)}},
		{Name: "augment", Type: space.Categorical, Choices: []space.Value{space.Bool(false), space.String("auto"), space.Int(3)}},
		{Name: "seed", Type: space.Constant, Choices: []space.Value{space.Int(42)}},
	}, []space.Condition{
		{Child: "momentum", AnyOf: [][]space.Clause{{{Parent: "opt", Op: space.In, Values: []space.Value{space.String("sgd"), space.None}}}}},
		{Child: "layers", AnyOf: [][]space.Clause{{{Parent: "momentum", Op: space.In, Values: []space.Value{space.None}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tinyInput is a small meta-dataset with every kind of end, a curve without
// epochs, unknown numbers and a diverged epoch.
func tinyInput(t testing.TB) Input {
	t.Helper()
	sp := tinySpace(t)
	rng := stream.New("metadataset test", 1)
	in := Input{
		Space:        sp,
		Metric:       Metric{ValAccuracy, Maximize},
		MaxEpochs:    4,
		ModelParam:   "model",
		TimeUnit:     TimeSeconds,
		CurveCap:     3600,
		MetaFeatures: []string{"entropy", "skew"},
		Generator:    "a test",
		Notes:        []string{"made up"},
		Datasets: []Dataset{
			{Name: "flowers", TrainSamples: 100, Classes: 5, Pixels: 64, Channels: 3, MetaFeatures: []float64{0.5, math.NaN()}},
			{Name: "birds", TrainSamples: 20},
			{Name: "empty"},
		},
		Models: []Model{
			{Name: "resnet", Params: 25.5, SourceAccuracy: 0.76, Pixels: 224, GMACs: 4.1},
			{Name: "unused", Params: math.NaN(), SourceAccuracy: math.NaN(), Pixels: math.NaN(), GMACs: math.NaN()},
		},
	}
	for i := range 14 {
		end := Ends[i%len(Ends)]
		n := 1 + i%4
		switch end {
		case EndCompleted:
			n = 4
		case EndOutOfMemory:
			n = 0
		}
		c := InputCurve{
			ID:      fmt.Sprintf("run-%d", 100-i),
			Dataset: []string{"flowers", "birds"}[i%2],
			Config:  sp.Sample(rng),
			Values: map[Column][]float32{
				ValAccuracy: make([]float32, n),
				TrainLoss:   make([]float32, n),
				Seconds:     make([]float32, n),
				EvalSeconds: make([]float32, n),
			},
			End: end,
		}
		for e := range n {
			c.Values[ValAccuracy][e] = rng.Float32()
			c.Values[TrainLoss][e] = 3 * rng.Float32()
			c.Values[Seconds][e] = 1 + rng.Float32()
			c.Values[EvalSeconds][e] = rng.Float32()
			if e == 1 {
				c.Values[TrainLoss][e] = nan32
			}
		}
		if end == EndDiverged {
			c.Reason = "the loss is not finite"
			c.Values[ValAccuracy][n-1] = nan32
		}
		in.Curves = append(in.Curves, c)
	}
	return in
}
