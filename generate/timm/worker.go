// Package timm drives the Python worker that fine-tunes timm models.
//
// A [Worker] is a trainer behind a pipe: it starts the process, gives it one
// request after the other, watches that it goes on, and starts another when it
// has died. What the process must be given is made here too: its source files
// ([Install]), descriptions of data sets ([Describe]), the search space
// ([Space]) and what is known of the models ([Models]).
//
// The package refuses to train, to choose what is trained, and to install
// anything in a Python environment. The protocol is in docs/worker-protocol.md.
package timm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"quicktune/generate/dispatch"
	"quicktune/generate/trainer"
	"quicktune/internal/program"
)

// The defaults of Worker.
const (
	DefaultSilence = 10 * time.Minute
	DefaultGrace   = 15 * time.Second
	DefaultStartup = 5 * time.Minute
	DefaultStarts  = 3
	DefaultPause   = 2 * time.Second
	maxLine        = 1 << 20
)

// Worker is a trainer in a process of its own, which is started when it is
// needed. It trains one trial at a time.
//
// A process that dies, is silent for too long, or writes what is not a message
// of its trial is ended, with all that it started; the error is a
// *[dispatch.TrialError]. If no process can be started, after several attempts,
// it is a *[dispatch.WorkerError].
type Worker struct {
	Command []string // interpreter and arguments
	Env     []string // in addition to that of this process
	// Silence is how long a process may be busy without a message, Grace how long
	// it may take to stop, Startup how long to begin. 0 means the default.
	Silence, Grace, Startup time.Duration
	Starts                  int           // attempts to start a process; 0 means DefaultStarts
	Pause                   time.Duration // before the second one, doubled for each further; 0 means DefaultPause
	// Farewell is how long a process that must end may take to end by itself; 0
	// for no time at all.
	Farewell time.Duration
	// Gone, if not nil, is called when a process has been made to end. It looks
	// after what the process had elsewhere.
	Gone func()
	// Log, if not nil, gets the lines that the process writes for people.
	Log func(line string)

	mu      sync.Mutex
	process *process
}

