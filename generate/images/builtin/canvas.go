package builtin

import (
	"math"
	"math/rand/v2"

	"quicktune/generate/trainer"
)

const side = trainer.Side

// Drawing uses no more of package math than roots, sines and rounding, which
// give the same bits on every processor of an architecture.

// rgb is a colour, each part in [0, 1].
type rgb [3]float64

// canvas is a picture that is being drawn. Coordinates run from -1 to 1, x to
// the right and y down.
type canvas struct {
	pix   [side * side]rgb
	cover [side * side]float64 // scratch
}

func newCanvas() *canvas { return &canvas{} }

func (c *canvas) clear() { c.pix = [side * side]rgb{} }

// unit is the width of a pixel in coordinates.
const unit = 2.0 / side

// at returns the coordinates of the centre of pixel k.
func at(k int) (x, y float64) {
	return (float64(k%side)+0.5)*unit - 1, (float64(k/side)+0.5)*unit - 1
}

// shade sets every pixel to what f gives for its coordinates.
func (c *canvas) shade(f func(x, y float64) rgb) {
	for k := range c.pix {
		x, y := at(k)
		c.pix[k] = f(x, y)
	}
}

// fill paints where the signed distance is below 0, with an edge one pixel wide.
func (c *canvas) fill(colour rgb, distance func(x, y float64) float64) {
	for k := range c.pix {
		x, y := at(k)
		c.blend(k, colour, clamp(0.5-distance(x, y)/unit))
	}
}

func (c *canvas) blend(k int, colour rgb, share float64) {
	if share <= 0 {
		return
	}
	for i := range colour {
		c.pix[k][i] += share * (colour[i] - c.pix[k][i])
	}
}

// noise adds a random number to every part of every pixel, grey noise that is
// alike in the three colours and colour noise that is not.
func (c *canvas) noise(r *rand.Rand, grey, colour float64) {
	for k := range c.pix {
		g := grey * bell(r)
		for i := range c.pix[k] {
			v := g
			if colour > 0 {
				v += colour * bell(r)
			}
			c.pix[k][i] += v
		}
	}
}

// blur averages every pixel with its eight neighbours, with weights 1, 2, 1
// across and down.
func (c *canvas) blur() {
	old := c.pix
	for y := range side {
		for x := range side {
			var sum rgb
			var weights float64
			for dy := -1; dy <= 1; dy++ {
				for dx := -1; dx <= 1; dx++ {
					xx, yy := x+dx, y+dy
					if xx < 0 || yy < 0 || xx >= side || yy >= side {
						continue
					}
					w := float64((2 - dx*dx) * (2 - dy*dy))
					weights += w
					for i := range sum {
						sum[i] += w * old[yy*side+xx][i]
					}
				}
			}
			for i := range sum {
				c.pix[y*side+x][i] = sum[i] / weights
			}
		}
	}
}

// light multiplies the picture with a plane, brighter at one side, by up to
// strength.
func (c *canvas) light(r *rand.Rand, strength float64) {
	a := turn(r)
	dx, dy := math.Cos(a)*strength*r.Float64(), math.Sin(a)*strength*r.Float64()
	for k := range c.pix {
		x, y := at(k)
		f := 1 + dx*x + dy*y
		for i := range c.pix[k] {
			c.pix[k][i] *= f
		}
	}
}

// store rounds the picture to bytes.
func (c *canvas) store(dst []uint8, grey bool) {
	for k, p := range c.pix {
		if grey {
			p[0] = (p[0] + p[1] + p[2]) / 3
			p[1], p[2] = p[0], p[0]
		}
		for i, v := range p {
			dst[3*k+i] = uint8(clamp(v)*255 + 0.5)
		}
	}
}

func clamp(v float64) float64 { return min(1, max(0, v)) }

