// Package published holds accuracies of fine-tuned models from the literature on
// model selection, the scores and correlations printed beside them, and what
// follows from these: the correlations computed anew, and how well a static
// prior, which looks at no score and not at the data set, ranks the same models.
//
// The tables are embedded facts. The package refuses to judge how they were
// made: accuracies of one pool stem from one protocol, those of two pools need
// not.
package published

import (
	"bytes"
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"sync"

	"quicktune/selection/evaluate"
)

//go:embed data/*.csv
var files embed.FS

// Pool is a set of pretrained models fine-tuned on a number of data sets.
type Pool struct {
	Name string
	// About says what the models are, and Source who published the accuracies.
	About, Source    string
	Models, Datasets []string
	// Accuracy is that of model m on data set d at [d][m], NaN where unknown.
	// It is in per cent, but for BLEU in [0, 1] and for minus an error on the
	// regression data sets of hub10. Larger is better everywhere.
	Accuracy [][]float64
	// Scores are those published for data sets, by name; a data set without
	// has nil.
	Scores     map[string][][]float64
	ScoreNames []string // in the order published
}

// Correlation is a published weighted Kendall tau between the accuracies of a pool
// and a score on one data set.
type Correlation struct {
	Table                string // jmlr, model-spider, sfda or ped
	Pool, Dataset, Score string
	Convention           evaluate.Convention
	Tau                  float64
}

// Gain is a cell of figures 4 and 5 of Deshpande et al., arXiv:2102.00084: the
// accuracy, in points, of the best of the Top models by a score over that of the
// ImageNet expert. Printed gains are rounded to two digits.
type Gain struct {
	Zoo, Setting string // single-domain or multi-domain; full or 20-shot
	Top          int
	Task, Score  string // the task "mean" is the row printed below the others
	Points       float64
}

// Ranking is a cell of figure 6 of the same paper: a mean over its eight tasks.
type Ranking struct {
	Zoo, Setting, Measure, Score string // selections-to-best or spearman
	Value                        float64
}

// Tables is all that the package holds.
type Tables struct {
	Pools        []*Pool
	Correlations []Correlation
	Gains        []Gain
	Rankings     []Ranking
}

var about = map[string][2]string{
	"cnn11":      {"11 supervised CNNs", "Shao et al., ECCV 2022 (SFDA)"},
	"ssl12":      {"12 self-supervised ResNet-50s", "Shao et al., ECCV 2022 (SFDA)"},
	"vit13":      {"13 vision transformers", "Meng et al., NeurIPS 2023 (EMMS)"},
	"captioner9": {"9 image captioners, BLEU", "Meng et al., NeurIPS 2023 (EMMS)"},
	"hub10":      {"10 supervised CNNs", "Zhang et al., NeurIPS 2023 (Model Spider)"},
	"expert66":   {"3 architectures x 22 source data sets", "Zhang et al., NeurIPS 2023 (Model Spider)"},
	"transfer32": {"4 architectures x 8 source data sets", "Bolya et al., NeurIPS 2021 (PARC)"},
	"hub12":      {"12 supervised CNNs", "You et al., JMLR 2022 (LogME, table 9)"},
}

// Load returns the embedded tables. Callers must not change them.
func Load() (*Tables, error) { return load() }

var load = sync.OnceValues(func() (*Tables, error) {
	t := &Tables{}
	for _, f := range []struct {
		name string
		read func(io.Reader, *Tables) error
	}{
		{"accuracies.csv", readAccuracies}, {"scores.csv", readScores}, {"correlations.csv", readCorrelations},
		{"gains.csv", readGains}, {"rankings.csv", readRankings},
	} {
		raw, err := files.ReadFile("data/" + f.name)
		if err != nil {
			return nil, err
		}
		if err := f.read(bytes.NewReader(raw), t); err != nil {
			return nil, fmt.Errorf("published: %s: %w", f.name, err)
		}
	}
	return t, nil
})

