package baselines

import (
	"errors"
	"math"
	"slices"

	"quicktune/search"
	"quicktune/space"
)

// axis is one hyperparameter as density estimators and differential evolution
// see it: a category, or a number between bounds.
type axis struct {
	param   int // in the space
	choices int // of a category, 0 for a number
	// Of a number. A step above 0 means that only every step-th number from
	// the lower bound on is possible.
	lower, upper, step float64
	log                bool
}

// inactive is the coordinate of a hyperparameter that does not apply.
var inactive = math.NaN()

// axesOf lists the hyperparameters that can vary, in the order of the space. An
// ordinal counts as the whole number of its position.
func axesOf(s *space.Space) []axis {
	var axes []axis
	for i := range s.Len() {
		h := s.Param(i)
		switch {
		case h.Type == space.Real:
			axes = append(axes, axis{param: i, lower: h.Lower, upper: h.Upper, log: h.Log})
		case h.Type == space.Integer:
			axes = append(axes, axis{param: i, lower: h.Lower, upper: h.Upper, step: 1, log: h.Log})
		case len(h.Choices) < 2:
		case h.Type == space.Categorical:
			axes = append(axes, axis{param: i, choices: len(h.Choices)})
		case h.Type == space.Ordinal:
			axes = append(axes, axis{param: i, upper: float64(len(h.Choices) - 1), step: 1})
		}
	}
	return axes
}

// low and high are the bounds on the scale on which densities are made: half a
// step beyond those of the numbers, and their logarithms for a logarithmic axis.
func (a axis) low() float64  { return a.scaled(a.lower - a.step/2) }
func (a axis) high() float64 { return a.scaled(a.upper + a.step/2) }

func (a axis) scaled(x float64) float64 {
	if a.log {
		return math.Log(x)
	}
	return x
}

// unit maps a number to [0, 1] such that all are equally likely under the
// prior; it leaves categories as they are.
func (a axis) unit(x float64) float64 {
	if a.choices > 0 {
		return x
	}
	return (a.scaled(x) - a.low()) / (a.high() - a.low())
}

// points are candidates by their coordinates.
type points struct {
	axes []axis
	// rows[c][k] is candidate c on axis k: the position of its category, its
	// number, or inactive.
	rows [][]float64
	// levels[k] are the different coordinates on axis k, ascending and without
	// inactive, and at[c][k] where candidate c is among them, -1 if inactive.
	// scaled[k] are the same on the scale of the axis.
	levels, scaled [][]float64
	at             [][]int32
}

var errNoAxes = errors.New("the method needs to know the search space of the candidates, and this pool has none")

// pointsOf places the candidates of a problem on the axes of its space.
func pointsOf(p search.Problem) (*points, error) {
	if p.Space == nil {
		return nil, errNoAxes
	}
	x := &points{axes: axesOf(p.Space)}
	for _, c := range p.Candidates {
		row := make([]float64, len(x.axes))
		for k, a := range x.axes {
			row[k] = a.coordinate(p.Space, c)
		}
		x.rows = append(x.rows, row)
	}
	x.levels = make([][]float64, len(x.axes))
	x.scaled = make([][]float64, len(x.axes))
	for k := range x.axes {
		for _, row := range x.rows {
			if !math.IsNaN(row[k]) {
				x.levels[k] = append(x.levels[k], row[k])
			}
		}
		slices.Sort(x.levels[k])
		x.levels[k] = slices.Compact(x.levels[k])
		for _, v := range x.levels[k] {
			x.scaled[k] = append(x.scaled[k], x.axes[k].scaled(v))
		}
	}
	for _, row := range x.rows {
		at := make([]int32, len(row))
		for k, v := range row {
			at[k] = -1
			if !math.IsNaN(v) {
				i, _ := slices.BinarySearch(x.levels[k], v)
				at[k] = int32(i)
			}
		}
		x.at = append(x.at, at)
	}
	return x, nil
}

func (a axis) coordinate(s *space.Space, c space.Config) float64 {
	v := c[a.param]
	if v.IsInactive() {
		return inactive
	}
	h := s.Param(a.param)
	if h.Type == space.Real || h.Type == space.Integer {
		return v.Num()
	}
	return float64(slices.Index(h.Choices, v))
}

// unitRows returns the candidates with all numbers mapped by axis.unit.
func (x *points) unitRows() [][]float64 {
	rows := make([][]float64, len(x.rows))
	for c, row := range x.rows {
		rows[c] = make([]float64, len(row))
		for k, v := range row {
			rows[c][k] = x.axes[k].unit(v)
		}
	}
	return rows
}

// take removes a candidate from the pool.
func (p *pool) take(candidate int) {
	i := slices.Index(p.left, int32(candidate))
	n := len(p.left)
	p.left[i] = p.left[n-1]
	p.left = p.left[:n-1]
}
