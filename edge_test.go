package quicktune

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"quicktune/internal/stream"
	"quicktune/predictor"
	"quicktune/search"
	"quicktune/space"
)

// rawModel has the weights that a meta-training starts from.
var rawModel = sync.OnceValues(func() (*predictor.Model, error) {
	rng := stream.New("test/quicktune/model", 1)
	configs := pool(50)
	encoder, err := predictor.NewEncoder(space.QuickTune(), "model", configs)
	if err != nil {
		return nil, err
	}
	x, err := encoder.Encode(nil, configs[0])
	if err != nil {
		return nil, err
	}
	o := predictor.ReferenceMetaTrain()
	o.Iterations, o.CostIterations, o.Seed = 20, 20, rng.Uint64()
	task := predictor.Task{Name: "one curve", Meta: []float64{1000, 10, 128, 3}, Config: [][]float64{x}, Scores: [][]float64{{0.1, 0.2}}, Seconds: [][]float64{{3, 4}}}
	m, err := predictor.MetaTrain(context.Background(), predictor.Reference(), []predictor.Task{task}, nil, o)
	if err == nil {
		m.Info.Encoder = encoder
	}
	return m, err
})

func pool(n int) []space.Config {
	rng := stream.New("test/quicktune/pool", uint64(n))
	out := make([]space.Config, n)
	for i := range out {
		out[i] = space.QuickTune().Sample(rng)
	}
	return out
}

// quick keeps fits short.
func quick(o Options) Options {
	o.InitialFits, o.RestartSteps, o.RefineSteps = 3, 4, 1
	return o
}

var accuracy = search.Metric{Name: "val_accuracy", Bounded: true}

