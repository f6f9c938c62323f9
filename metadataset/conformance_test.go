package metadataset

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// python returns an interpreter that has pyarrow and DuckDB: that of the
// environment variable QUICKTUNE_PYTHON, else python3. Without one the test is
// skipped, or fails where CI=true says that all tests must run.
func python(t *testing.T) string {
	t.Helper()
	name := os.Getenv("QUICKTUNE_PYTHON")
	if name == "" {
		name = "python3"
	}
	path, err := exec.LookPath(name)
	if err == nil {
		var out []byte
		if out, err = exec.Command(path, "-c", "import pyarrow, duckdb").CombinedOutput(); err == nil {
			return path
		}
		t.Logf("%s", out)
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s with pyarrow and duckdb is needed (QUICKTUNE_PYTHON names another): %v", name, err)
	}
	t.Skipf("%s with pyarrow and duckdb is needed (QUICKTUNE_PYTHON names another): %v", name, err)
	return ""
}

func script(name string) string { return filepath.Join("..", "scripts", "conformance", name) }

// splitTiny writes a store of several curve parts.
func splitTiny(t *testing.T) *Store {
	t.Helper()
	defer setRowsPerPart(10)()
	s, _ := openTiny(t)
	return s
}

type columnSum struct {
	Rows, Nulls int
	Sum         float64
}

// sums adds up a column of the curves as this package reads it.
func sums(s *Store, col Column) columnSum {
	var c columnSum
	for curve := range s.NumCurves() {
		for _, v := range s.Values(curve, col) {
			c.Rows++
			if v != v {
				c.Nulls++
			} else {
				c.Sum += float64(v)
			}
		}
	}
	return c
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-12*max(math.Abs(a), math.Abs(b)) }

// TestOtherReadersAgree has pyarrow, DuckDB and, if it is there, polars read a
// store and compares their sums with ours.
func TestOtherReadersAgree(t *testing.T) {
	py := python(t)
	t.Run("small", func(t *testing.T) { compareReaders(t, py, splitTiny(t)) })
	t.Run("real curves", func(t *testing.T) {
		s, err := Open(writeReal(t))
		if err != nil {
			t.Fatal(err)
		}
		compareReaders(t, py, s)
	})
}

func compareReaders(t *testing.T, py string, s *Store) {
	t.Helper()
	cmd := exec.Command(py, script("read_store.py"), s.Dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var seen struct {
		Readers  map[string]map[string]map[string]columnSum
		Datasets map[string]struct {
			Curves, Epochs int
			Seconds, Best  float64
		}
	}
	if err := json.Unmarshal(out, &seen); err != nil {
		t.Fatal(err)
	}
	if len(seen.Readers) < 2 {
		t.Errorf("only %d readers", len(seen.Readers))
	}
	for reader, tables := range seen.Readers {
		for _, col := range Columns {
			want := sums(s, col)
			got, there := tables["curves"][string(col)]
			if there != (want.Rows > 0) || got.Rows != want.Rows || got.Nulls != want.Nulls || !near(got.Sum, want.Sum) {
				t.Errorf("%s sees %+v in %s, want %+v", reader, got, col, want)
			}
		}
		if got := tables["configs"]["config"]; got.Rows != s.NumCurves() || got.Sum != float64(s.NumCurves()*(s.NumCurves()-1)/2) {
			t.Errorf("%s sees %+v as configurations of %d curves", reader, got, s.NumCurves())
		}
		for i := range s.Space.Len() {
			h := s.Space.Param(i)
			column, nulls := hyperPrefix+h.Name, 0
			if h.Name == s.Manifest.ModelParam {
				column = "model"
			}
			for c := range s.NumCurves() {
				if v := s.Config(c)[i]; v.IsInactive() || isNone(v) {
					nulls++
				}
			}
			if got, there := tables["configs"][column]; !there || got.Nulls != nulls {
				t.Errorf("%s sees %d nulls in %s, want %d", reader, got.Nulls, column, nulls)
			}
		}
		if got := tables["ends"]["epochs"]; got.Sum != float64(s.NumEpochs()) {
			t.Errorf("%s sees %v epochs in all, want %d", reader, got.Sum, s.NumEpochs())
		}
		if got := tables["datasets"]["dataset"]; got.Rows != len(s.Datasets) {
			t.Errorf("%s sees %d data sets, want %d", reader, got.Rows, len(s.Datasets))
		}
		if got := tables["models"]["model"]; got.Rows != len(s.Models) {
			t.Errorf("%s sees %d models, want %d", reader, got.Rows, len(s.Models))
		}
	}
	for d := range s.Datasets {
		st := s.Stats(d)
		got, there := seen.Datasets[s.Datasets[d].Name]
		withEpochs := 0
		for c := range s.Curves(d) {
			if s.Len(c) > 0 {
				withEpochs++
			}
		}
		if there != (withEpochs > 0) || got.Curves != withEpochs || got.Epochs != st.Epochs || !near(got.Seconds, st.Seconds) || there && float32(got.Best) != float32(st.Best) {
			t.Errorf("DuckDB's join sees %+v of %s, want %+v", got, s.Datasets[d].Name, st)
		}
	}
}

// TestOtherWritersCanBeRead has pyarrow and DuckDB write the files of a store
// anew, with their own encodings and page versions.
func TestOtherWritersCanBeRead(t *testing.T) {
	py := python(t)
	for _, writer := range []string{"pyarrow", "pyarrow-plain", "duckdb"} {
		t.Run(writer, func(t *testing.T) {
			s := splitTiny(t)
			want := asInput(s)
			if out, err := exec.Command(py, script("rewrite_store.py"), "--writer", writer, s.Dir).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			editManifest(t, s.Dir, func(m *Manifest) {
				for _, p := range m.Parts {
					data, err := os.ReadFile(filepath.Join(s.Dir, filepath.FromSlash(p.Path)))
					if err != nil {
						t.Fatal(err)
					}
					relist(m, p.Path, data, p.Rows)
				}
			})
			again, err := Open(s.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if again.Manifest.Hash == s.Manifest.Hash {
				t.Error("nothing was rewritten")
			}
			if diff := gocmp.Diff(want, asInput(again), sameBits); diff != "" {
				t.Error(diff)
			}
		})
	}
}
