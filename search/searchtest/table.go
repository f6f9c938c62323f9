package searchtest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"quicktune/internal/stream"
	"quicktune/search"
	"quicktune/space"
)

// Table is a data set whose curves are all known.
type Table struct {
	Name       string
	Space      *space.Space
	Candidates []space.Config
	Task       search.Task
	MaxEpochs  int
	Metric     search.Metric
	Curves     []Curve // one for each candidate
}

// Curve is the whole learning curve of a candidate.
type Curve struct {
	Scores  []float64  // of epoch 1, 2, ..., at most MaxEpochs; may be empty
	Seconds []float64  // of the same epochs
	End     search.End // Completed or Failed: why there is no further epoch
}

func (t Table) validate() error {
	if t.MaxEpochs < 1 {
		return fmt.Errorf("table %q: MaxEpochs is %d; want at least 1", t.Name, t.MaxEpochs)
	}
	if len(t.Curves) != len(t.Candidates) {
		return fmt.Errorf("table %q: %d curves for %d candidates", t.Name, len(t.Curves), len(t.Candidates))
	}
	for i, c := range t.Curves {
		switch {
		case len(c.Scores) != len(c.Seconds):
			return fmt.Errorf("table %q, curve %d: %d scores but %d seconds", t.Name, i, len(c.Scores), len(c.Seconds))
		case len(c.Scores) > t.MaxEpochs:
			return fmt.Errorf("table %q, curve %d: %d epochs, but MaxEpochs is %d", t.Name, i, len(c.Scores), t.MaxEpochs)
		case c.End != search.Completed && c.End != search.Failed:
			return fmt.Errorf("table %q, curve %d: it has no end", t.Name, i)
		}
	}
	return nil
}

// Tables returns the suite's own tables, fresh ones at each call. They share a
// small space with a conditional hyperparameter, and hold, each under the name
// that the suite reports:
//
//   - "rising": 40 clean accuracy curves of 27 epochs, a power of 3.
//   - "uneven": 60 curves of up to 50 epochs, many of which end early, fail
//     before, in or after their first epochs, turn NaN or never move.
//   - "loss": 30 negated losses of 20 epochs, some infinite, a second each.
//   - "NaN", "constant": 12 curves of 9 epochs with nothing to choose by.
//   - "failing": 12 candidates that never finish an epoch.
//   - "one candidate", "one epoch", "empty": the smallest problems.
func Tables() []Table {
	accuracy := search.Metric{Name: "val_accuracy", Bounded: true}
	whole := func(score func(epoch int, level float64, rng *rand.Rand) float64) func(int, int, float64, *rand.Rand) Curve {
		return func(_, maxEpochs int, level float64, rng *rand.Rand) Curve {
			c := Curve{End: search.Completed}
			for e := 1; e <= maxEpochs; e++ {
				c.Scores = append(c.Scores, score(e, level, rng))
			}
			return c
		}
	}
	rising := whole(func(epoch int, level float64, rng *rand.Rand) float64 {
		rate := 0.1 + 0.4*rng.Float64()
		return level * (1 - math.Exp(-rate*float64(epoch)))
	})
	return []Table{
		newTable("rising", 40, 27, accuracy, rising),
		newTable("uneven", 60, 50, accuracy, func(i, maxEpochs int, level float64, rng *rand.Rand) Curve {
			c := rising(i, maxEpochs, level, rng)
			switch i % 10 {
			case 0: // completes before its time, perhaps between rungs
				c.Scores = c.Scores[:1+rng.IntN(maxEpochs-1)]
			case 1:
				c.Scores = c.Scores[:1]
			case 2:
				c.Scores, c.End = nil, search.Failed
			case 3:
				c.Scores, c.End = c.Scores[:1+rng.IntN(maxEpochs-1)], search.Failed
			case 4: // diverges, and is reported to have failed some epochs later
				from := rng.IntN(maxEpochs)
				for e := from; e < maxEpochs; e++ {
					c.Scores[e] = math.NaN()
				}
				c.Scores, c.End = c.Scores[:min(from+5, maxEpochs)], search.Failed
			case 5: // one epoch without a number
				c.Scores[rng.IntN(maxEpochs)] = math.NaN()
			case 6:
				for e := range c.Scores {
					c.Scores[e] = 0.1
				}
			}
			return c
		}),
		newTable("loss", 30, 20, search.Metric{Name: "val_loss"}, func(i, maxEpochs int, level float64, rng *rand.Rand) Curve {
			c := whole(func(epoch int, level float64, rng *rand.Rand) float64 {
				return -1000 * level / float64(epoch) * (1 + 0.1*rng.Float64())
			})(i, maxEpochs, level, rng)
			if i%5 == 0 {
				c.Scores[rng.IntN(maxEpochs)] = math.Inf(-1)
			}
			for range c.Scores {
				c.Seconds = append(c.Seconds, 1)
			}
			return c
		}),
		newTable("NaN", 12, 9, accuracy, whole(func(int, float64, *rand.Rand) float64 { return math.NaN() })),
		newTable("constant", 12, 9, accuracy, whole(func(int, float64, *rand.Rand) float64 { return 0.5 })),
		newTable("failing", 12, 9, accuracy, func(int, int, float64, *rand.Rand) Curve {
			return Curve{End: search.Failed}
		}),
		newTable("one candidate", 1, 10, accuracy, rising),
		newTable("one epoch", 12, 1, accuracy, rising),
		newTable("empty", 0, 10, accuracy, rising),
	}
}

