package traintime

import (
	"fmt"
	"testing"

	"quicktune/internal/cputime"
	"quicktune/internal/vision/tangent"
	"quicktune/predictor/traintime"
)

// BenchmarkPair is all that a prediction takes for a network, a data set and 100
// settings over 1,000 steps: the outputs and the Jacobian of 150 images through
// all weights, the kernel, its decomposition and the simulations. Run it with
// GOMAXPROCS=1; cpu-s/op is processor time, which the load of the machine hardly
// changes.
func BenchmarkPair(b *testing.B) {
	const images, steps = 150, 1000
	within := traintime.Criterion{Kind: traintime.WithinFinal, Value: 0.05, Relative: true}
	for _, name := range []string{"separable_xs", "residual_xs"} {
		for _, v := range []struct {
			loss  traintime.Loss
			draws int
		}{{traintime.MSE, 1}, {traintime.CrossEntropy, 1}, {traintime.CrossEntropy, 5}} {
			loss := v.loss
			b.Run(fmt.Sprintf("%s/%v/draws=%d", name, loss, v.draws), func(b *testing.B) {
				s, err := newSample(b.Context(), "digits", images)
				if err != nil {
					b.Fatal(err)
				}
				net, _, err := network(name, s.classes)
				if err != nil {
					b.Fatal(err)
				}
				targets, err := traintime.OneHot(s.labels, s.classes)
				if err != nil {
					b.Fatal(err)
				}
				start := cputime.Process()
				for b.Loop() {
					m, err := tangent.New(net, s.pixels, tangent.All)
					if err != nil {
						b.Fatal(err)
					}
					k, err := traintime.FromRows(b.Context(), m, traintime.Full, jacobianBytes)
					if err != nil {
						b.Fatal(err)
					}
					p := &traintime.Problem{Kernel: k, Outputs: make([]float64, images*s.classes), Targets: targets, Loss: loss}
					if err := m.Outputs(p.Outputs); err != nil {
						b.Fatal(err)
					}
					if _, err := p.Predict(b.Context(), hundred(k, loss, s.classes, steps), within, nil, traintime.Options{Steps: steps, Every: 10, Draws: v.draws}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((cputime.Process()-start).Seconds()/float64(b.N), "cpu-s/op")
			})
		}
	}
}

// hundred is a grid of five learning rates up to the edge of stability, two
// momenta, batches of 8 to 64 and all, with and without a cosine.
func hundred(k *traintime.Kernel, loss traintime.Loss, classes, steps int) []traintime.Setting {
	edge := float64(k.Samples()) / k.Largest()
	if loss == traintime.CrossEntropy {
		edge *= float64(classes)
	}
	var list []traintime.Setting
	for _, part := range []float64{0.05, 0.1, 0.2, 0.5, 1} {
		for _, momentum := range momenta {
			for _, batch := range []int{8, 16, 32, 64, 0} {
				for _, schedule := range []traintime.Schedule{nil, traintime.Cosine(steps)} {
					list = append(list, traintime.Setting{LearningRate: part * edge * (1 - momentum), Momentum: momentum, Batch: batch, Schedule: schedule})
				}
			}
		}
	}
	return list
}
