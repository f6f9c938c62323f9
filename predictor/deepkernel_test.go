package predictor

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"quicktune/internal/blas"
	"quicktune/internal/nn"
	"quicktune/internal/stream"
)

func TestGradientsOfBothPredictorsAgreeWithDifferences(t *testing.T) {
	architectures := map[string]Architecture{"small": small()}
	a := small()
	a.Groups, a.Meta = []int{0, 5}, 0
	architectures["one group, no descriptors"] = a
	a = small()
	a.Groups, a.MaxEpochs = nil, 1
	architectures["no configuration, one epoch"] = a
	for name, a := range architectures {
		t.Run(name, func(t *testing.T) {
			b, y := rows(t, a, stream.New("test/gradient", 1), 12)
			k := smallKernel(t, a)
			loss := func() float64 {
				v, err := k.Loss(b, y, stream.New("test/dropout", 1))
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			loss()
			grad := slices.Clone(k.params.Grad)
			if e := nn.CheckGradient(loss, k.params.Value, grad, 0); !(e <= 1e-6) {
				t.Errorf("performance predictor: relative error %.1e", e)
			}
			for _, opt := range []CostOptions{{}, {Log: true}} {
				c, err := NewCost(a, opt, stream.New("test/cost", 1))
				if err != nil {
					t.Fatal(err)
				}
				c.head.B.Value[0] = 0.5 // so that the rectifier is open for some rows
				seconds := make([]float64, len(y))
				for i, v := range y {
					seconds[i] = 1 + 300*v
				}
				loss := func() float64 {
					v, err := c.Loss(b, seconds, stream.New("test/dropout", 1))
					if err != nil {
						t.Fatal(err)
					}
					return v
				}
				loss()
				grad := slices.Clone(c.params.Grad)
				if e := nn.CheckGradient(loss, c.params.Value, grad, 0); !(e <= 1e-6) {
					t.Errorf("cost predictor %+v: relative error %.1e", opt, e)
				}
			}
		})
	}
}

// The posterior is compared with its definition, by Gaussian elimination.
func TestPosteriorIsThatOfItsDefinition(t *testing.T) {
	a := small()
	rng := stream.New("test/posterior", 1)
	k := smallKernel(t, a)
	b, y := rows(t, a, rng, 17)
	q, _ := rows(t, a, rng, 300)
	if err := k.Condition(b, y); err != nil {
		t.Fatal(err)
	}
	mean, std := make([]float64, q.Len()), make([]float64, q.Len())
	if err := k.Predict(mean, std, q, false); err != nil {
		t.Fatal(err)
	}
	z, _ := k.Embed(b)
	zq, _ := k.Embed(q)
	h := k.Hyperparameters()
	kernel := func(x, y []float64) float64 {
		d := 0.0
		for i := range x {
			d += (x[i] - y[i]) * (x[i] - y[i])
		}
		return h.OutputScale * math.Exp(-d/(2*h.LengthScale*h.LengthScale))
	}
	n := b.Len()
	for j := range q.Len() {
		// Solve [A | r k*] at once.
		m := make([][]float64, n)
		for i := range m {
			m[i] = make([]float64, n+2)
			for l := range n {
				m[i][l] = kernel(z.Row(i), z.Row(l))
			}
			m[i][i] += h.Noise
			m[i][n], m[i][n+1] = y[i]-h.Mean, kernel(z.Row(i), zq.Row(j))
		}
		for c := range n {
			for i := range n {
				if i == c {
					continue
				}
				f := m[i][c] / m[c][c]
				for l := c; l < n+2; l++ {
					m[i][l] -= f * m[c][l]
				}
			}
		}
		mu, v := h.Mean, h.OutputScale
		for i := range n {
			ks := kernel(z.Row(i), zq.Row(j))
			mu += ks * m[i][n] / m[i][i]
			v -= ks * m[i][n+1] / m[i][i]
		}
		if math.Abs(mu-mean[j]) > 1e-10 || math.Abs(v-std[j]*std[j]) > 1e-10 {
			t.Fatalf("row %d: mean %v, variance %v instead of %v, %v", j, mean[j], std[j]*std[j], mu, v)
		}
	}
}

// However rows are added, the posterior is that of all of them at once, and its
// variance shrinks with every row.
func TestExtendingEqualsConditioningAfresh(t *testing.T) {
	a := small()
	rapid.Check(t, func(r *rapid.T) {
		rng := stream.New("test/extend", rapid.Uint64().Draw(r, "seed"))
		k, fresh := smallKernel(t, a), smallKernel(t, a)
		q, _ := rows(t, a, rng, 5)
		mean, std := make([]float64, 5), make([]float64, 5)
		wantMean, wantStd := make([]float64, 5), make([]float64, 5)
		all, ys := NewBatch(a), []float64(nil)
		last := []float64{math.Inf(1), math.Inf(1), math.Inf(1), math.Inf(1), math.Inf(1)}
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 40), 1, 5).Draw(r, "sizes") {
			b, y := rows(t, a, rng, n)
			if err := k.Extend(b, y); err != nil {
				r.Fatal(err)
			}
			for i := range n {
				row := Row{Config: b.matrix(b.config, a.Config()).Row(i), Meta: b.matrix(b.meta, a.Meta).Row(i),
					Curve: b.matrix(b.curves, a.signal()).Row(i), Epoch: int(math.Round(b.budget[i] * float64(a.MaxEpochs)))}
				if err := all.Append(row); err != nil {
					r.Fatal(err)
				}
			}
			ys = append(ys, y...)
			if len(ys) == 0 {
				continue
			}
			if err := fresh.Condition(all, ys); err != nil {
				r.Fatal(err)
			}
			if k.Observed() != all.Len() {
				r.Fatalf("conditioned on %d rows instead of %d", k.Observed(), all.Len())
			}
			if err := k.Predict(mean, std, q, true); err != nil {
				r.Fatal(err)
			}
			if err := fresh.Predict(wantMean, wantStd, q, true); err != nil {
				r.Fatal(err)
			}
			for i := range mean {
				if math.Abs(mean[i]-wantMean[i]) > 1e-10 || math.Abs(std[i]-wantStd[i]) > 1e-10 {
					r.Fatalf("row %d: %v ± %v instead of %v ± %v", i, mean[i], std[i], wantMean[i], wantStd[i])
				}
				if std[i] > last[i]+1e-12 {
					r.Fatalf("row %d: the deviation grew from %v to %v with more data", i, last[i], std[i])
				}
			}
			copy(last, std)
		}
	})
}

