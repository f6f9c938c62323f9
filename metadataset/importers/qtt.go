package importers

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"quicktune/metadataset"
	"quicktune/space"
)

// table is a CSV file whose first column labels the rows.
type table struct {
	file    string
	columns []string // without that of the labels
	labels  []string
	index   map[string]int // label to row
	cells   [][]string     // row, column
}

// readCSV parses a labelled table.
func (im *importer) readCSV(file string) (*table, error) {
	data, err := im.read(file)
	if err != nil {
		return nil, err
	}
	t := &table{file: im.tree.label(file), index: map[string]int{}}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s: is not UTF-8", t.file)
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	rows, err := r.ReadAll()
	if err != nil {
		return nil, csvError(t.file, err)
	}
	if len(rows) == 0 || len(rows[0]) < 2 {
		return nil, fmt.Errorf("%s: no column beside that of the row labels", t.file)
	}
	t.columns = rows[0][1:]
	for i, name := range t.columns {
		if slices.Contains(t.columns[:i], name) {
			return nil, fmt.Errorf("%s: column %q occurs twice", t.file, name)
		}
	}
	for i, row := range rows[1:] {
		label := row[0]
		if label == "" {
			return nil, fmt.Errorf("%s: row %d: no label in the first column", t.file, i+1)
		}
		if _, twice := t.index[label]; twice {
			return nil, fmt.Errorf("%s: row %d: label %s occurs twice", t.file, i+1, clip(label))
		}
		t.index[label] = i
		t.labels = append(t.labels, label)
		t.cells = append(t.cells, row[1:])
	}
	if len(t.labels) == 0 {
		return nil, fmt.Errorf("%s: no rows", t.file)
	}
	return t, nil
}

// cell returns the text of a cell, by label and position.
func (t *table) cell(label string, column int) string { return t.cells[t.index[label]][column] }

// sameLabels checks that both tables have the same rows, in any order.
func (t *table) sameLabels(other *table) error {
	for _, pair := range [][2]*table{{t, other}, {other, t}} {
		for _, label := range pair[0].labels {
			if _, ok := pair[1].index[label]; !ok {
				return fmt.Errorf("%s: no row %s, which %s has", pair[1].file, clip(label), pair[0].file)
			}
		}
	}
	return nil
}

// isBlank reports whether pandas reads a cell as missing.
func isBlank(text string) bool {
	switch text {
	case "", "nan", "NaN", "NA", "N/A", "null", "<NA>":
		return true
	}
	return false
}

// parseDecimal parses a finite decimal number: no hexadecimal, no underscores,
// no words.
func parseDecimal(text string) (float64, bool) {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune("+-.0123456789eE", r) }) {
		return 0, false
	}
	x, err := strconv.ParseFloat(text, 64)
	return x, err == nil
}

// parseCell reads a cell of config.csv.
func parseCell(text string) cell {
	c := cell{text: text}
	switch {
	case isBlank(text):
		c.kind = cellBlank
	case text == "None":
		c.kind = cellNone
	case text == "True" || text == "true":
		c.kind, c.num = cellBool, 1
	case text == "False" || text == "false":
		c.kind = cellBool
	default:
		c.kind = cellText
		if x, ok := parseDecimal(text); ok {
			c.kind, c.num = cellNumber, x
		}
	}
	return c
}

// datasetColumn is the column of config.csv or meta.csv that names the data set.
const datasetColumn = "dataset"

// qtt imports config.csv, curve.csv, cost.csv and meta.csv.
func (im *importer) qtt() (metadataset.Input, error) {
	fail := func(err error) (metadataset.Input, error) { return metadataset.Input{}, err }
	configPath := im.inDir(configFile)
	if !im.tree.has(configPath) {
		configPath = im.inDir(pipelineFile)
	}
	paths := []string{configPath, im.inDir(curveFile), im.inDir(qttCostFile)}
	metaPath := im.inDir(metaFile)
	if im.tree.has(metaPath) {
		paths = append(paths, metaPath)
	}
	im.plan(paths...)
	tables := make([]*table, 4)
	for i, p := range paths {
		var err error
		if tables[i], err = im.readCSV(p); err != nil {
			return fail(err)
		}
	}
	config, curve, cost, meta := tables[0], tables[1], tables[2], tables[3]
	for _, other := range []*table{curve, cost} {
		if err := config.sameLabels(other); err != nil {
			return fail(err)
		}
	}

	in := metadataset.Input{
		Metric:    metadataset.Metric{Column: metadataset.ValAccuracy, Goal: metadataset.Maximize},
		TimeUnit:  metadataset.TimeSeconds,
		CurveCap:  im.opts.CurveCap,
		Generator: "import of the Quick-Tune-Tool layout",
	}
	datasetOf, err := im.qttDatasets(&in, config, meta)
	if err != nil {
		return fail(err)
	}
	configs, err := im.qttSpace(&in, config)
	if err != nil {
		return fail(err)
	}
	if err := im.qttCurves(&in, curve, cost, config.labels, configs, datasetOf); err != nil {
		return fail(err)
	}
	return in, nil
}

