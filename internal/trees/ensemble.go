package trees

import "fmt"

// A node is a split or a leaf of a tree. The children of a split lie side by
// side, after it.
type node struct {
	value   float64 // threshold of a split, or what a leaf adds
	left    int32   // index of the left child, the right one follows; 0 for a leaf
	feature uint32  // column of the split, and missingLeft
}

// missingLeft is the bit of node.feature that sends NaN left.
const missingLeft = 1 << 31

// Ensemble is a sum of trees and a constant.
type Ensemble struct {
	cols  int
	base  float64
	roots []int32
	nodes []node // of all trees, each from its root on
}

// append adds a tree whose indices count from its root.
func (m *Ensemble) append(tree []node) {
	at := int32(len(m.nodes))
	m.roots = append(m.roots, at)
	for _, n := range tree {
		if n.left != 0 {
			n.left += at
		}
		m.nodes = append(m.nodes, n)
	}
}

// Columns returns the number of values of a row.
func (m *Ensemble) Columns() int { return m.cols }

// Trees returns the number of trees.
func (m *Ensemble) Trees() int { return len(m.roots) }

// Predict returns the prediction for a row of Columns() values, without
// allocation. A row of another length is a mistake of the caller and panics.
func (m *Ensemble) Predict(row []float64) float64 {
	if len(row) != m.cols {
		panic(fmt.Sprintf("trees: a row of %d values for an ensemble of %d columns", len(row), m.cols))
	}
	sum := m.base
	for _, root := range m.roots {
		sum += leaf(m.nodes, root, row).value
	}
	return sum
}

// PredictBatch appends the prediction for every row of x, row-major, to dst.
// The numbers are those of Predict.
func (m *Ensemble) PredictBatch(dst, x []float64) []float64 {
	if m.cols == 0 {
		if len(x) != 0 {
			panic(fmt.Sprintf("trees: %d values for an ensemble without columns", len(x)))
		}
		return dst
	}
	if len(x)%m.cols != 0 {
		panic(fmt.Sprintf("trees: %d values are no whole rows of %d columns", len(x), m.cols))
	}
	const block = 64 // rows that stay in cache while the trees pass
	for len(x) > 0 {
		rows := min(len(x)/m.cols, block)
		at := len(dst)
		for range rows {
			dst = append(dst, m.base)
		}
		sums := dst[at:]
		for _, root := range m.roots {
			addLeaves(sums, m.nodes, root, x, m.cols)
		}
		x = x[rows*m.cols:]
	}
	return dst
}

// leaf returns the leaf of the tree at root that the row falls in.
func leaf(nodes []node, root int32, row []float64) *node {
	n := &nodes[root]
	for n.left != 0 {
		v := row[n.feature&^missingLeft]
		next := n.left
		if !(v <= n.value) && (v == v || n.feature&missingLeft == 0) {
			next++
		}
		n = &nodes[next]
	}
	return n
}

// addLeaves adds to each sum what the tree at root gives for its row of x. Four
// rows descend together and without branches that depend on them: alone, each
// would wait for its own comparisons, and half of their outcomes would be
// foreseen wrongly.
func addLeaves(sums []float64, nodes []node, root int32, x []float64, cols int) {
	r := 0
	for ; r+4 <= len(sums); r += 4 {
		x0, x1 := x[r*cols:(r+1)*cols], x[(r+1)*cols:(r+2)*cols]
		x2, x3 := x[(r+2)*cols:(r+3)*cols], x[(r+3)*cols:(r+4)*cols]
		n0 := &nodes[root]
		n1, n2, n3 := n0, n0, n0
		i0, i1, i2, i3 := root, root, root, root
		for n0.left|n1.left|n2.left|n3.left != 0 {
			i0, i1 = below(n0, i0, x0), below(n1, i1, x1)
			i2, i3 = below(n2, i2, x2), below(n3, i3, x3)
			n0, n1, n2, n3 = &nodes[i0], &nodes[i1], &nodes[i2], &nodes[i3]
		}
		sums[r] += n0.value
		sums[r+1] += n1.value
		sums[r+2] += n2.value
		sums[r+3] += n3.value
	}
	for ; r < len(sums); r++ {
		sums[r] += leaf(nodes, root, x[r*cols:(r+1)*cols]).value
	}
}

// below is the index of the child of n, at index i, that a row belongs to, or i if
// n is a leaf.
func below(n *node, i int32, row []float64) int32 {
	v := row[n.feature&^missingLeft]
	var above, known int32
	if !(v <= n.value) {
		above = 1
	}
	if v == v {
		known = 1
	}
	stay := (n.left - 1) >> 31 // all bits for a leaf, none for a split
	return i&stay | (n.left+above&(known|(int32(n.feature>>31)^1)))&^stay
}
