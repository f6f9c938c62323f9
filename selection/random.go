package selection

import (
	"hash/fnv"

	"quicktune/internal/stream"
)

// Random ranks models at random: the floor of every comparison. The value
// depends on the seed and the name of the model alone.
type Random struct{ Seed uint64 }

// Name returns "random".
func (Random) Name() string { return "random" }

// Needs returns NeedsModel.
func (Random) Needs() Needs { return NeedsModel }

// Score returns a uniform number in [0, 1).
func (s Random) Score(p *Probe) (float64, error) {
	if err := check(s, p); err != nil {
		return 0, err
	}
	h := fnv.New64a()
	h.Write([]byte(p.data.Model))
	return stream.New("selection/random", s.Seed, h.Sum64()).Float64(), nil
}
