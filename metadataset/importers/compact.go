package importers

import (
	"fmt"
	"math"

	"quicktune/metadataset"
)

// compact imports perf.json, cost.json, table.csv and descriptors.json.
func (im *importer) compact() (metadataset.Input, error) {
	fail := func(err error) (metadataset.Input, error) { return metadataset.Input{}, err }
	perfPath, costPath := im.inDir(perfFile), im.inDir(costFile)
	tablePath, descriptorsPath := im.inDir(tableFile), im.inDir(descriptorsFile)
	im.plan(perfPath, costPath, tablePath, descriptorsPath)

	perf, err := im.readSeries(perfPath)
	if err != nil {
		return fail(err)
	}
	cost, err := im.readSeries(costPath)
	if err != nil {
		return fail(err)
	}
	if err := perf.sameShape(cost, "accuracies", "costs"); err != nil {
		return fail(err)
	}
	if err := perf.shortNames(); err != nil {
		return fail(err)
	}
	if len(perf.datasets) == 0 {
		return fail(fmt.Errorf("%s: no data set", perf.file))
	}
	table, err := im.readTable(tablePath, func(heading string) string { return heading }, "")
	if err != nil {
		return fail(err)
	}
	descriptors, err := im.readDescriptors(descriptorsPath)
	if err != nil {
		return fail(err)
	}

	in := im.quickTuneInput("the compact Quick-Tune layout")
	used := map[string]string{} // curve to data set
	for _, d := range perf.datasets {
		desc, ok := descriptors[d]
		if !ok {
			return fail(fmt.Errorf("%s: no dataset %q, which %s has", im.tree.label(descriptorsPath), d, perfFile))
		}
		desc.Name = shortName(d)
		in.Datasets = append(in.Datasets, desc)
		p, c := perf.runs[d], cost.runs[d]
		for i, id := range p.ids {
			where := place(perf.file, d, id)
			if other, twice := used[id]; twice {
				return fail(fmt.Errorf("%s: the id occurs in dataset %q too", where, other))
			}
			used[id] = d
			config := table.byRun[id]
			if config == nil {
				return fail(fmt.Errorf("%s: no row for curve %s of dataset %q", table.file, clip(id), d))
			}
			if len(p.at(i)) == 0 {
				return fail(fmt.Errorf("%s: no epochs", where))
			}
			accuracy, err := percentToFraction(where, p.at(i))
			if err != nil {
				return fail(err)
			}
			seconds, err := checkSeconds(place(cost.file, d, id), c.at(c.index[id]))
			if err != nil {
				return fail(err)
			}
			in.Curves = append(in.Curves, metadataset.InputCurve{
				ID: id, Dataset: desc.Name, Config: config,
				Values: map[metadataset.Column][]float32{
					metadataset.ValAccuracy: accuracy,
					metadataset.Seconds:     seconds,
				},
			})
		}
	}
	if n := len(table.byRun) - len(used); n > 0 {
		im.report.warnf(table.file, "%d configurations have no curve and are left out", n)
	}
	if n := len(descriptors) - len(perf.datasets); n > 0 {
		im.report.warnf(im.tree.label(descriptorsPath), "%d data sets have no curve and are left out", n)
	}
	if err := im.findVersion(perf, in.Datasets); err != nil {
		return fail(err)
	}
	im.finishQuickTune(&in, nil)
	return in, nil
}

// readDescriptors parses {dataset: [training images, classes, pixels, channels]}.
func (im *importer) readDescriptors(file string) (map[string]metadataset.Dataset, error) {
	s, err := im.scan(file)
	if err != nil {
		return nil, err
	}
	out := map[string]metadataset.Dataset{}
	err = s.object("an object of data sets", func(dataset string) error {
		if dataset == infoKey {
			return s.skip()
		}
		numbers, err := s.floats("an array of four numbers", nil)
		if err != nil {
			return err
		}
		d, err := describe(numbers)
		if err != nil {
			return fmt.Errorf("%s: dataset %q: %w", s.file, dataset, err)
		}
		out[dataset] = d
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, s.end()
}

// describe reads the four descriptors of a data set.
func describe(numbers []float64) (metadataset.Dataset, error) {
	if len(numbers) != 4 {
		return metadataset.Dataset{}, fmt.Errorf("%d descriptors instead of 4: training images, classes, pixels, channels", len(numbers))
	}
	for i, x := range numbers {
		if x != math.Trunc(x) || x < 1 || x > math.MaxInt32 {
			return metadataset.Dataset{}, fmt.Errorf("descriptor %d is %g, not a count", i+1, x)
		}
	}
	return metadataset.Dataset{
		TrainSamples: int(numbers[0]), Classes: int(numbers[1]), Pixels: int(numbers[2]), Channels: int(numbers[3]),
	}, nil
}
