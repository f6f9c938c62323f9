package selection

import "quicktune/selection/evaluate"

// RSA is the Spearman correlation, over pairs of images, between the
// dissimilarities 1 - correlation of the model's features and those of a small
// network trained on the target: Dwivedi and Roig, "Representation Similarity
// Analysis for Efficient Task Taxonomy & Transfer Learning", CVPR 2019, in the
// form of Deshpande et al., arXiv:2102.00084.
type RSA struct{}

// Name returns "rsa".
func (RSA) Name() string { return "rsa" }

// Needs returns NeedsReference.
func (RSA) Needs() Needs { return NeedsReference }

// Score returns a number in [-1, 1].
func (s RSA) Score(p *Probe) (float64, error) {
	if err := check(s, p); err != nil {
		return 0, err
	}
	own, err := pairDissimilarities(p.data.Features, p.n, p.data.Dim)
	if err != nil {
		return 0, undefined(s, "%v", err)
	}
	reference, err := pairDissimilarities(p.data.Reference, p.n, p.data.ReferenceDim)
	if err != nil {
		return 0, undefined(s, "reference: %v", err)
	}
	r, err := evaluate.Spearman(own, reference)
	if err != nil {
		return 0, undefined(s, "%v", err)
	}
	return r, nil
}

// pairDissimilarities returns 1 - the correlation of each pair of rows, whose
// columns are standardised.
func pairDissimilarities(x []float64, n, d int) ([]float64, error) {
	r, err := rowCorrelations(x, n, d)
	if err != nil {
		return nil, err
	}
	out := make([]float64, 0, n*(n-1)/2)
	for i := range n {
		for _, v := range r[i*n : i*n+i] {
			out = append(out, 1-v)
		}
	}
	return out, nil
}
