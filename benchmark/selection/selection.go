// Package selection reports how well scores of pretrained models rank them, for
// the command benchmark: on the accuracy tables of the literature and on the
// curves of the embedded networks, each score beside a static prior that never
// looks at the data set.
//
// It never fine-tunes: accuracies are those that others published or a
// meta-dataset holds.
package selection

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quicktune/benchmark/stats"
	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/selection/published"
)

// flags are those of the command.
type flags struct {
	data, scores, images string
	probes, by, figure   string
	probe, json          bool
	limit                time.Duration
	parallel             int
}

// scoresPath is where the scores of the meta-dataset lie.
func (f flags) scoresPath() string {
	if f.scores != "" {
		return f.scores
	}
	return filepath.Clean(f.data) + "-scores.parquet"
}

// New returns the command that prints the report to stdout.
func New(stdout, stderr io.Writer) *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "selection",
		Short: "rank pretrained models by scores, on published accuracies or on a meta-dataset",
		Long: `Selection measures how well scores that need no fine-tuning rank pretrained
models. A static prior ranks the same models by their other data sets, and every
score has to be read beside it.

Without --data it does so on tables of fine-tuned accuracies from the literature:
weighted Kendall correlation, regret of the models chosen and models tried until
the best. Published correlations are computed anew, and those that do not come
out are listed.

With --data, the models are the embedded networks and the accuracies those of a
meta-dataset. Its scores come from the file DIR-scores.parquet; with --probe, they
are computed for the data sets that the file lacks, from one pass of every
network over at most 25 training images of a class. The same command goes on.

With --probes, it scores what "generate probe" stored of any models, embedded or
of timm, and ranks them on each data set; --scores names a file to write, which
"benchmark rankings" reads.`,
		Example: `  go run ./benchmark selection
  go run ./benchmark selection --json
  go run ./benchmark selection --probes results/runs/probes --by logme`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.data != "" && f.probes != "" {
				return cli.Inputf("--data and --probes exclude each other")
			}
			if err := cli.Conditions(c.Flags()); err != nil {
				return err
			}
			if f.data != "" {
				return runHub(c.Context(), f, stdout, stderr)
			}
			if f.probes != "" {
				return runStored(c.Context(), f, stdout)
			}
			r, err := Compute(stats.Bootstrap{})
			if err != nil {
				return err
			}
			if f.json {
				return writeJSON(stdout, r)
			}
			return r.WriteText(stdout)
		},
	}
	p := c.Flags()
	p.StringVar(&f.data, "data", "", "meta-dataset of the embedded networks")
	p.StringVar(&f.scores, "scores", "", "with --data or --probes: file of scores (default: the directory's name with -scores.parquet)")
	p.StringVar(&f.probes, "probes", "", "directory that \"generate probe\" wrote")
	p.StringVar(&f.by, "by", "logme", "with --probes: score that models are ranked by")
	p.StringVar(&f.figure, "figure", "", "with --data: SVG file to draw the correlations into")
	p.BoolVar(&f.probe, "probe", false, "with --data: compute the scores that the file lacks")
	p.StringVar(&f.images, "images", "", "with --probe: directory with the images, or zip archives, of data sets that do not come with the program")
	p.DurationVar(&f.limit, "for", 0, "with --probe: begin no further data set after this time, such as 4m (default: no limit)")
	p.IntVar(&f.parallel, "parallel", 0, "with --probe or --probes: networks scored at the same time; changes no score (default: one for each CPU)")
	p.BoolVar(&f.json, "json", false, "print JSON for a program to read")
	return c
}

// runHub reports on a meta-dataset.
func runHub(ctx context.Context, f flags, stdout, stderr io.Writer) error {
	s, err := metadataset.Open(f.data)
	if err != nil {
		return cli.Input(err)
	}
	scores, err := loadScores(f.scoresPath())
	if err != nil {
		return cli.Input(err)
	}
	if f.probe {
		if scores, err = probeAll(ctx, s, f, scores, slog.New(slog.NewTextHandler(stderr, nil))); err != nil {
			return err
		}
	}
	if len(scores) == 0 {
		return cli.Inputf("%s holds no scores; --probe computes them", f.scoresPath())
	}
	r, err := newHubReport(s, scores, stats.Bootstrap{})
	if err != nil {
		return cli.Input(err)
	}
	if f.figure != "" {
		if err := writeFigure(f.figure, r); err != nil {
			return err
		}
	}
	if f.json {
		return writeJSON(stdout, r)
	}
	return r.WriteText(stdout)
}

