package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"quicktune"
	"quicktune/generate/cost"
	"quicktune/generate/hub"
	"quicktune/generate/images"
	"quicktune/generate/trainer"
	"quicktune/internal/atomicfile"
	"quicktune/internal/cli"
	"quicktune/internal/vision"
	"quicktune/metadataset"
	"quicktune/predictor/forecast"
	"quicktune/search"
	"quicktune/space"
	"quicktune/tune/live"
	"quicktune/tune/look"
	"quicktune/tune/process"
)

// RunFile says what a session is.
const RunFile = "run.json"

const (
	format  = "quicktune tune run"
	version = 1
)

// Options are how a session is worked on; they are not written down.
type Options struct {
	// Began is when the budget began to run; zero for now.
	Began time.Time
	// HoldOut names data sets that must not be learnt from with Settings.Meta.
	HoldOut []string
	// Cache keeps what is learnt with Settings.Meta, see crossval.Options.
	Cache    string
	Parallel int // processors for learning; 0 means all
	// Learning, Tell, Warn and Watch, if not nil, are told what happens.
	Learning func(done, total int64)
	Tell     func(text string)
	Warn     func(text string)
	Watch    func(*live.State)
}

// Data describes the pictures.
type Data struct {
	Name       string   `json:"name"`
	Hash       string   `json:"hash,omitempty"`
	Train      int      `json:"train"`
	Validation int      `json:"validation"`
	Test       int      `json:"test"`
	Classes    []string `json:"classes,omitempty"`
	Width      int      `json:"width,omitempty"`
	Channels   int      `json:"channels,omitempty"`
	// MetaFeatures are named by images.FeatureNames.
	MetaFeatures map[string]float64 `json:"meta_features,omitempty"`
}

// Network is what a first look told of a network.
type Network struct {
	Name    string   `json:"name"`
	Score   *float64 `json:"score,omitempty"` // LogME
	Forward float64  `json:"forward_seconds"` // of one picture
}

// Skipped is why candidates were left out.
type Skipped struct {
	Candidates int    `json:"candidates"`
	Example    string `json:"example"`
	Reason     string `json:"reason"`
}

// Plan is everything that a session is made of: run.json.
type Plan struct {
	Format        string                   `json:"format"`
	FormatVersion int                      `json:"format_version"`
	Settings      Settings                 `json:"settings"`
	Data          Data                     `json:"data"`
	Learnt        Learnt                   `json:"learnt"`
	Method        string                   `json:"method"` // its title, for people
	SpaceJSON     json.RawMessage          `json:"space"`
	MaxEpochs     int                      `json:"max_epochs"`
	Networks      []Network                `json:"networks,omitempty"`
	Speed         float64                  `json:"speed"`
	Skipped       []Skipped                `json:"skipped,omitempty"`
	Candidates    []map[string]space.Value `json:"candidates"`
	// Spent is the budget that was used before the search.
	Spent float64 `json:"spent_seconds"`
}

// Session is a search that is ready to run.
type Session struct {
	Dir  string
	Plan Plan

	options Options
	space   *space.Space
	configs []space.Config
	images  *trainer.Images // nil with Exec
	factory search.Factory
	trainer trainer.Trainer
	close   func()
	// begin, if not nil, is called before a search that is not over.
	begin      func(context.Context) error
	set        *images.Set // with Timm, which reads the files itself
	planBytes  []byte
	fresh      bool // prepared by this process
	pretrained func(string) (*vision.Weights, error)
}

// MismatchError tells that a directory holds another session.
type MismatchError struct{ Dir, Difference string }

// Error says what differs and what to do.
func (m *MismatchError) Error() string {
	return fmt.Sprintf("%s holds another run (%s): choose another --out, or go on with that one by --resume %s", m.Dir, m.Difference, m.Dir)
}

// Claim finds out whether dir can hold a session with the settings: begun tells
// that it does already. A directory with anything else is refused.
func Claim(dir string, s Settings) (begun bool, err error) {
	if err := s.check(); err != nil {
		return false, err
	}
	old, _, err := readPlan(dir)
	if err == nil {
		if d := difference(old.Settings, s); d != "" {
			return false, &MismatchError{dir, d}
		}
		return true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "."+RunFile+".tmp-") {
			return false, fmt.Errorf("%s holds files that are no run, such as %s: choose another --out", dir, e.Name())
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return false, err
		}
	}
	return false, os.MkdirAll(dir, 0o777)
}

