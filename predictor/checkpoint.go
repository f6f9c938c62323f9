package predictor

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"quicktune/internal/nn"
	"quicktune/internal/safetensors"
	"quicktune/search"
)

// CheckpointVersion is the version of checkpoints that this package writes, and
// the only one that it reads.
const CheckpointVersion = 1

const checkpointKind = "quicktune-predictor"

// Model is what meta-training gives: both predictors and how to feed them.
type Model struct {
	Info        Info
	Performance *DeepKernel
	Cost        *Cost
}

// Info is the header of a checkpoint: all that is needed to use its weights
// correctly, and where they come from.
type Info struct {
	// SpaceHash identifies the search space whose configurations the
	// predictors understand; the caller compares it with that of its space.
	SpaceHash string `json:"space_hash"`
	// Metric is the score that is predicted, such as val_accuracy.
	Metric string `json:"metric"`
	// Unit maps scores to what is predicted; nothing has to be done to
	// accuracies.
	Unit search.UnitScale `json:"unit,omitzero"`
	// Encoder makes the inputs from configurations; nil if the caller does.
	Encoder *Encoder `json:"encoder,omitempty"`
	// MetaScale and CostMetaScale divide the data set's descriptors for the
	// two predictors. 0 means that the caller transforms them otherwise.
	MetaScale     float64 `json:"meta_scale"`
	CostMetaScale float64 `json:"cost_meta_scale"`
	// DataHash identifies the meta-dataset that the weights were trained on; ""
	// if that is not known.
	DataHash string `json:"data_hash,omitempty"`
	// Training tells how the weights were made; nil if that is not known.
	Training *TrainingInfo `json:"training,omitempty"`
}

// TrainingInfo records a meta-training.
type TrainingInfo struct {
	Seed       uint64   `json:"seed"`
	Iterations int      `json:"iterations"`
	Train      []string `json:"train"`      // names of the data sets
	Validation []string `json:"validation"` // names of the data sets
	// Best is the iteration whose weights were kept, and Error their mean
	// squared validation error; without validation Best is the last and Error
	// is absent.
	Best  int      `json:"best"`
	Error *float64 `json:"error,omitempty"`
}

// header is what stands in the metadata of the file, as one JSON text.
type header struct {
	Version      int          `json:"version"`
	Architecture Architecture `json:"architecture"`
	NoiseFloor   float64      `json:"noise_floor"`
	CostOptions  CostOptions  `json:"cost_options"`
	Info
}

// Save writes a model to a file, atomically: a safetensors file of F64 tensors
// whose names are torch's, prefixed by "performance." and "cost.", and whose
// metadata hold the key "quicktune-predictor" with Info and the architecture as
// JSON.
func (m *Model) Save(path string) error {
	if m.Performance == nil || m.Cost == nil {
		return fmt.Errorf("%s: a checkpoint needs both predictors", path)
	}
	h := header{
		Version:      CheckpointVersion,
		Architecture: m.Performance.arch,
		NoiseFloor:   m.Performance.raw.NoiseFloor,
		CostOptions:  m.Cost.opt,
		Info:         m.Info,
	}
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f := safetensors.File{Metadata: map[string]string{checkpointKind: string(text)}}
	f.Tensors = appendTensors(f.Tensors, "performance.", m.Performance.params)
	f.Tensors = appendTensors(f.Tensors, "cost.", m.Cost.params)
	return safetensors.WriteFile(path, f)
}

// Load reads a model from a file that [Model.Save] wrote. It fails on a file of
// another kind or version, on tensors that are missing, superfluous, of the
// wrong size or not finite, and on an encoder that does not fit.
func Load(path string) (*Model, error) {
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := modelFrom(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func modelFrom(f *safetensors.File) (*Model, error) {
	text, ok := f.Metadata[checkpointKind]
	if !ok {
		return nil, errors.New("no predictor checkpoint: the metadata lack " + checkpointKind)
	}
	var h header
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if h.Version != CheckpointVersion {
		return nil, fmt.Errorf("checkpoint version %d; this program reads version %d", h.Version, CheckpointVersion)
	}
	if err := h.Architecture.Validate(); err != nil {
		return nil, err
	}
	if n := h.Architecture.weights(); n > elementsOf(f) {
		return nil, fmt.Errorf("the architecture has %d weights, the file holds %d", n, elementsOf(f))
	}
	if !(h.NoiseFloor >= 0 && h.NoiseFloor <= 1) {
		return nil, fmt.Errorf("noise floor %v is outside [0, 1]", h.NoiseFloor)
	}
	if !(h.Unit.Loss >= 0) || math.IsInf(h.Unit.Loss, 0) {
		return nil, fmt.Errorf("a usual loss of %v, want a positive number or none", h.Unit.Loss)
	}
	if h.MetaScale < 0 || h.CostMetaScale < 0 {
		return nil, fmt.Errorf("scales %v and %v of the descriptors must not be negative", h.MetaScale, h.CostMetaScale)
	}
	if h.Encoder != nil {
		if err := h.Encoder.prepare(); err != nil {
			return nil, err
		}
		if n := h.Architecture.Config(); n != len(h.Encoder.Columns) {
			return nil, fmt.Errorf("the encoder makes %d inputs, the architecture takes %d", len(h.Encoder.Columns), n)
		}
	}
	m := &Model{Info: h.Info, Performance: newDeepKernel(h.Architecture), Cost: newCost(h.Architecture, h.CostOptions)}
	m.Performance.raw.NoiseFloor = h.NoiseFloor
	performance, cost := Weights{}, Weights{}
	for _, t := range f.Tensors {
		if name, ok := strings.CutPrefix(t.Name, "performance."); ok {
			performance[name] = t.Data
		} else if name, ok := strings.CutPrefix(t.Name, "cost."); ok {
			cost[name] = t.Data
		} else {
			return nil, fmt.Errorf("tensor %q belongs to neither predictor", t.Name)
		}
	}
	if err := setWeights(m.Performance.params, performance); err != nil {
		return nil, err
	}
	if err := setWeights(m.Cost.params, cost); err != nil {
		return nil, err
	}
	return m, nil
}

// weights is a lower bound of the number of weights that both predictors have:
// a file that claims a huge architecture is refused before memory is taken.
func (a Architecture) weights() int {
	return a.Hidden*(a.Config()+a.Embedding+a.CurveOut) + a.CurveOut*a.Channels*(a.MaxEpochs/2)
}

func elementsOf(f *safetensors.File) int {
	n := 0
	for _, t := range f.Tensors {
		n += len(t.Data)
	}
	return n
}

func appendTensors(ts []safetensors.Tensor, prefix string, p *nn.Params) []safetensors.Tensor {
	for _, t := range p.Tensors {
		ts = append(ts, safetensors.Tensor{Name: prefix + t.Name, Type: safetensors.F64, Shape: t.Shape, Data: t.Value})
	}
	return ts
}
