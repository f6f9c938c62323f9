package classify

import (
	"bytes"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"quicktune/generate/trainer"
	"quicktune/internal/stream"
	"quicktune/internal/vision"
)

func model(t testing.TB, classes ...string) *Model {
	t.Helper()
	n, err := vision.New[float32]("residual_xs", len(classes))
	if err != nil {
		t.Fatal(err)
	}
	n.Init(1)
	m, err := New(n.Weights(), classes)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func pictures(n, classes int) trainer.Split {
	rng := stream.New("classify/test", 1)
	d := trainer.Split{Pixels: make([]uint8, n*trainer.Pixels)}
	for i := range d.Pixels {
		d.Pixels[i] = uint8(rng.IntN(256))
	}
	for i := range n {
		d.Labels = append(d.Labels, i%classes)
	}
	return d
}

func TestAModelComesBackFromItsFile(t *testing.T) {
	m := model(t, "kėdė", "b c", `"d"`)
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(again.Classes, "|") != strings.Join(m.Classes, "|") {
		t.Errorf("classes %q", again.Classes)
	}
	d := pictures(70, 3)
	want, err := m.Probabilities(t.Context(), d.Pixels)
	if err != nil {
		t.Fatal(err)
	}
	got, err := again.Probabilities(t.Context(), d.Pixels)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		sum := float32(0)
		for c := range want[i] {
			if got[i][c] != want[i][c] {
				t.Fatalf("picture %d: %v, want %v", i, got[i], want[i])
			}
			sum += got[i][c]
		}
		if math.Abs(float64(sum)-1) > 1e-5 {
			t.Errorf("picture %d: probabilities add up to %g", i, sum)
		}
	}
}

func TestConfusionCountsEveryPictureOnce(t *testing.T) {
	m := model(t, "a", "b", "c")
	d := pictures(100, 3)
	confusion, err := m.Confusion(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Probabilities(t.Context(), d.Pixels)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for i := range p {
		if Best(p[i]) == d.Labels[i] {
			right++
		}
		confusion[[2]int{d.Labels[i], Best(p[i])}]--
	}
	for pair, n := range confusion {
		if n != 0 {
			t.Errorf("class %d as %d: %d too many", pair[0], pair[1], n)
		}
	}
	again, err := m.Confusion(t.Context(), d)
	if err != nil || again.Right() != right {
		t.Errorf("%d right, want %d: %v", again.Right(), right, err)
	}
}

// Values of Newcombe, "Two-sided confidence intervals for the single
// proportion", Statistics in Medicine 17, 1998, table I, method 3.
func TestIntervalsAreWilsons(t *testing.T) {
	for _, c := range []struct {
		right, n  int
		low, high float64
	}{
		{81, 263, 0.2553, 0.3662},
		{15, 148, 0.0624, 0.1605},
		{0, 20, 0, 0.1611},
		{1, 29, 0.0061, 0.1718},
		{0, 0, 0, 1},
	} {
		low, high := Interval(c.right, c.n)
		if math.Abs(low-c.low) > 5e-5 || math.Abs(high-c.high) > 5e-5 {
			t.Errorf("%d of %d: [%.4f, %.4f], want [%.4f, %.4f]", c.right, c.n, low, high, c.low, c.high)
		}
	}
}

func FuzzDecode(f *testing.F) {
	data, err := model(f, "a", "b").Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:100])
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decode(data)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if second, err := decode(again); err != nil || !bytes.Equal(must(second.Encode()), again) {
			t.Errorf("a model that was read and written is another one: %v", err)
		}
	})
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}
