// Package atomicfile writes files that are seen whole or not at all.
//
// The content goes to a temporary file beside the final one, is synchronised
// to the disk and renamed. A crash at any moment leaves the old file or the new
// one, and at worst a hidden temporary file. The package refuses to append, to
// keep backups and to lock: two writers of one name both succeed and the last
// one wins.
package atomicfile

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// File is a file under a temporary name.
type File struct {
	*bufio.Writer
	tmp  *os.File
	path string // final
}

// Create opens a temporary file beside path. Writes are buffered.
func Create(path string) (*File, error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return nil, err
	}
	return &File{Writer: bufio.NewWriterSize(tmp, 1<<16), tmp: tmp, path: path}, nil
}

// Sync brings the content to the disk, still under the temporary name. No
// write may follow.
func (f *File) Sync() error {
	return errors.Join(f.Flush(), f.tmp.Chmod(0o644), f.tmp.Sync())
}

// Publish closes the file and gives it its name, in place of an old file.
// Sync must have succeeded.
func (f *File) Publish() error {
	if err := f.tmp.Close(); err != nil {
		return err
	}
	name := f.tmp.Name()
	f.tmp = nil
	return os.Rename(name, f.path)
}

// Discard removes the temporary file. After Publish it does nothing, so that
// it can be deferred.
func (f *File) Discard() {
	if f.tmp == nil {
		return
	}
	name := f.tmp.Name()
	f.tmp.Close()
	os.Remove(name)
	f.tmp = nil
}

// Write makes or replaces the file at path with what fill writes. An error
// leaves an old file as it was.
func Write(path string, fill func(io.Writer) error) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Publish(); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// WriteFile replaces the file with data as Write does.
func WriteFile(path string, data []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// SyncDir brings the names in a directory to the disk, where the system can.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, os.ErrInvalid) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
