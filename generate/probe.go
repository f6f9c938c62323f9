package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"quicktune/generate/hub"
	"quicktune/generate/images"
	"quicktune/generate/plan"
	"quicktune/generate/timm"
	"quicktune/generate/trainer"
	"quicktune/internal/cli"
	"quicktune/internal/cputime"
	"quicktune/internal/vision"
	"quicktune/selection"
	selembedded "quicktune/selection/embedded"
	"quicktune/selection/probes"
)

const (
	// probeCombinations of outputs are differentiated, and each derivative is
	// sketched to probeWidth numbers.
	probeCombinations = 2
	probeWidth        = 2048
)

// probeFlags are those of the command.
type probeFlags struct {
	trainer, models, datasets string
	data                      []string
	perClass, workers         int
	seed                      uint64
	gradients, scratch        bool
	out                       string
	python, weightsDir        string
	device                    string
	imageSize, threads        int
}

func newProbe(stdout, stderr io.Writer) *cobra.Command {
	var f probeFlags
	c := &cobra.Command{
		Use:   "probe",
		Short: "store what pretrained models say about images, for scores that need no fine-tuning",
		Long: `Probe shows each pretrained model a few training images of each data set and
stores the features that enter its head, the probabilities of its own classes and
derivatives of its outputs by the last weights of its body: one Parquet file for
each model and data set, docs/format-probe.md. "benchmark selection --probes DIR"
scores and ranks the models by them.

All models see the same images, at most --per-class of each class. The models are
the embedded networks, or with --trainer timm any of timm, for which --models
names some. What is there already is not made again.`,
		Example: `  go run ./generate probe --datasets digits --models vit_s,residual_s --per-class 5 --out results/runs/probes
  go run ./generate probe --trainer timm --models resnet18,vit_tiny_patch16_224 --data my-photos.zip --out results/runs/probes-timm`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := cli.Conditions(c.Flags()); err != nil {
				return err
			}
			return runProbe(c.Context(), f, stdout, stderr)
		},
	}
	p := c.Flags()
	p.StringVar(&f.trainer, "trainer", embeddedName, "embedded, or timm for models of timm, run by Python")
	p.StringVar(&f.models, "models", "", "models to probe (default: all that are embedded, or the 24 of Quick-Tune)")
	p.StringVar(&f.datasets, "datasets", "", "data sets that need no file, or all; \"generate datasets\" lists them")
	p.StringArrayVar(&f.data, "data", nil, "directory or zip archive of pictures; may be given several times")
	p.IntVar(&f.perClass, "per-class", selection.PerClass, "training images of a class that are looked at, at most")
	p.Uint64Var(&f.seed, "seed", 1, "draws the images")
	p.BoolVar(&f.gradients, "gradients", true, "store derivatives too")
	p.BoolVar(&f.scratch, "scratch", false, "probe random weights")
	p.IntVar(&f.workers, "workers", 0, "embedded networks probed at the same time; changes no probe (default: one for each CPU)")
	p.StringVar(&f.out, "out", "", "directory of the probes")
	p.StringVar(&f.python, "python", "python3", "with --trainer timm: interpreter with torch and timm")
	p.StringVar(&f.weightsDir, "weights-dir", "", "with --trainer timm: folder or file of pretrained weights instead of the hub")
	p.StringVar(&f.device, "device", "auto", "with --trainer timm: auto, cpu or cuda")
	p.IntVar(&f.imageSize, "image-size", 0, "with --trainer timm: side of the pictures, in pixels (default: that of each model)")
	p.IntVar(&f.threads, "threads", 0, "with --trainer timm: threads on the CPU (default: torch's choice)")
	return c
}

// probeTask is a probe that is to be made.
type probeTask struct {
	probes.Info
	path   string
	rows   []int
	labels []int // of the rows
}

func runProbe(ctx context.Context, f probeFlags, stdout, stderr io.Writer) error {
	log := cli.Logger(stderr)
	name := embeddedName
	switch {
	case f.out == "":
		return cli.Inputf("probe needs a directory to write to: --out DIR")
	case f.perClass < 1:
		return cli.Inputf("--per-class %d: at least 1 is needed", f.perClass)
	case f.imageSize < 0 || f.threads < 0 || f.workers < 0:
		return cli.Inputf("--image-size, --threads and --workers cannot be negative")
	case f.trainer == timmName:
		name = timmTrainer(f.imageSize, f.scratch)
	case f.trainer != embeddedName:
		return cli.Inputf("--trainer %s: use %s or %s", f.trainer, embeddedName, timmName)
	case f.scratch:
		name = scratchName
	}
	models := f.chosenModels()
	if f.trainer == embeddedName {
		for _, m := range models {
			if _, err := hub.Find(m); err != nil {
				return cli.Inputf("--models: %w", err)
			}
		}
	}
	chosen, err := chooseDatasets(f.datasets, f.data)
	if err != nil {
		return cli.Input(err)
	}
	done, made, failed := 0, 0, 0
	for _, d := range chosen {
		set, err := loadSet(ctx, d)
		if err != nil {
			return cli.Input(err)
		}
		split, err := set.Split()
		if err != nil {
			return cli.Input(err)
		}
		tasks, err := f.tasks(name, models, set, split)
		if err != nil {
			return cli.Input(err)
		}
		done += len(models) - len(tasks)
		if len(tasks) == 0 {
			continue
		}
		told := func(t probeTask, err error) {
			if err != nil {
				failed++
				log.Warn("no probe", "model", t.Model, "data set", t.Dataset, "err", err)
				return
			}
			made++
			log.Info("probed", "model", t.Model, "data set", t.Dataset, "images", len(t.rows))
		}
		if f.trainer == timmName {
			err = f.probeTimm(ctx, d, set, tasks, told)
		} else {
			err = f.probeEmbedded(ctx, split, tasks, told)
		}
		if errors.Is(err, context.Canceled) {
			return cli.Interruptedf("interrupted; %d probes are in %s, the same command goes on", done+made, f.out)
		}
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "%d probes in %s, %d of them new\n", done+made, f.out, made)
	if failed > 0 {
		return fmt.Errorf("%d probes could not be made; the reasons are above", failed)
	}
	return nil
}

