package metadataset

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"quicktune/internal/stream"
	"quicktune/space"
)

func writeTiny(t testing.TB) (string, Input) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	in := tinyInput(t)
	if err := Write(dir, in); err != nil {
		t.Fatal(err)
	}
	return dir, in
}

func openTiny(t testing.TB) (*Store, Input) {
	t.Helper()
	dir, in := writeTiny(t)
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, in
}

// asInput takes a store apart again. Columns of which nothing is known are
// left out.
func asInput(s *Store) Input {
	m := s.Manifest
	in := Input{
		Space: s.Space, Metric: m.Metric, MaxEpochs: m.MaxEpochs, ModelParam: m.ModelParam,
		TimeUnit: m.TimeUnit, CurveCap: m.CurveCap, MetaFeatures: m.MetaFeatures,
		Generator: m.Generator, Notes: m.Notes, Datasets: s.Datasets, Models: s.Models,
	}
	for c := range s.NumCurves() {
		out := InputCurve{
			ID: s.IDs[c], Dataset: s.Datasets[s.DatasetOf[c]].Name, Config: s.Config(c),
			Values: make(map[Column][]float32), End: s.Ends[c], Reason: s.Reasons[c],
		}
		for _, col := range Columns {
			if v := s.Values(c, col); len(v) > 0 {
				out.Values[col] = v
			}
		}
		in.Curves = append(in.Curves, out)
	}
	return in
}

// normal is what Write promises to keep of an Input, in the order it promises.
func normal(in Input) Input {
	in.Datasets = slices.Clone(in.Datasets)
	slices.SortFunc(in.Datasets, func(a, b Dataset) int { return strings.Compare(a.Name, b.Name) })
	for i := range in.Datasets {
		d := &in.Datasets[i]
		if !slices.ContainsFunc(d.MetaFeatures, func(v float64) bool { return v == v }) {
			d.MetaFeatures = nil
		}
	}
	in.Curves = slices.Clone(in.Curves)
	slices.SortFunc(in.Curves, func(a, b InputCurve) int {
		return cmp.Or(strings.Compare(a.Dataset, b.Dataset), strings.Compare(a.ID, b.ID))
	})
	known := make(map[Column]bool)
	for _, c := range in.Curves {
		for col, values := range c.Values {
			for _, v := range values {
				if v == v || col == in.Metric.Column {
					known[col] = true
				}
			}
		}
	}
	for i := range in.Curves {
		c := &in.Curves[i]
		n := c.epochs()
		old := c.Values
		c.Values = make(map[Column][]float32)
		for col := range known {
			switch values := old[col]; {
			case n == 0:
			case values != nil:
				c.Values[col] = values
			default:
				c.Values[col] = slices.Repeat([]float32{nan32}, n)
			}
		}
	}
	listed := make(map[string]bool)
	for _, m := range in.Models {
		listed[m.Name] = true
	}
	others := make(map[string]bool)
	if i := in.Space.Index(in.ModelParam); i >= 0 {
		for _, c := range in.Curves {
			if v := c.Config[i]; !v.IsInactive() && v != space.None && !listed[v.String()] {
				others[v.String()] = true
			}
		}
	}
	in.Models = slices.Clone(in.Models)
	for _, name := range slices.Sorted(maps.Keys(others)) {
		in.Models = append(in.Models, Model{name, math.NaN(), math.NaN(), math.NaN(), math.NaN()})
	}
	return in
}

