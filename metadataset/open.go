package metadataset

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"quicktune/space"
)

// Open reads a whole meta-dataset. It checks everything that Verify checks and
// returns the first problem as an error, which wraps a *Problem.
func Open(dir string) (*Store, error) {
	s, found := load(dir)
	if len(found) > 0 {
		return nil, fmt.Errorf("meta-dataset %s: %w", dir, found[0])
	}
	return s, nil
}

// maxProblems bounds what Verify returns.
const maxProblems = 100

// Verify reads a whole meta-dataset and returns every problem it finds, each a
// *Problem, at most 10 for one rule and 100 in all. Where a file cannot be
// read at all, checks that need it are left out.
func Verify(dir string) []error {
	_, found := load(dir)
	if len(found) > maxProblems {
		more := len(found) - maxProblems
		found = append(found[:maxProblems:maxProblems], &Problem{manifestFile, -1, fmt.Errorf("%d further problems are not listed", more)})
	}
	return found
}

// A loader reads one directory. Its parts run in parallel and each writes to
// fields of its own.
type loader struct {
	dir   string
	store *Store
	files map[string]*loadedFile // by path
	order []*loadedFile          // as the manifest lists them
	curve []*loadedFile          // the curve parts among them
	limit *errgroup.Group

	epochs []int32 // of each configuration, as ends.parquet has them; nil if unreadable
}

// A loadedFile is one part with what is wrong with it.
type loadedFile struct {
	Part
	problems
	hash   error // of the bytes, nil if it is right
	pq     *parquetFile
	base   int     // curve parts: rows of the parts before
	config []int32 // curve parts: the columns config and epoch
	epoch  []int32
	broken bool // its rows cannot be judged
}

func (f *loadedFile) fail(format string, args ...any) {
	f.broken = true
	f.add(-1, format, args...)
}

func load(dir string) (*Store, []error) {
	data, err := readRegular(filepath.Join(dir, manifestFile), checkManifestSize)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no meta-dataset here: %w", fs.ErrNotExist)
	}
	if err != nil {
		return nil, []error{&Problem{manifestFile, -1, err}}
	}
	m, sp, err := parseManifest(data)
	if err != nil {
		return nil, []error{&Problem{manifestFile, -1, err}}
	}
	l := &loader{
		dir:   dir,
		store: &Store{Dir: dir, Manifest: m, Space: sp},
		files: make(map[string]*loadedFile, len(m.Parts)),
	}
	extra := l.unlisted()
	l.read()
	l.decode()
	l.join()

	var found []error
	for _, f := range l.order {
		if f.hash != nil {
			found = append(found, &Problem{f.Path, -1, f.hash})
		}
		found = append(found, f.list...)
	}
	if found = append(found, extra...); len(found) > 0 {
		return nil, found
	}
	l.store.finish()
	return l.store, nil
}

// unlisted reports Parquet files that the manifest does not know: another
// reader, which takes curves/*.parquet, would see rows that this one does not.
func (l *loader) unlisted() []error {
	var found []error
	for _, sub := range []string{".", curvesDir} {
		entries, err := os.ReadDir(filepath.Join(l.dir, sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			found = append(found, &Problem{sub, -1, err})
		}
		for _, e := range entries {
			path := e.Name()
			if sub != "." {
				path = sub + "/" + path
			}
			if _, listed := l.store.Manifest.part(path); !listed && filepath.Ext(path) == ".parquet" {
				found = append(found, &Problem{path, -1, errors.New("the manifest does not list this file: move it away")})
			}
		}
	}
	return found
}

// read opens every part; hashes are still being computed when it returns, and
// known after decode.
func (l *loader) read() {
	l.limit = new(errgroup.Group)
	l.limit.SetLimit(runtime.GOMAXPROCS(0) + 1)
	base := 0
	for _, p := range l.store.Manifest.Parts {
		f := &loadedFile{Part: p, problems: problems{file: p.Path}}
		l.files[p.Path] = f
		l.order = append(l.order, f)
		if curvePart.MatchString(p.Path) {
			f.base = base
			base += p.Rows
			l.curve = append(l.curve, f)
		}
		data, err := readRegular(filepath.Join(l.dir, filepath.FromSlash(p.Path)), p.checkSize)
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("the file is missing")
		}
		if err != nil {
			f.fail("%w", err)
			continue
		}
		l.limit.Go(func() error {
			if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != p.SHA256 {
				f.hash = fmt.Errorf("SHA-256 is %x, the manifest says %s: the file was changed", sum, p.SHA256)
			}
			return nil
		})
		if f.pq, err = openParquet(data); err != nil {
			f.fail("%w", err)
		} else if f.pq.rows != p.Rows {
			f.fail("%d rows, the manifest says %d", f.pq.rows, p.Rows)
		}
	}
}

