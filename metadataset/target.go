package metadataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// A target is a directory that is being written, locked against other writers.
type target struct {
	dir   string
	fresh string // what is being written
	aside string // the old data, where directories cannot be exchanged at once
	lock  string
	file  *os.File // the lock
}

// lockTarget locks dir and removes what a killed writer left behind: whoever
// holds the lock is the only living writer.
func lockTarget(dir string) (*target, error) {
	dir = filepath.Clean(dir)
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real // replace what a link points to, not the link
	}
	t := &target{dir: dir, fresh: dir + ".new.tmp", aside: dir + ".old.tmp", lock: dir + ".lock.tmp"}
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return nil, err
	}
	var err error
	if t.file, err = lockFile(t.lock); err != nil {
		return nil, err
	}
	if err := t.cleanUp(); err != nil {
		t.unlock()
		return nil, err
	}
	return t, nil
}

func (t *target) unlock() { unlockFile(t.file, t.lock) }

func (t *target) cleanUp() error {
	if _, err := os.Lstat(t.dir); errors.Is(err, fs.ErrNotExist) {
		// Killed between the two renames of commit: the old data come back.
		if err := os.Rename(t.aside, t.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return errors.Join(removeOurs(t.fresh), removeOurs(t.aside))
}

// inspect returns the manifest of what is in the directory, nil if nothing is.
// If that is to be replaced, a file that is not part of it is an error.
func (t *target) inspect(replace bool) (*Manifest, error) {
	entries, err := os.ReadDir(t.dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data, err := readRegular(filepath.Join(t.dir, manifestFile), checkManifestSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("the directory is not empty and holds no meta-dataset: choose another directory")
	}
	if err != nil {
		return nil, err
	}
	m, _, err := parseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("the directory holds something that cannot be judged (%s: %w): choose another directory, or remove it by hand", manifestFile, err)
	}
	if replace {
		if err := onlyOurs(t.dir); err != nil {
			return nil, err
		}
	}
	return &m, nil
}

// commit makes the fresh files the content of the directory.
func (t *target) commit(replacing bool) error {
	if !replacing {
		if err := os.Remove(t.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // only an empty directory can be removed so
		}
		if err := os.Rename(t.fresh, t.dir); err != nil {
			return err
		}
		return syncDir(filepath.Dir(t.dir))
	}
	err := exchange(t.fresh, t.dir)
	if errors.Is(err, errors.ErrUnsupported) {
		if err = os.Rename(t.dir, t.aside); err == nil {
			err = os.Rename(t.fresh, t.dir)
		}
	}
	if err != nil {
		return errors.Join(err, t.cleanUp())
	}
	return errors.Join(syncDir(filepath.Dir(t.dir)), removeOurs(t.fresh), removeOurs(t.aside))
}

// discard removes the fresh files.
func (t *target) discard() error { return removeOurs(t.fresh) }

// removeOurs removes a directory of a writer, if it exists, and refuses one
// that holds anything a writer does not make.
func removeOurs(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := onlyOurs(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// onlyOurs fails if dir holds anything but the files of this format.
func onlyOurs(dir string) error {
	ours := []string{".", curvesDir, manifestFile, datasetsFile, modelsFile, configsFile, endsFile}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if rel = filepath.ToSlash(rel); !slices.Contains(ours, rel) && !curvePart.MatchString(rel) {
			return fmt.Errorf("%s is not part of a meta-dataset: move it away first", path)
		}
		return nil
	})
}
