// Package searchtest holds what every optimiser promises: it drives one through
// small tables of learning curves and reports each promise that is broken.
//
// It judges only the contract of package search. It refuses to judge how good
// an optimiser is, how fast it is, or whether it follows its paper.
//
// What is held, on every table, with 1 and with 8 workers:
//
//   - A proposal names a candidate of the pool and an epoch that is beyond the
//     last one told and not beyond Problem.MaxEpochs. New trials are numbered
//     from 0 upwards; a trial keeps its candidate.
//   - No trial that ended or is outstanding is proposed, and no candidate gets
//     a second trial unless the method says that it repeats.
//   - Wait is answered only while something is outstanding, and again if asked
//     again. Done is final. Something is proposed before Done if there is a
//     candidate. There is progress: epochs are finished, or it ends.
//   - NaN and infinite scores, failures, curves that end before the proposed
//     epoch, and reports interleaved between trials are survived.
//   - The same problem and reports give the same proposals, whatever GOMAXPROCS
//     is; other seeds give others.
//   - Only what was told counts: epochs that were never trained, and seconds
//     and budgets for methods that claim not to look at them, change nothing.
//     A method that claims to know no fidelity trains only whole curves.
//   - The Problem is left as it was.
package searchtest

import (
	"fmt"
	"runtime"

	"quicktune/search"
)

// T is the part of testing.TB that Run needs.
type T interface {
	Helper()
	Errorf(format string, args ...any)
}

// Options adapt the suite to a method. The zero value runs everything.
type Options struct {
	// Tables to run on; nil means [Tables].
	Tables []Table
	// Workers are the numbers of simulated workers; nil means 1 and 8.
	Workers []int
	// Seeds are the seeds tried on each table; nil means 1 and 2.
	Seeds []uint64
	// Proposals bounds each run, for methods that think long; 0 means until
	// Done. Methods that repeat candidates are always bounded. A bounded run
	// does not reach Done unless the table is small.
	Proposals int
	// AnySeed waives the check that seeds give different proposals, for tables
	// on which a method that draws random numbers has nothing to draw for.
	AnySeed bool

	// observe is shown each table before an optimiser is made for it.
	observe func(Table)
}

// Run drives optimisers of the method and reports every promise that is broken
// to t, at most one for each check, table, number of workers and seed.
func Run(t T, m search.Method, o Options) {
	t.Helper()
	if o.Tables == nil {
		o.Tables = Tables()
	}
	if o.Workers == nil {
		o.Workers = []int{1, 8}
	}
	if o.Seeds == nil {
		o.Seeds = []uint64{1, 2}
	}
	for _, table := range o.Tables {
		if err := table.validate(); err != nil {
			t.Errorf("searchtest: %v", err)
			return
		}
	}
	for _, table := range o.Tables {
		for _, workers := range o.Workers {
			for _, seed := range o.Seeds {
				s := setting{method: m, table: table, workers: workers, seed: seed, options: o}
				s.check(t)
			}
		}
	}
	if !o.AnySeed && !m.Uses.Seedless {
		checkSeeds(t, m, o)
	}
}

// setting is one combination of table, workers and seed.
type setting struct {
	method  search.Method
	table   Table
	workers int
	seed    uint64
	options Options

	other   uint64  // added to Problem.Seed, while seconds and order of reports stay
	budget  float64 // Problem.Budget
	seconds float64 // factor on the seconds of every second epoch, 0 for 1
}

func (s setting) check(t T) {
	t.Helper()
	fail := func(check string, err error) {
		t.Helper()
		t.Errorf("searchtest: %s: %s: table %q, %d workers, seed %d: %v", s.method.Name, check, s.table.Name, s.workers, s.seed, err)
	}

	first, err := s.drive()
	if err != nil {
		fail("contract", err)
		return
	}
	same := func(check string, changed setting) {
		t.Helper()
		again, err := changed.drive()
		if err == nil {
			err = first.compare(again)
		}
		if err != nil {
			fail(check, err)
		}
	}
	same("same seed, other proposals", s)

	processors := runtime.GOMAXPROCS(1)
	same("GOMAXPROCS=1, other proposals", s)
	runtime.GOMAXPROCS(2)
	same("GOMAXPROCS=2, other proposals", s)
	runtime.GOMAXPROCS(processors)

	changed := s
	changed.table = s.table.rewriteUnseen(first.seen)
	same("untold epochs changed, other proposals", changed)

	if !s.method.Uses.Budget {
		changed := s
		changed.budget = 3600
		same("does not claim to use the budget, but its proposals change with it", changed)
	}
	if !s.method.Uses.Cost && !s.method.Uses.Budget {
		changed := s
		changed.seconds = 7
		same("does not claim to use cost, but its proposals change with the seconds", changed)
	}
	if s.method.Uses.Seedless {
		changed := s
		changed.other = 1
		same("claims to draw no random numbers, but its proposals change with the seed", changed)
	}
	if !s.method.Uses.Fidelity {
		if err := first.wholeCurves(s.table.MaxEpochs); err != nil {
			fail("does not claim to use fidelity", err)
		}
	}
}

// checkSeeds holds that six seeds do not all give the same proposals on the
// first table that leaves a choice. With n candidates, a method that draws its
// first one at random fails by chance once in n^5.
func checkSeeds(t T, m search.Method, o Options) {
	t.Helper()
	for _, table := range o.Tables {
		if len(table.Candidates) < 10 {
			continue
		}
		var first trace
		for seed := range uint64(6) {
			s := setting{method: m, table: table, workers: 1, seed: seed, options: o}
			run, err := s.drive()
			if err != nil {
				t.Errorf("searchtest: %s: contract: table %q, 1 worker, seed %d: %v", m.Name, table.Name, seed, err)
				return
			}
			if seed == 0 {
				first = run
			} else if first.compare(run) != nil {
				return
			}
		}
		t.Errorf("searchtest: %s: seeds: table %q: seeds 0 to 5 give the same proposals; if the method is not random, say so with Uses.Seedless", m.Name, table.Name)
		return
	}
}

// answer is what Ask returned once.
type answer struct {
	proposal search.Proposal
	status   search.Status
}

func (a answer) String() string {
	switch a.status {
	case search.Ready:
		return fmt.Sprintf("trial %d of candidate %d to epoch %d", a.proposal.Trial, a.proposal.Candidate, a.proposal.Epoch)
	case search.Wait:
		return "Wait"
	case search.Done:
		return "Done"
	}
	return fmt.Sprintf("Status(%d)", a.status)
}

// trace is what came of one run.
type trace struct {
	answers []answer
	seen    map[int]sight // by candidate
}

// sight is how much of a candidate's curve was told in any of its trials.
type sight struct {
	epochs int
	ended  bool
}

// compare tells where two runs differ.
func (t trace) compare(other trace) error {
	for i := range min(len(t.answers), len(other.answers)) {
		if t.answers[i] != other.answers[i] {
			return fmt.Errorf("answer %d is %v in one run and %v in the other", i+1, t.answers[i], other.answers[i])
		}
	}
	if len(t.answers) != len(other.answers) {
		return fmt.Errorf("one run asked %d times, the other %d", len(t.answers), len(other.answers))
	}
	return nil
}

// wholeCurves tells of a proposal that stops before maxEpochs.
func (t trace) wholeCurves(maxEpochs int) error {
	for i, a := range t.answers {
		if a.status == search.Ready && a.proposal.Epoch != maxEpochs {
			return fmt.Errorf("answer %d is %v, though whole curves have %d", i+1, a, maxEpochs)
		}
	}
	return nil
}
