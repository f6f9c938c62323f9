package report

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"io"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

const figureDPI = 200 // of a PNG

// The look is that of the figures of benchmark/report.
var (
	ink    = color.NRGBA{0x22, 0x22, 0x22, 0xff}
	faint  = color.NRGBA{0xdd, 0xdd, 0xdd, 0xff}
	grey   = color.NRGBA{0x77, 0x77, 0x77, 0xff}
	blue   = color.NRGBA{0x00, 0x72, 0xb2, 0xff}
	dark   = color.NRGBA{0x0b, 0x3c, 0x5d, 0xff} // the best rank
	bright = color.NRGBA{0xf4, 0xf1, 0xe6, 0xff} // the worst
	sans   = font.Font{Typeface: "Liberation", Variant: "Sans"}
)

func style(size vg.Length, c color.Color) text.Style {
	return text.Style{Color: c, Font: font.From(sans, size), Handler: text.Plain{Fonts: font.DefaultCache}}
}

// Figure is a figure of a report.
type Figure struct {
	Name          string // of its file, without extension
	Title         string
	width, height vg.Length
	draw          func(c draw.Canvas)
}

// Figures returns the heat map of ranks and, where source accuracies are known,
// the Pareto plot.
func (r *Report) Figures() []Figure {
	list := []Figure{r.heatMap()}
	for _, n := range r.Networks {
		if n.Front {
			return append(list, r.pareto())
		}
	}
	return list
}

// SVG writes the figure; text stays text.
func (f Figure) SVG(w io.Writer) error {
	c := vgsvg.New(f.width, f.height)
	f.paint(draw.New(c))
	var buf bytes.Buffer
	if _, err := c.WriteTo(&buf); err != nil {
		return err
	}
	s := strings.ReplaceAll(buf.String(), "font-family:Liberation Sans;", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif;")
	head, body, found := strings.Cut(s, `xlink">`)
	if !found {
		return fmt.Errorf("the SVG has an unexpected head: %.200q", s)
	}
	_, err := fmt.Fprintf(w, "%sxlink\" role=\"img\">\n<title>%s</title>%s", head, html.EscapeString(f.Title), body)
	return err
}

// PNG writes the figure as pixels.
func (f Figure) PNG(w io.Writer) error {
	c := vgimg.NewWith(vgimg.UseWH(f.width, f.height), vgimg.UseDPI(figureDPI))
	f.paint(draw.New(c))
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(w)
	return err
}

func (f Figure) paint(c draw.Canvas) {
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	f.draw(c)
}

// heatMap shows the rank of each network on each data set.
func (r *Report) heatMap() Figure {
	const cell, margin = vg.Length(19), vg.Length(8)
	name := style(8.5, ink)
	name.XAlign, name.YAlign = draw.XRight, draw.YCenter
	across := style(8.5, ink)
	across.XAlign, across.YAlign, across.Rotation = draw.XLeft, draw.YCenter, math.Pi/3
	var left, top vg.Length
	for _, n := range r.Networks {
		left = max(left, name.Width(n.Name))
	}
	for _, d := range r.Datasets {
		top = max(top, across.Width(d))
	}
	left += margin + 6
	right := max(34, top*0.5+margin)
	top = top*0.87 + margin + 12
	rows, columns := len(r.Networks), len(r.Datasets)
	f := Figure{
		Name: "ranks", Title: fmt.Sprintf("Ranks of %d networks on %d data sets; 1 is the best validation accuracy", rows, columns),
		width: left + cell*vg.Length(columns) + 6 + right, height: top + cell*0.8*vg.Length(rows) + margin,
	}
	f.draw = func(c draw.Canvas) {
		high := cell * 0.8
		y := func(row int) vg.Length { return c.Max.Y - top - high*vg.Length(row+1) }
		for d, title := range r.Datasets {
			c.FillText(across, vg.Point{X: left + cell*(vg.Length(d)+0.5), Y: c.Max.Y - top + 6}, title)
		}
		mean := style(8.5, ink)
		mean.XAlign, mean.YAlign = draw.XCenter, draw.YCenter
		c.FillText(mean, vg.Point{X: left + cell*vg.Length(columns) + 20, Y: c.Max.Y - top + 6}, "mean")
		for i, n := range r.Networks {
			c.FillText(name, vg.Point{X: left - 5, Y: y(i) + high/2}, n.Name)
			for d, rank := range n.Rank {
				x := left + cell*vg.Length(d)
				fill, tone := color.NRGBA{0xff, 0xff, 0xff, 0xff}, ink
				label := ""
				if !math.IsNaN(rank) {
					share := 0.0
					if rows > 1 {
						share = (rank - 1) / float64(rows-1)
					}
					fill, label = between(dark, bright, share), fmt.Sprintf("%.0f", rank)
					if share < 0.5 {
						tone = color.NRGBA{0xff, 0xff, 0xff, 0xff}
					}
				}
				c.FillPolygon(fill, []vg.Point{{X: x, Y: y(i)}, {X: x + cell - 1, Y: y(i)}, {X: x + cell - 1, Y: y(i) + high - 1}, {X: x, Y: y(i) + high - 1}})
				number := style(7.5, tone)
				number.XAlign, number.YAlign = draw.XCenter, draw.YCenter
				c.FillText(number, vg.Point{X: x + (cell-1)/2, Y: y(i) + (high-1)/2}, label)
			}
			c.FillText(mean, vg.Point{X: left + cell*vg.Length(columns) + 20, Y: y(i) + high/2}, fmt.Sprintf("%.1f", n.MeanRank))
		}
	}
	return f
}

// between mixes two colours.
func between(a, b color.NRGBA, share float64) color.NRGBA {
	mix := func(x, y uint8) uint8 { return uint8(float64(x) + share*(float64(y)-float64(x)) + 0.5) }
	return color.NRGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xff}
}

