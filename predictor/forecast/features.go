package forecast

import (
	"fmt"
	"math"
	"slices"

	"quicktune/space"
)

// Hub gives numbers about the pretrained models by name. Unknown numbers are
// NaN.
type Hub map[string]ModelFacts

// ModelFacts are what is known of a model before it is fine-tuned.
type ModelFacts struct {
	Params         float64 `json:"params"`          // millions
	SourceAccuracy float64 `json:"source_accuracy"` // in [0, 1]
	Pixels         float64 `json:"pixels"`          // width of the input
	GMACs          float64 `json:"gmacs"`           // of one image
}

// Descriptors describe a data set. Unknown numbers are 0.
type Descriptors struct {
	Samples int // for training
	Classes int
}

// Features turns configurations into rows for the trees. It is made from the
// search space alone, so that rows of different data sets mean the same.
//
// Categorical hyperparameters become one indicator a choice, numbers stay
// numbers, on a log scale where the space says so; None and inactive ones are
// missing. Behind them come the facts of the model, the descriptors of the data
// set, and combinations of both with the batch size, the learning rate and the
// share of frozen layers, where the space has hyperparameters of these names:
// trees split on one column at a time and find ratios hard.
type Features struct {
	space      *space.Space
	hub        Hub
	modelParam string
	names      []string
	model      int // index of the hyperparameter, -1 if there is none
	batch      int
	rate       int
	freeze     int
	optimizer  int
	derived    int      // first column behind the hyperparameters
	looked     []string // columns that the caller gives
	warmup     int      // column of the epochs of warm-up, -1 if there is none
	curveParts []int    // columns that continuations look at
}

// The hyperparameters that combinations are made from.
const (
	paramBatch     = "batch_size"
	paramRate      = "lr"
	paramFreeze    = "pct_to_freeze"
	paramOptimizer = "opt"
	paramWarmup    = "warmup_epochs"
)

// The derived columns.
const (
	colParams = iota
	colSource
	colPixels
	colGMACs
	colSamples
	colClasses
	colPerClass
	colSteps
	colEffective
	colAdaptive
	colTrainable
	derivedColumns
)

var derivedNames = [derivedColumns]string{
	"log params", "source accuracy", "pixels", "log GMACs", "log samples", "log classes",
	"log samples per class", "log steps per epoch", "log lr/sqrt(batch)", "adaptive optimiser", "log trainable params",
}

// curveColumns are the hyperparameters that shape how a curve goes on, besides
// the derived columns: schedule, step size, regularisers that slow training.
// Few columns make better forecasts of curves than all.
var curveColumns = []string{
	paramBatch, paramRate, paramWarmup, "warmup_lr", "sched", "decay_epochs", "decay_rate",
	paramFreeze, "mixup", "cutmix", "mixup_prob", "smoothing", "drop", "weight_decay", "stoch_norm",
}

// NewFeatures prepares the features of a search space, whose hyperparameter
// modelParam names the pretrained model; "" if there is none. Rows have further
// columns of the names looked, whose values are given to Row.
func NewFeatures(s *space.Space, modelParam string, hub Hub, looked ...string) *Features {
	f := &Features{
		space: s, hub: hub, modelParam: modelParam, looked: looked,
		model: s.Index(modelParam), batch: s.Index(paramBatch), rate: s.Index(paramRate),
		freeze: s.Index(paramFreeze), optimizer: s.Index(paramOptimizer), warmup: -1,
	}
	for i := range s.Len() {
		p := s.Param(i)
		first := len(f.names)
		switch p.Type {
		case space.Constant:
			continue
		case space.Categorical:
			for _, c := range p.Choices {
				f.names = append(f.names, p.Name+"="+c.String())
			}
		default:
			f.names = append(f.names, p.Name)
		}
		if p.Name == paramWarmup && p.Type != space.Categorical {
			f.warmup = first
		}
		if slices.Contains(curveColumns, p.Name) {
			for c := first; c < len(f.names); c++ {
				f.curveParts = append(f.curveParts, c)
			}
		}
	}
	f.derived = len(f.names)
	f.names = append(f.names, derivedNames[:]...)
	for c := range derivedColumns {
		f.curveParts = append(f.curveParts, f.derived+c)
	}
	f.names = append(f.names, looked...)
	return f
}

