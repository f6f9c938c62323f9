// Package predictor says what a learning curve will do next and what that will
// cost: the deep-kernel Gaussian process over partial learning curves and the
// cost network of Arango, Ferreira, Kadra, Hutter and Grabocka, "Quick-Tune:
// Quickly Learning Which Pretrained Model to Finetune and How", ICLR 2024, as
// their public implementation has them, and the meta-training of both on the
// curves of other data sets.
//
// The predictors see rows of numbers: an encoded configuration, an epoch, the
// scores before it and the descriptors of the data set. The package refuses to
// know where rows come from: it reads no meta-dataset, knows no budget and
// chooses nothing, and whatever it learns of a curve is passed to it by its
// caller.
//
// A predictor belongs to one goroutine at a time; Clone gives another one.
// Nothing here starts threads, except [MetaTrain], whose result does not depend
// on their number. The same inputs give the same bits.
package predictor

import (
	"errors"
	"fmt"
	"math"

	"quicktune/internal/nn"
)

// Architecture is the shape of both predictors.
type Architecture struct {
	// Groups splits the columns of an encoded configuration from the left;
	// the performance predictor gives each group an encoder of its own. Their
	// sum is the width of a configuration.
	Groups []int `json:"groups"`
	// Meta is the number of descriptors of a data set; 0 leaves them out.
	Meta int `json:"meta"`
	// MaxEpochs is the length of a whole curve. The budget of a row is its
	// epoch divided by it.
	MaxEpochs int `json:"max_epochs"`
	// Hidden is the width of every hidden layer and of an encoder's output.
	Hidden int `json:"hidden"`
	// Embedding is the dimension in which the kernel measures distances.
	Embedding int `json:"embedding"`
	// Channels and CurveOut are the channels of the curve network and the
	// width of its output.
	Channels int `json:"channels"`
	CurveOut int `json:"curve_out"`
	// Dropout is the probability with which a channel of the curve network is
	// dropped in meta-training.
	Dropout float64 `json:"dropout"`
}

// Reference is the architecture of the released experiments: 69 columns of
// which the first 23 are model indicators, 4 descriptors, 50 epochs.
//
// The released hub has 24 models. The implementation splits the columns one
// early, so the last model's indicator lies in the second group.
func Reference() Architecture {
	return Architecture{Groups: []int{23, 46}, Meta: 4, MaxEpochs: 50, Hidden: 32, Embedding: 32, Channels: 8, CurveOut: 16, Dropout: 0.25}
}

// Config is the width of an encoded configuration.
func (a Architecture) Config() int {
	n := 0
	for _, g := range a.Groups {
		n += g
	}
	return n
}

// signal is the length of the curve as the network sees it: pooling halves it,
// so it is at least 2.
func (a Architecture) signal() int { return max(a.MaxEpochs, 2) }

// Validate reports the first number that no network can be built with.
func (a Architecture) Validate() error {
	for i, g := range a.Groups {
		if g < 0 {
			return fmt.Errorf("predictor: column group %d has width %d; it must not be negative", i, g)
		}
	}
	for _, f := range []struct {
		name     string
		v, least int
	}{{"meta", a.Meta, 0}, {"max_epochs", a.MaxEpochs, 1}, {"hidden", a.Hidden, 1}, {"embedding", a.Embedding, 1}, {"channels", a.Channels, 1}, {"curve_out", a.CurveOut, 1}} {
		if f.v < f.least || f.v > 1<<16 {
			return fmt.Errorf("predictor: architecture: %s is %d; it must lie in [%d, 65536]", f.name, f.v, f.least)
		}
	}
	if a.Config() > 1<<16 {
		return fmt.Errorf("predictor: architecture: %d configuration columns; at most 65536 are supported", a.Config())
	}
	if !(a.Dropout >= 0 && a.Dropout < 1) {
		return fmt.Errorf("predictor: architecture: dropout is %v; it must lie in [0, 1)", a.Dropout)
	}
	return nil
}

// Row is what a predictor knows of one epoch of one curve before it is trained.
type Row struct {
	Config []float64 // encoded configuration, Architecture.Config() wide
	Meta   []float64 // scaled descriptors of the data set, Architecture.Meta wide
	Epoch  int       // the epoch to predict, from 1 to Architecture.MaxEpochs
	// Curve holds the scores of epochs 1 to Epoch-1. It may be shorter, or
	// hold NaN for epochs that gave no number: both read as 0, the worst
	// accuracy, just as epochs still to come do. Further scores are ignored.
	Curve []float64
}

