package selection

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"quicktune/benchmark/stats"
	"quicktune/generate/hub"
	"quicktune/metadataset"
	"quicktune/selection"
	"quicktune/selection/evaluate"
	"quicktune/selection/published"
)

// mixedSource is the source of the networks that saw all domains.
const mixedSource = "source-mixed"

// HubReport is how well scores rank the networks of a meta-dataset.
type HubReport struct {
	Data      string     `json:"data"`
	Datasets  []string   `json:"datasets"`
	Models    int        `json:"models"`
	Intervals string     `json:"intervals"`
	Tables    []HubTable `json:"tables"`
	Cost      HubCost    `json:"cost"`
}

// HubTable compares all rankings of a pool of networks in one setting.
type HubTable struct {
	Truth   string   `json:"truth"`
	Pool    string   `json:"pool"`
	Models  int      `json:"models"`
	Setting string   `json:"setting"`
	Expert  string   `json:"expert,omitempty"` // over which gains are, most often
	Rows    []HubRow `json:"rows"`
}

// HubRow is one ranking with means over data sets.
type HubRow struct {
	Row
	Pearson *float64 `json:"pearson,omitempty"`
	// Gain1 and Gain3 are the accuracy, in points, of the model, or the best of
	// three models, put first over that of the default expert.
	Gain1 *Estimate `json:"gain_top1,omitempty"`
	Gain3 *Estimate `json:"gain_top3,omitempty"`
	// Over is the mean difference of tau_w to the static prior by deviation.
	Over *Estimate `json:"tau_w_over_prior,omitempty"`
}

// HubCost compares seconds, all networks of the hub together.
type HubCost struct {
	Rows []CostRow `json:"rows"`
	// FineTune is the mean time of one full curve of the default expert, in
	// the unit of the meta-dataset.
	FineTune float64 `json:"fine_tune_seconds"`
}

// CostRow is what a score of the whole hub costs on a data set, on average.
type CostRow struct {
	Setting string  `json:"setting"`
	Images  float64 `json:"images"`
	// Passes are the seconds of the networks' passes, gradients included, and
	// Scores those of all scores together but RSA, which Reference is of, with
	// the training that it needs.
	Passes    float64 `json:"passes_seconds"`
	Scores    float64 `json:"scores_seconds"`
	Reference float64 `json:"rsa_seconds"`
	Relative  float64 `json:"relative_to_one_fine_tune"` // without RSA
}

// The parts of the hub that are ranked.
const (
	PoolAll     = "all networks"
	PoolExperts = "experts of one domain"
	PoolMixed   = "networks that saw all domains"
)

// pools says which networks are in them, by their source.
var pools = []struct {
	name string
	in   func(source string) bool
}{
	{PoolAll, func(string) bool { return true }},
	{PoolExperts, func(s string) bool { return s != mixedSource }},
	{PoolMixed, func(s string) bool { return s == mixedSource }},
}

// newHubReport ranks the networks of a store by scores of them.
func newHubReport(s *metadataset.Store, scores []Score, b stats.Bootstrap) (*HubReport, error) {
	best, adjusted, err := truths(s)
	if err != nil {
		return nil, err
	}
	r := &HubReport{Data: s.Manifest.Hash, Models: len(s.Models), Intervals: b.String()}
	values := map[[4]string]float64{} // setting, score, data set, model
	probed := map[string]bool{}
	var names []string
	for _, v := range scores {
		if v.Value != nil {
			values[[4]string{v.Setting, v.Score, v.Dataset, v.Model}] = *v.Value
		}
		probed[v.Dataset] = true
	}
	for _, s := range scorers() {
		names = append(names, s.Name())
	}
	var datasets []int
	for d, set := range s.Datasets {
		if probed[set.Name] {
			datasets = append(datasets, d)
			r.Datasets = append(r.Datasets, set.Name)
		}
	}
	if len(datasets) < 3 {
		return nil, fmt.Errorf("scores on %d data sets of the meta-dataset; at least 3 are needed to compare with a prior", len(datasets))
	}
	build := func(t *truth, pool int, setting string) (*HubTable, error) {
		p := &published.Pool{Name: pools[pool].name, Scores: map[string][][]float64{}}
		var models []int
		for m, model := range s.Models {
			recipe, err := hub.Find(model.Name)
			if err != nil {
				return nil, err
			}
			if pools[pool].in(recipe.Source) {
				models = append(models, m)
				p.Models = append(p.Models, model.Name)
			}
		}
		for _, d := range datasets {
			row := make([]float64, len(models))
			for i, m := range models {
				row[i] = t.values[d][m]
				if t.points {
					row[i] *= 100
				}
			}
			p.Datasets = append(p.Datasets, s.Datasets[d].Name)
			p.Accuracy = append(p.Accuracy, row)
		}
		for _, name := range names {
			if table := complete(values, setting, name, p); table != nil {
				p.ScoreNames = append(p.ScoreNames, name)
				p.Scores[name] = table
			}
		}
		return tabulate(t, p, setting, b)
	}
	for _, t := range []*truth{best, adjusted} {
		for i := range pools {
			for _, setting := range settings {
				if i > 0 && setting.name != Headline || t == adjusted && setting.name != Headline {
					continue
				}
				table, err := build(t, i, setting.name)
				if err != nil {
					return nil, err
				}
				r.Tables = append(r.Tables, *table)
			}
		}
	}
	r.Cost = newHubCost(s, scores, datasets)
	return r, nil
}

