package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"quicktune/internal/cli"
	"quicktune/results/predictors"
	"quicktune/tune/live"
	"quicktune/tune/session"
)

type searchFlags struct {
	data, out, resume string
	budget            time.Duration
	workers           int
	method            string
	candidates        int
	models            string
	space, predictor  string
	meta, exec        string
	trainer, metric   string
	epochs            int
	clock             string
	seed              uint64
	scores, filter    bool

	python, gpus, weightsDir string
	imageSize, loaders       int
	scratch                  bool

	dispatch, partition, gres, memory string
	time                              time.Duration
	cpus                              int
	options                           []string
}

// The values of --dispatch.
const (
	localDispatch = "local"
	slurmDispatch = "slurm"
)

// defaultJobs is how many jobs of a cluster train at the same time.
const defaultJobs = 4

func newSearch(stdout, stderr io.Writer) *cobra.Command {
	var f searchFlags
	c := &cobra.Command{
		Use:   "tune --data PICTURES",
		Short: "find and fine-tune the best pretrained network for your pictures",
		Long: `Tune looks at your pictures, a folder or zip archive with a folder for each class
or in the Meta-Album layout, and fine-tunes pretrained networks on them: many
configurations a little, few of them long, each epoch where it promises most. It
needs nothing but Go: 24 small networks for pictures of 32 x 32 pixels are part of
it, with forecasts that were learnt from the curves of other data sets.

The budget is time on the clock, decisions included. When it is used up, the best
network so far is the result; nothing is trained again. Stop it at any moment, by
Ctrl-C, by kill -9 or by a power cut: --resume DIR goes on with the budget that is
left.

With --exec, any program can be tuned that speaks JSON lines: docs/exec.md.`,
		Example: `  go run ./tune --data photos --budget 1h
  go run ./tune --data photos.zip --budget 10m --models vit_s,residual_s --out results/runs/small
  go run ./tune --data photos --budget 1h --method asha
  go run ./tune --resume results/runs/small
  go run ./tune --exec "python train.py" --space space.json --data corpus.txt --budget 8h`,
		Args: cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if f.resume != "" {
				return resume(c.Context(), c.Flags(), f.resume, stdout, stderr)
			}
			if err := cli.Conditions(c.Flags()); err != nil {
				return err
			}
			return begin(c.Context(), f, stdout, stderr)
		},
	}
	p := c.Flags()
	p.StringVar(&f.data, "data", "", "folder or zip archive of pictures")
	p.DurationVar(&f.budget, "budget", time.Hour, "time that the search has, such as 10m or 1h")
	p.StringVar(&f.out, "out", "", "directory of the run (default: results/runs/tune-NAME)")
	p.StringVar(&f.resume, "resume", "", "directory of a run to go on with; it knows its settings")
	p.IntVar(&f.workers, "workers", 0, "trials that are trained at the same time (default: one for each CPU; with --trainer timm, for each GPU; with --dispatch slurm, 4 jobs)")
	p.StringVar(&f.method, "method", "", "quicktune; default, the default network with default settings; single, the default network tuned by ASHA; or a method that \"benchmark methods\" lists (default: quicktune, or asha with --exec and nothing to learn from)")
	p.IntVar(&f.candidates, "candidates", session.DefaultCandidates, "configurations to choose from")
	p.StringVar(&f.models, "models", "", "networks to choose from, such as vit_s,residual_s (default: all)")
	p.StringVar(&f.space, "space", "", "search space, a JSON file, of this project or of ConfigSpace")
	p.StringVar(&f.predictor, "predictor", "", "forecasts that \"benchmark meta-train\" wrote (default: those that come with the program)")
	p.StringVar(&f.meta, "meta", "", "meta-dataset to learn from first; no part of the budget")
	p.StringVar(&f.trainer, "trainer", session.Embedded, "who trains: embedded, or timm for the models of the Python library, on GPUs if there are any")
	p.StringVar(&f.exec, "exec", "", "command of a program that trains, see docs/exec.md")
	p.IntVar(&f.epochs, "epochs", 0, "with --exec: epochs of a curve (default: the constant epochs of the space, or 50)")
	p.StringVar(&f.metric, "metric", session.ValAccuracy, "val_accuracy, or val_loss with a method that needs no accuracies")
	p.StringVar(&f.clock, "clock", session.Measured, "measured, or counted for the seconds of a reference machine, the same everywhere")
	p.Uint64Var(&f.seed, "seed", 1, "decides every random number")
	p.BoolVar(&f.scores, "scores", true, "look at the networks before training and favour those that suit the pictures")
	p.BoolVar(&f.filter, "time-filter", true, "leave out configurations that cannot get anywhere within the budget")
	p.StringVar(&f.python, "python", "python3", "with --trainer timm: interpreter with torch and timm")
	p.StringVar(&f.gpus, "gpus", "all", "with --trainer timm: GPUs such as 0,1,2,3, all, or none for the CPU")
	p.StringVar(&f.weightsDir, "weights-dir", "", "with --trainer timm: folder or file of pretrained weights instead of the hub")
	p.IntVar(&f.imageSize, "image-size", 0, "with --trainer timm: side of the pictures (default: that of each model)")
	p.IntVar(&f.loaders, "loader-workers", 2, "with --trainer timm: processes of each trial that read pictures")
	p.BoolVar(&f.scratch, "scratch", false, "with --trainer timm: begin with random weights instead of pretrained ones")
	p.StringVar(&f.dispatch, "dispatch", localDispatch, "with --trainer timm: local, or slurm for jobs of a cluster")
	p.StringVar(&f.partition, "partition", "", "with --dispatch slurm: partition of the jobs")
	p.DurationVar(&f.time, "time", 0, "with --dispatch slurm: time limit of a job, such as 4h (default: that of the partition)")
	p.StringVar(&f.gres, "gres", "gpu:1", "with --dispatch slurm: what a job asks for beside cores, or none")
	p.IntVar(&f.cpus, "job-cpus", 0, "with --dispatch slurm: cores of a job")
	p.StringVar(&f.memory, "job-memory", "", "with --dispatch slurm: memory of a job, such as 16G")
	p.StringArrayVar(&f.options, "sbatch", nil, "with --dispatch slurm: a further option of sbatch and srun, such as --account=me; may be given several times")
	return c
}