// newTable draws n candidates and makes a curve for each. The level of a
// candidate, in [0, 1], depends on its learning rate and on chance. Seconds are
// drawn where the curve has none.
func newTable(name string, n, maxEpochs int, metric search.Metric, curve func(i, maxEpochs int, level float64, rng *rand.Rand) Curve) Table {
	rng := stream.New("searchtest/table/"+name, 0)
	s := tableSpace()
	t := Table{
		Name:      name,
		Space:     s,
		MaxEpochs: maxEpochs,
		Metric:    metric,
		Task: search.Task{
			Name: name, TrainSamples: 5000, Classes: 10, Pixels: 64, Channels: 3,
			MetaFeatures: []float64{5000, 10, 64, 3},
		},
	}
	rate := s.Index("lr")
	for i := range n {
		c := s.Sample(rng)
		distance := (math.Log10(c[rate].Num()) + 3) / 2 // 0 at the best rate
		level := math.Exp(-distance*distance) * (0.7 + 0.3*rng.Float64())
		learned := curve(i, maxEpochs, level, rng)
		pace := math.Exp(3 * rng.Float64())
		for len(learned.Seconds) < len(learned.Scores) {
			learned.Seconds = append(learned.Seconds, pace*(1+0.1*rng.Float64()))
		}
		t.Candidates = append(t.Candidates, c)
		t.Curves = append(t.Curves, learned)
	}
	return t
}

// tableSpace has one hyperparameter of every type, one of them conditional.
func tableSpace() *space.Space {
	s, err := space.New("searchtest", []space.Hyperparameter{
		{Name: "model", Type: space.Categorical, Choices: []space.Value{space.String("small"), space.String("wide"), space.String("deep")}},
		{Name: "lr", Type: space.Real, Lower: 1e-5, Upper: 1e-1, Log: true},
		{Name: "opt", Type: space.Categorical, Choices: []space.Value{space.String("sgd"), space.String("adamw")}},
		{Name: "momentum", Type: space.Ordinal, Choices: []space.Value{space.Float(0), space.Float(0.9), space.Float(0.99)}, Default: space.Float(0.9)},
		{Name: "warmup", Type: space.Integer, Lower: 0, Upper: 10},
		{Name: "clip", Type: space.Categorical, Choices: []space.Value{space.None, space.Float(1), space.Float(10)}},
		{Name: "amp", Type: space.Constant, Choices: []space.Value{space.Bool(true)}},
	}, []space.Condition{
		{Child: "momentum", AnyOf: [][]space.Clause{{{Parent: "opt", Op: space.In, Values: []space.Value{space.String("sgd")}}}}},
	})
	if err != nil {
		panic("searchtest: " + err.Error())
	}
	return s
}
