package metadataset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"quicktune/internal/stream"
	"quicktune/space"
)

func TestWriteRefusesBadInput(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*Input)
		want string
	}{
		{"no space", func(in *Input) { in.Space = nil }, "no search space"},
		{"no metric", func(in *Input) { in.Metric = Metric{} }, "metric is  : use maximize val_accuracy or minimize val_loss"},
		{"metric upside down", func(in *Input) { in.Metric.Goal = Minimize }, "metric is minimize val_accuracy"},
		{"no epochs planned", func(in *Input) { in.MaxEpochs = 0 }, "max epochs is 0"},
		{"time unit", func(in *Input) { in.TimeUnit = "hours" }, `time unit is "hours": use "seconds" or "epochs"`},
		{"curve cap", func(in *Input) { in.CurveCap = math.Inf(1) }, "curve cap is +Inf"},
		{"budgets", func(in *Input) { in.Budgets = []float64{60, 30} }, "budgets [60 30]: want positive numbers in ascending order"},
		{"no budget", func(in *Input) { in.Budgets = []float64{0, 30} }, "budgets [0 30]"},
		{"model hyperparameter", func(in *Input) { in.ModelParam = "arch" }, `model hyperparameter "arch" is not in the search space`},
		{"model hyperparameter of numbers", func(in *Input) { in.ModelParam = "lr" }, `model hyperparameter "lr" is real: use a categorical one`},
		{"meta-feature twice", func(in *Input) { in.MetaFeatures = []string{"skew", "skew"} }, `meta-feature "skew" is named twice`},
		{"note that is no text", func(in *Input) { in.Notes = []string{"\xff"} }, `generator or notes: "\xff" is not UTF-8`},
		{"endless reason", func(in *Input) { in.Curves[0].Reason = strings.Repeat("stack trace ", 800) }, `curve "run-100": "stack trace stack trace stack trace stac"... has 9600 bytes; at most 8192 can be stored`},
		{"data set without name", func(in *Input) { in.Datasets[0].Name = "" }, `data set "": the name is empty`},
		{"data set twice", func(in *Input) { in.Datasets[1].Name = "flowers" }, `data set "flowers" is given twice`},
		{"negative descriptor", func(in *Input) { in.Datasets[0].Classes = -1 }, `data set "flowers": classes is -1`},
		{"too few meta-features", func(in *Input) { in.Datasets[0].MetaFeatures = []float64{1} }, `data set "flowers": 1 meta-features, 2 are named`},
		{"model twice", func(in *Input) { in.Models[1].Name = "resnet" }, `model "resnet" is given twice`},
		{"model accuracy in percent", func(in *Input) { in.Models[0].SourceAccuracy = 76 }, `model "resnet": source_accuracy is 76`},
		{"curve without id", func(in *Input) { in.Curves[3].ID = "" }, `data set "birds", curve "": the name is empty`},
		{"duplicate id", func(in *Input) { in.Curves[3].ID = "run-100" }, `data set "birds", curve "run-100": the id is given twice`},
		{"unknown data set", func(in *Input) { in.Curves[3].Dataset = "cars" }, `data set "cars", curve "run-97": the data set is not among those given`},
		{"invalid configuration", func(in *Input) {
			in.Curves[3].Config = slices.Clone(in.Curves[3].Config)
			in.Curves[3].Config[2] = space.Float(7)
		}, `data set "birds", curve "run-97": hyperparameter "lr" is 7: use`},
		{"configuration of another space", func(in *Input) { in.Curves[3].Config = in.Curves[3].Config[1:] }, `curve "run-97": configuration has 8 values`},
		{"unknown column", func(in *Input) { in.Curves[0].Values["gpu_load"] = make([]float32, 4) }, `curve "run-100": unknown column "gpu_load"`},
		{"unequal lengths", func(in *Input) { in.Curves[0].Values[TrainLoss] = make([]float32, 3) }, `curve "run-100": columns of different lengths`},
		{"no metric values", func(in *Input) { delete(in.Curves[0].Values, ValAccuracy) }, `curve "run-100": no val_accuracy, though there are 4 epochs`},
		{"no seconds", func(in *Input) { delete(in.Curves[0].Values, Seconds) }, `curve "run-100": no seconds, though there are 4 epochs`},
		{"accuracy 101", func(in *Input) { in.Curves[0].Values[ValAccuracy][2] = 101 }, `curve "run-100": epoch 3: val_accuracy is 101: an accuracy lies in [0, 1]`},
		{"NaN accuracy", func(in *Input) { in.Curves[0].Values[ValAccuracy][2] = nan32 }, `curve "run-100": epoch 3: val_accuracy is unknown`},
		{"infinite loss", func(in *Input) { in.Curves[0].Values[TrainLoss][2] = float32(math.Inf(1)) }, `curve "run-100": epoch 3: train_loss is infinite`},
		{"zero seconds", func(in *Input) { in.Curves[0].Values[Seconds][0] = 0 }, `curve "run-100": epoch 1: seconds is 0`},
		{"negative seconds", func(in *Input) { in.Curves[0].Values[Seconds][0] = -1 }, `curve "run-100": epoch 1: seconds is -1`},
		{"evaluation longer than the epoch", func(in *Input) { in.Curves[0].Values[EvalSeconds][0] = 9 }, `curve "run-100": epoch 1: eval_seconds is 9`},
		{"seconds without time", func(in *Input) { in.TimeUnit = TimeEpochs }, `seconds are given, though the time unit is epochs`},
		{"no such end", func(in *Input) { in.Curves[0].End = "" }, `curve "run-100": end is "": use one of`},
		{"completed early", func(in *Input) { in.MaxEpochs = 5 }, `curve "run-100": the end is completed after 4 epochs of 5`},
		{"too many epochs", func(in *Input) { in.MaxEpochs = 3 }, `curve "run-100": 4 epochs, planned were 3`},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := tinyInput(t)
			c.edit(&in)
			dir := filepath.Join(t.TempDir(), "tiny")
			err := Write(dir, in)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %v, want one line with %q", err, c.want)
			}
			wantEntries(t, filepath.Dir(dir))
		})
	}
}

