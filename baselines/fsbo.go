package baselines

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"quicktune/internal/stream"
	"quicktune/predictor"
	"quicktune/search"
	"quicktune/space"
)

// FSBO is Bayesian optimisation of whole curves by a deep-kernel Gaussian process
// that is meta-learned on the best scores of other data sets' curves, and fitted
// further to those of the data set at hand from the meta-learned weights. It
// knows neither epochs nor the curve.
//
// The network is that of package predictor for curves of one epoch, whose curve
// is always empty, with one encoder for the whole configuration. As in the
// paper, a training task is a data set whose values are scaled by a random range
// within theirs, so that the process does not depend on the scale; here each data
// set comes in Copies such scales. While searching, values are scaled by their
// own range. The paper begins with configurations from an evolutionary search on
// the other data sets; here the first Initial ones have the largest expected
// improvement under the process conditioned on curves of the other data sets,
// each taken for its mean while the next is chosen. Candidates in training are
// taken for their means as well.
//
// Source: Wistuba and Grabocka: Few-Shot Bayesian Optimization with Deep Kernel
// Surrogates, ICLR 2021.
type FSBO struct {
	// Copies is how often a data set is scaled anew; 0 means 16.
	Copies int
	// Iterations of meta-training; 0 means 3000.
	Iterations int
	// Initial is the number of candidates chosen by the other data sets, and
	// Context that of their curves; 0 means 3 and 256.
	Initial, Context int
	// Steps of Adam with LearningRate are the fit after each value, from the
	// meta-learned weights; 0 means 50 and 1e-3.
	Steps        int
	LearningRate float64
}

func (s FSBO) withDefaults() FSBO {
	return FSBO{
		Copies: cmp.Or(s.Copies, 16), Iterations: cmp.Or(s.Iterations, 3000),
		Initial: cmp.Or(s.Initial, 3), Context: cmp.Or(s.Context, 256),
		Steps: cmp.Or(s.Steps, 50), LearningRate: cmp.Or(s.LearningRate, 1e-3),
	}
}

// fsboVersion is raised whenever the same data and settings give other weights
// than before.
const fsboVersion = 1

// fsboTask holds the values of the curves of one data set that have one.
type fsboTask struct {
	name   string
	config [][]float64
	values []float64
}

// LearnFSBO meta-learns the process of s from m.Train, with the weights that are
// best on m.Validation.
func LearnFSBO(ctx context.Context, m search.MetaData, s FSBO) (search.Factory, error) {
	s = s.withDefaults()
	if m.Space == nil {
		return nil, errors.New("fsbo: the data sets to learn from have no search space")
	}
	encoding, err := space.NewEncoding(m.Space, space.EncodingOptions{})
	if err != nil {
		return nil, fmt.Errorf("fsbo: %w", err)
	}
	var configs []space.Config
	for _, set := range m.Train {
		configs = append(configs, set.Configs...)
	}
	encoder, err := encoding.Fit(configs)
	if err != nil {
		return nil, fmt.Errorf("fsbo: %w", err)
	}
	train, held := fsboTasks(m.Train, encoder), fsboTasks(m.Validation, encoder)
	if len(train) == 0 {
		return nil, errors.New("fsbo: no data set to learn from has two curves with different scores")
	}
	kernel, err := s.metaTrain(ctx, m, encoder.Width(), train, held)
	if err != nil {
		return nil, fmt.Errorf("fsbo: %w", err)
	}
	shared := &fsboLearnt{settings: s, space: m.Space, encoder: encoder, kernel: kernel, tasks: append(train, held...)}
	return shared.new, nil
}

// fsboTasks takes the best score of each curve. Data sets in which all are equal
// say nothing.
func fsboTasks(sets []search.Curves, encoder *space.Encoder) []fsboTask {
	var out []fsboTask
	for _, set := range sets {
		t := fsboTask{name: set.Task.Name}
		for c, curve := range set.Scores {
			best := worst
			for _, v := range curve {
				if finite(float64(v)) {
					best = max(best, float64(v))
				}
			}
			if best > worst {
				t.config = append(t.config, encoder.Encode(nil, set.Configs[c]))
				t.values = append(t.values, best)
			}
		}
		if len(t.values) > 1 && slices.Min(t.values) < slices.Max(t.values) {
			out = append(out, t)
		}
	}
	return out
}

