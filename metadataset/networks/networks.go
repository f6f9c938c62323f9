// Package networks says which pretrained network of a meta-dataset is best on
// which data set, and how accuracy trades against size, in numbers and in the two
// figures with which Pineda Arango et al. motivate the choice of a network together
// with its hyperparameters ("Quick-Tune", ICLR 2024, Figures 1 and 2).
//
// Each network counts by its best configuration. The package refuses to compare
// search methods.
package networks

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"quicktune/metadataset"
)

// Ranking is what the figures are made of.
type Ranking struct {
	Datasets []string
	// Networks are in ascending order of their mean rank.
	Networks []Network
	Winners  int // networks that are best on at least one data set
}

// Network is one row of the heat map.
type Network struct {
	Name           string
	Params         float64 // millions, NaN if unknown
	SourceAccuracy float64 // NaN if unknown
	// Best is the best validation accuracy on each data set, NaN where the
	// network was not trained.
	Best []float64
	// Rank is the rank on each data set, 1 for the best; equals share the mean
	// of their ranks. NaN where the network was not trained.
	Rank     []float64
	MeanRank float64
	Wins     float64 // data sets on which it is best; equals share
	Front    bool    // no smaller network has as high a source accuracy
}

// Rank ranks the networks of a meta-dataset.
func Rank(s *metadataset.Store) (*Ranking, error) {
	if s.Manifest.ModelParam == "" {
		return nil, errors.New("the meta-dataset has no models to compare")
	}
	r := &Ranking{}
	for _, m := range s.Models {
		r.Networks = append(r.Networks, Network{Name: m.Name, Params: m.Params, SourceAccuracy: m.SourceAccuracy})
	}
	for d, set := range s.Datasets {
		r.Datasets = append(r.Datasets, set.Name)
		best := make([]float64, len(s.Models))
		for i := range best {
			best[i] = math.NaN()
		}
		for c := range s.Curves(d) {
			m := s.ModelOf[c]
			if m < 0 {
				continue
			}
			for _, v := range s.Score(c) {
				if x := float64(v); !math.IsNaN(x) && !(best[m] >= x) {
					best[m] = x
				}
			}
		}
		rank := ranks(best)
		for m := range r.Networks {
			n := &r.Networks[m]
			n.Best = append(n.Best, best[m])
			n.Rank = append(n.Rank, rank[m])
		}
		r.shareWin(d)
	}
	for i := range r.Networks {
		n := &r.Networks[i]
		n.MeanRank = MeanKnown(n.Rank)
		if n.Wins > 0 {
			r.Winners++
		}
	}
	r.Networks = slices.DeleteFunc(r.Networks, func(n Network) bool { return math.IsNaN(n.MeanRank) })
	if len(r.Networks) == 0 {
		return nil, errors.New("no curve has an epoch")
	}
	r.markFront()
	slices.SortStableFunc(r.Networks, func(a, b Network) int { return cmp.Compare(a.MeanRank, b.MeanRank) })
	return r, nil
}

// shareWin adds the win of data set d, which equals share.
func (r *Ranking) shareWin(d int) {
	best, count := math.Inf(1), 0
	for _, n := range r.Networks {
		switch {
		case n.Rank[d] < best:
			best, count = n.Rank[d], 1
		case n.Rank[d] == best:
			count++
		}
	}
	for i := range r.Networks {
		if count > 0 && r.Networks[i].Rank[d] == best {
			r.Networks[i].Wins += 1 / float64(count)
		}
	}
}

// markFront finds the Pareto front of parameters and source accuracy.
func (r *Ranking) markFront() {
	for i := range r.Networks {
		n := &r.Networks[i]
		n.Front = !math.IsNaN(n.SourceAccuracy) && !math.IsNaN(n.Params)
		for j, o := range r.Networks {
			if i == j || math.IsNaN(o.SourceAccuracy) {
				continue
			}
			if o.Params <= n.Params && o.SourceAccuracy >= n.SourceAccuracy && (o.Params < n.Params || o.SourceAccuracy > n.SourceAccuracy) {
				n.Front = false
			}
		}
	}
}

// ranks ranks in descending order, from 1; equals share their mean rank, NaN has
// none.
func ranks(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		greater, equal := 0, 0
		for _, o := range values {
			if o > v {
				greater++
			} else if o == v {
				equal++
			}
		}
		out[i] = float64(greater) + float64(equal+1)/2
		if math.IsNaN(v) {
			out[i] = math.NaN()
		}
	}
	return out
}

// MeanKnown is the mean of the numbers that are known, NaN if none is.
func MeanKnown(values []float64) float64 {
	sum, n := 0.0, 0
	for _, v := range values {
		if !math.IsNaN(v) {
			sum += v
			n++
		}
	}
	return sum / float64(n)
}
