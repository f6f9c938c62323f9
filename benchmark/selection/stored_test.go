package selection

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quicktune/internal/cli"
	"quicktune/internal/stream"
	"quicktune/search"
	"quicktune/selection"
	"quicktune/selection/probes"
)

// storeProbes writes probes of models whose classes lie further apart the later
// they come.
func storeProbes(t *testing.T, datasets, models []string) string {
	t.Helper()
	const perClass, classes, dim = 20, 3, 6
	dir := t.TempDir()
	for _, dataset := range datasets {
		for m, model := range models {
			rng := stream.New("test/stored", uint64(m), uint64(len(dataset)))
			p := &probes.Probe{Info: probes.Info{
				Dataset: dataset, Images: "hash of " + dataset, Model: model, Trainer: "embedded", Classes: []string{"a", "b", "c"}, PerClass: selection.PerClass, Seconds: 2,
			}}
			p.Data = selection.Data{Model: model, Dim: dim, SourceClasses: 2}
			for i := range perClass * classes {
				p.Rows, p.Data.Labels = append(p.Rows, i), append(p.Data.Labels, i%classes)
				for j := range dim {
					x := rng.NormFloat64()
					if j == i%classes {
						x += 0.8 * float64(m+1)
					}
					p.Data.Features = append(p.Data.Features, x)
				}
				p.Data.Source = append(p.Data.Source, 0.5, 0.5)
			}
			if err := probes.Write(probes.Path(dir, dataset, model), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// selectionCommand runs the command.
func selectionCommand(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, log strings.Builder
	c := New(&out, &log)
	c.SetArgs(args)
	c.SilenceErrors, c.SilenceUsage = true, true
	err := c.ExecuteContext(context.Background())
	return out.String(), err
}

func TestStoredProbesAreRanked(t *testing.T) {
	dir := storeProbes(t, []string{"one", "three"}, []string{"weak", "better", "best"})
	for _, by := range []string{"logme", "knn", "lfc-centred"} {
		text, err := selectionCommand(t, "--probes", dir, "--by", by, "--json")
		if err != nil {
			t.Fatal(err)
		}
		var r StoredReport
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Tables) != 2 || r.Tables[0].Dataset != "one" || r.Tables[0].Images != 60 {
			t.Fatalf("%+v", r)
		}
		for _, table := range r.Tables {
			for i, want := range []string{"best", "better", "weak"} {
				m := table.Models[i]
				if _, gradients := m.Scores["lgc"]; m.Name != want || gradients || m.Seconds != 2 {
					t.Errorf("by %s, place %d on %s: %+v, want %s", by, i, table.Dataset, m, want)
				}
			}
		}
	}
	text, err := selectionCommand(t, "--probes", dir)
	if err != nil || !strings.Contains(text, "one: 3 models by logme, probed on 60 images of 3 classes, at most 25 of each") {
		t.Errorf("%v\n%s", err, text)
	}
}

// Scores of stored probes are what a search asks for.
func TestScoresOfStoredProbesRankInASearch(t *testing.T) {
	dir := storeProbes(t, []string{"one"}, []string{"weak", "best"})
	file := filepath.Join(t.TempDir(), "scores.parquet")
	if _, err := selectionCommand(t, "--probes", dir, "--scores", file); err != nil {
		t.Fatal(err)
	}
	r, err := NewRanking("logme", file)
	if err != nil {
		t.Fatal(err)
	}
	values, seconds, err := r.Rank(search.MetaData{}, "one")
	if err != nil || len(values) != 2 || !(values["best"] > values["weak"]) {
		t.Errorf("%v, %v", values, err)
	}
	if seconds < 4 || seconds > 5 { // the passes of both, and the score
		t.Errorf("ranking takes %v s", seconds)
	}
	all, err := NewRanking("feature-metrics", file)
	if err != nil {
		t.Fatal(err)
	}
	if values, _, err := all.Rank(search.MetaData{}, "one"); err != nil || len(values) != 2 {
		t.Errorf("%v, %v", values, err)
	}
}

func TestBadStoredProbes(t *testing.T) {
	dir := storeProbes(t, []string{"one"}, []string{"a", "b"})
	empty := t.TempDir()
	mixed := storeProbes(t, []string{"one"}, []string{"a", "b"})
	p, err := probes.Read(probes.Path(mixed, "one", "b"))
	if err != nil {
		t.Fatal(err)
	}
	p.Rows[len(p.Rows)-1]++
	if err := probes.Write(probes.Path(mixed, "one", "b"), p); err != nil {
		t.Fatal(err)
	}
	twice := storeProbes(t, []string{"one"}, []string{"a", "b"})
	if err := os.Rename(filepath.Join(storeProbes(t, []string{"one"}, []string{"a"}), "one"), filepath.Join(twice, "other")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--probes", empty}, "holds no probes"},
		{[]string{"--probes", dir, "--by", "luck"}, "--by luck: want one of lfc"},
		{[]string{"--probes", dir, "--probe"}, "--probe: only with --data"},
		{[]string{"--by", "lfc"}, "--by: only with --probes"},
		{[]string{"--probes", dir, "--data", "x"}, "exclude each other"},
		{[]string{"--probes", mixed}, "are of different images"},
		{[]string{"--probes", twice}, `both hold probes on data set "one"`},
	} {
		_, err := selectionCommand(t, c.args...)
		if cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
}
