package builtin

import (
	"math"
	"math/rand/v2"
)

type vec [3]float64

func (a vec) dot(b vec) float64         { return a[0]*b[0] + a[1]*b[1] + a[2]*b[2] }
func (a vec) plus(b vec, t float64) vec { return vec{a[0] + t*b[0], a[1] + t*b[1], a[2] + t*b[2]} }
func (a vec) length() float64           { return math.Sqrt(a.dot(a)) }

func (a vec) unit() vec {
	l := a.length()
	return vec{a[0] / l, a[1] / l, a[2] / l}
}

// solidFigures are the distances of bodies of radius about 1.
var solidFigures = []func(p vec) float64{
	func(p vec) float64 { return p.length() - 0.85 }, // sphere
	func(p vec) float64 { // cube
		return max(math.Abs(p[0]), math.Abs(p[1]), math.Abs(p[2])) - 0.65
	},
	func(p vec) float64 { // cylinder
		return max(math.Sqrt(p[0]*p[0]+p[2]*p[2])-0.55, math.Abs(p[1])-0.75)
	},
	func(p vec) float64 { // cone
		return max(0.88*math.Sqrt(p[0]*p[0]+p[2]*p[2])+0.47*(p[1]-0.8), -p[1]-0.7)
	},
	func(p vec) float64 { // torus
		q := math.Sqrt(p[0]*p[0]+p[2]*p[2]) - 0.65
		return math.Sqrt(q*q+p[1]*p[1]) - 0.25
	},
	func(p vec) float64 { // octahedron
		return (math.Abs(p[0]) + math.Abs(p[1]) + math.Abs(p[2]) - 1) * 0.57
	},
	func(p vec) float64 { // plate
		return max(math.Abs(p[0])-0.85, math.Abs(p[1])-0.2, math.Abs(p[2])-0.6)
	},
	func(p vec) float64 { // prism of three sides
		return max(math.Abs(p[1])-0.7, 0.866*math.Abs(p[0])+0.5*p[2]-0.4, -p[2]-0.4)
	},
}

// solids tells lit bodies in any position. Rays are followed until they are near
// the body (Hart, "Sphere tracing", 1996).
func solids(c *canvas, class int, r *rand.Rand) {
	body := solidFigures[class]
	colour, ground := anyColour(r), anyColour(r)
	c.paper(r, ground, 0.12)
	// Two axes at right angles and the third turn the body.
	u := vec{bell(r), bell(r), bell(r) + 0.01}.unit()
	v := vec{bell(r), bell(r) + 0.01, bell(r)}
	v = v.plus(u, -u.dot(v)).unit()
	w := vec{u[1]*v[2] - u[2]*v[1], u[2]*v[0] - u[0]*v[2], u[0]*v[1] - u[1]*v[0]}
	turned := func(p vec) float64 { return body(vec{u.dot(p), v.dot(p), w.dot(p)}) }
	light := vec{bell(r), bell(r) - 1, -1.5}.unit()
	scale, mx, my := between(r, 0.6, 0.95), between(r, -0.2, 0.2), between(r, -0.2, 0.2)
	ambient := between(r, 0.15, 0.35)
	for k := range c.pix {
		x, y := at(k)
		p := vec{(x - mx) / scale, (y - my) / scale, -2}
		hit := false
		for range 24 {
			d := turned(p)
			if d < 0.02 {
				hit = true
				break
			}
			if p[2] += d; p[2] > 1.5 {
				break
			}
		}
		if !hit {
			continue
		}
		const e = 0.01
		here := turned(p)
		normal := vec{turned(vec{p[0] + e, p[1], p[2]}) - here, turned(vec{p[0], p[1] + e, p[2]}) - here, turned(vec{p[0], p[1], p[2] + e}) - here}
		shade := ambient
		if l := normal.length(); l > 0 {
			shade += (1 - ambient) * max(0, normal.dot(light)/l)
		}
		c.pix[k] = mix(rgb{}, colour, 0.25+0.75*shade)
		for i := range c.pix[k] {
			c.pix[k][i] += 0.25 * (shade - 0.5)
		}
	}
	c.noise(r, between(r, 0, 0.1), 0.04)
}
