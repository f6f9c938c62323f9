package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, ExitOK},
		{errors.New("disk full"), ExitFailed},
		{Inputf("no such method"), ExitUsage},
		{fmt.Errorf("wrapped: %w", Inputf("no such method")), ExitUsage},
		{context.Canceled, ExitInterrupted},
		{Input(fmt.Errorf("import: %w", context.Canceled)), ExitInterrupted},
		{Input(nil), ExitOK},
		{Input(fmt.Errorf("write a part: %w", syscall.ENOSPC)), ExitFailed},
		{Interruptedf("interrupted; %d runs kept", 3), ExitInterrupted},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("ExitCode(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

func TestFlagsWithoutWhatTheyAreForAreRefused(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", ""},
		{"--trainer timm --python x --device cpu", ""},
		{"--trainer other --python x", "--python: only with --trainer timm"},
		{"--python x --device cpu --for 3", "--device, --python: only with --trainer timm"},
		{"--for 3", "--for: only with --probe or --measure"},
		{"--for 3 --probe", ""},
		{"--for 3 --measure", ""},
		{"--for 3 --probe=false", "--for: only with --probe or --measure"},
	} {
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		flags.String("trainer", "embedded", "who trains")
		flags.String("python", "python3", "with --trainer timm: interpreter: one with torch")
		flags.String("device", "auto", "with --trainer timm: auto, cpu or cuda")
		flags.Bool("probe", false, "look")
		flags.Bool("measure", false, "train")
		flags.Int("for", 0, "with --probe or --measure: time")
		if err := flags.Parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		err := Conditions(flags)
		if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && got != c.want {
			t.Errorf("%q: %s, want %q", c.args, got, c.want)
		}
		if c.want != "" && ExitCode(err) != ExitUsage {
			t.Errorf("%q: exit code %d, want that of bad input", c.args, ExitCode(err))
		}
	}
}

func TestWrongArgumentsTellHowACommandIsUsed(t *testing.T) {
	root := &cobra.Command{Use: "benchmark"}
	root.AddCommand(&cobra.Command{Use: "compare A B", Args: Arguments(cobra.ExactArgs(2)), Run: func(*cobra.Command, []string) {}})
	err := Execute(t.Context(), root, []string{"compare", "one"}, &bytes.Buffer{}, &bytes.Buffer{})
	if want := "accepts 2 arg(s), received 1: use benchmark compare A B [flags]"; fmt.Sprint(err) != want || ExitCode(err) != ExitUsage {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	var b bytes.Buffer
	PrintError(&b, "benchmark", errors.New("first\n  second"))
	PrintError(&b, "benchmark", context.Canceled)
	PrintError(&b, "benchmark", fmt.Errorf("replay: %w", Interruptedf("interrupted; %d kept", 3)))
	if got, want := b.String(), "benchmark: first second\nbenchmark: interrupted\nbenchmark: replay: interrupted; 3 kept\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestResultsThatCannotBeWrittenAreNoticed(t *testing.T) {
	full := errors.New("no space left")
	r := &results{to: failing{full}}
	fmt.Fprintln(r, "a table")
	if !errors.Is(r.err, full) {
		t.Errorf("remembered %v, want %v", r.err, full)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestParseBudgets(t *testing.T) {
	for _, c := range []struct {
		list string
		unit TimeUnit
		want []float64
	}{
		{"1h,4h,16h", Seconds, []float64{3600, 14400, 57600}},
		{"16h, 1h,1h", Seconds, []float64{3600, 57600}},
		{"90s,1h30m", Seconds, []float64{90, 5400}},
		{"100,20epochs", Epochs, []float64{20, 100}},
	} {
		got, err := ParseBudgets(c.list, c.unit)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("ParseBudgets(%q, %s) = %v, %v, want %v", c.list, c.unit, got, err, c.want)
		}
	}
	for _, c := range []struct {
		list string
		unit TimeUnit
	}{
		{"", Seconds}, {"1", Seconds}, {"-1h", Seconds}, {"0s", Seconds}, {"1h,,2h", Seconds}, {"soon", Seconds},
		{"1h", Epochs}, {"0", Epochs}, {"-3", Epochs}, {"1.5", Epochs},
	} {
		_, err := ParseBudgets(c.list, c.unit)
		if ExitCode(err) != ExitUsage {
			t.Errorf("ParseBudgets(%q, %s): error %v, want one that exits %d", c.list, c.unit, err, ExitUsage)
		}
	}
}

func TestFormatBudget(t *testing.T) {
	for _, c := range []struct {
		b    float64
		unit TimeUnit
		want string
	}{
		{3600, Seconds, "1h"}, {5400, Seconds, "1h30m"}, {125, Seconds, "2m5s"}, {30, Seconds, "30s"}, {0.25, Seconds, "0.25s"}, {100, Epochs, "100 epochs"},
	} {
		if got := FormatBudget(c.b, c.unit); got != c.want {
			t.Errorf("FormatBudget(%v, %s) = %q, want %q", c.b, c.unit, got, c.want)
		}
	}
}

func TestProgressIsLoggedWhenNotATerminal(t *testing.T) {
	for _, c := range []struct {
		step time.Duration // real time of one of 100 steps
		want int
	}{
		{time.Millisecond, 0},       // too quick to speak of
		{100 * time.Millisecond, 4}, // a line every 2 s, none at the end
		{time.Second, 19},           // a line every 5 %
	} {
		var b bytes.Buffer
		p := NewProgress(&b, slog.New(slog.NewTextHandler(&b, nil)), "replay", 100, false)
		clock := p.started
		p.now = func() time.Time { return clock }
		for i := range int64(101) {
			p.Set(i, 0)
			clock = clock.Add(c.step)
		}
		p.Finish()
		if got := strings.Count(b.String(), "msg=replay"); got != c.want {
			t.Errorf("%d lines for 100 steps of %v, want %d:\n%s", got, c.step, c.want, b.String())
		}
	}
}
