// Package vision is a hub of small image networks: six architectures in four
// sizes each, for colour images of 32 x 32 pixels, from a few thousand to some
// hundred thousand parameters.
//
// A network is a row of blocks, counted from the input, that ends in one vector
// of features an image, and a linear head over them. Blocks are what freezing
// and layer-wise learning rates count. The package refuses to train: it knows
// forward and backward passes, parameters by name and what they cost.
package vision

import (
	"fmt"
	"hash/fnv"
	"math"
	"strings"

	"quicktune/internal/nn/layers"
	"quicktune/internal/safetensors"
	"quicktune/internal/stream"
)

// Side and Channels are the shape of an image.
const (
	Side     = 32
	Channels = 3
)

// Float is the element type.
type Float = layers.Float

// Block is one countable layer of a network.
type Block[T Float] struct {
	Name  string
	Layer layers.Layer[T]
}

// Network maps images to features and features to logits.
type Network[T Float] struct {
	Name   string
	Blocks []Block[T]
	Drop   *layers.Dropout[T] // before the head
	Head   *layers.Linear[T]
}

// Spec describes a network of the hub.
type Spec struct {
	Name         string
	Architecture string
	// BatchNorm tells that it normalises over batches, which stochastic norm
	// asks for.
	BatchNorm bool

	// Sizes, of which each architecture makes its own use: see plain, residual,
	// separable, mixer, convMixer and vit.
	width, depth, hidden, tokens int
}

// The architectures.
const (
	Plain     = "plain"     // VGG-like: Simonyan and Zisserman, ICLR 2015
	Residual  = "residual"  // He et al., CVPR 2016
	Separable = "separable" // MobileNets: Howard et al., arXiv:1704.04861
	Mixer     = "mixer"     // MLP-Mixer: Tolstikhin et al., NeurIPS 2021
	ConvMixer = "convmixer" // Trockman and Kolter, TMLR 2023
	ViT       = "vit"       // Dosovitskiy et al., ICLR 2021, with mean pooling
)

// Specs lists the hub, by architecture and ascending size.
var Specs = []Spec{
	{Name: "plain_xs", Architecture: Plain, BatchNorm: true, width: 16, hidden: 16, tokens: 16, depth: 1},
	{Name: "plain_s", Architecture: Plain, BatchNorm: true, width: 16, hidden: 32, tokens: 32, depth: 1},
	{Name: "plain_m", Architecture: Plain, BatchNorm: true, width: 16, hidden: 32, tokens: 64, depth: 2},
	{Name: "plain_l", Architecture: Plain, BatchNorm: true, width: 32, hidden: 48, tokens: 96, depth: 2},
	{Name: "residual_xs", Architecture: Residual, BatchNorm: true, width: 16, hidden: 2, depth: 1},
	{Name: "residual_s", Architecture: Residual, BatchNorm: true, width: 16, hidden: 3, depth: 1},
	{Name: "residual_m", Architecture: Residual, BatchNorm: true, width: 16, hidden: 3, depth: 2},
	{Name: "residual_l", Architecture: Residual, BatchNorm: true, width: 32, hidden: 3, depth: 1},
	{Name: "separable_xs", Architecture: Separable, BatchNorm: true, width: 16, depth: 1},
	{Name: "separable_s", Architecture: Separable, BatchNorm: true, width: 32, depth: 1},
	{Name: "separable_m", Architecture: Separable, BatchNorm: true, width: 48, depth: 2},
	{Name: "separable_l", Architecture: Separable, BatchNorm: true, width: 64, depth: 3},
	{Name: "mixer_xs", Architecture: Mixer, width: 16, tokens: 32, hidden: 32, depth: 2},
	{Name: "mixer_s", Architecture: Mixer, width: 32, tokens: 32, hidden: 64, depth: 3},
	{Name: "mixer_m", Architecture: Mixer, width: 48, tokens: 32, hidden: 192, depth: 4},
	{Name: "mixer_l", Architecture: Mixer, width: 96, tokens: 48, hidden: 192, depth: 5},
	{Name: "convmixer_xs", Architecture: ConvMixer, BatchNorm: true, width: 32, depth: 2},
	{Name: "convmixer_s", Architecture: ConvMixer, BatchNorm: true, width: 48, depth: 4},
	{Name: "convmixer_m", Architecture: ConvMixer, BatchNorm: true, width: 80, depth: 6},
	{Name: "convmixer_l", Architecture: ConvMixer, BatchNorm: true, width: 128, depth: 8},
	{Name: "vit_xs", Architecture: ViT, width: 16, hidden: 32, depth: 2},
	{Name: "vit_s", Architecture: ViT, width: 32, hidden: 64, depth: 3},
	{Name: "vit_m", Architecture: ViT, width: 48, hidden: 96, depth: 5},
	{Name: "vit_l", Architecture: ViT, width: 80, hidden: 160, depth: 4},
}

