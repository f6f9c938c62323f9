package traintime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/parquet-go/parquet-go"

	"quicktune/internal/atomicfile"
	"quicktune/predictor/traintime"
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
	rows, err := read[Row](path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, errNothing)
	}
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if err := rows[i].validate(); err != nil {
			return nil, fmt.Errorf("%s: row %d: %w", path, i, err)
		}
	}
	return rows, nil
}

// validate reports what no run can be.
func (r *Row) validate() error {
	positive := func(v float64) bool { return v > 0 && !math.IsInf(v, 0) }
	switch {
	case r.Network == "" || r.Dataset == "":
		return errors.New("no network or no data set is named")
	case !slices.ContainsFunc(losses, func(l traintime.Loss) bool { return l.String() == r.Loss }):
		return fmt.Errorf("unknown loss %q", r.Loss)
	case kindOf(r.Criterion) < 0:
		return fmt.Errorf("unknown criterion %q", r.Criterion)
	case !positive(r.Rate) || !positive(r.Relative) || !(r.Momentum >= 0 && r.Momentum < 1):
		return fmt.Errorf("learning rate %v (%v) and momentum %v", r.Rate, r.Relative, r.Momentum)
	case r.Samples < 1 || r.Classes < 1 || r.Weights < 1 || r.Batch < 0 || r.Batch > r.Samples:
		return fmt.Errorf("%d samples in batches of %d, %d classes, %d weights", r.Samples, r.Batch, r.Classes, r.Weights)
	case math.IsNaN(r.Depth) || math.IsInf(r.Depth, 0):
		return fmt.Errorf("depth %v", r.Depth)
	}
	times := []*float64{r.Measured}
	for _, p := range r.predictions() {
		times = append(times, *p)
	}
	for _, t := range times {
		if t != nil && (!(*t >= 0) || math.IsInf(*t, 0)) {
			return fmt.Errorf("a time of %v steps", *t)
		}
	}
	for _, s := range []float64{r.TrainSeconds, r.KernelSeconds, r.ProjectSeconds, r.LayerSeconds, r.SimulateSeconds, r.SimulateLayerSeconds} {
		if !(s >= 0) || math.IsInf(s, 0) {
			return fmt.Errorf("%v seconds", s)
		}
	}
	return nil
}

// read reads all rows of a Parquet file. The Parquet library may panic on a
// corrupt one; that is an error here.
func read[T any](path string) (rows []T, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%v", v)
		}
		if err != nil {
			rows, err = nil, fmt.Errorf("%s: %w", path, err)
		}
	}()
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	if !parquet.EqualNodes(file.Schema(), parquet.SchemaOf(*new(T))) {
		return nil, errors.New("its columns are not those that this program writes")
	}
	// Each row has several numbers, and none takes less than a bit.
	if n := file.NumRows(); n < 0 || n > 8*int64(len(data)) {
		return nil, fmt.Errorf("%d rows in %d bytes", n, len(data))
	}
	reader := parquet.NewGenericReader[T](file)
	defer reader.Close()
	rows = make([]T, file.NumRows())
	for n := 0; n < len(rows); {
		k, err := reader.Read(rows[n:])
		n += k
		if err != nil && (err != io.EOF || n < len(rows)) {
			return nil, err
		}
		if k == 0 && n < len(rows) {
			return nil, fmt.Errorf("%d rows of %d", n, len(rows))
		}
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