// decode parses all parts that could be opened.
func (l *loader) decode() {
	var tables errgroup.Group
	tables.Go(func() error {
		l.readDatasets()
		l.readModels()
		l.readConfigs()
		return nil
	})
	tables.Go(func() error {
		l.readEnds()
		return nil
	})
	for _, f := range l.curve {
		l.limit.Go(func() error {
			l.readEpochNumbers(f)
			return nil
		})
	}
	// Neither group's functions return errors: they note problems.
	_ = tables.Wait()
	_ = l.limit.Wait()
	l.readColumns()
}

// columns fails the file unless it has exactly the wanted columns.
func (f *loadedFile) columns(want ...string) bool {
	if f.broken {
		return false
	}
	for _, name := range want {
		if f.pq.column(name) < 0 {
			f.fail("column %q is missing", name)
		}
	}
	for _, c := range f.pq.columns {
		if !slices.Contains(want, c.name) {
			f.fail("column %q is not part of the format", c.name)
		}
	}
	return !f.broken
}

// strings reads a text column; nulls are reported unless they are allowed.
func (f *loadedFile) strings(name string, nullable bool) (c indexed[string]) {
	c, err := f.pq.readStrings(f.pq.column(name))
	if err != nil {
		f.fail("column %q: %w", name, err)
		return c
	}
	for i, v := range c.values {
		if err := checkText(v); err != nil {
			f.fail("column %q: value %d: %w", name, i, err)
			return c
		}
	}
	if !nullable {
		for row, i := range c.index {
			if i < 0 {
				f.addRow(name, row, "%s is null", name)
				f.broken = true
			}
		}
	}
	return c
}

// doubles reads a column of numbers, NaN for null.
func (f *loadedFile) doubles(name string) []float64 {
	c, err := f.pq.readDoubles(f.pq.column(name))
	if err != nil {
		f.fail("column %q: %w", name, err)
		return nil
	}
	out := make([]float64, f.pq.rows)
	for row := range out {
		v, ok := c.at(row)
		if ok && math.IsNaN(v) {
			f.addRow(name, row, "%s is NaN: unknown is null", name)
		}
		if !ok {
			v = math.NaN()
		}
		out[row] = v
	}
	return out
}

// rowNumbers checks a column that counts the rows of its file.
func (f *loadedFile) rowNumbers(name string) {
	numbers := make([]int32, f.pq.rows)
	if err := f.pq.readInts(f.pq.column(name), numbers); err != nil {
		f.fail("column %q: %w", name, err)
		return
	}
	for row, n := range numbers {
		if int(n) != row {
			f.addRow(name, row, "%s is %d, want the number of the row", name, n)
			f.broken = true
		}
	}
}

func (l *loader) readDatasets() {
	f := l.files[datasetsFile]
	meta := l.store.Manifest.MetaFeatures
	want := append([]string{"dataset"}, descriptorNames[:]...)
	for _, name := range meta {
		want = append(want, metaPrefix+name)
	}
	if !f.columns(want...) {
		return
	}
	names := f.strings("dataset", false)
	if f.broken {
		return
	}
	all := make([]Dataset, f.pq.rows)
	for row := range all {
		all[row].Name, _ = names.at(row)
		if row > 0 && all[row].Name <= all[row-1].Name {
			f.addRow("dataset", row, "data set %q after %q: the names are sorted and occur once", all[row].Name, all[row-1].Name)
			f.broken = true
		}
	}
	for _, name := range descriptorNames {
		c, err := f.pq.readLongs(f.pq.column(name))
		if err != nil {
			f.fail("column %q: %w", name, err)
			return
		}
		for row := range all {
			v, ok := c.at(row)
			if ok && (v <= 0 || v > math.MaxInt32) {
				f.addRow(name, row, "%s is %d: use a number from 1, null where it is unknown", name, v)
			}
			*all[row].descriptor(name) = int(v)
		}
	}
	for i, name := range meta {
		values := f.doubles(metaPrefix + name)
		if values == nil {
			return
		}
		for row := range all {
			if v := values[row]; !math.IsNaN(v) || all[row].MetaFeatures != nil {
				all[row].setMetaFeature(i, v, len(meta))
			}
		}
	}
	for row := range all {
		if err := checkDataset(all[row], meta); err != nil {
			f.addRow("dataset", row, "data set %q: %w", all[row].Name, err)
		}
	}
	l.store.Datasets = all
}

