package selection

import (
	"math"

	"quicktune/internal/blas"
	"quicktune/internal/nn"
	"quicktune/internal/stream"
)

// Logistic is the accuracy of multinomial logistic regression, fitted to a part
// of each class and measured on the rest: the linear probe. Features are
// standardised by the fitted part; the penalty is ½|W|² over the sum of the
// losses, as strong as scikit-learn's C = 1.
type Logistic struct {
	// Seed draws the images that are fitted.
	Seed uint64
	// Evaluations bounds those of the loss by L-BFGS; 0 means 100.
	Evaluations int
}

// Name returns "logistic".
func (Logistic) Name() string { return "logistic" }

// Needs returns nothing.
func (Logistic) Needs() Needs { return 0 }

// Score returns a number in [0, 1]. Each class gives half its images to the fit,
// rounded up; it needs a class of two images.
func (s Logistic) Score(p *Probe) (float64, error) {
	d, classes := p.data.Dim, p.classes
	members := make([][]int, classes)
	for i, c := range p.labels {
		members[c] = append(members[c], i)
	}
	var fit, held []int
	for c, rows := range members {
		rng := stream.New("selection/logistic", s.Seed, uint64(c))
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		half := (len(rows) + 1) / 2
		fit, held = append(fit, rows[:half]...), append(held, rows[half:]...)
	}
	if len(held) == 0 {
		return 0, undefined(s, "every class has one image, which leaves none to measure on")
	}
	x, y := pickRows(p, fit)
	mean, scale := columnMeans(x, len(fit), d), make([]float64, d)
	for i := range fit {
		for j, v := range x[i*d : (i+1)*d] {
			scale[j] += (v - mean[j]) * (v - mean[j]) / float64(len(fit))
		}
	}
	for j, v := range scale {
		scale[j] = 0
		if v > 0 {
			scale[j] = 1 / math.Sqrt(v)
		}
	}
	standardise(x, d, mean, scale)
	evaluations := s.Evaluations
	if evaluations == 0 {
		evaluations = 100
	}
	// Weights (d x classes), then offsets.
	weights := make([]float64, (d+1)*classes)
	gradient := make([]float64, len(weights))
	logits := make([]float64, len(fit)*classes)
	total := float64(len(fit))
	var search nn.LBFGS
	_, err := search.Minimize(weights, gradient, 1e-2, evaluations, func() (float64, error) {
		logistics(x, len(fit), d, classes, weights, logits)
		loss := 0.0
		clear(gradient[d*classes:])
		for i, c := range y {
			row := logits[i*classes : (i+1)*classes]
			loss -= math.Log(max(row[c], 1e-300)) / total
			row[c]--
			for j := range row {
				row[j] /= total
				gradient[d*classes+j] += row[j]
			}
		}
		blas.Gemm(true, false, d, classes, len(fit), 1, x, d, logits, classes, 0, gradient, classes)
		for i, v := range weights[:d*classes] {
			loss += v * v / 2 / total
			gradient[i] += v / total
		}
		return loss, nil
	})
	if err != nil {
		return 0, undefined(s, "%v", err)
	}
	x, y = pickRows(p, held)
	standardise(x, d, mean, scale)
	logits = make([]float64, len(held)*classes)
	logistics(x, len(held), d, classes, weights, logits)
	right := 0
	for i, c := range y {
		if argmax(logits[i*classes:(i+1)*classes]) == c {
			right++
		}
	}
	return float64(right) / float64(len(held)), nil
}

func pickRows(p *Probe, rows []int) (x []float64, y []int) {
	for _, i := range rows {
		x = append(x, p.data.Features[i*p.data.Dim:(i+1)*p.data.Dim]...)
		y = append(y, p.labels[i])
	}
	return x, y
}

func standardise(x []float64, d int, mean, scale []float64) {
	for i := 0; i < len(x); i += d {
		row := x[i : i+d]
		for j := range row {
			row[j] = (row[j] - mean[j]) * scale[j]
		}
	}
}

// logistics sets out (n x classes) to the probabilities of the classes.
func logistics(x []float64, n, d, classes int, weights, out []float64) {
	for i := range n {
		copy(out[i*classes:(i+1)*classes], weights[d*classes:])
	}
	blas.Gemm(false, false, n, classes, d, 1, x, d, weights, classes, 1, out, classes)
	for i := range n {
		softmax(out[i*classes : (i+1)*classes])
	}
}
