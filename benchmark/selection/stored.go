package selection

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/sync/errgroup"

	"quicktune/internal/cli"
	"quicktune/internal/cputime"
	"quicktune/selection"
	"quicktune/selection/probes"
)

// shown are the scores that are printed of stored probes; all are written.
var shown = []string{"logme", "leep", "nce", "h-score-regularised", "transrate", "lfc", "lfc-centred", "lgc", "sfda", "parc", "knn", "logistic"}

// StoredReport ranks models by scores of stored probes.
type StoredReport struct {
	Tables []StoredTable `json:"tables"`
}

// StoredTable is one data set.
type StoredTable struct {
	Dataset  string        `json:"dataset"`
	Images   int           `json:"images"`
	PerClass int           `json:"per_class"`
	Classes  int           `json:"classes"`
	By       string        `json:"by"`
	Models   []StoredModel `json:"models"` // the best first
}

// StoredModel is one model with its scores; those that are not defined are
// missing.
type StoredModel struct {
	Name    string             `json:"name"`
	Trainer string             `json:"trainer"`
	Seconds float64            `json:"seconds"` // of the passes
	Scores  map[string]float64 `json:"scores"`
}

// runStored scores the probes of a directory, prints the rankings, and writes
// the scores to a file if one is named.
func runStored(ctx context.Context, f flags, stdout io.Writer) error {
	paths, err := probes.List(f.probes)
	if err != nil {
		return cli.Input(err)
	}
	if !slices.ContainsFunc(scorers(), func(s selection.Scorer) bool { return s.Name() == f.by }) {
		var names []string
		for _, s := range scorers() {
			names = append(names, s.Name())
		}
		return cli.Inputf("--by %s: want one of %s", f.by, strings.Join(names, ", "))
	}
	sets, err := scoreStored(ctx, paths, f.parallel)
	if err != nil {
		return err
	}
	if f.scores != "" {
		var all []Score
		for _, s := range sets {
			all = append(all, s.scores...)
		}
		if err := saveScores(f.scores, all); err != nil {
			return err
		}
	}
	r := &StoredReport{}
	for _, s := range sets {
		r.Tables = append(r.Tables, s.table(f.by))
	}
	if f.json {
		return writeJSON(stdout, r)
	}
	return r.WriteText(stdout)
}

// storedSet is the probes of a data set, without their data, and their scores.
type storedSet struct {
	probes []probes.Info
	images int
	scores []Score
}

// scoreStored scores the probes of each data set, in the order of the paths.
func scoreStored(ctx context.Context, paths []string, parallel int) ([]*storedSet, error) {
	if parallel == 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	// Names come from the files, not from their paths.
	var sets []*storedSet
	places := map[string]int{}
	for i := 0; i < len(paths); {
		end := i + 1
		for end < len(paths) && dirOf(paths[end]) == dirOf(paths[i]) {
			end++
		}
		set, err := scoreSet(ctx, paths[i:end], parallel)
		if err != nil {
			return nil, err
		}
		name := set.probes[0].Dataset
		if before, twice := places[name]; twice {
			return nil, cli.Inputf("%s and %s both hold probes on data set %q", dirOf(paths[before]), dirOf(paths[i]), name)
		}
		places[name] = i
		sets = append(sets, set)
		i = end
	}
	return sets, nil
}