// Space is the search space whose configurations are understood.
func (f *Features) Space() *space.Space { return f.space }

// Width is the number of columns of a row.
func (f *Features) Width() int { return len(f.names) }

// Names are the names of the columns.
func (f *Features) Names() []string { return slices.Clone(f.names) }

// Row returns the row of a configuration on a data set, with what a look at it
// told, NaN for what is not known. It fails if the configuration is not valid in
// the space or other columns are given than NewFeatures was told of.
func (f *Features) Row(c space.Config, d Descriptors, looked ...float64) ([]float64, error) {
	if err := f.space.Validate(c); err != nil {
		return nil, err
	}
	if len(looked) != len(f.looked) {
		return nil, fmt.Errorf("%d values of the columns %q", len(looked), f.looked)
	}
	row := make([]float64, 0, len(f.names))
	for i := range f.space.Len() {
		p := f.space.Param(i)
		switch p.Type {
		case space.Constant:
		case space.Categorical:
			for _, choice := range p.Choices {
				on := 0.0
				if c[i] == choice {
					on = 1
				}
				row = append(row, on)
			}
		case space.Ordinal:
			row = append(row, ordinal(p, c[i]))
		default:
			row = append(row, scaled(p, c[i].Num()))
		}
	}
	row = append(row, f.combine(c, d)...)
	return append(row, looked...), nil
}

// ordinal is the number of a choice or, where choices are no numbers, its
// position; NaN for None and inactive values.
func ordinal(p space.Hyperparameter, v space.Value) float64 {
	if n := v.Num(); !math.IsNaN(n) {
		return scaled(p, n)
	}
	if v.Kind() == space.KindString {
		return float64(slices.Index(p.Choices, v))
	}
	return math.NaN()
}

// scaled takes the logarithm where the space says so; that of 0 is -Inf, which
// trees put before all others.
func scaled(p space.Hyperparameter, v float64) float64 {
	if p.Log {
		return math.Log(v)
	}
	return v
}

// combine makes the derived columns.
func (f *Features) combine(c space.Config, d Descriptors) []float64 {
	num := func(i int) float64 {
		if i < 0 {
			return math.NaN()
		}
		return c[i].Num()
	}
	logOf := func(n int) float64 {
		if n <= 0 {
			return math.NaN()
		}
		return math.Log(float64(n))
	}
	x := make([]float64, derivedColumns)
	facts := ModelFacts{math.NaN(), math.NaN(), math.NaN(), math.NaN()}
	if f.model >= 0 {
		if known, ok := f.hub[c[f.model].Text()]; ok {
			facts = known
		}
	}
	x[colParams] = math.Log(facts.Params)
	x[colSource] = facts.SourceAccuracy
	x[colPixels] = facts.Pixels
	x[colGMACs] = math.Log(facts.GMACs)
	x[colSamples] = logOf(d.Samples)
	x[colClasses] = logOf(d.Classes)
	x[colPerClass] = x[colSamples] - x[colClasses]
	x[colSteps] = x[colSamples] - math.Log(num(f.batch))
	x[colEffective] = math.Log(num(f.rate)) - math.Log(num(f.batch))/2
	x[colAdaptive] = math.NaN()
	if f.optimizer >= 0 {
		x[colAdaptive] = 0
		switch c[f.optimizer].Text() {
		case "adam", "adamw", "adamp":
			x[colAdaptive] = 1
		}
	}
	x[colTrainable] = math.Log(facts.Params * (1.02 - num(f.freeze)))
	return x
}
