package importers

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"quicktune/metadataset"
	"quicktune/space"
	"quicktune/space/quicktunetable"
)

// invalidLoss is the argument that records a training loss that was not finite.
const invalidLoss = "invalid_loss_value"

// optionalSeries are the further curves of the released layout.
var optionalSeries = []struct {
	file   string
	column metadataset.Column
}{
	{"train_loss.json", metadataset.TrainLoss},
	{"eval_loss.json", metadataset.ValLoss},
	{"lr.json", metadataset.LearningRate},
}

// released imports the layout of the authors' release.
func (im *importer) released() (metadataset.Input, error) {
	fail := func(err error) (metadataset.Input, error) { return metadataset.Input{}, err }
	required := []string{im.inDir(evalTop1File), im.inDir(evalTimeFile), im.inDir(trainTimeFile)}
	im.plan(required...)
	argsPath := im.argsPath()
	im.plan(argsPath)
	var optional []string
	for _, o := range optionalSeries {
		if file := im.inDir(o.file); im.tree.has(file) {
			optional = append(optional, file)
			im.plan(file)
		}
	}
	metaPath := im.metaFeaturesPath()
	if metaPath != "" {
		im.plan(metaPath)
	}

	var all [3]*series
	for i, file := range required {
		var err error
		if all[i], err = im.readSeries(file); err != nil {
			return fail(err)
		}
	}
	top1, evalTime, trainTime := all[0], all[1], all[2]
	if err := top1.sameShape(evalTime, "accuracies", "evaluation times"); err != nil {
		return fail(err)
	}
	if err := top1.sameShape(trainTime, "accuracies", "training times"); err != nil {
		return fail(err)
	}
	if err := top1.shortNames(); err != nil {
		return fail(err)
	}
	if len(top1.datasets) == 0 {
		return fail(fmt.Errorf("%s: no data set", top1.file))
	}
	table, err := im.readArgs(argsPath)
	if err != nil {
		return fail(err)
	}
	var described map[string]metadataset.Dataset
	in := im.quickTuneInput("the authors' Quick-Tune layout")
	if metaPath == "" {
		im.report.warnf("", "no %s: training images, classes and pixels of the data sets are unknown", metaFeatureFile)
	} else if described, in.MetaFeatures, err = im.readMetaFeatures(metaPath); err != nil {
		return fail(err)
	}
	used := map[string]string{}
	for _, d := range top1.datasets {
		desc, ok := described[strings.TrimPrefix(d, "mtlbm/")]
		if !ok && metaPath != "" {
			return fail(fmt.Errorf("%s: no dataset %q, which %s has", im.tree.label(metaPath), d, evalTop1File))
		}
		desc.Name = shortName(d)
		in.Datasets = append(in.Datasets, desc)
		acc, eval, train := top1.runs[d], evalTime.runs[d], trainTime.runs[d]
		for i, id := range acc.ids {
			where := place(top1.file, d, id)
			if other, twice := used[id]; twice {
				return fail(fmt.Errorf("%s: the run occurs in dataset %q too", where, other))
			}
			used[id] = d
			config := table.byRun[id]
			if config == nil {
				return fail(fmt.Errorf("%s: no entry for run %s of dataset %q", table.file, clip(id), d))
			}
			if acc.offsets[i] == acc.offsets[i+1] {
				return fail(fmt.Errorf("%s: no epochs", where))
			}
			accuracy, err := percentToFraction(where, acc.at(i))
			if err != nil {
				return fail(err)
			}
			evaluation, err := checkSeconds(place(evalTime.file, d, id), eval.at(eval.index[id]))
			if err != nil {
				return fail(err)
			}
			training := train.at(train.index[id])
			if _, err := checkSeconds(place(trainTime.file, d, id), training); err != nil {
				return fail(err)
			}
			seconds := make([]float32, len(training))
			for e, x := range eval.at(eval.index[id]) {
				seconds[e] = float32(x + training[e])
			}
			in.Curves = append(in.Curves, metadataset.InputCurve{
				ID: id, Dataset: desc.Name, Config: config,
				Values: map[metadataset.Column][]float32{
					metadataset.ValAccuracy: accuracy,
					metadataset.Seconds:     seconds,
					metadataset.EvalSeconds: evaluation,
				},
			})
		}
	}
	if n := len(table.byRun) - len(used); n > 0 {
		im.report.warnf(table.file, "%d configurations have no curve and are left out", n)
	}
	for _, o := range optionalSeries {
		if !slices.Contains(optional, im.inDir(o.file)) {
			continue
		}
		if err := im.addOptional(&in, top1, im.inDir(o.file), o.column); err != nil {
			return fail(err)
		}
	}
	if err := im.findVersion(top1, in.Datasets); err != nil {
		return fail(err)
	}
	im.finishQuickTune(&in, table.diverged)
	return in, nil
}

