package metadataset

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// This file holds what must be true of the data, for the writer and the reader
// alike.

// Ends lists every End that a curve may have.
var Ends = []End{EndCompleted, EndTimeCapped, EndDiverged, EndOutOfMemory, EndFailed, EndMemoryTest, EndUnknown}

// checkValue says what is wrong with one number of a column, "" if nothing is.
// NaN, which stands for unknown, is judged by checkUnknown.
func checkValue(c Column, v float32) string {
	if v != v {
		return ""
	}
	if math.IsInf(float64(v), 0) {
		return fmt.Sprintf("%s is infinite: write NaN (null) where there is no number", c)
	}
	switch c {
	case ValAccuracy, TestAccuracy:
		if v < 0 || v > 1 {
			return fmt.Sprintf("%s is %v: an accuracy lies in [0, 1]", c, v)
		}
	case Seconds:
		if v <= 0 {
			return fmt.Sprintf("%s is %v: an epoch takes more than 0", c, v)
		}
	case EvalSeconds, LearningRate:
		if v < 0 {
			return fmt.Sprintf("%s is %v: it cannot be negative", c, v)
		}
	}
	return ""
}

// checkUnknown says what is wrong with an unknown number of a column, "" if it
// may be unknown in a curve with the given end.
func checkUnknown(c Column, metric Column, end End) string {
	switch {
	case c == Seconds:
		return fmt.Sprintf("%s is unknown: every epoch has its cost", c)
	case c == metric && end != EndDiverged:
		return fmt.Sprintf("%s is unknown: the metric may be so only in a curve that ends %s, and this one ends %s", c, EndDiverged, end)
	}
	return ""
}

// checkEvalSeconds says what is wrong with the two costs of an epoch, each of
// which is fine by itself.
func checkEvalSeconds(eval, all float32) string {
	if eval > all && all > 0 {
		return fmt.Sprintf("%s is %v, more than the %v %s of the whole epoch", EvalSeconds, eval, all, Seconds)
	}
	return ""
}

// checkEnd says what is wrong with a curve of n epochs that ends so.
func checkEnd(end End, n, maxEpochs int) string {
	switch {
	case !slices.Contains(Ends, end):
		return fmt.Sprintf("end is %q: use one of %q", end, Ends)
	case n < 0 || n > maxEpochs:
		return fmt.Sprintf("%d epochs, planned were %d", n, maxEpochs)
	case end == EndCompleted && n < maxEpochs:
		return fmt.Sprintf("the end is %s after %d epochs of %d", end, n, maxEpochs)
	}
	return ""
}

func checkName(name string) error {
	if name == "" {
		return errors.New("the name is empty")
	}
	return checkText(name)
}

// maxTextBytes keeps pages of text, which hold thousands of them, small.
const maxTextBytes = 8192

func checkText(text string) error {
	if len(text) > maxTextBytes {
		return fmt.Errorf("%q... has %d bytes; at most %d can be stored", text[:40], len(text), maxTextBytes)
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("%q is not UTF-8", text)
	}
	return nil
}

func checkDataset(d Dataset, metaFeatures []string) error {
	if err := checkName(d.Name); err != nil {
		return err
	}
	for i, n := range []int{d.TrainSamples, d.Classes, d.Pixels, d.Channels} {
		if n < 0 {
			return fmt.Errorf("%s is %d: use 0 where it is unknown", descriptorNames[i], n)
		}
	}
	if len(d.MetaFeatures) != 0 && len(d.MetaFeatures) != len(metaFeatures) {
		return fmt.Errorf("%d meta-features, %d are named", len(d.MetaFeatures), len(metaFeatures))
	}
	for i, v := range d.MetaFeatures {
		if math.IsInf(v, 0) {
			return fmt.Errorf("meta-feature %q is infinite", metaFeatures[i])
		}
	}
	return nil
}

// descriptorNames are the columns of the descriptors of a data set.
var descriptorNames = [...]string{"train_samples", "classes", "pixels", "channels"}

// modelNumbers are the columns of the numbers of a model.
var modelNumbers = [...]string{"params_millions", "source_accuracy", "pixels", "gmacs"}

func checkModel(m Model) error {
	if err := checkName(m.Name); err != nil {
		return err
	}
	for i, v := range []float64{m.Params, m.SourceAccuracy, m.Pixels, m.GMACs} {
		if v < 0 || math.IsInf(v, 0) {
			return fmt.Errorf("%s is %v: use a number >= 0, NaN where it is unknown", modelNumbers[i], v)
		}
	}
	if m.SourceAccuracy > 1 {
		return fmt.Errorf("source_accuracy is %v: an accuracy lies in [0, 1]", m.SourceAccuracy)
	}
	return nil
}
