package figure

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"pgregory.net/rapid"
)

// fixed is a height that does not depend on the width.
func fixed(h vg.Length) func(vg.Length) vg.Length { return func(vg.Length) vg.Length { return h } }

func TestSpreadMovesAsLittleAsNeeded(t *testing.T) {
	for _, c := range []struct{ places, want []vg.Length }{
		{[]vg.Length{10, 50}, []vg.Length{10, 50}},
		{[]vg.Length{30, 30}, []vg.Length{35, 25}}, // the first gets the upper one
		{[]vg.Length{50, 48, 10}, []vg.Length{54, 44, 10}},
		{[]vg.Length{0, 1, 2}, []vg.Length{0, 10, 20}},
		{[]vg.Length{99, 100}, []vg.Length{90, 100}},
	} {
		if got := Spread(c.places, 10, 0, 100); !slices.Equal(got, c.want) {
			t.Errorf("spread %v to %v, want %v", c.places, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(rapid.Float64Range(0, 100), 1, 9).Draw(t, "places")
		places := make([]vg.Length, len(in))
		for i, v := range in {
			places[i] = vg.Length(v)
		}
		got := Spread(places, 10, 0, 100)
		sorted := slices.Sorted(slices.Values(got))
		for i, v := range sorted {
			if v < -1e-9 || v > 100+1e-9 || i > 0 && v-sorted[i-1] < 10-1e-9 {
				t.Fatalf("%v spread to %v", places, got)
			}
		}
	})
}

func TestTicksAreRound(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		want   int
		labels string
	}{
		{0, 1, 4, "0.0 0.2 0.4 0.6 0.8 1.0"},
		{0, 0.13, 3, "0.00 0.02 0.04 0.06 0.08 0.10 0.12"},
		{0, 40, 4, "0 10 20 30 40"},
		{-0.2, 0.2, 4, "-0.2 -0.1 0.0 0.1 0.2"},
		{3, 3, 4, "3.00"},
	} {
		var labels []string
		for _, tick := range LinearTicks(c.lo, c.hi, c.want, nil) {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != c.labels {
			t.Errorf("ticks from %v to %v: %s, want %s", c.lo, c.hi, got, c.labels)
		}
	}
	if ticks := LinearTicks(0.6, 0.9, 3, Percent); ticks[0].Label != "60 %" {
		t.Errorf("first tick %q", ticks[0].Label)
	}
	var counts []float64
	for _, tick := range CountTicks(2, 500, func(float64) string { return "" }) {
		counts = append(counts, tick.Value)
	}
	if !slices.Equal(counts, []float64{3, 10, 30, 100, 300}) {
		t.Errorf("counts %v", counts)
	}
}

// series makes lines with names of some lengths.
func series(n int) []Series {
	var out []Series
	for i := range n {
		s := Series{Label: "method-" + strings.Repeat("x", i%9), Style: Line{Color: Blue}}
		for x := 1.0; x <= 1000; x *= 10 {
			y := 1 / (1 + float64(i)*math.Log(x))
			s.X, s.Y = append(s.X, x), append(s.Y, y)
			s.Low, s.High = append(s.Low, y/2), append(s.High, min(1, 1.2*y))
		}
		out = append(out, s)
	}
	return out
}

func example(n int, labels Labels) Figure {
	x := Axis{Label: "time (logarithmic)", Min: 1, Max: 1000, Log: true, Ticks: []Tick{{1, "1 s"}, {60, "1 min"}, {900, "15 min"}, {1000, "1000 s"}}}
	y := Axis{Label: "regret", Min: 0, Max: 1, Ticks: LinearTicks(0, 1, 4, nil)}
	ch := Chart{Title: "A chart", X: x, Y: y, Series: series(n), Labels: labels, Marks: []float64{60}}
	return Figure{Name: "chart", Alt: "Falling <lines>", Height: fixed(260), Draw: ch.Draw}
}

// placed is a text of an SVG and where it stands.
type placed struct {
	words      string
	box        vg.Rectangle
	horizontal bool
}

// texts reads the texts of an SVG with their boxes, in points from the upper left
// corner.
func texts(t *testing.T, svg string) (out []placed, width, height float64) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	turned := 0 // depth within a rotated group
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out, width, height
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := token.(xml.StartElement)
		if end, ok := token.(xml.EndElement); ok && end.Name.Local == "g" && turned > 0 {
			turned--
		}
		if !ok {
			continue
		}
		attributes := make(map[string]string)
		for _, a := range start.Attr {
			attributes[a.Name.Local] = a.Value
		}
		switch start.Name.Local {
		case "g":
			if turned > 0 || strings.Contains(attributes["transform"], "rotate") {
				turned++
			}
		case "svg":
			fmt.Sscanf(attributes["viewBox"], "0 0 %g %g", &width, &height)
		case "text":
			var words string
			if err := d.DecodeElement(&words, &start); err != nil {
				t.Fatal(err)
			}
			var x, y, size float64
			fmt.Sscan(attributes["x"], &x)
			fmt.Sscan(attributes["y"], &y)
			_, after, _ := strings.Cut(attributes["style"], "font-size:")
			after, _, _ = strings.Cut(after, "px")
			fmt.Sscan(after, &size)
			style := Text(vg.Length(size), Ink, draw.XLeft, draw.YBottom)
			p := placed{words: words, horizontal: turned == 0}
			// y counts upwards and is that of the base line.
			p.box = vg.Rectangle{
				Min: vg.Point{X: vg.Length(x), Y: vg.Length(-y)},
				Max: vg.Point{X: vg.Length(x) + style.Width(words), Y: vg.Length(-y + 0.7*size)},
			}
			out = append(out, p)
		}
	}
}

