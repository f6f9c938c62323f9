package baselines

import (
	"math"
	"math/rand/v2"

	"quicktune/internal/stream"
	"quicktune/search"
)

// worst is the score of a trial that gave no number: below every number.
var worst = math.Inf(-1)

// pool draws candidates uniformly without replacement, by one step of a
// Fisher-Yates shuffle a draw.
type pool struct {
	left []int32
	rng  *rand.Rand
}

func newPool(p search.Problem) pool {
	left := make([]int32, len(p.Candidates))
	for i := range left {
		left[i] = int32(i)
	}
	return pool{left: left, rng: stream.New("baselines/candidates", p.Seed)}
}

// draw takes a candidate out of the pool. It reports false once none is left.
func (p *pool) draw() (candidate int, ok bool) {
	n := len(p.left)
	if n == 0 {
		return 0, false
	}
	i := p.rng.IntN(n)
	c := p.left[i]
	p.left[i] = p.left[n-1]
	p.left = p.left[:n-1]
	return int(c), true
}

// progress says what a trial is doing.
type progress uint8

const (
	running progress = iota // a proposal is outstanding
	paused                  // reached the proposed epoch, could go on
	ended                   // no further epoch
)

// trial is what a method remembers of one training run.
type trial struct {
	candidate int
	epoch     int
	score     float64 // of that epoch; worst if it has none or the trial failed
	progress  progress
}

// ledger keeps the trials of a method by number.
type ledger struct {
	trials      []trial
	outstanding int
}

// start opens a trial of the candidate and proposes its first part.
func (l *ledger) start(candidate, epoch int) search.Proposal {
	l.trials = append(l.trials, trial{candidate: candidate, score: worst, progress: running})
	l.outstanding++
	return search.Proposal{Trial: len(l.trials) - 1, Candidate: candidate, Epoch: epoch}
}

// resume proposes to train a paused trial further.
func (l *ledger) resume(number, epoch int) search.Proposal {
	t := &l.trials[number]
	t.progress = running
	l.outstanding++
	return search.Proposal{Trial: number, Candidate: t.candidate, Epoch: epoch}
}

// tell enters a report and tells whether it finished the trial's proposal.
func (l *ledger) tell(r search.Report) (finished bool) {
	t := &l.trials[r.Trial]
	if r.Epoch > t.epoch {
		t.epoch = r.Epoch
		t.score = r.Score
		if math.IsNaN(r.Score) {
			t.score = worst
		}
	}
	if !r.Proposed && r.End == search.NotEnded {
		return false
	}
	l.outstanding--
	switch r.End {
	case search.NotEnded:
		t.progress = paused
	case search.Completed:
		t.progress = ended
	case search.Failed:
		t.progress = ended
		t.score = worst
	}
	return true
}

// idle is the answer when there is nothing to propose.
func (l *ledger) idle() (search.Proposal, search.Status) {
	if l.outstanding > 0 {
		return search.Proposal{}, search.Wait
	}
	return search.Proposal{}, search.Done
}
