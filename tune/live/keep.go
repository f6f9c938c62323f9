package live

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"quicktune/internal/atomicfile"
)

const bestPrefix = "best-"

// BestDir is the directory that keeps the checkpoint of the best epoch.
func BestDir(dir string, b Best) string {
	return filepath.Join(dir, fmt.Sprintf("%s%s-e%d", bestPrefix, TrialName(b.Trial), b.Epoch))
}

// keep copies the checkpoint of the best epoch, unless that is done, and removes
// the one before. Both the copy and the journal, which tells that it is the best,
// are on the disk by then, so that a power cut leaves one of the two with its line
// in the journal. No worker may be training the trial.
func (r *run) keep() error {
	to := BestDir(r.Dir, r.state.Best)
	if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
		if err := copyDir(r.checkpoint(r.state.Best.Trial), to); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := r.log.Sync(); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), bestPrefix) && e.Name() != filepath.Base(to) {
			if err := os.RemoveAll(filepath.Join(r.Dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyDir makes a directory with copies of the files in another, whole and on the
// disk, or not at all. A trainer that keeps nothing has none; then the copy is
// empty.
func copyDir(from, to string) error {
	partial := to + ".tmp"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.MkdirAll(partial, 0o777); err != nil {
		return err
	}
	var made []string
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if path == from && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			made = append(made, filepath.Join(partial, rel))
			return os.MkdirAll(filepath.Join(partial, rel), 0o777)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		return copyFile(path, filepath.Join(partial, rel))
	})
	for _, dir := range made {
		err = cmp.Or(err, atomicfile.SyncDir(dir))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	if err := os.Rename(partial, to); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(to))
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}
