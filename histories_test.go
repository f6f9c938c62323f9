//go:build unix

package quicktune_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"quicktune/internal/stream"
)

// job is a command that a history starts again and again until it ends.
type job struct {
	name, command string
	args          []string // OUT stands for where it writes
	// finished counts what is finished in OUT, which no kill may take away.
	finished func(t *testing.T, out string) int
	// result is what is the same however often the command was killed.
	result func(t *testing.T, out string) string

	took time.Duration // undisturbed
	want string
	kept int
}

// TestHistoriesOfKills lets the commands that keep their work run in any order, each
// killed at a random moment and begun again. Nothing that was finished is lost or
// counted twice, and the end is that of a run that nobody killed.
//
//	QUICKTUNE_KILLS=200 go test . -run Histories -timeout 1h
//
// is a longer history. QUICKTUNE_THROUGH names a program that the commands run
// through; this one makes a slow disk, on which a kill has more time to hit what is
// written but not yet there:
//
//	strace -f -qq -o /dev/null -e trace=fsync,write,pwrite64 -e inject=fsync:delay_exit=400000 -e inject=write,pwrite64:delay_exit=3000
func TestHistoriesOfKills(t *testing.T) {
	kills := 6
	if n, err := strconv.Atoi(os.Getenv("QUICKTUNE_KILLS")); err == nil {
		kills = n
	}
	root, err := os.Getwd()
	must(t, err)
	tmp := t.TempDir()
	for _, command := range []string{"benchmark", "generate", "tune"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(tmp, command), "./"+command).CombinedOutput(); err != nil {
			t.Fatalf("go build ./%s: %v\n%s", command, err, out)
		}
	}
	pictures := filepath.Join(tmp, "pictures")
	drawStripes(t, pictures)
	embedded := filepath.Join(root, "results", "embedded")
	jobs := []*job{
		{
			name: "sweep", command: "generate",
			args:     []string{"--datasets", "digits,loops", "--models", "plain_xs,mixer_xs", "--configs", "3", "--epochs", "3", "--out", "OUT"},
			finished: journalEpochs(filepath.Join(tmp, "generate")), result: manifestField("metadataset/manifest.json", "hash"),
		},
		{
			name: "comparison", command: "benchmark",
			args:     []string{"--data", embedded, "--methods", "random,asha,hyperband", "--seeds", "20", "--out", "OUT"},
			finished: savedRuns, result: manifestField("manifest.json", "trace_hash"),
		},
		{
			name: "learning", command: "benchmark",
			args:     []string{"meta-train", "--data", embedded, "--hold-out", "automata,bccd_crops,cells,cifar10,clothing,coil20_32,digits,fashion,flowers5,fractals,gratings,greek,gtsrb,medical_mnist,neu_det,numerals,omniglot,palettes,rsscn7,shapes,sign_digits,signs", "--cache", "OUT.cache", "--out", "OUT"},
			finished: whether, result: sum,
		},
		{
			name: "tuning", command: "tune",
			args:     []string{"--data", pictures, "--models", "plain_xs,separable_xs", "--budget", "500ms", "--clock", "counted", "--workers", "1", "--out", "OUT"},
			finished: journalLines, result: func(t *testing.T, out string) string { return sum(t, filepath.Join(out, "model.safetensors")) },
		},
	}
	if extended := filepath.Join(root, "..", "shared", "data", "quicktune", "extended"); exists(extended) {
		jobs = append(jobs, &job{
			name: "import", command: "benchmark", args: []string{"import", "--from", extended, "--out", "OUT"},
			finished: whether, result: manifestField("manifest.json", "hash"),
		})
	}
	start := func(j *job, out string, limit time.Duration) (killed bool) {
		t.Helper()
		args := make([]string, len(j.args))
		for i, a := range j.args {
			args[i] = strings.Replace(a, "OUT", out, 1)
		}
		args = slices.Concat(strings.Fields(os.Getenv("QUICKTUNE_THROUGH")), []string{filepath.Join(tmp, j.command)}, args)
		c := exec.Command(args[0], args[1:]...)
		c.Dir = root
		c.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(tmp, "cache"))
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var log bytes.Buffer
		c.Stdout, c.Stderr = &log, &log
		must(t, c.Start())
		if limit > 0 {
			defer time.AfterFunc(limit, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }).Stop()
		}
		err := c.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) && limit > 0 && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
			return true
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", j.name, err, log.Bytes())
		}
		return false
	}
	for _, j := range jobs {
		out := filepath.Join(tmp, "whole-"+j.name)
		began := time.Now()
		start(j, out, 0)
		j.took, j.want = time.Since(began), j.result(t, out)
		t.Logf("%s: %v undisturbed", j.name, j.took.Round(time.Millisecond))
	}
	rng := stream.New("histories", 1)
	done := make(map[*job]int) // how often the job came to its end
	for killed := 0; killed < kills; {
		j := jobs[rng.IntN(len(jobs))]
		out := filepath.Join(tmp, fmt.Sprint("killed-", j.name, done[j]))
		if start(j, out, moment(rng, j.took)) {
			killed++
		} else {
			check(t, j, out)
			done[j]++
			j.kept = 0
			continue
		}
		now := j.finished(t, out)
		if now < j.kept {
			t.Fatalf("%s: %d things were finished, after kill %d there are %d", j.name, j.kept, killed, now)
		}
		j.kept = now
	}
	for _, j := range jobs {
		out := filepath.Join(tmp, fmt.Sprint("killed-", j.name, done[j]))
		start(j, out, 0)
		check(t, j, out)
	}
}