// qttSpace sets the search space and the models, and returns the
// configurations in the order of the rows.
func (im *importer) qttSpace(in *metadataset.Input, config *table) ([]space.Config, error) {
	var columns []values
	for i, name := range config.columns {
		if name == datasetColumn {
			continue
		}
		col := values{name: name, cells: make([]cell, len(config.labels))}
		for r := range config.labels {
			col.cells[r] = parseCell(config.cells[r][i])
		}
		columns = append(columns, col)
	}
	configs, reason := paperConfigs(columns, len(config.labels))
	if reason == "" {
		in.Space = space.QuickTune()
		in.ModelParam = modelParam
		in.Models = slices.Clone(hub())
		return configs, nil
	}
	var dropped []string
	var err error
	in.Space, configs, dropped, err = inferSpace(columns)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", config.file, err)
	}
	im.report.warnf(config.file, "the search space is inferred from the values, because it is not that of Quick-Tune: %s", reason)
	in.Notes = append(in.Notes, "the search space is inferred from the values of the configurations")
	if len(dropped) > 0 {
		im.report.warnf(config.file, "columns without any value are left out: %s", join(dropped))
	}
	setModels(in)
	return configs, nil
}

// setModels fills in the model table if a hyperparameter names the model.
func setModels(in *metadataset.Input) {
	i := in.Space.Index(modelParam)
	if i < 0 {
		return
	}
	var names []string
	for _, v := range in.Space.Param(i).Choices {
		if v.Kind() != space.KindString {
			return
		}
		names = append(names, v.Text())
	}
	if len(names) > 0 {
		in.ModelParam = modelParam
		in.Models = modelTable(names)
	}
}

// paperConfigs reads the rows as configurations of Quick-Tune's space. If they
// are not, it says why.
func paperConfigs(columns []values, rows int) (configs []space.Config, reason string) {
	s := space.QuickTune()
	at := make([]int, s.Len()) // hyperparameter to column, -1 without one
	for i := range at {
		at[i] = -1
	}
	for k, col := range columns {
		i := s.Index(strings.ReplaceAll(col.name, "-", "_"))
		if i < 0 {
			return nil, fmt.Sprintf("column %q", col.name)
		}
		if at[i] >= 0 {
			return nil, fmt.Sprintf("columns %q and %q", columns[at[i]].name, col.name)
		}
		at[i] = k
	}
	for i, k := range at {
		if h := s.Param(i); k < 0 && h.Type != space.Constant {
			return nil, fmt.Sprintf("no column %q", h.Name)
		}
	}
	for r := range rows {
		c := make(space.Config, s.Len())
		for i, k := range at {
			h := s.Param(i)
			if k < 0 {
				c[i] = h.Choices[0]
				continue
			}
			v, ok := matchChoice(h, columns[k].cells[r])
			if !ok {
				return nil, fmt.Sprintf("%s is %s in row %d", h.Name, clip(columns[k].cells[r].text), r+1)
			}
			c[i] = v
		}
		for i := range c {
			if v := &c[i]; !s.Active(c, i) && (*v == space.None || *v == s.Param(i).Default) {
				*v = space.Inactive // some tools write what the script would use
			} else if s.Active(c, i) && v.IsInactive() && slices.Contains(s.Param(i).Choices, space.None) {
				*v = space.None // pandas writes None as a blank
			}
		}
		if err := s.Validate(c); err != nil {
			return nil, fmt.Sprintf("row %d: %v", r+1, err)
		}
		configs = append(configs, c)
	}
	return configs, ""
}

