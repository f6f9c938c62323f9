package importers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quicktune/metadataset"
	"quicktune/space"
)

func TestCompactGivesExactlyTheRecordedRuns(t *testing.T) {
	runs := sampleRuns(1)
	in, report := mustImport(t, compactFiles(runs), "extended", Options{})
	want := wantRuns(runs, false)
	if diff := cmp.Diff(sortCurves(want), sortCurves(in.Curves), compareInputs); diff != "" {
		t.Errorf("curves (-want +got):\n%s", diff)
	}
	wantDatasets := []metadataset.Dataset{
		{Name: "BCT", TrainSamples: 2436, Classes: 33, Pixels: 128, Channels: 3},
		{Name: "DOG", TrainSamples: 12288, Classes: 120, Pixels: 128, Channels: 3},
	}
	slices.SortFunc(in.Datasets, func(a, b metadataset.Dataset) int { return strings.Compare(a.Name, b.Name) })
	if diff := cmp.Diff(wantDatasets, in.Datasets); diff != "" {
		t.Errorf("data sets (-want +got):\n%s", diff)
	}
	if in.CurveCap != 57600 || in.MaxEpochs != 50 || in.ModelParam != "model" || in.TimeUnit != metadataset.TimeSeconds ||
		in.Metric != (metadataset.Metric{Column: metadataset.ValAccuracy, Goal: metadataset.Maximize}) || in.Space != space.QuickTune() {
		t.Errorf("header: cap %v, epochs %d, model %q, unit %q, metric %v, space %s", in.CurveCap, in.MaxEpochs, in.ModelParam, in.TimeUnit, in.Metric, in.Space.Name())
	}
	if report.Format != Compact || report.Version != "extended" || report.Datasets != 2 || report.Curves != 8 ||
		report.Epochs != 2*(50+1+7+3) || report.SingleEpoch != 2 {
		t.Errorf("report %+v", report)
	}
	wantEnds := map[metadataset.End]int{metadataset.EndCompleted: 2, metadataset.EndMemoryTest: 2, metadataset.EndTimeCapped: 2, metadataset.EndUnknown: 2}
	if diff := cmp.Diff(wantEnds, report.Ends); diff != "" {
		t.Errorf("ends (-want +got):\n%s", diff)
	}
}

func TestReleasedGivesExactlyTheRecordedRuns(t *testing.T) {
	runs := sampleRuns(2)
	want := sortCurves(wantRuns(runs, true))
	for name, f := range map[string]files{
		"args.json":                   releasedFiles(runs),
		"unnormalized_args_table.csv": cachedTable(releasedFiles(runs), runs, "unnormalized_args_table.csv"),
		"args_table.csv":              cachedTable(releasedFiles(runs), runs, "args_table.csv"),
	} {
		t.Run(name, func(t *testing.T) {
			in, report := mustImport(t, f, "qt_metadataset", Options{})
			if diff := cmp.Diff(want, sortCurves(in.Curves), compareInputs); diff != "" {
				t.Errorf("curves (-want +got):\n%s", diff)
			}
			if report.Format != Released || report.Version != "extended" || in.CurveCap != 57600 {
				t.Errorf("layout %s, version %q, cap %v", report.Format, report.Version, in.CurveCap)
			}
			i := slices.IndexFunc(in.Datasets, func(d metadataset.Dataset) bool { return d.Name == "DOG" })
			if i < 0 || in.Datasets[i].TrainSamples != 12288 || in.Datasets[i].Classes != 120 || in.MetaFeatures != nil {
				t.Errorf("data sets %+v, meta-features %v", in.Datasets, in.MetaFeatures)
			}
		})
	}
}

