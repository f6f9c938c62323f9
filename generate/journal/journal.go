// Package journal keeps what a sweep has learned so far, in one file that only
// grows.
//
// Each line is one event: a trial was started, an epoch ended, a curve ended.
// A line is the CRC-32C of its text in eight hexadecimal digits, a space and the
// text, a JSON object. A line is written with a single call, so a process that
// is killed leaves at most one torn line at the end; [Open] cuts it off. A bad
// line before the end was not left by a kill, and is an error.
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
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"quicktune/generate/trainer"
	"quicktune/internal/atomicfile"
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

var table = crc32.MakeTable(crc32.Castagnoli)

// Journal is a journal that is written to. It may be used by several
// goroutines.
type Journal struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	file    *os.File
	state   *State
	size    int64
	buf     bytes.Buffer
	broken  error // after a failed write nothing more is written
	dirty   bool
	durable []func() // to be called after the next synchronisation

	stop chan struct{}
	done chan struct{}
}

// Open opens the journal of the plan with the given hash, or begins it. No other
// process may have it open. A torn line at the end is cut off.
func Open(path, plan string) (*Journal, error) {
	j, err := open(path, plan)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return j, nil
}

func open(path, plan string) (_ *Journal, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	err = filelock.Lock(f)
	if errors.Is(err, filelock.ErrLocked) {
		return nil, fmt.Errorf("%s: another process works on this sweep: wait until it is done, or stop it", path)
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	state, good, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if state.Plan != "" && state.Plan != plan {
		return nil, fmt.Errorf("%s belongs to another plan", path)
	}
	if state.Torn > 0 {
		if err := f.Truncate(good); err != nil {
			return nil, err
		}
	}
	j := &Journal{
		path: path, now: time.Now, file: f, state: state, size: good,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	if state.Plan == "" {
		if err := j.append(event{Kind: kindPlan, Format: format, Version: version, Plan: plan}); err != nil {
			return nil, err
		}
		state.Plan = plan
		if err := errors.Join(f.Sync(), atomicfile.SyncDir(filepath.Dir(path))); err != nil {
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
	s, _, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// parse reads lines up to a torn one at the end and returns how many bytes are
// good.
func parse(data []byte) (*State, int64, error) {
	s := &State{Trials: make(map[string]*Trial)}
	rest, good := data, int64(0)
	for n := 1; len(rest) > 0; n++ {
		text, after, complete := bytes.Cut(rest, []byte("\n"))
		e, err := decode(text)
		if !complete || err != nil {
			if holdsEvent(after) {
				return nil, 0, fmt.Errorf("line %d: %w; lines before it are good: to go on from them, keep the first %d bytes", n, err, good)
			}
			s.Torn = len(rest)
			return s, good, nil
		}
		if err := s.apply(e, n); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", n, err)
		}
		good += int64(len(text)) + 1
		rest = after
	}
	return s, good, nil
}

func holdsEvent(data []byte) bool {
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		if _, err := decode(line); err == nil {
			return true
		}
	}
	return false
}

func decode(text []byte) (event, error) {
	var e event
	if len(text) < 10 || text[8] != ' ' {
		return e, errors.New("not an event")
	}
	sum, err := strconv.ParseUint(string(text[:8]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(text[9:], table) {
		return e, errors.New("the checksum does not fit")
	}
	return e, json.Unmarshal(text[9:], &e)
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
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	j.buf.Reset()
	fmt.Fprintf(&j.buf, "%08x ", crc32.Checksum(text, table))
	j.buf.Write(text)
	j.buf.WriteByte('\n')
	if _, err := j.file.Write(j.buf.Bytes()); err != nil {
		// Part of the line may be there. The next writer would cut it off too.
		j.broken = fmt.Errorf("journal: %w", errors.Join(err, j.file.Truncate(j.size)))
		return j.broken
	}
	j.size += int64(j.buf.Len())
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
		if err := j.file.Sync(); err != nil {
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
	return errors.Join(j.Sync(), j.file.Close())
}