// descriptor returns where a descriptor is kept.
func (d *Dataset) descriptor(name string) *int {
	switch name {
	case "train_samples":
		return &d.TrainSamples
	case "classes":
		return &d.Classes
	case "pixels":
		return &d.Pixels
	}
	return &d.Channels
}

// setMetaFeature sets feature i of n; the others are unknown until they are
// set, and a data set of which none is known has none.
func (d *Dataset) setMetaFeature(i int, v float64, n int) {
	if d.MetaFeatures == nil {
		d.MetaFeatures = make([]float64, n)
		for j := range d.MetaFeatures {
			d.MetaFeatures[j] = math.NaN()
		}
	}
	d.MetaFeatures[i] = v
}

func (l *loader) readModels() {
	f := l.files[modelsFile]
	if !f.columns(append([]string{"model"}, modelNumbers[:]...)...) {
		return
	}
	names := f.strings("model", false)
	if f.broken {
		return
	}
	all := make([]Model, f.pq.rows)
	seen := make(map[string]int, len(all))
	for row := range all {
		name, _ := names.at(row)
		if first, dup := seen[name]; dup {
			f.addRow("model", row, "model %q is in row %d already", name, first)
			f.broken = true
		}
		seen[name] = row
		all[row].Name = name
	}
	for i, name := range modelNumbers {
		values := f.doubles(name)
		if values == nil {
			return
		}
		for row := range all {
			*all[row].number(i) = values[row]
		}
	}
	for row := range all {
		if err := checkModel(all[row]); err != nil {
			f.addRow("model", row, "model %q: %w", all[row].Name, err)
		}
	}
	l.store.Models = all
}

// number returns where number i of modelNumbers is kept.
func (m *Model) number(i int) *float64 {
	return [...]*float64{&m.Params, &m.SourceAccuracy, &m.Pixels, &m.GMACs}[i]
}

func (l *loader) readConfigs() {
	f := l.files[configsFile]
	sp, modelParam := l.store.Space, l.store.Manifest.ModelParam
	columns, model, err := hyperColumns(sp, modelParam)
	if err != nil {
		f.fail("%w", err)
		return
	}
	want := []string{"config", "id", "dataset", "model"}
	for _, c := range columns {
		want = append(want, c.name)
	}
	if !f.columns(want...) {
		return
	}
	// The distinct ids come first: they bound what the other columns, which
	// may repeat themselves at no cost in bytes, can make the reader allocate.
	f.rowNumbers("config")
	if f.broken || !l.readIDs(f) {
		return
	}
	datasets, models := f.strings("dataset", false), f.strings("model", true)
	if f.broken || !l.sortedByDataset(f, datasets) {
		return
	}
	stored := make([]storedColumn, 0, sp.Len())
	for _, c := range columns {
		s, err := readHyperColumn(f.pq, c)
		if err != nil {
			f.fail("column %q: %w", c.name, err)
			return
		}
		stored = append(stored, s)
	}
	if model != nil {
		s, err := readHyperColumn(f.pq, *model)
		if err != nil {
			f.fail("column %q: %w", model.name, err)
			return
		}
		stored = append(stored, s)
	}
	l.readModelOf(f, models)
	l.packConfigs(f, stored)
}

func (l *loader) readIDs(f *loadedFile) bool {
	ids := f.strings("id", false)
	if f.broken {
		return false
	}
	n := f.pq.rows
	l.store.IDs = make([]string, n)
	l.store.lookup = make(map[string]int32, n)
	for row := range n {
		id, _ := ids.at(row)
		if id == "" {
			f.addRow("id", row, "the id is empty")
		}
		if first, dup := l.store.lookup[id]; dup {
			f.addRow("id", row, "id %q is in row %d already", id, first)
			f.broken = true
		}
		l.store.IDs[row] = id
		l.store.lookup[id] = int32(row)
	}
	return !f.broken
}

// sortedByDataset fills DatasetOf and checks the order of the rows.
func (l *loader) sortedByDataset(f *loadedFile, names indexed[string]) bool {
	if l.store.Datasets == nil {
		return false // datasets.parquet has problems of its own
	}
	known := make(map[string]int32, len(l.store.Datasets))
	for d := range l.store.Datasets {
		known[l.store.Datasets[d].Name] = int32(d)
	}
	index := make([]int32, len(names.values))
	for i, name := range names.values {
		d, ok := known[name]
		if !ok {
			d = -1
		}
		index[i] = d
	}
	of := make([]int32, f.pq.rows)
	for row := range of {
		i := names.index[row]
		if of[row] = index[i]; of[row] < 0 {
			f.addRow("dataset", row, "data set %q is not in %s", names.values[i], datasetsFile)
			f.broken = true
			continue
		}
		if row > 0 && (of[row] < of[row-1] || of[row] == of[row-1] && l.store.IDs[row] < l.store.IDs[row-1]) {
			f.addRow("order", row, "data set %q, id %q: the rows are sorted by data set and id", names.values[i], l.store.IDs[row])
			f.broken = true
		}
	}
	l.store.DatasetOf = of
	return !f.broken
}

