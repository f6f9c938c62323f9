package searchtest

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"quicktune/internal/stream"
	"quicktune/search"
)

// recorder is a T that keeps what it is told.
type recorder struct{ errors []string }

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// sound keeps every promise: it trains randomly drawn candidates rung by rung,
// each worker one candidate, to the end. The defects below are built on it.
type sound struct {
	problem  search.Problem
	step     int // epochs a proposal
	order    []int
	trials   []int // candidate of each
	reached  []int
	idle     []int // trials to go on with
	flying   int
	proposed map[int]int // by trial: the epoch last proposed
}

func newSound(p search.Problem, step int) *sound {
	return &sound{
		problem:  p,
		step:     step,
		order:    stream.New("searchtest/sound", p.Seed).Perm(len(p.Candidates)),
		proposed: map[int]int{},
	}
}

func (s *sound) Ask() (search.Proposal, search.Status) {
	if len(s.idle) > 0 {
		trial := s.idle[0]
		s.idle = s.idle[1:]
		return s.propose(trial)
	}
	if len(s.order) > 0 {
		s.trials = append(s.trials, s.order[0])
		s.reached = append(s.reached, 0)
		s.order = s.order[1:]
		return s.propose(len(s.trials) - 1)
	}
	if s.flying > 0 {
		return search.Proposal{}, search.Wait
	}
	return search.Proposal{}, search.Done
}

func (s *sound) propose(trial int) (search.Proposal, search.Status) {
	s.flying++
	return search.Proposal{
		Trial:     trial,
		Candidate: s.trials[trial],
		Epoch:     min(s.reached[trial]+s.step, s.problem.MaxEpochs),
	}, search.Ready
}

func (s *sound) Tell(r search.Report) {
	s.reached[r.Trial] = r.Epoch
	if !r.Proposed {
		return
	}
	s.flying--
	if r.End == search.NotEnded {
		s.idle = append(s.idle, r.Trial)
	}
}

// hooked lets a defect replace Ask or Tell of the sound optimiser.
type hooked struct {
	*sound
	ask  func(*sound) (search.Proposal, search.Status)
	tell func(*sound, search.Report)
}

func (h hooked) Ask() (search.Proposal, search.Status) {
	if h.ask != nil {
		return h.ask(h.sound)
	}
	return h.sound.Ask()
}

func (h hooked) Tell(r search.Report) {
	if h.tell != nil {
		h.tell(h.sound, r)
		return
	}
	h.sound.Tell(r)
}

func soundMethod() search.Method {
	return search.Method{
		Name: "sound",
		Uses: search.Uses{Fidelity: true},
		New:  func(p search.Problem) (search.Optimizer, error) { return newSound(p, 4), nil },
	}
}

// altering makes a method whose proposals are changed after the fact.
func altering(change func(s *sound, p *search.Proposal)) search.Method {
	m := soundMethod()
	m.New = func(p search.Problem) (search.Optimizer, error) {
		return hooked{sound: newSound(p, 4), ask: func(s *sound) (search.Proposal, search.Status) {
			proposal, status := s.Ask()
			if status == search.Ready {
				change(s, &proposal)
			}
			return proposal, status
		}}, nil
	}
	return m
}

// telling makes a method that listens in its own way.
func telling(tell func(s *sound, r search.Report)) search.Method {
	m := soundMethod()
	m.New = func(p search.Problem) (search.Optimizer, error) {
		return hooked{sound: newSound(p, 4), tell: tell}, nil
	}
	return m
}

func TestSoundOptimisersPass(t *testing.T) {
	Run(t, soundMethod(), Options{})

	whole := soundMethod()
	whole.Uses = search.Uses{}
	whole.New = func(p search.Problem) (search.Optimizer, error) { return newSound(p, p.MaxEpochs), nil }
	Run(t, whole, Options{})

	inOrder := soundMethod()
	inOrder.Uses.Seedless = true
	inOrder.New = func(p search.Problem) (search.Optimizer, error) {
		p.Seed = 0
		return newSound(p, 1), nil
	}
	Run(t, inOrder, Options{Proposals: 30})
}

