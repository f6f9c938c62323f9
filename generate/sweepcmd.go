package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"quicktune/generate/cost"
	"quicktune/generate/images"
	"quicktune/generate/journal"
	"quicktune/generate/plan"
	"quicktune/generate/sweep"
	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/space"
)

type sweepFlags struct {
	models, datasets string
	data             []string
	only             []string
	mode             string
	configs, epochs  int
	seed             uint64
	curveCap         time.Duration
	clock            string
	workers          int
	scratch          bool
	dryRun           bool
	out              string
	trainer          string
	imageSize        int
	timm             timmOptions
}

func newSweep(stdout, stderr io.Writer) *cobra.Command {
	var f sweepFlags
	c := &cobra.Command{
		Use:   "generate",
		Short: "make meta-datasets and hand them on",
		Long: `Generate fine-tunes networks on images, with configurations drawn from a search
space, and writes what it sees as a meta-dataset of learning curves. It needs
nothing but Go: 24 small networks and more than a dozen data sets are part of
it. Your own pictures come by --data: a directory or a zip archive, with a folder
for each class or in the Meta-Album layout (images/, labels.csv, info.json).

What is trained is written down before anything runs. A sweep can be stopped at
any moment, by Ctrl-C, by kill -9 or by a power cut; the same command, or
"generate resume DIR", goes on where it stood.

With --clock counted, an epoch costs what its arithmetic takes on a reference
machine, and the same command gives the same meta-dataset to the last bit,
interrupted or not. With --clock measured, it costs what it took here.`,
		Example: `  go run ./generate
  go run ./generate --datasets digits,greek --models vit_s,residual_s --configs 8 --epochs 3 --out results/runs/small
  go run ./generate --datasets all --configs 48 --epochs 50 --curve-cap 2m --clock measured --dry-run
  go run ./generate --models vit_s --set lr=0.001,0.01 --set opt=adamw --configs 4 --epochs 2 --out results/runs/narrow`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := cli.Conditions(c.Flags()); err != nil {
				return err
			}
			if f.trainer == timmName {
				f.timmDefaults(c.Flags().Changed)
			}
			return runSweep(c.Context(), f, stdout, stderr)
		},
	}
	p := c.Flags()
	p.StringVar(&f.models, "models", "", "networks to fine-tune, such as vit_s,residual_s (default: all)")
	p.StringVar(&f.datasets, "datasets", "", "data sets that need no file, or all; \"generate datasets\" lists them (default: "+strings.Join(defaultDatasets, ",")+", or none with --data)")
	p.StringArrayVar(&f.data, "data", nil, "directory or zip archive of pictures; may be given several times")
	p.StringArrayVar(&f.only, "set", nil, "narrow a hyperparameter: NAME=VALUE,VALUE; may be given several times")
	p.StringVar(&f.mode, "mode", string(plan.Stratified), "uniform draws everything, stratified gives each network as many configurations, whole takes every configuration of a space narrowed by --set")
	p.IntVar(&f.configs, "configs", 24, "configurations on each data set")
	p.IntVar(&f.epochs, "epochs", 10, "epochs of a curve")
	p.Uint64Var(&f.seed, "seed", 1, "decides every random number")
	p.DurationVar(&f.curveCap, "curve-cap", 5*time.Second, "time at which a curve is cut, such as 2m or 1h; 0 for none")
	p.StringVar(&f.clock, "clock", plan.Counted, "counted, or measured for the seconds of this machine")
	p.IntVar(&f.workers, "workers", 0, "trials that are trained at the same time; changes no result (default: one for each CPU)")
	p.BoolVar(&f.scratch, "scratch", false, "begin with random weights instead of pretrained ones")
	p.BoolVar(&f.dryRun, "dry-run", false, "tell what would be trained and about how long it takes, and stop")
	p.StringVar(&f.out, "out", "results/runs/sweep", "directory of the sweep")
	p.StringVar(&f.trainer, "trainer", embeddedName, "embedded, or timm for any model of timm, trained by Python; then --epochs is 50, --curve-cap 1h and --clock measured unless they are given")
	p.IntVar(&f.imageSize, "image-size", 0, "with --trainer timm: side of the pictures, in pixels (default: that of each model)")
	f.timm.register(c)
	return c
}

