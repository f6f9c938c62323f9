package trainer

import (
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"quicktune/internal/vision"
	"quicktune/space"
)

//go:embed embedded.json
var embeddedJSON []byte

var embeddedSpace = sync.OnceValue(func() *space.Space {
	s, err := space.Parse(embeddedJSON)
	if err != nil {
		// The file is compiled in: a test parses it.
		panic(fmt.Sprintf("embedded.json: %v", err))
	}
	return s
})

// Space returns the search space of the embedded trainer: that of Quick-Tune,
// see [space.QuickTune], as it applies to the embedded networks. Mixed precision
// is left out, batches are of 4 to 128 images, the milestones of multistep lie
// at 30, 60 and 90 % of the planned epochs, and what has no effect is inactive:
// stochastic norm without batch norm, the regularisers and learning-rate decay
// of a body that is frozen whole, mixup_prob without mixup and cutmix, warmup_lr
// without warm-up. The constant epochs is the number of planned epochs, of which
// 50 are Quick-Tune's.
func Space(epochs int) (*space.Space, error) {
	base := embeddedSpace()
	if epochs < 1 {
		return nil, fmt.Errorf("a plan of %d epochs: at least 1 is needed", epochs)
	}
	params := make([]space.Hyperparameter, base.Len())
	for i := range params {
		params[i] = base.Param(i)
		if params[i].Name == "epochs" {
			params[i].Choices = []space.Value{space.Int(int64(epochs))}
		}
	}
	return space.New(base.Name(), params, base.Conditions())
}

// settings is a configuration as the trainer uses it.
type settings struct {
	freeze        float64
	layerDecay    float64 // 1 if none
	linearProbing bool
	stochNorm     bool
	sp, delta     float64
	bss, cotuning float64
	mixing        mixing
	drop          float64
	smoothing     float64
	clip          float64 // 0 if none
	augmentation  string  // "" if none
	policy        string
	raOperations  int
	raMagnitude   int
	optimizer     optimizer
	batch         int
	schedule      schedule
}

// stochasticNorm is the probability of Kou et al., see [layers.BatchNorm].
const stochasticNorm = 0.5

// parse reads a configuration. It accepts numbers beyond the choices of the
// space, as a search on a wider space may give, but none that has no meaning.
func parse(spec vision.Spec, config map[string]space.Value, epochs int) (settings, error) {
	r := reader{config: config, used: map[string]bool{"model": true, "epochs": true}}
	s := settings{
		freeze:        r.number("pct_to_freeze", 0, 0, 1),
		layerDecay:    r.number("layer_decay", 1, 1e-3, 1),
		linearProbing: r.flag("linear_probing"),
		stochNorm:     r.flag("stoch_norm"),
		sp:            r.number("sp_reg", 0, 0, math.MaxFloat32),
		delta:         r.number("delta_reg", 0, 0, math.MaxFloat32),
		bss:           r.number("bss_reg", 0, 0, math.MaxFloat32),
		cotuning:      r.number("cotuning_reg", 0, 0, math.MaxFloat32),
		mixing: mixing{
			mixup: r.number("mixup", 0, 0, 1e6), cutmix: r.number("cutmix", 0, 0, 1e6),
			probability: r.number("mixup_prob", 1, 0, 1),
		},
		drop:         r.number("drop", 0, 0, 0.999),
		smoothing:    r.number("smoothing", 0, 0, 1),
		clip:         r.number("clip_grad", 0, 0, math.MaxFloat32),
		augmentation: r.text("data_augmentation", "", "", "trivial_augment", "random_augment", "auto_augment"),
		policy:       r.text("auto_augment", "original", "original", "v0"),
		raOperations: int(r.number("ra_num_ops", 2, 0, 16)),
		raMagnitude:  int(r.number("ra_magnitude", 9, 0, strengths-1)),
		optimizer: optimizer{
			name:        r.text("opt", "sgd", "sgd", "momentum", "adam", "adamw", "adamp"),
			momentum:    r.number("momentum", 0.9, 0, 1),
			weightDecay: r.number("weight_decay", 0, 0, math.MaxFloat32),
		},
		batch: int(r.number("batch_size", 32, 1, 4096)),
		schedule: schedule{
			name:         r.text("sched", "cosine", "cosine", "step", "multistep", "plateau", "none"),
			rate:         r.number("lr", 1e-3, 0, math.MaxFloat32),
			epochs:       epochs,
			warmupEpochs: int(r.number("warmup_epochs", 0, 0, math.MaxInt32)),
			warmupRate:   r.number("warmup_lr", 0, 0, math.MaxFloat32),
			decayRate:    r.number("decay_rate", 0.1, 0, 1),
			decayEpochs:  int(r.number("decay_epochs", 20, 1, math.MaxInt32)),
			patience:     int(r.number("patience_epochs", 10, 0, math.MaxInt32)),
		},
	}
	betas := r.text("opt_betas", "[0.9, 0.999]")
	if _, err := fmt.Sscanf(betas, "[%g, %g]", &s.optimizer.beta1, &s.optimizer.beta2); err != nil ||
		!(s.optimizer.beta1 >= 0 && s.optimizer.beta1 < 1 && s.optimizer.beta2 >= 0 && s.optimizer.beta2 < 1) {
		r.fail("opt_betas", betas, `two numbers in [0, 1), such as "[0.9, 0.999]"`)
	}
	if s.linearProbing {
		s.freeze = 1
	}
	if s.stochNorm && !spec.BatchNorm {
		r.fail("stoch_norm", "true", fmt.Sprintf("nothing else: network %s has no batch norm", spec.Name))
	}
	for name := range config {
		if !r.used[name] {
			r.unknown = append(r.unknown, name)
		}
	}
	if len(r.unknown) > 0 {
		slices.Sort(r.unknown)
		return s, fmt.Errorf("the embedded trainer knows no hyperparameter %s", strings.Join(r.unknown, ", "))
	}
	return s, r.err
}

// reader takes values out of a configuration and remembers the first that is
// wrong.
type reader struct {
	config  map[string]space.Value
	used    map[string]bool
	unknown []string
	err     error
}

func (r *reader) fail(name, value, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("hyperparameter %s is %s, want %s", name, value, want)
	}
}

// value returns the value of a hyperparameter; none is told by ok.
func (r *reader) value(name string) (v space.Value, ok bool) {
	r.used[name] = true
	v, ok = r.config[name]
	return v, ok && v.Kind() != space.KindInactive && v.Kind() != space.KindNone
}

func (r *reader) number(name string, otherwise, low, high float64) float64 {
	v, ok := r.value(name)
	if !ok {
		return otherwise
	}
	if x := v.Num(); x >= low && x <= high {
		return x
	}
	r.fail(name, v.String(), fmt.Sprintf("a number in [%g, %g]", low, high))
	return otherwise
}

func (r *reader) flag(name string) bool {
	v, ok := r.value(name)
	if ok && v.Kind() != space.KindBool {
		r.fail(name, v.String(), "true or false")
	}
	return ok && v.Num() == 1
}

// text returns a text that is one of some, if there are any.
func (r *reader) text(name, otherwise string, some ...string) string {
	v, ok := r.value(name)
	if !ok {
		return otherwise
	}
	if v.Kind() != space.KindString || len(some) > 0 && !slices.Contains(some, v.Text()) {
		r.fail(name, v.String(), "one of "+strings.Join(some, ", "))
		return otherwise
	}
	return v.Text()
}
