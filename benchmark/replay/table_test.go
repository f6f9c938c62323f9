package replay

import (
	"math"
	"strings"
	"testing"

	"quicktune/search"
	"quicktune/space"
)

func TestNewTableNamesWhatIsWrong(t *testing.T) {
	good := func() Table {
		return Table{
			Task:       search.Task{Name: "D"},
			Candidates: make([]space.Config, 2),
			IDs:        []string{"a", "b"},
			Scores:     [][]float32{{0.5, 0.25}, {0.75}},
			Seconds:    [][]float32{{1, 2}, {3}},
			Ends:       []search.End{search.Completed, search.Failed},
			MaxEpochs:  2,
			Metric:     search.Metric{Bounded: true},
		}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name   string
		change func(*Table)
		want   string // "" if it is good
	}{
		{"good", func(*Table) {}, ""},
		{"NaN score", func(x *Table) { x.Scores[0][0] = nan }, ""},
		{"unbounded", func(x *Table) { x.Scores[0][0], x.Metric.Bounded = -7, false }, ""},
		{"no name", func(x *Table) { x.Task.Name = "" }, "needs the name"},
		{"no candidate", func(x *Table) { x.Candidates = nil }, `data set "D": no candidate`},
		{"ids", func(x *Table) { x.IDs = x.IDs[:1] }, "2 candidates but 1 ids"},
		{"ends", func(x *Table) { x.Ends = nil }, "2 candidates but 2 ids, 2 scores, 2 costs, 0 ends"},
		{"max epochs", func(x *Table) { x.MaxEpochs = 0 }, "largest number of epochs 0"},
		{"unequal", func(x *Table) { x.Seconds[1] = nil }, `curve "b": 1 scores but 0 costs`},
		{"too long", func(x *Table) { x.MaxEpochs = 1 }, `curve "a": 2 epochs, more than the largest number 1`},
		{"no end", func(x *Table) { x.Ends[1] = search.NotEnded }, `curve "b": end 0`},
		{"free epoch", func(x *Table) { x.Seconds[0][1] = 0 }, `curve "a", epoch 2: cost of 0 seconds`},
		{"negative cost", func(x *Table) { x.Seconds[0][1] = -1 }, `cost of -1 seconds`},
		{"unknown cost", func(x *Table) { x.Seconds[0][1] = nan }, `cost of NaN seconds`},
		{"infinite cost", func(x *Table) { x.Seconds[0][1] = inf }, `cost of +Inf seconds`},
		{"score above 1", func(x *Table) { x.Scores[1][0] = 75 }, `curve "b", epoch 1: score 75 outside [0, 1]`},
		{"infinite score", func(x *Table) { x.Scores[1][0] = inf }, `score +Inf outside [0, 1]`},
		{"no score", func(x *Table) { x.Scores = [][]float32{{nan, nan}, {nan}} }, "no epoch has a score"},
		{"no epoch", func(x *Table) { x.Scores, x.Seconds = make([][]float32, 2), make([][]float32, 2) }, "no curve has an epoch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := good()
			c.change(&in)
			_, err := NewTable(in)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("error %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestScale(t *testing.T) {
	inf := float32(math.Inf(-1))
	table, err := NewTable(Table{
		Task: search.Task{Name: "LOSS"}, Candidates: make([]space.Config, 1), IDs: []string{"a"},
		Scores: [][]float32{{-8, -4, inf, -6}}, Seconds: [][]float32{{1, 1, 1, 1}},
		Ends: []search.End{search.Completed}, MaxEpochs: 4,
	})
	if err != nil {
		t.Fatal(err)
	}
	// A score of -Inf is no number, so it is not the worst.
	if want := (Scale{Best: -4, Worst: -8, Start: -8}); table.Scale != want {
		t.Errorf("scale %+v, want %+v", table.Scale, want)
	}
	if got := table.Scale.Regret(-5); got != 0.25 {
		t.Errorf("regret %v, want 0.25", got)
	}
	flat := Scale{Best: 0.5, Worst: 0.5}
	if flat.Regret(0.5) != 0 || flat.Regret(0) != 1 {
		t.Errorf("flat data set: regrets %v and %v, want 0 and 1", flat.Regret(0.5), flat.Regret(0))
	}
}
