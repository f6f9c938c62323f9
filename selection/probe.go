// Package selection scores pretrained models for a data set without fine-tuning
// them: from one pass of each model over a few labelled images it estimates
// which model would do best.
//
// A [Probe] holds what one model says about a sample of a data set: features,
// labels and, where a score asks for them, probabilities of the source classes,
// gradients and more. A [Scorer] turns a probe into one number, higher for a
// better model; the numbers of one scorer compare the models of a pool on one
// data set and mean nothing across data sets. There is one file a score, with
// its citation; [All] lists them, package evaluate measures how well they rank
// and package published repeats the rankings of published tables.
//
// The package refuses to guess: a probe with a single class, with features that
// do not vary or with a value that is not finite is an error, and no score is
// ever NaN or infinite. It runs no network.
package selection

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"quicktune/internal/stream"
)

// PerClass is how many images of a class the published benchmark of LFC draws
// at most (Deshpande et al., arXiv:2102.00084).
const PerClass = 25

// Data is the raw material of a [Probe]. Matrices are row-major with one row an
// image, in the order of Labels.
type Data struct {
	// Model is the name of the pretrained model; StaticPrior and Random need it.
	Model string
	// Labels are the classes of the target data set, any integers. The classes
	// of a probe are the distinct ones in ascending order.
	Labels []int
	// Features are N x Dim activations before the model's last layer.
	Features []float64
	Dim      int
	// Source are N x SourceClasses probabilities of the model's own classes,
	// each row summing to 1. Optional.
	Source        []float64
	SourceClasses int
	// Gradients are N x Outputs x Weights derivatives of each output of the
	// model by the weights of one layer. Optional. RandomProjection makes wide
	// ones narrow.
	Gradients []float64
	Outputs   int
	Weights   int
	// Reference are N x ReferenceDim features of a small network trained on
	// the target data set. Optional.
	Reference    []float64
	ReferenceDim int
	// SourceMeans are the features of the model's own training classes, one
	// mean a row (S x Dim), and SourceWeights the S numbers of their images.
	// Optional.
	SourceMeans   []float64
	SourceWeights []float64
}

// Sample draws at most perClass rows of each class at random and returns their
// indices in ascending order. The draw depends on seed and labels alone, so
// that every model of a pool is probed on the same images.
func Sample(labels []int, perClass int, seed uint64) []int {
	rows := map[int][]int{}
	for i, y := range labels {
		rows[y] = append(rows[y], i)
	}
	var chosen []int
	for y, members := range rows {
		if len(members) > perClass {
			rng := stream.New("selection/sample", seed, uint64(y))
			rng.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
			members = members[:max(perClass, 0)]
		}
		chosen = append(chosen, members...)
	}
	slices.Sort(chosen)
	return chosen
}

// Rows returns the given rows of every matrix of d, copied.
func (d Data) Rows(rows []int) (Data, error) {
	n := len(d.Labels)
	for _, r := range rows {
		if r < 0 || r >= n {
			return Data{}, fmt.Errorf("selection: row %d of %d", r, n)
		}
	}
	if err := d.checkShapes(); err != nil {
		return Data{}, err
	}
	pick := func(x []float64, width int) []float64 {
		if x == nil {
			return nil
		}
		out := make([]float64, 0, len(rows)*width)
		for _, r := range rows {
			out = append(out, x[r*width:(r+1)*width]...)
		}
		return out
	}
	labels := make([]int, len(rows))
	for i, r := range rows {
		labels[i] = d.Labels[r]
	}
	d.Labels = labels
	d.Features = pick(d.Features, d.Dim)
	d.Source = pick(d.Source, d.SourceClasses)
	d.Gradients = pick(d.Gradients, d.Outputs*d.Weights)
	d.Reference = pick(d.Reference, d.ReferenceDim)
	return d, nil
}

func (d Data) checkShapes() error {
	n := len(d.Labels)
	for _, m := range []struct {
		name     string
		x        []float64
		optional bool
		dims     []int
	}{
		{"features", d.Features, false, []int{n, d.Dim}},
		{"source probabilities", d.Source, true, []int{n, d.SourceClasses}},
		{"gradients", d.Gradients, true, []int{n, d.Outputs, d.Weights}},
		{"reference features", d.Reference, true, []int{n, d.ReferenceDim}},
		{"source means", d.SourceMeans, true, []int{len(d.SourceWeights), d.Dim}},
	} {
		if m.optional && m.x == nil {
			continue
		}
		if !shaped(len(m.x), m.dims) {
			return fmt.Errorf("selection: %d %s do not make a matrix of shape %v", len(m.x), m.name, m.dims)
		}
	}
	return nil
}

// shaped tells whether length is the product of positive dims, without
// overflowing.
func shaped(length int, dims []int) bool {
	for _, d := range dims {
		if d <= 0 || length%d != 0 {
			return false
		}
		length /= d
	}
	return length == 1
}

// Probe is checked [Data] and the statistics that scores share, computed when
// first asked for. It may be used by several goroutines at once; the slices it
// was made from must not change meanwhile.
type Probe struct {
	data    Data
	n       int   // images
	classes int   // distinct labels
	labels  []int // class of each image, in [0, classes)
	names   []int // label of each class
	counts  []int // images of each class

	features  lazy[*gram]
	gradients lazy[*gram]
	spectrum  lazy[*spectrum]
	counted   lazy[activity]
}

