package sweep

import (
	"math"
	"slices"
	"testing"

	"quicktune/metadataset"
)

func TestBudgetsAreRoundPartsOfADataSetsTime(t *testing.T) {
	curve := func(seconds ...float32) metadataset.InputCurve {
		return metadataset.InputCurve{Values: map[metadataset.Column][]float32{metadataset.Seconds: seconds}}
	}
	nan := float32(math.NaN())
	for _, c := range []struct {
		curves []metadataset.InputCurve
		want   []float64
	}{
		// 1,280 s on either of two data sets: a 64th is 20 s.
		{[]metadataset.InputCurve{curve(1000, nan, 280), curve(1280)}, []float64{20, 100, 500}},
		// 6.4 s each: .1, .4 and 1.6 s, to the nearest by ratio.
		{[]metadataset.InputCurve{curve(12.8)}, []float64{0.1, 0.5, 2}},
		{[]metadataset.InputCurve{curve(), curve(nan)}, nil},
		{nil, nil},
	} {
		got := budgets(c.curves, 2)
		if !slices.EqualFunc(got, c.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9*b }) {
			t.Errorf("budgets %v, want %v", got, c.want)
		}
	}
}
