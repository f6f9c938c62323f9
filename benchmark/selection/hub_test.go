package selection

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quicktune/benchmark/stats"
	"quicktune/generate/images/builtin"
	"quicktune/internal/stream"
	"quicktune/internal/vision"
	"quicktune/metadataset"
	"quicktune/space"
)

// hubStore writes curves of all networks of the hub on data sets that come with
// the program: accuracy rises with quality and falls with a bad learning rate.
func hubStore(t *testing.T, specs []vision.Spec, datasets []string, quality func(d, m int) float64) string {
	t.Helper()
	var choices []space.Value
	var models []metadataset.Model
	for _, s := range specs {
		choices = append(choices, space.String(s.Name))
		models = append(models, metadataset.Model{Name: s.Name, Params: 0.1, SourceAccuracy: 0.5, Pixels: 32, GMACs: 0.01})
	}
	sp, err := space.New("test", []space.Hyperparameter{
		{Name: "model", Type: space.Categorical, Choices: choices},
		{Name: "lr", Type: space.Ordinal, Choices: []space.Value{space.Float(0.001), space.Float(0.01), space.Float(0.1)}, Log: true},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	in := metadataset.Input{
		Space: sp, Metric: metadataset.Metric{Column: metadataset.ValAccuracy, Goal: metadataset.Maximize},
		MaxEpochs: 2, ModelParam: "model", TimeUnit: metadataset.TimeSeconds, Models: models, Generator: "test",
	}
	for d, name := range datasets {
		set, err := builtin.Load(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		split, err := set.Split()
		if err != nil {
			t.Fatal(err)
		}
		in.Datasets = append(in.Datasets, metadataset.Dataset{Name: name, TrainSamples: split.Train.Len(), Classes: split.Classes, Pixels: 32, Channels: 3})
		rng := stream.New("test/hub", uint64(d))
		for m := range models {
			for lr := range 3 {
				c, err := sp.ConfigFromMap(map[string]space.Value{"model": choices[m], "lr": sp.Param(1).Choices[lr]})
				if err != nil {
					t.Fatal(err)
				}
				top := 1 / (1 + math.Exp(-quality(d, m)+float64(lr)+0.01*rng.NormFloat64()))
				in.Curves = append(in.Curves, metadataset.InputCurve{
					ID: fmt.Sprintf("%s-%d-%d", name, m, lr), Dataset: name, Config: c, End: metadataset.EndCompleted,
					Values: map[metadataset.Column][]float32{
						metadataset.ValAccuracy: {float32(top / 2), float32(top)}, metadataset.Seconds: {1, 1},
					},
				})
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "store")
	if err := metadataset.Write(dir, in); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAPerfectScoreOfAHubRanksPerfectly(t *testing.T) {
	// On every data set another order of the networks.
	quality := func(d, m int) float64 { return 2 * math.Sin(float64(7*d+1)*float64(m+1)) }
	datasets := []string{"loops", "relations", "symmetry"}
	s, err := metadataset.Open(hubStore(t, vision.Specs, datasets, quality))
	if err != nil {
		t.Fatal(err)
	}
	var scores []Score
	for d, name := range datasets {
		for m, model := range vision.Specs {
			v := quality(d, m)
			for _, setting := range settings {
				scores = append(scores, Score{Dataset: name, Model: model.Name, Setting: setting.name, Score: "lfc", Value: &v, Images: 10, ProbeSeconds: 0.5, Seconds: 0.25})
			}
		}
	}
	r, err := newHubReport(s, scores, stats.Bootstrap{Resamples: 100})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, table := range r.Tables {
		for _, row := range table.Rows {
			if row.Name != "lfc" {
				continue
			}
			seen++
			if row.Tau.Mean < 0.97 || *row.Selections > 1.5 {
				t.Errorf("%s, %s, %s: the true quality has tau_w %.3f and finds the best after %.2f", table.Truth, table.Pool, table.Setting, row.Tau.Mean, *row.Selections)
			}
			if table.Truth == "best found" && (row.Gain1 == nil || row.Gain1.Mean < 0 || *row.Regret1 > 0.5) {
				t.Errorf("%s, %s: gain %+v, regret %.2f", table.Pool, table.Setting, row.Gain1, *row.Regret1)
			}
		}
	}
	if want := 3 + 1 + 1 + 3 + 1; seen != want { // settings x truths of the whole hub, and two more pools
		t.Errorf("the score is in %d tables, want %d", seen, want)
	}
	for _, c := range r.Cost.Rows {
		if math.Abs(c.Passes-12) > 1e-9 || math.Abs(c.Scores-6) > 1e-9 || math.Abs(c.Relative-9) > 1e-9 || r.Cost.FineTune != 2 {
			t.Errorf("%s: %+v for a fine-tune of %v", c.Setting, c, r.Cost.FineTune)
		}
	}
	var svg bytes.Buffer
	if err := figureOf(r).SVG(&svg); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"static prior (mean deviation)", "prior + 0.5 lfc", "tau_w, all networks", "experts of one domain (16): static prior"} {
		if !strings.Contains(svg.String(), want) {
			t.Errorf("no %q in the figure", want)
		}
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"all networks, 24; probed on 25 a class", "static prior (mean deviation)", "prior + 0.5 lfc", "of one fine-tune"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

func TestTheAdjustedTruthForgivesBadHyperparameters(t *testing.T) {
	quality := func(d, m int) float64 { return float64(m%5) / 4 }
	s, err := metadataset.Open(hubStore(t, vision.Specs, []string{"loops", "relations", "symmetry"}, quality))
	if err != nil {
		t.Fatal(err)
	}
	_, adjusted, err := truths(s)
	if err != nil {
		t.Fatal(err)
	}
	for d, row := range adjusted.values {
		for m, v := range row {
			if want := quality(d, m) - quality(d, 0); math.Abs(v-row[0]-want) > 0.1 {
				t.Errorf("data set %d, model %d: %.2f above model 0, want %.2f", d, m, v-row[0], want)
			}
		}
	}
}

func TestScoresOfARealDataSetAreStoredAndGoOn(t *testing.T) {
	dir := hubStore(t, []vision.Spec{vision.Specs[8], vision.Specs[12]}, []string{"loops"}, func(int, int) float64 { return 0 })
	s, err := metadataset.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := flags{data: dir, parallel: 2}
	scores, err := probeAll(context.Background(), s, f, nil, discard)
	if err != nil {
		t.Fatal(err)
	}
	again, err := loadScores(f.scoresPath())
	if err != nil {
		t.Fatal(err)
	}
	if len(again) != len(scores) || len(again) < 2*3*25 {
		t.Fatalf("%d rows made, %d read", len(scores), len(again))
	}
	undefined := 0
	for i, v := range again {
		if v.Value == nil {
			undefined++
			continue
		}
		if *v.Value != *scores[i].Value || v.Model != scores[i].Model || v.Setting != scores[i].Setting || v.Score != scores[i].Score {
			t.Fatalf("row %d is %+v, was %+v", i, v, scores[i])
		}
	}
	if undefined > len(again)/50 {
		t.Errorf("%d of %d scores are not defined", undefined, len(again))
	}
	before := len(again)
	if again, err = probeAll(context.Background(), s, f, again, discard); err != nil || len(again) != before {
		t.Errorf("probing what is there gives %d rows after %d, %v", len(again), before, err)
	}
	// What compares with a trained network is added to files without it.
	byReference := func(v Score) bool { return v.Score == "rsa" }
	var values []float64
	for _, v := range again {
		if byReference(v) {
			if v.Setting != Headline || v.Value == nil || math.Abs(*v.Value) > 1 || v.Seconds <= 0 {
				t.Fatalf("%+v", v)
			}
			values = append(values, *v.Value)
		}
	}
	if len(values) != 2 || values[0] == values[1] {
		t.Fatalf("RSA of the two networks is %v", values)
	}
	again = slices.DeleteFunc(again, byReference)
	if again, err = probeAll(context.Background(), s, f, again, discard); err != nil || len(again) != before {
		t.Fatalf("%d rows, %v", len(again), err)
	}
	for i, v := range again[before-2:] {
		if !byReference(v) || *v.Value != values[i] {
			t.Errorf("added %+v, want RSA of %v", v, values[i])
		}
	}
}
