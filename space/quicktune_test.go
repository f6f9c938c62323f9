package space_test

import (
	"math/big"
	"os"
	"slices"
	"testing"

	"quicktune/internal/realdata"
	"quicktune/space"
)

// Every name with its number of values, from Table 1 of the paper as released.
var quickTuneChoices = map[string]int{
	"model": 24, "pct_to_freeze": 6, "layer_decay": 3, "linear_probing": 2, "stoch_norm": 2,
	"sp_reg": 5, "delta_reg": 5, "bss_reg": 5, "cotuning_reg": 5,
	"mixup": 7, "mixup_prob": 5, "cutmix": 7, "drop": 5, "smoothing": 3, "clip_grad": 3,
	"data_augmentation": 4, "auto_augment": 2, "ra_num_ops": 2, "ra_magnitude": 2,
	"opt": 5, "opt_betas": 4, "momentum": 5, "lr": 7, "warmup_lr": 3, "weight_decay": 6, "batch_size": 9, "amp": 2,
	"sched": 4, "warmup_epochs": 3, "patience_epochs": 2, "decay_rate": 2, "decay_epochs": 2,
	"epochs": 1,
}

func TestQuickTuneIsThePapersSpace(t *testing.T) {
	s := space.QuickTune()
	if s.Len() != len(quickTuneChoices) {
		t.Errorf("%d hyperparameters, want %d", s.Len(), len(quickTuneChoices))
	}
	for name, n := range quickTuneChoices {
		i := s.Index(name)
		if i < 0 {
			t.Errorf("%s is missing", name)
			continue
		}
		if got := len(s.Param(i).Choices); got != n {
			t.Errorf("%s has %d choices, want %d", name, got, n)
		}
	}
	models := s.Param(s.Index("model")).Choices
	if models[0] != space.String("beit_large_patch16_512") || models[23] != space.String("dla46x_c") {
		t.Errorf("models run from %s to %s", models[0], models[23])
	}
	for name, want := range map[string]space.Value{
		"momentum": space.Float(0.9), "decay_rate": space.Float(0.1), "decay_epochs": space.Int(90),
		"patience_epochs": space.Int(10), "ra_magnitude": space.Int(8), "ra_num_ops": space.Int(2),
		"auto_augment": space.None, "opt_betas": space.None, "lr": space.Inactive,
	} {
		if got := s.Param(s.Index(name)).Default; got != want {
			t.Errorf("default of %s is %s, want %s", name, got, want)
		}
	}
	conditional := 0
	for i := range s.Len() {
		if s.Conditional(i) {
			conditional++
		}
	}
	if conditional != 8 {
		t.Errorf("%d conditional hyperparameters, want 8", conditional)
	}
}

func TestQuickTuneSize(t *testing.T) {
	// Unconditional choices times the three coupled groups: augmentation
	// (None, trivial: 1 each; random: 2*2; auto: 2), optimiser (sgd: 1;
	// momentum: 5; three Adams: 4 each) and schedule (cosine: 1; plateau: 2;
	// step and multistep: 2*2 each).
	want := big.NewInt(1)
	for _, n := range []int64{24, 6, 3, 2, 2, 5, 5, 5, 5, 7, 5, 7, 5, 3, 3, 7, 3, 6, 9, 2, 3, 1 + 1 + 2*2 + 2, 1 + 5 + 3*4, 1 + 2 + 2*2*2} {
		want.Mul(want, big.NewInt(n))
	}
	got, finite := space.QuickTune().Size()
	if !finite || got.Cmp(want) != 0 {
		t.Errorf("size %v, want %v", got, want)
	}
}

// The hash names the space in every stored meta-dataset: a change of it makes
// them unreadable, so it must be meant.
func TestQuickTuneHashIsStable(t *testing.T) {
	const want = "dc9be3e9898e42a585dff0333483aaa9ddea966fe92b4930008fa87524cdabec"
	if got := space.QuickTune().Hash(); got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}

// The authors' later tool has the same space with fewer batch sizes and without
// co-tuning, described in ConfigSpace's JSON.
func TestQuickTuneAgreesWithTheReleasedConfigSpaceFile(t *testing.T) {
	data, err := os.ReadFile(realdata.Path(t, "quicktune", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	released, err := space.ParseConfigSpace(data)
	if err != nil {
		t.Fatal(err)
	}
	ours := space.QuickTune()
	if released.Len() != ours.Len() {
		t.Errorf("%d hyperparameters, want %d", released.Len(), ours.Len())
	}
	for i := range released.Len() {
		theirs := released.Param(i)
		h := ours.Param(ours.Index(theirs.Name))
		if theirs.Type != h.Type {
			t.Errorf("%s is %s, want %s", h.Name, theirs.Type, h.Type)
		}
		want := slices.Clone(h.Choices)
		switch h.Name {
		case "batch_size":
			want = want[:6]
		case "cotuning_reg":
			want = want[:1]
		case "warmup_lr", "weight_decay": // in another order
			slices.SortFunc(theirs.Choices, func(a, b space.Value) int { return int(1e9 * (a.Num() - b.Num())) })
		}
		if !slices.Equal(theirs.Choices, want) {
			t.Errorf("%s: choices %v, want %v", h.Name, theirs.Choices, want)
		}
		if released.Conditional(i) != ours.Conditional(ours.Index(h.Name)) {
			t.Errorf("%s: conditional in one space only", h.Name)
		}
	}
	// 9 batch sizes against 6, 5 weights of co-tuning against 1.
	full, _ := ours.Size()
	part, _ := released.Size()
	if want := new(big.Int).Div(new(big.Int).Mul(full, big.NewInt(6)), big.NewInt(9*5)); part.Cmp(want) != 0 {
		t.Errorf("size %v, want %v", part, want)
	}
	rng := newRNG(1)
	for range 500 {
		c := released.Sample(rng)
		if _, err := ours.ConfigFromMap(released.Map(c)); err != nil {
			t.Fatalf("%s: %v", released.Format(c), err)
		}
	}
}
