package importers

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"quicktune/metadataset"
)

// taskSplits are the losses of a TaskSet entry and the columns they become.
var taskSplits = []struct {
	key    string
	column metadataset.Column
}{
	{"train", metadataset.TrainLoss},
	{"valid", metadataset.ValLoss},
	{"test", metadataset.TestLoss},
}

// taskEntry is one configuration of a task.
type taskEntry struct {
	hp     map[string]cell
	losses map[string][]float64 // split to losses
}

// taskSet imports one JSON file a task.
func (im *importer) taskSet() (metadataset.Input, error) {
	fail := func(err error) (metadataset.Input, error) { return metadataset.Input{}, err }
	im.plan(im.spot.files...)
	for _, file := range im.tree.files {
		if path.Dir(file) == im.spot.dir && !slices.Contains(im.spot.files, file) {
			im.report.warnf(im.tree.label(file), "is no TaskSet file and is left out")
		}
	}
	in := metadataset.Input{
		Metric:    metadataset.Metric{Column: metadataset.ValLoss, Goal: metadataset.Minimize},
		TimeUnit:  metadataset.TimeEpochs,
		Generator: "import of TaskSet learning curves",
		Notes: []string{"the source has no times: an epoch is one recorded point of the curve and counts 1",
			"the search space is inferred from the values of the configurations"},
	}
	var columns []values // of hyperparameters, by first appearance
	position := map[string]int{}
	for _, file := range im.spot.files {
		label := im.tree.label(file)
		entries, names, err := im.readTask(file)
		if err != nil {
			return fail(err)
		}
		if len(entries) == 0 {
			return fail(fmt.Errorf("%s: no configurations", label))
		}
		task := strings.TrimSuffix(path.Base(file), path.Ext(file))
		in.Datasets = append(in.Datasets, metadataset.Dataset{Name: task})
		for _, name := range names {
			if _, ok := position[name]; !ok {
				position[name] = len(columns)
				columns = append(columns, values{name: name, cells: make([]cell, len(in.Curves))})
			}
		}
		digits := len(fmt.Sprint(len(entries) - 1))
		for i, entry := range entries {
			for name, k := range position {
				columns[k].cells = append(columns[k].cells, entry.hp[name]) // blank if it has none
			}
			c, err := entry.curve(fmt.Sprintf("%s: entry %d", label, i))
			if err != nil {
				return fail(err)
			}
			c.ID = fmt.Sprintf("%s-%0*d", task, digits, i)
			c.Dataset = task
			in.MaxEpochs = max(in.MaxEpochs, len(entry.losses["valid"]))
			in.Curves = append(in.Curves, c)
		}
	}
	if len(columns) == 0 {
		return fail(fmt.Errorf("%s: no hyperparameters", im.tree.label(im.spot.dir)))
	}
	s, configs, dropped, err := inferSpace(columns)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", im.tree.label(im.spot.dir), err))
	}
	if len(dropped) > 0 {
		im.report.warnf("", "hyperparameters without any value are left out: %s", join(dropped))
	}
	in.Space = s
	setModels(&in)
	diverged := 0
	for i := range in.Curves {
		c := &in.Curves[i]
		c.Config = configs[i]
		if c.End == "" {
			c.End = endOf(make([]float32, len(c.Values[metadataset.ValLoss])), in.MaxEpochs, 0)
		}
		if c.End == metadataset.EndDiverged {
			diverged++
		}
	}
	if diverged > 0 {
		in.Notes = append(in.Notes, fmt.Sprintf("%d curves diverged: their validation loss is not finite from some epoch on, the last that is kept", diverged))
	}
	return in, nil
}

// readTask parses a file and returns its entries and the names of their
// hyperparameters, by first appearance.
func (im *importer) readTask(file string) (entries []taskEntry, names []string, err error) {
	s, err := im.scan(file)
	if err != nil {
		return nil, nil, err
	}
	known := map[string]bool{}
	err = s.array("an array of configurations", func(i int) error {
		entry := taskEntry{losses: map[string][]float64{}}
		err := s.object("an object", func(key string) error {
			if key == "hp" {
				entry.hp = map[string]cell{}
				return s.object("an object of hyperparameters", func(name string) error {
					if !known[name] {
						known[name] = true
						names = append(names, name)
					}
					c, err := s.hyperparameter()
					entry.hp[name] = c
					return err
				})
			}
			for _, split := range taskSplits {
				if key == split.key {
					losses, err := s.losses()
					entry.losses[key] = losses
					return err
				}
			}
			return s.skip()
		})
		if err != nil {
			return err
		}
		if entry.hp == nil {
			return s.errorf("entry %d: no hp", i)
		}
		if entry.losses["valid"] == nil {
			return s.errorf("entry %d: no valid loss", i)
		}
		entries = append(entries, entry)
		return nil
	})
	if err == nil {
		err = s.end()
	}
	return entries, names, err
}

// hyperparameter reads a value of hp.
func (s *scanner) hyperparameter() (cell, error) {
	c, _ := s.peek()
	start := s.pos
	switch {
	case s.literal("null"):
		return cell{kind: cellNone}, nil
	case s.literal("true"):
		return cell{kind: cellBool, num: 1, text: "true"}, nil
	case s.literal("false"):
		return cell{kind: cellBool, text: "false"}, nil
	case c == '"':
		text, err := s.text()
		if text == "None" {
			return cell{kind: cellNone}, err
		}
		return cell{kind: cellText, text: text}, err
	}
	x, err := s.number()
	if err == nil && (math.IsNaN(x) || math.IsInf(x, 0)) {
		s.pos = start
		return cell{}, s.errorf("a hyperparameter is %g", x)
	}
	return cell{kind: cellNumber, num: x, text: string(s.data[start:s.pos])}, err
}

// losses reads {"loss": [...]}; other keys are skipped.
func (s *scanner) losses() (out []float64, err error) {
	err = s.object("an object with the key loss", func(key string) error {
		if key != "loss" {
			return s.skip()
		}
		out, err = s.floats("an array of losses", []float64{})
		return err
	})
	if err == nil && out == nil {
		err = s.errorf("no key loss")
	}
	return out, err
}

// curve converts the losses. A validation loss that is not finite to the end
// is cut after the first such epoch; the curve has diverged. End stays empty
// if it did not.
func (t *taskEntry) curve(where string) (metadataset.InputCurve, error) {
	valid := t.losses["valid"]
	n := len(valid)
	c := metadataset.InputCurve{Values: map[metadataset.Column][]float32{}}
	if n == 0 {
		return c, fmt.Errorf("%s: no valid losses", where)
	}
	for _, split := range taskSplits {
		if losses := t.losses[split.key]; losses != nil && len(losses) != n {
			return c, fmt.Errorf("%s: %d valid losses but %d %s losses", where, n, len(losses), split.key)
		}
	}
	first, last := -1, -1 // the first epoch without a finite loss, the last with one
	for e, x := range valid {
		if !math.IsNaN(float64(finite(x))) {
			last = e
		} else if first < 0 {
			first = e
		}
	}
	keep := n
	if first >= 0 {
		c.End = metadataset.EndDiverged
		c.Reason = fmt.Sprintf("validation loss not finite in epoch %d", first+1)
		keep = min(n, last+2)
	}
	for _, split := range taskSplits {
		losses := t.losses[split.key]
		if losses == nil {
			continue
		}
		values := make([]float32, keep)
		for e := range values {
			values[e] = finite(losses[e])
		}
		c.Values[split.column] = values
	}
	return c, nil
}
