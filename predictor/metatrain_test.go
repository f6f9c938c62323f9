package predictor

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func smallMetaTrain() MetaTrainOptions {
	o := ReferenceMetaTrain()
	o.Seed, o.Iterations, o.CostIterations, o.Rows = 7, 60, 60, 8
	o.LearningRate, o.CostRate = 1e-2, 1e-2
	o.ValidateEvery, o.ValidationRounds = 10, 6
	o.MetaScale, o.CostMetaScale = 1, 1
	return o
}

func tasks(a Architecture) (train, validation []Task) {
	for i := range 4 {
		train = append(train, task(a, string(rune('a'+i)), uint64(i), 40))
	}
	return train, []Task{task(a, "v", 10, 40), task(a, "w", 11, 40)}
}

func weightsOf(m *Model) []float64 {
	return slices.Concat(m.Performance.params.Value, m.Cost.params.Value)
}

func TestMetaTrainingLearnsAndKeepsTheBestWeights(t *testing.T) {
	a := small()
	a.Hidden = 16
	train, validation := tasks(a)
	opt := smallMetaTrain()
	opt.Cost.Log = true
	opt.Iterations, opt.CostIterations, opt.Rows = 1000, 1000, 32
	var errs, costs []float64
	opt.Progress = func(p Progress) {
		if p.Phase == "cost" {
			costs = append(costs, p.Loss)
		} else {
			errs = append(errs, p.Error)
		}
	}
	m, err := MetaTrain(context.Background(), a, train, validation, opt)
	if err != nil {
		t.Fatal(err)
	}
	best := slices.Min(errs)
	if len(errs) != 100 || best > 0.1*errs[0] {
		t.Errorf("validation errors %v", errs)
	}
	if info := m.Info.Training; info.Error == nil || *info.Error != best || errs[info.Best/10-1] != best {
		t.Errorf("best validation error %v, kept %+v", best, info)
	}
	mean := func(x []float64) float64 {
		s := 0.0
		for _, v := range x {
			s += v / float64(len(x))
		}
		return s
	}
	if first, last := mean(costs[:20]), mean(costs[80:]); last > 0.5*first {
		t.Errorf("cost losses from %v to %v", first, last)
	}
	// The weights that are returned are those that were kept.
	pools, err := newPools(a, validation, 1, func(t *Task) [][]float64 { return t.Scores }, finite)
	if err != nil {
		t.Fatal(err)
	}
	tr := trainer{arch: a, opt: opt}
	rounds, err := tr.drawValidation(pools)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := validationError(m.Performance, rounds); err != nil || e != best {
		t.Errorf("the returned weights have the error %v (%v) instead of %v", e, err, best)
	}
}

