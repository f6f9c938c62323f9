package space_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quicktune/internal/stream"
	"quicktune/space"
)

func newRNG(seed uint64) *rand.Rand { return stream.New("space-test", seed) }

func mustNew(tb testing.TB, params []space.Hyperparameter, conds []space.Condition) *space.Space {
	tb.Helper()
	s, err := space.New("test", params, conds)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func texts(words ...string) []space.Value {
	out := make([]space.Value, len(words))
	for i, w := range words {
		out[i] = space.String(w)
	}
	return out
}

func floats(xs ...float64) []space.Value {
	out := make([]space.Value, len(xs))
	for i, x := range xs {
		out[i] = space.Float(x)
	}
	return out
}

func ints(xs ...int64) []space.Value {
	out := make([]space.Value, len(xs))
	for i, x := range xs {
		out[i] = space.Int(x)
	}
	return out
}

func when(child, parent string, op space.Op, values ...space.Value) space.Condition {
	return space.Condition{Child: child, AnyOf: [][]space.Clause{{{Parent: parent, Op: op, Values: values}}}}
}

// training is a space with every type and a chain of conditions.
func training(tb testing.TB) *space.Space {
	return mustNew(tb, []space.Hyperparameter{
		{Name: "nesterov", Type: space.Categorical, Choices: []space.Value{space.Bool(false), space.Bool(true)}, Default: space.Bool(false)},
		{Name: "momentum", Type: space.Real, Lower: 0, Upper: 0.99, Default: space.Float(0.9)},
		{Name: "opt", Type: space.Categorical, Choices: texts("sgd", "momentum", "adam")},
		{Name: "lr", Type: space.Real, Lower: 1e-5, Upper: 0.1, Log: true},
		{Name: "batch_size", Type: space.Integer, Lower: 2, Upper: 64, Log: true},
		{Name: "layers", Type: space.Integer, Lower: 1, Upper: 4},
		{Name: "clip_grad", Type: space.Ordinal, Choices: append([]space.Value{space.None}, ints(1, 10)...)},
		{Name: "epochs", Type: space.Constant, Choices: ints(50)},
	}, []space.Condition{
		when("nesterov", "momentum", space.GreaterThan, space.Float(0.5)),
		when("momentum", "opt", space.In, space.String("momentum")),
		when("clip_grad", "layers", space.LessThan, space.Int(3)),
	})
}

func TestNewRefuses(t *testing.T) {
	cat := func(name string, choices ...space.Value) space.Hyperparameter {
		return space.Hyperparameter{Name: name, Type: space.Categorical, Choices: choices}
	}
	ord := func(log bool, choices ...space.Value) []space.Hyperparameter {
		return []space.Hyperparameter{{Name: "x", Type: space.Ordinal, Log: log, Choices: choices}}
	}
	rng := func(typ space.Type, lo, hi float64, log bool) []space.Hyperparameter {
		return []space.Hyperparameter{{Name: "x", Type: typ, Lower: lo, Upper: hi, Log: log}}
	}
	abc := []space.Hyperparameter{cat("a", texts("u", "v")...), cat("b", texts("u", "v")...), cat("c", texts("u", "v")...)}
	u := space.String("u")
	for name, tt := range map[string]struct {
		params []space.Hyperparameter
		conds  []space.Condition
		want   string
	}{
		"no name":              {[]space.Hyperparameter{cat("", u)}, nil, "a hyperparameter has no name"},
		"an equals sign":       {[]space.Hyperparameter{cat("a=b", u)}, nil, `hyperparameter "a=b": the name holds '=', a control character or invalid UTF-8`},
		"a doubled name":       {[]space.Hyperparameter{cat("a", u), cat("a", u)}, nil, `hyperparameter "a" is declared twice`},
		"no choices":           {[]space.Hyperparameter{cat("x")}, nil, `hyperparameter "x": has no choices`},
		"a doubled choice":     {[]space.Hyperparameter{cat("x", u, u)}, nil, `hyperparameter "x": the choice u occurs twice`},
		"look-alike choices":   {[]space.Hyperparameter{cat("x", space.None, space.String("None"))}, nil, `hyperparameter "x": the choice None occurs twice`},
		"an inactive choice":   {[]space.Hyperparameter{cat("x", space.Inactive)}, nil, `hyperparameter "x": Inactive cannot be a choice`},
		"a choice of NaN":      {ord(false, floats(math.NaN())...), nil, `hyperparameter "x": number NaN is not finite`},
		"a broken text":        {[]space.Hyperparameter{cat("x", space.String("\xff"))}, nil, `hyperparameter "x": text "\xff" is not valid UTF-8`},
		"mixed numbers":        {ord(false, space.Int(1), space.Float(2.5)), nil, `hyperparameter "x": choices mix whole numbers and fractions: write 2.5 as a fraction`},
		"log of a negative":    {ord(true, floats(-1, 1)...), nil, `hyperparameter "x": a log scale needs numbers >= 0, not -1`},
		"log of a text":        {ord(true, u), nil, `hyperparameter "x": a log scale needs numbers >= 0, not u`},
		"log of categories":    {[]space.Hyperparameter{{Name: "x", Choices: ints(1), Log: true}}, nil, `hyperparameter "x": type categorical has no log scale`},
		"bounds of categories": {[]space.Hyperparameter{{Name: "x", Choices: ints(1), Upper: 1}}, nil, `hyperparameter "x": type categorical has choices, not bounds`},
		"choices of a range":   {[]space.Hyperparameter{{Name: "x", Type: space.Real, Choices: floats(1), Upper: 1}}, nil, `hyperparameter "x": type real has bounds, not choices`},
		"an empty range":       {rng(space.Real, 1, 1, false), nil, `hyperparameter "x": bounds [1, 1] are not two finite numbers in ascending order`},
		"an endless range":     {rng(space.Real, 0, math.Inf(1), false), nil, `hyperparameter "x": bounds [0, +Inf] are not two finite numbers in ascending order`},
		"a NaN range":          {rng(space.Real, math.NaN(), 1, false), nil, `hyperparameter "x": bounds [NaN, 1] are not two finite numbers in ascending order`},
		"half an integer":      {rng(space.Integer, 0.5, 2, false), nil, `hyperparameter "x": bounds [0.5, 2] are not whole numbers of at most 2^53`},
		"log from zero":        {rng(space.Integer, 0, 2, true), nil, `hyperparameter "x": a log scale needs bounds above 0, not 0`},
		"two constants":        {[]space.Hyperparameter{{Name: "x", Type: space.Constant, Choices: ints(1, 2)}}, nil, `hyperparameter "x": a constant has one value, not 2`},
		"an unknown type":      {[]space.Hyperparameter{{Name: "x", Type: 9}}, nil, `hyperparameter "x": unknown type 9`},
		"an infinite default":  {[]space.Hyperparameter{{Name: "x", Choices: ints(1), Default: space.Float(math.Inf(1))}}, nil, `hyperparameter "x": default: number +Inf is not finite`},
		"a broken group":       {[]space.Hyperparameter{{Name: "x", Choices: ints(1), Group: "\xff"}}, nil, `hyperparameter "x": the group "\xff" is not valid UTF-8`},

		"an unknown child":      {abc, []space.Condition{when("d", "a", space.In, u)}, `condition on "d": no hyperparameter has that name`},
		"an unknown parent":     {abc, []space.Condition{when("a", "d", space.In, u)}, `condition on "a": parent "d" is not a hyperparameter`},
		"an impossible value":   {abc, []space.Condition{when("a", "b", space.In, space.String("w"))}, `condition on "a": "b" can never be "w": use one of u, v`},
		"a doubled value":       {abc, []space.Condition{when("a", "b", space.In, u, u)}, `condition on "a": "b" is compared with u twice`},
		"no value":              {abc, []space.Condition{when("a", "b", space.In)}, `condition on "a": "b" is compared with nothing`},
		"an unordered parent":   {abc, []space.Condition{when("a", "b", space.LessThan, u)}, `condition on "a": "b" is categorical and has no order for "<"`},
		"an unknown comparison": {abc, []space.Condition{when("a", "b", "==", u)}, `condition on "a": unknown comparison "==": use in, not_in, < or >`},
		"no alternatives":       {abc, []space.Condition{{Child: "a"}}, `condition on "a": has no clauses`},
		"an empty alternative":  {abc, []space.Condition{{Child: "a", AnyOf: [][]space.Clause{{}}}}, `condition on "a": an alternative has no clauses`},
		"two bounds": {append([]space.Hyperparameter{{Name: "n", Type: space.Integer, Upper: 5}}, abc...),
			[]space.Condition{when("a", "n", space.LessThan, ints(1, 2)...)}, `condition on "a": "n" < needs one value, not 2`},
		"its own parent": {abc, []space.Condition{when("a", "a", space.In, u)}, "the conditions form a cycle: a depends on a"},
		"a cycle": {abc, []space.Condition{when("a", "b", space.In, u), when("b", "c", space.In, u), when("c", "a", space.In, u)},
			"the conditions form a cycle: a depends on b depends on c depends on a"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := space.New("test", tt.params, tt.conds)
			if want := `space "test": ` + tt.want; err == nil || err.Error() != want {
				t.Errorf("\n got %v\nwant %s", err, want)
			}
		})
	}
	if _, err := space.New("\xff", nil, nil); err == nil {
		t.Error("a name of invalid UTF-8 was accepted")
	}
}

