package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"quicktune/generate/dispatch"
	"quicktune/generate/dispatch/slurm"
	"quicktune/generate/plan"
	"quicktune/generate/timm"
	"quicktune/internal/atomicfile"
	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/space"
)

// timmName is how the name of the timm trainer begins in a plan. What changes
// results beside the plan follows: the size of pictures, random weights.
const timmName = "timm"

// timmFile keeps where and how a sweep of the timm trainer runs. It changes no
// result and may be replaced.
const timmFile = "timm.json"

// The parts of a sweep's directory that the timm trainer uses.
const (
	timmDataDir  = "data"
	timmSlurmDir = "slurm"
)

const (
	localDispatch = "local"
	slurmDispatch = "slurm"
)

// timmOptions say where and how the timm trainer runs.
type timmOptions struct {
	Python        string   `json:"python"`
	WeightsDir    string   `json:"weights_dir,omitempty"`
	GPUs          string   `json:"gpus"`
	LoaderWorkers int      `json:"loader_workers"`
	Dispatch      string   `json:"dispatch"`
	Partition     string   `json:"partition,omitempty"`
	Time          string   `json:"time,omitempty"`
	Gres          string   `json:"gres"`
	CPUs          int      `json:"cpus,omitempty"`
	Memory        string   `json:"memory,omitempty"`
	MaxJobs       int      `json:"max_jobs,omitempty"`
	TrialsPerJob  int      `json:"trials_per_job"`
	Sbatch        []string `json:"sbatch,omitempty"`
	Poll          string   `json:"poll"`
	Silence       string   `json:"silence"`
}

// register adds the flags.
func (o *timmOptions) register(c *cobra.Command) {
	p := c.Flags()
	p.StringVar(&o.Python, "python", "python3", "with --trainer timm: interpreter with torch and timm")
	p.StringVar(&o.WeightsDir, "weights-dir", "", "with --trainer timm: folder or file of pretrained weights instead of the hub")
	p.StringVar(&o.GPUs, "gpus", "all", "with --trainer timm: GPUs such as 0,1,2,3, all, or none for the CPU")
	p.IntVar(&o.LoaderWorkers, "loader-workers", 2, "with --trainer timm: processes of each trial that read pictures")
	p.StringVar(&o.Dispatch, "dispatch", localDispatch, "with --trainer timm: local, or slurm for jobs of a cluster")
	p.StringVar(&o.Partition, "partition", "", "with --dispatch slurm: partition of the jobs")
	p.StringVar(&o.Time, "time", "", "with --dispatch slurm: time limit of a job, such as 4h")
	p.StringVar(&o.Gres, "gres", "gpu:1", "with --dispatch slurm: what a job asks for beside cores, or none")
	p.IntVar(&o.CPUs, "job-cpus", 0, "with --dispatch slurm: cores of a job")
	p.StringVar(&o.Memory, "job-memory", "", "with --dispatch slurm: memory of a job, such as 16G")
	p.IntVar(&o.MaxJobs, "max-jobs", 0, "with --dispatch slurm: jobs that run at the same time (default: no limit)")
	p.IntVar(&o.TrialsPerJob, "trials-per-job", 1, "with --dispatch slurm: trials that one job trains one after the other")
	p.StringArrayVar(&o.Sbatch, "sbatch", nil, "with --dispatch slurm: a further option of sbatch, such as --account=me; may be given several times")
	p.StringVar(&o.Poll, "poll", "10s", "with --dispatch slurm: time between two looks at the queue")
	p.StringVar(&o.Silence, "silence", "20m", "with --trainer timm: time after which a silent worker is given up")
}

