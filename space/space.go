package space

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Type is the domain of a hyperparameter.
type Type uint8

// The domains. Categorical and Ordinal list their values; Real and Integer are
// ranges; a Constant has one value and is never searched.
const (
	Categorical Type = iota // unordered choices
	Ordinal                 // choices in ascending order of meaning
	Real                    // real numbers in [Lower, Upper]
	Integer                 // whole numbers in [Lower, Upper]
	Constant                // one choice
)

var typeNames = [...]string{"categorical", "ordinal", "real", "integer", "constant"}

// String returns the name of the type as the JSON format spells it.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// Config is one configuration: the value of hyperparameter i of its space at
// position i, Inactive where its condition does not hold.
type Config []Value

// Hyperparameter declares one dimension of a space.
type Hyperparameter struct {
	// Name is unique in its space, not empty and free of '=' and control
	// characters.
	Name string
	Type Type
	// Choices lists the values of a Categorical or Ordinal (at least one), and
	// the one value of a Constant. None is allowed as a choice. The numbers of
	// one hyperparameter are all Int or all Float, and no two choices print
	// alike. Readers must not modify the slice.
	Choices []Value
	// Lower and Upper bound a Real or an Integer, both inclusive;
	// Lower < Upper.
	Lower, Upper float64
	// Log makes a Real or an Integer be drawn uniformly on a log scale and
	// encoded by its logarithm; bounds must be positive then. An Ordinal whose
	// choices are numbers >= 0 or None may declare it too: that changes its
	// encoding only.
	Log bool
	// Default is what a trainer uses while the hyperparameter is inactive. It
	// need not be a choice; a number becomes an Int or a Float as the others
	// are. Inactive if undeclared.
	Default Value
	// Group is a heading for display, such as "Optimisation"; it may be empty.
	Group string
}

// numberKind is the kind of the hyperparameter's numbers, KindInactive if it
// has none.
func (h *Hyperparameter) numberKind() ValueKind {
	switch h.Type {
	case Real:
		return KindFloat
	case Integer:
		return KindInt
	}
	for _, v := range h.Choices {
		if v.kind == KindInt || v.kind == KindFloat {
			return v.kind
		}
	}
	return KindInactive
}

// coerce turns a number into the kind that the hyperparameter's numbers have,
// where that changes nothing but the kind.
func (h *Hyperparameter) coerce(v Value) Value {
	switch kind := h.numberKind(); {
	case v.kind == KindInt && kind == KindFloat:
		return Float(v.num)
	case v.kind == KindFloat && kind == KindInt && isWhole(v.num):
		return Int(int64(v.num))
	}
	return v
}

// allowed describes the domain for an error message.
func (h *Hyperparameter) allowed() string {
	switch h.Type {
	case Real:
		return fmt.Sprintf("a number in [%s, %s]", formatFloat(h.Lower), formatFloat(h.Upper))
	case Integer:
		return fmt.Sprintf("a whole number in [%.0f, %.0f]", h.Lower, h.Upper)
	case Constant:
		return printable(h.Choices[0])
	}
	return "one of " + joinValues(h.Choices)
}

// contains reports whether v is in the domain.
func (h *Hyperparameter) contains(v Value) bool {
	switch h.Type {
	case Real:
		return v.kind == KindFloat && v.num >= h.Lower && v.num <= h.Upper
	case Integer:
		return v.kind == KindInt && v.num >= h.Lower && v.num <= h.Upper
	}
	return slices.Contains(h.Choices, v)
}

// maxInt is the largest magnitude up to which every whole number is a float64.
const maxInt = 1 << 53

func isWhole(f float64) bool { return math.Abs(f) <= maxInt && f == math.Trunc(f) }

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func joinValues(vs []Value) string {
	words := make([]string, len(vs))
	for i, v := range vs {
		words[i] = printable(v)
	}
	return strings.Join(words, ", ")
}

func (h *Hyperparameter) check() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("hyperparameter %q: %s", h.Name, fmt.Sprintf(format, args...))
	}
	if h.Name == "" {
		return fmt.Errorf("a hyperparameter has no name")
	}
	if !utf8.ValidString(h.Name) || strings.ContainsFunc(h.Name, func(r rune) bool { return r == '=' || unicode.IsControl(r) }) {
		return fail("the name holds '=', a control character or invalid UTF-8")
	}
	if !utf8.ValidString(h.Group) {
		return fail("the group %q is not valid UTF-8", h.Group)
	}
	if err := checkValue(h.Default); err != nil {
		return fail("default: %v", err)
	}
	switch h.Type {
	case Real, Integer:
		if len(h.Choices) > 0 {
			return fail("type %s has bounds, not choices", h.Type)
		}
		if !(h.Lower < h.Upper) || math.IsInf(h.Lower, 0) || math.IsInf(h.Upper, 0) || math.IsInf(h.Upper-h.Lower, 0) {
			return fail("bounds [%g, %g] are not two finite numbers in ascending order", h.Lower, h.Upper)
		}
		if h.Type == Integer && !(isWhole(h.Lower) && isWhole(h.Upper)) {
			return fail("bounds [%g, %g] are not whole numbers of at most 2^53", h.Lower, h.Upper)
		}
		if h.Log && h.Lower <= 0 {
			return fail("a log scale needs bounds above 0, not %g", h.Lower)
		}
		return nil
	case Categorical, Ordinal, Constant:
		return h.checkChoices(fail)
	}
	return fail("unknown type %d", h.Type)
}

