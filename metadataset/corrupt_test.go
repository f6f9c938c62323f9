package metadataset

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// A rawTable is a Parquet file taken apart by the Parquet library's own reader,
// to be put together again with something changed.
type rawTable struct {
	t       testing.TB
	columns []rawColumn
}

type rawColumn struct {
	name     string
	node     parquet.Node
	nullable bool
	values   []parquet.Value
}

func readRaw(t testing.TB, data []byte) *rawTable {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	raw := &rawTable{t: t}
	for _, field := range f.Schema().Fields() {
		node := parquet.Required(parquet.Leaf(field.Type()))
		raw.columns = append(raw.columns, rawColumn{field.Name(), parquet.Encoded(node, &parquet.Plain), field.Optional(), nil})
	}
	for _, g := range f.RowGroups() {
		rows := g.Rows()
		batch := make([]parquet.Row, 100)
		for {
			n, err := rows.ReadRows(batch)
			for _, row := range batch[:n] {
				for i, v := range row {
					raw.columns[i].values = append(raw.columns[i].values, v.Clone())
				}
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return raw
}

func (r *rawTable) column(name string) *rawColumn {
	r.t.Helper()
	for i := range r.columns {
		if r.columns[i].name == name {
			return &r.columns[i]
		}
	}
	r.t.Fatalf("no column %q", name)
	return nil
}

func (r *rawTable) set(name string, row int, v parquet.Value) { r.column(name).values[row] = v }

func (r *rawTable) rename(from, to string) { r.column(from).name = to }

func (r *rawTable) deleteRow(row int) {
	for i := range r.columns {
		r.columns[i].values = slices.Delete(r.columns[i].values, row, row+1)
	}
}

func (r *rawTable) repeatRow(row int) {
	for i := range r.columns {
		r.columns[i].values = slices.Insert(r.columns[i].values, row, r.columns[i].values[row])
	}
}

func (r *rawTable) swapRows(a, b int) {
	for i := range r.columns {
		v := r.columns[i].values
		v[a], v[b] = v[b], v[a]
	}
}

func (r *rawTable) write(w io.Writer, options ...parquet.WriterOption) {
	r.t.Helper()
	var columns []tableColumn
	for _, c := range r.columns {
		columns = append(columns, tableColumn{c.name, c.node, c.nullable, func(dst []parquet.Value, row int) { copy(dst, c.values[row:]) }})
	}
	if err := writeTable(w, len(r.columns[0].values), columns, options...); err != nil {
		r.t.Fatal(err)
	}
}

// editManifest changes manifest.json and makes its hash right again.
func editManifest(t testing.TB, dir string, edit func(*Manifest)) {
	t.Helper()
	path := filepath.Join(dir, manifestFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	edit(&m)
	m.Hash = m.CanonicalHash()
	if data, err = json.MarshalIndent(m, "", "  "); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// editPart changes the content of a part and makes the manifest agree with it,
// as a faulty writer would.
func editPart(path string, edit func(*rawTable)) func(testing.TB, string) {
	return func(t testing.TB, dir string) {
		t.Helper()
		file := filepath.Join(dir, filepath.FromSlash(path))
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		raw := readRaw(t, data)
		before := len(raw.columns[0].values)
		edit(raw)
		var out bytes.Buffer
		raw.write(&out)
		if err := os.WriteFile(file, out.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		editManifest(t, dir, func(m *Manifest) {
			rows := len(raw.columns[0].values)
			relist(m, path, out.Bytes(), rows)
			if curvePart.MatchString(path) {
				m.Counts.Epochs += rows - before
			}
		})
	}
}

func relist(m *Manifest, path string, data []byte, rows int) {
	for i := range m.Parts {
		if m.Parts[i].Path == path {
			sum := sha256.Sum256(data)
			m.Parts[i] = Part{path, hex.EncodeToString(sum[:]), int64(len(data)), rows}
		}
	}
}

// editBytes changes a file and nothing else.
func editBytes(path string, edit func([]byte) []byte) func(testing.TB, string) {
	return func(t testing.TB, dir string) {
		t.Helper()
		file := filepath.Join(dir, filepath.FromSlash(path))
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, edit(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// editListedBytes changes a file and lists its new hash.
func editListedBytes(path string, edit func([]byte) []byte) func(testing.TB, string) {
	return func(t testing.TB, dir string) {
		t.Helper()
		var out []byte
		editBytes(path, func(b []byte) []byte { out = edit(b); return out })(t, dir)
		editManifest(t, dir, func(m *Manifest) {
			p, _ := m.part(path)
			relist(m, path, out, p.Rows)
		})
	}
}

func remove(path string) func(testing.TB, string) {
	return func(t testing.TB, dir string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, filepath.FromSlash(path))); err != nil {
			t.Fatal(err)
		}
	}
}

const partZero = "curves/part-00000.parquet"

func TestVerifyNamesFileRowAndReason(t *testing.T) {
	for _, c := range []struct {
		name    string
		corrupt func(testing.TB, string)
		want    []string // beginnings or parts of the first problems, in order
	}{
		// The manifest.
		{"no manifest", remove(manifestFile), []string{"manifest.json: there is no meta-dataset here"}},
		{"empty manifest", editBytes(manifestFile, func([]byte) []byte { return nil }), []string{"manifest.json: not JSON"}},
		{"truncated manifest", editBytes(manifestFile, func(b []byte) []byte { return b[:len(b)/2] }), []string{"manifest.json: not JSON"}},
		{"another format", editBytes(manifestFile, func([]byte) []byte { return []byte(`{"name":"npm"}`) }), []string{`manifest.json: format is "", want "quicktune meta-dataset"`}},
		{"unknown version", func(t testing.TB, dir string) {
			editManifest(t, dir, func(m *Manifest) { m.FormatVersion = 2 })
		}, []string{"manifest.json: format version is 2; this program reads version 1"}},
		{"changed metric", editBytes(manifestFile, func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"max_epochs": 4`), []byte(`"max_epochs": 5`), 1)
		}), []string{"manifest.json: hash is"}},
		{"unknown field", editBytes(manifestFile, func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"generator"`), []byte(`"genarator"`), 1)
		}), []string{`manifest.json: json: unknown field "genarator"`}},
		{"something after the manifest", editBytes(manifestFile, func(b []byte) []byte { return append(b, "{}"...) }), []string{"manifest.json: not JSON"}},
		{"metric that is none", func(t testing.TB, dir string) {
			editManifest(t, dir, func(m *Manifest) { m.Metric.Goal = Minimize })
		}, []string{"manifest.json: metric is minimize val_accuracy: use maximize val_accuracy or minimize val_loss"}},
		{"part outside the directory", func(t testing.TB, dir string) {
			editManifest(t, dir, func(m *Manifest) { m.Parts[4].Path = "curves/../../part-00000.parquet" })
		}, []string{`manifest.json: part "curves/../../part-00000.parquet" is not a file of this format`}},
		{"part listed twice", func(t testing.TB, dir string) {
			editManifest(t, dir, func(m *Manifest) { m.Parts = append(m.Parts, m.Parts[4]) })
		}, []string{`manifest.json: part "curves/part-00000.parquet" is listed twice`}},
		{"part not listed", func(t testing.TB, dir string) {
			editManifest(t, dir, func(m *Manifest) { m.Parts = m.Parts[1:] })
		}, []string{`manifest.json: part "datasets.parquet" is not listed`}},
		{"absurd row count", func(t testing.TB, dir string) {
			editManifest(t, dir, func(m *Manifest) { m.Parts[4].Rows = 1 << 40; m.Counts.Epochs = 1 << 30 })
		}, []string{`manifest.json: part "curves/part-00000.parquet" claims 1099511627776 rows`}},
		{"another space", func(t testing.TB, dir string) {
			editManifest(t, dir, func(m *Manifest) {
				m.Space = bytes.Replace(m.Space, []byte("dla"), []byte("dlb"), 1)
			})
		}, []string{"manifest.json: space_hash is"}},

		// Files as a whole.
		{"missing part", remove(partZero), []string{partZero + ": the file is missing"}},
		{"missing table", remove(endsFile), []string{"ends.parquet: the file is missing"}},
		{"unlisted part", func(t testing.TB, dir string) {
			if err := os.WriteFile(filepath.Join(dir, curvesDir, "part-00001.parquet"), nil, 0o666); err != nil {
				t.Fatal(err)
			}
		}, []string{"curves/part-00001.parquet: the manifest does not list this file"}},
		{"directory in place of a part", func(t testing.TB, dir string) {
			remove(partZero)(t, dir)
			if err := os.Mkdir(filepath.Join(dir, filepath.FromSlash(partZero)), 0o777); err != nil {
				t.Fatal(err)
			}
		}, []string{partZero + ": not a regular file"}},
		{"truncated file", editBytes(configsFile, func(b []byte) []byte { return b[:len(b)-1] }), []string{"configs.parquet: "}},
		{"longer file", editBytes(configsFile, func(b []byte) []byte { return append(b, 0) }), []string{"the file was changed"}},
		{"empty file", editBytes(partZero, func([]byte) []byte { return nil }), []string{partZero + ": 0 bytes, the manifest says"}},
		{"flipped byte", editBytes(partZero, func(b []byte) []byte { b[60] ^= 1; return b }), []string{partZero + ": SHA-256 is"}},
		{"truncated file with its hash", editListedBytes(partZero, func(b []byte) []byte { return b[:len(b)/2] }),
			[]string{partZero + ": not a Parquet file, or a truncated one"}},
		{"file of another kind", editListedBytes(modelsFile, func([]byte) []byte { return []byte("model,params\n") }),
			[]string{"models.parquet: not a Parquet file"}},
		{"footer that claims too much", editListedBytes(modelsFile, func(b []byte) []byte { copy(b[len(b)-8:], "\xff\xff\xff\x7f"); return b }),
			[]string{"models.parquet: the footer claims 2147483647 bytes"}},
		{"rows the manifest does not count", func(t testing.TB, dir string) {
			editPart(partZero, func(r *rawTable) { r.repeatRow(0) })(t, dir)
			editManifest(t, dir, func(m *Manifest) { m.Parts[4].Rows--; m.Counts.Epochs-- })
		}, []string{partZero + ": 30 rows, the manifest says 29"}},

		// Columns.
		{"missing column", editPart(endsFile, func(r *rawTable) { r.rename("epochs", "steps") }),
			[]string{`ends.parquet: column "epochs" is missing`, `ends.parquet: column "steps" is not part of the format`}},
		{"missing metric", editPart(partZero, func(r *rawTable) { r.rename("val_accuracy", "test_accuracy") }),
			[]string{partZero + `: column "val_accuracy" is missing`}},
		{"missing seconds", editPart(partZero, func(r *rawTable) { r.rename("seconds", "val_loss") }),
			[]string{partZero + `: column "seconds" is missing`}},
		{"unknown column", editPart(partZero, func(r *rawTable) { r.rename("train_loss", "gpu_load") }),
			[]string{partZero + `: column "gpu_load" is not part of the format`}},
		{"column of another type", editPart(endsFile, func(r *rawTable) {
			c := r.column("epochs")
			c.node = parquet.Required(parquet.Leaf(parquet.Int64Type))
			for i, v := range c.values {
				c.values[i] = parquet.Int64Value(int64(v.Int32()))
			}
		}), []string{`ends.parquet: column "epochs": its type is INT64, want INT32`}},
		{"null where none may be", editPart(configsFile, func(r *rawTable) {
			r.column("dataset").nullable = true
			r.set("dataset", 3, parquet.NullValue())
		}), []string{"configs.parquet, row 3: dataset is null"}},
		{"null epoch", editPart(partZero, func(r *rawTable) {
			r.column("epoch").nullable = true
			r.set("epoch", 3, parquet.NullValue())
		}), []string{partZero + `: column "epoch": row group 0: row 3 is null`}},

		// Data sets and models.
		{"data set twice", editPart(datasetsFile, func(r *rawTable) { r.set("dataset", 1, parquet.ByteArrayValue([]byte("birds"))) }),
			[]string{`datasets.parquet, row 1: data set "birds" after "birds"`}},
		{"data sets out of order", editPart(datasetsFile, func(r *rawTable) { r.swapRows(0, 2) }),
			[]string{`datasets.parquet, row 1: data set "empty" after "flowers"`}},
		{"descriptor of zero", editPart(datasetsFile, func(r *rawTable) { r.set("classes", 2, parquet.Int64Value(0)) }),
			[]string{"datasets.parquet, row 2: classes is 0: use a number from 1, null where it is unknown"}},
		{"infinite meta-feature", editPart(datasetsFile, func(r *rawTable) { r.set("mf_entropy", 2, parquet.DoubleValue(math.Inf(1))) }),
			[]string{`datasets.parquet, row 2: data set "flowers": meta-feature "entropy" is infinite`}},
		{"NaN in place of null", editPart(modelsFile, func(r *rawTable) { r.set("gmacs", 1, parquet.DoubleValue(math.NaN())) }),
			[]string{"models.parquet, row 1: gmacs is NaN: unknown is null"}},
		{"model twice", editPart(modelsFile, func(r *rawTable) { r.set("model", 3, parquet.ByteArrayValue([]byte("dla"))) }),
			[]string{`models.parquet, row 3: model "dla" is in row 2 already`}},
		{"negative parameters", editPart(modelsFile, func(r *rawTable) { r.set("params_millions", 0, parquet.DoubleValue(-1)) }),
			[]string{`models.parquet, row 0: model "resnet": params_millions is -1`}},
		{"percentage", editPart(modelsFile, func(r *rawTable) { r.set("source_accuracy", 0, parquet.DoubleValue(76)) }),
			[]string{`models.parquet, row 0: model "resnet": source_accuracy is 76`}},

		// Configurations.
		{"wrong row number", editPart(configsFile, func(r *rawTable) { r.set("config", 2, parquet.Int32Value(7)) }),
			[]string{"configs.parquet, row 2: config is 7, want the number of the row"}},
		{"id twice", editPart(configsFile, func(r *rawTable) { r.set("id", 9, r.column("id").values[1]) }),
			[]string{`configs.parquet, row 9: id "run-89" is in row 1 already`}},
		{"id that is no UTF-8", editPart(configsFile, func(r *rawTable) { r.set("id", 9, parquet.ByteArrayValue([]byte{0xff})) }),
			[]string{`configs.parquet: column "id": value 9: "\xff" is not UTF-8`}},
		{"unknown data set", editPart(configsFile, func(r *rawTable) { r.set("dataset", 0, parquet.ByteArrayValue([]byte("cars"))) }),
			[]string{`configs.parquet, row 0: data set "cars" is not in datasets.parquet`}},
		{"configurations out of order", editPart(configsFile, func(r *rawTable) {
			id := r.column("id").values
			id[1], id[2] = id[2], id[1]
		}), []string{`configs.parquet, row 2: data set "birds", id "run-89": the rows are sorted by data set and id`}},
		{"unknown model", editPart(modelsFile, func(r *rawTable) { r.set("model", 2, parquet.ByteArrayValue([]byte("dlc"))) }),
			[]string{`configs.parquet, row 0: model "dla" is not in models.parquet`}},
		{"model outside the space", editPart(configsFile, func(r *rawTable) { r.set("model", 0, parquet.ByteArrayValue([]byte("unused"))) }),
			[]string{`configs.parquet, row 0: configuration "run-87": hyperparameter "model" is "unused": use`}},
		{"value outside the space", editPart(configsFile, func(r *rawTable) { r.set("hp_lr", 5, parquet.DoubleValue(3)) }),
			[]string{`configs.parquet, row 5: configuration "run-97": hyperparameter "lr" is 3: use`}},
		{"NaN hyperparameter", editPart(configsFile, func(r *rawTable) { r.set("hp_lr", 5, parquet.DoubleValue(math.NaN())) }),
			[]string{`configs.parquet, row 5: configuration "run-97": hyperparameter "lr" is NaN: use`}},
		{"choice outside the space", editPart(configsFile, func(r *rawTable) { r.set("hp_batch_size", 5, parquet.Int64Value(3)) }),
			[]string{`configs.parquet, row 5: configuration "run-97": hyperparameter "batch_size" is 3: use`}},
		{"text outside the space", editPart(configsFile, func(r *rawTable) { r.set("hp_augment", 5, parquet.ByteArrayValue([]byte("4"))) }),
			[]string{`configs.parquet, row 5: configuration "run-97": hyperparameter "augment" is "4": use`}},
		{"active parameter without value", editPart(configsFile, func(r *rawTable) { r.set("hp_amp", 5, parquet.NullValue()) }),
			[]string{`configs.parquet, row 5: configuration "run-97": hyperparameter "amp" is not set`}},
		{"inactive parameter with a value", editPart(configsFile, func(r *rawTable) { r.set("hp_momentum", 0, parquet.DoubleValue(0.9)) }),
			[]string{`configs.parquet, row 0: configuration "run-87": hyperparameter "momentum" is 0.9 but does not apply`}},
		{"hyperparameter the space does not have", editPart(configsFile, func(r *rawTable) { r.rename("hp_lr", "hp_rate") }),
			[]string{`configs.parquet: column "hp_lr" is missing`, `configs.parquet: column "hp_rate" is not part of the format`}},

		// Ends.
		{"unknown end", editPart(endsFile, func(r *rawTable) { r.set("end", 4, parquet.ByteArrayValue([]byte("bored"))) }),
			[]string{`ends.parquet, row 4: end is "bored": use one of`}},
		{"completed early", editPart(endsFile, func(r *rawTable) { r.set("end", 0, parquet.ByteArrayValue([]byte("completed"))) }),
			[]string{"ends.parquet, row 0: the end is completed after 2 epochs of 4"}},
		{"more epochs than planned", func(t testing.TB, dir string) {
			editManifest(t, dir, func(m *Manifest) { m.MaxEpochs = 3 })
		}, []string{"ends.parquet, row 1: 4 epochs, planned were 3"}},
		{"ends that do not match", editPart(endsFile, func(r *rawTable) { r.set("epochs", 0, parquet.Int32Value(1)) }),
			[]string{"ends.parquet, row 0: epochs is 1, but the curve parts hold 2 rows of this configuration"}},
		{"negative epochs", editPart(endsFile, func(r *rawTable) { r.set("epochs", 0, parquet.Int32Value(-1)) }),
			[]string{"ends.parquet, row 0: -1 epochs, planned were 4"}},

		// Curves.
		{"accuracy in percent", editPart(partZero, func(r *rawTable) { r.set("val_accuracy", 7, parquet.FloatValue(101)) }),
			[]string{partZero + ", row 7: val_accuracy is 101: an accuracy lies in [0, 1]"}},
		{"negative accuracy", editPart(partZero, func(r *rawTable) { r.set("val_accuracy", 7, parquet.FloatValue(-0.25)) }),
			[]string{partZero + ", row 7: val_accuracy is -0.25"}},
		{"zero seconds", editPart(partZero, func(r *rawTable) { r.set("seconds", 3, parquet.FloatValue(0)) }),
			[]string{partZero + ", row 3: seconds is 0: an epoch takes more than 0"}},
		{"negative seconds", editPart(partZero, func(r *rawTable) { r.set("seconds", 3, parquet.FloatValue(-2)) }),
			[]string{partZero + ", row 3: seconds is -2"}},
		{"infinite seconds", editPart(partZero, func(r *rawTable) { r.set("seconds", 3, parquet.FloatValue(float32(math.Inf(1)))) }),
			[]string{partZero + ", row 3: seconds is infinite"}},
		{"unknown seconds", editPart(partZero, func(r *rawTable) { r.set("seconds", 3, parquet.NullValue()) }),
			[]string{partZero + ", row 3: seconds is unknown"}},
		{"evaluation longer than the epoch", editPart(partZero, func(r *rawTable) { r.set("eval_seconds", 3, parquet.FloatValue(50)) }),
			[]string{partZero + ", row 3: eval_seconds is 50, more than the"}},
		{"infinite loss", editPart(partZero, func(r *rawTable) { r.set("train_loss", 2, parquet.FloatValue(float32(math.Inf(-1)))) }),
			[]string{partZero + ", row 2: train_loss is infinite"}},
		{"stored NaN", editPart(partZero, func(r *rawTable) { r.set("train_loss", 2, parquet.FloatValue(nan32)) }),
			[]string{partZero + ", row 2: train_loss is NaN: unknown is null"}},
		{"unknown metric of a curve that did not diverge", editPart(partZero, func(r *rawTable) { r.set("val_accuracy", 0, parquet.NullValue()) }),
			[]string{partZero + ", row 0: val_accuracy is unknown: the metric may be so only in a curve that ends diverged, and this one ends unknown"}},
		{"duplicate epoch", editPart(partZero, func(r *rawTable) { r.repeatRow(4) }),
			[]string{partZero + ", row 5: epoch 3 of configuration 1 after epoch 3: an epoch twice", "ends.parquet, row 1: epochs is 4, but the curve parts hold 5"}},
		{"missing epoch", editPart(partZero, func(r *rawTable) { r.deleteRow(4) }),
			[]string{partZero + ", row 4: epoch 4 of configuration 1 after epoch 2: epochs are missing", "ends.parquet, row 1: epochs is 4, but the curve parts hold 3"}},
		{"missing first epoch", editPart(partZero, func(r *rawTable) { r.deleteRow(2) }),
			[]string{partZero + ", row 2: configuration 1 begins with epoch 2: epoch 1 is missing"}},
		{"missing last epoch", editPart(partZero, func(r *rawTable) { r.deleteRow(5) }),
			[]string{"ends.parquet, row 1: epochs is 4, but the curve parts hold 3 rows"}},
		{"epochs out of order", editPart(partZero, func(r *rawTable) { r.swapRows(3, 4) }),
			[]string{partZero + ", row 3: epoch 3 of configuration 1 after epoch 1: epochs are missing", partZero + ", row 4: epoch 2 of configuration 1 after epoch 3"}},
		{"configurations of curves out of order", editPart(partZero, func(r *rawTable) { r.swapRows(0, 28) }),
			[]string{partZero + ", row 0: configuration 13 begins with epoch 3: epoch 1 is missing", partZero + ", row 1: configuration 0 after 13"}},
		{"curve of an unknown configuration", editPart(partZero, func(r *rawTable) { r.set("config", 28, parquet.Int32Value(14)) }),
			[]string{partZero + ", row 28: configuration 14, but there are only 14"}},
		{"curve of a negative configuration", editPart(partZero, func(r *rawTable) { r.set("config", 0, parquet.Int32Value(-1)) }),
			[]string{partZero + ", row 0: configuration -1"}},
		{"extra rows", editPart(partZero, func(r *rawTable) {
			r.repeatRow(28)
			r.set("epoch", 29, parquet.Int32Value(4))
		}), []string{"ends.parquet, row 13: epochs is 3, but the curve parts hold 4 rows"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := writeTiny(t)
			c.corrupt(t, dir)
			found := Verify(dir)
			var lines []string
			for _, err := range found {
				var p *Problem
				if !errors.As(err, &p) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%q is not one line with a file", err)
				}
				lines = append(lines, err.Error())
			}
			all := strings.Join(lines, "\n")
			for _, want := range c.want {
				if !slices.ContainsFunc(lines, func(s string) bool { return strings.Contains(s, want) }) {
					t.Errorf("no problem %q among\n%s", want, all)
				}
			}
			_, err := Open(dir)
			if err == nil || len(found) == 0 || !errors.Is(err, found[0].(*Problem).Err) && !strings.HasSuffix(err.Error(), lines[0]) {
				t.Errorf("Open says %v, Verify %s", err, all)
			}
		})
	}
}

func TestVerifyGoesOnAfterAProblem(t *testing.T) {
	dir, _ := writeTiny(t)
	editPart(modelsFile, func(r *rawTable) { r.set("source_accuracy", 0, parquet.DoubleValue(76)) })(t, dir)
	editPart(partZero, func(r *rawTable) {
		for row := range r.column("seconds").values {
			r.set("seconds", row, parquet.FloatValue(0))
		}
		r.set("val_accuracy", 7, parquet.FloatValue(101))
	})(t, dir)
	editBytes(datasetsFile, func(b []byte) []byte { return bytes.Replace(b, []byte("quicktune"), []byte("quickTune"), 1) })(t, dir)
	found := Verify(dir)
	count := func(part string) (n int) {
		for _, err := range found {
			if strings.Contains(err.Error(), part) {
				n++
			}
		}
		return n
	}
	if count("datasets.parquet: SHA-256") != 1 || count("source_accuracy is 76") != 1 || count("row 7: val_accuracy is 101") != 1 ||
		count("seconds is 0") != maxSameProblems || count("further rows with a bad seconds") != 1 {
		t.Errorf("%d problems:\n%v", len(found), errors.Join(found...))
	}
}

func TestOpenWithoutMetaDatasetIsNotExist(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory gives %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory gives %v", err)
	}
	dir, _ := writeTiny(t)
	remove(partZero)(t, dir)
	if _, err := Open(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a store without its curves gives %v, which looks as if there were no store", err)
	}
}
