// Package cli holds what every command of the project does the same way: exit
// codes, one-line errors, interrupts, lists of budgets, progress.
//
// It refuses to know any command: it parses no sub-command and prints no
// result.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// The exit codes of every command.
const (
	ExitOK          = 0
	ExitFailed      = 1   // work that failed
	ExitUsage       = 2   // a bad flag or a bad file
	ExitInterrupted = 130 // interrupted; everything finished is kept
)

// InputError marks an error that the user can mend: a bad flag or a bad file.
type InputError struct{ Err error }

// Error returns the message of the wrapped error.
func (e *InputError) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *InputError) Unwrap() error { return e.Err }

// Inputf formats an [InputError]; %w wraps as in fmt.Errorf.
func Inputf(format string, args ...any) error {
	return &InputError{fmt.Errorf(format, args...)}
}

// Input wraps err as an [InputError]. Input(nil) is nil; a cancelled context and
// a device that is full or broken stay what they are, since no other flag or
// file would mend them.
func Input(err error) error {
	for _, other := range []error{context.Canceled, syscall.ENOSPC, syscall.EDQUOT, syscall.EIO} {
		if errors.Is(err, other) {
			return err
		}
	}
	if err == nil {
		return nil
	}
	return &InputError{err}
}

// Interruptedf formats an error that stands for an interrupt and tells what was
// kept.
func Interruptedf(format string, args ...any) error {
	return interruption(fmt.Sprintf(format, args...))
}

type interruption string

func (i interruption) Error() string        { return string(i) }
func (i interruption) Is(target error) bool { return target == context.Canceled }

// ExitCode maps the error of a command to its exit code.
func ExitCode(err error) int {
	var input *InputError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.As(err, &input):
		return ExitUsage
	}
	return ExitFailed
}

// Main runs a command and ends the process with its exit code. The context is
// cancelled by SIGINT and SIGTERM; a second signal ends the process at once.
// An error is printed as one line on standard error, after the command's name.
// Results that cannot be written to standard output are an error too.
func Main(name string, run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop()
	}()
	stdout := &results{to: os.Stdout}
	err := run(ctx, os.Args[1:], stdout, os.Stderr)
	if err == nil {
		err = stdout.err
	}
	if err != nil {
		PrintError(os.Stderr, name, err)
	}
	os.Exit(ExitCode(err))
}

// results writes to standard output and remembers the first error, which most
// callers of fmt.Fprintf do not look at.
type results struct {
	to  io.Writer
	err error
}

func (r *results) Write(p []byte) (int, error) {
	n, err := r.to.Write(p)
	if err != nil && r.err == nil {
		r.err = err
	}
	return n, err
}

// PrintError prints err as one line.
func PrintError(w io.Writer, name string, err error) {
	var told interruption
	if ExitCode(err) == ExitInterrupted && !errors.As(err, &told) {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(w, "%s: %s\n", name, strings.Join(strings.Fields(err.Error()), " "))
}
