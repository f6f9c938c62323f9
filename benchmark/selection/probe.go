package selection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"

	"quicktune/generate/hub"
	"quicktune/generate/images"
	"quicktune/generate/images/builtin"
	"quicktune/generate/trainer"
	"quicktune/internal/atomicfile"
	"quicktune/internal/cli"
	"quicktune/internal/cputime"
	"quicktune/internal/vision"
	"quicktune/metadataset"
	"quicktune/selection"
	"quicktune/selection/embedded"
)

// Score is the value of one score for one model on one data set.
type Score struct {
	Dataset string `parquet:"dataset,dict,zstd"`
	Model   string `parquet:"model,dict,zstd"`
	// Setting says which training images were looked at, see settings.
	Setting string `parquet:"setting,dict,zstd"`
	Score   string `parquet:"score,dict,zstd"`
	// Value is nil where the score is not defined for the images.
	Value *float64 `parquet:"value,optional,zstd"`
	// Seconds is the processor time that the score itself took, the moments of the features charged
	// to the first score that needs them; ProbeSeconds is what the passes of
	// the network took, for all scores of the setting together.
	Seconds      float64 `parquet:"seconds,split,zstd"`
	ProbeSeconds float64 `parquet:"probe_seconds,dict,zstd"`
	Images       int32   `parquet:"images,dict,zstd"`
	Hash         string  `parquet:"weights_hash,dict,zstd"` // of the pretrained weights
}

// settings are the samples that models are probed on, by images of a class.
var settings = []struct {
	name     string
	perClass int // 0 for all
}{{"5-shot", 5}, {"20-shot", 20}, {"25 a class", selection.PerClass}, {"full", 0}}

// Headline is the setting of the published benchmark.
const Headline = "25 a class"

const (
	probeSeed = 1
	// combinations of outputs whose gradients LGC sees.
	combinations = 2
	// sourceImages of a class stand for the source in domain similarity.
	sourceImages = 10
)

// scorers lists what is computed, without the variants that exist for parity with
// other programs.
func scorers() []selection.Scorer {
	return slices.DeleteFunc(selection.All(), func(s selection.Scorer) bool {
		return s == selection.Random{} || s == selection.LGC{Kernel: selection.SummedKernel} || s == selection.LogME{Rule: selection.ICML}
	})
}

// affordable lists the scores of a setting. Those that iterate, or compare all
// pairs of images, are left out where all images are looked at.
func affordable(perClass int) []selection.Scorer {
	if perClass > 0 {
		return scorers()
	}
	return append(selection.ClosedForm(), selection.FeatureMetrics{}, selection.KNN{})
}

// expert is a network of the hub with what does not depend on a data set.
type expert struct {
	weights            *vision.Weights
	hash               string
	means, meanWeights []float64
}

