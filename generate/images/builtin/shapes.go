package builtin

import (
	"math"
	"math/rand/v2"
)

// figure is the signed distance of a shape of radius about 1.
type figure func(x, y float64) float64

func disc(x, y float64) float64 { return math.Sqrt(x*x+y*y) - 1 }

// ring is the outline of another figure, of half the given width.
func ring(f figure, width float64) figure {
	return func(x, y float64) float64 { return math.Abs(f(x, y)+width) - width }
}

// corners turns a chain of corners into a figure.
func corners(list ...point) figure {
	return func(x, y float64) float64 { return polygon(x, y, list) }
}

// star is a star or, with inner 0, a regular polygon.
func star(tips int, inner float64) figure {
	var list []point
	n := tips
	if inner > 0 {
		n *= 2
	}
	for i := range n {
		radius := 1.0
		if inner > 0 && i%2 == 1 {
			radius = inner
		}
		a := 2*math.Pi*float64(i)/float64(n) - math.Pi/2
		list = append(list, point{radius * math.Cos(a), radius * math.Sin(a)})
	}
	return corners(list...)
}

func crescent(x, y float64) float64 { return max(disc(x, y), 0.8-math.Sqrt((x-0.5)*(x-0.5)+y*y)) }
func halfDisc(x, y float64) float64 { return max(disc(x, y), -y) }

func heart(x, y float64) float64 {
	x = math.Abs(x)
	lobe := math.Sqrt((x-0.45)*(x-0.45)+(y+0.3)*(y+0.3)) - 0.52
	return min(lobe, polygon(x, y, []point{{0, 0.95}, {0.87, 0.02}, {0.45, -0.3}, {0, -0.15}}))
}

// The figures of the target and of the source; none is in both.
var (
	targetFigures = []figure{
		disc, star(4, 0), star(3, 0), star(5, 0), star(5, 0.4), ring(disc, 0.16), crescent, halfDisc, heart,
		corners(point{-.3, -1}, point{.3, -1}, point{.3, -.3}, point{1, -.3}, point{1, .3}, point{.3, .3}, point{.3, 1}, point{-.3, 1}, point{-.3, .3}, point{-1, .3}, point{-1, -.3}, point{-.3, -.3}),
		corners(point{0, -1}, point{.8, -.1}, point{.3, -.1}, point{.3, 1}, point{-.3, 1}, point{-.3, -.1}, point{-.8, -.1}),
		ring(star(4, 0), 0.14),
	}
	sourceFigures = []figure{
		star(6, 0), star(8, 0), star(4, 0.35), star(6, 0.5), star(8, 0.6),
		corners(point{-1, -.4}, point{1, -.4}, point{1, .4}, point{-1, .4}),
		corners(point{-1, .6}, point{-.5, -.6}, point{.5, -.6}, point{1, .6}),
		corners(point{0, -1}, point{.6, -.2}, point{0, 1}, point{-.6, -.2}),
		corners(point{-.8, -1}, point{-.2, -1}, point{-.2, .4}, point{.8, .4}, point{.8, 1}, point{-.8, 1}),
		corners(point{-.9, -.9}, point{.9, -.9}, point{.9, -.4}, point{.25, -.4}, point{.25, 1}, point{-.25, 1}, point{-.25, -.4}, point{-.9, -.4}),
		corners(point{-.9, -.9}, point{-.4, -.9}, point{-.4, .4}, point{.4, .4}, point{.4, -.9}, point{.9, -.9}, point{.9, .9}, point{-.9, .9}),
		corners(point{-.2, -1}, point{.6, -1}, point{.15, -.2}, point{.65, -.2}, point{-.4, 1}, point{-.05, .1}, point{-.6, .1}),
		func(x, y float64) float64 { return (math.Sqrt(x*x+4*y*y) - 1) * 0.6 },
		ring(star(3, 0), 0.12),
		func(x, y float64) float64 {
			return min(max(disc(x, y-0.2)+0.35, -2), polygon(x, y, []point{{0, -1}, {.58, 0}, {-.58, 0}}))
		},
		corners(point{-1, -.6}, point{.2, -.6}, point{.2, -1}, point{1, 0}, point{.2, 1}, point{.2, .6}, point{-1, .6}, point{-.5, 0}),
	}
)

// put paints a figure.
func (c *canvas) put(colour rgb, f figure, p pose) {
	c.fill(colour, func(x, y float64) float64 {
		x, y = p.local(x, y)
		return f(x, y) * p.scale
	})
}

// shapes tells which figure lies before others that are cut off by the edge.
func shapes(list []figure) drawer {
	return func(c *canvas, class int, r *rand.Rand) {
		ink, ground := contrasting(r, 0.15)
		c.paper(r, ground, 0.15)
		for range r.IntN(4) {
			a := turn(r)
			c.put(anyColour(r), list[r.IntN(len(list))], newPose(1.05*math.Cos(a), 1.05*math.Sin(a), turn(r), between(r, 0.15, 0.35)))
		}
		c.put(ink, list[class], anyPose(r, 0.35, 0.75, math.Pi))
		c.light(r, 0.5)
		c.noise(r, between(r, 0, 0.15), 0.04)
	}
}

