package predictors

import (
	"errors"
	"slices"
	"testing"

	"quicktune/generate/trainer"
	"quicktune/space"
)

func TestForecastsAreForTheSpacesThatAreSearched(t *testing.T) {
	embedded, err := trainer.Space(50)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		hub      string
		space    *space.Space
		datasets int // at least
	}{
		{Embedded, embedded, 20},
		{Timm, space.QuickTune(), 20},
	} {
		m, data, err := Load(c.hub)
		if err != nil {
			t.Error(err)
			continue
		}
		if m.Features().Space().Hash() != c.space.Hash() {
			t.Errorf("%s: the forecasts are for another space", c.hub)
		}
		if m.MaxEpochs() != 50 || len(m.Info.Datasets) < c.datasets || !slices.IsSorted(m.Info.Datasets) {
			t.Errorf("%s: curves of %d epochs of %q", c.hub, m.MaxEpochs(), m.Info.Datasets)
		}
		if len(data) > 8<<20 {
			t.Errorf("%s: %d bytes", c.hub, len(data))
		}
	}
	if _, _, err := Load("other"); !errors.Is(err, ErrNone) {
		t.Errorf("an unknown hub: %v", err)
	}
}
