package figure

import (
	"cmp"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Line is how a line is drawn.
type Line struct {
	Color  color.NRGBA
	Dashes []vg.Length // nil for a solid line
}

// Series is one line of a chart.
type Series struct {
	Label string
	Style Line
	X, Y  []float64
	// Low and High bound a band; nil for none, NaN where there is none.
	Low, High []float64
	Steps     bool // constant until the next x
	Dots      bool // at each x
}

// Tick is a marked value of an axis.
type Tick struct {
	Value float64
	Label string
}

// Axis is an axis from Min to Max.
type Axis struct {
	Label    string // with its unit
	Min, Max float64
	Log      bool
	Ticks    []Tick
}

// at maps a value to [0, 1].
func (a Axis) at(v float64) float64 {
	if a.Max == a.Min {
		return 0.5
	}
	if a.Log {
		return math.Log(v/a.Min) / math.Log(a.Max/a.Min)
	}
	return (v - a.Min) / (a.Max - a.Min)
}

// Labels says where the names of the lines stand.
type Labels int

const (
	AtEnds Labels = iota // beside the ends of the lines, or in a key where there is no room
	InKey                // in a key below
	Nowhere
)

// Chart is a chart of lines.
type Chart struct {
	Title  string // above the axes, small
	X, Y   Axis
	Series []Series  // the first lies on top
	Marks  []float64 // x with a stronger line of the grid
	Labels Labels
	// Diagonal draws the line where y equals x.
	Diagonal bool
}

const (
	edge = vg.Length(5)
	// leader is the room between the end of a line and its label.
	leader    = vg.Length(18)
	textSize  = vg.Length(8.5)
	tickSize  = vg.Length(8)
	lineWidth = vg.Length(1.5)
	// An SVG may be shown in a font that is wider than ours by a seventh.
	wider = 1.12
)

// Draw draws the chart into all of c.
func (ch Chart) Draw(c draw.Canvas) {
	label := Text(textSize, Ink, draw.XLeft, draw.YCenter)
	box := c.Rectangle
	box.Min.X += edge
	box.Max.X -= edge
	box.Max.Y -= 3
	box.Min.Y += 3
	if ch.Title != "" {
		title := Text(textSize, Ink, draw.XLeft, draw.YTop)
		for _, line := range Wrap(title, ch.Title, box.Max.X-box.Min.X) {
			c.FillText(title, vg.Point{X: box.Min.X, Y: box.Max.Y}, line)
			box.Max.Y -= textSize * 1.3
		}
	}
	where := ch.Labels
	var widest vg.Length
	for _, s := range ch.Series {
		widest = max(widest, label.Width(s.Label)*wider)
	}
	if where == AtEnds {
		if widest+leader > 0.42*(c.Max.X-c.Min.X) || vg.Length(len(ch.Series))*(textSize+2) > box.Max.Y-box.Min.Y-40 {
			where = InKey
		} else {
			box.Max.X -= leader + widest + 3
		}
	}
	if where == InKey {
		box.Min.Y += DrawKey(c, ch.Series, box.Min, box.Max.X-box.Min.X) + 4
	}
	data := ch.axes(c, box, where != AtEnds)
	x, y := ch.place(data)
	inside := draw.Canvas{Canvas: c.Canvas, Rectangle: data}
	if ch.Diagonal {
		lo, hi := max(ch.X.Min, ch.Y.Min), min(ch.X.Max, ch.Y.Max)
		c.StrokeLine2(draw.LineStyle{Color: Grey, Width: 0.8, Dashes: []vg.Length{2, 2}}, x(lo), y(lo), x(hi), y(hi))
	}
	for i := range ch.Series {
		ch.band(inside, ch.Series[len(ch.Series)-1-i], x, y)
	}
	ends := make([]vg.Length, len(ch.Series))
	for i := range ch.Series {
		n := len(ch.Series) - 1 - i
		ends[n] = ch.line(inside, ch.Series[n], x, y)
	}
	if where != AtEnds {
		return
	}
	places := Spread(ends, textSize+2, data.Min.Y, data.Max.Y)
	for i, s := range ch.Series {
		line := draw.LineStyle{Color: s.Style.Color, Width: 1, Dashes: s.Style.Dashes}
		to := data.Max.X + leader
		c.StrokeLines(line, []vg.Point{{X: data.Max.X, Y: ends[i]}, {X: to - 7, Y: places[i]}, {X: to, Y: places[i]}})
		c.FillText(label, vg.Point{X: to + 3, Y: places[i]}, s.Label)
	}
}

func (ch Chart) place(data vg.Rectangle) (x, y func(float64) vg.Length) {
	size := data.Size()
	return func(v float64) vg.Length { return data.Min.X + vg.Length(ch.X.at(v))*size.X },
		func(v float64) vg.Length { return data.Min.Y + vg.Length(ch.Y.at(v))*size.Y }
}

// axes draws axes and grid into box and returns where the data go. With last,
// room is kept for half of the last label of x.
func (ch Chart) axes(c draw.Canvas, box vg.Rectangle, last bool) vg.Rectangle {
	below := Text(tickSize, Ink, draw.XCenter, draw.YTop)
	beside := Text(tickSize, Ink, draw.XRight, draw.YCenter)
	name := Text(textSize, Ink, draw.XCenter, draw.YBottom)
	var widest vg.Length
	for _, t := range ch.Y.Ticks {
		widest = max(widest, beside.Width(t.Label))
	}
	data := box
	data.Min.X += widest + 6
	data.Min.Y += tickSize + 7
	data.Max.Y -= tickSize / 2
	if ch.Y.Label != "" {
		data.Min.X += textSize + 4
	}
	if ch.X.Label != "" {
		data.Min.Y += textSize + 3
	}
	if n := len(ch.X.Ticks); last && n > 0 {
		data.Max.X -= below.Width(ch.X.Ticks[n-1].Label) * wider / 2
	}
	x, y := ch.place(data)
	for _, t := range ch.Y.Ticks {
		at := y(t.Value)
		c.StrokeLine2(draw.LineStyle{Color: Faint, Width: 0.5}, data.Min.X, at, data.Max.X, at)
		c.FillText(beside, vg.Point{X: data.Min.X - 4, Y: at}, t.Label)
	}
	for _, m := range ch.Marks {
		if m >= ch.X.Min && m <= ch.X.Max {
			c.StrokeLine2(draw.LineStyle{Color: Faint, Width: 1}, x(m), data.Min.Y, x(m), data.Max.Y)
		}
	}
	axis := draw.LineStyle{Color: Ink, Width: 0.6}
	c.StrokeLine2(axis, data.Min.X, data.Min.Y, data.Max.X, data.Min.Y)
	// Labels that would touch are left out, from the right: the last is the
	// largest budget.
	free := vg.Length(math.Inf(1))
	for _, t := range slices.Backward(ch.X.Ticks) {
		at, half := x(t.Value), below.Width(t.Label)*wider/2
		c.StrokeLine2(axis, at, data.Min.Y, at, data.Min.Y-3)
		if at+half+3 > free {
			continue
		}
		free = at - half
		c.FillText(below, vg.Point{X: at, Y: data.Min.Y - 5}, t.Label)
	}
	middle := vg.Point{X: (data.Min.X + data.Max.X) / 2, Y: box.Min.Y}
	if ch.X.Label != "" {
		// Centred below the axis, but not beyond the box.
		half := name.Width(ch.X.Label) * wider / 2
		middle.X = max(box.Min.X+half, min(middle.X, max(box.Max.X, data.Max.X)-half))
		c.FillText(name, middle, ch.X.Label)
	}
	if ch.Y.Label != "" {
		up := Text(textSize, Ink, draw.XCenter, draw.YTop)
		up.Rotation = math.Pi / 2
		c.FillText(up, vg.Point{X: box.Min.X, Y: (data.Min.Y + data.Max.Y) / 2}, ch.Y.Label)
	}
	return data
}

// bandAlpha is the opacity of all bands together, of 255: the more there are,
// the fainter each is, so that the lines stay in front.
const bandAlpha = 4 * 0x26

func (ch Chart) band(c draw.Canvas, s Series, x, y func(float64) vg.Length) {
	if s.Low == nil {
		return
	}
	bands := 0
	for _, other := range ch.Series {
		if other.Low != nil {
			bands++
		}
	}
	var points []vg.Point
	for i, at := range s.X {
		if !math.IsNaN(s.High[i]) {
			points = append(points, vg.Point{X: x(at), Y: y(s.High[i])})
		}
	}
	for i, at := range slices.Backward(s.X) {
		if !math.IsNaN(s.Low[i]) {
			points = append(points, vg.Point{X: x(at), Y: y(s.Low[i])})
		}
	}
	if len(points) == 0 {
		return
	}
	fill := s.Style.Color
	fill.A = uint8(bandAlpha / max(4, bands))
	c.FillPolygon(fill, c.ClipPolygonXY(points))
}

// line draws a series and returns the height of its end.
func (ch Chart) line(c draw.Canvas, s Series, x, y func(float64) vg.Length) vg.Length {
	var points []vg.Point
	end := c.Min.Y
	for i, at := range s.X {
		if math.IsNaN(s.Y[i]) {
			continue
		}
		if s.Steps && len(points) > 0 {
			points = append(points, vg.Point{X: x(at), Y: end})
		}
		end = y(s.Y[i])
		points = append(points, vg.Point{X: x(at), Y: end})
	}
	style := draw.LineStyle{Color: s.Style.Color, Width: lineWidth, Dashes: s.Style.Dashes}
	c.StrokeLines(style, c.ClipLinesXY(points)...)
	if s.Dots {
		for _, p := range points {
			if c.Contains(p) {
				c.DrawGlyphNoClip(draw.GlyphStyle{Color: s.Style.Color, Radius: 2.2, Shape: draw.CircleGlyph{}}, p)
			}
		}
	}
	return min(max(end, c.Min.Y), c.Max.Y)
}

// keyGap is the room between entries of a key, keyLine the length of its lines.
const (
	keyGap  = vg.Length(12)
	keyLine = vg.Length(18)
)

// KeyHeight is the height of a key of series within a width.
func KeyHeight(series []Series, width vg.Length) vg.Length {
	return vg.Length(len(keyRows(series, width))) * (textSize + 4)
}

// DrawKey writes the names of series beside samples of their lines, upwards from
// its lower left corner, and returns its height.
func DrawKey(c draw.Canvas, series []Series, corner vg.Point, width vg.Length) vg.Length {
	rows := keyRows(series, width)
	label := Text(textSize, Ink, draw.XLeft, draw.YCenter)
	height := KeyHeight(series, width)
	for r, row := range rows {
		at := vg.Point{X: corner.X, Y: corner.Y + height - (textSize+4)*(vg.Length(r)+0.5)}
		for _, s := range row {
			c.StrokeLine2(draw.LineStyle{Color: s.Style.Color, Width: lineWidth, Dashes: s.Style.Dashes}, at.X, at.Y, at.X+keyLine, at.Y)
			c.FillText(label, vg.Point{X: at.X + keyLine + 4, Y: at.Y}, s.Label)
			at.X += keyWidth(label, s)
		}
	}
	return height
}

func keyWidth(label text.Style, s Series) vg.Length {
	return keyLine + 4 + label.Width(s.Label)*wider + keyGap
}

// keyRows breaks the entries of a key into rows.
func keyRows(series []Series, width vg.Length) [][]Series {
	label := Text(textSize, Ink, draw.XLeft, draw.YCenter)
	var rows [][]Series
	var used vg.Length
	for _, s := range series {
		w := keyWidth(label, s)
		if len(rows) == 0 || used+w-keyGap > width {
			rows, used = append(rows, nil), 0
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], s)
		used += w
	}
	return rows
}

