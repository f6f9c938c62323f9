// Command compare_parquet is our side of compare.py, which starts it: it writes
// and opens meta-datasets as it is told on its standard input, and answers with
// the processor time of the whole process, garbage collection included. It refuses
// to compare anything itself.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"

	"quicktune/internal/cputime"
	"quicktune/metadataset"
	"quicktune/metadataset/synthetic"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "compare_parquet:", err)
		os.Exit(1)
	}
}

// serve obeys "make N" (synthetic curves, 50 epochs at most each), "write DIR" and
// "open DIR".
func serve() error {
	var in metadataset.Input
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		op, arg, _ := strings.Cut(lines.Text(), " ")
		start := cputime.Process()
		switch op {
		case "make":
			var n int
			if _, err := fmt.Sscan(arg, &n); err != nil {
				return fmt.Errorf("make %q: %w", arg, err)
			}
			in = synthetic.Generate(synthetic.Options{Datasets: 20, Curves: n / 20, Seed: 1})
		case "write":
			if err := metadataset.Write(arg, in); err != nil {
				return err
			}
		case "open":
			s, err := metadataset.Open(arg)
			if err != nil {
				return err
			}
			if s.NumEpochs() == 0 {
				return fmt.Errorf("%s is empty", arg)
			}
		default:
			return fmt.Errorf("unknown request %q", op)
		}
		took := cputime.Process() - start
		fmt.Printf("%.9f\n", float64(took)/float64(time.Second))
	}
	return lines.Err()
}
