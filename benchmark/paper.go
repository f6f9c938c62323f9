package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"quicktune/benchmark/crossval"
	"quicktune/benchmark/replay"
	"quicktune/benchmark/report"
	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/metadataset/networks"
	"quicktune/space"
)

// The folders of a paper's directory.
const (
	comparisonDir = "comparison"
	pageStem      = "paper"
)

// paperFlags are the flags of paper.
type paperFlags struct {
	compare  compareFlags
	ablation string
	out      string
}

func newPaper(stdout, stderr io.Writer) *cobra.Command {
	var f paperFlags
	c := &cobra.Command{
		Use:   "paper --data DIR --out DIR",
		Short: "make the counterpart of every figure and table of the papers",
		Long: `Paper makes, in the paper's order, the counterpart of each figure and table of
Pineda Arango et al., "Quick-Tune: Quickly Learning Which Pretrained Model to
Finetune and How" (ICLR 2024), that the meta-dataset allows. Each has a line on
what is claimed (by the abstract, by the public reviews or by the released files),
what was measured here and whether they agree. No number of the paper is printed
that these do not have.

The comparison runs first and is kept in DIR/comparison; an interrupted one goes
on. The ablation takes long and is a command of its own: give its directory by
--ablation.

Sections on the papers on model selection (arXiv:2102.00084) and on training times
(arXiv:2008.12478) follow, of the shipped curves.`,
		Example: `  go run ./benchmark paper --data results/extended --out results/runs/paper --seeds 2 --methods quicktune,asha,random
  go run ./benchmark paper --data results/extended --out results/runs/paper --seeds 2 --methods quicktune,asha,random --ablation results/runs/ablation`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.compare.data == "" || f.out == "" {
				return cli.Inputf("paper needs --data DIR and --out DIR")
			}
			return runPaper(c.Context(), f, stdout, stderr)
		},
	}
	p := c.Flags()
	p.StringVar(&f.compare.data, "data", "", "meta-dataset to replay")
	p.StringVar(&f.out, "out", "", "directory for the page and the comparison")
	p.StringVar(&f.compare.budget, "budget", "", "budgets of the search (default: 1h,4h,16h, or epochs for data without times)")
	p.StringVar(&f.compare.methods.list, "methods", "quicktune,random,asha,hyperband,bohb,dehb,gp-bo,default-model", "methods of Figure 3 and Table 2; quicktune-reference and dyhpo take hours")
	p.IntVar(&f.compare.seeds, "seeds", 5, "repetitions of every method on every data set")
	p.StringVar(&f.compare.datasets, "datasets", "", "data sets to replay (default: all)")
	p.IntVar(&f.compare.parallel, "parallel", 0, "replays that run at the same time (default: one for each CPU)")
	p.StringVar(&f.compare.learn.cache, "cache", "", "directory that keeps what methods learnt (default: quicktune/models in the user's cache)")
	p.StringVar(&f.ablation, "ablation", "", "directory that \"benchmark ablation --out\" wrote, for Figures 4 and 5")
	f.compare.workers, f.compare.clock = 1, string(replay.Training)
	f.compare.learn.shuffle = crossval.DefaultShuffle
	return c
}

// verdict is whether what was measured agrees with what is claimed.
type verdict string

const (
	agrees     verdict = "Agrees."
	disagrees  verdict = "Does not agree."
	undecided  verdict = "These data cannot tell."
	notAtHand  verdict = "Not made: these data do not have it."
	notClaimed verdict = "Nothing to agree with: the paper's numbers are not at hand."
)

// finding is one line under a figure or table.
type finding struct {
	claim, measured string
	verdict
}

func runPaper(ctx context.Context, f paperFlags, stdout, stderr io.Writer) error {
	log := cli.Logger(stderr)
	s, err := openData(f.compare.data)
	if err != nil {
		return err
	}
	ablation, err := readAblation(f.ablation)
	if err != nil {
		return err
	}
	if err := claimPaper(f.out); err != nil {
		return err
	}
	f.compare.out = filepath.Join(f.out, comparisonDir)
	page, findings, err := paperPage(ctx, f, s, ablation, stderr, log)
	if err != nil {
		return err
	}
	if err := writePage(f.out, pageStem, page); err != nil {
		return err
	}
	for _, k := range findings {
		fmt.Fprintf(stdout, "%s\n  claimed   %s\n  measured  %s\n  %s\n", k.title, plain(k.claim), plain(k.measured), k.verdict)
	}
	fmt.Fprintf(stdout, "\n%s.html, %s.md and figures are in %s, the comparison is in %s\n", pageStem, pageStem, f.out, f.compare.out)
	return nil
}

