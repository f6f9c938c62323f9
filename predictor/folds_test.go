package predictor

import (
	"slices"
	"testing"
)

// numpy 2.4: r = np.random.RandomState(42); x = list(range(12)); r.shuffle(x);
// x, then r.randint(0, 2**32, 3, dtype=np.uint32) of a fresh RandomState(42).
func TestShuffleIsNumpys(t *testing.T) {
	x := make([]int, 12)
	for i := range x {
		x[i] = i
	}
	newRandomState(42).shuffle(len(x), func(i, j int) { x[i], x[j] = x[j], x[i] })
	if want := []int{10, 9, 0, 8, 5, 2, 1, 11, 4, 7, 3, 6}; !slices.Equal(x, want) {
		t.Errorf("shuffled to %v, numpy has %v", x, want)
	}
	r := newRandomState(42)
	if got, want := []uint32{r.uint32(), r.uint32(), r.uint32()}, []uint32{1608637542, 3421126067, 4083286876}; !slices.Equal(got, want) {
		t.Errorf("drew %v, numpy has %v", got, want)
	}
}

func TestEveryDataSetIsTestedOnceAndNeverTrainedOnInItsRound(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"}
	splits, err := Splits(names, 42)
	if err != nil {
		t.Fatal(err)
	}
	tested := map[string]int{}
	for _, s := range splits {
		all := slices.Concat(s.Train, s.Validation, s.Test)
		slices.Sort(all)
		if !slices.Equal(all, names) {
			t.Errorf("a round holds %v", all)
		}
		for _, n := range s.Test {
			tested[n]++
		}
	}
	for _, n := range names {
		if tested[n] != 1 {
			t.Errorf("%s is tested %d times", n, tested[n])
		}
	}
	// The order is that of numpy: permutation of 13 by RandomState(42).
	if want := []string{"i", "e"}; !slices.Equal(splits[0].Test, want) {
		t.Errorf("first round tests %v instead of %v", splits[0].Test, want)
	}
	if _, err := Splits([]string{"a", "a"}, 1); err == nil {
		t.Error("a name listed twice was accepted")
	}
}