func (h *Hyperparameter) checkChoices(fail func(string, ...any) error) error {
	if h.Lower != 0 || h.Upper != 0 {
		return fail("type %s has choices, not bounds", h.Type)
	}
	if len(h.Choices) == 0 {
		return fail("has no choices")
	}
	if h.Type == Constant && len(h.Choices) != 1 {
		return fail("a constant has one value, not %d", len(h.Choices))
	}
	if h.Log && h.Type != Ordinal {
		return fail("type %s has no log scale", h.Type)
	}
	kind := h.numberKind()
	seen := make(map[string]bool, len(h.Choices))
	for _, v := range h.Choices {
		if err := checkValue(v); err != nil {
			return fail("%v", err)
		}
		if v.kind == KindInactive {
			return fail("Inactive cannot be a choice")
		}
		if isNumber := v.kind == KindInt || v.kind == KindFloat; isNumber && v.kind != kind {
			return fail("choices mix whole numbers and fractions: write %s as a fraction", v)
		}
		if h.Log && v.kind != KindNone && !(v.num >= 0 && v.kind == kind) {
			return fail("a log scale needs numbers >= 0, not %s", printable(v))
		}
		text := v.String()
		if seen[text] {
			return fail("the choice %s occurs twice", printable(v))
		}
		seen[text] = true
	}
	return nil
}

// checkValue refuses values that JSON cannot hold exactly.
func checkValue(v Value) error {
	switch v.kind {
	case KindInt:
		if !isWhole(v.num) {
			return fmt.Errorf("whole number %.0f is beyond 2^53", v.num)
		}
	case KindFloat:
		if math.IsNaN(v.num) || math.IsInf(v.num, 0) {
			return fmt.Errorf("number %g is not finite", v.num)
		}
	case KindString:
		if !utf8.ValidString(v.str) {
			return fmt.Errorf("text %q is not valid UTF-8", v.str)
		}
	}
	return nil
}

// Space is a set of hyperparameters with conditions. It does not change after
// [New] and may be used by several goroutines.
type Space struct {
	name   string
	params []Hyperparameter
	conds  []Condition
	index  map[string]int
	order  []int         // topological: parents before children
	rules  [][]condition // per hyperparameter, all of which must hold
	hash   string
}

// New builds a space. Hyperparameters keep their order. It refuses duplicate
// or malformed hyperparameters, conditions that name something unknown, and
// conditions that form a cycle.
func New(name string, params []Hyperparameter, conds []Condition) (*Space, error) {
	s := &Space{
		name:   name,
		params: slices.Clone(params),
		index:  make(map[string]int, len(params)),
		rules:  make([][]condition, len(params)),
	}
	fail := func(err error) (*Space, error) { return nil, fmt.Errorf("space %q: %w", name, err) }
	if !utf8.ValidString(name) {
		return fail(fmt.Errorf("the name is not valid UTF-8"))
	}
	for i := range s.params {
		h := &s.params[i]
		h.Choices = slices.Clone(h.Choices)
		h.Default = h.coerce(h.Default)
		if err := h.check(); err != nil {
			return fail(err)
		}
		if _, double := s.index[h.Name]; double {
			return fail(fmt.Errorf("hyperparameter %q is declared twice", h.Name))
		}
		s.index[h.Name] = i
	}
	s.conds = cloneConditions(conds)
	for _, c := range s.conds {
		child, rule, err := s.compile(c)
		if err != nil {
			return fail(err)
		}
		s.rules[child] = append(s.rules[child], rule)
	}
	var err error
	if s.order, err = s.sortTopologically(); err != nil {
		return fail(err)
	}
	if s.hash, err = s.computeHash(); err != nil {
		return fail(err)
	}
	return s, nil
}

// Name returns the name given to [New].
func (s *Space) Name() string { return s.name }

// Len returns the number of hyperparameters, constants included.
func (s *Space) Len() int { return len(s.params) }

// Param returns hyperparameter i, which runs from 0 to Len()-1. Its Choices
// must not be modified.
func (s *Space) Param(i int) Hyperparameter { return s.params[i] }

// Index returns the position of the named hyperparameter, -1 if there is none.
func (s *Space) Index(name string) int {
	if i, ok := s.index[name]; ok {
		return i
	}
	return -1
}

// Conditions returns a copy of the conditions in the order given to [New].
func (s *Space) Conditions() []Condition { return cloneConditions(s.conds) }

