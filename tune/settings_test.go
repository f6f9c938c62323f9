package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"quicktune/generate/trainer"
	"quicktune/metadataset"
	"quicktune/tune/report"
	"quicktune/tune/session"
)

// found runs a small search with the shipped forecasts, the same everywhere, and
// returns its directory.
func found(t *testing.T, data string, more ...string) (out, stderr string) {
	t.Helper()
	out = filepath.Join(t.TempDir(), "run")
	args := append([]string{"--data", data, "--out", out, "--clock", "counted", "--budget", "300ms", "--models", "mixer_xs,separable_xs", "--candidates", "24"}, more...)
	_, stderr, err := tune(t, args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, stderr)
	}
	return out, stderr
}

func history(t *testing.T, dir string) []report.Row {
	t.Helper()
	rows, err := parquet.ReadFile[report.Row](filepath.Join(dir, report.HistoryFile))
	must(t, err)
	return rows
}

func plan(t *testing.T, dir string) session.Plan {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, session.RunFile))
	must(t, err)
	var p session.Plan
	must(t, json.Unmarshal(data, &p))
	return p
}

func TestOnlyTheNamedNetworksAreTried(t *testing.T) {
	out, _ := found(t, folder(t, 20, "a", "b"))
	models := make(map[string]bool)
	for _, r := range history(t, out) {
		models[r.Model] = true
	}
	if len(models) == 0 || !models["mixer_xs"] && !models["separable_xs"] || len(models) > 2 {
		t.Errorf("networks %v", models)
	}
	for _, n := range plan(t, out).Networks {
		if n.Name != "mixer_xs" && n.Name != "separable_xs" {
			t.Errorf("the first look was at %s too", n.Name)
		}
	}
}

func TestAPredictorOfYourOwnIsUsed(t *testing.T) {
	data := folder(t, 20, "a", "b")
	shipped, _ := found(t, data)
	own := filepath.Join(t.TempDir(), "my forecasts.zip")
	bytes, err := os.ReadFile(filepath.Join("..", "results", "predictors", "embedded.zip"))
	must(t, err)
	must(t, os.WriteFile(own, bytes, 0o666))
	out, _ := found(t, data, "--predictor", own)
	p, q := plan(t, out), plan(t, shipped)
	if p.Learnt.From != own || p.Learnt.Hash != q.Learnt.Hash || !reflect.DeepEqual(history(t, out), history(t, shipped)) {
		t.Errorf("the same forecasts in a file of one's own make another search: %+v and %+v", p.Learnt, q.Learnt)
	}
}

// someData writes a part of the shipped meta-dataset: its first data sets.
func someData(t *testing.T, n int) string {
	t.Helper()
	s, err := metadataset.Open(filepath.Join("..", "results", "embedded"))
	must(t, err)
	m := s.Manifest
	in := metadataset.Input{
		Space: s.Space, Metric: m.Metric, MaxEpochs: m.MaxEpochs, ModelParam: m.ModelParam, TimeUnit: m.TimeUnit, CurveCap: m.CurveCap,
		MetaFeatures: m.MetaFeatures, Generator: "a part of " + m.Generator, Datasets: s.Datasets[:n], Models: s.Models,
	}
	for d := range n {
		for c := range s.Curves(d) {
			in.Curves = append(in.Curves, metadataset.InputCurve{
				ID: s.IDs[c], Dataset: s.Datasets[d].Name, Config: s.Config(c), End: s.Ends[c],
				Values: map[metadataset.Column][]float32{metadataset.ValAccuracy: s.Score(c), metadataset.Seconds: s.Seconds(c)},
			})
		}
	}
	dir := filepath.Join(t.TempDir(), "meta")
	must(t, metadataset.Write(dir, in))
	return dir
}

func TestAMetaDatasetOfYourOwnIsLearntFromFirst(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // what was learnt is kept there
	meta, data := someData(t, 3), folder(t, 20, "a", "b")
	out, stderr := found(t, data, "--meta", meta)
	p := plan(t, out)
	if !strings.Contains(stderr, "learning from other data sets") || p.Learnt.From != meta || len(p.Learnt.Datasets) != 3 {
		t.Errorf("learnt %+v\n%s", p.Learnt, stderr)
	}
	before := history(t, out)
	if _, _, err := tune(t, "--resume", out); err != nil || !reflect.DeepEqual(before, history(t, out)) {
		t.Errorf("resumed: %v", err)
	}
	// Other methods learn from it too.
	for _, method := range []string{session.Default, session.Single} {
		out, _ := found(t, data, "--meta", meta, "--method", method, "--models", "")
		if p := plan(t, out); p.Learnt.From != meta || len(history(t, out)) == 0 {
			t.Errorf("%s: %+v", method, p.Learnt)
		}
	}
}

