package baselines

import (
	"fmt"
	"math"
	"testing"
	"time"

	"quicktune/internal/stream"
	"quicktune/search"
)

// decisionMethods are those that think about what they have seen.
var decisionMethods = []string{"tpe", "tpe-hyperopt", "bohb", "bohb:nearest", "dehb", "dehb:nearest", "lce-stopping", "median-stopping"}

// BenchmarkDecision times a method that has seen 10, 100 and 1,000 results: the
// mean of its next 20 proposals, telling their results included. There are 2,000
// candidates of five hyperparameters, two of them whole numbers and one a
// category, and whole curves have 9 epochs. scripts/compare_decisions.py puts
// the public implementations beside it.
func BenchmarkDecision(b *testing.B) {
	for _, name := range decisionMethods {
		for _, n := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				m, err := New(name, nil)
				if err != nil {
					b.Fatal(err)
				}
				var spent time.Duration
				for b.Loop() {
					spent += decisions(b, m, n, 20)
				}
				b.ReportMetric(float64(spent.Nanoseconds())/float64(20*b.N), "ns/decision")
			})
		}
	}
}

// decisions returns the time of some proposals after n others.
func decisions(b *testing.B, m search.Method, n, timed int) (spent time.Duration) {
	p := search.Problem{Space: oracleSpace(b), MaxEpochs: 9, Workers: 1, Metric: search.Metric{Name: "val_accuracy", Bounded: true}}
	rng := stream.New("baselines/test/decisions", 0)
	for range 2000 {
		p.Candidates = append(p.Candidates, p.Space.Sample(rng))
	}
	score := func(c, epoch int) float64 {
		x := p.Candidates[c]
		rate := math.Log10(x[1].Num()) + 3
		return math.Exp(-rate*rate-x[2].Num()) * (1 - math.Exp(-float64(epoch)/3))
	}
	o, err := m.New(p)
	if err != nil {
		b.Fatal(err)
	}
	reached := make(map[int]int)
	for i := range n + timed {
		start := time.Now()
		proposal, status := o.Ask()
		if status != search.Ready {
			b.Fatalf("%s has nothing to propose after %d proposals", m.Name, i)
		}
		curves(score).reply(o, proposal, reached[proposal.Trial], 9)
		if i >= n {
			spent += time.Since(start)
		}
		reached[proposal.Trial] = proposal.Epoch
	}
	return spent
}