// metaTrain trains the process, or reads it from the cache.
func (s FSBO) metaTrain(ctx context.Context, m search.MetaData, width int, train, held []fsboTask) (*predictor.DeepKernel, error) {
	path := ""
	if m.Cache != "" {
		path = filepath.Join(m.Cache, fmt.Sprintf("fsbo-%d-%dx%d.safetensors", fsboVersion, s.Copies, s.Iterations))
		if model, err := predictor.Load(path); err == nil {
			return model.Performance, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			if err := os.Remove(path); err != nil {
				return nil, err
			}
		}
	}
	a := predictor.Reference()
	a.Groups, a.Meta, a.MaxEpochs = []int{width}, 0, 1
	o := predictor.DefaultMetaTrain()
	o.Iterations, o.CostIterations = s.Iterations, 0
	if m.Progress != nil {
		o.Progress = func(p predictor.Progress) { m.Progress(int64(p.Iteration), int64(s.Iterations)) }
	}
	model, err := predictor.MetaTrain(ctx, a, s.scaled(train), s.scaled(held), o)
	if err != nil {
		return nil, err
	}
	if path != "" {
		model.Info.SpaceHash = m.Space.Hash()
		if err := model.Save(path); err != nil {
			return nil, err
		}
	}
	return model.Performance, nil
}

// scaled makes the tasks of meta-training: values scaled by two random numbers
// of their range, at least a fifth of it apart.
func (s FSBO) scaled(tasks []fsboTask) []predictor.Task {
	var out []predictor.Task
	for _, t := range tasks {
		lo, hi := slices.Min(t.values), slices.Max(t.values)
		for k := range s.Copies {
			rng := stream.New("baselines/fsbo/scale/"+t.name, uint64(k))
			a, b := rng.Float64(), rng.Float64()
			if a > b {
				a, b = b, a
			}
			b = max(b, min(a+0.2, 1))
			a = min(a, b-0.2)
			p := predictor.Task{Name: fmt.Sprintf("%s, scale %d", t.name, k), Config: t.config}
			for _, v := range t.values {
				p.Scores = append(p.Scores, []float64{((v-lo)/(hi-lo) - a) / (b - a)})
			}
			out = append(out, p)
		}
	}
	return out
}

// drawContext draws curves of all data sets, their values scaled to [0, 1].
func (l *fsboLearnt) drawContext(seed uint64) (config [][]float64, values []float64) {
	rng := stream.New("baselines/fsbo/context", seed)
	for k := range l.settings.Context {
		t := l.tasks[k%len(l.tasks)]
		i := rng.IntN(len(t.values))
		lo, hi := slices.Min(t.values), slices.Max(t.values)
		config, values = append(config, t.config[i]), append(values, (t.values[i]-lo)/(hi-lo))
	}
	return config, values
}

// fsboLearnt is what all searches share.
type fsboLearnt struct {
	settings FSBO
	space    *space.Space
	encoder  *space.Encoder
	kernel   *predictor.DeepKernel
	tasks    []fsboTask
}

func (l *fsboLearnt) new(p search.Problem) (search.Optimizer, error) {
	if p.Space == nil || p.Space.Hash() != l.space.Hash() {
		return nil, errors.New("fsbo: the candidates are not of the search space that was learnt from")
	}
	f := &fsbo{wholeCurves: newWholeCurves(p), fsboLearnt: l, surface: l.kernel.Clone(), inputs: make([][]float64, len(p.Candidates))}
	for c, config := range p.Candidates {
		if err := p.Space.Validate(config); err != nil {
			return nil, fmt.Errorf("fsbo: candidate %d: %w", c, err)
		}
		f.inputs[c] = l.encoder.Encode(nil, config)
	}
	f.others, f.worth = l.drawContext(p.Seed)
	return f, nil
}

// fsbo is the optimiser of FSBO.
type fsbo struct {
	wholeCurves
	*fsboLearnt
	surface *predictor.DeepKernel
	inputs  [][]float64
	others  [][]float64 // curves of other data sets
	worth   []float64   // of those
}

