package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"

	"quicktune/generate/trainer"
	"quicktune/internal/filelock"
	"quicktune/metadataset"
	"quicktune/search"
)

// The journal has one event a line: the CRC-32C of its text in eight hexadecimal
// digits, a space and the text, a JSON object. A line is written with a single
// call, so a process that is killed leaves at most one torn line at the end,
// which is cut off. A bad line before the end is an error.

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

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// log is a journal that is written to.
type log struct {
	path   string
	file   *os.File
	broken error // after a failed write nothing more is written
}

// openLog opens the journal of the named run, or begins it, and returns its
// events but the first.
func openLog(path, run string) (_ []event, _ *log, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	err = filelock.Lock(f)
	if errors.Is(err, filelock.ErrLocked) {
		return nil, nil, fmt.Errorf("%s: another process works on this run: wait until it is done, or stop it", path)
	}
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, err
	}
	events, good, err := parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if good < len(data) {
		if err := f.Truncate(int64(good)); err != nil {
			return nil, nil, err
		}
	}
	l := &log{path: path, file: f}
	if len(events) == 0 {
		return nil, l, l.append(event{Kind: kindBegin, Run: run})
	}
	if events[0].Kind != kindBegin || events[0].Run != run {
		return nil, nil, fmt.Errorf("%s belongs to another run", path)
	}
	return events[1:], l, nil
}

// parse reads whole lines and returns how many bytes of them are good.
func parse(data []byte) (events []event, good int, err error) {
	for n := 1; good < len(data); n++ {
		end := bytes.IndexByte(data[good:], '\n')
		if end < 0 {
			return events, good, nil
		}
		text := data[good : good+end]
		e, ok := parseLine(text)
		if !ok {
			if good+end+1 == len(data) {
				return events, good, nil
			}
			return nil, 0, fmt.Errorf("line %d is damaged", n)
		}
		events = append(events, e)
		good += end + 1
	}
	return events, good, nil
}

func parseLine(text []byte) (e event, ok bool) {
	const digits = 8
	if len(text) < digits+1 || text[digits] != ' ' {
		return e, false
	}
	sum, err := strconv.ParseUint(string(text[:digits]), 16, 32)
	body := text[digits+1:]
	if err != nil || uint32(sum) != crc32.Checksum(body, castagnoli) {
		return e, false
	}
	return e, json.Unmarshal(body, &e) == nil
}

func (l *log) append(e event) error {
	if l.broken != nil {
		return l.broken
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	line := fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(text, castagnoli), text)
	if _, err := l.file.Write(line); err != nil {
		l.broken = err
	}
	return l.broken
}

func (l *log) close() error { return errors.Join(l.file.Sync(), l.file.Close()) }
