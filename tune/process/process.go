// Package process trains with another program, in whatever language it is
// written: the program reads requests, a line of JSON each, on standard input and
// answers on standard output as package trainer defines it. docs/exec.md is the
// protocol with an example.
//
// A program that stays after the end of a request gets the next one; one that
// has ended is started again. What it writes to standard error is kept in a file,
// and its last line is told where a trial fails without a reason.
//
// The package refuses to look into checkpoints and to read more than the
// protocol.
package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"quicktune/generate/trainer"
)

// DefaultGrace is how long a program may take to end itself.
const DefaultGrace = 3 * time.Second

// Trainer runs one program for each request that is worked on at a time.
type Trainer struct {
	// Command is run by the system's shell.
	Command string
	// Stderr is the file that standard error is appended to; "" for none.
	Stderr string
	// Grace is the time between the request to end and the kill of the whole
	// process group; 0 means DefaultGrace.
	Grace time.Duration

	mu   sync.Mutex
	idle []*program
}

var _ trainer.Trainer = (*Trainer)(nil)

// program is a running program.
type program struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *os.File
	tail   *tail
	served int // requests
	ended  chan struct{}
	err    error // of the program, once ended is closed
}

// Train implements [trainer.Trainer].
func (t *Trainer) Train(ctx context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
	line, err := trainer.EncodeRequest(r)
	if err != nil {
		return trainer.End{}, err
	}
	if r.Checkpoint != "" {
		if err := os.MkdirAll(r.Checkpoint, 0o777); err != nil {
			return trainer.End{}, err
		}
	}
	for {
		p, err := t.take()
		if err != nil {
			return trainer.End{}, err
		}
		again := p.served > 0
		end, answered, err := t.serve(ctx, p, line, r.Trial, emit)
		// A program that served a request before and has ended since.
		if err != nil && !answered && again && ctx.Err() == nil {
			continue
		}
		return end, err
	}
}

// take returns a program that waits for a request.
func (t *Trainer) take() (*program, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.idle) > 0 {
		p := t.idle[len(t.idle)-1]
		t.idle = t.idle[:len(t.idle)-1]
		select {
		case <-p.ended:
			p.out.Close()
		default:
			return p, nil
		}
	}
	return t.begin()
}

func (t *Trainer) begin() (*program, error) {
	p := &program{cmd: shell(t.Command), tail: &tail{}, ended: make(chan struct{})}
	group(p.cmd)
	var stderr io.Writer = p.tail
	var file *os.File
	if t.Stderr != "" {
		var err error
		if file, err = os.OpenFile(t.Stderr, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666); err != nil {
			return nil, err
		}
		stderr = io.MultiWriter(file, p.tail)
	}
	p.cmd.Stderr = stderr
	p.cmd.WaitDelay = time.Second // for descendants that keep standard error open
	read, write, err := os.Pipe()
	if err == nil {
		p.out, p.cmd.Stdout = read, write
		if p.in, err = p.cmd.StdinPipe(); err == nil {
			err = p.cmd.Start()
		}
		write.Close()
	}
	if err != nil {
		if read != nil {
			read.Close()
		}
		if file != nil {
			file.Close()
		}
		return nil, fmt.Errorf("%s: %w", t.Command, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		if file != nil {
			file.Close()
		}
		close(p.ended)
	}()
	return p, nil
}

// serve gives a program a request. answered tells whether it wrote anything.
func (t *Trainer) serve(ctx context.Context, p *program, line []byte, trial string, emit func(trainer.Record) error) (end trainer.End, answered bool, err error) {
	p.served++
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
			t.stop(p)
		case <-done:
		}
	}()
	answers := &watched{r: bufio.NewReader(p.out)}
	if _, err := p.in.Write(line); err != nil {
		t.stop(p) // most often it has ended; what it said tells why
	}
	end, err = trainer.Decode(answers, trial, emit)
	close(done)
	<-stopped
	if ctx.Err() != nil {
		t.stop(p)
		p.out.Close()
		return end, answers.any, ctx.Err()
	}
	if err == nil {
		t.mu.Lock()
		t.idle = append(t.idle, p)
		t.mu.Unlock()
		return end, true, nil
	}
	t.stop(p)
	p.out.Close()
	if last := p.tail.line(); last != "" {
		err = fmt.Errorf("%w (%s)", err, last)
	} else if p.err != nil {
		err = fmt.Errorf("%w (%s)", err, p.err)
	}
	return end, answers.any, err
}

// stop ends a program, by force if it takes too long.
func (t *Trainer) stop(p *program) {
	p.in.Close()
	grace := t.Grace
	if grace == 0 {
		grace = DefaultGrace
	}
	terminate(p.cmd)
	select {
	case <-p.ended:
	case <-time.After(grace):
	}
	kill(p.cmd) // what is left of the group
	<-p.ended
}

// Close ends the programs that wait for requests.
func (t *Trainer) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.idle {
		p.in.Close()
		select {
		case <-p.ended:
		case <-time.After(100 * time.Millisecond):
			t.stop(p)
		}
		p.out.Close()
	}
	t.idle = nil
}

// watched notes whether anything was read.
type watched struct {
	r   io.Reader
	any bool
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	w.any = w.any || n > 0
	if errors.Is(err, os.ErrClosed) {
		err = io.EOF
	}
	return n, err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 4096

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if len(t.text) > tailBytes {
		t.text = append(t.text[:0], t.text[len(t.text)-tailBytes:]...)
	}
	return len(b), nil
}

// line is the last line that is not empty.
func (t *tail) line() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
