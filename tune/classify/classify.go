// Package classify uses a network that was fine-tuned: it reads and writes the
// one file that holds it, names the classes of pictures, and counts how often it
// is right.
//
// The file is safetensors with the weights by name; its metadata name the
// network, what it was trained on and, as a JSON list, the classes. The package
// refuses to train.
package classify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"

	"quicktune/generate/trainer"
	"quicktune/internal/atomicfile"
	"quicktune/internal/nn/layers"
	"quicktune/internal/nn/vec"
	"quicktune/internal/safetensors"
	"quicktune/internal/vision"
)

// classesKey is the entry of the metadata with the names of the classes.
const classesKey = "classes"

// batch is the number of pictures that are classified at a time.
const batch = 64

// Model is a network with the names of its classes. It is used by one goroutine.
type Model struct {
	Weights *vision.Weights
	Classes []string

	net *vision.Network[float32]
	ctx layers.Context[float32]
}

// New makes a model of weights that come with a head for the classes.
func New(w *vision.Weights, classes []string) (*Model, error) {
	if w.Classes != len(classes) {
		return nil, fmt.Errorf("weights for %d classes, but %d names", w.Classes, len(classes))
	}
	net, err := vision.New[float32](w.Model, w.Classes)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(net.SetBody(w), net.SetHead(w)); err != nil {
		return nil, err
	}
	return &Model{Weights: w, Classes: classes, net: net}, nil
}

// Load reads a model that Save wrote.
func Load(path string) (*Model, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func decode(data []byte) (*Model, error) {
	f, err := safetensors.Decode(data)
	if err != nil {
		return nil, err
	}
	var classes []string
	if err := json.Unmarshal([]byte(f.Metadata[classesKey]), &classes); err != nil {
		return nil, errors.New("the file does not name its classes: it was not made by tune")
	}
	w, err := vision.DecodeWeights(data)
	if err != nil {
		return nil, err
	}
	return New(w, classes)
}

// Encode returns the bytes of the file.
func (m *Model) Encode() ([]byte, error) {
	data, err := m.Weights.Encode()
	if err != nil {
		return nil, err
	}
	f, err := safetensors.Decode(data)
	if err != nil {
		return nil, err
	}
	names, err := json.Marshal(m.Classes)
	if err != nil {
		return nil, err
	}
	f.Metadata[classesKey] = string(names)
	return safetensors.Encode(*f)
}

// Save writes the model to a file, atomically.
func (m *Model) Save(path string) error {
	data, err := m.Encode()
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, data)
}

// Probabilities returns one row of class probabilities for each picture; pixels
// are laid out as in [trainer.Split].
func (m *Model) Probabilities(ctx context.Context, pixels []uint8) ([][]float32, error) {
	n := len(pixels) / trainer.Pixels
	out := make([][]float32, 0, n)
	for i := 0; i < n; i += batch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		k := min(batch, n-i)
		x := trainer.Batch(pixels[i*trainer.Pixels : (i+k)*trainer.Pixels])
		logits := m.net.Classify(&m.ctx, m.net.Body(&m.ctx, x)).Data
		vec.Softmax(logits, k)
		classes := len(m.Classes)
		for j := range k {
			out = append(out, append([]float32(nil), logits[j*classes:(j+1)*classes]...))
		}
	}
	return out, nil
}

// Confusion counts pictures by their class and by the class that they are taken
// for; pairs that do not occur are left out.
type Confusion map[[2]int]int

// Right is the number of pictures whose class is recognised.
func (c Confusion) Right() int {
	n := 0
	for pair, count := range c {
		if pair[0] == pair[1] {
			n += count
		}
	}
	return n
}

// Confusion classifies the pictures of a split.
func (m *Model) Confusion(ctx context.Context, d trainer.Split) (Confusion, error) {
	out := make(Confusion)
	for i := 0; i < d.Len(); i += batch {
		k := min(batch, d.Len()-i)
		p, err := m.Probabilities(ctx, d.Pixels[i*trainer.Pixels:(i+k)*trainer.Pixels])
		if err != nil {
			return nil, err
		}
		for j, row := range p {
			out[[2]int{d.Labels[i+j], Best(row)}]++
		}
	}
	return out, nil
}

// Best is the most probable class.
func Best(p []float32) int {
	best := 0
	for i, v := range p {
		if v > p[best] {
			best = i
		}
	}
	return best
}

// Interval is a 95 % confidence interval for a probability of which right of n
// independent trials are known: Wilson, "Probable Inference, the Law of
// Succession, and Statistical Inference", Journal of the American Statistical
// Association 22, 1927. It is [0, 1] for no trials.
func Interval(right, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	const z = 1.959963984540054
	p, m := float64(right)/float64(n), float64(n)
	centre := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return max(0, centre-half), min(1, centre+half)
}
