package selection

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strings"

	"quicktune/internal/stream"
	"quicktune/search"
	"quicktune/selection"
)

// What models can be ranked by without a stored score.
const (
	staticPrior = "static-prior"
	atRandom    = "random"
)

// scoreWeight is that of a standardised score beside a standardised prior.
const scoreWeight = 0.5

// Ranking ranks the models of data sets by stored scores, by how they did on
// other data sets, or by both. It implements [search.ModelRanking].
type Ranking struct {
	by, score string
	prior     bool
	values    map[string]map[string]float64 // data set, model
	seconds   map[string]float64            // data set
}

// NewRanking makes a ranking by "static-prior", "random", the name of a score, or
// "static-prior+" and the name of a score, with scores from a file that the
// command wrote. Scores are those of at most 25 images a class.
func NewRanking(by, path string) (*Ranking, error) {
	r := &Ranking{by: by, values: map[string]map[string]float64{}, seconds: map[string]float64{}}
	score, plus := strings.CutPrefix(by, staticPrior+"+")
	switch {
	case by == staticPrior:
		r.prior = true
		return r, nil
	case by == atRandom:
		return r, nil
	case plus:
		r.prior = true
	}
	r.score = score
	scores, err := loadScores(path)
	if err != nil {
		return nil, err
	}
	if len(scores) == 0 {
		return nil, fmt.Errorf("%s holds no scores; \"benchmark selection --probe\" computes them", path)
	}
	known := map[string]bool{}
	passes, withGradients := map[[2]string]float64{}, map[[2]string]float64{} // data set, model
	images := map[[2]string]float64{}
	for _, s := range scores {
		key := [2]string{s.Dataset, s.Model}
		// Only LGC needs more than the passes without gradients, whose time is
		// that of the full setting, if the file has it.
		if s.Setting == settings[full].name && !math.IsNaN(s.ProbeSeconds) && !usesGradients(score) {
			passes[key] = s.ProbeSeconds / float64(s.Images)
		}
		if s.Setting != Headline {
			continue
		}
		images[key] = float64(s.Images)
		if !math.IsNaN(s.ProbeSeconds) {
			withGradients[key] = s.ProbeSeconds / float64(s.Images)
		}
		known[s.Score] = true
		if s.Score != score {
			continue
		}
		r.seconds[s.Dataset] += s.Seconds
		if r.values[s.Dataset] == nil {
			r.values[s.Dataset] = map[string]float64{}
		}
		if s.Value != nil {
			r.values[s.Dataset][s.Model] = *s.Value
		}
	}
	if !known[score] {
		return nil, fmt.Errorf("%s has no score %q; it has %s", path, score, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	for key, perImage := range withGradients {
		if plain, ok := passes[key]; ok {
			perImage = plain
		}
		r.seconds[key[0]] += perImage * images[key]
	}
	return r, nil
}

func usesGradients(score string) bool { return score == selection.LGC{}.Name() }

// Name returns what the ranking is by.
func (r *Ranking) Name() string { return r.by }

// Rank implements [search.ModelRanking].
func (r *Ranking) Rank(past search.MetaData, dataset string) (map[string]float64, float64, error) {
	if r.by == atRandom {
		return shuffled(past, dataset), 0, nil
	}
	scores := r.values[dataset]
	if r.score != "" && len(scores) == 0 {
		return nil, 0, fmt.Errorf("no %s of the models on data set %q is stored", r.score, dataset)
	}
	if !r.prior {
		return scores, r.seconds[dataset], nil
	}
	prior, err := priorOf(past)
	if err != nil {
		return nil, 0, err
	}
	if r.score == "" {
		return prior.Values, 0, nil
	}
	var names []string
	var before, score []float64
	for _, name := range slices.Sorted(maps.Keys(prior.Values)) {
		if v, ok := scores[name]; ok {
			names, before, score = append(names, name), append(before, prior.Values[name]), append(score, v)
		}
	}
	sums, err := selection.Combine(before, score, scoreWeight)
	if err != nil {
		return nil, 0, err
	}
	out := make(map[string]float64, len(names))
	for i, name := range names {
		out[name] = sums[i]
	}
	return out, r.seconds[dataset], nil
}

// priorOf is the static prior of the models by their best curves.
func priorOf(past search.MetaData) (selection.StaticPrior, error) {
	index := -1
	if past.Space != nil {
		index = past.Space.Index(past.ModelParam)
	}
	if index < 0 {
		return selection.StaticPrior{}, fmt.Errorf("no hyperparameter names the pretrained model")
	}
	var names []string
	for _, m := range past.Hub {
		names = append(names, m.Name)
	}
	var accuracies [][]float64
	for _, set := range slices.Concat(past.Train, past.Validation) {
		row := make([]float64, len(names))
		for m := range row {
			row[m] = math.NaN()
		}
		for c, config := range set.Configs {
			m := slices.Index(names, config[index].Text())
			if m < 0 {
				continue
			}
			if top := bestScore(set.Scores[c]); !(row[m] >= top) && !math.IsNaN(top) { // true for NaN
				row[m] = top
			}
		}
		accuracies = append(accuracies, row)
	}
	return selection.NewStaticPrior(names, accuracies, selection.MeanDeviation)
}

// shuffled gives the models values at random, others on each data set.
func shuffled(past search.MetaData, dataset string) map[string]float64 {
	h := fnv.New64a()
	h.Write([]byte(dataset))
	rng := stream.New("benchmark/selection/random", h.Sum64())
	out := make(map[string]float64, len(past.Hub))
	for _, m := range past.Hub {
		out[m.Name] = rng.Float64()
	}
	return out
}
