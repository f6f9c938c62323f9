package quicktune

import (
	"context"
	"testing"

	"quicktune/search"
	"quicktune/search/searchtest"
)

// SuiteMetaData is what can be learnt from the contract suite's own tables of
// accuracies.
func SuiteMetaData() search.MetaData {
	meta := search.MetaData{Metric: search.Metric{Name: "val_accuracy", Bounded: true}, MaxEpochs: 50, Parallel: 2}
	for _, table := range searchtest.Tables() {
		if table.Name != "rising" && table.Name != "uneven" {
			continue
		}
		meta.Space = table.Space
		c := search.Curves{Task: table.Task, Configs: table.Candidates}
		c.Task.Name = table.Name
		for _, curve := range table.Curves {
			var scores, seconds []float32
			for e := range curve.Scores {
				scores, seconds = append(scores, float32(curve.Scores[e])), append(seconds, float32(curve.Seconds[e]))
			}
			c.Scores, c.Seconds = append(c.Scores, scores), append(c.Seconds, seconds)
		}
		meta.Train = append(meta.Train, c)
	}
	return meta
}

// KeepsContractOnAccuracies lets a method learn, and holds it to the contract on
// the suite's tables of accuracies.
func KeepsContractOnAccuracies(t *testing.T, m search.Method, meta search.MetaData) {
	t.Helper()
	f, err := m.Learn(context.Background(), meta)
	if err != nil {
		t.Fatal(err)
	}
	m.New = f
	var tables []searchtest.Table
	for _, table := range searchtest.Tables() {
		if table.Metric.Bounded {
			tables = append(tables, table)
		}
	}
	searchtest.Run(t, m, searchtest.Options{Tables: tables, Seeds: []uint64{1}})
}
