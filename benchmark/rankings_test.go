package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"quicktune/benchmark/selection"
	"quicktune/metadataset"
)

// storeOfScores writes a score of every model of a store beside it.
func storeOfScores(t *testing.T, dir string) string {
	t.Helper()
	s, err := metadataset.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var rows []selection.Score
	for d, set := range s.Datasets {
		for m, model := range s.Models {
			v := float64((7*d + 3*m) % 5)
			for _, setting := range []string{"25 a class", "full"} {
				rows = append(rows, selection.Score{
					Dataset: set.Name, Model: model.Name, Setting: setting, Score: "logme", Value: &v, Seconds: 1, ProbeSeconds: 2, Images: 10,
				})
			}
		}
	}
	path := dir + "-scores.parquet"
	if err := parquet.WriteFile(path, rows); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRankingsCompareSearchesWithAndWithoutThem(t *testing.T) {
	dir := smallStore(t, filepath.Join(t.TempDir(), "store"))
	storeOfScores(t, dir)
	args := []string{"rankings", "--data", dir, "--rankings", "static-prior+logme", "--budget", "30m", "--seeds", "1", "--cache", t.TempDir()}
	out := mustRun(t, args...)
	for _, want := range []string{
		"on 3 data sets", "quicktune, moved by static-prior+logme", "quicktune, forecasts from static-prior+logme", "quicktune, warm start by static-prior+logme", "hyperband", "two-stage, top 3 by static-prior+logme",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if again := mustRun(t, args...); again != out {
		t.Errorf("two runs differ:\n%s\n%s", out, again)
	}
	for _, c := range []struct{ list, want string }{
		{"no-such-score", `has no score "no-such-score"; it has logme`}, {"static-prior+lfc", `no score "lfc"`},
	} {
		if _, _, err := command(t, "rankings", "--data", dir, "--rankings", c.list); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.list, err, c.want)
		}
	}
}

func TestRankingsAreSettingsOfMethods(t *testing.T) {
	dir := smallStore(t, filepath.Join(t.TempDir(), "store"))
	scores := storeOfScores(t, dir)
	out := mustRun(t, "--data", dir, "--methods", "two-stage", "--set", "two-stage.by=logme", "--set", "two-stage.scores="+scores, "--set", "two-stage.top=2", "--budget", "30m", "--seeds", "1")
	if !strings.Contains(out, "two-stage") {
		t.Errorf("printed\n%s", out)
	}
	for _, c := range []struct{ method, set, want string }{
		{"two-stage", "two-stage.top=0", "whole number from 1 to 1000"},
		{"two-stage", "two-stage.by=logme", "holds no scores"},
		{"quicktune", "quicktune.weight=1", "without score=NAME"},
		{"quicktune", "quicktune.colour=red", "it has score, weight, warm-start, scores"},
	} {
		args := []string{"--data", dir, "--methods", c.method, "--set", c.set, "--seeds", "1"}
		if c.want == "holds no scores" {
			args = append(args, "--set", "two-stage.scores="+dir+"-none.parquet")
		}
		if _, _, err := command(t, args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.set, err, c.want)
		}
	}
}
