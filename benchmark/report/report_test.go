package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/plot/vg"
	"pgregory.net/rapid"

	"quicktune/benchmark/replay"
	"quicktune/benchmark/stats"
	"quicktune/internal/cli"
	"quicktune/search"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// trace makes a run whose incumbent has the given regrets at 10, 100, 1000 ...
// seconds, on a data set with scores from 0 to 1.
func trace(method, dataset string, seed uint64, budget float64, regrets ...float64) *replay.Trace {
	t := &replay.Trace{
		Key: replay.Key{
			Dataset: dataset, Method: method, Seed: seed, Budget: budget, Workers: 2, Clock: replay.Training,
		},
		Scale: replay.Scale{Best: 1, Worst: 0},
	}
	seconds := 1.0
	for i, r := range regrets {
		seconds *= 10
		t.Points = append(t.Points, replay.Point{Seconds: seconds, Epochs: 3*i + 1, ID: "c", Epoch: 1, Score: 1 - r})
	}
	t.Totals = replay.Totals{
		Epochs: 40, Trials: 10, Decisions: 12, TrainSeconds: 1.5 * budget, CutSeconds: 0.25 * budget,
		IdleSeconds: 0.25 * budget, End: budget,
	}
	return t
}

// example is a comparison of three methods on four data sets. Method "knows"
// looks at the budget; data set D lacks runs of it; a run of "slow" is missing
// on B.
func example() Input {
	in := Input{
		Title: "Search methods on an example",
		Data: Data{
			Name: "results/example", Hash: strings.Repeat("ab", 32), Datasets: 4, Curves: 1234, Epochs: 56789, Time: 1234.5 * 3600,
			Unit: cli.Seconds, Exclude: "linear-probing", Notes: []string{"one curve is made up"},
		},
		Methods: []search.Method{
			{Name: "slow", Title: "Slow search", Source: "nobody, 2026", Details: "waits"},
			{Name: "knows", Title: "Knows | all", Uses: search.Uses{Budget: true}},
			{Name: "fast", Title: "Fast search", Source: "somebody, 2025"},
		},
		Budgets: []float64{3600, 57600}, Workers: 2, Clock: replay.Training,
		Command:   "go run ./benchmark --data results/example --budget 1h,16h",
		Bootstrap: stats.Bootstrap{Resamples: 1000},
	}
	for d, name := range []string{"A", "B", "C", "D"} {
		x := float64(d) / 32
		for seed := range uint64(2) {
			y := x + float64(seed)/64
			if !(name == "B" && seed == 1) {
				in.Traces = append(in.Traces, trace("slow", name, seed, 57600, 1, 0.875, 0.5+y, 0.25+y))
			}
			in.Traces = append(in.Traces, trace("fast", name, seed, 57600, 0.75, 0.5+y, 0.25+y, 0.125))
			if name != "D" {
				in.Traces = append(in.Traces,
					trace("knows", name, seed, 3600, 1, 0.25+y, 0.125),
					trace("knows", name, seed, 57600, 1, 0.75, 0.5, 0.0625+x))
			}
		}
	}
	return in
}

func mustNew(t testing.TB, in Input) *Report {
	t.Helper()
	r, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func golden(t *testing.T, name string, write func(io.Writer) error) {
	t.Helper()
	var got bytes.Buffer
	if err := write(&got); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got); go test -update writes it anew:\n%s", path, diff)
	}
}

func TestGoldenFiles(t *testing.T) {
	r := mustNew(t, example())
	golden(t, "example.txt", r.Text)
	golden(t, "example.md", func(w io.Writer) error { return r.Markdown(w, "regret.svg") })
	golden(t, "example.json", r.JSON)

	// One data set, one run, epochs for time, the decision clock.
	in := example()
	in.Data.Unit = cli.Epochs
	in.Data.Exclude, in.Data.Notes = "", nil
	in.Clock = replay.Decision
	in.Budgets = []float64{1000}
	in.Methods = in.Methods[2:]
	in.Traces = []*replay.Trace{trace("fast", "A", 0, 1000, 0.75, 0.5, 0.25)}
	r = mustNew(t, in)
	golden(t, "single.txt", r.Text)
	golden(t, "single.md", func(w io.Writer) error { return r.Markdown(w, "") })
	golden(t, "single.json", r.JSON)
}

