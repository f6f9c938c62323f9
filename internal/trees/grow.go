package trees

import (
	"math"
	"math/rand/v2"

	"quicktune/internal/stream"
)

// minHessian is the least sum of second derivatives on either side of a split.
const minHessian = 1e-3

// epsilon keeps a leaf without second derivatives from dividing by zero.
const epsilon = 1e-15

// rounding is the part of a score that a gain has to exceed, so that rows of
// equal gradient are not split on what rounding leaves of a gain of zero.
const rounding = 1e-12

// A grower grows trees on one binned table.
//
// A word holds the sum of gradients of some rows, in fixed point, above their
// count in the low countBits.
type grower struct {
	settings Boosting
	features []*feature
	bundles  []*bundle
	groups   []group
	rows     int

	countBits   int
	words       []int64   // of each row
	seconds     []int64   // second derivative of each row in fixed point, nil if all are 1
	unscale     float64   // of fixed-point gradients
	unscaleHess float64   // of fixed-point second derivatives
	inverse     []float64 // 1/(n + L2 + epsilon), used if seconds is nil

	nodes      []node
	splits     []split   // of the nodes that were split
	open       []*branch // heap: leaves that can be split, best first
	leaves     []*branch
	branches   int
	partition  []int32 // rows, those of a branch side by side
	outside    []int32 // rows left out of the tree
	buffer     []int32
	values     []int64 // of the rows of a branch
	histograms []*histogram
	candidates []int
}

// A histogram sums over the rows of a branch: for each bundle and slot a word
// and, unless every second derivative is 1, a second derivative.
type histogram struct{ words, seconds [][slots]int64 }

// A split sends rows with bins up to bin of a feature left.
type split struct {
	feature     int // index in grower.features
	bin         int
	missingLeft bool
	gain        float64 // in units of the fixed point
	left        int64   // word of the rows sent left
	leftHess    int64
}

// A branch is a leaf of the growing tree.
type branch struct {
	node       int
	order      int // of creation
	depth      int
	start, end int // in grower.partition
	word       int64
	hess       int64
	histogram  *histogram
	best       split
}

func newGrower(settings Boosting, features []*feature, rows int, constantHessian bool) *grower {
	g := &grower{settings: settings, features: features, rows: rows, countBits: bitLength(rows)}
	g.bundles = bundleFeatures(features, rows)
	g.groups = groupBundles(g.bundles, rows)
	g.values = make([]int64, rows)
	g.words = make([]int64, rows)
	g.partition = make([]int32, rows)
	g.buffer = make([]int32, rows)
	if constantHessian {
		g.inverse = make([]float64, rows+1)
		for n := range g.inverse {
			g.inverse[n] = 1 / (float64(n) + settings.L2 + epsilon)
		}
	} else {
		g.seconds = make([]int64, rows)
	}
	g.candidates = make([]int, len(features))
	for i := range g.candidates {
		g.candidates[i] = i
	}
	return g
}

// grow grows tree number t: it leaves the nodes in g.nodes, with unshrunk
// Newton steps in the leaves, and the leaves in g.leaves.
func (g *grower) grow(t int, gradients, hessians []float64) {
	scale, unscale := fixedPoint(gradients, 62-2*g.countBits)
	g.unscale = unscale
	for r, v := range gradients {
		g.words[r] = int64(math.RoundToEven(v*scale))<<g.countBits + 1
	}
	if g.seconds != nil {
		scale, g.unscaleHess = fixedPoint(hessians, 62-g.countBits)
		for r, v := range hessians {
			g.seconds[r] = int64(math.RoundToEven(v * scale))
		}
	}
	g.drawRows(t)
	var features *rand.Rand
	if g.settings.FeatureFraction < 1 {
		features = stream.New("trees: features of a split", g.settings.Seed, uint64(t))
	}
	g.nodes = append(g.nodes[:0], node{})
	g.splits = append(g.splits[:0], split{})
	g.open, g.leaves, g.branches = g.open[:0], g.leaves[:0], 1
	root := &branch{end: len(g.partition)}
	for _, r := range g.partition {
		root.word += g.words[r]
		if g.seconds != nil {
			root.hess += g.seconds[r]
		}
	}
	if !g.splittable(root) {
		g.close(root)
	} else {
		root.histogram = g.histogram()
		g.fill(root)
		g.consider(root, features)
	}
	for len(g.open) > 0 {
		g.splitBest(features)
	}
}

// drawRows sets the partition to the rows of tree t, in ascending order.
func (g *grower) drawRows(t int) {
	g.partition = g.partition[:0]
	g.outside = g.outside[:0]
	if g.settings.RowFraction == 1 {
		for r := range g.rows {
			g.partition = append(g.partition, int32(r))
		}
		return
	}
	rng := stream.New("trees: rows of a tree", g.settings.Seed, uint64(t))
	want := max(1, int(math.Round(g.settings.RowFraction*float64(g.rows))))
	for r := range g.rows {
		if rng.IntN(g.rows-r) < want-len(g.partition) {
			g.partition = append(g.partition, int32(r))
		} else {
			g.outside = append(g.outside, int32(r))
		}
	}
}

