package trainer

import (
	"context"
	"fmt"
	"math"

	"quicktune/internal/vision"
)

// Pretraining tells how a network is trained from random weights.
type Pretraining struct {
	Model  string
	Epochs int
	Rate   float64 // the highest learning rate
	Seed   uint64
}

// Pretrain trains a network from random weights on the training images of d and
// returns its weights, head included, with its accuracy on the validation images
// as the source accuracy: AdamW with a decay of 0.05, batches of 32, one epoch of
// warm-up and a cosine, smoothing 0.1, gradients clipped at 1. The same arguments
// give the same bits. progress is called after each epoch and may be nil.
func Pretrain(ctx context.Context, p Pretraining, d *Images, progress func(epoch int, loss float64)) (*vision.Weights, error) {
	if p.Epochs < 1 {
		return nil, fmt.Errorf("pretraining %s for %d epochs: at least 1 is needed", p.Model, p.Epochs)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	start, err := vision.New[float32](p.Model, d.Classes)
	if err != nil {
		return nil, err
	}
	start.Init(p.Seed)
	s := settings{
		layerDecay: 1, smoothing: 0.1, clip: 1, batch: 32,
		optimizer: optimizer{name: "adamw", beta1: 0.9, beta2: 0.999, weightDecay: 0.05},
		schedule:  schedule{name: "cosine", rate: p.Rate, epochs: p.Epochs, warmupEpochs: 1, warmupRate: p.Rate / 10},
	}
	t, err := newTrial(s, d, start.Weights(), p.Seed)
	if err != nil {
		return nil, err
	}
	for epoch := 1; epoch <= p.Epochs; epoch++ {
		loss, err := t.epoch(ctx, epoch, t.schedule.at(epoch))
		if err != nil {
			return nil, err
		}
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return nil, fmt.Errorf("pretraining %s on %s: the loss of epoch %d is not finite", p.Model, d.Name, epoch)
		}
		if progress != nil {
			progress(epoch, loss)
		}
	}
	w := t.net.Weights()
	w.Source = d.Name
	_, w.SourceAccuracy, err = t.evaluate(ctx, d.Validation)
	return w, err
}