func TestSpaceDoesNotChangeWithItsInputs(t *testing.T) {
	params := []space.Hyperparameter{{Name: "a", Choices: texts("u", "v")}, {Name: "b", Choices: texts("u")}}
	conds := []space.Condition{when("b", "a", space.In, space.String("u"))}
	s := mustNew(t, params, conds)
	hash, again := s.Hash(), mustNew(t, params, conds)
	params[0].Choices[0] = space.String("w")
	params[1].Name = "c"
	conds[0].AnyOf[0][0].Values[0] = space.String("v")
	s.Conditions()[0].AnyOf[0][0].Values[0] = space.String("v")
	data, err := s.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := space.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Hash() != hash || again.Hash() != hash {
		t.Error("the space changed with the slices that it was made of")
	}
	if c, err := s.ConfigFromMap(map[string]space.Value{"a": space.String("u"), "b": space.String("u")}); err != nil {
		t.Errorf("%v: %v", c, err)
	}
}

func TestValidateNamesTheHyperparameterAndWhatIsAllowed(t *testing.T) {
	s := training(t)
	valid := map[string]space.Value{
		"opt": space.String("momentum"), "momentum": space.Float(0.75), "nesterov": space.Bool(true),
		"lr": space.Float(0.001), "batch_size": space.Int(32), "layers": space.Int(2), "clip_grad": space.None, "epochs": space.Int(50),
	}
	base, err := s.ConfigFromMap(valid)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		value space.Value
		want  string
	}{
		{"opt", space.String("lion"), `hyperparameter "opt" is "lion": use one of sgd, momentum, adam`},
		{"opt", space.Inactive, `hyperparameter "opt" is not set: use one of sgd, momentum, adam`},
		{"opt", space.String("adam"), `hyperparameter "momentum" is 0.75 but does not apply: leave it out, or make opt in momentum hold`},
		{"momentum", space.Inactive, `hyperparameter "momentum" is not set: use a number in [0, 0.99]`},
		{"momentum", space.Float(0.5), `hyperparameter "nesterov" is true but does not apply: leave it out, or make momentum > 0.5 hold`},
		{"nesterov", space.None, `hyperparameter "nesterov" is None: use one of false, true`},
		{"lr", space.Float(1), `hyperparameter "lr" is 1: use a number in [1e-05, 0.1]`},
		{"lr", space.Float(math.NaN()), `hyperparameter "lr" is NaN: use a number in [1e-05, 0.1]`},
		{"batch_size", space.Int(65), `hyperparameter "batch_size" is 65: use a whole number in [2, 64]`},
		{"batch_size", space.Float(8.5), `hyperparameter "batch_size" is 8.5: use a whole number in [2, 64]`},
		{"clip_grad", space.Int(2), `hyperparameter "clip_grad" is 2: use one of None, 1, 10`},
		{"layers", space.Int(3), `hyperparameter "clip_grad" is None but does not apply: leave it out, or make layers < 3 hold`},
		{"epochs", space.Int(51), `hyperparameter "epochs" is 51: use 50`},
	} {
		c := append(space.Config(nil), base...)
		c[s.Index(tt.name)] = tt.value
		if err := s.Validate(c); err == nil || err.Error() != tt.want {
			t.Errorf("%s=%s:\n got %v\nwant %s", tt.name, tt.value, err, tt.want)
		}
	}
	if err := s.Validate(base[:3]); err == nil || err.Error() != `configuration has 3 values, space "test" has 8 hyperparameters` {
		t.Errorf("a short configuration: %v", err)
	}
}

