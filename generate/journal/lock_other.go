//go:build !unix

package journal

import "os"

// lock does nothing where files cannot be locked so: two processes must not
// work on the same sweep.
func lock(*os.File) error { return nil }
