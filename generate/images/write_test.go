package images_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"quicktune/generate/images"
	"quicktune/generate/images/builtin"
)

// pictures returns the classes and, sorted, the name of the class and the pixels
// of each picture.
func pictures(s *images.Set) []string {
	out := slices.Clone(s.Classes)
	for i, label := range s.Labels {
		out = append(out, s.Classes[label]+" "+string(s.Picture(i)))
	}
	slices.Sort(out)
	return out
}

func TestAWrittenFolderHasTheSamePictures(t *testing.T) {
	for _, name := range []string{"digits", "omniglot", "shapes"} {
		s, err := builtin.Load(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir+".new.tmp", 0o777); err != nil { // of a killed process
			t.Fatal(err)
		}
		if err := s.WriteFolder(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		again, err := images.Load(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(pictures(again), pictures(s)) || len(again.Warnings) > 0 {
			t.Errorf("%s: %d pictures in %d classes, written %d in %d; %v", name, again.Len(), len(again.Classes), s.Len(), len(s.Classes), again.Warnings)
		}
		if err := s.WriteFolder(t.Context(), dir); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: written twice: %v", name, err)
		}
		if left, _ := filepath.Glob(dir + ".*"); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}