// matchChoice finds the choice, or the default, that a cell stands for; a
// blank is Inactive.
func matchChoice(h space.Hyperparameter, c cell) (space.Value, bool) {
	switch c.kind {
	case cellBlank:
		return space.Inactive, true
	case cellNone:
		return space.None, true
	}
	for _, v := range append(slices.Clip(h.Choices), h.Default) {
		switch v.Kind() {
		case space.KindString:
			if v.Text() == c.text {
				return v, true
			}
		case space.KindBool, space.KindInt, space.KindFloat:
			if c.kind != cellText && v.Num() == c.num {
				return v, true
			}
		}
	}
	return space.Inactive, false
}

// Names of the descriptors of a data set in meta.csv, with - for _.
var qttDescriptors = map[string]func(*metadataset.Dataset) *int{
	"num-samples":    func(d *metadataset.Dataset) *int { return &d.TrainSamples },
	"num-classes":    func(d *metadataset.Dataset) *int { return &d.Classes },
	"num-features":   func(d *metadataset.Dataset) *int { return &d.Pixels },
	"num-channels":   func(d *metadataset.Dataset) *int { return &d.Channels },
	"input-channels": func(d *metadataset.Dataset) *int { return &d.Channels },
}

// qttDatasets adds the data sets and returns the name of that of every row of
// config.
func (im *importer) qttDatasets(in *metadataset.Input, config, meta *table) ([]string, error) {
	named := slices.Index(config.columns, datasetColumn)
	rowOf, err := metaRows(config, meta, named)
	if err != nil {
		return nil, err
	}
	names, err := datasetNames(config, meta, named, rowOf)
	if err != nil {
		return nil, err
	}
	var rows []int // of meta, one a data set
	first := map[string]int{}
	for r, name := range names {
		if _, known := first[name]; !known {
			first[name] = r
			in.Datasets = append(in.Datasets, metadataset.Dataset{Name: name})
			if meta != nil {
				rows = append(rows, rowOf[r])
			}
		} else if meta != nil {
			a, b := rowOf[first[name]], rowOf[r]
			if !slices.Equal(meta.cells[a], meta.cells[b]) {
				return nil, fmt.Errorf("%s: rows %s and %s differ, although both are of dataset %q", meta.file, meta.labels[a], meta.labels[b], name)
			}
		}
	}
	if meta == nil {
		im.report.warnf("", "no %s: nothing is known about the data sets", metaFile)
		return names, nil
	}
	if named < 0 && !slices.Contains(meta.columns, datasetColumn) {
		im.report.warnf("", "no column %q: rows with the same meta-features are taken for one data set", datasetColumn)
	}
	return names, describeQTT(in, meta, rows)
}

// datasetNames returns the name of the data set of every row of config: what
// the column dataset says or, without one, dataset-1, dataset-2, ... by
// meta-features.
func datasetNames(config, meta *table, named int, rowOf []int) ([]string, error) {
	names := make([]string, len(config.labels))
	if named < 0 && meta == nil {
		for r := range names {
			names[r] = "dataset-1"
		}
		return names, nil
	}
	metaNamed := -1
	if meta != nil {
		metaNamed = slices.Index(meta.columns, datasetColumn)
	}
	byFeatures := map[string]string{}
	for r, label := range config.labels {
		switch {
		case named >= 0:
			names[r] = config.cells[r][named]
			if metaNamed >= 0 && meta.cells[rowOf[r]][metaNamed] != names[r] {
				return nil, fmt.Errorf("%s: row %s: dataset %q, but %q in %s", config.file, clip(label), clip(names[r]), clip(meta.cells[rowOf[r]][metaNamed]), meta.file)
			}
		case metaNamed >= 0:
			names[r] = meta.cells[rowOf[r]][metaNamed]
		default:
			key := strings.Join(meta.cells[rowOf[r]], "\x00")
			if byFeatures[key] == "" {
				byFeatures[key] = fmt.Sprintf("dataset-%d", len(byFeatures)+1)
			}
			names[r] = byFeatures[key]
		}
		if isBlank(names[r]) {
			return nil, fmt.Errorf("%s: row %s: no dataset", config.file, clip(label))
		}
	}
	return names, nil
}