func (l *loader) readModelOf(f *loadedFile, names indexed[string]) {
	if l.store.Models == nil {
		return // models.parquet has problems of its own
	}
	known := make(map[string]int32, len(l.store.Models))
	for i := range l.store.Models {
		known[l.store.Models[i].Name] = int32(i)
	}
	of := make([]int32, f.pq.rows)
	for row := range of {
		of[row] = -1
		if name, ok := names.at(row); ok {
			m, listed := known[name]
			if !listed {
				f.addRow("model", row, "model %q is not in %s", name, modelsFile)
				continue
			}
			of[row] = m
		}
	}
	l.store.ModelOf = of
}

// packConfigs validates every configuration and keeps it in compact columns.
func (l *loader) packConfigs(f *loadedFile, stored []storedColumn) {
	sp := l.store.Space
	table := newConfigTable(sp, f.pq.rows)
	ordered := parentsFirst(sp, stored)
	config := make(space.Config, sp.Len())
	for row := range f.pq.rows {
		fill(sp, config, ordered, row)
		if err := sp.Validate(config); err != nil {
			f.addRow("configuration", row, "configuration %q: %w", l.store.IDs[row], err)
			continue
		}
		table.add(config, ordered, row)
	}
	l.store.configs = table
}

func (l *loader) readEnds() {
	f := l.files[endsFile]
	if !f.columns("config", "end", "reason", "epochs") {
		return
	}
	if f.rowNumbers("config"); f.broken {
		return
	}
	ends, reasons := f.strings("end", false), f.strings("reason", true)
	if f.broken {
		return
	}
	n := f.pq.rows
	epochs := make([]int32, n)
	if err := f.pq.readInts(f.pq.column("epochs"), epochs); err != nil {
		f.fail("column %q: %w", "epochs", err)
		return
	}
	l.store.Ends, l.store.Reasons = make([]End, n), make([]string, n)
	for row := range n {
		end, _ := ends.at(row)
		if i := slices.Index(Ends, End(end)); i >= 0 {
			end = string(Ends[i]) // the constant, not a copy of the file's text
		}
		l.store.Ends[row] = End(end)
		l.store.Reasons[row], _ = reasons.at(row)
		if bad := checkEnd(End(end), int(epochs[row]), l.store.Manifest.MaxEpochs); bad != "" {
			f.addRow("end", row, "%s", bad)
		}
	}
	l.epochs = epochs
}

// readEpochNumbers reads the two integer columns of a curve part.
func (l *loader) readEpochNumbers(f *loadedFile) {
	if f.broken {
		return
	}
	want := []string{"config", "epoch"}
	for _, c := range Columns {
		if f.pq.column(string(c)) >= 0 {
			want = append(want, string(c))
		}
	}
	if !f.columns(want...) {
		return
	}
	config, epoch := make([]int32, f.pq.rows), make([]int32, f.pq.rows)
	if err := f.pq.readInts(f.pq.column("config"), config); err != nil {
		f.fail("column %q: %w", "config", err)
		return
	}
	if err := f.pq.readInts(f.pq.column("epoch"), epoch); err != nil {
		f.fail("column %q: %w", "epoch", err)
		return
	}
	f.config, f.epoch = config, epoch
}