// plain drops the marks of a page's text.
func plain(text string) string { return strings.NewReplacer("**", "", "`", "").Replace(text) }

// claimPaper makes the directory, or refuses one that holds anything else.
func claimPaper(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(dir, 0o777)
	}
	if err != nil {
		return cli.Inputf("--out: %w", err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{comparisonDir, figuresDir, pageStem + ".html", pageStem + ".md"}, e.Name()) {
			return cli.Inputf("--out %s holds %s, which this command did not make; choose another directory", dir, e.Name())
		}
	}
	return nil
}

// readAblation reads what the command of that name wrote; nil for no directory.
func readAblation(dir string) (*ablation, error) {
	if dir == "" {
		return nil, nil
	}
	path := filepath.Join(dir, ablationJSONFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, cli.Inputf("--ablation: %w", err)
	}
	var a ablation
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, cli.Inputf("--ablation: %s: %w", path, err)
	}
	return &a, nil
}

// titled is a finding with the heading that it stands under.
type titled struct {
	title string
	finding
}

// paperPage makes the page; its findings come in the order of the page.
func paperPage(ctx context.Context, f paperFlags, s *metadataset.Store, a *ablation, stderr io.Writer, log *slog.Logger) (*report.Page, []titled, error) {
	page := &report.Page{Title: "Quick-Tune, figure by figure"}
	var findings []titled
	add := func(k finding) {
		page.List("**Claimed.** "+k.claim, "**Measured.** "+k.measured, "**"+string(k.verdict)+"**")
		findings[len(findings)-1].finding = k
	}
	head := func(title string) {
		page.Heading(2, title)
		findings = append(findings, titled{title: title})
	}
	page.Text(fmt.Sprintf("Pineda Arango et al., Quick-Tune: Quickly Learning Which Pretrained Model to Finetune and How, ICLR 2024 (arXiv:2306.03828). "+
		"Each section is the counterpart of a figure or table, made from `%s`: %s. A claim is one of the abstract, of the public reviews or of the released files, as it says; "+
		"no number of the paper is repeated from anywhere else.", filepath.ToSlash(f.compare.data), summary(s)))

	r, err := compareOn(ctx, f.compare, s, stderr, log)
	if err != nil {
		return nil, nil, err
	}
	ranking, err := networks.Rank(s)
	if err == nil {
		head("Figure 1: which model is best on which data set")
		page.Figure(ranking.HeatMap())
		add(ranksFinding(ranking))
		head("Figure 2: accuracy against size of the hub's models")
		if fig, ok := ranking.Pareto(); ok {
			page.Figure(fig)
			add(paretoFinding(ranking))
		} else {
			add(finding{claim: "The abstract: 24 pretrained image classification models.", measured: "The meta-dataset does not say how good its networks are on their source.", verdict: notAtHand})
		}
	}
	head("Table 1: the search space")
	page.Table(spaceTable(s.Space))
	add(finding{
		claim:    "The released search space joins the model with fine-tuning, regularisation, augmentation, optimisation and schedule; all its values are discrete.",
		measured: fmt.Sprintf("%s, %d of them active only under a condition.", count(s.Space.Len(), "hyperparameter"), conditional(s.Space)),
		verdict:  notClaimed,
	})
	head("The meta-dataset")
	add(sizeFinding(s))

	head("Figure 3: regret and rank over time")
	page.Figure(r.Regret())
	page.Figure(r.RankOverTime())
	page.Figure(r.CriticalDifferences())
	page.Table(r.PairedTable())
	add(searchFinding(r))

	head("Table 2: single models")
	add(singleFinding(r))

	parts, hub := ablationTables(a)
	head("Figure 4: the parts of the method")
	if len(parts) == 0 {
		add(finding{claim: reviewOfParts, measured: "Make it by `go run ./benchmark ablation --data DIR --out DIR` and give it by --ablation.", verdict: undecided})
	} else {
		a.document(parts).Add(page, 3)
		add(partsFinding(parts))
	}
	head("Figure 5: the size of the hub")
	if len(hub) == 0 {
		add(finding{claim: "The paper varies the number of models in the hub.", measured: "Make it by `go run ./benchmark ablation --data DIR --out DIR` and give it by --ablation.", verdict: undecided})
	} else {
		a.document(hub).Add(page, 3)
		add(hubFinding(hub))
	}
	head("Comparison with fine-tuned DINOv2")
	add(finding{
		claim:    "The paper fine-tunes one large model, DINOv2, in place of a search over models.",
		measured: "The released curves have no DINOv2 among their 24 models, and no curve can be replayed that was not recorded.",
		verdict:  notAtHand,
	})
	return page, findings, companions(page, head, add)
}