// addOptional adds a column that some runs may lack. The curves of in are in
// the order of top1.
func (im *importer) addOptional(in *metadataset.Input, top1 *series, file string, column metadataset.Column) error {
	extra, err := im.readSeries(file)
	if err != nil {
		return err
	}
	k, missing := 0, 0
	for _, d := range top1.datasets {
		r := extra.runs[d]
		for i, id := range top1.runs[d].ids {
			n := len(top1.runs[d].at(i))
			values := make([]float32, n)
			j, ok := -1, false
			if r != nil {
				j, ok = r.index[id]
			}
			if ok && len(r.at(j)) != n {
				return fmt.Errorf("%s: %d numbers but %d accuracies", place(extra.file, d, id), len(r.at(j)), n)
			}
			for e := range values {
				values[e] = float32(math.NaN())
				if ok {
					values[e] = finite(r.at(j)[e])
				}
			}
			if !ok {
				missing++
			}
			in.Curves[k].Values[column] = values
			k++
		}
	}
	if missing > 0 {
		im.report.warnf(extra.file, "%d runs are missing", missing)
	}
	return nil
}

// finite returns x, or NaN if it is no finite float32.
func finite(x float64) float32 {
	if f := float32(x); !math.IsInf(float64(f), 0) {
		return f
	}
	return float32(math.NaN())
}

// argsPath returns the file with the configurations: the arguments themselves
// if they are there, else a table that was made of them.
func (im *importer) argsPath() string {
	for _, name := range append([]string{argsFile}, argsTables...) {
		if file := im.inDir(name); im.tree.has(file) {
			return file
		}
	}
	return im.inDir(argsFile) // locate has seen one of them
}

// metaFeaturesPath returns the file of meta-features, "" without one. Files of
// that name exist for other sets of images too: Meta-Album's goes first.
func (im *importer) metaFeaturesPath() string {
	best := ""
	for _, file := range im.tree.files {
		if path.Base(file) != metaFeatureFile {
			continue
		}
		if strings.Contains(file, "meta-album") {
			return file
		}
		if best == "" {
			best = file
		}
	}
	return best
}