func (o *timmOptions) check() error {
	for name, text := range map[string]string{"--time": o.Time, "--poll": o.Poll, "--silence": o.Silence} {
		if d, err := time.ParseDuration(text); text != "" && (err != nil || d <= 0) {
			return fmt.Errorf("%s %s: want a duration such as 30m or 4h", name, text)
		}
	}
	switch {
	case o.Dispatch != localDispatch && o.Dispatch != slurmDispatch:
		return fmt.Errorf("--dispatch %s: use %s or %s", o.Dispatch, localDispatch, slurmDispatch)
	case o.TrialsPerJob < 1:
		return fmt.Errorf("--trials-per-job %d: at least 1 is needed", o.TrialsPerJob)
	case o.MaxJobs < 0 || o.CPUs < 0 || o.LoaderWorkers < 0:
		return errors.New("--max-jobs, --job-cpus and --loader-workers cannot be negative")
	}
	if o.GPUs != "all" && o.GPUs != "none" {
		for _, g := range splitList(o.GPUs) {
			if _, err := strconv.ParseUint(g, 10, 16); err != nil {
				return fmt.Errorf("--gpus %s: want numbers such as 0,1, or all, or none", o.GPUs)
			}
		}
	}
	return nil
}

// duration reads a duration that check has seen.
func duration(text string) time.Duration {
	d, _ := time.ParseDuration(text)
	return d
}

// timmTrainer is the name of the timm trainer in a plan.
func timmTrainer(imageSize int, scratch bool) string {
	name := timmName
	if imageSize > 0 {
		name += fmt.Sprintf(", %d pixels", imageSize)
	}
	if scratch {
		name += ", from scratch"
	}
	return name
}

// parseTimmTrainer reads what timmTrainer made.
func parseTimmTrainer(name string) (imageSize int, scratch, ok bool) {
	rest, scratch := strings.CutSuffix(name, ", from scratch")
	if rest == timmName {
		return 0, scratch, true
	}
	if _, err := fmt.Sscanf(rest, timmName+", %d pixels", &imageSize); err != nil || timmTrainer(imageSize, scratch) != name {
		return 0, false, false
	}
	return imageSize, scratch, true
}

// timmBackend trains by timm workers. Without models they are Quick-Tune's.
func timmBackend(name string, models []string, o timmOptions) (*backend, error) {
	imageSize, scratch, ok := parseTimmTrainer(name)
	if !ok {
		return nil, fmt.Errorf("unknown trainer %q", name)
	}
	if len(models) == 0 {
		for _, m := range timm.Published {
			models = append(models, m.Name)
		}
	}
	return &backend{
		name: name, modelParam: "model", anyModel: true,
		space: func(epochs int) (*space.Space, error) { return timm.Space(models, epochs) },
		models: func() ([]metadataset.Model, error) {
			python := timm.Python{Interpreter: o.Python}
			root, err := os.MkdirTemp("", "quicktune-")
			if err != nil {
				return nil, err
			}
			defer os.RemoveAll(root)
			if python.Root, err = timm.Install(root); err != nil {
				return nil, err
			}
			list, err := python.Models(context.Background(), models, imageSize)
			if err != nil {
				return nil, cli.Inputf("--models: %w", err)
			}
			return list, nil
		},
		reference: "one RTX 2080 Ti", seconds: timmSeconds,
		dispatcher: func(ctx context.Context, dir string, p *plan.Plan, workers int, log *slog.Logger) (*dispatching, error) {
			return timmDispatcher(ctx, dir, p, timmRun{o, imageSize, scratch, workers}, log)
		},
	}, nil
}

// timmSeconds estimates the seconds of an epoch on the GPU of the published
// curves.
func timmSeconds(p *plan.Plan) func(plan.Trial) (train, eval float64) {
	each := make(map[string]float64)
	for _, m := range p.Hub() {
		each[m.Name] = timm.EpochSeconds(m)
	}
	sets := make(map[string]plan.Dataset)
	for _, d := range p.Datasets {
		sets[d.Name] = d
	}
	return func(t plan.Trial) (train, eval float64) {
		total := each[t.Model] * float64(sets[t.Dataset].Train)
		return total * 0.8, total * 0.2
	}
}

// timmRun is everything that a run of the timm trainer depends on.
type timmRun struct {
	timmOptions
	imageSize int
	scratch   bool
	workers   int
}

// writeTimmOptions keeps the options in the directory of a sweep.
func writeTimmOptions(dir string, o timmOptions) error {
	return atomicfile.Write(filepath.Join(dir, timmFile), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(o)
	})
}

