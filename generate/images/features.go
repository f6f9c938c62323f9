package images

import (
	"math"

	"quicktune/generate/trainer"
	"quicktune/internal/stream"
)

// FeatureNames are the names of what [Features] returns, in its order.
var FeatureNames = []string{
	"class_entropy",       // entropy of the classes over the logarithm of their number, in [0, 1]
	"largest_class",       // share of the most frequent class
	"brightness",          // mean of all pixels, in [0, 1]
	"contrast",            // standard deviation of grey within a picture, mean over pictures
	"colour",              // mean distance of a pixel's colours from its grey
	"edges",               // mean difference of horizontally and vertically adjacent greys
	"variety",             // standard deviation of grey over pictures, mean over pixels
	"centroid_accuracy",   // validation accuracy of the nearest class mean, on 8 x 8 pixels
	"neighbour_accuracy",  // validation accuracy of the nearest neighbour, on 8 x 8 pixels
	"brightness_accuracy", // validation accuracy of the nearest class mean of the mean colour
}

const (
	thumbSide = 8
	thumbSize = thumbSide * thumbSide * trainer.Channels
	// Landmarks look at no more than these.
	landmarkTrain = 2000
	landmarkTest  = 500
)

// Features returns simple meta-features of a data set, named by [FeatureNames]:
// statistics of the training pictures, and landmarks, the accuracies of simple
// classifiers (Pfahringer, Bensusan, Giraud-Carrier, "Meta-Learning by
// Landmarking Various Learning Algorithms", ICML 2000). They never look at a
// test picture. Landmarks are computed on at most 2,000 training and 500
// validation pictures.
func Features(t *trainer.Images) []float64 {
	train := sample(t.Train, landmarkTrain)
	validation := sample(t.Validation, landmarkTest)
	entropy, largest := classBalance(t)
	values := []float64{entropy, largest}
	values = append(values, pixelStatistics(train)...)
	thumbs, probes := thumbnails(train), thumbnails(validation)
	values = append(values,
		centroidAccuracy(thumbs, train.Labels, probes, validation.Labels, t.Classes, thumbSize),
		neighbourAccuracy(thumbs, train.Labels, probes, validation.Labels),
		centroidAccuracy(means(thumbs), train.Labels, means(probes), validation.Labels, t.Classes, trainer.Channels))
	for i, v := range values {
		values[i] = math.Round(v*1e6) / 1e6
	}
	return values
}

// sample draws n pictures without replacement, or takes all if there are fewer.
func sample(s trainer.Split, n int) trainer.Split {
	if s.Len() <= n {
		return s
	}
	out := trainer.Split{Pixels: make([]uint8, 0, n*trainer.Pixels), Labels: make([]int, 0, n)}
	for _, i := range stream.New("images/landmarks", splitSeed, uint64(s.Len())).Perm(s.Len())[:n] {
		out.Pixels = append(out.Pixels, s.Pixels[i*trainer.Pixels:(i+1)*trainer.Pixels]...)
		out.Labels = append(out.Labels, s.Labels[i])
	}
	return out
}

func classBalance(t *trainer.Images) (entropy, largest float64) {
	count := make([]int, t.Classes)
	for _, l := range t.Train.Labels {
		count[l]++
	}
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(t.Train.Len())
			entropy -= p * math.Log(p)
			largest = max(largest, p)
		}
	}
	return entropy / math.Log(float64(t.Classes)), largest
}

// pixelStatistics returns brightness, contrast, colour, edges and variety, all
// on a scale on which white is 1.
func pixelStatistics(s trainer.Split) []float64 {
	const side = trainer.Side
	var brightness, contrast, colour, edges float64
	sum, squares := make([]float64, side*side), make([]float64, side*side)
	grey := make([]float64, side*side)
	for i := range s.Len() {
		pix := s.Pixels[i*trainer.Pixels:][:trainer.Pixels]
		var mean, square float64
		for k := range grey {
			r, g, b := float64(pix[3*k]), float64(pix[3*k+1]), float64(pix[3*k+2])
			v := (r + g + b) / 3
			colour += (math.Abs(r-v) + math.Abs(g-v) + math.Abs(b-v)) / 3
			grey[k] = v
			mean += v
			square += v * v
			sum[k] += v
			squares[k] += v * v
		}
		mean /= side * side
		brightness += mean
		contrast += math.Sqrt(max(0, square/(side*side)-mean*mean))
		for y := range side {
			for x := range side - 1 {
				edges += math.Abs(grey[y*side+x+1]-grey[y*side+x]) + math.Abs(grey[(x+1)*side+y]-grey[x*side+y])
			}
		}
	}
	n := float64(s.Len())
	var variety float64
	for k := range sum {
		m := sum[k] / n
		variety += math.Sqrt(max(0, squares[k]/n-m*m))
	}
	return []float64{
		brightness / n / 255,
		contrast / n / 255,
		colour / n / (side * side) / 255,
		edges / n / (2 * side * (side - 1)) / 255,
		variety / (side * side) / 255,
	}
}

// thumbnails averages squares of pixels; thumbSize numbers a picture.
func thumbnails(s trainer.Split) []float64 {
	const side, block = trainer.Side, trainer.Side / thumbSide
	out := make([]float64, s.Len()*thumbSize)
	for i := range s.Len() {
		pix := s.Pixels[i*trainer.Pixels:]
		thumb := out[i*thumbSize:]
		for y := range side {
			for x := range side {
				for c := range trainer.Channels {
					thumb[(y/block*thumbSide+x/block)*trainer.Channels+c] += float64(pix[(y*side+x)*trainer.Channels+c])
				}
			}
		}
	}
	return out
}

// means reduces thumbnails to one colour each.
func means(thumbs []float64) []float64 {
	out := make([]float64, len(thumbs)/thumbSize*trainer.Channels)
	for i, v := range thumbs {
		out[i/thumbSize*trainer.Channels+i%trainer.Channels] += v
	}
	return out
}

func distance(a, b []float64) float64 {
	var sum float64
	for i, v := range a {
		d := v - b[i]
		sum += d * d
	}
	return sum
}

// centroidAccuracy classifies by the nearest class mean; rows have width
// numbers.
func centroidAccuracy(train []float64, labels []int, probes []float64, truth []int, classes, width int) float64 {
	centres, count := make([]float64, classes*width), make([]float64, classes)
	for i, l := range labels {
		count[l]++
		for k, v := range train[i*width:][:width] {
			centres[l*width+k] += v
		}
	}
	for c, n := range count {
		for k := range width {
			centres[c*width+k] /= n // a class without pictures is NaN, and never nearest
		}
	}
	right := 0
	for i, l := range truth {
		best, at := math.Inf(1), -1
		for c := range classes {
			if d := distance(probes[i*width:][:width], centres[c*width:]); d < best {
				best, at = d, c
			}
		}
		if at == l {
			right++
		}
	}
	return float64(right) / float64(len(truth))
}

// neighbourAccuracy classifies by the nearest thumbnail, the first of several.
func neighbourAccuracy(train []float64, labels []int, probes []float64, truth []int) float64 {
	right := 0
	for i, l := range truth {
		best, at := math.Inf(1), -1
		for j := range labels {
			if d := distance(probes[i*thumbSize:][:thumbSize], train[j*thumbSize:]); d < best {
				best, at = d, j
			}
		}
		if at >= 0 && labels[at] == l {
			right++
		}
	}
	return float64(right) / float64(len(truth))
}
