//go:build linux

// Command timeblas times the routines of package blas for
// scripts/bench_blas.py: it reads lines "operation path order" and answers each
// with the seconds of processor time one call took, at best.
//
// Processor time of a process held to one thread, not wall time, and the least of many runs, not
// the mean: on a machine that others use the rest measures the others.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/blas"
	"quicktune/internal/stream"
)

// A request is answered after budget of processor time, in runs of at least
// shortest each.
const (
	budget   = 60 * time.Millisecond
	shortest = 500 * time.Microsecond
)

func main() {
	runtime.GOMAXPROCS(1)
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "timeblas:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	paths := map[string]blas.Path{}
	for _, p := range blas.Available() {
		paths[p.String()] = p
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var op, path string
		var n int
		if _, err := fmt.Sscan(lines.Text(), &op, &path, &n); err != nil {
			return fmt.Errorf("request %q: want an operation, a path and an order: %w", lines.Text(), err)
		}
		p, ok := paths[path]
		if !ok {
			fmt.Fprintln(out, "nan")
			continue
		}
		if err := blas.Select(p); err != nil {
			return err
		}
		f, err := operation(op, n)
		if err != nil {
			return err
		}
		seconds, err := best(f)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%.9g\n", seconds)
	}
	return lines.Err()
}

// best returns the least processor time of a call of f, in seconds.
func best(f func()) (float64, error) {
	f()
	least, spent, repeat := time.Duration(0), time.Duration(0), 1
	perCall := 0.0
	for spent < budget || least == 0 {
		start, err := processorTime()
		if err != nil {
			return 0, err
		}
		for range repeat {
			f()
		}
		end, err := processorTime()
		if err != nil {
			return 0, err
		}
		took := end - start
		spent += took
		if took < shortest && repeat < 1<<20 {
			repeat *= 2
			continue
		}
		if s := took.Seconds() / float64(repeat); least == 0 || s < perCall {
			least, perCall = took, s
		}
	}
	return perCall, nil
}

func processorTime() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano()), err
}

func matrix[T blas.Float](n int, name string) []T {
	rng := stream.New("timeblas "+name, uint64(n))
	x := make([]T, n*n)
	for i := range x {
		x[i] = T(rng.Float64() - 0.5)
	}
	return x
}

// positiveDefinite returns a well-conditioned symmetric matrix.
func positiveDefinite(n int) []float64 {
	a, s := matrix[float64](n, "a"), make([]float64, n*n)
	blas.Gemm(false, true, n, n, n, 1, a, n, a, n, 0, s, n)
	for i := range n {
		s[i*n+i] += 0.1 * float64(n)
	}
	return s
}

func operation(name string, n int) (func(), error) {
	switch name {
	case "dgemm":
		a, b, c := matrix[float64](n, "a"), matrix[float64](n, "b"), make([]float64, n*n)
		return func() { blas.Gemm(false, false, n, n, n, 1, a, n, b, n, 0, c, n) }, nil
	case "dgemm-nt":
		a, b, c := matrix[float64](n, "a"), matrix[float64](n, "b"), make([]float64, n*n)
		return func() { blas.Gemm(false, true, n, n, n, 1, a, n, b, n, 0, c, n) }, nil
	case "dgemm-tn":
		a, b, c := matrix[float64](n, "a"), matrix[float64](n, "b"), make([]float64, n*n)
		return func() { blas.Gemm(true, false, n, n, n, 1, a, n, b, n, 0, c, n) }, nil
	case "sgemm":
		a, b, c := matrix[float32](n, "a"), matrix[float32](n, "b"), make([]float32, n*n)
		return func() { blas.Gemm(false, false, n, n, n, 1, a, n, b, n, 0, c, n) }, nil
	case "dsyrk":
		a, c := matrix[float64](n, "a"), make([]float64, n*n)
		return func() { blas.Syrk(gblas.Lower, false, n, n, 1, a, n, 0, c, n) }, nil
	case "dtrsm", "dtrsm-right", "dpotri", "cholesky-append":
		l, b, w := positiveDefinite(n), matrix[float64](n, "b"), make([]float64, n*n)
		row := append([]float64(nil), l[(n-1)*n:]...)
		if err := blas.Cholesky(l, n, n); err != nil {
			return nil, err
		}
		switch name {
		case "dtrsm":
			return func() { copy(w, b); blas.SolveLower(false, n, n, l, n, w, n) }, nil
		case "dtrsm-right":
			return func() {
				copy(w, b)
				blas.Trsm(gblas.Right, gblas.Lower, true, gblas.NonUnit, n, n, 1, l, n, w, n)
			}, nil
		case "dpotri":
			return func() { blas.CholeskyInverse(n, l, n, w, n) }, nil
		}
		return func() {
			copy(l[(n-1)*n:], row)
			if err := blas.ExtendCholesky(l, n-1, n, n); err != nil {
				panic(err)
			}
		}, nil
	case "dpotrf":
		s, w := positiveDefinite(n), make([]float64, n*n)
		return func() {
			copy(w, s)
			if err := blas.Cholesky(w, n, n); err != nil {
				panic(err)
			}
		}, nil
	}
	return nil, fmt.Errorf("unknown operation %q", name)
}