// Report is all that the command prints.
type Report struct {
	Intervals string               `json:"intervals"` // what they are
	Repeated  []Repeated           `json:"repeated"`
	Pools     []Pool               `json:"pools"`
	Gains     []published.GainMean `json:"gains"`
	Rankings  []published.Ranking  `json:"rankings"`
}

// Repeated counts the published correlations of a table that come out again.
type Repeated struct {
	Table  string            `json:"table"`
	Agree  int               `json:"agree"`
	Of     int               `json:"of"`
	Differ []published.Check `json:"differ,omitempty"`
}

// Pool is a comparison of rankings of one pool of models.
type Pool struct {
	Name     string `json:"name"`
	About    string `json:"about"`
	Source   string `json:"source"`
	Models   int    `json:"models"`
	Datasets int    `json:"datasets"`
	Rows     []Row  `json:"rows"`
}

// Row is one ranking, with means over data sets.
type Row struct {
	Name string `json:"name"`
	// Tau is the mean weighted Kendall correlation in SciPy's convention, the
	// only measure that is known of published correlations.
	Tau       Estimate `json:"tau_w"`
	Published bool     `json:"published,omitempty"` // the correlation is as printed
	// The others are not known of those.
	TauByAccuracy *float64 `json:"tau_w_by_accuracy,omitempty"`
	Spearman      *float64 `json:"spearman,omitempty"`
	Regret1       *float64 `json:"regret_top1,omitempty"`
	Regret3       *float64 `json:"regret_top3,omitempty"`
	Selections    *float64 `json:"selections_to_best,omitempty"`
}

// Estimate is a mean with an interval, which is missing with too few data sets.
type Estimate struct {
	Mean float64  `json:"mean"`
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
}

// tableNames says whose correlations a table holds.
var tableNames = map[string]string{
	"jmlr": "You et al., JMLR 2022, table 9", "model-spider": "Model Spider, NeurIPS 2023",
	"sfda": "SFDA, ECCV 2022", "ped": "PED, ICCV 2023",
}

// Compute repeats and compares everything in the published tables.
func Compute(b stats.Bootstrap) (*Report, error) {
	tables, err := published.Load()
	if err != nil {
		return nil, err
	}
	r := &Report{Intervals: b.String(), Gains: tables.GainMeans(), Rankings: tables.Rankings}
	checks, err := tables.Checks()
	if err != nil {
		return nil, err
	}
	at := map[string]int{}
	for _, c := range checks {
		i, ok := at[c.Table]
		if !ok {
			i = len(r.Repeated)
			at[c.Table] = i
			r.Repeated = append(r.Repeated, Repeated{Table: c.Table})
		}
		t := &r.Repeated[i]
		t.Of++
		if c.Agrees {
			t.Agree++
		} else {
			t.Differ = append(t.Differ, c)
		}
	}
	for _, p := range tables.Pools {
		ranked, err := p.Rank()
		if err != nil {
			return nil, err
		}
		pool := Pool{Name: p.Name, About: p.About, Source: p.Source, Models: len(p.Models), Datasets: len(ranked[0].Datasets)}
		resampler := b.Resampler(pool.Datasets)
		for _, k := range ranked {
			tau := estimate(resampler, k.Measures.Tau)
			if k.Name == published.Random {
				tau.Low, tau.High = nil, nil // an expectation, without sampling
			}
			pool.Rows = append(pool.Rows, Row{
				Name: k.Name, Tau: tau, TauByAccuracy: mean(k.Measures.ByAccuracy), Spearman: mean(k.Measures.Spearman),
				Regret1: mean(k.Measures.Regret1), Regret3: mean(k.Measures.Regret3), Selections: mean(k.Measures.Selections),
			})
		}
		pool.Rows = append(pool.Rows, asPrinted(tables, p, b)...)
		r.Pools = append(r.Pools, pool)
	}
	return r, nil
}

