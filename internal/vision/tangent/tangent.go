// Package tangent gives the outputs of the embedded networks on fixed images
// and their derivatives by the weights: the Jacobian that package traintime
// predicts from, and the gradients that package selection scores.
//
// Networks are taken as they are evaluated: batch normalisation uses its
// running statistics, which makes every image's output a function of that image
// alone, and nothing is dropped. The package refuses to change a weight; only
// [Model.Multiply] moves them, and puts them back.
package tangent

import (
	"fmt"
	"math"

	"quicktune/internal/nn/layers"
	"quicktune/internal/vision"
)

// Float is the element type of a network.
type Float = vision.Float

// Scope says which weights count. Running statistics never do.
type Scope uint8

// The scopes.
const (
	// Head is the last, linear layer: for it the network is linear and the
	// kernel of its Jacobian is a Kronecker product, which [traintime.LastLayer]
	// makes from features at a fraction of the cost.
	Head Scope = iota
	// LastBlock is the last block that has weights, with the head.
	LastBlock
	// All is every weight of the network.
	All
	// LastMatrix is the last weight matrix of the body, without its bias: the
	// last convolution of a convolutional network.
	LastMatrix
)

var scopeNames = [...]string{"last layer", "last block", "full network", "last matrix"}

// String returns a name of two words.
func (s Scope) String() string {
	if int(s) >= len(scopeNames) {
		return fmt.Sprintf("scope %d", s)
	}
	return scopeNames[s]
}

// evalBatch is the number of images of a forward pass.
const evalBatch = 64

// Pixels is the number of values of an image.
const Pixels = vision.Side * vision.Side * vision.Channels

// Model is a network on fixed images. It implements [traintime.Jacobian] and
// [traintime.Network] and is for one goroutine.
type Model[T Float] struct {
	net     *vision.Network[T]
	images  []T
	n       int
	first   int // block below which no derivative is wanted
	params  []*layers.Param[T]
	all     []*layers.Param[T] // those a backward pass adds to
	weights int
	context layers.Context[T]
}

// New returns a network on images, as many times [Pixels] values, normalised as
// the trainer does. The network must not be used otherwise meanwhile.
func New[T Float](net *vision.Network[T], images []T, scope Scope) (*Model[T], error) {
	if len(images) == 0 || len(images)%Pixels != 0 {
		return nil, fmt.Errorf("tangent: %d values are no images of %d", len(images), Pixels)
	}
	m := &Model[T]{net: net, images: images, n: len(images) / Pixels, first: len(net.Blocks)}
	switch scope {
	case Head:
		m.params = net.Head.Params()
	case LastBlock, LastMatrix:
		for m.first > 0 && len(m.params) == 0 {
			m.first--
			m.params = learned(net.Blocks[m.first].Layer.Params())
			if scope == LastMatrix {
				m.params = lastMatrix(m.params)
			}
		}
		if scope == LastBlock {
			m.params = append(m.params, net.Head.Params()...)
		}
	case All:
		m.first = 0
		m.params = learned(net.Params())
	default:
		return nil, fmt.Errorf("tangent: unknown %v", scope)
	}
	m.all = net.Params()
	for _, p := range m.params {
		m.weights += len(p.Value)
	}
	if m.weights == 0 {
		return nil, fmt.Errorf("tangent: the %v of %s has no weights", scope, net.Name)
	}
	return m, nil
}

func learned[T Float](params []*layers.Param[T]) []*layers.Param[T] {
	var out []*layers.Param[T]
	for _, p := range params {
		if !p.Fixed {
			out = append(out, p)
		}
	}
	return out
}

// lastMatrix keeps the last parameter of at least two axes.
func lastMatrix[T Float](params []*layers.Param[T]) []*layers.Param[T] {
	for i := len(params) - 1; i >= 0; i-- {
		if len(params[i].Shape) > 1 {
			return params[i : i+1]
		}
	}
	return nil
}

// Shape returns the numbers of images, outputs and weights.
func (m *Model[T]) Shape() (samples, outputs, weights int) { return m.n, m.net.Head.Out, m.weights }

// batch returns images lo to hi-1.
func (m *Model[T]) batch(lo, hi int) layers.Batch[T] {
	return layers.Batch[T]{N: hi - lo, H: vision.Side, W: vision.Side, C: vision.Channels, Data: m.images[lo*Pixels : hi*Pixels]}
}

// Features writes the inputs of the last layer, images x [vision.Network.Features],
// to features and the outputs, images x classes, to outputs. Either may be nil.
func (m *Model[T]) Features(features, outputs []float64) {
	d, c := m.net.Features(), m.net.Head.Out
	for lo := 0; lo < m.n; lo += evalBatch {
		hi := min(lo+evalBatch, m.n)
		f := m.net.Body(&m.context, m.batch(lo, hi))
		if features != nil {
			widen(features[lo*d:hi*d], f.Data)
		}
		if outputs != nil {
			widen(outputs[lo*c:hi*c], m.net.Classify(&m.context, f).Data)
		}
	}
}

