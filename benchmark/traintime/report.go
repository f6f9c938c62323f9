package traintime

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"quicktune/predictor/traintime"
)

// Report is all that the command prints.
type Report struct {
	Networks []string `json:"networks"`
	Datasets []string `json:"datasets"`
	Runs     int      `json:"runs"`
	Horizon  int      `json:"horizon_steps"`
	Samples  int      `json:"samples"`
	Groups   []Group  `json:"groups"`
	Cost     Cost     `json:"cost"`
}

// Group is the errors of all predictors on some of the runs under one criterion.
type Group struct {
	Criterion string  `json:"criterion"`
	Regime    string  `json:"regime"`
	Runs      int     `json:"runs"` // that meet the criterion
	Of        int     `json:"of"`   // all of the regime
	Median    float64 `json:"measured_median_steps"`
	Errors    []Error `json:"errors"` // by predictor, in the order of Predictors
	// Covered is the part of the runs whose time lies in the calibrated interval,
	// which is meant to hold nine of ten; null if none was calibrated.
	Covered *float64 `json:"interval_coverage"`
}

// Error is quantiles of |predicted/measured - 1|; a time that is predicted
// never to come errs without bounds, which JSON shows as null.
type Error struct {
	Predictor string   `json:"predictor"`
	Median    *float64 `json:"median"`
	Ninety    *float64 `json:"quantile_90"`
	Bias      *float64 `json:"median_ratio"` // of predicted to measured
}

// Cost compares seconds of processor time.
type Cost struct {
	// TrainSeconds is the mean of one run to the horizon.
	TrainSeconds float64 `json:"train_seconds"`
	// The rest are means over pairs of a network and a data set: of the kernel,
	// once a pair, and of the simulation of a setting.
	KernelSeconds        float64 `json:"kernel_seconds"`
	ProjectSeconds       float64 `json:"project_seconds"`
	LayerSeconds         float64 `json:"layer_seconds"`
	SimulateSeconds      float64 `json:"simulate_seconds"`
	SimulateLayerSeconds float64 `json:"simulate_layer_seconds"`
}

// Ratio is how much longer than to predict it takes to train a grid of settings.
func (c Cost) Ratio(settings int) float64 {
	n := float64(settings)
	return n * c.TrainSeconds / (c.KernelSeconds + n*c.SimulateSeconds)
}

// LayerRatio is Ratio for the kernel of the last layer.
func (c Cost) LayerRatio(settings int) float64 {
	n := float64(settings)
	return n * c.TrainSeconds / (c.LayerSeconds + n*c.SimulateLayerSeconds)
}

// The predictors that learn from the runs on other data sets.
const (
	calibrated = "calibrated"
	constant   = "constant"
	inverse    = "a / rate"
	loglinear  = "log-linear"
)

// Predictors lists the columns of a report.
func Predictors() []string {
	names := []string{methodNames[full], calibrated}
	for m := algorithm1; m < methodCount; m++ {
		names = append(names, methodNames[m])
	}
	return append(names, constant, inverse, loglinear)
}

// evaluated is a run with all predictions of its time, +Inf for never.
type evaluated struct {
	*Row
	predicted map[string]float64
	interval  *traintime.Interval // nil without a calibrated time
}

// evaluate predicts every run that met its criterion, and for the predictors that
// learn does so from the runs of other data sets alone.
func evaluate(rows []Row) ([]*evaluated, error) {
	type key struct{ loss, criterion string }
	parts := map[key][]*Row{}
	var out []*evaluated
	for i := range rows {
		r := &rows[i]
		if r.Measured == nil || *r.Measured == 0 {
			continue
		}
		k := key{r.Loss, r.Criterion}
		parts[k] = append(parts[k], r)
		e := &evaluated{Row: r, predicted: map[string]float64{}}
		for m, p := range r.predictions() {
			e.predicted[methodNames[m]] = math.Inf(1)
			if *p != nil {
				e.predicted[methodNames[m]] = **p
			}
		}
		out = append(out, e)
	}
	type model struct {
		calibration *traintime.Calibration
		baselines   map[string]*traintime.Baseline
	}
	type fold struct {
		key
		dataset string
	}
	models := map[fold]*model{}
	for _, e := range out {
		k := key{e.Loss, e.Criterion}
		f := fold{k, e.Dataset}
		m := models[f]
		if m == nil {
			m = &model{baselines: map[string]*traintime.Baseline{}}
			var observations []traintime.Observation
			var runs []traintime.Run
			for _, r := range parts[k] {
				if r.Dataset == e.Dataset {
					continue
				}
				runs = append(runs, r.run())
				if r.Full != nil && *r.Full > 0 {
					observations = append(observations, traintime.Observation{
						Group: r.Dataset, Loss: r.loss(), Kind: kindOf(r.Criterion), Predicted: *r.Full, Actual: *r.Measured, Depth: r.Depth,
					})
				}
			}
			if len(runs) > 0 {
				for name, fit := range map[string]func([]traintime.Run) (*traintime.Baseline, error){
					constant: traintime.FitConstant, inverse: traintime.FitInverseRate, loglinear: traintime.FitLogLinear,
				} {
					b, err := fit(runs)
					if err != nil {
						return nil, err
					}
					m.baselines[name] = b
				}
			}
			if len(observations) > 0 {
				c, err := traintime.FitCalibration(observations, traintime.CalibrationOptions{})
				if err != nil {
					return nil, err
				}
				m.calibration = c
			}
			models[f] = m
		}
		for name, b := range m.baselines {
			steps, err := b.Steps(e.run())
			if err != nil {
				return nil, err
			}
			e.predicted[name] = steps
		}
		e.predicted[calibrated] = math.Inf(1)
		if m.calibration != nil && e.Full != nil && *e.Full > 0 {
			i, err := m.calibration.Apply(e.loss(), kindOf(e.Criterion), "", *e.Full, e.Depth)
			if err != nil {
				return nil, err
			}
			e.predicted[calibrated], e.interval = i.Steps, &i
		}
	}
	return out, nil
}

