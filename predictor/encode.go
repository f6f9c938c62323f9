package predictor

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"quicktune/space"
	"quicktune/space/quicktunetable"
)

// Encoder turns configurations into inputs of the published predictor: those of
// [space.QuickTune] into the published 69, those of any other space into the
// columns of [space.Encoding], in the same blocks.
//
// The released tables have 71 columns; the predictor had 69. The difference is
// data augmentation: four one-hot columns there, the two booleans
// random_augment and trivial_augment here (auto_augment shows in its policy,
// None in the absence of all three). Columns come in three blocks: 24 model
// indicators in alphabetical order, 17 other indicators (policy, optimiser,
// betas, schedule), 28 numbers and booleans. Within a block the order is
// alphabetical, but for clip_grad and layer_decay, which are last.
//
// The 28 numbers are standardised with the mean and the sample deviation of the
// configurations that the encoder is made from; a column that does not vary
// stays as it is. None is -1 and a hyperparameter that does not apply has its
// default, before that.
//
// There are no logarithms, not even of learning rates: this is the published
// encoding.
type Encoder struct {
	Columns []string  `json:"columns"`
	Mean    []float64 `json:"mean"`
	Std     []float64 `json:"std"`
	// Space and ModelParam, the hyperparameter that names the pretrained
	// model, are those of another space than Quick-Tune's. nil and "" there.
	Space      *space.Space `json:"space,omitempty"`
	ModelParam string       `json:"model_param,omitempty"`

	groups  []int
	layout  *quicktunetable.Layout // of Quick-Tune's space
	general *space.Encoder         // of another
	column  []int                  // its place of each of Columns
}

// ReferenceInputs is the number of inputs that an Encoder makes.
const ReferenceInputs = 69

// NewEncoder makes the encoder whose standardisation fits the given
// configurations of a space, in which modelParam names the pretrained model (""
// if nothing does). The reference takes those of a whole version of the
// meta-dataset, test data sets included; a clean evaluation gives those of the
// training data sets only.
func NewEncoder(s *space.Space, modelParam string, configs []space.Config) (*Encoder, error) {
	if len(configs) == 0 {
		return nil, errors.New("predictor: an encoder needs at least one configuration to be made from")
	}
	if s.Hash() != space.QuickTune().Hash() {
		return newGeneralEncoder(s, modelParam, configs)
	}
	e := &Encoder{Columns: referenceColumns()}
	n := len(e.Columns)
	e.Mean, e.Std = make([]float64, n), make([]float64, n)
	for j := range e.Std {
		e.Std[j] = 1
	}
	if err := e.prepare(); err != nil {
		return nil, err
	}
	rows := make([][]float64, len(configs))
	for i, c := range configs {
		row, err := e.layout.ToRow(nil, c)
		if err != nil {
			return nil, fmt.Errorf("predictor: configuration %d: %w", i, err)
		}
		rows[i] = row
	}
	for j, name := range e.Columns {
		if strings.HasPrefix(name, "cat:") {
			continue
		}
		mean, m2 := 0.0, 0.0
		for i, r := range rows {
			d := r[j] - mean
			mean += d / float64(i+1)
			m2 += d * (r[j] - mean)
		}
		if sd := math.Sqrt(m2 / float64(len(rows)-1)); sd > 1e-12*math.Max(1, math.Abs(mean)) {
			e.Mean[j], e.Std[j] = mean, sd
		}
	}
	return e, nil
}

// newGeneralEncoder makes the encoder of another space than Quick-Tune's.
func newGeneralEncoder(s *space.Space, modelParam string, configs []space.Config) (*Encoder, error) {
	encoding, err := space.NewEncoding(s, space.EncodingOptions{})
	if err != nil {
		return nil, fmt.Errorf("predictor: %w", err)
	}
	fitted, err := encoding.Fit(configs)
	if err != nil {
		return nil, fmt.Errorf("predictor: %w", err)
	}
	columns, _ := blocksOf(encoding.Columns(), modelParam)
	mean, scale := fitted.Scaling()
	e := &Encoder{Columns: columns, Mean: make([]float64, len(mean)), Std: make([]float64, len(mean)), Space: s, ModelParam: modelParam}
	for j, name := range columns {
		at := slices.Index(fitted.Columns(), name)
		e.Mean[j], e.Std[j] = mean[at], scale[at]
	}
	return e, e.prepare()
}

