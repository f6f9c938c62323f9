// Package trees fits regression trees to tables: gradient boosting over
// histograms (Boosting) and forests of exact trees (Forest). They are the
// learners behind the meta-learned methods and the surrogate of SMAC.
//
// A table is row-major float64; NaN is a value of its own, sent left or right
// at each split as the training data prefer. Boosting follows the rules of
// scikit-learn's HistGradientBoostingRegressor, bins and splits included.
//
// Gradients are summed as integers. A gradient is rounded to a fixed point
// chosen for each tree, with 62 - 2 log2(rows) bits below the largest (28 bits
// at 85,000 rows, 38 at 3,000), and shares a word with the row count. The sums
// are therefore exact: a histogram does not depend on the order of rows, the
// difference of two histograms is the histogram of the difference, two features
// that split rows alike score alike to the last bit, and the lower feature
// index, then the lower threshold, wins. A fit is the same on every machine.
//
// The package does not encode categories, search settings, stop early or use
// more than one goroutine: fit independent models in parallel instead.
package trees