// run describes a row to the baselines.
func (r *Row) run() traintime.Run {
	batch := r.Batch
	if batch == 0 {
		batch = r.Samples
	}
	steps := 0.0
	if r.Measured != nil {
		steps = *r.Measured
	}
	return traintime.Run{
		EffectiveRate: r.Rate / (1 - r.Momentum), Batch: float64(batch), Samples: float64(r.Samples),
		Outputs: float64(r.Classes), Weights: float64(r.Weights), Steps: steps,
	}
}

func (r *Row) loss() traintime.Loss {
	if r.Loss == traintime.CrossEntropy.String() {
		return traintime.CrossEntropy
	}
	return traintime.MSE
}

// kindOf returns the kind of a criterion, -1 for a name that is none.
func kindOf(criterion string) traintime.Kind {
	for _, c := range criteria {
		if c.name == criterion {
			return c.Kind
		}
	}
	return -1
}

// regimes are the parts of the runs whose errors are reported, for each loss.
var regimes = []struct {
	name string
	in   func(*Row) bool
	// headline regimes are reported for every criterion, others for the
	// published one.
	headline bool
}{
	{"all images a step", func(r *Row) bool { return !r.Unstable && r.Batch == 0 }, true},
	{"mini-batches", func(r *Row) bool { return !r.Unstable && r.Batch > 0 }, true},
	{"momentum 0", func(r *Row) bool { return !r.Unstable && r.Momentum == 0 }, false},
	{"momentum 0.9", func(r *Row) bool { return !r.Unstable && r.Momentum > 0 }, false},
	{"slowest rate", func(r *Row) bool { return !r.Unstable && r.Relative == relativeRates[0] }, false},
	{"middle rate", func(r *Row) bool { return !r.Unstable && r.Relative == relativeRates[1] }, false},
	{"fastest rate", func(r *Row) bool { return !r.Unstable && r.Relative == relativeRates[2] }, false},
	{"outside stability", func(r *Row) bool { return r.Unstable }, true},
}

// newReport summarises runs.
func newReport(rows []Row) (*Report, error) {
	all, err := evaluate(rows)
	if err != nil {
		return nil, err
	}
	r := &Report{Horizon: horizon, Samples: samples, Runs: len(rows) / len(criteria)}
	var n float64
	pairs := map[[2]string]bool{}
	for i := range rows {
		row := &rows[i]
		r.Networks, r.Datasets = append(r.Networks, row.Network), append(r.Datasets, row.Dataset)
		if row.Criterion != criteria[0].name {
			continue
		}
		n++
		r.Cost.TrainSeconds += row.TrainSeconds
		r.Cost.SimulateSeconds += row.SimulateSeconds
		r.Cost.SimulateLayerSeconds += row.SimulateLayerSeconds
		if pair := [2]string{row.Network, row.Dataset}; !pairs[pair] {
			pairs[pair] = true
			r.Cost.KernelSeconds += row.KernelSeconds
			r.Cost.ProjectSeconds += row.ProjectSeconds
			r.Cost.LayerSeconds += row.LayerSeconds
		}
	}
	for _, s := range []*[]string{&r.Networks, &r.Datasets} {
		slices.Sort(*s)
		*s = slices.Compact(*s)
	}
	for _, s := range []*float64{&r.Cost.TrainSeconds, &r.Cost.SimulateSeconds, &r.Cost.SimulateLayerSeconds} {
		*s /= n
	}
	for _, s := range []*float64{&r.Cost.KernelSeconds, &r.Cost.ProjectSeconds, &r.Cost.LayerSeconds} {
		*s /= float64(len(pairs))
	}
	for k, c := range criteria {
		for _, loss := range losses {
			for _, regime := range regimes {
				if k > 0 && !regime.headline {
					continue
				}
				in := func(row *Row) bool { return row.Criterion == c.name && row.Loss == loss.String() && regime.in(row) }
				g := Group{Criterion: c.name, Regime: loss.String() + ", " + regime.name}
				for i := range rows {
					if in(&rows[i]) {
						g.Of++
					}
				}
				var part []*evaluated
				for _, e := range all {
					if in(e.Row) {
						part = append(part, e)
					}
				}
				if g.Runs = len(part); g.Runs == 0 {
					continue
				}
				g.fill(part)
				r.Groups = append(r.Groups, g)
			}
		}
	}
	return r, nil
}

