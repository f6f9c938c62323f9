// Command benchmark replays learning curves to compare search methods.
//
// It imports curves into a meta-dataset, verifies and describes it, and replays
// it to any method under a simulated clock:
//
//	go run ./benchmark import --from DIR|ZIP|URL --out results/extended
//	go run ./benchmark --data results/extended --budget 1h,4h,16h --methods random,asha,hyperband --seeds 10
//	go run ./benchmark --data results/extended --budget 1h,4h,16h --methods quicktune,quicktune-reference,random --seeds 5
//
// Methods that learn from other data sets are cross-validated over the data sets
// of the meta-dataset. It also trains the published predictor for use elsewhere
// (meta-train) and takes the published method apart (ablation). Scores that rank
// pretrained models without fine-tuning are compared on published accuracies
// (selection).
//
// It refuses to train any network on images: every number comes from curves that were
// recorded before.
package main

import (
	"context"
	"io"

	"quicktune/benchmark/selection"
	"quicktune/benchmark/traintime"
	"quicktune/internal/cli"
)

func main() { cli.Main("benchmark", run) }

// run executes the command line args.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := newCompare(stdout, stderr)
	root.AddCommand(
		newImport(stdout, stderr),
		newVerify(stdout),
		newInfo(stdout),
		newMethods(stdout),
		newMetaTrain(stdout, stderr),
		newAblation(stdout, stderr),
		newReproduce(stdout, stderr),
		newCompareRuns(stdout),
		newPaper(stdout, stderr),
		selection.New(stdout, stderr),
		newRankings(stdout, stderr),
		traintime.New(stdout, stderr),
		newTimes(stdout, stderr),
	)
	return cli.Execute(ctx, root, args, stdout, stderr)
}
