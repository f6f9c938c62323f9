package trainer

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"quicktune/internal/nn/layers"
	"quicktune/internal/vision"
)

// Trained returns the weights in the checkpoint of a trial of [Embedded] on a
// data set of so many classes, and the epoch after which they were written. It
// fails if the directory holds no checkpoint, or a damaged one.
func Trained(checkpoint string, classes int) (*vision.Weights, int, error) {
	path := filepath.Join(checkpoint, checkpointName)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, err
	}
	h, numbers, ok := decodeCheckpoint(data)
	if !ok {
		return nil, 0, fmt.Errorf("%s is damaged", path)
	}
	var r Request
	if err := json.Unmarshal([]byte(h.Request), &r); err != nil {
		return nil, 0, fmt.Errorf("%s does not say what was trained: %w", path, err)
	}
	n, err := vision.New[float32](r.Model, classes)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	for _, p := range n.Params() {
		if len(numbers) < 4*len(p.Value) {
			return nil, 0, fmt.Errorf("%s holds fewer numbers than network %s has for %d classes", path, r.Model, classes)
		}
		for i := range p.Value {
			p.Value[i] = math.Float32frombits(binary.LittleEndian.Uint32(numbers[4*i:]))
		}
		numbers = numbers[4*len(p.Value):]
	}
	w := n.Weights()
	w.Source = r.Dataset
	return w, h.Epoch, nil
}

// Batch returns images as networks take them. pixels are laid out as in [Split].
func Batch(pixels []uint8) layers.Batch[float32] {
	x := make([]float32, len(pixels))
	for i, v := range pixels {
		x[i] = normalized[v]
	}
	return batch(x, len(pixels)/Pixels)
}
