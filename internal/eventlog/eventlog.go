// Package eventlog keeps events in a file that only grows.
//
// Each line is one event: the CRC-32C of its text in eight hexadecimal digits, a
// space and the text, a JSON object. A line is written with a single call, so a
// process that is killed leaves at most one torn line at the end, which the next
// writer cuts off. A bad line before the end was not left by a kill, and is an
// error.
//
// What was written survives the death of the process at once, and that of the
// machine after Sync. The package refuses to know what events mean, and to write
// a file that another process writes.
package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"

	"quicktune/internal/filelock"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// digits are those of a checksum.
const digits = 8

// Log is a file of events that is written to. Append must not be called by
// several goroutines at once.
type Log struct {
	file   *os.File
	size   int64 // of the good lines
	torn   bool  // there is more in the file
	broken error // after a failed write nothing more is written
	buf    bytes.Buffer
}

// Open opens the file, or makes an empty one, and returns the texts of its
// events. A file that another process has open gives [filelock.ErrLocked]. The
// file is not changed before the first Append.
func Open(path string) (_ *Log, texts [][]byte, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if err := filelock.Lock(f); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, err
	}
	texts, good, err := Parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Log{file: f, size: int64(good), torn: good < len(data)}, texts, nil
}

// Parse returns the texts of the events up to a torn line at the end, which lie
// in data, and how many bytes are good.
func Parse(data []byte) (texts [][]byte, good int, err error) {
	rest := data
	for len(rest) > 0 {
		line, after, complete := bytes.Cut(rest, []byte("\n"))
		text, err := check(line)
		if !complete || err != nil {
			if holdsEvent(after) {
				return nil, 0, fmt.Errorf("line %d: %w; lines before it are good: to go on from them, keep the first %d bytes", len(texts)+1, err, good)
			}
			return texts, good, nil
		}
		texts = append(texts, text)
		good += len(line) + 1
		rest = after
	}
	return texts, good, nil
}

func holdsEvent(data []byte) bool {
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		if _, err := check(line); err == nil {
			return true
		}
	}
	return false
}

// check returns the text of a line.
func check(line []byte) ([]byte, error) {
	if len(line) < digits+2 || line[digits] != ' ' {
		return nil, errors.New("not an event")
	}
	text := line[digits+1:]
	sum, err := strconv.ParseUint(string(line[:digits]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(text, castagnoli) {
		return nil, errors.New("the checksum does not fit")
	}
	return text, nil
}

// Append writes one event, which must be a JSON object. Once it has failed, it
// fails with the same error, and the file holds the events before.
func (l *Log) Append(event any) error {
	if l.broken != nil {
		return l.broken
	}
	text, err := json.Marshal(event)
	if err != nil {
		return err
	}
	if l.torn {
		if l.broken = l.file.Truncate(l.size); l.broken != nil {
			return l.broken
		}
		l.torn = false
	}
	l.buf.Reset()
	fmt.Fprintf(&l.buf, "%0*x ", digits, crc32.Checksum(text, castagnoli))
	l.buf.Write(text)
	l.buf.WriteByte('\n')
	if _, err := l.file.Write(l.buf.Bytes()); err != nil {
		// Part of the line may be there. The next writer would cut it off too.
		l.broken = errors.Join(err, l.file.Truncate(l.size))
		return l.broken
	}
	l.size += int64(l.buf.Len())
	return nil
}

// Sync brings what was written to the disk. It may be called at any time.
func (l *Log) Sync() error { return l.file.Sync() }

// Close brings everything to the disk and lets go of the file.
func (l *Log) Close() error { return errors.Join(l.file.Sync(), l.file.Close()) }