// Lookup returns the description of a network.
func Lookup(name string) (Spec, error) {
	for _, s := range Specs {
		if s.Name == name {
			return s, nil
		}
	}
	names := make([]string, len(Specs))
	for i, s := range Specs {
		names[i] = s.Name
	}
	return Spec{}, fmt.Errorf("no network is called %q; there are %s", name, strings.Join(names, ", "))
}

// builder collects blocks.
type builder[T Float] struct{ blocks []Block[T] }

// block adds a block made of layers, named after its place.
func (b *builder[T]) block(layer func(name string) layers.Sequence[T]) {
	name := fmt.Sprintf("blocks.%d", len(b.blocks))
	b.blocks = append(b.blocks, Block[T]{name, layer(name)})
}

// end appends layers to the last block.
func (b *builder[T]) end(more ...layers.Layer[T]) {
	last := &b.blocks[len(b.blocks)-1]
	last.Layer = append(last.Layer.(layers.Sequence[T]), more...)
}

// New makes a network of the hub with a head for so many classes. Its
// parameters are drawn by Init.
func New[T Float](name string, classes int) (*Network[T], error) {
	s, err := Lookup(name)
	if err != nil {
		return nil, err
	}
	if classes < 1 {
		return nil, fmt.Errorf("network %s: a head for %d classes", name, classes)
	}
	var b builder[T]
	var features int
	switch s.Architecture {
	case Plain:
		features = plain(&b, s)
	case Residual:
		features = residual(&b, s)
	case Separable:
		features = separable(&b, s)
	case Mixer:
		features = mixer(&b, s)
	case ConvMixer:
		features = convMixer(&b, s)
	case ViT:
		features = vit(&b, s)
	}
	return &Network[T]{
		Name: name, Blocks: b.blocks,
		Drop: &layers.Dropout[T]{},
		Head: layers.NewLinear[T]("head", features, classes, true),
	}, nil
}

// plain has three stages of 3 x 3 convolutions with width, hidden and tokens
// channels, between them maxima of 2 x 2: one convolution at first, then depth.
func plain[T Float](b *builder[T], s Spec) int {
	widths := []int{s.width, s.hidden, s.tokens}
	in := Channels
	for stage, out := range widths {
		n := s.depth
		if stage == 0 {
			n = 1
		}
		for range n {
			b.block(func(name string) layers.Sequence[T] {
				return layers.Sequence[T]{layers.NewConv2d[T](name+".conv", 3, in, out), layers.NewBatchNorm[T](name+".norm", out, true)}
			})
			in = out
		}
		if stage < len(widths)-1 {
			b.end(&layers.MaxPool[T]{})
		}
	}
	b.end(&layers.GlobalPool[T]{})
	return in
}

// residual has hidden stages, each of which halves the image, doubles the width
// and has depth blocks of two 3 x 3 convolutions.
func residual[T Float](b *builder[T], s Spec) int {
	in, out := Channels, s.width
	for range s.hidden {
		b.block(func(name string) layers.Sequence[T] {
			return layers.Sequence[T]{layers.NewPatchConv[T](name+".conv", 2, in, out, false), layers.NewBatchNorm[T](name+".norm", out, true)}
		})
		for range s.depth {
			b.block(func(name string) layers.Sequence[T] {
				return layers.Sequence[T]{
					&layers.Residual[T]{Branch: layers.Sequence[T]{
						layers.NewConv2d[T](name+".conv1", 3, out, out), layers.NewBatchNorm[T](name+".norm1", out, true),
						layers.NewConv2d[T](name+".conv2", 3, out, out), layers.NewBatchNorm[T](name+".norm2", out, false),
					}},
					&layers.ReLU[T]{},
				}
			})
		}
		in, out = out, 2*out
	}
	b.end(&layers.GlobalPool[T]{})
	return in
}