// complete returns the values of a score [data set][model]. A value that is not
// defined counts as the lowest of its data set; a score without any on a data set
// is nil.
func complete(values map[[4]string]float64, setting, name string, p *published.Pool) [][]float64 {
	out := make([][]float64, len(p.Datasets))
	for d, dataset := range p.Datasets {
		lowest := math.Inf(1)
		row := make([]float64, len(p.Models))
		for m, model := range p.Models {
			v, ok := values[[4]string{setting, name, dataset, model}]
			if !ok {
				v = math.NaN()
			} else {
				lowest = min(lowest, v)
			}
			row[m] = v
		}
		if math.IsInf(lowest, 1) {
			return nil
		}
		for m, v := range row {
			if math.IsNaN(v) {
				row[m] = lowest
			}
		}
		out[d] = row
	}
	return out
}

// tabulate measures all rankings of a pool.
func tabulate(t *truth, p *published.Pool, setting string, b stats.Bootstrap) (*HubTable, error) {
	ranked, err := p.Rank()
	if err != nil {
		return nil, err
	}
	table := &HubTable{Truth: t.name, Pool: p.Name, Models: len(p.Models), Setting: setting}
	experts, err := defaultExperts(p)
	if err != nil {
		return nil, err
	}
	if t.points {
		table.Expert = mostFrequent(p.Models, experts)
	}
	resampler := b.Resampler(len(p.Datasets))
	var prior []float64
	for _, k := range ranked {
		if k.Name == priorName {
			prior = k.Measures.Tau
		}
	}
	for _, k := range ranked {
		row := HubRow{Row: Row{
			Name: k.Name, Tau: estimate(resampler, k.Measures.Tau), TauByAccuracy: mean(k.Measures.ByAccuracy),
			Spearman: mean(k.Measures.Spearman), Selections: mean(k.Measures.Selections),
		}}
		if k.Name == published.Random {
			row.Tau.Low, row.Tau.High = nil, nil
		} else if k.Name != priorName {
			difference := make([]float64, len(prior))
			for d := range prior {
				difference[d] = k.Measures.Tau[d] - prior[d]
			}
			e := estimate(resampler, difference)
			row.Over = &e
		}
		if t.points {
			row.Regret1, row.Regret3 = mean(k.Measures.Regret1), mean(k.Measures.Regret3)
		}
		if k.Values != nil {
			if err := row.gains(p, k, experts, t.points, resampler); err != nil {
				return nil, err
			}
		}
		table.Rows = append(table.Rows, row)
	}
	return table, nil
}

// priorName is that of the prior which scores are added to.
const priorName = "static prior (mean deviation)"

