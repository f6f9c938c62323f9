package space

import (
	_ "embed"
	"fmt"
	"sync"
)

//go:embed quicktune.json
var quickTuneJSON []byte

var quickTune = sync.OnceValue(func() *Space {
	s, err := Parse(quickTuneJSON)
	if err != nil {
		// The file is compiled in: a test parses it.
		panic(fmt.Sprintf("embedded quicktune.json: %v", err))
	}
	return s
})

// QuickTune returns the search space of Quick-Tune (Pineda Arango, Ferreira,
// Kadra, Hutter and Grabocka: Quick-Tune, ICLR 2024, arXiv:2306.03828) as its
// released code samples it: 24 pretrained timm models in the authors' order and
// 31 hyperparameters of fine-tuning, all discrete, 8 of them conditional, and
// the constant number of epochs.
//
// Defaults are those of the released training script and lie outside the
// choices where the script's do: momentum 0.9, decay_rate 0.1, decay_epochs 90,
// patience_epochs 10, ra_magnitude 8, ra_num_ops 2, no auto_augment and no
// opt_betas.
func QuickTune() *Space { return quickTune() }
