package space

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Bounds on what ParseConfigSpace expands, far beyond any real description.
const (
	maxGrid    = 10000 // values of a quantised range
	maxClauses = 4096  // clauses of one condition after it is flattened
)

type configSpaceJSON struct {
	Name            *string                `json:"name"`
	Hyperparameters []configSpaceParam     `json:"hyperparameters"`
	Conditions      []configSpaceCondition `json:"conditions"`
	Forbiddens      []json.RawMessage      `json:"forbiddens"`
}

type configSpaceParam struct {
	Name          string    `json:"name"`
	Type          string    `json:"type"`
	Choices       []Value   `json:"choices"`
	Sequence      []Value   `json:"sequence"`
	Value         Value     `json:"value"`
	Weights       []float64 `json:"weights"`
	Probabilities []float64 `json:"probabilities"` // weights in old files
	Lower         Value     `json:"lower"`
	Upper         Value     `json:"upper"`
	Log           bool      `json:"log"`
	Q             *float64  `json:"q"` // the step of a quantised range, until ConfigSpace 0.7
}

type configSpaceCondition struct {
	Type       string                 `json:"type"`
	Child      string                 `json:"child"`
	Parent     string                 `json:"parent"`
	Value      Value                  `json:"value"`
	Values     []Value                `json:"values"`
	Conditions []configSpaceCondition `json:"conditions"`
}

// ParseConfigSpace reads the JSON of the Python package ConfigSpace (Lindauer
// et al.: BOAH, arXiv:1908.06756), both as written until 0.7 and from 1.0 on.
//
// It understands the types categorical, ordinal, constant, unparametrized,
// uniform_float and uniform_int; a quantised range (q) becomes an Ordinal of its
// grid. The text "None" becomes the choice [None]. Conditions EQ, NEQ, IN, LT
// and GT and their nestings by AND and OR are kept.
//
// What would change the meaning if it were left out is refused: forbidden
// clauses, unequal weights, other distributions, a quantised log scale. Default
// values are not taken over: they are what ConfigSpace proposes first while a
// parameter is active, not what a trainer uses while it is not.
func ParseConfigSpace(data []byte) (*Space, error) {
	var in configSpaceJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("ConfigSpace JSON: %w", placeError(data, err))
	}
	if in.Hyperparameters == nil {
		return nil, errors.New("ConfigSpace JSON: there is no list of hyperparameters")
	}
	if n := len(in.Forbiddens); n > 0 {
		return nil, fmt.Errorf("ConfigSpace JSON: %d forbidden clauses are not supported: express them as conditions", n)
	}
	name := "configspace"
	if in.Name != nil && *in.Name != "" {
		name = *in.Name
	}
	params := make([]Hyperparameter, len(in.Hyperparameters))
	byName := map[string]*Hyperparameter{}
	for i, p := range in.Hyperparameters {
		h, err := p.hyperparameter()
		if err != nil {
			return nil, fmt.Errorf("ConfigSpace JSON: hyperparameter %q: %w", p.Name, err)
		}
		params[i] = h
		byName[h.Name] = &params[i]
	}
	var conds []Condition
	for _, c := range in.Conditions {
		child := c.child()
		anyOf, err := c.flatten(child)
		if err != nil {
			return nil, fmt.Errorf("ConfigSpace JSON: condition on %q: %w", child, err)
		}
		conds = append(conds, Condition{Child: child, AnyOf: anyOf})
	}
	coerceConditions(conds, byName)
	s, err := New(name, params, conds)
	if err != nil {
		return nil, fmt.Errorf("ConfigSpace JSON: %w", err)
	}
	return s, nil
}

func (p configSpaceParam) hyperparameter() (Hyperparameter, error) {
	h := Hyperparameter{Name: p.Name}
	for _, weights := range [][]float64{p.Weights, p.Probabilities} {
		for _, w := range weights {
			if w != weights[0] {
				return h, errors.New("unequal weights of choices are not supported")
			}
		}
	}
	switch p.Type {
	case "categorical":
		h.Type, h.Choices = Categorical, p.Choices
	case "ordinal":
		h.Type, h.Choices = Ordinal, p.Sequence
	case "constant", "unparametrized":
		h.Type, h.Choices = Constant, []Value{p.Value}
		if p.Value.IsInactive() {
			return h, errors.New("the constant has no value")
		}
	case "uniform_float", "uniform_int":
		return p.uniform()
	default:
		return h, fmt.Errorf("type %q is not supported: use categorical, ordinal, constant, uniform_float or uniform_int", p.Type)
	}
	for i, v := range h.Choices {
		h.Choices[i] = noneFromText(v)
	}
	promoteChoices(h.Choices)
	return h, nil
}