// wantEntries compares the entries of a directory with the names given.
func wantEntries(t testing.TB, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

func hashOf(t testing.TB, dir string) string {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s.Manifest.Hash
}

func TestSameInputGivesSameBytes(t *testing.T) {
	dir, in := writeTiny(t)
	slices.Reverse(in.Curves)
	slices.Reverse(in.Datasets)
	again := filepath.Join(t.TempDir(), "again")
	if err := Write(again, in); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{manifestFile, datasetsFile, modelsFile, configsFile, endsFile, partZero} {
		a, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(again, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestCanonicalHashIdentifiesTheData(t *testing.T) {
	s, _ := openTiny(t)
	base := s.Manifest.CanonicalHash()
	if s.Manifest.Hash != base {
		t.Errorf("stored hash %s, computed %s", s.Manifest.Hash, base)
	}
	same := s.Manifest
	same.Generator, same.Notes, same.Budgets, same.Space = "another", nil, []float64{1}, nil
	if same.CanonicalHash() != base {
		t.Error("generator, notes, budgets or the layout of the space change the hash")
	}
	for name, edit := range map[string]func(*Manifest){
		"metric":   func(m *Manifest) { m.Metric = Metric{ValLoss, Minimize} },
		"epochs":   func(m *Manifest) { m.MaxEpochs++ },
		"model":    func(m *Manifest) { m.ModelParam = "" },
		"time":     func(m *Manifest) { m.TimeUnit = TimeEpochs },
		"cap":      func(m *Manifest) { m.CurveCap++ },
		"features": func(m *Manifest) { m.MetaFeatures = nil },
		"counts":   func(m *Manifest) { m.Counts.Epochs++ },
		"space":    func(m *Manifest) { m.SpaceHash = base },
		"part":     func(m *Manifest) { m.Parts = slices.Clone(m.Parts); m.Parts[2].SHA256 = base },
	} {
		other := s.Manifest
		if edit(&other); other.CanonicalHash() == base {
			t.Errorf("another %s has the same hash", name)
		}
	}
}

func TestWriteToADirectoryInUse(t *testing.T) {
	dir, in := writeTiny(t)
	before := hashOf(t, dir)
	parent := filepath.Dir(dir)

	if err := Write(dir, in); err != nil {
		t.Errorf("the same data again: %v", err)
	}
	other := in
	other.Curves = other.Curves[1:]
	if err := Write(dir, other); err == nil || !strings.Contains(err.Error(), `holds another meta-dataset (14 curves, by "a test")`) {
		t.Errorf("other data: %v", err)
	}
	if hashOf(t, dir) != before {
		t.Error("a refused write changed the data")
	}
	wantEntries(t, parent, "tiny")
	if err := Write(dir, other, Replace); err != nil {
		t.Errorf("replacing: %v", err)
	}
	if hashOf(t, dir) == before {
		t.Error("replacing changed nothing")
	}
	wantEntries(t, parent, "tiny")

	// The same hash over damaged files is not the same content.
	editBytes(endsFile, func(b []byte) []byte { return b[1:] })(t, dir)
	if err := Write(dir, other); err == nil {
		t.Error("a damaged copy counts as the same data")
	}
	if err := Write(dir, other, Replace); err != nil {
		t.Errorf("replacing a damaged copy: %v", err)
	}
	wantNoProblem(t, dir)

	// What Write did not make stays.
	note := filepath.Join(dir, "README.md")
	if err := os.WriteFile(note, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, in, Replace); err == nil || !strings.Contains(err.Error(), "README.md is not part of a meta-dataset") {
		t.Errorf("replacing a directory with another file: %v", err)
	}
	if err := Write(dir, other, Replace); err != nil && !strings.Contains(err.Error(), "README.md") {
		t.Errorf("the same data beside another file: %v", err)
	}
	if _, err := os.Stat(note); err != nil {
		t.Error(err)
	}
	wantEntries(t, parent, "tiny")
}

func wantNoProblem(t testing.TB, dir string) {
	t.Helper()
	for _, err := range Verify(dir) {
		t.Error(err)
	}
}

func TestWriteRefusesWhatItDidNotMake(t *testing.T) {
	in := tinyInput(t)
	for name, make := range map[string]func(string) error{
		"a file":                 func(dir string) error { return os.WriteFile(dir, []byte("mine"), 0o666) },
		"a directory with files": func(dir string) error { return errors.Join(os.Mkdir(dir, 0o777), os.WriteFile(dir+"/x", nil, 0o666)) },
		"another manifest": func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o777), os.WriteFile(dir+"/manifest.json", []byte("{}"), 0o666))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "x")
			if err := make(dir); err != nil {
				t.Fatal(err)
			}
			for _, options := range [][]WriteOption{nil, {Replace}} {
				if err := Write(dir, in, options...); err == nil || strings.Contains(err.Error(), "\n") {
					t.Errorf("with %v: %v", options, err)
				}
			}
			wantEntries(t, filepath.Dir(dir), "x")
		})
	}
}

