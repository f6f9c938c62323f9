package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"quicktune/benchmark/replay"
	"quicktune/internal/cli"
)

// display shows how far a grid of runs is.
type display interface {
	show(p replay.Progress)
	finish()
}

// bar is a progress bar on a terminal, otherwise a log line now and then.
type bar struct {
	stderr io.Writer
	log    *slog.Logger
	label  string
	shown  *cli.Progress
}

func (b *bar) show(p replay.Progress) {
	if b.shown == nil {
		b.shown = cli.NewProgress(b.stderr, b.log, b.label, int64(p.Total), false)
	}
	b.shown.Set(int64(p.Finished), 0)
}

func (b *bar) finish() {
	if b.shown != nil {
		b.shown.Finish()
	}
}

// watchPause is how often the table of --watch is drawn.
const watchPause = 500 * time.Millisecond

// watch draws a table of the runs that are finished so far, over and over.
type watch struct {
	w       io.Writer
	unit    cli.TimeUnit
	budget  float64 // the largest
	methods []watched
	started time.Time
	drawn   time.Time
	lines   int // of the table on the terminal
	now     func() time.Time
}

// watched is what is known of a method so far.
type watched struct {
	name        string
	runs, total int
	epochs      int
	regrets     map[string][]float64 // at the largest budget, by data set
}

// newDisplay is a live table if that is wanted and stderr is a terminal.
func newDisplay(x *replay.Experiment, wanted bool, unit cli.TimeUnit, label string, stderr io.Writer, log *slog.Logger) display {
	if wanted {
		if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return newWatch(stderr, x, unit)
		}
		log.Info("--watch draws on a terminal; here are lines instead")
	}
	return &bar{stderr: stderr, log: log, label: label}
}

func newWatch(w io.Writer, x *replay.Experiment, unit cli.TimeUnit) *watch {
	v := &watch{w: w, unit: unit, budget: slices.Max(x.Budgets), now: time.Now}
	v.started = v.now()
	for _, m := range x.Methods {
		total := len(x.Tables) * len(x.Seeds)
		if m.Uses.Budget {
			total *= len(x.Budgets)
		}
		v.methods = append(v.methods, watched{name: m.Name, total: total, regrets: make(map[string][]float64)})
	}
	inGrid := func(t *replay.Trace) bool {
		return slices.Contains(x.Seeds, t.Seed) && slices.Contains(x.Budgets, t.Budget) &&
			slices.ContainsFunc(x.Tables, func(tb *replay.Table) bool { return tb.Task.Name == t.Dataset })
	}
	for _, t := range x.Previous {
		if inGrid(t) {
			v.add(t)
		}
	}
	return v
}

func (v *watch) add(t *replay.Trace) {
	i := slices.IndexFunc(v.methods, func(m watched) bool { return m.name == t.Method })
	if i < 0 {
		return
	}
	m := &v.methods[i]
	m.runs++
	m.epochs += t.Epochs
	if t.Budget == v.budget {
		m.regrets[t.Dataset] = append(m.regrets[t.Dataset], t.RegretAt(v.budget))
	}
}

func (v *watch) show(p replay.Progress) {
	if p.Last != nil {
		v.add(p.Last)
	}
	if now := v.now(); p.Finished == p.Total || now.Sub(v.drawn) >= watchPause {
		v.drawn = now
		v.draw(p)
	}
}

// draw replaces the table on the terminal.
func (v *watch) draw(p replay.Progress) {
	var b bytes.Buffer
	if v.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", v.lines) // up, and clear what is below
	}
	text := v.table(p)
	b.WriteString(text)
	v.lines = strings.Count(text, "\n")
	if _, err := v.w.Write(b.Bytes()); err != nil {
		v.lines = 0 // a terminal that went away is no reason to stop
	}
}

func (v *watch) table(p replay.Progress) string {
	var b strings.Builder
	took := v.now().Sub(v.started)
	fmt.Fprintf(&b, "%s of %s, %s", count(p.Finished, "run"), count(p.Total, "run"), took.Round(time.Second))
	if done := p.Finished - p.Taken; done > 0 && p.Finished < p.Total {
		left := time.Duration(float64(took) * float64(p.Total-p.Finished) / float64(done))
		fmt.Fprintf(&b, ", about %s left", left.Round(time.Second))
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "method\truns\tdata sets\tepochs a run\tregret at %s\t\n", cli.FormatBudget(v.budget, v.unit))
	for _, m := range v.methods {
		epochs := "-"
		if m.runs > 0 {
			epochs = fmt.Sprintf("%.1f", float64(m.epochs)/float64(m.runs))
		}
		regret := "-"
		if mean := m.mean(); !math.IsNaN(mean) {
			regret = fmt.Sprintf("%.3f", mean)
		}
		fmt.Fprintf(t, "%s\t%d/%d\t%d\t%s\t%s\t\n", m.name, m.runs, m.total, len(m.regrets), epochs, regret)
	}
	t.Flush() // to memory
	return b.String()
}

// mean averages the seeds within each data set first.
func (m *watched) mean() float64 {
	var means []float64
	for _, values := range m.regrets {
		var sum float64
		for _, v := range values {
			sum += v
		}
		means = append(means, sum/float64(len(values)))
	}
	slices.Sort(means) // a sum that does not depend on the order of the map
	var sum float64
	for _, v := range means {
		sum += v
	}
	return sum / float64(len(means))
}

func (v *watch) finish() {}