// process is a running worker.
type process struct {
	*program.Program
	lines chan []byte // closed when the process has ended
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// start begins a process and waits until it is ready.
func (w *Worker) start(ctx context.Context) (*process, error) {
	cmd := exec.Command(w.Command[0], w.Command[1:]...)
	cmd.Env = append(os.Environ(), w.Env...)
	var log io.Writer
	if w.Log != nil {
		log = &program.Lines{Each: w.Log, Most: maxLine}
	}
	running, err := program.Start(cmd, log)
	if err != nil {
		return nil, err
	}
	p := &process{Program: running, lines: make(chan []byte, 64)}
	go p.read()
	limit := time.NewTimer(or(w.Startup, DefaultStartup))
	defer limit.Stop()
	select {
	case line, ok := <-p.lines:
		if !ok {
			return nil, w.autopsy(p, "the worker ended before it was ready")
		}
		m, err := trainer.ParseMessage(line)
		switch {
		case err != nil:
			return nil, w.autopsy(p, err.Error())
		case m.Type == trainer.TypeUnfit:
			w.end(p)
			return nil, errors.New(m.Reason)
		case m.Type != trainer.TypeHello:
			return nil, w.autopsy(p, "the worker did not begin with hello")
		}
		return p, nil
	case <-limit.C:
		return nil, w.autopsy(p, fmt.Sprintf("the worker was not ready after %s", or(w.Startup, DefaultStartup)))
	case <-ctx.Done():
		w.end(p)
		return nil, ctx.Err()
	}
}

// read passes on what the process writes, and notes its end.
func (p *process) read() {
	s := bufio.NewScanner(p.Out)
	s.Buffer(make([]byte, 0, 4096), maxLine)
	for s.Scan() {
		if line := bytes.TrimSpace(s.Bytes()); len(line) > 0 {
			p.lines <- bytes.Clone(line)
		}
	}
	if s.Err() != nil {
		p.lines <- []byte("a line that does not end") // is no message, so the process is ended
	}
	_, _ = io.Copy(io.Discard, p.Out)
	<-p.Done()
	p.Out.Close()
	close(p.lines)
}

// end ends a process with all that it started.
func (w *Worker) end(p *process) {
	go func() {
		for range p.lines { // so that read can finish
		}
	}()
	p.Stop(w.Farewell)
	if w.Gone != nil {
		w.Gone()
	}
}

// autopsy ends a process and tells what is known of it.
func (w *Worker) autopsy(p *process, what string) error {
	how := p.Err() // nil if it still runs
	w.end(p)
	err := errors.New(what)
	if how != nil {
		err = fmt.Errorf("%w: %w", err, how)
	}
	if words := p.Words.Last(); words != "" {
		err = fmt.Errorf("%w: %s", err, words)
	}
	return err
}

// Begin starts the process, if there is none. The first trial does so too.
func (w *Worker) Begin(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.ready(ctx)
	return err
}

// ready returns a process that waits for a request.
func (w *Worker) ready(ctx context.Context) (*process, error) {
	if w.process != nil {
		if !w.process.Ended() {
			return w.process, nil
		}
		w.process = nil // died in between
	}
	for attempt := 1; ; attempt++ {
		p, err := w.start(ctx)
		if err == nil {
			w.process = p
			return p, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if attempt == or(w.Starts, DefaultStarts) {
			return nil, &dispatch.WorkerError{Err: err}
		}
		if w.Log != nil {
			w.Log("the worker could not be started: " + err.Error())
		}
		select {
		case <-time.After(or(w.Pause, DefaultPause) << (attempt - 1)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Train works on a request.
func (w *Worker) Train(ctx context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	request, err := trainer.EncodeRequest(r)
	if err != nil {
		return trainer.End{}, err
	}
	p, err := w.ready(ctx)
	if err != nil {
		return trainer.End{}, err
	}
	broken := func(what string) (trainer.End, error) {
		w.process = nil
		return trainer.End{}, &dispatch.TrialError{Err: w.autopsy(p, what)}
	}
	if _, err := p.In.Write(request); err != nil {
		return broken("the worker takes no request")
	}
	silence := or(w.Silence, DefaultSilence)
	watchdog := time.NewTimer(silence)
	defer watchdog.Stop()
	curve := trainer.Curve{Trial: r.Trial}
	for {
		select {
		case <-ctx.Done():
			w.cancel(p, r.Trial)
			return trainer.End{}, ctx.Err()
		case <-watchdog.C:
			return broken(fmt.Sprintf("the worker was silent for %s", silence))
		case line, ok := <-p.lines:
			if !ok {
				return broken(fmt.Sprintf("the worker died after epoch %d", curve.Epoch))
			}
			watchdog.Reset(silence)
			m, err := trainer.ParseMessage(line)
			if err == nil {
				err = curve.Next(m)
			}
			if err != nil {
				return broken(err.Error())
			}
			switch m.Type {
			case trainer.TypeRecord:
				if err := emit(m.Record); err != nil {
					w.cancel(p, r.Trial)
					return trainer.End{}, err
				}
			case trainer.TypeEnd:
				return m.End, nil
			case trainer.TypeError, trainer.TypeInterrupted:
				return trainer.End{}, errors.New(m.Reason)
			case trainer.TypeHello, trainer.TypeUnfit:
				return broken(fmt.Sprintf("the worker wrote %s in the middle of a trial", m.Type))
			}
		}
	}
}

// cancel stops the work on a trial: with good words, and after a grace period
// without.
func (w *Worker) cancel(p *process, trial string) {
	message, _ := json.Marshal(map[string]string{"type": "cancel", "trial": trial})
	limit := time.NewTimer(or(w.Grace, DefaultGrace))
	defer limit.Stop()
	if _, err := p.In.Write(append(message, '\n')); err == nil {
		for {
			select {
			case line, ok := <-p.lines:
				if !ok {
					w.process = nil
					return
				}
				m, err := trainer.ParseMessage(line)
				if err == nil && m.Trial == trial && (m.Type == trainer.TypeError || m.Type == trainer.TypeEnd) {
					return
				}
				continue
			case <-limit.C:
			}
			break
		}
	}
	w.end(p)
	w.process = nil
}

// Close ends the process, if there is one.
func (w *Worker) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.process
	if p == nil {
		return
	}
	w.process = nil
	_ = p.In.Close() // it leaves when there are no more requests
	limit := time.NewTimer(or(w.Grace, DefaultGrace))
	defer limit.Stop()
	for {
		select {
		case _, ok := <-p.lines:
			if !ok {
				return
			}
		case <-limit.C:
			w.end(p)
			return
		}
	}
}
