// Package report shows what a meta-dataset says about its networks: which one is
// best on which data set, and how accuracy trades against size.
//
// The two figures are those with which Pineda Arango et al. motivate the choice
// of a pretrained model together with its hyperparameters ("Quick-Tune", ICLR
// 2024, Figures 1 and 2). The package refuses to compare search methods.
package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"quicktune/metadataset"
	"quicktune/metadataset/networks"
)

// Report is what the figures and the text are made of.
type Report struct {
	Name string
	*networks.Ranking
	// Scratch compares with a sweep that began with random weights; nil if
	// there is none.
	Scratch *Comparison
}

// Comparison compares fine-tuning with training from random weights, pair by
// pair: a network on a data set, with the same configurations and seeds.
type Comparison struct {
	Pairs  int
	Better int // fine-tuning is better in the best validation accuracy
	Equal  int
	// Gain is the mean difference of the best validation accuracy.
	Gain float64
	// Epochs is how many epochs of each curve were compared: the shorter of two
	// counts.
	Epochs int
}

// New ranks the networks of a meta-dataset.
func New(s *metadataset.Store) (*Report, error) {
	ranking, err := networks.Rank(s)
	if err != nil {
		return nil, err
	}
	return &Report{Name: s.Dir, Ranking: ranking}, nil
}

// Compare adds the comparison with a sweep of the same plan that began with
// random weights. Curves are matched by their names and must have the same
// configuration. Those cut short are compared over the epochs that both have.
func (r *Report) Compare(tuned, scratch *metadataset.Store) error {
	type pair struct{ dataset, model string }
	type best struct{ tuned, scratch float64 }
	found := make(map[pair]*best)
	c := &Comparison{}
	for i, id := range tuned.IDs {
		d := tuned.Datasets[tuned.DatasetOf[i]].Name
		j, ok := scratch.Lookup(d, id)
		if !ok {
			continue
		}
		if tuned.Space.Format(tuned.Config(i)) != scratch.Space.Format(scratch.Config(j)) {
			return fmt.Errorf("curve %s has another configuration in %s: compare sweeps of one plan", id, scratch.Dir)
		}
		n := min(tuned.Len(i), scratch.Len(j))
		m := tuned.ModelOf[i]
		if n == 0 || m < 0 {
			continue
		}
		k := pair{d, tuned.Models[m].Name}
		b := found[k]
		if b == nil {
			b = &best{math.Inf(-1), math.Inf(-1)}
			found[k] = b
		}
		c.Epochs += n
		for e := range n {
			b.tuned = max(b.tuned, orLowest(tuned.Score(i)[e]))
			b.scratch = max(b.scratch, orLowest(scratch.Score(j)[e]))
		}
	}
	var gains []float64
	for _, b := range found {
		if math.IsInf(b.tuned, 0) || math.IsInf(b.scratch, 0) {
			continue
		}
		c.Pairs++
		switch {
		case b.tuned > b.scratch:
			c.Better++
		case b.tuned == b.scratch:
			c.Equal++
		}
		gains = append(gains, b.tuned-b.scratch)
	}
	if c.Pairs == 0 {
		return fmt.Errorf("no curve of %s is in %s too: compare sweeps of one plan", tuned.Dir, scratch.Dir)
	}
	slices.Sort(gains) // a sum that does not depend on the order of the map
	c.Gain = networks.MeanKnown(gains)
	r.Scratch = c
	return nil
}

func orLowest(v float32) float64 {
	if v != v {
		return math.Inf(-1)
	}
	return float64(v)
}

// Summary returns what the figures show in a few sentences, a line each.
func (r *Report) Summary() []string {
	first := r.Networks[0]
	lines := []string{
		fmt.Sprintf("%d networks on %d data sets; each counts by its best configuration.", len(r.Networks), len(r.Datasets)),
		fmt.Sprintf("%d networks are the best on some data set. The best mean rank is %.1f of %d, that of %s, which is the best on %s of %d.",
			r.Winners, first.MeanRank, len(r.Networks), first.Name, number(first.Wins), len(r.Datasets)),
	}
	var front []string
	for _, n := range r.Networks {
		if n.Front {
			front = append(front, n.Name)
		}
	}
	if len(front) > 0 {
		slices.Sort(front)
		lines = append(lines, fmt.Sprintf("On the Pareto front of parameters and source accuracy: %s.", strings.Join(front, ", ")))
	}
	if c := r.Scratch; c != nil {
		lines = append(lines, fmt.Sprintf("Fine-tuning beats random weights in %d of %d pairs of a network and a data set (%d equal), by %.1f points of accuracy in the mean, with the same configurations over the same epochs.",
			c.Better, c.Pairs, c.Equal, 100*c.Gain))
	}
	return lines
}

// number writes a count that may be shared.
func number(v float64) string {
	if v == math.Trunc(v) {
		return fmt.Sprint(int(v))
	}
	return fmt.Sprintf("%.1f", v)
}