func TestMetaTrainingDoesNotDependOnProcessorsOrInterruptions(t *testing.T) {
	a := small()
	train, validation := tasks(a)
	opt := smallMetaTrain()
	want, err := MetaTrain(context.Background(), a, train, validation, opt)
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.GOMAXPROCS(1)
	one, err := MetaTrain(context.Background(), a, train, validation, opt)
	runtime.GOMAXPROCS(before)
	if err != nil || !slices.Equal(weightsOf(one), weightsOf(want)) {
		t.Errorf("one processor gives other weights (%v)", err)
	}

	opt.State, opt.StateEvery = filepath.Join(t.TempDir(), "state"), 7
	interrupted := 0
	for {
		ctx, cancel := context.WithCancel(context.Background())
		n := 0
		opt.Progress = func(p Progress) {
			if n++; p.Phase == "performance" && n > 1 {
				cancel()
			}
		}
		m, err := MetaTrain(ctx, a, train, validation, opt)
		cancel()
		if err == nil {
			if !slices.Equal(weightsOf(m), weightsOf(want)) {
				t.Error("an interrupted training gives other weights")
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if interrupted++; interrupted > 100 {
			t.Fatal("no progress over interruptions")
		}
	}
	if interrupted < 2 {
		t.Errorf("the training was interrupted %d times", interrupted)
	}

	// A state of another training, or a damaged one, is refused.
	opt.Progress = nil
	opt.Seed++
	if _, err := MetaTrain(context.Background(), a, train, validation, opt); err == nil || !strings.Contains(err.Error(), "another meta-training") {
		t.Errorf("a foreign state: %v", err)
	}
	opt.Seed--
	name := opt.State + ".cost"
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(data) / 50 {
		if err := os.WriteFile(name, data[:cut*50], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := MetaTrain(context.Background(), a, train, validation, opt); err == nil || !strings.Contains(err.Error(), "remove it") {
			t.Fatalf("a state cut at %d: %v", cut*50, err)
		}
	}
}

func TestMetaTrainingOnStrangeTasks(t *testing.T) {
	a := small()
	train, validation := tasks(a)
	opt := smallMetaTrain()
	opt.Iterations, opt.CostIterations = 20, 20
	ctx := context.Background()
	edit := func(f func(*Task)) []Task {
		x := task(a, "x", 3, 20)
		f(&x)
		return []Task{x}
	}
	one := edit(func(x *Task) {
		for i := range x.Scores {
			x.Scores[i], x.Seconds[i] = x.Scores[i][:1], x.Seconds[i][:1]
		}
	})
	holes := edit(func(x *Task) {
		for i := range x.Scores {
			x.Scores[i][0] = math.NaN()
			x.Seconds[i][len(x.Seconds[i])-1] = math.Inf(1)
		}
	})
	constant := edit(func(x *Task) {
		for i := range x.Scores {
			for j := range x.Scores[i] {
				x.Scores[i][j] = 0.5
			}
		}
	})
	single := edit(func(x *Task) { x.Config, x.Scores, x.Seconds = x.Config[:1], x.Scores[:1], x.Seconds[:1] })
	for name, ts := range map[string][]Task{"curves of one epoch": one, "NaN epochs": holes, "constant curves": constant, "one candidate": single} {
		m, err := MetaTrain(ctx, a, ts, ts, opt)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		allFinite(t, name, weightsOf(m))
	}
	if m, err := MetaTrain(ctx, a, train, nil, opt); err != nil || m.Info.Training.Best != 20 || m.Info.Training.Error != nil {
		t.Errorf("without validation: %v", err)
	}
	noSeconds := slices.Clone(train)
	for i := range noSeconds {
		noSeconds[i].Seconds = nil
	}
	if _, err := MetaTrain(ctx, a, noSeconds, validation, opt); err == nil {
		t.Error("costs were learnt from nothing")
	}
	free := opt
	free.CostIterations = 0
	if _, err := MetaTrain(ctx, a, noSeconds, validation, free); err != nil {
		t.Errorf("without cost training: %v", err)
	}
	nothing := edit(func(x *Task) { x.Config, x.Scores, x.Seconds = nil, nil, nil })
	diverged := edit(func(x *Task) {
		for i := range x.Scores {
			for j := range x.Scores[i] {
				x.Scores[i][j] = math.NaN()
			}
		}
	})
	bad := opt
	bad.Rows = 1
	for name, f := range map[string]func() error{
		"empty set":         func() error { return second(MetaTrain(ctx, a, nil, validation, opt)) },
		"empty data set":    func() error { return second(MetaTrain(ctx, a, nothing, validation, opt)) },
		"only NaN":          func() error { return second(MetaTrain(ctx, a, diverged, validation, opt)) },
		"one row a step":    func() error { return second(MetaTrain(ctx, a, train, validation, bad)) },
		"other descriptors": func() error { return second(MetaTrain(ctx, a, edit(func(x *Task) { x.Meta = nil }), nil, opt)) },
		"infinite descr.": func() error {
			return second(MetaTrain(ctx, a, edit(func(x *Task) { x.Meta[0] = math.Inf(1) }), nil, opt))
		},
		"missing curve": func() error {
			return second(MetaTrain(ctx, a, edit(func(x *Task) { x.Scores = x.Scores[1:] }), nil, opt))
		},
		"uneven curves": func() error { return second(MetaTrain(ctx, a, edit(func(x *Task) { x.Seconds[0] = nil }), nil, opt)) },
		"wrong config":  func() error { return second(MetaTrain(ctx, a, edit(func(x *Task) { x.Config[3] = nil }), nil, opt)) },
		"too many epochs": func() error {
			return second(MetaTrain(ctx, a, edit(func(x *Task) { x.Scores[0], x.Seconds[0] = make([]float64, 10), make([]float64, 10) }), nil, opt))
		},
		"wrong architecture": func() error { return second(MetaTrain(ctx, Architecture{}, train, validation, opt)) },
	} {
		err := f()
		if err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %v", name, err)
		}
	}
}

func TestMetaTrainingOnRealCurvesImprovesOnTheMean(t *testing.T) {
	x := realTasks(t)
	opt := ReferenceMetaTrain()
	opt.Iterations, opt.CostIterations = 300, 0
	opt.LearningRate = 3e-3
	opt.ValidateEvery, opt.ValidationRounds = 100, 20
	m, err := MetaTrain(context.Background(), Reference(), x.tasks[:8], x.tasks[8:12], opt)
	if err != nil {
		t.Fatal(err)
	}
	// Predicting the mean of all real epochs has an error of about 0.1.
	if e := *m.Info.Training.Error; !(e < 0.05) {
		t.Errorf("validation error %v after 300 iterations", e)
	}
}
