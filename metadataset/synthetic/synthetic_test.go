package synthetic

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"quicktune/metadataset"
)

// store writes and opens a synthetic meta-dataset, which also checks it.
func store(t *testing.T, o Options) *metadataset.Store {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if err := metadataset.Write(dir, Generate(o)); err != nil {
		t.Fatal(err)
	}
	s, err := metadataset.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheSameOptionsGiveTheSameCurves(t *testing.T) {
	o := Options{Datasets: 2, Curves: 20, Seed: 7}
	a, b := store(t, o), store(t, o)
	if a.Manifest.Hash != b.Manifest.Hash {
		t.Error("two runs with one seed differ")
	}
	o.Seed++
	if c := store(t, o); c.Manifest.Hash == a.Manifest.Hash {
		t.Error("another seed gives the same curves")
	}
}

// A larger meta-dataset holds the smaller one, so that growth can be measured
// on the same curves.
func TestMoreCurvesKeepTheFirstOnes(t *testing.T) {
	small := Generate(Options{Datasets: 1, Curves: 5})
	large := Generate(Options{Datasets: 2, Curves: 9})
	for i, c := range small.Curves {
		got := large.Curves[i].Values[metadataset.Seconds]
		if want := c.Values[metadataset.Seconds]; !slices.Equal(got, want) {
			t.Errorf("curve %d changed with the size", i)
		}
	}
}

// The traits that a search relies on, with the real data's figures beside them.
func TestCurvesHaveTheTraitsOfRealOnes(t *testing.T) {
	s := store(t, Options{})
	ends := map[metadataset.End]int{}
	var share []float64 // best of a curve over best of its data set
	for d := range s.Datasets {
		st := s.Stats(d)
		for end, n := range st.Ends {
			ends[end] += n
		}
		for c := range s.Curves(d) {
			best := math.Inf(-1)
			for _, v := range s.Score(c) {
				best = max(best, float64(v))
			}
			share = append(share, best/st.Best)
		}
	}
	slices.Sort(share)
	// Real curves: the median configuration reaches 0.16 of the best, or 0.38
	// among those that were trained in full.
	if median := share[len(share)/2]; median < 0.1 || median > 0.7 {
		t.Errorf("the median configuration reaches %.2f of the best", median)
	}
	for _, end := range []metadataset.End{metadataset.EndCompleted, metadataset.EndTimeCapped, metadataset.EndDiverged} {
		if ends[end] == 0 {
			t.Errorf("no curve ends %q", end)
		}
	}
}
