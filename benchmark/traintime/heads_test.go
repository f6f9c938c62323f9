package traintime

import (
	"bytes"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

const (
	shipped      = "../../results/embedded"
	shippedTimes = "../../results/embedded-times.parquet"
)

// What is shipped comes out again, for the data set that is taken away, and the
// rest stays as it was.
func TestHeadsOfADataSetAreMadeAgain(t *testing.T) {
	const again = "palettes"
	rows, err := loadHeads(shippedTimes)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "times.parquet")
	rest := slices.DeleteFunc(slices.Clone(rows), func(r HeadRow) bool { return r.Dataset == again })
	if len(rest) == len(rows) {
		t.Fatalf("%s holds no %s", shippedTimes, again)
	}
	if err := parquet.WriteFile(path, rest); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c := New(&out, &out)
	c.SetArgs([]string{"--probe", "--data", shipped, "--times", path})
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	made, err := loadHeads(path)
	if err != nil || len(made) != len(rows) {
		t.Fatalf("%d rows, want %d (%v)", len(made), len(rows), err)
	}
	for _, r := range made {
		i := slices.IndexFunc(rows, func(s HeadRow) bool { return s.Dataset == r.Dataset && s.Model == r.Model })
		if i < 0 {
			t.Fatalf("%s on %s is new", r.Model, r.Dataset)
		}
		want := rows[i]
		// Features are of single precision.
		if math.Abs(r.HalfTime/want.HalfTime-1) > 1e-2 || math.Abs(r.Gradient/want.Gradient-1) > 1e-4 || r.Hash != want.Hash || r.Images != want.Images {
			t.Errorf("%s on %s: %+v, shipped %+v", r.Model, r.Dataset, r, want)
		}
		if r.Dataset != again && r != want {
			t.Errorf("%s on %s has changed", r.Model, r.Dataset)
		}
	}
}

func TestShuffledHeadsAreThoseOfOtherNetworks(t *testing.T) {
	h, err := NewHeads(shippedTimes)
	if err != nil {
		t.Fatal(err)
	}
	heads, seconds, err := h.Heads("digits")
	if err != nil {
		t.Fatal(err)
	}
	other, same, err := h.Shuffled().Heads("digits")
	if err != nil || same != seconds {
		t.Fatalf("%v s, want %v (%v)", same, seconds, err)
	}
	moved := 0
	var a, b []float64
	for _, m := range slices.Sorted(maps.Keys(heads)) {
		a, b = append(a, heads[m].HalfTime), append(b, other[m].HalfTime)
		if heads[m] != other[m] {
			moved++
		}
	}
	if moved < len(heads)/2 {
		t.Errorf("%d of %d heads are another's", moved, len(heads))
	}
	slices.Sort(a)
	slices.Sort(b)
	if !slices.Equal(a, b) {
		t.Error("the heads are not the same ones")
	}
	if _, _, err := h.Heads("nothing"); err == nil || !strings.Contains(err.Error(), `data set "nothing"`) {
		t.Errorf("an unknown data set: %v", err)
	}
}

func TestBrokenFilesOfHeadsAreRefused(t *testing.T) {
	dir := t.TempDir()
	good := HeadRow{Dataset: "d", Model: "m", HalfTime: 1, Gradient: 1}
	for want, change := range map[string]func(*HeadRow){
		"row 1 is no head": func(r *HeadRow) { r.HalfTime = math.Inf(1) },
		"row 1 is no":      func(r *HeadRow) { r.Gradient = 0 },
		"row 1 is":         func(r *HeadRow) { r.Model = "" },
		"row 1":            func(r *HeadRow) { r.Seconds = math.NaN() },
	} {
		bad := good
		change(&bad)
		path := filepath.Join(dir, "bad.parquet")
		if err := parquet.WriteFile(path, []HeadRow{good, bad}); err != nil {
			t.Fatal(err)
		}
		if _, err := NewHeads(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	text := filepath.Join(dir, "text.parquet")
	if err := os.WriteFile(text, []byte("no Parquet"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := NewHeads(text); err == nil || !strings.Contains(err.Error(), "text.parquet") {
		t.Errorf("a text: %v", err)
	}
	if _, err := NewHeads(filepath.Join(dir, "none.parquet")); err == nil || !strings.Contains(err.Error(), "--probe --data DIR") {
		t.Errorf("a missing file: %v", err)
	}
	var out bytes.Buffer
	for want, args := range map[string][]string{
		"needs a meta-dataset": {"--probe"},
		"name drawn data sets": {"--subsets", "--datasets", "digits"},
		"nowhere":              {"--probe", "--data", filepath.Join(dir, "nowhere")},
	} {
		c := New(&out, &out)
		c.SilenceUsage, c.SilenceErrors = true, true
		c.SetArgs(args)
		if err := c.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}
