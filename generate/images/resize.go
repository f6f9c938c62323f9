package images

import (
	"image"
	"image/color"

	"quicktune/generate/trainer"
)

// bitmap is a picture of three colours, eight bits each, side by side.
type bitmap struct {
	width, height int
	pix           []uint8
}

// flatten draws a picture on white and drops the transparency. Grey gives three
// equal colours; of deeper colours the upper eight bits count.
func flatten(src image.Image) bitmap {
	b := src.Bounds()
	dst := bitmap{b.Dx(), b.Dy(), make([]uint8, 0, b.Dx()*b.Dy()*3)}
	switch src := src.(type) {
	case *image.Gray:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for _, v := range src.Pix[src.PixOffset(b.Min.X, y):][:b.Dx()] {
				dst.pix = append(dst.pix, v, v, v)
			}
		}
	case *image.YCbCr:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				i, j := src.YOffset(x, y), src.COffset(x, y)
				r, g, b := color.YCbCrToRGB(src.Y[i], src.Cb[j], src.Cr[j])
				dst.pix = append(dst.pix, r, g, b)
			}
		}
	default:
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				r, g, b, a := src.At(x, y).RGBA() // premultiplied, 16 bits
				white := 0xffff - a
				dst.pix = append(dst.pix, uint8((r+white)>>8), uint8((g+white)>>8), uint8((b+white)>>8))
			}
		}
	}
	return dst
}

// grey reports whether the three colours of every pixel are equal.
func (b bitmap) grey() bool {
	for i := 0; i < len(b.pix); i += 3 {
		if b.pix[i] != b.pix[i+1] || b.pix[i] != b.pix[i+2] {
			return false
		}
	}
	return true
}

// tap is the weight of one source pixel in one pixel of the result.
type tap struct {
	at     int
	weight int64
}

// triangle returns, for each of out pixels, the source pixels of a line of in
// that make it, and the sum of their weights.
//
// Pixel i of the result lies at (i+1/2)·in/out in the source. A source pixel at
// j+1/2 has the weight max(0, 1-|j+1/2-(i+1/2)·in/out|/s) with s = max(1,
// in/out): linear interpolation where the picture grows, and a triangle as wide
// as two pixels of the result where it shrinks, so that fine patterns blur
// instead of turning into coarse ones. Times 2·out·s these are whole numbers,
// and the same on every machine. At the edges the triangle is cut off.
func triangle(in, out int) (taps [][]tap, sums []int64) {
	reach := int64(2 * max(in, out))
	for i := range out {
		centre := int64((2*i + 1) * in)
		first := max(0, int((centre-reach)/int64(2*out))-1)
		var line []tap
		var sum int64
		for j := first; j < in; j++ {
			distance := int64((2*j+1)*out) - centre
			if distance >= reach {
				break
			}
			if w := reach - max(distance, -distance); w > 0 {
				line = append(line, tap{j, w})
				sum += w
			}
		}
		taps, sums = append(taps, line), append(sums, sum)
	}
	return taps, sums
}

// resize brings a picture to trainer.Side by trainer.Side pixels, the whole of
// it: width and height are scaled apart and nothing is cropped. Colours are
// averaged as they are stored, as image libraries do.
func resize(src bitmap) []uint8 {
	const side, half = trainer.Side, 128 // 8 more bits between the passes
	across, acrossSums := triangle(src.width, side)
	down, downSums := triangle(src.height, side)
	rows := make([]int64, src.height*side*3)
	for y := range src.height {
		line := src.pix[y*src.width*3:]
		for x, taps := range across {
			var r, g, b int64
			for _, t := range taps {
				p := line[t.at*3:][:3]
				r += t.weight * int64(p[0])
				g += t.weight * int64(p[1])
				b += t.weight * int64(p[2])
			}
			sum := acrossSums[x]
			to := rows[(y*side+x)*3:][:3]
			to[0], to[1], to[2] = (r<<8+sum/2)/sum, (g<<8+sum/2)/sum, (b<<8+sum/2)/sum
		}
	}
	dst := make([]uint8, trainer.Pixels)
	for y, taps := range down {
		sum := downSums[y]
		for k := range side * 3 {
			var v int64
			for _, t := range taps {
				v += t.weight * rows[t.at*side*3+k]
			}
			dst[y*side*3+k] = uint8(min(255, ((v+sum/2)/sum+half)>>8))
		}
	}
	return dst
}

// Fit brings any picture to the size that trainers take, as [Load] does.
func Fit(src image.Image) []uint8 { return resize(flatten(src)) }
