package trainer

import (
	"math"
	"math/rand/v2"
)

// Augmentation of images of 32 x 32 pixels, in place. Every training image is
// moved by up to maxShift pixels, and mirrored where the data set allows it;
// what a configuration asks for comes on top.

const (
	maxShift = 2
	// fill is the grey that geometric operations uncover.
	fill     = 128
	rowBytes = Side * Channels
)

// operation changes an image by a magnitude whose meaning is its own.
type operation func(a *augmenter, magnitude float64)

// augmenter works on one image at a time.
type augmenter struct {
	rng     *rand.Rand
	image   []uint8 // [Pixels], the image at work
	scratch [Pixels]uint8
}

// base moves and mirrors.
func (a *augmenter) base(symmetric bool) {
	dx, dy := a.rng.IntN(2*maxShift+1)-maxShift, a.rng.IntN(2*maxShift+1)-maxShift
	mirror := symmetric && a.rng.IntN(2) == 1
	copy(a.scratch[:], a.image)
	for y := range Side {
		from := a.scratch[min(max(y+dy, 0), Side-1)*rowBytes:][:rowBytes]
		to := a.image[y*rowBytes : (y+1)*rowBytes]
		left, right := max(-dx, 0), max(dx, 0) // columns off either edge
		copy(to[left*Channels:], from[right*Channels:rowBytes-left*Channels])
		for x := range left {
			copy(to[x*Channels:(x+1)*Channels], from)
		}
		for x := Side - right; x < Side; x++ {
			copy(to[x*Channels:], from[rowBytes-Channels:])
		}
		if mirror {
			for l, r := 0, rowBytes-Channels; l < r; l, r = l+Channels, r-Channels {
				for c := range Channels {
					to[l+c], to[r+c] = to[r+c], to[l+c]
				}
			}
		}
	}
}

// affine draws the image whose pixel (x, y), from the centre, is the old one's
// (xx*x + xy*y + tx, yx*x + yy*y + ty), between pixels by bilinear weights.
func (a *augmenter) affine(xx, xy, tx, yx, yy, ty float64) {
	copy(a.scratch[:], a.image)
	const centre, one = (Side - 1) / 2.0, 1 << 16 // places are in 16 bits of fraction
	fixed := func(v float64) int { return int(math.Round(v * one)) }
	stepX, stepY := fixed(xx), fixed(yx)
	for y := range Side {
		py := float64(y) - centre
		sx, sy := fixed(xy*py-xx*centre+tx+centre), fixed(yy*py-yx*centre+ty+centre)
		for x := range Side {
			ix, iy := sx>>16, sy>>16
			wx, wy := int32(sx>>8&255), int32(sy>>8&255)
			sx, sy = sx+stepX, sy+stepY
			out := a.image[(y*Side+x)*Channels:][:Channels]
			if uint(ix) < Side-1 && uint(iy) < Side-1 {
				from := a.scratch[(iy*Side+ix)*Channels:][:rowBytes+2*Channels]
				for c := range out {
					top := (256-wx)*int32(from[c]) + wx*int32(from[c+Channels])
					low := (256-wx)*int32(from[c+rowBytes]) + wx*int32(from[c+rowBytes+Channels])
					out[c] = uint8(((256-wy)*top + wy*low + 1<<15) >> 16)
				}
				continue
			}
			for c := range out {
				top := (256-wx)*a.pixel(ix, iy, c) + wx*a.pixel(ix+1, iy, c)
				low := (256-wx)*a.pixel(ix, iy+1, c) + wx*a.pixel(ix+1, iy+1, c)
				out[c] = uint8(((256-wy)*top + wy*low + 1<<15) >> 16)
			}
		}
	}
}

// pixel reads the copy that affine made.
func (a *augmenter) pixel(x, y, c int) int32 {
	if uint(x) >= Side || uint(y) >= Side {
		return fill
	}
	return int32(a.scratch[(y*Side+x)*Channels+c])
}

func (a *augmenter) shearX(m float64)     { a.affine(1, m, 0, 0, 1, 0) }
func (a *augmenter) shearY(m float64)     { a.affine(1, 0, 0, m, 1, 0) }
func (a *augmenter) translateX(m float64) { a.affine(1, 0, m, 0, 1, 0) }
func (a *augmenter) translateY(m float64) { a.affine(1, 0, 0, 0, 1, m) }

