package cost

import (
	"math"
	"testing"

	"quicktune/internal/vision"
	"quicktune/metadataset"
	"quicktune/space"
)

func TestSecondsFollowFromArithmetic(t *testing.T) {
	const forward, trained, evaluated = 1e-4, 100, 40
	for _, c := range []struct {
		name   string
		config map[string]space.Value
		passes float64
	}{
		{"everything is trained", nil, 2.6},
		{"a half is frozen", map[string]space.Value{"pct_to_freeze": space.Float(0.5)}, 1.8},
		{"all is frozen", map[string]space.Value{"pct_to_freeze": space.Float(1)}, 1},
		{"linear probing", map[string]space.Value{"linear_probing": space.Bool(true)}, 1},
		{"DELTA looks at the pretrained network", map[string]space.Value{"delta_reg": space.Float(0.1)}, 3.6},
		{"DELTA of weight 0 does not", map[string]space.Value{"delta_reg": space.Float(0)}, 2.6},
	} {
		train, eval := Epoch(c.config, forward, trained, evaluated)
		if want := trained*forward*c.passes + epochSeconds; math.Abs(train-want) > 1e-12 || math.Abs(eval-evaluated*forward) > 1e-12 {
			t.Errorf("%s: %g and %g seconds, want %g and %g", c.name, train, eval, want, evaluated*forward)
		}
	}
}

func TestEveryNetworkOfTheHubHasATime(t *testing.T) {
	for _, s := range vision.Specs {
		if _, ok := forwardMicroseconds[s.Name]; !ok {
			t.Errorf("%s has no time", s.Name)
		}
	}
	if got, want := Forward(metadataset.Model{Name: "resnet50", GMACs: 0.004}), 2e-4; math.Abs(got-want) > 1e-12 {
		t.Errorf("a network of 4 million multiply-adds takes %g s, want %g", got, want)
	}
}