func TestNumbersOfTheExample(t *testing.T) {
	// Complete data sets: A, B, C. At 1 h, the run of "knows" to 1 h counts,
	// 0.125 everywhere, so it is first. At 16 h its other run counts:
	// 0.0625, 0.09375, 0.125, against 0.125 of "fast": ranks 1, 1, 1.5.
	r := mustNew(t, example())
	if !slices.Equal(r.Datasets, []string{"A", "B", "C"}) || r.Seeds != 2 {
		t.Errorf("data sets %v, %d seeds", r.Datasets, r.Seeds)
	}
	var order []string
	for _, row := range r.Rows {
		order = append(order, row.Method.Name)
	}
	if want := []string{"knows", "fast", "slow"}; !slices.Equal(order, want) {
		t.Fatalf("rows %v, want %v", order, want)
	}
	for _, c := range []struct {
		row, budget  int
		regret, rank float64
	}{
		{0, 0, 0.125, 1},
		{0, 1, 0.09375, 3.5 / 3},
		// 0.25 + y at 1000 s: means 0.2578125, 0.2890625, 0.3203125.
		{1, 0, 0.2890625, 2},
		{1, 1, 0.125, 5.5 / 3},
		// B has one seed: 0.5078125, 0.53125, 0.5703125.
		{2, 0, (0.5078125 + 0.53125 + 0.5703125) / 3, 3},
	} {
		cell := r.Rows[c.row].Cells[c.budget]
		if math.Abs(cell.Regret.Mean-c.regret) > 1e-12 || math.Abs(cell.Rank.Mean-c.rank) > 1e-12 {
			t.Errorf("%s at budget %d: regret %v, rank %v, want %v and %v",
				order[c.row], c.budget, cell.Regret.Mean, cell.Rank.Mean, c.regret, c.rank)
		}
	}
	// The curve of "knows" is that of the run to 16 h: 0.5 at 1000 s.
	curve := r.Rows[0].Curve
	i, _ := slices.BinarySearch(curve.Times, 1000)
	if curve.Times[0] != 57.6 || curve.Times[len(curve.Times)-1] != 57600 || curve.Points[i].Mean != 0.5 {
		t.Errorf("times %v to %v, regret %v after 1000 s", curve.Times[0], curve.Times[len(curve.Times)-1], curve.Points[i].Mean)
	}
	if s := r.Rows[0].Spent; s != (Spent{Epochs: 40, Trials: 10, Decisions: 12, Idle: 0.125}) {
		t.Errorf("spent %+v", s)
	}
}

func TestReportDoesNotDependOnTheOrderOfTraces(t *testing.T) {
	want := new(bytes.Buffer)
	if err := mustNew(t, example()).Markdown(want, "f.svg"); err != nil {
		t.Fatal(err)
	}
	in := example()
	// Data sets keep their order of first appearance; all else is shuffled.
	slices.SortStableFunc(in.Traces, func(a, b *replay.Trace) int {
		return strings.Compare(a.Dataset, b.Dataset)*4 + strings.Compare(a.Method, b.Method)*2 + int(b.Seed) - int(a.Seed)
	})
	got := new(bytes.Buffer)
	if err := mustNew(t, in).Markdown(got, "f.svg"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNewRefusesWhatItCannotReport(t *testing.T) {
	for want, change := range map[string]func(*Input){
		"no finished run to report":                            func(in *Input) { in.Traces = nil },
		"no method to report":                                  func(in *Input) { in.Methods = nil },
		"no budget to report":                                  func(in *Input) { in.Budgets = nil },
		"budgets [2 1], want positive ones in ascending order": func(in *Input) { in.Budgets = []float64{2, 1} },
		"no data set has a finished run of every method": func(in *Input) {
			in.Methods = append(in.Methods, search.Method{Name: "absent"})
		},
	} {
		in := example()
		change(&in)
		if _, err := New(in); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// svgTexts lists the texts of an SVG and fails if it is not well-formed.
func svgTexts(t *testing.T, data []byte) (texts []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(data))
	inText := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			inText = e.Name.Local == "text" || e.Name.Local == "title"
		case xml.EndElement:
			inText = false
		case xml.CharData:
			if inText {
				texts = append(texts, string(e))
			}
		}
	}
}

func TestFigure(t *testing.T) {
	r := mustNew(t, example())
	var one, two, pixels bytes.Buffer
	for _, w := range []*bytes.Buffer{&one, &two} {
		if err := r.SVG(w); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("the same report gives two figures")
	}
	texts := svgTexts(t, one.Bytes())
	for _, want := range []string{
		"Mean normalised regret over training time on a logarithmic axis; at 16h: Knows | all 0.094, Fast search 0.125, Slow search 0.286",
		"3 data sets, 2 seeds each, 2 workers; bands: 95 % bootstrap over data sets",
		"mean normalised regret", "training time (logarithmic)",
		"1 min", "15 min", "1 h", "16 h", "0.0", "1.0", "Knows | all", "Fast search", "Slow search",
	} {
		if !slices.Contains(texts, want) {
			t.Errorf("the figure lacks %q; it has %q", want, texts)
		}
	}
	if err := r.PNG(&pixels); err != nil {
		t.Fatal(err)
	}
	image, err := png.Decode(&pixels)
	if err != nil {
		t.Fatal(err)
	}
	if size := image.Bounds().Size(); size.X < 1300 || size.Y < 800 {
		t.Errorf("the picture has %v pixels", size)
	}
}

func TestFigureOfOnePoint(t *testing.T) {
	in := example()
	in.Budgets = []float64{5} // before the first epoch ends
	r := mustNew(t, in)
	var svg bytes.Buffer
	if err := r.SVG(&svg); err != nil {
		t.Fatal(err)
	}
	if texts := svgTexts(t, svg.Bytes()); !slices.Contains(texts, "5 s") || !slices.Contains(texts, "1.0") {
		t.Errorf("texts %q", texts)
	}
}

func TestSpreadKeepsOrderGapAndBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const gap, lo, hi = 12, 10, 300
		places := rapid.SliceOfN(rapid.Map(rapid.IntRange(lo, hi), func(i int) vg.Length { return vg.Length(i) }), 1, 20).Draw(t, "places")
		got := spread(places, gap, lo, hi)
		apart := true
		for i := range got {
			if got[i] < lo-1e-9 || got[i] > hi+1e-9 {
				t.Fatalf("%v to %v: outside [%d, %d]", places, got, lo, hi)
			}
			for k := range i {
				if math.Abs(float64(got[i]-got[k])) < gap-1e-9 {
					t.Fatalf("%v to %v: %d and %d overlap", places, got, i, k)
				}
				if places[i] < places[k] != (got[i] < got[k]) && places[i] != places[k] {
					t.Fatalf("%v to %v: %d and %d change places", places, got, i, k)
				}
				apart = apart && math.Abs(float64(places[i]-places[k])) >= gap
			}
		}
		if apart {
			for i := range got {
				if math.Abs(float64(got[i]-places[i])) > 1e-9 {
					t.Fatalf("%v to %v: moved without need", places, got)
				}
			}
		}
	})
	// Two labels that want the same place share the way.
	if got := spread([]vg.Length{100, 100}, 12, 0, 300); got[0] != 106 || got[1] != 94 {
		t.Errorf("equal places go to %v, want 106 and 94", got)
	}
}

