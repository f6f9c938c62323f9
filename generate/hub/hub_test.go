package hub

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"quicktune/generate/images/builtin"
	"quicktune/internal/vision"
)

var update = flag.Bool("update", false, "write the table of the networks again")

const readme = "weights/README.md"

// table describes every network, in the order of the hub.
func table(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| network | parameters | M multiply-accumulates | source | pictures seen | accuracy on the source |\n|---|---:|---:|---|---:|---:|\n")
	for _, r := range Recipes {
		w, err := Weights(r.Model)
		if err != nil {
			t.Fatal(err)
		}
		n, err := vision.New[float32](r.Model, w.Classes)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "| %s | %d | %.2f | %s | %d | %.3f |\n", r.Model, n.Size(), float64(n.MACs())/1e6, r.Source, r.Images, w.SourceAccuracy)
	}
	return b.String()
}

func TestTheTableTellsTheNetworks(t *testing.T) {
	data, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	head, old, _ := strings.Cut(string(data), "\n| network")
	want := table(t)
	if *update {
		if err := os.WriteFile(readme, []byte(strings.TrimRight(head, "\n")+"\n\n"+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if "| network"+old != want {
		t.Errorf("%s is not up to date: go test ./generate/hub -update\n%s", readme, want)
	}
}

// Every network has a recipe and weights that know its source much better than
// chance.
func TestWeightsKnowTheirSource(t *testing.T) {
	classes := map[string]int{}
	for _, s := range builtin.Sources() {
		classes[s.Name] = s.Classes
	}
	used := map[string]int{}
	for i, s := range vision.Specs {
		r, err := Find(s.Name)
		if err != nil {
			t.Fatal(err)
		}
		if Recipes[i] != r {
			t.Errorf("recipe %d is that of %s, not of %s", i, Recipes[i].Model, s.Name)
		}
		used[r.Source]++
		w, err := Weights(s.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		if w.Model != s.Name || w.Source != r.Source || w.Classes != classes[r.Source] {
			t.Errorf("%s: weights of %s for %d classes of %s", s.Name, w.Model, w.Classes, w.Source)
		}
		if chance := 1 / float64(w.Classes); !(w.SourceAccuracy > 3*chance && w.SourceAccuracy <= 1) {
			t.Errorf("%s: accuracy %.3f on %d classes", s.Name, w.SourceAccuracy, w.Classes)
		}
	}
	for name := range classes {
		if used[name] == 0 {
			t.Errorf("no network is pretrained on %s", name)
		}
	}
	if used["source-mixed"] != len(Recipes)/3 {
		t.Errorf("%d networks saw all sources", used["source-mixed"])
	}
}

func TestWeightsAreSmallAndNobodyElses(t *testing.T) {
	total := int64(0)
	var names []string
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		total += info.Size()
		names = append(names, d.Name())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if total > 12<<20 {
		t.Errorf("%d bytes", total)
	}
	known := []string{"README.md"}
	for _, r := range Recipes {
		known = append(known, FileName(r.Model))
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			t.Errorf("%s is the weights of no network", name)
		}
	}
}

func TestUnknownNetworks(t *testing.T) {
	if _, err := Weights("resnet50"); err == nil || !strings.Contains(err.Error(), "no network is called") {
		t.Error(err)
	}
	if _, err := Find("resnet50"); err == nil {
		t.Error("a recipe for nothing")
	}
	if _, err := Pretrain(t.Context(), Recipe{Model: "plain_xs", Source: "digits", Images: 1, Rate: 1e-3}, nil); err == nil || !strings.Contains(err.Error(), "no source") {
		t.Errorf("pretraining on a target: %v", err)
	}
}