// timmDefaults replaces defaults that suit the embedded trainer: those of
// Quick-Tune's smallest meta-dataset hold.
func (f *sweepFlags) timmDefaults(changed func(flag string) bool) {
	if !changed("epochs") {
		f.epochs = 50
	}
	if !changed("curve-cap") {
		f.curveCap = time.Hour
	}
	if !changed("clock") {
		f.clock = plan.Measured
	}
}

// backend is the trainer that the flags name.
func (f *sweepFlags) backend() (*backend, error) {
	switch f.trainer {
	case embeddedName, "":
		if f.scratch {
			return findBackend(scratchName, f.out)
		}
		return findBackend(embeddedName, f.out)
	case timmName:
		switch {
		case f.clock == plan.Counted:
			return nil, fmt.Errorf("--clock %s: the timm trainer measures its seconds", f.clock)
		case f.imageSize < 0:
			return nil, fmt.Errorf("--image-size %d is negative", f.imageSize)
		}
		if err := f.timm.check(); err != nil {
			return nil, err
		}
		return timmBackend(timmTrainer(f.imageSize, f.scratch), splitList(f.models), f.timm)
	}
	return nil, fmt.Errorf("--trainer %s: use %s or %s", f.trainer, embeddedName, timmName)
}

// options turns flags into what a plan is made of, apart from the data sets.
func (f *sweepFlags) options() (plan.Options, *backend, error) {
	fail := func(err error) (plan.Options, *backend, error) { return plan.Options{}, nil, cli.Input(err) }
	switch {
	case f.clock != plan.Counted && f.clock != plan.Measured:
		return fail(fmt.Errorf("--clock %s: use %s or %s", f.clock, plan.Counted, plan.Measured))
	case f.curveCap < 0:
		return fail(fmt.Errorf("--curve-cap %s is negative", f.curveCap))
	case f.workers < 0:
		return fail(fmt.Errorf("--workers %d is negative", f.workers))
	case f.epochs < 1:
		return fail(fmt.Errorf("--epochs %d: at least 1 is needed", f.epochs))
	case f.configs < 1:
		return fail(fmt.Errorf("--configs %d: at least 1 is needed", f.configs))
	case !slices.Contains(plan.Modes, plan.Mode(f.mode)):
		return fail(fmt.Errorf("--mode %s: use one of %v", f.mode, plan.Modes))
	}
	b, err := f.backend()
	if err != nil {
		return fail(err)
	}
	o := plan.Options{
		ModelParam: b.modelParam, Mode: plan.Mode(f.mode), Configs: f.configs, Epochs: f.epochs,
		CurveCap: f.curveCap.Seconds(), Seed: f.seed, Trainer: b.name, Clock: f.clock,
		MetaFeatures: images.FeatureNames, Only: make(map[string][]space.Value),
	}
	if o.Space, err = b.space(f.epochs); err != nil {
		return fail(err)
	}
	for _, s := range f.only {
		name, values, ok := strings.Cut(s, "=")
		if !ok || values == "" {
			return fail(fmt.Errorf("--set %s: want NAME=VALUE,VALUE", s))
		}
		if o.Only[name] != nil {
			return fail(fmt.Errorf("--set names %s twice: separate the values by commas", name))
		}
		for _, v := range splitList(values) {
			o.Only[name] = append(o.Only[name], parseValue(v))
		}
	}
	if f.models != "" && !b.anyModel {
		if o.Only[b.modelParam] != nil {
			return fail(fmt.Errorf("--models and --set %s exclude each other", b.modelParam))
		}
		for _, m := range splitList(f.models) {
			o.Only[b.modelParam] = append(o.Only[b.modelParam], space.String(m))
		}
	}
	if o.Models, err = b.models(); err != nil {
		return plan.Options{}, nil, err
	}
	return o, b, nil
}

// parseValue reads a value as a person writes it.
func parseValue(text string) space.Value {
	if text == "None" {
		return space.None
	}
	if b, err := strconv.ParseBool(text); err == nil && len(text) > 1 {
		return space.Bool(b)
	}
	if x, err := strconv.ParseFloat(text, 64); err == nil {
		return space.Float(x)
	}
	return space.String(text)
}

