package metadataset

import (
	"path/filepath"
	"testing"
)

func writeTiny(t testing.TB) (string, Input) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	in := tinyInput(t)
	if err := Write(dir, in); err != nil {
		t.Fatal(err)
	}
	return dir, in
}

func TestSmoke(t *testing.T) {
	dir, _ := writeTiny(t)
	for _, err := range Verify(dir) {
		t.Error(err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for c := range s.NumCurves() {
		t.Log(s.IDs[c], s.Datasets[s.DatasetOf[c]].Name, s.Ends[c], s.Reasons[c], s.Space.Format(s.Config(c)), s.Score(c))
	}
}
