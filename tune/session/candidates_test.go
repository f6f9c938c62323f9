package session

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quicktune/generate/trainer"
	"quicktune/internal/vision"
	"quicktune/space"
)

func embeddedSpace(t *testing.T) *space.Space {
	t.Helper()
	s, err := trainer.Space(defaultEpochs)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hubModels() []string {
	var names []string
	for _, s := range vision.Specs {
		names = append(names, s.Name)
	}
	return names
}

func TestEveryNetworkHasDefaultSettingsAndVariants(t *testing.T) {
	s := embeddedSpace(t)
	for _, m := range hubModels() {
		c, err := defaultConfig(s, m)
		if err != nil {
			t.Errorf("%s: %v", m, err)
			continue
		}
		list := variants(s, []string{m})
		if len(list) != 12 || len(unique(s, append(list, c))) != 12 {
			t.Errorf("%s has %d variants, the default settings among them or not", m, len(list))
		}
	}
}

func TestDrawsAreDifferentAndOfEachNetworkAlike(t *testing.T) {
	s := embeddedSpace(t)
	list, err := draw(s, []string{"vit_s", "plain_xs", "mixer_m"}, 30, 1)
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for _, m := range modelsOf(s, list) {
		count[m]++
	}
	if len(unique(s, list)) != 30 || count["vit_s"] != 10 || count["plain_xs"] != 10 || count["mixer_m"] != 10 {
		t.Errorf("%v", count)
	}
	again, err := draw(s, []string{"vit_s", "plain_xs", "mixer_m"}, 30, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		if s.Format(list[i]) != s.Format(again[i]) {
			t.Fatalf("candidate %d differs", i)
		}
	}
}

func TestASpaceWithoutNetworksIsSampled(t *testing.T) {
	s, err := space.New("small", []space.Hyperparameter{
		{Name: "a", Type: space.Categorical, Choices: []space.Value{space.String("x"), space.String("y")}},
		{Name: "b", Type: space.Ordinal, Choices: []space.Value{space.Int(1), space.Int(2), space.Int(3)}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := draw(s, nil, 100, 1)
	if err != nil || len(list) != 6 {
		t.Errorf("%d of 6 configurations, %v", len(list), err)
	}
	if _, err := draw(s, []string{"vit_s"}, 100, 1); err == nil || !strings.Contains(err.Error(), "--models") {
		t.Errorf("networks in a space without: %v", err)
	}
}

func TestConfigurationsAreTranslatedIfTheOtherSpaceHasThem(t *testing.T) {
	known := embeddedSpace(t)
	short, err := trainer.Space(7)
	if err != nil {
		t.Fatal(err)
	}
	list, err := draw(short, nil, 24, 1)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := translate(list, short, known)
	if !ok || len(got) != 24 {
		t.Fatalf("%d translated, %v", len(got), ok)
	}
	for i := range got {
		if err := known.Validate(got[i]); err != nil {
			t.Error(err)
		}
	}
	other, err := space.New("other", []space.Hyperparameter{{Name: "lr", Type: space.Real, Lower: 0, Upper: 1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := translate([]space.Config{{space.Float(0.5)}}, other, known); ok {
		t.Error("a configuration of another space was translated")
	}
}

func TestSpacesAreReadInBothFormats(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "space.json")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own, err := embeddedSpace(t).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"own":         string(own),
		"ConfigSpace": `{"hyperparameters": [{"name": "lr", "type": "uniform_float", "log": true, "lower": 0.001, "upper": 1.0, "default": 0.1}], "conditions": [], "forbiddens": [], "python_module_version": "0.7.1", "json_format_version": 0.4}`,
	} {
		if _, err := readSpace(file(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readSpace(file(`{"format":"quicktune-space","version":99}`)); err == nil || !strings.Contains(err.Error(), "99") {
		t.Errorf("a version that nobody knows: %v", err)
	}
}

func TestDifferencesAreNamed(t *testing.T) {
	a := Settings{Data: "x", Budget: 60, Models: []string{"vit_s"}}
	for _, c := range []struct {
		b    Settings
		want string
	}{
		{a, ""},
		{Settings{Data: "x", Budget: 90, Models: []string{"vit_s"}}, "budget 60, not 90"},
		{Settings{Data: "x", Budget: 60, Models: []string{"vit_m"}}, "models [vit_s], not [vit_m]"},
	} {
		if got := difference(a, c.b); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
