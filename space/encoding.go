package space

import (
	"fmt"
	"math"
	"slices"
)

// InactiveColumns chooses what the columns of an inactive hyperparameter hold.
type InactiveColumns uint8

// The choices.
const (
	// InactiveFlag adds a column NAME:active, 0 or 1, for every conditional
	// hyperparameter. Its other columns are 0 while it is inactive.
	InactiveFlag InactiveColumns = iota
	// InactiveDefault adds nothing: the columns hold the declared Default,
	// encoded like any other value, and 0 where it is undeclared, is no number
	// or has no column.
	InactiveDefault
)

// EncodingOptions tells how configurations become vectors. The zero value is
// the one to use.
type EncodingOptions struct {
	Inactive InactiveColumns
}

// Encoding lays out the columns of a space:
//
//   - a Categorical of nothing but booleans, or an Ordinal of booleans and
//     perhaps None, has one column NAME, 0 or 1;
//   - any other Categorical has one column NAME=CHOICE a choice, 0 or 1;
//   - an Ordinal of numbers has one column NAME with the number, or its
//     logarithm if it declares Log; an Ordinal of anything else has one column
//     NAME with the position of the choice;
//   - a Real or an Integer has one column NAME, with the logarithm if it
//     declares Log;
//   - None in an ordered hyperparameter, and 0 in a logarithmic one, have an
//     indicator column of their own, NAME=None and NAME=0; the column NAME is
//     then 0;
//   - a Constant has none;
//   - with [InactiveFlag], a conditional hyperparameter ends with NAME:active.
//
// Hyperparameters come in the order of the space, choices in the order of the
// hyperparameter. Columns of numbers and positions are standardised by
// [Encoding.Fit], so that 0 stands for their mean; all others are 0 or 1.
type Encoding struct {
	space   *Space
	options EncodingOptions
	columns []string
	blocks  []block // one a hyperparameter
}

// block says where a hyperparameter is in the vector.
type block struct {
	form  form
	at    int     // first column
	apart []Value // values with an indicator column, after the column NAME
	flag  int     // column NAME:active, -1 without one
}

// form is how the value itself is written.
type form uint8

const (
	formNothing  form = iota // a constant
	formOneHot               // one column a choice
	formBool                 // 0 or 1
	formNumber               // the number
	formLog                  // its natural logarithm
	formPosition             // the position in Choices
)

// numeric reports whether the form is standardised.
func (f form) numeric() bool { return f == formNumber || f == formLog || f == formPosition }

// NewEncoding lays out the columns of a space. It fails only if two columns
// would have the same name.
func NewEncoding(s *Space, options EncodingOptions) (*Encoding, error) {
	e := &Encoding{space: s, options: options, blocks: make([]block, s.Len())}
	for i := range s.params {
		h := &s.params[i]
		b := block{form: formOf(h), at: len(e.columns), flag: -1}
		switch b.form {
		case formNothing:
			e.blocks[i] = b
			continue
		case formOneHot:
			for _, v := range h.Choices {
				e.columns = append(e.columns, h.Name+"="+v.String())
			}
		default:
			e.columns = append(e.columns, h.Name)
			for _, v := range h.Choices {
				if v.kind == KindNone || b.form == formLog && v.num == 0 {
					b.apart = append(b.apart, v)
					e.columns = append(e.columns, h.Name+"="+v.String())
				}
			}
		}
		if options.Inactive == InactiveFlag && s.Conditional(i) {
			b.flag = len(e.columns)
			e.columns = append(e.columns, h.Name+":active")
		}
		e.blocks[i] = b
	}
	seen := make(map[string]bool, len(e.columns))
	for _, name := range e.columns {
		if seen[name] {
			return nil, fmt.Errorf("space %q: two encoded columns are called %q: rename a hyperparameter", s.name, name)
		}
		seen[name] = true
	}
	return e, nil
}

func formOf(h *Hyperparameter) form {
	switch h.Type {
	case Constant:
		return formNothing
	case Real, Integer:
		if h.Log {
			return formLog
		}
		return formNumber
	}
	allOf := func(kinds ...ValueKind) bool {
		return !slices.ContainsFunc(h.Choices, func(v Value) bool { return !slices.Contains(kinds, v.kind) })
	}
	switch {
	case h.Type == Categorical && allOf(KindBool):
		return formBool
	case h.Type == Categorical:
		return formOneHot
	case allOf(KindBool, KindNone):
		return formBool
	case !allOf(KindInt, KindFloat, KindNone):
		return formPosition
	case h.Log:
		return formLog
	}
	return formNumber
}

// Columns returns the names of the columns in order.
func (e *Encoding) Columns() []string { return slices.Clone(e.columns) }

