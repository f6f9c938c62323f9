package published

import (
	"fmt"
	"math"
	"slices"

	"quicktune/selection"
	"quicktune/selection/evaluate"
)

// Recompute returns the correlation that follows from the pool's accuracies and
// scores, and false where the scores were not published.
func (t *Tables) Recompute(c Correlation) (tau float64, ok bool, err error) {
	p := t.Pool(c.Pool)
	scores := p.Scores[c.Score]
	if scores == nil {
		return 0, false, nil
	}
	d := slices.Index(p.Datasets, c.Dataset)
	if scores[d] == nil {
		return 0, false, nil
	}
	tau, err = evaluate.WeightedKendall(p.Accuracy[d], scores[d], c.Convention)
	return tau, true, err
}

// Check is a published correlation beside the recomputed one.
type Check struct {
	Correlation
	Recomputed float64
	// Agrees tells that they are equal to the digits printed.
	Agrees bool
}

// printed is half a unit of the last digit of a table, and a little for values
// printed from scores with more digits than published.
var printed = map[string]float64{"jmlr": 0.005 + 1e-9, "model-spider": 0.0005 + 1e-4}

// Checks recomputes every published correlation for which scores are published.
func (t *Tables) Checks() ([]Check, error) {
	var out []Check
	for _, c := range t.Correlations {
		tau, ok, err := t.Recompute(c)
		if err != nil {
			return nil, fmt.Errorf("%s, %s, %s: %w", c.Table, c.Dataset, c.Score, err)
		}
		if ok {
			out = append(out, Check{c, tau, math.Abs(tau-c.Tau) <= printed[c.Table]})
		}
	}
	return out, nil
}

// Prior ranks the models of a pool for data set d by their accuracies on all
// others, NaN where a model has none.
func (p *Pool) Prior(d int, by selection.Past) ([]float64, error) {
	var others [][]float64
	for e, row := range p.Accuracy {
		if e != d {
			others = append(others, row)
		}
	}
	prior, err := selection.NewStaticPrior(p.Models, others, by)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(p.Models))
	for m, name := range p.Models {
		v, ok := prior.Values[name]
		if !ok {
			v = math.NaN()
		}
		out[m] = v
	}
	return out, nil
}

// Measures is how well a ranking does, one number for each data set.
type Measures struct {
	Tau        []float64 // weighted Kendall tau, evaluate.Both
	ByAccuracy []float64 // the same with evaluate.ByFirst, accuracies first
	Spearman   []float64
	Regret1    []float64 // of the best, in the unit of the accuracies
	Regret3    []float64 // of the best of three
	Selections []float64 // models tried until the best one
}

// Ranked is a way to rank the models of a pool and how well it does.
type Ranked struct {
	Name string
	// Datasets are the indices of those that the measures are of.
	Datasets []int
	// Values are what the models are ranked by, for each of Datasets; nil for
	// the expectation under a random order.
	Values   [][]float64
	Measures Measures
}

// Random is the expectation of every measure under a random order.
const Random = "random"

// weight is that of a score beside the prior.
const weight = 0.5

// Rank measures, for the data sets with published scores or, if the pool has
// none, for all of them: the two static priors, every score, the prior by
// deviation plus half of each score, and a random order.
func (p *Pool) Rank() ([]Ranked, error) {
	var datasets []int
	for d := range p.Datasets {
		if len(p.ScoreNames) == 0 || p.Scores[p.ScoreNames[0]][d] != nil {
			datasets = append(datasets, d)
		}
	}
	var out []Ranked
	priors := map[selection.Past][][]float64{}
	add := func(name string, values func(d int) ([]float64, error)) error {
		r := Ranked{Name: name, Datasets: datasets}
		for _, d := range datasets {
			v, err := values(d)
			if err == nil {
				r.Values = append(r.Values, v)
				err = r.Measures.add(v, p.Accuracy[d])
			}
			if err != nil {
				return fmt.Errorf("pool %s, %s, %s: %w", p.Name, p.Datasets[d], name, err)
			}
		}
		out = append(out, r)
		return nil
	}
	// The past of a data set is that of the others measured here, so that what
	// is not measured (other tasks) does not enter.
	past := &Pool{Models: p.Models}
	for _, d := range datasets {
		past.Accuracy = append(past.Accuracy, p.Accuracy[d])
	}
	for _, by := range []selection.Past{selection.MeanRank, selection.MeanDeviation} {
		priors[by] = make([][]float64, len(p.Datasets))
		for i, d := range datasets {
			v, err := past.Prior(i, by)
			if err != nil {
				return nil, err
			}
			priors[by][d] = v
		}
		name := "static prior (mean rank)"
		if by == selection.MeanDeviation {
			name = "static prior (mean deviation)"
		}
		if err := add(name, func(d int) ([]float64, error) { return priors[by][d], nil }); err != nil {
			return nil, err
		}
	}
	for _, score := range p.ScoreNames {
		if err := add(score, func(d int) ([]float64, error) { return p.Scores[score][d], nil }); err != nil {
			return nil, err
		}
	}
	for _, score := range p.ScoreNames {
		err := add(fmt.Sprintf("prior + %g %s", weight, score), func(d int) ([]float64, error) {
			return selection.Combine(priors[selection.MeanDeviation][d], p.Scores[score][d], weight)
		})
		if err != nil {
			return nil, err
		}
	}
	chance := Ranked{Name: Random, Datasets: datasets}
	for _, d := range datasets {
		chance.Measures.addChance(p.Accuracy[d])
	}
	return append(out, chance), nil
}