// moment is when to kill: any, of the time that the command takes undisturbed.
func moment(rng *rand.Rand, took time.Duration) time.Duration {
	return max(time.Millisecond, time.Duration(rng.Float64()*float64(took)))
}

func check(t *testing.T, j *job, out string) {
	t.Helper()
	if got := j.result(t, out); got != j.want {
		t.Errorf("%s: killed and continued it ends with %s, undisturbed with %s", j.name, got, j.want)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// whether counts a file or directory that is seen whole or not at all.
func whether(_ *testing.T, out string) int {
	if exists(out) {
		return 1
	}
	return 0
}

func sum(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// manifestField reads a text from a JSON file in a directory.
func manifestField(name, field string) func(*testing.T, string) string {
	return func(t *testing.T, out string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(out, filepath.FromSlash(name)))
		must(t, err)
		var fields map[string]any
		must(t, json.Unmarshal(data, &fields))
		text, ok := fields[field].(string)
		if !ok || text == "" {
			t.Fatalf("%s of %s: there is no %s", name, out, field)
		}
		return text
	}
}

// journalEpochs counts the epochs of a sweep as the command tells them.
func journalEpochs(generate string) func(*testing.T, string) int {
	return func(t *testing.T, out string) int {
		t.Helper()
		if !exists(filepath.Join(out, "journal.log")) {
			return 0
		}
		text, err := exec.Command(generate, "status", out, "--json").Output()
		if err != nil {
			t.Fatalf("status of a killed sweep: %v", err)
		}
		var s struct{ Epochs int }
		must(t, json.Unmarshal(text, &s))
		return s.Epochs
	}
}

// savedRuns counts the runs of a comparison that are on the disk.
func savedRuns(t *testing.T, out string) int {
	t.Helper()
	file := filepath.Join(out, "runs.parquet")
	if !exists(file) {
		return 0
	}
	rows, err := parquet.ReadFile[struct {
		Method string `parquet:"method"`
	}](file)
	if err != nil {
		t.Fatalf("the runs of a killed comparison: %v", err)
	}
	return len(rows)
}

// journalLines counts the whole lines of a search's journal.
func journalLines(t *testing.T, out string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(out, "journal.log"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	must(t, err)
	return bytes.Count(data, []byte("\n"))
}

// drawStripes makes a folder of two classes of small pictures.
func drawStripes(t *testing.T, dir string) {
	t.Helper()
	rng := stream.New("histories/pictures", 1)
	for _, class := range []string{"across", "down"} {
		must(t, os.MkdirAll(filepath.Join(dir, class), 0o755))
		for i := range 24 {
			m := image.NewGray(image.Rect(0, 0, 32, 32))
			width := 2 + rng.IntN(4)
			for p := range 32 * 32 {
				x, y := p%32, p/32
				along := x
				if class == "across" {
					along = y
				}
				m.SetGray(x, y, color.Gray{Y: uint8(120*(along/width%2) + rng.IntN(100))})
			}
			f, err := os.Create(filepath.Join(dir, class, fmt.Sprintf("%02d.png", i)))
			must(t, err)
			must(t, png.Encode(f, m))
			must(t, f.Close())
		}
	}
}
