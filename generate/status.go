package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"quicktune/generate/sweep"
	"quicktune/internal/cli"
	"quicktune/metadataset"
)

func newStatus(stdout io.Writer) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "status DIR",
		Short:   "tell how far a sweep is",
		Long:    `Status reads the journal of a sweep, whether anybody works on it or not.`,
		Example: "  go run ./generate status results/runs/sweep",
		Args:    cli.Arguments(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			return printStatus(stdout, args[0], asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON for a program to read")
	return c
}

// statusJSON is what a program reads.
type statusJSON struct {
	Dir         string                  `json:"dir"`
	Plan        string                  `json:"plan_hash"`
	Trials      int                     `json:"trials"`
	Ended       int                     `json:"ended"`
	Begun       int                     `json:"begun"` // and not ended
	Epochs      int                     `json:"epochs"`
	Share       float64                 `json:"share"`
	Seconds     float64                 `json:"seconds"`      // of the epochs
	SecondsLeft float64                 `json:"seconds_left"` // all workers together
	Ends        map[metadataset.End]int `json:"ends"`
	Finished    bool                    `json:"finished"` // the meta-dataset is written
	Workers     []workerJSON            `json:"workers"`
}

type workerJSON struct {
	Worker          string  `json:"worker"`
	Trial           string  `json:"trial"`
	Model           string  `json:"model"`
	Epoch           int     `json:"epoch"`
	SecondsPerEpoch float64 `json:"seconds_per_epoch"`
	SecondsLeft     float64 `json:"seconds_left"`
	SecondsSilent   float64 `json:"seconds_silent"`
}

func printStatus(stdout io.Writer, dir string, asJSON bool) error {
	p, b, err := readPlan(dir)
	if err != nil {
		return err
	}
	s, err := sweep.Inspect(dir, p, perEpoch(p, b))
	if errors.Is(err, os.ErrNotExist) {
		return cli.Inputf("%s: the sweep is planned, but nobody began to work on it: go run ./generate resume %s", dir, dir)
	}
	if err != nil {
		return cli.Input(err)
	}
	made := filepath.Join(dir, sweep.MetadatasetDir)
	_, statErr := os.Stat(made)
	finished := statErr == nil
	if asJSON {
		out := statusJSON{
			Dir: dir, Plan: p.Hash, Trials: s.Trials, Ended: s.Ended, Begun: s.Begun, Epochs: s.Epochs, Share: s.Share,
			Seconds: s.Seconds, SecondsLeft: s.SecondsLeft, Ends: s.Ends, Finished: finished, Workers: []workerJSON{},
		}
		for _, w := range s.Workers {
			out.Workers = append(out.Workers, workerJSON{
				w.Worker, w.Trial.ID, w.Trial.Model, w.Epoch, w.PerEpoch.Seconds(), w.Left.Seconds(), w.Silent.Seconds(),
			})
		}
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(out)
	}
	fmt.Fprintf(stdout, "%s: %d of %d curves have ended, %d are begun; %d epochs\n", dir, s.Ended, s.Trials, s.Begun, s.Epochs)
	var ends []string
	for _, e := range metadataset.Ends {
		if n := s.Ends[e]; n > 0 {
			ends = append(ends, fmt.Sprintf("%d %s", n, e))
		}
	}
	if len(ends) > 0 {
		fmt.Fprintf(stdout, "ends: %s\n", strings.Join(ends, ", "))
	}
	reasons := slices.Sorted(maps.Keys(s.Reasons))
	slices.SortStableFunc(reasons, func(a, b string) int { return s.Reasons[b] - s.Reasons[a] })
	for i, r := range reasons {
		if i == 5 {
			fmt.Fprintf(stdout, "  and %d other reasons\n", len(reasons)-i)
			break
		}
		fmt.Fprintf(stdout, "  %d x %s\n", s.Reasons[r], r)
	}
	if finished {
		fmt.Fprintf(stdout, "finished: %s\n", made)
		return nil
	}
	workers := max(1, len(s.Workers))
	fmt.Fprintf(stdout, "%.0f %% done, about %s left with %d workers\n", math.Floor(100*s.Share), cli.FormatSeconds(round(s.SecondsLeft/float64(workers))), workers)
	for _, w := range s.Workers {
		fmt.Fprintf(stdout, "worker %s: %s, %s, epoch %d of %d, %s, %s left", w.Worker, w.Trial.ID, w.Trial.Model, w.Epoch, w.Epochs, rate(w), left(w))
		fmt.Fprintf(stdout, ", last heard of %s ago\n", cli.FormatSeconds(round(w.Silent.Seconds())))
	}
	return nil
}
