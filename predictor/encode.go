package predictor

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"quicktune/space"
	"quicktune/space/quicktunetable"
)

// Encoder turns configurations of [space.QuickTune] into the 69 inputs of the
// published predictor.
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
type Encoder struct {
	Columns []string  `json:"columns"`
	Mean    []float64 `json:"mean"`
	Std     []float64 `json:"std"`
	// Log holds, for columns that enter as the logarithm of themselves plus an
	// offset, that offset, and 0 for the others. It is empty in the
	// reference, which uses raw learning rates.
	Log []float64 `json:"log,omitempty"`

	layout *quicktunetable.Layout
}

// ReferenceInputs is the number of inputs that an Encoder makes.
const ReferenceInputs = 69

// logColumns are the numbers whose choices span orders of magnitude.
var logColumns = map[string]bool{
	"batch_size": true, "lr": true, "warmup_lr": true, "weight_decay": true,
	"sp_reg": true, "delta_reg": true, "bss_reg": true,
}

// EncoderOptions choose between the published encoding and a better one.
type EncoderOptions struct {
	// Log takes logarithms of learning rates, weights of regularisers and the
	// batch size before they are standardised. The reference does not.
	Log bool
}

// NewEncoder makes the encoder whose standardisation fits the given
// configurations. The reference takes those of a whole version of the
// meta-dataset, test data sets included; a clean evaluation gives those of the
// training data sets only.
func NewEncoder(configs []space.Config, opt EncoderOptions) (*Encoder, error) {
	if len(configs) == 0 {
		return nil, errors.New("predictor: an encoder needs at least one configuration to be made from")
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
	if opt.Log {
		e.Log = make([]float64, n)
		for j, name := range e.Columns {
			if !logColumns[name] {
				continue
			}
			// The offset stands in for a choice of 0: a tenth of the smallest
			// choice that is not.
			least := math.Inf(1)
			for _, r := range rows {
				if r[j] > 0 {
					least = math.Min(least, r[j])
				}
			}
			if !math.IsInf(least, 1) {
				e.Log[j] = least / 10
			}
		}
		for _, r := range rows {
			e.logs(r)
		}
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

func (e *Encoder) logs(row []float64) {
	for j, offset := range e.Log {
		if offset > 0 {
			row[j] = math.Log(math.Max(row[j], 0) + offset)
		}
	}
}

// prepare checks an encoder that was read from a file and makes it usable.
func (e *Encoder) prepare() error {
	n := len(e.Columns)
	if n != ReferenceInputs || len(e.Mean) != n || len(e.Std) != n || len(e.Log) != 0 && len(e.Log) != n {
		return fmt.Errorf("predictor: encoder with %d columns, %d means, %d deviations and %d offsets; each must be %d (or no offsets)", n, len(e.Mean), len(e.Std), len(e.Log), ReferenceInputs)
	}
	for j := range n {
		bad := math.IsNaN(e.Mean[j]) || math.IsInf(e.Mean[j], 0) || !(e.Std[j] > 0) || math.IsInf(e.Std[j], 0)
		if bad || len(e.Log) > 0 && !(e.Log[j] >= 0 && e.Log[j] < math.MaxFloat64) {
			return fmt.Errorf("predictor: encoder column %q: mean, deviation or offset is no usable number", e.Columns[j])
		}
	}
	l, err := quicktunetable.NewLayout(e.Columns)
	if err != nil {
		return fmt.Errorf("predictor: encoder: %w", err)
	}
	e.layout = l
	return nil
}

// Encode writes the inputs of a configuration to dst, which is allocated if it
// is nil. The configuration must be valid in [space.QuickTune].
func (e *Encoder) Encode(dst []float64, c space.Config) ([]float64, error) {
	row, err := e.layout.ToRow(dst, c)
	if err != nil {
		return nil, fmt.Errorf("predictor: %w", err)
	}
	e.logs(row)
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
