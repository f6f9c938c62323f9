package report

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"quicktune/benchmark/replay"
	"quicktune/internal/cli"
)

const (
	figureWidth = 17 * vg.Centimeter
	figureDPI   = 200 // of the PNG

	margin = vg.Length(6)
	// leaderLength is the room between the end of a curve and its label.
	leaderLength = vg.Length(22)
)

// height is that of the figure: more where there are many labels.
func (r *Report) height() vg.Length {
	return max(10.5*vg.Centimeter, 70+12*vg.Length(len(r.Rows)))
}

var (
	ink   = color.NRGBA{0x22, 0x22, 0x22, 0xff} // text and axes
	faint = color.NRGBA{0xdd, 0xdd, 0xdd, 0xff} // grid
	sans  = font.Font{Typeface: "Liberation", Variant: "Sans"}
)

// SVG writes the figure of regret over time. Text stays text; the fonts are
// not embedded.
func (r *Report) SVG(w io.Writer) error {
	c := vgsvg.New(figureWidth, r.height())
	r.draw(draw.New(c))
	var buf bytes.Buffer
	if _, err := c.WriteTo(&buf); err != nil {
		return err
	}
	// Where Liberation Sans is missing, fonts of the same widths come next.
	s := strings.ReplaceAll(buf.String(), "font-family:Liberation Sans;", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif;")
	// A screen reader reads the title.
	head, body, found := strings.Cut(s, `xlink">`)
	if !found {
		return fmt.Errorf("the SVG has an unexpected head: %.200q", s)
	}
	_, err := fmt.Fprintf(w, "%sxlink\" role=\"img\">\n<title>%s</title>%s", head, html.EscapeString(r.altText()), body)
	return err
}

// PNG writes the same figure as pixels.
func (r *Report) PNG(w io.Writer) error {
	c := vgimg.NewWith(vgimg.UseWH(figureWidth, r.height()), vgimg.UseDPI(figureDPI))
	r.draw(draw.New(c))
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(w)
	return err
}

// timeName names the axis of time.
func timeName(r *Report) string {
	switch {
	case r.Data.Unit == cli.Epochs:
		return "training epochs"
	case r.Clock == replay.Decision:
		return "training and decision time"
	}
	return "training time"
}

func style(size vg.Length) text.Style {
	return text.Style{Color: ink, Font: font.From(sans, size), Handler: text.Plain{Fonts: font.DefaultCache}}
}

// draw draws the curves, the worst at the last budget first, so that the best
// lie on top.
func (r *Report) draw(c draw.Canvas) {
	p := plot.New()
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle = centred(style(9))
		a.Tick.Label = style(8.5)
		a.LineStyle = draw.LineStyle{Color: ink, Width: 0.6}
		a.Tick.LineStyle = draw.LineStyle{Color: ink, Width: 0.6}
		a.Tick.Length = 4
		a.Padding = 0
	}
	p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = draw.XCenter, draw.YTop
	p.Y.Tick.Label.XAlign, p.Y.Tick.Label.YAlign = draw.XRight, draw.YCenter
	p.X.Label.Text = timeName(r) + " (logarithmic)"
	p.Y.Label.Text = "mean normalised regret"
	p.X.Label.Padding, p.Y.Label.Padding = 4, 4
	p.X.Scale = plot.LogScale{}
	times := r.Rows[0].Curve.Times
	p.X.Min, p.X.Max = times[0], times[len(times)-1]
	if len(times) == 1 {
		p.X.Min /= 10
	}
	p.X.Tick.Marker = timeTicks{unit: r.Data.Unit, budgets: r.Budgets}
	p.Y.Min, p.Y.Max = 0, r.highest()
	p.Y.Tick.Marker = regretTicks{}
	p.Add(gridLines{budgets: r.Budgets})

	rows := slices.Clone(r.Rows)
	slices.Reverse(rows)
	for _, row := range rows {
		p.Add(band{row, uint8(bandAlpha / max(4, len(rows)))})
	}
	for _, row := range rows {
		p.Add(curve{row})
	}

	caption := style(8.5)
	caption.XAlign, caption.YAlign = draw.XLeft, draw.YTop
	label := style(8.5)
	label.XAlign, label.YAlign = draw.XLeft, draw.YCenter
	var widest vg.Length
	for _, row := range r.Rows {
		widest = max(widest, label.Width(row.Method.Title))
	}
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	area := draw.Crop(c, margin, 0, margin, -22)
	// The plot keeps room for half a tick label on the right, and how much
	// depends on its width: a few steps bring the labels to the right margin.
	// An SVG may be shown in a font that is wider than ours by a seventh.
	labels := leaderLength + 3 + widest*1.15 + margin
	for range 8 {
		area.Max.X += c.Max.X - labels - p.DataCanvas(area).Max.X
	}
	p.Draw(area)
	data := p.DataCanvas(area)
	c.FillText(caption, vg.Point{X: data.Min.X, Y: c.Max.Y - margin}, r.caption())

	x, y := p.Transforms(&data)
	ends := make([]vg.Length, len(r.Rows))
	for i, row := range r.Rows {
		ends[i] = y(row.Curve.Points[len(row.Curve.Points)-1].Mean)
	}
	height := label.Height("Ag") + 2
	places := spread(ends, height, data.Min.Y, data.Max.Y)
	for i, row := range r.Rows {
		s := styleOf(row.Method.Name)
		from, to := x(times[len(times)-1]), data.Max.X+leaderLength
		line := draw.LineStyle{Color: s.color, Width: 1, Dashes: s.dashes}
		c.StrokeLines(line, []vg.Point{{X: from, Y: ends[i]}, {X: to - 8, Y: places[i]}, {X: to, Y: places[i]}})
		c.FillText(label, vg.Point{X: to + 3, Y: places[i]}, row.Method.Title)
	}
}

