package metadataset

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"

	"quicktune/space"
)

// formatName opens every manifest, so that a reader knows what it looks at.
const formatName = "quicktune meta-dataset"

// The files of a meta-dataset, relative to its directory.
const (
	manifestFile = "manifest.json"
	datasetsFile = "datasets.parquet"
	modelsFile   = "models.parquet"
	configsFile  = "configs.parquet"
	endsFile     = "ends.parquet"
	curvesDir    = "curves"
)

var curvePart = regexp.MustCompile(`^curves/part-[0-9]{5}\.parquet$`)

// maxManifestBytes bounds manifest.json.
const maxManifestBytes = 16 << 20

// Manifest is manifest.json: what the meta-dataset is and the hash of every
// file in it.
type Manifest struct {
	Format        string `json:"format"`         // "quicktune meta-dataset"
	FormatVersion int    `json:"format_version"` // FormatVersion
	// Hash is CanonicalHash as the writer computed it.
	Hash      string   `json:"hash"`
	Generator string   `json:"generator"`
	Notes     []string `json:"notes,omitempty"`
	Metric    Metric   `json:"metric"`
	MaxEpochs int      `json:"max_epochs"`
	// ModelParam names the hyperparameter that is stored in the model column,
	// "" if there is none.
	ModelParam string `json:"model_param"`
	TimeUnit   string `json:"time_unit"` // "seconds" or "epochs"
	// CurveCap is the time at which a curve was cut, in TimeUnit, 0 if it was
	// not.
	CurveCap float64 `json:"curve_cap"`
	// Budgets are those of a search that show differences between methods, in
	// TimeUnit and ascending; nil if nobody has chosen any.
	Budgets      []float64       `json:"budgets,omitempty"`
	MetaFeatures []string        `json:"meta_features,omitempty"`
	Counts       Counts          `json:"counts"`
	Parts        []Part          `json:"parts"`
	SpaceHash    string          `json:"space_hash"` // of the space, as space.Space.Hash gives it
	Space        json.RawMessage `json:"space"`      // as space.Space marshals itself
}

// Counts says how much a meta-dataset holds.
type Counts struct {
	Datasets int `json:"datasets"`
	Models   int `json:"models"`
	Curves   int `json:"curves"` // one for each configuration
	Epochs   int `json:"epochs"`
}

// Part is one Parquet file of a meta-dataset.
type Part struct {
	Path   string `json:"path"` // relative, with forward slashes
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
	Rows   int    `json:"rows"`
}