// pareto shows source accuracy against the number of parameters.
func (r *Report) pareto() Figure {
	f := Figure{Name: "pareto", Title: "Accuracy on the source against parameters; the Pareto front is drawn in blue", width: 15 * vg.Centimeter, height: 9.5 * vg.Centimeter}
	f.draw = func(c draw.Canvas) {
		p := plot.New()
		for _, a := range []*plot.Axis{&p.X, &p.Y} {
			a.Label.TextStyle = style(9, ink)
			a.Label.TextStyle.XAlign, a.Label.TextStyle.YAlign = draw.XCenter, draw.YBottom
			a.Tick.Label = style(8.5, ink)
			a.LineStyle = draw.LineStyle{Color: ink, Width: 0.6}
			a.Tick.LineStyle = draw.LineStyle{Color: ink, Width: 0.6}
			a.Tick.Length, a.Padding, a.Label.Padding = 4, 0, 4
		}
		p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = draw.XCenter, draw.YTop
		p.Y.Tick.Label.XAlign, p.Y.Tick.Label.YAlign = draw.XRight, draw.YCenter
		p.X.Label.Text, p.Y.Label.Text = "parameters (logarithmic)", "accuracy on the source"
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, sizes{}
		lo, hi, least, most := math.Inf(1), 0.0, math.Inf(1), 0.0
		for _, n := range r.Networks {
			if math.IsNaN(n.Params) || n.Params <= 0 || math.IsNaN(n.SourceAccuracy) {
				continue
			}
			lo, hi = min(lo, n.Params*1e6), max(hi, n.Params*1e6)
			least, most = min(least, n.SourceAccuracy), max(most, n.SourceAccuracy)
		}
		p.X.Min, p.X.Max = lo/1.4, hi*2.4
		room := max(0.02, (most-least)*0.12)
		p.Y.Min, p.Y.Max = max(0, least-room), min(1, most+room)
		p.Y.Tick.Marker = shares{}
		p.Add(dots{r.Networks})
		p.Draw(draw.Crop(c, 6, -6, 6, -6))
	}
	return f
}

// dots draws the networks of a Pareto plot.
type dots struct{ networks []Network }

func (v dots) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		c.StrokeLine2(draw.LineStyle{Color: faint, Width: 0.5}, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
	}
	for _, n := range v.networks {
		if math.IsNaN(n.Params) || n.Params <= 0 || math.IsNaN(n.SourceAccuracy) {
			continue
		}
		at := vg.Point{X: x(n.Params * 1e6), Y: y(n.SourceAccuracy)}
		tone, size := grey, vg.Length(2)
		if n.Front {
			tone, size = blue, 3
		}
		c.DrawGlyph(draw.GlyphStyle{Color: tone, Radius: size, Shape: draw.CircleGlyph{}}, at)
		label := style(7, tone)
		label.XAlign, label.YAlign = draw.XLeft, draw.YCenter
		c.FillText(label, vg.Point{X: at.X + 5, Y: at.Y}, n.Name)
	}
}

// sizes marks round numbers of parameters.
type sizes struct{}

func (sizes) Ticks(lo, hi float64) []plot.Tick {
	var ticks []plot.Tick
	for v := 100.0; v <= hi; v *= 10 {
		for _, m := range []float64{1, 3} {
			if n := v * m; n >= lo && n <= hi {
				ticks = append(ticks, plot.Tick{Value: n, Label: short(n)})
			}
		}
	}
	return ticks
}

func short(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%g M", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%g k", n/1e3)
	}
	return fmt.Sprint(n)
}

// shares marks accuracies.
type shares struct{}

func (shares) Ticks(lo, hi float64) []plot.Tick {
	step := 0.2
	for (hi-lo)/step < 3 {
		step /= 2
	}
	var ticks []plot.Tick
	for k := math.Ceil(lo / step); k*step <= hi*(1+1e-9); k++ {
		ticks = append(ticks, plot.Tick{Value: k * step, Label: fmt.Sprintf("%g %%", math.Round(k*step*1e4)/100)})
	}
	return ticks
}

// Markdown writes the report as text with a table and links to the figures.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", r.Name)
	for _, line := range r.Summary() {
		fmt.Fprintf(&b, "%s\n", line)
	}
	for _, f := range r.Figures() {
		fmt.Fprintf(&b, "\n![%s](%s.svg)\n", f.Title, f.Name)
	}
	b.WriteString("\nBest validation accuracy, in per cent:\n\n| network | parameters | source accuracy | mean rank | wins |")
	for _, d := range r.Datasets {
		fmt.Fprintf(&b, " %s |", strings.ReplaceAll(d, "|", `\|`))
	}
	b.WriteString("\n|---|---:|---:|---:|---:|" + strings.Repeat("---:|", len(r.Datasets)) + "\n")
	for _, n := range r.Networks {
		params, accuracy := "", ""
		if !math.IsNaN(n.Params) {
			params = fmt.Sprintf("%.0f", n.Params*1e6)
		}
		if !math.IsNaN(n.SourceAccuracy) {
			accuracy = fmt.Sprintf("%.1f", 100*n.SourceAccuracy)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %.1f | %s |", strings.ReplaceAll(n.Name, "|", `\|`), params, accuracy, n.MeanRank, number(n.Wins))
		for _, v := range n.Best {
			if math.IsNaN(v) {
				b.WriteString(" |")
			} else {
				fmt.Fprintf(&b, " %.1f |", 100*v)
			}
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
