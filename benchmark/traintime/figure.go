package traintime

import (
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The colours of Okabe and Ito (Color Universal Design, 2008).
var (
	blue       = color.NRGBA{0x00, 0x72, 0xb2, 0xff}
	vermillion = color.NRGBA{0xd5, 0x5e, 0x00, 0xff}
	grey       = color.NRGBA{0x99, 0x99, 0x99, 0xff}
)

// writeScatter draws predicted against measured steps under the published
// criterion, a panel for each loss, as SVG.
func writeScatter(w io.Writer, rows []Row) error {
	const width, height = 17 * vg.Centimeter, 8.5 * vg.Centimeter
	canvas := vgsvg.New(width, height)
	tiles := draw.Tiles{Cols: len(losses), Rows: 1, PadX: 10, PadTop: 4, PadBottom: 4, PadLeft: 4, PadRight: 4}
	var line []*plot.Plot
	for _, loss := range losses {
		p := plot.New()
		p.Title.Text = loss.String() + ", " + criteria[0].name
		p.X.Label.Text, p.Y.Label.Text = "measured steps", "predicted steps"
		p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
		p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: 3}, plot.LogTicks{Prec: 3}
		p.X.Min, p.Y.Min = every, every
		p.X.Max, p.Y.Max = horizon, horizon
		diagonal, err := plotter.NewLine(plotter.XYs{{X: every, Y: every}, {X: horizon, Y: horizon}})
		if err != nil {
			return err
		}
		diagonal.Color = grey
		p.Add(diagonal)
		for _, part := range []struct {
			name  string
			color color.Color
			in    func(*Row) bool
		}{
			{"all images a step", blue, func(r *Row) bool { return !r.Unstable && r.Batch == 0 }},
			{"mini-batches", vermillion, func(r *Row) bool { return !r.Unstable && r.Batch > 0 }},
			{"outside stability", grey, func(r *Row) bool { return r.Unstable }},
		} {
			var points plotter.XYs
			for i := range rows {
				r := &rows[i]
				if r.Loss == loss.String() && r.Criterion == criteria[0].name && r.Measured != nil && r.Full != nil && part.in(r) {
					points = append(points, plotter.XY{X: math.Max(*r.Measured, every), Y: math.Max(*r.Full, every)})
				}
			}
			if len(points) == 0 {
				continue
			}
			s, err := plotter.NewScatter(points)
			if err != nil {
				return err
			}
			s.GlyphStyle = draw.GlyphStyle{Color: part.color, Radius: 1.6, Shape: draw.CircleGlyph{}}
			p.Add(s)
			p.Legend.Add(part.name, s)
		}
		p.Legend.Left, p.Legend.Top = true, true
		line = append(line, p)
	}
	for i, c := range plot.Align([][]*plot.Plot{line}, tiles, draw.New(canvas))[0] {
		line[i].Draw(c)
	}
	_, err := canvas.WriteTo(w)
	return err
}
