package builtin

import (
	"math"
	"math/rand/v2"

	"quicktune/internal/stream"
)

// classStream is the stream from which a class draws what its pictures have in
// common.
func classStream(family string, group uint64, class int) *rand.Rand {
	return stream.New("images/builtin/"+family, group, uint64(class))
}

// gratings tells stripes by direction and width: eight directions, two widths.
func gratings(c *canvas, class int, r *rand.Rand) {
	a := math.Pi*float64(class/2)/8 + between(r, -0.09, 0.09)
	cycles := []float64{2.6, 4.4}[class%2] * between(r, 0.85, 1.15)
	dx, dy, phase := math.Cos(a)*cycles*math.Pi, math.Sin(a)*cycles*math.Pi, turn(r)
	strength := between(r, 0.08, 0.3)
	bend := newLattice(r, 4)
	c.shade(func(x, y float64) rgb {
		v := 0.5 + strength*math.Sin(dx*x+dy*y+phase+0.8*bend.value(x, y))
		return rgb{v, v, v}
	})
	c.light(r, 0.4)
	c.noise(r, between(r, 0.1, 0.25), 0)
}

// textures tells materials: stretched and folded noise of two scales in the
// colours of the class.
func textures(group uint64) drawer {
	return func(c *canvas, class int, r *rand.Rand) {
		own := classStream("textures", group, class)
		angle, stretch := turn(own), between(own, 1, 3.5)
		coarse, fine := between(own, 1.5, 4), between(own, 4, 8)
		share, warp := between(own, 0.1, 0.6), between(own, 0, 1.2)
		fold := own.IntN(3)
		low, high := anyColour(own), anyColour(own)

		p := newPose(0, 0, angle+between(r, -0.5, 0.5), between(r, 0.75, 1.3))
		one, two, bend := newLattice(r, 16), newLattice(r, 16), newLattice(r, 16)
		tint := anyColour(r)
		low, high = mix(low, tint, 0.5*r.Float64()), mix(high, tint, 0.5*r.Float64())
		c.shade(func(x, y float64) rgb {
			x, y = p.local(x, y)
			x, y = x+0.3*warp*bend.value(2*x+5, 2*y), y+0.3*warp*bend.value(2*x, 2*y+5)
			v := (1-share)*one.value(coarse*x*stretch, coarse*y) + share*two.value(fine*x*stretch, fine*y)
			switch fold {
			case 0:
				v = 0.5 + 0.8*v
			case 1: // ridges
				v = 1 - 1.8*math.Abs(v)
			case 2: // bands
				v = 0.5 + 0.5*math.Sin(7*v)
			}
			return mix(low, high, clamp(v))
		})
		c.light(r, 0.5)
		c.noise(r, between(r, 0, 0.07), 0.03)
	}
}

// automataRules are elementary cellular automata (Wolfram, "Statistical
// Mechanics of Cellular Automata", 1983) whose patterns do not die out.
var automataRules = []uint8{18, 22, 30, 45, 54, 60, 73, 90, 105, 106, 110, 150}

// automata tells which rule made the rows of a picture, from above to below.
func automata(c *canvas, class int, r *rand.Rand) {
	rule := automataRules[class]
	const width, late = 3 * side, 40
	var now, next [width]uint8
	density := between(r, 0.2, 0.8)
	for i := range now {
		if r.Float64() < density {
			now[i] = 1
		}
	}
	ink, ground := contrasting(r, 0.3)
	flips := between(r, 0.02, 0.12)
	start := r.IntN(late)
	for row := range start + side {
		if row >= start {
			for x := range side {
				on := now[side+x] == 1
				if r.Float64() < flips {
					on = !on
				}
				k := (row-start)*side + x
				c.pix[k] = ground
				if on {
					c.pix[k] = ink
				}
			}
		}
		for i := range now {
			around := now[(i+width-1)%width]<<2 | now[i]<<1 | now[(i+1)%width]
			next[i] = rule >> around & 1
		}
		now = next
	}
	c.noise(r, 0.15, 0.05)
}

// symmetry tells how a pattern repeats: not at all, mirrored left to right or
// above to below, turned by half, or mirrored at both diagonals.
func symmetry(c *canvas, class int, r *rand.Rand) {
	l := newLattice(r, 16)
	ox, oy := 16*r.Float64(), 16*r.Float64()
	scale := between(r, 2.5, 4.5)
	low, high := contrasting(r, 0.2)
	base := func(x, y float64) float64 { return l.value(scale*x+ox, scale*y+oy) }
	mx, my := between(r, -0.2, 0.2), between(r, -0.2, 0.2)
	c.shade(func(x, y float64) rgb {
		x, y = x-mx, y-my
		v := 1.41 * base(x, y)
		switch class {
		case 1:
			v = base(x, y) + base(-x, y)
		case 2:
			v = base(x, y) + base(x, -y)
		case 3:
			v = base(x, y) + base(-x, -y)
		case 4:
			v = 0.7 * (base(x, y) + base(y, x) + base(-y, -x) + base(-x, -y))
		}
		return mix(low, high, clamp(0.5+1.2*v))
	})
	c.noise(r, between(r, 0, 0.1), 0.03)
}

