package predictor

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"quicktune/internal/stream"
	"quicktune/space"
)

func TestEncoderHasTheInputsOfTheReference(t *testing.T) {
	e, err := NewEncoder(space.QuickTune(), "model", sample(t, 200))
	if err != nil {
		t.Fatal(err)
	}
	c := e.Columns
	if len(c) != ReferenceInputs || Reference().Config() != ReferenceInputs {
		t.Fatalf("%d columns", len(c))
	}
	for i, name := range c {
		block := strings.HasPrefix(name, "cat:model:") == (i < 24) && strings.HasPrefix(name, "cat:") == (i < 41)
		if !block {
			t.Errorf("column %d is %s", i, name)
		}
	}
	if c[0] != "cat:model:beit_base_patch16_384" || c[23] != "cat:model:xcit_tiny_24_p8_384_dist" || c[41] != "amp" || c[67] != "clip_grad" || c[68] != "layer_decay" {
		t.Errorf("columns %v", c)
	}
	for _, want := range []string{"random_augment", "trivial_augment", "cat:auto_augment:None", "cat:opt_betas:None"} {
		if !slices.Contains(c, want) {
			t.Errorf("no column %s", want)
		}
	}
}

func TestEncoderStandardisesNumbersAndLeavesIndicators(t *testing.T) {
	configs := sample(t, 500)
	e, err := NewEncoder(space.QuickTune(), "model", configs)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]float64
	for _, c := range configs {
		x, err := e.Encode(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		allFinite(t, "row", x)
		rows = append(rows, x)
	}
	models := 0.0
	for j, name := range e.Columns {
		sum, sq := 0.0, 0.0
		for _, r := range rows {
			sum += r[j]
			sq += r[j] * r[j]
			if strings.HasPrefix(name, "cat:") && r[j] != 0 && r[j] != 1 {
				t.Fatalf("%s is %v", name, r[j])
			}
		}
		if strings.HasPrefix(name, "cat:model:") {
			models += sum
		}
		if n := float64(len(rows)); !strings.HasPrefix(name, "cat:") && (math.Abs(sum) > 1e-9 || math.Abs(sq/(n-1)-1) > 1e-9) {
			t.Errorf("%s has the mean %v and the variance %v", name, sum/n, sq/(n-1))
		}
	}
	if int(models) != len(rows) {
		t.Errorf("%v model indicators in %d rows", models, len(rows))
	}
}

func TestEncoderKnowsWhatDoesNotVary(t *testing.T) {
	one := sample(t, 1)
	e, err := NewEncoder(space.QuickTune(), "model", []space.Config{one[0], one[0]})
	if err != nil {
		t.Fatal(err)
	}
	x, err := e.Encode(nil, one[0])
	if err != nil {
		t.Fatal(err)
	}
	allFinite(t, "row", x)
	if _, err := NewEncoder(space.QuickTune(), "model", nil); err == nil {
		t.Error("an encoder from nothing")
	}
	if _, err := e.Encode(nil, one[0][1:]); err == nil {
		t.Error("an invalid configuration was encoded")
	}
}

// The first real configuration is checked number by number against the released
// table, standardised by hand.
func TestEncoderAgreesWithTheReleasedTable(t *testing.T) {
	x := realTasks(t)
	j := slices.Index(x.encoder.Columns, "lr")
	sum, n := 0.0, 0.0
	var raw [][]float64
	for _, cs := range x.configs {
		for _, c := range cs {
			v := c[space.QuickTune().Index("lr")].Num()
			raw = append(raw, []float64{v})
			sum += v
			n++
		}
	}
	mean, sq := sum/n, 0.0
	for _, v := range raw {
		sq += (v[0] - mean) * (v[0] - mean)
	}
	sd := math.Sqrt(sq / (n - 1))
	i := 0
	for d, cs := range x.configs {
		for k := range cs {
			if got, want := x.tasks[d].Config[k][j], (raw[i][0]-mean)/sd; math.Abs(got-want) > 1e-9 {
				t.Fatalf("lr of curve %d is encoded as %v instead of %v", i, got, want)
			}
			i++
		}
	}
}

func TestEncoderOfAnotherSpace(t *testing.T) {
	s, err := space.Parse([]byte(`{
		"format": "quicktune-space", "version": 1, "name": "other",
		"hyperparameters": [
			{"name": "rate", "type": "real", "lower": 0.001, "upper": 1, "log": true},
			{"name": "opt", "type": "categorical", "choices": ["sgd", "adam"]},
			{"name": "net", "type": "categorical", "choices": ["b", "a", "c"]},
			{"name": "clip", "type": "ordinal", "choices": [null, 1, 10]}
		]
	}`))
	if err != nil {
		t.Fatal(err)
	}
	rng := stream.New("test/other", 1)
	var configs []space.Config
	for range 60 {
		configs = append(configs, s.Sample(rng))
	}
	e, err := NewEncoder(s, "net", configs)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"net=b", "net=a", "net=c", "opt=sgd", "opt=adam", "clip=None", "rate", "clip"}
	if !slices.Equal(e.Columns, want) || !slices.Equal(e.Groups(), []int{3, 3, 2}) {
		t.Fatalf("columns %v in groups %v", e.Columns, e.Groups())
	}
	// By hand: the logarithm of the rate less its mean, over its deviation.
	mean, square := 0.0, 0.0
	for _, c := range configs {
		r := math.Log(c[0].Num())
		mean += r / 60
		square += r * r / 60
	}
	x, err := e.Encode(nil, configs[3])
	if err != nil {
		t.Fatal(err)
	}
	if got, want := x[6], (math.Log(configs[3][0].Num())-mean)/math.Sqrt(square-mean*mean); math.Abs(got-want) > 1e-12 {
		t.Errorf("the rate becomes %v, want %v", got, want)
	}
	for j, name := range []string{"b", "a", "c"} {
		if on := configs[3][2].Text() == name; on != (x[j] == 1) {
			t.Errorf("net %s, column %s is %v", configs[3][2].Text(), e.Columns[j], x[j])
		}
	}

	// It survives a file, and refuses one of other columns.
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var read Encoder
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	if err := read.prepare(); err != nil {
		t.Fatal(err)
	}
	if y, err := read.Encode(nil, configs[3]); err != nil || !slices.Equal(x, y) {
		t.Errorf("after reading it gives %v (%v), before %v", y, err, x)
	}
	read.Columns = read.Columns[1:]
	if err := read.prepare(); err == nil || !strings.Contains(err.Error(), "encoder with 7 columns") {
		t.Errorf("an encoder that lacks a column: %v", err)
	}
	if _, err := e.Encode(nil, configs[3][:2]); err == nil {
		t.Error("a configuration of another space is encoded")
	}
	// Without a hyperparameter that names the model there are two groups.
	if e, err := NewEncoder(s, "", configs); err != nil || !slices.Equal(e.Groups(), []int{6, 2}) {
		t.Errorf("without models: %v, %v", e.Groups(), err)
	}
}