func TestWriteFillsAnEmptyDirectoryAndMakesParents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	in := tinyInput(t)
	if err := Write(dir, in); err != nil {
		t.Error(err)
	}
	wantNoProblem(t, dir)
	if err := Write(filepath.Join(dir, "..", "c", "d"), in); err != nil {
		t.Error(err)
	}
}

func TestWriteFollowsALink(t *testing.T) {
	dir, in := writeTiny(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	in.Curves = in.Curves[1:]
	if err := Write(link, in, Replace); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link became %v (%v)", info.Mode(), err)
	}
	if s, err := Open(dir); err != nil || s.NumCurves() != 13 {
		t.Errorf("%v", err)
	}
}

func TestOneWriterAtATime(t *testing.T) {
	dir, in := writeTiny(t)
	held, err := lockTarget(dir)
	if err != nil {
		t.Fatal(err)
	}
	in.Curves = in.Curves[1:]
	if err := Write(dir, in, Replace); err == nil || !strings.Contains(err.Error(), "another process is writing it") {
		t.Errorf("a second writer: %v", err)
	}
	held.unlock()
	if err := Write(dir, in, Replace); err != nil {
		t.Error(err)
	}
	wantEntries(t, filepath.Dir(dir), "tiny")
}

func TestOldDataComeBackAfterAKillBetweenRenames(t *testing.T) {
	dir, in := writeTiny(t)
	before := hashOf(t, dir)
	if err := os.Rename(dir, dir+".old.tmp"); err != nil {
		t.Fatal(err)
	}
	in.Curves = in.Curves[1:]
	if err := Write(dir, in); err == nil || !strings.Contains(err.Error(), "holds another meta-dataset") {
		t.Errorf("writing other data: %v", err)
	}
	if hashOf(t, dir) != before {
		t.Error("the old data are gone")
	}
}

