package baselines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"quicktune/internal/trees"
	"quicktune/search"
	"quicktune/space"
)

// MetaTrees is the plain way to use other data sets: boosted trees rank the
// candidates once, before the search, and a greedy loop trains them in that
// order.
//
// From the curves of other data sets trees learn two things about a
// configuration on a data set with so many samples and classes: its regret, as
// -log(regret + 0.01), and the logarithm of its mean seconds an epoch.
// Candidates are trained in the order of the first, those last whose Horizon
// epochs are predicted to take more than Share of the budget, cheapest first.
//
// Each candidate is trained epoch by epoch and dropped when its best score is
// more than Margin of the leader's below the leader's best of the same epochs,
// from epoch 3 on, or after Patience epochs without a new best. The leader is
// the last trial that ended or was dropped with a score no worse than any
// before it. Time that is left when every candidate had its turn goes to the
// dropped ones, the best first.
//
// It is not published; it shows what meta-data alone give without a model of
// learning curves. The ranking is that of surrogate-based portfolios as in
// Feurer et al.: Auto-Sklearn 2.0, JMLR 23(261), 2022, section 3.
type MetaTrees struct {
	Horizon  int     // 0 means 8
	Share    float64 // 0 means 0.5
	Margin   float64 // 0 means 0.05
	Patience int     // 0 means 6
}

// The trees: those of scikit-learn's HistGradientBoostingRegressor with more of
// them and a smaller step.
var (
	regretTrees = trees.Boosting{Iterations: 300, LearningRate: 0.06, L2: 1}
	paceTrees   = trees.Boosting{Iterations: 300, LearningRate: 0.08}
)

const (
	regretOffset = 0.01 // keeps the logarithm of the best one's regret finite
	firstDrop    = 3    // epoch from which a trial is compared with the leader
	newBest      = 1e-9 // by how much a score exceeds another to count as better
)

func (s MetaTrees) withDefaults() MetaTrees {
	s.Horizon = cmp.Or(s.Horizon, 8)
	s.Share = cmp.Or(s.Share, 0.5)
	s.Margin = cmp.Or(s.Margin, 0.05)
	s.Patience = cmp.Or(s.Patience, 6)
	return s
}

// LearnMetaTrees fits the trees to all data sets of m, those for validation
// included. The curves that are no training are learnt from like all others:
// they are what their configurations give.
func LearnMetaTrees(ctx context.Context, m search.MetaData, s MetaTrees) (search.Factory, error) {
	s = s.withDefaults()
	r, err := newRanking(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("meta-trees: %w", err)
	}
	return func(p search.Problem) (search.Optimizer, error) {
		order, err := r.order(p, s)
		if err != nil {
			return nil, fmt.Errorf("meta-trees: %w", err)
		}
		return &greedy{settings: s, order: order, epochs: p.MaxEpochs}, nil
	}, nil
}

// ranking predicts what a configuration is worth on a data set.
type ranking struct {
	space   *space.Space
	encoder *space.Encoder
	regret  *trees.Ensemble // -log(regret + regretOffset)
	pace    *trees.Ensemble // log of seconds an epoch; nil if no curve has an epoch
}

func newRanking(ctx context.Context, m search.MetaData) (*ranking, error) {
	if m.Space == nil {
		return nil, errors.New("the data sets to learn from have no search space")
	}
	sets := slices.Concat(m.Train, m.Validation)
	r := &ranking{space: m.Space}
	encoding, err := space.NewEncoding(m.Space, space.EncodingOptions{})
	if err != nil {
		return nil, err
	}
	var configs []space.Config
	for _, set := range sets {
		configs = append(configs, set.Configs...)
	}
	if len(configs) == 0 {
		return nil, errors.New("the data sets to learn from have no curve")
	}
	if r.encoder, err = encoding.Fit(configs); err != nil {
		return nil, err
	}

	var x, score, priced, price []float64
	for _, set := range sets {
		regrets := bestRegrets(set.Scores)
		for c, config := range set.Configs {
			row := r.row(config, set.Task)
			x = append(x, row...)
			score = append(score, -math.Log(regrets[c]+regretOffset))
			if p := math.Log(meanOf(set.Seconds[c])); finite(p) {
				priced = append(priced, row...)
				price = append(price, p)
			}
		}
	}
	cols := r.encoder.Width() + taskColumns
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(m.Parallel, 1))
	group.Go(func() (err error) {
		if err = ctx.Err(); err == nil {
			r.regret, err = regretTrees.Fit(x, cols, score, nil)
		}
		return err
	})
	group.Go(func() (err error) {
		if err = ctx.Err(); err == nil && len(price) > 0 {
			r.pace, err = paceTrees.Fit(priced, cols, price, nil)
		}
		return err
	})
	return r, group.Wait()
}

