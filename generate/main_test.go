package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/metadataset/synthetic"
)

func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, log bytes.Buffer
	err := run(t.Context(), args, &out, &log)
	return out.String(), err
}

// The example of the help runs as printed, but for the paths.
func TestExampleOfTheHelpRuns(t *testing.T) {
	tmp := t.TempDir()
	store, out := filepath.Join(tmp, "store"), filepath.Join(tmp, "arrow")
	if err := metadataset.Write(store, synthetic.Generate(synthetic.Options{Datasets: 2, Curves: 10})); err != nil {
		t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(newExport(nil).Example), "go run ./generate ")
	if !ok {
		t.Fatal("the example does not run the command")
	}
	args := strings.Fields(strings.NewReplacer("results/extended", store, "results/imported/extended-arrow", out).Replace(rest))
	text, err := command(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "20 curves") {
		t.Errorf("printed %q", text)
	}
	if files, err := os.ReadDir(out); err != nil || len(files) < 4 {
		t.Errorf("%d files exported, %v", len(files), err)
	}
}

func TestBadInput(t *testing.T) {
	for _, args := range []string{
		"export", "export --data nowhere --out x", "export --data nowhere --out x --format csv", "nonsense", "export --no-such-flag",
	} {
		_, err := command(t, strings.Fields(args)...)
		if cli.ExitCode(err) != cli.ExitUsage {
			t.Errorf("generate %s: error %v, want exit code %d", args, err, cli.ExitUsage)
		}
	}
}