func TestASpaceOfYourOwnIsSearched(t *testing.T) {
	file := filepath.Join(t.TempDir(), "my space.json")
	must(t, os.WriteFile(file, []byte(`{"format":"quicktune-space","version":1,"name":"mine","hyperparameters":[
		{"name":"model","type":"categorical","choices":["plain_xs","mixer_xs"]},
		{"name":"lr","type":"real","lower":0.0005,"upper":0.005,"log":true},
		{"name":"batch_size","type":"ordinal","choices":[16,32]}],"conditions":[]}`), 0o666))
	out, _ := found(t, folder(t, 20, "a", "b"), "--space", file, "--method", "asha", "--models", "plain_xs", "--candidates", "12")
	for _, r := range history(t, out) {
		var config map[string]any
		must(t, json.Unmarshal([]byte(r.Config), &config))
		lr, _ := config["lr"].(float64)
		if len(config) != 3 || r.Model != "plain_xs" || lr < 0.0005 || lr > 0.005 {
			t.Errorf("trial %d: %s", r.Trial, r.Config)
		}
	}
}

func TestTheFirstLookAndTheTimeFilterCanBeSwitchedOff(t *testing.T) {
	// An epoch of the whole of vit_l takes most of the budget.
	data := folder(t, 200, "a", "b", "c", "d")
	with := func(more ...string) session.Plan {
		out, _ := found(t, data, append([]string{"--method", "asha", "--models", "vit_l", "--candidates", "40", "--budget", "1500ms"}, more...)...)
		return plan(t, out)
	}
	all := with()
	if len(all.Skipped) == 0 || !slices.ContainsFunc(all.Networks, func(n session.Network) bool { return n.Score != nil }) {
		t.Errorf("skipped %v, networks %v", all.Skipped, all.Networks)
	}
	if p := with("--time-filter=false"); len(p.Skipped) != 0 || len(p.Candidates) != 40 || len(p.Networks) == 0 {
		t.Errorf("without the filter: skipped %v, %d candidates, %d before", p.Skipped, len(p.Candidates), len(all.Candidates))
	}
	if p := with("--time-filter=false", "--scores=false"); len(p.Networks) != 0 || len(p.Skipped) != 0 {
		t.Errorf("without a look: %+v, %v", p.Networks, p.Skipped)
	}
}

// Scores decide which networks come first.
func TestScoresOrderTheFirstTrials(t *testing.T) {
	data := folder(t, 30, "a", "b", "c", "d")
	first := func(more ...string) []int32 {
		out, _ := found(t, data, append([]string{"--budget", "1400ms", "--candidates", "96",
			"--models", "plain_xs,plain_s,residual_xs,residual_s,separable_xs,separable_s,mixer_xs,mixer_s,convmixer_xs,convmixer_s,vit_xs,vit_s"}, more...)...)
		var list []int32
		for _, r := range history(t, out) {
			if !slices.Contains(list, r.Candidate) {
				list = append(list, r.Candidate)
			}
		}
		return list
	}
	with, without := first(), first("--scores=false")
	if slices.Equal(with, without) {
		t.Errorf("with and without scores the candidates are %v", with)
	}
}

// What somebody would begin with is open to every method.
func TestMethodsWithoutForecastsMayTryTheDefaultSettings(t *testing.T) {
	data := folder(t, 20, "a", "b")
	for _, n := range []int{4, 40} {
		out, _ := found(t, data, "--method", "random", "--candidates", strconv.Itoa(n), "--time-filter=false")
		p := plan(t, out)
		usual := make(map[string]int) // candidates of each network with settings around the default
		for _, c := range p.Candidates {
			if c["opt"].String() == "adamw" && c["smoothing"].Num() == 0.1 && c["weight_decay"].Num() == 0.01 && c["batch_size"].Num() == 32 &&
				c["mixup"].Num() == 0 && c["warmup_epochs"].Num() == 0 {
				usual[c["model"].String()]++
			}
		}
		want := min(n/4, 12) // of each of two networks: half of the candidates, and no more than there are
		if len(p.Candidates) != n || usual["mixer_xs"] < want || usual["separable_xs"] < want || usual["mixer_xs"]+usual["separable_xs"] > n/2+2 {
			t.Errorf("%d candidates for %d, around the default settings: %v", len(p.Candidates), n, usual)
		}
	}
}

// The usual settings are tried only as far as the space allows them.
func TestAllCandidatesLieInTheSpaceOfTheUser(t *testing.T) {
	s, err := trainer.Space(50)
	must(t, err)
	data, err := s.MarshalJSON()
	must(t, err)
	var text map[string]any
	must(t, json.Unmarshal(data, &text))
	for _, p := range text["hyperparameters"].([]any) {
		if h := p.(map[string]any); h["name"] == "lr" {
			h["choices"] = []any{0.005}
		}
	}
	data, err = json.Marshal(text)
	must(t, err)
	file := filepath.Join(t.TempDir(), "space.json")
	must(t, os.WriteFile(file, data, 0o666))
	out, _ := found(t, folder(t, 20, "a", "b"), "--space", file)
	for _, c := range plan(t, out).Candidates {
		if lr := c["lr"]; !lr.IsInactive() && lr.Num() != 0.005 {
			t.Fatalf("a candidate has the learning rate %v", lr)
		}
	}
}
