package report

import (
	"math"
	"slices"

	"quicktune/benchmark/replay"
	"quicktune/benchmark/stats"
	"quicktune/metadataset"
)

// runs holds the traces that tell what methods reach by a budget.
type runs struct {
	methods  []string
	datasets []string
	traces   [][][]*replay.Trace // by method, data set; one a seed
}

// collect picks, for each method, data set and seed, the run with the smallest
// budget that is not below budget: the run to that very budget where the method
// looks at it. Data sets come in the order of the traces.
func collect(traces []*replay.Trace, methods []string, budget float64) *runs {
	r := &runs{methods: methods}
	type place struct {
		method, dataset string
		seed            uint64
	}
	best := make(map[place]*replay.Trace)
	var order []place
	for _, t := range traces {
		if !slices.Contains(r.datasets, t.Dataset) {
			r.datasets = append(r.datasets, t.Dataset)
		}
		if t.Budget < budget {
			continue
		}
		at := place{t.Method, t.Dataset, t.Seed}
		old := best[at]
		if old == nil {
			order = append(order, at)
		}
		if old == nil || t.Budget < old.Budget {
			best[at] = t
		}
	}
	r.traces = make([][][]*replay.Trace, len(methods))
	for i := range r.traces {
		r.traces[i] = make([][]*replay.Trace, len(r.datasets))
	}
	for _, at := range order {
		if i := slices.Index(methods, at.method); i >= 0 {
			d := slices.Index(r.datasets, at.dataset)
			r.traces[i][d] = append(r.traces[i][d], best[at])
		}
	}
	return r
}

// only keeps some data sets.
func (r *runs) only(datasets []string) *runs {
	part := &runs{methods: r.methods, datasets: datasets, traces: make([][][]*replay.Trace, len(r.methods))}
	for i := range r.methods {
		for _, name := range datasets {
			part.traces[i] = append(part.traces[i], r.traces[i][slices.Index(r.datasets, name)])
		}
	}
	return part
}

// regrets reads the regret of every run at a time.
func (r *runs) regrets(at float64) *stats.Sample {
	s := &stats.Sample{Methods: r.methods, Datasets: r.datasets, Values: make([][][]float64, len(r.methods))}
	for i, rows := range r.traces {
		s.Values[i] = make([][]float64, len(rows))
		for d, traces := range rows {
			values := make([]float64, len(traces))
			for k, t := range traces {
				values[k] = t.RegretAt(at)
			}
			s.Values[i][d] = values
		}
	}
	return s
}

// grid returns the times of the curves: from the first epoch that any run
// finished, but at most three decades, to end.
func (r *runs) grid(end float64) []float64 {
	first := end
	for _, rows := range r.traces {
		for _, traces := range rows {
			for _, t := range traces {
				if len(t.Points) > 0 {
					first = min(first, t.Points[0].Seconds)
				}
			}
		}
	}
	if first >= end {
		return []float64{end}
	}
	return stats.LogGrid(max(first, end/1000), end, curvePoints)
}

// spent averages what the runs of method i spent.
func (r *runs) spent(i int, pool *pool) Spent {
	s := Spent{Stopped: math.NaN()}
	n := 0.0
	var seconds, started, stopped float64
	var epochs []float64
	for d, traces := range r.traces[i] {
		for _, t := range traces {
			s.Epochs += float64(t.Epochs)
			s.Trials += float64(t.Trials)
			s.Decisions += float64(t.Decisions)
			seconds += t.Measured.DecisionSeconds
			if t.End > 0 {
				s.Idle += t.IdleSeconds / (float64(t.Workers) * t.End)
			}
			n++
			if pool == nil {
				continue
			}
			if epochs == nil {
				epochs = make([]float64, len(pool.models))
			}
			for _, spent := range t.Spent {
				c := pool.candidate(r.datasets[d], spent.Candidate)
				started++
				if int(spent.Epochs) < c.epochs {
					stopped++
				}
				if c.model >= 0 {
					epochs[c.model] += float64(spent.Epochs)
				}
			}
		}
	}
	if s.Decisions > 0 {
		s.DecisionSeconds = seconds / s.Decisions
	}
	if started > 0 {
		s.Stopped = stopped / started
	}
	var total float64
	for _, e := range epochs {
		total += e
	}
	if total > 0 {
		for m := range epochs {
			epochs[m] /= total
		}
		s.Models = epochs
	}
	s.Epochs /= n
	s.Trials /= n
	s.Decisions /= n
	s.Idle /= n
	return s
}

// areas is, for each data set, the mean regret of the runs of method i over the
// logarithm of time.
func (r *runs) areas(i int, from, to float64) []float64 {
	out := make([]float64, len(r.datasets))
	for d, traces := range r.traces[i] {
		values := make([]float64, len(traces))
		for k, t := range traces {
			steps := make([]stats.Step, len(t.Points))
			for j, p := range t.Points {
				steps[j] = stats.Step{At: p.Seconds, Value: t.Scale.Regret(p.Score)}
			}
			if before := t.Scale.Regret(t.Scale.Start); from < to {
				values[k] = stats.Area(before, steps, from, to, true)
			} else {
				values[k] = t.RegretAt(to)
			}
		}
		slices.Sort(values) // a sum that does not depend on their order
		for _, v := range values {
			out[d] += v / float64(len(values))
		}
	}
	return out
}

// targets are the regrets whose first times count: 1 to 0.001 in equal ratios.
func targets() []float64 { return stats.LogGrid(0.001, 1, 31) }

// hits lists, for each data set, when the runs of method i reached the targets.
func (r *runs) hits(i int) [][]float64 {
	out := make([][]float64, len(r.datasets))
	for d, traces := range r.traces[i] {
		for _, t := range traces {
			for _, target := range targets() {
				at := math.Inf(1)
				for _, p := range t.Points {
					if t.Scale.Regret(p.Score) <= target {
						at = p.Seconds
						break
					}
				}
				out[d] = append(out[d], at)
			}
		}
	}
	return out
}

// pool tells what the candidates of traces are.
type pool struct {
	store  *metadataset.Store
	models []string
	sets   map[string][]candidate
}

// candidate is a stored curve.
type candidate struct {
	curve  int // of the store
	epochs int
	model  int // -1 if none is named
}

// newPool is nil where the store or its tables are not known.
func newPool(s *metadataset.Store, tables []*replay.Table) *pool {
	if s == nil || len(tables) == 0 {
		return nil
	}
	p := &pool{store: s, sets: make(map[string][]candidate, len(tables))}
	for _, m := range s.Models {
		p.models = append(p.models, m.Name)
	}
	for _, t := range tables {
		list := make([]candidate, len(t.IDs))
		for i, id := range t.IDs {
			c, ok := s.Lookup(t.Task.Name, id)
			if !ok {
				return nil
			}
			list[i] = candidate{curve: c, epochs: len(t.Scores[i]), model: int(s.ModelOf[c])}
		}
		p.sets[t.Task.Name] = list
	}
	return p
}

func (p *pool) candidate(dataset string, index int32) candidate { return p.sets[dataset][index] }
