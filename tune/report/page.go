package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"quicktune/internal/atomicfile"
	"quicktune/tune/classify"
)

// Page is everything that report.html tells.
type Page struct {
	Title     string
	Incumbent Incumbent
	Facts     []Fact  // about the data and the search
	Curve     []Point // best validation score over time
	Trials    []Trial // in the order in which they were begun
	Networks  []Network
	Skipped   []string
	Confusion classify.Confusion // of the test pictures; nil if unknown
	Classes   []string
	Command   string // that trains the pipeline again
	Predict   string // that uses it
}

// Fact is one line of a table.
type Fact struct{ Name, Value string }

// Point is a moment of the curve.
type Point struct{ Seconds, Score float64 }

// Trial is one training run.
type Trial struct {
	Name, Model, Config string
	Epochs              int
	Best                float64 // score, NaN if it has none
	Seconds             float64
	End                 string
	Chosen              bool
	Scores              []float64
}

// Network sums up what was done with one network.
type Network struct {
	Name    string
	Look    float64 // score before training, NaN if unknown
	Trials  int
	Epochs  int
	Seconds float64
	Best    float64 // NaN if nothing was finished
}

//go:embed page.html
var pageText string

// The numbers of a page are for people.
var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"percent": func(v float64) string {
		if math.IsNaN(v) {
			return "-"
		}
		return fmt.Sprintf("%.1f %%", 100*v)
	},
	"short": func(v float64) string {
		if math.IsNaN(v) {
			return "-"
		}
		return fmt.Sprintf("%.3g", v)
	},
	"seconds": func(v float64) string { return fmt.Sprintf("%.1f s", v) },
	"spark":   spark,
	"anytime": anytime,
	"matrix":  matrix,
	"pairs":   pairs,
	"config":  configText,
}).Parse(pageText))

// WritePage writes report.html.
func WritePage(dir string, p Page) error {
	return atomicfile.Write(filepath.Join(dir, PageFile), func(w io.Writer) error { return page.Execute(w, p) })
}

func configText(in Incumbent) []Fact {
	var out []Fact
	for name, v := range in.Config {
		if name != "model" && name != "epochs" {
			out = append(out, Fact{name, v.String()})
		}
	}
	slices.SortFunc(out, func(a, b Fact) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// anytime draws the best score over time as steps.
func anytime(p Page) template.HTML {
	const width, height, left, bottom, top, right = 760, 300, 56, 40, 14, 14
	if len(p.Curve) == 0 {
		return ""
	}
	end := max(p.Incumbent.Budget, p.Incumbent.Used)
	low, high := math.Inf(1), math.Inf(-1)
	for _, c := range p.Curve {
		low, high = min(low, c.Score), max(high, c.Score)
	}
	step := niceStep((high - low) / 4)
	low, high = math.Floor(low/step)*step, math.Ceil(high/step+1e-9)*step
	if high <= low {
		high = low + step
	}
	x := func(s float64) float64 { return left + s/end*(width-left-right) }
	y := func(v float64) float64 { return height - bottom - (v-low)/(high-low)*(height-bottom-top) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="best validation score over time">`, width, height)
	for v := low; v <= high+step/2; v += step {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%.3g</text>`, left, width-right, y(v), y(v), left-6, y(v)+4, v)
	}
	for s, d := 0.0, niceStep(end/6); s <= end*1.0001; s += d {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%.4g</text>`, x(s), height-bottom+18, s)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">seconds</text>`, (left+width-right)/2, height-6)
	fmt.Fprintf(&b, `<path class="curve" d="M%.1f %.1f`, x(p.Curve[0].Seconds), y(p.Curve[0].Score))
	for _, c := range p.Curve[1:] {
		fmt.Fprintf(&b, "H%.1fV%.1f", x(c.Seconds), y(c.Score))
	}
	fmt.Fprintf(&b, `H%.1f"/>`, x(p.Incumbent.Used))
	for _, c := range p.Curve {
		fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="2.5"/>`, x(c.Seconds), y(c.Score))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// niceStep is 1, 2 or 5 times a power of ten, at least v.
func niceStep(v float64) float64 {
	if !(v > 0) {
		return 0.01
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if v <= f*unit*(1+1e-9) {
			return f * unit
		}
	}
	return 10 * unit
}

// spark draws a learning curve in a line of text.
func spark(scores []float64) template.HTML {
	const width, height = 90, 18
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range scores {
		if !math.IsNaN(s) {
			low, high = min(low, s), max(high, s)
		}
	}
	if len(scores) < 2 || !(high > low) {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="spark" viewBox="0 0 %d %d" role="img" aria-label="scores of %d epochs, %.3g to %.3g"><polyline points="`, width, height, len(scores), low, high)
	for i, s := range scores {
		if !math.IsNaN(s) {
			fmt.Fprintf(&b, "%.1f,%.1f ", 1+float64(i)/float64(len(scores)-1)*(width-2), height-1-(s-low)/(high-low)*(height-2))
		}
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String())
}

// most is the number of classes of which a whole matrix is shown.
const most = 30

// Cell is a number of a confusion matrix with its share of the row.
type Cell struct {
	Count int
	Shade float64
	Right bool
}

// matrix shades a confusion matrix; nil if it would be too large to read.
func matrix(p Page) [][]Cell {
	n := len(p.Classes)
	if n > most {
		return nil
	}
	out := make([][]Cell, n)
	for i := range n {
		sum := 0
		for j := range n {
			sum += p.Confusion[[2]int{i, j}]
		}
		for j := range n {
			count := p.Confusion[[2]int{i, j}]
			out[i] = append(out[i], Cell{count, float64(count) / float64(max(1, sum)), i == j})
		}
	}
	return out
}

// Pair is a frequent mistake.
type Pair struct {
	Class, Taken string
	Count        int
}

// pairs lists the most frequent mistakes.
func pairs(p Page) []Pair {
	const shown = 12
	var out []Pair
	for pair, n := range p.Confusion {
		if pair[0] != pair[1] {
			out = append(out, Pair{p.Classes[pair[0]], p.Classes[pair[1]], n})
		}
	}
	slices.SortFunc(out, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Class, b.Class), strings.Compare(a.Taken, b.Taken))
	})
	return out[:min(shown, len(out))]
}
