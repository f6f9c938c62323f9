package figure

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Row is one named value.
type Row struct {
	Label     string
	Value     float64
	Low, High float64 // an interval; NaN for none
	Text      string  // written at the right, such as the value
	Style     Line
}

// Rows is a chart of one value a row, on a common axis: names at the left, dots
// with intervals, words at the right.
type Rows struct {
	X    Axis
	Rows []Row
	// Groups joins rows [from, to], both included, by a bar at the right of the
	// axis: rows that do not differ.
	Groups [][2]int
	// Ruler, above 0, is drawn above the axis with its name: a difference that
	// matters.
	Ruler     float64
	RulerName string
	// Bars draws bars from Min of the axis in place of dots.
	Bars bool
}

const rowHigh = vg.Length(15)

// Height is that of the whole chart at a width.
func (r Rows) Height(width vg.Length) vg.Length {
	h := rowHigh*vg.Length(len(r.Rows)) + tickSize + 7 + 2*edge + 4
	if r.X.Label != "" {
		h += textSize + 3
	}
	if r.Ruler > 0 {
		h += textSize + 12
	}
	return h
}

// Draw draws the chart into all of c.
func (r Rows) Draw(c draw.Canvas) {
	name := Text(textSize, Ink, draw.XRight, draw.YCenter)
	words := Text(tickSize, Ink, draw.XLeft, draw.YCenter)
	var left, right vg.Length
	for _, row := range r.Rows {
		left = max(left, name.Width(row.Label)*wider)
		right = max(right, words.Width(row.Text)*wider)
	}
	if right > 0 {
		right += 8
	}
	lanes := r.lanes()
	depth := 0
	for _, lane := range lanes {
		depth = max(depth, lane+1)
	}
	bars := vg.Length(depth) * 6
	if depth > 0 {
		bars += 6
	}
	box := c.Rectangle
	box.Min.X += edge + left
	box.Max.X -= edge + right + bars
	box.Min.Y += edge
	box.Max.Y -= edge
	if r.Ruler > 0 {
		box.Max.Y -= textSize + 12
	}
	chart := Chart{X: r.X, Y: Axis{Min: 0, Max: float64(len(r.Rows))}}
	// The axis keeps its own half of the last label within the box.
	data := chart.axes(c, box, right+bars < 20)
	x, _ := chart.place(data)
	y := func(i int) vg.Length {
		return data.Max.Y - (vg.Length(i)+0.5)*(data.Max.Y-data.Min.Y)/vg.Length(len(r.Rows))
	}
	for _, t := range r.X.Ticks {
		c.StrokeLine2(draw.LineStyle{Color: Faint, Width: 0.5}, x(t.Value), data.Min.Y, x(t.Value), data.Max.Y)
	}
	if r.Ruler > 0 {
		r.ruler(c, data, x)
	}
	for i, row := range r.Rows {
		at := y(i)
		c.FillText(name, vg.Point{X: data.Min.X - 6, Y: at}, row.Label)
		c.FillText(words, vg.Point{X: box.Max.X + bars + 8, Y: at}, row.Text)
		if math.IsNaN(row.Value) {
			continue
		}
		if r.Bars {
			Box(c, row.Style.Color, data.Min.X, at-3.5, max(x(row.Value), data.Min.X+0.5), at+3.5)
			continue
		}
		if !math.IsNaN(row.Low) && !math.IsNaN(row.High) {
			// Without the dashes of the line, which would hide its ends.
			c.StrokeLine2(draw.LineStyle{Color: row.Style.Color, Width: 1.2}, x(max(row.Low, r.X.Min)), at, x(min(row.High, r.X.Max)), at)
		}
		if row.Value >= r.X.Min && row.Value <= r.X.Max {
			Dot(c, row.Style, vg.Point{X: x(row.Value), Y: at}, 3)
		}
	}
	for k, g := range r.Groups {
		at := box.Max.X + 8 + vg.Length(lanes[k])*6
		c.StrokeLine2(draw.LineStyle{Color: Ink, Width: 2.4}, at, y(g[0])+3.5, at, y(g[1])-3.5)
	}
}