// add measures one data set; models without an accuracy or a value are left out.
func (m *Measures) add(values, accuracies []float64) error {
	var v, a []float64
	for i := range values {
		if !math.IsNaN(values[i]) && !math.IsNaN(accuracies[i]) {
			v, a = append(v, values[i]), append(a, accuracies[i])
		}
	}
	for _, f := range []struct {
		to      *[]float64
		measure func() (float64, error)
	}{
		{&m.Tau, func() (float64, error) { return evaluate.WeightedKendall(a, v, evaluate.Both) }},
		{&m.ByAccuracy, func() (float64, error) { return evaluate.WeightedKendall(a, v, evaluate.ByFirst) }},
		{&m.Spearman, func() (float64, error) { return evaluate.Spearman(a, v) }},
		{&m.Regret1, func() (float64, error) { return evaluate.Regret(v, a, 1) }},
		{&m.Regret3, func() (float64, error) { return evaluate.Regret(v, a, min(3, len(a))) }},
		{&m.Selections, func() (float64, error) { return evaluate.SelectionsToBest(v, a) }},
	} {
		value, err := f.measure()
		if err != nil {
			return err
		}
		*f.to = append(*f.to, value)
	}
	return nil
}

// addChance adds the expectations of one data set under a random order.
func (m *Measures) addChance(accuracies []float64) {
	var a []float64
	for _, v := range accuracies {
		if !math.IsNaN(v) {
			a = append(a, v)
		}
	}
	slices.Sort(a)
	n, best := len(a), a[len(a)-1]
	ties := 0
	for _, v := range a {
		if v == best {
			ties++
		}
	}
	m.Tau, m.ByAccuracy, m.Spearman = append(m.Tau, 0), append(m.ByAccuracy, 0), append(m.Spearman, 0)
	m.Regret1 = append(m.Regret1, best-expectedBest(a, 1))
	m.Regret3 = append(m.Regret3, best-expectedBest(a, min(3, n)))
	m.Selections = append(m.Selections, float64(n+1)/float64(ties+1))
}

// expectedBest returns the mean, over all choices of k of the ascending values, of
// the largest.
func expectedBest(a []float64, k int) float64 {
	sum := 0.0
	// a[i] is the largest of binomial(i, k-1) of the binomial(n, k) choices.
	for i := k - 1; i < len(a); i++ {
		sum += a[i] * binomial(i, k-1) / binomial(len(a), k)
	}
	return sum
}

func binomial(n, k int) float64 {
	out := 1.0
	for i := range k {
		out *= float64(n-i) / float64(i+1)
	}
	return out
}

// GainMean is a printed mean over tasks beside the mean of the printed gains.
type GainMean struct {
	Zoo, Setting string
	Top          int
	Score        string
	Printed      float64
	Mean         float64
	// Agrees tells that both may be roundings of the same to two digits.
	Agrees bool
}

// lastDigit is the unit of the second digit of a number, 0 for 0.
func lastDigit(v float64) float64 {
	if v == 0 {
		return 0
	}
	return math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-1)
}

// GainMeans averages the printed gains over tasks.
func (t *Tables) GainMeans() []GainMean {
	var out []GainMean
	for _, g := range t.Gains {
		if g.Task != "mean" {
			continue
		}
		sum, n, slack := 0.0, 0.0, 0.0
		for _, h := range t.Gains {
			if h.Task != "mean" && h.Zoo == g.Zoo && h.Setting == g.Setting && h.Top == g.Top && h.Score == g.Score {
				sum += h.Points
				slack += lastDigit(h.Points) / 2
				n++
			}
		}
		m := GainMean{Zoo: g.Zoo, Setting: g.Setting, Top: g.Top, Score: g.Score, Printed: g.Points, Mean: sum / n}
		m.Agrees = math.Abs(m.Mean-m.Printed) <= lastDigit(g.Points)/2+slack/n+1e-12
		out = append(out, m)
	}
	return out
}
