package selection

import (
	"slices"

	"quicktune/internal/blas"
)

// KNN is the leave-one-out accuracy of the K nearest neighbours by Euclidean
// distance of the features, a strong baseline in every independent comparison
// (Bolya, Mittapalli and Hoffman, NeurIPS 2021). The most frequent class among
// them wins, of several the one with the nearest member.
type KNN struct {
	// K is the number of neighbours; 0 means 1.
	K int
}

// Name returns "knn".
func (KNN) Name() string { return "knn" }

// Needs returns nothing.
func (KNN) Needs() Needs { return 0 }

// Score returns a number in [0, 1].
func (s KNN) Score(p *Probe) (float64, error) {
	k := max(s.K, 1)
	if k >= p.n {
		return 0, undefined(s, "%d neighbours among %d images", k, p.n-1)
	}
	g := p.moments()
	n, d := g.n, g.d
	length := g.lengths
	const block = 128
	products := make([]float64, block*n)
	near := make([]neighbour, 0, k+1)
	votes := make([]int, p.classes)
	right := 0
	for first := 0; first < n; first += block {
		h := min(block, n-first)
		blas.Gemm(false, true, h, n, d, 1, g.centred()[first*d:], d, g.centred(), d, 0, products, n)
		for i := range h {
			near = near[:0]
			for j, product := range products[i*n : (i+1)*n] {
				if j == first+i {
					continue
				}
				distance := length[j] - 2*product
				if len(near) == k && distance >= near[k-1].distance {
					continue
				}
				at := len(near)
				for at > 0 && near[at-1].distance > distance {
					at--
				}
				near = slices.Insert(near, at, neighbour{distance, p.labels[j]})
				near = near[:min(len(near), k)]
			}
			clear(votes)
			for _, b := range near {
				votes[b.class]++
			}
			most := slices.Max(votes)
			for _, b := range near {
				if votes[b.class] == most {
					if b.class == p.labels[first+i] {
						right++
					}
					break
				}
			}
		}
	}
	return float64(right) / float64(n), nil
}

type neighbour struct {
	distance float64 // squared, less what is the same for all
	class    int
}