// Pool returns the pool of that name, nil if there is none.
func (t *Tables) Pool(name string) *Pool {
	for _, p := range t.Pools {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// readTable calls row for each row of a CSV file with the given header, the last
// column of which is a number.
func readTable(r io.Reader, header []string, row func(cells []string, value float64) error) error {
	c := csv.NewReader(r)
	first, err := c.Read()
	if err == io.EOF {
		return errors.New("no header")
	}
	if err != nil {
		return err
	}
	if !slices.Equal(first, header) {
		return fmt.Errorf("the header is %q, not %q", first, header)
	}
	for {
		cells, err := c.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		line, _ := c.FieldPos(0)
		for i, cell := range cells {
			if cell == "" {
				return fmt.Errorf("line %d: no %s", line, header[i])
			}
		}
		last := len(cells) - 1
		v, err := strconv.ParseFloat(cells[last], 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("line %d: the %s %q is not a finite number", line, header[last], cells[last])
		}
		if err := row(cells[:last], v); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// set puts v at the row and column of two names into a table of NaN, which it
// widens; it fails if there is a value already.
func set(table [][]float64, row, column int, v float64) ([][]float64, error) {
	for len(table) <= row {
		table = append(table, nil)
	}
	for len(table[row]) <= column {
		table[row] = append(table[row], math.NaN())
	}
	if !math.IsNaN(table[row][column]) {
		return nil, errors.New("a second value")
	}
	table[row][column] = v
	return table, nil
}

// position returns the index of name in list, to which it is added if need be.
func position(list *[]string, name string) int {
	if i := slices.Index(*list, name); i >= 0 {
		return i
	}
	*list = append(*list, name)
	return len(*list) - 1
}

func readAccuracies(r io.Reader, t *Tables) error {
	err := readTable(r, []string{"pool", "dataset", "model", "accuracy"}, func(cells []string, v float64) error {
		p := t.Pool(cells[0])
		if p == nil {
			p = &Pool{Name: cells[0], About: about[cells[0]][0], Source: about[cells[0]][1], Scores: map[string][][]float64{}}
			t.Pools = append(t.Pools, p)
		}
		var err error
		p.Accuracy, err = set(p.Accuracy, position(&p.Datasets, cells[1]), position(&p.Models, cells[2]), v)
		return err
	})
	for _, p := range t.Pools {
		for d := range p.Accuracy {
			for len(p.Accuracy[d]) < len(p.Models) {
				p.Accuracy[d] = append(p.Accuracy[d], math.NaN())
			}
		}
	}
	return err
}

func readScores(r io.Reader, t *Tables) error {
	err := readTable(r, []string{"pool", "dataset", "model", "score", "value"}, func(cells []string, v float64) error {
		p := t.Pool(cells[0])
		if p == nil {
			return fmt.Errorf("no pool %q", cells[0])
		}
		d, m := slices.Index(p.Datasets, cells[1]), slices.Index(p.Models, cells[2])
		if d < 0 || m < 0 {
			return fmt.Errorf("pool %s has no accuracy of %s on %s", p.Name, cells[2], cells[1])
		}
		position(&p.ScoreNames, cells[3])
		table, err := set(p.Scores[cells[3]], d, m, v)
		if err == nil {
			p.Scores[cells[3]] = table
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range t.Pools {
		for name, table := range p.Scores {
			for d, row := range table {
				if row == nil {
					continue
				}
				if len(row) < len(p.Models) || slices.ContainsFunc(row, math.IsNaN) {
					return fmt.Errorf("pool %s, %s: %s is missing for a model", p.Name, p.Datasets[d], name)
				}
			}
			for len(table) < len(p.Datasets) {
				table = append(table, nil)
			}
			p.Scores[name] = table
		}
	}
	return nil
}

func readCorrelations(r io.Reader, t *Tables) error {
	return readTable(r, []string{"table", "pool", "dataset", "score", "convention", "tau_w"}, func(cells []string, v float64) error {
		c := Correlation{Table: cells[0], Pool: cells[1], Dataset: cells[2], Score: cells[3], Tau: v}
		p := t.Pool(c.Pool)
		if p == nil || !slices.Contains(p.Datasets, c.Dataset) {
			return fmt.Errorf("no pool %s with the data set %s", c.Pool, c.Dataset)
		}
		switch cells[4] {
		case "both":
		case "by-accuracy":
			c.Convention = evaluate.ByFirst
		default:
			return fmt.Errorf("the convention %q is neither both nor by-accuracy", cells[4])
		}
		if v < -1 || v > 1 {
			return fmt.Errorf("the correlation %v is not in [-1, 1]", v)
		}
		t.Correlations = append(t.Correlations, c)
		return nil
	})
}

func readGains(r io.Reader, t *Tables) error {
	return readTable(r, []string{"zoo", "setting", "top", "task", "score", "gain"}, func(cells []string, v float64) error {
		top, err := strconv.Atoi(cells[2])
		if err != nil || top < 1 {
			return fmt.Errorf("the best %q models", cells[2])
		}
		t.Gains = append(t.Gains, Gain{cells[0], cells[1], top, cells[3], cells[4], v})
		return nil
	})
}

func readRankings(r io.Reader, t *Tables) error {
	return readTable(r, []string{"zoo", "setting", "measure", "score", "value"}, func(cells []string, v float64) error {
		t.Rankings = append(t.Rankings, Ranking{cells[0], cells[1], cells[2], cells[3], v})
		return nil
	})
}
