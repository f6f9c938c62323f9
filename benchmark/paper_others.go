package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"quicktune/benchmark/report"
	"quicktune/benchmark/selection"
	"quicktune/benchmark/traintime"
	"quicktune/metadataset"
)

// companions adds the counterparts of the papers on model selection and on
// training times. They are of the shipped curves, whatever the comparison is of.
func companions(page *report.Page, head func(string), add func(finding)) error {
	results, err := inRepository("results")
	if err != nil {
		return err
	}
	if results == "" {
		head("Model selection and training times")
		add(finding{claim: "Two further papers are part of the product.", measured: "The shipped curves are not here: run the command in the repository.", verdict: undecided})
		return nil
	}
	s, err := metadataset.Open(filepath.Join(results, "embedded"))
	if err != nil {
		return err
	}
	hub, err := selection.Summarise(s, filepath.Join(results, filepath.Base(scoresFile)))
	if err != nil {
		return err
	}
	times, err := traintime.Summarise(filepath.Join(results, "traintime"))
	if err != nil {
		return err
	}
	page.Text("The following sections are of Deshpande et al., A linearized framework and a new benchmark for model selection for fine-tuning (arXiv:2102.00084), " +
		"and Zancato et al., Predicting training time without training (NeurIPS 2020, arXiv:2008.12478), on the shipped curves of 24 small networks, " +
		"as `go run ./benchmark selection --data results/embedded` and `go run ./benchmark traintime` print them whole.")
	head("Model selection, Figure 4: what the best of three models gains")
	page.Table(selectionTable(hub))
	add(gainFinding(hub))
	head("Model selection, Figure 6: correlation with fine-tuned accuracy, tries until the best")
	add(correlationFinding(hub))
	head("Model selection: cost")
	add(costFinding(hub))
	head("Training times: error of the prediction")
	page.Table(timesTable(times))
	add(timesFinding(times))
	return nil
}

// The rankings of the paper, by the names of package selection.
var paperScores = []string{"lfc", "lgc", "leep", "feature-metrics", "domain-similarity", "rsa", "random", "static prior (mean deviation)"}

func selectionTable(r *selection.HubReport) [][]string {
	rows := [][]string{{"ranking", "Spearman, all networks", "Spearman, experts", "gain of the best of 3, all", "gain of the best of 3, experts", "tries until the best, experts"}}
	all, experts := r.Find(selection.PoolAll, selection.Headline), r.Find(selection.PoolExperts, selection.Headline)
	for _, name := range paperScores {
		a, e := rowOf(all, name), rowOf(experts, name)
		rows = append(rows, []string{name, selection.Digits(a.Spearman, 3), selection.Digits(e.Spearman, 3), estimate(a.Gain3), estimate(e.Gain3), selection.Digits(e.Selections, 1)})
	}
	return rows
}

// rowOf is never nil.
func rowOf(t *selection.HubTable, name string) *selection.HubRow {
	if t != nil {
		if row := t.Row(name); row != nil {
			return row
		}
	}
	return new(selection.HubRow)
}

func estimate(e *selection.Estimate) string {
	switch {
	case e == nil:
		return "-"
	case e.Low == nil || e.High == nil:
		return fmt.Sprintf("%.2f", e.Mean)
	}
	return fmt.Sprintf("%.2f [%.2f, %.2f]", e.Mean, *e.Low, *e.High)
}

// gainFinding asks whether a pick of three by LFC is better than the default
// expert, by its interval.
func gainFinding(r *selection.HubReport) finding {
	k := finding{
		claim:   "Figure 4: the best of the three models that LFC puts first is better than the ImageNet expert, by 0.48 points with all data and by 3.1 with 20 images a class (means over eight tasks).",
		verdict: undecided,
	}
	t := r.Find(selection.PoolExperts, selection.Headline)
	g := rowOf(t, "lfc").Gain3
	if g == nil || g.Low == nil || g.High == nil {
		k.measured = "The scores do not have it."
		return k
	}
	k.measured = fmt.Sprintf("%s points over `%s`, the expert that is most often best on other data sets, on %s.", estimate(g), t.Expert, count(len(r.Datasets), "data set"))
	switch {
	case *g.Low > 0:
		k.verdict = agrees
	case *g.High < 0:
		k.verdict = disagrees
	}
	return k
}