// difference names the first setting in which two differ.
func difference(a, b Settings) string {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			name, _, _ := strings.Cut(x.Type().Field(i).Tag.Get("json"), ",")
			return fmt.Sprintf("%s %v, not %v", name, x.Field(i).Interface(), y.Field(i).Interface())
		}
	}
	return ""
}

func readPlan(dir string) (Plan, []byte, error) {
	path := filepath.Join(dir, RunFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return Plan{}, nil, err
	}
	var p Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return Plan{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	if p.Format != format || p.FormatVersion != version {
		return Plan{}, nil, fmt.Errorf("%s: %q of version %d; this program reads %q of version %d", path, p.Format, p.FormatVersion, format, version)
	}
	return p, data, nil
}

// Prepare reads the pictures, chooses the candidates, looks at the networks and
// writes run.json in a directory that was claimed.
func Prepare(ctx context.Context, dir string, s Settings, o Options) (*Session, error) {
	o.fill()
	x := &Session{Dir: dir, options: o, fresh: true, Plan: Plan{Format: format, FormatVersion: version, Settings: s, Speed: 1}}
	if err := x.load(ctx); err != nil {
		return nil, err
	}
	began := time.Now()
	m, err := s.resolve(ctx, &o)
	if err != nil {
		return nil, err
	}
	if m.taught {
		// Learning from a meta-dataset is done once, and no part of the budget.
		x.options.Began = x.options.Began.Add(time.Since(began))
	}
	x.Plan.Learnt, x.factory, x.Plan.Method = m.learnt, m.New, m.Title
	if err := x.choose(m); err != nil {
		return nil, err
	}
	if err := x.look(ctx, m); err != nil {
		return nil, err
	}
	if err := x.connect(ctx); err != nil {
		return nil, err
	}
	for _, c := range x.configs {
		x.Plan.Candidates = append(x.Plan.Candidates, x.space.Map(c))
	}
	if x.Plan.SpaceJSON, err = json.Marshal(x.space); err != nil {
		return nil, err
	}
	if s.Clock == Measured {
		x.Plan.Spent = time.Since(x.options.Began).Seconds()
		if x.Plan.Spent >= s.Budget {
			return nil, fmt.Errorf("--budget %s is too short: to read the pictures and to choose candidates took %s",
				cli.FormatSeconds(s.Budget), cli.FormatSeconds(round(x.Plan.Spent)))
		}
	}
	if x.planBytes, err = json.MarshalIndent(x.Plan, "", "\t"); err != nil {
		return nil, err
	}
	return x, atomicfile.WriteFile(filepath.Join(dir, RunFile), x.planBytes)
}

// Open finds a session that was prepared.
func Open(ctx context.Context, dir string, o Options) (*Session, error) {
	o.fill()
	p, data, err := readPlan(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no run: it has no %s", dir, RunFile)
	}
	if err != nil {
		return nil, err
	}
	x := &Session{Dir: dir, options: o, Plan: p, planBytes: data}
	was := p.Data
	if err := x.load(ctx); err != nil {
		return nil, err
	}
	if x.Plan.Data.Hash != was.Hash {
		return nil, fmt.Errorf("%s is not what it was when the run began: put the old pictures back, or begin a new run", p.Settings.Data)
	}
	m, err := p.Settings.resolve(ctx, &o)
	if err != nil {
		return nil, err
	}
	if m.learnt.Hash != p.Learnt.Hash {
		return nil, fmt.Errorf("%s: the run began with other forecasts (%.12s) than there are now (%.12s)", dir, p.Learnt.Hash, m.learnt.Hash)
	}
	x.factory = m.New
	if x.space, err = space.Parse(p.SpaceJSON); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, RunFile), err)
	}
	for i, c := range p.Candidates {
		config, err := x.space.ConfigFromMap(c)
		if err != nil {
			return nil, fmt.Errorf("%s: candidate %d: %w", filepath.Join(dir, RunFile), i, err)
		}
		x.configs = append(x.configs, config)
	}
	return x, x.connect(ctx)
}

func (o *Options) fill() {
	if o.Parallel == 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Began.IsZero() {
		o.Began = time.Now()
	}
}

