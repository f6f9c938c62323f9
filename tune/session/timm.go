package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"quicktune/generate/dispatch/slurm"
	"quicktune/generate/images"
	"quicktune/generate/timm"
	"quicktune/space"
)

// timmSpace is the space that timm models are searched in: that of the
// forecasts, if they know all of the models, otherwise one for the models alone.
func timmSpace(known *space.Space, models []string) (*space.Space, error) {
	if known != nil {
		i := known.Index(modelParam)
		if !slices.ContainsFunc(models, func(m string) bool { return !slices.Contains(known.Param(i).Choices, space.String(m)) }) {
			return known, nil
		}
	}
	if len(models) == 0 {
		for _, m := range timm.Published {
			models = append(models, m.Name)
		}
	}
	return timm.Space(models, defaultEpochs)
}

// timmDataDir is where the pictures are described for the workers.
const timmDataDir = "data"

// connectTimm makes the workers. They start when the search does.
func (x *Session) connectTimm(ctx context.Context, set *images.Set) error {
	s := &x.Plan.Settings
	dir, err := filepath.Abs(x.Dir)
	if err != nil {
		return err
	}
	root, command, err := s.timmCommand(ctx, dir, set, s.Data)
	if err != nil {
		return err
	}
	if x.fresh {
		if _, err := (timm.Python{Interpreter: s.Python, Root: root}).Models(ctx, s.Models, 0); err != nil {
			return fmt.Errorf("--models: %w", err)
		}
	}
	var workers []*timm.Worker
	if s.Slurm == nil {
		workers, err = s.processes(ctx, command)
	} else {
		workers, err = x.jobs(ctx, dir, command)
	}
	if err != nil {
		return err
	}
	for _, w := range workers {
		w.Env = append(w.Env, timm.Environment(root)...)
	}
	p := newPool(workers)
	x.trainer, x.close = p, p.close
	x.begin = func(ctx context.Context) error {
		p.begin(ctx)
		if s.Slurm == nil {
			return nil
		}
		// Until the first job runs the budget does not.
		began := time.Now()
		x.options.Tell(fmt.Sprintf("waiting for the first of %d jobs", len(workers)))
		err := p.wait(ctx)
		x.options.Began = x.options.Began.Add(time.Since(began))
		return err
	}
	return nil
}

// timmCommand prepares a directory for workers, which train on the pictures at
// path. It returns the folder of their sources, and the command line of a worker
// but for its device.
func (s *Settings) timmCommand(ctx context.Context, dir string, set *images.Set, path string) (root string, command []string, err error) {
	if root, err = timm.Install(dir); err != nil {
		return "", nil, err
	}
	if err := (timm.Python{Interpreter: s.Python, Root: root}).Ready(ctx); err != nil {
		return "", nil, fmt.Errorf("--python %s: %w", s.Python, err)
	}
	data := filepath.Join(dir, timmDataDir)
	if !timm.Described(data, set.Name, set.Hash()) {
		if err := timm.Describe(data, set, path); err != nil {
			return "", nil, err
		}
	}
	command = []string{s.Python, "-m", "timm_worker", "serve", "--data", data, "--loader-workers", strconv.Itoa(s.LoaderWorkers)}
	if s.ImageSize > 0 {
		command = append(command, "--image-size", strconv.Itoa(s.ImageSize))
	}
	if s.Scratch {
		command = append(command, "--scratch")
	}
	if s.WeightsDir != "" {
		if _, err := os.Stat(s.WeightsDir); err != nil {
			return "", nil, fmt.Errorf("--weights-dir: %w", err)
		}
		command = append(command, "--weights-dir", s.WeightsDir)
	}
	return root, command, nil
}

// processes makes a worker for each GPU, or workers that share the cores.
func (s *Settings) processes(ctx context.Context, command []string) ([]*timm.Worker, error) {
	gpus, err := gpus(ctx, s.GPUs)
	if err != nil {
		return nil, err
	}
	workers := make([]*timm.Worker, s.Workers)
	for i := range workers {
		w := &timm.Worker{}
		if len(gpus) > 0 {
			g := gpus[i%len(gpus)]
			w.Env = []string{"CUDA_VISIBLE_DEVICES=" + g, "HIP_VISIBLE_DEVICES=" + g}
			w.Command = append(slices.Clone(command), "--device", "cuda")
		} else {
			w.Command = append(slices.Clone(command), "--device", "cpu", "--threads", strconv.Itoa(max(1, runtime.NumCPU()/s.Workers)))
		}
		workers[i] = w
	}
	return workers, nil
}

const (
	// queueTime is how long a job may wait in the queue.
	queueTime = 100 * 24 * time.Hour
	// farewell is what srun needs to end its job.
	farewell = 3 * time.Second
)

// jobs makes workers that are jobs of a cluster, and ends jobs that an earlier
// process may have left behind.
func (x *Session) jobs(ctx context.Context, dir string, command []string) ([]*timm.Worker, error) {
	s := &x.Plan.Settings
	if _, err := exec.LookPath("srun"); err != nil {
		return nil, fmt.Errorf("--dispatch slurm: %w: run this on a login node of the cluster", err)
	}
	device := "cuda"
	if s.Slurm.Gres == "" || s.GPUs == "none" {
		device = "cpu"
		command = append(slices.Clone(command), "--threads", strconv.Itoa(max(1, s.Slurm.CPUs)))
	}
	command = append(slices.Clone(command), "--device", device)
	workers := make([]*timm.Worker, s.Workers)
	for i := range workers {
		job := slurm.Held{Name: fmt.Sprintf("%s-%d", slurm.NameOf(dir), i), Resources: slurm.Resources{
			Partition: s.Slurm.Partition, Time: time.Duration(s.Slurm.Time * float64(time.Second)), Gres: s.Slurm.Gres,
			CPUs: s.Slurm.CPUs, Memory: s.Slurm.Memory, Extra: s.Slurm.Options,
		}}
		if err := job.Cancel(ctx); err != nil {
			return nil, fmt.Errorf("--dispatch slurm: %w", err)
		}
		workers[i] = &timm.Worker{Command: job.Command(command), Startup: queueTime, Farewell: farewell, Gone: func() {
			if err := job.Cancel(context.WithoutCancel(ctx)); err != nil {
				x.options.Warn(fmt.Sprintf("job %s may be left: %v", job.Name, err))
			}
		}}
	}
	return workers, nil
}

// gpus lists the GPUs of --gpus.
func gpus(ctx context.Context, flag string) ([]string, error) {
	switch flag {
	case "none":
		return nil, nil
	case "all":
		out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=index", "--format=csv,noheader").Output()
		if err != nil {
			return nil, nil // there is none
		}
		return strings.Fields(string(out)), nil
	}
	var list []string
	for g := range strings.SplitSeq(flag, ",") {
		g = strings.TrimSpace(g)
		if _, err := strconv.ParseUint(g, 10, 16); err != nil {
			return nil, fmt.Errorf("--gpus %s: want numbers such as 0,1, or all, or none", flag)
		}
		list = append(list, g)
	}
	if len(list) == 0 {
		return nil, errors.New("--gpus is empty")
	}
	return list, nil
}

// CountGPUs is the number of GPUs that a value of --gpus stands for here.
func CountGPUs(flag string) int {
	list, err := gpus(context.Background(), flag)
	if err != nil {
		return 0
	}
	return len(list)
}