// correlationFinding asks whether LFC is ahead of the other scores of the paper.
func correlationFinding(r *selection.HubReport) finding {
	k := finding{
		claim:   "Figure 6: LFC has the highest Spearman correlation among experts of one domain, 0.503 with all data (LGC 0.303, feature metrics 0.236, LEEP 0.221, domain similarity 0.132, RSA -0.394).",
		verdict: undecided,
	}
	t := r.Find(selection.PoolExperts, selection.Headline)
	lfc := rowOf(t, "lfc").Spearman
	if lfc == nil {
		k.measured = "The scores do not have it."
		return k
	}
	var words []string
	k.verdict = agrees
	for _, name := range paperScores[1:6] {
		other := rowOf(t, name).Spearman
		words = append(words, fmt.Sprintf("%s %s", name, selection.Digits(other, 3)))
		if other != nil && *other > *lfc {
			k.verdict = disagrees
		}
	}
	k.measured = fmt.Sprintf("lfc %.3f; %s. The static prior, which looks at no image and is not in the paper, has %s.",
		*lfc, strings.Join(words, ", "), selection.Digits(rowOf(t, paperScores[7]).Spearman, 3))
	return k
}

// costFinding asks whether scoring the hub costs less than a fine-tuning.
func costFinding(r *selection.HubReport) finding {
	k := finding{claim: "Scoring all 30 models by LFC costs 0.41 of one fine-tuning with all data.", verdict: undecided}
	for _, row := range r.Cost.Rows {
		if row.Setting != selection.Headline {
			continue
		}
		k.measured = fmt.Sprintf("All scores of all %d networks together, but RSA, cost %.2f of one fine-tuning of the default expert; the passes of the networks are %.0f %% of that.",
			r.Models, row.Relative, 100*row.Passes/(row.Passes+row.Scores))
		k.verdict = disagrees
		if row.Relative < 1 {
			k.verdict = agrees
		}
	}
	return k
}

// The regimes of the report on training times that the paper speaks of.
const (
	algorithm1Criterion = "within 5 % of the final loss"
	fullNetwork         = "full network"
)

var timeRegimes = []string{"MSE, all images a step", "MSE, mini-batches", "cross-entropy, all images a step", "cross-entropy, mini-batches"}

func timesTable(r *traintime.Report) [][]string {
	predictors := []string{fullNetwork, "Algorithm 1", "last layer", "constant"}
	rows := [][]string{append([]string{"median error of the number of steps"}, predictors...)}
	for _, regime := range timeRegimes {
		row := []string{regime}
		for _, p := range predictors {
			row = append(row, percentOf(r.Find(algorithm1Criterion, regime, p)))
		}
		rows = append(rows, row)
	}
	return rows
}

func percentOf(e *traintime.Error) string {
	if e == nil || e.Median == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100**e.Median)
}

// timesFinding asks for both halves of the abstract's claim.
func timesFinding(r *traintime.Report) finding {
	const least = 30
	const grid = 24
	ratio := r.Cost.Ratio(grid)
	k := finding{
		claim:   "The abstract: the time to fine-tune is predicted within 20 % of what it takes, at 30 to 45 times less cost.",
		verdict: agrees,
	}
	var errors []string
	for _, regime := range timeRegimes {
		e := r.Find(algorithm1Criterion, regime, fullNetwork)
		errors = append(errors, fmt.Sprintf("%s %s", regime, percentOf(e)))
		if e == nil || e.Median == nil || *e.Median > 0.2 {
			k.verdict = disagrees
		}
	}
	if ratio < least {
		k.verdict = disagrees
	}
	k.measured = fmt.Sprintf("Median errors under the criterion of Algorithm 1: %s, over %s. Training %d settings costs %.0f times as much as predicting them, one setting alone %.1f times, since a kernel serves all.",
		strings.Join(errors, "; "), count(r.Runs, "run"), grid, ratio, r.Cost.Ratio(1))
	return k
}