// counting tells how many things there are, one more than the class.
func counting(c *canvas, class int, r *rand.Rand) {
	ground := anyColour(r)
	c.paper(r, ground, 0.1)
	things := make([]pose, 0, class+1)
	size := between(r, 0.12, 0.2)
	for tries := 0; len(things) <= class; tries++ {
		if tries%200 == 199 {
			things, size = things[:0], size*0.9
		}
		scale := size * between(r, 0.8, 1.2)
		p := newPose(between(r, -0.95+scale, 0.95-scale), between(r, -0.95+scale, 0.95-scale), turn(r), scale)
		free := true
		for _, o := range things {
			dx, dy, gap := p.x-o.x, p.y-o.y, p.scale+o.scale+unit
			free = free && dx*dx+dy*dy > gap*gap
		}
		if free {
			things = append(things, p)
		}
	}
	figures := []figure{disc, star(4, 0), star(3, 0)}
	for _, p := range things {
		ink := anyColour(r)
		for d := brightness(ink) - brightness(ground); d < 0.15 && d > -0.15; d = brightness(ink) - brightness(ground) {
			ink = anyColour(r)
		}
		c.put(ink, figures[r.IntN(len(figures))], p)
	}
	c.noise(r, between(r, 0, 0.08), 0.02)
}

// relations tells where a disc lies as seen from a square: left, right, above,
// below or inside.
func relations(c *canvas, class int, r *rand.Rand) {
	first, ground := contrasting(r, 0.2)
	second, _ := contrasting(r, 0)
	c.paper(r, ground, 0.1)
	square := star(4, 0)
	if class == 4 {
		p := anyPose(r, 0.5, 0.8, 0)
		p.cos, p.sin = math.Cos(math.Pi/4), math.Sin(math.Pi/4)
		c.put(first, square, p)
		room := p.scale * 0.25
		c.put(contrast(second, first), disc, newPose(p.x+between(r, -room, room), p.y+between(r, -room, room), 0, p.scale*between(r, 0.25, 0.4)))
	} else {
		gap, drift := between(r, 0.42, 0.6), between(r, -0.4, 0.4)
		dx, dy := -gap, drift
		if class >= 2 {
			dx, dy = drift, -gap
		}
		if class%2 == 1 {
			dx, dy = -dx, -dy
		}
		mx, my := between(r, -0.15, 0.15), between(r, -0.15, 0.15)
		c.put(first, square, newPose(mx-dx, my-dy, math.Pi/4, between(r, 0.2, 0.36)))
		c.put(contrast(second, ground), disc, newPose(mx+dx, my+dy, 0, between(r, 0.14, 0.28)))
	}
	c.noise(r, between(r, 0, 0.12), 0.03)
}

// contrast returns c, inverted if it is too like the other colour.
func contrast(c, other rgb) rgb {
	if d := brightness(c) - brightness(other); d > -0.2 && d < 0.2 {
		if brightness(other) > 0.5 {
			return mix(c, rgb{}, 0.7)
		}
		return mix(c, rgb{1, 1, 1}, 0.7)
	}
	return c
}

// loops tells a closed curve from one with a gap.
func loops(c *canvas, class int, r *rand.Rand) {
	ink, ground := contrasting(r, 0.25)
	c.paper(r, ground, 0.08)
	const n = 48
	var amplitude, phase [4]float64
	for i := range amplitude {
		amplitude[i], phase[i] = between(r, 0, 0.2/float64(i+1)), turn(r)
	}
	start, size := turn(r), between(r, 0.5, 0.68)
	mx, my := between(r, -0.12, 0.12), between(r, -0.12, 0.12)
	count := n + 1
	if class == 1 {
		count = n + 1 - 5 - r.IntN(5)
	}
	line := make([]point, count)
	for i := range line {
		a := start + 2*math.Pi*float64(i)/n
		radius := size
		for k := range amplitude {
			radius += size * amplitude[k] * math.Cos(float64(k+1)*(a-start)+phase[k])
		}
		line[i] = point{mx + radius*math.Cos(a), my + radius*math.Sin(a)}
	}
	width := between(r, 0.04, 0.08)
	c.fill(ink, func(x, y float64) float64 { return polyline(x, y, line) - width })
	for range r.IntN(3) { // short lines that distract
		a := point{between(r, -1, 1), between(r, -1, 1)}
		b := point{a.x + between(r, -0.3, 0.3), a.y + between(r, -0.3, 0.3)}
		if d := math.Sqrt(a.x*a.x + a.y*a.y); d < 0.85 {
			continue
		}
		c.fill(ink, func(x, y float64) float64 { return segment(x, y, a, b) - width })
	}
	c.noise(r, between(r, 0, 0.1), 0)
}

// strokes tells which of some made-up signs is written. The signs are drawn
// from an alphabet's own stream: a few curves each.
func strokes(alphabet uint64) drawer {
	return func(c *canvas, class int, r *rand.Rand) {
		own := classStream("strokes", alphabet, class)
		curves := make([][4]point, 2+own.IntN(2))
		for i := range curves {
			for k := range curves[i] {
				curves[i][k] = point{between(own, -0.95, 0.95), between(own, -0.95, 0.95)}
			}
			if i > 0 && own.IntN(2) == 0 {
				curves[i][0] = curves[i-1][own.IntN(4)]
			}
		}
		ink, ground := between(r, 0, 0.3), between(r, 0.75, 1)
		c.paper(r, rgb{ground, ground, ground}, 0.05)
		p := anyPose(r, 0.6, 0.85, 0.3)
		width := between(r, 0.035, 0.075)
		for _, curve := range curves {
			for k := range curve {
				curve[k].x += 0.11 * bell(r)
				curve[k].y += 0.11 * bell(r)
			}
			line := bezier(curve, 10)
			c.fill(rgb{ink, ink, ink}, func(x, y float64) float64 {
				x, y = p.local(x, y)
				return polyline(x, y, line)*p.scale - width
			})
		}
		c.noise(r, 0.04, 0)
	}
}
