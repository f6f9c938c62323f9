// Package program runs other programs that are spoken with through pipes: it
// starts them as the head of a process group, keeps the end of what they write
// for people, and ends them with all that they started.
//
// The package refuses to know what is said.
package program

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Program is a running program.
type Program struct {
	In  io.WriteCloser // its standard input
	Out *os.File       // what it writes to standard output
	// Words is what it writes to standard error.
	Words *Words

	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start runs a command, whose standard streams must not be set. Its standard
// error goes to log too, if that is not nil; a log that can be closed is closed
// when the program has ended.
func Start(c *exec.Cmd, log io.Writer) (*Program, error) {
	p := &Program{cmd: c, Words: &Words{}, done: make(chan struct{})}
	closeLog := func() error { return nil }
	if f, ok := log.(io.Closer); ok {
		closeLog = f.Close
	}
	group(c)
	c.Stderr = p.Words
	if log != nil {
		c.Stderr = io.MultiWriter(log, p.Words)
	}
	c.WaitDelay = time.Second // for descendants that keep standard error open
	read, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, closeLog())
	}
	p.Out, c.Stdout = read, write
	if p.In, err = c.StdinPipe(); err == nil {
		err = c.Start()
	}
	write.Close()
	if err != nil {
		read.Close()
		return nil, errors.Join(err, closeLog())
	}
	go func() {
		p.err = c.Wait()
		if err := closeLog(); p.err == nil {
			p.err = err
		}
		close(p.done)
	}()
	return p, nil
}

// Done is closed when the program has ended. What it started may go on.
func (p *Program) Done() <-chan struct{} { return p.done }

// Ended reports whether the program has ended.
func (p *Program) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop ends the program with all that it started: it gets no more input and is
// asked to end, and after the grace period it is made to. Stop returns when it
// has ended; Out can still be read.
func (p *Program) Stop(grace time.Duration) {
	p.In.Close()
	terminate(p.cmd)
	select {
	case <-p.done:
	case <-time.After(grace):
	}
	kill(p.cmd) // what is left of the group
	<-p.done
}

// Err is how the program ended, nil before or if it went well.
func (p *Program) Err() error {
	if !p.Ended() {
		return nil
	}
	return p.err
}

const (
	keptWords = 2000 // bytes
	lastWords = 500
)

// Words keeps the end of what is written to it.
type Words struct {
	mu   sync.Mutex
	text []byte
}

// Write implements [io.Writer].
func (w *Words) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, b...)
	if n := len(w.text) - keptWords; n > 0 {
		w.text = append(w.text[:0], w.text[n:]...)
	}
	return len(b), nil
}

// Last is the end of the text on one line.
func (w *Words) Last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(w.text), "?")), " ")
	if len(text) > lastWords {
		text = strings.ToValidUTF8(text[len(text)-lastWords:], "")
	}
	return text
}

// Line is the last line that is not empty.
func (w *Words) Line() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := strings.TrimSpace(string(w.text))
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}

// Lines is a writer that hands on whole lines. One that does not end within most
// bytes is dropped.
type Lines struct {
	Each func(line string)
	Most int

	rest []byte
}

// Write implements [io.Writer].
func (l *Lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			break
		}
		l.Each(string(line))
		l.rest = append(l.rest[:0], rest...)
	}
	if len(l.rest) > l.Most {
		l.rest = l.rest[:0]
	}
	return len(b), nil
}
