package session

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"

	"quicktune/generate/plan"
	"quicktune/internal/stream"
	"quicktune/predictor/forecast"
	"quicktune/space"
)

// modelParam is the hyperparameter that names the network.
const modelParam = "model"

// readSpace reads a search space, in the project's format or in that of
// ConfigSpace.
func readSpace(path string) (*space.Space, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--space: %w", err)
	}
	s, err := space.Parse(data)
	if err != nil {
		if other, otherErr := space.ParseConfigSpace(data); otherErr == nil {
			return other, nil
		}
		return nil, fmt.Errorf("--space %s: %w", path, err)
	}
	return s, nil
}

// draw draws the candidates: as many of each network as of any other, or, where
// the space names no network, from all of it.
func draw(s *space.Space, models []string, n int, seed uint64) ([]space.Config, error) {
	if s.Index(modelParam) < 0 {
		if len(models) > 0 {
			return nil, fmt.Errorf("--models: the search space has no hyperparameter %q", modelParam)
		}
		return sample(s, n, seed)
	}
	o := plan.Options{
		Space: s, ModelParam: modelParam, Mode: plan.Stratified, Configs: n, Epochs: 1, Seed: seed,
		Datasets: []plan.Dataset{{Name: "candidates"}}, Clock: plan.Measured,
	}
	if len(models) > 0 {
		values := make([]space.Value, len(models))
		for i, m := range models {
			values[i] = space.String(m)
		}
		o.Only = map[string][]space.Value{modelParam: values}
	}
	p, err := plan.New(o)
	if err != nil {
		return nil, fmt.Errorf("candidates: %w", err)
	}
	out := make([]space.Config, len(p.Trials))
	for i, t := range p.Trials {
		if out[i], err = s.ConfigFromMap(t.Config); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// sample draws different configurations, fewer where there are fewer.
func sample(s *space.Space, n int, seed uint64) ([]space.Config, error) {
	const tries = 1000 // for one that was not drawn before
	rng := stream.New("tune/candidates", seed)
	seen := make(map[string]bool)
	var out []space.Config
	for range n {
		for range tries {
			c := s.Sample(rng)
			if key := s.Format(c); !seen[key] {
				seen[key] = true
				out = append(out, c)
				break
			}
		}
	}
	return out, nil
}

// translate writes configurations of one space in another; ok tells whether all
// are configurations of that.
func translate(configs []space.Config, from, to *space.Space) (out []space.Config, ok bool) {
	for _, c := range configs {
		m := from.Map(c)
		for name := range m {
			// The number of epochs is the predictor's.
			if i := from.Index(name); from.Param(i).Type == space.Constant && name == epochsParam {
				delete(m, name)
			}
		}
		t, err := to.ConfigFromMap(m)
		if err != nil {
			return nil, false
		}
		out = append(out, t)
	}
	return out, true
}

// epochsParam is the constant with the number of planned epochs.
const epochsParam = "epochs"

// plannedEpochs is what a space says of the length of curves, 0 if nothing.
func plannedEpochs(s *space.Space) int {
	i := s.Index(epochsParam)
	if i < 0 || s.Param(i).Type != space.Constant {
		return 0
	}
	return max(0, int(s.Param(i).Choices[0].Num()))
}

// start is a configuration that somebody would begin with: everything is trained
// by AdamW at a rate of 0.001 with a cosine, in batches of 32, with weak decay and
// label smoothing and nothing else.
func start(model string) map[string]space.Value {
	return map[string]space.Value{
		modelParam: space.String(model), "pct_to_freeze": space.Float(0), "layer_decay": space.None,
		"linear_probing": space.Bool(false), "stoch_norm": space.Bool(false), "sp_reg": space.Float(0), "delta_reg": space.Float(0),
		"bss_reg": space.Float(0), "cotuning_reg": space.Float(0), "mixup": space.Float(0), "cutmix": space.Float(0),
		"drop": space.Float(0), "smoothing": space.Float(0.1), "clip_grad": space.None, "data_augmentation": space.None,
		"opt": space.String("adamw"), "opt_betas": space.String("[0.9, 0.999]"), "lr": space.Float(0.001),
		"weight_decay": space.Float(0.01), "batch_size": space.Int(32), "sched": space.String("cosine"), "warmup_epochs": space.Int(0),
	}
}

// fit makes a configuration of the space of such values.
func fit(s *space.Space, m map[string]space.Value) (space.Config, error) {
	c, err := s.ConfigFromMap(m)
	if err != nil {
		delete(m, "stoch_norm") // for networks without batch norm
		c, err = s.ConfigFromMap(m)
	}
	return c, err
}

// defaultConfig is what somebody would begin with.
func defaultConfig(s *space.Space, model string) (space.Config, error) {
	c, err := fit(s, start(model))
	if err != nil {
		return nil, fmt.Errorf("the search space has no default settings for %s: %w", model, err)
	}
	return c, nil
}

// variants are what somebody would try around the default settings: other rates,
// a part of the network frozen, augmentation. The default settings of all networks
// come first. Spaces without these have none.
func variants(s *space.Space, models []string) []space.Config {
	var out []space.Config
	for _, rate := range []float64{0.001, 0.0005, 0.005} {
		for _, freeze := range []float64{0, 0.4} {
			for _, augment := range []space.Value{space.None, space.String("trivial_augment")} {
				for _, model := range models {
					m := start(model)
					m["lr"], m["pct_to_freeze"], m["data_augmentation"] = space.Float(rate), space.Float(freeze), augment
					if c, err := fit(s, m); err == nil {
						out = append(out, c)
					}
				}
			}
		}
	}
	return out
}

// leastOfEach is how many candidates of each network are kept at least.
const leastOfEach = 4

// promising keeps the n configurations that are forecast to reach most within
// the budget, but some of each network. The order stays.
func promising(f *forecast.Model, d forecast.Descriptors, configs []space.Config, models []string, n int, budget float64) ([]space.Config, error) {
	rows := make([][]float64, len(configs))
	for i, c := range configs {
		var err error
		if rows[i], err = f.Features().Row(c, d); err != nil {
			return nil, err
		}
	}
	value := make([]float64, len(configs))
	for i, p := range priors(f, rows, d) {
		value[i] = math.Inf(-1)
		for e, m := range p.Median {
			if e > 0 && float64(e+1)*p.SecondsPerEpoch > budget {
				break
			}
			value[i] = max(value[i], m+p.Above[e])
		}
	}
	order := make([]int, len(configs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(value[b], value[a]) })
	kept := make(map[int]bool)
	of := make(map[string]int)
	for _, i := range order {
		if of[models[i]] < leastOfEach {
			of[models[i]]++
			kept[i] = true
		}
	}
	for _, i := range order {
		if len(kept) >= n {
			break
		}
		kept[i] = true
	}
	var out []space.Config
	for i, c := range configs {
		if kept[i] {
			out = append(out, c)
		}
	}
	return out, nil
}

// priors are the forecasts of many configurations, on all processors: they are
// most of what comes before a search.
func priors(f *forecast.Model, rows [][]float64, d forecast.Descriptors) []forecast.Prior {
	out := make([]forecast.Prior, len(rows))
	part := len(rows)/runtime.GOMAXPROCS(0) + 1
	var parts sync.WaitGroup
	for at := 0; at < len(rows); at += part {
		end := min(at+part, len(rows))
		parts.Go(func() { copy(out[at:end], f.Priors(rows[at:end], d)) })
	}
	parts.Wait()
	return out
}

// unique drops repetitions.
func unique(s *space.Space, configs []space.Config) []space.Config {
	seen := make(map[string]bool)
	return slices.DeleteFunc(configs, func(c space.Config) bool {
		key := s.Format(c)
		again := seen[key]
		seen[key] = true
		return again
	})
}

// modelsOf names the network of each candidate, "" where there is none.
func modelsOf(s *space.Space, configs []space.Config) []string {
	out := make([]string, len(configs))
	i := s.Index(modelParam)
	for k, c := range configs {
		if i >= 0 && !c[i].IsInactive() {
			out[k] = c[i].String()
		}
	}
	return out
}

// distinct sorts names and drops repetitions.
func distinct(names []string) []string {
	names = slices.Sorted(slices.Values(names))
	return slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == "" })
}