// taskColumns is the number of columns that describe the data set.
const taskColumns = 2

// row is the encoded configuration, the logarithm of the number of training
// samples and that of the number of classes.
func (r *ranking) row(c space.Config, t search.Task) []float64 {
	row := make([]float64, r.encoder.Width(), r.encoder.Width()+taskColumns)
	r.encoder.Encode(row, c)
	return append(row, logCount(t.TrainSamples), logCount(t.Classes))
}

// logCount is NaN, which trees take for missing, for an unknown number.
func logCount(n int) float64 {
	if n <= 0 {
		return math.NaN()
	}
	return math.Log(float64(n))
}

// order ranks the candidates of a problem, best first.
func (r *ranking) order(p search.Problem, s MetaTrees) ([]int, error) {
	if p.Space == nil || p.Space.Hash() != r.space.Hash() {
		return nil, errors.New("the candidates are not of the search space that was learnt from")
	}
	utility := make([]float64, len(p.Candidates))
	order := make([]int, len(p.Candidates))
	for c, config := range p.Candidates {
		order[c] = c
		row := r.row(config, p.Task)
		utility[c] = r.regret.Predict(row)
		if p.Budget <= 0 || r.pace == nil {
			continue
		}
		// The best regret has a utility of 4.6 and the worst about 0, so -9
		// is behind all others.
		if pace := r.pace.Predict(row); math.Exp(pace)*float64(s.Horizon) >= p.Budget*s.Share {
			utility[c] = -9 - pace
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case utility[a] > utility[b]:
			return -1
		case utility[a] < utility[b]:
			return 1
		}
		return 0
	})
	return order, nil
}

// bestRegrets is the normalised regret of each curve's best score: 0 for the
// best curve of the data set, 1 for one that is no better than its worst epoch
// or has no score.
func bestRegrets(scores [][]float32) []float64 {
	highest, lowest := math.Inf(-1), math.Inf(1)
	best := make([]float64, len(scores))
	for c, curve := range scores {
		best[c] = worst
		for _, v := range curve {
			if s := float64(v); finite(s) {
				best[c] = max(best[c], s)
				lowest = min(lowest, s)
			}
		}
		highest = max(highest, best[c])
	}
	for c, b := range best {
		switch {
		case b == worst:
			best[c] = 1
		case highest > lowest:
			best[c] = (highest - b) / (highest - lowest)
		default:
			best[c] = 0
		}
	}
	return best
}

func meanOf(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v)
	}
	return sum / float64(len(x))
}

func finite(v float64) bool { return v-v == 0 }

// greedy trains candidates in a given order and drops those that fall behind.
type greedy struct {
	ledger
	settings MetaTrees
	order    []int // candidates that had no turn yet
	epochs   int
	runs     []greedyRun // by trial
	open     []int       // trials to be continued at once, in order of arrival
	dropped  []int       // trials
	leader   []float64   // best score of the leader up to each epoch
	highest  float64     // best score so far, once there is one
}

// greedyRun is how a trial went.
type greedyRun struct {
	best    []float64 // up to each epoch
	stale   int       // epochs since the best one
	granted bool      // trained on though it was dropped
}