// readTimmOptions reads what a sweep was last run with.
func readTimmOptions(dir string) (timmOptions, error) {
	var o timmOptions
	data, err := os.ReadFile(filepath.Join(dir, timmFile))
	if errors.Is(err, fs.ErrNotExist) {
		return o, fmt.Errorf("%s is missing: repeat the command that began the sweep", filepath.Join(dir, timmFile))
	}
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return o, fmt.Errorf("%s: %w", filepath.Join(dir, timmFile), err)
	}
	return o, o.check()
}

// absolute makes the checkpoints of tasks absolute: workers have other working
// directories.
type absolute struct{ dispatch.Dispatcher }

func (a absolute) Run(ctx context.Context, tasks []dispatch.Task, sink dispatch.Sink) error {
	for i := range tasks {
		full, err := filepath.Abs(tasks[i].Request.Checkpoint)
		if err != nil {
			return err
		}
		tasks[i].Request.Checkpoint = full
	}
	return a.Dispatcher.Run(ctx, tasks, sink)
}

// timmDispatcher prepares the directory of a sweep and says who works on it.
func timmDispatcher(ctx context.Context, dir string, p *plan.Plan, o timmRun, log *slog.Logger) (*dispatching, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := timm.Install(dir)
	if err != nil {
		return nil, err
	}
	python := timm.Python{Interpreter: o.Python, Root: root}
	findings, err := python.Examine(ctx)
	if err != nil {
		return nil, cli.Inputf("--python: %w", err)
	}
	versions := make([]string, 0, len(findings))
	for _, f := range findings {
		if !f.OK {
			return nil, cli.Inputf("--python %s cannot train: %s %s", o.Python, f.Check, f.Detail)
		}
		if f.Check == "torch" || f.Check == "timm" {
			versions = append(versions, f.Check+" "+f.Detail)
		}
	}
	if err := describeData(ctx, filepath.Join(dir, timmDataDir), p, log); err != nil {
		return nil, err
	}
	args := []string{"--data", filepath.Join(dir, timmDataDir), "--loader-workers", strconv.Itoa(o.LoaderWorkers)}
	if o.imageSize > 0 {
		args = append(args, "--image-size", strconv.Itoa(o.imageSize))
	}
	if o.scratch {
		args = append(args, "--scratch")
	}
	if o.WeightsDir != "" {
		full, err := filepath.Abs(o.WeightsDir)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(full); err != nil {
			return nil, cli.Inputf("--weights-dir: %w", err)
		}
		args = append(args, "--weights-dir", full)
	}
	note := "Trained with " + strings.Join(versions, " and ") + ", seconds measured "
	if o.Dispatch == slurmDispatch {
		d := timmSlurm(dir, p, o, root, args, log)
		return &dispatching{Dispatcher: absolute{d}, notes: []string{note + "on Slurm jobs with " + o.Gres + "."}}, nil
	}
	local, devices, stop := timmLocal(o, root, args, log)
	return &dispatching{Dispatcher: absolute{local}, notes: []string{note + "on " + devices + "."}, stop: stop}, nil
}

// describeData tells the workers of the data sets, once.
func describeData(ctx context.Context, dir string, p *plan.Plan, log *slog.Logger) error {
	for _, d := range p.Datasets {
		if timm.Described(dir, d.Name, d.Hash) {
			continue
		}
		s, err := loadPlanned(ctx, d)
		if err != nil {
			return cli.Input(err)
		}
		log.Info("data set", "name", d.Name, "pictures", s.Len())
		if err := timm.Describe(dir, s, d.Path); err != nil {
			return err
		}
	}
	return nil
}

// visibleGPUs lists the GPUs of this machine: number and name.
func visibleGPUs(ctx context.Context) [][2]string {
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=index,name", "--format=csv,noheader").Output()
	if err != nil {
		return nil
	}
	var list [][2]string
	for line := range strings.Lines(string(out)) {
		if index, name, ok := strings.Cut(strings.TrimSpace(line), ", "); ok {
			list = append(list, [2]string{index, name})
		}
	}
	return list
}

