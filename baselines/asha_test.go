package baselines

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"quicktune/search"
)

// newASHA has plenty of candidates and 27 epochs: rungs 1, 3, 9.
func newASHA(t *testing.T, s ASHA) search.Optimizer {
	t.Helper()
	o, err := NewASHA(problem(100, 27), s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// step asks, wants the given trial and epoch, and tells the score.
func step(t *testing.T, o search.Optimizer, trial, epoch int, score float64) {
	t.Helper()
	p := wantNext(t, o, epoch, trial)[0]
	o.Tell(told(p, score))
}

func TestRungLevels(t *testing.T) {
	for _, c := range []struct {
		settings ASHA
		epochs   int
		want     []int
	}{
		{ASHA{}, 50, []int{1, 3, 9, 27}},
		{ASHA{}, 81, []int{1, 3, 9, 27}},
		{ASHA{Eta: 4, MinEpochs: 2}, 50, []int{2, 8, 32}},
		{ASHA{MaxEpochs: 10}, 50, []int{1, 3, 9}},
		{ASHA{}, 1, nil},
	} {
		o, err := NewASHA(problem(1, c.epochs), c.settings)
		if err != nil {
			t.Fatal(err)
		}
		a := o.(*asynchronous)
		if len(a.rungs) != len(c.want) {
			t.Fatalf("%+v, %d epochs: %d rungs; want %v", c.settings, c.epochs, len(a.rungs), c.want)
		}
		for i, r := range a.rungs {
			if r.epoch != c.want[i] {
				t.Errorf("%+v, %d epochs: rung %d at epoch %d; want %d", c.settings, c.epochs, i, r.epoch, c.want[i])
			}
		}
	}
}

// TestPromotionByTopFraction: with eta 3 the first rung promotes one of three,
// two of six; a promotion from a higher rung goes first.
func TestPromotionByTopFraction(t *testing.T) {
	o := newASHA(t, ASHA{})
	step(t, o, 0, 1, 0.5)
	step(t, o, 1, 1, 0.6) // 2 at the rung: floor(2/3) = 0
	step(t, o, 2, 1, 0.4) // 3: the best is trial 1
	step(t, o, 1, 3, 0.6) // and 1 at rung 3: none
	step(t, o, 3, 1, 0.9) // 4: floor is 1, the top is trial 3, not yet promoted
	step(t, o, 3, 3, 0.3)
	step(t, o, 4, 1, 0.1) // 5: trial 3 is the only one, promoted already
	step(t, o, 5, 1, 0.2) // 6: trials 3 and 1, both promoted already
	step(t, o, 6, 1, 0.7) // 7: the top two are now 3 and 6
	step(t, o, 6, 3, 0.2) // 3 at rung 3: 1, 3, 6 with 0.6, 0.3, 0.2
	step(t, o, 1, 9, 0.6)
	step(t, o, 7, 1, 0.65) // 8: floor 2
	step(t, o, 8, 1, 0.0)  // 9: floor 3, the third is trial 7
	step(t, o, 7, 3, 0.1)
}

// TestPromotionByQuantile is the same beginning under syne-tune's rule. The
// quantile with share 1/3 lies at (n-1)/3 from the best.
func TestPromotionByQuantile(t *testing.T) {
	o := newASHA(t, ASHA{Rule: Quantile})
	step(t, o, 0, 1, 0.5) // 1 at the rung: no quantile
	step(t, o, 1, 1, 0.6) // 2: 0.6 - 0.1/3 = 0.567: trial 1 reaches it
	step(t, o, 1, 3, 0.6)
	step(t, o, 2, 1, 0.4)  // 3: 0.6 - 0.1*2/3 = 0.533: only trial 1, promoted already
	step(t, o, 3, 1, 0.5)  // 4: 0.6, 0.5, 0.5, 0.4: exactly 0.5, trial 0 came first
	step(t, o, 0, 3, 0.7)  // 2 at rung 3: 0.7 - 0.1/3: trial 0 reaches it
	step(t, o, 0, 9, 0.1)  // one at rung 9
	step(t, o, 3, 3, 0.65) // trial 3 is at the quantile as well; at rung 3 then
	// 0.7, 0.65, 0.6: 0.7 - 0.05*2/3 = 0.667, reached by trial 0 alone.
	step(t, o, 4, 1, 0.0)
}

// TestTheRulesDifferForTwoTrials: floor(2/3) promotes none, the quantile the
// better one.
func TestTheRulesDifferForTwoTrials(t *testing.T) {
	for _, c := range []struct {
		rule         ASHARule
		trial, epoch int
	}{
		{TopFraction, 2, 1},
		{Quantile, 1, 3},
	} {
		o := newASHA(t, ASHA{Rule: c.rule})
		step(t, o, 0, 1, 0.2)
		step(t, o, 1, 1, 0.3)
		wantNext(t, o, c.epoch, c.trial)
	}
}

// TestStoppingByTopFraction: a trial goes on if it is among the best
// max(1, floor(n/3)) that reached the rung, itself included.
func TestStoppingByTopFraction(t *testing.T) {
	o := newASHA(t, ASHA{Type: Stopping})
	step(t, o, 0, 1, 0.5) // the first goes on
	step(t, o, 0, 3, 0.5)
	step(t, o, 0, 9, 0.5)
	step(t, o, 0, 27, 0.5)
	step(t, o, 1, 1, 0.4) // worse than the best of 2: stopped
	step(t, o, 2, 1, 0.5) // equals the best of 3: goes on
	step(t, o, 2, 3, 0.4) // 2 at rung 3, not the best: stopped
	step(t, o, 3, 1, 0.3)
	step(t, o, 4, 1, 0.3)
	step(t, o, 5, 1, 0.45) // 6: the second best is 0.5
	step(t, o, 6, 1, 0.6)  // 7: among the two best
	step(t, o, 6, 3, 0.6)
	step(t, o, 6, 9, 0.1)
	step(t, o, 7, 1, 0.5) // 8: the second best is 0.5, a tie goes on
	step(t, o, 7, 3, 0.0)
	step(t, o, 8, 1, 0.5)
}

// TestStoppingByQuantile: the same rule as for promotion, decided on arrival.
func TestStoppingByQuantile(t *testing.T) {
	o := newASHA(t, ASHA{Type: Stopping, Rule: Quantile})
	step(t, o, 0, 1, 0.5)
	step(t, o, 0, 3, 0.5)
	step(t, o, 0, 9, 0.5)
	step(t, o, 0, 27, 0.5)
	step(t, o, 1, 1, 0.6) // 0.567: goes on
	step(t, o, 1, 3, 0.4) // stopped: 0.5 - 0.1/3 = 0.467
	step(t, o, 2, 1, 0.5) // 0.6, 0.5, 0.5: 0.533: stopped
	step(t, o, 3, 1, 0.5) // 0.6, 0.5, 0.5, 0.5: 0.5: goes on
	step(t, o, 3, 3, 0.1)
	step(t, o, 4, 1, 0.5)
}

func TestEqualScoresArePromotedInTheOrderOfArrival(t *testing.T) {
	o := newASHA(t, ASHA{})
	for trial := range 3 {
		step(t, o, trial, 1, 0.5)
	}
	step(t, o, 0, 3, 0.5) // only one of three, though all are equal
	for trial := range 3 {
		step(t, o, 3+trial, 1, 0.5)
	}
	step(t, o, 1, 3, 0.5)
}

func TestNaNIsNeverGoodEnough(t *testing.T) {
	nan := math.NaN()
	for _, rule := range []ASHARule{TopFraction, Quantile} {
		o := newASHA(t, ASHA{Rule: rule})
		for trial := range 6 {
			step(t, o, trial, 1, nan)
		}
		// The seventh is the only number, with six below it: the best of
		// floor(7/3) = 2, and above a quantile that has no lower end.
		step(t, o, 6, 1, 0.1)
		step(t, o, 6, 3, nan)
		step(t, o, 7, 1, nan)

		o = newASHA(t, ASHA{Type: Stopping, Rule: rule})
		step(t, o, 0, 1, nan)
		step(t, o, 1, 1, 0.1)
		step(t, o, 1, 3, nan)
		step(t, o, 2, 1, nan)
	}
}

// TestAnEndedCurveMovesUpWithoutAWorker: trial 1 completes with its first
// epoch. It is promoted as the best, which costs nothing, and at rung 3 it
// competes with its only score.
func TestAnEndedCurveMovesUpWithoutAWorker(t *testing.T) {
	o := newASHA(t, ASHA{Rule: Quantile})
	step(t, o, 0, 1, 0.5)
	p := wantNext(t, o, 1, 1)[0]
	r := told(p, 0.6)
	r.End = search.Completed
	o.Tell(r)
	step(t, o, 2, 1, 0.7) // trial 1 has moved on; 0.7, 0.6, 0.5: 0.633: trial 2
	step(t, o, 2, 3, 0.55)
	// Rung 3 has 0.6 of trial 1 and 0.55: trial 1 moves on to rung 9, and
	// trial 2 stays. Rung 9 has one entry.
	step(t, o, 3, 1, 0)
	a := o.(*asynchronous)
	if n := len(a.rungs[2].reached); n != 1 || a.rungs[2].reached[0].trial != 1 {
		t.Errorf("rung 9 has %+v; want trial 1 alone", a.rungs[2].reached)
	}
}

// TestAnEndedCurveIsComparedAtLaterRungs: with stopping, a curve that completed
// early sets the mark for those that come after it.
func TestAnEndedCurveIsComparedAtLaterRungs(t *testing.T) {
	o := newASHA(t, ASHA{Type: Stopping})
	p := wantNext(t, o, 1, 0)[0]
	r := told(p, 0.6)
	r.End = search.Completed
	o.Tell(r)
	step(t, o, 1, 1, 0.7)
	step(t, o, 1, 3, 0.55) // below the 0.6 of trial 0: stopped
	step(t, o, 2, 1, 0.8)
	step(t, o, 2, 3, 0.6) // equals it: goes on
	step(t, o, 2, 9, 0.5) // below the 0.6 of trial 0 there, too
	step(t, o, 3, 1, 0)
}

func TestFailedTrialsCountAtTheirRung(t *testing.T) {
	o := newASHA(t, ASHA{})
	step(t, o, 0, 1, 0.5)
	for trial := 1; trial <= 2; trial++ {
		p := wantNext(t, o, 1, trial)[0]
		o.Tell(failed(p))
	}
	step(t, o, 0, 3, 0.5) // the best of three, two of which failed
}

// TestBracketsSkipRungs: with 3 brackets and 27 epochs, new trials begin at
// epoch 1, 3 or 9 with shares 1/(4*1), 1/(3*3) and 1/(2*9) of 15/36.
func TestBracketsSkipRungs(t *testing.T) {
	p := problem(20000, 27)
	o, err := NewASHA(p, ASHA{Type: Stopping, Brackets: 3})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[int]int{}
	for range p.Candidates {
		counts[ask(t, o).Epoch]++
	}
	for epoch, share := range map[int]float64{1: 9.0 / 15, 3: 4.0 / 15, 9: 2.0 / 15} {
		want := share * 20000
		if tolerance := 5 * math.Sqrt(want*(1-share)); math.Abs(float64(counts[epoch])-want) > tolerance {
			t.Errorf("%d of 20000 trials begin at epoch %d; want %.0f +- %.0f", counts[epoch], epoch, want, tolerance)
		}
	}
}

// TestDecisionsEqualSyneTune replays decisions that syne-tune 0.13.0 took;
// testdata/synetune_rungs.py made them.
func TestDecisionsEqualSyneTune(t *testing.T) {
	data, err := os.ReadFile("testdata/synetune_rungs.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Eta                 int
		Levels              []int
		Scores              [][]float64
		Promotion, Stopping [][2]int
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) != 6 {
		t.Fatalf("%d cases; want 6", len(cases))
	}
	for i, c := range cases {
		maxEpochs := c.Levels[len(c.Levels)-1]
		for kind, want := range map[ASHAType][][2]int{Promotion: c.Promotion, Stopping: c.Stopping} {
			o, err := NewASHA(problem(len(c.Scores), maxEpochs), ASHA{Type: kind, Rule: Quantile, Eta: c.Eta})
			if err != nil {
				t.Fatal(err)
			}
			for n, step := range want {
				p := ask(t, o)
				if p.Trial != step[0] || p.Epoch != step[1] {
					t.Fatalf("case %d, type %d, step %d: trial %d to epoch %d; syne-tune: trial %d to epoch %d", i, kind, n, p.Trial, p.Epoch, step[0], step[1])
				}
				for level, epoch := range c.Levels {
					if epoch == p.Epoch {
						r := told(p, c.Scores[p.Trial][level])
						if epoch == maxEpochs {
							r.End = search.Completed
						}
						o.Tell(r)
					}
				}
			}
			wantStatus(t, o, search.Done)
		}
	}
}
