//go:build linux

// Command timetrees times package trees for scripts/oracles/trees.py: it reads
// lines "boosting FILE rows columns iterations rate l2" or "forest FILE rows
// columns trees features", fits the table in FILE (float64, little-endian: the
// rows, then the targets), predicts its rows, writes the predictions after
// them to FILE.out and answers with the seconds of processor time that fitting
// and predicting took.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"quicktune/internal/trees"
)

func main() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "timetrees:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var kind, file string
		var rows, cols, count int
		var first, second float64
		_, err := fmt.Sscan(lines.Text(), &kind, &file, &rows, &cols, &count, &first, &second)
		if err != nil {
			return fmt.Errorf("request %q: want kind, file, rows, columns, trees and two settings: %w", lines.Text(), err)
		}
		x, y, err := read(file, rows, cols)
		if err != nil {
			return err
		}
		var predictions []float64
		var predict func() // the race is for the numbers, so it keeps them
		start := processorTime()
		switch kind {
		case "boosting":
			m, err := trees.Boosting{Iterations: count, LearningRate: first, L2: second}.Fit(x, cols, y, nil)
			if err != nil {
				return err
			}
			predict = func() { predictions = m.PredictBatch(nil, x) }
		case "forest":
			m, err := trees.Forest{Trees: count, MaxFeatures: first, MinSamplesLeaf: int(second), Bootstrap: true}.Fit(x, cols, y, nil)
			if err != nil {
				return err
			}
			predict = func() {
				predictions = make([]float64, rows)
				for r := range predictions {
					predictions[r], _ = m.Predict(x[r*cols : (r+1)*cols])
				}
			}
		default:
			return fmt.Errorf("request %q: unknown kind %q", lines.Text(), kind)
		}
		fitted := processorTime()
		predict()
		predicted := processorTime()
		buf := make([]byte, 0, 8*rows)
		for _, p := range predictions {
			buf = binary.LittleEndian.AppendUint64(buf, math.Float64bits(p))
		}
		if err := os.WriteFile(file+".out", buf, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(out, "%.9g %.9g\n", (fitted - start).Seconds(), (predicted - fitted).Seconds())
	}
	return lines.Err()
}

func read(file string, rows, cols int) (x, y []float64, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	if len(data) != 8*rows*(cols+1) {
		return nil, nil, fmt.Errorf("%s: %d bytes for %d rows of %d columns and a target", file, len(data), rows, cols)
	}
	all := make([]float64, rows*(cols+1))
	for i := range all {
		all[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return all[:rows*cols], all[rows*cols:], nil
}

// processorTime cannot fail on Linux with a clock that every kernel has.
func processorTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		fmt.Fprintln(os.Stderr, "timetrees: processor time:", err)
		os.Exit(1)
	}
	return time.Duration(t.Nano())
}
