package selection

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// oracleCase is a probe of testdata/oracle.json with the values that
// scripts/oracles/selection.py found by other routes.
type oracleCase struct {
	Name                     string
	N, D, Classes, Dependent int
	Seed                     uint64
	Values                   map[string]float64
}

// data draws the probe as the script does.
func (c oracleCase) data() Data {
	state := c.Seed
	uniform := func() float64 {
		state = state*6364136223846793005 + 1442695040888963407
		return float64(state>>11) / (1 << 53)
	}
	d := Data{Model: c.Name, Dim: c.D, Features: make([]float64, c.N*c.D), Labels: make([]int, c.N)}
	free := c.D - c.Dependent
	for i := range c.N {
		d.Labels[i] = i % c.Classes
		row := d.Features[i*c.D : (i+1)*c.D]
		for j := range free {
			v := uniform() + uniform() + uniform() - 1
			if j%c.Classes == d.Labels[i] {
				v += 0.4
			}
			row[j] = max(0, v)
		}
		for k := range c.Dependent {
			row[free+k] = row[k%free] + row[(k+1)%free]
		}
		for _, v := range row[:4] {
			d.Reference = append(d.Reference, v*v)
		}
		d.Reference = append(d.Reference, float64(d.Labels[i]))
	}
	d.ReferenceDim = 5
	d.SourceMeans, d.SourceWeights = append([]float64(nil), d.Features[:3*c.D]...), []float64{1, 2, 3}
	return d
}

func oracleCases(t testing.TB) []oracleCase {
	t.Helper()
	raw, err := os.ReadFile("testdata/oracle.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []oracleCase
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

func TestScoresEqualTheLongWay(t *testing.T) {
	scorers := map[string]Scorer{
		"lfc": LFC{}, "lfc-centred": LFC{Variant: Centred}, "lfc-offdiag": LFC{Variant: OffDiagonal}, "lfc-cosine": LFC{Variant: Cosine},
		"cka": LFC{Variant: CKA}, "logme": LogME{}, "h-score": HScore{}, "h-score-regularised": RegularisedHScore{},
		"transrate": TransRate{}, "gbc": GBC{Components: 3}, "gbc-diagonal": GBC{Components: 3, Shape: Diagonal},
		"parc": PARC{Components: 4}, "parc-all": PARC{Components: -1}, "generalisation": Generalisation{},
		"knn-1": KNN{}, "knn-5": KNN{K: 5}, "domain-similarity": DomainSimilarity{MinImages: 1}, "rsa": RSA{}, "sfda": SFDA{},
	}
	for _, c := range oracleCases(t) {
		p := mustProbe(t, c.data())
		if len(c.Values) != len(scorers) {
			t.Errorf("%s: %d values for %d scorers", c.Name, len(c.Values), len(scorers))
		}
		for name, want := range c.Values {
			got, err := scorers[name].Score(p)
			// Both routes lose digits where the within-class covariance or the
			// kernel is nearly singular.
			tolerance := 1e-9
			if name == "sfda" || name == "h-score" {
				tolerance = 1e-6
			}
			if err != nil || math.Abs(got-want) > tolerance*max(1, math.Abs(want)) {
				t.Errorf("%s, %s: got %v (%v), want %v, off by %.1e", c.Name, name, got, err, want, got-want)
			}
		}
	}
}
