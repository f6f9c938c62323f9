package baselines

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"

	"quicktune/internal/gp"
	"quicktune/internal/nn"
	"quicktune/internal/stream"
	"quicktune/search"
)

// The covariance of a decay is the integral over rates of exp(-rate (t+u)) times
// the Gamma density with shape alpha and rate beta.
func TestDecayIsTheLaplaceTransformOfAGammaDensity(t *testing.T) {
	for _, d := range []decay{{alpha: 1.5, beta: 2, scale: 1}, {alpha: 3, beta: 0.5, scale: 2.5}, {alpha: 5.2, beta: 8, scale: 0.1}} {
		for _, sum := range []float64{2, 3, 20, 100} {
			norm, _ := math.Lgamma(d.alpha)
			// Simpson's rule in the square root of the rate, which makes the
			// integrand smooth at 0.
			const steps = 20000
			top := math.Sqrt(80 / (sum + d.beta))
			integral := 0.0
			for i := range steps + 1 {
				root := top * float64(i) / steps
				v := 0.0
				if root > 0 {
					rate := root * root
					v = 2 * root * math.Exp(d.alpha*math.Log(d.beta)-norm+(d.alpha-1)*math.Log(rate)-rate*(d.beta+sum))
				}
				weight := 2.0
				if i%2 == 1 {
					weight = 4
				}
				if i == 0 || i == steps {
					weight = 1
				}
				integral += weight * v
			}
			integral *= top / steps / 3 * d.scale
			if got := d.covariance(sum-1, 1); math.Abs(got-integral) > 1e-8*integral {
				t.Errorf("%+v at %v: %v; want %v", d, sum, got, integral)
			}
		}
	}
}

// freezeThawCase is three curves, one with a gap, of a model with 2 columns.
func freezeThawCase() (model freezeThawModel, x nn.Matrix, data []observedCurve) {
	rng := stream.New("test/freeze-thaw", 1)
	x = nn.NewMatrix(5, 2)
	for i := range x.Data {
		x.Data[i] = rng.Float64()
	}
	for _, epochs := range [][]float64{{1, 2, 3, 4}, {1}, {1, 3, 4}, {1, 2, 3, 4, 5, 6}} {
		c := observedCurve{epochs: epochs}
		for range epochs {
			c.scores = append(c.scores, rng.NormFloat64())
		}
		data = append(data, c)
	}
	model.decay = decay{alpha: 1.3, beta: 2.1, scale: 0.8, noise: 0.05}
	model.parameters = gp.MaternParameters{Mean: 0.3, Scale: 1.2, Inverse: []float64{0.9, 1.6}}
	return model, x, data
}

