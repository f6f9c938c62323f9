package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"quicktune/generate/images"
	"quicktune/generate/timm"
	"quicktune/generate/trainer"
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
	if in.Timm == nil {
		return nil, fmt.Errorf("%s does not say how timm trained: it was made by another version of this program", filepath.Join(dir, report.IncumbentFile))
	}
	n := &TimmNetwork{}
	if n.Trained, err = trainedByTimm(dir, in); err != nil {
		return nil, err
	}
	if n.Interpreter = python; python == "" {
		n.Interpreter = in.Timm.Python
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

func trainedByTimm(dir string, in report.Incumbent) (timm.Trained, error) {
	checkpoint, err := filepath.Abs(filepath.Join(dir, in.Checkpoint))
	return timm.Trained{Checkpoint: checkpoint, Epoch: in.Epoch, Model: in.Model, Classes: in.Classes, ImageSize: in.Timm.ImageSize}, err
}

// Close removes the sources of the worker, which are in the folder for temporary
// files.
func (n *TimmNetwork) Close() { _ = os.RemoveAll(filepath.Dir(n.Root)) }

// TrainTimm trains the network of an incumbent again, to the epoch at which it
// was best, on the pictures of set, which are at path. The directory gets the
// checkpoint and an incumbent.json by which OpenTimm finds it.
func TrainTimm(ctx context.Context, in report.Incumbent, python string, set *images.Set, path, dir string, emit func(trainer.Record) error) (trainer.End, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return trainer.End{}, err
	}
	if in.Timm == nil {
		return trainer.End{}, errors.New("it does not say how timm trained: it was made by another version of this program")
	}
	how := *in.Timm
	if python != "" {
		how.Python = python
	}
	s := &Settings{Python: how.Python, ImageSize: how.ImageSize, Scratch: how.Scratch, WeightsDir: how.WeightsDir}
	root, command, err := s.timmCommand(ctx, dir, set, path)
	if err != nil {
		return trainer.End{}, err
	}
	w := &timm.Worker{Command: append(command, "--device", "auto"), Env: timm.Environment(root)}
	defer w.Close()
	const checkpoint = "checkpoint"
	end, err := w.Train(ctx, trainer.Request{
		Trial: "again", Model: in.Model, Config: in.Config, Dataset: set.Name, Epochs: in.Epochs, Until: in.Epoch, Seed: in.Seed,
		Checkpoint: filepath.Join(dir, checkpoint),
	}, emit)
	if err != nil {
		return end, err
	}
	in.Data, in.DataHash, in.Classes, in.Checkpoint, in.Timm = path, set.Hash(), set.Classes, checkpoint, &how
	return end, report.WriteIncumbent(dir, in)
}