func widen[T Float](dst []float64, src []T) {
	for i, v := range src[:len(dst)] {
		dst[i] = float64(v)
	}
}

// Outputs writes the outputs, images x classes.
func (m *Model[T]) Outputs(dst []float64) error {
	m.Features(nil, dst)
	return nil
}

// Weights writes the weights in the order of the Jacobian's columns.
func (m *Model[T]) Weights(dst []float64) {
	for _, p := range m.params {
		widen(dst[:len(p.Value)], p.Value)
		dst = dst[len(p.Value):]
	}
}

// Rows writes the Jacobian of images lo to hi-1 to dst, (hi-lo)*classes x
// weights: one backward pass of a single image for each row, none for the last
// layer alone.
func (m *Model[T]) Rows(dst []float64, lo, hi int) error {
	c := m.net.Head.Out
	unit := make([]T, c)
	for i := lo; i < hi; i++ {
		if m.first == len(m.net.Blocks) {
			m.headRows(dst[(i-lo)*c*m.weights:(i-lo+1)*c*m.weights], i)
			continue
		}
		trunk := m.trunk(i)
		for o := range c {
			unit[o] = 1
			m.pull(dst[((i-lo)*c+o)*m.weights:][:m.weights], trunk, unit)
			unit[o] = 0
		}
	}
	return nil
}

// Combinations calls use with the derivative of each of some weighted sums of an
// image's outputs, one a row of weights, sums x classes. The derivative is valid
// during the call.
func (m *Model[T]) Combinations(image int, weights []T, use func(sum int, derivative []float64)) {
	c := m.net.Head.Out
	trunk := m.trunk(image)
	derivative := make([]float64, m.weights)
	for s := range len(weights) / c {
		m.pull(derivative, trunk, weights[s*c:(s+1)*c])
		use(s, derivative)
	}
}

// trunk returns what enters the first block of the scope.
func (m *Model[T]) trunk(image int) layers.Batch[T] {
	x := m.batch(image, image+1)
	for _, b := range m.net.Blocks[:m.first] {
		x = b.Layer.Forward(&m.context, x)
	}
	return x
}

func (m *Model[T]) pull(dst []float64, x layers.Batch[T], combination []T) {
	// Layers may overwrite in the backward pass what the forward pass left.
	for _, b := range m.net.Blocks[m.first:] {
		x = b.Layer.Forward(&m.context, x)
	}
	y := m.net.Classify(&m.context, x)
	for _, p := range m.all {
		clear(p.Grad)
	}
	dy := y
	dy.Data = m.context.Get(y.Len())
	copy(dy.Data, combination)
	body := m.first < len(m.net.Blocks)
	df := m.net.ClassifyBack(&m.context, dy, body)
	if body {
		m.net.BodyBack(&m.context, df, m.first)
	}
	for _, p := range m.params {
		widen(dst[:len(p.Grad)], p.Grad)
		dst = dst[len(p.Grad):]
	}
	for _, p := range m.all {
		clear(p.Grad)
	}
}

// headRows writes the rows of an image for the head alone: features for the
// weights, [features, classes], and 1 for the bias.
func (m *Model[T]) headRows(dst []float64, image int) {
	clear(dst)
	d, c := m.net.Features(), m.net.Head.Out
	f := m.trunk(image).Data
	for o := range c {
		row := dst[o*m.weights : (o+1)*m.weights]
		for j, v := range f[:d] {
			row[j*c+o] = float64(v)
		}
		row[d*c+o] = 1
	}
}

// Multiply writes the Jacobian times a direction, images x classes, by a central
// difference: two forward passes of all images, whatever the number of outputs.
// Its relative error is about 1e-8 in double and 1e-3 in single precision.
func (m *Model[T]) Multiply(dst, direction []float64) error {
	if len(direction) != m.weights {
		return fmt.Errorf("tangent: a direction of %d weights, want %d", len(direction), m.weights)
	}
	size, length, square := 0.0, 0.0, 0.0
	before := make([]float64, m.weights)
	m.Weights(before)
	for i, d := range direction {
		length += d * d
		square += before[i] * before[i]
	}
	clear(dst)
	if length == 0 {
		return nil
	}
	size = math.Cbrt(float64(epsilon[T]())) * max(math.Sqrt(square/length), 1e-3)
	other := make([]float64, len(dst))
	defer m.set(before, before, 0)
	m.set(before, direction, size)
	m.Features(nil, dst)
	m.set(before, direction, -size)
	m.Features(nil, other)
	for i := range dst {
		dst[i] = (dst[i] - other[i]) / (2 * size)
	}
	return nil
}

// set moves the weights to start + step*direction.
func (m *Model[T]) set(start, direction []float64, step float64) {
	at := 0
	for _, p := range m.params {
		for i := range p.Value {
			p.Value[i] = T(start[at] + step*direction[at])
			at++
		}
	}
}

// epsilon is the distance from 1 to the next number.
func epsilon[T Float]() T {
	e := T(1)
	for T(1)+e/2 != T(1) {
		e /= 2
	}
	return e
}
