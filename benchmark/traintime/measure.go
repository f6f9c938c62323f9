package traintime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"quicktune/generate/hub"
	"quicktune/generate/images/builtin"
	"quicktune/generate/trainer"
	"quicktune/internal/cputime"
	"quicktune/internal/nn/layers"
	"quicktune/internal/stream"
	"quicktune/internal/vision"
	"quicktune/internal/vision/tangent"
	"quicktune/predictor/traintime"
)

// The grid that every network is trained on, on every data set.
var (
	// relativeRates are effective learning rates in units of N over the largest
	// eigenvalue. Under the cross-entropy they are multiplied by the number of
	// classes, at least 4: among C even outputs its curvature is a C-th of that
	// of the squared error.
	relativeRates = []float64{0.1, 0.3, 1}
	momenta       = []float64{0, 0.9}
	losses        = []traintime.Loss{traintime.MSE, traintime.CrossEntropy}
)

const (
	samples   = 48  // training images
	miniBatch = 12  // besides all of them
	horizon   = 100 // steps
	every     = 2   // steps between records
	prefix    = 10  // real steps that are extrapolated
	draws     = 3
	// directions is the number of random projections.
	directions = 1000
	seed       = 1
	// jacobianBytes bounds the Jacobian in memory.
	jacobianBytes = 1 << 30
)

// criteria are what counts as trained, by name.
var criteria = []struct {
	name string
	traintime.Criterion
}{
	{"within 5 % of the final loss", traintime.Criterion{Kind: traintime.WithinFinal, Value: 0.05, Relative: true}},
	{"half the first loss", traintime.Criterion{Kind: traintime.FirstBelow, Value: 0.5, Relative: true}},
	{"30 % of the first loss", traintime.Criterion{Kind: traintime.FirstBelow, Value: 0.3, Relative: true}},
	{"20 % of the first loss", traintime.Criterion{Kind: traintime.FirstBelow, Value: 0.2, Relative: true}},
}

// sample is a number of training images of a data set.
type sample struct {
	dataset string
	classes int
	pixels  []float32 // normalised
	labels  []int
}

// newSample draws n training images of a data set that comes with the program.
func newSample(ctx context.Context, dataset string, n int) (*sample, error) {
	set, err := builtin.Load(ctx, dataset)
	if err != nil {
		return nil, err
	}
	split, err := set.Split()
	if err != nil {
		return nil, err
	}
	if split.Train.Len() < n {
		return nil, fmt.Errorf("data set %s has %d training images, fewer than %d", dataset, split.Train.Len(), n)
	}
	s := &sample{dataset: dataset, classes: split.Classes, pixels: make([]float32, n*tangent.Pixels)}
	for k, i := range stream.New("benchmark/traintime/"+dataset, seed).Perm(split.Train.Len())[:n] {
		trainer.Normalize(s.pixels[k*tangent.Pixels:(k+1)*tangent.Pixels], split.Train.Pixels[i*tangent.Pixels:(i+1)*tangent.Pixels])
		s.labels = append(s.labels, split.Train.Labels[i])
	}
	return s, nil
}

// network returns a pretrained network with a new head, and a name for its
// weights.
func network(name string, classes int) (*vision.Network[float32], string, error) {
	weights, err := hub.Weights(name)
	if err != nil {
		return nil, "", err
	}
	hash, err := weights.Fingerprint()
	if err != nil {
		return nil, "", err
	}
	net, err := vision.New[float32](name, classes)
	if err != nil {
		return nil, "", err
	}
	net.Init(seed)
	return net, hash, net.SetBody(weights)
}

// kernels are the kernels that are compared, with the seconds they took.
type kernels struct {
	full, projected, lastBlock, lastLayer     *traintime.Kernel
	fullSeconds, projectSeconds, layerSeconds float64
	outputs                                   []float64
}

func newKernels(ctx context.Context, net *vision.Network[float32], s *sample) (*kernels, error) {
	k := &kernels{}
	n, c := len(s.labels), s.classes
	all, err := tangent.New(net, s.pixels, tangent.All)
	if err != nil {
		return nil, err
	}
	block, err := tangent.New(net, s.pixels, tangent.LastBlock)
	if err != nil {
		return nil, err
	}
	start := cputime.Process()
	features := make([]float64, n*net.Features())
	k.outputs = make([]float64, n*c)
	all.Features(features, k.outputs)
	if k.lastLayer, err = traintime.LastLayer(features, n, net.Features(), c, true); err != nil {
		return nil, err
	}
	k.layerSeconds = (cputime.Process() - start).Seconds()
	start = cputime.Process()
	if k.full, err = traintime.FromRows(ctx, all, traintime.Full, jacobianBytes); err != nil {
		return nil, err
	}
	k.fullSeconds = (cputime.Process() - start).Seconds()
	start = cputime.Process()
	if k.projected, err = traintime.Project(ctx, all, traintime.Full, directions, seed, jacobianBytes); err != nil {
		return nil, err
	}
	k.projectSeconds = (cputime.Process() - start).Seconds()
	k.lastBlock, err = traintime.FromRows(ctx, block, traintime.Full, jacobianBytes)
	return k, err
}

