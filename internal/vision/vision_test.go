package vision

import (
	"math"
	"slices"
	"testing"

	"quicktune/internal/nn"
	"quicktune/internal/nn/layers"
	"quicktune/internal/stream"
)

func images[T Float](n int, seed uint64) layers.Batch[T] {
	rng := stream.New("test/vision", seed)
	x := layers.Batch[T]{N: n, H: Side, W: Side, C: Channels, Data: make([]T, n*Side*Side*Channels)}
	for i := range x.Data {
		x.Data[i] = T(rng.NormFloat64())
	}
	return x
}

func network[T Float](t testing.TB, name string, classes int) *Network[T] {
	t.Helper()
	n, err := New[T](name, classes)
	if err != nil {
		t.Fatal(err)
	}
	n.Init(1)
	return n
}

// Sizes as the table of the hub has them, learned parameters with a head for 10
// classes and multiply-accumulates of one image.
func TestSizesOfTheHub(t *testing.T) {
	total := 0
	for _, s := range Specs {
		n := network[float32](t, s.Name, 10)
		total += n.Size()
		if n.Size() < 3000 || n.Size() > 600_000 {
			t.Errorf("%s has %d parameters", s.Name, n.Size())
		}
		t.Logf("%-14s %2d blocks %7d parameters %5.2f M multiply-accumulates", s.Name, len(n.Blocks), n.Size(), float64(n.MACs())/1e6)
		names := map[string]bool{}
		for _, p := range n.Params() {
			if names[p.Name] {
				t.Errorf("%s: %s occurs twice", s.Name, p.Name)
			}
			names[p.Name] = true
		}
		var norms bool
		for _, b := range n.Blocks {
			layers.Visit(b.Layer, func(l layers.Layer[float32]) {
				if _, ok := l.(*layers.BatchNorm[float32]); ok {
					norms = true
				}
			})
		}
		if norms != s.BatchNorm {
			t.Errorf("%s: BatchNorm is %v", s.Name, s.BatchNorm)
		}
	}
	if total*4 > 12<<20 {
		t.Errorf("the hub's weights need %d bytes", total*4)
	}
}

// The gradient of whole networks in float64, by a few numbers of every
// parameter. Rectifiers and maxima have kinks, which central differences may
// meet, so those networks are checked where they have none: see package layers.
func TestGradientsOfWholeNetworks(t *testing.T) {
	for _, name := range []string{"mixer_xs", "convmixer_xs", "vit_xs"} {
		t.Run(name, func(t *testing.T) {
			n := network[float64](t, name, 3)
			c := &layers.Context[float64]{Train: true}
			x := images[float64](2, 3)
			targets := []float64{1, 0, 0, 0, 0.25, 0.75}
			var fixed [][]float64
			for _, p := range n.Params() {
				fixed = append(fixed, slices.Clone(p.Value))
			}
			pass := func(back bool) float64 {
				for i, p := range n.Params() {
					if p.Fixed {
						copy(p.Value, fixed[i])
					}
				}
				y := n.Classify(c, n.Body(c, x))
				g := y
				g.Data = c.Get(y.Len())
				copy(g.Data, y.Data)
				loss := layers.CrossEntropy(g.Data, targets, 2, 1)
				if back {
					n.BodyBack(c, n.ClassifyBack(c, g, true), 0)
				} else {
					c.Put(g.Data)
				}
				return loss
			}
			pass(true)
			for _, p := range n.Params() {
				// What a layer norm takes away again has no gradient but rounding.
				if p.Fixed || !slices.ContainsFunc(p.Grad, func(g float64) bool { return math.Abs(g) > 1e-12 }) {
					continue
				}
				if e := nn.CheckGradient(func() float64 { return pass(false) }, p.Value, slices.Clone(p.Grad), 4); !(e <= 1e-5) {
					t.Errorf("%s: relative error %.1e", p.Name, e)
				}
			}
		})
	}
}

func TestWeightsSurviveAFile(t *testing.T) {
	n := network[float32](t, "residual_xs", 7)
	w := n.Weights()
	w.Source, w.SourceAccuracy = "shapes", 0.75
	data, err := w.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeWeights(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.Model != w.Model || got.Classes != 7 || got.Source != "shapes" || got.SourceAccuracy != 0.75 {
		t.Errorf("%+v", got)
	}
	for name, v := range w.Values {
		if !slices.Equal(v, got.Values[name]) {
			t.Errorf("%s differs", name)
		}
	}
	if _, err := DecodeWeights(data[:len(data)-4]); err == nil {
		t.Error("a truncated file was read")
	}
	other := network[float32](t, "residual_s", 7)
	if err := other.SetBody(got); err == nil {
		t.Error("weights of a smaller network were accepted")
	}
}

func FuzzDecodeWeights(f *testing.F) {
	n, err := New[float32]("separable_xs", 2)
	if err != nil {
		f.Fatal(err)
	}
	data, err := n.Weights().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:200])
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := DecodeWeights(data)
		if err != nil {
			return
		}
		again, err := New[float32](w.Model, w.Classes)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.SetBody(w); err != nil {
			t.Error(err)
		}
		if err := again.SetHead(w); err != nil {
			t.Error(err)
		}
	})
}

// Stopping the backward pass early gives the same gradients above.
func TestBackwardStopsAtTheFirstBlockWanted(t *testing.T) {
	for _, name := range []string{"residual_xs", "vit_xs", "plain_s"} {
		grads := func(first int) [][]float32 {
			n := network[float32](t, name, 3)
			c := &layers.Context[float32]{Train: true}
			y := n.Classify(c, n.Body(c, images[float32](4, 1)))
			g := y
			g.Data = slices.Clone(y.Data)
			n.BodyBack(c, n.ClassifyBack(c, g, true), first)
			var out [][]float32
			for i, b := range n.Blocks {
				for _, p := range b.Layer.Params() {
					if i >= first {
						out = append(out, p.Grad)
					} else if slices.ContainsFunc(p.Grad, func(v float32) bool { return v != 0 }) {
						t.Errorf("%s: %s below block %d has a gradient", name, p.Name, first)
					}
				}
			}
			return out
		}
		all, upper := grads(0), grads(2)
		for i, g := range upper {
			if !slices.Equal(g, all[len(all)-len(upper)+i]) {
				t.Errorf("%s: gradients differ", name)
			}
		}
	}
}

func step(b *testing.B, name string, batch int) {
	n := network[float32](b, name, 10)
	c := &layers.Context[float32]{Train: true}
	x := images[float32](batch, 1)
	targets := make([]float32, batch*10)
	labels := make([]int, batch)
	for i := range labels {
		labels[i] = i % 10
	}
	layers.Smooth(targets, labels, 10, 0)
	for b.Loop() {
		y := n.Classify(c, n.Body(c, x))
		g := y
		g.Data = c.Get(y.Len())
		copy(g.Data, y.Data)
		layers.CrossEntropy(g.Data, targets, batch, 1)
		n.BodyBack(c, n.ClassifyBack(c, g, true), 0)
		for _, p := range n.Params() {
			clear(p.Grad)
		}
	}
	b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "images/s")
}

// BenchmarkStep is one forward and backward pass of a batch of 64.
func BenchmarkStep(b *testing.B) {
	for _, s := range Specs {
		b.Run(s.Name, func(b *testing.B) { step(b, s.Name, 64) })
	}
}
