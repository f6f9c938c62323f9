//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"quicktune/generate/dispatch/slurm/slurmtest"
	"quicktune/generate/plan"
	"quicktune/generate/sweep"
	"quicktune/generate/timm"
	"quicktune/generate/trainer"
	"quicktune/internal/cli"
	"quicktune/metadataset"
)

// The test binary is the command too: with this variable, which holds the
// arguments as JSON, it runs them.
const asCommand = "QUICKTUNE_GENERATE_ARGUMENTS"

func TestMain(m *testing.M) {
	if text := os.Getenv(asCommand); text != "" {
		var args []string
		if err := json.Unmarshal([]byte(text), &args); err != nil {
			panic(err)
		}
		os.Args = append(os.Args[:1], args...)
		cli.Main("generate", run)
	}
	os.Exit(m.Run())
}

// coordinator is the command as a process.
func coordinator(t *testing.T, args []string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asCommand+"="+string(text))
	log, err := os.OpenFile(filepath.Join(filepath.Dir(args[len(args)-1]), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if t.Failed() {
			data, _ := os.ReadFile(log.Name())
			t.Logf("the coordinator wrote\n%s", data)
		}
	})
	return cmd
}

// ended waits until so many trials of a sweep have ended.
func ended(t *testing.T, dir string, n int) {
	t.Helper()
	for deadline := time.Now().Add(12 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		var out bytes.Buffer
		if err := run(context.Background(), []string{"status", "--json", dir}, &out, &out); err != nil {
			continue // nobody has begun
		}
		var s statusJSON
		if err := json.Unmarshal(out.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		if s.Ended >= n {
			return
		}
	}
	t.Fatalf("fewer than %d trials ended in 12 minutes", n)
}

// killWorker kills one worker of the cluster.
func killWorker(t *testing.T) {
	t.Helper()
	for range 600 {
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range files {
			command, err := os.ReadFile(f)
			if err != nil || !bytes.Contains(command, []byte("timm_worker\x00work\x00")) || bytes.HasPrefix(command, []byte("/bin/bash")) {
				continue
			}
			environment, err := os.ReadFile(filepath.Join(filepath.Dir(f), "environ"))
			if err != nil || !bytes.Contains(environment, []byte("SLURM_CONF="+os.Getenv("SLURM_CONF")+"\x00")) {
				continue
			}
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			if syscall.Kill(pid, syscall.SIGKILL) == nil {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("no worker to kill")
}

// Three nodes with two GPUs each train 60 trials. The coordinator dies, a node
// dies, a worker dies; the meta-dataset is that of a sweep where nothing died.
func TestASweepOnSlurmSurvivesEveryDeath(t *testing.T) {
	python := timmPython(t)
	archive := signs(t, 6)
	testbed := slurmtest.Start(t, 3, 2)
	dir := filepath.Join(t.TempDir(), "sweep")
	args := []string{
		"--trainer", "timm", "--python", python, "--data", archive, "--models", "tf_efficientnet_lite0", "--scratch", "--image-size", "32",
		"--configs", "60", "--epochs", "2", "--set", "batch_size=16,32", "--set", "amp=false", "--set", "data_augmentation=None",
		"--set", "pct_to_freeze=0.8,1", "--loader-workers", "0", "--gpus", "none", "--dispatch", "slurm", "--trials-per-job", "4",
		"--job-cpus", "1", "--time", "1h", "--poll", "500ms", "--silence", "10m", "--out", dir,
	}
	first := coordinator(t, args)
	ended(t, dir, 5)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	second := coordinator(t, args)
	ended(t, dir, 12)
	testbed("kill-node", "n2")
	killWorker(t)
	if err := second.Wait(); err != nil {
		t.Fatal(err)
	}
	s, err := metadataset.Open(filepath.Join(dir, "metadataset"))
	if err != nil {
		t.Fatal(err)
	}
	if s.NumCurves() != 60 || s.NumEpochs() != 120 {
		t.Errorf("%d curves, %d epochs", s.NumCurves(), s.NumEpochs())
	}
	for c, end := range s.Ends {
		if end != metadataset.EndCompleted {
			t.Errorf("curve %d ended as %s", c, end)
		}
	}
	compareWithOneWorker(t, python, dir, s)
	checkNumbersOfNodes(t, dir)
}

// compareWithOneWorker trains some of the trials again, each from its beginning.
func compareWithOneWorker(t *testing.T, python, dir string, s *metadataset.Store) {
	t.Helper()
	p, err := plan.Read(filepath.Join(dir, sweep.PlanFile))
	if err != nil {
		t.Fatal(err)
	}
	root, err := timm.Install(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := &timm.Worker{
		Command: []string{python, "-m", "timm_worker", "serve", "--data", filepath.Join(dir, "data"), "--scratch", "--image-size", "32", "--device", "cpu", "--threads", "1"},
		Env:     timm.Environment(root),
	}
	defer w.Close()
	for i := 0; i < len(p.Trials); i += 12 {
		trial := p.Trials[i]
		c, ok := s.Lookup(trial.Dataset, trial.ID)
		if !ok {
			t.Fatalf("trial %s is missing", trial.ID)
		}
		r := trainer.Request{Trial: trial.ID, Model: trial.Model, Config: trial.Config, Dataset: trial.Dataset, Epochs: p.Epochs, Seed: trial.Seed}
		end, err := w.Train(t.Context(), r, func(rec trainer.Record) error {
			for col, want := range map[metadataset.Column]float64{metadataset.ValAccuracy: rec.ValAccuracy, metadataset.ValLoss: rec.ValLoss, metadataset.TrainLoss: rec.TrainLoss} {
				if got := float64(s.Values(c, col)[rec.Epoch-1]); math.Abs(got-want) > 1e-4*(1+math.Abs(want)) {
					t.Errorf("trial %s, epoch %d: %v is %g, trained again %g", trial.ID, rec.Epoch, col, got, want)
				}
			}
			return nil
		})
		if err != nil || end.End != metadataset.EndCompleted {
			t.Errorf("trial %s again: %v, %v", trial.ID, end, err)
		}
	}
}

// checkNumbersOfNodes looks at who did the work, and that every fake GPU was
// asked for.
func checkNumbersOfNodes(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "slurm", "results", "*.jsonl"))
	if err != nil || len(files) < 60 {
		t.Fatalf("%d results, %v", len(files), err)
	}
	nodes := make(map[string]int)
	for _, f := range files {
		for n := 1; n <= 3; n++ {
			if strings.Contains(filepath.Base(f), fmt.Sprintf("-n%d-", n)) {
				nodes[fmt.Sprintf("n%d", n)]++
			}
		}
	}
	if nodes["n1"] == 0 || nodes["n2"] == 0 || nodes["n3"] == 0 {
		t.Errorf("tries by node: %v", nodes)
	}
	script, err := os.Open(filepath.Join(dir, "slurm", "batches", "0001", "job.sh"))
	if err != nil {
		t.Fatal(err)
	}
	defer script.Close()
	gres := false
	for s := bufio.NewScanner(script); s.Scan(); {
		gres = gres || s.Text() == "#SBATCH --gres=gpu:1"
	}
	if !gres {
		t.Error("the jobs asked for no GPU")
	}
}
