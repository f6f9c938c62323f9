package space

import (
	"fmt"
	"math"
	"strconv"
)

// ValueKind tells what a [Value] holds.
type ValueKind uint8

// The kinds of a Value. Inactive is the zero value.
const (
	KindInactive ValueKind = iota // the hyperparameter does not apply
	KindNone                      // a choice that is spelled None (null in JSON)
	KindBool
	KindInt
	KindFloat
	KindString
)

// Value is one value of one hyperparameter. Values are comparable with ==;
// the zero Value is [Inactive]. Int and Float values of the same number are
// different Values: a space decides which of the two a hyperparameter uses.
type Value struct {
	str  string
	num  float64
	kind ValueKind
}

// Inactive marks a hyperparameter whose condition does not hold.
var Inactive = Value{}

// None is the explicit choice "nothing", such as no gradient clipping.
var None = Value{kind: KindNone}

// Bool returns a boolean value.
func Bool(b bool) Value {
	if b {
		return Value{kind: KindBool, num: 1}
	}
	return Value{kind: KindBool}
}

// Int returns an integer value; it is exact up to 2^53.
func Int(i int64) Value { return Value{kind: KindInt, num: float64(i)} }

// Float returns a number. Negative zero becomes zero, so that equal numbers
// are equal Values.
func Float(f float64) Value {
	if f == 0 {
		f = 0
	}
	return Value{kind: KindFloat, num: f}
}

// String returns a text value.
func String(s string) Value { return Value{kind: KindString, str: s} }

// Kind tells what v holds.
func (v Value) Kind() ValueKind { return v.kind }

// IsInactive reports whether v is [Inactive].
func (v Value) IsInactive() bool { return v.kind == KindInactive }

// Num returns the number in a Bool (0 or 1), Int or Float value and NaN for
// every other kind.
func (v Value) Num() float64 {
	switch v.kind {
	case KindBool, KindInt, KindFloat:
		return v.num
	}
	return math.NaN()
}

// Text returns the text of a String value and "" for every other kind.
func (v Value) Text() string { return v.str }

// String formats v as a person would write it: 0.001, true, adamw, None, and
// "-" for an inactive value.
func (v Value) String() string {
	switch v.kind {
	case KindInactive:
		return "-"
	case KindNone:
		return "None"
	case KindBool:
		return strconv.FormatBool(v.num != 0)
	case KindInt:
		return strconv.FormatInt(int64(v.num), 10)
	case KindFloat:
		return strconv.FormatFloat(v.num, 'g', -1, 64)
	case KindString:
		return v.str
	}
	return fmt.Sprintf("Value(kind %d)", v.kind)
}