func TestReleasedReadsHessiansWhenAsked(t *testing.T) {
	in, _ := mustImport(t, releasedFiles(sampleRuns(2)), "qt", Options{Hessians: true})
	if want := []string{"hessian_0", "hessian_1", "hessian_2"}; !slices.Equal(in.MetaFeatures, want) {
		t.Fatalf("meta-features %v, want %v", in.MetaFeatures, want)
	}
	for _, d := range in.Datasets {
		want := map[string][]float64{"DOG": {0.5, -1, 2e-3}, "BCT": {1, 2, 3}}[d.Name]
		if !slices.Equal(d.MetaFeatures, want) {
			t.Errorf("%s: %v, want %v", d.Name, d.MetaFeatures, want)
		}
	}
}

func TestReleasedMarksDivergedRuns(t *testing.T) {
	runs := sampleRuns(3)
	short := slices.IndexFunc(runs, func(r sampleRun) bool { return len(r.top1) == 3 })
	runs[short].loss[2] = math.NaN()
	f := releasedFiles(runs)
	in, report := mustImport(t, f, "qt", Options{})
	if report.Ends[metadataset.EndDiverged] != 1 || report.Ends[metadataset.EndUnknown] != 1 {
		t.Errorf("ends %v, want one diverged and one unknown", report.Ends)
	}
	i := slices.IndexFunc(in.Curves, func(c metadataset.InputCurve) bool { return c.ID == runs[short].id })
	if c := in.Curves[i]; c.End != metadataset.EndDiverged || !math.IsNaN(float64(c.Values[metadataset.TrainLoss][2])) {
		t.Errorf("curve %s ends %s with losses %v", c.ID, c.End, c.Values[metadataset.TrainLoss])
	}
	// The recorded argument tells the same without the losses.
	f = f.with("extended/train_loss.json", "").with("extended/"+argsFile,
		strings.Replace(f["extended/"+argsFile], `"`+invalidLoss+`":false`, `"`+invalidLoss+`":true`, 1))
	if _, report = mustImport(t, f, "qt", Options{}); report.Ends[metadataset.EndDiverged] != 1 {
		t.Errorf("ends %v, want one diverged", report.Ends)
	}
}

func TestQTTOnTheSpaceOfThePaper(t *testing.T) {
	runs := sampleRuns(4)
	in, report := mustImport(t, qttFiles(runs), "qtt", Options{})
	if report.Format != QTT || in.Space != space.QuickTune() || in.ModelParam != "model" || len(in.Models) != 24 {
		t.Fatalf("layout %s, space %s, model %q, %d models; warnings %v", report.Format, in.Space.Name(), in.ModelParam, len(in.Models), report.Warnings)
	}
	for k, r := range runs {
		c := in.Curves[k]
		total := 0.0
		for e := range r.train {
			total += r.train[e] + r.eval[e]
		}
		if c.ID != fmt.Sprint(k+1) || c.Dataset != shortest(r.dataset) || !slices.Equal(c.Config, r.config) {
			t.Errorf("curve %d: id %s, data set %s, configuration %s", k, c.ID, c.Dataset, in.Space.Format(c.Config))
		}
		for e := range r.top1 {
			if got, want := c.Values[metadataset.ValAccuracy][e], float32(r.top1[e]/100); got != want {
				t.Errorf("curve %d, epoch %d: accuracy %v, want %v", k, e+1, got, want)
			}
			if got, want := c.Values[metadataset.Seconds][e], float32(total/float64(len(r.top1))); got != want {
				t.Errorf("curve %d, epoch %d: %v seconds, want %v", k, e+1, got, want)
			}
		}
		want := metadataset.EndUnknown
		if len(r.top1) == 50 {
			want = metadataset.EndCompleted
		}
		if c.End != want || len(c.Values[metadataset.Seconds]) != len(r.top1) {
			t.Errorf("curve %d: %d epochs end %s, want %d and %s", k, len(c.Values[metadataset.Seconds]), c.End, len(r.top1), want)
		}
	}
	want := []metadataset.Dataset{
		{Name: "DOG", TrainSamples: 12288, Classes: 120, Pixels: 128, Channels: 3, MetaFeatures: []float64{0, 1, 12}},
		{Name: "BCT", TrainSamples: 2436, Classes: 33, Pixels: 128, Channels: 3, MetaFeatures: []float64{1, 0, 3.3}},
	}
	if diff := cmp.Diff(want, in.Datasets); diff != "" {
		t.Errorf("data sets (-want +got):\n%s", diff)
	}
	if want := []string{"modality=microscope", "modality=photo", "spread"}; !slices.Equal(in.MetaFeatures, want) {
		t.Errorf("meta-features %v, want %v", in.MetaFeatures, want)
	}
	if !slices.ContainsFunc(in.Notes, func(n string) bool { return strings.Contains(n, "estimate") }) {
		t.Errorf("no note says that the costs are an estimate: %q", in.Notes)
	}
}

