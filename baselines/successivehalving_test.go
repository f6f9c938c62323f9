package baselines

import (
	"math"
	"slices"
	"testing"

	"quicktune/search"
)

func TestSuccessiveHalvingBrackets(t *testing.T) {
	for _, c := range []struct {
		maxEpochs int
		settings  SuccessiveHalving
		want      string
	}{
		{50, SuccessiveHalving{}, "81@1,27@3,9@9,3@27,1@50"},
		{81, SuccessiveHalving{}, "81@1,27@3,9@9,3@27,1@81"},
		{50, SuccessiveHalving{Eta: 4, MinEpochs: 2}, "64@2,16@8,4@32,1@50"},
		{50, SuccessiveHalving{Candidates: 100}, "100@1,33@3,11@9,3@27,1@50"},
		{50, SuccessiveHalving{Candidates: 5}, "5@1,1@3,1@9,1@27,1@50"},
		{1, SuccessiveHalving{}, "1@1"},
	} {
		if got := format([]Bracket{c.settings.Bracket(c.maxEpochs)}); got != c.want {
			t.Errorf("%+v, R=%d: %s; want %s", c.settings, c.maxEpochs, got, c.want)
		}
	}
}

// halving starts one bracket of nine candidates and nine epochs: 9@1,3@3,1@9.
func halving(t *testing.T) (search.Optimizer, []search.Proposal) {
	t.Helper()
	p := problem(9, 9)
	p.Workers = 9
	o, err := NewSuccessiveHalving(p, SuccessiveHalving{})
	if err != nil {
		t.Fatal(err)
	}
	var first []search.Proposal
	for i := range 9 {
		first = append(first, ask(t, o))
		if first[i].Trial != i || first[i].Epoch != 1 {
			t.Fatalf("proposal %+v; want trial %d to epoch 1", first[i], i)
		}
	}
	if _, status := o.Ask(); status != search.Wait {
		t.Fatalf("status %d with the whole rung outstanding and the pool empty; want Wait", status)
	}
	return o, first
}

// wantNext asks for the next proposals and compares their trials and epoch.
func wantNext(t *testing.T, o search.Optimizer, epoch int, trials ...int) []search.Proposal {
	t.Helper()
	var all []search.Proposal
	for _, trial := range trials {
		p := ask(t, o)
		if p.Trial != trial || p.Epoch != epoch {
			t.Fatalf("proposal %+v; want trial %d to epoch %d", p, trial, epoch)
		}
		all = append(all, p)
	}
	return all
}

func wantStatus(t *testing.T, o search.Optimizer, want search.Status) {
	t.Helper()
	if p, status := o.Ask(); status != want {
		t.Fatalf("proposal %+v, status %d; want status %d", p, status, want)
	}
}

func TestSuccessiveHalvingKeepsTheBest(t *testing.T) {
	o, first := halving(t)
	for i, score := range []float64{3, 1, 4, 1, 5, 9, 2, 6, 5} {
		o.Tell(told(first[i], score))
	}
	// 9 and 6 are trials 5 and 7; of the two 5s, trial 4 came first.
	second := wantNext(t, o, 3, 5, 7, 4)
	wantStatus(t, o, search.Wait)
	o.Tell(told(second[2], 30))
	o.Tell(told(second[0], 10))
	wantStatus(t, o, search.Wait)
	o.Tell(told(second[1], 20))
	third := wantNext(t, o, 9, 4)
	wantStatus(t, o, search.Wait)
	last := told(third[0], 1)
	last.End = search.Completed
	o.Tell(last)
	wantStatus(t, o, search.Done)
	wantStatus(t, o, search.Done)
}

func TestTheRungCountsAndNotTheBestEpoch(t *testing.T) {
	o, first := halving(t)
	for i := range first {
		o.Tell(told(first[i], float64(i)))
	}
	second := wantNext(t, o, 3, 8, 7, 6)
	for i, p := range second {
		o.Tell(search.Report{Trial: p.Trial, Candidate: p.Candidate, Epoch: 2, Score: float64(100 - i)})
		o.Tell(told(p, float64(i))) // trial 6 is best at epoch 3, though worst at 2
	}
	wantNext(t, o, 9, 6)
}

