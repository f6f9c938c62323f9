package baselines

import (
	"math"
	"os"
	"slices"
	"testing"

	"quicktune/search"
	"quicktune/space"
)

// peakedSets are other data sets in which the same learning rate is best, with
// scores of different ranges.
func peakedSets(p search.Problem) search.MetaData {
	m := search.MetaData{Space: p.Space, Metric: p.Metric, MaxEpochs: 3, Parallel: 1}
	rate := p.Space.Index("lr")
	for k, name := range []string{"first", "second", "third"} {
		c := search.Curves{Task: search.Task{Name: name}}
		for i := k; i < len(p.Candidates); i += 3 {
			d := (math.Log10(p.Candidates[i][rate].Num()) + 3) / 2
			v := float32(0.1*float64(k) + 0.2*float64(k+1)*math.Exp(-d*d))
			c.Configs = append(c.Configs, p.Candidates[i])
			c.Scores = append(c.Scores, []float32{0, v, float32(math.NaN())})
			c.Seconds = append(c.Seconds, []float32{1, 1, 1})
			c.Untrained = append(c.Untrained, false)
		}
		if k < 2 {
			m.Train = append(m.Train, c)
		} else {
			m.Validation = append(m.Validation, c)
		}
	}
	return m
}

// What other data sets have in common must show in the first candidates.
func TestFSBOBeginsWithWhatWasBestElsewhere(t *testing.T) {
	p := encodedProblem(120, 3)
	learn, err := LearnFSBO(t.Context(), peakedSets(p), FSBO{Iterations: 600, Copies: 4})
	if err != nil {
		t.Fatal(err)
	}
	o, err := learn(p)
	if err != nil {
		t.Fatal(err)
	}
	if best, all := bestAfter(t, o, p, 6); best < 0.98*all {
		t.Errorf("the best of 6 is %.4f; the best of all %.4f", best, all)
	}
}

func TestFSBOKeepsItsWeights(t *testing.T) {
	p := encodedProblem(60, 3)
	m := peakedSets(p)
	m.Cache = t.TempDir()
	s := FSBO{Iterations: 30, Copies: 2}
	first := func() search.Proposal {
		learn, err := LearnFSBO(t.Context(), m, s)
		if err != nil {
			t.Fatal(err)
		}
		o, err := learn(p)
		if err != nil {
			t.Fatal(err)
		}
		return ask(t, o)
	}
	want := first()
	files, err := os.ReadDir(m.Cache)
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	path := m.Cache + "/" + files[0].Name()
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := first(); got != want {
		t.Errorf("with the weights that were kept it proposes %v; want %v", got, want)
	}
	if after, err := os.Stat(path); err != nil || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the weights were made again: %v", err)
	}
	// A damaged file is made again.
	if err := os.WriteFile(path, []byte("no weights"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := first(); got != want {
		t.Errorf("after damage it proposes %v; want %v", got, want)
	}
}

func TestScalesKeepTheOrderOfValues(t *testing.T) {
	task := fsboTask{name: "set", config: [][]float64{{0}, {1}, {2}}, values: []float64{3, 1, 2}}
	tasks := FSBO{Copies: 50}.scaled([]fsboTask{task})
	for _, k := range tasks {
		v := []float64{k.Scores[0][0], k.Scores[1][0], k.Scores[2][0]}
		if !(v[0] > v[2] && v[2] > v[1]) || !agree(v[0]-v[2], v[2]-v[1], 1e-9) {
			t.Errorf("%s: %v", k.Name, v)
		}
		// The range is shrunk by a fifth at least and not stretched.
		if width := v[0] - v[1]; width < 1-1e-9 || width > 5+1e-9 {
			t.Errorf("%s: width %v", k.Name, width)
		}
	}
}

func TestFSBOSaysWhatItCannotLearnFrom(t *testing.T) {
	p := encodedProblem(10, 3)
	m := peakedSets(p)
	for i := range m.Train {
		for c := range m.Train[i].Scores {
			m.Train[i].Scores[c] = []float32{0.5}
		}
	}
	if _, err := LearnFSBO(t.Context(), m, FSBO{}); err == nil {
		t.Error("equal scores: no error")
	}
	m.Space = nil
	if _, err := LearnFSBO(t.Context(), m, FSBO{}); err == nil {
		t.Error("no space: no error")
	}
	learn, err := LearnFSBO(t.Context(), peakedSets(p), FSBO{Iterations: 2, Copies: 1})
	if err != nil {
		t.Fatal(err)
	}
	other := p
	other.Space = space.QuickTune()
	other.Candidates = slices.Clone(p.Candidates)
	if _, err := learn(other); err == nil {
		t.Error("another space: no error")
	}
}