func (g *greedy) Ask() (search.Proposal, search.Status) {
	if len(g.open) > 0 {
		number := g.open[0]
		g.open = slices.Delete(g.open, 0, 1)
		return g.resume(number, g.trials[number].epoch+1), search.Ready
	}
	if len(g.order) > 0 {
		c := g.order[0]
		g.order = g.order[1:]
		g.runs = append(g.runs, greedyRun{})
		return g.start(c, 1), search.Ready
	}
	if number, ok := g.bestDropped(); ok {
		g.runs[number].granted = true
		return g.resume(number, g.epochs), search.Ready
	}
	return g.idle()
}

// bestDropped takes the dropped trial with the best score.
func (g *greedy) bestDropped() (number int, ok bool) {
	at := -1
	for i, number := range g.dropped {
		if at < 0 || last(g.runs[number].best) > last(g.runs[g.dropped[at]].best) {
			at = i
		}
	}
	if at < 0 {
		return 0, false
	}
	number = g.dropped[at]
	g.dropped = slices.Delete(g.dropped, at, at+1)
	return number, true
}

func last(x []float64) float64 { return x[len(x)-1] }

func (g *greedy) Tell(r search.Report) {
	run := &g.runs[r.Trial]
	if r.Epoch > len(run.best) {
		run.observe(r.Score)
	}
	if !g.tell(r) {
		return
	}
	over := g.trials[r.Trial].progress == ended
	drop := !over && !run.granted && (run.behind(g.leader, g.settings.Margin) || run.stale >= g.settings.Patience)
	switch {
	case over || drop:
		if n := len(run.best); n > 0 && run.best[n-1] > worst && (g.leader == nil || run.best[n-1] >= g.highest) {
			g.leader, g.highest = run.best, run.best[n-1]
		}
		if drop {
			g.dropped = append(g.dropped, r.Trial)
		}
	default:
		g.open = append(g.open, r.Trial)
	}
}

// observe adds the score of the next epoch.
func (r *greedyRun) observe(score float64) {
	best := worst
	if len(r.best) > 0 {
		best = last(r.best)
	}
	r.stale++
	if finite(score) && (best == worst || score > best+newBest) {
		r.stale = 0
	}
	if finite(score) {
		best = max(best, score)
	}
	r.best = append(r.best, best)
}

// behind tells whether the leader was clearly better after as many epochs.
func (r *greedyRun) behind(leader []float64, margin float64) bool {
	n := len(r.best)
	if n < firstDrop || n > len(leader) {
		return false
	}
	l := leader[n-1]
	return r.best[n-1] < l-margin*math.Abs(l)
}

func metaTrees() definition {
	s := new(MetaTrees)
	d := s.withDefaults()
	return definition{
		method: search.Method{
			Name:   "meta-trees",
			Title:  "Meta-learned trees",
			Source: "own plain baseline: boosted trees rank once, greedy training with early stopping",
			Uses:   search.Uses{Fidelity: true, Cost: true, MetaData: true, Budget: true, Seedless: true},
		},
		settings: []Setting{
			intSetting(&s.Horizon, "horizon", d.Horizon, 1, longestCurve, "epochs that a candidate should fit into its share of the budget"),
			floatSetting(&s.Share, "share", d.Share, 1e-6, 1e6, "that share of the budget"),
			floatSetting(&s.Margin, "margin", d.Margin, 1e-6, 1e6, "how far below the leader, relative to it, a trial is dropped"),
			intSetting(&s.Patience, "patience", d.Patience, 1, longestCurve, "epochs without a new best after which a trial is dropped"),
		},
		details: func() string {
			return fmt.Sprintf("%d trees, %d epochs within %g of the budget, margin=%g, patience=%d", regretTrees.Iterations, s.Horizon, s.Share, s.Margin, s.Patience)
		},
		learn: func() search.Learn {
			settings := *s
			return func(ctx context.Context, m search.MetaData) (search.Factory, error) {
				return LearnMetaTrees(ctx, m, settings)
			}
		},
	}
}
