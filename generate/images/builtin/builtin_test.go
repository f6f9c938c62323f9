package builtin

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"quicktune/generate/images"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden file")

// few makes a data set with two pictures a class where it can be drawn.
func few(t testing.TB, d Info) *images.Set {
	t.Helper()
	var s *images.Set
	var err error
	if d.Real {
		s, err = Load(t.Context(), d.Name)
	} else {
		s, err = Draw(t.Context(), d.Name, 2)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The pictures are part of every published result: a change of one bit is a
// change of the data set.
func TestPicturesNeverChange(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("other processors may fuse multiplications and additions, which changes last bits")
	}
	var b strings.Builder
	for _, d := range append(Targets(), Sources()...) {
		s := few(t, d)
		fmt.Fprintf(&b, "%s %d classes %d pictures %.16s\n", s.Name, len(s.Classes), s.Len(), s.Hash())
	}
	const golden = "testdata/hashes.txt"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestTargetsAreAsAnnounced(t *testing.T) {
	if n := len(Targets()); n < 12 {
		t.Errorf("%d targets, a fresh clone is to have at least 12", n)
	}
	for _, d := range Targets() {
		s := few(t, d)
		if len(s.Classes) != d.Classes || d.Real && s.Len() != d.Pictures {
			t.Errorf("%s has %d classes and %d pictures, announced are %d and %d", d.Name, len(s.Classes), s.Len(), d.Classes, d.Pictures)
		}
		seen := make([]bool, len(s.Classes))
		for _, l := range s.Labels {
			seen[l] = true
		}
		if slices.Contains(seen, false) {
			t.Errorf("%s has a class without pictures", d.Name)
		}
		if !slices.IsSorted(s.Classes) && !d.Real {
			t.Errorf("%s: the classes are not in order", d.Name)
		}
	}
}

func TestSourcesAndTargetsShareNoPicture(t *testing.T) {
	seen := make(map[string]string)
	for _, list := range [][]Info{Targets(), Sources()} {
		own := make(map[string]string)
		for _, d := range list {
			s := few(t, d)
			for i := range s.Len() {
				if other, ok := seen[string(s.Picture(i))]; ok {
					t.Errorf("a picture is in the target %s and in the source %s", other, d.Name)
				}
				own[string(s.Picture(i))] = d.Name
			}
		}
		seen = own
	}
}

func TestALargerSetBeginsWithTheSmaller(t *testing.T) {
	small, err := Draw(t.Context(), "signs", 1)
	if err != nil {
		t.Fatal(err)
	}
	large, err := Draw(t.Context(), "signs", 3)
	if err != nil {
		t.Fatal(err)
	}
	for class := range small.Classes {
		if !bytes.Equal(small.Picture(class), large.Picture(3*class)) {
			t.Fatalf("the first picture of class %d depends on the number of pictures", class)
		}
	}
}

func TestPicturesOfAClassDiffer(t *testing.T) {
	for _, d := range Targets() {
		if d.Real {
			continue
		}
		s := few(t, d)
		for class := range s.Classes {
			if bytes.Equal(s.Picture(2*class), s.Picture(2*class+1)) {
				t.Errorf("%s: two pictures of class %d are equal", d.Name, class)
			}
		}
	}
}

func TestBadNamesAndSizes(t *testing.T) {
	if _, err := Load(t.Context(), "nonsense"); err == nil || !strings.Contains(err.Error(), "digits") {
		t.Errorf("an unknown name gives %v, want the known ones", err)
	}
	if _, err := Draw(t.Context(), "digits", 5); err == nil {
		t.Error("a real data set was drawn")
	}
	if _, err := Draw(t.Context(), "shapes", 0); err == nil {
		t.Error("a data set without pictures was drawn")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Draw(ctx, "shapes", 5); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled drawing gives %v", err)
	}
}

func BenchmarkDraw(b *testing.B) {
	for _, d := range Targets() {
		if d.Real {
			continue
		}
		b.Run(d.Name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Draw(b.Context(), d.Name, 10); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(d.Classes*10), "µs/picture")
		})
	}
}
