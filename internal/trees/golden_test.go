package trees

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"
)

// Golden values of scikit-learn 1.9.1, written by scripts/oracles/trees.py.

type goldenColumn struct {
	Kind    string
	Levels  int
	Missing float64
}

type goldenTable struct {
	Name     string
	Seed     uint64
	Rows     int
	Columns  []goldenColumn
	Weighted bool
	Y        []float64
}

type goldenSettings struct {
	MaxIter         int     `json:"max_iter"`
	LearningRate    float64 `json:"learning_rate"`
	L2              float64 `json:"l2_regularization"`
	MaxDepth        int     `json:"max_depth"`
	MaxLeafNodes    any     `json:"max_leaf_nodes"`
	MinSamplesLeaf  int     `json:"min_samples_leaf"`
	MinSamplesSplit int     `json:"min_samples_split"`
	MaxBins         int     `json:"max_bins"`
	Loss            string
	Quantile        float64
}

type goldenCase struct {
	Table       string
	Settings    goldenSettings
	Threshold   float64
	Base        float64
	Splits      json.RawMessage
	Last        [][]float64
	Predictions []float64
}

type goldenFile struct {
	Tables []goldenTable
	Cases  []goldenCase
}

func readGolden(t *testing.T, name string) (map[string]*goldenTable, []goldenCase) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var file goldenFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	tables := map[string]*goldenTable{}
	for i := range file.Tables {
		tables[file.Tables[i].Name] = &file.Tables[i]
	}
	return tables, file.Cases
}

// uniform is the number of that index in a stream of splitmix64.
func uniform(seed, index uint64) float64 {
	z := seed*0x9E3779B97F4A7C15 + (index+1)*0xD1342543DE82EF95
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	z ^= z >> 31
	return float64(z>>44) / (1 << 20)
}

// matrix returns the rows from first on.
func (g *goldenTable) matrix(first, rows int) []float64 {
	cols := len(g.Columns)
	x := make([]float64, rows*cols)
	for r := range rows {
		row := x[r*cols : (r+1)*cols]
		for c, column := range g.Columns {
			at := uint64(2 * ((first+r)*cols + c))
			u, gone := uniform(g.Seed, at), uniform(g.Seed, at+1)
			switch column.Kind {
			case "uniform":
				row[c] = u
			case "levels":
				row[c] = math.Floor(u * float64(column.Levels))
			case "constant":
				row[c] = 3.5
			case "skewed":
				if u >= 0.25 {
					row[c] = math.Floor(u * u * u * 4000)
				}
			case "copy":
				row[c] = row[column.Levels]
			}
			if gone < column.Missing {
				row[c] = math.NaN()
			}
		}
	}
	return x
}

func (g *goldenTable) weights() []float64 {
	if !g.Weighted {
		return nil
	}
	w := make([]float64, g.Rows)
	for r := range w {
		if u := uniform(g.Seed+1000, uint64(r)); u >= 0.05 {
			w[r] = 3 * u
		}
	}
	return w
}

func (s goldenSettings) boosting(t *testing.T) Boosting {
	b := Boosting{Iterations: s.MaxIter, LearningRate: s.LearningRate, L2: s.L2, MaxDepth: s.MaxDepth,
		MinSamplesLeaf: s.MinSamplesLeaf, MaxBins: s.MaxBins, Quantile: s.Quantile}
	switch s.Loss {
	case "":
	case "absolute_error":
		b.Loss = Absolute
	case "quantile":
		b.Loss = Quantile
	case "logistic":
		b.Loss = Logistic
	default:
		t.Fatalf("loss %q", s.Loss)
	}
	if leaves, ok := s.MaxLeafNodes.(float64); ok {
		b.MaxLeaves = int(leaves)
	}
	return b
}

