// Package space describes what can be tuned: typed hyperparameters, the
// conditions under which each of them applies, and configurations drawn from
// them.
//
// It samples, validates, counts, encodes and decodes configurations and reads
// and writes descriptions as JSON. It refuses to know what a hyperparameter
// does, which configurations are good, or how they are stored.
//
// # Spaces and configurations
//
// A [Space] is a list of [Hyperparameter] and a list of [Condition]. It is built
// by [New], read by [Parse] or [ParseConfigSpace], or taken from [QuickTune],
// and does not change afterwards. A [Config] holds one [Value] a
// hyperparameter, by position. Two special values must not be mixed up:
//
//   - [Inactive]: the hyperparameter does not apply, because its conditions do
//     not hold. The momentum of a configuration that trains with Adam is
//     Inactive.
//   - [None]: a choice like any other that is spelled None, such as "no
//     gradient clipping".
//
// Default is a third thing: what a trainer uses for a hyperparameter while it
// is Inactive. It may lie outside the choices.
//
// # Description as JSON
//
// [Space.MarshalJSON] writes and [Parse] reads
//
//	{
//	  "format": "quicktune-space",
//	  "version": 1,
//	  "name": "example",
//	  "hyperparameters": [
//	    {"name": "opt", "type": "categorical", "choices": ["sgd", "momentum"], "group": "Optimisation"},
//	    {"name": "momentum", "type": "ordinal", "choices": [0.8, 0.9, 0.99], "default": 0.9},
//	    {"name": "lr", "type": "real", "lower": 1e-05, "upper": 0.1, "log": true},
//	    {"name": "batch_size", "type": "integer", "lower": 2, "upper": 64, "log": true},
//	    {"name": "clip_grad", "type": "ordinal", "choices": [null, 1, 10]},
//	    {"name": "epochs", "type": "constant", "choices": [50]}
//	  ],
//	  "conditions": [
//	    {"child": "momentum", "any_of": [[{"parent": "opt", "op": "in", "values": ["momentum"]}]]}
//	  ]
//	}
//
// The types are categorical (unordered choices), ordinal (choices in ascending
// order of meaning), real and integer (lower and upper, both inclusive) and
// constant (one choice). Choices are null for None, true, false, numbers and
// texts; a number with a point or an exponent is a fraction, any other a whole
// number, and the numbers of one hyperparameter are all of one kind (where one
// is a fraction, all are). log, default and group may be left out; a default of
// null is None, no default at all is none.
//
// A child is active if, for each condition on it, all clauses of at least one
// element of any_of hold. The comparisons are in, not_in, < and >; the latter
// two take one value and compare numbers, or positions in the choices of an
// ordinal. No clause holds while its parent is inactive. Conditions must not
// form a cycle.
//
// Fields are written in the order above, without blanks, and numbers in their
// shortest form: equal spaces have equal bytes. [Space.Hash] is the SHA-256 of
// these bytes.
//
// # Vectors
//
// [NewEncoding] lays out named columns, [Encoding.Fit] standardises them from
// training configurations alone, and [Encoder.Encode] and [Encoder.Decode] go
// there and back without loss.
package space