// readColumns reads the numbers of all curve parts into columns that span
// them.
func (l *loader) readColumns() {
	m := &l.store.Manifest
	must := map[Column]bool{m.Metric.Column: true, Seconds: m.TimeUnit == TimeSeconds}
	total := m.Counts.Epochs
	for _, f := range l.curve {
		if f.broken {
			return
		}
	}
	for _, c := range Columns {
		present := len(l.curve) > 0 && l.curve[0].pq.column(string(c)) >= 0
		for _, f := range l.curve {
			switch has := f.pq.column(string(c)) >= 0; {
			case has != present:
				f.fail("column %q is in some curve parts only", c)
			case has && (c == Seconds || c == EvalSeconds) && m.TimeUnit == TimeEpochs:
				f.fail("column %q, though the time unit is %s", c, TimeEpochs)
			case !has && must[c]:
				f.fail("column %q is missing", c)
			}
			if f.broken {
				return
			}
		}
		if present || must[c] {
			*l.store.Epochs.slot(c) = make([]float32, total)
		}
	}
	// Each goroutine reads one column of all parts and notes problems apart;
	// they are put together in the order of the columns.
	found := make([][]problems, len(Columns))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, c := range Columns {
		values := *l.store.Epochs.slot(c)
		if values == nil {
			continue
		}
		found[i] = make([]problems, len(l.curve))
		for j, f := range l.curve {
			g.Go(func() error {
				found[i][j].file = f.Path
				readColumn(f.pq, c, values[f.base:f.base+f.Rows], &found[i][j])
				return nil
			})
		}
	}
	_ = g.Wait() // the functions note problems and return no errors
	for _, byPart := range found {
		for j := range byPart {
			if f := l.curve[j]; len(byPart[j].list) > 0 {
				f.broken = f.broken || slices.ContainsFunc(byPart[j].list, func(err error) bool { return err.(*Problem).Row < 0 })
				f.list = append(f.list, byPart[j].list...)
			}
		}
	}
}

// readColumn reads one column of one part and checks the range of its numbers.
func readColumn(pq *parquetFile, c Column, dst []float32, found *problems) {
	nan, err := pq.readFloats(pq.column(string(c)), dst)
	if err != nil {
		found.add(-1, "column %q: %w", c, err)
		return
	}
	if nan >= 0 {
		found.addRow(string(c), nan, "%s is NaN: unknown is null", c)
	}
	for row, v := range dst {
		if bad := checkValue(c, v); bad != "" {
			found.addRow(string(c), row, "%s", bad)
		}
	}
}

// join checks what several files say together: that the rows of the curves are
// the epochs 1, 2, ... of one configuration after the other and as many as
// ends.parquet counts, and where numbers may be unknown.
func (l *loader) join() {
	for _, f := range l.curve {
		if f.broken {
			return
		}
	}
	s := l.store
	n := s.Manifest.Counts.Curves
	s.Offsets = make([]int32, n+1)
	config, epoch := int32(0), int32(0) // of the row before
	clean := true
	for _, f := range l.curve {
		before := len(f.list)
		for row := range f.config {
			c, e := f.config[row], f.epoch[row]
			switch {
			case c == config && e == epoch+1, c > config && int(c) < n && e == 1:
			case c < 0 || int(c) >= n:
				f.addRow("config", row, "configuration %d, but there are only %d", c, n)
				continue
			case c < config:
				f.addRow("config", row, "configuration %d after %d: the rows are sorted", c, config)
			case c > config:
				f.addRow("epoch", row, "configuration %d begins with epoch %d: epoch 1 is missing", c, e)
			case e <= epoch:
				f.addRow("epoch", row, "epoch %d of configuration %d after epoch %d: an epoch twice, or out of order", e, c, epoch)
			default:
				f.addRow("epoch", row, "epoch %d of configuration %d after epoch %d: epochs are missing", e, c, epoch)
			}
			s.Offsets[c+1]++
			config, epoch = c, e
		}
		clean = clean && len(f.list) == before
	}
	if l.epochs != nil {
		f := l.files[endsFile]
		for c, want := range l.epochs {
			if got := s.Offsets[c+1]; got != want {
				f.addRow("epochs", c, "epochs is %d, but the curve parts hold %d rows of this configuration", want, got)
				clean = false
			}
		}
	}
	for c := range n {
		s.Offsets[c+1] += s.Offsets[c]
	}
	if clean && l.epochs != nil {
		l.checkUnknowns()
	}
}

// checkUnknowns checks the numbers of each epoch against each other and
// against the end of the curve.
func (l *loader) checkUnknowns() {
	s := l.store
	metric := s.Manifest.Metric.Column
	values := *s.Epochs.slot(metric)
	seconds, eval := s.Epochs.Seconds, s.Epochs.EvalSeconds
	for _, f := range l.curve {
		for row, c := range f.config {
			i := f.base + row
			if v := values[i]; v != v {
				if bad := checkUnknown(metric, metric, s.Ends[c]); bad != "" {
					f.addRow(string(metric), row, "%s", bad)
				}
			}
			if seconds == nil {
				continue
			}
			if seconds[i] != seconds[i] {
				f.addRow(string(Seconds), row, "%s", checkUnknown(Seconds, metric, s.Ends[c]))
			}
			if eval != nil {
				if bad := checkEvalSeconds(eval[i], seconds[i]); bad != "" {
					f.addRow(string(EvalSeconds), row, "%s", bad)
				}
			}
		}
	}
}