// Two models with hyperparameters of their own, epochs from 0, no meta.csv,
// curves padded with their last value, fractions, one configuration that failed.
var qttOther = files{
	configFile: "id,dataset,model,lr,growth,width,flag,seed,empty,depth\n" +
		"a,x,dense,0.1,2,,True,7,,1\n" +
		"b,x,res,0.001,,1.5,False,7,,2\n" +
		"c,y,dense,0.0001,3,,True,7,,3\n" +
		"d,y,res,1e-05,,2.5,False,7,,4\n",
	curveFile:   "id,0,1,2,3,4\na,0.1,0.2,0.2,0.2,0.2\nb,0.5,0.25,0.75,1.0,0.5\nc,0.3,0.4,,,\nd,,,,,\n",
	qttCostFile: "id,cost\na,10\nb,20\nc,3\nd,0\n",
}

func TestQTTInfersAnotherSpace(t *testing.T) {
	in, report := mustImport(t, qttOther, "med", Options{})
	want := `{"format":"quicktune-space","version":1,"name":"inferred","hyperparameters":[` +
		`{"name":"model","type":"categorical","choices":["dense","res"]},` +
		`{"name":"lr","type":"real","lower":1e-05,"upper":0.1,"log":true},` +
		`{"name":"growth","type":"integer","lower":2,"upper":3},` +
		`{"name":"width","type":"real","lower":1.5,"upper":2.5},` +
		`{"name":"flag","type":"categorical","choices":[false,true]},` +
		`{"name":"seed","type":"constant","choices":[7]},` +
		`{"name":"depth","type":"integer","lower":1,"upper":4}],` +
		`"conditions":[{"child":"growth","any_of":[[{"parent":"model","op":"in","values":["dense"]}]]},` +
		`{"child":"width","any_of":[[{"parent":"model","op":"in","values":["res"]}]]}]}`
	got, err := in.Space.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("space (-want +got):\n%s", diff)
	}
	nan := math.NaN()
	wantModels := []metadataset.Model{{Name: "dense", Params: nan, SourceAccuracy: nan, Pixels: nan, GMACs: nan}, {Name: "res", Params: nan, SourceAccuracy: nan, Pixels: nan, GMACs: nan}}
	if diff := cmp.Diff(wantModels, in.Models, compareInputs); diff != "" {
		t.Errorf("models (-want +got):\n%s", diff)
	}
	type line struct {
		Dataset string
		End     metadataset.End
		Acc     []float32
		Seconds []float32
	}
	var lines []line
	for _, c := range in.Curves {
		lines = append(lines, line{c.Dataset, c.End, c.Values[metadataset.ValAccuracy], c.Values[metadataset.Seconds]})
	}
	wantLines := []line{
		{"x", metadataset.EndCompleted, []float32{0.1, 0.2, 0.2, 0.2, 0.2}, []float32{2, 2, 2, 2, 2}},
		{"x", metadataset.EndCompleted, []float32{0.5, 0.25, 0.75, 1, 0.5}, []float32{4, 4, 4, 4, 4}},
		{"y", metadataset.EndUnknown, []float32{0.3, 0.4}, []float32{1.5, 1.5}},
		{"y", metadataset.EndFailed, []float32{}, []float32{}},
	}
	if diff := cmp.Diff(wantLines, lines); diff != "" {
		t.Errorf("curves (-want +got):\n%s", diff)
	}
	var warnings []string
	for _, w := range report.Warnings {
		warnings = append(warnings, w.String())
	}
	wantWarnings := []string{
		"no meta.csv: nothing is known about the data sets",
		`med/config.csv: the search space is inferred from the values, because it is not that of Quick-Tune: column "growth"`,
		"med/config.csv: columns without any value are left out: empty",
		"med/curve.csv: accuracies are taken for fractions",
		"med/curve.csv: 1 curves have no epoch",
	}
	if diff := cmp.Diff(wantWarnings, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestQTTTrimsPaddingWhenAsked(t *testing.T) {
	in, _ := mustImport(t, qttOther, "med", Options{TrimPadding: true})
	c := in.Curves[0]
	if got, want := c.Values[metadataset.ValAccuracy], []float32{0.1, 0.2}; !slices.Equal(got, want) || c.End != metadataset.EndUnknown {
		t.Errorf("accuracies %v, end %s, want %v, %s", got, c.End, want, metadataset.EndUnknown)
	}
	if got, want := c.Values[metadataset.Seconds], []float32{5, 5}; !slices.Equal(got, want) {
		t.Errorf("seconds %v, want %v", got, want)
	}
}

func TestQTTWarnsOfPaddingWhereNothingIsBlank(t *testing.T) {
	f := files{configFile: "id,lr\na,1\nb,2\n", qttCostFile: "id,cost\na,1\nb,2\n", curveFile: "id,1,2,3,4\na,10,20,20,20\nb,10,20,30,30\n"}
	_, report := mustImport(t, f, "med", Options{})
	want := "med/curve.csv: no epoch is blank, and 1 curves end in at least 3 equal accuracies: perhaps padding of curves that ended early"
	if !slices.ContainsFunc(report.Warnings, func(w Warning) bool { return w.String() == want }) {
		t.Errorf("warnings %v, want %q among them", report.Warnings, want)
	}
}

func TestQTTTakesCostsPerEpochAndMetaPerDataset(t *testing.T) {
	f := qttOther.with(qttCostFile, "id,1,2,3,4,5\na,1,2,3,4,5\nb,1,1,1,1,1\nc,7,8,,,\nd,,,,,\n").
		with(metaFile, ",dataset,num-classes\n0,y,10\n1,x,2\n")
	in, _ := mustImport(t, f, "med", Options{CurveCap: 16})
	if got, want := in.Curves[2].Values[metadataset.Seconds], []float32{7, 8}; !slices.Equal(got, want) || in.Curves[2].End != metadataset.EndTimeCapped {
		t.Errorf("seconds %v, want %v; end %s", got, want, in.Curves[2].End)
	}
	want := []metadataset.Dataset{{Name: "x", Classes: 2}, {Name: "y", Classes: 10}}
	if diff := cmp.Diff(want, in.Datasets); diff != "" {
		t.Errorf("data sets (-want +got):\n%s", diff)
	}
}

func TestQTTGroupsRowsByMetaFeaturesWithoutNames(t *testing.T) {
	f := qttOther.with(configFile, "id,lr\na,1\nb,2\nc,3\nd,4\n").with(metaFile, "id,num-samples\na,100\nb,200\nc,100\nd,200\n")
	in, _ := mustImport(t, f, "med", Options{})
	var got []string
	for _, c := range in.Curves {
		got = append(got, c.Dataset)
	}
	if want := []string{"dataset-1", "dataset-2", "dataset-1", "dataset-2"}; !slices.Equal(got, want) {
		t.Errorf("data sets %v, want %v", got, want)
	}
}

func TestTaskSet(t *testing.T) {
	f := files{"TaskB_seed0.json": `[
		{"hp": {"learning_rate": 1e-05, "beta1": 0.5, "decay": null}, "train": {"loss": [3, 2, 1]}, "valid": {"loss": [4, 3, 2]}, "test": {"loss": [5, 4, 3]}, "note": {"x": [null]}},
		{"hp": {"learning_rate": 10, "beta1": 0.25, "decay": "cosine"}, "train": {"loss": [3, Infinity, 1]}, "valid": {"loss": [4, NaN, -Infinity]}, "test": {"loss": [5, 4, 3]}},
		{"hp": {"learning_rate": 0.5, "beta1": 0.75, "decay": "cosine"}, "train": {"loss": [3, 2]}, "valid": {"loss": [4, 3]}, "test": {"loss": [NaN, 4]}},
		{"hp": {"learning_rate": 0.5, "beta1": 1, "decay": "cosine"}, "valid": {"loss": [4, 1e39, 3]}}]`,
		"README.json": `{"about": "tasks"}`}
	in, report := mustImport(t, f, "taskset", Options{})
	wantSpace := `{"format":"quicktune-space","version":1,"name":"inferred","hyperparameters":[` +
		`{"name":"learning_rate","type":"real","lower":1e-05,"upper":10.0,"log":true},` +
		`{"name":"beta1","type":"real","lower":0.25,"upper":1.0},` +
		`{"name":"decay","type":"categorical","choices":[null,"cosine"]}],"conditions":[]}`
	got, err := in.Space.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantSpace, string(got)); diff != "" {
		t.Errorf("space (-want +got):\n%s", diff)
	}
	nan := float32(math.NaN())
	want := []metadataset.InputCurve{
		{ID: "TaskB_seed0-0", Dataset: "TaskB_seed0", Config: space.Config{space.Float(1e-5), space.Float(0.5), space.None}, End: metadataset.EndCompleted,
			Values: map[metadataset.Column][]float32{metadataset.TrainLoss: {3, 2, 1}, metadataset.ValLoss: {4, 3, 2}, metadataset.TestLoss: {5, 4, 3}}},
		{ID: "TaskB_seed0-1", Dataset: "TaskB_seed0", Config: space.Config{space.Float(10), space.Float(0.25), space.String("cosine")}, End: metadataset.EndDiverged,
			Reason: "validation loss not finite in epoch 2",
			Values: map[metadataset.Column][]float32{metadataset.TrainLoss: {3, nan}, metadataset.ValLoss: {4, nan}, metadataset.TestLoss: {5, 4}}},
		{ID: "TaskB_seed0-2", Dataset: "TaskB_seed0", Config: space.Config{space.Float(0.5), space.Float(0.75), space.String("cosine")}, End: metadataset.EndUnknown,
			Values: map[metadataset.Column][]float32{metadataset.TrainLoss: {3, 2}, metadataset.ValLoss: {4, 3}, metadataset.TestLoss: {nan, 4}}},
		{ID: "TaskB_seed0-3", Dataset: "TaskB_seed0", Config: space.Config{space.Float(0.5), space.Float(1), space.String("cosine")}, End: metadataset.EndDiverged,
			Reason: "validation loss not finite in epoch 2", // beyond float32; finite again later, so nothing is cut
			Values: map[metadataset.Column][]float32{metadataset.ValLoss: {4, nan, 3}}},
	}
	if diff := cmp.Diff(want, in.Curves, compareInputs); diff != "" {
		t.Errorf("curves (-want +got):\n%s", diff)
	}
	if in.TimeUnit != metadataset.TimeEpochs || in.MaxEpochs != 3 || in.ModelParam != "" ||
		in.Metric != (metadataset.Metric{Column: metadataset.ValLoss, Goal: metadataset.Minimize}) {
		t.Errorf("unit %q, %d epochs, model %q, metric %v", in.TimeUnit, in.MaxEpochs, in.ModelParam, in.Metric)
	}
	if report.Seconds != 0 || len(report.Warnings) != 1 || report.Warnings[0].String() != "taskset/README.json: is no TaskSet file and is left out" {
		t.Errorf("%v seconds, warnings %v", report.Seconds, report.Warnings)
	}
}

