package traintime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/parquet-go/parquet-go"

	"quicktune/internal/atomicfile"
)

// RunsFile is the file of measured and predicted runs in a folder.
const RunsFile = "traintime.parquet"

// Row is one training run under one criterion. Times are steps; one that is not
// reached within the horizon is nil.
type Row struct {
	Network   string  `parquet:"network,dict,zstd"`
	Dataset   string  `parquet:"dataset,dict,zstd"`
	Loss      string  `parquet:"loss,dict,zstd"`
	Criterion string  `parquet:"criterion,dict,zstd"`
	Relative  float64 `parquet:"relative_rate,dict,zstd"` // of N over the largest eigenvalue
	Rate      float64 `parquet:"learning_rate,split,zstd"`
	Momentum  float64 `parquet:"momentum,dict,zstd"`
	Batch     int32   `parquet:"batch,delta,zstd"` // 0: all samples
	Samples   int32   `parquet:"samples,delta,zstd"`
	Classes   int32   `parquet:"classes,delta,zstd"`
	Weights   int32   `parquet:"weights,delta,zstd"`
	Hash      string  `parquet:"weights_hash,dict,zstd"` // of the pretrained weights
	Unstable  bool    `parquet:"unstable,zstd"`          // effective rate times the largest curvature above 2

	Measured  *float64 `parquet:"measured,optional,zstd"`
	Full      *float64 `parquet:"full_network,optional,zstd"`
	Published *float64 `parquet:"algorithm_1,optional,zstd"`
	Projected *float64 `parquet:"projected,optional,zstd"`
	LastBlock *float64 `parquet:"last_block,optional,zstd"`
	LastLayer *float64 `parquet:"last_layer,optional,zstd"`
	Prefix    *float64 `parquet:"prefix,optional,zstd"` // extrapolated from the first real steps
	Depth     float64  `parquet:"depth,split,zstd"`     // of the full network's prediction

	FirstLoss     float64 `parquet:"first_loss,split,zstd"`
	LastLoss      float64 `parquet:"last_loss,split,zstd"`           // at the horizon; not finite if the run diverged
	PredictedLast float64 `parquet:"predicted_last_loss,split,zstd"` // by the full network

	TrainSeconds         float64 `parquet:"train_seconds,split,zstd"`          // to the horizon
	KernelSeconds        float64 `parquet:"kernel_seconds,split,zstd"`         // of the full network, once a pair
	ProjectSeconds       float64 `parquet:"project_seconds,split,zstd"`        // projected, once a pair
	LayerSeconds         float64 `parquet:"layer_seconds,split,zstd"`          // of the last layer, once a pair
	SimulateSeconds      float64 `parquet:"simulate_seconds,split,zstd"`       // a setting, full network
	SimulateLayerSeconds float64 `parquet:"simulate_layer_seconds,split,zstd"` // a setting, last layer
}

// method is a way to predict.
type method int

const (
	full method = iota
	algorithm1
	projected
	lastBlock
	lastLayer
	extrapolation
	methodCount
)

var methodNames = [methodCount]string{
	"full network", "Algorithm 1", fmt.Sprintf("%d projections", directions), "last block", "last layer", fmt.Sprintf("first %d steps", prefix),
}

// String returns a name of a few words.
func (m method) String() string { return methodNames[m] }

// predictions are the predicted times by method.
func (r *Row) predictions() [methodCount]**float64 {
	return [methodCount]**float64{&r.Full, &r.Published, &r.Projected, &r.LastBlock, &r.LastLayer, &r.Prefix}
}

// load reads the rows of a folder; without any the error is errNothing.
func load(dir string) ([]Row, error) {
	path := filepath.Join(dir, RunsFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, errNothing)
	}
	if err != nil {
		return nil, err
	}
	rows, err := parquet.Read[Row](bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rows, nil
}

// save writes the rows in place of those that are there.
func save(dir string, rows []Row) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, RunsFile), func(w io.Writer) error { return parquet.Write(w, rows) })
}
