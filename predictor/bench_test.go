package predictor

import (
	"context"
	"fmt"
	"testing"

	"quicktune/internal/stream"
)

// history returns n rows as a search on a data set would gather them:
// configurations in random order, each trained for one to twelve epochs.
func history(t testing.TB, task Task, n int) (*Batch, []float64) {
	t.Helper()
	rng := stream.New("test/history", 1)
	b, y := NewBatch(Reference()), []float64(nil)
	meta := ScaleMeta(task.Meta, MetaScaleSearch)
	for {
		for _, c := range rng.Perm(len(task.Scores)) {
			curve := task.Scores[c]
			for e := range min(len(curve), 1+rng.IntN(12)) {
				if err := b.Append(Row{Config: task.Config[c], Meta: meta, Epoch: e + 1, Curve: curve[:e]}); err != nil {
					t.Fatal(err)
				}
				if y = append(y, curve[e]); len(y) == n {
					return b, y
				}
			}
		}
	}
}

// candidates returns a row for every curve of a data set, at random epochs.
func candidates(t testing.TB, task Task, n int) *Batch {
	t.Helper()
	rng := stream.New("test/candidates", 1)
	b := NewBatch(Reference())
	meta := ScaleMeta(task.Meta, MetaScaleSearch)
	for i := range n {
		c := i % len(task.Scores)
		e := rng.IntN(len(task.Scores[c]))
		if err := b.Append(Row{Config: task.Config[c], Meta: meta, Epoch: e + 1, Curve: task.Scores[c][:e]}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

var sizes = []int{50, 200, 800}

func benchmarkKernel(b *testing.B) (*DeepKernel, Task) {
	k := goldenCases(b)["meta_trained"].kernel(b)
	for _, t := range realTasks(b).tasks {
		if t.Name == "DOG" {
			return k, t
		}
	}
	b.Fatal("no data set DOG")
	return nil, Task{}
}

// BenchmarkLoss is one evaluation of the likelihood with its gradient.
func BenchmarkLoss(b *testing.B) {
	k, task := benchmarkKernel(b)
	for _, n := range append([]int{10}, sizes...) {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			batch, y := history(b, task, n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Loss(batch, y, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNetwork is the network's part of it, forward and backward.
func BenchmarkNetwork(b *testing.B) {
	k, task := benchmarkKernel(b)
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			batch, _ := history(b, task, n)
			for b.Loop() {
				z := k.features.forward(batch, nil)
				k.features.backward(z)
			}
		})
	}
}

// BenchmarkDecision is a fit and the posterior of 200 candidates.
func BenchmarkDecision(b *testing.B) {
	k, task := benchmarkKernel(b)
	pool := candidates(b, task, 200)
	mean, std := make([]float64, pool.Len()), make([]float64, pool.Len())
	for _, n := range sizes {
		batch, y := history(b, task, n)
		for _, f := range []struct {
			name string
			opt  FitOptions
		}{
			{"none", FitOptions{LearningRate: 1}},
			{"default", DefaultFit()},
			{"lbfgs=5", FitOptions{Steps: 5, LearningRate: 1e-2, LBFGS: true}},
			{"adam=50", ReferenceFit(false)},
			{"adam=1000", ReferenceFit(true)},
		} {
			if f.opt.Steps == 1000 && n > 50 {
				continue // the reference takes so many steps on at most ten rows
			}
			b.Run(fmt.Sprintf("rows=%d/fit=%s", n, f.name), func(b *testing.B) {
				w := k.Clone()
				for b.Loop() {
					w.CopyWeights(k)
					if _, err := w.Fit(context.Background(), batch, y, f.opt); err != nil {
						b.Fatal(err)
					}
					if err := w.Condition(batch, y); err != nil {
						b.Fatal(err)
					}
					if err := w.Predict(mean, std, pool, true); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkExtend adds one row to those that a process is conditioned on.
func BenchmarkExtend(b *testing.B) {
	k, task := benchmarkKernel(b)
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			batch, y := history(b, task, n)
			one, y1 := history(b, task, 1)
			for b.Loop() {
				b.StopTimer()
				if err := k.Condition(batch, y); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := k.Extend(one, y1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMetaTrain reports iterations a second, validation included.
func BenchmarkMetaTrain(b *testing.B) {
	x := realTasks(b)
	for _, phase := range []string{"performance", "cost"} {
		b.Run(phase, func(b *testing.B) {
			opt := ReferenceMetaTrain()
			opt.Iterations, opt.CostIterations = 200, 200
			tr := trainer{arch: Reference(), opt: opt, report: func(Progress) {}}
			for b.Loop() {
				var err error
				if phase == "cost" {
					_, err = tr.cost(context.Background(), x.tasks[:12])
				} else {
					_, err = tr.performance(context.Background(), x.tasks[:12], x.tasks[12:16], &TrainingInfo{})
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(200*float64(b.N)/b.Elapsed().Seconds(), "iterations/s")
		})
	}
}
