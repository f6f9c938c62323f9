package space_test

import (
	"math/big"
	"slices"
	"testing"

	"quicktune/space"
)

func TestSizeOfCoupledParents(t *testing.T) {
	abc := texts("u", "v", "w")
	for name, tt := range map[string]struct {
		params []space.Hyperparameter
		conds  []space.Condition
		want   string
	}{
		"nothing":    {nil, nil, "1"},
		"a constant": {[]space.Hyperparameter{{Name: "x", Type: space.Constant, Choices: ints(1)}}, nil, "1"},
		// u, v: 3 values of b each; w: none.
		"one parent": {
			[]space.Hyperparameter{{Name: "a", Choices: abc}, {Name: "b", Choices: abc}},
			[]space.Condition{when("b", "a", space.NotIn, space.String("w"))}, "7"},
		// a=u: b=u: 3 of c; b=v, w: 1 each. a=v, w: c is inactive with b: 1 each.
		"a chain": {
			[]space.Hyperparameter{{Name: "c", Choices: abc}, {Name: "b", Choices: abc}, {Name: "a", Choices: abc}},
			[]space.Condition{when("b", "a", space.In, space.String("u")), when("c", "b", space.In, space.String("u"))}, "7"},
		// n < 10: 9 values times 3; n > 90: 10 values times 3; the other 81.
		"a range as parent": {
			[]space.Hyperparameter{{Name: "n", Type: space.Integer, Lower: 1, Upper: 100}, {Name: "b", Choices: abc}},
			[]space.Condition{{Child: "b", AnyOf: [][]space.Clause{
				{{Parent: "n", Op: space.LessThan, Values: ints(10)}}, {{Parent: "n", Op: space.GreaterThan, Values: ints(90)}}}}}, "138"},
		"a wide range": {
			[]space.Hyperparameter{{Name: "n", Type: space.Integer, Lower: -1 << 53, Upper: 1 << 53}, {Name: "m", Type: space.Integer, Lower: -1 << 53, Upper: 1 << 53}},
			nil, new(big.Int).Exp(big.NewInt(1<<54+1), big.NewInt(2), nil).String()},
		"a real": {[]space.Hyperparameter{{Name: "x", Type: space.Real, Upper: 1}}, nil, ""},
		// b needs a=u and a=v at once, so the real is never active.
		"a real that never applies": {
			[]space.Hyperparameter{{Name: "a", Choices: abc}, {Name: "x", Type: space.Real, Upper: 1}},
			[]space.Condition{when("x", "a", space.In, space.String("u")), when("x", "a", space.In, space.String("v"))}, "3"},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustNew(t, tt.params, tt.conds)
			n, finite := s.Size()
			if finite != (tt.want != "") {
				t.Fatalf("finite is %v", finite)
			}
			if finite && n.String() != tt.want {
				t.Errorf("size %v, want %s", n, tt.want)
			}
		})
	}
}

func TestAllVisitsInOrderAndStops(t *testing.T) {
	s := mustNew(t, []space.Hyperparameter{
		{Name: "n", Type: space.Integer, Lower: 1, Upper: 2}, {Name: "b", Choices: texts("u", "v")}, {Name: "k", Type: space.Constant, Choices: ints(5)},
	}, []space.Condition{when("b", "n", space.GreaterThan, space.Int(1))})
	all, err := s.All()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for c := range all {
		got = append(got, s.Format(c))
	}
	if want := []string{"n=1", "n=2, b=u", "n=2, b=v"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	visited := 0
	for range all {
		if visited++; visited == 2 {
			break
		}
	}
	if visited != 2 {
		t.Errorf("%d configurations after a break at 2", visited)
	}
	endless := mustNew(t, []space.Hyperparameter{{Name: "x", Type: space.Real, Upper: 1}}, nil)
	if _, err := endless.All(); err == nil || err.Error() != `space "test" has real numbers and cannot be enumerated: sample it` {
		t.Errorf("a real: %v", err)
	}
}
