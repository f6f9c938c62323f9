package baselines

import (
	"cmp"
	"math"
	"slices"

	"quicktune/search"
)

// wholeCurves is what methods have in common that train every candidate to the
// end of its curve. The value of a curve is its best score. One that failed, and
// one without any number, has the worst value of all, as SMAC gives to crashes.
type wholeCurves struct {
	pool
	epochs  int
	trials  int
	best    []float64 // by candidate, of those in training
	running []int     // candidates in training, oldest first
	known   []int     // candidates that ended, in that order
	values  []float64 // of known; worst where there is none
}

func newWholeCurves(p search.Problem) wholeCurves {
	w := wholeCurves{pool: newPool(p), epochs: p.MaxEpochs, best: make([]float64, len(p.Candidates))}
	for c := range w.best {
		w.best[c] = worst
	}
	return w
}

// draw takes a random candidate, of which there must be one.
func (w *wholeCurves) draw() int {
	c, _ := w.pool.draw()
	return c
}

// start proposes a candidate.
func (w *wholeCurves) start(c int) search.Proposal {
	if i := slices.Index(w.left, int32(c)); i >= 0 {
		w.left = slices.Delete(w.left, i, i+1)
	}
	w.running = append(w.running, c)
	w.trials++
	return search.Proposal{Trial: w.trials - 1, Candidate: c, Epoch: w.epochs}
}

func (w *wholeCurves) Tell(r search.Report) {
	if r.Epoch > 0 && finite(r.Score) {
		w.best[r.Candidate] = max(w.best[r.Candidate], r.Score)
	}
	if !r.Proposed && r.End == search.NotEnded {
		return
	}
	i := slices.Index(w.running, r.Candidate)
	w.running = slices.Delete(w.running, i, i+1)
	if r.End == search.Failed {
		w.best[r.Candidate] = worst
	}
	w.known = append(w.known, r.Candidate)
	w.values = append(w.values, w.best[r.Candidate])
}

func (w *wholeCurves) idle() (search.Proposal, search.Status) {
	if len(w.running) > 0 {
		return search.Proposal{}, search.Wait
	}
	return search.Proposal{}, search.Done
}

// observations returns candidates and values to learn from, failures included,
// in the order of their ends; nothing if all failed. Of more than most, they are
// the best quarter and the latest of the others, where syne-tune chooses those at
// random.
func (w *wholeCurves) observations(most int) (candidates []int, values []float64) {
	candidates, values = finiteValues(w.known, w.values)
	if len(values) <= most {
		return candidates, values
	}
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[b], values[a]) })
	keep := order[:most/4]
	rest := slices.Clone(order[most/4:])
	slices.Sort(rest)
	keep = append(slices.Clone(keep), rest[len(rest)-(most-most/4):]...)
	slices.Sort(keep)
	c, v := make([]int, most), make([]float64, most)
	for i, k := range keep {
		c[i], v[i] = candidates[k], values[k]
	}
	return c, v
}

// finiteValues returns the candidates and their values, those of failures
// replaced by the worst of the others; nothing if all failed.
func finiteValues(known []int, values []float64) ([]int, []float64) {
	low := math.Inf(1)
	for _, v := range values {
		if v > worst {
			low = min(low, v)
		}
	}
	if math.IsInf(low, 1) {
		return nil, nil
	}
	values = slices.Clone(values)
	for i := range values {
		values[i] = max(values[i], low)
	}
	return known, values
}