// fill computes the quantiles.
func (g *Group) fill(part []*evaluated) {
	var steps []float64
	for _, e := range part {
		steps = append(steps, *e.Measured)
	}
	g.Median = *quantile(steps, 0.5)
	covered, intervals := 0.0, 0.0
	for _, e := range part {
		if e.interval == nil {
			continue
		}
		intervals++
		if *e.Measured >= e.interval.Low && *e.Measured <= e.interval.High {
			covered++
		}
	}
	if intervals > 0 {
		covered /= intervals
		g.Covered = &covered
	}
	for _, name := range Predictors() {
		var errs, ratios []float64
		for _, e := range part {
			ratio := e.predicted[name] / *e.Measured
			ratios = append(ratios, ratio)
			errs = append(errs, math.Abs(ratio-1))
		}
		g.Errors = append(g.Errors, Error{Predictor: name, Median: quantile(errs, 0.5), Ninety: quantile(errs, 0.9), Bias: quantile(ratios, 0.5)})
	}
}

// quantile is an order statistic of numbers, nil if that is infinite.
func quantile(x []float64, q float64) *float64 {
	slices.SortFunc(x, cmp.Compare)
	v := x[int(math.Ceil(q*float64(len(x))))-1]
	if math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// WriteText prints the report for people.
func (r *Report) WriteText(out io.Writer) error {
	fmt.Fprintf(out, "predicted against measured steps: %d runs of %d networks on %d data sets, %d images, horizon %d steps\n",
		r.Runs, len(r.Networks), len(r.Datasets), r.Samples, r.Horizon)
	for _, c := range criteria {
		fmt.Fprintf(out, "\n%s: median error in per cent (90 %% quantile)\n", c.name)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprint(w, "  regime\truns\tsteps")
		for _, p := range Predictors() {
			fmt.Fprintf(w, "\t%s", p)
			if p == calibrated {
				fmt.Fprint(w, "\tinterval")
			}
		}
		fmt.Fprintln(w)
		for _, g := range r.Groups {
			if g.Criterion != c.name {
				continue
			}
			fmt.Fprintf(w, "  %s\t%d/%d\t%.0f", g.Regime, g.Runs, g.Of, g.Median)
			for _, e := range g.Errors {
				fmt.Fprintf(w, "\t%s (%s)", percent(e.Median), percent(e.Ninety))
				if e.Predictor == calibrated {
					fmt.Fprintf(w, "\t%s", covers(g.Covered))
				}
			}
			fmt.Fprintln(w)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	c := r.Cost
	_, err := fmt.Fprintf(out, `
seconds of processor time, means: training a run %.3g; kernel %.3g, projected %.3g, of the last layer %.3g, each once a (network, data set); simulating a setting %.3g, last layer %.3g
training over predicting: %.1f for one setting, %.1f for a grid of %d, %.1f for a grid of 100; with the last layer's kernel %.1f, %.1f and %.1f
runs m/n: m of n meet the criterion within the horizon. "never" is a prediction beyond the horizon.
"full network" simulates the exact steps with momentum and mini-batches on the kernel of all weights; "Algorithm 1" is the published simulation on the same kernel; "last block", "last layer" and projections have kernels that cost less; "calibrated" corrects "full network" by the runs on the other data sets, from which constant, a / rate and log-linear are fitted as well; "interval" is the part of the runs in the interval of 90 %% that goes with it; "first %d steps" are trained and extrapolated.
`, c.TrainSeconds, c.KernelSeconds, c.ProjectSeconds, c.LayerSeconds, c.SimulateSeconds, c.SimulateLayerSeconds,
		c.Ratio(1), c.Ratio(gridSize()), gridSize(), c.Ratio(100), c.LayerRatio(1), c.LayerRatio(gridSize()), c.LayerRatio(100), prefix)
	return err
}

// gridSize is the number of settings of a pair.
func gridSize() int { return len(relativeRates) * len(momenta) * 2 * len(losses) }

func covers(v *float64) string {
	if v == nil {
		return "-"
	}
	return percent(v)
}

func percent(v *float64) string {
	if v == nil {
		return "never"
	}
	return fmt.Sprintf("%.0f", 100**v)
}