// asPrinted returns the correlations of a pool whose scores were not published.
func asPrinted(tables *published.Tables, p *published.Pool, b stats.Bootstrap) []Row {
	var names []string
	values := map[string][]float64{}
	for _, c := range tables.Correlations {
		if c.Pool == p.Name && p.Scores[c.Score] == nil {
			if values[c.Score] == nil {
				names = append(names, c.Score)
			}
			values[c.Score] = append(values[c.Score], c.Tau)
		}
	}
	var rows []Row
	for _, name := range names {
		rows = append(rows, Row{Name: name, Published: true, Tau: estimate(b.Resampler(len(values[name])), values[name])})
	}
	return rows
}

func estimate(r *stats.Resampler, values []float64) Estimate {
	s := r.Mean(values)
	e := Estimate{Mean: s.Mean}
	if !math.IsNaN(s.Low) {
		e.Low, e.High = &s.Low, &s.High
	}
	return e
}

func mean(values []float64) *float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	sum /= float64(len(values))
	return &sum
}

// WriteText prints the report for people.
func (r *Report) WriteText(out io.Writer) error {
	fmt.Fprintln(out, "published correlations computed anew from published scores")
	for _, t := range r.Repeated {
		fmt.Fprintf(out, "  %s: %d of %d agree to the digits printed\n", tableNames[t.Table], t.Agree, t.Of)
		for _, c := range t.Differ {
			fmt.Fprintf(out, "    %s, %s: printed %.3f, computed %.4f\n", c.Dataset, c.Score, c.Tau, c.Recomputed)
		}
	}
	for _, p := range r.Pools {
		fmt.Fprintf(out, "\n%s: %s, %d data sets; %s\n", p.Name, p.About, p.Datasets, p.Source)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "  ranking\ttau_w\tinterval\tby accuracy\tSpearman\tregret top-1\ttop-3\ttries to best")
		for _, row := range p.Rows {
			name := row.Name
			if row.Published {
				name += ", as printed"
			}
			fmt.Fprintf(w, "  %s\t%.3f\t%s\t%s\t%s\t%s\t%s\t%s\n", name, row.Tau.Mean, row.Tau.interval(3), Digits(row.TauByAccuracy, 3),
				Digits(row.Spearman, 3), Digits(row.Regret1, 2), Digits(row.Regret3, 2), Digits(row.Selections, 2))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "\nDeshpande et al., arXiv:2102.00084: mean gain over the ImageNet expert, points, printed and from the printed cells")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  zoo\tsetting\tbest of top\tscore\tprinted\tcells")
	for _, g := range r.Gains {
		fmt.Fprintf(w, "  %s\t%s\t%d\t%s\t%g\t%.3f\n", g.Zoo, g.Setting, g.Top, g.Score, g.Printed, g.Mean)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nthe same paper, figure 6, as printed (a random order of 30 models finds the best after 15.5 on average, of 8 after 4.5)")
	fmt.Fprintln(w, "  zoo\tsetting\tmeasure\tscore\tvalue")
	for _, k := range r.Rankings {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%g\n", k.Zoo, k.Setting, k.Measure, k.Score, k.Value)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, `
tau_w: weighted Kendall correlation with hyperbolic weights, mean over data sets, in SciPy's default convention; "by accuracy" takes ranks from accuracies alone.
Intervals: %s.
Regret: points of accuracy (of BLEU: 0 to 1) lost by fine-tuning only the one or three models put first; random is the exact expectation.
A static prior knows the models' accuracies on the pool's other data sets and nothing of the one at hand. "prior + 0.5 score" adds half the standardised score to the standardised prior by deviation.
`, r.Intervals)
	return err
}

// Digits formats a number that may be missing.
func Digits(v *float64, n int) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.*f", n, *v)
}
