package importers

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"quicktune/metadataset"
	"quicktune/space"
	"quicktune/space/quicktunetable"
)

// series is one quantity of many curves: {dataset: {run: [one number an epoch]}}.
type series struct {
	file     string // for messages
	datasets []string
	runs     map[string]*runs
	version  string // that an entry "info" names
}

// runs holds the curves of one data set, values of run i at
// values[offsets[i]:offsets[i+1]].
type runs struct {
	ids     []string
	index   map[string]int
	offsets []int
	values  []float64
}

func (r *runs) at(i int) []float64 { return r.values[r.offsets[i]:r.offsets[i+1]] }

// infoKey is an entry beside the data sets that describes the file.
const infoKey = "info"

// readSeries parses a file of curves.
func (im *importer) readSeries(file string) (*series, error) {
	s, err := im.scan(file)
	if err != nil {
		return nil, err
	}
	out := &series{file: s.file, runs: map[string]*runs{}}
	err = s.object("an object of data sets", func(dataset string) error {
		if dataset == infoKey {
			return s.readInfo(&out.version)
		}
		if dataset == "" {
			return s.errorf("a data set without a name")
		}
		r := &runs{index: map[string]int{}, offsets: []int{0}}
		err := s.object("an object of curves", func(id string) error {
			if id == "" {
				return s.errorf("a curve without an id")
			}
			var err error
			r.values, err = s.floats("an array of numbers", r.values)
			r.index[id] = len(r.ids)
			r.ids = append(r.ids, id)
			r.offsets = append(r.offsets, len(r.values))
			return err
		})
		out.datasets = append(out.datasets, dataset)
		out.runs[dataset] = r
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, s.end()
}

// readInfo reads the version from an entry of descriptions.
func (s *scanner) readInfo(version *string) error {
	return s.object("an object of descriptions", func(key string) error {
		if c, _ := s.peek(); key != "version" || c != '"' {
			return s.skip()
		}
		v, err := s.text()
		if _, known := versionCaps[v]; known {
			*version = v
		}
		return err
	})
}

// place names a curve in a message.
func place(file, dataset, id string) string {
	return fmt.Sprintf("%s: dataset %q, curve %s", file, dataset, clip(id))
}

// sameShape checks that other has exactly the curves of s, equally long. what
// and whatOther name the quantities in messages.
func (s *series) sameShape(other *series, what, whatOther string) error {
	for _, d := range s.datasets {
		a, b := s.runs[d], other.runs[d]
		if b == nil {
			return fmt.Errorf("%s: no dataset %q, which %s has", other.file, d, path.Base(s.file))
		}
		for i, id := range a.ids {
			j, ok := b.index[id]
			if !ok {
				return fmt.Errorf("%s: dataset %q: no curve %s, which %s has", other.file, d, clip(id), path.Base(s.file))
			}
			if n, m := len(a.at(i)), len(b.at(j)); n != m {
				return fmt.Errorf("%s: %d %s but %d %s", place(s.file, d, id), n, what, m, whatOther)
			}
		}
		for _, id := range b.ids {
			if _, ok := a.index[id]; !ok {
				return fmt.Errorf("%s: dataset %q: no curve %s, which %s has", s.file, d, clip(id), path.Base(other.file))
			}
		}
	}
	for _, d := range other.datasets {
		if s.runs[d] == nil {
			return fmt.Errorf("%s: no dataset %q, which %s has", s.file, d, path.Base(other.file))
		}
	}
	return nil
}

// shortName returns the name by which a data set is imported: the last part of
// mtlbm/extended/set1/DOG.
func shortName(dataset string) string { return path.Base(dataset) }

// shortNames checks that the data sets differ in their short names.
func (s *series) shortNames() error {
	first := map[string]string{}
	for _, d := range s.datasets {
		short := shortName(d)
		if other, twice := first[short]; twice {
			return fmt.Errorf("%s: datasets %q and %q are both called %s", s.file, other, d, short)
		}
		first[short] = d
	}
	return nil
}

// percentSlack is how far above 100 an accuracy may lie: the released trainer
// averages over batches in single precision, which ends at 100.00000036.
const percentSlack = 1e-4

// fraction converts an accuracy in percent, ok if it is one.
func fraction(percent float64) (x float32, ok bool) {
	if !(percent >= 0 && percent <= 100+percentSlack) {
		return 0, false
	}
	return float32(min(percent, 100) / 100), true
}

// percentToFraction converts accuracies after checking them.
func percentToFraction(where string, percent []float64) ([]float32, error) {
	out := make([]float32, len(percent))
	for e, x := range percent {
		var ok bool
		if out[e], ok = fraction(x); !ok {
			return nil, fmt.Errorf("%s, epoch %d: accuracy %g is not between 0 and 100 percent", where, e+1, x)
		}
	}
	return out, nil
}

// checkSeconds converts durations after checking them.
func checkSeconds(where string, seconds []float64) ([]float32, error) {
	out := make([]float32, len(seconds))
	for e, x := range seconds {
		out[e] = float32(x)
		if !(out[e] > 0) || math.IsInf(float64(out[e]), 0) {
			return nil, fmt.Errorf("%s, epoch %d: %g is no duration: use seconds above 0", where, e+1, x)
		}
	}
	return out, nil
}

// configs holds the configurations of a table by run.
type configs struct {
	file  string
	byRun map[string]space.Config
	// diverged are the runs of which the table says that the loss was not
	// finite.
	diverged map[string]bool
}

// readTable parses a CSV table of encoded configurations. translate gives each
// heading the spelling of package quicktunetable, or "" to leave the column
// out. hint is added to the message on a row that is no configuration.
func (im *importer) readTable(file string, translate func(string) string, hint string) (*configs, error) {
	data, err := im.read(file)
	if err != nil {
		return nil, err
	}
	label := im.tree.label(file)
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s: is not UTF-8", label)
	}
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return nil, csvError(label, err)
	}
	var keep []int
	var kept, left []string
	invalid := -1
	for i, heading := range header {
		if heading == invalidLoss {
			invalid = i
		}
		name := translate(heading)
		if name == "" && i > 0 {
			left = append(left, heading)
			continue
		}
		keep = append(keep, i)
		kept = append(kept, name)
	}
	layout, err := quicktunetable.NewLayout(kept)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", label, err)
	}
	if len(left) > 0 {
		im.report.warnf(label, "columns that are no hyperparameters are left out: %s", join(left))
	}
	out := &configs{file: label, byRun: map[string]space.Config{}, diverged: map[string]bool{}}
	row := make([]string, len(keep))
	for n := 1; ; n++ {
		record, err := r.Read()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, csvError(label, err)
		}
		for k, i := range keep {
			row[k] = record[i]
		}
		id := strings.Clone(layout.ID(row))
		if id == "" {
			return nil, fmt.Errorf("%s: row %d: no id in the first column", label, n)
		}
		if out.byRun[id] != nil {
			return nil, fmt.Errorf("%s: row %d: id %s occurs twice", label, n, clip(id))
		}
		c, err := layout.FromRow(n, row)
		if err != nil {
			return nil, fmt.Errorf("%s: %w%s", label, err, hint)
		}
		out.byRun[id] = c
		if invalid >= 0 {
			if x, err := strconv.ParseFloat(record[invalid], 64); err == nil && x == 1 || strings.EqualFold(record[invalid], "true") {
				out.diverged[id] = true
			}
		}
	}
}