// load reads the pictures. What another program trains on is its own business.
func (x *Session) load(ctx context.Context) error {
	s := &x.Plan.Settings
	if s.Trainer == Exec {
		x.Plan.Data = Data{Name: filepath.Base(s.Data)}
		return nil
	}
	set, err := images.Load(ctx, s.Data)
	if err != nil {
		return err
	}
	for _, w := range set.Warnings {
		x.options.Warn(w)
	}
	if x.images, err = set.Split(); err != nil {
		return err
	}
	x.Plan.Data = Data{
		Name: set.Name, Hash: set.Hash(), Classes: set.Classes, Width: set.Width, Channels: set.Channels,
		Train: x.images.Train.Len(), Validation: x.images.Validation.Len(), Test: x.images.Test.Len(),
		MetaFeatures: make(map[string]float64),
	}
	for i, v := range images.Features(x.images) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			x.Plan.Data.MetaFeatures[images.FeatureNames[i]] = v
		}
	}
	if s.Trainer == Timm {
		x.set = set
		return nil
	}
	x.pretrained = cached(hub.Weights)
	return nil
}

// cached keeps weights in memory, which are asked for once an epoch.
func cached(load func(string) (*vision.Weights, error)) func(string) (*vision.Weights, error) {
	var mu sync.Mutex
	known := make(map[string]*vision.Weights)
	return func(name string) (*vision.Weights, error) {
		mu.Lock()
		defer mu.Unlock()
		if w, ok := known[name]; ok {
			return w, nil
		}
		w, err := load(name)
		if err == nil {
			known[name] = w
		}
		return w, err
	}
}

// choose draws the candidates and finds the space that the method knows them in.
func (x *Session) choose(m *method) (err error) {
	s := &x.Plan.Settings
	known := (*space.Space)(nil) // that the forecasts are for
	x.Plan.MaxEpochs = s.Epochs
	if m.forecasts != nil {
		known = m.forecasts.Features().Space()
		x.Plan.MaxEpochs = m.forecasts.MaxEpochs()
	}
	var from *space.Space
	switch {
	case s.Space != "":
		if from, err = readSpace(s.Space); err != nil {
			return err
		}
	case s.Trainer == Timm:
		if from, err = timmSpace(known, s.Models); err != nil {
			return err
		}
	case known != nil:
		from = known
	default:
		if from, err = trainer.Space(defaultEpochs); err != nil {
			return err
		}
	}
	if x.Plan.MaxEpochs == 0 {
		x.Plan.MaxEpochs = max(plannedEpochs(from), 1)
	}
	models := s.Models
	if m.network != "" {
		if len(models) > 0 {
			return fmt.Errorf("--models: --method %s chooses its network itself", s.Method)
		}
		models = []string{m.network}
	}
	if s.Trainer == Embedded {
		if models, err = x.available(from, models); err != nil {
			return err
		}
	}
	if s.Method == Default {
		c, err := defaultConfig(from, m.network)
		if err != nil {
			return err
		}
		x.space, x.configs = from, []space.Config{c}
		return nil
	}
	n := s.Candidates
	if known != nil {
		n *= draws
		if s.Clock == Measured { // forecasts take time too
			n = min(n, s.Candidates*max(1, int(s.Budget/drawSeconds)))
		}
	}
	if x.configs, err = draw(from, models, n, s.Seed); err != nil {
		return err
	}
	x.space = from
	var begin []space.Config
	if s.Trainer != Exec {
		begin = variants(from, distinct(modelsOf(from, x.configs)))
	}
	if known == nil {
		// What somebody would begin with is open to every method, but it is at
		// most one half.
		begin = begin[:min(len(begin), n/2)]
		if x.configs, err = draw(from, models, n-len(begin), s.Seed); err != nil {
			return err
		}
	}
	x.configs = unique(from, slices.Concat(begin, x.configs))
	if known == nil {
		return nil
	}
	if err := x.translate(from, known); err != nil {
		return err
	}
	d := forecast.Descriptors{Samples: x.Plan.Data.Train, Classes: len(x.Plan.Data.Classes)}
	x.configs, err = promising(m.forecasts, d, x.configs, modelsOf(x.space, x.configs), s.Candidates, s.Budget)
	return err
}

// draws is how many configurations are drawn for each that is kept by its
// forecast.
const draws = 10

// drawSeconds is the budget that allows for as many draws as are kept.
const drawSeconds = 6

