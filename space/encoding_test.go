package space_test

import (
	"encoding/csv"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"quicktune/internal/realdata"
	"quicktune/space"
	"quicktune/space/quicktunetable"
)

func mustEncode(tb testing.TB, s *space.Space, options space.EncodingOptions, train []space.Config) *space.Encoder {
	tb.Helper()
	encoding, err := space.NewEncoding(s, options)
	if err != nil {
		tb.Fatal(err)
	}
	encoder, err := encoding.Fit(train)
	if err != nil {
		tb.Fatal(err)
	}
	return encoder
}

// small has one hyperparameter for each form of column.
func small(tb testing.TB) *space.Space {
	return mustNew(tb, []space.Hyperparameter{
		{Name: "opt", Choices: texts("sgd", "adam")},
		{Name: "amp", Type: space.Ordinal, Choices: []space.Value{space.Bool(false), space.Bool(true)}},
		{Name: "drop", Type: space.Ordinal, Choices: floats(0, 0.1, 0.2)},
		{Name: "decay", Type: space.Ordinal, Log: true, Choices: floats(0, 0.01, 0.1)},
		{Name: "clip", Type: space.Ordinal, Choices: append([]space.Value{space.None}, ints(1, 10)...)},
		{Name: "size", Type: space.Ordinal, Choices: texts("small", "medium", "large")},
		{Name: "lr", Type: space.Real, Log: true, Lower: 1e-4, Upper: 1},
		{Name: "layers", Type: space.Integer, Lower: 1, Upper: 9},
		{Name: "momentum", Type: space.Ordinal, Choices: floats(0.5, 0.9), Default: space.Float(0.7)},
		{Name: "epochs", Type: space.Constant, Choices: ints(50)},
	}, []space.Condition{when("momentum", "opt", space.In, space.String("sgd"))})
}