// The likelihood and the posterior by curves are those of one normal
// distribution over all scores and asymptotes.
func TestCurvesAreOneNormalDistribution(t *testing.T) {
	m, x, data := freezeThawCase()
	kernel := func(i, j int) float64 {
		d2 := 0.0
		for c, inverse := range m.parameters.Inverse {
			v := inverse * (x.Row(i)[c] - x.Row(j)[c])
			d2 += v * v
		}
		b := math.Sqrt(5 * d2)
		return m.parameters.Scale * (1 + b + b*b/3) * math.Exp(-b)
	}
	type row struct {
		curve int
		epoch float64
	}
	var rows []row
	var scores []float64
	for i, c := range data {
		for k, e := range c.epochs {
			rows, scores = append(rows, row{i, e}), append(scores, c.scores[k])
		}
	}
	n := len(rows)
	cov := mat.NewSymDense(n, nil)
	for i, a := range rows {
		for j, b := range rows[:i+1] {
			v := kernel(a.curve, b.curve)
			if a.curve == b.curve {
				v += m.decay.covariance(a.epoch, b.epoch)
			}
			if i == j {
				v += m.decay.noise
			}
			cov.SetSym(i, j, v)
		}
	}
	var chol mat.Cholesky
	chol.Factorize(cov)
	residual := mat.NewVecDense(n, nil)
	for i, v := range scores {
		residual.SetVec(i, v-m.parameters.Mean)
	}
	var alpha mat.VecDense
	if err := chol.SolveVecTo(&alpha, residual); err != nil {
		t.Fatal(err)
	}
	known, err := m.decay.summaries(data)
	if err != nil {
		t.Fatal(err)
	}
	loss := 0.0
	targets, variances := make([]float64, len(known)), make([]float64, len(known))
	for i, s := range known {
		loss += s.rest
		targets[i], variances[i] = s.target, s.variance
	}
	begun := rowsOf(x, []int{0, 1, 2, 3})
	part, err := m.asymptotes.Marginal(&m.grad, begun, targets, variances, m.parameters)
	if err != nil {
		t.Fatal(err)
	}
	want := (mat.Dot(residual, &alpha) + chol.LogDet() + float64(n)*math.Log(2*math.Pi)) / 2
	if got := loss + part; !agree(got, want, 1e-7) {
		t.Errorf("likelihood %v; want %v", got, want)
	}

	// Posterior of the asymptotes of all five rows, and of the next score.
	if err := m.condition(begun, data, x); err != nil {
		t.Fatal(err)
	}
	joint := nn.NewMatrix(5, 5)
	m.asymptotes.Joint(joint, []int{0, 1, 2, 3, 4})
	got, std := make([]float64, 5), make([]float64, 5)
	m.asymptotes.Predict(got, std)
	cross := func(i int) *mat.VecDense {
		v := mat.NewVecDense(n, nil)
		for k, r := range rows {
			v.SetVec(k, kernel(i, r.curve))
		}
		return v
	}
	for i := range 5 {
		if want := m.parameters.Mean + mat.Dot(cross(i), &alpha); !agree(got[i], want, 1e-7) {
			t.Errorf("asymptote %d: mean %v; want %v", i, got[i], want)
		}
		for j := range 5 {
			var solved mat.VecDense
			if err := chol.SolveVecTo(&solved, cross(j)); err != nil {
				t.Fatal(err)
			}
			if want := kernel(i, j) - mat.Dot(cross(i), &solved); !agree(joint.Row(i)[j], want, 1e-7) {
				t.Errorf("asymptotes %d and %d: covariance %v; want %v", i, j, joint.Row(i)[j], want)
			}
		}
	}
	// The variance of the next score of curve 3, given all scores.
	next := mat.NewVecDense(n, nil)
	for k, r := range rows {
		v := kernel(3, r.curve)
		if r.curve == 3 {
			v += m.decay.covariance(r.epoch, 7)
		}
		next.SetVec(k, v)
	}
	var solved mat.VecDense
	if err := chol.SolveVecTo(&solved, next); err != nil {
		t.Fatal(err)
	}
	want = kernel(3, 3) + m.decay.covariance(7, 7) + m.decay.noise - mat.Dot(next, &solved)
	slope, variance := m.next(3, 7)
	if v := slope*slope*joint.Row(3)[3] + variance; !agree(v, want, 1e-7) {
		t.Errorf("variance of the next score %v; want %v", v, want)
	}
}

func TestFreezeThawGradientIsThatOfItsLikelihood(t *testing.T) {
	m, x, data := freezeThawCase()
	begun := rowsOf(x, []int{0, 1, 2, 3})
	value := []float64{0.2, 0.5, -0.3, math.Log(0.05), 0.3, 0.2, -0.1, 0.4}
	grad := make([]float64, len(value))
	loss := func() float64 {
		v, err := m.loss(grad, begun, data, value)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	loss()
	if e := nn.CheckGradient(loss, value, grad, 0); !(e <= 1e-6) {
		t.Errorf("relative error %.1e", e)
	}
}

func TestEntropyOfThePlaceOfTheBest(t *testing.T) {
	draws := nn.NewMatrix(4, 2) // two draws each favour one of two
	copy(draws.Data, []float64{1, 0, 1, 0, 0, 1, 0, 1})
	if got := entropyOfBest([]float64{0, 0}, draws); !agree(got, math.Ln2, 1e-15) {
		t.Errorf("even chances: %v", got)
	}
	if got := entropyOfBest([]float64{5, 0}, draws); got != 0 {
		t.Errorf("a certain winner: %v", got)
	}
}

func TestFreezeThawFindsThePeak(t *testing.T) {
	p := encodedProblem(40, 10)
	o, err := NewFreezeThaw(p, FreezeThaw{})
	if err != nil {
		t.Fatal(err)
	}
	if best, all := bestAfter(t, o, p, 60); best < 0.9*all {
		t.Errorf("the best after 60 epochs of 400 is %.3f; the best of all %.3f", best, all)
	}
}

func BenchmarkFreezeThawDecision(b *testing.B) {
	for name, n := range map[string]int{"10": 10, "100": 100, "1000": 1000} {
		b.Run(name, func(b *testing.B) {
			p := encodedProblem(500, 50)
			score := peaked(p)
			for b.Loop() {
				b.StopTimer()
				o, err := NewFreezeThaw(p, FreezeThaw{})
				if err != nil {
					b.Fatal(err)
				}
				f := o.(*freezeThaw)
				for i := range n {
					c, e := i%100, i/100+1
					q := f.propose(c, e)
					f.Tell(search.Report{Trial: q.Trial, Candidate: c, Epoch: e, Score: score(c, e), Proposed: true})
				}
				b.StartTimer()
				o.Ask()
			}
		})
	}
}