// metaRows returns for every row of config its row of meta, nil without meta:
// that with the same label, or, where meta has one row a data set, that with
// the same name.
func metaRows(config, meta *table, named int) ([]int, error) {
	if meta == nil {
		return nil, nil
	}
	rows := make([]int, len(config.labels))
	sameErr := config.sameLabels(meta)
	if sameErr == nil {
		for r, label := range config.labels {
			rows[r] = meta.index[label]
		}
		return rows, nil
	}
	metaNamed := slices.Index(meta.columns, datasetColumn)
	if named < 0 || metaNamed < 0 {
		return nil, sameErr
	}
	byName := map[string]int{}
	for m, row := range meta.cells {
		if _, twice := byName[row[metaNamed]]; twice {
			return nil, fmt.Errorf("%s: dataset %q occurs twice, and the rows are not those of %s", meta.file, row[metaNamed], config.file)
		}
		byName[row[metaNamed]] = m
	}
	for r := range rows {
		m, ok := byName[config.cells[r][named]]
		if !ok {
			return nil, fmt.Errorf("%s: no dataset %q, which %s has", meta.file, config.cells[r][named], config.file)
		}
		rows[r] = m
	}
	return rows, nil
}

// describeQTT fills in descriptors and meta-features from the rows of meta. A
// column of texts becomes one meta-feature a text, 1 where it applies.
func describeQTT(in *metadataset.Input, meta *table, rows []int) error {
	for k, name := range meta.columns {
		if name == datasetColumn {
			continue
		}
		numbers := make([]float64, len(rows))
		texts := map[string]bool{}
		for i, m := range rows {
			text := meta.cells[m][k]
			x, ok := parseDecimal(text)
			if isBlank(text) {
				x, ok = math.NaN(), true
			}
			if !ok {
				texts[text] = true
			}
			numbers[i] = x
		}
		if field := qttDescriptors[strings.ReplaceAll(name, "_", "-")]; field != nil {
			for i, m := range rows {
				x := numbers[i]
				if len(texts) > 0 || !math.IsNaN(x) && (x != math.Trunc(x) || x < 0 || x > math.MaxInt32) {
					return fmt.Errorf("%s: row %s, column %q: %q is no count", meta.file, meta.labels[m], name, clip(meta.cells[m][k]))
				}
				if !math.IsNaN(x) {
					*field(&in.Datasets[i]) = int(x)
				}
			}
			continue
		}
		if len(texts) == 0 {
			in.MetaFeatures = append(in.MetaFeatures, name)
			for i := range rows {
				in.Datasets[i].MetaFeatures = append(in.Datasets[i].MetaFeatures, numbers[i])
			}
			continue
		}
		found := map[string]bool{}
		for _, m := range rows {
			found[meta.cells[m][k]] = true
		}
		for _, text := range slices.Sorted(maps.Keys(found)) {
			in.MetaFeatures = append(in.MetaFeatures, name+"="+text)
			for i, m := range rows {
				x := 0.0
				if meta.cells[m][k] == text {
					x = 1
				}
				in.Datasets[i].MetaFeatures = append(in.Datasets[i].MetaFeatures, x)
			}
		}
	}
	return nil
}