func TestEverySourceGivesTheSame(t *testing.T) {
	runs := sampleRuns(5)
	for format, f := range map[Format]files{
		Compact: compactFiles(runs), Released: releasedFiles(runs), QTT: qttFiles(runs), TaskSet: taskSetFiles(5, 12),
	} {
		t.Run(string(format), func(t *testing.T) {
			want, _ := mustImport(t, f, "data", Options{})
			archive := f.zip(t, "data")
			zipPath := filepath.Join(t.TempDir(), "data.zip")
			if err := os.WriteFile(zipPath, archive, 0o644); err != nil {
				t.Fatal(err)
			}
			digest := sha256.Sum256(archive)
			sum := hex.EncodeToString(digest[:])
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.ServeContent(w, r, "data.zip", time.Time{}, bytes.NewReader(archive))
			}))
			defer server.Close()
			for name, from := range map[string]string{"zip": zipPath, "url": server.URL + "/files/data.zip?raw=1", "nested": files{"a/b/c.txt": "x"}.dir(t, "data")} {
				opts := Options{SHA256: strings.ToUpper(sum)}
				if name == "nested" {
					opts.SHA256 = ""
					deep := filepath.Join(from, "a", "b", "deep")
					if err := os.CopyFS(deep, os.DirFS(f.dir(t, "data"))); err != nil {
						t.Fatal(err)
					}
				}
				var last Progress
				phases := map[string]bool{}
				opts.Progress = func(p Progress) {
					if p.Phase == last.Phase && p.Done < last.Done {
						t.Errorf("%s: progress goes back from %+v to %+v", name, last, p)
					}
					last = p
					phases[p.Phase] = true
				}
				got, report, err := Import(context.Background(), from, opts)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if diff := cmp.Diff(want, got, compareInputs); diff != "" {
					t.Errorf("%s differs from a folder (-want +got):\n%s", name, diff)
				}
				if report.Format != format || name != "nested" && report.SHA256 != sum {
					t.Errorf("%s: layout %s, checksum %s", name, report.Format, report.SHA256)
				}
				if last.Phase != "read" || last.Done != last.Total || phases["download"] != (name == "url") {
					t.Errorf("%s: progress ended at %+v after phases %v", name, last, phases)
				}
			}
		})
	}
}