// settings turns flags into those of a session.
func (f *searchFlags) settings() (session.Settings, error) {
	s := session.Settings{
		Data: f.data, Budget: f.budget.Seconds(), Workers: f.workers, Seed: f.seed, Method: f.method, Candidates: f.candidates,
		Space: f.space, Predictor: f.predictor, Meta: f.meta, Trainer: f.trainer, Exec: f.exec, Epochs: f.epochs,
		Metric: f.metric, Clock: f.clock, NoScores: !f.scores, NoTimeFilter: !f.filter,
	}
	for m := range strings.SplitSeq(f.models, ",") {
		if m = strings.TrimSpace(m); m != "" {
			s.Models = append(s.Models, m)
		}
	}
	if s.Workers == 0 {
		s.Workers = runtime.GOMAXPROCS(0)
		if s.Clock == session.Counted {
			s.Workers = 1
		}
	}
	if s.Method == "" {
		s.Method = session.QuickTune
		if f.exec != "" && f.meta == "" && f.predictor == "" {
			s.Method = "asha"
		}
	}
	if f.exec != "" {
		if f.trainer != session.Embedded {
			return s, errors.New("--exec and --trainer exclude each other")
		}
		s.Trainer = session.Exec
		if s.Data == "" {
			s.Data = "none"
		}
		return s, nil
	}
	if f.data == "" {
		return s, errors.New("--data: name a folder or zip archive of pictures")
	}
	switch f.dispatch {
	case localDispatch:
	case slurmDispatch:
		s.Slurm = &session.Slurm{Partition: f.partition, Time: f.time.Seconds(), Gres: f.gres, CPUs: f.cpus, Memory: f.memory, Options: f.options}
		if f.gres == "none" {
			s.Slurm.Gres = ""
		}
	default:
		return s, fmt.Errorf("--dispatch %s: want %s or %s", f.dispatch, localDispatch, slurmDispatch)
	}
	var err error
	if s.Data, err = filepath.Abs(f.data); err != nil || f.trainer != session.Timm {
		return s, err
	}
	s.Python, s.GPUs, s.ImageSize, s.Scratch, s.LoaderWorkers = f.python, f.gpus, f.imageSize, f.scratch, f.loaders
	switch {
	case f.workers != 0:
	case s.Slurm != nil:
		s.Workers = defaultJobs
	default:
		s.Workers = max(1, session.CountGPUs(f.gpus))
	}
	if f.weightsDir != "" {
		s.WeightsDir, err = filepath.Abs(f.weightsDir)
	}
	return s, err
}

func begin(ctx context.Context, f searchFlags, stdout, stderr io.Writer) error {
	s, err := f.settings()
	if err != nil {
		return cli.Input(err)
	}
	if f.out == "" {
		f.out = filepath.Join("results", "runs", "tune-"+strings.TrimSuffix(filepath.Base(s.Data), ".zip"))
	}
	log := cli.Logger(stderr)
	begun, err := session.Claim(f.out, s)
	if err != nil {
		return explain(err, f.out, nil)
	}
	view := newView(stderr, log, s.Budget)
	o := options(view, log)
	var x *session.Session
	if begun {
		x, err = session.Open(ctx, f.out, o)
	} else {
		x, err = session.Prepare(ctx, f.out, s, o)
	}
	if err != nil {
		return explain(err, f.out, nil)
	}
	return work(ctx, x, view, log, stdout)
}