func newExperts(ctx context.Context, models []string, parallel int) ([]*expert, error) {
	out := make([]*expert, len(models))
	sources := map[string]*images.Set{}
	for i, name := range models {
		w, err := hub.Weights(name)
		if err != nil {
			return nil, err
		}
		hash, err := w.Fingerprint()
		if err != nil {
			return nil, err
		}
		out[i] = &expert{weights: w, hash: hash}
		if sources[w.Source] == nil {
			if sources[w.Source], err = builtin.Draw(ctx, w.Source, sourceImages); err != nil {
				return nil, err
			}
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, e := range out {
		group.Go(func() error {
			s := sources[e.weights.Source]
			pixels := make([]float32, len(s.Pixels))
			trainer.Normalize(pixels, s.Pixels)
			var err error
			e.means, e.meanWeights, err = embedded.Means(e.weights, pixels, s.Labels, len(s.Classes))
			return errors.Join(err, ctx.Err())
		})
	}
	return out, group.Wait()
}

// probeDataset scores all experts on the training images of a data set, in every
// setting.
func probeDataset(ctx context.Context, set *trainer.Images, experts []*expert, parallel int) ([]Score, error) {
	n := set.Train.Len()
	pixels := make([]float32, len(set.Train.Pixels))
	trainer.Normalize(pixels, set.Train.Pixels)
	rows := make([][]int, len(settings))
	for i, s := range settings {
		perClass := s.perClass
		if perClass == 0 {
			perClass = n
		}
		rows[i] = selection.Sample(set.Train.Labels, perClass, probeSeed)
	}
	results := make([][]Score, len(experts))
	data := make([][]selection.Data, len(settings))
	for i := range data {
		data[i] = make([]selection.Data, len(experts))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for m, e := range experts {
		group.Go(func() error {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all, slope, err := e.look(pixels, set.Train.Labels, rows[widest], rows[full])
			if err != nil {
				return err
			}
			for i := range settings {
				if err := ctx.Err(); err != nil {
					return err
				}
				from := full
				if settings[i].perClass > 0 {
					from = widest
				}
				passes := slope[from] * float64(len(rows[i]))
				d, err := all[from].Rows(places(rows[i], rows[from]))
				if err != nil {
					return err
				}
				d.SourceMeans, d.SourceWeights = e.means, e.meanWeights
				p, err := selection.NewProbe(d)
				if err != nil {
					return fmt.Errorf("%s on %s, %s: %w", e.weights.Model, set.Name, settings[i].name, err)
				}
				for _, s := range selection.Available(affordable(settings[i].perClass), p) {
					if _, pooled := s.(selection.PoolScorer); pooled {
						continue
					}
					start := cputime.Thread()
					value, err := s.Score(p)
					results[m] = append(results[m], newScore(set.Name, e, i, s, value, err, cputime.Thread()-start, passes, len(rows[i])))
				}
				d.Gradients = nil
				data[i][m] = d
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	out := slices.Concat(results...)
	for i := range settings {
		probes := make([]*selection.Probe, len(experts))
		for m := range experts {
			var err error
			if probes[m], err = selection.NewProbe(data[i][m]); err != nil {
				return nil, err
			}
		}
		for _, s := range affordable(settings[i].perClass) {
			pooled, ok := s.(selection.PoolScorer)
			if !ok {
				continue
			}
			start := cputime.Process()
			values, err := pooled.ScorePool(probes)
			took := (cputime.Process() - start) / time.Duration(len(experts))
			for m, e := range experts {
				value := 0.0
				if err == nil {
					value = values[m]
				}
				out = append(out, newScore(set.Name, e, i, s, value, err, took, math.NaN(), probes[m].N()))
			}
		}
	}
	return out, nil
}

// The settings whose samples hold those of all others: of the ones with a limit
// of images a class, which get gradients, and of all.
const (
	widest = 2
	full   = 3
)

// places returns where the rows of a sample are among those of a larger one,
// both ascending.
func places(sample, among []int) []int {
	out := make([]int, len(sample))
	for k, r := range sample {
		out[k], _ = slices.BinarySearch(among, r)
	}
	return out
}

// look probes an expert on the two samples that hold all others, with the
// seconds that an image of each took.
func (e *expert) look(pixels []float32, labels []int, limited, all []int) (data [full + 1]selection.Data, seconds [full + 1]float64, err error) {
	for i, rows := range map[int][]int{widest: limited, full: all} {
		chosen := make([]float32, 0, len(rows)*trainer.Pixels)
		classes := make([]int, len(rows))
		for k, r := range rows {
			chosen = append(chosen, pixels[r*trainer.Pixels:(r+1)*trainer.Pixels]...)
			classes[k] = labels[r]
		}
		o := embedded.Options{Seed: probeSeed}
		if i == widest {
			o.Combinations = combinations
		}
		start := cputime.Thread()
		if data[i], err = embedded.Probe(e.weights, chosen, classes, o); err != nil {
			return data, seconds, err
		}
		seconds[i] = (cputime.Thread() - start).Seconds() / float64(len(rows))
	}
	return data, seconds, nil
}

// newScore makes a row; a score that is not defined has no value.
func newScore(dataset string, e *expert, setting int, s selection.Scorer, value float64, err error, took time.Duration, passes float64, n int) Score {
	row := Score{
		Dataset: dataset, Model: e.weights.Model, Setting: settings[setting].name, Score: s.Name(),
		Seconds: took.Seconds(), ProbeSeconds: passes, Images: int32(n), Hash: e.hash,
	}
	if err == nil {
		row.Value = &value
	}
	return row
}

// LoadImages finds a data set by name, split for training: one that comes with the program, or a
// directory or zip archive in dir.
func LoadImages(ctx context.Context, name, dir string) (*trainer.Images, error) {
	var set *images.Set
	var err error
	if builtin.Has(name) {
		set, err = builtin.Load(ctx, name)
	} else {
		if dir == "" {
			return nil, fmt.Errorf("data set %s does not come with the program: name the directory of its images or zip archive with --images", name)
		}
		path := filepath.Join(dir, name)
		if _, missing := os.Stat(path); missing != nil {
			path += ".zip"
		}
		set, err = images.Load(ctx, path)
	}
	if err != nil {
		return nil, err
	}
	split, err := set.Split()
	if err != nil {
		return nil, err
	}
	split.Name = name
	return split, nil
}

// probeAll adds the data sets of a store that scores lack, and saves after each.
func probeAll(ctx context.Context, s *metadataset.Store, f flags, scores []Score, log *slog.Logger) ([]Score, error) {
	started := time.Now()
	var models []string
	for _, m := range s.Models {
		models = append(models, m.Name)
	}
	parallel := f.parallel
	if parallel == 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	var experts []*expert
	for i, d := range s.Datasets {
		lacks := func(of func(Score) bool) bool {
			return !slices.ContainsFunc(scores, func(r Score) bool { return r.Dataset == d.Name && of(r) })
		}
		plain := lacks(func(r Score) bool { return r.Score != selection.RSA{}.Name() })
		reference := lacks(func(r Score) bool { return r.Score == selection.RSA{}.Name() })
		if !plain && !reference {
			continue
		}
		if f.limit > 0 && time.Since(started) > f.limit {
			log.Info("time is up; the same command goes on", "data sets done", i, "of", len(s.Datasets))
			return scores, nil
		}
		if experts == nil {
			var err error
			if experts, err = newExperts(ctx, models, parallel); err != nil {
				return nil, cli.Input(err)
			}
		}
		set, err := LoadImages(ctx, d.Name, f.images)
		if err != nil {
			return nil, cli.Input(err)
		}
		if set.Train.Len() != d.TrainSamples || set.Classes != d.Classes {
			return nil, cli.Inputf("data set %s has %d training images of %d classes, but the curves are of %d and %d: these are other images",
				d.Name, set.Train.Len(), set.Classes, d.TrainSamples, d.Classes)
		}
		begin := time.Now()
		var more []Score
		if plain {
			more, err = probeDataset(ctx, set, experts, parallel)
		}
		if err == nil && reference {
			var rows []Score
			rows, err = scoreByReference(ctx, set, experts, parallel)
			more = append(more, rows...)
		}
		if errors.Is(err, context.Canceled) {
			return nil, cli.Interruptedf("interrupted; the scores on %d data sets are in %s, the same command goes on", i, f.scoresPath())
		}
		if err != nil {
			return nil, err
		}
		scores = append(scores, more...)
		if err := saveScores(f.scoresPath(), scores); err != nil {
			return nil, err
		}
		log.Info("probed", "data set", d.Name, "models", len(experts), "in", time.Since(begin).Round(time.Millisecond))
	}
	return scores, nil
}

// loadScores reads what saveScores wrote; a file that does not exist is no
// scores.
func loadScores(path string) ([]Score, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows, err := parquet.Read[Score](bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i, r := range rows {
		if r.Dataset == "" || r.Model == "" || r.Score == "" || r.Value != nil && (math.IsNaN(*r.Value) || math.IsInf(*r.Value, 0)) {
			return nil, fmt.Errorf("%s: row %d is no score of a model on a data set", path, i)
		}
	}
	return rows, nil
}

func saveScores(path string, scores []Score) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error { return parquet.Write(w, scores) })
}
