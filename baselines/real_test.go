package baselines

import (
	"context"
	"testing"

	"quicktune/benchmark/crossval/crossvaltest"
	"quicktune/search/searchtest"
)

// TestEveryMethodKeepsTheContractOnRealCurves runs on 60 configurations of one
// data set after learning, where a method learns, from two others: with
// accuracies and losses, with costs and without, with a hub and without.
func TestEveryMethodKeepsTheContractOnRealCurves(t *testing.T) {
	for _, c := range crossvaltest.Cases {
		t.Run(c.Name, func(t *testing.T) {
			on := c.Load(t)
			for _, listed := range Methods() {
				t.Run(listed.Name, func(t *testing.T) {
					m, err := New(listed.Name, parseSettings(contractSettings[listed.Name]))
					if err != nil {
						t.Fatal(err)
					}
					if m.Learn != nil {
						if m.New, err = m.Learn(context.Background(), on.Meta); err != nil {
							t.Fatal(err)
						}
					}
					o := contractOptions[m.Name]
					o.Tables, o.Seeds, o.Proposals = []searchtest.Table{on.Table}, []uint64{1}, 14
					searchtest.Run(t, m, o)
				})
			}
		})
	}
}
