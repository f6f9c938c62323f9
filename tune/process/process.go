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
	"sync"
	"time"

	"quicktune/generate/trainer"
	"quicktune/internal/program"
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
	idle []*one
}

var _ trainer.Trainer = (*Trainer)(nil)

// one is a running program.
type one struct {
	*program.Program
	served int // requests
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
func (t *Trainer) take() (*one, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.idle) > 0 {
		p := t.idle[len(t.idle)-1]
		t.idle = t.idle[:len(t.idle)-1]
		if !p.Ended() {
			return p, nil
		}
		p.Out.Close()
	}
	var log io.Writer
	if t.Stderr != "" {
		file, err := os.OpenFile(t.Stderr, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
		if err != nil {
			return nil, err
		}
		log = file
	}
	p, err := program.Start(program.Shell(t.Command), log)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Command, err)
	}
	return &one{Program: p}, nil
}

// serve gives a program a request. answered tells whether it wrote anything.
func (t *Trainer) serve(ctx context.Context, p *one, line []byte, trial string, emit func(trainer.Record) error) (end trainer.End, answered bool, err error) {
	p.served++
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
			p.Stop(t.grace())
		case <-done:
		}
	}()
	answers := &watched{r: bufio.NewReader(p.Out)}
	if _, err := p.In.Write(line); err != nil {
		p.Stop(t.grace()) // most often it has ended; what it said tells why
	}
	end, err = trainer.Decode(answers, trial, emit)
	close(done)
	<-stopped
	if ctx.Err() != nil {
		p.Stop(t.grace())
		p.Out.Close()
		return end, answers.any, ctx.Err()
	}
	if err == nil {
		t.mu.Lock()
		t.idle = append(t.idle, p)
		t.mu.Unlock()
		return end, true, nil
	}
	p.Stop(t.grace())
	p.Out.Close()
	if last := p.Words.Line(); last != "" {
		err = fmt.Errorf("%w (%s)", err, last)
	} else if p.Err() != nil {
		err = fmt.Errorf("%w (%s)", err, p.Err())
	}
	return end, answers.any, err
}

func (t *Trainer) grace() time.Duration {
	if t.Grace == 0 {
		return DefaultGrace
	}
	return t.Grace
}

// Close ends the programs that wait for requests.
func (t *Trainer) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.idle {
		p.In.Close()
		select {
		case <-p.Done():
		case <-time.After(100 * time.Millisecond):
			p.Stop(t.grace())
		}
		p.Out.Close()
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
