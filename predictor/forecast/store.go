package forecast

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"

	"quicktune/internal/atomicfile"
	"quicktune/internal/trees"
	"quicktune/search"
	"quicktune/space"
)

// Version is the version of stored models that this package writes, and the only
// one that it reads.
const Version = 2

// The most that a stored model may hold, so that a damaged or hostile file
// cannot exhaust the memory.
const (
	maxHeader   = 16 << 20
	maxEnsemble = 256 << 20
	headerName  = "model.json"
)

// Info tells where a model comes from. It changes no forecast.
type Info struct {
	Metric string `json:"metric,omitempty"` // name of the scores
	// Datasets lists what the model was learnt from, sorted by name; nil if
	// nobody said so. It must not be tested on any of them.
	Datasets []string `json:"data_sets,omitempty"`
	// DataHash is the SHA-256 of the meta-dataset, in hexadecimal.
	DataHash string `json:"data_hash,omitempty"`
}

// header is model.json, all of a model but its trees.
type header struct {
	Version int `json:"version"`
	Info
	Space       json.RawMessage  `json:"space"`
	Unit        search.UnitScale `json:"unit,omitzero"`
	ModelParam  string           `json:"model_param"`
	Hub         map[string]fact  `json:"hub"`
	Looked      []string         `json:"looked,omitempty"` // further columns of rows
	MaxEpochs   int              `json:"max_epochs"`
	Epochs      []int            `json:"epochs"`
	Targets     []moments        `json:"targets"`
	Calibration calibration      `json:"calibration"`
	Centre      moments          `json:"centre"`
	NoTraining  []mark           `json:"no_training,omitempty"`
	Prior       int              `json:"prior"` // ensembles for each target
	Gain        int              `json:"gain"`
	Cost        int              `json:"cost"`
}

// fact is ModelFacts with unknown numbers left out, since JSON has no NaN.
type fact struct {
	Params         *float64 `json:"params,omitempty"`
	SourceAccuracy *float64 `json:"source_accuracy,omitempty"`
	Pixels         *float64 `json:"pixels,omitempty"`
	GMACs          *float64 `json:"gmacs,omitempty"`
}

