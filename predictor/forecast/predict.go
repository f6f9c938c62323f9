package forecast

import (
	"math"
	"slices"
	"sort"
)

// calibrationEpochs are where predictions of the prior are compared with what
// became of them.
var calibrationEpochs = []int{1, 2, 4, 8, 20, 50}

// calibrationQuantiles cut the predictions into groups, finer where they are
// high, since that is where a search looks.
var calibrationQuantiles = []float64{0, .15, .3, .45, .6, .7, .8, .87, .92, .955, .98, 1}

// calibration maps a prediction of the prior to the median of what is observed
// and to its spread upwards.
type calibration struct {
	Predicted []float64
	Median    []float64
	Above     []float64 // root mean square of deviations above the median
}

func newCalibration(predicted, observed []float64) calibration {
	order := make([]int, len(predicted))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return predicted[order[a]] < predicted[order[b]] })
	var c calibration
	for q := range len(calibrationQuantiles) - 1 {
		n := float64(len(order))
		group := order[int(calibrationQuantiles[q]*n):int(calibrationQuantiles[q+1]*n)]
		if len(group) == 0 {
			continue
		}
		at := func(v []float64) []float64 {
			out := make([]float64, len(group))
			for i, j := range group {
				out[i] = v[j]
			}
			slices.Sort(out)
			return out
		}
		z := at(observed)
		mid := median(z)
		var square float64
		above := 0
		for _, v := range z {
			if v > mid {
				square += (v - mid) * (v - mid)
				above++
			}
		}
		if above > 0 {
			square /= float64(above)
		}
		if k := len(c.Median); k > 0 {
			mid = max(mid, c.Median[k-1])
		}
		c.Predicted = append(c.Predicted, median(at(predicted)))
		c.Median = append(c.Median, mid)
		c.Above = append(c.Above, math.Sqrt(square))
	}
	return c
}

// median of an ascending list.
func median(v []float64) float64 {
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// lookUp interpolates linearly between the groups and is constant outside.
func (c *calibration) lookUp(u float64) (mid, above float64) {
	n := len(c.Predicted)
	i := sort.SearchFloat64s(c.Predicted, u)
	switch {
	case i == 0:
		return c.Median[0], c.Above[0]
	case i == n:
		return c.Median[n-1], c.Above[n-1]
	}
	lo, hi := c.Predicted[i-1], c.Predicted[i]
	w := (u - lo) / (hi - lo)
	return c.Median[i-1] + w*(c.Median[i]-c.Median[i-1]), c.Above[i-1] + w*(c.Above[i]-c.Above[i-1])
}

// Prior is what is known of one configuration on one data set before it is
// trained.
type Prior struct {
	// Median and Above hold, for the best score by each epoch, in shifted log
	// odds relative to the centre of the data set, the median and the spread
	// upwards.
	Median, Above []float64
	// SecondsPerEpoch is the predicted cost of an epoch, 1 if no times are
	// known.
	SecondsPerEpoch float64

	raw []float64 // uncalibrated
}

// Priors predicts for the rows of configurations on a data set.
func (m *Model) Priors(rows [][]float64, d Descriptors) []Prior {
	out := make([]Prior, len(rows))
	var seconds []float64 // logarithms, per sample
	if m.cost != nil {
		seconds = means(m.cost, slices.Concat(rows...))
	}
	for i, raw := range m.predictPrior(rows, m.prior, m.centre) {
		p := Prior{raw: raw, Median: make([]float64, len(raw)), Above: make([]float64, len(raw)), SecondsPerEpoch: 1}
		for e, u := range raw {
			p.Median[e], p.Above[e] = m.calibration.lookUp(u)
		}
		if m.cost != nil {
			p.SecondsPerEpoch = math.Exp(seconds[i]) * float64(max(d.Samples, 1))
		}
		out[i] = p
	}
	return out
}

// NoTraining reports whether every curve with this row's kind of configuration
// was no training at all on the data sets that the model knows.
func (m *Model) NoTraining(row []float64) bool {
	return slices.ContainsFunc(m.noTraining, func(k mark) bool { return row[k.Column] == k.Value })
}

// Centre is what is known of the centre of a data set before anything is
// trained on it: mean and standard deviation in shifted log odds.
func (m *Model) Centre() (mean, std float64) { return m.offset.Mean, m.offset.Std }

// Features returns what rows are made with.
func (m *Model) Features() *Features { return m.f }

// MaxEpochs is the length of whole curves.
func (m *Model) MaxEpochs() int { return m.maxEpochs }

// Continuation predicts how a curve goes on from its first epochs: for each of
// Horizons that ends by MaxEpochs the expected gain over the best score so far
// and its spread upwards, both in shifted log odds, are written to gain and
// spread. It returns how many there are.
func (m *Model) Continuation(gain, spread []float64, row []float64, p *Prior, scores []float64) int {
	if m.gain == nil || len(scores) == 0 {
		return 0
	}
	short := make([]float32, len(scores))
	for i, s := range scores {
		short[i] = float32(s)
	}
	c := newCurve(short)
	var x []float64
	n := 0
	for _, h := range Horizons {
		if len(scores)+h > m.maxEpochs {
			break
		}
		x = m.gainRow(x, row, &c, p.raw, len(scores), h)
		n++
	}
	copy(gain, means(m.gain, x))
	for i, s := range m.spread.PredictBatch(nil, x) {
		spread[i] = max(minSpread, halfNormal*s)
	}
	return n
}

const (
	// minSpread keeps forecasts from being certain.
	minSpread = 0.02
	// halfNormal turns the mean absolute deviation into the standard deviation
	// of a normal distribution.
	halfNormal = 1.2533141373155003
)

// gainRow is a row of the continuation after the first n epochs of a curve, h
// epochs ahead: the curve's level, trend and staleness, the prior's opinion of
// both ends, and what shapes curves in general.
func (m *Model) gainRow(dst, row []float64, c *curve, prior []float64, n, h int) []float64 {
	z, best := c.z, c.best
	level := best[n-1]
	ago := func(v []float64, back int, known bool) float64 {
		if !known {
			return math.NaN()
		}
		return v[n-1-back]
	}
	first := 0 // epoch of the first best
	for e := range n {
		if z[e] > z[first] {
			first = e
		}
	}
	warmup := math.NaN()
	if m.f.warmup >= 0 {
		warmup = max(0, row[m.f.warmup]-float64(n))
	}
	logN := math.Log(float64(n))
	end := n + h
	dst = append(dst,
		float64(n), logN,
		z[n-1], level, level-prior[n-1],
		z[n-1]-ago(z, 1, n > 1),
		level-ago(best, n-max(1, n/2), n > 1),
		level-ago(best, 3, n > 3),
		float64(n-1-first),
		warmup,
		row[m.f.derived+colSamples]+logN,
		row[m.f.derived+colSteps]+logN,
		float64(h), math.Log(float64(end)/float64(n)),
		prior[end-1]-prior[n-1], float64(end),
	)
	for _, col := range m.f.curveParts {
		dst = append(dst, row[col])
	}
	return dst
}

func (m *Model) gainWidth() int { return 16 + len(m.f.curveParts) }
