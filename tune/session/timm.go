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

	"quicktune/generate/images"
	"quicktune/generate/timm"
	"quicktune/generate/trainer"
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

// connectTimm makes a worker for each GPU, or workers that share the cores.
func (x *Session) connectTimm(ctx context.Context, set *images.Set) error {
	s := &x.Plan.Settings
	dir, err := filepath.Abs(x.Dir)
	if err != nil {
		return err
	}
	root, err := timm.Install(dir)
	if err != nil {
		return err
	}
	python := timm.Python{Interpreter: s.Python, Root: root}
	if err := python.Ready(ctx); err != nil {
		return fmt.Errorf("--python %s: %w", s.Python, err)
	}
	data := filepath.Join(dir, timmDataDir)
	if !timm.Described(data, set.Name, x.Plan.Data.Hash) {
		if err := timm.Describe(data, set, s.Data); err != nil {
			return err
		}
	}
	args := []string{"-m", "timm_worker", "serve", "--data", data, "--loader-workers", strconv.Itoa(s.LoaderWorkers)}
	if s.ImageSize > 0 {
		args = append(args, "--image-size", strconv.Itoa(s.ImageSize))
	}
	if s.Scratch {
		args = append(args, "--scratch")
	}
	if s.WeightsDir != "" {
		if _, err := os.Stat(s.WeightsDir); err != nil {
			return fmt.Errorf("--weights-dir: %w", err)
		}
		args = append(args, "--weights-dir", s.WeightsDir)
	}
	gpus, err := gpus(ctx, s.GPUs)
	if err != nil {
		return err
	}
	p := make(pool, s.Workers) // one for each worker of the search
	var all []*timm.Worker
	for i := range s.Workers {
		w := &timm.Worker{Env: timm.Environment(root)}
		command := append([]string{s.Python}, args...)
		if len(gpus) > 0 {
			g := gpus[i%len(gpus)]
			w.Env = append(w.Env, "CUDA_VISIBLE_DEVICES="+g, "HIP_VISIBLE_DEVICES="+g)
			w.Command = append(command, "--device", "cuda")
		} else {
			w.Command = append(command, "--device", "cpu", "--threads", strconv.Itoa(max(1, runtime.NumCPU()/s.Workers)))
		}
		all = append(all, w)
		p <- w
	}
	x.trainer = p
	x.close = func() {
		for _, w := range all {
			w.Close()
		}
	}
	return nil
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

// pool is a trainer of several that train a trial at a time each.
type pool chan trainer.Trainer

// Train implements [trainer.Trainer].
func (p pool) Train(ctx context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
	select {
	case t := <-p:
		defer func() { p <- t }()
		return t.Train(ctx, r, emit)
	case <-ctx.Done():
		return trainer.End{}, ctx.Err()
	}
}
