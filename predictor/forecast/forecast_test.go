package forecast

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"quicktune/internal/stream"
	"quicktune/space"
)

const testEpochs = 12

// testSpace has the hyperparameters that the derived columns look for.
func testSpace(t testing.TB) *space.Space {
	t.Helper()
	s, err := space.New("test", []space.Hyperparameter{
		{Name: "model", Type: space.Categorical, Choices: []space.Value{space.String("a"), space.String("b"), space.String("c")}},
		{Name: "lr", Type: space.Real, Lower: 1e-5, Upper: 1, Log: true},
		{Name: "batch_size", Type: space.Ordinal, Choices: []space.Value{space.Int(8), space.Int(16), space.Int(32)}},
		{Name: "probe", Type: space.Categorical, Choices: []space.Value{space.Bool(true), space.Bool(false)}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var testHub = Hub{
	"a": {Params: 1, SourceAccuracy: .6, Pixels: 32, GMACs: .1},
	"b": {Params: 10, SourceAccuracy: .7, Pixels: 32, GMACs: 1},
	"c": {Params: math.NaN(), SourceAccuracy: .8, Pixels: 64, GMACs: 5},
}

// testTask makes a data set on which larger models and learning rates near 1e-2
// are better, models cost what they compute, and probing is no training.
func testTask(t testing.TB, f *Features, name string, curves int) Task {
	t.Helper()
	rng := stream.New("forecast/test/"+name, 1)
	task := Task{Name: name, Descriptors: Descriptors{Samples: 500 + rng.IntN(1000), Classes: 2 + rng.IntN(30)}}
	level := 2 * rng.Float64()
	for range curves {
		c := f.space.Sample(rng)
		row, err := f.Row(c, task.Descriptors)
		if err != nil {
			t.Fatal(err)
		}
		quality := map[string]float64{"a": 0, "b": .8, "c": 1.6}[c[0].Text()] - .5*math.Pow(math.Log10(c[1].Num())+2, 2)
		cost := map[string]float32{"a": 1, "b": 4, "c": 16}[c[0].Text()] * float32(task.Descriptors.Samples) / 500
		probe := c[3] == space.Bool(true)
		n := testEpochs
		if probe {
			n = 1
		}
		var scores, seconds []float32
		for e := range n {
			z := level + quality + .1*rng.NormFloat64() - 3/float64(e+1)
			if probe {
				z = -4
			}
			scores, seconds = append(scores, float32(FromLogit(z))), append(seconds, cost)
		}
		task.Rows, task.Scores, task.Seconds = append(task.Rows, row), append(task.Scores, scores), append(task.Seconds, seconds)
		task.Skip = append(task.Skip, probe)
	}
	return task
}

func testTasks(t testing.TB, f *Features) []Task {
	var tasks []Task
	for _, name := range []string{"one", "two", "three", "four", "five", "six"} {
		tasks = append(tasks, testTask(t, f, name, 60))
	}
	return tasks
}

func train(t testing.TB, f *Features, tasks []Task, o Options) *Model {
	t.Helper()
	m, err := Train(context.Background(), f, testEpochs, tasks, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLogOddsAreInvertedToTheLastDigits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Float64Range(0, 1).Draw(t, "accuracy")
		if got := FromLogit(ToLogit(a)); math.Abs(got-a) > 1e-14 {
			t.Errorf("FromLogit(ToLogit(%v)) = %v", a, got)
		}
	})
	for z, want := range map[float64]float64{-1e6: 0, -5: 0, 5: 1, 1e6: 1, 0: .5} {
		if got := FromLogit(z); math.Abs(got-want) > 1e-15 {
			t.Errorf("FromLogit(%v) = %v, want %v", z, got, want)
		}
	}
}

func TestForecastsRankUnseenConfigurationsAndPriceThem(t *testing.T) {
	f := NewFeatures(testSpace(t), "model", testHub)
	tasks := testTasks(t, f)
	test := tasks[5]
	m := train(t, f, tasks[:5], Options{Parallel: 2})
	priors := m.Priors(test.Rows, test.Descriptors)

	concordant, pairs := 0, 0
	var costError float64
	n := 0
	for i := range test.Rows {
		if got, want := m.NoTraining(test.Rows[i]), test.Skip[i]; got != want {
			t.Errorf("configuration %d: no training %t, want %t", i, got, want)
		}
		if test.Skip[i] {
			continue
		}
		costError += math.Abs(math.Log(priors[i].SecondsPerEpoch / float64(test.Seconds[i][0])))
		n++
		for e := 1; e < testEpochs; e++ {
			if priors[i].Median[e] < priors[i].Median[e-1] {
				t.Errorf("configuration %d: the best score by epoch %d is predicted below that by epoch %d", i, e+1, e)
			}
		}
		for j := range i {
			if test.Skip[j] {
				continue
			}
			pairs++
			if (priors[i].Median[testEpochs-1] > priors[j].Median[testEpochs-1]) == (test.Scores[i][testEpochs-1] > test.Scores[j][testEpochs-1]) {
				concordant++
			}
		}
	}
	// The noise of .1 alone flips few pairs; a prior that knew nothing would
	// be right in half of them.
	if share := float64(concordant) / float64(pairs); share < .8 {
		t.Errorf("%.2f of the pairs are ranked as they turn out, want .8", share)
	}
	if costError /= float64(n); costError > .2 {
		t.Errorf("costs are off by a mean factor of exp(%.2f)", costError)
	}
}

func TestContinuationsOfUnseenCurvesAreCloserThanNoGain(t *testing.T) {
	f := NewFeatures(testSpace(t), "model", testHub)
	tasks := testTasks(t, f)
	test := tasks[5]
	m := train(t, f, tasks[:5], Options{Parallel: 2})
	priors := m.Priors(test.Rows, test.Descriptors)
	var gain, spread [16]float64
	var model, flat, covered, all float64
	for i, scores := range test.Scores {
		if test.Skip[i] {
			continue
		}
		for _, n := range []int{1, 3, 6} {
			seen := make([]float64, n)
			best := math.Inf(-1)
			for e := range seen {
				seen[e] = float64(scores[e])
				best = max(best, ToLogit(seen[e]))
			}
			ahead := m.Continuation(gain[:], spread[:], test.Rows[i], &priors[i], seen)
			for k := range ahead {
				top := math.Inf(-1)
				for e := n; e < n+Horizons[k]; e++ {
					top = max(top, ToLogit(float64(scores[e])))
				}
				actual := top - best
				model += math.Abs(gain[k] - actual)
				flat += math.Abs(actual)
				all++
				if math.Abs(gain[k]-actual) < 2*spread[k] {
					covered++
				}
			}
		}
	}
	if model > flat/2 {
		t.Errorf("forecasts are off by %.3f in the mean, no gain at all by %.3f", model/all, flat/all)
	}
	if covered/all < .8 {
		t.Errorf("two spreads cover %.2f of the gains, want .8", covered/all)
	}
}

// What a look at the data set tells is a column of priors and costs, and of
// nothing that is known without it.
func TestALookAtTheDataSetIsLearntFrom(t *testing.T) {
	plain := NewFeatures(testSpace(t), "model", testHub)
	tasks := testTasks(t, plain)
	f := NewFeatures(testSpace(t), "model", testHub, "look")
	if f.Width() != plain.Width()+1 || f.Names()[plain.Width()] != "look" {
		t.Fatalf("columns %q", f.Names())
	}
	// The score at the end is what the look tells; nothing else knows it.
	for i := range tasks {
		for c, scores := range tasks[i].Scores {
			tasks[i].Rows[c] = append(slices.Clone(tasks[i].Rows[c]), float64(c%7))
			for e := range scores {
				scores[e] = float32(0.1 + 0.1*float64(c%7) + 0.01*float64(e))
			}
		}
	}
	m := train(t, f, tasks[:5], Options{})
	data := stored(t, m)
	again, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	priors, same := m.Priors(tasks[5].Rows, tasks[5].Descriptors), again.Priors(tasks[5].Rows, tasks[5].Descriptors)
	var low, high []float64
	for c, p := range priors {
		if p.Median[0] != same[c].Median[0] {
			t.Fatalf("configuration %d: %v, read again %v", c, p.Median[0], same[c].Median[0])
		}
		switch c % 7 {
		case 0:
			low = append(low, p.Median[0])
		case 6:
			high = append(high, p.Median[0])
		}
	}
	if slices.Max(low) >= slices.Min(high) {
		t.Errorf("what the look tells is not learnt: %.2f and %.2f", slices.Max(low), slices.Min(high))
	}
	config := testSpace(t).Sample(stream.New("forecast test look", 1))
	if _, err := f.Row(config, Descriptors{}); err == nil || !strings.Contains(err.Error(), `0 values of the columns ["look"]`) {
		t.Errorf("a row without the look: %v", err)
	}
	if row, err := f.Row(config, Descriptors{}, 3); err != nil || row[f.Width()-1] != 3 {
		t.Errorf("a row that ends in %v, %v", row, err)
	}
}

func TestTrainingIsTheSameWithAnyNumberOfProcessors(t *testing.T) {
	f := NewFeatures(testSpace(t), "model", testHub)
	tasks := testTasks(t, f)[:3]
	one := stored(t, train(t, f, tasks, Options{Parallel: 1}))
	if four := stored(t, train(t, f, tasks, Options{Parallel: 4})); !bytes.Equal(one, four) {
		t.Error("another model with four processors")
	}
	if other := stored(t, train(t, f, tasks, Options{Parallel: 1, Seed: 1})); bytes.Equal(one, other) {
		t.Error("the seed changes nothing")
	}
}

func stored(t *testing.T, m *Model) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.zip")
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAStoredModelForecastsTheSame(t *testing.T) {
	f := NewFeatures(testSpace(t), "model", testHub)
	tasks := testTasks(t, f)[:3]
	m := train(t, f, tasks, Options{Parallel: 2})
	data := stored(t, m)
	again, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stored(t, again), data) {
		t.Error("storing what was read gives other bytes")
	}
	a, b := m.Priors(tasks[0].Rows, tasks[0].Descriptors), again.Priors(tasks[0].Rows, tasks[0].Descriptors)
	var gainA, gainB, spreadA, spreadB [16]float64
	for i := range a {
		if a[i].SecondsPerEpoch != b[i].SecondsPerEpoch || a[i].Median[3] != b[i].Median[3] || a[i].Above[3] != b[i].Above[3] {
			t.Fatalf("configuration %d: another prior", i)
		}
		seen := []float64{.1, .2}
		if m.Continuation(gainA[:], spreadA[:], tasks[0].Rows[i], &a[i], seen) != again.Continuation(gainB[:], spreadB[:], tasks[0].Rows[i], &b[i], seen) || gainA != gainB || spreadA != spreadB {
			t.Fatalf("configuration %d: another continuation", i)
		}
	}
}

func TestADamagedModelIsRefusedInOneLine(t *testing.T) {
	f := NewFeatures(testSpace(t), "model", testHub)
	whole := stored(t, train(t, f, testTasks(t, f)[:2], Options{Parallel: 2}))
	// edit rewrites the archive with one of its files changed or left out.
	edit := func(name string, change func([]byte) []byte) []byte {
		z, err := zip.NewReader(bytes.NewReader(whole), int64(len(whole)))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w := zip.NewWriter(&out)
		for _, file := range z.File {
			r, err := file.Open()
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if _, err := b.ReadFrom(r); err != nil {
				t.Fatal(err)
			}
			data := b.Bytes()
			if file.Name == name {
				if data = change(data); data == nil {
					continue
				}
			}
			to, err := w.Create(file.Name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := to.Write(data); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte {
			if !bytes.Contains(b, []byte(old)) {
				t.Fatalf("model.json holds no %q", old)
			}
			return bytes.Replace(b, []byte(old), []byte(new), 1)
		}
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":             {nil, "no stored forecasts"},
		"cut":               {whole[:len(whole)/2], "no stored forecasts"},
		"other version":     {edit(headerName, replace(fmt.Sprintf("\"version\": %d", Version), `"version": 9`)), "version 9"},
		"no header":         {edit(headerName, func([]byte) []byte { return nil }), "model.json is missing"},
		"broken header":     {edit(headerName, func(b []byte) []byte { return b[:len(b)/2] }), "model.json"},
		"missing ensemble":  {edit("gain-1", func([]byte) []byte { return nil }), "gain-1 is missing"},
		"broken ensemble":   {edit("prior-0-1", func(b []byte) []byte { b[40] ^= 1; return b }), "prior-0-1"},
		"wrong last epoch":  {edit(headerName, replace(`"max_epochs": 12`, `"max_epochs": 13`)), "13"},
		"no prior":          {edit(headerName, replace(`"prior": 2`, `"prior": 0`)), "0, 2 and 2 ensembles"},
		"too many":          {edit(headerName, replace(`"prior": 2`, `"prior": 2000000000`)), "ensembles"},
		"another space":     {edit(headerName, replace(`"probe"`, `"probes"`)), ""},
		"column of a mark":  {edit(headerName, replace(`"Column": `, `"Column": 9`)), "mark in column"},
		"exchanged columns": {edit("cost-0", func([]byte) []byte { return cutFile(t, whole, "gain-0") }), "columns"},
	} {
		_, err := Decode(c.data)
		if name == "another space" {
			if err != nil {
				t.Errorf("%s: %v; the caller compares spaces", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", name, err, c.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: error %v", err)
	}
}

func cutFile(t *testing.T, archive []byte, name string) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	r, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDegenerateCurvesGiveFiniteForecasts(t *testing.T) {
	f := NewFeatures(testSpace(t), "model", nil)
	nan := float32(math.NaN())
	fill := func(v float32, n int) []float32 {
		s := make([]float32, n)
		for i := range s {
			s[i] = v
		}
		return s
	}
	for name, change := range map[string]func(*Task){
		"constant curves": func(k *Task) {
			for i := range k.Scores {
				k.Scores[i] = fill(.5, len(k.Scores[i]))
			}
		},
		"NaN epochs": func(k *Task) {
			for i := range k.Scores {
				k.Scores[i][0] = nan
				if i%2 == 0 {
					k.Scores[i] = fill(nan, len(k.Scores[i]))
				}
			}
		},
		"curves of one epoch": func(k *Task) {
			for i := range k.Scores {
				k.Scores[i], k.Seconds[i] = k.Scores[i][:1], k.Seconds[i][:1]
			}
		},
		"identical rows": func(k *Task) {
			for i := range k.Rows {
				k.Rows[i] = k.Rows[0]
			}
		},
		"no times": func(k *Task) { k.Seconds = nil },
		"one curve": func(k *Task) {
			k.Rows, k.Scores, k.Seconds, k.Skip = k.Rows[:1], k.Scores[:1], k.Seconds[:1], nil
		},
		"nothing but tests": func(k *Task) {
			for i := range k.Skip {
				k.Skip[i] = k.Name == "two"
			}
		},
		"no descriptors": func(k *Task) { k.Descriptors = Descriptors{} },
	} {
		t.Run(name, func(t *testing.T) {
			tasks := []Task{testTask(t, f, "one", 25), testTask(t, f, "two", 25), testTask(t, f, "three", 25)}
			for i := range tasks {
				change(&tasks[i])
			}
			if name == "nothing but tests" {
				tasks[1].Skip = append([]bool(nil), tasks[1].Skip...)
				_, err := Train(context.Background(), f, testEpochs, tasks, Options{})
				if err == nil || !strings.Contains(err.Error(), `data set "two"`) {
					t.Fatalf("error %v, want one that names the data set", err)
				}
				return
			}
			m := train(t, f, tasks, Options{})
			priors := m.Priors(tasks[0].Rows, tasks[0].Descriptors)
			var gain, spread [16]float64
			for i, p := range priors {
				values := append(append([]float64{p.SecondsPerEpoch}, p.Median...), p.Above...)
				for _, seen := range [][]float64{{.5}, {math.NaN()}, {.1, .1, .1}, {0, 1, math.NaN(), .3}} {
					n := m.Continuation(gain[:], spread[:], tasks[0].Rows[i], &p, seen)
					values = append(append(values, gain[:n]...), spread[:n]...)
				}
				for _, v := range values {
					if math.IsNaN(v) || math.IsInf(v, 0) {
						t.Fatalf("configuration %d: a forecast of %v", i, v)
					}
				}
			}
		})
	}
}

func TestWhatCannotBeLearntFromIsRefused(t *testing.T) {
	f := NewFeatures(testSpace(t), "model", testHub)
	good := func() []Task { return []Task{testTask(t, f, "one", 5), testTask(t, f, "two", 5)} }
	for name, c := range map[string]struct {
		change func([]Task) []Task
		want   string
	}{
		"nothing":       {func([]Task) []Task { return nil }, "0 data sets"},
		"one data set":  {func(k []Task) []Task { return k[:1] }, "1 data sets"},
		"score above 1": {func(k []Task) []Task { k[1].Scores[2][0] = 1.5; return k }, `"two": curve 2 holds the score 1.5`},
		"long curve":    {func(k []Task) []Task { k[0].Scores[0] = make([]float32, 13); return k }, "13 epochs, more than 12"},
		"short row":     {func(k []Task) []Task { k[0].Rows[1] = k[0].Rows[1][:3]; return k }, "row 1 has 3 columns"},
		"missing curve": {func(k []Task) []Task { k[0].Scores = k[0].Scores[1:]; return k }, "5 rows, 4 curves"},
	} {
		_, err := Train(context.Background(), f, testEpochs, c.change(good()), Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Train(ctx, f, testEpochs, good(), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
}

// FuzzDecode holds that a file which is accepted can be used.
func FuzzDecode(f *testing.F) {
	features := NewFeatures(testSpace(f), "model", testHub)
	m, err := Train(context.Background(), features, testEpochs, []Task{testTask(f, features, "one", 5), testTask(f, features, "two", 5)}, Options{})
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "m.zip")
	if err := m.Save(path); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("PK"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data)
		if err != nil {
			return
		}
		row := make([]float64, m.Features().Width())
		priors := m.Priors([][]float64{row}, Descriptors{Samples: 10, Classes: 2})
		var gain, spread [16]float64
		m.Continuation(gain[:], spread[:], row, &priors[0], []float64{.5})
		m.NoTraining(row)
	})
}
