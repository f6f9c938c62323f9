package embedded

import (
	"math"
	"testing"

	"quicktune/generate/hub"
	"quicktune/internal/stream"
	"quicktune/internal/vision/tangent"
	"quicktune/selection"
)

func pictures(n int) (pixels []float32, labels []int) {
	rng := stream.New("test/embedded", 1)
	pixels = make([]float32, n*tangent.Pixels)
	for i := range n {
		labels = append(labels, i%3)
		level := float32(i%3) - 1
		for j := range tangent.Pixels {
			pixels[i*tangent.Pixels+j] = level + float32(rng.NormFloat64())
		}
	}
	return pixels, labels
}

func TestAProbeOfEveryArchitectureCanBeScored(t *testing.T) {
	pixels, labels := pictures(18)
	for _, name := range []string{"plain_xs", "residual_xs", "separable_xs", "mixer_xs", "convmixer_xs", "vit_xs"} {
		w, err := hub.Weights(name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Probe(w, pixels, labels, Options{Combinations: 2, Width: 64})
		if err != nil {
			t.Fatal(err)
		}
		p, err := selection.NewProbe(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []selection.Scorer{selection.LFC{}, selection.LGC{}, selection.LEEP{}, selection.LogME{}} {
			if _, err := s.Score(p); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestTheSketchedCombinationsKeepTheTraceKernel(t *testing.T) {
	w, err := hub.Weights("separable_xs")
	if err != nil {
		t.Fatal(err)
	}
	const n = 6
	pixels, labels := pictures(n)
	net, err := Network(w)
	if err != nil {
		t.Fatal(err)
	}
	model, err := tangent.New(net, pixels, tangent.LastMatrix)
	if err != nil {
		t.Fatal(err)
	}
	_, classes, weights := model.Shape()
	rows := make([]float64, n*classes*weights)
	if err := model.Rows(rows, 0, n); err != nil {
		t.Fatal(err)
	}
	product := func(x []float64, i, j, width int) (sum float64) {
		for k := range width {
			sum += x[i*width+k] * x[j*width+k]
		}
		return sum
	}
	const combinations, width, repeats = 4, 256, 60
	var wrong, square float64
	means := make([]float64, n*n)
	for r := range repeats {
		d, err := Probe(w, pixels, labels, Options{Combinations: combinations, Width: width, Seed: uint64(r)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			for j := range n {
				means[i*n+j] += product(d.Gradients, i, j, combinations*width) / repeats
			}
		}
	}
	for i := range n {
		for j := range n {
			exact := product(rows, i, j, classes*weights)
			square += exact * exact
			wrong += (means[i*n+j] - exact) * (means[i*n+j] - exact)
		}
	}
	// The combinations' share of the variance dominates: 2/combinations of the
	// square for a kernel of one output, spread over the repeats.
	if e := math.Sqrt(wrong / square); e > 3*math.Sqrt(2.0/combinations/repeats) {
		t.Errorf("the mean of %d sketches errs by %.3f", repeats, e)
	}
}

func TestMeansAreThoseOfTheFeatures(t *testing.T) {
	w, err := hub.Weights("vit_xs")
	if err != nil {
		t.Fatal(err)
	}
	pixels, labels := pictures(9)
	d, err := Probe(w, pixels, labels, Options{})
	if err != nil {
		t.Fatal(err)
	}
	means, weights, err := Means(w, pixels, labels, 4) // the last class has no image
	if err != nil {
		t.Fatal(err)
	}
	if len(weights) != 3 || len(means) != 3*d.Dim {
		t.Fatalf("%d classes with %d means of %d", len(weights), len(means), d.Dim)
	}
	for j := range d.Dim {
		sum := 0.0
		for i, y := range labels {
			if y == 1 {
				sum += d.Features[i*d.Dim+j]
			}
		}
		if math.Abs(sum/3-means[d.Dim+j]) > 1e-12*(1+math.Abs(sum)) {
			t.Fatalf("feature %d of class 1: mean %v, want %v", j, means[d.Dim+j], sum/3)
		}
	}
	if _, _, err := Means(w, pixels, labels, 2); err == nil {
		t.Error("a class beyond the last passes")
	}
}