// lazy is a value that is computed once.
type lazy[T any] struct {
	once  sync.Once
	value T
	err   error
}

func (l *lazy[T]) get(compute func() (T, error)) (T, error) {
	l.once.Do(func() { l.value, l.err = compute() })
	return l.value, l.err
}

// hugest bounds the largest magnitude of a matrix, and its inverse.
const hugest = 1e50

// NewProbe checks d. It is an error if a shape is wrong, a value is not finite,
// probabilities are negative or do not sum to 1, all images have one class, or
// no feature varies.
func NewProbe(d Data) (*Probe, error) {
	if len(d.Labels) < 2 {
		return nil, fmt.Errorf("selection: a probe of %d images; at least 2 are needed", len(d.Labels))
	}
	if err := d.checkShapes(); err != nil {
		return nil, err
	}
	for _, m := range []struct {
		name  string
		x     []float64
		width int
	}{
		{"feature", d.Features, d.Dim},
		{"source probability", d.Source, d.SourceClasses},
		{"gradient", d.Gradients, d.Outputs * d.Weights},
		{"reference feature", d.Reference, d.ReferenceDim},
		{"source mean", d.SourceMeans, d.Dim},
		{"source weight", d.SourceWeights, 1},
	} {
		largest := magnitude(m.x)
		if math.IsNaN(largest) || math.IsInf(largest, 0) {
			i := firstNotFinite(m.x)
			return nil, fmt.Errorf("selection: %s %d of row %d is %v", m.name, i%m.width, i/m.width, m.x[i])
		}
		if largest > 0 && (largest > hugest || largest < 1/hugest) {
			return nil, fmt.Errorf("selection: the largest %s is %v, whose powers double precision cannot hold; scale them", m.name, largest)
		}
	}
	if err := checkProbabilities(d.Source, d.SourceClasses); err != nil {
		return nil, err
	}
	for s, w := range d.SourceWeights {
		if w <= 0 {
			return nil, fmt.Errorf("selection: source class %d has the weight %v; it must be positive", s, w)
		}
	}
	p := &Probe{data: d, n: len(d.Labels), labels: make([]int, len(d.Labels))}
	p.names = slices.Clone(d.Labels)
	slices.Sort(p.names)
	p.names = slices.Compact(p.names)
	p.classes = len(p.names)
	if p.classes == 1 {
		return nil, fmt.Errorf("selection: all %d images are of class %d; scores need at least two classes", p.n, p.names[0])
	}
	p.counts = make([]int, p.classes)
	for i, y := range d.Labels {
		c, _ := slices.BinarySearch(p.names, y)
		p.labels[i] = c
		p.counts[c]++
	}
	if constant(d.Features, p.n, d.Dim) {
		return nil, errors.New("selection: the features are the same for every image")
	}
	return p, nil
}

// N returns the number of images.
func (p *Probe) N() int { return p.n }

// Dim returns the number of features.
func (p *Probe) Dim() int { return p.data.Dim }

// Classes returns the number of distinct labels.
func (p *Probe) Classes() int { return p.classes }

// Model returns the name of the model.
func (p *Probe) Model() string { return p.data.Model }

// magnitude returns the largest magnitude, and NaN or an infinity if there is
// one.
func magnitude(x []float64) float64 {
	// Without their sign, the bits of numbers are in the order of magnitudes,
	// infinity and NaN above all. Four maxima do not wait for each other.
	const sign = 1 << 63
	var m0, m1, m2, m3 uint64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		m0 = max(m0, math.Float64bits(x[i])&^sign)
		m1 = max(m1, math.Float64bits(x[i+1])&^sign)
		m2 = max(m2, math.Float64bits(x[i+2])&^sign)
		m3 = max(m3, math.Float64bits(x[i+3])&^sign)
	}
	for ; i < len(x); i++ {
		m0 = max(m0, math.Float64bits(x[i])&^sign)
	}
	return math.Float64frombits(max(m0, m1, m2, m3))
}

// firstNotFinite returns the index of the first NaN or infinity, -1 without.
func firstNotFinite(x []float64) int {
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}

func checkProbabilities(p []float64, classes int) error {
	const slack = 1e-3 // of probabilities stored with few digits
	for i := 0; i < len(p); i += max(classes, 1) {
		row := p[i : i+classes]
		for z, v := range row {
			if v < 0 {
				return fmt.Errorf("selection: source probability %d of row %d is %v; it must not be negative", z, i/classes, v)
			}
		}
		sum := sum(row)
		if math.Abs(sum-1) > slack {
			return fmt.Errorf("selection: the source probabilities of row %d sum to %v, not to 1", i/classes, sum)
		}
	}
	return nil
}

// sum adds up in four parts, which do not wait for each other.
func sum(x []float64) float64 {
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		s0 += x[i]
		s1 += x[i+1]
		s2 += x[i+2]
		s3 += x[i+3]
	}
	for ; i < len(x); i++ {
		s0 += x[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// constant tells whether every row of x equals the first.
func constant(x []float64, n, d int) bool {
	for i := 1; i < n; i++ {
		if !slices.Equal(x[i*d:(i+1)*d], x[:d]) {
			return false
		}
	}
	return true
}
