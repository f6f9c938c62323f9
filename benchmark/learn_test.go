package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quicktune/internal/cli"
	"quicktune/predictor"
	"quicktune/predictor/forecast"
)

// brief makes the published method fast enough for a test.
var brief = []string{
	"--set", "quicktune-reference.iterations=100", "--set", "quicktune-reference.exact-rows=5", "--set", "quicktune-reference.max-rows=20",
	"--set", "quicktune-reference.restart-steps=3", "--set", "quicktune-reference.refine-steps=1",
}

func args(words string, more ...string) []string { return append(strings.Fields(words), more...) }

// learnt is what the tests read of what methods learnt.
type learnt struct {
	Methods []struct {
		Name, Details string
		Regrets       map[string]float64 `json:"dataset_regret"`
		Spent         struct{ Trials, Epochs float64 }
	} `json:"methods"`
	Learning []struct {
		Method     string   `json:"method"`
		Test       []string `json:"test"`
		Train      []string `json:"train"`
		Validation []string `json:"validation"`
		Key        string   `json:"cache_key"`
		Seconds    float64  `json:"seconds"`
	} `json:"learning"`
	TraceHash string `json:"trace_hash"`
}

func readLearnt(t *testing.T, text string) learnt {
	t.Helper()
	var l learnt
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestMethodsLearnByThemselvesAndSaySo(t *testing.T) {
	tmp := t.TempDir()
	store, out := smallStore(t, filepath.Join(tmp, "store")), filepath.Join(tmp, "out")
	line := args("--data "+store+" --methods quicktune-reference,random --budget 1h --seeds 2 --json --cache "+filepath.Join(tmp, "cache")+" --out "+out, brief...)
	first := readLearnt(t, mustRun(t, line...))
	if len(first.Learning) != 3 {
		t.Fatalf("%d rounds are reported, want 3", len(first.Learning))
	}
	for _, l := range first.Learning {
		known := slices.Concat(l.Train, l.Validation)
		if len(l.Test) != 1 || slices.Contains(known, l.Test[0]) || len(known) != 2 || len(l.Key) != 32 || !(l.Seconds > 0) {
			t.Errorf("%+v", l)
		}
	}
	for _, name := range []string{"manifest.json", "report.md", "report.json"} {
		data, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), first.Learning[0].Key) {
			t.Errorf("%s does not name what was learnt from", name)
		}
	}
	for _, m := range first.Methods {
		if strings.Contains(m.Details, "leave-one-out over data sets") == (m.Name == "random") {
			t.Errorf("%s: details %q", m.Name, m.Details)
		}
	}

	// The second time nothing is learnt, and all is as before.
	_, log, err := command(t, line...)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log, `"of them learnt before"=3`) {
		t.Errorf("logged\n%s", log)
	}
	again := readLearnt(t, mustRun(t, line...))
	if again.TraceHash != first.TraceHash || again.Learning[0].Seconds != first.Learning[0].Seconds {
		t.Error("learning a second time changed something")
	}

	// Other folds are other methods: no finished run is taken for one of theirs.
	other := readLearnt(t, mustRun(t, append(slices.Clone(line), "--hold-out", "DOG")...))
	if len(other.Learning) != 1 || !slices.Equal(other.Learning[0].Test, []string{"DOG"}) {
		t.Errorf("with one data set held out: %+v", other.Learning)
	}
}

func TestCompatReferenceIsThePublishedMethod(t *testing.T) {
	store := smallStore(t, filepath.Join(t.TempDir(), "store"))
	line := "--data " + store + " --budget 30m --seeds 1 --datasets DOG --json"
	a := readLearnt(t, mustRun(t, args(line+" --compat reference --methods quicktune", brief...)...))
	b := readLearnt(t, mustRun(t, args(line+" --methods quicktune-reference", brief...)...))
	if a.Methods[0].Name != referenceName || a.TraceHash != b.TraceHash {
		t.Errorf("--compat reference runs %s, with other traces: %v", a.Methods[0].Name, a.TraceHash != b.TraceHash)
	}
}