// separable has three stages of depth blocks with width, 2*width and 4*width
// channels, from 16 x 16 pixels on.
func separable[T Float](b *builder[T], s Spec) int {
	in := s.width
	b.block(func(name string) layers.Sequence[T] {
		return layers.Sequence[T]{layers.NewPatchConv[T](name+".conv", 2, Channels, in, false), layers.NewBatchNorm[T](name+".norm", in, true)}
	})
	for stage, out := range []int{s.width, 2 * s.width, 4 * s.width} {
		if stage > 0 {
			b.end(&layers.AvgPool[T]{})
		}
		for range s.depth {
			b.block(func(name string) layers.Sequence[T] {
				pair := layers.Sequence[T]{
					layers.NewDepthwise[T](name+".depthwise", 3, in), layers.NewBatchNorm[T](name+".norm1", in, true),
					layers.NewLinear[T](name+".pointwise", in, out, false), layers.NewBatchNorm[T](name+".norm2", out, true),
				}
				if in == out {
					return layers.Sequence[T]{&layers.Residual[T]{Branch: pair}}
				}
				return pair
			})
			in = out
		}
	}
	b.end(&layers.GlobalPool[T]{})
	return in
}

// patch is the side of the patches that become tokens.
const patch = 4

// mixer has depth blocks on 64 tokens of the given width, with tokens hidden
// units across tokens and hidden ones across channels.
func mixer[T Float](b *builder[T], s Spec) int {
	const tokens = (Side / patch) * (Side / patch)
	b.block(func(name string) layers.Sequence[T] {
		return layers.Sequence[T]{layers.NewPatchConv[T](name+".patches", patch, Channels, s.width, true)}
	})
	for range s.depth {
		b.block(func(name string) layers.Sequence[T] {
			return layers.Sequence[T]{
				&layers.Residual[T]{Branch: layers.Sequence[T]{
					layers.NewLayerNorm[T](name+".norm1", s.width), layers.NewTokenLinear[T](name+".tokens1", tokens, s.tokens),
					&layers.GELU[T]{}, layers.NewTokenLinear[T](name+".tokens2", s.tokens, tokens),
				}},
				feedForward[T](name, s),
			}
		})
	}
	b.end(layers.NewLayerNorm[T]("norm", s.width), &layers.GlobalPool[T]{})
	return s.width
}

// feedForward is the part of a block that maps each token by itself.
func feedForward[T Float](name string, s Spec) layers.Layer[T] {
	return &layers.Residual[T]{Branch: layers.Sequence[T]{
		layers.NewLayerNorm[T](name+".norm2", s.width), layers.NewLinear[T](name+".channels1", s.width, s.hidden, true),
		&layers.GELU[T]{}, layers.NewLinear[T](name+".channels2", s.hidden, s.width, true),
	}}
}

// convMixer has depth blocks of the given width on 8 x 8 patches, with depthwise
// convolutions of 5 x 5.
func convMixer[T Float](b *builder[T], s Spec) int {
	b.block(func(name string) layers.Sequence[T] {
		return layers.Sequence[T]{
			layers.NewPatchConv[T](name+".patches", patch, Channels, s.width, true), &layers.GELU[T]{}, layers.NewBatchNorm[T](name+".norm", s.width, false),
		}
	})
	for range s.depth {
		b.block(func(name string) layers.Sequence[T] {
			return layers.Sequence[T]{
				&layers.Residual[T]{Branch: layers.Sequence[T]{
					layers.NewDepthwise[T](name+".depthwise", 5, s.width), &layers.GELU[T]{}, layers.NewBatchNorm[T](name+".norm1", s.width, false),
				}},
				layers.NewLinear[T](name+".pointwise", s.width, s.width, true), &layers.GELU[T]{}, layers.NewBatchNorm[T](name+".norm2", s.width, false),
			}
		})
	}
	b.end(&layers.GlobalPool[T]{})
	return s.width
}

