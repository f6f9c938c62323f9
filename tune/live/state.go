package live

import (
	"fmt"
	"math"
	"slices"

	"quicktune/generate/trainer"
)

// Why a run is over.
const (
	OverBudget    = "the budget is used up"
	OverExhausted = "there is nothing left to try"
)

// Epoch is a finished epoch.
type Epoch struct {
	trainer.Record
	Clock   float64 // when it was finished, in seconds of the budget
	Seconds float64 // what it cost, with all that was around the training
}

// Trial is what is known of one training run.
type Trial struct {
	Candidate int
	Epochs    []Epoch
	// End is that of a trial that can be trained no further; its End is empty
	// before.
	End trainer.End
}

// Ended reports whether a trial can be trained no further.
func (t *Trial) Ended() bool { return t.End.End != "" }

// Best is an epoch that was better than all before it. Epoch is 0 if there is
// none.
type Best struct {
	Trial, Epoch int
	Score        float64
	Clock        float64
}

// State is what is known of a run.
type State struct {
	Trials []Trial
	Best   Best
	// Improvements are the best epochs over time.
	Improvements []Best
	// Working lists what is being trained, in the order in which it was begun.
	Working []Job
	// Clock is the budget that was used when something happened last.
	Clock float64
	// Decisions counts the questions to the optimiser, Deciding adds up the
	// seconds they took.
	Decisions int
	Deciding  float64
	// Epochs counts those of all trials.
	Epochs int
	// Over says why the run is over, "" before it is.
	Over string

	score func(trainer.Record) float64
}

func newState(score func(trainer.Record) float64) *State { return &State{score: score} }

// apply takes in an event.
func (s *State) apply(e event) error {
	s.Clock = max(s.Clock, e.Clock)
	switch e.Kind {
	case kindMark:
	case kindOver:
		s.Over = e.Status
	case kindAsk:
		s.Decisions++
		s.Deciding += e.Decided
		if e.Status != ready {
			return nil
		}
		if e.Trial < 0 || e.Trial > len(s.Trials) {
			return fmt.Errorf("trial %d after %d trials", e.Trial, len(s.Trials))
		}
		if e.Trial == len(s.Trials) {
			s.Trials = append(s.Trials, Trial{Candidate: e.Candidate})
		}
		s.Working = append(s.Working, Job{e.Trial, e.Candidate, e.Epoch})
	case kindEpoch, kindEnd:
		at := slices.IndexFunc(s.Working, func(j Job) bool { return j.Trial == e.Trial })
		if at < 0 {
			return fmt.Errorf("trial %d was not being trained", e.Trial)
		}
		t := &s.Trials[e.Trial]
		if e.End != "" {
			t.End = trainer.End{Trial: TrialName(e.Trial), End: e.End, Reason: e.Reason}
		}
		if e.Kind == kindEpoch {
			if err := s.epoch(e, t); err != nil {
				return err
			}
		}
		if e.Proposed {
			s.Working = slices.Delete(s.Working, at, at+1)
		}
	default:
		return fmt.Errorf("unknown event %q", e.Kind)
	}
	return nil
}

func (s *State) epoch(e event, t *Trial) error {
	if e.Record == nil || e.Record.Epoch != e.Epoch || e.Epoch != len(t.Epochs)+1 {
		return fmt.Errorf("epoch %d of trial %d after %d epochs", e.Epoch, e.Trial, len(t.Epochs))
	}
	rec := *e.Record
	t.Epochs = append(t.Epochs, Epoch{Record: rec, Clock: e.Clock, Seconds: e.Seconds})
	s.Epochs++
	score := s.score(rec)
	if !math.IsNaN(score) && (s.Best.Epoch == 0 || score > s.Best.Score) {
		s.Best = Best{Trial: e.Trial, Epoch: e.Epoch, Score: score, Clock: e.Clock}
		s.Improvements = append(s.Improvements, s.Best)
	}
	return nil
}