// readMetaFeatures parses dataset_names, dataset_descriptors and, if asked
// for, hessians. The names lack the leading mtlbm/.
func (im *importer) readMetaFeatures(file string) (map[string]metadataset.Dataset, []string, error) {
	s, err := im.scan(file)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	var descriptors, hessians [][]float64
	matrix := func(into *[][]float64) error {
		return s.array("an array of arrays", func(int) error {
			row, err := s.floats("an array of numbers", nil)
			*into = append(*into, row)
			return err
		})
	}
	err = s.object("an object", func(key string) error {
		switch {
		case key == "dataset_names":
			return s.array("an array of names", func(int) error {
				name, err := s.text()
				names = append(names, name)
				return err
			})
		case key == "dataset_descriptors":
			return matrix(&descriptors)
		case key == "hessians" && im.opts.Hessians:
			return matrix(&hessians)
		}
		return s.skip()
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, nil, err
	}
	if len(names) != len(descriptors) {
		return nil, nil, fmt.Errorf("%s: %d dataset_names but %d dataset_descriptors", s.file, len(names), len(descriptors))
	}
	if im.opts.Hessians && len(hessians) != len(names) {
		return nil, nil, fmt.Errorf("%s: %d dataset_names but %d hessians", s.file, len(names), len(hessians))
	}
	var features []string
	if im.opts.Hessians && len(hessians) > 0 {
		for i := range hessians[0] {
			features = append(features, fmt.Sprintf("hessian_%d", i))
		}
	}
	out := map[string]metadataset.Dataset{}
	for i, name := range names {
		d, err := describe(descriptors[i])
		if err != nil {
			return nil, nil, fmt.Errorf("%s: dataset %q: %w", s.file, name, err)
		}
		name = strings.TrimPrefix(name, "mtlbm/")
		if _, twice := out[name]; twice {
			return nil, nil, fmt.Errorf("%s: dataset %q occurs twice", s.file, name)
		}
		if features != nil {
			if len(hessians[i]) != len(features) {
				return nil, nil, fmt.Errorf("%s: dataset %q: %d hessians, others have %d", s.file, name, len(hessians[i]), len(features))
			}
			for _, x := range hessians[i] {
				if math.IsNaN(x) || math.IsInf(x, 0) {
					return nil, nil, fmt.Errorf("%s: dataset %q: a hessian is %g", s.file, name, x)
				}
			}
			d.MetaFeatures = hessians[i]
		}
		out[name] = d
	}
	return out, features, nil
}

// readArgs parses the configurations of all runs.
func (im *importer) readArgs(file string) (*configs, error) {
	if path.Base(file) == argsFile {
		return im.readArgsJSON(file)
	}
	return im.readTable(file, releasedHeading, fmt.Sprintf(" (is the table standardised? use %s or %s)", argsFile, argsTables[0]))
}

// releasedHeading translates a heading that scikit-learn's OneHotEncoder made,
// cat__opt_betas_[0.9, 0.999], and leaves out what is no hyperparameter.
func releasedHeading(heading string) string {
	s := space.QuickTune()
	rest, onehot := strings.CutPrefix(heading, "cat__")
	if !onehot {
		if heading == "random_augment" || heading == "trivial_augment" {
			return heading
		}
		if i := s.Index(heading); i >= 0 && s.Param(i).Type != space.Constant {
			return heading
		}
		return ""
	}
	longest := ""
	for i := range s.Len() {
		name := s.Param(i).Name
		if len(name) > len(longest) && strings.HasPrefix(rest, name+"_") {
			longest = name
		}
	}
	if longest == "" {
		return ""
	}
	return "cat:" + longest + ":" + strings.TrimPrefix(strings.TrimPrefix(rest, longest), "_")
}

// readArgsJSON parses {run: {argument: value}}. The arguments become a row of
// the table that the authors make of them, so that both are read by the same
// rules.
func (im *importer) readArgsJSON(file string) (*configs, error) {
	s, err := im.scan(file)
	if err != nil {
		return nil, err
	}
	header := append([]string{"id"}, quicktunetable.Reference().Columns()...)
	layout, err := quicktunetable.NewLayout(header)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.file, err)
	}
	blank := make([]string, len(header))
	numeric := map[string]int{} // argument to column
	onehot := map[string]map[string]int{}
	var required []string
	for at, heading := range header[1:] {
		at++
		rest, ok := strings.CutPrefix(heading, "cat:")
		if !ok {
			numeric[heading] = at
			required = append(required, heading)
			continue
		}
		blank[at] = "0"
		name, value, _ := strings.Cut(rest, ":")
		if onehot[name] == nil {
			onehot[name] = map[string]int{}
			required = append(required, name)
		}
		onehot[name][value] = at
	}
	out := &configs{file: s.file, byRun: map[string]space.Config{}, diverged: map[string]bool{}}
	row := make([]string, len(header))
	err = s.object("an object of runs", func(run string) error {
		copy(row, blank)
		row[0] = run
		given := map[string]bool{}
		err := s.object("an object of arguments", func(name string) error {
			at, isNumeric := numeric[name]
			values, isOnehot := onehot[name]
			if !isNumeric && !isOnehot && name != invalidLoss {
				return s.skip()
			}
			text, err := s.argument()
			if err != nil {
				return err
			}
			given[name] = true
			switch {
			case name == invalidLoss:
				out.diverged[run] = text == "True"
			case isNumeric && text == "None":
				row[at] = "" // how the table spells it
			case isNumeric:
				row[at] = text
			case values[text] == 0:
				return s.errorf("run %s: %s is %q, which is no value of Quick-Tune's space", clip(run), name, clip(text))
			default:
				row[values[text]] = "1"
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, name := range required {
			if !given[name] {
				return s.errorf("run %s: no argument %s", clip(run), name)
			}
		}
		c, err := layout.FromRow(len(out.byRun)+1, row)
		if err != nil {
			return fmt.Errorf("%s: run %s: %w", s.file, clip(run), err)
		}
		out.byRun[run] = c
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// argument reads a value as Python's str would write it: None, True, 0.001,
// adamw, [0.9, 0.999].
func (s *scanner) argument() (string, error) {
	c, _ := s.peek()
	switch {
	case s.literal("null"):
		return "None", nil
	case s.literal("true"):
		return "True", nil
	case s.literal("false"):
		return "False", nil
	case c == '"':
		return s.text()
	case c == '[':
		numbers, err := s.floats("an array of numbers", nil)
		words := make([]string, len(numbers))
		for i, x := range numbers {
			words[i] = strconv.FormatFloat(x, 'f', -1, 64)
			if x == math.Trunc(x) {
				words[i] += ".0"
			}
		}
		return "[" + strings.Join(words, ", ") + "]", err
	}
	start := s.pos
	_, err := s.number()
	return string(s.data[start:s.pos]), err
}
