// Package trainer is the contract of those who fine-tune networks, and the
// embedded trainer, which needs nothing but Go.
//
// A [Trainer] gets a [Request] and answers with one [Record] a finished epoch
// and one [End]. It works in the process or behind a pipe: the
// JSON-lines form of the same is written by [Encoder] and read by [Decode].
//
// The package refuses to decide what is trained, in which order, how often and
// on which machine, and it stores no curve: that is for its callers. It never
// reads an image file either; data sets reach it as [Images].
package trainer

import (
	"context"

	"quicktune/metadataset"
	"quicktune/space"
)

// Side is the width and the height of an image, Channels the number of its
// colours, red, green and blue.
const (
	Side     = 32
	Channels = 3
	// Pixels is the number of bytes of one image.
	Pixels = Side * Side * Channels
)

// Split is one part of a data set.
type Split struct {
	// Pixels holds the images one after the other, [Pixels] bytes each, by
	// rows from the top, within a row by columns from the left, the three
	// colours of a pixel side by side (NHWC). 0 is black.
	Pixels []uint8
	// Labels holds one class an image, from 0.
	Labels []int
}

// Len is the number of images.
func (s Split) Len() int { return len(s.Labels) }

// Images is a data set ready for training. A trainer never changes it, and
// several trials may read one at a time.
type Images struct {
	Name                    string
	Classes                 int // at least 2; some may have no image in a split
	Train, Validation, Test Split
	// Symmetric tells that a mirrored image belongs to the same class, as
	// that of a shoe does and that of a letter does not. Training mirrors half
	// of its images then.
	Symmetric bool
}

// Request asks for one trial: one configuration trained on one data set.
type Request struct {
	// Trial names the trial in records, errors and logs.
	Trial string `json:"trial"`
	// Model names a network of the trainer's hub.
	Model string `json:"model"`
	// Config holds the active hyperparameters by name; what is missing has the
	// default of the trainer's space. A constant that names the model or the
	// number of epochs may be among them: Model and Epochs decide.
	Config map[string]space.Value `json:"config"`
	// Dataset names the data set; whoever made the trainer told it how to find
	// it.
	Dataset string `json:"dataset"`
	// Epochs is the planned length of the curve, over which learning rates are
	// scheduled.
	Epochs int `json:"epochs"`
	// Until is the epoch after which to stop, at most Epochs; 0 means Epochs.
	// A trial that stops there can be continued later, by the same request with
	// a greater Until, as if it had never stopped.
	Until int `json:"until,omitempty"`
	// Seed decides every random number of the trial.
	Seed uint64 `json:"seed"`
	// CurveCap is the number of seconds, training plus evaluation over all
	// epochs, at which the curve ends; 0 means no limit. The epoch in which the
	// limit is reached is not recorded, unless it is the first.
	CurveCap float64 `json:"curve_cap,omitempty"`
	// Checkpoint is a directory of the trial's own, made if it is missing, from
	// which an interrupted trial goes on; "" means that nothing is kept.
	Checkpoint string `json:"checkpoint,omitempty"`
}

// Record is what one epoch gave. Numbers that are unknown are NaN, in JSON
// they are left out.
type Record struct {
	Trial        string
	Epoch        int     // from 1
	TrainLoss    float64 // mean over the epoch's batches, with all regularisers
	ValLoss      float64 // mean cross-entropy
	ValAccuracy  float64 // in [0, 1]
	TestAccuracy float64 // in [0, 1]
	LearningRate float64 // of the head, during the epoch
	TrainSeconds float64
	EvalSeconds  float64 // for validation and test together
}

// End is how a request ended.
type End struct {
	Trial string
	// End is EndCompleted if the epoch Until was reached, be it the last one
	// planned or not.
	End metadataset.End
	// Reason says more in one line, usually nothing.
	Reason string
}

// A Trainer trains. It may be used by several goroutines at a time.
type Trainer interface {
	// Train works on one request until its end and calls emit, from the
	// caller's goroutine, for each finished epoch in ascending order. A trial
	// that goes on from its checkpoint emits the records of the epochs in the
	// checkpoint again first, exactly as they were; epochs that the checkpoint
	// does not hold yet are trained again, with the same result but for the
	// seconds. A caller that has a record of an epoch already keeps the old
	// one.
	//
	// What goes wrong with the trial itself is an End: a loss that is not
	// finite, a lack of memory, a configuration that cannot be trained.
	// The error is for what goes wrong with the work: ctx is done, which is
	// noticed at the next batch, emit failed, the checkpoint cannot be written,
	// the data set or the model does not exist. The trial can be repeated then.
	Train(ctx context.Context, r Request, emit func(Record) error) (End, error)
}
