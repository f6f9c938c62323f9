package selection

import (
	"math"
	"testing"

	"quicktune/internal/blas"
)

func TestTheCentredSpectrumIsThatOfTheCovariance(t *testing.T) {
	for _, c := range []struct {
		n, d   int
		offset float64 // added to all features
		shift  float64 // relative to the mean variance times n
		told   bool
	}{
		{60, 7, 0, 0.1, true}, {200, 40, 3, 1e-3, true}, {200, 40, 0.5, 1e-6, true}, {50, 20, 1e7, 1e-3, false}, {20, 30, 0, 0.1, false},
		{200, 40, 3, 0, true}, {50, 20, 1e7, 0, false}, {30, 28, 0, 0, true},
	} {
		data := planted(c.n, c.d, 4, 0.3, 5)
		for i := range data.Features {
			data.Features[i] += c.offset
		}
		p := mustProbe(t, data)
		e, err := p.eigen()
		if err != nil {
			t.Fatal(err)
		}
		g := p.moments()
		shift := c.shift * g.trace() / float64(c.d)
		s, ok := e.centred(shift)
		if ok != c.told {
			t.Errorf("%d x %d, offset %g: told apart %v, want %v", c.n, c.d, c.offset, ok, c.told)
		}
		if !ok {
			continue
		}
		a := g.copied()
		for i := range c.d {
			a[i*c.d+i] += shift
		}
		if err := blas.Cholesky(a, c.d, c.d); err != nil {
			t.Fatal(err)
		}
		log := 0.0
		for i := range c.d {
			log += 2 * math.Log(a[i*c.d+i])
		}
		if got := s.logDeterminant(); math.Abs(got-log) > 1e-8*math.Abs(log) {
			t.Errorf("%d x %d, offset %g: log determinant %v, want %v", c.n, c.d, c.offset, got, log)
		}
		want := HScore{}.share(p, a, transposed(p.classes, c.d, g.sums), c.d, 1)
		if got := s.between(); math.Abs(got-want) > 1e-8*want {
			t.Errorf("%d x %d, offset %g: between classes %v, want %v", c.n, c.d, c.offset, got, want)
		}
	}
}
