package session

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"quicktune/generate/timm"
	"quicktune/tune/report"
)

// ErrNotTimm tells that a network was not trained by timm.
var ErrNotTimm = errors.New("no network of timm")

// TimmNetwork is the best network of a run of the timm trainer, with the Python
// that can use it.
type TimmNetwork struct {
	timm.Python
	timm.Trained
}

// OpenTimm finds the network of a run. The Python is that of the run unless
// another is named. Where the directory holds another trainer's network, or is a
// file, the error is ErrNotTimm.
func OpenTimm(dir, python string) (*TimmNetwork, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, ErrNotTimm
	}
	in, err := report.ReadIncumbent(filepath.Join(dir, report.IncumbentFile))
	if errors.Is(err, fs.ErrNotExist) || err == nil && in.Trainer != Timm {
		return nil, ErrNotTimm
	}
	if err != nil {
		return nil, err
	}
	p, _, err := readPlan(dir)
	if err != nil {
		return nil, err
	}
	n := &TimmNetwork{}
	if n.Trained, err = trainedByTimm(dir, in, p.Settings.ImageSize); err != nil {
		return nil, err
	}
	if n.Interpreter = python; python == "" {
		n.Interpreter = p.Settings.Python
	}
	place, err := os.MkdirTemp("", "quicktune-")
	if err != nil {
		return nil, err
	}
	if n.Root, err = timm.Install(place); err != nil {
		return nil, errors.Join(err, os.RemoveAll(place))
	}
	return n, nil
}

func trainedByTimm(dir string, in report.Incumbent, imageSize int) (timm.Trained, error) {
	checkpoint, err := filepath.Abs(filepath.Join(dir, in.Checkpoint))
	return timm.Trained{Checkpoint: checkpoint, Epoch: in.Epoch, Model: in.Model, Classes: in.Classes, ImageSize: imageSize}, err
}

// Close removes the sources of the worker, which are in the folder for temporary
// files.
func (n *TimmNetwork) Close() { _ = os.RemoveAll(filepath.Dir(n.Root)) }
