// Package space describes what can be tuned: typed hyperparameters, the
// conditions under which each of them applies, and configurations drawn from
// them.
//
// It samples, validates, counts, encodes and decodes configurations and reads
// and writes descriptions as JSON. It refuses to know what a hyperparameter
// does, which configurations are good, or how they are stored.
package space

// Type is the domain of a hyperparameter.
type Type uint8

// The domains. Categorical and Ordinal list their values; Float and Int are
// ranges; a Constant has one value and is never searched.
const (
	Categorical Type = iota // unordered choices
	Ordinal                 // choices in ascending order of meaning
	Float                   // real numbers in [Lower, Upper]
	Int                     // whole numbers in [Lower, Upper]
	Constant                // one choice
)

// Config is one configuration: the value of hyperparameter i of its space at
// position i, Inactive where its condition does not hold.
type Config []Value
