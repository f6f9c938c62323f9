//go:build !linux

package metadataset

import "errors"

// exchange would swap two directories in one step; this system has no call for
// it.
func exchange(string, string) error { return errors.ErrUnsupported }