// The same fit has the same bits on every path of internal/blas that promises
// it.
func TestBitsDoNotDependOnTheKernels(t *testing.T) {
	before := blas.Active()
	defer func() {
		if err := blas.Select(before); err != nil {
			t.Fatal(err)
		}
	}()
	a := Reference()
	b, y := rows(t, a, stream.New("test/bits", 1), 90)
	var want []float64
	for _, p := range blas.Available() {
		if p == blas.Gonum {
			continue
		}
		if err := blas.Select(p); err != nil {
			t.Fatal(err)
		}
		k := smallKernel(t, a)
		for _, opt := range []FitOptions{{Steps: 3, LearningRate: 1e-3}, {Steps: 4, LearningRate: 1e-2, LBFGS: true}} {
			if _, err := k.Fit(context.Background(), b, y, opt); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.Condition(b, y); err != nil {
			t.Fatal(err)
		}
		mean, std := make([]float64, b.Len()), make([]float64, b.Len())
		if err := k.Predict(mean, std, b, true); err != nil {
			t.Fatal(err)
		}
		got := slices.Concat(k.params.Value, mean, std)
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("path %v gives other bits than %v", p, blas.Available()[1])
		}
	}
}

func TestFitLowersTheLossAndCanBeCancelled(t *testing.T) {
	a := small()
	b, y := rows(t, a, stream.New("test/fit", 1), 30)
	for _, opt := range []FitOptions{{Steps: 60, LearningRate: 1e-2}, {Steps: 60, LearningRate: 1e-2, LBFGS: true}} {
		k := smallKernel(t, a)
		res, err := k.Fit(context.Background(), b, y, opt)
		if err != nil {
			t.Fatal(err)
		}
		loss, err := k.Loss(b, y, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.After > res.Before-0.1 || loss > res.After+1e-9 || res.Steps > opt.Steps {
			t.Errorf("%+v: %+v, then %v", opt, res, loss)
		}
		frozen := opt
		frozen.Freeze, frozen.LearningRate = true, 0.1
		f := smallKernel(t, a)
		network := slices.Clone(f.params.Value[:len(f.params.Value)-4])
		if res, err := f.Fit(context.Background(), b, y, frozen); err != nil || res.After > res.Before-0.1 {
			t.Errorf("%+v: %+v, %v", frozen, res, err)
		}
		if !slices.Equal(network, f.params.Value[:len(network)]) {
			t.Error("a frozen network changed")
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		w := slices.Clone(k.params.Value)
		if _, err := k.Fit(ctx, b, y, opt); err == nil || !slices.Equal(w, k.params.Value) {
			t.Errorf("a cancelled fit returned %v or moved the weights", err)
		}
	}
}

// L-BFGS must earn its place: fewer evaluations for the same likelihood.
func TestLBFGSNeedsFewerStepsThanAdam(t *testing.T) {
	c := goldenCases(t)["meta_trained"]
	b := c.Train.batch(t)
	adam, lbfgs, frozen := c.kernel(t), c.kernel(t), c.kernel(t)
	ra, err := adam.Fit(context.Background(), b, c.Train.Target, ReferenceFit(true))
	if err != nil {
		t.Fatal(err)
	}
	rl, err := lbfgs.Fit(context.Background(), b, c.Train.Target, FitOptions{Steps: 100, LearningRate: 0.05, LBFGS: true})
	if err != nil {
		t.Fatal(err)
	}
	rf, err := frozen.Fit(context.Background(), b, c.Train.Target, DefaultFit())
	if err != nil {
		t.Fatal(err)
	}
	if rf.After > ra.After {
		t.Errorf("the default reached %v in %d evaluations, Adam %v in %d", rf.After, rf.Steps, ra.After, ra.Steps)
	}
	if rl.After > ra.After {
		t.Errorf("L-BFGS reached %v in %d evaluations, Adam %v in %d", rl.After, rl.Steps, ra.After, ra.Steps)
	}
}

// A fit to some of the rows must be a fit to all of them, nearly.
func TestABoundedFitIsNearlyAWholeOne(t *testing.T) {
	a := Reference()
	b, y := rows(t, a, stream.New("test/bounded", 1), 120)
	start := smallKernel(t, a)
	loss := func(maxRows int) float64 {
		k := start.Clone()
		o := DefaultFit()
		o.MaxRows = maxRows
		if _, err := k.Fit(context.Background(), b, y, o); err != nil {
			t.Fatal(err)
		}
		v, err := k.Loss(b, y, nil)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	before, err := start.Loss(b, y, nil)
	if err != nil {
		t.Fatal(err)
	}
	whole, bounded := loss(0), loss(60)
	if loss(120) != whole {
		t.Error("a bound that is not reached changes the fit")
	}
	if whole >= before || bounded-whole > 0.2*(before-whole) {
		t.Errorf("loss %v before the fit, %v after one to all rows, %v to half of them", before, whole, bounded)
	}
	for _, o := range []FitOptions{{Steps: 1, LearningRate: 1, MaxRows: 60}, {Steps: 1, LearningRate: 1, Freeze: true, MaxRows: 1}, {Steps: 1, LearningRate: 1, Freeze: true, MaxRows: -1}} {
		if _, err := start.Clone().Fit(context.Background(), b, y, o); err == nil {
			t.Errorf("a fit with %+v is accepted", o)
		}
	}
}

func TestStrangeHistoriesGiveErrorsOrFiniteNumbers(t *testing.T) {
	a := Reference()
	rng := stream.New("test/strange", 1)
	config, other, meta := normals(rng, a.Config()), normals(rng, a.Config()), ScaleMeta([]float64{1e6, 3, 128, 3}, MetaScaleSearch)
	constant := func(v float64, n int) []float64 { return slices.Repeat([]float64{v}, n) }
	type history struct {
		rows []Row
		y    []float64
	}
	histories := map[string]history{
		"one row":           {[]Row{{Config: config, Meta: meta, Epoch: 1}}, []float64{0.1}},
		"two equal rows":    {[]Row{{Config: config, Meta: meta, Epoch: 1}, {Config: config, Meta: meta, Epoch: 1}}, []float64{0.1, 0.9}},
		"curve of NaN":      {[]Row{{Config: config, Meta: meta, Epoch: 5, Curve: constant(math.NaN(), 4)}, {Config: other, Meta: meta, Epoch: 1}}, []float64{0.2, 0.3}},
		"infinite scores":   {[]Row{{Config: config, Meta: meta, Epoch: 5, Curve: constant(math.Inf(-1), 4)}, {Config: other, Meta: meta, Epoch: 1}}, []float64{0.2, 0.3}},
		"huge targets":      {[]Row{{Config: config, Meta: meta, Epoch: 1}, {Config: other, Meta: meta, Epoch: 1}}, []float64{1e150, -1e150}},
		"enormous targets":  {[]Row{{Config: config, Meta: meta, Epoch: 1}, {Config: other, Meta: meta, Epoch: 1}}, []float64{1e300, -1e300}},
		"huge inputs":       {[]Row{{Config: constant(1e200, 69), Meta: meta, Epoch: 1}, {Config: other, Meta: meta, Epoch: 1}}, []float64{0.1, 0.2}},
		"enormous scores":   {[]Row{{Config: config, Meta: meta, Epoch: 5, Curve: constant(1e308, 4)}, {Config: other, Meta: meta, Epoch: 2, Curve: constant(-1e308, 4)}}, []float64{0.1, 0.2}},
		"constant curves":   {},
		"1000 identical":    {},
		"1000 same, varied": {},
	}
	var h history
	for e := 1; e <= 50; e++ {
		h.rows = append(h.rows, Row{Config: config, Meta: meta, Epoch: e, Curve: constant(0.5, e-1)})
		h.y = append(h.y, 0.5)
	}
	histories["constant curves"] = h
	var same, varied history
	for i := range 1000 {
		r := Row{Config: config, Meta: meta, Epoch: 3, Curve: constant(0.25, 2)}
		same.rows, same.y = append(same.rows, r), append(same.y, 0.25)
		varied.rows, varied.y = append(varied.rows, r), append(varied.y, float64(i%7)/7)
	}
	histories["1000 identical"], histories["1000 same, varied"] = same, varied

	for name, h := range histories {
		for _, opt := range []FitOptions{{Steps: 3, LearningRate: 0.1}, {Steps: 4, LearningRate: 1, LBFGS: true}} {
			t.Run(fmt.Sprintf("%s/lbfgs=%v", name, opt.LBFGS), func(t *testing.T) {
				k := smallKernel(t, a)
				b := NewBatch(a)
				for _, r := range h.rows {
					if err := b.Append(r); err != nil {
						t.Fatal(err)
					}
				}
				res, err := k.Fit(context.Background(), b, h.y, opt)
				allFinite(t, "weights", k.params.Value, []float64{res.Before, res.After})
				if err != nil {
					t.Logf("fit: %v", err)
				}
				if err := k.Condition(b, h.y); err != nil {
					t.Logf("condition: %v", err)
					return
				}
				mean, std := make([]float64, b.Len()), make([]float64, b.Len())
				if err := k.Predict(mean, std, b, true); err != nil {
					t.Logf("predict: %v", err)
					return
				}
				allFinite(t, "posterior", mean, std)
				if slices.Min(std) < 0 {
					t.Errorf("deviation %v", slices.Min(std))
				}
			})
		}
	}
}

func TestWrongInputsAreErrors(t *testing.T) {
	a := small()
	k := smallKernel(t, a)
	b, y := rows(t, a, stream.New("test/wrong", 1), 3)
	good := Row{Config: make([]float64, a.Config()), Meta: make([]float64, a.Meta), Epoch: 1}
	nan := slices.Repeat([]float64{math.NaN()}, 7)
	for name, r := range map[string]Row{
		"7 columns":     {Config: good.Config[1:], Meta: good.Meta, Epoch: 1},
		"2 descriptors": {Config: good.Config, Epoch: 1},
		"epoch 0":       {Config: good.Config, Meta: good.Meta},
		"epoch 10":      {Config: good.Config, Meta: good.Meta, Epoch: 10},
		"not finite":    {Config: nan, Meta: good.Meta, Epoch: 1},
		"finite":        {Config: good.Config, Meta: nan[:2], Epoch: 1},
	} {
		if err := b.Append(r); err == nil || b.Len() != 3 {
			t.Errorf("%s: error %v, %d rows", name, err, b.Len())
		}
	}
	ctx := context.Background()
	mean := make([]float64, 3)
	other, _ := rows(t, Reference(), stream.New("test/wrong", 2), 3)
	for name, err := range map[string]error{
		"no data":              k.Predict(mean, mean, b, true),
		"targets of rows":      k.Condition(b, y[:2]),
		"is NaN":               k.Condition(b, nan[:3]),
		"made for 69":          k.Condition(other, y),
		"steps must":           second(k.Fit(ctx, b, y, FitOptions{Steps: -1, LearningRate: 1})),
		"rate must":            second(k.Fit(ctx, b, y, FitOptions{Steps: 1})),
		"be combined":          second(k.Fit(ctx, b, y, FitOptions{Steps: 1, LearningRate: 1, LBFGS: true, Dropout: stream.New("x", 1)})),
		"empty":                second(k.Loss(NewBatch(a), nil, nil)),
		"widths of a negative": Architecture{Groups: []int{-1}}.Validate(),
		"no epochs":            Architecture{Meta: 1}.Validate(),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %v", name, err)
		}
	}
	if res, err := k.Fit(ctx, NewBatch(a), nil, FitOptions{Steps: 5, LearningRate: 1}); err != nil || res.Steps != 0 {
		t.Errorf("a fit of nothing: %+v, %v", res, err)
	}
}

func second[T any](_ T, err error) error { return err }

// FuzzFit feeds arbitrary bytes as rows: whatever comes, there are errors or
// finite numbers.
func FuzzFit(f *testing.F) {
	f.Add([]byte{}, 1.0, false)
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 200, 100, 50, 3}, 0.5, true)
	f.Fuzz(func(t *testing.T, data []byte, scale float64, lbfgs bool) {
		a := small()
		k := smallKernel(t, a)
		b, y := NewBatch(a), []float64(nil)
		next := func() float64 {
			if len(data) == 0 {
				return 0
			}
			v := float64(int8(data[0])) / 16 * scale
			data = data[1:]
			return v
		}
		for len(data) > 0 && b.Len() < 40 {
			r := Row{Epoch: int(data[0]) % 12}
			for range a.Config() {
				r.Config = append(r.Config, next())
			}
			for range a.Meta {
				r.Meta = append(r.Meta, next())
			}
			for range r.Epoch {
				r.Curve = append(r.Curve, next())
			}
			target := next()
			if b.Append(r) == nil {
				y = append(y, target)
			}
		}
		if b.Len() != len(y) {
			t.Fatalf("%d rows, %d targets", b.Len(), len(y))
		}
		res, err := k.Fit(context.Background(), b, y, FitOptions{Steps: 3, LearningRate: 0.1, LBFGS: lbfgs})
		allFinite(t, "weights", k.params.Value, []float64{res.Before, res.After})
		if err != nil || k.Condition(b, y) != nil {
			return
		}
		mean, std := make([]float64, b.Len()), make([]float64, b.Len())
		if k.Predict(mean, std, b, true) != nil {
			return
		}
		allFinite(t, "posterior", mean, std)
	})
}
