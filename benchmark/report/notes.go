package report

import (
	"strconv"
	"strings"
)

// footnotes numbers warnings in the order in which they are first marked. The
// same text gets the same number.
type footnotes struct{ texts []string }

// mark returns the numbers of some warnings, in ascending order of marking.
func (f *footnotes) mark(warnings ...[]error) []int {
	var numbers []int
	for _, list := range warnings {
		for _, w := range list {
			n := f.number(w.Error())
			if len(numbers) == 0 || numbers[len(numbers)-1] != n {
				numbers = append(numbers, n)
			}
		}
	}
	return numbers
}

func (f *footnotes) number(text string) int {
	for i, t := range f.texts {
		if t == text {
			return i + 1
		}
	}
	f.texts = append(f.texts, text)
	return len(f.texts)
}

// superscript writes numbers as raised digits, for the terminal: ¹ ²
func superscript(numbers []int) string {
	digits := []rune("⁰¹²³⁴⁵⁶⁷⁸⁹")
	var words []string
	for _, n := range numbers {
		var b strings.Builder
		for _, d := range strconv.Itoa(n) {
			b.WriteRune(digits[d-'0'])
		}
		words = append(words, b.String())
	}
	return strings.Join(words, " ")
}

// references writes numbers as Markdown footnote references: [^1][^2]
func references(numbers []int) string {
	var b strings.Builder
	for _, n := range numbers {
		b.WriteString("[^" + strconv.Itoa(n) + "]")
	}
	return b.String()
}