// Wrap breaks text between words into lines that fit into a width.
func Wrap(s text.Style, words string, width vg.Length) []string {
	var lines []string
	line := ""
	for _, word := range splitWords(words) {
		longer := word
		if line != "" {
			longer = line + " " + word
		}
		if line != "" && s.Width(longer)*wider > width {
			lines = append(lines, line)
			longer = word
		}
		line = longer
	}
	return append(lines, line)
}

// splitWords splits at blanks; a number stays with its unit.
func splitWords(s string) []string {
	var words []string
	start := 0
	for i, r := range s {
		if r != ' ' {
			continue
		}
		if i > 0 && s[i-1] >= '0' && s[i-1] <= '9' {
			continue
		}
		words = append(words, s[start:i])
		start = i + 1
	}
	return append(words, s[start:])
}

// Spread moves places apart until neighbours differ by at least gap, as little
// as possible in the sum of squares (isotonic regression by pooling adjacent
// violators), and keeps them within [lo, hi] where there is room.
func Spread(places []vg.Length, gap, lo, hi vg.Length) []vg.Length {
	order := make([]int, len(places))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		// Of equal ends the first series gets the upper label.
		return cmp.Or(cmp.Compare(places[a], places[b]), b-a)
	})
	type block struct {
		sum vg.Length
		n   int
	}
	mean := func(b block) vg.Length { return b.sum / vg.Length(b.n) }
	var blocks []block
	for rank, i := range order {
		blocks = append(blocks, block{places[i] - vg.Length(rank)*gap, 1})
		for k := len(blocks) - 1; k > 0 && mean(blocks[k]) <= mean(blocks[k-1]); k-- {
			blocks[k-1].sum += blocks[k].sum
			blocks[k-1].n += blocks[k].n
			blocks = blocks[:k]
		}
	}
	top := max(lo, hi-vg.Length(len(places)-1)*gap)
	spread := make([]vg.Length, len(places))
	rank := 0
	for _, b := range blocks {
		at := min(max(mean(b), lo), top)
		for range b.n {
			spread[order[rank]] = at + vg.Length(rank)*gap
			rank++
		}
	}
	return spread
}
