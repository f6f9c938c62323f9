package selection

import (
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"quicktune/internal/stream"
)

// planted draws n images of the classes with rectified features, the mean of
// whose class is moved by strength, and everything else a score may need.
func planted(n, d, classes int, strength float64, seed uint64) Data {
	rng := stream.New("selection/test/planted", seed)
	data := Data{Model: "planted", Dim: d, SourceClasses: 2 * classes, ReferenceDim: 4, Outputs: 2, Weights: 5,
		SourceMeans: make([]float64, 3*d), SourceWeights: []float64{1, 2, 3}}
	means := make([]float64, classes*d)
	for i := range means {
		means[i] = strength * rng.NormFloat64()
	}
	for i := range data.SourceMeans {
		data.SourceMeans[i] = rng.Float64()
	}
	for i := range n {
		c := i % classes
		data.Labels = append(data.Labels, c)
		for j := range d {
			data.Features = append(data.Features, max(0, means[c*d+j]+rng.NormFloat64()+0.5))
		}
		row := make([]float64, 2*classes)
		for z := range row {
			row[z] = rng.NormFloat64()
		}
		row[c] += 3 * strength
		softmax(row)
		data.Source = append(data.Source, row...)
		for range 4 {
			data.Reference = append(data.Reference, means[c*d]+rng.NormFloat64())
		}
		for range 10 {
			data.Gradients = append(data.Gradients, means[c*d]+rng.NormFloat64())
		}
	}
	return data
}

// everything lists each scorer that judges one model alone.
func everything() []Scorer {
	var out []Scorer
	for _, s := range append(All(), HScore{}, LogME{Rule: FixedPoint}, KNN{K: 3}, NLEEP{Diagonal: true}, StaticPrior{map[string]float64{"planted": 0.5}}) {
		if s.Needs()&NeedsPool == 0 {
			out = append(out, s)
		}
	}
	return out
}

func TestNamesAreUnique(t *testing.T) {
	var names []string
	for _, s := range All() {
		if slices.Contains(names, s.Name()) {
			t.Errorf("two scores are called %q", s.Name())
		}
		names = append(names, s.Name())
	}
}

// A score that cannot see the classes in the features is no score.
func TestScoresRiseWithWhatThereIsToSee(t *testing.T) {
	for _, shape := range []struct{ n, d, classes int }{{150, 20, 5}, {40, 60, 4}} {
		weak := mustProbe(t, planted(shape.n, shape.d, shape.classes, 0.05, 1))
		strong := mustProbe(t, planted(shape.n, shape.d, shape.classes, 1, 1))
		for _, s := range everything() {
			switch s.(type) {
			case Sparsity, Peaks, DomainSimilarity, RSA, StaticPrior, Random:
				continue // look at other things than the classes
			case HScore, SFDA:
				if shape.n <= shape.d {
					continue // saturated
				}
			}
			a, err := s.Score(weak)
			if err != nil {
				t.Errorf("%s: %v", s.Name(), err)
			}
			b, err := s.Score(strong)
			if err != nil || !(b > a) {
				t.Errorf("%s with %d images: %v on weak features and %v on strong ones (%v)", s.Name(), shape.n, a, b, err)
			}
		}
	}
}

func TestHScoreSaysNothingWithFewerImagesThanFeatures(t *testing.T) {
	got, err := HScore{}.Score(mustProbe(t, planted(40, 60, 4, 0, 1)))
	if err != nil || math.Abs(got-3) > 1e-9 {
		t.Errorf("got %v (%v), want the number of classes less 1", got, err)
	}
}

// transformed returns d with its features replaced.
func (d Data) transformed(f func(row []float64) []float64) Data {
	var out []float64
	for i := range d.Labels {
		out = append(out, f(d.Features[i*d.Dim:(i+1)*d.Dim])...)
	}
	d.Features, d.Dim = out, len(out)/len(d.Labels)
	d.SourceMeans = d.Features[:len(d.SourceWeights)*d.Dim]
	return d
}

// reflection returns the product with a random orthogonal matrix I - 2vvᵀ/|v|².
func reflection(d int, rng interface{ NormFloat64() float64 }) func(row []float64) []float64 {
	v := make([]float64, d)
	for i := range v {
		v[i] = rng.NormFloat64()
	}
	length := dot(v, v)
	return func(row []float64) []float64 {
		out, by := append([]float64(nil), row...), 2*dot(row, v)/length
		for i := range out {
			out[i] -= by * v[i]
		}
		return out
	}
}

