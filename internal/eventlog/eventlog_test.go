package eventlog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"quicktune/internal/filelock"
)

type event struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// filled writes a few events and returns the file's path and content.
func filled(t testing.TB) (path string, data []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "log")
	l, texts, err := Open(path)
	must(t, err)
	if len(texts) != 0 {
		t.Fatalf("a new file has %d events", len(texts))
	}
	for n, text := range []string{"begin", "", "two\nlines", "naïve 犬"} {
		must(t, l.Append(event{n, text}))
	}
	must(t, l.Close())
	data, err = os.ReadFile(path)
	must(t, err)
	return path, data
}

func lines(texts [][]byte) []string {
	out := []string{}
	for _, text := range texts {
		out = append(out, string(text))
	}
	return out
}

func TestEventsAreReadAsTheyWereWritten(t *testing.T) {
	_, data := filled(t)
	texts, good, err := Parse(data)
	must(t, err)
	want := []string{`{"n":0,"text":"begin"}`, `{"n":1,"text":""}`, `{"n":2,"text":"two\nlines"}`, `{"n":3,"text":"naïve 犬"}`}
	if got := lines(texts); !reflect.DeepEqual(got, want) || good != len(data) {
		t.Errorf("%d of %d bytes give %q, want %q", good, len(data), got, want)
	}
	// The checksum of "123456789" in the literature on CRC-32C.
	if _, err := check([]byte("e3069283 123456789")); err != nil {
		t.Error(err)
	}
}

// A process that is killed leaves a prefix of the file. Whatever the prefix, the
// whole lines count, and the next event is written behind them.
func TestEveryTornTailIsCutOffByTheNextEvent(t *testing.T) {
	_, data := filled(t)
	all, _, err := Parse(data)
	must(t, err)
	for cut := range len(data) {
		path := filepath.Join(t.TempDir(), "log")
		must(t, os.WriteFile(path, data[:cut], 0o666))
		l, texts, err := Open(path)
		must(t, err)
		whole := bytes.Count(data[:cut], []byte("\n"))
		if !reflect.DeepEqual(lines(texts), lines(all[:whole])) {
			t.Fatalf("cut at %d: %q", cut, lines(texts))
		}
		if now, _ := os.ReadFile(path); !bytes.Equal(now, data[:cut]) {
			t.Fatalf("cut at %d: the file was changed without an event", cut)
		}
		must(t, l.Append(event{9, "next"}))
		must(t, l.Close())
		now, err := os.ReadFile(path)
		must(t, err)
		texts, good, err := Parse(now)
		must(t, err)
		if good != len(now) || len(texts) != whole+1 || string(texts[whole]) != `{"n":9,"text":"next"}` {
			t.Fatalf("cut at %d: then the file is %q", cut, now)
		}
	}
}

func TestDamageBeforeTheEndIsToldByLine(t *testing.T) {
	_, data := filled(t)
	split := func() [][]byte { return bytes.SplitAfter(bytes.Clone(data), []byte("\n")) }
	flipped, joined, foreign := split(), split(), split()
	flipped[1][15] ^= 1
	joined[1] = bytes.TrimSpace(joined[1])
	foreign[2] = append([]byte("hello\n"), foreign[2]...)
	for _, c := range []struct {
		name  string
		lines [][]byte
		want  string
	}{
		{"a flipped bit", flipped, "line 2: the checksum does not fit; lines before it are good: to go on from them, keep the first 32 bytes"},
		{"no line feed", joined, "line 2: the checksum"},
		{"text in between", foreign, "line 3: not an event"},
	} {
		path := filepath.Join(t.TempDir(), "log")
		bad := bytes.Join(c.lines, nil)
		must(t, os.WriteFile(path, bad, 0o666))
		if _, _, err := Open(path); err == nil || !strings.HasPrefix(err.Error(), path+": "+c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if now, _ := os.ReadFile(path); !bytes.Equal(now, bad) {
			t.Errorf("%s: the file was changed", c.name)
		}
	}
}

func TestAFileIsWrittenByOneProcess(t *testing.T) {
	path, _ := filled(t)
	l, _, err := Open(path)
	must(t, err)
	if _, _, err := Open(path); !errors.Is(err, filelock.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	must(t, l.Close())
}

// After a failed write the file is as before it, and nothing more is written.
func TestAFailedWriteLeavesAGoodFile(t *testing.T) {
	path, data := filled(t)
	l, _, err := Open(path)
	must(t, err)
	good := l.file
	l.file, err = os.Open(path) // not for writing
	must(t, err)
	failed := l.Append(event{5, "lost"})
	if failed == nil {
		t.Fatal("no error")
	}
	must(t, l.file.Close())
	l.file = good
	if err := l.Append(event{6, "refused"}); err == nil || err.Error() != failed.Error() {
		t.Errorf("a write after a failed one gives %v, want %v", err, failed)
	}
	must(t, l.Close())
	if now, _ := os.ReadFile(path); !bytes.Equal(now, data) {
		t.Errorf("the file is now %q", now)
	}
}

func FuzzParse(f *testing.F) {
	_, data := filled(f)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		texts, good, err := Parse(data)
		if err != nil {
			return
		}
		again, all, err := Parse(data[:good])
		if err != nil || all != good || !reflect.DeepEqual(again, texts) {
			t.Errorf("%d good bytes of %d are read as %d events, then as %d of %d bytes: %v", good, len(data), len(texts), len(again), all, err)
		}
	})
}
