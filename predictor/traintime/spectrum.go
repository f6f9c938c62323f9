package traintime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A Spectrum is what the squared loss on all samples depends on: how fast each
// direction of the error f0 - y is learnt and how much of the error it is. It
// is per sample, so spectra of samples of different size can be compared.
type Spectrum struct {
	// Samples is the number N of samples, Order that of the kernel's rows for
	// each sample times N.
	Samples, Order int
	// Values are the eigenvalues of the kernel over N, descending.
	Values []float64
	// Energy is the square of the error's coordinate over N; the sum is twice
	// the initial loss.
	Energy []float64
}

// Spectrum returns the spectrum of a problem with squared loss. Eigenvalues
// that the outputs share are listed once, with their energies added.
func (p *Problem) Spectrum() (*Spectrum, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if p.Loss != MSE {
		return nil, fmt.Errorf("traintime: under %v directions are not learnt independently: simulate the subset itself", p.Loss)
	}
	m, err := p.modal()
	if err != nil {
		return nil, err
	}
	columns := p.Kernel.columns()
	n := p.Kernel.rows()
	s := &Spectrum{Samples: p.Kernel.samples, Order: n, Values: make([]float64, n), Energy: make([]float64, n)}
	for i, x := range m.error {
		k := n - 1 - i/columns
		s.Values[k] = m.rate[i]
		s.Energy[k] += x * x / float64(s.Samples)
	}
	return s, nil
}

func (s *Spectrum) validate() error {
	if s.Samples < 1 || s.Order < 1 || len(s.Values) == 0 || len(s.Values) != len(s.Energy) {
		return fmt.Errorf("traintime: a spectrum of %d samples with %d values and %d energies", s.Samples, len(s.Values), len(s.Energy))
	}
	for i, v := range s.Values {
		if !(v >= 0) || math.IsInf(v, 0) || !(s.Energy[i] >= 0) || math.IsInf(s.Energy[i], 0) {
			return fmt.Errorf("traintime: spectrum value %d is %v with the energy %v, want finite numbers from 0", i, v, s.Energy[i])
		}
		if i > 0 && v > s.Values[i-1] {
			return fmt.Errorf("traintime: spectrum value %d is larger than the one before", i)
		}
	}
	return nil
}

// Simulate returns the curves of settings without mini-batches, weight decay
// and accuracies, under squared loss.
func (s *Spectrum) Simulate(ctx context.Context, settings []Setting, o Options) ([]*Curve, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	for i, setting := range settings {
		if setting.WeightDecay != 0 || setting.Batch != 0 && setting.Batch < s.Samples || o.Accuracy {
			return nil, fmt.Errorf("traintime: setting %d: a spectrum tells nothing of mini-batches, weight decay or accuracy", i)
		}
	}
	// A diagonal problem has the same losses.
	k := &Kernel{samples: s.Samples, outputs: 1, shared: true}
	m := &modal{rate: s.Values, error: make([]float64, len(s.Energy)), pull: make([]float64, len(s.Energy))}
	for i, e := range s.Energy {
		m.error[i] = math.Sqrt(e * float64(s.Samples))
	}
	return (&Problem{Kernel: k, diagonal: m}).simulate(ctx, settings, o)
}

// A PowerLaw says that eigenvalue k, counted from 1, over N is about
// Scale * k^-Exponent.
type PowerLaw struct {
	Scale, Exponent float64
	// Residual is the root mean square error of the logarithm.
	Residual float64
}

// Value returns the value of the law at k.
func (l PowerLaw) Value(k int) float64 { return l.Scale * math.Pow(float64(k), -l.Exponent) }

// PowerLaw fits the values from the first-th to the last-th (from 1, last
// included) by least squares of logarithms, each octave of k with the same
// weight.
func (s *Spectrum) PowerLaw(first, last int) (PowerLaw, error) {
	return fitPowerLaw("eigenvalue", s.Values, first, last)
}

// fitPowerLaw fits a law to the numbers at positions first to last, counted from
// 1.
func fitPowerLaw(what string, numbers []float64, first, last int) (PowerLaw, error) {
	if first < 1 || last > len(numbers) || last <= first {
		return PowerLaw{}, fmt.Errorf("traintime: a power law through %ss %d to %d of %d: at least two are needed", what, first, last, len(numbers))
	}
	var sw, sx, sy, sxx, sxy, syy float64
	for k := first; k <= last; k++ {
		v := numbers[k-1]
		if !(v > 0) {
			return PowerLaw{}, fmt.Errorf("traintime: %s %d is %v: a power law fits positive numbers only", what, k, v)
		}
		x, y, w := math.Log(float64(k)), math.Log(v), 1/float64(k)
		sw += w
		sx += w * x
		sy += w * y
		sxx += w * x * x
		sxy += w * x * y
		syy += w * y * y
	}
	slope := (sw*sxy - sx*sy) / (sw*sxx - sx*sx)
	intercept := (sy - slope*sx) / sw
	square := syy - 2*slope*sxy - 2*intercept*sy + slope*slope*sxx + 2*slope*intercept*sx + sw*intercept*intercept
	return PowerLaw{Scale: math.Exp(intercept), Exponent: -slope, Residual: math.Sqrt(max(0, square/sw))}, nil
}