func ranksFinding(r *networks.Ranking) finding {
	first := r.Networks[0]
	k := finding{
		claim: "The abstract: users face the question which pretrained model to use, which supposes that no model is best everywhere.",
		measured: fmt.Sprintf("%d of %d models are best on some of %s; the best mean rank is %.1f, that of `%s`, which wins on %g.",
			r.Winners, len(r.Networks), count(len(r.Datasets), "data set"), first.MeanRank, first.Name, first.Wins),
		verdict: agrees,
	}
	if r.Winners == 1 {
		k.verdict = disagrees
	}
	return k
}

func paretoFinding(r *networks.Ranking) finding {
	front := 0
	for _, n := range r.Networks {
		if n.Front {
			front++
		}
	}
	k := finding{
		claim:    "The abstract: 24 pretrained image classification models.",
		measured: fmt.Sprintf("%d models with curves, %d of them on the Pareto front of parameters and source accuracy among themselves.", len(r.Networks), front),
		verdict:  agrees,
	}
	if len(r.Networks) != 24 {
		k.verdict = disagrees
	}
	return k
}

func sizeFinding(s *metadataset.Store) finding {
	k := finding{
		claim: "The abstract: over 20,000 hyperparameter configurations on 87 data sets. The released files hold 20,108 configurations on 86 (Micro 8,712, Mini 6,731, Extended 4,665).",
		measured: fmt.Sprintf("%s on %s, the part that is at hand.",
			count(s.NumCurves(), "configuration"), count(len(s.Datasets), "data set")),
		verdict: undecided,
	}
	if s.NumCurves() > 20000 {
		k.verdict = agrees
	}
	return k
}

// conditional counts the hyperparameters that are active only under a condition.
func conditional(s *space.Space) int {
	n := 0
	for i := range s.Len() {
		if s.Conditional(i) {
			n++
		}
	}
	return n
}

func searchFinding(r *report.Report) finding {
	k := finding{
		claim:   "The abstract: the approach can quickly select an accurate pretrained model for a new data set together with its hyperparameters. A public review reads a remaining regret of roughly 10 %.",
		verdict: undecided,
	}
	ours := slices.IndexFunc(r.Rows, func(row report.Row) bool { return row.Method.Name == plannerName })
	if published := slices.IndexFunc(r.Rows, func(row report.Row) bool { return row.Method.Name == referenceName }); published >= 0 {
		ours = published
	}
	if ours < 0 {
		k.measured = "Neither form of Quick-Tune is among the methods."
		return k
	}
	row := r.Rows[ours]
	var regrets []string
	for _, c := range row.Cells {
		regrets = append(regrets, fmt.Sprintf("%.3f", c.Regret.Mean))
	}
	last := len(r.Budgets) - 1
	best, next := row.Cells[last].Regret.Mean, math.Inf(1)
	name := ""
	var worse []string
	for i, other := range r.Rows {
		if i == ours || other.Method.Name == replay.OracleName {
			continue
		}
		if v := other.Cells[last].Regret.Mean; v < next {
			next, name = v, other.Method.Name
		}
		if r.Holm[ours][i] < 0.05 && other.Cells[last].Regret.Mean > best {
			worse = append(worse, other.Method.Name)
		}
	}
	k.measured = fmt.Sprintf("`%s` has a mean regret of %s in the budgets %s; the best other method, `%s`, has %.3f in the last. All pairs, adjusted by Holm: significantly worse are %s.",
		row.Method.Name, strings.Join(regrets, " / "), strings.Join(labels(r), " / "), name, next, orNone(worse))
	switch {
	case best < next && best <= 0.1:
		k.verdict = agrees
	case best > next:
		k.verdict = disagrees
	}
	return k
}

func labels(r *report.Report) []string {
	var out []string
	for _, b := range r.Budgets {
		out = append(out, cli.FormatBudget(b, r.Data.Unit))
	}
	return out
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return "`" + strings.Join(names, "`, `") + "`"
}

