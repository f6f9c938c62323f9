// Command tune finds out which pretrained network to fine-tune on your pictures,
// and how, and fine-tunes it.
//
//	go run ./tune --data photos --budget 1h
//	go run ./tune --resume results/runs/tune-photos
//	go run ./tune predict --model results/runs/tune-photos new.jpg
//	go run ./tune export results/runs/tune-photos --out photos.safetensors
//	go run ./tune train --from results/runs/tune-photos/incumbent.json --out again
//	go run ./tune compare --data photos,birds.zip --budget 20s
//
// It refuses to replay stored curves: that is what benchmark does.
package main

import (
	"context"
	"io"
	"time"

	"quicktune/internal/cli"
)

// began is when the budget of a search begins to run.
var began = time.Now()

func main() { cli.Main("tune", run) }

// run executes the command line args.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := newSearch(stdout, stderr)
	root.AddCommand(
		newPredict(stdout, stderr),
		newExport(stdout),
		newTrain(stdout, stderr),
		newCompare(stdout, stderr),
	)
	return cli.Execute(ctx, root, args, stdout, stderr)
}
