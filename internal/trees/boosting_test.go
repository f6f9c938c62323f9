package trees

import (
	"math"
	"testing"

	"quicktune/internal/stream"
)

// table draws a table like that of encoded configurations: groups of one-hot
// columns, conditional columns that are missing in most rows, and continuous
// ones; the targets depend on some of each.
func table(seed uint64, rows, cols int) (x, y []float64) {
	rng := stream.New("trees: test table", seed)
	x = make([]float64, rows*cols)
	y = make([]float64, rows)
	hot := cols / 2
	for r := range rows {
		row := x[r*cols : (r+1)*cols]
		group := rng.IntN(max(1, hot))
		if hot > 0 {
			row[group] = 1
		}
		target := float64(group) / 10
		for c := hot; c < cols; c++ {
			switch {
			case c%4 == 0 && rng.Float64() < 0.8:
				row[c] = math.NaN()
			case c%4 == 1:
				row[c] = float64(rng.IntN(6))
				target += row[c] / 10
			default:
				row[c] = rng.NormFloat64()
				target += row[c] * float64(c-hot) / float64(cols)
			}
		}
		y[r] = target + 0.1*rng.NormFloat64()
	}
	return x, y
}

func TestBoostingExplainsItsTrainingData(t *testing.T) {
	const rows, cols = 600, 20
	x, y := table(1, rows, cols)
	for _, loss := range []Loss{Squared, Absolute, Quantile} {
		m, err := Boosting{Loss: loss}.Fit(x, cols, y, nil)
		if err != nil {
			t.Fatal(err)
		}
		mean, residual, total := exactMean(y, nil), 0.0, 0.0
		for r, p := range m.PredictBatch(nil, x) {
			residual += (p - y[r]) * (p - y[r])
			total += (y[r] - mean) * (y[r] - mean)
			if one := m.Predict(x[r*cols : (r+1)*cols]); one != p {
				t.Fatalf("row %d: %g alone, %g in a batch", r, one, p)
			}
		}
		if residual > 0.15*total {
			t.Errorf("%v: residual %g of %g", loss, residual, total)
		}
	}
}

func BenchmarkFit3000x75(b *testing.B)  { benchmarkFit(b, 3000, 75, 300) }
func BenchmarkFit85000x90(b *testing.B) { benchmarkFit(b, 85000, 90, 30) }

func benchmarkFit(b *testing.B, rows, cols, iterations int) {
	x, y := table(1, rows, cols)
	for b.Loop() {
		if _, err := (Boosting{Iterations: iterations}).Fit(x, cols, y, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPredict(b *testing.B) {
	x, y := table(1, 3000, 75)
	m, err := Boosting{Iterations: 300}.Fit(x, 75, y, nil)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]float64, 0, 3000)
	b.Run("one", func(b *testing.B) {
		for i := range b.N {
			r := i % 3000
			m.Predict(x[r*75 : (r+1)*75])
		}
	})
	b.Run("batch of 3000", func(b *testing.B) {
		for b.Loop() {
			m.PredictBatch(dst, x)
		}
	})
}
