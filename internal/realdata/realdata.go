// Package realdata finds the real data that tests run on and that is no part of
// the repository. It is for tests only and refuses to read, fetch or make data.
package realdata

import (
	"os"
	"path/filepath"
	"testing"
)

// Path returns the path of a file or folder of the real data, which lies in
// shared/data beside the repository. Without it the test is skipped, or fails
// where CI=true says that every test must run.
func Path(t testing.TB, elements ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{Root(t), "..", "shared", "data"}, elements...)...)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this test needs the real data: %v", err)
		}
		t.Skipf("this test needs the real data: %v", err)
	}
	return path
}

// Root returns the root of the repository, the first folder with a go.mod at or
// above the package under test.
func Root(t testing.TB) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("no go.mod above the test")
		}
		root = filepath.Dir(root)
	}
	return root
}
