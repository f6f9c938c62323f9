package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"quicktune/generate/trainer"
	"quicktune/internal/cli"
	"quicktune/internal/stream"
	"quicktune/metadataset"
	"quicktune/space"
	"quicktune/tune/classify"
	"quicktune/tune/live"
	"quicktune/tune/report"
)

// ModelFile holds the network that was found.
const ModelFile = "model.safetensors"

// Result is what a session found.
type Result struct {
	State     *live.State
	Incumbent report.Incumbent
}

// Run searches until the budget is used up, or goes on, and writes the results.
// A session that is over writes its results again. If ctx is done, everything
// that was learnt is kept, and what was best is written down as far as a session
// that goes on does.
func (x *Session) Run(ctx context.Context) (*Result, error) {
	defer x.close()
	problem, optimizer, err := x.optimizer()
	if err != nil {
		return nil, err
	}
	s := &x.Plan.Settings
	if old, err := report.ReadIncumbent(filepath.Join(x.Dir, report.IncumbentFile)); x.begin != nil && (err != nil || old.Over == "") {
		if err := x.begin(ctx); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256(x.planBytes)
	o := live.Options{
		Dir: x.Dir, Run: hex.EncodeToString(sum[:]), Problem: problem, Optimizer: optimizer, Trainer: x.trainer,
		Request: x.request, Score: x.score, Budget: s.Budget, Workers: s.Workers, Speed: x.Plan.Speed,
		Began: x.options.Began, Spent: x.Plan.Spent,
		Log: func(trial string, err error) { x.options.Warn(fmt.Sprintf("trial %s broke off: %v", trial, err)) },
	}
	if s.Clock == Counted {
		o.Seconds = x.seconds
	}
	if s.Clock == Measured && x.fresh {
		o.Spent = 0 // it is part of what this process used
	}
	written := live.Best{}
	var failed error
	o.Watch = func(state *live.State) {
		if state.Best != written && failed == nil {
			written = state.Best
			failed = report.WriteIncumbent(x.Dir, x.incumbent(state))
		}
		if x.options.Watch != nil {
			x.options.Watch(state)
		}
	}
	state, err := live.Run(ctx, o)
	if err == nil {
		err = failed
	}
	if err != nil {
		return &Result{State: state}, err
	}
	in, err := x.write(ctx, state)
	return &Result{State: state, Incumbent: in}, err
}

// request is what a candidate asks of the trainer.
func (x *Session) request(_, candidate int) trainer.Request {
	config := x.space.Map(x.configs[candidate])
	r := trainer.Request{
		Model: "none", Config: config, Dataset: x.Plan.Data.Name, Epochs: x.Plan.MaxEpochs,
		Seed: stream.New("tune/trial", x.Plan.Settings.Seed, uint64(candidate)).Uint64() >> 11, // exact in any JSON
	}
	if m, ok := config[modelParam]; ok {
		r.Model = m.String()
	}
	if x.Plan.Settings.Trainer == Exec {
		r.Dataset = x.Plan.Settings.Data
	}
	return r
}

// score is what the search maximises.
func (x *Session) score(r trainer.Record) float64 {
	if x.Plan.Settings.Metric == ValLoss {
		return -r.ValLoss
	}
	return r.ValAccuracy
}

// seconds counts what an epoch of a candidate costs.
func (x *Session) seconds(candidate int) float64 { return x.counted(x.request(0, candidate)) }

// config names the parts of a candidate for people.
func (x *Session) config(candidate int) (model, config string) {
	model = modelsOf(x.space, x.configs[candidate:candidate+1])[0]
	text := x.space.Format(x.configs[candidate])
	return model, strings.TrimPrefix(strings.TrimPrefix(text, modelParam+"="+model), ", ")
}

// Describe names the network and the configuration of a candidate.
func (x *Session) Describe(candidate int) (model, config string) { return x.config(candidate) }

// incumbent describes the best epoch.
func (x *Session) incumbent(state *live.State) report.Incumbent {
	s, b := &x.Plan.Settings, state.Best
	t := &state.Trials[b.Trial]
	rec := t.Epochs[b.Epoch-1]
	r := x.request(b.Trial, t.Candidate)
	in := report.Incumbent{
		Data: s.Data, DataHash: x.Plan.Data.Hash, Trainer: s.Trainer, Exec: s.Exec, Config: r.Config, Epochs: r.Epochs, Epoch: b.Epoch, Seed: r.Seed,
		Metric: s.Metric, Score: b.Score, FoundAfter: b.Clock, Used: state.Clock, Budget: s.Budget,
		Trials: len(state.Trials), Trained: state.Epochs, Over: state.Over,
		Checkpoint: filepath.Base(live.BestDir(x.Dir, b)), Classes: x.Plan.Data.Classes,
		Validation: accuracy(rec.ValAccuracy, x.Plan.Data.Validation), Test: accuracy(rec.TestAccuracy, x.Plan.Data.Test),
	}
	if _, ok := r.Config[modelParam]; ok {
		in.Model = r.Model
	}
	if s.Trainer == Timm {
		in.Timm = &report.Timm{Python: s.Python, ImageSize: s.ImageSize, Scratch: s.Scratch, WeightsDir: s.WeightsDir}
	}
	return in
}

// accuracy adds an interval to an accuracy on so many pictures; nil if it is not
// known, without interval where the number of pictures is not.
func accuracy(value float64, pictures int) *report.Accuracy {
	if math.IsNaN(value) {
		return nil
	}
	a := &report.Accuracy{Pictures: pictures, Value: value, Low: 0, High: 1}
	if pictures > 0 {
		a.Low, a.High = classify.Interval(int(math.Round(value*float64(pictures))), pictures)
	}
	return a
}

// write writes the results of a search that is over. What a timm network takes
// for what is left out if ctx is done.
func (x *Session) write(ctx context.Context, state *live.State) (report.Incumbent, error) {
	in := x.incumbent(state)
	page := x.page(state, in)
	if p, ok := x.trainer.(*pool); ok {
		t, err := trainedByTimm(x.Dir, in)
		if err == nil {
			page.Confusion, err = p.confusion(ctx, t, x.Plan.Data.Name, in.Config["amp"] == space.Bool(true))
		}
		if err != nil {
			x.options.Warn("the report is without a confusion matrix: " + err.Error())
		}
	}
	ctx = context.WithoutCancel(ctx)
	if x.Plan.Settings.Trainer == Embedded {
		m, err := Trained(x.Dir, in)
		if err != nil {
			return in, x.damaged(err)
		}
		if page.Confusion, err = m.Confusion(ctx, x.images.Test); err != nil {
			return in, err
		}
		if got := float64(page.Confusion.Right()) / float64(x.images.Test.Len()); in.Test != nil && got != in.Test.Value {
			return in, x.damaged(fmt.Errorf("%s classifies %g of the test pictures as it should, not %g", filepath.Join(x.Dir, in.Checkpoint), got, in.Test.Value))
		}
		if err := m.Save(filepath.Join(x.Dir, ModelFile)); err != nil {
			return in, err
		}
	}
	rows, err := x.rows(state)
	if err != nil {
		return in, err
	}
	if err := report.WriteHistory(x.Dir, rows); err != nil {
		return in, err
	}
	if err := report.WritePage(x.Dir, page); err != nil {
		return in, err
	}
	return in, report.WriteIncumbent(x.Dir, in)
}

// damaged tells how to get the best network in spite of its checkpoint.
func (x *Session) damaged(err error) error {
	return fmt.Errorf("the checkpoint of the best network is damaged: %w; its training can be repeated: go run ./tune train --from %s --out again",
		err, filepath.Join(x.Dir, report.IncumbentFile))
}

// Trained returns the network in the checkpoint of an incumbent of the embedded
// trainer.
func Trained(dir string, in report.Incumbent) (*classify.Model, error) {
	w, epoch, err := trainer.Trained(filepath.Join(dir, in.Checkpoint), len(in.Classes))
	if err != nil {
		return nil, err
	}
	if epoch != in.Epoch {
		return nil, fmt.Errorf("%s holds the weights of epoch %d instead of %d", filepath.Join(dir, in.Checkpoint), epoch, in.Epoch)
	}
	return classify.New(w, in.Classes)
}

// rows is the history of all epochs.
func (x *Session) rows(state *live.State) ([]report.Row, error) {
	best := make(map[[2]int]bool)
	for _, b := range state.Improvements {
		best[[2]int{b.Trial, b.Epoch}] = true
	}
	var rows []report.Row
	for i, t := range state.Trials {
		model, _ := x.config(t.Candidate)
		config, err := json.Marshal(x.space.Map(x.configs[t.Candidate]))
		if err != nil {
			return nil, err
		}
		row := report.Row{Trial: int32(i), Candidate: int32(t.Candidate), Model: model, Config: string(config)}
		for _, e := range t.Epochs {
			row.Epoch, row.Clock, row.Seconds = int32(e.Epoch), e.Clock, e.Seconds
			row.TrainLoss, row.ValLoss = report.Known(e.TrainLoss), report.Known(e.ValLoss)
			row.ValAccuracy, row.TestAccuracy = report.Known(e.ValAccuracy), report.Known(e.TestAccuracy)
			row.LearningRate = report.Known(e.LearningRate)
			row.Best = best[[2]int{i, e.Epoch}]
			rows = append(rows, row)
		}
		if t.Ended() {
			if len(t.Epochs) == 0 {
				rows = append(rows, row)
			}
			last := &rows[len(rows)-1]
			last.End, last.Reason = string(t.End.End), t.End.Reason
		}
	}
	return rows, nil
}

// page is the report for people.
func (x *Session) page(state *live.State, in report.Incumbent) report.Page {
	d, s := &x.Plan.Data, &x.Plan.Settings
	p := report.Page{Title: "Quick-Tune on " + d.Name, Incumbent: in, Classes: d.Classes}
	for _, b := range state.Improvements {
		p.Curve = append(p.Curve, report.Point{Seconds: b.Clock, Score: b.Score})
	}
	fact := func(name, format string, args ...any) {
		p.Facts = append(p.Facts, report.Fact{Name: name, Value: fmt.Sprintf(format, args...)})
	}
	fact("pictures", "%s", s.Data)
	if len(d.Classes) > 0 {
		fact("split", "%d for training, %d for validation, %d for test; %d classes", d.Train, d.Validation, d.Test, len(d.Classes))
	}
	fact("method", "%s", x.Plan.Method)
	if n := len(x.Plan.Learnt.Datasets); n > 0 {
		known := ""
		if name := strings.TrimSuffix(filepath.Base(s.Data), ".zip"); slices.Contains(x.Plan.Learnt.Datasets, name) {
			known = fmt.Sprintf(", one of which is %s too: on other pictures it knows less", name)
		}
		fact("learnt from", "%d data sets (%s)%s", n, strings.Join(x.Plan.Learnt.Datasets, ", "), known)
	}
	fact("budget", "%s on %s; used %s, of which decisions %.2g s", cli.FormatSeconds(s.Budget), workersText(s.Workers), cli.FormatSeconds(round(state.Clock)), state.Deciding)
	if s.Clock == Counted {
		fact("clock", "counted: what the arithmetic takes on the reference machine")
	} else if x.Plan.Speed != 1 {
		fact("speed", "an epoch takes %.2g times as long here as on the machine that the forecasts are of", x.Plan.Speed)
	}
	fact("candidates", "%d configurations, %d tried, %d epochs", len(x.configs), len(state.Trials), state.Epochs)
	fact("seed", "%d", s.Seed)
	for _, k := range x.Plan.Skipped {
		p.Skipped = append(p.Skipped, fmt.Sprintf("%d configurations; of one of them, %s: %s", k.Candidates, k.Example, k.Reason))
	}
	p.Networks, p.Trials = x.tried(state)
	if s.Trainer != Exec {
		p.Command = fmt.Sprintf("go run ./tune train --from %s --out model", quote(filepath.Join(x.Dir, report.IncumbentFile)))
		p.Predict = fmt.Sprintf("go run ./tune predict --model %s IMAGE...", quote(x.Dir))
	}
	return p
}

func (x *Session) tried(state *live.State) (networks []report.Network, trials []report.Trial) {
	index := make(map[string]int)
	for _, n := range x.Plan.Networks {
		index[n.Name] = len(networks)
		look := math.NaN()
		if n.Score != nil {
			look = *n.Score
		}
		networks = append(networks, report.Network{Name: n.Name, Look: look, Best: math.NaN()})
	}
	for i, t := range state.Trials {
		model, config := x.config(t.Candidate)
		row := report.Trial{Name: live.TrialName(i), Model: model, Config: config, Epochs: len(t.Epochs), Best: math.NaN(), End: string(t.End.End), Chosen: i == state.Best.Trial}
		if t.End.End == metadataset.EndFailed {
			row.End += ": " + t.End.Reason
		}
		for _, e := range t.Epochs {
			score := x.score(e.Record)
			row.Scores = append(row.Scores, score)
			row.Seconds += e.Seconds
			if !math.IsNaN(score) && !(row.Best >= score) {
				row.Best = score
			}
		}
		trials = append(trials, row)
		if model == "" {
			continue
		}
		k, ok := index[model]
		if !ok {
			k = len(networks)
			index[model] = k
			networks = append(networks, report.Network{Name: model, Look: math.NaN(), Best: math.NaN()})
		}
		n := &networks[k]
		n.Trials++
		n.Epochs += row.Epochs
		n.Seconds += row.Seconds
		if !math.IsNaN(row.Best) && !(n.Best >= row.Best) {
			n.Best = row.Best
		}
	}
	return networks, trials
}

func workersText(n int) string {
	if n == 1 {
		return "1 worker"
	}
	return fmt.Sprintf("%d workers", n)
}

func round(seconds float64) float64 { return math.Round(10*seconds) / 10 }

// quote writes a path for a shell.
func quote(path string) string {
	if strings.IndexFunc(path, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=,@", r))
	}) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
