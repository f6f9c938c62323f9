package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/metadataset/synthetic"
)

// madeRun is a directory of results on a small store.
func madeRun(t *testing.T, extra ...string) (store, dir string) {
	t.Helper()
	tmp := t.TempDir()
	store, dir = smallStore(t, filepath.Join(tmp, "store")), filepath.Join(tmp, "run")
	mustRun(t, append([]string{"--data", store, "--budget", "1h,4h", "--methods", "random,asha,hyperband", "--seeds", "2", "--out", dir}, extra...)...)
	return store, dir
}

// edit changes the manifest of a directory.
func edit(t *testing.T, dir string, change func(m map[string]any)) {
	t.Helper()
	path := filepath.Join(dir, "manifest.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if data, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReproduceFindsTheSameRuns(t *testing.T) {
	_, dir := madeRun(t, "--set", "hyperband.eta=4", "--workers", "3", "--exclude", "short")
	if out := mustRun(t, "reproduce", filepath.Join(dir, "manifest.json")); !strings.HasPrefix(out, "identical: 18 runs, trace hash ") {
		t.Errorf("printed %q", out)
	}
	if out := mustRun(t, "reproduce", dir, "--datasets", "DOG", "--methods", "asha,hyperband", "--seeds", "1"); !strings.HasPrefix(out, "identical: 2 runs") {
		t.Errorf("a part printed %q", out)
	}
	// More runs in the directory, of other settings, are no part of it.
	mustRun(t, "--data", filepath.Join(filepath.Dir(dir), "store"), "--budget", "1h,4h", "--methods", "asha", "--seeds", "3", "--workers", "3", "--exclude", "short", "--out", dir)
	if out := mustRun(t, "reproduce", dir); !strings.HasPrefix(out, "identical: 9 runs") {
		t.Errorf("the later comparison printed %q", out)
	}
}

func TestReproduceNamesWhatDiffers(t *testing.T) {
	madeStore, madeDir := madeRun(t)
	for name, c := range map[string]struct {
		change func(t *testing.T, store, dir string)
		code   int
		want   []string
	}{
		"a score": {
			func(t *testing.T, store, dir string) {
				in := synthetic.Generate(synthetic.Options{Datasets: 3, Curves: 40})
				for c := range in.Curves {
					for d, name := range []string{"BCT", "DOG", "FLW"} {
						if in.Curves[c].Dataset == in.Datasets[d].Name {
							in.Curves[c].Dataset = name
						}
					}
				}
				for d, name := range []string{"BCT", "DOG", "FLW"} {
					in.Datasets[d].Name = name
				}
				for c := range in.Curves {
					if in.Curves[c].Dataset == "DOG" {
						in.Curves[c].Values[metadataset.ValAccuracy][0] += 1e-6
						break
					}
				}
				if err := os.RemoveAll(store); err != nil {
					t.Fatal(err)
				}
				if err := metadataset.Write(store, in); err != nil {
					t.Fatal(err)
				}
			}, cli.ExitFailed, []string{"the meta-dataset ", "data set DOG: its configurations, scores or costs are others"},
		},
		"a byte of the data": {
			func(t *testing.T, store, dir string) { flipByte(t, filepath.Join(store, "configs.parquet")) },
			cli.ExitUsage, []string{"configs.parquet"},
		},
		"a byte of the traces": {
			func(t *testing.T, store, dir string) { flipByte(t, filepath.Join(dir, "traces.parquet")) },
			cli.ExitUsage, []string{"traces.parquet"},
		},
		"a seed": {
			func(t *testing.T, store, dir string) {
				edit(t, dir, func(m map[string]any) { m["seeds"] = []int{0, 7} })
			}, cli.ExitFailed, []string{"the stored runs have seed 1, the manifest has not", "the manifest has seed 7, no stored run has", "setting seeds"},
		},
		"the number of seeds": {
			func(t *testing.T, store, dir string) {
				edit(t, dir, func(m map[string]any) { m["settings"].(map[string]any)["seeds"] = 3 })
			}, cli.ExitFailed, []string{"setting seeds: the flags of the manifest say [0 1 2], its runs [0 1]"},
		},
		"a setting": {
			func(t *testing.T, store, dir string) {
				edit(t, dir, func(m map[string]any) { m["settings"].(map[string]any)["set"] = []string{"asha.eta=4"} })
			}, cli.ExitFailed, []string{`method asha has the settings "eta=4, `, `in the manifest "eta=3, `},
		},
		"a budget": {
			func(t *testing.T, store, dir string) {
				edit(t, dir, func(m map[string]any) { m["settings"].(map[string]any)["budget"] = "1h,5h" })
			}, cli.ExitFailed, []string{"setting budget: the flags of the manifest say [1h 5h], its runs [1h 4h]"},
		},
		"a trace": {
			func(t *testing.T, store, dir string) {
				edit(t, dir, func(m map[string]any) { m["trace_hash"] = strings.Repeat("0", 64) })
			}, cli.ExitFailed, []string{"the stored runs have the hash "},
		},
		"another command": {
			func(t *testing.T, store, dir string) {
				edit(t, dir, func(m map[string]any) { delete(m, "settings") })
			}, cli.ExitUsage, []string{"says not how to run it again"},
		},
		"not finished": {
			func(t *testing.T, store, dir string) {
				edit(t, dir, func(m map[string]any) { m["finished"] = false })
			}, cli.ExitUsage, []string{"is not finished"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			store, dir := filepath.Join(tmp, "store"), filepath.Join(tmp, "run")
			for from, to := range map[string]string{madeStore: store, madeDir: dir} {
				if err := os.CopyFS(to, os.DirFS(from)); err != nil {
					t.Fatal(err)
				}
			}
			edit(t, dir, func(m map[string]any) { m["settings"].(map[string]any)["data"] = store })
			c.change(t, store, dir)
			out, _, err := command(t, "reproduce", dir)
			if cli.ExitCode(err) != c.code {
				t.Fatalf("exit code %d, want %d: %v\n%s", cli.ExitCode(err), c.code, err, out)
			}
			for _, want := range c.want {
				if text := out + err.Error(); !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
		})
	}
}

func flipByte(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCompareTwoRuns(t *testing.T) {
	store, a := madeRun(t)
	b := filepath.Join(filepath.Dir(a), "other")
	mustRun(t, "--data", store, "--budget", "4h", "--methods", "asha,hyperband,successive-halving", "--set", "hyperband.eta=4", "--seeds", "1", "--out", b)
	out := mustRun(t, "compare", a, b)
	for _, want := range []string{
		"seeds\n  A [0 1]\n  B [0]\n", "budgets\n  A 1h 4h\n  B 4h\n", "the same runs in both: asha\n", "hyperband (A)", "hyperband (B)", "successive-halving", "random",
		"B against A: difference of regrets",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if again := mustRun(t, "compare", a, a); !strings.Contains(again, "the same runs in both: random, asha, hyperband\n") || strings.Contains(again, "B against A") {
		t.Errorf("a run and itself:\n%s", again)
	}
	edit(t, b, func(m map[string]any) { m["data_hash"] = strings.Repeat("0", 64) })
	refuses(t, []string{"compare", a, b}, "on other data")
	refuses(t, []string{"compare", a, store}, "manifest.json")
}

func TestAgainstNamesAMethodOfTheComparison(t *testing.T) {
	store := smallStore(t, filepath.Join(t.TempDir(), "store"))
	refuses(t, []string{"--data", store, "--against", "dehb"}, "--against dehb: it is not among --methods")
	out := mustRun(t, "--data", store, "--budget", "1h", "--seeds", "1", "--against", "asha")
	if !strings.Contains(out, "against asha: difference of regrets") || !strings.Contains(out, "adjusted by Holm for 2 comparisons") {
		t.Errorf("printed\n%s", out)
	}
}
