package report

import (
	"hash/fnv"
	"image/color"
	"strings"

	"gonum.org/v1/plot/vg"
)

// lineStyle is how the curve of a method is drawn.
type lineStyle struct {
	color  color.NRGBA
	dashes []vg.Length
}

// The colours of Okabe and Ito (Color Universal Design, 2008), which people
// with any of the common colour vision deficiencies can tell apart, without
// the yellow that white paper swallows, and with a grey for random search.
var (
	black      = color.NRGBA{0x00, 0x00, 0x00, 0xff}
	grey       = color.NRGBA{0x77, 0x77, 0x77, 0xff}
	orange     = color.NRGBA{0xe6, 0x9f, 0x00, 0xff}
	skyBlue    = color.NRGBA{0x56, 0xb4, 0xe9, 0xff}
	green      = color.NRGBA{0x00, 0x9e, 0x73, 0xff}
	blue       = color.NRGBA{0x00, 0x72, 0xb2, 0xff}
	vermillion = color.NRGBA{0xd5, 0x5e, 0x00, 0xff}
	purple     = color.NRGBA{0xcc, 0x79, 0xa7, 0xff}
)

// The dashes, in points. Solid is for the plain form of a method.
var dashes = [][]vg.Length{nil, {5, 2}, {1.5, 1.5}, {6, 2, 1.5, 2}}

// families are the methods whose colour is fixed. A name with a suffix, such
// as hyperband-synetune, is a variant: the colour of its family, dashed.
var families = map[string]color.NRGBA{
	"quicktune":          black,
	"random":             grey,
	"successive-halving": orange,
	"hyperband":          vermillion,
	"asha":               blue,
	"bohb":               green,
	"dehb":               purple,
	"smac":               skyBlue,
}

// variants are the dashes of suffixes that occur side by side.
var variants = map[string]int{
	"distinct":           1,
	"hpbandster":         1,
	"synetune":           2,
	"stopping":           1,
	"synetune-promotion": 2,
	"synetune-stopping":  3,
}

// styleOf returns the style of a method, which depends on its name alone, so
// that it is the same in every figure. Names that nobody fixed get one of 21
// styles by their hash.
func styleOf(method string) lineStyle {
	family := method
	for {
		if c, ok := families[family]; ok {
			suffix := strings.TrimPrefix(strings.TrimPrefix(method, family), "-")
			dash, known := variants[suffix]
			if !known && suffix != "" {
				dash = 1 + int(hashName(suffix)%3)
			}
			return lineStyle{color: c, dashes: dashes[dash]}
		}
		cut := strings.LastIndexByte(family, '-')
		if cut < 0 {
			break
		}
		family = family[:cut]
	}
	others := []color.NRGBA{orange, skyBlue, green, blue, vermillion, purple, grey}
	h := hashName(method)
	return lineStyle{color: others[h%7], dashes: dashes[1+h/7%3]}
}

func hashName(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()
}