func newFact(m ModelFacts) fact {
	known := func(v float64) *float64 {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	return fact{known(m.Params), known(m.SourceAccuracy), known(m.Pixels), known(m.GMACs)}
}

func (f fact) facts() ModelFacts {
	known := func(v *float64) float64 {
		if v == nil {
			return math.NaN()
		}
		return *v
	}
	return ModelFacts{known(f.Params), known(f.SourceAccuracy), known(f.Pixels), known(f.GMACs)}
}

// ensembles names every ensemble of a model whose counts are those of h.
func (m *Model) ensembles(h header) map[string]**trees.Ensemble {
	out := make(map[string]**trees.Ensemble)
	list := func(name string, to *[]*trees.Ensemble, n int) {
		if len(*to) != n {
			*to = make([]*trees.Ensemble, n)
		}
		for i := range n {
			out[name+"-"+strconv.Itoa(i)] = &(*to)[i]
		}
	}
	for k := range targets {
		list("prior-"+strconv.Itoa(k), &m.prior[k], h.Prior)
	}
	list("gain", &m.gain, h.Gain)
	list("cost", &m.cost, h.Cost)
	if h.Gain > 0 {
		out["spread-0"] = &m.spread
	}
	return out
}

// Save writes the model to a file, atomically: a zip archive of model.json and
// one file of trees for each ensemble. Equal models give equal bytes.
func (m *Model) Save(path string) error {
	spaceJSON, err := json.Marshal(m.f.space)
	if err != nil {
		return err
	}
	h := header{
		Version: Version, Info: m.Info, Unit: m.Unit, Space: spaceJSON, ModelParam: m.f.modelParam, Hub: make(map[string]fact), Looked: m.f.looked,
		MaxEpochs: m.maxEpochs, Epochs: m.epochs, Targets: m.centre[:], Calibration: m.calibration,
		Centre: m.offset, NoTraining: m.noTraining, Prior: len(m.prior[0]), Gain: len(m.gain), Cost: len(m.cost),
	}
	for name, facts := range m.f.hub {
		h.Hub[name] = newFact(facts)
	}
	head, err := json.MarshalIndent(h, "", "\t")
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	add := func(name string, data []byte) error {
		w, err := z.Create(name)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	if err := add(headerName, head); err != nil {
		return err
	}
	ensembles := m.ensembles(h)
	names := make([]string, 0, len(ensembles))
	for name := range ensembles {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		data, err := (*ensembles[name]).MarshalBinary()
		if err != nil {
			return err
		}
		if err := add(name, data); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := buf.WriteTo(w)
		return err
	})
}

// Load reads a model that Save wrote. The error names the file and what is wrong
// with it; one for a file that does not exist wraps os.ErrNotExist.
func Load(path string) (*Model, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Decode reads a model from the bytes of its file.
func Decode(data []byte) (*Model, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("no stored forecasts: %w", err)
	}
	files := make(map[string]*zip.File)
	for _, f := range z.File {
		files[f.Name] = f
	}
	read := func(name string, most uint64) ([]byte, error) {
		f := files[name]
		if f == nil {
			return nil, fmt.Errorf("no stored forecasts: %s is missing", name)
		}
		if f.UncompressedSize64 > most {
			return nil, fmt.Errorf("%s: %d bytes, more than the %d that are allowed", name, f.UncompressedSize64, most)
		}
		r, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		defer r.Close()
		data, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return data, nil
	}
	head, err := read(headerName, maxHeader)
	if err != nil {
		return nil, err
	}
	var h header
	if err := json.Unmarshal(head, &h); err != nil {
		return nil, fmt.Errorf("%s: %w", headerName, err)
	}
	if h.Version != Version {
		return nil, fmt.Errorf("stored forecasts of version %d; this program reads version %d", h.Version, Version)
	}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", headerName, err)
	}
	s, err := space.Parse(h.Space)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", headerName, err)
	}
	hub := make(Hub)
	for name, f := range h.Hub {
		hub[name] = f.facts()
	}
	m := &Model{
		Info: h.Info, Unit: h.Unit, f: NewFeatures(s, h.ModelParam, hub, h.Looked...), maxEpochs: h.MaxEpochs, epochs: h.Epochs,
		centre: [targets]moments(h.Targets), calibration: h.Calibration, offset: h.Centre, noTraining: h.NoTraining,
	}
	for _, k := range m.noTraining {
		if k.Column < 0 || k.Column >= m.f.Width() {
			return nil, fmt.Errorf("%s: a mark in column %d of %d", headerName, k.Column, m.f.Width())
		}
	}
	for name, to := range m.ensembles(h) {
		data, err := read(name, maxEnsemble)
		if err != nil {
			return nil, err
		}
		e := new(trees.Ensemble)
		if err := e.UnmarshalBinary(data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if want := m.width(name); e.Columns() != want {
			return nil, fmt.Errorf("%s: trees on %d columns, want %d", name, e.Columns(), want)
		}
		*to = e
	}
	return m, nil
}

// width is the number of columns that the named ensemble looks at.
func (m *Model) width(name string) int {
	switch name[:4] {
	case "prio":
		return m.priorWidth()
	case "cost":
		return m.f.Width()
	}
	return m.gainWidth()
}

// maxRepetitions bounds what a stored model may claim to hold.
const maxRepetitions = 64

func (h *header) check() error {
	c := h.Calibration
	switch {
	case h.MaxEpochs < 1:
		return fmt.Errorf("curves of %d epochs", h.MaxEpochs)
	case len(h.Epochs) == 0 || !slices.IsSorted(h.Epochs) || h.Epochs[0] < 1 || h.Epochs[len(h.Epochs)-1] != h.MaxEpochs:
		return fmt.Errorf("prior at epochs %v of curves of %d", h.Epochs, h.MaxEpochs)
	case len(h.Targets) != targets:
		return fmt.Errorf("%d targets, want %d", len(h.Targets), targets)
	case h.Prior < 1 || h.Prior > maxRepetitions || h.Gain < 0 || h.Gain > maxRepetitions || h.Cost < 0 || h.Cost > maxRepetitions:
		return fmt.Errorf("%d, %d and %d ensembles", h.Prior, h.Gain, h.Cost)
	case len(c.Predicted) == 0 || len(c.Median) != len(c.Predicted) || len(c.Above) != len(c.Predicted) || !slices.IsSorted(c.Predicted):
		return errors.New("calibration of unequal or unsorted lists")
	case !(h.Unit.Loss >= 0) || math.IsInf(h.Unit.Loss, 0):
		return fmt.Errorf("a usual loss of %v", h.Unit.Loss)
	case !(h.Centre.Std > 0):
		return fmt.Errorf("spread of centres %v, want above 0", h.Centre.Std)
	}
	for _, t := range h.Targets {
		if !(t.Std > 0) {
			return fmt.Errorf("spread of a target %v, want above 0", t.Std)
		}
	}
	return nil
}
