package report

import (
	"hash/fnv"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"

	"quicktune/internal/figure"
)

// The dashes, in points. Solid is for the plain form of a method.
var dashes = [][]vg.Length{nil, {5, 2}, {1.5, 1.5}, {6, 2, 1.5, 2}, {9, 3}}

// fixed is the style of a method: a colour and one of the dashes.
type fixed struct {
	color  color.NRGBA
	dashes int
}

// styles are those of the methods of this project, for good: a line in an old
// figure means the same in a new one. No two are alike.
var styles = map[string]fixed{
	"quicktune":               {figure.Black, 0},
	"quicktune-reference":     {figure.Black, 1},
	"lce-stopping":            {figure.Black, 2},
	"dyhpo":                   {figure.Black, 3},
	"random":                  {figure.Grey, 0},
	"random-distinct":         {figure.Grey, 1},
	"oracle":                  {figure.Grey, 2},
	"median-stopping":         {figure.Grey, 3},
	"successive-halving":      {figure.Orange, 0},
	"tpe":                     {figure.Orange, 1},
	"tpe-hyperopt":            {figure.Orange, 2},
	"freeze-thaw":             {figure.Orange, 3},
	"hyperband":               {figure.Vermillion, 0},
	"hyperband-hpbandster":    {figure.Vermillion, 1},
	"hyperband-synetune":      {figure.Vermillion, 2},
	"percentile-stopping":     {figure.Vermillion, 3},
	"asha":                    {figure.Blue, 0},
	"asha-stopping":           {figure.Blue, 1},
	"asha-synetune-promotion": {figure.Blue, 2},
	"asha-synetune-stopping":  {figure.Blue, 3},
	"bohb":                    {figure.Green, 0},
	"bohb:nearest":            {figure.Green, 1},
	"fsbo":                    {figure.Green, 2},
	"meta-trees":              {figure.Green, 3},
	"dehb":                    {figure.Purple, 0},
	"dehb:nearest":            {figure.Purple, 1},
	"default-model":           {figure.Purple, 2},
	"portfolio":               {figure.Purple, 3},
	"smac":                    {figure.SkyBlue, 0},
	"smac-mf":                 {figure.SkyBlue, 1},
	"gp-bo":                   {figure.SkyBlue, 2},
	"mobster":                 {figure.SkyBlue, 3},
	"two-stage":               {figure.Orange, 4},
}

// Styled lists the methods whose style is fixed, sorted.
func Styled() []string {
	var names []string
	for name := range styles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// styleOf returns the style of a method, which depends on its name alone, so
// that it is the same in every figure. A name with a suffix, such as
// quicktune-reference:hub=4, is a variant: the colour of its family, dashed by
// the suffix. Any other name gets one of 21 styles by its hash.
func styleOf(method string) figure.Line {
	if s, ok := styles[method]; ok {
		return figure.Line{Color: s.color, Dashes: dashes[s.dashes]}
	}
	family := method
	for {
		cut := strings.LastIndexAny(family, "-:")
		if cut < 0 {
			break
		}
		family = family[:cut]
		if s, ok := styles[family]; ok {
			return figure.Line{Color: s.color, Dashes: dashes[1+hashName(method[cut:])%3]}
		}
	}
	others := []color.NRGBA{figure.Orange, figure.SkyBlue, figure.Green, figure.Blue, figure.Vermillion, figure.Purple, figure.Grey}
	h := hashName(method)
	return figure.Line{Color: others[h%7], Dashes: dashes[1+h/7%3]}
}

func hashName(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()
}
