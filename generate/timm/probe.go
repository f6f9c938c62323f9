package timm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"

	"quicktune/internal/program"
	"quicktune/internal/safetensors"
	"quicktune/selection"
)

// ProbeRequest asks what a pretrained model says of pictures.
type ProbeRequest struct {
	Model   string `json:"model"`
	Dataset string `json:"dataset"` // with a description in the folder that the worker is given
	Rows    []int  `json:"rows"`    // among the pictures for training
	Out     string `json:"out"`     // file that the worker writes
	Seed    uint64 `json:"seed"`
	// Combinations is how many random combinations of outputs are
	// differentiated by the last weights of the body, each derivative sketched
	// to Width numbers.
	Combinations int `json:"combinations"`
	Width        int `json:"width"`
}

// Probed is what the worker tells of a probe.
type Probed struct {
	Weights string  // digest
	Pixels  int     // side of the pictures
	Seconds float64 // of the passes
}

// Probe lets pretrained models look at pictures, in one process and in the order
// of the requests. args are those of the worker beside the requests. each is
// called when a probe lies in its file, or with the reason why it does not.
func (p Python) Probe(ctx context.Context, args []string, requests []ProbeRequest, each func(i int, probed Probed, failed error) error) error {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	for _, r := range requests {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := p.command(ctx, append([]string{"probe"}, args...)...)
	cmd.Stdin = &lines
	var words program.Words
	cmd.Stderr = &words
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s is no Python that the worker runs on: %w", p.Interpreter, err)
	}
	// stop ends the process early.
	stop := func(err error) error {
		cancel()
		_ = cmd.Wait()
		return err
	}
	s := bufio.NewScanner(out)
	s.Buffer(nil, maxLine)
	n := 0
	for s.Scan() {
		var a struct {
			Type, Reason string
			Probed
		}
		if err := json.Unmarshal(s.Bytes(), &a); err != nil {
			return stop(fmt.Errorf("%s is no Python that the worker runs on: it wrote %.200q", p.Interpreter, s.Text()))
		}
		var failed error
		switch {
		case a.Type == "unfit":
			return stop(errors.New(a.Reason))
		case n == len(requests):
			return stop(errors.New("the worker told of more probes than it was asked for"))
		case a.Type == "error":
			failed = errors.New(a.Reason)
		case a.Type != "probed":
			return stop(fmt.Errorf("the worker's probe wrote a message of type %q", a.Type))
		}
		if err := each(n, a.Probed, failed); err != nil {
			return stop(err)
		}
		n++
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var status *exec.ExitError
	if n == len(requests) && (err == nil || errors.As(err, &status)) {
		return nil // the status tells of errors that each was told of
	}
	if err == nil {
		err = fmt.Errorf("after %d of %d probes", n, len(requests))
	}
	return fmt.Errorf("the worker's probe ended: %w: %s", err, words.Last())
}

// ReadProbed reads the file of a probe, for the labels of its pictures.
func ReadProbed(path, model string, labels []int) (selection.Data, error) {
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return selection.Data{}, err
	}
	fail := func(format string, args ...any) (selection.Data, error) {
		return selection.Data{}, fmt.Errorf("%s: the worker wrote %s", path, fmt.Sprintf(format, args...))
	}
	n := len(labels)
	d := selection.Data{Model: model, Labels: labels}
	for _, t := range f.Tensors {
		rank := map[string]int{"features": 2, "source": 2, "gradients": 3, "labels": 1}[t.Name]
		if rank == 0 || len(t.Shape) != rank || t.Shape[0] != n {
			return fail("%s of shape %v for %d pictures", t.Name, t.Shape, n)
		}
		switch t.Name {
		case "features":
			d.Features, d.Dim = t.Data, t.Shape[1]
		case "source":
			d.Source, d.SourceClasses = t.Data, t.Shape[1]
		case "gradients":
			d.Gradients, d.Outputs, d.Weights = t.Data, t.Shape[1], t.Shape[2]
		case "labels":
			for i, v := range t.Data {
				if int(v) != labels[i] {
					return fail("label %v of picture %d, whose label is %d", v, i, labels[i])
				}
			}
		}
	}
	if d.Features == nil || d.Source == nil {
		return fail("no features or no source probabilities")
	}
	return d, nil
}
