package main

import (
	"quicktune/generate/cost"
	"quicktune/generate/plan"
)

// embeddedSeconds counts the seconds of an epoch of each trial of a plan.
func embeddedSeconds(p *plan.Plan) func(plan.Trial) (train, eval float64) {
	sets := make(map[string]plan.Dataset)
	for _, d := range p.Datasets {
		sets[d.Name] = d
	}
	forward := make(map[string]float64)
	for _, m := range p.Hub() {
		forward[m.Name] = cost.Forward(m)
	}
	return func(t plan.Trial) (train, eval float64) {
		d := sets[t.Dataset]
		return cost.Epoch(t.Config, forward[t.Model], d.Train, d.Validation+d.Test)
	}
}
