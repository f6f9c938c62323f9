package baselines

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"quicktune/search"
)

// format writes a table of brackets as "81@1,27@3 / 5@81".
func format(table []Bracket) string {
	var brackets []string
	for _, b := range table {
		var rungs []string
		for _, r := range b.Rungs {
			rungs = append(rungs, fmt.Sprintf("%d@%.4g", r.N, r.Resource))
		}
		brackets = append(brackets, strings.Join(rungs, ","))
	}
	return strings.Join(brackets, " / ")
}

// TestBracketTables holds the tables that the formula of Algorithm 1, HpBandSter
// 0.7.4 and syne-tune 0.13.0 give.
func TestBracketTables(t *testing.T) {
	for _, c := range []struct {
		maxEpochs, eta int
		variant        HyperbandVariant
		want           string
	}{
		{81, 3, PaperBrackets, "81@1,27@3,9@9,3@27,1@81 / 34@3,11@9,3@27,1@81 / 15@9,5@27,1@81 / 8@27,2@81 / 5@81"},
		{81, 3, HpBandSterBrackets, "81@1,27@3,9@9,3@27,1@81 / 27@3,9@9,3@27,1@81 / 9@9,3@27,1@81 / 6@27,2@81 / 5@81"},
		{81, 3, SyneTuneBrackets, "81@1,27@3,9@9,3@27,1@81 / 34@3,12@9,4@27,2@81 / 15@9,5@27,2@81 / 8@27,3@81 / 5@81"},

		{27, 3, PaperBrackets, "27@1,9@3,3@9,1@27 / 12@3,4@9,1@27 / 6@9,2@27 / 4@27"},
		{27, 3, HpBandSterBrackets, "27@1,9@3,3@9,1@27 / 9@3,3@9,1@27 / 6@9,2@27 / 4@27"},
		{27, 3, SyneTuneBrackets, "27@1,9@3,3@9,1@27 / 12@3,4@9,2@27 / 6@9,2@27 / 4@27"},

		{50, 3, PaperBrackets, "27@1.852,9@5.556,3@16.67,1@50 / 12@5.556,4@16.67,1@50 / 6@16.67,2@50 / 4@50"},
		{50, 3, HpBandSterBrackets, "27@1.852,9@5.556,3@16.67,1@50 / 9@5.556,3@16.67,1@50 / 6@16.67,2@50 / 4@50"},
		{50, 3, SyneTuneBrackets, "81@1,27@3,9@9,3@27,1@50 / 34@3,12@9,4@27,2@50 / 15@9,5@27,2@50 / 8@27,3@50 / 5@50"},

		{50, 2, PaperBrackets, "32@1.562,16@3.125,8@6.25,4@12.5,2@25,1@50 / 20@3.125,10@6.25,5@12.5,2@25,1@50 / 12@6.25,6@12.5,3@25,1@50 / 8@12.5,4@25,2@50 / 6@25,3@50 / 6@50"},
		{50, 2, HpBandSterBrackets, "32@1.562,16@3.125,8@6.25,4@12.5,2@25,1@50 / 16@3.125,8@6.25,4@12.5,2@25,1@50 / 8@6.25,4@12.5,2@25,1@50 / 8@12.5,4@25,2@50 / 6@25,3@50 / 6@50"},
		{50, 2, SyneTuneBrackets, "64@1,32@2,16@4,8@8,4@16,2@32,1@50 / 38@2,19@4,10@8,5@16,3@32,2@50 / 23@4,12@8,6@16,3@32,2@50 / 14@8,7@16,4@32,2@50 / 10@16,5@32,3@50 / 7@32,4@50 / 7@50"},

		{50, 4, PaperBrackets, "16@3.125,4@12.5,1@50 / 6@12.5,1@50 / 3@50"},
		{50, 4, HpBandSterBrackets, "16@3.125,4@12.5,1@50 / 4@12.5,1@50 / 3@50"},
		{50, 4, SyneTuneBrackets, "64@1,16@4,4@16,1@50 / 22@4,6@16,2@50 / 8@16,2@50 / 4@50"},

		// log(243)/log(3) is 4.999999999999999: five brackets for those who
		// truncate it.
		{243, 3, PaperBrackets, "243@1,81@3,27@9,9@27,3@81,1@243 / 98@3,32@9,10@27,3@81,1@243 / 41@9,13@27,4@81,1@243 / 18@27,6@81,2@243 / 9@81,3@243 / 6@243"},
		{1, 3, PaperBrackets, "1@1"},
		{1, 3, HpBandSterBrackets, "1@1"},
		{1, 3, SyneTuneBrackets, "1@1"},
		{2, 3, PaperBrackets, "1@2"},
		{2, 3, SyneTuneBrackets, "3@1,1@2 / 2@2"},
	} {
		if got := format(c.variant.Brackets(c.maxEpochs, 1, c.eta)); got != c.want {
			t.Errorf("variant %d, R=%d, eta=%d:\n got %s\nwant %s", c.variant, c.maxEpochs, c.eta, got, c.want)
		}
	}
}

