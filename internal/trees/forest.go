package trees

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"quicktune/internal/stream"
)

// Forest holds the settings of a forest of exact regression trees: every
// threshold between two values of a feature is tried, and the one with the
// least squared error taken. The zero value is ready to use: 100 trees on all
// rows and all features.
//
// Random forests: Breiman, Machine Learning 45, 2001. Extremely randomised
// trees: Geurts, Ernst and Wehenkel, Machine Learning 63, 2006. As the
// surrogate of a search: Hutter, Hoos and Leyton-Brown, LION 2011.
type Forest struct {
	Trees           int     // 0 means 100
	MaxFeatures     float64 // part of the columns drawn for each split, in (0, 1]; 0 means 1
	MinSamplesSplit int     // distinct rows that a node needs to be split; 0 means 2
	MinSamplesLeaf  int     // distinct rows that a leaf needs; 0 means 1
	MaxDepth        int     // edges from the root to a leaf; 0 means no limit
	Bootstrap       bool    // each tree sees as many rows as there are, drawn with replacement
	RandomSplits    bool    // one random threshold for each feature drawn, as in extremely randomised trees
	Seed            uint64
}

func (f Forest) withDefaults() (Forest, error) {
	f.Trees = cmp.Or(f.Trees, 100)
	f.MaxFeatures = cmp.Or(f.MaxFeatures, 1)
	f.MinSamplesSplit = cmp.Or(f.MinSamplesSplit, 2)
	f.MinSamplesLeaf = cmp.Or(f.MinSamplesLeaf, 1)
	switch {
	case f.Trees < 0:
		return f, fmt.Errorf("forest: %d trees; at least 1 is needed", f.Trees)
	case !(f.MaxFeatures > 0 && f.MaxFeatures <= 1):
		return f, fmt.Errorf("forest: part %g of the features is not in (0, 1]", f.MaxFeatures)
	case f.MinSamplesSplit < 2:
		return f, fmt.Errorf("forest: %d samples to split; at least 2 are needed", f.MinSamplesSplit)
	case f.MinSamplesLeaf < 1:
		return f, fmt.Errorf("forest: %d samples a leaf; at least 1 is needed", f.MinSamplesLeaf)
	case f.MaxDepth < 0:
		return f, fmt.Errorf("forest: depth %d is negative", f.MaxDepth)
	}
	return f, nil
}

// RandomForest is a fitted forest.
type RandomForest struct {
	cols    int
	roots   []int32
	nodes   []node    // a leaf's feature is its index in spans
	spans   []span    // of targets, one for each leaf
	targets []float64 // of the rows in each leaf
}

type span struct{ start, end int32 }

// Fit fits a forest to rows x, row-major with cols values a row, and their
// targets y, on the terms of Boosting.Fit. Rows of weight 0 are left out.
// Among splits of equal error one is taken at random.
func (f Forest) Fit(x []float64, cols int, y, weights []float64) (*RandomForest, error) {
	f, err := f.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkTable(x, cols, y, weights); err != nil {
		return nil, fmt.Errorf("forest: %w", err)
	}
	if f.Trees > math.MaxInt32/2/len(y) {
		return nil, fmt.Errorf("forest: %d trees of %d rows are more than fit", f.Trees, len(y))
	}
	g := newCart(f, x, cols, y, weights)
	for t := range f.Trees {
		g.grow(t)
	}
	return &g.model, nil
}

// Columns returns the number of values of a row.
func (m *RandomForest) Columns() int { return m.cols }

// Trees returns the number of trees.
func (m *RandomForest) Trees() int { return len(m.roots) }

func (m *RandomForest) leaf(tree int, row []float64) *node {
	if len(row) != m.cols {
		panic(fmt.Sprintf("trees: a row of %d values for a forest of %d columns", len(row), m.cols))
	}
	return leaf(m.nodes, m.roots[tree], row)
}

// Predict returns mean and variance over the trees of what each predicts for a
// row, without allocation. The variance is that of the trees themselves, with
// divisor Trees(). A row that has not Columns() values panics.
func (m *RandomForest) Predict(row []float64) (mean, variance float64) {
	n := 0.0
	for t := range m.roots {
		n++
		v := m.leaf(t, row).value
		d := v - mean
		mean += d / n
		variance += d * (v - mean)
	}
	return mean, variance / n
}

// PredictTrees appends the prediction of every tree for a row to dst.
func (m *RandomForest) PredictTrees(dst, row []float64) []float64 {
	for t := range m.roots {
		dst = append(dst, m.leaf(t, row).value)
	}
	return dst
}

