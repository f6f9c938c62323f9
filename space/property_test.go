package space_test

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"quicktune/space"
)

// drawSpace draws a space of up to maxParams hyperparameters with conditions;
// a finite one has at most 4 values each.
func drawSpace(t *rapid.T, maxParams int, finite bool) *space.Space {
	n := rapid.IntRange(1, maxParams).Draw(t, "hyperparameters")
	params := make([]space.Hyperparameter, n)
	for i := range params {
		params[i] = drawParam(t, fmt.Sprintf("p%d", i), finite)
	}
	// Parents come earlier in a random order, which rules out cycles.
	order := rapid.Permutation(indices(n)).Draw(t, "order")
	var conds []space.Condition
	for k := 1; k < n; k++ {
		for range rapid.IntRange(0, 2).Draw(t, "conditions") {
			c := space.Condition{Child: params[order[k]].Name}
			for range rapid.IntRange(1, 2).Draw(t, "alternatives") {
				var all []space.Clause
				for range rapid.IntRange(1, 2).Draw(t, "clauses") {
					all = append(all, drawClause(t, params[order[rapid.IntRange(0, k-1).Draw(t, "parent")]]))
				}
				c.AnyOf = append(c.AnyOf, all)
			}
			conds = append(conds, c)
		}
	}
	s, err := space.New("random", params, conds)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func drawParam(t *rapid.T, name string, finite bool) space.Hyperparameter {
	h := space.Hyperparameter{Name: name, Log: rapid.Bool().Draw(t, "log"), Group: rapid.SampledFrom([]string{"", "Group"}).Draw(t, "group")}
	kinds := 7
	if !finite {
		kinds = 9
	}
	kind := rapid.IntRange(0, kinds-1).Draw(t, "kind")
	size := rapid.IntRange(1, 4).Draw(t, "size")
	switch kind {
	case 0:
		h.Log = false
		h.Choices = texts("u", "v", "w", "None ")[:size]
	case 1:
		h.Log = false
		h.Choices = []space.Value{space.None, space.Bool(true), space.Int(7), space.String("x")}[:size]
	case 2:
		h.Type, h.Log = space.Ordinal, false
		h.Choices = texts("small", "medium", "large", "huge")[:size]
	case 3:
		h.Type = space.Ordinal
		h.Choices = append([]space.Value{space.None}, floats(0, 0.001, 20)...)[:size]
	case 4:
		h.Type, h.Log = space.Ordinal, false
		h.Choices = []space.Value{space.Bool(false), space.Bool(true), space.None}[:min(size, 3)]
	case 5:
		h.Type, h.Log = space.Constant, false
		h.Choices = ints(50)
	case 6, 7:
		h.Type = space.Integer
		h.Lower = float64(rapid.IntRange(1, 5).Draw(t, "lower"))
		h.Upper = h.Lower + float64(rapid.IntRange(1, 3).Draw(t, "span"))
		if kind == 7 {
			h.Upper = h.Lower + float64(rapid.IntRange(1, 1<<40).Draw(t, "wide span"))
		}
	case 8:
		h.Type = space.Real
		h.Lower = rapid.Float64Range(1e-9, 10).Draw(t, "lower")
		h.Upper = h.Lower + rapid.Float64Range(1e-3, 1e6).Draw(t, "span")
	}
	if rapid.Bool().Draw(t, "default") {
		h.Default = rapid.SampledFrom([]space.Value{space.None, space.Int(3), space.Float(0.25), space.Bool(true), space.String("u")}).Draw(t, "value")
	}
	return h
}

func drawClause(t *rapid.T, parent space.Hyperparameter) space.Clause {
	ops := []space.Op{space.In, space.NotIn}
	if parent.Type != space.Categorical && parent.Type != space.Constant {
		ops = append(ops, space.LessThan, space.GreaterThan)
	}
	c := space.Clause{Parent: parent.Name, Op: rapid.SampledFrom(ops).Draw(t, "op")}
	count := 1
	if c.Op == space.In || c.Op == space.NotIn {
		count = rapid.IntRange(1, 2).Draw(t, "values")
	}
	for range count {
		var v space.Value
		switch parent.Type {
		case space.Real:
			v = space.Float(rapid.Float64Range(parent.Lower, parent.Upper).Draw(t, "value"))
		case space.Integer:
			v = space.Int(rapid.Int64Range(int64(parent.Lower), int64(parent.Upper)).Draw(t, "value"))
		default:
			v = rapid.SampledFrom(parent.Choices).Draw(t, "value")
		}
		if !slices.Contains(c.Values, v) {
			c.Values = append(c.Values, v)
		}
	}
	return c
}

func TestRandomSpaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSpace(t, 8, false)
		rng := newRNG(rapid.Uint64().Draw(t, "seed"))

		data, err := s.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := space.Parse(data)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if parsed.Hash() != s.Hash() {
			t.Fatalf("%s: another hash after a round trip", data)
		}

		train := make([]space.Config, 10)
		for i := range train {
			train[i] = s.Sample(rng)
			if err := s.Validate(train[i]); err != nil {
				t.Fatalf("sampled %s: %v", s.Format(train[i]), err)
			}
			if back, err := parsed.ConfigFromMap(s.Map(train[i])); err != nil || !slices.Equal(back, train[i]) {
				t.Fatalf("%s through a map: %v (%v)", s.Format(train[i]), back, err)
			}
		}
		options := space.EncodingOptions{Inactive: rapid.SampledFrom([]space.InactiveColumns{space.InactiveFlag, space.InactiveDefault}).Draw(t, "inactive")}
		encoding, err := space.NewEncoding(s, options)
		if err != nil {
			t.Fatal(err)
		}
		encoder, err := encoding.Fit(train[:5])
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range train {
			x := encoder.Encode(nil, c)
			back, err := encoder.Decode(x)
			if err != nil {
				t.Fatal(err)
			}
			if !closeTo(s, c, back) {
				t.Fatalf("%s became %s", s.Format(c), s.Format(back))
			}
			if slices.ContainsFunc(x, func(f float64) bool { return math.IsNaN(f) || math.IsInf(f, 0) }) {
				t.Fatalf("%s encoded as %v", s.Format(c), x)
			}
		}
		// Any vector decodes to a valid configuration.
		x := rapid.SliceOfN(rapid.Float64Range(-1e3, 1e3), encoder.Width(), encoder.Width()).Draw(t, "x")
		c, err := encoder.Decode(x)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(c); err != nil {
			t.Fatalf("decoded %s: %v", s.Format(c), err)
		}
	})
}