// sameBits compares two inputs exactly: numbers by their bits, except that all
// NaNs are one.
var sameBits = gocmp.Options{
	gocmp.Comparer(func(a, b float32) bool {
		return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
	}),
	gocmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b }),
	gocmp.Comparer(func(a, b *space.Space) bool { return a.Hash() == b.Hash() }),
	gocmp.Comparer(func(a, b space.Value) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

func TestOpenGivesBackWhatWasWritten(t *testing.T) {
	s, in := openTiny(t)
	if diff := gocmp.Diff(normal(in), asInput(s), sameBits); diff != "" {
		t.Error(diff)
	}
}

func genSpace(t *rapid.T) *space.Space {
	var params []space.Hyperparameter
	text := rapid.StringMatching(`[a-zA-Zäß_.\- ]{1,6}`)
	for i := range rapid.IntRange(1, 6).Draw(t, "hyperparameters") {
		h := space.Hyperparameter{Name: fmt.Sprintf("p%d", i), Type: space.Type(rapid.IntRange(0, 4).Draw(t, "type"))}
		switch h.Type {
		case space.Real:
			h.Lower = rapid.Float64Range(-1e6, 1e6).Draw(t, "lower")
			h.Upper = h.Lower + rapid.Float64Range(1e-3, 1e6).Draw(t, "width")
		case space.Integer:
			h.Lower = float64(rapid.IntRange(-1e6, 1e6).Draw(t, "lower"))
			h.Upper = h.Lower + float64(rapid.IntRange(1, 1e6).Draw(t, "width"))
		default:
			n := 1
			if h.Type != space.Constant {
				n = rapid.IntRange(1, 5).Draw(t, "choices")
			}
			numbers := rapid.SampledFrom([]space.ValueKind{space.KindInt, space.KindFloat}).Draw(t, "numbers")
			printed := make(map[string]bool)
			for len(h.Choices) < n {
				var v space.Value
				switch rapid.IntRange(0, 4).Draw(t, "kind") {
				case 0:
					v = space.None
				case 1:
					v = space.Bool(rapid.Bool().Draw(t, "bool"))
				case 2:
					v = space.String(text.Draw(t, "text"))
				default:
					k := rapid.IntRange(-9, 9).Draw(t, "number")
					if v = space.Int(int64(k)); numbers == space.KindFloat {
						v = space.Float(float64(k) / 8)
					}
				}
				if s := v.String(); !printed[s] && !printed[strings.TrimSpace(s)] && strings.TrimSpace(s) != "" && s != "-" && (s != "None" || v == space.None) {
					printed[s] = true
					h.Choices = append(h.Choices, v)
				}
			}
		}
		params = append(params, h)
	}
	var conds []space.Condition
	for i := 1; i < len(params); i++ {
		parent := params[rapid.IntRange(0, i-1).Draw(t, "parent")]
		if parent.Choices == nil || rapid.Bool().Draw(t, "unconditional") {
			continue
		}
		k := rapid.IntRange(1, len(parent.Choices)).Draw(t, "values")
		conds = append(conds, space.Condition{Child: params[i].Name, AnyOf: [][]space.Clause{{{
			Parent: parent.Name, Op: space.In, Values: parent.Choices[:k],
		}}}})
	}
	// A conditional parent must stand before its child in no particular order.
	if rapid.Bool().Draw(t, "reversed") {
		slices.Reverse(params)
	}
	s, err := space.New("drawn", params, conds)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func genInput(t *rapid.T) Input {
	sp := genSpace(t)
	rng := stream.New("drawn input", rapid.Uint64().Draw(t, "seed"))
	in := Input{
		Space:     sp,
		Metric:    rapid.SampledFrom([]Metric{{ValAccuracy, Maximize}, {ValLoss, Minimize}}).Draw(t, "metric"),
		MaxEpochs: rapid.IntRange(1, 9).Draw(t, "max epochs"),
		TimeUnit:  rapid.SampledFrom([]string{TimeSeconds, TimeEpochs}).Draw(t, "time unit"),
		CurveCap:  rapid.Float64Range(0, 1e6).Draw(t, "cap"),
		Generator: rapid.String().Draw(t, "generator"),
		Notes:     rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "notes"),
	}
	for i := range sp.Len() {
		if sp.Param(i).Choices != nil && rapid.Bool().Draw(t, "is the model") {
			in.ModelParam = sp.Param(i).Name
		}
	}
	number := rapid.OneOf(rapid.Float64Range(-1e300, 1e300), rapid.Just(math.NaN()))
	in.MetaFeatures = rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z ]{1,5}`), 0, 3, rapid.ID).Draw(t, "meta-features")
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`.{1,8}`), 1, 4, rapid.ID).Draw(t, "data sets")
	for _, name := range names {
		d := Dataset{Name: name, TrainSamples: rapid.IntRange(0, 1e9).Draw(t, "samples"), Classes: rapid.IntRange(0, 99).Draw(t, "classes")}
		if rapid.Bool().Draw(t, "has meta-features") {
			d.MetaFeatures = rapid.SliceOfN(number, len(in.MetaFeatures), len(in.MetaFeatures)).Draw(t, "meta-features")
		}
		in.Datasets = append(in.Datasets, d)
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`.{1,8}`), 0, 3, rapid.ID).Draw(t, "models") {
		in.Models = append(in.Models, Model{name, math.Abs(number.Draw(t, "params")), rapid.Float64Range(0, 1).Draw(t, "accuracy"), math.NaN(), 0})
	}
	optional := rapid.SliceOfDistinct(rapid.SampledFrom([]Column{TrainLoss, TestLoss, TestAccuracy, LearningRate, EvalSeconds, ValLoss, ValAccuracy}), rapid.ID).Draw(t, "columns")
	for _, id := range rapid.SliceOfNDistinct(rapid.StringMatching(`.{1,8}`), 0, 12, rapid.ID).Draw(t, "ids") {
		c := InputCurve{
			ID: id, Dataset: rapid.SampledFrom(names).Draw(t, "data set"), Config: sp.Sample(rng),
			Values: make(map[Column][]float32), End: rapid.SampledFrom(Ends).Draw(t, "end"), Reason: rapid.String().Draw(t, "reason"),
		}
		n := rapid.IntRange(0, in.MaxEpochs).Draw(t, "epochs")
		if c.End == EndCompleted {
			n = in.MaxEpochs
		}
		columns := []Column{in.Metric.Column}
		if in.TimeUnit == TimeSeconds {
			columns = append(columns, Seconds)
		}
		for _, col := range optional {
			if (col != EvalSeconds || in.TimeUnit == TimeSeconds) && rapid.Bool().Draw(t, "has column") {
				columns = append(columns, col)
			}
		}
		for _, col := range columns {
			if c.Values[col] != nil {
				continue
			}
			values := make([]float32, n)
			for e := range values {
				switch v := rng.Float32(); col {
				case Seconds:
					values[e] = 1 + v*1e6
				case TrainLoss, ValLoss, TestLoss:
					values[e] = (v - 0.5) * math.MaxFloat32
				default:
					values[e] = v
				}
				if col != Seconds && (col != in.Metric.Column || c.End == EndDiverged) && rng.IntN(4) == 0 {
					values[e] = nan32
				}
				if rng.IntN(20) == 0 && col != Seconds {
					values[e] = float32(math.Copysign(0, -1))
				}
			}
			c.Values[col] = values
		}
		in.Curves = append(in.Curves, c)
	}
	return in
}

func TestAnyInputComesBackExactly(t *testing.T) {
	base := t.TempDir()
	number := 0
	rapid.Check(t, func(t *rapid.T) {
		in := genInput(t)
		number++
		dir := filepath.Join(base, fmt.Sprint(number))
		defer setRowsPerPart(rapid.IntRange(1, 20).Draw(t, "rows a part"))()
		if err := Write(dir, in); err != nil {
			t.Fatal(err)
		}
		for _, err := range Verify(dir) {
			t.Error(err)
		}
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(normal(in), asInput(s), sameBits); diff != "" {
			t.Error(diff)
		}
		for c := range s.NumCurves() {
			if d, ok := s.Lookup(s.Datasets[s.DatasetOf[c]].Name, s.IDs[c]); !ok || d != c {
				t.Errorf("Lookup of %q gives %d, %v", s.IDs[c], d, ok)
			}
			model := ""
			if i := s.Space.Index(in.ModelParam); i >= 0 {
				if v := s.Config(c)[i]; !v.IsInactive() && v != space.None {
					model = v.String()
				}
			}
			if m := s.ModelOf[c]; m < 0 && model != "" || m >= 0 && s.Models[m].Name != model {
				t.Errorf("curve %q has model %d, want %q", s.IDs[c], m, model)
			}
			for e, v := range s.Values(c, in.Metric.Column) {
				if want := map[Goal]float32{Maximize: v, Minimize: -v}[in.Metric.Goal]; s.Score(c)[e] != want && v == v {
					t.Errorf("score is %v, want %v", s.Score(c)[e], want)
				}
			}
			for e, v := range s.Seconds(c) {
				if in.TimeUnit == TimeEpochs && v != 1 || in.TimeUnit == TimeSeconds && v != s.Values(c, Seconds)[e] {
					t.Errorf("epoch %d takes %v", e+1, v)
				}
			}
		}
	})
}

func setRowsPerPart(n int) (restore func()) {
	old := maxRowsPerPart
	maxRowsPerPart = n
	return func() { maxRowsPerPart = old }
}

func TestCurvesAreSplitOverParts(t *testing.T) {
	defer setRowsPerPart(7)()
	dir, in := writeTiny(t)
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	parts := slices.DeleteFunc(slices.Clone(s.Manifest.Parts), func(p Part) bool { return !curvePart.MatchString(p.Path) })
	if len(parts) < 4 {
		t.Errorf("29 epochs in %d parts of at most 7", len(parts))
	}
	for _, p := range parts {
		if p.Rows > 7 {
			t.Errorf("%s has %d rows", p.Path, p.Rows)
		}
	}
	if diff := gocmp.Diff(normal(in), asInput(s), sameBits); diff != "" {
		t.Error(diff)
	}
	remove(parts[1].Path)(t, dir)
	if err := errorsOf(dir); len(err) != 1 || !strings.Contains(err[0], parts[1].Path+": the file is missing") {
		t.Errorf("without its second part: %q", err)
	}
}

func errorsOf(dir string) (lines []string) {
	for _, err := range Verify(dir) {
		lines = append(lines, err.Error())
	}
	return lines
}

func TestStatsOfAKnownStore(t *testing.T) {
	in := Input{
		Space: tinySpace(t), Metric: Metric{ValLoss, Minimize}, MaxEpochs: 3, TimeUnit: TimeSeconds,
		Datasets: []Dataset{{Name: "b"}, {Name: "a"}},
	}
	rng := stream.New("stats", 0)
	for i, c := range []InputCurve{
		{End: EndCompleted, Values: map[Column][]float32{ValLoss: {3, 2, 1.5}, Seconds: {10, 20, 30}}},
		{End: EndDiverged, Values: map[Column][]float32{ValLoss: {4, nan32}, Seconds: {1, 2}}},
		{End: EndMemoryTest, Values: map[Column][]float32{ValLoss: {9}, Seconds: {0.5}}},
		{End: EndOutOfMemory},
	} {
		c.ID, c.Dataset, c.Config = fmt.Sprint(i), "b", in.Space.Sample(rng)
		in.Curves = append(in.Curves, c)
	}
	dir := filepath.Join(t.TempDir(), "known")
	if err := Write(dir, in); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := s.DatasetIndex("a")
	b, _ := s.DatasetIndex("b")
	want := DatasetStats{
		Curves: 4, Epochs: 6, Best: -1.5, Worst: -9, Seconds: 63.5, SingleEpoch: 1, FullLength: 1,
		Ends: map[End]int{EndCompleted: 1, EndDiverged: 1, EndMemoryTest: 1, EndOutOfMemory: 1},
	}
	if diff := gocmp.Diff(want, s.Stats(b)); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(DatasetStats{Best: math.NaN(), Worst: math.NaN(), Ends: map[End]int{}}, s.Stats(a), sameBits); diff != "" {
		t.Error(diff)
	}
	if lo, hi := s.Range(a); lo != hi {
		t.Errorf("data set a has curves %d to %d", lo, hi)
	}
	if got := slices.Collect(s.Curves(b)); !slices.Equal(got, []int{0, 1, 2, 3}) {
		t.Errorf("curves of b: %v", got)
	}
	if _, ok := s.DatasetIndex("c"); ok {
		t.Error("a data set c is found")
	}
	if _, ok := s.Lookup("a", "0"); ok {
		t.Error("curve 0 is found in data set a")
	}
	if s.Values(0, TrainLoss) != nil || s.Values(0, "gpu_load") != nil {
		t.Error("a column the source does not have is not nil")
	}
}

func TestAccessorsDoNotAllocate(t *testing.T) {
	s, _ := openTiny(t)
	if n := testing.AllocsPerRun(100, func() {
		for c := range s.NumCurves() {
			_, _, _ = s.Score(c), s.Seconds(c), s.Values(c, TrainLoss)
			_, _ = s.Lookup("birds", s.IDs[c])
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAppendingToValuesCannotChangeTheStore(t *testing.T) {
	s, _ := openTiny(t)
	first := s.Score(1)[0]
	_ = append(s.Score(0), 7)
	if s.Score(1)[0] != first {
		t.Error("appending to curve 0 changed curve 1")
	}
}

// TestManyReaders is for the race detector.
func TestManyReaders(t *testing.T) {
	s, _ := openTiny(t)
	var wg sync.WaitGroup
	sums := make([]float64, 8)
	for i := range sums {
		wg.Go(func() {
			for d := range s.Datasets {
				sums[i] += s.Stats(d).Seconds
				for c := range s.Curves(d) {
					if err := s.Space.Validate(s.Config(c)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if slices.Max(sums) != slices.Min(sums) {
		t.Errorf("readers disagree: %v", sums)
	}
}

var rewrite = flag.Bool("rewrite", false, "write testdata/v1 anew")

// TestStoreOfVersion1StillOpens reads a store that was committed when version
// 1 of the format was new. If it fails, either the format changed and needs a
// new version, or what is read out of it did.
func TestStoreOfVersion1StillOpens(t *testing.T) {
	dir := filepath.Join("testdata", "v1")
	if *rewrite {
		if err := Write(dir, tinyInput(t), Replace); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	fmt.Fprintf(&got, "%s %+v\n", s.Manifest.Metric, s.Manifest.Counts)
	for _, d := range s.Datasets {
		fmt.Fprintf(&got, "%+v\n", d)
	}
	for _, m := range s.Models {
		fmt.Fprintf(&got, "%+v\n", m)
	}
	for c := range s.NumCurves() {
		fmt.Fprintf(&got, "%s/%s %s %q: %s\n", s.Datasets[s.DatasetOf[c]].Name, s.IDs[c], s.Ends[c], s.Reasons[c], s.Space.Format(s.Config(c)))
		for _, col := range Columns {
			if v := s.Values(c, col); v != nil {
				fmt.Fprintf(&got, "  %s %v\n", col, v)
			}
		}
	}
	golden := filepath.Join("testdata", "v1.txt")
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}
