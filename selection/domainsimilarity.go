package selection

import "math"

// DomainSimilarity is exp(-γd), with d the earth mover's distance between the
// class means of the model's training data and those of the target, each class
// as heavy as it has images: Cui et al., "Large Scale Fine-Grained
// Categorization and Domain-Specific Transfer Learning", CVPR 2018.
type DomainSimilarity struct {
	// Gamma is γ; 0 means 0.01.
	Gamma float64
	// MinImages leaves out target classes with fewer images; 0 means 5.
	MinImages int
}

// Name returns "domain-similarity".
func (DomainSimilarity) Name() string { return "domain-similarity" }

// Needs returns NeedsSourceMeans.
func (DomainSimilarity) Needs() Needs { return NeedsSourceMeans }

// Score returns a number in (0, 1].
func (s DomainSimilarity) Score(p *Probe) (float64, error) {
	if err := check(s, p); err != nil {
		return 0, err
	}
	gamma, least := s.Gamma, s.MinImages
	if gamma == 0 {
		gamma = 0.01
	}
	if least == 0 {
		least = 5
	}
	d := p.data.Dim
	means, _ := classMoments(p.data.Features, d, p)
	var targets []int
	var demand []float64
	for c, size := range p.counts {
		if size >= least {
			targets = append(targets, c)
			demand = append(demand, float64(size))
		}
	}
	if targets == nil {
		return 0, undefined(s, "no class has %d images", least)
	}
	supply := p.data.SourceWeights
	costs := make([]float64, 0, len(supply)*len(targets))
	for i := range supply {
		for _, c := range targets {
			square := 0.0
			for j, v := range p.data.SourceMeans[i*d : (i+1)*d] {
				square += (v - means[c*d+j]) * (v - means[c*d+j])
			}
			costs = append(costs, math.Sqrt(square))
		}
	}
	return finite(s, math.Exp(-gamma*earthMover(costs, shares(supply), shares(demand))))
}

// shares divides by the sum.
func shares(x []float64) []float64 {
	sum, out := 0.0, make([]float64, len(x))
	for _, v := range x {
		sum += v
	}
	for i, v := range x {
		out[i] = v / sum
	}
	return out
}

// earthMover returns the least cost of moving the supplies to the demands, both
// summing to 1, at costs (supplies x demands, not negative) a unit. It sends
// flow along shortest paths with potentials: Ahuja, Magnanti and Orlin, "Network
// Flows", 1993, section 9.7.
func earthMover(costs, supply, demand []float64) float64 {
	const negligible = 1e-12
	ns, nt := len(supply), len(demand)
	left, open := append([]float64(nil), supply...), append([]float64(nil), demand...)
	flow := make([]float64, ns*nt)
	potential := make([]float64, ns+nt)
	distance, from, done := make([]float64, ns+nt), make([]int, ns+nt), make([]bool, ns+nt)
	total := 0.0
	for {
		for v := range distance {
			distance[v], from[v], done[v] = math.Inf(1), -1, false
		}
		any := false
		for i, v := range left {
			if v > negligible {
				distance[i], any = 0, true
			}
		}
		if !any {
			return total
		}
		end := -1
		for {
			u := -1
			for v, d := range distance {
				if !done[v] && (u < 0 || d < distance[u]) {
					u = v
				}
			}
			if u < 0 || math.IsInf(distance[u], 1) {
				break
			}
			done[u] = true
			if u >= ns {
				if open[u-ns] > negligible {
					end = u
					break
				}
				for i := range ns {
					if flow[i*nt+u-ns] > negligible {
						relax(distance, from, u, i, -costs[i*nt+u-ns]+potential[u]-potential[i])
					}
				}
				continue
			}
			for j := range nt {
				relax(distance, from, u, ns+j, costs[u*nt+j]+potential[u]-potential[ns+j])
			}
		}
		if end < 0 {
			return total // what is left is rounding
		}
		for v, d := range distance {
			potential[v] += min(d, distance[end])
		}
		amount, start := open[end-ns], end
		for from[start] >= 0 {
			if start < ns {
				amount = min(amount, flow[start*nt+from[start]-ns])
			}
			start = from[start]
		}
		amount = min(amount, left[start])
		for v := end; from[v] >= 0; v = from[v] {
			if v >= ns {
				flow[from[v]*nt+v-ns] += amount
				total += amount * costs[from[v]*nt+v-ns]
			} else {
				flow[v*nt+from[v]-ns] -= amount
				total -= amount * costs[v*nt+from[v]-ns]
			}
		}
		left[start] -= amount
		open[end-ns] -= amount
	}
}

// relax shortens the distance of v by way of u. Lengths are not negative but
// for rounding.
func relax(distance []float64, from []int, u, v int, length float64) {
	if d := distance[u] + max(length, 0); d < distance[v] {
		distance[v], from[v] = d, u
	}
}
