package importers

import (
	"strings"
	"testing"

	"quicktune/space/quicktunetable"
)

// tiny is a compact source of one data set with two curves, small enough to
// break by hand.
func tiny() files {
	runs := sampleRuns(1)[:2]
	f := compactFiles(runs)
	f[perfFile] = "{\"DOG\": {\"1\": [10, 20.5],\n \"2\": [30]}}"
	f[costFile] = "{\"DOG\": {\"1\": [1.5, 2],\n \"2\": [3]}}"
	f[tableFile] = strings.NewReplacer(runs[0].id, "1", runs[1].id, "2").Replace(f[tableFile])
	f[descriptorsFile] = `{"DOG": [12288, 120, 128, 3]}`
	return f
}

func TestBrokenCompactFiles(t *testing.T) {
	good := tiny()
	if _, _, err := importDir(t, good, "extended", Options{}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(good[tableFile], "\n")
	cell := func(row int, heading, value string) string {
		out := append([]string{}, lines...)
		headings := append([]string{""}, quicktunetable.Reference().Columns()...)
		var quoted []string
		for _, h := range headings {
			if strings.Contains(h, ",") {
				h = `"` + h + `"`
			}
			quoted = append(quoted, h)
		}
		cells := strings.Split(out[row], ",")
		for i, h := range quoted {
			if h == heading {
				cells[i] = value
			}
		}
		out[row] = strings.Join(cells, ",")
		return strings.Join(out, "\n")
	}
	for _, c := range []struct {
		name string
		f    files
		want string
	}{
		{"unequal lengths", good.with(costFile, `{"DOG": {"1": [1.5], "2": [3]}}`), `extended/perf.json: dataset "DOG", curve 1: 2 accuracies but 1 costs`},
		{"missing dataset in cost", good.with(costFile, `{"CAT": {"1": [1.5, 2], "2": [3]}}`), `extended/cost.json: no dataset "DOG", which perf.json has`},
		{"missing dataset in perf", good.with(costFile, `{"DOG": {"1": [1.5, 2], "2": [3]}, "CAT": {}}`), `extended/perf.json: no dataset "CAT", which cost.json has`},
		{"missing dataset in descriptors", good.with(descriptorsFile, `{"CAT": [1, 1, 1, 1]}`), `extended/descriptors.json: no dataset "DOG", which perf.json has`},
		{"missing curve in cost", good.with(costFile, `{"DOG": {"1": [1.5, 2]}}`), `extended/cost.json: dataset "DOG": no curve 2, which perf.json has`},
		{"missing curve in perf", good.with(costFile, `{"DOG": {"1": [1.5, 2], "2": [3], "3": [1]}}`), `extended/perf.json: dataset "DOG": no curve 3, which cost.json has`},
		{"missing configuration", good.with(tableFile, strings.Join(lines[:2], "\n")), `extended/table.csv: no row for curve 2 of dataset "DOG"`},
		{"accuracy 101", good.with(perfFile, `{"DOG": {"1": [10, 101], "2": [30]}}`), `extended/perf.json: dataset "DOG", curve 1, epoch 2: accuracy 101 is not between 0 and 100 percent`},
		{"accuracy -1", good.with(perfFile, `{"DOG": {"1": [-1, 1], "2": [30]}}`), `extended/perf.json: dataset "DOG", curve 1, epoch 1: accuracy -1 is not between 0 and 100 percent`},
		{"accuracy NaN", good.with(perfFile, `{"DOG": {"1": [10, NaN], "2": [30]}}`), `extended/perf.json: dataset "DOG", curve 1, epoch 2: accuracy NaN is not between 0 and 100 percent`},
		{"negative seconds", good.with(costFile, `{"DOG": {"1": [1.5, -2], "2": [3]}}`), `extended/cost.json: dataset "DOG", curve 1, epoch 2: -2 is no duration: use seconds above 0`},
		{"zero seconds", good.with(costFile, `{"DOG": {"1": [0, 2], "2": [3]}}`), `extended/cost.json: dataset "DOG", curve 1, epoch 1: 0 is no duration: use seconds above 0`},
		{"seconds NaN", good.with(costFile, `{"DOG": {"1": [NaN, 2], "2": [3]}}`), `extended/cost.json: dataset "DOG", curve 1, epoch 1: NaN is no duration: use seconds above 0`},
		{"seconds infinite", good.with(costFile, `{"DOG": {"1": [Infinity, 2], "2": [3]}}`), `extended/cost.json: dataset "DOG", curve 1, epoch 1: +Inf is no duration: use seconds above 0`},
		{"seconds too small for a float32", good.with(costFile, `{"DOG": {"1": [1e-60, 2], "2": [3]}}`), `extended/cost.json: dataset "DOG", curve 1, epoch 1: 1e-60 is no duration: use seconds above 0`},
		{"no epochs", good.with(perfFile, `{"DOG": {"1": [10, 2], "2": []}}`).with(costFile, `{"DOG": {"1": [1, 2], "2": []}}`), `extended/perf.json: dataset "DOG", curve 2: no epochs`},
		{"no data set", good.with(perfFile, `{}`).with(costFile, `{}`), `extended/perf.json: no data set`},
		{"data set without a name", good.with(perfFile, `{"": {}}`), `extended/perf.json: line 1, column 5: a data set without a name`},
		{"curve without an id", good.with(perfFile, `{"DOG": {"": []}}`), `extended/perf.json: line 1, column 13: a curve without an id`},
		{"id twice in JSON", good.with(perfFile, `{"DOG": {"1": [10, 2], "1": [30]}}`), `extended/perf.json: line 1, column 24: key "1" occurs twice`},
		{"dataset twice in JSON", good.with(perfFile, `{"DOG": {}, "DOG": {}}`), `extended/perf.json: line 1, column 13: key "DOG" occurs twice`},
		{"id in two datasets", good.with(perfFile, `{"DOG": {"1": [10, 2]}, "CAT": {"1": [1]}}`).with(costFile, `{"DOG": {"1": [10, 2]}, "CAT": {"1": [1]}}`).with(descriptorsFile, `{"DOG": [1, 1, 1, 1], "CAT": [1, 1, 1, 1]}`),
			`extended/perf.json: dataset "CAT", curve 1: the id occurs in dataset "DOG" too`},
		{"datasets of one name", good.with(perfFile, `{"set0/DOG": {}, "set1/DOG": {}}`).with(costFile, `{"set0/DOG": {}, "set1/DOG": {}}`), `extended/perf.json: datasets "set0/DOG" and "set1/DOG" are both called DOG`},
		{"id twice in the table", good.with(tableFile, good[tableFile]+lines[1]+"\n"), `extended/table.csv: row 3: id 1 occurs twice`},
		{"truncated perf", good.with(perfFile, good[perfFile][:19]), `extended/perf.json: line 1, column 20: the file ends where a number should be: truncated?`},
		{"truncated string", good.with(perfFile, `{"DO`), `extended/perf.json: line 1, column 5: the file ends inside a string: truncated?`},
		{"truncated table", good.with(tableFile, good[tableFile][:len(good[tableFile])-20]), `extended/table.csv: line 3: wrong number of fields`},
		{"text after the end", good.with(perfFile, good[perfFile]+"x"), `extended/perf.json: line 2, column 13: more text after the end of the document`},
		{"empty perf", good.with(perfFile, " "), `extended/perf.json: line 1, column 2: the file ends where an object of data sets should be: truncated?`},
		{"perf is a list", good.with(perfFile, "[1]"), `extended/perf.json: line 1, column 1: '[' where an object of data sets should be`},
		{"text for a number", good.with(perfFile, `{"DOG": {"1": ["x"]}}`), `extended/perf.json: line 1, column 16: '"' where a number should be`},
		{"null for a number", good.with(perfFile, `{"DOG": {"1": [null]}}`), `extended/perf.json: line 1, column 16: 'n' where a number should be`},
		{"number beyond float64", good.with(perfFile, `{"DOG": {"1": [1e999]}}`), `extended/perf.json: line 1, column 16: number out of range: 1e999`},
		{"number with a leading zero", good.with(perfFile, `{"DOG": {"1": [01]}}`), `extended/perf.json: line 1, column 16: not a number`},
		{"invalid UTF-8", good.with(perfFile, "{\"D\xff\": {}}"), `extended/perf.json: line 1, column 6: the string before this place is not valid UTF-8`},
		{"empty table", good.with(tableFile, "\n"), `extended/table.csv: is empty`},
		{"table is not UTF-8", good.with(tableFile, "\xff"), `extended/table.csv: is not UTF-8`},
		{"table lacks a column", good.with(tableFile, strings.Replace(good[tableFile], ",lr,", ",lr0,", 1)), `extended/table.csv: column "lr0" is not one of a Quick-Tune table`},
		{"value out of the space", good.with(tableFile, cell(1, "lr", "0.3")), `extended/table.csv: row 1, column "lr": 0.3 is not one of 1e-05, 5e-05, 0.0001, 0.0005, 0.001, 0.005, 0.01`},
		{"three descriptors", good.with(descriptorsFile, `{"DOG": [1, 1, 1]}`), `extended/descriptors.json: dataset "DOG": 3 descriptors instead of 4: training images, classes, pixels, channels`},
		{"fractional descriptor", good.with(descriptorsFile, `{"DOG": [1.5, 1, 1, 1]}`), `extended/descriptors.json: dataset "DOG": descriptor 1 is 1.5, not a count`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := importDir(t, c.f, "extended", Options{})
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

func TestBrokenReleasedFiles(t *testing.T) {
	runs := sampleRuns(1)[:1]
	runs[0].id = "7_extended_set1_DOG_v1"
	runs[0].top1, runs[0].train, runs[0].eval, runs[0].loss = runs[0].top1[:2], runs[0].train[:2], runs[0].eval[:2], runs[0].loss[:2]
	good := releasedFiles(runs)
	if _, _, err := importDir(t, good, "qt", Options{}); err != nil {
		t.Fatal(err)
	}
	const d = `"mtlbm/extended/set1/DOG"`
	const where = `dataset ` + d + `, curve 7_extended_set1_DOG_v1`
	curves := func(values string) string { return `{` + d + `: {"7_extended_set1_DOG_v1": [` + values + `]}}` }
	args := "extended/" + argsFile
	meta := "dataset-meta-features/meta-album/" + metaFeatureFile
	for _, c := range []struct {
		name string
		f    files
		opts Options
		want string
	}{
		{"no training times", good.with("extended/"+trainTimeFile, ""), Options{}, `qt/extended: no train_time.json beside eval_top1.json`},
		{"no arguments", good.with(args, ""), Options{}, `qt/extended: no args.json or unnormalized_args_table.csv or args_table.csv beside eval_top1.json`},
		{"fewer evaluation times", good.with("extended/"+evalTimeFile, curves("1")), Options{}, `qt/extended/eval_top1.json: ` + where + `: 2 accuracies but 1 evaluation times`},
		{"fewer training times", good.with("extended/"+trainTimeFile, curves("1")), Options{}, `qt/extended/eval_top1.json: ` + where + `: 2 accuracies but 1 training times`},
		{"negative evaluation time", good.with("extended/"+evalTimeFile, curves("1, -1")), Options{}, `qt/extended/eval_time.json: ` + where + `, epoch 2: -1 is no duration: use seconds above 0`},
		{"zero training time", good.with("extended/"+trainTimeFile, curves("0, 1")), Options{}, `qt/extended/train_time.json: ` + where + `, epoch 1: 0 is no duration: use seconds above 0`},
		{"accuracy 101", good.with("extended/"+evalTop1File, curves("101, 1")), Options{}, `qt/extended/eval_top1.json: ` + where + `, epoch 1: accuracy 101 is not between 0 and 100 percent`},
		{"fewer losses", good.with("extended/train_loss.json", curves("1")), Options{}, `qt/extended/train_loss.json: ` + where + `: 1 numbers but 2 accuracies`},
		{"unknown run", good.with(args, `{}`), Options{}, `qt/extended/args.json: no entry for run 7_extended_set1_DOG_v1 of dataset ` + d},
		{"missing argument", good.with(args, strings.Replace(good[args], `"lr":`, `"rate":`, 1)), Options{}, `qt/extended/args.json: line 1, column `},
		{"unknown model", good.with(args, strings.Replace(good[args], `"model":"`, `"model":"big_`, 1)), Options{}, `qt/extended/args.json: line 1, column `},
		{"value out of the space", good.with(args, strings.Replace(good[args], `"batch_size":`, `"batch_size":3`, 1)), Options{}, `qt/extended/args.json: run 7_extended_set1_DOG_v1: row 1, column "batch_size": `},
		{"standardised table", cachedTable(good, runs, argsTables[1]).with("extended/"+argsTables[1], standardised(cachedTable(good, runs, argsTables[1])["extended/"+argsTables[1]])), Options{},
			`qt/extended/args_table.csv: row 1, column "amp": 0.7071 is not one of false, true (is the table standardised? use args.json or unnormalized_args_table.csv)`},
		{"descriptors of other data sets", good.with(meta, `{"dataset_names": ["extended/set0/CAT"], "dataset_descriptors": [[1, 1, 1, 1]]}`), Options{}, `qt/` + meta + `: no dataset ` + d + `, which eval_top1.json has`},
		{"fewer descriptors", good.with(meta, `{"dataset_names": ["a"], "dataset_descriptors": []}`), Options{}, `qt/` + meta + `: 1 dataset_names but 0 dataset_descriptors`},
		{"names twice", good.with(meta, `{"dataset_names": ["a", "mtlbm/a"], "dataset_descriptors": [[1, 1, 1, 1], [1, 1, 1, 1]]}`), Options{}, `qt/` + meta + `: dataset "a" occurs twice`},
		{"hessians missing", good.with(meta, `{"dataset_names": ["a"], "dataset_descriptors": [[1, 1, 1, 1]]}`), Options{Hessians: true}, `qt/` + meta + `: 1 dataset_names but 0 hessians`},
		{"hessian NaN", good.with(meta, `{"dataset_names": ["a"], "dataset_descriptors": [[1, 1, 1, 1]], "hessians": [[NaN]]}`), Options{Hessians: true}, `qt/` + meta + `: dataset "a": a hessian is NaN`},
		{"hessians of unequal length", good.with(meta, `{"dataset_names": ["a", "b"], "dataset_descriptors": [[1, 1, 1, 1], [1, 1, 1, 1]], "hessians": [[1], [1, 2]]}`), Options{Hessians: true}, `qt/` + meta + `: dataset "b": 2 hessians, others have 1`},
		{"nested too deep", good.with(meta, `{"x": `+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`), Options{}, `qt/` + meta + `: line 1, column 72: nested deeper than 64 levels`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := importDir(t, c.f, "qt", c.opts)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

// standardised replaces the first numeric column by what a z-score looks like.
func standardised(table string) string {
	lines := strings.Split(table, "\n")
	at := -1
	inQuotes, column := false, 0
	for i := 0; i <= len(lines[0]); i++ {
		if i == len(lines[0]) || lines[0][i] == ',' && !inQuotes {
			if strings.HasSuffix(lines[0][:i], ",amp") {
				at = column
			}
			column++
		} else if lines[0][i] == '"' {
			inQuotes = !inQuotes
		}
	}
	cells := strings.Split(lines[1], ",")
	cells[at] = "0.7071"
	lines[1] = strings.Join(cells, ",")
	return strings.Join(lines, "\n")
}

func TestBrokenQTTFiles(t *testing.T) {
	good := qttOther
	for _, c := range []struct {
		name string
		f    files
		want string
	}{
		{"no costs", good.with(qttCostFile, ""), `q: no cost.csv beside curve.csv`},
		{"no configurations", good.with(configFile, ""), `q: no config.csv or pipeline.csv beside curve.csv`},
		{"missing curve", good.with(curveFile, "id,1\na,0.1\nb,0.1\nc,0.1\n"), `q/curve.csv: no row d, which q/config.csv has`},
		{"curve too many", good.with(curveFile, "id,1\na,0.1\nb,0.1\nc,0.1\nd,0.1\ne,0.1\n"), `q/config.csv: no row e, which q/curve.csv has`},
		{"missing cost", good.with(qttCostFile, "id,cost\na,1\nb,1\nc,1\n"), `q/cost.csv: no row d, which q/config.csv has`},
		{"label twice", good.with(qttCostFile, "id,cost\na,1\na,1\n"), `q/cost.csv: row 2: label a occurs twice`},
		{"no label", good.with(qttCostFile, "id,cost\n,1\n"), `q/cost.csv: row 1: no label in the first column`},
		{"column twice", good.with(configFile, "id,lr,lr\na,1,1\n"), `q/config.csv: column "lr" occurs twice`},
		{"ragged", good.with(qttCostFile, "id,cost\na,1,2\n"), `q/cost.csv: line 2: wrong number of fields`},
		{"open quote", good.with(qttCostFile, "id,cost\na,\"1\n"), `q/cost.csv: line 2: extraneous or missing " in quoted-field`},
		{"no rows", good.with(qttCostFile, "id,cost\n"), `q/cost.csv: no rows`},
		{"empty", good.with(qttCostFile, "\n"), `q/cost.csv: no column beside that of the row labels`},
		{"not UTF-8", good.with(qttCostFile, "id,cost\n\xff,1\n"), `q/cost.csv: is not UTF-8`},
		{"accuracy 101", good.with(curveFile, strings.Replace(good[curveFile], "0.75", "101", 1)), `q/curve.csv: row b, column 2: accuracy "101" is not between 0 and 100 percent`},
		{"accuracy in words", good.with(curveFile, strings.Replace(good[curveFile], "0.75", "good", 1)), `q/curve.csv: row b, column 2: accuracy "good" is not between 0 and 100 percent`},
		{"accuracy inf", good.with(curveFile, strings.Replace(good[curveFile], "0.75", "inf", 1)), `q/curve.csv: row b, column 2: accuracy "inf" is not between 0 and 100 percent`},
		{"gap", good.with(curveFile, strings.Replace(good[curveFile], "0.75", "NaN", 1)), `q/curve.csv: row b, column 3: an accuracy after a blank: a curve has no gaps`},
		{"epochs not from 0 or 1", good.with(curveFile, strings.Replace(good[curveFile], "id,0,1,2", "id,x,1,2", 1)), `q/curve.csv: the first column is "x", not epoch 1 (or 0)`},
		{"epochs not in order", good.with(curveFile, strings.Replace(good[curveFile], "id,0,1,2", "id,0,2,1", 1)), `q/curve.csv: column "2" where epoch 1 should be`},
		{"zero cost", good.with(qttCostFile, strings.Replace(good[qttCostFile], "10", "0", 1)), `q/cost.csv: row a, column cost: cost "0": use seconds above 0`},
		{"negative cost", good.with(qttCostFile, strings.Replace(good[qttCostFile], "10", "-1", 1)), `q/cost.csv: row a, column cost: cost "-1": use seconds above 0`},
		{"cost NaN", good.with(qttCostFile, strings.Replace(good[qttCostFile], "10", "NaN", 1)), `q/cost.csv: row a, column cost: cost "NaN": use seconds above 0`},
		{"costs of other epochs", good.with(qttCostFile, "id,1,2\na,1,1\nb,1,1\nc,1,1\nd,1,1\n"), `q/cost.csv: 2 columns: use one with the whole cost, or one for each of the 5 epochs of q/curve.csv`},
		{"data set blank", good.with(configFile, strings.Replace(good[configFile], "a,x", "a,", 1)), `q/config.csv: row a: no dataset`},
		{"data sets contradict", good.with(metaFile, "id,dataset\na,y\nb,x\nc,y\nd,y\n"), `q/config.csv: row a: dataset "x", but "y" in q/meta.csv`},
		{"meta-features contradict", good.with(metaFile, "id,size\na,1\nb,2\nc,1\nd,1\n"), `q/meta.csv: rows a and b differ, although both are of dataset "x"`},
		{"data set without meta-features", good.with(metaFile, ",dataset,size\n0,x,1\n"), `q/meta.csv: no dataset "y", which q/config.csv has`},
		{"data set twice in meta", good.with(metaFile, ",dataset,size\n0,x,1\n1,x,1\n"), `q/meta.csv: dataset "x" occurs twice, and the rows are not those of q/config.csv`},
		{"meta of other rows", good.with(metaFile, ",size\n0,1\n"), `q/meta.csv: no row a, which q/config.csv has`},
		{"descriptor no count", good.with(metaFile, ",dataset,num-classes\n0,x,many\n1,y,2\n"), `q/meta.csv: row 0, column "num-classes": "many" is no count`},
		{"forbidden name", good.with(configFile, strings.Replace(good[configFile], "growth", "a=b", 1)), `q/config.csv: space "inferred": hyperparameter "a=b": the name holds '=', a control character or invalid UTF-8`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := importDir(t, c.f, "q", Options{})
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

func TestBrokenTaskSetFiles(t *testing.T) {
	one := func(text string) files { return files{"a.json": text} }
	for _, c := range []struct {
		name string
		f    files
		want string
	}{
		{"empty list", one(`[]`), `tasks/a.json: no configurations`},
		{"truncated", one(`[{"hp": {"lr": 0.1}, "valid": {"loss": [1, 2`), `tasks/a.json: line 1, column 45: the file ends where a comma or ] should be: truncated?`},
		{"unequal lengths", one(`[{"hp": {"lr": 0.1}, "valid": {"loss": [1, 2]}, "test": {"loss": [1]}}]`), `tasks/a.json: entry 0: 2 valid losses but 1 test losses`},
		{"no losses", one(`[{"hp": {"lr": 0.1}, "valid": {"loss": []}}]`), `tasks/a.json: entry 0: no valid losses`},
		{"no valid", one(`[{"hp": {"lr": 0.1}, "train": {"loss": [1]}}]`), `tasks/a.json: line 1, column 45: entry 0: no valid loss`},
		{"no hp", one(`[{"valid": {"loss": [1]}}]`), `tasks/a.json: line 1, column 26: entry 0: no hp`},
		{"no loss", one(`[{"hp": {"lr": 0.1}, "valid": {"error": [1]}}]`), `tasks/a.json: line 1, column 45: no key loss`},
		{"no hyperparameters", one(`[{"hp": {}, "valid": {"loss": [1]}}]`), `tasks: no hyperparameters`},
		{"key twice", one(`[{"hp": {"lr": 0.1, "lr": 0.1}, "valid": {"loss": [1]}}]`), `tasks/a.json: line 1, column 21: key "lr" occurs twice`},
		{"hyperparameter NaN", one(`[{"hp": {"lr": NaN}, "valid": {"loss": [1]}}]`), `tasks/a.json: line 1, column 16: a hyperparameter is NaN`},
		{"hyperparameter list", one(`[{"hp": {"lr": [1]}, "valid": {"loss": [1]}}]`), `tasks/a.json: line 1, column 16: '[' where a number should be`},
		{"loss of text", one(`[{"hp": {"lr": 1}, "valid": {"loss": ["x"]}}]`), `tasks/a.json: line 1, column 39: '"' where a number should be`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := importDir(t, c.f, "tasks", Options{})
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}
