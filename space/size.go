package space

import (
	"fmt"
	"iter"
	"math/big"
	"slices"
)

// class is a set of values of one hyperparameter between which no clause
// distinguishes.
type class struct {
	example Value
	size    *big.Int
}

// Size returns the number of distinct valid configurations. It is not finite,
// and n is nil, if a Real can be active.
//
// Hyperparameters are visited parents first. What has been visited matters to
// the rest only through the truth of those clauses whose child is still to
// come, so a table from those truths to the number of partial configurations
// is all that is kept: the work grows with the number of coupled parents, not
// with the size of the space.
func (s *Space) Size() (n *big.Int, finite bool) {
	type watch struct {
		bit  int
		test *clause
	}
	watched := make([][]watch, len(s.params)) // by parent: the clauses it decides
	bits := 0
	bitOf := map[*clause]int{}
	for i := range s.params {
		s.clauses(i, func(c *clause) {
			bitOf[c] = bits
			watched[c.parent] = append(watched[c.parent], watch{bits, c})
			bits++
		})
	}
	states := map[string]*big.Int{string(make([]byte, bits)): big.NewInt(1)}
	for _, i := range s.order {
		classes := s.params[i].classes(func(yield func(Value)) {
			for _, w := range watched[i] {
				for _, v := range w.test.values {
					yield(v)
				}
			}
		})
		next := map[string]*big.Int{}
		for state, count := range states {
			truth := []byte(state)
			active := true
			for _, rule := range s.rules[i] {
				held := false
				for _, all := range rule {
					conjunction := true
					for j := range all {
						conjunction = conjunction && truth[bitOf[&all[j]]] == 1
					}
					held = held || conjunction
				}
				active = active && held
			}
			s.clauses(i, func(c *clause) { truth[bitOf[c]] = 0 }) // read for the last time
			if !active {
				add(next, string(truth), count)
				continue
			}
			if s.params[i].Type == Real {
				return nil, false
			}
			for _, cl := range classes {
				for _, w := range watched[i] {
					truth[w.bit] = 0
					if w.test.holds(cl.example) {
						truth[w.bit] = 1
					}
				}
				add(next, string(truth), new(big.Int).Mul(count, cl.size))
			}
		}
		states = next
	}
	n = new(big.Int)
	for _, count := range states {
		n.Add(n, count)
	}
	return n, true
}

func add(m map[string]*big.Int, key string, n *big.Int) {
	if old := m[key]; old != nil {
		n = new(big.Int).Add(old, n)
	}
	m[key] = n
}

// classes splits the domain at the given values. The classes of a Real are not
// sized.
func (h *Hyperparameter) classes(values func(yield func(Value))) []class {
	if h.Type != Integer && h.Type != Real {
		out := make([]class, len(h.Choices))
		for i, v := range h.Choices {
			out[i] = class{v, big.NewInt(1)}
		}
		return out
	}
	if h.Type == Real {
		return nil
	}
	var cuts []int64
	values(func(v Value) { cuts = append(cuts, int64(v.num)) })
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var out []class
	span := func(lo, hi int64) {
		if lo <= hi {
			out = append(out, class{Int(lo), big.NewInt(hi - lo + 1)})
		}
	}
	from := int64(h.Lower)
	for _, cut := range cuts {
		span(from, cut-1)
		span(cut, cut)
		from = cut + 1
	}
	span(from, int64(h.Upper))
	return out
}

// All iterates over every configuration, parents before children and the last
// hyperparameter fastest. Each configuration is the caller's. It is meant for
// spaces small enough to visit; one in which a Real can be active is refused.
func (s *Space) All() (iter.Seq[Config], error) {
	if _, finite := s.Size(); !finite {
		return nil, fmt.Errorf("space %q has real numbers and cannot be enumerated: sample it", s.name)
	}
	return func(yield func(Config) bool) {
		c := make(Config, len(s.params))
		var visit func(depth int) bool
		visit = func(depth int) bool {
			if depth == len(s.order) {
				return yield(slices.Clone(c))
			}
			i := s.order[depth]
			defer func() { c[i] = Inactive }()
			if !s.Active(c, i) {
				return visit(depth + 1)
			}
			h := &s.params[i]
			if h.Type == Integer {
				for n := int64(h.Lower); n <= int64(h.Upper); n++ {
					c[i] = Int(n)
					if !visit(depth + 1) {
						return false
					}
				}
				return true
			}
			for _, v := range h.Choices {
				c[i] = v
				if !visit(depth + 1) {
					return false
				}
			}
			return true
		}
		visit(0)
	}, nil
}
