package sweep

import (
	"cmp"
	"math"
	"path/filepath"
	"slices"
	"time"

	"quicktune/generate/journal"
	"quicktune/generate/plan"
	"quicktune/metadataset"
)

var nan32 = float32(math.NaN())

// Working is what a worker does.
type Working struct {
	Worker string
	Trial  plan.Trial
	Epoch  int // the last that is known
	Epochs int // planned
	// PerEpoch is the time of one epoch since the worker began the trial, 0
	// where none has ended.
	PerEpoch time.Duration
	Left     time.Duration // of the trial, 0 if unknown
	Silent   time.Duration // since the last event
}

// Status tells how far a sweep is.
type Status struct {
	Trials, Ended, Begun int
	Epochs               int
	Ends                 map[metadataset.End]int
	// Reasons counts the reasons of failures.
	Reasons map[string]int
	// Seconds is what the known epochs took, all workers together.
	Seconds float64
	// SecondsLeft estimates how long a single worker would take for the others.
	// Once epochs have ended, it follows how long they took on the wall clock.
	SecondsLeft float64
	// Share is the part of the whole that is done, by estimated time.
	Share   float64
	Workers []Working // those that were heard of last, by name
}

// Inspect reads how far the sweep of a plan in a directory is. It may be worked
// on at the same time.
func Inspect(dir string, p *plan.Plan, perEpoch func(plan.Trial) float64) (Status, error) {
	state, err := journal.Read(filepath.Join(dir, JournalFile))
	if err != nil {
		return Status{}, err
	}
	return Summarise(p, state, perEpoch, time.Now()), nil
}

// Summarise tells how far a sweep is. perEpoch estimates the seconds of an epoch
// of a trial; only its proportions matter once some epochs are known.
func Summarise(p *plan.Plan, state *journal.State, perEpoch func(plan.Trial) float64, now time.Time) Status {
	s := Status{Trials: len(p.Trials), Ends: make(map[metadataset.End]int), Reasons: make(map[string]int)}
	latest := make(map[string]Working)
	began := make(map[string]time.Time)
	var doneEstimate float64   // of the epochs that are known and those that their ends saved
	var took, expected float64 // on the wall clock and by the estimate, since the last starts
	for _, t := range p.Trials {
		trial := state.Trials[t.ID]
		if trial == nil {
			continue
		}
		known := len(trial.Records)
		s.Epochs += known
		each := perEpoch(t)
		if n := known - trial.Base; n > 0 && !trial.Started.IsZero() {
			took += trial.Last.Sub(trial.Started).Seconds()
			expected += float64(n) * each
		}
		for _, r := range trial.Records {
			s.Seconds += seconds(r)
		}
		if trial.Ended() {
			s.Ended++
			s.Ends[trial.End.End]++
			if trial.End.Reason != "" {
				s.Reasons[trial.End.Reason]++
			}
			doneEstimate += float64(p.EpochsWithin(each)) * each
			continue
		}
		s.Begun++
		doneEstimate += float64(known) * each
		if trial.Worker == "" || trial.Started.Before(began[trial.Worker]) {
			continue
		}
		w := Working{Worker: trial.Worker, Trial: t, Epoch: known, Epochs: p.Epochs, Silent: now.Sub(trial.Last)}
		if n := known - trial.Base; n > 0 {
			w.PerEpoch = trial.Last.Sub(trial.Started) / time.Duration(n)
			w.Left = w.PerEpoch * time.Duration(p.EpochsWithin(pace(p, trial, each))-known)
			w.Left = max(0, w.Left)
		}
		began[trial.Worker] = trial.Started
		latest[trial.Worker] = w
	}
	for _, w := range latest {
		s.Workers = append(s.Workers, w)
	}
	slices.SortFunc(s.Workers, func(a, b Working) int { return cmp.Compare(a.Worker, b.Worker) })
	left := p.Estimate(perEpoch, func(id string) (int, bool) { return state.Epochs(id), state.Ended(id) }).Seconds
	s.SecondsLeft, s.Share = left, 1
	if total := left + doneEstimate; total > 0 {
		s.Share = doneEstimate / total
	}
	if expected > 0 && took > 0 {
		s.SecondsLeft = left * took / expected
	}
	return s
}

// pace is what an epoch of a trial costs on the plan's clock.
func pace(p *plan.Plan, t *journal.Trial, estimate float64) float64 {
	if p.Clock == plan.Counted || len(t.Records) == 0 {
		return estimate
	}
	var spent float64
	for _, r := range t.Records {
		spent += seconds(r)
	}
	return spent / float64(len(t.Records))
}