// Conditional reports whether hyperparameter i has a condition, and so can be
// inactive.
func (s *Space) Conditional(i int) bool { return len(s.rules[i]) > 0 }

// Active reports whether the conditions of hyperparameter i hold in c, whatever
// value c gives it. Only the values of its parents are looked at; c must be as
// long as the space.
func (s *Space) Active(c Config, i int) bool {
	for _, rule := range s.rules[i] {
		if !rule.holds(c) {
			return false
		}
	}
	return true
}

// Validate returns nil if c is a configuration of the space: every active
// hyperparameter has an allowed value and every other one is Inactive. The
// error names the first offending hyperparameter and what it may be.
func (s *Space) Validate(c Config) error {
	if len(c) != len(s.params) {
		return fmt.Errorf("configuration has %d values, space %q has %d hyperparameters", len(c), s.name, len(s.params))
	}
	for _, i := range s.order {
		h := &s.params[i]
		v := c[i]
		switch active := s.Active(c, i); {
		case active && v.IsInactive():
			return fmt.Errorf("hyperparameter %q is not set: use %s", h.Name, h.allowed())
		case !active && !v.IsInactive():
			return fmt.Errorf("hyperparameter %q is %s but does not apply: leave it out, or make %s hold", h.Name, printable(v), s.describeRules(i))
		case active && !h.contains(v):
			return fmt.Errorf("hyperparameter %q is %s: use %s", h.Name, quote(v), h.allowed())
		}
	}
	return nil
}

// printable formats v on one line, whatever it holds.
func printable(v Value) string {
	if text := v.String(); strings.ContainsFunc(text, unicode.IsControl) {
		return strconv.Quote(text)
	}
	return v.String()
}

// quote formats v so that a text is told from a number.
func quote(v Value) string {
	if v.kind == KindString {
		return strconv.Quote(v.str)
	}
	return v.String()
}

// Sample draws a configuration: each active hyperparameter uniformly from its
// domain (on a log scale where a range declares it), parents before children.
// It is always valid. The numbers taken from rng depend on the space alone.
func (s *Space) Sample(rng *rand.Rand) Config {
	c := make(Config, len(s.params))
	for _, i := range s.order {
		if s.Active(c, i) {
			c[i] = s.params[i].sample(rng)
		}
	}
	return c
}

func (h *Hyperparameter) sample(rng *rand.Rand) Value {
	switch h.Type {
	case Real:
		var x float64
		if h.Log {
			lo, hi := math.Log(h.Lower), math.Log(h.Upper)
			x = math.Exp(lo + rng.Float64()*(hi-lo))
		} else {
			x = h.Lower + rng.Float64()*(h.Upper-h.Lower)
		}
		return Float(min(max(x, h.Lower), h.Upper))
	case Integer:
		if !h.Log {
			return Int(int64(h.Lower) + rng.Int64N(int64(h.Upper)-int64(h.Lower)+1))
		}
		// Each number n stands for the interval [n-1/2, n+1/2).
		lo, hi := math.Log(h.Lower-0.5), math.Log(h.Upper+0.5)
		x := math.Round(math.Exp(lo + rng.Float64()*(hi-lo)))
		return Int(int64(min(max(x, h.Lower), h.Upper)))
	}
	if len(h.Choices) == 1 {
		return h.Choices[0]
	}
	return h.Choices[rng.IntN(len(h.Choices))]
}

// Map returns the active hyperparameters of c by name, constants included.
func (s *Space) Map(c Config) map[string]Value {
	m := make(map[string]Value, len(c))
	for i, v := range c {
		if !v.IsInactive() {
			m[s.params[i].Name] = v
		}
	}
	return m
}

// ConfigFromMap builds the configuration with the given values and validates
// it. Names that are missing are inactive, active constants need not be named,
// and 1 and 1.0 are taken for each other where the space has only one of them.
// An unknown name is an error.
func (s *Space) ConfigFromMap(m map[string]Value) (Config, error) {
	c := make(Config, len(s.params))
	var unknown []string
	for name, v := range m {
		i, ok := s.index[name]
		if !ok {
			unknown = append(unknown, strconv.Quote(name))
			continue
		}
		c[i] = s.params[i].coerce(v)
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, fmt.Errorf("space %q has no hyperparameter %s", s.name, strings.Join(unknown, ", "))
	}
	for _, i := range s.order {
		if h := &s.params[i]; h.Type == Constant && c[i].IsInactive() && s.Active(c, i) {
			c[i] = h.Choices[0]
		}
	}
	if err := s.Validate(c); err != nil {
		return nil, err
	}
	return c, nil
}

// Format writes c on one line for a person: "model=dla46x_c, lr=0.001, ...",
// the active hyperparameters in the order of the space, without constants.
func (s *Space) Format(c Config) string {
	var b strings.Builder
	for i, v := range c {
		if v.IsInactive() || s.params[i].Type == Constant {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s.params[i].Name)
		b.WriteByte('=')
		b.WriteString(v.String())
	}
	return b.String()
}