func (a *augmenter) rotate(degrees float64) {
	s, c := math.Sincos(degrees * math.Pi / 180)
	a.affine(c, s, 0, -s, c, 0)
}

// table replaces every value v by t[v].
func (a *augmenter) table(t *[256]uint8) {
	for i, v := range a.image {
		a.image[i] = t[v]
	}
}

func (a *augmenter) invert(float64) {
	for i, v := range a.image {
		a.image[i] = 255 - v
	}
}

// posterize keeps the upper bits.
func (a *augmenter) posterize(bits float64) {
	mask := uint8(0xff << (8 - min(max(int(bits), 0), 8)))
	for i, v := range a.image {
		a.image[i] = v & mask
	}
}

// solarize inverts what is not below the threshold.
func (a *augmenter) solarize(threshold float64) {
	for i, v := range a.image {
		if float64(v) >= threshold {
			a.image[i] = 255 - v
		}
	}
}

// solarizeAdd brightens what is below 128.
func (a *augmenter) solarizeAdd(m float64) {
	for i, v := range a.image {
		if v < 128 {
			a.image[i] = clip(float64(v) + m)
		}
	}
}

// autoContrast spreads each colour over the whole range.
func (a *augmenter) autoContrast(float64) {
	for c := range Channels {
		low, high := uint8(255), uint8(0)
		for i := c; i < Pixels; i += Channels {
			low, high = min(low, a.image[i]), max(high, a.image[i])
		}
		if low >= high {
			continue
		}
		scale := 255 / float64(high-low)
		for i := c; i < Pixels; i += Channels {
			a.image[i] = clip(float64(a.image[i]-low) * scale)
		}
	}
}

// equalize makes the histogram of each colour as flat as can be, by the rule of
// the Python Imaging Library.
func (a *augmenter) equalize(float64) {
	for c := range Channels {
		var histogram [256]int
		for i := c; i < Pixels; i += Channels {
			histogram[a.image[i]]++
		}
		last := 0
		for v, n := range histogram {
			if n > 0 {
				last = v
			}
		}
		step := (Side*Side - histogram[last]) / 255
		if step == 0 {
			continue
		}
		var t [256]uint8
		sum := step / 2
		for v, n := range histogram {
			t[v] = uint8(min(sum/step, 255))
			sum += n
		}
		for i := c; i < Pixels; i += Channels {
			a.image[i] = t[a.image[i]]
		}
	}
}

func clip(v float64) uint8 { return uint8(min(max(v, 0), 255) + 0.5) }

// brightness, contrast and colour move away from black, from the mean grey and
// from grey by the factor.
func (a *augmenter) brightness(factor float64) {
	var t [256]uint8
	for v := range t {
		t[v] = clip(float64(v) * factor)
	}
	a.table(&t)
}

// grey is the luminance of a pixel, ITU-R BT.601.
func grey(p []uint8) float64 { return 0.299*float64(p[0]) + 0.587*float64(p[1]) + 0.114*float64(p[2]) }

func (a *augmenter) contrast(factor float64) {
	sum := 0.0
	for i := 0; i < Pixels; i += Channels {
		sum += grey(a.image[i:])
	}
	mean := math.Round(sum / (Side * Side))
	var t [256]uint8
	for v := range t {
		t[v] = clip(mean + (float64(v)-mean)*factor)
	}
	a.table(&t)
}

func (a *augmenter) color(factor float64) {
	for i := 0; i < Pixels; i += Channels {
		p := a.image[i : i+Channels]
		g := grey(p)
		for c, v := range p {
			p[c] = clip(g + (float64(v)-g)*factor)
		}
	}
}

// sharpness moves away from the image smoothed by (1 1 1, 1 5 1, 1 1 1)/13; the
// border stays.
func (a *augmenter) sharpness(factor float64) {
	copy(a.scratch[:], a.image)
	for y := 1; y < Side-1; y++ {
		for i := y*rowBytes + Channels; i < (y+1)*rowBytes-Channels; i++ {
			sum := 4 * float64(a.scratch[i])
			for _, r := range [3]int{i - rowBytes, i, i + rowBytes} {
				sum += float64(a.scratch[r-Channels]) + float64(a.scratch[r]) + float64(a.scratch[r+Channels])
			}
			smooth := sum / 13
			a.image[i] = clip(smooth + (float64(a.scratch[i])-smooth)*factor)
		}
	}
}

