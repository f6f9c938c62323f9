// Package journal keeps what a sweep has learned so far, in one file that only
// grows.
//
// Each line is one event of package eventlog: a trial was started, an epoch
// ended, a curve ended. A torn line at the end, which a killed process leaves, is
// cut off; a bad line before the end is an error.
//
// What was written survives the death of the process at once. It is brought to
// the disk once a second and on Close, so the failure of the machine loses at
// most a second of epochs; [Journal.OnDurable] tells when an event is safe.
//
// An epoch counts once. Of two records of the same epoch of a trial the first
// stays, and nothing is added to a curve that has ended: a trial that ran twice,
// or that repeated epochs after an interrupt, changes nothing that was known.
//
// The package refuses to decide what is trained, and to hold more than one
// sweep.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"quicktune/generate/trainer"
	"quicktune/internal/atomicfile"
	"quicktune/internal/eventlog"
	"quicktune/internal/filelock"
	"quicktune/metadataset"
)

const (
	format  = "quicktune sweep journal"
	version = 1
	// syncEvery is the time between two synchronisations of a journal that
	// grows.
	syncEvery = time.Second
)

// Trial is what is known of a trial.
type Trial struct {
	Records []trainer.Record // of epoch 1, 2, ...
	End     trainer.End      // zero until the curve has ended
	Worker  string           // who works or worked on it
	Started time.Time        // the last time it was started
	Base    int              // epochs that there were then
	Last    time.Time        // of its last event
}

// Ended reports whether the curve has ended.
func (t *Trial) Ended() bool { return t != nil && t.End.End != "" }

// State is the content of a journal.
type State struct {
	Plan   string // hash of the plan
	Trials map[string]*Trial
	Torn   int // bytes of a torn line at the end
}

// Epochs is the number of epochs of a trial that are known.
func (s *State) Epochs(id string) int {
	if t := s.Trials[id]; t != nil {
		return len(t.Records)
	}
	return 0
}

// Ended reports whether the curve of a trial has ended.
func (s *State) Ended(id string) bool { return s.Trials[id].Ended() }