// vit has depth blocks of attention on 64 tokens of the given width, with heads
// of 16 channels and hidden units in the layers between.
func vit[T Float](b *builder[T], s Spec) int {
	const tokens, headWidth = (Side / patch) * (Side / patch), 16
	b.block(func(name string) layers.Sequence[T] {
		return layers.Sequence[T]{
			layers.NewPatchConv[T](name+".patches", patch, Channels, s.width, true), layers.NewPosition[T](name+".position", tokens, s.width),
		}
	})
	for range s.depth {
		b.block(func(name string) layers.Sequence[T] {
			return layers.Sequence[T]{
				&layers.Residual[T]{Branch: layers.Sequence[T]{
					layers.NewLayerNorm[T](name+".norm1", s.width), layers.NewAttention[T](name+".attention", s.width, s.width/headWidth),
				}},
				feedForward[T](name, s),
			}
		})
	}
	b.end(layers.NewLayerNorm[T]("norm", s.width), &layers.GlobalPool[T]{})
	return s.width
}

// Init draws all parameters from the stream of the seed.
func (n *Network[T]) Init(seed uint64) {
	for i, p := range n.Params() {
		p.Init(stream.New("vision/init/"+n.Name, seed, uint64(i)))
	}
}

// Features is the number of features of an image.
func (n *Network[T]) Features() int { return n.Head.In }

// Params lists all parameters from the input on, running statistics and head
// included.
func (n *Network[T]) Params() []*layers.Param[T] {
	return append(n.BodyParams(), n.Head.Params()...)
}

// BodyParams is [Network.Params] without the head.
func (n *Network[T]) BodyParams() []*layers.Param[T] {
	var ps []*layers.Param[T]
	for _, b := range n.Blocks {
		ps = append(ps, b.Layer.Params()...)
	}
	return ps
}

// Size is the number of learned parameters, without running statistics.
func (n *Network[T]) Size() int {
	total := 0
	for _, p := range n.Params() {
		if !p.Fixed {
			total += len(p.Value)
		}
	}
	return total
}

// MACs is the number of multiply-accumulate operations of one image, forward.
func (n *Network[T]) MACs() int {
	c := &layers.Context[T]{}
	n.Classify(c, n.Body(c, layers.Batch[T]{N: 1, H: Side, W: Side, C: Channels, Data: make([]T, Side*Side*Channels)}))
	total := n.Head.MACs()
	for _, b := range n.Blocks {
		total += b.Layer.MACs()
	}
	return total
}

// Body maps images [N, 32, 32, 3] to features [N, 1, 1, Features].
func (n *Network[T]) Body(c *layers.Context[T], x layers.Batch[T]) layers.Batch[T] {
	for _, b := range n.Blocks {
		x = b.Layer.Forward(c, x)
	}
	return x
}

// Classify maps features to logits [N, 1, 1, classes].
func (n *Network[T]) Classify(c *layers.Context[T], features layers.Batch[T]) layers.Batch[T] {
	return n.Head.Forward(c, n.Drop.Forward(c, features))
}

// ClassifyBack takes the gradient of the logits back to the features.
func (n *Network[T]) ClassifyBack(c *layers.Context[T], dy layers.Batch[T], want bool) layers.Batch[T] {
	dx := n.Head.Backward(c, dy, want)
	if !want {
		return dx
	}
	return n.Drop.Backward(c, dx, true)
}

// BodyBack takes the gradient of the features back as far as block first, the
// lowest whose parameters are wanted. With first = len(Blocks) it does nothing.
func (n *Network[T]) BodyBack(c *layers.Context[T], dy layers.Batch[T], first int) {
	for i := len(n.Blocks) - 1; i >= first; i-- {
		dy = n.Blocks[i].Layer.Backward(c, dy, i > first)
	}
	if first == len(n.Blocks) {
		c.Put(dy.Data)
	}
}

// Weights are the values of a network's parameters by name, with the number of
// classes of its head.
type Weights struct {
	Model   string
	Classes int
	Values  map[string][]float32
	Source  string // what the network was trained on
	// SourceAccuracy is its accuracy on held-out images of the source, NaN if
	// unknown.
	SourceAccuracy float64
}

