package space_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"quicktune/space"
)

const exampleJSON = `{
  "format": "quicktune-space",
  "version": 1,
  "name": "example",
  "hyperparameters": [
    {"name": "opt", "type": "categorical", "choices": ["sgd", "<momentum>"], "group": "Optimisation"},
    {"name": "momentum", "type": "ordinal", "choices": [0, 0.9, 1], "default": 2},
    {"name": "lr", "type": "real", "lower": 1e-05, "upper": 1, "log": true},
    {"name": "batch_size", "type": "integer", "lower": 2, "upper": 64, "log": true},
    {"name": "clip_grad", "type": "ordinal", "choices": [null, 1, 10], "default": null},
    {"name": "epochs", "type": "constant", "choices": [50]}
  ],
  "conditions": [
    {"child": "momentum", "any_of": [[{"parent": "opt", "op": "in", "values": ["<momentum>"]}]]},
    {"child": "clip_grad", "any_of": [[{"parent": "momentum", "op": ">", "values": [0]}]]}
  ]
}
`

func TestCanonicalJSON(t *testing.T) {
	s, err := space.Parse([]byte(exampleJSON))
	if err != nil {
		t.Fatal(err)
	}
	// Without blanks; one kind of number a hyperparameter; nothing escaped.
	const want = `{"format":"quicktune-space","version":1,"name":"example","hyperparameters":[` +
		`{"name":"opt","type":"categorical","choices":["sgd","<momentum>"],"group":"Optimisation"},` +
		`{"name":"momentum","type":"ordinal","choices":[0.0,0.9,1.0],"default":2.0},` +
		`{"name":"lr","type":"real","lower":1e-05,"upper":1.0,"log":true},` +
		`{"name":"batch_size","type":"integer","lower":2,"upper":64,"log":true},` +
		`{"name":"clip_grad","type":"ordinal","choices":[null,1,10],"default":null},` +
		`{"name":"epochs","type":"constant","choices":[50]}],` +
		`"conditions":[{"child":"momentum","any_of":[[{"parent":"opt","op":"in","values":["<momentum>"]}]]},` +
		`{"child":"clip_grad","any_of":[[{"parent":"momentum","op":">","values":[0.0]}]]}]}`
	got, err := s.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	// The digest of the bytes above by Python's hashlib.
	if want := "6bf4263bb2bb22bff3254078f681ab43d5ae6196436777b1e0c5612c922ae44e"; s.Hash() != want {
		t.Errorf("hash %s, want %s", s.Hash(), want)
	}
	// json.Marshal escapes for HTML, which changes no meaning.
	embedded, err := json.MarshalIndent(map[string]any{"space": s}, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]json.RawMessage
	if err := json.Unmarshal(embedded, &out); err != nil {
		t.Fatal(err)
	}
	if again, err := space.Parse(out["space"]); err != nil || again.Hash() != s.Hash() {
		t.Errorf("embedded in a file: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(exampleJSON, old) {
			t.Fatalf("%s is not in the example", old)
		}
		return strings.Replace(exampleJSON, old, new, 1)
	}
	for name, tt := range map[string]struct{ data, want string }{
		"nothing":            {"", "space JSON: EOF"},
		"half a file":        {exampleJSON[:300], "space JSON: unexpected EOF"},
		"a missing comma":    {replace(`"version": 1,`, `"version": 1`), `space JSON: line 4: invalid character '"' after object key:value pair`},
		"more than one":      {exampleJSON + "{}", "space JSON: something follows the description"},
		"another format":     {replace("quicktune-space", "x"), `space JSON: format is "x", not "quicktune-space"`},
		"another version":    {replace(`"version": 1`, `"version": 2`), "space JSON: version is 2, this program reads 1"},
		"an unknown field":   {replace(`"group"`, `"Croup"`), `space JSON: json: unknown field "Croup"`},
		"an unknown type":    {replace(`"real"`, `"float"`), `space JSON: hyperparameter "lr": unknown type "float": use categorical, ordinal, real, integer, constant`},
		"no upper bound":     {replace(`, "upper": 1,`, `,`), `space JSON: hyperparameter "lr": type real needs the numbers lower and upper`},
		"a text as bound":    {replace(`"upper": 1,`, `"upper": "1",`), `space JSON: hyperparameter "lr": type real needs the numbers lower and upper`},
		"bounds of choices":  {replace(`"choices": [50]`, `"choices": [50], "lower": 0`), `space JSON: hyperparameter "epochs": type constant has choices, not bounds`},
		"a list as choice":   {replace(`"sgd"`, `["sgd"]`), `space JSON: a value is null, true, false, a number or a text, not a list or an object`},
		"a huge number":      {replace(`[50]`, `[1e999]`), `space JSON: number 1e999 is beyond the range of a float64`},
		"a huge integer":     {replace(`[50]`, `[9007199254740993]`), `space JSON: whole number 9007199254740993 is beyond 2^53`},
		"half an integer":    {replace(`"lower": 2`, `"lower": 2.5`), `space JSON: space "example": hyperparameter "batch_size": bounds [2.5, 64] are not whole numbers of at most 2^53`},
		"an unknown parent":  {replace(`"parent": "opt"`, `"parent": "sched"`), `space JSON: space "example": condition on "momentum": parent "sched" is not a hyperparameter`},
		"a number as a name": {replace(`"name": "lr"`, `"name": 3`), `space JSON: line 8: json: cannot unmarshal number into Go struct field paramJSON.hyperparameters.name of type string`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := space.Parse([]byte(tt.data)); err == nil || err.Error() != tt.want {
				t.Errorf("\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestValueJSON(t *testing.T) {
	for text, want := range map[string]space.Value{
		"null": space.None, "true": space.Bool(true), "false": space.Bool(false),
		"3": space.Int(3), "-9007199254740992": space.Int(-1 << 53), "3.0": space.Float(3), "1e-05": space.Float(1e-5), "1e+21": space.Float(1e21),
		`"<a> \"b\""`: space.String(`<a> "b"`), `""`: space.String(""),
	} {
		var v space.Value
		if err := json.Unmarshal([]byte(text), &v); err != nil || v != want {
			t.Errorf("%s is read as %#v (%v), want %#v", text, v, err, want)
		}
		if got, err := v.MarshalJSON(); err != nil || string(got) != text {
			t.Errorf("%s is written as %s (%v)", text, got, err)
		}
	}
	if _, err := space.Inactive.MarshalJSON(); err == nil {
		t.Error("an inactive value was written")
	}
	if got := space.Float(math.Copysign(0, -1)); got != space.Float(0) {
		t.Errorf("-0 is %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(exampleJSON))
	quicktune, err := space.QuickTune().MarshalJSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(quicktune)
	f.Add([]byte(`{"format":"quicktune-space","version":1,"name":"","hyperparameters":[{"name":"x","type":"integer","lower":1,"upper":9,"log":true}],"conditions":[]}`))
	f.Add([]byte(`{"format":"quicktune-space","version":1,"name":"","hyperparameters":[{"name":"x","type":"real","lower":0,"upper":9e99,"default":null}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := space.Parse(data)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		checkParsed(t, s)
	})
}

// checkParsed holds what is true of every space.
func checkParsed(t *testing.T, s *space.Space) {
	t.Helper()
	first, err := s.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := space.Parse(first)
	if err != nil {
		t.Fatalf("%s: %v", first, err)
	}
	second, err := again.MarshalJSON()
	if err != nil || !bytes.Equal(first, second) || again.Hash() != s.Hash() {
		t.Fatalf("written again (%v):\n%s\n%s", err, first, second)
	}
	if c := s.Sample(newRNG(1)); s.Validate(c) != nil {
		t.Fatalf("%s: %v", s.Format(c), s.Validate(c))
	}
}

func TestConfigSpaceFileOfVersion1(t *testing.T) {
	data, err := os.ReadFile("testdata/configspace1.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := space.ParseConfigSpace(data)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/configspace1.golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got)+"\n" != string(want) {
		t.Errorf("differs from testdata/configspace1.golden.json:\n%s", got)
	}
	// ConfigSpace 1.2 drew these: what is active must be the same.
	samples, err := os.ReadFile("testdata/configspace1_samples.json")
	if err != nil {
		t.Fatal(err)
	}
	var configs []map[string]space.Value
	if err := json.Unmarshal(samples, &configs); err != nil {
		t.Fatal(err)
	}
	if len(configs) != 100 {
		t.Fatalf("%d samples", len(configs))
	}
	for n, m := range configs {
		c, err := s.ConfigFromMap(m)
		if err != nil {
			t.Errorf("sample %d: %v", n, err)
		} else if len(s.Map(c)) != len(m) {
			t.Errorf("sample %d: %v became %s", n, m, s.Format(c))
		}
	}
}

func TestParseConfigSpace(t *testing.T) {
	for name, tt := range map[string]struct{ params, conds, want string }{
		"a grid of fractions": {`{"type": "uniform_float", "name": "x", "lower": 0.1, "upper": 0.5, "q": 0.1, "log": false}`, "",
			`{"name":"x","type":"ordinal","choices":[0.1,0.2,0.3,0.4,0.5]}`},
		"a grid of integers": {`{"type": "uniform_int", "name": "x", "lower": 2, "upper": 8, "q": 3}`, "",
			`{"name":"x","type":"ordinal","choices":[2,5,8]}`},
		"no grid": {`{"type": "uniform_int", "name": "x", "lower": 2, "upper": 8, "q": null, "log": true, "default": 4}`, "",
			`{"name":"x","type":"integer","lower":2,"upper":8,"log":true}`},
		"equal weights": {`{"type": "categorical", "name": "x", "choices": ["None", "u"], "weights": [0.5, 0.5]}`, "",
			`{"name":"x","type":"categorical","choices":[null,"u"]}`},
		"mixed numbers": {`{"type": "ordinal", "name": "x", "sequence": ["None", 1, 0.5], "default": 1}`, "",
			`{"name":"x","type":"ordinal","choices":[null,1.0,0.5]}`},
		"AND over OR": {`{"type": "categorical", "name": "a", "choices": [1, 2, 3]}, {"type": "constant", "name": "x", "value": "u"}`,
			`{"type": "AND", "conditions": [
				{"type": "OR", "conditions": [{"child": "x", "parent": "a", "type": "EQ", "value": 1.0}, {"child": "x", "parent": "a", "type": "IN", "values": [2, 2]}]},
				{"child": "x", "parent": "a", "type": "NEQ", "value": 3}]}`,
			`{"name":"a","type":"categorical","choices":[1,2,3]},{"name":"x","type":"constant","choices":["u"]}],` +
				`"conditions":[{"child":"x","any_of":[` +
				`[{"parent":"a","op":"in","values":[1]},{"parent":"a","op":"not_in","values":[3]}],` +
				`[{"parent":"a","op":"in","values":[2]},{"parent":"a","op":"not_in","values":[3]}]]}`},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := space.ParseConfigSpace([]byte(`{"hyperparameters": [` + tt.params + `], "conditions": [` + tt.conds + `], "forbiddens": []}`))
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			want := `{"format":"quicktune-space","version":1,"name":"configspace","hyperparameters":[` + tt.want
			if tt.conds == "" {
				want += `],"conditions":[`
			}
			if want += "]}"; string(got) != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
}

func TestParseConfigSpaceRefuses(t *testing.T) {
	const x = `{"hyperparameters": [{"type": "categorical", "name": "x", "choices": ["u", "v"]}, {"type": "constant", "name": "y", "value": 1}], "conditions": [%]}`
	param := func(p string) string { return `{"hyperparameters": [` + p + `]}` }
	cond := func(c string) string { return strings.Replace(x, "%", c, 1) }
	// 2^13 alternatives once multiplied out.
	or := `{"type": "OR", "child": "y", "conditions": [{"type": "EQ", "child": "y", "parent": "x", "value": "u"}, {"type": "EQ", "child": "y", "parent": "x", "value": "v"}]}`
	huge := `{"type": "AND", "child": "y", "conditions": [` + strings.Repeat(or+",", 12) + or + `]}`
	for name, tt := range map[string]struct{ data, want string }{
		"no JSON":             {"x", "line 1: invalid character 'x' looking for beginning of value"},
		"another format":      {exampleJSON[:1] + "}", "there is no list of hyperparameters"},
		"forbidden clauses":   {`{"hyperparameters": [], "forbiddens": [{"name": "x"}]}`, "1 forbidden clauses are not supported: express them as conditions"},
		"a distribution":      {param(`{"type": "normal_float", "name": "x", "mu": 0}`), `hyperparameter "x": type "normal_float" is not supported: use categorical, ordinal, constant, uniform_float or uniform_int`},
		"weights":             {param(`{"type": "categorical", "name": "x", "choices": ["u", "v"], "weights": [1, 2]}`), `hyperparameter "x": unequal weights of choices are not supported`},
		"old weights":         {param(`{"type": "categorical", "name": "x", "choices": ["u", "v"], "probabilities": [0.9, 0.1]}`), `hyperparameter "x": unequal weights of choices are not supported`},
		"a quantised log":     {param(`{"type": "uniform_int", "name": "x", "lower": 1, "upper": 9, "q": 2, "log": true}`), `hyperparameter "x": a quantised log scale is not supported: list the values as an ordinal`},
		"an uneven grid":      {param(`{"type": "uniform_int", "name": "x", "lower": 1, "upper": 9, "q": 3}`), `hyperparameter "x": q=3 does not divide [1, 9] evenly`},
		"a fractional grid":   {param(`{"type": "uniform_int", "name": "x", "lower": 1, "upper": 9, "q": 0.5}`), `hyperparameter "x": q=0.5 and lower=1 are not whole numbers`},
		"a negative step":     {param(`{"type": "uniform_int", "name": "x", "lower": 1, "upper": 9, "q": -1}`), `hyperparameter "x": q=-1 does not divide [1, 9] into at most 10000 steps`},
		"an enormous grid":    {param(`{"type": "uniform_float", "name": "x", "lower": 0, "upper": 1, "q": 1e-9}`), `hyperparameter "x": q=1e-09 does not divide [0, 1] into at most 10000 steps`},
		"no bounds":           {param(`{"type": "uniform_float", "name": "x", "lower": 0}`), `hyperparameter "x": lower and upper must be numbers`},
		"an empty constant":   {param(`{"type": "constant", "name": "x"}`), `hyperparameter "x": the constant has no value`},
		"log from zero":       {param(`{"type": "uniform_float", "name": "x", "lower": 0, "upper": 1, "log": true}`), `space "configspace": hyperparameter "x": a log scale needs bounds above 0, not 0`},
		"an unknown relation": {cond(`{"type": "GE", "child": "y", "parent": "x", "value": "u"}`), `condition on "y": type "GE" is not supported: use EQ, NEQ, IN, LT, GT, AND or OR`},
		"two children":        {cond(`{"type": "AND", "child": "y", "conditions": [{"type": "EQ", "child": "x", "parent": "x", "value": "u"}]}`), `condition on "y": a part of it is on "x"`},
		"an empty AND":        {cond(`{"type": "AND", "child": "y"}`), `condition on "y": type AND has no conditions`},
		"an empty OR":         {cond(`{"type": "OR", "child": "y"}`), `space "configspace": condition on "y": has no clauses`},
		"no value":            {cond(`{"type": "EQ", "child": "y", "parent": "x"}`), `condition on "y": type EQ compares "x" with nothing`},
		"an explosion":        {cond(huge), `condition on "y": it has more than 4096 clauses once AND and OR are multiplied out`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := space.ParseConfigSpace([]byte(tt.data)); err == nil || err.Error() != "ConfigSpace JSON: "+tt.want {
				t.Errorf("\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func FuzzParseConfigSpace(f *testing.F) {
	data, err := os.ReadFile("testdata/configspace1.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"hyperparameters": [{"type": "uniform_float", "name": "x", "lower": 0.1, "upper": 0.5, "q": 0.1, "log": false}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := space.ParseConfigSpace(data)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		checkParsed(t, s)
	})
}
