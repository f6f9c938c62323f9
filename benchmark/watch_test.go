package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"quicktune/benchmark/replay"
	"quicktune/internal/cli"
	"quicktune/search"
)

func TestWatchDrawsWhatIsFinished(t *testing.T) {
	trace := func(method, dataset string, seed uint64, score float64) *replay.Trace {
		return &replay.Trace{
			Key:    replay.Key{Dataset: dataset, Method: method, Seed: seed, Budget: 3600},
			Scale:  replay.Scale{Best: 1},
			Points: []replay.Point{{Seconds: 10, Epochs: 1, Score: score}},
			Totals: replay.Totals{Epochs: 40},
		}
	}
	x := &replay.Experiment{
		Tables:  []*replay.Table{{Task: search.Task{Name: "A"}}, {Task: search.Task{Name: "B"}}},
		Methods: []search.Method{{Name: "random"}, {Name: "asha"}}, Seeds: []uint64{0, 1}, Budgets: []float64{60, 3600},
		// Of these, the second is no part of the grid.
		Previous: []*replay.Trace{trace("random", "A", 0, 0.5), trace("random", "A", 9, 0)},
	}
	var b bytes.Buffer
	v := newWatch(&b, x, cli.Seconds)
	clock := v.started
	v.now = func() time.Time { return clock }
	p := replay.Progress{Finished: 1, Taken: 1, Total: 8}
	v.show(p)
	clock = clock.Add(100 * time.Millisecond)
	p.Finished, p.Last = 2, trace("random", "A", 1, 0.7)
	v.show(p) // too soon to draw
	clock = clock.Add(10 * time.Second)
	p.Finished, p.Last = 3, trace("random", "B", 0, 0.8)
	v.show(p)
	tables := strings.Split(b.String(), "\x1b[4A\x1b[J")
	if len(tables) != 2 {
		t.Fatalf("%d tables, want 2:\n%q", len(tables), b.String())
	}
	// The mean of A is .4, that of B .2; of two runs in 10.1 s five are left.
	for _, want := range []string{"3 runs of 8 runs, 10s, about 25s left\n", "random   3/4          2          40.0         0.300\n", "asha   0/4          0             -             -\n"} {
		if !strings.Contains(tables[1], want) {
			t.Errorf("no %q in\n%s", want, tables[1])
		}
	}
}