func smallConfig(tb testing.TB, opt string, amp bool, drop, decay float64, clip space.Value, size string, lr float64, layers int64, momentum space.Value) space.Config {
	tb.Helper()
	c := space.Config{space.String(opt), space.Bool(amp), space.Float(drop), space.Float(decay), clip, space.String(size), space.Float(lr), space.Int(layers), momentum, space.Int(50)}
	if err := small(tb).Validate(c); err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestEncodingWorkedByHand(t *testing.T) {
	s := small(t)
	train := []space.Config{
		smallConfig(t, "sgd", true, 0, 0.01, space.None, "small", 0.001, 3, space.Float(0.5)),
		smallConfig(t, "adam", false, 0.2, 0.1, space.Int(1), "large", 0.1, 7, space.Inactive),
		smallConfig(t, "sgd", true, 0, 0, space.Int(10), "small", 0.001, 3, space.Float(0.9)),
		smallConfig(t, "adam", false, 0.2, 0, space.None, "large", 0.1, 7, space.Inactive),
	}
	flagged := mustEncode(t, s, space.EncodingOptions{}, train)
	wantColumns := "opt=sgd opt=adam amp drop decay decay=0 clip clip=None size lr layers momentum momentum:active"
	if got := strings.Join(flagged.Columns(), " "); got != wantColumns {
		t.Fatalf("columns\n got %s\nwant %s", got, wantColumns)
	}
	// drop: mean 0.1, deviation 0.1. decay, where not 0: logarithms of 0.01 and
	// 0.1, so -1 and 1. clip, where not None: mean 5.5, deviation 4.5. size:
	// positions 0 and 2. lr: mean log 0.01. layers: mean 5, deviation 2.
	// momentum, where active: mean 0.7, deviation 0.2.
	for i, want := range [][]float64{
		{1, 0, 1, -1, -1, 0, 0, 1, -1, -1, -1, -1, 1},
		{0, 1, 0, 1, 1, 0, -1, 0, 1, 1, 1, 0, 0},
		{1, 0, 1, -1, 0, 1, 1, 0, -1, -1, -1, 1, 1},
		{0, 1, 0, 1, 0, 1, 0, 1, 1, 1, 1, 0, 0},
	} {
		for k, x := range flagged.Encode(nil, train[i]) {
			if math.Abs(x-want[k]) > 1e-12 {
				t.Errorf("configuration %d, column %s: %v, want %v", i, flagged.Columns()[k], x, want[k])
			}
		}
	}
	// Off the training configurations: the middle of each.
	middle := smallConfig(t, "adam", true, 0.1, 0, space.Int(1), "medium", 0.01, 5, space.Inactive)
	for k, want := range []float64{0, 1, 1, 0, 0, 1, -1, 0, 0, 0, 0, 0, 0} {
		if x := flagged.Encode(nil, middle)[k]; math.Abs(x-want) > 1e-12 {
			t.Errorf("column %s: %v, want %v", flagged.Columns()[k], x, want)
		}
	}
	// With defaults, momentum 0.7 is the mean: 0; had it been 0.9, it were 1.
	defaults := mustEncode(t, s, space.EncodingOptions{Inactive: space.InactiveDefault}, train)
	if got, want := strings.Join(defaults.Columns(), " "), strings.TrimSuffix(wantColumns, " momentum:active"); got != want {
		t.Errorf("columns\n got %s\nwant %s", got, want)
	}
	if x := defaults.Encode(nil, middle)[11]; math.Abs(x) > 1e-12 {
		t.Errorf("momentum by default: %v, want 0", x)
	}
}

func TestInactiveColumnsHoldTheDefault(t *testing.T) {
	on := []space.Condition{}
	params := []space.Hyperparameter{{Name: "p", Choices: texts("off", "on")}}
	for _, h := range []space.Hyperparameter{
		{Name: "number", Type: space.Ordinal, Choices: floats(1, 3), Default: space.Float(5)},
		{Name: "log", Type: space.Ordinal, Log: true, Choices: floats(0, 1), Default: space.Float(0)},
		{Name: "none", Type: space.Ordinal, Choices: []space.Value{space.None, space.Int(1), space.Int(3)}, Default: space.None},
		{Name: "outside", Type: space.Ordinal, Choices: floats(1, 3), Default: space.None},
		{Name: "cat", Choices: texts("u", "v"), Default: space.String("v")},
		{Name: "other", Choices: texts("u", "v"), Default: space.None},
		{Name: "flag", Choices: []space.Value{space.Bool(false), space.Bool(true)}, Default: space.Bool(true)},
		{Name: "size", Type: space.Ordinal, Choices: texts("s", "m", "l"), Default: space.String("l")},
		{Name: "none2", Type: space.Ordinal, Choices: floats(1, 3)},
	} {
		params = append(params, h)
		on = append(on, when(h.Name, "p", space.In, space.String("on")))
	}
	s := mustNew(t, params, on)
	c := make(space.Config, s.Len())
	c[0] = space.String("off")
	encoder := mustEncode(t, s, space.EncodingOptions{Inactive: space.InactiveDefault}, nil)
	var got []string
	x := encoder.Encode(nil, c)
	for k, name := range encoder.Columns() {
		if x[k] != 0 {
			got = append(got, name+" "+space.Float(x[k]).String())
		}
	}
	want := []string{"p=off 1", "number 5", "log=0 1", "none=None 1", "cat=v 1", "flag 1", "size 2"}
	if !slices.Equal(got, want) {
		t.Errorf("columns that are not 0: %q, want %q", got, want)
	}
	if back, err := encoder.Decode(x); err != nil || !slices.Equal(back, c) {
		t.Errorf("decoded %v (%v), want %v", back, err, c)
	}
}

func TestDecodeSnapsToTheNearestConfiguration(t *testing.T) {
	s := small(t)
	encoder := mustEncode(t, s, space.EncodingOptions{}, nil) // nothing is standardised
	x := encoder.Encode(nil, smallConfig(t, "sgd", false, 0.1, 0.01, space.Int(1), "small", 0.01, 3, space.Float(0.5)))
	set := func(name string, v float64) { x[slices.Index(encoder.Columns(), name)] = v }
	set("opt=adam", 1.5)
	set("amp", 0.6)
	set("drop", 0.16)
	set("decay", -9)
	set("clip=None", 0.7)
	set("size", 0.8)
	set("lr", 12)
	set("layers", 3.6)
	set("momentum", 1)
	c, err := encoder.Decode(x)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(c); err != nil {
		t.Error(err)
	}
	if got, want := s.Format(c), "opt=adam, amp=true, drop=0.2, decay=0.01, clip=None, size=medium, lr=1, layers=4"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		set("lr", bad)
		if _, err := encoder.Decode(x); err == nil || err.Error() != `column "lr" is `+space.Float(bad).String() {
			t.Errorf("a vector with %g: %v", bad, err)
		}
	}
	if _, err := encoder.Decode(x[1:]); err == nil || err.Error() != `encoding of space "test" has 13 columns, not 12` {
		t.Errorf("a short vector: %v", err)
	}
}

