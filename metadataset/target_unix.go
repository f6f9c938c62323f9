//go:build unix

package metadataset

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile creates and locks a file. The kernel lets the lock go when the
// process dies, however it dies.
func lockFile(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, errors.New("another process is writing it: wait until it is done")
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// The last holder may have removed the name since it was opened.
		held, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if named, err := os.Stat(path); err == nil && os.SameFile(held, named) {
			return f, nil
		}
		f.Close()
	}
}

// unlockFile removes the name before it lets the lock go, so that nobody locks
// a file that is about to vanish. A failure leaves an empty file behind, which
// the next writer takes over.
func unlockFile(f *os.File, path string) {
	_ = os.Remove(path)
	_ = f.Close()
}

// syncDir puts the entries of a directory on the disk, where the file system
// can do so.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