// csvError says where a CSV file is broken.
func csvError(file string, err error) error {
	var parse *csv.ParseError
	switch {
	case errors.As(err, &parse):
		return fmt.Errorf("%s: line %d: %w", file, parse.Line, parse.Err)
	case err == io.EOF:
		return fmt.Errorf("%s: is empty", file)
	}
	return fmt.Errorf("%s: %w", file, err)
}

//go:embed models.csv
var modelsCSV string

// hub returns the 24 pretrained models of Quick-Tune with what timm's result
// tables of 2022 say about them.
var hub = sync.OnceValue(func() []metadataset.Model {
	rows, err := csv.NewReader(strings.NewReader(modelsCSV)).ReadAll()
	if err != nil {
		panic(fmt.Sprintf("embedded models.csv: %v", err)) // a test reads it
	}
	var out []metadataset.Model
	for _, row := range rows[1:] {
		var x [4]float64
		for i := range x {
			if x[i], err = strconv.ParseFloat(row[i+1], 64); err != nil {
				panic(fmt.Sprintf("embedded models.csv: %v", err))
			}
		}
		out = append(out, metadataset.Model{Name: row[0], Params: x[0], SourceAccuracy: x[1] / 100, Pixels: x[2], GMACs: x[3]})
	}
	return out
})

// modelTable describes the named models, NaN where nothing is known.
func modelTable(names []string) []metadataset.Model {
	nan := math.NaN()
	var out []metadataset.Model
	for _, name := range names {
		m := metadataset.Model{Name: name, Params: nan, SourceAccuracy: nan, Pixels: nan, GMACs: nan}
		if i := slices.IndexFunc(hub(), func(k metadataset.Model) bool { return k.Name == name }); i >= 0 {
			m = hub()[i]
		}
		out = append(out, m)
	}
	return out
}

// modelParam is the hyperparameter that names the pretrained model.
const modelParam = "model"

// quickTuneInput returns an Input on the space of the paper, without data.
func (im *importer) quickTuneInput(layout string) metadataset.Input {
	return metadataset.Input{
		Space:      space.QuickTune(),
		Metric:     metadataset.Metric{Column: metadataset.ValAccuracy, Goal: metadataset.Maximize},
		MaxEpochs:  quickTuneEpochs,
		ModelParam: modelParam,
		TimeUnit:   metadataset.TimeSeconds,
		Generator:  "import of " + layout,
		Models:     slices.Clone(hub()),
	}
}