// between draws uniformly from [lo, hi).
func between(r *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// turn draws an angle.
func turn(r *rand.Rand) float64 { return 2 * math.Pi * r.Float64() }

// bell draws from a bell curve of mean 0 and variance 1, the sum of four uniform
// numbers.
func bell(r *rand.Rand) float64 {
	return (r.Float64() + r.Float64() + r.Float64() + r.Float64() - 2) * 1.7320508075688772
}

// hue returns the colour at an angle of the colour circle, in turns, between
// the given darkest and brightest part.
func hue(angle, lo, hi float64) rgb {
	var c rgb
	for i := range c {
		c[i] = lo + (hi-lo)*(0.5+0.5*math.Cos(2*math.Pi*(angle-float64(i)/3)))
	}
	return c
}

// anyColour draws a colour.
func anyColour(r *rand.Rand) rgb { return rgb{r.Float64(), r.Float64(), r.Float64()} }

// contrasting draws two colours whose brightness differs by at least gap.
func contrasting(r *rand.Rand, gap float64) (a, b rgb) {
	for {
		a, b = anyColour(r), anyColour(r)
		if d := brightness(a) - brightness(b); d > gap || d < -gap {
			return a, b
		}
	}
}

func brightness(c rgb) float64 { return (c[0] + c[1] + c[2]) / 3 }

func mix(a, b rgb, share float64) rgb {
	for i := range a {
		a[i] += share * (b[i] - a[i])
	}
	return a
}

// placed returns a function of coordinates that are moved, turned and scaled.
type pose struct{ x, y, cos, sin, scale float64 }

func newPose(x, y, angle, scale float64) pose {
	return pose{x, y, math.Cos(angle), math.Sin(angle), scale}
}

// anyPose draws a pose that keeps a shape of radius scale inside the picture.
func anyPose(r *rand.Rand, lo, hi, tilt float64) pose {
	scale := between(r, lo, hi)
	room := max(0, 0.95-scale)
	return newPose(between(r, -room, room), between(r, -room, room), between(r, -tilt, tilt), scale)
}

// local returns the coordinates within the pose.
func (p pose) local(x, y float64) (float64, float64) {
	x, y = x-p.x, y-p.y
	return (p.cos*x + p.sin*y) / p.scale, (p.cos*y - p.sin*x) / p.scale
}

// point is a place on the canvas.
type point struct{ x, y float64 }

// segment is the distance of (x, y) from the line from a to b.
func segment(x, y float64, a, b point) float64 {
	dx, dy := b.x-a.x, b.y-a.y
	px, py := x-a.x, y-a.y
	t := 0.0
	if l := dx*dx + dy*dy; l > 0 {
		t = clamp((px*dx + py*dy) / l)
	}
	px, py = px-t*dx, py-t*dy
	return math.Sqrt(px*px + py*py)
}

// polyline is the distance of (x, y) from a chain of lines.
func polyline(x, y float64, line []point) float64 {
	best := math.Inf(1)
	for i := 1; i < len(line); i++ {
		best = min(best, segment(x, y, line[i-1], line[i]))
	}
	return best
}

// polygon is the signed distance of (x, y) from a closed chain, below 0 inside.
func polygon(x, y float64, corners []point) float64 {
	best, inside := math.Inf(1), false
	for i, a := range corners {
		b := corners[(i+1)%len(corners)]
		best = min(best, segment(x, y, a, b))
		if (a.y > y) != (b.y > y) && x < a.x+(y-a.y)/(b.y-a.y)*(b.x-a.x) {
			inside = !inside
		}
	}
	if inside {
		return -best
	}
	return best
}

// bezier returns a cubic curve as a chain of n lines.
func bezier(p [4]point, n int) []point {
	line := make([]point, n+1)
	for i := range line {
		t := float64(i) / float64(n)
		s := 1 - t
		a, b, c, d := s*s*s, 3*s*s*t, 3*s*t*t, t*t*t
		line[i] = point{
			a*p[0].x + b*p[1].x + c*p[2].x + d*p[3].x,
			a*p[0].y + b*p[1].y + c*p[2].y + d*p[3].y,
		}
	}
	return line
}

// lattice is smooth noise: random numbers in [-1, 1] on a grid, with smooth
// interpolation between them.
type lattice struct {
	n int
	v []float64
}

func newLattice(r *rand.Rand, n int) lattice {
	l := lattice{n, make([]float64, n*n)}
	for i := range l.v {
		l.v[i] = between(r, -1, 1)
	}
	return l
}

// value returns the noise at coordinates that repeat after n.
func (l lattice) value(x, y float64) float64 {
	fx, fy := math.Floor(x), math.Floor(y)
	tx, ty := x-fx, y-fy
	tx, ty = tx*tx*(3-2*tx), ty*ty*(3-2*ty)
	get := func(i, j int) float64 {
		i, j = ((i%l.n)+l.n)%l.n, ((j%l.n)+l.n)%l.n
		return l.v[j*l.n+i]
	}
	i, j := int(fx), int(fy)
	top := get(i, j) + tx*(get(i+1, j)-get(i, j))
	bottom := get(i, j+1) + tx*(get(i+1, j+1)-get(i, j+1))
	return top + ty*(bottom-top)
}
