package baselines

import (
	"strconv"
	"testing"
)

func TestMOBSTERFindsAPeak(t *testing.T) {
	p := encodedProblem(300, 9)
	o, err := NewMOBSTER(p, MOBSTER{})
	if err != nil {
		t.Fatal(err)
	}
	// Random candidates would need about 200 to hit one of the best three.
	if best, all := bestAfter(t, o, p, 60); best < 0.99*all {
		t.Errorf("the best of 60 proposals is %.4f; the best of all %.4f", best, all)
	}
}

func TestImprovementsAreExpectedAtTheLargestRungWithEnoughScores(t *testing.T) {
	p := encodedProblem(300, 9)
	o, err := NewMOBSTER(p, MOBSTER{})
	if err != nil {
		t.Fatal(err)
	}
	m := o.(*mobster)
	score := peaked(p)
	reached := map[int]int{}
	for range 40 {
		q := ask(t, o)
		want := 0
		for level, n := range m.counts {
			if n >= 3 {
				want = level
			}
		}
		if q.Epoch == 1 && len(m.trials) > 3 && m.at != want {
			t.Fatalf("with %v scores by rung it looks at rung %d", m.counts, m.at)
		}
		score.reply(o, q, reached[q.Trial], p.MaxEpochs)
		reached[q.Trial] = q.Epoch
	}
	if m.at == 0 {
		t.Error("no rung but the first was ever looked at")
	}
}

// With a bound on the scores, those of the lowest rungs go first, oldest first.
func TestScoresOfHighRungsAreKept(t *testing.T) {
	p := encodedProblem(20, 9)
	o, err := NewMOBSTER(p, MOBSTER{MaxRows: 4})
	if err != nil {
		t.Fatal(err)
	}
	m := o.(*mobster)
	for _, r := range [][2]int{{0, 0}, {1, 0}, {0, 1}, {2, 0}, {3, 0}, {3, 1}} {
		m.rows, m.values = append(m.rows, m.row(r[0], r[1])), append(m.values, float64(len(m.values)))
	}
	rows, values := m.observations()
	want := []float64{2, 3, 4, 5}
	agreeAll(t, "scores kept", values, want, 0)
	if rows[0] != m.row(0, 1) || rows[3] != m.row(3, 1) {
		t.Errorf("rows %v", rows)
	}
}

func BenchmarkMOBSTERDecision(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p := encodedProblem(2000, 27)
			score := peaked(p)
			for b.Loop() {
				b.StopTimer()
				o, err := NewMOBSTER(p, MOBSTER{})
				if err != nil {
					b.Fatal(err)
				}
				m := o.(*mobster)
				m.draw = m.pool.draw
				reached := map[int]int{}
				for range n {
					q, _ := o.Ask()
					score.reply(o, q, reached[q.Trial], p.MaxEpochs)
					reached[q.Trial] = q.Epoch
				}
				m.draw = m.choose
				b.StartTimer()
				m.choose()
			}
		})
	}
}
