package baselines

import (
	"math"
	"slices"
	"testing"

	"quicktune/search"
	"quicktune/space"
)

// gridProblem is the table of scripts/oracles/final_regrets.py: every point of
// its space is a row.
func gridProblem(t testing.TB, seed uint64) (search.Problem, func(c, epoch int) float64) {
	t.Helper()
	var choices []space.Value
	for i := range int64(6) {
		choices = append(choices, space.Int(i))
	}
	s, err := space.New("grid", []space.Hyperparameter{
		{Name: "a", Type: space.Integer, Lower: 0, Upper: 11},
		{Name: "b", Type: space.Integer, Lower: 0, Upper: 7},
		{Name: "c", Type: space.Categorical, Choices: choices},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := search.Problem{Space: s, MaxEpochs: 9, Workers: 1, Metric: search.Metric{Name: "val_accuracy", Bounded: true}, Seed: seed}
	for a := range int64(12) {
		for b := range int64(8) {
			for c := range int64(6) {
				p.Candidates = append(p.Candidates, space.Config{space.Int(a), space.Int(b), space.Int(c)})
			}
		}
	}
	factors := []float64{0.7, 0.5, 1.0, 0.6, 0.9, 0.8}
	return p, func(c, epoch int) float64 {
		x := p.Candidates[c]
		u, v := (x[0].Num()-8)/4, (x[1].Num()-2)/3
		return math.Exp(-u*u-v*v) * factors[int(x[2].Num())] * (1 - math.Exp(-float64(epoch)/3))
	}
}

// finalRegret is the normalised regret after a number of proposals.
func finalRegret(t testing.TB, m search.Method, seed uint64, proposals int) float64 {
	p, score := gridProblem(t, seed)
	o, err := m.New(p)
	if err != nil {
		t.Fatal(err)
	}
	reached := make(map[int]int)
	best := worst
	for range proposals {
		q, status := o.Ask()
		if status != search.Ready {
			t.Fatalf("%s: status %d", m.Name, status)
		}
		curves(score).reply(o, q, reached[q.Trial], p.MaxEpochs)
		reached[q.Trial] = q.Epoch
		best = max(best, score(q.Candidate, q.Epoch))
	}
	top, lowest := worst, math.Inf(1)
	for c := range p.Candidates {
		top, lowest = max(top, score(c, p.MaxEpochs)), min(lowest, score(c, 1))
	}
	return (top - best) / (top - lowest)
}

// TestFinalRegretsAreThoseOfThePublicImplementations compares 30 seeds of each
// side. A method passes if its mean regret is at most the margin above the
// public one's, unless the difference may be chance (two-sided Mann-Whitney,
// p >= .01). Ours never train a row twice, and so may be better.
func TestFinalRegretsAreThoseOfThePublicImplementations(t *testing.T) {
	const margin = 0.03
	var golden map[string][]float64
	readGolden(t, "final_regrets.json", &golden)
	for name, theirs := range golden {
		m, err := New(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		proposals := 100
		if m.Uses == (search.Uses{}) {
			proposals = 60
		}
		var ours []float64
		for seed := range theirs {
			ours = append(ours, finalRegret(t, m, uint64(seed), proposals))
		}
		p := mannWhitney(ours, theirs)
		t.Logf("%s: mean regret %.4f, public implementation %.4f, p = %.3f", name, average(ours), average(theirs), p)
		if average(ours) > average(theirs)+margin && p < 0.01 {
			t.Errorf("%s: mean regret %.4f; the public implementation has %.4f (p = %.4f)", name, average(ours), average(theirs), p)
		}
	}
	if len(golden) < 4 {
		t.Errorf("%d methods; want 4", len(golden))
	}
}

func average(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// mannWhitney is the two-sided p value of the rank-sum test by its normal
// approximation, corrected for ties.
func mannWhitney(x, y []float64) float64 {
	all := slices.Concat(x, y)
	slices.Sort(all)
	rank := make(map[float64]float64)
	ties := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j] == all[i] {
			j++
		}
		rank[all[i]] = float64(i+j+1) / 2
		n := float64(j - i)
		ties += n*n*n - n
		i = j
	}
	sum := 0.0
	for _, v := range x {
		sum += rank[v]
	}
	m, n := float64(len(x)), float64(len(y))
	u := sum - m*(m+1)/2
	variance := m * n / 12 * (m + n + 1 - ties/((m+n)*(m+n-1)))
	if variance == 0 {
		return 1
	}
	return math.Erfc(math.Abs(u-m*n/2) / math.Sqrt(2*variance))
}

// TestMannWhitney checks against scipy.stats.mannwhitneyu(x, y,
// method="asymptotic", use_continuity=False).
func TestMannWhitney(t *testing.T) {
	x, y := []float64{1, 2, 2, 5, 7}, []float64{2, 3, 8, 9, 9, 11}
	if got, want := mannWhitney(x, y), 0.06476897; !near(got, want, 1e-6) {
		t.Errorf("p = %.8f; want %.8f", got, want)
	}
}
