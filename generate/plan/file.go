package plan

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"

	"quicktune/internal/atomicfile"
	"quicktune/metadataset"
	"quicktune/space"
)

const (
	fileFormat  = "quicktune sweep plan"
	fileVersion = 1
	// maxLine bounds a line of the file.
	maxLine = 16 << 20
)

// Header is the first line of the file.
type Header struct {
	Format        string          `json:"format"`
	FormatVersion int             `json:"format_version"`
	Trainer       string          `json:"trainer"`
	Clock         string          `json:"clock"`
	Mode          Mode            `json:"mode"`
	Seed          uint64          `json:"seed"`
	Epochs        int             `json:"epochs"`
	CurveCap      float64         `json:"curve_cap"` // seconds, 0 for none
	ModelParam    string          `json:"model_param"`
	TrialCount    int             `json:"trials"`
	MetaFeatures  []string        `json:"meta_features"`
	Datasets      []Dataset       `json:"datasets"`
	Models        []Model         `json:"models"`
	SpaceJSON     json.RawMessage `json:"space"`
}

// Model is a model of the hub; a number that is unknown is nil.
type Model struct {
	Name           string   `json:"name"`
	Params         *float64 `json:"params_millions"`
	SourceAccuracy *float64 `json:"source_accuracy"`
	Pixels         *float64 `json:"pixels"`
	GMACs          *float64 `json:"gmacs"`
}

func header(o Options) Header {
	h := Header{
		Format: fileFormat, FormatVersion: fileVersion,
		Trainer: o.Trainer, Clock: o.Clock, Mode: o.Mode, Seed: o.Seed, Epochs: o.Epochs, CurveCap: o.CurveCap,
		ModelParam: o.ModelParam, MetaFeatures: o.MetaFeatures, Datasets: o.Datasets,
	}
	known := func(v float64) *float64 {
		if math.IsNaN(v) {
			return nil
		}
		return &v
	}
	for _, m := range o.Models {
		h.Models = append(h.Models, Model{m.Name, known(m.Params), known(m.SourceAccuracy), known(m.Pixels), known(m.GMACs)})
	}
	return h
}

// Hub returns the models as a meta-dataset stores them.
func (h *Header) Hub() []metadataset.Model {
	orNaN := func(v *float64) float64 {
		if v == nil {
			return math.NaN()
		}
		return *v
	}
	var list []metadataset.Model
	for _, m := range h.Models {
		list = append(list, metadataset.Model{
			Name: m.Name, Params: orNaN(m.Params), SourceAccuracy: orNaN(m.SourceAccuracy), Pixels: orNaN(m.Pixels), GMACs: orNaN(m.GMACs),
		})
	}
	return list
}

// Dataset returns what the plan says of a data set.
func (h *Header) Dataset(name string) (Dataset, bool) {
	for _, d := range h.Datasets {
		if d.Name == name {
			return d, true
		}
	}
	return Dataset{}, false
}

// encode returns the bytes of the file.
func (p *Plan) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	var err error
	if p.SpaceJSON, err = p.Space.MarshalJSON(); err != nil {
		return nil, err
	}
	p.TrialCount = len(p.Trials)
	if err := enc.Encode(p.Header); err != nil {
		return nil, err
	}
	for _, t := range p.Trials {
		if err := enc.Encode(t); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Write writes the plan to a file, whole or not at all.
func (p *Plan) Write(path string) error {
	data, err := p.encode()
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, data)
}

// Read reads a plan and checks that every trial is a configuration of the space
// on one of the data sets.
func Read(path string) (*Plan, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Parse reads a plan from the bytes of its file.
func Parse(data []byte) (*Plan, error) {
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(make([]byte, 0, 1<<16), maxLine)
	if !s.Scan() {
		return nil, errors.Join(errors.New("no header"), s.Err())
	}
	p := &Plan{Hash: hash(data)}
	if err := json.Unmarshal(s.Bytes(), &p.Header); err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	if p.Format != fileFormat || p.FormatVersion != fileVersion {
		return nil, fmt.Errorf("format %q version %d, want %q version %d", p.Format, p.FormatVersion, fileFormat, fileVersion)
	}
	var err error
	if p.Space, err = space.Parse(p.SpaceJSON); err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	if p.Space.Index(p.ModelParam) < 0 || p.Epochs < 1 || !(p.CurveCap >= 0) || p.TrialCount < 0 || p.TrialCount > MaxTrials {
		return nil, errors.New("line 1: the numbers of the header are out of range")
	}
	datasets := make(map[string]bool)
	for _, d := range p.Datasets {
		datasets[d.Name] = true
	}
	ids := make(map[string]bool, p.TrialCount)
	for line := 2; s.Scan(); line++ {
		var t Trial
		err := json.Unmarshal(s.Bytes(), &t)
		if err == nil {
			_, err = p.Space.ConfigFromMap(t.Config)
		}
		switch {
		case err != nil:
		case t.ID == "" || ids[t.ID]:
			err = fmt.Errorf("the trial %q has no name of its own", t.ID)
		case !datasets[t.Dataset]:
			err = fmt.Errorf("trial %q: unknown data set %q", t.ID, t.Dataset)
		case t.Config[p.ModelParam].String() != t.Model:
			err = fmt.Errorf("trial %q: the model is %s and %s", t.ID, t.Model, t.Config[p.ModelParam])
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		ids[t.ID] = true
		p.Trials = append(p.Trials, t)
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if len(p.Trials) != p.TrialCount {
		return nil, fmt.Errorf("%d trials, the header promises %d: the file was cut", len(p.Trials), p.TrialCount)
	}
	return p, nil
}