func TestEncodingRefuses(t *testing.T) {
	check := func(what string, err error, want string) {
		t.Helper()
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", what, err, want)
		}
	}
	s := mustNew(t, []space.Hyperparameter{
		{Name: "a", Choices: texts("u", "v")}, {Name: "a:active", Type: space.Real, Upper: 1}, {Name: "b", Choices: texts("u")},
	}, []space.Condition{when("a", "b", space.In, space.String("u"))})
	_, err := space.NewEncoding(s, space.EncodingOptions{})
	check("a column that is there twice", err, `space "test": two encoded columns are called "a:active": rename a hyperparameter`)

	s = small(t)
	encoding, err := space.NewEncoding(s, space.EncodingOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = encoding.Fit([]space.Config{s.Sample(newRNG(1)), {}})
	check("an invalid training configuration", err, `training configuration 1: configuration has 0 values, space "test" has 10 hyperparameters`)
	_, err = encoding.Restore(make([]float64, 13), make([]float64, 12))
	check("a short scaling", err, `encoding of space "test" has 13 columns, but 13 means and 12 scales`)
	_, err = encoding.Restore(make([]float64, 13), make([]float64, 13))
	check("a scale of 0", err, `column "opt=sgd": mean 0 and scale 0 cannot be used`)

	near := mustNew(t, []space.Hyperparameter{{Name: "x", Type: space.Ordinal, Choices: floats(1e-20, 2e-20, 1)}}, nil)
	encoding, err = space.NewEncoding(near, space.EncodingOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = encoding.Fit([]space.Config{floats(1e-20), floats(1)})
	check("choices that standardising merges", err, `hyperparameter "x": 1e-20 and 2e-20 are the same once standardised`)
}

func TestRestoredEncoderIsTheSame(t *testing.T) {
	s, rng := space.QuickTune(), newRNG(5)
	var train []space.Config
	for range 50 {
		train = append(train, s.Sample(rng))
	}
	encoding, err := space.NewEncoding(s, space.EncodingOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fitted, err := encoding.Fit(train)
	if err != nil {
		t.Fatal(err)
	}
	restored, err := encoding.Restore(fitted.Scaling())
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		c := s.Sample(rng)
		if !slices.Equal(fitted.Encode(nil, c), restored.Encode(nil, c)) {
			t.Fatalf("%s: vectors differ", s.Format(c))
		}
	}
}

func TestEncodeIntoGivenMemory(t *testing.T) {
	s := space.QuickTune()
	encoder := mustEncode(t, s, space.EncodingOptions{}, nil)
	c := s.Sample(newRNG(1))
	dst := slices.Repeat([]float64{math.NaN()}, encoder.Width())
	if got := encoder.Encode(dst, c); &got[0] != &dst[0] || !slices.Equal(dst, encoder.Encode(nil, c)) {
		t.Error("the given memory was not used, or not all of it was written")
	}
	for what, encode := range map[string]func(){
		"a short destination":  func() { encoder.Encode(dst[1:], c) },
		"a foreign value":      func() { d := slices.Clone(c); d[0] = space.String("resnet50"); encoder.Encode(dst, d) },
		"another space's size": func() { encoder.Encode(dst, c[1:]) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic as documented", what)
				}
			}()
			encode()
		}()
	}
}

// releasedConfigs reads every configuration of the released tables.
func releasedConfigs(tb testing.TB) []space.Config {
	tb.Helper()
	var out []space.Config
	for _, version := range []string{"extended", "micro", "mini"} {
		f, err := os.Open(realdata.Path(tb, "quicktune", version, "table.csv"))
		if err != nil {
			tb.Fatal(err)
		}
		rows, err := csv.NewReader(f).ReadAll()
		f.Close()
		if err != nil {
			tb.Fatal(err)
		}
		layout, err := quicktunetable.NewLayout(rows[0])
		if err != nil {
			tb.Fatal(err)
		}
		for n, row := range rows[1:] {
			c, err := layout.FromRow(n+2, row)
			if err != nil {
				tb.Fatal(err)
			}
			out = append(out, c)
		}
	}
	return out
}

func TestEveryReleasedConfigurationSurvivesEncoding(t *testing.T) {
	configs := releasedConfigs(t)
	// The released tables have 20,108 rows; those at hand lack the 1,110 of the
	// extended data sets that are kept apart.
	if len(configs) != 3555+8712+6731 {
		t.Fatalf("%d configurations", len(configs))
	}
	s := space.QuickTune()
	for name, options := range map[string]space.EncodingOptions{"flag": {}, "default": {Inactive: space.InactiveDefault}} {
		t.Run(name, func(t *testing.T) {
			encoder := mustEncode(t, s, options, configs[:3555])
			x := make([]float64, encoder.Width())
			for n, c := range configs {
				back, err := encoder.Decode(encoder.Encode(x, c))
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(back, c) {
					t.Fatalf("configuration %d:\n got %s\nwant %s", n, s.Format(back), s.Format(c))
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	s := space.QuickTune()
	c := s.Sample(newRNG(1))
	encoder := mustEncode(b, s, space.EncodingOptions{}, nil)
	x := make([]float64, encoder.Width())
	b.ReportAllocs()
	for b.Loop() {
		encoder.Encode(x, c)
	}
}

func BenchmarkDecode(b *testing.B) {
	s := space.QuickTune()
	encoder := mustEncode(b, s, space.EncodingOptions{}, nil)
	x := encoder.Encode(nil, s.Sample(newRNG(1)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encoder.Decode(x); err != nil {
			b.Fatal(err)
		}
	}
}
