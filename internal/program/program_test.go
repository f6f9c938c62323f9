//go:build unix

package program

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func start(t *testing.T, command string) *Program {
	t.Helper()
	p, err := Start(Shell(command), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(0) })
	return p
}

func TestAProgramIsSpokenWithInLines(t *testing.T) {
	p := start(t, `while read -r x; do echo "<$x>"; done; echo left >&2`)
	out := bufio.NewReader(p.Out)
	for _, word := range []string{"one", "two"} {
		fmt.Fprintln(p.In, word)
		if line, err := out.ReadString('\n'); err != nil || line != "<"+word+">\n" {
			t.Fatalf("%q, %v", line, err)
		}
	}
	if p.Ended() {
		t.Error("it has ended")
	}
	p.In.Close()
	<-p.Done()
	if p.Err() != nil || p.Words.Line() != "left" {
		t.Errorf("%v, %q", p.Err(), p.Words.Line())
	}
}

func TestAProgramThatFailsTellsHow(t *testing.T) {
	p := start(t, "echo one >&2; echo '  two  ' >&2; exit 3")
	<-p.Done()
	var exit *exec.ExitError
	if !errors.As(p.Err(), &exit) || exit.ExitCode() != 3 || p.Words.Line() != "two" || p.Words.Last() != "one two" {
		t.Errorf("%v, %q, %q", p.Err(), p.Words.Line(), p.Words.Last())
	}
	if _, err := Start(exec.Command("/nowhere/program"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestAStoppedProgramMayTidyUpWithinItsGrace(t *testing.T) {
	for _, c := range []struct {
		command string
		grace   time.Duration
		tidied  bool
	}{
		{`trap 'touch FILE; exit 0' TERM; echo ready; while :; do sleep 0.05; done`, 20 * time.Second, true},
		{`trap '' TERM; echo ready; while :; do sleep 0.05; done; touch FILE`, 50 * time.Millisecond, false},
	} {
		file := filepath.Join(t.TempDir(), "tidied")
		p := start(t, strings.ReplaceAll(c.command, "FILE", file))
		if _, err := bufio.NewReader(p.Out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		p.Stop(c.grace)
		if _, err := os.Stat(file); (err == nil) != c.tidied || !p.Ended() {
			t.Errorf("%s: %v", c.command, err)
		}
	}
}

func TestTheEndOfWhatAProgramSaysIsKept(t *testing.T) {
	var w Words
	for i := range 10_000 {
		fmt.Fprintf(&w, "line %d \xff\n", i)
	}
	if last := w.Last(); len(last) > lastWords || !strings.HasSuffix(last, "line 9998 ? line 9999 ?") || strings.Contains(last, "\n") {
		t.Errorf("%q", last)
	}
	if len(w.text) > keptWords {
		t.Errorf("%d bytes are kept", len(w.text))
	}
}

type logFile struct {
	bytes.Buffer
	closed bool
}

func (l *logFile) Close() error { l.closed = true; return nil }

func TestALogGetsWholeLinesAndIsClosed(t *testing.T) {
	log := &logFile{}
	p, err := Start(Shell("printf 'a\\nb' >&2"), log)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if log.String() != "a\nb" || !log.closed {
		t.Errorf("%q, closed %v", log, log.closed)
	}
	var got []string
	lines := &Lines{Each: func(l string) { got = append(got, l) }, Most: 5}
	for _, part := range []string{"o", "ne\ntw", "o\n", "far too long", " a line\nthree\n"} {
		fmt.Fprint(lines, part)
	}
	if want := []string{"one", "two", " a line", "three"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