func TestRemainsThatAreNotOursStay(t *testing.T) {
	dir, in := writeTiny(t)
	in.Curves = in.Curves[1:]
	if err := os.MkdirAll(dir+".new.tmp/photos", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, in, Replace); err == nil || !strings.Contains(err.Error(), "photos is not part of a meta-dataset") {
		t.Errorf("%v", err)
	}
	wantEntries(t, filepath.Dir(dir), "tiny", "tiny.new.tmp")
}

// killedWriter is the directory that a child process writes to until it is
// killed.
const killedWriter = "QUICKTUNE_TEST_KILLED_WRITER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedWriter); dir != "" {
		if err := writeForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForEver writes two meta-datasets in turn.
func writeForEver(dir string) error {
	defer setRowsPerPart(7)()
	a := tinyInput(new(testing.B))
	b := a
	b.Curves = b.Curves[1:]
	fmt.Println("ready")
	for {
		for _, in := range []Input{a, b} {
			if err := Write(dir, in, Replace); err != nil {
				return err
			}
			fmt.Println("written")
		}
	}
}

// TestKilledWriterLeavesNothingOrAWholeDataset kills a process that keeps
// replacing a meta-dataset, at random moments.
func TestKilledWriterLeavesNothingOrAWholeDataset(t *testing.T) {
	defer setRowsPerPart(7)()
	in := tinyInput(t)
	other := in
	other.Curves = other.Curves[1:]
	known := make(map[string]bool)
	for i, in := range []Input{in, other} {
		dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := Write(dir, in); err != nil {
			t.Fatal(err)
		}
		known[hashOf(t, dir)] = true
	}
	start := time.Now()
	if err := Write(filepath.Join(t.TempDir(), "timed"), in); err != nil {
		t.Fatal(err)
	}
	oneWrite := time.Since(start)
	rng := stream.New("kill", uint64(time.Now().UnixNano()))
	parent := t.TempDir()
	whole := 0
	for i := range 30 {
		// Half of the children start with nothing, half with the data of the
		// child before.
		dir := filepath.Join(parent, fmt.Sprint(i/2))
		had := exists(dir)
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), killedWriter+"="+dir)
		child.Stderr = os.Stderr
		pipe, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		output := bufio.NewReader(pipe)
		// Even children are killed in their first write, odd ones while they
		// replace what is there.
		for _, want := range []string{"ready\n", "written\n"}[:1+i%2] {
			if line, err := output.ReadString('\n'); line != want {
				t.Fatalf("the child says %q (%v), want %q", line, err, want)
			}
		}
		had = had || i%2 == 1
		time.Sleep(time.Duration(rng.Float64() * 2 * float64(oneWrite)))
		if err := child.Process.Kill(); err != nil {
			t.Fatalf("the child ended by itself: %v", err)
		}
		written, err := io.ReadAll(output)
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); child.ProcessState.Exited() {
			t.Fatalf("the child ended by itself: %v", err)
		}
		s, err := Open(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if had || len(written) > 0 {
				t.Errorf("kill %d: a written dataset is gone", i)
			}
			if exists(dir) {
				t.Errorf("kill %d: %s exists and holds no dataset", i, dir)
			}
		case err != nil:
			t.Errorf("kill %d: %v", i, err)
		case !known[s.Manifest.Hash]:
			t.Errorf("kill %d: a dataset that nobody wrote", i)
		default:
			whole++
		}
		if i%2 == 0 {
			continue
		}
		if err := Write(dir, in, Replace); err != nil {
			t.Errorf("writing after kill %d: %v", i, err)
		}
		wantNoProblem(t, dir)
		for _, remains := range []string{".new.tmp", ".old.tmp", ".lock.tmp"} {
			if exists(dir + remains) {
				t.Errorf("%s%s is still there", dir, remains)
			}
		}
	}
	t.Logf("%d of 30 kills left a whole dataset, the others none", whole)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
