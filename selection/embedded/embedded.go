// Package embedded makes the probes of the embedded networks: what each of them
// says about labelled images before any fine-tuning, for the scores of package
// selection.
//
// Features are the inputs of the head and source probabilities the softmax of
// the head that the network was pretrained with. Gradients are those of the last
// weight matrix of the body, of random combinations of the source head's
// outputs; in expectation over the combinations their products are the trace
// kernel of all outputs. The package trains nothing and reads no file.
package embedded

import (
	"fmt"
	"math"

	"quicktune/internal/nn/vec"
	"quicktune/internal/stream"
	"quicktune/internal/vision"
	"quicktune/internal/vision/tangent"
	"quicktune/selection"
)

// Options say what a probe holds besides features and source probabilities.
type Options struct {
	// Combinations is the number of random combinations of outputs whose
	// gradients are taken; 0 for no gradients.
	Combinations int
	// Width is the number of dimensions that a gradient is sketched to;
	// 0 means 2048.
	Width int
	// Seed draws combinations and sketches. Models need not share it.
	Seed uint64
}

const defaultWidth = 2048

// Probe returns what a network with the given weights says about images:
// as many times [tangent.Pixels] normalised values as there are labels.
//
// Gradients are sketched by adding each weight's derivative, with a random sign,
// to one of Width sums (Charikar, Chen and Farach-Colton, "Finding Frequent
// Items in Data Streams", ICALP 2002), which keeps products of gradients in
// expectation as the dense projection of the published method does, at a cost
// that does not grow with Width.
func Probe(w *vision.Weights, pixels []float32, labels []int, o Options) (selection.Data, error) {
	fail := func(err error) (selection.Data, error) {
		return selection.Data{}, fmt.Errorf("probing %s: %w", w.Model, err)
	}
	n := len(labels)
	if n == 0 || len(pixels) != n*tangent.Pixels {
		return fail(fmt.Errorf("%d values are no %d images of %d", len(pixels), n, tangent.Pixels))
	}
	net, err := Network(w)
	if err != nil {
		return fail(err)
	}
	model, err := tangent.New(net, pixels, tangent.LastMatrix)
	if err != nil {
		return fail(err)
	}
	d := selection.Data{
		Model: w.Model, Labels: labels,
		Features: make([]float64, n*net.Features()), Dim: net.Features(),
		Source: make([]float64, n*w.Classes), SourceClasses: w.Classes,
	}
	model.Features(d.Features, d.Source)
	vec.Softmax(d.Source, n)
	if o.Combinations > 0 {
		d.Outputs, d.Weights = o.Combinations, o.Width
		if d.Weights == 0 {
			d.Weights = defaultWidth
		}
		d.Gradients = gradients(model, n, d.Outputs, d.Weights, o.Seed)
	}
	return d, nil
}

// Network returns the network with the weights, its source head included.
func Network(w *vision.Weights) (*vision.Network[float32], error) {
	net, err := vision.New[float32](w.Model, w.Classes)
	if err != nil {
		return nil, err
	}
	if err := net.SetBody(w); err != nil {
		return nil, err
	}
	return net, net.SetHead(w)
}

func gradients(model *tangent.Model[float32], n, combinations, width int, seed uint64) []float64 {
	_, classes, weights := model.Shape()
	rng := stream.New("selection/embedded/sketch", seed)
	place, sign := make([]int32, weights), make([]float64, weights)
	for i := range place {
		place[i] = int32(rng.IntN(width))
		sign[i] = 1
		if rng.Uint64()&1 == 0 {
			sign[i] = -1
		}
	}
	// All images share the combinations: with others for each, the products of
	// two images' gradients would vanish in expectation.
	sums := make([]float32, combinations*classes)
	for j := range sums {
		sums[j] = float32(rng.NormFloat64() / math.Sqrt(float64(combinations)))
	}
	out := make([]float64, n*combinations*width)
	for i := range n {
		model.Combinations(i, sums, func(k int, derivative []float64) {
			to := out[(i*combinations+k)*width:][:width]
			for j, v := range derivative {
				to[place[j]] += sign[j] * v
			}
		})
	}
	return out
}

// Means returns the mean features of the network for each class of labelled
// images and the numbers of images, as [selection.DomainSimilarity] needs them of
// the network's source.
func Means(w *vision.Weights, pixels []float32, labels []int, classes int) (means, weights []float64, err error) {
	net, err := Network(w)
	if err != nil {
		return nil, nil, err
	}
	model, err := tangent.New(net, pixels, tangent.Head)
	if err != nil {
		return nil, nil, err
	}
	dim := net.Features()
	features := make([]float64, len(labels)*dim)
	model.Features(features, nil)
	sums, counts := make([]float64, classes*dim), make([]float64, classes)
	for i, y := range labels {
		if y < 0 || y >= classes {
			return nil, nil, fmt.Errorf("probing %s: image %d has the class %d of %d", w.Model, i, y, classes)
		}
		counts[y]++
		for j, v := range features[i*dim : (i+1)*dim] {
			sums[y*dim+j] += v
		}
	}
	for y, count := range counts {
		if count == 0 {
			continue
		}
		weights = append(weights, count)
		for _, v := range sums[y*dim : (y+1)*dim] {
			means = append(means, v/count)
		}
	}
	return means, weights, nil
}
