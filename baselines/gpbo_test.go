package baselines

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"testing"

	"quicktune/internal/gp"
	"quicktune/internal/nn"
	"quicktune/internal/stream"
	"quicktune/search"
)

// The priors are syne-tune's, from the file that holds its likelihoods.
func TestPriorsAreThoseOfSyneTune(t *testing.T) {
	data, err := os.ReadFile("../internal/gp/testdata/matern.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Parameters []float64
		Prior      float64
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) == 0 {
		t.Fatal(len(cases), err)
	}
	for _, c := range cases {
		p := c.Parameters
		got, _ := priorOf(gp.MaternParameters{Mean: p[0], Noise: p[1], Scale: p[2], Inverse: p[3:]})
		if !agree(got, c.Prior, 1e-12) {
			t.Errorf("prior of %v is %v; want %v", p[:3], got, c.Prior)
		}
	}
}

func TestGradientOfLikelihoodWithPriors(t *testing.T) {
	rng := stream.New("test/gp-bo", 1)
	const n, d = 8, 3
	x, y := nn.NewMatrix(n, d), make([]float64, n)
	for i := range x.Data {
		x.Data[i] = rng.Float64()
	}
	for i := range y {
		y[i] = rng.NormFloat64()
	}
	value := []float64{0.2, math.Log(0.01), 0.3, -0.5, 0.4, 0.1}
	grad := make([]float64, len(value))
	var m maternModel
	loss := func() float64 {
		v, err := m.loss(grad, x, y, value)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	loss()
	if e := nn.CheckGradient(loss, value, grad, 0); !(e <= 1e-6) {
		t.Errorf("relative error %.1e", e)
	}
	// Beyond a bound there is no slope.
	value[1], value[4] = math.Log(1e-10), math.Log(1e3)
	loss()
	if grad[1] != 0 || grad[4] != 0 {
		t.Errorf("gradient beyond the bounds: %v", grad)
	}
}

// peaked is a score with one peak, at a learning rate of 1e-3.
func peaked(p search.Problem) curves {
	rate := p.Space.Index("lr")
	return func(c, e int) float64 {
		d := (math.Log10(p.Candidates[c][rate].Num()) + 3) / 2
		return math.Exp(-d*d) * (1 - math.Exp(-0.4*float64(e)))
	}
}

// bestAfter runs a method for so many proposals and returns the best score, and
// the best of all candidates.
func bestAfter(t *testing.T, o search.Optimizer, p search.Problem, proposals int) (best, all float64) {
	t.Helper()
	score := peaked(p)
	for c := range p.Candidates {
		all = max(all, score(c, p.MaxEpochs))
	}
	reached := map[int]int{}
	for range proposals {
		q := ask(t, o)
		score.reply(o, q, reached[q.Trial], p.MaxEpochs)
		reached[q.Trial] = q.Epoch
		best = max(best, score(q.Candidate, q.Epoch))
	}
	return best, all
}

// A smooth function of one hyperparameter is no challenge for either
// acquisition, but is for 15 random candidates of 300.
func TestGPBOFindsAPeak(t *testing.T) {
	for _, a := range []Acquisition{LogEI, EI} {
		p := encodedProblem(300, 5)
		o, err := NewGPBO(p, GPBO{Acquisition: a})
		if err != nil {
			t.Fatal(err)
		}
		if best, all := bestAfter(t, o, p, 15); best < 0.99*all {
			t.Errorf("acquisition %d: the best of 15 is %.4f; the best of all %.4f", a, best, all)
		}
	}
}

func TestBothAcquisitionsChooseAlikeWithOneWorker(t *testing.T) {
	p := encodedProblem(60, 5)
	var chosen [2][]search.Proposal
	for i, a := range []Acquisition{LogEI, EI} {
		o, err := NewGPBO(p, GPBO{Acquisition: a})
		if err != nil {
			t.Fatal(err)
		}
		score := peaked(p)
		for range 12 {
			q := ask(t, o)
			chosen[i] = append(chosen[i], q)
			score.reply(o, q, 0, p.MaxEpochs)
		}
	}
	for i := range chosen[0] {
		if chosen[0][i] != chosen[1][i] {
			t.Fatalf("proposal %d: %v and %v", i, chosen[0][i], chosen[1][i])
		}
	}
}

// A candidate next to one in training has nothing to add: the model believes its
// value known.
func TestCandidatesInTrainingAreAvoided(t *testing.T) {
	p := encodedProblem(4, 1)
	// Two pairs of equal candidates.
	p.Candidates[1], p.Candidates[3] = p.Candidates[0], p.Candidates[2]
	x, err := unitVectors(p)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(10) {
		p.Seed = seed
		o, err := NewGPBO(p, GPBO{Initial: 1})
		if err != nil {
			t.Fatal(err)
		}
		first := ask(t, o)
		o.Tell(told(first, 0.5))
		second, third := ask(t, o), ask(t, o)
		if x.Row(second.Candidate)[0] == x.Row(first.Candidate)[0] && first.Candidate/2 == second.Candidate/2 {
			t.Errorf("seed %d: after candidate %d it trains its copy %d", seed, first.Candidate, second.Candidate)
		}
		if third.Candidate == second.Candidate {
			t.Errorf("seed %d: candidate %d twice", seed, third.Candidate)
		}
	}
}

// A decision after a value that needs no fit must equal that of a process
// conditioned from scratch.
func TestTheProcessGrowsExactly(t *testing.T) {
	p := encodedProblem(40, 1)
	x, err := unitVectors(p)
	if err != nil {
		t.Fatal(err)
	}
	rng := stream.New("test/grow", 1)
	known, values := []int{}, []float64{}
	grown := maternModel{rng: rng, iterations: 20, starts: 1, exact: 10}
	for c := range 20 {
		known, values = append(known, c), append(values, rng.NormFloat64())
		if _, err := grown.update(known, values, len(known), func(c []int) nn.Matrix { return rowsOf(x, c) }, x); err != nil {
			t.Fatal(err)
		}
		y, _ := standardise(values)
		var fresh gp.Matern
		fresh.Reset(grown.parameters, x)
		if err := fresh.Extend(rowsOf(x, known), y, nil); err != nil {
			t.Fatal(err)
		}
		got, want, std, wantStd := make([]float64, 40), make([]float64, 40), make([]float64, 40), make([]float64, 40)
		grown.gp.Predict(got, std)
		fresh.Predict(want, wantStd)
		agreeAll(t, "mean after "+strconv.Itoa(c+1), got, want, 1e-9)
		agreeAll(t, "deviation after "+strconv.Itoa(c+1), std, wantStd, 1e-7)
	}
}

// timedDecisions is how many proposals a benchmark of decisions averages over.
const timedDecisions = 8

// benchmarkDecision measures the mean time of a method's next proposals with n
// whole curves known, of a pool of 2,000 candidates, telling their results
// included. scripts/compare_surrogates.py puts public implementations beside it.
func benchmarkDecision(b *testing.B, make func(search.Problem) (search.Optimizer, error)) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p := encodedProblem(2000, 1)
			score := peaked(p)
			for b.Loop() {
				b.StopTimer()
				o, err := make(p)
				if err != nil {
					b.Fatal(err)
				}
				w := wholeCurvesOf(o)
				for range n {
					q := w.start(w.draw())
					o.Tell(told(q, score(q.Candidate, 1)))
				}
				b.StartTimer()
				for range timedDecisions {
					q, _ := o.Ask()
					o.Tell(told(q, score(q.Candidate, 1)))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*timedDecisions), "ns/decision")
		})
	}
}

func BenchmarkGPBODecision(b *testing.B) {
	benchmarkDecision(b, func(p search.Problem) (search.Optimizer, error) { return NewGPBO(p, GPBO{}) })
}

func wholeCurvesOf(o search.Optimizer) *wholeCurves {
	switch o := o.(type) {
	case *gpbo:
		return &o.wholeCurves
	case *smac:
		return &o.wholeCurves
	}
	return nil
}
