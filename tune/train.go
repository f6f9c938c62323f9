package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"quicktune/generate/hub"
	"quicktune/generate/images"
	"quicktune/generate/trainer"
	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/tune/classify"
	"quicktune/tune/report"
	"quicktune/tune/session"
)

func newTrain(stdout, stderr io.Writer) *cobra.Command {
	var from, data, out, python string
	c := &cobra.Command{
		Use:   "train --from FILE --out DIR",
		Short: "train a pipeline that was found again",
		Long: `Train fine-tunes the network of an incumbent.json with its configuration, from the
pretrained weights to the epoch at which it was best, without a search. On the same
pictures that gives the same network, bit for bit; with timm as far as the versions
of torch and the device allow.`,
		Example: "  go run ./tune train --from results/runs/tune-photos/incumbent.json --out again",
		Args:    cli.Arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if from == "" || out == "" {
				return cli.Inputf("train needs --from FILE and --out DIR")
			}
			return trainAgain(c.Context(), from, data, out, python, stdout, stderr)
		},
	}
	c.Flags().StringVar(&from, "from", "", "incumbent.json of a run")
	c.Flags().StringVar(&data, "data", "", "folder or zip archive of pictures (default: those of the run)")
	c.Flags().StringVar(&out, "out", "", "directory to make, with the network and a checkpoint")
	c.Flags().StringVar(&python, "python", "", "for networks of timm: interpreter with torch and timm (default: that of the run)")
	return c
}

func trainAgain(ctx context.Context, from, data, out, python string, stdout, stderr io.Writer) error {
	in, err := report.ReadIncumbent(from)
	if err != nil {
		return cli.Inputf("--from: %w", err)
	}
	if in.Trainer == session.Exec {
		return cli.Inputf("--from %s: another program trained this: %s", from, in.Exec)
	}
	if data == "" {
		data = in.Data
	}
	if data, err = filepath.Abs(data); err != nil {
		return err
	}
	set, err := images.Load(ctx, data)
	if err != nil {
		return cli.Input(err)
	}
	d, err := set.Split()
	if err != nil {
		return cli.Input(err)
	}
	for _, name := range []string{session.ModelFile, report.IncumbentFile} {
		if exists(filepath.Join(out, name)) {
			return cli.Inputf("--out %s holds a network already: name another directory", out)
		}
	}
	log := cli.Logger(stderr)
	if set.Hash() != in.DataHash {
		log.Warn("these are not the pictures of the run: the network will be another one", "data", data)
	}
	checkpoint := filepath.Join(out, "checkpoint")
	if err := os.MkdirAll(checkpoint, 0o777); err != nil {
		return cli.Input(err)
	}
	bar := cli.NewProgress(stderr, log, "train", int64(in.Epoch), false)
	var last trainer.Record
	note := func(r trainer.Record) error {
		last = r
		bar.Set(int64(r.Epoch), int64(in.Epoch))
		return nil
	}
	var end trainer.End
	if in.Trainer == session.Timm {
		end, err = session.TrainTimm(ctx, in, python, set, data, out, note)
	} else {
		t := &trainer.Embedded{Images: func(string) (*trainer.Images, error) { return d, nil }, Weights: hub.Weights}
		end, err = t.Train(ctx, trainer.Request{
			Trial: "again", Model: in.Model, Config: in.Config, Dataset: set.Name, Epochs: in.Epochs, Until: in.Epoch, Seed: in.Seed, Checkpoint: checkpoint,
		}, note)
	}
	bar.Finish()
	if err != nil {
		return err
	}
	if end.End != metadataset.EndCompleted {
		return fmt.Errorf("training ended after epoch %d: %s %s", last.Epoch, end.End, end.Reason)
	}
	fmt.Fprintf(stdout, "%s, epoch %d: validation accuracy %.4f, test accuracy %.4f\n", in.Model, last.Epoch, last.ValAccuracy, last.TestAccuracy)
	if in.Trainer == session.Timm {
		fmt.Fprintf(stdout, "written to %s\n", checkpoint)
		return nil
	}
	w, _, err := trainer.Trained(checkpoint, d.Classes)
	if err != nil {
		return err
	}
	m, err := classify.New(w, set.Classes)
	if err != nil {
		return err
	}
	file := filepath.Join(out, session.ModelFile)
	if err := m.Save(file); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "written to %s\n", file)
	return nil
}
