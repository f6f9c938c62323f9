package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"quicktune/benchmark/traintime"
	"quicktune/metadataset"
)

func TestTimesCompareSearchesWithAndWithoutThem(t *testing.T) {
	dir := smallStore(t, filepath.Join(t.TempDir(), "store"))
	s, err := metadataset.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var rows []traintime.HeadRow
	for d, set := range s.Datasets {
		for m, model := range s.Models {
			rows = append(rows, traintime.HeadRow{Dataset: set.Name, Model: model.Name, HalfTime: float64(1 + (7*d+3*m)%5), Gradient: 0.1, Seconds: 1, Images: 96})
		}
	}
	args := []string{"times", "--data", dir, "--datasets", s.Datasets[0].Name, "--hold-out", s.Datasets[0].Name, "--budget", "30m", "--cache", t.TempDir()}
	if _, _, err := command(t, args...); err == nil || !strings.Contains(err.Error(), "traintime --probe") {
		t.Errorf("without a file of times: %v", err)
	}
	if err := parquet.WriteFile(traintime.HeadsPath(dir), rows); err != nil {
		t.Fatal(err)
	}
	out := mustRun(t, args...)
	for _, want := range []string{
		"on 1 data sets", "the same search without predicted times", "times as a feature", "times as a filter", "times as both", "of other networks",
		"rank correlation",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if again := mustRun(t, args...); again != out {
		t.Errorf("two runs differ:\n%s\n%s", out, again)
	}
	if _, _, err := command(t, "times"); err == nil || !strings.Contains(err.Error(), "--data DIR") {
		t.Errorf("without a meta-dataset: %v", err)
	}
}