// Width returns the number of columns.
func (e *Encoding) Width() int { return len(e.columns) }

// Fit standardises the columns of numbers to mean 0 and variance 1 over those
// training configurations in which the hyperparameter is active and has a
// number. A column that does not vary there is only shifted, and one without
// any number is left as it is. It is an error if a training configuration is
// not valid, or if two choices of a hyperparameter become the same float64.
func (e *Encoding) Fit(train []Config) (*Encoder, error) {
	mean := make([]float64, e.Width())
	scale := make([]float64, e.Width())
	for k := range scale {
		scale[k] = 1
	}
	for n, c := range train {
		if err := e.space.Validate(c); err != nil {
			return nil, fmt.Errorf("training configuration %d: %w", n, err)
		}
	}
	numbers := make([]float64, 0, len(train))
	for i, b := range e.blocks {
		if !b.form.numeric() {
			continue
		}
		h := &e.space.params[i]
		numbers = numbers[:0]
		for _, c := range train {
			if !c[i].IsInactive() && !slices.Contains(b.apart, c[i]) {
				numbers = append(numbers, b.form.number(h, c[i]))
			}
		}
		if len(numbers) > 0 {
			mean[b.at], scale[b.at] = moments(numbers)
		}
	}
	return e.Restore(mean, scale)
}

// moments returns the mean and the standard deviation, or 1 where that is 0.
// It divides before it squares, so that no finite numbers overflow.
func moments(xs []float64) (mean, deviation float64) {
	n := float64(len(xs))
	for _, x := range xs {
		mean += x / n
	}
	farthest := 0.0
	for _, x := range xs {
		farthest = max(farthest, math.Abs(x-mean))
	}
	if farthest <= 1e-12*math.Abs(mean) {
		return mean, 1
	}
	for _, x := range xs {
		r := (x - mean) / farthest
		deviation += r * r / n
	}
	return mean, farthest * math.Sqrt(deviation)
}

// Restore rebuilds a fitted encoder from what [Encoder.Scaling] gave.
func (e *Encoding) Restore(mean, scale []float64) (*Encoder, error) {
	if len(mean) != e.Width() || len(scale) != e.Width() {
		return nil, fmt.Errorf("encoding of space %q has %d columns, but %d means and %d scales", e.space.name, e.Width(), len(mean), len(scale))
	}
	for k := range mean {
		if !(scale[k] > 0) || math.IsInf(scale[k], 0) || math.IsNaN(mean[k]) || math.IsInf(mean[k], 0) {
			return nil, fmt.Errorf("column %q: mean %g and scale %g cannot be used", e.columns[k], mean[k], scale[k])
		}
	}
	out := &Encoder{encoding: e, mean: slices.Clone(mean), scale: slices.Clone(scale), encoded: make([][]float64, len(e.blocks))}
	for i, b := range e.blocks {
		h := &e.space.params[i]
		if !b.form.numeric() || len(h.Choices) == 0 {
			continue
		}
		known := map[float64]Value{}
		for _, v := range h.Choices {
			x := math.NaN() // never the nearest
			if !slices.Contains(b.apart, v) {
				x = out.standardise(b.at, b.form.number(h, v))
				if w, taken := known[x]; taken {
					return nil, fmt.Errorf("hyperparameter %q: %s and %s are the same once standardised", h.Name, w, v)
				}
				known[x] = v
			}
			out.encoded[i] = append(out.encoded[i], x)
		}
	}
	return out, nil
}

// number is what the column NAME holds for a value before it is standardised.
func (f form) number(h *Hyperparameter, v Value) float64 {
	switch f {
	case formLog:
		return math.Log(v.num)
	case formPosition:
		return float64(slices.Index(h.Choices, v))
	}
	return v.num
}

// Encoder turns configurations into vectors of Width numbers and back. It does
// not change and may be used by several goroutines.
type Encoder struct {
	encoding    *Encoding
	mean, scale []float64   // by column; 0 and 1 where nothing is standardised
	encoded     [][]float64 // by hyperparameter: its choices, standardised
}

// Columns returns the names of the columns in order.
func (e *Encoder) Columns() []string { return e.encoding.Columns() }

// Width returns the number of columns.
func (e *Encoder) Width() int { return e.encoding.Width() }

// Scaling returns the mean that each column was shifted by and the scale that
// it was divided by: 0 and 1 for columns that are not standardised.
func (e *Encoder) Scaling() (mean, scale []float64) {
	return slices.Clone(e.mean), slices.Clone(e.scale)
}

func (e *Encoder) standardise(column int, x float64) float64 {
	return (x - e.mean[column]) / e.scale[column]
}

