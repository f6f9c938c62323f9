package selection

import (
	"context"
	"math"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"quicktune/generate/trainer"
	"quicktune/internal/cputime"
	"quicktune/selection"
	"quicktune/selection/embedded"
)

// The network that RSA compares with: a small one, trained on the data set alone,
// from random weights, for about as many images as one curve of the
// meta-dataset sees.
const (
	referenceModel  = "residual_xs"
	referenceImages = 20_000
	referenceRate   = 3e-3
)

// trainReference trains it on the training images of a data set.
func trainReference(ctx context.Context, set *trainer.Images) (*expert, error) {
	epochs := max(1, (referenceImages+set.Train.Len()/2)/set.Train.Len())
	w, err := trainer.Pretrain(ctx, trainer.Pretraining{Model: referenceModel, Epochs: epochs, Rate: referenceRate, Seed: probeSeed}, set, func(int, float64) {})
	return &expert{weights: w}, err
}

// scoreByReference scores all experts on a data set by RSA, in the headline
// setting. The training is charged to their rows in equal parts.
func scoreByReference(ctx context.Context, set *trainer.Images, experts []*expert, parallel int) ([]Score, error) {
	start := cputime.Process()
	reference, err := trainReference(ctx, set)
	if err != nil {
		return nil, err
	}
	rows := selection.Sample(set.Train.Labels, settings[widest].perClass, probeSeed)
	pixels, labels := make([]float32, len(rows)*trainer.Pixels), make([]int, len(rows))
	for i, r := range rows {
		trainer.Normalize(pixels[i*trainer.Pixels:(i+1)*trainer.Pixels], set.Train.Pixels[r*trainer.Pixels:(r+1)*trainer.Pixels])
		labels[i] = set.Train.Labels[r]
	}
	own, err := embedded.Probe(reference.weights, pixels, labels, embedded.Options{})
	if err != nil {
		return nil, err
	}
	share := (cputime.Process() - start) / time.Duration(len(experts))
	out := make([]Score, len(experts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for m, e := range experts {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			d, err := embedded.Probe(e.weights, pixels, labels, embedded.Options{})
			if err != nil {
				return err
			}
			d.Reference, d.ReferenceDim = own.Features, own.Dim
			p, err := selection.NewProbe(d)
			if err != nil {
				return err
			}
			start := cputime.Thread()
			value, err := selection.RSA{}.Score(p)
			out[m] = newScore(set.Name, e, widest, selection.RSA{}, value, err, cputime.Thread()-start+share, math.NaN(), len(rows))
			return nil
		})
	}
	return out, group.Wait()
}