func singleFinding(r *report.Report) finding {
	k := finding{
		claim:   "The paper compares with single models at default hyperparameters. The released curves have no such configurations; the counterpart is the single model that is best on other data sets, tuned (`default-model`).",
		verdict: undecided,
	}
	single := slices.IndexFunc(r.Rows, func(row report.Row) bool { return row.Method.Name == "default-model" })
	joint := slices.IndexFunc(r.Rows, func(row report.Row) bool { return row.Method.Name == plannerName || row.Method.Name == referenceName })
	if single < 0 || joint < 0 {
		k.measured = "Needs `default-model` and Quick-Tune among the methods."
		return k
	}
	last := len(r.Budgets) - 1
	a, b := r.Rows[joint], r.Rows[single]
	k.measured = fmt.Sprintf("At %s the regret of the tuned single model is %.3f, that of `%s` %.3f (p %s by Wilcoxon and Holm over all pairs).",
		labels(r)[last], b.Cells[last].Regret.Mean, a.Method.Name, a.Cells[last].Regret.Mean, strconv.FormatFloat(r.Holm[joint][single], 'g', 2, 64))
	switch {
	case r.Holm[joint][single] >= 0.05:
	case a.Cells[last].Regret.Mean < b.Cells[last].Regret.Mean:
		k.verdict = agrees
	default:
		k.verdict = disagrees
	}
	return k
}

const reviewOfParts = "A public review: on Micro and Mini the method without meta-learning, but with costs and partial curves, does as well as the whole, so that most of the gain comes from the costs."

// ablationTables parts the tables of an ablation.
func ablationTables(a *ablation) (parts, hub []ablationTable) {
	if a == nil {
		return nil, nil
	}
	for _, t := range a.Tables {
		if t.Rows[0].Hub > 0 {
			hub = append(hub, t)
		} else {
			parts = append(parts, t)
		}
	}
	return parts, hub
}

func partsFinding(tables []ablationTable) finding {
	k := finding{claim: reviewOfParts, verdict: undecided}
	var lines []string
	for _, t := range tables {
		whole, withoutMeta, withoutCost := t.regret("+M +C +G"), t.regret("-M +C +G"), t.regret("+M -C +G")
		lines = append(lines, fmt.Sprintf("%s: the whole %.3f, without meta-learning %.3f, without costs %.3f", t.Pool, whole, withoutMeta, withoutCost))
		if whole == whole && withoutMeta == withoutMeta && withoutCost == withoutCost {
			k.verdict = disagrees
			if withoutCost-whole > withoutMeta-whole {
				k.verdict = agrees
			}
		}
	}
	k.measured = "Mean regret in the last budget. " + strings.Join(lines, "; ") + "."
	return k
}

// regret is that of a form in the last budget, NaN if there is none.
func (t ablationTable) regret(form string) float64 {
	for _, r := range t.Rows {
		if r.Name == form {
			return r.Regret[len(r.Regret)-1].Mean
		}
	}
	return math.NaN()
}

func hubFinding(tables []ablationTable) finding {
	k := finding{claim: "The paper varies the number of models in the hub; its numbers are not at hand.", verdict: notClaimed}
	var lines []string
	for _, t := range tables {
		var points []string
		for _, r := range t.Rows {
			points = append(points, fmt.Sprintf("%d models %.3f", r.Hub, r.Regret[len(r.Regret)-1].Mean))
		}
		lines = append(lines, t.Pool+": "+strings.Join(points, ", "))
	}
	k.measured = "Mean regret in the last budget. " + strings.Join(lines, "; ") + "."
	return k
}

// spaceTable lists the hyperparameters.
func spaceTable(s *space.Space) [][]string {
	rows := [][]string{{"hyperparameter", "type", "values", "active if"}}
	for i := range s.Len() {
		p := s.Param(i)
		values := ""
		switch {
		case len(p.Choices) > 8:
			values = fmt.Sprintf("%d choices", len(p.Choices))
		case len(p.Choices) > 0:
			var words []string
			for _, c := range p.Choices {
				words = append(words, c.String())
			}
			values = strings.Join(words, ", ")
		default:
			values = fmt.Sprintf("%v to %v", p.Lower, p.Upper)
		}
		var conditions []string
		for _, c := range s.Conditions() {
			if c.Child == p.Name {
				conditions = append(conditions, c.String())
			}
		}
		rows = append(rows, []string{p.Name, fmt.Sprint(p.Type), values, strings.Join(conditions, " and ")})
	}
	return rows
}
