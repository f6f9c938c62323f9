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
	const block = 256 // rows that stay in cache while the trees pass
	for len(x) > 0 {
		rows := min(len(x)/m.cols, block)
		at := len(dst)
		for range rows {
			dst = append(dst, m.base)
		}
		sums := dst[at:]
		for _, root := range m.roots {
			for r := range sums {
				sums[r] += leaf(m.nodes, root, x[r*m.cols:(r+1)*m.cols]).value
			}
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
