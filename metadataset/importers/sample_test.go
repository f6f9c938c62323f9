package importers

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"quicktune/internal/stream"
	"quicktune/metadataset"
	"quicktune/space"
	"quicktune/space/quicktunetable"
)

// files is a source in memory: path to content.
type files map[string]string

// with returns a copy in which one file is replaced, or removed by "".
func (f files) with(name, content string) files {
	out := files{}
	for k, v := range f {
		out[k] = v
	}
	out[name] = content
	if content == "" {
		delete(out, name)
	}
	return out
}

// dir writes the files to a folder called name.
func (f files) dir(t testing.TB, name string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), name)
	for file, content := range f {
		full := filepath.Join(root, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// zip packs the files below a folder of that name.
func (f files) zip(t testing.TB, folder string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, file := range slices.Sorted(mapKeys(f)) {
		w, err := z.Create(folder + "/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[file])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// sampleRun is one Quick-Tune curve as its authors would record it.
type sampleRun struct {
	dataset, id string
	config      space.Config
	top1        []float64 // percent
	train, eval []float64 // seconds
	loss        []float64 // of training
}

// sampleRuns draws runs on 2 data sets of the extended version: full ones, one
// that the time cap cuts, one that ends early, and for linear probing a single
// epoch.
func sampleRuns(seed uint64) []sampleRun {
	s := space.QuickTune()
	probing := s.Index("linear_probing")
	rng := stream.New("importers/sample", seed)
	var out []sampleRun
	for d, dataset := range []string{"mtlbm/extended/set1/DOG", "mtlbm/extended/set0/BCT"} {
		for i, length := range []int{50, 1, 7, 3} {
			r := sampleRun{dataset: dataset, config: s.Sample(rng)}
			r.config[probing] = space.Bool(length == 1)
			r.id = fmt.Sprintf("%d_extended_%s_v1", 1000*d+i, strings.ReplaceAll(strings.TrimPrefix(dataset, "mtlbm/extended/"), "/", "_"))
			perEpoch := 10.0
			if length == 7 {
				perEpoch = 8000
			}
			for e := range length {
				r.top1 = append(r.top1, 100*(1-1/(1+float64(e)+rng.Float64())))
				r.train = append(r.train, perEpoch*(0.9+0.1*rng.Float64()))
				r.eval = append(r.eval, 1+rng.Float64())
				r.loss = append(r.loss, 5/(1+float64(e)))
			}
			out = append(out, r)
		}
	}
	return out
}

var sampleDescriptors = map[string][]float64{"DOG": {12288, 120, 128, 3}, "BCT": {2436, 33, 128, 3}}

// seriesJSON writes {dataset: {run: [...]}} as Python does, NaN included; name
// shortens the data set.
func seriesJSON(runs []sampleRun, name func(string) string, values func(sampleRun) []float64) string {
	byDataset := map[string][]string{}
	for _, r := range runs {
		var xs []string
		for _, x := range values(r) {
			xs = append(xs, strconv.FormatFloat(x, 'g', -1, 64))
		}
		d := name(r.dataset)
		byDataset[d] = append(byDataset[d], fmt.Sprintf("%q: [%s]", r.id, strings.Join(xs, ", ")))
	}
	var out []string
	for _, d := range slices.Sorted(mapKeys(byDataset)) {
		out = append(out, fmt.Sprintf("%q: {%s}", d, strings.Join(byDataset[d], ", ")))
	}
	return "{" + strings.Join(out, ", ") + "}"
}

func sum(a, b []float64) []float64 {
	out := slices.Clone(a)
	for i := range b {
		out[i] += b[i]
	}
	return out
}

// tableCSV writes the encoded configurations below the given headings, which
// stand for the columns of the layout, and further columns behind them.
func tableCSV(runs []sampleRun, layout *quicktunetable.Layout, headings []string, extra map[string]func(sampleRun) string) string {
	names := slices.Sorted(mapKeys(extra))
	var b strings.Builder
	line := func(first string, words []string) {
		b.WriteString(first)
		for _, w := range words {
			if strings.Contains(w, ",") {
				w = `"` + w + `"`
			}
			b.WriteString("," + w)
		}
		b.WriteString("\n")
	}
	line("", append(slices.Clone(headings), names...))
	for _, r := range runs {
		row, err := layout.ToRow(nil, r.config)
		if err != nil {
			panic(err)
		}
		var words []string
		for _, x := range row {
			words = append(words, strconv.FormatFloat(x, 'g', -1, 64))
		}
		for _, name := range names {
			words = append(words, extra[name](r))
		}
		line(r.id, words)
	}
	return b.String()
}

func shortest(dataset string) string { return dataset[strings.LastIndex(dataset, "/")+1:] }

// compactFiles writes runs in the compact layout.
func compactFiles(runs []sampleRun) files {
	descriptors, err := json.Marshal(sampleDescriptors)
	if err != nil {
		panic(err)
	}
	perf := seriesJSON(runs, shortest, func(r sampleRun) []float64 { return r.top1 })
	return files{
		perfFile:        strings.TrimSuffix(perf, "}") + `, "info": {"version": "extended", "metric": "Top1 Accuracy in %"}}`,
		costFile:        seriesJSON(runs, shortest, func(r sampleRun) []float64 { return sum(r.train, r.eval) }),
		tableFile:       tableCSV(runs, quicktunetable.Reference(), quicktunetable.Reference().Columns(), nil),
		descriptorsFile: string(descriptors),
	}
}

// releasedFiles writes runs in the layout of the authors' release, the
// configurations as args.json.
func releasedFiles(runs []sampleRun) files {
	same := func(d string) string { return d }
	args := map[string]map[string]any{}
	for _, r := range runs {
		args[r.id] = arguments(r)
	}
	argsJSON, err := json.Marshal(args)
	if err != nil {
		panic(err)
	}
	return files{
		"extended/" + evalTop1File:   seriesJSON(runs, same, func(r sampleRun) []float64 { return r.top1 }),
		"extended/" + evalTimeFile:   seriesJSON(runs, same, func(r sampleRun) []float64 { return r.eval }),
		"extended/" + trainTimeFile:  seriesJSON(runs, same, func(r sampleRun) []float64 { return r.train }),
		"extended/train_loss.json":   seriesJSON(runs, same, func(r sampleRun) []float64 { return r.loss }),
		"extended/train_epochs.json": `{}`,
		"extended/" + argsFile:       string(argsJSON),
		"dataset-meta-features/meta-album/" + metaFeatureFile: `{"hessians": [[0.5, -1, 2e-3], [1, 2, 3]],
			"dataset_names": ["extended/set1/DOG", "extended/set0/BCT"],
			"dataset_descriptors": [[12288, 120, 128, 3], [2436, 33, 128, 3]]}`,
	}
}

// arguments returns what the training script recorded of a configuration.
func arguments(r sampleRun) map[string]any {
	s := space.QuickTune()
	out := map[string]any{"dataset": r.dataset, "experiment": "x", "random_augment": false, "trivial_augment": false, invalidLoss: false}
	for i, v := range r.config {
		h := s.Param(i)
		if v.IsInactive() {
			v = h.Default
		}
		switch {
		case h.Name == "data_augmentation":
			if v == space.String("random_augment") || v == space.String("trivial_augment") {
				out[v.Text()] = true
			}
			continue
		case h.Name == "opt_betas" && v != space.None:
			var betas []float64
			if err := json.Unmarshal([]byte(v.Text()), &betas); err != nil {
				panic(err)
			}
			out[h.Name] = betas
			continue
		}
		switch v.Kind() {
		case space.KindNone:
			out[h.Name] = nil
		case space.KindBool:
			out[h.Name] = v.Num() == 1
		case space.KindString:
			out[h.Name] = v.Text()
		default:
			out[h.Name] = v.Num()
		}
	}
	return out
}

// cachedTable replaces args.json by the table that the authors' code caches.
func cachedTable(f files, runs []sampleRun, name string) files {
	var headings []string
	for _, h := range quicktunetable.Reference().Columns() {
		if rest, ok := strings.CutPrefix(h, "cat:"); ok {
			h = "cat__" + strings.Replace(rest, ":", "_", 1)
		}
		headings = append(headings, h)
	}
	extra := map[string]func(sampleRun) string{
		"max_eval_top1":                       func(r sampleRun) string { return fmt.Sprint(slices.Max(r.top1)) },
		"curve_length":                        func(r sampleRun) string { return fmt.Sprint(len(r.top1)) },
		"cat__dataset_" + runs[0].dataset:     func(r sampleRun) string { return flag(r.dataset == runs[0].dataset) },
		"cat__dataset_mtlbm/extended/set0/XX": func(sampleRun) string { return "0.0" },
		invalidLoss:                           func(sampleRun) string { return "0.0" },
	}
	return f.with("extended/"+argsFile, "").
		with("extended/"+name, tableCSV(runs, quicktunetable.Reference(), headings, extra))
}

func flag(b bool) string {
	if b {
		return "1.0"
	}
	return "0.0"
}

// wantRuns returns the curves that an import of runs must give, ids sorted.
func wantRuns(runs []sampleRun, released bool) []metadataset.InputCurve {
	var out []metadataset.InputCurve
	for _, r := range runs {
		c := metadataset.InputCurve{ID: r.id, Dataset: shortest(r.dataset), Config: r.config, Values: map[metadataset.Column][]float32{}}
		seconds := sum(r.train, r.eval)
		for e := range r.top1 {
			c.Values[metadataset.ValAccuracy] = append(c.Values[metadataset.ValAccuracy], float32(r.top1[e]/100))
			c.Values[metadataset.Seconds] = append(c.Values[metadataset.Seconds], float32(seconds[e]))
			if released {
				c.Values[metadataset.EvalSeconds] = append(c.Values[metadataset.EvalSeconds], float32(r.eval[e]))
				c.Values[metadataset.TrainLoss] = append(c.Values[metadataset.TrainLoss], float32(r.loss[e]))
			}
		}
		switch len(r.top1) {
		case 50:
			c.End = metadataset.EndCompleted
		case 7:
			c.End = metadataset.EndTimeCapped
		case 3:
			c.End = metadataset.EndUnknown
		case 1:
			c.End, c.Reason = metadataset.EndMemoryTest, "one-batch memory test of linear probing"
		}
		out = append(out, c)
	}
	return out
}

// sortCurves puts curves in the order of their ids.
func sortCurves(curves []metadataset.InputCurve) []metadataset.InputCurve {
	out := slices.Clone(curves)
	slices.SortFunc(out, func(a, b metadataset.InputCurve) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// compareInputs makes differences of Inputs readable.
var compareInputs = cmp.Options{
	cmp.Comparer(func(a, b space.Value) bool { return a == b }),
	cmp.Comparer(func(a, b *space.Space) bool { return a.Hash() == b.Hash() }),
	cmpopts.EquateNaNs(),
}

// qttFiles writes runs in the layout of the Quick-Tune-Tool: every hyperparameter
// of the paper's space, inactive ones blank.
func qttFiles(runs []sampleRun) files {
	s := space.QuickTune()
	var config, curve, cost, meta strings.Builder
	for i := range s.Len() {
		config.WriteString("," + s.Param(i).Name)
	}
	curve.WriteString("," + strings.Join(epochNames(1, quickTuneEpochs), ","))
	cost.WriteString(",cost")
	meta.WriteString(",dataset,num-samples,num-classes,num-features,num-channels,modality,spread")
	for k, r := range runs {
		for _, b := range []*strings.Builder{&config, &curve, &cost, &meta} {
			fmt.Fprintf(b, "\n%d", k+1)
		}
		for _, v := range r.config {
			switch {
			case v.IsInactive():
				config.WriteString(",")
			case v.Kind() == space.KindBool:
				config.WriteString("," + map[bool]string{true: "True", false: "False"}[v.Num() == 1])
			case strings.Contains(v.String(), ","):
				config.WriteString(`,"` + v.String() + `"`)
			default:
				config.WriteString("," + v.String())
			}
		}
		for e := range quickTuneEpochs {
			curve.WriteString(",")
			if e < len(r.top1) {
				fmt.Fprint(&curve, r.top1[e])
			}
		}
		total := 0.0
		for e := range r.train {
			total += r.train[e] + r.eval[e]
		}
		fmt.Fprintf(&cost, ",%v", total)
		d := sampleDescriptors[shortest(r.dataset)]
		fmt.Fprintf(&meta, ",%s,%g,%g,%g,%g,%s,%g", shortest(r.dataset), d[0], d[1], d[2], d[3],
			map[string]string{"DOG": "photo", "BCT": "microscope"}[shortest(r.dataset)], d[1]/10)
	}
	return files{configFile: config.String() + "\n", curveFile: curve.String() + "\n", qttCostFile: cost.String() + "\n", metaFile: meta.String() + "\n"}
}

func epochNames(first, n int) []string {
	var out []string
	for e := range n {
		out = append(out, strconv.Itoa(first+e))
	}
	return out
}

// taskSetFiles writes two tasks with n configurations each.
func taskSetFiles(seed uint64, n int) files {
	out := files{}
	rng := stream.New("importers/taskset", seed)
	for _, task := range []string{"FixedMLP_mnist_bs128_seed0_0_1000", "FixedNVP_mnist_seed1_0_1000"} {
		var b strings.Builder
		b.WriteString("[")
		for i := range n {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, `{"hp": {"learning_rate": %g, "beta1": %g, "nesterov": %t, "kind": %q}, `,
				1e-8*pow(1e9, rng), rng.Float64(), i%2 == 0, []string{"adam8p", "nadamw"}[rng.IntN(2)])
			var words [3][]string
			for e := range 6 {
				for k := range words {
					x := strconv.FormatFloat(2/(1+float64(e))+rng.Float64(), 'g', -1, 64)
					if i == 1 && e >= 3 {
						x = []string{"NaN", "Infinity", "NaN"}[e-3]
					}
					words[k] = append(words[k], x)
				}
			}
			for k, split := range []string{"train", "valid", "test"} {
				if k > 0 {
					b.WriteString(", ")
				}
				fmt.Fprintf(&b, `%q: {"loss": [%s]}`, split, strings.Join(words[k], ", "))
			}
			b.WriteString("}")
		}
		b.WriteString("]")
		out[task+".json"] = b.String()
	}
	return out
}

// pow draws base to a uniform power.
func pow(base float64, rng *rand.Rand) float64 {
	x := 1.0
	for range 9 {
		if rng.IntN(2) == 1 {
			x *= 10
		}
	}
	return min(x, base) * (1 + rng.Float64())
}

// importDir imports files from a folder called name.
func importDir(t testing.TB, f files, name string, opts Options) (metadataset.Input, Report, error) {
	t.Helper()
	return Import(context.Background(), f.dir(t, name), opts)
}

// mustImport fails the test on an error, and checks that the writer takes the
// result.
func mustImport(t testing.TB, f files, name string, opts Options) (metadataset.Input, Report) {
	t.Helper()
	in, report, err := importDir(t, f, name, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := metadataset.Write(filepath.Join(t.TempDir(), "out"), in); err != nil {
		t.Fatalf("the store refuses what was imported: %v", err)
	}
	return in, report
}
