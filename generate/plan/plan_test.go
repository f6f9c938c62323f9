package plan

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"quicktune/generate/sweep/sweeptest"
	"quicktune/space"
)

func options() Options {
	return Options{
		Space: sweeptest.Space(), ModelParam: sweeptest.ModelParam, Models: sweeptest.Hub(),
		Mode: Stratified, Configs: 10, Epochs: 5, CurveCap: 3600, Seed: 1, Trainer: "fake", Clock: "measured",
		MetaFeatures: []string{"x"},
		Datasets: []Dataset{
			{Name: "one", Hash: "a", Train: 6, Validation: 2, Test: 2, Classes: 2, Width: 32, Channels: 3, MetaFeatures: []float64{0.5}},
			{Name: "two", Path: "/data/two.zip", Hash: "b", Train: 12, Validation: 4, Test: 4, Classes: 3, Width: 64, Channels: 1, MetaFeatures: []float64{1}, Warnings: []string{"w"}},
		},
	}
}

func made(t testing.TB, o Options) *Plan {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPlanSurvivesItsFile(t *testing.T) {
	p := made(t, options())
	path := filepath.Join(t.TempDir(), "plan.jsonl")
	if err := p.Write(path); err != nil {
		t.Fatal(err)
	}
	q, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if q.Hash != p.Hash {
		t.Errorf("hash %s became %s", p.Hash, q.Hash)
	}
	if d := cmp.Diff(p.Trials, q.Trials, cmp.Comparer(func(a, b space.Value) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(p.Hub(), q.Hub(), cmpopts.EquateNaNs()); d != "" {
		t.Error(d)
	}
	if d, ok := q.Dataset("two"); !ok || d.Path != "/data/two.zip" || d.Train != 12 {
		t.Errorf("%+v", d)
	}
}

// The plan of a seed is part of every published sweep.
func TestPlansNeverChange(t *testing.T) {
	p := made(t, options())
	first := p.Trials[0]
	got := fmt.Sprintf("%s %s %d %.16s", first.ID, p.Space.Format(must(p.Space.ConfigFromMap(first.Config))), first.Seed, p.Hash)
	const want = "one-0000 model=small, lr=0.001, opt=sgd, drop=0 15680260936698926932 031700623a445d73"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func must(c space.Config, err error) space.Config {
	if err != nil {
		panic(err)
	}
	return c
}

func TestStratifiedPlansTreatModelsAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := options()
		o.Configs = rapid.IntRange(1, 30).Draw(t, "configs")
		o.Seed = rapid.Uint64().Draw(t, "seed")
		p, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		count := make(map[string]int)
		for _, trial := range p.Trials {
			count[trial.Dataset+" "+trial.Model]++
		}
		for _, d := range o.Datasets {
			for _, m := range o.Models {
				n := count[d.Name+" "+m.Name]
				if n < o.Configs/3 || n > (o.Configs+2)/3 {
					t.Fatalf("%s has %d of %d configurations on %s", m.Name, n, o.Configs, d.Name)
				}
			}
		}
	})
}

// More configurations, or other data sets beside it, leave a data set's first
// trials as they are.
func TestALargerPlanBeginsWithTheSmaller(t *testing.T) {
	for _, mode := range []Mode{Uniform, Stratified} {
		o := options()
		o.Mode = mode
		small := made(t, o)
		o.Configs = 20
		o.Datasets = o.Datasets[1:]
		large := made(t, o)
		if d := cmp.Diff(small.Trials[10:], large.Trials[:10], cmp.Comparer(func(a, b space.Value) bool { return a == b })); d != "" {
			t.Errorf("%s: %s", mode, d)
		}
	}
}

func TestConfigurationsOfADatasetDiffer(t *testing.T) {
	for _, mode := range []Mode{Uniform, Stratified} {
		o := options()
		o.Mode, o.Configs = mode, 90 // of 108
		p := made(t, o)
		seen := make(map[string]bool)
		for _, trial := range p.Trials {
			key := trial.Dataset + p.Space.Format(must(p.Space.ConfigFromMap(trial.Config)))
			if seen[key] {
				t.Errorf("%s: %s twice", mode, key)
			}
			seen[key] = true
		}
		if o.Seed++; made(t, o).Hash == p.Hash {
			t.Errorf("%s: another seed gives the same plan", mode)
		}
	}
}

func TestWholeTakesEveryConfigurationOnce(t *testing.T) {
	o := options()
	o.Mode = Whole
	if n := len(made(t, o).Trials); n != 2*108 {
		t.Errorf("%d trials, want 2 x 108", n) // 3 models · 4 rates · (1 + 2) · 3
	}
	o.Only = map[string][]space.Value{
		"model": {space.String("small")}, "lr": {space.Int(0), space.Float(0.1)}, "opt": {space.String("sgd")},
	}
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), `"lr" cannot be 0: use one of`) {
		t.Errorf("error %v", err)
	}
	o.Only["lr"] = []space.Value{space.String("0.1"), space.Float(0.1)}
	p := made(t, o)
	if len(p.Trials) != 2*3 {
		t.Errorf("%d trials, want 2 x 3", len(p.Trials))
	}
	for _, trial := range p.Trials {
		if trial.Model != "small" || trial.Config["lr"] != space.Float(0.1) || trial.Config["momentum"] != space.Inactive {
			t.Errorf("%v", trial.Config)
		}
	}
}

