package metadataset

import (
	"fmt"
	"math"

	"github.com/parquet-go/parquet-go/format"

	"quicktune/space"
)

// A hyperColumn is how one hyperparameter is stored in configs.parquet: null
// where it is inactive or None, otherwise the value in a typed column.
type hyperColumn struct {
	param    int    // index in the space
	name     string // of the column
	kind     format.Type
	choices  []space.Value // nil for a range
	noneCode uint16        // index of None in choices, inactiveCode if it is not there
}

// inactiveCode marks an inactive hyperparameter among the codes of choices.
const inactiveCode = math.MaxUint16

// hyperPrefix keeps hyperparameters apart from the other columns.
const hyperPrefix = "hp_"

// hyperColumns lists the columns of a space, without that of the model, which
// is returned apart (its name is "model"); model is nil if modelParam is "".
func hyperColumns(sp *space.Space, modelParam string) (columns []hyperColumn, model *hyperColumn, err error) {
	for i := range sp.Len() {
		h := sp.Param(i)
		c := hyperColumn{param: i, name: hyperPrefix + h.Name, noneCode: inactiveCode}
		switch h.Type {
		case space.Real:
			c.kind = format.Double
		case space.Integer:
			c.kind = format.Int64
		default:
			c.choices = h.Choices
			c.kind = choiceKind(h.Choices)
			if len(h.Choices) >= inactiveCode {
				return nil, nil, fmt.Errorf("hyperparameter %q has %d choices; at most %d can be stored", h.Name, len(h.Choices), inactiveCode-1)
			}
			for j, v := range h.Choices {
				if err := checkText(v.Text()); err != nil {
					return nil, nil, fmt.Errorf("hyperparameter %q: %w", h.Name, err)
				}
				if v == space.None {
					c.noneCode = uint16(j)
				}
			}
		}
		if h.Name != modelParam {
			columns = append(columns, c)
			continue
		}
		if c.choices == nil {
			return nil, nil, fmt.Errorf("model hyperparameter %q is %s: use a categorical one", h.Name, h.Type)
		}
		c.name, c.kind = "model", format.ByteArray
		model = &c
	}
	return columns, model, nil
}

// choiceKind returns the column type that holds all choices: their own type if
// they share one, else text.
func choiceKind(choices []space.Value) format.Type {
	kinds := make(map[space.ValueKind]bool)
	for _, v := range choices {
		if v != space.None {
			kinds[v.Kind()] = true
		}
	}
	if len(kinds) == 1 {
		switch {
		case kinds[space.KindBool]:
			return format.Boolean
		case kinds[space.KindInt]:
			return format.Int64
		case kinds[space.KindFloat]:
			return format.Double
		}
	}
	return format.ByteArray
}

// parse turns stored text into the choice that prints so.
func (c *hyperColumn) parse(text string) space.Value {
	for _, v := range c.choices {
		if v != space.None && v.String() == text {
			return v
		}
	}
	return space.String(text) // no choice: the space will say what it may be
}

// A configTable holds many configurations of one space in little memory: two
// bytes for a choice, eight for a number of a range.
type configTable struct {
	columns []configColumn // by hyperparameter
}

type configColumn struct {
	choices []space.Value
	codes   []uint16  // by configuration, if choices is not nil
	numbers []float64 // by configuration otherwise, NaN if inactive
	integer bool
}

func newConfigTable(sp *space.Space, n int) *configTable {
	t := &configTable{columns: make([]configColumn, sp.Len())}
	for i := range t.columns {
		h := sp.Param(i)
		c := &t.columns[i]
		if h.Type == space.Real || h.Type == space.Integer {
			c.numbers, c.integer = make([]float64, 0, n), h.Type == space.Integer
		} else {
			c.choices, c.codes = h.Choices, make([]uint16, 0, n)
		}
	}
	return t
}

// config returns configuration row.
func (t *configTable) config(row int) space.Config {
	config := make(space.Config, len(t.columns))
	for i := range t.columns {
		c := &t.columns[i]
		switch {
		case c.choices != nil:
			if code := c.codes[row]; code != inactiveCode {
				config[i] = c.choices[code]
			}
		case math.IsNaN(c.numbers[row]):
		case c.integer:
			config[i] = space.Int(int64(c.numbers[row]))
		default:
			config[i] = space.Float(c.numbers[row])
		}
	}
	return config
}

