package arrowipc

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"quicktune/internal/stream"
	"quicktune/metadataset"
	"quicktune/space"
)

// writeStore writes a meta-dataset of 60,000 epochs in which every column
// occurs and every one but two has unknown numbers.
func writeStore(t *testing.T) *metadataset.Store {
	t.Helper()
	sp := space.QuickTune()
	rng := stream.New("arrow test", 0)
	in := metadataset.Input{
		Space: sp, Metric: metadataset.Metric{Column: metadataset.ValAccuracy, Goal: metadataset.Maximize},
		MaxEpochs: 100, ModelParam: "model", TimeUnit: metadataset.TimeSeconds, Generator: "a test",
		MetaFeatures: []string{"skew"},
		Datasets:     []metadataset.Dataset{{Name: "one", Classes: 3, MetaFeatures: []float64{0.25}}, {Name: "two", TrainSamples: 7}},
		Models:       []metadataset.Model{{Name: "dla46x_c", Params: 1.07, SourceAccuracy: 0.66, Pixels: math.NaN(), GMACs: 0.54}},
	}
	for i := range 600 {
		c := metadataset.InputCurve{
			ID: fmt.Sprintf("c%d", i), Dataset: in.Datasets[i%2].Name, Config: sp.Sample(rng),
			End: metadataset.EndCompleted, Values: make(map[metadataset.Column][]float32),
		}
		if i%3 == 0 {
			c.Reason = "as planned"
		}
		for _, col := range metadataset.Columns {
			values := make([]float32, in.MaxEpochs)
			for e := range values {
				values[e] = rng.Float32()
				switch col {
				case metadataset.Seconds:
					values[e]++
				case metadataset.ValAccuracy:
				default:
					if rng.IntN(5) == 0 {
						values[e] = float32(math.NaN())
					}
				}
			}
			c.Values[col] = values
		}
		in.Curves = append(in.Curves, c)
	}
	dir := filepath.Join(t.TempDir(), "store")
	if err := metadataset.Write(dir, in); err != nil {
		t.Fatal(err)
	}
	s, err := metadataset.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A table is everything in some record batches, as text and numbers.
type table struct {
	rows    int
	columns map[string][]any // nil for null
}

func (t *table) add(batch arrow.RecordBatch) error {
	if t.columns == nil {
		t.columns = make(map[string][]any)
	}
	t.rows += int(batch.NumRows())
	for i, column := range batch.Columns() {
		name := batch.ColumnName(i)
		for row := range column.Len() {
			var v any
			if !column.IsNull(row) {
				switch c := column.(type) {
				case *array.Int32:
					v = int64(c.Value(row))
				case *array.Int64:
					v = c.Value(row)
				case *array.Float32:
					v = c.Value(row)
				case *array.Float64:
					v = c.Value(row)
				case *array.Boolean:
					v = c.Value(row)
				case *array.String:
					v = strings.Clone(c.Value(row))
				default:
					return fmt.Errorf("column %q has type %s", name, column.DataType())
				}
			}
			t.columns[name] = append(t.columns[name], v)
		}
	}
	return nil
}

// compare holds the tables against the store as metadataset reads it.
func compare(t *testing.T, s *metadataset.Store, tables map[string]*table) {
	t.Helper()
	counts := s.Manifest.Counts
	for name, rows := range map[string]int{
		"datasets": counts.Datasets, "models": counts.Models, "configs": counts.Curves, "ends": counts.Curves, "curves": counts.Epochs,
	} {
		if tables[name] == nil || tables[name].rows != rows {
			t.Fatalf("%s: %+v, want %d rows", name, tables[name], rows)
		}
	}
	curves := tables["curves"].columns
	if len(curves) != 2+len(metadataset.Columns) {
		t.Errorf("%d columns of curves", len(curves))
	}
	for _, col := range metadataset.Columns {
		i, sum, want := 0, 0.0, 0.0
		for c := range s.NumCurves() {
			for e, v := range s.Values(c, col) {
				switch got := curves[string(col)][i]; {
				case got == nil && v == v, got != nil && got != v:
					t.Fatalf("curve %d, epoch %d: %s is %v, want %v", c, e+1, col, got, v)
				case got != nil:
					sum += float64(got.(float32))
					want += float64(v)
				}
				if curves["config"][i] != int64(c) || curves["epoch"][i] != int64(e+1) {
					t.Fatalf("row %d is epoch %v of %v, want %d of %d", i, curves["epoch"][i], curves["config"][i], e+1, c)
				}
				i++
			}
		}
		if sum != want || sum == 0 {
			t.Errorf("%s sums to %v, want %v", col, sum, want)
		}
	}
	configs, ends := tables["configs"].columns, tables["ends"].columns
	for c := range s.NumCurves() {
		if configs["id"][c] != s.IDs[c] || configs["dataset"][c] != s.Datasets[s.DatasetOf[c]].Name || configs["model"][c] != s.Models[s.ModelOf[c]].Name {
			t.Fatalf("configuration %d is %v of %v with %v", c, configs["id"][c], configs["dataset"][c], configs["model"][c])
		}
		config := s.Config(c)
		for i := range s.Space.Len() {
			name := s.Space.Param(i).Name
			if name == "model" {
				continue
			}
			got, want := configs["hp_"+name][c], config[i]
			if want.IsInactive() || want == space.None {
				if got != nil {
					t.Fatalf("configuration %d: %s is %v, want null", c, name, got)
				}
			} else if fmt.Sprint(got) != want.String() {
				t.Fatalf("configuration %d: %s is %v, want %v", c, name, got, want)
			}
		}
		if ends["end"][c] != string(s.Ends[c]) || ends["epochs"][c] != int64(s.Len(c)) || ends["reason"][c] != nil != (s.Reasons[c] != "") {
			t.Fatalf("curve %d ends %v after %v (%v)", c, ends["end"][c], ends["epochs"][c], ends["reason"][c])
		}
	}
	datasets, models := tables["datasets"].columns, tables["models"].columns
	if got := datasets["mf_skew"]; !slices.Equal(got, []any{0.25, nil}) {
		t.Errorf("skew: %v", got)
	}
	if got := datasets["train_samples"]; !slices.Equal(got, []any{nil, int64(7)}) {
		t.Errorf("samples: %v", got)
	}
	for i, m := range s.Models {
		if models["model"][i] != m.Name || models["gmacs"][i] != nil && models["gmacs"][i] != m.GMACs {
			t.Errorf("model %d: %v with %v GMACs", i, models["model"][i], models["gmacs"][i])
		}
	}
}

// TestArrowReadsTheParquetFiles is the conformance of the store with a second
// implementation of Parquet.
func TestArrowReadsTheParquetFiles(t *testing.T) {
	s := writeStore(t)
	tables := make(map[string]*table)
	for _, p := range s.Manifest.Parts {
		name := strings.TrimSuffix(p.Path, ".parquet")
		if strings.HasPrefix(name, "curves/") {
			name = "curves"
		}
		if tables[name] == nil {
			tables[name] = new(table)
		}
		if err := readBatches(filepath.Join(s.Dir, p.Path), func(*arrow.Schema) error { return nil }, tables[name].add); err != nil {
			t.Fatal(err)
		}
	}
	compare(t, s, tables)
}

func TestExportHoldsTheWholeStore(t *testing.T) {
	s := writeStore(t)
	dir := filepath.Join(t.TempDir(), "a", "arrow")
	if err := Export(s, dir); err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(s.Dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	tables := make(map[string]*table)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 5 {
		t.Fatalf("exported %q (%v)", files, err)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ipc.NewFileReader(f)
		if err != nil {
			t.Fatal(err)
		}
		metadata := r.Schema().Metadata()
		if v, _ := metadata.GetValue("quicktune.manifest"); v != string(manifest) {
			t.Errorf("%s: manifest %q", path, v)
		}
		all := new(table)
		for i := range r.NumRecords() {
			batch, err := r.RecordBatch(i)
			if err != nil {
				t.Fatal(err)
			}
			if err := all.add(batch); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		tables[strings.TrimSuffix(filepath.Base(path), ".arrow")] = all
	}
	compare(t, s, tables)
	if others, _ := filepath.Glob(dir + ".*"); len(others) > 0 {
		t.Errorf("left behind: %q", others)
	}
}

func TestExportOfAStoreWithoutCurves(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	if err := metadataset.Write(dir, metadataset.Input{
		Space: space.QuickTune(), Metric: metadataset.Metric{Column: metadataset.ValLoss, Goal: metadataset.Minimize},
		MaxEpochs: 1, TimeUnit: metadataset.TimeEpochs,
	}); err != nil {
		t.Fatal(err)
	}
	s, err := metadataset.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "arrow")
	if err := Export(s, out); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(out, "models.arrow"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := ipc.NewFileReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if r.NumRecords() != 0 || r.Schema().NumFields() != 5 {
		t.Errorf("%d records of %v", r.NumRecords(), r.Schema())
	}
}

func TestExportRefuses(t *testing.T) {
	s := writeStore(t)
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Export(s, full); err == nil || !strings.Contains(err.Error(), "the directory is not empty") {
		t.Errorf("a full directory: %v", err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "ends.parquet"), []byte("PAR1 nonsense PAR1"), 0o666); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "arrow")
	if err := Export(s, dir); err == nil || !strings.Contains(err.Error(), "changed since it was opened: ends.parquet: 18 bytes") {
		t.Errorf("a changed store: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a refused export left a directory")
	}
}

func TestReadingACorruptFileIsAnError(t *testing.T) {
	s := writeStore(t)
	path := filepath.Join(s.Dir, "curves", "part-00000.parquet")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data[:len(data)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	if err := writeTable(filepath.Join(t.TempDir(), "x.arrow"), []string{path}, ""); err == nil {
		t.Error("a truncated file is read without an error")
	}
}