// qttCurves adds the curves.
func (im *importer) qttCurves(in *metadataset.Input, curve, cost *table, labels []string, configs []space.Config, datasetOf []string) error {
	if err := checkEpochHeader(curve); err != nil {
		return err
	}
	in.MaxEpochs = len(curve.columns)
	perEpoch := len(cost.columns) > 1
	if perEpoch {
		if len(cost.columns) != len(curve.columns) {
			return fmt.Errorf("%s: %d columns: use one with the whole cost, or one for each of the %d epochs of %s",
				cost.file, len(cost.columns), len(curve.columns), curve.file)
		}
		if err := checkEpochHeader(cost); err != nil {
			return err
		}
	}
	accuracies := make([][]float64, len(labels))
	scale := 1.0
	blanks := false
	for r, label := range labels {
		values, err := readCurve(curve, label)
		if err != nil {
			return err
		}
		for _, x := range values {
			if x > 1+percentSlack/100 {
				scale = 100
			}
		}
		accuracies[r] = values
		blanks = blanks || len(values) < len(curve.columns)
	}
	padded, trimmed, empty := 0, 0, 0
	for r, label := range labels {
		if p := padding(accuracies[r]); p > 0 {
			padded++
			if im.opts.TrimPadding {
				accuracies[r] = accuracies[r][:len(accuracies[r])-p]
				trimmed += p
			}
		}
		c := metadataset.InputCurve{ID: label, Dataset: datasetOf[r], Config: configs[r]}
		where := fmt.Sprintf("%s: row %s", cost.file, clip(label))
		seconds, err := readCosts(where, cost, label, len(accuracies[r]), perEpoch)
		if err != nil {
			return err
		}
		accuracy := make([]float32, len(accuracies[r]))
		for e, x := range accuracies[r] {
			accuracy[e] = float32(min(x/scale, 1))
		}
		c.Values = map[metadataset.Column][]float32{metadataset.ValAccuracy: accuracy, metadataset.Seconds: seconds}
		c.End = endOf(seconds, in.MaxEpochs, in.CurveCap)
		if len(accuracy) == 0 {
			empty++
			c.End = metadataset.EndFailed
			c.Reason = "no epoch was recorded"
		}
		in.Curves = append(in.Curves, c)
	}
	unit := "fractions"
	if scale == 100 {
		unit = "percentages"
	}
	im.report.warnf(curve.file, "accuracies are taken for %s", unit)
	if !perEpoch {
		in.Notes = append(in.Notes, "seconds of an epoch are an estimate: the source has the cost of a whole curve, here spread evenly over its epochs")
	}
	if trimmed > 0 {
		in.Notes = append(in.Notes, fmt.Sprintf("%d epochs that repeat the last accuracy of their curve to the end were taken for padding and left out", trimmed))
	}
	if padded > 0 && !blanks && trimmed == 0 {
		im.report.warnf(curve.file, "no epoch is blank, and %d curves end in at least %d equal accuracies: perhaps padding of curves that ended early", padded, paddingRun)
	}
	if empty > 0 {
		im.report.warnf(curve.file, "%d curves have no epoch", empty)
	}
	return nil
}

// checkEpochHeader checks that the columns are consecutive epochs from 0 or 1.
func checkEpochHeader(t *table) error {
	first, err := strconv.Atoi(t.columns[0])
	if err != nil || first != 0 && first != 1 {
		return fmt.Errorf("%s: the first column is %q, not epoch 1 (or 0)", t.file, clip(t.columns[0]))
	}
	for i, name := range t.columns {
		if name != strconv.Itoa(first+i) {
			return fmt.Errorf("%s: column %q where epoch %d should be", t.file, clip(name), first+i)
		}
	}
	return nil
}

// readCurve returns the observed accuracies of a row.
func readCurve(t *table, label string) ([]float64, error) {
	var out []float64
	for e, name := range t.columns {
		text := t.cell(label, e)
		if isBlank(text) {
			continue
		}
		x, ok := parseDecimal(text)
		if _, inside := fraction(x); !ok || !inside {
			return nil, fmt.Errorf("%s: row %s, column %s: accuracy %q is not between 0 and 100 percent", t.file, clip(label), name, clip(text))
		}
		if len(out) != e {
			return nil, fmt.Errorf("%s: row %s, column %s: an accuracy after a blank: a curve has no gaps", t.file, clip(label), name)
		}
		out = append(out, x)
	}
	return out, nil
}

// readCosts returns the seconds of n epochs.
func readCosts(where string, t *table, label string, n int, perEpoch bool) ([]float32, error) {
	costs := make([]float64, n)
	for e := range max(n, 1) {
		k := 0
		if perEpoch {
			k = e
		}
		text := t.cell(label, k)
		x, ok := parseDecimal(text)
		if !ok || x <= 0 {
			if n == 0 {
				break // a curve without epochs needs no cost
			}
			return nil, fmt.Errorf("%s, column %s: cost %q: use seconds above 0", where, t.columns[k], clip(text))
		}
		if n == 0 {
			break
		}
		costs[e] = x
		if !perEpoch {
			costs[e] /= float64(n)
		}
	}
	return checkSeconds(where, costs)
}

// paddingRun is the number of equal values at the end of a curve from which on
// they look like padding.
const paddingRun = 3

// padding returns the number of values at the end that repeat the one before
// them, 0 if fewer than paddingRun are equal.
func padding(values []float64) int {
	n := len(values)
	if n == 0 {
		return 0
	}
	run := 1
	for run < n && values[n-1-run] == values[n-1] {
		run++
	}
	if run < paddingRun {
		return 0
	}
	return run - 1
}