// Extend returns the spectrum of n samples by the power laws of a subset's, as
// the published method has it: eigenvalues over N and energies, the squared
// projections of the error on the eigenvectors, both fall as powers of k. The
// leading third is the subset's own; behind it the eigenvalues follow their law,
// and what is left of the error is shared by the law of the energies.
//
// It takes the leading eigenvalues of a subset for those of the whole, which
// they are only roughly; [PredictSpectrum] does not.
func (s *Spectrum) Extend(n int) (*Spectrum, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	if n <= s.Samples {
		return nil, fmt.Errorf("traintime: the spectrum of %d samples from that of %d: want more", n, s.Samples)
	}
	const first = 3 // the largest eigenvalues stand apart
	own := len(s.Values) / 3
	values, err := s.PowerLaw(first, own)
	if err != nil {
		return nil, err
	}
	energies, err := fitPowerLaw("squared projection", s.Energy, first, own)
	if err != nil {
		return nil, err
	}
	order := s.Order / s.Samples * n
	whole := &Spectrum{Samples: n, Order: order, Values: slices.Clone(s.Values[:own]), Energy: slices.Clone(s.Energy[:own])}
	left, shares := 0.0, 0.0
	for _, e := range s.Energy[own:] {
		left += e
	}
	for k := own + 1; k <= order; k++ {
		// Where the law begins above the subset's last value, it joins it.
		whole.Values = append(whole.Values, min(values.Value(k), whole.Values[k-2]))
		whole.Energy = append(whole.Energy, energies.Value(k))
		shares += energies.Value(k)
	}
	for k := own; k < order; k++ {
		whole.Energy[k] *= left / shares
	}
	return whole, nil
}

// FlowTime returns the learning rate times the number of steps in which gradient
// flow takes away the given part, in (0, 1), of the loss that it can take away
// at all; 0 if there is none of that. It is linear in the inverse of the kernel
// and the same for errors of any scale.
func (s *Spectrum) FlowTime(part float64) (float64, error) {
	if err := s.validate(); err != nil {
		return 0, err
	}
	if !(part > 0 && part < 1) {
		return 0, fmt.Errorf("traintime: the time until %v of the loss is gone, want a part between 0 and 1", part)
	}
	const negligible = 1e-12 // of the largest eigenvalue: rounding
	n, total := 0, 0.0
	for n < len(s.Values) && s.Values[n] > negligible*s.Values[0] {
		total += s.Energy[n]
		n++
	}
	if n == 0 || total == 0 {
		return 0, nil
	}
	left := func(time float64) float64 {
		sum := 0.0
		for k, v := range s.Values[:n] {
			sum += s.Energy[k] * math.Exp(-2*v*time)
		}
		return sum / total
	}
	// One direction alone would take the time that bounds all.
	alone := -math.Log(1-part) / 2
	low, high := math.Log(alone/s.Values[0]), math.Log(alone/s.Values[n-1])
	for range 100 {
		middle := (low + high) / 2
		if left(math.Exp(middle)) > 1-part {
			low = middle
		} else {
			high = middle
		}
	}
	return math.Exp((low + high) / 2), nil
}

