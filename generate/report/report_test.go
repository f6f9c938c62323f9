package report

import (
	"bytes"
	"fmt"
	"image/png"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quicktune/metadataset"
	"quicktune/space"
)

// curve is one curve of a test: a network, a data set and its accuracies.
type curve struct {
	dataset, model string
	accuracy       []float32
}

func store(t testing.TB, models []metadataset.Model, curves []curve) *metadataset.Store {
	t.Helper()
	var choices []space.Value
	for _, m := range models {
		choices = append(choices, space.String(m.Name))
	}
	s, err := space.New("s", []space.Hyperparameter{{Name: "model", Type: space.Categorical, Choices: choices}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	in := metadataset.Input{
		Space: s, Metric: metadataset.Metric{Column: metadataset.ValAccuracy, Goal: metadataset.Maximize}, MaxEpochs: 10,
		ModelParam: "model", TimeUnit: metadataset.TimeEpochs, Models: models,
	}
	seen := make(map[string]bool)
	for i, c := range curves {
		if !seen[c.dataset] {
			seen[c.dataset] = true
			in.Datasets = append(in.Datasets, metadataset.Dataset{Name: c.dataset})
		}
		in.Curves = append(in.Curves, metadataset.InputCurve{
			ID: fmt.Sprintf("%03d", i), Dataset: c.dataset, Config: space.Config{space.String(c.model)}, End: metadataset.EndUnknown,
			Values: map[metadataset.Column][]float32{metadataset.ValAccuracy: c.accuracy},
		})
	}
	dir := filepath.Join(t.TempDir(), "store")
	if err := metadataset.Write(dir, in); err != nil {
		t.Fatal(err)
	}
	opened, err := metadataset.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

var threeModels = []metadataset.Model{
	{Name: "tiny", Params: 0.01, SourceAccuracy: 0.5, Pixels: 32, GMACs: 1},
	{Name: "fat", Params: 0.5, SourceAccuracy: 0.45, Pixels: 32, GMACs: 1},
	{Name: "big", Params: 0.4, SourceAccuracy: 0.8, Pixels: 32, GMACs: 1},
}

func example(t testing.TB) *metadataset.Store {
	return store(t, threeModels, []curve{
		{"A", "tiny", []float32{0.3, 0.6, 0.5}}, {"A", "tiny", []float32{0.1}}, {"A", "big", []float32{0.9}}, {"A", "fat", []float32{0.2, 0.6}},
		{"B", "tiny", []float32{0.7}}, {"B", "big", []float32{0.4, 0.5}},
		{"C", "tiny", []float32{0.8}}, {"C", "big", []float32{0.8}},
	})
}

// Worked out by hand: on A big wins and the others share ranks 2 and 3; on C two
// share the first rank.
func TestRanksOfASmallExample(t *testing.T) {
	r, err := New(example(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range r.Networks {
		got = append(got, fmt.Sprintf("%s %v mean %.2f wins %g front %v", n.Name, n.Rank, n.MeanRank, n.Wins, n.Front))
	}
	want := []string{
		"big [1 2 1.5] mean 1.50 wins 1.5 front true",
		"tiny [2.5 1 1.5] mean 1.67 wins 1.5 front true",
		"fat [2.5 NaN NaN] mean 2.50 wins 0 front false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r.Winners != 2 {
		t.Errorf("%d winners", r.Winners)
	}
	text := strings.Join(r.Summary(), " ")
	for _, part := range []string{"3 networks on 3 data sets", "2 networks are the best", "front of parameters and source accuracy: big, tiny."} {
		if !strings.Contains(text, part) {
			t.Errorf("summary %q, want %q", text, part)
		}
	}
}

func TestFiguresAndText(t *testing.T) {
	r, err := New(example(t))
	if err != nil {
		t.Fatal(err)
	}
	figures := r.Figures()
	if len(figures) != 2 || figures[0].Name != "ranks" || figures[1].Name != "pareto" {
		t.Fatalf("%d figures", len(figures))
	}
	for _, f := range figures {
		var one, two, pixels bytes.Buffer
		if err := f.SVG(&one); err != nil {
			t.Fatal(err)
		}
		if err := f.SVG(&two); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("%s: two drawings differ", f.Name)
		}
		for _, want := range []string{"tiny", "big", "fat", "<title>"} {
			if !strings.Contains(one.String(), want) {
				t.Errorf("%s: the SVG lacks %q", f.Name, want)
			}
		}
		if err := f.PNG(&pixels); err != nil {
			t.Fatal(err)
		}
		if _, err := png.Decode(&pixels); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	var b bytes.Buffer
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	if want := "| tiny | 10000 | 50.0 | 1.7 | 1.5 | 60.0 | 70.0 | 80.0 |\n| fat | 500000 | 45.0 | 2.5 | 0 | 60.0 | | |\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("the table ends otherwise than %q:\n%s", want, b.String())
	}
}

func TestWithoutSourceAccuraciesThereIsNoParetoPlot(t *testing.T) {
	nan := math.NaN()
	r, err := New(store(t, []metadataset.Model{{Name: "m", Params: nan, SourceAccuracy: nan, Pixels: nan, GMACs: nan}}, []curve{{"A", "m", []float32{0.5}}}))
	if err != nil {
		t.Fatal(err)
	}
	if f := r.Figures(); len(f) != 1 {
		t.Errorf("%d figures", len(f))
	}
	if _, err := New(store(t, threeModels, []curve{{"A", "big", nil}})); err == nil {
		t.Error("a meta-dataset without an epoch gives a report")
	}
}

func TestComparisonWithRandomWeights(t *testing.T) {
	tuned := example(t)
	scratch := store(t, threeModels, []curve{
		{"A", "tiny", []float32{0.3, 0.4, 0.5}}, {"A", "tiny", []float32{0.1}}, {"A", "big", []float32{0.5, 0.95}}, {"A", "fat", []float32{0.2}},
		{"B", "tiny", []float32{0.75}}, {"B", "big", nil},
	})
	r, err := New(tuned)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Compare(tuned, scratch); err != nil {
		t.Fatal(err)
	}
	// tiny on A .6 and .5; big on A .9 and .5, for only one epoch counts; fat on A
	// .2 and .2; tiny on B .7 and .75.
	c := r.Scratch
	if c.Pairs != 4 || c.Better != 2 || c.Equal != 1 || math.Abs(c.Gain-(0.1+0.4+0-0.05)/4) > 1e-6 || c.Epochs != 3+1+1+1+1 {
		t.Errorf("%+v", c)
	}
	if last := r.Summary()[3]; !strings.Contains(last, "in 2 of 4 pairs") || !strings.Contains(last, "(1 equal), by 11.2 points") {
		t.Errorf("summary %q", last)
	}
	if err := r.Compare(tuned, store(t, threeModels, []curve{{"Z", "big", []float32{0.1}}})); err == nil || !strings.Contains(err.Error(), "compare sweeps of one plan") {
		t.Errorf("error %v", err)
	}
	if err := r.Compare(tuned, store(t, threeModels, []curve{{"A", "big", []float32{0.1}}})); err == nil || !strings.Contains(err.Error(), "another configuration") {
		t.Errorf("error %v", err)
	}
}