func TestInvariances(t *testing.T) {
	// GBC feels a turn: its least variance acts feature by feature.
	rotation := []Scorer{LFC{}, LFC{Variant: Centred}, LFC{Variant: OffDiagonal}, LFC{Variant: CKA}, LFC{Variant: Cosine},
		LogME{}, RegularisedHScore{}, TransRate{}, Generalisation{}, KNN{}}
	scale := []Scorer{LFC{}, LFC{Variant: Centred}, LFC{Variant: OffDiagonal}, LFC{Variant: CKA}, LFC{Variant: Cosine},
		RegularisedHScore{}, Generalisation{}, KNN{}, PARC{Components: -1}, Logistic{}}
	shift := []Scorer{LFC{Variant: Centred}, LFC{Variant: CKA}, RegularisedHScore{}, TransRate{}, GBC{}, KNN{}, PARC{Components: -1}, SFDA{}}
	// Relabelling shuffles the sample of Logistic and the start of NLEEP.
	relabelling := slices.DeleteFunc(everything(), func(s Scorer) bool { return s.Name() == "logistic" })
	// A feature that is the same for all images adds nothing, but for LogME one
	// weight and for TransRate and others nothing.
	idle := []Scorer{LFC{Variant: Centred}, LFC{Variant: CKA}, TransRate{}, KNN{}}
	rapid.Check(t, func(t *rapid.T) {
		n, dim, classes := rapid.IntRange(12, 40).Draw(t, "n"), rapid.IntRange(2, 50).Draw(t, "d"), rapid.IntRange(2, 4).Draw(t, "classes")
		d := planted(n, dim, classes, rapid.Float64Range(0, 1).Draw(t, "strength"), rapid.Uint64().Draw(t, "seed"))
		rng := stream.New("selection/test/reflection", rapid.Uint64().Draw(t, "turn"))
		p, err := NewProbe(d)
		if err != nil {
			t.Fatal(err)
		}
		compare := func(what string, list []Scorer, changed Data) {
			q, err := NewProbe(changed)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range list {
				before, err := s.Score(p)
				after, err2 := s.Score(q)
				if (err == nil) != (err2 == nil) || math.Abs(before-after) > 1e-7*max(1, math.Abs(before)) {
					t.Fatalf("%s, %s: %v (%v) became %v (%v)", s.Name(), what, before, err, after, err2)
				}
			}
		}
		compare("turned", rotation, d.transformed(reflection(dim, rng)))
		factor := math.Exp(rapid.Float64Range(-2, 2).Draw(t, "factor"))
		compare("scaled", scale, d.transformed(func(row []float64) []float64 {
			out := make([]float64, dim)
			for i, v := range row {
				out[i] = factor * v
			}
			return out
		}))
		compare("shifted", shift, d.transformed(func(row []float64) []float64 {
			out := make([]float64, dim)
			for i, v := range row {
				out[i] = v + float64(i%3) - 0.5
			}
			return out
		}))
		compare("with a constant feature", idle, d.transformed(func(row []float64) []float64 { return append(slices.Clone(row), 0.25) }))
		relabelled := d
		relabelled.Labels = nil
		for _, y := range d.Labels {
			relabelled.Labels = append(relabelled.Labels, 10-7*y)
		}
		compare("relabelled", relabelling, relabelled)
	})
}

// LogME counts weights, so a feature of zeros costs something; how much follows
// from the formula: nothing, since the prior of a weight without data is its
// posterior.
func TestAWeightWithoutDataLeavesTheEvidenceAlone(t *testing.T) {
	for _, shape := range []struct{ n, d int }{{60, 12}, {20, 30}, {20, 19}} {
		d := planted(shape.n, shape.d, 3, 0.5, 7)
		want, err := LogME{}.Score(mustProbe(t, d))
		if err != nil {
			t.Fatal(err)
		}
		padded := d.transformed(func(row []float64) []float64 { return append(slices.Clone(row), make([]float64, 9)...) })
		turned := padded.transformed(reflection(shape.d+9, stream.New("selection/test/padded", 0)))
		for name, q := range map[string]Data{"zeros": padded, "dependent features": turned} {
			got, err := LogME{}.Score(mustProbe(t, q))
			if err != nil || math.Abs(got-want) > 1e-9 {
				t.Errorf("%v with %s: got %v (%v), want %v", shape, name, got, err, want)
			}
		}
		// The public rule does not have this property once the rank falls
		// short of the number of features.
		if shape.n < shape.d {
			before, _ := LogME{Rule: FixedPoint}.Score(mustProbe(t, d))
			if before <= want {
				t.Errorf("%v: the public rule gives %v, not more than %v", shape, before, want)
			}
		}
	}
}