// gains measures what needs the values themselves.
func (row *HubRow) gains(p *published.Pool, k published.Ranked, experts []int, points bool, resampler *stats.Resampler) error {
	var pearson, one, three []float64
	for i, d := range k.Datasets {
		var values, accuracies []float64
		expert := -1
		for m, a := range p.Accuracy[d] {
			if math.IsNaN(a) || math.IsNaN(k.Values[i][m]) {
				continue
			}
			if m == experts[d] {
				expert = len(values)
			}
			values, accuracies = append(values, k.Values[i][m]), append(accuracies, a)
		}
		r, err := evaluate.Pearson(values, accuracies)
		if err != nil {
			return fmt.Errorf("%s on %s: %w", k.Name, p.Datasets[d], err)
		}
		pearson = append(pearson, r)
		if expert < 0 {
			return fmt.Errorf("on %s the default expert was not trained", p.Datasets[d])
		}
		for top, to := range map[int]*[]float64{1: &one, 3: &three} {
			g, err := evaluate.Gain(values, accuracies, min(top, len(values)), expert)
			if err != nil {
				return err
			}
			*to = append(*to, g)
		}
	}
	row.Pearson = mean(pearson)
	if points {
		a, b := estimate(resampler, one), estimate(resampler, three)
		row.Gain1, row.Gain3 = &a, &b
	}
	return nil
}

// defaultExperts returns the model that stands for the ImageNet expert of the
// published benchmark on each data set: of the networks that saw all domains (of
// all, if the pool has none) the one that ranks best on the other data sets.
func defaultExperts(p *published.Pool) ([]int, error) {
	general := make([]bool, len(p.Models))
	for m, name := range p.Models {
		recipe, err := hub.Find(name)
		if err != nil {
			return nil, err
		}
		general[m] = recipe.Source == mixedSource
	}
	if !slices.Contains(general, true) {
		for m := range general {
			general[m] = true
		}
	}
	out := make([]int, len(p.Datasets))
	for d := range p.Datasets {
		prior, err := p.Prior(d, selection.MeanRank)
		if err != nil {
			return nil, err
		}
		out[d] = -1
		for m, v := range prior {
			if general[m] && !math.IsNaN(p.Accuracy[d][m]) && (out[d] < 0 || v > prior[out[d]]) {
				out[d] = m
			}
		}
		if out[d] < 0 {
			return nil, fmt.Errorf("none of the networks that saw all domains was trained on %s", p.Datasets[d])
		}
	}
	return out, nil
}

func mostFrequent(names []string, chosen []int) string {
	counts := make([]int, len(names))
	top := chosen[0]
	for _, m := range chosen {
		if counts[m]++; counts[m] > counts[top] {
			top = m
		}
	}
	return names[top]
}

// newHubCost averages over data sets.
func newHubCost(s *metadataset.Store, scores []Score, datasets []int) HubCost {
	var c HubCost
	n := float64(len(datasets))
	for _, setting := range settings {
		row := CostRow{Setting: setting.name}
		seen := map[[2]string]bool{}
		for _, v := range scores {
			if v.Setting != setting.name {
				continue
			}
			if v.Score == (selection.RSA{}).Name() {
				row.Reference += v.Seconds / n
				continue
			}
			row.Scores += v.Seconds / n
			if pair := [2]string{v.Dataset, v.Model}; !seen[pair] && !math.IsNaN(v.ProbeSeconds) {
				seen[pair] = true
				row.Passes += v.ProbeSeconds / n
				row.Images += float64(v.Images) / n / float64(len(s.Models))
			}
		}
		c.Rows = append(c.Rows, row)
	}
	curves := 0.0
	for curve := range s.NumCurves() {
		m := s.ModelOf[curve]
		if m < 0 || s.Len(curve) < s.Manifest.MaxEpochs || !slices.Contains(datasets, int(s.DatasetOf[curve])) {
			continue
		}
		if recipe, err := hub.Find(s.Models[m].Name); err != nil || recipe.Source != mixedSource {
			continue
		}
		for _, v := range s.Seconds(curve) {
			c.FineTune += float64(v)
		}
		curves++
	}
	if curves > 0 {
		c.FineTune /= curves
		for i := range c.Rows {
			c.Rows[i].Relative = (c.Rows[i].Passes + c.Rows[i].Scores) / c.FineTune
		}
	}
	return c
}