// A storedColumn is a hyperColumn as read: for each row one of few values.
type storedColumn struct {
	hyperColumn
	values []space.Value // what the file spells, which may be outside the space
	codes  []uint16      // of values among the choices, inactiveCode if it is none
	index  []int32       // by row: index in values, -1 for null
}

// readHyperColumn reads the column of one hyperparameter.
func readHyperColumn(f *parquetFile, c hyperColumn) (storedColumn, error) {
	s := storedColumn{hyperColumn: c}
	at := f.column(c.name)
	var err error
	switch c.kind {
	case format.Boolean:
		s.values, s.index, err = readValues(f.readBools, at, space.Bool)
	case format.Int64:
		s.values, s.index, err = readValues(f.readLongs, at, space.Int)
	case format.Double:
		s.values, s.index, err = readValues(f.readDoubles, at, space.Float)
	default:
		s.values, s.index, err = readValues(f.readStrings, at, c.parse)
	}
	if err != nil || c.choices == nil {
		return s, err
	}
	codes := make(map[space.Value]uint16, len(c.choices))
	for i, v := range c.choices {
		codes[v] = uint16(i)
	}
	s.codes = make([]uint16, len(s.values))
	for i, v := range s.values {
		code, ok := codes[v]
		if !ok {
			code = inactiveCode
		}
		s.codes[i] = code
	}
	return s, nil
}

func readValues[T any](read func(int) (indexed[T], error), column int, value func(T) space.Value) ([]space.Value, []int32, error) {
	c, err := read(column)
	if err != nil {
		return nil, nil, err
	}
	values := make([]space.Value, len(c.values))
	for i, v := range c.values {
		values[i] = value(v)
	}
	return values, c.index, nil
}

// parentsFirst orders the columns such that the parents of every conditional
// hyperparameter stand before it, so that nulls can be told apart.
func parentsFirst(sp *space.Space, columns []storedColumn) []*storedColumn {
	byName := make(map[string]*storedColumn, len(columns))
	for i := range columns {
		byName[sp.Param(columns[i].param).Name] = &columns[i]
	}
	parents := make(map[string][]string)
	for _, cond := range sp.Conditions() {
		for _, all := range cond.AnyOf {
			for _, clause := range all {
				parents[cond.Child] = append(parents[cond.Child], clause.Parent)
			}
		}
	}
	ordered := make([]*storedColumn, 0, len(columns))
	done := make(map[string]bool)
	var visit func(name string)
	visit = func(name string) { // space.New refuses cycles
		if done[name] {
			return
		}
		done[name] = true
		for _, p := range parents[name] {
			visit(p)
		}
		if c := byName[name]; c != nil {
			ordered = append(ordered, c)
		}
	}
	for i := range sp.Len() {
		visit(sp.Param(i).Name)
	}
	return ordered
}

// fill sets config to row of the columns, which are ordered parents first. A
// null is None where None is a choice and the conditions hold, else Inactive.
func fill(sp *space.Space, config space.Config, columns []*storedColumn, row int) {
	clear(config)
	for _, c := range columns {
		if i := c.index[row]; i >= 0 {
			config[c.param] = c.values[i]
		} else if c.noneCode != inactiveCode && sp.Active(config, c.param) {
			config[c.param] = space.None
		}
	}
}

// add appends a valid configuration that fill made of row.
func (t *configTable) add(config space.Config, columns []*storedColumn, row int) {
	for _, c := range columns {
		to := &t.columns[c.param]
		v := config[c.param]
		switch {
		case to.choices == nil:
			to.numbers = append(to.numbers, v.Num()) // NaN if inactive
		case v.IsInactive():
			to.codes = append(to.codes, inactiveCode)
		case v == space.None:
			to.codes = append(to.codes, c.noneCode)
		default:
			to.codes = append(to.codes, c.codes[c.index[row]])
		}
	}
}
