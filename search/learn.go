package search

import (
	"context"

	"quicktune/space"
)

// Learn makes the factory of a method that learns from the curves of other data
// sets before it searches. Method.Learn is set instead of Method.New by such a
// method.
//
// Learn is called once for each MetaData; the factory is then used on any number
// of problems. It returns ctx.Err() soon after ctx is done, keeping under
// MetaData.Cache what would be a loss to do again.
type Learn func(ctx context.Context, m MetaData) (Factory, error)

// MetaData is what a method may learn from: the curves of data sets other than
// those that it is used on. It must not be changed.
type MetaData struct {
	Space     *space.Space
	Metric    Metric
	MaxEpochs int
	// ModelParam is the hyperparameter that names the pretrained model, "" if
	// there is none; Hub tells what is known of the models.
	ModelParam string
	Hub        []Model
	// Train is never empty. Validation is for choosing weights and settings; a
	// method that chooses nothing learns from it as well. It may be empty.
	Train, Validation []Curves
	// Cache is an existing directory that keeps what was learnt, or "" if
	// nothing is kept. Whatever differs in MetaData, Parallel aside, has
	// another directory, so names of files in it need tell apart only methods,
	// their settings and the versions of their formats.
	Cache string
	// Parallel is how many processors to use, at least 1. It changes no result.
	Parallel int
	// Progress, if not nil, is told how much of the learning is done, from one
	// goroutine at a time.
	Progress func(done, total int64)
}

// Model is a pretrained model as it is known before any training. Unknown
// numbers are NaN.
type Model struct {
	Name           string
	Params         float64 // parameters, in millions
	SourceAccuracy float64 // accuracy on the data it was pretrained on, in [0, 1]
	Pixels         float64 // width of its input
	GMACs          float64 // multiply-accumulate operations of one image, in 10^9
}

// Curves are the learning curves of one data set. All slices have one entry a
// configuration.
type Curves struct {
	Task    Task
	Configs []space.Config
	// Scores and Seconds hold one number an epoch; higher scores are better,
	// NaN means that the epoch gave none.
	Scores, Seconds [][]float32
	// Untrained marks curves that are no training but a test run that was
	// recorded like one.
	Untrained []bool
}
