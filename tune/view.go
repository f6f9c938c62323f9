package main

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"quicktune/internal/cli"
	"quicktune/tune/live"
	"quicktune/tune/session"
)

const (
	// logEvery is the time between two lines of a plain log without news.
	logEvery = 30 * time.Second
	// redrawEvery bounds how often a terminal is written to.
	redrawEvery = 150 * time.Millisecond
)

// view shows a search: some lines that are redrawn on a terminal, otherwise a
// plain log with a line for each improvement and one now and then.
type view struct {
	log      *slog.Logger
	terminal *os.File // nil if there is none
	budget   float64
	session  *session.Session
	bar      *cli.Progress
	stderr   io.Writer

	drawn int // lines on the terminal
	last  time.Time
	told  live.Best
}

func newView(stderr io.Writer, log *slog.Logger, budget float64) *view {
	v := &view{log: log, budget: budget, stderr: stderr}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		v.terminal = f
	}
	return v
}

// learning shows how far methods are that learn from other data sets first.
func (v *view) learning(done, total int64) {
	if v.bar == nil {
		v.log.Info("learning from other data sets")
		v.bar = cli.NewProgress(v.stderr, v.log, "learn", total, false)
	}
	v.bar.Set(done, total)
}

// begin is called when a search is ready to run.
func (v *view) begin(x *session.Session) {
	if v.bar != nil {
		v.bar.Finish()
	}
	v.session, v.budget, v.last = x, x.Plan.Settings.Budget, time.Now()
	d := &x.Plan.Data
	if len(d.Classes) > 0 {
		v.log.Info("pictures", "name", d.Name, "train", d.Train, "validation", d.Validation, "test", d.Test, "classes", len(d.Classes))
	}
	skipped := 0
	for _, s := range x.Plan.Skipped {
		skipped += s.Candidates
	}
	v.log.Info("search", "method", x.Plan.Method, "candidates", len(x.Plan.Candidates), "skipped", skipped, "workers", x.Plan.Settings.Workers,
		"budget", cli.FormatSeconds(v.budget), "prepared", cli.FormatSeconds(tenth(x.Plan.Spent)), "out", x.Dir)
}

// watch is called whenever something happened.
func (v *view) watch(s *live.State) {
	if v.terminal == nil {
		v.write(s)
		return
	}
	if time.Since(v.last) < redrawEvery && s.Best == v.told {
		return
	}
	v.last, v.told = time.Now(), s.Best
	v.draw(v.lines(s))
}

// write logs news.
func (v *view) write(s *live.State) {
	news := s.Best != v.told
	if !news && time.Since(v.last) < logEvery {
		return
	}
	v.last, v.told = time.Now(), s.Best
	attrs := []any{"clock", cli.FormatSeconds(tenth(s.Clock)), "left", cli.FormatSeconds(tenth(max(0, v.budget-s.Clock)))}
	if s.Best.Epoch > 0 {
		model, _ := v.session.Describe(s.Trials[s.Best.Trial].Candidate)
		attrs = append(attrs, "best", fmt.Sprintf("%.4f", math.Abs(s.Best.Score)), "model", model, "trial", live.TrialName(s.Best.Trial), "epoch", s.Best.Epoch)
	}
	attrs = append(attrs, "trials", len(s.Trials), "epochs", s.Epochs)
	if news {
		v.log.Info("better", attrs...)
		return
	}
	for _, j := range s.Working {
		model, _ := v.session.Describe(j.Candidate)
		attrs = append(attrs, "training", strings.TrimSpace(model+" epoch "+fmt.Sprint(len(s.Trials[j.Trial].Epochs)+1)))
	}
	v.log.Info("searching", attrs...)
}

// lines are what a terminal shows.
func (v *view) lines(s *live.State) []string {
	used := min(1, s.Clock/v.budget)
	const width = 30
	filled := int(used * width)
	lines := []string{fmt.Sprintf("[%s%s] %s of %s   %d trials, %d epochs", strings.Repeat("=", filled), strings.Repeat(" ", width-filled),
		cli.FormatSeconds(tenth(s.Clock)), cli.FormatSeconds(v.budget), len(s.Trials), s.Epochs)}
	if b := s.Best; b.Epoch > 0 {
		model, config := v.session.Describe(s.Trials[b.Trial].Candidate)
		lines = append(lines, fmt.Sprintf("best %.4f  %s after epoch %d (%s), at %s", math.Abs(b.Score), model, b.Epoch, live.TrialName(b.Trial), cli.FormatSeconds(tenth(b.Clock))), "           "+config)
	}
	for _, j := range s.Working {
		model, _ := v.session.Describe(j.Candidate)
		t := &s.Trials[j.Trial]
		why := "new"
		if n := len(t.Epochs); n > 0 {
			why = fmt.Sprintf("so far %.4f", math.Abs(t.Epochs[n-1].ValAccuracy))
		}
		lines = append(lines, fmt.Sprintf("training   %s (%s) epoch %d, %s", model, live.TrialName(j.Trial), len(t.Epochs)+1, why))
	}
	return lines
}

// draw replaces the lines on the terminal.
func (v *view) draw(lines []string) {
	width, _, err := term.GetSize(int(v.terminal.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	var b strings.Builder
	v.erase(&b)
	for _, l := range lines {
		if r := []rune(l); len(r) >= width {
			l = string(r[:width-2]) + "…"
		}
		b.WriteString(l + "\n")
	}
	v.drawn = len(lines)
	fmt.Fprint(v.terminal, b.String())
}

func (v *view) erase(b *strings.Builder) {
	if v.drawn > 0 {
		fmt.Fprintf(b, "\x1b[%dA\x1b[J", v.drawn)
	}
	v.drawn = 0
}

// end leaves the terminal to the result.
func (v *view) end() {
	if v.terminal != nil {
		var b strings.Builder
		v.erase(&b)
		fmt.Fprint(v.terminal, b.String())
	}
}
