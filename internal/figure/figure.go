// Package figure draws the figures of reports: charts with labels at their lines,
// heat maps and dots, as SVG and as PNG, in one look.
//
// A figure is drawn for the width it gets, so that a page can show a wide one and
// a narrow one of the same numbers. The same figure gives the same bytes. The
// package refuses to know what is drawn: colours of methods, statistics and words
// are its callers'.
package figure

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"io"
	"strings"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The widths that figures are drawn for.
const (
	Wide   = 17 * vg.Centimeter // a column of text on paper or a large screen
	Narrow = 268 * vg.Inch / 72 // a phone of 390 points less its margins, at 96 points an inch
)

const dotsPerInch = 200 // of a PNG

// The colours of Okabe and Ito (Color Universal Design, 2008), which people with
// any of the common colour vision deficiencies can tell apart, without the yellow
// that white paper swallows, and with a grey.
var (
	Black      = color.NRGBA{0x00, 0x00, 0x00, 0xff}
	Grey       = color.NRGBA{0x77, 0x77, 0x77, 0xff}
	Orange     = color.NRGBA{0xe6, 0x9f, 0x00, 0xff}
	SkyBlue    = color.NRGBA{0x56, 0xb4, 0xe9, 0xff}
	Green      = color.NRGBA{0x00, 0x9e, 0x73, 0xff}
	Blue       = color.NRGBA{0x00, 0x72, 0xb2, 0xff}
	Vermillion = color.NRGBA{0xd5, 0x5e, 0x00, 0xff}
	Purple     = color.NRGBA{0xcc, 0x79, 0xa7, 0xff}
)

// The colours of everything else.
var (
	Ink   = color.NRGBA{0x22, 0x22, 0x22, 0xff} // text and axes
	Faint = color.NRGBA{0xdd, 0xdd, 0xdd, 0xff} // grid
	Paper = color.NRGBA{0xff, 0xff, 0xff, 0xff}
	// OnLight and OnDark are for text on coloured ground, which is the same on
	// light and dark pages.
	OnLight = color.NRGBA{0x1f, 0x1f, 0x1f, 0xff}
	OnDark  = color.NRGBA{0xfe, 0xfe, 0xfe, 0xff}
)

// Sequential colours run from Low to High; lightness alone tells them apart.
var (
	Low  = color.NRGBA{0xf4, 0xf1, 0xe6, 0xff}
	High = color.NRGBA{0x0b, 0x3c, 0x5d, 0xff}
)

// themed are the colours that a page replaces by variables of its own, so that
// they fit light and dark ground.
var themed = strings.NewReplacer(
	"#222222", "var(--ink)", "#DDDDDD", "var(--grid)", "#FFFFFF", "var(--page)", "#000000", "var(--black)", "#777777", "var(--grey)",
)

// Themes are the style sheets that inline figures need: the variables of their
// colours on light and on dark ground.
const (
	LightTheme = "--page:#ffffff;--ink:#222222;--grid:#dddddd;--black:#000000;--grey:#777777;"
	DarkTheme  = "--page:#15181c;--ink:#e4e6e8;--grid:#3a3f45;--black:#ffffff;--grey:#9aa0a6;"
)

// Figure is one figure, of any width.
type Figure struct {
	Name    string // of its files, without extension
	Title   string
	Alt     string // what it shows, for those who do not see it
	Caption string // how to read it
	Height  func(width vg.Length) vg.Length
	Draw    func(c draw.Canvas)
}

// SVG writes the wide figure with a white ground. Text stays text; the fonts are
// not embedded.
func (f Figure) SVG(w io.Writer) error {
	s, err := f.vector(Wide)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, s)
	return err
}

// PNG writes the wide figure as pixels.
func (f Figure) PNG(w io.Writer) error {
	c := vgimg.NewWith(vgimg.UseWH(Wide, f.Height(Wide)), vgimg.UseDPI(dotsPerInch))
	f.paint(draw.New(c))
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(w)
	return err
}

// Inline returns the figure as an element of an HTML page that defines the
// variables of a theme. It is as wide as its container.
func (f Figure) Inline(width vg.Length) (string, error) {
	s, err := f.vector(width)
	if err != nil {
		return "", err
	}
	_, s, _ = strings.Cut(s, "<svg ")
	size, rest, found := strings.Cut(s, " viewBox=")
	if !found {
		return "", fmt.Errorf("the SVG has an unexpected head: %.200q", size)
	}
	return "<svg viewBox=" + themed.Replace(rest), nil
}

func (f Figure) vector(width vg.Length) (string, error) {
	c := vgsvg.New(width, f.Height(width))
	f.paint(draw.New(c))
	var buf bytes.Buffer
	if _, err := c.WriteTo(&buf); err != nil {
		return "", err
	}
	// Where Liberation Sans is missing, fonts of the same widths come next.
	s := strings.ReplaceAll(buf.String(), "font-family:Liberation Sans;", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif;")
	s = strings.ReplaceAll(s, "font-variant:normal;font-weight:normal;font-style:normal;", "")
	// A screen reader reads the title.
	head, body, found := strings.Cut(s, `xlink">`)
	if !found {
		return "", fmt.Errorf("the SVG has an unexpected head: %.200q", s)
	}
	return fmt.Sprintf("%sxlink\" role=\"img\">\n<title>%s</title>%s", head, html.EscapeString(f.Alt), body), nil
}

func (f Figure) paint(c draw.Canvas) {
	c.SetColor(Paper)
	c.Fill(c.Rectangle.Path())
	f.Draw(c)
}

var (
	sans  = font.Font{Typeface: "Liberation", Variant: "Sans"}
	fonts = font.NewCache(liberation.Collection())
)

// Text is a style of text: size in points, with the alignment of [draw.XLeft]
// and so on around the point where it is drawn.
func Text(size vg.Length, tone color.Color, x text.XAlignment, y text.YAlignment) text.Style {
	return text.Style{Color: tone, Font: font.From(sans, size), XAlign: x, YAlign: y, Handler: text.Plain{Fonts: fonts}}
}

// Between mixes two colours: a at share 0, b at 1.
func Between(a, b color.NRGBA, share float64) color.NRGBA {
	mix := func(x, y uint8) uint8 { return uint8(float64(x) + share*(float64(y)-float64(x)) + 0.5) }
	return color.NRGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xff}
}

// Shade is the colour of a share in [0, 1], from Low to High, and the colour of
// text on it.
func Shade(share float64) (ground, tone color.NRGBA) {
	share = min(max(share, 0), 1)
	if share > 0.5 {
		return Between(Low, High, share), OnDark
	}
	return Between(Low, High, share), OnLight
}

// Box fills a rectangle.
func Box(c draw.Canvas, tone color.Color, x0, y0, x1, y1 vg.Length) {
	c.FillPolygon(tone, []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}})
}