// timmTolerance is how many trials may fail before any goes well. A worker that
// cannot start at all is noticed otherwise.
const timmTolerance = 10

// timmLocal makes a worker for each GPU, or workers that share the cores.
func timmLocal(o timmRun, root string, args []string, log *slog.Logger) (d dispatch.Dispatcher, devices string, stop func()) {
	env := timm.Environment(root)
	local := &dispatch.Local{Attempts: 3, Tolerance: timmTolerance, Log: func(trial string, err error) {
		log.Warn("training broke off", "trial", trial, "err", err)
	}}
	var workers []*timm.Worker
	add := func(name string, env []string, args ...string) {
		w := &timm.Worker{
			Command: append([]string{o.Python, "-m", "timm_worker", "serve"}, args...),
			Env:     env, Silence: duration(o.Silence),
			Log: func(line string) { log.Debug(line, "worker", name) },
		}
		workers = append(workers, w)
		local.Workers = append(local.Workers, dispatch.Worker{Name: name, Trainer: w})
	}
	gpus, names := timmGPUs(o.GPUs)
	for _, g := range gpus {
		add("gpu"+g, append(slices.Clone(env), "CUDA_VISIBLE_DEVICES="+g, "HIP_VISIBLE_DEVICES="+g), append(slices.Clone(args), "--device", "cuda")...)
	}
	if len(gpus) == 0 {
		n := max(1, o.workers)
		threads := max(1, runtime.NumCPU()/n)
		for i := range n {
			add("cpu"+strconv.Itoa(i), env, append(slices.Clone(args), "--device", "cpu", "--threads", strconv.Itoa(threads))...)
		}
		names = fmt.Sprintf("%d of %d cores for each of %d trials", threads, runtime.NumCPU(), n)
	}
	return local, names, func() {
		for _, w := range workers {
			w.Close()
		}
	}
}

// timmGPUs turns --gpus into numbers, and names them.
func timmGPUs(flag string) (numbers []string, names string) {
	if flag == "none" {
		return nil, ""
	}
	found := visibleGPUs(context.Background())
	count := make(map[string]int)
	for _, g := range found {
		if flag == "all" || slices.Contains(splitList(flag), g[0]) {
			numbers = append(numbers, g[0])
			count[g[1]]++
		}
	}
	if flag != "all" {
		numbers = splitList(flag) // the worker says it if one is not there
	}
	words := make([]string, 0, len(count))
	for name, n := range count {
		words = append(words, fmt.Sprintf("%d x %s", n, name))
	}
	slices.Sort(words)
	if len(words) == 0 {
		words = []string{fmt.Sprintf("%d GPUs", len(numbers))}
	}
	return numbers, strings.Join(words, ", ")
}

// timmSlurm makes the dispatcher of jobs.
func timmSlurm(dir string, p *plan.Plan, o timmRun, root string, args []string, log *slog.Logger) dispatch.Dispatcher {
	device, gres := "cuda", o.Gres
	if gres == "none" || o.GPUs == "none" {
		device = "cpu"
	}
	if gres == "none" {
		gres = ""
	}
	args = append(args, "--device", device)
	if device == "cpu" {
		args = append(args, "--threads", strconv.Itoa(max(1, o.CPUs)))
	}
	poll := duration(o.Poll)
	return &slurm.Dispatcher{
		Dir: filepath.Join(dir, timmSlurmDir), Name: "qt-" + p.Hash[:10],
		Command:   append([]string{o.Python, "-m", "timm_worker", "work", "--heartbeat", "30"}, args...),
		Env:       timm.Environment(root),
		Resources: slurm.Resources{Partition: o.Partition, Time: duration(o.Time), Gres: gres, CPUs: o.CPUs, Memory: o.Memory, Extra: o.Sbatch},
		MaxJobs:   o.MaxJobs, TrialsPerJob: o.TrialsPerJob, Poll: poll, Silence: duration(o.Silence),
		Settle: min(3*poll, slurm.DefaultSettle), Pause: min(3*poll, slurm.DefaultPause),
		Log: log.Info,
	}
}
