// Package filelock keeps two processes from working on the same file.
//
// A lock belongs to an open file and ends with it or with its process. The
// package refuses to wait, and does nothing on systems that cannot lock so.
package filelock

import "errors"

// ErrLocked tells that another process holds the lock.
var ErrLocked = errors.New("another process works on it")