// choice is an operation of TrivialAugment or RandAugment, with its magnitude at
// strength s from 0 to 1 and whether the magnitude's sign is drawn.
type choice struct {
	apply     operation
	magnitude func(s float64) float64
	signed    bool
	// around is what a signed magnitude is added to.
	around float64
}

func upTo(m float64) func(float64) float64 { return func(s float64) float64 { return s * m } }

func none(float64) float64 { return 0 }

// choices lists the operations of the space "RA" of Cubuk et al. and of the wide
// space of Müller and Hutter, which differ in their ranges.
func choices(shear, translate, rotate, enhance, bits float64) []choice {
	return []choice{
		{func(*augmenter, float64) {}, none, false, 0},
		{(*augmenter).shearX, upTo(shear), true, 0},
		{(*augmenter).shearY, upTo(shear), true, 0},
		{(*augmenter).translateX, upTo(translate), true, 0},
		{(*augmenter).translateY, upTo(translate), true, 0},
		{(*augmenter).rotate, upTo(rotate), true, 0},
		{(*augmenter).brightness, upTo(enhance), true, 1},
		{(*augmenter).color, upTo(enhance), true, 1},
		{(*augmenter).contrast, upTo(enhance), true, 1},
		{(*augmenter).sharpness, upTo(enhance), true, 1},
		{(*augmenter).posterize, func(s float64) float64 { return 8 - math.Round(s*bits) }, false, 0},
		{(*augmenter).solarize, func(s float64) float64 { return 255 * (1 - s) }, false, 0},
		{(*augmenter).autoContrast, none, false, 0},
		{(*augmenter).equalize, none, false, 0},
	}
}

// The constants of torchvision; translations are for 32 pixels.
var (
	randChoices    = choices(0.3, 150.0/331*Side, 30, 0.9, 4)
	trivialChoices = choices(0.99, Side, 135, 0.99, 6)
)

// strengths is the number of magnitudes.
const strengths = 31

func (a *augmenter) apply(c choice, strength float64) {
	m := c.magnitude(strength)
	if c.signed && a.rng.IntN(2) == 1 {
		m = -m
	}
	c.apply(a, c.around+m)
}

// trivial applies one operation of any magnitude: Müller and Hutter,
// "TrivialAugment", ICCV 2021.
func (a *augmenter) trivial() {
	c := trivialChoices[a.rng.IntN(len(trivialChoices))]
	a.apply(c, float64(a.rng.IntN(strengths))/(strengths-1))
}

// random applies so many operations of one magnitude, from 0 to 30: Cubuk et
// al., "RandAugment", NeurIPS 2020.
func (a *augmenter) random(operations, magnitude int) {
	for range operations {
		a.apply(randChoices[a.rng.IntN(len(randChoices))], float64(magnitude)/(strengths-1))
	}
}

// policyStep is an operation of a learned policy with its probability and its
// level from 0 to 10.
type policyStep struct {
	name        string
	probability float64
	level       float64
}

// policyOperations gives each operation of a policy its magnitude at a level:
// those of the reference implementation in TensorFlow, translations relative to
// the image.
var policyOperations = map[string]choice{
	"AutoContrast": {(*augmenter).autoContrast, none, false, 0},
	"Equalize":     {(*augmenter).equalize, none, false, 0},
	"Invert":       {(*augmenter).invert, none, false, 0},
	"Rotate":       {(*augmenter).rotate, upTo(30), true, 0},
	"Posterize":    {(*augmenter).posterize, func(s float64) float64 { return math.Floor(4 * s) }, false, 0},
	// In the paper's own policy, levels keep 4 bits more.
	"PosterizeOriginal": {(*augmenter).posterize, func(s float64) float64 { return math.Floor(4*s) + 4 }, false, 0},
	"Solarize":          {(*augmenter).solarize, func(s float64) float64 { return math.Floor(256 * s) }, false, 0},
	"SolarizeAdd":       {(*augmenter).solarizeAdd, func(s float64) float64 { return math.Floor(110 * s) }, false, 0},
	"Color":             {(*augmenter).color, func(s float64) float64 { return 1.8*s + 0.1 }, false, 0},
	"Contrast":          {(*augmenter).contrast, func(s float64) float64 { return 1.8*s + 0.1 }, false, 0},
	"Sharpness":         {(*augmenter).sharpness, func(s float64) float64 { return 1.8*s + 0.1 }, false, 0},
	"ShearX":            {(*augmenter).shearX, upTo(0.3), true, 0},
	"ShearY":            {(*augmenter).shearY, upTo(0.3), true, 0},
	"TranslateY":        {(*augmenter).translateY, upTo(0.45 * Side), true, 0},
}

