//go:build unix

// Command growth measures how the processor time and the memory of the benchmark
// command grow with configurations, data sets, seeds and simulated workers, on
// synthetic curves: one of them is changed at a time.
//
//	go run ./scripts/growth
//	go run ./scripts/growth --only configurations --rounds 5
//
// Every line is the least over the rounds, each a process of its own. Opening
// counts, and so do statistics and the table. It refuses to say anything about the
// methods themselves: the curves come from a formula.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"quicktune/metadataset"
	"quicktune/metadataset/synthetic"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

// size is what a measurement works on.
type size struct {
	datasets, configs, seeds, workers int
	methods                           string
}

// axis changes one thing.
type axis struct {
	name   string
	what   string // is counted beside the time
	values []int
	set    func(*size, int)
	count  func(size) int
}

const simple = "random,asha,hyperband"

func runs(s size) int { return s.datasets * s.seeds * len(strings.Split(s.methods, ",")) }

var axes = []axis{
	{"configurations", "curve", []int{10, 100, 1000, 10_000, 100_000},
		func(s *size, n int) { s.datasets, s.seeds, s.configs = 2, 5, n }, func(s size) int { return s.datasets * s.configs }},
	{"data sets", "run", []int{1, 10, 100, 1000}, func(s *size, n int) { s.datasets, s.seeds = n, 2 }, runs},
	{"seeds", "run", []int{1, 10, 100, 1000}, func(s *size, n int) { s.datasets, s.seeds = 5, n }, runs},
	{"workers", "run", []int{1, 4, 16, 100}, func(s *size, n int) { s.workers = n }, runs},
	{"configurations, Quick-Tune", "curve", []int{10, 30, 100, 300},
		func(s *size, n int) { s.datasets, s.seeds, s.configs, s.methods = 6, 1, n, "quicktune" }, func(s size) int { return s.datasets * s.configs }},
}

func run(ctx context.Context) error {
	only := flag.String("only", "", "the one thing to change: configurations, data sets, ...")
	rounds := flag.Int("rounds", 3, "processes for each line")
	var store size
	into := flag.String("store", "", "instead, only write synthetic curves to this directory")
	flag.IntVar(&store.datasets, "datasets", 20, "of --store")
	flag.IntVar(&store.configs, "configs", 200, "of --store, on each data set")
	flag.Parse()
	if *into != "" {
		return metadataset.Write(*into, synthetic.Generate(synthetic.Options{Datasets: store.datasets, Curves: store.configs, Seed: 1}))
	}
	if flag.NArg() > 0 || *rounds < 1 {
		return errors.New("want no arguments and at least one round")
	}
	if *only != "" && !slices.ContainsFunc(axes, func(a axis) bool { return a.name == *only }) {
		return fmt.Errorf("--only %q: there is no such thing to change", *only)
	}
	tmp, err := os.MkdirTemp("", "growth")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	benchmark := filepath.Join(tmp, "benchmark")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", benchmark, "./benchmark").CombinedOutput(); err != nil {
		return fmt.Errorf("building the command, from the root of the repository: %w\n%s", err, out)
	}
	for _, a := range axes {
		if *only != "" && a.name != *only {
			continue
		}
		fmt.Printf("| %s | processor time | for each %s | memory at the peak |\n|---:|---:|---:|---:|\n", a.name, a.what)
		for _, n := range a.values {
			s := size{datasets: 20, configs: 200, seeds: 10, workers: 1, methods: simple}
			a.set(&s, n)
			took, peak, err := measure(ctx, benchmark, tmp, s, *rounds)
			if err != nil {
				return err
			}
			fmt.Printf("| %d | %v | %v | %d MB |\n", n, took.Round(time.Millisecond), (took / time.Duration(a.count(s))).Round(100*time.Nanosecond), peak>>20)
		}
		fmt.Println()
	}
	return nil
}

// measure returns the least processor time and peak of resident memory, in bytes,
// of the command. What a method learns is learnt before.
func measure(ctx context.Context, benchmark, tmp string, s size, rounds int) (took time.Duration, peak int64, err error) {
	store := filepath.Join(tmp, "store")
	if err := os.RemoveAll(store); err != nil {
		return 0, 0, err
	}
	// By a process of its own: Linux counts what a parent holds when it starts a
	// child as the peak of the child.
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	if _, _, err := child(ctx, self, []string{"-store", store, "-datasets", strconv.Itoa(s.datasets), "-configs", strconv.Itoa(s.configs)}); err != nil {
		return 0, 0, err
	}
	args := []string{"--data", store, "--budget", "4h,16h", "--methods", s.methods, "--seeds", strconv.Itoa(s.seeds), "--workers", strconv.Itoa(s.workers), "--cache", filepath.Join(tmp, "cache")}
	learns := s.methods != simple
	for round := range rounds {
		if learns && round == 0 {
			if _, _, err := child(ctx, benchmark, args); err != nil {
				return 0, 0, err
			}
		}
		t, p, err := child(ctx, benchmark, args)
		if err != nil {
			return 0, 0, err
		}
		if round == 0 || t < took {
			took = t
		}
		if round == 0 || p < peak {
			peak = p
		}
	}
	return took, peak, nil
}

func child(ctx context.Context, program string, args []string) (time.Duration, int64, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, 0, errors.New("the system does not tell what a process used")
	}
	peak := int64(used.Maxrss)
	if runtime.GOOS != "darwin" {
		peak <<= 10 // kilobytes elsewhere
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peak, nil
}