func TestASingleTaskMayBeAFileOrAURL(t *testing.T) {
	f := taskSetFiles(6, 9)
	name := slices.Sorted(mapKeys(f))[0]
	want, _ := mustImport(t, files{name: f[name]}, "data", Options{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, name, time.Time{}, strings.NewReader(f[name]))
	}))
	defer server.Close()
	for _, from := range []string{filepath.Join(f.dir(t, "data"), name), server.URL + "/tasks/" + name} {
		got, _, err := Import(context.Background(), from, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, compareInputs); diff != "" {
			t.Errorf("%s (-want +got):\n%s", from, diff)
		}
	}
}

func TestVersionIsFound(t *testing.T) {
	runs := sampleRuns(7)
	plain := compactFiles(runs)
	plain[perfFile] = strings.Replace(plain[perfFile], `, "info": {"version": "extended", "metric": "Top1 Accuracy in %"}`, "", 1)
	for i := range runs { // ids that name no version
		id := fmt.Sprint(7000 + i)
		for name := range plain {
			plain[name] = strings.ReplaceAll(plain[name], runs[i].id, id)
		}
	}
	for _, c := range []struct {
		name string
		f    files
		dir  string
		opts Options
		want string
	}{
		{"option", plain, "extended", Options{Version: "mini"}, "mini"},
		{"info", compactFiles(runs), "mini", Options{}, "extended"},
		{"data sets", cachedTable(releasedFiles(runs), runs, argsTables[0]), "mini", Options{}, "extended"},
		{"folder", plain, "my-mini", Options{}, "mini"},
		{"descriptors of extended", plain, "data", Options{}, "extended"},
		{"descriptors of mini", plain.with(descriptorsFile, `{"DOG": [2880, 120, 128, 3], "BCT": [792, 33, 128, 3]}`), "data", Options{}, "mini"},
		{"descriptors of micro", plain.with(descriptorsFile, `{"DOG": [456, 19, 128, 3], "BCT": [480, 20, 128, 3]}`), "data", Options{}, "micro"},
	} {
		in, report := mustImport(t, c.f, c.dir, c.opts)
		if report.Version != c.want || in.CurveCap != versionCaps[c.want] {
			t.Errorf("%s: version %q with cap %v, want %q", c.name, report.Version, in.CurveCap, c.want)
		}
		if memoryTests := report.Ends[metadataset.EndMemoryTest]; (memoryTests > 0) != (c.want == "extended") {
			t.Errorf("%s: %d memory tests in version %s", c.name, memoryTests, c.want)
		}
	}
	in, _ := mustImport(t, plain, "data", Options{CurveCap: 40})
	if in.CurveCap != 40 {
		t.Errorf("cap %v, want 40", in.CurveCap)
	}
}

