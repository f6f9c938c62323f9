package selection

import (
	"testing"
)

// benchmarkData is a probe of the size that the speed is stated for: 5,000 images
// of 100 classes, 2,048 rectified features, 1,000 source classes.
func benchmarkData(n, d, classes, sources int) Data {
	data := planted(n, d, classes, 0.3, 1)
	full := planted(n, 1, max(sources/2, 1), 0.5, 2)
	data.Source, data.SourceClasses = full.Source, full.SourceClasses
	return data
}

// BenchmarkClosedForm computes all closed-form scores of one model together,
// which share moments and spectrum, as a search does.
func BenchmarkClosedForm(b *testing.B) {
	for _, c := range []struct {
		name                   string
		n, d, classes, sources int
	}{{"N=5000,D=2048", 5000, 2048, 100, 1000}, {"N=500,D=2048", 500, 2048, 20, 1000}, {"N=2500,D=512", 2500, 512, 100, 1000}} {
		b.Run(c.name, func(b *testing.B) {
			data := benchmarkData(c.n, c.d, c.classes, c.sources)
			for b.Loop() {
				p := mustProbe(b, data)
				for _, s := range ClosedForm() {
					if _, err := s.Score(p); err != nil {
						b.Fatal(s.Name(), err)
					}
				}
			}
		})
	}
}

// BenchmarkScore times each score alone, with the moments it needs.
func BenchmarkScore(b *testing.B) {
	data := benchmarkData(5000, 2048, 100, 1000)
	for _, s := range append(ClosedForm(), SFDA{}, KNN{}, PACTran{}, PARC{}) {
		b.Run(s.Name(), func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Score(mustProbe(b, data)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