// chosenModels are those of --models, or all.
func (f *probeFlags) chosenModels() []string {
	models := splitList(f.models)
	switch {
	case len(models) > 0:
	case f.trainer == timmName:
		for _, m := range timm.Published {
			models = append(models, m.Name)
		}
	default:
		for _, s := range vision.Specs {
			models = append(models, s.Name)
		}
	}
	slices.Sort(models)
	return slices.Compact(models)
}

// tasks lists what is not there yet for a data set, and refuses to mix it with
// what was made otherwise.
func (f *probeFlags) tasks(trainerName string, models []string, set *images.Set, split *trainer.Images) ([]probeTask, error) {
	rows := selection.Sample(split.Train.Labels, f.perClass, f.seed)
	labels := make([]int, len(rows))
	for i, r := range rows {
		labels[i] = split.Train.Labels[r]
	}
	var list []probeTask
	for _, m := range models {
		t := probeTask{path: probes.Path(f.out, set.Name, m), rows: rows, labels: labels, Info: probes.Info{
			Dataset: set.Name, Images: set.Hash(), Model: m, Trainer: trainerName, Classes: set.Classes, PerClass: f.perClass, Seed: f.seed,
		}}
		old, err := probes.Read(t.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			list = append(list, t)
		case err != nil:
			return nil, fmt.Errorf("%w; remove it, and it is made again", err)
		case old.Images != t.Images || old.Trainer != t.Trainer || old.PerClass != t.PerClass || old.Seed != t.Seed || (old.Outputs > 0) != f.gradients:
			return nil, fmt.Errorf("%s was made of other images, or with another --trainer, --image-size, --scratch, --per-class, --seed or --gradients: choose another --out", t.path)
		}
	}
	return list, nil
}

// probeEmbedded lets embedded networks look at a data set.
func (f *probeFlags) probeEmbedded(ctx context.Context, split *trainer.Images, tasks []probeTask, told func(probeTask, error)) error {
	weights := hub.Weights
	if f.scratch {
		weights = scratch
	}
	rows := tasks[0].rows
	pixels := make([]float32, len(rows)*trainer.Pixels)
	for i, r := range rows {
		trainer.Normalize(pixels[i*trainer.Pixels:(i+1)*trainer.Pixels], split.Train.Pixels[r*trainer.Pixels:(r+1)*trainer.Pixels])
	}
	options := selembedded.Options{Seed: f.seed, Width: probeWidth}
	if f.gradients {
		options.Combinations = probeCombinations
	}
	var one sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workerCount(f.workers))
	for _, t := range tasks {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			w, err := weights(t.Model)
			if err != nil {
				return err
			}
			if t.Weights, err = w.Fingerprint(); err != nil {
				return err
			}
			start := cputime.Thread()
			data, err := selembedded.Probe(w, pixels, t.labels, options)
			t.Seconds = (cputime.Thread() - start).Seconds()
			if err == nil {
				err = probes.Write(t.path, &probes.Probe{Info: t.Info, Rows: t.rows, Data: data})
			}
			one.Lock()
			defer one.Unlock()
			told(t, err)
			return nil
		})
	}
	return group.Wait()
}

// probeTimm lets models of timm look at a data set.
func (f *probeFlags) probeTimm(ctx context.Context, d plan.Dataset, set *images.Set, tasks []probeTask, told func(probeTask, error)) error {
	dir, err := os.MkdirTemp("", "quicktune-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	python := timm.Python{Interpreter: f.python}
	if python.Root, err = timm.Install(dir); err != nil {
		return err
	}
	if err := python.Ready(ctx); err != nil {
		return cli.Inputf("--python: %w", err)
	}
	if err := timm.Describe(dir, set, d.Path); err != nil {
		return err
	}
	args := []string{"--data", dir, "--device", f.device, "--threads", strconv.Itoa(f.threads), "--image-size", strconv.Itoa(f.imageSize)}
	if f.scratch {
		args = append(args, "--scratch")
	}
	if f.weightsDir != "" {
		full, err := filepath.Abs(f.weightsDir)
		if err != nil {
			return err
		}
		if _, err := os.Stat(full); err != nil {
			return cli.Inputf("--weights-dir: %w", err)
		}
		args = append(args, "--weights-dir", full)
	}
	requests := make([]timm.ProbeRequest, len(tasks))
	for i, t := range tasks {
		requests[i] = timm.ProbeRequest{
			Model: t.Model, Dataset: set.Name, Rows: t.rows, Seed: f.seed,
			Out: filepath.Join(dir, fmt.Sprintf("probe-%d.safetensors", i)),
		}
		if f.gradients {
			requests[i].Combinations, requests[i].Width = probeCombinations, probeWidth
		}
	}
	return python.Probe(ctx, args, requests, func(i int, probed timm.Probed, failed error) error {
		t := tasks[i]
		if failed != nil {
			told(t, failed)
			return nil
		}
		t.Weights, t.Seconds = probed.Weights, probed.Seconds
		data, err := timm.ReadProbed(requests[i].Out, t.Model, t.labels)
		if err != nil {
			return err
		}
		if err := os.Remove(requests[i].Out); err != nil {
			return err
		}
		told(t, probes.Write(t.path, &probes.Probe{Info: t.Info, Rows: t.rows, Data: data}))
		return nil
	})
}
