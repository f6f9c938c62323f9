package trainer

import (
	"math"
	"slices"
	"testing"

	"quicktune/internal/stream"
	"quicktune/internal/vision"
	"quicktune/space"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: %.9g, want %.9g", what, got, want)
	}
}

func nearAll(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers instead of %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Abs(float64(got[i])-want[i]) > 1e-6*(1+math.Abs(want[i])) {
			t.Errorf("%s: element %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}

// weight 1/2, θ-θ0 = (1, -2): 1/2·(1+4), and twice the weight times the
// difference.
func TestL2SPByHand(t *testing.T) {
	grad := []float32{0.5, 0}
	near(t, "loss", l2sp(0.5, []float32{1, 2}, []float32{0, 4}, grad), 2.5, 0)
	nearAll(t, "gradient", grad, []float64{1.5, -2})
}

// Two images, differences (1, 0) and (0, -2): 0.1·(1+4)/2.
func TestDELTAByHand(t *testing.T) {
	grad := make([]float32, 4)
	near(t, "loss", delta(0.1, []float32{1, 2, 3, 4}, []float32{0, 2, 3, 6}, grad, 2), 0.25, 1e-9)
	nearAll(t, "gradient", grad, []float64{0.1, 0, 0, -0.2})
}

// The singular values of diag(3, 1) are 3 and 1: the loss is w·1² and only the
// smaller one shrinks.
func TestBSSByHand(t *testing.T) {
	grad := make([]float32, 4)
	near(t, "loss", bss(0.5, []float32{3, 0, 0, 1}, grad, 2), 0.5, 1e-12)
	nearAll(t, "gradient", grad, []float64{0, 0, 0, 1})
	// (3, 4) as one image and as one feature: σ = 5.
	for _, images := range []int{1, 2} {
		grad := make([]float32, 2)
		near(t, "loss", bss(1, []float32{3, 4}, grad, images), 25, 1e-9)
		nearAll(t, "gradient", grad, []float64{6, 8})
	}
}

func TestBSSGradient(t *testing.T) {
	rng := stream.New("test/bss", 1)
	for _, images := range []int{3, 4, 6} { // wide, square and tall, of 4 features
		f := make([]float32, images*4)
		for i := range f {
			f[i] = float32(rng.NormFloat64())
		}
		grad := make([]float32, len(f))
		bss(1, f, grad, images)
		for i := range f {
			const h = 1.0 / 64
			at := func(d float32) float64 {
				g := slices.Clone(f)
				g[i] += d
				return bss(1, g, make([]float32, len(f)), images)
			}
			slope := (8*(at(h/2)-at(-h/2)) - (at(h) - at(-h))) / (6 * h)
			near(t, "derivative", float64(grad[i]), slope, 1e-4)
		}
	}
}

// Two source classes, three target classes of which the last has no image.
func TestCoTuningByHand(t *testing.T) {
	r := newRelationship([]float32{0.9, 0.1, 0.5, 0.5, 0.2, 0.8}, []int{0, 0, 1}, 3)
	nearAll(t, "relationship", r.p, []float64{0.7, 0.3, 0.2, 0.8, 0.5, 0.5})
	to := make([]float32, 4)
	r.targets(to, []float32{1, 0, 0, 0.25, 0.75, 0}, 2)
	nearAll(t, "targets", to, []float64{0.7, 0.3, 0.25*0.7 + 0.75*0.2, 0.25*0.3 + 0.75*0.8})
}

// The whole gradient of a step, with all that acts on features and weights, by
// central differences of the loss it reports.
func TestTheGradientOfABatchIsThatOfItsLoss(t *testing.T) {
	d := stripes(12, 3)
	w, err := source("vit_xs")
	if err != nil {
		t.Fatal(err)
	}
	spec, _ := vision.Lookup("vit_xs")
	s, err := parse(spec, map[string]space.Value{
		"sp_reg": space.Float(0.1), "delta_reg": space.Float(0.1), "bss_reg": space.Float(0.1), "cotuning_reg": space.Float(1),
		"smoothing": space.Float(0.1), "batch_size": space.Int(6),
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := newTrial(s, d, w, 1)
	if err != nil {
		t.Fatal(err)
	}
	// Away from the beginning, where L2-SP and DELTA have no slope.
	rng := stream.New("test/step", 1)
	for _, slot := range tr.opt.slots {
		for i := range slot.Value {
			slot.Value[i] += float32(0.05 * rng.NormFloat64())
		}
	}
	which := []int{0, 1, 2, 3, 4, 5}
	loss := func() float64 {
		tr.augment.rng = stream.New("test/step/augment", 1)
		tr.ctx.Rng = stream.New("test/step/network", 1)
		return tr.gradient(which, stream.New("test/step/mix", 1))
	}
	loss()
	base := make([][]float32, len(tr.opt.slots))
	for i, s := range tr.opt.slots {
		base[i] = slices.Clone(s.Grad)
	}
	for i, s := range tr.opt.slots {
		// The direction of the gradient itself, in which float32 says most.
		norm := math.Sqrt(squares(base[i]))
		if norm < 1e-4 {
			continue
		}
		const h = 1e-2
		old := slices.Clone(s.Value)
		at := func(step float64) float64 {
			for j := range s.Value {
				s.Value[j] = old[j] + float32(step*float64(base[i][j])/norm)
			}
			defer copy(s.Value, old)
			return loss()
		}
		slope := (8*(at(h/2)-at(-h/2)) - (at(h) - at(-h))) / (6 * h)
		near(t, s.Name, norm, slope, 2e-3*(norm+0.05))
	}
}

func TestClippingByHand(t *testing.T) {
	grads := func(limit float64) []float32 {
		o := &optimizer{name: "sgd"}
		a := &param{Name: "a", Shape: []int{1}, Value: make([]float32, 1), Grad: []float32{3}}
		b := &param{Name: "b", Shape: []int{1}, Value: make([]float32, 1), Grad: []float32{4}}
		o.add(a, 1)
		o.add(b, 1)
		o.clip(limit)
		return []float32{a.Grad[0], b.Grad[0]}
	}
	nearAll(t, "norm 5 cut to 1", grads(1), []float64{0.6, 0.8})
	nearAll(t, "norm 5 below 10", grads(10), []float64{3, 4})
}

// reference takes three steps of an optimiser on one number in float64, by its
// textbook formula.
func reference(name string, lr, wd, mu, b1, b2 float64, gradient func(float64) float64, theta float64) float64 {
	var m, v float64
	for k := 1; k <= 3; k++ {
		g := gradient(theta)
		switch name {
		case "sgd", "momentum":
			g += wd * theta
			if k == 1 {
				m = g
			} else {
				m = mu*m + g
			}
			if name == "sgd" {
				theta -= lr * (g + mu*m)
			} else {
				theta -= lr * m
			}
			continue
		case "adam":
			g += wd * theta
		case "adamw":
			theta -= lr * wd * theta
		}
		m = b1*m + (1-b1)*g
		v = b2*v + (1-b2)*g*g
		theta -= lr * (m / (1 - math.Pow(b1, float64(k)))) / (math.Sqrt(v/(1-math.Pow(b2, float64(k)))) + 1e-8)
	}
	return theta
}

func TestOptimisersByTheirFormulas(t *testing.T) {
	gradient := func(x float64) float64 { return 2*x - 3 }
	for _, name := range []string{"sgd", "momentum", "adam", "adamw"} {
		for _, b := range [][2]float64{{0.9, 0.999}, {0, 0.99}} {
			for _, wd := range []float64{0, 0.1} {
				o := &optimizer{name: name, momentum: 0.8, beta1: b[0], beta2: b[1], weightDecay: wd}
				p := &param{Name: "p", Shape: []int{1, 20}, Value: make([]float32, 20), Grad: make([]float32, 20)}
				bias := &param{Name: "b", Shape: []int{1}, Value: []float32{0.5}, Grad: make([]float32, 1)}
				for i := range p.Value {
					p.Value[i] = 0.5
				}
				o.add(p, 0.5)
				o.add(bias, 1)
				for range 3 {
					for i, v := range p.Value {
						p.Grad[i] = float32(gradient(float64(v)))
					}
					bias.Grad[0] = float32(gradient(float64(bias.Value[0])))
					o.step(0.02)
				}
				// The matrix has half the rate, the vector no decay.
				want := reference(name, 0.01, wd, 0.8, b[0], b[1], gradient, 0.5)
				for _, v := range p.Value {
					near(t, name, float64(v), want, 2e-6)
				}
				near(t, name+" without decay", float64(bias.Value[0]), reference(name, 0.02, 0, 0.8, b[0], b[1], gradient, 0.5), 2e-6)
			}
		}
	}
}

// Weights (1, 0), gradient (0, 1), one output: at right angles. The first step of
// Adam is minus the rate times the signs, (0, -1), which has no part along the
// weights; the decay is a tenth. With the gradient (1, 1) the cosine is 0.7 and
// nothing is projected. Along (1, 1e-3) weights and (-1e-3, 1) gradient, the step
// of signs (1, -1) loses its part along the weights.
func TestAdamPByHand(t *testing.T) {
	step := func(value, grad []float32) []float32 {
		o := &optimizer{name: "adamp", beta1: 0.9, beta2: 0.999, weightDecay: 0.5}
		p := &param{Name: "p", Shape: []int{2, 1}, Value: value, Grad: grad}
		o.add(p, 1)
		o.step(0.1)
		return p.Value
	}
	nearAll(t, "right angle", step([]float32{1, 0}, []float32{0, 1}), []float64{1 - 0.1*0.05, -0.1})
	nearAll(t, "no right angle", step([]float32{1, 0}, []float32{1, 1}), []float64{1 - 0.1 - 0.1*0.5, -0.1})
	// step (0.1, -0.1), weights w = (1, 0.001): along = (0.1-0.0001)/(1+1e-6).
	along := (0.1 - 0.0001) / (1 + 1e-6)
	nearAll(t, "projection", step([]float32{1, 0.001}, []float32{-1e-3, 1}),
		[]float64{1 + 0.1 - along - 0.1*0.05, 0.001 - 0.1 - along*0.001 - 0.1*0.05*0.001})
}

// A matrix of two outputs, by columns and, where they come first, by rows: what
// is left of the step is at right angles to each output's weights.
func TestAdamPProjectsOutputByOutput(t *testing.T) {
	for _, first := range []bool{false, true} {
		p := &param{Shape: []int{2, 2}, OutputFirst: first, Value: []float32{1, 0, 0, 2}, Grad: []float32{0, 1, 1, 0}}
		o := &optimizer{}
		step := []float32{5, 6, 7, 8}
		if !o.projected(p, p.Value, step) {
			t.Fatal("nothing was projected")
		}
		nearAll(t, "step", step, []float64{0, 6, 7, 0})
	}
}

func BenchmarkAdamP(b *testing.B) {
	o := &optimizer{name: "adamp", beta1: 0.9, beta2: 0.999}
	p := &param{Shape: []int{512, 256}, Value: make([]float32, 512*256), Grad: make([]float32, 512*256)}
	for i := range p.Value {
		p.Value[i], p.Grad[i] = float32(i%7)-3, float32(i%5)-2
	}
	o.add(p, 1)
	b.SetBytes(int64(4 * len(p.Value)))
	for b.Loop() {
		o.step(1e-3)
	}
}

// BenchmarkAugment is the time of one image.
func BenchmarkAugment(b *testing.B) {
	a := picture(func(x, y int) [3]uint8 { return [3]uint8{uint8(8 * x), uint8(8 * y), uint8(x * y / 4)} })
	for _, c := range []struct {
		name string
		f    func()
	}{{"base", func() { a.base(true) }}, {"trivial", a.trivial}, {"random", func() { a.random(2, 9) }}, {"auto", func() { a.auto("v0") }}, {"rotate", func() { a.rotate(20) }}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.f()
			}
		})
	}
}

func TestSchedules(t *testing.T) {
	base := schedule{rate: 1, epochs: 10, decayRate: 0.5, decayEpochs: 3, patience: 1}
	cosine := func(t float64) float64 { return (1 + math.Cos(math.Pi*t/10)) / 2 }
	for name, want := range map[string][]float64{
		"none":      {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
		"cosine":    {1, cosine(1), cosine(2), cosine(3), cosine(4), 0.5, cosine(6), cosine(7), cosine(8), cosine(9)},
		"step":      {1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125},
		"multistep": {1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125},
	} {
		s := base
		s.name = name
		for i, w := range want {
			near(t, name, s.at(i+1), w, 1e-12)
		}
		s.warmupEpochs, s.warmupRate = 4, 0.2
		for i, w := range []float64{0.2, 0.4, 0.6, 0.8} {
			near(t, name+" warm-up", s.at(i+1), w, 1e-12)
		}
		near(t, name+" after the warm-up", s.at(5), want[4], 1e-12)
	}
	// Within 50 epochs all milestones of multistep are reached: 15, 30 and 45.
	s := schedule{name: "multistep", rate: 1, epochs: 50, decayRate: 0.1}
	for _, c := range []struct {
		epoch int
		want  float64
	}{{15, 1}, {16, 0.1}, {30, 0.1}, {31, 0.01}, {45, 0.01}, {46, 0.001}, {50, 0.001}} {
		near(t, "milestone", s.at(c.epoch), c.want, 1e-12)
	}
	// Plateau: with a patience of 1, the second epoch without a gain cuts.
	s = base
	s.name = "plateau"
	for i, accuracy := range []float64{0.5, 0.5, 0.50001, 0.6, 0.6, 0.6, 0.6, 0.6} {
		near(t, "plateau", s.at(i+1), []float64{1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25}[i], 1e-12)
		s.tell(accuracy)
	}
	near(t, "plateau", s.at(9), 0.125, 1e-12)
}

func TestMixupBlendsImagesAndTargetsAlike(t *testing.T) {
	images, targets := mixed(t, mixing{mixup: 0.4, probability: 1})
	lambda := float64(targets[0]) // class 0's share of image 0
	if lambda <= 0 || lambda >= 1 {
		t.Fatalf("lambda %g", lambda)
	}
	for i, want := range []float64{10*lambda + 30*(1-lambda), 20, 30*lambda + 10*(1-lambda)} {
		for _, v := range images[i*Pixels : (i+1)*Pixels] {
			near(t, "pixel", float64(v), want, 1e-4)
		}
	}
	nearAll(t, "targets", targets, []float64{lambda, 0, 1 - lambda, 0, 1, 0, 1 - lambda, 0, lambda})
}

func TestCutMixSharesTargetsByArea(t *testing.T) {
	images, targets := mixed(t, mixing{cutmix: 1, probability: 1})
	count := func(image int, v float32) (n int) {
		for _, p := range images[image*Pixels : (image+1)*Pixels] {
			if p == v {
				n++
			}
		}
		return n
	}
	own, other := count(0, 10), count(0, 30)
	if own+other != Pixels || own == 0 || other == 0 {
		t.Fatalf("%d pixels of its own, %d of the other", own, other)
	}
	near(t, "share", float64(targets[0]), float64(own)/Pixels, 1e-6)
	near(t, "other share", float64(targets[2]), float64(other)/Pixels, 1e-6)
	if count(2, 10) != other || count(1, 20) != Pixels {
		t.Error("images 2 and 1")
	}
}

// mixed mixes three flat images of classes 0, 1 and 2.
func mixed(t *testing.T, m mixing) (images, targets []float32) {
	t.Helper()
	images, targets = make([]float32, 3*Pixels), []float32{1, 0, 0, 0, 1, 0, 0, 0, 1}
	for i := range images {
		images[i] = float32(10 * (i/Pixels + 1))
	}
	rng := stream.New("test/mix", 5)
	if l := m.mix(rng, images, targets, 3); math.Abs(l-float64(targets[0])) > 1e-6 {
		t.Errorf("lambda %g, target %g", l, targets[0])
	}
	return images, targets
}

func TestMixingHappensAsOftenAsAsked(t *testing.T) {
	rng := stream.New("test/mix/probability", 1)
	images, targets := make([]float32, 2*Pixels), []float32{1, 0, 0, 1}
	done, cuts := 0, 0
	for range 400 {
		for i := range images {
			images[i] = float32(i / Pixels)
		}
		copy(targets, []float32{1, 0, 0, 1})
		if (mixing{mixup: 1, cutmix: 1, probability: 0.5}).mix(rng, images, targets, 2) < 1 {
			done++
			if images[0] == 0 || images[0] == 1 {
				cuts++
			}
		}
	}
	if done < 150 || done > 250 || cuts < done/4 || cuts > 3*done/4 {
		t.Errorf("%d of 400 mixed, %d of them cut", done, cuts)
	}
	if (mixing{probability: 1}).mix(rng, images, targets, 2) != 1 {
		t.Error("mixed without being asked")
	}
}

// Mean 1/2, variance 1/(4(2a+1)).
func TestBetaHasItsMoments(t *testing.T) {
	for _, a := range []float64{0.1, 0.4, 1, 8} {
		rng := stream.New("test/beta", 1)
		const n = 20000
		sum, square := 0.0, 0.0
		for range n {
			x := beta(rng, a)
			if !(x >= 0 && x <= 1) {
				t.Fatalf("Beta(%g, %g) gave %g", a, a, x)
			}
			sum += x
			square += (x - 0.5) * (x - 0.5)
		}
		near(t, "mean", sum/n, 0.5, 0.02)
		near(t, "variance", square/n, 1/(4*(2*a+1)), 0.01)
	}
}

// picture is an image whose pixel (x, y) has the colours of f.
func picture(f func(x, y int) [3]uint8) *augmenter {
	a := &augmenter{image: make([]uint8, Pixels), rng: stream.New("test/augment", 1)}
	for y := range Side {
		for x := range Side {
			c := f(x, y)
			copy(a.image[(y*Side+x)*Channels:], c[:])
		}
	}
	return a
}

func TestGeometricOperations(t *testing.T) {
	// Side-1 times 8 stays below 256: x and y can be read off a pixel.
	ramp := func(x, y int) [3]uint8 { return [3]uint8{uint8(8 * x), uint8(8 * y), 77} }
	for _, c := range []struct {
		name  string
		apply func(*augmenter)
		from  func(x, y int) (int, int)
	}{
		{"nothing", func(a *augmenter) { a.rotate(0); a.shearX(0); a.translateY(0) }, func(x, y int) (int, int) { return x, y }},
		{"translate by 3", func(a *augmenter) { a.translateX(3) }, func(x, y int) (int, int) { return x + 3, y }},
		{"translate by -5", func(a *augmenter) { a.translateY(-5) }, func(x, y int) (int, int) { return x, y - 5 }},
		{"a quarter turn", func(a *augmenter) { a.rotate(90) }, func(x, y int) (int, int) { return y, Side - 1 - x }},
		{"half a turn", func(a *augmenter) { a.rotate(180) }, func(x, y int) (int, int) { return Side - 1 - x, Side - 1 - y }},
	} {
		a := picture(ramp)
		c.apply(a)
		for y := range Side {
			for x := range Side {
				want := [3]uint8{fill, fill, fill}
				if sx, sy := c.from(x, y); sx >= 0 && sy >= 0 && sx < Side && sy < Side {
					want = ramp(sx, sy)
				}
				got := [3]uint8(a.image[(y*Side+x)*Channels:])
				for k := range got {
					if d := int(got[k]) - int(want[k]); d < -1 || d > 1 {
						t.Fatalf("%s: pixel (%d, %d) is %v, want %v", c.name, x, y, got, want)
					}
				}
			}
		}
	}
	// A shear by 1/15.5 moves the top row, 15.5 above the centre, by one pixel.
	a := picture(ramp)
	a.shearX(1 / 15.5)
	if got := a.image[5*Channels]; got < 31 || got > 33 {
		t.Errorf("sheared pixel is %d, want 8*4", got)
	}
}

func TestColourOperations(t *testing.T) {
	flat := func(r, g, b uint8) func(int, int) [3]uint8 {
		return func(int, int) [3]uint8 { return [3]uint8{r, g, b} }
	}
	for _, c := range []struct {
		name  string
		image func(int, int) [3]uint8
		apply func(*augmenter)
		want  [3]uint8 // of the first pixel
	}{
		{"invert", flat(0, 100, 255), func(a *augmenter) { a.invert(0) }, [3]uint8{255, 155, 0}},
		{"posterize to 2 bits", flat(0, 100, 255), func(a *augmenter) { a.posterize(2) }, [3]uint8{0, 64, 192}},
		{"posterize to 8 bits", flat(1, 100, 255), func(a *augmenter) { a.posterize(8) }, [3]uint8{1, 100, 255}},
		{"solarize from 100", flat(99, 100, 255), func(a *augmenter) { a.solarize(100) }, [3]uint8{99, 155, 0}},
		{"add 50 to the dark", flat(99, 127, 128), func(a *augmenter) { a.solarizeAdd(50) }, [3]uint8{149, 177, 128}},
		{"half as bright", flat(99, 100, 255), func(a *augmenter) { a.brightness(0.5) }, [3]uint8{50, 50, 128}},
		{"twice as bright", flat(99, 100, 255), func(a *augmenter) { a.brightness(2) }, [3]uint8{198, 200, 255}},
		{"no colour", flat(100, 200, 50), func(a *augmenter) { a.color(0) }, [3]uint8{153, 153, 153}},
		{"the same colour", flat(100, 200, 50), func(a *augmenter) { a.color(1) }, [3]uint8{100, 200, 50}},
		{"no contrast", flat(100, 200, 50), func(a *augmenter) { a.contrast(0) }, [3]uint8{153, 153, 153}},
		{"sharpness of the flat", flat(100, 200, 50), func(a *augmenter) { a.sharpness(1.9) }, [3]uint8{100, 200, 50}},
		{"contrast spread", func(x, _ int) [3]uint8 { return [3]uint8{uint8(50 + x), 7, uint8(100 + 2*x)} }, func(a *augmenter) { a.autoContrast(0) }, [3]uint8{0, 7, 0}},
		{"equalize the flat", flat(9, 9, 9), func(a *augmenter) { a.equalize(0) }, [3]uint8{9, 9, 9}},
	} {
		a := picture(c.image)
		c.apply(a)
		if got := [3]uint8(a.image); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	// Equalized, 32 values that are equally frequent spread over the range.
	a := picture(func(x, _ int) [3]uint8 { return [3]uint8{uint8(100 + x), 0, 0} })
	a.equalize(0)
	if a.image[0] > 8 || a.image[(Side-1)*Channels] < 245 {
		t.Errorf("equalized from %d to %d", a.image[0], a.image[(Side-1)*Channels])
	}
	// Sharpened, a bright pixel of 130 among 0 becomes itself plus the factor less
	// one times its distance from the mean, 130 - 130*5/13.
	a = picture(func(x, y int) [3]uint8 {
		if x == 9 && y == 9 {
			return [3]uint8{130, 130, 130}
		}
		return [3]uint8{}
	})
	a.sharpness(1.5)
	if got := a.image[(9*Side+9)*Channels]; got != 170 {
		t.Errorf("sharpened pixel is %d, want 130+0.5*80", got)
	}
}

func TestEveryPolicyNamesKnownOperations(t *testing.T) {
	for name, pairs := range policies {
		if len(pairs) != 25 {
			t.Errorf("policy %s has %d pairs", name, len(pairs))
		}
		for _, pair := range pairs {
			for _, s := range pair {
				if c, ok := policyOperations[s.name]; !ok || c.apply == nil || s.probability < 0 || s.probability > 1 || s.level < 0 || s.level > 10 {
					t.Errorf("policy %s: %+v", name, s)
				}
			}
		}
	}
	a := picture(func(x, y int) [3]uint8 { return [3]uint8{uint8(8 * x), uint8(8 * y), uint8(x * y / 4)} })
	before := slices.Clone(a.image)
	changed := map[string]int{}
	for range 200 {
		for name, f := range map[string]func(){
			"trivial": a.trivial, "random": func() { a.random(2, 9) }, "v0": func() { a.auto("v0") }, "original": func() { a.auto("original") }, "base": func() { a.base(true) },
		} {
			copy(a.image, before)
			f()
			if !slices.Equal(a.image, before) {
				changed[name]++
			}
		}
	}
	for _, name := range []string{"trivial", "random", "v0", "original", "base"} {
		if changed[name] < 100 {
			t.Errorf("%s changed %d of 200 images", name, changed[name])
		}
	}
}

// What is mirrored is so exactly, and only where the data set allows it.
func TestBaseAugmentationMovesAndMirrors(t *testing.T) {
	ramp := func(x, y int) [3]uint8 { return [3]uint8{uint8(8 * x), uint8(8 * y), 0} }
	mirrored := 0
	for i := range 100 {
		for _, symmetric := range []bool{false, true} {
			a := picture(ramp)
			a.rng = stream.New("test/base", uint64(i))
			a.base(symmetric)
			centre, right := a.image[(16*Side+16)*Channels], a.image[(16*Side+17)*Channels]
			switch {
			case right == centre+8:
			case right == centre-8 && symmetric:
				mirrored++
			default:
				t.Fatalf("neighbours %d and %d", centre, right)
			}
			// Pixel 16 came from at most two pixels away, mirrored it is 15.
			if c := int(centre) / 8; c < 13 || c > 18 {
				t.Errorf("pixel 16 came from %d", c)
			}
		}
	}
	if mirrored < 30 || mirrored > 70 {
		t.Errorf("%d of 100 mirrored", mirrored)
	}
}