// event is the text of a line.
type event struct {
	Kind string `json:"kind"`
	At   int64  `json:"at"` // milliseconds since 1970

	Format  string `json:"format,omitempty"`
	Version int    `json:"version,omitempty"`
	Plan    string `json:"plan,omitempty"`

	Trial  string `json:"trial,omitempty"`
	Worker string `json:"worker,omitempty"`

	trainer.EpochLine

	End    metadataset.End `json:"end,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// The kinds of events.
const (
	kindPlan  = "plan"
	kindStart = "start"
	kindEpoch = "epoch"
	kindEnd   = "end"
)

// Journal is a journal that is written to. It may be used by several
// goroutines.
type Journal struct {
	now func() time.Time
	log *eventlog.Log

	mu      sync.Mutex
	state   *State
	broken  error // after a failure to write or synchronise
	dirty   bool
	durable []func() // to be called after the next synchronisation

	stop chan struct{}
	done chan struct{}
}

// Open opens the journal of the plan with the given hash, or begins it. No other
// process may have it open.
func Open(path, plan string) (*Journal, error) {
	j, err := open(path, plan)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return j, nil
}

func open(path, plan string) (_ *Journal, err error) {
	log, texts, err := eventlog.Open(path)
	if errors.Is(err, filelock.ErrLocked) {
		return nil, fmt.Errorf("%s: another process works on this sweep: wait until it is done, or stop it", path)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			log.Close()
		}
	}()
	state, err := replay(texts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if state.Plan != "" && state.Plan != plan {
		return nil, fmt.Errorf("%s belongs to another plan", path)
	}
	j := &Journal{now: time.Now, log: log, state: state, stop: make(chan struct{}), done: make(chan struct{})}
	if state.Plan == "" {
		if err := j.append(event{Kind: kindPlan, Format: format, Version: version, Plan: plan}); err != nil {
			return nil, err
		}
		state.Plan = plan
		if err := errors.Join(log.Sync(), atomicfile.SyncDir(filepath.Dir(path))); err != nil {
			return nil, err
		}
	}
	go j.keepSyncing()
	return j, nil
}

// Read reads a journal that another process may be writing.
func Read(path string) (*State, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// parse reads lines up to a torn one at the end.
func parse(data []byte) (*State, error) {
	texts, good, err := eventlog.Parse(data)
	if err != nil {
		return nil, err
	}
	s, err := replay(texts)
	if err != nil {
		return nil, err
	}
	s.Torn = len(data) - good
	return s, nil
}

// replay adds up the events of all lines.
func replay(texts [][]byte) (*State, error) {
	s := &State{Trials: make(map[string]*Trial)}
	for i, text := range texts {
		var e event
		err := json.Unmarshal(text, &e)
		if err == nil {
			err = s.apply(e, i+1)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return s, nil
}

// apply adds an event of line n to the state.
func (s *State) apply(e event, n int) error {
	if (n == 1) != (e.Kind == kindPlan) {
		return errors.New("a journal begins with one line that names its plan")
	}
	at := time.UnixMilli(e.At)
	switch e.Kind {
	case kindPlan:
		if e.Format != format || e.Version != version || e.Plan == "" {
			return fmt.Errorf("format %q version %d, want %q version %d", e.Format, e.Version, format, version)
		}
		s.Plan = e.Plan
		return nil
	case kindStart, kindEpoch, kindEnd:
	default:
		return fmt.Errorf("unknown kind of event %q", e.Kind)
	}
	if e.Trial == "" {
		return errors.New("the event names no trial")
	}
	t := s.Trials[e.Trial]
	if t == nil {
		t = &Trial{}
		s.Trials[e.Trial] = t
	}
	if t.Ended() {
		return fmt.Errorf("trial %q has ended before", e.Trial)
	}
	t.Last = at
	switch e.Kind {
	case kindStart:
		t.Worker, t.Started, t.Base = e.Worker, at, len(t.Records)
	case kindEpoch:
		if e.Epoch != len(t.Records)+1 {
			return fmt.Errorf("trial %q: epoch %d after epoch %d", e.Trial, e.Epoch, len(t.Records))
		}
		t.Records = append(t.Records, e.Record(e.Trial))
	case kindEnd:
		if e.End == "" {
			return fmt.Errorf("trial %q ends without an end", e.Trial)
		}
		t.End = trainer.End{Trial: e.Trial, End: e.End, Reason: e.Reason}
	}
	return nil
}

// append writes one event; j.mu is held or nobody else knows j yet.
func (j *Journal) append(e event) error {
	if j.broken != nil {
		return j.broken
	}
	e.At = j.now().UnixMilli()
	if err := j.log.Append(e); err != nil {
		j.broken = fmt.Errorf("journal: %w", err)
		return j.broken
	}
	j.dirty = true
	return nil
}

// trial returns the state of a trial; j.mu is held.
func (j *Journal) trial(id string) *Trial {
	t := j.state.Trials[id]
	if t == nil {
		t = &Trial{}
		j.state.Trials[id] = t
	}
	return t
}

// Start notes that a worker begins or goes on with a trial.
func (j *Journal) Start(id, worker string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.trial(id)
	if t.Ended() {
		return fmt.Errorf("trial %q has ended", id)
	}
	if err := j.append(event{Kind: kindStart, Trial: id, Worker: worker}); err != nil {
		return err
	}
	t.Worker, t.Started, t.Base = worker, j.now(), len(t.Records)
	t.Last = t.Started
	return nil
}

// Record adds an epoch. One that is known already, or of a curve that has ended,
// is left out, and added is false; one that leaves a gap is an error.
func (j *Journal) Record(r trainer.Record) (added bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.trial(r.Trial)
	switch {
	case t.Ended() || r.Epoch <= len(t.Records):
		return false, nil
	case r.Epoch != len(t.Records)+1:
		return false, fmt.Errorf("trial %q: epoch %d is recorded after epoch %d", r.Trial, r.Epoch, len(t.Records))
	}
	e := event{Kind: kindEpoch, Trial: r.Trial, EpochLine: r.EpochLine()}
	if err := j.append(e); err != nil {
		return false, err
	}
	t.Records = append(t.Records, e.Record(e.Trial))
	t.Last = j.now()
	return true, nil
}

// End ends a curve. A second end is left out.
func (j *Journal) End(e trainer.End) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.trial(e.Trial)
	if t.Ended() {
		return nil
	}
	if e.End == "" {
		return fmt.Errorf("trial %q ends without an end", e.Trial)
	}
	if err := j.append(event{Kind: kindEnd, Trial: e.Trial, End: e.End, Reason: e.Reason}); err != nil {
		return err
	}
	t.End, t.Last = e, j.now()
	return nil
}

// OnDurable calls f once everything that was written before is on the disk, from
// another goroutine, or at the latest in Close.
func (j *Journal) OnDurable(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.durable = append(j.durable, f)
}

// View calls f with the state, which f must neither change nor keep.
func (j *Journal) View(f func(*State)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(j.state)
}

func (j *Journal) keepSyncing() {
	defer close(j.done)
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = j.Sync() // kept for the next write
		case <-j.stop:
			return
		}
	}
}

// Sync brings what was written to the disk.
func (j *Journal) Sync() error {
	j.mu.Lock()
	dirty, calls := j.dirty, j.durable
	j.dirty, j.durable = false, nil
	broken := j.broken
	j.mu.Unlock()
	if broken != nil {
		return broken
	}
	if dirty {
		if err := j.log.Sync(); err != nil {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.broken = fmt.Errorf("journal: %w", err)
			return j.broken
		}
	}
	for _, f := range calls {
		f()
	}
	return nil
}

// Close brings everything to the disk and lets go of the file.
func (j *Journal) Close() error {
	close(j.stop)
	<-j.done
	return errors.Join(j.Sync(), j.log.Close())
}