// The gradient of output c by the weights of the last layer is the features in
// row c and 0 elsewhere.
func TestLGCOfTheLastLayerIsLFC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := planted(rapid.IntRange(6, 30).Draw(t, "n"), rapid.IntRange(2, 20).Draw(t, "d"), 3, 0.5, rapid.Uint64().Draw(t, "seed"))
		d.Outputs = rapid.IntRange(1, 4).Draw(t, "outputs")
		d.Weights = d.Outputs * d.Dim
		d.Gradients = make([]float64, len(d.Labels)*d.Outputs*d.Weights)
		for i := range d.Labels {
			for o := range d.Outputs {
				copy(d.Gradients[(i*d.Outputs+o)*d.Weights+o*d.Dim:], d.Features[i*d.Dim:(i+1)*d.Dim])
			}
		}
		p, err := NewProbe(d)
		if err != nil {
			t.Fatal(err)
		}
		want, err := LFC{}.Score(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, kernel := range []Kernel{TraceKernel, SummedKernel} {
			got, err := LGC{kernel}.Score(p)
			if err != nil || math.Abs(got-want) > 1e-12 {
				t.Fatalf("%s: got %v (%v), want %v", LGC{kernel}.Name(), got, err, want)
			}
		}
	})
}

// Over random Gaussian matrices the squared error of the Gram matrix is
// (|K|² + trace²)/target.
func TestRandomProjectionKeepsProductsOfRows(t *testing.T) {
	const n, d, repetitions = 12, 200, 40
	rng := stream.New("selection/test/rows", 0)
	x := make([]float64, n*d)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	exact := products(x, n, d)
	trace := 0.0
	for i := range n {
		trace += exact[i*n+i]
	}
	for _, target := range []int{100, 1000} {
		sum := 0.0
		for seed := range repetitions {
			z, err := RandomProjection(x, n, d, target, uint64(seed))
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range products(z, n, target) {
				sum += (v - exact[i]) * (v - exact[i]) / repetitions
			}
		}
		want := (dot(exact, exact) + trace*trace) / float64(target)
		if sum < 0.7*want || sum > 1.4*want {
			t.Errorf("to %d: squared error %v, want about %v", target, sum, want)
		}
	}
	for _, bad := range []func() ([]float64, error){
		func() ([]float64, error) { return RandomProjection(x, n, d+1, 5, 0) },
		func() ([]float64, error) { return RandomProjection(x, n, d, 0, 0) },
	} {
		if _, err := bad(); err == nil {
			t.Error("no error for a wrong shape")
		}
	}
}

func products(x []float64, n, d int) []float64 {
	out := make([]float64, n*n)
	for i := range n {
		for j := range n {
			out[i*n+j] = dot(x[i*d:(i+1)*d], x[j*d:(j+1)*d])
		}
	}
	return out
}

// Jensen: |y|²/(yᵀΘy) is at most yᵀΘ⁻¹y/|y|².
func TestSpeedBoundsGeneralisation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(6, 20).Draw(t, "n")
		d := planted(n, n+rapid.IntRange(1, 20).Draw(t, "more"), 2, 0.3, rapid.Uint64().Draw(t, "seed"))
		p, err := NewProbe(d)
		if err != nil {
			t.Fatal(err)
		}
		const ridge = 1e-2
		got, err := Generalisation{Ridge: ridge}.Score(p)
		if err != nil {
			t.Fatal(err)
		}
		// The kernel scaled to a mean diagonal of 1, with labels of both signs.
		kernel := products(d.Features, n, d.Dim)
		trace, speed := 0.0, 0.0
		for i := range n {
			trace += kernel[i*n+i]
		}
		for i := range n {
			for j := range n {
				speed += float64(1-2*d.Labels[i]) * float64(1-2*d.Labels[j]) * kernel[i*n+j]
			}
		}
		speed = speed*float64(n)/trace + ridge*float64(n)
		if 1/(speed/float64(n)) > -got+1e-9 {
			t.Fatalf("speed %v, bound %v", speed/float64(n), -got)
		}
	})
}

func TestNLEEPOfPerfectClustersIsZero(t *testing.T) {
	d := Data{Dim: 3}
	rng := stream.New("selection/test/clusters", 0)
	for i := range 90 {
		d.Labels = append(d.Labels, i%3)
		for j := range 3 {
			v := 0.01 * rng.NormFloat64()
			if j == i%3 {
				v++
			}
			d.Features = append(d.Features, v)
		}
	}
	for _, diagonal := range []bool{false, true} {
		got, err := NLEEP{PerClass: 1, Diagonal: diagonal}.Score(mustProbe(t, d))
		if err != nil || got < -1e-6 || got > 0 {
			t.Errorf("diagonal %v: got %v (%v), want 0", diagonal, got, err)
		}
		noise, err := NLEEP{PerClass: 1, Diagonal: diagonal}.Score(mustProbe(t, planted(90, 3, 3, 0, 1)))
		if err != nil || noise > -0.8 {
			t.Errorf("diagonal %v: %v (%v) for features without classes, want about -log 3", diagonal, noise, err)
		}
	}
}

func TestBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		classes := rapid.IntRange(2, 4).Draw(t, "classes")
		d := planted(rapid.IntRange(9, 40).Draw(t, "n"), rapid.IntRange(2, 30).Draw(t, "d"), classes, rapid.Float64Range(0, 3).Draw(t, "strength"), rapid.Uint64().Draw(t, "seed"))
		p, err := NewProbe(d)
		if err != nil {
			t.Fatal(err)
		}
		k := float64(classes)
		for _, c := range []struct {
			s         Scorer
			low, high float64
		}{
			{LFC{}, -1, 1}, {LFC{Variant: CKA}, 0, 1}, {LEEP{}, math.Inf(-1), 0}, {NCE{}, -math.Log(k), 0},
			{HScore{}, 0, min(k-1, float64(d.Dim))}, {RegularisedHScore{}, 0, (k - 1) * float64(p.N()) / float64(p.N()-1)},
			{GBC{}, -k * (k - 1), 0}, {PARC{}, -100, 100}, {SFDA{}, 0, 1}, {DomainSimilarity{MinImages: 1}, 0, 1},
			{Sparsity{}, -1, 0}, {Peaks{}, -float64(d.Dim), 0}, {RSA{}, -1, 1}, {KNN{}, 0, 1}, {Logistic{}, 0, 1}, {Random{}, 0, 1},
		} {
			v, err := c.s.Score(p)
			if err != nil || v < c.low-1e-9 || v > c.high+1e-9 {
				t.Fatalf("%s: %v (%v) is not in [%v, %v]", c.s.Name(), v, err, c.low, c.high)
			}
		}
	})
}

func TestNoScoreIsEverNaN(t *testing.T) {
	two := func(change func(*Data)) Data {
		d := planted(20, 6, 2, 0.5, 3)
		change(&d)
		return d
	}
	for name, d := range map[string]Data{
		"dead features": two(func(d *Data) {
			for i := range d.Features {
				if i%6 != 2 {
					d.Features[i] = 0
				}
			}
		}),
		"one odd image": two(func(d *Data) {
			for i := range d.Features {
				d.Features[i] = 1
			}
			d.Features[7] = 2
		}),
		"an image of zeros": two(func(d *Data) { clear(d.Features[:6]) }),
		"perfect features": two(func(d *Data) {
			for i := range d.Features {
				d.Features[i] = float64((1+i%6)*d.Labels[i/6]) - 1
			}
		}),
		"huge features": two(func(d *Data) {
			for i := range d.Features {
				d.Features[i] *= 1e49
			}
		}),
		"small features": two(func(d *Data) {
			for i := range d.Features {
				d.Features[i] *= 1e-49
			}
		}),
		"large mean": two(func(d *Data) {
			for i := range d.Features {
				d.Features[i] += 1e9
			}
		}),
		"constant gradients": two(func(d *Data) {
			for i := range d.Gradients {
				d.Gradients[i] = 1
			}
		}),
		"constant reference": two(func(d *Data) {
			for i := range d.Reference {
				d.Reference[i] = 1
			}
		}),
		"source class without mass": two(func(d *Data) {
			for i := 0; i < len(d.Source); i += 4 {
				copy(d.Source[i:], []float64{1, 0, 0, 0})
			}
		}),
		"one image a class": two(func(d *Data) {
			for i := range d.Labels {
				d.Labels[i] = i
			}
		}),
		"one feature":  two(func(d *Data) { d.Features, d.Dim, d.SourceMeans = d.Features[:20], 1, d.SourceMeans[:3] }),
		"equal images": two(func(d *Data) { copy(d.Features[60:], d.Features[:60]) }),
	} {
		p, err := NewProbe(d)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, s := range everything() {
			v, err := s.Score(p)
			if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
				t.Errorf("%s, %s: %v", name, s.Name(), v)
			}
			if err != nil && (strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "selection: ")) {
				t.Errorf("%s, %s: not one clear line: %v", name, s.Name(), err)
			}
		}
	}
}

// Scores share what they compute of a probe, whoever asks first.
func TestScoresOfOneProbeAtOnceAreThoseInTurn(t *testing.T) {
	d := planted(60, 30, 4, 0.5, 9)
	list := everything()
	inTurn := make([]float64, len(list))
	p := mustProbe(t, d)
	for i, s := range list {
		v, err := s.Score(p)
		if err != nil {
			t.Fatal(err)
		}
		inTurn[i] = v
	}
	p = mustProbe(t, d)
	atOnce := make([]float64, len(list))
	var group sync.WaitGroup
	for i, s := range slices.Backward(list) {
		group.Go(func() {
			v, err := s.Score(p)
			if err != nil {
				t.Error(err)
			}
			atOnce[i] = v
		})
	}
	group.Wait()
	for i, s := range list {
		if atOnce[i] != inTurn[i] {
			t.Errorf("%s: %v, alone %v", s.Name(), atOnce[i], inTurn[i])
		}
	}
}