func TestAnInterruptedLearningSaysThatItGoesOn(t *testing.T) {
	tmp := t.TempDir()
	store, cache := smallStore(t, filepath.Join(tmp, "store")), filepath.Join(tmp, "cache")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	line := args("--data " + store + " --methods quicktune-reference --budget 1h --seeds 1 --cache " + cache)
	err := run(ctx, line, &strings.Builder{}, cancelling{cancel})
	if cli.ExitCode(err) != cli.ExitInterrupted || !strings.Contains(err.Error(), "the same command continues") {
		t.Fatalf("exit code %d: %v", cli.ExitCode(err), err)
	}
	states, err := filepath.Glob(filepath.Join(cache, "*", "*.state.*"))
	if err != nil || len(states) == 0 {
		t.Errorf("no state is kept (%v)", err)
	}
}

// cancelling interrupts at the first line of the log that tells of learning.
type cancelling struct{ cancel func() }

func (c cancelling) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "learning from other data sets") {
		c.cancel()
	}
	return len(p), nil
}

func TestModelFiles(t *testing.T) {
	tmp := t.TempDir()
	store, cache := smallStore(t, filepath.Join(tmp, "store")), filepath.Join(tmp, "cache")
	file := filepath.Join(tmp, "models", "no-dog.safetensors")
	train := "meta-train --method quicktune-reference --data " + store + " --out " + file + " --cache " + cache
	text := mustRun(t, args(train+" --hold-out DOG --iterations 100")...)
	for _, want := range []string{"trained on 1 data set: FLW", "on BCT", "written to " + file} {
		if !strings.Contains(text, want) {
			t.Errorf("meta-train printed\n%s\nwant %q in it", text, want)
		}
	}
	m, err := predictor.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if m.Info.DataHash == "" || m.Info.SpaceHash == "" || m.Info.Metric != "val_accuracy" || m.Info.Encoder == nil {
		t.Errorf("the header lacks something: %+v", m.Info)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, args(train+" --hold-out DOG --iterations 100")...)
	after, err := os.ReadFile(file)
	if err != nil || string(before) != string(after) {
		t.Errorf("the same training gives another file (%v)", err)
	}
	refuses(t, args(train+" --iterations 100"), "holds a model of other data or options; --replace")

	use := "--data " + store + " --methods quicktune-reference --budget 10m --seeds 1 --json --set quicktune-reference.restart-steps=3 --model " + file
	r := readLearnt(t, mustRun(t, args(use+" --datasets DOG")...))
	if len(r.Learning) != 0 || !strings.Contains(r.Methods[0].Details, "model=no-dog.safetensors ") {
		t.Errorf("with --model: %+v", r)
	}
	refuses(t, args(use), "was trained on BCT, FLW; test it on other data sets")
	refuses(t, args("--data "+store+" --methods random --datasets DOG --model "+file), "none of --methods random uses such a file")

	// A model that does not say what it was trained on is used with a warning.
	m.Info.Training = nil
	if err := m.Save(file); err != nil {
		t.Fatal(err)
	}
	if text := mustRun(t, args(use)...); !strings.Contains(text, "does not say what it was trained on") {
		t.Error("no warning of what the model was trained on")
	}

	mustRun(t, args(train+" --iterations 100 --replace")...)
	if m, err = predictor.Load(file); err != nil || len(m.Info.Training.Train) != 2 {
		t.Errorf("--replace: %v", err)
	}
	m.Info.SpaceHash = "another"
	if err := m.Save(file); err != nil {
		t.Fatal(err)
	}
	refuses(t, args(use), "trained on another search space")
}

