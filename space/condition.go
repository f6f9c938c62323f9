package space

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Op is how a [Clause] compares its parent.
type Op string

// The comparisons. LessThan and GreaterThan compare the numbers of a Real or
// an Integer, and the positions in Choices of an Ordinal.
const (
	In          Op = "in"
	NotIn       Op = "not_in"
	LessThan    Op = "<"
	GreaterThan Op = ">"
)

// Clause is one comparison of a parent with values: one or more for In and
// NotIn, exactly one for LessThan and GreaterThan. No clause holds while its
// parent is inactive. Values must be in the parent's domain.
type Clause struct {
	Parent string  `json:"parent"`
	Op     Op      `json:"op"`
	Values []Value `json:"values"`
}

// String writes the clause as "opt in adam, adamw".
func (c Clause) String() string {
	op := string(c.Op)
	if c.Op == NotIn {
		op = "not in"
	}
	return c.Parent + " " + op + " " + joinValues(c.Values)
}

// Condition makes Child active only if all clauses of at least one element of
// AnyOf hold. Several conditions on one child must all hold.
type Condition struct {
	Child string     `json:"child"`
	AnyOf [][]Clause `json:"any_of"`
}

// String writes the condition as "opt in adam or sched in step and lr > 0.1".
func (c Condition) String() string {
	alternatives := make([]string, len(c.AnyOf))
	for i, all := range c.AnyOf {
		words := make([]string, len(all))
		for j, clause := range all {
			words[j] = clause.String()
		}
		alternatives[i] = strings.Join(words, " and ")
	}
	return strings.Join(alternatives, " or ")
}

func cloneConditions(conds []Condition) []Condition {
	if conds == nil {
		return nil
	}
	out := make([]Condition, len(conds))
	for i, c := range conds {
		out[i] = Condition{Child: c.Child, AnyOf: make([][]Clause, len(c.AnyOf))}
		for j, all := range c.AnyOf {
			out[i].AnyOf[j] = make([]Clause, len(all))
			for k, clause := range all {
				clause.Values = slices.Clone(clause.Values)
				out[i].AnyOf[j][k] = clause
			}
		}
	}
	return out
}

// condition is a compiled Condition: a disjunction of conjunctions.
type condition [][]clause

type clause struct {
	parent int
	op     Op
	values []Value
	// choices is set where the comparison is one of positions.
	choices []Value
	bound   float64 // of LessThan and GreaterThan: a number or a position
}

func (c condition) holds(cfg Config) bool {
	for _, all := range c {
		held := true
		for i := range all {
			if !all[i].holds(cfg[all[i].parent]) {
				held = false
				break
			}
		}
		if held {
			return true
		}
	}
	return false
}

func (c *clause) holds(v Value) bool {
	if v.kind == KindInactive {
		return false
	}
	switch c.op {
	case In:
		return slices.Contains(c.values, v)
	case NotIn:
		return !slices.Contains(c.values, v)
	}
	x := v.num
	if c.choices != nil {
		x = float64(slices.Index(c.choices, v))
	}
	if c.op == LessThan {
		return x < c.bound
	}
	return x > c.bound
}

func (s *Space) compile(c Condition) (child int, rule condition, err error) {
	fail := func(format string, args ...any) (int, condition, error) {
		return 0, nil, fmt.Errorf("condition on %q: %s", c.Child, fmt.Sprintf(format, args...))
	}
	child, ok := s.index[c.Child]
	if !ok {
		return fail("no hyperparameter has that name")
	}
	if len(c.AnyOf) == 0 {
		return fail("has no clauses")
	}
	for _, all := range c.AnyOf {
		if len(all) == 0 {
			return fail("an alternative has no clauses")
		}
		var compiled []clause
		for _, cl := range all {
			parent, ok := s.index[cl.Parent]
			if !ok {
				return fail("parent %q is not a hyperparameter", cl.Parent)
			}
			cc, err := compileClause(&s.params[parent], cl)
			if err != nil {
				return fail("%v", err)
			}
			cc.parent = parent
			compiled = append(compiled, cc)
		}
		rule = append(rule, compiled)
	}
	return child, rule, nil
}

func compileClause(h *Hyperparameter, cl Clause) (clause, error) {
	if len(cl.Values) == 0 {
		return clause{}, fmt.Errorf("%q is compared with nothing", cl.Parent)
	}
	for i, v := range cl.Values {
		if !h.contains(v) {
			return clause{}, fmt.Errorf("%q can never be %s: use %s", cl.Parent, quote(v), h.allowed())
		}
		if slices.Contains(cl.Values[:i], v) {
			return clause{}, fmt.Errorf("%q is compared with %s twice", cl.Parent, printable(v))
		}
	}
	out := clause{op: cl.Op, values: cl.Values}
	switch cl.Op {
	case In, NotIn:
		return out, nil
	case LessThan, GreaterThan:
		if len(cl.Values) != 1 {
			return clause{}, fmt.Errorf("%q %s needs one value, not %d", cl.Parent, cl.Op, len(cl.Values))
		}
		switch h.Type {
		case Real, Integer:
			out.bound = cl.Values[0].num
		case Ordinal:
			out.choices = h.Choices
			out.bound = float64(slices.Index(h.Choices, cl.Values[0]))
		default:
			return clause{}, fmt.Errorf("%q is %s and has no order for %q", cl.Parent, h.Type, cl.Op)
		}
		return out, nil
	}
	return clause{}, fmt.Errorf("unknown comparison %q: use in, not_in, < or >", cl.Op)
}

// clauses calls yield for every clause on which hyperparameter i depends.
func (s *Space) clauses(i int, yield func(*clause)) {
	for _, rule := range s.rules[i] {
		for _, all := range rule {
			for j := range all {
				yield(&all[j])
			}
		}
	}
}

// describeRules formats all conditions of hyperparameter i.
func (s *Space) describeRules(i int) string {
	var words []string
	for _, c := range s.conds {
		if c.Child == s.params[i].Name {
			words = append(words, c.String())
		}
	}
	if len(words) == 1 {
		return words[0]
	}
	return "(" + strings.Join(words, ") and (") + ")"
}

// sortTopologically puts parents before children and otherwise keeps the order
// of declaration.
func (s *Space) sortTopologically() ([]int, error) {
	waits := make([]int, len(s.params)) // parents not yet placed, with multiplicity
	children := make([][]int, len(s.params))
	for i := range s.params {
		s.clauses(i, func(c *clause) {
			waits[i]++
			children[c.parent] = append(children[c.parent], i)
		})
	}
	order := make([]int, 0, len(s.params))
	for len(order) < len(s.params) {
		next := slices.Index(waits, 0)
		if next < 0 {
			return nil, fmt.Errorf("the conditions form a cycle: %s", s.describeCycle(waits))
		}
		waits[next] = math.MinInt // placed
		order = append(order, next)
		for _, child := range children[next] {
			waits[child]--
		}
	}
	return order, nil
}

// describeCycle follows unplaced parents from an unplaced hyperparameter until
// one comes again.
func (s *Space) describeCycle(waits []int) string {
	at := slices.IndexFunc(waits, func(w int) bool { return w > 0 })
	var path []int
	for !slices.Contains(path, at) {
		path = append(path, at)
		parent := -1
		s.clauses(at, func(c *clause) {
			if waits[c.parent] > 0 && parent < 0 {
				parent = c.parent
			}
		})
		at = parent
	}
	path = append(path[slices.Index(path, at):], at)
	names := make([]string, len(path))
	for i, p := range path {
		names[i] = s.params[p].Name
	}
	return strings.Join(names, " depends on ")
}
