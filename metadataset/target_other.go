//go:build !unix

package metadataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// lockFile creates a file that must not exist. After a crash it has to be
// removed by hand.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("another process is writing it: wait until it is done, or remove %s if there is none", path)
	}
	return f, err
}

// unlockFile removes the lock.
func unlockFile(f *os.File, path string) {
	_ = f.Close()
	_ = os.Remove(path)
}

// syncDir does nothing: directories cannot be synchronised here.
func syncDir(string) error { return nil }
