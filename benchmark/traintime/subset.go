package traintime

import (
	"context"
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"quicktune/generate/images"
	"quicktune/generate/images/builtin"
	"quicktune/generate/trainer"
	"quicktune/internal/cputime"
	"quicktune/internal/stream"
	"quicktune/predictor/traintime"
	"quicktune/predictor/traintime/tangent"
)

// The check of predictions from a part of the images.
const (
	manySamples   = 2000
	subsetSamples = 150
	subsetCount   = 4
	subsetHorizon = 2000
)

// Subset is how well the times on many images are told from the spectra of small
// subsets, for a network on a data set under squared loss.
type Subset struct {
	Network, Dataset string
	// Errors are |time/that of all images - 1| over rates, momenta and criteria.
	// Predicted uses the prediction from the subsets' spectra, Continued the
	// published one by the power laws of the first subset, Naive the first subset
	// as if it were all there is.
	Predicted, Continued, Naive Error
	Times                       int     // compared
	Seconds                     float64 // of the kernel of all images and its spectrum
	SubsetSeconds               float64 // of those of the subsets and the prediction
	Exponent                    float64 // of the power law of all eigenvalues
	SubsetExponent              float64 // of the first subset's
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
	continued, err := parts[0].Extend(manySamples)
	if err != nil {
		return nil, err
	}
	r.SubsetSeconds = (cputime.Process() - start).Seconds()
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
	const ways = 3
	var curves [1 + ways][]*traintime.Curve
	for i, from := range []*traintime.Spectrum{whole, predicted, continued, parts[0]} {
		if curves[i], err = from.Simulate(ctx, grid, o); err != nil {
			return nil, err
		}
	}
	var errors, ratios [ways][]float64
	for g := range grid {
		for _, c := range criteria {
			truth := curves[0][g].TimeTo(c.Criterion).Steps
			if math.IsInf(truth, 0) || truth == 0 {
				continue
			}
			r.Times++
			for i := range ways {
				ratio := curves[i+1][g].TimeTo(c.Criterion).Steps / truth
				ratios[i] = append(ratios[i], ratio)
				errors[i] = append(errors[i], math.Abs(ratio-1))
			}
		}
	}
	if r.Times == 0 {
		return nil, fmt.Errorf("%s on %s: no criterion is met within %d steps", model, dataset, subsetHorizon)
	}
	for i, e := range []*Error{&r.Predicted, &r.Continued, &r.Naive} {
		*e = Error{Median: quantile(errors[i], 0.5), Ninety: quantile(errors[i], 0.9), Bias: quantile(ratios[i], 0.5)}
	}
	r.Predicted.Predictor, r.Continued.Predictor, r.Naive.Predictor = "predicted", "power laws", "naive"
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

// writeSubsets prints the check for people.
func writeSubsets(out io.Writer, rows []*Subset) error {
	fmt.Fprintf(out, "times on %d images from %d subsets of %d, squared loss, all images a step: error in per cent\n", manySamples, subsetCount, subsetSamples)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  network\tdata set\ttimes\tpredicted\t90 %\tratio\tpower laws\t90 %\tratio\tone subset as it is\t90 %\tratio\tseconds, all\tsubsets\texponent, all\tsubset")
	for _, r := range rows {
		fmt.Fprintf(w, "  %s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.1f\t%.1f\t%.2f\t%.2f\n", r.Network, r.Dataset, r.Times,
			percent(r.Predicted.Median), percent(r.Predicted.Ninety), decimal(r.Predicted.Bias),
			percent(r.Continued.Median), percent(r.Continued.Ninety), decimal(r.Continued.Bias),
			percent(r.Naive.Median), percent(r.Naive.Ninety), decimal(r.Naive.Bias), r.Seconds, r.SubsetSeconds, r.Exponent, r.SubsetExponent)
	}
	return w.Flush()
}

func decimal(v *float64) string {
	if v == nil {
		return "never"
	}
	return fmt.Sprintf("%.2f", *v)
}
