package baselines

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"quicktune/search"
)

// Portfolio trains whole curves in an order that was fixed before the search:
// the configurations that together were best on the other data sets. Each next
// one is that which lowers the mean over those data sets of the best regret in
// the portfolio most; once none does, or Size are found, the rest follow by
// their mean regret.
//
// The candidates of a search were as a rule not trained on the other data sets.
// Their regrets there are predicted by boosted trees of the configuration and
// the data set, the same as those of [MetaTrees], and taken from the curve
// where there is one. The data set at hand is not looked at: it gets the same
// portfolio as any other with these candidates.
//
// Source: Wistuba, Schilling and Schmidt-Thieme: Sequential Model-Free
// Hyperparameter Tuning, ICDM 2015 (the greedy portfolio); Winkelmolen et al.:
// Practical and sample efficient zero-shot HPO, 2020, arXiv 2007.13382 (with a
// surrogate for what was not trained).
type Portfolio struct {
	Size int // 0 means 32, that of Auto-Sklearn 2.0 (Feurer et al., JMLR 23(261), 2022)
}

// LearnPortfolio fits the trees to all data sets of m.
func LearnPortfolio(ctx context.Context, m search.MetaData, s Portfolio) (search.Factory, error) {
	if s.Size == 0 {
		s.Size = portfolioSize
	}
	r, err := newRanking(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("portfolio: %w", err)
	}
	sets := slices.Concat(m.Train, m.Validation)
	known := make([]map[string]float64, len(sets))
	for d, set := range sets {
		known[d] = make(map[string]float64)
		regrets := bestRegrets(set.Scores)
		for c, config := range set.Configs {
			known[d][m.Space.Format(config)] = regrets[c]
		}
	}
	return func(p search.Problem) (search.Optimizer, error) {
		if p.Space == nil || p.Space.Hash() != m.Space.Hash() {
			return nil, errors.New("portfolio: the candidates are not of the search space that was learnt from")
		}
		regrets := make([][]float64, len(p.Candidates))
		for c, config := range p.Candidates {
			key := p.Space.Format(config)
			for d, set := range sets {
				v, trained := known[d][key]
				if !trained {
					v = min(max(math.Exp(-r.regret.Predict(r.row(config, set.Task)))-regretOffset, 0), 1)
				}
				regrets[c] = append(regrets[c], v)
			}
		}
		return &listed{order: greedyPortfolio(regrets, s.Size), epochs: p.MaxEpochs}, nil
	}, nil
}

const portfolioSize = 32

// greedyPortfolio orders candidates by their regrets, regrets[c][d] of
// candidate c on data set d. Of equal ones the first comes first.
func greedyPortfolio(regrets [][]float64, size int) []int {
	n := len(regrets)
	if n == 0 {
		return nil
	}
	means := make([]float64, n)
	for c, row := range regrets {
		for _, v := range row {
			means[c] += v / float64(len(row))
		}
	}
	best := make([]float64, len(regrets[0])) // of the portfolio, by data set
	for d := range best {
		best[d] = 1
	}
	taken := make([]bool, n)
	var order []int
	for len(order) < min(size, n) {
		choice, most := -1, 0.0
		for c, row := range regrets {
			if taken[c] {
				continue
			}
			gain := 0.0
			for d, v := range row {
				gain += max(best[d]-v, 0)
			}
			if gain > most {
				choice, most = c, gain
			}
		}
		if choice < 0 {
			break
		}
		taken[choice] = true
		order = append(order, choice)
		for d, v := range regrets[choice] {
			best[d] = min(best[d], v)
		}
	}
	var rest []int
	for c := range regrets {
		if !taken[c] {
			rest = append(rest, c)
		}
	}
	slices.SortStableFunc(rest, func(a, b int) int {
		switch {
		case means[a] < means[b]:
			return -1
		case means[a] > means[b]:
			return 1
		}
		return 0
	})
	return append(order, rest...)
}

// listed trains whole curves in a given order.
type listed struct {
	ledger
	order  []int
	epochs int
}

func (l *listed) Ask() (search.Proposal, search.Status) {
	if len(l.order) == 0 {
		return l.idle()
	}
	c := l.order[0]
	l.order = l.order[1:]
	return l.start(c, l.epochs), search.Ready
}

func (l *listed) Tell(r search.Report) { l.tell(r) }

func portfolio() definition {
	s := new(Portfolio)
	return definition{
		method: search.Method{
			Name:   "portfolio",
			Title:  "Zero-shot portfolio",
			Source: "Wistuba et al., ICDM 2015; Winkelmolen et al., arXiv 2007.13382",
			Uses:   search.Uses{MetaData: true, Seedless: true},
		},
		settings: []Setting{
			intSetting(&s.Size, "size", portfolioSize, 1, maxCandidates, "configurations that are chosen together"),
		},
		details: func() string {
			return fmt.Sprintf("%d configurations chosen greedily, regrets by %d trees, whole curves", s.Size, regretTrees.Iterations)
		},
		learn: func() search.Learn {
			settings := *s
			return func(ctx context.Context, m search.MetaData) (search.Factory, error) {
				return LearnPortfolio(ctx, m, settings)
			}
		},
	}
}