func resume(ctx context.Context, flags *pflag.FlagSet, dir string, stdout, stderr io.Writer) error {
	var other []string
	flags.Visit(func(f *pflag.Flag) {
		if f.Name != "resume" {
			other = append(other, "--"+f.Name)
		}
	})
	if len(other) > 0 {
		return cli.Inputf("--resume goes on with the settings of the run: leave out %s", strings.Join(other, ", "))
	}
	log := cli.Logger(stderr)
	view := newView(stderr, log, 0)
	x, err := session.Open(ctx, dir, options(view, log))
	if err != nil {
		return explain(err, dir, nil)
	}
	return work(ctx, x, view, log, stdout)
}

func options(view *view, log *slog.Logger) session.Options {
	return session.Options{
		Began:    began,
		Learning: view.learning,
		Tell:     func(text string) { log.Info(text) },
		Warn:     func(text string) { log.Warn(text) },
		Watch:    view.watch,
	}
}

// work runs a session and tells what came of it.
func work(ctx context.Context, x *session.Session, view *view, log *slog.Logger, stdout io.Writer) error {
	view.begin(x)
	r, err := x.Run(ctx)
	view.end()
	if err != nil {
		var state *live.State
		if r != nil {
			state = r.State
		}
		return explain(err, x.Dir, state)
	}
	printResult(stdout, x, r)
	return nil
}

// explain turns an error into one line that says what to do.
func explain(err error, dir string, state *live.State) error {
	switch {
	case errors.Is(err, context.Canceled) && state != nil:
		return cli.Interruptedf("interrupted after %s of the budget; %d epochs are kept in %s; go on by: go run ./tune --resume %s",
			cli.FormatSeconds(tenth(state.Clock)), state.Epochs, dir, dir)
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w; what was learnt before is kept: make room, then: go run ./tune --resume %s", err, dir)
	case errors.Is(err, live.ErrNothing):
		return cli.Inputf("%w within the budget: give more time, or fewer or smaller pictures", err)
	case errors.Is(err, predictors.ErrNone):
		return cli.Inputf("%w: name some by --predictor FILE, learn by --meta DIR, or use --method asha", err)
	case state != nil:
		return err
	}
	return cli.Input(err)
}

func tenth(seconds float64) float64 { return math.Round(10*seconds) / 10 }

// printResult tells what was found and how to use it.
func printResult(w io.Writer, x *session.Session, r *session.Result) {
	in := r.Incumbent
	name := in.Model
	if name == "" {
		name = "the best configuration"
	}
	fmt.Fprintf(w, "%s, epoch %d of %d, found after %s of %s\n", name, in.Epoch, in.Epochs, cli.FormatSeconds(tenth(in.FoundAfter)), cli.FormatSeconds(in.Budget))
	if a := in.Validation; a != nil {
		fmt.Fprintf(w, "validation accuracy  %.3f", a.Value)
		if a.Pictures > 0 {
			fmt.Fprintf(w, "  [%.3f, %.3f] on %d pictures, the best of %d epochs of %d trials", a.Low, a.High, a.Pictures, in.Trained, in.Trials)
		}
		fmt.Fprintln(w)
	} else {
		fmt.Fprintf(w, "%s  %.4g, the best of %d epochs of %d trials\n", in.Metric, -in.Score, in.Trained, in.Trials)
	}
	if a := in.Test; a != nil {
		fmt.Fprintf(w, "test accuracy        %.3f", a.Value)
		if a.Pictures > 0 {
			fmt.Fprintf(w, "  [%.3f, %.3f] on %d pictures that the search never saw", a.Low, a.High, a.Pictures)
		}
		fmt.Fprintln(w)
	}
	_, config := x.Describe(r.State.Trials[r.State.Best.Trial].Candidate)
	fmt.Fprintf(w, "configuration        %s\n", config)
	if in.Over == live.OverExhausted {
		fmt.Fprintf(w, "ended after %s: %s\n", cli.FormatSeconds(tenth(in.Used)), in.Over)
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "report    %s\n", filepath.Join(x.Dir, "report.html"))
	trainer := x.Plan.Settings.Trainer
	if trainer != session.Embedded {
		fmt.Fprintf(w, "weights   %s\n", filepath.Join(x.Dir, in.Checkpoint))
	}
	if trainer != session.Exec {
		fmt.Fprintf(w, "use it    go run ./tune predict --model %s IMAGE...\n", x.Dir)
		fmt.Fprintf(w, "again     go run ./tune train --from %s --out again\n", filepath.Join(x.Dir, "incumbent.json"))
	}
	if trainer == session.Timm {
		fmt.Fprintf(w, "export    go run ./tune export %s --format onnx\n", x.Dir)
	}
}

// exists tells whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