// LeafTargets returns the training targets in the leaf of a tree that a row
// falls in, each as often as the tree's bootstrap drew it. They are shared: do
// not change them.
func (m *RandomForest) LeafTargets(tree int, row []float64) []float64 {
	s := m.spans[m.leaf(tree, row).feature]
	return m.targets[s.start:s.end:s.end]
}

// A cart grows exact trees on one table.
type cart struct {
	settings Forest
	x, y     []float64
	cols     int
	rows     int
	missing  []bool    // of each column: NaN occurs
	ranks    [][]int32 // of each column: dense rank of each row's value, NaN above all
	sorted   [][]int32 // of each column: rows in the order of rank, then index

	base     []amount // of each row, once
	sums     []amount // of each row, as often as the tree has it
	copies   []int32  // of each row in the tree
	unscale  float64
	unscaleW float64
	mean     float64

	lists    [][]int32 // of each column: rows of the tree, those of a node side by side
	buffer   []int32
	right    []bool // of each row: goes right at the split at hand
	drawn    []int
	features []int32 // stack of lists of columns that vary in a node
	model    RandomForest
}

// An amount is a fixed-point sum of weighted, centred targets and of weights.
type amount struct{ target, weight int64 }

// A plot is a node to be grown.
type plot struct {
	node          int32
	depth         int
	start, end    int // in the lists
	features, top int // in cart.features: columns that varied in the parent
	column        int // whose list holds the rows of the plot
	total         amount
}

// A cut is the best split of a plot so far.
type cut struct {
	column      int
	position    int // rows of the list before the threshold
	threshold   float64
	missingLeft bool
	left        amount
	score       float64
}

func newCart(f Forest, x []float64, cols int, y, weights []float64) *cart {
	rows := len(y)
	g := &cart{settings: f, x: x, y: y, cols: cols, rows: rows, mean: exactMean(y, weights)}
	centred := make([]float64, rows)
	ones := weights
	if ones == nil {
		ones = slices.Repeat([]float64{1}, rows)
	}
	for r, v := range y {
		centred[r] = (v - g.mean) * ones[r]
	}
	bits := 62 - bitLength(rows)
	scale, unscale := fixedPoint(centred, bits)
	scaleW, unscaleW := fixedPoint(ones, bits)
	g.unscale, g.unscaleW = unscale, unscaleW
	g.base = make([]amount, rows)
	for r := range y {
		g.base[r] = amount{int64(math.RoundToEven(centred[r] * scale)), int64(math.RoundToEven(ones[r] * scaleW))}
	}
	g.sums = make([]amount, rows)
	g.copies = make([]int32, rows)
	g.right = make([]bool, rows)
	g.buffer = make([]int32, rows)
	g.missing = make([]bool, cols)
	g.drawn = make([]int, cols)
	values := make([]float64, rows)
	for c := range cols {
		g.drawn[c] = c
		order := make([]int32, rows)
		for r := range rows {
			order[r] = int32(r)
			values[r] = x[r*cols+c]
			g.missing[c] = g.missing[c] || values[r] != values[r]
		}
		slices.SortFunc(order, func(a, b int32) int {
			return cmp.Or(compareMissingLast(values[a], values[b]), cmp.Compare(a, b))
		})
		ranks := make([]int32, rows)
		for i, r := range order[1:] {
			ranks[r] = ranks[order[i]]
			if compareMissingLast(values[order[i]], values[r]) != 0 {
				ranks[r]++
			}
		}
		g.sorted = append(g.sorted, order)
		g.ranks = append(g.ranks, ranks)
		g.lists = append(g.lists, make([]int32, 0, rows))
	}
	if cols == 0 {
		g.lists = append(g.lists, make([]int32, 0, rows))
	}
	g.model.cols = cols
	return g
}

func compareMissingLast(a, b float64) int {
	switch {
	case a < b || a == a && b != b:
		return -1
	case a > b || a != a && b == b:
		return 1
	}
	return 0
}

// grow adds tree number t to the model.
func (g *cart) grow(t int) {
	rng := stream.New("trees: tree of a forest", g.settings.Seed, uint64(t))
	g.drawRows(rng)
	root := plot{node: int32(len(g.model.nodes)), end: len(g.lists[0]), top: g.cols}
	for _, r := range g.lists[0] {
		root.total.add(g.sums[r])
	}
	g.features = g.features[:0]
	for c := range g.cols {
		g.features = append(g.features, int32(c))
	}
	g.model.roots = append(g.model.roots, root.node)
	g.model.nodes = append(g.model.nodes, node{})
	stack := []plot{root}
	for len(stack) > 0 {
		p := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		g.features = g.features[:p.top]
		best := g.search(&p, rng)
		if best.column < 0 {
			g.plant(p)
			continue
		}
		left, right := g.divide(p, best)
		stack = append(stack, right, left)
	}
}