// drive searches until Done or some number of epochs, with one worker, and
// checks after every decision that nothing in it is NaN or infinite. A curve
// that is nil fails at once.
func drive(t *testing.T, o Options, candidates []space.Config, maxEpochs, epochs int, curve func(c int) []float64) (trained int) {
	t.Helper()
	q, err := New(search.Problem{
		Space: space.QuickTune(), Metric: accuracy, Candidates: candidates, MaxEpochs: maxEpochs, Workers: 1, Seed: 1,
		Task: search.Task{Name: "edge", TrainSamples: 1000, Classes: 10, Pixels: 128, Channels: 3},
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	reached, trials := make([]int, len(candidates)), make([]int, len(candidates))
	ended := make([]bool, len(candidates))
	next := 0
	for trained < epochs {
		p, status := q.Ask()
		if status == search.Done {
			return trained
		}
		if status != search.Ready {
			t.Fatalf("after %d epochs: status %v with nothing outstanding", trained, status)
		}
		for _, numbers := range [][]float64{q.mean, q.std, q.seconds} {
			if slices.ContainsFunc(numbers, func(v float64) bool { return !finite(v) }) {
				t.Fatalf("after %d epochs: a prediction is not finite", trained)
			}
		}
		c := p.Candidate
		if reached[c] == 0 && trials[c] == 0 {
			next++
			trials[c] = next
		}
		if ended[c] || p.Trial != trials[c]-1 || p.Epoch <= reached[c] || p.Epoch > maxEpochs {
			t.Fatalf("after %d epochs: proposal %+v of a curve with %d epochs (ended: %v)", trained, p, reached[c], ended[c])
		}
		scores := curve(c)
		for {
			r := search.Report{Trial: p.Trial, Candidate: c, Epoch: reached[c] + 1, Seconds: 10}
			if reached[c] >= len(scores) {
				r.Epoch, r.Score, r.Seconds, r.End = reached[c], math.NaN(), 0, search.Failed
			} else {
				r.Score = scores[reached[c]]
				reached[c]++
				trained++
				if reached[c] == maxEpochs {
					r.End = search.Completed
				}
			}
			ended[c] = r.End != search.NotEnded
			r.Proposed = ended[c] || reached[c] == p.Epoch
			q.Tell(r)
			if r.Proposed {
				break
			}
		}
	}
	return trained
}

func constant(v float64, n int) []float64 { return slices.Repeat([]float64{v}, n) }

func TestEdges(t *testing.T) {
	m, err := rawModel()
	if err != nil {
		t.Fatal(err)
	}
	same := slices.Repeat(pool(1), 1000)
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		name       string
		candidates []space.Config
		maxEpochs  int
		epochs     int // to stop after
		want       int // epochs trained
		curve      func(c int) []float64
	}{
		{"constant curves", pool(12), 9, 1000, 12 * 8, func(int) []float64 { return constant(0.5, 9) }},
		{"curves that are all 0", pool(12), 9, 1000, 12 * 8, func(int) []float64 { return constant(0, 9) }},
		{"curves that are all 1", pool(12), 9, 1000, 12 * 8, func(int) []float64 { return constant(1, 9) }},
		{"nothing but NaN", pool(12), 9, 1000, 12 * 8, func(int) []float64 { return constant(nan, 9) }},
		{"NaN in the first epoch", pool(12), 9, 1000, 12 * 8, func(c int) []float64 { return append([]float64{nan}, constant(float64(c)/12, 8)...) }},
		{"NaN from the third epoch", pool(12), 9, 1000, 12 * 8, func(c int) []float64 { return append(constant(float64(c)/12, 2), constant(nan, 7)...) }},
		{"infinite losses", pool(12), 9, 1000, 12 * 8, func(c int) []float64 { return []float64{-1e6, -inf, inf, nan, -1e300, -1e-300, -1, 0, 1e9} }},
		{"one candidate", pool(1), 30, 1000, 29, func(int) []float64 { return constant(0.3, 30) }},
		{"one candidate that fails", pool(1), 30, 1000, 0, func(int) []float64 { return nil }},
		{"all fail", pool(12), 30, 1000, 0, func(int) []float64 { return nil }},
		{"no candidate", nil, 30, 1000, 0, nil},
		{"one epoch is all", pool(12), 1, 1000, 12, func(c int) []float64 { return constant(0.1, 1) }},
		{"curves of one epoch", pool(40), 50, 1000, 40, func(c int) []float64 { return constant(float64(c)/40, 1) }},
		{"1,000 identical candidates", same, 50, 15, 15, func(int) []float64 { return constant(0.5, 50) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, o := range map[string]Options{
				"published": {Model: m}, "no model": {}, "frozen": {Model: m, Freeze: true},
			} {
				if got := drive(t, quick(o), c.candidates, c.maxEpochs, c.epochs, c.curve); got != c.want {
					t.Errorf("%s: %d epochs trained, want %d", name, got, c.want)
				}
			}
			// Whole curves end with the last epoch.
			drive(t, quick(Options{Model: m, WholeCurves: true}), c.candidates, c.maxEpochs, c.epochs, c.curve)
		})
	}
}

// A thousand workers report the same score of the same configuration before
// the first fit, which sees all of it.
func TestThousandIdenticalRows(t *testing.T) {
	o := quick(Options{MaxRows: math.MaxInt})
	q, err := New(search.Problem{Space: space.QuickTune(), Metric: accuracy, Candidates: slices.Repeat(pool(1), 1001), MaxEpochs: 2, Workers: 1000, Seed: 1}, o)
	if err != nil {
		t.Fatal(err)
	}
	var proposals []search.Proposal
	for range 1000 {
		p, status := q.Ask()
		if status != search.Ready {
			t.Fatal(status)
		}
		proposals = append(proposals, p)
	}
	for _, p := range proposals {
		q.Tell(search.Report{Trial: p.Trial, Candidate: p.Candidate, Epoch: 1, Score: 0.5, Seconds: 1, End: search.Completed, Proposed: true})
	}
	p, status := q.Ask()
	if status != search.Ready || p.Trial != 1000 {
		t.Fatalf("%+v, status %v; want the one candidate that is left", p, status)
	}
	if q.surface.Observed() != 1000 {
		t.Errorf("the process holds %d rows, want 1,000", q.surface.Observed())
	}
	mean, std := q.mean[0], q.std[0]
	if !finite(mean) || !(std > 0) || math.Abs(mean-0.5) > 0.01 {
		t.Errorf("prediction %v ± %v after a thousand times 0.5", mean, std)
	}
}

// Without a curve of another data set there is nothing to learn: the method says
// so in one line, and -M -C searches without.
func TestEmptyMetaTrainingSet(t *testing.T) {
	task := search.Task{Name: "no curve"}
	for _, train := range [][]search.Curves{
		nil, {{Task: task}}, {{Task: task, Configs: pool(1), Scores: [][]float32{nil}, Seconds: [][]float32{nil}}},
	} {
		data := search.MetaData{Space: space.QuickTune(), Metric: accuracy, MaxEpochs: 5, Train: train, Parallel: 1}
		_, err := ReferenceMethod(Options{}, predictor.LearnOptions{}).Learn(context.Background(), data)
		if err == nil || !strings.Contains(err.Error(), "nothing to meta-train on") {
			t.Errorf("learning from nothing: %v", err)
		}
	}
	p := search.Problem{Space: space.QuickTune(), Metric: accuracy, Candidates: pool(3), MaxEpochs: 5, Workers: 1}
	if _, err := ReferenceMethod(Options{Scratch: true, IgnoreCost: true}, predictor.LearnOptions{}).New(p); err != nil {
		t.Error(err)
	}
}

// Other data sets whose curves have one epoch, or one number only, are learnt
// from.
func TestCurvesOfOneEpochAreLearntFrom(t *testing.T) {
	o := predictor.ReferenceMetaTrain()
	o.Iterations, o.CostIterations = 40, 40
	configs := pool(9)
	set := search.Curves{Task: search.Task{Name: "one epoch", TrainSamples: 9}, Configs: configs}
	for range configs {
		set.Scores = append(set.Scores, []float32{0.25})
		set.Seconds = append(set.Seconds, []float32{3})
	}
	for _, maxEpochs := range []int{1, 2, 50} {
		data := search.MetaData{Space: space.QuickTune(), Metric: accuracy, MaxEpochs: maxEpochs, Train: []search.Curves{set}, Validation: []search.Curves{set}, Parallel: 1}
		m, err := predictor.Learn(context.Background(), data, predictor.LearnOptions{Training: &o})
		if err != nil {
			t.Fatal(err)
		}
		want := len(configs) * max(1, maxEpochs-1)
		got := drive(t, quick(Options{Model: m}), configs, maxEpochs, 1000, func(c int) []float64 { return constant(0.1, maxEpochs) })
		if got != want {
			t.Errorf("%d epochs a curve: %d trained, want %d", maxEpochs, got, want)
		}
	}
}

// The process is conditioned on a bounded number of rows, however long the
// search, and its fits become rare.
func TestLongSearchesAreBounded(t *testing.T) {
	o := quick(Options{ExactRows: 20, MaxRows: 40, RefitGrowth: 0.25})
	q, err := New(search.Problem{Space: space.QuickTune(), Metric: accuracy, Candidates: pool(30), MaxEpochs: 50, Workers: 1, Seed: 2}, o)
	if err != nil {
		t.Fatal(err)
	}
	fits := []int{0}
	for epoch := range 300 {
		p, status := q.Ask()
		if status != search.Ready {
			t.Fatal(status)
		}
		if rows := q.surface.Observed(); rows > 50 {
			t.Fatalf("after %d epochs the process holds %d rows", epoch, rows)
		}
		fits = append(fits, q.fits)
		q.Tell(search.Report{Trial: p.Trial, Candidate: p.Candidate, Epoch: p.Epoch, Score: float64(p.Epoch) / 50, Seconds: 1, Proposed: true})
	}
	// One fit an epoch from the second to the 20th; then at 25, 32, 40 and 50
	// rows, and every 10 epochs once the window is full.
	if fits[21] != 19 {
		t.Errorf("%d fits after 20 epochs, want 19", fits[21])
	}
	if got := fits[300] - fits[100]; got != 20 {
		t.Errorf("%d fits in 200 epochs at 40 rows, want 20", got)
	}
}

// After 1.2 times MaxEpochs epochs without a better score the next fit starts
// from the first weights, once until there is a better score.
func TestStagnationRestartsOnce(t *testing.T) {
	o := Options{InitialFits: 1, RestartSteps: 3, RefineSteps: 1}
	q, err := New(search.Problem{Space: space.QuickTune(), Metric: accuracy, Candidates: pool(30), MaxEpochs: 5, Workers: 1, Seed: 2}, o)
	if err != nil {
		t.Fatal(err)
	}
	score, restarts := 0.5, []int(nil)
	for epoch := 1; epoch <= 40; epoch++ {
		p, _ := q.Ask()
		before := q.revived
		if epoch == 20 {
			score = 0.6
		}
		q.Tell(search.Report{Trial: p.Trial, Candidate: p.Candidate, Epoch: p.Epoch, Score: score, Seconds: 1, Proposed: true})
		q.learn()
		if q.revived && !before {
			restarts = append(restarts, epoch)
		}
	}
	// The first score is the best until epoch 20: six epochs later, once each.
	if want := []int{7, 26}; !slices.Equal(restarts, want) {
		t.Errorf("restarts after epochs %v, want %v", restarts, want)
	}
}

// FuzzSearch reads curves from bytes: the first four choose the options and the
// sizes, every further one is an epoch.
func FuzzSearch(f *testing.F) {
	f.Add([]byte{0, 3, 5, 1, 10, 20, 30, 0, 255, 254, 253, 252, 10, 10})
	f.Add([]byte{255, 0, 0, 9})
	f.Add([]byte{5, 11, 49, 2, 251, 251, 252, 253, 254, 255, 0, 0, 0, 0, 128})
	f.Add([]byte{2, 7, 1, 3, 1, 1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 4 {
			return
		}
		flags, n, maxEpochs, stride := data[0], 1+int(data[1])%12, 1+int(data[2])%50, 1+int(data[3])%50
		data = data[4:]
		// 255 ends a curve; 251 to 254 are numbers that are hard to swallow.
		odd := map[byte]float64{251: math.Inf(1), 252: math.Inf(-1), 253: -1e300, 254: math.NaN()}
		curve := func(c int) []float64 {
			var out []float64
			for i := c * stride; i < len(data) && len(out) < maxEpochs && data[i] != 255; i++ {
				v, ok := odd[data[i]]
				if !ok {
					v = float64(data[i]) / 250
				}
				out = append(out, v)
			}
			return out
		}
		o := Options{
			Scratch: flags&1 != 0, IgnoreCost: flags&2 != 0, WholeCurves: flags&4 != 0, Freeze: flags&8 != 0,
			InitialFits: 2, RestartSteps: 2, RefineSteps: 1, ExactRows: 3, MaxRows: 5, HubSize: int(flags >> 5),
		}
		if flags&16 != 0 {
			m, err := rawModel()
			if err != nil {
				t.Fatal(err)
			}
			o.Model = m
		}
		drive(t, o, pool(n), maxEpochs, 40, curve)
	})
}
