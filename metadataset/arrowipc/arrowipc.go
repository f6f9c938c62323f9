// Package arrowipc hands a meta-dataset to other programs as Arrow IPC files.
//
// It reads the Parquet files with Arrow's own reader, not with the one of
// metadataset, so an export is also a second opinion on the store. It is the
// only package that imports Arrow, which is large: nothing that merely replays
// curves has to compile it. It refuses to export a store whose files changed
// since they were opened, and to write where something already is.
package arrowipc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"quicktune/metadataset"
)

// batchRows is the number of rows of a record batch.
const batchRows = 1 << 16

// Export writes one Arrow IPC file (the random-access format, zstd) a table to
// dir: datasets.arrow, models.arrow, configs.arrow, ends.arrow and
// curves.arrow, which holds the rows of all curve parts and is left out if
// there are none. Columns, types and nulls are those of the Parquet files; the
// manifest stands in the metadata of each schema under the key
// "quicktune.manifest".
//
// dir must not exist or be empty. It appears only when everything is written.
func Export(s *metadataset.Store, dir string) error {
	if err := export(s, filepath.Clean(dir)); err != nil {
		return fmt.Errorf("export to %s: %w", dir, err)
	}
	return nil
}

func export(s *metadataset.Store, dir string) (err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return errors.New("the directory is not empty: choose another one")
	}
	if found := metadataset.Verify(s.Dir); len(found) > 0 {
		return fmt.Errorf("%s changed since it was opened: %w", s.Dir, found[0])
	}
	manifest, err := os.ReadFile(filepath.Join(s.Dir, "manifest.json"))
	if err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(parent, filepath.Base(dir)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(fresh))
		}
	}()
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	var tables []string
	parts := make(map[string][]string)
	for _, p := range s.Manifest.Parts {
		table := strings.TrimSuffix(p.Path, ".parquet")
		if strings.HasPrefix(p.Path, "curves/") {
			table = "curves"
		}
		if parts[table] == nil {
			tables = append(tables, table)
		}
		parts[table] = append(parts[table], filepath.Join(s.Dir, filepath.FromSlash(p.Path)))
	}
	for _, table := range tables {
		if err := writeTable(filepath.Join(fresh, table+".arrow"), parts[table], string(manifest)); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // only an empty directory can be removed so
	}
	return os.Rename(fresh, dir)
}

// writeTable concatenates Parquet files of one schema into one IPC file.
func writeTable(path string, parts []string, manifest string) (err error) {
	defer recoverArrow(&err)
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	var w *ipc.FileWriter
	var schema *arrow.Schema
	begin := func(read *arrow.Schema) (err error) {
		if w == nil {
			schema = plainSchema(read, manifest)
			w, err = ipc.NewFileWriter(out, ipc.WithSchema(schema), ipc.WithZstd())
		}
		return err
	}
	visit := func(batch arrow.RecordBatch) error {
		plain := array.NewRecordBatch(schema, batch.Columns(), batch.NumRows())
		defer plain.Release()
		return w.Write(plain)
	}
	for _, part := range parts {
		if err := readBatches(part, begin, visit); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	return errors.Join(w.Close(), out.Sync())
}

// plainSchema keeps names, types and nullability and nothing that the Parquet
// reader adds, and names the manifest.
func plainSchema(read *arrow.Schema, manifest string) *arrow.Schema {
	fields := make([]arrow.Field, read.NumFields())
	for i, f := range read.Fields() {
		fields[i] = arrow.Field{Name: f.Name, Type: f.Type, Nullable: f.Nullable}
	}
	metadata := arrow.NewMetadata([]string{"quicktune.manifest"}, []string{manifest})
	return arrow.NewSchema(fields, &metadata)
}

// readBatches calls begin with the schema of a Parquet file and visit with its
// rows.
func readBatches(path string, begin func(*arrow.Schema) error, visit func(arrow.RecordBatch) error) (err error) {
	pf, err := file.OpenParquetFile(path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pf.Close()) }()
	r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{BatchSize: batchRows}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	batches, err := r.GetRecordReader(context.Background(), nil, nil)
	if err != nil {
		return err
	}
	defer batches.Release()
	if err := begin(batches.Schema()); err != nil {
		return err
	}
	for batches.Next() {
		if err := visit(batches.RecordBatch()); err != nil {
			return err
		}
	}
	return batches.Err()
}

// recoverArrow turns a panic of the Arrow library into an error.
func recoverArrow(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the Arrow library failed: %v", r)
	}
}
