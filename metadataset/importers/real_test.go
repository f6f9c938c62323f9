package importers

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quicktune/internal/realdata"
	"quicktune/metadataset"
)

// realExtended finds the real Extended curves beside the repository. Without
// them the test is skipped, or fails where CI=true says that all tests must run.
func realExtended(t testing.TB) string {
	t.Helper()
	return realdata.Path(t, "quicktune", "extended")
}

func TestRealExtended(t *testing.T) {
	in, report, err := Import(context.Background(), realExtended(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	// The figures of the source, computed from its files independently.
	if report.Format != Compact || report.Version != "extended" || report.Datasets != 20 || report.Curves != 3555 ||
		report.Epochs != 106180 || report.SingleEpoch != 1167 || math.Abs(report.Seconds/3600-12616.56) > 0.01 {
		t.Errorf("%s %s: %d data sets, %d curves, %d epochs, %d of a single epoch, %.2f hours", report.Format, report.Version,
			report.Datasets, report.Curves, report.Epochs, report.SingleEpoch, report.Seconds/3600)
	}
	wantEnds := map[metadataset.End]int{
		metadataset.EndMemoryTest: 1053, // all with linear_probing=true
		metadataset.EndCompleted:  1886,
		metadataset.EndTimeCapped: 321,
		metadataset.EndUnknown:    295, // 107 of them of one epoch
	}
	if diff := cmp.Diff(wantEnds, report.Ends); diff != "" {
		t.Errorf("ends (-want +got):\n%s", diff)
	}
	probing := in.Space.Index("linear_probing")
	for _, c := range in.Curves {
		if got, want := c.End == metadataset.EndMemoryTest, c.Config[probing].Num() == 1; got != want {
			t.Fatalf("curve %s: memory test %t, linear probing %t", c.ID, got, want)
		}
	}

	dir := filepath.Join(t.TempDir(), "extended")
	if err := metadataset.Write(dir, in); err != nil {
		t.Fatal(err)
	}
	if problems := metadataset.Verify(dir); len(problems) > 0 {
		t.Fatalf("the store has problems: %v", problems)
	}
	s, err := metadataset.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.NumCurves() != len(in.Curves) {
		t.Fatalf("the store has %d curves, want %d", s.NumCurves(), len(in.Curves))
	}
	for _, c := range in.Curves {
		k, ok := s.Lookup(c.Dataset, c.ID)
		if !ok {
			t.Fatalf("the store has no curve %s of %s", c.ID, c.Dataset)
		}
		if got := s.Config(k); !slices.Equal(got, c.Config) {
			t.Fatalf("%s is stored as %s, want %s", c.ID, in.Space.Format(got), in.Space.Format(c.Config))
		}
		for col, want := range c.Values {
			if got := s.Values(k, col); !slices.Equal(got, want) {
				t.Fatalf("%s of %s is stored as %v, want %v", col, c.ID, got, want)
			}
		}
		if s.Ends[k] != c.End || s.Reasons[k] != c.Reason {
			t.Fatalf("%s ends %s (%s), want %s (%s)", c.ID, s.Ends[k], s.Reasons[k], c.End, c.Reason)
		}
	}
}

func BenchmarkImportRealExtended(b *testing.B) {
	dir := realExtended(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Import(context.Background(), dir, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkImportAndWriteRealExtended(b *testing.B) {
	dir := realExtended(b)
	b.ReportAllocs()
	for b.Loop() {
		in, _, err := Import(context.Background(), dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := metadataset.Write(filepath.Join(b.TempDir(), "out"), in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadCurves(b *testing.B) {
	text := []byte(seriesJSON(sampleRuns(1), shortest, func(r sampleRun) []float64 { return r.top1 }))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		s := newScanner("perf.json", text)
		if err := s.skip(); err != nil {
			b.Fatal(err)
		}
	}
}