func TestStylesAreStableAndDistinct(t *testing.T) {
	known := []string{
		"quicktune", "random", "random-distinct", "successive-halving", "hyperband", "hyperband-hpbandster", "hyperband-synetune",
		"asha", "asha-stopping", "asha-synetune-promotion", "asha-synetune-stopping", "bohb", "dehb", "smac",
	}
	seen := make(map[string]string)
	for _, name := range known {
		s := fmt.Sprint(styleOf(name))
		if other, twice := seen[s]; twice {
			t.Errorf("%s and %s look alike", name, other)
		}
		seen[s] = name
	}
	// Fixed for good: a colour in an old figure means the same in a new one.
	for name, want := range map[string]lineStyle{
		"asha":             {color: blue},
		"asha-stopping":    {color: blue, dashes: dashes[1]},
		"hyperband":        {color: vermillion},
		"random":           {color: grey},
		"quicktune":        {color: black},
		"somebodys-method": {color: orange, dashes: dashes[3]},
	} {
		if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(styleOf(name))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTimeTicks(t *testing.T) {
	labels := func(unit cli.TimeUnit, lo, hi float64, budgets ...float64) string {
		var words []string
		for _, tick := range (timeTicks{unit: unit, budgets: budgets}).Ticks(lo, hi) {
			words = append(words, tick.Label)
		}
		return strings.Join(words, ", ")
	}
	for want, got := range map[string]string{
		"1 min, 4 min, 15 min, 1 h, 4 h, 16 h":         labels(cli.Seconds, 57.6, 57600, 3600, 14400, 57600),
		"5 s, 15 s, 1 min, 4 min, 15 min, 90 min, 4 h": labels(cli.Seconds, 5, 14400, 5, 5400, 14400),
		"0.5 s, 1 s, 2 s":                              labels(cli.Seconds, 0.3, 2, 2),
		"1 h, 4 h, 24 h, 3 d":                          labels(cli.Seconds, 3600, 3*86400, 86400),
		"1, 3, 10, 30, 100, 300, 1,000, 3,000, 10,000": labels(cli.Epochs, 1, 10000, 1000, 10000),
	} {
		if got != want {
			t.Errorf("ticks %s\nwant  %s", got, want)
		}
	}
}

func TestJSONIsValid(t *testing.T) {
	var buf bytes.Buffer
	if err := mustNew(t, example()).JSON(&buf); err != nil {
		t.Fatal(err)
	}
	var out struct {
		Methods []struct {
			Name    string
			Budgets []struct {
				Regret struct{ Mean, Low, High float64 }
			}
		}
	}
	if err := json.Unmarshal(buf.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Methods) != 3 || out.Methods[0].Name != "knows" || out.Methods[0].Budgets[1].Regret.Mean != 0.09375 {
		t.Errorf("%+v", out)
	}
}

func BenchmarkNew(b *testing.B) {
	in := example()
	for seed := range uint64(50) {
		for _, t := range example().Traces {
			t.Seed += 2 * (seed + 1)
			in.Traces = append(in.Traces, t)
		}
	}
	in.Bootstrap = stats.Bootstrap{}
	for b.Loop() {
		mustNew(b, in)
	}
}
