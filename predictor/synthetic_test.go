package predictor

import (
	"math"
	"math/rand/v2"
	"testing"

	"quicktune/internal/stream"
)

// small is an architecture for tests that need no real data.
func small() Architecture {
	return Architecture{Groups: []int{3, 4}, Meta: 2, MaxEpochs: 9, Hidden: 6, Embedding: 4, Channels: 3, CurveOut: 5, Dropout: 0.25}
}

func smallKernel(t testing.TB, a Architecture) *DeepKernel {
	t.Helper()
	k, err := NewDeepKernel(a, stream.New("test/kernel", 1))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func normals(rng *rand.Rand, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = rng.NormFloat64()
	}
	return out
}

// rows returns n random rows and targets.
func rows(t testing.TB, a Architecture, rng *rand.Rand, n int) (*Batch, []float64) {
	t.Helper()
	b, y := NewBatch(a), make([]float64, n)
	for i := range n {
		curve := make([]float64, a.MaxEpochs)
		for j := range curve {
			curve[j] = rng.Float64()
		}
		r := Row{Config: normals(rng, a.Config()), Meta: normals(rng, a.Meta), Epoch: 1 + rng.IntN(a.MaxEpochs), Curve: curve}
		if err := b.Append(r); err != nil {
			t.Fatal(err)
		}
		y[i] = rng.Float64()
	}
	return b, y
}

// task returns a data set whose curves saturate at a level that the first
// column of the configuration decides, and whose epochs cost what the second
// says.
func task(a Architecture, name string, seed uint64, curves int) Task {
	rng := stream.New("test/task", seed)
	t := Task{Name: name, Meta: normals(rng, a.Meta)}
	for range curves {
		c := normals(rng, a.Config())
		n := 1 + rng.IntN(a.MaxEpochs)
		scores, seconds := make([]float64, n), make([]float64, n)
		for e := range n {
			scores[e] = (1 - math.Exp(-float64(e+1)/3)) / (1 + math.Exp(-c[0]))
			seconds[e] = 100 * math.Exp(c[1])
		}
		t.Config, t.Scores, t.Seconds = append(t.Config, c), append(t.Scores, scores), append(t.Seconds, seconds)
	}
	return t
}

func allFinite(t testing.TB, what string, xs ...[]float64) {
	t.Helper()
	for _, x := range xs {
		for i, v := range x {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("%s: element %d is %v", what, i, v)
			}
		}
	}
}
