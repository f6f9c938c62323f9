package baselines

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"quicktune/internal/stream"
	"quicktune/search"
	"quicktune/space"
)

// oracleSpace is the search space of scripts/oracles/optuna_methods.py.
func oracleSpace(t testing.TB) *space.Space {
	t.Helper()
	s, err := space.New("oracle", []space.Hyperparameter{
		{Name: "model", Type: space.Categorical, Choices: []space.Value{space.String("small"), space.String("wide"), space.String("deep")}},
		{Name: "lr", Type: space.Real, Lower: 1e-5, Upper: 1e-1, Log: true},
		{Name: "dropout", Type: space.Real, Lower: 0, Upper: 0.8},
		{Name: "momentum", Type: space.Ordinal, Choices: []space.Value{space.Float(0), space.Float(0.9), space.Float(0.99)}},
		{Name: "batch", Type: space.Integer, Lower: 4, Upper: 64, Log: true},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// oracleConfig is the configuration at coordinates.
func oracleConfig(s *space.Space, x []float64) space.Config {
	return space.Config{
		s.Param(0).Choices[int(x[0])], space.Float(x[1]), space.Float(x[2]), s.Param(3).Choices[int(x[3])], space.Int(int64(x[4])),
	}
}

// TestTPEHasOptunasDensities tells finished trials and leaves others running,
// and compares the split and both densities.
func TestTPEHasOptunasDensities(t *testing.T) {
	var golden []struct {
		Trials [][]float64
		Values []float64
		Below  []int
		Points [][]float64
		Good   []float64 `json:"log_good"`
		Bad    []float64 `json:"log_bad"`
	}
	readGolden(t, "optuna_tpe.json", &golden)
	s := oracleSpace(t)
	for _, c := range golden {
		p := search.Problem{Space: s, MaxEpochs: 1, Workers: 4}
		for _, x := range slices.Concat(c.Trials, c.Points) {
			p.Candidates = append(p.Candidates, oracleConfig(s, x))
		}
		o, err := NewTPE(p, TPE{})
		if err != nil {
			t.Fatal(err)
		}
		m := o.(*tpe)
		for i := range c.Trials {
			m.start(i, 1)
			if i < len(c.Values) {
				m.Tell(search.Report{Trial: i, Candidate: i, Epoch: 1, Score: c.Values[i], End: search.Completed, Proposed: true})
			}
		}
		good, bad := m.split()
		if !slices.Equal(good, c.Below) {
			t.Fatalf("%d trials: good %v; want %v", len(c.Values), good, c.Below)
		}
		joint := OptunaTPE.joint(m.points, good, bad)
		l, g := newParzen(m.points, OptunaTPE, joint, good, m.forms[0]), newParzen(m.points, OptunaTPE, joint, bad, m.forms[1])
		for i := range c.Points {
			row := len(c.Trials) + i
			if got, want := l.at(row), c.Good[i]; !near(got, want, 1e-9) {
				t.Errorf("%d trials, point %d: log density of the good %.12g; want %.12g", len(c.Values), i, got, want)
			}
			if got, want := g.at(row), c.Bad[i]; !near(got, want, 1e-9) {
				t.Errorf("%d trials, point %d: log density of the others %.12g; want %.12g", len(c.Values), i, got, want)
			}
		}
	}
}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance*max(1, math.Abs(b)) }

func TestTPEHasHyperoptsDensities(t *testing.T) {
	var golden []struct {
		Axis struct {
			Choices            int
			Lower, Upper, Step float64
			Log                bool
		}
		Observed []float64
		Mixture  struct{ Weights, Means, Widths []float64 }
		Levels   []float64
		Logs     []float64
	}
	readGolden(t, "hyperopt_tpe.json", &golden)
	if len(golden) < 20 {
		t.Fatalf("%d cases", len(golden))
	}
	for i, c := range golden {
		a := axis{choices: c.Axis.Choices, lower: c.Axis.Lower, upper: c.Axis.Upper, step: c.Axis.Step, log: c.Axis.Log}
		if a.choices == 0 {
			values := make([]float64, len(c.Observed))
			for j, v := range c.Observed {
				values[j] = a.scaled(v)
			}
			m := hyperoptMixture(values, ascending(values), (a.low()+a.high())/2, a.high()-a.low())
			for j := range c.Mixture.Means {
				if !near(m.means[j], c.Mixture.Means[j], 1e-12) || !near(m.weights[j], c.Mixture.Weights[j], 1e-12) || !near(m.widths[j], c.Mixture.Widths[j], 1e-12) {
					t.Errorf("case %d, kernel %d: %g %g %g; want %g %g %g", i, j, m.weights[j], m.means[j], m.widths[j],
						c.Mixture.Weights[j], c.Mixture.Means[j], c.Mixture.Widths[j])
				}
			}
		}
		density := hyperoptDensity(a, c.Observed, ascending(c.Observed))
		for j, level := range c.Levels {
			if got := density(level); !near(got, c.Logs[j], 1e-9) {
				t.Errorf("case %d, %d observations, level %g: %.12g; want %.12g", i, len(c.Observed), level, got, c.Logs[j])
			}
		}
	}
}

func ascending(values []float64) []int {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	return order
}

// What is kept from one proposal to the next never shows.
func TestTPEForgetsNothingAndKeepsNothingTooLong(t *testing.T) {
	for _, rules := range []TPERules{OptunaTPE, HyperoptTPE} {
		p := encodedProblem(400, 1)
		o, err := NewTPE(p, TPE{Rules: rules})
		if err != nil {
			t.Fatal(err)
		}
		m := o.(*tpe)
		for range 300 {
			good, bad := m.split()
			choice, status := o.Ask()
			if status != search.Ready {
				t.Fatal(status)
			}
			if m.joint != nil {
				joint := rules.joint(m.points, good, bad)
				fresh := newParzen(m.points, rules, joint, good, newForms(m.points))
				for _, c := range m.pool.left {
					if want := fresh.at(int(c)); m.logs[c] != want {
						t.Fatalf("after %d trials: log density of the good %v, from scratch %v", len(m.trials), m.logs[c], want)
					}
				}
				a, b := newParzen(m.points, rules, joint, bad, m.forms[1]), newParzen(m.points, rules, joint, bad, newForms(m.points))
				if x, y := a.at(choice.Candidate), b.at(choice.Candidate); x != y {
					t.Fatalf("after %d trials: log density of the others %v, from scratch %v", len(m.trials), x, y)
				}
			}
			o.Tell(search.Report{
				Trial: choice.Trial, Candidate: choice.Candidate, Epoch: 1, Score: float64(choice.Candidate*7919%1009) / 1009, Seconds: 1,
				End: search.Completed, Proposed: true,
			})
		}
	}
}

func TestTPEPrefersWhatWasGood(t *testing.T) {
	for _, name := range []string{"tpe", "tpe-hyperopt"} {
		p := encodedProblem(400, 1)
		rate := p.Space.Index("lr")
		score := func(c int) float64 { return -math.Abs(math.Log10(p.Candidates[c][rate].Num()) + 3) }
		m, err := New(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		o, err := m.New(p)
		if err != nil {
			t.Fatal(err)
		}
		first, later := 0.0, 0.0
		for i := range 80 {
			proposal := ask(t, o)
			r := told(proposal, score(proposal.Candidate))
			r.End = search.Completed
			o.Tell(r)
			if i < 10 {
				first += r.Score / 10
			} else if i >= 40 {
				later += r.Score / 40
			}
		}
		if !(later > 0.7*first) {
			t.Errorf("%s: mean distance to the optimum %.3f at random and %.3f later", name, -first, -later)
		}
	}
}

// TestNormalMasses compares with values of scipy.special.log_ndtr and of
// optuna's _log_gauss_mass.
func TestNormalMasses(t *testing.T) {
	for _, c := range []struct{ x, want float64 }{
		{0, -0.6931471805599453},
		{-5, -15.064998393988725},
		{-29.9, -451.3229124585287},
		{-40, -804.6084420137538},
		{-100, -5005.524208694205},
	} {
		if got := logNormalCDF(c.x); !near(got, c.want, 1e-12) {
			t.Errorf("log CDF at %g: %.17g; want %.17g", c.x, got, c.want)
		}
	}
	// Symmetric, additive, and whole.
	if got := logNormalMass(3, 4) - logNormalMass(-4, -3); got != 0 {
		t.Errorf("masses of [3, 4] and [-4, -3] differ by %g", got)
	}
	sum := math.Exp(logNormalMass(-2, 0.5)) + math.Exp(logNormalMass(0.5, 3))
	if whole := math.Exp(logNormalMass(-2, 3)); !near(sum, whole, 1e-14) {
		t.Errorf("masses of [-2, 0.5] and [0.5, 3] are %g together; want %g", sum, whole)
	}
}

func TestDrawsFollowTheirWeights(t *testing.T) {
	d := newWeightedDraw([]float64{math.Log(1) - 900, math.Inf(-1), math.Log(3) - 900, math.Inf(-1)})
	rng := stream.New("baselines/test/draws", 0)
	var counts [4]int
	for range 4000 {
		counts[d.next(rng)]++
	}
	// Binomial(4000, 3/4) lies within 150 of 3000 but for one time in 10^7.
	if counts[1] != 0 || counts[3] != 0 || counts[2] < 2850 || counts[2] > 3150 {
		t.Errorf("counts %v", counts)
	}
}
