package quicktune_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// module is the path of this module.
const module = "quicktune"

// listed is what "go list" says of a package.
type listed struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string
	Deps       []string
	Module     *struct{ Path, Version, Dir string }
}

// room is the folder of a package of ours, "." for the root.
func (p listed) room() string { return folder(p.ImportPath) }

// ours reports whether the package belongs to this module and is no test.
func (p listed) ours() bool {
	return p.Module != nil && p.Module.Path == module && !strings.Contains(p.ImportPath, " ") && !strings.HasSuffix(p.ImportPath, ".test")
}

// folder is the folder of an import path of ours, "." for the root.
func folder(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

// packages lists everything that the commands and the tests are built from.
var packages = sync.OnceValues(func() ([]listed, error) {
	c := exec.Command("go", "list", "-deps", "-test", "-json=ImportPath,Name,Doc,Imports,Deps,Module", "./...")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, err
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

// within reports whether a folder is one of the rooms or lies in one.
func within(dir string, rooms ...string) bool {
	return slices.ContainsFunc(rooms, func(r string) bool { return dir == r || strings.HasPrefix(dir, r+"/") })
}

// core are the contracts, which everything may import.
var core = []string{"space", "search"}

// rules say what the packages of a room may import of ours, beside packages of
// the same room and of internal. The first room that a package lies in counts.
var rules = []struct {
	room string
	may  []string
}{
	{"space", nil},
	{"metadataset", []string{"space"}},
	{"search", []string{"space"}},
	// What learns and what chooses knows curves from what it was told alone, so
	// that it cannot look ahead in a meta-dataset.
	{"predictor", core},
	{"baselines", append([]string{"predictor"}, core...)},
	{"selection", core},
	{".", append([]string{"predictor"}, core...)},
	{"internal", nil},
	{"results/predictors", []string{"predictor/forecast"}},
	// The replay knows methods through their contract alone.
	{"benchmark/replay", append([]string{"metadataset"}, core...)},
	{"benchmark/stats", nil},
}

// commands may import everything but each other.
var commands = []string{"benchmark", "generate", "tune"}

// shared are packages in the folder of a command that others use: what networks
// are trained with, and how methods learn without seeing what they are tested
// on.
var shared = []string{
	"generate/cost", "generate/dispatch", "generate/hub", "generate/images", "generate/plan", "generate/timm", "generate/trainer",
	"benchmark/crossval",
}

// forTests are packages that only tests and each other may import.
var forTests = []string{"benchmark/crossval/crossvaltest", "generate/sweep/sweeptest", "internal/realdata", "search/searchtest"}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	all, err := packages()
	must(t, err)
	used := map[string]bool{}
	for _, p := range all {
		if !p.ours() {
			continue
		}
		from := p.room()
		for _, i := range p.Imports {
			if i != module && !strings.HasPrefix(i, module+"/") {
				continue
			}
			to := folder(i)
			if slices.Contains(forTests, to) && !slices.Contains(forTests, from) {
				t.Errorf("%s imports %s, which is for tests", from, to)
			}
			if other := roomOf(to, commands); other != "" && from != "." && roomOf(from, commands) != other && !within(from, "scripts") {
				used[roomOf(to, shared)] = true
				if !within(to, shared...) {
					t.Errorf("%s imports %s, which is part of another command", from, to)
				}
			}
			for _, r := range rules {
				if !within(from, r.room) {
					continue
				}
				if !within(to, append(r.may, r.room, "internal")...) {
					t.Errorf("%s imports %s; packages in %s may import %q of ours", from, to, r.room, r.may)
				}
				break
			}
		}
	}
	for _, s := range shared {
		if !used[s] {
			t.Errorf("%s is shared between commands, but only its own uses it", s)
		}
	}
}

// roomOf is the room in which a folder lies, or "".
func roomOf(dir string, rooms []string) string {
	for _, r := range rooms {
		if within(dir, r) {
			return r
		}
	}
	return ""
}

// Arrow takes longer to compile than all the rest: only the command that writes
// it waits for it.
func TestOnlyGenerateCompilesArrow(t *testing.T) {
	all, err := packages()
	must(t, err)
	for _, p := range all {
		if !p.ours() || p.Name != "main" {
			continue
		}
		arrow := slices.ContainsFunc(p.Deps, func(d string) bool { return strings.HasPrefix(d, "github.com/apache/arrow-go/") })
		if want := p.room() == "generate"; arrow != want {
			t.Errorf("%s is built with Arrow: %v, want %v", p.room(), arrow, want)
		}
	}
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	all, err := packages()
	must(t, err)
	for _, p := range all {
		if !p.ours() {
			continue
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + path.Base(p.ImportPath) + " "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("the comment of package %s begins %q, want %q", p.room(), p.Doc, want)
		}
	}
}
