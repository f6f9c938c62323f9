// Package probes keeps what pretrained models say about images in Parquet files,
// one for each model and data set, so that scores can be computed without the
// models: docs/format-probe.md has the format.
//
// It refuses a file whose rows do not fit each other or what the file says of
// itself, and it makes no probe: the trainers do.
package probes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"quicktune/internal/atomicfile"
	"quicktune/selection"
)

// Info is what a file says of its probe beside the rows.
type Info struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Dataset string `json:"dataset"`
	// Images is the hash of the data set's images, as plans have it.
	Images string `json:"images"`
	Model  string `json:"model"`
	// Trainer says who made the probe, with what changes it: "embedded",
	// "timm, 64 pixels, from scratch".
	Trainer string `json:"trainer"`
	// Weights is a digest of the pretrained weights.
	Weights string `json:"weights"`
	// Classes names the labels.
	Classes []string `json:"classes"`
	// PerClass is how many images of a class there are at most, drawn by Seed.
	PerClass int    `json:"per_class"`
	Seed     uint64 `json:"seed"`
	// Outputs is the number of combinations of outputs with derivatives, 0 for
	// none.
	Outputs int `json:"outputs"`
	// Seconds is what the passes over all images took, derivatives included.
	Seconds float64 `json:"seconds"`
}

const (
	format  = "quicktune probe"
	version = 1
	// infoKey names the text in the file's metadata that is Info as JSON.
	infoKey = "quicktune.probe"
)

// Probe is one file.
type Probe struct {
	Info
	// Rows are the places of the images among those for training, ascending.
	Rows []int
	// Data has no reference features and no source means, which belong to
	// pools of models and not to one.
	Data selection.Data
}

// row is one image.
type row struct {
	Image     int32     `parquet:"image"`
	Label     int32     `parquet:"label"`
	Features  []float32 `parquet:"features,list"`
	Source    []float32 `parquet:"source,list"`
	Gradients []float32 `parquet:"gradients,list"`
}

// Path is where the probe of a model on a data set lies in a directory.
func Path(dir, dataset, model string) string {
	return filepath.Join(dir, escape(dataset), escape(model)+".parquet")
}

// escape makes any name one of a file that is not hidden.
func escape(name string) string {
	name = url.PathEscape(name)
	if rest, dot := strings.CutPrefix(name, "."); dot {
		name = "%2E" + rest
	}
	return name
}

// Write writes a probe, whole or not at all. Numbers are rounded to single
// precision.
func Write(path string, p *Probe) error {
	n, d := len(p.Rows), p.Data
	if len(d.Labels) != n {
		return fmt.Errorf("probe of %s on %s: %d labels of %d images", p.Model, p.Dataset, len(d.Labels), n)
	}
	if _, err := selection.NewProbe(d); err != nil {
		return fmt.Errorf("probe of %s on %s: %w", p.Model, p.Dataset, err)
	}
	info := p.Info
	info.Format, info.Version, info.Outputs = format, version, d.Outputs
	if d.Gradients == nil {
		info.Outputs = 0
	}
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{
			int32(p.Rows[i]), int32(d.Labels[i]),
			single(d.Features, n, i), single(d.Source, n, i), single(d.Gradients, n, i),
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		out := parquet.NewGenericWriter[row](w, parquet.Compression(&zstd.Codec{}), parquet.KeyValueMetadata(infoKey, string(text)))
		if _, err := out.Write(rows); err != nil {
			return err
		}
		return out.Close()
	})
}

// single returns row i of a matrix of n rows in single precision.
func single(x []float64, n, i int) []float32 {
	width := len(x) / n
	out := make([]float32, width)
	for j, v := range x[i*width : (i+1)*width] {
		out[j] = float32(v)
	}
	return out
}

// Read reads a file and checks that [selection.NewProbe] takes its data.
func Read(path string) (*Probe, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := decode(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// decode reads the content of a file.
func decode(content []byte) (p *Probe, err error) {
	// The library panics on some damaged files.
	defer func() {
		if v := recover(); v != nil {
			p, err = nil, fmt.Errorf("not a Parquet file that can be read: %v", v)
		}
	}()
	file, err := parquet.OpenFile(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, err
	}
	text, ok := file.Lookup(infoKey)
	if !ok {
		return nil, fmt.Errorf("not a probe: its metadata has no %s", infoKey)
	}
	p = &Probe{}
	if err := json.Unmarshal([]byte(text), &p.Info); err != nil {
		return nil, fmt.Errorf("metadata %s: %w", infoKey, err)
	}
	switch {
	case p.Format != format:
		return nil, fmt.Errorf("metadata %s: format %q", infoKey, p.Format)
	case p.Version != version:
		return nil, fmt.Errorf("version %d; this program reads %d", p.Version, version)
	case p.Dataset == "" || p.Model == "":
		return nil, errors.New("it names no data set or no model")
	case p.Outputs < 0 || p.PerClass < 0 || math.IsNaN(p.Seconds) || p.Seconds < 0:
		return nil, fmt.Errorf("%d outputs, %d images a class or %v seconds", p.Outputs, p.PerClass, p.Seconds)
	}
	rows, err := parquet.Read[row](bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errors.New("no images")
	}
	d := &p.Data
	d.Model, d.Dim, d.SourceClasses = p.Model, len(rows[0].Features), len(rows[0].Source)
	width := len(rows[0].Gradients)
	if p.Outputs > 0 {
		d.Outputs, d.Weights = p.Outputs, width/p.Outputs
	}
	if width != d.Outputs*d.Weights {
		return nil, fmt.Errorf("%d derivatives of %d outputs", width, p.Outputs)
	}
	for i, r := range rows {
		switch {
		case len(r.Features) != d.Dim || len(r.Source) != d.SourceClasses || len(r.Gradients) != width:
			return nil, fmt.Errorf("row %d: %d features, %d source probabilities and %d derivatives; row 0 has %d, %d and %d",
				i, len(r.Features), len(r.Source), len(r.Gradients), d.Dim, d.SourceClasses, width)
		case r.Label < 0 || int(r.Label) >= len(p.Classes):
			return nil, fmt.Errorf("row %d: label %d of %d classes", i, r.Label, len(p.Classes))
		case r.Image < 0 || i > 0 && r.Image <= rows[i-1].Image:
			return nil, fmt.Errorf("row %d: image %d; images must ascend", i, r.Image)
		}
		p.Rows, d.Labels = append(p.Rows, int(r.Image)), append(d.Labels, int(r.Label))
		d.Features, d.Source, d.Gradients = double(d.Features, r.Features), double(d.Source, r.Source), double(d.Gradients, r.Gradients)
	}
	if _, err := selection.NewProbe(*d); err != nil {
		return nil, err
	}
	return p, nil
}

func double(to []float64, x []float32) []float64 {
	for _, v := range x {
		to = append(to, float64(v))
	}
	return to
}

// List returns the paths of the probes in a directory, by data set and model.
func List(dir string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(path, ".parquet") && !strings.HasPrefix(e.Name(), ".") {
			list = append(list, path)
		}
		return err
	})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%s holds no probes; \"generate probe\" makes them", dir)
	}
	return list, err
}
