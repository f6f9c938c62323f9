package baselines

import (
	"slices"

	"quicktune/search"
)

// learningCurve is what is known of one candidate that is trained in parts, in
// one trial.
type learningCurve struct {
	scores []float64 // by epoch; NaN where one gave no number
	trial  int       // -1 before the first proposal
	busy   bool      // a proposal is outstanding
	over   bool      // there is no further epoch
}

// curveBook keeps the curves of all candidates.
type curveBook struct {
	curves      []learningCurve
	maxEpochs   int
	trials      int
	outstanding int
	best        float64 // score seen so far; worst before the first
}

func newCurveBook(p search.Problem) curveBook {
	b := curveBook{curves: make([]learningCurve, len(p.Candidates)), maxEpochs: p.MaxEpochs, best: worst}
	for c := range b.curves {
		b.curves[c].trial = -1
	}
	return b
}

// propose proposes to train a candidate up to an epoch.
func (b *curveBook) propose(candidate, epoch int) search.Proposal {
	k := &b.curves[candidate]
	if k.trial < 0 {
		k.trial = b.trials
		b.trials++
	}
	k.busy = true
	b.outstanding++
	return search.Proposal{Trial: k.trial, Candidate: candidate, Epoch: epoch}
}

// tell enters a report. It tells whether that held a score, and whether it
// finished the trial's proposal.
func (b *curveBook) tell(r search.Report) (scored, finished bool) {
	k := &b.curves[r.Candidate]
	if r.Epoch > len(k.scores) {
		k.scores = append(k.scores, r.Score)
		scored = finite(r.Score)
		if scored {
			b.best = max(b.best, r.Score)
		}
	}
	if finished = r.Proposed || r.End != search.NotEnded; finished {
		k.busy = false
		b.outstanding--
	}
	if r.End != search.NotEnded {
		k.over = true
	}
	return scored, finished
}

// open appends the candidates that can be trained further and are not being
// trained, in ascending order.
func (b *curveBook) open(dst []int) []int {
	for c := range b.curves {
		if k := &b.curves[c]; !k.busy && !k.over && len(k.scores) < b.maxEpochs {
			dst = append(dst, c)
		}
	}
	return dst
}

// untried is open for candidates without a trial.
func (b *curveBook) untried(dst []int) []int {
	for c := range b.curves {
		if b.curves[c].trial < 0 {
			dst = append(dst, c)
		}
	}
	return dst
}

// idle is the answer when there is nothing to propose.
func (b *curveBook) idle() (search.Proposal, search.Status) {
	if b.outstanding > 0 {
		return search.Proposal{}, search.Wait
	}
	return search.Proposal{}, search.Done
}

// scoreScale maps scores to numbers of about [0, 1], as methods that were made
// for accuracies expect them. Bounded scores stay as they are. Others are mapped
// so that the best is 1 and the score twice as far from it as the median is 0,
// or the worst score where that is nearer; what is worse is 0.
type scoreScale struct{ lo, hi float64 }

// newScoreScale fits the scale to finite scores, which it reorders.
func newScoreScale(m search.Metric, scores []float64) scoreScale {
	if m.Bounded || len(scores) == 0 {
		return scoreScale{0, 1}
	}
	slices.Sort(scores)
	s := scoreScale{lo: scores[0], hi: scores[len(scores)-1]}
	s.lo = max(s.lo, s.hi-2*(s.hi-scores[len(scores)/2]))
	if !(s.hi-s.lo > 0) || !finite(s.hi-s.lo) {
		s.lo = s.hi - 1
	}
	return s
}

func (s scoreScale) apply(score float64) float64 {
	if s.lo == 0 && s.hi == 1 {
		return score
	}
	return max(score-s.lo, 0) / (s.hi - s.lo)
}