// findVersion finds out which version a source is: from what it says itself
// (an entry "info", the names of its data sets and runs), then from the names
// of file and folders, then from descriptors. It is an error if the source
// says another version than the one that was asked for.
func (im *importer) findVersion(s *series, described []metadataset.Dataset) error {
	said := []string{s.version, "", ""}
	if strings.Contains(s.datasets[0], "/") {
		said[1] = versionOfPath(s.datasets[0])
	}
	if run := firstID(s); strings.Contains(run, "_") {
		said[2] = versionOfPath(run)
	}
	for _, v := range said {
		if asked := im.opts.Version; v != "" && asked != "" && v != asked {
			return fmt.Errorf("%s: is of version %s, not %s", s.file, v, asked)
		}
	}
	for _, v := range append(said, im.opts.Version, versionOfPath(path.Join(im.tree.name, im.spot.dir)), versionOfDescriptors(described)) {
		if v != "" {
			im.report.Version = v
			return nil
		}
	}
	return nil
}

// firstID returns the id of one curve, "" if there is none.
func firstID(s *series) string {
	for _, d := range s.datasets {
		for _, id := range s.runs[d].ids {
			return id
		}
	}
	return ""
}

// versionOfDescriptors tells the versions apart by their training images:
// Meta-Album's micro and mini have 40 images of every class, of which 24 are
// for training, and micro has at most 20 classes.
func versionOfDescriptors(described []metadataset.Dataset) string {
	version := ""
	for _, d := range described {
		switch {
		case d.TrainSamples == 0:
		case d.TrainSamples != 24*d.Classes:
			return "extended"
		case d.Classes > 20:
			version = "mini"
		case version == "":
			version = "micro"
		}
	}
	return version
}

// finishQuickTune classifies the curves of the two Quick-Tune layouts and
// completes the Input.
func (im *importer) finishQuickTune(in *metadataset.Input, diverged map[string]bool) {
	version := im.report.Version
	in.CurveCap = im.opts.CurveCap
	if in.CurveCap == 0 {
		in.CurveCap = versionCaps[version]
	}
	for i := range in.Curves {
		in.MaxEpochs = max(in.MaxEpochs, len(in.Curves[i].Values[metadataset.Seconds]))
	}
	if version == "" {
		im.report.warnf("", "the source does not tell whether it is micro, mini or extended: choose a version to know the time cap of a curve")
	} else {
		in.Generator += ", version " + version
	}
	probing := in.Space.Index("linear_probing")
	for i := range in.Curves {
		c := &in.Curves[i]
		seconds := c.Values[metadataset.Seconds]
		memoryTest := version == "extended" && len(seconds) == 1 && c.Config[probing] == space.Bool(true)
		switch {
		case memoryTest:
			c.End = metadataset.EndMemoryTest
			c.Reason = "one-batch memory test of linear probing"
		case diverged[c.ID] || endsNotFinite(c.Values[metadataset.TrainLoss]):
			c.End = metadataset.EndDiverged
			c.Reason = "training loss not finite"
		default:
			c.End = endOf(seconds, in.MaxEpochs, in.CurveCap)
		}
	}
	im.noteQuickTune(in)
}

// noteQuickTune tells what a reader must know about the curves.
func (im *importer) noteQuickTune(in *metadataset.Input) {
	ends := map[metadataset.End]int{}
	for i := range in.Curves {
		ends[in.Curves[i].End]++
	}
	in.Notes = append(in.Notes,
		"validation accuracy is top-1 on the 20 % validation split; no test accuracy was published",
		"seconds of an epoch are training plus evaluation on one RTX 2080 Ti, without start-up and checkpoints")
	if n := ends[metadataset.EndMemoryTest]; n > 0 {
		in.Notes = append(in.Notes, fmt.Sprintf("%d curves with linear_probing=true are no training: the released trainer "+
			"runs a memory test on one batch and stops; they are kept with the end %s", n, metadataset.EndMemoryTest))
		im.report.warnf("", "%d curves are memory tests of one batch, not training (linear_probing=true)", n)
	}
	if n := ends[metadataset.EndUnknown]; n > 0 {
		in.Notes = append(in.Notes, fmt.Sprintf("%d curves are shorter than %d epochs although another epoch, as long as their longest, "+
			"would have fitted below the time cap by recorded time; the source does not say why", n, in.MaxEpochs))
		im.report.warnf("", "%d curves end before epoch %d for reasons that the source does not tell", n, in.MaxEpochs)
	}
}

// endOf classifies a curve by its length and its times: time-capped if one
// more epoch, as long as the longest so far, would exceed the cap. A cap of 0
// is unknown.
func endOf(seconds []float32, planned int, timeCap float64) metadataset.End {
	if len(seconds) >= planned {
		return metadataset.EndCompleted
	}
	var sum, longest float64
	for _, s := range seconds {
		sum += float64(s)
		longest = max(longest, float64(s))
	}
	if timeCap > 0 && sum+longest > timeCap {
		return metadataset.EndTimeCapped
	}
	return metadataset.EndUnknown
}

// endsNotFinite reports whether the last value is NaN or infinite.
func endsNotFinite(values []float32) bool {
	if len(values) == 0 {
		return false
	}
	last := float64(values[len(values)-1])
	return math.IsNaN(last) || math.IsInf(last, 0)
}
