package traintime

import (
	"fmt"
	"testing"
)

// grid is 100 settings: five learning rates up to the edge of stability, two
// momenta, batches of 8 to 128 and all, with and without weight decay.
func grid(p *Problem) []Setting {
	edge := float64(p.Kernel.Samples()) / p.Kernel.Largest()
	if p.Loss == CrossEntropy {
		edge *= 2
	}
	var settings []Setting
	for _, part := range []float64{0.05, 0.1, 0.2, 0.5, 1} {
		for _, momentum := range []float64{0, 0.9} {
			for _, batch := range []int{8, 16, 32, 64, 0} {
				for _, decay := range []float64{0, 1e-4} {
					settings = append(settings, Setting{
						LearningRate: part * edge * (1 - momentum), Momentum: momentum, Batch: batch, WeightDecay: decay,
					})
				}
			}
		}
	}
	return settings
}

// benchmarkProblem has N = 150 samples and 10 outputs.
func benchmarkProblem(b *testing.B, form Form, loss Loss) *Problem {
	b.Helper()
	p := powerLaw(b, 150, 1.5, 1.5, 1)
	labels := make([]int, 150)
	for i := range labels {
		labels[i] = i % 10
	}
	p.Targets, _ = OneHot(labels, 10)
	p.Initial = p.Outputs
	p.Loss = loss
	if form == Full {
		m := newLinear(150, 10, 2000, 1)
		kernel, err := FromRows(b.Context(), &m.Matrix, Full, 1<<28)
		if err != nil {
			b.Fatal(err)
		}
		p.Kernel = kernel
	}
	return p
}

// BenchmarkGrid is the whole prediction of 100 settings over 1,000 steps for a
// kernel that is at hand, with one or five draws of the noise, on one core:
// run it with GOMAXPROCS=1.
func BenchmarkGrid(b *testing.B) {
	within := Criterion{Kind: WithinFinal, Value: 0.05, Relative: true}
	for form, name := range []string{"full", "shared"} {
		for _, loss := range []Loss{MSE, CrossEntropy} {
			for dynamics, what := range []string{"exact", "published"} {
				for _, draws := range []int{1, 5} {
					b.Run(fmt.Sprintf("%s/%v/%s/draws=%d", name, loss, what, draws), func(b *testing.B) {
						p := benchmarkProblem(b, Form(form), loss)
						for b.Loop() {
							// The decomposition belongs to the prediction.
							kernel, err := newKernel(p.Kernel.matrix, 150, 10, p.Kernel.shared)
							if err != nil {
								b.Fatal(err)
							}
							p.Kernel = kernel
							if _, err := p.Predict(b.Context(), grid(p), within, nil, Options{Steps: 1000, Every: 10, Draws: draws, Dynamics: Dynamics(dynamics)}); err != nil {
								b.Fatal(err)
							}
						}
					})
				}
			}
		}
	}
}

func BenchmarkKernel(b *testing.B) {
	m := newLinear(150, 10, 20_000, 1)
	b.Run("rows", func(b *testing.B) {
		for b.Loop() {
			if _, err := FromRows(b.Context(), &m.Matrix, Full, 1<<29); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("class mean", func(b *testing.B) {
		for b.Loop() {
			if _, err := FromRows(b.Context(), &m.Matrix, ClassMean, 1<<29); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("1000 directions", func(b *testing.B) {
		for b.Loop() {
			if _, err := Project(b.Context(), &m.Matrix, Full, 1000, 1, 1<<29); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPredictSpectrum(b *testing.B) {
	parts := subsets(b, powerLaw(b, 600, 1.5, 1.5, 1), 150, 4)
	for b.Loop() {
		if _, err := PredictSpectrum(2000, parts...); err != nil {
			b.Fatal(err)
		}
	}
}
