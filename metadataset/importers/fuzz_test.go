package importers

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"quicktune/metadataset"
)

// checkAny imports files that may be anything: the importer either refuses
// them in one line or gives what the store takes.
func checkAny(t *testing.T, f files, opts Options) {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, content := range f {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	tree, err := newTree("source", fsys, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	checkTree(t, tree, opts)
}

func checkTree(t *testing.T, tree *tree, opts Options) {
	t.Helper()
	in, report, err := importTree(context.Background(), tree, &opts)
	if err != nil {
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("the error has more than one line: %q", err)
		}
		if !reflect.ValueOf(in).IsZero() || !reflect.ValueOf(report).IsZero() {
			t.Errorf("data beside the error %v", err)
		}
		return
	}
	if report.Curves != len(in.Curves) || report.Datasets != len(in.Datasets) || len(in.Curves) == 0 {
		t.Errorf("%d curves and %d data sets are reported as %d and %d", len(in.Curves), len(in.Datasets), report.Curves, report.Datasets)
	}
	if err := metadataset.Write(filepath.Join(t.TempDir(), "out"), in); err != nil {
		t.Errorf("the store refuses what was imported: %v", err)
	}
}

func FuzzCompact(f *testing.F) {
	s := tiny()
	f.Add(s[perfFile], s[costFile], s[tableFile], s[descriptorsFile])
	for _, perf := range []string{`{}`, `{"DOG": {"1": [1, NaN]}}`, `{"info": {"version": "mini"}, "DOG": {"1": [10, 20.5], "2": [30]}}`, `{"DOG": {"1": [`, `{"\ud83d\ude00": {"\n": [1e2]}}`} {
		f.Add(perf, s[costFile], s[tableFile], s[descriptorsFile])
	}
	f.Fuzz(func(t *testing.T, perf, cost, table, descriptors string) {
		checkAny(t, files{perfFile: perf, costFile: cost, tableFile: table, descriptorsFile: descriptors}, Options{})
	})
}

func FuzzReleased(f *testing.F) {
	runs := sampleRuns(1)[1:2]
	s := releasedFiles(runs)
	meta := "dataset-meta-features/meta-album/" + metaFeatureFile
	add := func(s files) {
		f.Add(s["extended/"+evalTop1File], s["extended/"+evalTimeFile], s["extended/"+trainTimeFile], s["extended/"+argsFile], s["extended/"+argsTables[0]], s[meta], s["extended/train_loss.json"])
	}
	add(s)
	add(cachedTable(s, runs, argsTables[0]))
	add(s.with(meta, `{"dataset_names": [], "dataset_descriptors": [], "hessians": [[1]]}`))
	f.Fuzz(func(t *testing.T, top1, evalTime, trainTime, args, table, meta, loss string) {
		s := files{evalTop1File: top1, evalTimeFile: evalTime, trainTimeFile: trainTime, "train_loss.json": loss}
		for name, content := range map[string]string{argsFile: args, argsTables[0]: table, metaFeatureFile: meta} {
			if content != "" {
				s[name] = content
			}
		}
		checkAny(t, s, Options{Hessians: len(meta)%2 == 0})
	})
}

func FuzzQTT(f *testing.F) {
	s := qttFiles(sampleRuns(1)[:2])
	f.Add(s[configFile], s[curveFile], s[qttCostFile], s[metaFile])
	f.Add(qttOther[configFile], qttOther[curveFile], qttOther[qttCostFile], "")
	f.Add(qttOther[configFile], qttOther[curveFile], "id,1,2,3,4,5\na,1,2,3,4,5\nb,1,1,1,1,1\nc,7,8,,,\nd,,,,,\n", ",dataset,num-classes,modality,x\n0,y,10,MRI,\n1,x,2,CT,2.5\n")
	f.Add("i,a,b,c,has_b\n1,x,1.5,None,q\n2,,,7,q\n3,y,2.5,,q\n", "i,1\n1,0.1\n2,0.2\n3,1\n", "i,c\n1,1\n2,1\n3,1\n", "")
	f.Fuzz(func(t *testing.T, config, curve, cost, meta string) {
		s := files{configFile: config, curveFile: curve, qttCostFile: cost}
		if meta != "" {
			s[metaFile] = meta
		}
		checkAny(t, s, Options{TrimPadding: len(config)%2 == 0, CurveCap: float64(len(cost) % 7)})
	})
}

func FuzzTaskSet(f *testing.F) {
	for _, content := range taskSetFiles(1, 6) {
		f.Add(content, "")
	}
	f.Add(`[{"hp": {"lr": 0.1, "b": null}, "valid": {"loss": [1, NaN]}}]`, `[{"hp": {"lr": "a"}, "valid": {"loss": [1, 1e99, 2]}, "train": {"loss": [1, 2, -Infinity]}}]`)
	f.Fuzz(func(t *testing.T, first, second string) {
		s := files{"a.json": first}
		if second != "" {
			s["b.json"] = second
		}
		checkAny(t, s, Options{})
	})
}

func FuzzZip(f *testing.F) {
	f.Add(tiny().zip(f, "extended"))
	f.Add(files{"a.json": `[{"hp": {"lr": 0.1}, "valid": {"loss": [1, 2]}}]`}.zip(f, "tasks"))
	f.Add(makeZip(f, entry{name: "../perf.json", content: "{}"}, entry{name: "dir/"}))
	f.Fuzz(func(t *testing.T, archive []byte) {
		limits := Limits{Files: 100, File: 1 << 20, Total: 2 << 20, Ratio: 200}
		z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
		if err != nil {
			return
		}
		tree, err := newZipTree("data.zip", z, limits)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has more than one line: %q", err)
			}
			return
		}
		for _, file := range tree.files {
			if !filepath.IsLocal(file) {
				t.Errorf("the name %q leaves the archive", file)
			}
		}
		checkTree(t, tree, Options{})
	})
}

