// Package quicktunetable translates between configurations of
// [space.QuickTune] and the rows of the tables that the authors of Quick-Tune
// released: one row a configuration, one number a column.
//
// Two spellings of the same table exist and both are understood:
//
//   - extended and micro: one-hot columns cat:model:NAME, cat:opt:NAME,
//     cat:data_augmentation:NAME, ... with 0 or 1;
//   - mini: one-hot columns cat__model__NAME, ... with False or True, and
//     instead of those of data_augmentation the two booleans random_augment and
//     trivial_augment (auto_augment is told by its policy being other than
//     None).
//
// In both, None in clip_grad and layer_decay is -1 or an empty cell, and a
// hyperparameter that does not apply holds the default of the training script
// (momentum 0.9, patience_epochs 10, ...), its Default in the space.
//
// The package refuses to guess: a cell that no configuration of the space
// explains is an error that names row and column. It does not read files, and
// it does not scale numbers.
package quicktunetable

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"quicktune/space"
)

// Layout is a prepared header. It does not change and may be used by several
// goroutines.
type Layout struct {
	columns []column
	header  []string
	id      int     // position of the column of ids, -1 without one
	fields  []field // one a hyperparameter that the table holds
	random  int     // position of random_augment, -1 if data_augmentation is one-hot
	trivial int
	// conditional and constant hold positions in the space with the Default of
	// the one and the value of the other. No conditional hyperparameter is the
	// parent of another, so any order will do.
	conditional []cell
	constant    []cell
}

// column tells what number a configuration has in one column.
type column struct {
	param int
	// hot is the value that turns a one-hot column to 1; Inactive marks a
	// column that holds the number itself.
	hot space.Value
}

// field tells how the columns of one hyperparameter give its value.
type field struct {
	param  int
	def    space.Value
	onehot []cell // position and meaning of each one-hot column
	at     int    // position of the numeric column, if there is no one-hot
	texts  []text // spellings that need no parsing
}

// cell is a value at a position.
type cell struct {
	at    int
	value space.Value
}

type text struct {
	text  string
	value space.Value
}

// idNames are the headings under which tables hold the configuration's id.
var idNames = []string{"", "id", "config_id", "Unnamed: 0"}

// Names of the hyperparameters and values that the two spellings treat apart.
const (
	augmentation = "data_augmentation"
	policy       = "auto_augment"
	random       = "random_augment"
	trivial      = "trivial_augment"
)

var (
	valueAuto    = space.String("auto_augment")
	valueRandom  = space.String("random_augment")
	valueTrivial = space.String("trivial_augment")
)

// NewLayout prepares a header, in any order of columns. A column of ids (with
// the heading "", id, config_id or "Unnamed: 0") may be anywhere or nowhere.
// One-hot columns of values that no row has may be missing. Every other column
// that the space needs must be there, once, and no other.
func NewLayout(header []string) (*Layout, error) {
	s := space.QuickTune()
	l := &Layout{header: slices.Clone(header), id: -1, random: -1, trivial: -1}
	numeric := map[int]int{}
	onehot := map[int][]cell{}
	seen := map[string]bool{}
	for at, name := range header {
		if seen[name] {
			return nil, fmt.Errorf("column %q occurs twice", name)
		}
		seen[name] = true
		if slices.Contains(idNames, name) {
			if l.id >= 0 {
				return nil, fmt.Errorf("columns %q and %q both hold ids", header[l.id], name)
			}
			l.id = at
			continue
		}
		col, err := meaning(s, name)
		if err != nil {
			return nil, err
		}
		switch {
		case name == random:
			l.random = at
		case name == trivial:
			l.trivial = at
		case col.hot.IsInactive():
			numeric[col.param] = at
		default:
			onehot[col.param] = append(onehot[col.param], cell{at, col.hot})
		}
		l.columns = append(l.columns, col)
	}
	for i := range s.Len() {
		h := s.Param(i)
		if h.Type == space.Constant {
			l.constant = append(l.constant, cell{i, h.Choices[0]})
			continue
		}
		if s.Conditional(i) {
			l.conditional = append(l.conditional, cell{i, h.Default})
		}
		f := field{param: i, def: h.Default}
		cells, isOnehot := onehot[i]
		at, isNumeric := numeric[i]
		switch {
		case h.Name == augmentation && (l.random >= 0 || l.trivial >= 0):
			if isOnehot || l.random < 0 || l.trivial < 0 {
				return nil, fmt.Errorf("columns of %s: either one-hot columns or both %s and %s", h.Name, random, trivial)
			}
			continue
		case isOnehot:
			f.onehot = cells
		case isNumeric:
			f.at = at
			f.texts = spellings(h)
		default:
			return nil, fmt.Errorf("no column holds %s", h.Name)
		}
		l.fields = append(l.fields, f)
	}
	return l, nil
}