// policies are those of Cubuk et al., "AutoAugment", CVPR 2019: the one for
// ImageNet in the paper, and v0 of the reference implementation.
var policies = map[string][][2]policyStep{
	"original": {
		{{"PosterizeOriginal", 0.4, 8}, {"Rotate", 0.6, 9}},
		{{"Solarize", 0.6, 5}, {"AutoContrast", 0.6, 5}},
		{{"Equalize", 0.8, 8}, {"Equalize", 0.6, 3}},
		{{"PosterizeOriginal", 0.6, 7}, {"PosterizeOriginal", 0.6, 6}},
		{{"Equalize", 0.4, 7}, {"Solarize", 0.2, 4}},
		{{"Equalize", 0.4, 4}, {"Rotate", 0.8, 8}},
		{{"Solarize", 0.6, 3}, {"Equalize", 0.6, 7}},
		{{"PosterizeOriginal", 0.8, 5}, {"Equalize", 1, 2}},
		{{"Rotate", 0.2, 3}, {"Solarize", 0.6, 8}},
		{{"Equalize", 0.6, 8}, {"PosterizeOriginal", 0.4, 6}},
		{{"Rotate", 0.8, 8}, {"Color", 0.4, 0}},
		{{"Rotate", 0.4, 9}, {"Equalize", 0.6, 2}},
		{{"Equalize", 0, 7}, {"Equalize", 0.8, 8}},
		{{"Invert", 0.6, 4}, {"Equalize", 1, 8}},
		{{"Color", 0.6, 4}, {"Contrast", 1, 8}},
		{{"Rotate", 0.8, 8}, {"Color", 1, 2}},
		{{"Color", 0.8, 8}, {"Solarize", 0.8, 7}},
		{{"Sharpness", 0.4, 7}, {"Invert", 0.6, 8}},
		{{"ShearX", 0.6, 5}, {"Equalize", 1, 9}},
		{{"Color", 0.4, 0}, {"Equalize", 0.6, 3}},
		{{"Equalize", 0.4, 7}, {"Solarize", 0.2, 4}},
		{{"Solarize", 0.6, 5}, {"AutoContrast", 0.6, 5}},
		{{"Invert", 0.6, 4}, {"Equalize", 1, 8}},
		{{"Color", 0.6, 4}, {"Contrast", 1, 8}},
		{{"Equalize", 0.8, 8}, {"Equalize", 0.6, 3}},
	},
	"v0": {
		{{"Equalize", 0.8, 1}, {"ShearY", 0.8, 4}},
		{{"Color", 0.4, 9}, {"Equalize", 0.6, 3}},
		{{"Color", 0.4, 1}, {"Rotate", 0.6, 8}},
		{{"Solarize", 0.8, 3}, {"Equalize", 0.4, 7}},
		{{"Solarize", 0.4, 2}, {"Solarize", 0.6, 2}},
		{{"Color", 0.2, 0}, {"Equalize", 0.8, 8}},
		{{"Equalize", 0.4, 8}, {"SolarizeAdd", 0.8, 3}},
		{{"ShearX", 0.2, 9}, {"Rotate", 0.6, 8}},
		{{"Color", 0.6, 1}, {"Equalize", 1, 2}},
		{{"Invert", 0.4, 9}, {"Rotate", 0.6, 0}},
		{{"Equalize", 1, 9}, {"ShearY", 0.6, 3}},
		{{"Color", 0.4, 7}, {"Equalize", 0.6, 0}},
		{{"Posterize", 0.4, 6}, {"AutoContrast", 0.4, 7}},
		{{"Solarize", 0.6, 8}, {"Color", 0.6, 9}},
		{{"Solarize", 0.2, 4}, {"Rotate", 0.8, 9}},
		{{"Rotate", 1, 7}, {"TranslateY", 0.8, 9}},
		{{"ShearX", 0, 0}, {"Solarize", 0.8, 4}},
		{{"ShearY", 0.8, 0}, {"Color", 0.6, 4}},
		{{"Color", 1, 0}, {"Rotate", 0.6, 2}},
		{{"Equalize", 0.8, 4}, {"Equalize", 0, 8}},
		{{"Equalize", 1, 4}, {"AutoContrast", 0.6, 2}},
		{{"ShearY", 0.4, 7}, {"SolarizeAdd", 0.6, 7}},
		{{"Posterize", 0.8, 2}, {"Solarize", 0.6, 10}},
		{{"Solarize", 0.6, 8}, {"Equalize", 0.6, 1}},
		{{"Color", 0.8, 6}, {"Rotate", 0.4, 5}},
	},
}

