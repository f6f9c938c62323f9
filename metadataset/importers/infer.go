package importers

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"quicktune/space"
)

// cellKind tells what a cell of a table of configurations holds.
type cellKind uint8

const (
	cellBlank cellKind = iota // no value
	cellNone                  // the explicit value None
	cellBool
	cellNumber
	cellText
)

// cell is one value of one configuration, before its hyperparameter is known.
type cell struct {
	text string // as the source spells it
	num  float64
	kind cellKind
}

// values is one column of a table of configurations, one cell a row.
type values struct {
	name  string
	cells []cell
}

// The bounds of the rules of inference; the package documentation gives them.
const (
	ordinalChoices = 16
	ordinalRepeats = 4
	logRatio       = 100
	maxWhole       = 1 << 53 // up to which every whole number is a float64
)

// switchPrefix begins the name of a categorical that tells whether a range
// has a value.
const switchPrefix = "has_"

// inferred is a hyperparameter with the value of every row.
type inferred struct {
	param  space.Hyperparameter
	values []space.Value // Inactive where blank
	blanks int
}

// inferSpace derives a search space from the values of configurations by the
// rules of the package documentation, and returns the configurations in it.
// dropped lists the columns without any value.
func inferSpace(columns []values) (s *space.Space, configs []space.Config, dropped []string, err error) {
	var params []*inferred
	rows := 0
	for _, col := range columns {
		rows = len(col.cells)
		p := col.infer()
		if p == nil {
			dropped = append(dropped, col.name)
			continue
		}
		params = append(params, p)
	}
	// First explain all blanks by the columns as they are, then give those that
	// nothing explains a value or a switch of their own.
	var conds []space.Condition
	explained := make([]bool, len(params))
	for i, p := range params {
		if parent, choices := p.explain(params); parent != nil {
			conds = append(conds, activeIf(p.param.Name, parent.param.Name, choices))
			explained[i] = true
		}
	}
	var declared []space.Hyperparameter
	var order []*inferred // like declared, nil for a switch of the next one
	for i, p := range params {
		switch isRange := p.param.Type == space.Real || p.param.Type == space.Integer; {
		case p.blanks == 0 || explained[i]:
		case isRange:
			name := switchPrefix + p.param.Name
			declared = append(declared, space.Hyperparameter{
				Name: name, Type: space.Categorical, Choices: []space.Value{space.Bool(false), space.Bool(true)},
			})
			order = append(order, nil)
			conds = append(conds, activeIf(p.param.Name, name, []space.Value{space.Bool(true)}))
		default:
			p.admitNone()
		}
		declared = append(declared, p.param)
		order = append(order, p)
	}
	s, err = space.New("inferred", declared, conds)
	if err != nil {
		return nil, nil, nil, err
	}
	configs = make([]space.Config, rows)
	for r := range configs {
		c := make(space.Config, len(order))
		for i, p := range order {
			if p == nil {
				c[i] = space.Bool(!order[i+1].values[r].IsInactive())
			} else {
				c[i] = p.values[r]
			}
		}
		if err := s.Validate(c); err != nil {
			return nil, nil, nil, fmt.Errorf("row %d does not fit the inferred space: %w", r+1, err)
		}
		configs[r] = c
	}
	return s, configs, dropped, nil
}

// activeIf makes child conditional on parent having one of the choices.
func activeIf(child, parent string, choices []space.Value) space.Condition {
	return space.Condition{Child: child, AnyOf: [][]space.Clause{{{Parent: parent, Op: space.In, Values: choices}}}}
}

// infer finds the type of a column, nil if it has no value.
func (col *values) infer() *inferred {
	count := map[cellKind]int{}
	for _, c := range col.cells {
		count[c.kind]++
	}
	n := len(col.cells)
	given := n - count[cellBlank]
	if given == 0 {
		return nil
	}
	p := &inferred{param: space.Hyperparameter{Name: col.name}, values: make([]space.Value, n), blanks: count[cellBlank]}
	switch given - count[cellNone] {
	case count[cellBool]:
		p.discrete(col, func(c cell) space.Value { return space.Bool(c.num != 0) })
	case count[cellNumber]:
		p.numeric(col, given)
	default:
		p.discrete(col, func(c cell) space.Value { return space.String(c.text) })
	}
	return p
}