func TestVersionMustNotContradictTheSource(t *testing.T) {
	_, _, err := importDir(t, compactFiles(sampleRuns(7)), "mini", Options{Version: "mini"})
	if want := "mini/perf.json: is of version extended, not mini"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestVersionChoosesAmongSeveral(t *testing.T) {
	all := files{}
	for _, version := range []string{"micro", "mini", "extended"} {
		for name, content := range releasedFiles(sampleRuns(8)) {
			name = strings.Replace(name, "extended/", version+"/", 1)
			all["qt_metadataset/"+name] = strings.ReplaceAll(content, "extended", version)
		}
	}
	all["qt_metadataset/dataset-meta-features/meta-album/"+metaFeatureFile] = `{"dataset_names": ["mini/set1/DOG", "mini/set0/BCT"],
		"dataset_descriptors": [[2880, 120, 128, 3], [792, 33, 128, 3]], "hessians": []}`
	in, report := mustImport(t, all, "data", Options{Version: "mini"})
	if report.Version != "mini" || in.CurveCap != 14400 || in.Datasets[0].TrainSamples == 0 {
		t.Errorf("version %q, cap %v, data sets %v", report.Version, in.CurveCap, in.Datasets)
	}
	_, _, err := importDir(t, all, "data", Options{})
	want := "data: holds 3 meta-datasets, qt_metadataset/extended (released), qt_metadataset/micro (released), qt_metadataset/mini (released): choose one by its version, its layout or its folder"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestEndOf(t *testing.T) {
	for _, c := range []struct {
		seconds []float32
		planned int
		cap     float64
		want    metadataset.End
	}{
		{[]float32{1, 1, 1}, 3, 100, metadataset.EndCompleted},
		{[]float32{40, 20}, 3, 100, metadataset.EndUnknown}, // 60 + 40 still fits
		{[]float32{41, 20}, 3, 100, metadataset.EndTimeCapped},
		{[]float32{41, 20}, 3, 0, metadataset.EndUnknown},
		{nil, 3, 100, metadataset.EndUnknown},
	} {
		if got := endOf(c.seconds, c.planned, c.cap); got != c.want {
			t.Errorf("endOf(%v, %d, %v) = %s, want %s", c.seconds, c.planned, c.cap, got, c.want)
		}
	}
}

func TestHubIsTheModelsOfTheSpace(t *testing.T) {
	s := space.QuickTune()
	var names []string
	for _, v := range s.Param(s.Index(modelParam)).Choices {
		names = append(names, v.Text())
	}
	var got []string
	for _, m := range hub() {
		got = append(got, m.Name)
		if !(m.Params > 1 && m.Params < 310 && m.SourceAccuracy > 0.65 && m.SourceAccuracy < 0.89 && m.Pixels >= 224 && m.GMACs > 0.3) {
			t.Errorf("implausible numbers: %+v", m)
		}
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Errorf("models (-space +table):\n%s", diff)
	}
	want := metadataset.Model{Name: "dla46x_c", Params: 1.07, SourceAccuracy: 0.65952, Pixels: 224, GMACs: 0.54}
	if diff := cmp.Diff(want, hub()[23]); diff != "" {
		t.Errorf("last model (-want +got):\n%s", diff)
	}
}

func TestImportStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err := Import(ctx, compactFiles(sampleRuns(9)).dir(t, "extended"), Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}
