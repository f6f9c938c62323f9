// Package predictors holds the meta-learned forecasts that come with the
// program, as benchmark meta-train writes them. README.md beside it has the
// commands.
//
// The package refuses to learn.
package predictors

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"quicktune/predictor/forecast"
)

//go:embed *
var files embed.FS

// The hubs that there are forecasts for.
const (
	Embedded = "embedded" // learnt from results/embedded
	Timm     = "timm"     // learnt from the released Extended curves
)

// ErrNone tells that no forecasts come with the program.
var ErrNone = errors.New("no forecasts come with this program")

// Load returns the forecasts for a hub, with the bytes of their file.
func Load(hub string) (*forecast.Model, []byte, error) {
	name := hub + ".zip"
	data, err := files.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: %w", name, ErrNone)
	}
	if err != nil {
		return nil, nil, err
	}
	m, err := forecast.Decode(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, data, nil
}
