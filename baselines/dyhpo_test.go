package baselines

import (
	"math"
	"strconv"
	"testing"

	"quicktune/internal/nn"
	"quicktune/internal/stream"
	"quicktune/search"
)

// agree reports whether a is b to tolerance, relative to the larger of |b| and 1.
func agree(a, b, tolerance float64) bool {
	return a == b || math.Abs(a-b) <= tolerance*max(1, math.Abs(b))
}

func agreeAll(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers; want %d", what, len(got), len(want))
	}
	for i := range got {
		if !agree(got[i], want[i], tolerance) {
			t.Errorf("%s: number %d is %v; want %v", what, i, got[i], want[i])
			return
		}
	}
}

// The values come from torch and gpytorch: scripts/oracles/dyhpo.py.
func TestDyHPOsDeepKernelIsThatOfTorch(t *testing.T) {
	var golden struct {
		Inputs     int
		MaxEpochs  int `json:"max_epochs"`
		Candidates [][]float64
		Curves     [][]float64
		Losses     []float64
		Gradient   map[string][]float64
		Mean, Std  []float64
	}
	readGolden(t, "dyhpo.json", &golden)
	var s dyhpoSurrogate
	s.init(golden.Inputs, stream.New("test", 0))
	tensors := map[string]*nn.Tensor{
		"gp.likelihood.noise_covar.raw_noise": s.raw.Noise, "gp.mean_module.raw_constant": s.raw.Mean,
		"gp.covar_module.raw_outputscale": s.raw.OutputScale, "gp.covar_module.base_kernel.raw_lengthscale": s.raw.LengthScale,
	}
	for _, p := range s.params.Tensors[:6] {
		tensors[p.Name] = p
		for i := range p.Value {
			p.Value[i] = 0.2 * math.Sin(12.9898*float64(i+1))
		}
	}
	tensors["bn1.weight"], tensors["bn1.bias"] = s.norm.gain, s.norm.shift
	if len(tensors) != len(golden.Gradient) {
		t.Fatalf("%d tensors; want %d", len(tensors), len(golden.Gradient))
	}
	var rows dyhpoBatch
	rows.reset()
	var y []float64
	for c, scores := range golden.Curves {
		for e := range scores {
			copy(rows.append(golden.Candidates[c], float64(e+1)/float64(golden.MaxEpochs), e), scores)
			y = append(y, scores[e])
		}
	}
	for step, want := range golden.Losses {
		got, err := s.loss(&rows, y)
		if err != nil {
			t.Fatal(err)
		}
		if !agree(got, want, 1e-9) {
			t.Fatalf("step %d: loss %v; want %v", step, got, want)
		}
		if step == 0 {
			for name, want := range golden.Gradient {
				var got []float64
				grad := tensors[name].Grad
				for i := 0; i < len(grad); i += max(1, len(grad)/16) {
					got = append(got, grad[i])
				}
				agreeAll(t, "gradient of "+name, got, want, 1e-9)
			}
		}
		s.adam.Step(s.params.Value, s.params.Grad, 1e-3)
	}
	if err := s.extend(&rows, y); err != nil {
		t.Fatal(err)
	}
	rows.reset()
	for c, scores := range golden.Curves {
		copy(rows.append(golden.Candidates[c], float64(len(scores)+1)/float64(golden.MaxEpochs), len(scores)), scores)
	}
	mean, std := make([]float64, rows.n), make([]float64, rows.n)
	if !s.predict(mean, std, &rows) {
		t.Fatal("no prediction")
	}
	agreeAll(t, "mean", mean, golden.Mean, 1e-8)
	agreeAll(t, "deviation", std, golden.Std, 1e-8)
}

func TestDyHPOsGradientIsThatOfItsLoss(t *testing.T) {
	rng := stream.New("test/dyhpo", 1)
	var s dyhpoSurrogate
	s.init(2, rng)
	var rows dyhpoBatch
	rows.reset()
	var y []float64
	for i := range 12 {
		curve := rows.append([]float64{rng.Float64(), rng.Float64()}, rng.Float64(), i%6)
		for e := range curve {
			curve[e] = rng.Float64()
		}
		y = append(y, rng.NormFloat64())
	}
	loss := func() float64 {
		v, err := s.loss(&rows, y)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	loss()
	if e := nn.CheckGradient(loss, s.params.Value, append([]float64(nil), s.params.Grad...), 400); !(e <= 1e-6) {
		t.Errorf("relative error %.1e", e)
	}
}

// With scores that rise with the epoch at the same pace for all candidates, but
// to a level that one hyperparameter decides, the search must soon stay with the
// best ones.
func TestDyHPOFindsTheBestCurves(t *testing.T) {
	p := encodedProblem(40, 10)
	rate := p.Space.Index("lr")
	level := func(c int) float64 {
		d := (math.Log10(p.Candidates[c][rate].Num()) + 3) / 2
		return math.Exp(-d * d)
	}
	o, err := NewDyHPO(p, DyHPO{RestartSteps: 200})
	if err != nil {
		t.Fatal(err)
	}
	score := curves(func(c, e int) float64 { return level(c) * (1 - math.Exp(-0.4*float64(e))) })
	best, all := 0.0, 0.0
	for c := range p.Candidates {
		all = max(all, score(c, 10))
	}
	reached := map[int]int{}
	for range 60 {
		q := ask(t, o)
		if q.Epoch != reached[q.Trial]+1 {
			t.Fatalf("%+v after epoch %d; want steps of one epoch", q, reached[q.Trial])
		}
		score.reply(o, q, reached[q.Trial], p.MaxEpochs)
		reached[q.Trial] = q.Epoch
		best = max(best, score(q.Candidate, q.Epoch))
	}
	if best < 0.95*all {
		t.Errorf("the best score after 60 epochs of 400 is %.3f; the best of all is %.3f", best, all)
	}
}

func TestDyHPONeedsASpace(t *testing.T) {
	if _, err := NewDyHPO(problem(3, 5), DyHPO{}); err != errNoSpace {
		t.Errorf("a pool without a space: %v", err)
	}
}

// BenchmarkDyHPODecision is the time of one Ask and Tell with so many observations.
func BenchmarkDyHPODecision(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p := encodedProblem(500, 50)
			for b.Loop() {
				b.StopTimer()
				o, err := NewDyHPO(p, DyHPO{})
				if err != nil {
					b.Fatal(err)
				}
				d := o.(*dyhpo)
				for i := range n {
					c, e := i%100, i/100+1
					q := d.propose(c, e)
					d.Tell(search.Report{Trial: q.Trial, Candidate: c, Epoch: e, Score: 1 - 1/float64(e+1) - float64(c)/500, Proposed: true})
				}
				d.fits, d.restart = 10, false
				b.StartTimer()
				d.Ask()
			}
		})
	}
}
