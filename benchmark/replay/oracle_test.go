package replay

import (
	"context"
	"math"
	"strings"
	"testing"

	"quicktune/search"
	"quicktune/space"
)

// oracleTable has its best score late, a good one soon, and a cheap one.
func oracleTable(t *testing.T) *Table {
	t.Helper()
	table, err := NewTable(Table{
		Task:       search.Task{Name: "D"},
		Candidates: make([]space.Config, 3),
		IDs:        []string{"slow", "quick", "cheap"},
		Scores:     [][]float32{{0.1, 0.9}, {0.5, 0.4, 0.7}, {0.5, float32(math.NaN())}},
		Seconds:    [][]float32{{50, 50}, {10, 10, 10}, {2, 2}},
		Ends:       []search.End{search.Completed, search.Completed, search.Failed},
		MaxEpochs:  3,
		Metric:     search.Metric{Bounded: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTheOracleTrainsTheBestThatFits(t *testing.T) {
	table := oracleTable(t)
	oracle := Oracle([]*Table{table})
	for _, c := range []struct {
		budget, score, seconds float64
	}{
		{1, 0, 0}, // nothing fits
		{2, 0.5, 2},
		{29, 0.5, 2}, // of equal scores the one that is reached first
		{30, 0.7, 30},
		{99, 0.7, 30},
		{100, 0.9, 100},
		{math.Inf(1), 0.9, 100},
	} {
		trace, err := Run(context.Background(), oracle, table, Options{Budget: c.budget})
		if err != nil {
			t.Fatal(err)
		}
		var got Point
		if n := len(trace.Points); n > 0 {
			got = trace.Points[n-1]
		}
		if math.Abs(got.Score-c.score) > 1e-6 || got.Seconds != c.seconds {
			t.Errorf("budget %g: score %g at %g s; want %g at %g s", c.budget, got.Score, got.Seconds, c.score, c.seconds)
		}
	}
}

func TestTheOracleRefusesOtherDataSets(t *testing.T) {
	_, err := Oracle(nil).New(search.Problem{Task: search.Task{Name: "E"}})
	if err == nil || !strings.Contains(err.Error(), `no table of data set "E"`) {
		t.Errorf("error %v", err)
	}
}
