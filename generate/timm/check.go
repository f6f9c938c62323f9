package timm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"quicktune/internal/program"
)

// Finding is the result of one check of a machine.
type Finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // what was found, or what to do
}

// Examine checks an interpreter: with no arguments only the packages that are
// installed, otherwise the device, the weights of a model and one batch too.
func (p Python) Examine(ctx context.Context, args ...string) ([]Finding, error) {
	if len(args) == 0 {
		args = []string{"--packages"}
	}
	cmd := p.command(ctx, append([]string{"doctor"}, args...)...)
	var words program.Words
	cmd.Stderr = &words
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var list []Finding
	s := bufio.NewScanner(bytes.NewReader(out))
	s.Buffer(nil, maxLine)
	for s.Scan() {
		var f Finding
		if jsonErr := json.Unmarshal(s.Bytes(), &f); jsonErr != nil {
			return nil, fmt.Errorf("%s is no Python that the worker runs on: it wrote %q", p.Interpreter, s.Text())
		}
		list = append(list, f)
	}
	if len(list) == 0 {
		if err == nil {
			err = errors.New("it wrote nothing")
		}
		return nil, fmt.Errorf("%s is no Python that the worker runs on (3.10 or newer): %w %s", p.Interpreter, err, words.Last())
	}
	return list, nil
}

// Ready returns an error that says what to install if the interpreter lacks
// something.
func (p Python) Ready(ctx context.Context) error {
	list, err := p.Examine(ctx)
	if err != nil {
		return err
	}
	var missing []string
	for _, f := range list {
		if !f.OK {
			missing = append(missing, f.Check+" "+f.Detail)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s cannot train: %s", p.Interpreter, strings.Join(missing, "; "))
	}
	return nil
}
