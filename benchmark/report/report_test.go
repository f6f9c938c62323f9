package report

import (
	"bytes"
	"encoding/csv"
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

	"quicktune/benchmark/replay"
	"quicktune/benchmark/stats"
	"quicktune/internal/cli"
	"quicktune/internal/figure"
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
	golden(t, "example.md", func(w io.Writer) error { return r.Markdown(w, "figures") })
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
	if s := r.Rows[0].Spent; s.Epochs != 40 || s.Trials != 10 || s.Decisions != 12 || s.Idle != 0.125 || !math.IsNaN(s.Stopped) || s.Models != nil {
		t.Errorf("spent %+v", s)
	}
}

func TestReportDoesNotDependOnTheOrderOfTraces(t *testing.T) {
	want := new(bytes.Buffer)
	if err := mustNew(t, example()).Markdown(want, "f"); err != nil {
		t.Fatal(err)
	}
	in := example()
	// Data sets keep their order of first appearance; all else is shuffled.
	slices.SortStableFunc(in.Traces, func(a, b *replay.Trace) int {
		return strings.Compare(a.Dataset, b.Dataset)*4 + strings.Compare(a.Method, b.Method)*2 + int(b.Seed) - int(a.Seed)
	})
	got := new(bytes.Buffer)
	if err := mustNew(t, in).Markdown(got, "f"); err != nil {
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

func TestFigures(t *testing.T) {
	r := mustNew(t, example())
	byName := make(map[string]figure.Figure)
	var names []string
	for _, f := range r.Page().Figures() {
		byName[f.Name] = f
		names = append(names, f.Name)
		var one, two, pixels bytes.Buffer
		for _, err := range []error{f.SVG(&one), f.SVG(&two), f.PNG(&pixels)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(one.Bytes(), two.Bytes()) {
			t.Errorf("%s: the same report gives two figures", f.Name)
		}
		if texts := svgTexts(t, one.Bytes()); !slices.Contains(texts, f.Alt) {
			t.Errorf("%s: no title among %q", f.Name, texts)
		}
		if image, err := png.Decode(&pixels); err != nil || image.Bounds().Size().X < 1300 {
			t.Errorf("%s: %v", f.Name, err)
		}
		if f.Alt == "" || f.Caption == "" || f.Title == "" {
			t.Errorf("%s: lacks words", f.Name)
		}
	}
	// Without a meta-dataset at hand and without measured times.
	if want := []string{"regret", "rank", "critical-differences", "targets", "profiles", "datasets"}; !slices.Equal(names, want) {
		t.Errorf("figures %q, want %q", names, want)
	}
	var svg bytes.Buffer
	if err := byName["regret"].SVG(&svg); err != nil {
		t.Fatal(err)
	}
	texts := svgTexts(t, svg.Bytes())
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
}

func TestFigureOfOnePoint(t *testing.T) {
	in := example()
	in.Budgets = []float64{5} // before the first epoch ends
	r := mustNew(t, in)
	var svg bytes.Buffer
	if err := r.Regret().SVG(&svg); err != nil {
		t.Fatal(err)
	}
	if texts := svgTexts(t, svg.Bytes()); !slices.Contains(texts, "5 s") || !slices.Contains(texts, "1.0") {
		t.Errorf("texts %q", texts)
	}
	for _, f := range r.Page().Figures() {
		if err := f.SVG(io.Discard); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func TestPairsOfTheExample(t *testing.T) {
	in := example()
	in.Against = "fast"
	r := mustNew(t, in)
	// At 16 h "knows" has 0.0625, 0.09375, 0.125 and "fast" 0.125 everywhere.
	c := r.Rows[0].Cells[1].Paired
	if r.Against != "fast" || c.Better != 2 || c.Equal != 1 || c.Worse != 0 || math.Abs(c.Difference.Mean+0.03125) > 1e-12 || c.Test.P != 0.5 || c.Holm != 0.5 {
		t.Errorf("paired %+v", c)
	}
	// "slow" is worse in every run: two data sets more than "fast".
	if c := r.Rows[2].Cells[1].Paired; c.Worse != 3 || c.Improvement.Mean != 0 || c.Test.P != 0.25 || c.Holm != 0.5 {
		t.Errorf("paired %+v", c)
	}
	if c := r.Rows[1].Cells[1].Paired; c.Better+c.Equal+c.Worse != 0 {
		t.Errorf("a method paired with itself: %+v", c)
	}
	in.Against = "absent"
	if _, err := New(in); err == nil || err.Error() != `no method "absent" to compare with; there are slow, knows, fast` {
		t.Errorf("error %v", err)
	}
}

func TestHTMLHoldsEverythingItNeeds(t *testing.T) {
	r := mustNew(t, example())
	var one, two bytes.Buffer
	for _, w := range []*bytes.Buffer{&one, &two} {
		if err := r.HTML(w); err != nil {
			t.Fatal(err)
		}
	}
	page := one.String()
	if page != two.String() {
		t.Error("the same report gives two pages")
	}
	for _, never := range []string{"<script", "http://", "https://", "url(", "@import", "src="} {
		if strings.Contains(strings.ReplaceAll(strings.ReplaceAll(page, "http://www.w3.org/2000/svg", ""), "http://www.w3.org/1999/xlink", ""), never) {
			t.Errorf("the page holds %q", never)
		}
	}
	for want, n := range map[string]int{
		"<svg ": 12, "role=\"img\"": 12, "<figcaption>": 6, "prefers-color-scheme:dark": 1, "Knows | all": 12, "<h1>": 1, "name=\"viewport\"": 1,
	} {
		if got := strings.Count(page, want); got < n {
			t.Errorf("%d times %q, want at least %d", got, want, n)
		}
	}
	// Every colour of the figures that must change with the ground is a variable.
	for _, fixed := range []string{"fill:#222222", "stroke:#222222", "fill:#FFFFFF", "stroke:#DDDDDD"} {
		if strings.Contains(page, fixed) {
			t.Errorf("%s is not themed", fixed)
		}
	}
}

func TestInlineMarks(t *testing.T) {
	for text, want := range map[string]string{
		"a **b** `c<d` e[^2]": `a <strong>b</strong> <code>c&lt;d</code> e<sup><a href="#n2">2</a></sup>`,
		"5 * 3 [0.1, 0.2] `x": "5 * 3 [0.1, 0.2] `x",
		"**T** (`m`)":         "<strong>T</strong> (<code>m</code>)",
		"a & b":               "a &amp; b",
	} {
		if got := inline(text); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}

func TestTablesAreCompleteCSV(t *testing.T) {
	r := mustNew(t, example())
	want := map[string]int{"methods": 7, "datasets": 10, "curves": 1 + 3*121, "spent": 4, "paired": 5, "pairs": 4}
	for _, table := range r.Tables() {
		var b bytes.Buffer
		if err := table.Write(&b); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(rows) != want[table.Name] {
			t.Errorf("%s: %d rows, want %d (%v)", table.Name, len(rows), want[table.Name], err)
		}
		delete(want, table.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestCalibrationOfKnownForecasts(t *testing.T) {
	c := &Calibration{Method: "m", What: "scores"}
	for i := range 100 {
		level := (float64(i) + 0.5) / 100
		// On A the quantiles are right, on B every observation is high.
		c.Forecasts = append(c.Forecasts, Forecast{Dataset: "A", Predicted: 0.5, Observed: level, Level: level}, Forecast{Dataset: "B", Predicted: 0.5, Observed: 0.75, Level: 1})
	}
	if got := c.coverage(0, []float64{0.1, 0.9, 1}); !slices.Equal(got, []float64{0.05, 0.45, 1}) {
		t.Errorf("coverage %v", got)
	}
	if got := c.MeanError(0); math.Abs(got-0.25) > 1e-12 {
		t.Errorf("mean error %v, want .25 on both", got)
	}
	for _, f := range c.Figures() {
		if err := f.SVG(io.Discard); err != nil {
			t.Error(err)
		}
	}
}

func TestAblationPage(t *testing.T) {
	cell := func(v float64) stats.Summary {
		return stats.Summary{Mean: v, Low: v / 2, High: 2 * v, Level: .95, N: 20}
	}
	a := &Ablation{Title: "Ablation", Command: "go run ./benchmark ablation", Seeds: 5, Tables: []AblationTable{
		{Name: "parts", Title: "Parts", Head: "form", Datasets: 20, Budgets: []string{"1h", "16h"}, Rows: []AblationRow{
			{Name: "+M +C +G", Regret: []stats.Summary{cell(.2), cell(.1)}}, {Name: "-M +C +G", Regret: []stats.Summary{cell(.3), cell(.2)}},
		}},
		{Name: "hub", Title: "Size of the hub", Head: "models", Datasets: 20, Budgets: []string{"1h", "16h"}, Rows: []AblationRow{
			{Name: "1", Hub: 1, Regret: []stats.Summary{cell(.4), cell(.3)}}, {Name: "24", Hub: 24, Regret: []stats.Summary{cell(.2), cell(.1)}},
		}},
	}}
	var b bytes.Buffer
	if err := a.Page().Markdown(&b, "figures"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| -M +C +G | 0.300 [0.150, 0.600] | 0.200 [0.100, 0.400] |", "](figures/parts.svg)", "against the number of models: 1 0.300, 24 0.100](figures/hub.svg)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if err := a.Page().HTML(io.Discard); err != nil {
		t.Error(err)
	}
}

func TestStylesAreStableAndDistinct(t *testing.T) {
	seen := make(map[string]string)
	for _, name := range Styled() {
		s := fmt.Sprint(styleOf(name))
		if other, twice := seen[s]; twice {
			t.Errorf("%s and %s look alike", name, other)
		}
		seen[s] = name
	}
	// Fixed for good: a colour in an old figure means the same in a new one.
	for name, want := range map[string]figure.Line{
		"asha":                      {Color: figure.Blue},
		"asha-stopping":             {Color: figure.Blue, Dashes: dashes[1]},
		"hyperband":                 {Color: figure.Vermillion},
		"random":                    {Color: figure.Grey},
		"quicktune":                 {Color: figure.Black},
		"quicktune-reference:hub=4": {Color: figure.Black, Dashes: dashes[1]},
		"somebodys-method":          {Color: figure.Orange, Dashes: dashes[3]},
	} {
		if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(styleOf(name))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTimeTicks(t *testing.T) {
	labels := func(unit cli.TimeUnit, lo, hi float64, budgets ...float64) string {
		var words []string
		for _, tick := range timeTicks(unit, lo, hi, budgets) {
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