// palettes tells which three hues a mosaic is made of.
func palettes(c *canvas, class int, r *rand.Rand) {
	own := classStream("palettes", 0, class)
	var hues, shares [3]float64
	for i := range hues {
		hues[i], shares[i] = own.Float64(), between(own, 0.15, 1)
	}
	type cell struct {
		point
		colour rgb
	}
	cells := make([]cell, 10+r.IntN(20))
	for i := range cells {
		pick := r.Float64() * (shares[0] + shares[1] + shares[2])
		k := 0
		for k < 2 && pick > shares[k] {
			pick -= shares[k]
			k++
		}
		lo := between(r, 0, 0.4)
		cells[i] = cell{point{between(r, -1, 1), between(r, -1, 1)}, mix(hue(hues[k]+0.06*bell(r), lo, between(r, 0.5, 1)), anyColour(r), 0.45*r.Float64())}
	}
	c.shade(func(x, y float64) rgb {
		best, at := math.Inf(1), 0
		for i, o := range cells {
			dx, dy := x-o.x, y-o.y
			if d := dx*dx + dy*dy; d < best {
				best, at = d, i
			}
		}
		return cells[at].colour
	})
	c.light(r, 0.6)
	c.noise(r, between(r, 0, 0.1), 0.08)
}

// fractals tells which system of contracting maps a cloud of points comes from
// (Kataoka et al., "Pre-training without Natural Images", ACCV 2020).
func fractals(group uint64) drawer {
	type affine struct{ a, b, c, d, e, f float64 }
	return func(c *canvas, class int, r *rand.Rand) {
		own := classStream("fractals", group, class)
		maps := make([]affine, 3+own.IntN(2))
		for i := range maps {
			a, s, t := turn(own), between(own, 0.35, 0.7), between(own, 0.35, 0.7)
			maps[i] = affine{s * math.Cos(a), -t * math.Sin(a), s * math.Sin(a), t * math.Cos(a), between(own, -1, 1), between(own, -1, 1)}
		}
		for i := range maps {
			m := &maps[i]
			for _, v := range []*float64{&m.a, &m.b, &m.c, &m.d} {
				*v *= 1 + 0.05*bell(r)
			}
			m.e += 0.08 * bell(r)
			m.f += 0.08 * bell(r)
		}
		const n, settle = 3000, 20
		cloud := make([]point, 0, n)
		var x, y float64
		for i := range n + settle {
			m := maps[r.IntN(len(maps))]
			x, y = m.a*x+m.b*y+m.e, m.c*x+m.d*y+m.f
			if i >= settle {
				cloud = append(cloud, point{x, y})
			}
		}
		lo, hi := cloud[0], cloud[0]
		for _, p := range cloud {
			lo, hi = point{min(lo.x, p.x), min(lo.y, p.y)}, point{max(hi.x, p.x), max(hi.y, p.y)}
		}
		size := max(hi.x-lo.x, hi.y-lo.y, 1e-6) / 2
		p := newPose(0, 0, between(r, -0.4, 0.4), between(r, 0.7, 1))
		c.cover = [side * side]float64{}
		for _, q := range cloud {
			qx, qy := (q.x-(lo.x+hi.x)/2)/size*0.9, (q.y-(lo.y+hi.y)/2)/size*0.9
			px, py := (p.cos*qx-p.sin*qy)*p.scale, (p.sin*qx+p.cos*qy)*p.scale
			i, j := int(math.Floor((px+1)/unit)), int(math.Floor((py+1)/unit))
			if i >= 0 && j >= 0 && i < side && j < side {
				c.cover[j*side+i]++
			}
		}
		ink, ground := contrasting(r, 0.25)
		for k, v := range c.cover {
			c.pix[k] = mix(ground, ink, min(1, math.Sqrt(v/6)))
		}
		c.noise(r, between(r, 0, 0.1), 0.03)
	}
}

// cells tells kinds of cells under a microscope, by the number, the size and the
// grain of their nuclei and the tone of the stain.
func cells(c *canvas, class int, r *rand.Rand) {
	own := classStream("cells", 0, class)
	stain, count := hue(between(own, 0.55, 1.05), 0.2, 0.7), 1+own.IntN(3)
	size, grain := between(own, 0.18, 0.34), between(own, 0, 0.4)
	body := mix(rgb{0.9, 0.85, 0.88}, stain, between(own, 0.2, 0.5))

	stain = mix(stain, anyColour(r), 0.3*r.Float64())
	c.paper(r, mix(rgb{0.93, 0.9, 0.9}, anyColour(r), 0.1), 0.04)
	p := anyPose(r, 0.55, 0.85, math.Pi)
	edge, speck := newLattice(r, 8), newLattice(r, 16)
	wobble := func(x, y float64) float64 { return 0.12 * edge.value(2*x, 2*y) }
	for range r.IntN(4) {
		a, q := turn(r), between(r, 0.2, 0.4)
		c.put(rgb{0.85, 0.6, 0.62}, disc, newPose(math.Cos(a), math.Sin(a), 0, q))
	}
	c.put(body, func(x, y float64) float64 { return disc(x, y*1.15) + wobble(x, y) }, p)
	for i := range count {
		a := turn(r)/6 + 2*math.Pi*float64(i)/float64(count)
		away := 0.0
		if count > 1 {
			away = size * 0.85
		}
		nucleus := newPose(p.x+p.scale*away*math.Cos(a), p.y+p.scale*away*math.Sin(a), turn(r), p.scale*size*between(r, 0.85, 1.15)*1.4)
		c.put(stain, func(x, y float64) float64 { return disc(x, y*flatter(i)) + 1.5*wobble(x, y) }, nucleus)
	}
	for k := range c.pix {
		x, y := at(k)
		v := grain * 0.35 * speck.value(6*x+3, 6*y+3)
		for i := range c.pix[k] {
			c.pix[k][i] += v * (1 - brightness(c.pix[k]))
		}
	}
	c.blur()
	c.light(r, 0.25)
	c.noise(r, between(r, 0, 0.06), 0.03)
}

// flatter is how much flatter than a disc nucleus i is.
func flatter(i int) float64 { return 1 + 0.3*float64(i%2) }