// Batch is a list of rows in the layout of the networks.
type Batch struct {
	arch                 Architecture
	n                    int
	config, meta, curves []float64
	budget               []float64
}

// NewBatch returns an empty batch for predictors of that architecture.
func NewBatch(a Architecture) *Batch { return &Batch{arch: a} }

// Len is the number of rows.
func (b *Batch) Len() int { return b.n }

// Reset removes all rows and keeps the memory.
func (b *Batch) Reset() {
	b.n = 0
	b.config, b.meta, b.curves, b.budget = b.config[:0], b.meta[:0], b.curves[:0], b.budget[:0]
}

// Append adds a row. It fails, and adds nothing, if a width is wrong, the epoch
// is out of range, or a number other than those of the curve is not finite.
func (b *Batch) Append(r Row) error {
	a := &b.arch
	switch {
	case len(r.Config) != a.Config():
		return fmt.Errorf("predictor: row %d: configuration has %d columns, the predictor expects %d", b.n, len(r.Config), a.Config())
	case len(r.Meta) != a.Meta:
		return fmt.Errorf("predictor: row %d: %d descriptors of the data set, the predictor expects %d", b.n, len(r.Meta), a.Meta)
	case r.Epoch < 1 || r.Epoch > a.MaxEpochs:
		return fmt.Errorf("predictor: row %d: epoch %d is outside 1 to %d", b.n, r.Epoch, a.MaxEpochs)
	case !nn.Finite(r.Config):
		return fmt.Errorf("predictor: row %d: the encoded configuration holds a number that is not finite", b.n)
	case !nn.Finite(r.Meta):
		return fmt.Errorf("predictor: row %d: the descriptors of the data set hold a number that is not finite", b.n)
	}
	b.config = append(b.config, r.Config...)
	b.meta = append(b.meta, r.Meta...)
	b.budget = append(b.budget, float64(r.Epoch)/float64(a.MaxEpochs))
	known := min(len(r.Curve), r.Epoch-1)
	for i := range a.signal() {
		v := 0.0
		if i < known && !math.IsNaN(r.Curve[i]) && !math.IsInf(r.Curve[i], 0) {
			v = r.Curve[i]
		}
		b.curves = append(b.curves, v)
	}
	b.n++
	return nil
}

func (b *Batch) matrix(data []float64, cols int) nn.Matrix {
	return nn.Matrix{Rows: b.n, Cols: cols, Stride: cols, Data: data}
}

// fits reports why the rows of b are none for a predictor of architecture a.
func (b *Batch) fits(a Architecture) error {
	if b.n > 0 && (b.arch.Config() != a.Config() || b.arch.Meta != a.Meta || b.arch.MaxEpochs != a.MaxEpochs) {
		return fmt.Errorf("predictor: the batch was made for %d configuration columns, %d descriptors and %d epochs, the predictor has %d, %d and %d",
			b.arch.Config(), b.arch.Meta, b.arch.MaxEpochs, a.Config(), a.Meta, a.MaxEpochs)
	}
	return nil
}

// The divisors of the data set's descriptors in the public implementation. It
// uses the first in meta-training the performance predictor, and the second
// in meta-training the cost predictor and in the search for both. The
// difference is a defect: the performance predictor meets descriptors ten times
// smaller than those it was trained on.
const (
	MetaScaleTraining = 1000
	MetaScaleSearch   = 10000
)

// ScaleMeta returns the descriptors of a data set divided by scale: training
// samples, classes, pixels, channels in the reference.
func ScaleMeta(descriptors []float64, scale float64) []float64 {
	out := make([]float64, len(descriptors))
	for i, v := range descriptors {
		out[i] = v / scale
	}
	return out
}

// ErrNotConditioned is returned by Predict of a Gaussian process that has seen
// no data.
var ErrNotConditioned = errors.New("predictor: the Gaussian process has not been conditioned on any row")

func checkTargets(n int, y []float64) error {
	if len(y) != n {
		return fmt.Errorf("predictor: %d rows but %d targets", n, len(y))
	}
	for i, v := range y {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("predictor: the target of row %d is %v; leave such rows out", i, v)
		}
	}
	return nil
}
