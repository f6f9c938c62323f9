package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quicktune/benchmark/report"
	"quicktune/benchmark/stats"
	"quicktune/metadataset/networks"
	"quicktune/search"
)

func TestPaperHasASectionForEachFigureAndTable(t *testing.T) {
	tmp := t.TempDir()
	store, out := smallStore(t, filepath.Join(tmp, "store")), filepath.Join(tmp, "paper")
	args := []string{"paper", "--data", store, "--out", out, "--budget", "1h,4h", "--methods", "random,asha", "--seeds", "1"}
	printed := mustRun(t, args...)
	page, err := os.ReadFile(filepath.Join(out, "paper.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, title := range []string{
		"Figure 1: which model", "Figure 2: accuracy", "Table 1: the search space", "The meta-dataset", "Figure 3: regret and rank",
		"Table 2: single models", "Figure 4: the parts", "Figure 5: the size of the hub", "Comparison with fine-tuned DINOv2",
		"Model selection, Figure 4", "Model selection, Figure 6", "Model selection: cost", "Training times: error",
	} {
		if !strings.Contains(string(page), "\n## "+title) || !strings.Contains(printed, "\n"+title) && !strings.HasPrefix(printed, title) {
			t.Errorf("no section %q in\n%s", title, printed)
		}
	}
	if n := strings.Count(string(page), "**Claimed.**"); n != 13 || strings.Count(string(page), "**Measured.**") != 13 {
		t.Errorf("%d claims", n)
	}
	before := snapshot(t, out)
	mustRun(t, args...)
	for name, data := range snapshot(t, out) {
		if string(before[name]) != string(data) {
			t.Errorf("%s changed although nothing was run", name)
		}
	}
	if err := os.WriteFile(filepath.Join(out, "notes.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	refuses(t, args, "holds notes.txt")
	refuses(t, []string{"paper", "--data", store, "--out", filepath.Join(tmp, "other"), "--ablation", tmp}, "ablation.json")
}

func TestVerdictsFollowTheNumbers(t *testing.T) {
	if k := ranksFinding(&networks.Ranking{Datasets: []string{"A"}, Winners: 2, Networks: make([]networks.Network, 3)}); k.verdict != agrees {
		t.Errorf("two winners: %+v", k)
	}
	if k := ranksFinding(&networks.Ranking{Datasets: []string{"A"}, Winners: 1, Networks: make([]networks.Network, 3)}); k.verdict != disagrees {
		t.Errorf("one winner: %+v", k)
	}
	row := func(name string, regret float64) report.Row {
		return report.Row{Method: search.Method{Name: name}, Cells: []report.Cell{{Regret: stats.Summary{Mean: regret}}}}
	}
	comparison := func(p float64, rows ...report.Row) *report.Report {
		r := &report.Report{Budgets: []float64{3600}, Rows: rows}
		for range rows {
			r.Holm = append(r.Holm, slices.Repeat([]float64{p}, len(rows)))
		}
		return r
	}
	for _, c := range []struct {
		r              *report.Report
		search, single verdict
	}{
		{comparison(.01, row("quicktune", .05), row("default-model", .2)), agrees, agrees},
		{comparison(.5, row("quicktune", .05), row("default-model", .2)), agrees, undecided},
		{comparison(.01, row("quicktune", .3), row("default-model", .2)), disagrees, disagrees},
		{comparison(.01, row("quicktune", .3), row("asha", .4)), undecided, undecided},
		{comparison(.01, row("random", .3), row("asha", .4)), undecided, undecided},
	} {
		if s, d := searchFinding(c.r).verdict, singleFinding(c.r).verdict; s != c.search || d != c.single {
			t.Errorf("%s: %s %s, want %s %s", c.r.Rows[0].Method.Name, s, d, c.search, c.single)
		}
	}
	table := func(whole, withoutMeta, withoutCost float64) []ablationTable {
		var rows []ablationRow
		for name, v := range map[string]float64{"+M +C +G": whole, "-M +C +G": withoutMeta, "+M -C +G": withoutCost} {
			rows = append(rows, ablationRow{form: form{Name: name}, Regret: []ablationCell{{Mean: v}}})
		}
		return []ablationTable{{Rows: rows}}
	}
	if k := partsFinding(table(.1, .1, .3)); k.verdict != agrees {
		t.Errorf("costs matter: %+v", k)
	}
	if k := partsFinding(table(.1, .3, .1)); k.verdict != disagrees {
		t.Errorf("meta-learning matters: %+v", k)
	}
}
