package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"

	"quicktune/benchmark/selection"
	"quicktune/internal/cli"
	"quicktune/internal/realdata"
	"quicktune/metadataset"
	"quicktune/metadataset/synthetic"
	scores "quicktune/selection"
	"quicktune/selection/probes"
)

// command runs the command line in-process and returns what it prints.
func command(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	err = run(t.Context(), args, &out, &log)
	return out.String(), log.String(), err
}

// mustRun is command for command lines that have to work.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, log, err := command(t, args...)
	if err != nil {
		t.Fatalf("benchmark %s: %v\n%s", strings.Join(args, " "), err, log)
	}
	return out
}

// smallStore writes synthetic curves of three data sets, of which two have the
// names that examples use.
func smallStore(t *testing.T, dir string) string {
	t.Helper()
	in := synthetic.Generate(synthetic.Options{Datasets: 3, Curves: 40})
	for d, name := range []string{"BCT", "DOG", "FLW"} {
		old := in.Datasets[d].Name
		in.Datasets[d].Name = name
		for c := range in.Curves {
			if in.Curves[c].Dataset == old {
				in.Curves[c].Dataset = name
			}
		}
	}
	if err := metadataset.Write(dir, in); err != nil {
		t.Fatal(err)
	}
	return dir
}

// realCurves finds the released Extended curves. Without them the test is
// skipped, or fails in CI.
func realCurves(t *testing.T) string {
	t.Helper()
	return realdata.Path(t, "quicktune", "extended")
}

// theRealStore is the store of the released curves, imported once for all tests.
var theRealStore struct {
	sync.Once
	dir string
	err error
}

func realStore(t *testing.T) string {
	t.Helper()
	from := realCurves(t)
	theRealStore.Do(func() {
		theRealStore.dir = filepath.Join(scratch, "extended")
		theRealStore.err = run(context.Background(), []string{"import", "--from", from, "--out", theRealStore.dir}, &bytes.Buffer{}, &bytes.Buffer{})
	})
	if theRealStore.err != nil {
		t.Fatal(theRealStore.err)
	}
	return theRealStore.dir
}

// scratch is a folder that lasts as long as the tests.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "quicktune-benchmark-")
	if err != nil {
		panic(err)
	}
	scratch = dir
	// What methods learn is kept away from the user's cache.
	os.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// result is what the tests read from --json and report.json.
type result struct {
	TraceHash string `json:"trace_hash"`
	Methods   []struct {
		Name    string `json:"name"`
		Budgets []struct {
			Label  string `json:"label"`
			Regret struct {
				Mean float64 `json:"mean"`
				N    int     `json:"n"`
			} `json:"regret"`
		} `json:"budgets"`
	} `json:"methods"`
}