// splittable reports whether a branch is worth a histogram.
func (g *grower) splittable(b *branch) bool {
	if g.settings.MaxDepth > 0 && b.depth == g.settings.MaxDepth {
		return false
	}
	if g.seconds != nil && float64(b.hess)*g.unscaleHess < minHessian {
		return false
	}
	return len(g.features) > 0 && b.end-b.start >= 2*g.settings.MinSamplesLeaf
}

// close makes a branch a leaf. A root that stays a leaf adds nothing.
func (g *grower) close(b *branch) {
	g.leaves = append(g.leaves, b)
	g.release(b)
	if b.node == 0 {
		return
	}
	g.nodes[b.node].value = -float64(b.word>>g.countBits) * g.unscale / g.denominator(b)
}

// denominator is what the gradient of a branch is divided by.
func (g *grower) denominator(b *branch) float64 {
	if g.seconds == nil {
		return float64(b.end-b.start) + g.settings.L2 + epsilon
	}
	return float64(float64(b.hess)*g.unscaleHess) + g.settings.L2 + epsilon
}

// histogram returns one to fill.
func (g *grower) histogram() *histogram {
	if n := len(g.histograms); n > 0 {
		h := g.histograms[n-1]
		g.histograms = g.histograms[:n-1]
		return h
	}
	h := &histogram{words: make([][slots]int64, len(g.bundles))}
	if g.seconds != nil {
		h.seconds = make([][slots]int64, len(g.bundles))
	}
	return h
}

// release takes the histogram of a branch back.
func (g *grower) release(b *branch) {
	if b.histogram != nil {
		g.histograms = append(g.histograms, b.histogram)
		b.histogram = nil
	}
}

// fill sums the histogram of a branch over its rows.
func (g *grower) fill(b *branch) {
	g.sum(b, b.histogram.words, g.words, b.word)
	if g.seconds != nil {
		g.sum(b, b.histogram.seconds, g.seconds, b.hess)
	}
}

// sum sums the values of the rows of a branch, whose total is known.
func (g *grower) sum(b *branch, histogram [][slots]int64, values []int64, total int64) {
	clear(histogram)
	rows := g.partition[b.start:b.end]
	own := g.values[:len(rows)]
	for i, r := range rows {
		own[i] = values[r]
	}
	for i := range g.groups {
		group := &g.groups[i]
		group.accumulate(histogram[8*i:][:group.width], own, rows)
	}
	addDefaults(g.bundles, histogram, total)
}

// subtract takes the histogram of a child from that of its parent.
func (g *grower) subtract(from, h *histogram) {
	for _, f := range g.features {
		subtract(f.of(&from.words[f.bundle]), f.of(&h.words[f.bundle]))
		if g.seconds != nil {
			subtract(f.of(&from.seconds[f.bundle]), f.of(&h.seconds[f.bundle]))
		}
	}
}

func subtract(a, b []int64) {
	b = b[:len(a)]
	for len(a) >= 4 && len(b) >= 4 {
		a[0] -= b[0]
		a[1] -= b[1]
		a[2] -= b[2]
		a[3] -= b[3]
		a, b = a[4:], b[4:]
	}
	for i := range b {
		a[i] -= b[i]
	}
}

// consider finds the best split of a branch and opens it if there is one.
func (g *grower) consider(b *branch, rng *rand.Rand) {
	candidates := g.candidates
	if rng != nil {
		candidates = candidates[:drawFeatures(candidates, g.settings.FeatureFraction, rng)]
	}
	s := scan{
		countBits: g.countBits,
		mask:      1<<g.countBits - 1,
		least:     int64(g.settings.MinSamplesLeaf),
		total:     b.word,
		inverse:   g.inverse,
		totalHess: b.hess,
		unscale:   g.unscaleHess,
		l2:        g.settings.L2 + epsilon,
		feature:   -1,
	}
	for _, i := range candidates {
		f := g.features[i]
		words := f.of(&b.histogram.words[f.bundle])
		if g.seconds == nil {
			s.constant(i, f, words)
		} else {
			s.varying(i, f, words, f.of(&b.histogram.seconds[f.bundle]))
		}
	}
	if s.feature < 0 {
		g.close(b)
		return
	}
	gain := s.score
	if b.node != 0 {
		total := float64(b.word >> g.countBits)
		gain -= total * total / g.denominator(b)
	}
	if !(gain > rounding*s.score) {
		g.close(b)
		return
	}
	b.best = split{feature: s.feature, bin: s.bin, missingLeft: s.missingLeft, gain: gain, left: s.left, leftHess: s.leftHess}
	g.push(b)
}

