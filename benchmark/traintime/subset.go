package traintime

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"quicktune/generate/images"
	"quicktune/generate/images/builtin"
	"quicktune/generate/trainer"
	"quicktune/internal/cputime"
	"quicktune/internal/stream"
	"quicktune/internal/vision/tangent"
	"quicktune/predictor/traintime"
)

// The check of predictions from a part of the images.
const (
	manySamples   = 2000
	subsetSamples = 150
	subsetCount   = 4
	subsetHorizon = 2000
)

// lossSteps are where losses are compared.
var lossSteps = []int{10, 30, 100, 300, 1000, 2000}

// The ways from subsets to all images.
const (
	fromSubsets = iota // the prediction from the spectra of all subsets
	fromOne            // that from the first alone
	powerLaws          // the published one, by the power laws of the first subset
	asItIs             // the first subset as if it were all there is
	wayCount
)

var wayNames = [wayCount]string{"predicted", "from one", "power laws", "one subset as it is"}

// Subset is how well the curves on many images are told from the spectra of small
// subsets, for a network on a data set under squared loss.
type Subset struct {
	Network string `json:"network"`
	Dataset string `json:"dataset"`
	// Times are errors of |time/that of all images - 1| over rates, momenta and
	// criteria, Losses those of the loss at some steps, by way.
	Times          []Error `json:"times"`
	Losses         []Error `json:"losses"`
	Compared       int     `json:"times_compared"`
	Seconds        float64 `json:"seconds"`         // of the kernel of all images and its spectrum
	SubsetSeconds  float64 `json:"subsets_seconds"` // of those of the subsets and the prediction
	Exponent       float64 `json:"exponent"`        // of the power law of all eigenvalues
	SubsetExponent float64 `json:"subset_exponent"` // of the first subset's

	times, losses [wayCount][]float64 // ratios to the truth
}

// summarise fills the errors from the ratios.
func (r *Subset) summarise() {
	r.Compared = len(r.times[0])
	for w, name := range wayNames {
		for to, ratios := range map[*[]Error][]float64{&r.Times: r.times[w], &r.Losses: r.losses[w]} {
			var errs []float64
			for _, x := range ratios {
				errs = append(errs, math.Abs(x-1))
			}
			*to = append(*to, Error{Predictor: name, Median: quantile(errs, 0.5), Ninety: quantile(errs, 0.9), Bias: quantile(slices.Clone(ratios), 0.5)})
		}
	}
}