// settings are the grid for a network whose kernel has the largest eigenvalue
// given, over N.
func settings(loss traintime.Loss, curvature float64, classes int) (list []traintime.Setting, relative []float64) {
	for _, c := range relativeRates {
		for _, m := range momenta {
			for _, b := range []int{0, miniBatch} {
				rate := c * (1 - m) / curvature
				if loss == traintime.CrossEntropy {
					rate *= float64(max(classes, 4))
				}
				list = append(list, traintime.Setting{LearningRate: rate, Momentum: m, Batch: b})
				relative = append(relative, c)
			}
		}
	}
	return list, relative
}

// steepest is the largest curvature of a loss by the outputs of a sample.
func steepest(loss traintime.Loss) float64 {
	if loss == traintime.CrossEntropy {
		return 0.5
	}
	return 1
}

// measurePair predicts and trains the whole grid of a network on a data set.
func measurePair(ctx context.Context, model, dataset string) ([]Row, error) {
	s, err := newSample(ctx, dataset, samples)
	if err != nil {
		return nil, err
	}
	net, weights, err := network(model, s.classes)
	if err != nil {
		return nil, err
	}
	k, err := newKernels(ctx, net, s)
	if err != nil {
		return nil, err
	}
	targets, err := traintime.OneHot(s.labels, s.classes)
	if err != nil {
		return nil, err
	}
	curvature := k.full.Largest() / samples
	var rows []Row
	for _, loss := range losses {
		grid, relative := settings(loss, curvature, s.classes)
		base := traintime.Options{Steps: horizon, Every: every, Draws: draws, Seed: seed, Parallel: 1}
		published := base
		published.Dynamics = traintime.Published
		var predicted [methodCount][]*traintime.Curve
		var seconds [methodCount]float64
		for _, m := range []struct {
			method  method
			kernel  *traintime.Kernel
			options traintime.Options
		}{
			{full, k.full, base}, {algorithm1, k.full, published}, {projected, k.projected, base},
			{lastBlock, k.lastBlock, base}, {lastLayer, k.lastLayer, base},
		} {
			p := &traintime.Problem{Kernel: m.kernel, Outputs: k.outputs, Targets: targets, Loss: loss}
			start := cputime.Process()
			if predicted[m.method], err = p.Simulate(ctx, grid, m.options); err != nil {
				return nil, fmt.Errorf("%s on %s, %v: %w", model, dataset, m.method, err)
			}
			seconds[m.method] = (cputime.Process() - start).Seconds() / float64(len(grid))
		}
		for i, setting := range grid {
			run, err := train(ctx, net, s, loss, setting)
			if err != nil {
				return nil, fmt.Errorf("%s on %s: %w", model, dataset, err)
			}
			extrapolated, err := extrapolate(run.losses)
			if err != nil {
				return nil, fmt.Errorf("%s on %s: %w", model, dataset, err)
			}
			for _, c := range criteria {
				row := Row{
					Network: model, Dataset: dataset, Loss: loss.String(), Criterion: c.name,
					Relative: relative[i], Rate: setting.LearningRate, Momentum: setting.Momentum, Batch: int32(setting.Batch),
					Samples: samples, Classes: int32(s.classes), Weights: int32(net.Size()), Hash: weights,
					FirstLoss: run.losses[0], LastLoss: run.losses[len(run.losses)-1],
					PredictedLast: predicted[full][i].Loss[horizon/every],
					Unstable:      setting.EffectiveRate()*curvature*steepest(loss) > 2,
					Measured:      first(c.Criterion, run.losses),
					Prefix:        first(c.Criterion, extrapolated),
					TrainSeconds:  run.seconds, KernelSeconds: k.fullSeconds, ProjectSeconds: k.projectSeconds, LayerSeconds: k.layerSeconds,
					SimulateSeconds: seconds[full], SimulateLayerSeconds: seconds[lastLayer],
				}
				for m, to := range row.predictions() {
					if curves := predicted[m]; curves != nil {
						if t := curves[i].TimeTo(c.Criterion); !math.IsInf(t.Steps, 0) {
							*to = &t.Steps
						}
					}
				}
				if row.Full != nil {
					row.Depth = depth(predicted[full][i].Loss, *row.Full)
				}
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

// first returns the step at which a criterion is met, nil if it never is.
func first(c traintime.Criterion, losses []float64) *float64 {
	i, ok := c.First(losses)
	if !ok {
		return nil
	}
	steps := float64(i * every)
	return &steps
}

// depth is the logarithm of how far the loss has fallen.
func depth(losses []float64, steps float64) float64 {
	a, b := losses[0], losses[min(int(steps)/every, len(losses)-1)]
	if !(a > 0 && b > 0) || math.IsInf(b, 0) {
		return 0
	}
	return math.Log(a / b)
}

// extrapolate continues the first losses; a run that diverges within them is
// taken as it is.
func extrapolate(losses []float64) ([]float64, error) {
	head := losses[:prefix/every+1]
	for _, l := range head {
		if math.IsNaN(l) || math.IsInf(l, 0) {
			return losses, nil
		}
	}
	return traintime.Extrapolate(head, every, horizon)
}

// measured is a real training run.
type measured struct {
	losses  []float64 // of all samples, every some steps
	seconds float64   // of the steps, without the losses
}

// train trains all weights of a network by SGD, with running statistics in place
// of those of batches, and puts the network back to its beginning.
func train(ctx context.Context, net *vision.Network[float32], s *sample, loss traintime.Loss, setting traintime.Setting) (*measured, error) {
	var params []*layers.Param[float32]
	var start, velocity [][]float32
	for _, p := range net.Params() {
		if !p.Fixed {
			params = append(params, p)
			start = append(start, slices.Clone(p.Value))
			velocity = append(velocity, make([]float32, len(p.Value)))
		}
	}
	defer func() {
		for i, p := range params {
			copy(p.Value, start[i])
			clear(p.Grad)
		}
	}()
	model, err := tangent.New(net, s.pixels, tangent.Head)
	if err != nil {
		return nil, err
	}
	n, c := len(s.labels), s.classes
	size := setting.Batch
	if size == 0 {
		size = n
	}
	outputs := make([]float64, n*c)
	run := &measured{}
	order := newOrder(n, setting.Batch)
	passes := layers.Context[float32]{}
	pixels, labels := make([]float32, size*tangent.Pixels), make([]int, size)
	for step := 0; ; step++ {
		// A step on all samples tells their loss by itself.
		if step%every == 0 && (setting.Batch > 0 || step == horizon) {
			if err := model.Outputs(outputs); err != nil {
				return nil, err
			}
			run.losses = append(run.losses, lossOf(loss, outputs, s.labels, c))
		}
		if step == horizon {
			return run, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		begin := cputime.Process()
		for k, i := range order.next(size) {
			copy(pixels[k*tangent.Pixels:(k+1)*tangent.Pixels], s.pixels[i*tangent.Pixels:(i+1)*tangent.Pixels])
			labels[k] = s.labels[i]
		}
		x := layers.Batch[float32]{N: size, H: vision.Side, W: vision.Side, C: vision.Channels, Data: pixels}
		y := net.Classify(&passes, net.Body(&passes, x))
		dy := y
		dy.Data = passes.Get(y.Len())
		derivative(loss, dy.Data, y.Data, labels, c)
		if step%every == 0 && setting.Batch == 0 {
			for i, v := range y.Data {
				outputs[i] = float64(v)
			}
			run.losses = append(run.losses, lossOf(loss, outputs, labels, c))
		}
		net.BodyBack(&passes, net.ClassifyBack(&passes, dy, true), 0)
		for j, p := range params {
			v := velocity[j]
			for i, g := range p.Grad {
				v[i] = float32(setting.Momentum)*v[i] + g
				p.Value[i] -= float32(setting.LearningRate) * v[i]
			}
			clear(p.Grad)
		}
		run.seconds += (cputime.Process() - begin).Seconds()
	}
}

// order deals samples to batches, in epochs without repetition.
type order struct {
	perm func() []int
	left []int
}

func newOrder(n, batch int) *order {
	if batch == 0 {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		return &order{perm: func() []int { return all }}
	}
	rng := stream.New("benchmark/traintime/order", seed, uint64(batch))
	return &order{perm: func() []int { return rng.Perm(n) }}
}

// next returns the next batch; what is left of an epoch below its size is
// dropped.
func (o *order) next(size int) []int {
	if len(o.left) < size {
		o.left = o.perm()
	}
	batch := o.left[:size]
	o.left = o.left[size:]
	return batch
}

// lossOf is the mean loss of outputs, n x classes.
func lossOf(loss traintime.Loss, outputs []float64, labels []int, classes int) float64 {
	if loss == traintime.CrossEntropy {
		sum, _ := layers.Evaluate(outputs, labels)
		return sum / float64(len(labels))
	}
	sum := 0.0
	for i, y := range labels {
		for c, f := range outputs[i*classes : (i+1)*classes] {
			if c == y {
				f--
			}
			sum += f * f / 2
		}
	}
	return sum / float64(len(labels))
}

// derivative writes the derivative of the mean loss by the outputs.
func derivative(loss traintime.Loss, dst, outputs []float32, labels []int, classes int) {
	copy(dst, outputs)
	targets := make([]float32, len(outputs))
	layers.Smooth(targets, labels, classes, 0)
	if loss == traintime.CrossEntropy {
		layers.CrossEntropy(dst, targets, len(labels), 1)
		return
	}
	for i := range dst {
		dst[i] = (dst[i] - targets[i]) / float32(len(labels))
	}
}

// errNothing tells that no run is stored.
var errNothing = errors.New("no run is stored yet")