// Weights copies the parameters.
func (n *Network[T]) Weights() *Weights {
	w := &Weights{Model: n.Name, Classes: n.Head.Out, Values: map[string][]float32{}, SourceAccuracy: math.NaN()}
	for _, p := range n.Params() {
		v := make([]float32, len(p.Value))
		for i, x := range p.Value {
			v[i] = float32(x)
		}
		w.Values[p.Name] = v
	}
	return w
}

// SetBody puts weights into everything but the head.
func (n *Network[T]) SetBody(w *Weights) error { return set(n.Name, n.BodyParams(), w) }

// SetHead puts the weights' head into this network's, which must be for as many
// classes.
func (n *Network[T]) SetHead(w *Weights) error { return set(n.Name, n.Head.Params(), w) }

func set[T Float](network string, ps []*layers.Param[T], w *Weights) error {
	for _, p := range ps {
		v, ok := w.Values[p.Name]
		if !ok {
			return fmt.Errorf("weights of %s: network %s needs %s, which is missing", w.Model, network, p.Name)
		}
		if len(v) != len(p.Value) {
			return fmt.Errorf("weights of %s: %s has %d numbers, network %s needs %d", w.Model, p.Name, len(v), network, len(p.Value))
		}
	}
	for _, p := range ps {
		for i, x := range w.Values[p.Name] {
			p.Value[i] = T(x)
		}
	}
	return nil
}

// Keys of the metadata of a weights file.
const (
	keyModel, keySource, keyAccuracy = "model", "source", "source_accuracy"
)

// Encode returns the weights as a safetensors file.
func (w *Weights) Encode() ([]byte, error) {
	n, err := New[float32](w.Model, w.Classes)
	if err != nil {
		return nil, err
	}
	f := safetensors.File{Metadata: map[string]string{keyModel: w.Model, keySource: w.Source, keyAccuracy: fmt.Sprint(w.SourceAccuracy)}}
	for _, p := range n.Params() {
		v := w.Values[p.Name]
		if len(v) != len(p.Value) {
			return nil, fmt.Errorf("weights of %s: %s has %d numbers instead of %d", w.Model, p.Name, len(v), len(p.Value))
		}
		t := safetensors.Tensor{Name: p.Name, Type: safetensors.F32, Shape: p.Shape, Data: make([]float64, len(v))}
		for i, x := range v {
			t.Data[i] = float64(x)
		}
		f.Tensors = append(f.Tensors, t)
	}
	return safetensors.Encode(f)
}

// Fingerprint names the weights in files of what was measured with them: the
// 64-bit FNV-1a hash of their encoding, in hexadecimal digits.
func (w *Weights) Fingerprint() (string, error) {
	data, err := w.Encode()
	if err != nil {
		return "", err
	}
	h := fnv.New64a()
	h.Write(data)
	return fmt.Sprintf("%016x", h.Sum64()), nil
}

// DecodeWeights reads what Encode wrote. It refuses numbers that are not
// finite and a network that the hub does not have.
func DecodeWeights(data []byte) (*Weights, error) {
	f, err := safetensors.Decode(data)
	if err != nil {
		return nil, err
	}
	w := &Weights{Model: f.Metadata[keyModel], Source: f.Metadata[keySource], Values: map[string][]float32{}}
	if _, err := fmt.Sscan(f.Metadata[keyAccuracy], &w.SourceAccuracy); err != nil {
		w.SourceAccuracy = math.NaN()
	}
	for _, t := range f.Tensors {
		v := make([]float32, len(t.Data))
		for i, x := range t.Data {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("weights of %s: %s, number %d is not finite", w.Model, t.Name, i)
			}
			v[i] = float32(x)
		}
		w.Values[t.Name] = v
	}
	w.Classes = len(w.Values["head.bias"])
	n, err := New[float32](w.Model, max(w.Classes, 1))
	if err != nil {
		return nil, err
	}
	if err := n.SetBody(w); err != nil {
		return nil, err
	}
	return w, n.SetHead(w)
}
