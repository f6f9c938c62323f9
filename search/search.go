// Package search is the contract between an optimiser and whoever trains for
// it: ask for a proposal, tell what came of it.
//
// The package holds no method and no clock. The simulated clock of
// benchmark/replay and the live loop of the tune command drive every optimiser
// through the same two calls; searchtest holds what each optimiser promises.
package search

import (
	"quicktune/space"
)

// Problem is what an optimiser may know before it starts. It never contains
// anything of the future: no curve, no cost.
type Problem struct {
	// Space describes the hyperparameters of Candidates. It may be nil for a
	// pool that is known by number only; methods that need it say so.
	Space *space.Space
	// Candidates is the finite pool to choose from. Its index is the
	// candidate's identity.
	Candidates []space.Config
	// Task describes the data set to tune on.
	Task Task
	// MaxEpochs is the largest number of epochs that any candidate is trained
	// for, at least 1.
	MaxEpochs int
	// Budget is the time that the search has, in seconds, 0 if it is not
	// known beforehand.
	Budget float64
	// Workers is how many proposals may be outstanding at once, at least 1.
	Workers int
	// Metric says what Report.Score is.
	Metric Metric
	// Seed names the random streams of the optimiser.
	Seed uint64
}

// Task describes a data set by what is known without training. Unknown numbers
// are 0.
type Task struct {
	Name         string
	TrainSamples int // images (or rows) in the training part
	Classes      int
	Pixels       int // width of an image as stored
	Channels     int
	// MetaFeatures holds further numbers of the meta-dataset, in the order
	// its manifest names them.
	MetaFeatures []float64
}

// Metric tells how to read Report.Score. A score is always better when higher.
type Metric struct {
	Name string
	// Bounded is true for accuracies, whose scores lie in [0, 1]; false for
	// negated losses, which have no bounds.
	Bounded bool
}

// Proposal asks to train one trial up to an epoch.
type Proposal struct {
	// Trial numbers the training run, from 0 upwards. A number already used
	// continues that run from its last epoch; the next number starts one from
	// the pretrained weights, even if another trial trains the same candidate.
	Trial int
	// Candidate is the index of the configuration in Problem.Candidates.
	Candidate int
	// Epoch is the last epoch to train, counted from 1, greater than the last
	// epoch that was told for this trial and at most Problem.MaxEpochs.
	Epoch int
}

// Status says what Ask has to offer.
type Status uint8

// What Ask can answer.
const (
	Ready Status = iota // the proposal holds
	Wait                // nothing until an outstanding proposal ends
	Done                // nothing ever again, whatever the outstanding proposals give
)

// End says why a curve ended, as an optimiser needs to know it.
type End uint8

// The ends. NotEnded is that of an epoch with more to come.
const (
	NotEnded  End = iota
	Completed     // the curve has no further epoch, though nothing went wrong
	Failed        // diverged, out of memory, crashed: no further epoch, no model
)

// Report is one thing that happened to a trial: an epoch finished, or the
// curve ended, or both at once.
type Report struct {
	Trial     int
	Candidate int
	// Epoch is the epoch that finished, counted from 1. A trial that ends
	// without finishing a further epoch is reported with the epoch it had
	// reached, 0 if none, and a NaN score.
	Epoch int
	// Score is higher when better, in [0, 1] if the metric is bounded. NaN:
	// the epoch gave no number (it diverged).
	Score float64
	// Seconds is what this epoch alone cost, in seconds.
	Seconds float64
	// Clock is the time at which the report was made, in seconds since the
	// search began.
	Clock float64
	// End is not NotEnded if the trial can be trained no further, which shows
	// only while it is being trained: an end belongs to an outstanding
	// proposal. A trial that reaches Problem.MaxEpochs is reported as
	// Completed together with that epoch.
	End End
	// Proposed is true if the proposal that this report belongs to is
	// finished: its epoch is reached or the curve ended. The worker is then
	// free.
	Proposed bool
}

// Optimizer chooses what to train next. It is used by one goroutine.
//
// An optimiser is deterministic: the same Problem and the same sequence of
// calls give the same proposals. It never proposes a trial that ended, nor one
// that is outstanding, and survives NaN scores, failures, curves that end
// before the proposed epoch and up to Problem.Workers outstanding proposals.
// It does not change the Problem. A candidate whose trial ended without a
// single epoch costs nothing to try, so an optimiser that may try candidates
// again must give up on such a one, or a search could go on for ever in no time.
type Optimizer interface {
	// Ask proposes what to train next. With Wait or Done the proposal is
	// meaningless. Wait is answered only while a proposal is outstanding.
	Ask() (Proposal, Status)
	// Tell reports one event. Reports of one trial come in the order of its
	// epochs, each epoch once; those of different trials come in any order.
	// Only trials that were proposed are told.
	Tell(Report)
}

// Factory makes an optimiser for a problem, or says in one line why the method
// cannot work on it.
type Factory func(Problem) (Optimizer, error)

// Method is an entry of the table of methods.
type Method struct {
	Name    string // as on the command line: "hyperband"
	Title   string // as in a report: "Hyperband"
	Source  string // the paper or the public implementation that defines it
	Details string // settings in one line: "eta=3, brackets of Algorithm 1"
	Uses    Uses
	// New makes an optimiser for a problem. It is nil for a method that must
	// learn from other data sets first, which has Learn instead.
	New   Factory
	Learn Learn
}

// Uses tells what a method looks at besides the scores it is told.
type Uses struct {
	Fidelity bool // stops and continues curves
	Cost     bool // predicts or counts seconds
	MetaData bool // learns from other data sets
	Budget   bool // looks at Problem.Budget: its runs differ by budget
	// Repeats is true for methods that may train one candidate more than
	// once, each time as a trial of its own.
	Repeats bool
	// Seedless is true for methods that draw no random numbers: runs on one
	// problem are the same with all seeds, so one need be made.
	Seedless bool
}