// meaning finds out what a heading stands for.
func meaning(s *space.Space, heading string) (column, error) {
	unknown := fmt.Errorf("column %q is not one of a Quick-Tune table", heading)
	if heading == random || heading == trivial {
		return column{s.Index(augmentation), space.String(heading)}, nil
	}
	name, value, isOnehot := strings.Cut(heading, ":")
	if isOnehot && name == "cat" {
		name, value, isOnehot = strings.Cut(value, ":")
	} else if rest, ok := strings.CutPrefix(heading, "cat__"); ok {
		name, value, isOnehot = strings.Cut(rest, "__")
	} else {
		name, isOnehot = heading, false
	}
	i := s.Index(name)
	if i < 0 {
		return column{}, unknown
	}
	h := s.Param(i)
	if h.Type == space.Constant || isOnehot != (h.Type == space.Categorical) {
		return column{}, unknown
	}
	if !isOnehot {
		return column{i, space.Inactive}, nil
	}
	for _, v := range append([]space.Value{h.Default}, h.Choices...) {
		if !v.IsInactive() && v.String() == value {
			return column{i, v}, nil
		}
	}
	return column{}, fmt.Errorf("column %q: %s has no value %q", heading, name, value)
}

// spellings lists the usual texts of the values that a numeric column can hold.
func spellings(h space.Hyperparameter) []text {
	var out []text
	for _, v := range append(slices.Clip(h.Choices), h.Default) {
		switch v.Kind() {
		case space.KindNone:
			out = append(out, text{"", v}, text{"-1", v}, text{"-1.0", v})
		case space.KindBool:
			word := "False"
			if v.Num() == 1 {
				word = "True"
			}
			out = append(out, text{word, v}, text{strconv.FormatFloat(v.Num(), 'f', -1, 64), v})
		case space.KindInt, space.KindFloat:
			short := v.String()
			out = append(out, text{short, v})
			if !strings.ContainsAny(short, ".e") {
				out = append(out, text{short + ".0", v})
			}
		}
	}
	return out
}

// Columns returns the headings in order, without that of the ids: the columns
// of [Layout.ToRow].
func (l *Layout) Columns() []string {
	names := slices.Clone(l.header)
	if l.id >= 0 {
		names = slices.Delete(names, l.id, l.id+1)
	}
	return names
}

// ID returns the configuration's id in a row, "" if the table has no column of
// ids or the row is too short.
func (l *Layout) ID(row []string) string {
	if l.id < 0 || l.id >= len(row) {
		return ""
	}
	return row[l.id]
}

// FromRow parses a row of cells, in the order of the header. The number of the
// row serves errors only, which read
//
//	row 7, column "lr": 0.3 is not one of 1e-05, 5e-05, ...
func (l *Layout) FromRow(number int, row []string) (space.Config, error) {
	if len(row) != len(l.header) {
		return nil, fmt.Errorf("row %d: %d cells, but the header has %d", number, len(row), len(l.header))
	}
	s := space.QuickTune()
	c := make(space.Config, s.Len())
	for i := range l.fields {
		f := &l.fields[i]
		v, at, err := f.read(row)
		if err != nil {
			return nil, fmt.Errorf("row %d, column %q: %w", number, l.header[at], err)
		}
		c[f.param] = v
	}
	if l.random >= 0 {
		if err := l.readAugmentation(s, c, number, row); err != nil {
			return nil, err
		}
	}
	// What the training script used becomes what was chosen: a parameter that
	// does not apply must hold the script's default.
	for _, o := range l.conditional {
		if s.Active(c, o.at) {
			continue
		}
		if c[o.at] != o.value {
			return nil, fmt.Errorf("row %d, column of %s: %s, but it does not apply in this row and should hold %s", number, s.Param(o.at).Name, c[o.at], o.value)
		}
		c[o.at] = space.Inactive
	}
	for _, o := range l.constant {
		c[o.at] = o.value
	}
	if err := s.Validate(c); err != nil {
		return nil, fmt.Errorf("row %d: %w", number, err)
	}
	return c, nil
}