// auto applies one pair of a policy.
func (a *augmenter) auto(policy string) {
	pairs := policies[policy]
	for _, s := range pairs[a.rng.IntN(len(pairs))] {
		if a.rng.Float64() < s.probability {
			a.apply(policyOperations[s.name], s.level/10)
		}
	}
}

// mixing is what is done to a whole batch.
type mixing struct {
	mixup, cutmix float64 // parameters of the symmetric Beta distributions, 0 = never
	probability   float64
}

// mix changes a batch of images [n, Side, Side, Channels] and its targets [n,
// classes]: image i gets a share 1-lambda of image n-1-i, as a blend (Zhang et
// al., "mixup", ICLR 2018) or as a rectangle (Yun et al., "CutMix", ICCV 2019),
// one of the two for the batch, each with probability 1/2 where both are on. It
// returns lambda, 1 if nothing was done.
func (m mixing) mix(rng *rand.Rand, images, targets []float32, n int) float64 {
	if m.mixup == 0 && m.cutmix == 0 || rng.Float64() >= m.probability {
		return 1
	}
	cut := m.mixup == 0 || m.cutmix > 0 && rng.IntN(2) == 1
	if !cut {
		lambda := beta(rng, m.mixup)
		blend(images, n, float32(lambda))
		blend(targets, n, float32(lambda))
		return lambda
	}
	lambda := beta(rng, m.cutmix)
	ratio := math.Sqrt(1 - lambda)
	h, w := int(Side*ratio), int(Side*ratio)
	cy, cx := rng.IntN(Side), rng.IntN(Side)
	y0, y1 := max(cy-h/2, 0), min(cy+h/2, Side)
	x0, x1 := max(cx-w/2, 0), min(cx+w/2, Side)
	lambda = 1 - float64((y1-y0)*(x1-x0))/(Side*Side)
	for i := range n / 2 {
		a, b := images[i*Pixels:(i+1)*Pixels], images[(n-1-i)*Pixels:(n-i)*Pixels]
		for y := y0; y < y1; y++ {
			for j := (y*Side + x0) * Channels; j < (y*Side+x1)*Channels; j++ {
				a[j], b[j] = b[j], a[j]
			}
		}
	}
	blend(targets, n, float32(lambda))
	return lambda
}

// blend replaces row i of n by lambda times it plus the rest of row n-1-i.
func blend(x []float32, n int, lambda float32) {
	width := len(x) / n
	for i := range n / 2 {
		a, b := x[i*width:(i+1)*width], x[(n-1-i)*width:(n-i)*width]
		for j := range a {
			u, v := a[j], b[j]
			a[j] = float32(lambda*u) + float32((1-lambda)*v)
			b[j] = float32(lambda*v) + float32((1-lambda)*u)
		}
	}
}

// beta draws from Beta(a, a).
func beta(rng *rand.Rand, a float64) float64 {
	x, y := gamma(rng, a), gamma(rng, a)
	if x+y == 0 { // both underflowed: all mass is at the ends
		return float64(rng.IntN(2))
	}
	return x / (x + y)
}

// gamma draws from the gamma distribution of shape a: Marsaglia and Tsang, "A
// simple method for generating gamma variables", ACM TOMS 26(3), 2000.
func gamma(rng *rand.Rand, a float64) float64 {
	if a < 1 {
		u := rng.Float64()
		return gamma(rng, a+1) * math.Pow(u, 1/a)
	}
	d := a - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if math.Log(rng.Float64()) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}
