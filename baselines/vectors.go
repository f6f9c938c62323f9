package baselines

import (
	"errors"
	"math"

	"quicktune/internal/nn"
	"quicktune/search"
	"quicktune/space"
)

var errNoSpace = errors.New("the method needs to know the search space of the candidates, and this pool has none")

// unitVectors encodes the candidates as rows of numbers in [0, 1]: the columns
// of [space.Encoding], each scaled from the smallest to the largest number that
// the pool has in it. What is equal in all candidates is 0. A number that does
// not apply to a candidate is the mean of those of the others.
func unitVectors(p search.Problem) (nn.Matrix, error) {
	if p.Space == nil {
		return nn.Matrix{}, errNoSpace
	}
	encoding, err := space.NewEncoding(p.Space, space.EncodingOptions{})
	if err != nil {
		return nn.Matrix{}, err
	}
	encoder, err := encoding.Fit(p.Candidates)
	if err != nil {
		return nn.Matrix{}, err
	}
	// Methods need not care about a space of constants.
	x := nn.NewMatrix(len(p.Candidates), max(encoding.Width(), 1))
	for i, c := range p.Candidates {
		encoder.Encode(x.Row(i)[:encoding.Width()], c)
	}
	for j := range x.Cols {
		lo, hi := math.Inf(1), math.Inf(-1)
		for i := range x.Rows {
			lo, hi = min(lo, x.Row(i)[j]), max(hi, x.Row(i)[j])
		}
		for i := range x.Rows {
			v := &x.Row(i)[j]
			*v -= lo
			if hi > lo {
				*v /= hi - lo
			}
		}
	}
	return x, nil
}
