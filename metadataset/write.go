package metadataset

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quicktune/space"
)

// WriteOption changes what Write does with what is already there.
type WriteOption int

// Replace lets Write replace a different meta-dataset in the directory. Without
// it, that is an error. A directory that holds anything else is refused in any
// case.
const Replace WriteOption = 1

// maxRowsPerPart is where the writer begins a new part, at the end of a curve.
// It is a variable so that tests need no millions of rows.
var maxRowsPerPart = maxPartRows

// Write checks a meta-dataset and writes it to dir, sorted by the name of the
// data set, then by ID; models keep their order, and those that only occur in
// configurations follow by name. The same Input always gives the same bytes.
//
// Nothing half-written is ever seen in dir, even if the process is killed: the
// files are written to dir+".new.tmp", synchronised and renamed. Remains of a
// killed process are removed by the next Write to the same directory. An error
// leaves dir as it was. If dir already holds the same data, Write leaves it
// alone; see Replace for other data.
func Write(dir string, in Input, options ...WriteOption) error {
	if err := write(dir, in, slices.Contains(options, Replace)); err != nil {
		return fmt.Errorf("write meta-dataset %s: %w", dir, err)
	}
	return nil
}

func write(dir string, in Input, replace bool) error {
	p, err := prepare(in)
	if err != nil {
		return err
	}
	t, err := lockTarget(dir)
	if err != nil {
		return err
	}
	defer t.unlock()
	old, err := t.inspect(replace)
	if err != nil {
		return err
	}
	m, err := p.writeFiles(t.fresh)
	if err == nil {
		// Nothing is published that cannot be read again.
		if _, found := load(t.fresh); len(found) > 0 {
			err = fmt.Errorf("the files do not pass their own check: %w", found[0])
		}
	}
	if err == nil && old != nil && old.Hash == m.Hash && slices.Equal(old.Budgets, m.Budgets) && len(Verify(dir)) == 0 {
		return t.discard()
	}
	if err == nil && old != nil && !replace {
		err = fmt.Errorf("the directory holds another meta-dataset (%d curves, by %q): choose another directory, or ask to replace it",
			old.Counts.Curves, old.Generator)
	}
	if err == nil {
		err = t.commit(old != nil)
	}
	if err != nil {
		return errors.Join(err, t.discard())
	}
	return nil
}

// prepared is an Input that is checked and sorted.
type prepared struct {
	Input
	curves  []*InputCurve
	columns []Column // those that some curve knows
	hyper   []hyperColumn
	model   *hyperColumn
	epochs  int
}