func runSweep(ctx context.Context, f sweepFlags, stdout, stderr io.Writer) error {
	log := cli.Logger(stderr)
	o, b, err := f.options()
	if err != nil {
		return err
	}
	chosen, err := chooseDatasets(f.datasets, f.data)
	if err != nil {
		return cli.Input(err)
	}
	if err := o.Check(); err != nil {
		return cli.Input(err)
	}
	if o.Datasets, err = describe(ctx, chosen, log); err != nil {
		return err
	}
	p, err := plan.New(o)
	if err != nil {
		return cli.Input(err)
	}
	if f.dryRun {
		return printEstimate(stdout, p, b, workerCount(f.workers))
	}
	if err := sweep.Claim(f.out, p); err != nil {
		return cli.Input(err)
	}
	if f.trainer == timmName {
		if err := writeTimmOptions(f.out, f.timm); err != nil {
			return err
		}
	}
	return work(ctx, f.out, p, b, f.workers, stdout, stderr)
}

func workerCount(n int) int {
	if n == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return n
}

func newResume(stdout, stderr io.Writer) *cobra.Command {
	var workers int
	c := &cobra.Command{
		Use:   "resume DIR",
		Short: "go on with a sweep that was stopped",
		Long: `Resume goes on with the plan in a directory, without a need for the flags it was
made by. Epochs that are known are not trained again.`,
		Example: "  go run ./generate resume results/runs/sweep",
		Args:    cli.Arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if workers < 0 {
				return cli.Inputf("--workers %d is negative", workers)
			}
			p, b, err := readPlan(args[0])
			if err != nil {
				return err
			}
			return work(c.Context(), args[0], p, b, workers, stdout, stderr)
		},
	}
	c.Flags().IntVar(&workers, "workers", 0, "trials that are trained at the same time; changes no result (default: one for each CPU)")
	return c
}