// blocksOf orders columns of a [space.Encoding] by the blocks of the published
// encoding: indicators of the pretrained model, other indicators, numbers. It
// returns the sizes of the blocks that are not empty.
func blocksOf(columns []string, modelParam string) (ordered []string, sizes []int) {
	var blocks [3][]string
	for _, name := range columns {
		param, _, indicator := strings.Cut(name, "=")
		switch {
		case indicator && param == modelParam:
			blocks[0] = append(blocks[0], name)
		case indicator:
			blocks[1] = append(blocks[1], name)
		default:
			blocks[2] = append(blocks[2], name)
		}
	}
	for _, b := range blocks {
		ordered = append(ordered, b...)
		if len(b) > 0 {
			sizes = append(sizes, len(b))
		}
	}
	return ordered, sizes
}

// UnmarshalJSON reads what json.Marshal writes. The encoder has to be prepared.
func (e *Encoder) UnmarshalJSON(data []byte) error {
	type plain Encoder // without this method
	read := struct {
		*plain
		Space json.RawMessage `json:"space"`
	}{plain: (*plain)(e)}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	e.Space = nil
	if read.Space == nil {
		return nil
	}
	var err error
	e.Space, err = space.Parse(read.Space)
	return err
}

// Groups are the sizes of the blocks of columns, for [Architecture].
func (e *Encoder) Groups() []int { return slices.Clone(e.groups) }

// prepare checks an encoder that was read from a file and makes it usable.
func (e *Encoder) prepare() error {
	if e.Space != nil {
		return e.prepareGeneral()
	}
	n := len(e.Columns)
	if n != ReferenceInputs || len(e.Mean) != n || len(e.Std) != n {
		return fmt.Errorf("predictor: encoder with %d columns, %d means and %d deviations; each must be %d", n, len(e.Mean), len(e.Std), ReferenceInputs)
	}
	for j := range n {
		if !finite(e.Mean[j]) || !finite(e.Std[j]) || e.Std[j] <= 0 {
			return fmt.Errorf("predictor: encoder column %q: mean %v or deviation %v is no usable number", e.Columns[j], e.Mean[j], e.Std[j])
		}
	}
	l, err := quicktunetable.NewLayout(e.Columns)
	if err != nil {
		return fmt.Errorf("predictor: encoder: %w", err)
	}
	e.layout, e.groups = l, Reference().Groups
	return nil
}

func (e *Encoder) prepareGeneral() error {
	encoding, err := space.NewEncoding(e.Space, space.EncodingOptions{})
	if err != nil {
		return fmt.Errorf("predictor: encoder: %w", err)
	}
	columns, groups := blocksOf(encoding.Columns(), e.ModelParam)
	n := len(columns)
	if !slices.Equal(columns, e.Columns) || len(e.Mean) != n || len(e.Std) != n {
		return fmt.Errorf("predictor: encoder with %d columns, %d means and %d deviations; its space has %d columns, perhaps others", len(e.Columns), len(e.Mean), len(e.Std), n)
	}
	mean, scale := make([]float64, n), make([]float64, n)
	e.column = make([]int, n)
	for j, name := range columns {
		at := slices.Index(encoding.Columns(), name)
		e.column[j], mean[at], scale[at] = at, e.Mean[j], e.Std[j]
	}
	if e.general, err = encoding.Restore(mean, scale); err != nil {
		return fmt.Errorf("predictor: encoder: %w", err)
	}
	e.groups = groups
	return nil
}

// Encode writes the inputs of a configuration to dst, which is allocated if it
// is nil. The configuration must be valid in the encoder's space.
func (e *Encoder) Encode(dst []float64, c space.Config) ([]float64, error) {
	if e.general != nil {
		if err := e.Space.Validate(c); err != nil {
			return nil, fmt.Errorf("predictor: %w", err)
		}
		row := e.general.Encode(nil, c)
		if dst == nil {
			dst = make([]float64, len(row))
		}
		for j, at := range e.column {
			dst[j] = row[at]
		}
		return dst, nil
	}
	row, err := e.layout.ToRow(dst, c)
	if err != nil {
		return nil, fmt.Errorf("predictor: %w", err)
	}
	for j := range row {
		row[j] = (row[j] - e.Mean[j]) / e.Std[j]
	}
	return row, nil
}

// referenceColumns orders the columns of the authors' predictor by blocks.
func referenceColumns() []string {
	var blocks [4][]string
	for _, name := range quicktunetable.Reference().Columns() {
		switch {
		case strings.HasPrefix(name, "cat:model:"):
			blocks[0] = append(blocks[0], name)
		case strings.HasPrefix(name, "cat:"):
			blocks[1] = append(blocks[1], name)
		case name == "clip_grad" || name == "layer_decay":
			blocks[3] = append(blocks[3], name)
		default:
			blocks[2] = append(blocks[2], name)
		}
	}
	var out []string
	for _, b := range blocks {
		out = append(out, b...)
	}
	return out
}
