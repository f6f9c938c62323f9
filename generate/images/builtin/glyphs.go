package builtin

import (
	"image"
	"image/draw"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gobolditalic"
	"golang.org/x/image/font/gofont/goitalic"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/gofont/gomediumitalic"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/gofont/gomonobolditalic"
	"golang.org/x/image/font/gofont/gomonoitalic"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/gofont/gosmallcaps"
	"golang.org/x/image/font/gofont/gosmallcapsitalic"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// The Go fonts, free under the licence of Go: Bigelow, Holmes, "Go fonts"
// (2016).
var fontFiles = [][]byte{
	goregular.TTF, gobold.TTF, goitalic.TTF, gobolditalic.TTF, gomedium.TTF, gomediumitalic.TTF,
	gomono.TTF, gomonobold.TTF, gomonoitalic.TTF, gomonobolditalic.TTF, gosmallcaps.TTF, gosmallcapsitalic.TTF,
}

// smallCaps are the fonts whose lower case looks like the upper case.
var smallCaps = []int{10, 11}

// outline is the shape of a letter, in a box from -1 to 1 in its longer
// direction.
type outline struct{ segments []sfnt.Segment }

type glyphKey struct {
	font   int
	letter rune
}

var (
	glyphMu sync.Mutex
	glyphs  = make(map[glyphKey]outline)
	fonts   = sync.OnceValue(func() []*sfnt.Font {
		list := make([]*sfnt.Font, len(fontFiles))
		for i, data := range fontFiles {
			f, err := sfnt.Parse(data)
			if err != nil {
				panic("a font of the Go project does not parse: " + err.Error())
			}
			list[i] = f
		}
		return list
	})
)

// glyphUnits is the resolution at which outlines are read.
const glyphUnits = 1024

// glyph returns the outline of a letter.
func glyph(font int, letter rune) outline {
	glyphMu.Lock()
	defer glyphMu.Unlock()
	key := glyphKey{font, letter}
	if o, ok := glyphs[key]; ok {
		return o
	}
	f := fonts()[font]
	var buf sfnt.Buffer
	index, err := f.GlyphIndex(&buf, letter)
	if err != nil || index == 0 {
		panic("a font of the Go project lacks the letter " + string(letter))
	}
	segments, err := f.LoadGlyph(&buf, index, fixed.I(glyphUnits), nil)
	if err != nil {
		panic("a font of the Go project lacks the outline of " + string(letter) + ": " + err.Error())
	}
	o := outline{slices.Clone(segments)}
	glyphs[key] = o
	return o
}

// bounds returns the box of the outline's points, in units of the font.
func (o outline) bounds() (x0, y0, x1, y1 float64) {
	x0, y0, x1, y1 = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, s := range o.segments {
		for i := range points(s.Op) {
			x, y := float64(s.Args[i].X), float64(s.Args[i].Y)
			x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
		}
	}
	return x0, y0, x1, y1
}

func points(op sfnt.SegmentOp) int {
	switch op {
	case sfnt.SegmentOpQuadTo:
		return 2
	case sfnt.SegmentOpCubeTo:
		return 3
	}
	return 1
}

// warp maps coordinates of a letter's box, from -1 to 1, to the canvas.
type warp struct{ xx, xy, yx, yy, x, y float64 }

// anyWarp draws a placement: size is the half height of the box on the canvas.
func anyWarp(r *rand.Rand, lo, hi, tilt, shear float64) warp {
	size := between(r, lo, hi)
	wide := size * between(r, 0.8, 1.1)
	a, s := between(r, -tilt, tilt), between(r, -shear, shear)
	cos, sin := math.Cos(a), math.Sin(a)
	room := max(0, 0.95-size)
	return warp{
		cos * wide, (s*cos - sin) * size,
		sin * wide, (s*sin + cos) * size,
		between(r, -room, room), between(r, -room, room),
	}
}

// letter paints an outline.
func (c *canvas) letter(colour rgb, o outline, w warp) {
	x0, y0, x1, y1 := o.bounds()
	scale := 2 / max(y1-y0, (x1-x0)*0.8, 1)
	place := func(p fixed.Point26_6) (float32, float32) {
		x := (float64(p.X) - (x0+x1)/2) * scale
		y := (float64(p.Y) - (y0+y1)/2) * scale
		return float32((w.xx*x + w.xy*y + w.x + 1) / unit), float32((w.yx*x + w.yy*y + w.y + 1) / unit)
	}
	z := vector.NewRasterizer(side, side)
	for _, s := range o.segments {
		ax, ay := place(s.Args[0])
		switch s.Op {
		case sfnt.SegmentOpMoveTo:
			z.ClosePath()
			z.MoveTo(ax, ay)
		case sfnt.SegmentOpLineTo:
			z.LineTo(ax, ay)
		case sfnt.SegmentOpQuadTo:
			bx, by := place(s.Args[1])
			z.QuadTo(ax, ay, bx, by)
		case sfnt.SegmentOpCubeTo:
			bx, by := place(s.Args[1])
			cx, cy := place(s.Args[2])
			z.CubeTo(ax, ay, bx, by, cx, cy)
		}
	}
	z.ClosePath()
	mask := image.NewAlpha(image.Rect(0, 0, side, side))
	z.DrawOp = draw.Src
	z.Draw(mask, mask.Bounds(), image.Opaque, image.Point{})
	for k := range c.pix {
		c.blend(k, colour, float64(mask.Pix[k])/255)
	}
}

// paper paints a background of uneven colour.
func (c *canvas) paper(r *rand.Rand, colour rgb, uneven float64) {
	l := newLattice(r, 8)
	ox, oy := 8*r.Float64(), 8*r.Float64()
	c.shade(func(x, y float64) rgb {
		v := uneven * l.value(2*x+ox, 2*y+oy)
		return rgb{colour[0] + v, colour[1] + v, colour[2] + v}
	})
}

// scratches paints up to most thin lines.
func (c *canvas) scratches(r *rand.Rand, most int) {
	for range r.IntN(most + 1) {
		a, b := point{between(r, -1, 1), between(r, -1, 1)}, point{between(r, -1, 1), between(r, -1, 1)}
		c.fill(anyColour(r), func(x, y float64) float64 { return segment(x, y, a, b) - 0.035 })
	}
}

// letters tells which of some letters a picture shows.
func letters(list []rune, tilt float64, clutter int) drawer {
	return func(c *canvas, class int, r *rand.Rand) {
		letter := list[class]
		font := r.IntN(len(fontFiles))
		for slices.Contains(smallCaps, font) {
			font = r.IntN(len(fontFiles))
		}
		ink, ground := contrasting(r, 0.2)
		c.paper(r, ground, 0.12)
		c.scratches(r, clutter)
		c.letter(ink, glyph(font, letter), anyWarp(r, 0.5, 0.9, tilt, 0.35))
		c.scratches(r, clutter)
		if r.IntN(3) == 0 {
			c.blur()
		}
		c.noise(r, between(r, 0, 0.12), 0.03)
	}
}

// typefaces tells which font some letters are set in.
func typefaces(list []rune) drawer {
	return func(c *canvas, class int, r *rand.Rand) {
		shade := between(r, 0, 0.35)
		ink, ground := rgb{shade, shade, shade}, between(r, 0.7, 1)
		c.paper(r, rgb{ground, ground, ground}, 0.05)
		for i := range 2 {
			w := anyWarp(r, 0.42, 0.5, 0.05, 0)
			w.x, w.y = float64(2*i-1)*0.48+between(r, -0.06, 0.06), between(r, -0.35, 0.35)
			c.letter(ink, glyph(class, list[r.IntN(len(list))]), w)
		}
		c.noise(r, 0.03, 0)
	}
}