// Encode writes c, which must be valid, to dst and returns it. A nil dst is
// allocated; any other must be Width long. It panics if dst has another length
// or c is of another space.
func (e *Encoder) Encode(dst []float64, c Config) []float64 {
	if dst == nil {
		dst = make([]float64, e.Width())
	}
	if s := e.encoding.space; len(dst) != e.Width() || len(c) != s.Len() {
		panic(fmt.Sprintf("space %q: %d values cannot be encoded into %d numbers: it has %d hyperparameters and %d columns", s.name, len(c), len(dst), s.Len(), e.Width()))
	}
	clear(dst)
	for i := range e.encoding.blocks {
		b := &e.encoding.blocks[i]
		v := c[i]
		switch {
		case b.form == formNothing:
		case !v.IsInactive():
			if b.flag >= 0 {
				dst[b.flag] = 1
			}
			if !e.write(dst, i, v) {
				panic(fmt.Sprintf("space %q: %s cannot be %s", e.encoding.space.name, e.encoding.space.params[i].Name, v))
			}
		case e.encoding.options.Inactive == InactiveDefault:
			e.write(dst, i, e.encoding.space.params[i].Default)
		}
	}
	return dst
}

// write encodes the value of hyperparameter i and reports whether there is a
// way to.
func (e *Encoder) write(dst []float64, i int, v Value) bool {
	b := &e.encoding.blocks[i]
	h := &e.encoding.space.params[i]
	if k := slices.Index(b.apart, v); k >= 0 {
		dst[b.at+1+k] = 1
		return true
	}
	switch b.form {
	case formOneHot, formPosition:
		k := slices.Index(h.Choices, v)
		switch {
		case k < 0:
			return false
		case b.form == formOneHot:
			dst[b.at+k] = 1
		default:
			dst[b.at] = e.standardise(b.at, float64(k))
		}
		return true
	case formBool:
		dst[b.at] = v.num
		return v.kind == KindBool
	}
	if v.kind != KindInt && v.kind != KindFloat || b.form == formLog && v.num <= 0 {
		return false
	}
	dst[b.at] = e.standardise(b.at, b.form.number(h, v))
	return true
}

// Decode returns the configuration that x encodes. A vector between
// configurations gives a valid one near it: parents are decoded first and
// decide which hyperparameters are active; a one-hot block gives its largest
// column, an indicator above 1/2 its value, and any other column the choice or
// whole number nearest to it. What [Encoder.Encode] wrote comes back exactly,
// except that a Real, and an Integer beyond 2^40, may differ in the last digits
// of a float64. It is an error if x is not Width long or not finite.
func (e *Encoder) Decode(x []float64) (Config, error) {
	s := e.encoding.space
	if len(x) != e.Width() {
		return nil, fmt.Errorf("encoding of space %q has %d columns, not %d", s.name, e.Width(), len(x))
	}
	for k, f := range x {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("column %q is %g", e.encoding.columns[k], f)
		}
	}
	c := make(Config, s.Len())
	for _, i := range s.order {
		if s.Active(c, i) {
			c[i] = e.read(x, i)
		}
	}
	return c, nil
}

// read decodes the value of an active hyperparameter.
func (e *Encoder) read(x []float64, i int) Value {
	b := &e.encoding.blocks[i]
	h := &e.encoding.space.params[i]
	for k, v := range b.apart {
		if x[b.at+1+k] > 0.5 {
			return v
		}
	}
	switch b.form {
	case formNothing:
		return h.Choices[0]
	case formOneHot:
		best := 0
		for k := range h.Choices {
			if x[b.at+k] > x[b.at+best] {
				best = k
			}
		}
		return h.Choices[best]
	case formBool:
		if v := Bool(x[b.at] > 0.5); slices.Contains(h.Choices, v) {
			return v
		}
		return nearest(h.Choices, func(k int) float64 { return math.Abs(h.Choices[k].Num() - x[b.at]) })
	}
	if len(h.Choices) > 0 {
		return nearest(h.Choices, func(k int) float64 { return math.Abs(e.encoded[i][k] - x[b.at]) })
	}
	number := x[b.at]*e.scale[b.at] + e.mean[b.at]
	if b.form == formLog {
		number = math.Exp(number)
	}
	number = min(max(number, h.Lower), h.Upper)
	if h.Type == Integer {
		return Int(int64(math.Round(number)))
	}
	return Float(number)
}

// nearest returns the choice with the least distance; NaN is no distance.
func nearest(choices []Value, distance func(k int) float64) Value {
	best, least := 0, math.Inf(1)
	for k := range choices {
		if d := distance(k); d < least {
			best, least = k, d
		}
	}
	return choices[best]
}
