package figure

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Point is a dot with a name.
type Point struct {
	X, Y  float64
	Label string
	Color color.NRGBA
	Large bool
}

// Scatter is a chart of dots.
type Scatter struct {
	Chart // its series lie below the dots
	// Points get their names in this order as long as there is room: one that
	// would overlap another name or dot at every place around its own is not
	// written.
	Points []Point
}

// Draw draws the chart into all of c.
func (s Scatter) Draw(c draw.Canvas) {
	box := c.Rectangle
	box.Min.X += edge
	box.Max.X -= edge
	box.Max.Y -= 3
	box.Min.Y += 3
	data := s.axes(c, box, true)
	x, y := s.place(data)
	inside := draw.Canvas{Canvas: c.Canvas, Rectangle: data}
	for _, line := range s.Series {
		s.line(inside, line, x, y)
	}
	var taken []vg.Rectangle
	along := func(a, b vg.Point) { // small squares on the way from a to b
		n := int(math.Hypot(float64(b.X-a.X), float64(b.Y-a.Y))/3) + 1
		for i := range n {
			share := vg.Length(i) / vg.Length(n)
			p := vg.Point{X: a.X + share*(b.X-a.X), Y: a.Y + share*(b.Y-a.Y)}
			taken = append(taken, vg.Rectangle{Min: vg.Point{X: p.X - 1, Y: p.Y - 1}, Max: vg.Point{X: p.X + 1, Y: p.Y + 1}})
		}
	}
	for _, line := range s.Series {
		for i := 1; i < len(line.X); i++ {
			from, to := vg.Point{X: x(line.X[i-1]), Y: y(line.Y[i-1])}, vg.Point{X: x(line.X[i]), Y: y(line.Y[i])}
			if line.Steps {
				corner := vg.Point{X: to.X, Y: from.Y}
				along(from, corner)
				from = corner
			}
			along(from, to)
		}
	}
	for _, p := range s.Points {
		at, r := vg.Point{X: x(p.X), Y: y(p.Y)}, p.radius()
		c.DrawGlyphNoClip(draw.GlyphStyle{Color: p.Color, Radius: r, Shape: draw.CircleGlyph{}}, at)
		taken = append(taken, vg.Rectangle{Min: vg.Point{X: at.X - r, Y: at.Y - r}, Max: vg.Point{X: at.X + r, Y: at.Y + r}})
	}
	for _, p := range s.Points {
		if spot, ok := freeSpot(p, vg.Point{X: x(p.X), Y: y(p.Y)}, taken, box, data); ok {
			taken = append(taken, spot)
			at := vg.Point{X: x(p.X), Y: y(p.Y)}
			near := nearest(at, spot)
			if math.Hypot(float64(near.X-at.X), float64(near.Y-at.Y)) > 8 {
				c.StrokeLine2(draw.LineStyle{Color: Grey, Width: 0.4}, at.X, at.Y, near.X, near.Y)
				along(at, near)
			}
			c.FillText(Text(pointSize, Ink, draw.XLeft, draw.YCenter), vg.Point{X: spot.Min.X, Y: (spot.Min.Y + spot.Max.Y) / 2}, p.Label)
		}
	}
}

const pointSize = vg.Length(7)

func (p Point) radius() vg.Length {
	if p.Large {
		return 3
	}
	return 2
}

// freeSpot finds a place for the name of p, which lies at at: first beside it,
// then on rings around it.
func freeSpot(p Point, at vg.Point, taken []vg.Rectangle, box, data vg.Rectangle) (vg.Rectangle, bool) {
	style := Text(pointSize, Ink, draw.XLeft, draw.YCenter)
	width, height := style.Width(p.Label)*wider, pointSize+2
	for ring := range 7 {
		distance := p.radius() + 3 + vg.Length(ring)*6
		for step := range 16 {
			angle := float64(step) / 16 * 2 * math.Pi
			middle := vg.Point{X: at.X + distance*vg.Length(math.Cos(angle)), Y: at.Y + distance*vg.Length(math.Sin(angle))}
			// The nearest part of the name, not its middle, keeps the distance.
			middle.X += width / 2 * vg.Length(math.Cos(angle))
			middle.Y += height / 2 * vg.Length(math.Sin(angle))
			spot := vg.Rectangle{Min: vg.Point{X: middle.X - width/2, Y: middle.Y - height/2}, Max: vg.Point{X: middle.X + width/2, Y: middle.Y + height/2}}
			if spot.Min.X < data.Min.X+1 || spot.Max.X > box.Max.X || spot.Min.Y < data.Min.Y+1 || spot.Max.Y > box.Max.Y {
				continue
			}
			if !slices.ContainsFunc(taken, func(t vg.Rectangle) bool { return overlap(spot, t) || crosses(at, spot, t) }) {
				return spot, true
			}
		}
	}
	return vg.Rectangle{}, false
}

func overlap(a, b vg.Rectangle) bool {
	return a.Min.X < b.Max.X && b.Min.X < a.Max.X && a.Min.Y < b.Max.Y && b.Min.Y < a.Max.Y
}

// nearest is the point of a name that its dot is joined to.
func nearest(at vg.Point, spot vg.Rectangle) vg.Point {
	return vg.Point{X: min(max(at.X, spot.Min.X), spot.Max.X), Y: min(max(at.Y, spot.Min.Y+1), spot.Max.Y-1)}
}

// crosses reports whether the line from a dot to its name passes through another
// name, which is what is wider than any dot.
func crosses(at vg.Point, spot, other vg.Rectangle) bool {
	if other.Max.X-other.Min.X < 10 {
		return false
	}
	to := nearest(at, spot)
	for i := range 20 {
		share := vg.Length(i) / 20
		x, y := at.X+share*(to.X-at.X), at.Y+share*(to.Y-at.Y)
		if x > other.Min.X && x < other.Max.X && y > other.Min.Y && y < other.Max.Y {
			return true
		}
	}
	return false
}