// drawFeatures moves a random part of the features to the front, in ascending
// order, and returns its size.
func drawFeatures(features []int, fraction float64, rng *rand.Rand) int {
	want := max(1, int(math.Ceil(fraction*float64(len(features)))))
	for i := range features {
		features[i] = i
	}
	taken := 0
	for i := range features {
		if rng.IntN(len(features)-i) < want-taken {
			features[taken] = i
			taken++
		}
	}
	return taken
}

// splitBest splits the open branch of largest gain.
func (g *grower) splitBest(rng *rand.Rand) {
	b := g.pop()
	s := b.best
	f := g.features[s.feature]
	middle := g.part(b, f)
	left := &branch{node: len(g.nodes), order: g.branches, depth: b.depth + 1, start: b.start, end: middle, word: s.left, hess: s.leftHess}
	right := &branch{node: len(g.nodes) + 1, order: g.branches + 1, depth: b.depth + 1, start: middle, end: b.end, word: b.word - s.left, hess: b.hess - s.leftHess}
	g.branches += 2
	if !f.missing {
		s.missingLeft = left.end-left.start > right.end-right.start
	}
	n := &g.nodes[b.node]
	n.left = int32(left.node)
	n.value = math.Inf(1)
	if s.bin < len(f.thresholds) {
		n.value = f.thresholds[s.bin]
	}
	n.feature = uint32(f.column)
	if s.missingLeft {
		n.feature |= missingLeft
	}
	g.splits[b.node] = s
	g.nodes = append(g.nodes, node{}, node{})
	g.splits = append(g.splits, split{}, split{})

	if len(g.leaves)+len(g.open)+2 == g.settings.MaxLeaves {
		g.release(b)
		g.close(left)
		g.close(right)
		for _, rest := range g.open {
			g.close(rest)
		}
		g.open = g.open[:0]
		return
	}
	small, large := right, left
	if left.end-left.start < right.end-right.start {
		small, large = left, right
	}
	if smallSplits, largeSplits := g.splittable(small), g.splittable(large); smallSplits || largeSplits {
		small.histogram = g.histogram()
		g.fill(small)
		if largeSplits {
			large.histogram, b.histogram = b.histogram, nil
			g.subtract(large.histogram, small.histogram)
		}
	}
	g.release(b)
	for _, child := range []*branch{left, right} {
		if g.splittable(child) {
			g.consider(child, rng)
		} else {
			g.close(child)
		}
	}
}

// part moves the rows of a branch that go left before those that go right,
// keeping their order, and returns where the latter begin.
func (g *grower) part(b *branch, f *feature) int {
	var goesRight [256]uint8
	for bin := range f.size() {
		switch {
		case bin == len(f.thresholds)+1:
			if !b.best.missingLeft {
				goesRight[bin] = 1
			}
		case bin > b.best.bin:
			goesRight[bin] = 1
		}
	}
	rows := g.partition[b.start:b.end]
	buffer := g.buffer[:len(rows)]
	left, right := 0, 0
	for _, r := range rows {
		rows[left] = r
		buffer[right] = r
		d := int(goesRight[f.bins[r]])
		right += d
		left += 1 - d
	}
	copy(rows[left:], buffer[:right])
	return b.start + left
}

// settle gives the leaves their final values and adds them to predictions.
func (g *grower) settle(o *objective, predictions []float64) {
	for _, b := range g.leaves {
		n := &g.nodes[b.node]
		rows := g.partition[b.start:b.end]
		if o.refits() {
			n.value = o.leafValue(rows, predictions)
		}
		n.value *= g.settings.LearningRate
	}
	for _, b := range g.leaves {
		v := g.nodes[b.node].value
		for _, r := range g.partition[b.start:b.end] {
			predictions[r] += v
		}
	}
	for _, r := range g.outside {
		at := int32(0)
		for g.nodes[at].left != 0 {
			s := &g.splits[at]
			f := g.features[s.feature]
			at = g.nodes[at].left
			bin := int(f.bins[r])
			if missing := bin == len(f.thresholds)+1; missing && !s.missingLeft || !missing && bin > s.bin {
				at++
			}
		}
		predictions[r] += g.nodes[at].value
	}
}

// before orders open branches: the larger gain first, of equals the older.
func (b *branch) before(other *branch) bool {
	if b.best.gain != other.best.gain {
		return b.best.gain > other.best.gain
	}
	return b.order < other.order
}

func (g *grower) push(b *branch) {
	g.open = append(g.open, b)
	for i := len(g.open) - 1; i > 0; {
		parent := (i - 1) / 2
		if !g.open[i].before(g.open[parent]) {
			return
		}
		g.open[i], g.open[parent] = g.open[parent], g.open[i]
		i = parent
	}
}

func (g *grower) pop() *branch {
	top := g.open[0]
	last := len(g.open) - 1
	g.open[0] = g.open[last]
	g.open = g.open[:last]
	for i := 0; ; {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if g.open[child].before(g.open[first]) {
				first = child
			}
		}
		if first == i {
			return top
		}
		g.open[i], g.open[first] = g.open[first], g.open[i]
		i = first
	}
}
