package traintime

import (
	"context"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// Dynamics says how training is simulated.
type Dynamics int

const (
	// Exact takes the discrete steps of SGD on the linearised network, with the
	// state of the momentum and random mini-batches: what training does as long
	// as the network stays linear in its weights.
	Exact Dynamics = iota
	// Published is Algorithm 1 of the paper: learning rate and momentum are
	// replaced by the effective learning rate; training on all samples is a
	// gradient flow, on mini-batches a stochastic differential equation.
	Published
)

// Options say how far and how often to simulate. The zero value of a field is
// its default.
type Options struct {
	// Steps is the horizon T, at least 1; there is no default.
	Steps int
	// Every is how many steps lie between records, which are also the
	// resolution of times (default 1). It divides Steps.
	Every int
	// Dynamics is Exact or Published.
	Dynamics Dynamics
	// Draws is how often a setting with mini-batches is simulated, each time
	// with other random numbers (default 5).
	Draws int
	// Seed makes the draws; all settings share them.
	Seed uint64
	// Accuracy asks for accuracies besides losses.
	Accuracy bool
	// Band is the part of the draws between the lower and the upper curve and
	// time (default 0.8).
	Band float64
	// Parallel is how many goroutines simulate at once (default: GOMAXPROCS).
	// It changes no result.
	Parallel int
}

func (o Options) complete() (Options, error) {
	for _, d := range []struct{ value, standard *int }{
		{&o.Every, new(1)}, {&o.Draws, new(5)}, {&o.Parallel, new(runtime.GOMAXPROCS(0))},
	} {
		if *d.value == 0 {
			*d.value = *d.standard
		}
	}
	if o.Band == 0 {
		o.Band = 0.8
	}
	switch {
	case o.Steps < 1:
		return o, fmt.Errorf("traintime: a horizon of %d steps, want at least 1", o.Steps)
	case o.Every < 1 || o.Steps%o.Every != 0:
		return o, fmt.Errorf("traintime: records every %d steps do not divide the horizon of %d", o.Every, o.Steps)
	case o.Dynamics != Exact && o.Dynamics != Published:
		return o, fmt.Errorf("traintime: unknown dynamics %d", o.Dynamics)
	case o.Draws < 1 || o.Parallel < 1:
		return o, fmt.Errorf("traintime: %d draws on %d goroutines, want at least 1 of each", o.Draws, o.Parallel)
	case !(o.Band > 0 && o.Band < 1):
		return o, fmt.Errorf("traintime: a band of %v of the draws, want a part between 0 and 1", o.Band)
	}
	return o, nil
}

// records is the number of recorded steps, 0 and the horizon among them.
func (o Options) records() int { return o.Steps/o.Every + 1 }

// A Curve is the simulated course of one setting. Record i of each slice is
// step i*Every. A simulation that diverged has +Inf losses and accuracy 0 from
// then on.
type Curve struct {
	Every int
	// Loss is the mean over the draws, Low and High enclose the middle part of
	// them. Without mini-batches there is one draw and the three are equal.
	Loss, Low, High []float64
	// Accuracy, in [0, 1], likewise; nil unless asked for.
	Accuracy, AccuracyLow, AccuracyHigh []float64
	// Diverged is the part of the draws whose loss grew without bounds.
	Diverged float64

	band             float64
	losses, accuracy [][]float64 // draw, record
}

// Horizon returns the last step of the curve.
func (c *Curve) Horizon() int { return c.Every * (len(c.Loss) - 1) }

// Draws returns the number of simulations the curve is made of.
func (c *Curve) Draws() int { return len(c.losses) }

// Simulate returns the curve of each setting. Everything random comes from
// o.Seed: the same call gives the same curves on any number of goroutines.
func (p *Problem) Simulate(ctx context.Context, settings []Setting, o Options) ([]*Curve, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return p.simulate(ctx, settings, o)
}

func (p *Problem) simulate(ctx context.Context, settings []Setting, o Options) ([]*Curve, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	r := &run{Problem: p, Options: o, settings: settings}
	r.rates = make([][]float64, len(settings))
	r.curves = make([]*Curve, len(settings))
	for i, s := range settings {
		err := p.validate(s)
		if err == nil {
			r.rates[i], err = rates(s, o.Steps)
		}
		if err != nil {
			return nil, fmt.Errorf("traintime: setting %d: %w", i, err)
		}
		draws := 1
		if p.batch(s) > 0 {
			draws = o.Draws
		}
		c := &Curve{Every: o.Every, band: o.Band, losses: make([][]float64, draws)}
		if o.Accuracy {
			c.accuracy = make([][]float64, draws)
		}
		for d := range draws {
			c.losses[d] = make([]float64, o.records())
			if o.Accuracy {
				c.accuracy[d] = make([]float64, o.records())
			}
		}
		r.curves[i] = c
	}

	var units []func(context.Context) error
	if o.Dynamics == Published {
		units = r.published()
	} else {
		units = r.exact()
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Parallel)
	for _, unit := range units {
		group.Go(func() error { return unit(ctx) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, c := range r.curves {
		c.summarise()
	}
	return r.curves, nil
}

// A run is one call of Simulate.
type run struct {
	*Problem
	Options
	settings []Setting
	rates    [][]float64 // setting, step
	curves   []*Curve
}

// A lane is one simulation: a draw of a setting.
type lane struct{ setting, draw int }

// columns is the most columns of a matrix of lanes: enough for fast products,
// few enough for a core's cache.
const columns = 128

// lanesBy are lanes by what they have in common, in the order in which that first
// came up.
type lanesBy[K comparable] struct {
	order []K
	lanes map[K][]lane
}

func (b *lanesBy[K]) add(key K, l lane) {
	if b.lanes == nil {
		b.lanes = make(map[K][]lane)
	}
	if b.lanes[key] == nil {
		b.order = append(b.order, key)
	}
	b.lanes[key] = append(b.lanes[key], l)
}

// parts yields lanes that have a key in common, as many at a time as a matrix
// holds.
func (b *lanesBy[K]) parts(r *run) iter.Seq2[K, []lane] {
	most := max(1, columns/r.layout(1).width())
	return func(yield func(K, []lane) bool) {
		for _, key := range b.order {
			for part := range slices.Chunk(b.lanes[key], most) {
				if !yield(key, part) {
					return
				}
			}
		}
	}
}

// runaway is the multiple of the initial loss above which a simulation counts
// as diverged.
const runaway = 1e9

// record stores step t of a lane and reports whether the simulation goes on.
func (r *run) record(a lane, t int, loss, accuracy float64) bool {
	c, i := r.curves[a.setting], t/r.Every
	losses := c.losses[a.draw]
	if math.IsNaN(loss) || loss > runaway*(losses[0]+1e-3) && t > 0 {
		for ; i < len(losses); i++ {
			losses[i] = math.Inf(1)
		}
		return false
	}
	losses[i] = loss
	if r.Accuracy {
		c.accuracy[a.draw][i] = accuracy
	}
	return true
}

// summarise fills the public curves from the draws.
func (c *Curve) summarise() {
	c.Loss, c.Low, c.High = summary(c.losses, c.band)
	if c.accuracy != nil {
		c.Accuracy, c.AccuracyLow, c.AccuracyHigh = summary(c.accuracy, c.band)
	}
	for _, losses := range c.losses {
		if math.IsInf(losses[len(losses)-1], 1) {
			c.Diverged += 1 / float64(len(c.losses))
		}
	}
}

// summary returns mean and quantiles over the draws of each record.
func summary(draws [][]float64, band float64) (mean, low, high []float64) {
	records := len(draws[0])
	mean, low, high = make([]float64, records), make([]float64, records), make([]float64, records)
	column := make([]float64, len(draws))
	for i := range records {
		for d, draw := range draws {
			column[d] = draw[i]
			mean[i] += draw[i] / float64(len(draws))
		}
		slices.Sort(column)
		low[i], high[i] = quantile(column, (1-band)/2), quantile(column, (1+band)/2)
	}
	return mean, low, high
}

// quantile interpolates between the order statistics of sorted numbers, which
// may end in infinities.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) || at == float64(i) || sorted[i] == sorted[i+1] {
		return sorted[i]
	}
	part := at - float64(i)
	return sorted[i]*(1-part) + sorted[i+1]*part
}