// PredictSpectrum returns the spectrum that n samples of the same data can be
// expected to have, as nodes and weights of a quadrature rather than single
// eigenvalues. It is told from the spectra of one or more random subsets of the
// same size; several subsets cost less than a larger one and scatter less.
//
// A subset does not have the spectrum of the whole divided by its size: few
// samples hold little of the slow directions, and mix what they hold into the
// fast ones. If the subset is random, the matrix K0 of its M0 rows is a free
// compression of the whole matrix K of M rows (Nica and Speicher, "On the
// multiplication of free N-tuples of noncommutative random variables", Amer. J.
// Math. 118, 1996). With T(w) = tr (K0 + w)^-1 and
// w' = w + (M - M0)/T(w) this gives
//
//	tr (K + w')^-1 ≈ T(w),   rᵀ (K + w')^-1 r ≈ r0ᵀ (K0 + w)^-1 r0
//
// for an error r of which r0 is the subset's part. The function follows w over
// all scales and finds the weights at a grid of rates that reproduce the right
// side. Rates that the subset cannot resolve, below (M - M0)/T(0), share their
// weight by the power law of the resolved ones.
func PredictSpectrum(n int, subsets ...*Spectrum) (*Spectrum, error) {
	if len(subsets) == 0 {
		return nil, errors.New("traintime: a spectrum predicted from no subset")
	}
	s := subsets[0]
	top, least := 0.0, math.Inf(1)
	for _, subset := range subsets {
		if err := subset.validate(); err != nil {
			return nil, err
		}
		if subset.Samples != s.Samples || subset.Order != s.Order {
			return nil, fmt.Errorf("traintime: subsets of %d and of %d samples in one prediction", s.Samples, subset.Samples)
		}
		top = max(top, subset.Values[0])
	}
	if n <= s.Samples {
		return nil, fmt.Errorf("traintime: the spectrum of %d samples from that of %d: want more", n, s.Samples)
	}
	if top == 0 {
		return nil, errors.New("traintime: all eigenvalues are 0: the network's outputs do not depend on its weights")
	}
	for _, subset := range subsets {
		for _, v := range subset.Values {
			if v > 1e-12*top {
				least = min(least, v)
			}
		}
	}
	m0 := float64(s.Samples)
	order := s.Order / s.Samples * n
	more := float64(order - s.Order)

	// Samples of the resolvent of the whole, at z = w'/n per sample.
	const scales = 160
	z, resolvent := make([]float64, scales), make([]float64, scales)
	lowest, highest := math.Log(least*1e-2*m0), math.Log(top*1e2*m0)
	for i := range scales {
		w := math.Exp(lowest + (highest-lowest)*float64(i)/(scales-1))
		trace := 0.0
		for _, subset := range subsets {
			for k, v := range subset.Values {
				trace += 1 / (v*m0 + w)
				resolvent[i] += subset.Energy[k] * m0 / (v*m0 + w)
			}
			trace += float64(subset.Order-len(subset.Values)) / w
		}
		resolvent[i] /= float64(len(subsets))
		z[i] = (w + more/trace*float64(len(subsets))) / float64(n)
	}
	finest := z[0]

	// The grid reaches below what is resolved, to where the power law of the
	// eigenvalues has the last of the whole; the start follows the power law of
	// the energies.
	const nodes = 200
	deepest := 1e-4 * finest
	if last := len(s.Values) / 3; last > 6 {
		if law, err := s.PowerLaw(3, last); err == nil {
			deepest = min(max(deepest, law.Value(order)/2), finest/2)
		}
	}
	bottom, ceiling := math.Log(deepest), math.Log(top*1.1)
	rates, weights := make([]float64, nodes), make([]float64, nodes)
	spacing := (ceiling - bottom) / (nodes - 1)
	for j := range nodes {
		rates[j] = math.Exp(bottom + spacing*float64(j))
	}
	slope := 0.0
	for _, subset := range subsets {
		slope += subset.energySlope(finest, top) / float64(len(subsets))
	}
	for j, rate := range rates {
		weights[j] = math.Pow(rate/top, slope)
	}
	fitResolvent(rates, weights, z, resolvent)

	predicted := &Spectrum{Samples: n, Order: order, Values: rates, Energy: weights}
	slices.Reverse(predicted.Values)
	slices.Reverse(predicted.Energy)
	return predicted, nil
}

// energySlope returns the exponent g of the energy at rates up to x, x^g, from
// the energies of a subset between two rates; between 0.05 and 2.
func (s *Spectrum) energySlope(finest, top float64) float64 {
	var n, sx, sy, sxx, sxy float64
	below := 0.0
	for k := len(s.Values) - 1; k >= 0; k-- {
		below += s.Energy[k]
		v := s.Values[k]
		if v < 2*finest || v > top/3 || below == 0 {
			continue
		}
		x, y := math.Log(v), math.Log(below)
		n++
		sx += x
		sy += y
		sxx += x * x
		sxy += x * y
	}
	slope := 0.5
	if determinant := n*sxx - sx*sx; n >= 5 && determinant > 0 {
		slope = (n*sxy - sx*sy) / determinant
	}
	return min(max(slope, 0.05), 2)
}

// fitResolvent changes positive weights w of rates so that sum_j w_j / (rate_j
// + z_i) approaches resolvent_i, relative errors counting alike, by the
// iteration of Richardson, "Bayesian-based iterative method of image
// restoration", J. Opt. Soc. Am. 62, 1972, and Lucy, Astron. J. 79, 1974. What
// the data do not determine stays as it was at the start.
func fitResolvent(rates, weights, z, resolvent []float64) {
	kernel := make([]float64, len(z)*len(rates)) // over resolvent: the target is 1
	sums := make([]float64, len(rates))
	for i, at := range z {
		for j, rate := range rates {
			a := 0.0
			if resolvent[i] > 0 {
				a = 1 / (rate + at) / resolvent[i]
			}
			kernel[i*len(rates)+j] = a
			sums[j] += a
		}
	}
	ratio := make([]float64, len(rates))
	const rounds = 3000
	for range rounds {
		clear(ratio)
		for i := range z {
			row := kernel[i*len(rates) : (i+1)*len(rates)]
			model := dot(row, weights)
			if model == 0 {
				continue
			}
			for j, a := range row {
				ratio[j] += a / model
			}
		}
		for j := range weights {
			if sums[j] > 0 {
				weights[j] *= ratio[j] / sums[j]
			} else {
				weights[j] = 0
			}
		}
	}
}
