package published

import (
	"bytes"
	"encoding/csv"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"quicktune/internal/realdata"
	"quicktune/selection"
	"quicktune/selection/evaluate"
)

func tables(t testing.TB) *Tables {
	t.Helper()
	all, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheTablesHaveTheShapesPublished(t *testing.T) {
	all := tables(t)
	for name, shape := range map[string][4]int{ // data sets, models, accuracies, scores of models
		"cnn11": {11, 11, 121, 0}, "ssl12": {11, 12, 132, 0}, "vit13": {11, 13, 143, 0}, "captioner9": {5, 9, 45, 0},
		"hub10": {10, 10, 100, 720}, "expert66": {7, 66, 462, 0}, "transfer32": {7, 32, 196, 0}, "hub12": {9, 12, 108, 324},
	} {
		p := all.Pool(name)
		if p == nil {
			t.Errorf("no pool %s", name)
			continue
		}
		known, scores := 0, 0
		for _, row := range p.Accuracy {
			for _, v := range row {
				if !math.IsNaN(v) {
					known++
				}
			}
		}
		for _, table := range p.Scores {
			for _, row := range table {
				scores += len(row)
			}
		}
		if got := [4]int{len(p.Datasets), len(p.Models), known, scores}; got != shape || p.About == "" || p.Source == "" {
			t.Errorf("%s (%s; %s): got %v, want %v", name, p.About, p.Source, got, shape)
		}
	}
	if len(all.Pools) != 8 || len(all.Correlations) != 27+72+55+80 || len(all.Gains) != 270 || len(all.Rankings) != 33 {
		t.Errorf("%d pools, %d correlations, %d gains, %d rankings", len(all.Pools), len(all.Correlations), len(all.Gains), len(all.Rankings))
	}
}

// You et al. print 27 correlations to two digits; SciPy's default convention gives
// all of them.
func TestAllCorrelationsOfLogMEComeOut(t *testing.T) {
	n := 0
	for _, c := range checks(t) {
		if c.Table == "jmlr" {
			n++
			if !c.Agrees || c.Convention != evaluate.Both {
				t.Errorf("%s, %s: recomputed %.4f, published %.2f", c.Dataset, c.Score, c.Recomputed, c.Tau)
			}
		}
	}
	if n != 27 {
		t.Errorf("%d correlations", n)
	}
}

// Model Spider's table takes ranks from accuracies alone. Three of its cells do not
// follow from the scores published with it.
func TestCorrelationsOfModelSpiderComeOutButForThree(t *testing.T) {
	n := 0
	var differ []string
	for _, c := range checks(t) {
		if c.Table != "model-spider" {
			continue
		}
		n++
		if math.Abs(c.Recomputed-c.Tau) > 0.0006 {
			differ = append(differ, c.Dataset+" "+c.Score)
			if c.Agrees {
				t.Errorf("%s, %s agrees with %v and %v", c.Dataset, c.Score, c.Recomputed, c.Tau)
			}
		} else if !c.Agrees || c.Convention != evaluate.ByFirst {
			t.Errorf("%s, %s does not agree with %v and %v", c.Dataset, c.Score, c.Recomputed, c.Tau)
		}
	}
	slices.Sort(differ)
	if n != 72 || !slices.Equal(differ, []string{"Aircraft LEEP", "Aircraft LogME", "Aircraft NLEEP"}) {
		t.Errorf("of %d, these differ: %v", n, differ)
	}
}

func checks(t *testing.T) []Check {
	t.Helper()
	out, err := tables(t).Checks()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mean(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v / float64(len(x))
	}
	return s
}

// The numbers were found with NumPy and SciPy from the same tables.
func TestStaticPriorsAndSumsWithScores(t *testing.T) {
	for _, c := range []struct {
		pool, ranking string
		tau           float64
	}{
		{"cnn11", "static prior (mean rank)", 0.8368},
		{"ssl12", "static prior (mean rank)", 0.6852},
		{"vit13", "static prior (mean rank)", 0.7773},
		{"expert66", "static prior (mean rank)", 0.6127},
		{"transfer32", "static prior (mean rank)", 0.6884},
		{"hub10", "static prior (mean deviation)", 0.7492},
		{"hub10", "LogME", 0.6751},
		{"hub10", "NCE", 0.6546},
		{"hub10", "H-Score", 0.6571},
		{"hub10", "LFC", 0.0375},
		{"hub10", "prior + 0.5 LogME", 0.7873},
		{"hub10", "prior + 0.5 NCE", 0.7953},
		{"hub10", "prior + 0.5 H-Score", 0.7732},
		{"hub10", "prior + 0.5 LFC", 0.6677},
		{"hub12", "static prior (mean deviation)", 0.6966},
		{"hub12", "LogME", 0.6689},
		{"hub12", "LEEP", 0.3766},
		{"hub12", "prior + 0.5 LogME", 0.7288},
		{"hub12", "prior + 0.5 LEEP", 0.6046},
	} {
		r := ranked(t, c.pool, c.ranking)
		if got := mean(r.Measures.Tau); math.Abs(got-c.tau) > 5e-5 {
			t.Errorf("%s, %s: tau_w %.5f, want %.4f", c.pool, c.ranking, got, c.tau)
		}
	}
	for _, c := range []struct {
		ranking    string
		top1, top3 float64
	}{
		{"static prior (mean deviation)", 0.3375, 0},
		{"LogME", 0.3875, 0.125},
		{"NCE", 0.4, 0},
		{"H-Score", 0.825, 0.4},
		{"LFC", 2.1875, 0.6125},
		{"LEEP", 2.575, 0.3625},
	} {
		m := ranked(t, "hub10", c.ranking).Measures
		if a, b := mean(m.Regret1), mean(m.Regret3); math.Abs(a-c.top1) > 1e-9 || math.Abs(b-c.top3) > 1e-9 {
			t.Errorf("%s: regrets %v and %v, want %v and %v", c.ranking, a, b, c.top1, c.top3)
		}
	}
}

func ranked(t *testing.T, pool, name string) Ranked {
	t.Helper()
	all, err := tables(t).Pool(pool).Rank()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("%s: no ranking %q", pool, name)
	return Ranked{}
}

func TestChanceIsTheMeanOverAllOrders(t *testing.T) {
	accuracies := []float64{3, 9, 4, 9, math.NaN(), 1}
	var chance Measures
	chance.addChance(accuracies)
	var known []float64
	for _, v := range accuracies {
		if !math.IsNaN(v) {
			known = append(known, v)
		}
	}
	var regret1, regret3, selections, n float64
	scores := make([]float64, len(known))
	var visit func(i int)
	visit = func(i int) {
		if i == len(known) {
			a, err := evaluate.Regret(scores, known, 1)
			b, err2 := evaluate.Regret(scores, known, 3)
			c, err3 := evaluate.SelectionsToBest(scores, known)
			if err != nil || err2 != nil || err3 != nil {
				t.Fatal(err, err2, err3)
			}
			regret1, regret3, selections, n = regret1+a, regret3+b, selections+c, n+1
			return
		}
		for v := range len(known) {
			if !slices.Contains(scores[:i], float64(v+1)) {
				scores[i] = float64(v + 1)
				visit(i + 1)
				scores[i] = 0
			}
		}
	}
	visit(0)
	if n != 120 || math.Abs(chance.Regret1[0]-regret1/n) > 1e-12 || math.Abs(chance.Regret3[0]-regret3/n) > 1e-12 || math.Abs(chance.Selections[0]-selections/n) > 1e-12 {
		t.Errorf("got %+v, want %v, %v, %v over %v orders", chance, regret1/n, regret3/n, selections/n, n)
	}
}

// All printed means of figures 4 and 5 are those of the printed gains, but for
// rounding.
func TestMeanGainsComeOut(t *testing.T) {
	means := tables(t).GainMeans()
	if len(means) != 9+9+6+6 {
		t.Fatalf("%d means", len(means))
	}
	for _, m := range means {
		if !m.Agrees {
			t.Errorf("%+v", m)
		}
	}
}

func TestThePriorNeverSeesTheDataSet(t *testing.T) {
	p := *tables(t).Pool("cnn11")
	before, err := p.Prior(4, selection.MeanRank)
	if err != nil {
		t.Fatal(err)
	}
	p.Accuracy = slices.Clone(p.Accuracy)
	p.Accuracy[4] = make([]float64, len(p.Models))
	after, err := p.Prior(4, selection.MeanRank)
	if err != nil || !slices.Equal(before, after) {
		t.Errorf("%v became %v (%v)", before, after, err)
	}
}

func TestDamagedTablesAreRefusedWithTheirLine(t *testing.T) {
	const header = "pool,dataset,model,accuracy\n"
	for _, c := range []struct{ name, text, says string }{
		{"empty", "", "no header"},
		{"wrong header", "pool,dataset\n", "the header is"},
		{"missing cell", header + "a,b,c\n", "line 2"},
		{"empty cell", header + "a,b,c,1\na,,c,1\n", "line 3: no dataset"},
		{"no number", header + "a,b,c,high\n", `line 2: the accuracy "high"`},
		{"NaN", header + "a,b,c,NaN\n", `line 2: the accuracy "NaN"`},
		{"infinity", header + "a,b,c,1e999\n", "line 2"},
		{"twice", header + "a,b,c,1\na,b,c,1\n", "line 3: a second value"},
		{"open quote", header + "a,\"b,c,1\n", "line"},
	} {
		err := readAccuracies(strings.NewReader(c.text), &Tables{})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
	}
	small := func() *Tables {
		s := &Tables{}
		if err := readAccuracies(strings.NewReader(header+"a,b,c,1\na,b,d,2\n"), s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	const scores = "pool,dataset,model,score,value\n"
	for text, says := range map[string]string{
		scores + "z,b,c,LFC,1\n": `no pool "z"`,
		scores + "a,b,e,LFC,1\n": "no accuracy of e on b",
		scores + "a,b,c,LFC,1\n": "LFC is missing for a model",
		scores + "a,b,d,LFC,1\n": "LFC is missing for a model",
	} {
		if err := readScores(strings.NewReader(text), small()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", text, err, says)
		}
	}
	const correlations = "table,pool,dataset,score,convention,tau_w\n"
	for text, says := range map[string]string{
		correlations + "t,a,x,LFC,both,1\n":   "no pool a with the data set x",
		correlations + "t,a,b,LFC,mixed,1\n":  `"mixed"`,
		correlations + "t,a,b,LFC,both,1.5\n": "not in [-1, 1]",
	} {
		if err := readCorrelations(strings.NewReader(text), small()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", text, err, says)
		}
	}
	if err := readGains(strings.NewReader("zoo,setting,top,task,score,gain\na,b,best,c,d,1\n"), &Tables{}); err == nil {
		t.Error("no error for the best \"best\" models")
	}
}

func FuzzReadTables(f *testing.F) {
	for _, name := range []string{"accuracies", "scores", "correlations", "gains", "rankings"} {
		raw, err := files.ReadFile("data/" + name + ".csv")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw[:min(len(raw), 600)])
	}
	f.Add([]byte("pool,dataset,model,score,value\na,b,c,LFC,1\na,b,d,LFC,2\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		all := &Tables{}
		if readAccuracies(bytes.NewReader(raw), all) != nil {
			all = &Tables{}
			if err := readAccuracies(strings.NewReader("pool,dataset,model,accuracy\na,b,c,1\na,b,d,2\n"), all); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range all.Pools {
			for _, row := range p.Accuracy {
				if len(row) != len(p.Models) {
					t.Fatalf("%d accuracies for %d models", len(row), len(p.Models))
				}
			}
		}
		if readScores(bytes.NewReader(raw), all) == nil {
			for _, p := range all.Pools {
				for name, table := range p.Scores {
					if len(table) != len(p.Datasets) {
						t.Fatalf("%s: %d rows for %d data sets", name, len(table), len(p.Datasets))
					}
				}
			}
		}
		_ = readCorrelations(bytes.NewReader(raw), all)
		_ = readGains(bytes.NewReader(raw), all)
		_ = readRankings(bytes.NewReader(raw), all)
	})
}

// The embedded accuracies are those of the collected tables.
func TestEmbeddedAccuraciesEqualTheCollectedOnes(t *testing.T) {
	all := tables(t)
	for pool, file := range map[string]string{
		"cnn11": "acc_supervised_cnn11_x_11.csv", "ssl12": "acc_selfsup_resnet50_12_x_11.csv", "vit13": "acc_vit13_x_11.csv",
		"captioner9": "bleu_caption9_x_5.csv", "hub10": "acc_modelspider_single10.csv", "expert66": "acc_modelspider_ftd66.csv",
	} {
		f, err := os.Open(realdata.Path(t, "selection", file))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(f).ReadAll()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		p := all.Pool(pool)
		for d, row := range rows[1:] {
			for m, cell := range row[1:] {
				want, err := strconv.ParseFloat(cell, 64)
				if err != nil || p.Accuracy[d][m] != want || p.Datasets[d] != row[0] || p.Models[m] != rows[0][m+1] {
					t.Fatalf("%s: %s on %s is %v, not %q", file, p.Models[m], p.Datasets[d], p.Accuracy[d][m], cell)
				}
			}
		}
	}
}
