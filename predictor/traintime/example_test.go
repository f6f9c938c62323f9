package traintime_test

import (
	"context"
	"fmt"

	"quicktune/predictor/traintime"
)

// A linear head on three features is to tell two classes apart. One kernel
// serves every setting.
func Example() {
	features := []float64{
		1.0, 0.2, 0.1,
		0.8, 0.1, 0.3,
		0.9, 0.4, 0.0,
		0.1, 1.0, 0.2,
		0.3, 0.8, 0.1,
		0.0, 0.9, 0.4,
	}
	kernel, err := traintime.LastLayer(features, 6, 3, 2, true)
	if err != nil {
		panic(err)
	}
	targets, err := traintime.OneHot([]int{0, 0, 0, 1, 1, 1}, 2)
	if err != nil {
		panic(err)
	}
	problem := &traintime.Problem{
		Kernel: kernel, Outputs: make([]float64, 12), Targets: targets, Loss: traintime.CrossEntropy,
	}
	settings := []traintime.Setting{
		{LearningRate: 0.1},
		{LearningRate: 0.1, Momentum: 0.9},
		{LearningRate: 0.1, Momentum: 0.9, Optimizer: "adamw"},
		{LearningRate: 20},
	}
	half := traintime.Criterion{Kind: traintime.FirstBelow, Value: 0.6, Relative: true}
	predictions, err := problem.Predict(context.Background(), settings, half, nil, traintime.Options{Steps: 1000})
	if err != nil {
		panic(err)
	}
	for i, p := range predictions {
		fmt.Printf("setting %d: %.0f steps, %.1f s at 20 ms a step\n", i, p.Time.Steps, p.Time.Scale(0.02).Steps)
		for _, w := range p.Warnings {
			fmt.Println("  ", w)
		}
	}
	// Output:
	// setting 0: 32 steps, 0.6 s at 20 ms a step
	// setting 1: 8 steps, 0.2 s at 20 ms a step
	// setting 2: 8 steps, 0.2 s at 20 ms a step
	//    adaptive optimiser: adamw is simulated as SGD, which it is not
	// setting 3: 1 steps, 0.0 s at 20 ms a step
	//    outside stability: effective learning rate 20 times the largest eigenvalue over N is 32.5, above 2
}