func TestConditionsOfSeveralClauses(t *testing.T) {
	three := texts("u", "v", "w")
	s := mustNew(t, []space.Hyperparameter{
		{Name: "a", Choices: three}, {Name: "b", Choices: three},
		{Name: "size", Type: space.Ordinal, Choices: texts("small", "medium", "large")},
		{Name: "x", Choices: three}, {Name: "y", Choices: three},
	}, []space.Condition{
		{Child: "x", AnyOf: [][]space.Clause{
			{{Parent: "a", Op: space.In, Values: texts("u", "v")}, {Parent: "b", Op: space.NotIn, Values: texts("w")}},
			{{Parent: "size", Op: space.GreaterThan, Values: texts("medium")}},
		}},
		when("y", "a", space.In, texts("u")...),
		when("y", "x", space.NotIn, texts("w")...),
	})
	for _, tt := range []struct {
		config string // values of a, b, size and x
		x, y   bool
	}{
		{"u v small u", true, true},
		{"v u small u", true, false},
		{"u u small w", true, false},
		{"u w small -", false, false}, // y: no clause holds while x is inactive
		{"w u medium -", false, false},
		{"w u large u", true, false},
		{"u w large v", true, true},
	} {
		c := make(space.Config, s.Len())
		for i, word := range strings.Fields(tt.config) {
			if word != "-" {
				c[i] = space.String(word)
			}
		}
		if x, y := s.Active(c, s.Index("x")), s.Active(c, s.Index("y")); x != tt.x || y != tt.y {
			t.Errorf("%s: x %v, y %v; want %v, %v", tt.config, x, y, tt.x, tt.y)
		}
	}
	c := make(space.Config, s.Len())
	copy(c, texts("w", "u", "small"))
	c[3] = space.String("u")
	want := `hyperparameter "x" is u but does not apply: leave it out, or make a in u, v and b not in w or size > medium hold`
	if err := s.Validate(c); err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	c[3], c[4] = space.Inactive, space.String("u")
	want = `hyperparameter "y" is u but does not apply: leave it out, or make (a in u) and (x not in w) hold`
	if err := s.Validate(c); err == nil || err.Error() != want {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
}

func TestMapAndFormat(t *testing.T) {
	s := training(t)
	in := map[string]space.Value{
		"opt": space.String("adam"), "lr": space.Float(0.001), "batch_size": space.Float(32), "layers": space.Int(4),
	}
	c, err := s.ConfigFromMap(in)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Format(c), "opt=adam, lr=0.001, batch_size=32, layers=4"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want := map[string]space.Value{
		"opt": space.String("adam"), "lr": space.Float(0.001), "batch_size": space.Int(32), "layers": space.Int(4), "epochs": space.Int(50),
	}
	if diff := cmp.Diff(want, s.Map(c), cmp.Comparer(func(a, b space.Value) bool { return a == b })); diff != "" {
		t.Errorf("map (-want +got):\n%s", diff)
	}
	in["seed"], in["gpu"] = space.Int(1), space.Int(2)
	if _, err := s.ConfigFromMap(in); err == nil || err.Error() != `space "test" has no hyperparameter "gpu", "seed"` {
		t.Errorf("unknown names: %v", err)
	}
}

func TestSampleIsUniform(t *testing.T) {
	const draws = 30000
	s := training(t)
	rng := newRNG(7)
	opts, layers := map[string]int{}, map[string]int{}
	small, smallBatch, momenta := 0, 0, 0
	for range draws {
		c := s.Sample(rng)
		opts[c[s.Index("opt")].String()]++
		layers[c[s.Index("layers")].String()]++
		if c[s.Index("lr")].Num() < 1e-3 { // the middle of the log scale
			small++
		}
		if c[s.Index("batch_size")].Num() < 12 {
			smallBatch++
		}
		if c[s.Index("momentum")].Num() < 0.33 {
			momenta++
		}
	}
	// Four standard deviations of a binomial count.
	near := func(what string, got int, p float64) {
		t.Helper()
		if sd := math.Sqrt(draws * p * (1 - p)); math.Abs(float64(got)-draws*p) > 4*sd {
			t.Errorf("%s: %d of %d draws, want about %.0f", what, got, draws, draws*p)
		}
	}
	for _, opt := range []string{"sgd", "momentum", "adam"} {
		near("opt="+opt, opts[opt], 1.0/3)
	}
	for _, n := range []string{"1", "2", "3", "4"} {
		near("layers="+n, layers[n], 0.25)
	}
	near("lr below 1e-3", small, 0.5)
	near("batch_size below 12", smallBatch, math.Log(11.5/1.5)/math.Log(64.5/1.5))
	near("momentum below a third of its range", momenta, 1.0/9)
}

func TestSampleIsReproducible(t *testing.T) {
	s := space.QuickTune()
	want := "model=mobilevitv2_075"
	a, b := s.Format(s.Sample(newRNG(3))), s.Format(s.Sample(newRNG(3)))
	if a != b {
		t.Errorf("the same stream gave\n%s\n%s", a, b)
	}
	if got, _, _ := strings.Cut(a, ","); got != want {
		t.Errorf("sampled %s, want %s: the draws of a stream changed", got, want)
	}
}

func BenchmarkSample(b *testing.B) {
	s, rng := space.QuickTune(), newRNG(1)
	b.ReportAllocs()
	for b.Loop() {
		s.Sample(rng)
	}
}

func BenchmarkValidate(b *testing.B) {
	s := space.QuickTune()
	c := s.Sample(newRNG(1))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Validate(c); err != nil {
			b.Fatal(err)
		}
	}
}
