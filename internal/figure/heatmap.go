package figure

import (
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Cell is one cell of a heat map.
type Cell struct {
	Share float64 // in [0, 1], its shade; NaN leaves the cell empty
	Label string  // written where there is room
}

// HeatMap is a table of shades. Where its columns do not fit side by side, they
// are broken into blocks below each other; where their names would take too much
// of the width, each stands above its row.
type HeatMap struct {
	Rows, Columns []string
	Cells         [][]Cell // by row, then column
	// Beside heads a column of words at the right of every block, which Words
	// holds by row; "" for none.
	Beside string
	Words  []string
}

const (
	leastCell = vg.Length(12.5)
	mostCell  = vg.Length(34)
	cellHigh  = vg.Length(14)
	headSize  = vg.Length(8)
)

// heatLayout is how a heat map fits into a width.
type heatLayout struct {
	left, right, top vg.Length
	cell             vg.Length
	perBlock, blocks int
	above            vg.Length // room for a name above each row, 0 if it stands at the left
}

// row is the height of a row.
func (l heatLayout) row() vg.Length { return cellHigh + l.above }

func (h HeatMap) layout(width vg.Length) heatLayout {
	name, head := Text(headSize, Ink, draw.XRight, draw.YCenter), Text(headSize, Ink, draw.XLeft, draw.YCenter)
	var l heatLayout
	for _, r := range h.Rows {
		l.left = max(l.left, name.Width(r)*wider)
	}
	for _, c := range h.Columns {
		l.top = max(l.top, head.Width(c)*wider)
	}
	l.left += edge + 5
	if l.left > 0.4*width {
		l.left, l.above = edge, headSize+3
	}
	// Heads lean by 60 degrees, so the last one reaches beyond its column.
	l.right = l.top*0.5 + edge
	if h.Beside != "" {
		side := head.Width(h.Beside) * wider
		for _, w := range h.Words {
			side = max(side, head.Width(w)*wider)
		}
		l.right = max(l.right, side+8+edge)
	}
	l.top = l.top*0.87 + 10
	room := width - l.left - l.right
	n := max(1, len(h.Columns))
	l.perBlock = max(1, min(n, int(room/leastCell)))
	l.blocks = (n + l.perBlock - 1) / l.perBlock
	l.perBlock = (n + l.blocks - 1) / l.blocks
	l.cell = min(mostCell, room/vg.Length(l.perBlock))
	return l
}

// Height is that of the whole heat map at a width.
func (h HeatMap) Height(width vg.Length) vg.Length {
	l := h.layout(width)
	return vg.Length(l.blocks)*(l.top+l.row()*vg.Length(len(h.Rows))+8) + 2*edge
}

// Draw draws the heat map into all of c.
func (h HeatMap) Draw(c draw.Canvas) {
	l := h.layout(c.Max.X - c.Min.X)
	name := Text(headSize, Ink, draw.XRight, draw.YCenter)
	head := Text(headSize, Ink, draw.XLeft, draw.YCenter)
	head.Rotation = math.Pi / 3
	beside := Text(headSize, Ink, draw.XLeft, draw.YCenter)
	above := Text(headSize, Ink, draw.XLeft, draw.YBottom)
	for b := range l.blocks {
		top := c.Max.Y - edge - vg.Length(b)*(l.top+l.row()*vg.Length(len(h.Rows))+8) - l.top
		columns := h.Columns[b*l.perBlock : min((b+1)*l.perBlock, len(h.Columns))]
		right := c.Min.X + l.left + l.cell*vg.Length(len(columns))
		for i, title := range columns {
			c.FillText(head, vg.Point{X: c.Min.X + l.left + l.cell*(vg.Length(i)+0.5), Y: top + 5}, title)
		}
		// The words stand beside the last block, or beside every one if the heads
		// leave room above them.
		if h.Beside != "" {
			c.FillText(beside, vg.Point{X: right + 6, Y: top - l.row()*vg.Length(len(h.Rows)) - 5}, h.Beside)
		}
		for r, row := range h.Rows {
			y := top - l.row()*vg.Length(r+1)
			if l.above > 0 {
				c.FillText(above, vg.Point{X: c.Min.X + l.left, Y: y + cellHigh}, row)
			} else {
				c.FillText(name, vg.Point{X: c.Min.X + l.left - 4, Y: y + cellHigh/2}, row)
			}
			for i := range columns {
				h.cell(c, h.Cells[r][b*l.perBlock+i], c.Min.X+l.left+l.cell*vg.Length(i), y, l.cell)
			}
			if h.Beside != "" {
				c.FillText(beside, vg.Point{X: right + 6, Y: y + cellHigh/2}, h.Words[r])
			}
		}
	}
}

func (h HeatMap) cell(c draw.Canvas, cell Cell, x, y, width vg.Length) {
	if math.IsNaN(cell.Share) {
		return
	}
	ground, tone := Shade(cell.Share)
	Box(c, ground, x, y, x+width-1, y+cellHigh-1)
	for size := vg.Length(7.5); size >= 5; size -= 0.5 {
		label := Text(size, tone, draw.XCenter, draw.YCenter)
		if label.Width(cell.Label)*wider <= width-2 {
			c.FillText(label, vg.Point{X: x + (width-1)/2, Y: y + (cellHigh-1)/2}, cell.Label)
			return
		}
	}
}
