package selection

import (
	"fmt"
	"math"
	"strings"
)

// Needs tells what a score asks of a probe beyond features and labels.
type Needs uint8

// What scores may need.
const (
	NeedsSource      Needs = 1 << iota // Data.Source
	NeedsGradients                     // Data.Gradients
	NeedsReference                     // Data.Reference
	NeedsSourceMeans                   // Data.SourceMeans and Data.SourceWeights
	NeedsModel                         // Data.Model
	NeedsPool                          // all models at once, see PoolScorer
)

var needNames = [...]string{
	"probabilities of the source classes", "gradients", "reference features",
	"means of the source classes", "the name of the model", "a pool of models",
}

// String names the needs.
func (n Needs) String() string {
	var names []string
	for i, name := range needNames {
		if n&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "nothing more"
	}
	return strings.Join(names, " and ")
}

// Scorer estimates how well a pretrained model would do after fine-tuning.
// Scorers are values without state: they may be copied and used by several
// goroutines.
type Scorer interface {
	// Name identifies the score and its variant, such as "lfc-centred".
	Name() string
	Needs() Needs
	// Score is higher for a better model. It returns an error where the score
	// is not defined for the probe, and never NaN or an infinity.
	Score(*Probe) (float64, error)
}

// PoolScorer is a scorer whose values depend on the whole pool of models.
type PoolScorer interface {
	Scorer
	// ScorePool returns one value a probe.
	ScorePool([]*Probe) ([]float64, error)
}

// ScorePool scores the probes of a pool of models on one data set.
func ScorePool(s Scorer, probes []*Probe) ([]float64, error) {
	if pool, ok := s.(PoolScorer); ok {
		return pool.ScorePool(probes)
	}
	out := make([]float64, len(probes))
	for i, p := range probes {
		v, err := s.Score(p)
		if err != nil {
			return nil, fmt.Errorf("model %q: %w", p.data.Model, err)
		}
		out[i] = v
	}
	return out, nil
}

// Available returns the scorers of list whose needs p meets. Pool scorers are
// among them if the rest of their needs is met.
func Available(list []Scorer, p *Probe) []Scorer {
	var out []Scorer
	for _, s := range list {
		if s.Needs()&^NeedsPool&^p.has() == 0 {
			out = append(out, s)
		}
	}
	return out
}

// ClosedForm lists the scores that are a formula of at most second moments of
// the features and of the source probabilities: those that cost no more than a
// decomposition of one Gram matrix.
func ClosedForm() []Scorer {
	return []Scorer{
		LFC{}, LFC{Variant: Centred}, LFC{Variant: OffDiagonal}, LFC{Variant: CKA},
		Generalisation{}, LogME{}, HScore{}, RegularisedHScore{}, TransRate{}, GBC{},
		Sparsity{}, Peaks{}, LEEP{}, NCE{},
	}
}

// All lists every score of the package but StaticPrior, which needs accuracies
// of other data sets, in the variants whose names appear in reports.
func All() []Scorer {
	return append(ClosedForm(),
		LFC{Variant: Cosine}, LGC{}, LGC{Kernel: SummedKernel}, LogME{Rule: ICML}, GBC{Shape: Diagonal},
		SFDA{}, PARC{}, NLEEP{}, PACTran{}, PACTran{Prior: Gamma}, FeatureMetrics{}, DomainSimilarity{},
		RSA{}, KNN{}, Logistic{}, Random{},
	)
}

// has returns the needs that the probe meets.
func (p *Probe) has() Needs {
	var n Needs
	if p.data.Source != nil {
		n |= NeedsSource
	}
	if p.data.Gradients != nil {
		n |= NeedsGradients
	}
	if p.data.Reference != nil {
		n |= NeedsReference
	}
	if p.data.SourceMeans != nil {
		n |= NeedsSourceMeans
	}
	if p.data.Model != "" {
		n |= NeedsModel
	}
	return n
}

// check fails if the probe lacks what s needs.
func check(s Scorer, p *Probe) error {
	if missing := s.Needs() &^ p.has(); missing != 0 {
		return fmt.Errorf("selection: %s needs %s, which the probe lacks", s.Name(), missing)
	}
	return nil
}

// undefined says that a score does not exist for a probe.
func undefined(s Scorer, format string, args ...any) error {
	return fmt.Errorf("selection: %s is not defined: %s", s.Name(), fmt.Sprintf(format, args...))
}

// finite passes v on unless it is NaN or infinite.
func finite(s Scorer, v float64) (float64, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, undefined(s, "the formula gives %v", v)
	}
	return v, nil
}
