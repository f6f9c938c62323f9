package timm

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"quicktune/internal/atomicfile"
	timmworker "quicktune/scripts/timm_worker"
)

// Install writes the Python sources of the worker below dir and returns the
// folder to put on PYTHONPATH. It is named by their content, so another version
// of the program never changes the worker of a sweep that runs.
func Install(dir string) (string, error) {
	names, err := fs.Glob(timmworker.Sources, "*.py")
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	for _, n := range names {
		data, err := timmworker.Sources.ReadFile(n)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n", n, len(data))
		hash.Write(data)
	}
	root := filepath.Join(dir, "worker-"+hex.EncodeToString(hash.Sum(nil))[:12])
	to := filepath.Join(root, timmworker.Name)
	if err := os.MkdirAll(to, 0o777); err != nil {
		return "", err
	}
	for _, n := range names {
		path := filepath.Join(to, n)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return "", err
			}
			continue
		}
		data, err := timmworker.Sources.ReadFile(n)
		if err != nil {
			return "", err
		}
		err = atomicfile.WriteFile(path, data)
		if err != nil {
			return "", err
		}
	}
	return root, nil
}

// Environment is what the worker's Python needs to find its sources in root.
// Byte code is not written: nodes share the folder.
func Environment(root string) []string {
	path := root
	if old := os.Getenv("PYTHONPATH"); old != "" {
		path += string(os.PathListSeparator) + old
	}
	return []string{"PYTHONPATH=" + path, "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"}
}