// FuzzScanner compares with encoding/json: whatever the scanner takes is JSON,
// but for the names that Python gives to numbers.
func FuzzScanner(f *testing.F) {
	for _, text := range []string{`{"a": [1, -2.5e-3, "x\u00e9\n", null, true, {}]}`, `[NaN, -Infinity]`, `"\ud83d\ude00\ud800"`, ` 0 `, `01`, `-`, `1e`, `[1,]`, `{"a":1,"a":2}`, `"\x"`, "\xef\xbb\xbf[]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := newScanner("a.json", text)
		err := s.skip()
		if err == nil {
			err = s.end()
		}
		if err != nil {
			return
		}
		if bytes.Contains(text, []byte("NaN")) || bytes.Contains(text, []byte("Infinity")) || bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
			return
		}
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatalf("%q is taken, but encoding/json says %v", text, err)
		}
		s = newScanner("a.json", text)
		switch want := v.(type) {
		case float64:
			if got, err := s.number(); err != nil || got != want {
				t.Errorf("%q: number %v, %v, want %v", text, got, err, want)
			}
		case string:
			if got, err := s.text(); err != nil || got != want {
				t.Errorf("%q: text %q, %v, want %q", text, got, err, want)
			}
		}
	})
}

func TestScannerReadsWhatPythonWrites(t *testing.T) {
	s := newScanner("a.json", []byte("\xef\xbb\xbf[1, 2.5, -0, 1e-05, NaN, Infinity, -Infinity]\n"))
	got, err := s.floats("numbers", nil)
	if err == nil {
		err = s.end()
	}
	if err != nil {
		t.Fatal(err)
	}
	want := []float64{1, 2.5, 0, 1e-5, math.NaN(), math.Inf(1), math.Inf(-1)}
	for i := range want {
		if got[i] != want[i] && !(math.IsNaN(got[i]) && math.IsNaN(want[i])) {
			t.Errorf("number %d is %v, want %v", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d numbers, want %d", len(got), len(want))
	}
}