// closeTo compares two configurations: exactly, but for the rounding of Reals.
func closeTo(s *space.Space, a, b space.Config) bool {
	for i := range a {
		if s.Param(i).Type == space.Real && !a[i].IsInactive() && !b[i].IsInactive() {
			h := s.Param(i)
			if math.Abs(a[i].Num()-b[i].Num()) > 1e-12*max(math.Abs(h.Lower), math.Abs(h.Upper)) {
				return false
			}
		} else if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestSizeEqualsBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSpace(t, 5, true)
		// Every combination of every value, Inactive included, that is valid.
		values := make([][]space.Value, s.Len())
		for i := range values {
			h := s.Param(i)
			values[i] = append([]space.Value{space.Inactive}, h.Choices...)
			if h.Type == space.Integer {
				for n := int64(h.Lower); n <= int64(h.Upper); n++ {
					values[i] = append(values[i], space.Int(n))
				}
			}
		}
		valid := map[string]bool{}
		c := make(space.Config, s.Len())
		var visit func(i int)
		visit = func(i int) {
			if i == s.Len() {
				if s.Validate(c) == nil {
					valid[fmt.Sprintf("%#v", c)] = true
				}
				return
			}
			for _, v := range values[i] {
				c[i] = v
				visit(i + 1)
			}
		}
		visit(0)
		n, finite := s.Size()
		if !finite || n.Cmp(big.NewInt(int64(len(valid)))) != 0 {
			t.Fatalf("size %v (finite: %v), want %d", n, finite, len(valid))
		}
		all, err := s.All()
		if err != nil {
			t.Fatal(err)
		}
		for c := range all {
			key := fmt.Sprintf("%#v", c)
			if !valid[key] {
				t.Fatalf("%s is invalid or comes twice", s.Format(c))
			}
			delete(valid, key)
		}
		if len(valid) > 0 {
			t.Fatalf("%d configurations were not visited", len(valid))
		}
	})
}