// TestFractionalRungsAreRounded: 50/27 = 1.85, 50/9 = 5.56, 50/3 = 16.67;
// 50/16 = 3.125, 50/4 = 12.5.
func TestFractionalRungsAreRounded(t *testing.T) {
	for _, c := range []struct {
		eta  int
		want []int
	}{
		{3, []int{2, 6, 17, 50}},
		{4, []int{3, 13, 50}},
	} {
		for i, r := range PaperBrackets.Brackets(50, 1, c.eta)[0].Rungs {
			if r.Epoch != c.want[i] {
				t.Errorf("eta=%d: resource %.3f is epoch %d; want %d", c.eta, r.Resource, r.Epoch, c.want[i])
			}
		}
	}
}

// TestBracketTablesAreWellFormed holds what a bracket needs, whatever the
// settings: resources between the smallest and the largest, each rung later and
// not larger than the one before, ending at the last epoch; and each variant's
// resources in the ratio eta.
func TestBracketTablesAreWellFormed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxEpochs := rapid.IntRange(1, 3000).Draw(t, "max")
		minEpochs := rapid.IntRange(1, maxEpochs).Draw(t, "min")
		eta := rapid.IntRange(2, 12).Draw(t, "eta")
		variant := rapid.SampledFrom([]HyperbandVariant{PaperBrackets, HpBandSterBrackets, SyneTuneBrackets}).Draw(t, "variant")
		table := variant.Brackets(maxEpochs, minEpochs, eta)
		for i, b := range table {
			if len(b.Rungs) != len(table)-i {
				t.Fatalf("bracket %d of %d has %d rungs", i, len(table), len(b.Rungs))
			}
			for j, r := range b.Rungs {
				if r.Resource < float64(minEpochs) || r.Epoch < minEpochs || r.Epoch > maxEpochs || r.N < 1 {
					t.Fatalf("bracket %d, rung %d: %+v", i, j, r)
				}
				if j == 0 {
					continue
				}
				last := b.Rungs[j-1]
				if r.Epoch <= last.Epoch || r.N > last.N {
					t.Fatalf("bracket %d: %+v follows %+v", i, r, last)
				}
				ratio := r.Resource / last.Resource
				if exact := math.Abs(ratio-float64(eta)) < 1e-9; !exact && (variant != SyneTuneBrackets || r.Epoch != maxEpochs) {
					t.Fatalf("bracket %d: resources %v and %v, eta %d", i, last.Resource, r.Resource, eta)
				}
			}
			if end := b.Rungs[len(b.Rungs)-1]; end.Epoch != maxEpochs {
				t.Fatalf("bracket %d ends at epoch %d", i, end.Epoch)
			}
		}
		if first := table[0].Rungs[0].Resource; variant != SyneTuneBrackets && first >= float64(minEpochs*eta) {
			t.Fatalf("the first rung is %v: one more would have fitted above %d", first, minEpochs)
		}
	})
}

