// Package session is one use of Quick-Tune on one data set, from a folder of
// pictures to a fine-tuned network and the reasons for it.
//
// A session is a directory. Prepare fills it with everything that the search is
// made of, Open finds it again after an interrupt, and Run searches until the
// budget is used up and writes the results:
//
//	run.json            the settings, the candidates, what a first look told
//	journal.log, checkpoints/, best-*/   see package live
//	incumbent.json      the best network so far, rewritten as better ones come
//	history.parquet     one row an epoch
//	report.html         everything for people
//	model.safetensors   the network itself, with the names of its classes
//
// The package refuses to choose by test accuracy: it is written down, and looked
// at by people alone.
package session

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"quicktune/baselines"
)

// The trainers.
const (
	Embedded = "embedded"
	Exec     = "exec"
	Timm     = "timm"
)

// The clocks.
const (
	Measured = "measured" // the clock on the wall
	Counted  = "counted"  // what arithmetic takes on the reference machine
)

// The methods that are no baselines of the benchmark.
const (
	QuickTune = "quicktune"
	Default   = "default" // the default network with default settings
	Single    = "single"  // the default network, tuned by ASHA
)

// The metrics that a search can be for.
const (
	ValAccuracy = "val_accuracy"
	ValLoss     = "val_loss"
)

// DefaultCandidates is how many configurations a search chooses from.
const DefaultCandidates = 480

// Settings say what is searched and how. They are written to run.json.
type Settings struct {
	// Data is the folder or archive of pictures, as an absolute path. With Exec
	// it may be anything that the program understands.
	Data       string   `json:"data"`
	Budget     float64  `json:"budget"` // seconds
	Workers    int      `json:"workers"`
	Seed       uint64   `json:"seed"`
	Method     string   `json:"method"`
	Candidates int      `json:"candidates"`
	Models     []string `json:"models,omitempty"`
	Space      string   `json:"space,omitempty"`     // file
	Predictor  string   `json:"predictor,omitempty"` // file
	Meta       string   `json:"meta,omitempty"`      // meta-dataset
	Trainer    string   `json:"trainer"`
	Exec       string   `json:"exec,omitempty"`   // command
	Epochs     int      `json:"epochs,omitempty"` // of a curve; of no account to Embedded
	Metric     string   `json:"metric"`
	Clock      string   `json:"clock"`
	// How timm models are trained: see the flags of "generate --trainer timm".
	Python        string `json:"python,omitempty"`
	GPUs          string `json:"gpus,omitempty"`
	ImageSize     int    `json:"image_size,omitempty"`
	Scratch       bool   `json:"scratch,omitempty"`
	WeightsDir    string `json:"weights_dir,omitempty"`
	LoaderWorkers int    `json:"loader_workers,omitempty"`
	Slurm         *Slurm `json:"slurm,omitempty"` // nil for workers on this machine
	// NoScores leaves out the look at networks before training, NoTimeFilter the
	// judgement of what cannot be trained in time.
	NoScores     bool `json:"no_scores,omitempty"`
	NoTimeFilter bool `json:"no_time_filter,omitempty"`
}

// Slurm says what the jobs of workers on a cluster ask for.
type Slurm struct {
	Partition string   `json:"partition,omitempty"`
	Time      float64  `json:"time,omitempty"` // seconds
	Gres      string   `json:"gres,omitempty"` // "" for none
	CPUs      int      `json:"cpus,omitempty"`
	Memory    string   `json:"memory,omitempty"`
	Options   []string `json:"options,omitempty"` // further ones of srun
}

// check finds what is wrong with the settings alone.
func (s *Settings) check() error {
	switch {
	case s.Data == "":
		return errors.New("--data: name a folder or zip archive of pictures")
	case !(s.Budget > 0) || math.IsInf(s.Budget, 0):
		return fmt.Errorf("--budget: %g seconds are no budget", s.Budget)
	case s.Workers < 1:
		return fmt.Errorf("--workers %d: at least 1 is needed", s.Workers)
	case s.Candidates < 1:
		return fmt.Errorf("--candidates %d: at least 1 is needed", s.Candidates)
	case s.Trainer != Embedded && s.Trainer != Exec && s.Trainer != Timm:
		return fmt.Errorf("--trainer %s: want %s or %s", s.Trainer, Embedded, Timm)
	case s.Trainer == Exec && strings.TrimSpace(s.Exec) == "":
		return errors.New("--exec: the command is empty")
	case s.Trainer == Exec && s.Space == "":
		return errors.New("--exec needs --space FILE: the hyperparameters that the program understands")
	case s.Trainer != Exec && s.Epochs != 0:
		return errors.New("--epochs is for --exec: other trainers plan for as many epochs as the predictor knows")
	case s.Epochs < 0:
		return fmt.Errorf("--epochs %d: at least 1 is needed", s.Epochs)
	case s.Metric != ValAccuracy && s.Metric != ValLoss:
		return fmt.Errorf("--metric %s: want %s or %s", s.Metric, ValAccuracy, ValLoss)
	case s.Clock != Measured && s.Clock != Counted:
		return fmt.Errorf("--clock %s: want %s or %s", s.Clock, Measured, Counted)
	case s.ImageSize < 0 || s.LoaderWorkers < 0:
		return errors.New("--image-size and --loader-workers cannot be negative")
	case s.Slurm != nil && s.Trainer != Timm:
		return errors.New("--dispatch slurm is for --trainer timm: other trainers run on this machine")
	case s.Slurm != nil && (s.Slurm.CPUs < 0 || s.Slurm.Time < 0):
		return errors.New("--job-cpus and --time cannot be negative")
	case s.Clock == Counted && (s.Trainer != Embedded || s.Workers != 1):
		return errors.New("--clock counted is for the embedded trainer with one worker")
	case s.Predictor != "" && s.Meta != "":
		return errors.New("--predictor and --meta exclude each other: a predictor has been meta-trained")
	case !slices.Contains(Methods(), s.Method):
		return fmt.Errorf("--method %s: want one of %s", s.Method, strings.Join(Methods(), ", "))
	}
	return nil
}

// Methods lists the methods by name.
func Methods() []string {
	names := []string{QuickTune, Default, Single}
	for _, m := range baselines.Methods() {
		names = append(names, m.Name)
	}
	return names
}