// CanonicalHash returns one SHA-256, in lower-case hexadecimal, that
// identifies the data: the parts, the space, the metric and all else that
// gives the numbers their meaning. The generator, the notes and the budgets do
// not count, nor does how the manifest is laid out.
func (m *Manifest) CanonicalHash() string {
	canonical, err := json.Marshal(struct {
		FormatVersion int
		Metric        Metric
		MaxEpochs     int
		ModelParam    string
		TimeUnit      string
		CurveCap      string
		MetaFeatures  []string
		Counts        Counts
		Parts         []Part
		SpaceHash     string
	}{
		m.FormatVersion, m.Metric, m.MaxEpochs, m.ModelParam, m.TimeUnit,
		fmt.Sprint(m.CurveCap), append([]string{}, m.MetaFeatures...), m.Counts, m.Parts, m.SpaceHash,
	})
	if err != nil { // strings and integers always marshal
		panic(err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

func (m *Manifest) part(path string) (Part, bool) {
	i := slices.IndexFunc(m.Parts, func(p Part) bool { return p.Path == path })
	if i < 0 {
		return Part{}, false
	}
	return m.Parts[i], true
}

// parseManifest decodes manifest.json. Any error means that nothing else of
// the directory can be judged.
func parseManifest(data []byte) (m Manifest, sp *space.Space, err error) {
	var head struct {
		Format        string `json:"format"`
		FormatVersion int    `json:"format_version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return m, nil, fmt.Errorf("not JSON: %w", err)
	}
	if head.Format != formatName {
		return m, nil, fmt.Errorf("format is %q, want %q: this is no meta-dataset", head.Format, formatName)
	}
	if head.FormatVersion != FormatVersion {
		return m, nil, fmt.Errorf("format version is %d; this program reads version %d: use the program that wrote it, or import the data again",
			head.FormatVersion, FormatVersion)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return m, nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return m, nil, errors.New("something follows the manifest")
	}
	if sp, err = space.Parse(m.Space); err != nil {
		return m, nil, err
	}
	if m.SpaceHash != sp.Hash() {
		return m, nil, fmt.Errorf("space_hash is %q, but the space gives %q", m.SpaceHash, sp.Hash())
	}
	if err := m.check(sp); err != nil {
		return m, nil, err
	}
	if want := m.CanonicalHash(); m.Hash != want {
		return m, nil, fmt.Errorf("hash is %q, but its content gives %q: the manifest was changed after it was written", m.Hash, want)
	}
	return m, sp, nil
}

func checkBudgets(budgets []float64) error {
	for i, b := range budgets {
		if !(b > 0) || math.IsInf(b, 0) || i > 0 && b <= budgets[i-1] {
			return fmt.Errorf("budgets %v: want positive numbers in ascending order", budgets)
		}
	}
	return nil
}

// check holds what must be true of a manifest whoever wrote it.
func (m *Manifest) check(sp *space.Space) error {
	if err := checkHeader(sp, m.Metric, m.MaxEpochs, m.ModelParam, m.TimeUnit, m.CurveCap, m.MetaFeatures); err != nil {
		return err
	}
	if err := checkBudgets(m.Budgets); err != nil {
		return err
	}
	c := m.Counts
	if c.Datasets < 0 || c.Models < 0 || c.Curves < 0 || c.Epochs < 0 ||
		c.Datasets > maxPartRows || c.Models > maxPartRows || c.Curves > maxPartRows || c.Epochs > math.MaxInt32 {
		return fmt.Errorf("counts %+v are out of range", c)
	}
	seen := make(map[string]bool, len(m.Parts))
	epochs, last := 0, ""
	for _, p := range m.Parts {
		if seen[p.Path] {
			return fmt.Errorf("part %q is listed twice", p.Path)
		}
		seen[p.Path] = true
		want := 0
		switch {
		case p.Path == datasetsFile:
			want = c.Datasets
		case p.Path == modelsFile:
			want = c.Models
		case p.Path == configsFile, p.Path == endsFile:
			want = c.Curves
		case curvePart.MatchString(p.Path):
			if p.Path < last {
				return fmt.Errorf("part %q is listed after %q", p.Path, last)
			}
			last = p.Path
			if p.Rows <= 0 || p.Rows > maxPartRows {
				return fmt.Errorf("part %q claims %d rows; a part holds 1 to %d", p.Path, p.Rows, maxPartRows)
			}
			epochs += p.Rows
			want = p.Rows
		default:
			return fmt.Errorf("part %q is not a file of this format", p.Path)
		}
		if p.Rows != want {
			return fmt.Errorf("part %q has %d rows, but the counts say %d", p.Path, p.Rows, want)
		}
		if b, err := hex.DecodeString(p.SHA256); err != nil || len(b) != sha256.Size || strings.ToLower(p.SHA256) != p.SHA256 {
			return fmt.Errorf("part %q: %q is not a SHA-256", p.Path, p.SHA256)
		}
	}
	for _, name := range []string{datasetsFile, modelsFile, configsFile, endsFile} {
		if !seen[name] {
			return fmt.Errorf("part %q is not listed", name)
		}
	}
	if epochs != c.Epochs {
		return fmt.Errorf("the curve parts hold %d rows, but the counts say %d epochs", epochs, c.Epochs)
	}
	return nil
}

// checkHeader holds what Input and Manifest have in common.
func checkHeader(sp *space.Space, metric Metric, maxEpochs int, modelParam, timeUnit string, curveCap float64, metaFeatures []string) error {
	switch metric {
	case Metric{ValAccuracy, Maximize}, Metric{ValLoss, Minimize}:
	default:
		return fmt.Errorf("metric is %s %s: use %s %s or %s %s",
			metric.Goal, metric.Column, Maximize, ValAccuracy, Minimize, ValLoss)
	}
	if maxEpochs < 1 || maxEpochs > maxPartRows {
		return fmt.Errorf("max epochs is %d: use 1 to %d", maxEpochs, maxPartRows)
	}
	if timeUnit != TimeSeconds && timeUnit != TimeEpochs {
		return fmt.Errorf("time unit is %q: use %q or %q", timeUnit, TimeSeconds, TimeEpochs)
	}
	if !(curveCap >= 0) || math.IsInf(curveCap, 0) {
		return fmt.Errorf("curve cap is %v: use a number >= 0, 0 for none", curveCap)
	}
	if modelParam != "" && sp.Index(modelParam) < 0 {
		return fmt.Errorf("model hyperparameter %q is not in the search space", modelParam)
	}
	seen := make(map[string]bool, len(metaFeatures))
	for i, name := range metaFeatures {
		if err := checkName(name); err != nil {
			return fmt.Errorf("meta-feature %d: %w", i, err)
		}
		if seen[name] {
			return fmt.Errorf("meta-feature %q is named twice", name)
		}
		seen[name] = true
	}
	return nil
}

// readRegular reads a whole file after making sure that it is one, so that a
// pipe cannot block the reader nor a device feed it for ever, and that its size
// is right.
func readRegular(path string, check func(size int64) error) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if err := check(info.Size()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func checkManifestSize(size int64) error {
	if size > maxManifestBytes {
		return fmt.Errorf("%d bytes, at most %d allowed", size, maxManifestBytes)
	}
	return nil
}

// checkSize compares the size of a part with what the manifest says.
func (p *Part) checkSize(size int64) error {
	switch {
	case size < p.Bytes:
		return fmt.Errorf("%d bytes, the manifest says %d: the file is truncated", size, p.Bytes)
	case size > p.Bytes:
		return fmt.Errorf("%d bytes, the manifest says %d: the file was changed", size, p.Bytes)
	}
	return nil
}