// TestHyperbandTrainsItsTable runs each variant on a pool of exactly one round
// and a half and compares what it trains, rung by rung, with its table.
func TestHyperbandTrainsItsTable(t *testing.T) {
	for _, variant := range []HyperbandVariant{PaperBrackets, HpBandSterBrackets, SyneTuneBrackets} {
		for _, maxEpochs := range []int{9, 27, 50} {
			table := variant.Brackets(maxEpochs, 1, 3)
			var want []Rung
			pool := 0
			for _, b := range append(table, table[0]) {
				pool += b.Rungs[0].N
				want = append(want, b.Rungs...)
			}
			o, err := NewHyperband(problem(pool, maxEpochs), Hyperband{Variant: variant})
			if err != nil {
				t.Fatal(err)
			}
			score := curves(func(candidate, epoch int) float64 { return float64(candidate*epoch%17) / 17 })
			proposals := score.run(t, o, maxEpochs)
			for i, r := range want {
				for range r.N {
					if len(proposals) == 0 {
						t.Fatalf("variant %d, R=%d: nothing left at rung %d, %+v", variant, maxEpochs, i, r)
					}
					if proposals[0].Epoch != r.Epoch {
						t.Fatalf("variant %d, R=%d, rung %d, %+v: proposal to epoch %d", variant, maxEpochs, i, r, proposals[0].Epoch)
					}
					proposals = proposals[1:]
				}
			}
			if len(proposals) > 0 {
				t.Errorf("variant %d, R=%d: %d proposals more than the table", variant, maxEpochs, len(proposals))
			}
		}
	}
}

// TestSurvivorsContinueInTheOrderOfTheSource: syne-tune trains the best first,
// HpBandSter keeps the order in which they were drawn.
func TestSurvivorsContinueInTheOrderOfTheSource(t *testing.T) {
	scores := []float64{0.1, 0.7, 0.2, 0.8, 0.3, 0.9, 0, 0, 0} // by trial, at epoch 1
	for _, c := range []struct {
		variant HyperbandVariant
		want    []int
	}{
		{PaperBrackets, []int{5, 3, 1}},
		{HpBandSterBrackets, []int{1, 3, 5}},
		{SyneTuneBrackets, []int{5, 3, 1}},
	} {
		o, err := NewHyperband(problem(100, 9), Hyperband{Variant: c.variant})
		if err != nil {
			t.Fatal(err)
		}
		for trial, score := range scores {
			p := ask(t, o)
			if p.Trial != trial || p.Epoch != 1 {
				t.Fatalf("variant %d: proposal %+v; want trial %d to epoch 1", c.variant, p, trial)
			}
			o.Tell(told(p, score))
		}
		for _, trial := range c.want {
			p := ask(t, o)
			if p.Trial != trial || p.Epoch != 3 {
				t.Fatalf("variant %d: proposal %+v; want trial %d to epoch 3", c.variant, p, trial)
			}
			o.Tell(told(p, 1))
		}
	}
}

// TestIdleWorkersBeginTheNextBracket: while the last trial of a rung runs,
// another worker gets the first candidate of the next bracket, and the older
// bracket goes first once its rung is complete.
func TestIdleWorkersBeginTheNextBracket(t *testing.T) {
	o, err := NewHyperband(problem(14, 9), Hyperband{})
	if err != nil {
		t.Fatal(err)
	}
	// Brackets of R=9: 9@1,3@3,1@9 / 5@3,1@9 / 3@9.
	var last search.Proposal
	for i := range 9 {
		last = ask(t, o)
		if i < 8 {
			o.Tell(told(last, float64(i)))
		}
	}
	ahead := ask(t, o)
	if ahead.Trial != 9 || ahead.Epoch != 3 {
		t.Fatalf("while a rung waits: %+v; want trial 9 to epoch 3, the second bracket's", ahead)
	}
	o.Tell(told(last, 100))
	if p := ask(t, o); p.Trial != 8 || p.Epoch != 3 {
		t.Fatalf("when the rung is complete: %+v; want trial 8, its best, to epoch 3", p)
	}
}
