package live

import (
	"encoding/json"
	"errors"
	"fmt"

	"quicktune/generate/trainer"
	"quicktune/internal/eventlog"
	"quicktune/internal/filelock"
	"quicktune/metadataset"
	"quicktune/search"
)

// The kinds of events.
const (
	kindBegin = "begin" // first line: what is run
	kindAsk   = "ask"   // the optimiser was asked
	kindEpoch = "epoch" // an epoch was finished
	kindEnd   = "end"   // a trial can be trained no further
	kindMark  = "mark"  // the clock was read
	kindOver  = "over"  // the run is over
)

const ready = "ready"

// statusNames are what the optimiser can answer.
var statusNames = map[search.Status]string{search.Ready: ready, search.Wait: "wait", search.Done: "done"}

// event is what a line of the journal says, see package eventlog.
type event struct {
	Kind  string  `json:"kind"`
	Clock float64 `json:"clock"`

	Run       string          `json:"run,omitempty"`
	Status    string          `json:"status,omitempty"`
	Decided   float64         `json:"decided,omitempty"` // seconds
	Trial     int             `json:"trial,omitempty"`
	Candidate int             `json:"candidate,omitempty"`
	Epoch     int             `json:"epoch,omitempty"`
	Record    *trainer.Record `json:"record,omitempty"`
	Seconds   float64         `json:"seconds,omitempty"`
	End       metadataset.End `json:"end,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Proposed  bool            `json:"proposed,omitempty"`
}

// openLog opens the journal of the named run, or begins it, and returns its
// events but the first.
func openLog(path, run string) (_ []event, _ *eventlog.Log, err error) {
	log, texts, err := eventlog.Open(path)
	if errors.Is(err, filelock.ErrLocked) {
		return nil, nil, fmt.Errorf("%s: another process works on this run: wait until it is done, or stop it", path)
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			log.Close()
		}
	}()
	events, err := decode(texts)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(events) == 0 {
		return nil, log, log.Append(event{Kind: kindBegin, Run: run})
	}
	if events[0].Kind != kindBegin || events[0].Run != run {
		return nil, nil, fmt.Errorf("%s belongs to another run", path)
	}
	return events[1:], log, nil
}

func decode(texts [][]byte) ([]event, error) {
	events := make([]event, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal(text, &events[i]); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return events, nil
}