func dirOf(path string) string { return path[:strings.LastIndexAny(path, `/\`)+1] }

// scoreSet scores the probes of one data set.
func scoreSet(ctx context.Context, paths []string, parallel int) (*storedSet, error) {
	data := make([]selection.Data, len(paths))
	set := &storedSet{probes: make([]probes.Info, len(paths))}
	results := make([][]Score, len(paths))
	rows := make([][]int, len(paths))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, path := range paths {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			stored, err := probes.Read(path)
			if err != nil {
				return cli.Input(err)
			}
			p, err := selection.NewProbe(stored.Data)
			if err != nil {
				return cli.Input(fmt.Errorf("%s: %w", path, err))
			}
			for _, s := range selection.Available(scorers(), p) {
				if _, pooled := s.(selection.PoolScorer); pooled {
					continue
				}
				start := cputime.Thread()
				value, err := s.Score(p)
				results[i] = append(results[i], storedScore(stored.Info, s, value, err, (cputime.Thread()-start).Seconds(), stored.Seconds, p.N()))
			}
			stored.Data.Gradients = nil
			data[i], set.probes[i], rows[i] = stored.Data, stored.Info, stored.Rows
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	pool := make([]*selection.Probe, len(paths))
	for i, info := range set.probes {
		first := set.probes[0]
		if info.Dataset != first.Dataset || info.Images != first.Images || !slices.Equal(rows[i], rows[0]) {
			return nil, cli.Inputf("%s and %s are of different images: their scores cannot be compared", paths[0], paths[i])
		}
		var err error
		if pool[i], err = selection.NewProbe(data[i]); err != nil {
			return nil, err
		}
	}
	set.images = len(rows[0])
	set.scores = slices.Concat(results...)
	for _, s := range scorers() {
		pooled, ok := s.(selection.PoolScorer)
		if !ok || len(selection.Available([]selection.Scorer{s}, pool[0])) == 0 {
			continue
		}
		start := cputime.Process()
		values, err := pooled.ScorePool(pool)
		took := (cputime.Process() - start).Seconds() / float64(len(pool))
		for i, info := range set.probes {
			value := 0.0
			if err == nil {
				value = values[i]
			}
			set.scores = append(set.scores, storedScore(info, s, value, err, took, math.NaN(), set.images))
		}
	}
	return set, nil
}

// storedScore makes a row of the file of scores. Its setting is that of the
// benchmark with as many images of a class.
func storedScore(info probes.Info, s selection.Scorer, value float64, err error, took, passes float64, images int) Score {
	row := Score{
		Dataset: info.Dataset, Model: info.Model, Setting: fmt.Sprintf("%d a class", info.PerClass), Score: s.Name(),
		Seconds: took, ProbeSeconds: passes, Images: int32(images), Hash: info.Weights,
	}
	for _, known := range settings {
		if known.perClass == info.PerClass {
			row.Setting = known.name
		}
	}
	if err == nil {
		row.Value = &value
	}
	return row
}

// table puts the models in order.
func (s *storedSet) table(by string) StoredTable {
	first := s.probes[0]
	t := StoredTable{Dataset: first.Dataset, Images: s.images, PerClass: first.PerClass, Classes: len(first.Classes), By: by}
	for _, info := range s.probes {
		m := StoredModel{Name: info.Model, Trainer: info.Trainer, Seconds: info.Seconds, Scores: map[string]float64{}}
		for _, v := range s.scores {
			if v.Model == info.Model && v.Value != nil {
				m.Scores[v.Score] = *v.Value
			}
		}
		t.Models = append(t.Models, m)
	}
	worth := func(m StoredModel) float64 {
		if v, ok := m.Scores[by]; ok {
			return v
		}
		return math.Inf(-1)
	}
	slices.SortStableFunc(t.Models, func(a, b StoredModel) int { return cmp.Compare(worth(b), worth(a)) })
	return t
}

// WriteText prints the rankings for people.
func (r *StoredReport) WriteText(out io.Writer) error {
	for i, t := range r.Tables {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "%s: %d models by %s, probed on %d images of %d classes, at most %d of each\n", t.Dataset, len(t.Models), t.By, t.Images, t.Classes, t.PerClass)
		names := []string{t.By}
		for _, name := range shown {
			if name != t.By && slices.ContainsFunc(t.Models, func(m StoredModel) bool { _, ok := m.Scores[name]; return ok }) {
				names = append(names, name)
			}
		}
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "  model\t%s\tpasses, s\n", strings.Join(names, "\t"))
		for _, m := range t.Models {
			fmt.Fprintf(w, "  %s", m.Name)
			for _, name := range names {
				cell := "-"
				if v, ok := m.Scores[name]; ok {
					cell = fmt.Sprintf("%.4g", v)
				}
				fmt.Fprintf(w, "\t%s", cell)
			}
			fmt.Fprintf(w, "\t%.2f\n", m.Seconds)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out, "\nHigher is better in every column; numbers of different columns, or of different data sets, do not compare.")
	return err
}
