package networks

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// Ranks add up to 1 + 2 + ... + n, whoever shares them, and a greater value never
// has a greater rank.
func TestRankProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 3), 1, 20).Draw(t, "values")
		for i := range values {
			values[i] = math.Floor(values[i] * 3) // make ties
		}
		rank := ranks(values)
		var sum float64
		for i, v := range rank {
			sum += v
			for j := range rank {
				if values[i] > values[j] && rank[i] >= rank[j] || values[i] == values[j] && rank[i] != rank[j] {
					t.Fatalf("values %v, ranks %v", values, rank)
				}
			}
		}
		if n := float64(len(values)); sum != n*(n+1)/2 {
			t.Fatalf("ranks %v add up to %g", rank, sum)
		}
	})
}
