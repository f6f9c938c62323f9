package timm

import (
	"archive/zip"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"quicktune/generate/images"
	"quicktune/generate/images/builtin"
)

func TestADescriptionHasTheSplitOfThePlan(t *testing.T) {
	s, err := builtin.Load(context.Background(), "digits")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := Describe(dir, s, ""); err != nil {
		t.Fatal(err)
	}
	if !Described(dir, s.Name, s.Hash()) || Described(dir, s.Name, "other") {
		t.Error("Described does not tell this set from others")
	}
	data, err := os.ReadFile(filepath.Join(dir, FileName(s.Name)))
	if err != nil {
		t.Fatal(err)
	}
	var d description
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	split, err := s.Split()
	if err != nil {
		t.Fatal(err)
	}
	var labels []int
	for _, i := range d.Order {
		labels = append(labels, d.Labels[i])
	}
	v, rest := d.Validation, d.Validation+d.Test
	if !slices.Equal(labels[:v], split.Validation.Labels) || !slices.Equal(labels[v:rest], split.Test.Labels) || !slices.Equal(labels[rest:], split.Train.Labels) {
		t.Error("the order does not give the split's labels")
	}
	// The pictures that were written are those of the set.
	back, err := images.Load(t.Context(), filepath.Join(dir, d.Path))
	if err != nil {
		t.Fatal(err)
	}
	back.Symmetric = s.Symmetric
	if back.Hash() != s.Hash() {
		t.Error("the archive holds other pictures")
	}
	z, err := zip.OpenReader(filepath.Join(dir, d.Path))
	if err != nil || len(z.File) != s.Len()+1 {
		t.Errorf("%d files, %v", len(z.File), err)
	}
}

func TestNamesOfFilesAreSafe(t *testing.T) {
	for name, want := range map[string]string{"flowers5": "flowers5.json", ".x": "%2Ex.json", "a b": "a%20b.json", "ä": "%C3%A4.json", "v1.0_a-b": "v1.0_a-b.json"} {
		if got := FileName(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}

func TestTheSpaceHasTheModelsAskedFor(t *testing.T) {
	s, err := Space([]string{"dla46x_c", "tf_efficientnet_lite0"}, 7)
	if err != nil {
		t.Fatal(err)
	}
	model, epochs := s.Param(s.Index("model")), s.Param(s.Index("epochs"))
	if len(model.Choices) != 2 || epochs.Choices[0].Num() != 7 || s.Len() != 33 {
		t.Errorf("%d models, epochs %v, %d hyperparameters", len(model.Choices), epochs.Choices, s.Len())
	}
	if len(Published) != 24 {
		t.Errorf("%d published models", len(Published))
	}
}

func TestTheWorkerIsInstalledOnce(t *testing.T) {
	dir := t.TempDir()
	root, err := Install(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "timm_worker", "training.py")
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Install(dir)
	after, statErr := os.Stat(file)
	if err != nil || statErr != nil || again != root || !os.SameFile(before, after) {
		t.Errorf("%s and %s, %v, %v", root, again, err, statErr)
	}
}