// readPlan reads the plan of a sweep and finds who trains it.
func readPlan(dir string) (*plan.Plan, *backend, error) {
	p, err := plan.Read(filepath.Join(dir, sweep.PlanFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, cli.Inputf("%s is not the directory of a sweep: it has no %s", dir, sweep.PlanFile)
	}
	if err != nil {
		return nil, nil, cli.Input(err)
	}
	b, err := findBackend(p.Trainer, dir)
	if err != nil {
		return nil, nil, cli.Inputf("%s: %w", dir, err)
	}
	return p, b, nil
}

// work trains what is left of a plan and tells what was made.
func work(ctx context.Context, dir string, p *plan.Plan, b *backend, workers int, stdout, stderr io.Writer) error {
	log := cli.Logger(stderr)
	d, err := b.dispatcher(ctx, dir, p, workers, log)
	if err != nil {
		return err
	}
	if d.stop != nil {
		defer d.stop()
	}
	o := sweep.Options{Dir: dir, Plan: p, Dispatcher: d, Generator: "quicktune generate, trainer: " + b.name}
	estimate := perEpoch(p, b)
	if p.Clock == plan.Counted {
		o.Seconds = b.seconds(p)
		o.Notes = append(o.Notes, cost.Note)
	} else {
		o.Notes = append(o.Notes, d.notes...)
	}
	var last sweep.Status
	watching, stopWatching := context.WithCancel(context.Background())
	defer stopWatching()
	watched := make(chan struct{})
	close(watched)
	o.Watch = func(j *journal.Journal) {
		watched = make(chan struct{})
		go func() {
			defer close(watched)
			last = watch(watching, j, p, estimate, stderr, log)
		}()
	}
	r, err := sweep.Run(ctx, o)
	stopWatching()
	<-watched
	switch {
	case errors.Is(err, context.Canceled):
		return cli.Interruptedf("interrupted; %d epochs of %d trials, %d of them finished, are kept in %s; go on by the same command or: go run ./generate resume %s",
			last.Epochs, last.Begun+last.Ended, last.Ended, dir, dir)
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w; what was learned before is kept: make room and repeat the command", err)
	case err != nil:
		return err
	}
	printResult(stdout, p, r, dir)
	return nil
}

// perEpoch estimates the seconds of an epoch.
func perEpoch(p *plan.Plan, b *backend) func(plan.Trial) float64 {
	seconds := b.seconds(p)
	return func(t plan.Trial) float64 {
		train, eval := seconds(t)
		return train + eval
	}
}

const (
	watchEvery   = 2 * time.Second
	workersEvery = time.Minute
)

// watch shows how far a sweep is until ctx is done, and returns how far it came.
func watch(ctx context.Context, j *journal.Journal, p *plan.Plan, estimate func(plan.Trial) float64, stderr io.Writer, log *slog.Logger) sweep.Status {
	const steps = 1000
	bar := cli.NewProgress(stderr, log, "training", steps, false)
	defer bar.Finish()
	var s sweep.Status
	look := func() {
		j.View(func(state *journal.State) { s = sweep.Summarise(p, state, estimate, time.Now()) })
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	told := time.Now()
	for {
		select {
		case <-ctx.Done():
			look()
			return s
		case <-tick.C:
		}
		look()
		bar.Set(int64(steps*s.Share), 0)
		if time.Since(told) < workersEvery {
			continue
		}
		told = time.Now()
		log.Info("sweep", "ended", fmt.Sprintf("%d/%d", s.Ended, s.Trials), "epochs", s.Epochs)
		for _, w := range s.Workers {
			log.Info("worker "+w.Worker, "trial", w.Trial.ID, "model", w.Trial.Model, "epoch", fmt.Sprintf("%d/%d", w.Epoch, w.Epochs), "rate", rate(w), "left", left(w))
		}
	}
}

// rate tells how fast a worker is.
func rate(w sweep.Working) string {
	if w.PerEpoch <= 0 {
		return "?"
	}
	return cli.FormatSeconds(w.PerEpoch.Seconds()) + "/epoch"
}

func left(w sweep.Working) string {
	if w.PerEpoch <= 0 {
		return "?"
	}
	return w.Left.Round(time.Second).String()
}

// printEstimate prints what a plan would take.
func printEstimate(stdout io.Writer, p *plan.Plan, b *backend, workers int) error {
	c := p.Estimate(perEpoch(p, b), nil)
	fmt.Fprintf(stdout, "%d trials of up to %d epochs: %d networks on %d data sets, trained by %s\n", c.Trials, p.Epochs, len(c.Models), len(p.Datasets), b.name)
	fmt.Fprintf(stdout, "about %s of %s, %s with %d workers, if this machine is as fast as the reference", cli.FormatSeconds(round(c.Seconds)), b.reference, cli.FormatSeconds(round(c.Seconds/float64(workers))), workers)
	if c.Capped > 0 {
		fmt.Fprintf(stdout, "; the curve cap of %s cuts about %d curves", cli.FormatSeconds(p.CurveCap), c.Capped)
	}
	fmt.Fprint(stdout, "\n\n")
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DATA SET\tTRAIN\tVALIDATION\tTEST\tCLASSES\tTIME")
	for _, d := range p.Datasets {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\n", d.Name, d.Train, d.Validation, d.Test, d.Classes, cli.FormatSeconds(round(c.Datasets[d.Name])))
	}
	fmt.Fprintln(w, "\nNETWORK\tPARAMETERS\tMEGA-MACS\tTIME")
	for _, m := range p.Hub() {
		if s, ok := c.Models[m.Name]; ok {
			fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%s\n", m.Name, m.Params*1e6, m.GMACs*1e3, cli.FormatSeconds(round(s)))
		}
	}
	return w.Flush()
}

// round rounds long times to seconds and short ones to hundredths.
func round(seconds float64) float64 {
	d := time.Duration(seconds * float64(time.Second))
	if d > 10*time.Second {
		return d.Round(time.Second).Seconds()
	}
	return d.Round(10 * time.Millisecond).Seconds()
}

// printResult tells what was made and how to look at it.
func printResult(stdout io.Writer, p *plan.Plan, r sweep.Result, dir string) {
	models := make(map[string]bool)
	for _, t := range p.Trials {
		models[t.Model] = true
	}
	var ends []string
	for _, e := range metadataset.Ends {
		if n := r.Ends[e]; n > 0 {
			ends = append(ends, fmt.Sprintf("%d %s", n, e))
		}
	}
	fmt.Fprintf(stdout, "%s: %d curves, %d epochs of %d networks on %d data sets (%s)\n", r.Dir, r.Curves, r.Epochs, len(models), len(p.Datasets), strings.Join(ends, ", "))
	fmt.Fprintf(stdout, "hash %s\n\nLook at it:\n", r.Hash)
	fmt.Fprintf(stdout, "  go run ./generate report %s\n  go run ./benchmark info %s\n  go run ./benchmark --data %s\n", dir, r.Dir, r.Dir)
}