func TestForecastFiles(t *testing.T) {
	tmp := t.TempDir()
	store, cache := smallStore(t, filepath.Join(tmp, "store")), filepath.Join(tmp, "cache")
	file := filepath.Join(tmp, "models", "no-dog.zip")
	train := "meta-train --data " + store + " --out " + file + " --cache " + cache
	if text := mustRun(t, args(train+" --hold-out DOG")...); !strings.Contains(text, "learnt from 2 data sets: BCT FLW\nwritten to "+file) {
		t.Errorf("meta-train printed\n%s", text)
	}
	m, err := forecast.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if m.Info.DataHash == "" || m.Info.Metric != "val_accuracy" || !slices.Equal(m.Info.Datasets, []string{"BCT", "FLW"}) {
		t.Errorf("the head lacks something: %+v", m.Info)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, args(train+" --hold-out DOG")...)
	after, err := os.ReadFile(file)
	if err != nil || string(before) != string(after) {
		t.Errorf("the same training gives another file (%v)", err)
	}
	refuses(t, args(train), "holds a model of other data or options; --replace")
	refuses(t, args(train+" --method quicktune-reference --hold-out DOG --iterations 100"), "holds a model of other data or options; --replace")
	refuses(t, args(train+" --iterations 100"), "--training and --iterations are settings of --method quicktune-reference")
	refuses(t, args(train+" --method smac"), "--method smac: want quicktune or quicktune-reference")

	// What was learnt beforehand acts as what is learnt in the comparison.
	use := "--data " + store + " --methods quicktune --budget 1h --seeds 1 --json --cache " + cache
	given := readLearnt(t, mustRun(t, args(use+" --datasets DOG --model "+file)...))
	if len(given.Learning) != 0 || !strings.Contains(given.Methods[0].Details, "model=no-dog.zip ") {
		t.Errorf("with --model: %+v", given)
	}
	learnt := readLearnt(t, mustRun(t, args(use+" --hold-out DOG")...))
	a, b := given.Methods[0], learnt.Methods[0]
	if len(learnt.Learning) != 1 || !(a.Spent.Epochs > 1) || a.Spent != b.Spent || a.Regrets["DOG"] != b.Regrets["DOG"] {
		t.Errorf("with --model and with --hold-out: %+v and %+v", a, b)
	}
	refuses(t, args(use+" --model "+file), "was trained on BCT, FLW; test it on other data sets")
	refuses(t, args("--data "+store+" --methods quicktune-reference --datasets DOG --model "+file), "none of --methods quicktune-reference uses such a file; quicktune does")
}

func TestAblation(t *testing.T) {
	tmp := t.TempDir()
	store, out := smallStore(t, filepath.Join(tmp, "store")), filepath.Join(tmp, "out")
	line := args("ablation --data " + store + " --budget 30m,1h --seeds 2 --hubs 1,3,24 --datasets DOG,FLW --set iterations=100 --set exact-rows=5 --set max-rows=20 --set restart-steps=3 --set refine-steps=1 --out " + out)
	var a ablation
	if err := json.Unmarshal([]byte(mustRun(t, append(line, "--json")...)), &a); err != nil {
		t.Fatal(err)
	}
	if len(a.Tables) != 3 || len(a.Tables[0].Rows) != 8 || len(a.Tables[1].Rows) != 3 || len(a.Tables[2].Rows) != 8 {
		t.Fatalf("%d tables", len(a.Tables))
	}
	var names []string
	for _, row := range a.Tables[0].Rows {
		names = append(names, row.Name)
		for _, c := range row.Regret {
			if !(c.Mean >= 0 && c.Mean <= 1.5) || len(row.Regret) != 2 {
				t.Errorf("%s: regrets %+v", row.Name, row.Regret)
			}
		}
	}
	if want := "+M +C +G,-M +C +G,+M -C +G,-M -C +G,+M +C -G,-M +C -G,+M -C -G,-M -C -G"; strings.Join(names, ",") != want {
		t.Errorf("forms %v", names)
	}
	// A hub of all models is the whole method.
	if whole, all := a.Tables[0].Rows[0], a.Tables[1].Rows[2]; whole.Regret[1].Mean != all.Regret[1].Mean || whole.Epochs != all.Epochs {
		t.Errorf("the whole method %+v, a hub of all models %+v", whole, all)
	}
	if one := a.Tables[1].Rows[0]; one.Hub != 1 || one.Trials >= a.Tables[0].Rows[0].Trials {
		t.Errorf("a hub of one model tries %v configurations, all models %v", one.Trials, a.Tables[0].Rows[0].Trials)
	}
	if a.Tables[0].TraceHash == a.Tables[2].TraceHash {
		t.Error("without linear probing the runs are the same")
	}

	// The same command takes the runs that are there, and prints tables.
	text, log, err := command(t, line...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Parts of the published method, without linear probing", "-M -C -G", "Size of the hub"} {
		if !strings.Contains(text, want) {
			t.Errorf("printed\n%s\nwant %q in it", text, want)
		}
	}
	if !strings.Contains(log, `"finished runs"=40 of=40`) {
		t.Errorf("logged\n%s", log)
	}
	page, err := os.ReadFile(filepath.Join(out, ablationText))
	if err != nil || !strings.Contains(string(page), "| +M +C +G | ") || !strings.Contains(string(page), "benchmark ablation --data") {
		t.Errorf("%s: %v\n%s", ablationText, err, page)
	}
	if md := mustRun(t, append(line, "--markdown")...); md != string(page) {
		t.Error("--markdown prints another page than the one that is kept")
	}
}
