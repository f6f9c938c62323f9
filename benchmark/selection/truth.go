package selection

import (
	"fmt"
	"math"
	"strings"

	"quicktune/internal/trees"
	"quicktune/metadataset"
	"quicktune/space"
)

// bestFound is the name of the best accuracies of a meta-dataset.
const bestFound = "best found"

// truth is how well models do after fine-tuning, [data set][model], NaN where
// nothing was trained.
type truth struct {
	name, about string
	values      [][]float64
	// points tells that differences of values are accuracies.
	points bool
}

// truths takes what models reach from a meta-dataset, in two ways.
func truths(s *metadataset.Store) (best, adjusted *truth, err error) {
	models := len(s.Models)
	table := func() [][]float64 {
		t := make([][]float64, len(s.Datasets))
		for d := range t {
			t[d] = make([]float64, models)
			for m := range t[d] {
				t[d][m] = math.NaN()
			}
		}
		return t
	}
	best = &truth{name: bestFound, about: "the best validation accuracy of all curves of the model", values: table(), points: true}
	adjusted = &truth{name: "adjusted", about: "mean log odds of the curves' best accuracies less what other data sets expect of their hyperparameters", values: table()}
	expected, err := expectations(s)
	if err != nil {
		return nil, nil, err
	}
	for d := range s.Datasets {
		sums, counts := make([]float64, models), make([]float64, models)
		for c := range s.Curves(d) {
			m := s.ModelOf[c]
			top := bestScore(s.Score(c))
			if m < 0 || math.IsNaN(top) {
				continue
			}
			if b := &best.values[d][m]; !(*b >= top) { // true for NaN
				*b = top
			}
			sums[m] += logOdds(top, s.Datasets[d].Classes) - expected[c]
			counts[m]++
		}
		for m, n := range counts {
			if n > 0 {
				adjusted.values[d][m] = sums[m] / n
			}
		}
	}
	return best, adjusted, nil
}

// bestScore is the largest number of a curve, NaN without any.
func bestScore(scores []float32) float64 {
	top := math.NaN()
	for _, v := range scores {
		if x := float64(v); !math.IsNaN(x) && !(top >= x) {
			top = x
		}
	}
	return top
}

// logOdds of an accuracy, kept away from 0 and 1 by half the chance level.
func logOdds(accuracy float64, classes int) float64 {
	margin := 0.5 / float64(max(classes, 2)) / 10
	a := min(max(accuracy, margin), 1-margin)
	return math.Log(a / (1 - a))
}

// expectations predicts the log odds of each curve's best accuracy, less the mean
// of its data set, from its hyperparameters but not its model, by trees grown on
// other data sets.
func expectations(s *metadataset.Store) ([]float64, error) {
	encoding, err := space.NewEncoding(s.Space, space.EncodingOptions{})
	if err != nil {
		return nil, err
	}
	var configs []space.Config
	for c := range s.NumCurves() {
		configs = append(configs, s.Config(c))
	}
	encoder, err := encoding.Fit(configs)
	if err != nil {
		return nil, err
	}
	var keep []int
	for i, name := range encoder.Columns() {
		if name != s.Manifest.ModelParam && !strings.HasPrefix(name, s.Manifest.ModelParam+"=") {
			keep = append(keep, i)
		}
	}
	width := len(keep)
	rows := make([]float64, 0, s.NumCurves()*width)
	target := make([]float64, s.NumCurves())
	for d := range s.Datasets {
		mean, n := 0.0, 0.0
		for c := range s.Curves(d) {
			target[c] = math.NaN()
			if top := bestScore(s.Score(c)); !math.IsNaN(top) {
				target[c] = logOdds(top, s.Datasets[d].Classes)
				mean += target[c]
				n++
			}
		}
		for c := range s.Curves(d) {
			target[c] -= mean / n
		}
	}
	for c := range s.NumCurves() {
		x := encoder.Encode(nil, configs[c])
		for _, i := range keep {
			rows = append(rows, x[i])
		}
	}
	out := make([]float64, s.NumCurves())
	for d := range s.Datasets {
		var x, y []float64
		for c := range s.NumCurves() {
			if int(s.DatasetOf[c]) != d && !math.IsNaN(target[c]) {
				x, y = append(x, rows[c*width:(c+1)*width]...), append(y, target[c])
			}
		}
		if len(y) == 0 {
			return nil, fmt.Errorf("data set %s is the only one with scores; models cannot be compared without others", s.Datasets[d].Name)
		}
		model, err := trees.Boosting{Iterations: 200, LearningRate: 0.05, MaxLeaves: 8, MinSamplesLeaf: 10}.Fit(x, width, y, nil)
		if err != nil {
			return nil, err
		}
		for c := range s.Curves(d) {
			out[c] = model.Predict(rows[c*width : (c+1)*width])
		}
	}
	return out, nil
}