// A narrowed hyperparameter takes all of the values that are left and no other.
func TestNarrowedPlansKeepToTheirValues(t *testing.T) {
	o := options()
	o.Configs = 30
	o.Only = map[string][]space.Value{"lr": {space.Float(1e-2), space.Float(0.1)}, "model": {space.String("large"), space.String("small")}}
	count := make(map[string]int)
	for _, trial := range made(t, o).Trials {
		count[trial.Model]++
		count[trial.Config["lr"].String()]++
	}
	if count["large"] != 30 || count["small"] != 30 || count["0.01"]+count["0.1"] != 60 || count["0.01"] == 0 || count["0.1"] == 0 {
		t.Errorf("%v", count)
	}
}

func TestRangesAreDrawnWithinTheirBounds(t *testing.T) {
	s, err := space.New("ranges", []space.Hyperparameter{
		{Name: "model", Type: space.Constant, Choices: []space.Value{space.String("m")}},
		{Name: "lr", Type: space.Real, Lower: 1e-5, Upper: 0.1, Log: true},
		{Name: "layers", Type: space.Integer, Lower: 1, Upper: 9},
		{Name: "batch", Type: space.Integer, Lower: 2, Upper: 512, Log: true},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Space, o.Configs, o.Mode = s, 200, Uniform
	small := 0
	for _, trial := range made(t, o).Trials {
		if _, err := s.ConfigFromMap(trial.Config); err != nil {
			t.Fatal(err)
		}
		if trial.Config["lr"].Num() < 1e-3 {
			small++
		}
	}
	if small < 160 || small > 240 {
		t.Errorf("%d of 400 rates below the middle of a logarithmic range", small)
	}
	o.Mode = Whole
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "is a range") {
		t.Errorf("error %v", err)
	}
	o.Only = map[string][]space.Value{"lr": {space.Float(1e-3)}, "layers": {space.Int(1), space.Int(2)}, "batch": {space.Float(8)}}
	if n := len(made(t, o).Trials); n != 4 {
		t.Errorf("%d trials, want 2 x 2", n)
	}
	o.Only["layers"] = []space.Value{space.Float(1.5)}
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "from 1 to 9") {
		t.Errorf("error %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"no search space":                     func(o *Options) { o.Space = nil },
		"no hyperparameter \"nothing\"":       func(o *Options) { o.ModelParam = "nothing" },
		"unknown mode":                        func(o *Options) { o.Mode = "all" },
		"0 configurations":                    func(o *Options) { o.Configs = 0 },
		"0 epochs":                            func(o *Options) { o.Epochs = 0 },
		"is no time":                          func(o *Options) { o.CurveCap = -1 },
		"no data set":                         func(o *Options) { o.Datasets = nil },
		"two data sets are called \"one\"":    func(o *Options) { o.Datasets[1].Name = "one" },
		"is no name for a data set":           func(o *Options) { o.Datasets[1].Name = "a/b" },
		"no hyperparameter \"x\"":             func(o *Options) { o.Only = map[string][]space.Value{"x": {space.Int(1)}} },
		"narrowed to no value":                func(o *Options) { o.Only = map[string][]space.Value{"lr": nil} },
		"no configuration left to draw after": func(o *Options) { o.Configs = 109 },
	} {
		o := options()
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestDamagedFilesAreRefused(t *testing.T) {
	p := made(t, options())
	data, err := p.encode()
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	for want, bad := range map[string][]byte{
		"no header":                       nil,
		"line 1: ":                        []byte("{\n"),
		"format \"\"":                     []byte("{}\n"),
		"19 trials, the header promises":  bytes.Join(lines[:20], nil),
		"has no name of its own":          append(bytes.Clone(data), lines[1]...),
		"line 2: invalid character":       bytes.Replace(data, []byte(`{"id":"one-0000"`), []byte(`{id`), 1),
		"unknown data set \"three\"":      bytes.Replace(data, []byte(`"dataset":"one"`), []byte(`"dataset":"three"`), 1),
		"the model is":                    bytes.Replace(data, []byte(`"dataset":"one","model":"`), []byte(`"dataset":"one","model":"x`), 1),
		"has no hyperparameter \"lrate\"": bytes.Replace(data, []byte(`"lr":`), []byte(`"lrate":`), 1),
		"out of range":                    bytes.Replace(data, []byte(`"epochs":5`), []byte(`"epochs":0`), 1),
	} {
		if _, err := Parse(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "nothing")); !os.IsNotExist(err) {
		t.Errorf("error %v", err)
	}
}

func TestEstimate(t *testing.T) {
	o := options()
	o.Only = map[string][]space.Value{"model": {space.String("small"), space.String("large")}}
	o.CurveCap = 10
	p := made(t, o)
	each := func(t Trial) float64 { return map[string]float64{"small": 1, "large": 4}[t.Model] }
	c := p.Estimate(each, nil)
	// 10 small trials of 5 epochs, 10 large ones of 2: the third would end at 12 s.
	if c.Trials != 20 || c.Epochs != 10*5+10*2 || c.Seconds != 10*5+10*8 || c.Capped != 10 || c.Models["large"] != 80 || c.Datasets["one"] != 65 {
		t.Errorf("%+v", c)
	}
	c = p.Estimate(each, func(id string) (int, bool) { return 1, strings.HasPrefix(id, "two") })
	if c.Trials != 10 || c.Epochs != 5*4+5*1 || c.Seconds != 5*4+5*4 {
		t.Errorf("%+v", c)
	}
}

func TestEpochsWithinACap(t *testing.T) {
	h := Header{Epochs: 50, CurveCap: 10}
	for seconds, want := range map[float64]int{1: 9, 3: 3, 5: 1, 20: 1, 0.1: 50, 0: 50} {
		if got := h.EpochsWithin(seconds); got != want {
			t.Errorf("epochs of %g s: %d, want %d", seconds, got, want)
		}
	}
	h.CurveCap = 0
	if got := h.EpochsWithin(1e9); got != 50 {
		t.Errorf("%d epochs without a cap", got)
	}
}

func FuzzParse(f *testing.F) {
	o := options()
	o.Configs = 2
	p, err := New(o)
	if err != nil {
		f.Fatal(err)
	}
	data, err := p.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		again, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(again); err != nil {
			t.Errorf("a plan that was read cannot be read again: %v", err)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	o := options()
	o.Configs = 90
	for b.Loop() {
		made(b, o)
	}
	b.ReportMetric(180, "trials")
}
