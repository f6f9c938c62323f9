package baselines

import (
	"testing"

	"quicktune/search"
)

// BenchmarkSearch runs each method on 1,000 candidates with 50 epochs and 8
// workers until it is Done, or has seen 5,000 epochs if it never is. ns/epoch
// is everything, Ask included, for each epoch told.
func BenchmarkSearch(b *testing.B) {
	for _, m := range Methods() {
		m = learned(m)
		b.Run(m.Name, func(b *testing.B) {
			b.ReportAllocs()
			epochs := 0
			for b.Loop() {
				epochs = searchAll(b, m)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*epochs), "ns/epoch")
		})
	}
}

// searchAll returns how many epochs the search trained.
func searchAll(b *testing.B, m search.Method) (epochs int) {
	p := encodedProblem(1000, 50)
	p.Workers = 8
	o, err := m.New(p)
	if err != nil {
		b.Fatal(err)
	}
	reached := make([]int, 1000)
	if m.Uses.Repeats {
		reached = make([]int, 6000)
	}
	var queue [8]search.Proposal
	outstanding := 0
	for epochs < 5000 || !m.Uses.Repeats {
		for outstanding < len(queue) {
			p, status := o.Ask()
			if status != search.Ready {
				break
			}
			queue[outstanding] = p
			outstanding++
		}
		if outstanding == 0 {
			return epochs
		}
		p := queue[0]
		copy(queue[:], queue[1:outstanding])
		outstanding--
		for e := reached[p.Trial] + 1; e <= p.Epoch; e++ {
			r := search.Report{
				Trial: p.Trial, Candidate: p.Candidate, Epoch: e, Seconds: 1,
				Score:    float64((p.Candidate*7919+e*31)%1009) / 1009,
				Proposed: e == p.Epoch,
			}
			if e == 50 {
				r.End = search.Completed
			}
			o.Tell(r)
			epochs++
		}
		reached[p.Trial] = p.Epoch
	}
	return epochs
}

// BenchmarkTell tells epochs at which nothing is decided.
func BenchmarkTell(b *testing.B) {
	for _, m := range Methods() {
		m = learned(m)
		b.Run(m.Name, func(b *testing.B) {
			o, err := m.New(encodedProblem(10, 1<<20))
			if err != nil {
				b.Fatal(err)
			}
			p, _ := o.Ask()
			r := search.Report{Trial: p.Trial, Candidate: p.Candidate, Score: 0.5, Seconds: 1}
			b.ReportAllocs()
			for b.Loop() {
				r.Epoch++
				o.Tell(r)
			}
		})
	}
}

// BenchmarkRung enters 10,000 trials into one rung, the costliest report, and
// asks for promotions in between.
func BenchmarkRung(b *testing.B) {
	for _, name := range []string{"asha", "asha-stopping", "asha-synetune-promotion", "hyperband"} {
		m, err := New(name, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			const trials = 10000
			for b.Loop() {
				o, err := m.New(problem(2*trials, 3))
				if err != nil {
					b.Fatal(err)
				}
				for i := range trials {
					p, _ := o.Ask()
					o.Tell(told(p, float64(i*7919%10007)))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*trials), "ns/trial")
		})
	}
}
