package timm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"quicktune/generate/trainer"
	"quicktune/internal/program"
)

// Formats lists what [Python.Export] writes.
var Formats = []string{"safetensors", "pth", "onnx"}

// Trained names the network in a checkpoint of the worker.
type Trained struct {
	Checkpoint string   `json:"checkpoint"` // folder
	Epoch      int      `json:"epoch"`
	Model      string   `json:"model"`
	Classes    []string `json:"classes"`
	ImageSize  int      `json:"image_size,omitempty"` // side of the pictures; 0 for the model's own
}

// Exported is what was written.
type Exported struct {
	Model string `json:"model"` // as timm calls it today
	Input [3]int `json:"input"` // of one picture: channels, height, width
	Note  string `json:"note"`  // how it compares with torch, where that was looked at
}

// answer is a line of the worker's export and predict.
type answer struct {
	Type, Reason  string
	Probabilities []float32
	Exported
}

// Export writes a network as a file for timm, safetensors or pth, or for any
// runtime, onnx.
func (p Python) Export(ctx context.Context, t Trained, format, out string) (Exported, error) {
	var e Exported
	err := p.ask(ctx, "export", struct {
		Trained
		Format string `json:"format"`
		Out    string `json:"out"`
	}{t, format, out}, func(a answer) error {
		e = a.Exported
		return nil
	})
	return e, err
}

// Predict classifies pictures, in their order: each gets the probabilities of
// all classes, or the reason why the file is no picture.
func (p Python) Predict(ctx context.Context, t Trained, pictures []string, each func(i int, probabilities []float32, unreadable error) error) error {
	n := 0
	err := p.ask(ctx, "predict", struct {
		Trained
		Pictures []string `json:"pictures"`
	}{t, pictures}, func(a answer) error {
		var unreadable error
		switch {
		case n == len(pictures):
			return errors.New("the worker told of more pictures than it was given")
		case a.Type == "unreadable":
			unreadable = errors.New(a.Reason)
		case len(a.Probabilities) != len(t.Classes):
			return fmt.Errorf("the worker told %d probabilities of %d classes", len(a.Probabilities), len(t.Classes))
		}
		n++
		return each(n-1, a.Probabilities, unreadable)
	})
	if err == nil && n < len(pictures) {
		err = fmt.Errorf("the worker told of %d of %d pictures", n, len(pictures))
	}
	return err
}

// Confusion tells how a network takes the test pictures of a data set: how many
// of each class are taken for which.
func (w *Worker) Confusion(ctx context.Context, t Trained, dataset string, amp bool) (map[[2]int]int, error) {
	const name = "confusion"
	text, err := json.Marshal(struct {
		Type    string `json:"type"`
		Trial   string `json:"trial"`
		Dataset string `json:"dataset"`
		AMP     bool   `json:"amp"`
		Trained
	}{name, name, dataset, amp, t})
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p, err := w.ready(ctx)
	if err != nil {
		return nil, err
	}
	broken := func(what string) error {
		w.process = nil
		return w.autopsy(p, what)
	}
	if _, err := p.In.Write(append(text, '\n')); err != nil {
		return nil, broken("the worker takes no request")
	}
	silence := or(w.Silence, DefaultSilence)
	for {
		select {
		case <-ctx.Done():
			w.cancel(p, name)
			return nil, ctx.Err()
		case <-time.After(silence):
			return nil, broken(fmt.Sprintf("the worker was silent for %s", silence))
		case line, ok := <-p.lines:
			if !ok {
				return nil, broken("the worker died over the test pictures")
			}
			var m struct {
				Type, Reason string
				Counts       [][3]int
			}
			if err := json.Unmarshal(line, &m); err != nil {
				return nil, broken("not a message: " + err.Error())
			}
			switch m.Type {
			case trainer.TypeHeartbeat:
			case trainer.TypeError:
				return nil, errors.New(m.Reason)
			case name:
				found := make(map[[2]int]int)
				for _, c := range m.Counts {
					if n := len(t.Classes); c[0] < 0 || c[0] >= n || c[1] < 0 || c[1] >= n {
						return nil, broken(fmt.Sprintf("the worker takes pictures of class %d for %d, of %d classes", c[0], c[1], n))
					}
					found[[2]int{c[0], c[1]}] = c[2]
				}
				return found, nil
			default:
				return nil, broken("the worker wrote " + m.Type + " instead of a confusion")
			}
		}
	}
}

// ask runs a command of the worker with a request on standard input.
func (p Python) ask(ctx context.Context, command string, request any, each func(answer) error) error {
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	cmd := p.command(ctx, command)
	cmd.Stdin = bytes.NewReader(text)
	var words program.Words
	cmd.Stderr = &words
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s := bufio.NewScanner(bytes.NewReader(out))
	s.Buffer(nil, maxLine)
	answers := 0
	for s.Scan() {
		var a answer
		if jsonErr := json.Unmarshal(s.Bytes(), &a); jsonErr != nil {
			return fmt.Errorf("%s is no Python that the worker runs on: it wrote %.200q", p.Interpreter, s.Text())
		}
		if a.Type == "error" || a.Type == "unfit" {
			return errors.New(a.Reason)
		}
		answers++
		if err := each(a); err != nil {
			return err
		}
	}
	if err == nil && answers == 0 {
		err = errors.New("it wrote nothing")
	}
	if err != nil {
		return fmt.Errorf("the worker's %s ended: %w: %s", command, err, words.Last())
	}
	return nil
}