// TestEveryDefectIsFound breaks one promise at a time. The expected text is part
// of the message that names the promise, so that no defect passes for another.
func TestEveryDefectIsFound(t *testing.T) {
	calls := 0
	var shown Table
	defects := []struct {
		name    string
		method  search.Method
		options Options
		want    string
	}{
		{"a candidate beyond the pool", altering(func(s *sound, p *search.Proposal) {
			p.Candidate = len(s.problem.Candidates)
		}), Options{}, "but the pool has 40 candidates"},
		{"a negative candidate", altering(func(s *sound, p *search.Proposal) {
			p.Candidate = -1
		}), Options{}, "of candidate -1 to epoch"},
		{"a trial number out of turn", altering(func(s *sound, p *search.Proposal) {
			p.Trial++
		}), Options{}, "but the next new trial is number 0"},
		{"a negative trial number", altering(func(s *sound, p *search.Proposal) {
			p.Trial = -1
		}), Options{}, "but the next new trial is number 0"},
		{"an epoch beyond the last", altering(func(s *sound, p *search.Proposal) {
			p.Epoch = s.problem.MaxEpochs + 1
		}), Options{}, "but MaxEpochs is 27"},
		{"epoch 0", altering(func(s *sound, p *search.Proposal) {
			p.Epoch = 0
		}), Options{}, "has reached epoch 0"},
		{"an epoch already reached", altering(func(s *sound, p *search.Proposal) {
			p.Epoch = max(s.reached[p.Trial], 1)
		}), Options{}, "but that trial has reached epoch 1"},
		{"a trial that changes its candidate", altering(func(s *sound, p *search.Proposal) {
			if s.reached[p.Trial] > 0 {
				p.Candidate = (p.Candidate + 1) % len(s.problem.Candidates)
			}
		}), Options{}, "but that trial is of candidate"},
		{"a candidate tried again", altering(func(s *sound, p *search.Proposal) {
			if len(s.trials) == 2 {
				p.Candidate = s.trials[0]
			}
		}), Options{}, "that candidate has a trial already"},
		{"a trial that ended", telling(func(s *sound, r search.Report) {
			r.End = search.NotEnded
			s.Tell(r)
		}), Options{}, "but that trial has ended"},
		{"a failed trial", telling(func(s *sound, r search.Report) {
			if r.End == search.Failed {
				r.End = search.NotEnded
			}
			s.Tell(r)
		}), Options{}, "but that trial has ended"},
		{"an outstanding trial", altering(func(s *sound, p *search.Proposal) {
			if s.flying > 1 {
				p.Trial, p.Candidate = 0, s.trials[0]
			}
		}), Options{Workers: []int{8}}, "but that trial is outstanding"},
		{"a Wait without end", func() search.Method {
			m := soundMethod()
			m.New = func(p search.Problem) (search.Optimizer, error) {
				return hooked{sound: newSound(p, 4), ask: func(s *sound) (search.Proposal, search.Status) {
					proposal, status := s.Ask()
					if status == search.Done {
						status = search.Wait
					}
					return proposal, status
				}}, nil
			}
			return m
		}(), Options{}, "it answers Wait while nothing is outstanding"},
		{"a Wait that does not last", func() search.Method {
			m := soundMethod()
			m.New = func(p search.Problem) (search.Optimizer, error) {
				waited := false
				return hooked{sound: newSound(p, 4), ask: func(s *sound) (search.Proposal, search.Status) {
					waited = !waited
					if waited && s.flying > 0 {
						return search.Proposal{}, search.Wait
					}
					return s.Ask()
				}}, nil
			}
			return m
		}(), Options{Workers: []int{8}}, "though nothing was told in between"},
		{"an early Done", func() search.Method {
			m := soundMethod()
			m.New = func(p search.Problem) (search.Optimizer, error) {
				return hooked{sound: newSound(p, 4), ask: func(*sound) (search.Proposal, search.Status) {
					return search.Proposal{}, search.Done
				}}, nil
			}
			return m
		}(), Options{}, "it is Done before it proposed anything"},
		{"a Done that does not last", func() search.Method {
			m := soundMethod()
			m.New = func(p search.Problem) (search.Optimizer, error) {
				said := false
				return hooked{sound: newSound(p, 4), ask: func(s *sound) (search.Proposal, search.Status) {
					if len(s.trials) == 5 && !said {
						said = true
						return search.Proposal{}, search.Done
					}
					return s.Ask()
				}}, nil
			}
			return m
		}(), Options{}, "after Done it answers"},
		{"a Done that turns into Wait", func() search.Method {
			m := soundMethod()
			m.New = func(p search.Problem) (search.Optimizer, error) {
				said := false
				return hooked{sound: newSound(p, 4), ask: func(s *sound) (search.Proposal, search.Status) {
					if said {
						return search.Proposal{}, search.Wait
					}
					proposal, status := s.Ask()
					said = status == search.Done
					return proposal, status
				}}, nil
			}
			return m
		}(), Options{}, "after Done it answers Wait"},
		{"an unknown status", func() search.Method {
			m := soundMethod()
			m.New = func(p search.Problem) (search.Optimizer, error) {
				return hooked{sound: newSound(p, 4), ask: func(*sound) (search.Proposal, search.Status) {
					return search.Proposal{}, search.Done + 1
				}}, nil
			}
			return m
		}(), Options{}, "it answers Status(3)"},
		{"a search that never ends", func() search.Method {
			m := altering(func(s *sound, p *search.Proposal) {
				p.Candidate = 0
				s.order = []int{0}
			})
			m.Uses.Repeats = true
			return m
		}(), Options{}, "such a search never ends"},
		{"a panic at NaN", telling(func(s *sound, r search.Report) {
			if math.IsNaN(r.Score) && r.End == search.NotEnded {
				panic("no number")
			}
			s.Tell(r)
		}), Options{}, "it panics: no number"},
		{"a panic at a failure before the first epoch", telling(func(s *sound, r search.Report) {
			_ = s.reached[r.Epoch-1]
			s.Tell(r)
		}), Options{}, "index out of range [-1]"},
		{"a panic at a pool of one", func() search.Method {
			m := soundMethod()
			m.New = func(p search.Problem) (search.Optimizer, error) {
				if len(p.Candidates) > 0 {
					_ = p.Candidates[len(p.Candidates)/10+1]
				}
				return newSound(p, 4), nil
			}
			return m
		}(), Options{}, `table "one candidate", 1 workers, seed 1: it panics`},
		{"a curve that is assumed to reach the proposed epoch", telling(func(s *sound, r search.Report) {
			r.Proposed = r.Epoch%4 == 0 || r.Epoch == s.problem.MaxEpochs
			s.Tell(r)
		}), Options{}, "it answers Wait while nothing is outstanding"},
		{"a factory that refuses", func() search.Method {
			m := soundMethod()
			m.New = func(p search.Problem) (search.Optimizer, error) {
				if p.MaxEpochs == 1 {
					return nil, fmt.Errorf("one epoch is too few")
				}
				return newSound(p, 4), nil
			}
			return m
		}(), Options{}, "its factory refuses the problem: one epoch is too few"},
		{"changed candidates", func() search.Method {
			m := soundMethod()
			m.New = func(p search.Problem) (search.Optimizer, error) {
				if len(p.Candidates) > 3 {
					p.Candidates[3][0] = p.Candidates[3][1]
				}
				return newSound(p, 4), nil
			}
			return m
		}(), Options{}, "it changed Problem.Candidates[3]"},
		{"changed meta-features", func() search.Method {
			m := soundMethod()
			m.New = func(p search.Problem) (search.Optimizer, error) {
				p.Task.MetaFeatures[0] /= 1000
				return newSound(p, 4), nil
			}
			return m
		}(), Options{}, "it changed Problem.Task.MetaFeatures"},
		{"proposals that depend on earlier runs", altering(func(s *sound, p *search.Proposal) {
			calls++
			if calls%7 == 0 {
				p.Epoch = s.reached[p.Trial] + 1
			}
		}), Options{}, "same seed, other proposals"},
		{"proposals that depend on GOMAXPROCS", altering(func(s *sound, p *search.Proposal) {
			if runtime.GOMAXPROCS(0) == 1 {
				p.Epoch = s.reached[p.Trial] + 1
			}
		}), Options{}, "GOMAXPROCS=1, other proposals"},
		{"a seed that is not used", func() search.Method {
			m := soundMethod()
			m.New = func(p search.Problem) (search.Optimizer, error) {
				p.Seed = 0
				return newSound(p, 4), nil
			}
			return m
		}(), Options{}, "seeds 0 to 5 give the same proposals"},
		{"a look into the future", altering(func(s *sound, p *search.Proposal) {
			curve := shown.Curves[p.Candidate].Scores
			if s.reached[p.Trial] > 0 && curve[len(curve)-1] < 0.5 {
				p.Epoch = s.reached[p.Trial] + 1
			}
			s.order = s.order[:0]
		}), Options{observe: func(t Table) { shown = t }, Proposals: 3}, "untold epochs changed, other proposals"},
		{"undeclared use of the budget", altering(func(s *sound, p *search.Proposal) {
			if s.problem.Budget > 0 {
				p.Epoch = s.reached[p.Trial] + 1
			}
		}), Options{}, "does not claim to use the budget"},
		{"undeclared use of seconds", func() search.Method {
			m := soundMethod()
			m.New = func(p search.Problem) (search.Optimizer, error) {
				var longest float64
				return hooked{
					sound: newSound(p, 4),
					tell: func(s *sound, r search.Report) {
						longest = max(longest, r.Seconds)
						s.Tell(r)
					},
					ask: func(s *sound) (search.Proposal, search.Status) {
						proposal, status := s.Ask()
						if longest > 25 && status == search.Ready {
							proposal.Epoch = s.reached[proposal.Trial] + 1
						}
						return proposal, status
					},
				}, nil
			}
			return m
		}(), Options{}, "does not claim to use cost"},
		{"undeclared use of the seed", func() search.Method {
			m := soundMethod()
			m.Uses.Seedless = true
			return m
		}(), Options{}, "claims to draw no random numbers"},
		{"undeclared use of fidelity", func() search.Method {
			m := soundMethod()
			m.Uses.Fidelity = false
			return m
		}(), Options{}, "does not claim to use fidelity"},
	}
	for _, d := range defects {
		t.Run(d.name, func(t *testing.T) {
			var r recorder
			Run(&r, d.method, d.options)
			if len(r.errors) == 0 {
				t.Fatal("the suite found nothing")
			}
			for _, e := range r.errors {
				if strings.Contains(e, d.want) {
					return
				}
			}
			t.Errorf("no error says %q; the first of %d is\n%s", d.want, len(r.errors), r.errors[0])
		})
	}
}

func TestBrokenTablesAreRefused(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*Table)
	}{
		{"MaxEpochs is 0; want at least 1", func(t *Table) { t.MaxEpochs = 0 }},
		{"39 curves for 40 candidates", func(t *Table) { t.Curves = t.Curves[:39] }},
		{"curve 2: 26 scores but 27 seconds", func(t *Table) { t.Curves[2].Scores = t.Curves[2].Scores[:26] }},
		{"curve 0: 27 epochs, but MaxEpochs is 20", func(t *Table) { t.MaxEpochs = 20 }},
		{"curve 5: it has no end", func(t *Table) { t.Curves[5].End = search.NotEnded }},
	} {
		table := Tables()[0]
		c.change(&table)
		var r recorder
		Run(&r, soundMethod(), Options{Tables: []Table{table}})
		if len(r.errors) != 1 || !strings.Contains(r.errors[0], c.want) {
			t.Errorf("want one error with %q, got %q", c.want, r.errors)
		}
	}
}