func compare(t *testing.T, args ...string) result {
	t.Helper()
	var r result
	if err := json.Unmarshal([]byte(mustRun(t, append(args, "--json")...)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestImportOfTheReleasedCurves(t *testing.T) {
	from := realCurves(t)
	out := filepath.Join(t.TempDir(), "extended")
	text := mustRun(t, "import", "--from", from, "--out", out)
	if want := "20 data sets, 3,555 curves, 106,180 epochs, 12,616.6 hours (1,167 curves of a single epoch)"; !strings.Contains(text, want) {
		t.Errorf("import printed\n%s\nwant %q in it", text, want)
	}
	if text := mustRun(t, "verify", out); !strings.Contains(text, "no problem found") {
		t.Errorf("verify printed %q", text)
	}
}

// The expected regret of random search on the released curves is .598 / .409 /
// .226 at 1 / 4 / 16 h (mean of 3,000 seeds). 60 seeds have a standard error of
// about .01, so that .04 fails once in some 10,000 changes of the stream.
func TestRandomSearchOnTheReleasedCurves(t *testing.T) {
	r := compare(t, "--data", realStore(t), "--budget", "1h,4h,16h", "--methods", "random", "--seeds", "60")
	for i, want := range []float64{.598, .409, .226} {
		b := r.Methods[0].Budgets[i]
		if math.Abs(b.Regret.Mean-want) > .04 || b.Regret.N != 20 {
			t.Errorf("regret at %s: %.3f on %d data sets, want %.3f ± .04 on 20", b.Label, b.Regret.Mean, b.Regret.N, want)
		}
	}
}

func TestCompatTakesThePublishedMethodOnce(t *testing.T) {
	for list, want := range map[string]int{"quicktune,random": 2, "all": len(methodNames()) - 2} {
		methods, err := methodFlags{list: list, compat: compatReference}.choose(nil, nil)
		if err != nil {
			t.Errorf("%s: %v", list, err)
			continue
		}
		published := 0
		for _, m := range methods {
			if m.Name == referenceName {
				published++
			}
		}
		if len(methods) != want || published != 1 {
			t.Errorf("%s: %d methods, of which %d published, want %d and 1", list, len(methods), published, want)
		}
	}
}

// The best single curve that fits each budget gives the known bound.
func TestOracleOnTheReleasedCurves(t *testing.T) {
	r := compare(t, "--data", realStore(t), "--budget", "1h,4h,16h", "--methods", "oracle", "--seeds", "1")
	for i, want := range []float64{.040, .009, .000} {
		if got := r.Methods[0].Budgets[i].Regret.Mean; math.Abs(got-want) > .0005 {
			t.Errorf("regret of the bound at %s: %.4f, want %.3f", r.Methods[0].Budgets[i].Label, got, want)
		}
	}
	all, err := methodFlags{list: "all"}.choose(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.Name == "oracle" {
			t.Error("the oracle competes with all methods")
		}
	}
}

func TestTracesDoNotDependOnThreads(t *testing.T) {
	store := smallStore(t, filepath.Join(t.TempDir(), "store"))
	var want string
	for _, procs := range []int{1, 2, 4} {
		old := runtime.GOMAXPROCS(procs)
		for _, parallel := range []string{"1", "2"} {
			line := args("--data "+store+" --budget 30m,2h --methods random,asha,hyperband,quicktune-reference --seeds 2 --workers 4 --parallel "+parallel, brief...)
			got := compare(t, line...).TraceHash
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("--parallel %s with GOMAXPROCS=%d changes the traces", parallel, procs)
			}
		}
		runtime.GOMAXPROCS(old)
	}
}

func TestResultsDirectory(t *testing.T) {
	tmp := t.TempDir()
	store, out := smallStore(t, filepath.Join(tmp, "store")), filepath.Join(tmp, "run")
	args := []string{"--data", store, "--seeds", "2", "--out", out}
	mustRun(t, args...)
	for _, name := range []string{"manifest.json", "report.md", "report.html", "report.json", "figures/regret.svg", "figures/regret.png", "tables/methods.csv", "traces.parquet", "runs.parquet", "SHA256SUMS"} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	before := snapshot(t, out)
	_, log, err := command(t, args...)
	if err != nil || !strings.Contains(log, "continuing") {
		t.Errorf("the second run did not continue the first: %v\n%s", err, log)
	}
	for name, data := range snapshot(t, out) {
		if !bytes.Equal(data, before[name]) {
			t.Errorf("%s changed although nothing was run", name)
		}
	}

	// More seeds keep those that are there.
	_, log, err = command(t, "--data", store, "--seeds", "3", "--out", out)
	if err != nil || !strings.Contains(log, "finished runs\"=18 of=27") {
		t.Errorf("9 more runs: %v\n%s", err, log)
	}

	t.Run("from other data", func(t *testing.T) {
		in := synthetic.Generate(synthetic.Options{Datasets: 2, Curves: 9})
		other := filepath.Join(tmp, "other")
		if err := metadataset.Write(other, in); err != nil {
			t.Fatal(err)
		}
		refuses(t, []string{"--data", other, "--out", out}, "other data")
	})
	t.Run("damaged", func(t *testing.T) {
		path := filepath.Join(out, "traces.parquet")
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data[:len(data)-7], 0o644); err != nil {
			t.Fatal(err)
		}
		refuses(t, args, "traces.parquet")
	})
}

// snapshot reads all files of a directory but for measured times.
func snapshot(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "decisions.parquet" || e.Name() == "SHA256SUMS" {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestInterruptKeepsWhatIsFinished(t *testing.T) {
	tmp := t.TempDir()
	store, out := smallStore(t, filepath.Join(tmp, "store")), filepath.Join(tmp, "run")
	args := []string{"--data", store, "--seeds", "4", "--out", out}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	err := run(ctx, args, &stdout, &stderr)
	if cli.ExitCode(err) != cli.ExitInterrupted || !strings.Contains(err.Error(), "the same command continues") {
		t.Fatalf("interrupted: %v, exit code %d", err, cli.ExitCode(err))
	}
	got := compare(t, args...)
	want := compare(t, "--data", store, "--seeds", "4")
	if got.TraceHash != want.TraceHash {
		t.Error("an interrupted comparison ends with other traces")
	}
}

// refuses checks that a command line is bad input: one line that says what,
// exit code 2.
func refuses(t *testing.T, args []string, want string) {
	t.Helper()
	_, _, err := command(t, args...)
	if cli.ExitCode(err) != cli.ExitUsage {
		t.Errorf("benchmark %s: error %v, exit code %d, want %d", strings.Join(args, " "), err, cli.ExitCode(err), cli.ExitUsage)
		return
	}
	if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("benchmark %s: error %q, want one line with %q", strings.Join(args, " "), err, want)
	}
}

func TestBadInput(t *testing.T) {
	tmp := t.TempDir()
	store := smallStore(t, filepath.Join(tmp, "store"))
	steps := synthetic.Generate(synthetic.Options{Datasets: 1, Curves: 5})
	steps.TimeUnit, steps.CurveCap = "epochs", 0
	for _, c := range steps.Curves {
		delete(c.Values, metadataset.Seconds)
	}
	untimed := filepath.Join(tmp, "untimed")
	if err := metadataset.Write(untimed, steps); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(tmp, "foreign")
	if err := os.MkdirAll(filepath.Join(foreign, "thesis"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		want string
	}{
		{"--data nowhere", "nowhere: manifest.json: there is no meta-dataset here"},
		{"--data nowhere", "benchmark import"},
		{"--data STORE --budget 1", "duration"},
		{"--data STORE --budget -1h", "duration"},
		{"--data UNTIMED --budget 1h", "whole number of epochs"},
		{"--data STORE --methods hyperbandd", "hyperbandd"},
		{"--data STORE --methods random,random", "twice"},
		{"--data STORE --methods asha --set asha.eta=1", "eta"},
		{"--data STORE --methods asha --set hyperband.eta=4", "not among"},
		{"--data STORE --set eta=4", "METHOD.SETTING=VALUE"},
		{"--data STORE --seeds 0", "want 1 to"},
		{"--data STORE --seeds 99999999999999", "want 1 to"},
		{"--data STORE --workers 0", "want 1 to"},
		{"--data STORE --workers 99999999999999", "want 1 to"},
		{"--data STORE --clock sundial", "sundial"},
		{"--data STORE --datasets BCT,CAT", "CAT"},
		{"--data STORE --exclude everything", "everything"},
		{"--data STORE --out STORE", "benchmark results"},
		{"--data STORE --out FOREIGN", "did not make"},
		{"--data STORE --no-such-flag", "no-such-flag"},
		{"--data STORE nonsense", "nonsense"},
		{"--data STORE --compat old", "--compat old: want reference"},
		{"--data STORE --methods quicktune,quicktune-reference --compat reference", "twice"},
		{"--data STORE --methods quicktune --set quicktune.M=off", "has no setting"},
		{"--data STORE --methods quicktune-reference --set quicktune-reference.M=maybe", "want on or off"},
		{"--data STORE --methods quicktune-reference --set quicktune-reference.hub=-1", "whole number from 0"},
		{"--data STORE --methods quicktune-reference --set quicktune-reference.size=1", "has no setting"},
		{"--data STORE --methods quicktune-reference --hold-out CAT", "CAT"},
		{"--data STORE --methods quicktune-reference --hold-out BCT,DOG,FLW", "no data set is left to learn from"},
		{"--data STORE --hold-out BCT --datasets DOG", "leave --datasets out"},
		{"--data STORE --methods quicktune-reference --model nowhere", "nowhere"},
		{"--data STORE --methods quicktune-reference --model STORE/manifest.json", "manifest.json"},
		{"meta-train --data STORE", "needs --data DIR and --out FILE"},
		{"meta-train --data STORE --out STORE/manifest.json", "no model that this command made"},
		{"meta-train --data STORE --out X --training best", "want published or default"},
		{"meta-train --data STORE --out X --iterations -1", "at least 1"},
		{"meta-train --data STORE --out X --hold-out BCT,DOG,FLW", "no data set is left to learn from"},
		{"ablation", "needs --data DIR"},
		{"ablation --data STORE --hubs none", "whole numbers from 1"},
		{"ablation --data STORE --hub-pools some", "want all or both"},
		{"ablation --data STORE --set M=off", "other than M, C, G and hub"},
		{"ablation --data STORE --set depth=3", "has no setting"},
		{"ablation --data STORE --seeds 0", "want 1 to"},
		{"ablation --data STORE --out FOREIGN", "holds thesis, which this command did not make"},
		{"import --from nowhere --out X", "nowhere"},
		{"import --from nowhere", "--out"},
		{"import --from STORE --out X", ""},
		{"verify", "arg"},
		{"verify nowhere", "nowhere"},
		{"info nowhere", "nowhere"},
	} {
		words := strings.Fields(strings.NewReplacer("STORE", store, "UNTIMED", untimed, "FOREIGN", foreign, "X", filepath.Join(tmp, "x")).Replace(c.args))
		refuses(t, words, c.want)
	}
	if _, err := os.Stat(filepath.Join(tmp, "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a failed import left something behind")
	}
	if _, err := os.Stat(filepath.Join(store, "report.md")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a refused --out was written to")
	}
}

// writeProbes makes what "generate probe" does, of two models on one data set.
func writeProbes(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for m, model := range []string{"near", "far"} {
		p := &probes.Probe{Info: probes.Info{Dataset: "stripes", Images: "hash", Model: model, Trainer: "embedded", Classes: []string{"a", "b"}, PerClass: scores.PerClass, Seconds: 1}}
		p.Data = scores.Data{Model: model, Dim: 2}
		for i := range 20 {
			p.Rows, p.Data.Labels = append(p.Rows, i), append(p.Data.Labels, i%2)
			p.Data.Features = append(p.Data.Features, float64(i%2*(m+1))+float64(i%5)/5, float64(i%3))
		}
		if err := probes.Write(probes.Path(dir, p.Info.Dataset, model), p); err != nil {
			t.Fatal(err)
		}
	}
}

// Every example in the help of every command runs as printed, but for the paths
// of data.
func TestExamplesOfTheHelpRun(t *testing.T) {
	tmp := t.TempDir()
	store := smallStore(t, filepath.Join(tmp, "extended"))
	paths := []string{"results/runs", filepath.Join(tmp, "runs")}
	writeProbes(t, filepath.Join(tmp, "runs", "probes"))
	root := newCompare(&bytes.Buffer{}, &bytes.Buffer{})
	commands := []*cobra.Command{root, newImport(nil, nil), newVerify(nil), newInfo(nil), newMethods(nil), newMetaTrain(nil, nil), newAblation(nil, nil), newReproduce(nil, nil), newCompareRuns(nil), newPaper(nil, nil), selection.New(nil, nil)}
	ran := 0
	for _, c := range commands {
		if c.Example == "" {
			t.Errorf("%s has no example", c.Name())
		}
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			rest, ok := strings.CutPrefix(line, "go run ./benchmark")
			if !ok {
				t.Errorf("%s: example %q does not run the command", c.Name(), line)
				continue
			}
			t.Run(line, func(t *testing.T) {
				replace := paths
				if strings.HasPrefix(rest, " import") {
					from := realCurves(t)
					archive, sum := zipped(t, from)
					replace = append(replace, "../shared/data/quicktune/extended", from, "extended.zip", archive, "SUM", sum, "results/extended", filepath.Join(t.TempDir(), "extended"))
				} else {
					replace = append(replace, "results/extended", store)
				}
				mustRun(t, strings.Fields(strings.NewReplacer(replace...).Replace(rest))...)
			})
			ran++
		}
	}
	if ran < 15 {
		t.Errorf("only %d examples", ran)
	}
}

// zipped packs the files of a folder and returns the path and the SHA-256.
func zipped(t *testing.T, dir string) (path, sum string) {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "curves.zip")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(b.Bytes())
	return path, hex.EncodeToString(digest[:])
}

func TestTheShippedCurvesAreTheDefault(t *testing.T) {
	out := mustRun(t, "--seeds", "1", "--methods", "random", "--json")
	if !strings.Contains(out, `"name": "`+shippedData+`"`) {
		t.Errorf("printed\n%s", out)
	}
}

func TestInfoAndMethods(t *testing.T) {
	store := smallStore(t, filepath.Join(t.TempDir(), "store"))
	if text := mustRun(t, "info", store); !strings.Contains(text, "3 data sets, 120 curves") || !strings.Contains(text, "note: synthetic") {
		t.Errorf("info printed\n%s", text)
	}
	var info storeInfo
	if err := json.Unmarshal([]byte(mustRun(t, "info", store, "--json")), &info); err != nil || len(info.Datasets) != 3 {
		t.Errorf("info --json: %v, %d data sets", err, len(info.Datasets))
	}
	text := mustRun(t, "methods")
	for _, want := range []string{"hyperband: Hyperband", "--set hyperband.eta=3", "partial curves", "quicktune: Quick-Tune", "--set quicktune-reference.hub=0"} {
		if !strings.Contains(text, want) {
			t.Errorf("methods does not print %q", want)
		}
	}
}

func TestGroup(t *testing.T) {
	for in, want := range map[string]string{"0": "0", "999": "999", "1000": "1,000", "12616.6": "12,616.6", "1234567": "1,234,567"} {
		if got := group(in); got != want {
			t.Errorf("group(%s) = %s, want %s", in, got, want)
		}
	}
}
