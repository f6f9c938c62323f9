package stats

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// splitMix is the generator that scripts/oracles/stats.py draws its tables with.
type splitMix uint64

func (s *splitMix) next() uint64 {
	*s += 0x9E3779B97F4A7C15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// oracleTable draws the table of that index: runs, and one number a data set.
func oracleTable(index int) (*Sample, *Matrix) {
	draw := splitMix(index)
	most := uint64(5)
	if index%10 == 0 {
		most = 11
	}
	methods := 2 + int(draw.next()%most)
	datasets := 6 + int(draw.next()%30)
	runs := 1 + int(draw.next()%4)
	levels := []uint64{8, 100, 1 << 20}[draw.next()%3]
	s := &Sample{Methods: make([]string, methods), Datasets: make([]string, datasets)}
	m := &Matrix{Methods: s.Methods, Datasets: s.Datasets}
	for range methods {
		rows, values := make([][]float64, datasets), make([]float64, datasets)
		for d := range rows {
			for range runs {
				rows[d] = append(rows[d], float64(draw.next()%levels)/float64(levels))
			}
			// As numpy adds: from left to right. Of three runs the first alone
			// counts, whose mean would round.
			var sum float64
			for _, v := range rows[d] {
				sum += v
			}
			values[d] = sum / float64(runs)
			if runs == 3 {
				values[d] = rows[d][0]
			}
		}
		s.Values, m.Values = append(s.Values, rows), append(m.Values, values)
	}
	return s, m
}

type oracles struct {
	Tables []struct {
		Friedman    []float64 `json:"friedman"` // chi-square, p, F, p of F; for three methods and more
		MeanRanks   []float64 `json:"mean_ranks"`
		Critical    float64   `json:"critical"`
		Nemenyi     []float64 `json:"nemenyi"`     // by pair
		Approximate []float64 `json:"approximate"` // Wilcoxon by pair, normal approximation
		Automatic   []float64 `json:"automatic"`   // -1 where SciPy falls back to that
		Holm        []float64 `json:"holm"`        // of the approximate ones
		Improvement float64   `json:"improvement"`
		IQM         float64   `json:"iqm"`
		Profile     []float64 `json:"profile"`
		Autorank    []float64 `json:"autorank"` // p, critical difference, mean ranks
	} `json:"tables"`
	Small []struct {
		Differences []float64 `json:"differences"`
		Statistic   float64   `json:"statistic"`
		Exact       float64   `json:"exact"`
		Approximate float64   `json:"approximate"`
	} `json:"small"`
}

func readOracles(t *testing.T) (o oracles) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "oracles.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &o); err != nil {
		t.Fatal(err)
	}
	if len(o.Tables) != 200 {
		t.Fatalf("%d tables, want 200", len(o.Tables))
	}
	return o
}

// near reports whether got is want to 1e-9, relatively above 1.
func near(got, want float64) bool { return math.Abs(got-want) <= 1e-9*max(1, math.Abs(want)) }

func TestStatisticsEqualTheirOraclesOnRandomTables(t *testing.T) {
	ours := 0
	for index, want := range readOracles(t).Tables {
		s, m := oracleTable(index)
		check := func(what string, got []float64, want []float64) {
			t.Helper()
			if !slices.EqualFunc(got, want, near) {
				t.Errorf("table %d, %s: %v, want %v", index, what, got, want)
			}
		}
		f := m.Friedman(CorrectTies)
		check("mean ranks", f.MeanRanks, want.MeanRanks)
		n := m.Nemenyi(0.05)
		check("critical difference", []float64{n.Difference}, []float64{want.Critical})
		if len(m.Methods) > 2 {
			check("Friedman", []float64{f.ChiSquare, f.P, f.F, f.PF}, want.Friedman)
		}
		var nemenyi, approximate, automatic []float64
		pair := 0
		exact, _ := m.Pairwise()
		for i := range m.Methods {
			for j := i + 1; j < len(m.Methods); j++ {
				var d []float64
				for c := range m.Datasets {
					d = append(d, m.Values[i][c]-m.Values[j][c])
				}
				nemenyi = append(nemenyi, n.P[i][j])
				approximate = append(approximate, signedRank(d, 0).P)
				if want.Automatic[pair] < 0 {
					automatic = append(automatic, -1)
				} else {
					automatic = append(automatic, exact[i][j])
					ours++
				}
				pair++
			}
		}
		if len(m.Methods) > 2 {
			check("Nemenyi", nemenyi, want.Nemenyi)
		}
		check("Wilcoxon by approximation", approximate, want.Approximate)
		check("Wilcoxon", automatic, want.Automatic)
		check("Holm", Holm(approximate), want.Holm)
		r := Bootstrap{Resamples: 10}.Resampler(len(m.Datasets))
		check("probability of improvement", []float64{s.ProbabilityOfImprovement(0, 1, r).Mean}, []float64{want.Improvement})
		check("interquartile mean", []float64{IQM(m.Values[0])}, []float64{want.IQM})
		check("profile", Profile(m.Values[0], []float64{0.125, 0.25, 0.5, 0.75}), want.Profile)
		if want.Autorank != nil {
			// autorank takes q from a printed table of 6 digits.
			if cd := want.Autorank[1]; math.Abs(n.Difference-cd) > 2e-5*cd {
				t.Errorf("table %d, critical difference of autorank: %v, want %v", index, n.Difference, cd)
			}
			check("autorank", append([]float64{f.P}, f.MeanRanks...), slices.Delete(want.Autorank, 1, 2))
		}
	}
	if ours < 300 {
		t.Errorf("only %d exact tests of Wilcoxon were compared", ours)
	}
}

func TestSignedRanksOfSmallSamplesAreExact(t *testing.T) {
	for _, c := range readOracles(t).Small {
		got := SignedRank(c.Differences)
		if !near(got.Statistic, c.Statistic) || !near(got.P, c.Exact) || !got.Exact {
			t.Errorf("%v: %+v, want statistic %v, p %v", c.Differences, got, c.Statistic, c.Exact)
		}
		if got := signedRank(c.Differences, 0); !near(got.P, c.Approximate) || got.Exact {
			t.Errorf("%v by approximation: %+v, want p %v", c.Differences, got, c.Approximate)
		}
	}
}