// readAugmentation sets data_augmentation from the two booleans and the policy.
func (l *Layout) readAugmentation(s *space.Space, c space.Config, number int, row []string) error {
	v := space.None
	for _, option := range []struct {
		at    int
		value space.Value
	}{{l.random, valueRandom}, {l.trivial, valueTrivial}} {
		hot, err := parseFlag(row[option.at])
		if err != nil {
			return fmt.Errorf("row %d, column %q: %w", number, l.header[option.at], err)
		}
		if !hot {
			continue
		}
		if v != space.None {
			return fmt.Errorf("row %d, column %q: set although %s is too", number, l.header[option.at], v)
		}
		v = option.value
	}
	if c[s.Index(policy)] != space.None {
		if v != space.None {
			return fmt.Errorf("row %d, column of %s: set although %s is too", number, policy, v)
		}
		v = valueAuto
	}
	c[s.Index(augmentation)] = v
	return nil
}

// read returns the value of a field as the training script saw it. With an
// error it returns the position of the cell at fault.
func (f *field) read(row []string) (space.Value, int, error) {
	if f.onehot == nil {
		v, err := f.readNumber(row[f.at])
		return v, f.at, err
	}
	found := space.Inactive
	for _, option := range f.onehot {
		hot, err := parseFlag(row[option.at])
		if err != nil {
			return space.Inactive, option.at, err
		}
		if !hot {
			continue
		}
		if !found.IsInactive() {
			return space.Inactive, option.at, fmt.Errorf("set although the column of %s is too", found)
		}
		found = option.value
	}
	if found.IsInactive() {
		return space.Inactive, f.onehot[0].at, fmt.Errorf("no column of %s is set", space.QuickTune().Param(f.param).Name)
	}
	return found, 0, nil
}

func (f *field) readNumber(s string) (space.Value, error) {
	for i := range f.texts {
		if f.texts[i].text == s {
			return f.texts[i].value, nil
		}
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return space.Inactive, fmt.Errorf("%q is not a number", s)
	}
	h := space.QuickTune().Param(f.param)
	for _, v := range h.Choices {
		if number(v) == x {
			return v, nil
		}
	}
	if !f.def.IsInactive() && number(f.def) == x {
		return f.def, nil
	}
	var words []string
	for _, v := range h.Choices {
		words = append(words, v.String())
	}
	return space.Inactive, fmt.Errorf("%s is not one of %s", s, strings.Join(words, ", "))
}

// parseFlag reads a cell of a one-hot or boolean column.
func parseFlag(s string) (bool, error) {
	switch s {
	case "0", "False", "0.0", "false":
		return false, nil
	case "1", "True", "1.0", "true":
		return true, nil
	}
	return false, fmt.Errorf("%q is not 0, 1, False or True", s)
}

// number is what a numeric column holds for a value.
func number(v space.Value) float64 {
	if v == space.None {
		return -1
	}
	return v.Num()
}

// ToRow writes the numbers of a valid configuration in the order of
// [Layout.Columns] to dst, which is allocated if it is nil and must otherwise be
// as long as that. Booleans are 0 and 1, None is -1, a hyperparameter that does
// not apply is its default: exactly the authors' numbers before they
// standardise. It is an error if the table has no column for a value.
func (l *Layout) ToRow(dst []float64, c space.Config) ([]float64, error) {
	s := space.QuickTune()
	if err := s.Validate(c); err != nil {
		return nil, err
	}
	if dst == nil {
		dst = make([]float64, len(l.columns))
	}
	if len(dst) != len(l.columns) {
		return nil, fmt.Errorf("the row has %d columns, but there is room for %d", len(l.columns), len(dst))
	}
	effective := func(i int) space.Value {
		if c[i].IsInactive() {
			return s.Param(i).Default
		}
		return c[i]
	}
	for _, f := range l.fields {
		v := effective(f.param)
		if f.onehot != nil && !slices.ContainsFunc(f.onehot, func(o cell) bool { return o.value == v }) {
			return nil, fmt.Errorf("the table has no column for %s=%s", s.Param(f.param).Name, v)
		}
	}
	for k, col := range l.columns {
		v := effective(col.param)
		switch {
		case col.hot.IsInactive():
			dst[k] = number(v)
		case v == col.hot:
			dst[k] = 1
		default:
			dst[k] = 0
		}
	}
	return dst, nil
}

// Reference returns the layout of the 69 inputs of the authors' predictor: the
// columns of mini in alphabetical order with those of the model moved to the
// front.
func Reference() *Layout { return reference() }
