//go:build linux

// Command timescores times package selection for scripts/compare_selection: it
// reads lines "FILE images features sources", takes the probe from FILE
// (float64, little-endian: features, source probabilities, labels), computes all
// closed-form scores of it on one processor and answers with one line of JSON,
// the values and the seconds of processor time: of each score, in order, with the
// moments and the spectrum charged to the first that asks for them, and of all
// together with the checks of the probe.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"quicktune/selection"
)

func main() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "timescores:", err)
		os.Exit(1)
	}
}

type answer struct {
	Total  float64            `json:"total"`
	Checks float64            `json:"checks"` // of the probe
	Times  map[string]float64 `json:"times"`
	Values map[string]float64 `json:"values"`
}

func run(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		var file string
		var n, d, sources int
		if _, err := fmt.Sscan(lines.Text(), &file, &n, &d, &sources); err != nil {
			return fmt.Errorf("request %q: want file, images, features and source classes: %w", lines.Text(), err)
		}
		data, err := read(file, n, d, sources)
		if err != nil {
			return err
		}
		runtime.GC()
		a := answer{Times: map[string]float64{}, Values: map[string]float64{}}
		start := processorTime()
		p, err := selection.NewProbe(data)
		if err != nil {
			return err
		}
		last := processorTime()
		a.Checks = (last - start).Seconds()
		for _, s := range selection.ClosedForm() {
			v, err := s.Score(p)
			if err != nil {
				return err
			}
			now := processorTime()
			a.Times[s.Name()], a.Values[s.Name()] = (now - last).Seconds(), v
			last = now
		}
		a.Total = (last - start).Seconds()
		if err := encoder.Encode(a); err != nil {
			return err
		}
	}
	return lines.Err()
}

func read(file string, n, d, sources int) (selection.Data, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return selection.Data{}, err
	}
	if n <= 0 || d <= 0 || sources <= 0 || len(raw) != 8*n*(d+sources+1) {
		return selection.Data{}, fmt.Errorf("%s: %d bytes are not %d images of %d features, %d sources and a label", file, len(raw), n, d, sources)
	}
	x := make([]float64, len(raw)/8)
	for i := range x {
		x[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	data := selection.Data{Dim: d, SourceClasses: sources, Features: x[:n*d], Source: x[n*d : n*(d+sources)]}
	for _, y := range x[n*(d+sources):] {
		data.Labels = append(data.Labels, int(y))
	}
	return data, nil
}

// processorTime is what all threads of the process have used, user and system.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