// drawRows sets the rows of a tree and lists them in the order of each column.
func (g *cart) drawRows(rng *rand.Rand) {
	if !g.settings.Bootstrap {
		for r := range g.copies {
			g.copies[r] = 1
		}
	} else {
		for {
			clear(g.copies)
			weight := int64(0)
			for range g.rows {
				r := rng.IntN(g.rows)
				g.copies[r]++
				weight += g.base[r].weight
			}
			if weight > 0 {
				break
			}
		}
	}
	for r, b := range g.base {
		if b.weight == 0 {
			g.copies[r] = 0
		}
		g.sums[r] = amount{b.target * int64(g.copies[r]), b.weight * int64(g.copies[r])}
	}
	if g.cols == 0 {
		g.lists[0] = g.lists[0][:0]
		for r, n := range g.copies {
			if n > 0 {
				g.lists[0] = append(g.lists[0], int32(r))
			}
		}
	}
	for c, order := range g.sorted {
		list := g.lists[c][:0]
		for _, r := range order {
			if g.copies[r] > 0 {
				list = append(list, r)
			}
		}
		g.lists[c] = list
	}
}

// search returns the best cut of a plot, with column -1 if there is none. It
// leaves the columns that vary on top of g.features.
func (g *cart) search(p *plot, rng *rand.Rand) cut {
	best := cut{column: -1}
	rows := p.end - p.start
	least := g.settings.MinSamplesLeaf
	if rows < g.settings.MinSamplesSplit || rows < 2*least || g.settings.MaxDepth > 0 && p.depth == g.settings.MaxDepth {
		return best
	}
	// The columns that vary, moved to the top of the stack.
	above := g.features[p.features:p.top]
	for _, c := range above {
		list, ranks := g.lists[c], g.ranks[c]
		if ranks[list[p.start]] != ranks[list[p.end-1]] {
			g.features = append(g.features, c)
		}
	}
	p.features, p.top = p.top, len(g.features)
	varying := g.features[p.features:p.top]
	if len(varying) == 0 || g.pure(g.lists[varying[0]][p.start:p.end]) {
		return best
	}
	// Columns are drawn from all of them until enough were seen and one varies.
	enough := max(1, int(g.settings.MaxFeatures*float64(g.cols)))
	constant := g.cols - len(varying)
	unseen := len(varying)
	for i, c := range varying {
		g.drawn[i] = int(c)
	}
	for visited := 0; unseen > 0 && (visited < enough || unseen == len(varying)); visited++ {
		k := rng.IntN(constant + unseen)
		if k >= unseen {
			constant--
			continue
		}
		unseen--
		g.drawn[k], g.drawn[unseen] = g.drawn[unseen], g.drawn[k]
		c := g.drawn[unseen]
		if g.settings.RandomSplits {
			g.tryRandom(p, c, rng, &best)
		} else {
			g.tryAll(p, c, &best)
		}
	}
	return best
}

// pure reports whether all rows have the same target.
func (g *cart) pure(rows []int32) bool {
	for _, r := range rows[1:] {
		if g.y[r] != g.y[rows[0]] {
			return false
		}
	}
	return true
}

// present returns how many rows of a plot have a value in a column, and the
// sum over the others.
func (g *cart) present(p *plot, c int) (n int, gone amount) {
	list := g.lists[c][p.start:p.end]
	n = len(list)
	if !g.missing[c] {
		return n, gone
	}
	for n > 0 && g.isMissing(list[n-1], c) {
		n--
		gone.add(g.sums[list[n]])
	}
	return n, gone
}

func (g *cart) isMissing(r int32, c int) bool {
	v := g.x[int(r)*g.cols+c]
	return v != v
}

// tryAll weighs every threshold of a column: with missing values right, then
// left, then between present and missing values.
func (g *cart) tryAll(p *plot, c int, best *cut) {
	n, gone := g.present(p, c)
	list := g.lists[c][p.start : p.start+n]
	ranks := g.ranks[c]
	absent := p.end - p.start - n
	least := g.settings.MinSamplesLeaf
	for side := range 2 {
		missingLeft := side == 1
		if missingLeft && absent == 0 {
			break
		}
		var left amount
		first, last := least, p.end-p.start-least // rows left of the threshold
		if missingLeft {
			left = gone
			first -= absent
			last -= absent
		}
		for i, r := range list {
			left.add(g.sums[r])
			k := i + 1
			if k < first {
				continue
			}
			if k > last || k == n {
				break
			}
			if next := list[k]; ranks[next] != ranks[r] {
				g.weigh(p, cut{column: c, position: k, missingLeft: missingLeft, left: left}, best)
			}
		}
	}
	if absent >= least && n >= least {
		g.weigh(p, cut{column: c, position: n, left: p.total.minus(gone), threshold: math.Inf(1)}, best)
	}
}

