package predictor

import (
	"math"
	"slices"
	"strings"
	"testing"

	"quicktune/space"
)

func TestEncoderHasTheInputsOfTheReference(t *testing.T) {
	e, err := NewEncoder(sample(t, 200))
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
	e, err := NewEncoder(configs)
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
	e, err := NewEncoder([]space.Config{one[0], one[0]})
	if err != nil {
		t.Fatal(err)
	}
	x, err := e.Encode(nil, one[0])
	if err != nil {
		t.Fatal(err)
	}
	allFinite(t, "row", x)
	if _, err := NewEncoder(nil); err == nil {
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