// Dot draws a dot in the style of a line: full for a solid one, a ring for a
// dashed one.
func Dot(c draw.Canvas, style Line, at vg.Point, radius vg.Length) {
	glyph := draw.GlyphStyle{Color: style.Color, Radius: radius, Shape: draw.CircleGlyph{}}
	c.DrawGlyphNoClip(glyph, at)
	if style.Dashes != nil {
		glyph.Color, glyph.Radius = color.Color(Paper), radius*0.5
		c.DrawGlyphNoClip(glyph, at)
	}
}

// lanes puts groups that share a row beside each other.
func (r Rows) lanes() []int {
	out := make([]int, len(r.Groups))
	var until []int // the last row of each lane
	for k, g := range r.Groups {
		lane := 0
		for lane < len(until) && until[lane] >= g[0] {
			lane++
		}
		if lane == len(until) {
			until = append(until, 0)
		}
		until[lane] = g[1]
		out[k] = lane
	}
	return out
}

func (r Rows) ruler(c draw.Canvas, data vg.Rectangle, x func(float64) vg.Length) {
	text := fmt.Sprintf("%s %.2f", r.RulerName, r.Ruler)
	label := Text(tickSize, Ink, draw.XLeft, draw.YBottom)
	y := data.Max.Y + 6
	from, to := x(r.X.Min), min(x(r.X.Min+r.Ruler), data.Max.X)
	line := draw.LineStyle{Color: Ink, Width: 1}
	c.StrokeLine2(line, from, y, to, y)
	c.StrokeLine2(line, from, y-2.5, from, y+2.5)
	c.StrokeLine2(line, to, y-2.5, to, y+2.5)
	c.FillText(label, vg.Point{X: max(c.Min.X+edge, min(from, c.Max.X-edge-label.Width(text)*wider)), Y: y + 3.5}, text)
}

// Panels are charts side by side and below each other, with one key for all.
type Panels struct {
	Charts []Chart
	Key    []Series
	// High is the height of a chart without its title, Least its least width.
	High, Least vg.Length
}

func (p Panels) columns(width vg.Length) int {
	return min(len(p.Charts), max(1, int(width/p.Least)))
}

// Height is that of all charts at a width.
func (p Panels) Height(width vg.Length) vg.Length {
	n := p.columns(width)
	rows := (len(p.Charts) + n - 1) / n
	return vg.Length(rows)*(p.High+textSize*1.3) + p.keyHeight(width) + 2*edge
}

func (p Panels) keyHeight(width vg.Length) vg.Length {
	if len(p.Key) == 0 {
		return 0
	}
	return KeyHeight(p.Key, width-2*edge) + 8
}

// Draw draws the charts into all of c.
func (p Panels) Draw(c draw.Canvas) {
	width := c.Max.X - c.Min.X
	n := p.columns(width)
	top := c.Max.Y - edge
	if h := p.keyHeight(width); h > 0 {
		DrawKey(c, p.Key, vg.Point{X: c.Min.X + edge, Y: top - h + 8}, width-2*edge)
		top -= h
	}
	high := p.High + textSize*1.3
	for i, chart := range p.Charts {
		x, y := c.Min.X+width*vg.Length(i%n)/vg.Length(n), top-high*vg.Length(i/n+1)
		chart.Draw(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: x, Y: y}, Max: vg.Point{X: x + width/vg.Length(n), Y: y + high - 2},
		}})
	}
}

// Stack is several charts of rows side by side, or below each other where there
// is no room.
type Stack struct {
	Rows  []Rows
	Least vg.Length // width of a chart
}

func (s Stack) columns(width vg.Length) int {
	return min(len(s.Rows), max(1, int(width/s.Least)))
}

// Height is that of all charts at a width.
func (s Stack) Height(width vg.Length) vg.Length {
	n := s.columns(width)
	var total vg.Length
	for i := 0; i < len(s.Rows); i += n {
		total += s.Rows[i].Height(width / vg.Length(n))
	}
	return total
}

// Draw draws the charts into all of c.
func (s Stack) Draw(c draw.Canvas) {
	width := c.Max.X - c.Min.X
	n := s.columns(width)
	top := c.Max.Y
	for i, rows := range s.Rows {
		one := width / vg.Length(n)
		high := rows.Height(one)
		x := c.Min.X + one*vg.Length(i%n)
		rows.Draw(draw.Canvas{Canvas: c.Canvas, Rectangle: vg.Rectangle{Min: vg.Point{X: x, Y: top - high}, Max: vg.Point{X: x + one, Y: top}}})
		if i%n == n-1 {
			top -= high
		}
	}
}