func TestTextsNeitherOverlapNorLeaveTheFigure(t *testing.T) {
	for _, n := range []int{1, 3, 9, 26} {
		for _, labels := range []Labels{AtEnds, InKey} {
			for _, width := range []vg.Length{Wide, Narrow} {
				s, err := example(n, labels).vector(width)
				if err != nil {
					t.Fatal(err)
				}
				all, w, h := texts(t, s)
				names := 0
				for i, a := range all {
					if strings.HasPrefix(a.words, "method-") {
						names++
					}
					if !a.horizontal {
						continue
					}
					if a.box.Min.X < 0 || float64(a.box.Max.X) > w || a.box.Min.Y < 0 || float64(a.box.Max.Y) > h {
						t.Errorf("%d lines, width %.0f: %q leaves the figure: %v", n, width, a.words, a.box)
					}
					for _, b := range all[:i] {
						if b.horizontal && overlap(a.box, b.box) {
							t.Errorf("%d lines, width %.0f: %q overlaps %q", n, width, a.words, b.words)
						}
					}
				}
				if names != n {
					t.Errorf("%d lines, width %.0f: %d names", n, width, names)
				}
			}
		}
	}
}

func TestFiguresAreDeterministicAndPNGAgrees(t *testing.T) {
	f := example(5, AtEnds)
	var one, two, pixels bytes.Buffer
	for _, err := range []error{f.SVG(&one), f.SVG(&two), f.PNG(&pixels)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("two drawings differ")
	}
	if !strings.Contains(one.String(), "<title>Falling &lt;lines&gt;</title>") {
		t.Error("the SVG lacks its title")
	}
	_, w, h := texts(t, one.String())
	img, err := png.Decode(&pixels)
	if err != nil {
		t.Fatal(err)
	}
	if size := img.Bounds().Size(); math.Abs(float64(size.X)/float64(size.Y)-w/h) > 0.01 {
		t.Errorf("PNG of %v pixels, SVG of %v x %v points", size, w, h)
	}
	// Where the SVG has its axis of x, so has the PNG.
	inline, err := f.Inline(Narrow)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(inline, "<svg viewBox=") || strings.Contains(inline, "#222222") || !strings.Contains(inline, "var(--ink)") {
		t.Errorf("inline: %.300s", inline)
	}
}

func TestNamesOfDotsDoNotOverlap(t *testing.T) {
	var s Scatter
	s.X = Axis{Label: "size", Min: 0, Max: 1}
	s.Y = Axis{Label: "accuracy", Min: 0, Max: 1}
	for i := range 30 {
		at := float64(i) / 29
		s.Points = append(s.Points, Point{X: at * at, Y: 0.5 + 0.4*math.Sin(9*at), Label: fmt.Sprintf("network-%d", i), Color: Grey, Large: i%3 == 0})
	}
	f := Figure{Height: fixed(240), Draw: s.Draw}
	for _, width := range []vg.Length{Wide, Narrow} {
		svg, err := f.vector(width)
		if err != nil {
			t.Fatal(err)
		}
		all, _, _ := texts(t, svg)
		named := 0
		for i, a := range all {
			if strings.HasPrefix(a.words, "network-") {
				named++
			}
			for _, b := range all[:i] {
				if a.horizontal && b.horizontal && overlap(a.box, b.box) {
					t.Errorf("width %.0f: %q overlaps %q", width, a.words, b.words)
				}
			}
		}
		if named < 10 {
			t.Errorf("width %.0f: only %d of 30 names were written", width, named)
		}
	}
}

func TestHeatMapsBreakIntoBlocksWhereTheyAreNarrow(t *testing.T) {
	h := HeatMap{Rows: []string{"first", "second"}, Beside: "mean", Words: []string{"1.0", "2.0"}}
	for i := range 20 {
		h.Columns = append(h.Columns, fmt.Sprintf("SET_%d", i))
	}
	for range h.Rows {
		var cells []Cell
		for i := range h.Columns {
			cells = append(cells, Cell{Share: float64(i) / 19, Label: fmt.Sprint(i)})
		}
		cells[3].Share = math.NaN()
		h.Cells = append(h.Cells, cells)
	}
	if h.layout(Wide).blocks != 1 || h.layout(Narrow).blocks != 2 {
		t.Errorf("%d blocks in the wide one, %d in the narrow one", h.layout(Wide).blocks, h.layout(Narrow).blocks)
	}
	f := Figure{Height: h.Height, Draw: h.Draw}
	for _, width := range []vg.Length{Wide, Narrow} {
		svg, err := f.vector(width)
		if err != nil {
			t.Fatal(err)
		}
		all, w, hgt := texts(t, svg)
		for _, a := range all {
			if a.horizontal && (a.box.Min.X < 0 || float64(a.box.Max.X) > w || a.box.Min.Y < 0 || float64(a.box.Max.Y) > hgt) {
				t.Errorf("width %.0f: %q leaves the figure: %v", width, a.words, a.box)
			}
		}
		if n := strings.Count(svg, ">SET_"); n != 20 {
			t.Errorf("width %.0f: %d heads", width, n)
		}
	}
}