func centred(s text.Style) text.Style {
	s.XAlign, s.YAlign = draw.XCenter, draw.YBottom
	return s
}

// caption says what the lines and bands are.
func (r *Report) caption() string {
	s := fmt.Sprintf("%s, %s each, %s", plural(len(r.Datasets), "data set"), plural(r.Seeds, "seed"), plural(r.Workers, "worker"))
	if len(r.Datasets) > 1 {
		s += "; bands: " + intervalTitle(r.Bootstrap) + " bootstrap over data sets"
	}
	return s
}

// highest is the upper end of the axis of regret.
func (r *Report) highest() float64 {
	top := 0.0
	for _, row := range r.Rows {
		for _, p := range row.Curve.Points {
			top = max(top, p.Mean)
			if !math.IsNaN(p.High) {
				top = max(top, p.High)
			}
		}
	}
	if top <= 0 || top > 0.8 {
		return max(top, 1)
	}
	return top
}

// spread moves places apart until neighbours differ by at least gap, as little
// as possible in the sum of squares (isotonic regression by pooling adjacent
// violators), and keeps them within [lo, hi] where there is room.
func spread(places []vg.Length, gap, lo, hi vg.Length) []vg.Length {
	order := make([]int, len(places))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case places[a] < places[b]:
			return -1
		case places[a] > places[b]:
			return 1
		}
		return b - a // equal ends: the first method gets the upper label
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

// curve draws the mean of a method.
type curve struct{ row Row }

func (v curve) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	var points []vg.Point
	for i, t := range v.row.Curve.Times {
		points = append(points, vg.Point{X: x(t), Y: y(v.row.Curve.Points[i].Mean)})
	}
	s := styleOf(v.row.Method.Name)
	c.StrokeLines(draw.LineStyle{Color: s.color, Width: 1.5, Dashes: s.dashes}, c.ClipLinesXY(points)...)
}

// band draws the interval of a method.
type band struct {
	row   Row
	alpha uint8
}

// bandAlpha is the opacity of all bands together, of 255: the more there are,
// the fainter each is, so that the curves stay in front.
const bandAlpha = 4 * 0x26

func (v band) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	var points []vg.Point
	for i, t := range v.row.Curve.Times {
		if high := v.row.Curve.Points[i].High; !math.IsNaN(high) {
			points = append(points, vg.Point{X: x(t), Y: y(high)})
		}
	}
	for i, t := range slices.Backward(v.row.Curve.Times) {
		if low := v.row.Curve.Points[i].Low; !math.IsNaN(low) {
			points = append(points, vg.Point{X: x(t), Y: y(low)})
		}
	}
	if len(points) == 0 {
		return
	}
	fill := styleOf(v.row.Method.Name).color
	fill.A = v.alpha
	c.FillPolygon(fill, c.ClipPolygonXY(points))
}

// gridLines draws a line at each regret tick and, stronger, at each budget.
type gridLines struct{ budgets []float64 }

func (g gridLines) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		c.StrokeLine2(draw.LineStyle{Color: faint, Width: 0.5}, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
	}
	for _, b := range g.budgets {
		if b >= p.X.Min && b <= p.X.Max {
			c.StrokeLine2(draw.LineStyle{Color: faint, Width: 1}, x(b), c.Min.Y, x(b), c.Max.Y)
		}
	}
}

// regretTicks marks every 0.2, or finer where the range is small.
type regretTicks struct{}

func (regretTicks) Ticks(_, hi float64) []plot.Tick {
	step, decimals := 0.2, 1
	for hi/step < 3 {
		step, decimals = step/2, decimals+1
	}
	var ticks []plot.Tick
	for v := 0.0; v <= hi*(1+1e-9); v += step {
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', decimals, 64)})
	}
	return ticks
}

// timeTicks marks the budgets and, where there is room, round times between
// them.
type timeTicks struct {
	unit    cli.TimeUnit
	budgets []float64
}

// roundTimes are about a factor of 4 apart, in seconds.
var roundTimes = []float64{
	0.01, 0.04, 0.15, 0.5, 1, 4, 15, 60, 4 * 60, 15 * 60, 3600, 4 * 3600, 16 * 3600,
	3 * 86400, 10 * 86400, 30 * 86400, 120 * 86400, 480 * 86400,
}

func (t timeTicks) Ticks(lo, hi float64) []plot.Tick {
	values := make([]float64, 0, 16)
	for _, b := range t.budgets {
		if b >= lo && b <= hi {
			values = append(values, b)
		}
	}
	candidates := roundTimes
	if t.unit == cli.Epochs {
		candidates = nil
		for v := 1.0; v <= hi; v *= 10 {
			candidates = append(candidates, v, 3*v)
		}
	}
	for _, v := range candidates {
		near := slices.ContainsFunc(values, func(o float64) bool { return max(o/v, v/o) < 2 })
		if v >= lo && v <= hi && !near {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	ticks := make([]plot.Tick, len(values))
	for i, v := range values {
		ticks[i] = plot.Tick{Value: v, Label: t.label(v)}
	}
	return ticks
}

// label writes a time with its unit: 15 min, 4 h, 300 epochs.
func (t timeTicks) label(v float64) string {
	if t.unit == cli.Epochs {
		return thousands(int(v))
	}
	for _, u := range []struct {
		seconds float64
		name    string
	}{{86400, "d"}, {3600, "h"}, {60, "min"}} {
		if n := v / u.seconds; n >= 1 && n == math.Trunc(n) && (u.name != "d" || n >= 2) {
			return strconv.FormatFloat(n, 'f', -1, 64) + " " + u.name
		}
	}
	if v >= 60 {
		return cli.FormatSeconds(v)
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + " s"
}