func (f *fsbo) Ask() (search.Proposal, search.Status) {
	if len(f.left) == 0 {
		return f.idle()
	}
	c, ok := f.choose()
	if !ok {
		c = f.draw()
	}
	return f.start(c), search.Ready
}

// choose maximises the expected improvement over the candidates left, of equals
// the first. It reports false if the process has no answer.
func (f *fsbo) choose() (candidate int, ok bool) {
	known, values := f.observations(modelRows)
	assumed := f.running
	var best float64
	if f.trials < f.settings.Initial || len(known) == 0 {
		best = 1
		assumed = append(slices.Clone(f.known), f.running...)
		f.surface.CopyWeights(f.kernel)
		if f.surface.Condition(f.batch(f.others), f.worth) != nil {
			return 0, false
		}
	} else {
		lo, hi := slices.Min(values), slices.Max(values)
		if hi == lo {
			hi = lo + 1
		}
		for i := range values {
			values[i] = (values[i] - lo) / (hi - lo)
		}
		best = slices.Max(values)
		rows := f.rows(known)
		f.surface.CopyWeights(f.kernel)
		_, err := f.surface.Fit(context.Background(), rows, values, predictor.FitOptions{Steps: f.settings.Steps, LearningRate: f.settings.LearningRate})
		if err != nil || f.surface.Condition(rows, values) != nil {
			return 0, false
		}
	}
	if len(assumed) > 0 {
		rows := f.rows(assumed)
		mean, std := make([]float64, len(assumed)), make([]float64, len(assumed))
		if f.surface.Predict(mean, std, rows, false) != nil || f.surface.Extend(rows, mean) != nil {
			return 0, false
		}
	}
	left := make([]int, len(f.left))
	for i, c := range f.left {
		left[i] = int(c)
	}
	mean, std := make([]float64, len(left)), make([]float64, len(left))
	if f.surface.Predict(mean, std, f.rows(left), false) != nil {
		return 0, false
	}
	most := math.Inf(-1)
	for i, c := range left {
		if v := LogExpectedImprovement(mean[i], std[i], best); v > most || !ok {
			candidate, most, ok = c, v, true
		}
	}
	return candidate, ok
}

// rows makes a batch of candidates.
func (f *fsbo) rows(candidates []int) *predictor.Batch {
	inputs := make([][]float64, len(candidates))
	for i, c := range candidates {
		inputs[i] = f.inputs[c]
	}
	return f.batch(inputs)
}

// batch makes rows of encoded configurations, in which nothing can be wrong.
func (f *fsbo) batch(inputs [][]float64) *predictor.Batch {
	b := predictor.NewBatch(f.surface.Architecture())
	for _, x := range inputs {
		if err := b.Append(predictor.Row{Config: x, Epoch: 1}); err != nil {
			panic("baselines: " + err.Error())
		}
	}
	return b
}

func fsboMethod() definition {
	s := new(FSBO)
	return definition{
		method: search.Method{
			Name:   "fsbo",
			Title:  "FSBO",
			Source: "Wistuba and Grabocka, ICLR 2021",
			Uses:   search.Uses{MetaData: true},
		},
		settings: []Setting{
			intSetting(&s.Copies, "copies", 16, 1, 1<<10, "scales of each data set in meta-training"),
			intSetting(&s.Iterations, "iterations", 3000, 1, 1<<30, "steps of meta-training"),
			intSetting(&s.Initial, "initial", 3, 1, maxCandidates, "candidates chosen by the other data sets"),
			intSetting(&s.Context, "context", 256, 1, 1<<14, "curves of other data sets that those are chosen by"),
			intSetting(&s.Steps, "steps", 50, 1, 1<<20, "of a fit"),
			floatSetting(&s.LearningRate, "learning-rate", 1e-3, 1e-9, 10, "of a fit"),
		},
		details: func() string {
			return fmt.Sprintf("deep kernel of the configuration, %d steps of meta-training on %d scales of each data set, %d first by %d of their curves, then fits of %d steps, learning rate %g",
				s.Iterations, s.Copies, s.Initial, s.Context, s.Steps, s.LearningRate)
		},
		learn: func() search.Learn {
			settings := *s
			return func(ctx context.Context, m search.MetaData) (search.Factory, error) {
				return LearnFSBO(ctx, m, settings)
			}
		},
	}
}