// discrete makes p a categorical, or a constant, of the values that read gives
// to the cells.
func (p *inferred) discrete(col *values, read func(cell) space.Value) {
	found := map[space.Value]bool{}
	for i, c := range col.cells {
		switch c.kind {
		case cellBlank:
			continue
		case cellNone:
			p.values[i] = space.None
		default:
			p.values[i] = read(c)
		}
		found[p.values[i]] = true
	}
	p.param.Choices = slices.SortedFunc(maps.Keys(found), compareValues)
	p.param.Type = space.Categorical
	if len(p.param.Choices) == 1 {
		p.param.Type = space.Constant
	}
}

// compareValues orders choices: None, then numbers, then texts.
func compareValues(a, b space.Value) int {
	if a == space.None || b == space.None || a.Kind() == space.KindString || b.Kind() == space.KindString {
		if c := int(a.Kind()) - int(b.Kind()); c != 0 {
			return c
		}
		return strings.Compare(a.Text(), b.Text())
	}
	switch {
	case a.Num() < b.Num():
		return -1
	case a.Num() > b.Num():
		return 1
	}
	return 0
}

// numeric makes p a constant, an ordinal, an integer or a real. given is the
// number of cells that are not blank.
func (p *inferred) numeric(col *values, given int) {
	whole := true
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, c := range col.cells {
		if c.kind == cellNumber {
			whole = whole && c.num == math.Trunc(c.num) && math.Abs(c.num) <= maxWhole
			lo, hi = min(lo, c.num), max(hi, c.num)
		}
	}
	p.discrete(col, func(c cell) space.Value {
		if whole {
			return space.Int(int64(c.num))
		}
		return space.Float(c.num)
	})
	if p.param.Type == space.Constant {
		return
	}
	p.param.Log = lo > 0 && hi/lo > logRatio
	// A range must have two ends that differ by a finite number.
	if d := len(p.param.Choices); d <= ordinalChoices && given >= ordinalRepeats*d || lo == hi || math.IsInf(hi-lo, 0) {
		p.param.Type = space.Ordinal
		return
	}
	p.param.Choices = nil
	p.param.Lower, p.param.Upper = lo, hi
	p.param.Type = space.Real
	if whole {
		p.param.Type = space.Integer
	}
	for i, v := range p.values {
		if v == space.None { // a range cannot hold it
			p.values[i] = space.Inactive
			p.blanks++
		}
	}
}

// explain looks for a discrete hyperparameter whose value tells in every row
// whether p is blank, and returns it with the values for which p is not. Those
// with the fewest blanks are tried first, so that a hyperparameter never
// depends on one that depends on it.
func (p *inferred) explain(params []*inferred) (*inferred, []space.Value) {
	candidates := slices.Clone(params)
	slices.SortStableFunc(candidates, func(a, b *inferred) int { return a.blanks - b.blanks })
	for _, q := range candidates {
		if q.blanks >= p.blanks {
			break
		}
		if q.param.Type != space.Categorical && q.param.Type != space.Ordinal {
			continue
		}
		if choices := p.activeFor(q); choices != nil {
			return q, choices
		}
	}
	return nil, nil
}

// activeFor returns the choices of q with which p has a value, nil if some
// choice occurs both with and without one.
func (p *inferred) activeFor(q *inferred) []space.Value {
	const with, without = 1, 2
	seen := map[space.Value]int{}
	for i, v := range q.values {
		state := with
		if p.values[i].IsInactive() {
			state = without
		}
		if v.IsInactive() {
			if state == with {
				return nil
			}
			v = space.None // which a blank of q may become
		}
		if seen[v] |= state; seen[v] == with|without {
			return nil
		}
	}
	var choices []space.Value
	for _, v := range q.param.Choices {
		if seen[v] == with {
			choices = append(choices, v)
		}
	}
	return choices
}

// admitNone makes blanks the choice None.
func (p *inferred) admitNone() {
	for i, v := range p.values {
		if v.IsInactive() {
			p.values[i] = space.None
		}
	}
	if !slices.Contains(p.param.Choices, space.None) {
		p.param.Choices = append([]space.Value{space.None}, p.param.Choices...)
	}
	if p.param.Type == space.Constant && len(p.param.Choices) > 1 {
		p.param.Type = space.Categorical
	}
}
