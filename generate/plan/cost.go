package plan

import "math"

// Cost estimates what a plan takes.
type Cost struct {
	Trials int
	Epochs int // at most
	// Seconds is the time of all trials together, one after the other.
	Seconds float64
	// Capped is the number of trials that the curve cap is likely to cut.
	Capped int
	// Models and Datasets split the seconds up.
	Models, Datasets map[string]float64
}

// Estimate adds up what the trials of the plan take, if perEpoch seconds is what
// an epoch of a trial takes. done is the number of epochs that a trial has
// already and whether it has ended; nil means that none has begun.
func (p *Plan) Estimate(perEpoch func(Trial) float64, done func(id string) (epochs int, ended bool)) Cost {
	c := Cost{Models: make(map[string]float64), Datasets: make(map[string]float64)}
	for _, t := range p.Trials {
		from := 0
		if done != nil {
			epochs, ended := done(t.ID)
			if ended {
				continue
			}
			from = epochs
		}
		each := perEpoch(t)
		n := p.Epochs
		if fit := p.EpochsWithin(each); fit < n {
			n = fit
			c.Capped++
		}
		n = max(0, n-from)
		seconds := float64(n) * each
		c.Trials++
		c.Epochs += n
		c.Seconds += seconds
		c.Models[t.Model] += seconds
		c.Datasets[t.Dataset] += seconds
	}
	return c
}

// EpochsWithin returns how many epochs of the given length are recorded before
// the curve cap: those that end before it, at least one, at most all.
func (h *Header) EpochsWithin(seconds float64) int {
	if h.CurveCap == 0 || seconds <= 0 {
		return h.Epochs
	}
	return min(h.Epochs, max(1, int(math.Ceil(h.CurveCap/seconds))-1))
}
