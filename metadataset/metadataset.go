// Package metadataset stores learning curves of (data set, configuration)
// pairs as a directory of Parquet files and shows them in memory as columns.
//
// [Write] checks everything and publishes whole directories only; [Open] reads
// one into a [Store] whose inner accessors do not allocate and which any number
// of goroutines may share; [Verify] lists all that is wrong with one, by file,
// row and reason. The format is described, down to the column, in
// docs/format-metadataset.md.
//
// The package refuses to interpret: it knows no method, no budget and no
// regret, it never fills in a number the source did not give, and it never
// changes a directory it opened. It trusts no file: hashes, structure and
// ranges are checked before a number is handed out, and malformed Parquet ends
// in an error, not in a panic or in gigabytes.
package metadataset

import (
	"quicktune/space"
)

// FormatVersion is the version that this package writes, and the only one that
// it reads.
const FormatVersion = 1

// Goal tells which values of the metric are better.
type Goal string

// The goals.
const (
	Maximize Goal = "maximize"
	Minimize Goal = "minimize"
)

// Column names a per-epoch quantity of the curves. The string is the column's
// name in Parquet.
type Column string

// The per-epoch columns. All are float32; NaN in memory and null in the file
// mean that the source does not tell (or, for the metric of a diverged epoch,
// that there is no number).
const (
	TrainLoss    Column = "train_loss"
	ValLoss      Column = "val_loss"
	TestLoss     Column = "test_loss"
	ValAccuracy  Column = "val_accuracy"  // in [0, 1]
	TestAccuracy Column = "test_accuracy" // in [0, 1]
	LearningRate Column = "learning_rate"
	// Seconds is what one epoch cost: training plus evaluation. Cumulative
	// time is derived, never stored.
	Seconds Column = "seconds"
	// EvalSeconds is the part of Seconds that evaluation took.
	EvalSeconds Column = "eval_seconds"
)

// Columns lists the per-epoch columns in the order of the file.
var Columns = []Column{TrainLoss, ValLoss, TestLoss, ValAccuracy, TestAccuracy, LearningRate, Seconds, EvalSeconds}

// Metric is the quantity that a search on the meta-dataset optimises.
type Metric struct {
	Column Column `json:"column"` // ValAccuracy or ValLoss
	Goal   Goal   `json:"goal"`
}

// What Input.TimeUnit and Manifest.TimeUnit can be.
const (
	TimeSeconds = "seconds" // the seconds column tells what an epoch cost
	TimeEpochs  = "epochs"  // no time is known and each epoch counts 1
)

// End says why a curve has no further epoch.
type End string

// The ends. MemoryTest marks curves of the released Quick-Tune data that are no
// training run: a one-batch memory test of linear probing.
const (
	EndCompleted   End = "completed"     // trained for as many epochs as planned
	EndTimeCapped  End = "time-capped"   // the time limit of one curve was reached
	EndDiverged    End = "diverged"      // the loss was not finite
	EndOutOfMemory End = "out-of-memory" // the device's memory did not suffice
	EndFailed      End = "failed"        // anything else that went wrong
	EndMemoryTest  End = "memory-test"   // a defect of the source, kept and marked
	EndUnknown     End = "unknown"       // shorter than planned; the source does not say why
)

// Dataset is one data set on which configurations were trained.
type Dataset struct {
	Name string
	// Descriptors; 0 where the source does not tell.
	TrainSamples int
	Classes      int
	Pixels       int
	Channels     int
	// MetaFeatures holds further numbers, named by Manifest.MetaFeatures;
	// nil or as long as that.
	MetaFeatures []float64
}

// Model is one pretrained model of the hub. Numbers are NaN where unknown.
type Model struct {
	Name           string
	Params         float64 // parameters, in millions
	SourceAccuracy float64 // accuracy on the data it was pretrained on, in [0, 1]
	Pixels         float64 // width of its input
	GMACs          float64 // multiply-accumulate operations of one image, in 10^9
}

// Input is a whole meta-dataset to be written, in any order. Write sorts it.
type Input struct {
	Space        *space.Space
	Metric       Metric
	MaxEpochs    int       // epochs planned for every curve
	ModelParam   string    // the hyperparameter that names the model, "" if there is none
	TimeUnit     string    // TimeSeconds or TimeEpochs
	CurveCap     float64   // the time at which curves were cut, in TimeUnit, 0 if they were not
	Budgets      []float64 // that a search is usually compared at, in TimeUnit and ascending; may be nil
	MetaFeatures []string  // names of Dataset.MetaFeatures
	Generator    string    // what made it, in one line
	Notes        []string  // what a reader must know about the data: known defects, estimates
	Datasets     []Dataset
	Models       []Model
	Curves       []InputCurve
}

// InputCurve is one configuration with its curve.
type InputCurve struct {
	ID      string // unique in the whole meta-dataset
	Dataset string
	Config  space.Config
	// Values holds for each known column one number an epoch, NaN where
	// unknown. All have the same length, which may be 0.
	Values map[Column][]float32
	End    End
	Reason string // free text: more about the end, usually empty
}
