package baselines

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat/combin"

	"quicktune/search"
)

// expectedBest is the mean of the best of m scores drawn without replacement
// from y, which is ascending: sum over i of y_(i) C(n-i, m-1) / C(n, m) for
// losses, whose best is the lowest; seen from the other end for scores.
func expectedBest(y []float64, m int) float64 {
	n := len(y)
	mean := 0.0
	for i := 1; i <= n-m+1; i++ {
		mean += y[n-i] * float64(combin.Binomial(n-i, m-1)) / float64(combin.Binomial(n, m))
	}
	return mean
}

// TestRandomSearchFindsTheExpectedBest compares the closed form with all
// subsets, and with random search over many seeds.
func TestRandomSearchFindsTheExpectedBest(t *testing.T) {
	y := []float64{0.11, 0.12, 0.2, 0.37, 0.37, 0.41, 0.58, 0.66, 0.71, 0.8, 0.86, 0.93}
	n := len(y)
	for _, m := range []int{1, 2, 3, 6, 11, 12} {
		var sum, squares float64
		subsets := combin.Combinations(n, m)
		for _, subset := range subsets {
			best := y[subset[m-1]]
			sum += best
			squares += best * best
		}
		mean := sum / float64(len(subsets))
		deviation := math.Sqrt(max(squares/float64(len(subsets))-mean*mean, 0))
		want := expectedBest(y, m)
		if math.Abs(mean-want) > 1e-12 {
			t.Errorf("best of %d of %d: closed form %.6f, all subsets %.6f", m, n, want, mean)
		}

		const seeds = 20000
		found := 0.0
		for seed := range uint64(seeds) {
			p := problem(n, 5)
			p.Seed = seed
			o, err := NewRandomSearch(p, RandomSearch{})
			if err != nil {
				t.Fatal(err)
			}
			best := math.Inf(-1)
			for range m {
				best = max(best, y[ask(t, o).Candidate])
			}
			found += best
		}
		found /= seeds
		// Five standard errors: one true method in two million exceeds it.
		if tolerance := 5*deviation/math.Sqrt(seeds) + 1e-12; math.Abs(found-want) > tolerance {
			t.Errorf("best of %d of %d: random search finds %.5f; want %.5f +- %.5f", m, n, found, want, tolerance)
		}
	}
}

// TestRandomSearchIsUniform counts the orders of the first 3 of 4 candidates:
// 24 of them, equally likely. The 0.999999 quantile of chi-squared with 23
// degrees of freedom is 70.5.
func TestRandomSearchIsUniform(t *testing.T) {
	const seeds = 24000
	counts := map[[3]int]int{}
	for seed := range uint64(seeds) {
		p := problem(4, 5)
		p.Seed = seed
		o, err := NewRandomSearch(p, RandomSearch{})
		if err != nil {
			t.Fatal(err)
		}
		var order [3]int
		for i := range order {
			order[i] = ask(t, o).Candidate
		}
		counts[order]++
	}
	if len(counts) != 24 {
		t.Fatalf("%d orders; want 24", len(counts))
	}
	if x := chiSquared(counts, seeds); x > 70.5 {
		t.Errorf("chi-squared %.1f of the orders; want at most 70.5", x)
	}
}

// TestRandomSearchWithReplacementIsUniform counts pairs of successive draws
// from 5 candidates. The 0.999999 quantile of chi-squared with 24 degrees of
// freedom is 72.2.
func TestRandomSearchWithReplacementIsUniform(t *testing.T) {
	o, err := NewRandomSearch(problem(5, 5), RandomSearch{Replacement: true})
	if err != nil {
		t.Fatal(err)
	}
	const pairs = 25000
	counts := map[[2]int]int{}
	for i := range pairs {
		first, second := ask(t, o), ask(t, o)
		if first.Trial != 2*i || second.Trial != 2*i+1 {
			t.Fatalf("draws %d and %d are trials %d and %d; every draw is a new trial", 2*i, 2*i+1, first.Trial, second.Trial)
		}
		counts[[2]int{first.Candidate, second.Candidate}]++
	}
	if x := chiSquared(counts, pairs); len(counts) != 25 || x > 72.2 {
		t.Errorf("%d pairs, chi-squared %.1f; want 25 and at most 72.2", len(counts), x)
	}
}

func chiSquared[K comparable](counts map[K]int, total int) float64 {
	want := float64(total) / float64(len(counts))
	x := 0.0
	for _, n := range counts {
		x += (float64(n) - want) * (float64(n) - want) / want
	}
	return x
}

func TestRandomSearchWithReplacementGivesUpOnCandidatesThatNeverStart(t *testing.T) {
	o, err := NewRandomSearch(problem(3, 5), RandomSearch{Replacement: true})
	if err != nil {
		t.Fatal(err)
	}
	first := ask(t, o)
	o.Tell(failed(first))
	for range 50 {
		p := ask(t, o)
		if p.Candidate == first.Candidate {
			t.Fatalf("candidate %d is drawn again, though it failed before its first epoch", p.Candidate)
		}
		// A failure after an epoch costs time and does not exclude.
		o.Tell(search.Report{Trial: p.Trial, Candidate: p.Candidate, Epoch: 1, Score: math.NaN(), Proposed: true, End: search.Failed})
	}
	for {
		p, status := o.Ask()
		if status == search.Done {
			return
		}
		o.Tell(failed(p))
	}
}
