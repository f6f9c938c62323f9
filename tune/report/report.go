// Package report writes what a search found: a table of all epochs as Parquet,
// the best network as JSON and a page for people as HTML, which needs nothing
// but a browser.
//
// The package refuses to choose and to compute accuracies.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"quicktune/internal/atomicfile"
	"quicktune/space"
)

// The files.
const (
	HistoryFile   = "history.parquet"
	IncumbentFile = "incumbent.json"
	PageFile      = "report.html"
)

const (
	format  = "quicktune tune result"
	version = 1
)

// Accuracy is that of the best network on one split, with a 95 % confidence
// interval for other pictures of the same kind.
type Accuracy struct {
	Pictures int     `json:"pictures"`
	Value    float64 `json:"accuracy"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
}

// Incumbent is the best network that a search has found, and how to get it
// again.
type Incumbent struct {
	Format        string                 `json:"format"`
	FormatVersion int                    `json:"format_version"`
	Data          string                 `json:"data"`
	DataHash      string                 `json:"data_hash,omitempty"`
	Trainer       string                 `json:"trainer"`
	Exec          string                 `json:"exec,omitempty"`
	Model         string                 `json:"model,omitempty"`
	Config        map[string]space.Value `json:"config"`
	Epochs        int                    `json:"epochs"` // planned: learning rates follow from it
	Epoch         int                    `json:"epoch"`  // after which the network was the best
	Seed          uint64                 `json:"seed"`   // of the trial
	Metric        string                 `json:"metric"`
	Score         float64                `json:"score"` // higher is better
	// Validation is what the search saw: the best of many, so too good.
	Validation *Accuracy `json:"validation,omitempty"`
	// Test was never looked at by the search.
	Test *Accuracy `json:"test,omitempty"`
	// FoundAfter, Used and Budget are in seconds.
	FoundAfter float64  `json:"found_after_seconds"`
	Used       float64  `json:"used_seconds"`
	Budget     float64  `json:"budget_seconds"`
	Trials     int      `json:"trials"`
	Trained    int      `json:"trained_epochs"`
	Over       string   `json:"over,omitempty"` // why the search ended; empty while it goes on
	Checkpoint string   `json:"checkpoint"`     // directory, relative to this file
	Classes    []string `json:"classes,omitempty"`
	Timm       *Timm    `json:"timm,omitempty"` // nil for other trainers
}

// Timm is what a network of timm was trained with beside its configuration.
type Timm struct {
	Python     string `json:"python"`
	ImageSize  int    `json:"image_size,omitempty"` // 0 for the model's own
	Scratch    bool   `json:"scratch,omitempty"`    // from random weights
	WeightsDir string `json:"weights_dir,omitempty"`
}

// WriteIncumbent writes incumbent.json.
func WriteIncumbent(dir string, in Incumbent) error {
	in.Format, in.FormatVersion = format, version
	data, err := json.MarshalIndent(in, "", "\t")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, IncumbentFile), append(data, '\n'))
}

// ReadIncumbent reads an incumbent.json.
func ReadIncumbent(path string) (Incumbent, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Incumbent{}, err
	}
	var in Incumbent
	if err := json.Unmarshal(data, &in); err != nil {
		return Incumbent{}, fmt.Errorf("%s: %w", path, err)
	}
	if in.Format != format || in.FormatVersion != version {
		return Incumbent{}, fmt.Errorf("%s: %q of version %d; this program reads %q of version %d", path, in.Format, in.FormatVersion, format, version)
	}
	return in, nil
}

// Row is one epoch in history.parquet. A trial that ended without an epoch has
// one row with epoch 0. Numbers that are not known are null.
type Row struct {
	Trial        int32    `parquet:"trial"`
	Candidate    int32    `parquet:"candidate"`
	Model        string   `parquet:"model,dict"`
	Config       string   `parquet:"config,dict,zstd"` // JSON
	Epoch        int32    `parquet:"epoch"`
	Clock        float64  `parquet:"clock"`   // seconds of the budget when it was finished
	Seconds      float64  `parquet:"seconds"` // that it took
	TrainLoss    *float64 `parquet:"train_loss,optional"`
	ValLoss      *float64 `parquet:"val_loss,optional"`
	ValAccuracy  *float64 `parquet:"val_accuracy,optional"`
	TestAccuracy *float64 `parquet:"test_accuracy,optional"`
	LearningRate *float64 `parquet:"learning_rate,optional"`
	Best         bool     `parquet:"best"`     // better than all epochs before it
	End          string   `parquet:"end,dict"` // of the trial, with its last epoch
	Reason       string   `parquet:"reason"`
}

// Known returns a number for a row, nil for one that is not finite.
func Known(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// WriteHistory writes history.parquet.
func WriteHistory(dir string, rows []Row) error {
	return atomicfile.Write(filepath.Join(dir, HistoryFile), func(w io.Writer) error {
		p := parquet.NewGenericWriter[Row](w, parquet.CreatedBy("quicktune", "1", ""), parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}))
		if _, err := p.Write(rows); err != nil {
			return err
		}
		return p.Close()
	})
}