// checkSubset compares times on many images of a drawn data set with those
// predicted from subsets.
func checkSubset(ctx context.Context, model, dataset string) (*Subset, error) {
	info, err := builtin.Load(ctx, dataset)
	if err != nil {
		return nil, err
	}
	classes := len(info.Classes)
	set, err := builtin.Draw(ctx, dataset, (manySamples+classes-1)/classes)
	if err != nil {
		return nil, err
	}
	s := take(set, manySamples)
	net, _, err := network(model, classes)
	if err != nil {
		return nil, err
	}
	targets, err := traintime.OneHot(s.labels, classes)
	if err != nil {
		return nil, err
	}
	r := &Subset{Network: model, Dataset: dataset}
	problem := func(which []int) (*traintime.Problem, error) {
		part, pixels := make([]float64, 0, len(which)*classes), make([]float32, 0, len(which)*tangent.Pixels)
		for _, i := range which {
			part = append(part, targets[i*classes:(i+1)*classes]...)
			pixels = append(pixels, s.pixels[i*tangent.Pixels:(i+1)*tangent.Pixels]...)
		}
		m, err := tangent.New(net, pixels, tangent.All)
		if err != nil {
			return nil, err
		}
		k, err := traintime.FromRows(ctx, m, traintime.ClassMean, jacobianBytes)
		if err != nil {
			return nil, err
		}
		outputs := make([]float64, len(which)*classes)
		return &traintime.Problem{Kernel: k, Outputs: outputs, Targets: part}, m.Outputs(outputs)
	}
	spectrum := func(which []int) (*traintime.Spectrum, error) {
		p, err := problem(which)
		if err != nil {
			return nil, err
		}
		return p.Spectrum()
	}
	all := make([]int, manySamples)
	for i := range all {
		all[i] = i
	}
	start := cputime.Process()
	whole, err := spectrum(all)
	if err != nil {
		return nil, err
	}
	r.Seconds = (cputime.Process() - start).Seconds()
	start = cputime.Process()
	var parts []*traintime.Spectrum
	for i := range subsetCount {
		part, err := spectrum(stream.New("benchmark/traintime/subset", seed, uint64(i)).Perm(manySamples)[:subsetSamples])
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	predicted, err := traintime.PredictSpectrum(manySamples, parts...)
	if err != nil {
		return nil, err
	}
	r.SubsetSeconds = (cputime.Process() - start).Seconds()
	single, err := traintime.PredictSpectrum(manySamples, parts[0])
	if err != nil {
		return nil, err
	}
	continued, err := parts[0].Extend(manySamples)
	if err != nil {
		return nil, err
	}
	for to, from := range map[*float64]*traintime.Spectrum{&r.Exponent: whole, &r.SubsetExponent: parts[0]} {
		law, err := from.PowerLaw(3, subsetSamples/3)
		if err != nil {
			return nil, err
		}
		*to = law.Exponent
	}
	var grid []traintime.Setting
	for _, c := range relativeRates {
		for _, m := range momenta {
			grid = append(grid, traintime.Setting{LearningRate: c * (1 - m) / whole.Values[0], Momentum: m})
		}
	}
	o := traintime.Options{Steps: subsetHorizon, Parallel: 1}
	truth, err := whole.Simulate(ctx, grid, o)
	if err != nil {
		return nil, err
	}
	for w, from := range [wayCount]*traintime.Spectrum{fromSubsets: predicted, fromOne: single, powerLaws: continued, asItIs: parts[0]} {
		curves, err := from.Simulate(ctx, grid, o)
		if err != nil {
			return nil, err
		}
		for g := range grid {
			for _, c := range criteria {
				if want := truth[g].TimeTo(c.Criterion).Steps; !math.IsInf(want, 0) && want > 0 {
					r.times[w] = append(r.times[w], curves[g].TimeTo(c.Criterion).Steps/want)
				}
			}
			for _, step := range lossSteps {
				r.losses[w] = append(r.losses[w], curves[g].Loss[step]/truth[g].Loss[step])
			}
		}
	}
	if len(r.times[0]) == 0 {
		return nil, fmt.Errorf("%s on %s: no criterion is met within %d steps", model, dataset, subsetHorizon)
	}
	r.summarise()
	return r, nil
}

// take draws n pictures of a set.
func take(set *images.Set, n int) *sample {
	s := &sample{dataset: set.Name, classes: len(set.Classes), pixels: make([]float32, n*tangent.Pixels)}
	for k, i := range stream.New("benchmark/traintime/many/"+set.Name, seed).Perm(set.Len())[:n] {
		trainer.Normalize(s.pixels[k*tangent.Pixels:(k+1)*tangent.Pixels], set.Picture(i))
		s.labels = append(s.labels, set.Labels[i])
	}
	return s
}

// writeSubsets prints the check for people, with all pairs together at the end.
func writeSubsets(out io.Writer, rows []*Subset) error {
	fmt.Fprintf(out, "curves on %d images from %d subsets of %d, squared loss, all images a step: median error in per cent (90 %% quantile)\n", manySamples, subsetCount, subsetSamples)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "  network\tdata set\ttimes")
	for _, name := range wayNames {
		fmt.Fprintf(w, "\t%s\tlosses", name)
	}
	fmt.Fprintln(w, "\tseconds, all\tsubsets\texponent, all\tsubset")
	errors := func(r *Subset) {
		fmt.Fprintf(w, "  %s\t%s\t%d", r.Network, r.Dataset, r.Compared)
		for i := range wayNames {
			fmt.Fprintf(w, "\t%s (%s)\t%s (%s)", percent(r.Times[i].Median), percent(r.Times[i].Ninety), percent(r.Losses[i].Median), percent(r.Losses[i].Ninety))
		}
	}
	all := &Subset{Network: "all"}
	for _, r := range rows {
		errors(r)
		fmt.Fprintf(w, "\t%.1f\t%.1f\t%.2f\t%.2f\n", r.Seconds, r.SubsetSeconds, r.Exponent, r.SubsetExponent)
		for i := range wayNames {
			all.times[i], all.losses[i] = append(all.times[i], r.times[i]...), append(all.losses[i], r.losses[i]...)
		}
	}
	if len(rows) > 1 {
		all.summarise()
		errors(all)
		fmt.Fprintln(w)
	}
	return w.Flush()
}
