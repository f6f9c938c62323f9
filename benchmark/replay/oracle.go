package replay

import (
	"fmt"

	"quicktune/search"
)

// OracleName is the name of the method that [Oracle] makes.
const OracleName = "oracle"

// Oracle returns the clairvoyant: no method but the bound that every method
// with one worker is measured against. It looks into the tables, trains the
// candidate with the best score that can be reached within the budget, to the
// epoch that has it, and nothing else.
//
// It is the only one that sees curves before they are paid for. It belongs to
// these tables and refuses a problem of any other data set.
func Oracle(tables []*Table) search.Method {
	byName := make(map[string]*Table, len(tables))
	for _, t := range tables {
		byName[t.Task.Name] = t
	}
	return search.Method{
		Name:    OracleName,
		Title:   "Oracle (clairvoyant)",
		Source:  "reads the stored curves: a bound, not a method",
		Details: "trains the best candidate that fits the budget, and nothing else",
		Uses:    search.Uses{Fidelity: true, Cost: true, Budget: true, Seedless: true},
		New: func(p search.Problem) (search.Optimizer, error) {
			t := byName[p.Task.Name]
			if t == nil || len(t.Candidates) != len(p.Candidates) {
				return nil, fmt.Errorf("the oracle has no table of data set %q", p.Task.Name)
			}
			o := &oracle{}
			o.proposal.Candidate, o.proposal.Epoch = t.bestWithin(p.Budget)
			return o, nil
		},
	}
}

// bestWithin returns the candidate and the epoch of the highest score that
// budget seconds reach, all if budget is 0; of equal scores the one that is
// reached first. Where nothing can be reached it is the first epoch of the
// first candidate.
func (t *Table) bestWithin(budget float64) (candidate, epoch int) {
	best, when := 0.0, 0.0
	epoch = 1
	found := false
	for c, scores := range t.Scores {
		clock := 0.0
		for e, s := range scores {
			clock += float64(t.Seconds[c][e])
			if budget > 0 && clock > budget {
				break
			}
			v := float64(s)
			if finite(v) && (!found || v > best || v == best && clock < when) {
				candidate, epoch, best, when, found = c, e+1, v, clock, true
			}
		}
	}
	return candidate, epoch
}

// oracle makes one proposal.
type oracle struct {
	proposal search.Proposal
	proposed bool
}

func (o *oracle) Ask() (search.Proposal, search.Status) {
	if o.proposed {
		return search.Proposal{}, search.Done
	}
	o.proposed = true
	return o.proposal, search.Ready
}

func (o *oracle) Tell(search.Report) {}