// tryRandom weighs one threshold drawn between the extremes of a column, with
// missing values on either side.
func (g *cart) tryRandom(p *plot, c int, rng *rand.Rand, best *cut) {
	n, gone := g.present(p, c)
	list := g.lists[c][p.start : p.start+n]
	absent := p.end - p.start - n
	least := g.settings.MinSamplesLeaf
	if n == 0 {
		return
	}
	lo, hi := g.x[int(list[0])*g.cols+c], g.x[int(list[n-1])*g.cols+c]
	if lo < hi {
		t := lo + float64(rng.Float64()*(hi-lo))
		if !(lo <= t && t < hi) {
			t = lo
		}
		var left amount
		k := 0
		for k < n && g.x[int(list[k])*g.cols+c] <= t {
			left.add(g.sums[list[k]])
			k++
		}
		found := cut{column: c, position: k, threshold: t, left: left}
		if k >= least && n-k+absent >= least {
			g.weigh(p, found, best)
		}
		if found.missingLeft = true; absent > 0 && k+absent >= least && n-k >= least {
			found.left.add(gone)
			g.weigh(p, found, best)
		}
		return
	}
	if absent >= least && n >= least {
		g.weigh(p, cut{column: c, position: n, left: p.total.minus(gone), threshold: math.Inf(1)}, best)
	}
}

// weigh replaces the best cut by a better one.
func (g *cart) weigh(p *plot, found cut, best *cut) {
	right := p.total.minus(found.left)
	l, r := float64(found.left.target), float64(right.target)
	found.score = float64(l*l/float64(found.left.weight)) + float64(r*r/float64(right.weight))
	if best.column < 0 || found.score > best.score {
		*best = found
	}
}

func (a *amount) add(b amount) {
	a.target += b.target
	a.weight += b.weight
}

func (a amount) minus(b amount) amount {
	return amount{a.target - b.target, a.weight - b.weight}
}

// divide splits a plot in two.
func (g *cart) divide(p plot, best cut) (left, right plot) {
	c := best.column
	list := g.lists[c][p.start:p.end]
	n, _ := g.present(&p, c)
	count := best.position
	for i, r := range list {
		gone := i >= n
		g.right[r] = !gone && i >= best.position || gone && !best.missingLeft
		if gone && best.missingLeft {
			count++
		}
	}
	threshold := best.threshold
	if !g.settings.RandomSplits && best.position < n {
		lo, hi := g.x[int(list[best.position-1])*g.cols+c], g.x[int(list[best.position])*g.cols+c]
		threshold = lo/2 + hi/2
		if !(lo <= threshold && threshold < hi) {
			threshold = lo
		}
	}
	missingToLeft := best.missingLeft
	if n == len(list) {
		missingToLeft = count > len(list)-count
	}
	at := int32(len(g.model.nodes))
	parent := &g.model.nodes[p.node]
	*parent = node{value: threshold, left: at, feature: uint32(c)}
	if missingToLeft {
		parent.feature |= missingLeft
	}
	g.model.nodes = append(g.model.nodes, node{}, node{})
	for _, other := range g.features[p.features:p.top] {
		g.part(g.lists[other][p.start:p.end])
	}
	middle := p.start + count
	left = plot{node: at, depth: p.depth + 1, start: p.start, end: middle, features: p.features, top: p.top, column: c, total: best.left}
	right = plot{node: at + 1, depth: p.depth + 1, start: middle, end: p.end, features: p.features, top: p.top, column: c, total: p.total.minus(best.left)}
	return left, right
}

// part moves the rows that go right to the end of the list, keeping order.
func (g *cart) part(list []int32) {
	left, right := 0, 0
	for _, r := range list {
		list[left] = r
		g.buffer[right] = r
		d := 0
		if g.right[r] {
			d = 1
		}
		right += d
		left += 1 - d
	}
	copy(list[left:], g.buffer[:right])
}

// plant makes a plot a leaf.
func (g *cart) plant(p plot) {
	rows := g.lists[p.column][p.start:p.end]
	slices.Sort(rows)
	start := len(g.model.targets)
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, r := range rows {
		lo, hi = min(lo, g.y[r]), max(hi, g.y[r])
		for range g.copies[r] {
			g.model.targets = append(g.model.targets, g.y[r])
		}
	}
	mean := g.mean + float64(p.total.target)*g.unscale/(float64(p.total.weight)*g.unscaleW)
	n := &g.model.nodes[p.node]
	n.value = min(max(mean, lo), hi)
	n.feature = uint32(len(g.model.spans))
	g.model.spans = append(g.model.spans, span{int32(start), int32(len(g.model.targets))})
}
