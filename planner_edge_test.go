package quicktune_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"quicktune"
	"quicktune/internal/stream"
	"quicktune/search"
	"quicktune/search/searchtest"
	"quicktune/space"
)

// edgeTable is a pool of n configurations, drawn at random or all the same.
func edgeTable(name string, n, maxEpochs int, same bool, curve func(c int) []float64) searchtest.Table {
	sp := searchtest.Tables()[0].Space
	rng := stream.New("test/quicktune/edges", uint64(n))
	t := searchtest.Table{
		Name: name, Space: sp, MaxEpochs: maxEpochs, Metric: search.Metric{Name: "val_accuracy", Bounded: true},
		Task: search.Task{Name: name, TrainSamples: 1000, Classes: 10, Pixels: 128, Channels: 3},
	}
	var first space.Config
	for c := range n {
		config := sp.Sample(rng)
		if c == 0 {
			first = config
		}
		if same {
			config = slices.Clone(first)
		}
		scores := curve(c)
		t.Candidates = append(t.Candidates, config)
		t.Curves = append(t.Curves, searchtest.Curve{Scores: scores, Seconds: slices.Repeat([]float64{2}, len(scores)), End: search.Completed})
	}
	return t
}

// edgeTables are histories that are hard to learn from.
func edgeTables() []searchtest.Table {
	level := func(v float64, n int) func(int) []float64 {
		return func(int) []float64 { return slices.Repeat([]float64{v}, n) }
	}
	nan := math.NaN()
	return []searchtest.Table{
		edgeTable("constant curves", 12, 9, false, level(0.5, 9)),
		edgeTable("curves that are all 0", 12, 9, false, level(0, 9)),
		edgeTable("curves that are all 1", 12, 9, false, level(1, 9)),
		edgeTable("nothing but NaN", 12, 9, false, level(nan, 9)),
		edgeTable("NaN in the first epoch", 12, 9, false, func(c int) []float64 { return append([]float64{nan}, level(float64(c)/12, 8)(c)...) }),
		edgeTable("NaN from the third epoch", 12, 9, false, func(c int) []float64 { return append(level(float64(c)/12, 2)(c), level(nan, 7)(c)...) }),
		edgeTable("one candidate", 1, 30, false, level(0.3, 30)),
		edgeTable("one epoch is all", 12, 1, false, level(0.1, 1)),
		edgeTable("curves of one epoch", 40, 50, false, func(c int) []float64 { return []float64{float64(c) / 40} }),
	}
}

func TestPlannerEdges(t *testing.T) {
	method := quicktune.PlannerMethod(nil)
	method.New = suiteFactory()
	for _, table := range edgeTables() {
		t.Run(table.Name, func(t *testing.T) {
			searchtest.Run(t, method, searchtest.Options{Tables: []searchtest.Table{table}, Seeds: []uint64{1}})
		})
	}
	identical := edgeTable("1,000 identical rows", 1000, 3, true, func(int) []float64 { return []float64{0.5, 0.5, 0.5} })
	searchtest.Run(t, method, searchtest.Options{Tables: []searchtest.Table{identical}, Workers: []int{1}, Seeds: []uint64{1}, Proposals: 8})
}

// Other data sets may be as strange as the one that is searched on: the planner
// learns from them, unless there is no curve at all.
func TestPlannerLearnsFromStrangeDataSets(t *testing.T) {
	target := searchtest.Tables()[0]
	for _, table := range append(edgeTables(), edgeTable("no curve", 0, 9, false, nil)) {
		t.Run(table.Name, func(t *testing.T) {
			set := search.Curves{Configs: table.Candidates}
			for _, c := range table.Curves {
				var scores, seconds []float32
				for e := range c.Scores {
					scores, seconds = append(scores, float32(c.Scores[e])), append(seconds, float32(c.Seconds[e]))
				}
				set.Scores, set.Seconds = append(set.Scores, scores), append(set.Seconds, seconds)
			}
			meta := search.MetaData{Space: table.Space, Metric: table.Metric, MaxEpochs: 50, Parallel: 1}
			for i := range 2 {
				set.Task = table.Task
				set.Task.Name = fmt.Sprint(table.Name, i)
				meta.Train = append(meta.Train, set)
			}
			method := quicktune.PlannerMethod(nil)
			var err error
			method.New, err = method.Learn(context.Background(), meta)
			if none := len(table.Curves) == 0; none != (err != nil) {
				t.Fatalf("learning from %d curves: %v", len(table.Curves), err)
			} else if none {
				return
			}
			searchtest.Run(t, method, searchtest.Options{Tables: []searchtest.Table{target}, Workers: []int{1}, Seeds: []uint64{1}, Proposals: 10})
		})
	}
}
