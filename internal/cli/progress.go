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

// A progress line is logged when one part in logLines more of the work is done
// and logPause has passed, so that work of seconds logs nothing.
const (
	logLines = 20
	logPause = 2 * time.Second
)

// Progress shows how far a long piece of work is: a bar on a terminal,
// otherwise a log line every few percent. It is safe for concurrent use.
type Progress struct {
	mu      sync.Mutex
	bar     *progressbar.ProgressBar
	log     *slog.Logger
	label   string
	total   int64
	done    int64
	now     func() time.Time
	started time.Time
	logged  int64     // steps done at the last line
	last    time.Time // when that was
}

// NewProgress starts a display of total steps on w. A nil or non-terminal w
// gets log lines through log.
func NewProgress(w io.Writer, log *slog.Logger, label string, total int64, bytes bool) *Progress {
	p := &Progress{log: log, label: label, total: total, now: time.Now}
	p.started = p.now()
	p.last = p.started
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
	now := p.now()
	if (done-p.logged)*logLines < p.total || now.Sub(p.last) < logPause {
		return
	}
	p.logged, p.last = done, now
	share := float64(done) / float64(p.total)
	took := now.Sub(p.started)
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
