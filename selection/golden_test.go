package selection

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"strconv"
	"testing"

	"quicktune/internal/realdata"
)

func readJSON(t testing.TB, name string, out any) {
	t.Helper()
	data, err := os.ReadFile(realdata.Path(t, "selection", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, out); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// readMatrix reads numbers without a header, row-major, and their columns.
func readMatrix(t testing.TB, name string) (x []float64, columns int) {
	t.Helper()
	f, err := os.Open(realdata.Path(t, "selection", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, row := range rows {
		for _, cell := range row {
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			x = append(x, v)
		}
	}
	return x, len(rows[0])
}

// fixture reads a probe of the reference data.
func fixture(t testing.TB, name string) Data {
	t.Helper()
	d := Data{Model: name}
	d.Features, d.Dim = readMatrix(t, "fixtures/"+name+"_features.csv")
	d.Source, d.SourceClasses = readMatrix(t, "fixtures/"+name+"_source_probs.csv")
	labels, _ := readMatrix(t, "fixtures/"+name+"_labels.csv")
	for _, y := range labels {
		d.Labels = append(d.Labels, int(y))
	}
	return d
}

func mustProbe(t testing.TB, d Data) *Probe {
	t.Helper()
	p, err := NewProbe(d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The values are those of the public implementations (thuml/LogME, tllib, SFDA,
// Model-Spider, PARC, Google's stable transfer) run on five probes.
func TestScoresEqualThePublicImplementations(t *testing.T) {
	var expected map[string]struct {
		Scores map[string]any `json:"scores"`
	}
	readJSON(t, "fixtures/expected.json", &expected)
	if len(expected) != 5 {
		t.Fatalf("%d fixtures", len(expected))
	}
	cases := []struct {
		scorer    Scorer
		key       string
		tolerance float64
		sign      float64
		fixtures  string // first letters; empty means all
	}{
		{LFC{}, "lfc", 1e-10, 1, ""},
		{LFC{Variant: OffDiagonal}, "lfc_offdiag", 1e-10, 1, ""},
		{LFC{Variant: Cosine}, "lfc_cosine_kernel", 1e-10, 1, ""},
		{LFC{Variant: Centred}, "lfc_centred_features", 1e-10, 1, ""},
		{LFC{Variant: CKA}, "cka", 1e-10, 1, ""},
		{NCE{}, "nce", 1e-9, 1, ""},
		{LEEP{}, "leep", 1e-9, 1, ""},
		{LogME{}, "logme_corrected_fixed_point", 1e-9, 1, ""},
		{LogME{Rule: ICML}, "logme_icml", 1e-8, 1, "ACEF"},
		{LogME{Rule: FixedPoint}, "logme_fixed_point", 1e-8, 1, "ABCE"},
		{HScore{}, "h_score", 1e-6, 1, "ACE"},
		{RegularisedHScore{}, "regularized_h_score", 1e-8, 1, ""},
		{TransRate{}, "transrate", 1e-8, 1, ""},
		{GBC{Components: -1}, "gbc_spherical", 1e-9, 1, ""},
		{GBC{Components: -1, Shape: Diagonal}, "gbc_diagonal", 1e-9, 1, ""},
		// With 5 and 10 classes the public code ranks the rounding errors of
		// label correlations that are equal; see the test below.
		{PARC{Components: -1}, "parc_no_pca", 1e-8, 1, "BC"},
		{SFDA{}, "sfda", 1e-6, 1, "ACEF"},
		{KNN{}, "knn1_loo", 1e-12, 1, ""},
		// The public code returns the bound itself.
		{PACTran{}, "pactran_dirichlet_alpha1", 1e-8, -1, ""},
		{PACTran{Prior: Gamma}, "pactran_gamma_alpha1", 1e-8, -1, ""},
	}
	for name, want := range expected {
		p := mustProbe(t, fixture(t, name))
		for _, c := range cases {
			if c.fixtures != "" && !containsByte(c.fixtures, name[0]) {
				continue
			}
			value, ok := want.Scores[c.key].(float64)
			if !ok {
				t.Fatalf("%s: no value of %s", name, c.key)
			}
			got, err := c.scorer.Score(p)
			if err != nil || math.Abs(got-c.sign*value) > c.tolerance*max(1, math.Abs(value)) {
				t.Errorf("%s, %s: got %v (%v), want %v, off by %.1e", name, c.scorer.Name(), got, err, c.sign*value, got-c.sign*value)
			}
		}
		// The stopping rules differ, the evidence hardly does.
		corrected, err := LogME{}.Score(p)
		icml := want.Scores["logme_icml"].(float64)
		if err != nil || math.Abs(corrected-icml) > 1.3e-3 {
			t.Errorf("%s: corrected LogME %v (%v) is far from %v", name, corrected, err, icml)
		}
	}
}

// The public PARC computes the dissimilarity of one-hot labels by floating point
// and ranks what comes out, so that pairs of different classes, all equally far,
// are ordered by rounding: on another machine the same code gives another value
// (43.2072 and 43.2025 on the digits). These values are SciPy's with label
// dissimilarities rounded to nine digits.
func TestPARCTiesPairsThatAreEquallyFar(t *testing.T) {
	for name, want := range map[string]float64{
		"A_balanced": 37.95976487311633, "E_n200_d80": 21.406637153768944, "F_digits_mlp64": 42.703006457458144,
	} {
		got, err := PARC{Components: -1}.Score(mustProbe(t, fixture(t, name)))
		if err != nil || math.Abs(got-want) > 1e-8 {
			t.Errorf("%s: got %v (%v), want %v", name, got, err, want)
		}
	}
}

func containsByte(s string, b byte) bool {
	for i := range len(s) {
		if s[i] == b {
			return true
		}
	}
	return false
}

func TestGradientScoresOfASmallNetwork(t *testing.T) {
	var net struct {
		N, C     int
		Labels   []int
		Jacobian [][]float64 // row: image * outputs + output
		Trace    float64     `json:"lgc_trace_kernel"`
		Summed   float64     `json:"lgc_summed_output_kernel"`
	}
	readJSON(t, "fixtures/ntk_dynamics.json", &net)
	d := Data{Labels: net.Labels, Outputs: net.C, Weights: len(net.Jacobian[0]), Dim: 1, Features: make([]float64, net.N)}
	d.Features[0] = 1
	for _, row := range net.Jacobian {
		d.Gradients = append(d.Gradients, row...)
	}
	p := mustProbe(t, d)
	for kernel, want := range map[Kernel]float64{TraceKernel: net.Trace, SummedKernel: net.Summed} {
		got, err := LGC{kernel}.Score(p)
		if err != nil || math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: got %v (%v), want %v", LGC{kernel}.Name(), got, err, want)
		}
	}
}
