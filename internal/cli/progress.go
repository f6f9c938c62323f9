package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// logStep is the share of the work after which a progress line is logged.
const logStep = 0.1

// Progress shows how far a long piece of work is: a bar on a terminal,
// otherwise a log line for every tenth. It is safe for concurrent use.
type Progress struct {
	mu      sync.Mutex
	bar     *progressbar.ProgressBar
	log     *slog.Logger
	label   string
	total   int64
	done    int64
	logged  float64
	started time.Time
}

// NewProgress starts a display of total steps on w. A nil or non-terminal w
// gets log lines through log.
func NewProgress(w io.Writer, log *slog.Logger, label string, total int64, bytes bool) *Progress {
	p := &Progress{log: log, label: label, total: total, started: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(f),
			progressbar.OptionSetDescription(label),
			progressbar.OptionShowBytes(bytes),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	}
	return p
}

// Set tells that done steps of the total are finished. A total unknown before
// is given with total > 0.
func (p *Progress) Set(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if total > 0 && total != p.total {
		p.total = total
		if p.bar != nil {
			p.bar.ChangeMax64(total)
		}
	}
	p.done = done
	if p.bar != nil {
		_ = p.bar.Set64(done) // a terminal that went away is no reason to stop
		return
	}
	if p.total <= 0 || done >= p.total {
		return
	}
	share := float64(done) / float64(p.total)
	if share < p.logged+logStep {
		return
	}
	p.logged = share
	took := time.Since(p.started)
	left := time.Duration(float64(took) * (1 - share) / share)
	p.log.Info(p.label, "done", fmt.Sprintf("%.0f%%", 100*share),
		"elapsed", took.Round(time.Second), "left", left.Round(time.Second))
}

// Finish removes the bar from the terminal.
func (p *Progress) Finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
