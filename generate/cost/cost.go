// Package cost counts what training takes: the seconds of an epoch follow from
// its arithmetic, on one core of a reference machine, so that the same command
// gives the same seconds everywhere.
//
// The package refuses to measure anything.
package cost

import (
	"quicktune/metadataset"
	"quicktune/space"
)

// forwardMicroseconds is what one image takes forward through a network of the
// embedded hub, on one core of the reference machine: an AMD EPYC with AVX-512,
// measured in CPU time in November 2026. The counted clock is made of these
// numbers, so changing one changes every meta-dataset that is made from then on.
var forwardMicroseconds = map[string]float64{
	"plain_xs": 95, "plain_s": 132, "plain_m": 230, "plain_l": 450,
	"residual_xs": 71, "residual_s": 104, "residual_m": 198, "residual_l": 312,
	"separable_xs": 26, "separable_s": 60, "separable_m": 232, "separable_l": 515,
	"mixer_xs": 22, "mixer_s": 64, "mixer_m": 225, "mixer_l": 540,
	"convmixer_xs": 25, "convmixer_s": 70, "convmixer_m": 237, "convmixer_l": 608,
	"vit_xs": 37, "vit_s": 125, "vit_m": 360, "vit_l": 630,
}

const (
	// backward is what the way back costs, in ways forward, through layers that
	// are trained.
	backward = 1.6
	// otherMicroseconds is for a network that is not in the table, for a million
	// multiply-adds.
	otherMicroseconds = 50
	// epochSeconds is what an epoch takes beside its images.
	epochSeconds = 1e-4
)

// Note says in a meta-dataset where its seconds come from.
const Note = "Seconds were counted, not measured: what an epoch's images take on one core of a reference machine, forward and through the layers that are trained."

// Forward returns the seconds that one image takes forward through a network of
// the hub on the reference machine.
func Forward(m metadataset.Model) float64 {
	if us, ok := forwardMicroseconds[m.Name]; ok {
		return us / 1e6
	}
	return m.GMACs * 1e3 * otherMicroseconds / 1e6
}

// Epoch counts the seconds of an epoch: forward for every image, where one takes
// the given seconds, backward through the share of the network that is not
// frozen, and forward again through the pretrained network where DELTA compares
// with it. evaluated is the number of images for validation and test together.
func Epoch(config map[string]space.Value, forward float64, trained, evaluated int) (train, eval float64) {
	passes := 1 + backward*(1-frozen(config))
	if config["delta_reg"].Num() > 0 {
		passes++
	}
	return float64(trained)*forward*passes + epochSeconds, float64(evaluated) * forward
}

// frozen is the share of a network that a configuration does not train.
func frozen(config map[string]space.Value) float64 {
	if config["linear_probing"] == space.Bool(true) {
		return 1
	}
	if f := config["pct_to_freeze"].Num(); f > 0 {
		return min(1, f)
	}
	return 0
}