// translate finds the candidates in the space that the forecasts are for.
func (x *Session) translate(from, known *space.Space) error {
	if known.Hash() == from.Hash() {
		return nil
	}
	configs, ok := translate(x.configs, from, known)
	if !ok {
		what := "--space " + x.Plan.Settings.Space
		if x.Plan.Settings.Space == "" {
			what = "--models " + strings.Join(x.Plan.Settings.Models, ",")
		}
		return fmt.Errorf("%s has configurations that the forecasts do not know: use --meta DIR with curves of this space, or a method that needs none, such as --method asha", what)
	}
	x.space, x.configs = known, configs
	return nil
}

// defaultEpochs is the planned length of curves where nothing says otherwise.
const defaultEpochs = 50

// available leaves out networks of the hub without weights, and refuses names
// that it does not have.
func (x *Session) available(s *space.Space, models []string) ([]string, error) {
	i := s.Index(modelParam)
	if i < 0 {
		return nil, fmt.Errorf("the search space has no hyperparameter %q, by which the embedded trainer finds its network", modelParam)
	}
	for _, m := range models {
		if _, err := vision.Lookup(m); err != nil {
			return nil, fmt.Errorf("--models: %w", err)
		}
	}
	if len(models) == 0 {
		for _, c := range s.Param(i).Choices {
			models = append(models, c.String())
		}
	}
	var out []string
	for _, m := range models {
		_, err := x.pretrained(m)
		if errors.Is(err, hub.ErrNoWeights) {
			x.options.Warn(err.Error())
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return nil, errors.New("no network has weights")
	}
	return out, nil
}

// scoreWeight is that of scores beside forecasts, see quicktune.RankedOptions.
const scoreWeight = 0.3

// look looks at the networks, orders the candidates by it and leaves out those
// that cannot be trained in time.
func (x *Session) look(ctx context.Context, m *method) error {
	s := &x.Plan.Settings
	if s.Trainer != Embedded || s.Method == Default || s.NoScores && s.NoTimeFilter {
		return nil
	}
	models := modelsOf(x.space, x.configs)
	names := distinct(models)
	total := 0.0
	for _, n := range names {
		total += cost.Forward(metadataset.Model{Name: n})
	}
	n := look.Pictures(total, s.Budget)
	if n == 0 {
		return nil
	}
	networks, err := look.Networks(ctx, x.images, names, x.pretrained, n, s.Seed, s.Workers)
	if err != nil {
		return err
	}
	byName := make(map[string]*look.Network)
	for i := range networks {
		w := &networks[i]
		if s.Clock == Counted {
			w.Forward = cost.Forward(metadataset.Model{Name: w.Name})
			x.Plan.Spent += float64(n) * w.Forward
		}
		known := Network{Name: w.Name, Forward: w.Forward}
		if !math.IsNaN(w.Score) {
			known.Score = &w.Score
		}
		x.Plan.Networks = append(x.Plan.Networks, known)
		byName[w.Name] = w
	}
	seconds := func(c int) float64 { return x.epochSeconds(x.space.Map(x.configs[c]), byName[models[c]].Forward) }
	if m.forecasts != nil && s.Clock == Measured {
		if x.Plan.Speed, err = x.speed(m.forecasts, seconds); err != nil {
			return err
		}
	}
	if !s.NoTimeFilter {
		if err := x.filter(ctx, byName, models, seconds); err != nil {
			return err
		}
	}
	return nil
}

// epochSeconds is what an epoch of a configuration takes, if a picture takes so
// long forward through its network.
func (x *Session) epochSeconds(config map[string]space.Value, forward float64) float64 {
	train, eval := cost.Epoch(config, forward, x.images.Train.Len(), x.images.Validation.Len()+x.images.Test.Len())
	return train + eval
}

// counted is what an epoch of a trial takes on the reference machine.
func (x *Session) counted(r trainer.Request) float64 {
	return x.epochSeconds(r.Config, cost.Forward(metadataset.Model{Name: r.Model}))
}

// speed is how many times as long an epoch takes here as the forecasts say: the
// median over the candidates.
func (x *Session) speed(f *forecast.Model, seconds func(int) float64) (float64, error) {
	d := forecast.Descriptors{Samples: x.images.Train.Len(), Classes: x.images.Classes}
	var rows [][]float64
	for _, c := range x.configs {
		row, err := f.Features().Row(c, d)
		if err != nil {
			return 0, err
		}
		rows = append(rows, row)
	}
	var ratios []float64
	for i, p := range f.Priors(rows, d) {
		if r := seconds(i) / p.SecondsPerEpoch; r > 0 && !math.IsInf(r, 0) {
			ratios = append(ratios, r)
		}
	}
	if len(ratios) == 0 {
		return 1, nil
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2], nil
}

// filter leaves out candidates of which not an epoch fits into the budget, and
// those that get nowhere in all epochs that fit.
func (x *Session) filter(ctx context.Context, networks map[string]*look.Network, models []string, seconds func(int) float64) error {
	left := x.Plan.Settings.Budget - x.Plan.Spent
	kept := make([]space.Config, 0, len(x.configs))
	fastest := math.Inf(1)
	note := func(c int, reason string) {
		kind, _, _ := strings.Cut(reason, " ")
		for i := range x.Plan.Skipped {
			if strings.HasPrefix(x.Plan.Skipped[i].Reason, kind) {
				x.Plan.Skipped[i].Candidates++
				return
			}
		}
		x.Plan.Skipped = append(x.Plan.Skipped, Skipped{1, x.space.Format(x.configs[c]), reason})
	}
	for c, config := range x.configs {
		each := seconds(c)
		fastest = min(fastest, each)
		if each > left {
			note(c, fmt.Sprintf("an epoch takes about %.3g s", each))
			continue
		}
		m := x.space.Map(config)
		size := max(1, m["batch_size"].Num())
		if math.IsNaN(size) {
			size = 32
		}
		epochs := min(float64(x.Plan.MaxEpochs), left/each)
		reason, err := networks[models[c]].Hopeless(ctx, m, int(epochs*math.Ceil(float64(x.images.Train.Len())/size)))
		if err != nil {
			return err
		}
		if reason != "" {
			note(c, reason)
			continue
		}
		kept = append(kept, config)
	}
	if len(kept) == 0 {
		return fmt.Errorf("--budget %s is too short: the fastest of %d configurations takes about %.2g s for an epoch on these pictures",
			time.Duration(x.Plan.Settings.Budget*float64(time.Second)), len(x.configs), fastest)
	}
	x.configs = kept
	return nil
}

// connect makes the trainer.
func (x *Session) connect(ctx context.Context) error {
	s := &x.Plan.Settings
	x.close = func() {}
	if s.Trainer == Timm {
		err := x.connectTimm(ctx, x.set)
		x.set = nil
		return err
	}
	if s.Trainer == Exec {
		p := &process.Trainer{Command: s.Exec, Stderr: filepath.Join(x.Dir, "stderr.log")}
		x.trainer, x.close = p, p.Close
		return nil
	}
	x.trainer = &trainer.Embedded{
		Images:  func(string) (*trainer.Images, error) { return x.images, nil },
		Weights: x.pretrained,
	}
	return nil
}

// optimizer makes the search.
func (x *Session) optimizer() (search.Problem, search.Optimizer, error) {
	s := &x.Plan.Settings
	p := search.Problem{
		Space: x.space, Candidates: x.configs, MaxEpochs: x.Plan.MaxEpochs,
		Task: search.Task{
			Name: x.Plan.Data.Name, TrainSamples: x.Plan.Data.Train, Classes: len(x.Plan.Data.Classes),
			Pixels: x.Plan.Data.Width, Channels: x.Plan.Data.Channels,
		},
		Budget: s.Budget / x.Plan.Speed, Workers: s.Workers, Seed: s.Seed,
		Metric: search.Metric{Name: s.Metric, Bounded: s.Metric == ValAccuracy},
	}
	for _, name := range images.FeatureNames {
		p.Task.MetaFeatures = append(p.Task.MetaFeatures, x.Plan.Data.MetaFeatures[name])
	}
	opt, err := x.factory(p)
	if err != nil {
		return p, nil, err
	}
	planner, ok := opt.(*quicktune.Planner)
	if !ok || s.NoScores {
		return p, opt, nil
	}
	scores := make(map[string]float64)
	for _, n := range x.Plan.Networks {
		if n.Score != nil {
			scores[n.Name] = *n.Score
		}
	}
	return p, opt, planner.Favour(modelsOf(x.space, x.configs), scores, quicktune.RankedOptions{Weight: scoreWeight})
}
