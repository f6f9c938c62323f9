package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"quicktune"
	"quicktune/baselines"
	"quicktune/benchmark/crossval"
	"quicktune/metadataset"
	"quicktune/predictor/forecast"
	"quicktune/results/predictors"
	"quicktune/search"
	"quicktune/space"
)

// Learnt is what a method knows from other data sets.
type Learnt struct {
	// From names the file or meta-dataset, "" for the forecasts that come with
	// the program.
	From string `json:"from,omitempty"`
	// Hash is the SHA-256 of that.
	Hash string `json:"hash,omitempty"`
	// Datasets are those learnt from, where that is known.
	Datasets []string `json:"data_sets,omitempty"`
}

// method is what is needed of a method: a factory, and for two of them the
// candidates.
type method struct {
	search.Method
	learnt    Learnt
	forecasts *forecast.Model // of QuickTune
	network   string          // of Default and Single
	taught    bool            // it learnt just now
}

// DefaultMeta is the meta-dataset that comes with the program.
const DefaultMeta = "results/embedded"

// resolve finds a method and lets it learn. Data sets in holdOut are never
// learnt from.
func (s *Settings) resolve(ctx context.Context, o *Options) (*method, error) {
	m := &method{}
	switch s.Method {
	case QuickTune:
		if s.Meta != "" {
			m.Method = search.Method{Name: QuickTune, Title: "Quick-Tune", Learn: func(ctx context.Context, meta search.MetaData) (search.Factory, error) {
				var err error
				m.forecasts, err = quicktune.LearnForecasts(ctx, meta)
				return func(p search.Problem) (search.Optimizer, error) { return quicktune.NewPlanner(p, m.forecasts) }, err
			}}
			break
		}
		if err := m.load(s); err != nil {
			return nil, err
		}
		m.Method = quicktune.PlannerMethod(m.forecasts)
		return m, nil
	case Default, Single:
		title := "the default network with default settings"
		if s.Method == Single {
			title = "the default network, tuned by ASHA"
		}
		m.Method = search.Method{Name: s.Method, Title: title, Learn: func(_ context.Context, meta search.MetaData) (search.Factory, error) {
			var err error
			if m.network, err = defaultNetwork(meta); err != nil {
				return nil, err
			}
			if s.Method == Default {
				return func(p search.Problem) (search.Optimizer, error) {
					return baselines.NewRandomSearch(p, baselines.RandomSearch{})
				}, nil
			}
			return func(p search.Problem) (search.Optimizer, error) { return baselines.NewASHA(p, baselines.ASHA{}) }, nil
		}}
	default:
		var err error
		if m.Method, err = baselines.New(s.Method, nil); err != nil {
			return nil, err
		}
	}
	if m.Learn == nil {
		return m, nil
	}
	return m, m.learn(ctx, s, o)
}

// load reads forecasts, or takes those that come with the program.
func (m *method) load(s *Settings) (err error) {
	var data []byte
	if s.Predictor == "" {
		hub := predictors.Embedded
		if s.Trainer == Timm {
			hub = predictors.Timm
		}
		m.forecasts, data, err = predictors.Load(hub)
		if err != nil {
			return err
		}
	} else {
		if data, err = os.ReadFile(s.Predictor); err != nil {
			return fmt.Errorf("--predictor: %w", err)
		}
		if m.forecasts, err = forecast.Decode(data); err != nil {
			return fmt.Errorf("--predictor %s: %w", s.Predictor, err)
		}
	}
	sum := sha256.Sum256(data)
	m.learnt = Learnt{From: s.Predictor, Hash: hex.EncodeToString(sum[:]), Datasets: m.forecasts.Info.Datasets}
	return nil
}

// learn lets a method learn from a meta-dataset.
func (m *method) learn(ctx context.Context, s *Settings, o *Options) error {
	dir := s.Meta
	if dir == "" {
		dir = DefaultMeta
		if _, err := os.Stat(filepath.Join(dir, "manifest.json")); err != nil {
			return fmt.Errorf("--method %s learns from other data sets: name a meta-dataset by --meta DIR", s.Method)
		}
	}
	store, err := metadataset.Open(dir)
	if err != nil {
		return fmt.Errorf("--meta: %w", err)
	}
	var names, held []string
	for _, d := range store.Datasets {
		if slices.Contains(o.HoldOut, d.Name) {
			held = append(held, d.Name)
		} else {
			names = append(names, d.Name)
		}
	}
	c := crossval.Options{Parallel: o.Parallel, Cache: o.Cache, Progress: func(p crossval.Progress) {
		if o.Learning != nil && p.Total > 0 {
			o.Learning(p.Done, p.Total)
		}
	}}
	if len(held) == 0 {
		m.New, err = crossval.All(ctx, store, m.Method, c)
	} else {
		c.HoldOut = held
		var list []search.Method
		if list, err = crossval.Learn(ctx, store, []search.Method{m.Method}, c); err == nil {
			factory := list[0].New
			m.New = func(p search.Problem) (search.Optimizer, error) {
				p.Task.Name = held[0] // what was learnt is the same for all of them
				return factory(p)
			}
		}
	}
	if err != nil {
		return err
	}
	m.Learn, m.taught = nil, true
	m.learnt = Learnt{From: dir, Hash: store.Manifest.Hash, Datasets: names}
	return nil
}

// defaultNetwork is the network whose best configuration has the lowest mean
// regret on other data sets.
func defaultNetwork(meta search.MetaData) (string, error) {
	factory, err := baselines.LearnDefaultModel(meta, baselines.DefaultModel{})
	if err != nil {
		return "", err
	}
	i := -1
	if meta.Space != nil {
		i = meta.Space.Index(meta.ModelParam)
	}
	if i < 0 {
		return "", errors.New("the meta-dataset names no networks")
	}
	p := search.Problem{Space: meta.Space, MaxEpochs: meta.MaxEpochs, Workers: 1, Metric: meta.Metric}
	seen := make(map[space.Value]bool)
	for _, set := range slices.Concat(meta.Train, meta.Validation) {
		for _, c := range set.Configs {
			if !seen[c[i]] {
				seen[c[i]] = true
				p.Candidates = append(p.Candidates, c)
			}
		}
	}
	opt, err := factory(p)
	if err != nil {
		return "", err
	}
	first, status := opt.Ask()
	if status != search.Ready {
		return "", errors.New("the meta-dataset has no configuration")
	}
	return p.Candidates[first.Candidate][i].String(), nil
}