func TestBoostingEqualsScikitLearn(t *testing.T) {
	tables, cases := readGolden(t, "boosting.json")
	if len(cases) < 40 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s/%+v", c.Table, c.Settings), func(t *testing.T) {
			table := tables[c.Table]
			cols := len(table.Columns)
			x, y := table.matrix(0, table.Rows), table.Y
			b := c.Settings.boosting(t)
			if c.Settings.MinSamplesLeaf == 5 {
				b.MaxLeaves = -1 // null in the file
			}
			if b.Loss == Logistic {
				y = make([]float64, len(table.Y))
				for r, v := range table.Y {
					if v > c.Threshold {
						y[r] = 1
					}
				}
			}
			m, err := b.Fit(x, cols, y, table.weights())
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(m.base-c.Base) > 1e-12 {
				t.Errorf("base %.17g, want %.17g", m.base, c.Base)
			}
			var splits []int
			if err := json.Unmarshal(c.Splits, &splits); err != nil {
				t.Fatal(err)
			}
			if m.Trees() != len(splits) {
				t.Fatalf("%d trees, want %d", m.Trees(), len(splits))
			}
			for i, want := range splits {
				if got := countSplits(m.nodes, m.roots[i]); got != want {
					t.Errorf("tree %d: %d splits, want %d", i, got, want)
				}
			}
			rows := make([]int, table.Rows)
			for r := range rows {
				rows[r] = r
			}
			if rest := compareTree(t, m, m.roots[len(splits)-1], c.Last, x, rows); len(rest) != 0 {
				t.Errorf("%d nodes more than in the last tree", len(rest))
			}
			for r, p := range m.PredictBatch(nil, table.matrix(table.Rows, len(c.Predictions))) {
				if want := c.Predictions[r]; math.Abs(p-want) > 1e-6 {
					t.Errorf("fresh row %d: %.9g, want %.9g", r, p, want)
				}
			}
		})
	}
}

func countSplits(nodes []node, at int32) int {
	n := nodes[at]
	if n.left == 0 {
		return 0
	}
	return 1 + countSplits(nodes, n.left) + countSplits(nodes, n.left+1)
}

// compareTree compares the tree at a node with one in preorder, of which it
// returns what is left. Rows are those of x in the node.
func compareTree(t *testing.T, m *Ensemble, at int32, want [][]float64, x []float64, rows []int) [][]float64 {
	t.Helper()
	if len(want) == 0 {
		t.Fatal("more nodes than wanted")
	}
	n, w := m.nodes[at], want[0]
	if n.left == 0 {
		if len(w) != 2 {
			t.Fatalf("node %d: a leaf of %d rows, want a split on %v", at, len(rows), w)
		}
		if math.Abs(n.value-w[0]) > 1e-7 || len(rows) != int(w[1]) {
			t.Errorf("leaf %d: %.9g for %d rows, want %.9g for %.0f", at, n.value, len(rows), w[0], w[1])
		}
		return want[1:]
	}
	column := int(n.feature &^ missingLeft)
	var left, right []int
	missing := 0
	for _, r := range rows {
		v := x[r*m.cols+column]
		goesLeft := v <= n.value
		if v != v {
			missing++
			goesLeft = n.feature&missingLeft != 0
		}
		if goesLeft {
			left = append(left, r)
		} else {
			right = append(right, r)
		}
	}
	if len(w) != 4 {
		t.Fatalf("node %d: a split of column %d at %g, want a leaf", at, column, n.value)
	}
	if column != int(w[0]) || math.Abs(n.value-w[1]) > 1e-12 && !(math.IsInf(n.value, 1) && w[1] == 1e308) || len(rows) != int(w[3]) {
		t.Fatalf("node %d: column %d at %.17g, %d rows, want %v", at, column, n.value, len(rows), w)
	}
	if missing > 0 && (n.feature&missingLeft != 0) != (w[2] == 1) {
		t.Errorf("node %d: missing values left is %v, want %v", at, n.feature&missingLeft != 0, w[2])
	}
	want = compareTree(t, m, n.left, want[1:], x, left)
	return compareTree(t, m, n.left+1, want, x, right)
}

func TestSingleTreeEqualsScikitLearn(t *testing.T) {
	tables, cases := readGolden(t, "cart.json")
	for _, c := range cases {
		t.Run(fmt.Sprintf("%s/%+v", c.Table, c.Settings), func(t *testing.T) {
			table := tables[c.Table]
			f := Forest{Trees: 1, MaxDepth: c.Settings.MaxDepth, MinSamplesLeaf: c.Settings.MinSamplesLeaf, MinSamplesSplit: c.Settings.MinSamplesSplit}
			m, err := f.Fit(table.matrix(0, table.Rows), len(table.Columns), table.Y, table.weights())
			if err != nil {
				t.Fatal(err)
			}
			var splits int
			if err := json.Unmarshal(c.Splits, &splits); err != nil {
				t.Fatal(err)
			}
			if got := countSplits(m.nodes, 0); got != splits {
				t.Errorf("%d splits, want %d", got, splits)
			}
			x := table.matrix(table.Rows, len(c.Predictions))
			for r, want := range c.Predictions {
				p, variance := m.Predict(x[r*m.cols : (r+1)*m.cols])
				if math.Abs(p-want) > 1e-9 || variance != 0 {
					t.Errorf("fresh row %d: %.12g, want %.12g", r, p, want)
				}
			}
		})
	}
}