func prepare(in Input) (*prepared, error) {
	if in.Space == nil {
		return nil, errors.New("no search space")
	}
	if err := checkHeader(in.Space, in.Metric, in.MaxEpochs, in.ModelParam, in.TimeUnit, in.CurveCap, in.MetaFeatures); err != nil {
		return nil, err
	}
	if err := checkBudgets(in.Budgets); err != nil {
		return nil, err
	}
	for _, s := range append([]string{in.Generator}, in.Notes...) {
		if err := checkText(s); err != nil {
			return nil, fmt.Errorf("generator or notes: %w", err)
		}
	}
	p := &prepared{Input: in}
	var err error
	if p.hyper, p.model, err = hyperColumns(in.Space, in.ModelParam); err != nil {
		return nil, err
	}
	known, err := p.sortDatasets()
	if err != nil {
		return nil, err
	}
	if err := p.sortCurves(known); err != nil {
		return nil, err
	}
	if err := p.completeModels(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *prepared) sortDatasets() (map[string]bool, error) {
	p.Datasets = slices.Clone(p.Datasets)
	slices.SortStableFunc(p.Datasets, func(a, b Dataset) int { return strings.Compare(a.Name, b.Name) })
	known := make(map[string]bool, len(p.Datasets))
	for _, d := range p.Datasets {
		if err := checkDataset(d, p.MetaFeatures); err != nil {
			return nil, fmt.Errorf("data set %q: %w", d.Name, err)
		}
		if known[d.Name] {
			return nil, fmt.Errorf("data set %q is given twice", d.Name)
		}
		known[d.Name] = true
	}
	return known, nil
}

func (p *prepared) sortCurves(datasets map[string]bool) error {
	ids := make(map[string]bool, len(p.Curves))
	used := make(map[Column]bool)
	p.curves = make([]*InputCurve, len(p.Curves))
	for i := range p.Curves {
		c := &p.Curves[i]
		p.curves[i] = c
		if err := p.checkCurve(c, datasets, used); err != nil {
			return fmt.Errorf("data set %q, curve %q: %w", c.Dataset, c.ID, err)
		}
		if ids[c.ID] {
			return fmt.Errorf("data set %q, curve %q: the id is given twice", c.Dataset, c.ID)
		}
		ids[c.ID] = true
		p.epochs += c.epochs()
	}
	if len(p.curves) > maxPartRows || p.epochs > math.MaxInt32 {
		return fmt.Errorf("%d curves with %d epochs: at most %d and %d can be stored", len(p.curves), p.epochs, maxPartRows, math.MaxInt32)
	}
	slices.SortFunc(p.curves, func(a, b *InputCurve) int {
		return cmp.Or(strings.Compare(a.Dataset, b.Dataset), strings.Compare(a.ID, b.ID))
	})
	used[p.Metric.Column] = true
	for _, c := range Columns {
		if used[c] {
			p.columns = append(p.columns, c)
		}
	}
	return nil
}

// epochs returns the number of epochs of the curve.
func (c *InputCurve) epochs() int {
	for _, col := range Columns {
		if v, ok := c.Values[col]; ok {
			return len(v)
		}
	}
	return 0
}

// checkCurve checks one curve and notes the columns of which it knows at least
// one number.
func (p *prepared) checkCurve(c *InputCurve, datasets map[string]bool, used map[Column]bool) error {
	if err := checkName(c.ID); err != nil {
		return err
	}
	if !datasets[c.Dataset] {
		return errors.New("the data set is not among those given")
	}
	if err := p.Space.Validate(c.Config); err != nil {
		return err
	}
	if err := checkText(c.Reason); err != nil {
		return err
	}
	n := c.epochs()
	for _, col := range Columns {
		if v, ok := c.Values[col]; ok && len(v) != n {
			return fmt.Errorf("columns of different lengths: %d %s", len(v), col)
		}
	}
	if bad := checkEnd(c.End, n, p.MaxEpochs); bad != "" {
		return errors.New(bad)
	}
	known := 0
	for _, col := range Columns {
		values, ok := c.Values[col]
		if !ok {
			if n > 0 && (col == p.Metric.Column || col == Seconds && p.TimeUnit == TimeSeconds) {
				return fmt.Errorf("no %s, though there are %d epochs", col, n)
			}
			continue
		}
		known++
		if p.TimeUnit == TimeEpochs && (col == Seconds || col == EvalSeconds) {
			return fmt.Errorf("%s are given, though the time unit is %s", col, TimeEpochs)
		}
		for i, v := range values {
			bad := checkValue(col, v)
			if v != v {
				bad = checkUnknown(col, p.Metric.Column, c.End)
			} else {
				used[col] = true
			}
			if bad != "" {
				return fmt.Errorf("epoch %d: %s", i+1, bad)
			}
		}
	}
	if known != len(c.Values) {
		for col := range c.Values {
			if !slices.Contains(Columns, col) {
				return fmt.Errorf("unknown column %q", col)
			}
		}
	}
	if eval := c.Values[EvalSeconds]; eval != nil {
		for i, v := range eval {
			if bad := checkEvalSeconds(v, c.Values[Seconds][i]); bad != "" {
				return fmt.Errorf("epoch %d: %s", i+1, bad)
			}
		}
	}
	return nil
}

// completeModels checks the models and adds those that only occur in
// configurations, with no number known.
func (p *prepared) completeModels() error {
	known := make(map[string]bool, len(p.Models))
	for _, m := range p.Models {
		if err := checkModel(m); err != nil {
			return fmt.Errorf("model %q: %w", m.Name, err)
		}
		if known[m.Name] {
			return fmt.Errorf("model %q is given twice", m.Name)
		}
		known[m.Name] = true
	}
	if p.model == nil {
		return nil
	}
	var others []Model
	for _, c := range p.curves {
		v := c.Config[p.model.param]
		if name := v.String(); !v.IsInactive() && !isNone(v) && !known[name] {
			known[name] = true
			others = append(others, Model{name, math.NaN(), math.NaN(), math.NaN(), math.NaN()})
		}
	}
	slices.SortFunc(others, func(a, b Model) int { return strings.Compare(a.Name, b.Name) })
	p.Models = append(slices.Clone(p.Models), others...)
	return nil
}

func isNone(v space.Value) bool { return v == space.None }

// writeFiles writes and synchronises everything in dir, which does not exist.
func (p *prepared) writeFiles(dir string) (*Manifest, error) {
	spaceJSON, err := p.Space.MarshalJSON()
	if err != nil {
		return nil, err
	}
	m := &Manifest{
		Format: formatName, FormatVersion: FormatVersion,
		Generator: p.Generator, Notes: p.Notes,
		Metric: p.Metric, MaxEpochs: p.MaxEpochs, ModelParam: p.ModelParam,
		TimeUnit: p.TimeUnit, CurveCap: p.CurveCap, Budgets: p.Budgets, MetaFeatures: p.MetaFeatures,
		Counts:    Counts{len(p.Datasets), len(p.Models), len(p.curves), p.epochs},
		SpaceHash: p.Space.Hash(), Space: spaceJSON,
	}
	if err := os.MkdirAll(filepath.Join(dir, curvesDir), 0o777); err != nil {
		return nil, err
	}
	type table struct {
		path    string
		rows    int
		columns []tableColumn
	}
	for _, t := range []table{
		{datasetsFile, len(p.Datasets), datasetColumns(p.Datasets, p.MetaFeatures)},
		{modelsFile, len(p.Models), modelColumns(p.Models)},
		{configsFile, len(p.curves), configColumns(p.curves, p.hyper, p.model)},
		{endsFile, len(p.curves), endColumns(p.curves)},
	} {
		if err := m.writePart(dir, t.path, t.rows, t.columns); err != nil {
			return nil, err
		}
	}
	for lo, number := 0, 0; lo < len(p.curves); number++ {
		hi, rows := lo, 0
		for hi < len(p.curves) && (rows == 0 || rows+p.curves[hi].epochs() <= maxRowsPerPart) {
			rows += p.curves[hi].epochs()
			hi++
		}
		if rows > 0 {
			path := fmt.Sprintf("%s/part-%05d.parquet", curvesDir, number)
			if err := m.writePart(dir, path, rows, curveColumns(p.curves, lo, hi, p.columns)); err != nil {
				return nil, err
			}
		}
		lo = hi
	}
	m.Hash = m.CanonicalHash()
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	if _, err := writeFile(filepath.Join(dir, manifestFile), func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	}); err != nil {
		return nil, err
	}
	return m, errors.Join(syncDir(filepath.Join(dir, curvesDir)), syncDir(dir))
}

// writePart writes one Parquet file and lists it in the manifest.
func (m *Manifest) writePart(dir, path string, rows int, columns []tableColumn) error {
	sum := sha256.New()
	n, err := writeFile(filepath.Join(dir, filepath.FromSlash(path)), func(w io.Writer) error {
		return writeTable(io.MultiWriter(w, sum), rows, columns)
	})
	if err != nil {
		return err
	}
	m.Parts = append(m.Parts, Part{path, hex.EncodeToString(sum.Sum(nil)), n, rows})
	return nil
}

// writeFile creates a file, lets write fill it and puts it on the disk.
func writeFile(path string, write func(io.Writer) error) (size int64, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<16)
	if err := write(w); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if err := errors.Join(w.Flush(), f.Sync()); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