func TestTiedTrialsKeepTheirOrder(t *testing.T) {
	o, first := halving(t)
	for _, i := range []int{8, 7, 6, 5, 4, 3, 2, 1, 0} {
		o.Tell(told(first[i], 0.5))
	}
	wantNext(t, o, 3, 0, 1, 2)
}

func TestFailedAndNaNTrialsAreNeverContinued(t *testing.T) {
	o, first := halving(t)
	for i, p := range first {
		switch {
		case i == 4:
			o.Tell(told(p, -1e300))
		case i == 6:
			o.Tell(told(p, math.Inf(-1)))
		case i%2 == 0:
			o.Tell(failed(p))
		default:
			o.Tell(told(p, math.NaN()))
		}
	}
	p := wantNext(t, o, 3, 4) // the other two places stay empty
	wantStatus(t, o, search.Wait)
	o.Tell(failed(p[0]))
	wantStatus(t, o, search.Done)
}

func TestATrialThatFailsLateIsWorst(t *testing.T) {
	o, first := halving(t)
	for i := range first {
		o.Tell(told(first[i], float64(i)))
	}
	second := wantNext(t, o, 3, 8, 7, 6)
	r := told(second[0], 1000) // a good epoch, but no model is left of it
	r.End = search.Failed
	o.Tell(r)
	o.Tell(told(second[1], 1))
	o.Tell(told(second[2], 2))
	wantNext(t, o, 9, 6)
}

// TestAnEarlyEndKeepsItsPlace: a curve that completed before the rung competes
// with its last score, at no cost.
func TestAnEarlyEndKeepsItsPlace(t *testing.T) {
	o, first := halving(t)
	for i, p := range first {
		r := told(p, float64(i))
		if i == 8 {
			r.End = search.Completed
		}
		o.Tell(r)
	}
	// Trial 8 takes one of the three places without being trained.
	second := wantNext(t, o, 3, 7, 6)
	wantStatus(t, o, search.Wait)
	o.Tell(told(second[0], 7.5))
	// Trial 6 turns out to have ended with its first epoch.
	r := told(second[1], math.NaN())
	r.Epoch, r.End = 1, search.Completed
	o.Tell(r)
	// At the rung trials 8, 7, 6 have 8, 7.5 and 6: trial 8 wins, and is done.
	wantStatus(t, o, search.Done)
}

// TestASmallPoolShortensTheBracket: 20 of the 81 candidates are there, so the
// rungs of 27, 9, 3 and 1 hold floor(20/3), floor(20/9), and one.
func TestASmallPoolShortensTheBracket(t *testing.T) {
	o, err := NewSuccessiveHalving(problem(20, 81), SuccessiveHalving{})
	if err != nil {
		t.Fatal(err)
	}
	score := curves(func(candidate, _ int) float64 { return float64(candidate) })
	var epochs []int
	for _, p := range score.run(t, o, 81) {
		epochs = append(epochs, p.Epoch)
	}
	want := slices.Concat(slices.Repeat([]int{1}, 20), slices.Repeat([]int{3}, 6), []int{9, 9, 27, 81})
	if !slices.Equal(epochs, want) {
		t.Errorf("epochs %v; want %v", epochs, want)
	}
}

// TestBracketsRepeatUntilThePoolIsEmpty: 9 + 9 + 2 candidates.
func TestBracketsRepeatUntilThePoolIsEmpty(t *testing.T) {
	o, err := NewSuccessiveHalving(problem(20, 9), SuccessiveHalving{})
	if err != nil {
		t.Fatal(err)
	}
	score := curves(func(candidate, _ int) float64 { return float64(candidate) })
	var epochs []int
	for _, p := range score.run(t, o, 9) {
		epochs = append(epochs, p.Epoch)
	}
	bracket := []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 3, 9}
	want := slices.Concat(bracket, bracket, []int{1, 1, 3, 9})
	if !slices.Equal(epochs, want) {
		t.Errorf("epochs %v; want %v", epochs, want)
	}
}
