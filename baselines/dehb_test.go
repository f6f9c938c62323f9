package baselines

import (
	"math"
	"testing"
	"testing/quick"

	"quicktune/internal/stream"
	"quicktune/search"
)

// replayedDraws gives the numbers of a golden file back.
type replayedDraws struct {
	t     *testing.T
	draws []float64
}

func (r *replayedDraws) uniform() float64 {
	if len(r.draws) == 0 {
		r.t.Fatal("more random numbers are drawn than in the source")
	}
	v := r.draws[0]
	r.draws = r.draws[1:]
	return v
}

func (r *replayedDraws) index(int) int { return int(r.uniform()) }

func (r *replayedDraws) distinct(_, k int) []int {
	out := make([]int, k)
	for i := range out {
		out[i] = r.index(0)
	}
	return out
}

// TestEvolutionIsDEHBs follows scripts/oracles/dehb_evolution.py job by job with
// the random numbers that DEHB drew: brackets, promotions, parents, mutation,
// crossover, bounds and selection.
func TestEvolutionIsDEHBs(t *testing.T) {
	var golden []struct {
		Eta, Min, Max int
		Populations   [][][]float64
		Steps         []struct {
			Bracket  int
			Fidelity float64
			Parent   int
			Vector   []float64
			Loss     float64
			Draws    []float64
			Tell     bool
		}
	}
	readGolden(t, "dehb.json", &golden)
	for _, c := range golden {
		table := HpBandSterBrackets.Brackets(c.Max, c.Min, c.Eta)
		draws := &replayedDraws{t: t}
		e := newEvolution(table, len(c.Populations[0][0]), DEHB{Eta: c.Eta, MinEpochs: c.Min}, draws)
		for level, population := range c.Populations {
			if len(population) != len(e.populations[level]) {
				t.Fatalf("eta %d, %d to %d: population %d of %d; want %d", c.Eta, c.Min, c.Max, level, len(e.populations[level]), len(population))
			}
			for i, v := range population {
				e.populations[level][i].vector = v
			}
		}
		brackets := map[*deBracket]int{}
		var waiting []deJob
		for i, s := range c.Steps {
			draws.draws = s.Draws
			job := e.next()
			if _, known := brackets[job.bracket]; !known {
				brackets[job.bracket] = len(brackets)
			}
			if got := brackets[job.bracket]; got != s.Bracket || job.parent != s.Parent || job.bracket.epochs[job.rung] != int(math.Round(s.Fidelity)) {
				t.Fatalf("eta %d, %d to %d, job %d: bracket %d, epoch %d, parent %d; want %d, %g, %d", c.Eta, c.Min, c.Max, i,
					got, job.epoch(), job.parent, s.Bracket, s.Fidelity, s.Parent)
			}
			for k, v := range job.member.vector {
				if !near(v, s.Vector[k], 1e-12) {
					t.Fatalf("eta %d, %d to %d, job %d: individual %v; want %v", c.Eta, c.Min, c.Max, i, job.member.vector, s.Vector)
				}
			}
			if len(draws.draws) > 0 {
				t.Fatalf("eta %d, %d to %d, job %d: %d random numbers of the source are not drawn", c.Eta, c.Min, c.Max, i, len(draws.draws))
			}
			job.member.vector = s.Vector // the last digits must not decide what is equal later
			job.member.fitness = s.Loss
			waiting = append(waiting, job)
			if s.Tell {
				for _, w := range waiting {
					e.tell(w)
				}
				waiting = nil
			}
		}
	}
}

func TestOffspringStayInTheCubeAndMixTheirParents(t *testing.T) {
	s := DEHB{MutationFactor: 2, CrossoverProb: 0.3}
	e := newEvolution(HpBandSterBrackets.Brackets(9, 1, 3), 5, s, deStream{stream.New("baselines/test/dehb", 0)})
	e.populate()
	mixed := func(x, y [5]float64) bool {
		target, mutant := x[:], y[:]
		child := e.crossover(target, mutant)
		crossed := 0
		for k, v := range child {
			if math.IsNaN(target[k]) || math.IsNaN(mutant[k]) {
				return true
			}
			if v != target[k] {
				if v != mutant[k] {
					return false
				}
				crossed++
			} else if target[k] == mutant[k] {
				crossed++
			}
		}
		return crossed > 0
	}
	if err := quick.Check(mixed, nil); err != nil {
		t.Error(err)
	}
	for range 200 {
		job := e.next()
		for _, v := range job.member.vector {
			if !(v >= 0 && v <= 1) {
				t.Fatalf("individual %v", job.member.vector)
			}
		}
		job.member.fitness = job.member.vector[0]
		e.tell(job)
	}
}

func TestDecodingDropsWhatDoesNotApply(t *testing.T) {
	p := encodedProblem(50, 9)
	o, err := NewDEHB(p, DEHB{})
	if err != nil {
		t.Fatal(err)
	}
	d := o.(*dehb)
	momentum, opt := -1, -1
	for k, a := range d.points.axes {
		switch p.Space.Param(a.param).Name {
		case "momentum":
			momentum = k
		case "opt":
			opt = k
		}
	}
	point := make([]float64, len(d.points.axes))
	for _, c := range []struct {
		opt    float64
		active bool
	}{{0, true}, {0.49, true}, {0.51, false}, {1, false}} {
		point[opt] = c.opt
		if got := !math.IsNaN(d.decode(point)[momentum]); got != c.active {
			t.Errorf("optimiser at %g: momentum applies: %v; want %v", c.opt, got, c.active)
		}
	}
	// A row is nearest to itself.
	for c := range p.Candidates {
		all := make([]int32, len(p.Candidates))
		for i := range all {
			all[i] = int32(i)
		}
		if got := nearest(d.rows, d.points.axes, all, d.decode(d.encode(c, point))); got != c {
			t.Errorf("candidate %d comes back as %d", c, got)
		}
	}
}

// TestDEHBTrainsEachRowOnce runs until nothing is left: every row ends, and is
// paid for once.
func TestDEHBTrainsEachRowOnce(t *testing.T) {
	p := encodedProblem(60, 9)
	o, err := NewDEHB(p, DEHB{})
	if err != nil {
		t.Fatal(err)
	}
	reached := make([]int, len(p.Candidates))
	epochs := 0
	for {
		proposal, status := o.Ask()
		if status == search.Done {
			break
		}
		from := reached[proposal.Candidate]
		curves(func(c, e int) float64 { return float64(c*7%60)/60 + float64(e)/100 }).reply(o, proposal, from, 9)
		epochs += proposal.Epoch - from
		reached[proposal.Candidate] = proposal.Epoch
	}
	if want := 9 * len(p.Candidates); epochs != want {
		t.Errorf("%d epochs; want %d", epochs, want)
	}
}
