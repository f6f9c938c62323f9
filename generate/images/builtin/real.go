package builtin

import (
	"bytes"
	_ "embed"
	"fmt"
	"image"
	"image/png"

	"quicktune/generate/images"
)

// The real pictures, grey, one below the other in one tall picture each, sorted
// by class. real/README.md says where they come from and under which licences.
var (
	//go:embed real/digits.png
	digitsPNG []byte
	//go:embed real/fashion.png
	fashionPNG []byte
	//go:embed real/omniglot.png
	omniglotPNG []byte
)

// realSet makes a data set of a tall picture. counts are the pictures of each
// class; white is the level of white.
func realSet(name, title, licence string, tall []byte, symmetric bool, white int, classes []string, counts []int) dataset {
	n := 0
	for _, c := range counts {
		n += c
	}
	return dataset{
		Info:      Info{Name: name, Title: title, Classes: len(classes), Pictures: n, Real: true, Licence: licence},
		symmetric: symmetric,
		load: func(s *images.Set) {
			decoded, err := png.Decode(bytes.NewReader(tall))
			grey, ok := decoded.(*image.Gray)
			if err != nil || !ok || grey.Bounds().Dy() != n*grey.Bounds().Dx() {
				panic(fmt.Sprintf("the embedded data set %q is damaged: %v", name, err))
			}
			s.Width = grey.Bounds().Dx()
			s.Classes = classes
			i := 0
			for class, count := range counts {
				for range count {
					one := image.NewGray(image.Rect(0, 0, s.Width, s.Width))
					for k, v := range grey.Pix[i*s.Width*s.Width:][:s.Width*s.Width] {
						one.Pix[k] = uint8((int(v)*255 + white/2) / white)
					}
					s.Pixels = append(s.Pixels, images.Fit(one)...)
					s.Labels = append(s.Labels, class)
					i++
				}
			}
		},
	}
}

func repeat(count, times int) []int {
	list := make([]int, times)
	for i := range list {
		list[i] = count
	}
	return list
}

func numbered(format string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	return list
}

var realTargets = []dataset{
	realSet("digits", "handwritten digits of 8 x 8 pixels", "CC BY 4.0", digitsPNG, false, 16,
		numbered("%d", 10), []int{178, 182, 177, 183, 181, 182, 181, 179, 174, 180}),
	realSet("fashion", "pieces of clothing", "MIT", fashionPNG, true, 255,
		[]string{"ankle boot", "bag", "coat", "dress", "pullover", "sandal", "shirt", "sneaker", "trouser", "T-shirt"}, repeat(120, 10)),
	realSet("omniglot", "handwritten characters of nine alphabets", "MIT", omniglotPNG, false, 255,
		numbered("character %02d", 61), repeat(20, 61)),
}
