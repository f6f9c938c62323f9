// Package look tells what one pass over a few labelled pictures says about
// pretrained networks, before anything is trained: how well each suits the data
// set, how fast it is on this machine, and which configurations cannot get
// anywhere in the time there is.
//
// The package refuses to train and to look at validation or test pictures.
package look

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"quicktune/generate/trainer"
	"quicktune/internal/nn/layers"
	"quicktune/internal/stream"
	"quicktune/internal/vision"
	"quicktune/predictor/traintime"
	"quicktune/selection"
	"quicktune/space"
)

// Network is what was seen of one pretrained network.
type Network struct {
	Name string
	// Score is LogME of its features, higher for a better network; NaN where it
	// is not defined.
	Score float64
	// Forward is what one picture takes, in seconds on one core.
	Forward float64

	features []float64 // rows of the sample, standardised as a whole
	dim      int
	labels   []int
	classes  int
}

const (
	// batch is the number of pictures that go through a network at a time.
	batch = 64
	// MinPictures is the least that says anything.
	MinPictures = 32
	// MaxPictures is what more of would tell little more.
	MaxPictures = 256
)

// Pictures returns how many pictures may be looked at, if they take so many
// seconds each through all networks together and a part of the budget is spent;
// 0 if that is too few.
func Pictures(seconds, budget float64) int {
	const part = 0.02
	n := int(min(MaxPictures, part*budget/seconds))
	if n < MinPictures {
		return 0
	}
	return n
}

// Networks looks at networks through the training pictures, n of them at most,
// drawn by the seed with every class as often as any other.
func Networks(ctx context.Context, d *trainer.Images, names []string, weights func(model string) (*vision.Weights, error), n int, seed uint64, parallel int) ([]Network, error) {
	rows := sample(d, n, seed)
	if len(rows) < 2 {
		return nil, errors.New("there are not two training pictures to look at")
	}
	pixels := make([]uint8, 0, len(rows)*trainer.Pixels)
	labels := make([]int, len(rows))
	for k, i := range rows {
		pixels = append(pixels, d.Train.Pixels[i*trainer.Pixels:(i+1)*trainer.Pixels]...)
		labels[k] = d.Train.Labels[i]
	}
	out := make([]Network, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, parallel))
	for i, name := range names {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			w, err := weights(name)
			if err != nil {
				return err
			}
			out[i], err = network(w, pixels, labels, d.Classes)
			return err
		})
	}
	return out, group.Wait()
}

// sample draws n training pictures at most, at least two of a class where there
// are as many.
func sample(d *trainer.Images, n int, seed uint64) []int {
	count := make(map[int]int)
	for _, y := range d.Train.Labels {
		count[y]++
	}
	each := n / max(1, len(count))
	if each >= 2 {
		return selection.Sample(d.Train.Labels, each, seed)
	}
	// More classes than fit: some of them.
	classes := slices.Sorted(maps.Keys(count))
	stream.New("look/classes", seed).Shuffle(len(classes), func(i, j int) { classes[i], classes[j] = classes[j], classes[i] })
	chosen := make(map[int]bool)
	for _, y := range classes[:n/2] {
		chosen[y] = true
	}
	return slices.DeleteFunc(selection.Sample(d.Train.Labels, 2, seed), func(i int) bool { return !chosen[d.Train.Labels[i]] })
}

func network(w *vision.Weights, pixels []uint8, labels []int, classes int) (Network, error) {
	net, err := vision.New[float32](w.Model, classes)
	if err != nil {
		return Network{}, err
	}
	if err := net.SetBody(w); err != nil {
		return Network{}, err
	}
	out := Network{Name: w.Model, Score: math.NaN(), dim: net.Features(), labels: labels, classes: classes}
	var c layers.Context[float32]
	forward := func(first, n int) []float32 {
		return net.Body(&c, trainer.Batch(pixels[first*trainer.Pixels:(first+n)*trainer.Pixels])).Data
	}
	forward(0, 1) // memory is taken now
	began := time.Now()
	for i := 0; i < len(labels); i += batch {
		for _, v := range forward(i, min(batch, len(labels)-i)) {
			out.features = append(out.features, float64(v))
		}
	}
	out.Forward = time.Since(began).Seconds() / float64(len(labels))
	probe, err := selection.NewProbe(selection.Data{Model: w.Model, Labels: labels, Features: out.features, Dim: out.dim})
	if err != nil {
		return out, nil // features that do not vary, or a single class: no score
	}
	if score, err := (selection.LogME{}).Score(probe); err == nil {
		out.Score = score
	}
	return out, nil
}

const (
	// maxSteps is how many steps are simulated at most: what has more time than
	// that is not judged.
	maxSteps = 4000
	// leastGain is the part of the loss that must be gone in the end.
	leastGain = 0.02
	// simulated is the number of pictures in a simulation.
	simulated = 96
)

// Hopeless tells why a configuration cannot get anywhere in the given number of
// steps, "" if it may. It judges only what the linearised dynamics of package
// traintime describe exactly but for noise: a head alone, trained by gradient
// descent with or without momentum, warm-up and schedules left out, which could
// only slow it down.
func (n *Network) Hopeless(ctx context.Context, config map[string]space.Value, steps int) (string, error) {
	setting, ok := headAlone(config)
	if !ok || steps < 1 || steps > maxSteps {
		return "", nil
	}
	rows := min(simulated, len(n.labels))
	stride := len(n.labels) / rows
	features := make([]float64, 0, rows*n.dim)
	targets := make([]float64, rows*n.classes)
	for k := range rows {
		i := k * stride
		features = append(features, n.features[i*n.dim:(i+1)*n.dim]...)
		// The gradient of the cross-entropy at equal probabilities.
		for c := range n.classes {
			targets[k*n.classes+c] = -1 / float64(n.classes)
		}
		targets[k*n.classes+n.labels[i]]++
	}
	kernel, err := traintime.LastLayer(features, rows, n.dim, n.classes, true)
	if err != nil {
		return "", err
	}
	p := traintime.Problem{Kernel: kernel, Outputs: make([]float64, rows*n.classes), Targets: targets, Loss: traintime.MSE}
	s, err := p.Spectrum()
	if err != nil {
		return "", err
	}
	curves, err := s.Simulate(ctx, []traintime.Setting{setting}, traintime.Options{Steps: steps, Every: steps})
	if err != nil {
		return "", err
	}
	loss := curves[0].Loss
	if curves[0].Diverged > 0 || !(loss[len(loss)-1] > (1-leastGain)*loss[0]) {
		return "", nil
	}
	return fmt.Sprintf("in the %d steps that fit, its head would take the loss down by %.1f %%", steps, 100*(1-loss[len(loss)-1]/loss[0])), nil
}

// headAlone returns how a head is trained, if nothing else is and that by
// gradient descent.
func headAlone(config map[string]space.Value) (traintime.Setting, bool) {
	s := traintime.Setting{LearningRate: config["lr"].Num()}
	if config["linear_probing"] != space.Bool(true) && config["pct_to_freeze"].Num() != 1 || !(s.LearningRate > 0) {
		return s, false
	}
	switch config["opt"].Text() {
	case "sgd":
		s.Momentum, s.Nesterov = 0.9, true
	case "momentum":
		s.Momentum = config["momentum"].Num()
	default:
		return s, false
	}
	return s, s.Momentum >= 0 && s.Momentum < 1
}