func (p configSpaceParam) uniform() (Hyperparameter, error) {
	h := Hyperparameter{Name: p.Name, Type: Real, Log: p.Log}
	if p.Type == "uniform_int" {
		h.Type = Integer
	}
	h.Lower, h.Upper = p.Lower.Num(), p.Upper.Num()
	if math.IsNaN(h.Lower) || math.IsNaN(h.Upper) {
		return h, errors.New("lower and upper must be numbers")
	}
	if p.Q == nil {
		return h, nil
	}
	if p.Log {
		return h, errors.New("a quantised log scale is not supported: list the values as an ordinal")
	}
	grid, err := quantise(h, *p.Q)
	return Hyperparameter{Name: p.Name, Type: Ordinal, Choices: grid}, err
}

// quantise lists lower, lower+q, ... up to upper.
func quantise(h Hyperparameter, q float64) ([]Value, error) {
	steps := (h.Upper - h.Lower) / q
	if !(q > 0) || !(steps >= 0) || steps > maxGrid {
		return nil, fmt.Errorf("q=%g does not divide [%g, %g] into at most %d steps", q, h.Lower, h.Upper, maxGrid)
	}
	if math.Abs(steps-math.Round(steps)) > 1e-9*math.Max(1, steps) {
		return nil, fmt.Errorf("q=%g does not divide [%g, %g] evenly", q, h.Lower, h.Upper)
	}
	if h.Type == Integer && !(isWhole(q) && isWhole(h.Lower)) {
		return nil, fmt.Errorf("q=%g and lower=%g are not whole numbers", q, h.Lower)
	}
	last := int(math.Round(steps))
	grid := make([]Value, last+1)
	for k := range grid {
		x := h.Lower + float64(k)*q
		if h.Type == Integer {
			grid[k] = Int(int64(x))
			continue
		}
		// The nearest short decimal, so that 0.1 + 2*0.1 is 0.3.
		short, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 12, 64), 64)
		if err != nil {
			return nil, err
		}
		switch k {
		case 0:
			short = h.Lower
		case last:
			short = h.Upper
		}
		grid[k] = Float(short)
	}
	return grid, nil
}

func noneFromText(v Value) Value {
	if v.kind == KindString && v.str == "None" {
		return None
	}
	return v
}

// child returns the child of the condition, which a conjunction may name only
// inside.
func (c configSpaceCondition) child() string {
	if c.Child == "" && len(c.Conditions) > 0 {
		return c.Conditions[0].child()
	}
	return c.Child
}

// flatten turns nested conjunctions into a disjunction of conjunctions.
func (c configSpaceCondition) flatten(child string) ([][]Clause, error) {
	if c.child() != child {
		return nil, fmt.Errorf("a part of it is on %q", c.child())
	}
	leaf := func(op Op, values ...Value) ([][]Clause, error) {
		clause := Clause{Parent: c.Parent, Op: op}
		for _, v := range values {
			if v.IsInactive() {
				return nil, fmt.Errorf("type %s compares %q with nothing", c.Type, c.Parent)
			}
			if v = noneFromText(v); !slices.Contains(clause.Values, v) {
				clause.Values = append(clause.Values, v)
			}
		}
		return [][]Clause{{clause}}, nil
	}
	switch strings.ToUpper(c.Type) {
	case "EQ":
		return leaf(In, c.Value)
	case "NEQ":
		return leaf(NotIn, c.Value)
	case "IN":
		return leaf(In, c.Values...)
	case "LT":
		return leaf(LessThan, c.Value)
	case "GT":
		return leaf(GreaterThan, c.Value)
	case "OR":
		return c.flattenOr(child)
	case "AND":
		return c.flattenAnd(child)
	}
	return nil, fmt.Errorf("type %q is not supported: use EQ, NEQ, IN, LT, GT, AND or OR", c.Type)
}

func (c configSpaceCondition) flattenOr(child string) ([][]Clause, error) {
	var out [][]Clause
	for _, part := range c.Conditions {
		flat, err := part.flatten(child)
		if err != nil {
			return nil, err
		}
		out = append(out, flat...)
	}
	return out, checkExpansion(out)
}

func (c configSpaceCondition) flattenAnd(child string) ([][]Clause, error) {
	if len(c.Conditions) == 0 {
		return nil, errors.New("type AND has no conditions")
	}
	out := [][]Clause{nil}
	for _, part := range c.Conditions {
		flat, err := part.flatten(child)
		if err != nil {
			return nil, err
		}
		var product [][]Clause
		for _, left := range out {
			for _, right := range flat {
				product = append(product, slices.Concat(left, right))
			}
			if err := checkExpansion(product); err != nil {
				return nil, err
			}
		}
		out = product
	}
	return out, nil
}

func checkExpansion(anyOf [][]Clause) error {
	n := 0
	for _, all := range anyOf {
		n += len(all)
	}
	if n > maxClauses {
		return fmt.Errorf("it has more than %d clauses once AND and OR are multiplied out", maxClauses)
	}
	return nil
}
