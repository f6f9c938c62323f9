package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"quicktune/internal/cli"
	"quicktune/internal/stream"
	"quicktune/tune/report"
	"quicktune/tune/session"
)

// asTune makes the test binary the command itself, for tests that kill it.
const asTune = "QUICKTUNE_TEST_AS_TUNE"

func TestMain(m *testing.M) {
	if os.Getenv(asTune) != "" {
		main()
	}
	os.Exit(m.Run())
}

// folder makes a folder with pictures of the given classes, which differ in
// colour and direction.
func folder(t testing.TB, each int, classes ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pictures")
	for c, class := range classes {
		must(t, os.MkdirAll(filepath.Join(dir, class), 0o777))
		for i := range each {
			picture := drawing(c, len(classes), i)
			must(t, os.WriteFile(filepath.Join(dir, class, fmt.Sprintf("%d.png", i)), picture, 0o666))
		}
	}
	return dir
}

func drawing(class, classes, i int) []byte {
	rng := stream.New("tune/test/picture", uint64(class), uint64(i))
	img := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for y := range 16 {
		for x := range 16 {
			v := 60 * ((x + class*y) / 3 % 2)
			img.Set(x, y, color.RGBA{uint8(v + 120*class/classes + rng.IntN(60)), uint8(v + rng.IntN(60)), uint8(40 + rng.IntN(60)), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tune runs the command in this process.
func tune(t testing.TB, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	began = time.Now()
	var out, log bytes.Buffer
	err = run(context.Background(), args, &out, &log)
	return out.String(), log.String(), err
}

// counted are flags of a small search that is the same everywhere.
func counted(data, out string, more ...string) []string {
	return append([]string{"--data", data, "--out", out, "--clock", "counted", "--budget", "1s", "--method", "asha",
		"--models", "plain_xs,separable_xs", "--candidates", "20"}, more...)
}

func TestASearchFindsANetworkThatCanBeUsed(t *testing.T) {
	data := folder(t, 25, "kėdė", "two words", "c")
	out := filepath.Join(t.TempDir(), "run")
	stdout, _, err := tune(t, counted(data, out)...)
	must(t, err)
	in, err := report.ReadIncumbent(filepath.Join(out, report.IncumbentFile))
	must(t, err)
	for _, want := range []string{
		fmt.Sprintf("%s, epoch %d of 50", in.Model, in.Epoch),
		fmt.Sprintf("validation accuracy  %.3f", in.Validation.Value),
		fmt.Sprintf("test accuracy        %.3f", in.Test.Value),
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
	if in.Validation.Value < 0.5 || in.Used > 1 || in.Validation.Pictures != 15 || in.Validation.Low >= in.Validation.Value {
		t.Errorf("%+v", in)
	}

	rows, err := parquet.ReadFile[report.Row](filepath.Join(out, report.HistoryFile))
	must(t, err)
	best, last := 0.0, report.Row{}
	for _, r := range rows {
		if r.Best {
			if *r.ValAccuracy <= best {
				t.Errorf("epoch %d of trial %d is no better than %g", r.Epoch, r.Trial, best)
			}
			best, last = *r.ValAccuracy, r
		}
	}
	if len(rows) != in.Trained || best != in.Validation.Value || int(last.Epoch) != in.Epoch || last.Model != in.Model {
		t.Errorf("%d rows, the best %+v; incumbent %+v", len(rows), last, in)
	}

	page, err := os.ReadFile(filepath.Join(out, report.PageFile))
	must(t, err)
	for _, want := range []string{"kėdė", "two words", in.Model, "go run ./tune train --from", "<svg"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the report does not contain %q", want)
		}
	}

	// The network as a file of its own gives the same answers.
	file := filepath.Join(t.TempDir(), "model.safetensors")
	_, _, err = tune(t, "export", out, "--out", file)
	must(t, err)
	if _, _, err = tune(t, "export", out, "--format", "onnx"); cli.ExitCode(err) != cli.ExitUsage || !strings.Contains(err.Error(), "written as safetensors alone") {
		t.Errorf("an embedded network as ONNX: %v", err)
	}
	picture := filepath.Join(data, "two words", "3.png")
	fromRun, _, err := tune(t, "predict", "--model", out, "--top", "3", "--json", picture)
	must(t, err)
	fromFile, _, err := tune(t, "predict", "--model", file, "--top", "3", "--json", picture)
	must(t, err)
	var answer struct {
		Predictions []prediction
	}
	must(t, json.Unmarshal([]byte(fromRun), &answer))
	if fromRun != fromFile || len(answer.Predictions) != 3 || answer.Predictions[0].Probability < answer.Predictions[1].Probability {
		t.Errorf("the run says %sthe file %s", fromRun, fromFile)
	}

	// The pipeline gives the same network again.
	again := filepath.Join(t.TempDir(), "again")
	stdout, _, err = tune(t, "train", "--from", filepath.Join(out, report.IncumbentFile), "--out", again)
	must(t, err)
	first, err := os.ReadFile(filepath.Join(out, session.ModelFile))
	must(t, err)
	second, err := os.ReadFile(filepath.Join(again, session.ModelFile))
	must(t, err)
	if !bytes.Equal(first, second) {
		t.Errorf("the pipeline trained again is another network: %s", stdout)
	}

	// A search that is over is not begun again.
	before, err := os.ReadFile(filepath.Join(out, "journal.log"))
	must(t, err)
	if _, _, err = tune(t, "--resume", out); err != nil {
		t.Errorf("resuming what is over: %v", err)
	}
	after, err := os.ReadFile(filepath.Join(out, "journal.log"))
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the journal of a search that is over has grown")
	}
}

func TestTheForecastsThatComeWithTheProgramAreUsed(t *testing.T) {
	data, out := folder(t, 20, "a", "b"), filepath.Join(t.TempDir(), "run")
	stdout, stderr, err := tune(t, "--data", data, "--out", out, "--clock", "counted", "--budget", "300ms", "--models", "mixer_xs,separable_xs")
	must(t, err)
	if !strings.Contains(stderr, "method=Quick-Tune candidates=480") || !strings.Contains(stdout, "validation accuracy") {
		t.Errorf("%s%s", stdout, stderr)
	}
	page, err := os.ReadFile(filepath.Join(out, report.PageFile))
	must(t, err)
	if !strings.Contains(string(page), "24 data sets (") {
		t.Error("the report does not say what the forecasts were learnt from")
	}
}

func TestTheSameCommandGivesTheSameNetwork(t *testing.T) {
	data := folder(t, 20, "a", "b")
	var models [2][]byte
	for i := range models {
		out := filepath.Join(t.TempDir(), "run")
		_, _, err := tune(t, counted(data, out, "--budget", "300ms", "--seed", "7")...)
		must(t, err)
		models[i], err = os.ReadFile(filepath.Join(out, session.ModelFile))
		must(t, err)
	}
	if !bytes.Equal(models[0], models[1]) {
		t.Error("two runs of one command find different networks")
	}
}

// zipped packs a folder.
func zipped(t testing.TB, dir, to string) string {
	t.Helper()
	f, err := os.Create(to)
	must(t, err)
	w := zip.NewWriter(f)
	must(t, errors.Join(w.AddFS(os.DirFS(dir)), w.Close(), f.Close()))
	return to
}

func TestPicturesComeInEveryLayout(t *testing.T) {
	plain := folder(t, 15, "one", "two")
	album := filepath.Join(t.TempDir(), "album ü")
	must(t, os.MkdirAll(filepath.Join(album, "images"), 0o777))
	labels := "FILE_NAME,CATEGORY\n"
	for c, class := range []string{"one", "two"} {
		for i := range 15 {
			name := fmt.Sprintf("%d %d.png", c, i)
			must(t, os.WriteFile(filepath.Join(album, "images", name), drawing(c, 2, i), 0o666))
			labels += name + "," + class + "\n"
		}
	}
	must(t, os.WriteFile(filepath.Join(album, "labels.csv"), []byte(labels), 0o666))
	for _, data := range []string{plain, album, zipped(t, plain, filepath.Join(t.TempDir(), "a b.zip"))} {
		stdout, stderr, err := tune(t, counted(data, filepath.Join(t.TempDir(), "run"), "--budget", "100ms", "--candidates", "4")...)
		if err != nil || !strings.Contains(stdout, "test accuracy") {
			t.Errorf("%s: %v\n%s%s", data, err, stdout, stderr)
		}
	}
}

// Every line says what is wrong and, where there is something to do, what.
func TestBadInputIsOneLine(t *testing.T) {
	good := folder(t, 12, "a", "b")
	empty := t.TempDir()
	oneImage := folder(t, 1, "a")
	oneClass := folder(t, 20, "a")
	few := folder(t, 2, "a", "b")
	unreadable := folder(t, 12, "a", "b")
	for i := range 12 {
		must(t, os.WriteFile(filepath.Join(unreadable, "a", fmt.Sprintf("%d.png", i)), []byte("not a picture"), 0o666))
	}
	twice := folder(t, 12, "a", "b")
	must(t, os.MkdirAll(filepath.Join(twice, "images"), 0o777))
	must(t, os.Rename(filepath.Join(twice, "a"), filepath.Join(twice, "images", "a")))
	must(t, os.RemoveAll(filepath.Join(twice, "b")))
	must(t, os.WriteFile(filepath.Join(twice, "labels.csv"), []byte("FILE_NAME,CATEGORY\na/1.png,x\na/2.png,y\na/1.png,y\n"), 0o666))
	notMine := t.TempDir()
	must(t, os.WriteFile(filepath.Join(notMine, "letter.txt"), []byte("dear"), 0o666))
	badSpace := filepath.Join(t.TempDir(), "space.json")
	must(t, os.WriteFile(badSpace, []byte(`{"format":"quicktune-space","version":1,"name":"x","hyperparameters":[{"name":"lr","type":"real","lower":1,"upper":0}],"conditions":[]}`), 0o666))
	badPredictor := filepath.Join(t.TempDir(), "predictor.zip")
	must(t, os.WriteFile(badPredictor, []byte("PK nothing"), 0o666))
	out := func() string { return filepath.Join(t.TempDir(), "run") }
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no data", []string{"--budget", "1s"}, "--data: name a folder"},
		{"wrong folder", counted(filepath.Join(good, "missing"), out()), "no such file or directory"},
		{"empty folder", counted(empty, out()), empty},
		{"one picture", counted(oneImage, out()), oneImage},
		{"one class", counted(oneClass, out()), oneClass},
		{"two pictures a class", counted(few, out()), "at least 5"},
		{"unreadable pictures", counted(unreadable, out()), "12 of 24 pictures cannot be read"},
		{"a name twice", counted(twice, out()), "row 4: picture a/1.png is in row 2 already"},
		{"no budget", counted(good, out(), "--budget", "0s"), "--budget"},
		{"negative budget", counted(good, out(), "--budget", "-5s"), "--budget"},
		{"budget that is no time", counted(good, out(), "--budget", "soon"), "soon"},
		{"budget too small", counted(good, out(), "--budget", "1ms"), "give more time"},
		{"unknown network", counted(good, out(), "--models", "resnet999"), "resnet999"},
		{"unknown method", counted(good, out(), "--method", "magic"), "--method magic: want one of quicktune"},
		{"no candidates", counted(good, out(), "--candidates", "0"), "--candidates 0"},
		{"someone else's directory", counted(good, notMine), "letter.txt"},
		{"a bad space", counted(good, out(), "--space", badSpace), "lr"},
		{"no space", counted(good, out(), "--space", "nowhere.json"), "nowhere.json"},
		{"a bad predictor", counted(good, out(), "--method", "quicktune", "--predictor", badPredictor), badPredictor},
		{"no meta-dataset", counted(good, out(), "--method", "quicktune", "--meta", empty), "--meta"},
		{"two sources of knowledge", counted(good, out(), "--predictor", badPredictor, "--meta", empty), "exclude each other"},
		{"another trainer", counted(good, out(), "--trainer", "horse"), "--trainer horse"},
		{"epochs without a program", counted(good, out(), "--epochs", "3"), "--epochs"},
		{"a program without a space", []string{"--exec", "true", "--budget", "1s", "--out", out()}, "--space"},
		{"an unknown metric", counted(good, out(), "--metric", "f1"), "--metric f1"},
		{"resuming nothing", []string{"--resume", empty}, "holds no run"},
		{"resuming with other settings", []string{"--resume", empty, "--budget", "2h"}, "leave out --budget"},
		{"a flag that is none", []string{"--bugdet", "2h"}, "bugdet"},
		{"predict without a model", []string{"predict", "x.png"}, "--model"},
		{"predict with a folder", []string{"predict", "--model", empty, "x.png"}, "holds no network yet"},
		{"predict with a picture", []string{"predict", "--model", filepath.Join(good, "a", "1.png"), "x.png"}, "1.png"},
		{"export of nothing", []string{"export", empty}, "holds no network yet"},
		{"export as a picture", []string{"export", empty, "--format", "jpeg"}, "--format jpeg: want one of safetensors, pth, onnx"},
		{"jobs of a cluster for the embedded networks", counted(good, out(), "--dispatch", "slurm"), "--dispatch: only with --trainer timm"},
		{"GPUs for the embedded networks", counted(good, out(), "--gpus", "0"), "--gpus: only with --trainer timm"},
		{"a partition of this machine", counted(good, out(), "--trainer", "timm", "--partition", "gpu"), "--partition: only with --dispatch slurm"},
		{"another dispatch", counted(good, out(), "--trainer", "timm", "--dispatch", "ray"), "--dispatch ray: want local or slurm"},

		{"train from nothing", []string{"train", "--from", filepath.Join(empty, "incumbent.json"), "--out", out()}, "--from"},
		{"compare nothing", []string{"compare", "--budget", "1s"}, "--data"},
	} {
		_, _, err := tune(t, c.args...)
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if code := cli.ExitCode(err); code != cli.ExitUsage {
			t.Errorf("%s: exit code %d, want %d: %v", c.name, code, cli.ExitUsage, err)
		}
		if text := err.Error(); !strings.Contains(text, c.want) || strings.Contains(text, "\n") {
			t.Errorf("%s: %q does not say %q in one line", c.name, text, c.want)
		}
	}
}

func TestARunIsNotOverwritten(t *testing.T) {
	data, out := folder(t, 12, "a", "b"), filepath.Join(t.TempDir(), "run")
	_, _, err := tune(t, counted(data, out, "--budget", "100ms", "--candidates", "4")...)
	must(t, err)
	_, _, err = tune(t, counted(data, out, "--budget", "200ms", "--candidates", "4")...)
	if err == nil || !strings.Contains(err.Error(), "holds another run (budget 0.1, not 0.2)") {
		t.Errorf("another budget: %v", err)
	}
	// Other pictures under the same name.
	must(t, os.WriteFile(filepath.Join(data, "a", "0.png"), drawing(0, 2, 999), 0o666))
	_, _, err = tune(t, "--resume", out)
	if err == nil || !strings.Contains(err.Error(), "is not what it was") {
		t.Errorf("other pictures: %v", err)
	}
}

func TestTenThousandClasses(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 20,000 files")
	}
	dir := filepath.Join(t.TempDir(), "many")
	archive := filepath.Join(t.TempDir(), "many.zip")
	must(t, os.MkdirAll(dir, 0o777))
	f, err := os.Create(archive)
	must(t, err)
	w := zip.NewWriter(f)
	picture := drawing(0, 1, 0)
	for class := range 10_000 {
		for i := range 2 {
			entry, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("%05d/%d.png", class, i), Method: zip.Store})
			must(t, err)
			_, err = entry.Write(picture)
			must(t, err)
		}
	}
	must(t, errors.Join(w.Close(), f.Close()))
	// Nothing can be learnt from this, but it must not break.
	out := filepath.Join(t.TempDir(), "run")
	_, _, err = tune(t, counted(archive, out, "--budget", "1s", "--models", "mixer_xs", "--candidates", "2")...)
	must(t, err)
	in, err := report.ReadIncumbent(filepath.Join(out, report.IncumbentFile))
	must(t, err)
	if len(in.Classes) != 10_000 {
		t.Errorf("%d classes", len(in.Classes))
	}
}