// WriteText prints the report for people.
func (r *HubReport) WriteText(out io.Writer) error {
	fmt.Fprintf(out, "ranking %d pretrained networks on %d data sets (%s) before any fine-tuning\n", r.Models, len(r.Datasets), strings.Join(r.Datasets, ", "))
	for _, t := range r.Tables {
		if t.Setting != Headline {
			continue
		}
		fmt.Fprintf(out, "\n%s, %d; probed on %s; fine-tuned accuracy: %s", t.Pool, t.Models, t.Setting, t.Truth)
		if t.Expert != "" {
			fmt.Fprintf(out, "; default expert (most often): %s", t.Expert)
		}
		fmt.Fprintln(out)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "  ranking\ttau_w\tinterval\tover the prior\tby accuracy\tSpearman\tPearson\tregret top-1\ttop-3\tgain top-1\tinterval\ttop-3\tinterval\ttries to best")
		for _, row := range t.Rows {
			fmt.Fprintf(w, "  %s\t%.3f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Name, row.Tau.Mean, row.Tau.interval(3), row.Over.signed(3),
				Digits(row.TauByAccuracy, 3), Digits(row.Spearman, 3), Digits(row.Pearson, 3), Digits(row.Regret1, 2), Digits(row.Regret3, 2),
				row.Gain1.value(2), row.Gain1.interval(2), row.Gain3.value(2), row.Gain3.interval(2), Digits(row.Selections, 2))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if err := r.writeSettings(out); err != nil {
		return err
	}
	fmt.Fprintf(out, "\ncost of the whole hub on a data set, seconds; one fine-tune (mean full curve of a network that saw all domains) takes %.3g\n", r.Cost.FineTune)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  setting\timages\tpasses\tscores\tboth, of one fine-tune\tRSA with its training")
	for _, c := range r.Cost.Rows {
		rsa := "-"
		if c.Reference > 0 {
			rsa = fmt.Sprintf("%.2f", c.Reference)
		}
		fmt.Fprintf(w, "  %s\t%.0f\t%.2f\t%.2f\t%.2f\t%s\n", c.Setting, c.Images, c.Passes, c.Scores, c.Relative, rsa)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, `
tau_w: weighted Kendall correlation with hyperbolic weights, mean over data sets, in SciPy's default convention; "by accuracy" takes ranks from accuracies alone. "over the prior" is the difference to the static prior by deviation on the same data sets.
Intervals: %s.
Fine-tuned accuracies are those of the meta-dataset: "best found" is the best validation accuracy of a network's curves, of which there are a few with hyperparameters drawn at random; "adjusted" is the mean log odds of the same curves less what trees grown on the other data sets expect of their hyperparameters.
Regret: points lost by fine-tuning only the one or three networks put first. Gain: points over the default expert, which of the networks that saw all domains ranks best on the other data sets.
A static prior knows the networks' accuracies on the other data sets and nothing of the one at hand. "prior + 0.5 score" adds half the standardised score to the standardised prior by deviation.
`, r.Intervals)
	return err
}

// writeSettings prints how the number of images matters.
func (r *HubReport) writeSettings(out io.Writer) error {
	fmt.Fprintf(out, "\ntau_w of %s by images looked at; fine-tuned accuracy: best found\n", PoolAll)
	var names []string
	cells := map[[2]string]string{}
	for _, t := range r.Tables {
		if t.Pool != PoolAll || t.Truth != bestFound {
			continue
		}
		for _, row := range t.Rows {
			if !slices.Contains(names, row.Name) {
				names = append(names, row.Name)
			}
			cells[[2]string{row.Name, t.Setting}] = fmt.Sprintf("%.3f", row.Tau.Mean)
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "  ranking")
	for _, s := range settings {
		fmt.Fprintf(w, "\t%s", s.name)
	}
	fmt.Fprintln(w)
	for _, name := range names {
		fmt.Fprintf(w, "  %s", name)
		for _, s := range settings {
			cell := cells[[2]string{name, s.name}]
			if cell == "" {
				cell = "-"
			}
			fmt.Fprintf(w, "\t%s", cell)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func (e *Estimate) value(n int) string {
	if e == nil {
		return "-"
	}
	return fmt.Sprintf("%.*f", n, e.Mean)
}

func (e *Estimate) interval(n int) string {
	if e == nil || e.Low == nil {
		return "-"
	}
	return fmt.Sprintf("[%.*f, %.*f]", n, *e.Low, n, *e.High)
}

func (e *Estimate) signed(n int) string {
	if e == nil {
		return "-"
	}
	if e.Low == nil {
		return fmt.Sprintf("%+.*f", n, e.Mean)
	}
	return fmt.Sprintf("%+.*f [%+.*f, %+.*f]", n, e.Mean, n, *e.Low, n, *e.High)
}

// writeJSON prints anything for a program to read.
func writeJSON(out io.Writer, r any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
