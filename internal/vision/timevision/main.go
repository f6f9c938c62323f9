//go:build linux

// Command timevision times training steps of the networks of package vision for
// scripts/compare_torch: it reads lines "MODEL BATCH STEPS", trains so many steps
// of AdamW on random images after one to warm up, and answers with the seconds of
// processor time and of the clock that they took. "list" is answered with the
// networks' names.
package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"quicktune/internal/nn/layers"
	"quicktune/internal/nn/vec"
	"quicktune/internal/stream"
	"quicktune/internal/vision"
)

func main() {
	runtime.GOMAXPROCS(1)
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "timevision:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if lines.Text() == "list" {
			for i, s := range vision.Specs {
				if i > 0 {
					fmt.Fprint(out, " ")
				}
				fmt.Fprint(out, s.Name)
			}
			fmt.Fprintln(out)
			continue
		}
		var model string
		var batch, steps int
		if _, err := fmt.Sscan(lines.Text(), &model, &batch, &steps); err != nil {
			return fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		t, err := newTask(model, batch)
		if err != nil {
			return err
		}
		t.step()
		clock, cpu := time.Now(), processorTime()
		for range steps {
			t.step()
		}
		fmt.Fprintf(out, "%.6f %.6f\n", processorTime()-cpu, time.Since(clock).Seconds())
	}
	return lines.Err()
}

// processorTime is what this process has used, in seconds.
func processorTime() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return math.NaN()
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

const classes = 10

// task is a network with a batch and the moments of its parameters.
type task struct {
	net     *vision.Network[float32]
	c       layers.Context[float32]
	x       layers.Batch[float32]
	targets []float32
	m, v    [][]float32
	steps   int
}

func newTask(model string, batch int) (*task, error) {
	n, err := vision.New[float32](model, classes)
	if err != nil {
		return nil, err
	}
	n.Init(1)
	t := &task{net: n, targets: make([]float32, batch*classes)}
	t.c.Train = true
	t.x = layers.Batch[float32]{N: batch, H: vision.Side, W: vision.Side, C: vision.Channels}
	t.x.Data = make([]float32, t.x.Len())
	rng := stream.New("timevision", 1)
	for i := range t.x.Data {
		t.x.Data[i] = float32(rng.NormFloat64())
	}
	labels := make([]int, batch)
	for i := range labels {
		labels[i] = i % classes
	}
	layers.Smooth(t.targets, labels, classes, 0)
	for _, p := range n.Params() {
		t.m, t.v = append(t.m, make([]float32, len(p.Value))), append(t.v, make([]float32, len(p.Value)))
	}
	return t, nil
}

func (t *task) step() {
	y := t.net.Classify(&t.c, t.net.Body(&t.c, t.x))
	g := y
	g.Data = t.c.Get(y.Len())
	copy(g.Data, y.Data)
	layers.CrossEntropy(g.Data, t.targets, t.x.N, 1)
	t.net.BodyBack(&t.c, t.net.ClassifyBack(&t.c, g, true), 0)
	t.steps++
	const lr, beta1, beta2 = 1e-3, 0.9, 0.999
	c1, c2 := 1-math.Pow(beta1, float64(t.steps)), math.Sqrt(1-math.Pow(beta2, float64(t.steps)))
	for i, p := range t.net.Params() {
		if p.Fixed {
			continue
		}
		vec.Scale(p.Value, 1-lr*0.01)
		vec.Adam(vec.AdamStep{Beta1: beta1, Beta2: beta2, Step: lr / c1 * c2, Eps: 1e-8 * c2}, p.Value, t.m[i], t.v[i], p.Grad)
		clear(p.Grad)
	}
}
